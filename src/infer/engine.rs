//! What the elements see: a model that is loaded, shared and run.

use super::error::InferError;
use super::identity::EngineKey;
use super::interrupt::Interrupt;
use super::model::{Batch, ModelDescription};
use super::provider::Provider;
use super::registry::Registry;
use super::session;
use super::tensor::{self, Input};
use super::tuning::Tuning;
use super::worker::{
    self, Answer, EngineStats, Hold, Holding, Job, Loaded, Purpose, Reply, Shared, Unanswered, Worker,
};
use crossbeam_channel::{Receiver, select};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long dropping an idle engine waits for its session to be released. Busy ones are not waited for.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// All engines of the process.
static ENGINES: Registry<EngineKey, Engine> = Registry::new();

/// How many engines of the process are in service.
#[must_use]
pub fn engines() -> usize {
    ENGINES.len()
}

/// What to open, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// The ONNX file.
    pub model: PathBuf,
    /// A file of labels, one a line; comes before the sidecar's and the metadata's.
    pub labels: Option<PathBuf>,
    /// The ONNX Runtime to load, and no other.
    pub library: Option<PathBuf>,
    /// The plugin's folder, where a `libonnxruntime.so*` may be.
    pub library_beside: Option<PathBuf>,
    /// What runs the graph.
    pub provider: Provider,
    /// Which device of the provider.
    pub device_id: u32,
    /// Threads within one operator; 0 for as many as affinity and quota allow.
    pub threads: u32,
    /// What else changes the session.
    pub tuning: Tuning,
    /// A folder to keep optimised graphs, and what providers build, in; `None` keeps nothing. Not part of what makes
    /// two engines different: it changes how one is loaded, not what it does.
    pub cache_dir: Option<PathBuf>,
    /// How long loading, and then warming up, may take.
    pub startup_timeout: Duration,
}

impl EngineOptions {
    /// The model at that path, on the CPU, everything else by default.
    #[must_use]
    pub fn new(model: impl Into<PathBuf>) -> Self {
        Self {
            model: model.into(),
            labels: None,
            library: None,
            library_beside: None,
            provider: Provider::Cpu,
            device_id: 0,
            threads: 0,
            tuning: Tuning::default(),
            cache_dir: None,
            startup_timeout: Duration::from_secs(30),
        }
    }
}

/// A batch the engine did not take, with all that came with it.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct SubmitError {
    /// Why.
    #[source]
    pub error: InferError,
    /// The batch.
    pub input: Input,
    /// What was to be held while the engine has the batch.
    pub hold: Arc<dyn Hold>,
}

impl fmt::Debug for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitError").field("error", &self.error).finish_non_exhaustive()
    }
}

/// A batch the engine has taken.
///
/// Dropping it gives up the results, not the run.
#[must_use = "the results come from `wait`"]
pub struct Pending {
    reply: Receiver<Answer>,
    retired: Interrupt,
    shared: Arc<Shared>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl Pending {
    /// Waits for the results.
    ///
    /// # Errors
    ///
    /// [`InferError::Run`], [`InferError::Panic`] and [`InferError::Outputs`] are the run's own.
    /// [`InferError::Timeout`] and [`InferError::Interrupted`] end the waiting only: the run goes on and
    /// its results are thrown away. [`InferError::Stopped`] if the engine was retired or its worker is gone.
    pub fn wait(self, interrupt: &Interrupt, timeout: Duration) -> Result<Reply, InferError> {
        self.wait_for_either(interrupt, timeout).map_err(|unanswered| unanswered.error)
    }

    /// The same, and gives the batch back if the run failed, for another try.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub fn wait_for_either(self, interrupt: &Interrupt, timeout: Duration) -> Result<Reply, Unanswered> {
        select! {
            recv(self.reply) -> answer => match answer {
                Ok(Answer { result, place }) => {
                    self.shared.return_place((place, self.reply));
                    result
                }
                Err(_) => Err(InferError::Stopped.into()),
            },
            recv(interrupt.signal()) -> _ => Err(InferError::Interrupted.into()),
            recv(self.retired.signal()) -> _ => Err(InferError::Stopped.into()),
            default(timeout) => Err(InferError::Timeout { limit: timeout }.into()),
        }
    }
}

/// A model that is loaded and can be run, shared by all who opened it alike.
///
/// Dropping the last reference lets the worker release the session. A worker that is in a run is left
/// behind to finish it; an idle one is waited for, at most a second.
pub struct Engine {
    model: ModelDescription,
    /// Taken by `retire` or `drop`.
    worker: Mutex<Option<Worker>>,
    /// What the worker has not begun yet.
    queued: Receiver<Job>,
    /// Set when it is retired.
    retired: Interrupt,
    shared: Arc<Shared>,
    startup_timeout: Duration,
    /// Cores that a run keeps busy.
    threads: usize,
    /// The time of a warm run, by batch size.
    warm: Mutex<BTreeMap<usize, Duration>>,
    /// `None` for one that is not in the registry.
    key: Option<EngineKey>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the model, or shares the engine somebody else in the process has opened it with.
    ///
    /// Shared means the same files (by path, length, time and inode: an overwritten model is another
    /// one) and the same options. Blocks until the model is loaded, at most `startup_timeout`.
    ///
    /// # Errors
    ///
    /// Whatever of [`InferError`] is in the way, with what was expected and found.
    pub fn open(options: &EngineOptions) -> Result<Arc<Self>, InferError> {
        Self::open_unless(options, &Interrupt::new())
    }

