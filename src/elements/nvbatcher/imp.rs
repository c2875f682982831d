//! The element: properties, pads, states, and the thread that pushes batches.

use super::core::{Core, Next};
use super::queries::Latency;
use super::{DEFAULT_MAX_BATCH_SIZE, DEFAULT_MAX_LATENCY, LONGEST_LATENCY, NvBatcherSinkPad};
use crate::batch::{FeedId, Policy};
use crate::elements::message::HealthReporter;
use crate::elements::signal::Seen;
use crate::elements::stats::{self, Stats};
use crate::elements::thread::{JOIN_TIMEOUT, Step, StepThread};
use crate::elements::{link, lock, video};
use crate::health::Redacted;
use crate::meta::batch as meta;
use crate::{clock, elements};
use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

const DEFAULT_MAX_FRAMES_PER_FEED: u32 = 1;
const DEFAULT_MAX_FEEDS: u32 = 64;
pub(in crate::elements) const MOST_FEEDS: u32 = 4096;

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("nvbatcher", gst::DebugColorFlags::empty(), Some("NextVision batcher"))
});

#[derive(Debug, Clone)]
pub(super) struct Settings {
    max_batch_size: u32,
    pub(super) max_latency: u64,
    max_frames_per_feed: u32,
    pub(super) max_feeds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_batch_size: DEFAULT_MAX_BATCH_SIZE,
            max_latency: DEFAULT_MAX_LATENCY,
            max_frames_per_feed: DEFAULT_MAX_FRAMES_PER_FEED,
            max_feeds: DEFAULT_MAX_FEEDS,
        }
    }
}

/// Locks in the order they may be taken: `settings`, `thread`, then the one inside `core`.
#[derive(glib::Properties)]
#[properties(wrapper_type = super::NvBatcher)]
pub struct NvBatcher {
    #[property(
        name = "max-batch-size", get, set, type = u32, member = max_batch_size,
        minimum = 1, maximum = 1024, default = DEFAULT_MAX_BATCH_SIZE,
        blurb = "Most frames to infer in one batch, in frames.",
        mutable_ready
    )]
    #[property(
        name = "max-latency", get, set = Self::set_max_latency, type = u64, member = max_latency,
        minimum = 0, maximum = LONGEST_LATENCY, default = DEFAULT_MAX_LATENCY,
        blurb = "Longest time a frame waits for its batch to fill, from its arrival on the monotonic clock, in nanoseconds. 0 never waits.",
        mutable_playing
    )]
    #[property(
        name = "max-frames-per-feed", get, set, type = u32, member = max_frames_per_feed,
        minimum = 1, maximum = 1024, default = DEFAULT_MAX_FRAMES_PER_FEED,
        blurb = "Most frames of one feed to infer in one batch, in frames. Raise it to batch a single file; not more than max-batch-size.",
        mutable_ready
    )]
    #[property(
        name = "max-feeds", get, set, type = u32, member = max_feeds,
        minimum = 1, maximum = MOST_FEEDS, default = DEFAULT_MAX_FEEDS,
        blurb = "Most feeds, in pads; a request for one more is refused with an error.",
        mutable_ready
    )]
    #[property(
        name = "stats", get = Self::stats, type = Stats,
        blurb = "Counters since the element was made: batches and why they closed, their sizes, the wait for a batch in nanoseconds, and the ledger of all frames."
    )]
    pub(super) settings: Mutex<Settings>,
    thread: Mutex<Option<StepThread>>,
    opened: Mutex<bool>,
    /// What the pipeline was told last.
    pub(super) answered_latency: Mutex<Option<Latency>>,
    pub(super) health: HealthReporter,
    pub(super) core: Arc<Core>,
    /// What the streams of this batcher have in common, and no other has.
    name: link::BatcherName,
    pub(super) srcpad: gst::Pad,
}

#[glib::object_subclass]
impl ObjectSubclass for NvBatcher {
    const NAME: &'static str = "GstNvBatcher";
    type Type = super::NvBatcher;
    type ParentType = gst::Element;
    type Interfaces = (gst::ChildProxy,);

