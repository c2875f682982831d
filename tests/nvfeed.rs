//! `nvfeed` on files: what comes out, when it ends, and what it says of files that are no good.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use crate::support::{PATIENCE, assert_ledger, clip, facts, health, init, stat, tiny_model};
use gst::prelude::*;
use gst_app::AppSink;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::{Event, Message};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Frames of a made clip, and how long each lasts.
const FRAMES: u64 = 20;
const PERIOD: u64 = 40_000_000;

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Runs a pipeline that makes a file.
fn make(description: &str) {
    init();
    let pipeline = gst::parse::launch(description).expect(description);
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    crate::support::run_to_eos(&pipeline);
}

/// A short clip of that size, without sound.
fn clip_of(folder: &Path, width: u32, height: u32) -> PathBuf {
    let path = folder.join(format!("{width}x{height}.avi"));
    make(&format!(
        "videotestsrc num-buffers={FRAMES} pattern=ball ! video/x-raw,format=I420,width={width},height={height},\
         framerate=25/1 ! jpegenc ! avimux ! filesink location={}",
        path.display()
    ));
    path
}

/// A feed and somebody who takes its frames.
struct Bench {
    pipeline: gst::Pipeline,
    feed: gst::Element,
    sink: AppSink,
}

impl Bench {
    fn new(uri: &str) -> Self {
        init();
        let feed = gst::ElementFactory::make("nvfeed").name("camera").build().expect("a registered element");
        if !uri.is_empty() {
            feed.set_property("uri", uri);
        }
        let sink = AppSink::builder().sync(false).max_buffers(2).build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&feed, sink.upcast_ref()]).expect("new elements");
        feed.link(&sink).expect("they link");
        Self { pipeline, feed, sink }
    }

    fn of(path: &Path) -> Self {
        Self::new(&uri(path))
    }

    fn with(self, name: &str, value: impl ToValue) -> Self {
        self.feed.set_property(name, value.to_value());
        self
    }

    fn play(self) -> Self {
        self.pipeline.set_state(gst::State::Playing).expect("the pipeline plays");
        self
    }

    /// The next frame; `None` at the end.
    fn pull(&self) -> Option<gst::Sample> {
        let sample = self.sink.try_pull_sample(PATIENCE);
        assert!(sample.is_some() || self.sink.is_eos(), "no frame in {PATIENCE}");
        sample
    }

    fn pull_all(&self) -> Vec<gst::Sample> {
        std::iter::from_fn(|| self.pull()).collect()
    }

    /// The next health message of that kind, and those before it.
    fn until(&self, kind: &str) -> Vec<Message> {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let mut messages = Vec::new();
        loop {
            let message =
                bus.timed_pop_filtered(PATIENCE, &TOLD).unwrap_or_else(|| panic!("no {kind}: {messages:?}"));
            assert_eq!(message.type_(), gst::MessageType::Element, "{message:?}");
            let Some(health) = health_of(&message) else { continue };
            messages.push(health.expect("a well-formed health message"));
            if messages.last().is_some_and(|last| last.event.name() == kind) {
                return messages;
            }
        }
    }

    /// Stops; what was said until then, none of it an error or a warning of the pipeline.
    fn stop(&self) -> Vec<Message> {
        // In NULL a pipeline forgets what nobody has taken off its bus.
        self.pipeline.set_state(gst::State::Ready).expect("the pipeline stops");
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let (mut messages, mut faults) = (Vec::new(), Vec::new());
        while let Some(message) = bus.pop() {
            match message.type_() {
                gst::MessageType::Error | gst::MessageType::Warning => faults.push(message),
                _ => {
                    messages.extend(health_of(&message).map(|health| health.expect("a well-formed message")));
                }
            }
        }
        assert!(faults.is_empty(), "{faults:?}");
        self.pipeline.set_state(gst::State::Null).expect("the pipeline stops");
        // Whoever was pushing has come back by now.
        assert_ledger_of(&self.feed);
        messages
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

/// What a pipeline with a feed may be told, of what a test waits for.
const TOLD: [gst::MessageType; 3] =
    [gst::MessageType::Element, gst::MessageType::Error, gst::MessageType::Warning];

/// `received = delivered + dropped`.
fn assert_ledger_of(feed: &gst::Element) {
    assert_eq!(stat(feed, "received"), stat(feed, "delivered") + stat(feed, "dropped"));
}

fn names(messages: &[Message]) -> Vec<&'static str> {
    messages.iter().map(|message| message.event.name()).collect()
}

