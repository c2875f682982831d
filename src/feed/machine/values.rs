//! What the machine is told and what it answers, as values, and the limits that it keeps.

use crate::feed::backoff::Backoff;
use crate::feed::failure::{Failure, Kind, Remedy};
use crate::health::Event;
use crate::time::Monotonic;
use std::time::Duration;

/// Where a source stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not started.
    #[default]
    Idle,
    /// There is a source, and no frame yet.
    Connecting,
    /// Frames come.
    Running,
    /// Frames have stopped coming; the source still stands and is replaced when the back-off delay is over.
    Stalled,
    /// There is no source until the back-off delay is over.
    BackingOff,
    /// Nothing is wanted for now.
    Paused,
    /// Nothing comes any more, unless somebody restarts it.
    Stopped,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Connecting,
        Self::Running,
        Self::Stalled,
        Self::BackingOff,
        Self::Paused,
        Self::Stopped,
    ];
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The user wants no more, or nobody is there any more to take any.
    Stop,
    /// The user wants a new source, now.
    Restart,
    /// Nothing is wanted for now.
    Pause,
    /// Frames are wanted.
    Resume,
    /// The first frame of a source, or the first after it had stalled.
    Frame,
    /// The source ended after at least one frame since it began or was rewound.
    Ended,
    /// The source cannot go back to its beginning.
    CannotRewind,
    /// Whoever takes the frames wants no more.
    Unwanted,
    /// The source failed.
    Failed(Failure),
    /// Time has passed.
    Tick(Seen),
}

/// What can be seen of a source at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When the last frame came.
    pub last_frame: Option<Monotonic>,
    /// Whether a frame waits downstream, so that no other can come.
    pub is_blocked: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make a new source. Frames of it may pass, also after [`Hold`](Self::Hold), unless another follows.
    Connect(Begin),
    /// Let go of the source.
    Disconnect,
    /// Have the source begin again from its start.
    Rewind,
    /// Let no frame pass, and lose none.
    Hold,
    /// Let frames pass.
    Release,
    /// Tell everybody.
    Tell(Box<Event>),
    /// Tell everybody that it is over, and why.
    Stopped(StopReason, String),
    /// End the stream.
    SendEos,
}

/// How the frames of a new source stand to those of the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// As another session, after a gap.
    Session,
    /// As the same session, without a gap: the same file from its start.
    Loop,
}

/// Why nothing comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The user wanted that.
    UserRequested,
    /// The source has given all it had.
    EndOfStream,
    /// It was tried as often as is allowed.
    RestartLimit,
    /// Trying again is of no use.
    Fatal,
}

impl StopReason {
    /// As the field `reason` of `feed-stopped` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserRequested => "user-requested",
            Self::EndOfStream => "end-of-stream",
            Self::RestartLimit => "restart-limit",
            Self::Fatal => "fatal",
        }
    }
}

/// What becomes of a source that has given all it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEnd {
    /// The stream ends.
    #[default]
    Eos,
    /// It begins again as another session.
    Restart,
    /// The stream stays as it is, without a frame.
    Stop,
}

/// What is asked of a source, and how often it is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Whether the source gives what happens now: its end is a failure, and a pause lets go of it.
    pub is_live: bool,
    /// Whether the source is a file: what it cannot give at once it will not give later either.
    pub is_local: bool,
    /// Whether the source begins again at its end, without a gap.
    pub is_looped: bool,
    /// What its end means otherwise.
    pub on_end: OnEnd,
    /// How long its first frame may take; `None` is for ever.
    pub liveness: Option<Duration>,
    /// How long any further frame may take; `None` is for ever.
    pub stall: Option<Duration>,
    /// Delays before attempts.
    pub backoff: Backoff,
    /// Attempts without a stable session between them; `None` is any number.
    pub max_attempts: Option<u32>,
    /// Restarts within the window.
    pub max_restarts: u32,
    /// How far back restarts count.
    pub restart_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let patience = Some(Duration::from_secs(10));
        Self {
            is_live: true,
            is_local: false,
            is_looped: false,
            on_end: OnEnd::default(),
            liveness: patience,
            stall: patience,
            backoff: Backoff::default(),
            max_attempts: None,
            max_restarts: 5,
            restart_window: Duration::from_secs(300),
        }
    }
}

impl Limits {
    /// Whether the source gives anything a second time.
    fn is_replayable(&self) -> bool {
        self.is_live || self.is_looped || self.on_end == OnEnd::Restart
    }

    pub(super) fn remedy(&self, kind: Kind, has_connected: bool) -> Remedy {
        let may_pass = matches!(kind, Kind::Timeout | Kind::Stalled);
        if self.is_local && !may_pass && !(has_connected && self.is_replayable()) {
            return Remedy::GiveUp;
        }
        kind.remedy()
    }
}

/// What there is to be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sources made.
    pub attempts: u64,
    /// Sources that gave a frame.
    pub connections: u64,
    /// Times that frames were lost, or could not be had in the first place.
    pub outages: u64,
    /// Restarts, by the user or for broken data.
    pub restarts: u64,
    /// Times a source began again from its start.
    pub loops: u64,
}
