//! Sixteen live feeds, of which four misbehave, against the same sixteen undisturbed: what do the other twelve notice?
//!
//! ```text
//! ./dev run cargo run --release --example isolation -- [SECONDS [MODEL]]
//! ```
//!
//! Feed 3 stops, the consumer of feed 5 blocks for ever, the source of feed 7 fails, feed 9 changes its size with every
//! frame. Every other feed must deliver at least 99 % of the frames of the undisturbed run, with a p99 of the latency
//! that grew by less than `max-latency`; the health messages must name exactly the four; the pipeline must go on, and
//! stop within 2 s. Prints what it found; exits with 1 if that is not so.

use anyhow::{Context as _, ensure};
use gst::prelude::*;
use gst_app::{AppSrc, AppStreamType};
use gstnextvision::clock;
use gstnextvision::elements::message::health_of;
use gstnextvision::meta::frame;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const FEEDS: usize = 16;
const RATE: u64 = 15;
const MAX_LATENCY: Duration = Duration::from_millis(50);
const STOPS: usize = 3;
const BLOCKS: usize = 5;
const FAILS: usize = 7;
const RESIZES: usize = 9;
const TROUBLE: [usize; 4] = [STOPS, BLOCKS, FAILS, RESIZES];

/// The latencies of one feed's frames, in nanoseconds.
type Latencies = Arc<Mutex<Vec<u64>>>;

struct Run {
    latencies: Vec<Vec<u64>>,
    /// Feeds that a health message named, other than to say that they have started.
    named: BTreeSet<String>,
    stopped_in: Duration,
}

struct Scene {
    pipeline: gst::Pipeline,
    latencies: Vec<Latencies>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds =
        arguments.next().map_or(Ok(30), |text| text.parse()).context("SECONDS: expected a number")?;
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/slow_1ms.onnx");
    let model = arguments.next().unwrap_or_else(|| tiny.to_owned());
    gst::init()?;
    gstnextvision::plugin_register_static()?;
    println!("{FEEDS} live feeds at {RATE} fps, {seconds} s each run, max-latency {MAX_LATENCY:?}");
    let control = run(&model, seconds, false)?;
    let disturbed = run(&model, seconds, true)?;
    report(&control, &disturbed)
}

fn report(control: &Run, disturbed: &Run) -> anyhow::Result<()> {
    println!("feed  undisturbed  disturbed  ratio    p99 undisturbed  p99 disturbed");
    let (mut worst_ratio, mut worst_growth) = (f64::INFINITY, 0_i64);
    for feed in 0..FEEDS {
        let (before, after) = (&control.latencies[feed], &disturbed.latencies[feed]);
        let ratio = after.len() as f64 / before.len().max(1) as f64;
        let (p99_before, p99_after) = (p99(before), p99(after));
        let trouble = if TROUBLE.contains(&feed) { "  misbehaves" } else { "" };
        println!(
            "{feed:4}  {:11}  {:9}  {ratio:.4}  {:>15.1?}  {:>13.1?}{trouble}",
            before.len(),
            after.len(),
            Duration::from_nanos(p99_before),
            Duration::from_nanos(p99_after)
        );
        if trouble.is_empty() {
            worst_ratio = worst_ratio.min(ratio);
            worst_growth = worst_growth.max(p99_after.cast_signed() - p99_before.cast_signed());
        }
    }
    let expected: BTreeSet<_> = TROUBLE.iter().map(|feed| format!("feed-{feed}")).collect();
    println!("health messages name {:?}; NULL took {:?}", disturbed.named, disturbed.stopped_in);
    let growth = Duration::from_nanos(worst_growth.unsigned_abs());
    ensure!(control.named.is_empty(), "isolation FAILED: undisturbed feeds were named: {:?}", control.named);
    ensure!(disturbed.named == expected, "isolation FAILED: expected messages to name {expected:?}");
    ensure!(worst_ratio >= 0.99, "isolation FAILED: a feed delivered {worst_ratio:.4} of its frames");
    ensure!(growth < MAX_LATENCY, "isolation FAILED: the p99 of a feed grew by {growth:?}");
    ensure!(disturbed.stopped_in < Duration::from_secs(2), "isolation FAILED: NULL took too long");
    println!("isolation passed: least ratio {worst_ratio:.4}, greatest growth of a p99 {growth:.1?}");
    Ok(())
}

fn p99(latencies: &[u64]) -> u64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default()
}

