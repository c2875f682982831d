//! `operate-on=objects`: a second model that is asked about what the first has found.
//!
//! The objects are grey squares on black frames, each of a level of its own; the models are scripts whose answer tells
//! how bright the image they were shown is. So an answer says which object it is about.

use crate::support::frames::Painter;
use crate::support::{PATIENCE, init, launch, run_to_eos, stat};
use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use gstnextvision::infer::script::{Action, Gate, Gives, Script, ScriptOptions, install};
use gstnextvision::meta::detections::{self, Found};
use gstnextvision::meta::frame;
use gstnextvision::output::{DetectionRecord, FrameFacts, Status};
use gstnextvision::vision::{Detection, Landmarks, Rect, Size};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const FRAME: Size = Size::new(160, 80);
const SIDE: u32 = 24;
const CLASSES: usize = 16;

/// One square: its place in a grid of 6 x 3, its level and its label.
#[derive(Clone, Copy, Debug)]
struct Square {
    at: u32,
    level: u8,
    label: &'static str,
    track: Option<i32>,
}

impl Square {
    const fn new(at: u32, level: u8) -> Self {
        Self { at, level, label: "person", track: None }
    }

    fn rect(&self) -> Rect {
        let (x, y) = ((self.at % 6 * 26 + 1) as f32, (self.at / 6 * 26 + 1) as f32);
        Rect::from_corners(x, y, x + SIDE as f32, y + SIDE as f32)
    }

    /// The class of its level.
    fn class(&self) -> String {
        format!("level-{}", usize::from(self.level) * CLASSES / 255)
    }
}

fn caps() -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "GRAY8")
        .field("width", FRAME.width as i32)
        .field("height", FRAME.height as i32)
        .field("framerate", gst::Fraction::new(30, 1))
        .build()
}

/// A frame with these squares, each in a region.
fn paint(squares: &[Square], number: u64) -> gst::Buffer {
    let mut pixels = vec![0_u8; (FRAME.width * FRAME.height) as usize];
    for square in squares {
        let rect = square.rect();
        for row in rect.y_min as usize..rect.y_max as usize {
            let start = row * FRAME.width as usize + rect.x_min as usize;
            pixels[start..start + SIDE as usize].fill(square.level);
        }
    }
    let mut buffer = gst::Buffer::from_mut_slice(pixels);
    let writable = buffer.get_mut().expect("one owner");
    writable.set_pts(number * gst::ClockTime::from_mseconds(33));
    for (place, square) in squares.iter().enumerate() {
        let detection =
            Detection { bbox: square.rect(), class: 0, confidence: 0.9, landmarks: Landmarks::new() };
        detections::attach(writable, FRAME, &[Found { label: square.label, detection: &detection }]);
        if let Some(track) = square.track {
            let mut regions = writable.iter_meta_mut::<gst_video::VideoRegionOfInterestMeta>();
            let track = gst::Structure::builder("object_id").field("id", track).build();
            regions.nth(place).expect("the region just attached").add_param(track);
        }
    }
    buffer
}

/// Squares of as many levels, other ones on each frame.
fn squares(count: u32, number: u64, salt: u64) -> Vec<Square> {
    let level =
        |at: u32| (((u64::from(at) * 5 + number * 3 + salt * 7) % CLASSES as u64) * 255 / 16 + 8) as u8;
    (0..count).map(|at| Square::new(at, level(at))).collect()
}

/// The class of the mean of what it is shown, and how many images it was shown.
fn classifier(name: &str) -> (Script, Arc<AtomicUsize>) {
    let shown = Arc::new(AtomicUsize::new(0));
    let options = ScriptOptions { cells: 2, gives: Gives::Classes(CLASSES), ..ScriptOptions::default() };
    let count = Arc::clone(&shown);
    let script = install(name, options, move |call| {
        count.fetch_add(call.images.len(), Ordering::SeqCst);
        Action::Detect
    });
    (script, shown)
}

/// `appsrc ! ELEMENTS ! appsink`, for each feed one.
struct Rig {
    pipeline: gst::Pipeline,
    feeds: Vec<(AppSrc, AppSink)>,
}

