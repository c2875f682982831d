//! What became of every frame of a feed, counted so that nothing can be missing.
//!
//! The ledger does not say which frame met which end, nor when; it only never loses one.

use std::ops::AddAssign;

use super::alarm::Alarm;
use super::sync::{self, AtomicU32, AtomicUsize, Mutex, Ordering};

/// Called when credit came back that may make a batch due earlier than the last poll said: poll again.
///
/// It runs on whichever thread dropped the ticket, with no lock of this module held. That thread may
/// hold the mutex the [`Former`](super::Former) is in, so the waker must not take that one; a flag
/// under a small mutex of its own with a condition variable does. It must not panic.
pub type Waker = std::sync::Arc<dyn Fn() + Send + Sync>;

/// Why a frame was let go of without being handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Its feed's queue was full.
    Overload,
    /// It was queued when its feed was flushed.
    Flushed,
    /// It was queued when its feed was removed.
    Removed,
    /// Its feed was flushed while it was in flight.
    Stale,
    /// Its feed has no output.
    Unlinked,
    /// Its ticket was dropped without a word.
    Abandoned,
    /// Its timestamps lie outside of its segment.
    OutOfSegment,
    /// Downstream did not take it.
    Downstream,
    /// Inference failed and the user asked for such frames to be dropped.
    OnError,
    /// The element was stopped.
    Stopped,
}

impl DropReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Overload,
        Self::Flushed,
        Self::Removed,
        Self::Stale,
        Self::Unlinked,
        Self::Abandoned,
        Self::OutOfSegment,
        Self::Downstream,
        Self::OnError,
        Self::Stopped,
    ];

    /// The name of the reason in statistics and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::Flushed => "flushed",
            Self::Removed => "removed",
            Self::Stale => "stale",
            Self::Unlinked => "unlinked",
            Self::Abandoned => "abandoned",
            Self::OutOfSegment => "out-of-segment",
            Self::Downstream => "downstream",
            Self::OnError => "on-error",
            Self::Stopped => "stopped",
        }
    }
}

/// Why a frame has no inference result, whether it was handed on or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// The engine or the decoder of its outputs reported an error.
    Error,
    /// The engine did not answer in time.
    Timeout,
    /// The engine or a decoder panicked.
    Panic,
    /// The frame itself could not be read, for example smaller than its caps say.
    Invalid,
}

impl FailReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Error, Self::Timeout, Self::Panic, Self::Invalid];

    /// The name of the reason in statistics and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::Invalid => "invalid",
        }
    }
}

/// The end a frame in flight met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Dropped(DropReason),
    Failed(FailReason),
}

/// The frames of one feed, or of several added up. All values are frames.
///
/// At every instant `received == delivered + dropped + failed + queued + in flight`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Pushed, except where the push would have blocked.
    pub received: u64,
    /// Handed on with a result, or riding along.
    pub delivered: u64,
    /// Waiting to be chosen.
    pub queued: u64,
    /// Chosen, and not delivered, dropped or failed yet.
    pub in_flight: u64,
    dropped: [u64; DropReason::ALL.len()],
    failed: [u64; FailReason::ALL.len()],
}

impl Ledger {
    /// Frames dropped for `reason`.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Frames that failed for `reason`.
    #[must_use]
    pub const fn failed(&self, reason: FailReason) -> u64 {
        self.failed[reason as usize]
    }

    /// Frames dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Frames that failed for any reason.
    #[must_use]
    pub fn failed_total(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// Frames whose end is still open: queued and in flight.
    #[must_use]
    pub const fn outstanding(&self) -> u64 {
        self.queued + self.in_flight
    }

    /// Whether every received frame is accounted for. False is a bug in this module.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.received == self.delivered + self.dropped_total() + self.failed_total() + self.outstanding()
    }

    fn settle(&mut self, outcome: Outcome) {
        self.in_flight -= 1;
        match outcome {
            Outcome::Delivered => self.delivered += 1,
            Outcome::Dropped(reason) => self.dropped[reason as usize] += 1,
            Outcome::Failed(reason) => self.failed[reason as usize] += 1,
        }
    }
}

impl AddAssign<&Self> for Ledger {
    fn add_assign(&mut self, other: &Self) {
        self.received += other.received;
        self.delivered += other.delivered;
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        for (sum, count) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += count;
        }
        for (sum, count) in self.failed.iter_mut().zip(other.failed) {
            *sum += count;
        }
    }
}

/// A feed's ledger, credit and epoch: what its queue and its tickets share.
///
/// The tickets themselves are kept here too, in places that are used again and again: a frame costs no allocation once
/// as many have been in flight at a time.
pub(super) struct Account {
    books: Mutex<Books>,
    /// What [`Books::credit`] came to when the lock was last let go of, to be read without it.
    credit: AtomicUsize,
    epoch: AtomicU32,
    alarm: sync::Arc<Alarm>,
}

/// One ticket, or a place for one.
struct Place {
    /// Clones of the ticket that are alive; 0 if the place is free.
    holders: u32,
    settled: bool,
}

struct Books {
    ledger: Ledger,
    /// Tickets alive. Above `ledger.in_flight` by those settled and not let go of yet.
    holding: usize,
    limit: usize,
    places: Vec<Place>,
    /// Places that are free.
    vacant: Vec<u32>,
}

