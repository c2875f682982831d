//! `nvsink` on its own: what goes in as frames comes out as records, or is counted.
//!
//! Most tests push frames from the test's own thread, so that "pushed" means "the sink has decided".

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use gst::prelude::*;
use gst_check::Harness;
use gstnextvision::elements::nvsink::{Embeddings, Format, FrameInclusion, NvSink, Overflow};
use gstnextvision::output::{FrameFacts, Status};
use gstnextvision::{clock, meta};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, Once};
use std::time::Duration;

/// Longest wait for something that is about to happen.
const SOON: Duration = Duration::from_secs(20);

fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstnextvision::plugin_register_static().unwrap();
    });
}

fn new_sink() -> NvSink {
    init();
    gst::ElementFactory::make("nvsink").build().unwrap().downcast().unwrap()
}

/// A sink with a bus, and a source pad that pushes into it from this thread.
struct Bench {
    sink: NvSink,
    bus: gst::Bus,
    harness: Harness,
}

impl Bench {
    /// Starts `sink`.
    fn start(sink: NvSink) -> Self {
        let bus = gst::Bus::new();
        sink.set_bus(Some(&bus));
        // A harness plays in one step and has no way to wait for a preroll.
        sink.by_name("appsink").unwrap().set_property("async", false);
        let mut harness = Harness::with_element(&sink, Some("sink"), None);
        harness.set_src_caps_str("video/x-raw,format=GRAY8,width=64,height=32,framerate=30/1");
        harness.play();
        Self { sink, bus, harness }
    }

    fn push(&mut self, seqs: std::ops::Range<u64>) {
        for seq in seqs {
            self.harness.push(frame(seq)).unwrap();
        }
    }

    fn eos(&mut self) {
        assert!(self.harness.push_event(gst::event::Eos::new()));
    }

    fn stat(&self, name: &str) -> u64 {
        stat(&self.sink, name)
    }

    fn health(&self, event: &str) -> Vec<gst::Structure> {
        let messages = std::iter::from_fn(|| self.bus.pop_filtered(&[gst::MessageType::Element]));
        let structures = messages.filter_map(|message| message.structure().map(gst::StructureRef::to_owned));
        structures.filter(|structure| structure.get("event") == Ok(event)).collect()
    }

    fn errors(&self) -> Vec<String> {
        std::iter::from_fn(|| self.bus.pop_filtered(&[gst::MessageType::Error]))
            .map(|m| error_text(&m))
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.sink.set_state(gst::State::Null).unwrap();
    }
}

fn stat(sink: &NvSink, name: &str) -> u64 {
    sink.property::<gst::Structure>("stats").get(name).unwrap()
}

fn error_text(message: &gst::Message) -> String {
    match message.view() {
        gst::MessageView::Error(error) => error.error().to_string(),
        other => panic!("not an error: {other:?}"),
    }
}

