//! Nothing outlives its pipeline: runs pipelines with every element under GStreamer's leaks tracer, then ends
//! GStreamer. The tracer warns about every object alive by then, and a warning ends the process.
//!
//! Run by `./dev test`; by hand: `cargo test --test leaks`.

#![expect(unsafe_code, reason = "the environment is set, and GStreamer ended, before and after all threads")]

use gst::prelude::*;

fn main() {
    // SAFETY: no other thread runs yet.
    unsafe {
        std::env::set_var("GST_TRACERS", "leaks");
        std::env::set_var("GST_DEBUG", "GST_TRACER:7");
    }
    glib::log_set_always_fatal(glib::LogLevels::LEVEL_WARNING | glib::LogLevels::LEVEL_CRITICAL);
    gst::init().expect("GStreamer starts");
    gstnextvision::plugin_register_static().expect("the plugin registers");
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/brightest.onnx");
    let records = tempfile::tempdir().expect("a folder");
    let file = |name: &str| records.path().join(name).display().to_string();
    let batched = format!(
        "nvbatcher name=b ! nvinference model={model} ! nvunbatcher name=u \
         videotestsrc num-buffers=20 ! b.sink_0  u.src_0 ! nvsink location={} \
         videotestsrc num-buffers=20 ! b.sink_1  u.src_1 ! nvsink location={} \
         videotestsrc num-buffers=20 ! b.sink_2",
        file("a"),
        file("b")
    );
    let plain =
        format!("videotestsrc num-buffers=20 ! nvinference model={model} ! nvsink location={}", file("c"));
    for description in [&batched, &plain] {
        run(description, &[gst::MessageType::Eos]);
    }
    // Broken off in the middle, and never begun.
    run(&batched.replace("num-buffers=20", ""), &[gst::MessageType::StreamStart]);
    run(&batched.replace(model, "/nowhere.onnx"), &[gst::MessageType::Error]);
    drop(gst::parse::launch(&batched).expect("a pipeline"));
    // SAFETY: every pipeline is gone, and nothing of GStreamer is used afterwards.
    unsafe { gst::deinit() };
    println!("leaks: none");
}

fn run(description: &str, until: &[gst::MessageType]) {
    let pipeline = gst::parse::launch(description).expect("a pipeline");
    pipeline.set_state(gst::State::Playing).ok();
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), until);
    assert!(message.is_some(), "none of {until:?} from {description}");
    pipeline.set_state(gst::State::Null).expect("it stops");
    bus.set_flushing(true);
}
