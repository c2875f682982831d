//! A part of a frame, without a copy of its pixels.

use super::frame::{FrameView, Plane, Sampling};
use crate::vision::{Rect, Size};

impl Sampling {
    /// Columns and rows that share a sample.
    const fn shared(self) -> [u32; 2] {
        match self {
            Self::Full => [1, 1],
            Self::HalfWidth => [2, 1],
            Self::HalfBoth => [2, 2],
        }
    }
}

impl FrameView<'_> {
    /// The part of the frame that `part`, in pixels of the frame, touches; and the column and the row it begins at.
    ///
    /// It begins up to a pixel further to the left or above where colour samples lie on every second pixel only. `None`
    /// if nothing of the frame is in `part`, or a side of it is not finite.
    #[must_use]
    pub fn crop(&self, part: &Rect) -> Option<(Self, [u32; 2])> {
        let whole = self.size();
        if !part.is_finite() {
            return None;
        }
        let part = part.clamped(whole);
        let shared = self.format().groups().iter().fold([1, 1], |[x, y], group| {
            let [columns, rows] = group.sampling.shared();
            [x.max(columns), y.max(rows)]
        });
        let (left, right) = span(part.x_min, part.x_max, whole.width, shared[0])?;
        let (top, bottom) = span(part.y_min, part.y_max, whole.height, shared[1])?;
        let mut planes = [Plane::default(); 3];
        for (index, plane) in planes.iter_mut().enumerate().take(self.format().plane_count()) {
            let group = self.format().groups().iter().find(|group| group.plane == index)?;
            let [columns, rows] = group.sampling.shared();
            let bytes = (left / columns) as usize * group.step;
            plane.data = self.row(index, (top / rows) as usize).get(bytes..)?;
            plane.stride = self.stride(index);
        }
        let planes = planes.get(..self.format().plane_count())?;
        let size = Size::new(right - left, bottom - top);
        let view = FrameView::new(self.format(), size, planes, self.colorimetry()).ok()?;
        Some((view, [left, top]))
    }
}

/// The whole pixels from `low` to `high`, beginning at a multiple of `shared`; `None` if there are none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "both were clamped into the frame, and a float cast saturates"
)]
fn span(low: f32, high: f32, limit: u32, shared: u32) -> Option<(u32, u32)> {
    let first = (low.floor() as u32).min(limit);
    let end = (high.ceil() as u32).min(limit);
    let first = first - first % shared;
    (end > first && high > low).then_some((first, end))
}