fn running_time(sample: &gst::Sample) -> u64 {
    let segment = sample.segment().expect("a segment").downcast_ref::<gst::ClockTime>().expect("in time");
    let pts = sample.buffer().and_then(gst::BufferRef::pts).expect("a PTS");
    segment.to_running_time(pts).expect("within the segment").nseconds()
}

/// Running times follow each other without a hole and never go back.
fn assert_continuous(times: &[u64]) {
    for pair in times.windows(2) {
        let step = pair[1].checked_sub(pair[0]).expect("never back");
        assert!(step.abs_diff(PERIOD) <= PERIOD / 4, "a step of {step} ns after {}", pair[0]);
    }
}

fn is_discont(sample: &gst::Sample) -> bool {
    sample.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::DISCONT))
}

fn stop_reason(messages: &[Message]) -> (String, String) {
    let mut stops = messages.iter().filter_map(|message| match &message.event {
        Event::FeedStopped(stopped) => Some((stopped.reason.clone(), stopped.detail.clone())),
        _ => None,
    });
    let stop = stops.next().expect("feed-stopped");
    assert_eq!(stops.next(), None, "it is said once");
    stop
}

// --- Files that are well ---------------------------------------------------------------------------------------

#[test]
fn a_file_gives_all_its_frames_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::of(&clip_of(folder.path(), 64, 48)).play();
    let samples = bench.pull_all();
    assert_eq!(samples.len() as u64, FRAMES);
    assert_continuous(&samples.iter().map(running_time).collect::<Vec<_>>());
    let messages = bench.until("feed-stopped");
    assert_eq!(names(&messages), ["decode-decision", "source-connected", "source-eos", "feed-stopped"]);
    assert_eq!(stop_reason(&messages), ("end-of-stream".to_owned(), String::new()));
    assert_eq!(names(&bench.stop()), [""; 0]);
}

#[test]
fn a_looped_file_goes_on_without_a_hole_in_one_session() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::of(&clip_of(folder.path(), 64, 48)).with("loop", true).play();
    let times: Vec<_> = (0..FRAMES * 4).map(|_| running_time(&bench.pull().unwrap())).collect();
    assert_continuous(&times);
    assert_eq!(stat_of(&bench.feed, "session"), 0);
    bench.feed.set_property("loop", false);
    let rest: Vec<_> = bench.pull_all().iter().map(running_time).collect();
    assert_continuous(&[&times[times.len() - 1..], &rest].concat());
    assert_eq!((times.len() + rest.len()) as u64 % FRAMES, 0);
    assert_eq!(stop_reason(&bench.until("feed-stopped")).0, "end-of-stream");
}

fn stat_of(feed: &gst::Element, field: &str) -> u32 {
    feed.property::<gst::Structure>("stats").get(field).expect(field)
}

