//! The letterbox: how a frame of any shape is placed in the model's input image.
//!
//! The frame keeps its aspect, is centred, and its scaled size is a whole number of pixels. The placement
//! that [`super::preprocess`] uses for pixels is exactly the mapping used here for boxes: per axis, the
//! scale is *scaled size / frame size*, so the rounding to whole pixels moves no box.
//!
//! Nothing is clamped: a box that reaches into the padding maps to one that reaches out of the frame, and
//! a side that is not finite stays so. Callers clamp with [`Rect::clamped`].

use super::{Rect, Size};

/// Longest side of a frame or a model image, in pixels. Twice an 8K frame's height and width fits; the limit
/// keeps every size exact in `f32` and every table small when caps name an absurd size.
pub const MAX_SIDE: u32 = 32_768;

/// Why there is no letterbox for two sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LetterboxError {
    /// The frame is empty or larger than [`MAX_SIDE`].
    #[error("frame size: expected 1 to {MAX_SIDE} pixels a side, found {}x{}", .0.width, .0.height)]
    FrameSize(Size),
    /// The model image is empty or larger than [`MAX_SIDE`].
    #[error("model image size: expected 1 to {MAX_SIDE} pixels a side, found {}x{}", .0.width, .0.height)]
    ModelSize(Size),
}

/// Where a frame lies in the model image, and the mapping between the two spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letterbox {
    frame: Size,
    model: Size,
    scaled: Size,
    left: u32,
    top: u32,
}

impl Letterbox {
    /// The placement of a frame of size `frame` in a model image of size `model`.
    ///
    /// The scaled size is rounded to the nearest pixel, halves up, and is at least 1. Of an odd number of
    /// padding pixels the extra one is at the right or at the bottom.
    ///
    /// # Errors
    ///
    /// A side that is zero or longer than [`MAX_SIDE`].
    pub fn new(frame: Size, model: Size) -> Result<Self, LetterboxError> {
        if !is_valid(frame) {
            return Err(LetterboxError::FrameSize(frame));
        }
        if !is_valid(model) {
            return Err(LetterboxError::ModelSize(model));
        }
        let scaled = scaled_size(frame, model);
        Ok(Self {
            frame,
            model,
            scaled,
            left: (model.width - scaled.width) / 2,
            top: (model.height - scaled.height) / 2,
        })
    }

    /// Size of the frame.
    #[must_use]
    pub const fn frame(&self) -> Size {
        self.frame
    }

    /// Size of the model image.
    #[must_use]
    pub const fn model(&self) -> Size {
        self.model
    }

    /// Size of the frame in the model image.
    #[must_use]
    pub const fn scaled(&self) -> Size {
        self.scaled
    }

    /// Padding columns left of the frame.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// Padding rows above the frame.
    #[must_use]
    pub const fn top(&self) -> u32 {
        self.top
    }

    /// A rectangle in frame space, in model space.
    #[must_use]
    pub fn model_from_frame(&self, rect_in_frame: &Rect) -> Rect {
        let [x_min, y_min] = self.model_from_frame_point([rect_in_frame.x_min, rect_in_frame.y_min]);
        let [x_max, y_max] = self.model_from_frame_point([rect_in_frame.x_max, rect_in_frame.y_max]);
        Rect { x_min, y_min, x_max, y_max }
    }

    /// A rectangle in model space, in frame space. Not clamped to the frame.
    #[must_use]
    pub fn frame_from_model(&self, rect_in_model: &Rect) -> Rect {
        let [x_min, y_min] = self.frame_from_model_point([rect_in_model.x_min, rect_in_model.y_min]);
        let [x_max, y_max] = self.frame_from_model_point([rect_in_model.x_max, rect_in_model.y_max]);
        Rect { x_min, y_min, x_max, y_max }
    }

