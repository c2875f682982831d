//! What the trials share: the servers of the tests, a pipeline's messages, and what the process has.

use anyhow::{Context as _, Result, bail};
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::Message;
use gstnextvision::time::Monotonic;
use std::path::PathBuf;
use std::time::Duration;

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/support/cameras.rs"]
pub(crate) mod cameras;
#[path = "../../tests/support/eventually.rs"]
mod eventually;

pub(crate) use eventually::eventually;

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);
/// Longest time to NULL.
pub(crate) const STOP: Duration = Duration::from_secs(2);
/// The camera of the test server: frames a second.
pub(crate) const CAMERA_RATE: f64 = 15.0;

/// A path inside the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A pipeline that stops when a trial ends, also when it fails.
pub(crate) struct Scene(gst::Pipeline);

impl std::ops::Deref for Scene {
    type Target = gst::Pipeline;

    fn deref(&self) -> &gst::Pipeline {
        &self.0
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Already there, or on the way of an error that is more interesting.
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// A pipeline from its description.
pub(crate) fn launch(description: &str) -> Result<Scene> {
    let pipeline = gst::parse::launch(description).with_context(|| description.to_owned())?;
    pipeline.downcast().ok().map(Scene).context("more than one element")
}

/// `nvbatcher ! nvinference ! nvunbatcher` with these feeds, each with a fakesink of the name `NAME-sink`.
pub(crate) fn inference(feeds: &[(&str, String)]) -> Result<Scene> {
    let model = repository("tests/data/slow_1ms.onnx");
    let mut text = format!(
        "nvbatcher name=b max-latency=50000000 ! nvinference model={} ! nvunbatcher name=u",
        model.display()
    );
    for (at, (name, properties)) in feeds.iter().enumerate() {
        text += &format!(
            " nvfeed name={name} {properties} ! b.sink_{at}  u.src_{at} ! fakesink name={name}-sink sync=false async=false"
        );
    }
    launch(&text)
}

/// The sink pad of an element of the pipeline.
pub(crate) fn sink_pad(pipeline: &gst::Pipeline, name: &str) -> Result<gst::Pad> {
    let element = pipeline.by_name(name);
    element.and_then(|element| element.static_pad("sink")).with_context(|| format!("no {name}"))
}

/// The next health message of a feed before `until`. Whatever would take the pipeline down is an error.
pub(crate) fn next_health(bus: &gst::Bus, until: Monotonic) -> Result<Option<Message>> {
    use gst::MessageType;
    const KINDS: [MessageType; 4] =
        [MessageType::Element, MessageType::Error, MessageType::Warning, MessageType::Eos];
    loop {
        let left = gst::ClockTime::try_from(clock::until(until)).unwrap_or(gst::ClockTime::ZERO);
        let Some(message) = bus.timed_pop_filtered(left, &KINDS) else { return Ok(None) };
        let source = || message.src().map(|source| source.path_string().to_string()).unwrap_or_default();
        match message.view() {
            gst::MessageView::Error(error) => {
                bail!("an ERROR of {}: {} {:?}", source(), error.error(), error.debug())
            }
            gst::MessageView::Warning(warning) => {
                bail!("a WARNING of {}: {} {:?}", source(), warning.error(), warning.debug())
            }
            gst::MessageView::Eos(_) => bail!("the pipeline ended"),
            _ => {}
        }
        if let Some(health) = health_of(&message).transpose().context("a health message")?
            && health.feed_id.is_some()
        {
            return Ok(Some(health));
        }
    }
}

/// How long the change to NULL takes.
pub(crate) fn stop(pipeline: &gst::Pipeline) -> Result<Duration> {
    let began = clock::now();
    pipeline.set_state(gst::State::Null)?;
    Ok(clock::now().since(began))
}

/// Threads of the process.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// A generator of numbers that a seed decides: splitmix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Between 0 and 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
    }
}
