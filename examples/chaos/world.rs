//! The feeds, the engine, and what happens to them.

use crate::camera::{Camera, grey};
use crate::consumer::{Consumer, Wrong};
use crate::support::frames::Painter;
use anyhow::{Context as _, Result, ensure};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstnextvision::clock;
use gstnextvision::elements::message::health_of;
use gstnextvision::infer::script::{self, Action, Gate, Script, ScriptOptions};
use gstnextvision::time::Monotonic;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the model says when it fails or panics because it was told to.
pub(crate) const ON_PURPOSE: &str = "chaos, on purpose";
const FEEDS: u32 = 16;
/// Between two frames of a feed: 15 a second.
const FRAME_TIME: Duration = Duration::from_micros(66_667);
/// How long the faults come ten times as often.
const STORM: Duration = Duration::from_secs(50);
/// Time the engine has for a batch, in nanoseconds.
const RESPONSE_TIMEOUT: u64 = 500_000_000;
/// Longest wait for what must come to rest.
const REST: Duration = Duration::from_secs(30);

/// A generator of numbers that a seed decides: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.roll(most - least))
    }
}

/// What the model does with its next runs.
#[derive(Default)]
enum Mood {
    #[default]
    Well,
    Failing(u32),
    Panicking,
    Hanging(Gate),
}

struct Feed {
    camera: Camera,
    consumer: Consumer,
    generation: u64,
    next_frame: Monotonic,
    silent_until: Monotonic,
    /// When a consumer that blocks or refuses takes frames again.
    take_at: Option<Monotonic>,
}

#[derive(Default)]
struct Said {
    /// By element, event and feed: the sum of the counts, and the last total.
    health: BTreeMap<(String, String, String), (u64, u64)>,
    /// Sum of the counts by event.
    reports: BTreeMap<String, u64>,
    errors: Vec<String>,
}

/// Everything.
pub(crate) struct World {
    dice: Dice,
    pipeline: gst::Pipeline,
    batcher: gst::Element,
    unbatcher: gst::Element,
    feeds: Vec<Feed>,
    mood: Arc<Mutex<Mood>>,
    hanging: Option<(Gate, Monotonic)>,
    said: Arc<Mutex<Said>>,
    wrong: Wrong,
    alive: Arc<AtomicUsize>,
    next_fault: Monotonic,
    storm_until: Monotonic,
    faults: BTreeMap<&'static str, u64>,
    taken: u64,
    _script: Script,
}

