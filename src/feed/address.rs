//! What a URI says: its scheme, its host and port, how safe the way to it is, and the credentials taken out of it.
//!
//! An [`Address`] is the user's own text but for three things: blanks around it are gone, its scheme is in lower
//! case, and user and password are taken out. Path and query stay byte for byte, since cameras compare them so;
//! that is why no URL library builds the text.
//!
//! Text that can be read in two ways is refused, never guessed: in `rtsp://admin:12/34@cam` a part of the password
//! would be left as a path. An error shows no text that may be a credential.
//!
//! Not guaranteed: that the address leads anywhere, that an element exists for its scheme, or that a query holds no
//! secret; [`Display`](fmt::Display) and `Debug` hide those that [`redact`] knows.

use crate::health::{MASK, redact};
use std::fmt;
use std::ops::Range;
use thiserror::Error;

mod schemes;

pub use schemes::{Schemes, SchemesError};

/// Longest URI, and longest list of schemes, in bytes.
pub const LONGEST_ADDRESS: usize = 8 * 1024;

/// Longest piece of refused text shown in an error, in characters.
const LONGEST_SHOWN: usize = 64;

/// The `rtsp` schemes and those that do the same over TLS, if there is one.
const RTSP_SCHEMES: &[(&str, Option<&str>)] = &[
    ("rtsp", Some("rtsps")),
    ("rtspt", Some("rtspst")),
    ("rtspu", Some("rtspsu")),
    ("rtsph", Some("rtspsh")),
    ("rtsp-sdp", None),
];

/// Schemes that go over TLS, besides those of [`RTSP_SCHEMES`].
const TLS_SCHEMES: &[&str] = &["https", "rtmps", "rtmpts"];

/// Schemes whose source is on this machine.
const LOCAL_SCHEMES: &[&str] = &[
    "appsrc",
    "cdda",
    "data",
    "dv",
    "dvb",
    "dvd",
    "fd",
    "file",
    "hdv",
    "imagesequence",
    "multifile",
    "pushfile",
    "radio",
    "resource",
    "splitfile",
    "splitmux",
    "testbin",
    "v4l2",
];

/// Schemes of sources that go on by themselves, besides `rtsp` and `rtmp`.
const LIVE_SCHEMES: &[&str] =
    &["dv", "dvb", "hdv", "icy", "icyx", "radio", "rfb", "rist", "rtp", "sdp", "srt", "udp", "v4l2"];

/// A user and a password, as they are (not percent-encoded). `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user; may be empty.
    pub user: String,
    /// The password; may be empty.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({MASK})")
    }
}

/// Who can read what is sent between a source and this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// Nothing goes over a network.
    Local,
    /// Everybody on the way. Unknown schemes are taken for this.
    Clear,
    /// Only the two ends: it goes over TLS.
    Encrypted,
}

