//! Fused pre-processing: from a frame in memory to one image of the model's input tensor, in one pass.
//!
//! Per row of the scaled frame, in buffers that stay in the first-level cache:
//!
//! | step | module | works on |
//! |---|---|---|
//! | blend the two source rows it lies between | `rows` | bytes in memory order, whatever the format |
//! | pick the taps of every column and blend them | `rows`, by the tables of `plan` | the components of each format |
//! | range, colour matrix and normalisation in one | `convert` | values of R, G and B |
//! | element type and layout | `store` | the tensor; planar `f32` is written by `convert` itself |
//!
//! No frame is stored in between, and rows that no tap lies on are never read. All four are vectors of whatever the
//! processor has, found out once per [`Preprocessor`]; `taps` is the geometry behind the tables.
//!
//! Not here: antialiasing (detectors are trained without), transfer functions and primaries (levels stay
//! gamma-coded, as in every training set), rotation and interlacing. A part of a frame is a frame: [`FrameView::crop`].
//! Nothing here starts a thread: one [`Preprocessor`] per thread.

mod convert;
mod crop;
mod frame;
mod plan;
mod rows;
mod store;
mod taps;
#[cfg(test)]
mod tests;

pub use frame::{ChromaSite, Colorimetry, FrameError, FrameView, Matrix, PixelFormat, Plane, Range};

use super::Size;
use super::letterbox::{Letterbox, LetterboxError};
use convert::Conversion;
use fearless_simd::{Level, Simd, dispatch};
use half::f16;
use plan::{Kind, Plan};
use rows::{BLOCK, Levels};
use store::{Element, Writer};

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
/// chroma site has them made anew, which is cheap against a frame but not free: one per kind is best. Several can
/// work at once, each on its own thread; nothing is allocated while the kind of frame stays.
#[derive(Debug)]
pub struct Preprocessor {
    spec: InputSpec,
    /// What the processor can do.
    level: Level,
    plan: Option<Plan>,
    rows: RowBuffers,
}

/// One row of the scaled frame on its way.
#[derive(Debug, Default)]
struct RowBuffers {
    /// The components, in whole blocks.
    levels: Levels,
    /// The values of R, G and B, where the tensor cannot take them as they are.
    values: Levels,
    /// The values in `[width, 3]` layout, for [`Layout::Nhwc`].
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
        Ok(Self { spec, level: Level::new(), plan: None, rows: RowBuffers::default() })
    }

    /// The same for a processor that can do no more than `level`, to compare.
    #[cfg(test)]
    fn with_level(spec: InputSpec, level: Level) -> Result<Self, PreprocessError> {
        Ok(Self { level, ..Self::new(spec)? })
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
            _ => {
                self.rows.resize(letterbox.scaled().width as usize);
                self.plan.insert(Plan::new(kind, letterbox, has_shuffle(self.level)))
            }
        };
        let pass = Pass { spec: &self.spec, level: self.level, plan, frame, rows: &mut self.rows };
        match slot {
            Slot::F32(elements) => pass.run(elements, Values::Normalized),
            Slot::F16(elements) => pass.run(elements, Values::Normalized),
            Slot::U8(elements) => pass.run(elements, Values::Levels),
        }
        Ok(letterbox)
    }
}

impl RowBuffers {
    fn resize(&mut self, width: usize) {
        for row in &mut self.levels {
            row.resize(width.next_multiple_of(BLOCK), 0.0);
        }
        for row in &mut self.values {
            row.resize(width, 0.0);
        }
        self.interleaved.resize(3 * width, 0.0);
    }
}

/// Whether shuffles by a table are an instruction; emulated ones are slower than loads one by one.
fn has_shuffle(level: Level) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return level.as_sse4_2().is_some();
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    return !level.is_fallback();
}

impl Kind {
    fn of(frame: &FrameView<'_>) -> Self {
        Self { format: frame.format(), size: frame.size(), chroma: frame.colorimetry().chroma }
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
    level: Level,
    plan: &'a mut Plan,
    frame: &'a FrameView<'a>,
    rows: &'a mut RowBuffers,
}

impl Pass<'_> {
    fn run<T: Element>(self, elements: &mut [T], values: Values) {
        let Pass { spec, level, plan, frame, rows } = self;
        let mut writer = Writer { elements, layout: spec.layout, letterbox: plan.letterbox, level };
        writer.write_padding(padding(spec, values));
        let conversion = Conversion::new(frame, &normalization(spec, values));
        for y in 0..plan.letterbox.scaled().height as usize {
            let RowBuffers { levels, values, interleaved } = &mut *rows;
            if let Some(row) = writer.float_row(y) {
                let row = in_color_order(row, spec.normalize.order);
                fill_row(level, plan, frame, y, levels, &conversion, row);
                continue;
            }
            let row = values.each_mut().map(Vec::as_mut_slice);
            fill_row(level, plan, frame, y, levels, &conversion, row);
            let row = in_color_order(values.each_ref().map(Vec::as_slice), spec.normalize.order);
            writer.write_row(y, row, interleaved);
        }
    }
}

/// One row of the scaled frame from the frame to values of R, G and B.
///
/// The only place where instructions are chosen for it: each further one would double the code.
fn fill_row(
    level: Level,
    plan: &mut Plan,
    frame: &FrameView<'_>,
    y: usize,
    levels: &mut Levels,
    conversion: &Conversion,
    row: [&mut [f32]; 3],
) {
    dispatch!(level, simd => fill_row_with(simd, plan, frame, y, levels, conversion, row));
}

#[inline(always)]
fn fill_row_with<S: Simd>(
    simd: S,
    plan: &mut Plan,
    frame: &FrameView<'_>,
    y: usize,
    levels: &mut Levels,
    conversion: &Conversion,
    row: [&mut [f32]; 3],
) {
    for source in &mut plan.sources {
        let tap = source.rows[y];
        let near = &frame.row(source.plane, tap.near)[..source.bytes];
        let far = &frame.row(source.plane, tap.far)[..source.bytes];
        rows::blend(near, far, tap, &mut source.blended);
        for columns in &source.groups {
            rows::sample(simd, &source.blended, columns, levels);
        }
    }
    conversion.apply(simd, levels, row);
}

/// R, G, B from the tensor's order or the other way round, which is the same.
fn in_color_order<T>(channels: [T; 3], order: ChannelOrder) -> [T; 3] {
    let [first, second, third] = channels;
    match order {
        ChannelOrder::Rgb => [first, second, third],
        ChannelOrder::Bgr => [third, second, first],
    }
}

/// What is done to the levels.
fn normalization(spec: &InputSpec, values: Values) -> Normalize {
    match values {
        Values::Normalized => spec.normalize,
        Values::Levels => Normalize { order: spec.normalize.order, ..Normalize::LEVELS_RGB },
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
