//! The engine in the service of one element: opened, judged by its ladder, rebuilt, given up.
//!
//! An engine that does not answer is let go of for all who share it, and another one is opened on a thread of its
//! own; the frames that come meanwhile are not prepared, nothing is waited for, and they fail at once. The
//! others find the new engine in the registry. A rebuild that is not wanted any more is broken off; its thread is
//! never waited for.

use super::imp::{CAT, NvInference};
use super::runtime::{OpenError, Runtime};
use crate::clock;
use crate::elements::{self, lock};
use crate::health::{EngineState, Ladder, ModelLoading, Order, Reaction, Redacted};
use crate::infer::{self, ErrorKind, Interrupt};
use crate::time::Monotonic;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

#[derive(Debug, Default)]
pub(super) struct Service {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The model in use, or the last one: a frame that fails still says which model failed it.
    runtime: Option<Arc<Runtime>>,
    ladder: Ladder,
    /// Until its engine is in service and that is said: no frame is given to the engine before.
    rebuild: Option<Rebuild>,
    /// The largest batch of the stream.
    most: usize,
}

/// A rebuild in progress.
struct Rebuild {
    interrupt: Interrupt,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        self.interrupt.set();
        if let Some(thread) = self.thread.take() {
            infer::detach(thread);
        }
    }
}

impl State {
    /// Takes a rebuild out that is not wanted any more. It is told so with the lock held: from then on it changes
    /// nothing here.
    fn cancel(&mut self) -> Option<Rebuild> {
        self.rebuild.take().inspect(|rebuild| rebuild.interrupt.set())
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("ladder", &self.ladder).finish_non_exhaustive()
    }
}

/// What frames find when they come.
pub(super) struct Serving {
    pub(super) runtime: Arc<Runtime>,
    /// Why no engine is asked; `None` if it is.
    pub(super) refusal: Option<Arc<str>>,
}

/// How the engine fares, for the statistics.
pub(super) struct Health {
    pub(super) state: EngineState,
    pub(super) counters: crate::health::LadderStats,
}

impl Service {
    pub(super) fn runtime(&self) -> Option<Arc<Runtime>> {
        lock(&self.state).runtime.clone()
    }

    /// The model, if it is opened, and whether it can be asked.
    pub(super) fn serving(&self) -> Option<Serving> {
        let state = lock(&self.state);
        let runtime = Arc::clone(state.runtime.as_ref()?);
        let last = state.ladder.stats().last_error.as_deref().unwrap_or_default();
        let refusal = match state.ladder.state() {
            EngineState::Ok | EngineState::Degraded if state.rebuild.is_none() => None,
            EngineState::Ok | EngineState::Degraded | EngineState::Rebuilding => {
                Some(format!("the engine is being rebuilt: {last}"))
            }
            EngineState::Failed => Some(format!("the engine has failed: {last}")),
        };
        Some(Serving { runtime, refusal: refusal.map(Arc::from) })
    }

    pub(super) fn health(&self) -> Health {
        let state = lock(&self.state);
        Health { state: state.ladder.state(), counters: state.ladder.stats().clone() }
    }

    /// The largest batch that is to be expected from now on.
    pub(super) fn expect(&self, most: usize) {
        lock(&self.state).most = most;
    }

    /// Breaks a rebuild off.
    pub(super) fn cancel(&self) {
        let rebuild = lock(&self.state).cancel();
        drop(rebuild);
    }

    /// Lets go of everything.
    pub(super) fn close(&self) {
        self.replace(State::default());
    }

    fn set(&self, runtime: Runtime) {
        let state = State { runtime: Some(Arc::new(runtime)), ..State::default() };
        self.replace(state);
    }

    fn replace(&self, state: State) {
        let before = {
            let mut current = lock(&self.state);
            let rebuild = current.cancel();
            (std::mem::replace(&mut *current, state), rebuild)
        };
        drop(before);
    }

    /// Whether what is open is what the settings say, and works.
    fn is_current(&self, settings: &super::settings::Settings) -> bool {
        let state = lock(&self.state);
        state.ladder.state().serves()
            && state.runtime.as_ref().is_some_and(|runtime| runtime.settings == *settings)
    }

    /// Tells the ladder something about `runtime`; nothing if another one has taken its place.
    fn tell(
        &self,
        runtime: &Arc<Runtime>,
        tell: impl FnOnce(&mut Ladder, Monotonic) -> Reaction,
    ) -> Option<Reaction> {
        let mut state = lock(&self.state);
        let is_current = state.runtime.as_ref().is_some_and(|current| Arc::ptr_eq(current, runtime));
        is_current.then(|| tell(&mut state.ladder, clock::now()))
    }
}

impl NvInference {
    /// Opens the model.
    pub(super) fn open(&self) -> Result<(), gst::StateChangeError> {
        let settings = lock(&self.settings).clone();
        if let Some(group) = settings.group() {
            return self.join_group(group);
        }
        let element = self.obj();
        if let Some(model) = settings.model.clone().filter(|model| !model.is_empty()) {
            self.health.report(&*element, None, ModelLoading { model }, 1);
        }
        let began = clock::now();
        let opened = Runtime::open(&settings, elements::plugin_folder().as_deref(), &Interrupt::new());
        let runtime = opened.map_err(|error| {
            self.post_open_error(&error);
            gst::StateChangeError
        })?;
        let model = Redacted(runtime.engine.model());
        gst::info!(CAT, imp = self, "{model:?}, decoder {}", runtime.decoder.kind());
        let ready = runtime.ready(clock::now().since(began));
        self.report_opening(&runtime);
        self.service.set(runtime);
        self.health.report(&*element, None, ready, 1);
        Ok(())
    }

