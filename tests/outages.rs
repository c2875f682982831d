//! `nvfeed` and cameras that die, freeze and come back.

use crate::support::cameras::{Server, black_hole, dead_port};
use crate::support::relay::Relay;
use crate::support::screen::{Frame, QUICK, Screen, frames_at, number, text};
use crate::support::{eventually, init, stat};
use gst::prelude::*;
use gstnextvision::elements::message::health_of;
use std::sync::mpsc::Receiver;

const SECOND: u64 = 1_000_000_000;

fn server() -> Server {
    Server::start(&["--mount", "/cam=jpeg"])
}

fn with(properties: &str) -> String {
    format!("{QUICK} tls-policy=allow-insecure {properties}")
}

fn facts(frame: &Frame) -> (u32, u64) {
    let facts = frame.facts.as_ref().expect("it went through a batcher");
    (facts.session, facts.seq)
}

#[test]
fn a_camera_that_dies_and_comes_back_is_one_outage_and_time_goes_on() {
    let mut server = server();
    let screen = Screen::play_batched(&server.url("/cam"), &with(""));
    let mut frames = screen.frames(5);
    for round in 1..=2 {
        server.kill();
        let lost = screen.until("source-disconnected");
        assert_eq!(text(&lost, "reason"), "ended");
        screen.until("source-reconnecting");
        frames.extend(screen.take_frames());
        server.restart();
        let connected = screen.until("source-connected");
        assert_eq!(number(&connected, "session"), round);
        assert!(number(&connected, "outage") > 0 && number(&connected, "attempts") > 0, "{connected:?}");
        let first = screen.frame();
        assert!(first.is_discont);
        assert_eq!(u64::from(facts(&first).0), round);
        frames.push(first);
        frames.extend(screen.frames(5));
    }
    screen.finish();
    let counts = ["source-connected", "source-disconnected", "feed-stopped"].map(|name| screen.count(name));
    assert_eq!(counts, [3, 2, 1]);
    assert!(frames.is_sorted_by(|one, next| one.running_time < next.running_time), "{frames:#?}");
    assert!(frames.is_sorted_by(|one, next| facts(one).1 + 1 == facts(next).1), "{frames:#?}");
    let disconts = frames.iter().skip(1).filter(|frame| frame.is_discont).count();
    assert_eq!(disconts, 2);
}

#[test]
fn a_camera_that_freezes_and_thaws_in_time_is_a_stall_and_no_new_session() {
    let server = server();
    let late = "stall-timeout=1000000000 reconnect-base-delay=50000000000 reconnect-max-delay=50000000000";
    let screen = Screen::play_batched(&server.url("/cam"), &with(late));
    let mut frames = screen.frames(5);
    screen.until("source-connected");
    server.freeze();
    let lost = screen.until("source-disconnected");
    assert_eq!(text(&lost, "reason"), "stalled");
    frames.extend(screen.take_frames());
    let last = frames.last().expect("frames came").running_time;
    // The promise is stall-timeout + 1 s; the rest is for busy machines.
    let silence = lost.running_time.expect("there is a clock") - last;
    assert!((SECOND / 2..4 * SECOND).contains(&silence), "{silence}");
    screen.until_status("stalled");
    server.thaw();
    let connected = screen.until("source-connected");
    assert_eq!(number(&connected, "session"), 0);
    assert!(number(&connected, "outage") >= SECOND, "{connected:?}");
    let frames = screen.frames(5);
    assert!(frames.iter().all(|frame| facts(frame).0 == 0), "{frames:?}");
    assert_eq!(screen.stat::<u64>("attempts"), 1);
    screen.finish();
    assert_eq!((screen.count("source-connected"), screen.count("source-disconnected")), (2, 1));
}

#[test]
fn a_camera_that_stays_frozen_is_replaced_once_it_is_back() {
    let mut server = server();
    let screen = Screen::play_batched(
        &server.url("/cam"),
        &with("stall-timeout=1000000000 liveness-timeout=2000000000"),
    );
    screen.frames(5);
    server.freeze();
    assert_eq!(text(&screen.until("source-disconnected"), "reason"), "stalled");
    screen.until_status("connecting");
    screen.take_frames();
    server.restart();
    let connected = screen.until("source-connected");
    eventually("another session", || facts(&screen.frame()).0, |session| *session == 1);
    assert!(number(&connected, "attempts") > 0);
    screen.stop_at_once();
}

