//! (c) What a frame costs beside the model: batcher, un-batcher and sink around an engine that does nothing.

use super::frames::{self, Clip};
use super::measure;
use super::numbers::Spread;
use super::part::Part;
use super::prepare::Preparation;
use super::raw::Runs;
use super::scene::{Chain, Plan, Scene};
use super::source::Pace;
use anyhow::{Context as _, Result, bail};
use gstnextvision::infer::script::{self, Action, Script, ScriptOptions};
use gstnextvision::vision::Size;
use gstnextvision::vision::preprocess::{InputSpec, Layout, Normalize, PAD_LEVEL};
use std::sync::Arc;
use std::time::Duration;

/// Side of the frames and of the model's image, in pixels.
const SIDE: u32 = 8;
const FEEDS: [usize; 4] = [1, 16, 64, 256];
const MAX_BATCH_SIZE: usize = 16;
/// Fewest frames of a round, over all feeds.
const FRAMES: u64 = 20_000;
/// Fewest frames of a round for each feed: what a round begins with, as queues that fill, must not weigh.
const FRAMES_OF_FEED: u64 = 400;
/// Frames of the shorter and of the longer run under valgrind: what they differ by is what is told.
const COUNTED: (u64, u64) = (2_048, 6_144);

/// What stands between feeds and sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Direct,
    Batches,
    Null,
    /// No pipeline: only the preparation of the frames, which is not what is looked for.
    Prepare,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Direct, Self::Batches, Self::Null, Self::Prepare];
    const PIPELINES: [Self; 3] = [Self::Direct, Self::Batches, Self::Null];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Batches => "batches",
            Self::Null => "null",
            Self::Prepare => "prepare",
        }
    }
}

/// An engine that does nothing, with images of 8 x 8 pixels.
fn null_engine() -> Script {
    script::install("null", ScriptOptions { cells: 1, ..ScriptOptions::default() }, |_| Action::Nothing)
}

fn scene(kind: Kind, feeds: usize, engine: &Script) -> Result<Scene> {
    let (chain, sink) = match kind {
        Kind::Direct => (Chain::Direct, "fakesink"),
        Kind::Batches => (Chain::Batches, "nvsink"),
        Kind::Null | Kind::Prepare => (Chain::Model(engine.model()), "nvsink"),
    };
    let max_latency = Duration::from_millis(50);
    Scene::build(&Plan { chain, feeds, max_batch_size: MAX_BATCH_SIZE, max_latency, sink })
}

fn preparation() -> Result<Preparation> {
    let (layout, size) = (Layout::Nchw, Size::new(SIDE, SIDE));
    Preparation::new(InputSpec { layout, size, normalize: Normalize::UNIT_RGB, pad: PAD_LEVEL })
}

/// A frame for each feed. Feeds that shared one would contend for its memory, which counts the buffers that have it.
fn clips(feeds: usize) -> Result<Vec<Arc<Clip>>> {
    (0..feeds).map(|_| frames::grey(SIDE, SIDE)).collect()
}

/// Runs that many frames from beginning to end, for valgrind to count.
pub(crate) fn child(arguments: &[String]) -> Result<()> {
    let [kind, feeds, frames] = arguments else { bail!("expected KIND FEEDS FRAMES, found {arguments:?}") };
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).context("a known kind")?;
    let (feeds, frames): (usize, u64) = (feeds.parse()?, frames.parse()?);
    let engine = null_engine();
    let clips = clips(feeds)?;
    if kind == Kind::Prepare {
        let mut preparation = preparation()?;
        return (0..frames).try_for_each(|_| preparation.once(&clips).map(drop));
    }
    let mut scene = scene(kind, feeds, &engine)?;
    let most = frames / feeds as u64;
    scene.play(&clips, |_| Pace::Flat { most })?;
    scene.gate.open();
    scene.meter.reach(most * feeds as u64)?;
    scene.stop()
}

/// Instructions per frame, without those of starting and stopping.
fn instructions(kind: Kind, feeds: usize) -> Result<Option<f64>> {
    let count = |frames: u64| {
        let log = measure::log(&format!("c-{}-{feeds}-{frames}", kind.name()))?;
        let (feeds, frames) = (feeds.to_string(), frames.to_string());
        measure::instructions(&["overhead", kind.name(), &feeds, &frames], &log)
    };
    let (few, many) = COUNTED;
    let (Some(less), Some(more)) = (count(few)?, count(many)?) else { return Ok(None) };
    Ok(Some((more as f64 - less as f64) / (many - few) as f64))
}

