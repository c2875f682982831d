//! What a feed has sent so far that a pad which starts later must begin with.

use crate::elements::{link, sticky};

/// What is known of a feed, whether or not it has a pad.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) sticky: Vec<gst::Event>,
    /// How often the feed was flushed. What was sent before the last flush and arrives after it is stale, but for
    /// events that a flush leaves.
    epoch: u32,
    /// What was sent in earlier epochs is of a feed that is gone.
    first_epoch: u32,
    /// What was sent in earlier epochs does not come out of pads that are requested from now on.
    next_pads_from: u32,
    /// It was flushed, and nothing from after that has come: an end of all batches is of before the flush.
    pub(super) restarts: bool,
}

/// What to do with an item of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Current,
    /// Sent before a flush.
    Flushed,
    /// Sent before the feed was cut off.
    Gone,
}

impl Known {
    /// What a pad that is requested now begins with, and the first epoch whose frames are for it.
    pub(super) fn beginning(&self) -> (Vec<gst::Event>, u32) {
        (self.sticky.clone(), self.next_pads_from)
    }

    /// The feed was flushed for the `epoch`th time. False if it was cut off since.
    pub(super) fn flush(&mut self, epoch: u32) -> bool {
        if self.is_stale(epoch) {
            return false;
        }
        self.epoch = epoch;
        self.restarts = true;
        self.sticky.retain(|event| link::survives_flush(event));
        true
    }

    /// Whether a flush of this epoch is of before the feed was cut off, or flushed anew.
    pub(super) fn is_stale(&self, epoch: u32) -> bool {
        epoch < self.epoch
    }

    /// The feed was cut off, and what it sent before `epoch` with it.
    pub(super) fn cut(&mut self, epoch: u32) {
        *self = Self { epoch, first_epoch: epoch, ..Self::default() };
    }

    /// Keeps an event for pads that start later, if it is for these; false if it is not for anybody any more.
    pub(super) fn note(&mut self, event: &gst::Event, epoch: u32, age: Age) -> bool {
        if age == Age::Gone || (age == Age::Flushed && !link::survives_flush(event)) {
            return false;
        }
        if epoch >= self.next_pads_from {
            sticky::keep(&mut self.sticky, event.clone());
        }
        true
    }

    /// The feed has ended and its pad is gone: what it sent before `epoch` is for the pad there is.
    pub(super) fn retire(&mut self, epoch: u32) {
        self.next_pads_from = epoch;
        self.sticky.clear();
    }

    /// How old is what was sent in `epoch`.
    pub(super) fn age(&mut self, epoch: u32) -> Age {
        self.epoch = self.epoch.max(epoch);
        if epoch < self.first_epoch {
            Age::Gone
        } else if epoch < self.epoch {
            Age::Flushed
        } else {
            self.restarts = false;
            Age::Current
        }
    }

    /// Another batcher may send from here on: it counts flushes on its own.
    pub(super) fn forget_epoch(&mut self) {
        self.epoch = 0;
        self.first_epoch = 0;
        self.next_pads_from = 0;
        self.restarts = false;
    }
}
