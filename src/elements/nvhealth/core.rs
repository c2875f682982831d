//! What the streaming thread, the watcher and the state changes share, and how it gets to the bus.
//!
//! Whoever finds something to say notes it under the lock, so that the order is that of what happened; then, without
//! the lock, one thread at a time posts. The watcher never does: it asks a thread of GStreamer's pool, so that an
//! application that blocks in a handler holds up the messages of that element only. Who stops the element posts what
//! is left before it has stopped, also in a handler, and waits, within bounds, for another thread that posts.

use super::feed::{Feed, Task};
use super::imp::NvHealth;
use crate::elements::message::HealthReporter;
use crate::elements::signal::Signal;
use crate::elements::thread::JOIN_TIMEOUT;
use crate::elements::watcher::{self, Watched, Watching};
use crate::time::Monotonic;
use glib::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

/// See the module. Locks are not held together, but for the reporter's own inside `feed`.
#[derive(Default)]
pub(super) struct Core {
    pub(super) element: glib::WeakRef<gst::Element>,
    watching: Mutex<Option<Watching>>,
    feed: Mutex<Feed>,
    pub(super) health: HealthReporter,
    /// Raised when a thread has done its tasks.
    posted: Signal,
}

impl Core {
    /// Looks at the feed.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Feed) -> T) -> T {
        look(&self.feed.lock())
    }

    /// Something happens to the feed; what that leads to is posted by a later [`Self::happens`].
    pub(super) fn notes<T>(&self, note: impl FnOnce(&mut Feed) -> T) -> T {
        let (result, deadline) = {
            let mut feed = self.feed.lock();
            let result = note(&mut feed);
            (result, feed.watch.deadline())
        };
        self.wake(deadline);
        result
    }

    /// Something happens to the feed; what that leads to is posted.
    pub(super) fn happens<T>(&self, element: &gst::Element, happen: impl FnOnce(&mut Feed) -> T) -> T {
        let (result, mine) = self.notes(|feed| {
            let result = happen(feed);
            (result, feed.take_over())
        });
        if mine {
            self.post(element);
        }
        result
    }

    /// Lets time pass for the element, too.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start_watching(self: &Arc<Self>) -> io::Result<()> {
        let watching = watcher::watch(self)?;
        *self.watching.lock() = Some(watching);
        Ok(())
    }

    pub(super) fn stop_watching(&self) {
        let watching = self.watching.lock().take();
        // Outside of the lock: it may wait for the thread.
        drop(watching);
    }

    /// Waits, within bounds, until no other thread posts.
    pub(super) fn settle(&self, element: &gst::Element) {
        self.posted.wait_until(JOIN_TIMEOUT, || !self.look(Feed::is_posted_elsewhere));
        // It may have been unable to go on.
        self.happens(element, |_| ());
    }

    fn wake(&self, deadline: Option<Monotonic>) {
        if let Some(watching) = &*self.watching.lock() {
            watching.due_by(deadline);
        }
    }

    /// Does the tasks, for who has taken them over.
    fn post(&self, element: &gst::Element) {
        let mut posting = Posting { core: self, done: false };
        loop {
            let task = self.feed.lock().next_task();
            match task {
                Some(Task::Report(feed, event)) => self.health.report(element, Some(&feed), event, 1),
                Some(Task::Flush(feed)) => self.health.flush_feed(element, &feed),
                Some(Task::FlushAll) => self.health.flush(element),
                Some(Task::CatchUp) => self.health.catch_up(element),
                Some(Task::Forget(feed)) => self.health.forget(element, &feed),
                None => break,
            }
        }
        posting.done = true;
        self.wake(self.health.due_at());
    }
}

/// Says that it is over, and lets others post if this thread panics while it does.
struct Posting<'a> {
    core: &'a Core,
    done: bool,
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.core.feed.lock().give_up();
        }
        self.core.posted.raise();
    }
}

impl Watched for Core {
    fn check(self: Arc<Self>, now: Monotonic) -> Option<Monotonic> {
        let (reap, ask, deadline) = {
            let mut feed = self.feed.lock();
            let reap = feed.tick(now);
            let folded = self.health.due_at();
            if folded.is_some_and(|due| due <= now) {
                feed.catch_up();
            }
            let ask = feed.ask();
            // Whoever posts asks for another look when more is folded than is due.
            let folded = folded.filter(|due| *due > now);
            (reap, ask, [feed.watch.deadline(), folded].into_iter().flatten().min())
        };
        if !reap && !ask {
            return deadline;
        }
        let element = self.element.upgrade()?;
        if ask {
            element.call_async(|element| {
                with_imp(element, |imp| imp.core.happens(element, Feed::answer));
            });
        }
        if reap {
            element.call_async(|element| {
                with_imp(element, NvHealth::reap);
            });
        }
        deadline
    }
}

/// Runs `call` on a thread that unwinding must not reach.
fn with_imp(element: &gst::Element, call: impl FnOnce(&NvHealth)) {
    if let Some(element) = element.downcast_ref::<super::NvHealth>() {
        element.imp().catch_panic(|| (), call);
    }
}
