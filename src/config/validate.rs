//! What a site must be beyond the types of its values: names that are unique, references that lead somewhere, keys
//! that go together.
//!
//! A site that has a problem is never handed out, so a value that could not be had is replaced by any other here.

use super::parse::Findings;
use super::place::{Place, shown};
use super::problem::{Problem, did_you_mean, one_of};
use super::raw::{self, Table};
use super::value::{Name, Text};
use super::{
    Group, HealthLimits, Model, OnFeedExit, OperateOn, Previews, Runtime, Site, Tracker, feed, output,
};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reads and checks a whole site.
pub(super) fn site(text: &str, base: &Path) -> Result<Site, Vec<Problem>> {
    let mut findings = Findings::open(text)?;
    let Some(raw) = findings.read::<raw::Site>() else { return findings.finish(None) };
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    let mut site = Site {
        runtime: runtime(raw.runtime, &mut findings),
        health: health(raw.health.as_ref().map(|table| &table.0), &HealthLimits::default()),
        previews: previews(raw.previews),
        models: models(raw.models.unwrap_or_default(), &base, &mut findings),
        groups: Vec::new(),
        feeds: Vec::new(),
        outputs: Vec::new(),
        base,
        defaults: raw.defaults.unwrap_or_default().0,
    };
    site.groups = groups(raw.groups.unwrap_or_default(), &site, &mut findings);
    site.feeds = feed::feeds(raw.feeds.unwrap_or_default(), &site, &mut findings);
    site.outputs = output::outputs(raw.outputs.unwrap_or_default(), &site, &mut findings);
    findings.finish(Some(site))
}

fn runtime(table: Option<Table<raw::Runtime>>, findings: &mut Findings<'_>) -> Runtime {
    let Table(raw) = table.unwrap_or_default();
    Runtime {
        max_feeds: raw.max_feeds.map_or(64, |number| number.get()),
        on_feed_exit: raw.on_feed_exit.unwrap_or(OnFeedExit::Isolate),
        drain_timeout: raw.drain_timeout.map_or(Duration::from_secs(10), |time| time.get()),
        idle_timeout: raw.idle_timeout.map_or(Duration::ZERO, |time| time.get()),
        metrics_address: metrics_address(raw.metrics_address.as_deref().unwrap_or_default(), findings),
        allow_custom_pipeline: raw.allow_custom_pipeline.unwrap_or(false),
    }
}

fn metrics_address(text: &str, findings: &mut Findings<'_>) -> Option<SocketAddr> {
    if text.is_empty() {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        let place = Place::default().key("runtime").key("metrics-address");
        findings.expected(&place, "an IP address and a port, such as 127.0.0.1:9464 or [::1]:9464");
    }
    address
}

/// The limits of `table`, and for those it does not have those of `outer`.
pub(super) fn health(table: Option<&raw::Health>, outer: &HealthLimits) -> HealthLimits {
    let Some(table) = table else { return outer.clone() };
    HealthLimits {
        stall_timeout: table.stall_timeout.map(|time| time.get()).or(outer.stall_timeout),
        lag_threshold: table.lag_threshold.map(|time| time.get()).or(outer.lag_threshold),
        fps_min: table.fps_min.map(|number| number.get()).or(outer.fps_min),
    }
}

fn previews(table: Option<Table<raw::Previews>>) -> Previews {
    let Table(raw) = table.unwrap_or_default();
    Previews {
        enabled: raw.enabled.unwrap_or(true),
        width: raw.width.map_or(320, |number| number.get()),
        overlay: raw.overlay.unwrap_or(true),
    }
}

fn models(tables: Vec<Table<raw::Model>>, base: &Path, findings: &mut Findings<'_>) -> Vec<Model> {
    unique("models", "name", tables.iter().map(|table| table.0.name.as_ref()), findings);
    let numbered = tables.into_iter().enumerate();
    numbered.map(|(index, Table(raw))| model(raw, &Place::item("models", index), base, findings)).collect()
}

