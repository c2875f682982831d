//! `nvfeed` and encryption: what goes where, and what never does.

use crate::support::cameras::{Certificate, Server, black_hole};
use crate::support::relay::Relay;
use crate::support::screen::{QUICK, Screen, text};
use crate::support::{init, launch, wait_for_error};
use gst::prelude::*;
use std::path::Path;

const USER: &str = "canaryuser7531";
const PASSWORD: &str = "canarypass9642";

/// A camera behind TLS whose certificate is in that folder.
fn encrypted(folder: &Path, arguments: &[&str]) -> (Server, Certificate) {
    let certificate = Certificate::self_signed(folder);
    let server = Server::start(&[arguments, &certificate.arguments()].concat());
    (server, certificate)
}

fn trusting(certificate: &Certificate) -> String {
    format!("{QUICK} tls-database={}", certificate.certificate.display())
}

fn credentials() -> String {
    format!("user-id={USER} user-pw={PASSWORD}")
}

/// Neither the credentials nor what is made of them.
#[track_caller]
fn assert_hears_no_credentials(heard: &str) {
    let basic = glib::base64_encode(format!("{USER}:{PASSWORD}").as_bytes());
    for secret in [USER, PASSWORD, "Authorization", "Digest", basic.as_str()] {
        assert!(!heard.contains(secret), "{heard}");
    }
}

#[test]
fn a_certificate_that_nobody_signed_is_refused_and_the_message_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, _) = encrypted(folder.path(), &["--mount", "/cam=jpeg"]);
    let screen = Screen::play(&server.url("/cam"), &format!("{QUICK} reconnect-max-delay=30000000000"));
    let lost = screen.until("source-disconnected");
    assert_eq!(text(&lost, "reason"), "tls");
    let detail = text(&lost, "detail");
    assert!(detail.contains("unknown-ca") && detail.contains("tls-database"), "{detail}");
    assert!(screen.take_frames().is_empty());
    screen.stop_at_once();
}

#[test]
fn a_certificate_that_the_user_trusts_is_taken_and_nothing_is_insecure() {
    let folder = tempfile::tempdir().expect("a folder");
    let guarded = ["--mount", "/cam=jpeg", "--user", USER, "--password", PASSWORD];
    let (server, certificate) = encrypted(folder.path(), &guarded);
    let screen = Screen::play(&server.url("/cam"), &format!("{} {}", trusting(&certificate), credentials()));
    screen.frames(3);
    screen.finish();
    assert_eq!((screen.count("source-connected"), screen.count("insecure-rtsp")), (1, 0));
}

#[test]
fn another_certificate_than_the_one_trusted_is_refused() {
    let folders = [(), ()].map(|()| tempfile::tempdir().expect("a folder"));
    let (server, _) = encrypted(folders[0].path(), &["--mount", "/cam=jpeg"]);
    let other = Certificate::self_signed(folders[1].path());
    let screen = Screen::play(&server.url("/cam"), &trusting(&other));
    assert_eq!(text(&screen.until("source-disconnected"), "reason"), "tls");
}

#[test]
fn encryption_that_is_preferred_is_used_where_there_is_some() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, certificate) = encrypted(folder.path(), &["--mount", "/cam=jpeg"]);
    let screen = Screen::play(&server.url("/cam").replace("rtsps:", "rtsp:"), &trusting(&certificate));
    assert_eq!(text(&screen.until("source-connected"), "uri"), server.url("/cam"));
    screen.finish();
    assert_eq!(screen.count("insecure-rtsp"), 0);
}

#[test]
fn encryption_that_is_required_refuses_every_other_address_before_it_starts() {
    for uri in
        ["rtsp://h/x", " rtsp://h/x", "RTSP://h/x", "RtSp://h/x", "rtspt://h/x", "RTSPU://h/x", "http://h/x"]
    {
        let pipeline = launch("nvfeed name=camera tls-policy=require ! fakesink");
        let feed = pipeline.by_name("camera").expect("the feed");
        feed.set_property("allowed-schemes", "rtsp,rtsps,rtspt,rtspu,http");
        feed.set_property("uri", uri);
        assert!(pipeline.set_state(gst::State::Ready).is_err(), "{uri}");
        let (element, error) = wait_for_error(&pipeline);
        assert_eq!(element, "camera");
        assert!(error.contains("tls-policy=require"), "{uri}: {error}");
        pipeline.set_state(gst::State::Null).expect("it stops");
    }
}

