//! What the user asks of the element.

use crate::feed::{
    Address, AddressError, Backoff, Credentials, Growth, Limits, OnEnd, Preference, Refusal, Routes, Schemes,
    State, TlsPolicy,
};
use crate::health::redact;
use glib::prelude::*;
use std::fmt;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

pub(super) const DEFAULT_LATENCY: u64 = SECOND / 5;
pub(super) const DEFAULT_TIMEOUT: u64 = 10 * SECOND;
pub(super) const DEFAULT_BASE_DELAY: u64 = SECOND;
pub(super) const DEFAULT_MAX_DELAY: u64 = 30 * SECOND;
pub(super) const DEFAULT_JITTER: f64 = 0.2;
pub(super) const DEFAULT_RESTART_WINDOW: u64 = 300 * SECOND;
pub(super) const DEFAULT_MAX_RESTARTS: u32 = 5;
/// Wide enough for 8K, small enough that a frame fits into memory many times.
pub(super) const DEFAULT_MAX_SIDE: u32 = 8192;

/// How RTP comes from an RTSP server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvFeedTransport")]
pub enum Transport {
    /// Through the RTSP connection.
    #[default]
    #[enum_value(name = "TCP: through the RTSP connection", nick = "tcp")]
    Tcp,
    /// UDP to this host.
    #[enum_value(name = "UDP: to this host", nick = "udp")]
    Udp,
    /// UDP to a multicast group.
    #[enum_value(name = "UDP multicast: to a group that the server names", nick = "udp-mcast")]
    UdpMcast,
    /// Whatever the server offers, UDP first.
    #[enum_value(name = "Auto: whatever the server offers, UDP first", nick = "auto")]
    Auto,
}

impl Transport {
    /// As the property `protocols` of `rtspsrc` has it.
    pub(super) const fn protocols(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpMcast => "udp-mcast",
            Self::Auto => "udp+udp-mcast+tcp",
        }
    }
}

/// How the delays before attempts grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvFeedBackoff")]
pub enum ReconnectBackoff {
    /// Twice the one before.
    #[default]
    #[enum_value(name = "Exponential: twice the one before", nick = "exponential")]
    Exponential,
    /// The first delay more than the one before.
    #[enum_value(name = "Linear: reconnect-base-delay more than the one before", nick = "linear")]
    Linear,
}

/// What becomes of the stream when its source has given all it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvFeedOnEnd")]
pub enum EndPolicy {
    /// It ends.
    #[default]
    #[enum_value(name = "EOS: the stream ends", nick = "eos")]
    Eos,
    /// It begins again as another session.
    #[enum_value(name = "Restart: it begins again, as another session", nick = "restart")]
    Restart,
    /// It stays without a frame.
    #[enum_value(name = "Stop: it stays as it is, without EOS and without a frame", nick = "stop")]
    Stop,
}

/// Which decoders may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvFeedDecodePreference")]
pub enum DecodePreference {
    /// As GStreamer ranks them.
    #[default]
    #[enum_value(name = "Auto: as GStreamer ranks them", nick = "auto")]
    Auto,
    /// Software only.
    #[enum_value(name = "CPU: software only", nick = "cpu")]
    Cpu,
    /// Hardware where there is some.
    #[enum_value(
        name = "Prefer hardware: where there is some, unless it failed three times in a row",
        nick = "prefer-hardware"
    )]
    PreferHardware,
    /// Hardware only.
    #[enum_value(name = "Require hardware: or nothing", nick = "require-hardware")]
    RequireHardware,
}

impl From<DecodePreference> for Preference {
    fn from(preference: DecodePreference) -> Self {
        match preference {
            DecodePreference::Auto => Self::Auto,
            DecodePreference::Cpu => Self::Cpu,
            DecodePreference::PreferHardware => Self::PreferHardware,
            DecodePreference::RequireHardware => Self::RequireHardware,
        }
    }
}

/// What may travel unencrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvFeedTlsPolicy")]
pub enum EncryptionPolicy {
    /// TLS is tried first, and credentials never go without it.
    #[default]
    #[enum_value(name = "Prefer: TLS is tried first, credentials never go without it", nick = "prefer")]
    Prefer,
    /// Nothing.
    #[enum_value(name = "Require: everything is encrypted", nick = "require")]
    Require,
    /// What the URI says, credentials included.
    #[enum_value(name = "Allow insecure: as the URI says, credentials included", nick = "allow-insecure")]
    AllowInsecure,
}

impl From<EncryptionPolicy> for TlsPolicy {
    fn from(policy: EncryptionPolicy) -> Self {
        match policy {
            EncryptionPolicy::Prefer => Self::Prefer,
            EncryptionPolicy::Require => Self::Require,
            EncryptionPolicy::AllowInsecure => Self::AllowInsecure,
        }
    }
}

