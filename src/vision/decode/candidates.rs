//! From scores to detections: the steps every layout shares, and where their cost is bounded.

use super::tensor::Site;
use super::workspace::Scratch;
use super::{DecodeError, Params};
use crate::vision::{Detection, Landmarks, Rect};

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
#[inline]
pub(super) fn score(raw: f32, site: Site<'_>, params: &Params) -> Result<Option<f32>, DecodeError> {
    // Nearly no score passes, so this much is to be found in the loops over them and not behind a call.
    if passes(raw, params.score_threshold) { passing(raw, site, params) } else { Ok(None) }
}

/// [`score`] for a score that [`passes`].
fn passing(raw: f32, site: Site<'_>, params: &Params) -> Result<Option<f32>, DecodeError> {
    if raw.is_nan() {
        return Err(site.non_finite());
    }
    if raw >= params.score_threshold {
        return if raw.is_finite() { Ok(Some(raw.clamp(0.0, 1.0))) } else { Err(site.non_finite()) };
    }
    Ok(None)
}

/// Whether [`score`] has anything to say of one of the scores: one that reaches the threshold, or NaN. Nearly
/// all of a frame's scores are looked at by this and nothing else, hence without a branch: the compiler takes
/// several at a time.
pub(super) fn any_passes(scores: &[f32], threshold: f32) -> bool {
    scores.iter().fold(false, |any, &score| any | passes(score, threshold))
}

/// Whether a score reaches the threshold or is NaN; if the threshold is NaN, always.
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must pass, and this is one instruction")]
pub(super) fn passes(score: f32, threshold: f32) -> bool {
    !(score < threshold)
}

/// The best of class scores and its class; NaN if one of them is.
pub(super) fn best_class<'a>(scores: impl IntoIterator<Item = &'a f32>) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &score) in (0..).zip(scores) {
        // Which NaN is not: one comparison finds both, and nearly always it finds neither.
        if score <= best.1 {
            continue;
        }
        best = (class, score);
        if score.is_nan() {
            break;
        }
    }
    best
}

/// The best class of a row of class scores and its score, if it passes.
pub(super) fn best_passing(
    scores: &[f32],
    site: Site<'_>,
    params: &Params,
) -> Result<Option<(u32, f32)>, DecodeError> {
    if !any_passes(scores, params.score_threshold) {
        return Ok(None);
    }
    let (class, raw) = best_class(scores);
    Ok(score(raw, site, params)?.map(|score| (class, score)))
}

/// `exp` with a cap far above any size in pixels.
pub(super) fn capped_exp(exponent: f32) -> f32 {
    exponent.min(MAX_EXPONENT).exp()
}

/// The best class and the confidence of a row of box, objectness and class scores, if it passes.
#[inline]
pub(super) fn with_objectness(
    values: &[f32],
    site: Site<'_>,
    params: &Params,
) -> Result<Option<(u32, f32)>, DecodeError> {
    let [objectness] = super::tensor::values(values, 4);
    if passes(objectness, params.score_threshold) {
        with_passing_objectness(objectness, values, site, params)
    } else {
        Ok(None)
    }
}

/// [`with_objectness`] for a row whose objectness [`passes`]. Out of line, so that the rest is small
/// enough for the loop.
#[inline(never)]
fn with_passing_objectness(
    objectness: f32,
    values: &[f32],
    site: Site<'_>,
    params: &Params,
) -> Result<Option<(u32, f32)>, DecodeError> {
    let Some(objectness) = passing(objectness, site, params)? else { return Ok(None) };
    let (class, class_score) = best_class(values.get(5..).unwrap_or_default());
    let class_score = if class_score.is_finite() { class_score.clamp(0.0, 1.0) } else { class_score };
    Ok(score(objectness * class_score, site, params)?.map(|confidence| (class, confidence)))
}

/// Adds the candidates among rows of `channels` values, by what `judge` says of each: class and score if it
/// passes.
pub(super) fn scan(
    data: &[f32],
    channels: usize,
    candidates: &mut Vec<Candidate>,
    judge: impl Fn(&[f32]) -> Result<Option<(u32, f32)>, DecodeError>,
) -> Result<(), DecodeError> {
    for (row, values) in data.chunks_exact(channels.max(1)).enumerate() {
        if let Some((class, score)) = judge(values)? {
            candidates.push(Candidate { row, class, score });
        }
    }
    Ok(())
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
    pub(super) landmarks: Landmarks,
}

impl From<Rect> for Place {
    fn from(bbox: Rect) -> Self {
        Self { bbox, landmarks: Landmarks::new() }
    }
}

/// Adds the detections of one image: checks every candidate's numbers, keeps the best candidates, places
/// them, suppresses overlaps if asked to, orders and bounds.
///
/// `finite` says whether all numbers that the place of a row is made of are finite.
pub(super) fn detections<P: Into<Place>>(
    scratch: &mut Scratch,
    site: Site<'_>,
    params: &Params,
    overlaps: Overlaps,
    finite: impl Fn(usize) -> bool,
    place: impl Fn(usize) -> P,
) -> Result<(), DecodeError> {
    let Scratch { found, candidates, placed, suppression, .. } = scratch;
    if !candidates.iter().all(|candidate| finite(candidate.row)) {
        return Err(site.non_finite());
    }
    keep_best(candidates, limit(params));
    placed.clear();
    for &Candidate { row, class, score } in candidates.iter() {
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
            placed.push(Detection { bbox, class, confidence: score, landmarks });
        }
    }
    match overlaps {
        Overlaps::Suppress => {
            suppression.suppress(placed, params.iou_threshold, params.max_detections, found);
        }
        Overlaps::Keep => suppression.best(placed, params.max_detections, found),
    }
    Ok(())
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

    #[test]
    fn scores_pass_from_the_threshold_on_and_nan_passes_anywhere() {
        for len in [0, 1, 3, 4, 7, 80, 81] {
            let mut scores = vec![0.25; len];
            assert!(!any_passes(&scores, 0.5));
            for index in 0..len {
                for odd in [0.5, f32::INFINITY, f32::NAN, -f32::NAN] {
                    scores[index] = odd;
                    assert!(any_passes(&scores, 0.5), "{odd} at {index} of {len}");
                }
                scores[index] = f32::NEG_INFINITY;
                assert!(!any_passes(&scores, 0.5));
            }
        }
        assert!(any_passes(&[0.0], f32::NAN));
    }
}
