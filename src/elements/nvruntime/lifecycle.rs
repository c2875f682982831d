//! Starting and stopping: what the state changes do, and what the children say.

use super::control::{Control, News};
use super::feed::{self, Part};
use super::imp::{CAT, NvRuntime};
use super::page::Page;
use super::refusal::Refusal;
use super::reload;
use crate::clock;
use crate::config::Site;
use crate::elements::message::health_of;
use crate::elements::thread::JOIN_TIMEOUT;
use crate::elements::watcher;
use crate::health::{Event, redact};
use crate::http::Server;
use crate::metrics::Phase;
use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the control thread may take to end: it may be waiting for one feed.
const CONTROL_ENDS: Duration = Duration::from_secs(2);

/// How long all sinks may take to stop that have had the time to deliver everything.
const AFTER_A_DRAIN: Duration = Duration::from_millis(500);

/// State changes.
impl NvRuntime {
    /// Reads the configuration and makes what it names; nothing of it runs yet.
    pub(super) fn open(&self) -> Result<Control, gst::StateChangeError> {
        let control = self.look_for_the_last_run().and_then(|()| self.try_to_open());
        control.map_err(|refusal| {
            // It may listen already.
            self.close();
            gst::element_imp_error!(self, gst::ResourceError::Settings, ("{}", redact(&refusal.to_string())));
            gst::StateChangeError
        })
    }

    /// What the control thread of the last run still has in hand is not for this one to make again.
    fn look_for_the_last_run(&self) -> Result<(), Refusal> {
        let mut control = self.control_ends.lock();
        if control.as_ref().is_some_and(|control| control.try_recv() == Err(TryRecvError::Empty)) {
            return Err(Refusal::failed("the last run has not ended: a handler of a signal does not return"));
        }
        *control = None;
        Ok(())
    }

    fn try_to_open(&self) -> Result<Control, Refusal> {
        let path = self.core.settings.lock().config.clone();
        let site = reload::read(path.as_deref())?;
        self.core.set_site(Some(&site));
        self.listen_as(&site).map_err(|text| Refusal::InvalidConfiguration { text })?;
        let mut control = Control::new(Arc::clone(&self.core), self.obj().clone(), site);
        match control.prepare() {
            Ok(()) => Ok(control),
            Err(refusal) => {
                control.dismantle();
                Err(refusal)
            }
        }
    }

    /// The groups are in READY: makes the feeds and has the control thread begin.
    pub(super) fn begin(&self, mut control: Control) -> Result<(), gst::StateChangeError> {
        let failed = |text: String| {
            gst::element_imp_error!(self, gst::ResourceError::Settings, ("{}", redact(&text)));
            gst::StateChangeError
        };
        if let Err(refusal) = control.add_feeds_of_site() {
            control.dismantle();
            return Err(failed(refusal.to_string()));
        }
        let orders = self.core.open();
        let watching =
            watcher::watch(&self.core).map_err(|error| failed(format!("cannot start a thread: {error}")))?;
        *self.watching.lock() = Some(watching);
        let (ended, has_ended) = crossbeam_channel::bounded::<()>(1);
        let run = move || {
            // Dropped at the end, however that comes.
            let _ended = ended;
            control.run(&orders);
        };
        std::thread::Builder::new()
            .name("nv-runtime".into())
            .spawn(run)
            .map_err(|error| failed(format!("cannot start a thread: {error}")))?;
        *self.control_ends.lock() = Some(has_ended);
        Ok(())
    }

    /// The children are in NULL: ends the threads and lets go of everything.
    pub(super) fn close(&self) {
        let watching = self.watching.lock().take();
        // Outside of the lock: it may wait for the thread.
        drop(watching);
        let server = self.server.lock().take();
        if let Some((_, server)) = server
            && !server.stop(JOIN_TIMEOUT)
        {
            gst::warning!(CAT, imp = self, "The server does not end in time and is let go of");
        }
        // An application may drop the element in a handler of its own signals.
        let within = if self.core.is_control_thread() { Duration::ZERO } else { CONTROL_ENDS };
        self.core.close();
        let control = self.control_ends.lock().take();
        // The channel has no message, so an answer is its end.
        if let Some(control) = control
            && control.recv_timeout(within) == Err(RecvTimeoutError::Timeout)
        {
            gst::warning!(CAT, imp = self, "The control thread does not end in time and is let go of");
            *self.control_ends.lock() = Some(control);
        }
        self.core.set_roster(<_>::default());
        self.core.set_site(None);
        self.core.health.flush(&*self.obj());
        // Not said: the bus is thrown away, and nothing starts.
        self.core.set_phase(Phase::Starting);
    }

