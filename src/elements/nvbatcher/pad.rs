//! The sink pad of one feed: its properties, and what its stream is at the moment.

use super::timestamps::Timestamps;
use super::{OverloadPolicy, lanes};
use crate::batch::{FeedId, FeedOptions, Overload};
use crate::elements::stats::Stats;
use crate::elements::{link, lock, shown};
use crate::meta::batch::Format;
use glib::prelude::*;
use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Arc, Mutex, OnceLock};

const DEFAULT_MAX_SIZE_BUFFERS: u32 = 4;
const DEFAULT_MAX_IN_FLIGHT: u32 = 2;

#[derive(Debug, Clone)]
struct Settings {
    feed_id: Option<String>,
    max_size_buffers: u32,
    max_in_flight: u32,
    overload: OverloadPolicy,
    interval: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            feed_id: None,
            max_size_buffers: DEFAULT_MAX_SIZE_BUFFERS,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            overload: OverloadPolicy::default(),
            interval: 0,
        }
    }
}

/// What the stream on the pad is; only touched by serialized events and buffers.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) format: Option<Arc<Format>>,
    pub(super) segment: Option<Arc<gst::FormattedSegment<gst::ClockTime>>>,
    /// Whether upstream is live; asked once per stream.
    pub(super) live: Option<bool>,
    /// What the stream calls the feed.
    feed_id: Option<String>,
    pub(super) timestamps: Timestamps,
}

impl Stream {
    /// A new stream begins: nothing is known of it yet but what it calls the feed.
    fn begin(&mut self, feed_id: Option<String>) {
        let oddities = self.timestamps.oddities;
        *self = Self { timestamps: Timestamps { oddities, last: None }, feed_id, ..Self::default() };
    }
}

#[derive(Debug, Default, glib::Properties)]
#[properties(wrapper_type = super::NvBatcherSinkPad)]
pub struct NvBatcherSinkPad {
    #[property(
        name = "feed-id", get = Self::feed_id, set = Self::set_feed_id, type = Option<String>,
        blurb = "Name of the feed in every message, meta and record. Default: the one its stream brings, as that of nvfeed does, else the name of the pad. Credentials in it are replaced by ***.",
        mutable_playing
    )]
    #[property(
        name = "max-size-buffers", get, set, type = u32, member = max_size_buffers,
        minimum = 1, maximum = 10_000, default = DEFAULT_MAX_SIZE_BUFFERS,
        blurb = "Frames that may wait in the queue of this feed, in frames; raised to the batcher's max-frames-per-feed if that is larger.",
        mutable_playing
    )]
    #[property(
        name = "max-in-flight", get, set, type = u32, member = max_in_flight,
        minimum = 1, maximum = 10_000, default = DEFAULT_MAX_IN_FLIGHT,
        blurb = "Frames of this feed that may be in batches and queues behind the batcher at once, in frames, for each frame that max-frames-per-feed allows.",
        mutable_playing
    )]
    #[property(
        name = "interval", get, set, type = u32, member = interval,
        minimum = 0, maximum = 10_000, default = 0,
        blurb = "Frames between two that are inferred, in frames; the frames between travel on in order without inference. 0 infers every frame.",
        mutable_playing
    )]
    #[property(
        name = "overload", get, set, type = OverloadPolicy, member = overload,
        blurb = "What a full queue of this feed does with the next frame.",
        mutable_playing, builder(OverloadPolicy::Auto)
    )]
    settings: Mutex<Settings>,
    #[property(
        name = "stats", get = Self::stats, type = Stats,
        blurb = "Counters of this feed, all uint64 frames: received, delivered, dropped and failed (with reasons), queued, in-flight, those with odd timestamps; and the running time of the last one, in nanoseconds."
    )]
    pub(super) stream: Mutex<Stream>,
    id: OnceLock<FeedId>,
}

#[glib::object_subclass]
impl ObjectSubclass for NvBatcherSinkPad {
    const NAME: &'static str = "GstNvBatcherSinkPad";
    type Type = super::NvBatcherSinkPad;
    type ParentType = gst::Pad;
}

#[glib::derived_properties]
impl ObjectImpl for NvBatcherSinkPad {}

impl GstObjectImpl for NvBatcherSinkPad {}

impl PadImpl for NvBatcherSinkPad {}

impl NvBatcherSinkPad {
    pub(super) fn set_id(&self, id: FeedId) {
        self.id.set(id).ok();
    }

    /// Number of the pad. Pads made by anyone but the batcher have none and never get data.
    pub(super) fn id(&self) -> FeedId {
        self.id.get().copied().unwrap_or(FeedId(u32::MAX))
    }

    fn feed_id(&self) -> Option<String> {
        let set = lock(&self.settings).feed_id.clone();
        let name = set.or_else(|| lock(&self.stream).feed_id.clone());
        Some(name.unwrap_or_else(|| self.obj().name().into()))
    }

    fn set_feed_id(&self, feed_id: Option<String>) {
        lock(&self.settings).feed_id = shown(feed_id.as_deref().filter(|name| !name.is_empty()));
        self.rename();
    }

    /// Another stream begins. Returns what the feed was called if that has changed.
    pub(super) fn begin_stream(&self, start: &gst::EventRef) -> Option<Arc<str>> {
        let before = self.feed_name();
        lock(&self.stream).begin(link::feed_id(start));
        if self.feed_name() == before {
            return None;
        }
        self.rename();
        self.obj().notify("feed-id");
        Some(before)
    }

    fn rename(&self) {
        if let Some(element) = self.batcher() {
            element.imp().core.rename(self.id(), self.feed_name());
        }
    }

    /// The name of the feed.
    pub(super) fn feed_name(&self) -> Arc<str> {
        Arc::from(self.feed_id().unwrap_or_default())
    }

    /// What the batch core is to do with this feed.
    pub(super) fn options(&self, live: bool) -> FeedOptions {
        // Asked for every frame: nothing is cloned.
        let settings = lock(&self.settings);
        FeedOptions {
            max_size_buffers: settings.max_size_buffers as usize,
            max_in_flight: settings.max_in_flight,
            overload: lanes::resolve(settings.overload, live),
            interval: settings.interval,
        }
    }

    /// What a full queue does, as messages name it.
    pub(super) fn overload_name(&self, live: bool) -> &'static str {
        match lanes::resolve(lock(&self.settings).overload, live) {
            Overload::DropOldest => "drop-oldest",
            Overload::DropNewest => "drop-newest",
            Overload::Block => "block",
            Overload::PassThrough => "pass-through",
        }
    }

    fn batcher(&self) -> Option<super::NvBatcher> {
        self.obj().parent().and_downcast()
    }

    fn stats(&self) -> Stats {
        let counters = self.batcher().and_then(|element| element.imp().feed_stats(self.id()));
        let mut stats = counters.unwrap_or_else(|| gst::Structure::new_empty("nv-feed-stats"));
        let (oddities, last) = {
            let stream = lock(&self.stream);
            (stream.timestamps.oddities, stream.timestamps.last)
        };
        stats.set("without-pts", oddities.without_pts);
        stats.set("duplicate-pts", oddities.duplicate);
        stats.set("backward-pts", oddities.backward);
        stats.set("out-of-segment", oddities.out_of_segment);
        stats.set("last-running-time", last.map_or(u64::MAX, gst::ClockTime::nseconds));
        stats.into()
    }
}
