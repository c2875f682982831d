//! From the outputs of a run to what became of each of its frames.

use super::runs::Parts;
use super::runtime::Runtime;
use crate::batch::FailReason;
use crate::health::redact;
use crate::infer::{InferError, OutputTensor, Reply};
use crate::output::Status;
use crate::time::Monotonic;
use crate::vision::decode::{Decoder, Params, TensorView, Workspace};
use smallvec::SmallVec;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Outputs of a model that are looked at without an allocation.
const MOST_OUTPUTS: usize = 16;

/// What became of one frame.
pub(super) struct Outcome {
    /// Where in [`Parts::found`] what was found in it stands, in frame pixels.
    pub(super) found: Result<Range<usize>, Failure>,
    /// Where in [`Parts::vectors`] its vector stands; empty if the model gives none.
    pub(super) vector: Range<usize>,
    pub(super) ran: Option<(Monotonic, Monotonic)>,
}

impl Outcome {
    fn failed(failure: Failure) -> Self {
        Self { found: Err(failure), vector: 0..0, ran: None }
    }
}

/// Whose fault it is that a frame has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The engine's, which the ladder judges.
    Engine,
    /// That of one stage, as the message `stage-error` names it: the frame's or the model's.
    Stage(&'static str),
}

/// Why a frame has no result.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) status: Status,
    pub(super) reason: FailReason,
    pub(super) detail: Arc<str>,
    pub(super) cause: Cause,
}

impl From<&InferError> for Failure {
    fn from(error: &InferError) -> Self {
        let (status, reason) = match error {
            InferError::Timeout { .. } => (Status::Timeout, FailReason::Timeout),
            InferError::Panic { .. } => (Status::Failed, FailReason::Panic),
            _ => (Status::Failed, FailReason::Error),
        };
        Self { status, reason, detail: (&*redact(&error.to_string())).into(), cause: Cause::Engine }
    }
}

impl Failure {
    /// No engine was asked.
    pub(super) fn rejected(detail: &str) -> Self {
        Self {
            status: Status::Failed,
            reason: FailReason::Error,
            detail: (&*redact(detail)).into(),
            cause: Cause::Engine,
        }
    }

    /// The frame cannot be prepared.
    pub(super) fn format(detail: &str) -> Self {
        Self::of_stage("format", FailReason::Invalid, detail)
    }

    fn decode(detail: &str) -> Self {
        Self::of_stage("decode", FailReason::Invalid, detail)
    }

    /// Decoding, or writing down what was found, panicked.
    pub(super) fn panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let detail = format!("decoding panicked: {}", text.unwrap_or("no message"));
        Self::of_stage("decode", FailReason::Panic, &detail)
    }

    fn of_stage(stage: &'static str, reason: FailReason, detail: &str) -> Self {
        Self { status: Status::Failed, reason, detail: (&*redact(detail)).into(), cause: Cause::Stage(stage) }
    }
}

/// The same failure for the next `count` frames.
pub(super) fn failed(failure: &Failure, count: usize, parts: &mut Parts) {
    let outcome = || Outcome::failed(failure.clone());
    parts.outcomes.extend(std::iter::repeat_with(outcome).take(count));
}

/// What became of frames of which none was given to the engine, by why they could not be prepared.
pub(super) fn unprepared(parts: &mut Parts) {
    let Parts { placed, outcomes, .. } = parts;
    outcomes.extend(placed.iter().map(|placed| {
        let why = placed.as_ref().err().map_or("no frame of the batch could be prepared", String::as_str);
        Outcome::failed(Failure::format(why))
    }));
}

/// Reads the outputs of a run of these rows, moving what was found into the frame of each image. One outcome per row,
/// always.
pub(super) fn outcomes(runtime: &Runtime, reply: &Reply, rows: Range<usize>, parts: &mut Parts) {
    let ran = Some((reply.started, reply.ended));
    let Parts { placed, outcomes, found, vectors, workspace, .. } = parts;
    let tensors = &reply.outputs.tensors;
    if let Err(failure) = guarded(&*runtime.decoder, tensors, rows.len(), &runtime.params, workspace) {
        return failed(&failure, rows.len(), parts);
    }
    for (image, placed) in placed.get(rows).unwrap_or_default().iter().enumerate() {
        let result = match (workspace.image(image), placed) {
            (_, Err(refusal)) => Err(Failure::format(refusal)),
            (None, _) => Err(Failure::decode("expected a result, found none")),
            (Some(Err(error)), _) => Err(Failure::decode(&error.to_string())),
            (Some(Ok(detections)), Ok(place)) => {
                let from = found.len();
                found.extend(detections.iter().map(|one| place.in_frame(one)));
                Ok(from..found.len())
            }
        };
        let from = vectors.len();
        vectors.extend_from_slice(workspace.vector(image).unwrap_or_default());
        outcomes.push(Outcome { found: result, vector: from..vectors.len(), ran });
    }
}

/// Decodes, and makes a panic, an error or another number of results than frames a failure of all.
fn guarded(
    decoder: &dyn Decoder,
    tensors: &[OutputTensor],
    batch: usize,
    params: &Params,
    workspace: &mut Workspace,
) -> Result<(), Failure> {
    let views: SmallVec<[_; MOST_OUTPUTS]> =
        tensors.iter().map(|OutputTensor { name, shape, data }| TensorView { name, shape, data }).collect();
    catch_unwind(AssertUnwindSafe(|| decoder.decode(&views, batch, params, workspace)))
        .map_err(|panic| Failure::panic(&*panic))?
        .map_err(|error| Failure::decode(&error.to_string()))?;
    if workspace.images() == batch {
        return Ok(());
    }
    Err(Failure::decode(&format!("expected results for {batch} frames, found {}", workspace.images())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Size;
    use crate::vision::decode::{DecodeError, DecoderKind};

    /// Gives that many results, or panics.
    struct Broken(Option<usize>);

    impl Decoder for Broken {
        fn kind(&self) -> DecoderKind {
            DecoderKind::YoloV8
        }

        fn classes(&self) -> Option<usize> {
            None
        }

        fn decode(
            &self,
            _: &[TensorView<'_>],
            _: usize,
            _: &Params,
            workspace: &mut Workspace,
        ) -> Result<(), DecodeError> {
            let count = self.0.unwrap_or_else(|| panic!("as told"));
            workspace.each_image(count, |_, _| Ok(()));
            Ok(())
        }
    }

    fn decode(decoder: &Broken) -> Result<(), Failure> {
        let params = Params {
            score_threshold: 0.5,
            iou_threshold: 0.5,
            max_detections: 1,
            model: Size::new(64, 64),
            classes: None,
        };
        guarded(decoder, &[], 2, &params, &mut Workspace::default())
    }

    #[test]
    fn a_decoder_that_panics_fails_the_frames() {
        let failure = decode(&Broken(None)).unwrap_err();
        assert_eq!((failure.reason, failure.cause), (FailReason::Panic, Cause::Stage("decode")));
        assert_eq!(&*failure.detail, "decoding panicked: as told");
    }

    #[test]
    fn results_that_could_be_taken_for_those_of_other_frames_fail_all() {
        assert!(decode(&Broken(Some(2))).is_ok());
        for count in [0, 1, 3] {
            assert_eq!(decode(&Broken(Some(count))).unwrap_err().cause, Cause::Stage("decode"), "{count}");
        }
    }
}
