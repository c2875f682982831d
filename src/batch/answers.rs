//! What a [`Former`](super::Former) says: what became of a push, what to do now, and why a feed is not taken.

use super::{BatchId, CloseReason, FeedId, FrameId, Ticket};
use crate::time::Monotonic;

/// What a push did with the frame.
#[must_use = "a dropped or refused frame is the caller's to free or keep"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It is queued.
    Queued,
    /// It is queued, and an older frame of the same feed rides along for it (`overload`).
    QueuedPassing,
    /// It is queued, and this older frame of the same feed was dropped (`overload`).
    DroppedOldest(FrameId),
    /// It was dropped (`overload`).
    DroppedNewest,
    /// Nothing happened and nothing was counted: push it again when the feed's queue has shrunk, which
    /// only a closed batch, a flush or changed options can do.
    WouldBlock,
}

/// What to do now.
#[must_use = "a batch that is dropped abandons its frames"]
#[derive(Debug)]
pub enum Poll {
    /// Give this batch to the engine.
    Close(Batch),
    /// Nothing is due; poll again at this time, which lies in the future, or earlier if something happens. A frame
    /// without credit that would be due by then if it had some counts, so nobody need say that its credit is back.
    WaitUntil(Monotonic),
    /// Nothing is due until something happens: a push, credit (the [`Waker`](super::Waker)), a changed setting, or the
    /// engine becoming free.
    Idle,
}

/// Frames that go to the engine together.
#[derive(Debug)]
pub struct Batch {
    /// Counts from 0.
    pub id: BatchId,
    /// Feed after feed in the order they were served, each feed's frames in their order; never empty.
    pub frames: Vec<Chosen>,
    /// Why it closed.
    pub reason: CloseReason,
}

impl Batch {
    /// Frames to infer; 0 if all ride along.
    #[must_use]
    pub fn size(&self) -> usize {
        self.frames.iter().filter(|chosen| chosen.infer).count()
    }
}

/// One frame of a [`Batch`].
#[derive(Debug)]
pub struct Chosen {
    /// The feed it belongs to.
    pub feed: FeedId,
    /// The caller's key.
    pub frame: FrameId,
    /// False if it rides along.
    pub infer: bool,
    /// Its number among the frames received of this feed, from 0. Gaps are dropped frames; a flush or a
    /// new stream does not restart it.
    pub seq: u64,
    /// How often the feed was flushed before it.
    pub epoch: u32,
    /// The `now` it was pushed with.
    pub arrival: Monotonic,
    /// Keeps its place in flight.
    pub ticket: Ticket,
}

/// A call named a feed that was not added, or was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("feed {0} is not known")]
pub struct UnknownFeed(pub FeedId);

/// A feed that cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// There is one with this id.
    #[error("feed {0} was added before")]
    Duplicate(FeedId),
    /// There are as many feeds as there may be.
    #[error("feed {feed} is one too many: max-feeds is {max_feeds}")]
    TooMany {
        /// The feed refused.
        feed: FeedId,
        /// The limit.
        max_feeds: usize,
    },
}
