//! `nvbatcher ! nvinference ! nvunbatcher`: batches form, frames come back, feeds begin and end.

use crate::support::frames::Painter;
use crate::support::rig::Rig;
use crate::support::{assert_ledger, eventually, launch, stat, tiny_model, wait_for_eos};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstnextvision::meta::frame;
use gstnextvision::output::{FrameFacts, Status};

const HOUR: u64 = 3_600_000_000_000;

fn grey() -> Painter {
    Painter::new(VideoFormat::Gray8, 64, 64)
}

fn facts(sample: &gst::Sample) -> FrameFacts {
    frame::read(sample.buffer().expect("a frame")).expect("the facts of a frame")
}

fn push(rig: &Rig, feed: usize, number: u64) {
    rig.push(feed, grey().paint(number, 255), number * gst::ClockTime::MSECOND);
}

#[test]
fn a_feed_alone_does_not_wait_for_its_batch_to_fill() {
    let mut rig = Rig::new();
    rig.batcher.set_property("max-latency", HOUR);
    rig.add_feed(&grey().caps(), false);
    rig.play();
    for number in 0..3 {
        push(&rig, 0, number);
        assert_eq!(facts(&rig.pull(0)).close_reason, "all-ready");
    }
}

#[test]
fn a_feed_that_never_sent_a_frame_is_not_waited_for() {
    let mut rig = Rig::new();
    rig.batcher.set_property("max-latency", HOUR);
    rig.add_feed(&grey().caps(), false);
    rig.add_feed(&grey().caps(), false);
    rig.play();
    push(&rig, 0, 0);
    assert_eq!(facts(&rig.pull(0)).close_reason, "all-ready");
}

#[test]
fn a_feed_that_stalls_costs_one_deadline_and_then_nothing() {
    let mut rig = Rig::new();
    rig.batcher.set_property("max-latency", 20_000_000_u64);
    rig.add_feed(&grey().caps(), false);
    rig.add_feed(&grey().caps(), false);
    rig.play();
    push(&rig, 0, 0);
    rig.pull(0);
    push(&rig, 1, 0);
    rig.pull(1);
    let reasons: Vec<_> = (1..4)
        .map(|number| {
            push(&rig, 0, number);
            facts(&rig.pull(0)).close_reason
        })
        .collect();
    assert!(reasons.iter().filter(|reason| *reason == "deadline").count() <= 2, "{reasons:?}");
    assert_eq!(reasons.last().expect("three frames"), "all-ready");
}

#[test]
fn frames_of_two_feeds_share_a_batch() {
    // As many as fit into the queues, and more than there are elsewhere: some of each feed wait at the batcher.
    const FRAMES: u64 = 8;
    let mut rig = Rig::new();
    rig.batcher.set_property("max-latency", HOUR);
    rig.batcher.set_property("max-batch-size", 2_u32);
    rig.add_feed(&grey().caps(), false);
    rig.add_feed(&grey().caps(), false);
    let held = rig.hold_batches();
    rig.play();
    for feed in [0, 1] {
        (0..FRAMES).for_each(|number| push(&rig, feed, number));
        rig.end(feed);
    }
    held.release();
    let [one, other] = [0, 1].map(|feed| (0..FRAMES).map(|_| facts(&rig.pull(feed))).collect::<Vec<_>>());
    let mut shared = 0;
    for one in &one {
        let Some(other) = other.iter().find(|other| other.batch_id == one.batch_id) else { continue };
        assert_eq!((one.batch_size, other.batch_size), (2, 2));
        assert_eq!((one.close_reason.as_str(), other.close_reason.as_str()), ("full", "full"));
        assert_ne!(one.batch_slot, other.batch_slot);
        shared += 1;
    }
    assert!(shared > 0, "{one:?} {other:?}");
}

#[test]
fn a_frame_keeps_its_caps_timestamps_flags_and_segment() {
    let mut rig = Rig::new();
    let painter = Painter::new(VideoFormat::Nv12, 129, 97);
    rig.add_feed(&painter.caps(), false);
    rig.play();
    let mut buffer = painter.paint(3, 200);
    let writable = buffer.get_mut().expect("one owner");
    writable.set_duration(40 * gst::ClockTime::MSECOND);
    writable.set_offset(77);
    writable.set_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::MARKER);
    let pixels = buffer.map_readable().expect("pixels").to_vec();
    rig.push(0, buffer, 5 * gst::ClockTime::SECOND);
    let sample = rig.pull(0);
    let back = sample.buffer().expect("a frame");
    assert_eq!(sample.caps().expect("caps"), painter.caps().as_ref());
    assert_eq!(back.pts(), Some(5 * gst::ClockTime::SECOND));
    assert_eq!(back.duration(), Some(40 * gst::ClockTime::MSECOND));
    assert_eq!(back.offset(), 77);
    assert!(back.flags().contains(gst::BufferFlags::DISCONT | gst::BufferFlags::MARKER));
    assert_eq!(back.map_readable().expect("pixels").as_slice(), pixels);
    assert_eq!(sample.segment().expect("a segment").format(), gst::Format::Time);
}

