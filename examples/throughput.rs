//! Frames a second through batching, inference and unbatching, for a growing number of feeds, against the bare engine
//! in the same process.
//!
//! ```text
//! ./dev run cargo run --release --example throughput -- --provider cuda --feeds 1,4,16,64
//! ```
//!
//! Options: `--model FILE`, `--provider cpu|cuda|tensorrt|openvino`, `--feeds N,N,…`, `--seconds N` per measurement,
//! `--max-batch N`, `--library FILE` (ONNX Runtime), `--precision model|fp16|int8`, `--cache-dir FOLDER`, `--json FILE`.
//!
//! Every feed offers the same I420 frame of 640x480 from memory, as fast as it is taken. The bare engine runs batches of
//! ready tensors, at the size the pipeline had on average, rounded up, and nothing else. Both take turns: three times
//! each, medians. Nothing is asserted.

use anyhow::{Context as _, anyhow, bail, ensure};
use gst::prelude::*;
use gst_app::{AppSrc, AppSrcCallbacks};
use gstnextvision::clock;
use gstnextvision::infer::{Engine, EngineOptions, Input, Interrupt, Pending, Precision, Tuning};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const ROUNDS: usize = 3;
/// Longest time anything here may take to start or to answer.
const PATIENCE: Duration = Duration::from_secs(600);

struct Options {
    model: String,
    provider: String,
    feeds: Vec<usize>,
    seconds: u64,
    max_batch: usize,
    library: Option<String>,
    precision: String,
    cache_dir: Option<String>,
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = arguments()?;
    gst::init()?;
    gstnextvision::plugin_register_static()?;
    let mut rows = Vec::new();
    println!("{:>5} {:>12} {:>10} {:>12} {:>7}", "feeds", "frames/s", "batch", "bare/s", "ratio");
    let mut providers = String::new();
    for feeds in &options.feeds {
        let row = compare(&options, *feeds)?;
        println!(
            "{feeds:>5} {:>12.1} {:>10.2} {:>12.1} {:>7.3}",
            row.frames,
            row.batch,
            row.bare,
            row.frames / row.bare
        );
        rows.push(json!({"feeds": feeds, "frames": row.frames, "batch": row.batch, "bare": row.bare}));
        providers = row.providers;
    }
    println!("providers: {providers}");
    if let Some(path) = &options.json {
        std::fs::write(path, json!({"providers": providers, "rows": Value::from(rows)}).to_string())?;
    }
    Ok(())
}

fn arguments() -> anyhow::Result<Options> {
    let mut options = Options {
        model: concat!(env!("CARGO_MANIFEST_DIR"), "/models/nanodet-g-320.onnx").to_owned(),
        provider: "cpu".to_owned(),
        feeds: vec![1, 4, 16, 64],
        seconds: 5,
        max_batch: 16,
        library: None,
        precision: "model".to_owned(),
        cache_dir: None,
        json: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name}: expected a value, found none"))?;
        match name.as_str() {
            "--model" => options.model = value,
            "--provider" => options.provider = value,
            "--feeds" => {
                let counts: Result<_, _> = value.split(',').map(str::parse).collect();
                options.feeds = counts.with_context(|| format!("--feeds: expected 1,4,16, found {value}"))?;
            }
            "--seconds" => options.seconds = value.parse().context("--seconds: expected a number")?,
            "--max-batch" => options.max_batch = value.parse().context("--max-batch: expected a number")?,
            "--library" => options.library = Some(value),
            "--precision" => options.precision = value,
            "--cache-dir" => options.cache_dir = Some(value),
            "--json" => options.json = Some(value.into()),
            _ => bail!("{name}: no such option"),
        }
    }
    ensure!(options.feeds.iter().all(|feeds| *feeds > 0), "--feeds: expected numbers above 0");
    ensure!(options.max_batch > 0 && options.seconds > 0, "--max-batch, --seconds: expected numbers above 0");
    Ok(options)
}

