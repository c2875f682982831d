//! What a user can get wrong ends in one error on the bus that names the element and the property, what was expected
//! and what was found; and the process lives on.

use crate::support::{detector, init, launch, repository, tiny_model, wait_for_error, wait_for_warning};
use gst::prelude::*;
use std::io::Write as _;

/// Plays `description`, which fails, and checks that the error comes from `element` and says all of `parts`. The
/// process then still plays something.
fn assert_error(description: &str, element: &str, parts: &[&str]) {
    let pipeline = launch(description);
    pipeline.set_state(gst::State::Playing).ok();
    let (source, text) = wait_for_error(&pipeline);
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert_says(element, &source, &text, parts);
    crate::support::run_to_eos(&launch("videotestsrc num-buffers=1 ! nvsink"));
}

fn with_model(options: &str) -> String {
    format!("videotestsrc ! nvinference name=i {options} ! fakesink")
}

fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".onnx").tempfile().expect("a temporary file");
    file.write_all(content).expect("it is written");
    file
}

#[test]
fn no_model() {
    assert_error(
        &with_model(""),
        "i",
        &["property model", "expected the path of an ONNX model", "found none"],
    );
}

#[test]
fn a_model_that_is_not_there() {
    assert_error(
        &with_model("model=/nowhere/m.onnx"),
        "i",
        &["property model", "/nowhere/m.onnx", "no such"],
    );
}

#[test]
fn a_model_that_is_not_onnx() {
    let text = file(b"this is a text, and no protobuf at all");
    let path = text.path().display().to_string();
    assert_error(&with_model(&format!("model={path}")), "i", &["property model", &path, "ONNX"]);
}

#[test]
fn a_model_of_zero_bytes() {
    let empty = file(b"");
    let path = empty.path().display().to_string();
    assert_error(&with_model(&format!("model={path}")), "i", &["property model", &path]);
}

#[test]
fn a_model_cut_short() {
    let whole = std::fs::read(detector()).expect("the detector");
    let half = file(&whole[..whole.len() / 2]);
    let path = half.path().display().to_string();
    assert_error(&with_model(&format!("model={path}")), "i", &["property model", &path]);
}

#[test]
fn a_model_whose_input_has_the_wrong_rank() {
    let model = tiny_model("rank3");
    assert_error(&with_model(&format!("model={model}")), "i", &["property model", "expected", "found", "3"]);
}

#[test]
fn a_model_with_two_inputs() {
    let model = tiny_model("two_inputs");
    assert_error(&with_model(&format!("model={model}")), "i", &["property model", "expected", "found", "2"]);
}

#[test]
fn a_model_whose_outputs_no_decoder_reads() {
    let model = tiny_model("wrong_outputs");
    assert_error(&with_model(&format!("model={model}")), "i", &["property decoder", "expected", "found"]);
}

#[test]
fn a_decoder_that_does_not_fit_the_outputs() {
    let model = tiny_model("brightest");
    let options = format!("model={model} decoder=centerface");
    assert_error(&with_model(&options), "i", &["property decoder", "centerface", "expected", "found"]);
}

#[test]
fn fewer_labels_than_classes() {
    let labels = file(b"person\nbicycle\n");
    let options = format!("model={} labels={}", detector(), labels.path().display());
    assert_error(&with_model(&options), "i", &["property labels", "80 classes", "found 2"]);
}

#[test]
fn labels_that_are_not_there() {
    let options = format!("model={} labels=/nowhere/labels.txt", detector());
    assert_error(&with_model(&options), "i", &["/nowhere/labels.txt"]);
}

#[test]
fn no_onnx_runtime() {
    let options = format!("model={} ort-library=/nowhere/libonnxruntime.so", detector());
    assert_error(&with_model(&options), "i", &["property ort-library", "/nowhere/libonnxruntime.so"]);
}

#[test]
fn a_library_that_is_no_onnx_runtime() {
    let library = file(b"not a shared object");
    let path = library.path().display().to_string();
    let options = format!("model={} ort-library={path}", detector());
    assert_error(&with_model(&options), "i", &["property ort-library", &path]);
}

#[test]
fn a_provider_that_is_not_there() {
    let options = format!("model={} provider=tensorrt", detector());
    assert_error(&with_model(&options), "i", &["property provider", "tensorrt", "cpu"]);
}

