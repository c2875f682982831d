//! Many files that loop, then as many cameras that are not there.

use crate::support::cameras::dead_port;
use crate::support::{STOP, Scene, launch, next_health, sink_pad, stop, threads};
use crate::track::{Shared, watch};
use anyhow::{Context as _, Result, bail, ensure};
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::health::Event;
use gstnextvision::time::Monotonic;
use std::path::Path;
use std::time::Duration;

/// Longest time to the first frame of every feed.
const START: Duration = Duration::from_secs(5);
/// Longest step from a frame to the next, in frames.
const LARGEST_STEP: f64 = 1.5;
/// Threads that others than the plugin may start meanwhile, GLib's pool above all.
const SLACK: usize = 2;
/// How long the cameras that are not there are tried.
const DEAD: Duration = Duration::from_secs(10);

/// What the wall of files showed.
struct Files {
    started: Duration,
    threads: [usize; 2],
    loops: u64,
    frames: u64,
    period: f64,
    largest_step: f64,
    stopped: Duration,
}

pub(crate) fn run(feeds: usize, seconds: Duration) -> Result<String> {
    let before = threads();
    let files = files(feeds, seconds)?;
    let between = threads();
    let (dead, attempts) = dead(feeds)?;
    println!("threads: {before} before, {between} after the files, {} after the dead cameras", threads());
    Ok(format!(
        "wall: {feeds} files, {} frames, {} loops, all started in {:.2} s, largest step {:.2} frames, threads {} after \
         the start and {} at most later, NULL in {:.3} s; {feeds} dead cameras, {attempts} attempts, NULL in {:.3} s",
        files.frames,
        files.loops,
        files.started.as_secs_f64(),
        files.largest_step / files.period,
        files.threads[0],
        files.threads[1],
        files.stopped.as_secs_f64(),
        dead.as_secs_f64()
    ))
}

/// `feeds` feeds, each with its properties and a fakesink.
fn wall(feeds: usize, properties: &str) -> Result<(Scene, Vec<Shared>)> {
    let branch = |at| format!("nvfeed name=feed-{at} {properties} ! fakesink name=sink-{at} sync=true ");
    let pipeline = launch(&(0..feeds).map(branch).collect::<String>())?;
    let track = |at| Ok(watch(&sink_pad(&pipeline, &format!("sink-{at}"))?));
    let tracks = (0..feeds).map(track).collect::<Result<_>>()?;
    Ok((pipeline, tracks))
}

fn files(feeds: usize, seconds: Duration) -> Result<Files> {
    let folder =
        std::env::var("NV_CLIPS").context("NV_CLIPS names the folder of clips; ./dev run sets it")?;
    let clip = Path::new(&folder).join("carphone_pristine.mp4").canonicalize().context("the clip")?;
    let uri = glib::filename_to_uri(clip, None)?;
    println!("{feeds} feeds of {uri} for {seconds:.0?}");
    let (pipeline, tracks) = wall(feeds, &format!("uri={uri} loop=true"))?;
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    let began = clock::now();
    pipeline.set_state(gst::State::Playing)?;
    while tracks.iter().any(|track| track.lock().first.is_none()) {
        listen(&bus, clock::now().saturating_add(Duration::from_millis(20)))?;
        let waited = clock::now().since(began);
        ensure!(waited < 4 * START, "not every feed has a frame after {waited:?}");
    }
    let firsts = tracks.iter().filter_map(|track| track.lock().first);
    let started = firsts.max().map_or(Duration::ZERO, |last| last.since(began));
    println!("all started after {started:.2?}");
    let (first, most) = play(&bus, began, seconds)?;
    let period = period(&sink_pad(&pipeline, "sink-0")?)?;
    let loops = (0..feeds).map(|at| stat(&pipeline, &format!("feed-{at}"), "loops"));
    let loops: Vec<_> = loops.collect::<Result<_>>()?;
    let stopped = stop(&pipeline)?;
    let tracks: Vec<_> = tracks.iter().map(|track| track.lock().clone()).collect();
    let largest_step = tracks.iter().map(|track| track.largest_step.seconds_f64()).fold(0.0, f64::max);
    let back: u64 = tracks.iter().map(|track| track.back).sum();
    let least = tracks.iter().map(|track| track.frames).min().unwrap_or_default();
    println!(
        "largest step {:.1} ms of {:.1} ms; {} to {} loops; the slowest feed gave {least} frames; threads {first}, then \
         {most}; NULL in {stopped:.3?}",
        largest_step * 1e3,
        period * 1e3,
        loops.iter().min().copied().unwrap_or_default(),
        loops.iter().max().copied().unwrap_or_default(),
    );
    ensure!(started < START, "the last feed started after {started:?}");
    ensure!(back == 0, "running time went back {back} times");
    ensure!(largest_step <= LARGEST_STEP * period, "a hole of {largest_step:.4} s, a frame is {period:.4} s");
    ensure!(most <= first + SLACK, "threads: {first} after the start, {most} later");
    ensure!(loops.iter().all(|loops| *loops > 0), "not every file has looped");
    ensure!(stopped < STOP, "NULL took {stopped:?}");
    let frames = tracks.iter().map(|track| track.frames).sum();
    let loops = loops.iter().sum();
    Ok(Files { started, threads: [first, most], loops, frames, period, largest_step, stopped })
}

