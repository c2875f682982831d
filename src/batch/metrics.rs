//! What a former has done so far, as plain numbers.
//!
//! Counters only rise and are never reset; rates are the reader's to compute.

use std::time::Duration;

use super::{CloseReason, FeedId, Ledger};

/// The batches of a former since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Batches closed.
    pub batches: u64,
    /// Of these, batches with at least one frame to infer. Only these have a size.
    pub batches_to_infer: u64,
    /// Frames in batches, with those that rode along.
    pub frames: u64,
    /// Frames in batches to be inferred.
    pub frames_to_infer: u64,
    /// The fewest frames to infer in a batch; 0 before the first.
    pub min_size: usize,
    /// The most frames to infer in a batch; 0 before the first.
    pub max_size: usize,
    /// How long frames waited for their batch.
    pub formation_wait: FormationWait,
    closes: [u64; CloseReason::ALL.len()],
}

impl Metrics {
    /// Batches closed for `reason`.
    #[must_use]
    pub const fn closes(&self, reason: CloseReason) -> u64 {
        self.closes[reason as usize]
    }

    /// Frames to infer per batch that had any; 0 before the first.
    #[must_use]
    pub fn mean_size(&self) -> f64 {
        if self.batches_to_infer == 0 {
            0.0
        } else {
            self.frames_to_infer as f64 / self.batches_to_infer as f64
        }
    }

    /// Part of the places in batches that frames took, 0 to 1, at `max_batch_size` places each; 0 before the
    /// first.
    #[must_use]
    pub fn fill_ratio(&self, max_batch_size: usize) -> f64 {
        if max_batch_size == 0 { 0.0 } else { self.mean_size() / max_batch_size as f64 }
    }

    /// A batch of `frames` closed, `size` of them to infer.
    pub(super) fn record_batch(&mut self, reason: CloseReason, frames: usize, size: usize) {
        self.batches += 1;
        self.closes[reason as usize] += 1;
        self.frames += frames as u64;
        if size == 0 {
            return;
        }
        self.min_size = if self.batches_to_infer == 0 { size } else { self.min_size.min(size) };
        self.max_size = self.max_size.max(size);
        self.batches_to_infer += 1;
        self.frames_to_infer += size as u64;
    }
}

/// The time from a frame's arrival to the close of its batch, over all frames in batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormationWait {
    /// Frames.
    pub count: u64,
    /// The sum of their times.
    pub total: Duration,
    /// The longest of them.
    pub max: Duration,
}

impl FormationWait {
    /// The mean; zero before the first frame.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let nanos = self.total.as_nanos().checked_div(u128::from(self.count)).unwrap_or(0);
        // A mean is at most the longest of its values, and that is a difference of two `Monotonic`.
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(super) fn record(&mut self, wait: Duration) {
        self.count += 1;
        self.total = self.total.saturating_add(wait);
        self.max = self.max.max(wait);
    }
}

/// One feed of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedSnapshot {
    /// Which feed.
    pub feed: FeedId,
    /// Whether batches wait for it.
    pub active: bool,
    /// Whether it has ended.
    pub ended: bool,
    /// How often it was flushed.
    pub epoch: u32,
    /// Tickets alive: `ledger.in_flight` and those settled but not let go of.
    pub holding: usize,
    /// Frames chosen to be inferred.
    pub to_infer: u64,
    /// Frames chosen to ride along.
    pub rode_along: u64,
    /// Number of the next frame it receives.
    pub next_seq: u64,
    /// What became of its frames.
    pub ledger: Ledger,
}

/// The state of a former. Each ledger is read at one instant and is balanced, so any sum of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What was done so far.
    pub metrics: Metrics,
    /// The feeds there are, by id.
    pub feeds: Vec<FeedSnapshot>,
    /// The sum over the feeds that were removed, with what is still in flight of them.
    pub removed: Ledger,
}

impl Snapshot {
    /// Feeds that batches wait for.
    #[must_use]
    pub fn active_feeds(&self) -> usize {
        self.feeds.iter().filter(|feed| feed.active).count()
    }

    /// The sum over all feeds, present and removed.
    #[must_use]
    pub fn total(&self) -> Ledger {
        let mut total = self.removed.clone();
        for feed in &self.feeds {
            total += &feed.ledger;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_without_frames_to_infer_has_no_size() {
        let mut metrics = Metrics::default();
        assert!(metrics.mean_size().abs() < f64::EPSILON);
        metrics.record_batch(CloseReason::Deadline, 3, 0);
        metrics.record_batch(CloseReason::Full, 5, 4);
        metrics.record_batch(CloseReason::AllReady, 1, 1);
        assert_eq!((metrics.batches, metrics.batches_to_infer, metrics.frames), (3, 2, 9));
        assert_eq!((metrics.min_size, metrics.max_size), (1, 4));
        assert!((metrics.mean_size() - 2.5).abs() < f64::EPSILON);
        assert_eq!(CloseReason::ALL.map(|reason| metrics.closes(reason)), [1, 1, 1, 0, 0]);
    }

    #[test]
    fn waits_have_a_mean_and_a_longest() {
        let mut wait = FormationWait::default();
        assert_eq!(wait.mean(), Duration::ZERO);
        wait.record(Duration::from_millis(10));
        wait.record(Duration::from_millis(40));
        assert_eq!((wait.mean(), wait.max), (Duration::from_millis(25), Duration::from_millis(40)));
    }
}
