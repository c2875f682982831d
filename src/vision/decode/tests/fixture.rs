//! Writes the tensors of each layout for a list of things, by the inverse of the layout's formulas.

use super::super::grid::{Grid, STRIDES_3};
use super::super::*;
use crate::vision::Detection;

/// Size of the fixtures' model image: 42 cells of strides 8, 16 and 32.
pub(super) const MODEL: Size = Size::new(64, 32);

/// Rows of every layout but YOLOv5 (three times as many) and CenterFace (its own map).
pub(super) const CELLS: usize = 42;

/// The layouts that find boxes.
pub(super) const KINDS: [DecoderKind; 8] = [
    DecoderKind::YoloV5,
    DecoderKind::YoloV8,
    DecoderKind::YoloX,
    DecoderKind::NanoDet,
    DecoderKind::Nms,
    DecoderKind::Ssd,
    DecoderKind::Detr,
    DecoderKind::CenterFace,
];

/// A logit whose exponential is zero, yet finite.
const NEVER: f32 = -1e4;

pub(super) fn params() -> Params {
    Params { score_threshold: 0.4, iou_threshold: 0.5, max_detections: 300, model: MODEL, classes: None }
}

/// Something to be found, and the row it is written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thing {
    pub(super) row: usize,
    pub(super) bbox: [f32; 4],
    pub(super) class: usize,
    pub(super) score: f32,
}

impl Thing {
    pub(super) fn new(row: usize, bbox: [f32; 4], class: usize, score: f32) -> Self {
        Self { row, bbox, class, score }
    }

    /// Center x, center y, width, height.
    fn center(&self) -> [f32; 4] {
        let [x_min, y_min, x_max, y_max] = self.bbox;
        [(x_min + x_max) / 2.0, (y_min + y_max) / 2.0, x_max - x_min, y_max - y_min]
    }
}

#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) name: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f32>,
}

impl Tensor {
    pub(super) fn view(&self) -> TensorView<'_> {
        TensorView { name: self.name, shape: &self.shape, data: &self.data }
    }

    fn image(&mut self, image: usize) -> &mut [f32] {
        let len = self.data.len() / self.shape[0];
        &mut self.data[image * len..(image + 1) * len]
    }
}

