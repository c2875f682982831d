//! The settings of the former and of one feed, and what they come to together.
//!
//! Nothing here knows of properties or of live and non-live upstreams: the element has resolved its
//! `auto` before it sets an [`Overload`].

use std::time::Duration;

/// The hand-back of a batch to as many threads as it has feeds takes some hundred microseconds; this is several times
/// that, and little beside a frame of video.
const CREDIT_GRACE: Duration = Duration::from_millis(2);

/// How batches are formed. May be changed at any time with
/// [`Former::set_policy`](super::Former::set_policy).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The most frames to infer in a batch, at least 1.
    pub max_batch_size: usize,
    /// The longest a frame waits for others, from its arrival; zero sends it with the next free engine.
    pub max_latency: Duration,
    /// The most frames to infer of one feed in a batch, from 1 to `max_batch_size`.
    pub max_frames_per_feed: usize,
    /// How long an otherwise ready batch is held for active feeds whose frames in flight are about to come back, from
    /// the moment it was ready. Frames of one batch come back within moments of each other; without this the first
    /// feed to have its credit back would make the next batch on its own.
    pub credit_grace: Duration,
    /// The most feeds at a time, at least 1.
    pub max_feeds: usize,
}

impl Default for Policy {
    /// The defaults of the NextVision runtime: 4 frames, 50 ms, 1 frame a feed, 64 feeds.
    fn default() -> Self {
        Self {
            max_batch_size: 4,
            max_latency: Duration::from_millis(50),
            max_frames_per_feed: 1,
            credit_grace: CREDIT_GRACE,
            max_feeds: 64,
        }
    }
}

impl Policy {
    /// Checks every value on its own and against the others.
    ///
    /// # Errors
    ///
    /// The first value out of its range, with the range.
    pub const fn validate(&self) -> Result<(), PolicyError> {
        if self.max_batch_size == 0 {
            return Err(PolicyError::BatchSize { found: self.max_batch_size });
        }
        if self.max_frames_per_feed == 0 || self.max_frames_per_feed > self.max_batch_size {
            return Err(PolicyError::FramesPerFeed {
                found: self.max_frames_per_feed,
                max_batch_size: self.max_batch_size,
            });
        }
        if self.max_feeds == 0 {
            return Err(PolicyError::Feeds { found: self.max_feeds });
        }
        Ok(())
    }
}

/// A [`Policy`] that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No frame would fit a batch.
    #[error("max-batch-size: expected 1 or more, found {found}")]
    BatchSize {
        /// The value given.
        found: usize,
    },
    /// One feed could give nothing, or more than fits a batch.
    #[error("max-frames-per-feed: expected 1 to max-batch-size ({max_batch_size}), found {found}")]
    FramesPerFeed {
        /// The value given.
        found: usize,
        /// The other value, which is the upper bound.
        max_batch_size: usize,
    },
    /// No feed could be added.
    #[error("max-feeds: expected 1 or more, found {found}")]
    Feeds {
        /// The value given.
        found: usize,
    },
}

/// What a push does when its feed's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overload {
    /// The oldest queued frame is dropped, the new one queued.
    DropOldest,
    /// The new frame is dropped.
    DropNewest,
    /// The caller waits until there is room.
    #[default]
    Block,
    /// No frame is lost: the oldest queued frame to infer rides along instead, and the new one is queued.
    ///
    /// `capacity` frames wait before the rule applies, and at most twice that many with it, of which never
    /// more than `capacity` are to be inferred. At twice the capacity the caller waits as with
    /// [`Block`](Self::Block): frames that ride along need a batch and credit to leave too. For pixels to
    /// flow at the full rate, the in-flight limit must be at least the number of frames that arrive while
    /// one batch is in the engine.
    PassThrough,
}

/// The settings of one feed. May be changed at any time; a smaller queue takes effect as it drains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedOptions {
    /// The most frames queued before [`overload`](Self::overload) decides. A value below
    /// [`Policy::max_frames_per_feed`] counts as that.
    pub max_size_buffers: usize,
    /// The most frames chosen and not let go of yet, per frame of [`Policy::max_frames_per_feed`]. 0
    /// counts as 1.
    pub max_in_flight: u32,
    /// What happens when the queue is full.
    pub overload: Overload,
    /// Frames that ride along after each one inferred; 0 infers all.
    ///
    /// Feeds are staggered: the n-th feed added starts its turn n frames late. Only frames that were
    /// queued take a turn.
    pub interval: u32,
}

impl Default for FeedOptions {
    /// A queue of 4, 2 in flight, waiting when full, every frame inferred.
    fn default() -> Self {
        Self { max_size_buffers: 4, max_in_flight: 2, overload: Overload::Block, interval: 0 }
    }
}

impl FeedOptions {
    /// Frames the queue takes before the overload rule applies, at least 1.
    pub(super) fn capacity(&self, policy: &Policy) -> usize {
        self.max_size_buffers.max(policy.max_frames_per_feed)
    }

    /// Frames that may hold a ticket at a time, at least 1.
    pub(super) fn in_flight_limit(&self, policy: &Policy) -> usize {
        usize::try_from(self.max_in_flight.max(1))
            .unwrap_or(usize::MAX)
            .saturating_mul(policy.max_frames_per_feed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_documented_ones_and_valid() {
        let policy = Policy::default();
        assert_eq!(policy.validate(), Ok(()));
        assert_eq!(
            (policy.max_batch_size, policy.max_latency, policy.max_frames_per_feed, policy.max_feeds),
            (4, Duration::from_millis(50), 1, 64)
        );
        let options = FeedOptions::default();
        assert_eq!((options.max_size_buffers, options.max_in_flight, options.interval), (4, 2, 0));
        assert_eq!(options.overload, Overload::Block);
    }

    #[test]
    fn values_that_cannot_work_are_named_with_their_range() {
        let error = Policy { max_batch_size: 0, ..Policy::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "max-batch-size: expected 1 or more, found 0");
        let error = Policy { max_frames_per_feed: 5, ..Policy::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "max-frames-per-feed: expected 1 to max-batch-size (4), found 5");
        assert!(Policy { max_frames_per_feed: 0, ..Policy::default() }.validate().is_err());
        assert!(Policy { max_feeds: 0, ..Policy::default() }.validate().is_err());
    }

    #[test]
    fn zero_latency_is_valid() {
        assert_eq!(Policy { max_latency: Duration::ZERO, ..Policy::default() }.validate(), Ok(()));
    }

    #[test]
    fn capacity_and_limit_rise_with_the_frames_per_feed() {
        let policy = Policy { max_batch_size: 8, max_frames_per_feed: 6, ..Policy::default() };
        let options = FeedOptions::default();
        assert_eq!((options.capacity(&policy), options.in_flight_limit(&policy)), (6, 12));
    }

    #[test]
    fn extreme_options_are_clamped() {
        let none = FeedOptions { max_size_buffers: 0, max_in_flight: 0, ..FeedOptions::default() };
        assert_eq!((none.capacity(&Policy::default()), none.in_flight_limit(&Policy::default())), (1, 1));
        let most =
            Policy { max_batch_size: usize::MAX, max_frames_per_feed: usize::MAX, ..Policy::default() };
        let options = FeedOptions { max_in_flight: u32::MAX, ..FeedOptions::default() };
        assert_eq!(options.in_flight_limit(&most), usize::MAX);
    }
}
