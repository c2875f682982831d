//! `nvunbatcher`: gives every frame of a batch back to its feed.

mod events;
#[expect(missing_docs, reason = "the accessors the derive makes are documented by the blurbs")]
mod imp;
mod known;
mod outlets;
mod push;

use glib::prelude::*;

glib::wrapper! {
    /// SECTION:element-nvunbatcher
    ///
    /// Gives every frame of a batch back to its feed, in order. `src_N` belongs to the feed that came in at
    /// `nvbatcher`'s `sink_N`, with that feed's exact caps, segment, timestamps, flags and events. Every `src_%u`
    /// pushes by itself, so a slow or blocked branch holds up its own feed only: the queue of a pad is bounded by the
    /// `max-in-flight` of its feed at the batcher. Pads whose branches do not block share as many threads as there are
    /// cores; one that blocks gets a thread, after 4 ms (20 ms if others get on) when it does so for the first time.
    ///
    /// A feed without a `src_%u` pad is dropped and counted (`unlinked`), which is no error. A pad may be requested
    /// before its feed exists; the batcher then waits for that feed before it ends. A linked pad whose feed gives
    /// nothing for a second while others flow gets a GAP, so that a pipeline with ordinary sinks still prerolls.
    ///
    /// Every frame carries a `nv-frame` meta with its feed, sequence number, status and provenance.
    ///
    /// ## Example
    ///
    /// ```text
    /// gst-launch-1.0 nvbatcher name=b ! nvinference model=models/nanodet-g-320.onnx ! nvunbatcher name=u \
    ///   videotestsrc num-buffers=30 ! b.sink_0  u.src_0 ! nvsink location=a.jsonl
    /// ```
    ///
    /// Since: 0.1.0
    pub struct NvUnbatcher(ObjectSubclass<imp::NvUnbatcher>)
        @extends gst::Element, gst::Object;
}

/// Registers the element.
pub(super) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "nvunbatcher", gst::Rank::NONE, NvUnbatcher::static_type())
}
