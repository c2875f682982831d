//! Waiting for what nobody tells of. The tests and the trials of `examples/cameras.rs` use it.

use super::PATIENCE;
use gstnextvision::clock;
use std::time::Duration;

/// Looks until what it sees holds: for what another thread is about to do and tells nobody of, such as its own end.
pub(crate) fn eventually<T: std::fmt::Debug>(
    what: &str,
    mut look: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) {
    let deadline = clock::now().saturating_add(PATIENCE.into());
    loop {
        let seen = look();
        if holds(&seen) {
            return;
        }
        assert!(clock::now() < deadline, "not within {PATIENCE}: {what}; last seen {seen:?}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