/// Where the feed stands; `docs/nvfeed.md` has the whole table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvFeedStatus")]
pub enum Status {
    /// Not started.
    #[default]
    #[enum_value(name = "Idle: not started", nick = "idle")]
    Idle,
    /// No frame yet.
    #[enum_value(name = "Connecting: there is a source, and no frame yet", nick = "connecting")]
    Connecting,
    /// Frames come.
    #[enum_value(name = "Running: frames come", nick = "running")]
    Running,
    /// Frames have stopped coming.
    #[enum_value(name = "Stalled: frames have stopped coming, the source still stands", nick = "stalled")]
    Stalled,
    /// Another attempt comes.
    #[enum_value(name = "Backing off: no source until the delay is over", nick = "backing-off")]
    BackingOff,
    /// Nothing is wanted for now.
    #[enum_value(name = "Paused: nothing is wanted for now", nick = "paused")]
    Paused,
    /// Nothing comes any more.
    #[enum_value(name = "Stopped: nothing comes any more, unless restarted", nick = "stopped")]
    Stopped,
}

impl From<State> for Status {
    fn from(state: State) -> Self {
        match state {
            State::Idle => Self::Idle,
            State::Connecting => Self::Connecting,
            State::Running => Self::Running,
            State::Stalled => Self::Stalled,
            State::BackingOff => Self::BackingOff,
            State::Paused => Self::Paused,
            State::Stopped => Self::Stopped,
        }
    }
}

/// How properties and messages name the value of an enumeration.
pub(super) fn nick(value: impl ToValue) -> String {
    let value = value.to_value();
    glib::EnumValue::from_value(&value).map_or_else(String::new, |(_, value)| value.nick().to_owned())
}

/// A text that nobody is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Times are in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// What `uri` says, or why it cannot be.
    pub(super) address: Option<Result<Address, AddressError>>,
    /// What was taken out of it.
    pub(super) uri_credentials: Option<Credentials>,
    pub(super) allowed_schemes: Option<String>,
    pub(super) feed_id: Option<String>,
    pub(super) latency: u64,
    pub(super) transport: Transport,
    pub(super) tcp_timeout: u64,
    pub(super) is_loop: bool,
    pub(super) liveness_timeout: u64,
    pub(super) stall_timeout: u64,
    pub(super) reconnect_base_delay: u64,
    pub(super) reconnect_max_delay: u64,
    pub(super) reconnect_backoff: ReconnectBackoff,
    pub(super) reconnect_jitter: f64,
    pub(super) reconnect_max_attempts: u32,
    pub(super) restart_window: u64,
    pub(super) max_restarts: u32,
    pub(super) on_end: EndPolicy,
    pub(super) decode_preference: DecodePreference,
    pub(super) tls_policy: EncryptionPolicy,
    pub(super) tls_database: Option<String>,
    pub(super) tls_validation_flags: gio::TlsCertificateFlags,
    pub(super) user_id: Option<String>,
    pub(super) user_pw: Option<Secret>,
    pub(super) custom_pipeline: Option<Secret>,
    pub(super) allow_custom_pipeline: bool,
    pub(super) max_width: u32,
    pub(super) max_height: u32,
    pub(super) max_fps: u32,
    pub(super) pause: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: None,
            uri_credentials: None,
            allowed_schemes: None,
            feed_id: None,
            latency: DEFAULT_LATENCY,
            transport: Transport::default(),
            tcp_timeout: DEFAULT_TIMEOUT,
            is_loop: false,
            liveness_timeout: DEFAULT_TIMEOUT,
            stall_timeout: DEFAULT_TIMEOUT,
            reconnect_base_delay: DEFAULT_BASE_DELAY,
            reconnect_max_delay: DEFAULT_MAX_DELAY,
            reconnect_backoff: ReconnectBackoff::default(),
            reconnect_jitter: DEFAULT_JITTER,
            reconnect_max_attempts: 0,
            restart_window: DEFAULT_RESTART_WINDOW,
            max_restarts: DEFAULT_MAX_RESTARTS,
            on_end: EndPolicy::default(),
            decode_preference: DecodePreference::default(),
            tls_policy: EncryptionPolicy::default(),
            tls_database: None,
            tls_validation_flags: gio::TlsCertificateFlags::VALIDATE_ALL,
            user_id: None,
            user_pw: None,
            custom_pipeline: None,
            allow_custom_pipeline: false,
            max_width: DEFAULT_MAX_SIDE,
            max_height: DEFAULT_MAX_SIDE,
            max_fps: 0,
            pause: false,
        }
    }
}

