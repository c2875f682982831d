//! What a frame costs in `nvbatcher`, `nvunbatcher` and `nvsink`, and how that grows with the number of feeds.
//!
//! `cargo bench --features testing --bench frames -- [--feeds N,N…] [--frames N] [--batch N] [--engine none|null]
//! [--sink fakesink|nvsink] [--direct]` pushes tiny frames from memory, one thread a feed, as fast as they are taken,
//! and prints per frame: processor time of the whole process, wall time, context switches, and the mean batch. With
//! `--direct` the same threads push into their sinks, which is what to subtract. It is a program to run a profiler on
//! (`valgrind --tool=callgrind`, `strace -f -c -e futex`); with two values of `--frames` the slope of an instruction
//! count leaves the start-up out. Nothing is asserted.

use gst::prelude::*;
use gstnextvision::infer::OutputTensor;
use gstnextvision::infer::script::{self, Action, ScriptOptions};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// Frames of each feed before the measurement.
const WARM_UP: u64 = 20;

#[derive(Clone, Debug)]
struct Options {
    feeds: Vec<u32>,
    frames: u64,
    batch: u32,
    engine: bool,
    sink: String,
    direct: bool,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self {
            feeds: vec![1, 16, 64, 256],
            frames: 400,
            batch: 8,
            engine: false,
            sink: "fakesink".to_owned(),
            direct: false,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg}: expected a value"));
            match arg.as_str() {
                "--feeds" => {
                    options.feeds =
                        value().split(',').map(|number| number.parse().expect("a number of feeds")).collect();
                }
                "--frames" => options.frames = value().parse().expect("frames per feed"),
                "--batch" => options.batch = value().parse().expect("frames per batch"),
                "--engine" => options.engine = value() == "null",
                "--sink" => options.sink = value(),
                "--direct" => options.direct = true,
                // What cargo adds.
                "--bench" => {}
                other => panic!("unknown option {other}"),
            }
        }
        options
    }
}

/// What the process has used so far, over all threads that are alive.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    processor: Duration,
    switches: u64,
}

fn used() -> Used {
    let mut used = Used::default();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanos = read("schedstat").split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        used.processor += Duration::from_nanos(nanos);
        let status = read("status");
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        used.switches +=
            switches.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum::<u64>();
    }
    used
}

/// A pad that pushes frames of one feed.
fn source(feed: u32, target: &gst::Pad) -> gst::Pad {
    let pad = gst::Pad::builder(gst::PadDirection::Src).name(format!("source_{feed}")).build();
    pad.set_active(true).expect("a new pad");
    pad.link(target).expect("they link");
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "GRAY8")
        .field("width", 16)
        .field("height", 16)
        .field("framerate", gst::Fraction::new(30, 1))
        .build();
    pad.push_event(gst::event::StreamStart::new(&format!("feed-{feed}")));
    pad.push_event(gst::event::Caps::new(&caps));
    pad.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    pad
}

fn sink(kind: &str) -> gst::Element {
    let sink = gst::ElementFactory::make(kind).build().expect("a sink");
    if kind == "fakesink" {
        sink.set_property("sync", false);
        sink.set_property("async", false);
        sink.set_property("enable-last-sample", false);
    } else {
        sink.set_property_from_str("overflow", "block");
    }
    sink
}

struct Rig {
    pipeline: gst::Pipeline,
    batcher: Option<gst::Element>,
    pads: Vec<gst::Pad>,
}

