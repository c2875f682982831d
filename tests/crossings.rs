//! Flushes, releases, ends and new beginnings that cross each other on their way.

use crate::support::frames::Painter;
use crate::support::rig::Rig;
use crate::support::{PATIENCE, assert_ledger, eventually, facts, launch, wait_for_eos};
use gst::prelude::*;
use gst_video::VideoFormat;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

fn grey() -> Painter {
    Painter::new(VideoFormat::Gray8, 64, 64)
}

/// A rig with `feeds` feeds, playing, and a pad of our own in the place of every source.
fn rig(feeds: u32) -> (Rig, Vec<gst::Pad>) {
    let mut rig = Rig::new();
    for _ in 0..feeds {
        rig.add_feed(&grey().caps(), false);
    }
    let pads = (0..feeds as usize).map(|feed| {
        let source = &rig.feeds[feed].source;
        let own = source.static_pad("src").expect("a pad");
        own.unlink(&rig.feeds[feed].sink_pad).expect("they were linked");
        source.set_locked_state(true);
        link(&rig.feeds[feed].sink_pad)
    });
    let pads = pads.collect();
    rig.play();
    (rig, pads)
}

fn link(sink_pad: &gst::Pad) -> gst::Pad {
    let pad = gst::Pad::builder(gst::PadDirection::Src).build();
    pad.set_active(true).expect("it activates");
    pad.link(sink_pad).expect("they link");
    pad
}

fn begin(pad: &gst::Pad, stream: &str) {
    pad.push_event(gst::event::StreamStart::new(stream));
    pad.push_event(gst::event::Caps::new(&grey().caps()));
    segment(pad);
}

fn segment(pad: &gst::Pad) {
    pad.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
}

fn flush(pad: &gst::Pad) {
    pad.push_event(gst::event::FlushStart::new());
    pad.push_event(gst::event::FlushStop::new(false));
}

fn push(pad: &gst::Pad) -> Result<gst::FlowSuccess, gst::FlowError> {
    let mut frame = grey().paint(0, 255);
    frame.get_mut().expect("one owner").set_pts(gst::ClockTime::SECOND);
    pad.push(frame)
}

/// A new pad of our own on a newly requested pad of a feed that was released.
fn request(rig: &Rig, feed: u32) -> gst::Pad {
    link(&rig.batcher.request_pad_simple(&format!("sink_{feed}")).expect("a pad that was released"))
}

fn release(rig: &Rig, feed: u32) {
    let pad = rig.batcher.static_pad(&format!("sink_{feed}")).expect("a pad");
    rig.batcher.release_request_pad(&pad);
}

/// The sink of a feed, once it takes the new stream: one that has ended gives nothing at once.
fn pull(rig: &Rig, feed: usize) -> gst::Sample {
    eventually("the sink takes the stream", || rig.feeds[feed].sink.is_eos(), |is_eos| !is_eos);
    rig.pull(feed)
}

fn await_end(rig: &Rig, feed: usize) {
    eventually("the feed ends", || rig.feeds[feed].sink.is_eos(), |is_eos| *is_eos);
}

/// Holds the first event of a kind at the sink pad of the un-batcher, and whatever comes behind it. The receiver hears
/// when it is there; a word to the sender, or its end, lets it go.
fn hold_event(rig: &Rig, kind: gst::EventType) -> (Receiver<()>, Sender<()>) {
    let (arrived, arrives) = channel();
    let (go, goes) = channel::<()>();
    let goes = Mutex::new(Some(goes));
    let pad = rig.unbatcher.static_pad("sink").expect("a pad");
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if info.event().is_some_and(|event| event.type_() == kind) {
            let goes = goes.lock().expect("nobody panics").take();
            if let Some(goes) = goes {
                arrived.send(()).ok();
                goes.recv().ok();
            }
        }
        gst::PadProbeReturn::Ok
    });
    (arrives, go)
}

/// The sum of a counter of all pads of the un-batcher.
fn stat_of_pads(rig: &Rig, field: &str) -> u64 {
    let stats = rig.unbatcher.property::<gst::Structure>("stats");
    let pads = stats.get::<gst::Array>("pads").expect("an array");
    let of = |pad: &glib::SendValue| pad.get::<gst::Structure>().expect("a structure").get::<u64>(field);
    pads.as_slice().iter().map(|pad| of(pad).expect("a counter")).sum()
}

