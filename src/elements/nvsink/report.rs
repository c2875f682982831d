//! What went wrong, as messages on the bus.

use super::exchange::Event;
use super::imp::{CAT, NvSink};
use crate::clock;
use crate::elements::message::{Burst, Health, Severity};
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::io;

impl NvSink {
    /// Posts what the streaming thread, the worker or a state change has come across.
    pub(super) fn report(&self, event: Event) {
        let (event, severity, feed_id, burst) = match &event {
            Event::Backpressure { feed_id, burst } => {
                ("sink-backpressure", Severity::Warning, Some(feed_id.as_str()), *burst)
            }
            Event::Panic(burst) => ("sink-panic", Severity::Warning, None, *burst),
            Event::Timeout(burst) => ("sink-timeout", Severity::Error, None, *burst),
            Event::Lagged(burst) => ("output-lagged", Severity::Warning, None, *burst),
        };
        let Burst { count, total } = burst;
        gst::warning!(CAT, imp = self, "{event}: {count} more, {total} in all");
        self.health.post(&*self.obj(), Health { event, severity, feed_id, burst, fields: Vec::new() });
    }

    /// Counts and reports a panic of a signal handler.
    pub(super) fn handler_panicked(&self) {
        if let Some(event) = self.exchange.panicked(clock::now()) {
            self.report(event);
        }
    }

    /// Posts the error of the file; the records that follow are counted.
    pub(super) fn write_failed(&self, error: &io::Error) {
        let location = self.file.lock().as_ref().and_then(|file| file.location.clone()).unwrap_or_default();
        let text = self.location_error(&location, error);
        if error.kind() == io::ErrorKind::StorageFull {
            gst::element_imp_error!(self, gst::ResourceError::NoSpaceLeft, ("{text}"));
        } else {
            gst::element_imp_error!(self, gst::ResourceError::Write, ("{text}"));
        }
    }

    /// What is wrong with `location`, for people.
    pub(super) fn location_error(&self, location: &str, error: &io::Error) -> String {
        format!("{}: property location: cannot write to {location:?}: {error}", self.obj().name())
    }
}
