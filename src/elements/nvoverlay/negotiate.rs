//! Caps, and whether downstream draws the overlay itself.
//!
//! The rule of GStreamer's own overlays: a composition may be attached if the caps have the feature
//! `meta:GstVideoOverlayComposition` and the answer to the allocation query has the meta. Elements that take any caps
//! do not answer so, and get frames that are painted on.

use super::canvas::FORMATS;
use super::imp::NvOverlay;
use crate::elements::video::{self, MAX_SIDE};
use gst::prelude::*;
use gst_video::{CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION as FEATURE, VideoOverlayCompositionMeta};

/// What the pads take and give.
pub(super) fn template() -> gst::Caps {
    let plain = gst_video::VideoCapsBuilder::new()
        .format_list(FORMATS)
        .width_range(1..=MAX_SIDE)
        .height_range(1..=MAX_SIDE)
        .build();
    let mut caps = with_feature(&plain);
    caps.make_mut().append(plain);
    caps
}

/// The same caps with the feature that says that the overlay is in a meta.
fn with_feature(caps: &gst::CapsRef) -> gst::Caps {
    let mut featured = gst::Caps::new_empty();
    for structure in caps.iter() {
        let features = gst::CapsFeatures::new([FEATURE]);
        featured.make_mut().append_structure_full(structure.to_owned(), Some(features));
    }
    featured
}

fn has_feature(caps: &gst::CapsRef) -> bool {
    caps.features(0).is_some_and(|features| features.contains(FEATURE))
}

/// Which way caps are carried from one pad to the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// What downstream takes, as the sink pad may say it: with the meta means also without.
    Up,
    /// What upstream gives, as the src pad may say it: without the meta means also with.
    Down,
}

fn carried(caps: &gst::CapsRef, way: Way) -> gst::Caps {
    let mut all = gst::Caps::new_empty();
    for (structure, features) in caps.iter_with_features() {
        let is_featured = features.contains(FEATURE);
        let own =
            gst::Caps::builder_full().structure_with_features(structure.to_owned(), features.to_owned());
        let mut other = gst::Caps::builder_full();
        let adds = (way == Way::Up) == is_featured;
        if adds {
            let features = if is_featured {
                gst::CapsFeatures::new([gst::CAPS_FEATURE_MEMORY_SYSTEM_MEMORY])
            } else {
                gst::CapsFeatures::new([FEATURE])
            };
            other = other.structure_with_features(structure.to_owned(), features);
        }
        // What leaves the frames as they are comes first.
        let (first, second) =
            if way == Way::Up { (other.build(), own.build()) } else { (own.build(), other.build()) };
        all.merge(first);
        all.merge(second);
    }
    all
}

impl NvOverlay {
    pub(super) fn answer_caps(&self, pad: &gst::Pad, query: &mut gst::query::Caps) {
        let (other, way) =
            if *pad == self.sinkpad { (&self.srcpad, Way::Up) } else { (&self.sinkpad, Way::Down) };
        let template = pad.pad_template_caps();
        let peer = other.peer_query_caps(Some(&template));
        let caps = carried(&peer, way).intersect_with_mode(&template, gst::CapsIntersectMode::First);
        video::answer_caps(query, &caps);
    }

    /// Agrees with downstream on caps for `upstream`, and on who draws; whether that worked, and whether to attach.
    pub(super) fn negotiate(&self, upstream: &gst::Caps) -> (bool, bool) {
        let featured = if has_feature(upstream) { upstream.clone() } else { with_feature(upstream) };
        let offered = has_feature(upstream) || {
            // Who takes anything at all draws nothing.
            let taken = self.srcpad.peer_query_caps(None);
            !taken.is_any() && taken.can_intersect(&featured) && self.srcpad.peer_query_accept_caps(&featured)
        };
        if offered {
            let agreed = self.srcpad.push_event(gst::event::Caps::new(&featured));
            let mut query = gst::query::Allocation::new(Some(&featured), false);
            let attach = agreed
                && self.srcpad.peer_query(&mut query)
                && query.find_allocation_meta::<VideoOverlayCompositionMeta>().is_some();
            if attach || has_feature(upstream) {
                return (agreed, attach);
            }
        }
        (self.srcpad.push_event(gst::event::Caps::new(upstream)), false)
    }
}
