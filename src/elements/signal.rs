//! A wake-up that cannot be lost and never deadlocks.
//!
//! The usual mutex-and-condition pair ties the wake-up to the lock of the state it is about. Here tickets are
//! dropped from any thread, with any lock held, and must be able to wake the batcher; so the signal has its
//! own tiny lock, which nobody holds while calling out.

use crate::clock;
use crate::time::Monotonic;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What a waiter has seen; see [`Signal::seen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

/// Wakes everybody who has looked before it was raised.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: AtomicU64,
    /// Who waits or is about to. Raised for every frame, and mostly nobody does.
    waiting: AtomicUsize,
    lock: Mutex<()>,
    condition: Condvar,
}

impl Signal {
    /// Call this before looking at the state; [`Self::wait`] then returns at once if the signal was raised
    /// after that look.
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.raised.load(Ordering::SeqCst))
    }

    /// Wakes everybody.
    pub(crate) fn raise(&self) {
        self.raised.fetch_add(1, Ordering::SeqCst);
        // Who is not seen here looks at the number after this.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // Whoever has looked and does not wait yet holds it.
            drop(self.lock.lock());
            self.condition.notify_all();
        }
    }

    /// Waits until `holds`, which whoever raises the signal brings about, for at most `within`; whether it does.
    pub(crate) fn wait_until(&self, within: Duration, holds: impl Fn() -> bool) -> bool {
        let deadline = clock::now().saturating_add(within);
        loop {
            let seen = self.seen();
            if holds() {
                return true;
            }
            if clock::now() >= deadline {
                return false;
            }
            self.wait(seen, Some(deadline));
        }
    }

    /// Waits until the signal is raised or `deadline` has come (`None`: no deadline).
    pub(crate) fn wait(&self, seen: Seen, deadline: Option<Monotonic>) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut lock = self.lock.lock();
        while self.raised.load(Ordering::SeqCst) == seen.0 {
            let Some(deadline) = deadline else {
                self.condition.wait(&mut lock);
                continue;
            };
            if self.condition.wait_for(&mut lock, clock::until(deadline)).timed_out() {
                break;
            }
        }
        drop(lock);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_signal_raised_between_look_and_wait_is_not_lost() {
        let signal = Signal::default();
        let seen = signal.seen();
        signal.raise();
        signal.wait(seen, None);
    }

    #[test]
    fn a_waiter_in_another_thread_wakes() {
        let signal = Arc::new(Signal::default());
        let seen = signal.seen();
        let waiter = std::thread::Builder::new()
            .spawn({
                let signal = Arc::clone(&signal);
                move || signal.wait(seen, None)
            })
            .unwrap();
        signal.raise();
        waiter.join().unwrap();
    }

    #[test]
    fn a_deadline_in_the_past_does_not_wait() {
        let signal = Signal::default();
        signal.wait(signal.seen(), Some(Monotonic::ZERO));
    }
}
