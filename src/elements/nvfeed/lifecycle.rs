//! Starting and stopping, what the user asks for meanwhile, and what downstream asks.

use super::Known;
use super::core::Note;
use super::front;
use super::imp::{CAT, NvFeed, Running};
use super::settings::{DecodePreference, Origin, Status};
use super::supervisor::Supervisor;
use crate::clock;
use crate::elements::lock;
use crate::elements::stats::Stats;
use crate::elements::thread::{JOIN_TIMEOUT, StepThread};
use crate::feed::Happening;
use crate::health::Redacted;
use crate::time::nanos;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long downstream may hold a frame when the element is stopped alone.
const UNBLOCK_AFTER: Duration = Duration::from_millis(200);

/// State changes.
impl NvFeed {
    /// What is asked for, if it can be; else an error on the bus says why not.
    pub(super) fn check(&self) -> Result<(Origin, bool), gst::StateChangeError> {
        self.checked().map_err(|text| {
            let text = Redacted(format!("{}: {text}", self.obj().name())).to_string();
            gst::element_imp_error!(self, gst::ResourceError::Settings, ("{text}"));
            gst::StateChangeError
        })
    }

    fn checked(&self) -> Result<(Origin, bool), String> {
        let settings = lock(&self.settings).clone();
        let origin = settings.origin()?;
        if let Some(path) = &settings.tls_database {
            front::open_tls_database(path)?;
        }
        if settings.decode_preference == DecodePreference::RequireHardware && !front::has_hardware() {
            return Err("decode-preference=require-hardware: expected a hardware decoder among the plugins, found none"
                .to_owned());
        }
        let is_live = match (&origin, &settings.custom_pipeline) {
            (Origin::Address(_), _) => settings.is_live_address(),
            (Origin::Custom, text) => {
                front::is_live(&front::parse_custom(text.as_ref().map_or("", |text| &text.0))?)
            }
        };
        Ok((origin, is_live))
    }

    pub(super) fn start(&self) -> Result<(), gst::StateChangeError> {
        let (origin, is_live) = self.check()?;
        let settings = lock(&self.settings).clone();
        self.core.outlet.lock().restart();
        let joins_playing = self.joins_playing();
        gst::debug!(CAT, imp = self, "Starting, live: {is_live}, joins a playing pipeline: {joins_playing}");
        self.core.has_time.store(joins_playing, Ordering::Release);
        let (core, endings) = (Arc::clone(&self.core), Arc::clone(&self.endings));
        let mut supervisor = Supervisor::new(core, endings, &settings, origin, is_live);
        let thread = StepThread::spawn("nv-feed", move || supervisor.guarded_step()).map_err(|error| {
            gst::element_imp_error!(self, gst::ResourceError::Failed, ["cannot start a thread: {error}"]);
            gst::StateChangeError
        })?;
        *self.running.lock() = Some(Running { thread, is_live });
        Ok(())
    }

    /// From here on no frame leaves.
    pub(super) fn begin_stop(&self) {
        self.set_playing(false);
        self.core.set_current(0, |_| {});
        self.core.tell(Note::Shutdown);
        if !self.core.wait_for_push(UNBLOCK_AFTER) {
            self.unblock();
        }
    }

    /// Downstream holds a frame and may do so for ever, where it is not being stopped as well: a flush gets it back.
    /// Without, the pad could not be made inactive.
    fn unblock(&self) {
        gst::debug!(CAT, imp = self, "Flushing downstream, which holds a frame");
        self.srcpad.push_event(gst::event::FlushStart::new());
        let _streaming = self.srcpad.stream_lock();
        self.srcpad.push_event(gst::event::FlushStop::new(false));
    }

    pub(super) fn finish_stop(&self) {
        let Some(running) = self.running.lock().take() else { return };
        self.inlet.lock().take();
        *self.stopped_at.lock() = Some(clock::now());
        // It ends by the note that it got, and has something to say before.
        if !running.thread.wait(JOIN_TIMEOUT) {
            gst::warning!(CAT, imp = self, "The supervising thread did not end in time and is let go of");
        }
    }

