//! Feeds that come and go, seeks and state changes, hundreds of times over, under GStreamer's leaks tracer: nothing
//! hangs, nothing comes out that belongs to before. Part of `tests/leaks.rs`.

use super::{MODEL, PATIENCE, launch, stop};
use gst::prelude::*;
use gst_app::AppSink;
use gstnextvision::meta::frame;
use gstnextvision::output::FrameFacts;
use std::sync::mpsc::{Receiver, channel};

const ROUNDS: u32 = 1_000;
const SEEKS: u64 = 500;
const CYCLES: usize = 200;

pub(super) fn run_all() {
    add_and_remove();
    println!("churn: {ROUNDS} rounds of adding and removing a feed under load");
    seek();
    println!("churn: {SEEKS} flushing seeks");
    change_states();
    println!("churn: {CYCLES} state changes");
}

fn clock_time(duration: std::time::Duration) -> gst::ClockTime {
    duration.try_into().expect("short")
}

fn facts(buffer: &gst::BufferRef) -> FrameFacts {
    frame::read(buffer).expect("the facts of a frame")
}

/// A feed beside those of the pipeline.
struct Guest {
    source: gst::Element,
    sink: AppSink,
    sink_pad: gst::Pad,
    src_pad: gst::Pad,
}

impl Guest {
    fn join(pipeline: &gst::Pipeline, number: u32) -> Self {
        let [batcher, unbatcher] = ["b", "u"].map(|name| pipeline.by_name(name).expect("an element"));
        let source = gst::ElementFactory::make("videotestsrc").build().expect("an element");
        let sink =
            AppSink::builder().sync(false).async_(false).max_buffers(1).drop(true).wait_on_eos(false).build();
        pipeline.add_many([&source, sink.upcast_ref()]).expect("new elements");
        let src_pad = unbatcher.request_pad_simple(&format!("src_{number}")).expect("a pad");
        src_pad.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
        sink.sync_state_with_parent().expect("it starts");
        let sink_pad = batcher.request_pad_simple(&format!("sink_{number}")).expect("a pad");
        source.static_pad("src").expect("a pad").link(&sink_pad).expect("they link");
        source.sync_state_with_parent().expect("it starts");
        Self { source, sink, sink_pad, src_pad }
    }

    fn pull(&self) -> FrameFacts {
        let sample = self.sink.try_pull_sample(clock_time(PATIENCE)).expect("the feed gives a frame");
        facts(sample.buffer().expect("a frame"))
    }

    /// Leaves in one of four orders; frames of it are everywhere meanwhile.
    fn leave(self, pipeline: &gst::Pipeline, order: u32) {
        let [batcher, unbatcher] = ["b", "u"].map(|name| pipeline.by_name(name).expect("an element"));
        let stop_source = || {
            // The pipeline may be on its way to PLAYING, with all that is in it.
            self.source.set_locked_state(true);
            self.source.set_state(gst::State::Null).expect("it stops");
        };
        let release_in = || batcher.release_request_pad(&self.sink_pad);
        let release_out = || unbatcher.release_request_pad(&self.src_pad);
        match order % 4 {
            0 => {
                stop_source();
                release_in();
                release_out();
            }
            1 => {
                release_in();
                release_out();
                stop_source();
            }
            2 => {
                release_out();
                stop_source();
                release_in();
            }
            _ => {
                self.source
                    .static_pad("src")
                    .expect("a pad")
                    .unlink(&self.sink_pad)
                    .expect("they were linked");
                release_out();
                release_in();
                stop_source();
            }
        }
        self.sink.set_state(gst::State::Null).expect("it stops");
        pipeline.remove_many([&self.source, self.sink.upcast_ref()]).expect("they were there");
    }
}

fn add_and_remove() {
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={MODEL} ! nvunbatcher name=u \
         videotestsrc ! b.sink_0  u.src_0 ! fakesink name=f signal-handoffs=true \
         videotestsrc ! b.sink_1  u.src_1 ! fakesink"
    ));
    let seqs = seqs_of(&pipeline.by_name("f").expect("a sink"));
    pipeline.set_state(gst::State::Playing).expect("it plays");
    pipeline.state(clock_time(PATIENCE)).0.expect("it prerolls");
    for round in 0..ROUNDS {
        let guest = Guest::join(&pipeline, 2);
        let first = guest.pull();
        assert_eq!((first.feed, first.session), (2, round), "a frame of before, or of another feed");
        guest.leave(&pipeline, round);
        // The others flow on.
        seqs.recv_timeout(PATIENCE).expect("another feed flows");
    }
    let seqs: Vec<_> = seqs.try_iter().collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "another feed lost a frame");
    stop(&pipeline);
}

fn seqs_of(sink: &gst::Element) -> Receiver<u64> {
    let (tell, told) = channel();
    sink.connect("handoff", false, move |values| {
        let buffer = values[1].get::<gst::Buffer>().expect("a buffer");
        tell.send(facts(&buffer).seq).ok();
        None
    });
    told
}

fn seek() {
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={MODEL} ! nvunbatcher name=u \
         videotestsrc ! b.sink_0  u.src_0 ! appsink name=s0 sync=false max-buffers=4 \
         videotestsrc ! b.sink_1  u.src_1 ! appsink name=s1 sync=false max-buffers=4"
    ));
    let sinks = ["s0", "s1"].map(|name| pipeline.by_name(name).and_downcast::<AppSink>().expect("a sink"));
    pipeline.set_state(gst::State::Playing).expect("it plays");
    pipeline.state(clock_time(PATIENCE)).0.expect("it prerolls");
    for number in 0..SEEKS {
        let target = number * 7 % 100 * gst::ClockTime::SECOND;
        pipeline.seek_simple(gst::SeekFlags::FLUSH, target).expect("every feed seeks");
        for sink in &sinks {
            let sample = sink.try_pull_sample(clock_time(PATIENCE)).expect("the feed gives a frame");
            let pts = sample.buffer().and_then(gst::BufferRef::pts).expect("a timestamp");
            let end = target + 10 * gst::ClockTime::SECOND;
            assert!(pts >= target && pts < end, "seek {number} to {target}: a stale frame of {pts}");
        }
    }
    stop(&pipeline);
}

fn change_states() {
    let pipeline = launch(&format!(
        "nvbatcher name=b ! nvinference model={MODEL} ! nvunbatcher name=u \
         videotestsrc ! b.sink_0  u.src_0 ! nvsink  videotestsrc is-live=true ! b.sink_1  u.src_1 ! fakesink sync=true"
    ));
    let states = [gst::State::Playing, gst::State::Null, gst::State::Paused, gst::State::Ready];
    for number in 0..CYCLES {
        // Every pair of neighbours, in both directions.
        pipeline.set_state(states[(number + number / 4 + number / 16) % 4]).expect("it gets there");
        if number % 3 == 0 {
            pipeline.state(clock_time(PATIENCE)).0.expect("it gets there");
        }
    }
    stop(&pipeline);
}
