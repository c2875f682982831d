//! [`Asker`]: asks the site, on threads of its own, no more often than it should be.
//!
//! What is asked goes on when whoever wanted it has gone, and its place is free only when it is over: calls never pile
//! up behind a site that hangs.

use super::{NoPreview, Site};
use crate::metrics::{Snapshot, Verdict, exposition, verdict};
use hyper::body::Bytes;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// How long a snapshot is good for.
const SNAPSHOT_AGE: Duration = Duration::from_millis(100);

/// How long a preview is.
const PREVIEW_AGE: Duration = Duration::from_secs(1);

/// Previews that are made at a time.
const PREVIEWS: usize = 2;

/// Threads that calls of a site take: one snapshot, and the previews.
pub(super) const THREADS: usize = PREVIEWS + 1;

/// Most places for previews that are kept; more feeds than that have theirs made each time.
const MOST_KEPT: usize = 1024;

/// A call of the site panicked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panicked;

/// A snapshot and what is made of it, each when it is first wanted.
pub(super) struct Seen {
    snapshot: Snapshot,
    verdict: Verdict,
    metrics: OnceLock<Bytes>,
    status: OnceLock<Bytes>,
}

/// What `/status.json` is.
#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    health: &'a Verdict,
}

impl Seen {
    fn new(snapshot: Snapshot) -> Self {
        let verdict = verdict(&snapshot);
        Self { snapshot, verdict, metrics: OnceLock::new(), status: OnceLock::new() }
    }

    pub(super) const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    pub(super) fn metrics(&self) -> Bytes {
        self.metrics.get_or_init(|| exposition(&self.snapshot).into()).clone()
    }

    pub(super) fn status(&self) -> Bytes {
        let status = || Status { snapshot: &self.snapshot, health: &self.verdict };
        let json = || serde_json::to_vec(&status()).expect("the keys of all maps are text");
        self.status.get_or_init(|| json().into()).clone()
    }
}

/// The last look at the site; `None` if it panicked.
struct Look {
    begun: Instant,
    seen: Option<Arc<Seen>>,
}

type Previews = HashMap<u32, (Instant, Bytes)>;

/// Asks the site.
pub(super) struct Asker {
    site: Arc<dyn Site>,
    look: Arc<Mutex<Option<Look>>>,
    previews: Arc<parking_lot::Mutex<Previews>>,
    preview_places: Arc<Semaphore>,
}

impl Asker {
    pub(super) fn new(site: Arc<dyn Site>) -> Self {
        let preview_places = Arc::new(Semaphore::new(PREVIEWS));
        Self { site, look: Arc::default(), previews: Arc::default(), preview_places }
    }

    /// Whether no call of the site goes on.
    pub(super) fn is_idle(&self) -> bool {
        self.look.try_lock().is_ok() && self.preview_places.available_permits() == PREVIEWS
    }

    /// What the site is now, or was a tenth of a second ago.
    pub(super) async fn snapshot(&self) -> Result<Arc<Seen>, Panicked> {
        let mut look = Arc::clone(&self.look).lock_owned().await;
        let begun = Instant::now();
        if let Some(last) = look.as_ref().filter(|last| begun.duration_since(last.begun) < SNAPSHOT_AGE) {
            return last.seen.clone().ok_or(Panicked);
        }
        let site = Arc::clone(&self.site);
        // The lock goes with the call: whoever comes meanwhile waits for this one and makes none of its own.
        let asked = spawn_blocking(move || {
            // What is found after a panic: that there was one.
            *look = Some(Look { begun, seen: None });
            let seen = Arc::new(Seen::new(site.snapshot()));
            *look = Some(Look { begun, seen: Some(Arc::clone(&seen)) });
            seen
        });
        asked.await.map_err(|_| Panicked)
    }

    /// The last frame of a feed, or one that was it a second ago.
    pub(super) async fn preview(&self, feed: u32) -> Result<Result<Bytes, NoPreview>, Panicked> {
        let place = Arc::clone(&self.preview_places).acquire_owned().await.map_err(|_| Panicked)?;
        if let Some(kept) = self.kept(feed) {
            return Ok(Ok(kept));
        }
        let (site, previews) = (Arc::clone(&self.site), Arc::clone(&self.previews));
        let asked = spawn_blocking(move || {
            let _place = place;
            let jpeg = Bytes::from(site.preview(feed)?);
            let mut previews = previews.lock();
            if previews.len() < MOST_KEPT {
                previews.insert(feed, (Instant::now(), jpeg.clone()));
            }
            Ok(jpeg)
        });
        asked.await.map_err(|_| Panicked)
    }

    fn kept(&self, feed: u32) -> Option<Bytes> {
        let now = Instant::now();
        let mut previews = self.previews.lock();
        previews.retain(|_, (made, _)| now.duration_since(*made) < PREVIEW_AGE);
        previews.get(&feed).map(|(_, jpeg)| jpeg.clone())
    }
}