    /// Waits for sources that are on their way out: all feeds of a pipeline together about as long as one.
    pub(super) fn wait_for_endings(&self) {
        let since = self.stopped_at.lock().take();
        let left = since.map_or(JOIN_TIMEOUT, |since| JOIN_TIMEOUT.saturating_sub(clock::now().since(since)));
        if !self.endings.wait(left) {
            let open = self.endings.open();
            gst::warning!(CAT, imp = self, "{open} sources have not ended and are let go of");
        }
    }

    pub(super) fn set_playing(&self, is_playing: bool) {
        self.core.is_playing.store(is_playing, Ordering::Release);
        self.core.has_time.store(is_playing, Ordering::Release);
        self.ask_for_frames();
    }

    /// Whether the element joins a pipeline that plays already: its frames must not be late.
    fn joins_playing(&self) -> bool {
        let top = std::iter::successors(self.obj().parent(), GstObjectExt::parent).last();
        let Some(top) = top.and_downcast::<gst::Bin>() else { return false };
        let plays = |element: &gst::Element| element.current_state() == gst::State::Playing;
        // A sink that came with us takes the pipeline out of PLAYING until it has a frame; who was there plays on.
        let waits = top.current_state() == gst::State::Paused && top.children().iter().any(plays);
        waits || plays(top.upcast_ref())
    }

    pub(super) fn is_live(&self) -> bool {
        self.running.lock().as_ref().is_some_and(|running| running.is_live)
    }

    /// Says whether frames are wanted: a live source has some to give in PLAYING only.
    pub(super) fn ask_for_frames(&self) {
        let Some(is_live) = self.running.lock().as_ref().map(|running| running.is_live) else { return };
        let can_come = !is_live || self.core.is_playing.load(Ordering::Acquire);
        let is_wanted = can_come && !lock(&self.settings).pause;
        self.core.tell(Note::Ask(if is_wanted { Happening::Resume } else { Happening::Pause }));
    }

    pub(super) fn ask_restart(&self) {
        self.core.tell(Note::Ask(Happening::Restart));
    }

    pub(super) fn ask_stop(&self) {
        self.core.tell(Note::Ask(Happening::Stop));
    }
}

