//! What the watch is told, and what it answers.

use crate::health::Event;
use std::time::Duration;

/// What is watched for; `None`, like zero, is off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Silence that is a stall.
    pub stall_timeout: Option<Duration>,
    /// Silence that is idleness.
    pub idle_timeout: Option<Duration>,
    /// Whether an idle feed is ended.
    pub reap_idle: bool,
    /// Lag from which frames are late.
    pub lag_threshold: Option<Duration>,
    /// Least frames a second.
    pub fps_min: Option<f64>,
    /// Time between two reports.
    pub report_interval: Option<Duration>,
}

/// A frame, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Running time, in nanoseconds; negative before the segment. `None` without a timestamp.
    pub running_time: Option<i64>,
    /// Duration, in nanoseconds.
    pub duration: Option<u64>,
    /// How late it is, in nanoseconds; `None` if nobody knows.
    pub lag: Option<u64>,
    /// Session of the feed, and number of the frame in it, if who made the frame counts them.
    pub origin: Option<Origin>,
}

/// Where a frame stands in its feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Session of the feed.
    pub session: u32,
    /// Number of the frame.
    pub seq: u64,
}

/// What downstream made of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It took the frame.
    Taken,
    /// It did not, and nothing is wrong: flushing, EOS, not linked.
    Refused,
    /// It cannot go on; this is its answer.
    Failed(&'static str),
}

/// What is due; see [`super::Watch::tick`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tick {
    /// What to report.
    pub events: Vec<Event>,
    /// Whether the feed is to be ended: call [`super::Watch::reap`] where no frame can come between.
    pub reap: bool,
}

/// What is known of the feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether a session has begun and is not stalled.
    pub alive: bool,
    /// Whether no frame has come for the stall timeout.
    pub stalled: bool,
    /// Whether the feed is paused.
    pub paused: bool,
    /// Number of the session that runs or comes next.
    pub session: u32,
    /// Time since the session began, in nanoseconds; 0 if none has.
    pub uptime: u64,
    /// Frames in all.
    pub frames: u64,
    /// Frames missing between those that came, by their numbers.
    pub missing: u64,
    /// Lag of the last frame whose lag is known, in nanoseconds.
    pub lag_now: u64,
    /// Greatest lag of the session, in nanoseconds.
    pub lag_peak: u64,
}
