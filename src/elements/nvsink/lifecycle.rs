//! Starting and stopping: the file, the worker, and the wait for what is queued.

use super::exchange::Drained;
use super::imp::{NvSink, OpenFile};
use super::worker::Worker;
use crate::clock;
use crate::output::{Lines, Publisher};
use gst::prelude::*;
use gst::subclass::prelude::*;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

impl NvSink {
    pub(super) fn open_file(&self) -> Result<(), gst::StateChangeError> {
        let location = self.settings().file().map(str::to_owned);
        let lines = location.as_deref().map(Lines::open).transpose().map_err(|error| {
            let text = self.location_error(location.as_deref().unwrap_or_default(), &error);
            gst::element_imp_error!(self, gst::ResourceError::OpenWrite, ("{text}"));
            gst::StateChangeError
        })?;
        let lines = lines.map(|lines| Arc::new(Mutex::new(lines)));
        *self.file.lock() = Some(OpenFile { location, lines });
        Ok(())
    }

    pub(super) fn start(&self) -> Result<(), gst::StateChangeError> {
        let settings = self.settings();
        let current =
            self.file.lock().as_ref().is_some_and(|file| file.location.as_deref() == settings.file());
        if !current {
            self.open_file()?;
        }
        let capacity = usize::try_from(settings.queue_capacity).unwrap_or(usize::MAX);
        let lines = self.file.lock().as_ref().and_then(|file| file.lines.clone());
        let lines = lines.map(|lines| lines as Arc<dyn Publisher>);
        let publishers: Vec<_> = self.publishers.lock().iter().cloned().chain(lines).collect();
        let worker = Worker {
            generation: self.exchange.start(capacity, settings.overflow.into(), !publishers.is_empty()),
            exchange: Arc::clone(&self.exchange),
            publishers,
            sink: self.obj().downgrade(),
        };
        let handle = worker.spawn(&self.obj().name()).map_err(|error| {
            self.exchange.abandon();
            gst::element_imp_error!(
                self,
                gst::ResourceError::Failed,
                ("{}: cannot start a thread: {error}", self.obj().name())
            );
            gst::StateChangeError
        })?;
        *self.worker.lock() = Some(handle);
        *self.stop_by.lock() = None;
        Ok(())
    }

    /// Lets the worker deliver what is queued and ends it. A worker that does not end in time, because a
    /// handler or the disk holds it, is left to itself.
    pub(super) fn stop(&self) {
        let Some(handle) = self.worker.lock().take() else { return };
        if handle.thread().id() == thread::current().id() {
            // A handler stops the sink: it cannot wait for itself.
            self.exchange.abandon();
        } else {
            match self.exchange.close(self.time_to_stop()) {
                Ok(()) => drop(handle.join()),
                Err(event) => self.report(event),
            }
        }
        self.report_rest();
    }

    /// What is left of the time that it may take to stop.
    fn time_to_stop(&self) -> Duration {
        let allowed = self.settings().shutdown_timeout();
        self.stop_by.lock().map_or(allowed, |by| allowed.min(clock::until(by)))
    }

    pub(super) fn end_of_stream(&self) {
        match self.exchange.drain(self.settings().shutdown_timeout()) {
            Drained::Interrupted => return,
            Drained::Done => {}
            Drained::TimedOut(event) => self.report(event),
        }
        self.exchange.end_stream();
        self.report_rest();
    }

    fn report_rest(&self) {
        self.exchange.unreported().into_iter().for_each(|event| self.report(event));
    }
}