    /// Properties may be set in READY, too, and an engine that has failed has its second chance.
    pub(super) fn reopen_if_needed(&self) -> Result<(), gst::StateChangeError> {
        let settings = lock(&self.settings).clone();
        if let Some(group) = settings.group() {
            self.service.close();
            return self.rejoin_group(group);
        }
        self.leave_group();
        if self.service.is_current(&settings) { Ok(()) } else { self.open() }
    }

    fn post_open_error(&self, error: &OpenError) {
        match error {
            OpenError::NoModel => {
                gst::element_imp_error!(self, gst::ResourceError::Settings, ["{}", Redacted(error)]);
            }
            OpenError::Model(inner) | OpenError::Library(inner) if inner.kind() == ErrorKind::NotFound => {
                gst::element_imp_error!(self, gst::ResourceError::NotFound, ["{}", Redacted(error)]);
            }
            OpenError::Library(_) => {
                gst::element_imp_error!(self, gst::LibraryError::Init, ["{}", Redacted(error)]);
            }
            OpenError::Model(_) => {
                gst::element_imp_error!(self, gst::ResourceError::OpenRead, ["{}", Redacted(error)]);
            }
            _ => gst::element_imp_error!(self, gst::ResourceError::Settings, ["{}", Redacted(error)]),
        }
    }

    /// Tells the ladder how a batch of `runtime` went, and does what it says.
    pub(super) fn note(&self, runtime: &Arc<Runtime>, tell: impl FnOnce(&mut Ladder, Monotonic) -> Reaction) {
        if let Some(reaction) = self.service.tell(runtime, tell) {
            self.react(runtime, reaction);
        }
    }

    /// Looks whether a run that gave no answer still goes on; returns when to look again.
    pub(super) fn watch_engine(&self) -> Option<Monotonic> {
        let runtime = self.service.runtime()?;
        lock(&self.service.state).ladder.look_at()?;
        let running_since = runtime.engine.stats().running_since;
        self.note(&runtime, |ladder, now| ladder.look(running_since, now));
        lock(&self.service.state).ladder.look_at()
    }

    fn react(&self, runtime: &Arc<Runtime>, reaction: Reaction) {
        for event in reaction.events {
            self.health.report(&*self.obj(), None, event, 1);
        }
        let Some(order) = reaction.order else { return };
        gst::warning!(CAT, imp = self, "The engine does not answer: {order:?}");
        runtime.engine.retire();
        if order == Order::Rebuild {
            self.start_rebuild(runtime);
        }
    }

    fn start_rebuild(&self, old: &Arc<Runtime>) {
        let interrupt = Interrupt::new();
        let most = {
            let mut state = lock(&self.service.state);
            if state.ladder.state() != EngineState::Rebuilding {
                return;
            }
            state.rebuild = Some(Rebuild { interrupt: interrupt.clone(), thread: None });
            state.most
        };
        let (element, settings, breaks) = (self.obj().downgrade(), old.settings.clone(), interrupt.clone());
        let body = move || {
            let began = clock::now();
            let opened = catch_unwind(AssertUnwindSafe(|| {
                let folder = elements::plugin_folder();
                let runtime = Runtime::open(&settings, folder.as_deref(), &breaks)?;
                runtime.warm_up(most.max(1), &breaks)?;
                Ok(runtime)
            }));
            let opened = match opened {
                Ok(opened) => opened.map_err(|error: OpenError| error.to_string()),
                Err(_) => Err("opening it panicked".to_owned()),
            };
            if let Some(element) = element.upgrade() {
                element.imp().end_rebuild(opened, &breaks, began);
            }
        };
        let name = format!("nv-rebuild-{}", self.obj().name()).replace('\0', "");
        match std::thread::Builder::new().name(name).spawn(body) {
            Ok(thread) => {
                let mut state = lock(&self.service.state);
                match &mut state.rebuild {
                    Some(rebuild) if !interrupt.is_set() => rebuild.thread = Some(thread),
                    // It has been stopped, or has ended, meanwhile.
                    _ => infer::detach(thread),
                }
            }
            Err(error) => {
                let opened = Err(format!("no thread to open it on: {error}"));
                self.end_rebuild(opened, &interrupt, clock::now());
            }
        }
    }

    /// Puts the rebuilt engine into service, unless nobody wants it any more.
    fn end_rebuild(&self, opened: Result<Runtime, String>, interrupt: &Interrupt, began: Monotonic) {
        let now = clock::now();
        let opened = opened.map(Arc::new);
        let rebuilt = opened.as_ref().ok().map(Arc::clone);
        let (reaction, before) = {
            let mut state = lock(&self.service.state);
            if interrupt.is_set() {
                drop(state);
                return;
            }
            match opened {
                Ok(runtime) => {
                    let before = state.runtime.replace(runtime);
                    (state.ladder.rebuilt(now.since(began)), before)
                }
                Err(detail) => (state.ladder.not_rebuilt(&detail), None),
            }
        };
        drop(before);
        if let Some(runtime) = rebuilt {
            self.set_measured(runtime.last_warm_time());
            self.report_opening(&runtime);
        }
        for event in reaction.events {
            self.health.report(&*self.obj(), None, event, 1);
        }
        // Not before: the next thing said is that the engine has recovered.
        let done = {
            let mut state = lock(&self.service.state);
            if interrupt.is_set() { None } else { state.rebuild.take() }
        };
        drop(done);
        self.outbox.signal.raise();
    }
}
