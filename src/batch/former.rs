//! The former: all feeds together, and the decision to close a batch.
//!
//! See the [module](super) for the rules. It does not promise fairness between frames that ride along:
//! they all go.

use super::feed::{Feed, Offer};
use super::ledger::{Account, DropReason, Ledger, Waker};
use super::metrics::{FeedSnapshot, Metrics, Snapshot};
use super::sync::Arc;
use super::{BatchId, CloseReason, FeedId, FeedOptions, FrameId, Policy, PolicyError, Ticket};
use crate::time::Monotonic;

/// Forms batches of the frames of many feeds.
///
/// [`poll`](Self::poll) takes time in proportion to the feeds and the frames it chooses, and allocates
/// nothing but the batch it returns; the other calls take time in proportion to one feed's queue, those
/// that add or remove a feed to the number of feeds.
pub struct Former {
    policy: Policy,
    waker: Waker,
    /// By id.
    feeds: Vec<Feed>,
    /// Feeds ever added.
    added: u64,
    next_batch: BatchId,
    /// Since when a batch that is ready is held for feeds whose credit is about to come back.
    held_since: Option<Monotonic>,
    /// The last feed waited for was flushed, and nothing was pushed since.
    flush_ended_wait: bool,
    metrics: Metrics,
    /// Accounts of removed feeds with frames still in flight.
    leaving: Vec<Arc<Account>>,
    /// The sum over the removed feeds whose every frame has met its end.
    gone: Ledger,
    /// Kept between polls only for its memory: feeds with a frame to infer, then those that go too.
    offers: Vec<Offer>,
    /// Kept between polls only for its memory: feeds that can give frames that ride along, and no other.
    riders: Vec<Offer>,
}

/// What a push did with the frame.
#[must_use = "a dropped or refused frame is the caller's to free or keep"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It is queued.
    Queued,
    /// It is queued, and an older frame of the same feed rides along for it (`overload`).
    QueuedPassing,
    /// It is queued, and this older frame of the same feed was dropped (`overload`).
    DroppedOldest(FrameId),
    /// It was dropped (`overload`).
    DroppedNewest,
    /// Nothing happened and nothing was counted: push it again when the feed's queue has shrunk, which
    /// only a closed batch, a flush or changed options can do.
    WouldBlock,
}

/// What to do now.
#[must_use = "a batch that is dropped abandons its frames"]
#[derive(Debug)]
pub enum Poll {
    /// Give this batch to the engine.
    Close(Batch),
    /// Nothing is due; poll again at this time, which lies in the future, or earlier if something happens.
    WaitUntil(Monotonic),
    /// Nothing is due until something happens: a push, credit (the [`Waker`]), a changed setting, or the
    /// engine becoming free.
    Idle,
}

/// Frames that go to the engine together.
#[derive(Debug)]
pub struct Batch {
    /// Counts from 0.
    pub id: BatchId,
    /// Feed after feed in the order they were served, each feed's frames in their order; never empty.
    pub frames: Vec<Chosen>,
    /// Why it closed.
    pub reason: CloseReason,
}

impl Batch {
    /// Frames to infer; 0 if all ride along.
    #[must_use]
    pub fn size(&self) -> usize {
        self.frames.iter().filter(|chosen| chosen.infer).count()
    }
}

/// One frame of a [`Batch`].
#[derive(Debug)]
pub struct Chosen {
    /// The feed it belongs to.
    pub feed: FeedId,
    /// The caller's key.
    pub frame: FrameId,
    /// False if it rides along.
    pub infer: bool,
    /// Its number among the frames received of this feed, from 0. Gaps are dropped frames; a flush or a
    /// new stream does not restart it.
    pub seq: u64,
    /// How often the feed was flushed before it.
    pub epoch: u32,
    /// The `now` it was pushed with.
    pub arrival: Monotonic,
    /// Keeps its place in flight.
    pub ticket: Ticket,
}

/// A call named a feed that was not added, or was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("feed {0} is not known")]
pub struct UnknownFeed(pub FeedId);

/// A feed that cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// There is one with this id.
    #[error("feed {0} was added before")]
    Duplicate(FeedId),
    /// There are as many feeds as there may be.
    #[error("feed {feed} is one too many: max-feeds is {max_feeds}")]
    TooMany {
        /// The feed refused.
        feed: FeedId,
        /// The limit.
        max_feeds: usize,
    },
}

