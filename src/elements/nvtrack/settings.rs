//! What the user asks of the element.

use crate::track::{self, Classes, Params};

/// How detections and tracks are paired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvTrackAlgorithm")]
pub enum Algorithm {
    /// By overlap with the last box.
    #[enum_value(name = "IoU: greedily, by overlap with the last box", nick = "iou")]
    Iou,
    /// The best assignment by overlap with the predicted box.
    #[enum_value(name = "SORT: the best assignment by overlap with the predicted box", nick = "sort")]
    Sort,
    /// The same in rounds by confidence.
    #[default]
    #[enum_value(
        name = "ByteTrack: the same in rounds by confidence, with appearance where regions have an embedding",
        nick = "bytetrack"
    )]
    ByteTrack,
}

impl From<Algorithm> for track::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Iou => Self::Iou,
            Algorithm::Sort => Self::Sort,
            Algorithm::ByteTrack => Self::ByteTrack,
        }
    }
}

pub(super) const DEFAULT_MAX_AGE: u32 = 30;
pub(super) const DEFAULT_MIN_HITS: u32 = 3;
pub(super) const DEFAULT_COAST_FRAMES: u32 = 3;
/// More would be where nothing is known any more.
pub(super) const MOST_COAST_FRAMES: u32 = 30;
pub(super) const DEFAULT_IOU_THRESHOLD: f64 = 0.2;
pub(super) const DEFAULT_HIGH_THRESHOLD: f64 = 0.4;
pub(super) const DEFAULT_LOW_THRESHOLD: f64 = 0.3;
pub(super) const DEFAULT_MAX_TRACKS: u32 = 500;
pub(super) const DEFAULT_APPEARANCE_WEIGHT: f64 = 0.5;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) algorithm: Algorithm,
    pub(super) max_age: u32,
    pub(super) min_hits: u32,
    pub(super) coast_frames: u32,
    pub(super) iou_threshold: f64,
    pub(super) high_threshold: f64,
    pub(super) low_threshold: f64,
    pub(super) max_tracks: u32,
    pub(super) appearance_weight: f64,
    pub(super) class_aware: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            max_age: DEFAULT_MAX_AGE,
            min_hits: DEFAULT_MIN_HITS,
            coast_frames: DEFAULT_COAST_FRAMES,
            iou_threshold: DEFAULT_IOU_THRESHOLD,
            high_threshold: DEFAULT_HIGH_THRESHOLD,
            low_threshold: DEFAULT_LOW_THRESHOLD,
            max_tracks: DEFAULT_MAX_TRACKS,
            appearance_weight: DEFAULT_APPEARANCE_WEIGHT,
            class_aware: true,
        }
    }
}

impl Settings {
    #[expect(clippy::cast_possible_truncation, reason = "ratios")]
    pub(super) fn params(&self) -> Params {
        Params {
            algorithm: self.algorithm.into(),
            max_age: self.max_age,
            min_hits: self.min_hits,
            coast_frames: self.coast_frames,
            iou_threshold: self.iou_threshold as f32,
            high_threshold: self.high_threshold as f32,
            low_threshold: self.low_threshold as f32,
            max_tracks: self.max_tracks,
            appearance_weight: self.appearance_weight as f32,
            classes: if self.class_aware { Classes::Apart } else { Classes::Together },
        }
    }

    /// What cannot work.
    ///
    /// # Errors
    /// A sentence that names both values.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { low_threshold, high_threshold, .. } = self;
        if low_threshold <= high_threshold {
            return Ok(());
        }
        Err(format!(
            "expected low-threshold to be at most high-threshold, found low-threshold={low_threshold} and \
             high-threshold={high_threshold}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_tracker() {
        assert_eq!(Settings::default().params(), Params::default());
        assert!(Settings::default().check().is_ok());
    }

    #[test]
    fn a_low_threshold_above_the_high_one_is_refused_with_both() {
        let error = Settings { low_threshold: 0.7, ..Settings::default() }.check().unwrap_err();
        assert!(error.contains("low-threshold=0.7") && error.contains("high-threshold=0.4"), "{error}");
    }
}
