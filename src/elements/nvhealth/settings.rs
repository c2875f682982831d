//! What the user asks of the element.

use crate::health::Limits;
use std::time::Duration;

/// What happens to an idle feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvHealthIdleAction")]
pub enum IdleAction {
    /// A message says so.
    #[default]
    #[enum_value(name = "Message: a message says so", nick = "message")]
    Message,
    /// The feed is ended, too.
    #[enum_value(
        name = "EOS: the feed is ended, too; its frames are refused until a new stream or a flush",
        nick = "eos"
    )]
    Eos,
}

pub(super) const DEFAULT_STALL_TIMEOUT: u64 = 2_000_000_000;
pub(super) const DEFAULT_LAG_THRESHOLD: u64 = 2_000_000_000;

/// Times are in nanoseconds; 0 is off.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) stall_timeout: u64,
    pub(super) idle_timeout: u64,
    pub(super) idle_action: IdleAction,
    pub(super) lag_threshold: u64,
    pub(super) fps_min: f64,
    pub(super) report_interval: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stall_timeout: DEFAULT_STALL_TIMEOUT,
            idle_timeout: 0,
            idle_action: IdleAction::default(),
            lag_threshold: DEFAULT_LAG_THRESHOLD,
            fps_min: 0.0,
            report_interval: 0,
        }
    }
}

impl Settings {
    pub(super) fn limits(&self) -> Limits {
        let time = |nanos| Some(Duration::from_nanos(nanos));
        Limits {
            stall_timeout: time(self.stall_timeout),
            idle_timeout: time(self.idle_timeout),
            reap_idle: self.idle_action == IdleAction::Eos,
            lag_threshold: time(self.lag_threshold),
            fps_min: Some(self.fps_min),
            report_interval: time(self.report_interval),
        }
    }
}