    /// The same, but the loading is broken off when `interrupt` is set: it goes on by itself and its session is
    /// dropped. Waiting for somebody else's loading is not broken off.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], or [`InferError::Interrupted`].
    pub fn open_unless(options: &EngineOptions, interrupt: &Interrupt) -> Result<Arc<Self>, InferError> {
        let key = EngineKey::of(options)?;
        ENGINES.get_or_open(&key, options.startup_timeout, || {
            let options = options.clone();
            let (limit, load) = (options.startup_timeout, move || load(&options));
            Self::start(load, limit, Some(key.clone()), interrupt)
        })
    }

    /// Starts an engine of what `load` loads on the engine's own thread.
    pub(super) fn start(
        load: impl FnOnce() -> Result<Loaded, InferError> + Send + 'static,
        startup_timeout: Duration,
        key: Option<EngineKey>,
        interrupt: &Interrupt,
    ) -> Result<Arc<Self>, InferError> {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let name = format!("nv-infer-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::<Shared>::default();
        let (model, worker) = Worker::start(&name, load, startup_timeout, Arc::clone(&shared), interrupt)?;
        Ok(Arc::new(Self {
            model,
            queued: worker.queued.clone(),
            worker: Mutex::new(Some(worker)),
            retired: Interrupt::new(),
            shared,
            startup_timeout,
            threads: key.as_ref().map_or(1, EngineKey::cores),
            warm: Mutex::default(),
            key,
        }))
    }

    /// What is known about the model.
    #[must_use]
    pub const fn model(&self) -> &ModelDescription {
        &self.model
    }

    /// Elements in one row of the input.
    #[must_use]
    pub const fn row_len(&self) -> usize {
        self.model.row_len
    }

    /// The most frames one batch may have, if the model, or what was built for it, sets a limit.
    #[must_use]
    pub const fn max_batch(&self) -> Option<usize> {
        match self.model.batch {
            Batch::Fixed(fixed) => Some(fixed),
            Batch::Dynamic => self.model.opened.limit,
        }
    }

    /// Cores that the engine keeps busy right now.
    #[must_use]
    pub fn busy_threads(&self) -> usize {
        if self.shared.stats.lock().running_since.is_some() { self.threads } else { 0 }
    }

    /// What the engine has done so far.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.shared.stats.lock().clone()
    }

    /// A buffer for a batch of `batch` frames, reused if there is one to spare.
    ///
    /// The rows hold anything, all of them are to be written; rows that pad a fixed batch are zero.
    ///
    /// # Errors
    ///
    /// [`InferError::Input`] for no frames, more than [`Engine::max_batch`], or more than
    /// [`MAX_TENSOR_BYTES`](super::MAX_TENSOR_BYTES).
    pub fn input(&self, batch: usize) -> Result<Input, InferError> {
        self.shared.pool.input(&self.model, batch)
    }

    /// A batch of its own of the rows `rows` of `input`.
    ///
    /// # Errors
    ///
    /// [`InferError::Input`] for rows that are not there, otherwise as [`Self::input`].
    pub fn part(&self, input: &Input, rows: Range<usize>) -> Result<Input, InferError> {
        self.shared.pool.part(&self.model, input, rows)
    }

    /// Takes the engine out of service for all who share it: nobody finds it any more, who waits for it gets
    /// [`InferError::Stopped`], and what its batches hold is let go of. Its worker ends when it can, which is never
    /// for a run that never returns: see [`detached_threads`](super::detached_threads). Does not wait.
    pub fn retire(&self) {
        if let Some(key) = &self.key {
            ENGINES.forget(key, self);
        }
        self.retired.set();
        self.shared.retired.store(true, Ordering::Release);
        let worker = self.worker.lock().take();
        self.drop_queued();
        worker::let_go(&self.shared);
        if let Some(worker) = worker {
            worker.end(&self.shared, Duration::ZERO);
        }
    }

    fn drop_queued(&self) {
        drop(self.queued.try_iter().collect::<Vec<_>>());
    }

    /// Takes back a buffer that was not submitted.
    pub fn recycle(&self, input: Input) {
        if input.data.element() == self.model.element {
            self.shared.pool.return_input(input);
        }
    }

