//! The thread that delivers records: line, signal, pull queue, in that order.

use super::NvSink;
use super::exchange::{Entry, Exchange};
use super::imp::NEW_OUTPUT;
use crate::clock;
use crate::output::{Publisher, Record, Written};
use glib::prelude::*;
use glib::subclass::prelude::*;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// One worker. It holds no reference to the element while it waits, so it keeps no element alive.
pub(super) struct Worker {
    pub(super) exchange: Arc<Exchange>,
    pub(super) generation: u64,
    pub(super) publishers: Vec<Arc<dyn Publisher>>,
    pub(super) sink: glib::WeakRef<NvSink>,
}

/// What the worker does next.
pub(super) enum Step {
    /// Deliver this.
    Deliver(Box<Entry>),
    /// Nothing is waiting: bring the file up to date.
    Flush,
}

/// Says that the worker has ended, however it ended.
struct Ending<'a>(&'a Worker);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.exchange.ended(self.0.generation);
    }
}

impl Worker {
    /// Starts the thread of the sink called `name`.
    pub(super) fn spawn(self, name: &str) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("nv-sink-{name}")).spawn(move || self.run())
    }

    fn run(&self) {
        let _ending = Ending(self);
        while let Some(step) = self.exchange.next(self.generation) {
            match step {
                Step::Deliver(entry) => self.deliver(entry),
                Step::Flush => self.flush(),
            }
        }
    }

    fn deliver(&self, mut entry: Box<Entry>) {
        self.each_publisher(|publisher| publisher.publish(&entry.record));
        if let Some(sample) = entry.attachment.take() {
            self.emit(&sample, &entry.record);
        }
        if let Some(event) = self.exchange.delivered(self.generation, entry, clock::now()) {
            self.with_sink(|sink| sink.imp().report(event));
        }
    }

    fn flush(&self) {
        self.each_publisher(|publisher| publisher.flush());
        if let Some(event) = self.exchange.recovered(clock::now()) {
            self.with_sink(|sink| sink.imp().report(event));
        }
    }

    /// Handlers connected through [`NvSink::connect_new_output`] catch their own panics; this guards the
    /// thread against those of other bindings that unwind.
    fn emit(&self, sample: &gst::Sample, record: &Record) {
        let structure = gst::Structure::from(record);
        self.with_sink(|sink| {
            let emission = AssertUnwindSafe(|| sink.emit_by_name::<()>(NEW_OUTPUT, &[sample, &structure]));
            if catch_unwind(emission).is_err() {
                sink.imp().handler_panicked();
            }
        });
    }

    fn each_publisher(&self, call: impl Fn(&dyn Publisher) -> Written) {
        for publisher in &self.publishers {
            match catch_unwind(AssertUnwindSafe(|| call(publisher.as_ref()))) {
                Ok(written) => self.account(written),
                Err(_) => self.with_sink(|sink| sink.imp().handler_panicked()),
            }
        }
    }

    fn account(&self, written: Written) {
        let Written { written, lost, error, .. } = written;
        if written > 0 || lost > 0 {
            self.exchange.wrote(written, lost);
        }
        if let Some(error) = error {
            self.with_sink(|sink| sink.imp().write_failed(&error));
        }
    }

    fn with_sink(&self, call: impl FnOnce(&NvSink)) {
        if let Some(sink) = self.sink.upgrade() {
            call(&sink);
        }
    }
}
