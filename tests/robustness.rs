//! What applications and peers do that is not in the plan: pads that go and come back, consumers that end or are
//! swapped, flushes, settings that change, buffers that lie. Nothing may hang, crash, or reach the wrong feed.

use crate::support::frames::Painter;
use crate::support::rig::Rig;
use crate::support::{PATIENCE, assert_ledger, clip, launch, run_to_eos, stat, tiny_model, wait_for_eos};
use gst::prelude::*;
use gst_app::AppSink;
use gst_video::VideoFormat;
use gstnextvision::meta::frame;
use gstnextvision::output::{FrameFacts, Status};

fn grey() -> Painter {
    Painter::new(VideoFormat::Gray8, 64, 64)
}

fn facts(sample: &gst::Sample) -> FrameFacts {
    frame::read(sample.buffer().expect("a frame")).expect("the facts of a frame")
}

fn push(rig: &Rig, feed: usize, number: u64) {
    rig.push(feed, grey().paint(number, 255), number * gst::ClockTime::MSECOND);
}

/// A src pad in the hand of the test, on a feed of its own: it sees what every push answers.
struct Hand {
    pad: gst::Pad,
    sink: AppSink,
    sink_pad: gst::Pad,
}

impl Hand {
    /// Joins the rig as its next feed. Add it before any feed with an appsrc.
    fn new(rig: &Rig, feed: u32) -> Self {
        let sink = AppSink::builder().sync(false).async_(false).build();
        rig.pipeline.add(&sink).expect("a new element");
        let src_pad = rig.unbatcher.request_pad_simple(&format!("src_{feed}")).expect("a pad");
        src_pad.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
        let sink_pad = rig.batcher.request_pad_simple(&format!("sink_{feed}")).expect("a pad");
        let pad = gst::Pad::builder(gst::PadDirection::Src).build();
        pad.link(&sink_pad).expect("they link");
        Self { pad, sink, sink_pad }
    }

    fn begin(&self, stream: &str, painter: &Painter) {
        self.pad.set_active(true).expect("it activates");
        assert!(self.pad.push_event(gst::event::StreamStart::new(stream)));
        self.caps(painter);
        self.segment();
    }

    fn caps(&self, painter: &Painter) {
        assert!(self.pad.push_event(gst::event::Caps::new(&painter.caps())));
    }

    fn segment(&self) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(self.pad.push_event(gst::event::Segment::new(&segment)));
    }

    fn push(&self, painter: &Painter) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.pad.push(painter.paint(0, 255))
    }

    fn pull(&self) -> gst::Sample {
        self.sink.try_pull_sample(PATIENCE).expect("the feed gives a frame")
    }
}

/// Holds the thread of the batcher at its src pad until it is dropped; returns when the thread is there.
struct Hold(gst::Pad, gst::PadProbeId);

impl Hold {
    fn new(rig: &Rig, hand: &Hand) -> Self {
        // Whatever was on its way has passed when this frame has.
        hand.push(&grey()).expect("it flows");
        hand.pull();
        let pad = rig.batcher.static_pad("src").expect("a pad");
        let (here, there) = std::sync::mpsc::channel();
        let id = pad
            .add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, move |_, _| {
                here.send(()).ok();
                gst::PadProbeReturn::Ok
            })
            .expect("a probe");
        hand.push(&grey()).expect("room for a frame");
        there.recv_timeout(std::time::Duration::from_secs(60)).expect("the thread comes by");
        Self(pad, id)
    }

    fn release(self) {
        self.0.remove_probe(self.1);
    }
}

#[test]
fn a_linked_branch_without_a_feed_does_not_keep_the_others_from_playing() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={model} ! nvunbatcher name=u \
         videotestsrc num-buffers=200 ! b.sink_0  u.src_0 ! fakesink sync=true  u.src_7 ! fakesink sync=true"
    ));
    pipeline.set_state(gst::State::Playing).expect("it starts");
    let (result, state, _) = pipeline.state(PATIENCE);
    result.expect("it plays");
    assert_eq!(state, gst::State::Playing);
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn a_consumer_that_ends_early_ends_its_feed_without_an_error() {
    let model = tiny_model("brightest");
    run_to_eos(&launch(&format!(
        "nvbatcher name=b ! nvinference model={model} ! nvunbatcher name=u \
         videotestsrc ! b.sink_0  u.src_0 ! identity eos-after=5 ! fakesink async=false"
    )));
    run_to_eos(&launch(&format!(
        "videotestsrc ! nvinference model={model} ! identity eos-after=5 ! fakesink async=false"
    )));
}

