//! Each layout with its numbers spelt out.

use super::super::*;
use super::fixture::{Decoded, all, params};
use crate::vision::{Detection, Landmarks, Rect};

fn output(name: &str, dims: &[usize]) -> OutputShape {
    OutputShape { name: name.to_owned(), dims: dims.iter().copied().map(Some).collect() }
}

/// Decodes tensors of one batch with a decoder built from their own shapes.
fn decode(
    kind: DecoderKind,
    tensors: &[(&str, &[usize], &[f32])],
    batch: usize,
    params: &Params,
) -> Result<Decoded, DecodeError> {
    let shapes: Vec<_> = tensors.iter().map(|(name, shape, _)| output(name, shape)).collect();
    let views: Vec<_> = tensors.iter().map(|&(name, shape, data)| TensorView { name, shape, data }).collect();
    all(&*check(kind, &shapes, params)?, &views, batch, params)
}

fn one(
    kind: DecoderKind,
    tensors: &[(&str, &[usize], &[f32])],
    params: &Params,
) -> Result<Vec<Detection>, DecodeError> {
    decode(kind, tensors, 1, params)?.remove(0)
}

fn detection(class: u32, confidence: f32, corners: [f32; 4]) -> Detection {
    let [x_min, y_min, x_max, y_max] = corners;
    let bbox = Rect::from_corners(x_min, y_min, x_max, y_max);
    Detection { bbox, class, confidence, landmarks: Landmarks::new() }
}

fn square(side: u32) -> Params {
    Params { model: Size::new(side, side), ..params() }
}

#[test]
fn a_yolov8_model_of_one_class_is_read() {
    // Two anchors: center 10 10, size 4 6, score 0.9; and one below the threshold.
    let data = [10.0, 0.0, 10.0, 0.0, 4.0, 1.0, 6.0, 1.0, 0.9, 0.3];
    let found = one(DecoderKind::YoloV8, &[("boxes", &[1, 5, 2], &data)], &params()).unwrap();
    assert_eq!(found, [detection(0, 0.9, [8.0, 7.0, 12.0, 13.0])]);
    let shapes = [output("boxes", &[1, 5, 8400])];
    let decoder = check(DecoderKind::YoloV8, &shapes, &square(640)).unwrap();
    assert_eq!(decoder.classes(), Some(1));
}

#[test]
fn yolov8_transposed_is_read_when_labels_cells_or_length_tell() {
    let mut data = vec![0.0; 7 * 5];
    data[3 * 5..4 * 5].copy_from_slice(&[10.0, 10.0, 4.0, 6.0, 0.9]);
    let expected = [detection(0, 0.9, [8.0, 7.0, 12.0, 13.0])];
    assert_eq!(one(DecoderKind::YoloV8, &[("o", &[1, 7, 5], &data)], &params()).unwrap(), expected);

    let by_labels = Params { classes: Some(3), ..params() };
    let classes = |dims: &[usize], params: &Params| {
        check(DecoderKind::YoloV8, &[output("o", dims)], params).unwrap().classes()
    };
    assert_eq!(classes(&[1, 7, 5], &by_labels), Some(3));
    assert_eq!(classes(&[1, 7, 42], &params()), Some(3));
    assert_eq!(classes(&[1, 42, 7], &params()), Some(3));
    assert_eq!(classes(&[1, 50, 42], &params()), Some(46));
}

#[test]
fn yolov5_confidence_is_objectness_times_score() {
    let data = [10.0, 10.0, 4.0, 6.0, 0.8, 0.25, 0.75];
    let found = one(DecoderKind::YoloV5, &[("o", &[1, 1, 7], &data)], &params()).unwrap();
    assert_eq!(found, [detection(1, 0.8 * 0.75, [8.0, 7.0, 12.0, 13.0])]);
    let unlikely = [10.0, 10.0, 4.0, 6.0, 0.5, 0.75, 0.0];
    assert_eq!(one(DecoderKind::YoloV5, &[("o", &[1, 1, 7], &unlikely)], &params()), Ok(Vec::new()));
}

