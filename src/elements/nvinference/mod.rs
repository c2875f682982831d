//! `nvinference`: runs an ONNX model on batches of frames.

mod answer;
mod chain;
mod decode;
mod deliver;
mod events;
mod frames;
mod group;
#[expect(missing_docs, reason = "the accessors the derive makes are documented by the blurbs")]
mod imp;
mod objects;
mod outbox;
mod prepare;
mod pusher;
mod runs;
mod runtime;
mod service;
mod settings;
mod stats;
mod tuning;

use glib::prelude::*;

pub use settings::{Decoder, OnError, Provider};
pub use tuning::{ConvSearch, GraphOptimization, Precision};

glib::wrapper! {
    /// SECTION:element-nvinference
    ///
    /// Runs an ONNX model and attaches what it finds: a `GstVideoRegionOfInterestMeta` per detection. Takes the batches
    /// of `nvbatcher`, whose frames keep their own size and format, or plain `video/x-raw`, each frame a batch of one.
    ///
    /// Frames are letterboxed, converted and normalised straight into the input tensor; nothing upstream has to
    /// scale or convert. All elements of a process with the same model and options share one engine, which runs on
    /// a thread of its own: the next batch is prepared while one runs.
    ///
    /// Plain streams share batches, too: the elements of a process that name the same `batch-group`, in the same or in
    /// different pipelines, run as feeds of one `nvbatcher`, with `max-batch-size` and `max-latency` as there. Their other
    /// options must agree. Frames come out unchanged and in order; those of a live source that come too fast go on without
    /// inference.
    ///
    /// The model's input must be `[N, 3, H, W]` or `[N, H, W, 3]` in f32, f16 or u8. How its pixels are normalised and
    /// its outputs decoded comes from `<model>.toml` beside it, else from the metadata in the file, else from defaults
    /// (RGB, `0..=1`, decoder `auto`); properties override. ONNX Runtime is opened in the change from NULL to READY.
    ///
    /// `provider` runs the model on something other than the CPU if the ONNX Runtime at hand can; one that cannot be had
    /// is an error in the change to READY, unless `allow-fallback` is set. `docs/providers.md` says what each needs.
    /// With a `cache-dir` the next start is faster.
    ///
    /// A frame that cannot be inferred is no error of the stream: it goes on with its status saying so (`on-error`), and
    /// `nv-health` messages say why. A batch that fails is tried once more in two halves. An engine that gives no answer
    /// within `response-timeout`, twice in a row, is replaced by a new one while frames go on without results; if that one
    /// falls silent, too, none is tried again before the element has been in READY.
    ///
    /// ## Example
    ///
    /// ```text
    /// gst-launch-1.0 videotestsrc num-buffers=30 ! nvinference model=models/nanodet-g-320.onnx ! nvsink location=-
    /// ```
    ///
    /// Since: 0.1.0
    pub struct NvInference(ObjectSubclass<imp::NvInference>)
        @extends gst::Element, gst::Object;
}

/// Registers the element.
pub(super) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "nvinference", gst::Rank::NONE, NvInference::static_type())
}
