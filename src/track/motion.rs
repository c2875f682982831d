//! Speed, direction, and whether something stands still.

use std::time::Duration;

/// How far back a speed looks, in seconds. Boxes tremble by a few hundredths of their size.
const WINDOW: f64 = 1.0;

/// Slower than so many of its heights a second, a thing stands still. A walk is about 0.8.
const STILL: f64 = 0.1;

/// How the centre of a track moves, in pixels and seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Motion {
    center: [f64; 2],
    velocity: [f64; 2],
    /// For how long it has been followed.
    observed: f64,
}

impl Motion {
    pub(super) const fn new(center: [f64; 2]) -> Self {
        Self { center, velocity: [0.0; 2], observed: 0.0 }
    }

    /// It was seen there, so long after it had been seen before.
    pub(super) fn seen(&mut self, center: [f64; 2], since: Duration) {
        let since = since.as_secs_f64();
        if since <= 0.0 {
            // No time has gone by that would make a speed of the way.
            return;
        }
        self.observed += since;
        // A plain mean in the first second, then one that forgets.
        let weight = (since / self.observed.min(WINDOW)).min(1.0);
        for ((velocity, now), before) in self.velocity.iter_mut().zip(center).zip(self.center) {
            *velocity += weight * ((now - before) / since - *velocity);
        }
        self.center = center;
    }

    /// Pixels a second.
    pub(super) fn speed(&self) -> f64 {
        let [x, y] = self.velocity;
        x.hypot(y)
    }

    /// Degrees, 0..360, 0 to the right and 90 down; 0 without any motion.
    pub(super) fn direction(&self) -> f64 {
        let [x, y] = self.velocity;
        let degrees = y.atan2(x).to_degrees().rem_euclid(360.0);
        // The remainder of a tiny negative angle rounds to 360.
        if degrees < 360.0 { degrees } else { 0.0 }
    }

    /// Whether something of that height, in pixels, stands still.
    pub(super) fn is_stationary(&self, height: f64) -> bool {
        self.observed >= WINDOW && self.speed() < STILL * height
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(100);

    fn moved(step: [f64; 2], frames: u32) -> Motion {
        let mut motion = Motion::new([0.0; 2]);
        for frame in 1..=frames {
            motion.seen(step.map(|step| step * f64::from(frame)), FRAME);
        }
        motion
    }

    #[test]
    fn speed_and_direction_are_those_of_the_way() {
        for (step, direction) in
            [([3.0, 0.0], 0.0), ([0.0, 3.0], 90.0), ([-3.0, 0.0], 180.0), ([0.0, -3.0], 270.0)]
        {
            for frames in [1, 5, 50] {
                let motion = moved(step, frames);
                assert!((motion.speed() - 30.0).abs() < 1e-6, "{}", motion.speed());
                assert!((motion.direction() - direction).abs() < 1e-6, "{}", motion.direction());
            }
        }
    }

    #[test]
    fn what_trembles_stands_still_and_what_walks_does_not() {
        let mut motion = Motion::new([0.0; 2]);
        for frame in 0..50 {
            motion.seen([if frame % 2 == 0 { 3.0 } else { -3.0 }, 0.0], FRAME);
        }
        assert!(motion.is_stationary(100.0));
        assert!(!moved([8.0, 0.0], 50).is_stationary(100.0));
        assert!(!moved([0.0, 0.0], 5).is_stationary(100.0), "it has not been watched for long enough");
    }

    #[test]
    fn without_time_there_is_no_speed() {
        let mut motion = Motion::new([0.0; 2]);
        motion.seen([100.0, 0.0], Duration::ZERO);
        assert_eq!((motion.speed(), motion.direction()), (0.0, 0.0));
    }
}
