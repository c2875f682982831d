//! How long frames wait for their batch, by the times that every frame carries.
//!
//! That no frame waits longer than it must is proved on a clock of its own, in the property tests of the batch
//! core. Here the machine's scheduler is in play: the waits are printed, and what is asserted is the rule by which
//! each batch closed, which no scheduler changes.

use crate::support::{facts, launch, stat, tiny_model, wait_for_eos};
use gst::prelude::*;
use gstnextvision::output::FrameFacts;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Two seconds.
const FRAMES: u32 = 60;
/// Delay of the first feed, in nanoseconds: more than live sources differ in when they start.
const DELAY: u32 = 500_000_000;
/// Two neighbours in time share a batch in it, all four feeds, 25 ms apart, do not: deadlines decide.
const MAX_LATENCY: Duration = Duration::from_millis(10);
/// Late wake-ups that a busy machine gives often.
const NOISE: Duration = Duration::from_millis(5);

/// The facts of all frames of so many live feeds of 30 fps, their frames spread evenly over the interval.
fn watch_live_feeds(feeds: u32) -> (gst::Pipeline, Vec<FrameFacts>) {
    let branches: String = (0..feeds)
        .map(|feed| {
            let delay = DELAY + feed * 33_333_333 / feeds;
            format!(
                " videotestsrc is-live=true num-buffers={FRAMES} \
                 ! video/x-raw,format=GRAY8,width=64,height=64,framerate=30/1 ! clocksync ts-offset={delay} \
                 ! b.sink_{feed}  u.src_{feed} ! appsink name=sink{feed} sync=false async=false"
            )
        })
        .collect();
    let pipeline = launch(&format!(
        "nvbatcher name=b max-latency={} ! nvinference model={} ! nvunbatcher name=u {branches}",
        MAX_LATENCY.as_nanos(),
        tiny_model("slow_1ms")
    ));
    let (tell, told) = channel();
    for feed in 0..feeds {
        let sink: gst_app::AppSink =
            pipeline.by_name(&format!("sink{feed}")).expect("a sink").downcast().expect("an appsink");
        let tell = tell.clone();
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.try_pull_sample(gst::ClockTime::ZERO).ok_or(gst::FlowError::Flushing)?;
            tell.send(facts(&sample)).map_err(|_| gst::FlowError::Flushing)?;
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
    }
    pipeline.set_state(gst::State::Playing).expect("it plays");
    wait_for_eos(&pipeline);
    pipeline.set_state(gst::State::Null).expect("it stops");
    (pipeline, told.try_iter().collect())
}

/// The time each frame waited for its batch, shortest first.
fn waits(frames: &[FrameFacts]) -> Vec<Duration> {
    let mut waits: Vec<_> = frames
        .iter()
        .map(|facts| {
            let (arrival, batched) = (facts.arrival.expect("a time"), facts.batched.expect("a time"));
            Duration::from_nanos(
                batched.checked_sub(arrival).expect("a frame arrives before its batch closes"),
            )
        })
        .collect();
    waits.sort_unstable();
    waits
}

/// The longest wait of these frames.
fn longest(frames: &[FrameFacts]) -> Duration {
    waits(frames).last().copied().expect("there are frames")
}

#[test]
fn batches_of_four_live_feeds_close_when_all_are_in_or_the_oldest_is_due() {
    let (pipeline, frames) = watch_live_feeds(4);
    let batcher = pipeline.by_name("b").expect("the batcher");
    let waits = waits(&frames);
    let longest_wait = longest(&frames);
    let late = waits.iter().filter(|wait| **wait > MAX_LATENCY + NOISE).count();
    println!(
        "{} frames, the longest wait {longest_wait:?}, {late} above {MAX_LATENCY:?} + {NOISE:?}",
        waits.len()
    );
    assert_eq!(u128::from(stat(&batcher, "wait-max")), longest_wait.as_nanos());
    for facts in &frames {
        let reason = facts.close_reason.as_str();
        assert!(["full", "all-ready", "deadline", "eos"].contains(&reason), "{reason}");
    }
    let by_deadline = frames.iter().filter(|facts| facts.close_reason == "deadline").count();
    println!("{by_deadline} frames in batches that closed by deadline");
    assert!(by_deadline > 0, "no deadline decided anything");
    // A deadline counts from the arrival of the oldest frame in the batch: it is never early.
    for batch in frames.iter().filter(|facts| facts.close_reason == "deadline").map(|facts| facts.batch_id) {
        let members: Vec<_> = frames.iter().filter(|facts| facts.batch_id == batch).cloned().collect();
        let oldest = longest(&members);
        assert!(oldest >= MAX_LATENCY, "batch {batch} closed after {oldest:?}");
    }
    assert!(frames.iter().any(|facts| facts.batch_size > 1), "no frames shared a batch");
}

#[test]
fn frames_of_a_live_feed_alone_do_not_wait_for_a_batch() {
    let (_, frames) = watch_live_feeds(1);
    let waits = waits(&frames);
    println!("{} frames, median wait {:?}", waits.len(), waits[waits.len() / 2]);
    for facts in &frames {
        assert_eq!(facts.batch_size, 1, "frame {}", facts.seq);
        // The end may overtake the batch of the last frames.
        assert!(
            ["all-ready", "eos"].contains(&facts.close_reason.as_str()),
            "frame {}: {}",
            facts.seq,
            facts.close_reason
        );
    }
}
