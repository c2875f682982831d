//! A credential in any path, URL or name that the user configures is in nothing that our elements give out.
//!
//! What GStreamer itself logs, and what other elements post, is not looked at.

use crate::support::frames::Painter;
use crate::support::rig::Rig;
use crate::support::{PATIENCE, eventually, facts, init, launch, repository};
use gst::prelude::*;
use gst_video::VideoFormat;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The user and the password that must be nowhere. The user is no folder: it ends up in front of the password.
const USER: &str = "canaryuser7531";
const PASSWORD: &str = "canarypass9642";
const ELEMENTS: [&str; 5] = ["nvbatcher", "nvhealth", "nvinference", "nvunbatcher", "nvsink"];

fn url(scheme: &str) -> String {
    format!("{scheme}://{USER}:{PASSWORD}@host/x?token={PASSWORD}")
}

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    assert!(!text.contains(USER) && !text.contains(PASSWORD), "{what}: {text}");
}

/// Everything our elements log while it lives. A process runs one such test at a time: the log is the process's.
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    function: Option<gst::log::DebugLogFunction>,
}

impl Log {
    fn start() -> Self {
        init();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let function = gst::log::add_log_function({
            let lines = Arc::clone(&lines);
            move |category, level, file, function, line, object, message| {
                if !category.name().starts_with("nv") {
                    return;
                }
                let object = object.map(ToString::to_string);
                let message = message.get().map(|text| text.to_string());
                let id = message.clone().unwrap_or_default();
                let text = format!("{level:?} {file} {function} {line} {object:?} {message:?} {id}");
                lines.lock().expect("no test panics with it").push(text);
            }
        });
        // Only for the eyes: what it prints is what is checked.
        gst::log::remove_default_log_function();
        gst::log::set_threshold_for_name("nv*", gst::DebugLevel::Memdump);
        Self { lines, function: Some(function) }
    }

    /// Checks every line; `needles` are what must be among them, as proof that the log was on.
    fn check(&self, needles: &[&str]) {
        let lines = self.lines.lock().expect("no test panics with it").clone();
        for needle in needles {
            assert!(lines.iter().any(|line| line.contains(needle)), "nothing logged of {needle}: {lines:#?}");
        }
        lines.iter().for_each(|line| assert_clean("log", line));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(function) = self.function.take() {
            gst::log::remove_log_function(function);
        }
    }
}

/// Every message of our elements on the bus, as text, checked; returns the errors.
fn check_bus(pipeline: &gst::Pipeline) -> Vec<String> {
    let mut errors = Vec::new();
    for message in pipeline.bus().expect("a pipeline has a bus").iter() {
        assert_clean("message", &format!("{message:?}"));
        if let Some(structure) = message.structure() {
            assert_clean("structure", &structure.to_string());
        }
        let text = match message.view() {
            gst::MessageView::Error(it) => format!("{} {}", it.error(), it.debug().unwrap_or_default()),
            gst::MessageView::Warning(it) => format!("{} {}", it.error(), it.debug().unwrap_or_default()),
            _ => continue,
        };
        assert_clean("error", &text);
        errors.push(text);
    }
    errors
}

/// Properties that can be read, of the element and its pads, and the `.dot` file of the bin it is in.
fn check_outside(bin: &gst::Bin) {
    for element in bin.iterate_recurse().into_iter().flatten() {
        let is_ours = element.factory().is_some_and(|factory| ELEMENTS.contains(&factory.name().as_str()));
        if !is_ours {
            continue;
        }
        check_properties(&element);
        element.pads().iter().for_each(check_properties);
    }
    let dot = bin.debug_to_dot_data(gst::DebugGraphDetails::all());
    assert!(ELEMENTS.iter().any(|name| dot.contains(name)), "{dot}");
    assert_clean("dot", &dot);
}

fn check_properties(object: &impl IsA<glib::Object>) {
    for property in object.list_properties().iter() {
        if property.flags().contains(glib::ParamFlags::READABLE) {
            let value = object.property_value(property.name());
            assert_clean(property.name(), &format!("{value:?}"));
        }
    }
}

/// A copy of the brightest-cell model below a folder whose path is a URL with credentials.
fn model_behind_a_url(folder: &Path) -> PathBuf {
    let folder = folder.join(format!("rtsp:/{USER}:{PASSWORD}@host"));
    std::fs::create_dir_all(&folder).expect("a folder of its own");
    let path = folder.join("brightest.onnx");
    std::fs::copy(repository("tests/data/brightest.onnx"), &path).expect("the model can be copied");
    // As the user would write it: two slashes are one to the system.
    PathBuf::from(path.display().to_string().replacen("rtsp:/", "rtsp://", 1))
}

