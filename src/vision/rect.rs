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
