//! From the metas of a frame to what is drawn. Nothing is copied: regions borrow what stands on the frame.

use crate::meta::detections::{self, MAX_REGIONS};
use crate::overlay::{Attribute, Region, Track, TrackState};
use crate::vision::Size;
use gst_video::VideoRegionOfInterestMeta;

/// Most answers of further models that are read from one region: no label has room for more.
const MAX_ATTRIBUTES: usize = 8;

type Meta<'a> = gst::MetaRef<'a, VideoRegionOfInterestMeta>;

/// The metas of the regions, for [`region`] to borrow from.
pub(super) fn metas(buffer: &gst::BufferRef) -> Vec<Meta<'_>> {
    buffer.iter_meta::<VideoRegionOfInterestMeta>().take(MAX_REGIONS).collect()
}

/// One region of a frame of size `frame`, whoever attached it. `kind` is its type.
///
/// What is missing or no number is left out; a box that is no box is the overlay's to leave out.
pub(super) fn region<'a>(meta: &'a Meta<'_>, kind: &'a str, frame: Size) -> Region<'a> {
    let detection = meta.param("detection");
    let label = detection.and_then(|found| found.get::<&str>("label").ok());
    let class = detection.and_then(|found| found.get::<i32>("label_id").ok());
    Region {
        box_in_frame: detections::rect(meta, frame),
        label: label.unwrap_or(kind),
        class: class.and_then(|class| u32::try_from(class).ok()),
        confidence: detection.and_then(|found| number(found, "confidence")),
        track: meta.param("object_id").and_then(track),
        attributes: attributes(meta),
    }
}

fn attributes<'a>(meta: &'a Meta<'_>) -> Vec<Attribute<'a>> {
    let answers = meta.params().filter(|param| param.name() == "classification");
    let answers = answers.filter_map(|answer| {
        let label = answer.get::<&str>("label").ok()?;
        Some(Attribute { label, confidence: number(answer, "confidence") })
    });
    answers.take(MAX_ATTRIBUTES).collect()
}

fn track(object_id: &gst::StructureRef) -> Option<Track> {
    let state = object_id.get::<&str>("state").map(TrackState::parse).unwrap_or_default();
    Some(Track { id: detections::id(object_id)?, state })
}

#[expect(clippy::cast_possible_truncation, reason = "what is too large becomes infinite, and is left out")]
fn number(structure: &gst::StructureRef, field: &str) -> Option<f32> {
    detections::number(structure, field).map(|number| number as f32)
}
