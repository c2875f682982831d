//! (g) How long frames take and who is served, with live feeds of mixed rates at half, most and twice of what the
//! engine can do.
//!
//! The engine takes a fixed time per frame and no processor, so that the load is known.

use super::frames;
use super::numbers::{jain, percentile};
use super::part::Part;
use super::scene::{Chain, Plan, Scene};
use super::source::Pace;
use anyhow::{Context as _, Result};
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::elements::message::health_of;
use gstnextvision::infer::script::{self, Action, Script, ScriptOptions};
use gstnextvision::meta::frame;
use gstnextvision::output::Status;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Frames a second of the feeds, four of each.
const RATES: [u64; 3] = [5, 15, 30];
const FEEDS: usize = 12;
const MAX_BATCH_SIZE: usize = 8;
const MAX_LATENCY: Duration = Duration::from_millis(50);
/// The default of `max-size-buffers`.
const QUEUE: usize = 4;
/// Not counted, and counted.
const WARM_UP: Duration = Duration::from_secs(2);
const COUNTED: Duration = Duration::from_secs(10);

/// One load.
struct Case {
    percent: u64,
    overload: &'static str,
}

/// What came out of one feed while it counted.
#[derive(Clone, Debug, Default)]
struct Served {
    /// From arrival at the batcher to delivery, of frames that were inferred, in nanoseconds.
    latencies: Vec<u64>,
    /// Frames that were not inferred.
    passed: u64,
}

/// What one load did.
#[derive(Debug, Default)]
struct Outcome {
    /// Per feed: frames offered, frames that came out with and without a result.
    offered: Vec<u64>,
    served: Vec<Served>,
    /// Over the whole run, start and end included.
    offered_in_all: u64,
    delivered_in_all: u64,
    dropped: u64,
    reported: u64,
}

const fn rate(feed: usize) -> u64 {
    RATES[feed % RATES.len()]
}

fn offered_rate() -> u64 {
    (0..FEEDS).map(rate).sum()
}

/// What the engine takes for one frame at that load.
fn per_frame(percent: u64) -> Duration {
    Duration::from_nanos(1_000_000_000 * percent / 100 / offered_rate())
}

/// An engine that takes so long for each frame, asleep.
fn engine(per_frame: Duration) -> Script {
    script::install("fixed", ScriptOptions { cells: 1, ..ScriptOptions::default() }, move |call| {
        let frames = u32::try_from(call.images.len()).unwrap_or(u32::MAX);
        let end = clock::now().saturating_add(per_frame.saturating_mul(frames));
        while !clock::until(end).is_zero() {
            std::thread::park_timeout(clock::until(end));
        }
        Action::Nothing
    })
}

fn watch(scene: &Scene) -> Result<Vec<Arc<Mutex<Served>>>> {
    let mut all = Vec::new();
    for sink in &scene.sinks {
        let served = Arc::<Mutex<Served>>::default();
        let noted = Arc::clone(&served);
        let pad = sink.static_pad("sink").context("a sink has a pad")?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(facts) = info.buffer().and_then(|buffer| frame::read(buffer)) {
                let mut served = noted.lock();
                match (facts.status, facts.arrival, facts.delivered) {
                    (Status::Inferred, Some(arrival), Some(delivered)) => {
                        served.latencies.push(delivered.saturating_sub(arrival));
                    }
                    _ => served.passed += 1,
                }
            }
            gst::PadProbeReturn::Ok
        });
        all.push(served);
    }
    Ok(all)
}

fn wait(time: Duration) {
    let end = clock::now().saturating_add(time);
    while !clock::until(end).is_zero() {
        std::thread::park_timeout(clock::until(end));
    }
}

fn run(case: &Case) -> Result<Outcome> {
    let script = engine(per_frame(case.percent));
    let chain = Chain::Model(script.model());
    let plan = Plan {
        chain,
        feeds: FEEDS,
        max_batch_size: MAX_BATCH_SIZE,
        max_latency: MAX_LATENCY,
        sink: "nvsink",
    };
    let mut scene = Scene::build(&plan)?;
    for feed in 0..FEEDS {
        scene.entry(feed)?.set_property_from_str("overload", case.overload);
    }
    let served = watch(&scene)?;
    let pace = |feed: usize| {
        let interval = Duration::from_nanos(1_000_000_000 / rate(feed));
        // Cameras are not in step.
        Pace::Live { interval, offset: interval * u32::try_from(feed).unwrap_or_default() / 12 }
    };
    scene.play(&[frames::grey(8, 8)?], pace)?;
    scene.gate.open();
    wait(WARM_UP);
    let before: Vec<_> = scene.sources.iter().map(|source| source.pushed()).collect();
    served.iter().for_each(|served| *served.lock() = Served::default());
    wait(COUNTED);
    let counted: Vec<_> = served.iter().map(|served| std::mem::take(&mut *served.lock())).collect();
    let offered = scene.sources.iter().zip(before).map(|(source, before)| source.pushed() - before).collect();
    scene.gate.close();
    scene.drain()?;
    let dropped = scene.stat("dropped").context("dropped")?;
    let offered_in_all = scene.sources.iter().map(|source| source.pushed()).sum();
    let delivered_in_all = scene.meter.total();
    // In the change to READY the elements post what they have folded; in that to NULL the bus is emptied.
    scene.gate.end();
    scene.pipeline.set_state(gst::State::Ready)?;
    let reported = reported(&scene)?;
    scene.stop()?;
    Ok(Outcome { offered, served: counted, offered_in_all, delivered_in_all, dropped, reported })
}

