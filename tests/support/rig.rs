//! `nvbatcher ! nvinference ! nvunbatcher` between application sources and sinks, behind verbs.

use super::{PATIENCE, init, tiny_model};
use gst::prelude::*;
use gst_app::{AppSink, AppSrc};

/// One feed of a [`Rig`].
pub(crate) struct RigFeed {
    pub(crate) source: AppSrc,
    pub(crate) sink: AppSink,
    pub(crate) sink_pad: gst::Pad,
}

fn new_source(caps: &gst::Caps, live: bool) -> AppSrc {
    AppSrc::builder()
        .caps(caps)
        .format(gst::Format::Time)
        .is_live(live)
        .block(true)
        .max_buffers(4)
        .max_bytes(0)
        .build()
}

/// See [`Rig::hold_batches`].
pub(crate) struct HeldBatches {
    pad: gst::Pad,
    probe: gst::PadProbeId,
}

impl HeldBatches {
    /// Lets them go.
    pub(crate) fn release(self) {
        self.pad.remove_probe(self.probe);
    }
}

/// A pipeline of feeds.
pub(crate) struct Rig {
    pub(crate) pipeline: gst::Pipeline,
    pub(crate) batcher: gst::Element,
    pub(crate) inference: gst::Element,
    pub(crate) unbatcher: gst::Element,
    pub(crate) feeds: Vec<RigFeed>,
}

impl Rig {
    /// The three elements, with the brightest-cell model.
    pub(crate) fn new() -> Self {
        Self::with_model(&tiny_model("brightest"))
    }

    pub(crate) fn with_model(model: &str) -> Self {
        init();
        let make = |factory| gst::ElementFactory::make(factory).build().expect("a registered element");
        let (batcher, inference, unbatcher) = (make("nvbatcher"), make("nvinference"), make("nvunbatcher"));
        inference.set_property("model", model);
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&batcher, &inference, &unbatcher]).expect("new elements");
        gst::Element::link_many([&batcher, &inference, &unbatcher]).expect("they link");
        Self { pipeline, batcher, inference, unbatcher, feeds: Vec::new() }
    }

    /// Adds a feed; returns its number.
    pub(crate) fn add_feed(&mut self, caps: &gst::Caps, live: bool) -> usize {
        let number = self.feeds.len();
        let source = new_source(caps, live);
        let sink = AppSink::builder().sync(false).async_(false).build();
        self.pipeline
            .add_many([source.upcast_ref::<gst::Element>(), sink.upcast_ref()])
            .expect("new elements");
        let sink_pad =
            self.batcher.request_pad_simple(&format!("sink_{number}")).expect("a pad for another feed");
        let src_pad =
            self.unbatcher.request_pad_simple(&format!("src_{number}")).expect("a pad for another feed");
        source.static_pad("src").expect("a pad").link(&sink_pad).expect("they link");
        src_pad.link(&sink.static_pad("sink").expect("a pad")).expect("they link");
        self.feeds.push(RigFeed { source, sink, sink_pad });
        number
    }

    /// A new source on a newly requested pad of a feed that was released.
    pub(crate) fn replace_source(&mut self, feed: usize, caps: &gst::Caps) {
        let source = new_source(caps, false);
        self.pipeline.add(&source).expect("a new element");
        let sink_pad =
            self.batcher.request_pad_simple(&format!("sink_{feed}")).expect("a pad that was released");
        source.static_pad("src").expect("a pad").link(&sink_pad).expect("they link");
        source.sync_state_with_parent().expect("it starts");
        let old = std::mem::replace(&mut self.feeds[feed].source, source);
        old.set_state(gst::State::Null).expect("it stops");
        self.pipeline.remove(&old).expect("it was there");
        self.feeds[feed].sink_pad = sink_pad;
    }

    /// Keeps batches from leaving the batcher, so that feeds can fill their queues first.
    pub(crate) fn hold_batches(&self) -> HeldBatches {
        let pad = self.batcher.static_pad("src").expect("a pad");
        let kind = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
        let probe = pad.add_probe(kind, |_, _| gst::PadProbeReturn::Ok).expect("a probe that stays");
        HeldBatches { pad, probe }
    }

    pub(crate) fn play(&self) {
        self.pipeline.set_state(gst::State::Playing).expect("the pipeline plays");
    }

    pub(crate) fn push(&self, feed: usize, mut buffer: gst::Buffer, pts: gst::ClockTime) {
        let writable = buffer.get_mut().expect("one owner");
        writable.set_pts(pts);
        self.feeds[feed].source.push_buffer(buffer).expect("the feed takes it");
    }

    pub(crate) fn end(&self, feed: usize) {
        self.feeds[feed].source.end_of_stream().expect("the feed ends");
    }

    /// The next frame of a feed.
    pub(crate) fn pull(&self, feed: usize) -> gst::Sample {
        self.feeds[feed].sink.try_pull_sample(PATIENCE).unwrap_or_else(|| panic!("feed {feed} gives a frame"))
    }

    /// The feed has ended and gives nothing more.
    pub(crate) fn assert_ended(&self, feed: usize) {
        assert!(self.feeds[feed].sink.try_pull_sample(PATIENCE).is_none(), "feed {feed} gives too much");
        assert!(self.feeds[feed].sink.is_eos(), "feed {feed} does not end");
    }

    pub(crate) fn stop(&self) {
        self.pipeline.set_state(gst::State::Null).expect("the pipeline stops");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}
