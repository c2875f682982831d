//! The element: properties, caps, events and state changes.

use super::following::{Following, Summary};
use super::settings::{
    Algorithm, DEFAULT_APPEARANCE_WEIGHT, DEFAULT_COAST_FRAMES, DEFAULT_HIGH_THRESHOLD,
    DEFAULT_IOU_THRESHOLD, DEFAULT_LOW_THRESHOLD, DEFAULT_MAX_AGE, DEFAULT_MAX_TRACKS, DEFAULT_MIN_HITS,
    MOST_COAST_FRAMES, Settings,
};
use crate::elements::message::HealthReporter;
use crate::elements::stats::Stats;
use crate::elements::video::side;
use crate::elements::{self, lock};
use crate::health::{StageError, TrackRejected};
use crate::track::MOST_TRACKS;
use crate::vision::Size;
use glib::subclass::prelude::*;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::BaseTransformMode;
use gst_base::subclass::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("nvtrack", gst::DebugColorFlags::empty(), Some("NextVision tracker"))
});

#[derive(glib::Properties)]
#[properties(wrapper_type = super::NvTrack)]
pub struct NvTrack {
    #[property(
        name = "algorithm", get, set, type = Algorithm, member = algorithm,
        blurb = "How detections and tracks are paired.",
        mutable_playing, builder(Algorithm::default())
    )]
    #[property(
        name = "max-age", get, set, type = u32, member = max_age, default = DEFAULT_MAX_AGE,
        blurb = "Frames without a detection after which a track ends, those that were not inferred included; 30 s at the latest. 0 ends it with the first.",
        mutable_playing
    )]
    #[property(
        name = "min-hits", get, set, type = u32, member = min_hits, default = DEFAULT_MIN_HITS,
        blurb = "Inferred frames in a row on which a track must be seen until it is confirmed. 0 and 1 confirm it with the first.",
        mutable_playing
    )]
    #[property(
        name = "coast-frames", get, set, type = u32, member = coast_frames,
        minimum = 0, maximum = MOST_COAST_FRAMES, default = DEFAULT_COAST_FRAMES,
        blurb = "Inferred frames in a row on which a confirmed track that the detector misses is still reported, at its predicted place, with state coasted. 0 reports what was detected.",
        mutable_playing
    )]
    #[property(
        name = "iou-threshold", get, set, type = f64, member = iou_threshold,
        minimum = 0.0, maximum = 1.0, default = DEFAULT_IOU_THRESHOLD,
        blurb = "Least overlap (intersection over union) of a detection and the box of its track, 0 to 1. 0 is any overlap.",
        mutable_playing
    )]
    #[property(
        name = "high-threshold", get, set, type = f64, member = high_threshold,
        minimum = 0.0, maximum = 1.0, default = DEFAULT_HIGH_THRESHOLD,
        blurb = "Least confidence of a detection that begins a track, 0 to 1; with iou and sort of any in a track.",
        mutable_playing
    )]
    #[property(
        name = "low-threshold", get, set, type = f64, member = low_threshold,
        minimum = 0.0, maximum = 1.0, default = DEFAULT_LOW_THRESHOLD,
        blurb = "Least confidence of a detection that goes on with a track in the second round of bytetrack, 0 to 1; high-threshold at most.",
        mutable_playing
    )]
    #[property(
        name = "max-tracks", get, set, type = u32, member = max_tracks,
        minimum = 1, maximum = MOST_TRACKS, default = DEFAULT_MAX_TRACKS,
        blurb = "Most tracks at a time, lost ones included. Beyond it the oldest lost, coasted or tentative one makes room, else new ones are rejected.",
        mutable_playing
    )]
    #[property(
        name = "appearance-weight", get, set, type = f64, member = appearance_weight,
        minimum = 0.0, maximum = 1.0, default = DEFAULT_APPEARANCE_WEIGHT,
        blurb = "What likeness counts for against overlap, 0 to 1, with bytetrack and regions that have an embedding. 0 is nothing.",
        mutable_playing
    )]
    #[property(
        name = "class-aware", get, set, type = bool, member = class_aware, default = true,
        blurb = "Whether a track has detections of one class only.",
        mutable_playing
    )]
    settings: Mutex<Settings>,
    #[property(
        name = "stats", get = Self::stats, type = Stats,
        blurb = "Name of the feed, frames, tracks by state, tracks born, ended and evicted, and detections rejected."
    )]
    following: parking_lot::Mutex<Following>,
    health: HealthReporter,
}

