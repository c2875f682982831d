//! Where each output pixel samples a component: the geometry, as numbers.
//!
//! Two-tap bilinear with half-pixel centres and clamped edges. What the numbers become is in [`super::plan`].

use super::frame::{ChromaSite, Sampling};
use crate::vision::letterbox::Letterbox;

/// A position between sample `first` and the one after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tap {
    pub(super) first: u32,
    /// Weight of the second sample, `0..=1`.
    pub(super) weight: f64,
}

/// How the samples of one component lie along one side of the frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Length of the frame's side, in pixels.
    pixels: u32,
    /// Samples along it.
    pub(super) samples: u32,
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
    pub(super) fn taps(self, count: u32) -> impl Iterator<Item = Tap> {
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
            Tap { first, weight: index - f64::from(first) }
        })
    }
}

/// Horizontal and vertical axis of a component.
pub(super) fn axes(letterbox: &Letterbox, sampling: Sampling, chroma: ChromaSite) -> (Axis, Axis) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn taps(pixels: u32, samples: u32, spacing: Spacing, count: u32) -> Vec<(u32, f64)> {
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
