//! One thread for all elements that watch something: `nv-watch`.
//!
//! It runs while somebody is watched, sleeps until the earliest deadline of all, and holds weak references only.
//! A subject that does not return from [`Watched::check`] holds up all others, so checks never block and never call
//! out: what they find is posted from elsewhere. A check that panics is taken off the list.

use crate::clock;
use crate::elements::signal::Signal;
use crate::elements::thread::{JOIN_TIMEOUT, Step, StepThread};
use crate::time::Monotonic;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

/// How late the checks of most may be.
const SLACK: Duration = Duration::from_millis(10);

/// The deadline of who has none.
const NEVER: u64 = u64::MAX;

/// Somebody who wants to be looked at when time has passed.
pub(super) trait Watched: Send + Sync + 'static {
    /// Does what is due at `now`; returns when to call again, `None` if nobody need. Must neither block nor call out.
    fn check(self: Arc<Self>, now: Monotonic) -> Option<Monotonic>;

    /// How late a check may be, so that the deadlines of many subjects share a wake-up.
    fn slack(&self) -> Duration {
        SLACK
    }
}

/// Being watched; ends when dropped. The last one to end also ends the thread, and waits for that.
pub(super) struct Watching {
    id: u64,
    due: Arc<AtomicU64>,
    watcher: Arc<Watcher>,
}

/// Whoever is watched by one thread.
#[derive(Default)]
struct Watcher {
    subjects: Mutex<Subjects>,
    signal: Signal,
}

#[derive(Default)]
struct Subjects {
    next_id: u64,
    all: BTreeMap<u64, Subject>,
    thread: Option<StepThread>,
    /// Counts the threads; all but the latest end.
    generation: u64,
    /// For those that are due in a round; kept for its memory.
    round: Vec<(u64, Subject)>,
}

#[derive(Clone)]
struct Subject {
    watched: Weak<dyn Watched>,
    /// When to check, on the monotonic clock; [`NEVER`] if not at all.
    due: Arc<AtomicU64>,
    slack: Duration,
}

/// Watches `subject`, first of all now.
///
/// # Errors
/// When the system has no thread to give.
pub(super) fn watch(subject: &Arc<impl Watched>) -> io::Result<Watching> {
    static WATCHER: LazyLock<Arc<Watcher>> = LazyLock::new(Arc::default);
    let weak = Arc::downgrade(subject);
    Watcher::watch(&WATCHER, weak, subject.slack())
}

impl Watching {
    /// Asks to be checked at `deadline` at the latest.
    pub(super) fn due_by(&self, deadline: Option<Monotonic>) {
        let deadline = deadline.map_or(NEVER, Monotonic::as_nanos);
        // For every frame, and nearly always the check that is due comes first.
        if deadline < self.due.load(Ordering::Acquire) {
            self.due.fetch_min(deadline, Ordering::AcqRel);
            self.watcher.signal.raise();
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let thread = {
            let mut subjects = self.watcher.subjects.lock();
            subjects.all.remove(&self.id);
            if subjects.all.is_empty() {
                subjects.generation += 1;
                subjects.thread.take()
            } else {
                None
            }
        };
        if let Some(thread) = thread {
            self.watcher.signal.raise();
            thread.stop(JOIN_TIMEOUT);
        }
    }
}

impl Watcher {
    fn watch(this: &Arc<Self>, watched: Weak<dyn Watched>, slack: Duration) -> io::Result<Watching> {
        let due = Arc::new(AtomicU64::new(0));
        let mut subjects = this.subjects.lock();
        if subjects.thread.is_none() {
            let generation = subjects.generation;
            let watcher = Arc::clone(this);
            subjects.thread = Some(StepThread::spawn("nv-watch", move || watcher.step(generation))?);
        }
        let id = subjects.next_id;
        subjects.next_id += 1;
        subjects.all.insert(id, Subject { watched, due: Arc::clone(&due), slack });
        drop(subjects);
        this.signal.raise();
        Ok(Watching { id, due, watcher: Arc::clone(this) })
    }

    /// One round of the thread.
    fn step(&self, generation: u64) -> Step {
        let seen = self.signal.seen();
        let now = clock::now();
        let Some(mut round) = self.due(generation, now) else { return Step::Stop };
        for (id, Subject { watched, due, .. }) in round.drain(..) {
            // Before the look: who finds something to be due after it asks anew.
            due.store(NEVER, Ordering::Release);
            let Some(watched) = watched.upgrade() else { continue };
            match catch_unwind(AssertUnwindSafe(|| watched.check(now))) {
                Ok(next) => {
                    due.fetch_min(next.map_or(NEVER, Monotonic::as_nanos), Ordering::AcqRel);
                }
                Err(_) => drop(self.subjects.lock().all.remove(&id)),
            }
        }
        self.subjects.lock().round = round;
        self.signal.wait(seen, self.next());
        Step::Again
    }

