//! Runs a site: one pipeline with one `nvruntime`, until a signal, its end or a failure.
//!
//! Whatever may block (playing, reading the file again, draining, stopping) is done in a thread of its own; the main
//! thread only waits for what [`Conductor`] is to hear of, and for its deadlines. Not guaranteed: that such a thread
//! ends. If an element hangs, the process is ended with it in there.

use crate::conduct::{Conductor, Happening, Order, reason_of};
use crate::log::{self, Panics};
use crate::notify::Notifier;
use crate::signals::{self, Signal};
use crate::{Outcome, check};
use glib::prelude::*;
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::elements::message::health_of;
use gstnextvision::elements::nvruntime::NvRuntime;
use gstnextvision::health::{self, Event, Severity, Value};
use gstnextvision::metrics::Ledger;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;
use tracing::{debug, error, info, warn};

/// The element that does everything.
const RUNTIME: &str = "nvruntime";

/// Name of its messages about its phase.
const PHASE_MESSAGE: &str = "nv-runtime";

/// How often the main thread shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Runs the site of the command line; returns when it is over.
pub(crate) fn run(arguments: &crate::Run) -> Outcome {
    let (tell, happenings) = mpsc::channel();
    let to_signals = tell.clone();
    // Before anything that takes time. Whoever runs has gone at the end, and nobody needs to hear then.
    if let Err(error) =
        signals::stop_and_reload(move |signal| drop(to_signals.send(Happening::Signal(signal))))
    {
        return Outcome::Wrong(vec![format!("nextvision: no signal handlers: {error}")]);
    }
    let panics = Panics::watch();
    let options = log::Options {
        filter: arguments.log.clone(),
        format: arguments.log_format,
        gst_debug: arguments.gst_debug.clone(),
    };
    let filter = match log::start(&options) {
        Ok(filter) => filter,
        Err(error) => return Outcome::Wrong(vec![format!("nextvision: {error}")]),
    };
    let course = catch_unwind(AssertUnwindSafe(|| course_of(arguments, &filter, tell, &happenings)));
    // The hook has seen the panic, too.
    let end = course.unwrap_or(End::Over { failure: None, hangs: true });
    conclude(end, &panics, arguments.log_format)
}

/// How a run ended.
enum End {
    /// It never began: what is wrong with the file, line by line.
    Wrong(Vec<String>),
    /// It began.
    Over {
        failure: Option<String>,
        /// Whether something of it still hangs.
        hangs: bool,
    },
}

fn failed(reason: impl Into<String>) -> End {
    End::Over { failure: Some(reason.into()), hangs: false }
}

/// Says the last word. Does not return if something hangs: what the C library runs as a process ends would wait for it.
fn conclude(end: End, panics: &Panics, format: log::Format) -> Outcome {
    let (failure, hangs) = match end {
        End::Wrong(problems) => {
            log::finish(None, format);
            return Outcome::Wrong(problems);
        }
        End::Over { failure, hangs } => (failure, hangs),
    };
    let reasons = failure.into_iter().chain(panics.verdict()).collect::<Vec<_>>().join("; and ");
    let is_failure = !reasons.is_empty();
    if !is_failure {
        info!("ended");
    }
    log::finish(is_failure.then_some(reasons.as_str()), format);
    if hangs {
        signal_hook::low_level::exit(i32::from(is_failure));
    }
    if is_failure { Outcome::Failed } else { Outcome::Well }
}

fn course_of(
    arguments: &crate::Run,
    filter: &log::Filter,
    tell: Sender<Happening>,
    happenings: &Receiver<Happening>,
) -> End {
    let site = match check::read(&arguments.site) {
        Ok(site) => site,
        Err(problems) => return End::Wrong(problems),
    };
    if let Err(error) = gst::init() {
        return failed(format!("GStreamer does not start: {error}"));
    }
    log::set_gst_thresholds(filter, arguments.gst_debug.as_deref());
    if let Err(error) = gstnextvision::plugin_register_static() {
        return failed(format!("the plugin cannot be registered: {error}"));
    }
    match Run::new(arguments, site.runtime.drain_timeout, tell) {
        Ok(run) => run.conduct(happenings),
        Err(reason) => failed(reason),
    }
}

