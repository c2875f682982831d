//! One value per key while somebody uses it.
//!
//! A table of weak references: an entry whose value is gone is vacant, and a value that goes removes only
//! its own entry, so one that is being dropped cannot take its successor's. Opening happens outside the
//! lock: who asks for the same key meanwhile waits for that opening, who asks for another key does not.

use super::error::{InferError, panic_message};
use crate::clock;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

/// The table. A `V` is never dropped while its lock is held: its `Drop` calls [`Registry::forget`].
#[derive(Debug)]
pub(crate) struct Registry<K, V> {
    entries: LazyLock<Mutex<HashMap<K, Entry<V>>>>,
}

#[derive(Debug)]
enum Entry<V> {
    /// Somebody is opening it.
    Pending(Arc<Opening<V>>),
    /// It was opened; it may be gone by now.
    Active(Weak<V>),
}

#[derive(Debug)]
struct Opening<V> {
    result: Mutex<Option<Result<Arc<V>, InferError>>>,
    finished: Condvar,
}

impl<V> Opening<V> {
    fn wait(&self, limit: Duration) -> Result<Arc<V>, InferError> {
        let deadline = clock::now().saturating_add(limit);
        let mut result = self.result.lock();
        while result.is_none() {
            let timed_out = self.finished.wait_for(&mut result, clock::until(deadline)).timed_out();
            if timed_out && result.is_none() {
                return Err(InferError::StartupTimeout { limit });
            }
        }
        result.clone().unwrap_or(Err(InferError::Stopped))
    }
}

/// What a look into the table found.
enum Found<V> {
    Active(Arc<V>),
    Theirs(Arc<Opening<V>>),
    Ours(Arc<Opening<V>>),
}

impl<K: Eq + Hash + Clone, V> Registry<K, V> {
    pub(crate) const fn new() -> Self {
        Self { entries: LazyLock::new(|| Mutex::new(HashMap::new())) }
    }

