//! `nvhealth`: what it says of the feed that passes, when, and how often.
//!
//! Silence is real here, and short; everything else is made.

use crate::support::{PATIENCE, eventually, init, launch, repository, stat, tiny_model, wait_for_eos};
use gst::prelude::*;
use gst_check::Harness;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::{Event, IDLE_DETAIL, Message};
use gstnextvision::meta;
use gstnextvision::output::FrameFacts;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

const CAPS: &str = "video/x-raw,format=GRAY8,width=8,height=8,framerate=30/1";

/// A stall in these tests: nobody waits longer than that for nothing, in nanoseconds.
const SHORT: u64 = 50_000_000;

/// The element between two pads of the test, which pushes from its own thread.
struct Bench {
    element: gst::Element,
    bus: gst::Bus,
    harness: Harness,
}

impl Bench {
    /// Not yet started; every timeout is off.
    fn new() -> Self {
        init();
        let element = gst::ElementFactory::make("nvhealth")
            .name("h")
            .property("stall-timeout", 0_u64)
            .property("lag-threshold", 0_u64)
            .build()
            .expect("a registered element");
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let harness = Harness::with_element(&element, Some("sink"), Some("src"));
        Self { element, bus, harness }
    }

    fn with(self, property: &str, value: u64) -> Self {
        self.element.set_property(property, value);
        self
    }

    /// Plays.
    fn play(mut self) -> Self {
        self.harness.set_src_caps_str(CAPS);
        self.harness.play();
        self
    }

    fn push(&mut self, seconds: u64) {
        self.harness.push(frame(seconds)).expect("the frame passes");
    }

    fn event(&mut self, event: impl Into<gst::Event>) -> bool {
        self.harness.push_event(event.into())
    }

    /// The next message.
    fn next(&self) -> Message {
        next(&self.bus)
    }

    /// Every message there is by now.
    fn all(&self) -> Vec<Message> {
        all(&self.bus)
    }

    fn names(&self) -> Vec<&'static str> {
        self.all().iter().map(|message| message.event.name()).collect()
    }

    fn ready(&self) {
        self.element.set_state(gst::State::Ready).expect("it stops");
    }

    fn stats(&self) -> gst::Structure {
        self.element.property("stats")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.element.set_state(gst::State::Null).ok();
    }
}

fn frame(seconds: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(64).expect("memory");
    buffer.get_mut().expect("one owner").set_pts(gst::ClockTime::from_seconds(seconds));
    buffer
}

fn frame_of(feed_id: &str, session: u32, seq: u64) -> gst::Buffer {
    let mut buffer = frame(0);
    let facts = FrameFacts { feed_id: feed_id.to_owned(), session, seq, ..FrameFacts::default() };
    meta::frame::write(buffer.get_mut().expect("one owner"), &facts);
    buffer
}

fn next(bus: &gst::Bus) -> Message {
    let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Element]).expect("a message comes");
    health_of(&message).expect("a health message").expect("a complete one")
}

fn all(bus: &gst::Bus) -> Vec<Message> {
    let messages = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Element]));
    messages.filter_map(|message| health_of(&message)?.ok()).collect()
}

fn stop_of(message: &Message) -> (String, String, u32, u64) {
    let Event::FeedStopped(stop) = message.event.clone() else { panic!("no stop: {message:?}") };
    (stop.reason, stop.detail, stop.session, stop.frames)
}

