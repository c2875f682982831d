//! Pads that come and go: a sink pad for every feed.

use super::NvBatcherSinkPad;
use super::imp::NvBatcher;
use crate::batch::FeedId;
use crate::elements::link::FeedCut;
use crate::elements::{self, lock};
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;

impl NvBatcher {
    pub(super) fn add_feed(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
    ) -> Result<gst::Pad, String> {
        let (feeds, free) = self.core.vacancy();
        let id = match name {
            None => free,
            Some(name) => elements::pad_number(name, "sink_")
                .ok_or_else(|| format!("pad {name:?}: expected sink_N with N of 0 to {}", u32::MAX - 1))?,
        };
        if self.core.contains(FeedId(id)) {
            return Err(format!("pad sink_{id} exists already: expected another number"));
        }
        let most = lock(&self.settings).max_feeds;
        if feeds >= most as usize {
            return Err(format!("pad sink_{id}: max-feeds is {most}, and there are {feeds} feeds already"));
        }
        let pad = gst::PadBuilder::<NvBatcherSinkPad>::from_template(template)
            .name(format!("sink_{id}"))
            .chain_function(|pad: &NvBatcherSinkPad, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |imp| imp.sink_chain(pad, buffer),
                )
            })
            .event_full_function(|pad: &NvBatcherSinkPad, parent, event| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |imp| imp.sink_event(pad, event),
                )
            })
            .query_function(|pad: &NvBatcherSinkPad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.sink_query(pad, query))
            })
            .build();
        pad.imp().set_id(FeedId(id));
        let core = Arc::clone(&self.core);
        pad.connect_notify(None, move |_, _| core.reconsider(FeedId(id)));
        self.core.add(FeedId(id), pad.imp().feed_name(), pad.imp().options(false))?;
        if let Err(error) = self.obj().add_pad(&pad) {
            self.core.remove(FeedId(id));
            return Err(format!("pad sink_{id}: {error}"));
        }
        self.obj().child_added(&pad, &pad.name());
        Ok(pad.upcast())
    }

    /// Releases the pad of a feed: what waits is dropped and counted, and the feed ends.
    pub(super) fn remove_feed(&self, pad: &gst::Pad) {
        let Some(feed) = pad.downcast_ref::<NvBatcherSinkPad>() else { return };
        let id = feed.imp().id();
        // Before the last that it sends can pass: a pad that is requested again must find it said.
        if let Some(epoch) = self.core.epoch_after(id) {
            self.srcpad.push_event(FeedCut { feed: id.0, epoch, drains: true }.to_event());
        }
        if let Some(epoch) = self.core.remove(id) {
            self.srcpad.push_event(FeedCut { feed: id.0, epoch, drains: false }.to_event());
        }
        pad.set_active(false).ok();
        if self.obj().remove_pad(pad).is_ok() {
            self.obj().child_removed(pad, &pad.name());
        }
        self.health.forget(&*self.obj(), &feed.imp().feed_name());
        self.announce_latency();
    }
}