#[test]
fn a_looped_feed_among_others_keeps_its_numbers_and_ends_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = uri(&clip_of(folder.path(), 64, 48));
    init();
    let model = tiny_model("brightest");
    let pipeline = crate::support::launch(&format!(
        "nvbatcher name=b ! nvinference model={model} ! nvunbatcher name=u \
         nvfeed name=one uri={path} loop=true feed-id=door ! b.sink_0 \
         nvfeed name=other uri={path} loop=true ! b.sink_1 \
         u.src_0 ! appsink name=s0 sync=false max-buffers=2 u.src_1 ! appsink name=s1 sync=false max-buffers=2"
    ));
    let sink = |name| pipeline.by_name(name).unwrap().downcast::<AppSink>().unwrap();
    let (first, second) = (sink("s0"), sink("s1"));
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut last: Option<(u64, u64)> = None;
    let mut check = |sample: &gst::Sample| {
        let (time, found) = (running_time(sample), facts(sample));
        assert_eq!((found.feed_id.as_str(), found.session), ("door", 0));
        if let Some((before, seq)) = last {
            assert_eq!(found.seq, seq + 1);
            assert_continuous(&[before, time]);
        }
        last = Some((time, found.seq));
    };
    let pull = |sink: &AppSink| sink.try_pull_sample(PATIENCE);
    for _ in 0..FRAMES * 3 {
        check(&pull(&first).expect("a frame"));
        pull(&second).expect("a frame of the other");
    }
    pipeline.by_name("one").unwrap().set_property("loop", false);
    while let Some(sample) = pull(&first) {
        check(&sample);
        pull(&second).expect("the other goes on");
    }
    assert!(first.is_eos() && !second.is_eos());
    for _ in 0..FRAMES {
        pull(&second).expect("the other goes on alone");
    }
    pipeline.set_state(gst::State::Ready).unwrap();
    let messages = health(&pipeline);
    let of_door: Vec<_> = messages
        .iter()
        .filter(|m| m.feed_id.as_deref() == Some("door") && m.element == "one")
        .cloned()
        .collect();
    assert_eq!(names(&of_door), ["decode-decision", "source-connected", "source-eos", "feed-stopped"]);
    assert_ledger(&pipeline.by_name("b").unwrap());
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_file_that_restarts_at_its_end_is_another_session_and_time_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::of(&clip_of(folder.path(), 64, 48)).with("reconnect-base-delay", 100_000_000_u64);
    bench.feed.set_property_from_str("on-end", "restart");
    let bench = bench.play();
    let samples: Vec<_> = (0..FRAMES * 3).map(|_| bench.pull().unwrap()).collect();
    let times: Vec<_> = samples.iter().map(running_time).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    for session in [1, 2] {
        assert!(is_discont(&samples[usize::try_from(FRAMES * session).unwrap()]));
    }
    assert_eq!(stat_of(&bench.feed, "session"), 2);
    let told = bench.stop();
    let ends = told.iter().filter(|message| message.event.name() == "source-eos");
    assert!(ends.map(|message| message.burst.count).sum::<u64>() >= 2, "{told:?}");
    assert_eq!(stop_reason(&told).0, "user-requested");
}

#[test]
fn a_feed_that_stops_at_its_end_sends_no_eos() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::of(&clip_of(folder.path(), 64, 48));
    bench.feed.set_property_from_str("on-end", "stop");
    let bench = bench.play();
    for _ in 0..FRAMES {
        bench.pull().unwrap();
    }
    assert_eq!(stop_reason(&bench.until("feed-stopped")).0, "end-of-stream");
    assert!(!bench.sink.is_eos() && bench.sink.try_pull_sample(gst::ClockTime::from_mseconds(50)).is_none());
    // As who wants to end the whole pipeline does.
    assert!(bench.pipeline.send_event(gst::event::Eos::new()));
    assert!(bench.pull().is_none());
}

#[test]
fn a_video_is_taken_although_sound_comes_first_and_sound_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.avi");
    make(&format!(
        "avimux name=m ! filesink location={} audiotestsrc num-buffers=20 ! audio/x-raw,rate=8000,channels=1 ! m. \
         videotestsrc num-buffers={FRAMES} ! video/x-raw,width=64,height=48,framerate=25/1 ! jpegenc ! m.",
        path.display()
    ));
    let bench = Bench::of(&path).play();
    assert_eq!(bench.pull_all().len() as u64, FRAMES);
}

#[test]
fn a_paused_file_gives_nothing_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::of(&clip_of(folder.path(), 64, 48)).play();
    let mut times = vec![running_time(&bench.pull().unwrap())];
    bench.feed.set_property("pause", true);
    bench.wait_for_status("paused");
    while let Some(sample) = bench.sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) {
        times.push(running_time(&sample));
    }
    assert!((times.len() as u64) < FRAMES, "it was held before its end");
    bench.feed.set_property("pause", false);
    times.extend(bench.pull_all().iter().map(running_time));
    assert_eq!(times.len() as u64, FRAMES);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    assert_eq!(stop_reason(&bench.until("feed-stopped")).0, "end-of-stream");
}

impl Bench {
    fn wait_for_status(&self, nick: &str) {
        crate::support::eventually(nick, || nick_of(&self.feed), |found| found == nick);
    }
}

