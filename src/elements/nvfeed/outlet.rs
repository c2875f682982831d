//! The stream that leaves the element: one, whatever number of sources it is made of.
//!
//! Whoever pushes holds the stream lock of the src pad, as every streaming thread of GStreamer does, and has looked
//! under it whether it is still the source whose frames pass. So a source that was let go of while it waited
//! downstream cannot put a frame among those of its successor.

use super::core::Core;
use super::inlet::Incoming;
use crate::elements::link;
use crate::feed::{Pace, Placed, Retimer, Stamp};
use gst::prelude::*;

pub(super) type TimeSegment = gst::FormattedSegment<gst::ClockTime>;

/// What has been sent, and how time goes on. Touched only with the stream lock of the src pad held.
#[derive(Default)]
pub(super) struct Outlet {
    pub(super) retimer: Retimer,
    group: Option<gst::GroupId>,
    /// Number of the session, from 0; `None` before the first.
    pub(super) session: Option<u32>,
    /// Whether a session begins with whatever comes next.
    begins: bool,
    /// Whether any has since the element started.
    has_begun: bool,
    caps: Option<gst::Caps>,
    has_segment: bool,
    /// What is to be said of the frames with the next of them.
    pub(super) tags: Option<gst::TagList>,
    /// Width and height of the frames.
    pub(super) size: Option<(u32, u32)>,
}

impl Outlet {
    /// The element starts.
    pub(super) fn restart(&mut self) {
        *self = Self { session: self.session, begins: true, ..Self::default() };
    }

    /// Another source is to be the next session, after a gap.
    pub(super) fn begin_session(&mut self, pace: Pace) {
        self.begins = true;
        self.retimer.session(pace);
    }

    /// Another source, or the same one rewound, goes on with the session.
    pub(super) fn begin_loop(&mut self) {
        self.retimer.looped();
        self.has_segment = false;
    }

    /// The same source goes on after a pause.
    pub(super) fn resume(&mut self) {
        self.retimer.session(Pace::Free);
    }

    /// What has to go out before anything else of a session does.
    fn preamble(&mut self, element: &super::NvFeed, to: &mut Vec<gst::Event>) {
        if !std::mem::take(&mut self.begins) {
            return;
        }
        self.has_begun = true;
        let session = self.session.map_or(0, |session| session.saturating_add(1));
        self.session = Some(session);
        self.caps = None;
        self.has_segment = false;
        let group = *self.group.get_or_insert_with(gst::GroupId::next);
        // No part of the URI: it is shown to everybody.
        let id = format!("nvfeed/{}/{session}", element.name());
        let start = gst::event::StreamStart::builder(&id)
            .group_id(group)
            .other_field(link::FEED_ID, element.feed_name())
            .build();
        to.push(start);
    }

    /// The caps of the frames that come next.
    pub(super) fn caps(&mut self, element: &super::NvFeed, caps: &gst::Caps) -> Vec<gst::Event> {
        let mut events = Vec::new();
        self.preamble(element, &mut events);
        if self.caps.as_ref() != Some(caps) {
            self.caps = Some(caps.clone());
            let structure = caps.structure(0);
            let side =
                |name| structure.and_then(|s| s.get::<i32>(name).ok()).and_then(|n| u32::try_from(n).ok());
            self.size = side("width").zip(side("height"));
            events.push(gst::event::Caps::new(caps));
        }
        events
    }

    /// Gives a frame its time, and what has to go out before it. `None` if it lies outside of its segment.
    pub(super) fn frame(
        &mut self,
        element: &super::NvFeed,
        incoming: &Incoming,
        buffer: &mut gst::Buffer,
        now: Option<u64>,
    ) -> Option<Vec<gst::Event>> {
        let inner = match buffer.pts() {
            Some(pts) => Some(incoming.segment.to_running_time(pts)?.nseconds()),
            None => None,
        };
        let stamp = Stamp { inner, duration: buffer.duration().map(gst::ClockTime::nseconds) };
        let placed = self.retimer.place(stamp, incoming.period, now);
        let mut events = Vec::new();
        self.preamble(element, &mut events);
        let (segment, stamp) = shifted(&incoming.segment, &placed);
        if placed.moved || incoming.is_new_segment || !self.has_segment {
            self.has_segment = true;
            events.push(gst::event::Segment::new(&segment));
        }
        events.extend(self.tags.take().map(gst::event::Tag::new));
        if stamp.is_some() || placed.discont {
            let buffer = buffer.make_mut();
            if let Some(stamp) = stamp {
                let stamp = gst::ClockTime::from_nseconds(stamp);
                buffer.set_pts(segment.position_from_running_time(stamp).or(Some(stamp)));
            }
            if placed.discont {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        Some(events)
    }

    /// The end of the stream, for one that may not even have begun.
    fn end(&mut self, element: &super::NvFeed) -> Vec<gst::Event> {
        let mut events = Vec::new();
        if !self.has_begun {
            self.preamble(element, &mut events);
        }
        if !self.has_segment {
            events.push(gst::event::Segment::new(&TimeSegment::new()));
        }
        self.begins = true;
        events.push(gst::event::Eos::new());
        events
    }
}

/// The segment that gives the frames of an inner one their place, and the running time that this frame has to be
/// stamped with, if the segment does not do it.
fn shifted(inner: &TimeSegment, placed: &Placed) -> (TimeSegment, Option<u64>) {
    let mut segment = inner.clone();
    // What lies outside has been left out; what is stamped here may well come after it.
    segment.set_stop(gst::ClockTime::NONE);
    if placed.offset == 0 || segment.offset_running_time(placed.offset).is_ok() {
        return (segment, placed.stamp);
    }
    // The segment would begin before time does.
    (TimeSegment::new(), Some(placed.time))
}

impl Core {
    /// Ends the stream.
    pub(super) fn send_eos(&self) {
        let Some(element) = self.element.upgrade() else { return };
        let pad = element.srcpad();
        let _streaming = pad.stream_lock();
        let events = self.outlet.lock().end(&element);
        for event in events {
            pad.push_event(event);
        }
    }
}
