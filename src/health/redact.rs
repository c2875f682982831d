//! Redaction: no credential in anything that leaves an element.
//!
//! Every message, log line, error, record and meta passes its text through [`redact`], and so does every getter of
//! a property that may hold a URL. It hides
//!
//! * what stands before the `@` of a URL of any scheme, and of `user:password@host` without one;
//! * the values of keys such as `token`, `password` or `user-pw`, in the query of a URL and outside of URLs, as
//!   `key=value`, `key: value`, JSON or the text of a `GstStructure`, and all of an `Authorization` header.
//!
//! Text that can be read in two ways is taken for a secret: `rtsp://camera:554/a@b` may be a password with a slash
//! in it, and is shown as `rtsp://***@b`.
//!
//! Not guaranteed: that a secret is found which looks like one in no way, such as a password alone, a key in the
//! path of a URL, or text that was encoded twice.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use url::{Url, form_urlencoded};

/// What is shown in the place of a secret.
pub const MASK: &str = "***";

/// Keys whose values are secret after `=`: the whole key, without case and separators, or its last word.
const SECRET_KEYS: &[&str] = &[
    "accesskey",
    "accesstoken",
    "apikey",
    "auth",
    "authorization",
    "authtoken",
    "clientsecret",
    "credential",
    "credentials",
    "idtoken",
    "jwt",
    "key",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "psk",
    "pw",
    "pwd",
    "refreshtoken",
    "secret",
    "secretkey",
    "session",
    "sessionid",
    "sessiontoken",
    "sig",
    "signature",
    "token",
    "userpass",
    "userpassword",
    "userpw",
];

/// Those of them that are ordinary words in front of a colon, and as fields of our own structures.
const ORDINARY_WORDS: &[&str] = &["auth", "key", "pass", "session", "sig"];

/// The first word of an `Authorization` header that has its secret in the second.
const SCHEMES_OF_ONE_WORD: &[&str] = &["apikey", "basic", "bearer", "negotiate", "token"];

/// Longest key looked at, in bytes. It keeps the search linear.
const LONGEST_KEY: usize = 128;

/// `text` without its secrets, each replaced by [`MASK`].
///
/// Takes any text and never panics. Redacting twice is redacting once. The result is at most twice as long as the
/// text, and borrowed if there was nothing to hide.
///
/// Redact before cutting a text to length: half a URL is harder to tell from a word.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    // Nothing is found without one of these; most texts have none.
    if !text.contains(['@', '=', ':', '%']) {
        return Cow::Borrowed(text);
    }
    let Some(mut masked) = redact_once(text) else { return Cow::Borrowed(text) };
    // What is left may read as something else now. It does so once or twice; the bound is for the unforeseen.
    for _ in 0..8 {
        let Some(again) = redact_once(&masked) else { break };
        masked = again;
    }
    Cow::Owned(masked)
}

/// `None` if there is nothing to hide.
fn redact_once(text: &str) -> Option<String> {
    let mut secrets = Secrets::default();
    find_userinfo(text, &mut secrets);
    find_values(text, &mut secrets);
    secrets.mask(text)
}

/// Formats as what it holds does, redacted; nothing is done before it is formatted.
#[derive(Clone, Copy)]
pub struct Redacted<T>(pub T);

impl<T: fmt::Display> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0.to_string()))
    }
}

impl<T: fmt::Debug> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&format!("{:?}", self.0)))
    }
}

/// Where secrets are. They may overlap.
#[derive(Default)]
struct Secrets(Vec<Range<usize>>);

impl Secrets {
    fn add(&mut self, text: &str, start: usize, end: usize) {
        if text.get(start..end) != Some(MASK) {
            self.0.push(start..end);
        }
    }

    /// `text` with one [`MASK`] for each stretch of secrets; `None` if there is none.
    fn mask(mut self, text: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_unstable_by_key(|secret| secret.start);
        let mut masked = String::with_capacity(text.len());
        let mut copied = 0;
        for secret in self.0 {
            if secret.start >= copied {
                masked.push_str(text.get(copied..secret.start).unwrap_or_default());
                masked.push_str(MASK);
            }
            copied = copied.max(secret.end);
        }
        masked.push_str(text.get(copied..).unwrap_or_default());
        Some(masked)
    }
}

/// Whether the character at `at` was escaped, as in the text of a `GstStructure` or a quoted Rust string.
fn is_escaped(text: &str, at: usize) -> bool {
    text.get(..at).is_some_and(|before| before.ends_with('\\'))
}

/// Where the first of `ends` is at or after `from` that is not escaped; else the end.
fn find_unescaped(text: &str, from: usize, ends: &[char]) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let mut found = rest.match_indices(ends).map(|(at, _)| from + at);
    found.find(|at| !is_escaped(text, *at)).unwrap_or(text.len())
}

// --- What stands before an @ -------------------------------------------------------------------------------

/// A stretch of text without space and quote. Control characters do not end it: passwords have them.
#[derive(Clone, Copy)]
struct Token {
    start: usize,
    end: usize,
}