#[test]
fn packets_that_are_lost_cost_their_frames_and_nothing_else() {
    let lossy = "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=64,framerate=30/1 ! jpegenc ! \
        rtpjpegpay mtu=300 ! identity drop-probability=0.1 ! rtpjitterbuffer latency=50 ! rtpjpegdepay";
    let screen = Screen::new("", &with("allow-custom-pipeline=true"));
    screen.feed.set_property("custom-pipeline", lossy);
    screen.pipeline.set_state(gst::State::Playing).expect("it plays");
    let frames = screen.frames(30);
    assert!(frames.is_sorted_by(|one, next| one.running_time < next.running_time), "{frames:#?}");
    screen.finish();
    assert_eq!((screen.count("source-connected"), screen.count("source-disconnected")), (1, 0));
}

// --- Stopping --------------------------------------------------------------------------------------------------

#[test]
fn it_stops_at_once_while_it_connects_to_who_never_answers() {
    for policy in ["allow-insecure", "prefer"] {
        let hole = black_hole();
        let url = format!("rtsp://127.0.0.1:{}/cam", hole.port());
        let screen = Screen::play(&url, &format!("{QUICK} tls-policy={policy}"));
        screen.until_status("connecting");
        screen.stop_at_once();
    }
}

#[test]
fn it_stops_at_once_while_its_camera_is_frozen() {
    let server = server();
    let screen = Screen::play(&server.url("/cam"), &with(""));
    screen.frames(3);
    server.freeze();
    screen.stop_at_once();
}

#[test]
fn it_stops_at_once_while_it_lets_go_of_a_frozen_camera() {
    let server = server();
    let screen =
        Screen::play(&server.url("/cam"), &with("stall-timeout=1000000000 liveness-timeout=1000000000"));
    screen.frames(3);
    server.freeze();
    screen.until("source-disconnected");
    screen.until_status("connecting");
    screen.stop_at_once();
}

#[test]
fn it_stops_at_once_while_it_backs_off() {
    let dead = dead_port();
    let url = format!("rtsp://127.0.0.1:{}/cam", dead.port());
    let late = "reconnect-base-delay=50000000000 reconnect-max-delay=50000000000";
    let screen = Screen::play(&url, &with(late));
    screen.until_status("backing-off");
    screen.stop_at_once();
}

#[test]
fn it_stops_at_once_while_it_is_paused() {
    let server = server();
    let screen = Screen::play(&server.url("/cam"), &with(""));
    screen.frames(3);
    (0..2).for_each(|_| screen.feed.set_property("pause", true));
    screen.until_status("paused");
    screen.stop_at_once();
}

// --- What the user asks ----------------------------------------------------------------------------------------

#[test]
fn a_camera_is_let_go_of_in_a_pause_and_comes_back_as_another_session() {
    let server = server();
    let relay = Relay::to(server.port());
    let screen = Screen::play_batched(&relay.url("/cam"), &with(""));
    assert_eq!(facts(&screen.frames(3)[2]).0, 0);
    assert_eq!(relay.open(), 1);
    screen.feed.set_property("pause", true);
    eventually("the connection is let go of", || relay.open(), |open| *open == 0);
    screen.until_status("paused");
    screen.take_frames();
    screen.feed.set_property("pause", false);
    eventually("another session", || facts(&screen.frame()).0, |session| *session == 1);
    screen.finish();
    // A pause is no outage.
    assert_eq!((screen.count("source-connected"), screen.count("source-disconnected")), (2, 0));
}

#[test]
fn a_feed_that_is_stopped_says_so_once_and_ends() {
    let server = server();
    let screen = Screen::play(&server.url("/cam"), &with(""));
    screen.frames(3);
    (0..2).for_each(|_| screen.feed.emit_by_name::<()>("stop", &[]));
    assert_eq!(text(&screen.until("feed-stopped"), "reason"), "user-requested");
    screen.until_eos();
    screen.until_status("stopped");
    screen.finish();
    assert_eq!((screen.count("feed-stopped"), screen.count("source-disconnected")), (1, 0));
}

