//! The shipped detector on real clips: nothing lost, nothing invented, and a batch changes no result.

use crate::support::rig::Rig;
use crate::support::{
    PATIENCE, clip, detector, facts, gst_launch, launch, records, repository, run_to_eos, wait_for_eos,
};
use gst::prelude::*;
use gstnextvision::meta::detections;
use gstnextvision::output::Status;
use gstnextvision::vision::Size;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CLIPS: [&str; 2] = ["bikes.mp4", "carphone_pristine.mp4"];

/// How many frames the decoder gives, counted without any element of ours.
fn decoded_frames(name: &str) -> u64 {
    let pipeline =
        launch(&format!("filesrc location={} ! decodebin ! fakesink name=sink sync=false", clip(name)));
    let count = Arc::new(AtomicU64::new(0));
    let pad = pipeline.by_name("sink").and_then(|sink| sink.static_pad("sink")).expect("a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, {
        let count = Arc::clone(&count);
        move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        }
    });
    run_to_eos(&pipeline);
    count.load(Ordering::Relaxed)
}

fn assert_one_record_per_frame(file: &Path, name: &str, feed: u64) {
    let found = records(file);
    let seqs: Vec<_> = found.iter().map(|record| record["seq"].as_u64().expect("a number")).collect();
    assert!(seqs.iter().copied().eq(0..decoded_frames(name)), "{name}: {seqs:?}");
    let times: Vec<_> = found.iter().map(|record| record["pts"].as_u64().expect("a time")).collect();
    assert!(times.is_sorted(), "{name}: {times:?}");
    for record in &found {
        assert_eq!((&record["feed"], &record["status"]), (&Value::from(feed), &Value::from("inferred")));
    }
}

#[test]
fn the_first_pipeline_gives_one_record_per_decoded_frame_of_each_clip_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |feed: usize| folder.path().join(format!("{feed}.jsonl"));
    let branch = |feed: usize| {
        format!(
            "filesrc location={} ! decodebin ! b.sink_{feed} u.src_{feed} ! nvsink location={}",
            clip(CLIPS[feed]),
            file(feed).display()
        )
    };
    let output = gst_launch(&format!(
        "nvbatcher name=b max-batch-size=4 max-latency=50000000 ! nvinference model={} ! nvunbatcher name=u \
         {} {}",
        detector(),
        branch(0),
        branch(1)
    ))
    .output()
    .expect("gst-launch-1.0 runs");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    for (feed, name) in CLIPS.iter().enumerate() {
        assert_one_record_per_frame(&file(feed), name, feed as u64);
    }
}

