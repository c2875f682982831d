//! What the batcher and the un-batcher tell each other through whatever stands between them, and a source the batcher:
//! custom queries and events, which every element passes on, and fields of events.

use crate::health::redact;
use gst::prelude::*;

/// Field of a STREAM_START, a string: what the feed is called. A batcher uses it where the user has set no name.
pub(super) const FEED_ID: &str = "nv-feed-id";
/// The longest name a stream can give its feed, in characters: it is in every meta, message and record of the feed.
const LONGEST_FEED_ID: usize = 256;

const EXPECTED_FEEDS: &str = "nv-expected-feeds";
const FEEDS_CHANGED: &str = "nv-feeds-changed";
const FEED_EVENT: &str = "nv-feed-event";
const FEED_CUT: &str = "nv-feed-cut";
const FEED_GONE: &str = "nv-feed-gone";
const FEED_FLUSH: &str = "nv-feed-flush";
const FEED_QUERY: &str = "nv-feed-query";

/// What the stream that `event` begins calls its feed, without credentials; `None` if it gives it no name.
pub(super) fn feed_id(event: &gst::EventRef) -> Option<String> {
    let name = event.structure()?.get::<String>(FEED_ID).ok()?;
    // Cut after the redaction: what is left of a cut address would not be known as one.
    let name: String = redact(&name).chars().take(LONGEST_FEED_ID).collect();
    (!name.is_empty()).then_some(name)
}

/// Asks downstream of `pad` for which feeds somebody waits. Empty if nobody answers.
pub(super) fn expected_feeds(pad: &gst::Pad) -> Vec<u32> {
    let mut query = gst::query::Custom::new(gst::Structure::new_empty(EXPECTED_FEEDS));
    if !pad.peer_query(&mut query) {
        return Vec::new();
    }
    let answer = query.structure().and_then(|structure| structure.get::<gst::Array>("feeds").ok());
    answer.map_or_else(Vec::new, |feeds| {
        feeds.as_slice().iter().filter_map(|feed| feed.get::<u32>().ok()).collect()
    })
}

/// Answers [`expected_feeds`]; false if `query` is another one.
pub(super) fn answer_expected_feeds(query: &mut gst::QueryRef, feeds: impl FnOnce() -> Vec<u32>) -> bool {
    let gst::QueryViewMut::Custom(query) = query.view_mut() else { return false };
    let structure = query.structure_mut();
    if structure.name() != EXPECTED_FEEDS {
        return false;
    }
    structure.set("feeds", gst::Array::new(feeds()));
    true
}

/// Says upstream that the answer to [`expected_feeds`] has changed.
pub(super) fn feeds_changed() -> gst::Event {
    gst::event::CustomUpstream::new(gst::Structure::new_empty(FEEDS_CHANGED))
}

/// Whether `event` is [`feeds_changed`].
pub(super) fn is_feeds_changed(event: &gst::EventRef) -> bool {
    event.structure().is_some_and(|structure| structure.name() == FEEDS_CHANGED)
}

/// Whether `event` says that downstream may have got, in whole or for one feed, somebody who takes frames.
pub(super) fn may_have_linked(event: &gst::EventRef) -> bool {
    let reconfigures = |event: &gst::EventRef| event.type_() == gst::EventType::Reconfigure;
    is_feeds_changed(event)
        || reconfigures(event)
        || feed_event(event).is_some_and(|(_, inner)| reconfigures(&inner))
}

/// An upstream event that is meant for one feed only.
pub(super) fn for_feed(feed: u32, event: &gst::Event) -> gst::Event {
    let structure = gst::Structure::builder(FEED_EVENT).field("feed", feed).field("event", event).build();
    gst::event::CustomUpstream::new(structure)
}

/// The feed and the event inside a [`for_feed`].
pub(super) fn feed_event(event: &gst::EventRef) -> Option<(u32, gst::Event)> {
    let structure = event.structure().filter(|structure| structure.name() == FEED_EVENT)?;
    Some((structure.get("feed").ok()?, structure.get("event").ok()?))
}

/// The flush of one feed, on its way downstream past the frames of the others.
#[derive(Clone, Debug)]
pub(super) struct FeedFlush {
    pub(super) feed: u32,
    /// How often the feed was flushed, with this one.
    pub(super) epoch: u32,
    /// The FLUSH_START or FLUSH_STOP itself.
    pub(super) event: gst::Event,
}

impl FeedFlush {
    /// As an event that overtakes whatever is queued.
    pub(super) fn to_event(&self) -> gst::Event {
        let structure = gst::Structure::builder(FEED_FLUSH)
            .field("feed", self.feed)
            .field("epoch", self.epoch)
            .field("event", &self.event)
            .build();
        gst::event::CustomDownstreamOob::builder(structure).seqnum(self.event.seqnum()).build()
    }

    /// What [`Self::to_event`] made; `None` of any other event.
    pub(super) fn of(event: &gst::EventRef) -> Option<Self> {
        let structure = event.structure().filter(|structure| structure.name() == FEED_FLUSH)?;
        let (feed, epoch) = (structure.get("feed").ok()?, structure.get("epoch").ok()?);
        Some(Self { feed, epoch, event: structure.get("event").ok()? })
    }
}

