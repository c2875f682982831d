//! Detections in a Rust program that has a pipeline of its own: behind `nvunbatcher` stand ordinary frames, and what
//! is known about them lies on them as metas. Uses GStreamer's bindings only, nothing of this crate.
//!
//! ```text
//! ./dev run cargo run --release --example detect -- models/nanodet-g-320.onnx a.mp4 b.mp4
//! ```

use anyhow::{Context as _, Result, bail};
use gst::prelude::*;
use std::path::Path;

/// A line of text per detection.
type Report = fn(&str);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().context("usage: detect MODEL CLIP...")?;
    let clips: Vec<String> = arguments.collect();
    gst::init()?;
    detect(Path::new(&model), &clips, |line| println!("{line}"))
}

/// Plays the clips through one engine to their end.
pub(crate) fn detect(model: &Path, clips: &[String], report: Report) -> Result<()> {
    let pipeline = gst::Pipeline::new();
    let batcher = gst::ElementFactory::make("nvbatcher").build()?;
    let inference = gst::ElementFactory::make("nvinference").property("model", model).build()?;
    let unbatcher = gst::ElementFactory::make("nvunbatcher").build()?;
    pipeline.add_many([&batcher, &inference, &unbatcher])?;
    gst::Element::link_many([&batcher, &inference, &unbatcher])?;
    for (feed, clip) in clips.iter().enumerate() {
        add_feed(&pipeline, [&batcher, &unbatcher], feed, clip, report)?;
    }
    let outcome = play(&pipeline);
    pipeline.set_state(gst::State::Null)?;
    outcome
}

/// A source in front of the batcher's pad `sink_N`, and an appsink behind the un-batcher's pad `src_N`.
fn add_feed(
    pipeline: &gst::Pipeline,
    [batcher, unbatcher]: [&gst::Element; 2],
    feed: usize,
    clip: &str,
    report: Report,
) -> Result<()> {
    let source = gst::ElementFactory::make("uridecodebin")
        .property("uri", glib::filename_to_uri(Path::new(clip).canonicalize()?, None)?)
        .build()?;
    let appsink = gst_app::AppSink::builder().sync(false).build();
    pipeline.add_many([&source, appsink.upcast_ref()])?;

    let sink_pad = batcher.request_pad_simple(&format!("sink_{feed}")).context("no pad at nvbatcher")?;
    let src_pad = unbatcher.request_pad_simple(&format!("src_{feed}")).context("no pad at nvunbatcher")?;
    sink_pad.set_property("feed-id", clip);
    src_pad.link(&appsink.static_pad("sink").context("an appsink has a pad")?)?;
    // A decoder's pad comes when it knows what is in the file.
    source.connect_pad_added(move |_, pad| {
        let video = pad.current_caps().is_some_and(|caps| caps.iter().any(|s| s.name() == "video/x-raw"));
        if video && !sink_pad.is_linked() {
            pad.link(&sink_pad).ok();
        }
    });
    appsink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |appsink| {
                let sample = appsink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                sample.buffer().into_iter().flat_map(describe).for_each(|line| report(&line));
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
    Ok(())
}

/// What lies on a frame: `nv-frame` says which one it is, a region of interest each what was found on it.
fn describe(buffer: &gst::BufferRef) -> Vec<String> {
    let Ok(frame) = gst::meta::CustomMeta::from_buffer(buffer, "nv-frame") else { return Vec::new() };
    let feed = frame.structure().get::<String>("feed-id").unwrap_or_default();
    let seq = frame.structure().get::<u64>("seq").unwrap_or_default();

    let regions = buffer.iter_meta::<gst_video::VideoRegionOfInterestMeta>();
    let line = |region: gst::MetaRef<'_, gst_video::VideoRegionOfInterestMeta>| {
        let detection = region.param("detection")?;
        let label = detection.get::<String>("label").ok()?;
        let confidence = detection.get::<f64>("confidence").ok()?;
        let (x, y, width, height) = region.rect();
        Some(format!("{feed} {seq}: {label} {confidence:.2} at {x},{y} {width}x{height}"))
    };
    regions.filter_map(line).collect()
}

fn play(pipeline: &gst::Pipeline) -> Result<()> {
    pipeline.set_state(gst::State::Playing).ok();
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::NONE, &wanted).context("the bus is flushing")?;
    if let gst::MessageView::Error(error) = message.view() {
        let source = error.src().map_or_else(String::new, |source| source.path_string().into());
        bail!("{source}: {} ({})", error.error(), error.debug().unwrap_or_default());
    }
    Ok(())
}