    /// A point `[x, y]` in frame space, in model space.
    #[must_use]
    pub fn model_from_frame_point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [
            forward(x, self.frame.width, self.scaled.width, self.left),
            forward(y, self.frame.height, self.scaled.height, self.top),
        ]
    }

    /// A point `[x, y]` in model space, in frame space. Not clamped to the frame.
    #[must_use]
    pub fn frame_from_model_point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [
            backward(x, self.frame.width, self.scaled.width, self.left),
            backward(y, self.frame.height, self.scaled.height, self.top),
        ]
    }
}

/// Whether both sides are `1..=MAX_SIDE`.
pub(super) fn is_valid(size: Size) -> bool {
    (1..=MAX_SIDE).contains(&size.width) && (1..=MAX_SIDE).contains(&size.height)
}

/// The largest size of the frame's aspect that fits: the tighter axis is filled, the other is rounded.
fn scaled_size(frame: Size, model: Size) -> Size {
    let width_is_tighter =
        u64::from(model.width) * u64::from(frame.height) <= u64::from(model.height) * u64::from(frame.width);
    if width_is_tighter {
        Size::new(model.width, scaled_side(frame.height, model.width, frame.width).clamp(1, model.height))
    } else {
        Size::new(scaled_side(frame.width, model.height, frame.height).clamp(1, model.width), model.height)
    }
}

/// `side * numerator / denominator` to the nearest integer, in integers: no platform rounds it differently.
fn scaled_side(side: u32, numerator: u32, denominator: u32) -> u32 {
    let doubled = 2 * u64::from(side) * u64::from(numerator);
    let rounded = (doubled + u64::from(denominator)) / (2 * u64::from(denominator));
    u32::try_from(rounded).unwrap_or(u32::MAX)
}

/// One coordinate from frame to model space. In `f64`, so that whole pixels map to whole pixels exactly.
fn forward(value: f32, frame: u32, scaled: u32, offset: u32) -> f32 {
    (f64::from(value) * f64::from(scaled) / f64::from(frame) + f64::from(offset)) as f32
}

