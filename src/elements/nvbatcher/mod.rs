//! `nvbatcher`: collects the frames of many feeds into batches.

mod core;
mod events;
mod feeds;
mod frames;
#[expect(missing_docs, reason = "the accessors the derive makes are documented by the blurbs")]
mod imp;
mod lanes;
#[expect(missing_docs, reason = "the accessors the derive makes are documented by the blurbs")]
mod pad;
mod pads;
mod queries;
mod timestamps;

use glib::prelude::*;
use glib::subclass::prelude::*;
pub(super) use imp::MOST_FEEDS;

/// Frames in a batch, as long as the user says nothing else.
pub(super) const DEFAULT_MAX_BATCH_SIZE: u32 = 4;
/// Nanoseconds a frame waits for its batch, as long as the user says nothing else.
pub(super) const DEFAULT_MAX_LATENCY: u64 = 50_000_000;
/// The most the user may say: an hour.
pub(super) const LONGEST_LATENCY: u64 = 3_600_000_000_000;

/// What a full queue of a feed does with the next frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvBatcherOverload")]
pub enum OverloadPolicy {
    /// A live feed drops its oldest frame, any other blocks.
    #[default]
    #[enum_value(name = "Auto: drop-oldest if upstream is live, block otherwise", nick = "auto")]
    Auto,
    /// The frame that has waited longest makes room.
    #[enum_value(name = "Drop oldest: the frame that has waited longest makes room", nick = "drop-oldest")]
    DropOldest,
    /// The frame that comes in is dropped.
    #[enum_value(name = "Drop newest: the frame that comes in is dropped", nick = "drop-newest")]
    DropNewest,
    /// The upstream thread waits for room.
    #[enum_value(name = "Block: the upstream thread waits for room", nick = "block")]
    Block,
    /// No frame is lost: the ones that do not fit travel on in order, without inference.
    #[enum_value(
        name = "Pass through: frames that do not fit travel on without inference",
        nick = "pass-through"
    )]
    PassThrough,
}

glib::wrapper! {
    /// SECTION:element-nvbatcher
    ///
    /// Collects the frames of many feeds into batches for one engine. Every `sink_%u` pad is a feed with its own
    /// size, format, rate, segment and timestamps; nothing is scaled or retimed. A batch closes on the first of:
    ///
    /// * it is full (`max-batch-size`);
    /// * every active feed has contributed (a feed that stalled, ended or never began is not waited for);
    /// * its oldest frame has waited `max-latency` since it arrived.
    ///
    /// While downstream is busy with a batch none closes: frames wait in their feed's queue
    /// (`sink_%u::max-size-buffers`), and `sink_%u::overload` says what happens when that is full. Frames behind
    /// the batcher are bounded per feed by `sink_%u::max-in-flight`.
    ///
    /// Batches leave on the `src` pad from a thread of the element, as buffers without memory. `nvinference` and
    /// `nvunbatcher` understand them.
    ///
    /// ## Example
    ///
    /// ```text
    /// gst-launch-1.0 nvbatcher name=b ! nvinference model=models/nanodet-g-320.onnx ! nvunbatcher name=u \
    ///   videotestsrc num-buffers=30 ! b.sink_0  u.src_0 ! nvsink location=a.jsonl \
    ///   videotestsrc num-buffers=30 ! b.sink_1  u.src_1 ! nvsink location=b.jsonl
    /// ```
    ///
    /// Since: 0.1.0
    pub struct NvBatcher(ObjectSubclass<imp::NvBatcher>)
        @extends gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

glib::wrapper! {
    /// The pad of one feed.
    pub struct NvBatcherSinkPad(ObjectSubclass<pad::NvBatcherSinkPad>)
        @extends gst::Pad, gst::Object;
}

/// For the elements that have it inside.
impl NvBatcher {
    /// What was done so far: batches, and the ledger of every feed.
    pub(super) fn known(&self) -> crate::batch::Snapshot {
        self.imp().core.snapshot()
    }
}

/// Registers the element.
pub(super) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "nvbatcher", gst::Rank::NONE, NvBatcher::static_type())
}
