//! Runs files through NextVision's own runtime (`nv-runtime` 0.1.0) with one batched model, as fast as they go.
//!
//! ```text
//! bench-nv-runtime own|free MAX_BATCH_SIZE MAX_LATENCY_MS MODEL FILE…
//! ```
//!
//! `own` leaves its media pipeline as it is: its appsink plays files at the rate of the clip and drops what is not
//! fetched in time, and the queue in front of the stages drops, too. `free` gives it an appsink that does neither,
//! through its `GpuPipelineProvider`, and a queue that blocks. The rest is the same: decoder, colour conversion to
//! RGB, feeds, batch handle, output. ONNX Runtime is the one of `ORT_DYLIB_PATH`, with the session options of our
//! engine; letterbox, normalisation and decoding are ours. Prints one line of JSON.

mod detector;
mod tail;

use anyhow::{Context as _, Result, bail};
use detector::Detector;
use nv_core::config::{CameraMode, SourceSpec};
use nv_core::health::HealthEvent;
use nv_runtime::{
    BackpressurePolicy, BatchConfig, DeviceResidency, FeedConfig, FeedPipeline, OutputSink, Runtime,
    SharedOutput,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

struct Count(Arc<AtomicU64>);

impl OutputSink for Count {
    fn emit(&self, _: SharedOutput) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, batch, latency, model, files @ ..] = &*arguments else {
        bail!("expected own|free MAX_BATCH_SIZE MAX_LATENCY_MS MODEL FILE…, found {arguments:?}")
    };
    let free = mode == "free";
    let began = Instant::now();
    let runtime = Runtime::builder().max_feeds(files.len().max(1)).build()?;
    let config = BatchConfig {
        max_batch_size: batch.parse()?,
        max_latency: Duration::from_millis(latency.parse()?),
        ..BatchConfig::default()
    };
    let batch = runtime.create_batch(Box::new(Detector::new(model)?), config)?;
    let mut health = runtime.health_subscribe();
    let emitted = Arc::<AtomicU64>::default();
    let mut feeds = Vec::new();
    for file in files {
        let pipeline = FeedPipeline::builder().batch(batch.clone())?.build();
        let mut feed = FeedConfig::builder()
            .source(SourceSpec::file(file))
            .camera_mode(CameraMode::Fixed)
            .feed_pipeline(pipeline)
            .output_sink(Box::new(Count(Arc::clone(&emitted))));
        if free {
            feed = feed
                .backpressure(BackpressurePolicy::Block { queue_depth: 4 })
                .device_residency(DeviceResidency::Provider(Arc::new(tail::Unpaced)));
        }
        feeds.push(runtime.add_feed(feed.build()?)?);
    }
    let mut running = feeds.len();
    while running > 0 {
        match health.blocking_recv() {
            Ok(HealthEvent::FeedStopped { .. }) => running -= 1,
            Ok(_) => {}
            Err(error) => bail!("health events: {error}"),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let (received, dropped) =
        feeds.iter().map(|feed| feed.metrics()).fold((0, 0), |(received, dropped), feed| {
            (received + feed.frames_received, dropped + feed.frames_dropped)
        });
    let metrics = batch.metrics();
    let mean = metrics.avg_batch_size().context("no batch was run")?;
    runtime.shutdown()?;
    let frames = emitted.load(Ordering::Acquire);
    println!(
        "{{\"frames\":{frames},\"received\":{received},\"dropped\":{dropped},\"seconds\":{seconds:.3},\
         \"mean_batch\":{mean:.3}}}"
    );
    Ok(())
}