    /// Who is to be checked at `now`; `None` if the thread of that generation is to end.
    fn due(&self, generation: u64, now: Monotonic) -> Option<Vec<(u64, Subject)>> {
        let mut subjects = self.subjects.lock();
        if subjects.generation != generation {
            return None;
        }
        let mut round = std::mem::take(&mut subjects.round);
        let due = subjects.all.iter().filter(|(_, subject)| {
            let due = subject.due.load(Ordering::Acquire);
            due != NEVER && due <= now.as_nanos()
        });
        round.extend(due.map(|(id, subject)| (*id, subject.clone())));
        Some(round)
    }

    /// When to look again if nobody asks.
    fn next(&self) -> Option<Monotonic> {
        let subjects = self.subjects.lock();
        let latest = |subject: &Subject| {
            let due = Some(subject.due.load(Ordering::Acquire)).filter(|due| *due != NEVER)?;
            Some(Monotonic::from_nanos(due).saturating_add(subject.slack))
        };
        subjects.all.values().filter_map(latest).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Says when it is checked, and wants to be checked again after `period`.
    struct Ticker {
        checks: Mutex<Sender<Monotonic>>,
        period: Option<Duration>,
        panics: bool,
    }

    impl Watched for Ticker {
        fn check(self: Arc<Self>, now: Monotonic) -> Option<Monotonic> {
            self.checks.lock().send(now).ok();
            assert!(!self.panics, "as the test wants it");
            self.period.map(|period| now.saturating_add(period))
        }
    }

    fn ticker(period: Option<Duration>, panics: bool) -> (Arc<dyn Watched>, Receiver<Monotonic>) {
        let (sender, receiver) = channel();
        (Arc::new(Ticker { checks: Mutex::new(sender), period, panics }), receiver)
    }

    fn runs(watcher: &Watcher) -> bool {
        watcher.subjects.lock().thread.is_some()
    }

    #[test]
    fn a_subject_is_checked_at_once_and_at_its_deadlines() {
        let watcher = Arc::<Watcher>::default();
        let (subject, checks) = ticker(Some(Duration::from_millis(5)), false);
        let watching = Watcher::watch(&watcher, Arc::downgrade(&subject), SLACK).unwrap();
        let first = checks.recv_timeout(PATIENCE).unwrap();
        let second = checks.recv_timeout(PATIENCE).unwrap();
        assert!(second.since(first) >= Duration::from_millis(5));
        drop(watching);
        assert!(!runs(&watcher));
    }

    #[test]
    fn a_subject_without_deadline_is_checked_when_it_asks() {
        let watcher = Arc::<Watcher>::default();
        let (subject, checks) = ticker(None, false);
        let watching = Watcher::watch(&watcher, Arc::downgrade(&subject), SLACK).unwrap();
        checks.recv_timeout(PATIENCE).unwrap();
        let deadline = clock::now().saturating_add(Duration::from_millis(20));
        watching.due_by(Some(deadline));
        assert!(checks.recv_timeout(PATIENCE).unwrap() >= deadline);
        watching.due_by(None);
    }

    #[test]
    fn the_thread_ends_with_the_last_subject_and_starts_with_the_next() {
        let watcher = Arc::<Watcher>::default();
        let (subject, checks) = ticker(None, false);
        for _ in 0..20 {
            let both = [
                Watcher::watch(&watcher, Arc::downgrade(&subject), SLACK),
                Watcher::watch(&watcher, Arc::downgrade(&subject), SLACK),
            ];
            checks.recv_timeout(PATIENCE).unwrap();
            let [one, other] = both.map(Result::unwrap);
            drop(one);
            assert!(runs(&watcher));
            drop(other);
            assert!(!runs(&watcher));
        }
    }

    #[test]
    fn a_subject_that_is_gone_is_not_kept_alive() {
        let watcher = Arc::<Watcher>::default();
        let (subject, checks) = ticker(Some(Duration::from_millis(1)), false);
        let watching = Watcher::watch(&watcher, Arc::downgrade(&subject), SLACK).unwrap();
        let weak = Arc::downgrade(&subject);
        drop(subject);
        // The channel ends when the last reference does.
        while checks.recv_timeout(PATIENCE).is_ok() {}
        assert!(weak.upgrade().is_none());
        drop(watching);
    }

    #[test]
    fn a_check_that_panics_does_not_end_the_checks_of_others() {
        let watcher = Arc::<Watcher>::default();
        let (bad, of_bad) = ticker(None, true);
        let (good, of_good) = ticker(Some(Duration::from_millis(1)), false);
        let watching =
            [&bad, &good].map(|subject| Watcher::watch(&watcher, Arc::downgrade(subject), SLACK).unwrap());
        of_bad.recv_timeout(PATIENCE).unwrap();
        for _ in 0..3 {
            of_good.recv_timeout(PATIENCE).unwrap();
        }
        drop(watching);
        assert!(!runs(&watcher));
    }
}
