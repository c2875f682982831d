//! From the frame's own levels to RGB levels `0..=255`, a row at a time.

use super::frame::{ColorModel, Colorimetry, FrameView, Matrix, Range};

/// Three rows of one image, one per channel.
pub(super) type Levels = [Vec<f32>; 3];

/// How the sampled components of a frame become R, G and B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Conversion {
    /// The components are R, G, B.
    Rgb(Expansion),
    /// There is one component, which is all three.
    Gray(Expansion),
    /// The components are Y, U, V.
    Yuv(YuvToRgb),
}

/// `level * gain + offset` puts black at 0 and white at 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Expansion {
    gain: f32,
    offset: f32,
}

/// The coefficients of `R = Y' + r_v V'`, `G = Y' - g_u U' - g_v V'`, `B = Y' + b_u U'`.
///
/// `Y'` is expanded, `U'` and `V'` are levels around zero with the swing of the range still in the factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct YuvToRgb {
    luma: Expansion,
    r_v: f32,
    g_u: f32,
    g_v: f32,
    b_u: f32,
}

/// Level of chroma without colour, in both ranges (ITU-R BT.601, JFIF).
const CHROMA_ZERO: f32 = 128.0;

impl Conversion {
    /// The conversion for a frame's format and colorimetry.
    pub(super) fn new(frame: &FrameView<'_>) -> Self {
        let colorimetry = frame.colorimetry();
        let expansion = Expansion::new(colorimetry.range);
        match frame.format().color_model() {
            ColorModel::Rgb => Self::Rgb(expansion),
            ColorModel::Gray => Self::Gray(expansion),
            ColorModel::Yuv => Self::Yuv(YuvToRgb::new(colorimetry)),
        }
    }

    /// Turns a row of components into R, G and B, in place. Levels end up in `0..=255`.
    pub(super) fn apply(&self, levels: &mut Levels) {
        let [first, second, third] = levels;
        match self {
            Self::Rgb(expansion) => {
                for row in [first, second, third] {
                    expansion.apply(row);
                }
            }
            Self::Gray(expansion) => {
                expansion.apply(first);
                second.copy_from_slice(first);
                third.copy_from_slice(first);
            }
            Self::Yuv(matrix) => matrix.apply(first, second, third),
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

    fn apply(&self, row: &mut [f32]) {
        // Bilinear levels of a full-range frame are in range as they are.
        if self.gain == 1.0 {
            return;
        }
        for level in row {
            *level = (*level * self.gain + self.offset).clamp(0.0, 255.0);
        }
    }
}

impl YuvToRgb {
    fn new(colorimetry: Colorimetry) -> Self {
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
        Self {
            luma: Expansion::new(colorimetry.range),
            r_v: r_v as f32,
            g_u: (b_u * blue / green) as f32,
            g_v: (r_v * red / green) as f32,
            b_u: b_u as f32,
        }
    }

    fn apply(&self, y_row: &mut [f32], u_row: &mut [f32], v_row: &mut [f32]) {
        for ((first, second), third) in y_row.iter_mut().zip(u_row).zip(v_row) {
            let y = *first * self.luma.gain + self.luma.offset;
            let (u, v) = (*second - CHROMA_ZERO, *third - CHROMA_ZERO);
            *first = (y + self.r_v * v).clamp(0.0, 255.0);
            *second = (y - self.g_u * u - self.g_v * v).clamp(0.0, 255.0);
            *third = (y + self.b_u * u).clamp(0.0, 255.0);
        }
    }
}
