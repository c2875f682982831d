//! YOLOv5 and YOLOv7: `[N, anchors, 5 + classes]`, each row center x, center y, width, height in model
//! pixels, objectness, class scores; the confidence is objectness × best class score.

use super::candidates::{Overlaps, detections, scan, with_objectness};
use super::tensor::{Batched, all_finite, only, row, values};
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
use crate::vision::Rect;

/// Box and objectness come before the class scores.
const BEFORE_CLASSES: usize = 5;

const RANK: usize = 3;

pub(super) struct YoloV5 {
    output: String,
    channels: Option<usize>,
}

impl YoloV5 {
    /// Exports may carry the three raw heads as well; their rank is 5.
    pub(super) fn bind(outputs: &[OutputShape]) -> Result<Self, DecodeError> {
        let expected = DecoderKind::YoloV5.layout();
        let fits = |output: &OutputShape| {
            output.rank() == RANK && output.dim(2).is_none_or(|channels| channels > BEFORE_CLASSES)
        };
        let output = only(outputs, expected, fits)?;
        Ok(Self { output: output.name.clone(), channels: output.dim(2) })
    }
}

impl Decoder for YoloV5 {
    fn kind(&self) -> DecoderKind {
        DecoderKind::YoloV5
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
        let expected = self.kind().layout();
        let tensor = Batched::of(outputs, &self.output, RANK, expected, batch)?;
        let channels = tensor.dim(2);
        if channels <= BEFORE_CLASSES || self.channels.is_some_and(|declared| declared != channels) {
            return Err(tensor.mismatch(expected));
        }
        tensor.check_classes(channels - BEFORE_CLASSES, params)?;
        workspace.each_image(batch, |image, scratch| {
            let (data, site) = (tensor.image(image), tensor.site(image));
            scan(data, channels, &mut scratch.candidates, |values| with_objectness(values, site, params))?;
            let bbox_of = |index| values::<4>(row(data, channels, index), 0);
            let rect_of = |index| {
                let [x, y, width, height] = bbox_of(index);
                Rect::from_center(x, y, width, height)
            };
            let finite = |index| all_finite(&bbox_of(index));
            detections(scratch, site, params, Overlaps::Suppress, finite, rect_of)
        });
        Ok(())
    }
}
