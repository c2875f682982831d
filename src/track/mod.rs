//! Identity over time: which detection of this frame is the thing that an earlier frame showed.
//!
//! | file | job |
//! |---|---|
//! | `tracker.rs` | one feed's tracks: prediction, association, births, ends |
//! | `one.rs` | one track: its states and what is said about it |
//! | `stage.rs` | one round of association, and what a pair of a track and a detection is worth |
//! | `assign.rs` | the best choice among pairs (Hungarian), and the greedy one |
//! | `kalman.rs` | where a box will be: a filter of constant velocity |
//! | `motion.rs` | speed, direction, whether it stands still |
//!
//! Responsible for: identities that are never given twice by one source of identities, at most one track for a
//! detection and one detection for a track, never more than [`Params::max_tracks`] tracks, the same answer for the
//! same input. Not responsible for when frames come, for what was detected, or for telling the user: a caller passes
//! the time that has gone by, and counts are read from [`Counts`].
//!
//! # Where the rules come from
//!
//! * `iou`: Bochinski, Eiselein and Sikora, *High-Speed Tracking-by-Detection Without Using Image Information*, AVSS 2017:
//!   the box that overlaps most with the last one, without a motion model.
//! * `sort`: Bewley, Ge, Ott, Ramos and Upcroft, *Simple Online and Realtime Tracking*, ICIP 2016: a Kalman filter of
//!   constant velocity, and the best assignment by overlap.
//! * `bytetrack`: Zhang, Sun, Jiang et al., *ByteTrack: Multi-Object Tracking by Associating Every Detection Box*, ECCV 2022:
//!   the same in rounds, so that a box of low confidence may go on with a track but begin none.
//! * Left out of ByteTrack: the product of overlap and confidence (its `fuse_score`), which would make the threshold of
//!   overlap another one for each detection; and the tenth more confidence that a birth needs there, since `min_hits`
//!   stands for it. Neither was worth anything in `tests/data/mot`.
//! * Both filters here are ByteTrack's, whose noise is in heights of the box and so needs no scale (SORT's is in pixels).
//! * Appearance: the mean of what a track looked like moves by a tenth with each detection, as in Aharon, Orfaig and
//!   Bobrovsky, *BoT-SORT*, 2022.

mod assign;
mod kalman;
mod motion;
mod one;
mod stage;
mod tracker;

use crate::vision::Rect;
use std::time::Duration;

pub use tracker::Tracker;

/// Most tracks that [`Params::max_tracks`] can allow.
pub const MOST_TRACKS: u32 = 4096;

/// Most detections of a frame that are looked at, the most confident ones.
pub const MOST_OBSERVATIONS: usize = 1024;

/// Longest embedding that is looked at, in numbers.
pub const MOST_DIMENSIONS: usize = crate::vision::decode::MAX_DIMS;

/// A track that nobody has seen for so long ends, however long `max_age` is in frames.
pub const LONGEST_UNSEEN: Duration = Duration::from_secs(30);

/// How detections and tracks are paired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Greedily, by overlap with the last box.
    Iou,
    /// The best assignment by overlap with the predicted box.
    Sort,
    /// The same in rounds by confidence, with appearance if there is any.
    #[default]
    ByteTrack,
}

/// What the user may choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// How detections and tracks are paired.
    pub algorithm: Algorithm,
    /// Frames without a detection after which a track ends, frames that were not inferred included.
    pub max_age: u32,
    /// Detections in a row that confirm a track; 0 and 1 confirm it with the first.
    pub min_hits: u32,
    /// Inferred frames in a row that may miss a track and still show it, at the predicted place.
    pub coast_frames: u32,
    /// Least intersection over union of a detection and the box of its track, 0..1.
    pub iou_threshold: f32,
    /// Least confidence of a detection that begins a track, 0..1; with `iou` and `sort` of any that is looked at.
    pub high_threshold: f32,
    /// Least confidence of a detection that goes on with a track, 0..1; `bytetrack` only.
    pub low_threshold: f32,
    /// Most tracks at a time, 1 to [`MOST_TRACKS`].
    pub max_tracks: u32,
    /// What appearance counts for against overlap, 0..1, where both have an embedding; `bytetrack` only.
    pub appearance_weight: f32,
    /// Which detections may belong to a track.
    pub classes: Classes,
}

