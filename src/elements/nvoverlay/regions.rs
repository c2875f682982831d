//! From the metas of a frame to what is drawn. Nothing is copied: regions borrow what stands on the frame.

use crate::meta::detections::MAX_REGIONS;
use crate::overlay::{Attribute, Region, Track, TrackState};
use crate::vision::{Rect, Size};
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
        box_in_frame: detection
            .and_then(|found| corners(found, frame))
            .unwrap_or_else(|| pixels(meta.rect())),
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
    let id = object_id.get::<i32>("id").map(i64::from).or_else(|_| object_id.get::<i64>("id")).ok()?;
    let state = object_id.get::<&str>("state").map(TrackState::parse).unwrap_or_default();
    Some(Track { id, state })
}

fn corners(found: &gst::StructureRef, frame: Size) -> Option<Rect> {
    let (width, height) = (frame.width as f32, frame.height as f32);
    Some(Rect::from_corners(
        number(found, "x_min")? * width,
        number(found, "y_min")? * height,
        number(found, "x_max")? * width,
        number(found, "y_max")? * height,
    ))
}

fn pixels((x, y, width, height): (u32, u32, u32, u32)) -> Rect {
    let (x, y) = (x as f32, y as f32);
    Rect::from_corners(x, y, x + width as f32, y + height as f32)
}

/// A number in whichever width its writer chose.
#[expect(clippy::cast_possible_truncation, reason = "what is too large becomes infinite, and is left out")]
fn number(structure: &gst::StructureRef, field: &str) -> Option<f32> {
    structure.get::<f64>(field).map(|number| number as f32).or_else(|_| structure.get::<f32>(field)).ok()
}
