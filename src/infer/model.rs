//! What the elements need to know about a model, in plain values.

use super::cache::CacheUse;
use crate::vision::Size;
pub use crate::vision::preprocess::{ChannelOrder, Layout};
use crate::vision::preprocess::{InputSpec, Normalize};
use std::fmt;

/// The type of the input's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// 32 bit float.
    F32,
    /// 16 bit float.
    F16,
    /// Unsigned byte.
    U8,
}

impl ElementType {
    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 => 1,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U8 => "u8",
        })
    }
}

/// How many images the model takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Batch {
    /// Always that many; smaller batches are padded with zeros and the padding is cut off the results.
    Fixed(usize),
    /// Any number.
    Dynamic,
}

/// One output as the model declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputDescription {
    /// Its name.
    pub name: String,
    /// Its dimensions; `None` is one that is known only after a run.
    pub dims: Vec<Option<usize>>,
}

/// Everything the elements need to know about a loaded model.
///
/// Made from the model's signature, its sidecar, its metadata and the defaults, in that order of weight:
/// what the file fixes cannot be overridden, see [`sidecar`](super::sidecar).
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDescription {
    /// The file's name without folder and extension.
    pub name: String,
    /// The name of the one image input.
    pub input: String,
    /// The order of its dimensions.
    pub layout: Layout,
    /// The type of its elements.
    pub element: ElementType,
    /// Its first dimension.
    pub batch: Batch,
    /// Width and height of the input image in pixels.
    pub size: Size,
    /// Elements in one row: `3 * width * height`.
    pub row_len: usize,
    /// The order of the channels.
    pub order: ChannelOrder,
    /// Subtracted from every channel, in units of `0..=255`, in the order of `order`.
    pub mean: [f32; 3],
    /// What the difference is then divided by, in units of `0..=255`, in the order of `order`.
    pub std: [f32; 3],
    /// The grey of the letterbox's border, `0..=255` before normalisation.
    pub pad: u8,
    /// The outputs, in the model's order.
    pub outputs: Vec<OutputDescription>,
    /// The decoder the sidecar names.
    pub decoder: Option<String>,
    /// The task the metadata names (`detect`, `classify`, ...).
    pub task: Option<String>,
    /// The coarsest stride of the network in pixels, from the metadata.
    pub stride: Option<u32>,
    /// Names of the classes, by number.
    pub labels: Option<Vec<String>>,
    /// The score threshold the sidecar names, `0..=1`.
    pub score_threshold: Option<f32>,
    /// The IoU threshold the sidecar names, `0..=1`.
    pub iou_threshold: Option<f32>,
    /// The execution provider that runs it.
    pub provider: String,
    /// The version of ONNX Runtime that runs it.
    pub runtime_version: String,
    /// How it was opened.
    pub opened: Opened,
}

/// What came of opening a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Most rows of a batch, if what was built for the model sets a limit that the model itself does not.
    pub limit: Option<usize>,
    /// How many nodes of the graph ran on which provider, the busiest first; empty for the CPU alone, and where the
    /// runtime does not tell.
    pub placement: Vec<(String, u32)>,
    /// What became of the cache.
    pub cache: CacheUse,
}

impl ModelDescription {
    /// What runs the model, with how many of its nodes each provider runs: `cuda 118, cpu 4`; just the provider where
    /// that is not known.
    #[must_use]
    pub fn providers(&self) -> String {
        let parts: Vec<_> =
            self.opened.placement.iter().map(|(provider, nodes)| format!("{provider} {nodes}")).collect();
        if parts.is_empty() { self.provider.clone() } else { parts.join(", ") }
    }

    /// The image the model takes, as pre-processing wants it.
    #[must_use]
    pub const fn input_spec(&self) -> InputSpec {
        let normalize = Normalize { order: self.order, mean: self.mean, std: self.std };
        InputSpec { layout: self.layout, size: self.size, normalize, pad: self.pad }
    }
}
