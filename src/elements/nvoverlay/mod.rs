//! `nvoverlay`: draws what stands on a frame onto its picture.
//!
//! | file | job |
//! |---|---|
//! | `imp.rs` | the element: properties, pads, the way of a frame |
//! | `negotiate.rs` | caps, and whether downstream draws the overlay itself |
//! | `regions.rs` | from the metas of a frame to what is drawn |
//! | `canvas.rs` | from a frame in memory to what is painted on |
//! | `compose.rs` | pieces as a `GstVideoOverlayComposition` |
//! | `settings.rs` | what the user asks for |
//!
//! What is drawn, and where, is decided by [`crate::overlay`].

mod canvas;
mod compose;
#[expect(missing_docs, reason = "the accessors the derive makes are documented by the blurbs")]
mod imp;
mod negotiate;
mod regions;
#[expect(missing_docs, reason = "the macro of the flags documents nothing of what it makes")]
mod settings;

use glib::prelude::*;

pub use settings::{Palette, Style};

glib::wrapper! {
    /// SECTION:element-nvoverlay
    ///
    /// Draws what stands on a frame: a box and a label for every `GstVideoRegionOfInterestMeta`, whoever attached it,
    /// with the confidence, the identity of its track, and what further models said of it (structures `detection`,
    /// `object_id` and `classification`); a tail behind every track; and from the meta `nv-frame` a line with the
    /// name of the feed, its rate and, if it was not inferred, its status. A region that a tracker has predicted
    /// (`coasted`) has its corners only.
    ///
    /// ## Where it is drawn
    ///
    /// Where downstream takes `GstVideoOverlayCompositionMeta` and says so in its caps and in its answer to the
    /// allocation query, as video sinks that draw on a GPU do, the pieces are attached and the picture stays as it is.
    /// Otherwise they are painted into the frame, which is copied only if somebody else holds it, too. A frame on
    /// which nothing is drawn passes untouched, and so does one that cannot be drawn on, which `stats` counts.
    ///
    /// ## Sizes and colours
    ///
    /// Text and lines grow with the frame, more slowly than it; `scale` multiplies them. Frames that are less than
    /// four lines of text high have none. Text has characters of the Latin, Greek and Cyrillic scripts, others are
    /// empty boxes. A colour stays with its track, or with its class (`palette`).
    ///
    /// On one frame 512 regions are drawn; those beyond it are counted in `stats`.
    ///
    /// ## Example
    ///
    /// ```text
    /// gst-launch-1.0 filesrc location=.cache/clips/carphone_pristine.mp4 ! decodebin \
    ///   ! nvinference model=models/nanodet-g-320.onnx ! nvoverlay ! videoconvert ! fakesink
    /// ```
    ///
    /// Since: 0.1.0
    pub struct NvOverlay(ObjectSubclass<imp::NvOverlay>)
        @extends gst::Element, gst::Object;
}

/// Registers the element.
pub(super) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "nvoverlay", gst::Rank::NONE, NvOverlay::static_type())
}
