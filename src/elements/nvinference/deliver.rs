//! The downstream half: answers become detections on their frames, and buffers leave in the order they came.

use super::chain::{Content, Plain, Work};
use super::decode::{Failure, Outcome};
use super::imp::NvInference;
use super::objects::Chosen;
use super::runs::{Owners, Run};
use super::runtime::Runtime;
use super::settings::{OnError, OperateOn};
use crate::batch::DropReason;
use crate::clock;
use crate::elements::{facts, lock, video};
use crate::meta::batch::{self as meta, Batch, Format, Item, Verdict};
use crate::meta::objects;
use crate::output::Status;
use crate::vision::Detection;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl NvInference {
    /// Waits for the answers to `work`, attaches them and pushes it.
    pub(super) fn deliver(&self, work: Work) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Work { content, runs, chosen } = work;
        match content {
            Content::Batch(carrier, batch) => self.deliver_batch(carrier, batch, runs, chosen),
            Content::Plain(plain) => self.deliver_plain(plain, runs, chosen),
        }
    }

    fn deliver_batch(
        &self,
        mut carrier: gst::Buffer,
        mut batch: Batch,
        mut runs: Vec<Run>,
        chosen: Chosen,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        for run in &mut runs {
            self.complete(run, Owners::Batch(&batch.items));
            let runtime = &run.runtime;
            let (answers, found, vectors) = run.parts.answers();
            for (row, outcome) in answers {
                let Some(Item::Frame(frame)) = batch.items.get_mut(row.item) else { continue };
                let on = (frame.buffer.make_mut(), &*frame.format);
                match &row.object {
                    Some(object) => self.memory.settle(runtime, on, object, outcome, (found, vectors)),
                    None => settle(runtime, frame, outcome, found),
                }
            }
        }
        self.spare.recycle(runs);
        for (item, object) in &chosen.known {
            if let Some(Item::Frame(frame)) = batch.items.get_mut(*item) {
                self.memory.repeat(frame.buffer.make_mut(), object);
            }
        }
        self.spare.recycle_chosen(chosen);
        if self.drops_failed() {
            batch.items.retain(|item| match item {
                Item::Frame(frame)
                    if frame.verdict.as_ref().is_some_and(|verdict| verdict.error.is_some()) =>
                {
                    frame.ticket.discard(DropReason::OnError);
                    false
                }
                _ => true,
            });
        }
        meta::attach(carrier.make_mut(), batch);
        self.srcpad.push(carrier)
    }

    fn deliver_plain(
        &self,
        plain: Plain,
        mut runs: Vec<Run>,
        chosen: Chosen,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Plain { mut buffer, format, seq, arrival, wall_us } = plain;
        let name = self.obj().name();
        let mut frame_verdict = None;
        for run in &mut runs {
            self.complete(run, Owners::Plain(&name));
            let runtime = &run.runtime;
            let (answers, found, vectors) = run.parts.answers();
            for (row, outcome) in answers {
                let on = (buffer.make_mut(), &*format);
                match &row.object {
                    Some(object) => self.memory.settle(runtime, on, object, outcome, (found, vectors)),
                    None => {
                        attach(runtime, on.0, on.1, outcome, found);
                        frame_verdict = Some(verdict(runtime, outcome));
                    }
                }
            }
        }
        self.spare.recycle(runs);
        for (_, object) in &chosen.known {
            self.memory.repeat(buffer.make_mut(), object);
        }
        self.spare.recycle_chosen(chosen);
        // What is known of a frame is for the model that looks at all of it to say.
        if let Some(verdict) = frame_verdict {
            if verdict.error.is_some() && self.drops_failed() {
                return Ok(gst::FlowSuccess::Ok);
            }
            let facts = facts::of_plain(&name, seq, arrival, wall_us, verdict, clock::now());
            crate::meta::frame::write(buffer.make_mut(), &facts);
        }
        self.srcpad.push(buffer)
    }
}

impl NvInference {
    /// Whether frames that failed are dropped. Those whose objects failed are not: the frame is well.
    fn drops_failed(&self) -> bool {
        let settings = lock(&self.settings);
        settings.on_error == OnError::Drop && settings.operate_on == OperateOn::Frame
    }
}

fn verdict(runtime: &Runtime, outcome: &Outcome) -> Verdict {
    let (status, error) = match &outcome.found {
        Ok(_) => (Status::Inferred, None),
        Err(failure) => (failure.status, Some(Arc::clone(&failure.detail))),
    };
    Verdict {
        status,
        error,
        model: Arc::clone(&runtime.model),
        provider: Arc::clone(&runtime.provider),
        ran: outcome.ran,
    }
}

/// Writes what was found onto the frame. A panic in that makes the outcome a failure.
fn attach(
    runtime: &Runtime,
    buffer: &mut gst::BufferRef,
    format: &Format,
    outcome: &mut Outcome,
    found: &[Detection],
) {
    let Ok(range) = &outcome.found else { return };
    let detections = found.get(range.clone()).unwrap_or_default();
    let size = video::size(&format.info);
    let attached = catch_unwind(AssertUnwindSafe(|| {
        objects::attach(buffer, size, detections, |detection| runtime.label(detection), &runtime.meta);
    }));
    if let Err(panic) = attached {
        outcome.found = Err(Failure::panic(&*panic));
    }
}

/// Writes the outcome onto a frame of a batch.
fn settle(runtime: &Runtime, frame: &mut meta::Frame, outcome: &mut Outcome, found: &[Detection]) {
    attach(runtime, frame.buffer.make_mut(), &frame.format, outcome, found);
    frame.verdict = Some(verdict(runtime, outcome));
    if let Err(failure) = &outcome.found {
        frame.ticket.fail(failure.reason);
    }
}