    /// Hands a batch to the worker. Blocks while one runs and another waits.
    ///
    /// `hold` is dropped when the engine has let go of the batch: after the run and before its results
    /// can be seen, or whenever a run that nobody waits for ends.
    ///
    /// # Errors
    ///
    /// A [`SubmitError`] gives everything back. Its error is [`InferError::Input`] for a batch that does
    /// not suit the model, [`InferError::Interrupted`], [`InferError::Timeout`] after `timeout`, or
    /// [`InferError::Stopped`] of an engine that was retired.
    pub fn submit(
        &self,
        input: Input,
        hold: Arc<dyn Hold>,
        interrupt: &Interrupt,
        timeout: Duration,
    ) -> Result<Pending, Box<SubmitError>> {
        self.ask(input, hold, Purpose::Frames, interrupt, timeout)
    }

    fn ask(
        &self,
        input: Input,
        hold: Arc<dyn Hold>,
        purpose: Purpose,
        interrupt: &Interrupt,
        timeout: Duration,
    ) -> Result<Pending, Box<SubmitError>> {
        let (reply, answer) = self.shared.place();
        let job = Job { input, hold: Holding(Some(hold)), purpose, reply };
        self.hand_over(job, interrupt, timeout)?;
        Ok(Pending { reply: answer, retired: self.retired.clone(), shared: Arc::clone(&self.shared) })
    }

    fn hand_over(&self, job: Job, interrupt: &Interrupt, timeout: Duration) -> Result<(), Box<SubmitError>> {
        let refuse = |error: InferError, mut job: Job| {
            let hold = job.hold.0.take().unwrap_or_else(|| Arc::new(()));
            Err(Box::new(SubmitError { error, input: job.input, hold }))
        };
        if let Err(error) = self.check(&job.input) {
            return refuse(error, job);
        }
        let living = self
            .worker
            .lock()
            .as_ref()
            .filter(|worker| worker.lives_here())
            .map(|worker| worker.jobs.clone());
        let Some(jobs) = living else { return refuse(InferError::Stopped, job) };
        // With room and interrupt both there, the choice below is by chance.
        if interrupt.is_set() {
            return refuse(InferError::Interrupted, job);
        }
        // The job is moved only when its turn has come.
        let mut job = Some(job);
        let refused = select! {
            send(jobs, job.take().expect("it is handed over once")) -> sent => match sent {
                Ok(()) => {
                    // It may have been retired at that very moment, and then nobody takes the job out again.
                    if self.retired.is_set() {
                        self.drop_queued();
                    }
                    return Ok(());
                }
                Err(unsent) => return refuse(InferError::Stopped, unsent.into_inner()),
            },
            recv(interrupt.signal()) -> _ => InferError::Interrupted,
            recv(self.retired.signal()) -> _ => InferError::Stopped,
            default(timeout) => InferError::Timeout { limit: timeout },
        };
        job.map_or(Ok(()), |job| refuse(refused, job))
    }

    fn check(&self, input: &Input) -> Result<(), InferError> {
        let rows = tensor::rows(&self.model, input.batch)?;
        let (expected, found) = (rows * self.model.row_len, input.data.len());
        if found == expected && input.data.element() == self.model.element {
            return Ok(());
        }
        Err(InferError::Input {
            detail: format!(
                "expected {expected} elements of {} for {} frames, found {found} of {}",
                self.model.element,
                input.batch,
                input.data.element()
            ),
        })
    }

    /// Runs black images in batches of every size in `sizes`, twice, and returns how long the second
    /// run of each took: the first one allocates. A size that was run before is not run again.
    ///
    /// # Errors
    ///
    /// [`InferError::StartupTimeout`] if a run takes longer than `startup_timeout`, otherwise as
    /// [`Engine::input`] and [`Pending::wait`].
    pub fn warm_up(
        &self,
        sizes: &[usize],
        interrupt: &Interrupt,
    ) -> Result<Vec<(usize, Duration)>, InferError> {
        sizes.iter().map(|size| Ok((*size, self.warm_time(*size, interrupt)?))).collect()
    }

    fn warm_time(&self, size: usize, interrupt: &Interrupt) -> Result<Duration, InferError> {
        let known = self.warm.lock().get(&size).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        self.warm_run(size, interrupt)?;
        let time = self.warm_run(size, interrupt)?;
        self.warm.lock().insert(size, time);
        Ok(time)
    }

    fn warm_run(&self, size: usize, interrupt: &Interrupt) -> Result<Duration, InferError> {
        let limit = self.startup_timeout;
        let mut input = self.input(size)?;
        input.data.clear_to_zero();
        let reply = self
            .ask(input, Arc::new(()), Purpose::WarmUp, interrupt, limit)
            .map_err(|refused| refused.error)
            .and_then(|pending| pending.wait(interrupt, limit));
        match reply {
            Ok(reply) => Ok(reply.ended.since(reply.started)),
            Err(InferError::Timeout { limit }) => Err(InferError::StartupTimeout { limit }),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            ENGINES.forget(key, self);
        }
        let worker = self.worker.lock().take();
        if let Some(worker) = worker {
            worker.end(&self.shared, RELEASE_LIMIT);
        }
    }
}

fn load(options: &EngineOptions) -> Result<Loaded, InferError> {
    #[cfg(any(test, feature = "testing"))]
    if let Some(loaded) = super::script::load(&options.model) {
        return loaded;
    }
    session::load(options)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