/// Lets the wall play; the most threads in its first seconds, and after them.
fn play(bus: &gst::Bus, began: Monotonic, seconds: Duration) -> Result<(usize, usize)> {
    let end = began.saturating_add(seconds);
    // Until each file has looped for the first time, some of GStreamer's threads are still to come.
    let settled = clock::now().saturating_add(START.min(seconds / 4));
    let (mut first, mut most) = (0, 0);
    while clock::now() < end {
        listen(bus, clock::now().saturating_add(Duration::from_millis(250)).min(end))?;
        let count = if clock::now() < settled { &mut first } else { &mut most };
        *count = threads().max(*count);
    }
    Ok((first, most))
}

/// Cameras at an address of this machine where nobody listens; how long they took to stop, and how often they tried.
fn dead(feeds: usize) -> Result<(Duration, u64)> {
    let port = dead_port();
    let uri = format!("rtsp://127.0.0.1:{}/x", port.port());
    println!("{feeds} feeds of {uri} for {DEAD:.0?}");
    let (pipeline, _tracks) = wall(feeds, &format!("uri={uri}"))?;
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    pipeline.set_state(gst::State::Playing)?;
    let end = clock::now().saturating_add(DEAD);
    let (mut lost, mut attempts) = (0, 0);
    while let Some(message) = next_health(&bus, end)? {
        match message.event {
            Event::SourceDisconnected(disconnected) => {
                ensure!(disconnected.reason == "unreachable", "expected unreachable: {disconnected:?}");
                lost += message.burst.count;
            }
            Event::SourceReconnecting(_) => attempts += message.burst.count,
            other => bail!("{:?}: {other:?}", message.feed_id),
        }
    }
    let running = threads();
    let stopped = stop(&pipeline)?;
    println!("{lost} outages, {attempts} attempts, {running} threads; NULL in {stopped:.3?}");
    ensure!(lost == feeds as u64, "expected one source-disconnected of each feed, found {lost}");
    ensure!(stopped < STOP, "NULL took {stopped:?}");
    Ok((stopped, attempts))
}

/// Files give no reason for anything but these messages.
fn listen(bus: &gst::Bus, until: Monotonic) -> Result<()> {
    while let Some(message) = next_health(bus, until)? {
        match message.event {
            Event::SourceConnected(_) | Event::DecodeDecision(_) => {}
            other => bail!("{:?}: {other:?}", message.feed_id),
        }
    }
    Ok(())
}

fn stat(pipeline: &gst::Pipeline, name: &str, field: &str) -> Result<u64> {
    let element = pipeline.by_name(name).with_context(|| format!("no {name}"))?;
    Ok(element.property::<gst::Structure>("stats").get(field)?)
}

/// Time from a frame to the next, in seconds, as the caps say it.
fn period(pad: &gst::Pad) -> Result<f64> {
    let caps = pad.current_caps().context("no caps")?;
    let fps = gst_video::VideoInfo::from_caps(&caps)?.fps();
    ensure!(fps.numer() > 0, "no frame rate in {caps}");
    Ok(f64::from(fps.denom()) / f64::from(fps.numer()))
}
