//! How large things are drawn on a frame of some size.

use crate::vision::Size;

/// Least and largest height of letters, in pixels of an em: smaller cannot be read, larger is never needed.
const LETTERS: (f32, f32) = (8.0, 96.0);
/// Widest line, in pixels.
const WIDEST_LINE: u32 = 64;

/// Sizes in pixels of the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sizes {
    /// Height of an em.
    pub(super) em: f32,
    /// Width of the lines of boxes and tails.
    pub(super) line: u32,
    /// Between text and the side of its plate.
    pub(super) padding: u32,
}

impl Sizes {
    /// For a frame; `scale` multiplies everything, `line_width` other than 0 is the width of lines instead.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive; casts saturate"
    )]
    pub(super) fn new(frame: Size, scale: f32, line_width: u32) -> Self {
        let scale = if scale.is_finite() { scale.clamp(0.1, 10.0) } else { 1.0 };
        // Grows more slowly than the frame: small frames are looked at enlarged, or closely.
        let side = frame.width.min(frame.height) as f32;
        let em = ((7.0 + 0.0155 * side) * scale).clamp(LETTERS.0, LETTERS.1);
        let line = ((1.0 + 0.003 * side) * scale).round() as u32;
        let line = if line_width == 0 { line } else { line_width };
        Self { em, line: line.clamp(1, WIDEST_LINE), padding: (em / 5.0).round() as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_with_the_frame_and_have_bounds() {
        let sizes = [(320, 240), (640, 480), (1920, 1080), (3840, 2160)]
            .map(|(width, height)| Sizes::new(Size::new(width, height), 1.0, 0));
        assert!(sizes.is_sorted_by(|a, b| a.em < b.em && a.line <= b.line), "{sizes:?}");
        assert!(sizes[0].em >= 10.0 && sizes[0].line >= 2 && sizes[3].em <= 48.0, "{sizes:?}");
        for scale in [f32::NAN, f32::INFINITY, -1.0, 0.0, 1e30] {
            for side in [0, 1, u32::MAX] {
                let Sizes { em, line, .. } = Sizes::new(Size::new(side, side), scale, u32::MAX * (side % 2));
                assert!((8.0..=96.0).contains(&em) && (1..=WIDEST_LINE).contains(&line));
            }
        }
    }

    #[test]
    fn a_width_of_lines_that_was_asked_for_is_taken() {
        assert_eq!(Sizes::new(Size::new(640, 480), 3.0, 5).line, 5);
    }
}
