//! The kernels: blend two rows, then pick and blend the columns.
//!
//! The row comes first because it needs no addresses: whole rows in memory order, whatever the format, 16 samples an
//! instruction. The columns are then picked out of the blended row, which is in the first-level cache, by byte
//! shuffles whose tables are in the plan, and blended by a multiply-add of pairs. Everything is integer up to here:
//!
//! | value | type | one level is |
//! |---|---|---|
//! | sample in the frame | `u8` | 1 |
//! | blended row | `i16` | 2^7: 255 * 2^7 is the most that fits |
//! | blended column | `i32`, as `f32` | 2^21: the row's times a weight of 2^14 |
//!
//! The row is rounded down to 1/128 of a level; row weights are exact to 1/131072, column weights to 1/32768. A
//! component is off by less than 1/50 of a level, and is exact where the weights are 0 and 1.

use super::plan::{Access, Columns, RowTap, Windows};
use fearless_simd::prelude::*;
use fearless_simd::{Simd, f32x8, i16x8, i16x16, i32x8, mask32x8, u8x32, u32x8};

/// Columns a step of a kernel makes.
pub(super) const BLOCK: usize = 8;

/// Columns in 128 bits, in which a shuffle works: four pairs of 16 bits.
pub(super) const LANE_PIXELS: usize = 4;

/// Samples of 16 bits in 128 bits.
pub(super) const WINDOW: usize = 8;

/// What a level of 1 is after [`sample`].
pub(super) const LEVEL: f64 = 2_097_152.0;

/// Rows of components, then of channels; whole blocks.
pub(super) type Levels = [Vec<f32>; 3];

/// Blends two rows of samples.
#[inline(always)]
pub(super) fn blend(near: &[u8], far: &[u8], tap: RowTap, blended: &mut [i16]) {
    if tap.weight == 0 {
        for (blended, &near) in blended.iter_mut().zip(near) {
            *blended = i16::from(near) << 7;
        }
        return;
    }
    let weight = i32::from(tap.weight);
    for ((blended, &near), &far) in blended.iter_mut().zip(near).zip(far) {
        let near = i16::from(near);
        let difference = (near - i16::from(far)) << 7;
        // The upper half of a 16-bit product: one instruction everywhere.
        *blended = (near << 7) + ((i32::from(difference) * weight) >> 16) as i16;
    }
}

/// Picks and blends the columns of every component of `columns`.
#[inline(always)]
pub(super) fn sample<S: Simd>(simd: S, blended: &[i16], columns: &Columns, levels: &mut Levels) {
    match &columns.access {
        Access::Contiguous(first) => contiguous(simd, &blended[*first..], columns, levels),
        Access::Scattered(left) => scattered(blended, left, columns, levels),
        Access::Windows(windows) => match (windows.per_lane, columns.channels.len()) {
            (1, 1) => windowed::<S, 1, 1>(simd, blended, windows, columns, levels),
            (2, 1) => windowed::<S, 2, 1>(simd, blended, windows, columns, levels),
            (_, 1) => windowed::<S, 4, 1>(simd, blended, windows, columns, levels),
            (2, 2) => windowed::<S, 2, 2>(simd, blended, windows, columns, levels),
            (_, 2) => windowed::<S, 4, 2>(simd, blended, windows, columns, levels),
            _ => windowed::<S, 4, 3>(simd, blended, windows, columns, levels),
        },
    }
}

#[inline(always)]
fn contiguous<S: Simd>(simd: S, pairs: &[i16], columns: &Columns, levels: &mut Levels) {
    let (level, _) = levels[columns.channels[0]].as_chunks_mut::<BLOCK>();
    let (pairs, _) = pairs.as_chunks::<16>();
    let (weights, _) = columns.weights.as_chunks::<16>();
    for ((level, pairs), weights) in level.iter_mut().zip(pairs).zip(weights) {
        weigh(simd, i16x16::load_array_ref(simd, pairs), weights).store_array(level);
    }
}

fn scattered(blended: &[i16], left: &[u32], columns: &Columns, levels: &mut Levels) {
    for (component, &channel) in columns.channels.iter().enumerate() {
        let (weights, _) = columns.weights.as_chunks::<2>();
        for ((level, &left), weights) in levels[channel].iter_mut().zip(left).zip(weights) {
            let left = left as usize + component * columns.distance;
            let [first, second] = [blended[left], blended[left + columns.step]].map(i32::from);
            *level = (first * i32::from(weights[0]) + second * i32::from(weights[1])) as f32;
        }
    }
}

