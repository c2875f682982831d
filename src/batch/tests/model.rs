//! A former that is obviously right and slow: plain lists, every rule spelled out, no shared state.

use std::collections::BTreeMap;

use super::super::*;
use crate::time::Monotonic;

/// A frame as the model knows it: its key, sequence, arrival and whether it is inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) key: u64,
    pub(super) seq: u64,
    pub(super) arrival: Monotonic,
    pub(super) infer: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) options: FeedOptions,
    pub(super) queue: Vec<Frame>,
    phase: u64,
    next_seq: u64,
    turns: u64,
    pub(super) active: bool,
    pub(super) ended: bool,
    /// When its last frames came, since it began or was flushed.
    pub(super) arrivals: Vec<Monotonic>,
    credit_given_up: bool,
    /// It has lost a frame since its queue was last empty.
    behind: bool,
    last_served: Option<u64>,
    /// How far its turns have taken it, in nanoseconds.
    moved: u64,
    pub(super) epoch: u32,
    /// Tickets alive.
    pub(super) holding: usize,
    pub(super) received: u64,
    /// Frames settled or dropped, by the name of their end.
    pub(super) ends: BTreeMap<&'static str, u64>,
}

/// What the model expects of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Close { reason: CloseReason, frames: Vec<(FeedId, u32, Frame)> },
    WaitUntil(Monotonic),
    Idle,
}

#[derive(Clone)]
pub(super) struct Model {
    pub(super) policy: Policy,
    pub(super) feeds: BTreeMap<FeedId, Feed>,
    added: u64,
    batches: u64,
    /// How far the one that had moved least was before, of those served last.
    turn: u64,
    held_since: Option<Monotonic>,
    flush_ended_wait: bool,
}

impl Feed {
    pub(super) fn count(&mut self, end: &'static str, frames: usize) {
        *self.ends.entry(end).or_default() += frames as u64;
    }

    pub(super) fn limit(&self, policy: &Policy) -> usize {
        self.options.max_in_flight as usize * policy.max_frames_per_feed
    }

    fn credit(&self, policy: &Policy) -> usize {
        self.limit(policy).saturating_sub(self.holding)
    }

    pub(super) fn oldest_choosable(&self, policy: &Policy) -> Option<Monotonic> {
        self.queue.first().filter(|_| self.credit(policy) > 0).map(|frame| frame.arrival)
    }

    fn short_of_credit(&self, policy: &Policy) -> bool {
        self.active && !self.queue.is_empty() && self.credit(policy) == 0 && !self.credit_given_up
    }

    fn waited_for(&self, policy: &Policy) -> bool {
        self.active && self.queue.is_empty() && self.credit(policy) > 0
    }

    /// What a frame to infer is worth: the mean time between frames, the latest counting for an eighth, within bounds;
    /// that of 30 frames a second if nobody can say.
    fn worth(&self) -> u64 {
        let bounds = |nanos: u128| nanos.clamp(10_000_000, 320_000_000);
        let typical = 33_333_333;
        let intervals = self.arrivals.windows(2).map(|pair| bounds(pair[1].since(pair[0]).as_nanos()));
        let mean = intervals.reduce(|mean, interval| (mean * 7 + interval) / 8);
        let mean = mean.filter(|_| self.options.overload != Overload::Block).unwrap_or(typical);
        u64::try_from(bounds(mean * (u128::from(self.options.interval) + 1))).unwrap()
    }

    /// When its oldest frame is due, if that has no credit.
    fn due_without_credit(&self, policy: &Policy) -> Option<Monotonic> {
        let oldest = self.queue.first().filter(|_| self.credit(policy) == 0)?;
        Some(oldest.arrival.saturating_add(policy.max_latency))
    }

    fn expected_by(&self, deadline: Monotonic) -> bool {
        let intervals = self.arrivals.windows(2).map(|pair| pair[1].since(pair[0]));
        let shorter = intervals.rev().take(2).min();
        let next = shorter.map(|interval| self.arrivals[self.arrivals.len() - 1].saturating_add(interval));
        next.is_none_or(|next| next <= deadline)
    }
}

