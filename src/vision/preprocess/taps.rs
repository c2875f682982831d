//! Where each output pixel samples a plane, and the sampling itself.
//!
//! Two-tap bilinear with half-pixel centres and clamped edges. A [`Sampler`] serves components that lie side
//! by side (R, G, B; Y; U and V). It works in two steps per output row:
//!
//! 1. *gather*: for the two source rows, the left and right tap of every output column, as bytes. This is
//!    the only step whose addresses depend on the data; it reads nothing but taps, so the cost follows the
//!    model image and not the frame;
//! 2. *blend*: both directions at once in `f32`, over contiguous rows, which the compiler vectorises.
//!
//! A gathered source row is kept while it can be needed again, so an enlarged frame is not gathered twice.

use super::convert::Levels;
use super::frame::{ChromaSite, FrameView, SampleGroup, Sampling};
use crate::vision::letterbox::Letterbox;

/// A position between sample `first` and the one after it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    first: u32,
    /// Weight of the second sample, `0..=1`.
    weight: f32,
}

/// How the samples of one component lie along one side of the frame.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// Length of the frame's side, in pixels.
    pixels: u32,
    /// Samples along it.
    samples: u32,
    /// Where they lie.
    spacing: Spacing,
}

#[derive(Clone, Copy, Debug)]
enum Spacing {
    /// One sample in the centre of every pixel.
    EveryPixel,
    /// One sample in the centre of every second pixel.
    EverySecondPixel,
    /// One sample between the two pixels of each pair.
    BetweenPairs,
}

impl Axis {
    /// The taps of `count` output pixels that cover the whole side.
    ///
    /// `first + 1` is a sample as well unless there is only one: at the far end `weight` is 1.
    fn taps(self, count: u32) -> impl Iterator<Item = Tap> {
        let scale = f64::from(self.pixels) / f64::from(count);
        let last = f64::from(self.samples.saturating_sub(1));
        let last_first = self.samples.saturating_sub(2);
        (0..count).map(move |output| {
            let position = (f64::from(output) + 0.5) * scale;
            let index = match self.spacing {
                Spacing::EveryPixel => position - 0.5,
                Spacing::EverySecondPixel => (position - 0.5) / 2.0,
                Spacing::BetweenPairs => position / 2.0 - 0.5,
            }
            .clamp(0.0, last);
            let first = (index as u32).min(last_first);
            Tap { first, weight: (index - f64::from(first)) as f32 }
        })
    }
}

/// Horizontal and vertical axis of a component.
fn axes(letterbox: &Letterbox, sampling: Sampling, chroma: ChromaSite) -> (Axis, Axis) {
    let half = |cosited| if cosited { Spacing::EverySecondPixel } else { Spacing::BetweenPairs };
    let (horizontal, vertical) = match sampling {
        Sampling::Full => (Spacing::EveryPixel, Spacing::EveryPixel),
        Sampling::HalfWidth => (half(chroma.horizontal_cosited), Spacing::EveryPixel),
        Sampling::HalfBoth => (half(chroma.horizontal_cosited), half(chroma.vertical_cosited)),
    };
    let (frame, samples) = (letterbox.frame(), sampling.samples(letterbox.frame()));
    (
        Axis { pixels: frame.width, samples: samples.width, spacing: horizontal },
        Axis { pixels: frame.height, samples: samples.height, spacing: vertical },
    )
}

/// The horizontal taps of one output row.
#[derive(Debug)]
struct Columns {
    /// Bytes from the group's first sample in the row to the left tap; the right one is a step further.
    left: Vec<u32>,
    /// Weight of the right tap.
    weight: Vec<f32>,
}

impl Columns {
    fn new(axis: Axis, count: u32, step: usize) -> Self {
        // Samples are at most MAX_SIDE and steps at most 4, so the products are far below u32::MAX.
        let byte_step = step as u32;
        let (left, weight) = axis.taps(count).map(|tap| (tap.first * byte_step, tap.weight)).unzip();
        Self { left, weight }
    }
}

/// The taps gathered from one source row.
#[derive(Debug)]
struct Line {
    /// The source row, if any was gathered in this frame.
    row: Option<usize>,
    /// Per component, per output column: left tap in the low byte, right tap in the high one.
    taps: Vec<Vec<u16>>,
}

/// Samples components that lie side by side.
#[derive(Debug)]
pub(super) struct Sampler {
    group: SampleGroup,
    columns: Columns,
    rows: Vec<Tap>,
    /// Whether a source row is a single sample, without a right neighbour.
    is_single_column: bool,
    /// Source rows from the upper to the lower tap: 0 if there is only one.
    lower_distance: usize,
    /// Line `row % 2` holds source row `row`: the two rows of a tap never collide.
    lines: [Line; 2],
}

impl Sampler {
    /// A sampler for the components of `group`.
    pub(super) fn new(letterbox: &Letterbox, group: SampleGroup, chroma: ChromaSite) -> Self {
        let (horizontal, vertical) = axes(letterbox, group.sampling, chroma);
        let width = letterbox.scaled().width;
        let line = || Line { row: None, taps: vec![vec![0; width as usize]; group.channels.len()] };
        Self {
            group,
            columns: Columns::new(horizontal, width, group.step),
            rows: vertical.taps(letterbox.scaled().height).collect(),
            is_single_column: horizontal.samples == 1,
            lower_distance: usize::from(vertical.samples > 1),
            lines: [line(), line()],
        }
    }

    /// Forgets the rows of the frame before.
    pub(super) fn start_frame(&mut self) {
        for line in &mut self.lines {
            line.row = None;
        }
    }