const TWO_FEEDS: &str = "nvbatcher name=b ! nvunbatcher name=u \
     videotestsrc num-buffers=90 ! video/x-raw,width=64,height=64 ! b.sink_0  u.src_0 ! fakesink name=s async=false \
     videotestsrc num-buffers=90 ! video/x-raw,width=64,height=64 ! b.sink_1  u.src_1 ! fakesink async=false";

/// Does something once in a streaming thread: that which pushes the fifth buffer through a pad.
fn once_in_the_thread_of(pad: &gst::Pad, act: impl Fn(&gst::Pad) + Send + Sync + 'static) {
    let count = AtomicU32::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
        if count.fetch_add(1, Ordering::Relaxed) == 5 {
            act(pad);
        }
        gst::PadProbeReturn::Ok
    });
}

fn seek() -> gst::Event {
    let (set, none) = (gst::SeekType::Set, gst::SeekType::None);
    gst::event::Seek::new(1.0, gst::SeekFlags::FLUSH, set, gst::ClockTime::ZERO, none, gst::ClockTime::NONE)
}

#[test]
fn a_pad_released_in_mid_flush_ends_its_feed_and_the_next_one_flows() {
    for ends_first in [false, true] {
        let (rig, pads) = rig(2);
        begin(&pads[0], "one");
        push(&pads[0]).expect("it flows");
        pull(&rig, 0);
        if ends_first {
            pads[0].push_event(gst::event::Eos::new());
            await_end(&rig, 0);
        }
        pads[0].push_event(gst::event::FlushStart::new());
        release(&rig, 0);
        await_end(&rig, 0);
        let pad = request(&rig, 0);
        begin(&pad, "two");
        push(&pad).expect("it flows");
        assert_eq!(facts(&pull(&rig, 0)).seq, 1);
        rig.stop();
        assert_ledger(&rig.batcher);
    }
}

#[test]
fn the_end_of_all_that_a_flush_overtakes_does_not_end_the_flushed_feed() {
    let (rig, pads) = rig(1);
    begin(&pads[0], "one");
    push(&pads[0]).expect("it flows");
    pull(&rig, 0);
    let (arrives, go) = hold_event(&rig, gst::EventType::Eos);
    pads[0].push_event(gst::event::Eos::new());
    await_end(&rig, 0);
    arrives.recv_timeout(PATIENCE.into()).expect("the batches end too");
    flush(&pads[0]);
    segment(&pads[0]);
    drop(go);
    push(&pads[0]).expect("it flows again");
    assert_eq!(facts(&pull(&rig, 0)).seq, 1);
    pads[0].push_event(gst::event::Eos::new());
    await_end(&rig, 0);
}

#[test]
fn batches_do_not_end_in_the_middle_of_a_flush() {
    let (rig, pads) = rig(1);
    begin(&pads[0], "one");
    push(&pads[0]).expect("it flows");
    pull(&rig, 0);
    let held = rig.hold_batches();
    push(&pads[0]).expect("room for a frame");
    pads[0].push_event(gst::event::Eos::new());
    pads[0].push_event(gst::event::FlushStart::new());
    held.release();
    let ends = rig.pipeline.bus().expect("a bus");
    pads[0].push_event(gst::event::FlushStop::new(false));
    segment(&pads[0]);
    for _ in 0..3 {
        push(&pads[0]).expect("it flows again");
        pull(&rig, 0);
    }
    assert!(ends.pop_filtered(&[gst::MessageType::Eos]).is_none());
}

#[test]
fn a_feed_that_was_flushed_before_it_began_and_left_flows_when_it_comes_back() {
    let (rig, pads) = rig(2);
    begin(&pads[1], "other");
    push(&pads[1]).expect("it flows");
    pull(&rig, 1);
    flush(&pads[0]);
    release(&rig, 0);
    await_end(&rig, 0);
    let pad = request(&rig, 0);
    begin(&pad, "one");
    push(&pad).expect("it flows");
    assert_eq!(facts(&pull(&rig, 0)).session, 0);
}