/// The end of a feed whose pad was released, on its way downstream past the frames of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FeedCut {
    pub(super) feed: u32,
    /// What comes of the feed from here on is of this epoch or later.
    pub(super) epoch: u32,
    /// The feed had ended: what it sent in earlier epochs still comes out of the pad there is, and of none that is
    /// requested later. Otherwise that is stale.
    pub(super) drains: bool,
}

impl FeedCut {
    /// As an event that overtakes whatever is queued.
    pub(super) fn to_event(self) -> gst::Event {
        let structure = gst::Structure::builder(FEED_CUT)
            .field("feed", self.feed)
            .field("epoch", self.epoch)
            .field("drains", self.drains)
            .build();
        gst::event::CustomDownstreamOob::new(structure)
    }

    /// What [`Self::to_event`] made; `None` of any other event.
    pub(super) fn of(event: &gst::EventRef) -> Option<Self> {
        let structure = event.structure().filter(|structure| structure.name() == FEED_CUT)?;
        let (feed, epoch) = (structure.get("feed").ok()?, structure.get("epoch").ok()?);
        Some(Self { feed, epoch, drains: structure.get("drains").ok()? })
    }
}

/// Behind the EOS of a feed whose pad was released: what was sticky of it is of use to nobody.
pub(super) fn feed_gone() -> gst::Event {
    gst::event::CustomDownstream::new(gst::Structure::new_empty(FEED_GONE))
}

/// Whether `event` is [`feed_gone`].
pub(super) fn is_feed_gone(event: &gst::EventRef) -> bool {
    event.structure().is_some_and(|structure| structure.name() == FEED_GONE)
}

/// Asks the other end what one feed answers to `query`. False if nobody does.
///
/// Past the batches only this wrapper travels, and it waits for no stream: keep serialized queries out of it.
pub(super) fn query_feed(pad: &gst::Pad, feed: u32, query: &mut gst::QueryRef) -> bool {
    let mut outer = wrap(feed, query);
    if !pad.peer_query(&mut outer) {
        return false;
    }
    let answer = outer.structure().and_then(|structure| structure.get::<gst::Query>("query").ok());
    answer.is_some_and(|answer| copy_answer(&answer, query))
}

fn wrap(feed: u32, query: &gst::QueryRef) -> gst::query::Custom<gst::Query> {
    let structure =
        gst::Structure::builder(FEED_QUERY).field("feed", feed).field("query", query.to_owned()).build();
    gst::query::Custom::new(structure)
}

/// Answers [`query_feed`] with what `ask` makes of the query of a feed; `None` if `query` is another one.
pub(super) fn answer_feed_query(
    query: &mut gst::QueryRef,
    ask: impl FnOnce(u32, &mut gst::QueryRef) -> bool,
) -> Option<bool> {
    let gst::QueryViewMut::Custom(query) = query.view_mut() else { return None };
    let structure = query.structure_mut();
    if structure.name() != FEED_QUERY {
        return None;
    }
    let (Ok(feed), Ok(inner)) = (structure.get::<u32>("feed"), structure.get::<gst::Query>("query")) else {
        return Some(false);
    };
    // The structure holds on to it, so this is a copy that may be written to.
    let mut inner = inner.copy();
    let answered = inner.get_mut().is_some_and(|inner| ask(feed, inner));
    structure.set("query", inner);
    Some(answered)
}

/// Writes into `query` what is in `answer`, which is of its kind.
fn copy_answer(answer: &gst::QueryRef, query: &mut gst::QueryRef) -> bool {
    match (answer.view(), query.view_mut()) {
        (gst::QueryView::Position(answer), gst::QueryViewMut::Position(query)) => {
            query.set(answer.result());
        }
        (gst::QueryView::Duration(answer), gst::QueryViewMut::Duration(query)) => {
            query.set(answer.result());
        }
        (gst::QueryView::Seeking(answer), gst::QueryViewMut::Seeking(query)) => {
            let (seekable, start, stop) = answer.result();
            query.set(seekable, start, stop);
        }
        (gst::QueryView::Caps(answer), gst::QueryViewMut::Caps(query)) => match answer.result() {
            Some(caps) => query.set_result(&caps.to_owned()),
            None => return false,
        },
        _ => return false,
    }
    true
}

/// Who a batcher is in the ids of its streams: epochs of feeds mean something between streams of one batcher only.
#[derive(Debug)]
pub(super) struct BatcherName(glib::GString);

impl Default for BatcherName {
    fn default() -> Self {
        Self(glib::uuid_string_random())
    }
}

impl BatcherName {
    /// The id of another stream of batches.
    pub(super) fn stream_id(&self) -> String {
        format!("nvbatcher/{}/{}", self.0, glib::uuid_string_random())
    }

    /// What the ids of all streams of a batcher begin with.
    pub(super) fn of(stream_id: &str) -> &str {
        stream_id.rsplit_once('/').map_or(stream_id, |(batcher, _)| batcher)
    }
}

