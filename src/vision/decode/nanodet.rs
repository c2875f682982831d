//! NanoDet: `[N, cells, classes + 4 * bins]`, each row class scores (after the sigmoid), then for the left,
//! top, right and bottom side a distribution over distances of 0, 1, … strides, before the softmax.
//!
//! NanoDet (three maps, strides 8 16 32) measures from the middle of a cell, NanoDet-Plus (a fourth map,
//! stride 64) from its corner: `get_single_level_center_point` and `get_single_level_center_priors` of
//! RangiLyu/nanodet.

use std::fmt;

use super::candidates::{Overlaps, best_passing, detections, scan};
use super::grid::{Cell, Grid, STRIDES_3, STRIDES_4};
use super::tensor::{Batched, all_finite, only, row};
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
use crate::vision::{Rect, Size};

const RANK: usize = 3;

const SIDES: usize = 4;

/// Bins per side of NanoDet-g, whose `reg_max` is 10.
const BINS_G: usize = 11;

/// Bins per side of the other NanoDets and of NanoDet-Plus, whose `reg_max` is 7.
const BINS: usize = 8;

/// Most bins per side believed of a model whose number of classes is known.
const MAX_BINS: usize = 64;

/// The classes of COCO, which most published models are trained on.
const COCO_CLASSES: usize = 80;

/// How a row is divided and which maps the rows belong to.
struct Head {
    classes: usize,
    bins: usize,
    grid: Grid,
    /// Where in its cell a prediction measures from, in strides.
    origin: f32,
}

impl Head {
    /// The head of `[N, cells, channels]`; `None` if these are not the cells of the model's image, or the
    /// channels hold no class.
    fn of(cells: usize, channels: usize, params: &Params) -> Option<Self> {
        let (three, four) = (Grid::new(params.model, STRIDES_3), Grid::new(params.model, STRIDES_4));
        let (grid, origin, guesses) = match cells {
            cells if cells == three.cells() && channels == COCO_CLASSES + SIDES * BINS => {
                (three, 0.5, [BINS, BINS_G])
            }
            cells if cells == three.cells() => (three, 0.5, [BINS_G, BINS]),
            cells if cells == four.cells() => (four, 0.0, [BINS, BINS_G]),
            _ => return None,
        };
        let bins = bins_beside(params.classes, channels)
            .or_else(|| guesses.into_iter().find(|bins| channels > SIDES * bins))?;
        Some(Self { classes: channels - SIDES * bins, bins, grid, origin })
    }
}

/// The bins that `channels` leave beside the known classes, if they leave a possible number.
fn bins_beside(classes: Option<usize>, channels: usize) -> Option<usize> {
    let rest = channels.checked_sub(classes.filter(|&classes| classes > 0)?)?;
    let bins = rest / SIDES;
    (rest % SIDES == 0 && (2..=MAX_BINS).contains(&bins)).then_some(bins)
}

pub(super) struct NanoDet {
    output: String,
    /// The cells, channels and classes declared, if all are.
    declared: Option<(usize, usize, usize)>,
}

impl NanoDet {
    pub(super) fn bind(outputs: &[OutputShape], params: &Params) -> Result<Self, DecodeError> {
        let head_of = |output: &OutputShape| {
            let (cells, channels) = output.dim(1).zip(output.dim(2))?;
            Some(Head::of(cells, channels, params).map(|head| (cells, channels, head.classes)))
        };
        let fits =
            |output: &OutputShape| output.rank() == RANK && head_of(output).is_none_or(|head| head.is_some());
        let output = only(outputs, Expected(params.model), fits)?;
        Ok(Self { output: output.name.clone(), declared: head_of(output).flatten() })
    }
}

/// The layout for a model image of that size, written only for an error.
struct Expected(Size);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [three, four] = [STRIDES_3, STRIDES_4].map(|strides| Grid::new(self.0, strides).cells());
        write!(f, "[N, {three} or {four}, classes + 4 * bins]")
    }
}

impl Decoder for NanoDet {
    fn kind(&self) -> DecoderKind {
        DecoderKind::NanoDet
    }

    fn classes(&self) -> Option<usize> {
        self.declared.map(|(_, _, classes)| classes)
    }

    fn decode(
        &self,
        outputs: &[TensorView<'_>],
        batch: usize,
        params: &Params,
        workspace: &mut Workspace,
    ) -> Result<(), DecodeError> {
        workspace.clear();
        let expected = Expected(params.model);
        let tensor = Batched::of(outputs, &self.output, RANK, &expected, batch)?;
        let (cells, channels) = (tensor.dim(1), tensor.dim(2));
        let Some(head) = Head::of(cells, channels, params) else {
            return Err(tensor.mismatch(expected));
        };
        if self.declared.is_some_and(|declared| declared != (cells, channels, head.classes)) {
            return Err(tensor.mismatch(expected));
        }
        tensor.check_classes(head.classes, params)?;
        workspace.each_image(batch, |image, scratch| {
            let (data, site) = (tensor.image(image), tensor.site(image));
            scan(data, channels, &mut scratch.candidates, |values| {
                best_passing(values.get(..head.classes).unwrap_or_default(), site, params)
            })?;
            let sides_of = |index| row(data, channels, index).get(head.classes..).unwrap_or_default();
            let finite = |index| all_finite(sides_of(index));
            let rect_of = |index| rect(sides_of(index), &head, index);
            detections(scratch, site, params, Overlaps::Suppress, finite, rect_of)
        });
        Ok(())
    }
}

fn rect(sides: &[f32], head: &Head, index: usize) -> Rect {
    let cell = head.grid.cell(index).expect("the tensor has as many rows as the grid has cells");
    let Cell { column, row: line, stride } = cell;
    let distance = |side| expectation(row(sides, head.bins, side)) * stride;
    let (x, y) = ((column + head.origin) * stride, (line + head.origin) * stride);
    Rect::from_corners(x - distance(0), y - distance(1), x + distance(2), y + distance(3))
}

/// The mean index of a distribution given by its logits.
fn expectation(logits: &[f32]) -> f32 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (index, logit) in logits.iter().enumerate() {
        let weight = (logit - greatest).exp();
        sum += weight;
        weighted += weight * index as f32;
    }
    weighted / sum
}
