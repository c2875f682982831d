//! A credential in any path, URL or name that the user configures is in nothing that our elements give out.
//!
//! What GStreamer itself logs, and what other elements post, is looked at for `nvfeed` only, whose inner elements are
//! ours to keep quiet.

use crate::support::cameras::{Certificate, Server};
use crate::support::frames::Painter;
use crate::support::rig::Rig;
use crate::support::screen::frames_at;
use crate::support::{PATIENCE, eventually, facts, init, launch, repository, stat};
use gst::prelude::*;
use gst_video::VideoFormat;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

/// The user and the password that must be nowhere. The user is no folder: it ends up in front of the password.
const USER: &str = "canaryuser7531";
const PASSWORD: &str = "canarypass9642";
const ELEMENTS: [&str; 6] = ["nvbatcher", "nvfeed", "nvhealth", "nvinference", "nvunbatcher", "nvsink"];

fn url(scheme: &str) -> String {
    format!("{scheme}://{USER}:{PASSWORD}@host/x?token={PASSWORD}")
}

/// Whether the user, the password or what a basic authentication makes of them is in it.
fn has_secret(text: &str) -> bool {
    static BASIC: LazyLock<String> =
        LazyLock::new(|| glib::base64_encode(format!("{USER}:{PASSWORD}").as_bytes()).into());
    [USER, PASSWORD, &BASIC].iter().any(|secret| text.contains(secret))
}

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    assert!(!has_secret(text), "{what}: {text}");
}

/// What is logged while it lives. A process runs one such test at a time: the log is the process's.
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    function: Option<gst::log::DebugLogFunction>,
}

impl Log {
    /// Everything our elements log.
    fn start() -> Self {
        let this = Self::of(|category, _| category.starts_with("nv"));
        gst::log::set_threshold_for_name("nv*", gst::DebugLevel::Memdump);
        this
    }

    /// Everything that anybody logs, as far as it is of interest.
    fn of_everybody() -> Self {
        let this = Self::of(|category, text| ["nvfeed", "rtspsrc"].contains(&category) || has_secret(text));
        gst::log::set_default_threshold(gst::DebugLevel::Memdump);
        this
    }