#[test]
fn a_feed_starts_and_ends_once() {
    let mut bench = Bench::new().play();
    (0..3).for_each(|seconds| bench.push(seconds));
    assert!(bench.event(gst::event::Eos::new()));
    bench.ready();
    let all = bench.all();
    let names: Vec<_> = all.iter().map(|message| message.event.name()).collect();
    assert_eq!(names, ["feed-started", "source-eos", "feed-stopped"]);
    assert_eq!(stop_of(&all[2]), ("end-of-stream".to_owned(), String::new(), 0, 3));
    assert_eq!(all.iter().map(|message| message.sequence).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(all.iter().all(|message| message.feed_id.as_deref() == Some("h") && message.element == "h"));
}

#[test]
fn eos_without_a_frame_is_a_session() {
    let mut bench = Bench::new().play();
    assert!(bench.event(gst::event::Eos::new()));
    let all = bench.all();
    assert_eq!(all.len(), 2);
    assert_eq!(stop_of(&all[1]), ("end-of-stream".to_owned(), String::new(), 0, 0));
}

#[test]
fn a_feed_without_frames_that_is_stopped_had_no_session() {
    let bench = Bench::new().play();
    bench.ready();
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn twenty_sessions_have_twenty_stops() {
    let pipeline =
        launch("videotestsrc ! video/x-raw,width=16,height=16 ! nvhealth name=h ! fakesink sync=false");
    let element = pipeline.by_name("h").expect("it is there");
    let bus = pipeline.bus().expect("a bus");
    let mut stops = Vec::new();
    for _ in 0..20 {
        let before = stat(&element, "frames");
        pipeline.set_state(gst::State::Playing).expect("it plays");
        eventually("a frame passes", || stat(&element, "frames"), |frames| *frames > before);
        pipeline.set_state(gst::State::Ready).expect("it stops");
        let all = all(&bus);
        stops.extend(all.iter().filter(|m| m.event.name() == "feed-stopped").map(|m| (stop_of(m), m.burst)));
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert_eq!(stops.len(), 20);
    for (index, ((reason, _, session, frames), burst)) in stops.into_iter().enumerate() {
        assert_eq!((reason.as_str(), session as usize), ("user-requested", index));
        assert!(frames > 0);
        assert_eq!((burst.count, burst.total), (1, index as u64 + 1));
    }
}

#[test]
fn a_new_stream_and_a_higher_session_begin_a_session() {
    let mut bench = Bench::new().play();
    bench.harness.push(frame_of("gate", 0, 0)).expect("it passes");
    assert!(bench.event(gst::event::StreamStart::new("another")));
    assert!(bench.event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())));
    bench.harness.push(frame_of("gate", 0, 1)).expect("it passes");
    bench.harness.push(frame_of("gate", 1, 0)).expect("it passes");
    bench.ready();
    let stops: Vec<_> =
        bench.all().iter().filter(|m| m.event.name() == "feed-stopped").map(stop_of).collect();
    let reasons: Vec<_> = stops.iter().map(|stop| (stop.0.as_str(), stop.2)).collect();
    assert_eq!(reasons, [("end-of-stream", 0), ("end-of-stream", 1), ("user-requested", 2)]);
}

#[test]
fn the_same_stream_start_sent_again_and_a_flush_begin_nothing() {
    let mut bench = Bench::new().play();
    bench.push(0);
    let pad = bench.harness.srcpad().expect("a pad");
    let start = pad.sticky_event::<gst::event::StreamStart>(0).expect("it was sent");
    assert!(bench.event(start));
    assert!(bench.event(gst::event::FlushStart::new()));
    assert!(bench.event(gst::event::FlushStop::new(true)));
    assert!(bench.event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())));
    bench.push(100);
    assert_eq!(bench.names(), ["feed-started"]);
}

#[test]
fn an_error_downstream_is_fatal_once_until_frames_flow_again() {
    let mut bench = Bench::new().play();
    bench.push(0);
    let pad = bench.element.static_pad("src").expect("a pad");
    let failing = pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        info.flow_res = Err(gst::FlowError::NotNegotiated);
        info.data = None;
        gst::PadProbeReturn::Handled
    });
    for seconds in 1..4 {
        assert_eq!(bench.harness.push(frame(seconds)), Err(gst::FlowError::NotNegotiated));
    }
    pad.remove_probe(failing.expect("a probe"));
    bench.push(4);
    bench.ready();
    let all = bench.all();
    let stops: Vec<_> = all.iter().filter(|m| m.event.name() == "feed-stopped").map(stop_of).collect();
    let fatal = "downstream answered not-negotiated".to_owned();
    assert_eq!(
        stops,
        [("fatal".to_owned(), fatal, 0, 2), ("user-requested".to_owned(), String::new(), 1, 1)]
    );
}