#[test]
fn a_feed_that_was_forgotten_flows_when_it_comes_back() {
    let (rig, pads) = rig(1);
    begin(&pads[0], "one");
    push(&pads[0]).expect("it flows");
    pull(&rig, 0);
    release(&rig, 0);
    for feed in 1..=4100 {
        let pad = request(&rig, feed);
        pad.push_event(gst::event::StreamStart::new("passing"));
        release(&rig, feed);
    }
    let pad = request(&rig, 0);
    begin(&pad, "two");
    push(&pad).expect("it flows");
    pull(&rig, 0);
}

/// Another consumer on a newly requested src pad of the feed, instead of the one there is.
fn replace_sink(rig: &mut Rig, feed: usize) {
    let name = format!("src_{feed}");
    rig.unbatcher.release_request_pad(&rig.unbatcher.static_pad(&name).expect("a pad"));
    let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
    rig.pipeline.add(&sink).expect("a new element");
    sink.sync_state_with_parent().expect("it starts");
    let pad = rig.unbatcher.request_pad_simple(&name).expect("a pad that was released");
    pad.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
    rig.feeds[feed].sink = sink;
}

/// Keeps whatever the batcher sends: it hangs in a frame of that feed.
fn hold_at_a_frame(rig: &Rig, pad: &gst::Pad) -> crate::support::rig::HeldBatches {
    let held = rig.hold_batches();
    push(pad).expect("room for a frame");
    let src = rig.batcher.static_pad("src").expect("a pad");
    eventually("the batch is held", || src.is_blocking(), |is_blocking| *is_blocking);
    held
}

#[test]
fn a_feed_that_comes_back_to_another_consumer_does_not_end_there_as_it_ended_before() {
    let (mut rig, pads) = rig(2);
    begin(&pads[0], "one");
    begin(&pads[1], "other");
    push(&pads[0]).expect("it flows");
    pull(&rig, 0);
    pads[0].push_event(gst::event::Eos::new());
    await_end(&rig, 0);
    let held = hold_at_a_frame(&rig, &pads[1]);
    // That nothing follows is held, too.
    release(&rig, 0);
    replace_sink(&mut rig, 0);
    let pad = request(&rig, 0);
    held.release();
    begin(&pad, "two");
    push(&pad).expect("it flows");
    let sample = rig.pull(0);
    assert_eq!((facts(&sample).session, facts(&sample).seq), (1, 1));
    pad.push_event(gst::event::Eos::new());
    rig.assert_ended(0);
    rig.stop();
    assert_ledger(&rig.batcher);
}

#[test]
fn what_a_feed_left_on_its_way_is_not_for_the_consumer_of_its_next_stream() {
    let (mut rig, pads) = rig(2);
    begin(&pads[0], "one");
    begin(&pads[1], "other");
    let held = hold_at_a_frame(&rig, &pads[1]);
    push(&pads[0]).expect("room for a frame");
    pads[0].push_event(gst::event::Eos::new());
    release(&rig, 0);
    replace_sink(&mut rig, 0);
    let pad = request(&rig, 0);
    begin(&pad, "two");
    push(&pad).expect("room for a frame");
    held.release();
    let sample = rig.pull(0);
    assert_eq!((facts(&sample).session, facts(&sample).seq), (1, 1));
    pad.push_event(gst::event::Eos::new());
    rig.assert_ended(0);
    rig.stop();
    assert_ledger(&rig.batcher);
}

#[test]
fn what_a_feed_left_on_its_way_still_comes_to_the_consumer_it_had() {
    let (rig, pads) = rig(2);
    begin(&pads[0], "one");
    begin(&pads[1], "other");
    let held = hold_at_a_frame(&rig, &pads[1]);
    push(&pads[0]).expect("room for a frame");
    pads[0].push_event(gst::event::Eos::new());
    release(&rig, 0);
    let pad = request(&rig, 0);
    held.release();
    assert_eq!(facts(&rig.pull(0)).session, 0);
    await_end(&rig, 0);
    begin(&pad, "two");
    push(&pad).expect("it flows");
    assert_eq!(facts(&pull(&rig, 0)).session, 1);
    rig.stop();
    assert_ledger(&rig.batcher);
}

