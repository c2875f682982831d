//! Tracks on a buffer: what a tracker needs of the regions there are, and what it says of them.
//!
//! It says it in the parameter structure `object_id` of a region: `id` (int, above zero), `state` (string), `age` (uint,
//! frames), `speed` (double, pixels of the frame a second), `direction` (double, degrees) and `stationary` (boolean).

use super::attributes;
use super::detections::{MAX_REGIONS, add_region, label_of, number, rect};
use super::relation::{self, Place, Relations};
use crate::track::{Mark, Predicted, State};
use crate::vision::{Rect, Size};
use gst_video::VideoRegionOfInterestMeta;
use std::borrow::Cow;

/// Name of the structure.
pub const NAME: &str = "object_id";

/// A region as a tracker sees it.
#[derive(Clone, Debug)]
pub struct Region<'a> {
    /// Where it is, in pixels of the frame, as somebody wrote it: it may be anything.
    pub box_in_frame: Rect,
    /// Name of the class.
    pub label: Cow<'a, str>,
    /// Number of the class; `None` for regions without one.
    pub label_id: Option<i32>,
    /// 0..1, as somebody wrote it; 1 for regions without one.
    pub confidence: f32,
    /// What it looks like, if a model said it: 1 to [`MAX_DIMS`](crate::vision::decode::MAX_DIMS) numbers.
    pub embedding: Option<Vec<f32>>,
}

