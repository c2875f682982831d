//! Which layout `auto` picks.

use super::super::*;
use super::fixture::declared;

fn output(name: &str, dims: &[usize]) -> OutputShape {
    let dims = dims.iter().map(|&dim| (dim != OPEN).then_some(dim)).collect();
    OutputShape { name: name.to_owned(), dims }
}

/// An open dimension.
const OPEN: usize = usize::MAX;

fn hints(side: u32, names: Option<usize>) -> Hints {
    Hints { task: None, names, model: Size::new(side, side) }
}

fn chosen(dims: &[usize], side: u32, names: Option<usize>) -> Option<DecoderKind> {
    choose(&[output("output0", dims)], &hints(side, names)).ok()
}

#[test]
fn the_shipped_models_are_recognised_with_and_without_labels() {
    let face = [
        output("537", &[OPEN, 1, OPEN, OPEN]),
        output("538", &[OPEN, 2, OPEN, OPEN]),
        output("539", &[OPEN, 2, OPEN, OPEN]),
        output("540", &[OPEN, 10, OPEN, OPEN]),
    ];
    for names in [None, Some(80)] {
        // nanodet_g_320_yolov8, its int8 form and nanodet_g_320_u8 declare the same output.
        assert_eq!(chosen(&[OPEN, 84, 2100], 320, names), Some(DecoderKind::YoloV8));
        assert_eq!(chosen(&[OPEN, 3549, 124], 416, names), Some(DecoderKind::NanoDet));
    }
    for names in [None, Some(1)] {
        assert_eq!(choose(&face, &hints(0, names)), Ok(DecoderKind::CenterFace));
    }
}

#[test]
fn anchors_per_cell_tell_yolov5_from_yolox() {
    for names in [None, Some(80), Some(17)] {
        assert_eq!(chosen(&[1, 25_200, 85], 640, names), Some(DecoderKind::YoloV5));
        assert_eq!(chosen(&[1, 8400, 85], 640, names), Some(DecoderKind::YoloX));
    }
    // The P6 models have a fourth map.
    assert_eq!(chosen(&[1, 102_000, 85], 1280, None), Some(DecoderKind::YoloV5));
}

#[test]
fn yolov8_is_recognised_with_one_class_transposed_and_with_open_anchors() {
    assert_eq!(chosen(&[1, 5, 8400], 640, None), Some(DecoderKind::YoloV8));
    assert_eq!(chosen(&[1, 5, 8400], 640, Some(1)), Some(DecoderKind::YoloV8));
    assert_eq!(chosen(&[1, 8400, 84], 640, None), Some(DecoderKind::YoloV8));
    assert_eq!(chosen(&[1, 8400, 14], 640, Some(10)), Some(DecoderKind::YoloV8));
    assert_eq!(chosen(&[OPEN, 84, OPEN], 0, None), Some(DecoderKind::YoloV8));
    assert_eq!(chosen(&[OPEN, OPEN, 84], 0, Some(80)), Some(DecoderKind::YoloV8));
    // Too few labels are for the caller to refuse, not a reason to recognise nothing.
    assert_eq!(chosen(&[1, 84, 8400], 640, Some(3)), Some(DecoderKind::YoloV8));
}

#[test]
fn finished_detections_are_told_from_anchors_of_one_class() {
    assert_eq!(chosen(&[OPEN, 300, 6], 640, Some(80)), Some(DecoderKind::Nms));
    assert_eq!(chosen(&[OPEN, 300, 6], 640, Some(1)), Some(DecoderKind::Nms));
    assert_eq!(chosen(&[OPEN, 300, 6], 640, Some(2)), Some(DecoderKind::Nms));
    assert_eq!(chosen(&[OPEN, OPEN, 6], 0, None), Some(DecoderKind::Nms));
    assert_eq!(chosen(&[1, 8400, 6], 640, Some(1)), Some(DecoderKind::YoloX));
    assert_eq!(chosen(&[1, 8400, 6], 640, Some(2)), Some(DecoderKind::YoloV8));
    assert_eq!(chosen(&[1, 25_200, 6], 640, Some(1)), Some(DecoderKind::YoloV5));
    assert_eq!(chosen(&[OPEN, 7], 640, None), Some(DecoderKind::Nms));
}

#[test]
fn classifiers_are_recognised_even_of_seven_classes() {
    assert_eq!(chosen(&[OPEN, 1000], 224, None), Some(DecoderKind::Classifier));
    assert_eq!(chosen(&[1, 10, 1, 1], 224, None), Some(DecoderKind::Classifier));
    assert_eq!(chosen(&[1, 7], 224, None), Some(DecoderKind::Classifier));
    assert_eq!(chosen(&[OPEN, 7], 224, Some(7)), Some(DecoderKind::Classifier));
    let task = |task: &str| Hints { task: Some(task.to_owned()), ..hints(224, Some(7)) };
    assert_eq!(choose(&[output("o", &[OPEN, 7])], &task("classify")), Ok(DecoderKind::Classifier));
    assert_eq!(choose(&[output("o", &[OPEN, 7])], &task("detect")), Ok(DecoderKind::Nms));
}

#[test]
fn nanodet_plus_is_recognised_by_its_fourth_map() {
    assert_eq!(chosen(&[1, 3598, 112], 416, None), Some(DecoderKind::NanoDet));
    assert_eq!(chosen(&[1, 3598, 39], 416, Some(7)), Some(DecoderKind::NanoDet));
}

#[test]
fn ssd_and_detr_are_recognised() {
    for kind in [DecoderKind::Ssd, DecoderKind::Detr, DecoderKind::CenterFace] {
        assert_eq!(choose(&declared(kind), &hints(0, None)), Ok(kind));
    }
    // RT-DETR with its post-processing has the shapes of SSD and boxes in another order.
    let finished =
        [output("labels", &[OPEN, 300]), output("boxes", &[OPEN, 300, 4]), output("scores", &[OPEN, 300])];
    assert!(choose(&finished, &hints(640, Some(80))).is_err());
}

#[test]
fn what_nothing_reads_is_told_what_was_found_and_needed() {
    let image = [output("image", &[OPEN, 3, 480, 640])];
    let error = choose(&image, &hints(640, None)).unwrap_err().to_string();
    assert!(error.contains("\"image\" [?, 3, 480, 640]"), "{error}");
    for kind in DecoderKind::ALL {
        assert!(error.contains(&format!("{kind}: {}", kind.layout())), "{error}");
    }
    assert!(choose(&[], &hints(640, None)).unwrap_err().to_string().contains("found none"));
    assert!(chosen(&[OPEN, OPEN, OPEN], 640, Some(80)).is_none());
    assert!(chosen(&[OPEN, OPEN, 85], 0, Some(80)).is_none());
}

#[test]
fn masks_and_poses_are_refused_by_their_task() {
    for task in ["segment", "pose", "obb"] {
        let hints = Hints { task: Some(task.to_owned()), ..hints(640, None) };
        let error = choose(&[output("output0", &[1, 56, 8400])], &hints).unwrap_err();
        assert_eq!(error, DecodeError::Task { task: task.to_owned() });
    }
}

#[test]
fn a_fixed_choice_is_taken_as_it_is() {
    let outputs = [output("o", &[1, 84, 8400])];
    let hints = hints(640, None);
    assert_eq!(DecoderChoice::Auto.resolve(&outputs, &hints), Ok(DecoderKind::YoloV8));
    assert_eq!(DecoderChoice::Fixed(DecoderKind::Detr).resolve(&outputs, &hints), Ok(DecoderKind::Detr));
}
