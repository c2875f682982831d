//! Fused pre-processing: from a frame in memory to one image of the model's input tensor, in one pass.
//!
//! Per row of the scaled frame: sample every component bilinearly where the row needs it (`taps`), turn
//! the components into RGB (`convert`), normalise, and write to the tensor (`store`). No frame is stored in
//! between, only rows, and no source pixel is read that no tap needs: the cost follows the size of the
//! model image, not that of the frame.
//!
//! Not here: antialiasing (detectors are trained without), transfer functions and primaries (levels stay
//! gamma-coded, as in every training set), rotation, interlacing and cropping (the caller passes planes that
//! start at the first pixel wanted). Nothing here starts a thread: one [`Preprocessor`] per thread.

mod convert;
mod frame;
mod store;
mod taps;
#[cfg(test)]
mod tests;

pub use frame::{ChromaSite, Colorimetry, FrameError, FrameView, Matrix, PixelFormat, Plane, Range};

use super::Size;
use super::letterbox::{Letterbox, LetterboxError};
use convert::{Conversion, Levels};
use half::f16;
use store::{Element, Writer};
use taps::Sampler;

/// Order of the three channels in the tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// How a level becomes a value of the tensor: `(level - mean) / std`, per channel.
///
/// `mean` and `std` are in levels `0..=255` and in the tensor's channel order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalize {
    /// Order of the channels in the tensor.
    pub order: ChannelOrder,
    /// Level that becomes 0.
    pub mean: [f32; 3],
    /// Levels that make a step of 1.
    pub std: [f32; 3],
}

impl Normalize {
    /// RGB, `0..=1`.
    pub const UNIT_RGB: Self = Self { order: ChannelOrder::Rgb, mean: [0.0; 3], std: [255.0; 3] };
    /// RGB, the levels `0..=255` themselves.
    pub const LEVELS_RGB: Self = Self { order: ChannelOrder::Rgb, mean: [0.0; 3], std: [1.0; 3] };
}

/// Order of the tensor's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[N, 3, height, width]`.
    Nchw,
    /// `[N, height, width, 3]`.
    Nhwc,
}

/// The image a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputSpec {
    /// Order of the axes.
    pub layout: Layout,
    /// Size of the image.
    pub size: Size,
    /// Channel order and values.
    pub normalize: Normalize,
    /// Level of the padding around the frame, in every channel. Usually [`PAD_LEVEL`].
    pub pad: u8,
}

/// The grey of the padding that YOLO and its kin are trained with.
pub const PAD_LEVEL: u8 = 114;

/// The place of one image in the batch tensor: `3 * height * width` elements.
#[derive(Debug)]
pub enum Slot<'a> {
    /// `f32`, normalised.
    F32(&'a mut [f32]),
    /// `f16`, normalised.
    F16(&'a mut [f16]),
    /// Levels `0..=255`, rounded. The channel order is obeyed, mean and deviation are **not**: a model that
    /// takes bytes normalises them itself.
    U8(&'a mut [u8]),
}

impl Slot<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::F16(elements) => elements.len(),
            Self::U8(elements) => elements.len(),
        }
    }
}

/// Why a frame could not be pre-processed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// There is no placement of the frame in the model image.
    #[error(transparent)]
    Letterbox(#[from] LetterboxError),
    /// The normalisation divides by zero or is not a number.
    #[error(
        "normalisation of channel {channel}: expected a finite mean and a finite std other than 0, \
         found mean {mean} and std {std}"
    )]
    Normalize {
        /// Index of the channel in the tensor.
        channel: usize,
        /// Its mean.
        mean: f32,
        /// Its standard deviation.
        std: f32,
    },
    /// The slot is not one image of the model.
    #[error("tensor slot: expected {expected} elements for 3x{}x{}, found {found}", .size.height, .size.width)]
    SlotLength {
        /// Elements of one image.
        expected: usize,
        /// Elements of the slot.
        found: usize,
        /// Size of the image.
        size: Size,
    },
}

/// Fills tensor slots with frames.
///
/// Holds the tap tables and row buffers for the last kind of frame. A frame of another size, format or
/// chroma site has them made anew, which is cheap against a frame but not free: one per feed is best.
#[derive(Debug)]
pub struct Preprocessor {
    spec: InputSpec,
    plan: Option<Plan>,
    /// A row in `[width, 3]` layout, for [`Layout::Nhwc`].
    interleaved: Vec<f32>,
}

impl Preprocessor {
    /// A preprocessor for the image `spec` describes. Allocates nothing yet.
    ///
    /// # Errors
    ///
    /// A mean or standard deviation that is not finite, a standard deviation of zero (or so small that its
    /// inverse is infinite), a size that is zero or longer than [`super::letterbox::MAX_SIDE`].
    pub fn new(spec: InputSpec) -> Result<Self, PreprocessError> {
        // Any valid frame shows whether the model's size is valid.
        Letterbox::new(Size::new(1, 1), spec.size)?;
        for (channel, (mean, std)) in spec.normalize.mean.into_iter().zip(spec.normalize.std).enumerate() {
            if !(mean.is_finite() && std.is_finite() && std.recip().is_finite()) {
                return Err(PreprocessError::Normalize { channel, mean, std });
            }
        }
        Ok(Self { spec, plan: None, interleaved: Vec::new() })
    }