    /// Listens where it is to as `site` has it, and nowhere else. After an error it listens where it did before.
    pub(super) fn listen_as(&self, site: &Site) -> Result<(), String> {
        let wanted = self.core.settings.lock().metrics_address(site)?;
        let before = self.server.lock().take();
        let listens = before.as_ref().map(|(address, _)| *address);
        if wanted == listens {
            *self.server.lock() = before;
            return Ok(());
        }
        let Some(address) = wanted else {
            drop(before);
            return Ok(());
        };
        // Two addresses with one port may exclude each other.
        let shares_port = listens.is_some_and(|listens| listens.port() == address.port());
        let before = if shares_port { None } else { before };
        match self.server(address) {
            Ok(server) => {
                *self.server.lock() = Some((address, server));
                Ok(())
            }
            Err(error) => {
                let again = || Some((listens?, self.server(listens?).ok()?));
                let before = before.or_else(|| again().filter(|_| shares_port));
                *self.server.lock() = before;
                Err(format!("property metrics-address: cannot listen on {address}: {error}"))
            }
        }
    }

    fn server(&self, address: SocketAddr) -> std::io::Result<Server> {
        let page = Page { core: Arc::downgrade(&self.core), name: self.obj().name().into() };
        let server = Server::start(address, Arc::new(page))?;
        gst::info!(CAT, imp = self, "Listening on http://{}", server.address());
        Ok(server)
    }

    /// From READY to PAUSED, perhaps not for the first time.
    pub(super) fn begin_streams(&self) {
        if !self.core.has_streamed.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.is_winding() {
            self.enter(Phase::Starting);
        }
        // What was said before is heard before.
        self.core.tell(News::Again);
    }

    /// The sinks stop one after the other: all together they may take as long as one.
    pub(super) fn bound_the_stop(&self) {
        let is_over = self.core.phase() == Phase::Stopped;
        let allowed = if is_over { AFTER_A_DRAIN } else { self.core.settings.lock().drain_timeout() };
        let by = clock::now().saturating_add(allowed);
        self.core.roster().feeds.iter().for_each(|feed| feed.stop_by(by));
    }

    /// Says where the runtime stands, if that is news.
    pub(super) fn enter(&self, phase: Phase) {
        if !self.core.set_phase(phase) {
            return;
        }
        let name = match phase {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Draining => "draining",
            Phase::Stopped => "stopped",
        };
        let structure = gst::Structure::builder("nv-runtime").field("phase", name).build();
        let element = self.obj();
        element.post_message(gst::message::Element::builder(structure).src(&*element).build()).ok();
    }

    /// Whether the runtime is wound down, or about to be.
    pub(super) fn is_winding(&self) -> bool {
        matches!(self.core.phase(), Phase::Draining | Phase::Stopped)
    }
}

/// What the children say.
impl NvRuntime {
    /// Whether the message goes on to the application.
    pub(super) fn hear(&self, message: &gst::MessageRef) -> bool {
        match message.view() {
            gst::MessageView::Eos(_) => {
                // The runtime says itself when everything is over.
                if let Some((Part::Branch, id)) = self.part_of(message) {
                    self.core.tell(News::Ended(id));
                }
                false
            }
            gst::MessageView::Error(error) => {
                let text = said(error);
                if let Some((_, id)) = self.part_of(message) {
                    if !self.core.keep_trial_error(&feed::trial_name(id), &text) {
                        self.core.tell(News::Broken { id, text: redact(&text).into_owned() });
                    }
                    return false;
                }
                let element = message.src().map(|source| source.name()).unwrap_or_default();
                !self.core.keep_trial_error(&element, &text)
            }
            gst::MessageView::Element(_) => {
                if let Some((Part::Source, id)) = self.part_of(message)
                    && let Some(Ok(health)) = health_of(message)
                    && let Event::FeedStopped(stopped) = health.event
                {
                    self.core.tell(News::Stopped { id, reason: stopped.reason, detail: stopped.detail });
                }
                true
            }
            _ => true,
        }
    }

    /// Which feed the message is about.
    fn part_of(&self, message: &gst::MessageRef) -> Option<(Part, u32)> {
        let me = self.obj();
        let me = me.upcast_ref::<gst::Object>();
        let ancestors = std::iter::successors(message.src().cloned(), GstObjectExt::parent);
        let mut below = ancestors.take_while(|object| object != me);
        below.find_map(|object| feed::number_of(&object.name()))
    }
}

/// What an error says: the detail behind the place in the code, or the text for users.
fn said(error: &gst::message::Error) -> String {
    let debug = error.debug().unwrap_or_default();
    match debug.split_once('\n') {
        Some((_, detail)) if !detail.is_empty() => detail.to_owned(),
        _ => error.error().to_string(),
    }
}
