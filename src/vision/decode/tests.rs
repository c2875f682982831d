//! What all decoders have in common is tested over all of them, with tensors that [`fixture`] writes by hand
//! from a list of things; what is particular to a layout is in [`layouts`], with its numbers spelt out; what
//! becomes of a workspace that is used again is in [`reuse`].

mod choosing;
mod fixture;
mod hostile;
mod layouts;
mod reuse;

use fixture::{KINDS, MODEL, Thing, all, declared, decode, params, run, tensors};

use super::*;
use crate::vision::{Detection, Rect};

/// Three images: two things, none, one thing.
fn three_images() -> [Vec<Thing>; 3] {
    [
        vec![Thing::new(1, [2.0, 4.0, 18.0, 12.0], 0, 0.9), Thing::new(38, [30.0, 8.0, 60.0, 30.0], 0, 0.6)],
        Vec::new(),
        vec![Thing::new(9, [6.0, 6.0, 14.0, 26.0], 0, 0.75)],
    ]
}

fn assert_found(kind: DecoderKind, found: &[Detection], expected: &[Thing]) {
    assert_eq!(found.len(), expected.len(), "{kind}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.class as usize, expected.class, "{kind}");
        assert!((found.confidence - expected.score).abs() < 1e-4, "{kind}: {found:?}");
        let [x_min, y_min, x_max, y_max] = expected.bbox;
        let Rect { x_min: a, y_min: b, x_max: c, y_max: d } = found.bbox;
        for (found, expected) in [(a, x_min), (b, y_min), (c, x_max), (d, y_max)] {
            assert!((found - expected).abs() < 0.01, "{kind}: {found} is not {expected}");
        }
    }
}

#[test]
fn one_box_of_each_class_is_found_where_it_is() {
    for kind in KINDS {
        for class in 0..if kind == DecoderKind::CenterFace { 1 } else { 2 } {
            let thing = Thing::new(1, [2.0, 4.0, 18.0, 12.0], class, 0.9);
            let found = decode(kind, &[vec![thing]]).unwrap();
            assert_found(kind, found[0].as_ref().unwrap(), &[thing]);
        }
    }
}

#[test]
fn an_image_without_things_has_no_detections() {
    for kind in KINDS {
        assert_eq!(decode(kind, &[Vec::new()]).unwrap(), [Ok(Vec::new())], "{kind}");
        assert_eq!(decode(kind, &[]).unwrap(), [], "{kind}");
    }
}

#[test]
fn a_batch_of_three_equals_three_single_runs() {
    for kind in KINDS {
        let images = three_images();
        let batched = decode(kind, &images).unwrap();
        let singly: Vec<_> =
            images.iter().flat_map(|image| decode(kind, std::slice::from_ref(image)).unwrap()).collect();
        assert_eq!(batched, singly, "{kind}");
        for (found, expected) in batched.iter().zip(&images) {
            assert_found(kind, found.as_ref().unwrap(), expected);
        }
    }
}

#[test]
fn the_threshold_itself_passes_and_less_does_not() {
    for kind in KINDS.into_iter().filter(|&kind| kind != DecoderKind::Detr) {
        let images = [vec![Thing::new(1, [2.0, 4.0, 18.0, 12.0], 0, 0.5)]];
        let at = |score_threshold| run(kind, &images, &Params { score_threshold, ..params() }).unwrap();
        assert_eq!(at(0.5)[0].as_ref().unwrap().len(), 1, "{kind}");
        assert_eq!(at(0.500_1)[0].as_ref().unwrap().len(), 0, "{kind}");
    }
}

#[test]
fn boxes_are_clamped_to_the_image_and_dropped_outside() {
    for kind in KINDS {
        let over_the_edge = Thing::new(0, [-6.0, -4.0, 10.0, 12.0], 0, 0.9);
        let outside = Thing::new(1, [-30.0, 2.0, -10.0, 12.0], 0, 0.8);
        let mut things = vec![over_the_edge];
        // Distances to a cell inside the image cannot reach a box outside.
        if kind != DecoderKind::NanoDet {
            things.push(outside);
        }
        let found = decode(kind, &[things]).unwrap();
        let clamped = Thing { bbox: [0.0, 0.0, 10.0, 12.0], ..over_the_edge };
        assert_found(kind, found[0].as_ref().unwrap(), &[clamped]);
    }
}