/// What downstream asks.
impl NvFeed {
    pub(super) fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{:?}", Redacted(&event));
        match event.view() {
            // Whoever waits for somebody to take frames may try again.
            gst::EventView::Reconfigure(_) => {
                self.core.gate.raise();
                self.send_to_source(event)
            }
            gst::EventView::Latency(_) => self.send_to_source(event),
            // The times in it are of the stream that leaves, and a seek would be undone by the next outage.
            _ => false,
        }
    }

    fn send_to_source(&self, event: gst::Event) -> bool {
        let inlet = self.inlet.lock().clone();
        // Without a source there is nothing to do, and that is fine.
        inlet.is_none_or(|inlet| inlet.push_event(event))
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(asked) => {
                let (is_live, min, max) = self.latency();
                asked.set(is_live, min, max);
                true
            }
            gst::QueryViewMut::Seeking(asked) => {
                asked.set(false, gst::ClockTime::NONE, gst::ClockTime::NONE);
                true
            }
            gst::QueryViewMut::Scheduling(asked) => {
                asked.set(gst::SchedulingFlags::SEQUENTIAL, 1, -1, 0);
                asked.add_scheduling_modes([gst::PadMode::Push]);
                true
            }
            gst::QueryViewMut::Position(_) | gst::QueryViewMut::Duration(_) => {
                let inlet = self.inlet.lock().clone();
                inlet.is_some_and(|inlet| inlet.peer_query(query))
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// Also without a source: the latency of a pipeline must not depend on which camera is there.
    fn latency(&self) -> (bool, gst::ClockTime, Option<gst::ClockTime>) {
        if !self.is_live() {
            return (false, gst::ClockTime::ZERO, gst::ClockTime::NONE);
        }
        let configured = gst::ClockTime::from_mseconds(lock(&self.settings).latency_ms().into());
        let mut query = gst::query::Latency::new();
        let inlet = self.inlet.lock().clone();
        if !inlet.is_some_and(|inlet| inlet.peer_query(&mut query)) {
            return (true, configured, gst::ClockTime::NONE);
        }
        let (_, min, max) = query.result();
        let min = min.max(configured);
        (true, min, max.map(|max| max.max(min)))
    }
}

/// What can be seen.
impl NvFeed {
    pub(super) fn feed_name(&self) -> String {
        lock(&self.settings).feed_id.clone().unwrap_or_else(|| self.obj().name().into())
    }

    pub(super) fn stats(&self) -> Stats {
        let known = self.known();
        let failure = known.last_failure.as_ref();
        let (endings, has_begun) =
            (self.core.report.lock().endings, self.core.outlet.lock().session.is_some());
        let mut dropped = gst::Structure::new_empty("nv-dropped");
        for (reason, frames) in known.dropped {
            dropped.set(reason, frames);
        }
        gst::Structure::builder("nv-feed-stats")
            .field("feed-id", self.feed_name())
            .field("status", super::settings::nick(Status::from(known.state)))
            .field("status-for", nanos(clock::now().since(known.since)))
            .field("uri", known.uri.as_str())
            .field("session", known.session)
            .field("sessions", if has_begun { known.session.saturating_add(1) } else { 0 })
            .field("attempts", known.counts.attempts)
            .field("connections", known.counts.connections)
            .field("outages", known.counts.outages)
            .field("restarts", known.counts.restarts)
            .field("loops", known.counts.loops)
            .field("last-reason", failure.map_or("", |failure| failure.kind.as_str()))
            .field("last-detail", failure.map_or("", |failure| failure.detail.as_str()))
            .field("decoder", known.decoder.as_str())
            .field("sources-ending", endings as u64)
            .field("width", known.size.0)
            .field("height", known.size.1)
            .field("received", known.received)
            .field("delivered", known.delivered)
            .field("dropped", known.dropped.iter().map(|(_, frames)| frames).sum::<u64>())
            .field("dropped-by-reason", dropped)
            .build()
            .into()
    }

    /// `received = delivered + dropped`, but for the frame that is on its way.
    pub(super) fn known(&self) -> Known {
        let report = self.core.report.lock().clone();
        let (session, size) = {
            let outlet = self.core.outlet.lock();
            (outlet.session, outlet.size)
        };
        let frames = &self.core.frames;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Known {
            state: report.state,
            since: report.since,
            uri: report.uri,
            session: session.unwrap_or_default(),
            counts: report.counts,
            last_failure: report.last_failure,
            decoder: report.decoder,
            size: size.unwrap_or_default(),
            received: count(&frames.received),
            delivered: count(&frames.delivered),
            dropped: [
                ("stale", count(&frames.stale)),
                ("unlinked", count(&frames.unlinked)),
                ("refused", count(&frames.refused)),
                ("out-of-segment", count(&frames.outside)),
            ],
        }
    }
}

/// For the threads of the feed, and the elements that have it inside.
impl super::NvFeed {
    /// What is known of the feed.
    pub(in crate::elements) fn known(&self) -> Known {
        self.imp().known()
    }

    /// Asks for another source. False if the one there is may stop for good first, and nothing is asked: with the end of
    /// the stream on its way, frames behind it would come to nobody.
    pub(in crate::elements) fn restart_before_the_end(&self) -> bool {
        self.imp().core.restart_before_the_end()
    }

    pub(super) fn srcpad(&self) -> gst::Pad {
        self.imp().srcpad.clone()
    }

    pub(super) fn feed_name(&self) -> String {
        self.imp().feed_name()
    }

    pub(super) fn settings(&self) -> super::settings::Settings {
        lock(&self.imp().settings).clone()
    }

    #[cfg(test)]
    pub(super) fn core(&self) -> Arc<super::core::Core> {
        Arc::clone(&self.imp().core)
    }

    pub(super) fn set_inlet(&self, inlet: Option<gst::Pad>) {
        *self.imp().inlet.lock() = inlet;
    }
}