fn model(raw: raw::Model, place: &Place, base: &Path, findings: &mut Findings<'_>) -> Model {
    let name = findings.need(place, "name", raw.name, "the name of the model");
    let path = findings.need(place, "path", raw.path, "the path of an ONNX file");
    let operate_on = raw.operate_on.unwrap_or(OperateOn::Frame);
    if operate_on == OperateOn::Frame && !findings.is_wrong(&place.key("operate-on")) {
        for key in ["object-labels", "object-min-size", "reinfer-interval"] {
            if findings.has(&place.key(key)) {
                let text = "expected it with operate-on = \"objects\" only, found it with \"frame\"";
                findings.add(&place.key(key), text);
            }
        }
    }
    let object_labels = raw.object_labels.map(|labels| object_labels(labels, place, findings));
    let path_of = |Text(path): Text| base.join(path);
    Model {
        name: name.map(|Name(name)| name).unwrap_or_default(),
        path: path.map(path_of).unwrap_or_default(),
        operate_on,
        decoder: raw.decoder,
        provider: raw.provider,
        allow_fallback: raw.allow_fallback,
        device_id: raw.device_id.map(|number| number.get()),
        precision: raw.precision,
        threads: raw.threads.map(|number| number.get()),
        score_threshold: raw.score_threshold.map(|number| number.get()),
        iou_threshold: raw.iou_threshold.map(|number| number.get()),
        labels: raw.labels.map(path_of),
        max_detections: raw.max_detections.map(|number| number.get()),
        object_labels,
        object_min_size: raw.object_min_size.map(|number| number.get()),
        reinfer_interval: raw.reinfer_interval.map(|number| number.get()),
        response_timeout: raw.response_timeout.map(|time| time.get()),
        startup_timeout: raw.startup_timeout.map(|time| time.get()),
        cache_dir: raw.cache_dir.map(path_of),
        on_error: raw.on_error,
    }
}

fn object_labels(labels: Vec<Name>, place: &Place, findings: &mut Findings<'_>) -> Vec<String> {
    let place = place.key("object-labels");
    if labels.is_empty() && !findings.is_wrong(&place) {
        findings.add(&place, "expected one label at least, found none: leave the key out for all objects");
    }
    for (index, Name(label)) in labels.iter().enumerate() {
        if label.contains(',') {
            findings.expected(&place.index(index), "a label without a comma");
        }
    }
    labels.into_iter().map(|Name(label)| label).collect()
}

fn groups(tables: Vec<Table<raw::Group>>, site: &Site, findings: &mut Findings<'_>) -> Vec<Group> {
    unique("groups", "name", tables.iter().map(|table| table.0.name.as_ref()), findings);
    let numbered = tables.into_iter().enumerate();
    numbered.map(|(index, Table(raw))| group(raw, &Place::item("groups", index), site, findings)).collect()
}

fn group(raw: raw::Group, place: &Place, site: &Site, findings: &mut Findings<'_>) -> Group {
    let name = findings.need(place, "name", raw.name, "the name of the group");
    let models = findings.need(place, "models", raw.models, "the names of its models");
    let models: Vec<String> = models.unwrap_or_default().into_iter().map(|Name(name)| name).collect();
    chain(&models, &place.key("models"), site, findings);
    Group {
        name: name.map(|Name(name)| name).unwrap_or_default(),
        models,
        max_batch_size: raw.max_batch_size.map(|number| number.get()),
        max_latency: raw.max_latency.map(|time| time.get()),
        tracker: raw.tracker.map(|Table(raw)| tracker(raw, &place.key("tracker"), findings)),
    }
}