#[test]
fn silence_is_a_stall_once_and_a_frame_ends_it() {
    let mut bench = Bench::new().with("stall-timeout", SHORT).play();
    bench.push(0);
    assert_eq!(bench.next().event.name(), "feed-started");
    let Event::FeedStalled(stall) = bench.next().event else { panic!("no stall") };
    assert!(stall.silent_for >= SHORT && !stall.blocked);
    assert!(!bench.stats().get::<bool>("alive").expect("it is known"));
    bench.element.set_property("stall-timeout", 0_u64);
    bench.push(1);
    let Event::FeedRecovered(recovery) = bench.next().event else { panic!("no recovery") };
    assert!(recovery.stalled_for >= stall.silent_for);
    assert!(bench.stats().get::<bool>("alive").expect("it is known"));
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn a_feed_that_never_gives_a_frame_stalls() {
    let bench = Bench::new().with("stall-timeout", SHORT).play();
    assert_eq!(bench.next().event.name(), "feed-stalled");
}

#[test]
fn a_timeout_set_during_silence_counts() {
    let mut bench = Bench::new().play();
    bench.push(0);
    assert_eq!(bench.next().event.name(), "feed-started");
    let bench = bench.with("stall-timeout", SHORT);
    assert_eq!(bench.next().event.name(), "feed-stalled");
}

/// Holds up what passes a pad until it is dropped.
struct Blocked {
    pad: gst::Pad,
    probe: Option<gst::PadProbeId>,
}

impl Blocked {
    fn new(pad: gst::Pad) -> Self {
        let kind = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
        let probe = pad.add_probe(kind, |_, _| gst::PadProbeReturn::Ok);
        Self { pad, probe }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.pad.remove_probe(self.probe.take().expect("a probe"));
    }
}

#[test]
fn a_frame_stuck_downstream_is_said_and_not_reaped() {
    let pipeline = launch(
        "videotestsrc is-live=true ! video/x-raw,width=16,height=16 \
         ! nvhealth name=h stall-timeout=50000000 idle-timeout=50000000 idle-action=eos ! fakesink name=s async=false",
    );
    let sink = pipeline.by_name("s").expect("it is there").static_pad("sink").expect("a pad");
    let blocked = Blocked::new(sink);
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let bus = pipeline.bus().expect("a bus");
    let (mut stalled, mut idle) = (None, None);
    while stalled.is_none() || idle.is_none() {
        match next(&bus).event {
            Event::FeedStalled(event) if event.blocked => stalled = Some(event),
            Event::Idle(event) if event.action == "message" => idle = Some(event),
            Event::FeedStopped(stop) => panic!("ended: {stop:?}"),
            _ => {}
        }
    }
    drop(blocked);
    while !matches!(next(&bus).event, Event::Resumed(_)) {}
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn an_idle_feed_is_reported_and_resumes() {
    let mut bench = Bench::new().with("idle-timeout", SHORT).play();
    bench.push(0);
    assert_eq!(bench.next().event.name(), "feed-started");
    let Event::Idle(idle) = bench.next().event else { panic!("not idle") };
    assert!(idle.idle_for >= SHORT && idle.action == "message");
    bench.push(1);
    let Event::Resumed(resumed) = bench.next().event else { panic!("not resumed") };
    assert!(resumed.idle_for >= idle.idle_for);
}

#[test]
fn an_idle_feed_is_ended_and_refused_until_another_stream_begins() {
    let bench = Bench::new().with("idle-timeout", SHORT);
    bench.element.set_property_from_str("idle-action", "eos");
    let mut bench = bench.play();
    bench.push(0);
    let names = [bench.next(), bench.next(), bench.next()];
    assert_eq!(names.each_ref().map(|m| m.event.name()), ["feed-started", "idle", "feed-stopped"]);
    assert_eq!(stop_of(&names[2]), ("end-of-stream".to_owned(), IDLE_DETAIL.to_owned(), 0, 1));
    let mut seen = false;
    while !seen {
        seen = bench.harness.pull_event().expect("EOS was sent").type_() == gst::EventType::Eos;
    }
    assert_eq!(bench.harness.push(frame(1)), Err(gst::FlowError::Eos));
    assert!(bench.event(gst::event::Eos::new()), "it has been sent already");
    bench.element.set_property("idle-timeout", 0_u64);
    assert!(bench.event(gst::event::StreamStart::new("another")));
    assert!(bench.event(gst::event::Caps::new(&CAPS.parse().expect("caps"))));
    assert!(bench.event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())));
    bench.push(2);
    bench.ready();
    let mut names = bench.names();
    names.sort_unstable();
    assert_eq!(names, ["feed-started", "feed-stopped", "resumed"]);
}

