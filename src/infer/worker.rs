//! The thread that owns a session.
//!
//! One named thread loads the model, runs batches one after the other, and releases the session. It is
//! handed batches through a channel of one place, so while one runs the next can wait there and a third
//! submitter is held back. An error or a panic in a run is the answer to that batch and to no other. The
//! thread ends when every sender is gone; a run that never returns keeps it and its batch, and nobody else: what
//! the batch holds is let go of when the engine is retired. A thread that is left behind is counted, and joined
//! when it has ended.

use super::error::{InferError, panic_message};
use super::interrupt::Interrupt;
use super::model::{Batch, ModelDescription};
use super::tensor::{Input, Outputs, Pool};
use crate::clock;
use crate::time::Monotonic;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What runs a batch: a session, or a script in tests. Made, used and dropped on the worker's thread.
pub(super) trait Backend {
    /// Runs `input` and writes the results into `outputs`, which may hold those of an earlier run. A session
    /// learns from the `purpose` at most which sizes of batch are warmed up.
    ///
    /// # Errors
    ///
    /// [`InferError::Run`] or [`InferError::Outputs`].
    fn run(&mut self, input: &Input, purpose: Purpose, outputs: &mut Outputs) -> Result<(), InferError>;
}

/// A loaded model and what runs it.
pub(super) type Loaded = (ModelDescription, Box<dyn Backend>);

/// What an engine has done so far. Warm-up does not count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineStats {
    /// Runs that gave results.
    pub runs: u64,
    /// Frames in those runs.
    pub frames: u64,
    /// Runs that failed or panicked.
    pub errors: u64,
    /// Time spent in runs of both sorts.
    pub busy: Duration,
    /// Since when the run in progress, if any, has been running, warm-up included.
    pub running_since: Option<Monotonic>,
    /// Why the last failed run failed.
    pub last_error: Option<InferError>,
}

/// What the worker and the users of its engine share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) stats: Mutex<EngineStats>,
    /// What the batch in the run in progress holds.
    pub(super) held: Mutex<Option<Holding>>,
    /// Places for answers that nobody will put anything into any more.
    places: Mutex<Vec<Place>>,
    /// Nobody waits for a run that begins now, nor would anybody let go of what its batch holds.
    pub(super) retired: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// Most places kept for another answer: as many as batches can be on their way, and some.
const SPARE_PLACES: usize = 8;

impl Shared {
    /// An empty place for an answer.
    pub(super) fn place(&self) -> Place {
        self.places.lock().pop().unwrap_or_else(|| bounded(1))
    }

    /// Takes back a place whose answer has been taken out.
    pub(super) fn return_place(&self, place: Place) {
        let mut places = self.places.lock();
        if places.len() < SPARE_PLACES {
            places.push(place);
        }
    }
}

/// Results of one run.
///
/// Its buffers go back to the engine when it is dropped: copy what is to be kept.
#[derive(Debug)]
pub struct Reply {
    /// The model's outputs; padding rows of a fixed batch are cut off.
    pub outputs: Outputs,
    /// When the run began.
    pub started: Monotonic,
    /// When the run ended.
    pub ended: Monotonic,
    shared: Arc<Shared>,
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.shared.pool.return_outputs(std::mem::take(&mut self.outputs));
    }
}

/// Why a batch has no results.
#[derive(Debug)]
pub struct Unanswered {
    /// What went wrong.
    pub error: InferError,
    /// The batch, if the engine has let go of it.
    pub input: Option<Input>,
}

impl From<InferError> for Unanswered {
    fn from(error: InferError) -> Self {
        Self { error, input: None }
    }
}

/// Whether a run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Frames,
    WarmUp,
}

/// What is to be kept while the engine has a batch, such as claims on the queues behind it.
///
/// Shared, so that who made it can use its memory again once the engine has let go of it.
pub trait Hold: Send + Sync {
    /// Lets go of what is held. Called when the engine has done with the batch, on whichever thread that is.
    fn let_go(&self);
}

/// Nothing is held.
impl Hold for () {
    fn let_go(&self) {}
}

/// Whatever is dropped when it is let go of.
impl<T: Send> Hold for Mutex<Option<T>> {
    fn let_go(&self) {
        let held = self.lock().take();
        drop(held);
    }
}

