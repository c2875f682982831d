//! The failure ladder of an engine: from one failed batch to an engine that is given up, and back.
//!
//! ```text
//!            three failed batches in a row
//!      ok ──────────────────────────────────▶ degraded
//!       ▲ ◀───────────── a batch succeeds ───────┘ │
//!       │                                          │ no answer, twice in a row
//!       └── rebuilt ── rebuilding ◀────────────────┘ (also from ok)
//!                          │
//!                          └── cannot be opened, or does not answer again ──▶ failed
//! ```
//!
//! An engine is rebuilt once: each one that does not answer leaves a thread and a session behind. Pure: whoever
//! runs the batches says how each went and when, and does what a [`Reaction`] tells. It knows one engine at a
//! time; what is told of a former one is to be kept from it.

use super::{BatchError, BatchTimeout, EngineDegraded, EngineRebuilt, EngineRecovered, Event};
use crate::time::{Monotonic, nanos};
use std::time::Duration;

/// Failed batches in a row that degrade the engine.
const DEGRADED_AFTER: u32 = 3;
/// Batches in a row without an answer after which the engine is held to be wedged.
const WEDGED_AFTER: u32 = 2;
/// How often an engine is rebuilt.
const MAX_REBUILDS: u32 = 1;

/// How an engine fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EngineState {
    /// Batches succeed, or have not failed often enough.
    #[default]
    Ok,
    /// Batches fail and are still tried.
    Degraded,
    /// It did not answer; another one is being opened. No batch is tried.
    Rebuilding,
    /// It cannot be brought back. No batch is tried.
    Failed,
}

impl EngineState {
    /// The name of the state in statistics and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Rebuilding => "rebuilding",
            Self::Failed => "failed",
        }
    }

    /// Whether batches are given to the engine.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Ok | Self::Degraded)
    }
}

/// The frames of a batch that have no result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub frames: u32,
    /// The feeds they came from, each once.
    pub feeds: Vec<String>,
}

/// What is to be done with the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Let go of it and open another; then tell [`Ladder::rebuilt`] or [`Ladder::not_rebuilt`].
    Rebuild,
    /// Let go of it and open none.
    GiveUp,
}

/// What to do and to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reaction {
    /// What to do with the engine, if anything.
    pub order: Option<Order>,
    /// What to post, in order.
    pub events: Vec<Event>,
}

/// Counters of a [`Ladder`], since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LadderStats {
    /// Batches that failed.
    pub errors: u64,
    /// Batches without an answer.
    pub timeouts: u64,
    /// Batches of either sort, and those lost with another engine, since the last that succeeded.
    pub consecutive: u32,
    /// Engines that took the place of one that did not answer.
    pub rebuilds: u32,
    /// What was wrong last, if anything was.
    pub last_error: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ladder {
    state: EngineState,
    stats: LadderStats,
    /// Batches in a row without an answer, and when the first of them was given up.
    unanswered: u32,
    silent_since: Option<Monotonic>,
    /// When to look whether the run that gave no answer still goes on.
    look_at: Option<Monotonic>,
    /// Since when the engine has been degraded or away, until a batch succeeds.
    bad_since: Option<Monotonic>,
}