#[test]
fn lag_is_measured_on_the_clock_of_the_pipeline_less_latency() {
    let mut bench = Bench::new().with("lag-threshold", 2_000_000_000);
    bench.harness.use_testclock();
    let mut bench = bench.play();
    let seconds = gst::ClockTime::from_seconds;
    bench.harness.set_time(seconds(10)).expect("a test clock");
    bench.push(9);
    assert_eq!(bench.names(), ["feed-started"]);
    bench.push(5);
    let Event::FrameLag(lag) = bench.next().event else { panic!("not late") };
    assert_eq!((lag.lag, lag.peak), (5_000_000_000, 5_000_000_000));
    bench.push(7);
    assert!(bench.harness.push_upstream_event(gst::event::Latency::new(seconds(3))));
    bench.push(7);
    let all = bench.all();
    assert_eq!(all.iter().map(|m| m.event.name()).collect::<Vec<_>>(), ["frame-lag", "lag-recovered"]);
    assert_eq!((all[0].burst.count, all[0].burst.total), (1, 2), "what was folded comes before the recovery");
    let Event::LagRecovered(over) = &all[1].event else { panic!("late still") };
    assert_eq!(over.peak, 5_000_000_000);
    let stats = bench.stats();
    assert_eq!((stats.get("lag-now"), stats.get("lag-peak")), (Ok(0_u64), Ok(5_000_000_000_u64)));
    assert_eq!(stats.get("latency"), Ok(3_000_000_000_u64));
}

#[test]
fn frames_without_timestamps_are_never_late() {
    let mut bench = Bench::new().with("lag-threshold", 1);
    bench.harness.use_testclock();
    let mut bench = bench.play();
    bench.harness.set_time(gst::ClockTime::from_seconds(100)).expect("a test clock");
    bench.harness.push(gst::Buffer::with_size(64).expect("memory")).expect("it passes");
    assert_eq!(bench.names(), ["feed-started"]);
}

#[test]
fn a_folded_tail_is_posted_without_another_frame() {
    let mut bench = Bench::new().with("lag-threshold", 1_000_000_000);
    bench.harness.use_testclock();
    let mut bench = bench.play();
    bench.harness.set_time(gst::ClockTime::from_seconds(100)).expect("a test clock");
    (0..5).for_each(|_| bench.push(90));
    let (_, first, rest) = (bench.next(), bench.next(), bench.next());
    assert_eq!((first.event.name(), first.burst.count), ("frame-lag", 1));
    assert_eq!((rest.event.name(), rest.burst.count, rest.burst.total), ("frame-lag", 4, 5));
}

#[test]
fn a_jump_of_timestamps_is_a_discontinuity() {
    let mut bench = Bench::new().play();
    [100, 105, 111, 90].into_iter().for_each(|seconds| bench.push(seconds));
    bench.ready();
    let found: Vec<_> = bench.all().into_iter().filter(|m| m.event.name() == "discontinuity").collect();
    assert_eq!(found.iter().map(|message| message.burst.count).sum::<u64>(), 2);
    let Event::Discontinuity(jump) = &found[0].event else { panic!("filtered") };
    assert_eq!((jump.gap, jump.direction.as_str()), (6_000_000_000, "forward"));
}

