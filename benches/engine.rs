//! What the settings of an ONNX Runtime session are worth: the defaults of `nvinference`, and one setting changed at
//! a time.
//!
//! `cargo bench --bench engine [-- --rounds N]` runs `models/nanodet-g-320.onnx` on ready tensors. Every setting has a
//! process of its own, so that its memory is its own; the processes take turns, and what is printed are medians over the
//! rounds. Nothing is asserted: what a check says holds for this run. The figures also go to
//! `target/bench/parts/engine.json`.

use anyhow::{Context as _, bail, ensure};
use gstnextvision::clock;
use gstnextvision::infer::{Engine, EngineOptions, Interrupt};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel as Level, SessionBuilder};
use ort::value::TensorRef;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/nanodet-g-320.onnx");
const PART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench/parts/engine.json");
const SIDE: i64 = 320;
const ROW_LEN: usize = 3 * 320 * 320;
const SIZES: [usize; 4] = [1, 2, 4, 8];
/// Sizes that are no bucket, run at their own size.
const ODD_SIZES: [usize; 2] = [3, 5];
/// How long one size is run in one process.
const SPAN: Duration = Duration::from_millis(300);

/// A session's settings. The default is what `nvinference` does.
#[derive(Clone, Copy)]
struct Settings {
    /// 0 takes what affinity and quota allow.
    threads: usize,
    spinning: bool,
    level: Level,
    arena: bool,
    memory_pattern: bool,
    block_base: u32,
    flush_to_zero: bool,
    device_allocator: bool,
}

const OURS: Settings = Settings {
    threads: 0,
    spinning: false,
    level: Level::All,
    arena: true,
    memory_pattern: false,
    block_base: 0,
    flush_to_zero: false,
    device_allocator: false,
};

/// What takes turns: a name, and the settings.
const SESSIONS: [(&str, Settings); 12] = [
    ("defaults of nvinference", OURS),
    ("threads 1", Settings { threads: 1, ..OURS }),
    ("spinning on", Settings { spinning: true, ..OURS }),
    ("optimisation disabled", Settings { level: Level::Disable, ..OURS }),
    ("optimisation basic", Settings { level: Level::Level1, ..OURS }),
    ("optimisation extended", Settings { level: Level::Level2, ..OURS }),
    ("memory pattern on", Settings { memory_pattern: true, ..OURS }),
    ("arena off", Settings { arena: false, ..OURS }),
    ("arena off, pattern on", Settings { arena: false, memory_pattern: true, ..OURS }),
    ("dynamic block base 4", Settings { block_base: 4, ..OURS }),
    ("denormals flushed", Settings { flush_to_zero: true, ..OURS }),
    ("weights outside the arena", Settings { device_allocator: true, ..OURS }),
];

/// What the cache of optimised models saves when the engine is opened.
const OPENINGS: [&str; 3] =
    ["opened without cache-dir", "opened, cache-dir empty", "opened, cache-dir filled"];

/// One process's figures.
struct Figures {
    /// ms until the session was there.
    load: f64,
    /// MB resident at the end.
    resident: f64,
    /// ms per frame, by size.
    wall: Vec<f64>,
    /// ms of CPU per frame, by size.
    cpu: Vec<f64>,
    /// ms per frame of sizes that are no bucket.
    odd: Vec<f64>,
    /// ms of the first run at a size not seen before, and of a later one.
    first: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--session", index] => print_figures(&measure(SESSIONS[index.parse::<usize>()?].1)?),
        ["--opening", folder] => print_opening(folder),
        ["--rounds", rounds] => compare(rounds.parse().context("--rounds: expected a number")?),
        [] => compare(5),
        other => bail!("expected --rounds N or nothing, found {other:?}"),
    }
}

fn compare(rounds: usize) -> anyhow::Result<()> {
    ensure!(rounds > 0, "--rounds: expected a number above 0, found 0");
    let mut sessions: Vec<Vec<Value>> = vec![Vec::new(); SESSIONS.len()];
    let mut openings: Vec<Vec<Value>> = vec![Vec::new(); OPENINGS.len()];
    for round in 0..rounds {
        for (index, figures) in sessions.iter_mut().enumerate() {
            figures.push(child(&["--session", &index.to_string()])?);
        }
        let folder = std::env::temp_dir().join(format!("nv-bench-{}-{round}", std::process::id()));
        let cache = folder.display().to_string();
        for (folder, figures) in ["", &cache, &cache].into_iter().zip(&mut openings) {
            figures.push(child(&["--opening", folder])?);
        }
        fs::remove_dir_all(&folder).ok();
    }
    report(rounds, &sessions, &openings)
}