/// Where the frames come from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// From an address.
    Address(Routes),
    /// From elements that the user describes.
    Custom,
}

impl Settings {
    /// Takes the credentials out of `uri` before anything of it is stored.
    pub(super) fn set_uri(&mut self, uri: Option<&str>) {
        (self.address, self.uri_credentials) = match uri.map(Address::parse) {
            None => (None, None),
            Some(Ok((address, credentials))) => (Some(Ok(address)), credentials),
            Some(Err(error)) => (Some(Err(error)), None),
        };
    }

    /// What is to be connected to.
    ///
    /// # Errors
    /// What was asked for and cannot be, and what would be possible; for people, without credentials.
    pub(super) fn origin(&self) -> Result<Origin, String> {
        let custom = self.custom_pipeline.as_ref().filter(|text| !text.0.trim().is_empty());
        match (&self.address, custom) {
            (Some(_), Some(_)) => Err("expected uri or custom-pipeline, found both".to_owned()),
            (None, None) => Err("expected uri=rtsp://camera/stream or the like, found none".to_owned()),
            (None, Some(_)) if !self.allow_custom_pipeline => {
                Err("custom-pipeline makes any element it names, and needs allow-custom-pipeline=true"
                    .to_owned())
            }
            (None, Some(_)) => Ok(Origin::Custom),
            (Some(address), None) => {
                let address = address.clone().map_err(|error| format!("uri: {error}"))?;
                self.routes(address).map(Origin::Address)
            }
        }
    }

    fn routes(&self, address: Address) -> Result<Routes, String> {
        let schemes = match self.allowed_schemes.as_deref() {
            Some(list) => list.parse::<Schemes>().map_err(|error| format!("allowed-schemes: {error}"))?,
            None => Schemes::default(),
        };
        if address.is_rtsp()
            && self.tls_policy == EncryptionPolicy::Require
            && self.transport != Transport::Tcp
        {
            let found = nick(self.transport);
            return Err(format!(
                "transport: expected tcp because of tls-policy=require, found {found}: RTP over UDP is not encrypted"
            ));
        }
        let routes = Routes::new(address, self.tls_policy.into(), self.credentials().is_some(), &schemes);
        routes.map_err(|refusal: Refusal| refusal.to_string())
    }

    /// What the source may be asked to prove itself with.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        let from_uri = self.uri_credentials.as_ref();
        let user = self.user_id.as_deref().or(from_uri.map(|found| found.user.as_str()));
        let password = self.user_pw.as_ref().map(|secret| secret.0.as_str());
        let password = password.or(from_uri.map(|found| found.password.as_str()));
        if user.is_none() && password.is_none() {
            return None;
        }
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Some(Credentials { user: text(user), password: text(password) })
    }

    /// The latency as `rtspsrc` takes it, in milliseconds.
    pub(super) fn latency_ms(&self) -> u32 {
        u32::try_from(self.latency / 1_000_000).unwrap_or(u32::MAX)
    }

    pub(super) fn is_live_address(&self) -> bool {
        self.address.as_ref().and_then(|address| address.as_ref().ok()).is_some_and(Address::is_live_scheme)
    }

    pub(super) fn limits(&self, is_live: bool) -> Limits {
        let time = |nanos| Some(Duration::from_nanos(nanos)).filter(|time| !time.is_zero());
        let scheme = self.address.as_ref().and_then(|address| address.as_ref().ok()).map(Address::scheme);
        Limits {
            is_live,
            is_local: scheme == Some("file"),
            is_looped: self.is_loop && !is_live,
            on_end: match self.on_end {
                EndPolicy::Eos => OnEnd::Eos,
                EndPolicy::Restart => OnEnd::Restart,
                EndPolicy::Stop => OnEnd::Stop,
            },
            liveness: time(self.liveness_timeout),
            stall: time(self.stall_timeout),
            backoff: self.backoff(),
            max_attempts: Some(self.reconnect_max_attempts).filter(|max| *max != 0),
            max_restarts: self.max_restarts,
            restart_window: Duration::from_nanos(self.restart_window),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff {
            base: Duration::from_nanos(self.reconnect_base_delay),
            max: Duration::from_nanos(self.reconnect_max_delay),
            growth: match self.reconnect_backoff {
                ReconnectBackoff::Exponential => Growth::Exponential,
                ReconnectBackoff::Linear => Growth::Linear,
            },
            jitter: self.reconnect_jitter,
        }
    }

    /// The URI as it may be shown.
    pub(super) fn shown_uri(&self) -> Option<String> {
        let address = self.address.as_ref()?.as_ref().ok()?;
        Some(redact(address.as_str()).into_owned())
    }
}
