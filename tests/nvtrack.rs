//! `nvtrack` on its own, and behind the batcher: which identity stands on which region, and where tracks end.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use crate::support::rig::Rig;
use crate::support::{PATIENCE, init, run_to_eos};
use gst::prelude::*;
use gst_check::Harness;
use gst_video::VideoRegionOfInterestMeta;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::Event;
use gstnextvision::meta::{self, detections};
use gstnextvision::output::{DetectionRecord, FrameFacts, Status};
use gstnextvision::vision::{Detection, Landmarks, Rect, Size};
use std::collections::BTreeSet;

const FRAME: Size = Size::new(640, 480);
const CAPS: &str = "video/x-raw,format=GRAY8,width=640,height=480,framerate=10/1";

/// The element, and a source pad that pushes into it from this thread.
struct Bench {
    harness: Harness,
    bus: gst::Bus,
    next: u64,
}

impl Bench {
    fn new(properties: &[(&str, glib::Value)]) -> Self {
        init();
        let element = gst::ElementFactory::make("nvtrack").build().unwrap();
        properties.iter().for_each(|(name, value)| element.set_property_from_value(name, value));
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_src_caps_str(CAPS);
        harness.play();
        Self { harness, bus, next: 0 }
    }

    fn element(&self) -> gst::Element {
        self.harness.element().unwrap()
    }

    /// A frame with these boxes, a tenth of a second after the last one.
    fn frame(&mut self, boxes: &[Rect]) -> gst::Buffer {
        let mut buffer = gst::Buffer::with_size(640 * 480).unwrap();
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(self.next * 100.mseconds());
        self.next += 1;
        let detection =
            |bbox: &Rect| Detection { bbox: *bbox, class: 0, confidence: 0.9, landmarks: Landmarks::new() };
        let found: Vec<_> = boxes.iter().map(detection).collect();
        let found: Vec<_> =
            found.iter().map(|detection| detections::Found { label: "person", detection }).collect();
        detections::attach(writable, FRAME, &found);
        buffer
    }

    fn pass(&mut self, buffer: gst::Buffer) -> Vec<DetectionRecord> {
        let buffer = self.harness.push_and_pull(buffer).unwrap();
        detections::read(&buffer, FRAME).detections
    }

    fn found(&mut self, boxes: &[Rect]) -> Vec<DetectionRecord> {
        let buffer = self.frame(boxes);
        self.pass(buffer)
    }

    fn id(&mut self, of: Rect) -> i64 {
        self.found(&[of])[0].track_id.unwrap()
    }

    /// The identity of something that is seen a few times.
    fn confirmed(&mut self) -> i64 {
        (0..6).map(|_| self.id(HERE)).last().unwrap()
    }

    fn stat(&self, name: &str) -> u64 {
        self.element().property::<gst::Structure>("stats").get(name).unwrap()
    }
}

const HERE: Rect = Rect::from_corners(100.0, 100.0, 140.0, 200.0);

fn moved(x: f32) -> Rect {
    Rect::from_corners(HERE.x_min + x, HERE.y_min, HERE.x_max + x, HERE.y_max)
}

fn with_facts(buffer: &mut gst::Buffer, seq: u64, session: u32, status: Status) {
    let facts = FrameFacts { feed_id: "gate".to_owned(), seq, session, status, ..FrameFacts::default() };
    meta::frame::write(buffer.get_mut().unwrap(), &facts);
}