/// A run: what it is made of.
struct Run {
    pipeline: gst::Pipeline,
    runtime: gst::Element,
    tell: Sender<Happening>,
    /// In nanoseconds: written by threads that have asked the runtime.
    drain_timeout: Arc<AtomicU64>,
    /// When the main thread was last seen.
    seen: Arc<AtomicU64>,
    notifier: Notifier,
}

impl Run {
    fn new(arguments: &crate::Run, drain_timeout: Duration, tell: Sender<Happening>) -> Result<Self, String> {
        // The page has it as its title, and messages as their source.
        let name = arguments.site.file_stem().unwrap_or_default().to_string_lossy();
        let runtime = gst::ElementFactory::make(RUNTIME).name(&*name).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.set_property("config", path_text(arguments)?);
        if let Some(address) = arguments.metrics_address {
            runtime.set_property("metrics-address", address.to_string());
        }
        let pipeline = gst::Pipeline::with_name("nextvision");
        // Feeds come and go: none of their clocks may be the pipeline's.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        pipeline.add(&runtime).map_err(|error| error.to_string())?;
        let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
        let to_bus = tell.clone();
        bus.set_sync_handler(move |_, message| {
            if let Some(happening) = hear(message) {
                to_bus.send(happening).ok();
            }
            gst::BusSyncReply::Drop
        });
        let seen = Arc::new(AtomicU64::new(clock::now().as_nanos()));
        let notifier = Notifier::start(&runtime, Arc::clone(&seen))?;
        let drain_timeout = Arc::new(AtomicU64::new(gstnextvision::time::nanos(drain_timeout)));
        Ok(Self { pipeline, runtime, tell, drain_timeout, seen, notifier })
    }

    /// From the start to the end.
    fn conduct(self, happenings: &Receiver<Happening>) -> End {
        // What came while everything was set up.
        let mut waiting: Vec<_> = happenings.try_iter().collect();
        if let Some(signal) = waiting.iter().find_map(stop_signal) {
            info!(signal = reason_of(signal), "stopped before the start");
            return End::Over { failure: None, hangs: false };
        }
        let mut conductor = Conductor::new(self.drain_timeout());
        self.start();
        loop {
            let next =
                if waiting.is_empty() { self.wait(happenings, &conductor) } else { Some(waiting.remove(0)) };
            let now = clock::now();
            self.seen.store(now.as_nanos(), Ordering::Relaxed);
            conductor.set_drain_timeout(self.drain_timeout());
            let order = match next {
                Some(happening) => {
                    self.note(&happening);
                    conductor.hear(happening, now)
                }
                None => conductor.tick(now),
            };
            let Some(order) = order else { continue };
            let hangs = order == Order::Abandon;
            if hangs || order == Order::Finish {
                let failure = conductor.failure().map(str::to_owned);
                return self.end(failure, hangs);
            }
            self.obey(order);
        }
    }