impl Books {
    /// Zero too while a lowered limit is still exceeded.
    const fn credit(&self) -> usize {
        self.limit.saturating_sub(self.holding)
    }

    /// Takes a place for a ticket with one holder.
    fn take_place(&mut self) -> u32 {
        let fresh = Place { holders: 1, settled: false };
        if let Some(at) = self.vacant.pop()
            && let Some(place) = self.places.get_mut(at as usize)
        {
            *place = fresh;
            return at;
        }
        self.places.push(fresh);
        u32::try_from(self.places.len() - 1).expect("fewer tickets are alive than bytes fit a machine")
    }
}

impl Account {
    pub(super) fn new(limit: usize, alarm: sync::Arc<Alarm>) -> Self {
        let ledger = Ledger::default();
        let books = Books { ledger, holding: 0, limit, places: Vec::new(), vacant: Vec::new() };
        let (credit, epoch) = (AtomicUsize::new(limit), AtomicU32::new(0));
        Self { books: Mutex::new(books), credit, epoch, alarm }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        let mut books = self.books.lock();
        books.limit = limit;
        self.publish(&books);
    }

    /// With the lock held: the credit that everybody sees is never behind what they have learnt under the lock.
    fn publish(&self, books: &Books) {
        self.credit.store(books.credit(), Ordering::Release);
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Makes every ticket handed out so far stale.
    pub(super) fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Frames that may be chosen. Other threads can only raise it until the next [`choose`](Self::choose).
    pub(super) fn credit(&self) -> usize {
        self.credit.load(Ordering::Acquire)
    }

    /// The ledger and the number of tickets alive, at one instant.
    pub(super) fn read(&self) -> (Ledger, usize) {
        let books = self.books.lock();
        (books.ledger.clone(), books.holding)
    }

    /// A frame came and was queued.
    pub(super) fn receive(&self) {
        let mut books = self.books.lock();
        books.ledger.received += 1;
        books.ledger.queued += 1;
    }

    /// A frame came and was dropped, or was queued in the place of one that was dropped.
    pub(super) fn receive_and_drop(&self, reason: DropReason) {
        let mut books = self.books.lock();
        books.ledger.received += 1;
        books.ledger.dropped[reason as usize] += 1;
    }

    /// Every queued frame was dropped.
    pub(super) fn drop_queued(&self, reason: DropReason) {
        let mut books = self.books.lock();
        books.ledger.dropped[reason as usize] += std::mem::take(&mut books.ledger.queued);
    }

    /// A queued frame gets a ticket: returns its place.
    pub(super) fn choose(&self) -> u32 {
        let mut books = self.books.lock();
        books.ledger.queued -= 1;
        books.ledger.in_flight += 1;
        books.holding += 1;
        self.publish(&books);
        books.take_place()
    }

    /// There is one more clone of the ticket at `place`.
    pub(super) fn hold(&self, place: u32) {
        if let Some(place) = self.books.lock().places.get_mut(place as usize) {
            place.holders += 1;
        }
    }

    /// The frame of the ticket at `place` met its end, unless it had met one before.
    pub(super) fn settle(&self, place: u32, outcome: Outcome) {
        let mut books = self.books.lock();
        let Some(place) = books.places.get_mut(place as usize) else { return };
        if !std::mem::replace(&mut place.settled, true) {
            books.ledger.settle(outcome);
        }
    }

    /// Whether the frame of the ticket at `place` has met its end.
    pub(super) fn is_settled(&self, place: u32) -> bool {
        self.books.lock().places.get(place as usize).is_some_and(|place| place.settled)
    }

    /// A clone of the ticket at `place` is gone. The last one gives the credit back, and wakes the caller of the former
    /// if that may make a batch due.
    pub(super) fn release(&self, place: u32) {
        let wanted = {
            let mut books = self.books.lock();
            let Some(held) = books.places.get_mut(place as usize) else { return };
            held.holders -= 1;
            if held.holders > 0 {
                return;
            }
            if !std::mem::replace(&mut held.settled, true) {
                books.ledger.settle(Outcome::Dropped(DropReason::Abandoned));
            }
            books.vacant.push(place);
            let before = books.credit();
            books.holding -= 1;
            self.publish(&books);
            books.credit() > before && books.ledger.queued > before as u64
        };
        if wanted {
            self.alarm.note();
        }
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_index_their_own_counters() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.as_str());
        }
        for (index, reason) in FailReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.as_str());
        }
    }

    #[test]
    fn a_sum_of_balanced_ledgers_is_balanced() {
        let account = Account::new(2, sync::Arc::new(Alarm::new(std::sync::Arc::new(|| ()))));
        account.receive();
        account.receive();
        account.receive_and_drop(DropReason::Overload);
        let place = account.choose();
        account.settle(place, Outcome::Failed(FailReason::Panic));
        account.release(place);
        let (ledger, holding) = account.read();
        let mut sum = ledger.clone();
        sum += &ledger;
        assert!(ledger.is_balanced() && sum.is_balanced());
        assert_eq!((sum.received, sum.queued, sum.failed(FailReason::Panic), holding), (6, 2, 2, 0));
    }
}
