//! Several videos, one engine: runs files through the whole chain, draws what was found and followed, and ends with a
//! table.
//!
//! ```text
//! cargo run --release --example demo -- --model models/nanodet-g-320.onnx --output /tmp/demo a.mp4 b.mp4
//! ```
//!
//! Writes records and a video for each feed, and a sheet with pictures of all. Without an encoder it says so and does
//! the rest. Needs the plugin in `GST_PLUGIN_PATH` and ONNX Runtime in `ORT_DYLIB_PATH`; `./dev demo` sets both.

#[path = "demo/sheet.rs"]
mod sheet;

use anyhow::{Context as _, Result, bail};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What the command line asks for.
pub(crate) struct Arguments {
    pub(crate) model: PathBuf,
    pub(crate) output: PathBuf,
    pub(crate) clips: Vec<PathBuf>,
}

/// Width of pictures on the sheet, in pixels.
const WIDTH: u32 = 640;

/// A way to write a video.
struct Encoding {
    /// Elements it takes; Debian has them in `gstreamer1.0-plugins-good`.
    elements: &'static [&'static str],
    /// Those elements with their settings, linked.
    text: &'static str,
    extension: &'static str,
}

/// The better ones first. Browsers play the first.
const ENCODINGS: [Encoding; 2] = [
    Encoding {
        elements: &["vp8enc", "webmmux"],
        text: "vp8enc deadline=1 cpu-used=8 target-bitrate=1500000 ! webmmux",
        extension: "webm",
    },
    Encoding {
        elements: &["jpegenc", "matroskamux"],
        text: "jpegenc quality=85 ! matroskamux",
        extension: "mkv",
    },
];

/// What is written besides records.
pub(crate) struct Pictures {
    encoding: Option<&'static Encoding>,
    sheet: bool,
}

impl Pictures {
    /// All that these elements can write.
    pub(crate) fn with(has: impl Fn(&str) -> bool) -> Self {
        let encoding = ENCODINGS.iter().find(|encoding| encoding.elements.iter().all(|element| has(element)));
        Self { encoding, sheet: has("pngenc") }
    }

    /// What is left out, and what to install for it.
    pub(crate) fn missing(&self) -> Vec<String> {
        let package = "Debian has them in gstreamer1.0-plugins-good";
        let mut missing = Vec::new();
        if self.encoding.is_none() {
            let elements = ENCODINGS.map(|encoding| encoding.elements.join(" and "));
            missing.push(format!("no videos: neither {} are here ({package})", elements.join(" nor ")));
        }
        if !self.sheet {
            missing.push(format!("no contact sheet: pngenc is not here ({package})"));
        }
        missing
    }

    /// The branch of one feed behind `nvtrack`, or nothing.
    fn branch(&self, folder: &Path, feed: usize) -> String {
        if self.encoding.is_none() && !self.sheet {
            return String::new();
        }
        // Drawn first and scaled then: videoscale 1.22 passes on the regions without what stands in them.
        let mut text = format!(" t{feed}. ! queue ! nvoverlay ! tee name=v{feed}");
        if let Some(encoding) = self.encoding {
            let (encoder, video) = (encoding.text, video_of(folder, feed, encoding));
            text += &format!(
                " v{feed}. ! queue ! videoconvert ! {encoder} ! filesink location={}",
                video.display()
            );
        }
        if self.sheet {
            text += &format!(
                " v{feed}. ! queue ! videoconvert ! videoscale \
                 ! video/x-raw,format=RGB,width={WIDTH},pixel-aspect-ratio=1/1 ! appsink name=p{feed} sync=false"
            );
        }
        text
    }
}

/// What one feed's records say.
#[derive(Default)]
struct Summary {
    records: u64,
    classes: BTreeMap<String, u64>,
    /// Arrival to record, in milliseconds.
    latencies: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = parse_arguments()?;
    gst::init()?;
    demo(&arguments, &Pictures::with(|element| gst::ElementFactory::find(element).is_some()))
}

