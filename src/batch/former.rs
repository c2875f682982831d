//! The former: all feeds together, and the decision to close a batch.
//!
//! See the [module](super) for the rules. It does not promise fairness between frames that ride along:
//! they all go.

use super::alarm::Alarm;
use super::answers::{Batch, Chosen, FeedError, Poll, Push, UnknownFeed};
use super::feed::{Feed, Offer, grant};
use super::ledger::{Account, DropReason, Ledger, Waker};
use super::metrics::{FeedSnapshot, Metrics, Snapshot};
use super::survey::Survey;
use super::sync::Arc;
use super::{BatchId, CloseReason, FeedId, FeedOptions, FrameId, Policy, PolicyError};
use crate::time::Monotonic;
use std::collections::BinaryHeap;

/// Forms batches of the frames of many feeds.
///
/// [`poll`](Self::poll) takes time in proportion to the feeds and the frames it chooses, and allocates
/// nothing but the batch it returns, for which it uses what [`recycle`](Self::recycle) got; the other calls take time in proportion to one feed's queue, those
/// that add or remove a feed to the number of feeds.
pub struct Former {
    policy: Policy,
    alarm: Arc<Alarm>,
    /// Feeds with nothing queued that the last poll waited for, but those that pushed since. Never more than are still
    /// waited for.
    awaited: usize,
    /// Where the feed that had moved least was with its turns, of those in the last batch; see [`super::share`].
    turn: u64,
    /// By id.
    feeds: Vec<Feed>,
    /// Feeds ever added.
    added: u64,
    next_batch: BatchId,
    /// Since when a batch that is ready is held for feeds whose credit is about to come back.
    held_since: Option<Monotonic>,
    /// Until when the engine has enough to do with what it has.
    busy_until: Monotonic,
    /// A batch was held because of that.
    held_while_busy: bool,
    /// The last feed waited for was flushed, and nothing was pushed since.
    flush_ended_wait: bool,
    metrics: Metrics,
    /// Accounts of removed feeds with frames still in flight.
    leaving: Vec<Arc<Account>>,
    /// The sum over the removed feeds whose every frame has met its end.
    gone: Ledger,
    /// Kept between polls only for its memory: when the feeds that are waited for are expected to push.
    expected: Vec<Option<Monotonic>>,
    /// Kept between polls only for its memory: feeds with a frame to infer, then those that go too.
    offers: Vec<Offer>,
    /// Kept between polls only for its memory: feeds that can give frames that ride along, and no other.
    riders: Vec<Offer>,
    /// Kept between polls only for its memory: the feeds that are served first, the last of these on top.
    first: BinaryHeap<Offer>,
    /// Kept only for its memory: the list of the next batch.
    spare: Vec<Chosen>,
}

