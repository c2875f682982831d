//! `nvinference`: models of every kind it takes, what it does when one fails, and plain video.

use crate::support::frames::Painter;
use crate::support::rig::Rig;
use crate::support::{assert_ledger, launch, run_to_eos, stat, tiny_model};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstnextvision::meta::{detections, frame};
use gstnextvision::output::{FrameFacts, Status};
use gstnextvision::vision::Size;

const SIDE: u32 = 64;

fn painter() -> Painter {
    Painter::new(VideoFormat::Rgb, SIDE, SIDE)
}

fn one_feed(model: &str) -> Rig {
    let mut rig = Rig::with_model(&tiny_model(model));
    rig.add_feed(&painter().caps(), false);
    rig
}

fn push(rig: &Rig, number: u64) {
    rig.push(0, painter().paint(number, 250), number * gst::ClockTime::MSECOND);
}

fn facts(sample: &gst::Sample) -> FrameFacts {
    frame::read(sample.buffer().expect("a frame")).expect("the facts of a frame")
}

fn assert_finds_the_bright_cell(model: &str) {
    let rig = one_feed(model);
    rig.play();
    for number in 0..6 {
        push(&rig, number);
        let sample = rig.pull(0);
        assert_eq!(facts(&sample).status, Status::Inferred, "{model}: {:?}", facts(&sample).error);
        let found = detections::read(sample.buffer().expect("a frame"), Size::new(SIDE, SIDE)).detections;
        assert_eq!(found.len(), 1, "{model}: {found:?}");
        let wanted = painter().box_in_frame(number);
        assert!((found[0].box_in_frame.x - f64::from(wanted.x_min)).abs() < 0.01, "{model}: {found:?}");
        assert!((found[0].box_in_frame.y - f64::from(wanted.y_min)).abs() < 0.01, "{model}: {found:?}");
        assert_eq!(found[0].label, "bright");
    }
}

#[test]
fn planar_floats_are_taken() {
    assert_finds_the_bright_cell("brightest");
}

#[test]
fn interleaved_bytes_are_taken() {
    assert_finds_the_bright_cell("u8_nhwc");
}

#[test]
fn half_floats_are_taken() {
    assert_finds_the_bright_cell("f16");
}

#[test]
fn a_fixed_batch_is_padded_and_the_padding_gives_no_result() {
    assert_finds_the_bright_cell("fixed4");
}

#[test]
fn a_batch_larger_than_the_model_takes_is_run_in_parts() {
    let mut rig = Rig::with_model(&tiny_model("fixed4"));
    rig.batcher.set_property("max-batch-size", 6_u32);
    for _ in 0..6 {
        rig.add_feed(&painter().caps(), false);
    }
    rig.play();
    for number in 0..4 {
        for feed in 0..6 {
            rig.push(feed, painter().paint(number + feed as u64, 250), number * gst::ClockTime::MSECOND);
        }
        for feed in 0..6 {
            let sample = rig.pull(feed);
            let found = detections::read(sample.buffer().expect("a frame"), Size::new(SIDE, SIDE)).detections;
            let wanted = painter().box_in_frame(number + feed as u64);
            assert!((found[0].box_in_frame.x - f64::from(wanted.x_min)).abs() < 0.01, "{found:?}");
        }
    }
}

#[test]
fn a_frame_whose_run_fails_goes_on_and_says_why() {
    let rig = one_feed("error");
    rig.play();
    for number in 0..3 {
        push(&rig, number);
        let sample = rig.pull(0);
        let facts = facts(&sample);
        assert_eq!((facts.seq, facts.status), (number, Status::Failed));
        assert!(facts.error.expect("a reason").contains("inference failed"));
        assert!(
            detections::read(sample.buffer().expect("a frame"), Size::new(SIDE, SIDE)).detections.is_empty()
        );
    }
    assert_ledger(&rig.batcher);
    assert_eq!(stat(&rig.batcher, "failed"), 3);
}

