//! Cameras that fail in every way, and files that loop, each with an `nvfeed`: is what the element promises true?
//!
//! ```text
//! ./dev run cargo run --release --example cameras -- outages --outages 10 --seconds 180 --seed 7
//! ./dev run cargo run --release --example cameras -- mixed --seconds 60
//! ./dev run cargo run --release --example cameras -- wall --feeds 64 --seconds 120
//! ```
//!
//! * `outages`: four cameras of one RTSP server, which is killed and started again at random moments. Each feed must come
//!   back within the back-off delay then in force and 2 s, each outage must be said as one, the pipeline must not notice,
//!   and time must not go back.
//! * `mixed`: a camera that freezes, one with another password, one with a name that nobody knows, and a healthy one.
//!   Each failure must be said in time and with its own reason, nothing more than once a second, and the healthy one must
//!   deliver what a plain `rtspsrc` beside it delivers.
//! * `wall`: many looped files, which must start soon, have no hole, leave the number of threads as it is and stop soon;
//!   then as many feeds of an address where nobody listens, which must stop soon, too.
//!
//! Only loopback is used. The RTSP server is GStreamer's own, as in the tests. Ends with `cameras passed: …`, or with
//! `cameras FAILED: …` and exit status 1.

#[path = "cameras/mixed.rs"]
mod mixed;
#[path = "cameras/outages.rs"]
mod outages;
#[path = "cameras/support.rs"]
mod support;
#[path = "cameras/track.rs"]
mod track;
#[path = "cameras/wall.rs"]
mod wall;

use anyhow::{Context as _, Result, bail};
use gstnextvision::clock;
use std::time::Duration;

const USAGE: &str = "usage: cameras outages [--outages N] [--seconds S] [--seed N] \
                     | cameras mixed [--seconds S] [--timeout S] | cameras wall [--feeds N] [--seconds S]";

/// What the command line asks for; each trial takes what it knows.
struct Options {
    outages: u32,
    seconds: Option<f64>,
    seed: u64,
    timeout: f64,
    feeds: usize,
}

fn main() -> std::process::ExitCode {
    match std::panic::catch_unwind(run) {
        Ok(Ok(text)) => {
            println!("cameras passed: {text}");
            std::process::ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            println!("cameras FAILED: {error:#}");
            std::process::ExitCode::FAILURE
        }
        Err(_) => {
            println!("cameras FAILED: a panic, see above");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String> {
    let mut arguments = std::env::args().skip(1);
    let trial = arguments.next().context(USAGE)?;
    let options = parse(arguments)?;
    let seconds = |default| Duration::from_secs_f64(options.seconds.unwrap_or(default));
    gst::init()?;
    gstnextvision::plugin_register_static()?;
    match trial.as_str() {
        "outages" => outages::run(options.outages, seconds(180.0), options.seed),
        "mixed" => mixed::run(seconds(60.0), Duration::from_secs_f64(options.timeout)),
        "wall" => wall::run(options.feeds, seconds(120.0)),
        _ => bail!(USAGE),
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options =
        Options { outages: 10, seconds: None, seed: clock::wall_micros(), timeout: 10.0, feeds: 64 };
    let seconds = |value: &str| {
        let seconds = value.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0);
        seconds.with_context(|| format!("expected a number of seconds, found {value:?}"))
    };
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{argument}: expected a value"))?;
        match argument.as_str() {
            "--outages" => options.outages = value.parse().context("--outages: expected a whole number")?,
            "--seconds" => options.seconds = Some(seconds(&value).context("--seconds")?),
            "--seed" => options.seed = value.parse().context("--seed: expected a whole number")?,
            "--timeout" => options.timeout = seconds(&value).context("--timeout")?,
            "--feeds" => options.feeds = value.parse().context("--feeds: expected a whole number")?,
            _ => bail!(USAGE),
        }
    }
    Ok(options)
}
