//! Events and queries of the pads.

use super::imp::{CAT, NvInference, Stream};
use super::outbox::Entry;
use super::service::Serving;
use super::settings;
use crate::elements::link::{self, FeedFlush};
use crate::elements::{lock, video};
use crate::health::Redacted;
use crate::infer::InferError;
use crate::meta::batch as meta;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::time::Duration;

impl NvInference {
    pub(super) fn sink_event(
        &self,
        pad: &gst::Pad,
        event: gst::Event,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        gst::log!(CAT, obj = pad, "{:?}", Redacted(&event));
        if let Some(lane) = self.lane() {
            return self.lane_event(&lane, pad, event);
        }
        match event.view() {
            gst::EventView::FlushStart(_) => {
                self.set_flushing(true);
                self.srcpad.push_event(event);
            }
            gst::EventView::FlushStop(_) => {
                // What was on its way when the flush began has arrived, or failed to, once the lock is free.
                drop(self.srcpad.stream_lock());
                self.set_flushing(false);
                self.memory.clear();
                self.srcpad.push_event(event);
            }
            gst::EventView::StreamStart(_) => {
                // A tracker may number the objects of another stream as it did those of the last.
                self.memory.clear();
                self.outbox.put(Entry::Event(event))?;
            }
            gst::EventView::Caps(caps) => {
                let most = self.set_stream(caps.caps()).map_err(|refusal| {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::WrongType,
                        ["{}: {}", pad.name(), Redacted(refusal)]
                    );
                    gst::FlowError::NotNegotiated
                })?;
                self.warm_up(most)?;
                self.outbox.put(Entry::Event(event))?;
            }
            _ if event.is_serialized() => self.outbox.put(Entry::Event(event))?,
            _ => {
                if FeedFlush::of(&event).is_some() {
                    self.memory.forget_unanswered();
                    // A feed flows again, perhaps the only one.
                    self.outbox.retry();
                }
                gst::Pad::event_default(pad, Some(&*self.obj()), event);
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    pub(super) fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let lane = self.lane();
        match query.view_mut() {
            // Whatever comes in goes out unchanged: what downstream takes decides. Batches do not enter a group.
            gst::QueryViewMut::Caps(query) => {
                let takes = if lane.is_some() { video::caps() } else { pad.pad_template_caps() };
                video::answer_caps(query, &self.srcpad.peer_query_caps(Some(&takes)));
                true
            }
            // The caps event refuses what the pad does not take, and can say why.
            gst::QueryViewMut::AcceptCaps(query) => {
                query.set_result(true);
                true
            }
            gst::QueryViewMut::Allocation(query) => match lane {
                Some(lane) => lane.ask(query),
                None => {
                    query.add_allocation_meta::<gst_video::VideoMeta>(None);
                    true
                }
            },
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    pub(super) fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        if link::may_have_linked(&event) {
            self.outbox.retry();
            if let Some(lane) = self.lane() {
                lane.retry();
            }
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        if !gst::Pad::query_default(pad, Some(&*self.obj()), query) {
            return false;
        }
        if let gst::QueryViewMut::Latency(query) = query.view_mut() {
            let (live, min, max) = query.result();
            let own = self.group_latency().unwrap_or_else(|| self.processing_latency());
            if live {
                query.set(live, min.saturating_add(own), max.map(|max| max.saturating_add(own)));
            }
        }
        true
    }

    /// Takes the caps of the stream; returns the largest batch it may have.
    fn set_stream(&self, caps: &gst::CapsRef) -> Result<usize, String> {
        let structure = caps.structure(0).ok_or("expected caps, found empty ones")?;
        let (stream, most) = if structure.name() == meta::CAPS_NAME {
            let most = structure.get::<i32>(meta::CAPS_MAX_BATCH_SIZE).unwrap_or(1);
            (Stream::Batches, usize::try_from(most).unwrap_or(1))
        } else {
            (Stream::Video(video::parse_format(caps)?), 1)
        };
        *lock(&self.stream) = stream;
        Ok(most)
    }

    /// Runs every batch size the stream will need before its first frame, unless that was done.
    fn warm_up(&self, most: usize) -> Result<(), gst::FlowError> {
        let serving = self.service.serving();
        let most = serving.as_ref().and_then(|serving| serving.runtime.most_objects()).unwrap_or(most);
        self.service.expect(most);
        let Some(Serving { runtime, refusal: None }) = serving else { return Ok(()) };
        let time = match runtime.warm_time(most) {
            Some(time) => time,
            None => {
                self.post_progress(gst::ProgressType::Start, "Warming up");
                let warmed = runtime.warm_up(most, &self.interrupt());
                let (end, text) = match &warmed {
                    Ok(_) => (gst::ProgressType::Complete, "Warmed up"),
                    Err(InferError::Interrupted) => (gst::ProgressType::Canceled, "Stopped while warming up"),
                    Err(_) => (gst::ProgressType::Error, "Warming up failed"),
                };
                self.post_progress(end, text);
                match warmed {
                    Ok(time) => time,
                    Err(error) => return self.warm_up_failed(&error),
                }
            }
        };
        self.set_measured(time);
        Ok(())
    }

    /// A full batch takes that long.
    pub(super) fn set_measured(&self, time: Duration) {
        let time = gst::ClockTime::try_from(time).unwrap_or(gst::ClockTime::ZERO);
        let before = std::mem::replace(&mut *lock(&self.measured), time);
        if before != time && lock(&self.settings).processing_latency == settings::AUTO_LATENCY {
            let element = self.obj();
            element.post_message(gst::message::Latency::builder().src(&*element).build()).ok();
        }
    }

    fn warm_up_failed(&self, error: &InferError) -> Result<(), gst::FlowError> {
        match error {
            InferError::Interrupted => Err(gst::FlowError::Flushing),
            // No error of the stream: smaller batches may do, and the ladder judges those that do not.
            InferError::Run { .. } | InferError::Panic { .. } | InferError::Stopped => {
                gst::warning!(CAT, imp = self, "Warming up: {}", Redacted(error));
                Ok(())
            }
            _ => {
                gst::element_imp_error!(self, gst::LibraryError::Failed, ["warming up: {}", Redacted(error)]);
                Err(gst::FlowError::Error)
            }
        }
    }

    fn post_progress(&self, kind: gst::ProgressType, text: &str) {
        let element = self.obj();
        let message = gst::message::Progress::builder(kind, "nv-warm-up", text).src(&*element).build();
        element.post_message(message).ok();
    }

    /// How long a batch takes, as reported.
    pub(super) fn processing_latency(&self) -> gst::ClockTime {
        match lock(&self.settings).processing_latency {
            settings::AUTO_LATENCY => *lock(&self.measured),
            set => gst::ClockTime::from_nseconds(set),
        }
    }
}
