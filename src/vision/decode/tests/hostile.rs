//! Numbers, shapes and counts that no good model produces.

use proptest::prelude::*;

use super::super::*;
use super::fixture::{Decoded, KINDS, MODEL, Tensor, Thing, all, declared, decode, params, tensors};
use crate::vision::{Detection, Rect};

const BBOX: [f32; 4] = [2.0, 4.0, 18.0, 12.0];

fn is_non_finite<T>(result: &Result<T, DecodeError>, slot: usize) -> bool {
    matches!(result, Err(DecodeError::NonFinite { image, .. }) if *image == slot)
}

#[test]
fn a_score_that_is_not_finite_fails_its_image_only() {
    for kind in KINDS {
        for score in [f32::NAN, f32::INFINITY] {
            let good = vec![Thing::new(1, BBOX, 0, 0.9)];
            let bad = vec![Thing::new(9, BBOX, 0, 0.9), Thing::new(1, BBOX, 0, score)];
            let found = decode(kind, &[good.clone(), bad, good]).unwrap();
            assert!(is_non_finite(&found[1], 1), "{kind} {score}: {:?}", found[1]);
            assert!(found[0].is_ok() && found[0] == found[2], "{kind} {score}");
        }
    }
}

#[test]
fn a_box_that_is_not_finite_fails_its_image_if_it_passes_the_threshold() {
    for kind in KINDS {
        for side in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let thing = |score| vec![Thing::new(1, [2.0, 4.0, side, 12.0], 0, score)];
            let found = decode(kind, &[thing(0.9), thing(0.1)]).unwrap();
            assert!(is_non_finite(&found[0], 0), "{kind} {side}: {:?}", found[0]);
            assert_eq!(found[1], Ok(Vec::new()), "{kind} {side}");
        }
    }
}

#[test]
fn huge_sizes_are_clamped() {
    for kind in [DecoderKind::YoloX, DecoderKind::CenterFace] {
        let mut owned = tensors(kind, &[vec![Thing::new(1, BBOX, 0, 0.9)]]);
        let logs: &mut [f32] = match kind {
            DecoderKind::YoloX => &mut owned[0].data[7 + 2..][..2],
            _ => &mut owned[1].data,
        };
        logs.fill(f32::MAX);
        let found = decode_owned(kind, &owned, 1).unwrap().remove(0).unwrap();
        assert_eq!(found[0].bbox, Rect::from_corners(0.0, 0.0, 64.0, 32.0), "{kind}");
    }
}

#[test]
fn scores_beyond_one_are_clamped() {
    for kind in KINDS.into_iter().filter(|&kind| kind != DecoderKind::Detr) {
        let found = decode(kind, &[vec![Thing::new(1, BBOX, 0, 1.5)]]).unwrap().remove(0).unwrap();
        assert_eq!(found[0].confidence, 1.0, "{kind}");
    }
}

#[test]
fn boxes_with_their_sides_swapped_are_dropped() {
    for kind in
        [DecoderKind::YoloV5, DecoderKind::YoloV8, DecoderKind::Nms, DecoderKind::Ssd, DecoderKind::Detr]
    {
        for bbox in [[18.0, 4.0, 2.0, 12.0], [2.0, 12.0, 18.0, 4.0], [2.0, 4.0, 2.0, 12.0]] {
            let found = decode(kind, &[vec![Thing::new(1, bbox, 0, 0.9)]]).unwrap();
            assert_eq!(found, [Ok(Vec::new())], "{kind}");
        }
    }
}

fn decode_owned(kind: DecoderKind, owned: &[Tensor], batch: usize) -> Result<Decoded, DecodeError> {
    let views: Vec<_> = owned.iter().map(Tensor::view).collect();
    all(&*check(kind, &declared(kind), &params()).unwrap(), &views, batch, &params())
}

#[test]
fn fewer_or_more_rows_than_the_batch_fail_the_run() {
    for kind in DecoderKind::ALL {
        let owned = tensors(kind, &[Vec::new(), Vec::new()]);
        for batch in [1, 3, usize::MAX] {
            let error = decode_owned(kind, &owned, batch).unwrap_err();
            assert!(
                matches!(error, DecodeError::Rows { expected, found: 2, .. } if expected == batch),
                "{kind}: {error}"
            );
        }
    }
}

#[test]
fn another_rank_fails_the_run_and_is_refused_when_declared() {
    for kind in DecoderKind::ALL {
        for index in 0..declared(kind).len() {
            let mut owned = tensors(kind, &[Vec::new()]);
            owned[index].shape.insert(1, 1);
            let error = decode_owned(kind, &owned, 1).unwrap_err();
            assert!(matches!(error, DecodeError::Shape { .. }), "{kind}: {error}");
        }
        let mut shapes = declared(kind);
        for shape in &mut shapes {
            shape.dims.extend([Some(3), Some(3), Some(3)]);
        }
        assert!(check(kind, &shapes, &params()).is_err(), "{kind}");
        assert!(check(kind, &[], &params()).is_err(), "{kind}");
    }
}