#[test]
fn at_most_max_detections_come_back_and_they_are_the_best() {
    for kind in KINDS {
        let things: Vec<_> = (0_u8..8)
            .map(|i| (usize::from(i), f32::from(i) * 8.0))
            .map(|(row, x)| Thing::new(row, [x, 0.0, x + 8.0, 8.0], 0, 0.5 + x / 1000.0))
            .collect();
        let found = run(kind, std::slice::from_ref(&things), &Params { max_detections: 2, ..params() });
        assert_found(kind, found.unwrap()[0].as_ref().unwrap(), &[things[7], things[6]]);
        let found = run(kind, &[things], &Params { max_detections: 0, ..params() });
        assert_eq!(found.unwrap(), [Ok(Vec::new())], "{kind}");
    }
}

#[test]
fn overlaps_are_suppressed_where_the_model_has_not_done_it() {
    for kind in KINDS {
        let better = Thing::new(1, [2.0, 4.0, 18.0, 12.0], 0, 0.9);
        let worse = Thing::new(9, [3.0, 4.0, 19.0, 12.0], 0, 0.8);
        let found = decode(kind, &[vec![worse, better]]).unwrap();
        let suppressed = matches!(kind, DecoderKind::Nms | DecoderKind::Ssd | DecoderKind::Detr);
        let expected: &[_] = if suppressed { &[better, worse] } else { &[better] };
        assert_found(kind, found[0].as_ref().unwrap(), expected);
    }
}

#[test]
fn the_declared_shapes_say_how_many_classes_there_are() {
    for kind in DecoderKind::ALL {
        let classes = check(kind, &declared(kind), &params()).unwrap().classes();
        let expected = match kind {
            DecoderKind::Nms | DecoderKind::Ssd | DecoderKind::Embedding => None,
            DecoderKind::CenterFace => Some(1),
            _ => Some(2),
        };
        assert_eq!(classes, expected, "{kind}");
    }
}

#[test]
fn open_dimensions_are_read_from_the_run() {
    for kind in KINDS {
        let mut open = declared(kind);
        for dim in open.iter_mut().flat_map(|output| output.dims.iter_mut().skip(1)) {
            *dim = None;
        }
        let Ok(decoder) = check(kind, &open, &params()) else {
            assert_eq!(kind, DecoderKind::Ssd, "{kind} reads open dimensions");
            continue;
        };
        let images = three_images();
        let owned = tensors(kind, &images);
        let views: Vec<_> = owned.iter().map(fixture::Tensor::view).collect();
        let found = all(&*decoder, &views, images.len(), &params()).unwrap();
        assert_eq!(found, decode(kind, &images).unwrap(), "{kind}");
    }
}

#[test]
fn more_classes_than_labels_fail_the_run() {
    let labels = |classes| Params { classes: Some(classes), ..params() };
    for kind in [DecoderKind::YoloV5, DecoderKind::YoloV8, DecoderKind::YoloX] {
        let decoder = check(kind, &declared(kind), &params()).unwrap();
        let owned = tensors(kind, &three_images());
        let views: Vec<_> = owned.iter().map(fixture::Tensor::view).collect();
        assert!(all(&*decoder, &views, 3, &labels(2)).is_ok(), "{kind}");
        let error = all(&*decoder, &views, 3, &labels(1)).unwrap_err();
        assert!(matches!(error, DecodeError::Shape { .. }), "{kind}: {error}");
    }
}

#[test]
fn the_model_of_the_fixtures_is_wide() {
    // So that a swap of axes shows.
    assert_eq!(MODEL, Size::new(64, 32));
}
