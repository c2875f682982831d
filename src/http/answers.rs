//! What is asked and what is answered: the routes, the methods, the hosts, the headers.

use super::NoPreview;
use super::cache::{Asker, Panicked};
use super::page::Page;
use crate::health::redact;
use crate::metrics;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::{Authority, Uri};
use hyper::{Method, Request, Response, StatusCode};
use std::net::IpAddr;
use std::time::Duration;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const JPEG: &str = "image/jpeg";

/// For all that is not the page.
const NO_CONTENT_ALLOWED: &str = "default-src 'none'; frame-ancestors 'none'";

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(10);

pub(super) type Answer = Response<Full<Bytes>>;

/// What answers.
pub(super) struct Answers {
    pub(super) asker: Asker,
    page: Page,
    /// Whether only requests to a name of this machine are answered.
    only_local: bool,
}

/// A path, by what it gives.
enum Route {
    Page,
    Metrics,
    Status,
    Health,
    Preview(u32),
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/metrics" => Self::Metrics,
            "/status.json" => Self::Status,
            "/health" => Self::Health,
            _ => Self::Preview(preview(path)?),
        })
    }
}

/// The number of the feed in `/feeds/ID/preview.jpg`.
fn preview(path: &str) -> Option<u32> {
    let id = path.strip_prefix("/feeds/")?.strip_suffix("/preview.jpg")?;
    // `parse` takes a sign.
    if !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    id.parse().ok()
}

impl Answers {
    /// With `only_local`, a page of another site that has its name point here gets nothing (DNS rebinding).
    pub(super) fn new(asker: Asker, only_local: bool) -> Self {
        Self { asker, page: Page::new(), only_local }
    }

    /// The answer to a request, in [`ANSWER_TIME`] at most. Its body is not read.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Answer {
        let mut answer = match tokio::time::timeout(ANSWER_TIME, self.route(request)).await {
            Ok(answer) => answer,
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "The runtime did not answer in time."),
        };
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static(NO_CONTENT_ALLOWED));
        answer
    }

    async fn route<B>(&self, request: &Request<B>) -> Answer {
        if self.only_local && !is_local(request.headers(), request.uri()) {
            return text(
                StatusCode::FORBIDDEN,
                "Only requests to localhost, 127.0.0.1 or [::1] are answered: that is the address this is bound to.",
            );
        }
        let Some(route) = Route::of(request.uri().path()) else {
            return text(StatusCode::NOT_FOUND, "There is nothing here.");
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let answer = match route {
            Route::Page => Ok(self.page()),
            Route::Metrics => {
                self.asker.snapshot().await.map(|seen| ok(metrics::CONTENT_TYPE, seen.metrics()))
            }
            Route::Status => self.asker.snapshot().await.map(|seen| ok(JSON, seen.status())),
            Route::Health => self.asker.snapshot().await.map(|seen| health(seen.verdict())),
            Route::Preview(feed) => self.asker.preview(feed).await.map(preview_answer),
        };
        answer.unwrap_or_else(|Panicked| {
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The runtime could not say: it panicked while it was asked.",
            )
        })
    }

    fn page(&self) -> Answer {
        let mut answer = ok(HTML, self.page.html.clone());
        if let Ok(policy) = HeaderValue::from_str(&self.page.policy) {
            answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        answer
    }
}

/// Whether a request names this machine, and names one machine only.
fn is_local(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let named_by_host = host.to_str().ok().and_then(|host| host.parse().ok());
    let is_local = |authority: &Authority| is_local_name(authority);
    named_by_host.as_ref().is_some_and(is_local) && uri.authority().is_none_or(is_local)
}

fn is_local_name(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_loopback = address.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback());
    !authority.as_str().contains('@') && (is_loopback || host.eq_ignore_ascii_case("localhost"))
}

fn ok(kind: &'static str, body: Bytes) -> Answer {
    with(StatusCode::OK, kind, body)
}

fn text(status: StatusCode, text: &str) -> Answer {
    with(status, TEXT, format!("{text}\n").into())
}

fn with(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn health(verdict: &metrics::Verdict) -> Answer {
    let (status, word) = match verdict.healthy {
        true => (StatusCode::OK, "healthy"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    let body = serde_json::json!({"status": word, "reasons": verdict.reasons, "warnings": verdict.warnings});
    with(status, JSON, body.to_string().into())
}

fn preview_answer(preview: Result<Bytes, NoPreview>) -> Answer {
    match preview {
        Ok(jpeg) => ok(JPEG, jpeg),
        Err(why @ NoPreview::Failed(_)) => text(StatusCode::INTERNAL_SERVER_ERROR, &redact(&why.to_string())),
        Err(why) => text(StatusCode::NOT_FOUND, &why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(host: &str) -> bool {
        host.parse().is_ok_and(|authority| is_local_name(&authority))
    }

    #[test]
    fn names_of_this_machine_are_local_and_others_are_not() {
        for host in
            ["localhost", "LOCALHOST:9464", "127.0.0.1", "127.0.0.1:80", "127.9.8.7", "[::1]", "[::1]:9464"]
        {
            assert!(local(host), "{host}");
        }
        let others = [
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "",
            "a@127.0.0.1",
            "localhost@example.org",
            "127.1",
            "2130706433",
            "[::2]:80",
            "localhost,example.org",
        ];
        for host in others {
            assert!(!local(host), "{host}");
        }
    }

    #[test]
    fn only_a_number_names_a_feed() {
        assert_eq!(preview("/feeds/0/preview.jpg"), Some(0));
        assert_eq!(preview("/feeds/4294967295/preview.jpg"), Some(u32::MAX));
        let wrong = ["4294967296", "-1", "+1", "", "a", "1/2", "..", "%31", "1 "];
        for id in wrong {
            assert_eq!(preview(&format!("/feeds/{id}/preview.jpg")), None, "{id}");
        }
    }
}
