//! What the threads of the runtime share: who there is, where it stands, and the way to its control thread.

use super::control::{News, Order, Request};
use super::feed::Feed;
use super::group::Group;
use super::outputs::{Files, Output};
use super::preview::Studio;
use super::refusal::Refusal;
use super::settings::Settings;
use super::survey;
use crate::batch::Ledger;
use crate::clock;
use crate::config::{Previews, Site};
use crate::elements::message::HealthReporter;
use crate::elements::watcher::Watched;
use crate::metrics::Phase;
use crate::time::Monotonic;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

/// How often rates are taken.
const SAMPLING: Duration = Duration::from_secs(1);
/// Requests that may wait for the control thread.
const MOST_ORDERS: usize = 1024;

/// Everybody who is looked at. Replaced as a whole, so that who looks holds nothing up.
#[derive(Clone, Default)]
pub(super) struct Roster {
    /// By number.
    pub(super) feeds: Vec<Arc<Feed>>,
    pub(super) groups: Vec<Arc<Group>>,
    pub(super) outputs: Vec<Arc<Output>>,
    /// Feeds on their way out.
    pub(super) leaving: Vec<Arc<Feed>>,
    /// Groups on their way out.
    pub(super) retired: Vec<Arc<Group>>,
    /// Records that the sinks of feeds that are gone have lost, by the name of the output.
    pub(super) lost: BTreeMap<String, u64>,
    /// The frames of groups that are gone.
    pub(super) gone: Ledger,
}

/// Locks are held for an assignment or a copy, and no two together.
pub(super) struct Core {
    pub(super) settings: Mutex<Settings>,
    pub(super) health: HealthReporter,
    roster: Mutex<Arc<Roster>>,
    /// What the site file says, as it was last applied.
    site: Mutex<Option<Arc<Site>>>,
    pub(super) studio: Studio,
    pub(super) files: Files,
    phase: Mutex<Phase>,
    started: Mutex<Option<Monotonic>>,
    /// Whether the runtime was in PAUSED since it was last in NULL.
    pub(super) has_streamed: AtomicBool,
    orders: Mutex<Option<(Sender<Order>, Option<ThreadId>)>>,
    pub(super) last_error: Mutex<Option<String>>,
    pub(super) reload_error: Mutex<String>,
    /// What the elements of a group or feed that is tried out say: their errors are nobody's yet.
    pub(super) trial: Mutex<Option<Trial>>,
    pub(super) reloads: AtomicU64,
    pub(super) removed_feeds: AtomicU64,
    pub(super) detached_threads: AtomicU64,
}

/// A group or feed that is tried out.
#[derive(Debug)]
pub(super) struct Trial {
    /// What the names of its elements end in, or what the feed is known by.
    pub(super) suffix: String,
    pub(super) error: Option<String>,
}

impl Default for Core {
    fn default() -> Self {
        Self {
            settings: Mutex::default(),
            health: HealthReporter::with_tails(),
            roster: Mutex::default(),
            site: Mutex::default(),
            studio: Studio::default(),
            files: Files::default(),
            phase: Mutex::default(),
            started: Mutex::default(),
            has_streamed: AtomicBool::new(false),
            orders: Mutex::default(),
            last_error: Mutex::default(),
            reload_error: Mutex::default(),
            trial: Mutex::default(),
            reloads: AtomicU64::new(0),
            removed_feeds: AtomicU64::new(0),
            detached_threads: AtomicU64::new(0),
        }
    }
}

impl Core {
    pub(super) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.lock())
    }

    pub(super) fn set_roster(&self, roster: Roster) {
        let before = std::mem::replace(&mut *self.roster.lock(), Arc::new(roster));
        // Outside of the lock: it may be the last to hold an element.
        drop(before);
    }

    pub(super) fn site(&self) -> Option<Arc<Site>> {
        self.site.lock().clone()
    }

    /// The site that holds from here on; `None` is none.
    pub(super) fn set_site(&self, site: Option<&Site>) {
        self.settings.lock().of_site = site.map(|site| site.runtime.clone());
        let before = std::mem::replace(&mut *self.site.lock(), site.cloned().map(Arc::new));
        drop(before);
    }

    pub(super) fn previews(&self) -> Option<Previews> {
        self.site.lock().as_ref().map(|site| site.previews.clone())
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.lock()
    }

    pub(super) fn set_phase(&self, phase: Phase) -> bool {
        std::mem::replace(&mut *self.phase.lock(), phase) != phase
    }

    pub(super) fn uptime(&self, now: Monotonic) -> Duration {
        self.started.lock().map_or(Duration::ZERO, |started| now.since(started))
    }

    /// Another run begins: returns what its control thread is to listen to.
    pub(super) fn open(&self) -> Receiver<Order> {
        // News come from threads that the control thread may wait for: they must never wait for it.
        let (sender, receiver) = unbounded();
        *self.orders.lock() = Some((sender, None));
        *self.started.lock() = Some(clock::now());
        for counter in [&self.reloads, &self.removed_feeds, &self.detached_threads] {
            counter.store(0, Ordering::Relaxed);
        }
        self.has_streamed.store(false, Ordering::Relaxed);
        self.reload_error.lock().clear();
        receiver
    }

    /// The control thread says who it is.
    pub(super) fn is_controlled_by(&self, thread: ThreadId) {
        if let Some((_, controller)) = &mut *self.orders.lock() {
            *controller = Some(thread);
        }
    }

    pub(super) fn is_control_thread(&self) -> bool {
        let controller = self.orders.lock().as_ref().and_then(|(_, controller)| *controller);
        controller == Some(std::thread::current().id())
    }

    /// No request is taken any more.
    pub(super) fn close(&self) {
        let orders = self.orders.lock().take();
        if let Some((orders, _)) = orders {
            // Gone: there is nobody to stop.
            orders.send(Order::News(News::Stop)).ok();
        }
    }

    /// Tells the control thread, if there is one.
    pub(super) fn tell(&self, news: News) {
        let orders = self.orders.lock().as_ref().map(|(orders, _)| orders.clone());
        if let Some(orders) = orders {
            orders.send(Order::News(news)).ok();
        }
    }

    /// Asks the control thread, and waits for the answer.
    pub(super) fn ask(&self, request: Request, within: Duration) -> Result<u32, Refusal> {
        let orders = self.orders.lock().clone();
        let (orders, controller) = orders.ok_or(Refusal::NotRunning)?;
        if controller == Some(std::thread::current().id()) {
            return Err(Refusal::ReEntered);
        }
        if orders.len() >= MOST_ORDERS {
            return Err(Refusal::failed("expected fewer requests that wait"));
        }
        let (reply, answer) = bounded(1);
        orders.send(Order::Request(request, reply)).map_err(|_| Refusal::NotRunning)?;
        // The sender is not kept: an answer that never comes shows when the thread is gone.
        drop(orders);
        match answer.recv_timeout(within) {
            Ok(answer) => answer,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                Err(Refusal::TimedOut { seconds: within.as_secs() })
            }
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => Err(Refusal::NotRunning),
        }
    }
}

impl Watched for Core {
    fn check(self: Arc<Self>, now: Monotonic) -> Option<Monotonic> {
        survey::sample(&self, now);
        Some(now.saturating_add(SAMPLING))
    }
}