    fn with_class(klass: &Self::Class) -> Self {
        let template = klass.pad_template("src").expect("the template is declared below");
        let srcpad = gst::Pad::builder_from_template(&template)
            .activatemode_function(|pad, parent, _mode, active| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::loggable_error!(CAT, "Panic while activating the src pad")),
                    |imp| imp.src_activate(pad, active),
                )
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_query(pad, query))
            })
            .flags(gst::PadFlags::FIXED_CAPS)
            .build();
        Self {
            settings: Mutex::default(),
            thread: Mutex::default(),
            opened: Mutex::default(),
            answered_latency: Mutex::default(),
            health: HealthReporter::with_tails(),
            core: Arc::default(),
            name: link::BatcherName::default(),
            srcpad,
        }
    }
}

#[glib::derived_properties]
impl ObjectImpl for NvBatcher {
    fn constructed(&self) {
        self.parent_constructed();
        self.obj().add_pad(&self.srcpad).expect("a new element has no pad of that name");
    }
}

impl GstObjectImpl for NvBatcher {}

impl ChildProxyImpl for NvBatcher {
    fn children_count(&self) -> u32 {
        self.obj().num_sink_pads().into()
    }

    fn child_by_index(&self, index: u32) -> Option<glib::Object> {
        let pads = self.obj().sink_pads();
        pads.into_iter().nth(index as usize).map(Cast::upcast)
    }

    fn child_by_name(&self, name: &str) -> Option<glib::Object> {
        self.obj().static_pad(name).filter(|pad| pad.direction() == gst::PadDirection::Sink).map(Cast::upcast)
    }
}

impl ElementImpl for NvBatcher {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "NextVision batcher",
                "Filter/Video/Muxer",
                "Collects the frames of many feeds into bounded, deadline-driven batches",
                elements::AUTHOR,
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let sink = gst::PadTemplate::with_gtype(
                "sink_%u",
                gst::PadDirection::Sink,
                gst::PadPresence::Request,
                &video::caps(),
                NvBatcherSinkPad::static_type(),
            );
            let src = gst::PadTemplate::new(
                "src",
                gst::PadDirection::Src,
                gst::PadPresence::Always,
                &gst::Caps::new_empty_simple(meta::CAPS_NAME),
            );
            vec![sink.expect("valid template"), src.expect("valid template")]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            // The second, for what was set in READY.
            gst::StateChange::NullToReady | gst::StateChange::ReadyToPaused => self.apply_settings()?,
            gst::StateChange::PausedToReady => self.core.stop(),
            _ => {}
        }
        let done = self.parent_change_state(transition);
        if transition == gst::StateChange::PausedToReady {
            *lock(&self.answered_latency) = None;
            self.health.flush(&*self.obj());
        }
        done
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        match self.add_feed(template, name) {
            Ok(pad) => Some(pad),
            Err(refusal) => {
                // No error: the feeds there are go on.
                gst::element_imp_warning!(self, gst::CoreError::Pad, ["{}", Redacted(refusal)]);
                None
            }
        }
    }

    fn release_pad(&self, pad: &gst::Pad) {
        self.remove_feed(pad);
    }
}

impl NvBatcher {
    fn set_max_latency(&self, nanos: u64) {
        lock(&self.settings).max_latency = nanos;
        // What does not fit together is refused, with an error, when the element starts.
        self.core.set_policy(self.policy()).ok();
        self.announce_latency();
    }

    fn policy(&self) -> Policy {
        let settings = lock(&self.settings).clone();
        Policy {
            max_batch_size: settings.max_batch_size as usize,
            max_latency: Duration::from_nanos(settings.max_latency),
            max_frames_per_feed: settings.max_frames_per_feed as usize,
            // The element counts its pads itself, also before it has a policy.
            max_feeds: MOST_FEEDS as usize,
            ..Policy::default()
        }
    }

    fn apply_settings(&self) -> Result<(), gst::StateChangeError> {
        self.core.set_policy(self.policy()).map_err(|error| {
            gst::element_imp_error!(self, gst::ResourceError::Settings, ["{error}"]);
            gst::StateChangeError
        })
    }

