//! Arbitrary interleavings of everything that can happen, against the [`model`](super::model).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::model::{Expected, Feed, Frame, Model};
use crate::time::Monotonic;

#[derive(Clone, Debug)]
enum Step {
    Push(u32),
    Poll { engine_idle: bool },
    Advance(u64),
    Eos(u32),
    Resume(u32),
    Flush(u32),
    Add(u32, FeedOptions),
    Remove(u32),
    Options(u32, FeedOptions),
    Policy(Policy),
    Settle(usize, Option<End>),
    Clone(usize),
    Release(usize),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Deliver,
    Fail(FailReason),
    Discard(DropReason),
}

/// A ticket in flight, and what the model needs to know of it.
struct Held {
    /// The feed and which incarnation of it.
    owner: (FeedId, u64),
    epoch: u32,
    settled: bool,
    clones: Vec<Ticket>,
}

struct Run {
    former: Former,
    model: Model,
    now: Monotonic,
    woken: Arc<AtomicUsize>,
    /// When the last poll wanted the next one.
    told: Option<Monotonic>,
    next_key: u64,
    incarnation: u64,
    /// Incarnation of each feed there is.
    present: std::collections::BTreeMap<FeedId, u64>,
    removed: std::collections::BTreeMap<(FeedId, u64), Feed>,
    held: Vec<Held>,
    /// Frames that came back from the former.
    returned: HashSet<u64>,
}

fn overload() -> impl Strategy<Value = Overload> {
    prop::sample::select(vec![
        Overload::DropOldest,
        Overload::DropNewest,
        Overload::Block,
        Overload::PassThrough,
    ])
}

