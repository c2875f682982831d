//! `nvbatcher ! nvinference ! nvunbatcher` with feeds from memory and a sink each, and a meter at the sinks.

use super::frames::Clip;
use super::measure::{Moment, Spent};
use super::source::{Gate, Pace, Source};
use anyhow::{Context as _, Result, bail};
use gst::prelude::*;
use gstnextvision::clock;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longer than any frame takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What stands between the feeds and their sinks.
#[derive(Clone, Debug)]
pub(crate) enum Chain {
    /// Nothing: each feed is linked to its sink, to know what feeds and sinks cost.
    Direct,
    /// `nvbatcher ! nvunbatcher`, without an engine.
    Batches,
    /// The whole, with this model.
    Model(String),
}

/// What to build.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) chain: Chain,
    pub(crate) feeds: usize,
    pub(crate) max_batch_size: usize,
    pub(crate) max_latency: Duration,
    /// Factory of the sinks.
    pub(crate) sink: &'static str,
}

/// Counts frames as they reach the sinks, and notes the moments of two of them.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    count: AtomicU64,
    from: AtomicU64,
    to: AtomicU64,
    seen: Mutex<[Option<Moment>; 2]>,
    changed: Condvar,
}

impl Meter {
    fn count(&self) {
        let count = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        let which = match count {
            _ if count == self.from.load(Ordering::Acquire) => 0,
            _ if count == self.to.load(Ordering::Acquire) => 1,
            _ => return,
        };
        self.seen.lock()[which] = Some(Moment::now());
        self.changed.notify_all();
    }