/// Runs this program again, with these arguments, and reads its figures.
fn child(arguments: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?} ended with {}: {errors}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

// --- One session in this process ----------------------------------------------------------------------------

fn session(settings: Settings) -> anyhow::Result<Session> {
    let library = std::env::var_os("ORT_DYLIB_PATH").context("ORT_DYLIB_PATH must name libonnxruntime.so")?;
    let environment = ort::init_from(PathBuf::from(library))?.with_telemetry(false).build()?;
    let builder = Session::builder(&environment)?;
    let built = configure(builder, settings).map_err(|error| anyhow::anyhow!("{error}"));
    Ok(built?.commit_from_file(MODEL)?)
}

fn configure(builder: SessionBuilder, settings: Settings) -> ort::Result<SessionBuilder> {
    let threads = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    let mut builder = builder
        .with_no_environment_execution_providers()?
        .with_optimization_level(settings.level)?
        .with_parallel_execution(false)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(settings.spinning)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(settings.memory_pattern)?;
    if !settings.arena {
        let cpu = ort::ep::CPU::default().with_arena_allocator(false).build();
        builder = builder.with_execution_providers([cpu.error_on_failure()])?;
    }
    if settings.block_base > 0 {
        builder = builder.with_dynamic_block_base(settings.block_base)?;
    }
    if settings.flush_to_zero {
        builder = builder.with_flush_to_zero()?;
    }
    if settings.device_allocator {
        builder = builder.with_device_allocated_initializers()?;
    }
    Ok(builder)
}

fn measure(settings: Settings) -> anyhow::Result<Figures> {
    let began = clock::now();
    let mut session = session(settings)?;
    let load = ms(clock::now().since(began));
    // Grey noise: a frame's worth of numbers that are neither all equal nor denormal.
    let pixels: Vec<f32> =
        (0..8 * ROW_LEN).map(|i| f32::from((i.wrapping_mul(2_654_435_761) >> 16) as u8) / 255.0).collect();
    let mut figures = Figures {
        load,
        resident: 0.0,
        wall: Vec::new(),
        cpu: Vec::new(),
        odd: Vec::new(),
        first: Vec::new(),
    };
    for size in SIZES {
        let (wall, cpu) = time(&mut session, &pixels, size)?;
        figures.wall.push(wall);
        figures.cpu.push(cpu);
    }
    figures.resident = resident()?;
    figures.first.push(ms(run(&mut session, &pixels, 6)?));
    let mut later = (0..5).map(|_| run(&mut session, &pixels, 6)).collect::<Result<Vec<_>, _>>()?;
    figures.first.push(ms(median_of(&mut later)));
    for size in ODD_SIZES {
        figures.odd.push(time(&mut session, &pixels, size)?.0);
    }
    Ok(figures)
}

fn run(session: &mut Session, pixels: &[f32], size: usize) -> anyhow::Result<Duration> {
    let rows = &pixels[..size * ROW_LEN];
    let began = clock::now();
    let tensor = TensorRef::from_array_view(([i64::try_from(size)?, 3, SIDE, SIDE], rows))?;
    let outputs = session.run([tensor.into()])?;
    let took = clock::now().since(began);
    ensure!(outputs.len() == 1, "expected one output, found {}", outputs.len());
    Ok(took)
}

/// ms per frame: the median of the runs, and the CPU time of all threads.
fn time(session: &mut Session, pixels: &[f32], size: usize) -> anyhow::Result<(f64, f64)> {
    for _ in 0..2 {
        run(session, pixels, size)?;
    }
    let (began, busy) = (clock::now(), cpu_time()?);
    let mut runs = Vec::new();
    while clock::now().since(began) < SPAN || runs.len() < 5 {
        runs.push(run(session, pixels, size)?);
    }
    let busy = cpu_time()?.saturating_sub(busy);
    let frames = (runs.len() * size) as f64;
    Ok((ms(median_of(&mut runs)) / size as f64, ms(busy) / frames))
}

/// What all threads of this process have used so far.
fn cpu_time() -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split_whitespace().next().context("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// MB of this process in memory.
fn resident() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1024.0)
}

fn print_figures(figures: &Figures) -> anyhow::Result<()> {
    let Figures { load, resident, wall, cpu, odd, first } = figures;
    let value =
        json!({"load": load, "resident": resident, "wall": wall, "cpu": cpu, "odd": odd, "first": first});
    println!("{value}");
    Ok(())
}