#[glib::object_subclass]
impl ObjectSubclass for NvTrack {
    const NAME: &'static str = "GstNvTrack";
    type Type = super::NvTrack;
    type ParentType = gst_base::BaseTransform;

    fn new() -> Self {
        Self {
            settings: Mutex::default(),
            following: parking_lot::Mutex::default(),
            health: HealthReporter::with_tails(),
        }
    }
}

#[glib::derived_properties]
impl ObjectImpl for NvTrack {
    fn constructed(&self) {
        self.parent_constructed();
        // The base class lets frames that say they hold nothing pass by: their regions count nevertheless.
        self.obj().set_gap_aware(true);
    }
}

impl GstObjectImpl for NvTrack {}

impl ElementImpl for NvTrack {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "NextVision tracker",
                "Filter/Analyzer/Video",
                "Gives detections an identity over time",
                elements::AUTHOR,
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            // Whatever memory the pixels are in: nobody looks at them here.
            let video = gst::Structure::new_empty("video/x-raw");
            let caps =
                gst::Caps::builder_full().structure(video.clone()).structure_with_any_features(video).build();
            let always = gst::PadPresence::Always;
            let template = |name, direction| {
                gst::PadTemplate::new(name, direction, always, &caps).expect("valid template")
            };
            vec![template("sink", gst::PadDirection::Sink), template("src", gst::PadDirection::Src)]
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for NvTrack {
    const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        lock(&self.settings)
            .check()
            .map_err(|error| gst::error_msg!(gst::LibraryError::Settings, ("{error}")))?;
        *self.following.lock() = Following::default();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        self.following.lock().reset();
        self.health.flush(&*self.obj());
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let video = incaps.structure(0).ok_or_else(|| gst::loggable_error!(CAT, "empty caps"))?;
        let (Some(width), Some(height)) = (side(video, "width"), side(video, "height")) else {
            return Err(gst::loggable_error!(CAT, "expected caps with width and height, found {incaps}"));
        };
        let rate = video.get::<gst::Fraction>("framerate").ok();
        let duration = rate.filter(|rate| rate.numer() > 0 && rate.denom() > 0).and_then(|rate| {
            let (frames, seconds) = (u32::try_from(rate.numer()).ok()?, u32::try_from(rate.denom()).ok()?);
            Some(Duration::from_secs(u64::from(seconds)) / frames)
        });
        self.following.lock().set_format(Size::new(width, height), duration);
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        self.following.lock().event(&event);
        self.parent_sink_event(event)
    }

    fn transform_ip(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        let params = lock(&self.settings).params().within_ranges();
        let (feed, followed) = {
            let mut following = self.following.lock();
            let followed = catch_unwind(AssertUnwindSafe(|| following.follow(buffer, &params)));
            let feed = following.feed().cloned();
            if followed.is_err() {
                // Half a step was made: nothing of it can be relied on.
                *following = Following::default();
            }
            (feed, followed)
        };
        let element = self.obj();
        let name;
        let feed = match &feed {
            Some(feed) => &**feed,
            None => {
                name = element.name();
                name.as_str()
            }
        };
        match followed {
            Ok(0) => {}
            Ok(rejected) => {
                let event = TrackRejected { max_tracks: params.max_tracks };
                self.health.report(&*element, Some(feed), event, rejected);
            }
            Err(_) => {
                let detail = "the tracker panicked: the frame goes on as it is, all tracks are over";
                let event = StageError { stage: "track".to_owned(), detail: detail.to_owned() };
                self.health.report(&*element, Some(feed), event, 1);
            }
        }
        // The frame goes on, whatever became of its tracks.
        Ok(gst::FlowSuccess::Ok)
    }
}

impl NvTrack {
    fn stats(&self) -> Stats {
        let Summary { feed, counts, alive, states } = self.following.lock().summary();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut stats = gst::Structure::builder("nv-track-stats")
            .field("frames", counts.frames)
            .field("alive", count(alive))
            .field("born", counts.born)
            .field("ended", counts.ended)
            .field("evicted", counts.evicted)
            .field("rejected", counts.rejected)
            .build();
        stats.set_if_some("feed-id", feed.as_deref());
        for (state, number) in states {
            stats.set(state.as_str(), count(number));
        }
        stats.into()
    }
}
