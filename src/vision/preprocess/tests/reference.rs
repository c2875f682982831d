//! A plain, obviously right pre-processing of one frame: per output pixel, in `f64`, textbook formulas.

use crate::vision::Size;
use crate::vision::letterbox::Letterbox;
use crate::vision::preprocess::{ChromaSite, Colorimetry, FrameView, Matrix, PixelFormat, Plane, Range};

/// A frame that owns its memory.
#[derive(Clone, Debug)]
pub(super) struct TestFrame {
    pub(super) format: PixelFormat,
    pub(super) size: Size,
    pub(super) colorimetry: Colorimetry,
    pub(super) planes: Vec<(Vec<u8>, usize)>,
}

pub(super) const BT601: Colorimetry =
    Colorimetry { matrix: Matrix::Bt601, range: Range::Limited, chroma: ChromaSite::MPEG2 };

/// Byte order of the packed RGB formats.
fn letters(format: PixelFormat) -> &'static str {
    match format {
        PixelFormat::Rgb => "RGB",
        PixelFormat::Bgr => "BGR",
        PixelFormat::Rgba | PixelFormat::Rgbx => "RGBx",
        PixelFormat::Bgra | PixelFormat::Bgrx => "BGRx",
        PixelFormat::Argb | PixelFormat::Xrgb => "xRGB",
        PixelFormat::Abgr | PixelFormat::Xbgr => "xBGR",
        _ => "",
    }
}

pub(super) fn is_yuv(format: PixelFormat) -> bool {
    letters(format).is_empty() && format != PixelFormat::Gray8
}