impl Former {
    /// A former without feeds.
    ///
    /// # Errors
    ///
    /// If the policy is not [valid](Policy::validate).
    pub fn new(policy: Policy, waker: Waker) -> Result<Self, PolicyError> {
        policy.validate()?;
        Ok(Self {
            policy,
            alarm: Arc::new(Alarm::new(waker)),
            awaited: 0,
            turn: 0,
            feeds: Vec::new(),
            added: 0,
            next_batch: 0,
            held_since: None,
            busy_until: Monotonic::ZERO,
            held_while_busy: false,
            flush_ended_wait: false,
            metrics: Metrics::default(),
            leaving: Vec::new(),
            gone: Ledger::default(),
            expected: Vec::new(),
            offers: Vec::new(),
            riders: Vec::new(),
            first: BinaryHeap::new(),
            spare: Vec::new(),
        })
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Changes the policy for what is queued and for what comes. Feeds beyond a lowered `max_feeds` stay.
    ///
    /// # Errors
    ///
    /// If the policy is not [valid](Policy::validate); the old one stays in force.
    pub fn set_policy(&mut self, policy: Policy) -> Result<(), PolicyError> {
        policy.validate()?;
        self.policy = policy;
        self.alarm.reset();
        for feed in &mut self.feeds {
            feed.apply_policy(&self.policy);
        }
        Ok(())
    }

    /// Adds a feed, which is not waited for before its first push. An id that was removed names a new
    /// feed: its ledger, sequence and epoch start again.
    ///
    /// # Errors
    ///
    /// If the id is taken or there are `max_feeds` feeds.
    pub fn add_feed(&mut self, feed: FeedId, options: FeedOptions) -> Result<(), FeedError> {
        let Err(place) = self.place(feed) else {
            return Err(FeedError::Duplicate(feed));
        };
        if self.feeds.len() >= self.policy.max_feeds {
            return Err(FeedError::TooMany { feed, max_feeds: self.policy.max_feeds });
        }
        let phase = self.added;
        self.added += 1;
        self.feeds.insert(place, Feed::new(feed, options, phase, &self.policy, Arc::clone(&self.alarm)));
        Ok(())
    }

    /// Numbers the next frame of a feed `seq`: a feed that was removed and comes back goes on counting.
    ///
    /// # Errors
    ///
    /// If there is no such feed.
    pub fn number_from(&mut self, feed: FeedId, seq: u64) -> Result<(), UnknownFeed> {
        self.feed_mut(feed).map(|feed| feed.number_from(seq))
    }

    /// Changes a feed's options for what is queued and for what comes; frames already queued keep whether
    /// they are inferred.
    ///
    /// # Errors
    ///
    /// If there is no such feed.
    pub fn set_feed_options(&mut self, feed: FeedId, options: FeedOptions) -> Result<(), UnknownFeed> {
        let place = self.place(feed).map_err(|_| UnknownFeed(feed))?;
        self.feeds[place].set_options(options, &self.policy);
        self.alarm.reset();
        Ok(())
    }

    /// Removes a feed and returns its queued frames, which were dropped (`removed`); none if there is no
    /// such feed.
    ///
    /// Its frames in flight go on, and are counted in [`Snapshot::removed`].
    #[must_use = "the frames are the caller's to free"]
    pub fn remove_feed(&mut self, feed: FeedId) -> Vec<FrameId> {
        let Ok(place) = self.place(feed) else {
            return Vec::new();
        };
        self.alarm.reset();
        let (frames, account) = self.feeds.remove(place).remove();
        self.leaving.push(account);
        let gone = &mut self.gone;
        self.leaving.retain(|account| {
            let (ledger, _) = account.read();
            let leaves = ledger.outstanding() > 0;
            if !leaves {
                *gone += &ledger;
            }
            leaves
        });
        frames
    }

    /// Queues a frame of `feed` that arrived at `now`, or does what the feed's overload rule says. A feed
    /// that had ended runs again.
    ///
    /// # Errors
    ///
    /// If there is no such feed; the frame is the caller's.
    pub fn push(&mut self, feed: FeedId, frame: FrameId, now: Monotonic) -> Result<Push, UnknownFeed> {
        let feed = self.feed_mut(feed)?;
        let was_empty = feed.oldest().is_none();
        let push = feed.push(frame, now);
        let has_credit = feed.credit() > 0;
        if push == Push::WouldBlock {
            return Ok(push);
        }
        self.flush_ended_wait = false;
        // Without credit it cannot be chosen, and the credit will say so itself.
        if has_credit && push != Push::DroppedNewest {
            self.alarm.count();
            if was_empty {
                self.awaited = self.awaited.saturating_sub(1);
                if self.awaited == 0 {
                    self.alarm.reset();
                }
            }
        }
        Ok(push)
    }

    /// Whether a poll now may answer otherwise than the last one, if no time had passed since; for a caller that would
    /// wake a thread to poll. Only a push can leave this false.
    #[must_use]
    pub fn wants_poll(&self) -> bool {
        self.alarm.rings()
    }

    /// Takes the list of a batch back, to use its memory for another.
    pub fn recycle(&mut self, mut frames: Vec<Chosen>) {
        frames.clear();
        self.spare = frames;
    }

    /// A frame of `feed` came that is not to be queued, for `reason`: it is counted, and takes its number.
    ///
    /// # Errors
    ///
    /// If there is no such feed.
    pub fn refuse(&mut self, feed: FeedId, reason: DropReason) -> Result<(), UnknownFeed> {
        self.feed_mut(feed).map(|feed| feed.refuse(reason))
    }

    /// Drops what a feed has queued, for `reason`, and returns it; no frames if there is no such feed.
    #[must_use = "the frames are the caller's to free"]
    pub fn clear(&mut self, feed: FeedId, reason: DropReason) -> Vec<FrameId> {
        self.alarm.reset();
        self.feed_mut(feed).map_or_else(|_| Vec::new(), |feed| feed.clear(reason))
    }

    /// The feed has nothing to give for a while (a gap in its stream): it is not waited for before its
    /// next push.
    ///
    /// # Errors
    ///
    /// If there is no such feed.
    pub fn pause(&mut self, feed: FeedId) -> Result<(), UnknownFeed> {
        self.alarm.reset();
        self.feed_mut(feed).map(Feed::stop_waiting)
    }

    /// The feed has ended: it is not waited for, and what it has queued still goes.
    ///
    /// # Errors
    ///
    /// If there is no such feed.
    pub fn end_of_stream(&mut self, feed: FeedId) -> Result<(), UnknownFeed> {
        self.alarm.reset();
        self.feed_mut(feed).map(Feed::end)
    }

    /// The feed, which had ended, starts a new stream. It is waited for from its next push on.
    ///
    /// # Errors
    ///
    /// If there is no such feed.
    pub fn resume(&mut self, feed: FeedId) -> Result<(), UnknownFeed> {
        self.alarm.reset();
        self.feed_mut(feed).map(Feed::resume)
    }

    /// Flushes a feed: returns its queued frames, which were dropped (`flushed`), and makes its tickets
    /// stale; no frames if there is no such feed.
    ///
    /// It is not waited for before its next push (a seek takes its time), and has not ended any more.
    #[must_use = "the frames are the caller's to free"]
    pub fn flush(&mut self, feed: FeedId) -> Vec<FrameId> {
        self.alarm.reset();
        let Ok(feed) = self.feed_mut(feed) else {
            return Vec::new();
        };
        let waited_for = feed.is_waited_for();
        let frames = feed.flush();
        self.flush_ended_wait |= waited_for && !self.feeds.iter().any(Feed::is_waited_for);
        frames
    }

    /// Closes a batch if one is due at `now`; otherwise says when to ask again.
    ///
    /// While `engine_idle` is false no batch closes and the answer is [`Poll::Idle`] even where a deadline
    /// runs or has passed: poll again when the engine is free.
    pub fn poll(&mut self, now: Monotonic, engine_idle: bool) -> Poll {
        if !engine_idle {
            self.alarm.reset();
            return Poll::Idle;
        }
        loop {
            let seen = self.alarm.noted();
            let (answer, more) = self.look(now);
            if matches!(answer, Poll::Close(_)) {
                self.alarm.reset();
                return answer;
            }
            // Credit that came back meanwhile may have been overlooked, and has told nobody.
            if self.alarm.set(seen, more as u64) {
                return answer;
            }
        }
    }

    /// What to do at `now`; and how many more frames must become choosable before that may change, unless every feed
    /// that is waited for has pushed.
    fn look(&mut self, now: Monotonic) -> (Poll, usize) {
        let survey = Survey::of(&mut self.feeds, &self.policy, now, &mut self.expected);
        self.awaited = survey.awaited_at_least;
        let Some(oldest) = survey.oldest else {
            return (Poll::Idle, 1);
        };
        let to_full = self.policy.max_batch_size.saturating_sub(survey.ready);
        let credit_decides = survey.overdue || (survey.awaited > 0 && survey.awaited_at_least == 0);
        let more = if credit_decides { 1 } else { to_full };
        let next_due = |at: Monotonic| survey.next_due.map_or(at, |due| due.min(at));
        let deadline = oldest.saturating_add(self.policy.max_latency);
        let reason = self.reason(&survey, now >= deadline);
        let may_wait = matches!(reason, Some(CloseReason::AllReady | CloseReason::Deadline));
        if may_wait && survey.short > 0 && now < self.busy_until {
            self.held_while_busy = true;
            return (Poll::WaitUntil(next_due(self.busy_until)), more.min(survey.short));
        }
        let has_waited = std::mem::take(&mut self.held_while_busy) && survey.short > 0;
        if has_waited {
            self.give_up_credit();
        }
        if reason != Some(CloseReason::AllReady) || now >= deadline || survey.short == 0 || has_waited {
            self.held_since = None;
        } else if let Some(until) = self.hold(now) {
            return (Poll::WaitUntil(next_due(until.min(deadline))), more.min(survey.short));
        }
        match reason {
            Some(reason) => (Poll::Close(self.close(reason, deadline, now)), 0),
            None => (Poll::WaitUntil(next_due(deadline)), more),
        }
    }

    /// Holds a ready batch for credit that is about to come back: until when, or `None` if that has been long enough.
    fn hold(&mut self, now: Monotonic) -> Option<Monotonic> {
        let since = *self.held_since.get_or_insert(now);
        let until = since.saturating_add(self.policy.credit_grace);
        if now < until {
            return Some(until);
        }
        self.give_up_credit();
        self.held_since = None;
        None
    }

    /// Feeds whose credit has not come back in time are not held for again before it has.
    fn give_up_credit(&mut self) {
        for feed in &mut self.feeds {
            if feed.is_short_of_credit(feed.credit()) {
                feed.give_up_credit();
            }
        }
    }

    /// The engine has enough to do until `at`: a batch that is not full is held till then, also past its deadline, while
    /// active feeds with frames have no credit. It could not be run earlier, and would only be smaller.
    pub fn engine_is_busy_until(&mut self, at: Monotonic) {
        self.busy_until = self.busy_until.max(at);
    }

    /// Everything there is to know about what was done and what is there.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut removed = self.gone.clone();
        for account in &self.leaving {
            removed += &account.read().0;
        }
        let feeds = self.feeds.iter().map(Feed::snapshot).collect();
        Snapshot { metrics: self.metrics.clone(), feeds, removed }
    }

