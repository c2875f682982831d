//! What the messages of inner elements mean.

use crate::feed::{Address, Failure, Kind, Security};
use crate::health::redact;
use std::collections::BTreeSet;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest detail of a failure, in bytes.
const LONGEST: usize = 400;

/// How long a look at an address may take.
const LOOK: Duration = Duration::from_secs(1);

/// What a source was asked to do and what it met, which its errors do not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    /// What was wrong with the certificate of the server.
    pub(super) certificate: Option<String>,
    /// A redirect that was refused, and why.
    pub(super) redirect: Option<String>,
    /// A kind of stream that nothing here can read.
    pub(super) unknown: Option<String>,
    /// Streams there were that are no video, by what they are.
    pub(super) others: BTreeSet<String>,
    /// Whether there was a video.
    pub(super) has_video: bool,
    /// Whether the server was asked for a stream.
    pub(super) has_asked: bool,
    /// Whether any data came.
    pub(super) has_data: bool,
    /// Requests sent to where the source stands, as long as there are no streams.
    pub(super) requests: u32,
    /// Whether the server asks for credentials over and over.
    pub(super) is_refused: bool,
    /// What a server of HTTP answered.
    pub(super) http_status: Option<u32>,
}

impl Hints {
    /// The failure of a source that has ended without any video.
    pub(super) fn no_video(&self) -> Failure {
        if let Some(found) = &self.unknown {
            return Failure::new(Kind::Unsupported, format!("nothing here reads or decodes {found}"));
        }
        let found = self.others.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let found = if found.is_empty() { "no stream".to_owned() } else { found };
        Failure::new(Kind::NoVideo, format!("expected a video, found {found}"))
    }
}

/// The failure that an error of an inner element stands for.
pub(super) fn failure_of(error: &glib::Error, debug: Option<&str>, hints: &Hints) -> Failure {
    let detail = detail_of(error, debug);
    if let Some(problem) = &hints.certificate {
        let advice = "tls-database names whom to trust";
        return Failure::new(
            Kind::Tls,
            format!("the certificate of the server is not trusted: {problem}; {advice}"),
        );
    }
    if let Some(refusal) = &hints.redirect {
        return Failure::new(Kind::Insecure, refusal.clone());
    }
    if hints.is_refused {
        return Failure::new(Kind::Unauthorized, "the server does not take the user and the password");
    }
    if hints.has_asked && !hints.has_data && error.matches(gst::CoreError::MissingPlugin) {
        // What decodebin makes of the complaint of rtspsrc.
        let detail = "the server gives the stream by no transport that the property transport allows";
        return Failure::new(Kind::Unsupported, detail);
    }
    let kind = match hints.http_status {
        Some(401 | 403 | 407) => Kind::Unauthorized,
        Some(404 | 410) => Kind::NotFound,
        _ => kind_of(error, &detail),
    };
    match kind {
        Kind::Unsupported | Kind::Other if hints.unknown.is_some() => hints.no_video(),
        Kind::Unsupported | Kind::Other | Kind::Decode if !hints.others.is_empty() && !hints.has_video => {
            hints.no_video()
        }
        _ => Failure::new(kind, detail),
    }
}

/// Looks at where a connection was to be made, whose failure may have had any cause. Takes as long as the system needs
/// to find the name of the host, and a second more.
pub(super) fn look_closer(failure: Failure, address: &Address) -> Failure {
    let (true, Some(host)) = (matches!(failure.kind, Kind::Unreachable | Kind::Other), address.host()) else {
        return failure;
    };
    let is_encrypted = address.security() == Security::Encrypted;
    let usual = if address.is_rtsp() {
        554
    } else if is_encrypted {
        443
    } else {
        80
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, address.port().unwrap_or(usual)).to_socket_addrs().ok();
    let Some(found) = found.and_then(|mut found| found.next()) else {
        return Failure::new(
            Kind::Unresolvable,
            format!("the name of the host has no address ({})", failure.detail),
        );
    };
    match TcpStream::connect_timeout(&found, LOOK) {
        Err(error) => Failure::new(Kind::Unreachable, format!("{} ({error})", failure.detail)),
        Ok(_) if is_encrypted => {
            let detail = format!("somebody answers, and makes no encrypted connection ({})", failure.detail);
            Failure::new(Kind::Tls, detail)
        }
        Ok(_) => failure,
    }
}

fn kind_of(error: &glib::Error, detail: &str) -> Kind {
    let says = |word: &str| detail.to_lowercase().contains(word);
    if let Some(resource) = error.kind::<gst::ResourceError>() {
        return match resource {
            gst::ResourceError::NotAuthorized => Kind::Unauthorized,
            gst::ResourceError::NotFound => Kind::NotFound,
            _ if says("timeout") || says("timed out") => Kind::Timeout,
            gst::ResourceError::Settings => Kind::Unsupported,
            _ => Kind::Unreachable,
        };
    }
    if let Some(stream) = error.kind::<gst::StreamError>() {
        return match stream {
            gst::StreamError::TypeNotFound
            | gst::StreamError::WrongType
            | gst::StreamError::CodecNotFound
            | gst::StreamError::NotImplemented => Kind::Unsupported,
            gst::StreamError::Decode
            | gst::StreamError::Demux
            | gst::StreamError::Format
            | gst::StreamError::Decrypt
            | gst::StreamError::DecryptNokey => Kind::Decode,
            _ => Kind::Other,
        };
    }
    match error.kind::<gst::CoreError>() {
        Some(gst::CoreError::MissingPlugin) => Kind::Unsupported,
        _ => Kind::Other,
    }
}

/// What an error says, in one line, without credentials.
pub(super) fn detail_of(error: &glib::Error, debug: Option<&str>) -> String {
    let mut text = error.message().to_owned();
    // Behind the place in the source code.
    let reason = debug.and_then(|debug| debug.lines().skip(1).find(|line| !line.trim().is_empty()));
    if let Some(reason) = reason {
        text = format!("{text} ({})", reason.trim());
    }
    let text: String = redact(&text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = text.floor_char_boundary(LONGEST.min(text.len()));
    text.get(..end).unwrap_or_default().to_owned()
}