impl Ladder {
    /// How the engine fares.
    #[must_use]
    pub const fn state(&self) -> EngineState {
        self.state
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &LadderStats {
        &self.stats
    }

    /// A batch gave results.
    pub fn succeeded(&mut self, now: Monotonic) -> Reaction {
        let mut reaction = Reaction::default();
        if !self.state.serves() {
            return reaction;
        }
        self.answered();
        self.stats.consecutive = 0;
        self.state = EngineState::Ok;
        if let Some(since) = self.bad_since.take() {
            reaction.events.push(EngineRecovered { degraded_for: nanos(now.since(since)) }.into());
        }
        reaction
    }

    /// A batch came back, and nothing can be said about its results: it is no success, but there is no silence.
    pub const fn answered(&mut self) {
        self.unanswered = 0;
        self.silent_since = None;
        self.look_at = None;
    }

    /// A batch failed: frames of it have no result, also after it was tried again.
    pub fn failed(&mut self, lost: Lost, detail: &str, now: Monotonic) -> Reaction {
        let mut reaction = Reaction::default();
        if !self.state.serves() {
            return reaction;
        }
        self.answered();
        self.stats.errors += 1;
        self.note(detail);
        let event = BatchError {
            batch_size: lost.frames,
            feeds: lost.feeds,
            detail: detail.to_owned(),
            consecutive: self.stats.consecutive,
        };
        reaction.events.push(event.into());
        reaction.events.extend(self.degrade(now));
        reaction
    }

    /// A batch got no answer within `limit`.
    pub fn unanswered(&mut self, lost: Lost, limit: Duration, now: Monotonic) -> Reaction {
        let mut reaction = Reaction::default();
        if !self.state.serves() {
            return reaction;
        }
        self.stats.timeouts += 1;
        self.unanswered += 1;
        self.note(&format!("no answer within {limit:?}"));
        let event = BatchTimeout { limit: nanos(limit), batch_size: lost.frames, feeds: lost.feeds };
        reaction.events.push(event.into());
        if self.unanswered >= WEDGED_AFTER {
            self.wedged(now, &mut reaction);
            return reaction;
        }
        self.silent_since = Some(now);
        self.look_at = Some(now.saturating_add(limit));
        reaction.events.extend(self.degrade(now));
        reaction
    }

    /// When to call [`Self::look`], even if no batch comes; `None` if there is no need.
    #[must_use]
    pub const fn look_at(&self) -> Option<Monotonic> {
        self.look_at
    }

    /// Looks whether a run that gave no answer still goes on: that counts as the second batch without one, which
    /// may never come while the first keeps its frames. `running_since` is when the run in progress began.
    pub fn look(&mut self, running_since: Option<Monotonic>, now: Monotonic) -> Reaction {
        let mut reaction = Reaction::default();
        if self.look_at.is_none_or(|at| now < at) {
            return reaction;
        }
        match (running_since, self.silent_since) {
            (Some(began), Some(silent)) if began <= silent => self.wedged(now, &mut reaction),
            _ => self.answered(),
        }
        reaction
    }

    /// Somebody else has let go of the engine, with a batch in it.
    pub fn gone(&mut self, now: Monotonic) -> Reaction {
        let mut reaction = Reaction::default();
        if self.state.serves() {
            self.note("the engine was given up by another element that shares it");
            self.wedged(now, &mut reaction);
        }
        reaction
    }

    /// Another engine has been opened, which took `load_time`.
    pub fn rebuilt(&mut self, load_time: Duration) -> Reaction {
        let mut reaction = Reaction::default();
        if self.state == EngineState::Rebuilding {
            self.state = EngineState::Ok;
            self.stats.consecutive = 0;
            self.stats.rebuilds += 1;
            let event = EngineRebuilt { load_time: nanos(load_time), rebuilds: self.stats.rebuilds };
            reaction.events.push(event.into());
        }
        reaction
    }

    /// No other engine could be opened.
    pub fn not_rebuilt(&mut self, detail: &str) -> Reaction {
        let mut reaction = Reaction::default();
        if self.state == EngineState::Rebuilding {
            self.stats.last_error = Some(detail.to_owned());
            self.give_up(&mut reaction);
        }
        reaction
    }

    fn note(&mut self, detail: &str) {
        self.stats.consecutive = self.stats.consecutive.saturating_add(1);
        self.stats.last_error = Some(detail.to_owned());
    }

    fn degrade(&mut self, now: Monotonic) -> Option<Event> {
        if self.state != EngineState::Ok || self.stats.consecutive < DEGRADED_AFTER {
            return None;
        }
        self.state = EngineState::Degraded;
        self.bad_since.get_or_insert(now);
        Some(self.degraded_event())
    }

    fn wedged(&mut self, now: Monotonic, reaction: &mut Reaction) {
        self.answered();
        self.bad_since.get_or_insert(now);
        if self.stats.rebuilds < MAX_REBUILDS {
            self.state = EngineState::Rebuilding;
            reaction.order = Some(Order::Rebuild);
        } else {
            self.give_up(reaction);
        }
    }

    fn give_up(&mut self, reaction: &mut Reaction) {
        self.state = EngineState::Failed;
        reaction.order = Some(Order::GiveUp);
        reaction.events.push(self.degraded_event());
    }

    fn degraded_event(&self) -> Event {
        EngineDegraded {
            state: self.state.as_str().to_owned(),
            detail: self.stats.last_error.clone().unwrap_or_default(),
            consecutive: self.stats.consecutive,
        }
        .into()
    }
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
