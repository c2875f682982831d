//! What the process has of the system: threads, descriptors, time on the processors.
//!
//! True only for a process that runs one test at a time, as `cargo nextest` makes them.

use crate::support::eventually;
use crate::support::holdings::Holdings;

/// Time of its own that the test takes while it looks whether a thread of ours spins, in nanoseconds.
const OWN_TIME: u64 = 30_000_000;

/// Whether this test has its process for itself.
pub(super) fn is_alone() -> bool {
    std::env::var("NEXTEST_EXECUTION_MODE").is_ok_and(|mode| mode == "process-per-test")
}

/// Waits until there is no more than `before`; a thread that was let go of ends a moment later. Threads of GLib's pool,
/// which `others` may have used, end when they have been idle for 15 s: they are not waited for.
pub(super) fn wait_for_no_more(before: &Holdings, others: bool) {
    if !is_alone() {
        return;
    }
    eventually(&format!("no more than {before:?}"), Holdings::now, |now| now.is_no_more_than(before, others));
}

/// Time on a processor of one thread, in nanoseconds.
fn time_of(task: &str) -> u64 {
    let text = std::fs::read_to_string(format!("{task}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Time on the processors of all our threads.
fn time_of_ours() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    tasks
        .filter_map(|task| task.path().to_str().map(str::to_owned))
        .filter(|task| {
            std::fs::read_to_string(format!("{task}/comm")).is_ok_and(|name| name.starts_with("nv-"))
        })
        .map(|task| time_of(&task))
        .sum()
}

/// Nothing is to be done, so no thread of ours does anything. Time on the processors is compared with time on
/// the processors, whatever else the machine does: a thread that spins gets as much of them as this one.
pub(super) fn assert_quiet() {
    if !is_alone() {
        return;
    }
    let (before, began) = (time_of_ours(), time_of("/proc/thread-self"));
    let own = loop {
        let own = time_of("/proc/thread-self").saturating_sub(began);
        if own >= OWN_TIME {
            break own;
        }
        std::hint::spin_loop();
    };
    let ours = time_of_ours().saturating_sub(before);
    assert!(ours * 4 < own, "with nothing to do, our threads took {ours} ns while the test took {own} ns");
}