#[test]
fn yolov5_beside_its_raw_heads_is_read() {
    let shapes = [output("o", &[1, 126, 7]), output("p3", &[1, 3, 4, 8, 7]), output("p4", &[1, 3, 2, 4, 7])];
    assert_eq!(check(DecoderKind::YoloV5, &shapes, &params()).unwrap().classes(), Some(2));
}

#[test]
fn yolox_offsets_are_relative_to_the_cell_in_strides() {
    // Row 37 is cell (1, 1) of the map of stride 16.
    let mut data = vec![0.0; 42 * 6];
    data[37 * 6..38 * 6].copy_from_slice(&[0.5, 0.25, 0.0, (0.5_f32).ln(), 0.9, 1.0]);
    let found = one(DecoderKind::YoloX, &[("o", &[1, 42, 6], &data)], &params()).unwrap();
    // Center 24 20, size 16 8.
    assert_eq!(found, [detection(0, 0.9, [16.0, 16.0, 32.0, 24.0])]);
}

#[test]
fn yolox_of_another_image_size_is_refused_with_both_shapes() {
    let error = check(DecoderKind::YoloX, &[output("o", &[1, 43, 6])], &params()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "output \"o\": expected [N, 42, 5 + classes] f32, found [1, 43, 6]");
}

/// Logits that are certain of one bin.
fn certain(bin: usize, bins: usize) -> Vec<f32> {
    (0..bins).map(|index| if index == bin { 0.0 } else { -1e4 }).collect()
}

/// One row of scores and certain distances among `rows`.
fn nanodet(rows: usize, row: usize, scores: &[f32], distances: [usize; 4], bins: usize) -> Vec<f32> {
    let channels = scores.len() + 4 * bins;
    let mut data = vec![0.0; rows * channels];
    let values = distances.into_iter().flat_map(|distance| certain(distance, bins));
    let values = scores.iter().copied().chain(values);
    data.iter_mut().skip(row * channels).zip(values).for_each(|(slot, value)| *slot = value);
    data
}

#[test]
fn nanodet_measures_from_the_middle_of_a_cell() {
    // Row 9 of 42 is cell (1, 1) of stride 8: middle 12 12.
    let data = nanodet(42, 9, &[0.0, 0.9], [1, 0, 2, 1], 11);
    let found = one(DecoderKind::NanoDet, &[("o", &[1, 42, 46], &data)], &params()).unwrap();
    assert_eq!(found, [detection(1, 0.9, [4.0, 12.0, 28.0, 20.0])]);
}

#[test]
fn nanodet_takes_the_mean_of_the_distribution() {
    let mut data = nanodet(42, 9, &[0.9], [0, 0, 0, 0], 11);
    // Right side: bins 1 and 2 equally likely, so 1.5 strides; left: all equally likely, so 5.
    data[9 * 45 + 1..][..11].fill(3.0);
    data[9 * 45 + 1 + 22..][..11].copy_from_slice(&certain(1, 11));
    data[9 * 45 + 1 + 22 + 2] = 0.0;
    data[9 * 45 + 1 + 33..][..11].copy_from_slice(&certain(1, 11));
    let found = one(DecoderKind::NanoDet, &[("o", &[1, 42, 45], &data)], &params()).unwrap();
    assert_eq!(found.len(), 1);
    let Rect { x_min, x_max, .. } = found[0].bbox;
    // 12 - 5 * 8 is outside and clamped.
    assert_eq!((x_min, x_max), (0.0, 24.0));
}

