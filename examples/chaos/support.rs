//! What the cameras and consumers of the fault tests need of the tests' support.

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/support/frames.rs"]
pub(crate) mod frames;

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);