impl World {
    pub(crate) fn new(seed: u64) -> Result<Self> {
        let mood = Arc::<Mutex<Mood>>::default();
        let script = script::install("chaos", ScriptOptions::default(), {
            let mood = Arc::clone(&mood);
            move |_| act(&mut mood.lock())
        });
        let batcher = gst::ElementFactory::make("nvbatcher")
            .property("max-batch-size", 8_u32)
            .property("max-latency", 20_000_000_u64)
            .build()?;
        let inference = gst::ElementFactory::make("nvinference")
            .property("model", script.model())
            .property("response-timeout", RESPONSE_TIMEOUT)
            .build()?;
        let unbatcher = gst::ElementFactory::make("nvunbatcher").build()?;
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&batcher, &inference, &unbatcher])?;
        gst::Element::link_many([&batcher, &inference, &unbatcher])?;
        let said = listen(&pipeline)?;
        let now = clock::now();
        let mut world = Self {
            dice: Dice(seed),
            pipeline,
            batcher,
            unbatcher,
            feeds: Vec::new(),
            mood,
            hanging: None,
            said,
            wrong: Wrong::default(),
            alive: Arc::default(),
            next_fault: now.saturating_add(Duration::from_secs(2)),
            storm_until: now.saturating_add(STORM),
            faults: BTreeMap::new(),
            taken: 0,
            _script: script,
        };
        for number in 0..FEEDS {
            let (camera, consumer) = (world.camera(number, 0), world.consumer(number));
            let next_frame = now.saturating_add(FRAME_TIME * number / FEEDS);
            let silent_until = Monotonic::ZERO;
            world.feeds.push(Feed {
                camera,
                consumer,
                generation: 0,
                next_frame,
                silent_until,
                take_at: None,
            });
        }
        world.pipeline.set_state(gst::State::Playing)?;
        world.feeds.iter().for_each(|feed| feed.camera.begin());
        Ok(world)
    }

    fn camera(&self, number: u32, generation: u64) -> Camera {
        let pad = self.batcher.request_pad_simple(&format!("sink_{number}")).expect("a pad");
        Camera::new(number, generation, pad, Arc::clone(&self.alive))
    }

    fn consumer(&self, number: u32) -> Consumer {
        let pad = self.unbatcher.request_pad_simple(&format!("src_{number}")).expect("a pad");
        let consumer = Consumer::new(number, Arc::clone(&self.wrong));
        consumer.forget();
        pad.link(&consumer.pad).expect("they link");
        consumer
    }

    /// Gives the frames that are due, begins a fault if one is, and waits for the next of either.
    pub(crate) fn tick(&mut self) {
        let now = clock::now();
        let mut next = self.next_fault;
        for feed in &mut self.feeds {
            if feed.take_at.is_some_and(|at| at <= now) {
                feed.take_at = None;
                feed.consumer.take();
                // Who refused frames says that it takes them again.
                feed.consumer.pad.push_event(gst::event::Reconfigure::new());
            }
            if feed.next_frame <= now {
                feed.next_frame = feed.next_frame.saturating_add(FRAME_TIME).max(now);
                if feed.silent_until <= now {
                    feed.camera.push().ok();
                }
            }
            next = next.min(feed.next_frame);
        }
        if self.hanging.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.release_the_model();
        }
        if self.next_fault <= now {
            // A storm first, so that what the allocator keeps for the worst moments is there before memory is measured.
            let (least, most) = if now < self.storm_until { (5, 60) } else { (50, 600) };
            self.next_fault = now.saturating_add(self.dice.millis(least, most));
            let feed = usize::try_from(self.dice.roll(FEEDS.into())).expect("small");
            self.fault(feed, now);
        }
        std::thread::park_timeout(clock::until(next));
    }

    fn fault(&mut self, at: usize, now: Monotonic) {
        let name = match self.dice.roll(24) {
            0..=2 => {
                self.feeds[at].silent_until = now.saturating_add(self.dice.millis(300, 4000));
                "stall"
            }
            3 | 4 => {
                (0..50).for_each(|_| {
                    self.feeds[at].camera.push().ok();
                });
                "burst"
            }
            5 | 6 => {
                self.feeds[at].camera.end();
                self.feeds[at].camera.begin();
                "end and restart"
            }
            7 | 8 => {
                self.feeds[at].camera.flush();
                "flush"
            }
            9 | 10 => {
                let painter = self.painter();
                self.feeds[at].camera.change(painter);
                "change of caps"
            }
            11 => self.wrong_caps(at),
            12 | 13 => {
                let camera = &self.feeds[at].camera;
                camera.give(camera.short_frame()).ok();
                "short frame"
            }
            14 => self.odd_timestamps(at),
            15 | 16 => self.reconnect(at),
            17 | 18 => self.swap_consumer(at),
            19 => {
                self.feeds[at].consumer.block();
                self.feeds[at].take_at = Some(now.saturating_add(self.dice.millis(200, 3000)));
                "blocked consumer"
            }
            20 => {
                self.feeds[at].consumer.refuse(gst::FlowError::Error);
                self.feeds[at].take_at = Some(now.saturating_add(self.dice.millis(200, 2000)));
                "failing consumer"
            }
            21 => self.pause(),
            _ => self.upset_the_model(now),
        };
        *self.faults.entry(name).or_default() += 1;
    }

    fn painter(&mut self) -> Painter {
        // Not so far from square that the letterbox leaves no whole cell to paint.
        let side = |dice: &mut Dice| 64 + 2 * u32::try_from(dice.roll(43)).expect("small");
        match self.dice.roll(4) {
            0 => grey(),
            1 => Painter::new(VideoFormat::I420, side(&mut self.dice), side(&mut self.dice)),
            2 => Painter::new(VideoFormat::Nv12, side(&mut self.dice), side(&mut self.dice)),
            _ => Painter::new(VideoFormat::Rgb, side(&mut self.dice), side(&mut self.dice)),
        }
    }

    fn wrong_caps(&mut self, at: usize) -> &'static str {
        let camera = &self.feeds[at].camera;
        camera.send(gst::event::Caps::new(&gst::Caps::new_empty_simple("audio/x-raw")));
        camera.push().ok();
        camera.caps();
        "wrong caps"
    }

    fn odd_timestamps(&mut self, at: usize) -> &'static str {
        let camera = &self.feeds[at].camera;
        let hours = gst::ClockTime::from_seconds(3600 * self.dice.roll(1000));
        for pts in [None, Some(hours), Some(gst::ClockTime::ZERO), Some(gst::ClockTime::MAX), None] {
            camera.push_at(pts).ok();
        }
        "odd time stamps"
    }

    fn reconnect(&mut self, at: usize) -> &'static str {
        let number = u32::try_from(at).expect("small");
        let generation = self.feeds[at].generation + 1;
        let old = &self.feeds[at].camera;
        self.batcher.release_request_pad(&old.sink_pad);
        old.pad.set_active(false).ok();
        self.taken += old.taken();
        let camera = self.camera(number, generation);
        camera.begin();
        let feed = &mut self.feeds[at];
        (feed.camera, feed.generation) = (camera, generation);
        "sink pad released and requested"
    }

    fn swap_consumer(&mut self, at: usize) -> &'static str {
        let number = u32::try_from(at).expect("small");
        let pad = self.unbatcher.static_pad(&format!("src_{number}")).expect("a pad");
        self.feeds[at].consumer.stop();
        self.unbatcher.release_request_pad(&pad);
        self.feeds[at].consumer = self.consumer(number);
        self.feeds[at].take_at = None;
        "src pad released and requested"
    }

    fn pause(&mut self) -> &'static str {
        self.pipeline.set_state(gst::State::Paused).expect("it pauses");
        self.pipeline.set_state(gst::State::Playing).expect("it plays");
        "pause"
    }

    fn upset_the_model(&mut self, now: Monotonic) -> &'static str {
        let (mood, name) = match self.dice.roll(8) {
            0 if self.hanging.is_none() => {
                let gate = Gate::new();
                self.hanging = Some((gate.clone(), now.saturating_add(self.dice.millis(100, 900))));
                (Mood::Hanging(gate), "hanging model")
            }
            1 | 2 => (Mood::Panicking, "panicking model"),
            _ => (Mood::Failing(1 + u32::try_from(self.dice.roll(3)).expect("small")), "failing model"),
        };
        *self.mood.lock() = mood;
        name
    }

    fn release_the_model(&mut self) {
        if let Some((gate, _)) = self.hanging.take() {
            gate.open();
        }
    }

    /// The oracles that hold at any time.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = self.wrong.lock();
        ensure!(wrong.is_empty(), "identity or order: {:?}", wrong.first());
        drop(wrong);
        let errors = self.said.lock().errors.clone();
        ensure!(errors.is_empty(), "error messages: {errors:?}");
        check_ledger(self.batcher.upcast_ref())?;
        self.feeds.iter().try_for_each(|feed| check_ledger(feed.camera.sink_pad.upcast_ref()))
    }

    /// Ends every fault and every feed's flow, and waits until nothing is on its way.
    pub(crate) fn calm_down(&mut self) -> Result<()> {
        *self.mood.lock() = Mood::Well;
        self.release_the_model();
        for feed in &self.feeds {
            feed.consumer.take();
            feed.consumer.pad.push_event(gst::event::Reconfigure::new());
        }
        let end = clock::now().saturating_add(REST);
        while in_flight(&self.batcher)? > 0 {
            ensure!(clock::now() < end, "frames are still on their way: {}", self.ledger());
            std::thread::park_timeout(Duration::from_millis(10));
        }
        self.check()
    }

    /// Stops; returns how long that took. Everything that came is accounted for, and freed.
    pub(crate) fn stop(self) -> Result<Duration> {
        let began = clock::now();
        self.feeds.iter().for_each(|feed| feed.consumer.stop());
        self.pipeline.set_state(gst::State::Null)?;
        let took = clock::now().since(began);
        self.check()?;
        let taken = self.taken + self.feeds.iter().map(|feed| feed.camera.taken()).sum::<u64>();
        let received = stat(&self.batcher.property("stats"), "received")?;
        ensure!(taken == received, "cameras gave {taken} frames, the batcher received {received}");
        let said = self.said.lock();
        let wrong: Vec<_> = said.health.iter().filter(|(_, (sum, total))| sum != total).collect();
        ensure!(wrong.is_empty(), "counts of reports do not add up: {wrong:?}");
        drop(said);
        let alive = Arc::clone(&self.alive);
        drop(self);
        let end = clock::now().saturating_add(REST);
        while alive.load(Ordering::Acquire) > 0 {
            ensure!(clock::now() < end, "{} frames are never freed", alive.load(Ordering::Acquire));
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(took)
    }

    pub(crate) fn summary(&self) -> String {
        let stats: gst::Structure = self.batcher.property("stats");
        let get = |name| stat(&stats, name).unwrap_or_default();
        let faults: u64 = self.faults.values().sum();
        let (received, delivered, dropped, failed) =
            (get("received"), get("delivered"), get("dropped"), get("failed"));
        format!(
            "{faults} faults, {received} frames = {delivered} delivered + {dropped} dropped + {failed} failed"
        )
    }

    pub(crate) fn ledger(&self) -> String {
        format!("{} after {:?}", self.batcher.property::<gst::Structure>("stats"), self.faults)
    }

    /// How often each event was reported, over all feeds.
    pub(crate) fn reports(&self) -> String {
        format!("{:?}", self.said.lock().reports)
    }
}

