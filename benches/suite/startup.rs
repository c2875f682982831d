//! (h) How long it takes until the first frame is out, and how much memory a feed takes.

use super::frames;
use super::measure::{self, Moment};
use super::numbers::Spread;
use super::part::Part;
use super::raw::MODEL;
use super::scene::{Chain, Plan, Scene};
use super::source::Pace;
use anyhow::{Context as _, Result, bail};
use gst::prelude::*;
use gstnextvision::infer::script::{self, Action, Script, ScriptOptions};
use std::time::Duration;

/// Feeds of the two runs whose difference is told.
const FEEDS: (usize, usize) = (1, 64);
const ENGINES: [&str; 2] = ["null", "real"];
/// Stages of the start, in the order in which they end.
const STAGES: [&str; 4] = ["model", "playing", "first frame", "stopped"];

fn engine(kind: &str) -> (Option<Script>, String) {
    if kind == "real" {
        return (None, MODEL.to_owned());
    }
    let options = ScriptOptions { cells: 1, ..ScriptOptions::default() };
    let script = script::install("null", options, |_| Action::Nothing);
    let model = script.model();
    (Some(script), model)
}

fn plan(model: String, feeds: usize) -> Plan {
    let max_latency = Duration::from_millis(50);
    Plan { chain: Chain::Model(model), feeds, max_batch_size: 8, max_latency, sink: "nvsink" }
}

/// Starts once and prints the milliseconds until the end of each stage, from the beginning of `main`.
pub(crate) fn child_start(arguments: &[String], began: Moment) -> Result<()> {
    let [kind] = arguments else { bail!("expected ENGINE, found {arguments:?}") };
    let (_script, model) = engine(kind);
    let mut scene = Scene::build(&plan(model, 1))?;
    let mut times = Vec::new();
    let mut stage = || times.push(1e3 * began.elapsed().wall.as_secs_f64());
    scene.pipeline.set_state(gst::State::Ready)?;
    stage();
    scene.play(&[frames::grey(640, 480)?], |_| Pace::Flat { most: 1 })?;
    stage();
    scene.gate.open();
    scene.meter.reach(1)?;
    stage();
    scene.stop()?;
    stage();
    println!("{}", serde_json::to_string(&times)?);
    Ok(())
}

/// Runs so many feeds for a while and prints the memory that is resident then, in bytes.
pub(crate) fn child_memory(arguments: &[String]) -> Result<()> {
    let [kind, feeds] = arguments else { bail!("expected ENGINE FEEDS, found {arguments:?}") };
    let feeds: usize = feeds.parse()?;
    let (_script, model) = engine(kind);
    let clips = frames::decoded(640, 480, 8)?;
    let mut scene = Scene::build(&plan(model, feeds))?;
    scene.play(&clips, |_| Pace::UNLIMITED)?;
    let frames = if kind == "real" { 256 } else { 4_096 };
    scene.measure(frames, frames)?;
    println!("{}", measure::resident()?);
    scene.stop()
}

fn starts(kind: &str, rounds: usize) -> Result<Vec<Spread>> {
    let mut columns = vec![Vec::new(); STAGES.len() + 1];
    for round in 0..=rounds {
        let log = measure::log(&format!("h-start-{kind}"))?;
        let (printed, spent) = measure::run(&mut measure::child(&["start", kind])?, &log)?;
        let mut times: Vec<f64> = serde_json::from_str(printed.lines().last().context("a line")?)?;
        times.push(1e3 * spent.wall.as_secs_f64());
        if round > 0 {
            columns.iter_mut().zip(times).for_each(|(column, time)| column.push(time));
        }
    }
    Ok(columns.into_iter().map(Spread::of).collect())
}

fn memory(kind: &str, feeds: usize) -> Result<f64> {
    let mut found = Vec::new();
    for _ in 0..3 {
        let log = measure::log(&format!("h-memory-{kind}-{feeds}"))?;
        let mut child = measure::child(&["memory", kind, &feeds.to_string()])?;
        let (printed, _) = measure::run(&mut child, &log)?;
        found.push(printed.trim().parse::<f64>()? / f64::from(1 << 20));
    }
    Ok(Spread::of(found).median)
}

pub(crate) fn part(rounds: usize) -> Result<Part> {
    let mut part = Part::new(
        "h",
        "Start-up, and resident memory, by engine",
        &[
            "engine",
            "model open ms",
            "PLAYING ms",
            "first frame ms",
            "stopped ms",
            "process ms",
            "1 feed MiB",
            "64 feeds MiB",
            "MiB per feed",
        ],
    );
    for kind in ENGINES {
        println!("  (h) {kind} engine");
        let (few, many) = (memory(kind, FEEDS.0)?, memory(kind, FEEDS.1)?);
        let per_feed = (many - few) / (FEEDS.1 - FEEDS.0) as f64;
        let stages = starts(kind, rounds)?;
        part.row(std::iter::once(kind.to_owned()).chain(stages.iter().map(|stage| stage.show(1))).chain([
            format!("{few:.1}"),
            format!("{many:.1}"),
            format!("{per_feed:.2}"),
        ]));
    }
    part.note(format!(
        "start: median [quartiles] of {rounds} processes after one that is not counted, one feed of 640x480, times from the beginning of \
         main; model open: GStreamer initialised, model loaded, optimised and warmed up; process: all of it, seen from outside"
    ));
    part.note(
        "memory: VmRSS after some hundred frames, batches of at most 8, median of three; feeds share a few decoded frames, so that what a feed takes is \
         its queues, its threads and its pads",
    );
    Ok(part)
}