#[test]
fn stopping_while_frames_flow_posts_no_error_and_leaves_no_frame_for_the_next_start() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={model} ! nvunbatcher name=u \
         videotestsrc ! b.sink_0  u.src_0 ! fakesink name=s async=false signal-handoffs=true"
    ));
    let (seen, sessions) = std::sync::mpsc::channel();
    pipeline.by_name("s").expect("s").connect("handoff", false, move |values| {
        let buffer = values[1].get::<gst::Buffer>().expect("a buffer");
        let pad = values[2].get::<gst::Pad>().expect("a pad");
        seen.send((frame::read(&buffer).expect("facts").session, pad.current_caps().is_some())).ok();
        None
    });
    let bus = pipeline.bus().expect("a bus");
    for session in 0..20 {
        pipeline.set_state(gst::State::Playing).expect("it plays");
        for _ in 0..5 {
            let frame = sessions.recv_timeout(std::time::Duration::from_secs(60)).expect("a frame");
            assert_eq!(frame, (session, true));
        }
        pipeline.set_state(gst::State::Ready).expect("it stops");
        assert!(sessions.try_iter().all(|frame| frame == (session, true)));
        let error = bus.pop_filtered(&[gst::MessageType::Error]);
        assert!(error.is_none(), "{error:?}");
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn a_branch_that_is_released_and_requested_again_begins_with_caps() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        rig.add_feed(&grey().caps(), false);
    }
    rig.play();
    for feed in 0..2 {
        push(&rig, feed, 0);
        rig.pull(feed);
    }
    let released = rig.unbatcher.static_pad("src_0").expect("a pad");
    rig.unbatcher.release_request_pad(&released);
    push(&rig, 1, 1);
    rig.pull(1);
    let sink = AppSink::builder().sync(false).async_(false).build();
    rig.pipeline.add(&sink).expect("a new element");
    sink.sync_state_with_parent().expect("it plays");
    let again = rig.unbatcher.request_pad_simple("src_0").expect("a pad");
    again.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
    push(&rig, 0, 1);
    let sample = sink.try_pull_sample(PATIENCE).expect("the branch flows");
    assert_eq!(sample.caps().expect("caps"), grey().caps().as_ref());
    assert_eq!(facts(&sample).seq, 1);
}

#[test]
fn a_consumer_can_be_swapped_and_misses_no_change_of_caps() {
    let rig = Rig::new();
    let hand = Hand::new(&rig, 0);
    rig.play();
    hand.begin("one", &grey());
    hand.push(&grey()).expect("it flows");
    hand.pull();
    let branch = rig.unbatcher.static_pad("src_0").expect("a pad");
    branch.unlink(&hand.sink.static_pad("sink").expect("a pad")).expect("they unlink");
    // Nobody is left: the feed hears of it.
    let mut pushes = std::iter::repeat_with(|| hand.push(&grey()));
    assert_eq!(pushes.find_map(Result::err), Some(gst::FlowError::NotLinked));
    let other = Painter::new(VideoFormat::I420, 160, 90);
    hand.caps(&other);
    let sink = AppSink::builder().sync(false).async_(false).build();
    rig.pipeline.add(&sink).expect("a new element");
    sink.sync_state_with_parent().expect("it plays");
    branch.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
    hand.push(&other).expect("it flows again");
    // First may come what was on its way meanwhile.
    let mut samples = std::iter::repeat_with(|| sink.try_pull_sample(PATIENCE).expect("the branch flows"));
    let changed = samples.find(|sample| sample.caps().expect("caps") != grey().caps().as_ref());
    let changed = changed.expect("the stream goes on");
    assert_eq!(changed.caps().expect("caps"), other.caps().as_ref());
    assert_eq!(changed.buffer().expect("a frame").size(), other.info.size());
    assert_ledger(&rig.batcher);
}

#[test]
fn a_consumer_that_fails_costs_the_other_feeds_nothing() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={model} ! nvunbatcher name=u \
         videotestsrc num-buffers=100 ! b.sink_0  u.src_0 ! identity eos-after=5 ! fakesink async=false \
         videotestsrc num-buffers=100 ! b.sink_1  u.src_1 ! fakesink name=s async=false"
    ));
    run_to_eos(&pipeline);
    let batcher = pipeline.by_name("b").expect("b");
    assert!(stat(&batcher, "delivered") >= 100);
    assert_ledger(&batcher);
}

