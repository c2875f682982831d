//! From scores to detections: the steps every layout shares, and where their cost is bounded.

use super::tensor::Site;
use super::{DecodeError, Params};
use crate::vision::{Detection, Rect, nms};

/// Candidates kept per detection asked for: overlapping ones must not starve the rest before suppression.
const PER_DETECTION: usize = 30;

/// Most candidates kept: what common YOLO tools hand to their suppression. Suppression is quadratic, so this
/// holds whatever `max_detections` says.
const MAX: usize = 30_000;

/// exp(30) is some 10^13: no size in pixels, and far from overflow when multiplied by a stride.
const MAX_EXPONENT: f32 = 30.0;

/// A row that passed the score threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Which row, anchor, cell or query.
    pub(super) row: usize,
    /// Its best class.
    pub(super) class: u32,
    /// Its score, `0..=1`.
    pub(super) score: f32,
}

/// Whether suppression is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlaps {
    /// Keep the best of those that overlap.
    Suppress,
    /// The model has seen to it.
    Keep,
}

/// `raw` clamped to `0..=1` if it reaches the threshold; an error if it is NaN or reaches it by infinity.
pub(super) fn score(raw: f32, site: Site<'_>, params: &Params) -> Result<Option<f32>, DecodeError> {
    if raw.is_nan() {
        return Err(site.non_finite());
    }
    if raw >= params.score_threshold {
        return if raw.is_finite() { Ok(Some(raw.clamp(0.0, 1.0))) } else { Err(site.non_finite()) };
    }
    Ok(None)
}

/// The best of class scores and its class; NaN if one of them is.
pub(super) fn best_class(scores: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &score) in (0..).zip(scores) {
        if score > best.1 || score.is_nan() {
            best = (class, score);
        }
    }
    best
}

/// `exp` with a cap far above any size in pixels.
pub(super) fn capped_exp(exponent: f32) -> f32 {
    exponent.min(MAX_EXPONENT).exp()
}

/// The best class and the confidence of a row of box, objectness and class scores, if it passes.
pub(super) fn with_objectness(
    values: &[f32],
    site: Site<'_>,
    params: &Params,
) -> Result<Option<(u32, f32)>, DecodeError> {
    let [objectness] = super::tensor::values(values, 4);
    let Some(objectness) = score(objectness, site, params)? else { return Ok(None) };
    let (class, class_score) = best_class(values.get(5..).unwrap_or_default());
    let class_score = if class_score.is_finite() { class_score.clamp(0.0, 1.0) } else { class_score };
    Ok(score(objectness * class_score, site, params)?.map(|confidence| (class, confidence)))
}

/// The candidates among rows of `channels` values, by what `judge` says of each: class and score if it passes.
pub(super) fn scan(
    data: &[f32],
    channels: usize,
    judge: impl Fn(&[f32]) -> Result<Option<(u32, f32)>, DecodeError>,
) -> Result<Vec<Candidate>, DecodeError> {
    let mut candidates = Vec::new();
    for (row, values) in data.chunks_exact(channels.max(1)).enumerate() {
        if let Some((class, score)) = judge(values)? {
            candidates.push(Candidate { row, class, score });
        }
    }
    Ok(candidates)
}

/// A class id given as a number, rounded; an error if it is not one of the known classes, or, where their
/// number is not known, not below 2^24 (up to which f32 counts exactly).
pub(super) fn class_id(raw: f32, site: Site<'_>, params: &Params) -> Result<u32, DecodeError> {
    const MAX_CLASSES: usize = 1 << 24;
    if !raw.is_finite() {
        return Err(site.non_finite());
    }
    let classes = params.classes.unwrap_or(MAX_CLASSES).min(MAX_CLASSES);
    let id = raw.round();
    if id < 0.0 || id >= classes as f32 {
        let output = site.output.to_owned();
        return Err(DecodeError::ClassId { output, image: site.image, classes, found: raw });
    }
    Ok(id as u32)
}