/// Bytes in a row and rows, per plane.
pub(super) fn plane_shapes(format: PixelFormat, size: Size) -> Vec<(usize, usize)> {
    let (width, height) = (size.width as usize, size.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    match format {
        PixelFormat::I420 | PixelFormat::Yv12 => {
            vec![(width, height), (half_width, half_height), (half_width, half_height)]
        }
        PixelFormat::Nv12 | PixelFormat::Nv21 => vec![(width, height), (2 * half_width, half_height)],
        PixelFormat::Yuy2 | PixelFormat::Uyvy => vec![(4 * half_width, height)],
        PixelFormat::Gray8 => vec![(width, height)],
        rgb => vec![(letters(rgb).len() * width, height)],
    }
}

/// Columns and rows of samples of a channel (R, G, B or Y, U, V).
fn samples(format: PixelFormat, size: Size, channel: usize) -> (usize, usize) {
    let (width, height) = (size.width as usize, size.height as usize);
    match format {
        _ if channel == 0 || !is_yuv(format) => (width, height),
        PixelFormat::Yuy2 | PixelFormat::Uyvy => (width.div_ceil(2), height),
        _ => (width.div_ceil(2), height.div_ceil(2)),
    }
}

/// Plane and byte in the row of sample `x` of a channel.
fn locate(format: PixelFormat, channel: usize, x: usize) -> (usize, usize) {
    match (format, channel) {
        (PixelFormat::I420, channel) => (channel, x),
        (PixelFormat::Yv12, channel) => ([0, 2, 1][channel], x),
        (PixelFormat::Nv12 | PixelFormat::Nv21 | PixelFormat::Gray8, 0) => (0, x),
        (PixelFormat::Nv12, channel) => (1, 2 * x + channel - 1),
        (PixelFormat::Nv21, channel) => (1, 2 * x + 2 - channel),
        (PixelFormat::Yuy2, channel) => (0, [2 * x, 4 * x + 1, 4 * x + 3][channel]),
        (PixelFormat::Uyvy, channel) => (0, [2 * x + 1, 4 * x, 4 * x + 2][channel]),
        (PixelFormat::Gray8, _) => (0, x),
        (rgb, channel) => {
            let letter = ['R', 'G', 'B'][channel];
            (0, letters(rgb).len() * x + letters(rgb).find(letter).unwrap())
        }
    }
}

impl TestFrame {
    /// A frame of noise that differs with `seed`; rows are `slack` bytes apart, the last one ends early.
    pub(super) fn noise(format: PixelFormat, size: Size, slack: usize, seed: u32) -> Self {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        let planes = plane_shapes(format, size)
            .into_iter()
            .map(|(row_bytes, rows)| {
                let stride = row_bytes + slack;
                let bytes = (0..stride * (rows - 1) + row_bytes).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // A third of the bytes are extremes: the clamps and the rounding see them.
                    match state >> 30 {
                        0 => 0,
                        1 if state & 0x10_0000 != 0 => 255,
                        _ => (state >> 16) as u8,
                    }
                });
                (bytes.collect(), stride)
            })
            .collect();
        Self { format, size, colorimetry: BT601, planes }
    }

    /// A frame of one colour, given as R, G, B or Y, U, V.
    pub(super) fn solid(format: PixelFormat, size: Size, color: [u8; 3]) -> Self {
        let mut frame = Self::noise(format, size, 5, 1);
        for (channel, level) in color.into_iter().enumerate() {
            let (columns, rows) = samples(format, size, channel);
            for (x, y) in (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y))) {
                let (plane, byte) = locate(format, channel, x);
                let (bytes, stride) = &mut frame.planes[plane];
                bytes[y * *stride + byte] = level;
            }
        }
        frame
    }

    pub(super) fn with_colorimetry(self, colorimetry: Colorimetry) -> Self {
        Self { colorimetry, ..self }
    }

    pub(super) fn view(&self) -> FrameView<'_> {
        let planes: Vec<_> =
            self.planes.iter().map(|(data, stride)| Plane { data, stride: *stride }).collect();
        FrameView::new(self.format, self.size, &planes, self.colorimetry).unwrap()
    }

    fn sample(&self, channel: usize, x: usize, y: usize) -> f64 {
        let (plane, byte) = locate(self.format, channel, x);
        let (bytes, stride) = &self.planes[plane];
        f64::from(bytes[y * stride + byte])
    }

    /// A channel at a point of the frame: a pixel covers `[i, i + 1)`.
    fn interpolate(&self, channel: usize, x: f64, y: f64) -> f64 {
        let (columns, rows) = samples(self.format, self.size, channel);
        let site = self.colorimetry.chroma;
        let is_chroma = channel > 0 && is_yuv(self.format);
        let is_420 = is_chroma && !matches!(self.format, PixelFormat::Yuy2 | PixelFormat::Uyvy);
        let x = index(x, is_chroma, site.horizontal_cosited, columns);
        let y = index(y, is_420, site.vertical_cosited, rows);
        let (left, upper) = (x.floor() as usize, y.floor() as usize);
        let (right, lower) = ((left + 1).min(columns - 1), (upper + 1).min(rows - 1));
        let (fx, fy) = (x.fract(), y.fract());
        let above = self.sample(channel, left, upper) * (1.0 - fx) + self.sample(channel, right, upper) * fx;
        let below = self.sample(channel, left, lower) * (1.0 - fx) + self.sample(channel, right, lower) * fx;
        above * (1.0 - fy) + below * fy
    }

    /// The R, G, B levels at a point of the frame.
    fn rgb(&self, x: f64, y: f64) -> [f64; 3] {
        let channel = |channel| self.interpolate(channel, x, y);
        let is_limited = self.colorimetry.range == Range::Limited;
        let expand = |level: f64| if is_limited { (level - 16.0) / 219.0 } else { level / 255.0 };
        let components = match self.format {
            PixelFormat::Gray8 => [expand(channel(0)); 3],
            format if is_yuv(format) => {
                let swing = if is_limited { 224.0 } else { 255.0 };
                let (y, pb, pr) =
                    (expand(channel(0)), (channel(1) - 128.0) / swing, (channel(2) - 128.0) / swing);
                let (kr, kb) = match self.colorimetry.matrix {
                    Matrix::Bt601 => (0.299, 0.114),
                    Matrix::Bt709 => (0.2126, 0.0722),
                    Matrix::Bt2020 => (0.2627, 0.0593),
                };
                let red = y + 2.0 * (1.0 - kr) * pr;
                let blue = y + 2.0 * (1.0 - kb) * pb;
                // Luma is kr R + kg G + kb B.
                [red, (y - kr * red - kb * blue) / (1.0 - kr - kb), blue]
            }
            _ => [expand(channel(0)), expand(channel(1)), expand(channel(2))],
        };
        components.map(|component| (component * 255.0).clamp(0.0, 255.0))
    }

    /// The letterboxed R, G, B levels, row by row; `None` is padding.
    pub(super) fn letterboxed(&self, model: Size) -> Vec<Option<[f64; 3]>> {
        let placed = Letterbox::new(self.size, model).unwrap();
        let mut pixels = Vec::new();
        for row in 0..model.height {
            for column in 0..model.width {
                let x = f64::from(column) + 0.5 - f64::from(placed.left());
                let y = f64::from(row) + 0.5 - f64::from(placed.top());
                let (width, height) = (f64::from(placed.scaled().width), f64::from(placed.scaled().height));
                let is_inside = (0.0..width).contains(&x) && (0.0..height).contains(&y);
                pixels.push(is_inside.then(|| {
                    self.rgb(x * f64::from(self.size.width) / width, y * f64::from(self.size.height) / height)
                }));
            }
        }
        pixels
    }
}

/// The position among the samples of a channel, clamped at the edges, of a point of the frame.
fn index(position: f64, is_halved: bool, is_cosited: bool, samples: usize) -> f64 {
    let index = match (is_halved, is_cosited) {
        (false, _) => position - 0.5,
        // Sample i is at the centre of pixel 2 i.
        (true, true) => (position - 0.5) / 2.0,
        // Sample i is between pixels 2 i and 2 i + 1.
        (true, false) => (position - 1.0) / 2.0,
    };
    index.clamp(0.0, samples as f64 - 1.0)
}