    /// Writes row `y` of the scaled frame to the rows of this group's components, in the frame's own levels.
    pub(super) fn sample(&mut self, frame: &FrameView<'_>, y: usize, levels: &mut Levels) {
        let tap = self.rows[y];
        let upper = tap.first as usize;
        let lower = upper + self.lower_distance;
        self.gather(frame, upper);
        self.gather(frame, lower);
        let (upper, lower) = (&self.lines[upper % 2].taps, &self.lines[lower % 2].taps);
        for ((&channel, upper), lower) in self.group.channels.iter().zip(upper).zip(lower) {
            blend(&mut levels[channel], upper, lower, &self.columns.weight, tap.weight);
        }
    }

    fn gather(&mut self, frame: &FrameView<'_>, row: usize) {
        let line = &mut self.lines[row % 2];
        if line.row == Some(row) {
            return;
        }
        line.row = Some(row);
        let SampleGroup { plane, offset, step, .. } = self.group;
        let bytes = frame.row(plane, row);
        let doubled: [u8; 8];
        let bytes = if self.is_single_column {
            doubled = std::array::from_fn(|index| bytes[index % step]);
            &doubled[offset..]
        } else {
            &bytes[offset..]
        };
        let left = &self.columns.left;
        match (step, line.taps.as_mut_slice()) {
            (1, [a]) => gather_one::<1>(bytes, left, a),
            (2, [a]) => gather_one::<2>(bytes, left, a),
            (2, [a, b]) => gather_two::<2, 1>(bytes, left, a, b),
            (4, [a, b]) => gather_two::<4, 2>(bytes, left, a, b),
            (3, [a, b, c]) => gather_three::<3>(bytes, left, a, b, c),
            (4, [a, b, c]) => gather_three::<4>(bytes, left, a, b, c),
            _ => unreachable!("no format has such a group"),
        }
    }
}

// The step is a constant so that one comparison covers all loads of a column.

fn gather_one<const STEP: usize>(row: &[u8], lefts: &[u32], first: &mut [u16]) {
    for (&left, first) in lefts.iter().zip(first) {
        let bytes = &row[left as usize..left as usize + STEP + 1];
        *first = u16::from_le_bytes([bytes[0], bytes[STEP]]);
    }
}

fn gather_two<const STEP: usize, const DISTANCE: usize>(
    row: &[u8],
    lefts: &[u32],
    first: &mut [u16],
    second: &mut [u16],
) {
    for ((&left, first), second) in lefts.iter().zip(first).zip(second) {
        let bytes = &row[left as usize..left as usize + STEP + DISTANCE + 1];
        *first = u16::from_le_bytes([bytes[0], bytes[STEP]]);
        *second = u16::from_le_bytes([bytes[DISTANCE], bytes[STEP + DISTANCE]]);
    }
}

fn gather_three<const STEP: usize>(
    row: &[u8],
    lefts: &[u32],
    first: &mut [u16],
    second: &mut [u16],
    third: &mut [u16],
) {
    for (((&left, first), second), third) in lefts.iter().zip(first).zip(second).zip(third) {
        let bytes = &row[left as usize..left as usize + STEP + 3];
        *first = u16::from_le_bytes([bytes[0], bytes[STEP]]);
        *second = u16::from_le_bytes([bytes[1], bytes[STEP + 1]]);
        *third = u16::from_le_bytes([bytes[2], bytes[STEP + 2]]);
    }
}

/// Blends four taps per column into a level.
fn blend(levels: &mut [f32], upper: &[u16], lower: &[u16], weights: &[f32], lower_weight: f32) {
    for (((level, &upper), &lower), &weight) in levels.iter_mut().zip(upper).zip(lower).zip(weights) {
        let upper = blend_pair(upper, weight);
        let lower = blend_pair(lower, weight);
        *level = upper + (lower - upper) * lower_weight;
    }
}

fn blend_pair(taps: u16, weight: f32) -> f32 {
    let left = f32::from(taps & 0xff);
    let right = f32::from(taps >> 8);
    left + (right - left) * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taps(pixels: u32, samples: u32, spacing: Spacing, count: u32) -> Vec<(u32, f32)> {
        Axis { pixels, samples, spacing }.taps(count).map(|tap| (tap.first, tap.weight)).collect()
    }

    #[test]
    fn unscaled_taps_are_the_pixels_themselves() {
        assert_eq!(taps(3, 3, Spacing::EveryPixel, 3), [(0, 0.0), (1, 0.0), (1, 1.0)]);
    }

    #[test]
    fn halving_takes_the_mean_of_each_pair() {
        assert_eq!(taps(4, 4, Spacing::EveryPixel, 2), [(0, 0.5), (2, 0.5)]);
    }

    #[test]
    fn doubling_clamps_at_both_edges() {
        assert_eq!(taps(2, 2, Spacing::EveryPixel, 4), [(0, 0.0), (0, 0.25), (0, 0.75), (0, 1.0)]);
    }

    #[test]
    fn a_single_sample_is_its_own_neighbour() {
        assert_eq!(taps(1, 1, Spacing::EveryPixel, 2), [(0, 0.0), (0, 0.0)]);
        assert_eq!(taps(2, 1, Spacing::BetweenPairs, 2), [(0, 0.0), (0, 0.0)]);
    }

    #[test]
    fn chroma_lies_where_its_site_says() {
        let cosited = taps(4, 2, Spacing::EverySecondPixel, 4);
        assert_eq!(cosited, [(0, 0.0), (0, 0.5), (0, 1.0), (0, 1.0)]);
        let between = taps(4, 2, Spacing::BetweenPairs, 4);
        assert_eq!(between, [(0, 0.0), (0, 0.25), (0, 0.75), (0, 1.0)]);
    }
}