#[test]
fn nanodet_plus_measures_from_the_corner_of_a_cell() {
    // 64 x 64: 64 + 16 + 4 + 1 cells; row 84 is the cell of stride 64, row 9 is cell (1, 1) of stride 8.
    let data = nanodet(85, 9, &[0.9], [1, 0, 2, 1], 8);
    let found = one(DecoderKind::NanoDet, &[("o", &[1, 85, 33], &data)], &square(64)).unwrap();
    assert_eq!(found, [detection(0, 0.9, [0.0, 8.0, 24.0, 16.0])]);
    let data = nanodet(85, 84, &[0.9], [0, 0, 1, 1], 8);
    let found = one(DecoderKind::NanoDet, &[("o", &[1, 85, 33], &data)], &square(64)).unwrap();
    assert_eq!(found, [detection(0, 0.9, [0.0, 0.0, 64.0, 64.0])]);
}

#[test]
fn nanodet_bins_follow_from_the_labels_or_are_guessed() {
    let classes = |dims: &[usize], labels: Option<usize>, side: u32| {
        let params = Params { classes: labels, ..square(side) };
        check(DecoderKind::NanoDet, &[output("o", dims)], &params).map(|decoder| decoder.classes()).ok()
    };
    assert_eq!(classes(&[1, 3549, 124], None, 416), Some(Some(80)));
    assert_eq!(classes(&[1, 3549, 124], Some(80), 416), Some(Some(80)));
    assert_eq!(classes(&[1, 3549, 112], None, 416), Some(Some(80)));
    assert_eq!(classes(&[1, 3598, 112], None, 416), Some(Some(80)));
    assert_eq!(classes(&[1, 3549, 37], Some(5), 416), Some(Some(5)));
    assert_eq!(classes(&[1, 3549, 40], None, 416), Some(Some(8)));
    assert_eq!(classes(&[1, 3550, 124], None, 416), None);
    assert_eq!(classes(&[1, 3549, 32], None, 416), None);
}

#[test]
fn rows_of_seven_go_to_the_image_they_name() {
    let rows = [
        [1.0, 8.0, 7.0, 12.0, 13.0, 3.0, 0.9],
        [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.5],
        [1.0, 20.0, 7.0, 30.0, 13.0, 1.0, 0.95],
        // Padding below the threshold may say anything else.
        [-1.0, f32::NAN, 0.0, 0.0, 0.0, -1.0, 0.0],
    ];
    let found = decode(DecoderKind::Nms, &[("o", &[4, 7], rows.as_flattened())], 3, &params()).unwrap();
    let second = vec![detection(1, 0.95, [20.0, 7.0, 30.0, 13.0]), detection(3, 0.9, [8.0, 7.0, 12.0, 13.0])];
    assert_eq!(found, [Ok(vec![detection(0, 0.5, [1.0, 2.0, 3.0, 4.0])]), Ok(second), Ok(Vec::new())]);
    let none = decode(DecoderKind::Nms, &[("o", &[0, 7], &[])], 2, &params()).unwrap();
    assert_eq!(none, [Ok(Vec::new()), Ok(Vec::new())]);
}

#[test]
fn a_row_of_seven_for_no_image_of_the_batch_fails_the_run() {
    for image in [2.0, -1.0, 0.5, f32::NAN, f32::INFINITY] {
        let row = [image, 8.0, 7.0, 12.0, 13.0, 3.0, 0.9];
        let error = decode(DecoderKind::Nms, &[("o", &[1, 7], &row)], 2, &params()).unwrap_err();
        assert!(matches!(error, DecodeError::ImageIndex { row: 0, batch: 2, .. }), "{error}");
    }
}

#[test]
fn a_nan_in_one_row_of_seven_fails_only_its_image() {
    let rows = [[0.0, 8.0, 7.0, 12.0, 13.0, 3.0, f32::NAN], [1.0, 8.0, 7.0, 12.0, 13.0, 3.0, 0.9]];
    let found = decode(DecoderKind::Nms, &[("o", &[2, 7], rows.as_flattened())], 2, &params()).unwrap();
    assert_eq!(found[0], Err(DecodeError::NonFinite { output: "o".to_owned(), image: 0 }));
    assert_eq!(found[1], Ok(vec![detection(3, 0.9, [8.0, 7.0, 12.0, 13.0])]));
}