/// A rig whose paths and names all have credentials, with one feed through nvsink into a file.
fn rig_with_secrets(folder: &Path) -> (Rig, PathBuf) {
    let model = model_behind_a_url(folder);
    let mut rig = Rig::with_model(&model.display().to_string());
    let painter = Painter::new(VideoFormat::Rgb, 64, 64);
    rig.add_feed(&painter.caps(), false);
    rig.add_feed(&painter.caps(), false);
    for (feed, scheme) in rig.feeds.iter().zip(["RTSP", "srt"]) {
        feed.sink_pad.set_property("feed-id", url(scheme));
    }
    let records = model.with_file_name("records.jsonl");
    (rig, records)
}

/// Puts an nvsink in the place of the appsink of feed 1.
fn put_sink(rig: &Rig, location: &Path) -> gst::Element {
    let sink = gst::ElementFactory::make("nvsink")
        .property("location", location.display().to_string())
        .build()
        .expect("a registered element");
    let old = rig.feeds[1].sink.upcast_ref::<gst::Element>();
    rig.pipeline.remove(old).expect("it is in the pipeline");
    rig.pipeline.add(&sink).expect("a new element");
    rig.unbatcher.link_pads(Some("src_1"), &sink, Some("sink")).expect("they link");
    sink
}

#[test]
fn a_running_pipeline_shows_no_credential() {
    let log = Log::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (rig, records) = rig_with_secrets(folder.path());
    let sink = put_sink(&rig, &records);
    let tags = gst::event::CustomDownstream::new(
        gst::Structure::builder("note").field("location", url("rtsps")).field("user-pw", PASSWORD).build(),
    );
    rig.play();
    rig.feeds
        .iter()
        .for_each(|feed| assert!(feed.sink_pad.peer().is_some_and(|pad| pad.push_event(tags.clone()))));
    let painter = Painter::new(VideoFormat::Rgb, 64, 64);
    for feed in [0, 1] {
        rig.push(feed, painter.paint(3, 200), gst::ClockTime::ZERO);
        rig.end(feed);
    }
    let sample = rig.pull(0);
    let facts = facts(&sample);
    assert_eq!(facts.feed_id, "RTSP://***@host/x?token=***");
    assert_clean("nv-frame", &format!("{facts:?}"));
    let record = sink.emit_by_name::<Option<gst::Structure>>("pull-output", &[&PATIENCE.nseconds()]);
    let record = record.expect("a record of the only frame");
    assert_eq!(record.get("feed-id"), Ok("srt://***@host/x?token=***"));
    assert_clean("record", &record.to_string());
    eventually(
        "the line is written",
        || std::fs::read_to_string(&records).unwrap_or_default(),
        |text| text.ends_with('\n'),
    );
    assert_clean("line", &std::fs::read_to_string(&records).expect("the file of records"));
    check_outside(rig.pipeline.upcast_ref());
    rig.stop();
    assert_eq!(check_bus(&rig.pipeline), Vec::<String>::new());
    log.check(&["stream-start", "custom-downstream", "decoder"]);
}

#[test]
fn a_feed_that_is_watched_shows_no_credential() {
    let log = Log::start();
    let pipeline = launch("appsrc name=a format=time ! nvhealth name=nvhealth ! fakesink async=false");
    let [source, health] = ["a", "nvhealth"].map(|name| pipeline.by_name(name).expect("an element"));
    health.set_property("feed-id", url("rtsp"));
    assert_eq!(health.property::<String>("feed-id"), "rtsp://***@host/x?token=***");
    let source = source.downcast::<gst_app::AppSrc>().expect("an appsrc");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let note = gst::Structure::builder("note").field("location", url("rtsps")).build();
    source.send_event(gst::event::CustomDownstream::new(note));
    for _ in 0..2 {
        source.push_buffer(gst::Buffer::new()).expect("it flows");
    }
    source.push_buffer(gst::Buffer::new()).expect("it flows");
    source.end_of_stream().expect("it ends");
    let stopped = |health: &gst::Element| {
        let stats = health.emit_by_name::<gst::Structure>("snapshot", &[]);
        assert_clean("stats", &stats.to_string());
        stats.get::<u64>("frames").unwrap_or_default()
    };
    eventually("all frames have passed", || stopped(&health), |frames| *frames == 3);
    check_outside(pipeline.upcast_ref());
    pipeline.set_state(gst::State::Ready).expect("it stops");
    check_bus(&pipeline);
    pipeline.set_state(gst::State::Null).expect("it stops");
    log.check(&["custom-downstream"]);
}

