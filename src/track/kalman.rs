//! Where a box will be: a Kalman filter of constant velocity over its centre, aspect ratio and height.
//!
//! All noise is independent, so the filter of eight numbers falls apart into four of two, without any matrix. The
//! constants are those of ByteTrack (`KalmanFilter` there, taken over from DeepSORT): standard deviations of a
//! twentieth of the height for a position and of a 160th for a velocity in a frame.

use crate::vision::Rect;

const POSITION: f64 = 1.0 / 20.0;
const VELOCITY: f64 = 1.0 / 160.0;
const ASPECT: f64 = 1e-2;
const ASPECT_VELOCITY: f64 = 1e-5;
const ASPECT_MEASURED: f64 = 1e-1;
/// How much less is known of a new box than of one that is followed.
const NEW_POSITION: f64 = 2.0;
const NEW_VELOCITY: f64 = 10.0;

/// Least height, in pixels: noise is in heights, and none would make the filter divide by zero.
const LEAST_HEIGHT: f64 = 1e-2;
const LEAST_ASPECT: f64 = 1e-4;
const MOST_ASPECT: f64 = 1e4;

/// One number, how it changes in a frame, and how uncertain both are.
#[derive(Clone, Copy, Debug)]
struct Axis {
    value: f64,
    rate: f64,
    value_variance: f64,
    covariance: f64,
    rate_variance: f64,
}

impl Axis {
    fn new(value: f64, value_deviation: f64, rate_deviation: f64) -> Self {
        Self {
            value,
            rate: 0.0,
            value_variance: value_deviation * value_deviation,
            covariance: 0.0,
            rate_variance: rate_deviation * rate_deviation,
        }
    }

    fn predict(&mut self, value_deviation: f64, rate_deviation: f64) {
        self.value += self.rate;
        self.value_variance += 2.0 * self.covariance + self.rate_variance + value_deviation * value_deviation;
        self.covariance += self.rate_variance;
        self.rate_variance += rate_deviation * rate_deviation;
    }

    fn correct(&mut self, measured: f64, deviation: f64) {
        let total = self.value_variance + deviation * deviation;
        let (value_gain, rate_gain) = (self.value_variance / total, self.covariance / total);
        let off = measured - self.value;
        self.value += value_gain * off;
        self.rate += rate_gain * off;
        self.rate_variance -= rate_gain * self.covariance;
        self.covariance *= 1.0 - value_gain;
        self.value_variance *= 1.0 - value_gain;
    }
}

/// Follows one box.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoxFilter {
    x: Axis,
    y: Axis,
    aspect: Axis,
    height: Axis,
}

impl BoxFilter {
    /// A filter that begins with `box_in_frame`, which is finite and not empty.
    pub(super) fn new(box_in_frame: &Rect) -> Self {
        let [x, y, aspect, height] = measured(box_in_frame);
        let position = NEW_POSITION * POSITION * height;
        let velocity = NEW_VELOCITY * VELOCITY * height;
        Self {
            x: Axis::new(x, position, velocity),
            y: Axis::new(y, position, velocity),
            aspect: Axis::new(aspect, ASPECT, ASPECT_VELOCITY),
            height: Axis::new(height, position, velocity),
        }
    }

    /// A frame later. What is not `seen` keeps its height: an error in its rate would only grow.
    pub(super) fn predict(&mut self, seen: Sight) {
        if seen == Sight::Unseen {
            self.height.rate = 0.0;
        }
        let (position, velocity) = (POSITION * self.height.value, VELOCITY * self.height.value);
        self.x.predict(position, velocity);
        self.y.predict(position, velocity);
        self.aspect.predict(ASPECT, ASPECT_VELOCITY);
        self.height.predict(position, velocity);
        self.keep_in_bounds();
    }

    /// The box was seen there, finite and not empty.
    pub(super) fn correct(&mut self, box_in_frame: &Rect) {
        let [x, y, aspect, height] = measured(box_in_frame);
        let position = POSITION * self.height.value;
        self.x.correct(x, position);
        self.y.correct(y, position);
        self.aspect.correct(aspect, ASPECT_MEASURED);
        self.height.correct(height, position);
        self.keep_in_bounds();
    }

