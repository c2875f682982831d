//! Pieces onto the bytes of a frame, in any format of eight bits a sample.
//!
//! A frame is taken as its components, each with its place in memory: so one loop serves planes, interleaved samples
//! and subsampled chroma. Only the pixels of a piece are touched. (GStreamer's own blending unpacks and packs whole
//! lines of the frame for every line of a piece, which thin upright lines make very costly.)

use super::color::{Rgb, mix};
use super::{Cover, Piece};
use crate::vision::Size;
use crate::vision::preprocess::{Matrix, Range};

/// What the samples of a component are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Red.
    Red,
    /// Green.
    Green,
    /// Blue.
    Blue,
    /// Brightness.
    Luma,
    /// Blue difference.
    Cb,
    /// Red difference.
    Cr,
    /// Opacity.
    Alpha,
}

/// Where the samples of a component lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// What they are.
    pub channel: Channel,
    /// Byte of the first sample.
    pub offset: usize,
    /// Bytes from a row of samples to the next.
    pub stride: usize,
    /// Bytes from a sample to the next.
    pub pixel_stride: usize,
    /// A sample stands for `1 << shift_x` columns of the frame.
    pub shift_x: u32,
    /// A sample stands for `1 << shift_y` rows of the frame.
    pub shift_y: u32,
}

impl Component {
    /// One behind the last byte of a frame of `size`; `None` if no memory is that large.
    fn end(&self, size: Size) -> Option<usize> {
        let count = |side: u32, shift: u32| {
            let samples = u64::from(side).div_ceil(1_u64.checked_shl(shift)?);
            usize::try_from(samples).ok()?.checked_sub(1)
        };
        let row = self.stride.checked_mul(count(size.height, self.shift_y)?)?;
        let column = self.pixel_stride.checked_mul(count(size.width, self.shift_x)?)?;
        self.offset.checked_add(row)?.checked_add(column)?.checked_add(1)
    }
}

/// Why a frame cannot be painted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaintError {
    /// There is less memory than its size and strides need.
    #[error("expected at least {expected} bytes for {channel:?}, found {found}")]
    TooShort {
        /// The component.
        channel: Channel,
        /// Bytes needed.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// A shift or a stride is none that a format has.
    #[error("expected strides above 0 and shifts up to 8 for {0:?}, found others")]
    Layout(Channel),
}

/// A frame that is painted on.
#[derive(Debug)]
pub struct Canvas<'a> {
    data: &'a mut [u8],
    size: Size,
    components: &'a [Component],
    matrix: Matrix,
    range: Range,
}

impl<'a> Canvas<'a> {
    /// A frame of `size` whose samples lie in `data` as `components` say. The matrix and the range are those of luma
    /// and chroma, and mean nothing without them.
    ///
    /// # Errors
    /// When the memory cannot hold the frame.
    pub fn new(
        data: &'a mut [u8],
        size: Size,
        components: &'a [Component],
        matrix: Matrix,
        range: Range,
    ) -> Result<Self, PaintError> {
        for component in components {
            let &Component { channel, pixel_stride, shift_x, shift_y, .. } = component;
            if pixel_stride == 0 || shift_x > 8 || shift_y > 8 {
                return Err(PaintError::Layout(channel));
            }
            let expected = component.end(size).unwrap_or(usize::MAX);
            if data.len() < expected {
                return Err(PaintError::TooShort { channel, expected, found: data.len() });
            }
        }
        Ok(Self { data, size, components, matrix, range })
    }

