//! (e), (f) The same files through what a user would take otherwise, each in a process of its own.

use super::frames;
use super::measure::{self, Spent};
use super::numbers::Spread;
use super::part::{Part, folder};
use super::raw::MODEL;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One way to run the model on the files.
struct Side {
    name: &'static str,
    /// What to run, or why it cannot be.
    command: Result<Command, String>,
    count: Count,
    /// Whether it goes as fast as it can: others play at the rate of the clips.
    paced: Pacing,
    found: Vec<(u64, Spent)>,
}

/// Where the number of frames stands.
enum Count {
    /// A line each in these files.
    Lines(Vec<PathBuf>),
    /// Field `frames` of the JSON that the program prints.
    Printed,
    /// All frames of the files, for a program that does not say.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pacing {
    Free,
    Clip,
}

impl Side {
    fn new(name: &'static str, command: Result<Command, String>, count: Count) -> Self {
        Self { name, command, count, paced: Pacing::Free, found: Vec::new() }
    }

    fn run(&mut self, round: usize, all: u64) -> Result<()> {
        let Ok(command) = &mut self.command else { return Ok(()) };
        let log = measure::log(&self.name.replace([' ', ','], "-"))?;
        let (printed, spent) = measure::run(command, &log)?;
        let frames = match &self.count {
            Count::Lines(files) => files.iter().map(|file| lines(file)).sum::<Result<u64>>()?,
            Count::Printed => {
                let line = printed.lines().last().context("a line of JSON")?;
                serde_json::from_str::<serde_json::Value>(line)?["frames"].as_u64().context("frames")?
            }
            Count::All => all,
        };
        ensure!(frames > 0, "{}: expected frames, found none", self.name);
        println!("  {}: {frames} frames in {:.1?}, CPU {:.1?}", self.name, spent.wall, spent.cpu);
        // The first round fills the caches of the system.
        if round > 0 {
            self.found.push((frames, spent));
        }
        Ok(())
    }

    fn rate(&self) -> Spread {
        Spread::of(self.found.iter().map(|(frames, spent)| *frames as f64 / spent.wall.as_secs_f64()))
    }

    /// Milliseconds of processor time per frame.
    fn cpu(&self) -> Spread {
        Spread::of(self.found.iter().map(|(frames, spent)| 1e3 * spent.cpu.as_secs_f64() / *frames as f64))
    }

    fn row(&self) -> Vec<String> {
        if let Err(why) = &self.command {
            return vec![self.name.to_owned(), why.clone(), String::new(), String::new()];
        }
        let frames = self.found.first().map_or(0, |(frames, _)| *frames);
        let paced = if self.paced == Pacing::Clip { " (at the rate of the clips)" } else { "" };
        vec![
            self.name.to_owned(),
            frames.to_string(),
            format!("{}{paced}", self.rate().show(1)),
            self.cpu().show(2),
        ]
    }
}

fn lines(file: &Path) -> Result<u64> {
    let text = std::fs::read(file).with_context(|| file.display().to_string())?;
    Ok(text.iter().filter(|byte| **byte == b'\n').count() as u64)
}

/// Files that a side writes into.
fn outputs(name: &str, count: usize) -> Result<Vec<PathBuf>> {
    let folder = folder().join("records");
    std::fs::create_dir_all(&folder)?;
    Ok((0..count).map(|at| folder.join(format!("{name}-{at}.jsonl"))).collect())
}

fn launch(description: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.arg("--quiet").args(description.split_whitespace());
    command
}

/// `nvbatcher`, one engine, with the options that it has by default.
fn ours() -> Result<Side> {
    ours_with("ours: nvbatcher, one engine", "ours", "")
}

/// The same with an engine whose threads spin, as those of ONNX Runtime in Python do.
fn ours_spinning() -> Result<Side> {
    ours_with(OURS_SPINNING, "ours-spinning", "spinning=true")
}

