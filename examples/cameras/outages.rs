//! A server of four cameras that is killed and started again.

use crate::support::cameras::Server;
use crate::support::{Dice, STOP, Scene, inference, next_health, sink_pad, stop};
use crate::track::{Shared, watch};
use anyhow::{Context as _, Result, bail, ensure};
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::health::{Event, Message};
use gstnextvision::time::Monotonic;
use std::time::Duration;

const NAMES: [&str; 4] = ["door", "yard", "roof", "gate"];
/// What a connection may take beyond the delay before it.
const SLACK: Duration = Duration::from_secs(2);
/// A message waits so long for others of its kind, and a little.
const FOLDED: Duration = Duration::from_millis(1100);
/// Longest time to the first frames.
const START: Duration = Duration::from_secs(30);
/// Shortest time the server stays up after everybody is back, so that frames of the session come through.
const SHORTEST_UP: Duration = Duration::from_millis(500);

/// What a feed has said.
#[derive(Debug)]
struct Book {
    name: &'static str,
    track: Shared,
    connected: u64,
    disconnected: u64,
    reconnecting: u64,
    /// When it was connected last.
    connected_at: Monotonic,
    /// Longest delay of this outage that was in force at the return of the server.
    delay: Duration,
    /// Attempts that source-connected told of, where they began anew.
    attempts: u32,
}

struct World {
    server: Server,
    pipeline: Scene,
    bus: gst::Bus,
    books: Vec<Book>,
    /// When the server was there again.
    returned: Option<Monotonic>,
    /// Longest time from there to source-connected, less the delay then in force, in seconds.
    worst: f64,
    longest: Duration,
}

pub(crate) fn run(outages: u32, within: Duration, seed: u64) -> Result<String> {
    println!("seed {seed}: {outages} outages of {} cameras in {within:.0?}", NAMES.len());
    let mut dice = Dice(seed);
    let mut world = World::new()?;
    world.pipeline.set_state(gst::State::Playing)?;
    world.until_all_are_back(0, clock::now().saturating_add(START))?;
    let began = clock::now();
    let slot = within.div_f64(f64::from(outages.max(1)));
    for outage in 1..=outages {
        let kill = began.saturating_add(slot * (outage - 1) + slot.mul_f64(0.5 * dice.share()));
        let earliest = clock::now().saturating_add(SHORTEST_UP);
        world.listen(kill.max(earliest))?;
        world.outage(outage, slot.mul_f64(0.01 + 0.25 * dice.share()), began)?;
    }
    let end = began.saturating_add(within);
    world.listen(end.max(clock::now().saturating_add(FOLDED)))?;
    let took = clock::now().since(began);
    world.judge(outages)?;
    let frames: u64 = world.books.iter().map(|book| book.track.lock().frames).sum();
    let attempts: u64 = world.books.iter().map(|book| book.reconnecting).sum();
    let stopped = stop(&world.pipeline)?;
    ensure!(stopped < STOP, "NULL took {stopped:?}");
    Ok(format!(
        "outages: seed {seed}, {outages} outages of {} feeds in {:.1} s, {attempts} attempts, {frames} frames, back at \
         latest {:.2} s after the server and {:+.2} s of the delay then in force, NULL in {:.3} s",
        NAMES.len(),
        took.as_secs_f64(),
        world.longest.as_secs_f64(),
        world.worst,
        stopped.as_secs_f64()
    ))
}

impl World {
    fn new() -> Result<Self> {
        let mounts = NAMES.map(|name| format!("/{name}=jpeg"));
        let arguments: Vec<_> = mounts.iter().flat_map(|mount| ["--mount", mount]).collect();
        let server = Server::start(&arguments);
        let feeds = NAMES.map(|name| (name, format!("uri={}", server.url(&format!("/{name}")))));
        let pipeline = inference(&feeds)?;
        let book = |name| {
            Ok(Book {
                name,
                track: watch(&sink_pad(&pipeline, &format!("{name}-sink"))?),
                connected: 0,
                disconnected: 0,
                reconnecting: 0,
                connected_at: Monotonic::ZERO,
                delay: Duration::ZERO,
                attempts: 0,
            })
        };
        let books = NAMES.into_iter().map(book).collect::<Result<_>>()?;
        let bus = pipeline.bus().context("a pipeline has a bus")?;
        Ok(Self { server, pipeline, bus, books, returned: None, worst: f64::MIN, longest: Duration::ZERO })
    }