#[test]
fn limits_that_contradict_each_other() {
    assert_error(
        "nvbatcher name=b max-batch-size=2 max-frames-per-feed=3 ! fakesink videotestsrc ! b.sink_0",
        "b",
        &["max-frames-per-feed", "3", "max-batch-size", "2"],
    );
}

#[test]
fn a_location_that_cannot_be_written() {
    assert_error(
        "videotestsrc ! nvsink name=s location=/nowhere/a.jsonl",
        "s",
        &["location", "/nowhere/a.jsonl"],
    );
}

/// An application source that claims `caps` and pushes one buffer of `size` bytes.
fn pushes(caps: &str, size: usize, branch: &str) -> gst::Pipeline {
    let pipeline = launch(&format!("appsrc name=a format=time ! {branch}"));
    let source = pipeline.by_name("a").and_downcast::<gst_app::AppSrc>().expect("an appsrc");
    source.set_caps(Some(&caps.parse().expect("caps")));
    pipeline.set_state(gst::State::Playing).ok();
    source.push_buffer(gst::Buffer::with_size(size).expect("memory")).ok();
    pipeline
}

/// The batcher refuses the feed, with a warning: other feeds are nobody's business. A stream alone is an error.
fn assert_refuses(caps: &str, size: usize, parts: &[&str]) {
    let pipeline = pushes(caps, size, "b.sink_0 nvbatcher name=b ! fakesink async=false");
    let (source, text) = wait_for_warning(&pipeline);
    assert_says("b", &source, &text, parts);
    pipeline.set_state(gst::State::Null).expect("it stops");
    let branch = format!("nvinference name=i model={} ! fakesink async=false", tiny_model("brightest"));
    let pipeline = pushes(caps, size, &branch);
    let (source, text) = wait_for_error(&pipeline);
    assert_says("i", &source, &text, parts);
    pipeline.set_state(gst::State::Null).expect("it stops");
}

fn assert_says(element: &str, source: &str, text: &str, parts: &[&str]) {
    assert_eq!(source, element, "{text}");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

#[test]
fn caps_of_something_else_than_video() {
    assert_refuses(
        "audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved",
        64,
        &["expected", "video/x-raw", "audio/x-raw"],
    );
}

#[test]
fn frames_of_no_size() {
    assert_refuses("video/x-raw,format=RGB,width=0,height=0,framerate=30/1", 64, &["expected", "found 0x0"]);
}

#[test]
fn frames_too_large_for_any_machine() {
    let caps = "video/x-raw,format=RGB,width=65535,height=65535,framerate=30/1";
    assert_refuses(caps, 64, &["expected", "16384", "found 65535x65535"]);
}

#[test]
fn one_feed_too_many() {
    let pipeline = launch("nvbatcher name=b max-feeds=2 ! fakesink videotestsrc ! b. videotestsrc ! b.");
    let batcher = pipeline.by_name("b").expect("b");
    assert!(batcher.request_pad_simple("sink_%u").is_none());
    let (source, text) = wait_for_warning(&pipeline);
    assert_eq!(source, "b");
    assert!(text.contains("max-feeds is 2"), "{text}");
}

#[test]
fn a_pad_name_that_is_no_number() {
    init();
    let pipeline = gst::Pipeline::new();
    let batcher = gst::ElementFactory::make("nvbatcher").name("b").build().expect("b");
    pipeline.add(&batcher).expect("a new element");
    assert!(batcher.request_pad_simple("sink_07").is_none());
    let (_, text) = wait_for_warning(&pipeline);
    assert!(text.contains("sink_07") && text.contains("expected sink_N"), "{text}");
}

/// GStreamer itself logs a critical warning for this, so it is tried in a process without `fatal-criticals`.
#[test]
fn the_same_pad_twice() {
    let script = "nvbatcher name=b ! fakesink videotestsrc ! b.sink_7 videotestsrc ! b.sink_7";
    let output =
        crate::support::gst_launch(script).env_remove("G_DEBUG").output().expect("gst-launch-1.0 runs");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("could not link") && text.contains("b"), "{text}");
    assert!(repository("Cargo.toml").exists());
}
