//! The benchmark suite. `./dev bench` sets up and runs all of it; `docs/performance.md` says what each part measures.
//!
//! ```text
//! cargo bench --features testing --bench suite -- [--rounds N] [PART…]
//! ```
//!
//! Every part leaves `target/bench/parts/<part>.json`; `scripts/bench_report.py` puts all that are there into one table,
//! one JSON file and one picture. Nothing is asserted: a promise that does not hold is said and shown.

mod compare;
mod frames;
mod group;
mod load;
mod measure;
mod numbers;
mod overhead;
mod part;
mod prepare;
mod raw;
mod scene;
mod source;
mod startup;
mod throughput;

use anyhow::{Context as _, Result, bail};
use measure::Moment;

/// The parts in the order in which they run; (d) is a program of its own, `preprocess`.
const ALL: [&str; 8] = ["a", "b", "c", "e", "f", "g", "h", "i"];
/// Rounds of each measurement, unless told otherwise. Those of whole processes on files are fewer.
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let began = Moment::now();
    let mut wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    gst::init()?;
    gstnextvision::plugin_register_static()?;
    if let Some(("child", rest)) = wanted.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return child(rest, began);
    }
    let mut rounds = ROUNDS;
    if let Some(at) = wanted.iter().position(|argument| argument == "--rounds") {
        rounds = wanted.get(at + 1).context("--rounds: expected a number")?.parse()?;
        wanted.drain(at..at + 2);
    }
    if wanted.is_empty() {
        wanted = ALL.map(str::to_owned).to_vec();
    }
    for part in wanted {
        run(&part, rounds.max(1))?;
    }
    Ok(())
}

fn run(part: &str, rounds: usize) -> Result<()> {
    println!("== part {part}");
    let of_files = rounds.saturating_sub(2).max(1);
    let found = match part {
        "a" => raw::part(rounds)?,
        "b" => throughput::part(rounds)?,
        "c" => overhead::part(rounds)?,
        "e" => compare::others(of_files)?,
        "f" => compare::nextvision(of_files)?,
        "g" => load::part()?,
        "h" => startup::part(rounds)?,
        "i" => group::part(rounds)?,
        other => bail!("no part {other}: expected some of {ALL:?}"),
    };
    found.publish()?;
    println!("   part {part}: load average now {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    Ok(())
}

/// What parts run in a process of its own.
fn child(arguments: &[String], began: Moment) -> Result<()> {
    let (name, rest) = arguments.split_first().context("a name")?;
    match name.as_str() {
        "overhead" => overhead::child(rest),
        "start" => startup::child_start(rest, began),
        "memory" => startup::child_memory(rest),
        "group" => group::child(rest),
        other => bail!("no child {other}"),
    }
}