/// A frame of feed 7 as `nvunbatcher` hands it on.
fn frame(seq: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(64 * 32).unwrap();
    let facts = FrameFacts {
        feed_id: "gate".to_owned(),
        feed: 7,
        seq,
        status: Status::Inferred,
        ..FrameFacts::default()
    };
    let writable = buffer.get_mut().unwrap();
    writable.set_pts(seq * 33.mseconds());
    meta::frame::write(writable, &facts);
    buffer
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn field(lines: &[Value], pointer: &str) -> Vec<u64> {
    lines.iter().map(|line| line.pointer(pointer).and_then(Value::as_u64).unwrap()).collect()
}

fn file_in(folder: &tempfile::TempDir) -> (std::path::PathBuf, String) {
    let path = folder.path().join("records.jsonl");
    let location = path.to_str().unwrap().to_owned();
    (path, location)
}

/// A handler that says which record it got and then waits to be let go.
struct Gate {
    entered: Receiver<u64>,
    leave: Sender<()>,
}

impl Gate {
    fn on(sink: &NvSink) -> Self {
        let (enter, entered) = channel();
        let (leave, left) = channel::<()>();
        let left = Mutex::new(left);
        sink.connect_new_output(move |_, _, record| {
            enter.send(record.get("seq").unwrap()).ok();
            left.lock().unwrap().recv().ok();
        });
        Self { entered, leave }
    }

    fn entered(&self) -> u64 {
        self.entered.recv_timeout(SOON).unwrap()
    }

    fn leave(&self) {
        self.leave.send(()).unwrap();
    }

    /// Lets every record pass from now on.
    fn open(self) {
        drop(self.leave);
    }
}

#[test]
fn the_file_is_complete_when_eos_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, location) = file_in(&folder);
    let sink = new_sink();
    sink.set_location(location);
    sink.set_overflow(Overflow::Block);
    let mut bench = Bench::start(sink);
    bench.push(0..500);
    bench.eos();
    let lines = lines(&path);
    assert_eq!(field(&lines, "/seq"), (0..500).collect::<Vec<_>>());
    assert_eq!(field(&lines, "/pts").get(2), Some(&66_000_000));
    assert_eq!(field(&lines, "/running-time").get(2), Some(&66_000_000));
    assert_eq!(lines.first().and_then(|line| line.get("feed-id")), Some(&Value::from("gate")));
    assert_eq!((bench.stat("received"), bench.stat("written"), bench.stat("queue-level")), (500, 500, 0));
    assert!(bench.bus.pop_filtered(&[gst::MessageType::Eos]).is_some());
}

#[test]
fn a_frame_without_meta_gets_a_record_of_the_sinks_own() {
    let sink = new_sink();
    let mut bench = Bench::start(sink);
    for _ in 0..2 {
        bench.harness.push(gst::Buffer::with_size(64 * 32).unwrap()).unwrap();
    }
    let pull = || bench.sink.emit_by_name::<Option<gst::Structure>>("pull-output", &[&u64::MAX]).unwrap();
    let (first, second) = (pull(), pull());
    assert_eq!(first.get("feed-id"), Ok(bench.sink.name().as_str()));
    assert_eq!((first.get("seq"), second.get("seq")), (Ok(0_u64), Ok(1_u64)));
    assert_eq!((first.get("status"), first.get("wall-time-source")), (Ok("passed"), Ok("arrival")));
    assert_eq!((first.get("width"), first.get("height")), (Ok(64_u32), Ok(32_u32)));
    assert!(!first.has_field("pts") && !first.has_field("batch"));
}

#[test]
fn detections_are_in_the_record_in_pixels_and_normalised() {
    use gstnextvision::vision::{Detection, Landmarks, Rect, Size};

    let mut bench = Bench::start(new_sink());
    let mut buffer = frame(0);
    let bbox = Rect::from_corners(16.0, 8.0, 32.0, 16.0);
    let detection = Detection { bbox, class: 2, confidence: 0.5, landmarks: Landmarks::new() };
    let found = [meta::detections::Found { label: "car", detection: &detection }];
    meta::detections::attach(buffer.get_mut().unwrap(), Size::new(64, 32), &found);
    bench.harness.push(buffer).unwrap();
    let record = bench.sink.emit_by_name::<Option<gst::Structure>>("pull-output", &[&u64::MAX]).unwrap();
    let detections = record.get::<gst::Array>("detections").unwrap();
    let car = detections.first().unwrap().get::<gst::Structure>().unwrap();
    assert_eq!((car.get("label"), car.get("label-id")), (Ok("car"), Ok(2_u32)));
    let pixels = car.get::<gst::Structure>("box").unwrap();
    assert_eq!((pixels.get("x"), pixels.get("width")), (Ok(16.0), Ok(16.0)));
    let parts = car.get::<gst::Structure>("box-normalized").unwrap();
    assert_eq!((parts.get("x-min"), parts.get("y-max")), (Ok(0.25), Ok(0.5)));
}

