//! Models that end in finished detections: rows of box corners in model pixels, class id and score.
//!
//! * `[M, 7]`: image, x1, y1, x2, y2, class, score, for the whole batch, as YOLOv7's end-to-end export
//!   writes them;
//! * `[N, K, 6]`: x1, y1, x2, y2, score, class, as YOLOv10 and later end-to-end exports write them.
//!
//! Overlaps are not suppressed again. Rows below the threshold are padding, whatever else they say.

use super::candidates::{Candidate, Overlaps, class_id, detections, score};
use super::tensor::{Batched, Site, all_finite, each_image, only, row, values};
use super::{DecodeError, Decoded, Decoder, DecoderKind, OutputShape, Params, TensorView};
use crate::vision::{Detection, Rect};

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

    /// The rows of `[M, 7]` by the image they name, leaving out those below the threshold.
    fn rows_by_image(
        &self,
        tensor: &Batched<'_>,
        batch: usize,
        params: &Params,
    ) -> Result<Vec<Vec<usize>>, DecodeError> {
        let mut rows_by_image = vec![Vec::new(); batch];
        for (index, row) in tensor.data().chunks_exact(FLAT.count).enumerate() {
            let ([found], [score]) = (values(row, 0), values(row, FLAT.score));
            if score < params.score_threshold {
                continue;
            }
            // The cast saturates and makes NaN zero; the comparison then tells what was no whole number.
            let image = found as usize;
            match rows_by_image.get_mut(image).filter(|_| image as f32 == found) {
                Some(rows) => rows.push(index),
                None => {
                    let output = self.output.clone();
                    return Err(DecodeError::ImageIndex { output, row: index, batch, found });
                }
            }
        }
        Ok(rows_by_image)
    }

    /// The detections of one image, whose rows are those of `data` at `rows`.
    fn image(
        &self,
        data: &[f32],
        rows: impl Iterator<Item = usize>,
        site: Site<'_>,
        params: &Params,
    ) -> Result<Vec<Detection>, DecodeError> {
        let Columns { count, bbox, class, score: score_column } = self.columns;
        let mut candidates = Vec::new();
        for index in rows {
            let values_of = row(data, count, index);
            let ([class], [raw]) = (values(values_of, class), values(values_of, score_column));
            if let Some(score) = score(raw, site, params)? {
                candidates.push(Candidate { row: index, class: class_id(class, site, params)?, score });
            }
        }
        let corners_of = |index| values::<4>(row(data, count, index), bbox);
        let rect_of = |index| {
            let [x_min, y_min, x_max, y_max] = corners_of(index);
            Rect::from_corners(x_min, y_min, x_max, y_max)
        };
        detections(candidates, site, params, Overlaps::Keep, |index| all_finite(&corners_of(index)), rect_of)
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
    ) -> Result<Decoded, DecodeError> {
        let expected = self.kind().layout();
        if self.columns == FLAT {
            let tensor = Batched::unassigned(outputs, &self.output, 2, expected)?;
            if tensor.dim(1) != FLAT.count {
                return Err(tensor.mismatch(expected));
            }
            let rows = self.rows_by_image(&tensor, batch, params)?;
            return Ok(rows
                .into_iter()
                .enumerate()
                .map(|(image, rows)| self.image(tensor.data(), rows.into_iter(), tensor.site(image), params))
                .collect());
        }
        let tensor = Batched::of(outputs, &self.output, 3, expected, batch)?;
        if tensor.dim(2) != PER_IMAGE.count {
            return Err(tensor.mismatch(expected));
        }
        let per_image = 0..tensor.dim(1);
        Ok(each_image(batch, |image| {
            self.image(tensor.image(image), per_image.clone(), tensor.site(image), params)
        }))
    }
}
