//! Threads that take the tasks of many feeds in turn.
//!
//! A thread for each feed would be woken for each frame, and what it works with would be cold each time. Here as many
//! threads as there are cores share the tasks. A task may block for as long as it likes all the same: one that has blocked
//! lately runs apart from the others, in a thread that does not count, and everyone who waits gets a thread where none of
//! those that are shared has got on for [`books::PATIENCE`], or after [`books::LONGEST`]. So a task that blocks holds up
//! the others once, and for no longer than that.

mod books;

use crate::clock;
use crate::elements::signal::Signal;
use crate::elements::watcher::{self, Watched};
use crate::time::Monotonic;
use books::{Core, Phase, Run, Task, Worker};
pub(crate) use books::{Next, TaskId};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

struct Shared {
    core: Mutex<Core>,
    /// Raised when a task that is stopping has ended.
    ended: Signal,
    /// How long a thread without work stays.
    idle_for: Duration,
}

/// Threads and the tasks they share. Those that run when it is dropped end with their step.
pub(crate) struct Pool(Arc<Shared>);

impl Default for Pool {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(cores.max(2), IDLE)
    }
}

impl Pool {
    /// One with so many threads that are shared, which stay for so long without work.
    fn new(limit: usize, idle_for: Duration) -> Self {
        let core = Core { limit, ..Core::default() };
        Self(Arc::new(Shared { core: Mutex::new(core), ended: Signal::default(), idle_for }))
    }

    /// Adds a task, which runs when it is first woken. Linux shows the first 15 bytes of the names of threads:
    /// `nv-src-<n>-<name>`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn add(&self, name: &str, run: impl FnMut() -> Next + Send + 'static) -> io::Result<TaskId> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = TaskId(IDS.fetch_add(1, Ordering::Relaxed));
        let mut core = self.0.core.lock();
        if core.watching.is_none() {
            core.watching = Some(watcher::watch(&self.0)?);
        }
        if core.workers.is_empty() {
            core.name = name.replace('\0', "");
            if let Err(error) = core.spawn(&self.0, None) {
                let unneeded = if core.is_over() { core.watching.take() } else { None };
                drop(core);
                drop(unneeded);
                return Err(error);
            }
        }
        let task = Task { phase: Phase::Idle, run: Some(Box::new(run)), apart: 0, due: None };
        core.tasks.insert(id, task);
        Ok(id)
    }

    /// There may be something to do for these tasks. Ids of tasks that have ended do no harm.
    pub(crate) fn wake(&self, tasks: impl IntoIterator<Item = TaskId>) {
        let now = clock::now();
        let mut core = self.0.core.lock();
        for id in tasks {
            core.wake(&self.0, id, now);
        }
        core.fill(&self.0, now);
    }

    /// Ends a task and waits for its step, if one runs, at most `within`. False if that still runs: it is let go of. A
    /// task may stop itself. With the last task the threads end.
    pub(crate) fn stop(&self, id: TaskId, within: Duration) -> bool {
        let mut core = self.0.core.lock();
        let waits = !core.is_run_here(id);
        let removed = match core.tasks.get_mut(&id) {
            Some(task) if matches!(task.phase, Phase::Idle | Phase::Ready) => core.remove(id),
            Some(task) => {
                task.phase = if waits { Phase::Stopping } else { Phase::Abandoned };
                None
            }
            None => None,
        };
        drop(core);
        drop(removed);
        let has_ended = || !self.0.core.lock().tasks.contains_key(&id);
        let ended = !waits || self.0.ended.wait_until(within, has_ended) || !self.0.abandon(id);
        self.0.leave_if_over();
        ended
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut core = self.0.core.lock();
        let all = mem::take(&mut core.tasks).into_iter();
        let (waiting, mut running): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.partition(|(_, task)| matches!(task.phase, Phase::Idle | Phase::Ready));
        running.values_mut().for_each(|task| task.phase = Phase::Abandoned);
        core.tasks = running;
        core.ready.clear();
        drop(core);
        drop(waiting);
        self.0.leave_if_over();
    }
}

