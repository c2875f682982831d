//! The upstream half: frames become rows of input tensors, tensors go to the engine, and what is still to be
//! answered goes into the outbox, in order.

use super::imp::{CAT, NvInference, Stream};
use super::outbox;
use super::prepare::{Preparer, Subjects};
use super::runs::{Asked, Parts, Run};
use super::runtime::Runtime;
use super::service::Serving;
use crate::clock;
use crate::elements::{link, lock};
use crate::infer::{Interrupt, cores};
use crate::meta::batch::{self as meta, Format, Item};
use crate::time::Monotonic;
use gst::subclass::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// A plain frame on its way through.
pub(super) struct Plain {
    pub(super) buffer: gst::Buffer,
    pub(super) format: Arc<Format>,
    pub(super) seq: u64,
    pub(super) arrival: Monotonic,
    pub(super) wall_us: u64,
}

/// What came in.
pub(super) enum Content {
    /// A batch, and the buffer that carried it.
    Batch(gst::Buffer, meta::Batch),
    Plain(Plain),
}

/// One buffer on its way through.
pub(super) struct Work {
    pub(super) content: Content,
    pub(super) runs: Vec<Run>,
}

/// How runs are started.
struct Starter<'a> {
    serving: &'a Serving,
    interrupt: &'a Interrupt,
    timeout: Duration,
    preparer: &'a mut Preparer,
}

impl NvInference {
    pub(super) fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if let Some(lane) = self.lane() {
            return lane.chain(buffer);
        }
        let serving = self.service.serving().ok_or(gst::FlowError::Flushing)?;
        let stream = lock(&self.stream).clone();
        let mut preparer = std::mem::take(&mut *lock(&self.preparer));
        let interrupt = self.interrupt();
        let timeout = self.response_timeout();
        let starter = Starter { serving: &serving, interrupt: &interrupt, timeout, preparer: &mut preparer };
        let work = match stream {
            Stream::Batches => self.take_batch(starter, buffer),
            Stream::Video(format) => Ok(self.take_frame(starter, format, buffer)),
            Stream::None => {
                gst::element_imp_error!(
                    self,
                    gst::CoreError::Negotiation,
                    ["sink: a buffer came before caps"]
                );
                Err(gst::FlowError::NotNegotiated)
            }
        };
        *lock(&self.preparer) = preparer;
        self.outbox.put(outbox::Entry::Work(work?)).map(|()| gst::FlowSuccess::Ok)
    }

    fn take_batch(&self, mut starter: Starter<'_>, mut carrier: gst::Buffer) -> Result<Work, gst::FlowError> {
        let Some(batch) = meta::take(carrier.make_mut()) else {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ["sink: expected buffers with a batch from nvbatcher, found one without"]
            );
            return Err(gst::FlowError::Error);
        };
        let reopens = |item: &Item| matches!(item, Item::Event { event, .. } if link::reopens(event));
        if batch.items.iter().any(reopens) {
            self.outbox.retry();
        }
        let most = starter.serving.runtime.engine.max_batch().unwrap_or(usize::MAX).max(1);
        let is_chosen = |item: &Item| item.frame().is_some_and(|frame| frame.infer);
        let mut chosen =
            batch.items.iter().enumerate().filter(|(_, item)| is_chosen(item)).map(|(at, _)| at).peekable();
        let mut runs = self.spare.list();
        while chosen.peek().is_some() {
            let mut parts = self.spare.parts();
            parts.frames.extend(chosen.by_ref().take(most));
            runs.push(starter.start(parts, Subjects::Batch(&batch.items)));
        }
        gst::trace!(CAT, imp = self, "{:?}: {} runs", batch.label, runs.len());
        Ok(Work { content: Content::Batch(carrier, batch), runs })
    }

    fn take_frame(&self, mut starter: Starter<'_>, format: Arc<Format>, buffer: gst::Buffer) -> Work {
        let arrival = clock::now();
        let (mut parts, mut runs) = (self.spare.parts(), self.spare.list());
        parts.frames.push(0);
        runs.push(starter.start(parts, Subjects::Plain(&buffer, &format)));
        let seq = self.next_seq();
        let plain = Plain { buffer, format, seq, arrival, wall_us: clock::wall_micros() };
        Work { content: Content::Plain(plain), runs }
    }
}

impl Starter<'_> {
    /// Prepares the frames and hands them to the engine, waiting for room there.
    fn start(&mut self, mut parts: Parts, subjects: Subjects<'_>) -> Run {
        let asked = self.ask(&mut parts, subjects);
        Run { runtime: Arc::clone(&self.serving.runtime), asked, parts }
    }

    fn ask(&mut self, parts: &mut Parts, subjects: Subjects<'_>) -> Asked {
        if let Some(why) = &self.serving.refusal {
            return Asked::Rejected(Arc::clone(why));
        }
        let Runtime { engine, spec, .. } = &*self.serving.runtime;
        let mut input = match engine.input(parts.frames.len()) {
            Ok(input) => input,
            Err(error) => return Asked::Engine(Err(error)),
        };
        let free = cores().saturating_sub(engine.busy_threads());
        let Parts { frames, placed, .. } = parts;
        if let Err(why) = self.preparer.prepare(*spec, subjects, frames, &mut input.data, placed, free) {
            placed.clear();
            placed.resize(frames.len(), Err(why));
        }
        if placed.iter().all(Result::is_err) {
            engine.recycle(input);
            return Asked::Nothing;
        }
        let tickets = Arc::clone(&parts.tickets);
        tickets.take_from(subjects.items(), &parts.frames);
        let pending = engine.submit(input, tickets, self.interrupt, self.timeout);
        Asked::Engine(pending.map_err(|refused| refused.error))
    }
}
