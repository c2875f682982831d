//! The element message `nv-health`: how every element says what went wrong, or right again.

use crate::meta::text::without_nul;
use crate::time::Monotonic;
use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Name of the message's structure.
pub(crate) const NAME: &str = "nv-health";

/// Shortest time between two messages about one kind of event.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Something was lost or late; the pipeline goes on.
    Warning,
    /// A part of the pipeline is out of service.
    Error,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One health event.
#[derive(Debug)]
pub(crate) struct Health<'a> {
    /// What happened, in kebab-case.
    pub(crate) event: &'static str,
    /// How much it matters.
    pub(crate) severity: Severity,
    /// The feed it happened to; `None` if to none in particular.
    pub(crate) feed_id: Option<&'a str>,
    /// Occurrences folded into this message, and since the start.
    pub(crate) burst: Burst,
    /// The event's own fields.
    pub(crate) fields: Vec<(&'static str, glib::SendValue)>,
}

impl Health<'_> {
    fn structure(self, element: &gst::Element, sequence: u64) -> gst::Structure {
        let running_time = element.current_running_time().map(gst::ClockTime::nseconds);
        let mut structure = gst::Structure::builder(NAME)
            .field("event", self.event)
            .field("severity", self.severity.as_str())
            .field("element", element.name())
            .field("sequence", sequence)
            .field("running-time", running_time.unwrap_or(u64::MAX))
            .field("count", self.burst.count)
            .field("total", self.burst.total)
            .build();
        structure.set_if_some("feed-id", self.feed_id.map(|feed_id| without_nul(feed_id).into_owned()));
        for (name, value) in self.fields {
            structure.set_value(name, value);
        }
        structure
    }
}

/// Posts the health messages of one element and numbers them.
#[derive(Debug, Default)]
pub(crate) struct HealthReporter {
    posted: AtomicU64,
}

impl HealthReporter {
    /// Posts `health` on the bus. Call it without any lock held: handlers may run in this thread.
    pub(crate) fn post(&self, element: &impl IsA<gst::Element>, health: Health<'_>) {
        let element = element.upcast_ref::<gst::Element>();
        let sequence = self.posted.fetch_add(1, Ordering::Relaxed);
        let structure = health.structure(element, sequence);
        // Nobody listens before the element is in a pipeline; that is no fault.
        element.post_message(gst::message::Element::builder(structure).src(element).build()).ok();
    }
}

/// How often something happened: since the last message about it, and since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    /// Since the last message.
    pub(crate) count: u64,
    /// Since the start.
    pub(crate) total: u64,
}

impl Burst {
    /// Something that happened once, and for the `total`th time.
    pub(crate) const fn single(total: u64) -> Self {
        Self { count: 1, total }
    }
}

/// Folds the occurrences of one kind of event into at most one message per second.
///
/// The counts of all bursts add up to the total once [`Self::flush`] has been called.
#[derive(Debug, Default)]
pub(crate) struct Coalesced {
    total: u64,
    reported: u64,
    last: Option<Monotonic>,
}

impl Coalesced {
    /// Notes `count` more occurrences; returns what to report now, if anything.
    pub(crate) fn add(&mut self, count: u64, now: Monotonic) -> Option<Burst> {
        self.total = self.total.saturating_add(count);
        self.due(now)
    }

    /// What is unreported and may be reported at `now`.
    pub(crate) fn due(&mut self, now: Monotonic) -> Option<Burst> {
        if self.last.is_some_and(|last| now.since(last) < MIN_INTERVAL) {
            return None;
        }
        let burst = self.flush()?;
        self.last = Some(now);
        Some(burst)
    }

    /// What is unreported, however recent the last message.
    pub(crate) const fn flush(&mut self) -> Option<Burst> {
        let count = self.total - self.reported;
        self.reported = self.total;
        if count == 0 { None } else { Some(Burst { count, total: self.total }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn the_first_occurrence_is_reported_at_once_the_next_after_a_second() {
        let mut events = Coalesced::default();
        assert_eq!(events.due(at(0)), None);
        assert_eq!(events.add(1, at(0)), Some(Burst::single(1)));
        assert_eq!(events.add(2, at(500)), None);
        assert_eq!(events.add(1, at(1000)), Some(Burst { count: 3, total: 4 }));
        assert_eq!(events.due(at(5000)), None, "nothing is left to report");
    }

    #[test]
    fn flushing_makes_the_counts_add_up() {
        let mut events = Coalesced::default();
        let reported = [events.add(3, at(0)), events.add(4, at(1)), events.flush()];
        assert_eq!(reported.iter().flatten().map(|burst| burst.count).sum::<u64>(), 7);
        assert_eq!(events.flush(), None);
    }

    #[test]
    fn a_message_has_the_common_fields_and_its_own() {
        gst::init().unwrap();
        let bin = gst::Bin::builder().name("b").build();
        let health = Health {
            event: "sink-backpressure",
            severity: Severity::Warning,
            feed_id: Some("ga\0te"),
            burst: Burst { count: 2, total: 5 },
            fields: vec![("capacity", 16_u32.to_send_value())],
        };
        let structure = health.structure(bin.upcast_ref(), 3);
        assert_eq!(structure.name(), NAME);
        assert_eq!(structure.get("event"), Ok("sink-backpressure"));
        assert_eq!(structure.get("severity"), Ok("warning"));
        assert_eq!(structure.get("feed-id"), Ok("ga\u{fffd}te"));
        assert_eq!(structure.get("element"), Ok("b"));
        assert_eq!(structure.get("sequence"), Ok(3_u64));
        assert_eq!(structure.get("running-time"), Ok(u64::MAX));
        assert_eq!((structure.get("count"), structure.get("total")), (Ok(2_u64), Ok(5_u64)));
        assert_eq!(structure.get("capacity"), Ok(16_u32));
    }
}
