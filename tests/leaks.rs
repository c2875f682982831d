//! Nothing outlives its pipeline: runs pipelines with every element under GStreamer's leaks tracer, then ends
//! GStreamer. The tracer warns about every object alive by then, and a warning ends the process.
//!
//! Run by `./dev test`; by hand: `cargo test --test leaks`. To see what is alive: `GST_DEBUG=GST_TRACER:7`.

#![expect(unsafe_code, reason = "the environment is set, and GStreamer ended, before and after all threads")]

#[path = "churn.rs"]
mod churn;

use gst::prelude::*;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/brightest.onnx");

fn main() {
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("GST_TRACERS", "leaks") };
    glib::log_set_always_fatal(glib::LogLevels::LEVEL_WARNING | glib::LogLevels::LEVEL_CRITICAL);
    gst::init().expect("GStreamer starts");
    assert!(
        gst::active_tracers().iter().any(|tracer| tracer.type_().name() == "GstLeaksTracer"),
        "the leaks tracer is not there: expected it among GStreamer's core plugins"
    );
    gstnextvision::plugin_register_static().expect("the plugin registers");
    run_all();
    // SAFETY: every pipeline is gone, and nothing of GStreamer is used afterwards.
    unsafe { gst::deinit() };
    println!("leaks: none");
}

fn run_all() {
    let records = tempfile::tempdir().expect("a folder");
    let batched = batched(records.path());
    let plain = format!("videotestsrc num-buffers=20 ! nvinference model={MODEL} ! nvsink name=s");
    // Watched by time: silence, idleness, reports, and an end that the watcher brings about.
    let watched = format!(
        "videotestsrc num-buffers=20 is-live=true ! nvhealth name=h stall-timeout=1000000 report-interval=1000000 \
         fps-min=1000 lag-threshold=1 ! nvinference model={MODEL} ! nvsink name=s"
    );
    // Two streams through the private pipeline of a group.
    let member = format!(
        "videotestsrc num-buffers=20 ! nvinference batch-group=leaks max-latency=1000000 model={MODEL} ! nvsink"
    );
    let grouped = format!("{member} name=s {member}");
    // Found, followed, asked about once more, and drawn.
    let seen = format!(
        "videotestsrc num-buffers=20 ! nvinference model={MODEL} ! nvtrack min-hits=1 ! nvinference operate-on=objects \
         object-min-size=1 model={MODEL} ! nvoverlay ! nvsink name=s"
    );
    let endless = |description: &str| description.replace("num-buffers=20", "");
    for description in [&batched, &plain, &watched, &grouped, &seen] {
        play_until(&launch(description), gst::MessageType::Eos);
        play_until(&launch(&description.replace(MODEL, "/nowhere.onnx")), gst::MessageType::Error);
        break_off_in_mid_stream(&launch(&endless(description)));
        for state in [gst::State::Ready, gst::State::Paused] {
            let pipeline = launch(&endless(description));
            pipeline.set_state(state).expect("it starts");
            stop(&pipeline);
        }
        drop(launch(description));
    }
    let twice = launch(&batched);
    play_until(&twice, gst::MessageType::Eos);
    play_until(&twice, gst::MessageType::Eos);
    play_until(
        &launch("appsrc is-live=true ! nvhealth idle-timeout=1000000 idle-action=eos ! fakesink"),
        gst::MessageType::Eos,
    );
    sources(records.path());
    release_pads();
    churn::run_all();
}

/// Sources that end, loop, fail, are paused and have nobody to connect to.
fn sources(folder: &std::path::Path) {
    let clip = folder.join("clip.avi");
    let made =
        format!("videotestsrc num-buffers=10 ! jpegenc ! avimux ! filesink location={}", clip.display());
    play_until(&launch(&made), gst::MessageType::Eos);
    let of = |uri: &str| format!("nvfeed name=f uri={uri} ! nvinference model={MODEL} ! nvsink name=s");
    let uri = format!("file://{}", clip.display());
    play_until(&launch(&of(&uri)), gst::MessageType::Eos);
    play_until(&launch(&of("file:///nowhere.avi")), gst::MessageType::Eos);
    play_until(&launch(&of("gopher://nowhere")), gst::MessageType::Error);
    break_off_in_mid_stream(&launch(&of(&format!("{uri} loop=true"))));
    for uri in [format!("{uri} pause=true"), "rtsp://127.0.0.1:9/nobody reconnect-base-delay=1".to_owned()] {
        let pipeline = launch(&of(&uri));
        pipeline.set_state(gst::State::Playing).expect("it starts");
        let feed = pipeline.by_name("f").expect("a feed");
        feed.emit_by_name::<()>("restart", &[]);
        stop(&pipeline);
    }
    // One after another, each while the last one is on its way out.
    let pipeline = launch(&of(&format!("{uri} loop=true")));
    for _ in 0..20 {
        pipeline.set_state(gst::State::Playing).expect("it plays");
        pipeline.set_state(gst::State::Ready).expect("it stops");
    }
    stop(&pipeline);
}

/// Three feeds with frames of any kind; one has no way out. Records go to files, a handler and who pulls.
fn batched(records: &std::path::Path) -> String {
    let file = |name: &str| records.join(name).display().to_string();
    format!(
        "nvbatcher name=b ! nvinference model={MODEL} ! nvunbatcher name=u \
         videotestsrc num-buffers=20 ! b.sink_0  u.src_0 ! nvsink name=s location={} \
         videotestsrc num-buffers=20 ! b.sink_1  u.src_1 ! nvsink overflow=block location={} \
         videotestsrc num-buffers=20 ! b.sink_2",
        file("0.jsonl"),
        file("1.jsonl")
    )
}

fn launch(description: &str) -> gst::Pipeline {
    let pipeline = gst::parse::launch(description).expect("a pipeline");
    pipeline.downcast().expect("more than one element")
}

fn play_until(pipeline: &gst::Pipeline, until: gst::MessageType) {
    pipeline.set_state(gst::State::Playing).ok();
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let message = bus.timed_pop_filtered(Some(PATIENCE.try_into().expect("short")), &[until]);
    // The file that is not there is an error that is expected; any other message that ends this is not.
    assert!(message.is_some(), "no {until:?}");
    stop(pipeline);
}

/// Stops once records have come out: samples and records are everywhere then.
fn break_off_in_mid_stream(pipeline: &gst::Pipeline) {
    let sink = pipeline.by_name("s").expect("a sink");
    let (tell, told) = channel();
    sink.connect("new-output", false, move |values| {
        tell.send(values[1].get::<gst::Sample>().is_ok()).ok();
        None
    });
    pipeline.set_state(gst::State::Playing).expect("it plays");
    for _ in 0..5 {
        assert!(told.recv_timeout(PATIENCE).expect("records come"), "a sample comes with each");
    }
    let timeout = u64::try_from(PATIENCE.as_nanos()).expect("short");
    let record = sink.emit_by_name::<Option<gst::Structure>>("pull-output", &[&timeout]);
    assert!(record.is_some(), "no record to pull");
    stop(pipeline);
}

fn stop(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Null).expect("it stops");
    pipeline.bus().expect("a pipeline has a bus").set_flushing(true);
}

/// Elements on their own, with pads that are released and pads that are not.
fn release_pads() {
    for (factory, pads) in [("nvbatcher", ["sink_0", "sink_7"]), ("nvunbatcher", ["src_0", "src_7"])] {
        let element = gst::ElementFactory::make(factory).build().expect("a registered element");
        let [released, _kept] = pads.map(|name| element.request_pad_simple(name).expect("a pad"));
        element.release_request_pad(&released);
    }
}