fn nick_of(feed: &gst::Element) -> String {
    let value = feed.property_value("status");
    glib::EnumValue::from_value(&value).expect("an enumeration").1.nick().to_owned()
}

#[test]
fn actions_stop_a_feed_and_start_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::of(&clip_of(folder.path(), 64, 48)).with("loop", true).play();
    bench.pull().unwrap();
    bench.feed.emit_by_name::<()>("stop", &[]);
    bench.pull_all();
    assert_eq!(stop_reason(&bench.until("feed-stopped")).0, "user-requested");
    bench.feed.emit_by_name::<()>("restart", &[]);
    bench.until("source-connected");
    // The sink has ended with the first stream; only what the feed sends is looked at.
    assert_eq!(stat_of(&bench.feed, "session"), 1);
}

/// The handler runs in the thread that supervises the feed.
#[test]
fn a_feed_stopped_and_started_by_who_is_told_its_status_is_supervised_by_one_thread() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::of(&clip_of(folder.path(), 64, 48)).with("loop", true);
    let (told, restarted) = std::sync::mpsc::channel();
    let once = std::sync::atomic::AtomicBool::new(true);
    bench.feed.connect_notify(Some("status"), move |feed, _| {
        let is_running = nick_of(feed) == "running";
        if is_running && once.swap(false, std::sync::atomic::Ordering::AcqRel) {
            feed.set_state(gst::State::Null).expect("it stops");
            feed.set_state(gst::State::Playing).expect("it starts");
            told.send(()).ok();
        }
    });
    let bench = bench.play();
    restarted.recv_timeout(PATIENCE.into()).expect("the handler comes back");
    bench.wait_for_status("running");
    for _ in 0..FRAMES * 2 {
        bench.pull().unwrap();
    }
    let supervisors = || crate::support::holdings::Holdings::now().threads_called("nv-feed");
    crate::support::eventually("one supervisor", supervisors, |found| *found == 1);
    assert_eq!(stat_of(&bench.feed, "session"), 1);
}

#[test]
fn a_feed_that_joins_a_playing_pipeline_is_not_late() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip_of(folder.path(), 64, 48);
    let bench = Bench::of(&path).with("loop", true).play();
    // Three passes, so that a frame at 0 would be late by all of them.
    bench.sink.set_property("sync", true);
    for _ in 0..FRAMES * 2 {
        bench.pull().unwrap();
    }
    let other = gst::ElementFactory::make("nvfeed").property("uri", uri(&path)).build().unwrap();
    let sink = AppSink::builder().sync(false).build();
    bench.pipeline.add_many([&other, sink.upcast_ref()]).unwrap();
    other.link(&sink).unwrap();
    let now = bench.pipeline.current_running_time().unwrap().nseconds();
    sink.sync_state_with_parent().unwrap();
    other.sync_state_with_parent().unwrap();
    let first = running_time(&sink.try_pull_sample(PATIENCE).expect("a frame"));
    assert!(first >= now, "{first} is before {now}");
}

// --- Files that are not ----------------------------------------------------------------------------------------

/// Plays a file that is no good beside one that is; returns what is said of the bad one.
fn spoilt(path: &Path) -> (String, String) {
    let good = tempfile::tempdir().expect("a folder");
    let neighbour = Bench::of(&clip_of(good.path(), 64, 48)).play();
    let bench = Bench::of(path).with("liveness-timeout", 2_000_000_000_u64).play();
    let messages = bench.until("feed-stopped");
    assert!(bench.pull_all().is_empty(), "it ends without a frame");
    assert_eq!(names(&messages).iter().filter(|name| **name == "source-disconnected").count(), 1);
    assert_eq!(names(&bench.stop()), [""; 0]);
    assert_eq!(neighbour.pull_all().len() as u64, FRAMES);
    stop_reason(&messages)
}

fn assert_fatal((reason, detail): (String, String), kind: &str, words: &str) {
    assert_eq!(reason, "fatal", "{detail}");
    assert!(
        detail.starts_with(kind) && detail.contains(words),
        "expected {kind} and {words:?}, found {detail}"
    );
}

