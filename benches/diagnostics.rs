//! What looking costs: `diagnostics` of a site of many feeds, and what feeds notice of being looked at.
//!
//! ```text
//! ./dev run cargo bench --bench diagnostics -- [FEEDS] [ROUNDS]
//! ```
//!
//! Plays live feeds of 10 frames a second in one `nvruntime`, and takes turns: five seconds left alone, five seconds
//! looked at ten times a second. Prints how long a look takes, and the 99th percentile of the time that frames take
//! from the batcher to their record in both, with their ratio.

#![expect(clippy::disallowed_methods, reason = "a benchmark lets time pass and looks at the clock")]

use anyhow::{Context as _, Result};
use gst::prelude::*;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PHASE: Duration = Duration::from_secs(5);
const LOOKS: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (feeds, rounds) = (numbers.next().unwrap_or(64), numbers.next().unwrap_or(5));
    gst::init()?;
    gstnextvision::plugin_register_static()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("site.toml");
    std::fs::write(&file, site(feeds)?)?;
    let runtime = gst::ElementFactory::make("nvruntime").property("config", file.to_str()).build()?;
    let latencies = Arc::new(Mutex::new(Vec::new()));
    listen(&runtime, &latencies);
    let pipeline = gst::Pipeline::new();
    pipeline.add(&runtime)?;
    pipeline.set_state(gst::State::Playing)?;
    let outcome = measure(&runtime, &latencies, feeds, rounds);
    pipeline.set_state(gst::State::Null)?;
    outcome
}

fn site(feeds: usize) -> Result<String> {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/brightest.onnx");
    let mut text = format!(
        "[runtime]\nmax-feeds = {feeds}\nallow-custom-pipeline = true\n[[models]]\nname = \"m\"\npath = {model:?}\n\
         [[groups]]\nname = \"g\"\nmodels = [\"m\"]\nmax-batch-size = 16\n[[outputs]]\nname = \"o\"\ntype = \"appsink\"\n"
    );
    let caps = "video/x-raw,format=RGB,width=64,height=64,framerate=10/1";
    for feed in 0..feeds {
        writeln!(
            text,
            "[[feeds]]\nid = \"f{feed}\"\ncustom-pipeline = \"videotestsrc is-live=true ! {caps} ! identity\""
        )?;
    }
    Ok(text)
}

/// Keeps how long each frame took, in milliseconds.
fn listen(runtime: &gst::Element, latencies: &Arc<Mutex<Vec<f64>>>) {
    let latencies = Arc::clone(latencies);
    runtime.connect("new-output", false, move |args| {
        let record = args.get(3)?.get::<gst::Structure>().ok()?;
        let provenance = record.get::<gst::Structure>("provenance").ok()?;
        let time = |name| provenance.get::<u64>(name).ok();
        let took = time("delivered")?.saturating_sub(time("arrival")?);
        latencies.lock().ok()?.push(took as f64 / 1e6);
        None
    });
}

fn measure(runtime: &gst::Element, latencies: &Mutex<Vec<f64>>, feeds: usize, rounds: usize) -> Result<()> {
    let take = || latencies.lock().map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default();
    std::thread::sleep(PHASE);
    take();
    let (mut looks, mut ratios) = (Vec::new(), Vec::new());
    println!("{feeds} feeds of 10 frames a second\nround  p99 alone  p99 looked at  ratio");
    for round in 0..rounds {
        std::thread::sleep(PHASE);
        let alone = percentile(take(), 0.99).context("no frame came")?;
        let begun = Instant::now();
        while begun.elapsed() < PHASE {
            let look = Instant::now();
            let _: gst::Structure = runtime.emit_by_name("diagnostics", &[]);
            looks.push(look.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(LOOKS.saturating_sub(look.elapsed()));
        }
        let looked_at = percentile(take(), 0.99).context("no frame came")?;
        ratios.push(looked_at / alone);
        println!("{round:>5}  {alone:>6.2} ms  {looked_at:>10.2} ms  {:>5.2}", looked_at / alone);
    }
    let of_looks = |part| percentile(looks.clone(), part).unwrap_or_default();
    println!(
        "diagnostics: median {:.2} ms, p99 {:.2} ms; p99 of frames, looked at / alone: median ratio {:.2}",
        of_looks(0.5),
        of_looks(0.99),
        percentile(ratios, 0.5).unwrap_or_default()
    );
    Ok(())
}

fn percentile(mut values: Vec<f64>, part: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    values.get((last as f64 * part).round() as usize).copied()
}