#[test]
fn a_detection_that_moves_keeps_its_identity_and_gets_speed_and_direction() {
    for algorithm in ["iou", "sort", "bytetrack"] {
        let mut bench = Bench::new(&[]);
        bench.element().set_property_from_str("algorithm", algorithm);
        let found: Vec<_> = (0..20).map(|step| bench.found(&[moved(4.0 * step as f32)]).remove(0)).collect();
        let ids: BTreeSet<_> = found.iter().map(|one| one.track_id).collect();
        assert_eq!(ids.len(), 1, "{algorithm}");
        let states: Vec<_> = found.iter().filter_map(|one| one.track_state.as_deref()).collect();
        assert_eq!(states[..3], ["tentative", "tentative", "confirmed"]);
        let last = found.last().unwrap();
        assert_eq!((last.track_age, last.track_stationary), (Some(19), Some(false)));
        assert!((last.track_speed.unwrap() - 40.0).abs() < 0.1, "{last:?}");
        assert!(last.track_direction.unwrap() < 0.1, "{last:?}");
        assert_eq!((bench.stat("alive"), bench.stat("confirmed"), bench.stat("frames")), (1, 1, 20));
    }
}

#[test]
fn pixels_are_neither_changed_nor_copied() {
    let mut bench = Bench::new(&[]);
    let shared = bench.frame(&[HERE]);
    let memory = shared.peek_memory(0).as_ptr();
    let out = bench.harness.push_and_pull(shared.clone()).unwrap();
    assert_eq!(out.peek_memory(0).as_ptr(), memory);
    assert!(detections::read(&out, FRAME).detections[0].track_id.is_some());
    let kept = detections::read(&shared, FRAME).detections.remove(0);
    assert_eq!(kept.track_id, None, "whoever else has the frame sees no change");
}

#[test]
fn a_detector_that_blinks_makes_no_hole_in_a_track() {
    for coast_frames in [0, 1, 2_u32] {
        let mut bench = Bench::new(&[("coast-frames", coast_frames.to_value())]);
        let mut states = Vec::new();
        for seq in 0..12 {
            let x = 4.0 * seq as f32;
            let seen = [moved(x)];
            let mut buffer = bench.frame(if (6..9).contains(&seq) { &[] } else { &seen });
            with_facts(&mut buffer, seq, 0, Status::Inferred);
            let found = bench.pass(buffer);
            for found in &found {
                assert!((found.box_in_frame.x - f64::from(100.0 + x)).abs() < 8.0, "frame {seq}: {found:?}");
            }
            states.push(found.first().and_then(|found| found.track_state.clone()));
        }
        let coasted = states.iter().flatten().filter(|state| *state == "coasted").count();
        assert_eq!(coasted, coast_frames as usize, "{states:?}");
        assert_eq!(states.iter().flatten().count(), 9 + coasted, "{states:?}");
    }
}

#[test]
fn frames_that_were_not_inferred_get_the_predicted_box() {
    let mut bench = Bench::new(&[]);
    let mut id = None;
    for seq in 0..20 {
        let inferred = seq % 2 == 0;
        let x = 6.0 * seq as f32;
        let mut buffer = if inferred { bench.frame(&[moved(x)]) } else { bench.frame(&[]) };
        with_facts(&mut buffer, seq, 0, if inferred { Status::Inferred } else { Status::Skipped });
        let found = bench.pass(buffer);
        if inferred {
            let found = found.into_iter().next().unwrap();
            assert_eq!(*id.get_or_insert(found.track_id), found.track_id);
        } else if seq >= 5 {
            let [found] = found.as_slice() else { panic!("frame {seq}: {found:?}") };
            assert_eq!((Some(found.track_id), found.track_state.as_deref()), (id, Some("coasted")));
            assert_eq!((found.label.as_str(), found.label_id), ("person", Some(0)));
            assert!((found.box_in_frame.x - f64::from(100.0 + x)).abs() < 8.0, "frame {seq}: {found:?}");
        } else {
            assert!(found.is_empty(), "a tentative track is not shown where nobody saw it");
        }
    }
}

