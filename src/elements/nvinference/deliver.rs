//! The downstream half: answers become detections on their frames, and buffers leave in the order they came.

use super::answer::Owners;
use super::chain::{Content, Plain, Run, Work};
use super::decode::{Failure, Outcome};
use super::imp::NvInference;
use super::runtime::Runtime;
use super::settings::OnError;
use crate::batch::DropReason;
use crate::clock;
use crate::elements::{facts, lock};
use crate::meta::batch::{self as meta, Batch, Format, Item, Verdict};
use crate::meta::detections::{self, Found};
use crate::output::Status;
use crate::vision::Size;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl NvInference {
    /// Waits for the answers to `work`, attaches them and pushes it.
    pub(super) fn deliver(&self, work: Work) -> Result<gst::FlowSuccess, gst::FlowError> {
        match work.content {
            Content::Batch(carrier, batch) => self.deliver_batch(carrier, batch, work.runs),
            Content::Plain(plain) => self.deliver_plain(*plain, work.runs),
        }
    }

    fn deliver_batch(
        &self,
        mut carrier: gst::Buffer,
        mut batch: Batch,
        runs: Vec<Run>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        for run in runs {
            let (frames, runtime) = (run.frames.clone(), Arc::clone(&run.runtime));
            let owners = owners(&batch, &frames);
            for (at, outcome) in frames.into_iter().zip(self.complete(run, &owners)) {
                if let Some(Item::Frame(frame)) = batch.items.get_mut(at) {
                    settle(&runtime, frame, outcome);
                }
            }
        }
        if lock(&self.settings).on_error == OnError::Drop {
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

    fn deliver_plain(&self, mut plain: Plain, runs: Vec<Run>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(run) = runs.into_iter().next() else { return Ok(gst::FlowSuccess::Ok) };
        let (name, runtime) = (self.obj().name(), Arc::clone(&run.runtime));
        let owners = Owners { feeds: vec![Arc::from(name.as_str())], tickets: Vec::new() };
        let Some(mut outcome) = self.complete(run, &owners).into_iter().next() else {
            return Ok(gst::FlowSuccess::Ok);
        };
        attach(&runtime, plain.buffer.make_mut(), &plain.format, &mut outcome);
        let verdict = verdict(&runtime, &outcome);
        if verdict.error.is_some() && lock(&self.settings).on_error == OnError::Drop {
            return Ok(gst::FlowSuccess::Ok);
        }
        let facts = facts::of_plain(&name, plain.seq, plain.arrival, plain.wall_us, verdict, clock::now());
        crate::meta::frame::write(plain.buffer.make_mut(), &facts);
        self.srcpad.push(plain.buffer)
    }
}

/// Whose the frames at `frames` are.
fn owners(batch: &Batch, frames: &[usize]) -> Owners {
    let frames = frames.iter().filter_map(|at| match batch.items.get(*at) {
        Some(Item::Frame(frame)) => Some((Arc::clone(&frame.feed.name), frame.ticket.clone())),
        _ => None,
    });
    let (feeds, tickets) = frames.unzip();
    Owners { feeds, tickets }
}

fn verdict(runtime: &Runtime, outcome: &Outcome) -> Verdict {
    let (status, error) = match &outcome.detections {
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
fn attach(runtime: &Runtime, buffer: &mut gst::BufferRef, format: &Format, outcome: &mut Outcome) {
    let Ok(found) = &outcome.detections else { return };
    let size = Size::new(format.info.width(), format.info.height());
    let attached = catch_unwind(AssertUnwindSafe(|| {
        let labels: Vec<_> = found.iter().map(|detection| runtime.label(detection)).collect();
        let found: Vec<_> =
            labels.iter().zip(found).map(|(label, detection)| Found { label, detection }).collect();
        detections::attach(buffer, size, &found);
    }));
    if let Err(panic) = attached {
        outcome.detections = Err(Failure::panic(&*panic));
    }
}

/// Writes the outcome onto a frame of a batch.
fn settle(runtime: &Runtime, frame: &mut meta::Frame, mut outcome: Outcome) {
    attach(runtime, frame.buffer.make_mut(), &frame.format, &mut outcome);
    frame.verdict = Some(verdict(runtime, &outcome));
    if let Err(failure) = outcome.detections {
        frame.ticket.fail(failure.reason);
    }
}
