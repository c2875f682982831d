//! Adds feeds to a pipeline that plays, and removes them again, while the others go on.
//!
//! ```text
//! ./dev run cargo run --release --example add_remove -- models/nanodet-g-320.onnx a.mp4 b.mp4 c.mp4
//! ```
//!
//! Each feed joins when the one before it has given some frames, loops its clip, and leaves after some more. All of it
//! is done on one thread: what the streams have to say comes to it through a channel.

use anyhow::{Context as _, Result, bail};
use gst::prelude::*;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// Frames of a feed after which the next one joins.
const JOIN_AFTER: u64 = 30;

/// Frames of a feed after which it is stopped.
const STAY_FOR: u64 = 150;

/// How long all feeds may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the streams tell.
enum News {
    Frame { feed: usize, count: u64 },
    Ended { feed: usize },
    Failed { what: String },
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().context("usage: add_remove MODEL CLIP...")?;
    let clips: Vec<String> = arguments.collect();
    gst::init()?;
    add_remove(Path::new(&model), &clips, |line| println!("{line}"))
}

/// Has the clips join and leave one after the other, with a line of text for each.
pub(crate) fn add_remove(model: &Path, clips: &[String], mut report: impl FnMut(&str)) -> Result<()> {
    let pipeline = gst::Pipeline::new();
    let batcher = gst::ElementFactory::make("nvbatcher").build()?;
    let inference = gst::ElementFactory::make("nvinference").property("model", model).build()?;
    let unbatcher = gst::ElementFactory::make("nvunbatcher").build()?;
    pipeline.add_many([&batcher, &inference, &unbatcher])?;
    gst::Element::link_many([&batcher, &inference, &unbatcher])?;
    pipeline.set_state(gst::State::Playing).ok();
    let outcome = run(&pipeline, [&batcher, &unbatcher], clips, &mut report);
    pipeline.set_state(gst::State::Null)?;
    outcome
}

fn run(
    pipeline: &gst::Pipeline,
    ends: [&gst::Element; 2],
    clips: &[String],
    report: &mut dyn FnMut(&str),
) -> Result<()> {
    let (tell, told) = channel();
    let failures = tell.clone();
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            failures.send(News::Failed { what: format!("{} ({:?})", error.error(), error.debug()) }).ok();
        }
        gst::BusSyncReply::Drop
    });

    // Feeds that have not joined are not in it yet, those that have left are None.
    let mut feeds: Vec<Option<Feed>> = Vec::new();
    let mut frames = vec![0; clips.len()];
    loop {
        let next = feeds.len();
        let due = next == 0 || frames.get(next - 1).is_some_and(|frames| *frames >= JOIN_AFTER);
        if let Some(clip) = clips.get(next).filter(|_| due) {
            feeds.push(Some(Feed::join(pipeline, ends, next, clip, &tell)?));
            report(&format!("feed {next} joins: {clip}"));
        }
        if feeds.len() == clips.len() && feeds.iter().all(Option::is_none) {
            return Ok(());
        }
        match told.recv_timeout(PATIENCE).context("no feed gives anything")? {
            News::Frame { feed, count } => {
                frames[feed] = count;
                if count == STAY_FOR
                    && let Some(feed) = feeds.get(feed).and_then(Option::as_ref)
                {
                    feed.stop();
                }
            }
            News::Ended { feed } => {
                if let Some(gone) = feeds.get_mut(feed).and_then(Option::take) {
                    gone.leave(pipeline, ends)?;
                    report(&format!("feed {feed} leaves after {} frames", frames[feed]));
                }
            }
            News::Failed { what } => bail!(what),
        }
    }
}

/// A feed that is part of the pipeline.
struct Feed {
    source: gst::Element,
    sink: gst::Element,
    sink_pad: gst::Pad,
    src_pad: gst::Pad,
}

impl Feed {
    /// The way out first, so that no frame comes to a pad that is not linked.
    fn join(
        pipeline: &gst::Pipeline,
        [batcher, unbatcher]: [&gst::Element; 2],
        number: usize,
        clip: &str,
        tell: &Sender<News>,
    ) -> Result<Self> {
        let source = gst::ElementFactory::make("nvfeed")
            .property("uri", glib::filename_to_uri(Path::new(clip).canonicalize()?, None)?)
            .property("loop", true)
            .build()?;
        // async=false: the pipeline, which plays, does not wait for it.
        let sink = gst::ElementFactory::make("fakesink").property("async", false).build()?;
        pipeline.add_many([&source, &sink])?;

        let src_pad =
            unbatcher.request_pad_simple(&format!("src_{number}")).context("no pad at nvunbatcher")?;
        let last = sink.static_pad("sink").context("a fakesink has a pad")?;
        listen(&last, number, tell.clone());
        src_pad.link(&last)?;
        sink.sync_state_with_parent()?;

        let sink_pad =
            batcher.request_pad_simple(&format!("sink_{number}")).context("no pad at nvbatcher")?;
        source.static_pad("src").context("nvfeed has a pad")?.link(&sink_pad)?;
        source.sync_state_with_parent()?;
        Ok(Self { source, sink, sink_pad, src_pad })
    }

    /// Asks for the end: what is on its way arrives, and then EOS.
    fn stop(&self) {
        self.source.emit_by_name::<()>("stop", &[]);
    }

    /// Takes it out of the pipeline.
    fn leave(self, pipeline: &gst::Pipeline, [batcher, unbatcher]: [&gst::Element; 2]) -> Result<()> {
        // A state that the pipeline takes meanwhile is not for them any more.
        for element in [&self.source, &self.sink] {
            element.set_locked_state(true);
            element.set_state(gst::State::Null)?;
        }
        batcher.release_request_pad(&self.sink_pad);
        unbatcher.release_request_pad(&self.src_pad);
        pipeline.remove_many([&self.source, &self.sink])?;
        Ok(())
    }
}

/// Tells of every frame that comes to a pad, and of the end.
fn listen(pad: &gst::Pad, feed: usize, tell: Sender<News>) {
    let counter = AtomicU64::new(0);
    let wanted = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(wanted, move |_, info| {
        if info.buffer().is_some() {
            let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
            tell.send(News::Frame { feed, count }).ok();
        } else if info.event().is_some_and(|event| event.type_() == gst::EventType::Eos) {
            tell.send(News::Ended { feed }).ok();
        }
        gst::PadProbeReturn::Ok
    });
}
