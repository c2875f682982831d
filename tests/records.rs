//! `docs/output.schema.json` says what comes out of a whole pipeline.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use crate::support::{init, launch, run_to_eos};
use gst::prelude::*;
use gstnextvision::infer::script::{Action, Gives, ScriptOptions, install};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The records of `path`, each of which is valid.
fn valid_records(path: &Path) -> Vec<Value> {
    let schema = serde_json::from_str(include_str!("../docs/output.schema.json")).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for record in &records {
        let faults: Vec<_> = schema.iter_errors(record).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{faults:?} in {record}");
    }
    records
}

/// The names of all fields of the detections of `records`.
fn detection_fields(records: &[Value]) -> BTreeSet<&str> {
    let found = records.iter().filter_map(|record| record["detections"].as_array()).flatten();
    found.filter_map(Value::as_object).flat_map(|found| found.keys().map(String::as_str)).collect()
}

#[test]
fn the_records_of_a_detector_a_tracker_and_two_second_models_are_valid() {
    init();
    let folder = tempfile::tempdir().unwrap();
    let detector = install("records-detector", ScriptOptions::default(), |_| Action::Detect);
    let gives = |gives| ScriptOptions { cells: 2, gives, ..ScriptOptions::default() };
    let classifier = install("records-classes", gives(Gives::Classes(4)), |_| Action::Detect);
    let vectors = install("records-vectors", gives(Gives::Vectors(8)), |_| Action::Detect);
    let path = |feed: u32| folder.path().join(format!("{feed}.jsonl"));
    let feed = |feed: u32, form: &str| {
        let source =
            "videotestsrc num-buffers=24 pattern=ball ! video/x-raw,format=GRAY8,width=160,height=120";
        let sink = format!("nvsink overflow=block embeddings={form} location={}", path(feed).display());
        format!("{source} ! b.sink_{feed} u.src_{feed} ! queue ! nvtrack ! {sink}")
    };
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={} ! nvinference operate-on=objects model={} \
         ! nvinference operate-on=objects model={} ! nvunbatcher name=u {} {}",
        detector.model(),
        classifier.model(),
        vectors.model(),
        feed(0, "base64"),
        feed(1, "list"),
    ));
    let batcher = pipeline.by_name("b").unwrap();
    batcher.sink_pads().iter().for_each(|pad| pad.set_property("interval", 1_u32));
    run_to_eos(&pipeline);
    for feed in 0..2 {
        let records = valid_records(&path(feed));
        assert!(!records.is_empty(), "feed {feed}");
        let fields = detection_fields(&records);
        for field in ["track-id", "track-state", "track-speed", "attributes", "embeddings"] {
            assert!(fields.contains(field), "no {field} in {fields:?}");
        }
        let statuses: BTreeSet<_> = records.iter().filter_map(|record| record["status"].as_str()).collect();
        assert!(statuses.contains("inferred") && statuses.contains("skipped"), "{statuses:?}");
    }
}

#[test]
fn the_records_of_frames_that_nothing_has_touched_or_that_failed_are_valid() {
    init();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let sink = format!("nvsink overflow=block location={}", path.display());
    run_to_eos(&launch(&format!("videotestsrc num-buffers=3 ! {sink}")));
    assert_eq!(valid_records(&path).len(), 3);
    let script = install("records-failing", ScriptOptions::default(), |_| Action::Error("no".to_owned()));
    let failing = format!("nvinference model={}", script.model());
    run_to_eos(&launch(&format!("videotestsrc num-buffers=3 ! {failing} ! {sink}")));
    let records = valid_records(&path);
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record["status"] == "failed" && record["error"].is_string()));
}