fn ours_with(name: &'static str, folder: &str, options: &str) -> Result<Side> {
    let files = frames::files()?;
    let outputs = outputs(folder, files.len())?;
    let mut text = format!(
        "nvbatcher name=b max-batch-size=4 ! nvinference model={MODEL} {options} ! nvunbatcher name=u"
    );
    for (feed, (file, output)) in files.iter().zip(&outputs).enumerate() {
        text += &format!(
            " filesrc location={} ! decodebin ! b.sink_{feed} u.src_{feed} ! nvsink location={} overflow=block",
            file.display(),
            output.display()
        );
    }
    Ok(Side::new(name, Ok(launch(&text)), Count::Lines(outputs)))
}

/// A branch with an engine of its own for each feed. Copies of the model are other models to the registry of engines.
fn branches() -> Result<Side> {
    let files = frames::files()?;
    let outputs = outputs("branches", files.len())?;
    let folder = folder().join("models");
    std::fs::create_dir_all(&folder)?;
    let mut text = String::new();
    for (feed, (file, output)) in files.iter().zip(&outputs).enumerate() {
        let model = folder.join(format!("feed-{feed}.onnx"));
        let source = Path::new(MODEL);
        std::fs::copy(source, &model)?;
        std::fs::copy(source.with_extension("toml"), model.with_extension("toml"))?;
        std::fs::copy(source.with_file_name("coco80.txt"), folder.join("coco80.txt"))?;
        text += &format!(
            " filesrc location={} ! decodebin ! nvinference model={} ! nvsink location={} overflow=block",
            file.display(),
            model.display(),
            output.display()
        );
    }
    Ok(Side::new("gst-launch, an engine per feed", Ok(launch(&text)), Count::Lines(outputs)))
}

/// OpenCV and ONNX Runtime in Python. `NV_BENCH_PYTHON` is an interpreter that has them, which `./dev bench` sets.
fn python(name: &'static str, mode: &str) -> Result<Side> {
    let command = match std::env::var_os("NV_BENCH_PYTHON") {
        None => Err("not present: NV_BENCH_PYTHON is not set".to_owned()),
        Some(python) => {
            let mut command = Command::new(python);
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/opencv_ort.py"));
            command.arg(mode).arg(MODEL).args(frames::files()?);
            Ok(command)
        }
    };
    Ok(Side::new(name, command, Count::Printed))
}

/// Upstream's `onnxinference`, of GStreamer >= 1.28. `NV_BENCH_GST_1_28` is a `gst-launch-1.0` of it.
fn upstream() -> Result<Side> {
    let name = "upstream: onnxinference per feed";
    let absent = || Err("not present: NV_BENCH_GST_1_28 is not set".to_owned());
    let command = std::env::var_os("NV_BENCH_GST_1_28").map_or_else(absent, |program| {
        let mut text = String::new();
        for file in frames::files().unwrap_or_default() {
            // It neither scales nor decodes this model: conversion and inference only.
            text += &format!(
                " filesrc location={} ! decodebin ! videoconvertscale add-borders=true \
                 ! video/x-raw,format=RGB,width=320,height=320,pixel-aspect-ratio=1/1 \
                 ! onnxinference model-file={MODEL} optimization-level=enable-all ! fakesink sync=false",
                file.display()
            );
        }
        let mut command = Command::new(program);
        command.arg("--quiet").args(text.split_whitespace());
        // The registry and the plugins of another GStreamer.
        command.env_remove("GST_PLUGIN_PATH").env("GST_REGISTRY", folder().join("registry-1.28.bin"));
        Ok(command)
    });
    Ok(Side::new(name, command, Count::All))
}

/// NextVision's own runtime. `NV_BENCH_NV_RUNTIME` is the program of `benches/nv-runtime`, which `./dev bench` builds.
fn nv_runtime(name: &'static str, mode: &str, latency: u64) -> Result<Side> {
    let command = match std::env::var_os("NV_BENCH_NV_RUNTIME") {
        None => Err("not present: NV_BENCH_NV_RUNTIME is not set".to_owned()),
        Some(program) => {
            let mut command = Command::new(program);
            command.args([mode, "4", &latency.to_string(), MODEL]).args(frames::files()?);
            Ok(command)
        }
    };
    let mut side = Side::new(name, command, Count::Printed);
    side.paced = if mode == "own" { Pacing::Clip } else { Pacing::Free };
    Ok(side)
}