#[test]
fn detections_agree_with_those_of_an_independent_implementation() {
    let folder = tempfile::tempdir().expect("a folder");
    let found = folder.path().join("bikes.jsonl");
    run_to_eos(&launch(&format!(
        "filesrc location={} ! decodebin ! nvinference model={} ! nvsink overflow=block location={}",
        clip("bikes.mp4"),
        detector(),
        found.display()
    )));
    let output = Command::new("python3")
        .arg(repository("scripts/accuracy.py"))
        .arg(&found)
        .arg(repository("models/reference/bikes.nanodet-g-320.json"))
        .output()
        .expect("python3 runs");
    let (told, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{told}");
    assert!(output.status.success(), "{told}{complaint}");
}

/// Frames of each clip that are compared.
const FRAMES: usize = 12;
/// Frames that a feed sends before the first batch may leave: few enough to fit into the queues, and so many
/// that at least two wait at the batcher.
const AHEAD: usize = 8;
const HOUR: u64 = 3_600_000_000_000;

/// The beginning of a clip, decoded.
struct Clip {
    caps: gst::Caps,
    frames: Vec<gst::Buffer>,
}

impl Clip {
    fn read(name: &str) -> Self {
        let pipeline = launch(&format!(
            "filesrc location={} ! decodebin ! appsink name=sink sync=false max-buffers=1",
            clip(name)
        ));
        let sink: gst_app::AppSink =
            pipeline.by_name("sink").expect("the sink").downcast().expect("an appsink");
        pipeline.set_state(gst::State::Playing).expect("it plays");
        let samples: Vec<_> =
            (0..FRAMES).map(|_| sink.try_pull_sample(PATIENCE).expect("a long enough clip")).collect();
        let caps = samples[0].caps_owned().expect("caps");
        let frames = samples.iter().map(|sample| sample.buffer_owned().expect("a frame")).collect();
        pipeline.set_state(gst::State::Null).expect("it stops");
        Self { caps, frames }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    max_batch_size: u32,
    feeds: usize,
    max_frames_per_feed: u32,
}

const fn case(max_batch_size: u32, feeds: usize) -> Case {
    Case { max_batch_size, feeds, max_frames_per_feed: 1 }
}

/// A detection as far as it must be the same.
#[derive(Clone, Debug)]
struct Found {
    label: String,
    confidence: f64,
    /// Left, top, right, bottom in pixels of the frame.
    sides: [f64; 4],
}

impl Found {
    fn equals(&self, other: &Self) -> bool {
        let apart = self.sides.iter().zip(&other.sides).map(|(one, other)| (one - other).abs());
        self.label == other.label
            && (self.confidence - other.confidence).abs() <= 0.01
            && apart.fold(0.0, f64::max) <= 0.5
    }
}

fn found(sample: &gst::Sample) -> Vec<Found> {
    let structure = sample.caps().and_then(|caps| caps.structure(0)).expect("caps");
    let side = |name| u32::try_from(structure.get::<i32>(name).expect("a size")).expect("positive");
    let size = Size::new(side("width"), side("height"));
    let regions = detections::read(sample.buffer().expect("a frame"), size).detections;
    let found = regions.into_iter().map(|region| {
        let area = &region.box_in_frame;
        Found {
            label: region.label.clone(),
            confidence: region.confidence.expect("a confidence"),
            sides: [area.x, area.y, area.x + area.width, area.y + area.height],
        }
    });
    found.collect()
}

/// What is found in each frame of each feed; the feeds take the clips in turn.
fn detect(clips: &[Clip], case: Case) -> Vec<Vec<Vec<Found>>> {
    let mut rig = Rig::with_model(&detector());
    rig.batcher.set_property("max-batch-size", case.max_batch_size);
    rig.batcher.set_property("max-frames-per-feed", case.max_frames_per_feed);
    // Only readiness closes batches, however slow the machine.
    rig.batcher.set_property("max-latency", HOUR);
    let of_feed = |feed: usize| &clips[feed % clips.len()];
    for feed in 0..case.feeds {
        rig.add_feed(&of_feed(feed).caps, false);
    }
    let held = rig.hold_batches();
    rig.play();
    let push = |feed: usize, number: usize| {
        rig.push(feed, of_feed(feed).frames[number].copy(), number as u64 * gst::ClockTime::MSECOND);
    };
    for feed in 0..case.feeds {
        (0..AHEAD).for_each(|number| push(feed, number));
    }
    held.release();
    let mut largest = 0;
    let mut pull = |feed: usize, number: usize| {
        let sample = rig.pull(feed);
        let facts = facts(&sample);
        assert_eq!((facts.seq, facts.status), (number as u64, Status::Inferred), "{case:?} feed {feed}");
        largest = largest.max(facts.batch_size);
        found(&sample)
    };
    let results = std::thread::scope(|scope| {
        for feed in 0..case.feeds {
            let (push, rig) = (&push, &rig);
            scope.spawn(move || {
                (AHEAD..FRAMES).for_each(|number| push(feed, number));
                rig.end(feed);
            });
        }
        (0..case.feeds).map(|feed| (0..FRAMES).map(|number| pull(feed, number)).collect()).collect()
    });
    wait_for_eos(&rig.pipeline);
    let feeds = u32::try_from(case.feeds).expect("few");
    assert!(
        largest == case.max_batch_size.min(feeds) || (case.max_frames_per_feed > 1 && largest > 1),
        "{case:?}: no batch had more than {largest} frames"
    );
    results
}

#[test]
fn a_frame_gives_the_same_detections_whatever_batch_it_is_in() {
    let clips = CLIPS.map(Clip::read);
    let alone: Vec<_> =
        clips.iter().flat_map(|clip| detect(std::slice::from_ref(clip), case(1, 1))).collect();
    for clip in &alone {
        assert!(clip.iter().any(|frame| !frame.is_empty()), "nothing to compare");
    }
    let cases = [
        case(1, 2),
        case(8, 3),
        case(2, 4),
        case(4, 5),
        case(8, 6),
        case(2, 7),
        case(8, 8),
        Case { max_frames_per_feed: 4, ..case(4, 1) },
    ];
    for case in cases {
        for (feed, frames) in detect(&clips, case).iter().enumerate() {
            for (number, (found, wanted)) in frames.iter().zip(&alone[feed % clips.len()]).enumerate() {
                let mut left = found.clone();
                for one in wanted {
                    let at = left.iter().position(|other| one.equals(other));
                    let at = at.unwrap_or_else(|| {
                        panic!("{case:?} feed {feed} frame {number}: {one:?} not in {left:?}")
                    });
                    left.remove(at);
                }
                assert!(left.is_empty(), "{case:?} feed {feed} frame {number}: {left:?} too much");
            }
        }
    }
}
