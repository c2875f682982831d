use super::*;
use crate::output::{NormalizedBox, PixelBox};
use crate::vision::{Landmarks, Rect};
use proptest::prelude::*;

const FRAME: Size = Size::new(640, 480);

fn detection(bbox: Rect) -> Detection {
    Detection { bbox, class: 7, confidence: 0.75, landmarks: Landmarks::new() }
}

fn buffer_with(label: &str, detection: &Detection) -> gst::Buffer {
    gst::init().unwrap();
    let mut buffer = gst::Buffer::new();
    attach(buffer.get_mut().unwrap(), FRAME, &[Found { label, detection }]);
    buffer
}

fn foreign(label: &str, params: Vec<gst::Structure>) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    let mut region = VideoRegionOfInterestMeta::add(buffer.get_mut().unwrap(), label, (10, 20, 30, 40));
    params.into_iter().for_each(|param| region.add_param(param));
    buffer
}

#[test]
fn a_detection_is_attached_under_the_names_existing_consumers_read() {
    let buffer = buffer_with("person", &detection(Rect::from_corners(64.5, 48.0, 128.1, 96.0)));
    let region = buffer.meta::<VideoRegionOfInterestMeta>().unwrap();
    assert_eq!(region.roi_type(), "person");
    assert_eq!(region.rect(), (64, 48, 65, 48), "floor of the low side, ceiling of the high side");
    let found = region.param("detection").unwrap();
    assert_eq!(found.get::<i32>("label_id"), Ok(7));
    assert_eq!(found.get::<&str>("label"), Ok("person"));
    assert_eq!(found.get::<f64>("confidence"), Ok(0.75));
    assert_eq!(found.get::<f64>("x_min"), Ok(64.5 / 640.0));
    assert_eq!(found.get::<f64>("y_max"), Ok(0.2));
    assert!(region.param("landmarks").is_none());
}

#[test]
fn what_was_attached_is_read_back() {
    let landmarks = Landmarks::from_slice(&[[100.5, 60.0], [110.0, 61.25]]);
    let attached = Detection { landmarks, ..detection(Rect::from_corners(64.5, 48.0, 128.0, 96.0)) };
    let regions = read(&buffer_with("person", &attached), FRAME);
    assert_eq!(regions.rejected, 0);
    let [found] = regions.detections.as_slice() else { panic!("{regions:?}") };
    assert_eq!((found.label.as_str(), found.label_id, found.confidence), ("person", Some(7), Some(0.75)));
    assert_eq!(found.box_in_frame, PixelBox { x: 64.5, y: 48.0, width: 63.5, height: 48.0 });
    assert_eq!(found.landmarks, [[100.5, 60.0], [110.0, 61.25]]);
    assert_eq!((found.track_id, &found.track_state), (None, &None));
}

#[test]
fn a_box_reaching_out_of_the_frame_is_cut_at_its_edge() {
    let buffer = buffer_with("x", &detection(Rect::from_corners(-10.0, -10.0, 9999.0, 9999.0)));
    assert_eq!(buffer.meta::<VideoRegionOfInterestMeta>().unwrap().rect(), (0, 0, 640, 480));
    let outside = buffer_with("x", &detection(Rect::from_corners(700.0, 0.0, 800.0, 10.0)));
    assert_eq!(outside.meta::<VideoRegionOfInterestMeta>().unwrap().rect(), (640, 0, 0, 10));
}

#[test]
fn what_cannot_be_attached_is_left_out() {
    gst::init().unwrap();
    let good = detection(Rect::from_corners(0.0, 0.0, 1.0, 1.0));
    let bad_box = detection(Rect::from_corners(f32::NAN, 0.0, 1.0, 1.0));
    let bad_point =
        Detection { landmarks: Landmarks::from_slice(&[[f32::INFINITY, 0.0]]), ..detection(good.bbox) };
    let found = [&good, &bad_box, &bad_point].map(|detection| Found { label: "x", detection });
    let mut buffer = gst::Buffer::new();
    assert_eq!(attach(buffer.get_mut().unwrap(), FRAME, &found), 1);
    assert_eq!(attach(buffer.get_mut().unwrap(), Size::new(0, 480), &found), 0);
}