/// Plays the clips to their end and tells what came of them. An error if a frame has no record.
pub(crate) fn demo(arguments: &Arguments, pictures: &Pictures) -> Result<()> {
    std::fs::create_dir_all(&arguments.output)?;
    let description = describe(arguments, pictures)?;
    println!("gst-launch-1.0 {description}\n");
    let pipeline = gst::parse::launch(&description)?.downcast::<gst::Pipeline>().expect("several elements");
    let rows = rows(&pipeline, arguments.clips.len());
    let clock = gst::SystemClock::obtain();
    let started = clock.time();
    pipeline.set_state(gst::State::Playing).ok();
    let outcome = wait(&pipeline);
    let seconds = (clock.time() - started).nseconds() as f64 / 1e9;
    let complete = outcome.and_then(|()| print_report(&pipeline, arguments, seconds));
    pipeline.set_state(gst::State::Null)?;
    complete.and_then(|()| print_pictures(arguments, pictures, &rows))
}

/// The pictures of every feed that has a branch for them.
fn rows(pipeline: &gst::Pipeline, feeds: usize) -> Vec<sheet::Row> {
    let appsinks = (0..feeds).filter_map(|feed| pipeline.by_name(&format!("p{feed}")));
    appsinks.filter_map(|element| element.downcast().ok()).map(|appsink| sheet::Row::of(&appsink)).collect()
}

/// Writes the sheet, and says where everything is.
fn print_pictures(arguments: &Arguments, pictures: &Pictures, rows: &[sheet::Row]) -> Result<()> {
    let folder = &arguments.output;
    println!("records {}", list(arguments, |feed| records_of(folder, feed)));
    if let Some(encoding) = pictures.encoding {
        println!("videos  {}", list(arguments, |feed| video_of(folder, feed, encoding)));
    }
    if pictures.sheet {
        let file = folder.join("sheet.png");
        sheet::write(rows, &file)?;
        println!("sheet   {}", file.display());
    }
    pictures.missing().iter().for_each(|missing| println!("{missing}"));
    Ok(())
}

fn list(arguments: &Arguments, file: impl Fn(usize) -> PathBuf) -> String {
    let files: Vec<_> = (0..arguments.clips.len()).map(|feed| file(feed).display().to_string()).collect();
    files.join(" ")
}

fn parse_arguments() -> Result<Arguments> {
    let mut parsed = Arguments {
        model: PathBuf::from("models/nanodet-g-320.onnx"),
        output: PathBuf::from("."),
        clips: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--model" => parsed.model = arguments.next().context("--model needs a path")?.into(),
            "--output" => parsed.output = arguments.next().context("--output needs a folder")?.into(),
            clip => parsed.clips.push(clip.into()),
        }
    }
    if parsed.clips.is_empty() {
        bail!("usage: demo [--model MODEL] [--output FOLDER] CLIP...");
    }
    Ok(parsed)
}

/// The pipeline, as one would type it.
fn describe(arguments: &Arguments, pictures: &Pictures) -> Result<String> {
    let model = arguments.model.display();
    let mut text = format!("nvbatcher name=b ! nvinference name=i model={model} ! nvunbatcher name=u");
    for (feed, clip) in arguments.clips.iter().enumerate() {
        let path = clip.canonicalize().with_context(|| clip.display().to_string())?;
        let (uri, name) = (glib::filename_to_uri(&path, None)?, name_of(feed, clip));
        text += &format!(
            " nvfeed uri={uri} feed-id={name} ! b.sink_{feed} \
             u.src_{feed} ! nvtrack ! tee name=t{feed} \
             t{feed}. ! queue ! nvsink name=s{feed} location={} overflow=block",
            records_of(&arguments.output, feed).display()
        );
        text += &pictures.branch(&arguments.output, feed);
    }
    Ok(text)
}

/// A name for the feed, after its clip.
fn name_of(feed: usize, clip: &Path) -> String {
    let stem = clip.file_stem().unwrap_or_default().to_string_lossy();
    let stem: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{stem}-{feed}")
}

fn records_of(folder: &Path, feed: usize) -> PathBuf {
    folder.join(format!("feed-{feed}.jsonl"))
}

fn video_of(folder: &Path, feed: usize, encoding: &Encoding) -> PathBuf {
    folder.join(format!("feed-{feed}.{}", encoding.extension))
}