fn run(model: &str, seconds: u64, disturbed: bool) -> anyhow::Result<Run> {
    let scene = build(model, disturbed)?;
    let bus = scene.pipeline.bus().context("a pipeline has a bus")?;
    scene.pipeline.set_state(gst::State::Playing)?;
    let over = Arc::new(AtomicBool::new(false));
    let camera = camera(&scene, disturbed, Arc::clone(&over))?;
    let (mut named, mut said) = (BTreeSet::new(), BTreeSet::new());
    let end = clock::now().saturating_add(Duration::from_secs(seconds));
    while clock::now() < end {
        let left = gst::ClockTime::try_from(clock::until(end)).unwrap_or(gst::ClockTime::ZERO);
        let kinds = [gst::MessageType::Element, gst::MessageType::Error, gst::MessageType::Eos];
        let Some(message) = bus.timed_pop_filtered(left, &kinds) else { break };
        ensure!(message.type_() != gst::MessageType::Eos, "isolation FAILED: the pipeline ended");
        if let gst::MessageView::Error(error) = message.view() {
            let source = message.src().map(|source| source.path_string().to_string()).unwrap_or_default();
            ensure!(disturbed && source.contains("source-7") || source.contains("fails"), "{error:?}");
        }
        if let Some(Ok(health)) = health_of(&message)
            && let Some(feed) = health.feed_id
            && health.event.name() != "feed-started"
        {
            if said.insert((feed.clone(), health.event.name())) {
                println!("  {feed}: {:?}", health.event);
            }
            named.insert(feed);
        }
    }
    over.store(true, Ordering::Release);
    camera.join().ok();
    let began = clock::now();
    scene.pipeline.set_state(gst::State::Null)?;
    let stopped_in = clock::now().since(began);
    let latencies = scene.latencies.iter().map(|one| std::mem::take(&mut *lock(one))).collect();
    Ok(Run { latencies, named, stopped_in })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn info(width: u32) -> gst_video::VideoInfo {
    let format = gst_video::VideoFormat::I420;
    gst_video::VideoInfo::builder(format, width, 240).fps((15, 1)).build().expect("a valid format")
}

fn build(model: &str, disturbed: bool) -> anyhow::Result<Scene> {
    let mut text = format!(
        "nvbatcher name=b max-batch-size=8 max-latency={} ! nvinference model={model} ! nvunbatcher name=u ",
        MAX_LATENCY.as_nanos()
    );
    for feed in 0..FEEDS {
        let trouble = if disturbed && feed == FAILS { " ! identity name=fails error-after=60" } else { "" };
        let source = if feed == RESIZES {
            format!("appsrc name=source-{feed} is-live=true format=time")
        } else {
            format!(
                "videotestsrc name=source-{feed} is-live=true pattern=ball{trouble} \
                 ! video/x-raw,format=I420,width=320,height=240,framerate={RATE}/1"
            )
        };
        text += &format!(
            "{source} ! b.sink_{feed}  u.src_{feed} ! nvhealth ! fakesink name=sink-{feed} sync=false "
        );
    }
    let pipeline = gst::parse::launch(&text)?.downcast::<gst::Pipeline>().ok().context("a pipeline")?;
    let batcher = pipeline.by_name("b").context("b")?;
    let mut latencies = Vec::new();
    for feed in 0..FEEDS {
        let pad = batcher.static_pad(&format!("sink_{feed}")).context("a pad")?;
        pad.set_property("feed-id", format!("feed-{feed}"));
        let sink = pipeline.by_name(&format!("sink-{feed}")).and_then(|sink| sink.static_pad("sink"));
        latencies.push(watch(&sink.context("a sink")?, disturbed && feed == BLOCKS));
        if disturbed && feed == STOPS {
            let source =
                pipeline.by_name(&format!("source-{feed}")).and_then(|source| source.static_pad("src"));
            block_after(&source.context("a source")?, 60);
        }
    }
    Ok(Scene { pipeline, latencies })
}

/// Notes how long each frame took from its arrival at the batcher.
fn watch(pad: &gst::Pad, blocks: bool) -> Latencies {
    let latencies = Latencies::default();
    let noted = Arc::clone(&latencies);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let arrival = info.buffer().and_then(|buffer| frame::read(buffer)?.arrival);
        if let Some(arrival) = arrival {
            lock(&noted).push(clock::now().as_nanos().saturating_sub(arrival));
        }
        gst::PadProbeReturn::Ok
    });
    if blocks {
        block_after(pad, 60);
    }
    latencies
}

/// Lets that many frames pass and no more.
fn block_after(pad: &gst::Pad, frames: usize) {
    let mut left = frames;
    let state = Mutex::new(move || {
        left = left.saturating_sub(1);
        left > 0
    });
    pad.add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, move |_, _| {
        if lock(&state)() { gst::PadProbeReturn::Pass } else { gst::PadProbeReturn::Ok }
    });
}

/// A camera of our own, at the rate of the others.
fn camera(
    scene: &Scene,
    resizes: bool,
    over: Arc<AtomicBool>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let name = format!("source-{RESIZES}");
    let source = scene.pipeline.by_name(&name).and_downcast::<AppSrc>().context("an appsrc")?;
    source.set_stream_type(AppStreamType::Stream);
    source.set_do_timestamp(true);
    let body = move || {
        let mut next = clock::now();
        let mut number = 0;
        while !over.load(Ordering::Acquire) {
            let info = info(if resizes && number > 60 { 160 + number % 100 * 2 } else { 320 });
            let buffer = gst::Buffer::from_mut_slice(vec![128_u8; info.size()]);
            let caps = info.to_caps().expect("a valid format");
            let sample = gst::Sample::builder().buffer(&buffer).caps(&caps).build();
            if source.push_sample(&sample).is_err() {
                return;
            }
            number += 1;
            next = next.saturating_add(Duration::from_nanos(1_000_000_000 / RATE));
            while !clock::until(next).is_zero() && !over.load(Ordering::Acquire) {
                std::thread::park_timeout(clock::until(next));
            }
        }
    };
    Ok(std::thread::Builder::new().name("camera".to_owned()).spawn(body)?)
}