    /// Paints the pieces in their order. What of them lies outside of the frame is left out.
    pub fn paint(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            for component in self.components {
                let ink = self.level(component.channel, piece.ink);
                let ground = piece.ground.map(|ground| self.level(component.channel, ground));
                let inks = Inks { ink, ground };
                if component.shift_x == 0 && component.shift_y == 0 {
                    self.paint_samples(component, piece, inks);
                } else {
                    self.paint_blocks(component, piece, inks);
                }
            }
        }
    }

    fn level(&self, channel: Channel, color: Rgb) -> u8 {
        match channel {
            Channel::Red => color.0,
            Channel::Green => color.1,
            Channel::Blue => color.2,
            Channel::Alpha => u8::MAX,
            Channel::Luma | Channel::Cb | Channel::Cr => self.yuv(channel, color),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 255, and a cast saturates"
    )]
    fn yuv(&self, channel: Channel, Rgb(red, green, blue): Rgb) -> u8 {
        // ITU-R BT.601, BT.709 and BT.2020.
        let (red_part, blue_part) = match self.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        };
        let [red, green, blue] = [red, green, blue].map(|level| f32::from(level) / 255.0);
        let luma = red_part * red + (1.0 - red_part - blue_part) * green + blue_part * blue;
        let (black, white, swing) = match self.range {
            Range::Full => (0.0, 255.0, 255.0),
            Range::Limited => (16.0, 219.0, 224.0),
        };
        let level = match channel {
            Channel::Cb => 128.0 + swing * (blue - luma) / (2.0 * (1.0 - blue_part)),
            Channel::Cr => 128.0 + swing * (red - luma) / (2.0 * (1.0 - red_part)),
            _ => black + white * luma,
        };
        level.round() as u8
    }

    /// A component with a sample for every pixel.
    fn paint_samples(&mut self, component: &Component, piece: &Piece, inks: Inks) {
        let columns = piece.width.min(self.size.width.saturating_sub(piece.x)) as usize;
        let rows = piece.height.min(self.size.height.saturating_sub(piece.y)) as usize;
        if columns == 0 {
            return;
        }
        let step = component.pixel_stride;
        for row in 0..rows {
            let y = piece.y as usize + row;
            let start = component.offset + y * component.stride + piece.x as usize * step;
            let Some(samples) = self.data.get_mut(start..=start + (columns - 1) * step) else { return };
            match &piece.cover {
                Cover::Full if step == 1 => samples.fill(inks.ink),
                Cover::Full => samples.iter_mut().step_by(step).for_each(|sample| *sample = inks.ink),
                Cover::Mask(mask) => {
                    let levels = mask.coverage.get(row * mask.width as usize..).unwrap_or_default();
                    let samples = samples.iter_mut().step_by(step);
                    samples.zip(levels).for_each(|(sample, level)| inks.apply(sample, *level));
                }
            }
        }
    }

    /// A component whose samples stand for several pixels each.
    fn paint_blocks(&mut self, component: &Component, piece: &Piece, inks: Inks) {
        let right = piece.x.saturating_add(piece.width).min(self.size.width);
        let bottom = piece.y.saturating_add(piece.height).min(self.size.height);
        if piece.x >= right || piece.y >= bottom {
            return;
        }
        let (shift_x, shift_y) = (component.shift_x, component.shift_y);
        for block_y in piece.y >> shift_y..=(bottom - 1) >> shift_y {
            let (top, end) = (block_y << shift_y, (block_y + 1) << shift_y);
            let rows = top.max(piece.y)..end.min(bottom);
            let whole_rows = end.min(self.size.height) - top;
            let line = component.offset + block_y as usize * component.stride;
            for block_x in piece.x >> shift_x..=(right - 1) >> shift_x {
                let (left, end) = (block_x << shift_x, (block_x + 1) << shift_x);
                let columns = left.max(piece.x)..end.min(right);
                let whole = (end.min(self.size.width) - left) * whole_rows;
                let covered = piece.covered(columns, rows.clone());
                let at = line + block_x as usize * component.pixel_stride;
                if let Some(sample) = self.data.get_mut(at) {
                    inks.apply_to_block(sample, covered, whole);
                }
            }
        }
    }
}

/// How much of a block a piece covers.
#[derive(Clone, Copy)]
struct Covered {
    /// Pixels of the block in the piece.
    pixels: u32,
    /// The sum of their levels.
    levels: u32,
}

