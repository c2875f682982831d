//! One feed: its queue, its overload and interval rules, and whether batches wait for it.
//!
//! It does not know the other feeds, and decides no batch.

use std::collections::VecDeque;
use std::time::Duration;

use super::alarm::Alarm;
use super::answers::{Chosen, Push};
use super::ledger::{Account, DropReason};
use super::metrics::FeedSnapshot;
use super::share::Pace;
use super::sync::Arc;
use super::{BatchId, FeedId, FeedOptions, FrameId, Overload, Policy, Ticket};
use crate::time::Monotonic;

pub(super) struct Feed {
    pub(super) id: FeedId,
    options: FeedOptions,
    capacity: usize,
    queue: VecDeque<Queued>,
    /// Frames in the queue that ride along.
    riders: usize,
    next_seq: u64,
    /// Frames queued so far: the interval's turns.
    turns: u64,
    /// Feeds added before this one: where its interval starts.
    phase: u64,
    active: bool,
    ended: bool,
    rhythm: Rhythm,
    /// It lost a frame by its overload rule, and has had one waiting ever since.
    behind: bool,
    /// Its credit did not come back in time, and has not since.
    credit_given_up: bool,
    last_served: Option<BatchId>,
    /// How far it has moved with its turns; see [`super::share`].
    moved: u64,
    to_infer: u64,
    rode_along: u64,
    account: Arc<Account>,
}

struct Queued {
    frame: FrameId,
    seq: u64,
    arrival: Monotonic,
    infer: bool,
}

/// When a feed's next frame may come, by the times of the last three.
///
/// The shorter of the last two intervals counts: a pause, which is one long interval, then says nothing about the
/// frames after it.
#[derive(Clone, Copy, Debug, Default)]
struct Rhythm {
    last: Option<Monotonic>,
    intervals: [Option<Duration>; 2],
    pace: Pace,
}

impl Rhythm {
    fn beat(&mut self, now: Monotonic) {
        if let Some(last) = self.last.replace(now) {
            let interval = now.since(last);
            self.intervals = [self.intervals[1], Some(interval)];
            self.pace.beat(interval);
        }
    }

    /// When the next frame is expected; `None` if nobody can tell yet.
    fn next(&self) -> Option<Monotonic> {
        let interval = self.intervals.iter().flatten().min()?;
        Some(self.last?.saturating_add(*interval))
    }
}

/// What a feed can give to a batch, at one instant. Ordered by who is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Offer {
    /// Where the feed is with its turns.
    pub(super) turn: u64,
    last_served: Option<BatchId>,
    /// Of the feed's oldest frame.
    pub(super) arrival: Monotonic,
    /// The feed's place in the former's list, which is in the order of the ids. Makes the order total.
    pub(super) place: usize,
    /// What a frame to infer moves it on.
    worth: u64,
    /// Frames the feed's credit allows, at least 1.
    credit: usize,
    /// Frames to infer among these, at most `max_frames_per_feed`.
    pub(super) ready: usize,
    /// Frames to infer that were granted; at most `ready`.
    pub(super) granted: usize,
    /// Whether the oldest frame rides along, and so goes whatever is granted.
    pub(super) rides: bool,
    /// Whether the feed loses frames.
    pub(super) behind: bool,
}

impl Offer {
    /// Where the feed is with the frames granted so far.
    pub(super) fn granted_turn(&self) -> u64 {
        self.turn.saturating_add(self.worth.saturating_mul(self.granted as u64))
    }

    /// How far others may have moved before they are left out for this one, if it loses frames: two turns of its own,
    /// so that nothing but a difference in rates leaves them out.
    pub(super) fn patience(&self) -> u64 {
        self.turn.saturating_add(self.worth.saturating_mul(2))
    }

    /// The batch has no place for its frames to infer.
    pub(super) fn without_frames_to_infer(self) -> Self {
        Self { ready: 0, ..self }
    }
}

/// Grants frames to infer, each to the feed that has moved least with what it was granted before, until `left` are
/// granted or no feed has more. The offers are in the order in which they are served.
pub(super) fn grant(offers: &mut [Offer], left: usize) {
    let ready = offers.iter().fold(0, |ready: usize, offer| ready.saturating_add(offer.ready));
    if ready <= left {
        offers.iter_mut().for_each(|offer| offer.granted = offer.ready);
        return;
    }
    for _ in 0..left {
        let more = offers.iter_mut().filter(|offer| offer.granted < offer.ready);
        // The first of those that are equal.
        if let Some(next) = more.min_by_key(|offer| offer.granted_turn()) {
            next.granted += 1;
        }
    }
}

