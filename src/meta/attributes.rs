//! What a second model says about an object, on the object's region.
//!
//! Two parameter structures, one per model each:
//!
//! * `classification`: `label_id` (int), `label` (string), `confidence` (double), `model` (string);
//! * `embedding`: `model` (string), `dims` (uint), `data` (`GBytes`: f32, little-endian, length 1).
//!
//! What a second model has found *in* an object is a region of its own, with the parameter structure `parent`: `region`
//! (uint), the number of the object's region.
//!
//! A region is named by its number among the regions of its buffer, which stays the same as long as nobody takes one
//! off: copies have them in the same order.

use super::detections::{self, MAX_REGIONS};
use super::relation::{Place, Relations};
use super::text::without_nul;
use crate::output::{AttributeRecord, EmbeddingForm, EmbeddingRecord, MAX_LABEL_BYTES, bounded_text};
use crate::vision::decode::MAX_DIMS;
use crate::vision::{Rect, Size};
use gst_video::VideoRegionOfInterestMeta;

/// Most of each that are read from one region.
const MAX_ATTRIBUTES: usize = 16;

/// An object on a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot<'a> {
    /// Its number among the regions of the buffer.
    pub place: usize,
    /// Its label.
    pub label: &'a str,
    /// Where it is, in pixels of the frame, not clamped.
    pub rect: Rect,
    /// Its identity, if a tracker has given it one.
    pub track: Option<i64>,
}