    fn of(is_kept: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        init();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let function = gst::log::add_log_function({
            let lines = Arc::clone(&lines);
            move |category, level, file, function, line, object, message| {
                let object = object.map(ToString::to_string);
                let message = message.get().map(|text| text.to_string());
                let (name, id) = (category.name(), message.clone().unwrap_or_default());
                let text = format!("{name} {level:?} {file} {function} {line} {object:?} {message:?} {id}");
                if is_kept(name, &text) {
                    lines.lock().expect("no test panics with it").push(text);
                }
            }
        });
        // Only for the eyes: what it prints is what is checked.
        gst::log::remove_default_log_function();
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

#[test]
fn a_name_that_a_stream_brings_shows_no_credential() {
    let log = Log::start();
    let mut rig = Rig::new();
    let painter = Painter::new(VideoFormat::Gray8, 64, 64);
    rig.add_feed(&painter.caps(), false);
    rig.play();
    let push = || rig.push(0, painter.paint(3, 200), gst::ClockTime::ZERO);
    push();
    rig.pull(0);
    let start = gst::event::StreamStart::builder("s").other_field("nv-feed-id", url("rtsp")).build();
    let segment = gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new());
    let refused = gst::event::Caps::new(&gst::Caps::new_empty_simple("video/x-h264"));
    let peer = rig.feeds[0].sink_pad.peer().expect("it is linked");
    for event in [start, refused, gst::event::Caps::new(&painter.caps()), segment] {
        peer.push_event(event);
    }
    push();
    let facts = facts(&rig.pull(0));
    assert_eq!(facts.feed_id, "rtsp://***@host/x?token=***");
    check_outside(rig.pipeline.upcast_ref());
    rig.pipeline.set_state(gst::State::Ready).expect("it stops");
    assert!(!check_bus(&rig.pipeline).is_empty(), "the caps were refused");
    log.check(&["stream-start", "x-h264"]);
}

/// What each property says when nothing is there; `text` is in the error, as proof that the path is.
fn assert_failure(factory: &str, settings: &[(&str, &str)], text: &str) {
    let log = Log::start();
    let element = gst::ElementFactory::make(factory).build().expect("a registered element");
    settings.iter().for_each(|(name, value)| element.set_property_from_str(name, value));
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

// --- The feed --------------------------------------------------------------------------------------------------

/// A certificate in a folder whose path is a URL with credentials.
fn certificate_behind_a_url(folder: &Path) -> String {
    let folder = folder.join(format!("rtsp:/{USER}:{PASSWORD}@host"));
    std::fs::create_dir_all(&folder).expect("a folder of its own");
    let certificate = Certificate::self_signed(&folder).certificate;
    certificate.display().to_string().replacen("rtsp:/", "rtsp://", 1)
}

/// Plays a camera that asks for a password, sees it die and come back, and looks everywhere.
fn assert_camera_shows_no_credential(auth: &str, set: impl FnOnce(&gst::Element, u16)) {
    let folder = tempfile::tempdir().expect("a folder");
    let guarded = ["--mount", "/cam=jpeg", "--user", USER, "--password", PASSWORD, "--auth", auth];
    let mut server = Server::start(&guarded);
    let log = Log::of_everybody();
    let pipeline =
        launch("nvfeed name=nvfeed tls-policy=allow-insecure ! fakesink name=sink async=false sync=false");
    let [feed, sink] = ["nvfeed", "sink"].map(|name| pipeline.by_name(name).expect("an element"));
    let frames = frames_at(&sink.static_pad("sink").expect("a pad"));
    let watch = pipeline.add_property_deep_notify_watch(None, true);
    feed.set_property("feed-id", url("rtsp"));
    feed.set_property("tls-database", certificate_behind_a_url(folder.path()));
    feed.set_property("reconnect-base-delay", 100_000_000_u64);
    set(&feed, server.port());
    pipeline.set_state(gst::State::Playing).expect("it plays");
    frames.recv_timeout(PATIENCE.into()).expect("a frame");
    check_outside(pipeline.upcast_ref());
    server.kill();
    eventually("an outage", || stat(&feed, "outages"), |outages| *outages == 1);
    check_outside(pipeline.upcast_ref());
    server.restart();
    eventually("it is back", || stat(&feed, "connections"), |connections| *connections == 2);
    check_outside(pipeline.upcast_ref());
    pipeline.set_state(gst::State::Ready).expect("it stops");
    assert_eq!(check_bus(&pipeline), Vec::<String>::new());
    pipeline.remove_property_notify_watch(watch);
    pipeline.set_state(gst::State::Null).expect("it stops");
    log.check(&["rtspsrc"]);
}

#[test]
fn a_camera_whose_address_has_credentials_shows_none() {
    for auth in ["digest", "basic"] {
        assert_camera_shows_no_credential(auth, |feed, port| {
            feed.set_property("uri", format!("rtsp://{USER}:{PASSWORD}@127.0.0.1:{port}/cam"));
        });
    }
}

#[test]
fn a_camera_with_user_and_password_shows_none() {
    assert_camera_shows_no_credential("digest", |feed, port| {
        feed.set_property("uri", format!("rtsp://127.0.0.1:{port}/cam"));
        feed.set_property("user-id", USER);
        feed.set_property("user-pw", PASSWORD);
    });
}

#[test]
fn a_camera_in_a_pipeline_of_the_users_own_shows_no_credential() {
    assert_camera_shows_no_credential("digest", |feed, port| {
        let location = format!("rtsp://127.0.0.1:{port}/cam");
        let custom = format!(
            "rtspsrc location={location} user-id={USER} user-pw={PASSWORD} protocols=tcp ! rtpjpegdepay"
        );
        feed.set_property("custom-pipeline", custom);
        feed.set_property("allow-custom-pipeline", true);
    });
}

#[test]
fn a_camera_that_refuses_the_password_is_told_of_without_it() {
    for auth in ["digest", "basic"] {
        let guarded = ["--mount", "/cam=jpeg", "--user", "user", "--password", "right", "--auth", auth];
        let server = Server::start(&guarded);
        let log = Log::of_everybody();
        let pipeline = launch("nvfeed name=nvfeed tls-policy=allow-insecure ! fakesink async=false");
        let feed = pipeline.by_name("nvfeed").expect("the feed");
        feed.set_property("uri", server.url("/cam").replace("://", &format!("://{USER}:{PASSWORD}@")));
        pipeline.set_state(gst::State::Playing).expect("it plays");
        eventually("an outage", || stat(&feed, "outages"), |outages| *outages == 1);
        check_outside(pipeline.upcast_ref());
        pipeline.set_state(gst::State::Ready).expect("it stops");
        assert_eq!(check_bus(&pipeline), Vec::<String>::new());
        pipeline.set_state(gst::State::Null).expect("it stops");
        log.check(&["rtspsrc"]);
    }
}

#[test]
fn a_feed_that_cannot_start_names_no_credential() {
    let address = url("rtsp");
    let custom = format!("rtspsrc location={address} user-pw={PASSWORD} ! nosuchelement");
    assert_failure("nvfeed", &[("uri", &format!("rtsp://{USER}:{PASSWORD}/1@camera/x"))], "uri");
    assert_failure("nvfeed", &[("uri", &address), ("tls-policy", "require")], "rtsp://host");
    assert_failure("nvfeed", &[("uri", &address), ("allowed-schemes", "file")], "allowed-schemes");
    assert_failure("nvfeed", &[("uri", &address), ("custom-pipeline", &custom)], "custom-pipeline");
    assert_failure("nvfeed", &[("custom-pipeline", &custom)], "allow-custom-pipeline");
    let allowed = ("allow-custom-pipeline", "true");
    assert_failure("nvfeed", &[("custom-pipeline", &custom), allowed], "nosuchelement");
    assert_failure("nvfeed", &[("uri", "rtsps://camera/x"), ("tls-database", &url("smb"))], "smb://***@host");
}