    /// Where the box should be, in pixels of the frame.
    #[expect(clippy::cast_possible_truncation, reason = "pixels of a frame; a cast of a float saturates")]
    pub(super) fn box_in_frame(&self) -> Rect {
        let (height, width) = (self.height.value, self.aspect.value * self.height.value);
        Rect::from_center(self.x.value as f32, self.y.value as f32, width as f32, height as f32)
    }

    fn keep_in_bounds(&mut self) {
        if self.height.value < LEAST_HEIGHT {
            (self.height.value, self.height.rate) = (LEAST_HEIGHT, 0.0);
        }
        if !(LEAST_ASPECT..=MOST_ASPECT).contains(&self.aspect.value) {
            self.aspect.value = self.aspect.value.clamp(LEAST_ASPECT, MOST_ASPECT);
            self.aspect.rate = 0.0;
        }
    }
}

/// Whether the last frame showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Seen,
    Unseen,
}

/// Centre, aspect ratio and height of a box.
fn measured(rect: &Rect) -> [f64; 4] {
    let [x_min, y_min, x_max, y_max] = [rect.x_min, rect.y_min, rect.x_max, rect.y_max].map(f64::from);
    let height = (y_max - y_min).max(LEAST_HEIGHT);
    let aspect = ((x_max - x_min) / height).clamp(LEAST_ASPECT, MOST_ASPECT);
    [f64::midpoint(x_min, x_max), f64::midpoint(y_min, y_max), aspect, height]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32) -> Rect {
        Rect::from_center(x, 50.0, 40.0, 80.0)
    }

    #[test]
    fn a_box_that_moves_steadily_is_expected_where_it_will_be() {
        let mut filter = BoxFilter::new(&at(0.0));
        for step in 1..60 {
            filter.predict(Sight::Seen);
            filter.correct(&at(step as f32 * 5.0));
        }
        for step in 60..70 {
            filter.predict(Sight::Unseen);
            let (found, expected) = (filter.box_in_frame(), at(step as f32 * 5.0));
            assert!(found.iou(&expected) > 0.9, "{found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn a_box_that_was_seen_once_stays_where_it_is() {
        let mut filter = BoxFilter::new(&at(7.0));
        (0..100).for_each(|_| filter.predict(Sight::Unseen));
        assert!(filter.box_in_frame().iou(&at(7.0)) > 0.999);
    }

    #[test]
    fn a_box_that_shrinks_to_nothing_keeps_a_size() {
        let mut filter = BoxFilter::new(&at(0.0));
        for height in [60.0, 40.0, 20.0, 1.0, 0.02] {
            filter.predict(Sight::Seen);
            filter.correct(&Rect::from_center(0.0, 0.0, 10.0, height));
        }
        for _ in 0..1000 {
            filter.predict(Sight::Seen);
            let found = filter.box_in_frame();
            assert!(found.is_finite() && found.area() > 0.0, "{found:?}");
        }
    }

    /// The same filter as matrices, without the shortcut: state of two, H = [1 0].
    #[test]
    fn a_step_gives_what_the_textbook_gives() {
        let mut axis = Axis::new(10.0, 2.0, 1.0);
        axis.predict(0.5, 0.1);
        // P = F P F' + Q, F = [1 1; 0 1], P = diag(4, 1), Q = diag(0.25, 0.01).
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        close(axis.value_variance, 5.25);
        close(axis.covariance, 1.0);
        close(axis.rate_variance, 1.01);
        axis.correct(13.0, 1.0);
        // S = 6.25, K = [0.84, 0.16].
        close(axis.value, 12.52);
        close(axis.rate, 0.48);
        close(axis.value_variance, 0.84);
        close(axis.covariance, 0.16);
        close(axis.rate_variance, 0.85);
    }
}
