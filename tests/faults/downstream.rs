//! Consumers that are slow, stop, refuse, keep everything, or are not there.

use super::oracle::{Plan, Scene};
use gst::prelude::*;

fn times(heard: &[gst::EventType], kind: gst::EventType) -> usize {
    heard.iter().filter(|event| **event == kind).count()
}

/// F37: it gets the newest at its own pace; the others get everything at theirs.
#[test]
fn a_slow_consumer_costs_its_own_feed_frames_and_no_other_anything() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 1);
    scene.consumer(1).block();
    for _ in 0..20 {
        (0..3).for_each(|_| {
            scene.camera(1).push().expect("a live feed is never held up");
        });
        scene.consumer(1).wait_until_blocked();
        let before = scene.consumer(1).count();
        scene.consumer(1).let_through();
        scene.consumer(1).wait_for(before + 1);
        scene.rounds(1);
    }
    assert!(scene.lost(1, "overload") > 20);
    scene.consumer(1).take();
    scene.drain(1);
    scene.flow(&[1], 2);
    assert!(scene.camera(0).heard().iter().all(|event| *event != gst::EventType::Qos));
    scene.verdict(&[("backpressure-drop", 1)]);
}

/// F38: within its credit nothing is lost.
#[test]
fn a_consumer_that_blocks_for_a_while_loses_nothing_within_its_queue() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    scene.consumer(1).block();
    scene.camera(1).push().expect("there is room");
    scene.consumer(1).wait_until_blocked();
    (0..4).for_each(|_| {
        scene.camera(1).push().expect("there is room");
    });
    scene.rounds(10);
    scene.consumer(1).take();
    scene.consumer(1).wait_for(7);
    scene.verdict(&[]);
}

/// F38: for ever, as far as the pipeline lives.
#[test]
fn a_consumer_that_never_comes_back_does_not_keep_the_pipeline_from_stopping() {
    let mut scene = Plan::feeds(3).suspects(&[1, 2]).play();
    for feed in [1, 2] {
        scene.camera(feed).begin();
        scene.consumer(feed).block();
    }
    for _ in 0..20 {
        scene.camera(1).push().expect("a live feed is never held up");
        scene.camera(2).push().expect("a live feed is never held up");
        scene.rounds(1);
    }
    [1, 2].iter().for_each(|feed| scene.consumer(*feed).wait_until_blocked());
    scene.verdict(&[("backpressure-drop", 1), ("backpressure-drop", 2)]);
}

/// F39: the branch is over, what comes for it is counted, the others do not notice.
#[test]
fn a_consumer_that_fails_ends_its_feed_and_no_other() {
    for error in [gst::FlowError::Error, gst::FlowError::Eos, gst::FlowError::NotNegotiated] {
        let mut scene = Plan::feeds(3).suspects(&[1]).play();
        scene.may_report("stage-error", 1);
        scene.camera(1).begin();
        scene.flow(&[1], 2);
        scene.consumer(1).refuse(error);
        for _ in 0..10 {
            scene.camera(1).push().ok();
            scene.rounds(1);
        }
        scene.consumer(1).wait_for_refusals(1);
        scene.drain(1);
        assert!(scene.lost(1, "downstream") >= 1);
        scene.verdict(&[]);
    }
}

/// F40.
#[test]
fn a_feed_that_nobody_consumes_is_counted_and_disturbs_nobody() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.remove_consumer(1);
    scene.camera(1).begin();
    for _ in 0..10 {
        scene.camera(1).push().expect("nobody downstream is no error");
        scene.rounds(1);
    }
    scene.drain(1);
    assert_eq!(scene.lost(1, "unlinked"), 10);
    scene.add_consumer(1);
    scene.flow(&[1], 3);
    scene.verdict(&[]);
}

/// F40: not even the last consumer of all ends the stream of batches for good.
#[test]
fn a_consumer_that_comes_after_all_have_gone_gets_frames() {
    let mut scene = Plan::feeds(2).suspects(&[0, 1]).play();
    (0..2).for_each(|feed| scene.camera(feed).begin());
    scene.flow(&[0, 1], 2);
    for _ in 0..5 {
        (0..2).for_each(|feed| scene.remove_consumer(feed));
        for feed in [0, 1] {
            scene.camera(feed).push().ok();
            scene.drain(feed);
        }
        (0..2).for_each(|feed| scene.add_consumer(feed));
        scene.flow(&[0, 1], 1);
    }
    scene.verdict(&[]);
}

/// F42: frames are the sources' memory; what an application keeps is its own affair, and nothing waits for it.
#[test]
fn a_consumer_that_keeps_every_frame_holds_nobody_up() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.consumer(1).keep();
    scene.flow(&[1], 60);
    (0..3).for_each(|feed| scene.drain(feed));
    scene.verdict(&[]);
}

/// F37: what one sink says about its pace reaches the source of its own feed only.
#[test]
fn events_from_a_consumer_go_upstream_to_its_own_feed_only() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    let qos = gst::event::Qos::builder(gst::QOSType::Underflow, 2.0, 5).build();
    let seek = gst::event::Seek::new(
        1.0,
        gst::SeekFlags::KEY_UNIT,
        gst::SeekType::Set,
        gst::ClockTime::ZERO,
        gst::SeekType::None,
        gst::ClockTime::NONE,
    );
    for event in [qos, seek, gst::event::Reconfigure::new()] {
        let kind = event.type_();
        let heard = |scene: &Scene| [0, 1, 2].map(|feed| times(&scene.camera(feed).heard(), kind));
        let before = heard(&scene);
        assert!(scene.consumer(1).pad.push_event(event), "{kind:?}");
        assert_eq!(heard(&scene), [before[0], before[1] + 1, before[2]], "{kind:?}");
    }
    scene.flow(&[1], 2);
    scene.verdict(&[]);
}
