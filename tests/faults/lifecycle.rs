//! Pads, states and flushes that come at any moment, with frames on their way.

use super::oracle::{Plan, Scene};
use crate::support::{PATIENCE, eventually, stat};
use gst::prelude::*;
use std::sync::mpsc::channel;

/// Keeps batches from leaving `element` by its src pad, until it is dropped.
struct Hold(gst::Pad, Option<gst::PadProbeId>);

impl Hold {
    /// Returns when a batch, pushed by `push`, is held.
    fn new(element: &gst::Element, push: impl FnOnce()) -> Self {
        let pad = element.static_pad("src").expect("a pad");
        let (here, there) = channel();
        let kind = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
        let probe = pad.add_probe(kind, move |_, _| {
            here.send(()).ok();
            gst::PadProbeReturn::Ok
        });
        push();
        there.recv_timeout(PATIENCE.into()).expect("a batch comes by");
        Self(pad, probe)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(probe) = self.1.take() {
            self.0.remove_probe(probe);
        }
    }
}

/// F59: the first frame of a new feed comes with the next batch.
#[test]
fn feeds_are_added_while_others_flow() {
    let mut scene = Plan::feeds(2).play();
    for feed in 2..12 {
        scene.add_consumer(feed);
        scene.add_camera(feed);
        scene.rounds(1);
        scene.camera(feed).begin();
        scene.pass(feed, 2);
        assert_eq!(scene.consumer(feed).last().facts.seq, 1);
    }
    scene.rounds(2);
    scene.verdict(&[]);
}

/// F60: its frames end as dropped, those of the others arrive.
fn remove_with_a_batch_held_at(element: fn(&Scene) -> &gst::Element) {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    let counts = [0, 2].map(|feed| scene.consumer(feed).count());
    let hold = Hold::new(element(&scene), || {
        scene.camera(1).push().expect("it flows");
    });
    for feed in [0, 1, 2] {
        scene.camera(feed).push().expect("room for a frame");
    }
    scene.remove_camera(1);
    scene.check_books();
    drop(hold);
    for (feed, count) in [0, 2].into_iter().zip(counts) {
        scene.consumer(feed).wait_for(count + 1);
    }
    scene.add_camera(1);
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    assert_eq!(scene.consumer(1).last().facts.session, 1);
    scene.remove_consumer(1);
    scene.add_consumer(1);
    scene.flow(&[1], 2);
    // The frames that the hold let go besides the rounds: the run without the fault gives them, too.
    scene.forgive_numbers();
    scene.verdict(&[]);
}

/// F60, before the engine.
#[test]
fn a_feed_removed_with_its_batch_before_the_engine_costs_the_others_nothing() {
    remove_with_a_batch_held_at(|scene| &scene.batcher);
}

/// F60, after the engine.
#[test]
fn a_feed_removed_with_its_batch_after_the_engine_costs_the_others_nothing() {
    remove_with_a_batch_held_at(|scene| &scene.inference);
}

/// F60, on its way out: the consumer has a frame in its hands.
#[test]
fn pads_released_while_a_consumer_is_blocked_let_go_of_what_waits() {
    for first in ["sink", "src"] {
        let mut scene = Plan::feeds(3).suspects(&[1]).play();
        scene.camera(1).begin();
        scene.consumer(1).block();
        scene.camera(1).push().expect("room for a frame");
        scene.consumer(1).wait_until_blocked();
        (0..4).for_each(|_| {
            scene.camera(1).push().expect("room for a frame");
        });
        if first == "sink" {
            scene.remove_camera(1);
            scene.rounds(2);
            scene.remove_consumer(1);
        } else {
            scene.remove_consumer(1);
            scene.rounds(2);
            scene.remove_camera(1);
        }
        scene.add_consumer(1);
        scene.add_camera(1);
        scene.camera(1).begin();
        scene.flow(&[1], 2);
        scene.verdict(&[]);
    }
}

/// F60: the branch of a feed whose pad is released ends.
#[test]
fn releasing_a_feed_ends_its_branch_and_requesting_it_again_is_a_new_session() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    for session in 0..3 {
        scene.flow(&[1], 2);
        let facts = scene.consumer(1).last().facts;
        assert_eq!((facts.session, facts.seq), (session, 2 * u64::from(session) + 1));
        scene.remove_camera(1);
        scene.consumer(1).wait_for_event(gst::EventType::Eos, session as usize + 1);
        scene.rounds(1);
        scene.add_camera(1);
        scene.camera(1).begin();
    }
    scene.flow(&[1], 1);
    scene.verdict(&[]);
}

/// F61.
#[test]
fn after_the_last_feed_has_gone_nothing_runs_until_another_comes() {
    let mut scene = Plan::feeds(1).suspects(&[0]).play();
    for _ in 0..5 {
        scene.camera(0).begin();
        scene.pass(0, 2);
        scene.remove_camera(0);
        super::process::assert_quiet();
        scene.add_camera(0);
    }
    scene.remove_camera(0);
    scene.verdict(&[]);
}

/// F62: the flush reaches the consumer of that feed, and frames from before it do not.
#[test]
fn a_flush_of_one_feed_discards_its_frames_wherever_they_are_and_no_others() {
    for element in [|scene: &Scene| scene.batcher.clone(), |scene: &Scene| scene.inference.clone()] {
        let mut scene = Plan::feeds(3).suspects(&[1]).play();
        scene.camera(1).begin();
        scene.flow(&[1], 2);
        let hold = Hold::new(&element(&scene), || {
            scene.camera(1).push().expect("it flows");
        });
        (0..2).for_each(|_| {
            scene.camera(1).push().expect("room for a frame");
        });
        scene.camera(1).flush();
        scene.consumer(1).wait_for_event(gst::EventType::FlushStop, 1);
        scene.camera(1).push().expect("it flows again");
        drop(hold);
        scene.consumer(1).wait_for(3);
        let frame = scene.consumer(1).last();
        assert_eq!(frame.number, 5, "frames 2, 3 and 4 are from before the flush");
        for feed in [0, 2] {
            assert_eq!(scene.consumer(feed).events(gst::EventType::FlushStart), 0, "feed {feed}");
        }
        assert_eq!(scene.lost(1, "flushed") + scene.lost(1, "stale"), 3);
        scene.flow(&[1], 2);
        scene.verdict(&[]);
    }
}