#[test]
fn a_frame_whose_run_fails_is_dropped_and_counted_if_asked() {
    let rig = one_feed("error");
    rig.inference.set_property_from_str("on-error", "drop");
    rig.play();
    for number in 0..3 {
        push(&rig, number);
    }
    rig.end(0);
    rig.assert_ended(0);
    assert_eq!((stat(&rig.batcher, "failed"), stat(&rig.batcher, "in-flight")), (3, 0));
    assert_ledger(&rig.batcher);
}

#[test]
fn scores_that_are_no_numbers_fail_the_frame() {
    let rig = one_feed("nan");
    rig.play();
    push(&rig, 0);
    let facts = facts(&rig.pull(0));
    assert_eq!(facts.status, Status::Failed);
    assert!(facts.error.expect("a reason").contains("output0"));
}

#[test]
fn a_run_that_takes_too_long_lets_its_frames_go_on() {
    let rig = one_feed("slow_50ms");
    rig.inference.set_property("response-timeout", 1_u64);
    rig.play();
    // On a busy machine the answer may be there before anybody asks for it, but not each time. Silent twice in a
    // row, the engine is given up.
    let statuses: Vec<_> = (0..10)
        .map(|number| {
            push(&rig, number);
            let facts = facts(&rig.pull(0));
            assert_eq!(facts.seq, number);
            facts.status
        })
        .collect();
    assert!(
        statuses.iter().all(|status| [Status::Timeout, Status::Inferred, Status::Failed].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&Status::Timeout), "{statuses:?}");
    assert_ledger(&rig.batcher);
}

#[test]
fn a_hundred_thousand_boxes_become_max_detections() {
    let rig = one_feed("many_boxes");
    rig.inference.set_property("max-detections", 7_u32);
    rig.play();
    push(&rig, 0);
    let sample = rig.pull(0);
    assert_eq!(facts(&sample).status, Status::Inferred, "{:?}", facts(&sample).error);
    let found = detections::read(sample.buffer().expect("a frame"), Size::new(SIDE, SIDE)).detections;
    assert!(!found.is_empty() && found.len() <= 7, "{}", found.len());
}

#[test]
fn plain_video_is_inferred_frame_by_frame() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!(
        "videotestsrc num-buffers=20 pattern=white ! video/x-raw,format=I420,width=320,height=240 \
         ! nvinference name=i model={model} ! appsink name=s sync=false"
    ));
    let sink = pipeline.by_name("s").and_downcast::<gst_app::AppSink>().expect("an appsink");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    for seq in 0..20 {
        let sample = sink.try_pull_sample(crate::support::PATIENCE).expect("a frame");
        let facts = facts(&sample);
        assert_eq!((facts.seq, facts.status, facts.batch_size), (seq, Status::Inferred, 1));
        assert_eq!(facts.feed_id, "i");
        assert!(
            !detections::read(sample.buffer().expect("a frame"), Size::new(320, 240)).detections.is_empty()
        );
    }
    crate::support::wait_for_eos(&pipeline);
    let inference = pipeline.by_name("i").expect("i");
    assert_eq!((stat(&inference, "inferred"), stat(&inference, "failed")), (20, 0));
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn elements_with_the_same_model_share_one_engine() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!(
        "videotestsrc num-buffers=10 ! nvinference name=i model={model} ! fakesink async=false \
         videotestsrc num-buffers=10 ! nvinference model={model} ! fakesink async=false"
    ));
    pipeline.set_state(gst::State::Playing).expect("it plays");
    crate::support::wait_for_eos(&pipeline);
    let inference = pipeline.by_name("i").expect("i");
    assert_eq!(stat(&inference, "inferred"), 10);
    assert!(stat(&inference, "runs") >= 20, "{}", stat(&inference, "runs"));
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn padded_strides_and_offsets_are_honoured() {
    let model = tiny_model("brightest");
    // videobox and videocrop make frames with a video meta whose strides are not the tight ones.
    let pipeline = launch(&format!(
        "videotestsrc num-buffers=3 pattern=white ! video/x-raw,format=RGB,width=71,height=67 \
         ! videocrop left=3 top=2 right=1 bottom=1 ! nvinference model={model} ! fakesink async=false"
    ));
    run_to_eos(&pipeline);
}