#[test]
fn a_missing_output_and_missing_values_fail_the_run() {
    for kind in DecoderKind::ALL {
        for index in 0..declared(kind).len() {
            let owned = tensors(kind, &[Vec::new()]);
            let mut missing = owned.clone();
            missing.remove(index);
            let error = decode_owned(kind, &missing, 1).unwrap_err();
            assert!(matches!(error, DecodeError::NoOutput { .. }), "{kind}: {error}");
            let mut short = owned.clone();
            short[index].data.pop();
            let error = decode_owned(kind, &short, 1).unwrap_err();
            assert!(matches!(error, DecodeError::Values { .. }), "{kind}: {error}");
            let mut absurd = owned;
            absurd[index].shape.fill(usize::MAX);
            assert!(decode_owned(kind, &absurd, 1).is_err(), "{kind}");
        }
    }
}

#[test]
fn other_dimensions_than_declared_fail_the_run() {
    for kind in DecoderKind::ALL {
        for axis in 1..4 {
            let mut owned = tensors(kind, &[Vec::new()]);
            let tensor = owned.last_mut().unwrap();
            if tensor.shape.len() <= axis {
                continue;
            }
            tensor.shape[axis] += 1;
            tensor.data = vec![0.0; tensor.shape.iter().product()];
            let result = decode_owned(kind, &owned, 1);
            // The number of rows is free where it is not tied to the image.
            let free = match kind {
                DecoderKind::YoloV5 | DecoderKind::Nms => axis == 1,
                DecoderKind::YoloV8 => axis == 2,
                _ => false,
            };
            assert_eq!(result.is_ok(), free, "{kind} axis {axis}: {result:?}");
        }
    }
}

/// The values of `rows` rows, each made for one of 64 × 32 places in turn.
fn crowd(rows: usize, fill: impl Fn(f32, f32) -> Vec<f32>) -> Vec<f32> {
    (0..rows).flat_map(|index| fill((index % 64) as f32, (index / 64 % 32) as f32)).collect()
}

/// However many detections are asked for where places repeat; only the usual number where all differ, since
/// the test build takes seconds to compare 30 000 boxes with each other.
fn assert_bounded(kind: DecoderKind, model: Size, tensors: &[(&str, &[usize], &[f32])]) {
    let params = Params { model, ..params() };
    let declare = |&(name, shape, _): &(&str, &[usize], &[f32])| OutputShape {
        name: name.to_owned(),
        dims: shape.iter().copied().map(Some).collect(),
    };
    let shapes: Vec<_> = tensors.iter().map(declare).collect();
    let views: Vec<_> = tensors.iter().map(|&(name, shape, data)| TensorView { name, shape, data }).collect();
    let decoder = check(kind, &shapes, &params).unwrap();
    let limits: &[usize] = if model == MODEL { &[300, usize::MAX] } else { &[300] };
    for &max_detections in limits {
        let params = Params { max_detections, ..params };
        let found = all(&*decoder, &views, 1, &params).unwrap().remove(0).unwrap();
        assert!(!found.is_empty() && found.len() <= max_detections.min(30_000), "{kind}");
    }
}

#[test]
fn a_million_boxes_are_bounded_where_rows_are_free() {
    let million = 1_000_000;
    let rows = crowd(million, |x, y| vec![x, y, 4.0, 4.0, 0.9, 0.9]);
    assert_bounded(DecoderKind::YoloV5, MODEL, &[("o", &[1, million, 6], &rows)]);
    assert_bounded(DecoderKind::YoloV8, MODEL, &[("o", &[1, million, 6], &rows)]);
    let columns: Vec<_> = (0..5).flat_map(|c| rows.iter().skip(c).step_by(6).copied()).collect();
    assert_bounded(DecoderKind::YoloV8, MODEL, &[("o", &[1, 5, million], &columns)]);
    let rows = crowd(million, |x, y| vec![x, y, x + 4.0, y + 4.0, 0.9, 0.0]);
    assert_bounded(DecoderKind::Nms, MODEL, &[("o", &[1, million, 6], &rows)]);
    let rows = crowd(million, |x, y| vec![0.0, x, y, x + 4.0, y + 4.0, 0.0, 0.9]);
    assert_bounded(DecoderKind::Nms, MODEL, &[("o", &[million, 7], &rows)]);
    let boxes = crowd(million, |x, y| vec![y / 64.0, x / 64.0, 1.0, 1.0]);
    let (zeros, scores) = (vec![0.0; million], vec![0.9; million]);
    let ssd: [(&str, &[usize], &[f32]); 3] = [
        ("boxes", &[1, million, 4], &boxes),
        ("classes", &[1, million], &zeros),
        ("scores", &[1, million], &scores),
    ];
    assert_bounded(DecoderKind::Ssd, MODEL, &ssd);
    let logits = crowd(million, |_, _| vec![2.0, 0.0]);
    let detr: [(&str, &[usize], &[f32]); 2] =
        [("logits", &[1, million, 2], &logits), ("boxes", &[1, million, 4], &boxes)];
    assert_bounded(DecoderKind::Detr, MODEL, &detr);
}