#[test]
fn a_file_that_is_not_there_is_fatal() {
    assert_fatal(spoilt(Path::new("/nonexistent/clip.avi")), "not-found", "/nonexistent/clip.avi");
}

#[test]
fn a_text_called_mp4_is_fatal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.mp4");
    std::fs::write(&path, "This is a plain text, and no video at all.\n".repeat(40)).unwrap();
    assert_fatal(spoilt(&path), "unsupported", "text file");
}

#[test]
fn an_empty_file_is_fatal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.mp4");
    std::fs::write(&path, "").unwrap();
    assert_fatal(spoilt(&path), "unsupported", "no data");
}

#[test]
fn a_file_with_sound_only_is_fatal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.wav");
    make(&format!("audiotestsrc num-buffers=10 ! wavenc ! filesink location={}", path.display()));
    assert_fatal(spoilt(&path), "no-video", "audio/");
}

#[test]
fn a_file_without_its_index_is_fatal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.mp4");
    let whole = std::fs::read(clip("bikes.mp4")).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 3]).unwrap();
    assert_fatal(spoilt(&path), "decode", "no playable streams");
}

#[test]
fn a_file_that_names_other_addresses_is_fatal_and_they_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip_of(folder.path(), 64, 48);
    let list = folder.path().join("list.m3u8");
    let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", uri(&clip));
    std::fs::write(&list, text).unwrap();
    assert_fatal(spoilt(&list), "unsupported", "application/x-hls names addresses of its own");
    let session = folder.path().join("session.sdp");
    std::fs::write(
        &session,
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5000 RTP/AVP 26\r\n",
    )
    .unwrap();
    assert_fatal(spoilt(&session), "unsupported", "");
}

/// Answers every request with a redirect to `/elsewhere`; the addresses asked for.
fn redirecting_server() -> (std::net::SocketAddr, std::sync::mpsc::Receiver<String>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = std::sync::mpsc::channel();
    let serve = move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            if let Some(line) = lines.next() {
                asked.send(line).ok();
            }
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let answer = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).ok();
        }
    };
    std::thread::Builder::new().name("redirects".to_owned()).spawn(serve).unwrap();
    (address, requests)
}

#[test]
fn a_redirect_that_could_leave_the_allowed_schemes_is_not_followed() {
    let (address, requests) = redirecting_server();
    let bench = Bench::new(&format!("http://{address}/clip.mp4")).with("allowed-schemes", "http").play();
    let messages = bench.until("source-disconnected");
    let Some(Message { event: Event::SourceDisconnected(lost), .. }) = messages.last() else {
        panic!("{messages:?}")
    };
    assert_eq!(lost.reason, "insecure", "{lost:?}");
    assert!(lost.detail.contains("allowed-schemes"), "{lost:?}");
    bench.stop();
    let requests: Vec<_> = requests.try_iter().collect();
    assert!(!requests.is_empty() && requests.iter().all(|line| !line.contains("elsewhere")), "{requests:?}");
}

#[test]
fn a_file_that_breaks_off_gives_what_it_has_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip_of(folder.path(), 64, 48);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let bench = Bench::of(&path).play();
    let frames = bench.pull_all().len() as u64;
    assert!(frames > 0 && frames < FRAMES, "{frames}");
    stop_reason(&bench.until("feed-stopped"));
}

#[test]
fn a_corrupt_bitstream_costs_frames_and_no_feed() {
    let path = clip("bikes.mp4");
    let custom = format!("filesrc location={path} ! qtdemux ! breakmydata probability=0.001 seed=7");
    let bench = Bench::new("").with("custom-pipeline", &custom).with("allow-custom-pipeline", true).play();
    let frames = bench.pull_all().len();
    assert!(frames > 0, "some are left");
    let reason = stop_reason(&bench.until("feed-stopped")).0;
    assert!(["end-of-stream", "fatal", "restart-limit"].contains(&reason.as_str()), "{reason}");
    bench.stop();
}

