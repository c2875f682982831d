//! Folding bursts into messages: at most one per kind, feed and second, and no occurrence lost.

use super::Event;
use crate::time::Monotonic;
use std::collections::BTreeMap;
use std::time::Duration;

/// Shortest time between two messages about one kind of event at one feed.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// How often something happened: since the last message about it, and since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Since the last message.
    pub count: u64,
    /// Since the start.
    pub total: u64,
}

impl Burst {
    /// Something that happened once, and for the `total`th time.
    #[must_use]
    pub const fn single(total: u64) -> Self {
        Self { count: 1, total }
    }
}

/// Folds the occurrences of one kind of event into at most one message per second.
///
/// The counts of all bursts add up to the total once [`Self::flush`] has been called.
#[derive(Debug, Default)]
pub struct Coalesced {
    total: u64,
    reported: u64,
    last: Option<Monotonic>,
}

impl Coalesced {
    /// Notes `count` more occurrences; returns what to report now, if anything.
    pub fn add(&mut self, count: u64, now: Monotonic) -> Option<Burst> {
        self.total = self.total.saturating_add(count);
        self.due(now)
    }

    /// What is unreported and may be reported at `now`.
    pub fn due(&mut self, now: Monotonic) -> Option<Burst> {
        if self.last.is_some_and(|last| now.since(last) < MIN_INTERVAL) {
            return None;
        }
        let burst = self.flush()?;
        self.last = Some(now);
        Some(burst)
    }

    /// What is unreported, however recent the last message.
    pub const fn flush(&mut self) -> Option<Burst> {
        let count = self.total - self.reported;
        self.reported = self.total;
        if count == 0 { None } else { Some(Burst { count, total: self.total }) }
    }

    /// When what is unreported may be reported; `None` if nothing is.
    fn due_at(&self) -> Option<Monotonic> {
        let last = self.last?;
        (self.total > self.reported).then(|| last.saturating_add(MIN_INTERVAL))
    }
}

/// Something to post now.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The feed it happened to.
    pub feed_id: Option<String>,
    /// The latest occurrence.
    pub event: Event,
    /// How many there were.
    pub burst: Burst,
}

#[derive(Debug)]
struct Entry {
    coalesced: Coalesced,
    latest: Event,
}

/// Folds the events of one element, each kind at each feed on its own.
///
/// It remembers every feed it has heard of until [`Self::forget`].
#[derive(Debug, Default)]
pub struct Coalescer {
    /// By feed, then by name of the event.
    entries: BTreeMap<(Option<String>, &'static str), Entry>,
}

impl Coalescer {
    /// Notes that `event` happened `count` times; returns what to post now, if anything.
    pub fn add(&mut self, feed_id: Option<&str>, event: Event, count: u64, now: Monotonic) -> Option<Due> {
        let key = (feed_id.map(str::to_owned), event.name());
        let entry = self
            .entries
            .entry(key)
            .or_insert_with(|| Entry { coalesced: Coalesced::default(), latest: event.clone() });
        entry.latest = event;
        let burst = entry.coalesced.add(count, now)?;
        Some(Due { feed_id: feed_id.map(str::to_owned), event: entry.latest.clone(), burst })
    }

    /// What is unreported and may be posted at `now`.
    #[must_use]
    pub fn due(&mut self, now: Monotonic) -> Vec<Due> {
        self.collect(|_| true, |coalesced| coalesced.due(now))
    }

    /// Everything unreported, however recent the last messages.
    #[must_use]
    pub fn flush(&mut self) -> Vec<Due> {
        self.collect(|_| true, Coalesced::flush)
    }

    /// Everything unreported of one feed; `None` is no feed in particular.
    #[must_use]
    pub fn flush_feed(&mut self, feed_id: Option<&str>) -> Vec<Due> {
        self.collect(|key| key == feed_id, Coalesced::flush)
    }