/// Names, dimensions but the first, and the value where there is nothing.
type Outputs = Vec<(&'static str, Vec<usize>, f32)>;

fn outputs(kind: DecoderKind) -> Outputs {
    let map = |name, channels| (name, vec![channels, 8, 16], 0.0);
    match kind {
        DecoderKind::YoloV5 => vec![("output", vec![3 * CELLS, 7], 0.0)],
        DecoderKind::YoloV8 => vec![("output0", vec![6, CELLS], 0.0)],
        DecoderKind::YoloX => vec![("output", vec![CELLS, 7], 0.0)],
        DecoderKind::NanoDet => vec![("output", vec![CELLS, 2 + 44], 0.0)],
        DecoderKind::Nms => vec![("output0", vec![CELLS, 6], 0.0)],
        DecoderKind::Ssd => vec![
            ("num_detections", vec![], CELLS as f32),
            ("detection_scores", vec![CELLS], 0.0),
            ("detection_boxes", vec![CELLS, 4], 0.0),
            ("detection_classes", vec![CELLS], 0.0),
        ],
        DecoderKind::Detr => vec![("logits", vec![CELLS, 3], 0.0), ("pred_boxes", vec![CELLS, 4], 0.0)],
        DecoderKind::CenterFace => vec![map("537", 1), map("538", 2), map("539", 2), map("540", 10)],
        DecoderKind::Classifier => vec![("logits", vec![2], 0.0)],
        DecoderKind::Embedding => vec![("vector", vec![2], 1.0)],
    }
}

/// The shapes a model of the layout declares, its batch open.
pub(super) fn declared(kind: DecoderKind) -> Vec<OutputShape> {
    let declare = |(name, dims, _): (&str, Vec<usize>, f32)| OutputShape {
        name: name.to_owned(),
        dims: std::iter::once(None).chain(dims.into_iter().map(Some)).collect(),
    };
    outputs(kind).into_iter().map(declare).collect()
}

/// The tensors in which each of `images` has its things.
pub(super) fn tensors(kind: DecoderKind, images: &[Vec<Thing>]) -> Vec<Tensor> {
    let blank = |(name, dims, value): (&'static str, Vec<usize>, f32)| {
        let shape: Vec<usize> = std::iter::once(images.len()).chain(dims).collect();
        let data = vec![value; shape.iter().product()];
        Tensor { name, shape, data }
    };
    let mut tensors: Vec<_> = outputs(kind).into_iter().map(blank).collect();
    for (image, things) in images.iter().enumerate() {
        let mut slots: Vec<_> = tensors.iter_mut().map(|tensor| tensor.image(image)).collect();
        if kind == DecoderKind::Detr {
            slots[0].copy_from_slice(&[NEVER, NEVER, 0.0].repeat(CELLS));
        }
        for thing in things {
            write(kind, &mut slots, thing);
        }
    }
    tensors
}

/// The detections of each image of a run, or why that image has none.
pub(super) type Decoded = Vec<Result<Vec<Detection>, DecodeError>>;

/// What a workspace holds.
pub(super) fn results(workspace: &Workspace) -> Decoded {
    let owned = |result: Result<&[Detection], &DecodeError>| match result {
        Ok(found) => Ok(found.to_vec()),
        Err(error) => Err(error.clone()),
    };
    (0..workspace.images()).filter_map(|image| workspace.image(image).map(owned)).collect()
}

/// Decodes into a workspace of its own.
pub(super) fn all(
    decoder: &dyn Decoder,
    outputs: &[TensorView<'_>],
    batch: usize,
    params: &Params,
) -> Result<Decoded, DecodeError> {
    let mut workspace = Workspace::default();
    decoder.decode(outputs, batch, params, &mut workspace)?;
    Ok(results(&workspace))
}

/// Decodes `images` with a decoder built from the declared shapes.
pub(super) fn run(kind: DecoderKind, images: &[Vec<Thing>], params: &Params) -> Result<Decoded, DecodeError> {
    let owned = tensors(kind, images);
    let views: Vec<_> = owned.iter().map(Tensor::view).collect();
    all(&*check(kind, &declared(kind), params)?, &views, images.len(), params)
}

pub(super) fn decode(kind: DecoderKind, images: &[Vec<Thing>]) -> Result<Decoded, DecodeError> {
    run(kind, images, &params())
}

fn write(kind: DecoderKind, slots: &mut [&mut [f32]], thing: &Thing) {
    let Thing { row, bbox, class, score } = *thing;
    let [x, y, width, height] = thing.center();
    let scores = [0, 1].map(|other| if other == class { score } else { 0.0 });
    match kind {
        DecoderKind::YoloV5 => {
            slots[0][row * 7..][..7].copy_from_slice(&[x, y, width, height, 1.0, scores[0], scores[1]]);
        }
        DecoderKind::YoloV8 => {
            for (channel, value) in [x, y, width, height, scores[0], scores[1]].into_iter().enumerate() {
                slots[0][channel * CELLS + row] = value;
            }
        }
        DecoderKind::YoloX => {
            let cell = Grid::new(MODEL, STRIDES_3).cell(row).unwrap();
            let (x, y) = (x / cell.stride - cell.column, y / cell.stride - cell.row);
            let (width, height) = ((width / cell.stride).ln(), (height / cell.stride).ln());
            slots[0][row * 7..][..7].copy_from_slice(&[x, y, width, height, 1.0, scores[0], scores[1]]);
        }
        DecoderKind::NanoDet => write_nanodet(&mut slots[0][row * 46..][..46], thing, scores),
        DecoderKind::Nms => {
            let [x_min, y_min, x_max, y_max] = bbox;
            let values = [x_min, y_min, x_max, y_max, score, class as f32];
            slots[0][row * 6..][..6].copy_from_slice(&values);
        }
        DecoderKind::Ssd => {
            let [x_min, y_min, x_max, y_max] = bbox;
            slots[1][row] = score;
            slots[2][row * 4..][..4].copy_from_slice(&[
                y_min / 32.0,
                x_min / 64.0,
                y_max / 32.0,
                x_max / 64.0,
            ]);
            slots[3][row] = class as f32;
        }
        DecoderKind::Detr => {
            slots[0][row * 3 + class] = score.ln();
            slots[0][row * 3 + 2] = (1.0 - score).ln();
            slots[1][row * 4..][..4].copy_from_slice(&[x / 64.0, y / 32.0, width / 64.0, height / 32.0]);
        }
        DecoderKind::CenterFace => write_centerface(slots, thing),
        DecoderKind::Classifier | DecoderKind::Embedding => slots[0].copy_from_slice(&[1.0 - score, score]),
    }
}

/// Scores, then each side's distance in strides as a distribution over the two bins around it.
fn write_nanodet(values: &mut [f32], thing: &Thing, scores: [f32; 2]) {
    values[..2].copy_from_slice(&scores);
    let cell = Grid::new(MODEL, STRIDES_3).cell(thing.row).unwrap();
    let (x, y) = ((cell.column + 0.5) * cell.stride, (cell.row + 0.5) * cell.stride);
    let [x_min, y_min, x_max, y_max] = thing.bbox;
    for (side, distance) in [x - x_min, y - y_min, x_max - x, y_max - y].into_iter().enumerate() {
        let bins = &mut values[2 + side * 11..][..11];
        bins.fill(NEVER);
        let strides = distance / cell.stride;
        if !strides.is_finite() {
            bins[0] = strides;
            continue;
        }
        assert!((0.0..10.0).contains(&strides), "{thing:?} is not within reach of its cell");
        bins[strides as usize] = (1.0 - strides.fract()).ln();
        if strides.fract() > 0.0 {
            bins[strides as usize + 1] = strides.fract().ln();
        }
    }
}

/// Landmarks are written at a tenth, two tenths, … of the box.
fn write_centerface(slots: &mut [&mut [f32]], thing: &Thing) {
    let cells = 8 * 16;
    let [x, y, width, height] = thing.center();
    let (column, row) = ((thing.row % 16) as f32, (thing.row / 16) as f32);
    slots[0][thing.row] = thing.score;
    slots[1][thing.row] = (height / 4.0).ln();
    slots[1][cells + thing.row] = (width / 4.0).ln();
    slots[2][thing.row] = y / 4.0 - 0.5 - row;
    slots[2][cells + thing.row] = x / 4.0 - 0.5 - column;
    for channel in 0..10 {
        slots[3][channel * cells + thing.row] = (channel + 1) as f32 / 10.0;
    }
}
