//! Caps and formats that change, lie, are missing or cannot be.

use super::camera::grey;
use super::oracle::{Plan, Scene};
use crate::support::frames::Painter;
use gst::prelude::*;
use gst_video::VideoFormat;
use gstnextvision::output::Status;

/// The suspect sends caps that nobody can take: its frames are refused, until it sends good ones.
fn assert_only_its_own_feed_suffers(caps: &str) {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    scene.camera(1).send(gst::event::Caps::new(&caps.parse::<gst::Caps>().expect("caps")));
    assert_eq!(scene.camera(1).push(), Err(gst::FlowError::NotNegotiated), "{caps}");
    scene.rounds(5);
    assert!(!scene.watch.warnings().is_empty(), "somebody is told");
    assert!(scene.camera(1).caps(), "good caps are taken again");
    scene.flow(&[1], 2);
    scene.verdict(&[("stage-error", 1)]);
}

/// F18.
#[test]
fn caps_of_something_else_than_video_cost_their_feed_only() {
    assert_only_its_own_feed_suffers("audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved");
    assert_only_its_own_feed_suffers("video/x-h264,stream-format=byte-stream,alignment=au");
}

/// F19, F20: the frames before keep the old caps, those after it have the new.
#[test]
fn size_and_format_change_at_their_frame_and_on_their_feed_only() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    let formats = [
        Painter::new(VideoFormat::Nv12, 128, 96),
        Painter::new(VideoFormat::I420, 128, 96),
        Painter::new(VideoFormat::I420, 64, 128),
        Painter::new(VideoFormat::Rgbx, 64, 64),
        grey(),
    ];
    scene.flow(&[1], 2);
    for painter in &formats {
        // Two before and two after, without waiting between.
        scene.consumer(1).block();
        (0..2).for_each(|_| {
            scene.camera(1).push().expect("it flows");
        });
        scene.camera(1).change(painter.clone());
        (0..2).for_each(|_| {
            scene.camera(1).push().expect("it flows");
        });
        scene.consumer(1).take();
        scene.drain(1);
        scene.rounds(1);
        let arrivals = scene.consumer(1).arrivals();
        let [.., before, one, two] = arrivals.as_slice() else { panic!("frames have come") };
        assert_eq!((&one.caps, &two.caps), (&painter.caps(), &painter.caps()));
        assert_ne!(before.caps, painter.caps());
    }
    let all = scene.consumer(1).arrivals();
    assert!(all.iter().all(|arrival| arrival.facts.status == Status::Inferred));
    assert_eq!(all.len(), 2 + 4 * formats.len());
    scene.verdict(&[]);
}

/// F20: memory that is not ours to read.
#[test]
fn memory_of_a_device_is_refused_on_its_feed_only() {
    assert_only_its_own_feed_suffers(
        "video/x-raw(memory:GLMemory),format=RGBA,width=64,height=64,framerate=30/1",
    );
}

/// F21.
#[test]
fn sizes_that_no_machine_can_hold_are_refused_before_anything_is_allocated() {
    assert_only_its_own_feed_suffers("video/x-raw,format=RGB,width=65535,height=65535,framerate=30/1");
    assert_only_its_own_feed_suffers("video/x-raw,format=RGB,width=0,height=0,framerate=30/1");
}

/// F21.
#[test]
fn tiny_and_odd_sizes_and_odd_rates_flow() {
    let mut scene = Plan::feeds(2).suspects(&[1]).play();
    scene.consumer(1).expect_strangers();
    scene.camera(1).begin();
    let mut frames = 0;
    for (width, height, rate) in
        [(1, 1, "0/1"), (1, 333, "1/1"), (7, 5, "2147483647/1"), (129, 97, "30000/1001")]
    {
        for format in ["GRAY8", "I420", "YUY2", "RGB"] {
            let caps = format!("video/x-raw,format={format},width={width},height={height},framerate={rate}");
            let caps = caps.parse::<gst::Caps>().expect("caps");
            assert!(scene.camera(1).send(gst::event::Caps::new(&caps)));
            let info = gst_video::VideoInfo::from_caps(&caps).expect("valid caps");
            scene.camera(1).give(gst::Buffer::with_size(info.size()).expect("memory")).expect("it flows");
            frames += 1;
            scene.consumer(1).wait_for(frames);
            assert_eq!(scene.consumer(1).last().facts.status, Status::Inferred, "{caps}");
        }
        scene.rounds(1);
    }
    scene.verdict(&[]);
}

/// F22: it travels on, and says why it has no result.
#[test]
fn a_frame_shorter_than_its_caps_fails_alone() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 2);
    scene.camera(1).give(scene.camera(1).short_frame()).expect("its feed goes on");
    scene.consumer(1).wait_for(3);
    let facts = scene.consumer(1).last().facts;
    assert_eq!(facts.status, Status::Failed);
    assert!(facts.error.expect("a reason").contains("expected"));
    assert_eq!(scene.lost(1, "invalid"), 1);
    scene.flow(&[1], 3);
    scene.may_report("stage-error", 1);
    scene.verdict(&[]);
}

/// F24.
#[test]
fn a_frame_before_its_caps_is_refused_on_its_feed_only() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    assert!(scene.camera(1).start_stream() && scene.camera(1).segment());
    assert_eq!(scene.camera(1).push(), Err(gst::FlowError::NotNegotiated));
    scene.rounds(3);
    scene.camera(1).begin();
    scene.flow(&[1], 3);
    scene.verdict(&[("stage-error", 1)]);
}

/// F25: a segment that does not tell the time is refused; without any, frames flow as they come.
#[test]
fn a_segment_in_bytes_is_refused_and_a_missing_one_is_not_missed() {
    let mut scene = Plan::feeds(4).suspects(&[1, 2]).play();
    scene.camera(1).begin();
    scene.flow(&[1], 1);
    let bytes = gst::FormattedSegment::<gst::format::Bytes>::new();
    scene.camera(1).send(gst::event::Segment::new(&bytes));
    scene.rounds(2);
    assert!(scene.camera(1).segment(), "one in time is taken again");
    scene.flow(&[1], 2);
    scene.verdict(&[("stage-error", 1)]);
}

/// The limits of a scene whose suspect changes all the time.
fn one_frame_at_a_time(scene: &Scene) {
    scene.camera(1).sink_pad.set_property("max-in-flight", 1_u32);
}

/// F26: each is a change like any other; none is free, and none costs the others anything.
#[test]
fn caps_that_change_at_every_frame_cost_their_feed_only() {
    let mut scene = Plan::feeds(3).suspects(&[1]).tune(one_frame_at_a_time).play();
    scene.camera(1).begin();
    for round in 0..40 {
        let side = 32 + 16 * (round % 5);
        scene.camera(1).change(Painter::new(VideoFormat::Gray8, side, side));
        scene.flow(&[1], 1);
    }
    scene.verdict(&[]);
}
