//! Sixteen feeds through one engine while everything goes wrong at random, and the question whether anything was
//! lost, mixed up or left behind.
//!
//! ```text
//! cargo run --release --features testing --example chaos -- --seed 7 --minutes 10
//! ```
//!
//! The seed decides which fault comes when; when exactly it meets which frame is the machine's. Ends with
//! `chaos passed: seed N, …`, or with `chaos FAILED: …` and exit status 1.

#[path = "chaos/world.rs"]
mod world;

// What the fault tests have, too. They use more of it.
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/faults/camera.rs"]
mod camera;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/faults/consumer.rs"]
mod consumer;
#[path = "chaos/process.rs"]
mod process;
#[path = "chaos/support.rs"]
mod support;

use anyhow::{Context as _, Result, bail, ensure};
use gstnextvision::clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use world::World;

/// Time at the end in which no feed sends anything.
const CALM: Duration = Duration::from_secs(5);
/// Time on the processors in it, as a part of it.
const MOST_IDLE: f64 = 0.02;
/// Growth of resident memory, in MB per 10 minutes.
const MOST_GROWTH: f64 = 1.0;
/// Time to NULL; a wedged run may add the time the engine has to answer.
const STOP: Duration = Duration::from_secs(3);
/// Threads and descriptors that others than the plugin may open meanwhile, GLib's pool above all.
const SLACK: usize = 2;

static CRITICALS: AtomicU64 = AtomicU64::new(0);

fn main() -> std::process::ExitCode {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // The model panics on purpose.
        if info.payload().downcast_ref::<String>().is_none_or(|text| text != world::ON_PURPOSE) {
            default(info);
        }
    }));
    let run = std::panic::catch_unwind(|| parse().and_then(|(seed, minutes)| run(seed, minutes)));
    match run {
        Ok(Ok(text)) => {
            println!("chaos passed: {text}");
            std::process::ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            println!("chaos FAILED: {error:#}");
            std::process::ExitCode::FAILURE
        }
        Err(_) => {
            println!("chaos FAILED: a panic, see above");
            std::process::ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<(u64, f64)> {
    let (mut seed, mut minutes) = (clock::wall_micros(), 10.0);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{argument}: expected a value"))?;
        match argument.as_str() {
            "--seed" => seed = value.parse().context("--seed: expected a whole number")?,
            "--minutes" => minutes = value.parse().context("--minutes: expected a number")?,
            _ => bail!("usage: chaos [--seed N] [--minutes M]"),
        }
    }
    Ok((seed, minutes))
}

fn run(seed: u64, minutes: f64) -> Result<String> {
    println!("seed {seed}, {minutes} minutes");
    gst::init()?;
    gstnextvision::plugin_register_static()?;
    glib::log_set_default_handler(|domain, level, text| {
        if matches!(level, glib::LogLevel::Critical | glib::LogLevel::Error) {
            CRITICALS.fetch_add(1, Ordering::Relaxed);
        }
        eprintln!("{}: {text}", domain.unwrap_or("GLib"));
    });
    let began = clock::now();
    let end = began.saturating_add(Duration::from_secs_f64(minutes * 60.0));
    let mut world = World::new(seed)?;
    let (mut samples, mut first, mut next_look, mut looks) = (Vec::new(), None, began, 0_u64);
    while clock::now() < end {
        world.tick();
        if clock::now() < next_look {
            continue;
        }
        next_look = next_look.saturating_add(Duration::from_secs(1));
        world.check()?;
        looks += 1;
        if looks > 60 {
            samples.push((clock::now().since(began).as_secs_f64(), process::resident_mb()));
        }
        if looks.is_multiple_of(60) {
            first.get_or_insert_with(process::counts);
            println!("minute {}: {}, {}", looks / 60, world.summary(), process::summary());
        }
    }
    world.calm_down()?;
    let idle = idle_part();
    let growth = process::slope(&samples) * 600.0;
    let now = process::counts();
    let first = first.unwrap_or(now);
    let summary = world.summary();
    println!("ledger: {}", world.ledger());
    println!("reports: {}", world.reports());
    let stop = world.stop()?;
    let text = format!(
        "seed {seed}, {summary}, threads {} then {}, descriptors {} then {}, memory {growth:+.2} MB per 10 minutes, \
         idle {:.2} % of a processor, NULL in {:.3} s, {} criticals",
        first.0,
        now.0,
        first.1,
        now.1,
        idle * 100.0,
        stop.as_secs_f64(),
        CRITICALS.load(Ordering::Relaxed)
    );
    println!("{text}");
    ensure!(CRITICALS.load(Ordering::Relaxed) == 0, "GLib logged a CRITICAL");
    ensure!(idle < MOST_IDLE, "idle feeds take {:.2} % of a processor", idle * 100.0);
    ensure!(stop < STOP, "NULL took {stop:?}");
    ensure!(now.0 <= first.0 + SLACK, "threads: {} after a minute, {} at the end", first.0, now.0);
    ensure!(now.1 <= first.1 + SLACK, "descriptors: {} after a minute, {} at the end", first.1, now.1);
    // A slope over less than a few minutes says nothing.
    ensure!(samples.len() < 180 || growth < MOST_GROWTH, "memory grows by {growth:.2} MB per 10 minutes");
    Ok(text)
}

/// Part of a processor's time that the process takes while no feed sends anything.
fn idle_part() -> f64 {
    let (began, before) = (clock::now(), process::processor_seconds());
    let end = began.saturating_add(CALM);
    while clock::now() < end {
        std::thread::park_timeout(clock::until(end));
    }
    (process::processor_seconds() - before) / clock::now().since(began).as_secs_f64()
}
