//! Too many feeds, nobody who listens, names that hurt.

use super::oracle::{CANARY, Plan};
use crate::support::init;
use gst::prelude::*;
use gstnextvision::infer::script::{self, Action, ScriptOptions};

/// F73: each refusal is one clear error, and those there are go on.
#[test]
fn a_thousand_requests_beyond_the_limit_are_refused_and_the_feeds_flow() {
    let mut scene = Plan::feeds(3).tune(|scene| scene.batcher.set_property("max-feeds", 8_u32)).play();
    scene.may_fail("max-feeds is 8");
    let granted: Vec<_> = (0..1000).filter_map(|_| scene.batcher.request_pad_simple("sink_%u")).collect();
    assert_eq!(granted.len(), 5);
    scene.rounds(5);
    for pad in &granted {
        scene.batcher.release_request_pad(pad);
    }
    assert!(scene.batcher.request_pad_simple("sink_%u").is_some_and(|pad| {
        scene.batcher.release_request_pad(&pad);
        true
    }));
    drop(granted);
    scene.rounds(2);
    scene.verdict(&[]);
}

/// F76: what nobody reads is not repeated for every frame.
#[test]
fn a_fault_at_every_frame_is_not_a_message_at_every_frame() {
    let mut scene = Plan::feeds(3).suspects(&[1]).play();
    scene.camera(1).begin();
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_stop(gst::ClockTime::SECOND);
    assert!(scene.camera(1).send(gst::event::Segment::new(&segment)));
    for _ in 0..200 {
        // Outside of its segment.
        scene.camera(1).push_at(Some(gst::ClockTime::from_seconds(1 << 20))).expect("its feed goes on");
    }
    scene.rounds(2);
    let said = scene.watch.count();
    assert!(said <= 100, "{said} messages");
    let message = scene.watch.wait_for("stage-error", "cam-1");
    assert!(message.burst.total >= 1);
    scene.verdict(&[("stage-error", 1)]);
}

/// F77: a name is data, whatever is in it.
#[test]
fn hostile_names_of_feeds_come_out_as_they_went_in() {
    let names = [
        "\"quoted\"\\",
        "two\nlines\r\n",
        "\u{202e}right to left",
        "{\"json\": [1]}",
        "%s%n%x",
        &"x".repeat(1 << 20),
    ];
    for name in names {
        let mut scene = Plan::feeds(2).suspects(&[1]).play();
        scene.camera(1).sink_pad.set_property("feed-id", name);
        scene.camera(1).begin();
        scene.flow(&[1], 2);
        assert_eq!(scene.consumer(1).last().facts.feed_id, name);
        scene.verdict(&[]);
    }
}

/// F78: in the path of a model, in messages, warnings and the log of our elements.
#[test]
fn a_secret_in_the_path_of_a_model_is_in_no_message() {
    init();
    let path = format!("rtsp://user:{CANARY}@host/m.onnx");
    let script = script::install(&path, ScriptOptions::default(), |_| Action::Detect);
    let mut scene = Plan::feeds(2).model(&script.model()).play();
    scene.rounds(2);
    scene.verdict(&[]);
}
