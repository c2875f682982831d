//! When somebody has to poll again: the count of what a sleeping caller waits for.
//!
//! A poll that closed nothing knows how many more frames must become choosable before the next one can close a batch
//! early. Each push and each credit that comes back is noted here, and only the one that makes the number full calls
//! for a poll. It may be called for once too often, never once too seldom.

use super::ledger::Waker;
use super::sync::{AtomicU64, Ordering};

pub(super) struct Alarm {
    waker: Waker,
    /// Frames that became choosable, or may have.
    noted: AtomicU64,
    /// From how many on somebody polls.
    rings_at: AtomicU64,
}

impl Alarm {
    /// Rings at anything, until it is [set](Self::set).
    pub(super) fn new(waker: Waker) -> Self {
        Self { waker, noted: AtomicU64::new(0), rings_at: AtomicU64::new(0) }
    }

    /// How many were noted: read it before the feeds are looked at.
    pub(super) fn noted(&self) -> u64 {
        self.noted.load(Ordering::SeqCst)
    }

    /// Rings from the `frames`th on after the look that began at `seen`. False if as many have come since: look again.
    pub(super) fn set(&self, seen: u64, frames: u64) -> bool {
        let rings_at = seen.saturating_add(frames);
        self.rings_at.store(rings_at, Ordering::SeqCst);
        self.noted.load(Ordering::SeqCst) < rings_at
    }

    /// Rings at anything.
    pub(super) fn reset(&self) {
        self.rings_at.store(0, Ordering::SeqCst);
    }

    /// Whether a poll now may answer otherwise than the last one.
    pub(super) fn rings(&self) -> bool {
        self.noted.load(Ordering::SeqCst) >= self.rings_at.load(Ordering::SeqCst)
    }

    /// A frame became choosable; who has pushed it polls if it [rings](Self::rings).
    pub(super) fn count(&self) {
        self.noted.fetch_add(1, Ordering::SeqCst);
    }

    /// A frame became choosable by credit: calls for a poll if that is what was waited for.
    pub(super) fn note(&self) {
        self.count();
        if self.rings() {
            (self.waker)();
        }
    }
}