#[test]
fn a_new_session_and_another_feed_begin_anew_and_missing_frames_do_not() {
    let mut bench = Bench::new(&[]);
    let mut next = |feed: &str, seq: u64, session: u32| {
        let mut buffer = bench.frame(&[HERE]);
        let (feed_id, status) = (feed.to_owned(), Status::Inferred);
        let facts = FrameFacts { feed_id, seq, session, status, ..FrameFacts::default() };
        meta::frame::write(buffer.get_mut().unwrap(), &facts);
        bench.pass(buffer)[0].track_id.unwrap()
    };
    let first = next("a", 0, 0);
    assert_eq!([next("a", 1, 0), next("a", 2, 0), next("a", 9, 0)], [first; 3]);
    let second = next("a", 10, 1);
    assert_ne!(second, first);
    let third = next("b", 11, 1);
    assert!(third != second && third != first);
}

#[test]
fn a_flush_a_segment_a_stream_and_a_frame_size_begin_anew() {
    let mut bench = Bench::new(&[]);
    let mut ids = vec![bench.confirmed()];
    bench.harness.push_event(gst::event::FlushStart::new());
    bench.harness.push_event(gst::event::FlushStop::builder(true).build());
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    bench.harness.push_event(gst::event::Segment::new(&segment));
    ids.push(bench.confirmed());
    bench.harness.push_event(gst::event::Segment::new(&segment));
    assert_eq!(bench.id(HERE), *ids.last().unwrap(), "the same segment again changes nothing");
    let mut other = segment;
    other.set_start(10.mseconds());
    bench.harness.push_event(gst::event::Segment::new(&other));
    ids.push(bench.confirmed());
    bench.harness.set_src_caps_str(&CAPS.replace("480", "240"));
    ids.push(bench.confirmed());
    bench.harness.push_event(gst::event::StreamStart::new("another"));
    bench.harness.set_src_caps_str(CAPS);
    bench.harness.push_event(gst::event::Segment::new(&other));
    ids.push(bench.confirmed());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

#[test]
fn a_jump_in_time_begins_anew_and_a_discont_alone_does_not() {
    let mut bench = Bench::new(&[]);
    let first = bench.confirmed();
    let mut buffer = bench.frame(&[HERE]);
    buffer.get_mut().unwrap().set_flags(gst::BufferFlags::DISCONT);
    assert_eq!(bench.pass(buffer)[0].track_id, Some(first), "frames may be missing");
    bench.next += 20;
    assert_eq!(bench.id(HERE), first);
    bench.next += 20;
    let mut buffer = bench.frame(&[HERE]);
    buffer.get_mut().unwrap().set_flags(gst::BufferFlags::DISCONT);
    let second = bench.pass(buffer)[0].track_id.unwrap();
    assert_ne!(second, first, "two seconds and a DISCONT");
    bench.next += 60;
    let third = bench.id(HERE);
    assert_ne!(third, second, "six seconds");
    bench.next -= 30;
    assert_ne!(bench.id(HERE), third, "back");
}

#[test]
fn detections_that_find_no_room_are_reported_and_counted() {
    let mut bench = Bench::new(&[("max-tracks", 2_u32.to_value()), ("min-hits", 1_u32.to_value())]);
    let boxes = [moved(0.0), moved(100.0), moved(200.0), moved(300.0)];
    let found = bench.found(&boxes);
    assert_eq!(found.iter().filter(|one| one.track_id.is_some()).count(), 2);
    assert_eq!((bench.stat("alive"), bench.stat("rejected"), bench.stat("born")), (2, 2, 2));
    let message = bench.bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Element]).unwrap();
    let message = health_of(&message).unwrap().unwrap();
    let Event::TrackRejected(event) = message.event else { panic!("{message:?}") };
    assert_eq!((event.max_tracks, message.burst.count), (2, 2));
    assert_eq!(message.feed_id.as_deref(), Some(bench.element().name().as_str()));
}

#[test]
fn what_another_tracker_said_is_replaced() {
    let mut bench = Bench::new(&[]);
    let mut buffer = bench.frame(&[HERE]);
    for mut region in buffer.get_mut().unwrap().iter_meta_mut::<VideoRegionOfInterestMeta>() {
        region.add_param(gst::Structure::builder("object_id").field("id", -5_i32).build());
    }
    let found = bench.pass(buffer);
    assert!(found[0].track_id.unwrap() > 0, "{found:?}");
}

