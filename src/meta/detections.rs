//! Detections on a buffer, as `GstVideoRegionOfInterestMeta`: one meta per detection.
//!
//! The type of the region is the label; its rectangle is in whole pixels of the frame. The parameter
//! structure `detection` carries `label_id` (int), `label` (string), `confidence` (double) and
//! `x_min y_min x_max y_max` (double, 0..1 of the frame); `landmarks`, if the model has any, carries
//! `points` (array of double: x, y, x, y … as parts of the frame). A tracker adds `object_id`
//! ([`super::tracks`]).
//! Parts of the frame stay right when a later element scales the video.
//!
//! The type of a region is a `GQuark`: GLib keeps each different text for ever. Labels must therefore come
//! from a fixed list, never from what is seen in the video.

use super::attributes;
use super::text::{roi_type, without_nul};
use crate::output::{DetectionRecord, MAX_LABEL_BYTES, TrackMark, bounded_text};
use crate::vision::{Detection, Rect, Size};
use gst_video::VideoRegionOfInterestMeta;
use std::borrow::Cow;

/// Most regions read from one frame; far above `max-detections` (300). More are counted as rejected.
pub const MAX_REGIONS: usize = 4096;

/// Most landmarks read from one region; the largest common face mesh has 478.
const MAX_LANDMARKS: usize = 1024;

/// x, y, width and height in whole pixels.
pub type PixelRect = (u32, u32, u32, u32);

/// A detection and its label.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Name of the class, from the model's list.
    pub label: &'a str,
    /// The detection; its box and landmarks are in pixels of the frame.
    pub detection: &'a Detection,
}

/// What [`read`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Regions {
    /// The regions of the frame, in the order in which they were attached.
    pub detections: Vec<DetectionRecord>,
    /// Regions left out: a number in them was not finite, or there were more than [`MAX_REGIONS`].
    pub rejected: u64,
}

/// Attaches one region per detection to a frame of size `frame` and returns how many that was.
///
/// Boxes are clamped into the frame; the rectangle of the region covers every pixel that the box touches.
/// Left out are detections with a number that is not finite, and all of them if the frame is empty.
pub fn attach(buffer: &mut gst::BufferRef, frame: Size, found: &[Found<'_>]) -> usize {
    let usable = found.iter().filter(|found| is_usable(found.detection, frame));
    let attach_one = |found: &Found<'_>| {
        attach_one(buffer, frame, found);
    };
    usable.map(attach_one).count()
}

/// Whether a detection can be attached to a frame of this size.
pub(super) fn is_usable(detection: &Detection, frame: Size) -> bool {
    if frame.width == 0 || frame.height == 0 {
        return false;
    }
    let points_finite = detection.landmarks.iter().flatten().all(|value| value.is_finite());
    detection.bbox.is_finite() && detection.confidence.is_finite() && points_finite
}

/// The rectangle of the region of a usable box.
pub(super) fn pixel_rect(box_in_frame: &Rect, frame: Size) -> PixelRect {
    let box_in_frame = box_in_frame.clamped(frame);
    let (x, width) = pixels(box_in_frame.x_min, box_in_frame.x_max, frame.width);
    let (y, height) = pixels(box_in_frame.y_min, box_in_frame.y_max, frame.height);
    (x, y, width, height)
}

/// Attaches a usable detection.
pub(super) fn attach_one<'a>(
    buffer: &'a mut gst::BufferRef,
    frame: Size,
    found: &Found<'_>,
) -> gst::MetaRefMut<'a, VideoRegionOfInterestMeta, gst::meta::Standalone> {
    let Found { label, detection } = *found;
    let class = Some(i32::try_from(detection.class).unwrap_or(i32::MAX));
    let mut region = add_region(buffer, frame, (label, class), &detection.bbox, detection.confidence);
    if !detection.landmarks.is_empty() {
        let parts = detection
            .landmarks
            .iter()
            .take(MAX_LANDMARKS)
            .flat_map(|&[x, y]| [part_of(x, frame.width), part_of(y, frame.height)]);
        let points = gst::Array::new(parts);
        region.add_param(gst::Structure::builder("landmarks").field("points", points).build());
    }
    region
}

/// Adds a region with the parameters of `detection`. The box is finite.
pub(super) fn add_region<'a>(
    buffer: &'a mut gst::BufferRef,
    frame: Size,
    (label, label_id): (&str, Option<i32>),
    box_in_frame: &Rect,
    confidence: f32,
) -> gst::MetaRefMut<'a, VideoRegionOfInterestMeta, gst::meta::Standalone> {
    let bounded = bounded_text(label, MAX_LABEL_BYTES);
    let label = without_nul(&bounded);
    let inside = box_in_frame.clamped(frame);
    let mut detection = gst::Structure::builder("detection")
        .field("label", label.as_ref())
        .field("confidence", f64::from(confidence.clamp(0.0, 1.0)))
        .field("x_min", part_of(inside.x_min, frame.width))
        .field("y_min", part_of(inside.y_min, frame.height))
        .field("x_max", part_of(inside.x_max.max(inside.x_min), frame.width))
        .field("y_max", part_of(inside.y_max.max(inside.y_min), frame.height))
        .build();
    detection.set_if_some("label_id", label_id);
    let mut region = VideoRegionOfInterestMeta::add(buffer, &label, pixel_rect(box_in_frame, frame));
    region.add_param(detection);
    region
}

fn part_of(side: f32, whole: u32) -> f64 {
    f64::from(side) / f64::from(whole)
}