const OURS_SPINNING: &str = "ours, spinning=true";

const COLUMNS: [&str; 4] = ["what runs", "frames", "frames/s", "CPU ms/frame"];

/// Runs all sides in turn and fills the table, the first side being ours.
fn race(part: &mut Part, sides: &mut [Side], rounds: usize) -> Result<()> {
    let mut all = 0;
    for round in 0..=rounds {
        for side in &mut *sides {
            // One that does not work here says so in its line; the others are compared all the same.
            if let Err(error) = side.run(round, all) {
                println!("  {}: {error:#}", side.name);
                (side.command, side.found) = (Err(format!("failed: {error:#}")), Vec::new());
                continue;
            }
            if round == 0
                && let Count::Lines(files) = &side.count
            {
                all = files.iter().map(|file| lines(file)).sum::<Result<u64>>()?;
            }
        }
    }
    for side in &*sides {
        part.row(side.row());
    }
    let Some((ours, others)) = sides.split_first() else { return Ok(()) };
    ensure!(!ours.found.is_empty(), "{}: nothing to compare with", ours.name);
    let (rate, cpu) = (ours.rate().median, ours.cpu().median);
    for other in others.iter().filter(|side| !side.found.is_empty() && side.name != OURS_SPINNING) {
        let theirs = other.cpu().median;
        part.check(
            &format!("CPU per frame, against {}", other.name),
            "no more",
            format!("{cpu:.2} and {theirs:.2} ms"),
            cpu <= theirs,
        );
        if other.paced == Pacing::Free {
            let theirs = other.rate().median;
            part.check(
                &format!("frames/s, against {}", other.name),
                "no fewer",
                format!("{rate:.1} and {theirs:.1}"),
                rate >= theirs,
            );
        }
    }
    part.note(format!(
        "median [quartiles] of {rounds} rounds in turn after one that is not counted; four files (two clips, twice), decoded by each \
         side as it does; time and processor time of the whole process, start and end included"
    ));
    Ok(())
}

pub(crate) fn others(rounds: usize) -> Result<Part> {
    let mut part = Part::new("e", "Four files: what a user would write instead", &COLUMNS);
    let mut sides = [
        ours()?,
        ours_spinning()?,
        branches()?,
        python("Python, OpenCV, a thread and session per file", "each")?,
        python("Python, OpenCV, one loop, batches of four", "together")?,
        upstream()?,
    ];
    race(&mut part, &mut sides, rounds)?;
    part.note(
        "gst-launch: `filesrc ! decodebin ! nvinference ! nvsink` four times in one process, each with a copy of the model, so \
         that engines are not shared; Python: benches/compare/opencv_ort.py, with the same ONNX Runtime and its default options \
         (its threads spin, which by default ours do not: the second line is what that is worth); upstream (optional, GStreamer >= 1.28) scales and infers, but decodes no boxes of this model",
    );
    Ok(part)
}

pub(crate) fn nextvision(rounds: usize) -> Result<Part> {
    let mut part = Part::new("f", "Four files: NextVision's own runtime, nv-runtime 0.1.0", &COLUMNS);
    let mut sides = [
        ours()?,
        nv_runtime("nv-runtime, as it is", "own", 50)?,
        nv_runtime("nv-runtime, unpaced", "free", 50)?,
        nv_runtime("nv-runtime, unpaced, tuned", "free", 5)?,
    ];
    race(&mut part, &mut sides, rounds)?;
    part.note(
        "as it is: its defaults (batches of 4, max_latency 50 ms, one frame per feed on its way, queues that drop); its appsink plays \
         files at the rate of the clip and drops what is late, so only the processor time compares; unpaced: an appsink that does \
         neither, given through its GpuPipelineProvider, and queues that block; tuned: max_latency 5 ms as well, because it waits for \
         four frames even when fewer than four feeds are left",
    );
    part.note(
        "benches/nv-runtime: the same ONNX Runtime and session options, and our letterbox, normalisation and decoding around the model, \
         since its own samples are not published; frames come as RGB because its pipeline always converts",
    );
    Ok(part)
}
