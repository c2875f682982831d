//! What the records of one feed say of its way through the pipeline.

use crate::clock;
use crate::metrics::{Histogram, LATENCY_BOUNDS};
use crate::output::{Publisher, Record, Written};
use crate::time::Monotonic;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const BUCKETS: usize = LATENCY_BOUNDS.len() + 1;

/// Counts the records of a feed. Times are on the monotonic clock, in nanoseconds; 0 is never.
#[derive(Debug, Default)]
pub(super) struct Meter {
    records: AtomicU64,
    last_record: AtomicU64,
    last_inference: AtomicU64,
    session: AtomicU32,
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    model: Mutex<String>,
}

impl Meter {
    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// The session that the last record is of.
    pub(super) fn session(&self) -> u32 {
        self.session.load(Ordering::Relaxed)
    }

    /// Time since the last record.
    pub(super) fn last_record_age(&self, now: Monotonic) -> Option<u64> {
        age(&self.last_record, now)
    }

    /// Time since the end of the last inference that a record tells of.
    pub(super) fn last_inference_age(&self, now: Monotonic) -> Option<u64> {
        age(&self.last_inference, now)
    }

    pub(super) fn model(&self) -> String {
        self.model.lock().clone()
    }

    pub(super) fn latency(&self) -> Histogram {
        let count = |bucket: &AtomicU64| bucket.load(Ordering::Relaxed);
        Histogram {
            buckets: std::array::from_fn(|bucket| count(&self.buckets[bucket])),
            sum: count(&self.sum) as f64 / 1e9,
        }
    }

    fn count_latency(&self, nanos: u64) {
        let seconds = nanos as f64 / 1e9;
        let bucket = LATENCY_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Publisher for Meter {
    fn publish(&self, record: &Record) -> Written {
        let provenance = &record.provenance;
        if let (Some(arrival), Some(delivered)) = (provenance.arrival, provenance.delivered) {
            self.count_latency(delivered.saturating_sub(arrival));
        }
        if let Some(end) = provenance.inference_end {
            self.last_inference.store(end, Ordering::Relaxed);
        }
        if let Some(model) = &record.model {
            let mut known = self.model.lock();
            if known.as_str() != model {
                known.clone_from(model);
            }
        }
        self.session.store(record.session, Ordering::Relaxed);
        self.last_record.store(clock::now().as_nanos(), Ordering::Relaxed);
        self.records.fetch_add(1, Ordering::Relaxed);
        Written::default()
    }
}

fn age(then: &AtomicU64, now: Monotonic) -> Option<u64> {
    let then = then.load(Ordering::Relaxed);
    (then > 0).then(|| now.as_nanos().saturating_sub(then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{FrameFacts, FrameTime};
    use crate::vision::Size;

    #[test]
    fn records_are_counted_with_the_time_their_frames_took() {
        let meter = Meter::default();
        assert_eq!((meter.records(), meter.last_inference_age(clock::now())), (0, None));
        for delivered in [1_000_000, 5_000_000, 60_000_000_000] {
            let facts = FrameFacts {
                arrival: Some(0),
                inference_end: Some(7),
                delivered: Some(delivered),
                model: "m".to_owned(),
                session: 3,
                ..FrameFacts::default()
            };
            meter.publish(&Record::new(facts, FrameTime::default(), Size::new(1, 1), Vec::new()));
        }
        let latency = meter.latency();
        assert_eq!((latency.buckets[0], latency.buckets[BUCKETS - 1]), (2, 1));
        assert!((latency.sum - 60.006).abs() < 1e-9);
        assert_eq!((meter.records(), meter.model().as_str(), meter.session()), (3, "m", 3));
        assert!(meter.last_record_age(clock::now()).is_some());
        assert_eq!(meter.last_inference_age(Monotonic::from_nanos(10)), Some(3));
    }
}
