//! [`exposition`]: a snapshot as Prometheus text, form 0.0.4.
//!
//! The text is valid whatever is in the snapshot: names may be any text, and of what has the same labels only the last
//! is shown. Metrics of which nothing is known are left out.

use super::families::{FAMILIES, Family, Kind, Numbers, PREFIX};
use super::{Engine, Feed, Histogram, LATENCY_BOUNDS, Output, Snapshot};
use prometheus::TextEncoder;
use prometheus::proto::{self, Bucket, LabelPair, Metric, MetricFamily, MetricType};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What [`exposition`] gives, as HTTP says it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The snapshot as text that Prometheus scrapes.
#[must_use]
pub fn exposition(snapshot: &Snapshot) -> String {
    let subjects = Subjects::of(snapshot);
    let families: Vec<MetricFamily> = FAMILIES.iter().filter_map(|family| subjects.family(family)).collect();
    TextEncoder::new()
        .encode_to_string(&families)
        .expect("every family has a name and a metric, and memory takes it")
}

/// The table of all metrics as a page: `docs/metrics.md`, without its beginning.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("| metric | kind | labels | |\n|---|---|---|---|\n");
    for family in FAMILIES {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, help) = (family.name, family.kind.as_str(), family.help);
        writeln!(text, "| `{PREFIX}{name}` | {kind} | {} | {help} |", labels.join(", "))
            .expect("a string takes all");
    }
    text
}

/// What the series of metrics are about, each once.
struct Subjects<'a> {
    snapshot: &'a Snapshot,
    feeds: Vec<&'a Feed>,
    engines: Vec<&'a Engine>,
    outputs: Vec<&'a Output>,
}

impl<'a> Subjects<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            feeds: last_of_each(&snapshot.feeds, |feed| feed.feed_id.as_str()),
            engines: last_of_each(&snapshot.engines, |engine| (engine.group.as_str(), engine.model.as_str())),
            outputs: last_of_each(&snapshot.outputs, |output| output.name.as_str()),
        }
    }

    /// The family with all its series; `None` if it has none.
    fn family(&self, family: &Family) -> Option<MetricFamily> {
        let series = self.series(family);
        if series.is_empty() {
            return None;
        }
        let mut made = MetricFamily::default();
        made.set_name(format!("{PREFIX}{}", family.name));
        made.set_help(family.help.to_owned());
        made.set_field_type(match family.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        made.set_metric(series.into_values().collect());
        Some(made)
    }

    fn series(&self, family: &Family) -> Series {
        let mut series = Series::default();
        match family.numbers {
            Numbers::Site(number) => add(&mut series, family, vec![], number(self.snapshot)),
            Numbers::SiteEach(numbers) => add_each(&mut series, family, &[], numbers(self.snapshot)),
            Numbers::Feed(number) => {
                self.feeds.iter().for_each(|feed| add(&mut series, family, of_feed(feed), number(feed)));
            }
            Numbers::FeedEach(numbers) => {
                self.feeds
                    .iter()
                    .for_each(|feed| add_each(&mut series, family, &of_feed(feed), numbers(feed)));
            }
            Numbers::FeedLatency => self.feeds.iter().for_each(|feed| {
                let mut metric = labelled(family, &of_feed(feed));
                metric.set_histogram(cumulative(&feed.latency));
                series.insert(of_feed(feed), metric);
            }),
            Numbers::Engine(number) => {
                self.engines.iter().for_each(|one| add(&mut series, family, of_engine(one), number(one)));
            }
            Numbers::EngineEach(numbers) => {
                self.engines
                    .iter()
                    .for_each(|one| add_each(&mut series, family, &of_engine(one), numbers(one)));
            }
            Numbers::Output(number) => {
                self.outputs
                    .iter()
                    .for_each(|one| add(&mut series, family, vec![one.name.clone()], number(one)));
            }
        }
        series
    }
}

/// Metrics by the values of their labels.
type Series = BTreeMap<Vec<String>, Metric>;

/// The last of those with the same key, in the order of their keys.
fn last_of_each<'a, T, K: Ord>(all: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<&'a T> {
    let by_key: BTreeMap<K, &T> = all.iter().map(|one| (key(one), one)).collect();
    by_key.into_values().collect()
}

fn of_feed(feed: &Feed) -> Vec<String> {
    vec![feed.feed_id.clone(), feed.group.clone()]
}

fn of_engine(engine: &Engine) -> Vec<String> {
    vec![engine.group.clone(), engine.model.clone()]
}

fn add(series: &mut Series, family: &Family, labels: Vec<String>, number: Option<f64>) {
    let Some(number) = number else { return };
    let mut metric = labelled(family, &labels);
    if family.kind == Kind::Counter {
        let mut counter = proto::Counter::default();
        counter.set_value(number);
        metric.set_counter(counter);
    } else {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(number);
        metric.set_gauge(gauge);
    }
    series.insert(labels, metric);
}

fn add_each(series: &mut Series, family: &Family, labels: &[String], numbers: Vec<(String, f64)>) {
    for (last, number) in numbers {
        let labels = labels.iter().cloned().chain([last]).collect();
        add(series, family, labels, Some(number));
    }
}

fn labelled(family: &Family, values: &[String]) -> Metric {
    let pair = |(name, value): (&&str, &String)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.clone());
        pair
    };
    Metric::from_label(family.labels.iter().zip(values).map(pair).collect())
}

/// Each bucket with all below it. The one above the last bound is what the count has more.
fn cumulative(histogram: &Histogram) -> proto::Histogram {
    let mut below = 0_u64;
    let bucket = |(&bound, &count): (&f64, &u64)| {
        below = below.saturating_add(count);
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(below);
        bucket
    };
    let buckets = LATENCY_BOUNDS.iter().zip(&histogram.buckets).map(bucket).collect();
    let count = histogram.buckets.iter().fold(0_u64, |sum, &count| sum.saturating_add(count));
    let mut made = proto::Histogram::default();
    made.set_bucket(buckets);
    made.set_sample_count(count);
    made.set_sample_sum(histogram.sum);
    made
}

#[cfg(test)]
#[path = "exposition_tests.rs"]
mod tests;