#[test]
fn standard_output_gets_the_lines_and_children_are_set_by_name() {
    init();
    let test = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    // Beside the test binary lies the plugin that was built with it.
    let built = test.parent().unwrap().join("libgstnextvision.so");
    std::os::unix::fs::symlink(built, plugins.join("libgstnextvision.so")).unwrap();
    let output = Command::new("gst-launch-1.0")
        .args(["-q", "videotestsrc", "num-buffers=5", "!"])
        .args(["nvsink", "location=-", "overflow=block", "appsink::max-buffers=3"])
        .env("GST_PLUGIN_PATH", &plugins)
        .env("GST_REGISTRY", folder.path().join("registry"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(field(&records, "/seq"), [0, 1, 2, 3, 4]);
}

#[test]
fn a_location_that_cannot_be_written_is_an_error_naming_it() {
    let sink = new_sink();
    let bus = gst::Bus::new();
    sink.set_bus(Some(&bus));
    sink.set_location("/nowhere/records.jsonl");
    assert!(sink.set_state(gst::State::Ready).is_err());
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let text = error_text(&message);
    for part in [sink.name().as_str(), "location", "/nowhere/records.jsonl", "No such file"] {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
    sink.set_state(gst::State::Null).unwrap();
    sink.set_property("location", None::<&str>);
    sink.set_state(gst::State::Ready).unwrap();
    sink.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_full_disk_is_one_error_and_the_records_go_on() {
    let sink = new_sink();
    sink.set_location("/dev/full");
    sink.set_overflow(Overflow::Block);
    let mut bench = Bench::start(sink);
    bench.push(0..20);
    bench.eos();
    assert_eq!((bench.stat("delivered"), bench.stat("written"), bench.stat("write-errors")), (20, 0, 20));
    let errors = bench.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors.iter().all(|text| text.contains("/dev/full") && text.contains("No space left")),
        "{errors:?}"
    );
}

#[test]
fn drop_newest_drops_exactly_what_does_not_fit_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (path, location) = file_in(&folder);
    let sink = new_sink();
    sink.set_location(location);
    sink.set_queue_capacity(2);
    let gate = Gate::on(&sink);
    let mut bench = Bench::start(sink);
    bench.push(0..1);
    assert_eq!(gate.entered(), 0);
    bench.push(1..6);
    assert_eq!((bench.stat("dropped-newest"), bench.stat("queue-level"), bench.stat("received")), (3, 3, 6));
    for seq in [1, 2] {
        gate.leave();
        assert_eq!(gate.entered(), seq);
    }
    bench.push(6..7);
    gate.open();
    bench.eos();
    let lines = lines(&path);
    assert_eq!(field(&lines, "/seq"), [0, 1, 2, 6]);
    assert_eq!(field(&lines, "/lost/sink"), [0, 0, 0, 3]);
    assert_eq!(field(&lines, "/lost/upstream"), [0, 0, 0, 0]);
    let told = bench.health("sink-backpressure");
    assert_eq!(told.iter().map(|message| message.get::<u64>("count").unwrap()).sum::<u64>(), 3);
    assert_eq!(told.last().map(|message| message.get("total")), Some(Ok(3_u64)));
    assert_eq!(told.last().map(|message| message.get("feed-id")), Some(Ok("gate")));
}

#[test]
fn drop_oldest_keeps_the_latest() {
    let folder = tempfile::tempdir().unwrap();
    let (path, location) = file_in(&folder);
    let sink = new_sink();
    sink.set_location(location);
    sink.set_queue_capacity(2);
    sink.set_overflow(Overflow::DropOldest);
    let gate = Gate::on(&sink);
    let mut bench = Bench::start(sink);
    bench.push(0..1);
    assert_eq!(gate.entered(), 0);
    bench.push(1..4);
    bench.push(6..8);
    assert_eq!((bench.stat("dropped-oldest"), bench.stat("queue-level"), bench.stat("received")), (3, 3, 6));
    gate.open();
    bench.eos();
    let lines = lines(&path);
    assert_eq!(field(&lines, "/seq"), [0, 6, 7]);
    assert_eq!(field(&lines, "/lost/sink"), [0, 3, 0]);
    assert_eq!(field(&lines, "/lost/upstream"), [0, 2, 0]);
    assert_eq!(bench.stat("delivered"), 3);
}

/// appsrc ! nvsink overflow=block queue-capacity=2, with a gate; `arrived` tells of every frame that
/// comes to the sink's pad.
struct Blocked {
    pipeline: gst::Pipeline,
    sink: NvSink,
    gate: Gate,
    arrived: Receiver<()>,
}

impl Blocked {
    /// Ten frames are on their way, and the fourth is at the pad: one is in the handler, two are queued.
    fn start() -> Self {
        let sink = new_sink();
        sink.set_overflow(Overflow::Block);
        sink.set_queue_capacity(2);
        let gate = Gate::on(&sink);
        let caps = gst::Caps::builder("video/x-raw").field("format", "GRAY8").build();
        let source = gst::ElementFactory::make("appsrc").property("caps", &caps).build().unwrap();
        source.set_property_from_str("format", "time");
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&source, sink.upcast_ref()]).unwrap();
        source.link(&sink).unwrap();
        let (arrive, arrived) = channel();
        let pad = sink.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            arrive.send(()).ok();
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        for seq in 0..10 {
            let flow: gst::FlowReturn = source.emit_by_name("push-buffer", &[&frame(seq)]);
            assert_eq!(flow, gst::FlowReturn::Ok);
        }
        let flow: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
        assert_eq!(flow, gst::FlowReturn::Ok);
        for _ in 0..4 {
            arrived.recv_timeout(SOON).unwrap();
        }
        assert_eq!(gate.entered(), 0);
        Self { pipeline, sink, gate, arrived }
    }

    fn wait_eos(&self) {
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let timeout = gst::ClockTime::try_from(SOON).unwrap();
        let message = self.pipeline.bus().unwrap().timed_pop_filtered(timeout, &wanted).unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos);
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn block_holds_the_stream_up_and_loses_nothing() {
    let blocked = Blocked::start();
    assert!(blocked.arrived.try_recv().is_err(), "the fifth frame waits behind the fourth");
    for seq in 1..10 {
        blocked.gate.leave();
        assert_eq!(blocked.gate.entered(), seq);
    }
    blocked.gate.leave();
    blocked.wait_eos();
    assert_eq!((stat(&blocked.sink, "delivered"), stat(&blocked.sink, "received")), (10, 10));
}

#[test]
fn a_blocked_sink_can_be_paused_and_goes_on() {
    let blocked = Blocked::start();
    blocked.pipeline.set_state(gst::State::Paused).unwrap();
    blocked.pipeline.set_state(gst::State::Playing).unwrap();
    for seq in 1..10 {
        blocked.gate.leave();
        assert_eq!(blocked.gate.entered(), seq);
    }
    blocked.gate.leave();
    blocked.wait_eos();
    assert_eq!(stat(&blocked.sink, "delivered"), 10);
}

#[test]
fn a_flush_releases_a_blocked_sink() {
    let blocked = Blocked::start();
    let pad = blocked.sink.static_pad("sink").unwrap();
    let peer = pad.peer().unwrap();
    assert!(peer.push_event(gst::event::FlushStart::new()));
    assert!(peer.push_event(gst::event::FlushStop::new(true)));
    for _ in 0..3 {
        blocked.gate.leave();
    }
    assert_eq!((blocked.gate.entered(), blocked.gate.entered()), (1, 2));
    blocked.pipeline.set_state(gst::State::Ready).unwrap();
    assert_eq!(stat(&blocked.sink, "delivered"), 3);
    assert_eq!(stat(&blocked.sink, "received"), 3 + stat(&blocked.sink, "discarded"));
}

#[test]
fn stopping_releases_a_blocked_sink_and_delivers_what_is_queued() {
    let blocked = Blocked::start();
    let pipeline = blocked.pipeline.clone();
    let stop = std::thread::Builder::new().spawn(move || pipeline.set_state(gst::State::Ready)).unwrap();
    // The fourth frame is on its way into the sink: the stop turns it away there, or before it gets in.
    let before = clock::now();
    let pad = blocked.sink.static_pad("sink").unwrap();
    while stat(&blocked.sink, "discarded") == 0 && pad.is_active() {
        assert!(clock::now().since(before) < SOON, "the fourth frame still waits for room");
        std::thread::yield_now();
    }
    for _ in 0..3 {
        blocked.gate.leave();
    }
    stop.join().unwrap().unwrap();
    let discarded = stat(&blocked.sink, "discarded");
    assert!(discarded <= 1, "{discarded}");
    assert_eq!(stat(&blocked.sink, "delivered"), 3);
    assert_eq!((stat(&blocked.sink, "received"), stat(&blocked.sink, "queue-level")), (3 + discarded, 0));
}

#[test]
fn pull_output_gives_records_in_order_and_null_at_the_end() {
    let mut bench = Bench::start(new_sink());
    let pull = |sink: &NvSink, timeout: u64| {
        let record = sink.emit_by_name::<Option<gst::Structure>>("pull-output", &[&timeout]);
        record.map(|record| record.get::<u64>("seq").unwrap())
    };
    assert_eq!(pull(&bench.sink, 0), None, "nothing is there yet");
    bench.push(0..3);
    for seq in 0..3 {
        assert_eq!(pull(&bench.sink, u64::MAX), Some(seq));
    }
    assert_eq!(pull(&bench.sink, 1), None);
    bench.push(3..4);
    bench.eos();
    assert_eq!(pull(&bench.sink, u64::MAX), Some(3));
    assert_eq!(pull(&bench.sink, u64::MAX), None, "the stream has ended");
    assert_eq!(bench.stat("pulled-overwritten"), 0);
}

#[test]
fn an_application_that_pulls_too_slowly_is_told_what_it_missed() {
    let sink = new_sink();
    sink.set_queue_capacity(2);
    sink.set_overflow(Overflow::Block);
    let mut bench = Bench::start(sink);
    let pull = |sink: &NvSink| sink.emit_by_name::<Option<gst::Structure>>("pull-output", &[&0_u64]);
    pull(&bench.sink);
    bench.push(0..5);
    bench.eos();
    assert_eq!(bench.stat("pulled-overwritten"), 3);
    assert_eq!(pull(&bench.sink).map(|record| record.get("seq")), Some(Ok(3_u64)));
    let told = bench.health("output-lagged");
    assert_eq!(told.iter().map(|message| message.get::<u64>("count").unwrap()).sum::<u64>(), 3);
}

#[test]
fn a_pull_that_waits_is_released_by_the_stop() {
    let bench = Bench::start(new_sink());
    let sink = bench.sink.clone();
    let (done, pulled) = channel();
    let thread = std::thread::Builder::new().spawn(move || {
        let record = sink.emit_by_name::<Option<gst::Structure>>("pull-output", &[&u64::MAX]);
        done.send(record.is_none()).unwrap();
    });
    bench.sink.set_state(gst::State::Ready).unwrap();
    assert_eq!(pulled.recv_timeout(SOON), Ok(true));
    thread.unwrap().join().unwrap();
}

#[test]
fn the_signal_hands_out_the_frame_and_its_record() {
    let sink = new_sink();
    let (send, received) = channel();
    sink.connect("new-output", false, move |args| {
        let sample = args.get(1)?.get::<gst::Sample>().ok()?;
        let record = args.get(2)?.get::<gst::Structure>().ok()?;
        send.send((sample.buffer()?.pts(), record.get::<u64>("pts").ok())).ok();
        None
    });
    let mut bench = Bench::start(sink);
    bench.push(1..2);
    let seen = received.recv_timeout(SOON).unwrap();
    assert_eq!(seen, (Some(33.mseconds()), Some(33_000_000)));
}

/// The numbers of the frames that `sink` hands out with all of their pixels, of `count`; the others must be
/// without any, but have their time and their metas.
fn with_pixels(sink: NvSink, count: u64) -> Vec<u64> {
    let (send, received) = channel();
    sink.set_overflow(Overflow::Block);
    sink.connect_new_output(move |_, sample, record| {
        let buffer = sample.buffer().unwrap();
        let seq = record.get::<u64>("seq").unwrap();
        assert_eq!(buffer.pts(), Some(seq * 33.mseconds()));
        assert_eq!(buffer.duration(), Some(33.mseconds()));
        assert_eq!(meta::frame::read(buffer).map(|facts| facts.seq), Some(seq));
        assert_eq!(buffer.iter_meta::<gst_video::VideoRegionOfInterestMeta>().count(), 1);
        assert!(sample.caps().is_some() && sample.segment().is_some());
        send.send((seq, buffer.size(), buffer.n_memory())).unwrap();
    });
    let mut bench = Bench::start(sink);
    for seq in 0..count {
        let mut buffer = frame(seq);
        let writable = buffer.get_mut().unwrap();
        writable.set_duration(33.mseconds());
        gst_video::VideoRegionOfInterestMeta::add(writable, "person", (1, 2, 3, 4));
        bench.harness.push(buffer).unwrap();
    }
    bench.eos();
    assert_eq!((bench.stat("delivered"), bench.stat("panics")), (count, 0));
    let seen: Vec<_> = received.try_iter().collect();
    assert_eq!(seen.len() as u64, count, "every record is handed out");
    assert!(
        seen.iter().all(|(_, size, memories)| (*size, *memories) == (64 * 32, 1) || *size + *memories == 0)
    );
    seen.into_iter().filter_map(|(seq, size, _)| (size > 0).then_some(seq)).collect()
}

#[test]
fn frame_inclusion_says_which_frames_have_their_pixels() {
    let sink = |inclusion| {
        let sink = new_sink();
        sink.set_frame_inclusion(inclusion);
        sink
    };
    assert_eq!(with_pixels(new_sink(), 4), [0, 1, 2, 3]);
    assert_eq!(with_pixels(sink(FrameInclusion::Never), 4), [0; 0]);
    let sampled = sink(FrameInclusion::Sampled);
    sampled.set_sample_interval(6);
    assert_eq!(with_pixels(sampled, 30), [5, 11, 17, 23, 29]);
    // 33 ms from frame to frame.
    let target = sink(FrameInclusion::TargetFps);
    target.set_target_fps(5.0);
    assert_eq!(with_pixels(target, 30), [0, 6, 12, 18, 24]);
}

#[test]
fn frames_are_sampled_the_same_whether_or_not_someone_listened_before() {
    let sink = new_sink();
    sink.set_frame_inclusion(FrameInclusion::Sampled);
    sink.set_sample_interval(4);
    let mut bench = Bench::start(sink);
    bench.push(0..3);
    let (send, received) = channel();
    bench.sink.connect_new_output(move |_, sample, _| {
        send.send(sample.buffer().unwrap().size() > 0).unwrap();
    });
    bench.push(3..5);
    bench.eos();
    assert_eq!(received.try_iter().collect::<Vec<_>>(), [true, false]);
}

#[test]
fn without_a_format_no_file_is_made_and_records_are_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let (path, location) = file_in(&folder);
    let sink = new_sink();
    sink.set_location(location);
    sink.set_format(Format::None);
    let (send, received) = channel();
    sink.connect_new_output(move |_, _, record| send.send(record.get::<u64>("seq").unwrap()).unwrap());
    let mut bench = Bench::start(sink);
    bench.push(0..2);
    bench.eos();
    assert_eq!(received.try_iter().collect::<Vec<_>>(), [0, 1]);
    let pulled = bench.sink.emit_by_name::<Option<gst::Structure>>("pull-output", &[&0_u64]);
    assert_eq!(pulled.unwrap().get("seq"), Ok(0_u64));
    assert_eq!((bench.stat("delivered"), bench.stat("written")), (2, 0));
    assert!(!path.exists());
    // Asked for again, the file is there from the next start.
    bench.sink.set_state(gst::State::Ready).unwrap();
    bench.sink.set_format(Format::Json);
    bench.sink.set_state(gst::State::Paused).unwrap();
    assert!(path.exists());
}

