//! Which frames go out with their pixels.
//!
//! Responsible for the choice alone. It is made for each record that is offered, whoever listens, so it
//! does not depend on the handlers connected. It goes by the time of the frames that come, not by a rate
//! measured once: frames lost before the sink change nothing of the rate that comes out.

use std::collections::HashMap;

/// Feeds told apart; the frames of further feeds go out without pixels, but for [`FrameInclusion::Always`].
/// As in the table of losses, it bounds what a stream with a new feed number per frame can cost.
const MAX_FEEDS: usize = 1024;

/// A frame that is this much older than one before it begins a new count, in nanoseconds: the stream began
/// again. A smaller step back is jitter.
const RESTART: u64 = 1_000_000_000;

/// Which frames of a feed go out with their pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum FrameInclusion {
    /// None.
    Never,
    /// Each.
    #[default]
    Always,
    /// Each N-th; the first is the N-th. Never 0 or 1 if made by [`Self::sampled`].
    Sampled(u32),
    /// So many a second at most, evenly. Finite and above 0 if made by [`Self::target_fps`].
    TargetFps(f64),
}

impl FrameInclusion {
    /// Each `interval`-th frame: none for 0, each for 1.
    #[must_use]
    pub const fn sampled(interval: u32) -> Self {
        match interval {
            0 => Self::Never,
            1 => Self::Always,
            interval => Self::Sampled(interval),
        }
    }

    /// `fps` frames a second; none for a rate that is not above 0, each for one a nanosecond or more.
    #[must_use]
    pub fn target_fps(fps: f64) -> Self {
        if fps.is_nan() || fps <= 0.0 {
            Self::Never
        } else if fps >= 1e9 {
            Self::Always
        } else {
            Self::TargetFps(fps)
        }
    }
}

/// The frame that time is counted from, and what has come since.
#[derive(Clone, Copy, Debug)]
struct Grid {
    /// Time of the first frame.
    origin: u64,
    /// Time of the latest frame.
    latest: u64,
    /// Number of the latest period of which a frame went out.
    period: u64,
}

impl Grid {
    /// Whether the frame of `time` is the first one of its period, at `fps` periods a second.
    ///
    /// Periods are counted from the origin, so nothing adds up. A frame stands for the time around it, half
    /// the way to the frame before: jitter and the rounding of time stamps do not push it into the period
    /// before.
    fn reaches(&mut self, time: u64, fps: f64) -> bool {
        let since = |time: u64| as_periods(time.saturating_sub(self.origin), fps);
        let half = (as_periods(time.saturating_sub(self.latest), fps) / 2.0).min(0.5);
        let period = whole(since(time) + half);
        self.latest = self.latest.max(time);
        let reached = period > self.period;
        self.period = self.period.max(period);
        reached
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time that loses a nanosecond is 104 days long")]
fn as_periods(nanos: u64, fps: f64) -> f64 {
    nanos as f64 * fps / 1e9
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not below 0; the cast saturates"
)]
fn whole(periods: f64) -> u64 {
    periods as u64
}

#[derive(Clone, Copy, Debug, Default)]
struct FeedState {
    /// Frames since the last one with pixels.
    count: u32,
    grid: Option<Grid>,
}

/// Follows the frames of each feed.
#[derive(Debug, Default)]
pub struct InclusionTracker {
    rule: FrameInclusion,
    feeds: HashMap<u32, FeedState>,
}

impl InclusionTracker {
    /// Takes note of the next frame of `feed`, at `time` nanoseconds of its running time, and says whether
    /// it goes out with its pixels. Another `rule` than for the frame before begins all counts anew.
    pub fn includes(&mut self, rule: FrameInclusion, feed: u32, time: u64) -> bool {
        if self.rule != rule {
            *self = Self { rule, feeds: HashMap::new() };
        }
        match rule {
            FrameInclusion::Never => false,
            FrameInclusion::Always => true,
            FrameInclusion::Sampled(interval) => self.feed(feed).is_some_and(|state| state.counts(interval)),
            FrameInclusion::TargetFps(fps) => self.feed(feed).is_some_and(|state| state.is_due(time, fps)),
        }
    }

    fn feed(&mut self, feed: u32) -> Option<&mut FeedState> {
        let known = self.feeds.contains_key(&feed) || self.feeds.len() < MAX_FEEDS;
        known.then(|| self.feeds.entry(feed).or_default())
    }
}

impl FeedState {
    const fn counts(&mut self, interval: u32) -> bool {
        self.count = self.count.saturating_add(1);
        let full = self.count >= interval;
        if full {
            self.count = 0;
        }
        full
    }