/// Why a text is no [`Address`]. Holds no credential.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Nothing but blanks.
    #[error("expected a URI such as rtsp://camera/stream or file:///videos/a.mp4, found an empty text")]
    Empty,
    /// Longer than [`LONGEST_ADDRESS`].
    #[error("expected a URI of at most {LONGEST_ADDRESS} bytes, found {found} bytes")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// A tab, a new line, a NUL or the like inside.
    #[error("expected a URI without control characters, found U+{code:04X} at byte {at}: percent-encode it")]
    Control {
        /// The character.
        code: u32,
        /// Where it is, in bytes, without the blanks in front of the URI.
        at: usize,
    },
    /// No `scheme://` in front.
    #[error("expected a URI such as rtsp://camera/stream or file:///videos/a.mp4, found {found:?}")]
    NoScheme {
        /// What there is, without secrets and cut to length.
        found: String,
    },
    /// An `@` behind the host, where a password may have been cut in two.
    #[error(
        "expected {scheme}://user:password@host/path, found an @ behind the first / ? or # of a {scheme}:// URI: \
         percent-encode these (%2F %3F %23) in a password, or give it with user-id and user-pw; \
         write an @ of the path as %40"
    )]
    Ambiguous {
        /// Scheme of the URI.
        scheme: String,
    },
    /// User or password cannot be decoded or sent.
    #[error(
        "expected user and password of a {scheme}:// URI in UTF-8, percent-encoded and without line breaks, found \
         {found}: percent-encode them (% is %25), or give them with user-id and user-pw"
    )]
    Credentials {
        /// Scheme of the URI.
        scheme: String,
        /// What is wrong with them.
        found: &'static str,
    },
    /// No host where one is needed.
    #[error("expected a host after {scheme}://, found none")]
    NoHost {
        /// Scheme of the URI.
        scheme: String,
    },
    /// What stands for the host cannot be one.
    #[error(
        "expected a host name or an address such as 192.0.2.1 or [2001:db8::1] after {scheme}://, found something \
         else"
    )]
    BadHost {
        /// Scheme of the URI.
        scheme: String,
    },
    /// What stands for the port is none. It is not shown: it may be a password.
    #[error(
        "expected a port from 1 to 65535 after the host and the colon of a {scheme}:// URI, found something else: \
         percent-encode / ? and # in a password, put brackets around an IPv6 address"
    )]
    BadPort {
        /// Scheme of the URI.
        scheme: String,
    },
    /// A blank in the path or query of a request.
    #[error("expected no blank behind the host of a {scheme}:// URI, found one: write it as %20")]
    Blank {
        /// Scheme of the URI.
        scheme: String,
    },
    /// A local address with something in front of its path that only a network has.
    #[error(
        "expected {scheme}:// of this machine, found a host or credentials: write a path as {scheme}:///path"
    )]
    NotLocal {
        /// Scheme of the URI.
        scheme: String,
    },
    /// `file://` and no more.
    #[error("expected a path as in {scheme}:///videos/a.mp4, found none")]
    NoPath {
        /// Scheme of the URI.
        scheme: String,
    },
}

/// A URI without credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    text: String,
    /// Bytes of the scheme, without the colon.
    scheme: usize,
    /// Where the host is behind the scheme, without brackets.
    host: Option<Range<usize>>,
    port: Option<u16>,
}

impl Address {
    /// Reads `text` and takes the credentials out of it; they are percent-decoded.
    ///
    /// Blanks and control characters around it do not count. A user without a password has an empty one; where
    /// both are empty there are no credentials.
    ///
    /// # Errors
    ///
    /// If it is no URI, is longer than [`LONGEST_ADDRESS`], or can be read in two ways.
    pub fn parse(text: &str) -> Result<(Self, Option<Credentials>), AddressError> {
        let (scheme, rest) = split_scheme(text)?;
        if is_local(&scheme) {
            return Ok((Self::local(scheme, rest)?, None));
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if is_ambiguous(rest, authority, tail) {
            return Err(AddressError::Ambiguous { scheme });
        }
        if tail.starts_with('#') {
            // Of `rtsps://cam#.example/x`, `rtspsrc` takes `cam#.example` for the host.
            return Err(AddressError::BadHost { scheme });
        }
        if tail.contains(' ') {
            return Err(AddressError::Blank { scheme });
        }
        let (userinfo, endpoint) = match authority.rsplit_once('@') {
            Some((userinfo, endpoint)) => (Some(userinfo), endpoint),
            None => (None, authority),
        };
        let (host, port) = split_endpoint(&scheme, endpoint)?;
        let credentials = userinfo.map(|userinfo| decode_userinfo(&scheme, userinfo)).transpose()?.flatten();
        let text = format!("{scheme}://{endpoint}{tail}");
        Ok((Self { text, scheme: scheme.len(), host, port }, credentials))
    }

    /// An address on this machine. It has no credentials, and blanks in it do no harm.
    fn local(scheme: String, rest: &str) -> Result<Self, AddressError> {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if scheme == "file" {
            // Everything else is refused by `filesrc`, too.
            if !authority.is_empty() && !authority.eq_ignore_ascii_case("localhost") {
                return Err(AddressError::NotLocal { scheme });
            }
            if path.len() < 2 {
                return Err(AddressError::NoPath { scheme });
            }
        } else if !authority.is_empty() && rest.contains('@') {
            // A path may have it; a name in front may be a user.
            return Err(AddressError::NotLocal { scheme });
        }
        Ok(Self { text: format!("{scheme}://{rest}"), scheme: scheme.len(), host: None, port: None })
    }

    /// The URI to connect to. Without credentials, but a query may have secrets: show the address with `Display`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.text.get(..self.scheme).unwrap_or_default()
    }

