//! One track: its states and what is said about it.

use super::kalman::{BoxFilter, Sight};
use super::motion::Motion;
use super::{LONGEST_UNSEEN, MOST_DIMENSIONS, Mark, Observation, Params, Predicted, State, Step};
use crate::vision::Rect;
use std::time::Duration;

/// So often it may be missing on frames that were inferred before it is lost. A detector that blinks loses a person for
/// a frame or two.
const MOST_MISSES: u32 = 3;

/// How much of what a track looked like stays when it is seen again.
const APPEARANCE_KEPT: f32 = 0.9;

/// Most frames that are predicted one by one for a single step: after more, nothing is where it was.
const MOST_PREDICTED: u32 = 30;

/// See the module.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) id: i64,
    pub(super) class: u32,
    pub(super) state: State,
    confidence: f32,
    filter: BoxFilter,
    last_box: Rect,
    predicted_box: Rect,
    motion: Motion,
    hits: u32,
    age: u32,
    /// Frames since it was seen.
    unseen: u32,
    unseen_for: Duration,
    /// Of those, the inferred ones, without the one that is looked at.
    misses: u32,
    /// Of length 1; empty if nobody says what it looks like.
    appearance: Vec<f32>,
}

impl Track {
    pub(super) fn new(id: i64, seen: &Observation<'_>, params: &Params) -> Self {
        let mut track = Self {
            id,
            class: seen.class,
            state: State::Tentative,
            confidence: seen.confidence,
            filter: BoxFilter::new(&seen.box_in_frame),
            last_box: seen.box_in_frame,
            predicted_box: seen.box_in_frame,
            motion: Motion::new(center(&seen.box_in_frame)),
            hits: 1,
            age: 0,
            unseen: 0,
            unseen_for: Duration::ZERO,
            misses: 0,
            appearance: Vec::new(),
        };
        track.confirm_if_due(params);
        track.remember_looks(seen.embedding);
        track
    }

    /// So many frames and so much time later.
    pub(super) fn advance(&mut self, step: Step) {
        for _ in 0..step.frames.min(MOST_PREDICTED) {
            let sight = if self.misses == 0 { Sight::Seen } else { Sight::Unseen };
            self.filter.predict(sight);
        }
        self.predicted_box = self.filter.box_in_frame();
        self.age = self.age.saturating_add(step.frames);
        self.unseen = self.unseen.saturating_add(step.frames);
        self.unseen_for = self.unseen_for.saturating_add(step.elapsed);
    }

    /// It is on this frame.
    pub(super) fn see(&mut self, seen: &Observation<'_>, params: &Params) {
        self.filter.correct(&seen.box_in_frame);
        (self.last_box, self.predicted_box) = (seen.box_in_frame, seen.box_in_frame);
        self.motion.seen(center(&seen.box_in_frame), self.unseen_for);
        (self.class, self.confidence) = (seen.class, seen.confidence);
        (self.unseen, self.unseen_for, self.misses) = (0, Duration::ZERO, 0);
        self.hits = self.hits.saturating_add(1);
        match self.state {
            State::Tentative => self.confirm_if_due(params),
            State::Confirmed | State::Coasted | State::Lost => self.state = State::Confirmed,
        }
        self.remember_looks(seen.embedding);
    }

    /// It is not on this frame, which was inferred. False if that is the end of it.
    pub(super) fn miss(&mut self, params: &Params) -> bool {
        self.misses = self.misses.saturating_add(1);
        match self.state {
            State::Tentative => return false,
            State::Confirmed | State::Coasted if self.misses <= MOST_MISSES.max(params.coast_frames) => {
                self.state = State::Coasted;
            }
            State::Confirmed | State::Coasted | State::Lost => self.state = State::Lost,
        }
        true
    }

    /// Nobody looked for it on this frame.
    pub(super) fn coast(&mut self) {
        if self.state == State::Confirmed {
            self.state = State::Coasted;
        }
    }

    /// Whether it has not been seen for so long that it is over.
    pub(super) fn is_over(&self, params: &Params) -> bool {
        self.unseen > params.max_age || self.unseen_for > LONGEST_UNSEEN
    }

    /// Whether it was on one of the last frames that anybody looked at.
    pub(super) const fn is_followed(&self, params: &Params) -> bool {
        self.misses <= params.coast_frames
    }

    /// Whether it is on this frame.
    pub(super) const fn is_seen(&self) -> bool {
        self.unseen == 0
    }

    pub(super) const fn age(&self) -> u32 {
        self.age
    }

    /// Where it was seen last.
    pub(super) const fn last_box(&self) -> &Rect {
        &self.last_box
    }

    /// Where it should be.
    pub(super) const fn predicted_box(&self) -> &Rect {
        &self.predicted_box
    }

    /// How alike it looks, -1..1; `None` if one of them has no looks, or they are not of one model.
    pub(super) fn looks_like(&self, embedding: Option<&[f32]>) -> Option<f32> {
        let embedding = embedding.filter(|embedding| embedding.len() == self.appearance.len())?;
        let length = length(embedding)?;
        let along: f32 = self.appearance.iter().zip(embedding).map(|(one, other)| one * other).sum();
        Some((along / length).clamp(-1.0, 1.0)).filter(|likeness| !likeness.is_nan())
    }

    pub(super) fn mark(&self) -> Mark {
        let height = f64::from(self.last_box.height());
        Mark {
            id: self.id,
            state: self.state,
            age: self.age,
            speed: self.motion.speed(),
            direction: self.motion.direction(),
            stationary: self.motion.is_stationary(height),
        }
    }

    pub(super) fn predicted(&self) -> Predicted {
        let (box_in_frame, class, confidence) = (self.predicted_box, self.class, self.confidence);
        Predicted { mark: self.mark(), box_in_frame, class, confidence }
    }

    fn confirm_if_due(&mut self, params: &Params) {
        if self.hits >= params.min_hits {
            self.state = State::Confirmed;
        }
    }

    fn remember_looks(&mut self, embedding: Option<&[f32]>) {
        let Some((embedding, length)) = embedding.and_then(|looks| Some((looks, length(looks)?))) else {
            return;
        };
        if self.appearance.len() == embedding.len() {
            for (kept, new) in self.appearance.iter_mut().zip(embedding) {
                *kept = APPEARANCE_KEPT * *kept + (1.0 - APPEARANCE_KEPT) * new / length;
            }
        } else {
            self.appearance.clear();
            self.appearance.extend(embedding.iter().map(|new| new / length));
        }
        match self::length(&self.appearance) {
            Some(length) => self.appearance.iter_mut().for_each(|kept| *kept /= length),
            // Two opposites cancel each other out.
            None => self.appearance.clear(),
        }
    }
}

/// The length of an embedding; `None` if it is not a direction: empty, too long, zero, or with something that is no
/// number in it.
fn length(embedding: &[f32]) -> Option<f32> {
    if embedding.len() > MOST_DIMENSIONS {
        return None;
    }
    let length = embedding.iter().map(|value| value * value).sum::<f32>().sqrt();
    (length.is_finite() && length > f32::EPSILON).then_some(length)
}

fn center(rect: &Rect) -> [f64; 2] {
    let middle = |low: f32, high: f32| f64::midpoint(f64::from(low), f64::from(high));
    [middle(rect.x_min, rect.x_max), middle(rect.y_min, rect.y_max)]
}
