//! Health: what can go wrong or right again, as typed events, and when to say so.
//!
//! An [`Event`] is one thing that happened; [`Message`] is what is posted about it; a [`Coalescer`] folds a burst
//! of events into at most one message per kind, feed and second, so that the counts of the messages about a kind
//! add up to how often it happened. A [`Watch`] finds the events of one feed, a [`Ladder`] judges how an engine fares by
//! how its batches went. [`redact()`] takes the credentials out of any text on its way to a user.
//!
//! Pure: nothing here posts, waits or reads a clock. The elements carry messages to the bus and back.

mod coalesce;
mod event;
mod ladder;
mod redact;
mod value;
mod watch;

pub use coalesce::{Burst, Coalesced, Coalescer, Due};
pub use event::*;
pub use ladder::{EngineState, Ladder, LadderStats, Lost, Order, Reaction};
pub use redact::{MASK, Redacted, redact};
pub use value::{Kind, Value};
pub use watch::{Frame, IDLE_DETAIL, LARGEST_JUMP, Limits, Origin, Pushed, Snapshot, Tick, Watch};

/// Name of the structure of every health message.
pub const NAME: &str = "nv-health";

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Something was lost or late; the pipeline goes on.
    Warning,
    /// A part of the pipeline is out of service.
    Error,
}

impl Severity {
    /// The name of the severity in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What is posted: an event and what every message says besides it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What happened; of a burst, the latest.
    pub event: Event,
    /// The feed it happened to; `None` if to none in particular.
    pub feed_id: Option<String>,
    /// Name of the element that posted it.
    pub element: String,
    /// Counts the messages of that element, from 0.
    pub sequence: u64,
    /// Running time of the element when it was posted, in nanoseconds; `None` without a clock.
    pub running_time: Option<u64>,
    /// Occurrences folded into it, and of this kind at this feed since the start.
    pub burst: Burst,
}

/// A field of a message, as documentation and tests see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it says, with its unit.
    pub meaning: &'static str,
}

/// A kind of message, as documentation and tests see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// Value of the field `event`.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The elements that post it.
    pub posted_by: &'static str,
    /// When it is posted.
    pub when: &'static str,
    /// Its own fields.
    pub fields: &'static [FieldSpec],
}

/// A structure that is no health message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No event has that name.
    #[error("field event: expected the name of a health event, found {found:?}")]
    UnknownEvent {
        /// The name.
        found: String,
    },
    /// A field is not there, or is of another type.
    #[error("field {name}: expected {expected}, found {found}")]
    Field {
        /// Its name.
        name: &'static str,
        /// The type it must have.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
}
