//! Why a source does not give frames, and what is to be done about it.

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody answers at the address.
    Unreachable,
    /// The name of the host has no address.
    Unresolvable,
    /// User or password are missing or wrong.
    Unauthorized,
    /// The host answers and has no such stream; there is no such file.
    NotFound,
    /// No first frame within the liveness timeout.
    Timeout,
    /// No further frame within the stall timeout.
    Stalled,
    /// A live source ended, or any before its first frame.
    Ended,
    /// The encrypted connection could not be made.
    Tls,
    /// The security policy forbids what the source asks for.
    Insecure,
    /// The data cannot be read or decoded.
    Decode,
    /// Nothing here can read or decode this kind of data.
    Unsupported,
    /// There is no video in the stream.
    NoVideo,
    /// The picture is larger or faster than allowed.
    TooLarge,
    /// Whoever takes the frames refuses them.
    Downstream,
    /// Anything else.
    Other,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Try again after the back-off delay.
    Reconnect,
    /// Try again after the longest delay: hammering makes it worse. Cameras lock out who guesses passwords.
    ReconnectSlowly,
    /// Try again, counted against the restarts allowed: the same data may fail again.
    Restart,
    /// Nothing helps.
    GiveUp,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Unreachable,
        Self::Unresolvable,
        Self::Unauthorized,
        Self::NotFound,
        Self::Timeout,
        Self::Stalled,
        Self::Ended,
        Self::Tls,
        Self::Insecure,
        Self::Decode,
        Self::Unsupported,
        Self::NoVideo,
        Self::TooLarge,
        Self::Downstream,
        Self::Other,
    ];

    /// As the field `reason` of messages has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unresolvable => "unresolvable",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not-found",
            Self::Timeout => "timeout",
            Self::Stalled => "stalled",
            Self::Ended => "ended",
            Self::Tls => "tls",
            Self::Insecure => "insecure",
            Self::Decode => "decode",
            Self::Unsupported => "unsupported",
            Self::NoVideo => "no-video",
            Self::TooLarge => "too-large",
            Self::Downstream => "downstream",
            Self::Other => "failed",
        }
    }

    /// Whether it shows that the source has answered: the way to it is not what is wrong.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        matches!(
            self,
            Self::Unauthorized
                | Self::NotFound
                | Self::Insecure
                | Self::Decode
                | Self::Unsupported
                | Self::NoVideo
                | Self::TooLarge
                | Self::Downstream
        )
    }

    /// What to do about it, for a source that may come back.
    #[must_use]
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Unreachable
            | Self::Unresolvable
            | Self::NotFound
            | Self::Timeout
            | Self::Stalled
            | Self::Ended
            | Self::Other => Remedy::Reconnect,
            Self::Unauthorized | Self::Tls | Self::Insecure => Remedy::ReconnectSlowly,
            Self::Decode => Remedy::Restart,
            Self::Unsupported | Self::NoVideo | Self::TooLarge | Self::Downstream => Remedy::GiveUp,
        }
    }
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind it is.
    pub kind: Kind,
    /// What happened, for people; without credentials.
    pub detail: String,
}

impl Failure {
    /// The failure of a source that has taken too long.
    #[must_use]
    pub fn no_first_frame() -> Self {
        Self::new(Kind::Timeout, "no frame came within liveness-timeout")
    }

    /// A failure of that kind.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}
