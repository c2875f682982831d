//! YOLOv8 and its successors: `[N, 4 + classes, anchors]`, or the same transposed: center x, center y, width,
//! height in model pixels, then class scores, the best of which is the confidence. One class is enough.

use super::candidates::{Candidate, Overlaps, best_class, detections, scan, score};
use super::grid::{Grid, STRIDES_3};
use super::tensor::{Batched, Site, all_finite, each_image, only, row, values};
use super::{DecodeError, Decoded, Decoder, DecoderKind, OutputShape, Params, TensorView};
use crate::vision::Rect;

/// The box comes before the class scores.
const BEFORE_CLASSES: usize = 4;

const RANK: usize = 3;

/// Which axis holds box and scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// `[N, 4 + classes, anchors]`.
    ChannelsFirst,
    /// `[N, anchors, 4 + classes]`.
    ChannelsLast,
}

impl Layout {
    fn channels_axis(self) -> usize {
        match self {
            Self::ChannelsFirst => 1,
            Self::ChannelsLast => 2,
        }
    }

    /// The layout of `[N, a, b]`; `None` if both are open.
    ///
    /// Decided by the first that tells them apart: the number of labels; the number of cells of the usual
    /// strides, which is the number of anchors; the greater of the two, which is the number of anchors.
    fn of(a: Option<usize>, b: Option<usize>, params: &Params) -> Option<Self> {
        let channels = params.classes.map(|classes| classes.saturating_add(BEFORE_CLASSES));
        let cells = Some(Grid::new(params.model, STRIDES_3).cells()).filter(|&cells| cells > 0);
        let told_by = |expected: Option<usize>| match (a == expected, b == expected) {
            _ if expected.is_none() => None,
            (true, false) => Some(Told::First),
            (false, true) => Some(Told::Last),
            _ => None,
        };
        match (told_by(channels), told_by(cells)) {
            (Some(Told::First), _) | (None, Some(Told::Last)) => return Some(Self::ChannelsFirst),
            (Some(Told::Last), _) | (None, Some(Told::First)) => return Some(Self::ChannelsLast),
            (None, None) => {}
        }
        match (a, b) {
            (Some(a), Some(b)) if a > b && b > BEFORE_CLASSES => Some(Self::ChannelsLast),
            (Some(_), _) => Some(Self::ChannelsFirst),
            (None, Some(_)) => Some(Self::ChannelsLast),
            (None, None) => None,
        }
    }
}

/// Which of two axes has the dimension looked for.
enum Told {
    First,
    Last,
}

pub(super) struct YoloV8 {
    output: String,
    layout: Option<Layout>,
    channels: Option<usize>,
}

impl YoloV8 {
    pub(super) fn bind(outputs: &[OutputShape], params: &Params) -> Result<Self, DecodeError> {
        let layout_of = |output: &OutputShape| Layout::of(output.dim(1), output.dim(2), params);
        let channels_of =
            |output: &OutputShape| layout_of(output).and_then(|layout| output.dim(layout.channels_axis()));
        let fits = |output: &OutputShape| {
            output.rank() == RANK && channels_of(output).is_none_or(|channels| channels > BEFORE_CLASSES)
        };
        let output = only(outputs, DecoderKind::YoloV8.layout(), fits)?;
        Ok(Self { output: output.name.clone(), layout: layout_of(output), channels: channels_of(output) })
    }
}

impl Decoder for YoloV8 {
    fn kind(&self) -> DecoderKind {
        DecoderKind::YoloV8
    }

    fn classes(&self) -> Option<usize> {
        self.channels.map(|channels| channels - BEFORE_CLASSES)
    }

    fn decode(
        &self,
        outputs: &[TensorView<'_>],
        batch: usize,
        params: &Params,
    ) -> Result<Decoded, DecodeError> {
        let expected = self.kind().layout();
        let tensor = Batched::of(outputs, &self.output, RANK, expected, batch)?;
        let found = Layout::of(Some(tensor.dim(1)), Some(tensor.dim(2)), params);
        let layout = self.layout.or(found).unwrap_or(Layout::ChannelsFirst);
        let channels = tensor.dim(layout.channels_axis());
        if channels <= BEFORE_CLASSES || self.channels.is_some_and(|declared| declared != channels) {
            return Err(tensor.mismatch(expected));
        }
        tensor.check_classes(channels - BEFORE_CLASSES, params)?;
        Ok(each_image(batch, |image| {
            let (data, site) = (tensor.image(image), tensor.site(image));
            let anchors = data.len() / channels;
            let candidates = match layout {
                Layout::ChannelsFirst => scan_columns(data, anchors, site, params)?,
                Layout::ChannelsLast => scan(data, channels, |values| {
                    let (class, raw) = best_class(values.get(BEFORE_CLASSES..).unwrap_or_default());
                    Ok(score(raw, site, params)?.map(|score| (class, score)))
                })?,
            };
            let bbox_of = |index| match layout {
                Layout::ChannelsFirst => [0, 1, 2, 3].map(|channel| at(data, anchors, channel, index)),
                Layout::ChannelsLast => values(row(data, channels, index), 0),
            };
            let rect_of = |index| {
                let [x, y, width, height] = bbox_of(index);
                Rect::from_center(x, y, width, height)
            };
            let finite = |index| all_finite(&bbox_of(index));
            detections(candidates, site, params, Overlaps::Suppress, finite, rect_of)
        }))
    }
}

/// A value of `[channels, anchors]`; NaN outside.
fn at(data: &[f32], anchors: usize, channel: usize, anchor: usize) -> f32 {
    row(data, anchors, channel).get(anchor).copied().unwrap_or(f32::NAN)
}

/// The candidates of `[4 + classes, anchors]`: class by class along the anchors, as they lie in memory.
fn scan_columns(
    data: &[f32],
    anchors: usize,
    site: Site<'_>,
    params: &Params,
) -> Result<Vec<Candidate>, DecodeError> {
    let (mut best, mut classes) = (vec![f32::NEG_INFINITY; anchors], vec![0_u32; anchors]);
    let scores = data.chunks_exact(anchors.max(1)).skip(BEFORE_CLASSES);
    for (class, scores) in (0..).zip(scores) {
        // Without a branch, so that the compiler can take several anchors at a time.
        for ((best, best_class), &score) in best.iter_mut().zip(&mut classes).zip(scores) {
            // A NaN stays: nothing is greater than it, and another NaN is as good.
            let better = score > *best || score.is_nan();
            *best = if better { score } else { *best };
            *best_class = if better { class } else { *best_class };
        }
    }
    let mut candidates = Vec::new();
    for (index, (raw, class)) in best.into_iter().zip(classes).enumerate() {
        if let Some(score) = score(raw, site, params)? {
            candidates.push(Candidate { row: index, class, score });
        }
    }
    Ok(candidates)
}