#[test]
fn the_end_of_a_released_feed_is_its_last_word_although_it_overtakes_the_start_of_the_batches() {
    let (rig, pads) = rig(2);
    let (arrives, go) = hold_event(&rig, gst::EventType::StreamStart);
    for pad in &pads {
        begin(pad, "one");
        push(pad).expect("room for a frame");
    }
    arrives.recv_timeout(PATIENCE.into()).expect("the batches begin");
    release(&rig, 0);
    await_end(&rig, 0);
    drop(go);
    // Whatever was on its way before this has arrived.
    for _ in 0..4 {
        push(&pads[1]).expect("it flows");
        pull(&rig, 1);
    }
    eventually("all is pushed", || stat_of_pads(&rig, "queued"), |queued| *queued == 0);
    let src = rig.unbatcher.static_pad("src_0").expect("a pad");
    drop(src.stream_lock());
    assert!(rig.feeds[0].sink.is_eos(), "something came behind the end");
}

#[test]
fn a_feed_whose_consumer_wanted_no_more_flows_again_with_a_new_stream_and_with_new_caps() {
    for feeds in [1, 2] {
        for error in [gst::FlowError::Eos, gst::FlowError::NotNegotiated] {
            let (rig, pads) = rig(feeds);
            let left = AtomicU32::new(1);
            let sink_pad = rig.feeds[0].sink.static_pad("sink").expect("a pad");
            let (refused, refusal) = channel();
            sink_pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_err()
                {
                    return gst::PadProbeReturn::Ok;
                }
                info.flow_res = Err(error);
                refused.send(()).ok();
                gst::PadProbeReturn::Handled
            });
            begin(&pads[0], "one");
            push(&pads[0]).expect("room for a frame");
            refusal.recv_timeout(PATIENCE.into()).expect("it is refused");
            if feeds == 1 {
                let mut pushes = std::iter::repeat_with(|| push(&pads[0]));
                assert_eq!(pushes.find_map(Result::err), Some(error));
            }
            if error == gst::FlowError::Eos {
                pads[0].push_event(gst::event::Eos::new());
                await_end(&rig, 0);
                begin(&pads[0], "two");
            } else {
                let mut caps = grey().caps();
                caps.make_mut().set("framerate", gst::Fraction::new(25, 1));
                pads[0].push_event(gst::event::Caps::new(&caps));
            }
            push(&pads[0]).expect("it flows again");
            pull(&rig, 0);
        }
    }
}

#[test]
fn an_un_batcher_that_restarts_alone_gives_every_frame_its_caps() {
    let (rig, pads) = rig(1);
    begin(&pads[0], "one");
    push(&pads[0]).expect("it flows");
    pull(&rig, 0);
    rig.unbatcher.set_state(gst::State::Ready).expect("it stops");
    rig.unbatcher.set_state(gst::State::Playing).expect("it plays");
    push(&pads[0]).expect("it flows");
    let sample = pull(&rig, 0);
    assert_eq!(sample.caps().expect("caps"), grey().caps().as_ref());
}

#[test]
fn a_batcher_that_restarts_alone_in_mid_flush_flows_again() {
    let (rig, pads) = rig(1);
    begin(&pads[0], "one");
    push(&pads[0]).expect("it flows");
    pull(&rig, 0);
    pads[0].push_event(gst::event::FlushStart::new());
    rig.batcher.set_state(gst::State::Ready).expect("it stops");
    rig.batcher.set_state(gst::State::Playing).expect("it plays");
    pads[0].set_active(false).expect("it stops");
    pads[0].set_active(true).expect("it starts");
    begin(&pads[0], "two");
    push(&pads[0]).expect("it flows");
    assert_eq!(facts(&pull(&rig, 0)).seq, 1);
}

#[test]
fn a_seek_from_any_streaming_thread_neither_hangs_nor_ends_anything() {
    for (element, pad) in [("s", "sink"), ("u", "src_1"), ("u", "sink"), ("b", "src"), ("b", "sink_0")] {
        let pipeline = launch(TWO_FEEDS);
        let consumer = pipeline.by_name("s").and_then(|sink| sink.static_pad("sink")).expect("a pad");
        let at = pipeline.by_name(element).and_then(|element| element.static_pad(pad)).expect("a pad");
        once_in_the_thread_of(&at, move |_| {
            consumer.push_event(seek());
        });
        pipeline.set_state(gst::State::Playing).expect("it plays");
        wait_for_eos(&pipeline);
        pipeline.set_state(gst::State::Null).expect("it stops");
        assert_ledger(&pipeline.by_name("b").expect("b"));
    }
}