/// F62: a consumer that holds a frame up is woken by the flush of its feed.
#[test]
fn a_flush_frees_the_blocked_consumer_of_its_feed() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.consumer(1).block();
    (0..4).for_each(|_| {
        scene.camera(1).push().expect("room for a frame");
    });
    scene.consumer(1).wait_until_blocked();
    scene.camera(1).flush();
    scene.consumer(1).wait_for_event(gst::EventType::FlushStop, 1);
    scene.consumer(1).take();
    scene.flow(&[1], 3);
    scene.verdict(&[]);
}

/// F63: as a flushing seek of the whole pipeline does, over and over.
#[test]
fn flushes_of_all_feeds_at_once_over_and_over_leave_every_feed_flowing() {
    let mut scene = Plan::feeds(3).suspects(&[0, 1, 2]).play();
    for feed in 0..3 {
        scene.camera(feed).begin();
        scene.consumer(feed).forget();
    }
    for round in 0..100 {
        for feed in 0..3 {
            (0..(round + feed) % 4).for_each(|_| {
                scene.camera(feed).push().expect("it flows");
            });
        }
        std::thread::scope(|scope| {
            for feed in 0..3 {
                let camera = scene.camera(feed);
                let name = format!("flush-{feed}");
                std::thread::Builder::new()
                    .name(name)
                    .spawn_scoped(scope, move || camera.flush())
                    .expect("a thread");
            }
        });
        scene.check_books();
    }
    for feed in 0..3 {
        scene.camera(feed).push().expect("it flows");
        let number = 3 * 150;
        eventually("the last frame comes", || scene.consumer(feed).count(), |count| *count >= 1);
        assert!(scene.consumer(feed).last().number < number);
        scene.drain(feed);
    }
    scene.flow(&[0, 1, 2], 3);
    scene.verdict(&[]);
}

/// F64: any state from any state, a hundred times.
#[test]
fn states_change_in_any_order_and_every_start_flows() {
    use gst::State::{Null, Paused, Playing, Ready};
    let mut scene = Plan::feeds(2).suspects(&[0, 1]).play();
    let targets = [Paused, Playing, Ready, Playing, Null, Ready, Paused, Ready, Null, Playing];
    for target in targets.into_iter().cycle().take(100) {
        scene.pipeline.set_state(target).expect("it changes");
        if target < Paused {
            for feed in 0..2 {
                scene.camera(feed).pad.set_active(false).expect("it deactivates");
            }
            continue;
        }
        for feed in 0..2 {
            scene.camera(feed).begin();
            scene.pass(feed, 1);
        }
        scene.check_books();
    }
    scene.pipeline.set_state(Playing).expect("it plays");
    scene.flow(&[0, 1], 1);
    scene.verdict(&[]);
}

/// F65: batches form in PAUSED, too; sinks that wait there hold a few frames, not a minute of them.
#[test]
fn a_long_pause_is_followed_by_no_burst_of_old_frames() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    scene.pipeline.set_state(gst::State::Paused).expect("it pauses");
    scene.consumer(1).block();
    (0..1000).for_each(|_| {
        scene.camera(1).push().expect("a live feed is never held up");
    });
    scene.consumer(1).wait_until_blocked();
    let before = scene.consumer(1).count();
    scene.pipeline.set_state(gst::State::Playing).expect("it plays");
    scene.consumer(1).take();
    scene.drain(1);
    let burst = scene.consumer(1).count() - before;
    assert!(burst <= 8, "{burst} frames");
    assert_eq!(scene.consumer(1).last().number, 1001);
    scene.flow(&[1], 2);
    scene.verdict(&[("backpressure-drop", 1)]);
}

/// F66: the last reference goes while frames are everywhere.
#[test]
fn a_pipeline_that_is_dropped_with_batches_in_flight_leaves_nothing() {
    for round in 0..10_u32 {
        let mut scene = Plan::feeds(3).play();
        scene.rounds(1);
        for feed in 0..3 {
            (0..round % 5).for_each(|_| {
                scene.camera(feed).push().expect("it flows");
            });
        }
        scene.forgive_numbers();
        scene.stay_busy();
        scene.verdict(&[]);
    }
}

/// F71: the streaming thread of a consumer stops the pipeline it runs in.
#[test]
fn a_consumer_may_stop_the_pipeline_from_its_own_thread() {
    let scene = Plan::feeds(2).suspects(&[0]).play();
    scene.camera(0).begin();
    let (stopped, was_stopped) = channel();
    let pipeline = scene.pipeline.downgrade();
    scene.consumer(0).pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let Some(pipeline) = pipeline.upgrade() else { return gst::PadProbeReturn::Ok };
        stopped.send(pipeline.set_state(gst::State::Ready)).ok();
        gst::PadProbeReturn::Ok
    });
    scene.camera(0).push().expect("it flows");
    let result = was_stopped.recv_timeout(PATIENCE.into()).expect("it returns");
    assert_eq!(result, Ok(gst::StateChangeSuccess::Success));
    assert_eq!(scene.camera(1).push(), Err(gst::FlowError::Flushing));
    assert_eq!(stat(&scene.batcher, "queued"), 0);
    scene.verdict(&[]);
}
