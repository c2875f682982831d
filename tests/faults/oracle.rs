//! The harness of the fault tests: a [`Scene`] of feeds through one engine, faults on some of them, and the verdict
//! of nine oracles.
//!
//! | oracle | what holds |
//! |---|---|
//! | I1 isolation | healthy feeds deliver exactly what they deliver in a run without the fault |
//! | I2 ledger | received = delivered + dropped + failed + in flight, after every round; at the end nothing is in flight, and it agrees with what cameras gave and consumers got |
//! | I3 identity | facts, pixels and result of every frame are those of one frame of its feed |
//! | I4 order | frames of a feed rise in number, session and seq |
//! | I5 bounds | queues and credit stay within the properties of their pad |
//! | I6 liveness | every healthy frame comes; with nothing to do no thread of ours takes time |
//! | I7 termination | NULL returns, every object and every frame is freed, threads and descriptors are as before |
//! | I8 health | exactly the expected reports, their counts add up, no secret in any |
//! | I9 log | no CRITICAL (they end the process), no warning of ours but the expected |
//!
//! The test drives everything: it pushes, waits for what must come of it, and pushes on. What it does not prove is
//! how long anything takes.

use super::camera::Camera;
use super::consumer::{Arrival, Consumer, Wrong};
use super::process::{assert_quiet, is_alone, wait_for_no_more};
use super::watch::{self, Watch};
use crate::support::holdings::Holdings;
use crate::support::{assert_ledger, eventually, init, stat};
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::infer::script::{self, Action, Script, ScriptOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Longest time to NULL; the promise is 2 s, the rest is for busy machines.
const STOP: Duration = Duration::from_secs(20);

/// No part of any URL or path may appear in a message.
pub(super) const CANARY: &str = "s3cr3t-canary";

/// Warnings of ours in the log that are no fault of ours: the thread of a consumer that never comes back, and the
/// batch that a stop takes from the engine.
const ALLOWED_LINES: [&str; 2] = ["blocked downstream; letting go of it", "interrupted"];

/// Events that wait in a queue of the un-batcher at most, besides frames.
const MOST_EVENTS: u64 = 512;

/// A deadline so late that batches close by it only when nothing else can close them, as in the first round: the
/// first feed leaves alone, and is then waited for.
pub(crate) const LATE: u64 = 2_000_000_000;

/// A model that finds the brightest cell, and needs no ONNX Runtime.
fn scripted_model() -> String {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    let install = || script::install("scene", ScriptOptions::default(), |_| Action::Detect);
    SCRIPT.get_or_init(install).model()
}

/// What a scene is made of.
#[derive(Clone)]
pub(crate) struct Plan {
    feeds: u32,
    suspects: Vec<u32>,
    model: String,
    tune: fn(&Scene),
}

impl Plan {
    /// So many feeds.
    pub(crate) fn feeds(feeds: u32) -> Self {
        Self { feeds, suspects: Vec::new(), model: scripted_model(), tune: |_| () }
    }

    /// The feeds that get the fault. They do not begin by themselves.
    pub(crate) fn suspects(mut self, suspects: &[u32]) -> Self {
        self.suspects = suspects.to_vec();
        self
    }

    /// What to set before it plays; also in the run without the fault.
    pub(crate) fn tune(mut self, tune: fn(&Scene)) -> Self {
        self.tune = tune;
        self
    }

    /// Another model.
    pub(crate) fn model(mut self, model: &str) -> Self {
        model.clone_into(&mut self.model);
        self
    }

    /// Plays; the healthy feeds have begun.
    pub(crate) fn play(self) -> Scene {
        init();
        watch::listen_to_the_log();
        before_any_scene();
        let scene = Scene::new(self);
        watch::take_lines();
        for feed in scene.healthy() {
            scene.camera(feed).begin();
        }
        scene
    }
}

/// What the process had before: taken after a first scene, because libraries keep what they open once.
fn before_any_scene() -> &'static Holdings {
    static BEFORE: OnceLock<Holdings> = OnceLock::new();
    BEFORE.get_or_init(|| {
        let mut scene = Scene::new(Plan::feeds(1));
        scene.camera(0).begin();
        scene.rounds(2);
        drop(scene);
        if is_alone() {
            eventually("the threads of ours end", || Holdings::now().threads_of_ours(), |count| *count == 0);
        }
        Holdings::now()
    })
}