/// One coordinate from model to frame space.
fn backward(value: f32, frame: u32, scaled: u32, offset: u32) -> f32 {
    ((f64::from(value) - f64::from(offset)) * f64::from(frame) / f64::from(scaled)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letterbox(frame: (u32, u32), model: (u32, u32)) -> Letterbox {
        Letterbox::new(Size::new(frame.0, frame.1), Size::new(model.0, model.1)).unwrap()
    }

    #[test]
    fn wide_frame_is_padded_above_and_below() {
        let placed = letterbox((1280, 720), (320, 320));
        assert_eq!((placed.scaled(), placed.left(), placed.top()), (Size::new(320, 180), 0, 70));
    }

    #[test]
    fn tall_frame_is_padded_at_the_sides() {
        let placed = letterbox((720, 1280), (320, 320));
        assert_eq!((placed.scaled(), placed.left(), placed.top()), (Size::new(180, 320), 70, 0));
    }

    #[test]
    fn odd_padding_leaves_the_extra_pixel_at_the_bottom() {
        let placed = letterbox((100, 95), (100, 100));
        assert_eq!((placed.scaled().height, placed.top()), (95, 2));
        let placed = letterbox((100, 99), (100, 100));
        assert_eq!((placed.scaled().height, placed.top()), (99, 0));
    }

    #[test]
    fn scaled_size_rounds_to_the_nearest_pixel() {
        assert_eq!(letterbox((1000, 333), (100, 100)).scaled(), Size::new(100, 33));
        assert_eq!(letterbox((1000, 336), (100, 100)).scaled(), Size::new(100, 34));
        assert_eq!(letterbox((1000, 335), (100, 100)).scaled(), Size::new(100, 34));
    }

    #[test]
    fn thread_thin_frame_keeps_one_pixel() {
        assert_eq!(letterbox((32_768, 1), (320, 320)).scaled(), Size::new(320, 1));
        assert_eq!(letterbox((1, 32_768), (320, 320)).scaled(), Size::new(1, 320));
        assert_eq!(letterbox((32_768, 32_768), (1, 1)).scaled(), Size::new(1, 1));
    }

    #[test]
    fn frame_rectangle_maps_to_the_placed_pixels_exactly() {
        let placed = letterbox((1279, 721), (416, 320));
        let image = placed.model_from_frame(&Rect::from_corners(0.0, 0.0, 1279.0, 721.0));
        let (left, top) = (placed.left() as f32, placed.top() as f32);
        let (width, height) = (placed.scaled().width as f32, placed.scaled().height as f32);
        assert_eq!(image, Rect::from_corners(left, top, left + width, top + height));
    }

    #[test]
    fn pixel_centres_map_to_pixel_centres_when_nothing_is_scaled() {
        let placed = letterbox((100, 50), (100, 100));
        assert_eq!(placed.model_from_frame_point([0.5, 0.5]), [0.5, 25.5]);
        assert_eq!(placed.frame_from_model_point([99.5, 74.5]), [99.5, 49.5]);
    }

    #[test]
    fn sizes_out_of_range_are_refused_with_the_size_found() {
        let good = Size::new(320, 320);
        for bad in [Size::new(0, 1), Size::new(1, 0), Size::new(65_535, 65_535), Size::new(1, u32::MAX)] {
            assert_eq!(Letterbox::new(bad, good), Err(LetterboxError::FrameSize(bad)));
            assert_eq!(Letterbox::new(good, bad), Err(LetterboxError::ModelSize(bad)));
        }
        let message = LetterboxError::FrameSize(Size::new(0, 7)).to_string();
        assert_eq!(message, "frame size: expected 1 to 32768 pixels a side, found 0x7");
    }

    #[test]
    fn sides_that_are_not_finite_do_not_panic() {
        let placed = letterbox((640, 480), (320, 320));
        let rect = Rect::from_corners(f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX);
        assert!(!placed.frame_from_model(&rect).is_finite());
        assert!(!placed.model_from_frame(&rect).is_finite());
    }

    fn sides() -> impl Strategy<Value = Size> {
        (1..=MAX_SIDE, 1..=MAX_SIDE).prop_map(|(width, height)| Size::new(width, height))
    }

    proptest! {
        #[test]
        fn boxes_survive_the_round_trip(
            frame in sides(),
            model in (16u32..2048, 16u32..2048),
            corners in prop::array::uniform4(0.0f32..=1.0),
        ) {
            let placed = Letterbox::new(frame, Size::new(model.0, model.1)).unwrap();
            let (width, height) = (frame.width as f32, frame.height as f32);
            let [x_min, y_min, x_max, y_max] = corners;
            let rect = Rect::from_corners(x_min * width, y_min * height, x_max * width, y_max * height);
            let back = placed.frame_from_model(&placed.model_from_frame(&rect));
            for (a, b, side) in [
                (rect.x_min, back.x_min, width),
                (rect.y_min, back.y_min, height),
                (rect.x_max, back.x_max, width),
                (rect.y_max, back.y_max, height),
            ] {
                prop_assert!((a - b).abs() <= 1e-3 * side, "{a} came back as {b} in {placed:?}");
            }
        }

        #[test]
        fn image_of_the_frame_lies_inside_the_model(frame in sides(), model in sides()) {
            let placed = Letterbox::new(frame, model).unwrap();
            let whole = Rect::from_corners(0.0, 0.0, frame.width as f32, frame.height as f32);
            let image = placed.model_from_frame(&whole);
            prop_assert_eq!(image, image.clamped(model));
            prop_assert!(image.width() >= 1.0 && image.height() >= 1.0);
            let right = model.width - placed.scaled().width - placed.left();
            let bottom = model.height - placed.scaled().height - placed.top();
            prop_assert!(right - placed.left() <= 1 && bottom - placed.top() <= 1);
            prop_assert!(placed.scaled().width == model.width || placed.scaled().height == model.height);
        }
    }
}
