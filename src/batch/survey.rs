//! A look at all feeds at one instant.

use super::Policy;
use super::feed::Feed;
use crate::time::Monotonic;
use std::time::Duration;

/// What the feeds come to at one poll.
pub(super) struct Survey {
    /// Arrival of the oldest frame that can be chosen.
    pub(super) oldest: Option<Monotonic>,
    /// Frames to infer that could be chosen if there were no limit to the batch.
    pub(super) ready: usize,
    /// Active feeds with credit that have nothing queued, and may have before the deadline.
    pub(super) awaited: usize,
    /// The same, if the credit of every feed were back: its frame may be older, and the deadline with it.
    pub(super) awaited_at_least: usize,
    /// Active feeds that have frames and no credit, and have not been given up on.
    pub(super) short: usize,
    /// When the first frame is due that has no credit and is not overdue.
    pub(super) next_due: Option<Monotonic>,
    /// Whether a frame that has no credit is overdue.
    pub(super) overdue: bool,
    /// Whether all frames, with or without credit, belong to feeds that have ended.
    pub(super) only_ended: bool,
}

impl Survey {
    /// Looks at every feed once. Its credit is read once: other threads may raise it meanwhile. `expected` is used for
    /// its memory.
    pub(super) fn of(
        feeds: &mut [Feed],
        policy: &Policy,
        now: Monotonic,
        expected: &mut Vec<Option<Monotonic>>,
    ) -> Self {
        let mut survey = Self {
            oldest: None,
            ready: 0,
            awaited: 0,
            awaited_at_least: 0,
            short: 0,
            next_due: None,
            overdue: false,
            only_ended: true,
        };
        expected.clear();
        let mut oldest_of_all = None;
        for feed in feeds {
            let credit = feed.credit();
            survey.short += usize::from(feed.is_short_of_credit(credit));
            let Some(arrival) = feed.oldest() else {
                if feed.is_waited_for_with(credit) {
                    expected.push(feed.next_expected());
                }
                continue;
            };
            survey.only_ended &= feed.has_ended();
            oldest_of_all = Some(oldest_of_all.map_or(arrival, |oldest: Monotonic| oldest.min(arrival)));
            if credit == 0 {
                survey.note_due(arrival, now, policy.max_latency);
                continue;
            }
            survey.oldest = Some(survey.oldest.map_or(arrival, |oldest| oldest.min(arrival)));
            survey.ready = survey.ready.saturating_add(feed.ready(credit, policy.max_frames_per_feed));
        }
        let awaited = |oldest: Monotonic| {
            let deadline = oldest.saturating_add(policy.max_latency);
            expected.iter().filter(|next| next.is_none_or(|next| next <= deadline)).count()
        };
        survey.awaited = survey.oldest.map_or(0, awaited);
        survey.awaited_at_least = match (survey.oldest, oldest_of_all) {
            (Some(oldest), Some(of_all)) if of_all < oldest => awaited(of_all),
            _ => survey.awaited,
        };
        survey
    }

    /// A feed without credit has an oldest frame that arrived at `arrival`.
    fn note_due(&mut self, arrival: Monotonic, now: Monotonic, max_latency: Duration) {
        let due = arrival.saturating_add(max_latency);
        if due <= now {
            self.overdue = true;
        } else {
            self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
        }
    }
}