    /// The value of `key`, opened by `open` if there is none.
    ///
    /// # Errors
    ///
    /// What `open` returned, to all who waited for it; [`InferError::StartupTimeout`] for one who waited
    /// for somebody else's `open` longer than `limit`; [`InferError::Panic`] if `open` panicked.
    pub(crate) fn get_or_open(
        &self,
        key: &K,
        limit: Duration,
        open: impl FnOnce() -> Result<Arc<V>, InferError>,
    ) -> Result<Arc<V>, InferError> {
        let opening = loop {
            match self.find(key) {
                Found::Active(value) => return Ok(value),
                Found::Theirs(opening) => match opening.wait(limit) {
                    // Who was opening it was told to stop. We were not.
                    Err(InferError::Interrupted) => {}
                    result => return result,
                },
                Found::Ours(opening) => break opening,
            }
        };
        let result = catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|panic| Err(InferError::Panic { detail: panic_message(&*panic) }));
        {
            let mut entries = self.entries.lock();
            match &result {
                Ok(value) => drop(entries.insert(key.clone(), Entry::Active(Arc::downgrade(value)))),
                Err(_) => drop(entries.remove(key)),
            }
        }
        *opening.result.lock() = Some(result.clone());
        opening.finished.notify_all();
        result
    }

    /// How many values are in use.
    pub(super) fn len(&self) -> usize {
        let entries = self.entries.lock();
        let is_alive = |entry: &&Entry<V>| matches!(entry, Entry::Active(value) if value.strong_count() > 0);
        entries.values().filter(is_alive).count()
    }

    fn find(&self, key: &K) -> Found<V> {
        let mut entries = self.entries.lock();
        match entries.get(key) {
            Some(Entry::Pending(opening)) => return Found::Theirs(Arc::clone(opening)),
            Some(Entry::Active(value)) => {
                if let Some(value) = value.upgrade() {
                    return Found::Active(value);
                }
            }
            None => {}
        }
        let opening = Arc::new(Opening { result: Mutex::new(None), finished: Condvar::new() });
        entries.insert(key.clone(), Entry::Pending(Arc::clone(&opening)));
        Found::Ours(opening)
    }

    /// Removes the entry of `key` if it is the one of `value`, which nobody finds from then on; called at the
    /// latest as `value` is dropped.
    pub(crate) fn forget(&self, key: &K, value: *const V) {
        let mut entries = self.entries.lock();
        let own = matches!(entries.get(key), Some(Entry::Active(entry)) if entry.as_ptr() == value);
        if own {
            entries.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LIMIT: Duration = Duration::from_secs(20);

    static NAMES: Registry<u32, Name> = Registry::new();

    #[derive(Debug)]
    struct Name(u32);

    impl Drop for Name {
        fn drop(&mut self) {
            NAMES.forget(&self.0, self);
        }
    }

    fn open(key: u32) -> Result<Arc<Name>, InferError> {
        NAMES.get_or_open(&key, LIMIT, || Ok(Arc::new(Name(key))))
    }

    #[test]
    fn the_same_key_gives_the_same_value_while_it_lives() {
        let first = open(1).unwrap();
        assert!(Arc::ptr_eq(&first, &open(1).unwrap()));
        assert!(!Arc::ptr_eq(&first, &open(2).unwrap()));
    }

    #[test]
    fn a_value_that_goes_leaves_no_entry() {
        drop(open(3).unwrap());
        assert!(!NAMES.entries.lock().contains_key(&3));
        open(3).unwrap();
    }

    #[test]
    fn a_dead_entry_is_vacant_and_its_value_does_not_take_the_successors() {
        let old = open(4).unwrap();
        let stale = Arc::downgrade(&old);
        drop(old);
        NAMES.entries.lock().insert(4, Entry::Active(stale.clone()));
        let new = open(4).unwrap();
        NAMES.forget(&4, stale.as_ptr());
        assert!(Arc::ptr_eq(&new, &open(4).unwrap()));
    }

    #[test]
    fn simultaneous_openers_share_one_opening_and_other_keys_do_not_wait() {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        let (release, parked) = bounded::<()>(0);
        let (arrived, opening) = bounded(1);
        let slow = move || {
            OPENED.fetch_add(1, Ordering::Relaxed);
            arrived.send(()).ok();
            parked.recv().ok();
            Ok(Arc::new(Name(5)))
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(move || NAMES.get_or_open(&5, LIMIT, slow).unwrap());
            opening.recv().unwrap();
            let second = scope.spawn(|| open(5).unwrap());
            open(6).unwrap();
            let impatient = NAMES.get_or_open(&5, Duration::from_millis(1), || unreachable!());
            assert!(matches!(impatient, Err(InferError::StartupTimeout { .. })));
            drop(release);
            assert!(Arc::ptr_eq(&first.join().unwrap(), &second.join().unwrap()));
        });
        assert_eq!(OPENED.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_waited_for_an_opening_that_was_broken_off_opens_it() {
        let (release, parked) = bounded::<()>(0);
        let (arrived, opening) = bounded(1);
        let broken_off = move || {
            arrived.send(()).ok();
            parked.recv().ok();
            Err(InferError::Interrupted)
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(move || NAMES.get_or_open(&8, LIMIT, broken_off));
            opening.recv().unwrap();
            let second = scope.spawn(|| open(8).unwrap());
            drop(release);
            assert_eq!(first.join().unwrap().unwrap_err(), InferError::Interrupted);
            assert_eq!(second.join().unwrap().0, 8);
        });
    }

    #[test]
    fn a_failed_or_panicking_opening_leaves_the_key_vacant() {
        let error = NAMES.get_or_open(&7, LIMIT, || Err(InferError::Stopped)).unwrap_err();
        assert_eq!(error, InferError::Stopped);
        let error = NAMES.get_or_open(&7, LIMIT, || panic!("boom")).unwrap_err();
        assert_eq!(error, InferError::Panic { detail: "boom".to_owned() });
        open(7).unwrap();
    }
}