/// Whether what downstream said of a feed before this event does not hold behind it: it was of another stream, or of
/// other caps.
pub(super) fn reopens(event: &gst::EventRef) -> bool {
    matches!(event.type_(), gst::EventType::StreamStart | gst::EventType::Caps)
}

/// Whether a flush may not throw this queued event away: nobody would send it again.
pub(super) fn survives_flush(event: &gst::EventRef) -> bool {
    event.is_sticky() && !matches!(event.type_(), gst::EventType::Segment | gst::EventType::Eos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_for_one_feed_comes_out_as_it_went_in() {
        gst::init().unwrap();
        let event = gst::event::Reconfigure::new();
        let (feed, inner) = feed_event(&for_feed(7, &event)).unwrap();
        assert_eq!(feed, 7);
        assert_eq!(inner.type_(), gst::EventType::Reconfigure);
        assert_eq!(inner.seqnum(), event.seqnum());
        assert!(feed_event(&event).is_none());
        assert!(is_feeds_changed(&feeds_changed()));
        assert!(!is_feeds_changed(&event));
        assert!(may_have_linked(&feeds_changed()) && may_have_linked(&event));
        assert!(may_have_linked(&for_feed(7, &event)));
        assert!(!may_have_linked(&for_feed(7, &gst::event::Latency::new(gst::ClockTime::ZERO))));
    }

    #[test]
    fn a_flush_of_one_feed_comes_out_as_it_went_in() {
        gst::init().unwrap();
        let flush = FeedFlush { feed: 3, epoch: 2, event: gst::event::FlushStop::new(false) };
        let event = flush.to_event();
        assert!(!event.is_serialized(), "it must overtake the frames of all feeds");
        let back = FeedFlush::of(&event).unwrap();
        assert_eq!((back.feed, back.epoch, back.event.seqnum()), (3, 2, flush.event.seqnum()));
        assert!(FeedFlush::of(&flush.event).is_none());
    }

    #[test]
    fn a_stream_names_its_feed_without_credentials_and_not_at_any_length() {
        gst::init().unwrap();
        let named = |name: &str| {
            let start = gst::event::StreamStart::builder("s").other_field(FEED_ID, name).build();
            feed_id(&start)
        };
        assert_eq!(named("gate").as_deref(), Some("gate"));
        assert_eq!(named("rtsp://a:b@host/").as_deref(), Some("rtsp://***@host/"));
        assert_eq!(named(&"é".repeat(1000)), Some("é".repeat(LONGEST_FEED_ID)));
        assert_eq!(named(""), None);
        assert_eq!(feed_id(&gst::event::StreamStart::new("s")), None);
        let number = gst::event::StreamStart::builder("s").other_field(FEED_ID, 7).build();
        assert_eq!(feed_id(&number), None);
    }

    #[test]
    fn the_end_of_a_feed_is_told_in_and_past_the_stream() {
        gst::init().unwrap();
        let cut = FeedCut { feed: 3, epoch: 2, drains: true };
        let event = cut.to_event();
        assert!(!event.is_serialized());
        assert_eq!(FeedCut::of(&event), Some(cut));
        assert_eq!(FeedCut::of(&feed_gone()), None);
        assert!(feed_gone().is_serialized() && is_feed_gone(&feed_gone()) && !is_feed_gone(&event));
    }

    #[test]
    fn the_answer_of_a_feed_comes_back_through_the_wrapper() {
        gst::init().unwrap();
        let mut query = gst::query::Duration::new(gst::Format::Time);
        let mut outer = wrap(5, &query);
        let answered = answer_feed_query(&mut outer, |feed, query| {
            let gst::QueryViewMut::Duration(query) = query.view_mut() else { return false };
            query.set(u64::from(feed) * gst::ClockTime::SECOND);
            true
        });
        assert_eq!(answered, Some(true));
        let answer = outer.structure().unwrap().get::<gst::Query>("query").unwrap();
        assert!(copy_answer(&answer, &mut query));
        assert_eq!(query.result(), gst::ClockTime::from_seconds(5).into());
        assert!(answer_feed_query(&mut query, |_, _| true).is_none());
    }

    #[test]
    fn streams_of_one_batcher_are_told_from_those_of_another() {
        let (one, other) = (BatcherName::default(), BatcherName::default());
        let (first, second, third) = (one.stream_id(), one.stream_id(), other.stream_id());
        assert_ne!(first, second);
        assert_eq!(BatcherName::of(&first), BatcherName::of(&second));
        assert_ne!(BatcherName::of(&first), BatcherName::of(&third));
    }

    #[test]
    fn only_the_right_query_is_answered() {
        gst::init().unwrap();
        let mut other = gst::query::Custom::new(gst::Structure::new_empty("other"));
        assert!(!answer_expected_feeds(&mut other, || vec![1]));
        let mut latency = gst::query::Latency::new();
        assert!(!answer_expected_feeds(&mut latency, || vec![1]));
    }
}