fn rig(options: &Options, feeds: u32, model: &str) -> Rig {
    let pipeline = gst::Pipeline::new();
    let make = |factory: &str| gst::ElementFactory::make(factory).build().expect("a registered element");
    if options.direct {
        let targets: Vec<_> = (0..feeds)
            .map(|_| {
                let sink = sink(&options.sink);
                pipeline.add(&sink).expect("a new element");
                sink.static_pad("sink").expect("a pad")
            })
            .collect();
        pipeline.set_state(gst::State::Playing).expect("it plays");
        let pads = (0..feeds).zip(&targets).map(|(feed, target)| source(feed, target)).collect();
        return Rig { pipeline, batcher: None, pads };
    }
    let (batcher, unbatcher) = (make("nvbatcher"), make("nvunbatcher"));
    batcher.set_property("max-batch-size", options.batch);
    batcher.set_property("max-feeds", feeds.max(64));
    pipeline.add_many([&batcher, &unbatcher]).expect("new elements");
    if options.engine {
        let inference = make("nvinference");
        inference.set_property("model", model);
        pipeline.add(&inference).expect("a new element");
        gst::Element::link_many([&batcher, &inference, &unbatcher]).expect("they link");
    } else {
        batcher.link(&unbatcher).expect("they link");
    }
    let mut targets = Vec::new();
    for feed in 0..feeds {
        let sink = sink(&options.sink);
        pipeline.add(&sink).expect("a new element");
        let from = unbatcher.request_pad_simple(&format!("src_{feed}")).expect("a pad");
        from.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
        targets.push(batcher.request_pad_simple(&format!("sink_{feed}")).expect("a pad"));
    }
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let pads = (0..feeds).zip(&targets).map(|(feed, target)| source(feed, target)).collect();
    Rig { pipeline, batcher: Some(batcher), pads }
}

fn feed(pad: &gst::Pad, frames: std::ops::Range<u64>, template: &gst::BufferRef) {
    for number in frames {
        let mut buffer = template.copy();
        let writable = buffer.get_mut().expect("one owner");
        writable.set_pts(gst::ClockTime::from_mseconds(33 * number));
        if pad.push(buffer).is_err() {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(options: &Options, feeds: u32, model: &str) {
    let Rig { pipeline, batcher, pads } = rig(options, feeds, model);
    // Before warm-up, before and after the frames that count, and before the end.
    let phases = Arc::new(Barrier::new(pads.len() + 1));
    let frames = options.frames;
    let threads: Vec<_> = pads
        .into_iter()
        .enumerate()
        .map(|(number, pad)| {
            let phases = Arc::clone(&phases);
            let work = move || {
                let template = gst::Buffer::with_size(256).expect("memory");
                feed(&pad, 0..WARM_UP, &template);
                phases.wait();
                phases.wait();
                feed(&pad, WARM_UP..WARM_UP + frames, &template);
                phases.wait();
                phases.wait();
                pad.push_event(gst::event::Eos::new());
            };
            thread::Builder::new()
                .name(format!("feed-{number}"))
                .stack_size(1 << 18)
                .spawn(work)
                .expect("a thread")
        })
        .collect();
    phases.wait();
    let (before, began) = (used(), Instant::now());
    phases.wait();
    phases.wait();
    let (wall, after) = (began.elapsed(), used());
    phases.wait();
    for thread in threads {
        thread.join().expect("a feed ends");
    }
    let bus = pipeline.bus().expect("a bus");
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds).expect("an end");
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    let mean = batcher.map_or(0.0, |batcher| {
        batcher.property::<gst::Structure>("stats").get::<f64>("mean-size").unwrap_or(0.0)
    });
    pipeline.set_state(gst::State::Null).expect("it stops");
    let count = (frames * u64::from(feeds)) as f64;
    println!(
        "{feeds:>5} {:>12.0} {:>12.0} {:>10.2} {mean:>8.2}",
        (after.processor.saturating_sub(before.processor)).as_nanos() as f64 / count,
        wall.as_nanos() as f64 / count,
        (after.switches.saturating_sub(before.switches)) as f64 / count,
    );
}

fn main() {
    let options = Options::parse();
    gst::init().expect("GStreamer starts");
    gstnextvision::plugin_register_static().expect("the plugin registers");
    // No number is above any threshold: nothing is found.
    let null = script::install("null", ScriptOptions::default(), |call| {
        let frames = call.images.len();
        let output = OutputTensor {
            name: "output0".into(),
            shape: vec![frames, 5, 64],
            data: vec![0.0; frames * 5 * 64],
        };
        Action::Outputs(vec![output])
    });
    println!("{options:?}");
    println!("feeds cpu/frame ns wall/frame ns switches mean-batch");
    for feeds in &options.feeds {
        measure(&options, *feeds, &null.model());
    }
}
