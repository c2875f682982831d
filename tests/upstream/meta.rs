//! Upstream's relation meta, written and read. Without its library there is nothing to look at; the tests beside this
//! file run these in a GStreamer that has it.

use gst_video::VideoRegionOfInterestMeta;
use gstnextvision::meta::objects::{self, MetaOptions};
use gstnextvision::meta::relation::{self, Class, MAX_ENTRIES, Place, Relations, Track};
use gstnextvision::meta::{detections, relation::ObjectId};
use gstnextvision::vision::{Detection, Landmarks, Rect, Size};
use proptest::prelude::*;

fn buffer() -> gst::Buffer {
    gst::init().expect("GStreamer starts");
    gst::Buffer::new()
}

fn writable(buffer: &mut gst::Buffer) -> &mut gst::BufferRef {
    buffer.get_mut().expect("one owner")
}

fn detection(left: f32) -> Detection {
    let bbox = Rect::from_corners(left, 10.0, left + 20.0, 30.0);
    Detection { bbox, class: 7, confidence: 0.75, landmarks: Landmarks::new() }
}

fn attach(buffer: &mut gst::Buffer, detections: &[Detection]) -> usize {
    let label = |_: &Detection| "person".into();
    objects::attach(writable(buffer), Size::new(640, 480), detections, label, &MetaOptions::default())
}

/// The object of each region.
fn objects_of_regions(buffer: &mut gst::Buffer) -> Vec<Option<ObjectId>> {
    let regions = buffer.iter_meta::<VideoRegionOfInterestMeta>();
    let places: Vec<_> = regions.map(|region| Place::of(&region)).collect();
    let relations = Relations::existing(writable(buffer)).expect("the meta");
    places.iter().map(|place| relations.object(place)).collect()
}

#[test]
fn what_was_added_is_read_again() {
    let mut buffer = buffer();
    let Some(mut relations) = Relations::on(writable(&mut buffer), 1) else { return };
    let first = relations.add_object("person", (1, 2, 30, 40), 0.5).expect("room");
    let second = relations.add_object("car", (0, 0, u32::MAX, 9), 7.0).expect("room");
    let track = Track { id: 12, first_seen: None, last_seen: Some(gst::ClockTime::SECOND), is_lost: true };
    assert!(relations.add_track(second, &track));
    assert!(relations.add_class(second, "red", 0.25) && relations.add_class(second, "small", -1.0));
    let read = relation::read(&buffer);
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].id, &*read[0].label, read[0].rect), (first, "person", [1, 2, 30, 40]));
    assert!(read[0].tracks.is_empty() && read[0].classes.is_empty());
    assert_eq!((read[1].rect, read[1].confidence), ([0, 0, i32::MAX, 9], 1.0));
    assert_eq!(read[1].tracks, [track]);
    let class = |label: &str, confidence| Class { label: label.to_owned(), confidence };
    assert_eq!(read[1].classes, [class("red", 0.25), class("small", 0.0)]);
    assert_eq!(relation::read(&buffer.copy()), read, "a copy has it, too");
}

#[test]
fn each_region_finds_its_object() {
    let mut buffer = buffer();
    // The number is clamped, the last one is none.
    let found = [detection(5.0), detection(600.0), detection(635.0), detection(f32::NAN)];
    assert_eq!(attach(&mut buffer, &found), 3);
    if relation::available().is_err() {
        return;
    }
    let read = relation::read(&buffer);
    let ids: Vec<_> = read.iter().map(|object| Some(object.id)).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(objects_of_regions(&mut buffer), ids);
    // Another detector in the same pipeline.
    attach(&mut buffer, &found[..2]);
    assert_eq!(objects_of_regions(&mut buffer).iter().flatten().count(), 5);
    assert_eq!(detections::read(&buffer, Size::new(640, 480)).detections.len(), 5, "and each counts once");
}

#[test]
fn a_region_of_somebody_else_finds_no_object() {
    let mut buffer = buffer();
    attach(&mut buffer, &[detection(5.0)]);
    if relation::available().is_err() {
        return;
    }
    for (id, label, rect) in [
        (0, "car", (5, 10, 20, 20)),
        (0, "person", (5, 10, 20, 40)),
        (1, "person", (5, 10, 20, 20)),
        (-1, "person", (5, 10, 20, 20)),
    ] {
        VideoRegionOfInterestMeta::add(writable(&mut buffer), label, rect).set_id(id);
    }
    let found = objects_of_regions(&mut buffer);
    assert!(found[0].is_some() && found[1..].iter().all(Option::is_none), "{found:?}");
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let mut buffer = buffer();
    let Some(mut relations) = Relations::on(writable(&mut buffer), usize::MAX) else { return };
    let object = relations.add_object("person", (1, 2, 30, 40), 0.5).expect("room");
    while relations.add_class(object, "red", 0.5) {}
    assert_eq!(relations.len(), MAX_ENTRIES);
    assert_eq!(relations.add_object("person", (1, 2, 30, 40), 0.5), None);
    let track = Track { id: 1, first_seen: None, last_seen: None, is_lost: false };
    assert!(!relations.add_track(object, &track));
    assert_eq!(relation::read(&buffer).len(), 1);
}

proptest! {
    #[test]
    fn whatever_is_added_is_finite_and_in_range(
        label in ".{0,40}", rect in any::<(u32, u32, u32, u32)>(), confidence in any::<f32>(), room in 0_usize..100,
    ) {
        let mut buffer = buffer();
        if let Some(mut relations) = Relations::on(writable(&mut buffer), room) {
            let added = relations.add_object(&label, rect, confidence);
            prop_assert_eq!(added.is_some(), confidence.is_finite());
            for object in relation::read(&buffer) {
                prop_assert!((0.0..=1.0).contains(&object.confidence));
                prop_assert!(object.rect.iter().all(|side| *side >= 0));
            }
        }
    }
}
