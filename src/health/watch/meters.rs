//! What is measured of a feed, each with its hysteresis: how late its frames are, and how many come.

use crate::health::{Event, FpsLow, FrameLag, LagRecovered};
use crate::time::Monotonic;
use std::time::Duration;

/// Shortest time over which frames a second are measured.
const SHORTEST_SPAN: Duration = Duration::from_secs(1);

/// Fewest frames, at the least rate, over which it is measured.
const FEWEST_FRAMES: f64 = 4.0;

/// The rate is low until there are so many times the least again.
const REARM: f64 = 1.1;

#[derive(Clone, Copy, Debug)]
struct Late {
    since: Monotonic,
    peak: u64,
}

/// How late frames are.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    late: Option<Late>,
    now: u64,
    peak: u64,
}

impl Lateness {
    /// A frame was late by `lag` ns; `None` if nobody knows.
    pub(super) fn frame(
        &mut self,
        lag: Option<u64>,
        threshold: Option<Duration>,
        now: Monotonic,
    ) -> Option<Event> {
        let lag = lag?;
        self.now = lag;
        self.peak = self.peak.max(lag);
        let Some(threshold) = threshold.map(super::nanos) else {
            self.late = None;
            return None;
        };
        if lag >= threshold {
            let late = self.late.get_or_insert(Late { since: now, peak: 0 });
            late.peak = late.peak.max(lag);
            return Some(FrameLag { lag, peak: late.peak, threshold }.into());
        }
        let late = self.late.take_if(|_| lag < threshold.div_ceil(2))?;
        Some(LagRecovered { lagged_for: super::nanos(now.since(late.since)), peak: late.peak }.into())
    }

    /// Lag of the last frame, in nanoseconds.
    pub(super) const fn now(&self) -> u64 {
        self.now
    }

    /// Greatest lag, in nanoseconds.
    pub(super) const fn peak(&self) -> u64 {
        self.peak
    }
}

/// How many frames come.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Where measuring began, at a frame, and how many frames came after that.
    span: Option<(Monotonic, u64)>,
    low: bool,
}

impl Pace {
    /// Begins to measure with the next frame.
    pub(super) const fn reset(&mut self) {
        self.span = None;
    }

    /// A frame came.
    pub(super) fn frame(&mut self, min: f64, now: Monotonic) -> Option<Event> {
        let Some((from, frames)) = self.span else {
            self.span = Some((now, 0));
            return None;
        };
        let frames = frames.saturating_add(1);
        if now.since(from) < span(min) {
            self.span = Some((from, frames));
            return None;
        }
        self.span = Some((now, 0));
        let fps = frames as f64 / now.since(from).as_secs_f64();
        if fps >= min * REARM {
            self.low = false;
        }
        self.judge(fps, min)
    }

    /// Says so if so few frames have come until `now` that the next one cannot mend it.
    pub(super) fn tick(&mut self, min: f64, now: Monotonic) -> Option<Event> {
        if self.due(min)? > now {
            return None;
        }
        let (from, frames) = self.span.take()?;
        self.judge(frames as f64 / now.since(from).as_secs_f64(), min)
    }

    /// When the next frame, should it come, comes too late.
    pub(super) fn due(&self, min: f64) -> Option<Monotonic> {
        let (from, frames) = self.span.filter(|_| !self.low)?;
        let time = seconds((frames as f64 + 1.0) / min).max(span(min));
        // Just then, the frame would still be in time.
        Some(from.saturating_add(time).saturating_add(Duration::from_nanos(1)))
    }

    fn judge(&mut self, fps: f64, min: f64) -> Option<Event> {
        if self.low || fps >= min {
            return None;
        }
        self.low = true;
        Some(FpsLow { fps, fps_min: min }.into())
    }
}

/// How long to measure: the rate of few frames says little.
fn span(min: f64) -> Duration {
    seconds(FEWEST_FRAMES / min).max(SHORTEST_SPAN)
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
