//! The thread that keeps the source alive: it hears what happens, asks the state machine, and does what that says.

use super::core::{Core, Note};
use super::front::{self, Context, Target};
use super::inlet::{Bounds, Inlet};
use super::settings::{Origin, Settings, Transport, nick};
use super::source::{Endings, Source};
use crate::clock;
use crate::elements::thread::Step;
use crate::feed::{
    Action, Begin, Choice, DecodeFailure, Decoder, Failure, Happening, Kind, Machine, Pace, Route, SHORTEST,
    State, StopReason,
};
use crate::health::{DecodeDecision, Event, FeedStopped, InsecureRtsp, StageError};
use crate::time::Monotonic;
use glib::prelude::*;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Sources that may be on their way out before another is made.
const MAX_ENDINGS: usize = 4;

pub(super) struct Supervisor {
    core: Arc<Core>,
    /// Of the element, from one start to its stop.
    run: u64,
    endings: Arc<Endings>,
    machine: Machine,
    origin: Origin,
    is_live: bool,
    choice: Choice,
    /// The way to the source that stands or stood last.
    route: Option<Route>,
    source: Option<Source>,
    /// Number of the source that stands or stood last.
    number: u64,
    /// Whether it has given a frame.
    has_frames: bool,
    /// Name of its decoder.
    decoder: Option<String>,
    is_stopping: bool,
}

/// What `stats` shows of the supervisor.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) state: State,
    pub(super) since: Monotonic,
    pub(super) counts: crate::feed::Counts,
    pub(super) last_failure: Option<Failure>,
    pub(super) uri: String,
    pub(super) decoder: String,
    pub(super) endings: usize,
}

impl Supervisor {
    pub(super) fn new(
        core: Arc<Core>,
        endings: Arc<Endings>,
        settings: &Settings,
        origin: Origin,
        is_live: bool,
    ) -> Self {
        let machine = Machine::new(settings.limits(is_live), clock::now());
        let choice = Choice::new(settings.decode_preference.into(), front::has_hardware());
        let run = core.begin_run();
        Self {
            core,
            run,
            endings,
            machine,
            origin,
            is_live,
            choice,
            route: None,
            source: None,
            number: 0,
            has_frames: false,
            decoder: None,
            is_stopping: false,
        }
    }

    /// One round of the thread. A panic is the end of the feed, and of nothing else.
    pub(super) fn guarded_step(&mut self) -> Step {
        catch_unwind(AssertUnwindSafe(|| self.step())).unwrap_or_else(|_| {
            self.disconnect();
            if let Some(element) = self.core.element.upgrade() {
                self.stopped(&element, StopReason::Fatal, "the supervisor of the feed panicked".to_owned());
                self.core.report.lock().state = State::Stopped;
                self.core.notes_done(self.run, true);
                self.core.send_eos();
            }
            Step::Stop
        })
    }

    fn step(&mut self) -> Step {
        let seen = self.core.work.seen();
        let due = {
            let Some(element) = self.core.element.upgrade() else { return Step::Stop };
            let now = clock::now();
            let Some(notes) = self.core.take_notes(self.run, self.is_due(now)) else { return Step::Stop };
            self.round(&element, notes, now);
            self.core.notes_done(self.run, self.machine.state() == State::Stopped);
            if self.is_stopping {
                self.core.health.flush(&element);
                return Step::Stop;
            }
            self.core.health.catch_up(&element);
            [self.machine.due(), self.core.health.due_at()].into_iter().flatten().min()
        };
        self.core.work.wait(seen, due);
        Step::Again
    }

    fn is_due(&self, now: Monotonic) -> bool {
        self.machine.due().is_some_and(|due| due <= now)
    }

    fn round(&mut self, element: &super::NvFeed, notes: VecDeque<Note>, now: Monotonic) {
        let settings = element.settings();
        self.machine.set_limits(settings.limits(self.is_live));
        for note in notes {
            self.hear(element, &settings, note);
        }
        // Not if that came only while the notes were heard: nobody was told that time may run out.
        if self.is_due(now) {
            if self.machine.state() == State::Connecting && self.core.seen().is_blocked {
                // A frame of the source before still waits downstream, and no other can come.
                let limit = settings.limits(self.is_live).liveness;
                self.machine.set_time_limit(now, limit.map(|limit| limit.max(SHORTEST)));
            } else if self.machine.state() == State::Connecting {
                self.fail(element, &settings, Failure::no_first_frame());
            } else {
                self.handle(element, &settings, Happening::Tick(self.core.seen()));
            }
        }
        self.publish(element);
    }

