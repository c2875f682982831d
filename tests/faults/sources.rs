//! Sources that stay silent, stall, fail, end, come back, or send too much at once.

use super::camera::FRAME_TIME;
use super::oracle::{LATE, Plan, Scene};
use crate::support::stat;
use gst::prelude::*;

/// Frames then leave by any rule but the deadline.
fn late_deadline(scene: &Scene) {
    scene.batcher.set_property("max-latency", LATE);
}

/// F01: it is never waited for, whatever the deadline.
#[test]
fn a_feed_that_never_sends_a_frame_costs_the_others_nothing() {
    let mut scene = Plan::feeds(4).suspects(&[1, 2]).tune(late_deadline).play();
    assert!(scene.camera(1).start_stream());
    scene.camera(2).begin();
    scene.rounds_without_deadline(10);
    assert_eq!(stat(&scene.batcher, "dropped"), 0);
    scene.verdict(&[]);
}

/// F02: one deadline, then it is not waited for; its first frame afterwards takes part again.
#[test]
fn a_feed_that_stalls_costs_one_deadline_and_takes_part_again_at_once() {
    let mut scene = Plan::feeds(4).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 3);
    let before = scene.deadlines();
    scene.rounds(20);
    let cost = scene.deadlines() - before;
    assert!(cost <= 2, "{cost} deadlines");
    scene.flow(&[1], 3);
    scene.verdict(&[]);
}

/// F03: GStreamer's own elements end a stream that failed with EOS; the error on the bus is theirs.
#[test]
fn a_source_that_fails_ends_its_feed_and_no_other() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.may_fail("videotestsrc");
    scene.may_fail("broken");
    scene.replace_camera(
        1,
        "videotestsrc ! video/x-raw,format=GRAY8,width=64,height=64 ! identity name=broken error-after=5",
    );
    scene.consumer(1).wait_for_event(gst::EventType::Eos, 1);
    scene.rounds(10);
    assert!(!scene.watch.errors().is_empty(), "the source says that it failed");
    scene.verdict(&[]);
}

/// F04.
#[test]
fn the_end_of_a_feed_comes_after_its_last_frame_and_ends_no_other() {
    let mut scene = Plan::feeds(3).suspects(&[1]).tune(late_deadline).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    scene.camera(1).push().expect("it flows");
    scene.camera(1).end();
    assert_eq!(scene.consumer(1).wait_for_event(gst::EventType::Eos, 1), 3);
    scene.rounds_without_deadline(5);
    for feed in [0, 2] {
        assert_eq!(scene.consumer(feed).events(gst::EventType::Eos), 0, "feed {feed}");
    }
    assert_eq!(scene.consumer(1).events(gst::EventType::Eos), 1);
    scene.verdict(&[]);
}

/// F05: the frame that waits for its batch goes out with the end.
#[test]
fn when_all_feeds_have_ended_each_ends_once_with_all_its_frames() {
    let mut scene = Plan::feeds(3).suspects(&[0, 1, 2]).tune(late_deadline).play();
    (0..3).for_each(|feed| scene.camera(feed).begin());
    scene.flow(&[0, 1, 2], 2);
    scene.camera(0).push().expect("it flows");
    (0..3).for_each(|feed| scene.camera(feed).end());
    for (feed, frames) in [(0, 3), (1, 2), (2, 2)] {
        assert_eq!(scene.consumer(feed).wait_for_event(gst::EventType::Eos, 1), frames, "feed {feed}");
        assert_eq!(scene.consumer(feed).events(gst::EventType::Eos), 1, "feed {feed}");
    }
    assert_ne!(scene.consumer(0).last().facts.close_reason, "deadline");
    scene.verdict(&[]);
}

/// F06.
#[test]
fn the_end_of_a_feed_without_frames_or_caps_comes_through() {
    let mut scene = Plan::feeds(3).suspects(&[1, 2]).play();
    assert!(scene.camera(1).start_stream());
    assert!(scene.camera(1).segment());
    scene.camera(1).end();
    assert!(scene.camera(2).start_stream());
    scene.camera(2).end();
    for feed in [1, 2] {
        assert_eq!(scene.consumer(feed).wait_for_event(gst::EventType::Eos, 1), 0);
    }
    scene.rounds(5);
    scene.verdict(&[]);
}

/// F07, one feed of several.
#[test]
fn a_feed_that_ended_begins_again_with_a_new_stream_on_its_pad() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    for session in 0..5 {
        scene.flow(&[1], 2);
        assert_eq!(scene.consumer(1).last().facts.session, session);
        scene.camera(1).end();
        scene.consumer(1).wait_for_event(gst::EventType::Eos, session as usize + 1);
        assert_eq!(scene.camera(1).push(), Err(gst::FlowError::Eos), "after the end there is nothing");
        scene.rounds(1);
        scene.camera(1).begin();
    }
    scene.flow(&[1], 1);
    scene.verdict(&[]);
}