#[test]
fn vectors_stand_in_the_record_only_if_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (path, location) = file_in(&folder);
    let sink = new_sink();
    sink.set_location(location);
    let mut bench = Bench::start(sink);
    for (seq, form) in [Embeddings::None, Embeddings::Base64, Embeddings::List].into_iter().enumerate() {
        bench.sink.set_embeddings(form);
        let mut buffer = frame(seq as u64);
        let writable = buffer.get_mut().unwrap();
        gst_video::VideoRegionOfInterestMeta::add(writable, "person", (1, 2, 3, 4));
        assert!(meta::attributes::embed(writable, 0, "reid", &[1.0, -0.5]));
        bench.harness.push(buffer).unwrap();
    }
    bench.eos();
    let lines = lines(&path);
    let found = |line: usize| lines[line].pointer("/detections/0/embeddings").cloned();
    assert_eq!(lines[0].pointer("/detections/0/label"), Some(&json!("person")));
    assert_eq!(found(0), None);
    assert_eq!(found(1), Some(json!([{"model": "reid", "dims": 2, "base64": "AACAPwAAAL8="}])));
    assert_eq!(found(2), Some(json!([{"model": "reid", "dims": 2, "values": [1.0, -0.5]}])));
}

#[test]
fn a_panicking_handler_is_counted_and_the_records_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, location) = file_in(&folder);
    let sink = new_sink();
    sink.set_location(location);
    sink.set_overflow(Overflow::Block);
    sink.connect_new_output(|_, _, record| assert_eq!(record.get("seq"), Ok(1_u64), "only 1 is right"));
    let mut bench = Bench::start(sink);
    bench.push(0..4);
    bench.eos();
    assert_eq!((bench.stat("panics"), bench.stat("delivered")), (3, 4));
    assert_eq!(field(&lines(&path), "/seq"), [0, 1, 2, 3]);
    let told = bench.health("sink-panic");
    assert_eq!(told.iter().map(|message| message.get::<u64>("count").unwrap()).sum::<u64>(), 3);
    assert!(bench.errors().is_empty());
}