impl Piece {
    fn covered(&self, columns: std::ops::Range<u32>, rows: std::ops::Range<u32>) -> Covered {
        let width = columns.end - columns.start;
        let pixels = width * (rows.end - rows.start);
        let Cover::Mask(mask) = &self.cover else { return Covered { pixels, levels: 255 * pixels } };
        let row_levels = |row: u32| {
            let start = (row - self.y) as usize * mask.width as usize + (columns.start - self.x) as usize;
            let levels = mask.coverage.get(start..start + width as usize).unwrap_or_default();
            levels.iter().map(|level| u32::from(*level)).sum::<u32>()
        };
        Covered { pixels, levels: rows.map(row_levels).sum() }
    }
}

/// The two colours of a piece, in one component.
#[derive(Clone, Copy)]
struct Inks {
    ink: u8,
    ground: Option<u8>,
}

impl Inks {
    fn apply(self, sample: &mut u8, level: u8) {
        // Most pixels of a mask are at one end.
        *sample = match (level, self.ground) {
            (0, ground) => ground.unwrap_or(*sample),
            (u8::MAX, _) => self.ink,
            (level, ground) => mix(ground.unwrap_or(*sample), self.ink, level.into()),
        };
    }

    fn apply_to_block(self, sample: &mut u8, Covered { pixels, levels }: Covered, whole: u32) {
        let whole = whole.max(1);
        match self.ground {
            None if levels == 0 => {}
            None => *sample = mix(*sample, self.ink, levels / whole),
            Some(ground) => {
                let color = mix(ground, self.ink, levels / pixels.max(1));
                *sample = mix(*sample, color, 255 * pixels / whole);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::Mask;
    use proptest::prelude::*;
    use std::sync::Arc;

    const GREEN: Rgb = Rgb(0, 255, 0);

    fn gray(size: Size) -> [Component; 1] {
        let stride = size.width as usize;
        [Component { channel: Channel::Luma, offset: 0, stride, pixel_stride: 1, shift_x: 0, shift_y: 0 }]
    }

    fn i420(size: Size) -> [Component; 3] {
        let (width, height) = (size.width as usize, size.height as usize);
        let (half, rows) = (width.div_ceil(2), height.div_ceil(2));
        let chroma = |channel, offset| Component {
            channel,
            offset,
            stride: half,
            pixel_stride: 1,
            shift_x: 1,
            shift_y: 1,
        };
        let [luma] = gray(size);
        [luma, chroma(Channel::Cb, width * height), chroma(Channel::Cr, width * height + half * rows)]
    }

    fn full(x: u32, y: u32, width: u32, height: u32) -> Piece {
        Piece { x, y, width, height, ink: GREEN, ground: None, cover: Cover::Full }
    }

    fn paint(data: &mut [u8], size: Size, components: &[Component], pieces: &[Piece]) {
        Canvas::new(data, size, components, Matrix::Bt601, Range::Limited).unwrap().paint(pieces);
    }

    #[test]
    fn colours_are_those_of_the_standard() {
        let size = Size::new(2, 2);
        let of = |color, matrix, range| {
            let mut data = [0; 6];
            let piece = Piece { ink: color, ..full(0, 0, 2, 2) };
            Canvas::new(&mut data, size, &i420(size), matrix, range).unwrap().paint(&[piece]);
            [data[0], data[4], data[5]]
        };
        // The colour bars of ITU-R BT.601 and BT.709, and JPEG's red.
        assert_eq!(of(Rgb::WHITE, Matrix::Bt709, Range::Limited), [235, 128, 128]);
        assert_eq!(of(GREEN, Matrix::Bt601, Range::Limited), [145, 54, 34]);
        assert_eq!(of(GREEN, Matrix::Bt709, Range::Limited), [173, 42, 26]);
        assert_eq!(of(Rgb(255, 0, 0), Matrix::Bt601, Range::Full), [76, 85, 255]);
    }

    #[test]
    fn only_the_pixels_of_the_piece_change() {
        let size = Size::new(7, 5);
        let mut data = vec![9; 35 + 2 * 12];
        paint(&mut data, size, &i420(size), &[full(2, 2, 2, 2)]);
        for (at, level) in data[..35].iter().enumerate() {
            let inside = (2..4).contains(&(at % 7)) && (2..4).contains(&(at / 7));
            assert_eq!(*level != 9, inside, "{at}");
        }
        let changed: Vec<_> = (35..59).filter(|at| data[*at] != 9).collect();
        assert_eq!(changed, [35 + 5, 47 + 5]);
    }

    #[test]
    fn half_of_a_block_takes_half_of_the_colour() {
        let size = Size::new(4, 4);
        let mut data = [128; 24];
        paint(&mut data, size, &i420(size), &[full(0, 0, 1, 2)]);
        assert_eq!(data[16], 91, "between 128 and 54");
        assert_eq!(data[17], 128);
    }

    #[test]
    fn a_plate_hides_what_is_behind_it() {
        let size = Size::new(3, 1);
        let mask = Mask { width: 3, height: 1, coverage: [0, 128, 255].into() };
        let piece = Piece {
            ground: Some(Rgb::BLACK),
            ink: Rgb::WHITE,
            cover: Cover::Mask(Arc::new(mask)),
            ..full(0, 0, 3, 1)
        };
        let mut data = [99; 3];
        Canvas::new(&mut data, size, &gray(size), Matrix::Bt601, Range::Full).unwrap().paint(&[piece]);
        assert_eq!(data, [0, 128, 255]);
    }

    #[test]
    fn a_frame_that_is_too_short_is_refused() {
        let size = Size::new(4, 4);
        let mut data = [0; 23];
        let error = Canvas::new(&mut data, size, &i420(size), Matrix::Bt601, Range::Full).unwrap_err();
        assert_eq!(error, PaintError::TooShort { channel: Channel::Cr, expected: 24, found: 23 });
        let [mut luma] = gray(size);
        luma.stride = usize::MAX;
        assert!(Canvas::new(&mut data, size, &[luma], Matrix::Bt601, Range::Full).is_err());
        luma.pixel_stride = 0;
        let error = Canvas::new(&mut data, size, &[luma], Matrix::Bt601, Range::Full).unwrap_err();
        assert_eq!(error, PaintError::Layout(Channel::Luma));
    }

    proptest! {
        #[test]
        fn any_piece_on_any_frame_stays_inside(
            (width, height) in (1_u32..40, 1_u32..40),
            (x, y, piece_width, piece_height) in (0_u32..50, 0_u32..50, 0_u32..50, 0_u32..50),
            (shift_x, shift_y, pixel_stride) in (0_u32..3, 0_u32..3, 1_usize..5),
            mask in any::<bool>(), ground in any::<bool>(),
        ) {
            let size = Size::new(width, height);
            let stride = width as usize * pixel_stride + 3;
            let component = Component { channel: Channel::Red, offset: 5, stride, pixel_stride, shift_x, shift_y };
            let len = component.end(size).unwrap();
            let mut data = vec![77; len];
            let mut piece = full(x, y, piece_width, piece_height);
            piece.ground = ground.then_some(Rgb::WHITE);
            if mask {
                let coverage = vec![200; (piece_width * piece_height) as usize].into();
                piece.cover = Cover::Mask(Arc::new(Mask { width: piece_width, height: piece_height, coverage }));
            }
            paint(&mut data, size, &[component], &[piece]);
            for (at, level) in data.iter().enumerate() {
                let sample = at.checked_sub(5).filter(|at| (at % stride).is_multiple_of(pixel_stride));
                let inside = sample.is_some_and(|at| {
                    let column = ((at % stride) / pixel_stride) as u32;
                    let row = (at / stride) as u32;
                    column <= (x + piece_width) >> shift_x && row <= (y + piece_height) >> shift_y
                });
                prop_assert!(inside || *level == 77, "{at}");
            }
        }
    }
}