    /// The host as it was written, an IPv6 address without its brackets; `None` without one, and of local addresses.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.text.get(self.scheme..)?.get(self.host.clone()?)
    }

    /// The port, if one was written.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether `rtspsrc` plays it, with TLS or without.
    #[must_use]
    pub fn is_rtsp(&self) -> bool {
        is_rtsp(self.scheme())
    }

    /// Who can read what is sent.
    #[must_use]
    pub fn security(&self) -> Security {
        let scheme = self.scheme();
        let is_tls =
            TLS_SCHEMES.contains(&scheme) || RTSP_SCHEMES.iter().any(|(_, tls)| *tls == Some(scheme));
        if is_tls {
            Security::Encrypted
        } else if is_local(scheme) {
            Security::Local
        } else {
            Security::Clear
        }
    }

    /// The same over TLS, for RTSP in clear that can have it.
    ///
    /// An explicit port stays. Without one `rtspsrc` takes 554, with TLS as without, and never 322.
    #[must_use]
    pub fn with_tls(&self) -> Option<Self> {
        let tls = RTSP_SCHEMES.iter().find(|(clear, _)| *clear == self.scheme())?.1?;
        let text = format!("{tls}{}", self.text.get(self.scheme..)?);
        Some(Self { text, scheme: tls.len(), host: self.host.clone(), port: self.port })
    }

    /// Whether the source goes on by itself, so that its end is a fault; not so for files and unknown schemes.
    #[must_use]
    pub fn is_live_scheme(&self) -> bool {
        let scheme = self.scheme();
        is_rtsp(scheme) || is_rtmp(scheme) || LIVE_SCHEMES.contains(&scheme)
    }

    /// Whether host and port are those of `other`, or the host is and both have the usual port of their scheme.
    pub(super) fn is_same_endpoint(&self, other: &Self) -> bool {
        let is_same_host = match (self.host(), other.host()) {
            (Some(host), Some(other)) => host.eq_ignore_ascii_case(other),
            _ => false,
        };
        let port = |address: &Self| address.port().or_else(|| usual_port(address.scheme()));
        let are_usual = |address: &Self| port(address) == usual_port(address.scheme());
        is_same_host && (port(self) == port(other) || (are_usual(self) && are_usual(other)))
    }
}

/// The address without the secrets of its query.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.text))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

fn is_local(scheme: &str) -> bool {
    LOCAL_SCHEMES.contains(&scheme)
}

fn is_rtsp(scheme: &str) -> bool {
    RTSP_SCHEMES.iter().any(|(clear, tls)| *clear == scheme || *tls == Some(scheme))
}

fn is_rtmp(scheme: &str) -> bool {
    scheme.starts_with("rtmp") || scheme == "rtmfp"
}

/// The port that GStreamer takes without one in the URI, if it is known: for RTSP over TLS it is not 322.
fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" | "rtmps" | "rtmpts" => Some(443),
        _ if is_rtmp(scheme) => Some(1935),
        _ if is_rtsp(scheme) => Some(554),
        _ => None,
    }
}