/// Checks that there are such models, and that they can be asked one after another.
fn chain(names: &[String], place: &Place, site: &Site, findings: &mut Findings<'_>) {
    if findings.is_wrong(place) || findings.is_wrong(&Place::default().key("models")) {
        // Whatever would be said follows from that.
        return;
    }
    if names.is_empty() && findings.has(place) {
        findings.add(place, "expected one model at least, found none");
    }
    let known: Vec<&str> = site.models.iter().map(|model| model.name.as_str()).collect();
    for (index, name) in names.iter().enumerate() {
        let place = place.index(index);
        let Some(model) = site.model(name) else {
            unknown(&place, "models", name, &known, findings);
            continue;
        };
        let (wanted, which) = match index {
            0 => (OperateOn::Frame, "the first model of a group"),
            _ => (OperateOn::Objects, "a model behind the first"),
        };
        if names.iter().take(index).any(|before| before == name) {
            findings.expected(&place, "each model once");
        } else if model.operate_on != wanted {
            let (wanted, found) = (wanted.as_str(), model.operate_on.as_str());
            let text = format!(
                "expected operate-on = \"{wanted}\" of {which}, found {} with \"{found}\"",
                shown(name)
            );
            findings.add(&place, text);
        }
    }
}

fn tracker(raw: raw::Tracker, place: &Place, findings: &mut Findings<'_>) -> Tracker {
    let (low, high) = (raw.low_threshold.map(|n| n.get()), raw.high_threshold.map(|n| n.get()));
    if let (Some(low), Some(high)) = (low, high)
        && low > high
    {
        findings.expected(&place.key("low-threshold"), format!("at most high-threshold, which is {high}"));
    }
    Tracker {
        algorithm: raw.algorithm,
        max_age: raw.max_age.map(|number| number.get()),
        min_hits: raw.min_hits.map(|number| number.get()),
        coast_frames: raw.coast_frames.map(|number| number.get()),
        max_tracks: raw.max_tracks.map(|number| number.get()),
        class_aware: raw.class_aware,
        iou_threshold: raw.iou_threshold.map(|number| number.get()),
        high_threshold: high,
        low_threshold: low,
        appearance_weight: raw.appearance_weight.map(|number| number.get()),
    }
}

/// Notes every name of `list` that was there before; `key` is the key that has it.
pub(super) fn unique<'a>(
    list: &str,
    key: &str,
    names: impl Iterator<Item = Option<&'a Name>>,
    findings: &mut Findings<'_>,
) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (index, name) in names.enumerate() {
        if findings.is_full() {
            return;
        }
        let Some(Name(name)) = name else { continue };
        let Some(before) = first.get(name.as_str()) else {
            first.insert(name, index);
            continue;
        };
        let before = Place::item(list, *before);
        let line = findings.line(&before.key(key)).map(|line| format!(" in line {line}")).unwrap_or_default();
        let text = format!("expected no other {key} {}, found that of {before}{line}", shown(name));
        findings.add(&Place::item(list, index).key(key), text);
    }
}

/// Notes that nothing in `list` has the name at `place`; `known` do.
pub(super) fn unknown(place: &Place, list: &str, name: &str, known: &[&str], findings: &mut Findings<'_>) {
    /// More names help nobody.
    const MOST_SHOWN: usize = 16;
    /// Names that `name` is compared with: it takes time.
    const MOST_COMPARED: usize = 256;
    if findings.is_full() {
        return;
    }
    if known.is_empty() {
        findings.expected(place, format!("the name of one of the {list}, of which there are none"));
        return;
    }
    let quoted: Vec<String> = known.iter().take(MOST_SHOWN).map(|known| shown(known)).collect();
    let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
    let more = if known.len() > MOST_SHOWN { " and others" } else { "" };
    let hint = did_you_mean(name, known.get(..MOST_COMPARED).unwrap_or(known));
    let colon = if hint.is_empty() { "" } else { ": " };
    let text =
        format!("expected {}{more} of the {list}, found {}{colon}{hint}", one_of(&quoted), shown(name));
    findings.add(place, text);
}

/// `path` without `.` and `..`, as far as that can be done without looking.
pub(super) fn tidy(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}
