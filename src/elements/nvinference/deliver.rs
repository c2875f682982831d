//! The downstream half: answers become detections on their frames, and buffers leave in the order they came.

use super::chain::{Content, Plain, Run, Work};
use super::imp::{CAT, NvInference};
use super::runtime::Runtime;
use super::settings::OnError;
use crate::batch::{DropReason, FailReason};
use crate::clock;
use crate::elements::{facts, lock};
use crate::infer::{InferError, Reply};
use crate::meta::batch::{self as meta, Batch, Format, Item, Verdict};
use crate::meta::detections::{self, Found};
use crate::output::Status;
use crate::time::Monotonic;
use crate::vision::decode::TensorView;
use crate::vision::letterbox::Letterbox;
use crate::vision::{Detection, Size};
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;

/// What became of one frame.
struct Outcome {
    /// In frame pixels.
    detections: Result<Vec<Detection>, Failure>,
    ran: Option<(Monotonic, Monotonic)>,
}

/// Why a frame has no result.
#[derive(Clone)]
struct Failure {
    status: Status,
    reason: FailReason,
    detail: Arc<str>,
}

impl NvInference {
    /// Waits for the answers to `work`, attaches them and pushes it.
    pub(super) fn deliver(&self, work: Work) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(runtime) = self.runtime() else { return Err(gst::FlowError::Flushing) };
        match work.content {
            Content::Batch(carrier, batch) => self.deliver_batch(&runtime, carrier, batch, work.runs),
            Content::Plain(plain) => self.deliver_plain(&runtime, *plain, work.runs),
        }
    }

    fn deliver_batch(
        &self,
        runtime: &Runtime,
        mut carrier: gst::Buffer,
        mut batch: Batch,
        runs: Vec<Run>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        for run in runs {
            let frames = run.frames.clone();
            for (at, outcome) in frames.into_iter().zip(self.complete(runtime, run)) {
                if let Some(Item::Frame(frame)) = batch.items.get_mut(at) {
                    settle(runtime, frame, outcome);
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

    fn deliver_plain(
        &self,
        runtime: &Runtime,
        mut plain: Plain,
        runs: Vec<Run>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let outcome = runs.into_iter().next().and_then(|run| self.complete(runtime, run).into_iter().next());
        let Some(outcome) = outcome else { return Ok(gst::FlowSuccess::Ok) };
        let verdict = verdict(runtime, &outcome);
        if verdict.error.is_some() && lock(&self.settings).on_error == OnError::Drop {
            return Ok(gst::FlowSuccess::Ok);
        }
        let buffer = plain.buffer.make_mut();
        attach(runtime, buffer, &plain.format, &outcome);
        let name = self.obj().name();
        let facts = facts::of_plain(&name, plain.seq, plain.arrival, plain.wall_us, verdict, clock::now());
        crate::meta::frame::write(buffer, &facts);
        self.srcpad.push(plain.buffer)
    }

    /// Waits for the answer to one run: an outcome for every one of its frames.
    fn complete(&self, runtime: &Runtime, run: Run) -> Vec<Outcome> {
        let timeout = lock(&self.settings).response_timeout();
        let count = run.frames.len();
        let reply = run.pending.and_then(|pending| pending.wait(&self.interrupt(), timeout));
        let outcomes = match reply {
            Ok(reply) => decode(runtime, &reply, &run.placed),
            Err(error) => {
                gst::warning!(CAT, imp = self, "{count} frames without a result: {error}");
                failed(&Failure::from(&error), count)
            }
        };
        let lost = outcomes.iter().filter(|outcome| outcome.detections.is_err()).count();
        self.count(count - lost, lost);
        outcomes
    }
}

impl From<&InferError> for Failure {
    fn from(error: &InferError) -> Self {
        let (status, reason) = match error {
            InferError::Timeout { .. } => (Status::Timeout, FailReason::Timeout),
            InferError::Panic { .. } => (Status::Failed, FailReason::Panic),
            _ => (Status::Failed, FailReason::Error),
        };
        Self { status, reason, detail: error.to_string().into() }
    }
}

impl Failure {
    fn invalid(detail: &str) -> Self {
        Self { status: Status::Failed, reason: FailReason::Invalid, detail: detail.into() }
    }
}

fn failed(failure: &Failure, count: usize) -> Vec<Outcome> {
    (0..count).map(|_| Outcome { detections: Err(failure.clone()), ran: None }).collect()
}

/// Reads the outputs of a run, moving what was found into the frame of each image.
fn decode(runtime: &Runtime, reply: &Reply, placed: &[Result<Letterbox, String>]) -> Vec<Outcome> {
    let views: Vec<_> = reply
        .outputs
        .tensors
        .iter()
        .map(|tensor| TensorView { name: &tensor.name, shape: &tensor.shape, data: &tensor.data })
        .collect();
    let images = match runtime.decoder.decode(&views, placed.len(), &runtime.params) {
        Ok(images) => images,
        Err(error) => return failed(&Failure::invalid(&error.to_string()), placed.len()),
    };
    let outcome = |(image, placed): (Result<Vec<Detection>, String>, &Result<Letterbox, String>)| {
        let detections = match (image, placed) {
            (_, Err(refusal)) => Err(Failure::invalid(refusal)),
            (Err(error), _) => Err(Failure::invalid(&error)),
            (Ok(found), Ok(letterbox)) => Ok(found.into_iter().map(|one| in_frame(letterbox, one)).collect()),
        };
        Outcome { detections, ran: Some((reply.started, reply.ended)) }
    };
    images
        .into_iter()
        .map(|image| image.map_err(|error| error.to_string()))
        .zip(placed)
        .map(outcome)
        .collect()
}

/// Moves a detection from the model's image into the frame.
fn in_frame(letterbox: &Letterbox, detection: Detection) -> Detection {
    let landmarks =
        detection.landmarks.iter().map(|point| letterbox.frame_from_model_point(*point)).collect();
    Detection {
        bbox: letterbox.frame_from_model(&detection.bbox).clamped(letterbox.frame()),
        landmarks,
        ..detection
    }
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

fn attach(runtime: &Runtime, buffer: &mut gst::BufferRef, format: &Format, outcome: &Outcome) {
    let Ok(found) = &outcome.detections else { return };
    let size = Size::new(format.info.width(), format.info.height());
    let labels: Vec<_> = found.iter().map(|detection| runtime.label(detection)).collect();
    let found: Vec<_> =
        labels.iter().zip(found).map(|(label, detection)| Found { label, detection }).collect();
    detections::attach(buffer, size, &found);
}

/// Writes the outcome onto a frame of a batch.
fn settle(runtime: &Runtime, frame: &mut meta::Frame, outcome: Outcome) {
    attach(runtime, frame.buffer.make_mut(), &frame.format, &outcome);
    frame.verdict = Some(verdict(runtime, &outcome));
    if let Err(failure) = outcome.detections {
        frame.ticket.fail(failure.reason);
    }
}
