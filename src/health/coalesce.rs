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

/// Most feeds and kinds it remembers what it has said of. It takes feeds that come and go under new names to get there.
const MOST_ENTRIES: usize = 4096;

/// Kinds of event of which each takes back or goes on from another: who reads only the last of them must not be told
/// of what is over.
const STORIES: [&[&str]; 4] = [
    &["feed-stalled", "feed-recovered"],
    &["idle", "resumed"],
    &["frame-lag", "lag-recovered"],
    &["engine-degraded", "engine-rebuilt", "engine-recovered"],
];

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
        self.note(count);
        self.due(now)
    }

    const fn note(&mut self, count: u64) {
        self.total = self.total.saturating_add(count);
    }

    const fn is_reported(&self) -> bool {
        self.total == self.reported
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
        let due = self.last.map_or(Monotonic::ZERO, |last| last.saturating_add(MIN_INTERVAL));
        (!self.is_reported()).then_some(due)
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
    /// Counts all occurrences of all kinds: where the latest stands among them.
    at: u64,
}

/// A feed, and the name of an event.
type Key = (Option<String>, &'static str);

/// Folds the events of one element, each kind at each feed on its own.
///
/// It remembers every feed it has heard of until [`Self::forget`], or until there are too many: then it forgets who
/// has been quiet for longest and has nothing unreported. Kinds that tell one story, such as `feed-stalled`
/// and `feed-recovered`, are posted in the order in which each last happened, so that the last message is what is
/// true: one waits for the other to be due.
#[derive(Debug, Default)]
pub struct Coalescer {
    entries: BTreeMap<Key, Entry>,
    /// Occurrences so far.
    occurred: u64,
}

impl Coalescer {
    /// Notes that `event` happened `count` times; returns what to post now, if anything.
    pub fn add(&mut self, feed_id: Option<&str>, event: Event, count: u64, now: Monotonic) -> Option<Due> {
        let key = (feed_id.map(str::to_owned), event.name());
        self.occurred = self.occurred.saturating_add(1);
        let at = self.occurred;
        if self.entries.len() >= MOST_ENTRIES && !self.entries.contains_key(&key) {
            self.make_room();
        }
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry {
            coalesced: Coalesced::default(),
            latest: event.clone(),
            at,
        });
        (entry.latest, entry.at) = (event, at);
        entry.coalesced.note(count);
        if self.waits(&key) { None } else { self.take(key, |coalesced| coalesced.due(now)) }
    }

    /// What is unreported and may be posted at `now`.
    #[must_use]
    pub fn due(&mut self, now: Monotonic) -> Vec<Due> {
        let keys = self.unreported(|_| true);
        let due = |key: Key| {
            if self.waits(&key) { None } else { self.take(key, |coalesced| coalesced.due(now)) }
        };
        keys.into_iter().filter_map(due).collect()
    }

    /// Everything unreported, however recent the last messages.
    #[must_use]
    pub fn flush(&mut self) -> Vec<Due> {
        self.flush_all(|_| true)
    }

    /// Everything unreported of one feed; `None` is no feed in particular.
    #[must_use]
    pub fn flush_feed(&mut self, feed_id: Option<&str>) -> Vec<Due> {
        self.flush_all(|key| key == feed_id)
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
        let next = self.entries.iter().filter(|(key, _)| !self.waits(key));
        next.filter_map(|(_, entry)| entry.coalesced.due_at()).min()
    }

    fn make_room(&mut self) {
        let quiet = self.entries.iter().filter(|(_, entry)| entry.coalesced.is_reported());
        let oldest = quiet.min_by_key(|(_, entry)| entry.at).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.entries.remove(&key);
        }
    }

    fn flush_all(&mut self, of_feed: impl Fn(Option<&str>) -> bool) -> Vec<Due> {
        let keys = self.unreported(of_feed);
        keys.into_iter().filter_map(|key| self.take(key, Coalesced::flush)).collect()
    }

    /// What has something to report, in the order in which it last happened.
    fn unreported(&self, of_feed: impl Fn(Option<&str>) -> bool) -> Vec<Key> {
        let mut keys: Vec<_> = self
            .entries
            .iter()
            .filter(|((feed_id, _), entry)| of_feed(feed_id.as_deref()) && !entry.coalesced.is_reported())
            .map(|(key, entry)| (entry.at, key.clone()))
            .collect();
        keys.sort_unstable_by_key(|(at, _)| *at);
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Whether something else of the same story is to be reported before.
    fn waits(&self, key: &Key) -> bool {
        let (feed_id, name) = key;
        let Some(story) = STORIES.iter().find(|story| story.contains(name)) else { return false };
        let Some(own) = self.entries.get(key) else { return false };
        story.iter().filter(|other| *other != name).any(|other| {
            let key = (feed_id.clone(), *other);
            let other = self.entries.get(&key);
            other.is_some_and(|other| other.at < own.at && !other.coalesced.is_reported())
        })
    }

    fn take(&mut self, key: Key, take: impl FnOnce(&mut Coalesced) -> Option<Burst>) -> Option<Due> {
        let entry = self.entries.get_mut(&key)?;
        let burst = take(&mut entry.coalesced)?;
        Some(Due { feed_id: key.0, event: entry.latest.clone(), burst })
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

    fn stalled() -> Event {
        super::super::FeedStalled { silent_for: 1, blocked: false }.into()
    }

    fn recovered() -> Event {
        super::super::FeedRecovered { stalled_for: 1 }.into()
    }

    fn names(due: &[Due]) -> Vec<&'static str> {
        due.iter().map(|due| due.event.name()).collect()
    }

    #[test]
    fn what_is_over_is_not_said_after_the_word_that_it_is() {
        let mut events = Coalescer::default();
        assert!(events.add(Some("a"), stalled(), 1, at(0)).is_some());
        assert_eq!(events.add(Some("a"), stalled(), 1, at(900)), None);
        assert_eq!(events.add(Some("a"), recovered(), 1, at(950)), None, "the stall before is not said yet");
        assert!(events.add(Some("b"), recovered(), 1, at(950)).is_some(), "of another feed");
        assert_eq!(events.due(at(999)), []);
        assert_eq!(events.due_at(), Some(at(1000)));
        assert_eq!(names(&events.due(at(1000))), ["feed-stalled", "feed-recovered"]);
        assert_eq!(events.due_at(), None);
    }

    #[test]
    fn what_was_to_be_said_late_is_said_before_what_follows_from_it() {
        let mut events = Coalescer::default();
        assert!(events.add(None, stalled(), 1, at(0)).is_some());
        assert!(events.add(None, recovered(), 1, at(1)).is_some());
        assert_eq!(events.add(None, stalled(), 1, at(900)), None);
        assert_eq!(events.add(None, recovered(), 1, at(5000)), None, "nobody has asked what is due");
        assert_eq!(names(&events.due(at(5000))), ["feed-stalled", "feed-recovered"]);
    }

    #[test]
    fn a_flush_says_things_in_the_order_in_which_they_happened() {
        let mut events = Coalescer::default();
        assert!(events.add(None, recovered(), 1, at(0)).is_some());
        assert!(events.add(None, stalled(), 1, at(1)).is_some());
        assert_eq!(events.add(None, stalled(), 1, at(2)), None);
        assert_eq!(events.add(None, recovered(), 1, at(3)), None);
        assert_eq!(names(&events.flush()), ["feed-stalled", "feed-recovered"]);
    }

    proptest! {
        #[test]
        fn the_last_message_of_a_story_is_what_happened_last(
            steps in prop::collection::vec((0_u64..700, any::<bool>(), any::<bool>()), 1..100)
        ) {
            let mut events = Coalescer::default();
            let (mut now, mut said, mut happened) = (0, Vec::new(), "");
            for (pause, is_stall, asks) in steps {
                now += pause;
                let event = if is_stall { stalled() } else { recovered() };
                happened = event.name();
                said.extend(events.add(None, event, 1, at(now)));
                if asks {
                    said.extend(events.due(at(now)));
                }
            }
            // Whoever asks when told to gets everything, and is not told to ask in vain.
            while let Some(due) = events.due_at() {
                let rest = events.due(due.max(at(now)));
                prop_assert!(!rest.is_empty());
                said.extend(rest);
            }
            prop_assert_eq!(names(&said).last().copied(), Some(happened));
        }
    }

    #[test]
    fn feeds_that_never_come_back_do_not_pile_up_and_leave_nothing_unsaid() {
        let mut events = Coalescer::default();
        assert!(events.add(Some("quiet"), drop(), 1, at(0)).is_some());
        assert!(events.add(Some("folded"), drop(), 1, at(0)).is_some());
        assert!(events.add(Some("folded"), drop(), 2, at(1)).is_none());
        for feed in 0..MOST_ENTRIES as u64 + 10 {
            assert!(events.add(Some(&feed.to_string()), drop(), 1, at(2)).is_some());
        }
        assert_eq!(events.entries.len(), MOST_ENTRIES);
        assert_eq!(events.flush_feed(Some("folded"))[0].burst, Burst { count: 2, total: 3 });
        assert_eq!(events.add(Some("quiet"), drop(), 1, at(3)).map(|due| due.burst), Some(Burst::single(1)));
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
