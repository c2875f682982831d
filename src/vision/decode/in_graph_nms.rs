//! Models that end in finished detections: rows of box corners in model pixels, class id and score.
//!
//! * `[M, 7]`: image, x1, y1, x2, y2, class, score, for the whole batch, as YOLOv7's end-to-end export
//!   writes them;
//! * `[N, K, 6]`: x1, y1, x2, y2, score, class, as YOLOv10 and later end-to-end exports write them.
//!
//! Overlaps are not suppressed again. Rows below the threshold are padding, whatever else they say.

use super::candidates::{Candidate, Overlaps, class_id, detections, score};
use super::tensor::{Batched, Site, all_finite, only, row, values};
use super::workspace::Scratch;
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
use crate::vision::Rect;

/// Which column holds what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    count: usize,
    bbox: usize,
    class: usize,
    score: usize,
}

/// Columns of `[M, 7]`; the image is column 0.
const FLAT: Columns = Columns { count: 7, bbox: 1, class: 5, score: 6 };

/// Columns of `[N, K, 6]`.
const PER_IMAGE: Columns = Columns { count: 6, bbox: 0, class: 5, score: 4 };

pub(super) struct InGraphNms {
    output: String,
    columns: Columns,
}

impl InGraphNms {
    pub(super) fn bind(outputs: &[OutputShape]) -> Result<Self, DecodeError> {
        let fits = |output: &OutputShape| output.fits(2, &[(1, 7)]) || output.fits(3, &[(2, 6)]);
        let output = only(outputs, DecoderKind::Nms.layout(), fits)?;
        let columns = if output.rank() == 2 { FLAT } else { PER_IMAGE };
        Ok(Self { output: output.name.clone(), columns })
    }

    /// Lists the rows of `[M, 7]` by the image they name, leaving out those below the threshold.
    fn rows_by_image(
        &self,
        tensor: &Batched<'_>,
        batch: usize,
        params: &Params,
        rows: &mut Vec<(usize, usize)>,
    ) -> Result<(), DecodeError> {
        rows.clear();
        for (index, row) in tensor.data().chunks_exact(FLAT.count).enumerate() {
            let ([found], [score]) = (values(row, 0), values(row, FLAT.score));
            if score < params.score_threshold {
                continue;
            }
            // The cast saturates and makes NaN zero; the comparison then tells what was no whole number.
            let image = found as usize;
            if image >= batch || image as f32 != found {
                let output = self.output.clone();
                return Err(DecodeError::ImageIndex { output, row: index, batch, found });
            }
            rows.push((image, index));
        }
        // Models write the rows of an image together, so this finds them in order.
        rows.sort_unstable();
        Ok(())
    }

    /// The candidate that a row of `data` is, if it passes.
    fn candidate(
        &self,
        data: &[f32],
        index: usize,
        site: Site<'_>,
        params: &Params,
    ) -> Result<Option<Candidate>, DecodeError> {
        let Columns { count, class, score: score_column, .. } = self.columns;
        let values_of = row(data, count, index);
        let ([class], [raw]) = (values(values_of, class), values(values_of, score_column));
        let Some(score) = score(raw, site, params)? else { return Ok(None) };
        Ok(Some(Candidate { row: index, class: class_id(class, site, params)?, score }))
    }

    /// Adds the detections of one image, whose candidates are rows of `data`.
    fn image(
        &self,
        data: &[f32],
        site: Site<'_>,
        params: &Params,
        scratch: &mut Scratch,
    ) -> Result<(), DecodeError> {
        let Columns { count, bbox, .. } = self.columns;
        let corners_of = |index| values::<4>(row(data, count, index), bbox);
        let rect_of = |index| {
            let [x_min, y_min, x_max, y_max] = corners_of(index);
            Rect::from_corners(x_min, y_min, x_max, y_max)
        };
        detections(scratch, site, params, Overlaps::Keep, |index| all_finite(&corners_of(index)), rect_of)
    }
}

impl Decoder for InGraphNms {
    fn kind(&self) -> DecoderKind {
        DecoderKind::Nms
    }

    fn classes(&self) -> Option<usize> {
        None
    }

    fn decode(
        &self,
        outputs: &[TensorView<'_>],
        batch: usize,
        params: &Params,
        workspace: &mut Workspace,
    ) -> Result<(), DecodeError> {
        workspace.clear();
        let expected = self.kind().layout();
        if self.columns == FLAT {
            let tensor = Batched::unassigned(outputs, &self.output, 2, expected)?;
            if tensor.dim(1) != FLAT.count {
                return Err(tensor.mismatch(expected));
            }
            self.rows_by_image(&tensor, batch, params, &mut workspace.scratch().rows)?;
            let mut next = 0;
            workspace.each_image(batch, |image, scratch| {
                let (data, site) = (tensor.data(), tensor.site(image));
                let rows = scratch.rows.get(next..).unwrap_or_default();
                let rows = rows.get(..rows.partition_point(|&(of, _)| of == image)).unwrap_or_default();
                next += rows.len();
                for &(_, index) in rows {
                    scratch.candidates.extend(self.candidate(data, index, site, params)?);
                }
                self.image(data, site, params, scratch)
            });
            return Ok(());
        }
        let tensor = Batched::of(outputs, &self.output, 3, expected, batch)?;
        if tensor.dim(2) != PER_IMAGE.count {
            return Err(tensor.mismatch(expected));
        }
        workspace.each_image(batch, |image, scratch| {
            let (data, site) = (tensor.image(image), tensor.site(image));
            for index in 0..tensor.dim(1) {
                scratch.candidates.extend(self.candidate(data, index, site, params)?);
            }
            self.image(data, site, params, scratch)
        });
        Ok(())
    }
}
