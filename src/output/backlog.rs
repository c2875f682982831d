//! The bounded queue in front of a slow consumer.

use super::{LossTracker, Record};
use std::collections::VecDeque;

/// What a full queue does with the next record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The new record goes.
    #[default]
    DropNewest,
    /// The oldest record goes.
    DropOldest,
    /// Nothing goes: the caller waits for room.
    Block,
}

/// A record and what travels with it.
#[derive(Debug)]
pub struct Entry<T> {
    /// The record.
    pub record: Record,
    /// What its consumer gets with it.
    pub attachment: T,
}

/// What [`Backlog::push`] did.
#[derive(Debug)]
pub enum Pushed<T> {
    /// The entry is queued.
    Queued,
    /// The queue is full and keeps what it has: the entry was dropped, this is it.
    DroppedNewest(Box<Entry<T>>),
    /// The entry is queued, the oldest one was dropped: this is it.
    DroppedOldest(Box<Entry<T>>),
    /// Nothing happened: wait for room and push this again.
    Full(Box<Entry<T>>),
}

/// Records waiting for their consumer, and the books about those that could not wait.
///
/// Fills in [`Record::lost`]: what an entry would have reported moves on to the next entry of its feed
/// when it is dropped, so the losses written on delivered records add up.
#[derive(Debug)]
pub struct Backlog<T> {
    entries: VecDeque<Box<Entry<T>>>,
    capacity: usize,
    overflow: Overflow,
    losses: LossTracker,
}

impl<T> Backlog<T> {
    /// An empty queue for `capacity` entries; zero counts as one.
    #[must_use]
    pub fn new(capacity: usize, overflow: Overflow) -> Self {
        Self { entries: VecDeque::new(), capacity: capacity.max(1), overflow, losses: LossTracker::default() }
    }

    /// Changes the rules for the entries to come. What is queued stays, even over the new capacity.
    pub fn configure(&mut self, capacity: usize, overflow: Overflow) {
        self.capacity = capacity.max(1);
        self.overflow = overflow;
    }

    /// Queues an entry, or does what the overflow rule says.
    pub fn push(&mut self, mut entry: Box<Entry<T>>) -> Pushed<T> {
        let full = self.is_full();
        if full && self.overflow == Overflow::Block {
            return Pushed::Full(entry);
        }
        let (feed, seq) = (entry.record.feed, entry.record.seq);
        entry.record.lost = self.losses.seen(feed, seq);
        if !full {
            self.entries.push_back(entry);
            return Pushed::Queued;
        }
        if self.overflow == Overflow::DropNewest {
            self.losses.dropped(feed, entry.record.lost);
            return Pushed::DroppedNewest(entry);
        }
        self.entries.push_back(entry);
        let oldest = self.entries.pop_front().expect("an entry was pushed just now");
        self.pass_on(&oldest.record);
        Pushed::DroppedOldest(oldest)
    }

    /// Takes the oldest entry.
    pub fn pop(&mut self) -> Option<Box<Entry<T>>> {
        self.entries.pop_front()
    }

    /// Throws away everything queued and returns how many entries that was.
    pub fn clear(&mut self) -> usize {
        let count = self.entries.len();
        self.entries.clear();
        count
    }

    /// Entries queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the overflow rule applies to the next entry.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// Entries the queue has room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    fn pass_on(&mut self, dropped: &Record) {
        let next = self.entries.iter_mut().find(|entry| entry.record.feed == dropped.feed);
        let Some(next) = next else {
            self.losses.dropped(dropped.feed, dropped.lost);
            return;
        };
        next.record.lost.absorb(dropped.lost);
        next.record.lost.sink = next.record.lost.sink.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{FrameFacts, FrameTime, Lost};
    use crate::vision::Size;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn entry(feed: u32, seq: u64) -> Box<Entry<()>> {
        let facts = FrameFacts { feed, seq, ..FrameFacts::default() };
        let record = Record::new(facts, FrameTime::default(), Size::new(1, 1), Vec::new());
        Box::new(Entry { record, attachment: () })
    }

    fn fill(backlog: &mut Backlog<()>, range: std::ops::Range<u64>) {
        for seq in range {
            backlog.push(entry(0, seq));
        }
    }

    fn drain(backlog: &mut Backlog<()>) -> Vec<(u64, Lost)> {
        std::iter::from_fn(|| backlog.pop()).map(|entry| (entry.record.seq, entry.record.lost)).collect()
    }