impl Rig {
    fn plain(element: &str) -> Self {
        Self::new(&format!("appsrc name=in0 ! {element} ! appsink name=out0"), 1)
    }

    fn new(description: &str, feeds: usize) -> Self {
        init();
        let pipeline = launch(description);
        let named = |name: String| pipeline.by_name(&name).unwrap_or_else(|| panic!("an element {name}"));
        let feeds = (0..feeds).map(|feed| {
            let source = named(format!("in{feed}")).downcast::<AppSrc>().expect("an appsrc");
            source.set_caps(Some(&caps()));
            source.set_format(gst::Format::Time);
            let sink = named(format!("out{feed}")).downcast::<AppSink>().expect("an appsink");
            sink.set_property("sync", false);
            (source, sink)
        });
        let feeds = feeds.collect();
        pipeline.set_state(gst::State::Playing).expect("the pipeline plays");
        Self { pipeline, feeds }
    }

    fn push(&self, feed: usize, buffer: gst::Buffer) {
        self.feeds[feed].0.push_buffer(buffer).expect("the source takes it");
    }

    fn pull(&self, feed: usize) -> gst::Buffer {
        let sample = self.feeds[feed].1.try_pull_sample(PATIENCE).expect("a frame comes");
        sample.buffer_owned().expect("a frame")
    }

    /// What stands on the next frame.
    fn found(&self, feed: usize) -> Vec<DetectionRecord> {
        detections::read(&self.pull(feed), FRAME).detections
    }