impl Shared {
    /// What a thread does.
    fn work(self: &Arc<Self>, me: u64) {
        let mut done = None;
        while let Some((task, mut run)) = self.turn(me, done.take()) {
            let next = catch_unwind(AssertUnwindSafe(&mut run)).unwrap_or(Next::Stop);
            done = Some((task, run, next));
        }
    }

    /// Puts down what a thread has done and gives it something else to do; `None` if it is to end.
    fn turn(self: &Arc<Self>, me: u64, done: Option<(TaskId, Run, Next)>) -> Option<(TaskId, Run)> {
        let mut now = clock::now();
        let mut core = self.core.lock();
        if let Some((task, run, next)) = done
            && let Some(over) = core.put_down(me, task, run, next, now)
        {
            // What the task holds may call back when it is dropped. Only then has it ended.
            MutexGuard::unlocked(&mut core, || catch_unwind(AssertUnwindSafe(|| drop(over))).ok());
            let is_abandoned = core.end(me, task);
            self.ended.raise();
            if is_abandoned && core.is_over() {
                core.workers.remove(&me);
                return None;
            }
        }
        let idle_since = now;
        loop {
            let job = core.pick(me, now);
            // What it has put down may be for somebody else to take, or leave room for another one.
            core.fill(self, now);
            if job.is_some() {
                return job;
            }
            // That may have been this thread.
            if core.workers.get(&me)?.job.is_none() {
                if now.since(idle_since) >= self.idle_for {
                    core.workers.remove(&me);
                    core.idle.retain(|idle| *idle != me);
                    return None;
                }
                if !core.idle.contains(&me) {
                    core.idle.push(me);
                }
                MutexGuard::unlocked(&mut core, || std::thread::park_timeout(self.idle_for));
                now = clock::now();
            }
        }
    }

    /// Lets go of a task that still runs. False if it has ended.
    fn abandon(&self, id: TaskId) -> bool {
        let mut core = self.core.lock();
        let task = core.tasks.get_mut(&id);
        task.map(|task| task.phase = Phase::Abandoned).is_some()
    }

    /// Ends the threads if there is no task, and waits for those that have no step to finish first.
    fn leave_if_over(&self) {
        let mut core = self.core.lock();
        if !core.is_over() {
            return;
        }
        let watching = core.watching.take();
        core.take_back();
        let (kept, leaving) =
            mem::take(&mut core.workers).into_iter().partition(|(_, worker)| worker.job.is_some());
        core.workers = kept;
        core.idle.clear();
        drop(core);
        // Waits for a check that may be in need of the lock.
        drop(watching);
        let leaving: BTreeMap<_, Worker> = leaving;
        for worker in leaving.values() {
            worker.handle.thread().unpark();
        }
        for worker in leaving.into_values() {
            worker.handle.join().ok();
        }
    }
}

impl Watched for Shared {
    fn check(self: Arc<Self>, now: Monotonic) -> Option<Monotonic> {
        let mut core = self.core.lock();
        let is_due = |task: &Task| task.phase == Phase::Idle && task.due.is_some_and(|due| due <= now);
        let due: Vec<_> = core.tasks.iter().filter(|(_, task)| is_due(task)).map(|(id, _)| *id).collect();
        for id in due {
            core.wake(&self, id, now);
        }
        let is_overdue = core.overdue_at(Monotonic::ZERO).is_some_and(|at| at <= now);
        while is_overdue && core.give_first(&self, false, now) {}
        core.fill(&self, now);
        let timers = core.tasks.values().filter(|task| task.phase == Phase::Idle).filter_map(|task| task.due);
        timers.chain(core.overdue_at(now)).min()
    }

    fn slack(&self) -> Duration {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests;