#[test]
fn a_wedged_handler_holds_up_eos_and_stop_for_the_timeout_only() {
    let sink = new_sink();
    sink.set_shutdown_timeout(50.mseconds().nseconds());
    let gate = Gate::on(&sink);
    let mut bench = Bench::start(sink);
    bench.push(0..3);
    assert_eq!(gate.entered(), 0);
    let before = clock::now();
    bench.eos();
    bench.sink.set_state(gst::State::Null).unwrap();
    let took = clock::now().since(before);
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(2), "{took:?}");
    assert_eq!((bench.stat("timeouts"), bench.stat("discarded"), bench.stat("queue-level")), (2, 3, 0));
    assert_eq!(bench.health("sink-timeout").len(), 2);
    gate.open();
}

#[test]
fn a_sink_whose_worker_was_left_behind_starts_again() {
    let sink = new_sink();
    sink.set_shutdown_timeout(0);
    let gate = Gate::on(&sink);
    let mut bench = Bench::start(sink.clone());
    bench.push(0..1);
    assert_eq!(gate.entered(), 0);
    drop(bench);
    sink.set_shutdown_timeout(5.seconds().nseconds());
    let mut again = Bench::start(sink);
    gate.open();
    again.push(1..3);
    again.eos();
    let delivered = again.stat("delivered");
    assert_eq!((delivered, again.stat("discarded"), again.stat("received")), (2, 0, 2), "0 no longer counts");
}