#[test]
fn a_storm_of_caps_is_folded_and_its_counts_add_up() {
    const CHANGES: u64 = 200;
    let mut bench = Bench::new().play();
    bench.push(0);
    for change in 0..CHANGES {
        let caps = gst::Caps::builder("video/x-raw").field("width", 16 + change as i32).build();
        assert!(bench.event(gst::event::Caps::new(&caps)));
        bench.push(0);
    }
    bench.ready();
    let found: Vec<_> = bench.all().into_iter().filter(|m| m.event.name() == "caps-changed").collect();
    assert_eq!(found.iter().map(|message| message.burst.count).sum::<u64>(), CHANGES);
    assert_eq!(found.last().map(|message| message.burst.total), Some(CHANGES));
    let first = found.first().and_then(|message| message.running_time);
    let seconds = found.last().and_then(|message| message.running_time).zip(first);
    let most = seconds.map_or(2, |(last, first)| (last - first) / 1_000_000_000 + 2);
    assert!(found.len() as u64 <= most, "{} messages", found.len());
    let stats = bench.stats();
    let get = |field| stats.get::<u64>(field).expect("a counter");
    assert_eq!((get("events-posted") + get("events-coalesced"), get("events-lost")), (CHANGES + 2, 0));
}

#[test]
fn a_low_rate_and_reports_are_posted() {
    let pipeline = launch(
        "videotestsrc is-live=true ! video/x-raw,width=16,height=16,framerate=5/1 \
         ! nvhealth fps-min=50 report-interval=300000000 lag-threshold=0 ! fakesink",
    );
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let bus = pipeline.bus().expect("a bus");
    let (mut low, mut report) = (None, None);
    while low.is_none() || report.is_none() {
        match next(&bus).event {
            Event::FpsLow(event) => low = Some(event),
            Event::FeedReport(event) => report = Some(event),
            _ => {}
        }
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    let low = low.expect("the loop has seen it");
    assert!(low.fps < 50.0 && (low.fps_min - 50.0).abs() < f64::EPSILON, "{low:?}");
}

#[test]
fn the_name_of_the_feed_comes_from_its_frames_unless_given() {
    for (given, expected) in [(None, "gate"), (Some("mine"), "mine")] {
        let bench = Bench::new();
        assert_eq!(bench.element.property::<String>("feed-id"), "h");
        bench.element.set_property("feed-id", given);
        let mut bench = bench.play();
        bench.harness.push(frame_of("gate", 0, 0)).expect("it passes");
        bench.harness.push(frame_of("gate", 0, 4)).expect("it passes");
        assert_eq!(bench.next().feed_id.as_deref(), Some(expected));
        assert_eq!(bench.element.property::<String>("feed-id"), expected);
        assert_eq!(bench.stats().get::<u64>("drops"), Ok(3));
    }
}

#[test]
fn a_snapshot_is_what_stats_says() {
    let mut bench = Bench::new().play();
    bench.push(0);
    let snapshot = bench.element.emit_by_name::<gst::Structure>("snapshot", &[]);
    assert_eq!(snapshot.name(), "nv-health-stats");
    assert_eq!((snapshot.get("frames"), snapshot.get("session")), (Ok(1_u64), Ok(0_u32)));
    assert_eq!((snapshot.get("alive"), snapshot.get("paused")), (Ok(true), Ok(false)));
    assert_eq!(snapshot.get("feed-id"), Ok("h"));
    let fields: Vec<_> = snapshot.fields().collect();
    assert_eq!(bench.stats().fields().collect::<Vec<_>>(), fields);
}

#[test]
fn lists_of_frames_pass_and_count() {
    let bench = Bench::new().play();
    let list: gst::BufferList = (0..3).map(frame).collect();
    assert_eq!(bench.harness.srcpad().expect("a pad").push_list(list), Ok(gst::FlowSuccess::Ok));
    assert_eq!(bench.harness.buffers_received(), 3);
    assert_eq!(bench.stats().get::<u64>("frames"), Ok(3));
}

#[test]
fn a_handler_that_blocks_holds_up_no_other_element() {
    let (blocks, blocked) = channel();
    let (release, released) = channel::<()>();
    let (blocks, released) = (Mutex::new(Some(blocks)), Mutex::new(released));
    let bad = Bench::new().with("stall-timeout", SHORT);
    bad.bus.set_sync_handler(move |_, message| {
        if let Some(blocks) = health_of(message).and_then(|_| blocks.lock().expect("no panic").take()) {
            blocks.send(()).expect("the test waits");
            released.lock().expect("no panic").recv().ok();
        }
        gst::BusSyncReply::Pass
    });
    let bad = bad.play();
    blocked.recv().expect("the stall is posted");
    let good = Bench::new().with("stall-timeout", SHORT).play();
    assert_eq!(good.next().event.name(), "feed-stalled");
    drop(release);
    assert_eq!(bad.next().event.name(), "feed-stalled");
    bad.bus.unset_sync_handler();
}

fn watchers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "nv-watch").count()
}