    /// The server goes, stays away, and returns.
    fn outage(&mut self, number: u32, away: Duration, began: Monotonic) -> Result<()> {
        for book in &mut self.books {
            (book.delay, book.attempts) = (Duration::ZERO, 0);
        }
        self.returned = None;
        self.server.kill();
        let killed = clock::now();
        self.listen(killed.saturating_add(away))?;
        self.server.restart();
        let returned = clock::now();
        // What was said while the server started is of before its return.
        self.listen(returned)?;
        self.returned = Some(returned);
        self.until_all_are_back(u64::from(number), returned)?;
        let mut line = format!(
            "{:6.1} s: outage {number}, {:.1} s long; back after",
            killed.since(began).as_secs_f64(),
            returned.since(killed).as_secs_f64()
        );
        for book in &self.books {
            let (after, delay) = (book.connected_at.since(returned).as_secs_f64(), book.delay.as_secs_f64());
            line += &format!(" {} {after:.2} s of {delay:.2} s,", book.name);
            self.worst = self.worst.max(after - delay);
            self.longest = self.longest.max(book.connected_at.since(returned));
        }
        println!("{}", line.trim_end_matches(','));
        Ok(())
    }

    /// Waits until each feed has said so, `outages` times after the first. Each may take from `since` on what its delay
    /// and the slack allow.
    fn until_all_are_back(&mut self, outages: u64, since: Monotonic) -> Result<()> {
        loop {
            let now = clock::now();
            let missing = |book: &&Book| book.connected <= outages;
            if !self.books.iter().any(|book| missing(&book)) {
                break;
            }
            for book in self.books.iter().filter(missing) {
                // A feed that has not said its delay yet does so in a moment.
                let due = since.saturating_add(book.delay.max(FOLDED) + SLACK);
                ensure!(
                    now < due,
                    "{}: not back after outage {outages}, {:?} after the server, with a delay of {:?}; {}",
                    book.name,
                    now.since(since),
                    book.delay,
                    self.status(book.name)
                );
            }
            self.listen(now.saturating_add(Duration::from_millis(20)))?;
        }
        for book in &self.books {
            let after = book.connected_at.since(since);
            ensure!(after <= book.delay + SLACK, "{}: back after {after:?} of {:?}", book.name, book.delay);
        }
        Ok(())
    }

    fn status(&self, name: &str) -> String {
        let element = self.pipeline.by_name(name);
        element.map_or_else(String::new, |element| element.property::<gst::Structure>("stats").to_string())
    }

    fn listen(&mut self, until: Monotonic) -> Result<()> {
        while let Some(message) = next_health(&self.bus, until)? {
            self.hear(message)?;
        }
        Ok(())
    }

    fn hear(&mut self, message: Message) -> Result<()> {
        let now = clock::now();
        let returned = self.returned;
        let Some(book) = self.books.iter_mut().find(|book| message.feed_id.as_deref() == Some(book.name))
        else {
            bail!("a message of no feed: {message:?}")
        };
        let count = message.burst.count;
        match message.event {
            Event::SourceConnected(connected) => {
                ensure!(book.connected == book.disconnected, "{}: connected twice", book.name);
                book.connected += count;
                book.connected_at = now;
                book.attempts = connected.attempts;
            }
            Event::SourceDisconnected(ref disconnected) => {
                ensure!(book.connected > book.disconnected, "{}: lost twice: {disconnected:?}", book.name);
                book.disconnected += count;
            }
            Event::SourceReconnecting(reconnecting) => {
                book.reconnecting += count;
                // Later ones are of attempts that failed although the server was there.
                if returned.is_none_or(|returned| now < returned.saturating_add(FOLDED)) {
                    book.delay = book.delay.max(Duration::from_nanos(reconnecting.delay));
                }
            }
            Event::FeedStopped(stopped) => bail!("{}: stopped: {stopped:?}", book.name),
            Event::FeedRestarting(restarting) => bail!("{}: restarts: {restarting:?}", book.name),
            _ => {}
        }
        Ok(())
    }

    fn judge(&self, outages: u32) -> Result<()> {
        let outages = u64::from(outages);
        for book in &self.books {
            let (name, track) = (book.name, book.track.lock().clone());
            println!(
                "{name}: connected {}, disconnected {}, reconnecting {}, {} frames, sessions {:?}, largest step {}",
                book.connected,
                book.disconnected,
                book.reconnecting,
                track.frames,
                track.sessions,
                track.largest_step
            );
            ensure!(book.disconnected == outages, "{name}: expected one source-disconnected an outage");
            ensure!(book.connected == outages + 1, "{name}: expected one source-connected an outage");
            ensure!(book.reconnecting >= outages, "{name}: expected a source-reconnecting an outage");
            ensure!(track.back == 0, "{name}: running time went back {} times", track.back);
            ensure!(track.out_of_order == 0, "{name}: seq did not rise {} times", track.out_of_order);
            ensure!(track.sessions_rise(), "{name}: the sessions do not rise: {:?}", track.sessions);
            ensure!(track.sessions.len() as u64 == outages + 1, "{name}: expected a session an outage");
        }
        Ok(())
    }
}
