//! The ticket: one frame in flight, and the credit it holds.
//!
//! It does not carry the frame, and does not know where the frame is.

use std::fmt;

use super::ledger::{Account, DropReason, FailReason, Outcome};
use super::sync::Arc;

/// Travels with a chosen frame. Its clones are one ticket: keep one wherever something of the frame is
/// alive.
///
/// Two things happen to a ticket, independent of each other:
/// * It is settled once, by the first of [`deliver`](Self::deliver), [`fail`](Self::fail) and
///   [`discard`](Self::discard) on any clone; later calls change nothing. So a frame that failed counts as
///   failed, whether it is handed on without a result afterwards or dropped. Not settled at all, it counts
///   as dropped (`abandoned`).
/// * Its last clone is dropped: the feed gets its credit back, and not before.
pub struct Ticket {
    account: Arc<Account>,
    place: u32,
    epoch: u32,
}

impl Ticket {
    /// For the oldest frame of the account's queue, which is in flight from here on.
    pub(super) fn new(account: &Arc<Account>, epoch: u32) -> Self {
        Self { account: Arc::clone(account), place: account.choose(), epoch }
    }

    /// The frame was handed on.
    pub fn deliver(&self) {
        self.settle(Outcome::Delivered);
    }

    /// The frame got no result.
    pub fn fail(&self, reason: FailReason) {
        self.settle(Outcome::Failed(reason));
    }

    /// The frame is let go of.
    pub fn discard(&self, reason: DropReason) {
        self.settle(Outcome::Dropped(reason));
    }

    /// Whether the feed was not flushed since the frame was chosen. A frame of which this is false must
    /// not be handed on: discard it as [`DropReason::Stale`].
    ///
    /// An answer can be out of date when it arrives; who hands the frame on must be serialised with who
    /// flushes, as GStreamer's stream lock does.
    #[must_use]
    pub fn epoch_is_current(&self) -> bool {
        self.epoch == self.account.epoch()
    }

    fn settle(&self, outcome: Outcome) {
        self.account.settle(self.place, outcome);
    }
}

impl Clone for Ticket {
    fn clone(&self) -> Self {
        self.account.hold(self.place);
        Self { account: Arc::clone(&self.account), place: self.place, epoch: self.epoch }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("epoch", &self.epoch)
            .field("settled", &self.account.is_settled(self.place))
            .finish_non_exhaustive()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.account.release(self.place);
    }
}
