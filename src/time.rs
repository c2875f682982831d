//! Points on the one monotonic clock of the process, as plain values.
//!
//! Pure code never reads a clock: its caller passes `now`. Only differences of two points mean
//! anything; the origin is chosen by whoever reads the clock (the elements and `infer` use one origin
//! for the whole process, so their provenance times can be compared).

use std::time::Duration;

/// A duration in nanoseconds, as messages, properties and structures hold it; the longest there is instead of none.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A point in time: nanoseconds since the origin of the process's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// The point `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This point moved later by `duration`, stopping at the end of time instead of wrapping.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How long after `earlier` this point is; zero if it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