/// The whole pixels from `low` to `high`: the first one, and how many.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the box was clamped into the frame, and a float cast saturates"
)]
fn pixels(low: f32, high: f32, limit: u32) -> (u32, u32) {
    let first = (low.floor() as u32).min(limit);
    let end = (high.ceil() as u32).min(limit);
    (first, end.saturating_sub(first))
}

/// The regions on a frame of size `frame`, whoever attached them.
///
/// A region without the parameters of `detection` gives its rectangle and its type, without class number
/// and confidence.
#[must_use]
pub fn read(buffer: &gst::BufferRef, frame: Size) -> Regions {
    let mut regions = Regions::default();
    // Where in the list each region of the buffer is.
    let mut places = Vec::new();
    for region in buffer.iter_meta::<VideoRegionOfInterestMeta>() {
        let room = regions.detections.len() < MAX_REGIONS;
        let Some(detection) = room.then(|| read_one(&region, frame)).flatten() else {
            regions.rejected += 1;
            places.extend(room.then_some(None));
            continue;
        };
        // What it was found in was there before.
        let parent = attributes::parent(&region).and_then(|place| places.get(place).copied().flatten());
        places.push(u32::try_from(regions.detections.len()).ok());
        regions.detections.push(detection.with_parent(parent));
    }
    regions
}

fn read_one(region: &gst::MetaRef<'_, VideoRegionOfInterestMeta>, frame: Size) -> Option<DetectionRecord> {
    let detection = region.param("detection");
    let label_id = detection
        .and_then(|found| found.get::<i32>("label_id").ok())
        .and_then(|label_id| u32::try_from(label_id).ok());
    let confidence = detection.and_then(|found| number(found, "confidence"));
    let points = region.param("landmarks").map(|points| landmarks(points, frame)).unwrap_or_default();
    let record = DetectionRecord::new(&label_of(region), frame, corners(region, frame))?
        .with_class(label_id, confidence)?
        .with_landmarks(points)?;
    let (attributes, embeddings) = attributes::read(region);
    let track = region.param("object_id").and_then(track);
    Some(record.with_track(track).with_attributes(attributes, embeddings))
}

/// Where it is, in pixels of the frame.
fn corners(region: &gst::MetaRef<'_, VideoRegionOfInterestMeta>, frame: Size) -> [f64; 4] {
    let said = region.param("detection").and_then(normalized_corners);
    said.map_or_else(|| pixel_corners(region.rect()), |corners| scaled(corners, frame))
}

/// The same, as somebody wrote it: it may be anything.
#[expect(clippy::cast_possible_truncation, reason = "what is too large becomes infinite")]
pub(crate) fn rect(region: &gst::MetaRef<'_, VideoRegionOfInterestMeta>, frame: Size) -> Rect {
    let [x_min, y_min, x_max, y_max] = corners(region, frame).map(|side| side as f32);
    Rect { x_min, y_min, x_max, y_max }
}

/// Its identity, if a tracker has given it one.
pub(super) fn track_id(region: &gst::MetaRef<'_, VideoRegionOfInterestMeta>) -> Option<i64> {
    region.param("object_id").and_then(id)
}

/// The identity a tracker has written down.
pub(crate) fn id(object_id: &gst::StructureRef) -> Option<i64> {
    object_id.get::<i32>("id").map(i64::from).or_else(|_| object_id.get::<i64>("id")).ok()
}

/// Name of the class of a region: what its detection says, else its type.
pub(super) fn label_of<'a>(region: &'a gst::MetaRef<'_, VideoRegionOfInterestMeta>) -> Cow<'a, str> {
    let said = region.param("detection").and_then(|found| found.get::<&str>("label").ok());
    said.map_or_else(|| Cow::Owned(roi_type(region)), Cow::Borrowed)
}

fn normalized_corners(found: &gst::StructureRef) -> Option<[f64; 4]> {
    Some([number(found, "x_min")?, number(found, "y_min")?, number(found, "x_max")?, number(found, "y_max")?])
}

fn scaled([x_min, y_min, x_max, y_max]: [f64; 4], frame: Size) -> [f64; 4] {
    let (width, height) = (f64::from(frame.width), f64::from(frame.height));
    [x_min * width, y_min * height, x_max * width, y_max * height]
}

fn pixel_corners((x, y, width, height): (u32, u32, u32, u32)) -> [f64; 4] {
    let (x, y) = (f64::from(x), f64::from(y));
    [x, y, x + f64::from(width), y + f64::from(height)]
}

fn landmarks(points: &gst::StructureRef, frame: Size) -> Vec<[f64; 2]> {
    let Ok(points) = points.get::<gst::ArrayRef<'_>>("points") else { return Vec::new() };
    // What is no number reads as not finite, so that the region is rejected instead of misread.
    let value = |value: &glib::SendValue| value.get::<f64>().unwrap_or(f64::NAN);
    let pairs = points.as_slice().chunks_exact(2).take(MAX_LANDMARKS);
    pairs
        .filter_map(|pair| match pair {
            [x, y] => Some([value(x) * f64::from(frame.width), value(y) * f64::from(frame.height)]),
            _ => None,
        })
        .collect()
}

fn track(object_id: &gst::StructureRef) -> Option<TrackMark> {
    Some(TrackMark {
        id: id(object_id)?,
        state: object_id.get::<String>("state").ok(),
        age: object_id.get::<u32>("age").ok(),
        speed: number(object_id, "speed"),
        direction: number(object_id, "direction"),
        stationary: object_id.get::<bool>("stationary").ok(),
    })
}

/// A number in whichever width its writer chose.
pub(crate) fn number(structure: &gst::StructureRef, field: &str) -> Option<f64> {
    structure.get::<f64>(field).ok().or_else(|| structure.get::<f32>(field).ok().map(f64::from))
}

#[cfg(test)]
mod tests;