/// F07, all feeds: also the whole stream of batches begins again.
#[test]
fn after_all_feeds_have_ended_a_new_stream_and_a_new_pad_flow() {
    let mut scene = Plan::feeds(2).suspects(&[0, 1]).play();
    (0..2).for_each(|feed| scene.camera(feed).begin());
    scene.flow(&[0, 1], 2);
    for round in 1..4 {
        (0..2).for_each(|feed| scene.camera(feed).end());
        (0..2).for_each(|feed| {
            scene.consumer(feed).wait_for_event(gst::EventType::Eos, round);
        });
        (0..2).for_each(|feed| scene.camera(feed).begin());
        scene.flow(&[0, 1], 2);
    }
    (0..2).for_each(|feed| scene.camera(feed).end());
    (0..2).for_each(|feed| {
        scene.consumer(feed).wait_for_event(gst::EventType::Eos, 4);
    });
    scene.add_consumer(2);
    scene.add_camera(2);
    scene.camera(2).begin();
    scene.pass(2, 3);
    scene.verdict(&[]);
}

/// F08: both pads of the feed go and come back, with frames on their way.
#[test]
fn a_feed_that_reconnects_over_and_over_brings_no_stale_frame_and_leaves_nothing() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    for round in 0..60 {
        scene.camera(1).begin();
        scene.pass(1, 1);
        let before = scene.consumer(1).last().facts;
        for _ in 0..round % 4 {
            scene.camera(1).push().expect("it flows");
        }
        scene.remove_camera(1);
        scene.remove_consumer(1);
        scene.add_consumer(1);
        scene.add_camera(1);
        scene.camera(1).begin();
        scene.flow(&[1], 1);
        let facts = scene.consumer(1).wait_until(|_| true).facts;
        assert_eq!(facts.session, before.session + 1, "round {round}: a frame of the session before");
        assert!(facts.seq > before.seq, "round {round}: numbers go on");
        scene.remove_camera(1);
        scene.add_camera(1);
    }
    scene.verdict(&[]);
}

/// F13: live feeds keep the newest, and what waits does not stay in the way.
#[test]
fn a_burst_after_a_stall_drops_the_oldest_and_leaves_no_delay_behind() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    scene.consumer(1).block();
    (0..100).for_each(|_| {
        scene.camera(1).push().expect("it flows");
    });
    scene.consumer(1).wait_until_blocked();
    scene.rounds(5);
    scene.consumer(1).take();
    scene.drain(1);
    // The newest have come, and now one in is one out.
    assert_eq!(scene.consumer(1).last().number, 101);
    let (came, dropped) = (scene.consumer(1).count() as u64, scene.lost(1, "overload"));
    assert_eq!(came + dropped, 102);
    assert!((92..=98).contains(&dropped), "{dropped}");
    scene.flow(&[1], 3);
    scene.verdict(&[("backpressure-drop", 1)]);
}

/// F14.
#[test]
fn feeds_of_very_different_rates_are_all_served_in_full() {
    let mut scene = Plan::feeds(4).suspects(&[1]).play();
    scene.camera(1).begin();
    for _ in 0..4 {
        scene.rounds(30);
        scene.flow(&[1], 1);
    }
    assert_eq!(scene.consumer(1).count(), 4);
    assert_eq!(stat(&scene.batcher, "dropped"), 0);
    scene.verdict(&[]);
}

/// F15: a batch waits from the arrival of its oldest frame, so late time stamps do not tear batches apart.
#[test]
fn frames_later_than_their_source_declared_still_share_batches() {
    let mut scene = Plan::feeds(4).tune(late_deadline).play();
    scene.rounds(2);
    scene.rounds(10);
    for feed in 0..4 {
        for arrival in &scene.consumer(feed).arrivals()[2..] {
            let (pts, facts) = (arrival.pts.expect("a time stamp"), &arrival.facts);
            assert!(pts < 12 * FRAME_TIME, "long ago in running time");
            assert_eq!(facts.batch_size, 4, "feed {feed} seq {}", facts.seq);
        }
    }
    scene.verdict(&[]);
}

/// F16: what one feed claims does not make the answer to the others impossible.
#[test]
fn a_latency_that_cannot_be_is_not_handed_on() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).set_latency(500 * gst::ClockTime::MSECOND, Some(gst::ClockTime::ZERO));
    scene.camera(1).begin();
    scene.flow(&[1], 5);
    for feed in 0..3 {
        let mut query = gst::query::Latency::new();
        assert!(scene.consumer(feed).pad.peer_query(&mut query), "feed {feed}");
        let (live, min, max) = query.result();
        assert!(live && min >= 500 * gst::ClockTime::MSECOND, "feed {feed}: {live} {min}");
        assert!(max.is_none_or(|max| max >= min), "feed {feed}: {min} {max:?}");
    }
    scene.verdict(&[]);
}

/// F17: the file is held up and loses nothing, the live feeds do not wait for it.
#[test]
fn a_file_among_live_feeds_is_paced_and_loses_no_frame() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).be_a_file();
    scene.camera(1).begin();
    scene.consumer(1).block();
    std::thread::scope(|scope| {
        let (camera, consumer) = (scene.camera(1).pad.clone(), scene.consumer(1).pad.clone());
        assert!(camera.is_linked() && consumer.is_linked());
        let frames: Vec<_> = (0..40).map(|_| scene.camera(1).frame()).collect();
        let file = scene.camera(1);
        let play = move || {
            for frame in frames {
                file.give(frame).expect("it flows");
            }
        };
        std::thread::Builder::new().name("file".to_owned()).spawn_scoped(scope, play).expect("a thread");
        scene.consumer(1).wait_until_blocked();
        scene.consumer(1).take();
        scene.consumer(1).wait_for(40);
    });
    scene.rounds(10);
    assert_eq!(stat(&scene.batcher, "dropped"), 0);
    scene.verdict(&[]);
}