#[test]
fn a_handler_may_stop_the_sink() {
    let sink = new_sink();
    let (done, stopped) = channel();
    sink.connect_new_output(move |sink, _, _| {
        sink.set_state(gst::State::Ready).unwrap();
        done.send(()).ok();
    });
    let mut bench = Bench::start(sink);
    let before = clock::now();
    bench.push(0..1);
    stopped.recv_timeout(SOON).unwrap();
    assert!(clock::now().since(before) < Duration::from_secs(4), "it did not wait for itself");
}

/// Threads of this process with that name.
fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

/// Descriptors of this process that are open on `path`.
fn descriptors_of(path: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == path)).count()
}

#[test]
fn fifty_cycles_leave_no_thread_and_no_descriptor_behind() {
    init();
    let folder = tempfile::tempdir().unwrap();
    let (path, location) = file_in(&folder);
    let launch =
        format!("videotestsrc ! video/x-raw,width=16,height=16 ! nvsink name=cycles location={location}");
    let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("cycles").and_downcast::<NvSink>().unwrap();
    for _ in 0..50 {
        pipeline.set_state(gst::State::Playing).unwrap();
        assert!(sink.emit_by_name::<Option<gst::Structure>>("pull-output", &[&u64::MAX]).is_some());
        assert_eq!((threads_named("nv-sink-cycles"), descriptors_of(&path)), (1, 1));
        pipeline.set_state(gst::State::Ready).unwrap();
        assert_eq!((threads_named("nv-sink-cycles"), descriptors_of(&path)), (0, 1));
    }
    let written = stat(&sink, "written");
    assert_eq!(lines(&path).len() as u64, written, "the file grew over all cycles");
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(descriptors_of(&path), 0);
    let weak = sink.downgrade();
    drop((sink, pipeline));
    assert!(weak.upgrade().is_none(), "nothing keeps the sink alive");
}