    fn by_name(&self, name: &str) -> gst::Element {
        self.pipeline.by_name(name).expect("an element of that name")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

/// The classes on a frame, in the order of its objects; `None` for one without.
fn classes(found: &[DetectionRecord]) -> Vec<Option<String>> {
    found.iter().map(|one| one.attributes.first().map(|attribute| attribute.label.clone())).collect()
}

fn expected(squares: &[Square]) -> Vec<Option<String>> {
    squares.iter().map(|square| Some(square.class())).collect()
}

#[test]
fn every_object_has_the_answer_about_itself() {
    let (script, shown) = classifier("objects-plain");
    let rig = Rig::plain(&format!("nvinference operate-on=objects model={}", script.model()));
    let mut total = 0;
    for number in 0..40 {
        let squares = squares((number % 19) as u32, number, 0);
        total += squares.len();
        rig.push(0, paint(&squares, number));
        let buffer = rig.pull(0);
        let found = detections::read(&buffer, FRAME).detections;
        assert_eq!(classes(&found), expected(&squares), "frame {number}");
        assert!(found.iter().flat_map(|one| &one.attributes).all(|said| said.model == "objects-plain"));
        assert_eq!(frame::read(&buffer), None, "what is known of the frame is for the first model to say");
    }
    assert_eq!(shown.load(Ordering::SeqCst), total, "each object was shown once");
}

#[test]
fn objects_of_two_feeds_share_batches_and_keep_their_answers() {
    let (script, _) = classifier("objects-batches");
    let rig = Rig::new(
        &format!(
            "nvbatcher name=b max-batch-size=2 max-latency=2000000000 ! nvinference name=i operate-on=objects \
             max-batch-size=64 model={} ! nvunbatcher name=u appsrc name=in0 ! b.sink_0 appsrc name=in1 ! b.sink_1 \
             u.src_0 ! appsink name=out0 u.src_1 ! appsink name=out1",
            script.model()
        ),
        2,
    );
    for number in 0..20 {
        let of = |feed: u64| squares(3 + (number % 4) as u32, number, feed);
        for feed in 0..2 {
            rig.push(feed, paint(&of(feed as u64), number));
        }
        for feed in 0..2 {
            assert_eq!(classes(&rig.found(feed)), expected(&of(feed as u64)), "feed {feed}, frame {number}");
        }
    }
    assert!(
        script.calls() < 40,
        "{} runs for 40 frames: the objects of both feeds share them",
        script.calls()
    );
}

#[test]
fn more_objects_than_a_run_takes_are_asked_about_in_several() {
    let (script, shown) = classifier("objects-many");
    let element = format!("nvinference operate-on=objects max-batch-size=4 model={}", script.model());
    let rig = Rig::plain(&element);
    let squares = squares(18, 1, 0);
    rig.push(0, paint(&squares, 0));
    assert_eq!(classes(&rig.found(0)), expected(&squares));
    assert_eq!((script.calls(), shown.load(Ordering::SeqCst)), (5, 18));
}

#[test]
fn only_objects_of_the_labels_and_sizes_that_were_asked_for_are_shown() {
    let (script, shown) = classifier("objects-filter");
    let element = format!("nvinference operate-on=objects object-labels=car,dog model={}", script.model());
    let rig = Rig::plain(&element);
    let mut squares = squares(4, 0, 0);
    squares[1].label = "car";
    rig.push(0, paint(&squares, 0));
    assert_eq!(classes(&rig.found(0)), [None, Some(squares[1].class()), None, None]);
    assert_eq!(shown.load(Ordering::SeqCst), 1);
    let large =
        format!("nvinference operate-on=objects object-min-size={} model={}", SIDE + 1, script.model());
    let rig = Rig::plain(&large);
    rig.push(0, paint(&squares, 0));
    assert_eq!(classes(&rig.found(0)), [None, None, None, None]);
}

#[test]
fn a_track_is_asked_about_again_only_after_the_interval_and_has_its_answer_in_between() {
    let (script, shown) = classifier("objects-interval");
    let rig =
        Rig::plain(&format!("nvinference operate-on=objects reinfer-interval=5 model={}", script.model()));
    let mut first = Square { track: Some(7), ..Square::new(0, 100) };
    let second = Square { track: Some(8), ..Square::new(1, 200) };
    for number in 0..15 {
        // It moves, and darkens after the first answer.
        first.at = 6 + (number % 6) as u32;
        first.level = if number == 0 { 100 } else { 30 };
        let (seen, before) = ([first, second], number < 5);
        rig.push(0, paint(&seen, number));
        let known = if before { Square { level: 100, ..first } } else { first };
        assert_eq!(classes(&rig.found(0)), expected(&[known, second]), "frame {number}");
    }
    assert_eq!(shown.load(Ordering::SeqCst), 2 * 3);
}

#[test]
fn objects_without_a_track_are_asked_about_on_every_frame() {
    let (script, shown) = classifier("objects-untracked");
    let rig =
        Rig::plain(&format!("nvinference operate-on=objects reinfer-interval=100 model={}", script.model()));
    for number in 0..5 {
        let squares = squares(2, number, 0);
        rig.push(0, paint(&squares, number));
        assert_eq!(classes(&rig.found(0)), expected(&squares));
    }
    assert_eq!(shown.load(Ordering::SeqCst), 10);
}

#[test]
fn nobody_is_asked_about_guesses_but_what_is_known_of_their_track_stands_on_them() {
    let (script, shown) = classifier("objects-guesses");
    let rig = Rig::plain(&format!("nvinference operate-on=objects model={}", script.model()));
    let square = Square { track: Some(3), ..Square::new(2, 150) };
    let with_status = |status: Status, number: u64| {
        let mut buffer = paint(&[square], number);
        frame::write(buffer.get_mut().expect("one owner"), &FrameFacts { status, ..FrameFacts::default() });
        buffer
    };
    for (number, status) in [Status::Skipped, Status::Inferred, Status::Skipped].into_iter().enumerate() {
        rig.push(0, with_status(status, number as u64));
    }
    let answers: Vec<_> = (0..3).map(|_| classes(&rig.found(0))).collect();
    assert_eq!(answers, [vec![None], vec![Some(square.class())], vec![Some(square.class())]]);
    assert_eq!(shown.load(Ordering::SeqCst), 1);
}

#[test]
fn an_embedding_stands_on_its_object() {
    let options = ScriptOptions { cells: 2, gives: Gives::Vectors(8), ..ScriptOptions::default() };
    let script = install("objects-embedding", options, |_| Action::Detect);
    let rig = Rig::plain(&format!("nvinference operate-on=objects model={}", script.model()));
    let squares = [Square::new(0, 0), Square::new(4, 255)];
    rig.push(0, paint(&squares, 0));
    let found = rig.found(0);
    for (one, axis) in found.iter().zip([0, 1]) {
        let vector = &one.embeddings.first().expect("a vector").vector;
        assert_eq!(vector.len(), 8);
        assert!((vector[axis] - 1.0).abs() < 0.01, "{vector:?} points along axis {axis}");
    }
}

#[test]
fn what_a_detector_finds_in_an_object_is_a_region_inside_it_that_names_it() {
    let script = install("objects-detector", ScriptOptions::default(), |_| Action::Detect);
    let rig = Rig::plain(&format!("nvinference operate-on=objects model={}", script.model()));
    let squares = [Square::new(3, 200), Square::new(13, 250)];
    rig.push(0, paint(&squares, 0));
    let found = rig.found(0);
    let (parents, children) = found.split_at(2);
    assert_eq!(children.len(), 2, "{found:?}");
    assert!(parents.iter().all(|one| one.parent.is_none()));
    for ((child, parent), square) in children.iter().zip(0..).zip(&squares) {
        assert_eq!((child.label.as_str(), child.parent), ("bright", Some(parent)), "{child:?}");
        let (inside, outside) = (child.box_in_frame, square.rect());
        assert!(inside.x >= f64::from(outside.x_min) && inside.y >= f64::from(outside.y_min), "{child:?}");
        assert!(inside.x + inside.width <= f64::from(outside.x_max), "{child:?}");
        assert!(inside.y + inside.height <= f64::from(outside.y_max), "{child:?}");
    }
}

/// What a first model has made of the frames, each in its turn.
fn of_status(number: u64) -> FrameFacts {
    let (status, error) = match number % 4 {
        2 => (Status::Skipped, None),
        3 => (Status::Failed, Some("no memory".to_owned())),
        _ => (Status::Inferred, None),
    };
    FrameFacts { status, error, ..FrameFacts::default() }
}

#[test]
fn two_pipelines_of_a_group_share_runs_about_their_objects_and_what_is_known_of_the_frames_stays() {
    let (script, _) = classifier("objects-group");
    let member = |name: &str| {
        Rig::plain(&format!(
            "nvinference name={name} operate-on=objects batch-group=objects max-batch-size=32 \
             max-latency=1000000000 model={}",
            script.model()
        ))
    };
    let rigs = [member("first"), member("second")];
    for number in 0..10 {
        let of = |feed: u64| squares(4, number, feed);
        for (feed, rig) in (0..).zip(&rigs) {
            let mut buffer = paint(&of(feed), number);
            let facts =
                FrameFacts { feed_id: format!("gate-{feed}"), seq: 1000 + number, ..of_status(number) };
            frame::write(buffer.get_mut().expect("one owner"), &facts);
            rig.push(0, buffer);
        }
        for (feed, rig) in (0..).zip(&rigs) {
            let buffer = rig.pull(0);
            let found = detections::read(&buffer, FRAME).detections;
            let wanted = match of_status(number).status {
                Status::Inferred => expected(&of(feed)),
                _ => vec![None; 4],
            };
            assert_eq!(classes(&found), wanted, "member {feed}, frame {number}");
            let facts = frame::read(&buffer).expect("what the first model has made of it");
            let expected =
                FrameFacts { feed_id: format!("gate-{feed}"), seq: 1000 + number, ..of_status(number) };
            assert_eq!(facts, expected);
        }
    }
    let members: u64 =
        rigs[0].by_name("first").property::<gst::Structure>("stats").get("members").expect("a count");
    assert_eq!(members, 2);
    assert!(script.calls() < 20, "{} runs for 20 frames", script.calls());
}

#[test]
fn a_model_that_fails_leaves_the_frames_and_their_objects_as_they_were() {
    let options = ScriptOptions { cells: 2, gives: Gives::Classes(CLASSES), ..ScriptOptions::default() };
    let script = install("objects-fails", options, |call| match call.number {
        0..4 => Action::Error("as told".to_owned()),
        _ => Action::Detect,
    });
    let rig =
        Rig::plain(&format!("nvinference name=i operate-on=objects on-error=drop model={}", script.model()));
    let squares = [Square { track: Some(1), ..Square::new(0, 90) }];
    let mut answers = Vec::new();
    for number in 0..8 {
        rig.push(0, paint(&squares, number));
        let found = rig.found(0);
        assert_eq!(found.len(), 1, "the object is still there");
        answers.push(classes(&found)[0].is_some());
    }
    assert_eq!(answers.first(), Some(&false));
    assert_eq!(answers.last(), Some(&true), "it is asked about again: {answers:?}");
    assert!(stat(&rig.by_name("i"), "failed") > 0);
}

#[test]
fn regions_that_make_no_sense_are_passed_over() {
    let (script, shown) = classifier("objects-hostile");
    let rig =
        Rig::plain(&format!("nvinference operate-on=objects object-min-size=1 model={}", script.model()));
    let mut buffer = paint(&[Square::new(0, 130)], 0);
    let writable = buffer.get_mut().expect("one owner");
    let rects = [(0, 0, 0, 0), (u32::MAX, u32::MAX, u32::MAX, u32::MAX), (500, 500, 10, 10), (159, 79, 1, 1)];
    for rect in rects {
        gst_video::VideoRegionOfInterestMeta::add(writable, "person", rect);
    }
    for corner in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
        let mut region = gst_video::VideoRegionOfInterestMeta::add(writable, "person", (0, 0, 9, 9));
        region.add_param(
            gst::Structure::builder("detection")
                .field("x_min", corner)
                .field("y_min", 0.0)
                .field("x_max", corner)
                .field("y_max", 1.0)
                .build(),
        );
    }
    rig.push(0, buffer);
    let found = rig.pull(0);
    let found = detections::read(&found, FRAME).detections;
    assert_eq!(found[0].attributes[0].label, Square::new(0, 130).class());
    // The square, and the region of a single pixel in the corner.
    assert_eq!(shown.load(Ordering::SeqCst), 2);
}

#[test]
fn thousands_of_objects_on_a_frame_are_all_answered() {
    let (script, shown) = classifier("objects-thousands");
    let rig = Rig::plain(&format!(
        "nvinference operate-on=objects max-batch-size=256 max-detections=4096 model={}",
        script.model()
    ));
    let squares: Vec<_> =
        (0..3000).map(|at| Square { track: Some(at), ..Square::new(at as u32 % 18, 77) }).collect();
    rig.push(0, paint(&squares, 0));
    let found = rig.found(0);
    assert_eq!(found.iter().filter(|one| !one.attributes.is_empty()).count(), 3000);
    assert_eq!(shown.load(Ordering::SeqCst), 3000);
}

#[test]
fn frames_without_objects_go_through_to_the_end() {
    init();
    let (script, shown) = classifier("objects-none");
    let pipeline = launch(&format!(
        "videotestsrc num-buffers=30 ! nvinference operate-on=objects model={} ! fakesink name=out",
        script.model()
    ));
    run_to_eos(&pipeline);
    assert_eq!(shown.load(Ordering::SeqCst), 0);
}

#[test]
fn a_detector_a_tracker_and_a_classifier_in_one_pipeline_keep_two_feeds_apart() {
    let detector = install("objects-chain-detector", ScriptOptions::default(), |_| Action::Detect);
    let (classifier, shown) = classifier("objects-chain-classifier");
    let feed = |feed: usize| {
        format!(
            "appsrc name=in{feed} ! b.sink_{feed} u.src_{feed} ! nvtrack min-hits=1 ! nvinference operate-on=objects \
             batch-group=chain object-min-size=1 reinfer-interval=4 max-latency=1000000000 model={} ! \
             appsink name=out{feed}",
            classifier.model()
        )
    };
    let rig = Rig::new(
        &format!(
            "nvbatcher name=b max-batch-size=2 max-latency=1000000000 ! nvinference score-threshold=0.2 model={} ! \
             nvunbatcher name=u {} {}",
            detector.model(),
            feed(0),
            feed(1)
        ),
        2,
    );
    let painter = Painter::new(gst_video::VideoFormat::Gray8, 64, 64);
    let levels = [120_u8, 240];
    let mut tracks = [None; 2];
    for (source, _) in &rig.feeds {
        source.set_caps(Some(&painter.caps()));
    }
    for number in 0..12 {
        for (feed, level) in levels.into_iter().enumerate() {
            let mut buffer = painter.paint(9 + 30 * feed as u64, level);
            buffer.get_mut().expect("one owner").set_pts(number * gst::ClockTime::from_mseconds(33));
            rig.push(feed, buffer);
        }
        for (feed, level) in levels.into_iter().enumerate() {
            let found = detections::read(&rig.pull(feed), Size::new(64, 64)).detections;
            assert_eq!(classes(&found), expected(&[Square::new(0, level)]), "feed {feed}, frame {number}");
            let track = found[0].track_id.expect("an identity");
            assert_eq!(*tracks[feed].get_or_insert(track), track, "feed {feed}, frame {number}");
        }
    }
    assert_ne!(tracks[0], tracks[1]);
    assert_eq!(shown.load(Ordering::SeqCst), 2 * 3, "each track on every fourth frame");
}

#[test]
fn a_batcher_behind_a_model_names_the_feed_and_leaves_what_the_model_said() {
    let script = install("objects-before", ScriptOptions::default(), |call| match call.number {
        1 => Action::Error("as told".to_owned()),
        _ => Action::Detect,
    });
    let description = format!(
        "appsrc name=in0 ! nvinference name=first model={} ! b.sink_0 nvbatcher name=b sink_0::feed-id=door ! \
         nvunbatcher name=u u.src_0 ! appsink name=out0",
        script.model()
    );
    let rig = Rig::new(&description, 1);
    for number in 0..3 {
        rig.push(0, paint(&[Square::new(0, 200)], number));
        let facts = frame::read(&rig.pull(0)).expect("facts");
        assert_eq!((facts.feed_id.as_str(), facts.seq, facts.batch_size), ("door", number, 1));
        assert_eq!(facts.model, "objects-before");
        let failed = number == 1;
        assert_eq!((facts.status == Status::Failed, facts.error.is_some()), (failed, failed), "{facts:?}");
    }
}

#[test]
fn on_error_of_a_second_model_drops_no_frame_whichever_model_failed() {
    let failing = |name: &str, gives: Gives| {
        let options = ScriptOptions { cells: 2, gives, ..ScriptOptions::default() };
        install(name, options, |_| Action::Error("as told".to_owned()))
    };
    let (first, second) =
        (failing("objects-first", Gives::Boxes), failing("objects-second", Gives::Classes(4)));
    for model in [first.model(), second.model()] {
        let description = format!(
            "appsrc name=in0 ! b.sink_0 nvbatcher name=b ! nvinference model={} ! \
             nvinference operate-on=objects on-error=drop model={model} decoder=auto ! nvunbatcher name=u u.src_0 ! \
             appsink name=out0",
            first.model()
        );
        let rig = Rig::new(&description, 1);
        for number in 0..3 {
            rig.push(0, paint(&[Square::new(0, 200)], number));
            assert_eq!(frame::read(&rig.pull(0)).expect("facts").status, Status::Failed);
        }
    }
}

#[test]
fn an_engine_that_does_not_answer_is_not_waited_for_once_for_each_run() {
    let gate = Gate::new();
    let parked = gate.clone();
    let options = ScriptOptions { cells: 2, gives: Gives::Classes(4), ..ScriptOptions::default() };
    let script = install("objects-wedged", options, move |_| Action::Park(parked.clone()));
    let rig = Rig::plain(&format!(
        "nvinference operate-on=objects max-batch-size=1 response-timeout=200000000 model={}",
        script.model()
    ));
    let squares: Vec<_> = (0..200).map(|at| Square::new(at % 18, 77)).collect();
    rig.push(0, paint(&squares, 0));
    let found = rig.found(0);
    assert_eq!(found.len(), 200);
    assert!(script.calls() <= 3, "{} runs were begun for one frame", script.calls());
    gate.open();
}

#[test]
fn of_too_many_objects_the_first_are_asked_about_and_the_rest_counted() {
    let (script, shown) = classifier("objects-most");
    let element = format!("nvinference name=i operate-on=objects max-detections=5 model={}", script.model());
    let rig = Rig::plain(&element);
    rig.push(0, paint(&squares(8, 0, 0), 0));
    let answered = classes(&rig.found(0)).iter().filter(|class| class.is_some()).count();
    assert_eq!((answered, shown.load(Ordering::SeqCst)), (5, 5));
    assert_eq!(stat(&rig.by_name("i"), "objects-left-out"), 3);
}
