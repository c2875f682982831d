//! The page, and the rule that lets a browser run only what is in it.

use crate::metrics::LATENCY_BOUNDS;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Bytes;
use sha2::{Digest, Sha256};

const SOURCE: &str = include_str!("page.html");

/// What the bounds of the histograms take the place of.
const BOUNDS: &str = "/*BOUNDS*/[]";

/// The page as it is sent.
pub(super) struct Page {
    /// Its text.
    pub(super) html: Bytes,
    /// Its `Content-Security-Policy`.
    pub(super) policy: String,
}

impl Page {
    pub(super) fn new() -> Self {
        let html = SOURCE.replacen(BOUNDS, &format!("{LATENCY_BOUNDS:?}"), 1);
        let script = hash(between(&html, "<script>", "</script>"));
        let style = hash(between(&html, "<style>", "</style>"));
        let policy = format!(
            "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src 'self' data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { html: html.into(), policy }
    }
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let inside = text.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    inside.map_or("", |(inside, _)| inside)
}

/// How a policy names an inline script or style.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_small_file_that_asks_for_nothing_else() {
        assert!(SOURCE.len() < 30_000, "{} bytes", SOURCE.len());
        for once in ["<script>", "</script>", "<style>", "</style>", BOUNDS] {
            assert_eq!(SOURCE.matches(once).count(), 1, "{once}");
        }
        for outside in ["http:", "https:", "src=\"/", "@import", "url(", "<link rel=\"stylesheet"] {
            let found: Vec<_> = SOURCE.match_indices(outside).collect();
            let svg = SOURCE.matches("http://www.w3.org/2000/svg").count();
            let allowed = if outside == "http:" { svg } else { 0 };
            assert_eq!(found.len(), allowed, "{outside}");
        }
    }

    #[test]
    fn names_are_only_ever_set_as_text() {
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=",
            " onclick=",
        ] {
            assert!(!SOURCE.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn the_policy_allows_only_what_is_in_it() {
        let page = Page::new();
        assert!(!page.policy.contains("-inline") && !page.policy.contains('*'), "{}", page.policy);
        assert_eq!(page.policy.matches("'sha256-").count(), 2);
        let html = String::from_utf8(page.html.to_vec()).unwrap();
        assert!(html.contains("[0.005, 0.01,") && !html.contains(BOUNDS));
    }
}