    /// One feed of the [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn feed_snapshot(&self, feed: FeedId) -> Option<FeedSnapshot> {
        self.place(feed).ok().map(|place| self.feeds[place].snapshot())
    }

    /// Where the feed is, or where it would be.
    fn place(&self, feed: FeedId) -> Result<usize, usize> {
        self.feeds.binary_search_by_key(&feed, |known| known.id)
    }

    fn feed_mut(&mut self, feed: FeedId) -> Result<&mut Feed, UnknownFeed> {
        match self.place(feed) {
            Ok(place) => Ok(&mut self.feeds[place]),
            Err(_) => Err(UnknownFeed(feed)),
        }
    }

    /// Collects what every feed can give, for a batch that closes now.
    fn collect_offers(&mut self) {
        self.offers.clear();
        self.riders.clear();
        for (place, feed) in self.feeds.iter().enumerate() {
            if let Some(offer) = feed.offer(place, self.policy.max_frames_per_feed, self.turn) {
                let list = if offer.ready > 0 { &mut self.offers } else { &mut self.riders };
                list.push(offer);
            }
        }
    }

    /// Why a batch closes now, given that some frame can be chosen.
    const fn reason(&self, survey: &Survey, overdue: bool) -> Option<CloseReason> {
        if survey.ready >= self.policy.max_batch_size {
            Some(CloseReason::Full)
        } else if survey.only_ended {
            Some(CloseReason::Eos)
        } else if survey.awaited == 0 && self.flush_ended_wait {
            Some(CloseReason::Flush)
        } else if survey.awaited == 0 {
            Some(CloseReason::AllReady)
        } else if overdue {
            Some(CloseReason::Deadline)
        } else {
            None
        }
    }

    fn close(&mut self, reason: CloseReason, deadline: Monotonic, now: Monotonic) -> Batch {
        if reason == CloseReason::Deadline {
            for feed in self.feeds.iter_mut().filter(|feed| feed.is_waited_for_until(deadline)) {
                feed.stop_waiting();
            }
        }
        self.flush_ended_wait = false;
        let id = self.next_batch;
        self.next_batch += 1;
        self.collect_offers();
        self.leave_out_those_ahead();
        self.rank_offers();
        grant(&mut self.offers, self.policy.max_batch_size);
        let mut frames = std::mem::take(&mut self.spare);
        for offer in &self.offers {
            self.feeds[offer.place].give(offer, id, &mut frames);
        }
        let served = self.offers.iter().filter(|offer| offer.granted > 0);
        self.turn = served.map(|offer| offer.turn).min().unwrap_or(self.turn);
        for chosen in &frames {
            self.metrics.formation_wait.record(now.since(chosen.arrival));
        }
        let batch = Batch { id, frames, reason };
        self.metrics.record_batch(reason, batch.frames.len(), batch.size());
        batch
    }

    /// Passes over feeds that are far ahead of one that loses frames. Where there is an engine for everybody nobody
    /// loses any.
    fn leave_out_those_ahead(&mut self) {
        let behind = self.offers.iter().filter(|offer| offer.behind);
        let Some(limit) = behind.map(Offer::patience).min() else { return };
        let riders = &mut self.riders;
        self.offers.retain(|offer| {
            let stays = offer.turn <= limit;
            if !stays && offer.rides {
                riders.push(offer.without_frames_to_infer());
            }
            stays
        });
    }

    /// Leaves in `offers`, in the order they are served, every feed that gives something. Sorts no more
    /// than these: the others are compared with the last of them, and mostly that is all.
    fn rank_offers(&mut self) {
        let served = self.policy.max_batch_size;
        if self.offers.len() > served {
            let (first, riders) = (&mut self.first, &mut self.riders);
            for mut offer in self.offers.drain(..) {
                if first.len() < served {
                    first.push(offer);
                    continue;
                }
                if let Some(mut last) = first.peek_mut()
                    && offer < *last
                {
                    std::mem::swap(&mut *last, &mut offer);
                }
                if offer.rides {
                    riders.push(offer.without_frames_to_infer());
                }
            }
            self.offers.extend(first.drain());
        }
        self.offers.append(&mut self.riders);
        self.offers.sort_unstable();
    }
}