    /// Waits for what happens next; `None` when it is time to look at the clock.
    fn wait(&self, happenings: &Receiver<Happening>, conductor: &Conductor) -> Option<Happening> {
        let now = clock::now();
        if conductor.deadline().is_some_and(|deadline| deadline <= now) {
            return None;
        }
        let to_deadline = conductor.deadline().map_or(HEARTBEAT, |deadline| deadline.since(now));
        match happenings.recv_timeout(to_deadline.min(HEARTBEAT)) {
            Ok(happening) => Some(happening),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                Some(Happening::Error("nobody says anything any more".to_owned()))
            }
        }
    }

    fn drain_timeout(&self) -> Duration {
        Duration::from_nanos(self.drain_timeout.load(Ordering::Relaxed))
    }

    /// What is said of it, in the log and to the service manager.
    fn note(&self, happening: &Happening) {
        match happening {
            Happening::Signal(signal) => info!(signal = reason_of(*signal), "signal"),
            Happening::Running => self.notifier.ready(),
            Happening::Error(reason) | Happening::Started(Err(reason)) => error!("{reason}"),
            Happening::EngineFailed(reason) => error!("{reason}; ending"),
            Happening::Ended => info!("all feeds have ended"),
            Happening::Reloaded(result) => {
                self.notifier.ready();
                match result {
                    Ok(()) => info!("the site file was read again and applied"),
                    Err(reason) => error!("the site file was read again and not applied: {reason}"),
                }
            }
            Happening::Drained(Ok(())) => info!("everything is delivered"),
            Happening::Drained(Err(reason)) => error!("{reason}"),
            Happening::Started(Ok(())) | Happening::Stopped => debug!(?happening, "state"),
        }
    }

    fn start(&self) {
        info!("starting");
        let pipeline = self.pipeline.clone();
        self.in_thread("nv-start", Happening::Started, move || {
            pipeline
                .set_state(gst::State::Playing)
                .map(drop)
                .map_err(|error| format!("it does not play: {error}"))
        });
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Reload => {
                info!("reading the site file again");
                self.notifier.reloading();
                let runtime = self.runtime.clone();
                self.in_thread("nv-reload", Happening::Reloaded, move || ask(&runtime, "reload"));
            }
            Order::Drain => {
                info!(allowed = ?self.drain_timeout(), "ending: delivering what is on its way");
                self.notifier.stopping();
                let runtime = self.runtime.clone();
                self.in_thread("nv-drain", Happening::Drained, move || {
                    ask(&runtime, "shutdown")
                        .map_err(|reason| format!("not everything was delivered: {reason}"))
                });
            }
            Order::Stop => {
                self.notifier.stopping();
                let (pipeline, runtime) = (self.pipeline.clone(), self.runtime.clone());
                // It can only fail where there is nothing left to do about it.
                self.in_thread(
                    "nv-stop",
                    |_| Happening::Stopped,
                    move || {
                        log_totals(&runtime);
                        pipeline.set_state(gst::State::Null).map(drop).map_err(|error| error.to_string())
                    },
                );
            }
            Order::Finish | Order::Abandon => (),
        }
    }

    /// Does `work` in a thread, has what holds for drains looked up behind it, and tells what came of it.
    fn in_thread(
        &self,
        name: &str,
        told: impl FnOnce(Result<(), String>) -> Happening + Send + 'static,
        work: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) {
        let (tell, runtime, drain_timeout) =
            (self.tell.clone(), self.runtime.clone(), Arc::clone(&self.drain_timeout));
        let body = move || {
            let name = thread::current().name().unwrap_or_default().to_owned();
            let result = catch_unwind(AssertUnwindSafe(|| {
                let result = work();
                drain_timeout.store(runtime.property("drain-timeout"), Ordering::Relaxed);
                result
            }));
            let result = result.unwrap_or_else(|_| Err(format!("a panic in {name}")));
            // Nobody hears it if the run is over: it was given up.
            tell.send(told(result)).ok();
        };
        if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(body) {
            self.tell.send(Happening::Error(format!("no thread {name}: {error}"))).ok();
        }
    }

    fn end(self, failure: Option<String>, hangs: bool) -> End {
        if hangs {
            warn!("something hangs and is left as it is");
            // Whatever is let go of here may wait for what hangs.
            std::mem::forget(self);
        }
        End::Over { failure, hangs }
    }
}

fn stop_signal(happening: &Happening) -> Option<Signal> {
    match happening {
        Happening::Signal(signal @ Signal::Stop(_)) => Some(*signal),
        _ => None,
    }
}

fn path_text(arguments: &crate::Run) -> Result<&str, String> {
    let path = &arguments.site;
    path.to_str().ok_or_else(|| format!("expected a path in UTF-8, found {}", path.display()))
}

/// Has the runtime do `what`; what it says if it does not.
fn ask(runtime: &gst::Element, what: &str) -> Result<(), String> {
    if runtime.emit_by_name::<bool>(what, &[]) {
        return Ok(());
    }
    let reason = runtime.property::<Option<String>>("last-error");
    Err(reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| format!("{what} was refused")))
}

