//! What was lost between two records of a feed.

use serde::Serialize;
use std::collections::HashMap;

/// Feeds told apart; frames of further feeds get records without loss figures. Far above `max-feeds`,
/// low enough that a stream with a new feed number per frame cannot grow the table.
const MAX_FEEDS: usize = 1024;

/// Frames of one feed that have no record, since the feed's previous record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Frames that never reached the sink: the gap in the feed's sequence numbers.
    pub upstream: u64,
    /// Records that the sink itself dropped because its queue was full.
    pub sink: u64,
}

impl Lost {
    /// Adds what another record would have reported.
    pub(super) const fn absorb(&mut self, other: Self) {
        self.upstream = self.upstream.saturating_add(other.upstream);
        self.sink = self.sink.saturating_add(other.sink);
    }
}

#[derive(Debug, Default)]
struct FeedState {
    last_seq: u64,
    /// Not yet written on any record.
    pending: Lost,
}

/// Follows the sequence numbers of each feed.
#[derive(Debug, Default)]
pub struct LossTracker {
    feeds: HashMap<u32, FeedState>,
}

impl LossTracker {
    /// Takes note of a frame and returns what was lost since the feed's previous one, including what
    /// [`Self::dropped`] was told.
    ///
    /// The first frame of a feed reports nothing. A number that does not rise (the feed began again)
    /// reports no gap; a new session does not restart the numbers, so a gap across it counts.
    pub fn seen(&mut self, feed: u32, seq: u64) -> Lost {
        if let Some(state) = self.feeds.get_mut(&feed) {
            let gap = seq.saturating_sub(state.last_seq).saturating_sub(1);
            state.last_seq = seq;
            let mut lost = std::mem::take(&mut state.pending);
            lost.absorb(Lost { upstream: gap, sink: 0 });
            return lost;
        }
        if self.feeds.len() < MAX_FEEDS {
            self.feeds.insert(feed, FeedState { last_seq: seq, pending: Lost::default() });
        }
        Lost::default()
    }

    /// Carries a dropped record, and what it would have reported, over to the feed's next frame.
    pub fn dropped(&mut self, feed: u32, lost: Lost) {
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.pending.absorb(lost);
            state.pending.absorb(Lost { upstream: 0, sink: 1 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Lost = Lost { upstream: 0, sink: 0 };

    #[test]
    fn a_gap_in_the_numbers_is_what_was_lost_upstream() {
        let mut tracker = LossTracker::default();
        assert_eq!(tracker.seen(0, 7), NONE, "nothing is known before the first frame");
        assert_eq!(tracker.seen(0, 8), NONE);
        assert_eq!(tracker.seen(0, 12), Lost { upstream: 3, sink: 0 });
        assert_eq!(tracker.seen(0, 13), NONE, "a gap is reported once");
    }

    #[test]
    fn feeds_do_not_see_each_other() {
        let mut tracker = LossTracker::default();
        tracker.seen(0, 0);
        tracker.seen(1, 100);
        assert_eq!(tracker.seen(0, 1), NONE);
        assert_eq!(tracker.seen(1, 101), NONE);
    }

    #[test]
    fn numbers_that_start_again_are_no_loss() {
        let mut tracker = LossTracker::default();
        tracker.seen(0, u64::MAX);
        assert_eq!(tracker.seen(0, 0), NONE);
        assert_eq!(tracker.seen(0, 0), NONE);
    }

    #[test]
    fn a_dropped_record_is_reported_with_all_it_would_have_said() {
        let mut tracker = LossTracker::default();
        tracker.seen(0, 0);
        let lost = tracker.seen(0, 3);
        tracker.dropped(0, lost);
        assert_eq!(tracker.seen(0, 4), Lost { upstream: 2, sink: 1 });
        assert_eq!(tracker.seen(0, 5), NONE);
    }

    #[test]
    fn a_new_feed_per_frame_does_not_grow_the_table() {
        let mut tracker = LossTracker::default();
        for feed in 0..5000 {
            assert_eq!(tracker.seen(feed, 0), NONE);
            tracker.dropped(feed, NONE);
        }
        assert!(tracker.feeds.len() <= MAX_FEEDS);
    }
}
