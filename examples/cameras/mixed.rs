//! Three cameras that fail in ways of their own, and a healthy one.

use crate::support::cameras::Server;
use crate::support::{CAMERA_RATE, STOP, Scene, inference, launch, next_health, sink_pad, stop};
use crate::track::{Shared, watch};
use anyhow::{Context as _, Result, ensure};
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::health::Event;
use gstnextvision::time::Monotonic;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Least part of the frames that the healthy camera must deliver. A frame more or less is a matter of the moment of
/// counting, so that runs of less than a quarter of a minute say nothing.
const LEAST: f64 = 0.99;
/// What a report may take beyond the timeout.
const SLACK: Duration = Duration::from_secs(1);
/// Least time between two of a kind: a second, but for what it takes to read them.
const APART: Duration = Duration::from_millis(950);
/// Longest time to the first frames.
const START: Duration = Duration::from_secs(15);
/// How long the camera plays that is then frozen.
const PLAYS: Duration = Duration::from_secs(2);
/// The feeds that fail, and why.
const REASONS: [(&str, &str); 3] =
    [("frozen", "stalled"), ("locked", "unauthorized"), ("nameless", "unresolvable")];

/// When each kind of thing was said last, and the shortest time between two of them.
#[derive(Debug, Default)]
struct Pace {
    last: BTreeMap<String, Monotonic>,
    shortest: BTreeMap<String, Duration>,
}

impl Pace {
    fn note(&mut self, kind: &str, now: Monotonic) {
        if let Some(before) = self.last.insert(kind.to_owned(), now) {
            let apart = now.since(before);
            let shortest = self.shortest.entry(kind.to_owned()).or_insert(apart);
            *shortest = apart.min(*shortest);
        }
    }

    fn judge(&self, what: &str) -> Result<()> {
        for (kind, apart) in &self.shortest {
            ensure!(*apart >= APART, "{what} more than once a second: {kind}, {apart:?} apart");
        }
        Ok(())
    }

    fn least(&self) -> Duration {
        self.shortest.values().min().copied().unwrap_or_default()
    }
}

struct Reported {
    reason: String,
    at: Monotonic,
}

struct World {
    /// The servers of the healthy camera and of the one with a password.
    _servers: [Server; 2],
    freezes: Server,
    pipeline: Scene,
    bus: gst::Bus,
    healthy: Shared,
    frozen: Shared,
    /// A pipeline without nvfeed that shows the healthy camera.
    plain: (Scene, Shared),
    said: Pace,
    reported: BTreeMap<String, Vec<Reported>>,
}

pub(crate) fn run(seconds: Duration, timeout: Duration) -> Result<String> {
    println!("four cameras for {seconds:.0?}, timeouts of {timeout:.0?}");
    let logged = log_warnings();
    let mut world = World::new(timeout)?;
    let began = clock::now();
    world.plain.0.set_state(gst::State::Playing)?;
    world.pipeline.set_state(gst::State::Playing)?;
    let playing = clock::now();
    while [&world.healthy, &world.frozen, &world.plain.1].iter().any(|track| track.lock().frames == 0) {
        world.listen(clock::now().saturating_add(Duration::from_millis(20)))?;
        ensure!(clock::now() < began.saturating_add(START), "the first frames did not come");
    }
    world.listen(clock::now().saturating_add(PLAYS))?;
    let (from, counts) = (clock::now(), world.counts());
    world.freezes.freeze();
    let frozen = clock::now();
    let least = frozen.saturating_add(timeout + SLACK + SLACK);
    world.listen(playing.saturating_add(seconds).max(least))?;
    let (window, after) = (clock::now().since(from), world.counts());
    let [fed, plain] = [after[0] - counts[0], after[1] - counts[1]];
    let slowest = world.judge(playing, frozen, timeout)?;
    let ratio = fed as f64 / plain.max(1) as f64;
    let of_rate = fed as f64 / (window.as_secs_f64() * CAMERA_RATE);
    println!(
        "healthy: {fed} frames, {plain} by rtspsrc alone, {of_rate:.4} of what {CAMERA_RATE} a second are"
    );
    ensure!(ratio >= LEAST, "the healthy camera delivered {ratio:.4} of its frames");
    ensure!(world.healthy.lock().back == 0, "running time went back");
    world.said.judge("said")?;
    logged.lock().judge("logged")?;
    let stopped = stop(&world.pipeline)?;
    stop(&world.plain.0)?;
    ensure!(stopped < STOP, "NULL took {stopped:?}");
    let kinds = logged.lock().last.len();
    Ok(format!(
        "mixed: {ratio:.4} of the frames of the healthy camera in {:.1} s, reasons at latest {:.2} s after the fault, \
         messages of a kind at least {:.2} s apart, {kinds} kinds of warning logged, NULL in {:.3} s",
        window.as_secs_f64(),
        slowest.as_secs_f64(),
        world.said.least().as_secs_f64(),
        stopped.as_secs_f64()
    ))
}