#[test]
fn pads_can_be_released_from_any_streaming_thread() {
    let releases = [("u", "src_0"), ("b", "sink_0")];
    for (element, pad) in [("u", "src_0"), ("u", "src_1"), ("u", "sink"), ("b", "src"), ("b", "sink_0")] {
        for (owner, released) in releases {
            let pipeline = launch(TWO_FEEDS);
            let owner = pipeline.by_name(owner).expect("it is there");
            let released = owner.static_pad(released).expect("a pad");
            let at = pipeline.by_name(element).and_then(|element| element.static_pad(pad)).expect("a pad");
            let (done, is_done) = channel();
            once_in_the_thread_of(&at, move |_| {
                owner.release_request_pad(&released);
                done.send(()).ok();
            });
            pipeline.set_state(gst::State::Playing).expect("it plays");
            is_done.recv_timeout(PATIENCE.into()).expect("it returns");
            pipeline.set_state(gst::State::Null).expect("it stops");
            assert_ledger(&pipeline.by_name("b").expect("b"));
        }
    }
}

#[test]
fn segment_seeks_without_a_flush_and_backward_play_to_their_end() {
    let pipeline = launch(&TWO_FEEDS.replace("num-buffers=90", ""));
    pipeline.set_state(gst::State::Paused).expect("it starts");
    let bus = pipeline.bus().expect("a bus");
    let (set, flush, segment) = (gst::SeekType::Set, gst::SeekFlags::FLUSH, gst::SeekFlags::SEGMENT);
    let (start, stop) = (gst::ClockTime::ZERO, gst::ClockTime::from_mseconds(300));
    for (rate, flags) in [(1.0, flush | segment), (1.0, segment), (-1.0, segment), (-1.0, flush | segment)] {
        pipeline.seek(rate, flags, set, start, set, stop).expect("it seeks");
        pipeline.set_state(gst::State::Playing).expect("it plays");
        bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::SegmentDone]).expect("the segment is done");
    }
    pipeline.seek(1.0, gst::SeekFlags::empty(), set, start, set, stop).expect("it seeks");
    wait_for_eos(&pipeline);
    assert_ledger(&pipeline.by_name("b").expect("b"));
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn two_un_batchers_behind_a_tee_both_end_and_seeks_reach_both() {
    let pipeline = launch(
        "nvbatcher name=b ! tee name=t ! queue ! nvunbatcher name=u  t. ! queue ! nvunbatcher name=w \
         videotestsrc num-buffers=90 ! b.sink_0  u.src_0 ! fakesink name=s async=false \
         w.src_0 ! fakesink async=false",
    );
    let consumer = pipeline.by_name("s").and_then(|sink| sink.static_pad("sink")).expect("a pad");
    once_in_the_thread_of(&consumer, |pad| {
        pad.push_event(seek());
    });
    pipeline.set_state(gst::State::Playing).expect("it plays");
    wait_for_eos(&pipeline);
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert_ledger(&pipeline.by_name("b").expect("b"));
}

#[test]
fn states_that_change_while_feeds_are_sought_leave_nothing_stuck() {
    let pipeline = launch(&TWO_FEEDS.replace("num-buffers=90", ""));
    let consumer = pipeline.by_name("s").and_then(|sink| sink.static_pad("sink")).expect("a pad");
    let (over, is_over) = channel::<()>();
    std::thread::scope(|scope| {
        let seeks = move || {
            while is_over.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                consumer.push_event(seek());
            }
        };
        let seeking = std::thread::Builder::new().spawn_scoped(scope, seeks).expect("a thread");
        for _ in 0..30 {
            for state in [gst::State::Playing, gst::State::Paused, gst::State::Ready] {
                pipeline.set_state(state).expect("it changes");
            }
        }
        drop(over);
        seeking.join().expect("it ends");
    });
    let consumer = pipeline.by_name("s").and_then(|sink| sink.static_pad("sink")).expect("a pad");
    let (flows, flowing) = channel();
    once_in_the_thread_of(&consumer, move |_| {
        flows.send(()).ok();
    });
    pipeline.set_state(gst::State::Playing).expect("it plays");
    flowing.recv_timeout(PATIENCE.into()).expect("it flows");
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert_ledger(&pipeline.by_name("b").expect("b"));
}
