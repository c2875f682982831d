//! The text of metrics: valid whatever the names, and what the table says.

use super::super::made_up::{HOSTILE, empty, everything, many, running};
use super::*;
use crate::metrics::{CONTENT_TYPE, PREFIX};
use std::collections::BTreeSet;

/// A line of the text that is not a comment: name and labels, and the number.
fn samples(text: &str) -> Vec<(&str, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let split = lines.map(|line| line.rsplit_once(' ').unwrap_or_else(|| panic!("no number: {line}")));
    split.map(|(series, number)| (series, number.parse().unwrap_or_else(|_| panic!("{number}")))).collect()
}

fn number(text: &str, series: &str) -> f64 {
    let found = samples(text).into_iter().find(|(name, _)| *name == format!("{PREFIX}{series}"));
    found.unwrap_or_else(|| panic!("no {series} in\n{text}")).1
}

fn assert_no_series_twice(text: &str) {
    let mut seen = BTreeSet::new();
    let twice: Vec<&str> =
        samples(text).into_iter().map(|(series, _)| series).filter(|series| !seen.insert(*series)).collect();
    assert_eq!(twice, Vec::<&str>::new());
}

#[test]
fn numbers_are_those_of_the_snapshot_in_base_units() {
    let text = exposition(&everything());
    let gate = "{feed=\"gate-north\",group=\"main\"}";
    assert_eq!(number(&text, "build_info{version=\"0.1.0\"}"), 1.0);
    assert_eq!(number(&text, "uptime_seconds"), 93_784.0);
    assert_eq!(number(&text, "phase{state=\"running\"}"), 1.0);
    assert_eq!(number(&text, "phase{state=\"draining\"}"), 0.0);
    assert_eq!(number(&text, "feeds{state=\"running\"}"), 3.0);
    assert_eq!(number(&text, &format!("feed_up{gate}")), 1.0);
    assert_eq!(number(&text, &format!("feed_lag_seconds{gate}")), 0.041);
    assert_eq!(number(&text, &format!("feed_frames_received_total{gate}")), 184_600.0);
    let late = "feed_frames_dropped_total{feed=\"gate-north\",group=\"main\",reason=\"late\"}";
    assert_eq!(number(&text, late), 212.0);
    let state = |state: &str| format!("feed_state{{feed=\"dock-2\",group=\"main\",state=\"{state}\"}}");
    assert_eq!(number(&text, &state("backing-off")), 1.0);
    assert_eq!(number(&text, &state("running")), 0.0);
    assert_eq!(number(&text, "feed_up{feed=\"dock-2\",group=\"main\"}"), 0.0);
    let engine = "{group=\"vehicles\",model=\"vehicles-640\"}";
    assert_eq!(number(&text, &format!("engine_busy_seconds_total{engine}")), 1402.0);
    assert_eq!(number(&text, &format!("engine_up{engine}")), 1.0);
    assert_eq!(number(&text, "output_lost_total{output=\"archive\"}"), 1204.0);
    assert_eq!(number(&text, "removed_frames_failed_total{reason=\"timeout\"}"), 8.0);
    assert_eq!(number(&text, "reload_failed"), 1.0);
}

#[test]
fn buckets_of_the_histogram_hold_all_below_them() {
    let text = exposition(&everything());
    let bucket = |le: &str| {
        number(
            &text,
            &format!("feed_latency_seconds_bucket{{feed=\"gate-north\",group=\"main\",le=\"{le}\"}}"),
        )
    };
    assert_eq!(bucket("0.005"), 0.0);
    assert_eq!(bucket("0.02"), 3_412.0);
    assert_eq!(bucket("30"), 184_354.0);
    assert_eq!(bucket("+Inf"), 184_357.0);
    assert_eq!(number(&text, "feed_latency_seconds_count{feed=\"gate-north\",group=\"main\"}"), 184_357.0);
    assert_eq!(number(&text, "feed_latency_seconds_sum{feed=\"gate-north\",group=\"main\"}"), 9_812.25);
}

#[test]
fn what_is_not_known_has_no_series() {
    let text = exposition(&empty());
    for absent in
        ["resident_memory_bytes", "memory_bound_bytes", "threads", "feed_up", "feed_latency_seconds"]
    {
        let name = format!("{PREFIX}{absent}");
        assert!(!text.lines().any(|line| line.starts_with(&name)), "{absent} in\n{text}");
    }
    let text = exposition(&everything());
    assert!(!text.contains("feed_last_record_age_seconds{feed=\"lobby\""));
    assert!(text.contains("feed_last_record_age_seconds{feed=\"yard\""));
}

#[test]
fn names_are_escaped_and_nothing_leaves_its_quotes() {
    let text = exposition(&everything());
    let escaped = HOSTILE.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    assert_eq!(number(&text, &format!("feed_up{{feed=\"{escaped}\",group=\"main\"}}")), 1.0);
    samples(&text);
}

#[test]
fn names_that_are_there_twice_give_one_series_each() {
    let mut snapshot = everything();
    let mut again = running(99, "gate-north");
    again.ledger.received = 7;
    snapshot.feeds.push(again);
    snapshot.engines.push(snapshot.engines[0].clone());
    snapshot.outputs.push(snapshot.outputs[0].clone());
    let queues = snapshot.feeds[0].queues.clone();
    snapshot.feeds[0].queues.extend(queues);
    let text = exposition(&snapshot);
    assert_no_series_twice(&text);
    let received = number(&text, "feed_frames_received_total{feed=\"gate-north\",group=\"main\"}");
    assert_eq!(received, 7.0, "the later feed is the one that is there");
}

#[test]
fn no_address_is_in_it() {
    let text = exposition(&everything());
    assert!(!text.contains("rtsp://") && !text.contains("192.168"), "{text}");
}

#[test]
fn every_family_is_named_once_and_as_prometheus_wants_it() {
    let mut seen = BTreeSet::new();
    let labels = ["feed", "group", "model", "output", "reason", "state", "queue", "provider", "version"];
    for Family { name, kind, help, labels: of, .. } in FAMILIES {
        assert!(seen.insert(name), "{name} is there twice");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(help.ends_with('.') && !help.contains(['\n', '|']), "{name}: {help}");
        assert!(of.iter().all(|label| labels.contains(label)), "{name}: {of:?}");
    }
}

#[test]
fn a_snapshot_of_everything_has_a_series_of_every_family() {
    let text = exposition(&everything());
    for Family { name, .. } in FAMILIES {
        assert!(text.contains(&format!("# HELP {PREFIX}{name} ")), "{name}");
        assert!(text.contains(&format!("# TYPE {PREFIX}{name} ")), "{name}");
    }
    assert_no_series_twice(&text);
    assert!(CONTENT_TYPE.contains("0.0.4"));
}

#[test]
fn as_many_feeds_as_there_may_be_stay_a_text_of_bounded_size() {
    let text = exposition(&many(64));
    assert_no_series_twice(&text);
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
}
