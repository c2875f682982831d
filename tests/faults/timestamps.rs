//! Time stamps and segments that are missing, jump, run backwards, repeat or drift.

use super::camera::{FRAME_TIME, grey};
use super::oracle::{LATE, Plan, Scene};
use crate::support::stat;
use gst::prelude::*;

const HOUR: gst::ClockTime = gst::ClockTime::from_seconds(3600);

/// Pushes a frame with each of these time stamps; each comes out with its own.
fn assert_taken(scene: &mut Scene, stamps: &[Option<gst::ClockTime>]) {
    for pts in stamps {
        let before = scene.consumer(1).count();
        scene.camera(1).push_at(*pts).expect("its feed goes on");
        scene.consumer(1).wait_for(before + 1);
        assert_eq!(scene.consumer(1).last().pts, *pts);
        scene.rounds(1);
    }
}

fn with_a_suspect() -> Scene {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    scene
}

/// F27.
#[test]
fn frames_without_a_time_stamp_are_taken_as_they_come_and_counted() {
    let mut scene = with_a_suspect();
    assert_taken(&mut scene, &[None; 5]);
    assert_eq!(scene.of_pad(1, "without-pts"), 5);
    scene.flow(&[1], 2);
    scene.verdict(&[]);
}

/// F28: deadlines count from the arrival, so a jump moves none.
#[test]
fn a_jump_forward_by_an_hour_delays_nothing() {
    let mut scene = with_a_suspect();
    assert_taken(&mut scene, &[Some(HOUR), Some(HOUR + FRAME_TIME), Some(2 * HOUR), Some(20_000 * HOUR)]);
    scene.verdict(&[]);
}

/// F29: order is that of arrival, whatever the stamps say.
#[test]
fn time_stamps_that_run_backwards_keep_the_order_of_arrival_and_are_counted() {
    let mut scene = with_a_suspect();
    assert_taken(&mut scene, &[10, 9, 8, 1000, 0].map(|frames| Some(frames * FRAME_TIME)));
    assert_eq!(scene.of_pad(1, "backward-pts"), 3);
    scene.verdict(&[]);
}

/// F30: the numbers of the frames tell them apart.
#[test]
fn frames_with_the_same_time_stamp_are_all_delivered() {
    let mut scene = with_a_suspect();
    assert_taken(&mut scene, &[Some(7 * FRAME_TIME); 5]);
    assert_eq!(scene.consumer(1).last().facts.seq, 6);
    scene.verdict(&[]);
}

/// F31.
#[test]
fn frames_outside_their_segment_are_dropped_and_counted() {
    let mut scene = with_a_suspect();
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(HOUR);
    segment.set_stop(HOUR + 10 * FRAME_TIME);
    assert!(scene.camera(1).send(gst::event::Segment::new(&segment)));
    for pts in [gst::ClockTime::ZERO, HOUR - 2 * FRAME_TIME, HOUR + 11 * FRAME_TIME] {
        scene.camera(1).push_at(Some(pts)).expect("its feed goes on");
    }
    scene.rounds(3);
    assert_taken(&mut scene, &[Some(HOUR), Some(HOUR + 9 * FRAME_TIME)]);
    assert_eq!(scene.lost(1, "out-of-segment"), 3);
    scene.verdict(&[("stage-error", 1)]);
}

/// F32: an hour of 1000 ppm is 3.6 s apart; nothing is aligned by time stamp, so nothing piles up.
#[test]
fn clocks_that_drift_apart_build_up_no_backlog() {
    let mut scene = Plan::feeds(4).suspects(&[1]).play();
    scene.camera(1).begin();
    for round in 0..100_u64 {
        let before = scene.consumer(1).count();
        scene.camera(1).push_at(Some(round * (FRAME_TIME + FRAME_TIME / 20))).expect("it flows");
        scene.consumer(1).wait_for(before + 1);
        scene.rounds(1);
        assert_eq!(stat(&scene.batcher, "queued"), 0, "round {round}");
    }
    scene.verdict(&[]);
}

/// F33: a GAP comes out on its own feed, in its place, and is never taken for a frame or waited behind.
#[test]
fn gaps_come_out_in_their_place_on_their_feed() {
    let gap = |pts: gst::ClockTime, duration: Option<gst::ClockTime>| {
        gst::event::Gap::builder(pts).duration(duration).build()
    };
    let late = |scene: &Scene| scene.batcher.set_property("max-latency", LATE);
    let mut scene = Plan::feeds(3).suspects(&[1, 2]).tune(late).play();
    // Before its segment, on a feed that has no caps either.
    assert!(scene.camera(2).start_stream());
    scene.camera(2).send(gap(gst::ClockTime::ZERO, None));
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    assert!(scene.camera(1).send(gap(2 * FRAME_TIME, None)));
    assert_eq!(scene.consumer(1).wait_for_event(gst::EventType::Gap, 1), 2);
    assert!(scene.camera(1).send(gap(3 * FRAME_TIME, Some(FRAME_TIME))));
    assert_eq!(scene.consumer(1).wait_for_event(gst::EventType::Gap, 2), 2);
    // It said that it pauses, so it is not waited for.
    scene.rounds_without_deadline(5);
    scene.flow(&[1], 2);
    assert_eq!(scene.consumer(0).events(gst::EventType::Gap), 0);
    assert_eq!(scene.consumer(1).events(gst::EventType::Gap), 2);
    scene.verdict(&[]);
}

/// F34: a lost clock is handled as GStreamer says, by going through PAUSED.
#[test]
fn a_pipeline_whose_clock_was_lost_goes_on() {
    let mut scene = Plan::feeds(2).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    for clock_type in [gst::ClockType::Realtime, gst::ClockType::Monotonic] {
        let clock = glib::Object::builder::<gst::SystemClock>().property("clock-type", clock_type).build();
        scene.pipeline.set_state(gst::State::Paused).expect("it pauses");
        scene.pipeline.use_clock(Some(&clock));
        scene.pipeline.set_state(gst::State::Playing).expect("it plays");
        scene.flow(&[1], 3);
    }
    let painter = grey();
    assert_eq!(scene.consumer(1).last().caps, painter.caps());
    scene.verdict(&[]);
}