fn act(mood: &mut Mood) -> Action {
    match std::mem::take(mood) {
        Mood::Well => Action::Detect,
        Mood::Failing(times) => {
            if times > 1 {
                *mood = Mood::Failing(times - 1);
            }
            Action::Error(ON_PURPOSE.to_owned())
        }
        Mood::Panicking => Action::Panic(ON_PURPOSE.to_owned()),
        Mood::Hanging(gate) => Action::Park(gate),
    }
}

fn listen(pipeline: &gst::Pipeline) -> Result<Arc<Mutex<Said>>> {
    let said = Arc::<Mutex<Said>>::default();
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    bus.set_sync_handler({
        let said = Arc::clone(&said);
        move |_bus, message| {
            if let Some(Ok(health)) = health_of(message) {
                let feed = health.feed_id.unwrap_or_default();
                let key = (health.element, health.event.name().to_owned(), feed);
                let mut said = said.lock();
                let (sum, total) = said.health.get(&key).copied().unwrap_or_default();
                // A feed that was removed and comes back is counted anew.
                let anew = health.burst.total == health.burst.count;
                if anew && sum != total {
                    said.errors.push(format!("{key:?}: counts add up to {sum}, total {total}"));
                }
                let before = if anew { 0 } else { sum };
                *said.reports.entry(key.1.clone()).or_default() += health.burst.count;
                said.health.insert(key, (before + health.burst.count, health.burst.total));
            } else if let gst::MessageView::Error(error) = message.view() {
                said.lock().errors.push(format!("{} ({:?})", error.error(), error.debug()));
            }
            gst::BusSyncReply::Drop
        }
    });
    Ok(said)
}

fn stat(stats: &gst::Structure, name: &str) -> Result<u64> {
    stats.get(name).with_context(|| format!("no {name} in {stats}"))
}

fn in_flight(batcher: &gst::Element) -> Result<u64> {
    stat(&batcher.property("stats"), "in-flight")
}

fn check_ledger(object: &glib::Object) -> Result<()> {
    let stats: gst::Structure = object.property("stats");
    let get = |name| stat(&stats, name);
    let known = get("delivered")? + get("dropped")? + get("failed")? + get("in-flight")?;
    ensure!(get("received")? == known, "the ledger does not balance: {stats}");
    Ok(())
}
