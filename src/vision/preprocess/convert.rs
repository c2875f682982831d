//! From components to values of the tensor, a row at a time.
//!
//! Range expansion, colour matrix and normalisation are affine, so they are one step: per channel a few factors, an
//! offset, and the values of the levels 0 and 255 as bounds.

use super::frame::{ColorModel, Colorimetry, FrameView, Matrix, Range};
use super::rows::{BLOCK, LEVEL, Levels};
use super::{ChannelOrder, Normalize};
use fearless_simd::prelude::*;
use fearless_simd::{Simd, f32x8};

/// How the sampled components of a frame become the values of R, G and B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Conversion {
    model: ColorModel,
    /// R, G, B.
    channels: [Channel; 3],
}

/// `value = components * factors + offset`, held between the bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Channel {
    /// Of the components Y, U, V; of an RGB or grey frame the first is that of the only component.
    factors: [f32; 3],
    offset: f32,
    low: f32,
    high: f32,
}

/// `level * gain + offset` puts black at 0 and white at 255.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Expansion {
    gain: f64,
    offset: f64,
}

/// Level of chroma without colour, in both ranges (ITU-R BT.601, JFIF).
const CHROMA_ZERO: f64 = 128.0;

impl Conversion {
    /// The conversion for a frame's format and colorimetry, to values as `normalize` says.
    pub(super) fn new(frame: &FrameView<'_>, normalize: &Normalize) -> Self {
        let colorimetry = frame.colorimetry();
        let model = frame.format().color_model();
        let luma = Expansion::new(colorimetry.range);
        let chroma = match model {
            ColorModel::Yuv => chroma_factors(colorimetry),
            ColorModel::Rgb | ColorModel::Gray => [[0.0; 2]; 3],
        };
        let place = |color: usize| match normalize.order {
            ChannelOrder::Rgb => color,
            ChannelOrder::Bgr => 2 - color,
        };
        let channels = std::array::from_fn(|color| {
            let (mean, std) = (normalize.mean[place(color)], normalize.std[place(color)]);
            Channel::new(luma, chroma[color], f64::from(mean), f64::from(std.recip()))
        });
        Self { model, channels }
    }

    /// Turns a row of components into rows of R, G and B values, which are of one length, at most the components'.
    ///
    /// A channel at a time: the factors and bounds of all three do not fit in the registers.
    #[inline(always)]
    pub(super) fn apply<S: Simd>(&self, simd: S, components: &Levels, rows: [&mut [f32]; 3]) {
        let [red, green, blue] = &self.channels;
        let [r, g, b] = rows;
        let [first, second, third] = components;
        match self.model {
            ColorModel::Yuv => {
                red.apply(simd, [(0, first), (2, third)], r);
                green.apply(simd, [(0, first), (1, second), (2, third)], g);
                blue.apply(simd, [(0, first), (1, second)], b);
            }
            ColorModel::Rgb => {
                red.apply(simd, [(0, first)], r);
                green.apply(simd, [(0, second)], g);
                blue.apply(simd, [(0, third)], b);
            }
            ColorModel::Gray => {
                red.apply(simd, [(0, first)], r);
                green.apply(simd, [(0, first)], g);
                blue.apply(simd, [(0, first)], b);
            }
        }
    }
}

impl Channel {
    /// `scale` is the inverse of the standard deviation.
    fn new(luma: Expansion, [u, v]: [f64; 2], mean: f64, scale: f64) -> Self {
        let offset = (luma.offset - CHROMA_ZERO * (u + v) - mean) * scale;
        let (black, white) = ((0.0 - mean) * scale, (255.0 - mean) * scale);
        Self {
            factors: [luma.gain, u, v].map(|factor| (factor * scale / LEVEL) as f32),
            offset: offset as f32,
            low: black.min(white) as f32,
            high: black.max(white) as f32,
        }
    }

    /// `components` with the index of the factor of each.
    #[inline(always)]
    fn apply<S: Simd, const COMPONENTS: usize>(
        &self,
        simd: S,
        components: [(usize, &Vec<f32>); COMPONENTS],
        row: &mut [f32],
    ) {
        let (row, end) = row.as_chunks_mut::<BLOCK>();
        let blocks = row.len();
        let mut levels: [&[[f32; BLOCK]]; COMPONENTS] = [&[]; COMPONENTS];
        let mut factors = [f32x8::splat(simd, 0.0); COMPONENTS];
        for (component, (factor, level)) in components.into_iter().enumerate() {
            levels[component] = &level.as_chunks::<BLOCK>().0[..blocks];
            factors[component] = f32x8::splat(simd, self.factors[factor]);
        }
        let (offset, low, high) =
            (f32x8::splat(simd, self.offset), f32x8::splat(simd, self.low), f32x8::splat(simd, self.high));
        for (block, values) in row.iter_mut().enumerate() {
            let mut value = offset;
            for component in 0..COMPONENTS {
                let level = f32x8::load_array_ref(simd, &levels[component][block]);
                value = level.mul_add(factors[component], value);
            }
            value.max(low).min(high).store_array(values);
        }
        for (value, column) in end.iter_mut().zip(blocks * BLOCK..) {
            let sum = |sum, &(factor, level): &(usize, &Vec<f32>)| sum + level[column] * self.factors[factor];
            *value = components.iter().fold(self.offset, sum).clamp(self.low, self.high);
        }
    }
}

impl Expansion {
    /// Black and white are 16 and 235 in limited range (ITU-R BT.601, BT.709, BT.2020 at 8 bits).
    fn new(range: Range) -> Self {
        match range {
            Range::Full => Self { gain: 1.0, offset: 0.0 },
            Range::Limited => Self { gain: 255.0 / 219.0, offset: -16.0 * 255.0 / 219.0 },
        }
    }
}

/// The factors of U and V for R, G and B: `R = Y' + r_v V'`, `G = Y' - g_u U' - g_v V'`, `B = Y' + b_u U'`, where
/// U' and V' are levels around zero with the swing of the range still in the factors.
fn chroma_factors(colorimetry: Colorimetry) -> [[f64; 2]; 3] {
    // Luma weights of red and blue: BT.601 section 2.5.1, BT.709 section 3.2, BT.2020 table 4.
    let (red, blue) = match colorimetry.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    };
    let green = 1.0 - red - blue;
    // Chroma swings over 224 levels in limited range, over 255 in full range.
    let swing: f64 = match colorimetry.range {
        Range::Full => 1.0,
        Range::Limited => 255.0 / 224.0,
    };
    let (r_v, b_u) = (2.0 * (1.0 - red) * swing, 2.0 * (1.0 - blue) * swing);
    [[0.0, r_v], [-b_u * blue / green, -r_v * red / green], [b_u, 0.0]]
}