    #[test]
    fn drop_newest_keeps_what_it_has_and_tells_the_next() {
        let mut backlog = Backlog::new(2, Overflow::DropNewest);
        fill(&mut backlog, 0..5);
        assert!(
            matches!(backlog.push(entry(0, 7)), Pushed::DroppedNewest(dropped) if dropped.record.seq == 7)
        );
        assert_eq!(drain(&mut backlog), [(0, Lost::default()), (1, Lost::default())]);
        backlog.push(entry(0, 8));
        assert_eq!(drain(&mut backlog), [(8, Lost { upstream: 2, sink: 4 })]);
    }

    #[test]
    fn drop_oldest_keeps_the_newest_and_tells_the_next_in_line() {
        let mut backlog = Backlog::new(2, Overflow::DropOldest);
        fill(&mut backlog, 0..4);
        assert!(
            matches!(backlog.push(entry(0, 9)), Pushed::DroppedOldest(dropped) if dropped.record.seq == 2)
        );
        assert_eq!(
            drain(&mut backlog),
            [(3, Lost { upstream: 0, sink: 3 }), (9, Lost { upstream: 5, sink: 0 })]
        );
    }

    #[test]
    fn drop_oldest_of_the_only_entry_of_a_feed_tells_its_next_frame() {
        let mut backlog = Backlog::new(1, Overflow::DropOldest);
        backlog.push(entry(0, 0));
        backlog.push(entry(1, 0));
        backlog.push(entry(0, 1));
        assert_eq!(drain(&mut backlog), [(1, Lost { upstream: 0, sink: 1 })]);
    }

    #[test]
    fn block_hands_the_entry_back_and_accepts_it_once_there_is_room() {
        let mut backlog = Backlog::new(1, Overflow::Block);
        fill(&mut backlog, 0..1);
        let Pushed::Full(waiting) = backlog.push(entry(0, 1)) else { panic!("there was no room") };
        assert!(matches!(backlog.push(waiting), Pushed::Full(_)));
        assert_eq!(drain(&mut backlog), [(0, Lost::default())]);
        assert!(matches!(backlog.push(entry(0, 1)), Pushed::Queued));
        assert_eq!(drain(&mut backlog), [(1, Lost::default())], "waiting is no loss");
    }

    #[test]
    fn a_capacity_of_zero_counts_as_one() {
        let mut backlog = Backlog::new(0, Overflow::DropNewest);
        assert!(matches!(backlog.push(entry(0, 0)), Pushed::Queued));
        assert_eq!(backlog.clear(), 1);
    }

    #[derive(Clone, Copy, Debug)]
    enum Action {
        Push { feed: u32, skip: u64 },
        Pop,
    }

    fn actions() -> impl Strategy<Value = Vec<Action>> {
        let push = (0..3u32, 0..3u64).prop_map(|(feed, skip)| Action::Push { feed, skip });
        proptest::collection::vec(prop_oneof![3 => push, 1 => Just(Action::Pop)], 0..60)
    }

    proptest! {
        #[test]
        fn losses_on_delivered_records_add_up(
            actions in actions(),
            capacity in 1..5usize,
            oldest in any::<bool>(),
        ) {
            let overflow = if oldest { Overflow::DropOldest } else { Overflow::DropNewest };
            let mut backlog = Backlog::new(capacity, overflow);
            let mut next_seq = HashMap::new();
            let mut delivered: Vec<(u32, u64, Lost)> = Vec::new();
            let mut note = |e: Box<Entry<()>>| delivered.push((e.record.feed, e.record.seq, e.record.lost));
            for action in actions {
                match action {
                    Action::Push { feed, skip } => {
                        let seq = next_seq.get(&feed).map_or(0, |next| next + skip);
                        next_seq.insert(feed, seq + 1);
                        backlog.push(entry(feed, seq));
                        prop_assert!(backlog.len() <= capacity);
                    }
                    Action::Pop => { backlog.pop().map(&mut note).unwrap_or_default() }
                }
            }
            std::iter::from_fn(|| backlog.pop()).for_each(&mut note);
            for feed in 0..3 {
                let mut records = delivered.iter().filter(|(of, ..)| *of == feed);
                // Everything between two delivered records of a feed is told on the second one.
                let Some(first) = records.next() else { continue };
                prop_assert_eq!(first.2.upstream + first.2.sink, first.1);
                records.fold(first.1, |last, (_, seq, lost)| {
                    assert_eq!(lost.upstream + lost.sink, seq - last - 1);
                    *seq
                });
            }
        }
    }
}
