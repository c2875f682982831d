//! The tables for one kind of frame: which rows to blend, and where in a blended row the taps lie.
//!
//! They depend on the geometry only, are made once, and hold everything the kernels in [`super::rows`] need, so
//! these neither compute positions nor decide anything per pixel.

use super::frame::{ChromaSite, PixelFormat, SampleGroup};
use super::rows::{BLOCK, LANE_PIXELS, WINDOW};
use super::taps::{Axis, Tap, axes};
use crate::vision::Size;
use crate::vision::letterbox::Letterbox;

/// Samples after the end of a blended row that a kernel may read and gives no weight: a window that starts at the
/// last sample, or the pixels that fill the last block.
const SLACK: usize = 2 * BLOCK;

/// A weight of 1 of a column's tap, in [`Columns::weights`].
const COLUMN_ONE: f64 = 16_384.0;

/// A weight of 1 of a row's tap, in [`RowTap::weight`].
const ROW_ONE: f64 = 65_536.0;

/// What the tables depend on, besides the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) format: PixelFormat,
    pub(super) size: Size,
    pub(super) chroma: ChromaSite,
}

/// Tables and row buffers for one kind of frame.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) letterbox: Letterbox,
    pub(super) sources: Vec<Source>,
}

impl Plan {
    /// `has_shuffle`: whether picking bytes out of a register by a table is one instruction.
    pub(super) fn new(kind: Kind, letterbox: Letterbox, has_shuffle: bool) -> Self {
        let mut sources: Vec<Source> = Vec::new();
        for &group in kind.format.groups() {
            let (horizontal, vertical) = axes(&letterbox, group.sampling, kind.chroma);
            let columns = Columns::new(horizontal, letterbox.scaled().width, group, has_shuffle);
            // Components of one plane have the same rows: no format shares a plane between resolutions that differ
            // vertically.
            if let Some(source) = sources.iter_mut().find(|source| source.plane == group.plane) {
                source.groups.push(columns);
                continue;
            }
            let bytes = kind.format.row_bytes(group.plane, kind.size);
            sources.push(Source {
                plane: group.plane,
                rows: vertical.taps(letterbox.scaled().height).map(RowTap::new).collect(),
                bytes,
                blended: vec![0; bytes + SLACK],
                groups: vec![columns],
            });
        }
        Self { kind, letterbox, sources }
    }
}

/// One plane of the frame.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) plane: usize,
    /// Per output row.
    pub(super) rows: Vec<RowTap>,
    /// Length of a row, padding not included.
    pub(super) bytes: usize,
    /// The blend of two rows: their samples in memory order, and [`SLACK`].
    pub(super) blended: Vec<i16>,
    /// The components in it.
    pub(super) groups: Vec<Columns>,
}

/// The two source rows of an output row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowTap {
    /// The one with more weight.
    pub(super) near: usize,
    /// The other one; `near` again if it has none, so that no row is read for nothing.
    pub(super) far: usize,
    /// Minus the weight of `far`, at most a half, in units of 1/65536: `i16` holds it exactly, half included.
    pub(super) weight: i16,
}

impl RowTap {
    fn new(tap: Tap) -> Self {
        let (first, second) = (tap.first as usize, tap.first as usize + 1);
        let (near, far, share) =
            if tap.weight <= 0.5 { (first, second, tap.weight) } else { (second, first, 1.0 - tap.weight) };
        let weight = -(share * ROW_ONE).round() as i16;
        Self { near, far: if weight == 0 { near } else { far }, weight }
    }
}

/// The taps in a blended row, for components that lie side by side.
#[derive(Debug)]
pub(super) struct Columns {
    /// The components in memory order, each by its index in the colour model.
    pub(super) channels: &'static [usize],
    /// Samples from the first component to the second, and from that to the third.
    pub(super) distance: usize,
    /// Samples from the left tap to the right one.
    pub(super) step: usize,
    /// Weights of the left and the right tap in units of 1/16384, column after column, up to a whole block.
    pub(super) weights: Vec<i16>,
    pub(super) access: Access,
}

/// How a kernel gets at the taps.
#[derive(Debug)]
pub(super) enum Access {
    /// Two samples a column, one column after the other, from this one on: nothing has to be moved.
    Contiguous(usize),
    /// Picked out of windows by shuffles.
    Windows(Windows),
    /// Loaded one by one: the left taps. For processors without a shuffle.
    Scattered(Vec<u32>),
}