#[test]
fn a_feed_that_is_restarted_flows_again_also_after_a_stop() {
    let server = server();
    let screen = Screen::play_batched(&server.url("/cam"), &with("on-end=stop"));
    screen.frames(3);
    screen.feed.emit_by_name::<()>("restart", &[]);
    assert_eq!(text(&screen.until("feed-restarting"), "reason"), "user-requested");
    eventually("another session", || facts(&screen.frame()).0, |session| *session == 1);
    screen.feed.emit_by_name::<()>("stop", &[]);
    screen.until("feed-stopped");
    screen.take_frames();
    screen.feed.emit_by_name::<()>("restart", &[]);
    eventually("another session", || facts(&screen.frame()).0, |session| *session == 2);
    screen.finish();
    assert_eq!((screen.count("source-disconnected"), screen.count("feed-restarting")), (0, 2));
}

#[test]
fn a_stop_while_it_backs_off_is_the_end_of_it() {
    let dead = dead_port();
    let url = format!("rtsp://127.0.0.1:{}/cam", dead.port());
    let late = "reconnect-base-delay=50000000000 reconnect-max-delay=50000000000";
    let screen = Screen::play(&url, &with(late));
    screen.until_status("backing-off");
    screen.feed.emit_by_name::<()>("stop", &[]);
    assert_eq!(text(&screen.until("feed-stopped"), "reason"), "user-requested");
    screen.until_eos();
    screen.finish();
    assert_eq!((screen.count("feed-stopped"), screen.stat::<u64>("attempts")), (1, 1));
}

#[test]
fn restarts_one_upon_another_of_a_frozen_camera_end_in_one_that_flows() {
    let server = server();
    let screen = Screen::play(&server.url("/cam"), &with("liveness-timeout=2000000000"));
    screen.frames(3);
    server.freeze();
    for _ in 0..20 {
        screen.feed.emit_by_name::<()>("restart", &[]);
        screen.until_status("connecting");
    }
    screen.take_frames();
    server.thaw();
    let frames = screen.frames(10);
    assert!(frames.is_sorted_by(|one, next| one.running_time < next.running_time), "{frames:#?}");
    eventually("no source is left over", || screen.stat::<u64>("sources-ending"), |open| *open == 0);
    screen.stop_at_once();
}

#[test]
fn another_address_is_played_after_ready() {
    let (one, mut other) = (server(), server());
    let screen = Screen::play_batched(&one.url("/cam"), &with(""));
    screen.frames(3);
    screen.pipeline.set_state(gst::State::Ready).expect("it stops");
    screen.take_frames();
    screen.feed.set_property("uri", other.url("/cam"));
    screen.pipeline.set_state(gst::State::Playing).expect("it plays");
    screen.frames(3);
    other.kill();
    assert_eq!(text(&screen.until("source-disconnected"), "uri"), other.url("/cam"));
    screen.stop_at_once();
}

// --- Many ------------------------------------------------------------------------------------------------------

/// Some feeds in one batch, each behind an un-batcher again.
struct Wall {
    pipeline: gst::Pipeline,
    batcher: gst::Element,
    unbatcher: gst::Element,
}

struct Tile {
    feed: gst::Element,
    pad: gst::Pad,
    src: gst::Pad,
    sink: gst::Element,
    frames: Receiver<Frame>,
}

impl Wall {
    fn new() -> Self {
        init();
        let make = |factory| gst::ElementFactory::make(factory).build().expect("a registered element");
        let (batcher, unbatcher, pipeline) = (make("nvbatcher"), make("nvunbatcher"), gst::Pipeline::new());
        pipeline.add_many([&batcher, &unbatcher]).expect("new elements");
        batcher.link(&unbatcher).expect("they link");
        Self { pipeline, batcher, unbatcher }
    }

