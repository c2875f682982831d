//! What the batcher and the un-batcher tell each other through whatever stands between them: custom queries
//! and events, which every element passes on.

use gst::prelude::*;

const EXPECTED_FEEDS: &str = "nv-expected-feeds";
const FEEDS_CHANGED: &str = "nv-feeds-changed";
const FEED_EVENT: &str = "nv-feed-event";

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
    fn only_the_right_query_is_answered() {
        gst::init().unwrap();
        let mut other = gst::query::Custom::new(gst::Structure::new_empty("other"));
        assert!(!answer_expected_feeds(&mut other, || vec![1]));
        let mut latency = gst::query::Latency::new();
        assert!(!answer_expected_feeds(&mut latency, || vec![1]));
    }
}