/// Frames that the messages on the bus say were dropped.
fn reported(scene: &Scene) -> Result<u64> {
    let bus = scene.pipeline.bus().context("a pipeline has a bus")?;
    let mut frames = 0;
    while let Some(message) = bus.pop_filtered(&[gst::MessageType::Element]) {
        if let Some(Ok(health)) = health_of(&message)
            && health.event.name() == "backpressure-drop"
        {
            frames += health.burst.count;
        }
    }
    Ok(frames)
}

impl Outcome {
    fn ratios(&self) -> Vec<f64> {
        let ratio =
            |(served, offered): (&Served, &u64)| served.latencies.len() as f64 / (*offered).max(1) as f64;
        self.served.iter().zip(&self.offered).map(ratio).collect()
    }

    fn latencies(&self) -> Vec<u64> {
        let mut all: Vec<_> =
            self.served.iter().flat_map(|served| served.latencies.iter().copied()).collect();
        all.sort_unstable();
        all
    }

    /// The mean ratio of the feeds of one rate.
    fn ratio_of(&self, wanted: u64) -> f64 {
        let ratios = self.ratios();
        let of_rate: Vec<_> =
            (0..FEEDS).filter(|feed| rate(*feed) == wanted).map(|feed| ratios[feed]).collect();
        of_rate.iter().sum::<f64>() / of_rate.len() as f64
    }
}

/// The longest a frame of the slowest feed may take: until as many have come after it as its queue holds, which then
/// drops it, then the batch that runs and its own.
fn bound(percent: u64) -> Duration {
    let batch = per_frame(percent) * u32::try_from(MAX_BATCH_SIZE).unwrap_or(u32::MAX);
    let slowest = RATES.into_iter().min().unwrap_or(1);
    let queue = Duration::from_secs(QUEUE as u64) / u32::try_from(slowest).unwrap_or(1);
    queue + 2 * batch
}

pub(crate) fn part() -> Result<Part> {
    let mut part = Part::new(
        "g",
        "Latency and fairness, 12 live feeds of 5, 15 and 30 fps, an engine of known speed",
        &[
            "load", "overload", "offered", "inferred", "passed", "dropped", "reported", "p50 ms", "p99 ms",
            "p99.9 ms", "bound ms", "Jain", "5 fps", "15 fps", "30 fps",
        ],
    );
    let cases = [(50, "auto"), (90, "auto"), (200, "auto"), (200, "pass-through")];
    for (percent, overload) in cases {
        println!("  (g) {percent} %, overload={overload}");
        let outcome = run(&Case { percent, overload })?;
        let latencies = outcome.latencies();
        let ms = |nanos: u64| format!("{:.1}", nanos as f64 / 1e6);
        let jain = jain(&outcome.ratios());
        let passed: u64 = outcome.served.iter().map(|served| served.passed).sum();
        let bound = bound(percent);
        part.row(
            [
                format!("{percent} %"),
                overload.to_owned(),
                outcome.offered.iter().sum::<u64>().to_string(),
                latencies.len().to_string(),
                passed.to_string(),
                outcome.dropped.to_string(),
                outcome.reported.to_string(),
                ms(percentile(&latencies, 0.5)),
                ms(percentile(&latencies, 0.99)),
                ms(percentile(&latencies, 0.999)),
                format!("{:.1}", bound.as_secs_f64() * 1e3),
                format!("{jain:.3}"),
            ]
            .into_iter()
            .chain(RATES.map(|rate| format!("{:.2}", outcome.ratio_of(rate)))),
        );
        judge(&mut part, &Case { percent, overload }, &outcome, jain);
    }
    explain(&mut part);
    Ok(part)
}

fn judge(part: &mut Part, case: &Case, outcome: &Outcome, jain: f64) {
    if case.percent != 200 {
        return;
    }
    let missing = outcome.offered_in_all.saturating_sub(outcome.delivered_in_all);
    if case.overload == "pass-through" {
        let found = format!("{} of {}", outcome.delivered_in_all, outcome.offered_in_all);
        part.check("pass-through at 200 %: frames that came out", "all", found, missing == 0);
        return;
    }
    part.check("Jain's index at 200 %", ">= 0.95", format!("{jain:.3}"), jain >= 0.95);
    let (p99, bound) = (Duration::from_nanos(percentile(&outcome.latencies(), 0.99)), bound(case.percent));
    part.check("p99 at 200 %", &format!("<= {bound:.1?}"), format!("{p99:.1?}"), p99 <= bound);
    let found = format!("{missing} missing, {} in stats, {} in messages", outcome.dropped, outcome.reported);
    let holds = missing == outcome.dropped && missing == outcome.reported;
    part.check("drops at 200 % are all reported", "three equal numbers", found, holds);
}

fn explain(part: &mut Part) {
    part.note(format!(
        "the engine sleeps {:?} per frame at 100 % (offered: {} frames/s), in batches of at most {MAX_BATCH_SIZE}, \
         max-latency {MAX_LATENCY:?}, {QUEUE} frames of each feed may wait; {COUNTED:?} after {WARM_UP:?}; dropped and reported: \
         of the whole run",
        per_frame(100),
        offered_rate()
    ));
    part.note(
        "latency: from arrival at the batcher to delivery (nv-frame), of frames that were inferred; Jain's index over \
         inferred/offered of the 12 feeds, whose means per rate are the last columns",
    );
    part.note(
        "bound: frames that may wait / rate of the slowest feed + two batches: a frame waits until as many have come after \
         it as the queue of its feed holds, which then drops it, for the batch that runs, and for its own",
    );
}