/// Where a candidate is, in model pixels, not yet clamped.
pub(super) struct Place {
    pub(super) bbox: Rect,
    pub(super) landmarks: Vec<[f32; 2]>,
}

impl From<Rect> for Place {
    fn from(bbox: Rect) -> Self {
        Self { bbox, landmarks: Vec::new() }
    }
}

/// The detections of one image: checks every candidate's numbers, keeps the best candidates, places them,
/// and suppresses overlaps if asked to.
///
/// `finite` says whether all numbers that the place of a row is made of are finite.
pub(super) fn detections<P: Into<Place>>(
    mut candidates: Vec<Candidate>,
    site: Site<'_>,
    params: &Params,
    overlaps: Overlaps,
    finite: impl Fn(usize) -> bool,
    place: impl Fn(usize) -> P,
) -> Result<Vec<Detection>, DecodeError> {
    if !candidates.iter().all(|candidate| finite(candidate.row)) {
        return Err(site.non_finite());
    }
    keep_best(&mut candidates, limit(params));
    let mut found = Vec::with_capacity(candidates.len());
    for Candidate { row, class, score } in candidates {
        let Place { bbox, mut landmarks } = place(row).into();
        let bbox = bbox.clamped(params.model);
        for [x, y] in &mut landmarks {
            *x = x.clamp(0.0, params.model.width as f32);
            *y = y.clamp(0.0, params.model.height as f32);
        }
        // Only NaN is left to find: what overflowed to an infinity has been clamped.
        if !bbox.is_finite() || landmarks.as_flattened().iter().any(|value| value.is_nan()) {
            return Err(site.non_finite());
        }
        if bbox.width() > 0.0 && bbox.height() > 0.0 {
            found.push(Detection { bbox, class, confidence: score, landmarks });
        }
    }
    Ok(finish(found, params, overlaps))
}

/// Suppresses overlaps if asked to, orders and bounds.
fn finish(found: Vec<Detection>, params: &Params, overlaps: Overlaps) -> Vec<Detection> {
    match overlaps {
        Overlaps::Suppress => nms::suppress(found, params.iou_threshold, params.max_detections),
        Overlaps::Keep => nms::best(found, params.max_detections),
    }
}

/// How many candidates of an image are decoded.
fn limit(params: &Params) -> usize {
    params.max_detections.saturating_mul(PER_DETECTION).min(MAX)
}

/// Cuts down to the `limit` best, the first of equals; by selection, as sorting a million would be wasted.
fn keep_best(candidates: &mut Vec<Candidate>, limit: usize) {
    let Some(last) = limit.checked_sub(1) else {
        candidates.clear();
        return;
    };
    if candidates.len() > limit {
        candidates
            .select_nth_unstable_by(last, |a, b| b.score.total_cmp(&a.score).then_with(|| a.row.cmp(&b.row)));
        candidates.truncate(limit);
        candidates.sort_unstable_by_key(|candidate| candidate.row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(candidates: &[Candidate]) -> Vec<usize> {
        candidates.iter().map(|candidate| candidate.row).collect()
    }

    #[test]
    fn the_best_are_kept_and_of_equals_the_first() {
        let scores = [0.5, 0.9, 0.5, 0.7, 0.5];
        let mut candidates: Vec<_> =
            scores.into_iter().enumerate().map(|(row, score)| Candidate { row, class: 0, score }).collect();
        keep_best(&mut candidates, 3);
        assert_eq!(rows(&candidates), [0, 1, 3]);
        keep_best(&mut candidates, 3);
        assert_eq!(candidates.len(), 3);
        keep_best(&mut candidates, 0);
        assert!(candidates.is_empty());
    }

    #[test]
    fn the_best_class_is_the_first_of_equals_and_nan_wins() {
        assert_eq!(best_class(&[0.1, 0.8, 0.8]), (1, 0.8));
        assert!(best_class(&[0.9, f32::NAN, 1.0]).1.is_nan());
        assert_eq!(best_class(&[]).1, f32::NEG_INFINITY);
    }
}
