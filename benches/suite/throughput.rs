//! (b) Our pipeline, fed from memory, against the limit (a) in the same run.

use super::frames::{self, Clip};
use super::measure::cores;
use super::numbers::Spread;
use super::part::Part;
use super::prepare::Preparation;
use super::raw::{MODEL, Raw, Runs};
use super::scene::{Chain, Plan, Scene};
use super::source::Pace;
use anyhow::{Context as _, Result};
use gstnextvision::infer::{Engine, EngineOptions};
use std::sync::Arc;
use std::time::Duration;

/// About how long one side of one round runs.
const ROUND: Duration = Duration::from_millis(1200);
/// Feeds, and the largest batch.
const CASES: [(usize, usize); 3] = [(1, 4), (4, 4), (16, 8)];

/// One round: both sides at the same size of batch, and the preparation of the same frames alone.
struct Round {
    raw: Runs,
    pipeline: Runs,
    prepare: Runs,
    batch: f64,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.raw.wall() / self.pipeline.wall()
    }

    /// Time of preparation taken off, spread over all cores: what it takes from a machine that is busy anyway.
    fn ratio_without_preparation(&self) -> f64 {
        self.raw.wall() / (self.pipeline.wall() - self.prepare.cpu() / cores() as f64)
    }

    fn cpu_ratio(&self) -> f64 {
        self.raw.cpu() / (self.pipeline.cpu() - self.prepare.cpu())
    }
}

/// A pipeline of that many feeds at work, and how it has done so far.
fn case(feeds: usize, max_batch_size: usize, clips: &[Arc<Clip>], rounds: usize) -> Result<Vec<Round>> {
    let engine = Engine::open(&EngineOptions::new(MODEL))?;
    let (mut raw, mut preparation) =
        (Raw::open(max_batch_size)?, Preparation::new(engine.model().input_spec())?);
    let plan = Plan {
        chain: Chain::Model(MODEL.to_owned()),
        feeds,
        max_batch_size,
        max_latency: Duration::from_millis(50),
        sink: "nvsink",
    };
    let mut scene = Scene::build(&plan)?;
    scene.play(clips, |_| Pace::UNLIMITED)?;
    let per_frame = raw.run(max_batch_size, Duration::from_millis(300))?.wall();
    let batches = (ROUND.as_secs_f64() / per_frame / max_batch_size as f64).ceil() as usize;
    let frames = (batches * max_batch_size) as u64;
    let mut found = Vec::new();
    // The first round warms up.
    for round in 0..=rounds {
        let batches_before = scene.stat("batches-to-infer").context("batches-to-infer")?;
        let frames_before = scene.meter.total();
        let spent = scene.measure(4 * max_batch_size as u64, frames)?;
        let batches = scene.stat("batches-to-infer").context("batches-to-infer")? - batches_before;
        let batch = (scene.meter.total() - frames_before) as f64 / batches.max(1) as f64;
        // Not larger than the largest, so it has a tensor.
        let size = (batch.round() as usize).clamp(1, max_batch_size);
        let raw = raw.run(size, ROUND)?;
        let prepare = preparation.run(clips, ROUND / 6)?;
        if round > 0 {
            found.push(Round { raw, pipeline: Runs::new(frames, spent), prepare, batch });
        }
    }
    scene.stop()?;
    Ok(found)
}

pub(crate) fn part(rounds: usize) -> Result<Part> {
    let mut part = Part::new(
        "b",
        "Our pipeline against the limit, I420 640x480 from memory, NanoDet-g 320",
        &[
            "feeds",
            "batch",
            "frames/s",
            "limit",
            "ratio",
            "without preparation",
            "CPU ms/frame",
            "limit CPU ms",
            "CPU ratio",
            "preparation ms",
        ],
    );
    let clips = frames::decoded(640, 480, 40)?;
    for (feeds, max_batch_size) in CASES {
        let found = case(feeds, max_batch_size, &clips, rounds)?;
        let spread = |of: &dyn Fn(&Round) -> f64| Spread::of(found.iter().map(of));
        let (ratio, without) = (spread(&Round::ratio), spread(&Round::ratio_without_preparation));
        part.row([
            feeds.to_string(),
            format!("{:.2}", spread(&|round| round.batch).median),
            spread(&|round| 1.0 / round.pipeline.wall()).show(1),
            spread(&|round| 1.0 / round.raw.wall()).show(1),
            ratio.show(3),
            without.show(3),
            spread(&|round| 1e3 * round.pipeline.cpu()).show(2),
            spread(&|round| 1e3 * round.raw.cpu()).show(2),
            spread(&Round::cpu_ratio).show(3),
            spread(&|round| 1e3 * round.prepare.cpu()).show(3),
        ]);
        if feeds == 4 {
            let found = |spread: &Spread| format!("{:.3}", spread.median);
            part.check(
                "ratio at 4 feeds, preparation included",
                ">= 0.92",
                found(&ratio),
                ratio.median >= 0.92,
            );
            part.check(
                "ratio at 4 feeds, preparation subtracted",
                ">= 0.97",
                found(&without),
                without.median >= 0.97,
            );
        }
    }
    explain(&mut part, rounds);
    Ok(part)
}

fn explain(part: &mut Part, rounds: usize) {
    part.note(format!(
        "median [quartiles] of {rounds} rounds, each with both sides after one another, {ROUND:?} each, after one that \
         is not counted; the limit runs at the batch size that the pipeline had in the same round"
    ));
    part.note(format!(
        "ratio = limit time / pipeline time per frame; without preparation = limit time / (pipeline time - preparation / \
         {} cores); CPU ratio = limit CPU / (pipeline CPU - preparation). Preparation (letterbox, colours, \
         normalisation) is timed alone on one thread with the same frames in the same round; the limit has none",
        cores()
    ));
    part.note(
        "feeds are threads that push shallow copies of decoded frames; sinks are nvsink without a file",
    );
}
