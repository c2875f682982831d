//! The queue of one feed: frames as the [`Former`](crate::batch::Former) knows them, and the events between them.

use crate::batch::{Chosen, FeedOptions, FrameId, Overload};
use crate::elements::link;
use crate::elements::signal::Signal;
use crate::elements::sticky::{self, Carries, MAX_EVENTS};
use crate::meta::batch::{Feed, Format, Frame, Item, WallTime};
use std::collections::VecDeque;
use std::sync::Arc;

/// A frame as it waits in its feed's queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) buffer: gst::Buffer,
    pub(super) format: Arc<Format>,
    pub(super) segment: Arc<gst::FormattedSegment<gst::ClockTime>>,
    pub(super) wall: WallTime,
}

#[derive(Debug)]
pub(super) enum Queued {
    Frame(FrameId, Feed, Waiting),
    Event(Feed, gst::Event),
}

impl Carries for Queued {
    fn event(&self) -> Option<&gst::Event> {
        match self {
            Self::Frame(..) => None,
            Self::Event(_, event) => Some(event),
        }
    }
}

/// The queue of one feed.
#[derive(Debug)]
pub(super) struct Lane {
    /// What the feed is for what comes; what is queued keeps what it was.
    pub(super) feed: Feed,
    pub(super) options: FeedOptions,
    pub(super) queue: VecDeque<Queued>,
    /// Frames in the queue.
    frames: usize,
    /// Events since the queue was last looked through.
    unchecked: usize,
    pub(super) space: Arc<Signal>,
    pub(super) flushing: bool,
    /// It was flushed, so that downstream waits for more of it.
    pub(super) flushed: bool,
    pub(super) eos: bool,
    /// A stream has begun, so that one must end.
    pub(super) begun: bool,
    /// The pad is gone: the lane goes when its queue is empty, unless the pad is requested again.
    pub(super) released: bool,
}

impl Lane {
    pub(super) fn new(feed: Feed, options: FeedOptions) -> Self {
        Self {
            feed,
            options,
            queue: VecDeque::new(),
            frames: 0,
            unchecked: 0,
            space: Arc::default(),
            flushing: false,
            flushed: false,
            eos: false,
            begun: false,
            released: false,
        }
    }

    pub(super) fn push_frame(&mut self, key: FrameId, frame: Waiting) {
        self.queue.push_back(Queued::Frame(key, self.feed.clone(), frame));
        self.frames += 1;
    }

    pub(super) fn push_event(&mut self, event: gst::Event) {
        self.queue.push_back(Queued::Event(self.feed.clone(), event));
        self.unchecked += 1;
        if self.unchecked > MAX_EVENTS {
            self.unchecked = 0;
            if sticky::count(&self.queue) > MAX_EVENTS {
                sticky::compact(&mut self.queue);
            }
        }
    }

    pub(super) fn remove_frame(&mut self, key: FrameId) -> Option<(Feed, Waiting)> {
        let at =
            self.queue.iter().position(|queued| matches!(queued, Queued::Frame(id, ..) if *id == key))?;
        match self.queue.remove(at)? {
            Queued::Frame(_, feed, frame) => {
                self.frames -= 1;
                Some((feed, frame))
            }
            Queued::Event(..) => None,
        }
    }

    /// Whether there is so much room that who waits for some is to be woken: for several frames at a time, as each
    /// wake-up costs more than a frame.
    pub(super) fn has_room(&self) -> bool {
        self.frames <= self.options.max_size_buffers / 2
    }

    /// Whether an event waits that may make downstream take frames again.
    pub(super) fn will_reopen(&self) -> bool {
        self.queue.iter().any(|queued| matches!(queued, Queued::Event(_, event) if link::reopens(event)))
    }

    /// Takes everything out.
    pub(super) fn clear(&mut self) -> VecDeque<Queued> {
        self.frames = 0;
        std::mem::take(&mut self.queue)
    }

    /// Takes every frame out, and the events that `survives` does not want.
    pub(super) fn take_out(&mut self, survives: impl Fn(&gst::EventRef) -> bool) -> VecDeque<Queued> {
        let stays = |queued: &Queued| matches!(queued, Queued::Event(_, event) if survives(event));
        let (kept, freed) = std::mem::take(&mut self.queue).into_iter().partition(stays);
        self.queue = kept;
        self.frames = 0;
        freed
    }

    /// What goes when a flush begins.
    pub(super) fn flush(&mut self) -> VecDeque<Queued> {
        self.feed.epoch += 1;
        self.flushed = true;
        self.take_out(link::survives_flush)
    }

    /// Moves the events at the head of the queue into `items`.
    pub(super) fn take_events(&mut self, items: &mut Vec<Item>) {
        while let Some(Queued::Event(..)) = self.queue.front() {
            if let Some(Queued::Event(feed, event)) = self.queue.pop_front() {
                items.push(Item::Event { feed, event });
            }
        }
    }
}

/// A waiting frame as it travels in a batch.
pub(super) fn frame_of(feed: Feed, chosen: Chosen, waiting: Waiting, slot: u32) -> Frame {
    Frame {
        feed,
        seq: chosen.seq,
        buffer: waiting.buffer,
        format: waiting.format,
        segment: waiting.segment,
        arrival: chosen.arrival,
        wall: waiting.wall,
        infer: chosen.infer,
        slot,
        ticket: chosen.ticket,
        verdict: None,
    }
}

/// `auto` as the user sees it, resolved by whether the feed is live.
pub(super) fn resolve(overload: super::OverloadPolicy, live: bool) -> Overload {
    use super::OverloadPolicy as Choice;
    match overload {
        Choice::Auto if live => Overload::DropOldest,
        Choice::Auto | Choice::Block => Overload::Block,
        Choice::DropOldest => Overload::DropOldest,
        Choice::DropNewest => Overload::DropNewest,
        Choice::PassThrough => Overload::PassThrough,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::FeedId;

    #[test]
    fn events_do_not_pile_up_and_the_last_of_each_kind_stays() {
        gst::init().unwrap();
        let feed = Feed { id: FeedId(0), name: "gate".into(), session: 0, epoch: 0 };
        let mut lane = Lane::new(feed, FeedOptions::default());
        lane.push_event(gst::event::StreamStart::new("one"));
        let mut last = None;
        for number in 0..10_000 {
            lane.push_event(gst::event::Gap::new(gst::ClockTime::SECOND, gst::ClockTime::SECOND));
            let caps = gst::Caps::builder("video/x-raw").field("width", number).build();
            last = Some(gst::event::Caps::new(&caps));
            lane.push_event(last.clone().unwrap());
        }
        assert!(lane.queue.len() <= 2 * MAX_EVENTS, "{}", lane.queue.len());
        let mut items = Vec::new();
        lane.take_events(&mut items);
        let events: Vec<_> = items
            .iter()
            .filter_map(|item| match item {
                Item::Event { event, .. } => Some(event),
                Item::Frame(_) => None,
            })
            .collect();
        let first = events.first().unwrap();
        assert_eq!(first.type_(), gst::EventType::StreamStart);
        assert_eq!(events.last().unwrap().seqnum(), last.unwrap().seqnum());
    }
}