impl Model {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            feeds: BTreeMap::new(),
            added: 0,
            batches: 0,
            turn: 0,
            held_since: None,
            flush_ended_wait: false,
        }
    }

    pub(super) fn add(&mut self, id: FeedId, options: FeedOptions) {
        let feed = Feed {
            options,
            queue: Vec::new(),
            phase: self.added,
            next_seq: 0,
            turns: 0,
            active: false,
            ended: false,
            arrivals: Vec::new(),
            credit_given_up: false,
            behind: false,
            last_served: None,
            moved: 0,
            epoch: 0,
            holding: 0,
            received: 0,
            ends: BTreeMap::new(),
        };
        self.added += 1;
        assert!(self.feeds.insert(id, feed).is_none());
    }

    pub(super) fn push(&mut self, id: FeedId, key: u64, now: Monotonic) -> Option<Push> {
        let feed = self.feeds.get_mut(&id)?;
        let capacity = feed.options.max_size_buffers.max(self.policy.max_frames_per_feed);
        let full = feed.queue.len() >= capacity;
        let answer = match feed.options.overload {
            _ if !full => Push::Queued,
            Overload::Block => return Some(Push::WouldBlock),
            Overload::PassThrough if feed.queue.len() >= 2 * capacity => return Some(Push::WouldBlock),
            Overload::PassThrough => match feed.queue.iter().position(|frame| frame.infer) {
                Some(at) => {
                    feed.queue[at].infer = false;
                    Push::QueuedPassing
                }
                None => Push::Queued,
            },
            Overload::DropNewest => Push::DroppedNewest,
            Overload::DropOldest => Push::DroppedOldest(FrameId(feed.queue.remove(0).key)),
        };
        self.flush_ended_wait = false;
        feed.behind |= full;
        feed.active = true;
        feed.ended = false;
        feed.arrivals.push(now);
        feed.received += 1;
        if matches!(answer, Push::DroppedNewest | Push::DroppedOldest(_)) {
            feed.count("overload", 1);
        }
        if answer != Push::DroppedNewest {
            let cycle = u64::from(feed.options.interval) + 1;
            let infer = feed.turns % cycle == feed.phase % cycle;
            feed.turns += 1;
            feed.queue.push(Frame { key, seq: feed.next_seq, arrival: now, infer });
        }
        feed.next_seq += 1;
        Some(answer)
    }

    pub(super) fn flush(&mut self, id: FeedId) -> Vec<u64> {
        let policy = self.policy.clone();
        let Some(feed) = self.feeds.get_mut(&id) else { return Vec::new() };
        let waited_for = feed.waited_for(&policy);
        feed.active = false;
        feed.ended = false;
        feed.arrivals.clear();
        feed.epoch += 1;
        feed.behind = false;
        let keys: Vec<u64> = feed.queue.drain(..).map(|frame| frame.key).collect();
        feed.count("flushed", keys.len());
        if waited_for && !self.feeds.values().any(|feed| feed.waited_for(&policy)) {
            self.flush_ended_wait = true;
        }
        keys
    }

    /// The feeds that have something to give, in the order they are served.
    fn ranking(&self) -> Vec<FeedId> {
        let rank = |id: &FeedId| {
            let feed = &self.feeds[id];
            (feed.moved.max(self.turn), feed.last_served, feed.oldest_choosable(&self.policy), *id)
        };
        let mut ids: Vec<FeedId> = self.feeds.keys().copied().collect();
        ids.retain(|id| self.feeds[id].oldest_choosable(&self.policy).is_some());
        ids.sort_by_key(rank);
        ids
    }

    /// Whether a feed is left out because one that loses frames, and could give one, is far behind it.
    fn is_ahead(&self, id: FeedId) -> bool {
        let turn = |feed: &Feed| feed.moved.max(self.turn);
        let gives = |feed: &&Feed| {
            feed.behind && feed.queue.iter().take(feed.credit(&self.policy)).any(|frame| frame.infer)
        };
        let limits = self.feeds.values().filter(gives).map(|feed| turn(feed) + 2 * feed.worth());
        limits.min().is_some_and(|limit| turn(&self.feeds[&id]) > limit)
    }

    /// How many frames each feed gives, in the order they are served.
    fn choice(&self, leaves_out: bool) -> Vec<(FeedId, usize)> {
        let mut choice: Vec<(FeedId, usize)> = self.ranking().into_iter().map(|id| (id, 0)).collect();
        let next = |id: FeedId, given: usize| {
            let feed = &self.feeds[&id];
            feed.queue.get(given).filter(|_| given < feed.credit(&self.policy))
        };
        let inferred = |id: FeedId, given: usize| {
            self.feeds[&id].queue[..given].iter().filter(|frame| frame.infer).count()
        };
        for size in 0.. {
            // What stands in front rides along.
            for (id, given) in &mut choice {
                while next(*id, *given).is_some_and(|frame| !frame.infer) {
                    *given += 1;
                }
            }
            let may = |id: FeedId, given: usize| {
                next(id, given).is_some()
                    && !(leaves_out && self.is_ahead(id))
                    && inferred(id, given) < self.policy.max_frames_per_feed
            };
            let moved = |id: FeedId, given: usize| {
                let feed = &self.feeds[&id];
                feed.moved.max(self.turn) + inferred(id, given) as u64 * feed.worth()
            };
            let more = choice.iter_mut().filter(|(id, given)| may(*id, *given));
            match more.min_by_key(|(id, given)| moved(*id, *given)) {
                Some((_, given)) if size < self.policy.max_batch_size => *given += 1,
                _ => break,
            }
        }
        choice.retain(|(_, given)| *given > 0);
        choice
    }

    /// What a poll at `now` with a free engine must answer.
    pub(super) fn expect(&mut self, now: Monotonic) -> Expected {
        let expected = self.expect_with_grace(now);
        let without_credit = self.feeds.values().filter_map(|feed| feed.due_without_credit(&self.policy));
        match (expected, without_credit.filter(|due| *due > now).min()) {
            (Expected::WaitUntil(at), Some(due)) => Expected::WaitUntil(at.min(due)),
            (expected, _) => expected,
        }
    }

    fn expect_with_grace(&mut self, now: Monotonic) -> Expected {
        let policy = self.policy.clone();
        for feed in self.feeds.values_mut().filter(|feed| feed.credit(&policy) > 0) {
            feed.credit_given_up = false;
        }
        let expected = self.expect_without_grace(now);
        let deadline = self.feeds.values().filter_map(|feed| feed.oldest_choosable(&policy)).min();
        let deadline = deadline.map(|oldest| oldest.saturating_add(policy.max_latency));
        let Some(deadline) = deadline else { return expected };
        let short = self.feeds.values().any(|feed| feed.short_of_credit(&policy));
        let all_ready = matches!(expected, Expected::Close { reason: CloseReason::AllReady, .. });
        if !all_ready || !short || now >= deadline {
            self.held_since = None;
            return expected;
        }
        let until = self.held_since.get_or_insert(now).saturating_add(policy.credit_grace);
        if now < until {
            return Expected::WaitUntil(until.min(deadline));
        }
        self.held_since = None;
        for feed in self.feeds.values_mut().filter(|feed| feed.short_of_credit(&policy)) {
            feed.credit_given_up = true;
        }
        expected
    }

    fn expect_without_grace(&self, now: Monotonic) -> Expected {
        let oldest = self.feeds.values().filter_map(|feed| feed.oldest_choosable(&self.policy)).min();
        let Some(oldest) = oldest else { return Expected::Idle };
        let given = |leaves_out: bool| -> Vec<(FeedId, u32, Frame)> {
            let of_feed = |(id, given): (FeedId, usize)| {
                let feed = &self.feeds[&id];
                feed.queue[..given].iter().map(move |frame| (id, feed.epoch, *frame))
            };
            self.choice(leaves_out).into_iter().flat_map(of_feed).collect()
        };
        // Who is left out counts for the reason all the same.
        let size = given(false).iter().filter(|(_, _, frame)| frame.infer).count();
        let frames = given(true);
        let running = self.feeds.values().any(|feed| !feed.ended && !feed.queue.is_empty());
        let deadline = oldest.saturating_add(self.policy.max_latency);
        let waits = |feed: &Feed| feed.waited_for(&self.policy) && feed.expected_by(deadline);
        let waits = self.feeds.values().any(waits);
        let reason = if size == self.policy.max_batch_size {
            CloseReason::Full
        } else if !running {
            CloseReason::Eos
        } else if !waits {
            if self.flush_ended_wait { CloseReason::Flush } else { CloseReason::AllReady }
        } else if now.since(oldest) >= self.policy.max_latency {
            CloseReason::Deadline
        } else {
            return Expected::WaitUntil(deadline);
        };
        Expected::Close { reason, frames }
    }

    /// A batch closed as expected.
    pub(super) fn close(&mut self, reason: CloseReason, frames: &[(FeedId, u32, Frame)]) {
        self.flush_ended_wait = false;
        let policy = self.policy.clone();
        let oldest = self.feeds.values().filter_map(|feed| feed.oldest_choosable(&policy)).min();
        let deadline = oldest.map(|oldest| oldest.saturating_add(policy.max_latency));
        for feed in self.feeds.values_mut() {
            let by_then = deadline.is_some_and(|deadline| feed.expected_by(deadline));
            if reason == CloseReason::Deadline && feed.waited_for(&policy) && by_then {
                feed.active = false;
            }
        }
        for (id, _, frame) in frames {
            let feed = self.feeds.get_mut(id).unwrap();
            assert_eq!(feed.queue.remove(0), *frame);
            feed.holding += 1;
            if frame.infer {
                feed.last_served = Some(self.batches);
            }
        }
        let inferred =
            |id: FeedId| frames.iter().filter(|(of, _, frame)| *of == id && frame.infer).count() as u64;
        let mut least = None;
        for (id, feed) in &mut self.feeds {
            let count = inferred(*id);
            feed.behind &= !feed.queue.is_empty();
            if count > 0 {
                let start = feed.moved.max(self.turn);
                feed.moved = start + count * feed.worth();
                least = Some(least.map_or(start, |least: u64| least.min(start)));
            }
        }
        self.turn = least.unwrap_or(self.turn);
        self.batches += 1;
    }
}
