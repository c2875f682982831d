//! A frame costs no allocation of ours: runs frames through the elements under a counting allocator, and compares
//! what more frames cost with what is expected of each.
//!
//! Run by `./dev test`; by hand: `cargo test --features testing --test allocations`. Only what Rust allocates is
//! counted: GStreamer and GLib allocate buffers, metas and the fields of structures with an allocator of their own.

use gst::prelude::*;
use gstnextvision::infer::script::{self, Action, ScriptOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FEEDS: u32 = 4;
/// Rounds of one frame a feed: first until every list has grown to its size, then those that are counted.
const WARM_UP: u64 = 300;
const COUNTED: u64 = 2000;

/// Frames that are on their way when counting begins and ends are not the same ones, and a list may grow late.
const TOLERANCE: f64 = 0.02;

/// A pipeline and the most allocations that a frame may cost in it.
struct Case {
    what: &'static str,
    inference: bool,
    sink: &'static str,
    expected: f64,
}

const CASES: [Case; 4] = [
    Case { what: "nvbatcher ! nvunbatcher", inference: false, sink: "fakesink", expected: 0.0 },
    // The texts of a record (feed, close reason), its stages, and the entry that carries them.
    Case { what: "nvbatcher ! nvunbatcher ! nvsink", inference: false, sink: "nvsink", expected: 4.0 },
    Case { what: "nvbatcher ! nvinference ! nvunbatcher", inference: true, sink: "fakesink", expected: 0.0 },
    // As above, and the texts of the model and the provider.
    Case { what: "all four", inference: true, sink: "nvsink", expected: 6.0 },
];

fn main() {
    gst::init().expect("GStreamer starts");
    gstnextvision::plugin_register_static().expect("the plugin registers");
    let script = script::install("null", ScriptOptions::default(), |_| Action::Nothing);
    let mut failed = false;
    for case in CASES {
        let found = per_frame(&case, &script.model());
        let holds = found <= case.expected + TOLERANCE;
        println!("{}: {found:.3} allocations a frame, at most {} expected", case.what, case.expected);
        failed |= !holds;
    }
    assert!(!failed, "a frame costs more allocations than it should");
}

fn per_frame(case: &Case, model: &str) -> f64 {
    let pipeline = gst::Pipeline::new();
    let make = |factory: &str| {
        let element = gst::ElementFactory::make(factory).build().expect("a registered element");
        pipeline.add(&element).expect("a new element");
        element
    };
    let (batcher, unbatcher) = (make("nvbatcher"), make("nvunbatcher"));
    if case.inference {
        let inference = make("nvinference");
        inference.set_property("model", model);
        gst::Element::link_many([&batcher, &inference, &unbatcher]).expect("they link");
    } else {
        batcher.link(&unbatcher).expect("they link");
    }
    let targets: Vec<_> = (0..FEEDS)
        .map(|feed| {
            let sink = make(case.sink);
            if case.sink == "nvsink" {
                sink.set_property_from_str("overflow", "block");
            } else {
                sink.set_property("async", false);
                sink.set_property("enable-last-sample", false);
            }
            let from = unbatcher.request_pad_simple(&format!("src_{feed}")).expect("a pad");
            from.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
            batcher.request_pad_simple(&format!("sink_{feed}")).expect("a pad")
        })
        .collect();
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let pads: Vec<_> = targets.iter().map(source).collect();
    // Every queue is bounded and blocks, so as many frames are on their way at the end as at the beginning.
    push(&pads, 0..WARM_UP);
    let before = ALLOCATOR.stats();
    push(&pads, WARM_UP..WARM_UP + COUNTED);
    let after = ALLOCATOR.stats();
    for pad in &pads {
        pad.push_event(gst::event::Eos::new());
    }
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().expect("a bus");
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds).expect("an end");
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    pipeline.set_state(gst::State::Null).expect("it stops");
    let count = |stats: stats_alloc::Stats| stats.allocations + stats.reallocations;
    (count(after) - count(before)) as f64 / (COUNTED * u64::from(FEEDS)) as f64
}

/// A pad that pushes a stream of tiny frames into `target`.
fn source(target: &gst::Pad) -> gst::Pad {
    let pad = gst::Pad::new(gst::PadDirection::Src);
    pad.set_active(true).expect("a new pad");
    pad.link(target).expect("they link");
    let info =
        gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, 16, 16).build().expect("a format");
    pad.push_event(gst::event::StreamStart::new(&target.name()));
    pad.push_event(gst::event::Caps::new(&info.to_caps().expect("caps")));
    pad.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    pad
}

fn push(pads: &[gst::Pad], rounds: std::ops::Range<u64>) {
    let template = gst::Buffer::with_size(256).expect("memory");
    for round in rounds {
        for pad in pads {
            let mut buffer = template.copy();
            buffer.get_mut().expect("one owner").set_pts(gst::ClockTime::from_mseconds(33 * round));
            pad.push(buffer).expect("the feed takes it");
        }
    }
}
