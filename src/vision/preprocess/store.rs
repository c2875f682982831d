//! From RGB rows to the elements of the tensor: type and layout.

use super::{InputSpec, Layout, Letterbox};
use fearless_simd::{Level, dispatch};
use half::f16;
use half::slice::HalfFloatSliceExt as _;

/// A type of tensor element.
pub(super) trait Element: Copy {
    /// Converts `values` to elements; the slices are of one length.
    fn convert(level: Level, elements: &mut [Self], values: &[f32]);

    /// The elements themselves, if values need no conversion.
    fn as_floats(_elements: &mut [Self]) -> Option<&mut [f32]> {
        None
    }

    /// Converts one value.
    fn from_value(value: f32) -> Self;
}

impl Element for f32 {
    fn convert(_: Level, elements: &mut [Self], values: &[Self]) {
        elements.copy_from_slice(values);
    }

    fn as_floats(elements: &mut [Self]) -> Option<&mut [f32]> {
        Some(elements)
    }

    fn from_value(value: f32) -> Self {
        value
    }
}

impl Element for f16 {
    // `half` looks for the processor's instruction itself.
    fn convert(_: Level, elements: &mut [Self], values: &[f32]) {
        elements.convert_from_f32_slice(values);
    }

    fn from_value(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl Element for u8 {
    fn convert(level: Level, elements: &mut [Self], values: &[f32]) {
        dispatch!(level, _simd => round_all(elements, values));
    }

    /// Rounds a level `0..=255` to the nearest, halves to even.
    fn from_value(value: f32) -> Self {
        // Adding 2^23 leaves no fraction bits, so the sum's low bits are the rounded level. Unlike `as u8`,
        // whose saturation costs a branch per element, this is two vector instructions.
        const FRACTION_FREE: f32 = 8_388_608.0;
        (value + FRACTION_FREE).to_bits() as Self
    }
}

#[inline(always)]
fn round_all(elements: &mut [u8], values: &[f32]) {
    for (element, &value) in elements.iter_mut().zip(values) {
        *element = u8::from_value(value);
    }
}

/// Writes one image of the tensor.
pub(super) struct Writer<'a, T> {
    pub(super) elements: &'a mut [T],
    pub(super) layout: Layout,
    pub(super) letterbox: Letterbox,
    pub(super) level: Level,
}

impl<T: Element> Writer<'_, T> {
    /// The three places of row `y` of the frame, in tensor order, if values can be put there as they are.
    pub(super) fn float_row(&mut self, y: usize) -> Option<[&mut [f32]; 3]> {
        let (start, area) = (self.start(y), self.area());
        let end = start + self.letterbox.scaled().width as usize;
        if self.layout != Layout::Nchw {
            return None;
        }
        let (first, rest) = T::as_floats(self.elements)?.split_at_mut(area);
        let (second, third) = rest.split_at_mut(area);
        Some([first, second, third].map(|plane| &mut plane[start..end]))
    }

    /// Writes one row of the frame, `y` counted from the frame's first; `channels` in tensor order.
    pub(super) fn write_row(&mut self, y: usize, channels: [&[f32]; 3], interleaved: &mut [f32]) {
        let (start, area) = (self.start(y), self.area());
        match self.layout {
            Layout::Nchw => {
                for (plane, row) in self.elements.chunks_exact_mut(area).zip(channels) {
                    T::convert(self.level, &mut plane[start..start + row.len()], row);
                }
            }
            Layout::Nhwc => {
                let elements = &mut self.elements[3 * start..3 * start + interleaved.len()];
                if let Some(floats) = T::as_floats(elements) {
                    interleave(self.level, channels, floats);
                } else {
                    interleave(self.level, channels, interleaved);
                    T::convert(self.level, elements, interleaved);
                }
            }
        }
    }

    /// Elements of a channel.
    fn area(&self) -> usize {
        self.letterbox.model().width as usize * self.letterbox.model().height as usize
    }

    /// The first element of row `y` of the frame, counted in a channel.
    fn start(&self, y: usize) -> usize {
        let (left, top) = (self.letterbox.left() as usize, self.letterbox.top() as usize);
        (y + top) * self.letterbox.model().width as usize + left
    }

    /// Writes `values`, one per channel in tensor order, everywhere around the frame.
    pub(super) fn write_padding(&mut self, values: [f32; 3]) {
        let values = values.map(T::from_value);
        let area = self.area();
        match self.layout {
            Layout::Nchw => {
                for (plane, value) in self.elements.chunks_exact_mut(area).zip(values) {
                    for run in padding_runs(&self.letterbox) {
                        plane[run].fill(value);
                    }
                }
            }
            Layout::Nhwc => {
                for run in padding_runs(&self.letterbox) {
                    for pixel in self.elements[3 * run.start..3 * run.end].chunks_exact_mut(3) {
                        pixel.copy_from_slice(&values);
                    }
                }
            }
        }
    }
}

/// The pixels around the frame as runs of row-major indices: above, at the sides, below.
fn padding_runs(letterbox: &Letterbox) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let (width, height) = (letterbox.model().width as usize, letterbox.model().height as usize);
    let (left, top) = (letterbox.left() as usize, letterbox.top() as usize);
    let right = left + letterbox.scaled().width as usize;
    let bottom = top + letterbox.scaled().height as usize;
    // From the end of one frame row to the start of the next is one run.
    let sides = (top..bottom - 1).map(move |row| row * width + right..(row + 1) * width + left);
    let ends = [0..top * width + left, (bottom - 1) * width + right..height * width];
    ends.into_iter().chain(sides).filter(|run| !run.is_empty())
}

fn interleave(level: Level, channels: [&[f32]; 3], interleaved: &mut [f32]) {
    dispatch!(level, _simd => interleave_all(channels, interleaved));
}

#[inline(always)]
fn interleave_all(channels: [&[f32]; 3], interleaved: &mut [f32]) {
    let [first, second, third] = channels;
    let (pixels, _) = interleaved.as_chunks_mut::<3>();
    for (((pixel, &a), &b), &c) in pixels.iter_mut().zip(first).zip(second).zip(third) {
        *pixel = [a, b, c];
    }
}

/// Elements of one image of `spec`, if that fits in memory at all.
pub(super) fn image_len(spec: &InputSpec) -> Option<usize> {
    (spec.size.width as usize).checked_mul(spec.size.height as usize)?.checked_mul(3)
}
