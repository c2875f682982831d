//! Who runs what: the tasks, the threads, and which thread gets which task.

use super::Shared;
use crate::elements::watcher::Watching;
use crate::time::Monotonic;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a step may take before its task runs apart from the others, and how long tasks wait for threads that do not
/// get on. Time slices of a busy machine are shorter.
pub(super) const PATIENCE: Duration = Duration::from_millis(4);

/// So often must a task run without blocking until it shares a thread again.
const TRUSTED: u8 = 16;

/// How long to wait before another thread is asked for where there was none to be had.
const RETRY: Duration = Duration::from_millis(1);

/// How long tasks wait for threads that do.
pub(super) const LONGEST: Duration = Duration::from_millis(20);

/// What a step wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run again: something was done, and there may be more.
    Again,
    /// Run when woken: something was done, and that was all.
    Done,
    /// Run when woken, or at the time given: there was nothing to do.
    Wait(Option<Monotonic>),
    /// End the task.
    Stop,
}

/// Names a task of a pool; no two of a process have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(pub(crate) u64);

pub(super) type Run = Box<dyn FnMut() -> Next + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits to be woken.
    Idle,
    /// Waits for a thread.
    Ready,
    Running,
    /// Runs, and was woken since it began.
    Woken,
    /// Runs for the last time, and somebody waits for its end.
    Stopping,
    /// Runs for the last time, and nobody waits for its end.
    Abandoned,
}

impl Phase {
    pub(super) fn is_last(self) -> bool {
        matches!(self, Self::Stopping | Self::Abandoned)
    }
}

pub(super) struct Task {
    pub(super) phase: Phase,
    /// What to run; away while it runs.
    pub(super) run: Option<Run>,
    /// It has blocked lately: how often it must run without until that is forgotten.
    pub(super) apart: u8,
    pub(super) due: Option<Monotonic>,
}

pub(super) struct Worker {
    pub(super) handle: JoinHandle<()>,
    pub(super) job: Option<Job>,
}

#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) task: TaskId,
    pub(super) since: Monotonic,
    /// It counts among the threads that are shared.
    pub(super) is_shared: bool,
}

#[derive(Default)]
pub(super) struct Core {
    /// What the names of the threads end with.
    pub(super) name: String,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    /// Who waits for a thread, and since when.
    pub(super) ready: VecDeque<(TaskId, Monotonic)>,
    pub(super) workers: BTreeMap<u64, Worker>,
    pub(super) next_worker: u64,
    /// Who sleeps. The last to fall asleep is the first to be woken, so that those nobody needs stay asleep.
    pub(super) idle: Vec<u64>,
    /// Shared jobs.
    pub(super) sharing: usize,
    /// When one of them began last.
    pub(super) began: Monotonic,
    /// Shared jobs that there may be.
    pub(super) limit: usize,
    pub(super) watching: Option<Watching>,
}