fn options() -> impl Strategy<Value = FeedOptions> {
    (0_usize..4, 1_u32..4, overload(), prop::sample::select(vec![0_u32, 0, 0, 1, 2])).prop_map(
        |(max_size_buffers, max_in_flight, overload, interval)| FeedOptions {
            max_size_buffers,
            max_in_flight,
            overload,
            interval,
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    (1_usize..6, 0_usize..5, prop::sample::select(vec![0_u64, 5, 20])).prop_map(|(size, more, millis)| {
        Policy {
            max_batch_size: size,
            max_latency: Duration::from_millis(millis),
            max_frames_per_feed: 1 + more.saturating_sub(2) % size,
            max_feeds: 6,
            credit_grace: Duration::from_millis(u64::try_from(more % 3).unwrap_or(0)),
        }
    })
}

fn end() -> impl Strategy<Value = Option<End>> {
    prop_oneof![
        Just(None),
        Just(Some(End::Deliver)),
        prop::sample::select(FailReason::ALL.to_vec()).prop_map(|reason| Some(End::Fail(reason))),
        prop::sample::select(DropReason::ALL.to_vec()).prop_map(|reason| Some(End::Discard(reason))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let feed = 0_u32..5;
    prop_oneof![
        30 => feed.clone().prop_map(Step::Push),
        14 => prop::bool::weighted(0.8).prop_map(|engine_idle| Step::Poll { engine_idle }),
        10 => (0_u64..12).prop_map(Step::Advance),
        14 => any::<usize>().prop_map(Step::Release),
        6 => (any::<usize>(), end()).prop_map(|(at, end)| Step::Settle(at, end)),
        3 => any::<usize>().prop_map(Step::Clone),
        2 => feed.clone().prop_map(Step::Eos),
        1 => feed.clone().prop_map(Step::Resume),
        2 => feed.clone().prop_map(Step::Flush),
        4 => (feed.clone(), options()).prop_map(|(feed, options)| Step::Add(feed, options)),
        1 => feed.clone().prop_map(Step::Remove),
        1 => (feed, options()).prop_map(|(feed, options)| Step::Options(feed, options)),
        1 => policy().prop_map(Step::Policy),
    ]
}

impl Run {
    fn new(policy: Policy) -> Self {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let waker: Waker = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        Self {
            former: Former::new(policy.clone(), waker).unwrap(),
            model: Model::new(policy),
            now: Monotonic::from_nanos(1_000),
            woken,
            told: None,
            next_key: 0,
            incarnation: 0,
            present: Default::default(),
            removed: Default::default(),
            held: Vec::new(),
            returned: HashSet::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push(feed) => self.push(FeedId(feed)),
            Step::Poll { engine_idle: true } => drop(self.poll()),
            Step::Poll { engine_idle: false } => {
                assert!(matches!(self.former.poll(self.now, false), Poll::Idle));
            }
            Step::Advance(millis) => self.now = self.now.saturating_add(Duration::from_millis(millis)),
            Step::Eos(feed) => self.set_ended(FeedId(feed), true),
            Step::Resume(feed) => self.set_ended(FeedId(feed), false),
            Step::Flush(feed) => self.flush(FeedId(feed)),
            Step::Add(feed, options) => self.add(FeedId(feed), options),
            Step::Remove(feed) => self.remove(FeedId(feed)),
            Step::Options(feed, options) => {
                let known = self.model.feeds.get_mut(&FeedId(feed));
                let set = self.former.set_feed_options(FeedId(feed), options.clone());
                assert_eq!(set.is_ok(), known.is_some());
                known.into_iter().for_each(|known| known.options = options.clone());
            }
            Step::Policy(policy) => {
                self.former.set_policy(policy.clone()).unwrap();
                self.model.policy = policy;
            }
            Step::Settle(at, end) => self.settle(at, end),
            Step::Clone(at) => {
                let len = self.held.len();
                self.held.get_mut(at % len.max(1)).into_iter().for_each(|held| {
                    held.clones.extend(held.clones.first().cloned());
                });
            }
            Step::Release(at) => self.release(at),
        }
    }

    fn push(&mut self, feed: FeedId) {
        let key = self.next_key;
        self.next_key += 1;
        let closes = |run: &Self| matches!(run.model.clone().expect(run.now), Expected::Close { .. });
        let asked_before = self.former.wants_poll();
        let closed_before = closes(self);
        let found = self.former.push(feed, FrameId(key), self.now);
        let expected = self.model.push(feed, key, self.now).ok_or(UnknownFeed(feed));
        assert_eq!(found, expected);
        let asks = self.former.wants_poll();
        assert!(asks || !asked_before, "a push does not take a wish back");
        let told = self.told.is_some_and(|at| at <= self.now);
        assert!(asks || closed_before || told || !closes(self), "a batch is due and nobody is to poll");
        match found {
            Ok(Push::DroppedOldest(FrameId(oldest))) => self.give_back(oldest),
            Ok(Push::Queued | Push::QueuedPassing) => {}
            Ok(Push::DroppedNewest | Push::WouldBlock) | Err(_) => self.give_back(key),
        }
    }

    /// Whoever held the frame has it back: for the first time.
    fn give_back(&mut self, key: u64) {
        assert!(
            key < self.next_key && self.returned.insert(key),
            "frame {key} was invented or came back twice"
        );
    }

    fn add(&mut self, feed: FeedId, options: FeedOptions) {
        let known = self.model.feeds.contains_key(&feed);
        assert_eq!(self.former.add_feed(feed, options.clone()).is_err(), known);
        if !known {
            self.model.add(feed, options);
            self.incarnation += 1;
            self.present.insert(feed, self.incarnation);
        }
    }

    fn set_ended(&mut self, feed: FeedId, ended: bool) {
        let found = if ended { self.former.end_of_stream(feed) } else { self.former.resume(feed) };
        let known = self.model.feeds.get_mut(&feed);
        assert_eq!(found.is_ok(), known.is_some());
        known.into_iter().for_each(|known| {
            known.ended = ended;
            known.active &= !ended;
            if ended {
                known.arrivals.clear();
            }
        });
    }

    fn flush(&mut self, feed: FeedId) {
        let found: Vec<u64> = self.former.flush(feed).into_iter().map(|frame| frame.0).collect();
        assert_eq!(found, self.model.flush(feed));
        found.into_iter().for_each(|key| self.give_back(key));
    }

    fn remove(&mut self, feed: FeedId) {
        let found: Vec<u64> = self.former.remove_feed(feed).into_iter().map(|frame| frame.0).collect();
        let Some(mut known) = self.model.feeds.remove(&feed) else {
            return assert!(found.is_empty());
        };
        let expected: Vec<u64> = known.queue.drain(..).map(|frame| frame.key).collect();
        assert_eq!(found, expected);
        known.count("removed", found.len());
        let incarnation = self.present.remove(&feed).unwrap();
        self.removed.insert((feed, incarnation), known);
        found.into_iter().for_each(|key| self.give_back(key));
    }

    /// Polls with a free engine, and compares the answer; whether a batch closed.
    fn poll(&mut self) -> bool {
        let expected = self.model.expect(self.now);
        let found = self.former.poll(self.now, true);
        self.told = if let Poll::WaitUntil(at) = found { Some(at) } else { None };
        match (found, expected) {
            (Poll::Close(batch), Expected::Close { reason, frames }) => {
                assert_eq!(batch.reason, reason);
                self.take(batch, &frames);
                true
            }
            (Poll::WaitUntil(found), Expected::WaitUntil(expected)) => {
                assert_eq!(found, expected);
                assert!(found > self.now, "a caller that waits for this would spin");
                false
            }
            (Poll::Idle, Expected::Idle) => false,
            (found, expected) => panic!("expected {expected:?}, found {found:?}"),
        }
    }

    fn take(&mut self, batch: Batch, expected: &[(FeedId, u32, Frame)]) {
        assert!(!batch.frames.is_empty() && batch.size() <= self.model.policy.max_batch_size);
        let found: Vec<(FeedId, u32, Frame)> = batch
            .frames
            .iter()
            .map(|c| {
                let frame = Frame { key: c.frame.0, seq: c.seq, arrival: c.arrival, infer: c.infer };
                (c.feed, c.epoch, frame)
            })
            .collect();
        assert_eq!(found, expected);
        self.model.close(batch.reason, expected);
        for chosen in batch.frames {
            self.give_back(chosen.frame.0);
            let owner = (chosen.feed, self.present[&chosen.feed]);
            self.held.push(Held { owner, epoch: chosen.epoch, settled: false, clones: vec![chosen.ticket] });
        }
        for feed in self.former.snapshot().feeds {
            let limit = self.model.feeds[&feed.feed].limit(&self.model.policy);
            let chosen_now = expected.iter().any(|(id, _, _)| *id == feed.feed);
            assert!(!chosen_now || feed.holding <= limit, "more in flight than the limit");
        }
    }

    /// The model of the feed a ticket belongs to, there or removed.
    fn owner(&mut self, owner: (FeedId, u64)) -> &mut Feed {
        if self.present.get(&owner.0) == Some(&owner.1) {
            return self.model.feeds.get_mut(&owner.0).unwrap();
        }
        self.removed.get_mut(&owner).unwrap()
    }

    fn settle(&mut self, at: usize, end: Option<End>) {
        let len = self.held.len();
        let Some(held) = self.held.get_mut(at % len.max(1)) else { return };
        let (Some(ticket), Some(end)) = (held.clones.last(), end) else { return };
        let name = match end {
            End::Deliver => {
                ticket.deliver();
                "delivered"
            }
            End::Fail(reason) => {
                ticket.fail(reason);
                reason.as_str()
            }
            End::Discard(reason) => {
                ticket.discard(reason);
                reason.as_str()
            }
        };
        if !std::mem::replace(&mut held.settled, true) {
            let owner = held.owner;
            self.owner(owner).count(name, 1);
        }
    }

    fn release(&mut self, at: usize) {
        if self.held.is_empty() {
            return;
        }
        let index = at % self.held.len();
        if self.held[index].clones.len() > 1 {
            self.held[index].clones.pop();
            return;
        }
        let held = self.held.swap_remove(index);
        let closes = |run: &Self| matches!(run.model.clone().expect(run.now), Expected::Close { .. });
        let (closed_before, woken_before) = (closes(self), self.woken.load(Ordering::SeqCst));
        let (owner, settled) = (held.owner, held.settled);
        drop(held);
        let feed = self.owner(owner);
        feed.holding -= 1;
        if !settled {
            feed.count("abandoned", 1);
        }
        let woken = self.woken.load(Ordering::SeqCst) > woken_before;
        let told = self.told.is_some_and(|at| at <= self.now);
        assert!(woken || closed_before || told || !closes(self), "a batch is due and nobody was told");
    }

    fn check(&self) {
        let snapshot = self.former.snapshot();
        assert_eq!(snapshot.feeds.len(), self.model.feeds.len());
        for found in &snapshot.feeds {
            let expected = &self.model.feeds[&found.feed];
            assert_eq!((found.active, found.ended), (expected.active, expected.ended));
            assert_eq!((found.epoch, found.holding), (expected.epoch, expected.holding));
            assert_eq!(found.ledger.queued, expected.queue.len() as u64);
            assert!(found.ledger.is_balanced());
            assert_ends(&found.ledger, std::iter::once(expected));
        }
        assert!(snapshot.removed.is_balanced() && snapshot.total().is_balanced());
        assert_eq!(snapshot.removed.queued, 0);
        assert_ends(&snapshot.removed, self.removed.values());
        for held in &self.held {
            let there = self.present.get(&held.owner.0) == Some(&held.owner.1);
            let owner = if there { &self.model.feeds[&held.owner.0] } else { &self.removed[&held.owner] };
            assert_eq!(held.clones[0].epoch_is_current(), owner.epoch == held.epoch);
        }
    }

    /// Everything out, every ticket back: nothing may be missing.
    fn drain(&mut self) {
        for feed in self.present.keys().copied().collect::<Vec<_>>() {
            self.set_ended(feed, true);
        }
        loop {
            while !self.held.is_empty() {
                self.release(0);
            }
            if !self.poll() {
                break;
            }
        }
        self.check();
        let total = self.former.snapshot().total();
        assert_eq!(total.outstanding(), 0);
        assert_eq!(self.returned.len() as u64, self.next_key, "every frame came back once");
    }
}

/// The received frames and every end in the ledger are those of the feeds together.
fn assert_ends<'a>(ledger: &Ledger, feeds: impl Iterator<Item = &'a Feed> + Clone) {
    let end = |name: &str| feeds.clone().map(|feed| feed.ends.get(name).copied().unwrap_or(0)).sum::<u64>();
    assert_eq!(ledger.received, feeds.clone().map(|feed| feed.received).sum::<u64>());
    assert_eq!(ledger.delivered, end("delivered"));
    for reason in DropReason::ALL {
        assert_eq!(ledger.dropped(reason), end(reason.as_str()), "{}", reason.as_str());
    }
    for reason in FailReason::ALL {
        assert_eq!(ledger.failed(reason), end(reason.as_str()), "{}", reason.as_str());
    }
}

proptest! {
    #[test]
    fn the_former_does_what_the_model_does_and_loses_nothing(
        policy in policy(),
        first in prop::collection::vec(options(), 1..5),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut run = Run::new(policy);
        for (feed, options) in first.into_iter().enumerate() {
            run.add(FeedId(feed as u32), options);
        }
        for step in steps {
            run.step(step);
            run.check();
        }
        run.drain();
    }

    #[test]
    fn no_frame_with_credit_stays_beyond_its_deadline_while_the_engine_is_free(
        policy in policy(),
        first in prop::collection::vec(options(), 1..5),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut run = Run::new(policy);
        for (feed, options) in first.into_iter().enumerate() {
            run.add(FeedId(feed as u32), options);
        }
        for step in steps {
            run.step(step);
            while run.poll() {}
            for feed in run.model.feeds.values() {
                if let Some(arrival) = feed.oldest_choosable(&run.model.policy) {
                    prop_assert!(run.now < arrival.saturating_add(run.model.policy.max_latency));
                }
            }
        }
    }

    #[test]
    fn frames_of_a_feed_leave_in_the_order_they_came(
        policy in policy(),
        first in prop::collection::vec(options(), 1..5),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut run = Run::new(policy);
        for (feed, options) in first.into_iter().enumerate() {
            run.add(FeedId(feed as u32), options);
        }
        let mut last = std::collections::BTreeMap::new();
        for step in steps {
            if matches!(step, Step::Poll { .. } | Step::Remove(_)) {
                continue;
            }
            run.step(step);
            let expected = run.model.expect(run.now);
            let found = run.former.poll(run.now, true);
            run.told = if let Poll::WaitUntil(at) = found { Some(at) } else { None };
            let Poll::Close(batch) = found else { continue };
            for chosen in &batch.frames {
                let before = last.insert(chosen.feed, chosen.seq);
                prop_assert!(before.is_none_or(|before| before < chosen.seq));
            }
            let Expected::Close { frames, .. } = expected else {
                return Err(TestCaseError::fail("the model closes no batch"));
            };
            run.take(batch, &frames);
        }
    }
}
