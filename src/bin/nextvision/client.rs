//! Asks a running one for its state, over HTTP.
//!
//! What comes back is taken for hostile: it is bounded in size and time, and its text is cleaned where it is shown.

use crate::{Whom, check, text};
use gstnextvision::metrics::Snapshot;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use ureq::Agent;

/// How long an answer may take, from the question to its last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer, in bytes.
const LARGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// Sentences of each kind that are read of an answer about health.
const MOST_SENTENCES: usize = 64;

/// Whether it is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) is_well: bool,
    /// Why not.
    pub(crate) reasons: Vec<String>,
    /// What is wrong with parts of it.
    pub(crate) warnings: Vec<String>,
}

/// The way to one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    address: String,
}

impl Client {
    /// The runtime that the command line names.
    ///
    /// # Errors
    ///
    /// Lines that say what is wrong with the address, or the site file.
    pub(crate) fn new(whom: &Whom) -> Result<Self, Vec<String>> {
        let address = match &whom.site {
            Some(site) => {
                let address = check::read(site)?.runtime.metrics_address;
                let nowhere = || {
                    vec![format!("{}: expected a metrics-address in [runtime], found none", site.display())]
                };
                reachable(address.ok_or_else(nowhere)?).to_string()
            }
            None => {
                checked(&whom.address).map_err(|error| vec![format!("nextvision: --address: {error}")])?
            }
        };
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            // It is on this machine, or near: a proxy knows nothing of it.
            .proxy(None)
            .user_agent(concat!("nextvision/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.new_agent(), address })
    }

    /// Its state, as JSON as it came and read.
    ///
    /// # Errors
    ///
    /// Why it cannot be had, with the address.
    pub(crate) fn snapshot(&self) -> Result<(String, Snapshot), String> {
        let (status, body) = self.get("/status.json")?;
        if status != 200 {
            return Err(self.odd(&format!("status 200, found {status}")));
        }
        let snapshot = read_snapshot(&body).map_err(|error| self.odd(&error))?;
        Ok((body, snapshot))
    }

    /// Whether it is well.
    ///
    /// # Errors
    ///
    /// Why nothing is known, with the address.
    pub(crate) fn health(&self) -> Result<Health, String> {
        let (status, body) = self.get("/health")?;
        match status {
            200 | 503 => Ok(read_health(status == 200, &body)),
            _ => Err(self.odd(&format!("status 200 or 503, found {status}"))),
        }
    }

    fn get(&self, path: &str) -> Result<(u16, String), String> {
        let address = &self.address;
        let unreachable =
            |error: ureq::Error| text::clean(&format!("nextvision: cannot ask {address}: {error}"));
        let mut answer = self.agent.get(format!("http://{address}{path}")).call().map_err(unreachable)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(LARGEST_ANSWER).lossy_utf8(true).read_to_string();
        Ok((status, body.map_err(unreachable)?))
    }

    fn odd(&self, what: &str) -> String {
        text::clean(&format!(
            "nextvision: {} does not answer like a nextvision: expected {what}",
            self.address
        ))
    }
}

fn read_snapshot(body: &str) -> Result<Snapshot, String> {
    #[derive(serde::Deserialize)]
    struct Form {
        schema: String,
    }
    let known = Snapshot::SCHEMA;
    let form: Form =
        serde_json::from_str(body).map_err(|error| format!("a state in JSON, found: {error}"))?;
    if form.schema != known {
        return Err(format!("a state of the form {known}, found {:?}", form.schema));
    }
    serde_json::from_str(body).map_err(|error| format!("a state of the form {known}, found: {error}"))
}

/// What an answer about health says. Whether all is well its status has said; the sentences are for people.
fn read_health(is_well: bool, body: &str) -> Health {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Sentences {
        reasons: Vec<String>,
        warnings: Vec<String>,
    }
    let said = serde_json::from_str::<Sentences>(body).unwrap_or_default();
    let cleaned = |sentences: Vec<String>| {
        let sentences = sentences.iter().take(MOST_SENTENCES).map(|sentence| text::clean(sentence));
        sentences.filter(|sentence| !sentence.trim().is_empty()).collect()
    };
    Health { is_well, reasons: cleaned(said.reasons), warnings: cleaned(said.warnings) }
}

/// Where a program on this machine finds what listens at `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The address if it is a host and a port and nothing else.
fn checked(address: &str) -> Result<String, String> {
    let expected = || format!("expected HOST:PORT, found {:?}", text::clean(address));
    if let Ok(address) = address.parse::<SocketAddr>() {
        return Ok(reachable(address).to_string());
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(expected)?;
    let of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host = !host.is_empty() && host.chars().all(of_host);
    let port = port.parse::<u16>().map_err(|_| expected())?;
    if is_host { Ok(format!("{host}:{port}")) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(checked("127.0.0.1:9464").as_deref(), Ok("127.0.0.1:9464"));
        assert_eq!(checked("0.0.0.0:1").as_deref(), Ok("127.0.0.1:1"));
        assert_eq!(checked("[::]:1").as_deref(), Ok("[::1]:1"));
        assert_eq!(checked("camera-host.local:80").as_deref(), Ok("camera-host.local:80"));
        for wrong in
            ["", "host", "host:", ":80", "host:99999", "a@b:80", "a/b:80", "http://a:80", "a b:1", "::1"]
        {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_said_of_health_is_cleaned_and_bounded() {
        let json = r#"{"healthy":false,"reasons":["feed a: \u001b[2Jdead"],"warnings":["\u0007"]}"#;
        let health = read_health(false, json);
        assert_eq!((health.reasons.as_slice(), health.warnings.len()), (&["feed a: dead".to_owned()][..], 0));
        assert_eq!(read_health(true, "<html>"), Health { is_well: true, ..Health::default() });
        let many = serde_json::json!({ "reasons": vec!["x"; 1000] }).to_string();
        assert_eq!(read_health(false, &many).reasons.len(), MOST_SENTENCES);
    }

    #[test]
    fn a_state_of_another_form_is_refused_by_name() {
        assert!(read_snapshot("<html>").unwrap_err().starts_with("a state in JSON, found"));
        let error = read_snapshot(r#"{"schema":"nv-status/9"}"#).unwrap_err();
        assert_eq!(error, "a state of the form nv-status/1, found \"nv-status/9\"");
        let snapshot = Snapshot { schema: Snapshot::SCHEMA.to_owned(), ..Snapshot::default() };
        let json = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(read_snapshot(&json), Ok(snapshot));
    }
}