#[test]
fn hostile_regions_pass() {
    let mut bench = Bench::new(&[]);
    for _ in 0..3 {
        let mut buffer = bench.frame(&[HERE]);
        let writable = buffer.get_mut().unwrap();
        for number in 0..5000_u32 {
            let at = (number % 600, number % 400, number % 60, u32::MAX);
            let mut region = VideoRegionOfInterestMeta::add(writable, "thing", at);
            let bad = gst::Structure::builder("detection").field("confidence", f64::NAN);
            region.add_param(bad.field("x_min", f64::INFINITY).field("label", number.to_string()).build());
        }
        let found = bench.pass(buffer);
        assert!(found[0].track_id.is_some());
    }
    assert_eq!(bench.stat("alive"), 1);
}

#[test]
fn a_low_threshold_above_the_high_one_is_refused_at_the_start() {
    init();
    let element = gst::ElementFactory::make("nvtrack")
        .property("low-threshold", 0.7)
        .property("high-threshold", 0.3)
        .build()
        .unwrap();
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Paused).is_err());
    let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else { unreachable!("filtered") };
    let text = error.error().to_string();
    assert!(text.contains("low-threshold=0.7") && text.contains("high-threshold=0.3"), "{text}");
    element.set_state(gst::State::Null).unwrap();
}

#[test]
fn behind_a_batcher_each_feed_has_its_own_tracks_also_where_every_other_frame_is_left_out() {
    use crate::support::frames::Painter;
    init();
    let painter = Painter::new(gst_video::VideoFormat::Gray8, 640, 480);
    let mut rig = Rig::new();
    let mut trackers = Vec::new();
    for feed in 0..2 {
        rig.add_feed(&painter.caps(), false);
        rig.feeds[feed].sink_pad.set_property("interval", 1_u32);
        let tracker = gst::ElementFactory::make("nvtrack").build().unwrap();
        rig.pipeline.add(&tracker).unwrap();
        let src = rig.unbatcher.static_pad(&format!("src_{feed}")).unwrap();
        let sink = rig.feeds[feed].sink.static_pad("sink").unwrap();
        src.unlink(&sink).unwrap();
        src.link(&tracker.static_pad("sink").unwrap()).unwrap();
        tracker.static_pad("src").unwrap().link(&sink).unwrap();
        trackers.push(tracker);
    }
    rig.play();
    let mut ids = [BTreeSet::new(), BTreeSet::new()];
    let mut coasted = 0;
    for frame in 0..20 {
        for feed in 0..2_usize {
            rig.push(feed, painter.paint(feed as u64 * 9, 200), frame * 33.mseconds());
        }
        for (feed, ids) in ids.iter_mut().enumerate() {
            let sample = rig.pull(feed);
            for found in detections::read(sample.buffer().unwrap(), FRAME).detections {
                ids.insert(found.track_id.unwrap());
                coasted += usize::from(found.track_state.as_deref() == Some("coasted"));
            }
        }
    }
    assert_eq!((ids[0].len(), ids[1].len()), (1, 1), "{ids:?}");
    assert!(ids[0].is_disjoint(&ids[1]), "{ids:?}");
    assert!(coasted >= 12, "{coasted} predicted regions on 20 frames that were left out");
    rig.stop();
}

#[test]
fn any_memory_and_format_passes() {
    let pipeline = crate::support::launch(
        "videotestsrc num-buffers=3 ! video/x-raw,format=v210,width=64,height=48 ! nvtrack name=t ! fakesink",
    );
    run_to_eos(&pipeline);
    let tracker = pipeline.by_name("t").unwrap();
    assert_eq!(crate::support::stat(&tracker, "frames"), 3);
}