/// Follows the bus until the end, with a line of progress a second.
fn wait(pipeline: &gst::Pipeline) -> Result<()> {
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let batcher = pipeline.by_name("b").context("the batcher is gone")?;
    loop {
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let Some(message) = bus.timed_pop_filtered(gst::ClockTime::SECOND, &wanted) else {
            let stats = batcher.property::<gst::Structure>("stats");
            print!("\r{} frames delivered", stats.get::<u64>("delivered")?);
            std::io::stdout().flush()?;
            continue;
        };
        println!();
        if let gst::MessageView::Error(error) = message.view() {
            bail!(
                "{}: {} ({})",
                error.src().map_or_else(String::new, |src| src.path_string().into()),
                error.error(),
                error.debug().unwrap_or_default()
            );
        }
        return Ok(());
    }
}

fn print_report(pipeline: &gst::Pipeline, arguments: &Arguments, seconds: f64) -> Result<()> {
    let batcher = pipeline.by_name("b").context("the batcher is gone")?;
    println!(
        "{:<5} {:<24} {:>9} {:>11} {:>7} {:>8} {:>8}  detections",
        "feed", "clip", "frames in", "records out", "fps", "p50 ms", "p99 ms"
    );
    let mut complaints = Vec::new();
    for (feed, clip) in arguments.clips.iter().enumerate() {
        let pad = batcher.static_pad(&format!("sink_{feed}")).context("a feed has no pad")?;
        let received = pad.property::<gst::Structure>("stats").get::<u64>("received")?;
        let mut summary = summarise(&records_of(&arguments.output, feed))?;
        summary.latencies.sort_by(f64::total_cmp);
        let name = clip.file_name().unwrap_or_default().to_string_lossy();
        println!(
            "{feed:<5} {name:<24} {received:>9} {:>11} {:>7.1} {:>8.1} {:>8.1}  {}",
            summary.records,
            summary.records as f64 / seconds,
            percentile(&summary.latencies, 0.50),
            percentile(&summary.latencies, 0.99),
            classes(&summary.classes),
        );
        if summary.records != received {
            complaints.push(format!(
                "feed {feed}: {received} frames came in, {} records came out",
                summary.records
            ));
        }
    }
    print_engine(pipeline, &batcher.property::<gst::Structure>("stats"))?;
    if complaints.is_empty() { Ok(()) } else { bail!(complaints.join("; ")) }
}

fn print_engine(pipeline: &gst::Pipeline, batches: &gst::Structure) -> Result<()> {
    let inference = pipeline.by_name("i").context("the inference element is gone")?;
    let engine = inference.property::<gst::Structure>("stats");
    let closes = batches.get::<gst::Structure>("closes")?;
    let reasons: Vec<_> = closes
        .iter()
        .filter_map(|(reason, count)| {
            count.get::<u64>().ok().filter(|count| *count > 0).map(|count| format!("{reason} {count}"))
        })
        .collect();
    println!(
        "engine {} on {} (ONNX Runtime {}): {} batches, mean size {:.2}, closed by {}",
        engine.get::<String>("model")?,
        engine.get::<String>("provider")?,
        engine.get::<String>("runtime-version")?,
        batches.get::<u64>("batches-to-infer")?,
        batches.get::<f64>("mean-size")?,
        reasons.join(", "),
    );
    Ok(())
}

fn summarise(records: &Path) -> Result<Summary> {
    let mut summary = Summary::default();
    let text = std::fs::read_to_string(records).with_context(|| records.display().to_string())?;
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        summary.records += 1;
        for detection in record["detections"].as_array().into_iter().flatten() {
            let label = detection["label"].as_str().unwrap_or("?");
            *summary.classes.entry(label.to_owned()).or_default() += 1;
        }
        let time = |name: &str| record["provenance"][name].as_f64();
        if let (Some(arrival), Some(delivered)) = (time("arrival"), time("delivered")) {
            summary.latencies.push((delivered - arrival) / 1e6);
        }
    }
    Ok(summary)
}

/// The value below which the share `rank` of the sorted values lies (nearest rank); 0 of none.
fn percentile(sorted: &[f64], rank: f64) -> f64 {
    let at = (rank * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The classes found most often.
fn classes(counts: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown: Vec<_> = sorted.iter().take(4).map(|(label, count)| format!("{label} {count}")).collect();
    let rest = sorted.len().saturating_sub(4);
    if rest > 0 { format!("{}, {rest} more classes", shown.join(", ")) } else { shown.join(", ") }
}
