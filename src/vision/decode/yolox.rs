//! YOLOX: `[N, anchors, 5 + classes]`, each row offset x, offset y, log width, log height, objectness, class
//! scores, relative to a cell of the feature maps of strides 8, 16 and 32: the center is (offset + cell) ×
//! stride, the size exp(log size) × stride. Exports made with the grid already applied are `yolov5` rows.

use std::fmt;

use super::candidates::{Overlaps, capped_exp, detections, scan, with_objectness};
use super::grid::{Grid, STRIDES_3};
use super::tensor::{Batched, all_finite, only, row, values};
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
use crate::vision::Rect;

/// Box and objectness come before the class scores.
const BEFORE_CLASSES: usize = 5;

const RANK: usize = 3;

pub(super) struct YoloX {
    output: String,
    channels: Option<usize>,
}

impl YoloX {
    pub(super) fn bind(outputs: &[OutputShape], params: &Params) -> Result<Self, DecodeError> {
        let cells = Grid::new(params.model, STRIDES_3).cells();
        let fits = |output: &OutputShape| {
            output.fits(RANK, &[(1, cells)]) && output.dim(2).is_none_or(|channels| channels > BEFORE_CLASSES)
        };
        let output = only(outputs, Expected(cells), fits)?;
        Ok(Self { output: output.name.clone(), channels: output.dim(2) })
    }
}

/// The layout for that many cells, written only for an error.
struct Expected(usize);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[N, {}, 5 + classes]", self.0)
    }
}

impl Decoder for YoloX {
    fn kind(&self) -> DecoderKind {
        DecoderKind::YoloX
    }

    fn classes(&self) -> Option<usize> {
        self.channels.map(|channels| channels - BEFORE_CLASSES)
    }

    fn decode(
        &self,
        outputs: &[TensorView<'_>],
        batch: usize,
        params: &Params,
        workspace: &mut Workspace,
    ) -> Result<(), DecodeError> {
        workspace.clear();
        let grid = Grid::new(params.model, STRIDES_3);
        let expected = Expected(grid.cells());
        let tensor = Batched::of(outputs, &self.output, RANK, &expected, batch)?;
        let channels = tensor.dim(2);
        if tensor.dim(1) != grid.cells()
            || channels <= BEFORE_CLASSES
            || self.channels.is_some_and(|declared| declared != channels)
        {
            return Err(tensor.mismatch(expected));
        }
        tensor.check_classes(channels - BEFORE_CLASSES, params)?;
        workspace.each_image(batch, |image, scratch| {
            let (data, site) = (tensor.image(image), tensor.site(image));
            scan(data, channels, &mut scratch.candidates, |values| with_objectness(values, site, params))?;
            let raw_of = |index| values::<4>(row(data, channels, index), 0);
            let rect_of = |index| rect(raw_of(index), &grid, index);
            let finite = |index| all_finite(&raw_of(index));
            detections(scratch, site, params, Overlaps::Suppress, finite, rect_of)
        });
        Ok(())
    }
}

fn rect([x, y, log_width, log_height]: [f32; 4], grid: &Grid, index: usize) -> Rect {
    let cell = grid.cell(index).expect("the tensor has as many rows as the grid has cells");
    Rect::from_center(
        (x + cell.column) * cell.stride,
        (y + cell.row) * cell.stride,
        capped_exp(log_width) * cell.stride,
        capped_exp(log_height) * cell.stride,
    )
}
