//! Sticky events: which of them still matter, and how queues of events and frames stay bounded.

use crate::elements::link;
use std::collections::VecDeque;

/// Events in one queue above which those that a later one has made obsolete go. Frames in it are bounded by their
/// feed's options and tickets, events by nobody else while downstream is busy.
pub(super) const MAX_EVENTS: usize = 256;

/// Most sticky events kept of one stretch of a stream.
const MAX_STICKY: usize = 32;

/// Something in a queue that may be an event.
pub(super) trait Carries {
    /// The event it is.
    fn event(&self) -> Option<&gst::Event>;
}

impl Carries for gst::Event {
    fn event(&self) -> Option<&gst::Event> {
        Some(self)
    }
}

/// How many events there are.
pub(super) fn count(queue: &VecDeque<impl Carries>) -> usize {
    queue.iter().filter(|item| item.event().is_some()).count()
}

/// Keeps `item`, an event, if a pad that starts later must begin with it: the last of each sticky kind, in the place of
/// the first, as caps must come before the segment.
pub(super) fn keep<T: Carries>(kept: &mut Vec<T>, item: T) {
    let Some(event) = item.event() else { return };
    match event.type_() {
        gst::EventType::StreamStart => kept.clear(),
        // Only a flush lets a stream go on after its end.
        gst::EventType::Segment => kept.retain(|old| old.event().is_none_or(|old| !is_eos(old))),
        _ => {}
    }
    if !event.is_sticky() {
        return;
    }
    match kept.iter().position(|old| old.event().is_some_and(|old| same_kind(old, event))) {
        Some(at) => kept[at] = item,
        None if kept.len() < MAX_STICKY => kept.push(item),
        None => {}
    }
}

/// Lets the events go that a later one between the same frames makes obsolete, and those that are not sticky.
pub(super) fn compact<T: Carries>(queue: &mut VecDeque<T>) {
    let mut kept = VecDeque::with_capacity(queue.len());
    let mut run = Vec::new();
    for item in queue.drain(..) {
        if item.event().is_some_and(|event| !link::is_feed_gone(event)) {
            keep(&mut run, item);
            continue;
        }
        kept.extend(run.drain(..));
        kept.push_back(item);
    }
    kept.extend(run);
    *queue = kept;
}

fn is_eos(event: &gst::EventRef) -> bool {
    event.type_() == gst::EventType::Eos
}

/// Whether two sticky events are of one kind, so that the later replaces the earlier.
fn same_kind(one: &gst::EventRef, other: &gst::EventRef) -> bool {
    let name = |event: &gst::EventRef| event.structure().map(|structure| structure.name().to_string());
    one.type_() == other.type_() && (!one.type_().is_sticky_multi() || name(one) == name(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(width: i32) -> gst::Event {
        gst::event::Caps::new(&gst::Caps::builder("video/x-raw").field("width", width).build())
    }

    #[test]
    fn the_caps_of_a_compacted_queue_come_before_its_segment() {
        gst::init().unwrap();
        let segment = gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new());
        let gap = gst::event::Gap::new(gst::ClockTime::ZERO, gst::ClockTime::SECOND);
        let last = caps(2);
        let mut queue =
            VecDeque::from([gst::event::StreamStart::new("s"), caps(1), segment, gap, last.clone()]);
        compact(&mut queue);
        let kinds: Vec<_> = queue.iter().map(|event| event.type_()).collect();
        assert_eq!(kinds, [gst::EventType::StreamStart, gst::EventType::Caps, gst::EventType::Segment]);
        assert_eq!(queue[1].seqnum(), last.seqnum());
    }

    #[test]
    fn a_feed_that_has_gone_stays_gone() {
        gst::init().unwrap();
        let start = |id: &str| gst::event::StreamStart::new(id);
        let mut queue = VecDeque::from([start("a"), link::feed_gone(), start("b"), start("c")]);
        compact(&mut queue);
        assert_eq!(count(&queue), 3);
        assert!(link::is_feed_gone(&queue[1]));
    }
}