    /// The same, and forgets the feed: its totals begin anew if it comes back.
    #[must_use]
    pub fn forget(&mut self, feed_id: &str) -> Vec<Due> {
        let rest = self.flush_feed(Some(feed_id));
        self.entries.retain(|(key, _), _| key.as_deref() != Some(feed_id));
        rest
    }

    /// When to ask [`Self::due`] again; `None` if nothing is unreported.
    #[must_use]
    pub fn due_at(&self) -> Option<Monotonic> {
        self.entries.values().filter_map(|entry| entry.coalesced.due_at()).min()
    }

    fn collect(
        &mut self,
        of_feed: impl Fn(Option<&str>) -> bool,
        mut take: impl FnMut(&mut Coalesced) -> Option<Burst>,
    ) -> Vec<Due> {
        let entries = self.entries.iter_mut().filter(|((feed_id, _), _)| of_feed(feed_id.as_deref()));
        let due = |((feed_id, _), entry): (&(Option<String>, &'static str), &mut Entry)| {
            let burst = take(&mut entry.coalesced)?;
            Some(Due { feed_id: feed_id.clone(), event: entry.latest.clone(), burst })
        };
        entries.filter_map(due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::BackpressureDrop;
    use super::*;
    use proptest::prelude::*;

    const fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn drop() -> Event {
        BackpressureDrop { policy: "drop-oldest".to_owned() }.into()
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
    fn feeds_and_kinds_do_not_hide_each_other() {
        let mut events = Coalescer::default();
        assert!(events.add(Some("a"), drop(), 1, at(0)).is_some());
        assert!(events.add(Some("b"), drop(), 1, at(1)).is_some());
        assert!(events.add(Some("a"), super::super::SourceEos {}.into(), 1, at(2)).is_some());
        assert_eq!(events.add(Some("a"), drop(), 1, at(3)), None);
        assert_eq!(events.due_at(), Some(at(1000)));
        let due = events.due(at(1000));
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].feed_id.as_deref(), due[0].burst), (Some("a"), Burst { count: 1, total: 2 }));
        assert_eq!(events.due_at(), None);
    }

    #[test]
    fn a_feed_that_is_forgotten_leaves_nothing_unsaid() {
        let mut events = Coalescer::default();
        assert!(events.add(Some("a"), drop(), 1, at(0)).is_some());
        assert!(events.add(Some("a"), drop(), 4, at(1)).is_none());
        assert_eq!(events.forget("a")[0].burst, Burst { count: 4, total: 5 });
        assert!(events.entries.is_empty());
    }

    proptest! {
        #[test]
        fn there_is_at_most_one_message_a_second_and_the_counts_add_up(
            steps in prop::collection::vec((0_u64..700, 0_u8..3, 1_u64..5), 0..100)
        ) {
            let mut events = Coalescer::default();
            let (mut now, mut happened, mut said) = (0, [0_u64; 3], [0_u64; 3]);
            let mut last = [None::<u64>; 3];
            let name = |feed: u8| ["a", "b", "c"][usize::from(feed)];
            for (pause, feed, count) in steps {
                now += pause;
                happened[usize::from(feed)] += count;
                let posted = events.add(Some(name(feed)), drop(), count, at(now));
                for due in posted.into_iter().chain(events.due(at(now))) {
                    let feed = ["a", "b", "c"].iter().position(|name| due.feed_id.as_deref() == Some(*name)).unwrap();
                    prop_assert!(last[feed].is_none_or(|last| now - last >= 1000));
                    last[feed] = Some(now);
                    said[feed] += due.burst.count;
                    prop_assert_eq!(due.burst.total, said[feed]);
                }
            }
            for due in events.flush() {
                let feed = ["a", "b", "c"].iter().position(|name| due.feed_id.as_deref() == Some(*name)).unwrap();
                said[feed] += due.burst.count;
            }
            prop_assert_eq!(happened, said);
        }
    }
}