/// Windows of [`WINDOW`] samples in which the taps of a few neighbouring columns lie.
#[derive(Debug)]
pub(super) struct Windows {
    /// Windows for [`LANE_PIXELS`] columns: 1, 2 or 4.
    pub(super) per_lane: usize,
    /// First sample of each window, by block, window and lane.
    pub(super) starts: Vec<[u32; 2]>,
    /// For each byte of the taps its place in the window, by block, component and window; of one block if
    /// `is_uniform`.
    pub(super) picks: Vec<[u8; 32]>,
    /// All blocks have the same picks: 15 KiB less to read per row of an RGB frame into 320 columns.
    pub(super) is_uniform: bool,
}

impl Columns {
    fn new(axis: Axis, count: u32, group: SampleGroup, has_shuffle: bool) -> Self {
        let SampleGroup { offset, step, channels, .. } = group;
        let mut taps: Vec<Tap> = axis.taps(count).collect();
        let weights = |tap: &Tap| {
            let right = (tap.weight * COLUMN_ONE).round();
            [(COLUMN_ONE - right) as i16, right as i16]
        };
        let mut weights: Vec<i16> = taps.iter().flat_map(weights).collect();
        // Fill the last block with columns that weigh nothing.
        let columns = taps.len().next_multiple_of(BLOCK);
        weights.resize(2 * columns, 0);
        if let Some(&last) = taps.last() {
            taps.resize(columns, last);
        }
        let left: Vec<u32> = taps.iter().map(|tap| tap.first * step as u32 + offset as u32).collect();
        let distance = if channels.len() == 2 && step == 4 { 2 } else { 1 };
        let reach = step + distance * (channels.len() - 1) + 1;
        let access = if channels.len() == 1 && step == 1 && is_contiguous(&left[..count as usize]) {
            Access::Contiguous(left[0] as usize)
        } else if has_shuffle {
            Access::Windows(Windows::new(&left, channels.len(), step, distance, reach))
        } else {
            Access::Scattered(left)
        };
        Self { channels, distance, step, weights, access }
    }
}

fn is_contiguous(left: &[u32]) -> bool {
    left.windows(2).all(|pair| pair[1] == pair[0] + 2)
}

impl Windows {
    /// `left` are the first samples of whole blocks of columns; a column's samples end `reach` further.
    fn new(left: &[u32], components: usize, step: usize, distance: usize, reach: usize) -> Self {
        let fits = |columns: usize| {
            left.chunks(columns).all(|part| (part[columns - 1] - part[0]) as usize + reach <= WINDOW)
        };
        // As few as possible, of the numbers there are kernels for. Components side by side need room.
        let candidates: &[usize] = match components {
            1 => &[1, 2],
            2 => &[2],
            _ => &[],
        };
        let per_lane =
            candidates.iter().copied().find(|per_lane| fits(LANE_PIXELS / per_lane)).unwrap_or(LANE_PIXELS);
        let columns = LANE_PIXELS / per_lane;
        let mut starts = Vec::new();
        let mut picks = Vec::new();
        for block in left.chunks(BLOCK) {
            let lanes = [&block[..LANE_PIXELS], &block[LANE_PIXELS..]];
            starts.extend((0..per_lane).map(|window| lanes.map(|lane| lane[window * columns])));
            for component in 0..components {
                for window in 0..per_lane {
                    let pick = |at: usize| {
                        let column = (at % 16) / 4;
                        let own = columns * window..columns * (window + 1);
                        if !own.contains(&column) {
                            return 0; // Left out when the windows are put together.
                        }
                        let lane = lanes[at / 16];
                        let sample = (lane[column] - lane[own.start]) as usize
                            + component * distance
                            + step * (at % 4 / 2);
                        (2 * sample + at % 2) as u8
                    };
                    picks.push(std::array::from_fn(pick));
                }
            }
        }
        let block = components * per_lane;
        // Of one component they are few, and reading on is cheaper than going back.
        let is_uniform = components > 1 && picks.chunks(block).all(|other| other == &picks[..block]);
        if is_uniform {
            picks.truncate(block);
        }
        Self { per_lane, starts, picks, is_uniform }
    }
}
