//! Named threads that run one step after another and end in a bounded time.

use crate::elements::signal::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long an element waits for a thread of its own before it lets go of it.
pub(crate) const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What a step wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Run again.
    Again,
    /// End the thread.
    Stop,
}

/// A running thread. Dropping it lets the thread run to the end of its current step on its own.
#[derive(Debug)]
pub(crate) struct StepThread {
    handle: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
    ended: Arc<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    flag: AtomicBool,
    signal: Signal,
}

/// Raised on the way out of the thread, also by a panic.
struct EndGuard(Arc<Ended>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.flag.store(true, Ordering::Release);
        self.0.signal.raise();
    }
}

impl StepThread {
    /// Starts a thread that runs `step` until it says stop or [`Self::stop`] is called. Linux shows the first
    /// 15 bytes of `name`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn spawn(
        name: &str,
        mut step: impl FnMut() -> Step + Send + 'static,
    ) -> std::io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(Ended::default());
        let handle = std::thread::Builder::new().name(name.replace('\0', "")).spawn({
            let stopping = Arc::clone(&stopping);
            let guard = EndGuard(Arc::clone(&ended));
            move || {
                let _guard = guard;
                while !stopping.load(Ordering::Acquire) && step() == Step::Again {}
            }
        })?;
        Ok(Self { handle, stopping, ended })
    }

    /// Asks the thread to stop and waits for it, at most `within`. The caller wakes the step if it waits for
    /// something. False if the thread still runs: it is let go of. A thread may stop itself.
    pub(crate) fn stop(self, within: Duration) -> bool {
        self.stopping.store(true, Ordering::Release);
        self.wait(within)
    }

    /// Waits for the thread, whose step has been told to end it, at most `within`. False if the thread still runs: it
    /// is let go of. A thread does not wait for itself.
    pub(crate) fn wait(self, within: Duration) -> bool {
        if std::thread::current().id() == self.handle.thread().id() {
            return true;
        }
        let ended = self.ended.signal.wait_until(within, || self.ended.flag.load(Ordering::Acquire));
        if ended {
            // Past its last step: what is left is the end of the thread itself.
            self.handle.join().ok();
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_ends_a_thread_between_two_steps() {
        let thread = StepThread::spawn("nv-test", || Step::Again).unwrap();
        assert!(thread.stop(Duration::from_secs(10)));
    }

    #[test]
    fn a_step_that_says_stop_ends_the_thread() {
        let thread = StepThread::spawn("nv-test", || Step::Stop).unwrap();
        assert!(thread.stop(Duration::from_secs(10)));
    }

    #[test]
    fn a_wedged_thread_is_let_go_of() {
        let (begun, parked) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
        let (unbegun, seen) = (begun.seen(), parked.seen());
        let thread = StepThread::spawn("nv-test", {
            let (begun, parked) = (Arc::clone(&begun), Arc::clone(&parked));
            move || {
                begun.raise();
                parked.wait(seen, None);
                Step::Stop
            }
        })
        .unwrap();
        begun.wait(unbegun, None);
        assert!(!thread.stop(Duration::from_millis(1)));
        parked.raise();
    }
}
