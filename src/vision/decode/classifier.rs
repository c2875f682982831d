//! Classifiers: `[N, classes]` or `[N, classes, 1, 1]`, logits or probabilities. The best class, if its
//! probability reaches the threshold, becomes one detection that covers the whole model image.

use super::candidates::{best_class, score};
use super::tensor::{Batched, Site, only};
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
use crate::vision::{Detection, Landmarks, Rect};

/// How far the sum of probabilities may be from 1; softmax in f16 over a thousand classes stays within it.
const SUM_TOLERANCE: f32 = 1e-2;

/// How far a probability may be outside `0..=1`.
const RANGE_TOLERANCE: f32 = 1e-3;

pub(super) struct Classifier {
    output: String,
    rank: usize,
    classes: Option<usize>,
}

impl Classifier {
    pub(super) fn bind(outputs: &[OutputShape]) -> Result<Self, DecodeError> {
        let fits = |output: &OutputShape| {
            (output.rank() == 2 || output.fits(4, &[(2, 1), (3, 1)]))
                && output.dim(1).is_none_or(|classes| classes >= 2)
        };
        let output = only(outputs, DecoderKind::Classifier.layout(), fits)?;
        Ok(Self { output: output.name.clone(), rank: output.rank(), classes: output.dim(1) })
    }
}

impl Decoder for Classifier {
    fn kind(&self) -> DecoderKind {
        DecoderKind::Classifier
    }

    fn classes(&self) -> Option<usize> {
        self.classes
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
        let tensor = Batched::of(outputs, &self.output, self.rank, expected, batch)?;
        let classes = tensor.dim(1);
        let maps = self.rank == 4 && [tensor.dim(2), tensor.dim(3)] != [1, 1];
        if classes < 2 || maps || self.classes.is_some_and(|declared| declared != classes) {
            return Err(tensor.mismatch(expected));
        }
        tensor.check_classes(classes, params)?;
        workspace.each_image(batch, |image, scratch| {
            let found = decode_image(tensor.image(image), tensor.site(image), params)?;
            scratch.found.extend(found);
            Ok(())
        });
        Ok(())
    }
}

fn decode_image(values: &[f32], site: Site<'_>, params: &Params) -> Result<Option<Detection>, DecodeError> {
    let (class, best) = best_class(values);
    if !best.is_finite() {
        return Err(site.non_finite());
    }
    let Some(confidence) = score(probability(best, values), site, params)? else { return Ok(None) };
    let (width, height) = (params.model.width as f32, params.model.height as f32);
    if params.max_detections == 0 || width == 0.0 || height == 0.0 {
        return Ok(None);
    }
    let bbox = Rect::from_corners(0.0, 0.0, width, height);
    Ok(Some(Detection { bbox, class, confidence, landmarks: Landmarks::new() }))
}

/// The probability of the best class: its value if the row is one of probabilities, else its softmax.
fn probability(best: f32, values: &[f32]) -> f32 {
    let range = -RANGE_TOLERANCE..=1.0 + RANGE_TOLERANCE;
    let sum: f32 = values.iter().sum();
    if (sum - 1.0).abs() <= SUM_TOLERANCE && values.iter().all(|value| range.contains(value)) {
        return best;
    }
    values.iter().map(|value| (value - best).exp()).sum::<f32>().recip()
}
