//! The thread that pushes results downstream, in the order their frames came.

use super::chain::Work;
use super::imp::{CAT, NvInference};
use super::outbox::{Entry, Links, Taken};
use crate::elements::lock;
use crate::elements::thread::{JOIN_TIMEOUT, Step, StepThread};
use crate::infer::Interrupt;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;

impl NvInference {
    pub(super) fn src_activate(&self, pad: &gst::Pad, active: bool) -> Result<(), gst::LoggableError> {
        if !active {
            self.stop();
            let thread = lock(&self.thread).take();
            if thread.is_some_and(|thread| !thread.stop(JOIN_TIMEOUT)) {
                gst::warning!(CAT, imp = self, "The thread is blocked downstream; letting go of it");
            }
            return Ok(());
        }
        // In a group, the threads are the group's.
        if self.membership().is_some() {
            return Ok(());
        }
        *lock(&self.interrupt) = Interrupt::new();
        self.outbox.open();
        let (element, srcpad, outbox) = (self.obj().downgrade(), pad.clone(), Arc::clone(&self.outbox));
        let name = format!("nv-out-{}", self.obj().name());
        let thread = StepThread::spawn(&name, move || {
            let seen = outbox.signal.seen();
            // Taken with the lock, so that who holds it knows that nothing from before is on its way.
            let streaming = srcpad.stream_lock();
            match outbox.take() {
                Taken::Closed => Step::Stop,
                Taken::Empty => {
                    drop(streaming);
                    let look_at = element.upgrade().and_then(|element| element.imp().watch_engine());
                    outbox.signal.wait(seen, look_at);
                    Step::Again
                }
                Taken::Entry(entry, links) => {
                    let Some(element) = element.upgrade() else { return Step::Stop };
                    element.imp().catch_panic(|| Step::Stop, |imp| imp.step(entry, links))
                }
            }
        })
        .map_err(|error| gst::loggable_error!(CAT, "No thread for {name}: {error}"))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// One step of the src thread.
    fn step(&self, entry: Entry<Work>, links: Links) -> Step {
        match entry {
            Entry::Event(event) => {
                if event.type_() == gst::EventType::Eos {
                    self.health.flush(&*self.obj());
                }
                self.srcpad.push_event(event);
            }
            Entry::Work(work) => {
                if let Err(error) = self.deliver(work) {
                    gst::debug!(CAT, imp = self, "Downstream answered {error}");
                    self.outbox.fail(links, error);
                }
                self.outbox.done();
                self.health.catch_up(&*self.obj());
            }
        }
        Step::Again
    }
}