    fn hear(&mut self, element: &super::NvFeed, settings: &Settings, note: Note) {
        let stands = |number| self.source.is_some() && self.number == number;
        match note {
            Note::Ask(happening) => self.handle(element, settings, happening),
            Note::End => {
                self.handle(element, settings, Happening::Stop);
                // A stream that has ended already takes no second end.
                self.core.send_eos();
            }
            Note::Shutdown => {
                self.is_stopping = true;
                self.handle(element, settings, Happening::Stop);
            }
            Note::Source(number, Happening::Failed(failure)) if self.number == number => {
                self.fail(element, settings, failure);
            }
            Note::Source(number, Happening::Frame) if stands(number) => self.first_frame(element, settings),
            Note::Source(number, happening) if stands(number) => self.handle(element, settings, happening),
            Note::Decoder(number, factory) if stands(number) => self.decoder = Some(factory),
            Note::Warning(number, detail) if stands(number) => {
                let stage = "source".to_owned();
                self.report(element, StageError { stage, detail });
            }
            Note::Source(..) | Note::Decoder(..) | Note::Warning(..) => {}
        }
    }

    // --- What the source did -----------------------------------------------------------------------------------

    /// The source failed. Before its first frame there may be another way to it.
    fn fail(&mut self, element: &super::NvFeed, settings: &Settings, mut failure: Failure) {
        let now = clock::now();
        if !self.has_frames && self.machine.state() == State::Connecting {
            let decoder = self.decoder.as_deref().and_then(decoder_of);
            let of_decoder = decoder.filter(|_| failure.kind == Kind::Decode);
            let decode_failure = of_decoder.map_or(DecodeFailure::Elsewhere, DecodeFailure::BeforeFirstFrame);
            self.choice.failed(now, decode_failure);
            if let Origin::Address(routes) = &mut self.origin {
                if failure.kind.is_answer() {
                    routes.answered();
                }
                match routes.failed(now) {
                    Ok(Some(route)) => return self.connect(element, settings, Begin::Session, Some(route)),
                    Ok(None) => {}
                    Err(refusal) => failure.detail = format!("{}; {refusal}", failure.detail),
                }
            }
        }
        self.handle(element, settings, Happening::Failed(failure));
    }

    /// A frame came from a source that had given none, or had stalled.
    fn first_frame(&mut self, element: &super::NvFeed, settings: &Settings) {
        let now = clock::now();
        if self.has_frames {
            return self.handle(element, settings, Happening::Frame);
        }
        let used = self.decoder.as_deref().and_then(decoder_of);
        if let Err(refusal) = self.choice.verdict(used) {
            return self.fail(element, settings, Failure::new(Kind::Unsupported, refusal.to_string()));
        }
        self.has_frames = true;
        self.report(
            element,
            DecodeDecision {
                outcome: used.map_or("none", Decoder::as_str).to_owned(),
                factory: self.decoder.clone().unwrap_or_default(),
                preference: nick(settings.decode_preference),
                fallback: used
                    .and_then(|used| self.choice.fallback_reason(now, used))
                    .unwrap_or_default()
                    .to_owned(),
            },
        );
        self.choice.connected(used);
        self.handle(element, settings, Happening::Frame);
        if let Origin::Address(routes) = &mut self.origin {
            routes.connected(now);
            // RTP over UDP is in clear, also where RTSP is not.
            if routes.insecure() || (settings.transport != Transport::Tcp && is_rtsp(&self.route)) {
                let uri = self.uri();
                self.report(element, InsecureRtsp { uri });
            }
        }
    }

    fn handle(&mut self, element: &super::NvFeed, settings: &Settings, happening: Happening) {
        let actions = self.machine.handle(happening, clock::now(), fastrand::f64());
        for action in actions {
            self.perform(element, settings, action);
        }
        if self.machine.state() == State::Stalled {
            self.core.want_frame();
        }
    }

    // --- What is done ------------------------------------------------------------------------------------------

    fn perform(&mut self, element: &super::NvFeed, settings: &Settings, action: Action) {
        match action {
            Action::Connect(begin) => self.connect(element, settings, begin, None),
            Action::Disconnect => self.disconnect(),
            Action::Rewind => {
                self.core.outlet.lock().begin_loop();
                if let Some(source) = &self.source {
                    source.rewind();
                }
            }
            Action::Hold => self.core.set_held(true),
            Action::Release => {
                self.core.outlet.lock().resume();
                self.core.set_held(false);
            }
            Action::Tell(event) => self.tell(element, *event),
            Action::Stopped(reason, detail) => self.stopped(element, reason, detail),
            Action::SendEos if self.is_stopping => {}
            Action::SendEos => self.core.send_eos(),
        }
    }

