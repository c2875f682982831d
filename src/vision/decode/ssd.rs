//! The TensorFlow Object Detection API: boxes `[N, K, 4]` as y1, x1, y2, x2 in `0..=1` of the model image,
//! classes `[N, K]`, scores `[N, K]` and, if there, the number of detections `[N]` or `[N, 1]`.
//!
//! The model has suppressed overlaps. Class ids are used as they come: models that count from 1 need a label
//! for class 0. Outputs are told apart by name (`detection_boxes`, …) or, if no name says anything, by shape
//! and the order boxes, classes, scores, number that TensorFlow Lite exports have.

use super::candidates::{Candidate, Overlaps, class_id, detections, score};
use super::tensor::{Batched, all_finite, describe, row, values};
use super::workspace::Scratch;
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
use crate::vision::Rect;

pub(super) struct Ssd {
    boxes: String,
    classes: String,
    scores: String,
    count: Option<Count>,
}

/// The output that says how many detections there are.
struct Count {
    output: String,
    rank: usize,
}

impl Ssd {
    pub(super) fn bind(outputs: &[OutputShape]) -> Result<Self, DecodeError> {
        Self::by_name(outputs).or_else(|| Self::by_shape(outputs)).ok_or_else(|| DecodeError::NoOutput {
            expected: format!("each of {}", DecoderKind::Ssd.layout()),
            found: describe(outputs),
        })
    }

    fn by_name(outputs: &[OutputShape]) -> Option<Self> {
        let named = |role, fits: fn(&OutputShape) -> bool| {
            outputs.iter().find(|output| role_of(output) == Some(role) && fits(output))
        };
        Some(Self {
            boxes: named(Role::Boxes, fits_boxes)?.name.clone(),
            classes: named(Role::Classes, |output| output.rank() == 2)?.name.clone(),
            scores: named(Role::Scores, |output| output.rank() == 2)?.name.clone(),
            count: named(Role::Count, fits_count).map(Count::of),
        })
    }

    fn by_shape(outputs: &[OutputShape]) -> Option<Self> {
        // A name that says something else (RT-DETR's `labels`) means another layout of the same shapes.
        if outputs.iter().any(|output| role_of(output).is_some() || contains(&output.name, "label")) {
            return None;
        }
        let mut boxes = outputs.iter().filter(|output| fits_boxes(output));
        let mut pairs = outputs.iter().filter(|output| output.fits(2, &[]) && output.dim(1) != Some(1));
        let says_one =
            |output: &&OutputShape| output.rank() == 1 || output.fits(2, &[]) && output.dim(1) == Some(1);
        let count = outputs.iter().find(says_one);
        match (boxes.next(), boxes.next(), pairs.next(), pairs.next(), pairs.next()) {
            (Some(boxes), None, Some(classes), Some(scores), None) => Some(Self {
                boxes: boxes.name.clone(),
                classes: classes.name.clone(),
                scores: scores.name.clone(),
                count: count.map(Count::of),
            }),
            _ => None,
        }
    }

    /// Adds the detections of one image.
    fn image(run: &Run<'_>, image: usize, params: &Params, scratch: &mut Scratch) -> Result<(), DecodeError> {
        let (boxes, classes) = (run.boxes.image(image), run.classes.image(image));
        let (boxes_site, classes_site) = (run.boxes.site(image), run.classes.site(image));
        let scores_site = run.scores.site(image);
        let valid = run.valid(image)?;
        for (index, (&raw, &class)) in run.scores.image(image).iter().zip(classes).take(valid).enumerate() {
            if let Some(score) = score(raw, scores_site, params)? {
                let class = class_id(class, classes_site, params)?;
                scratch.candidates.push(Candidate { row: index, class, score });
            }
        }
        let corners_of = |index| values::<4>(row(boxes, 4, index), 0);
        let (width, height) = (params.model.width as f32, params.model.height as f32);
        let rect_of = |index| {
            let [y_min, x_min, y_max, x_max] = corners_of(index);
            Rect::from_corners(x_min * width, y_min * height, x_max * width, y_max * height)
        };
        let finite = |index| all_finite(&corners_of(index));
        detections(scratch, boxes_site, params, Overlaps::Keep, finite, rect_of)
    }
}

impl Count {
    fn of(output: &OutputShape) -> Self {
        Self { output: output.name.clone(), rank: output.rank() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Boxes,
    Classes,
    Scores,
    Count,
}

/// What a name says its output is; the raw, per-anchor outputs of the same models are none of them.
fn role_of(output: &OutputShape) -> Option<Role> {
    let others = ["raw", "multiclass", "anchor"];
    if others.iter().any(|other| contains(&output.name, other)) {
        return None;
    }
    let roles =
        [("num", Role::Count), ("box", Role::Boxes), ("class", Role::Classes), ("score", Role::Scores)];
    roles.into_iter().find(|(word, _)| contains(&output.name, word)).map(|(_, role)| role)
}

fn contains(name: &str, word: &str) -> bool {
    name.to_ascii_lowercase().contains(word)
}

fn fits_boxes(output: &OutputShape) -> bool {
    output.fits(3, &[(2, 4)])
}

fn fits_count(output: &OutputShape) -> bool {
    output.rank() == 1 || output.fits(2, &[(1, 1)])
}

/// The outputs of a run, checked against each other.
struct Run<'a> {
    boxes: Batched<'a>,
    classes: Batched<'a>,
    scores: Batched<'a>,
    count: Option<Batched<'a>>,
}

impl Run<'_> {
    /// How many detections of an image are valid.
    fn valid(&self, image: usize) -> Result<usize, DecodeError> {
        let Some(count) = &self.count else { return Ok(usize::MAX) };
        let [valid] = values(count.image(image), 0);
        if !valid.is_finite() {
            return Err(count.site(image).non_finite());
        }
        // The cast saturates: less than none is none, more than there are is all.
        Ok(valid.round() as usize)
    }
}

impl Decoder for Ssd {
    fn kind(&self) -> DecoderKind {
        DecoderKind::Ssd
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
        let scores = Batched::of(outputs, &self.scores, 2, "[N, K]", batch)?;
        let [k, n] = [scores.dim(1), batch];
        let classes = Batched::of(outputs, &self.classes, 2, "[N, K]", batch)?;
        if classes.dim(1) != k {
            return Err(classes.mismatch(format!("[{n}, {k}]")));
        }
        let boxes = Batched::of(outputs, &self.boxes, 3, "[N, K, 4]", batch)?;
        if boxes.dim(1) != k || boxes.dim(2) != 4 {
            return Err(boxes.mismatch(format!("[{n}, {k}, 4]")));
        }
        let count = match &self.count {
            Some(Count { output, rank }) => Some(Batched::of(outputs, output, *rank, "[N]", batch)?),
            None => None,
        };
        if let Some(count) = count.filter(|count| count.dim(1) > 1) {
            return Err(count.mismatch(format!("[{n}, 1]")));
        }
        let run = Run { boxes, classes, scores, count };
        workspace.each_image(batch, |image, scratch| Self::image(&run, image, params, scratch));
        Ok(())
    }
}
