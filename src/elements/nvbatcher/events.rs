//! Events of the pads.

use super::frames::Stage;
use super::imp::{CAT, NvBatcher};
use crate::batch::FeedId;
use crate::elements::link::{self, FeedFlush};
use crate::elements::{lock, video};
use crate::health::Redacted;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;

impl NvBatcher {
    pub(super) fn sink_event(
        &self,
        pad: &super::NvBatcherSinkPad,
        event: gst::Event,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        gst::log!(CAT, obj = pad, "{:?}", Redacted(&event));
        let id = pad.imp().id();
        match event.view() {
            gst::EventView::FlushStart(_) => self.flush(id, true, event),
            gst::EventView::FlushStop(_) => {
                {
                    let mut stream = lock(&pad.imp().stream);
                    stream.segment = None;
                    stream.timestamps.restart();
                }
                self.flush(id, false, event);
            }
            gst::EventView::StreamStart(_) => {
                if let Some(before) = pad.imp().begin_stream(&event) {
                    self.health.forget(&*self.obj(), &before);
                }
                self.core.begin_stream(id);
                self.queue_event(pad, event)?;
            }
            gst::EventView::Eos(_) => {
                self.queue_event(pad, event)?;
                self.health.flush_feed(&*self.obj(), &pad.imp().feed_name());
            }
            gst::EventView::Caps(caps) => {
                let format = video::parse_format(caps.caps()).map_err(|refusal| {
                    self.refuse(pad, Stage::Format, &refusal);
                    gst::FlowError::NotNegotiated
                })?;
                lock(&pad.imp().stream).format = Some(format);
                self.queue_event(pad, event)?;
            }
            gst::EventView::Segment(segment) => {
                let Some(time) = segment.segment().downcast_ref::<gst::ClockTime>() else {
                    let found = segment.segment().format();
                    let detail = format!("expected a segment in time, found one in {found:?}");
                    self.refuse(pad, Stage::Format, &detail);
                    return Err(gst::FlowError::NotNegotiated);
                };
                lock(&pad.imp().stream).segment = Some(Arc::new(time.clone()));
                self.queue_event(pad, event)?;
            }
            _ if event.is_serialized() => self.queue_event(pad, event)?,
            _ => gst::debug!(CAT, obj = pad, "Event is not for a feed's frames: {:?}", Redacted(&event)),
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn queue_event(&self, pad: &super::NvBatcherSinkPad, event: gst::Event) -> Result<(), gst::FlowError> {
        self.core.queue_event(pad.imp().id(), event).map_err(Into::into)
    }

    /// A flush of one feed: its frames go here, and the event overtakes those of the others to the feed's src pad.
    fn flush(&self, id: FeedId, begins: bool, event: gst::Event) {
        // A pad that was released meanwhile has ended; see `FeedCut`.
        if let Some(epoch) = self.core.set_flushing(id, begins) {
            self.srcpad.push_event(FeedFlush { feed: id.0, epoch, event }.to_event());
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
                gst::debug!(CAT, obj = pad, "No feed is named, dropping {:?}", Redacted(&event));
                false
            }
        }
    }
}
