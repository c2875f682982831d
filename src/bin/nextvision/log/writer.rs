//! The thread that writes lines.
//!
//! Whoever logs may be in the middle of a frame and must not wait for a reader that is slow or gone. Lines wait in a
//! bounded queue; those that find it full are counted, and the count is the next line.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Lines that may wait.
const CAPACITY: usize = 1024;

/// How long the end waits for a reader.
const PATIENCE: Duration = Duration::from_secs(2);

enum Item {
    Line(String),
    /// Answered when all before is written.
    Flush(Sender<()>),
}

/// The way to the thread.
pub(super) struct Writer {
    items: Sender<Item>,
    lost: Arc<AtomicU64>,
    is_over: AtomicBool,
}

impl Writer {
    /// Starts the thread. It lives as long as this.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (items, to_write) = bounded(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let lost_by = Arc::clone(&lost);
        thread::Builder::new().name("nv-log".to_owned()).spawn(move || write(out, &to_write, &lost_by))?;
        Ok(Self { items, lost, is_over: AtomicBool::new(false) })
    }

    /// Has `line` written. Never waits.
    pub(super) fn line(&self, line: String) {
        if self.is_over.load(Ordering::Acquire) {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.items.try_send(Item::Line(line)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written that waits, or nobody reads for too long.
    pub(super) fn flush(&self) {
        let (written, is_written) = bounded(1);
        if self.items.send_timeout(Item::Flush(written), PATIENCE).is_ok() {
            // Written, or nobody reads.
            is_written.recv_timeout(PATIENCE).ok();
        }
    }

    /// Has everything written that waits, then `last`, and nothing after it.
    pub(super) fn finish(&self, last: Option<String>) {
        if self.is_over.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(line) = last {
            self.items.send_timeout(Item::Line(line), PATIENCE).ok();
        }
        self.flush();
    }
}

/// A reader that has gone away is no reason to stop taking lines.
fn write(mut out: impl Write, items: &Receiver<Item>, lost: &AtomicU64) {
    let mut put = |line: &str| {
        // One write for a line: other programs may write to the same place.
        out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).ok();
    };
    for item in items {
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            put(&format!("nextvision: {missing} lines of the log are lost: nobody read them in time"));
        }
        match item {
            Item::Line(line) => put(&line),
            // Whoever waited may have lost patience.
            Item::Flush(written) => drop(written.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;
    use std::sync::Mutex;

    /// Says that it is to write, and writes when allowed to.
    struct Slow {
        asked: Sender<()>,
        allowed: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.send(()).ok();
            // Once nobody holds it back any more it writes freely.
            self.allowed.recv().ok();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Shared = Arc<Mutex<Vec<u8>>>;

    fn slow() -> (Sender<()>, Shared, Writer) {
        let (allow, written, writer, _) = slow_that_tells();
        (allow, written, writer)
    }

    fn slow_that_tells() -> (Sender<()>, Shared, Writer, Receiver<()>) {
        let (allow, allowed) = bounded(0);
        let (asked, is_asked) = unbounded();
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer::start(Slow { asked, allowed, written: Arc::clone(&written) }).unwrap();
        (allow, written, writer, is_asked)
    }

    #[test]
    fn the_last_line_is_the_last() {
        let (allow, written, writer) = slow();
        drop(allow);
        writer.line("a".to_owned());
        writer.finish(Some("why".to_owned()));
        writer.line("late".to_owned());
        writer.finish(Some("again".to_owned()));
        assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()), "a\nwhy\n");
    }

    #[test]
    fn who_logs_does_not_wait_for_a_reader_and_what_is_lost_is_counted() {
        let (allow, written, writer, is_asked) = slow_that_tells();
        writer.line("first".to_owned());
        // The thread has it in hand, and takes no other.
        is_asked.recv().unwrap();
        for line in 0..CAPACITY * 2 {
            writer.line(line.to_string());
        }
        drop(allow);
        writer.finish(None);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines.iter().filter(|line| line.contains("lines of the log are lost")).count(),
            1,
            "{text}"
        );
        assert_eq!(lines.len(), 1 + CAPACITY + 1, "the first, those that waited, and how many are missing");
        assert!(text.contains(&format!("nextvision: {CAPACITY} lines of the log are lost")), "{text}");
    }

    #[test]
    fn a_reader_that_never_reads_does_not_hold_up_the_end() {
        let (allow, written, writer) = slow();
        writer.finish(Some("why".to_owned()));
        assert!(written.lock().unwrap().is_empty());
        drop(allow);
    }
}