#[test]
fn a_class_id_beyond_the_labels_fails_its_image() {
    for (class, labels) in [(80.0, Some(80)), (-1.0, Some(80)), (1e9, None), (-2.0, None)] {
        let row = [8.0, 7.0, 12.0, 13.0, 0.9, class];
        let params = Params { classes: labels, ..params() };
        let error = one(DecoderKind::Nms, &[("o", &[1, 1, 6], &row)], &params).unwrap_err();
        assert!(matches!(error, DecodeError::ClassId { image: 0, .. }), "{error}");
    }
}

const SSD_BOXES: [f32; 8] = [0.25, 0.5, 0.75, 1.0, 0.0, 0.0, 0.5, 0.5];

#[test]
fn ssd_outputs_are_told_apart_by_name_or_by_order() {
    let (classes, scores, count) = ([4.0, 1.0], [0.5, 0.9], [2.0]);
    let expected = [detection(1, 0.9, [0.0, 0.0, 32.0, 16.0]), detection(4, 0.5, [32.0, 8.0, 64.0, 24.0])];
    let named: [(&str, &[usize], &[f32]); 5] = [
        ("raw_detection_boxes", &[1, 2, 4], &[0.0; 8]),
        ("num_detections", &[1], &count),
        ("detection_scores:0", &[1, 2], &scores),
        ("detection_classes:0", &[1, 2], &classes),
        ("detection_boxes:0", &[1, 2, 4], &SSD_BOXES),
    ];
    assert_eq!(one(DecoderKind::Ssd, &named, &params()).unwrap(), expected);
    let ordered: [(&str, &[usize], &[f32]); 4] = [
        ("PostProcess", &[1, 2, 4], &SSD_BOXES),
        ("PostProcess:1", &[1, 2], &classes),
        ("PostProcess:2", &[1, 2], &scores),
        ("PostProcess:3", &[1], &count),
    ];
    assert_eq!(one(DecoderKind::Ssd, &ordered, &params()).unwrap(), expected);
    assert_eq!(one(DecoderKind::Ssd, &ordered[..3], &params()).unwrap(), expected);
}

#[test]
fn ssd_reads_no_more_than_the_number_of_detections() {
    let with = |count: f32| {
        let outputs: [(&str, &[usize], &[f32]); 4] = [
            ("boxes", &[1, 2, 4], &SSD_BOXES),
            ("classes", &[1, 2], &[0.0, 0.0]),
            ("scores", &[1, 2], &[0.9, f32::NAN]),
            ("num", &[1, 1], &[count]),
        ];
        one(DecoderKind::Ssd, &outputs, &params()).map(|found| found.len())
    };
    assert_eq!(with(1.0), Ok(1));
    assert_eq!(with(-3.0), Ok(0));
    assert_eq!(with(1e30), Err(DecodeError::NonFinite { output: "scores".to_owned(), image: 0 }));
    assert_eq!(with(f32::NAN), Err(DecodeError::NonFinite { output: "num".to_owned(), image: 0 }));
}

#[test]
fn detr_without_a_last_class_is_read_when_the_labels_say_so() {
    let outputs: [(&str, &[usize], &[f32]); 2] =
        [("logits", &[1, 1, 2], &[0.0, 2.0]), ("pred_boxes", &[1, 1, 4], &[0.5, 0.5, 0.5, 0.5])];
    let bbox = [16.0, 8.0, 48.0, 24.0];
    let sigmoid = one(DecoderKind::Detr, &outputs, &Params { classes: Some(2), ..params() }).unwrap();
    assert_eq!(sigmoid, [detection(1, 1.0 / (1.0 + (-2.0_f32).exp()), bbox)]);
    // With a last class, its logit of 2 says "no object": class 0 has 12 %.
    assert_eq!(one(DecoderKind::Detr, &outputs, &params()), Ok(Vec::new()));
    let low = Params { score_threshold: 0.1, ..params() };
    let softmax = one(DecoderKind::Detr, &outputs, &low).unwrap();
    assert!((softmax[0].confidence - 0.119_2).abs() < 1e-4, "{softmax:?}");
    assert_eq!(softmax[0].class, 0);
}

