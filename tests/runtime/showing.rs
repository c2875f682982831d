//! What the runtime shows: diagnostics, the page, pictures, and no secret.

use super::{RECORDS, Site, endless, head};
use crate::support::eventually;
use gst::prelude::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address of loopback that is the caller's own: nobody else listens there, now or later.
fn own_address() -> SocketAddr {
    static PORTS: AtomicU16 = AtomicU16::new(9464);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 64 + (high & 63), middle, low], PORTS.fetch_add(1, Ordering::Relaxed)))
}

/// Status line, and body.
fn get(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.lines().next().unwrap_or_default().to_owned(), answer.split_off(end + 4))
}

fn listening(text: &str) -> (Site, SocketAddr) {
    let address = own_address();
    let site = Site::new(text);
    site.runtime.set_property("metrics-address", address.to_string());
    site.play();
    (site, address)
}

#[test]
fn diagnostics_have_every_feed_by_its_number_with_the_names_of_the_json_form() {
    let site = Site::playing(&(head() + RECORDS + &endless("a") + &endless("b")));
    site.wait_for_frames(1, 3);
    let status: gst::Structure = site.runtime.emit_by_name("diagnostics", &[]);
    assert_eq!((status.name().as_str(), status.get("phase")), ("nv-status", Ok("running")));
    let feeds = status.get::<gst::Array>("feeds").unwrap();
    let feeds: Vec<gst::Structure> = feeds.iter().map(|feed| feed.get().unwrap()).collect();
    let ids: Vec<u64> = feeds.iter().map(|feed| feed.get("id").unwrap()).collect();
    assert_eq!(ids, [0, 1]);
    let ledger = feeds[1].get::<gst::Structure>("ledger").unwrap();
    assert!(ledger.get::<u64>("received").unwrap() >= 3);
    assert_eq!(feeds[1].get("feed-id"), Ok("b"));
    let stats: gst::Structure = site.runtime.property("stats");
    assert_eq!(stats.name(), status.name());
}

#[test]
fn the_page_metrics_and_health_are_served_while_the_site_is_there() {
    let (site, address) = listening(&(head() + RECORDS + &endless("a")));
    site.wait_for_frames(0, 3);
    let (status, page) = get(address, "/");
    assert!(status.contains("200") && page.starts_with(b"<!"), "{status}");
    let (status, metrics) = get(address, "/metrics");
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(status.contains("200"), "{status}");
    assert!(metrics.contains("nextvision_feed_frames_received_total{feed=\"a\""), "{metrics}");
    eventually("it is well", || get(address, "/health").0, |status| status.contains("200"));
    let (_, json) = get(address, "/status.json");
    let snapshot: gstnextvision::metrics::Snapshot = serde_json::from_slice(&json).unwrap();
    assert_eq!((snapshot.name.as_str(), snapshot.feeds.len()), ("site", 1));
    site.pipeline.set_state(gst::State::Null).unwrap();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_picture_of_a_feed_is_made_when_somebody_looks() {
    let (site, address) = listening(&(head() + &endless("a")));
    site.wait_for_frames(0, 3);
    let (status, picture) = get(address, "/feeds/0/preview.jpg");
    assert!(status.contains("200"), "{status}: {}", String::from_utf8_lossy(&picture));
    assert_eq!(picture.get(..3), Some([0xff, 0xd8, 0xff].as_slice()), "JPEG");
    let (status, _) = get(address, "/feeds/7/preview.jpg");
    assert!(status.contains("404"), "{status}");
}

#[test]
fn health_is_bad_while_no_feed_gives_anything_and_good_again_when_one_does() {
    let (site, address) = listening(&(head() + &endless("a")));
    eventually("it is well", || get(address, "/health").0, |status| status.contains("200"));
    let id = site.add(&[("uri", "rtsp://127.0.0.1:1/nobody"), ("tls-policy", "allow-insecure")]).unwrap();
    site.runtime.remove_feed(0).unwrap();
    eventually("it is not well", || get(address, "/health").0, |status| status.contains("503"));
    site.add(&[("custom-pipeline", "videotestsrc is-live=true")]).unwrap();
    eventually("it is well", || get(address, "/health").0, |status| status.contains("200"));
    site.runtime.remove_feed(id).unwrap();
}

#[test]
fn an_address_that_is_taken_is_an_error_that_names_it() {
    let taken = TcpListener::bind(own_address()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new(&head());
    site.runtime.set_property("metrics-address", &address);
    assert!(site.pipeline.set_state(gst::State::Playing).is_err());
    let error = site.error();
    assert!(error.contains(&address) && error.contains("metrics-address"), "{error}");
    site.runtime.set_property("metrics-address", "somewhere");
    assert!(site.pipeline.set_state(gst::State::Playing).is_err());
    assert!(site.error().contains("expected an address and a port"));
}

#[test]
fn a_site_that_cannot_start_listens_nowhere() {
    let wrong = head().replacen("path = \"", "path = \"no-such-folder/", 1);
    let (site, address) = (Site::new(&wrong), own_address());
    site.runtime.set_property("metrics-address", address.to_string());
    assert!(site.pipeline.set_state(gst::State::Playing).is_err());
    assert_eq!(site.error(), "Resource not found.");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn no_secret_is_in_anything_that_is_shown() {
    let text = head()
        + "[[feeds]]\nid = \"away\"\nuri = \"rtsp://127.0.0.1:1/nobody\"\nuser = \"user-canary\"\n\
           password = { file = \"secret\" }\n";
    let site = Site::new(&text);
    std::fs::write(site.path("secret"), "canary\n").unwrap();
    let address = own_address();
    site.runtime.set_property("metrics-address", address.to_string());
    site.play();
    site.wait_for(0, gstnextvision::metrics::FeedState::BackingOff);
    let shown = ["/status.json", "/metrics", "/health", "/"].map(|path| get(address, path).1);
    for text in shown.iter().map(|text| String::from_utf8_lossy(text)) {
        assert!(!text.contains("canary"), "{text}");
    }
    let dot = site.pipeline.debug_to_dot_data(gst::DebugGraphDetails::all());
    assert!(!dot.contains("canary"));
    let stats: gst::Structure = site.runtime.property("stats");
    assert!(!stats.to_string().contains("canary"));
}

#[test]
fn a_password_that_is_not_there_is_an_error_that_says_where_it_was_looked_for() {
    let text = head()
        + "[[feeds]]\nid = \"a\"\nuri = \"rtsp://127.0.0.1:1/nobody\"\nuser = \"u\"\n\
           password = { env = \"NV_TEST_NO_SUCH_VARIABLE\" }\n";
    let site = Site::new(&text);
    assert!(site.pipeline.set_state(gst::State::Playing).is_err());
    let error = site.error();
    assert!(error.contains("NV_TEST_NO_SUCH_VARIABLE") && error.contains("\"a\""), "{error}");
}