/// What one number of feeds gave.
struct Row {
    frames: f64,
    batch: f64,
    bare: f64,
    providers: String,
}

fn compare(options: &Options, feeds: usize) -> anyhow::Result<Row> {
    let (mut frames, mut bare, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    let mut providers = String::new();
    for _ in 0..ROUNDS {
        let scene = Scene::start(options, feeds)?;
        let (rate, batch) = scene.measure(Duration::from_secs(options.seconds))?;
        // The pipeline has let go of its engine by then, or shares it: it is the same.
        providers = scene.stop()?;
        frames.push(rate);
        batches.push(batch);
        bare.push(run_bare(options, batch.ceil() as usize)?);
    }
    Ok(Row { frames: median(frames), batch: median(batches), bare: median(bare), providers })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

// --- The pipeline -------------------------------------------------------------------------------------------

struct Scene {
    pipeline: gst::Pipeline,
    inference: gst::Element,
    delivered: Arc<AtomicU64>,
}

impl Scene {
    fn start(options: &Options, feeds: usize) -> anyhow::Result<Self> {
        let pipeline = gst::Pipeline::new();
        let batcher = gst::ElementFactory::make("nvbatcher")
            .property("max-batch-size", u32::try_from(feeds.min(options.max_batch))?)
            .build()?;
        let inference = gst::ElementFactory::make("nvinference")
            .property("model", &options.model)
            .property("ort-library", &options.library)
            .property("cache-dir", &options.cache_dir)
            .property("startup-timeout", u64::try_from(PATIENCE.as_nanos())?)
            .property_from_str("provider", &options.provider)
            .property_from_str("precision", &options.precision)
            .property("profile-batch", u32::try_from(options.max_batch)?)
            .build()?;
        let unbatcher = gst::ElementFactory::make("nvunbatcher").build()?;
        pipeline.add_many([&batcher, &inference, &unbatcher])?;
        gst::Element::link_many([&batcher, &inference, &unbatcher])?;
        let scene = Self { pipeline, inference, delivered: Arc::default() };
        for feed in 0..feeds {
            scene.add_feed(&batcher, &unbatcher, feed)?;
        }
        let started = scene.pipeline.set_state(gst::State::Playing).map(drop);
        started.map_err(|_| scene.error("it does not start"))?;
        Ok(scene)
    }

    fn add_feed(&self, batcher: &gst::Element, unbatcher: &gst::Element, feed: usize) -> anyhow::Result<()> {
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, WIDTH, HEIGHT)
            .fps(gst::Fraction::new(30, 1))
            .build()?;
        let frame = gst::Buffer::from_slice(vec![96_u8; info.size()]);
        let source = AppSrc::builder().caps(&info.to_caps()?).format(gst::Format::Time).build();
        let mut number = 0;
        let need_data = move |source: &AppSrc, _: u32| {
            let mut frame = frame.copy();
            if let Some(frame) = frame.get_mut() {
                frame.set_pts(gst::ClockTime::from_mseconds(33 * number));
            }
            number += 1;
            source.push_buffer(frame).ok();
        };
        source.set_callbacks(AppSrcCallbacks::builder().need_data(need_data).build());
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).build()?;
        self.pipeline.add_many([source.upcast_ref(), &sink])?;
        source.link_pads(None, batcher, Some(&format!("sink_{feed}")))?;
        unbatcher.link_pads(Some(&format!("src_{feed}")), &sink, None)?;
        let delivered = Arc::clone(&self.delivered);
        let pad = sink.static_pad("sink").context("a fakesink has a sink pad")?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            delivered.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    /// Frames a second, and frames a batch.
    fn measure(&self, span: Duration) -> anyhow::Result<(f64, f64)> {
        let deadline = clock::now().saturating_add(PATIENCE);
        while self.delivered.load(Ordering::Relaxed) < 1 {
            ensure!(clock::now() < deadline, "no frame within {PATIENCE:?}");
            self.wait(Duration::from_millis(100))?;
        }
        let (began, before, runs) =
            (clock::now(), self.delivered.load(Ordering::Relaxed), self.stat("runs")?);
        self.wait(span)?;
        let frames = (self.delivered.load(Ordering::Relaxed) - before) as f64;
        let took = clock::now().since(began).as_secs_f64();
        let runs = (self.stat("runs")? - runs).max(1) as f64;
        Ok((frames / took, (frames / runs).max(1.0)))
    }

    /// Waits, unless the pipeline fails.
    fn wait(&self, span: Duration) -> anyhow::Result<()> {
        let bus = self.pipeline.bus().context("a pipeline has a bus")?;
        let span = gst::ClockTime::try_from(span)?;
        match bus.timed_pop_filtered(span, &[gst::MessageType::Error]) {
            Some(message) => Err(failure(&message)),
            None => Ok(()),
        }
    }

    fn stat(&self, name: &str) -> anyhow::Result<u64> {
        Ok(self.inference.property::<gst::Structure>("stats").get(name)?)
    }

    fn error(&self, otherwise: &str) -> anyhow::Error {
        let message = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        let error = message.map_or_else(|| anyhow!("{otherwise}"), |message| failure(&message));
        self.pipeline.set_state(gst::State::Null).ok();
        error
    }

    fn stop(self) -> anyhow::Result<String> {
        let stats = self.inference.property::<gst::Structure>("stats");
        let failed: u64 = stats.get("failed")?;
        ensure!(failed == 0, "expected no frame to fail, found {failed}: {stats}");
        self.pipeline.set_state(gst::State::Null)?;
        Ok(stats.get("providers")?)
    }
}

fn failure(message: &gst::Message) -> anyhow::Error {
    match message.view() {
        gst::MessageView::Error(error) => {
            anyhow!("{} ({})", error.error(), error.debug().unwrap_or_default())
        }
        _ => anyhow!("{message:?}"),
    }
}

// --- The bare engine ----------------------------------------------------------------------------------------

/// Frames a second of batches of `batch` ready rows.
fn run_bare(options: &Options, batch: usize) -> anyhow::Result<f64> {
    let engine = Engine::open(&engine_options(options)?)?;
    let batch = engine.max_batch().map_or(batch, |most| batch.min(most));
    let never = Interrupt::new();
    engine.warm_up(&[batch], &never)?;
    let submit = |input: Input| -> anyhow::Result<Pending> {
        Ok(engine.submit(input, Arc::new(()), &never, PATIENCE).map_err(|refused| refused.error)?)
    };
    let began = clock::now();
    let mut pending = submit(engine.input(batch)?)?;
    let mut runs = 0_usize;
    while clock::now().since(began) < Duration::from_secs(options.seconds) {
        // One runs, one waits: the engine never does.
        let next = submit(engine.input(batch)?)?;
        pending.wait(&never, PATIENCE)?;
        pending = next;
        runs += 1;
    }
    pending.wait(&never, PATIENCE)?;
    Ok(((runs + 1) * batch) as f64 / clock::now().since(began).as_secs_f64())
}

fn engine_options(options: &Options) -> anyhow::Result<EngineOptions> {
    let precision = match options.precision.as_str() {
        "model" => Precision::Model,
        "fp16" => Precision::Fp16,
        "int8" => Precision::Int8,
        other => bail!("--precision: expected model, fp16 or int8, found {other}"),
    };
    let profile_batch = u32::try_from(options.max_batch)?;
    Ok(EngineOptions {
        provider: options.provider.parse()?,
        library: options.library.as_ref().map(PathBuf::from),
        cache_dir: options.cache_dir.as_ref().map(PathBuf::from),
        tuning: Tuning { precision, profile_batch, ..Tuning::default() },
        startup_timeout: PATIENCE,
        ..EngineOptions::new(&options.model)
    })
}