/// Which detections may belong to a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classes {
    /// Those of its class.
    #[default]
    Apart,
    /// Those of any class: the class of a track is that of its latest detection.
    Together,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            max_age: 30,
            min_hits: 3,
            coast_frames: 3,
            iou_threshold: 0.2,
            high_threshold: 0.4,
            low_threshold: 0.3,
            max_tracks: 500,
            appearance_weight: 0.5,
            classes: Classes::Apart,
        }
    }
}

impl Params {
    /// The same within their ranges; what is no number is the default, and `low_threshold` is at most `high_threshold`.
    #[must_use]
    pub fn within_ranges(self) -> Self {
        let default = Self::default();
        let ratio = |value: f32, default: f32| if value.is_nan() { default } else { value.clamp(0.0, 1.0) };
        let high_threshold = ratio(self.high_threshold, default.high_threshold);
        Self {
            iou_threshold: ratio(self.iou_threshold, default.iou_threshold),
            high_threshold,
            low_threshold: ratio(self.low_threshold, default.low_threshold).min(high_threshold),
            max_tracks: self.max_tracks.clamp(1, MOST_TRACKS),
            appearance_weight: ratio(self.appearance_weight, default.appearance_weight),
            ..self
        }
    }
}

/// One detection of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Where it is, in pixels of the frame.
    pub box_in_frame: Rect,
    /// What it is.
    pub class: u32,
    /// How sure the model is, 0..1.
    pub confidence: f32,
    /// What it looks like, if a model says it; of any length other than zero.
    pub embedding: Option<&'a [f32]>,
}

/// What lies between the previous frame of the feed and this one.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Frames: 1 if none is missing.
    pub frames: u32,
    /// Time.
    pub elapsed: Duration,
}

/// How sure a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Seen, but less often than `min_hits`.
    Tentative,
    /// Seen on this frame, and often enough before.
    Confirmed,
    /// Confirmed, and not seen on this frame: nobody looked, or it was missing a few times.
    Coasted,
    /// Missing for longer; it may come back until `max_age`.
    Lost,
}

impl State {
    /// The name used in metas and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tentative => "tentative",
            Self::Confirmed => "confirmed",
            Self::Coasted => "coasted",
            Self::Lost => "lost",
        }
    }
}

/// What is said about a track on a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// Its identity.
    pub id: i64,
    /// How sure it is.
    pub state: State,
    /// Frames since it was first seen; 0 on that frame.
    pub age: u32,
    /// How fast its centre moves, in pixels of the frame a second, over about a second.
    pub speed: f64,
    /// Where to, in degrees, 0..360: 0 is to the right, 90 down.
    pub direction: f64,
    /// Whether it stands still: it has been seen for a second, and moves by less than a tenth of its height a second.
    pub stationary: bool,
}

/// A track that stands on a frame without a detection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// What is said about it.
    pub mark: Mark,
    /// Where it should be, in pixels of the frame; finite, it may lie outside.
    pub box_in_frame: Rect,
    /// Class of its latest detection.
    pub class: u32,
    /// Confidence of its latest detection.
    pub confidence: f32,
}

/// What has become of tracks and detections since the tracker was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames, inferred or not.
    pub frames: u64,
    /// Tracks there have been.
    pub born: u64,
    /// Of those, the ones that are over.
    pub ended: u64,
    /// Of those, the ones that ended to make room.
    pub evicted: u64,
    /// Detections that began no track because there was no room.
    pub rejected: u64,
}

#[cfg(test)]
mod tests;
