//! DETR: logits `[N, queries, classes + 1]`, of which the last stands for no object, and boxes
//! `[N, queries, 4]` as center x, center y, width, height in `0..=1` of the model image. Every query is at
//! most one object; nothing is suppressed.
//!
//! RT-DETR and Deformable DETR have no such last class and score each class by itself (sigmoid). The number
//! of labels tells: if it equals the logits of a query, there is no last class. Without labels there is one.

use super::candidates::{Candidate, Overlaps, best_class, detections, score};
use super::tensor::{Batched, all_finite, describe, row, values};
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
use crate::vision::Rect;

const RANK: usize = 3;

/// How logits become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scoring {
    /// Over all classes and the last one, no object.
    Softmax,
    /// Each class by itself.
    Sigmoid,
}

impl Scoring {
    fn of(logits: usize, params: &Params) -> Self {
        if params.classes == Some(logits) { Self::Sigmoid } else { Self::Softmax }
    }

    fn classes(self, logits: usize) -> usize {
        match self {
            Self::Softmax => logits.saturating_sub(1),
            Self::Sigmoid => logits,
        }
    }

    /// The best class of a query and its score, which is not finite if a logit that counts is not. Where it
    /// is certain to be below `threshold`, no more than a bound of the score.
    fn best(self, logits: &[f32], threshold: f32) -> (u32, f32) {
        let (classes, rest) = logits.split_at_checked(self.classes(logits.len())).unwrap_or_default();
        let (class, logit) = best_class(classes);
        if !logit.is_finite() {
            return (class, logit);
        }
        let score = match self {
            Self::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
            Self::Softmax => {
                let (_, greatest) = best_class(rest.iter().chain([&logit]));
                // The greatest adds exp(0) = 1 to the sum, so the score is no more than this. Most queries
                // see nothing, and for them the exponentials of the other classes need not be computed.
                let bound = (logit - greatest).exp();
                if greatest.is_finite() && bound < threshold {
                    return (class, bound);
                }
                bound / logits.iter().map(|other| (other - greatest).exp()).sum::<f32>()
            }
        };
        (class, score)
    }
}

pub(super) struct Detr {
    logits: String,
    boxes: String,
    /// Logits per query and how they are scored, if declared.
    declared: Option<(usize, Scoring)>,
}

impl Detr {
    pub(super) fn bind(outputs: &[OutputShape], params: &Params) -> Result<Self, DecodeError> {
        let fits_logits =
            |output: &OutputShape| output.rank() == RANK && output.dim(2).is_none_or(|logits| logits >= 2);
        let found = pick(outputs, "box", |output| output.fits(RANK, &[(2, 4)])).and_then(|boxes| {
            let logits = pick(outputs, "logit", |output| output.name != boxes.name && fits_logits(output))?;
            let same_queries = match (logits.dim(1), boxes.dim(1)) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            };
            same_queries.then_some((logits, boxes))
        });
        let Some((logits, boxes)) = found else {
            let expected = format!("each of {}", DecoderKind::Detr.layout());
            return Err(DecodeError::NoOutput { expected, found: describe(outputs) });
        };
        Ok(Self {
            declared: logits.dim(2).map(|count| (count, Scoring::of(count, params))),
            logits: logits.name.clone(),
            boxes: boxes.name.clone(),
        })
    }
}

/// Of the outputs that fit, the only one with `word` in its name, or the only one.
fn pick<'a>(
    outputs: &'a [OutputShape],
    word: &str,
    fits: impl Fn(&OutputShape) -> bool,
) -> Option<&'a OutputShape> {
    let fitting: Vec<_> = outputs.iter().filter(|output| fits(output)).collect();
    let named: Vec<_> =
        fitting.iter().filter(|output| output.name.to_ascii_lowercase().contains(word)).collect();
    match (named.as_slice(), fitting.as_slice()) {
        ([output], _) => Some(output),
        ([], [output]) => Some(output),
        _ => None,
    }
}

impl Decoder for Detr {
    fn kind(&self) -> DecoderKind {
        DecoderKind::Detr
    }

    fn classes(&self) -> Option<usize> {
        self.declared.map(|(count, scoring)| scoring.classes(count))
    }

    fn decode(
        &self,
        outputs: &[TensorView<'_>],
        batch: usize,
        params: &Params,
        workspace: &mut Workspace,
    ) -> Result<(), DecodeError> {
        workspace.clear();
        let logits = Batched::of(outputs, &self.logits, RANK, "[N, queries, classes]", batch)?;
        let (queries, count) = (logits.dim(1), logits.dim(2));
        if count < 2 || self.declared.is_some_and(|(declared, _)| declared != count) {
            return Err(logits.mismatch("[N, queries, classes]"));
        }
        let boxes = Batched::of(outputs, &self.boxes, RANK, "[N, queries, 4]", batch)?;
        if boxes.dim(1) != queries || boxes.dim(2) != 4 {
            return Err(boxes.mismatch(format!("[{batch}, {queries}, 4]")));
        }
        let scoring = self.declared.map_or_else(|| Scoring::of(count, params), |(_, scoring)| scoring);
        logits.check_classes(scoring.classes(count), params)?;
        let (model_width, model_height) = (params.model.width as f32, params.model.height as f32);
        workspace.each_image(batch, |image, scratch| {
            let site = logits.site(image);
            for (index, logits) in logits.image(image).chunks_exact(count).enumerate() {
                let (class, raw) = scoring.best(logits, params.score_threshold);
                if let Some(score) = score(raw, site, params)? {
                    scratch.candidates.push(Candidate { row: index, class, score });
                }
            }
            let bbox_of = |index| values::<4>(row(boxes.image(image), 4, index), 0);
            let rect_of = |index| {
                let [x, y, width, height] = bbox_of(index);
                let (x, width) = (x * model_width, width * model_width);
                Rect::from_center(x, y * model_height, width, height * model_height)
            };
            let finite = |index| all_finite(&bbox_of(index));
            detections(scratch, boxes.site(image), params, Overlaps::Keep, finite, rect_of)
        });
        Ok(())
    }
}