fn find_userinfo(text: &str, secrets: &mut Secrets) {
    let last_at = text.rfind('@');
    let mut start = 0;
    while start < text.len() {
        let token = Token { start, end: find_unescaped(text, start, &[' ', '"']) };
        // A secret may go on behind the token; then what was swallowed is done, too.
        start = find_in_token(text, token, last_at, secrets).max(token.end) + 1;
    }
}

/// The secrets of one token; returns where the last one ends.
fn find_in_token(text: &str, token: Token, last_at: Option<usize>, secrets: &mut Secrets) -> usize {
    let Token { start, end } = token;
    let Some(marker) = find_marker(text.get(start..end).unwrap_or_default()) else {
        find_without_scheme(text, token, secrets);
        return end;
    };
    let host = start + marker.end;
    find_without_scheme(text, Token { start, end: host }, secrets);
    let rest = text.get(host..end).unwrap_or_default();
    let scheme = scheme_of(text.get(start..start + marker.start).unwrap_or_default());
    match last_at_of(rest, marker.is_encoded) {
        Some(at) if is_userinfo(scheme, rest, at, marker.is_encoded) => {
            secrets.add(text, host, host + at);
            end
        }
        _ if is_broken(scheme, rest) => {
            // Whatever this is, it is no host and port: a password may go on behind a space, or have been cut off.
            let masked_to = last_at.filter(|at| *at > end).unwrap_or(end);
            secrets.add(text, host, masked_to);
            masked_to
        }
        _ => end,
    }
}

/// `://`, plain or percent-encoded.
struct Marker {
    start: usize,
    end: usize,
    is_encoded: bool,
}

fn find_marker(token: &str) -> Option<Marker> {
    const ENCODED: &[u8] = b"%3a%2f%2f";
    let plain = token.find("://").map(|start| Marker { start, end: start + 3, is_encoded: false });
    let encoded = token.as_bytes().windows(ENCODED.len()).position(|part| part.eq_ignore_ascii_case(ENCODED));
    let encoded = encoded.map(|start| Marker { start, end: start + ENCODED.len(), is_encoded: true });
    match (plain, encoded) {
        (Some(plain), Some(encoded)) if encoded.start < plain.start => Some(encoded),
        (plain, encoded) => plain.or(encoded),
    }
}

/// The scheme at the end of `head`.
fn scheme_of(head: &str) -> &str {
    let start = head.rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
    // What is not of a scheme may be long.
    let scheme = start.map_or(Some(head), |start| head.get(start..)).unwrap_or_default();
    scheme.trim_start_matches(|c: char| !c.is_ascii_alphabetic())
}

/// Where the last `@` is; in an encoded URL, `%40` is one, too.
fn last_at_of(rest: &str, is_encoded: bool) -> Option<usize> {
    let encoded = if is_encoded { rest.rfind("%40") } else { None };
    rest.rfind('@').max(encoded)
}

/// Whether what stands before the `@` at `at` may be a user and a password. Without a colon, and behind a slash,
/// it is a path: that of `https://host/@name`.
fn is_userinfo(scheme: &str, rest: &str, at: usize, is_encoded: bool) -> bool {
    let before = rest.get(..at).unwrap_or_default();
    is_encoded
        || before.contains(':')
        || !before.contains(['/', '?', '#'])
        || parse(scheme, rest).is_none_or(|url| !url.username().is_empty() || url.password().is_some())
}

/// Whether there is a colon where the host and the port should be, and they are not.
fn is_broken(scheme: &str, rest: &str) -> bool {
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    let is_v6 = authority.starts_with('[');
    // Punctuation of the sentence around it.
    let punctuation = |c: char| ",.;:)}>'`!".contains(c) || (c == ']' && !is_v6);
    let authority = authority.trim_end_matches(punctuation);
    authority.contains(':') && parse(scheme, authority).is_none()
}

fn parse(scheme: &str, rest: &str) -> Option<Url> {
    let scheme = if scheme.is_empty() { "rtsp" } else { scheme };
    Url::parse(&format!("{scheme}://{rest}")).ok()
}

/// `user:password@` where no scheme says that it is one.
fn find_without_scheme(text: &str, token: Token, secrets: &mut Secrets) {
    let inside = text.get(token.start..token.end).unwrap_or_default();
    let Some(at) = inside.rfind('@') else { return };
    let Some(colon) = inside.get(..at).and_then(|before| before.find(':')) else { return };
    let user = inside.get(..colon).unwrap_or_default();
    let boundary =
        |c: char| c.is_whitespace() || matches!(c, '=' | '(' | ')' | '[' | '{' | ',' | ';' | '<' | '\'');
    let start = user.char_indices().rev().find(|(_, c)| boundary(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    secrets.add(text, token.start + start, token.start + at);
}

// --- What stands behind a key ------------------------------------------------------------------------------

fn find_values(text: &str, secrets: &mut Secrets) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(['=', ':'])).map(|at| from + at) {
        let separator = text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('=');
        let key = key_before(text.get(from..at).unwrap_or_default());
        let in_query = text.get(from..at).is_some_and(|before| {
            before.strip_suffix(key).is_some_and(|before| before.ends_with(['?', '&', ';']))
        });
        from = at + 1;
        if separator == ':' && text.get(from..).is_some_and(|rest| rest.starts_with("//")) {
            // A scheme, not a key.
            continue;
        }
        let Some(key) = secret_key(key, separator, in_query) else { continue };
        if let Some((start, end)) = find_value(text, from, key == "authorization") {
            secrets.add(text, start, end);
            from = end;
        }
    }
}

