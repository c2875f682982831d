//! The one place that reads the clocks of the machine.

use crate::time::Monotonic;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, on the monotonic clock every provenance time of the process is on.
///
/// The origin is the first call in the process.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the monotonic clock")]
pub fn now() -> Monotonic {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(Instant::now);
    Monotonic::ZERO.saturating_add(origin.elapsed())
}

/// How long until `deadline`; zero if it has passed.
pub fn until(deadline: Monotonic) -> Duration {
    deadline.since(now())
}

/// Wall clock: microseconds since the Unix epoch, zero if the clock stands before it.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
pub fn wall_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}
