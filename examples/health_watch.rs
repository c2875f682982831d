//! Watches feeds and prints what the elements say of them, as it comes, until all have ended.
//!
//! ```text
//! ./dev run cargo run --release --example health_watch -- rtsp://CAMERA/door file.mp4
//! ```
//!
//! Ends with 0 if every feed ended by itself, with 1 if one was given up or the pipeline failed, and with 2 if it was
//! not told what to watch. No model is needed: `nvhealth` works in any pipeline.

use anyhow::{Context as _, Result, bail};
use gst::prelude::*;
use std::path::Path;
use std::process::ExitCode;

/// Fields that every message has, and that the line has in front or not at all.
const COMMON: [&str; 8] =
    ["event", "severity", "feed-id", "element", "sequence", "running-time", "count", "total"];

fn main() -> ExitCode {
    let feeds: Vec<String> = std::env::args().skip(1).collect();
    if feeds.is_empty() {
        eprintln!("usage: health_watch URI-OR-FILE...");
        return ExitCode::from(2);
    }
    match gst::init().map_err(Into::into).and_then(|()| watch(&feeds, |line| println!("{line}"))) {
        Ok(given_up) if given_up.is_empty() => ExitCode::SUCCESS,
        Ok(given_up) => {
            eprintln!("given up: {}", given_up.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays the feeds to their ends, with a line of text per message. Returns the feeds that were given up.
pub(crate) fn watch(feeds: &[String], mut report: impl FnMut(&str)) -> Result<Vec<String>> {
    let pipeline = gst::Pipeline::new();
    for (number, feed) in feeds.iter().enumerate() {
        add_feed(&pipeline, number, feed)?;
    }
    pipeline.set_state(gst::State::Playing).ok();
    let outcome = follow(&pipeline, &mut report);
    pipeline.set_state(gst::State::Null)?;
    outcome
}

/// `nvfeed ! nvhealth ! fakesink`; whatever stands between them in a pipeline of yours.
fn add_feed(pipeline: &gst::Pipeline, number: usize, feed: &str) -> Result<()> {
    let uri = if feed.contains("://") {
        feed.into()
    } else {
        glib::filename_to_uri(std::path::absolute(feed)?, None)?
    };
    let name = Path::new(uri.as_str()).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let source = gst::ElementFactory::make("nvfeed")
        .property("uri", &uri)
        .property("feed-id", format!("{name}-{number}"))
        .build()?;
    let health =
        gst::ElementFactory::make("nvhealth").property("feed-id", format!("{name}-{number}")).build()?;
    let sink = gst::ElementFactory::make("fakesink").build()?;
    pipeline.add_many([&source, &health, &sink])?;
    gst::Element::link_many([&source, &health, &sink])?;
    Ok(())
}

fn follow(pipeline: &gst::Pipeline, report: &mut dyn FnMut(&str)) -> Result<Vec<String>> {
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    let mut given_up = Vec::new();
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(error) => {
                let source = error.src().map_or_else(String::new, |source| source.path_string().into());
                bail!("{source}: {} ({})", error.error(), error.debug().unwrap_or_default());
            }
            gst::MessageView::Element(element) => {
                let Some(health) = element.structure().filter(|s| s.name() == "nv-health") else { continue };
                report(&line(health));
                given_up.extend(given_up_by(health).filter(|feed| !given_up.contains(feed)));
            }
            _ => {}
        }
    }
    Ok(given_up)
}

/// The feed, if the message says that nothing will come of it any more.
fn given_up_by(health: &gst::StructureRef) -> Option<String> {
    let reason = health.get::<&str>("reason").ok()?;
    let event = health.get::<&str>("event").ok()?;
    (event == "feed-stopped" && matches!(reason, "fatal" | "restart-limit"))
        .then(|| health.get::<String>("feed-id").unwrap_or_default())
}

/// `severity feed-id event field=value...`
fn line(health: &gst::StructureRef) -> String {
    let text = |field: &str| health.get::<&str>(field).unwrap_or("-");
    let mut line = format!("{:<8} {} {}", text("severity"), text("feed-id"), text("event"));
    for (field, value) in health.iter().filter(|(field, _)| !COMMON.contains(&field.as_str())) {
        if let Ok(value) = value.serialize() {
            line += &format!(" {field}={value}");
        }
    }
    line
}
