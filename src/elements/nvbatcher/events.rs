//! Buffers, events and queries of the pads.

use super::core::{Offer, Refused, Waiting};
use super::imp::{CAT, NvBatcher};
use super::pad::Stream;
use crate::clock;
use crate::elements::{link, lock, video};
use crate::meta::batch::WallTime;
use crate::meta::frame;
use gst::prelude::*;
use gst::subclass::prelude::*;

impl From<Refused> for gst::FlowError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Flushing => Self::Flushing,
            Refused::Eos => Self::Eos,
            Refused::Downstream(error) => error,
        }
    }
}

impl NvBatcher {
    pub(super) fn sink_chain(
        &self,
        pad: &super::NvBatcherSinkPad,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let (waiting, live) = self.describe_frame(pad, buffer)?;
        let mut waiting = Box::new(waiting);
        loop {
            let imp = pad.imp();
            let options = imp.options(live);
            match self.core.offer(imp.id(), options.clone(), waiting, clock::now()) {
                Offer::Taken(_) | Offer::Dropped(_) => return Ok(gst::FlowSuccess::Ok),
                Offer::Refused(_, refused) => return Err(refused.into()),
                Offer::Full(back, space, seen) => {
                    waiting = back;
                    // Options that changed before the look at the signal do not raise it again.
                    if imp.options(live) == options {
                        space.wait(seen, None);
                    }
                }
            }
        }
    }