#[test]
fn encryption_that_is_required_is_not_given_up_for_a_redirect() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Server::start(&["--mount", "/cam=jpeg"]);
    let wire = Relay::to(target.port());
    let (server, certificate) = encrypted(folder.path(), &["--redirect-to", &wire.url("/cam")]);
    let properties = format!("{} tls-policy=require", trusting(&certificate));
    let screen = Screen::play(&server.url("/cam"), &properties);
    let lost = screen.until("source-disconnected");
    assert_eq!(text(&lost, "reason"), "insecure");
    assert!(text(&lost, "detail").contains(&wire.url("/cam")), "{lost:?}");
    screen.until("source-reconnecting");
    screen.stop_at_once();
    // It may try to speak TLS to it.
    assert!(!wire.heard().contains("RTSP"), "{}", wire.heard());
}

#[test]
fn credentials_never_go_in_clear_where_encryption_is_preferred() {
    let server = Server::start(&["--mount", "/cam=jpeg", "--user", USER, "--password", PASSWORD]);
    let wire = Relay::to(server.port());
    let properties = format!("{QUICK} liveness-timeout=1000000000 {}", credentials());
    let screen = Screen::play(&wire.url("/cam"), &properties);
    let lost = screen.until("source-disconnected");
    assert!(text(&lost, "detail").contains("tls-policy=allow-insecure"), "{lost:?}");
    // The third attempt has begun: two have failed.
    while screen.stat::<u64>("attempts") < 3 {
        screen.until("source-reconnecting");
    }
    screen.stop_at_once();
    assert!(wire.connections() >= 2);
    assert!(!wire.heard().is_empty());
    assert_hears_no_credentials(&wire.heard());
    assert!(screen.take_frames().is_empty());
}

#[test]
fn credentials_never_go_in_clear_to_who_never_answers() {
    let hole = black_hole();
    let uri = format!("rtsp://{USER}:{PASSWORD}@127.0.0.1:{}/cam", hole.port());
    let screen = Screen::play(&uri, &format!("{QUICK} liveness-timeout=300000000"));
    while screen.stat::<u64>("attempts") < 3 {
        screen.until("source-reconnecting");
    }
    screen.stop_at_once();
    let heard = hole.heard();
    assert!(heard.len() >= 2, "{} connections", heard.len());
    heard.iter().for_each(|bytes| assert_hears_no_credentials(&String::from_utf8_lossy(bytes)));
}

#[test]
fn without_credentials_a_camera_without_encryption_is_seen_and_said_to_be_insecure_once_a_session() {
    let mut server = Server::start(&["--mount", "/cam=jpeg"]);
    let screen = Screen::play(&server.url("/cam"), QUICK);
    assert_eq!(text(&screen.until("insecure-rtsp"), "uri"), server.url("/cam"));
    screen.frames(3);
    server.kill();
    screen.until("source-disconnected");
    server.restart();
    screen.until("insecure-rtsp");
    screen.frames(3);
    screen.finish();
    assert_eq!((screen.count("source-connected"), screen.count("insecure-rtsp")), (2, 2));
}

#[test]
fn credentials_do_not_follow_a_redirect_to_somebody_else() {
    let target =
        Server::start(&["--mount", "/cam=jpeg", "--user", USER, "--password", PASSWORD, "--auth", "basic"]);
    let wire = Relay::to(target.port());
    let server = Server::start(&["--redirect-to", &wire.url("/cam")]);
    let properties = format!("{QUICK} tls-policy=allow-insecure {}", credentials());
    let screen = Screen::play(&server.url("/cam"), &properties);
    assert_eq!(text(&screen.until("source-disconnected"), "reason"), "insecure");
    screen.until("source-reconnecting");
    screen.stop_at_once();
    assert_eq!(wire.heard(), "");
}

#[test]
fn a_file_of_trust_that_is_not_there_is_an_error_before_it_starts() {
    init();
    let screen = Screen::new("rtsps://127.0.0.1/cam", "tls-database=/nowhere/certificate.pem");
    assert!(screen.pipeline.set_state(gst::State::Ready).is_err());
    let (_, error) = wait_for_error(&screen.pipeline);
    assert!(error.contains("tls-database=/nowhere/certificate.pem"), "{error}");
}