impl Feed {
    pub(super) fn new(
        id: FeedId,
        options: FeedOptions,
        phase: u64,
        policy: &Policy,
        alarm: Arc<Alarm>,
    ) -> Self {
        Self {
            id,
            capacity: options.capacity(policy),
            queue: VecDeque::new(),
            riders: 0,
            next_seq: 0,
            turns: 0,
            phase,
            active: false,
            ended: false,
            rhythm: Rhythm::default(),
            behind: false,
            credit_given_up: false,
            last_served: None,
            moved: 0,
            to_infer: 0,
            rode_along: 0,
            account: Arc::new(Account::new(options.in_flight_limit(policy), alarm)),
            options,
        }
    }

    pub(super) fn set_options(&mut self, options: FeedOptions, policy: &Policy) {
        self.options = options;
        self.apply_policy(policy);
    }

    pub(super) fn apply_policy(&mut self, policy: &Policy) {
        self.capacity = self.options.capacity(policy);
        self.account.set_limit(self.options.in_flight_limit(policy));
    }

    pub(super) fn push(&mut self, frame: FrameId, now: Monotonic) -> Push {
        let full = self.queue.len() >= self.capacity;
        if full && self.blocks() {
            return Push::WouldBlock;
        }
        self.active = true;
        self.ended = false;
        self.rhythm.beat(now);
        let seq = self.next_seq;
        self.next_seq += 1;
        if !full {
            self.account.receive();
            self.enqueue(frame, seq, now);
            return Push::Queued;
        }
        self.behind = true;
        match self.options.overload {
            Overload::DropOldest => {
                let oldest = self.dequeue().map(|queued| queued.frame);
                self.account.receive_and_drop(DropReason::Overload);
                self.enqueue(frame, seq, now);
                oldest.map_or(Push::Queued, Push::DroppedOldest)
            }
            Overload::DropNewest => {
                self.account.receive_and_drop(DropReason::Overload);
                Push::DroppedNewest
            }
            Overload::Block | Overload::PassThrough => {
                let oldest = self.queue.iter_mut().find(|queued| queued.infer);
                let passing = oldest.map(|oldest| oldest.infer = false);
                self.riders += usize::from(passing.is_some());
                self.account.receive();
                self.enqueue(frame, seq, now);
                passing.map_or(Push::Queued, |()| Push::QueuedPassing)
            }
        }
    }

    pub(super) fn number_from(&mut self, seq: u64) {
        self.next_seq = seq;
    }

    /// A frame came that is not to be queued.
    pub(super) fn refuse(&mut self, reason: DropReason) {
        self.next_seq += 1;
        self.account.receive_and_drop(reason);
    }

    /// Whether a full queue makes the caller wait.
    fn blocks(&self) -> bool {
        match self.options.overload {
            Overload::DropOldest | Overload::DropNewest => false,
            Overload::Block => true,
            Overload::PassThrough => self.queue.len() >= self.capacity.saturating_mul(2),
        }
    }

    fn enqueue(&mut self, frame: FrameId, seq: u64, arrival: Monotonic) {
        let cycle = u64::from(self.options.interval) + 1;
        let infer = self.turns % cycle == self.phase % cycle;
        self.turns += 1;
        self.riders += usize::from(!infer);
        self.queue.push_back(Queued { frame, seq, arrival, infer });
    }

    fn dequeue(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.riders -= usize::from(!queued.infer);
        Some(queued)
    }

    /// Not waited for any more; what is queued still goes.
    pub(super) fn end(&mut self) {
        self.active = false;
        self.ended = true;
        self.rhythm = Rhythm::default();
    }

    pub(super) fn resume(&mut self) {
        self.ended = false;
    }

    pub(super) fn flush(&mut self) -> Vec<FrameId> {
        self.active = false;
        self.ended = false;
        self.rhythm = Rhythm::default();
        self.account.begin_epoch();
        self.clear(DropReason::Flushed)
    }

    /// Lets the queue go, and leaves the account its tickets settle into.
    pub(super) fn remove(mut self) -> (Vec<FrameId>, Arc<Account>) {
        let frames = self.clear(DropReason::Removed);
        (frames, self.account)
    }