    /// What the frame is, from the stream it came in; and whether that stream is live.
    fn describe_frame(
        &self,
        pad: &super::NvBatcherSinkPad,
        buffer: gst::Buffer,
    ) -> Result<(Waiting, bool), gst::FlowError> {
        let known_live = lock(&pad.imp().stream).live;
        let live = known_live.unwrap_or_else(|| is_live(pad));
        let mut stream = lock(&pad.imp().stream);
        stream.live = Some(live);
        let Some(format) = stream.format.clone() else {
            drop(stream);
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ["{}: a buffer came before caps", pad.name()]
            );
            return Err(gst::FlowError::NotNegotiated);
        };
        let segment = stream.segment.clone().unwrap_or_default();
        drop(stream);
        if let Err(refusal) = video::check_frame(&buffer, &format) {
            gst::element_imp_error!(self, gst::StreamError::Format, ["{}: {refusal}", pad.name()]);
            return Err(gst::FlowError::Error);
        }
        let wall = wall_time(&buffer);
        Ok((Waiting { buffer, format, segment, wall }, live))
    }

    pub(super) fn sink_event(
        &self,
        pad: &super::NvBatcherSinkPad,
        event: gst::Event,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        gst::log!(CAT, obj = pad, "{event:?}");
        let id = pad.imp().id();
        match event.view() {
            gst::EventView::FlushStart(_) => self.core.set_flushing(id, true),
            gst::EventView::FlushStop(_) => {
                lock(&pad.imp().stream).segment = None;
                self.core.set_flushing(id, false);
            }
            gst::EventView::StreamStart(_) => {
                let session = {
                    let mut stream = lock(&pad.imp().stream);
                    stream.streams += 1;
                    *stream = Stream { streams: stream.streams, ..Stream::default() };
                    stream.streams - 1
                };
                self.core.set_session(id, session, pad.imp().feed_name());
                self.queue_event(pad, event)?;
            }
            gst::EventView::Caps(caps) => {
                let format = video::parse_format(caps.caps()).map_err(|refusal| {
                    gst::element_imp_error!(self, gst::StreamError::WrongType, ["{}: {refusal}", pad.name()]);
                    gst::FlowError::NotNegotiated
                })?;
                lock(&pad.imp().stream).format = Some(format);
                self.queue_event(pad, event)?;
            }
            gst::EventView::Segment(segment) => {
                let Some(time) = segment.segment().downcast_ref::<gst::ClockTime>() else {
                    let found = segment.segment().format();
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Format,
                        ["{}: expected a segment in time, found one in {found:?}", pad.name()]
                    );
                    return Err(gst::FlowError::Error);
                };
                lock(&pad.imp().stream).segment = Some(time.clone());
                self.queue_event(pad, event)?;
            }
            _ if event.is_serialized() => self.queue_event(pad, event)?,
            _ => gst::debug!(CAT, obj = pad, "Event is not for a feed's frames: {event:?}"),
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn queue_event(&self, pad: &super::NvBatcherSinkPad, event: gst::Event) -> Result<(), gst::FlowError> {
        self.core.queue_event(pad.imp().id(), event).map_err(Into::into)
    }

    pub(super) fn sink_query(&self, pad: &super::NvBatcherSinkPad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Caps(query) => {
                video::answer_caps(query, &pad.pad_template_caps());
                true
            }
            // The caps event itself refuses what the pad does not take, and can say why; a refusal here would
            // reach the user as "not negotiated" and no more.
            gst::QueryViewMut::AcceptCaps(query) => {
                query.set_result(true);
                true
            }
            gst::QueryViewMut::Allocation(query) => {
                let format = lock(&pad.imp().stream).format.clone();
                let options = pad.imp().options(false);
                let held = u32::try_from(options.max_size_buffers).unwrap_or(u32::MAX);
                let wanted = held.saturating_add(options.max_in_flight).saturating_add(2);
                let size = format.map_or(0, |format| u32::try_from(format.info.size()).unwrap_or(0));
                query.add_allocation_pool(None::<&gst::BufferPool>, size, wanted, 0);
                query.add_allocation_meta::<gst_video::VideoMeta>(None);
                true
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    pub(super) fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        if link::may_have_linked(&event) {
            self.core.retry();
        }
        if link::is_feeds_changed(&event) {
            return true;
        }
        if let Some((feed, inner)) = link::feed_event(&event) {
            let name = format!("sink_{feed}");
            return self.obj().static_pad(&name).is_some_and(|pad| pad.push_event(inner));
        }
        match event.view() {
            // Latency belongs to everybody; anything else that comes without a feed's name would disturb
            // feeds that have nothing to do with it.
            gst::EventView::Latency(_) => gst::Pad::event_default(pad, Some(&*self.obj()), event),
            _ => {
                gst::debug!(CAT, obj = pad, "No feed is named, dropping {event:?}");
                false
            }
        }
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                let (live, min, max) = self.latency();
                query.set(live, min, max);
                true
            }
            gst::QueryViewMut::Seeking(query) => {
                query.set(false, gst::ClockTime::NONE, gst::ClockTime::NONE);
                true
            }
            gst::QueryViewMut::Position(_) | gst::QueryViewMut::Duration(_) => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// Live if any feed is; the least is that of the slowest feed plus what a frame may wait for its batch, the
    /// most is that of the feed with the smallest buffers.
    fn latency(&self) -> (bool, gst::ClockTime, Option<gst::ClockTime>) {
        let waiting = gst::ClockTime::from_nseconds(lock(&self.settings).max_latency);
        let (mut live, mut min, mut max) = (false, gst::ClockTime::ZERO, None::<gst::ClockTime>);
        for pad in self.obj().sink_pads() {
            let mut query = gst::query::Latency::new();
            if !pad.peer_query(&mut query) {
                continue;
            }
            let (pad_live, pad_min, pad_max) = query.result();
            if !pad_live {
                continue;
            }
            live = true;
            min = min.max(pad_min);
            max = match (max, pad_max) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        let max = max.map(|max| max.max(min).saturating_add(waiting));
        (live, min.saturating_add(waiting), max)
    }
}

/// Whether the stream on a pad is live; what cannot be asked is not.
fn is_live(pad: &super::NvBatcherSinkPad) -> bool {
    let mut query = gst::query::Latency::new();
    pad.peer_query(&mut query) && query.result().0
}

/// What the source says about the wall clock, else now.
fn wall_time(buffer: &gst::BufferRef) -> WallTime {
    match frame::reference_wall_micros(buffer) {
        Some(micros) => WallTime { micros, from_reference: true },
        None => WallTime { micros: clock::wall_micros(), from_reference: false },
    }
}