#[test]
fn going_through_null_begins_the_file_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, location) = file_in(&folder);
    let sink = new_sink();
    sink.set_location(location);
    for round in 1..3 {
        let mut bench = Bench::start(sink.clone());
        bench.push(0..round);
        bench.eos();
        drop(bench);
        assert_eq!(lines(&path).len() as u64, round);
    }
}

#[test]
fn properties_start_at_their_defaults() {
    let sink = new_sink();
    let own = sink.list_properties();
    let own = own.iter().filter(|pspec| pspec.owner_type() == NvSink::static_type());
    let mut names = Vec::new();
    for pspec in own {
        names.push(pspec.name());
        if pspec.name() == "stats" {
            continue;
        }
        let (fresh, default) = (sink.property_value(pspec.name()), pspec.default_value());
        assert_eq!(fresh.compare(default), Some(std::cmp::Ordering::Equal), "{}", pspec.name());
        assert!(pspec.blurb().is_some_and(|blurb| blurb.ends_with('.')), "{}", pspec.name());
    }
    names.sort_unstable();
    let expected = [
        "embeddings",
        "format",
        "frame-inclusion",
        "location",
        "overflow",
        "queue-capacity",
        "sample-interval",
        "shutdown-timeout",
        "stats",
        "sync",
        "target-fps",
    ];
    assert_eq!(names, expected);
}

#[test]
fn sync_is_the_property_of_the_appsink() {
    let sink = new_sink();
    let appsink = sink.by_name("appsink").unwrap();
    sink.set_sync(true);
    assert!(appsink.property::<bool>("sync"));
    appsink.set_property("sync", false);
    assert!(!sink.sync());
}

#[test]
fn only_raw_video_is_accepted() {
    let sink = new_sink();
    let pad = sink.static_pad("sink").unwrap();
    let accepts = |caps: &str| pad.query_accept_caps(&caps.parse::<gst::Caps>().unwrap());
    assert!(accepts("video/x-raw,format=I420,width=64,height=64,framerate=30/1"));
    assert!(!accepts("audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved"));
    assert!(!accepts("video/x-h264"));
}
