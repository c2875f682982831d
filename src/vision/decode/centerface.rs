//! CenterFace: four maps at stride 4 of a model image whose sides are multiples of 32. Heat `[N, 1, h, w]`,
//! log size `[N, 2, h, w]` (height, width), offset of the center `[N, 2, h, w]` (y, x), and five landmarks
//! `[N, 10, h, w]` (y, x of each, in sizes of the box from its corner). One class, the face.
//!
//! The formulas are those of Star-Clouds/CenterFace, but for one: there a box over the left or top edge is
//! moved into the image with its size kept; here it is cut off at the edge, as all boxes are.

use std::fmt;

use super::candidates::{Candidate, Overlaps, Place, capped_exp, detections, score};
use super::tensor::{Batched, all_finite, describe, row};
use super::workspace::Scratch;
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
use crate::vision::Rect;

const RANK: usize = 4;

const STRIDE: usize = 4;

/// Channels of heat, size, offset and landmarks.
const CHANNELS: [usize; 4] = [1, 2, 2, 10];

/// Names of the outputs, in the order of [`CHANNELS`].
pub(super) struct CenterFace {
    outputs: [String; 4],
}

impl CenterFace {
    pub(super) fn bind(outputs: &[OutputShape]) -> Result<Self, DecodeError> {
        Self::by_channels(outputs).or_else(|| Self::by_order(outputs)).ok_or_else(|| DecodeError::NoOutput {
            expected: format!("each of {}", DecoderKind::CenterFace.layout()),
            found: describe(outputs),
        })
    }

    /// Found by declared channels alone; of the two maps with two channels, size comes first.
    pub(super) fn by_channels(outputs: &[OutputShape]) -> Option<Self> {
        let with = |channels: usize| {
            outputs
                .iter()
                .filter(|output| output.rank() == RANK && output.dim(1) == Some(channels))
                .map(|output| output.name.clone())
                .collect::<Vec<_>>()
        };
        match (with(1).as_slice(), with(2).as_slice(), with(10).as_slice()) {
            ([heat], [size, offset], [landmarks]) => {
                Some(Self { outputs: [heat, size, offset, landmarks].map(Clone::clone) })
            }
            _ => None,
        }
    }

    /// Found by their order, where channels are left open.
    fn by_order(outputs: &[OutputShape]) -> Option<Self> {
        let maps: Vec<_> = outputs.iter().filter(|output| output.rank() == RANK).collect();
        let fit = maps.iter().zip(CHANNELS).all(|(map, channels)| map.fits(RANK, &[(1, channels)]));
        let names: [String; 4] =
            maps.iter().map(|map| map.name.clone()).collect::<Vec<_>>().try_into().ok()?;
        fit.then_some(Self { outputs: names })
    }
}

/// A map of these dimensions, written only for an error.
struct Expected([usize; 3]);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [channels, height, width] = self.0;
        write!(f, "[N, {channels}, {height}, {width}]")
    }
}

impl Decoder for CenterFace {
    fn kind(&self) -> DecoderKind {
        DecoderKind::CenterFace
    }

    fn classes(&self) -> Option<usize> {
        Some(1)
    }

    fn decode(
        &self,
        outputs: &[TensorView<'_>],
        batch: usize,
        params: &Params,
        workspace: &mut Workspace,
    ) -> Result<(), DecodeError> {
        workspace.clear();
        let side = |pixels: u32| pixels as usize / STRIDE;
        let (width, height) = (side(params.model.width), side(params.model.height));
        let map = |index: usize, name: &str| {
            let channels = CHANNELS.get(index).copied().unwrap_or_default();
            let expected = Expected([channels, height, width]);
            let map = Batched::of(outputs, name, RANK, &expected, batch)?;
            if [map.dim(1), map.dim(2), map.dim(3)] == [channels, height, width] {
                Ok(map)
            } else {
                Err(map.mismatch(expected))
            }
        };
        let [heat, size, offset, landmarks] = &self.outputs;
        let maps = [map(0, heat)?, map(1, size)?, map(2, offset)?, map(3, landmarks)?];
        workspace.each_image(batch, |image, scratch| decode_image(&maps, image, width, params, scratch));
        Ok(())
    }
}

fn decode_image(
    maps: &[Batched<'_>; 4],
    image: usize,
    width: usize,
    params: &Params,
    scratch: &mut Scratch,
) -> Result<(), DecodeError> {
    let [heat, size, offset, landmarks] = maps;
    let site = heat.site(image);
    let scores = heat.image(image);
    for (cell, &raw) in scores.iter().enumerate() {
        if let Some(score) = score(raw, site, params)? {
            scratch.candidates.push(Candidate { row: cell, class: 0, score });
        }
    }
    let cells = scores.len();
    let at = |map: &Batched<'_>, channel: usize, cell: usize| {
        row(map.image(image), cells, channel).get(cell).copied().unwrap_or(f32::NAN)
    };
    let finite = |cell| {
        let all = |map, channels| (0..channels).all(|channel| all_finite(&[at(map, channel, cell)]));
        all(size, 2) && all(offset, 2) && all(landmarks, 10)
    };
    let place = |cell: usize| {
        let stride = STRIDE as f32;
        // A candidate is a cell, so there are cells and `width` is not zero.
        let (column, line) = ((cell % width) as f32, (cell / width) as f32);
        let x = (column + at(offset, 1, cell) + 0.5) * stride;
        let y = (line + at(offset, 0, cell) + 0.5) * stride;
        let box_width = capped_exp(at(size, 1, cell)) * stride;
        let box_height = capped_exp(at(size, 0, cell)) * stride;
        let bbox = Rect::from_center(x, y, box_width, box_height);
        let landmark = |index: usize| {
            let x = bbox.x_min + at(landmarks, 2 * index + 1, cell) * box_width;
            let y = bbox.y_min + at(landmarks, 2 * index, cell) * box_height;
            [x, y]
        };
        Place { bbox, landmarks: (0..5).map(landmark).collect() }
    };
    detections(scratch, site, params, Overlaps::Suppress, finite, place)
}
