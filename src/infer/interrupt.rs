//! A flag that wakes everybody who waits with it.

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::sync::Arc;

/// Breaks off the waiting of everyone who waits with it, now and for ever after.
///
/// Clones share one state. An element makes a new one per activation and sets it at flush or stop.
#[derive(Clone, Debug)]
pub struct Interrupt {
    /// Nothing is ever sent: dropping the sender is the signal, which every receiver sees for ever.
    armed: Arc<Mutex<Option<Sender<()>>>>,
    signal: Receiver<()>,
}

impl Interrupt {
    /// One that is not set.
    #[must_use]
    pub fn new() -> Self {
        // A channel without a place would allocate for everybody who waits.
        let (sender, signal) = bounded(1);
        Self { armed: Arc::new(Mutex::new(Some(sender))), signal }
    }

    /// Wakes all who wait with it or will.
    pub fn set(&self) {
        drop(self.armed.lock().take());
    }

    /// Whether it has been set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.armed.lock().is_none()
    }

    /// Becomes ready when the interrupt is set.
    pub(super) const fn signal(&self) -> &Receiver<()> {
        &self.signal
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new()
    }
}