/// The regions of a frame of size `frame`, in the order in which they were attached; no more than [`MAX_REGIONS`].
#[expect(
    clippy::cast_possible_truncation,
    reason = "pixels of a frame and ratios; a cast of a float saturates"
)]
pub fn regions(buffer: &gst::BufferRef, frame: Size, mut each: impl FnMut(Region<'_>)) {
    for region in buffer.iter_meta::<VideoRegionOfInterestMeta>().take(MAX_REGIONS) {
        let detection = region.param("detection");
        each(Region {
            box_in_frame: rect(&region, frame),
            label: label_of(&region),
            label_id: detection.and_then(|found| found.get::<i32>("label_id").ok()),
            confidence: detection.and_then(|found| number(found, "confidence")).unwrap_or(1.0) as f32,
            embedding: region.param("embedding").and_then(attributes::vector),
        });
    }
}

/// Writes the marks onto the regions, in the order of [`regions`], and into the relation meta if there is one. What
/// another tracker has said of a region is replaced.
pub fn mark(buffer: &mut gst::BufferRef, marks: &[Option<Mark>]) {
    relate(buffer, marks);
    let regions = buffer.iter_meta_mut::<VideoRegionOfInterestMeta>();
    for (mut region, mark) in regions.zip(marks) {
        if let Some(mark) = mark {
            write(&mut region, mark);
        }
    }
}

/// Adds a track to the object of each region that has one.
fn relate(buffer: &mut gst::BufferRef, marks: &[Option<Mark>]) {
    if relation::available().is_err() || Relations::existing(buffer).is_none() {
        return;
    }
    let now = buffer.pts();
    let regions = buffer.iter_meta::<VideoRegionOfInterestMeta>();
    let places: Vec<_> = regions
        .zip(marks)
        .filter_map(|(region, mark)| Some((Place::of(&region), mark.as_ref()?)))
        .map(|(place, mark)| (place, u64::try_from(mark.id).unwrap_or_default(), mark.state == State::Lost))
        .collect();
    let Some(mut relations) = Relations::existing(buffer) else { return };
    for (place, id, is_lost) in places {
        if let Some(object) = relations.object(&place) {
            relations.add_track(object, &relation::Track { id, first_seen: None, last_seen: now, is_lost });
        }
    }
}

fn write<T>(region: &mut gst::MetaRefMut<'_, VideoRegionOfInterestMeta, T>, mark: &Mark) {
    if let Some(there) = region.param(NAME).map(gst::StructureRef::as_ptr) {
        #[expect(unsafe_code, reason = "the bindings have no way to change a parameter")]
        // SAFETY: the structure belongs to the meta, which is borrowed mutably, so nobody else has it; the pointer comes
        // from the list of parameters, which is not changed here.
        let there = unsafe { gst::StructureRef::from_glib_borrow_mut(there.cast_mut()) };
        fill(there, mark);
        return;
    }
    let mut structure = gst::Structure::new_empty(NAME);
    fill(&mut structure, mark);
    region.add_param(structure);
}

fn fill(structure: &mut gst::StructureRef, mark: &Mark) {
    structure.set("id", i32::try_from(mark.id).unwrap_or(i32::MAX));
    structure.set("state", mark.state.as_str());
    structure.set("age", mark.age);
    structure.set("speed", mark.speed);
    structure.set("direction", mark.direction);
    structure.set("stationary", mark.stationary);
}

/// Adds a region for a track on a frame that nobody looked at. False, and nothing is added, if no part of it is in the
/// frame.
pub fn attach(
    buffer: &mut gst::BufferRef,
    frame: Size,
    class: (&str, Option<i32>),
    predicted: &Predicted,
) -> bool {
    let box_in_frame = predicted.box_in_frame.clamped(frame);
    if !box_in_frame.is_finite() || box_in_frame.area() <= 0.0 {
        return false;
    }
    let mut region = add_region(buffer, frame, class, &box_in_frame, predicted.confidence);
    write(&mut region, &predicted.mark);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::detections;
    use crate::track::State;

    const FRAME: Size = Size::new(640, 480);

    const MARK: Mark =
        Mark { id: 7, state: State::Confirmed, age: 41, speed: 12.5, direction: 90.0, stationary: false };

    fn buffer_with(params: Vec<gst::Structure>) -> gst::Buffer {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        let mut region = VideoRegionOfInterestMeta::add(buffer.get_mut().unwrap(), "face", (10, 20, 30, 40));
        params.into_iter().for_each(|param| region.add_param(param));
        buffer
    }

    fn region_of(buffer: &gst::BufferRef) -> (Rect, String, Option<i32>, f32, Option<Vec<f32>>) {
        let mut found = Vec::new();
        regions(buffer, FRAME, |one| {
            found.push((
                one.box_in_frame,
                one.label.into_owned(),
                one.label_id,
                one.confidence,
                one.embedding,
            ));
        });
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    #[test]
    fn a_mark_is_read_back_as_the_record_reads_it() {
        let mut buffer = buffer_with(Vec::new());
        mark(buffer.get_mut().unwrap(), &[Some(MARK)]);
        let found = detections::read(&buffer, FRAME).detections.remove(0);
        assert_eq!((found.track_id, found.track_state.as_deref()), (Some(7), Some("confirmed")));
        assert_eq!((found.track_age, found.track_speed), (Some(41), Some(12.5)));
        assert_eq!((found.track_direction, found.track_stationary), (Some(90.0), Some(false)));
    }

    #[test]
    fn what_another_tracker_has_said_is_replaced_and_of_a_copy_the_original_stays() {
        gst::init().unwrap();
        let other = gst::Structure::builder("object_id").field("id", 99_i32).field("extra", "kept").build();
        let mut buffer = buffer_with(vec![other]);
        let mut copy = buffer.copy();
        mark(copy.make_mut(), &[Some(MARK)]);
        let region = copy.meta::<VideoRegionOfInterestMeta>().unwrap();
        assert_eq!(region.params().filter(|param| param.name() == NAME).count(), 1);
        let param = region.param(NAME).unwrap();
        assert_eq!((param.get::<i32>("id"), param.get::<&str>("extra")), (Ok(7), Ok("kept")));
        let id_of = |buffer: &gst::BufferRef| detections::read(buffer, FRAME).detections.remove(0).track_id;
        assert_eq!(id_of(&buffer), Some(99));
        mark(buffer.get_mut().unwrap(), &[None]);
        assert_eq!(id_of(&buffer), Some(99), "what is in no track of ours is left alone");
    }

    #[test]
    fn a_region_of_another_vendor_has_its_rectangle_and_type() {
        let (box_in_frame, label, label_id, confidence, embedding) = region_of(&buffer_with(Vec::new()));
        assert_eq!(box_in_frame, Rect::from_corners(10.0, 20.0, 40.0, 60.0));
        assert_eq!((label.as_str(), label_id, confidence, embedding), ("face", None, 1.0, None));
    }

    #[test]
    fn an_embedding_is_read_and_one_of_another_length_is_not() {
        gst::init().unwrap();
        let with = |dims: u32, data: &[u8]| {
            let data = glib::Bytes::from(data);
            let embedding =
                gst::Structure::builder("embedding").field("dims", dims).field("data", data).build();
            region_of(&buffer_with(vec![embedding])).4
        };
        let mut data = 1.5_f32.to_le_bytes().to_vec();
        data.extend((-2.0_f32).to_le_bytes());
        assert_eq!(with(2, &data), Some(vec![1.5, -2.0]));
        assert_eq!(with(3, &data), None);
        assert_eq!(with(0, &[]), None);
        assert_eq!(with(u32::MAX, &data), None);
    }

    #[test]
    fn a_predicted_box_becomes_a_region_inside_the_frame_or_none() {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        let predicted = Predicted {
            mark: Mark { state: State::Coasted, ..MARK },
            box_in_frame: Rect::from_corners(600.0, 100.0, 700.0, 200.0),
            class: 0,
            confidence: 0.75,
        };
        let writable = buffer.get_mut().unwrap();
        assert!(attach(writable, FRAME, ("person", Some(0)), &predicted));
        let outside = Predicted { box_in_frame: Rect::from_corners(650.0, 0.0, 700.0, 9.0), ..predicted };
        assert!(!attach(writable, FRAME, ("person", Some(0)), &outside));
        let nowhere = Predicted { box_in_frame: Rect::from_corners(f32::NAN, 0.0, 7.0, 9.0), ..predicted };
        assert!(!attach(writable, FRAME, ("person", Some(0)), &nowhere));
        let regions = detections::read(&buffer, FRAME);
        let [found] = regions.detections.as_slice() else { panic!("{regions:?}") };
        assert_eq!((found.label.as_str(), found.label_id, found.confidence), ("person", Some(0), Some(0.75)));
        assert_eq!((found.box_in_frame.x, found.box_in_frame.width), (600.0, 40.0));
        assert_eq!((found.track_id, found.track_state.as_deref()), (Some(7), Some("coasted")));
    }
}
