//! YOLOv8 and its successors: `[N, 4 + classes, anchors]`, or the same transposed: center x, center y, width,
//! height in model pixels, then class scores, the best of which is the confidence. One class is enough.

use super::candidates::{Candidate, Overlaps, best_class, best_passing, detections, passes, scan, score};
use super::grid::{Grid, STRIDES_3};
use super::tensor::{Batched, Site, all_finite, only, row, values};
use super::workspace::Scratch;
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
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
        workspace: &mut Workspace,
    ) -> Result<(), DecodeError> {
        workspace.clear();
        let expected = self.kind().layout();
        let tensor = Batched::of(outputs, &self.output, RANK, expected, batch)?;
        let found = Layout::of(Some(tensor.dim(1)), Some(tensor.dim(2)), params);
        let layout = self.layout.or(found).unwrap_or(Layout::ChannelsFirst);
        let channels = tensor.dim(layout.channels_axis());
        if channels <= BEFORE_CLASSES || self.channels.is_some_and(|declared| declared != channels) {
            return Err(tensor.mismatch(expected));
        }
        tensor.check_classes(channels - BEFORE_CLASSES, params)?;
        workspace.each_image(batch, |image, scratch| {
            let (data, site) = (tensor.image(image), tensor.site(image));
            let anchors = data.len() / channels;
            match layout {
                Layout::ChannelsFirst => scan_columns(data, anchors, site, params, scratch)?,
                Layout::ChannelsLast => scan(data, channels, &mut scratch.candidates, |values| {
                    best_passing(values.get(BEFORE_CLASSES..).unwrap_or_default(), site, params)
                })?,
            }
            let bbox_of = |index| match layout {
                Layout::ChannelsFirst => [0, 1, 2, 3].map(|channel| at(data, anchors, channel, index)),
                Layout::ChannelsLast => values(row(data, channels, index), 0),
            };
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

/// A value of `[channels, anchors]`; NaN outside.
fn at(data: &[f32], anchors: usize, channel: usize, anchor: usize) -> f32 {
    row(data, anchors, channel).get(anchor).copied().unwrap_or(f32::NAN)
}

/// Adds the candidates of `[4 + classes, anchors]`: marks the anchors of which a score may pass, class by class
/// as the scores lie in memory, then looks for the best class of those.
fn scan_columns(
    data: &[f32],
    anchors: usize,
    site: Site<'_>,
    params: &Params,
    scratch: &mut Scratch,
) -> Result<(), DecodeError> {
    let Scratch { candidates, marks, .. } = scratch;
    let scores = data.get(BEFORE_CLASSES * anchors..).unwrap_or_default();
    mark(scores, anchors, params.score_threshold, marks);
    for (anchor, _) in marks.iter().enumerate().filter(|&(_, &mark)| mark != 0) {
        let column = scores.get(anchor..).unwrap_or_default().iter().step_by(anchors);
        let (class, raw) = best_class(column);
        if let Some(score) = score(raw, site, params)? {
            candidates.push(Candidate { row: anchor, class, score });
        }
    }
    Ok(())
}

/// Marks the anchors of `[classes, anchors]` of which a score reaches the threshold or is NaN.
///
/// This reads every score of every frame: four classes at once, so that the marks are read and written less
/// often than the scores, and without a branch, so that the compiler takes several anchors at a time.
fn mark(scores: &[f32], anchors: usize, threshold: f32, marks: &mut Vec<u32>) {
    let mark_if = |passes: bool| if passes { u32::MAX } else { 0 };
    marks.clear();
    marks.resize(anchors, 0);
    let fours = scores.chunks_exact((4 * anchors).max(1));
    for ones in fours.remainder().chunks_exact(anchors.max(1)) {
        for (mark, &score) in marks.iter_mut().zip(ones) {
            *mark |= mark_if(passes(score, threshold));
        }
    }
    for four in fours {
        let [a, b, c, d] = [0, 1, 2, 3].map(|class| row(four, anchors, class));
        for ((((mark, &a), &b), &c), &d) in marks.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let [a, b, c, d] = [a, b, c, d].map(|score| passes(score, threshold));
            *mark |= mark_if(a | b | c | d);
        }
    }
}