#[test]
fn caps_that_change_in_mid_stream_change_at_the_right_frame_of_that_feed_only() {
    let mut rig = Rig::new();
    rig.add_feed(&grey().caps(), false);
    rig.add_feed(&grey().caps(), false);
    rig.play();
    let other = Painter::new(VideoFormat::I420, 160, 90);
    for number in 0..20 {
        let painter = if number % 4 < 2 { grey() } else { other.clone() };
        if number % 2 == 0 {
            rig.feeds[0].source.set_caps(Some(&painter.caps()));
        }
        rig.push(0, painter.paint(number, 255), number * gst::ClockTime::MSECOND);
        push(&rig, 1, number);
        let (changed, same) = (rig.pull(0), rig.pull(1));
        assert_eq!(changed.caps().expect("caps"), painter.caps().as_ref(), "frame {number}");
        assert_eq!(facts(&changed).status, Status::Inferred);
        assert_eq!(same.caps().expect("caps"), grey().caps().as_ref(), "frame {number}");
    }
}

#[test]
fn a_feed_that_ends_leaves_the_others_flowing() {
    let mut rig = Rig::new();
    rig.add_feed(&grey().caps(), false);
    rig.add_feed(&grey().caps(), false);
    rig.play();
    push(&rig, 0, 0);
    rig.end(0);
    rig.pull(0);
    rig.assert_ended(0);
    for number in 0..5 {
        push(&rig, 1, number);
        assert_eq!(facts(&rig.pull(1)).seq, number);
    }
    rig.end(1);
    rig.assert_ended(1);
    wait_for_eos(&rig.pipeline);
    assert_eq!(stat(&rig.batcher, "delivered"), 6);
    assert_ledger(&rig.batcher);
}

#[test]
fn a_feed_without_frames_ends_too() {
    let mut rig = Rig::new();
    rig.add_feed(&grey().caps(), false);
    rig.play();
    rig.end(0);
    rig.assert_ended(0);
    wait_for_eos(&rig.pipeline);
}

#[test]
fn a_feed_added_while_playing_takes_part() {
    let mut rig = Rig::new();
    rig.add_feed(&grey().caps(), false);
    rig.play();
    push(&rig, 0, 0);
    rig.pull(0);
    let late = rig.add_feed(&grey().caps(), false);
    for element in [rig.feeds[late].sink.upcast_ref::<gst::Element>(), rig.feeds[late].source.upcast_ref()] {
        element.sync_state_with_parent().expect("it plays");
    }
    push(&rig, late, 0);
    assert_eq!(facts(&rig.pull(late)).feed as usize, late);
    push(&rig, 0, 1);
    rig.pull(0);
}

#[test]
fn the_end_waits_for_a_feed_that_somebody_expects() {
    let mut rig = Rig::new();
    rig.add_feed(&grey().caps(), false);
    // A branch for feed 1, whose source is not there yet.
    let src = rig.unbatcher.request_pad_simple("src_1").expect("a pad for a feed to come");
    let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
    rig.pipeline.add(&sink).expect("a new element");
    src.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
    rig.play();
    push(&rig, 0, 0);
    rig.end(0);
    rig.pull(0);
    rig.assert_ended(0);
    // The late feed: it gets through, so the batcher has not ended.
    let late = gst_app::AppSrc::builder().caps(&grey().caps()).format(gst::Format::Time).build();
    rig.pipeline.add(&late).expect("a new element");
    let pad = rig.batcher.request_pad_simple("sink_1").expect("a pad");
    late.static_pad("src").expect("a pad").link(&pad).expect("they link");
    late.sync_state_with_parent().expect("it plays");
    late.push_buffer(grey().paint(0, 255)).expect("the feed takes it");
    late.end_of_stream().expect("the feed ends");
    let sample = sink.try_pull_sample(crate::support::PATIENCE).expect("the late feed flows");
    assert_eq!(facts(&sample).feed, 1);
    wait_for_eos(&rig.pipeline);
}

