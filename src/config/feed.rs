//! Feeds: where they come from, what they take from the defaults, and which of their keys go together.

use super::parse::Findings;
use super::place::Place;
use super::problem::Problem;
use super::raw::{self, Table};
use super::validate::{health, unique, unknown};
use super::value::{Name, Text, User};
use super::{Feed, Secret, Site, Source, TlsPolicy};
use crate::feed::{Address, AddressError, Refusal, Routes, Schemes};
use std::path::Path;

/// What is said of a credential in a URI.
const NO_PASSWORD: &str = "expected no user and no password in uri, found something in front of an @: say user and \
                           password = { env = … }";

/// Reads one feed that is to be added to `site`.
pub(super) fn from_toml(site: &Site, text: &str) -> Result<Feed, Vec<Problem>> {
    let mut findings = Findings::open(text)?;
    let Some(raw) = findings.read::<raw::Feed>() else { return findings.finish(None) };
    let feed = feed(raw, &Place::default(), site, &mut findings);
    findings.finish(Some(feed))
}

/// Reads the feeds of `site`, which has all else but outputs.
pub(super) fn feeds(tables: Vec<Table<raw::Feed>>, site: &Site, findings: &mut Findings<'_>) -> Vec<Feed> {
    unique("feeds", "id", tables.iter().map(|table| table.0.id.as_ref()), findings);
    let mut feeds = Vec::with_capacity(tables.len());
    let most = usize::try_from(site.runtime.max_feeds).unwrap_or(usize::MAX);
    let mut enabled = 0_usize;
    for (index, Table(raw)) in tables.into_iter().enumerate() {
        let place = Place::item("feeds", index);
        let id = findings.need(&place, "id", raw.id.clone(), "the id of the feed");
        let feed = feed(raw::Feed { id, ..raw }, &place, site, findings);
        enabled += usize::from(feed.enabled);
        if feed.enabled && enabled == most.saturating_add(1) {
            let text =
                format!("expected {most} feeds at most that are enabled (runtime.max-feeds), found one more");
            findings.add(&place, text);
        }
        feeds.push(feed);
    }
    feeds
}

/// Where `key` of the feed at `place` was said: there, or in the defaults.
fn said(place: &Place, key: &str, findings: &Findings<'_>) -> Place {
    let (own, default) = (place.key(key), Place::default().key("defaults").key(key));
    if !findings.has(&own) && !place.0.is_empty() && findings.has(&default) { default } else { own }
}

fn feed(own: raw::Feed, place: &Place, site: &Site, findings: &mut Findings<'_>) -> Feed {
    let own_health = own.health.clone();
    let raw = own.or(&site.defaults);
    let group = group(raw.group.as_ref(), place, site, findings);
    check_pairs(&raw, place, findings);
    let source = source(&raw, place, site, findings);
    let default_health = health(site.defaults.health.as_ref().map(|table| &table.0), &site.health);
    Feed {
        id: raw.id.map(|Name(id)| id).unwrap_or_default(),
        source: source.unwrap_or_else(|| Source::CustomPipeline(String::new())),
        user: raw.user,
        password: raw.password.map(|secret| match secret {
            Secret::File(path) => Secret::File(site.base.join(path)),
            Secret::Env(name) => Secret::Env(name),
        }),
        group,
        enabled: raw.enabled.unwrap_or(true),
        health: health(own_health.as_ref().map(|table| &table.0), &default_health),
        realtime: raw.realtime.unwrap_or(false),
        looped: raw.r#loop,
        on_end: raw.on_end,
        interval: raw.interval.map(|number| number.get()),
        overload: raw.overload,
        max_size_buffers: raw.max_size_buffers.map(|number| number.get()),
        max_in_flight: raw.max_in_flight.map(|number| number.get()),
        tls_policy: raw.tls_policy,
        tls_database: raw.tls_database.map(|Text(path)| site.base.join(path)),
        transport: raw.transport,
        latency: raw.latency.map(|time| time.get()),
        decode_preference: raw.decode_preference,
        reconnect_base_delay: raw.reconnect_base_delay.map(|time| time.get()),
        reconnect_max_delay: raw.reconnect_max_delay.map(|time| time.get()),
        reconnect_max_attempts: raw.reconnect_max_attempts.map(|number| number.get()),
        max_restarts: raw.max_restarts.map(|number| number.get()),
        liveness_timeout: raw.liveness_timeout.map(|time| time.get()),
        stall_timeout: raw.stall_timeout.map(|time| time.get()),
        tcp_timeout: raw.tcp_timeout.map(|time| time.get()),
        max_width: raw.max_width.map(|number| number.get()),
        max_height: raw.max_height.map(|number| number.get()),
        max_fps: raw.max_fps.map(|number| number.get()),
    }
}

