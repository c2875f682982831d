//! What the page, `/metrics` and `/health` ask of the runtime.

use super::core::Core;
use super::preview::Look;
use super::survey;
use crate::http::{NoPreview, Site};
use crate::metrics::{FeedState, Snapshot};
use std::sync::Weak;

/// Answers for a runtime, as long as there is one.
pub(super) struct Page {
    pub(super) core: Weak<Core>,
    pub(super) name: String,
}

impl Site for Page {
    fn snapshot(&self) -> Snapshot {
        let gone = || Snapshot { phase: crate::metrics::Phase::Stopped, ..Snapshot::default() };
        self.core.upgrade().map_or_else(gone, |core| survey::survey(&core, &self.name))
    }

    fn preview(&self, feed: u32) -> Result<Vec<u8>, NoPreview> {
        let core = self.core.upgrade().ok_or(NoPreview::UnknownFeed)?;
        let roster = core.roster();
        let feed = roster.feeds.iter().find(|known| known.id == feed).ok_or(NoPreview::UnknownFeed)?;
        let previews = core.previews().filter(|previews| previews.enabled).ok_or(NoPreview::Disabled)?;
        let runs = feed.seen.lock().is_some_and(|(state, _)| state == FeedState::Running);
        let sample = feed.eye.see(runs).ok_or(NoPreview::NoFrame)?;
        let look = Look { width: previews.width & !1, has_overlay: previews.overlay };
        core.studio.print(&sample, look).map_err(NoPreview::Failed)
    }
}