/// What became of the frames of each feed, at the end of a run.
fn log_totals(runtime: &gst::Element) {
    let Some(runtime) = runtime.downcast_ref::<NvRuntime>() else { return };
    for feed in runtime.snapshot().feeds {
        let Ledger { received, delivered, dropped, failed, in_flight, .. } = feed.ledger;
        let (state, records, lost) = (feed.state.as_str(), feed.records, feed.records_lost);
        info!(
            feed = feed.feed_id,
            state, received, delivered, dropped, failed, in_flight, records, lost, "feed totals"
        );
    }
}

// --- What is on the bus ------------------------------------------------------------------------------------

/// Logs a message and says what follows from it. Runs in the thread that posts it, so it must not wait for anything.
fn hear(message: &gst::MessageRef) -> Option<Happening> {
    use gst::MessageView;
    match message.view() {
        MessageView::Error(error) => {
            let source = error.src().map(|source| source.path_string()).unwrap_or_default();
            let place = error.debug().unwrap_or_default();
            debug!(source = %source, debug = %place, "error on the bus");
            let name = error.src().map(GstObjectExt::name).unwrap_or_default();
            Some(Happening::Error(reason(&name, error.error().message(), &place)))
        }
        MessageView::Warning(warning) => {
            let source = warning.src().map(GstObjectExt::name).unwrap_or_default();
            warn!(source = %source, debug = %warning.debug().unwrap_or_default(), "{}", warning.error());
            None
        }
        MessageView::Eos(_) => Some(Happening::Ended),
        MessageView::Element(element) => match element.structure() {
            Some(structure) if structure.name() == PHASE_MESSAGE => hear_phase(structure),
            _ => hear_health(message),
        },
        _ => None,
    }
}

/// What an error says, on one line. Elements often leave the text to GStreamer, which only knows the kind of the error,
/// and say what is wrong behind the place in the code and the path of the element, on lines of their own.
fn reason(name: &str, text: &str, debug: &str) -> String {
    let detail = debug.split_once('\n').map_or("", |(_, detail)| detail).trim();
    if detail.is_empty() || text.contains(detail) {
        return format!("{name}: {text}");
    }
    format!("{name}: {}: {detail}", text.trim_end_matches('.'))
}

fn hear_phase(structure: &gst::StructureRef) -> Option<Happening> {
    let phase = structure.get::<&str>("phase").unwrap_or_default();
    info!(phase, "the runtime is {phase}");
    (phase == "running").then_some(Happening::Running)
}

fn hear_health(message: &gst::MessageRef) -> Option<Happening> {
    let said = match health_of(message)? {
        Ok(said) => said,
        Err(error) => {
            warn!(target: "health", "a message that cannot be read: {error}");
            return None;
        }
    };
    let failed = failed_engine(&said);
    log_health(said);
    failed.map(Happening::EngineFailed)
}

/// What to say if the message is about an engine that stays failed.
fn failed_engine(said: &health::Message) -> Option<String> {
    match &said.event {
        Event::EngineDegraded(event) if event.state == "failed" => {
            Some(format!("the engine of {} has failed: {}", said.element, event.detail))
        }
        _ => None,
    }
}

fn log_health(said: health::Message) {
    let (event, severity) = (said.event.name(), said.event.severity());
    let feed = said.feed_id.as_deref();
    let element = said.element.as_str();
    let count = said.burst.count;
    let own: serde_json::Map<_, _> =
        said.event.into_fields().into_iter().map(|(name, value)| (name.to_owned(), as_json(value))).collect();
    let own = serde_json::Value::from(own).to_string();
    match severity {
        Severity::Info => info!(target: "health", event, feed, element, count, fields = own, "{event}"),
        Severity::Warning => warn!(target: "health", event, feed, element, count, fields = own, "{event}"),
        Severity::Error => error!(target: "health", event, feed, element, count, fields = own, "{event}"),
    }
}

fn as_json(value: Value) -> serde_json::Value {
    match value {
        Value::U32(value) => value.into(),
        Value::U64(value) => value.into(),
        Value::F64(value) => value.into(),
        Value::Flag(value) => value.into(),
        Value::Text(value) => value.into(),
        Value::Texts(values) => values.into(),
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