#[test]
fn a_change_of_caps_survives_a_flush() {
    let rig = Rig::new();
    let hand = Hand::new(&rig, 0);
    rig.play();
    hand.begin("one", &grey());
    let hold = Hold::new(&rig, &hand);
    let other = Painter::new(VideoFormat::I420, 160, 90);
    hand.caps(&other);
    assert!(hand.pad.push_event(gst::event::FlushStart::new()));
    assert!(hand.pad.push_event(gst::event::FlushStop::new(true)));
    hand.segment();
    hand.push(&other).expect("it flows again");
    hold.release();
    // The frame from before the flush is stale.
    let sample = hand.pull();
    assert_eq!(sample.caps().expect("caps"), other.caps().as_ref());
    assert_eq!(facts(&sample).status, Status::Inferred);
    assert_ledger(&rig.batcher);
}

#[test]
fn a_flush_that_a_stop_cuts_short_does_not_silence_the_feed() {
    let rig = Rig::new();
    let hand = Hand::new(&rig, 0);
    rig.play();
    hand.begin("one", &grey());
    assert!(hand.pad.push_event(gst::event::FlushStart::new()));
    rig.pipeline.set_state(gst::State::Ready).expect("it stops");
    hand.pad.set_active(false).expect("it deactivates");
    rig.play();
    hand.begin("two", &grey());
    hand.push(&grey()).expect("it flows again");
    hand.pull();
}

#[test]
fn frames_that_wait_keep_the_session_they_came_in() {
    let rig = Rig::new();
    let hand = Hand::new(&rig, 0);
    rig.play();
    hand.begin("one", &grey());
    let hold = Hold::new(&rig, &hand);
    hand.push(&grey()).expect("room for a frame");
    hand.begin("two", &grey());
    hand.push(&grey()).expect("room for a frame");
    hold.release();
    let sessions: Vec<_> = (0..3).map(|_| facts(&hand.pull()).session).collect();
    assert_eq!(sessions, [0, 0, 1]);
}

#[test]
fn a_feed_that_blocks_goes_on_when_its_overload_rule_changes() {
    let rig = Rig::new();
    let hand = Hand::new(&rig, 0);
    rig.play();
    hand.begin("one", &grey());
    let hold = Hold::new(&rig, &hand);
    for _ in 0..hand.sink_pad.property::<u32>("max-size-buffers") {
        hand.push(&grey()).expect("room for a frame");
    }
    std::thread::scope(|scope| {
        let (started, starting) = std::sync::mpsc::channel();
        let hand = &hand;
        let push = move || {
            started.send(()).ok();
            hand.push(&grey())
        };
        let pushed = std::thread::Builder::new().spawn_scoped(scope, push).expect("a thread");
        starting.recv().expect("it starts");
        hand.sink_pad.set_property_from_str("overload", "drop-newest");
        pushed.join().expect("it returns").expect("the frame is dropped");
    });
    hold.release();
}

#[test]
fn what_is_set_in_ready_is_looked_at() {
    let rig = Rig::new();
    rig.pipeline.set_state(gst::State::Ready).expect("it opens");
    rig.batcher.set_property("max-frames-per-feed", 9_u32);
    assert!(
        rig.pipeline.set_state(gst::State::Paused).is_err(),
        "more frames of a feed than fit into a batch"
    );
    rig.batcher.set_property("max-frames-per-feed", 1_u32);
    rig.pipeline.set_state(gst::State::Ready).expect("it stops");
    rig.inference.set_property("model", "/nowhere.onnx");
    assert!(rig.pipeline.set_state(gst::State::Paused).is_err(), "there is no such model");
}