/// The key that `before`, the text up to a separator, ends in; empty if there is none.
fn key_before(before: &str) -> &str {
    // `"key" :` of JSON, `key\=` of a structure in a structure.
    let before = before.trim_end_matches([' ', '\t', '"', '\'', '\\']);
    let near = before.get(before.ceil_char_boundary(before.len().saturating_sub(LONGEST_KEY))..);
    let near = near.unwrap_or_default();
    let of_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '%');
    let start = near.char_indices().rev().find(|(_, c)| !of_key(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    near.get(start..).unwrap_or_default()
}

/// The entry of [`SECRET_KEYS`] that `key` is, if it is one.
fn secret_key(key: &str, separator: char, in_query: bool) -> Option<&'static str> {
    if key.is_empty() {
        return None;
    }
    // As in a query: a percent sign hides nothing.
    let decoded = form_urlencoded::parse(key.as_bytes()).next()?.0;
    let word = decoded.chars().flat_map(char::to_lowercase).collect::<String>();
    let last = word.rsplit(|c: char| !c.is_alphanumeric()).find(|part| !part.is_empty())?;
    let whole: String = word.chars().filter(|c| c.is_alphanumeric()).collect();
    let found = SECRET_KEYS.iter().find(|known| **known == whole || **known == last)?;
    let is_ordinary =
        ORDINARY_WORDS.contains(found) && (separator == ':' || (*found == "session" && !in_query));
    (!is_ordinary).then_some(*found)
}

/// Where the value is that begins at `from`; `None` without one.
fn find_value(text: &str, from: usize, is_authorization: bool) -> Option<(usize, usize)> {
    let mut start = skip(text, from, &[' ', '\t']);
    start = skip_type(text, start);
    let quoted = text.get(start..)?.trim_start_matches('\\');
    let end = match quoted.chars().next()? {
        quote @ ('"' | '\'') => {
            let is_deep = text.len() - quoted.len() > start;
            start = text.len() - quoted.len() + 1;
            let end = closing_quote(text, start, quote, is_deep);
            // A URL may have apostrophes: more of the value may follow.
            let more = if quote == '\'' { end_of_value(text, end + 1) } else { end };
            if more > end + 1 { more } else { end }
        }
        _ if is_authorization => end_of_credentials(text, start),
        _ => end_of_value(text, start),
    };
    (start < end).then_some((start, end))
}

fn skip(text: &str, from: usize, what: &[char]) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    text.len() - rest.trim_start_matches(what).len()
}

/// Goes past the type that structures and values name in front of a text.
fn skip_type(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let value = ["(string)", "(gchararray)"].iter().find_map(|type_| rest.strip_prefix(type_));
    value.map_or(from, |value| skip(text, text.len() - value.len(), &[' ']))
}

/// Where the quote closes that was opened in front of `from`: at one that is as deep, escaped or not.
fn closing_quote(text: &str, from: usize, quote: char, is_deep: bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let mut quotes = rest.match_indices(quote).map(|(at, _)| from + at);
    let Some(at) = quotes.find(|at| is_escaped(text, *at) == is_deep) else { return text.len() };
    text.get(from..at).map_or(at, |value| from + value.trim_end_matches('\\').len())
}

/// Where a value ends: at space, double quote or `&`, and before punctuation that is of the sentence around it.
fn end_of_value(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '&');
    let mut stops = rest.match_indices(ends).map(|(at, _)| from + at);
    let end = stops.find(|at| !is_escaped(text, *at)).unwrap_or(text.len());
    let value = text.get(from..end).unwrap_or_default();
    from + value.trim_end_matches([',', ';', ')', ']', '}', '>', '\'']).len()
}

/// Where the value of an `Authorization` header ends: its scheme, and what belongs to it.
fn end_of_credentials(text: &str, from: usize) -> usize {
    let first = end_of_value(text, from);
    let scheme = text.get(from..first).unwrap_or_default().to_lowercase();
    let second = skip(text, first, &[' ', '\t']);
    if SCHEMES_OF_ONE_WORD.contains(&scheme.as_str()) {
        return if second > first { end_of_value(text, second) } else { first };
    }
    if scheme == "digest" { find_unescaped(text, first, &['\n', '\r']) } else { first }
}

#[cfg(test)]
mod tests;