    fn is_due(&mut self, time: u64, fps: f64) -> bool {
        match &mut self.grid {
            Some(grid) if time.saturating_add(RESTART) > grid.latest => grid.reaches(time, fps),
            grid => {
                *grid = Some(Grid { origin: time, latest: time, period: 0 });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The numbers, from one, of the frames of these times that go out with their pixels.
    fn chosen(rule: FrameInclusion, times: impl IntoIterator<Item = u64>) -> Vec<usize> {
        let mut tracker = InclusionTracker::default();
        let frames = times.into_iter().enumerate();
        frames.filter_map(|(at, time)| tracker.includes(rule, 0, time).then_some(at + 1)).collect()
    }

    /// Times of the frames of a stream of `fps` frames a second, rounded down as sources do.
    fn stream(fps: u64, frames: u64) -> impl Iterator<Item = u64> {
        (0..frames).map(move |frame| frame * 1_000_000_000 / fps)
    }

    #[test]
    fn rates_and_intervals_at_the_ends_are_never_and_always() {
        assert_eq!(
            [0, 1, 2].map(FrameInclusion::sampled),
            [FrameInclusion::Never, FrameInclusion::Always, FrameInclusion::Sampled(2),]
        );
        for fps in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(FrameInclusion::target_fps(fps), FrameInclusion::Never);
        }
        assert_eq!(FrameInclusion::target_fps(f64::INFINITY), FrameInclusion::Always);
        assert_eq!(chosen(FrameInclusion::Never, stream(30, 9)), [0; 0]);
        assert_eq!(chosen(FrameInclusion::Always, stream(30, 3)), [1, 2, 3]);
    }

    #[test]
    fn every_sixth_of_thirty_frames_is_sampled_first_the_sixth() {
        assert_eq!(chosen(FrameInclusion::sampled(6), stream(30, 30)), [6, 12, 18, 24, 30]);
    }

    #[test]
    fn feeds_are_counted_apart() {
        let mut tracker = InclusionTracker::default();
        for (feed, expected) in [(0, false), (1, false), (0, true), (0, false), (1, true), (0, true)] {
            assert_eq!(tracker.includes(FrameInclusion::sampled(2), feed, 0), expected);
        }
    }

    #[test]
    fn feeds_beyond_the_bound_go_without_pixels_unless_all_have_them() {
        let mut tracker = InclusionTracker::default();
        let rule = FrameInclusion::target_fps(5.0);
        let included = (0..5000).filter(|feed| tracker.includes(rule, *feed, 0)).count();
        assert_eq!((included, tracker.feeds.len()), (MAX_FEEDS, MAX_FEEDS));
        assert!(tracker.includes(FrameInclusion::Always, 5000, 0));
    }

    #[test]
    fn five_a_second_are_every_sixth_of_30_and_every_fifth_of_25_whole_days_long() {
        for (source, step) in [(30, 6), (25, 5), (15, 3), (5, 1)] {
            let frames = chosen(FrameInclusion::target_fps(5.0), stream(source, 100_000));
            let expected: Vec<_> = (1..=100_000).step_by(step).collect();
            assert_eq!(frames, expected, "of {source} fps");
        }
    }

    #[test]
    fn a_target_at_or_above_the_rate_of_the_source_is_always() {
        for target in [25.0, 30.0, 1e9, f64::MAX] {
            let frames = chosen(FrameInclusion::target_fps(target), stream(25, 1000));
            assert_eq!(frames.len(), 1000, "{target}");
        }
    }

    #[test]
    fn a_stream_that_begins_again_is_counted_from_there() {
        let times = [0, 100, 200, 5000, 5100, 10, 110, 210].map(|milliseconds| milliseconds * 1_000_000);
        assert_eq!(chosen(FrameInclusion::target_fps(5.0), times), [1, 3, 4, 6, 8]);
    }

    #[test]
    fn a_small_step_back_is_no_new_beginning() {
        let times = [1000, 1040, 1030, 1080, 990, 1200].map(|milliseconds| milliseconds * 1_000_000);
        assert_eq!(chosen(FrameInclusion::target_fps(5.0), times), [1, 6]);
    }

    #[test]
    fn another_rule_begins_anew() {
        let mut tracker = InclusionTracker::default();
        let (two, three) = (FrameInclusion::sampled(2), FrameInclusion::sampled(3));
        let rules = [two, three, three, three, two, two];
        let frames = rules.map(|rule| tracker.includes(rule, 0, 0));
        assert_eq!(frames, [false, false, false, true, false, true]);
    }

    proptest! {
        /// Also of streams that lose frames: the rate is never above the target, and a frame goes out of each
        /// period that has one at its middle.
        #[test]
        fn a_target_is_never_exceeded(steps in vec(0_u64..2_000_000_000, 1..300), fps in 0.1..60.0_f64) {
            let times: Vec<u64> = steps.iter().scan(7, |time, step| { *time += step; Some(*time) }).collect();
            let frames = chosen(FrameInclusion::target_fps(fps), times.clone()).len();
            let length = as_periods(times.last().unwrap() - times.first().unwrap(), fps);
            prop_assert!(frames as f64 <= length + 1.5, "{frames} frames in {length} periods");
        }

        /// Jitter of up to a fifth of the time between two frames neither adds nor costs a frame in the long run.
        #[test]
        fn jitter_does_not_add_up(
            jitter in vec(-0.2..0.2_f64, 500..1500),
            source in 10.0..60.0_f64,
            part in 0.05..0.5_f64,
        ) {
            let time = |(at, jitter): (usize, &f64)| ((at as f64 + 1.0 + jitter) * 1e9 / source) as u64;
            let frames = chosen(FrameInclusion::target_fps(source * part), jitter.iter().enumerate().map(time));
            let expected = jitter.len() as f64 * part;
            prop_assert!((frames.len() as f64 - expected).abs() <= 2.0, "{} of {expected}", frames.len());
        }

        /// Frames lost before the sink leave the rate of what comes as it was.
        #[test]
        fn losses_do_not_change_the_rate(kept in vec(any::<bool>(), 2000)) {
            let times = stream(30, 2000).zip(&kept).filter_map(|(time, kept)| kept.then_some(time));
            let frames = chosen(FrameInclusion::target_fps(1.0), times).len();
            prop_assert!((66..=68).contains(&frames), "{frames}");
        }
    }
}