    /// The image that slots are filled with.
    #[must_use]
    pub const fn spec(&self) -> &InputSpec {
        &self.spec
    }

    /// Writes every element of `slot`: the letterboxed frame and the padding around it.
    ///
    /// # Errors
    ///
    /// A slot that does not have the elements of exactly one image; it is left as it was.
    pub fn fill(&mut self, frame: &FrameView<'_>, slot: Slot<'_>) -> Result<Letterbox, PreprocessError> {
        let letterbox = Letterbox::new(frame.size(), self.spec.size)?;
        let (expected, found) = (store::image_len(&self.spec).unwrap_or(usize::MAX), slot.len());
        if expected != found {
            return Err(PreprocessError::SlotLength { expected, found, size: self.spec.size });
        }
        let kind = Kind::of(frame);
        let plan = match self.plan.take() {
            Some(plan) if plan.kind == kind => self.plan.insert(plan),
            _ => self.plan.insert(Plan::new(kind, letterbox)),
        };
        let pass = Pass { spec: &self.spec, plan, frame, interleaved: &mut self.interleaved };
        match slot {
            Slot::F32(elements) => pass.run(elements, Values::Normalized),
            Slot::F16(elements) => pass.run(elements, Values::Normalized),
            Slot::U8(elements) => pass.run(elements, Values::Levels),
        }
        Ok(letterbox)
    }
}

/// What the tap tables depend on, besides the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    format: PixelFormat,
    size: Size,
    chroma: ChromaSite,
}

impl Kind {
    fn of(frame: &FrameView<'_>) -> Self {
        Self { format: frame.format(), size: frame.size(), chroma: frame.colorimetry().chroma }
    }
}

/// Tables and buffers for one kind of frame.
#[derive(Debug)]
struct Plan {
    kind: Kind,
    letterbox: Letterbox,
    /// One for each group of components.
    samplers: Vec<Sampler>,
    /// One row of the scaled frame: components, then RGB, then values.
    levels: Levels,
}

impl Plan {
    fn new(kind: Kind, letterbox: Letterbox) -> Self {
        let width = letterbox.scaled().width as usize;
        Self {
            kind,
            letterbox,
            samplers: kind
                .format
                .groups()
                .iter()
                .map(|&group| Sampler::new(&letterbox, group, kind.chroma))
                .collect(),
            levels: std::array::from_fn(|_| vec![0.0; width]),
        }
    }
}

/// What an element of the slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    /// `(level - mean) / std`.
    Normalized,
    /// The level.
    Levels,
}

/// One frame on its way into one slot.
struct Pass<'a> {
    spec: &'a InputSpec,
    plan: &'a mut Plan,
    frame: &'a FrameView<'a>,
    interleaved: &'a mut Vec<f32>,
}

impl Pass<'_> {
    fn run<T: Element>(self, elements: &mut [T], values: Values) {
        let Pass { spec, plan, frame, interleaved } = self;
        let mut writer = Writer { elements, layout: spec.layout, letterbox: plan.letterbox };
        writer.write_padding(padding(spec, values));
        let conversion = Conversion::new(frame);
        for sampler in &mut plan.samplers {
            sampler.start_frame();
        }
        for y in 0..plan.letterbox.scaled().height as usize {
            for sampler in &mut plan.samplers {
                sampler.sample(frame, y, &mut plan.levels);
            }
            conversion.apply(&mut plan.levels);
            let mut channels = in_tensor_order(&mut plan.levels, spec.normalize.order);
            if values == Values::Normalized {
                normalize(&mut channels, &spec.normalize);
            }
            writer.write_row(y, channels.map(|row| row.as_slice()), interleaved);
        }
    }
}

fn in_tensor_order(levels: &mut Levels, order: ChannelOrder) -> [&mut Vec<f32>; 3] {
    let [red, green, blue] = levels;
    match order {
        ChannelOrder::Rgb => [red, green, blue],
        ChannelOrder::Bgr => [blue, green, red],
    }
}

fn normalize(channels: &mut [&mut Vec<f32>; 3], normalize: &Normalize) {
    for ((row, mean), std) in channels.iter_mut().zip(normalize.mean).zip(normalize.std) {
        let scale = std.recip();
        for value in row.iter_mut() {
            *value = (*value - mean) * scale;
        }
    }
}

/// The padding's value per channel, by the same arithmetic as the pixels.
fn padding(spec: &InputSpec, values: Values) -> [f32; 3] {
    let level = f32::from(spec.pad);
    match values {
        Values::Levels => [level; 3],
        Values::Normalized => std::array::from_fn(|channel| {
            (level - spec.normalize.mean[channel]) * spec.normalize.std[channel].recip()
        }),
    }
}
