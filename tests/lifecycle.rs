//! States, pads that come and go, and what must be left behind: nothing.

use crate::support::frames::Painter;
use crate::support::holdings::Holdings;
use crate::support::rig::Rig;
use crate::support::{PATIENCE, assert_ledger, eventually, facts, launch, stat, tiny_model, wait_for_eos};
use gst::prelude::*;
use gst_video::VideoFormat;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

fn grey() -> Painter {
    Painter::new(VideoFormat::Gray8, 64, 64)
}

/// Waits until there is no more than this. Threads of GLib's pool end by themselves when they have been idle for 15 s;
/// ONNX Runtime keeps a thread of its own, which has the name of the one that started it.
fn wait_for_no_more(before: &Holdings) {
    eventually(&format!("no more than {before:?}"), Holdings::now, |now| now.is_no_more_than(before, false));
}

fn play_and_preroll(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Playing).expect("it plays");
    pipeline.state(PATIENCE).0.expect("it plays");
}

fn two_feeds(folder: &tempfile::TempDir) -> gst::Pipeline {
    let branch = |feed: u32| {
        let file = folder.path().join(feed.to_string());
        format!(
            "videotestsrc ! b.sink_{feed} u.src_{feed} ! nvsink name=s{feed} location={} ",
            file.display()
        )
    };
    launch(&format!(
        "nvbatcher name=b ! nvinference model={} ! nvunbatcher name=u {} {}",
        tiny_model("brightest"),
        branch(0),
        branch(1)
    ))
}

/// Plays until both feeds have given a record, then stops. An appsink keeps its last buffer, and with it the pool
/// that has descriptors: from the first record on there is one in every sink.
fn cycle(pipeline: &gst::Pipeline, stop_in: gst::State) {
    let received = || ["s0", "s1"].map(|sink| stat(&pipeline.by_name(sink).expect("a sink"), "received"));
    play_and_preroll(pipeline);
    let before = received();
    eventually("both feeds flow", received, |now| now[0] > before[0] && now[1] > before[1]);
    pipeline.set_state(stop_in).expect("it stops");
}

/// Each sink holds its first frame until all have one: more threads are blocked than there are cores, at once.
#[test]
fn sixty_feeds_whose_sinks_wait_for_each_other_play_to_their_end() {
    const FRAMES: u64 = 5;
    let branch = |feed: u32| {
        format!(
            " videotestsrc num-buffers={FRAMES} ! video/x-raw,format=GRAY8,width=8,height=8 \
             ! b.sink_{feed}  u.src_{feed} ! fakesink sync={}",
            feed.is_multiple_of(2)
        )
    };
    let branches: String = (0..60).map(branch).collect();
    let pipeline = launch(&format!("nvbatcher name=b max-feeds=60 ! nvunbatcher name=u {branches}"));
    play_and_preroll(&pipeline);
    wait_for_eos(&pipeline);
    let batcher = pipeline.by_name("b").expect("the batcher");
    assert_eq!(stat(&batcher, "delivered"), 60 * FRAMES);
    assert_ledger(&batcher);
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn fifty_cycles_of_ready_and_playing_leave_no_thread_and_no_descriptor_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = two_feeds(&folder);
    (0..2).for_each(|_| cycle(&pipeline, gst::State::Ready));
    let first = Holdings::now();
    (0..50).for_each(|_| cycle(&pipeline, gst::State::Ready));
    wait_for_no_more(&first);
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert_ledger(&pipeline.by_name("b").expect("the batcher"));
}

#[test]
fn twenty_cycles_of_null_and_playing_leave_no_thread_and_no_descriptor_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = two_feeds(&folder);
    (0..2).for_each(|_| cycle(&pipeline, gst::State::Null));
    let first = Holdings::now();
    (0..20).for_each(|_| cycle(&pipeline, gst::State::Null));
    wait_for_no_more(&first);
}

#[test]
fn a_pipeline_that_ended_plays_again_from_the_start() {
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={} ! nvunbatcher name=u \
         videotestsrc num-buffers=7 ! b.sink_0  u.src_0 ! fakesink async=false",
        tiny_model("brightest")
    ));
    let batcher = pipeline.by_name("b").expect("the batcher");
    for (round, state) in [gst::State::Ready, gst::State::Null, gst::State::Ready].into_iter().enumerate() {
        pipeline.set_state(gst::State::Playing).expect("it plays");
        wait_for_eos(&pipeline);
        assert_eq!(stat(&batcher, "delivered"), 7 * (round as u64 + 1));
        pipeline.set_state(state).expect("it stops");
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
}