/// Whether it could be a scheme. One letter is a Windows drive.
fn is_scheme(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// The scheme of `text` in lower case, and what is behind `://`, without control characters.
fn split_scheme(text: &str) -> Result<(String, &str), AddressError> {
    if text.len() > LONGEST_ADDRESS {
        return Err(AddressError::TooLong { found: text.len() });
    }
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    // URL parsers skip some of them, others end there: what was checked would not be what is opened.
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control()) {
        return Err(AddressError::Control { code: c.into(), at });
    }
    match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => Ok((scheme.to_ascii_lowercase(), rest)),
        _ => Err(AddressError::NoScheme { found: shown(text) }),
    }
}

/// What an error may show of a text that could not be read.
fn shown(text: &str) -> String {
    if text.contains('@') || text.contains("%40") {
        return MASK.to_owned();
    }
    // A query is where secrets are, and with blanks in it they are hard to find.
    let text = redact(text.split_once('?').map_or(text, |(path, _)| path));
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

/// Whether an `@` in `tail` may be the end of a user and password that has a delimiter in it. Without a colon, and
/// with host and slash in front, it is of the path: that of `https://host/@name`.
fn is_ambiguous(rest: &str, authority: &str, tail: &str) -> bool {
    let Some(at) = tail.rfind('@') else { return false };
    let before = rest.get(..authority.len() + at).unwrap_or_default();
    before.contains([':', '@']) || authority.is_empty() || !tail.starts_with('/')
}

/// The place of the host behind the scheme, and the port, of `host`, `host:port` or `[v6]:port`.
fn split_endpoint(scheme: &str, endpoint: &str) -> Result<(Option<Range<usize>>, Option<u16>), AddressError> {
    let bad_host = || AddressError::BadHost { scheme: scheme.to_owned() };
    let bad_port = || AddressError::BadPort { scheme: scheme.to_owned() };
    let (host, port, before) = if let Some(v6) = endpoint.strip_prefix('[') {
        let (host, port) = v6.split_once(']').ok_or_else(bad_host)?;
        if !is_v6(host) {
            return Err(bad_host());
        }
        let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(bad_host)?) };
        (host, port, "://[".len())
    } else {
        let (host, port) =
            endpoint.split_once(':').map_or((endpoint, None), |(host, port)| (host, Some(port)));
        // Names of the world's languages are left to the resolver.
        if !host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')) {
            return Err(bad_host());
        }
        (host, port, "://".len())
    };
    let port = match port {
        None => None,
        Some(port) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(bad_port)?)
        }
        Some(_) => return Err(bad_port()),
    };
    // Without a host, `srt://:9000` and `udp://:5000` wait for others to connect.
    let is_server = host.is_empty() && port.is_some();
    let needs_host =
        is_rtsp(scheme) || is_rtmp(scheme) || matches!(scheme, "http" | "https" | "icy" | "icyx");
    if host.is_empty() && (needs_host || !is_server) {
        return Err(AddressError::NoHost { scheme: scheme.to_owned() });
    }
    Ok((Some(before..before + host.len()).filter(|host| !host.is_empty()), port))
}

/// Whether it is an IPv6 address; it may have a zone.
fn is_v6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, ""));
    address.parse::<std::net::Ipv6Addr>().is_ok() && zone.chars().all(|c| c.is_ascii_alphanumeric())
}

fn decode_userinfo(scheme: &str, userinfo: &str) -> Result<Option<Credentials>, AddressError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let decoded = |part| {
        percent_decoded(part).map_err(|found| AddressError::Credentials { scheme: scheme.to_owned(), found })
    };
    let credentials = Credentials { user: decoded(user)?, password: decoded(password)? };
    let is_empty = credentials.user.is_empty() && credentials.password.is_empty();
    Ok((!is_empty).then_some(credentials))
}

/// `text` without its percent-encoding; else what is wrong with it.
fn percent_decoded(text: &str) -> Result<String, &'static str> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("a % without two hexadecimal digits");
        };
        decoded.push(high << 4 | low);
    }
    // A string of C ends at NUL; the others would end the line of a request.
    if decoded.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return Err("a NUL or a line break");
    }
    String::from_utf8(decoded).map_err(|_| "another encoding")
}

#[cfg(test)]
mod tests;
