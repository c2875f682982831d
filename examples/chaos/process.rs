//! What the process has of the system, read from /proc.

/// Ticks of the processor clock in a second, as Linux shows them to programs.
const TICKS: f64 = 100.0;
/// Bytes in a page; the machines this runs on have no others.
const PAGE: f64 = 4096.0;

#[expect(unsafe_code, reason = "the declaration of a function of glibc")]
unsafe extern "C" {
    fn malloc_trim(pad: usize) -> std::ffi::c_int;
}

/// Threads and descriptors.
pub(crate) fn counts() -> (usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).map_or(0, Iterator::count);
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Resident memory, in MB.
///
/// What the allocator only keeps for later is given back first: it depends on which thread freed what when, and comes and
/// goes by megabytes, where a leak of a few bytes a frame is to be seen.
pub(crate) fn resident_mb() -> f64 {
    // SAFETY: glibc's function takes any number, and may be called by any thread at any time.
    #[expect(unsafe_code, reason = "nothing else gives free memory back")]
    unsafe {
        malloc_trim(0);
    }
    field("/proc/self/statm", 1) * PAGE / 1e6
}

/// Time on the processors so far, in seconds.
pub(crate) fn processor_seconds() -> f64 {
    // The name in brackets is this program's, which has no space in it.
    (field("/proc/self/stat", 13) + field("/proc/self/stat", 14)) / TICKS
}

fn field(path: &str, at: usize) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().nth(at).and_then(|field| field.parse().ok()).unwrap_or(0.0)
}

/// All of it in a line.
pub(crate) fn summary() -> String {
    let (threads, descriptors) = counts();
    format!("{threads} threads, {descriptors} descriptors, {:.1} MB", resident_mb())
}

/// Slope of the line through these points by least squares; 0 for fewer than two.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let below: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    if points.len() < 2 || below == 0.0 { 0.0 } else { above / below }
}