/// Has what the elements log at WARNING and above noted, with the numbers in it taken out.
fn log_warnings() -> Arc<Mutex<Pace>> {
    let logged = Arc::<Mutex<Pace>>::default();
    let noted = Arc::clone(&logged);
    gst::log::set_active(true);
    gst::log::set_threshold_for_name("nv*", gst::DebugLevel::Warning);
    gst::log::add_log_function(move |category, level, _, _, _, object, message| {
        if level > gst::DebugLevel::Warning || !category.name().starts_with("nv") {
            return;
        }
        let object = object.map(ToString::to_string).unwrap_or_default();
        let text = message.get().map(|text| text.replace(|c: char| c.is_ascii_digit(), "#"));
        noted
            .lock()
            .note(&format!("{} {object} {}", category.name(), text.unwrap_or_default()), clock::now());
    });
    logged
}

impl World {
    fn new(timeout: Duration) -> Result<Self> {
        let camera = ["--mount", "/cam=jpeg"];
        let (well, freezes) = (Server::start(&camera), Server::start(&camera));
        let locked = Server::start(&[&camera[..], &["--user", "viewer", "--password", "right"]].concat());
        let timeout = timeout.as_nanos();
        let common = format!("liveness-timeout={timeout} stall-timeout={timeout}");
        let feeds = [
            ("healthy", format!("uri={} {common}", well.url("/cam"))),
            ("frozen", format!("uri={} {common}", freezes.url("/cam"))),
            (
                "locked",
                format!(
                    "uri={} user-id=viewer user-pw=wrong tls-policy=allow-insecure {common}",
                    locked.url("/cam")
                ),
            ),
            ("nameless", format!("uri=rtsp://no-such-camera.invalid/cam {common}")),
        ];
        let pipeline = inference(&feeds)?;
        let plain = launch(&format!(
            "rtspsrc location={} protocols=tcp latency=200 ! rtpjpegdepay ! jpegdec ! fakesink name=sink sync=false",
            well.url("/cam")
        ))?;
        let track = watch(&sink_pad(&plain, "sink")?);
        let bus = pipeline.bus().context("a pipeline has a bus")?;
        Ok(Self {
            healthy: watch(&sink_pad(&pipeline, "healthy-sink")?),
            frozen: watch(&sink_pad(&pipeline, "frozen-sink")?),
            plain: (plain, track),
            _servers: [well, locked],
            freezes,
            pipeline,
            bus,
            said: Pace::default(),
            reported: BTreeMap::new(),
        })
    }

    /// Frames of the healthy camera, by nvfeed and without it.
    fn counts(&self) -> [u64; 2] {
        [self.healthy.lock().frames, self.plain.1.lock().frames]
    }

    fn listen(&mut self, until: Monotonic) -> Result<()> {
        while let Some(message) = next_health(&self.bus, until)? {
            let now = clock::now();
            let feed = message.feed_id.unwrap_or_default();
            self.said.note(&format!("{} of {feed}", message.event.name()), now);
            if let Event::SourceDisconnected(lost) = message.event {
                println!("  {feed}: {}: {}", lost.reason, lost.detail);
                self.reported.entry(feed).or_default().push(Reported { reason: lost.reason, at: now });
            }
        }
        Ok(())
    }

    /// Whether each was reported, once, with its reason and in time; the longest time that took.
    fn judge(&self, playing: Monotonic, frozen: Monotonic, timeout: Duration) -> Result<Duration> {
        let mut slowest = Duration::ZERO;
        for (feed, reason) in REASONS {
            let reports = self.reported.get(feed).map_or(&[][..], Vec::as_slice);
            let [report] = reports else { anyhow::bail!("{feed}: {} outages were reported", reports.len()) };
            ensure!(report.reason == reason, "{feed}: expected {reason}, found {}", report.reason);
            let since = if feed == "frozen" { frozen } else { playing };
            let after = report.at.since(since);
            ensure!(after < timeout + SLACK, "{feed}: reported after {after:?}");
            slowest = slowest.max(after);
        }
        ensure!(self.reported.len() == REASONS.len(), "the healthy camera was reported");
        Ok(slowest)
    }
}
