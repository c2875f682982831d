//! `nvfeed` and cameras that answer: what it takes of them, and what it says of those it cannot have.

use crate::support::cameras::{Certificate, Server, black_hole, dead_port};
use crate::support::eventually;
use crate::support::relay::Relay;
use crate::support::screen::{QUICK, Screen, number, text};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

const INSECURE: &str = "tls-policy=allow-insecure";
const GUARDED: [&str; 6] = ["--mount", "/cam=jpeg", "--user", "user", "--password", "right"];

fn server() -> Server {
    Server::start(&["--mount", "/cam=jpeg"])
}

fn with(properties: &str) -> String {
    format!("{QUICK} {INSECURE} {properties}")
}

#[track_caller]
fn assert_flows(screen: &Screen) {
    let frames = screen.frames(5);
    assert!(frames.is_sorted_by(|one, next| one.running_time < next.running_time), "{frames:?}");
    screen.finish();
    assert_eq!((screen.count("source-connected"), screen.count("source-disconnected")), (1, 0));
}

// --- Streams ---------------------------------------------------------------------------------------------------

#[test]
fn a_camera_is_seen_and_what_it_is_is_told() {
    let server = server();
    let screen = Screen::play(&server.url("/cam"), &with(""));
    assert_eq!(text(&screen.until("decode-decision"), "outcome"), "software");
    let connected = screen.until("source-connected");
    assert_eq!(text(&connected, "uri"), server.url("/cam"));
    assert_eq!((number(&connected, "session"), number(&connected, "outage")), (0, 0));
    assert_flows(&screen);
}

#[test]
fn the_video_is_taken_also_where_the_sound_comes_first() {
    let server = Server::start(&["--mount", "/cam=audio-first"]);
    assert_flows(&Screen::play(&server.url("/cam"), &with("")));
}

#[test]
fn a_camera_without_a_video_stops_its_feed_and_says_so_once() {
    let server = Server::start(&["--mount", "/cam=audio"]);
    let screen = Screen::play(&server.url("/cam"), &with(""));
    let stopped = screen.until("feed-stopped");
    assert_eq!(text(&stopped, "reason"), "fatal");
    assert!(text(&stopped, "detail").starts_with("no-video: "), "{stopped:?}");
    screen.until_eos();
    screen.finish();
    assert_eq!((screen.count("feed-stopped"), screen.count("source-reconnecting")), (1, 0));
}

#[test]
fn a_camera_with_a_huge_picture_stops_its_feed_before_it_is_decoded() {
    let server = Server::start(&["--mount", "/cam=big"]);
    let screen = Screen::play(&server.url("/cam"), &with("max-height=2160"));
    let stopped = screen.until("feed-stopped");
    assert_eq!(text(&stopped, "reason"), "fatal");
    assert!(text(&stopped, "detail").contains("max-"), "{stopped:?}");
    assert_eq!(screen.stat::<u64>("received"), 0);
}

#[test]
fn a_camera_that_has_moved_is_followed() {
    let server = server();
    let old = Server::start(&["--redirect-to", &server.url("/cam")]);
    assert_flows(&Screen::play(&old.url("/cam"), &with("")));
}

// --- Transport -------------------------------------------------------------------------------------------------

#[test]
fn a_camera_is_seen_over_udp_and_over_whatever_it_offers() {
    let server = server();
    for transport in ["udp", "auto"] {
        assert_flows(&Screen::play(&server.url("/cam"), &with(&format!("transport={transport}"))));
    }
}

#[test]
fn a_transport_that_the_camera_does_not_offer_is_a_failure_with_a_reason() {
    let server = Server::start(&["--mount", "/cam=jpeg", "--tcp-only"]);
    assert_flows(&Screen::play(&server.url("/cam"), &with("transport=auto")));
    let screen = Screen::play(&server.url("/cam"), &with("transport=udp"));
    let stopped = screen.until("feed-stopped");
    assert_eq!(text(&stopped, "reason"), "fatal");
    assert!(text(&stopped, "detail").contains("transport"), "{stopped:?}");
}

// --- Passwords -------------------------------------------------------------------------------------------------

#[test]
fn a_camera_with_a_password_is_seen_with_that() {
    for auth in ["basic", "digest"] {
        let server = Server::start(&[&GUARDED[..], &["--auth", auth]].concat());
        let uri = server.url("/cam").replace("://", "://user:right@");
        assert_flows(&Screen::play(&uri, &with("")));
        assert_flows(&Screen::play(&server.url("/cam"), &with("user-id=user user-pw=right")));
    }
}