#[test]
fn a_file_deleted_while_it_plays_goes_on_and_is_missed_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip_of(folder.path(), 64, 48);
    let bench = Bench::of(&path).with("loop", true).with("reconnect-base-delay", 100_000_000_u64).play();
    bench.pull().unwrap();
    std::fs::remove_file(&path).unwrap();
    let times: Vec<_> = (0..FRAMES * 2).map(|_| running_time(&bench.pull().unwrap())).collect();
    assert_continuous(&times);
    bench.feed.emit_by_name::<()>("restart", &[]);
    // Frames of before may still have to be taken.
    let bus = bench.pipeline.bus().unwrap();
    let mut told = Vec::new();
    while !told.iter().any(|message: &Message| message.event.name() == "source-disconnected") {
        bench.sink.try_pull_sample(gst::ClockTime::from_mseconds(1));
        told.extend(bus.pop().as_deref().and_then(health_of).map(|message| message.expect("well-formed")));
    }
    let Some(Message { event: Event::SourceDisconnected(lost), .. }) = told.last() else {
        panic!("{told:?}")
    };
    assert_eq!(lost.reason, "not-found");
    clip_of(folder.path(), 64, 48);
    bench.until("source-connected");
}

#[test]
fn a_picture_that_is_too_large_is_refused_by_name_before_a_frame_of_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip_of(folder.path(), 640, 48);
    let bench = Bench::of(&path).with("max-width", 320_u32).play();
    let messages = bench.until("feed-stopped");
    assert_fatal(stop_reason(&messages), "too-large", "expected at most 320 (max-width), found 640");
    assert!(bench.pull_all().is_empty());
    assert_eq!(stat(&bench.feed, "received"), 0);
}

#[test]
fn a_picture_that_is_larger_than_its_container_says_is_refused_where_it_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bare.jpg");
    // No container, so that the size is known to the decoder first.
    make(&format!(
        "videotestsrc num-buffers=1 ! video/x-raw,width=640,height=48 ! jpegenc ! filesink location={}",
        path.display()
    ));
    let custom = format!("multifilesrc location={} caps=image/jpeg,framerate=25/1", path.display());
    let bench = Bench::new("")
        .with("custom-pipeline", &custom)
        .with("allow-custom-pipeline", true)
        .with("max-width", 320_u32)
        .play();
    assert_fatal(stop_reason(&bench.until("feed-stopped")), "too-large", "found 640");
    assert_eq!(stat(&bench.feed, "received"), 0);
}

// --- What cannot be asked for ----------------------------------------------------------------------------------

/// The error that the change to READY ends in.
fn refusal(set: &[(&str, &str)]) -> String {
    let bench = Bench::new("");
    for (name, value) in set {
        bench.feed.set_property_from_str(name, value);
    }
    let result = bench.pipeline.set_state(gst::State::Ready);
    assert!(result.is_err(), "{set:?}");
    crate::support::wait_for_error(&bench.pipeline).1
}

#[test]
fn what_cannot_be_connected_to_is_an_error_at_ready_that_says_what_was_expected() {
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[], "expected uri="),
        (&[("uri", "/videos/a.mp4")], "expected a URI such as rtsp://camera/stream"),
        (&[("uri", "gopher://host/x")], "allowed-schemes"),
        (&[("uri", "file:///a.mp4"), ("custom-pipeline", "videotestsrc")], "uri or custom-pipeline"),
        (&[("custom-pipeline", "videotestsrc")], "allow-custom-pipeline=true"),
        (&[("custom-pipeline", "no-such-element"), ("allow-custom-pipeline", "true")], "custom-pipeline"),
        (&[("uri", "rtsps://127.0.0.1/x"), ("tls-policy", "require"), ("transport", "udp")], "expected tcp"),
        (&[("uri", "file:///a.mp4"), ("tls-database", "/nonexistent.pem")], "tls-database=/nonexistent.pem"),
    ];
    for (set, words) in cases {
        let text = refusal(set);
        assert!(text.contains(words), "{set:?}: expected {words:?} in {text}");
    }
}

#[test]
fn a_custom_pipeline_needs_one_end_and_then_flows() {
    let two = "videotestsrc ! tee name=t t. ! queue t. ! queue";
    let text = refusal(&[("custom-pipeline", two), ("allow-custom-pipeline", "true")]);
    assert!(text.contains("expected one src pad that is not linked, found 2"), "{text}");
    let bench = Bench::new("")
        .with("custom-pipeline", format!("videotestsrc num-buffers={FRAMES}"))
        .with("allow-custom-pipeline", true)
        .play();
    assert_eq!(bench.pull_all().len() as u64, FRAMES);
    assert_eq!(bench.feed.property::<String>("custom-pipeline"), "***");
}