/// What a frame takes with each kind, in rounds.
fn rounds(feeds: usize, rounds: usize, engine: &Script) -> Result<Vec<[Runs; 4]>> {
    let frames = FRAMES.max(FRAMES_OF_FEED * feeds as u64);
    let clips = clips(feeds)?;
    let mut preparation = preparation()?;
    let mut scenes = Vec::new();
    for kind in Kind::PIPELINES {
        let mut scene = scene(kind, feeds, engine)?;
        scene.play(&clips, |_| Pace::UNLIMITED)?;
        scenes.push(scene);
    }
    let mut found = Vec::new();
    for round in 0..=rounds {
        let prepare = preparation.run(&clips, Duration::from_millis(50))?;
        let mut runs = [prepare; 4];
        for (scene, runs) in scenes.iter().zip(&mut runs) {
            *runs = Runs::new(frames, scene.measure(frames / 20, frames)?);
        }
        if round > 0 {
            found.push(runs);
        }
    }
    Ok(found)
}

pub(crate) fn part(count: usize) -> Result<Part> {
    let mut part = Part::new(
        "c",
        "What a frame costs beside the model: null engine, frames of 8x8 pixels",
        &[
            "feeds",
            "CPU us",
            "wall us",
            "CPU us, no engine",
            "source CPU us",
            "instructions",
            "instructions, no engine",
            "of the source",
        ],
    );
    let engine = null_engine();
    let prepare = instructions(Kind::Prepare, 1)?;
    let mut costs = Vec::new();
    for feeds in FEEDS {
        println!("  (c) {feeds} feeds");
        let found = rounds(feeds, count, &engine)?;
        let spread = |of: &dyn Fn(&[Runs; 4]) -> f64| Spread::of(found.iter().map(|runs| 1e6 * of(runs)));
        let own = spread(&|[direct, _, null, prepare]| null.cpu() - direct.cpu() - prepare.cpu());
        let direct = instructions(Kind::Direct, feeds)?;
        let less = |own: Option<f64>, other: Option<f64>| Some(own? - direct? - other?);
        let null = less(instructions(Kind::Null, feeds)?, prepare);
        let batches = less(instructions(Kind::Batches, feeds)?, Some(0.0));
        let show = |value: Option<f64>| value.map_or("no valgrind".to_owned(), |value| format!("{value:.0}"));
        part.row([
            feeds.to_string(),
            own.show(2),
            spread(&|[_, _, null, _]| null.wall()).show(2),
            spread(&|[direct, batches, ..]| batches.cpu() - direct.cpu()).show(2),
            spread(&|[direct, .., prepare]| direct.cpu() + prepare.cpu()).show(2),
            show(null),
            show(batches),
            show(direct.zip(prepare).map(|(direct, prepare)| direct + prepare)),
        ]);
        costs.push((feeds, own.median, null));
    }
    judge(&mut part, &costs);
    part.note(format!(
        "median [quartiles] of {count} rounds of {FRAMES} frames ({FRAMES_OF_FEED} of each feed, if that is more) in turn, after one that is not counted; CPU: all threads of \
         the process, without what the same feeds take when each is linked to a fakesink (source) and without letterboxing \
         8x8 pixels (preparation); the records of nvsink are in it; wall: the clock, from sink to sink, nothing subtracted"
    ));
    part.note(format!(
        "batches of at most {MAX_BATCH_SIZE}; no engine: nvbatcher ! nvunbatcher; instructions: user space, counted by valgrind \
         (callgrind), difference of runs of {} and {} frames, so that starting and stopping cancel",
        COUNTED.0, COUNTED.1
    ));
    Ok(part)
}

fn judge(part: &mut Part, costs: &[(usize, f64, Option<f64>)]) {
    let of = |feeds: usize| costs.iter().find(|cost| cost.0 == feeds);
    let (Some(few), Some(middle), Some(many)) = (of(16), of(64), of(256)) else { return };
    part.check(
        "cost of a frame at 64 feeds",
        "<= 20 us CPU",
        format!("{:.2} us", middle.1),
        middle.1 <= 20.0,
    );
    let growth = many.1 / few.1;
    part.check("growth of CPU time from 16 to 256 feeds", "< 1.5", format!("{growth:.2}"), growth < 1.5);
    if let (Some(few), Some(many)) = (few.2, many.2) {
        let growth = many / few;
        part.check(
            "growth of instructions from 16 to 256 feeds",
            "< 1.5",
            format!("{growth:.2}"),
            growth < 1.5,
        );
    }
}