    pub(crate) fn total(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Counts what comes to this pad.
    pub(crate) fn watch(self: &Arc<Self>, pad: &gst::Pad) {
        let meter = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            meter.count();
            gst::PadProbeReturn::Ok
        });
    }

    /// Begins to measure so many frames, `skip` frames from now.
    pub(crate) fn arm(&self, skip: u64, frames: u64) {
        *self.seen.lock() = [None; 2];
        let from = self.total() + skip.max(1);
        self.to.store(from + frames, Ordering::Release);
        self.from.store(from, Ordering::Release);
    }

    pub(crate) fn wait(&self) -> Result<Spent> {
        let mut seen = self.seen.lock();
        let waited = self.changed.wait_while_for(&mut seen, |seen| seen[1].is_none(), PATIENCE);
        match *seen {
            [Some(from), Some(to)] if !waited.timed_out() => Ok(from.until(to)),
            _ => bail!("expected {} frames, found {}", self.to.load(Ordering::Acquire), self.total()),
        }
    }

    /// Waits for so many frames in all.
    pub(crate) fn reach(&self, frames: u64) -> Result<()> {
        let end = clock::now().saturating_add(PATIENCE);
        while self.total() < frames {
            if clock::until(end).is_zero() {
                bail!("expected {frames} frames, found {}", self.total());
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// A pipeline that runs.
pub(crate) struct Scene {
    pub(crate) pipeline: gst::Pipeline,
    pub(crate) batcher: Option<gst::Element>,
    pub(crate) inference: Option<gst::Element>,
    pub(crate) sinks: Vec<gst::Element>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) sources: Vec<Source>,
}

impl Scene {
    /// Builds the pipeline without sources.
    pub(crate) fn build(plan: &Plan) -> Result<Self> {
        let mut scene = Self {
            pipeline: gst::Pipeline::new(),
            batcher: None,
            inference: None,
            sinks: Vec::new(),
            meter: Arc::default(),
            gate: Arc::default(),
            sources: Vec::new(),
        };
        let unbatcher = scene.add_chain(plan)?;
        for feed in 0..plan.feeds {
            let sink = gst::ElementFactory::make(plan.sink).name(format!("s{feed}")).build()?;
            if plan.sink == "fakesink" {
                sink.set_property("sync", false);
            }
            scene.pipeline.add(&sink)?;
            let pad = sink.static_pad("sink").context("a sink has a pad")?;
            if let (Some(batcher), Some(unbatcher)) = (&scene.batcher, &unbatcher) {
                batcher.request_pad_simple(&format!("sink_{feed}")).context("another feed")?;
                let src = unbatcher.request_pad_simple(&format!("src_{feed}")).context("another feed")?;
                src.link(&pad)?;
            }
            scene.meter.watch(&pad);
            scene.sinks.push(sink);
        }
        Ok(scene)
    }

    fn add_chain(&mut self, plan: &Plan) -> Result<Option<gst::Element>> {
        if matches!(plan.chain, Chain::Direct) {
            return Ok(None);
        }
        let batcher = gst::ElementFactory::make("nvbatcher")
            .property("max-batch-size", u32::try_from(plan.max_batch_size)?)
            .property("max-feeds", u32::try_from(plan.feeds)?)
            .property("max-latency", u64::try_from(plan.max_latency.as_nanos())?)
            .build()?;
        let unbatcher = gst::ElementFactory::make("nvunbatcher").build()?;
        self.pipeline.add_many([&batcher, &unbatcher])?;
        if let Chain::Model(model) = &plan.chain {
            let inference = gst::ElementFactory::make("nvinference").property("model", model).build()?;
            self.pipeline.add(&inference)?;
            gst::Element::link_many([&batcher, &inference, &unbatcher])?;
            self.inference = Some(inference);
        } else {
            batcher.link(&unbatcher)?;
        }
        self.batcher = Some(batcher);
        Ok(Some(unbatcher))
    }

    /// The pad that feed gives its frames to.
    pub(crate) fn entry(&self, feed: usize) -> Result<gst::Pad> {
        let pad = match &self.batcher {
            Some(batcher) => batcher.static_pad(&format!("sink_{feed}")),
            None => self.sinks.get(feed).and_then(|sink| sink.static_pad("sink")),
        };
        pad.context("a feed has a pad")
    }

    /// Starts the pipeline and a source per feed, the clips in turn. The gate is closed.
    pub(crate) fn play(&mut self, clips: &[Arc<Clip>], pace: impl Fn(usize) -> Pace) -> Result<()> {
        self.pipeline.set_state(gst::State::Playing)?;
        for feed in 0..self.sinks.len() {
            let clip = &clips[feed % clips.len()];
            self.sources.push(Source::start(feed, &self.entry(feed)?, clip, pace(feed), &self.gate)?);
        }
        Ok(())
    }

    /// Lets frames flow, and says what `frames` of them took after the first `skip`. Nothing flows afterwards.
    pub(crate) fn measure(&self, skip: u64, frames: u64) -> Result<Spent> {
        self.meter.arm(skip, frames);
        self.gate.open();
        let spent = self.meter.wait();
        self.gate.close();
        self.check_bus()?;
        self.drain()?;
        spent
    }

    /// Waits until nothing is on its way any more. The gate must be closed.
    pub(crate) fn drain(&self) -> Result<()> {
        let (mut before, mut quiet) = (self.state(), 0);
        let end = clock::now().saturating_add(PATIENCE);
        while quiet < 5 {
            std::thread::park_timeout(Duration::from_millis(4));
            let now = self.state();
            quiet = if now == before && now.0 == 0 { quiet + 1 } else { 0 };
            before = now;
            if clock::until(end).is_zero() {
                bail!("frames stay in the pipeline: {}", now.0);
            }
        }
        Ok(())
    }

    /// Frames in the pipeline, and frames at the sinks.
    fn state(&self) -> (u64, u64) {
        let field = |name: &str| self.stat(name).unwrap_or_default();
        (field("in-flight"), self.meter.total())
    }

    /// A counter of the batcher.
    pub(crate) fn stat(&self, name: &str) -> Option<u64> {
        self.batcher.as_ref()?.property::<gst::Structure>("stats").get(name).ok()
    }

    pub(crate) fn check_bus(&self) -> Result<()> {
        let bus = self.pipeline.bus().context("a pipeline has a bus")?;
        while let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
            if let gst::MessageView::Error(error) = message.view() {
                bail!(
                    "{}: {}",
                    message.src().map(|src| src.path_string()).unwrap_or_default(),
                    error.error()
                );
            }
        }
        Ok(())
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        self.gate.end();
        let stopped = self.pipeline.set_state(gst::State::Null);
        self.sources.iter_mut().for_each(Source::join);
        stopped.map(drop).context("the pipeline does not stop")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop().ok();
    }
}