#[test]
fn a_source_that_gives_raw_frames_at_once_starts_without_an_outage() {
    for _ in 0..20 {
        let bench = Bench::new("")
            .with("custom-pipeline", "videotestsrc num-buffers=3 ! video/x-raw,width=64,height=64 ! identity")
            .with("allow-custom-pipeline", true)
            .play();
        assert_eq!(bench.pull_all().len(), 3);
        let stats = bench.feed.property::<gst::Structure>("stats");
        assert_eq!((stats.get("attempts"), stats.get("outages")), (Ok(1_u64), Ok(0_u64)), "{stats}");
    }
}

#[test]
fn a_live_source_gives_frames_in_playing_only_and_says_its_latency() {
    let bench = Bench::new("")
        .with(
            "custom-pipeline",
            "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=25/1 ! identity",
        )
        .with("allow-custom-pipeline", true)
        .with("latency", 300_000_000_u64);
    let paused = bench.pipeline.set_state(gst::State::Paused);
    assert_eq!(paused, Ok(gst::StateChangeSuccess::NoPreroll));
    bench.wait_for_status("paused");
    let bench = bench.play();
    let first = running_time(&bench.pull().unwrap());
    let mut query = gst::query::Latency::new();
    assert!(bench.feed.static_pad("src").unwrap().query(&mut query));
    let (is_live, min, _) = query.result();
    assert!(is_live && min >= gst::ClockTime::from_mseconds(300));
    bench.pipeline.set_state(gst::State::Paused).unwrap();
    bench.wait_for_status("paused");
    let bench = bench.play();
    bench.wait_for_status("running");
    let times: Vec<_> = (0..30).map(|_| running_time(&bench.pull().unwrap())).collect();
    assert!(times[0] >= first && times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
}

#[test]
fn a_latency_beyond_all_measure_is_answered() {
    let bench = Bench::new("")
        .with("custom-pipeline", "videotestsrc is-live=true")
        .with("allow-custom-pipeline", true)
        .with("latency", u64::MAX);
    bench.pipeline.set_state(gst::State::Paused).unwrap();
    let mut query = gst::query::Latency::new();
    assert!(bench.feed.static_pad("src").unwrap().query(&mut query));
    assert!(query.result().0);
    bench.stop();
}

#[test]
fn a_feed_stops_alone_while_downstream_holds_its_frame() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody takes a frame: the sink fills up, and its streaming thread waits.
    let bench = Bench::of(&clip_of(folder.path(), 64, 48)).play();
    crate::support::eventually(
        "the sink is full",
        || stat(&bench.feed, "received"),
        |received| *received >= 3,
    );
    bench.feed.set_state(gst::State::Null).unwrap();
    bench.pipeline.remove(&bench.feed).unwrap();
}

// --- Many ------------------------------------------------------------------------------------------------------

#[test]
fn a_wall_of_files_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip_of(folder.path(), 64, 48);
    init();
    let pipeline = gst::Pipeline::new();
    for _ in 0..16 {
        let feed = gst::ElementFactory::make("nvfeed").property("uri", uri(&path)).property("loop", true);
        let (feed, sink) = (feed.build().unwrap(), gst::ElementFactory::make("fakesink").build().unwrap());
        sink.set_property("sync", true);
        pipeline.add_many([&feed, &sink]).unwrap();
        feed.link(&sink).unwrap();
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let (result, ..) = pipeline.state(PATIENCE);
    assert_eq!(result, Ok(gst::StateChangeSuccess::Success));
    let began = gstnextvision::clock::now();
    pipeline.set_state(gst::State::Null).unwrap();
    let took = gstnextvision::clock::now().since(began);
    assert!(took < Duration::from_secs(30), "{took:?}");
    crate::support::eventually(
        "the threads of the feeds end",
        || crate::support::holdings::Holdings::now().threads_of_ours(),
        |threads| *threads == 0,
    );
}
