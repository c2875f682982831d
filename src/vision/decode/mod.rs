//! Decoding: the output tensors of one batch run become detections, per image and in model space.
//!
//! [`choose()`] picks a [`DecoderKind`] from the shapes a model declares, [`check`] builds the [`Decoder`] or
//! says which output it cannot read, and [`Decoder::decode`] reads a run into a [`Workspace`], whose memory
//! it uses again and again: a run like an earlier one allocates nothing. All layouts share these rules:
//!
//! * A candidate is kept if its score is at least `score_threshold`. Scores are then clamped to `0..=1`.
//! * A NaN score, or any non-finite number in a candidate above the threshold, fails that image and no other
//!   ([`DecodeError::NonFinite`]). Where an objectness score already excludes a row, the row is read no
//!   further.
//! * Before boxes are decoded, the candidates of an image are cut down to the best 30 × `max_detections`, at
//!   most 30 000, so a million boxes cost one pass over the scores.
//! * Exponents are capped, boxes and landmarks clamped to the model's image; boxes without area are dropped.
//! * One result per image of the batch, always. A tensor with more or fewer rows fails the run.
//!
//! Nothing here maps boxes back to the frame (see [`super::letterbox`]) or knows names of classes (see
//! [`super::labels`]). A decoder trusts the declared *meaning* of a tensor: it cannot tell a model trained
//! with another convention from a bad one.

mod candidates;
mod centerface;
mod choose;
mod classifier;
mod detr;
mod embedding;
mod error;
mod grid;
mod in_graph_nms;
mod kind;
mod nanodet;
mod ssd;
mod tensor;
#[cfg(test)]
mod tests;
mod workspace;
mod yolov5;
mod yolov8;
mod yolox;

use super::Size;

pub use choose::{Hints, choose};
pub use embedding::MAX_DIMS;
pub use error::DecodeError;
pub use kind::{DecoderChoice, DecoderKind, UnknownDecoder};
pub use tensor::{OutputShape, TensorView};
pub use workspace::Workspace;

/// What the caller asks of a decoder. May change from run to run, except `classes`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Least score of a detection, `0..=1`, itself included.
    pub score_threshold: f32,
    /// Intersection over union, `0..=1`, above which the worse of two detections of a class is dropped; not
    /// used by layouts whose model suppresses itself.
    pub iou_threshold: f32,
    /// Most detections returned per image.
    pub max_detections: usize,
    /// Size of the model's input image, in pixels: the space of the boxes.
    pub model: Size,
    /// Number of class names known from labels or metadata, if any.
    pub classes: Option<usize>,
}

/// Reads the outputs of a model with one known layout.
pub trait Decoder: Send + Sync {
    /// The layout.
    fn kind(&self) -> DecoderKind;

    /// Number of classes the declared shapes imply; `None` if they leave it open, as layouts do whose rows
    /// carry a class id.
    fn classes(&self) -> Option<usize>;

    /// Finds the detections of each of the `batch` images of one run and leaves them in `workspace`, best
    /// first and in model pixels, in place of what an earlier run, of whatever model, has left there.
    ///
    /// The workspace then has `batch` results. An error among them concerns one image.
    ///
    /// # Errors
    /// The outputs as a whole cannot be read: one is missing, has another rank or other dimensions than its
    /// layout asks for, holds more or fewer images than `batch`, or names an image outside the batch. The
    /// workspace then has no results.
    fn decode(
        &self,
        outputs: &[TensorView<'_>],
        batch: usize,
        params: &Params,
        workspace: &mut Workspace,
    ) -> Result<(), DecodeError>;
}

/// A decoder of `kind` for a model that declares `outputs`.
///
/// Dimensions left open in the declaration are checked by [`Decoder::decode`]. Outputs the layout does not
/// use are ignored as long as it is clear which ones it does use.
///
/// # Errors
/// [`DecodeError::Shape`] or [`DecodeError::NoOutput`], with what was expected and what was found.
pub fn check(
    kind: DecoderKind,
    outputs: &[OutputShape],
    params: &Params,
) -> Result<Box<dyn Decoder>, DecodeError> {
    Ok(match kind {
        DecoderKind::YoloV5 => Box::new(yolov5::YoloV5::bind(outputs)?),
        DecoderKind::YoloV8 => Box::new(yolov8::YoloV8::bind(outputs, params)?),
        DecoderKind::YoloX => Box::new(yolox::YoloX::bind(outputs, params)?),
        DecoderKind::NanoDet => Box::new(nanodet::NanoDet::bind(outputs, params)?),
        DecoderKind::Nms => Box::new(in_graph_nms::InGraphNms::bind(outputs)?),
        DecoderKind::Ssd => Box::new(ssd::Ssd::bind(outputs)?),
        DecoderKind::Detr => Box::new(detr::Detr::bind(outputs, params)?),
        DecoderKind::CenterFace => Box::new(centerface::CenterFace::bind(outputs)?),
        DecoderKind::Classifier => Box::new(classifier::Classifier::bind(outputs)?),
        DecoderKind::Embedding => Box::new(embedding::Embedding::bind(outputs)?),
    })
}