/// The name of the group: the one that is said, or the only one there is.
fn group(said_name: Option<&Name>, place: &Place, site: &Site, findings: &mut Findings<'_>) -> String {
    let at = said(place, "group", findings);
    if findings.is_wrong(&Place::default().key("groups")) || findings.is_wrong(&at) {
        return String::new();
    }
    let known: Vec<&str> = site.groups.iter().map(|group| group.name.as_str()).collect();
    match (said_name, known.as_slice()) {
        (Some(Name(name)), _) if known.contains(&name.as_str()) => return name.clone(),
        (None, [only]) => return (*only).to_owned(),
        (_, []) => {
            // Once is enough.
            let first = if place.0.is_empty() { place.clone() } else { Place::item("feeds", 0) };
            findings.add(&first.key("group"), "expected a group for the feeds, found no [[groups]]");
        }
        (Some(Name(name)), _) => unknown(&at, "groups", name, &known, findings),
        (None, _) => findings.expected(&at, format!("one of the groups {}", known.join(", "))),
    }
    String::new()
}

/// Notes keys that do not go together.
fn check_pairs(raw: &raw::Feed, place: &Place, findings: &mut Findings<'_>) {
    let at = |key: &str, findings: &Findings<'_>| said(place, key, findings);
    if let (Some(base), Some(longest)) = (raw.reconnect_base_delay, raw.reconnect_max_delay)
        && base.get() > longest.get()
    {
        let longest = humantime::format_duration(longest.get());
        let place = at("reconnect-base-delay", findings);
        findings.expected(&place, format!("at most reconnect-max-delay, which is {longest}"));
    }
    let user = at("user", findings);
    if raw.password.is_some() && raw.user.is_none() && !findings.is_wrong(&user) {
        let place = at("password", findings);
        findings.add(&place, "expected user with it, found no user");
    }
    if raw.custom_pipeline.is_some() {
        for key in ["user", "password"] {
            if findings.has(&place.key(key)) {
                findings.add(&place.key(key), "expected it with uri only, found it with custom-pipeline");
            }
        }
    }
}

fn source(raw: &raw::Feed, place: &Place, site: &Site, findings: &mut Findings<'_>) -> Option<Source> {
    let (uri, custom) = (place.key("uri"), place.key("custom-pipeline"));
    match (&raw.uri, &raw.custom_pipeline) {
        (Some(_), Some(_)) => {
            findings.add(&custom, "expected one of uri and custom-pipeline, found both");
            None
        }
        (None, None) => {
            if !findings.is_explained(place, "uri") && !findings.is_explained(place, "custom-pipeline") {
                findings.add(&uri, "expected a URI or the path of a file, found nothing");
            }
            None
        }
        (None, Some(Text(pipeline))) => {
            if !site.runtime.allow_custom_pipeline {
                let text =
                    "expected allow-custom-pipeline = true in [runtime] for it, found that it is not set";
                findings.add(&custom, text);
            }
            Some(Source::CustomPipeline(pipeline.clone()))
        }
        (Some(Text(text)), None) => {
            let address = address(text, &uri, &site.base, findings)?;
            check_way(&address, raw, &uri, findings);
            Some(Source::Uri(address))
        }
    }
}

/// The address that `text` is, or is the path of.
fn address(text: &str, place: &Place, base: &Path, findings: &mut Findings<'_>) -> Option<Address> {
    if text.contains("://") {
        return match Address::parse(text) {
            Ok((address, None)) => Some(address),
            Ok((_, Some(_))) | Err(AddressError::Ambiguous { .. } | AddressError::Credentials { .. }) => {
                findings.add(place, NO_PASSWORD);
                None
            }
            Err(error) => {
                findings.add(place, error.to_string());
                None
            }
        };
    }
    // `rtsp:/camera`, `camera:554/stream`, `admin:secret@camera`: what was meant is no file.
    if text.split('/').next().is_some_and(|first| first.contains([':', '@'])) {
        let expected =
            "scheme://host/path or the path of a file (with ./ in front if it has a colon or an @ in it)";
        findings.expected(place, expected);
        return None;
    }
    let url = url::Url::from_file_path(base.join(text)).ok();
    let address = url.and_then(|url| Address::parse(url.as_str()).ok());
    if address.is_none() {
        findings.expected(place, "the path of a file");
    }
    address.map(|(address, _)| address)
}

/// Notes an address that `nvfeed` would refuse to go to.
fn check_way(address: &Address, raw: &raw::Feed, place: &Place, findings: &mut Findings<'_>) {
    let policy = match raw.tls_policy {
        None | Some(TlsPolicy::Prefer) => crate::feed::TlsPolicy::Prefer,
        Some(TlsPolicy::Require) => crate::feed::TlsPolicy::Require,
        Some(TlsPolicy::AllowInsecure) => crate::feed::TlsPolicy::AllowInsecure,
    };
    let has_user = raw.user.as_ref().is_some_and(|user: &User| !user.as_str().is_empty());
    match Routes::new(address.clone(), policy, has_user || raw.password.is_some(), &Schemes::default()) {
        Ok(_) => {}
        Err(Refusal::Scheme { scheme, allowed }) => {
            findings
                .add(place, format!("expected a URI with one of the schemes {allowed}, found {scheme}://"));
        }
        Err(refusal) => findings.add(place, refusal.to_string()),
    }
}