#[test]
fn a_password_that_is_refused_is_not_tried_over_and_over() {
    for auth in ["basic", "digest"] {
        let server = Server::start(&[&GUARDED[..], &["--auth", auth]].concat());
        let relay = Relay::to(server.port());
        let slow = "reconnect-max-delay=20000000000 user-id=user user-pw=wrong";
        let screen = Screen::play(&relay.url("/cam"), &with(slow));
        assert_eq!(text(&screen.until("source-disconnected"), "reason"), "unauthorized");
        let next = screen.until("source-reconnecting");
        assert_eq!((text(&next, "reason"), number(&next, "delay")), ("unauthorized".into(), 20_000_000_000));
        // A question and its answer, each with the password once more.
        let requests = relay.requests();
        assert!((1..=6).contains(&requests), "{auth}: {requests} requests");
        screen.stop_at_once();
    }
}

#[test]
fn a_camera_with_a_password_refuses_who_has_none() {
    let server = Server::start(&GUARDED);
    let screen = Screen::play(&server.url("/cam"), &with(""));
    assert_eq!(text(&screen.until("source-disconnected"), "reason"), "unauthorized");
}

// --- Reasons ---------------------------------------------------------------------------------------------------

/// Plays what cannot be had; the reason and the details of the first failure, and that the attempts go on.
#[track_caller]
fn failure(uri: &str, properties: &str) -> (String, String) {
    let screen = Screen::play(uri, &with(properties));
    let lost = screen.until("source-disconnected");
    let next = screen.until("source-reconnecting");
    assert_eq!((number(&next, "attempt"), text(&next, "reason")), (1, text(&lost, "reason")));
    assert_eq!(text(&lost, "uri"), uri);
    screen.stop_at_once();
    (text(&lost, "reason"), text(&lost, "detail"))
}

#[track_caller]
fn assert_failure(uri: &str, properties: &str, reason: &str) {
    let found = failure(uri, properties);
    assert_eq!(found.0, reason, "{found:?}");
    assert!(!found.1.is_empty());
}

#[test]
fn nobody_there_is_unreachable() {
    let dead = dead_port();
    assert_failure(&format!("rtsp://127.0.0.1:{}/cam", dead.port()), "", "unreachable");
}

#[test]
fn a_name_without_an_address_is_unresolvable() {
    // No resolver knows names of that top level: RFC 6761.
    assert_failure("rtsp://camera.invalid/cam", "", "unresolvable");
}

#[test]
fn a_stream_that_the_camera_does_not_have_is_not_found() {
    assert_failure(&server().url("/none"), "", "not-found");
}

#[test]
fn a_port_without_encryption_is_a_failure_of_tls_for_who_wants_some() {
    let server = server();
    let url = server.url("/cam").replace("rtsp:", "rtsps:");
    assert_failure(&url, "liveness-timeout=2000000000", "tls");
}

#[test]
fn a_port_with_encryption_is_a_failure_for_who_wants_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::self_signed(folder.path());
    let server = Server::start(&[&["--mount", "/cam=jpeg"], &certificate.arguments()[..]].concat());
    let found = failure(&server.url("/cam").replace("rtsps:", "rtsp:"), "");
    assert!(["unreachable", "ended", "failed"].contains(&found.0.as_str()), "{found:?}");
}

#[test]
fn who_never_answers_is_out_of_time() {
    let hole = black_hole();
    let url = format!("rtsp://127.0.0.1:{}/cam", hole.port());
    assert_failure(&url, "liveness-timeout=1000000000", "timeout");
    let heard = hole.heard();
    assert!(heard.iter().any(|bytes| bytes.starts_with(b"OPTIONS ")), "{heard:?}");
}

#[test]
fn attempts_end_where_they_are_limited() {
    let dead = dead_port();
    let url = format!("rtsp://127.0.0.1:{}/cam", dead.port());
    let screen = Screen::play(&url, &with("reconnect-max-attempts=2"));
    let stopped = screen.until("feed-stopped");
    assert_eq!(text(&stopped, "reason"), "restart-limit");
    assert!(text(&stopped, "detail").contains("unreachable"), "{stopped:?}");
    screen.until_eos();
    screen.finish();
    assert_eq!((screen.count("source-reconnecting"), screen.count("source-disconnected")), (2, 1));
    assert_eq!(screen.stat::<u64>("attempts"), 3);
}

// --- The places themselves -------------------------------------------------------------------------------------

#[test]
fn a_black_hole_hears_a_relay_passes_on_and_a_dead_port_refuses() {
    let (hole, dead) = (black_hole(), dead_port());
    let relay = Relay::to(hole.port());
    let connect = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    let port = relay.url("").rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let mut stream = connect(port).expect("taken");
    stream.write_all(b"anyone?\r\nCSeq: 1\r\n").expect("the kernel takes it");
    eventually("the relay hears", || relay.heard(), |heard| heard.ends_with("CSeq: 1\r\n"));
    assert_eq!((relay.requests(), relay.open(), relay.connections()), (1, 1, 1));
    assert_eq!(hole.heard(), [b"anyone?\r\nCSeq: 1\r\n"]);
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    eventually("it is let go of", || relay.open(), |open| *open == 0);
    let refused = connect(dead.port()).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
