//! [`History`]: the recent past of one feed, and how many frames a second that is.
//!
//! The caller says about once a second what the counters are; a tick that is late covers the seconds it missed. What
//! is older than [`HISTORY`] seconds is gone.

use super::{FeedState, Sample};
use crate::time::Monotonic;
use std::collections::VecDeque;
use std::time::Duration;

/// Samples that are kept, one a second.
pub const HISTORY: usize = 120;

/// The last samples that a rate is the mean of: a whole number of frames a second says little on its own.
const RATE_SAMPLES: usize = 3;

/// Shorter intervals are joined with the next: a frame more or less in one would look like a peak.
const SHORTEST: Duration = Duration::from_millis(500);

/// What the counters were at a tick.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Monotonic,
    received: u64,
    delivered: u64,
}

/// The recent past of one feed. Empty before the second tick.
#[derive(Clone, Debug, Default)]
pub struct History {
    last: Option<Mark>,
    samples: VecDeque<Sample>,
}

impl History {
    /// Takes what the counters are at `now`. One that is lower than before has begun again at zero.
    ///
    /// A tick less than half a second after the last one, or before it, only tells the state.
    pub fn tick(&mut self, now: Monotonic, received: u64, delivered: u64, state: FeedState) {
        let Some(last) = self.last else {
            self.last = Some(Mark { at: now, received, delivered });
            return;
        };
        let elapsed = now.since(last.at);
        if elapsed < SHORTEST {
            if let Some(newest) = self.samples.back_mut() {
                newest.state = state;
            }
            return;
        }
        self.last = Some(Mark { at: now, received, delivered });
        let rate = |before, after| tenths(rise(before, after) as f64 / elapsed.as_secs_f64());
        let (fps_in, fps_out) = (rate(last.received, received), rate(last.delivered, delivered));
        // What the state was in between is not known: it is taken to have been what it was.
        let before = self.samples.back().map_or(state, |sample| sample.state);
        for _ in 1..seconds(elapsed) {
            self.push(Sample { fps_in, fps_out, state: before });
        }
        self.push(Sample { fps_in, fps_out, state });
    }

    /// Frames a second that came and that left, over the last three seconds there are; zeros before the second tick.
    #[must_use]
    pub fn rates(&self) -> (f64, f64) {
        let count = self.samples.len().min(RATE_SAMPLES);
        if count == 0 {
            return (0.0, 0.0);
        }
        let newest = self.samples.iter().rev().take(count);
        let (sum_in, sum_out) =
            newest.fold((0.0, 0.0), |sum, sample| (sum.0 + sample.fps_in, sum.1 + sample.fps_out));
        (tenths(sum_in / count as f64), tenths(sum_out / count as f64))
    }

    /// The samples, oldest first, one a second; [`HISTORY`] of them at most.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }

    fn push(&mut self, sample: Sample) {
        if self.samples.len() >= HISTORY {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

/// How much a counter has risen; all of it if it has begun again.
const fn rise(before: u64, after: u64) -> u64 {
    if after >= before { after - before } else { after }
}

/// The nearest whole number of seconds, 1 to [`HISTORY`].
fn seconds(elapsed: Duration) -> usize {
    let rounded = elapsed.saturating_add(Duration::from_millis(500)).as_secs();
    usize::try_from(rounded).unwrap_or(HISTORY).clamp(1, HISTORY)
}

/// Enough for people, and short as text.
fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: FeedState = FeedState::Running;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn rates_are_those_of_the_last_three_seconds() {
        let mut history = History::default();
        assert_eq!(history.rates(), (0.0, 0.0));
        history.tick(at(0), 0, 0, RUNNING);
        assert_eq!(history.samples(), []);
        for second in 1..=10 {
            history.tick(at(second * 1000), second * 30, second * 15, RUNNING);
        }
        assert_eq!(history.rates(), (30.0, 15.0));
        history.tick(at(11_000), 300, 150, FeedState::Stalled);
        assert_eq!(history.rates(), (20.0, 10.0));
        assert_eq!(history.samples().last().unwrap().state, FeedState::Stalled);
        history.tick(at(12_000), 300, 150, FeedState::Stalled);
        history.tick(at(13_000), 300, 150, FeedState::Stalled);
        assert_eq!(history.rates(), (0.0, 0.0));
    }

    #[test]
    fn uneven_ticks_do_not_bend_the_rate() {
        let mut history = History::default();
        // 25 frames a second, looked at whenever.
        for millis in [0, 10, 700, 2_100, 2_200, 2_300, 3_300, 9_300, 10_000] {
            history.tick(at(millis), millis / 40, millis / 40, RUNNING);
        }
        let (fps_in, fps_out) = history.rates();
        assert!((24.0..=26.0).contains(&fps_in) && (24.0..=26.0).contains(&fps_out), "{fps_in} {fps_out}");
        assert!(history.samples().iter().all(|sample| (23.0..=26.5).contains(&sample.fps_in)));
    }

    #[test]
    fn a_late_tick_fills_the_seconds_it_missed_with_what_the_state_was() {
        let mut history = History::default();
        history.tick(at(0), 0, 0, RUNNING);
        history.tick(at(1000), 10, 10, RUNNING);
        history.tick(at(5000), 50, 50, FeedState::Failed);
        let samples = history.samples();
        assert_eq!(samples.len(), 5);
        assert!(samples.iter().all(|sample| sample.fps_in == 10.0));
        let failed = samples.iter().filter(|sample| sample.state == FeedState::Failed).count();
        assert_eq!(failed, 1);
    }

    #[test]
    fn a_counter_that_begins_again_gives_no_peak() {
        let mut history = History::default();
        history.tick(at(0), 1_000_000, 1_000_000, RUNNING);
        history.tick(at(1000), 20, 0, RUNNING);
        assert_eq!(history.rates(), (20.0, 0.0));
    }

    #[test]
    fn a_tick_that_is_early_only_tells_the_state() {
        let mut history = History::default();
        history.tick(at(1000), 0, 0, RUNNING);
        history.tick(at(2000), 30, 30, RUNNING);
        history.tick(at(2001), 60, 60, FeedState::Paused);
        history.tick(at(500), 0, 0, FeedState::Paused);
        let samples = history.samples();
        assert_eq!(samples, [Sample { fps_in: 30.0, fps_out: 30.0, state: FeedState::Paused }]);
        // The frames of the early tick are not lost.
        history.tick(at(3000), 60, 60, RUNNING);
        assert_eq!(history.samples().last().unwrap().fps_in, 30.0);
    }

    #[test]
    fn there_are_never_more_than_so_many_samples() {
        let mut history = History::default();
        for second in 0..500 {
            history.tick(at(second * 1000), second, second, RUNNING);
        }
        assert_eq!(history.samples().len(), HISTORY);
        history.tick(Monotonic::from_nanos(u64::MAX), u64::MAX, u64::MAX, RUNNING);
        assert_eq!(history.samples().len(), HISTORY);
        assert!(history.rates().0.is_finite());
    }
}
