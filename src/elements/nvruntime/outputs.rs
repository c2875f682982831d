//! The outputs of a site: where the records of its feeds go.
//!
//! Each feed has a sink of its own for each output, with a queue and a thread, so an output that is slow costs the
//! records that go there and nothing else. Sinks that write to one file take turns, those of an output that was
//! replaced by a reload and have something left among them.

use super::core::Core;
use super::refusal::Refusal;
use crate::clock;
use crate::config::{self, OutputKind};
use crate::health::{OutputFailed, redact};
use crate::output::{Lines, Publisher, Record, Rotation, Written};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a write to a disk takes at most.
const WRITE: Duration = Duration::from_secs(1);

/// What an output has done, whichever file it went to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) rotations: AtomicU64,
    pub(super) last_error: Mutex<String>,
    /// Records lost as of the last look, and when that last changed, on the monotonic clock in nanoseconds.
    pub(super) seen: Mutex<(u64, u64)>,
}

/// The files that are open. Each is written by one [`Lines`], whoever writes to it.
#[derive(Default)]
pub(super) struct Files(Mutex<BTreeMap<PathBuf, Weak<Mutex<Lines>>>>);

impl Files {
    /// The lines of `path`; nothing is done with a file that is open.
    fn open(&self, path: &Path, open: impl FnOnce() -> io::Result<Lines>) -> io::Result<Arc<Mutex<Lines>>> {
        let mut files = self.0.lock();
        files.retain(|_, lines| lines.strong_count() > 0);
        if let Some(lines) = files.get(path).and_then(Weak::upgrade) {
            return Ok(lines);
        }
        let lines = Arc::new(Mutex::new(open()?));
        files.insert(path.to_owned(), Arc::downgrade(&lines));
        Ok(lines)
    }
}

/// An output.
pub(super) struct Output {
    pub(super) config: config::Output,
    pub(super) counts: Arc<Counts>,
    core: Weak<Core>,
    runtime: glib::WeakRef<gst::Element>,
}

impl Output {
    pub(super) fn new(config: config::Output, core: &Arc<Core>, runtime: &gst::Element) -> Self {
        use glib::prelude::*;
        Self { config, counts: Arc::default(), core: Arc::downgrade(core), runtime: runtime.downgrade() }
    }

    /// Who takes the records of that feed; `None` if they leave by a signal.
    pub(super) fn publisher(&self, feed: &str) -> Result<Option<Arc<dyn Publisher>>, Refusal> {
        match &self.config.kind {
            OutputKind::Appsink => Ok(None),
            OutputKind::Stdout => Ok(Some(self.writer(Path::new("-"), None, || Ok(Lines::stdout()))?)),
            OutputKind::File { rotate_size, keep, .. } => {
                let path = self.config.path(feed).unwrap_or_default();
                let rotation = rotate_size.map(|max_bytes| Rotation { max_bytes, keep: *keep });
                let open = || {
                    let (lines, torn) = Lines::append_to(&path, rotation)?;
                    if torn > 0 {
                        gst::warning!(
                            super::imp::CAT,
                            "{}: removed a last line that was not complete, of {torn} bytes",
                            path.display()
                        );
                    }
                    Ok(lines)
                };
                Ok(Some(self.writer(&path, rotation, open)?))
            }
        }
    }

    fn writer(
        &self,
        path: &Path,
        rotation: Option<Rotation>,
        open: impl FnOnce() -> io::Result<Lines>,
    ) -> Result<Arc<dyn Publisher>, Refusal> {
        let core = self.core.upgrade().ok_or(Refusal::NotRunning)?;
        let lines = core.files.open(path, open).map_err(|error| {
            let shown = path.display().to_string();
            Refusal::failed(format!(
                "output {:?}: cannot write to {:?}: {error}",
                self.config.name,
                redact(&shown)
            ))
        })?;
        // Whoever is held up in a write for longer has nothing that could be begun anew.
        if let Some(mut lines) = lines.try_lock_for(WRITE) {
            lines.set_rotation(rotation);
        }
        Ok(Arc::new(Writer {
            name: self.config.name.clone(),
            lines,
            counts: Arc::clone(&self.counts),
            core: self.core.clone(),
            runtime: self.runtime.clone(),
        }))
    }
}

/// What a sink writes to.
struct Writer {
    name: String,
    lines: Arc<Mutex<Lines>>,
    counts: Arc<Counts>,
    core: Weak<Core>,
    runtime: glib::WeakRef<gst::Element>,
}

impl Writer {
    fn account(&self, said: Written) -> Written {
        let counts = &self.counts;
        counts.written.fetch_add(said.written, Ordering::Relaxed);
        counts.bytes.fetch_add(said.bytes, Ordering::Relaxed);
        counts.lost.fetch_add(said.lost, Ordering::Relaxed);
        counts.rotations.fetch_add(said.turned.into(), Ordering::Relaxed);
        if let Some(error) = said.error {
            let detail = redact(&error.to_string()).into_owned();
            counts.last_error.lock().clone_from(&detail);
            if let (Some(core), Some(runtime)) = (self.core.upgrade(), self.runtime.upgrade()) {
                let event = OutputFailed { output: self.name.clone(), detail };
                core.health.report(&runtime, None, event, said.lost);
            }
        }
        // The sink counts by what it offers; lines of several sinks go out together.
        Written::default()
    }
}

impl Publisher for Writer {
    fn publish(&self, record: &Record) -> Written {
        let said = self.lines.lock().append(record);
        self.account(said)
    }

    fn flush(&self) -> Written {
        let said = self.lines.lock().flush();
        self.account(said)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Who writes meanwhile takes along what is left here.
        let said = self.lines.try_lock().map(|mut lines| lines.flush());
        self.account(said.unwrap_or_default());
    }
}

/// Counts what leaves by the signal.
pub(super) struct Handed(pub(super) Arc<Counts>);

impl Publisher for Handed {
    fn publish(&self, _record: &Record) -> Written {
        self.0.written.fetch_add(1, Ordering::Relaxed);
        Written::default()
    }
}

impl Counts {
    /// Whether records were lost in the last `within` nanoseconds, if `lost` are lost by now.
    pub(super) fn is_lagging(&self, lost: u64, within: u64) -> bool {
        let now = clock::now().as_nanos();
        let mut seen = self.seen.lock();
        if seen.0 != lost {
            *seen = (lost, now);
        }
        seen.1 > 0 && now.saturating_sub(seen.1) < within
    }
}
