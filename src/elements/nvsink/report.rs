//! What went wrong, as messages on the bus.

use super::exchange::Event;
use super::imp::{CAT, NvSink, PULL_OUTPUT};
use crate::clock;
use crate::health::{self, Due, OutputLagged, SinkBackpressure, SinkPanic, SinkTimeout, redact};
use crate::time::nanos;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::io;

impl NvSink {
    /// Posts what the streaming thread, the worker or a state change has come across.
    pub(super) fn report(&self, event: Event) {
        let settings = self.settings();
        let (event, feed_id, burst): (health::Event, _, _) = match event {
            Event::Backpressure { feed_id, burst } => {
                (SinkBackpressure { capacity: settings.queue_capacity }.into(), Some(feed_id), burst)
            }
            Event::Panic(burst) => (SinkPanic {}.into(), None, burst),
            Event::Timeout(burst) => {
                (SinkTimeout { timeout: nanos(settings.shutdown_timeout()) }.into(), None, burst)
            }
            Event::Lagged(burst) => (OutputLagged { consumer: PULL_OUTPUT.to_owned() }.into(), None, burst),
        };
        gst::warning!(CAT, imp = self, "{}: {} more, {} in all", event.name(), burst.count, burst.total);
        self.health.post(&*self.obj(), Due { feed_id, event, burst });
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
        let location = redact(location);
        format!("{}: property location: cannot write to {location:?}: {error}", self.obj().name())
    }
}
