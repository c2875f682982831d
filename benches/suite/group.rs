//! (i) Several pipelines of one process that share an engine and its batches: property `batch-group` of `nvinference`.

use super::frames;
use super::measure;
use super::numbers::Spread;
use super::part::Part;
use super::raw::{MODEL, Runs};
use super::scene::Meter;
use super::source::{Gate, Pace, Source};
use anyhow::{Context as _, Result, bail};
use gst::prelude::*;
use gstnextvision::infer::engines;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const PIPELINES: usize = 4;
const FRAMES: u64 = 300;

/// What one process found.
#[derive(Serialize, Deserialize)]
struct Found {
    engines: usize,
    mean_batch: f64,
    resident: u64,
    rate: f64,
    cpu_ms: f64,
}

fn pipeline(grouped: bool, meter: &Arc<Meter>) -> Result<(gst::Pipeline, gst::Element)> {
    let pipeline = gst::Pipeline::new();
    let inference = gst::ElementFactory::make("nvinference").property("model", MODEL).build()?;
    if grouped {
        inference.set_property_from_str("batch-group", "bench");
        inference.set_property_from_str("max-batch-size", "4");
    }
    let sink = gst::ElementFactory::make("nvsink").build()?;
    pipeline.add_many([&inference, &sink])?;
    inference.link(&sink)?;
    meter.watch(&sink.static_pad("sink").context("a sink has a pad")?);
    Ok((pipeline, inference))
}

/// Runs so many pipelines and prints what they took.
pub(crate) fn child(arguments: &[String]) -> Result<()> {
    let [count, grouped] = arguments else { bail!("expected PIPELINES GROUPED, found {arguments:?}") };
    let (count, grouped): (usize, bool) = (count.parse()?, grouped.parse()?);
    let clips = frames::decoded(640, 480, 24)?;
    let (meter, gate) = (Arc::<Meter>::default(), Arc::<Gate>::default());
    let (mut pipelines, mut sources) = (Vec::new(), Vec::new());
    for at in 0..count {
        let (pipeline, inference) = pipeline(grouped, &meter)?;
        pipeline.set_state(gst::State::Playing)?;
        let pad = inference.static_pad("sink").context("a pad")?;
        sources.push(Source::start(at, &pad, &clips[at % clips.len()], Pace::UNLIMITED, &gate)?);
        pipelines.push((pipeline, inference));
    }
    meter.arm(FRAMES / 5, FRAMES);
    gate.open();
    let spent = meter.wait()?;
    let (_, first) = pipelines.first().context("a pipeline")?;
    let runs: u64 = first.property::<gst::Structure>("stats").get("runs")?;
    let per_frame = Runs::new(FRAMES, spent);
    let found = Found {
        engines: engines(),
        mean_batch: meter.total() as f64 / runs.max(1) as f64,
        resident: measure::resident()?,
        rate: 1.0 / per_frame.wall(),
        cpu_ms: 1e3 * per_frame.cpu(),
    };
    println!("{}", serde_json::to_string(&found)?);
    gate.end();
    for (pipeline, _) in &pipelines {
        pipeline.set_state(gst::State::Null)?;
    }
    sources.iter_mut().for_each(Source::join);
    Ok(())
}

fn measure(pipelines: usize, grouped: bool, rounds: usize) -> Result<Vec<Found>> {
    let log = measure::log(&format!("i-{pipelines}-{grouped}"))?;
    let mut found = Vec::new();
    for _ in 0..rounds {
        let mut child = measure::child(&["group", &pipelines.to_string(), &grouped.to_string()])?;
        let (printed, _) = measure::run(&mut child, &log)?;
        found.push(serde_json::from_str(printed.lines().last().context("a line")?)?);
    }
    Ok(found)
}

pub(crate) fn part(rounds: usize) -> Result<Part> {
    let mut part = Part::new(
        "i",
        "Four pipelines of one process and one engine: batch-group, 640x480, NanoDet-g 320",
        &["pipelines", "batch-group", "engines", "mean batch", "frames/s", "CPU ms/frame", "MiB"],
    );
    let inference = gst::ElementFactory::make("nvinference").build()?;
    if inference.find_property("batch-group").is_none() {
        part.note("not present: this build of nvinference has no property batch-group");
        return Ok(part);
    }
    let rounds = rounds.min(3);
    let mut memory = Vec::new();
    for (pipelines, grouped) in [(1, false), (1, true), (PIPELINES, false), (PIPELINES, true)] {
        println!("  (i) {pipelines} pipelines, batch-group {grouped}");
        let found = measure(pipelines, grouped, rounds)?;
        let spread = |of: &dyn Fn(&Found) -> f64| Spread::of(found.iter().map(of));
        let engines = found.iter().map(|one| one.engines).max().unwrap_or_default();
        let (batch, resident) =
            (spread(&|one| one.mean_batch), spread(&|one| one.resident as f64 / f64::from(1 << 20)));
        part.row([
            pipelines.to_string(),
            if grouped { "yes" } else { "no" }.to_owned(),
            engines.to_string(),
            format!("{:.2}", batch.median),
            spread(&|one| one.rate).show(1),
            spread(&|one| one.cpu_ms).show(2),
            resident.show(1),
        ]);
        memory.push(resident.median);
        if grouped && pipelines == PIPELINES {
            part.check("engines of four pipelines in a group", "1", engines.to_string(), engines == 1);
            part.check(
                "their mean batch under load",
                "> 2",
                format!("{:.2}", batch.median),
                batch.median > 2.0,
            );
        }
    }
    if let [_, one, _, four] = *memory {
        let found = format!("{:+.1} %", 100.0 * (four / one - 1.0));
        let holds = four <= 1.1 * one;
        part.check(
            "memory of four in a group, against one in a group",
            "<= +10 % plus buffers",
            found,
            holds,
        );
    }
    part.note(format!(
        "each line: median [quartiles] of {rounds} processes; engines: of the process, as `stats` says; mean batch: frames / runs of the engine; \
         MiB: VmRSS after {FRAMES} frames, decoded frames in memory included (the same in every line)"
    ));
    Ok(part)
}