    fn src_activate(&self, pad: &gst::Pad, active: bool) -> Result<(), gst::LoggableError> {
        if !active {
            self.core.stop();
            let thread = lock(&self.thread).take();
            if thread.is_some_and(|thread| !thread.stop(JOIN_TIMEOUT)) {
                gst::warning!(CAT, imp = self, "The thread is blocked downstream; letting go of it");
            }
            return Ok(());
        }
        self.core.start();
        *lock(&self.opened) = false;
        let (element, srcpad, core) = (self.obj().downgrade(), pad.clone(), Arc::clone(&self.core));
        let name = format!("nv-batch-{}", self.obj().name());
        let mut freed = Vec::new();
        let thread = StepThread::spawn(&name, move || {
            let seen = core.work.seen();
            let next = core.next(clock::now(), &mut freed);
            if let Next::Wait(deadline) = next {
                #[cfg(feature = "testing")]
                if crate::testing::sabotage() == Some(crate::testing::Sabotage::Spin) {
                    return Step::Again;
                }
                core.work.wait(seen, deadline);
                return Step::Again;
            }
            let Some(element) = element.upgrade() else { return Step::Stop };
            let _streaming = srcpad.stream_lock();
            element.imp().catch_panic(|| Step::Stop, |imp| imp.step(next, seen))
        })
        .map_err(|error| gst::loggable_error!(CAT, "No thread for {name}: {error}"))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// One step of the src thread.
    fn step(&self, next: Next, seen: Seen) -> Step {
        let links = self.core.links();
        let result = match next {
            Next::Stop => return Step::Stop,
            Next::Wait(_) => return Step::Again,
            Next::Ended if self.core.finish(&link::expected_feeds(&self.srcpad)) => self.send_eos(),
            Next::Ended => {
                self.core.work.wait(seen, None);
                return Step::Again;
            }
            Next::Send(batch) => self.send(batch),
        };
        if let Err(error) = result {
            // The pads refuse frames from here on. What is queued still goes: events, EOS above all, must arrive.
            gst::debug!(CAT, imp = self, "Downstream answered {error}");
            self.core.fail(links, error);
        }
        Step::Again
    }

    fn send(&self, batch: meta::Batch) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.open_stream();
        gst::log!(CAT, imp = self, "{:?} with {} items", batch.label, batch.items.len());
        let oldest = batch.items.iter().filter_map(running_time).min();
        let mut buffer = gst::Buffer::new();
        let writable = buffer.get_mut().expect("a new buffer has one owner");
        writable.set_pts(oldest);
        meta::attach(writable, batch);
        let began = clock::now();
        let flow = self.srcpad.push(buffer);
        let now = clock::now();
        self.core.sent(now.since(began), now);
        flow
    }

    fn send_eos(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.open_stream();
        *lock(&self.opened) = false;
        self.srcpad.push_event(gst::event::Eos::new());
        Ok(gst::FlowSuccess::Ok)
    }

    /// Sends what a stream begins with, once per stream.
    fn open_stream(&self) {
        if std::mem::replace(&mut *lock(&self.opened), true) {
            return;
        }
        // A stream of many streams: there is no one upstream id to derive its own from.
        let id = self.name.stream_id();
        self.srcpad.push_event(gst::event::StreamStart::builder(&id).group_id(gst::GroupId::next()).build());
        let most = i32::try_from(lock(&self.settings).max_batch_size).unwrap_or(i32::MAX);
        let caps = gst::Caps::builder(meta::CAPS_NAME).field(meta::CAPS_MAX_BATCH_SIZE, most).build();
        self.srcpad.push_event(gst::event::Caps::new(&caps));
        self.srcpad.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    }

    fn stats(&self) -> Stats {
        stats::batcher(&self.core.snapshot(), lock(&self.settings).max_batch_size).into()
    }

    pub(super) fn feed_stats(&self, id: FeedId) -> Option<gst::Structure> {
        self.core.feed_snapshot(id).map(|snapshot| stats::feed(&snapshot))
    }
}

fn running_time(item: &meta::Item) -> Option<gst::ClockTime> {
    let frame = item.frame()?;
    video::running_time(&frame.segment, frame.buffer.pts())
}