    fn add(&self, number: u32, uri: &str) -> Tile {
        let feed = gst::ElementFactory::make("nvfeed")
            .name(format!("feed{number}"))
            .property("uri", uri)
            .property_from_str("tls-policy", "allow-insecure")
            .property("reconnect-base-delay", SECOND / 10)
            .property("reconnect-max-delay", SECOND / 2)
            .build()
            .expect("a registered element");
        let sink =
            gst::ElementFactory::make("fakesink").property("async", false).property("sync", false).build();
        let sink = sink.expect("an element of GStreamer");
        self.pipeline.add_many([&feed, &sink]).expect("new elements");
        let pad = self.batcher.request_pad_simple(&format!("sink_{number}")).expect("a pad for another feed");
        let src =
            self.unbatcher.request_pad_simple(&format!("src_{number}")).expect("a pad for another feed");
        let sink_pad = sink.static_pad("sink").expect("a pad");
        let frames = frames_at(&sink_pad);
        src.link(&sink_pad).expect("they link");
        feed.static_pad("src").expect("a pad").link(&pad).expect("they link");
        sink.sync_state_with_parent().expect("it plays");
        feed.sync_state_with_parent().expect("it plays");
        Tile { feed, pad, src, sink, frames }
    }

    /// Removes it as an application does whose camera is gone for good.
    fn remove(&self, tile: Tile) {
        tile.feed.static_pad("src").expect("a pad").unlink(&tile.pad).expect("they are linked");
        self.batcher.release_request_pad(&tile.pad);
        self.unbatcher.release_request_pad(&tile.src);
        for element in [&tile.feed, &tile.sink] {
            element.set_state(gst::State::Null).expect("it stops");
            self.pipeline.remove(element).expect("it is there");
        }
    }

    /// Waits until that feed tells of that.
    fn until(&self, feed_id: &str, event: &str) {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        loop {
            let message = bus.timed_pop(crate::support::PATIENCE).unwrap_or_else(|| panic!("no {event}"));
            assert!(
                !matches!(message.type_(), gst::MessageType::Error | gst::MessageType::Warning),
                "{message:?}"
            );
            let Some(health) = health_of(&message) else { continue };
            let health = health.expect("a well-formed health message");
            if health.feed_id.as_deref() == Some(feed_id) && health.event.name() == event {
                return;
            }
        }
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

impl Tile {
    /// The numbers of the next frames.
    fn seqs(&self, count: usize) -> Vec<u64> {
        let next = |_| facts(&self.frames.recv_timeout(crate::support::PATIENCE.into()).expect("a frame")).1;
        (0..count).map(next).collect()
    }

    /// All its frames have come out, in order, and in one session.
    fn assert_undisturbed(&self, seqs: &[u64]) {
        assert!(seqs.is_sorted_by(|one, next| one + 1 == *next) && seqs.first() == Some(&0), "{seqs:?}");
        assert_eq!((stat(&self.feed, "connections"), stat(&self.feed, "dropped")), (1, 0));
    }
}

#[test]
fn of_three_cameras_the_one_that_dies_costs_the_others_nothing() {
    let (healthy, mut mortal) = (server(), server());
    let wall = Wall::new();
    let urls = [&healthy, &mortal, &healthy].map(|server| server.url("/cam"));
    let [first, doomed, third] = [0, 1, 2].map(|number| wall.add(number, &urls[number as usize]));
    wall.pipeline.set_state(gst::State::Playing).expect("it plays");
    let mut seqs = [&first, &doomed, &third].map(|tile| tile.seqs(5));
    mortal.kill();
    wall.until("feed1", "source-reconnecting");
    seqs[0].extend(first.seqs(10));
    seqs[2].extend(third.seqs(10));
    // In the midst of its attempts.
    wall.remove(doomed);
    let fourth = wall.add(3, &healthy.url("/cam"));
    assert_eq!(fourth.seqs(5), [0, 1, 2, 3, 4]);
    seqs[0].extend(first.seqs(10));
    seqs[2].extend(third.seqs(10));
    first.assert_undisturbed(&seqs[0]);
    third.assert_undisturbed(&seqs[2]);
    let again = wall.add(1, &healthy.url("/cam"));
    again.seqs(3);
    wall.pipeline.set_state(gst::State::Null).expect("it stops");
}
