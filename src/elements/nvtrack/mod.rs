//! `nvtrack`: gives detections an identity over time.
//!
//! | file | job |
//! |---|---|
//! | `imp.rs` | the element: properties, caps, events, state changes |
//! | `following.rs` | from frames to the tracker and back: status, time, classes, when to begin anew |
//! | `settings.rs` | what the user asks for |
//!
//! Which detection belongs to which track is decided by [`crate::track::Tracker`].

mod following;
#[expect(missing_docs, reason = "the accessors the derive makes are documented by the blurbs")]
mod imp;
mod settings;

use glib::prelude::*;

pub use settings::Algorithm;

glib::wrapper! {
    /// SECTION:element-nvtrack
    ///
    /// Reads the regions that a detector has attached to the frames of one feed (`GstVideoRegionOfInterestMeta`) and
    /// writes the structure `object_id` into those that belong to a track: `id`, `state`, `age` (frames), `speed` (pixels
    /// a second), `direction` (degrees, 0 to the right, 90 down) and `stationary`. The pixels are not touched. It stands
    /// behind a source pad of `nvunbatcher`, or in any stream of raw video behind any detector that attaches regions.
    ///
    /// Identities are whole numbers above zero, and are given once in the process. What another tracker has written into
    /// a region that is in a track here is replaced; a region that is in none is left alone.
    ///
    /// ## Algorithms
    ///
    /// `bytetrack` pairs detections and predicted boxes in rounds by confidence: give it what the detector is unsure of,
    /// too (`nvinference score-threshold=0.3`): those go on with a track through an occlusion, and begin none. With
    /// regions that have an `embedding`, likeness counts as well. `sort` pairs once, `iou` without a motion model; both
    /// look at detections of `high-threshold` and above only. `src/track` names the papers.
    ///
    /// ## Frames without inference
    ///
    /// A frame whose meta `nv-frame` says anything but `inferred` (left out by `interval`, failed, late) gets a region
    /// at the predicted place for each track that was there before, with state `coasted`; so does an inferred frame that
    /// misses a track, up to `coast-frames` in a row. In a stream without that meta every frame counts as inferred.
    ///
    /// ## Where tracks end
    ///
    /// All tracks end with a new session or another name of the feed in `nv-frame`, with another stream, segment or
    /// frame size, with a flush, and when timestamps go back, or forward by more than 5 s; where a frame is DISCONT, by
    /// more than 1 s or without timestamps. A DISCONT with less says only that frames are missing, which tracks outlive.
    /// One track ends after `max-age` frames or 30 s without a detection, or, when there are `max-tracks`, to make room:
    /// the oldest that is lost, else coasted, else tentative. A confirmed one never does; then new ones are rejected,
    /// counted, and reported as `track-rejected`.
    ///
    /// ## Example
    ///
    /// ```text
    /// gst-launch-1.0 filesrc location=.cache/clips/bikes.mp4 ! decodebin ! nvinference model=models/nanodet-g-320.onnx score-threshold=0.3 ! nvtrack ! nvsink location=tracks.jsonl
    /// ```
    ///
    /// Since: 0.1.0
    pub struct NvTrack(ObjectSubclass<imp::NvTrack>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element.
pub(super) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "nvtrack", gst::Rank::NONE, NvTrack::static_type())
}