/// Calls `visit` with each object on a frame of size `frame`, in the order in which they were attached. Those with a
/// number that is not finite are left out.
pub fn each_object(buffer: &gst::BufferRef, frame: Size, mut visit: impl FnMut(Spot<'_>)) {
    let regions = buffer.iter_meta::<VideoRegionOfInterestMeta>().take(MAX_REGIONS);
    for (place, region) in regions.enumerate() {
        let rect = detections::rect(&region, frame);
        if !rect.is_finite() {
            continue;
        }
        let label = detections::label_of(&region);
        let track = detections::track_id(&region);
        visit(Spot { place, label: &label, rect, track });
    }
}

/// Writes on the object at `place` of what class `model` takes it to be, also into the relation meta if there is one.
/// False if there is no such object.
pub fn classify(buffer: &mut gst::BufferRef, place: usize, found: &AttributeRecord) -> bool {
    let label = without_nul(&found.label).into_owned();
    let said = gst::Structure::builder("classification")
        .field("label_id", i32::try_from(found.label_id).unwrap_or(i32::MAX))
        .field("label", &label)
        .field("confidence", found.confidence)
        .field("model", &*without_nul(&found.model))
        .build();
    match buffer.iter_meta_mut::<VideoRegionOfInterestMeta>().nth(place) {
        Some(mut region) => region.add_param(said),
        None => return false,
    }
    let place = buffer.iter_meta::<VideoRegionOfInterestMeta>().nth(place).map(|region| Place::of(&region));
    if let Some(place) = place
        && let Some(mut relations) = Relations::existing(buffer)
        && let Some(object) = relations.object(&place)
    {
        relations.add_class(object, &label, found.confidence as f32);
    }
    true
}

/// Writes the vector that `model` gives for the object at `place` onto it. False if there is no such object.
pub fn embed(buffer: &mut gst::BufferRef, place: usize, model: &str, vector: &[f32]) -> bool {
    let Some(mut region) = buffer.iter_meta_mut::<VideoRegionOfInterestMeta>().nth(place) else {
        return false;
    };
    let data: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    region.add_param(
        gst::Structure::builder("embedding")
            .field("model", &*without_nul(model))
            .field("dims", u32::try_from(vector.len()).unwrap_or(u32::MAX))
            .field("data", glib::Bytes::from_owned(data))
            .build(),
    );
    true
}

/// Writes on the regions from number `first` on that they were found in the one at `place`.
pub(super) fn adopt(buffer: &mut gst::BufferRef, place: usize, first: usize) {
    let Ok(region) = u32::try_from(place) else { return };
    let id = buffer.iter_meta::<VideoRegionOfInterestMeta>().nth(place).map_or(0, |parent| parent.id());
    for mut child in buffer.iter_meta_mut::<VideoRegionOfInterestMeta>().skip(first) {
        child.add_param(gst::Structure::builder("parent").field("region", region).build());
        // For those who go by it. 0 is also that of regions that have none.
        child.set_parent_id(id);
    }
}

/// The number of the region that this one was found in, if it was found in one.
pub(super) fn parent(region: &gst::MetaRef<'_, VideoRegionOfInterestMeta>) -> Option<usize> {
    usize::try_from(region.param("parent")?.get::<u32>("region").ok()?).ok()
}

/// What second models said about an object. What is not as it should be is left out.
pub(super) fn read(
    region: &gst::MetaRef<'_, VideoRegionOfInterestMeta>,
) -> (Vec<AttributeRecord>, Vec<EmbeddingRecord>) {
    let named =
        |name: &'static str| region.params().filter(move |param| param.has_name(name)).take(MAX_ATTRIBUTES);
    let attributes = named("classification").filter_map(attribute).collect();
    (attributes, named("embedding").filter_map(embedding).collect())
}

fn attribute(found: &gst::StructureRef) -> Option<AttributeRecord> {
    let text = |field| bounded_text(found.get::<&str>(field).unwrap_or_default(), MAX_LABEL_BYTES);
    let confidence = found.get::<f64>("confidence").ok().filter(|confidence| !confidence.is_nan())?;
    let label_id = found.get::<i32>("label_id").ok().and_then(|id| u32::try_from(id).ok())?;
    Some(AttributeRecord::new(text("model"), text("label"), label_id, confidence))
}

fn embedding(found: &gst::StructureRef) -> Option<EmbeddingRecord> {
    let model = bounded_text(found.get::<&str>("model").unwrap_or_default(), MAX_LABEL_BYTES);
    Some(EmbeddingRecord { model, vector: vector(found)?.into(), form: EmbeddingForm::default() })
}

/// The numbers of an `embedding`; `None` unless all are there and finite.
pub(super) fn vector(found: &gst::StructureRef) -> Option<Vec<f32>> {
    let data = found.get::<glib::Bytes>("data").ok()?;
    let dims = usize::try_from(found.get::<u32>("dims").ok()?).ok()?;
    if dims == 0 || dims > MAX_DIMS || data.len() != 4 * dims {
        return None;
    }
    let (numbers, _) = data.as_chunks::<4>();
    let vector: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    vector.iter().all(|value| value.is_finite()).then_some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::{Detection, Landmarks};

    const FRAME: Size = Size::new(100, 50);

    fn frame_with(labels: &[&str]) -> gst::Buffer {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        for (at, label) in labels.iter().enumerate() {
            let bbox = Rect::from_corners(10.0 * at as f32, 0.0, 10.0 * at as f32 + 8.0, 20.0);
            let detection = Detection { bbox, class: 1, confidence: 0.5, landmarks: Landmarks::new() };
            let found = detections::Found { label, detection: &detection };
            detections::attach(buffer.get_mut().unwrap(), FRAME, &[found]);
        }
        buffer
    }

    fn blue(model: &str) -> AttributeRecord {
        AttributeRecord::new(model.to_owned(), "blue".to_owned(), 3, 0.75)
    }

    #[test]
    fn objects_are_named_by_their_number() {
        let buffer = frame_with(&["car", "person"]);
        let mut seen = Vec::new();
        each_object(&buffer, FRAME, |spot| seen.push((spot.place, spot.label.to_owned(), spot.rect.x_min)));
        assert_eq!(seen, [(0, "car".to_owned(), 0.0), (1, "person".to_owned(), 10.0)]);
    }

    #[test]
    fn what_is_said_of_one_object_stands_on_that_one_also_in_a_copy() {
        let mut buffer = frame_with(&["car", "person"]);
        let frame = buffer.get_mut().unwrap();
        assert!(classify(frame, 1, &blue("colour")));
        assert!(classify(frame, 1, &blue("other")));
        assert!(embed(frame, 1, "reid", &[0.6, -0.8]));
        let read = detections::read(&buffer.copy(), FRAME).detections;
        assert_eq!((read[0].attributes.len(), read[0].embeddings.len()), (0, 0));
        assert_eq!(read[1].attributes, [blue("colour"), blue("other")]);
        let (model, vector) = ("reid".to_owned(), vec![0.6, -0.8].into());
        assert_eq!(read[1].embeddings, [EmbeddingRecord { model, vector, form: EmbeddingForm::Base64 }]);
    }

    #[test]
    fn there_is_nothing_to_write_on_where_there_is_no_object() {
        let mut buffer = frame_with(&["car"]);
        let frame = buffer.get_mut().unwrap();
        assert!(!classify(frame, 1, &blue("colour")));
        assert!(!embed(frame, usize::MAX, "reid", &[1.0]));
    }

    #[test]
    fn what_is_not_as_it_should_be_is_not_read() {
        let mut buffer = frame_with(&["car"]);
        let bytes = |len: usize| glib::Bytes::from_owned(vec![0xff_u8; len]);
        let structures = [
            gst::Structure::new_empty("classification"),
            gst::Structure::builder("classification").field("label_id", -1).field("confidence", 0.5).build(),
            gst::Structure::builder("classification")
                .field("label_id", 1)
                .field("confidence", f64::NAN)
                .build(),
            gst::Structure::builder("embedding").field("dims", 3_u32).field("data", bytes(4)).build(),
            gst::Structure::builder("embedding").field("dims", 1_u32).field("data", bytes(4)).build(),
            gst::Structure::builder("embedding").field("dims", u32::MAX).field("data", bytes(4)).build(),
            gst::Structure::new_empty("embedding"),
        ];
        for structure in structures {
            let mut regions = buffer.get_mut().unwrap().iter_meta_mut::<VideoRegionOfInterestMeta>();
            regions.next().unwrap().add_param(structure);
        }
        let read = detections::read(&buffer, FRAME).detections;
        assert_eq!((read[0].attributes.len(), read[0].embeddings.len()), (0, 0));
    }
}
