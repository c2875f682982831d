//! Sizes and rectangles.

/// Width and height in whole pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// A size of `width` columns and `height` rows.
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
}

/// A rectangle with half-open sides: it covers `[x_min, x_max)` by `[y_min, y_max)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Left side.
    pub x_min: f32,
    /// Top side.
    pub y_min: f32,
    /// Right side.
    pub x_max: f32,
    /// Bottom side.
    pub y_max: f32,
}

impl Rect {
    /// The rectangle between two corners.
    #[must_use]
    pub const fn from_corners(x_min: f32, y_min: f32, x_max: f32, y_max: f32) -> Self {
        Self { x_min, y_min, x_max, y_max }
    }

    /// The rectangle of `width` by `height` around a centre.
    #[must_use]
    pub fn from_center(center_x: f32, center_y: f32, width: f32, height: f32) -> Self {
        Self {
            x_min: center_x - width / 2.0,
            y_min: center_y - height / 2.0,
            x_max: center_x + width / 2.0,
            y_max: center_y + height / 2.0,
        }
    }

    /// Width; zero if the sides are the wrong way round.
    #[must_use]
    pub fn width(&self) -> f32 {
        (self.x_max - self.x_min).max(0.0)
    }

    /// Height; zero if the sides are the wrong way round.
    #[must_use]
    pub fn height(&self) -> f32 {
        (self.y_max - self.y_min).max(0.0)
    }

    /// Area; zero for an empty rectangle.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Whether all four sides are finite numbers.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.x_min.is_finite() && self.y_min.is_finite() && self.x_max.is_finite() && self.y_max.is_finite()
    }

    /// The part of this rectangle that lies in an image of `size`.
    #[must_use]
    pub fn clamped(&self, size: Size) -> Self {
        let (width, height) = (size.width as f32, size.height as f32);
        Self {
            x_min: self.x_min.clamp(0.0, width),
            y_min: self.y_min.clamp(0.0, height),
            x_max: self.x_max.clamp(0.0, width),
            y_max: self.y_max.clamp(0.0, height),
        }
    }

    /// Intersection over union, `0..=1`; zero if both are empty.
    #[must_use]
    pub fn iou(&self, other: &Self) -> f32 {
        let intersection = Self {
            x_min: self.x_min.max(other.x_min),
            y_min: self.y_min.max(other.y_min),
            x_max: self.x_max.min(other.x_max),
            y_max: self.y_max.min(other.y_max),
        }
        .area();
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn corners_and_centre_describe_the_same_rectangle() {
        let rect = Rect::from_center(5.0, 6.0, 4.0, 2.0);
        assert_eq!(rect, Rect::from_corners(3.0, 5.0, 7.0, 7.0));
        assert_eq!((rect.width(), rect.height(), rect.area()), (4.0, 2.0, 8.0));
    }

    #[test]
    fn sides_the_wrong_way_round_make_an_empty_rectangle() {
        let rect = Rect::from_corners(7.0, 5.0, 3.0, 7.0);
        assert_eq!((rect.width(), rect.height(), rect.area()), (0.0, 2.0, 0.0));
        assert_eq!(Rect::from_corners(7.0, 7.0, 3.0, 3.0).area(), 0.0);
    }

    #[test]
    fn iou_of_known_rectangles() {
        let unit = Rect::from_corners(0.0, 0.0, 1.0, 1.0);
        assert_eq!(unit.iou(&unit), 1.0);
        assert_eq!(unit.iou(&Rect::from_corners(0.5, 0.0, 1.5, 1.0)), 1.0 / 3.0);
        assert_eq!(unit.iou(&Rect::from_corners(0.0, 0.0, 0.5, 0.5)), 0.25);
    }

    #[test]
    fn rectangles_that_only_touch_do_not_overlap() {
        let unit = Rect::from_corners(0.0, 0.0, 1.0, 1.0);
        assert_eq!(unit.iou(&Rect::from_corners(1.0, 0.0, 2.0, 1.0)), 0.0);
        assert_eq!(unit.iou(&Rect::from_corners(3.0, 3.0, 4.0, 4.0)), 0.0);
    }

    #[test]
    fn iou_of_empty_rectangles_is_zero() {
        let empty = Rect::default();
        assert_eq!(empty.iou(&empty), 0.0);
        assert_eq!(empty.iou(&Rect::from_corners(0.0, 0.0, 1.0, 1.0)), 0.0);
    }

    #[test]
    fn iou_with_a_side_that_is_not_finite_is_zero() {
        let unit = Rect::from_corners(0.0, 0.0, 1.0, 1.0);
        let endless = Rect::from_corners(f32::NEG_INFINITY, 0.0, f32::INFINITY, 1.0);
        assert_eq!(unit.iou(&endless), 0.0);
        assert!(!endless.is_finite() && unit.is_finite());
        assert!(!Rect { y_max: f32::NAN, ..unit }.is_finite());
    }

    #[test]
    fn clamping_keeps_the_part_inside_the_image() {
        let image = Size::new(10, 8);
        let rect = Rect::from_corners(-2.0, 3.0, 4.0, 20.0);
        assert_eq!(rect.clamped(image), Rect::from_corners(0.0, 3.0, 4.0, 8.0));
        assert_eq!(Rect::from_corners(11.0, 9.0, 12.0, 10.0).clamped(image).area(), 0.0);
        let everything = Rect::from_corners(f32::NEG_INFINITY, f32::MIN, f32::INFINITY, f32::MAX);
        assert_eq!(everything.clamped(image), Rect::from_corners(0.0, 0.0, 10.0, 8.0));
    }

    fn rects() -> impl Strategy<Value = Rect> {
        (-100.0f32..100.0, -100.0f32..100.0, 0.0f32..100.0, 0.0f32..100.0)
            .prop_map(|(x, y, width, height)| Rect::from_corners(x, y, x + width, y + height))
    }

    proptest! {
        #[test]
        fn iou_is_symmetric_and_within_bounds(a in rects(), b in rects()) {
            let iou = a.iou(&b);
            prop_assert_eq!(iou, b.iou(&a));
            prop_assert!((0.0..=1.0001).contains(&iou));
        }

        #[test]
        fn clamping_never_enlarges_and_lies_in_the_image(
            rect in rects(),
            (width, height) in (1u32..200, 1u32..200),
        ) {
            let clamped = rect.clamped(Size::new(width, height));
            prop_assert!(clamped.area() <= rect.area());
            prop_assert!(clamped.x_min >= 0.0 && clamped.x_max <= width as f32);
            prop_assert!(clamped.y_min >= 0.0 && clamped.y_max <= height as f32);
        }
    }
}
