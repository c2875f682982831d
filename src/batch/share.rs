//! What one turn is worth: so that under overload every feed loses the same part of its frames.
//!
//! A feed that is served moves on by the mean time between its frames; the one that has moved least is served next. So
//! a camera of 30 frames a second gets six turns for each of one of 5, and both keep up with the same part of their
//! stream. Feeds alike move in equal steps, and are served in turn. A feed that had nothing to give does not save its
//! turns: it goes on from where the others are.

use std::time::Duration;

/// No frame is worth less or more than this: what bounds how long a slow feed may be passed over.
const LEAST: Duration = Duration::from_millis(10);
const MOST: Duration = Duration::from_millis(320);

/// Of a feed whose rate nobody knows: one that has just begun, and one that blocks, which is as fast as it is served.
const TYPICAL: Duration = Duration::from_nanos(1_000_000_000 / 30);

/// The mean time between the frames a feed is offered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace(Option<Duration>);

impl Pace {
    /// A frame came that long after the one before.
    pub(super) fn beat(&mut self, interval: Duration) {
        let interval = interval.clamp(LEAST, MOST);
        // Weights the last eight or so, so that a change of rate counts within a second.
        self.0 = Some(self.0.map_or(interval, |mean| (mean * 7 + interval) / 8));
    }

    /// What one frame to infer is worth, in nanoseconds, if `interval` frames between two ride along.
    pub(super) fn turn(self, blocks: bool, interval: u32) -> u64 {
        let between = self.0.filter(|_| !blocks).unwrap_or(TYPICAL);
        let turn = between.saturating_mul(interval.saturating_add(1)).clamp(LEAST, MOST);
        u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_worth_the_mean_interval_within_bounds() {
        let after = |millis: u64| {
            let mut pace = Pace::default();
            (0..100).for_each(|_| pace.beat(Duration::from_millis(millis)));
            pace.turn(false, 0)
        };
        assert_eq!([after(200), after(1), after(60_000)], [200_000_000, 10_000_000, 320_000_000]);
        assert_eq!(Pace::default().turn(false, 0), 33_333_333);
    }

    #[test]
    fn a_feed_that_blocks_counts_as_thirty_frames_a_second() {
        let mut pace = Pace::default();
        pace.beat(Duration::from_millis(200));
        assert_eq!(pace.turn(true, 0), 33_333_333);
    }

    #[test]
    fn frames_that_ride_along_make_a_turn_worth_more() {
        let mut pace = Pace::default();
        pace.beat(Duration::from_millis(40));
        assert_eq!((pace.turn(false, 1), pace.turn(false, u32::MAX)), (80_000_000, 320_000_000));
    }
}