#[test]
fn centerface_landmarks_are_relative_to_the_box() {
    let params = square(32);
    // Cell (2, 1) of 8 x 8: center 10 6; size exp(ln 2) * 4 = 8 wide, 4 high.
    let cell = 8 + 2;
    let mut maps = [64, 128, 128, 640].map(|len| vec![0.0; len]);
    maps[0][cell] = 0.9;
    maps[1][64 + cell] = (2.0_f32).ln();
    for landmark in 0..5 {
        maps[3][2 * landmark * 64 + cell] = 0.25;
        maps[3][(2 * landmark + 1) * 64 + cell] = 0.5;
    }
    let [heat, size, offset, landmarks] = &maps;
    let outputs: [(&str, &[usize], &[f32]); 4] = [
        ("540", &[1, 10, 8, 8], landmarks),
        ("538", &[1, 2, 8, 8], size),
        ("537", &[1, 1, 8, 8], heat),
        ("539", &[1, 2, 8, 8], offset),
    ];
    let found = one(DecoderKind::CenterFace, &outputs, &params).unwrap();
    let face = detection(0, 0.9, [6.0, 4.0, 14.0, 8.0]);
    assert_eq!(found, [Detection { landmarks: Landmarks::from_elem([10.0, 5.0], 5), ..face }]);
}

#[test]
fn a_classifier_gives_its_best_class_over_the_whole_image() {
    let whole = [0.0, 0.0, 64.0, 32.0];
    let probabilities = one(DecoderKind::Classifier, &[("o", &[1, 3], &[0.1, 0.7, 0.2])], &params()).unwrap();
    assert_eq!(probabilities, [detection(1, 0.7, whole)]);
    let logits = one(DecoderKind::Classifier, &[("o", &[1, 3, 1, 1], &[5.0, -2.0, 5.0])], &params()).unwrap();
    assert!((logits[0].confidence - 0.499_8).abs() < 1e-3, "{logits:?}");
    assert_eq!(logits[0].class, 0);
    let unsure = one(DecoderKind::Classifier, &[("o", &[1, 3], &[0.0, 0.0, 0.0])], &params()).unwrap();
    assert_eq!(unsure, []);
}

#[test]
fn classifier_rows_fail_singly_and_batch_as_they_do_alone() {
    let rows = [[0.1, 0.9], [f32::NAN, 0.0], [3.0, 1.0], [0.0, f32::INFINITY], [-1e30, 1e30]];
    let outputs: [(&str, &[usize], &[f32]); 1] = [("o", &[5, 2], rows.as_flattened())];
    let found = decode(DecoderKind::Classifier, &outputs, 5, &params()).unwrap();
    for (image, row) in rows.iter().enumerate() {
        let alone = one(DecoderKind::Classifier, &[("o", &[1, 2], row)], &params());
        assert_eq!(found[image].as_ref().ok(), alone.as_ref().ok());
    }
    assert_eq!(found.iter().map(Result::is_err).collect::<Vec<_>>(), [false, true, false, true, false]);
}

#[test]
fn a_message_names_the_output_and_both_shapes() {
    let message = |kind, dims: &[usize]| {
        check(kind, &[output("boxes", dims)], &params()).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(
        message(DecoderKind::YoloV5, &[1, 25_200, 5]),
        "output \"boxes\": expected [N, anchors, 5 + classes] f32, found [1, 25200, 5]"
    );
    assert_eq!(
        message(DecoderKind::Detr, &[1, 5, 8400]),
        "expected one output each of logits [N, queries, classes] and boxes [N, queries, 4], \
         found \"boxes\" [1, 5, 8400]"
    );
}
