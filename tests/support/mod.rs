//! What the integration tests share: start-up, models, frames whose pixels say who they are, and pipelines
//! behind verbs.

pub(crate) mod cameras;
mod eventually;
pub(crate) mod frames;
pub(crate) mod holdings;
pub(crate) mod relay;
pub(crate) mod rig;
pub(crate) mod screen;

pub(crate) use eventually::eventually;

use gst::prelude::*;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::Message;
use gstnextvision::output::FrameFacts;
use std::path::PathBuf;
use std::sync::Once;

/// Longest wait for anything that must happen. A test never waits for time to pass, only for events, and fails
/// when one has not come by then.
pub(crate) const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// GStreamer with the plugin's elements.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstnextvision::plugin_register_static().expect("the plugin registers");
    });
}

/// A path inside the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// One of the tiny models.
pub(crate) fn tiny_model(name: &str) -> String {
    repository(&format!("tests/data/{name}.onnx")).display().to_string()
}

/// The shipped detector.
pub(crate) fn detector() -> String {
    repository("models/nanodet-g-320.onnx").display().to_string()
}

/// A clip that `./dev` has fetched.
pub(crate) fn clip(name: &str) -> String {
    let folder = std::env::var("NV_CLIPS").expect("NV_CLIPS names the folder of clips; ./dev test sets it");
    format!("{folder}/{name}")
}

/// A pipeline from its description.
pub(crate) fn launch(description: &str) -> gst::Pipeline {
    init();
    gst::parse::launch(description)
        .unwrap_or_else(|error| panic!("{error}: {description}"))
        .downcast()
        .expect("more than one element")
}

/// Waits for EOS on the bus.
pub(crate) fn wait_for_eos(pipeline: &gst::Pipeline) {
    let message = wait_for(pipeline, &[gst::MessageType::Eos, gst::MessageType::Error]);
    if let gst::MessageView::Error(error) = message.view() {
        panic!("{}: {} ({:?})", source(&message), error.error(), error.debug());
    }
}

/// Plays to EOS and stops.
pub(crate) fn run_to_eos(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Playing).expect("the pipeline plays");
    wait_for_eos(pipeline);
    pipeline.set_state(gst::State::Null).expect("the pipeline stops");
}

/// Waits for an element error: the element's name and the whole text.
pub(crate) fn wait_for_error(pipeline: &gst::Pipeline) -> (String, String) {
    let message = wait_for(pipeline, &[gst::MessageType::Error]);
    let gst::MessageView::Error(error) = message.view() else { unreachable!("filtered") };
    (source(&message), format!("{} {}", error.error(), error.debug().unwrap_or_default()))
}

/// Waits for an element warning: the element's name and the whole text.
pub(crate) fn wait_for_warning(pipeline: &gst::Pipeline) -> (String, String) {
    let message = wait_for(pipeline, &[gst::MessageType::Warning]);
    let gst::MessageView::Warning(warning) = message.view() else { unreachable!("filtered") };
    (source(&message), format!("{} {}", warning.error(), warning.debug().unwrap_or_default()))
}

/// Waits for the next health message about a feed.
pub(crate) fn wait_for_health(pipeline: &gst::Pipeline) -> Message {
    let bus = pipeline.bus().expect("a pipeline has a bus");
    loop {
        let message = bus
            .timed_pop_filtered(PATIENCE, &[gst::MessageType::Element])
            .unwrap_or_else(|| panic!("no health message in {PATIENCE}"));
        let health = health_of(&message).map(|health| health.expect("a well-formed health message"));
        if let Some(health) = health.filter(|health| health.feed_id.is_some()) {
            return health;
        }
    }
}

/// The health messages about feeds on the bus that nobody has taken.
pub(crate) fn health(pipeline: &gst::Pipeline) -> Vec<Message> {
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let messages = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Element]));
    let of_feeds = |message: gst::Message| {
        let health = health_of(&message)?.expect("a well-formed health message");
        health.feed_id.is_some().then_some(health)
    };
    messages.filter_map(of_feeds).collect()
}

fn wait_for(pipeline: &gst::Pipeline, kinds: &[gst::MessageType]) -> gst::Message {
    let bus = pipeline.bus().expect("a pipeline has a bus");
    bus.timed_pop_filtered(PATIENCE, kinds).unwrap_or_else(|| panic!("none of {kinds:?} in {PATIENCE}"))
}

fn source(message: &gst::Message) -> String {
    message.src().map_or_else(String::new, |source| source.name().into())
}

/// A field of a `stats` property.
pub(crate) fn stat(object: &impl IsA<glib::Object>, field: &str) -> u64 {
    object.property::<gst::Structure>("stats").get(field).unwrap_or_else(|error| panic!("{field}: {error}"))
}

/// `received = delivered + dropped + failed + in-flight` of a `stats` property.
pub(crate) fn assert_ledger(object: &impl IsA<glib::Object>) {
    let stats = object.property::<gst::Structure>("stats");
    let get = |field| stats.get::<u64>(field).expect("a ledger");
    let known = get("delivered") + get("dropped") + get("failed") + get("in-flight");
    assert_eq!(get("received"), known, "{stats}");
}

/// Lines of a JSON Lines file.
pub(crate) fn records(path: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).expect("the file of records");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object in each line")).collect()
}

/// The `nv-frame` facts of a sample.
pub(crate) fn facts(sample: &gst::Sample) -> FrameFacts {
    gstnextvision::meta::frame::read(sample.buffer().expect("a frame")).expect("the facts of a frame")
}

/// The page at `path` is what the tests of `module` make it, or with `NV_UPDATE` in the environment becomes that.
pub(crate) fn assert_page(path: &str, module: &str, expected: &str) {
    let file = repository(path);
    if std::env::var_os("NV_UPDATE").is_some() {
        std::fs::write(&file, expected).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
    assert!(
        found == expected,
        "{path} is out of date ({differs:?}); update it with: \
         NV_UPDATE=1 cargo test --features testing --test integration {module}::"
    );
}

/// The plugin as a file, as `./dev` has built it.
pub(crate) fn plugin_file() -> PathBuf {
    const FILE: &str = "libgstnextvision.so";
    let path = std::env::var_os("GST_PLUGIN_PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(FILE));
    files.find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("no {FILE} in GST_PLUGIN_PATH={path:?}; ./dev test builds it and sets that")
    })
}

/// `gst-launch-1.0` with the plugin that `./dev` has built, for what must run in a process of its own.
pub(crate) fn gst_launch(description: &str) -> std::process::Command {
    let mut command = std::process::Command::new("gst-launch-1.0");
    command.arg("-q").args(description.split_whitespace());
    command
}

/// Runs a command to its end; what it said on standard output.
pub(crate) fn command_output(command: &mut std::process::Command) -> String {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complaints}", output.status);
    said
}