/// What the feeds come to at one poll, besides the offers.
struct Survey {
    /// Arrival of the oldest frame that can be chosen.
    oldest: Option<Monotonic>,
    /// Frames to infer that could be chosen if there were no limit to the batch.
    ready: usize,
    /// Whether an active feed with credit has nothing queued, and may have before the deadline.
    waits_for_feed: bool,
    /// Whether an active feed has frames and no credit, and has not been given up on.
    waits_for_credit: bool,
    /// Whether all frames, with or without credit, belong to feeds that have ended.
    only_ended: bool,
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
            waker,
            feeds: Vec::new(),
            added: 0,
            next_batch: 0,
            held_since: None,
            flush_ended_wait: false,
            metrics: Metrics::default(),
            leaving: Vec::new(),
            gone: Ledger::default(),
            offers: Vec::new(),
            riders: Vec::new(),
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
        self.feeds.insert(place, Feed::new(feed, options, phase, &self.policy, Waker::clone(&self.waker)));
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
        let push = self.feed_mut(feed)?.push(frame, now);
        if push != Push::WouldBlock {
            self.flush_ended_wait = false;
        }
        Ok(push)
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
        self.feed_mut(feed).map_or_else(|_| Vec::new(), |feed| feed.clear(reason))
    }

    /// The feed has nothing to give for a while (a gap in its stream): it is not waited for before its
    /// next push.
    ///
    /// # Errors
    ///
    /// If there is no such feed.
    pub fn pause(&mut self, feed: FeedId) -> Result<(), UnknownFeed> {
        self.feed_mut(feed).map(Feed::stop_waiting)
    }

    /// The feed has ended: it is not waited for, and what it has queued still goes.
    ///
    /// # Errors
    ///
    /// If there is no such feed.
    pub fn end_of_stream(&mut self, feed: FeedId) -> Result<(), UnknownFeed> {
        self.feed_mut(feed).map(Feed::end)
    }

    /// The feed, which had ended, starts a new stream. It is waited for from its next push on.
    ///
    /// # Errors
    ///
    /// If there is no such feed.
    pub fn resume(&mut self, feed: FeedId) -> Result<(), UnknownFeed> {
        self.feed_mut(feed).map(Feed::resume)
    }

    /// Flushes a feed: returns its queued frames, which were dropped (`flushed`), and makes its tickets
    /// stale; no frames if there is no such feed.
    ///
    /// It is not waited for before its next push (a seek takes its time), and has not ended any more.
    #[must_use = "the frames are the caller's to free"]
    pub fn flush(&mut self, feed: FeedId) -> Vec<FrameId> {
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
            return Poll::Idle;
        }
        let survey = self.survey();
        let Some(oldest) = survey.oldest else {
            return Poll::Idle;
        };
        let deadline = oldest.saturating_add(self.policy.max_latency);
        let reason = self.reason(&survey, now >= deadline);
        if reason != Some(CloseReason::AllReady) || now >= deadline || !survey.waits_for_credit {
            self.held_since = None;
        } else if let Some(until) = self.hold(now) {
            return Poll::WaitUntil(until.min(deadline));
        }
        match reason {
            Some(reason) => Poll::Close(self.close(reason, deadline, now)),
            None => Poll::WaitUntil(deadline),
        }
    }

    /// Holds a ready batch for credit that is about to come back: until when, or `None` if that has been long enough.
    fn hold(&mut self, now: Monotonic) -> Option<Monotonic> {
        let since = *self.held_since.get_or_insert(now);
        let until = since.saturating_add(self.policy.credit_grace);
        if now < until {
            return Some(until);
        }
        for feed in &mut self.feeds {
            if feed.is_short_of_credit() {
                feed.give_up_credit();
            }
        }
        self.held_since = None;
        None
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

    /// Collects what every feed can give. Credit is read once per feed, as other threads may raise it
    /// meanwhile.
    fn survey(&mut self) -> Survey {
        self.offers.clear();
        self.riders.clear();
        let mut survey = Survey {
            oldest: None,
            ready: 0,
            waits_for_feed: false,
            waits_for_credit: false,
            only_ended: true,
        };
        for (place, feed) in self.feeds.iter_mut().enumerate() {
            survey.waits_for_credit |= feed.is_short_of_credit();
            survey.only_ended &= !feed.holds_frames_and_runs();
            let Some(offer) = feed.offer(place, self.policy.max_frames_per_feed) else {
                continue;
            };
            survey.oldest = Some(survey.oldest.map_or(offer.arrival, |oldest| oldest.min(offer.arrival)));
            survey.ready = survey.ready.saturating_add(offer.ready);
            if offer.ready > 0 {
                self.offers.push(offer);
            } else {
                self.riders.push(offer);
            }
        }
        if let Some(oldest) = survey.oldest {
            let deadline = oldest.saturating_add(self.policy.max_latency);
            survey.waits_for_feed = self.feeds.iter().any(|feed| feed.is_waited_for_until(deadline));
        }
        survey
    }

    /// Why a batch closes now, given that some frame can be chosen.
    const fn reason(&self, survey: &Survey, overdue: bool) -> Option<CloseReason> {
        if survey.ready >= self.policy.max_batch_size {
            Some(CloseReason::Full)
        } else if survey.only_ended {
            Some(CloseReason::Eos)
        } else if !survey.waits_for_feed && self.flush_ended_wait {
            Some(CloseReason::Flush)
        } else if !survey.waits_for_feed {
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
        self.rank_offers();
        grant(&mut self.offers, self.policy.max_batch_size);
        let mut frames = Vec::with_capacity(self.offers.len());
        for offer in &self.offers {
            self.feeds[offer.place].give(offer, id, &mut frames);
        }
        for chosen in &frames {
            self.metrics.formation_wait.record(now.since(chosen.arrival));
        }
        let batch = Batch { id, frames, reason };
        self.metrics.record_batch(reason, batch.frames.len(), batch.size());
        batch
    }

    /// Leaves in `offers`, in the order they are served, every feed that gives something. Sorts no more
    /// than these.
    fn rank_offers(&mut self) {
        let served = self.policy.max_batch_size;
        if self.offers.len() > served {
            self.offers.select_nth_unstable(served);
            let passed_over = self.offers.drain(served..).filter(|offer| offer.rides);
            self.riders.extend(passed_over.map(Offer::without_frames_to_infer));
        }
        self.offers.append(&mut self.riders);
        self.offers.sort_unstable();
    }
}

/// Grants frames to infer, one to each feed per round, until `left` are granted or no feed has more.
fn grant(offers: &mut [Offer], mut left: usize) {
    let mut granted_any = true;
    while granted_any {
        granted_any = false;
        for offer in offers.iter_mut().filter(|offer| offer.granted < offer.ready) {
            if left == 0 {
                return;
            }
            offer.granted += 1;
            left -= 1;
            granted_any = true;
        }
    }
}