    pub(super) fn clear(&mut self, reason: DropReason) -> Vec<FrameId> {
        self.account.drop_queued(reason);
        self.behind = false;
        self.riders = 0;
        self.queue.drain(..).map(|queued| queued.frame).collect()
    }

    /// Whether a batch may wait for its next frame.
    pub(super) fn is_waited_for(&self) -> bool {
        self.is_waited_for_with(self.account.credit())
    }

    /// The same, if that is its credit.
    pub(super) fn is_waited_for_with(&self, credit: usize) -> bool {
        self.active && self.queue.is_empty() && credit > 0
    }

    /// When its next frame may come; `None` if nobody can tell.
    pub(super) fn next_expected(&self) -> Option<Monotonic> {
        self.rhythm.next()
    }

    /// Whether a batch that closes by `deadline` waits for its next frame: only if that is expected by then.
    pub(super) fn is_waited_for_until(&self, deadline: Monotonic) -> bool {
        self.is_waited_for() && self.rhythm.next().is_none_or(|next| next <= deadline)
    }

    /// Whether it is active and has frames, but no `credit`, and a ready batch is held for it.
    pub(super) fn is_short_of_credit(&mut self, credit: usize) -> bool {
        if credit > 0 {
            self.credit_given_up = false;
            return false;
        }
        self.active && !self.queue.is_empty() && !self.credit_given_up
    }

    /// A batch was held for its credit long enough.
    pub(super) fn give_up_credit(&mut self) {
        self.credit_given_up = true;
    }

    /// It has been silent through a deadline.
    pub(super) fn stop_waiting(&mut self) {
        self.active = false;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Arrival of its oldest frame.
    pub(super) fn oldest(&self) -> Option<Monotonic> {
        self.queue.front().map(|queued| queued.arrival)
    }

    /// Frames that may be chosen.
    pub(super) fn credit(&self) -> usize {
        self.account.credit()
    }

    /// Frames to infer that `credit` allows, at most `max_frames`.
    pub(super) fn ready(&self, credit: usize, max_frames: usize) -> usize {
        if self.riders == 0 {
            return self.queue.len().min(credit).min(max_frames);
        }
        self.queue.iter().take(credit).filter(|queued| queued.infer).take(max_frames).count()
    }

    /// What it can give now, if nobody is behind `turn`; nothing without a frame or without credit.
    pub(super) fn offer(&self, place: usize, max_frames: usize, turn: u64) -> Option<Offer> {
        let oldest = self.queue.front()?;
        let credit = self.account.credit();
        if credit == 0 {
            return None;
        }
        Some(Offer {
            turn: self.moved.max(turn),
            last_served: self.last_served,
            arrival: oldest.arrival,
            place,
            worth: self.rhythm.pace.turn(self.options.overload == Overload::Block, self.options.interval),
            credit,
            ready: self.ready(credit, max_frames),
            granted: 0,
            rides: !oldest.infer,
            behind: self.behind,
        })
    }

    /// Moves what was granted to `batch`, with every frame that rides along in front, between and right
    /// behind.
    pub(super) fn give(&mut self, offer: &Offer, batch: BatchId, frames: &mut Vec<Chosen>) {
        let first = frames.len();
        let epoch = self.account.epoch();
        let mut granted = offer.granted;
        while frames.len() - first < offer.credit {
            let Some(&Queued { frame, seq, arrival, infer }) = self.queue.front() else {
                break;
            };
            if infer && granted == 0 {
                break;
            }
            granted -= usize::from(infer);
            self.dequeue();
            let ticket = Ticket::new(&self.account, epoch);
            frames.push(Chosen { feed: self.id, frame, infer, seq, epoch, arrival, ticket });
        }
        let count = frames.len() - first;
        let inferred = offer.granted - granted;
        self.behind &= !self.queue.is_empty();
        self.to_infer += inferred as u64;
        self.rode_along += (count - inferred) as u64;
        if inferred > 0 {
            self.last_served = Some(batch);
            self.moved = offer.granted_turn();
        }
    }

    pub(super) fn snapshot(&self) -> FeedSnapshot {
        let (ledger, holding) = self.account.read();
        FeedSnapshot {
            feed: self.id,
            active: self.active,
            ended: self.ended,
            epoch: self.account.epoch(),
            holding,
            to_infer: self.to_infer,
            rode_along: self.rode_along,
            next_seq: self.next_seq,
            ledger,
        }
    }
}
