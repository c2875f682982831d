//! The batch core: which frames go to the engine together, when, and what became of every one of them.
//!
//! It sees feed ids, frame keys and points in time; never a buffer, a pad, a clock or a thread. The
//! element that owns it keeps the buffers under the [`FrameId`]s it chose, passes `now` in, and does
//! what the answers say.
//!
//! # Ownership
//!
//! * A frame handed to [`Former::push`] belongs to its feed's queue until it comes back, exactly once: as
//!   [`Push::DroppedOldest`] or [`Push::DroppedNewest`], from [`Former::flush`] or
//!   [`Former::remove_feed`], or in a [`Batch`]. After [`Push::WouldBlock`] it still is the caller's.
//! * A frame in a batch carries a [`Ticket`]. The last clone of it to be dropped gives the feed its credit
//!   back; until then the frame counts against the feed's in-flight limit, wherever it is. So no queue
//!   behind the former can grow beyond that limit, and back-pressure reaches exactly the feed at fault.
//! * What became of the frame is a separate matter, written into the feed's [`Ledger`] by the first of
//!   [`Ticket::deliver`], [`Ticket::fail`] and [`Ticket::discard`]; a ticket that says nothing was
//!   abandoned, and that is counted too.
//!
//! # Threads
//!
//! A [`Former`] is a plain value: keep it in a mutex, push from the pad threads, poll from one thread.
//! Tickets live outside that mutex and may be settled, cloned and dropped by any thread at any time. They
//! share with the former only their feed's ledger (a mutex of its own, held for a few additions and never
//! while anything is called) and its epoch (an atomic). The [`Waker`] runs on the thread that drops the
//! ticket; see there for what it may do.
//!
//! Poll again after every call that changes the former, when the waker was called, when the engine
//! becomes free, and at the time [`Poll::WaitUntil`] named. Nothing else can make a batch due, so an
//! idle caller sleeps. After a push [`Former::wants_poll`] says whether it can have made a difference; a
//! poll knows how many frames are missing, so that neither each push nor each credit wakes a thread.
//!
//! # Cost
//!
//! A push and the end of a ticket take constant time. A poll looks at every feed, without a lock, and there are
//! one or two for a batch. Nothing is allocated for a frame or a batch once all lists have grown to their size:
//! tickets lie in places of their feed that are used again, the list of a batch comes back with
//! [`Former::recycle`].
//!
//! # When a batch closes
//!
//! Only while the engine is idle; the first that holds gives the [`CloseReason`]:
//!
//! 1. `full`: [`Policy::max_batch_size`] frames to infer can be chosen.
//! 2. `eos`: some frame can be chosen, and only feeds that have ended hold frames.
//! 3. `all-ready`: some frame can be chosen, and every active feed with credit that can give one in time has one queued. It is
//!    called `flush` when the last feed waited for did not become ready but was flushed.
//! 4. `deadline`: the oldest frame that can be chosen arrived [`Policy::max_latency`] ago or earlier.
//!
//! A feed is not waited for beyond what it can give: if by its rhythm (the shorter of the last two intervals between
//! its frames) its next frame comes after the deadline, the batch closes without it and without waiting.
//!
//! A feed is *active* from a push until it ends, is flushed or removed, or stays silent through a deadline
//! (a batch closes for `deadline` while the feed has credit and nothing queued). So a stalled feed
//! delays the others by one deadline, once. A feed out of credit is not chosen, and its frames start no
//! deadline; when credit returns, a frame that is overdue by then closes a batch at once. It is not waited
//! for either, with one exception: a batch that would close as `all-ready` is held for
//! [`Policy::credit_grace`] while active feeds with frames have no credit, because the frames of one batch
//! come back moments apart and the first must not make the next batch alone. A feed that does not have its
//! credit back by then is given up on until it has. While the engine is [known](Former::engine_is_busy_until) to have
//! enough to do, a batch that is not full is held in the same way, past its deadline, too: what comes back in the
//! meantime costs no time at all.
//!
//! # Which frames go
//!
//! Feeds take turns. A turn, a frame to infer, moves a feed on by the mean time between its frames, and the feed that
//! has moved least is served first; then the one whose last batch is longest ago, then the one with the older
//! oldest frame, then by id. So under overload feeds of 5 and of 30 frames a second lose the same part of their
//! frames, where equal turns would serve all of the one and little of the other. Feeds alike are served least
//! recently served first. A feed that blocks is as fast as it is served: it counts as one of 30 frames a second, and
//! so does one that has just begun. A feed that had nothing to give goes on from where the others are.
//!
//! Turn by turn they give up to [`Policy::max_frames_per_feed`] frames to infer each and
//! [`Policy::max_batch_size`] together. A batch with room takes every feed that is ready, but for those that are more
//! than two turns ahead of one that loses frames: an engine that is too slow is not spent on those who lose none. Who
//! wants larger batches then raises [`Policy::max_frames_per_feed`].
//!
//! A turn is worth 10 to 320 ms, so a feed that always has a frame ready is served at least once in
//! ⌈35 · feeds / `max_batch_size`⌉ batches, and in ⌈feeds / `max_batch_size`⌉ if all are alike, whatever the others
//! push.
//!
//! Some frames *ride along*: they travel in their place but are not inferred, because of
//! [`FeedOptions::interval`] or [`Overload::PassThrough`]. They need credit like any frame, do not count
//! towards the size, and go with every batch as soon as no frame to infer is in front of them. A feed with
//! nothing else has contributed to `all-ready`, and a batch may consist of nothing else.
//!
//! # Not guaranteed
//!
//! * Order and timing between feeds: only within a feed are frames first in, first out.
//! * A deadline while the engine is busy: frames collect by their feed's [`Overload`] rule, and the choice
//!   is made when it is free.
//! * That times are sensible: `now` going backwards delays deadlines, but loses no frame.
//! * That a batch is processed: the former forgets a batch when it hands it out, except through its
//!   tickets.

mod alarm;
mod answers;
mod feed;
mod former;
mod ledger;
mod metrics;
mod policy;
mod share;
mod survey;
mod sync;
mod ticket;

#[cfg(loom)]
#[cfg(test)]
#[path = "tests/loom.rs"]
mod loom_tests;
#[cfg(not(loom))]
#[cfg(test)]
mod tests;

use std::fmt;

pub use answers::{Batch, Chosen, FeedError, Poll, Push, UnknownFeed};
pub use former::Former;
pub use ledger::{DropReason, FailReason, Ledger, Waker};
pub use metrics::{FeedSnapshot, FormationWait, Metrics, Snapshot};
pub use policy::{FeedOptions, Overload, Policy, PolicyError};
pub use ticket::Ticket;

/// A feed: in the elements, the number of its sink pad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(pub u32);

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The caller's key of one frame; the former only hands it back, and never compares two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub u64);

/// Counts the batches of one former from 0.
pub type BatchId = u64;

/// Why a batch closed when it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// As many frames to infer as fit could be chosen.
    Full,
    /// Every active feed with credit had a frame queued.
    AllReady,
    /// The oldest frame had waited as long as it may.
    Deadline,
    /// The feed it still waited for was flushed.
    Flush,
    /// Only feeds that have ended held frames.
    Eos,
}

impl CloseReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Full, Self::AllReady, Self::Deadline, Self::Flush, Self::Eos];

    /// The name of the reason in statistics and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AllReady => "all-ready",
            Self::Deadline => "deadline",
            Self::Flush => "flush",
            Self::Eos => "eos",
        }
    }
}
