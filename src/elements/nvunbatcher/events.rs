//! Events and queries of the pads.

use super::imp::{CAT, NvUnbatcher};
use crate::elements::link::{self, FeedCut, FeedFlush};
use crate::elements::{self, video};
use crate::health::Redacted;
use gst::prelude::*;
use gst::subclass::prelude::*;

impl NvUnbatcher {
    pub(super) fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{:?}", Redacted(&event));
        match event.view() {
            gst::EventView::Eos(_) => {
                self.outlets.end_all();
                true
            }
            // The stream of batches ends here: its feeds have their own stream-start, caps and segment.
            gst::EventView::StreamStart(start) => {
                self.outlets.begin(link::BatcherName::of(start.stream_id()));
                // A batcher that was stopped in the middle of a flush does not end it.
                self.outlets.flushing().into_iter().for_each(|feed| self.end_flush(feed));
                true
            }
            gst::EventView::CustomDownstreamOob(_) => {
                if let Some(FeedCut { feed, epoch, drains }) = FeedCut::of(&event) {
                    if drains {
                        self.outlets.retire(feed, epoch);
                        return true;
                    }
                    // A flush that the cut crosses has no end of its own.
                    if self.outlets.flushing().contains(&feed) {
                        self.end_flush(feed);
                    }
                    self.outlets.cut(feed, epoch);
                    return true;
                }
                match FeedFlush::of(&event) {
                    Some(flush) => self.flush(flush),
                    None => gst::Pad::event_default(pad, Some(&*self.obj()), event),
                }
            }
            _ if event.is_serialized() => true,
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    /// A flush of one feed: it reaches that feed's pad and no other.
    fn flush(&self, flush: FeedFlush) -> bool {
        let FeedFlush { feed, epoch, event } = flush;
        let pad = self.obj().static_pad(&format!("src_{feed}"));
        if event.type_() == gst::EventType::FlushStart {
            let begins = self.outlets.flush_start(feed, epoch);
            return !begins || pad.is_none_or(|pad| pad.push_event(event));
        }
        if self.outlets.is_stale(feed, epoch) {
            return true;
        }
        pad.is_none_or(|pad| self.flush_stop(&pad, feed, event))
    }

    fn end_flush(&self, feed: u32) {
        if let Some(pad) = self.obj().static_pad(&format!("src_{feed}")) {
            self.flush_stop(&pad, feed, gst::event::FlushStop::new(false));
        }
    }

    fn flush_stop(&self, pad: &gst::Pad, feed: u32, event: gst::Event) -> bool {
        // What was on its way when the flush began has arrived, or failed to, once the lock is free.
        let _streaming = pad.stream_lock();
        let done = pad.push_event(event);
        self.outlets.flush_stop(feed);
        done
    }

    pub(super) fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let answered = link::answer_expected_feeds(query, || {
            let pads = self.obj().src_pads();
            let linked = pads.iter().filter(|pad| pad.is_linked());
            linked.filter_map(|pad| elements::pad_number(&pad.name(), "src_")).collect()
        });
        if answered {
            return true;
        }
        let of_feed = link::answer_feed_query(query, |feed, query| {
            let pad = self.obj().static_pad(&format!("src_{feed}"));
            pad.is_some_and(|pad| pad.peer_query(query))
        });
        of_feed.unwrap_or_else(|| gst::Pad::query_default(pad, Some(&*self.obj()), query))
    }

    pub(super) fn src_event(&self, feed: u32, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Reconfigure {
            // Something was linked, here or further downstream.
            self.outlets.reopen(feed);
        }
        match event.view() {
            gst::EventView::Latency(_) => self.sinkpad.push_event(event),
            _ => self.sinkpad.push_event(link::for_feed(feed, &event)),
        }
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, feed: u32, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(_) => self.sinkpad.peer_query(query),
            gst::QueryViewMut::Caps(query) => {
                video::answer_caps(query, &pad.current_caps().unwrap_or_else(|| pad.pad_template_caps()));
                true
            }
            gst::QueryViewMut::Position(_)
            | gst::QueryViewMut::Duration(_)
            | gst::QueryViewMut::Seeking(_) => link::query_feed(&self.sinkpad, feed, query),
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}
