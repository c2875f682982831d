//! A site in words, for people.

use super::{Feed, Group, Model, Output, OutputKind, OutputType, Runtime, Secret, Site, Source, Tracker};
use crate::health::{MASK, redact};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// What would run, in aligned lines that end in a line break. Secrets are shown as `***`, with where they come from.
#[must_use]
pub fn plan(site: &Site) -> String {
    let mut text = String::new();
    section(&mut text, "runtime", runtime(site));
    section(&mut text, "models", site.models.iter().map(model).collect());
    section(&mut text, "groups", site.groups.iter().map(group).collect());
    section(&mut text, "feeds", site.feeds.iter().map(|one| feed(one, site)).collect());
    section(&mut text, "outputs", site.outputs.iter().map(output).collect());
    text
}

/// Adds `rows` under `title`; their cells but the last ones are aligned.
fn section(text: &mut String, title: &str, rows: Vec<Vec<String>>) {
    /// A wider cell is not waited for.
    const WIDEST: usize = 48;
    let count = if title == "runtime" { String::new() } else { format!(" ({})", rows.len()) };
    let _ = writeln!(text, "{title}{count}");
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).filter(|width| *width <= WIDEST).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "  {}", line.trim_end());
    }
}

fn time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// The cells of a row with a name and a value.
fn pair(name: &str, value: impl Into<String>) -> Vec<String> {
    vec![name.to_owned(), value.into()]
}

fn path(path: &Path) -> String {
    redact(&path.display().to_string()).into_owned()
}

fn runtime(site: &Site) -> Vec<Vec<String>> {
    let Runtime { max_feeds, on_feed_exit, drain_timeout, idle_timeout, metrics_address, .. } = &site.runtime;
    let page = match metrics_address {
        None => "none".to_owned(),
        Some(address) if address.ip().is_loopback() => format!("http://{address}/ (from this machine only)"),
        Some(address) => format!("http://{address}/ (from other machines, too)"),
    };
    let previews = match &site.previews {
        previews if !previews.enabled || metrics_address.is_none() => "none".to_owned(),
        previews => {
            let overlay = if previews.overlay { ", with boxes and labels" } else { "" };
            format!("{} pixels wide{overlay}", previews.width)
        }
    };
    let idle =
        if idle_timeout.is_zero() { "never".to_owned() } else { format!("after {}", time(*idle_timeout)) };
    let exit = match on_feed_exit {
        super::OnFeedExit::Isolate => "isolate: the others go on",
        super::OnFeedExit::Teardown => "teardown: all are wound down",
    };
    vec![
        pair("feeds at most", max_feeds.to_string()),
        pair("when a feed ends", exit),
        pair("drains within", time(*drain_timeout)),
        pair("ends idle feeds", idle),
        pair("page", page),
        pair("previews", previews),
    ]
}

fn model(model: &Model) -> Vec<String> {
    let provider = model.provider.map_or("cpu", super::Provider::as_str);
    let fallback = if model.allow_fallback == Some(true) { ", or cpu" } else { "" };
    let labels = match &model.object_labels {
        Some(labels) => format!(": {}", labels.join(", ")),
        None => String::new(),
    };
    vec![
        model.name.clone(),
        path(&model.path),
        format!("on {provider}{fallback}"),
        format!("about {}{labels}", if model.operate_on.as_str() == "frame" { "frames" } else { "objects" }),
    ]
}

fn group(group: &Group) -> Vec<String> {
    let algorithm = |tracker: &Tracker| tracker.algorithm.map_or("bytetrack", super::Algorithm::as_str);
    let tracker = group.tracker.as_ref().map(|tracker| format!("tracker {}", algorithm(tracker)));
    let mut steps: Vec<String> = group.models.clone();
    if let Some(tracker) = tracker {
        steps.insert(steps.len().min(1), tracker);
    }
    let size = group.max_batch_size.map(|size| format!("up to {size} frames"));
    let latency = group.max_latency.map(|latency| format!("waiting {} at most", time(latency)));
    let batches: Vec<String> = [size, latency].into_iter().flatten().collect();
    let batches =
        if batches.is_empty() { String::new() } else { format!("batches of {}", batches.join(", ")) };
    vec![group.name.clone(), steps.join(" → "), batches.replace("of waiting", "waiting")]
}

fn feed(feed: &Feed, site: &Site) -> Vec<String> {
    let source = match &feed.source {
        Source::Uri(address) => address.to_string(),
        Source::CustomPipeline(_) => format!("custom pipeline {MASK}"),
    };
    let outputs: Vec<&str> = site.outputs_of(&feed.id).map(|output| output.name.as_str()).collect();
    let outputs =
        if outputs.is_empty() { "no output".to_owned() } else { format!("to {}", outputs.join(", ")) };
    let mut notes = Vec::new();
    if feed.user.is_some() {
        notes.push(format!("user {MASK}"));
    }
    match &feed.password {
        None => {}
        Some(Secret::Env(name)) => notes.push(format!("password {MASK} from ${name}")),
        Some(Secret::File(file)) => notes.push(format!("password {MASK} from {}", path(file))),
    }
    if !feed.enabled {
        notes.push("not started".to_owned());
    }
    vec![feed.id.clone(), source, format!("group {}", feed.group), outputs, notes.join(", ")]
}

fn output(output: &Output) -> Vec<String> {
    let (kind, target) = match &output.kind {
        OutputKind::Stdout => (OutputType::Stdout, "JSON Lines".to_owned()),
        OutputKind::Appsink => (OutputType::Appsink, "signal new-output".to_owned()),
        OutputKind::File { path: file, rotate_size, keep } => {
            let rotated = rotate_size.map(|size| format!(", rotated at {size} bytes, {keep} kept"));
            (OutputType::File, format!("{}{}", path(file), rotated.unwrap_or_default()))
        }
    };
    let feeds = match &output.feeds {
        None => "of all feeds".to_owned(),
        Some(feeds) => format!("of {}", feeds.join(", ")),
    };
    vec![output.name.clone(), kind.as_str().to_owned(), target, feeds]
}