#[test]
fn a_branch_that_comes_later_begins_with_caps_and_segment() {
    let mut rig = Rig::new();
    rig.add_feed(&grey().caps(), false);
    let source = gst_app::AppSrc::builder().caps(&grey().caps()).format(gst::Format::Time).build();
    rig.pipeline.add(&source).expect("a new element");
    let pad = rig.batcher.request_pad_simple("sink_5").expect("a pad");
    source.static_pad("src").expect("a pad").link(&pad).expect("they link");
    rig.play();
    source.push_buffer(grey().paint(0, 255)).expect("the feed takes it");
    // A frame of feed 0 that leaves behind it proves that the one of feed 5 has passed the un-batcher.
    while stat(&rig.unbatcher, "unlinked") == 0 {
        push(&rig, 0, 0);
        rig.pull(0);
    }
    let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
    rig.pipeline.add(&sink).expect("a new element");
    let src = rig.unbatcher.request_pad_simple("src_5").expect("a pad");
    src.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
    sink.sync_state_with_parent().expect("it plays");
    source.push_buffer(grey().paint(1, 255)).expect("the feed takes it");
    let sample = sink.try_pull_sample(crate::support::PATIENCE).expect("the branch flows");
    assert_eq!(sample.caps().expect("caps"), grey().caps().as_ref());
    assert_eq!(facts(&sample).seq, 1);
}

#[test]
fn a_feed_without_a_branch_is_counted_and_is_no_error() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={model} ! nvunbatcher name=u \
         videotestsrc num-buffers=10 ! b.sink_0  u.src_0 ! fakesink async=false \
         videotestsrc num-buffers=10 ! b.sink_1"
    ));
    let (batcher, unbatcher) = (pipeline.by_name("b").expect("b"), pipeline.by_name("u").expect("u"));
    pipeline.set_state(gst::State::Playing).expect("it plays");
    // The feed with a branch may end, and the pipeline with it, before the other one.
    eventually("all frames of feed 1 are counted", || stat(&unbatcher, "unlinked"), |count| *count == 10);
    wait_for_eos(&pipeline);
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert_eq!((stat(&batcher, "delivered"), stat(&batcher, "dropped")), (10, 10));
    assert_ledger(&batcher);
}

#[test]
fn a_silent_feed_does_not_keep_the_pipeline_from_playing() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={model} ! nvunbatcher name=u \
         videotestsrc num-buffers=200 ! b.sink_0  u.src_0 ! fakesink async=false \
         appsrc format=time ! b.sink_1  u.src_1 ! fakesink sync=false"
    ));
    pipeline.set_state(gst::State::Playing).expect("it starts");
    let (result, state, _) = pipeline.state(crate::support::PATIENCE);
    result.expect("it plays");
    assert_eq!(state, gst::State::Playing);
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn with_an_interval_the_frames_between_ride_along_in_order() {
    let mut rig = Rig::new();
    rig.add_feed(&grey().caps(), false);
    rig.feeds[0].sink_pad.set_property("interval", 2_u32);
    rig.play();
    let seen: Vec<_> = (0..9)
        .map(|number| {
            push(&rig, 0, number);
            let facts = facts(&rig.pull(0));
            assert_eq!(facts.seq, number);
            facts.status
        })
        .collect();
    assert_eq!(seen.iter().filter(|status| **status == Status::Inferred).count(), 3, "{seen:?}");
    assert_eq!(seen.iter().filter(|status| **status == Status::Skipped).count(), 6, "{seen:?}");
}

#[test]
fn latency_is_that_of_the_slowest_feed_and_the_wait_for_a_batch() {
    let mut rig = Rig::new();
    rig.batcher.set_property("max-latency", 30_000_000_u64);
    rig.inference.set_property("processing-latency", 5_000_000_u64);
    for latency in [10_u64, 40] {
        let feed = rig.add_feed(&grey().caps(), true);
        let nanos = i64::try_from(latency * 1_000_000).expect("small");
        rig.feeds[feed].source.set_latency(gst::ClockTime::from_nseconds(nanos as u64), None);
    }
    rig.play();
    let mut query = gst::query::Latency::new();
    assert!(rig.unbatcher.static_pad("src_0").expect("a pad").query(&mut query));
    let (live, min, _) = query.result();
    assert!(live);
    assert_eq!(min, (40 + 30 + 5) * gst::ClockTime::MSECOND);
}

#[test]
fn the_feed_id_and_session_are_on_every_frame() {
    let mut rig = Rig::new();
    rig.add_feed(&grey().caps(), false);
    rig.feeds[0].sink_pad.set_property("feed-id", "front door");
    rig.play();
    push(&rig, 0, 0);
    let facts = facts(&rig.pull(0));
    assert_eq!((facts.feed_id.as_str(), facts.session, facts.seq), ("front door", 0, 0));
    assert_eq!((facts.model.as_str(), facts.provider.as_str()), ("brightest", "cpu"));
    let times = [facts.arrival, facts.batched, facts.inference_start, facts.inference_end, facts.delivered];
    let known: Vec<_> = times.iter().flatten().collect();
    assert_eq!(known.len(), times.len());
    assert!(known.is_sorted(), "{times:?}");
}
