use super::*;
use crate::vision::{Landmarks, Rect};
use gst_video::VideoRegionOfInterestMeta;

const FRAME: Size = Size::new(640, 480);

fn detections(count: usize) -> Vec<Detection> {
    let at = |n: usize| Rect::from_corners(n as f32, 10.0, n as f32 + 20.0, 30.0);
    let one = |n| Detection { bbox: at(n), class: 7, confidence: 0.75, landmarks: Landmarks::new() };
    (0..count).map(one).collect()
}

fn attached(detections: &[Detection], options: &MetaOptions) -> (usize, gst::Buffer) {
    gst::init().unwrap();
    let mut buffer = gst::Buffer::new();
    let label = |_: &Detection| Cow::Borrowed("person");
    (attach(buffer.get_mut().unwrap(), FRAME, detections, label, options), buffer)
}

fn regions(buffer: &gst::Buffer) -> usize {
    buffer.iter_meta::<VideoRegionOfInterestMeta>().count()
}

#[test]
fn objects_are_attached_in_the_forms_asked_for() {
    gst::init().unwrap();
    let found = detections(3);
    let has_relations = relation::available().is_ok();
    for (regions_wanted, relations_wanted) in [(true, true), (true, false), (false, true), (false, false)] {
        let options =
            MetaOptions { regions: regions_wanted, relations: relations_wanted, ..MetaOptions::default() };
        let (count, buffer) = attached(&found, &options);
        assert_eq!(count, 3);
        assert_eq!(regions(&buffer), if regions_wanted { 3 } else { 0 });
        let related = relation::read(&buffer).len();
        assert_eq!(related, if relations_wanted && has_relations { 3 } else { 0 });
    }
}

#[test]
fn what_is_read_as_detections_is_there_once_in_whatever_forms() {
    let (_, buffer) = attached(&detections(3), &MetaOptions::default());
    let read = detections::read(&buffer, FRAME);
    assert_eq!((read.detections.len(), read.rejected), (3, 0));
}

#[test]
fn no_more_than_the_limit_is_attached_and_what_is_no_number_is_left_out() {
    let mut found = detections(5);
    found[0].confidence = f32::NAN;
    found[1].bbox.x_max = f32::INFINITY;
    let options = MetaOptions { max_objects: 2, ..MetaOptions::default() };
    let (count, buffer) = attached(&found, &options);
    assert_eq!((count, regions(&buffer)), (2, 2));
    let lefts: Vec<_> =
        buffer.iter_meta::<VideoRegionOfInterestMeta>().map(|region| region.rect().0).collect();
    assert_eq!(lefts, [2, 3]);
    let empty = Size::new(0, 480);
    let mut buffer = gst::Buffer::new();
    let label = |_: &Detection| Cow::Borrowed("person");
    assert_eq!(attach(buffer.get_mut().unwrap(), empty, &found, label, &options), 0);
}