#[test]
fn many_elements_share_one_thread_that_ends_with_the_last() {
    let benches: Vec<_> = (0..16).map(|_| Bench::new().with("stall-timeout", SHORT).play()).collect();
    for bench in &benches {
        assert_eq!(bench.next().event.name(), "feed-stalled");
    }
    // A thread has the name of the one that makes it until it has its own, as those that post do for a moment.
    eventually("there is one thread", watchers, |count| *count == 1);
    drop(benches);
    eventually("the thread ends", watchers, |count| *count == 0);
}

#[test]
fn an_element_of_any_kind_of_stream_passes_it_unchanged() {
    let clip = repository("README.md").display().to_string();
    let pipeline =
        launch(&format!("filesrc location={clip} ! nvhealth ! fakesink name=s signal-handoffs=true"));
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (sink, seen) = (pipeline.by_name("s").expect("it is there"), Arc::clone(&bytes));
    sink.connect("handoff", false, move |args| {
        let buffer = args[1].get::<gst::Buffer>().expect("a buffer");
        seen.lock().expect("no panic").extend_from_slice(&buffer.map_readable().expect("it maps"));
        None
    });
    pipeline.set_state(gst::State::Playing).expect("it plays");
    wait_for_eos(&pipeline);
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert_eq!(*bytes.lock().expect("no panic"), std::fs::read(clip).expect("it is there"));
}

#[test]
fn nobody_pulls_past_the_watch() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display();
    let write = launch(&format!("audiotestsrc num-buffers=20 ! wavenc ! filesink location={path}"));
    write.set_state(gst::State::Playing).expect("it plays");
    wait_for_eos(&write);
    write.set_state(gst::State::Null).expect("it stops");
    let read = launch(&format!("filesrc location={path} ! nvhealth name=h ! wavparse ! fakesink"));
    read.set_state(gst::State::Playing).expect("it plays");
    wait_for_eos(&read);
    assert!(stat(&read.by_name("h").expect("it is there"), "frames") > 0);
    read.set_state(gst::State::Null).expect("it stops");
}

/// Pushes frames into a feed as a live camera does.
fn push_live(source: &gst_app::AppSrc, count: usize) {
    for _ in 0..count {
        source.push_buffer(gst::Buffer::with_size(64 * 64).expect("memory")).expect("the feed takes it");
    }
}