/// Lets go of what it holds when it is dropped, once.
pub(super) struct Holding(pub(super) Option<Arc<dyn Hold>>);

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(hold) = self.0.take() {
            hold.let_go();
        }
    }
}

/// The answer to a batch, with the place that it was put into: whoever takes it out can use the place again.
pub(super) struct Answer {
    pub(super) result: Result<Reply, Unanswered>,
    pub(super) place: Sender<Self>,
}

/// A place for one answer, and where it is looked for.
pub(super) type Place = (Sender<Answer>, Receiver<Answer>);

/// A batch on its way to the worker.
pub(super) struct Job {
    pub(super) input: Input,
    pub(super) hold: Holding,
    pub(super) purpose: Purpose,
    /// One place, one answer: sending never blocks.
    pub(super) reply: Sender<Answer>,
}

impl Job {
    fn answer(reply: Sender<Answer>, result: Result<Reply, Unanswered>) {
        let place = reply.clone();
        // Whoever waited may be gone; the buffers of results go back to the pool all the same.
        reply.send(Answer { result, place }).ok();
    }
}

/// Threads nobody waits for.
static DETACHED: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Leaves a thread to end by itself, counted as long as it lives.
pub(crate) fn detach(thread: JoinHandle<()>) {
    DETACHED.lock().push(thread);
    detached_threads();
}

/// How many threads of this process are left to end by themselves and have not: those in a run or a loading that
/// nobody waits for any more.
pub fn detached_threads() -> usize {
    let ended: Vec<_> = {
        let mut threads = DETACHED.lock();
        let (ended, alive) = threads.drain(..).partition(JoinHandle::is_finished);
        *threads = alive;
        ended
    };
    for thread in ended {
        // Past its last instruction: this does not wait.
        thread.join().ok();
    }
    DETACHED.lock().len()
}

/// A worker that has loaded its model.
pub(super) struct Worker {
    pub(super) jobs: Sender<Job>,
    /// The other end, to take back what the thread has not begun.
    pub(super) queued: Receiver<Job>,
    handle: JoinHandle<()>,
    /// Disconnects when the session is released.
    released: Receiver<Infallible>,
    process: u32,
}

impl Worker {
    /// Starts the thread `name`, loads the model on it, and waits for that at most `limit`.
    ///
    /// # Errors
    ///
    /// What `load` returned; [`InferError::StartupTimeout`] and [`InferError::Interrupted`], with the thread left
    /// to finish by itself and its session dropped there; [`InferError::Spawn`]; [`InferError::Panic`].
    pub(super) fn start(
        name: &str,
        load: impl FnOnce() -> Result<Loaded, InferError> + Send + 'static,
        limit: Duration,
        shared: Arc<Shared>,
        interrupt: &Interrupt,
    ) -> Result<(ModelDescription, Self), InferError> {
        let (jobs, incoming) = bounded(1);
        let queued = incoming.clone();
        let (ready, loaded) = bounded(1);
        let (releasing, released) = bounded(0);
        let body = move || {
            let backend = match guarded(load) {
                Ok((model, backend)) => {
                    let batch = model.batch;
                    // Nobody waits any more: the session goes right here.
                    ready.send(Ok(model)).ok().map(|()| (batch, backend))
                }
                Err(error) => {
                    ready.send(Err(error)).ok();
                    None
                }
            };
            drop(ready);
            if let Some((batch, backend)) = backend {
                serve(batch, backend, &incoming, &shared);
            }
            drop::<Sender<Infallible>>(releasing);
        };
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|error| InferError::Spawn { name: name.to_owned(), detail: error.to_string() })?;
        let given_up = select! {
            recv(loaded) -> model => {
                let model = model.unwrap_or(Err(InferError::Stopped))?;
                return Ok((model, Self { jobs, queued, handle, released, process: std::process::id() }));
            }
            recv(interrupt.signal()) -> _ => InferError::Interrupted,
            default(limit) => InferError::StartupTimeout { limit },
        };
        // Before the thread is counted: what it loads is dropped there at once.
        drop(loaded);
        detach(handle);
        Err(given_up)
    }

    /// Whether this is still the process the worker was started in: a fork does not copy threads.
    pub(super) fn lives_here(&self) -> bool {
        self.process == std::process::id()
    }

    /// Lets the worker end. Waits for the session's release, but for no run and no longer than `limit`.
    pub(super) fn end(self, shared: &Shared, limit: Duration) {
        let here = self.lives_here();
        let Self { jobs, queued, handle, released, .. } = self;
        let idle = jobs.is_empty() && shared.stats.lock().running_since.is_none();
        drop((jobs, queued));
        // What a batch holds may be the last user of the engine, and is dropped on the worker itself.
        let own_thread = handle.thread().id() == thread::current().id();
        let ended = here
            && idle
            && !own_thread
            && released.recv_timeout(limit).is_err_and(|error| error.is_disconnected());
        if ended {
            // Nothing is left to do on it but to return. Its panics are caught inside.
            handle.join().ok();
        } else if here && !own_thread {
            detach(handle);
        }
    }
}