impl Core {
    pub(super) fn wake(&mut self, shared: &Arc<Shared>, id: TaskId, now: Monotonic) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        match task.phase {
            Phase::Idle => {
                task.phase = Phase::Ready;
                task.due = None;
                let is_shared = task.apart == 0;
                if is_shared || !self.give(shared, id, false, now) {
                    self.ready.push_back((id, now));
                }
            }
            Phase::Running => task.phase = Phase::Woken,
            Phase::Ready | Phase::Woken | Phase::Stopping | Phase::Abandoned => {}
        }
    }

    /// Lets as many threads run as may be shared.
    pub(super) fn fill(&mut self, shared: &Arc<Shared>, now: Monotonic) {
        if self.ready.is_empty() {
            return;
        }
        while (self.sharing < self.limit || self.set_apart(now)) && self.give_first(shared, true, now) {}
        // Somebody looks whether those who wait get their turn.
        if let (Some(at), Some(watching)) = (self.overdue_at(now), &self.watching) {
            watching.due_by(Some(at));
        }
    }

    /// When those who wait have done so for too long; `None` if nobody waits. Where there was no thread to be had at
    /// `now`, there may be one later.
    pub(super) fn overdue_at(&self, now: Monotonic) -> Option<Monotonic> {
        let (_, since) = *self.ready.front()?;
        let stuck = self.began.max(since).saturating_add(PATIENCE);
        Some(stuck.min(since.saturating_add(LONGEST)).max(now.saturating_add(RETRY)))
    }

    /// Gives the task that waits longest to a thread. False if there is none, or no thread.
    pub(super) fn give_first(&mut self, shared: &Arc<Shared>, is_shared: bool, now: Monotonic) -> bool {
        let Some((task, _)) = self.ready.front().copied() else { return false };
        let is_given = self.give(shared, task, is_shared, now);
        if is_given {
            self.ready.pop_front();
        }
        is_given
    }

    /// Takes jobs that have blocked out of those that are shared. False if there is none.
    fn set_apart(&mut self, now: Monotonic) -> bool {
        let before = self.sharing;
        for job in self.workers.values_mut().filter_map(|worker| worker.job.as_mut()) {
            if job.is_shared && now.since(job.since) >= PATIENCE {
                job.is_shared = false;
                self.sharing -= 1;
            }
        }
        self.sharing < before
    }

    /// Gives a task to a thread that sleeps, or to another one. False if there is none to be had.
    pub(super) fn give(
        &mut self,
        shared: &Arc<Shared>,
        task: TaskId,
        is_shared: bool,
        now: Monotonic,
    ) -> bool {
        let job = Job { task, since: now, is_shared };
        let is_given = if let Some(worker) = self.idle.pop().and_then(|id| self.workers.get_mut(&id)) {
            worker.job = Some(job);
            worker.handle.thread().unpark();
            true
        } else {
            self.spawn(shared, Some(job)).is_ok()
        };
        self.sharing += usize::from(is_given && is_shared);
        is_given
    }

    pub(super) fn spawn(&mut self, shared: &Arc<Shared>, job: Option<Job>) -> io::Result<()> {
        let me = self.next_worker;
        let shared = Arc::clone(shared);
        let name = format!("nv-src-{me}-{}", self.name);
        let handle = std::thread::Builder::new().name(name).spawn(move || shared.work(me))?;
        self.next_worker += 1;
        self.workers.insert(me, Worker { handle, job });
        if job.is_none() {
            self.idle.push(me);
        }
        Ok(())
    }

    /// What a thread does now: what it was given, or else what waits.
    pub(super) fn pick(&mut self, me: u64, now: Monotonic) -> Option<(TaskId, Run)> {
        let worker = self.workers.get_mut(&me)?;
        if worker.job.is_none() {
            if self.sharing >= self.limit {
                return None;
            }
            let (task, _) = self.ready.pop_front()?;
            worker.job = Some(Job { task, since: now, is_shared: true });
            self.sharing += 1;
            self.idle.retain(|idle| *idle != me);
        }
        let job = worker.job.as_mut()?;
        // It may have taken the thread a while to wake up.
        job.since = now;
        let job = *job;
        if job.is_shared {
            self.began = now;
        }
        let run = self.tasks.get_mut(&job.task).and_then(|task| {
            task.phase = Phase::Running;
            task.run.take()
        });
        if run.is_none() {
            // It was stopped before it began.
            worker.job = None;
            self.sharing -= usize::from(job.is_shared);
            return self.pick(me, now);
        }
        run.map(|run| (job.task, run))
    }

    /// Puts down a task whose step is over. Gives it back if it is not to run again: it is in the books until the
    /// caller has dropped it.
    pub(super) fn put_down(
        &mut self,
        me: u64,
        id: TaskId,
        run: Run,
        next: Next,
        now: Monotonic,
    ) -> Option<Run> {
        let Some(worker) = self.workers.get_mut(&me) else { return Some(run) };
        let Some(job) = worker.job.as_mut() else { return Some(run) };
        let has_blocked = now.since(job.since) >= PATIENCE;
        let was_shared = mem::take(&mut job.is_shared);
        self.sharing -= usize::from(was_shared);
        let Some(task) = self.tasks.get_mut(&id) else { return Some(run) };
        if task.phase.is_last() {
            return Some(run);
        }
        if next == Next::Stop {
            task.phase = Phase::Stopping;
            return Some(run);
        }
        task.run = Some(run);
        if matches!(next, Next::Again | Next::Done) {
            task.apart = if has_blocked { TRUSTED } else { task.apart.saturating_sub(1) };
        }
        if task.phase == Phase::Running && next != Next::Again {
            task.phase = Phase::Idle;
            worker.job = None;
            task.due = if let Next::Wait(due) = next { due } else { None };
            if let (Some(due), Some(watching)) = (task.due, &self.watching) {
                watching.due_by(Some(due));
            }
            return None;
        }
        task.phase = Phase::Ready;
        if was_shared && !has_blocked {
            worker.job = None;
            self.ready.push_back((id, now));
        } else {
            // It has a thread of its own, and stays with it for as long as there is something to do.
            *job = Job { task: id, since: now, is_shared: false };
        }
        None
    }

    /// Takes a task that has run for the last time out of the books. True if nobody waits for that.
    pub(super) fn end(&mut self, me: u64, id: TaskId) -> bool {
        if let Some(worker) = self.workers.get_mut(&me) {
            worker.job = None;
        }
        self.tasks.remove(&id).is_some_and(|task| task.phase == Phase::Abandoned)
    }

    /// Whether there is no task but such as run for the last time.
    pub(super) fn is_over(&self) -> bool {
        self.tasks.values().all(|task| task.phase.is_last())
    }

    /// Takes a task that does not run out of the books.
    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        self.ready.retain(|(ready, _)| *ready != id);
        self.tasks.remove(&id)
    }

    /// Takes from the threads the jobs whose task was stopped before it began.
    pub(super) fn take_back(&mut self) {
        for worker in self.workers.values_mut() {
            if let Some(job) = worker.job.take_if(|job| !self.tasks.contains_key(&job.task)) {
                self.sharing -= usize::from(job.is_shared);
            }
        }
    }

    /// Whether the calling thread is the one that runs a task.
    pub(super) fn is_run_here(&self, id: TaskId) -> bool {
        let here = std::thread::current().id();
        let is_job = |worker: &Worker| worker.job.is_some_and(|job| job.task == id);
        self.workers.values().any(|worker| is_job(worker) && worker.handle.thread().id() == here)
    }
}
