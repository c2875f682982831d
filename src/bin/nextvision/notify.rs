//! What the service manager is told: that it is ready, how it fares, that it lives.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is told and there is no thread.

use glib::prelude::*;
use gstnextvision::clock;
use gstnextvision::time::Monotonic;
use sd_notify::NotifyState;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;
use tracing::warn;

/// How often the line of state is told anew.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// For how long the main thread may not have been seen and still count as alive. It is seen each second.
const ABSENCE: Duration = Duration::from_secs(5);

/// For how long reading the site again, and loading what is new in it, may keep the runtime from answering.
const RELOAD_ABSENCE: Duration = Duration::from_secs(600);

/// The way to the service manager.
pub(crate) struct Notifier {
    is_heard: bool,
    /// Until when the runtime need not answer, in nanoseconds: it does what takes long.
    excused_until: Arc<AtomicU64>,
    /// Dropped with it: the thread ends then.
    _alive: Option<Sender<()>>,
}

impl Notifier {
    /// Begins to tell how `runtime` fares. `seen` is when the main thread was last seen, in nanoseconds.
    ///
    /// # Errors
    ///
    /// When the system has no thread for it.
    pub(crate) fn start(runtime: &gst::Element, seen: Arc<AtomicU64>) -> Result<Self, String> {
        if env::var_os("NOTIFY_SOCKET").is_none_or(|socket| socket.is_empty()) {
            return Ok(Self { is_heard: false, excused_until: Arc::default(), _alive: None });
        }
        let (alive, end) = mpsc::channel();
        let excused_until = Arc::<AtomicU64>::default();
        let pulse = Pulse {
            runtime: runtime.downgrade(),
            seen,
            excused_until: Arc::clone(&excused_until),
            watchdog: sd_notify::watchdog_enabled(),
        };
        let thread = thread::Builder::new().name("nv-notify".to_owned());
        thread.spawn(move || pulse.beat(&end)).map_err(|error| format!("no thread for systemd: {error}"))?;
        Ok(Self { is_heard: true, excused_until, _alive: Some(alive) })
    }

    /// It runs, or runs again after a reload.
    pub(crate) fn ready(&self) {
        self.excused_until.store(0, Ordering::Relaxed);
        self.tell(&[NotifyState::Ready]);
    }

    /// It reads its site again.
    pub(crate) fn reloading(&self) {
        let until = clock::now().saturating_add(RELOAD_ABSENCE);
        self.excused_until.store(until.as_nanos(), Ordering::Relaxed);
        // Newer ones want to know when; older ones do not mind.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// It is about to end, which has a deadline of its own.
    pub(crate) fn stopping(&self) {
        self.excused_until.store(u64::MAX, Ordering::Relaxed);
        self.tell(&[NotifyState::Stopping, NotifyState::Status("delivering what is on its way")]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if self.is_heard {
            tell(states);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("the service manager cannot be told: {error}");
    }
}

/// The thread that asks the runtime, which may take its time.
struct Pulse {
    runtime: glib::WeakRef<gst::Element>,
    seen: Arc<AtomicU64>,
    excused_until: Arc<AtomicU64>,
    watchdog: Option<Duration>,
}

impl Pulse {
    /// Half of the time after which the service manager takes it for dead.
    fn interval(&self) -> Duration {
        self.watchdog.map_or(STATUS_INTERVAL, |watchdog| (watchdog / 2).min(STATUS_INTERVAL))
    }

    fn beat(&self, end: &Receiver<()>) {
        let mut told = String::new();
        let mut next_status = Monotonic::ZERO;
        while end.recv_timeout(self.interval()) == Err(RecvTimeoutError::Timeout) {
            let Some(runtime) = self.runtime.upgrade() else { return };
            if self.watchdog.is_some() && self.is_alive(&runtime, clock::now()) {
                tell(&[NotifyState::Watchdog]);
            }
            let now = clock::now();
            if now < next_status {
                continue;
            }
            next_status = now.saturating_add(STATUS_INTERVAL);
            let line = status_line(&runtime.emit_by_name::<gst::Structure>("diagnostics", &[]));
            if let Some(line) = line.filter(|line| *line != told) {
                tell(&[NotifyState::Status(&line)]);
                told = line;
            }
        }
    }

    fn is_alive(&self, runtime: &gst::Element, now: Monotonic) -> bool {
        let seen = Monotonic::from_nanos(self.seen.load(Ordering::Relaxed));
        let excused_until = Monotonic::from_nanos(self.excused_until.load(Ordering::Relaxed));
        now.since(seen) < ABSENCE && (now < excused_until || runtime.emit_by_name::<bool>("ping", &[]))
    }
}

/// `15 of 18 feeds alive, 240.1 fps`; `None` if the diagnostics do not say.
fn status_line(diagnostics: &gst::StructureRef) -> Option<String> {
    let feeds = diagnostics.value("feeds").ok()?;
    let feeds = feeds.get::<gst::Array>().map(|feeds| feeds.as_slice().to_vec());
    let feeds = feeds.ok().or_else(|| {
        let list = diagnostics.get::<gst::List>("feeds").ok()?;
        Some(list.as_slice().to_vec())
    })?;
    let feeds: Vec<_> = feeds.iter().filter_map(|feed| feed.get::<gst::Structure>().ok()).collect();
    let alive = feeds.iter().filter(|feed| feed.get("alive") == Ok(true)).count();
    let fps: f64 = feeds.iter().filter_map(|feed| feed.get::<f64>("fps-out").ok()).sum();
    Some(format!("{alive} of {} feeds alive, {fps:.1} fps", feeds.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(alive: bool, fps: f64) -> gst::Structure {
        gst::Structure::builder("feed").field("alive", alive).field("fps-out", fps).build()
    }

    #[test]
    fn the_state_is_one_short_line() {
        gst::init().unwrap();
        let feeds = gst::Array::new([feed(true, 25.0), feed(false, 0.0), feed(true, 12.25)]);
        let diagnostics = gst::Structure::builder("d").field("feeds", feeds).build();
        assert_eq!(status_line(&diagnostics).as_deref(), Some("2 of 3 feeds alive, 37.2 fps"));
    }

    #[test]
    fn diagnostics_without_feeds_say_nothing() {
        gst::init().unwrap();
        assert_eq!(status_line(&gst::Structure::new_empty("d")), None);
        let odd = gst::Structure::builder("d").field("feeds", 3).build();
        assert_eq!(status_line(&odd), None);
    }

    #[test]
    fn the_watchdog_is_fed_twice_as_often_as_it_bites() {
        let pulse = |watchdog| Pulse {
            runtime: glib::WeakRef::new(),
            seen: Arc::default(),
            excused_until: Arc::default(),
            watchdog: Some(Duration::from_secs(watchdog)),
        };
        assert_eq!(pulse(4).interval(), Duration::from_secs(2));
        assert_eq!(pulse(60).interval(), STATUS_INTERVAL);
    }
}
