//! Why a request is refused.

/// Why a request is refused. The text begins with the kind, which programs may compare.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// As many feeds as there may be are alive.
    #[error("feed-limit-exceeded: expected fewer than {max} living feeds, found {max}")]
    FeedLimitExceeded {
        /// The property `max-feeds`.
        max: u32,
    },
    /// No feed has that number, or none has it any more.
    #[error("unknown-feed: expected the number of a feed, found {id}")]
    UnknownFeed {
        /// What was given.
        id: u32,
    },
    /// A living feed has that name.
    #[error("duplicate-feed: expected a name that no feed has, found {name:?}")]
    DuplicateFeed {
        /// The name.
        name: String,
    },
    /// It is paused.
    #[error("already-paused: expected a feed that is not paused, found feed {id}, which is")]
    AlreadyPaused {
        /// Its number.
        id: u32,
    },
    /// It is not paused.
    #[error("not-paused: expected a feed that is paused, found feed {id}, which is not")]
    NotPaused {
        /// Its number.
        id: u32,
    },
    /// It has ended or failed: only a restart brings it back.
    #[error("not-alive: expected a living feed, found feed {id}, which has ended or failed")]
    NotAlive {
        /// Its number.
        id: u32,
    },
    /// Nothing is begun any more.
    #[error("shutting-down: no request is taken any more")]
    ShuttingDown,
    /// The element is in NULL.
    #[error("not-running: expected an element in READY or above, found one in NULL")]
    NotRunning,
    /// The configuration, or the description of a feed, is wrong. Nothing has changed.
    #[error("invalid-configuration: {text}")]
    InvalidConfiguration {
        /// What is wrong, a line for each problem, with file, line and key.
        text: String,
    },
    /// Something of it could not be made or started. Nothing has changed.
    #[error("failed: {text}")]
    Failed {
        /// What went wrong.
        text: String,
    },
    /// It has not been done in time, and goes on.
    #[error("timed-out: not done within {seconds} s; it goes on")]
    TimedOut {
        /// The time it had.
        seconds: u64,
    },
    /// It was asked for by a handler of one of the element's own signals, on the thread that would do it.
    #[error("re-entered: called from a handler of feed-added or feed-removed; call it from another thread")]
    ReEntered,
}

impl Refusal {
    pub(super) fn failed(text: impl std::fmt::Display) -> Self {
        Self::Failed { text: text.to_string() }
    }
}
