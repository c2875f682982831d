//! What the sink has done since it was opened.

/// All in records, but for `rejected` (detections), `panics` and `timeouts`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) written: u64,
    pub(super) dropped_newest: u64,
    pub(super) dropped_oldest: u64,
    pub(super) discarded: u64,
    pub(super) overwritten: u64,
    pub(super) rejected: u64,
    pub(super) panics: u64,
    pub(super) timeouts: u64,
    pub(super) write_errors: u64,
}

/// What the elements around the sink want to know, in records.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::elements) struct Books {
    /// Those that wait.
    pub(in crate::elements) level: u64,
    /// Those that may.
    pub(in crate::elements) capacity: u64,
    /// Not written, or not even queued.
    pub(in crate::elements) lost: u64,
}

impl Counters {
    /// As the property `stats` shows them, with the `level` of a queue of `capacity` records.
    pub(super) fn structure(&self, level: u64, capacity: u32) -> gst::Structure {
        gst::Structure::builder("nv-sink-stats")
            .field("received", self.received)
            .field("delivered", self.delivered)
            .field("written", self.written)
            .field("dropped-newest", self.dropped_newest)
            .field("dropped-oldest", self.dropped_oldest)
            .field("discarded", self.discarded)
            .field("pulled-overwritten", self.overwritten)
            .field("rejected-detections", self.rejected)
            .field("queue-level", level)
            .field("queue-capacity", u64::from(capacity))
            .field("panics", self.panics)
            .field("timeouts", self.timeouts)
            .field("write-errors", self.write_errors)
            .build()
    }

    /// As the elements around the sink want them.
    pub(super) const fn books(&self, level: u64, capacity: u32) -> Books {
        let lost = self.dropped_newest + self.dropped_oldest + self.discarded + self.write_errors;
        Books { level, capacity: capacity as u64, lost }
    }
}