#[test]
fn a_frame_that_fails_shows_no_credential() {
    let log = Log::start();
    let mut rig = Rig::with_model(&repository("tests/data/error.onnx").display().to_string());
    let painter = Painter::new(VideoFormat::Rgb, 64, 64);
    rig.add_feed(&painter.caps(), false);
    rig.feeds[0].sink_pad.set_property("feed-id", url("rtsp"));
    rig.play();
    rig.push(0, painter.paint(3, 200), gst::ClockTime::ZERO);
    let facts = facts(&rig.pull(0));
    assert!(facts.error.is_some());
    assert_clean("nv-frame", &format!("{facts:?}"));
    check_outside(rig.pipeline.upcast_ref());
    rig.stop();
    check_bus(&rig.pipeline);
    log.check(&["without a result"]);
}

/// What each property says when nothing is there; `text` is in the error, as proof that the path is.
fn assert_failure(factory: &str, settings: &[(&str, &str)], text: &str) {
    let log = Log::start();
    let element = gst::ElementFactory::make(factory).build().expect("a registered element");
    settings.iter().for_each(|(name, value)| element.set_property(name, value));
    let pipeline = gst::Pipeline::new();
    pipeline.add(&element).expect("a new element");
    assert!(pipeline.set_state(gst::State::Paused).is_err(), "nothing is there");
    check_outside(pipeline.upcast_ref());
    let errors = check_bus(&pipeline);
    assert!(errors.iter().any(|error| error.contains(text)), "{settings:?}: {errors:?}");
    pipeline.set_state(gst::State::Null).expect("it stops");
    log.check(&[]);
}

#[test]
fn a_model_that_is_not_there_is_named_without_its_credential() {
    assert_failure("nvinference", &[("model", &url("https"))], "https://***@host/x?token=***");
}

#[test]
fn labels_that_are_not_there_are_named_without_their_credential() {
    let model = repository("tests/data/brightest.onnx").display().to_string();
    assert_failure("nvinference", &[("model", &model), ("labels", &url("FTP"))], "FTP://***@host");
}

#[test]
fn a_library_that_is_not_there_is_named_without_its_credential() {
    let model = repository("tests/data/brightest.onnx").display().to_string();
    assert_failure("nvinference", &[("model", &model), ("ort-library", &url("file"))], "file://***@host");
}

#[test]
fn a_file_that_cannot_be_written_is_named_without_its_credential() {
    assert_failure("nvsink", &[("location", &url("smb"))], "smb://***@host");
}

#[test]
fn what_is_set_is_used_and_what_is_read_is_redacted() {
    init();
    let folder = tempfile::tempdir().expect("a folder");
    let model = model_behind_a_url(folder.path());
    let element = gst::ElementFactory::make("nvinference")
        .property("model", model.display().to_string())
        .build()
        .expect("a registered element");
    element.set_state(gst::State::Ready).expect("the model is found by the path that was set");
    let shown = element.property::<String>("model");
    assert!(shown.ends_with("rtsp://***@host/brightest.onnx"), "{shown}");
    element.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn caps_and_pad_names_in_errors_are_redacted() {
    let log = Log::start();
    let pipeline = gst::Pipeline::new();
    let batcher = gst::ElementFactory::make("nvbatcher").build().expect("a registered element");
    pipeline.add(&batcher).expect("a new element");
    assert!(batcher.request_pad_simple(&format!("sink_{USER}:{PASSWORD}@host")).is_none());
    let pad = batcher.request_pad_simple("sink_0").expect("a pad");
    pipeline.set_state(gst::State::Paused).expect("it starts");
    let caps = gst::Caps::builder("video/x-raw").field("format", url("rtsp")).build();
    pad.send_event(gst::event::StreamStart::new("s"));
    assert!(!pad.send_event(gst::event::Caps::new(&caps)));
    assert!(!check_bus(&pipeline).is_empty());
    check_outside(pipeline.upcast_ref());
    pipeline.set_state(gst::State::Null).expect("it stops");
    log.check(&["caps"]);
}
