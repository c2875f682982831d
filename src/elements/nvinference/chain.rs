//! The upstream half: frames become rows of input tensors, tensors go to the engine, and what is still to be
//! answered goes into the outbox, in order.

use super::imp::{CAT, NvInference, Stream};
use super::objects::{Chosen, Scene};
use super::outbox;
use super::prepare::{Preparer, Subjects};
use super::runs::{Asked, Parts, Row, Run};
use super::runtime::Runtime;
use super::service::Serving;
use crate::clock;
use crate::elements::{link, lock};
use crate::infer::{InferError, Interrupt, cores};
use crate::meta::batch::{self as meta, Format, Item};
use crate::meta::frame;
use crate::output::Status;
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
    pub(super) chosen: Chosen,
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
        let mut chosen = self.spare.chosen();
        for (item, frame) in batch.items.iter().enumerate().filter_map(|(at, item)| Some((at, item.frame()?)))
        {
            match &starter.serving.runtime.objects {
                Some(rule) => self.memory.choose(rule, &scene_of(item, frame), &mut chosen),
                None if frame.infer => chosen.rows.push(Row::frame(item)),
                None => {}
            }
        }
        let runs = self.start_runs(&mut starter, &chosen, Subjects::Batch(&batch.items));
        gst::trace!(CAT, imp = self, "{:?}: {} runs", batch.label, runs.len());
        Ok(Work { content: Content::Batch(carrier, batch), runs, chosen })
    }

    fn take_frame(&self, mut starter: Starter<'_>, format: Arc<Format>, buffer: gst::Buffer) -> Work {
        let arrival = clock::now();
        let seq = self.next_seq();
        let mut chosen = self.spare.chosen();
        match &starter.serving.runtime.objects {
            Some(rule) => {
                let is_inferred = was_inferred(&buffer);
                let (buffer, format) = (&*buffer, &*format);
                let scene = Scene { item: 0, feed: (0, 0, 0), seq, buffer, format, is_inferred };
                self.memory.choose(rule, &scene, &mut chosen);
            }
            None => chosen.rows.push(Row::frame(0)),
        }
        let runs = self.start_runs(&mut starter, &chosen, Subjects::Plain(&buffer, &format));
        let plain = Plain { buffer, format, seq, arrival, wall_us: clock::wall_micros() };
        Work { content: Content::Plain(plain), runs, chosen }
    }

    /// Starts as many runs as it takes for all that was chosen.
    fn start_runs(&self, starter: &mut Starter<'_>, chosen: &Chosen, subjects: Subjects<'_>) -> Vec<Run> {
        let mut runs = self.spare.list();
        let mut refused = None;
        for rows in chosen.rows.chunks(starter.serving.runtime.most_rows()) {
            let mut parts = self.spare.parts();
            parts.rows.extend_from_slice(rows);
            let run = match &refused {
                // An engine that takes nothing within the timeout is not waited for once more for each run.
                Some(error) => starter.refuse(parts, InferError::clone(error)),
                None => starter.start(parts, subjects),
            };
            if let Asked::Engine(Err(
                error @ (InferError::Timeout { .. } | InferError::Stopped | InferError::Interrupted),
            )) = &run.asked
            {
                refused = Some(error.clone());
            }
            runs.push(run);
        }
        runs
    }
}

/// A frame of a batch, whose objects are looked at.
fn scene_of(item: usize, frame: &meta::Frame) -> Scene<'_> {
    let failed = frame.verdict.as_ref().is_some_and(|verdict| verdict.error.is_some());
    // A feed may carry the results of a stage before the batcher.
    let is_inferred = frame.infer && !failed && was_inferred(&frame.buffer);
    let feed = (frame.feed.id.0, frame.feed.session, frame.feed.epoch);
    Scene { item, feed, seq: frame.seq, buffer: &frame.buffer, format: &frame.format, is_inferred }
}

/// Whether what stands on a frame was found on it. One that says nothing about that has it from elsewhere.
fn was_inferred(buffer: &gst::BufferRef) -> bool {
    frame::status(buffer).is_none_or(Status::may_have_objects)
}

impl Starter<'_> {
    /// Prepares the frames and hands them to the engine, waiting for room there.
    fn start(&mut self, mut parts: Parts, subjects: Subjects<'_>) -> Run {
        let asked = self.ask(&mut parts, subjects);
        Run { runtime: Arc::clone(&self.serving.runtime), asked, parts }
    }

    /// Does not ask, for the reason it was not asked before.
    fn refuse(&self, parts: Parts, error: InferError) -> Run {
        Run { runtime: Arc::clone(&self.serving.runtime), asked: Asked::Engine(Err(error)), parts }
    }

    fn ask(&mut self, parts: &mut Parts, subjects: Subjects<'_>) -> Asked {
        if let Some(why) = &self.serving.refusal {
            return Asked::Rejected(Arc::clone(why));
        }
        let Runtime { engine, spec, .. } = &*self.serving.runtime;
        let mut input = match engine.input(parts.rows.len()) {
            Ok(input) => input,
            Err(error) => return Asked::Engine(Err(error)),
        };
        let free = cores().saturating_sub(engine.busy_threads());
        let Parts { rows, placed, .. } = parts;
        if let Err(why) = self.preparer.prepare(*spec, subjects, rows, &mut input.data, placed, free) {
            placed.clear();
            placed.resize_with(rows.len(), || Err(why.clone()));
        }
        if placed.iter().all(Result::is_err) {
            engine.recycle(input);
            return Asked::Nothing;
        }
        let tickets = Arc::clone(&parts.tickets);
        tickets.take_from(subjects.items(), &parts.rows);
        let pending = engine.submit(input, tickets, self.interrupt, self.timeout);
        Asked::Engine(pending.map_err(|refused| refused.error))
    }
}
