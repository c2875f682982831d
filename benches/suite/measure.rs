//! What the machine has spent: time on the clock, processor time, memory, instructions.

use anyhow::{Context as _, Result, bail};
use gstnextvision::clock;
use gstnextvision::time::Monotonic;
use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A moment of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) clock: Monotonic,
    /// Processor time of all threads so far.
    pub(crate) cpu: Duration,
}

/// What lies between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
        Self { clock: clock::now(), cpu: Duration::new(seconds, nanos) }
    }

    pub(crate) fn until(self, later: Self) -> Spent {
        Spent { wall: later.clock.since(self.clock), cpu: later.cpu.saturating_sub(self.cpu) }
    }

    pub(crate) fn elapsed(self) -> Spent {
        self.until(Self::now())
    }
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Memory of this process that is resident, in bytes.
pub(crate) fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Processor time of the children that were waited for so far, in steps of the kernel's ticks.
fn children_cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the process, which may hold anything, ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').context("/proc/self/stat")?;
    let fields: Vec<u64> = rest.split_whitespace().skip(13).take(2).flat_map(str::parse).collect();
    let ticks = fields.iter().sum::<u64>();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Runs a program to its end: what it printed, and what it took. Its errors go to a log.
pub(crate) fn run(command: &mut Command, log: &Path) -> Result<(String, Spent)> {
    let errors = std::fs::File::create(log).with_context(|| log.display().to_string())?;
    let (began, cpu) = (clock::now(), children_cpu()?);
    let output = command.stdin(Stdio::null()).stderr(errors).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let spent = Spent { wall: clock::now().since(began), cpu: children_cpu()?.saturating_sub(cpu) };
    if !output.status.success() {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<_> = said.lines().rev().take(5).collect();
        bail!(
            "{command:?} ended with {}: {}",
            output.status,
            tail.into_iter().rev().collect::<Vec<_>>().join(" / ")
        );
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), spent))
}

/// This program again, in a process of its own, as `child NAME ARGUMENT…`.
pub(crate) fn child(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("child").args(arguments);
    Ok(command)
}

/// Instructions that `child` executes from beginning to end; `None` without valgrind.
pub(crate) fn instructions(arguments: &[&str], log: &Path) -> Result<Option<u64>> {
    if !present("valgrind") {
        return Ok(None);
    }
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--fair-sched=yes"]);
    // Three threads a feed are more than it expects.
    command.arg("--max-threads=4096");
    command.arg(std::env::current_exe()?).arg("child").args(arguments);
    run(&mut command, log)?;
    let said = std::fs::read_to_string(log)?;
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    Ok(collected.and_then(|(_, count)| count.trim().parse().ok()))
}

/// Whether a program of that name is in the PATH.
pub(crate) fn present(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A file for what a child says, below the suite's folder.
pub(crate) fn log(name: &str) -> Result<PathBuf> {
    let folder = super::part::folder().join("logs");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.join(format!("{name}.log")))
}