#[test]
fn a_region_of_another_vendor_gives_its_rectangle_and_type() {
    gst::init().unwrap();
    let regions = read(&foreign("face", Vec::new()), FRAME);
    let [found] = regions.detections.as_slice() else { panic!("{regions:?}") };
    assert_eq!((found.label.as_str(), found.label_id, found.confidence), ("face", None, None));
    assert_eq!(found.box_in_frame, PixelBox { x: 10.0, y: 20.0, width: 30.0, height: 40.0 });
    let expected = NormalizedBox { x_min: 0.015_625, y_min: 0.041_667, x_max: 0.062_5, y_max: 0.125 };
    assert_eq!(found.box_normalized, expected);
}

#[test]
fn the_track_is_read_from_object_id() {
    gst::init().unwrap();
    let object_id = gst::Structure::builder("object_id").field("id", 42_i32).field("state", "lost").build();
    let regions = read(&foreign("face", vec![object_id]), FRAME);
    let [found] = regions.detections.as_slice() else { panic!("{regions:?}") };
    assert_eq!((found.track_id, found.track_state.as_deref()), (Some(42), Some("lost")));
}

#[test]
fn a_region_with_numbers_that_are_not_finite_is_rejected_and_counted() {
    gst::init().unwrap();
    let nan = gst::Structure::builder("detection").field("confidence", f64::NAN).build();
    assert_eq!(read(&foreign("x", vec![nan]), FRAME), Regions { detections: Vec::new(), rejected: 1 });
    let points = gst::Array::new(["a", "b"]);
    let text = gst::Structure::builder("landmarks").field("points", points).build();
    assert_eq!(read(&foreign("x", vec![text]), FRAME).rejected, 1);
}

#[test]
fn more_regions_than_the_bound_are_counted_not_kept() {
    gst::init().unwrap();
    let mut buffer = gst::Buffer::new();
    let writable = buffer.get_mut().unwrap();
    for _ in 0..MAX_REGIONS + 3 {
        VideoRegionOfInterestMeta::add(writable, "x", (0, 0, 1, 1));
    }
    let regions = read(&buffer, FRAME);
    assert_eq!((regions.detections.len(), regions.rejected), (MAX_REGIONS, 3));
}

#[test]
fn labels_with_strange_characters_come_back() {
    for label in ["", "a\nb", "\"quoted\"", "dög 🐕", "\u{202e}rtl"] {
        let buffer = buffer_with(label, &detection(Rect::from_corners(0.0, 0.0, 1.0, 1.0)));
        assert_eq!(read(&buffer, FRAME).detections.first().map(|found| found.label.as_str()), Some(label));
    }
    let buffer = buffer_with("nul\0", &detection(Rect::from_corners(0.0, 0.0, 1.0, 1.0)));
    assert_eq!(
        read(&buffer, FRAME).detections.first().map(|found| found.label.as_str()),
        Some("nul\u{fffd}")
    );
}

#[expect(unsafe_code, reason = "only C can attach what the safe bindings refuse")]
#[test]
fn a_region_without_a_type_or_with_one_that_is_not_utf8_is_read() {
    gst::init().unwrap();
    let mut buffer = gst::Buffer::new();
    let writable = buffer.get_mut().unwrap();
    for name in [std::ptr::null(), c"caf\xe9".as_ptr()] {
        let add = gst_video::ffi::gst_buffer_add_video_region_of_interest_meta;
        // SAFETY: the buffer is writable, the name is NULL or a C string.
        unsafe { add(writable.as_mut_ptr(), name, 0, 0, 1, 1) };
    }
    let labels: Vec<_> = read(&buffer, FRAME).detections.into_iter().map(|found| found.label).collect();
    assert_eq!(labels, ["", "caf\u{fffd}"]);
}

proptest! {
    #[test]
    fn any_box_gives_a_region_inside_the_frame(
        corners in [any::<f32>(), any::<f32>(), any::<f32>(), any::<f32>()],
        width in 1..5000u32,
        height in 1..5000u32,
    ) {
        gst::init().unwrap();
        let [x_min, y_min, x_max, y_max] = corners;
        let detection = detection(Rect::from_corners(x_min, y_min, x_max, y_max));
        let frame = Size::new(width, height);
        let mut buffer = gst::Buffer::new();
        let found = [Found { label: "x", detection: &detection }];
        let attached = attach(buffer.get_mut().unwrap(), frame, &found);
        let regions = read(&buffer, frame);
        prop_assert_eq!((regions.detections.len(), regions.rejected), (attached, 0));
        for region in buffer.iter_meta::<VideoRegionOfInterestMeta>() {
            let (x, y, w, h) = region.rect();
            prop_assert!(x + w <= width && y + h <= height);
        }
    }
}