/// One feed: either end may be gone.
#[derive(Default)]
struct Feed {
    camera: Option<Camera>,
    consumer: Option<Consumer>,
}

/// Feeds through `nvbatcher ! nvinference ! nvunbatcher`.
pub(crate) struct Scene {
    plan: Plan,
    pub(crate) pipeline: gst::Pipeline,
    pub(crate) batcher: gst::Element,
    pub(crate) inference: gst::Element,
    pub(crate) unbatcher: gst::Element,
    pub(crate) watch: Arc<Watch>,
    feeds: BTreeMap<u32, Feed>,
    gone: Vec<Feed>,
    /// Cameras that the scene has had, per feed.
    generations: BTreeMap<u32, u64>,
    frames_alive: Arc<AtomicUsize>,
    wrong: Wrong,
    rounds: u64,
    optional: BTreeSet<(String, String)>,
    allowed_errors: Vec<&'static str>,
    /// Frames that no camera of the scene made.
    strangers: bool,
    /// Healthy feeds got frames besides those of the rounds.
    extra_frames: bool,
    /// Frames are on their way at the verdict.
    busy: bool,
}

impl Scene {
    fn new(plan: Plan) -> Self {
        let make = |factory| gst::ElementFactory::make(factory).build().expect("a registered element");
        let (batcher, inference, unbatcher) = (make("nvbatcher"), make("nvinference"), make("nvunbatcher"));
        inference.set_property("model", &plan.model);
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&batcher, &inference, &unbatcher]).expect("new elements");
        gst::Element::link_many([&batcher, &inference, &unbatcher]).expect("they link");
        let watch = Watch::of(&pipeline);
        let mut scene = Self {
            pipeline,
            batcher,
            inference,
            unbatcher,
            watch,
            feeds: BTreeMap::new(),
            gone: Vec::new(),
            generations: BTreeMap::new(),
            frames_alive: Arc::default(),
            wrong: Arc::default(),
            rounds: 0,
            optional: BTreeSet::new(),
            allowed_errors: Vec::new(),
            strangers: false,
            extra_frames: false,
            busy: false,
            plan,
        };
        for feed in 0..scene.plan.feeds {
            scene.add_consumer(feed);
            scene.add_camera(feed);
        }
        (scene.plan.tune)(&scene);
        scene.pipeline.set_state(gst::State::Playing).expect("it plays");
        scene
    }

    /// Requests `sink_N` and links a new camera to it.
    pub(crate) fn add_camera(&mut self, feed: u32) {
        let sink_pad = self.batcher.request_pad_simple(&format!("sink_{feed}")).expect("a pad");
        sink_pad.set_property("feed-id", name(feed));
        let generation = self.generations.entry(feed).or_default();
        let camera = Camera::new(feed, *generation, sink_pad, Arc::clone(&self.frames_alive));
        *generation += 1;
        self.feeds.entry(feed).or_default().camera = Some(camera);
    }

    /// Requests `src_N` and links a new consumer to it.
    pub(crate) fn add_consumer(&mut self, feed: u32) {
        let src_pad = self.unbatcher.request_pad_simple(&format!("src_{feed}")).expect("a pad");
        let consumer = Consumer::new(feed, Arc::clone(&self.wrong));
        src_pad.link(&consumer.pad).expect("they link");
        self.feeds.entry(feed).or_default().consumer = Some(consumer);
    }

    /// Releases `sink_N`.
    pub(crate) fn remove_camera(&mut self, feed: u32) {
        let camera = self.feeds.get_mut(&feed).and_then(|feed| feed.camera.take()).expect("a camera");
        self.batcher.release_request_pad(&camera.sink_pad);
        camera.pad.set_active(false).ok();
        self.gone.push(Feed { camera: Some(camera), consumer: None });
    }

    /// Releases `src_N`.
    pub(crate) fn remove_consumer(&mut self, feed: u32) {
        let consumer = self.feeds.get_mut(&feed).and_then(|feed| feed.consumer.take()).expect("a consumer");
        let src_pad = self.unbatcher.static_pad(&format!("src_{feed}")).expect("a pad");
        consumer.stop();
        self.unbatcher.release_request_pad(&src_pad);
        self.gone.push(Feed { camera: None, consumer: Some(consumer) });
    }

    /// In the place of the camera of `feed`, elements of GStreamer that end in a src pad.
    pub(crate) fn replace_camera(&mut self, feed: u32, description: &str) {
        let camera = self.feeds.get_mut(&feed).and_then(|feed| feed.camera.take()).expect("a camera");
        camera.pad.unlink(&camera.sink_pad).expect("they unlink");
        self.consumer(feed).expect_strangers();
        self.strangers = true;
        let bin = gst::parse::bin_from_description(description, true).expect("a description");
        self.pipeline.add(&bin).expect("a new element");
        bin.static_pad("src").expect("its src pad").link(&camera.sink_pad).expect("they link");
        self.gone.push(Feed { camera: Some(camera), consumer: None });
        bin.sync_state_with_parent().expect("it plays");
    }

    pub(crate) fn camera(&self, feed: u32) -> &Camera {
        self.feeds.get(&feed).and_then(|feed| feed.camera.as_ref()).expect("the feed has a camera")
    }

    pub(crate) fn consumer(&self, feed: u32) -> &Consumer {
        self.feeds.get(&feed).and_then(|feed| feed.consumer.as_ref()).expect("the feed has a consumer")
    }

    fn healthy(&self) -> Vec<u32> {
        (0..self.plan.feeds).filter(|feed| !self.plan.suspects.contains(feed)).collect()
    }

    /// A round: every healthy feed, and those of `more`, gets a frame and gives it back.
    pub(crate) fn flow(&mut self, more: &[u32], rounds: u64) {
        let feeds: Vec<_> = more.iter().copied().chain(self.healthy()).collect();
        for _ in 0..rounds {
            let wanted: Vec<_> = feeds.iter().map(|feed| (*feed, self.consumer(*feed).count() + 1)).collect();
            for feed in &feeds {
                self.camera(*feed).push().unwrap_or_else(|error| panic!("feed {feed}: {error}"));
            }
            for (feed, count) in wanted {
                self.consumer(feed).wait_for(count);
            }
            self.check_books();
            self.rounds += 1;
        }
    }

    /// Rounds of the healthy feeds alone.
    pub(crate) fn rounds(&mut self, rounds: u64) {
        self.flow(&[], rounds);
    }

    /// Pushes so many frames of a feed and waits until they are through.
    pub(crate) fn pass(&self, feed: u32, frames: usize) {
        let before = self.consumer(feed).count();
        for done in 1..=frames {
            self.camera(feed).push().unwrap_or_else(|error| panic!("feed {feed}: {error}"));
            self.consumer(feed).wait_for(before + done);
        }
    }

    /// A report that may come or not.
    pub(crate) fn may_report(&mut self, event: &str, feed: u32) {
        self.optional.insert((event.to_owned(), name(feed)));
    }

    /// An error message that may come: not ours.
    pub(crate) fn may_fail(&mut self, part: &'static str) {
        self.allowed_errors.push(part);
    }

    /// Healthy feeds got frames besides those of the rounds: only their rounds are compared.
    pub(crate) fn forgive_numbers(&mut self) {
        self.extra_frames = true;
    }

    /// The verdict comes while frames are on their way, so that there is something to do for our threads.
    pub(crate) fn stay_busy(&mut self) {
        self.busy = true;
    }

    /// A counter of the pad of a feed.
    pub(crate) fn of_pad(&self, feed: u32, field: &str) -> u64 {
        stat(&self.camera(feed).sink_pad, field)
    }

    /// Frames of a feed that were dropped or have failed for a reason.
    pub(crate) fn lost(&self, feed: u32, reason: &str) -> u64 {
        let stats = self.camera(feed).sink_pad.property::<gst::Structure>("stats");
        let get = |field: &str| {
            stats.get::<gst::Structure>(field).ok().and_then(|reasons| reasons.get::<u64>(reason).ok())
        };
        get("dropped-by-reason")
            .or_else(|| get("failed-by-reason"))
            .unwrap_or_else(|| panic!("{reason}: {stats}"))
    }

    /// Batches that closed by their deadline.
    pub(crate) fn deadlines(&self) -> u64 {
        let closes = self.batcher.property::<gst::Structure>("stats").get::<gst::Structure>("closes");
        closes.expect("why batches closed").get("deadline").expect("a counter")
    }

    /// Rounds of the healthy feeds in which no batch waits for its deadline.
    pub(crate) fn rounds_without_deadline(&mut self, rounds: u64) {
        // In the first, who was silent is waited for once.
        self.rounds(2);
        let before = self.deadlines();
        self.rounds(rounds);
        assert_eq!(self.deadlines(), before, "batches that waited for a feed in vain");
    }

    /// Waits until nothing of this feed is under way.
    pub(crate) fn drain(&self, feed: u32) {
        let what = format!("nothing of feed {feed} is under way");
        eventually(&what, || self.of_pad(feed, "in-flight"), |count| *count == 0);
    }

    /// I2 and I5, at this instant.
    pub(crate) fn check_books(&self) {
        assert_ledger(&self.batcher);
        for pad in self.batcher.sink_pads() {
            assert_ledger(&pad);
            let (queued, open) = {
                let stats = pad.property::<gst::Structure>("stats");
                let get = |field| stats.get::<u64>(field).expect("a counter");
                (get("queued"), get("in-flight") - get("queued"))
            };
            let room = u64::from(pad.property::<u32>("max-size-buffers"));
            let credit = u64::from(pad.property::<u32>("max-in-flight"))
                * u64::from(self.batcher.property::<u32>("max-frames-per-feed"));
            // `pass-through` takes twice as many before it blocks.
            assert!(queued <= 2 * room, "{}: {queued} of {room} frames wait", pad.name());
            assert!(open <= credit, "{}: {open} of {credit} frames are in flight", pad.name());
        }
        let stats = self.unbatcher.property::<gst::Structure>("stats");
        let outlets = stats.get::<gst::Array>("pads").expect("its pads");
        for outlet in outlets.as_slice().iter().filter_map(|pad| pad.get::<gst::Structure>().ok()) {
            let queued = outlet.get::<u64>("queued").expect("a counter");
            assert!(queued <= MOST_EVENTS, "{outlet}");
        }
    }

    fn everyone(&self) -> impl Iterator<Item = &Feed> {
        self.feeds.values().chain(&self.gone)
    }

    fn cameras(&self) -> impl Iterator<Item = &Camera> {
        self.everyone().filter_map(|feed| feed.camera.as_ref())
    }

    fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.everyone().filter_map(|feed| feed.consumer.as_ref())
    }

    /// Stops as a pipeline does: sinks first.
    fn stop(&self) {
        let began = clock::now();
        self.consumers().for_each(Consumer::stop);
        self.pipeline.set_state(gst::State::Null).expect("it stops");
        self.cameras().for_each(|camera| {
            camera.pad.set_active(false).ok();
        });
        let took = clock::now().since(began);
        assert!(took < STOP, "NULL took {took:?}");
    }

    /// I2 at the end: nothing is open, and both ends agree with it.
    fn check_the_end(&self) {
        eventually("no frame is in flight", || stat(&self.batcher, "in-flight"), |count| *count == 0);
        self.check_books();
        if self.strangers {
            return;
        }
        let taken: u64 = self.cameras().map(Camera::taken).sum();
        assert_eq!(stat(&self.batcher, "received"), taken, "what cameras gave");
        let (delivered, failed) = (stat(&self.batcher, "delivered"), stat(&self.batcher, "failed"));
        let came: u64 = self.consumers().map(|consumer| consumer.count() as u64).sum();
        assert!(
            (delivered..=delivered + failed).contains(&came),
            "{came} came, {delivered} delivered, {failed} failed"
        );
    }

    /// I8 and I9.
    fn check_reports(&self, expected: &[(&str, u32)]) {
        let mut expected: BTreeSet<_> =
            expected.iter().map(|(event, feed)| ((*event).to_owned(), name(*feed))).collect();
        let reported = self.watch.reported();
        expected.extend(self.optional.intersection(&reported).cloned());
        assert_eq!(reported, expected, "health reports; warnings: {:?}", self.watch.warnings());
        let miscounts = self.watch.miscounts();
        assert!(miscounts.is_empty(), "{miscounts:?}");
        let is_allowed = |line: &&String, parts: &[&str]| !parts.iter().any(|part| line.contains(part));
        let errors = self.watch.errors();
        let errors: Vec<_> = errors.iter().filter(|line| is_allowed(line, &self.allowed_errors)).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let lines = watch::take_lines();
        let lines: Vec<_> = lines.iter().filter(|line| is_allowed(line, &ALLOWED_LINES)).collect();
        assert!(!is_alone() || lines.is_empty(), "{lines:?}");
        let said = self.watch.texts().into_iter().chain(self.watch.errors()).chain(self.watch.warnings());
        let leaks: Vec<_> = said.filter(|text| text.contains(CANARY)).collect();
        assert!(leaks.is_empty(), "a secret got out: {leaks:?}");
    }

    /// I3 and I4: what the consumers have noted.
    fn check_frames(&self) {
        let wrong = self.wrong.lock().clone();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// All but I1 and the reports, with `others` who may have used GLib's threads: ends the scene. Returns what the healthy feeds delivered.
    fn end(self, others: bool) -> BTreeMap<u32, Vec<String>> {
        self.stop();
        self.check_the_end();
        self.check_frames();
        let delivered = self.healthy().into_iter().map(|feed| {
            let arrivals = self.consumer(feed).arrivals();
            (feed, arrivals.iter().map(Arrival::summary).collect())
        });
        let delivered = delivered.collect();
        let alive = Arc::clone(&self.frames_alive);
        let elements = [self.pipeline.upcast_ref(), &self.batcher, &self.inference, &self.unbatcher];
        let elements = elements.map(|element: &gst::Element| element.downgrade());
        let pads: Vec<_> = self.cameras().map(|camera| camera.sink_pad.downgrade()).collect();
        drop(self);
        eventually("all frames are freed", || alive.load(Ordering::Acquire), |count| *count == 0);
        eventually(
            "all elements are freed",
            || elements.iter().filter_map(|weak| weak.upgrade()).map(|e| e.name()).collect::<Vec<_>>(),
            Vec::is_empty,
        );
        eventually("all pads are freed", || pads.iter().any(|weak| weak.upgrade().is_some()), |alive| !alive);
        wait_for_no_more(before_any_scene(), others);
        delivered
    }

    /// The verdict of all oracles; `expected` are the reports that must have come, event and feed.
    pub(crate) fn verdict(self, expected: &[(&str, u32)]) {
        let (plan, rounds) = (self.plan.clone(), self.rounds);
        let (strangers, extra_frames) = (self.strangers, self.extra_frames);
        if !self.busy {
            assert_quiet();
        }
        self.check_books();
        // Reports that wait for their second go out when the pipeline stops.
        self.stop();
        self.check_reports(expected);
        let found = self.end(strangers);
        let suspects = plan.suspects.clone();
        let mut control = Self::new(Plan { suspects: Vec::new(), ..plan.clone() });
        (0..plan.feeds).for_each(|feed| control.camera(feed).begin());
        control.rounds(rounds);
        let mut wanted = control.end(strangers);
        wanted.retain(|feed, _| !suspects.contains(feed));
        if extra_frames {
            // More than the run without the fault, and all of that.
            for (feed, frames) in &wanted {
                assert!(found[feed].starts_with(&frames[..]), "feed {feed}: {:?}, {frames:?}", found[feed]);
            }
            return;
        }
        assert_eq!(found, wanted, "what healthy feeds deliver with and without the fault");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // After a failed test, too: GStreamer says CRITICAL about elements that are dropped while they play.
        self.consumers().for_each(Consumer::stop);
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

/// The `feed-id` of a feed.
pub(crate) fn name(feed: u32) -> String {
    format!("cam-{feed}")
}