/// Takes a feed out of a stopped rig: its pads are released, its source and sink removed.
fn remove_feed(rig: &Rig, feed: usize) {
    let number = feed;
    let src_pad = rig.unbatcher.static_pad(&format!("src_{number}")).expect("a pad");
    let parts: [&gst::Element; 2] = [rig.feeds[feed].source.upcast_ref(), rig.feeds[feed].sink.upcast_ref()];
    for part in parts {
        part.set_state(gst::State::Null).expect("it stops");
        rig.pipeline.remove(part).expect("it is there");
    }
    rig.batcher.release_request_pad(&rig.feeds[feed].sink_pad);
    rig.unbatcher.release_request_pad(&src_pad);
}

fn assert_flows(rig: &Rig, feed: usize, number: u64) {
    rig.push(feed, grey().paint(number, 255), number * gst::ClockTime::MSECOND);
    assert_eq!(facts(&rig.pull(feed)).feed as usize, feed);
}

#[test]
fn pads_come_before_and_during_playing_and_go_in_ready_and_null() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        rig.add_feed(&grey().caps(), false);
    }
    rig.play();
    assert_flows(&rig, 0, 0);
    let late = rig.add_feed(&grey().caps(), false);
    for part in [rig.feeds[late].sink.upcast_ref::<gst::Element>(), rig.feeds[late].source.upcast_ref()] {
        part.sync_state_with_parent().expect("it plays");
    }
    (0..3).for_each(|feed| assert_flows(&rig, feed, 1));

    rig.pipeline.set_state(gst::State::Ready).expect("it stops");
    remove_feed(&rig, 0);
    rig.play();
    (1..3).for_each(|feed| assert_flows(&rig, feed, 2));

    rig.stop();
    remove_feed(&rig, 1);
    assert_eq!((rig.batcher.num_sink_pads(), rig.unbatcher.num_src_pads()), (1, 1));
    rig.play();
    assert_flows(&rig, 2, 3);
    rig.end(2);
    rig.assert_ended(2);
    wait_for_eos(&rig.pipeline);
    assert_ledger(&rig.batcher);
}

#[test]
fn a_number_whose_pads_were_released_can_be_requested_again() {
    let mut rig = Rig::new();
    rig.add_feed(&grey().caps(), false);
    rig.play();
    assert_flows(&rig, 0, 0);
    rig.stop();
    remove_feed(&rig, 0);
    rig.feeds.clear();
    rig.add_feed(&grey().caps(), false);
    rig.play();
    assert_flows(&rig, 0, 0);
}

#[test]
fn an_element_that_never_started_is_freed_with_its_pads() {
    crate::support::init();
    for (factory, request) in [
        ("nvbatcher", Some("sink_3")),
        ("nvinference", None),
        ("nvunbatcher", Some("src_3")),
        ("nvsink", None),
    ] {
        let element = gst::ElementFactory::make(factory).build().expect("a registered element");
        let pad = request.map(|name| element.request_pad_simple(name).expect("a pad").downgrade());
        let weak = element.downgrade();
        drop(element);
        assert!(weak.upgrade().is_none(), "{factory} lives on");
        assert!(pad.is_none_or(|pad| pad.upgrade().is_none()), "a pad of {factory} lives on");
    }
}

/// Plays three feeds without end until so many frames have passed `element`'s `pad`, then stops at once.
fn stop_after(frames: u64, element: &str, pad: &str) {
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference name=i model={} ! nvunbatcher name=u \
         videotestsrc ! b.sink_0  u.src_0 ! nvsink \
         videotestsrc ! b.sink_1  u.src_1 ! nvsink overflow=block \
         videotestsrc ! b.sink_2",
        tiny_model("slow_1ms")
    ));
    let (reached, was_reached) = channel();
    let count = AtomicU64::new(0);
    let pad = pipeline.by_name(element).and_then(|element| element.static_pad(pad)).expect("a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if count.fetch_add(1, Ordering::Relaxed) + 1 == frames {
            reached.send(()).ok();
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).expect("it plays");
    was_reached.recv_timeout(PATIENCE.into()).expect("frames flow");
    pipeline.set_state(gst::State::Null).expect("it stops");
    let batcher = pipeline.by_name("b").expect("the batcher");
    eventually("no frame is in flight", || stat(&batcher, "in-flight"), |frames| *frames == 0);
    assert_ledger(&batcher);
    drop(batcher);
    let weak = pipeline.downgrade();
    drop((pipeline, pad));
    eventually("the pipeline is freed", || weak.upgrade().is_some(), |alive| !alive);
}

#[test]
fn a_pipeline_stops_at_any_point_with_frames_in_flight() {
    let places = [("b", "sink_0"), ("b", "src"), ("i", "src"), ("u", "src_0"), ("u", "src_1")];
    for round in 0..20 {
        let (element, pad) = places[round % places.len()];
        stop_after(1 + (round as u64 * 7) % 23, element, pad);
    }
}