/// The levels of a block of columns.
#[inline(always)]
fn weigh<S: Simd>(simd: S, pairs: i16x16<S>, weights: &[i16; 16]) -> f32x8<S> {
    let sum: i32x8<S> = pairs.pairwise_dot_product(i16x16::load_array_ref(simd, weights));
    sum.to_float()
}

#[inline(always)]
fn windowed<S: Simd, const WINDOWS: usize, const COMPONENTS: usize>(
    simd: S,
    blended: &[i16],
    windows: &Windows,
    columns: &Columns,
    levels: &mut Levels,
) {
    let (starts, _) = windows.starts.as_chunks::<WINDOWS>();
    let (weights, _) = columns.weights.as_chunks::<16>();
    let (picks, _) = windows.picks.as_chunks::<WINDOWS>();
    let (picks, _) = picks.as_chunks::<COMPONENTS>();
    // Slices of one length: nothing is checked per block but the windows.
    let blocks = starts.len();
    let weights = &weights[..blocks];
    // All blocks use the first's picks, or each its own, as always with one component.
    let (picks, turn) = match COMPONENTS {
        1 => (&picks[..blocks], usize::MAX),
        _ => (picks, if windows.is_uniform { 0 } else { usize::MAX }),
    };
    let mut rows = component_rows::<COMPONENTS>(columns.channels, levels);
    for row in &mut rows {
        *row = &mut std::mem::take(row)[..blocks];
    }
    for block in 0..blocks {
        let mut loaded = [u8x32::splat(simd, 0); WINDOWS];
        for (loaded, &starts) in loaded.iter_mut().zip(&starts[block]) {
            *loaded = load(simd, blended, starts);
        }
        for (row, picks) in rows.iter_mut().zip(&picks[block & turn]) {
            let mut picked = loaded;
            for (picked, pick) in picked.iter_mut().zip(picks) {
                *picked = picked.swizzle_dyn_within_blocks(u8x32::load_array_ref(simd, pick));
            }
            let pairs: i16x16<S> = put_together(simd, picked).bitcast();
            weigh(simd, pairs, &weights[block]).store_array(&mut row[block]);
        }
    }
}

/// The rows of `channels`, in this order.
#[inline(always)]
fn component_rows<'a, const COMPONENTS: usize>(
    channels: &[usize],
    levels: &'a mut Levels,
) -> [&'a mut [[f32; BLOCK]]; COMPONENTS] {
    let mut rows = levels.each_mut().map(|row| Some(row.as_chunks_mut::<BLOCK>().0));
    std::array::from_fn(|component| rows[channels[component]].take().unwrap_or_default())
}

/// A window for each lane.
#[inline(always)]
fn load<S: Simd>(simd: S, blended: &[i16], [low, high]: [u32; 2]) -> u8x32<S> {
    let (low, high) = (low as usize, high as usize);
    let low = i16x8::from_slice(simd, &blended[low..low + WINDOW]);
    let high = i16x8::from_slice(simd, &blended[high..high + WINDOW]);
    low.combine(high).bitcast()
}

/// Takes from each window the columns it was picked for.
#[inline(always)]
fn put_together<S: Simd, const WINDOWS: usize>(simd: S, picked: [u8x32<S>; WINDOWS]) -> u8x32<S> {
    if WINDOWS == 1 {
        return picked[0];
    }
    let odd = mask32x8::simd_from(simd, [0, -1, 0, -1, 0, -1, 0, -1]);
    let upper_half = mask32x8::simd_from(simd, [0, 0, -1, -1, 0, 0, -1, -1]);
    let mut pairs: [u32x8<S>; WINDOWS] = [u32x8::splat(simd, 0); WINDOWS];
    for (pair, picked) in pairs.iter_mut().zip(picked) {
        *pair = picked.bitcast();
    }
    let pairs = match WINDOWS {
        2 => upper_half.select(pairs[1], pairs[0]),
        _ => upper_half.select(odd.select(pairs[3], pairs[2]), odd.select(pairs[1], pairs[0])),
    };
    pairs.bitcast()
}