/// Opens an engine, with a cache in `folder` unless that is empty.
fn print_opening(folder: &str) -> anyhow::Result<()> {
    // The library's own start is no part of it: another model is opened first.
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/identity.onnx");
    let _other = Engine::open(&EngineOptions::new(other))?;
    let mut options = EngineOptions::new(MODEL);
    options.cache_dir = Some(folder).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let began = clock::now();
    let engine = Engine::open(&options)?;
    let load = ms(clock::now().since(began));
    engine.warm_up(&[1], &Interrupt::new())?;
    println!("{}", json!({"load": load, "cache": engine.model().opened.cache.as_str()}));
    Ok(())
}

// --- The report ---------------------------------------------------------------------------------------------

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median_of(values: &mut [Duration]) -> Duration {
    values.sort();
    values[values.len() / 2]
}

/// The median over the rounds of the number at `pointer`.
fn median(rounds: &[Value], pointer: &str) -> f64 {
    let mut values: Vec<f64> =
        rounds.iter().filter_map(|round| round.pointer(pointer).and_then(Value::as_f64)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(rounds: usize, sessions: &[Vec<Value>], openings: &[Vec<Value>]) -> anyhow::Result<()> {
    let columns = [
        "setting",
        "N=1 ms/frame",
        "N=2",
        "N=4",
        "N=8",
        "N=1 CPU ms/frame",
        "N=4 CPU",
        "resident MB",
        "load ms",
    ];
    let pointers = ["/wall/0", "/wall/1", "/wall/2", "/wall/3", "/cpu/0", "/cpu/2"];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for ((name, _), figures) in SESSIONS.iter().zip(sessions) {
        let mut row = vec![(*name).to_owned()];
        row.extend(pointers.map(|pointer| format!("{:.2}", median(figures, pointer))));
        row.push(format!("{:.0}", median(figures, "/resident")));
        row.push(format!("{:.0}", median(figures, "/load")));
        rows.push(row);
    }
    for (name, figures) in OPENINGS.iter().zip(openings) {
        let mut row = vec![String::new(); columns.len()];
        row[0] = (*name).to_owned();
        row[columns.len() - 1] = format!("{:.0}", median(figures, "/load"));
        rows.push(row);
    }
    let ours = &sessions[0];
    let notes = [
        format!("medians over {rounds} rounds of a process each, {} cores", cores()),
        format!(
            "a batch of 3 at its own size takes {:.2} ms a frame, padded to 4 {:.2}; a batch of 5 {:.2}, padded to 8 {:.2}",
            median(ours, "/odd/0"),
            median(ours, "/wall/2") * 4.0 / 3.0,
            median(ours, "/odd/1"),
            median(ours, "/wall/3") * 8.0 / 5.0,
        ),
        format!(
            "the first run at a size not seen before takes {:.1} ms, a later one {:.1}",
            median(ours, "/first/0"),
            median(ours, "/first/1"),
        ),
    ];
    print_table(&columns, &rows, &notes);
    write_part(&json!({
        "part": "engine",
        "title": "Settings of the engine: NanoDet-g 320 on ready tensors, one setting changed at a time",
        "columns": columns,
        "rows": rows,
        "notes": notes,
        "checks": checks(sessions),
    }))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The defaults must not cost time against what they were chosen over.
fn checks(sessions: &[Vec<Value>]) -> Value {
    let ours = median(&sessions[0], "/wall/2");
    let best = sessions.iter().map(|figures| median(figures, "/wall/2")).fold(f64::INFINITY, f64::min);
    json!([{
        "name": "the defaults at N=4 against the fastest setting",
        "expected": "<= 1.10 of its time",
        "found": format!("{:.2}", ours / best),
        "holds": ours <= 1.10 * best,
    }])
}

fn print_table(columns: &[&str], rows: &[Vec<String>], notes: &[String]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default().max(columns[column].chars().count())
    };
    let header: Vec<_> = (0..columns.len()).map(|i| format!("{:>1$}", columns[i], width(i))).collect();
    println!("{}", header.join("  "));
    for row in rows {
        let cells: Vec<_> = (0..columns.len()).map(|i| format!("{:>1$}", row[i], width(i))).collect();
        println!("{}", cells.join("  "));
    }
    notes.iter().for_each(|note| println!("{note}"));
}

fn write_part(part: &Value) -> anyhow::Result<()> {
    let path = Path::new(PART);
    fs::create_dir_all(path.parent().context("a file in a folder")?)?;
    fs::write(path, serde_json::to_string_pretty(part)?)?;
    println!("written to {}", path.display());
    Ok(())
}
