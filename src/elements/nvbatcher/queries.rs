//! Queries of the pads.

use super::imp::NvBatcher;
use crate::elements::{link, lock, video};
use gst::prelude::*;
use gst::subclass::prelude::*;

/// Whether live, the least latency, and the most.
pub(super) type Latency = (bool, gst::ClockTime, Option<gst::ClockTime>);

impl NvBatcher {
    pub(super) fn sink_query(&self, pad: &super::NvBatcherSinkPad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Caps(query) => {
                video::answer_caps(query, &self.takes(pad));
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

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                let latency = self.latency();
                *lock(&self.answered_latency) = Some(latency);
                let (live, min, max) = latency;
                query.set(live, min, max);
                true
            }
            gst::QueryViewMut::Custom(custom) => {
                let answer = link::answer_feed_query(custom, |feed, query| {
                    let pad = self.obj().static_pad(&format!("sink_{feed}"));
                    pad.is_some_and(|pad| pad.peer_query(query))
                });
                answer.unwrap_or_else(|| gst::Pad::query_default(pad, Some(&*self.obj()), custom))
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
    fn latency(&self) -> Latency {
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

    /// Whether what the pipeline was told holds with a live feed of this latency too.
    pub(super) fn latency_covers(&self, (_, min, max): Latency) -> bool {
        let waiting = gst::ClockTime::from_nseconds(lock(&self.settings).max_latency);
        let Some((live, told_min, told_max)) = *lock(&self.answered_latency) else { return true };
        let max_fits = match (told_max, max) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(told), Some(max)) => told <= max.saturating_add(waiting),
        };
        live && min.saturating_add(waiting) <= told_min && max_fits
    }

    /// Tells the pipeline that the latency is not what it was told, if so.
    pub(super) fn announce_latency(&self) {
        let answered = *lock(&self.answered_latency);
        if answered.is_some_and(|answered| answered != self.latency()) {
            let element = self.obj();
            element.post_message(gst::message::Latency::builder().src(&*element).build()).ok();
        }
    }

    /// What a feed may be: what nvbatcher reads, as far as who gets the feed's frames takes it.
    fn takes(&self, pad: &super::NvBatcherSinkPad) -> gst::Caps {
        let template = pad.pad_template_caps();
        let mut query = gst::query::Caps::new(Some(&template));
        if !link::query_feed(&self.srcpad, pad.imp().id().0, &mut query) {
            return template;
        }
        match query.result() {
            Some(caps) => template.intersect_with_mode(caps, gst::CapsIntersectMode::First),
            None => template,
        }
    }
}