#[test]
fn caps_that_change_all_the_time_warm_the_model_up_once() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!("appsrc name=a format=time ! nvinference model={model} ! appsink name=s"));
    let source = pipeline.by_name("a").and_downcast::<gst_app::AppSrc>().expect("an appsrc");
    let painters = [grey(), Painter::new(VideoFormat::I420, 160, 90)];
    pipeline.set_state(gst::State::Playing).expect("it plays");
    for number in 0..20 {
        let painter = &painters[number % 2];
        source.set_caps(Some(&painter.caps()));
        source.push_buffer(painter.paint(0, 255)).expect("it takes it");
    }
    source.end_of_stream().expect("it ends");
    let sink = pipeline.by_name("s").and_downcast::<AppSink>().expect("an appsink");
    assert_eq!(std::iter::from_fn(|| sink.try_pull_sample(PATIENCE)).count(), 20);
    let bus = pipeline.bus().expect("a bus");
    let said = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Progress])).count();
    assert!(said <= 2, "{said} messages");
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn a_video_meta_that_lies_fails_its_frame_and_no_other() {
    let mut rig = Rig::new();
    let painter = Painter::new(VideoFormat::I420, 320, 240);
    rig.add_feed(&painter.caps(), false);
    rig.play();
    let lies: [fn(&mut gst::BufferRef); 3] =
        [|buffer| buffer.set_size(100), |buffer| buffer.set_size(0), |buffer| buffer.remove_all_memory()];
    for (number, lie) in (0..).zip(lies) {
        let mut buffer = painter.paint(0, 255);
        let writable = buffer.get_mut().expect("one owner");
        let flags = gst_video::VideoFrameFlags::empty();
        gst_video::VideoMeta::add(writable, flags, VideoFormat::I420, 320, 240).expect("a meta");
        lie(writable);
        rig.push(0, buffer, number * gst::ClockTime::MSECOND);
        let facts = facts(&rig.pull(0));
        assert_eq!(facts.status, Status::Failed, "{number}");
        assert!(facts.error.expect("a reason").contains("expected"));
    }
    let mut other_size = painter.paint(0, 255);
    let writable = other_size.get_mut().expect("one owner");
    let flags = gst_video::VideoFrameFlags::empty();
    gst_video::VideoMeta::add(writable, flags, VideoFormat::Gray8, 64, 64).expect("a meta");
    rig.push(0, other_size, 3 * gst::ClockTime::MSECOND);
    assert_eq!(facts(&rig.pull(0)).status, Status::Failed);
    rig.push(0, painter.paint(0, 255), 4 * gst::ClockTime::MSECOND);
    assert_eq!(facts(&rig.pull(0)).status, Status::Inferred);
}

#[test]
fn odd_timestamps_and_segments_pass_untouched() {
    let rig = Rig::new();
    let hand = Hand::new(&rig, 0);
    rig.play();
    hand.begin("one", &grey());
    let forward = gst::FormattedSegment::<gst::ClockTime>::new();
    let mut backward = forward.clone();
    backward.set_rate(-1.0);
    backward.set_stop(gst::ClockTime::SECOND);
    // A sink may think the last stamp there is to be out of its segment.
    let mut buffer = grey().paint(0, 255);
    buffer.get_mut().expect("one owner").set_pts(gst::ClockTime::MAX);
    hand.pad.push(buffer).expect("it flows");
    let stamps = [(&forward, None), (&backward, Some(gst::ClockTime::ZERO))];
    for (segment, stamp) in stamps {
        assert!(hand.pad.push_event(gst::event::Segment::new(segment)));
        let mut buffer = grey().paint(0, 255);
        buffer.get_mut().expect("one owner").set_pts(stamp);
        hand.pad.push(buffer).expect("it flows");
        let mut samples = std::iter::repeat_with(|| hand.pull());
        let is_it = |sample: &gst::Sample| sample.buffer().is_some_and(|buffer| buffer.pts() == stamp);
        let sample = samples.find(is_it).expect("samples come for ever");
        assert!((sample.segment().expect("a segment").rate() - segment.rate()).abs() < f64::EPSILON);
    }
    assert!(hand.pad.push_event(gst::event::Segment::new(&forward)));
    let mut list = gst::BufferList::new();
    list.get_mut().expect("one owner").add(grey().paint(0, 255));
    list.get_mut().expect("one owner").add(grey().paint(1, 255));
    hand.pad.push_list(list).expect("a list is as good");
    hand.pull();
    hand.pull();
    assert!(hand.pad.push_event(gst::event::Gap::builder(gst::ClockTime::SECOND).build()));
    assert!(hand.pad.push_event(gst::event::Eos::new()));
    assert_eq!(hand.push(&grey()), Err(gst::FlowError::Eos));
    // A new stream makes the ended feed run again. (The sinks of GStreamer 1.22.0 do not.)
    hand.begin("two", &grey());
    hand.push(&grey()).expect("it flows again");
}

#[test]
fn a_flushing_seek_of_a_file_neither_hangs_nor_crashes() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={model} ! nvunbatcher name=u \
         filesrc location={} ! decodebin ! b.sink_0  u.src_0 ! fakesink sync=false",
        clip("carphone_pristine.mp4")
    ));
    pipeline.set_state(gst::State::Paused).expect("it starts");
    pipeline.state(PATIENCE).0.expect("it prerolls");
    for state in [gst::State::Paused, gst::State::Playing] {
        pipeline.set_state(state).expect("it goes on");
        pipeline.seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::SECOND).ok();
    }
    wait_for_eos(&pipeline);
    assert_ledger(&pipeline.by_name("b").expect("b"));
    pipeline.set_state(gst::State::Null).expect("it stops");
}