#[test]
fn of_two_feeds_the_one_that_stops_stalls_and_recovers_once() {
    let model = tiny_model("brightest");
    let caps = "video/x-raw,format=GRAY8,width=64,height=64,framerate=30/1";
    let pipeline = launch(&format!(
        "nvbatcher name=b sink_0::feed-id=door sink_1::feed-id=yard ! nvinference model={model} ! nvunbatcher name=u \
         appsrc name=door is-live=true do-timestamp=true format=time caps={caps} ! b.sink_0 \
         videotestsrc is-live=true ! {caps} ! b.sink_1 \
         u.src_0 ! nvhealth stall-timeout=300000000 lag-threshold=0 ! fakesink async=false sync=false \
         u.src_1 ! nvhealth stall-timeout=30000000000 lag-threshold=0 ! fakesink async=false sync=false",
    ));
    let door =
        pipeline.by_name("door").expect("it is there").downcast::<gst_app::AppSrc>().expect("an appsrc");
    let bus = pipeline.bus().expect("a bus");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let mut said: Vec<(String, &'static str)> = Vec::new();
    let mut wait_for = |wanted: &str| loop {
        let message = next(&bus);
        // The model has none.
        let (feed, event) = (message.feed_id.unwrap_or_default(), message.event.name());
        let found = feed == "door" && event == wanted;
        said.push((feed, event));
        if found {
            break;
        }
    };
    push_live(&door, 1);
    wait_for("feed-started");
    wait_for("feed-stalled");
    push_live(&door, 1);
    wait_for("feed-recovered");
    pipeline.set_state(gst::State::Null).expect("it stops");
    let of = |feed: &str| said.iter().filter(|said| said.0 == feed).map(|said| said.1).collect::<Vec<_>>();
    assert_eq!(of("door"), ["feed-started", "feed-stalled", "feed-recovered"]);
    assert_eq!(of("yard"), ["feed-started"]);
}

#[test]
fn no_stall_is_said_after_the_word_that_it_is_over() {
    let mut bench = Bench::new().with("stall-timeout", SHORT).play();
    bench.push(0);
    let names: Vec<_> = (0..2).map(|_| bench.next().event.name()).collect();
    assert_eq!(names, ["feed-started", "feed-stalled"]);
    // The stall ends with its stream; the next one comes within the same second.
    assert!(bench.event(gst::event::StreamStart::new("another")));
    let happened = || stat(&bench.element, "events-posted") + stat(&bench.element, "events-coalesced");
    eventually("another stall", happened, |count| *count == 4);
    // There is no third.
    bench.element.set_property("stall-timeout", 0_u64);
    bench.event(gst::event::Caps::new(&CAPS.parse().expect("caps")));
    bench.event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    bench.push(0);
    let mut names: Vec<_> = (0..4).map(|_| bench.next().event.name()).collect();
    names.retain(|name| ["feed-stalled", "feed-recovered"].contains(name));
    assert_eq!(names, ["feed-stalled", "feed-recovered"]);
}

/// A live feed that sends one frame and then nothing more, and the names of all that is said, when it is said.
fn silent_feed(
    on_stall: impl Fn(&gst::Pipeline) + Send + Sync + 'static,
) -> (gst::Pipeline, Arc<Mutex<Vec<&'static str>>>) {
    let pipeline = launch(&format!(
        "appsrc name=src is-live=true format=time caps={CAPS} ! nvhealth name=h stall-timeout={SHORT} ! \
         fakesink sync=false async=false"
    ));
    let said = Arc::<Mutex<Vec<_>>>::default();
    let (heard, weak) = (Arc::clone(&said), pipeline.downgrade());
    pipeline.bus().expect("a bus").set_sync_handler(move |_, message| {
        let Some(Ok(message)) = health_of(message) else { return gst::BusSyncReply::Drop };
        heard.lock().expect("no panic").push(message.event.name());
        if message.event.name() == "feed-stalled"
            && let Some(pipeline) = weak.upgrade()
        {
            on_stall(&pipeline);
        }
        gst::BusSyncReply::Drop
    });
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let source = pipeline.by_name("src").and_downcast::<gst_app::AppSrc>().expect("a source");
    source.push_buffer(frame(0)).expect("a frame");
    (pipeline, said)
}

const STALLED_AND_STOPPED: [&str; 3] = ["feed-started", "feed-stalled", "feed-stopped"];

#[test]
fn who_stops_the_pipeline_in_a_handler_still_hears_that_the_session_is_over() {
    let (tell, told) = channel();
    let (pipeline, said) = silent_feed(move |pipeline| {
        tell.send(pipeline.set_state(gst::State::Null).is_ok()).ok();
    });
    assert!(told.recv_timeout(PATIENCE.into()).expect("a stall"), "it stops");
    assert_eq!(*said.lock().expect("no panic"), STALLED_AND_STOPPED);
    drop(pipeline);
}

#[test]
fn a_session_ends_before_the_pipeline_has_stopped_also_while_another_thread_posts() {
    let (tell, told) = channel();
    let (pipeline, said) = silent_feed(move |pipeline| {
        tell.send(()).ok();
        let pad = pipeline.by_name("h").and_then(|element| element.static_pad("src")).expect("a pad");
        eventually("the element is about to stop", || pad.is_active(), |active| !active);
    });
    told.recv_timeout(PATIENCE.into()).expect("a stall");
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert_eq!(*said.lock().expect("no panic"), STALLED_AND_STOPPED);
}
