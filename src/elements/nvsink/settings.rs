//! What the user can set.

use super::imp::NvSink;
use crate::elements::shown;
use crate::output;
use std::time::Duration;

/// Default of `queue-capacity`, in records.
pub(super) const DEFAULT_QUEUE_CAPACITY: u32 = 16;
/// Default of `shutdown-timeout`.
pub(super) const DEFAULT_SHUTDOWN_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// What a full queue does with the next record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvSinkOverflow")]
pub enum Overflow {
    /// The new record goes.
    #[default]
    #[enum_value(name = "Drop newest: the queue keeps what it has", nick = "drop-newest")]
    DropNewest,
    /// The oldest record goes.
    #[enum_value(name = "Drop oldest: the queue keeps the latest records", nick = "drop-oldest")]
    DropOldest,
    /// Nothing goes: the pipeline waits.
    #[enum_value(name = "Block: hold up the pipeline until there is room", nick = "block")]
    Block,
}

impl From<Overflow> for output::Overflow {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::DropNewest => Self::DropNewest,
            Overflow::DropOldest => Self::DropOldest,
            Overflow::Block => Self::Block,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) location: Option<String>,
    pub(super) queue_capacity: u32,
    pub(super) overflow: Overflow,
    pub(super) shutdown_timeout: u64,
}

impl NvSink {
    /// The property `location`, as it may be shown.
    pub(super) fn shown_location(&self) -> Option<String> {
        shown(self.settings().location.as_deref())
    }
}

impl Settings {
    pub(super) const fn shutdown_timeout(&self) -> Duration {
        Duration::from_nanos(self.shutdown_timeout)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            location: None,
            queue_capacity: DEFAULT_QUEUE_CAPACITY,
            overflow: Overflow::default(),
            shutdown_timeout: DEFAULT_SHUTDOWN_TIMEOUT.nseconds(),
        }
    }
}