    /// Makes another source, by that way to it or by the one that an attempt begins with.
    fn connect(&mut self, element: &super::NvFeed, settings: &Settings, begin: Begin, route: Option<Route>) {
        self.disconnect();
        if !self.core.is_run(self.run) {
            // Stopped and started meanwhile, perhaps by who was told of it: the frames of another run pass.
            return;
        }
        self.core.set_held(false);
        self.number = self.core.next_source();
        (self.has_frames, self.decoder) = (false, None);
        let (number, is_live, now) = (self.number, self.is_live, clock::now());
        let target = match &mut self.origin {
            Origin::Custom => Target::Custom,
            Origin::Address(routes) => {
                let route = route.unwrap_or_else(|| routes.next(now));
                self.route = Some(route.clone());
                let limit = settings.limits(is_live).liveness.map(|limit| routes.time_limit(limit));
                self.machine.set_time_limit(now, limit);
                Target::Address(route, Box::new(routes.clone()))
            }
        };
        let pace = if is_live { Pace::Live { latency: settings.latency } } else { Pace::Free };
        self.core.set_current(number, |outlet| match begin {
            Begin::Session => outlet.begin_session(pace),
            Begin::Loop => outlet.begin_loop(),
        });
        let bounds = Bounds { width: settings.max_width, height: settings.max_height, fps: settings.max_fps };
        let context = Context {
            inlet: Inlet::new(Arc::clone(&self.core), number, is_live, bounds),
            settings: settings.clone(),
            target,
            choice: self.choice.clone(),
            hints: std::sync::Mutex::default(),
        };
        let open = self.endings.open();
        let made = if open < MAX_ENDINGS {
            Source::start(context, element, &self.endings)
        } else {
            Err(Failure::new(Kind::Other, format!("{open} earlier sources have not ended yet")))
        };
        match made {
            Ok(source) => self.source = Some(source),
            Err(failure) => self.core.tell(Note::Source(number, Happening::Failed(failure))),
        }
        element.set_inlet(self.source.as_ref().map(|source| source.pad.clone()));
    }

    /// Lets go of the source; it ends on its own.
    fn disconnect(&mut self) {
        self.core.let_go(self.number);
        self.source = None;
    }

    fn tell(&self, element: &super::NvFeed, mut event: Event) {
        match &mut event {
            Event::SourceConnected(connected) => {
                connected.session = self.core.outlet.lock().session.unwrap_or_default();
                connected.uri = self.uri();
            }
            Event::SourceDisconnected(disconnected) => disconnected.uri = self.uri(),
            _ => {}
        }
        self.report(element, event);
    }

    fn stopped(&self, element: &super::NvFeed, reason: StopReason, detail: String) {
        let session = self.core.outlet.lock().session.unwrap_or_default();
        let frames = self.core.frames.delivered.load(Ordering::Relaxed);
        let reason = reason.as_str().to_owned();
        self.report(element, FeedStopped { reason, detail, session, frames });
    }

    fn report(&self, element: &super::NvFeed, event: impl Into<Event>) {
        self.core.health.report(element, Some(&element.feed_name()), event, 1);
    }

    /// What the last source was connected to, as it may be shown.
    fn uri(&self) -> String {
        match (&self.origin, &self.route) {
            (Origin::Custom, _) => "custom-pipeline".to_owned(),
            (_, Some(route)) => route.address.to_string(),
            (_, None) => String::new(),
        }
    }

    /// Makes what is known visible, and says so if the state is another.
    fn publish(&self, element: &super::NvFeed) {
        let report = Report {
            state: self.machine.state(),
            since: self.machine.since(),
            counts: self.machine.counts(),
            last_failure: self.machine.last_failure().cloned(),
            uri: self.uri(),
            decoder: self.decoder.clone().unwrap_or_default(),
            endings: self.endings.open().saturating_sub(self.source.iter().count()),
        };
        let before = std::mem::replace(&mut *self.core.report.lock(), report);
        if before.state != self.machine.state() {
            element.notify("status");
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.disconnect();
    }
}

fn is_rtsp(route: &Option<Route>) -> bool {
    route.as_ref().is_some_and(|route| route.address.is_rtsp())
}

fn decoder_of(factory: &str) -> Option<Decoder> {
    front::decoder_of(&gst::ElementFactory::find(factory)?)
}