/// Calls `body` and makes a panic in it an error.
fn guarded<T>(body: impl FnOnce() -> Result<T, InferError>) -> Result<T, InferError> {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(InferError::Panic { detail: panic_message(&*panic) }))
}

fn serve(batch: Batch, mut backend: Box<dyn Backend>, incoming: &Receiver<Job>, shared: &Arc<Shared>) {
    for job in incoming {
        answer(batch, &mut *backend, job, shared);
    }
    guarded(|| {
        drop(backend);
        Ok(())
    })
    .ok();
}

fn answer(batch: Batch, backend: &mut dyn Backend, job: Job, shared: &Arc<Shared>) {
    let Job { input, hold, purpose, reply } = job;
    let started = clock::now();
    *shared.held.lock() = Some(hold);
    // Not before: what retires the engine sets this, then takes what is held.
    if shared.retired.load(Ordering::Acquire) {
        let_go(shared);
        Job::answer(reply, Err(InferError::Stopped.into()));
        return;
    }
    shared.stats.lock().running_since = Some(started);
    let mut outputs = shared.pool.outputs();
    let result = guarded(|| backend.run(&input, purpose, &mut outputs));
    let ended = clock::now();
    count(&mut shared.stats.lock(), purpose, input.batch, &result, ended.since(started));
    if let Batch::Fixed(fixed) = batch {
        let padded = outputs.tensors.iter_mut().filter(|tensor| tensor.shape.first() == Some(&fixed));
        padded.for_each(|tensor| tensor.keep_rows(input.batch));
    }
    let_go(shared);
    let results = Reply { outputs, started, ended, shared: Arc::clone(shared) };
    let answer = match result {
        Ok(()) => {
            shared.pool.return_input(input);
            Ok(results)
        }
        Err(error) => Err(Unanswered { error, input: Some(input) }),
    };
    Job::answer(reply, answer);
}

/// Drops what the batch in the run in progress holds.
pub(super) fn let_go(shared: &Shared) {
    let held = shared.held.lock().take();
    guarded(|| {
        drop(held);
        Ok(())
    })
    .ok();
}

fn count(
    stats: &mut EngineStats,
    purpose: Purpose,
    frames: usize,
    result: &Result<(), InferError>,
    took: Duration,
) {
    stats.running_since = None;
    if purpose == Purpose::WarmUp {
        return;
    }
    stats.busy = stats.busy.saturating_add(took);
    match result {
        Ok(()) => {
            stats.runs += 1;
            stats.frames += frames as u64;
        }
        Err(error) => {
            stats.errors += 1;
            stats.last_error = Some(error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::super::tensor::InputData;
    use super::*;

    #[test]
    fn a_retired_engine_begins_no_run_that_it_could_keep_the_batch_of() {
        let (mut script, stage) = fake::script(Vec::new());
        let shared = Arc::<Shared>::default();
        shared.retired.store(true, Ordering::Release);
        let (hold, held) = bounded::<()>(0);
        let (reply, answered) = bounded(1);
        let input = Input { data: InputData::F32(vec![0.0; 6]), batch: 1 };
        let hold = Holding(Some(Arc::new(Mutex::new(Some(hold)))));
        let job = Job { input, hold, purpose: Purpose::Frames, reply };
        answer(Batch::Dynamic, &mut script, job, &shared);
        assert!(stage.began.is_empty());
        assert!(held.try_recv().is_err_and(|error| error.is_disconnected()));
        assert_eq!(answered.recv().unwrap().result.unwrap_err().error, InferError::Stopped);
    }
}