#[test]
fn a_million_boxes_are_bounded_where_the_image_sets_the_rows() {
    let large = Size::new(7040, 7040);
    let cells = 880 * 880 + 440 * 440 + 220 * 220;
    let rows = crowd(cells, |_, _| vec![0.0, 0.0, 0.0, 0.0, 0.9, 0.9]);
    assert_bounded(DecoderKind::YoloX, large, &[("o", &[1, cells, 6], &rows)]);
    let (smaller, cells) = (Size::new(3520, 3520), cells / 4);
    let rows = crowd(cells, |_, _| [vec![0.9], vec![0.0; 32]].concat());
    assert_bounded(DecoderKind::NanoDet, smaller, &[("o", &[1, cells, 33], &rows)]);
    let faces = Size::new(4000, 4000);
    let map = |channels: usize, value: f32| vec![value; channels * 1_000_000];
    let (heat, size, offset, landmarks) = (map(1, 0.9), map(2, 0.0), map(2, 0.0), map(10, 0.5));
    let maps: [(&str, &[usize], &[f32]); 4] = [
        ("537", &[1, 1, 1000, 1000], &heat),
        ("538", &[1, 2, 1000, 1000], &size),
        ("539", &[1, 2, 1000, 1000], &offset),
        ("540", &[1, 10, 1000, 1000], &landmarks),
    ];
    assert_bounded(DecoderKind::CenterFace, faces, &maps);
}

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => 0.0_f32..1.0,
        2 => -100.0_f32..100.0,
        1 => prop::sample::select(vec![
            0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE,
        ]),
    ]
}

/// A run of a layout: tensors of the right names, most with the right shapes, filled with `numbers` in turn.
fn shaped(
    kind: DecoderKind,
    batch: usize,
    change: Option<(usize, usize, usize)>,
    numbers: &[f32],
) -> Vec<Tensor> {
    let mut owned = tensors(kind, &vec![Vec::new(); batch]);
    if let Some((output, axis, dim)) = change {
        let tensors = owned.len();
        let shape = &mut owned[output % tensors].shape;
        let axes = shape.len();
        shape[axis % axes] = dim;
    }
    for tensor in &mut owned {
        let len = tensor.shape.iter().product();
        tensor.data = numbers.iter().copied().cycle().take(len).collect();
    }
    owned
}

fn assert_valid(found: &Decoded, batch: usize, params: &Params) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), batch);
    for detections in found.iter().flatten() {
        prop_assert!(detections.len() <= params.max_detections);
        for Detection { bbox, confidence, landmarks, .. } in detections {
            prop_assert!(bbox.is_finite() && bbox.width() > 0.0 && bbox.height() > 0.0);
            prop_assert_eq!(*bbox, bbox.clamped(params.model));
            prop_assert!((0.0..=1.0).contains(confidence));
            prop_assert!(landmarks.as_flattened().iter().all(|value| value.is_finite()));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_run_panics_and_what_comes_back_is_valid(
        kind in prop::sample::select(DecoderKind::ALL.to_vec()),
        batch in 0..4_usize,
        change in prop::option::weighted(0.3, (0..4_usize, 0..4_usize, 0..50_usize)),
        numbers in prop::collection::vec(number(), 1..400),
        score_threshold in number(),
        iou_threshold in number(),
        max_detections in 0..20_usize,
        open in any::<bool>(),
    ) {
        let owned = shaped(kind, batch, change, &numbers);
        let views: Vec<_> = owned.iter().map(Tensor::view).collect();
        let mut shapes = declared(kind);
        if open && kind != DecoderKind::Ssd {
            shapes.iter_mut().for_each(|shape| shape.dims.fill(None));
        }
        let params = Params { score_threshold, iou_threshold, max_detections, ..params() };
        let decoder = check(kind, &shapes, &params).unwrap();
        if let Ok(found) = all(&*decoder, &views, batch, &params) {
            assert_valid(&found, batch, &params)?;
        }
    }

    #[test]
    fn no_declaration_panics(
        dims in prop::collection::vec(
            prop::collection::vec(prop::option::of(prop_oneof![0..12_usize, any::<usize>()]), 0..6), 0..5,
        ),
        names in prop::option::of(prop_oneof![0..100_usize, any::<usize>()]),
        (width, height) in (any::<u32>(), any::<u32>()),
    ) {
        let shape = |(index, dims)| OutputShape { name: format!("o{index}"), dims };
        let shapes: Vec<_> = dims.into_iter().enumerate().map(shape).collect();
        let model = Size::new(width, height);
        let params = Params { model, classes: names, ..params() };
        for kind in DecoderKind::ALL {
            check(kind, &shapes, &params).map(|decoder| decoder.classes()).ok();
        }
        if let Ok(kind) = choose(&shapes, &Hints { task: None, names, model }) {
            prop_assert!(check(kind, &shapes, &params).is_ok(), "{kind} was chosen and cannot read {shapes:?}");
        }
    }
}
