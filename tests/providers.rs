//! What runs the model: providers that are not there, what takes their place if that is allowed, the engine's settings,
//! and the cache of optimised models. No test needs a GPU; where the library at hand has a provider, what a machine
//! without its device says is looked at.

use crate::support::{PATIENCE, detector, launch, run_to_eos, tiny_model, wait_for_error, wait_for_warning};
use gst::prelude::*;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::Event;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn pipeline(options: &str) -> gst::Pipeline {
    let caps = "video/x-raw,format=GRAY8,width=64,height=64";
    let model = tiny_model("brightest");
    launch(&format!(
        "videotestsrc num-buffers=3 ! {caps} ! nvinference name=i model={model} {options} ! fakesink"
    ))
}

fn inference(pipeline: &gst::Pipeline) -> gst::Element {
    pipeline.by_name("i").expect("named so")
}

fn stat(pipeline: &gst::Pipeline, field: &str) -> String {
    let stats = inference(pipeline).property::<gst::Structure>("stats");
    stats.get(field).unwrap_or_else(|error| panic!("{field}: {error}"))
}

/// Goes to PAUSED and returns what the statistics say, once the model is open.
fn stats_of(options: &str, fields: [&str; 2]) -> [String; 2] {
    let pipeline = pipeline(options);
    pipeline.set_state(gst::State::Ready).expect("it opens");
    let stats = fields.map(|field| stat(&pipeline, field));
    run_to_eos(&pipeline);
    stats
}

/// READY fails, with an error that has all these words.
fn assert_refused(options: &str, words: &[&str]) {
    let pipeline = pipeline(options);
    assert!(inference(&pipeline).set_state(gst::State::Ready).is_err(), "{options}: opened");
    let (source, text) = wait_for_error(&pipeline);
    assert_eq!(source, "i");
    for word in words {
        assert!(text.contains(word), "{options}: expected {word:?}, found {text}");
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn an_absent_provider_fails_at_ready_and_says_what_to_install() {
    for (provider, install) in
        [("cuda", "onnxruntime-gpu"), ("tensorrt", "TensorRT 10"), ("openvino", "onnxruntime-openvino")]
    {
        let words =
            ["property provider", provider, install, "ort-library or ORT_DYLIB_PATH", "available: cpu"];
        assert_refused(&format!("provider={provider}"), &words);
    }
}

#[test]
fn the_cpu_takes_its_place_if_that_is_allowed_and_says_so() {
    let pipeline = pipeline("provider=cuda allow-fallback=true precision=model device-memory-limit=1000000");
    pipeline.set_state(gst::State::Ready).expect("the CPU opens it");
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let fallback = loop {
        let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Element]).expect("a message");
        let health = health_of(&message).map(|health| health.expect("well-formed").event);
        if let Some(Event::ProviderFallback(fallback)) = health {
            break fallback;
        }
    };
    assert_eq!((fallback.requested.as_str(), fallback.provider.as_str()), ("cuda", "cpu"));
    assert!(fallback.detail.contains("onnxruntime-gpu"), "{}", fallback.detail);
    assert_eq!(
        (stat(&pipeline, "provider"), stat(&pipeline, "providers")),
        ("cpu".to_owned(), "cpu".to_owned())
    );
    run_to_eos(&pipeline);
}

#[test]
fn a_fallback_hides_no_other_fault() {
    let pipeline = pipeline("provider=cuda allow-fallback=true ort-library=/nowhere/libonnxruntime.so");
    assert!(inference(&pipeline).set_state(gst::State::Ready).is_err());
    assert!(wait_for_error(&pipeline).1.contains("property ort-library"));
}

#[test]
fn settings_a_provider_does_not_know_are_refused_naming_both() {
    assert_refused("precision=fp16", &["precision fp16: expected provider tensorrt, found cpu"]);
    assert_refused(
        "precision=int8 provider=cuda",
        &["precision int8: expected provider tensorrt, found cuda"],
    );
    assert_refused("conv-search=exhaustive", &["conv-search exhaustive: expected provider cuda, found cpu"]);
    assert_refused(
        "device-memory-limit=1000 provider=openvino",
        &["device-memory-limit 1000: expected provider cuda or tensorrt, found openvino"],
    );
}

#[test]
fn every_setting_of_the_cpu_runs_the_model() {
    for options in [
        "spinning=true threads=1",
        "graph-optimization=disabled",
        "graph-optimization=basic",
        "graph-optimization=extended",
        "profile-batch=1",
    ] {
        assert_eq!(stats_of(options, ["provider", "cache"]), ["cpu", "off"], "{options}");
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn the_second_start_takes_the_model_from_the_cache() {
    let above = tempfile::tempdir().expect("a folder");
    let folder = above.path().join("cache");
    let options = format!("cache-dir={}", folder.display());
    assert_eq!(stats_of(&options, ["cache", "providers"]), ["stored", "cpu"]);
    assert_eq!(stats_of(&options, ["cache", "providers"]), ["loaded", "cpu"]);
    let entries = entries(&folder);
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(folder.metadata().expect("made").permissions().mode() & 0o777, 0o700);
    fs::write(&entries[0], "damaged").expect("written");
    assert_eq!(stats_of(&options, ["cache", "providers"]), ["stored", "cpu"]);
}

#[test]
fn a_folder_that_others_may_write_is_a_warning_and_the_model_runs() {
    let above = tempfile::tempdir().expect("a folder");
    fs::set_permissions(above.path(), fs::Permissions::from_mode(0o777)).expect("ours");
    for folder in [above.path().to_owned(), above.path().join("below")] {
        let pipeline = pipeline(&format!("cache-dir={}", folder.display()));
        pipeline.set_state(gst::State::Ready).expect("it opens without");
        let (source, text) = wait_for_warning(&pipeline);
        assert_eq!(source, "i");
        assert!(text.contains("property cache-dir") && text.contains("found mode 777"), "{text}");
        assert_eq!(stat(&pipeline, "cache"), "unusable");
        run_to_eos(&pipeline);
    }
}

#[test]
fn a_cached_detector_finds_what_the_plain_one_finds() {
    let above = tempfile::tempdir().expect("a folder");
    let run = |name: &str, options: &str| {
        let records = above.path().join(name);
        let (model, records_to) = (detector(), records.display());
        let pipeline = launch(&format!(
            "videotestsrc pattern=smpte num-buffers=5 ! video/x-raw,format=I420,width=320,height=240 \
             ! nvinference name=i model={model} score-threshold=0.05 {options} ! nvsink location={records_to}"
        ));
        run_to_eos(&pipeline);
        let text = fs::read_to_string(&records).expect("records");
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        lines.map(|record| record["detections"].clone()).collect::<Vec<_>>()
    };
    let cache = format!("cache-dir={}", above.path().join("cache").display());
    let plain = run("plain.jsonl", "");
    assert!(plain.iter().any(|found| found.as_array().is_some_and(|found| !found.is_empty())), "{plain:?}");
    assert_eq!(run("stored.jsonl", &cache), plain);
    assert_eq!(run("loaded.jsonl", &cache), plain);
}
