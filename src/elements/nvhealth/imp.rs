//! The element: properties, the signal, pads and state changes.

use super::core::Core;
use super::settings::{DEFAULT_LAG_THRESHOLD, DEFAULT_STALL_TIMEOUT, IdleAction, Settings};
use crate::clock;
use crate::elements::stats::Stats;
use crate::elements::{self, lock, shown};
use crate::health::Redacted;
use glib::subclass::Signal;
use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex};

/// Name of the action signal that returns the counters.
const SNAPSHOT: &str = "snapshot";

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("nvhealth", gst::DebugColorFlags::empty(), Some("NextVision health"))
});

#[derive(glib::Properties)]
#[properties(wrapper_type = super::NvHealth)]
pub struct NvHealth {
    #[property(
        name = "stall-timeout", get, set = Self::set_stall_timeout, type = u64, member = stall_timeout,
        default = DEFAULT_STALL_TIMEOUT,
        blurb = "Time without a frame after which the feed is stalled, while PLAYING, in nanoseconds. 0 is off.",
        mutable_playing
    )]
    #[property(
        name = "idle-timeout", get, set = Self::set_idle_timeout, type = u64, member = idle_timeout, default = 0,
        blurb = "Time without a frame after which idle-action is taken, while PLAYING, in nanoseconds. 0 is off.",
        mutable_playing
    )]
    #[property(
        name = "idle-action", get, set = Self::set_idle_action, type = IdleAction, member = idle_action,
        blurb = "What happens to a feed without a frame for idle-timeout.",
        mutable_playing, builder(IdleAction::default())
    )]
    #[property(
        name = "lag-threshold", get, set = Self::set_lag_threshold, type = u64, member = lag_threshold,
        default = DEFAULT_LAG_THRESHOLD,
        blurb = "Lag on the clock of the pipeline from which frames are late, in nanoseconds; in time again below half of it. 0 is off.",
        mutable_playing
    )]
    #[property(
        name = "fps-min", get, set = Self::set_fps_min, type = f64, member = fps_min,
        minimum = 0.0, maximum = 1_000_000.0, default = 0.0,
        blurb = "Least frames a second. 0 is off.", mutable_playing
    )]
    #[property(
        name = "report-interval", get, set = Self::set_report_interval, type = u64, member = report_interval,
        default = 0,
        blurb = "Time between two messages feed-report, in nanoseconds. 0 is off.", mutable_playing
    )]
    settings: Mutex<Settings>,
    #[property(
        name = "feed-id", get = Self::feed_id, set = Self::set_feed_id, type = Option<String>,
        blurb = "Name of the feed in every message. Default: the one its frames carry in the meta nv-frame, else the name of the element. Credentials in it are replaced by ***.",
        mutable_ready
    )]
    #[property(
        name = "stats", get = Self::stats, type = Stats,
        blurb = "What is known of the feed: session, uptime and lag in nanoseconds, frames passed and missing, and events posted, folded and lost."
    )]
    pub(super) core: Arc<Core>,
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
}

#[glib::object_subclass]
impl ObjectSubclass for NvHealth {
    const NAME: &'static str = "GstNvHealth";
    type Type = super::NvHealth;
    type ParentType = gst::Element;

    fn with_class(klass: &Self::Class) -> Self {
        let error = || Err(gst::FlowError::Error);
        let template = klass.pad_template("sink").expect("the template is declared below");
        let sinkpad = gst::Pad::builder_from_template(&template)
            .chain_function(move |_pad, parent, buffer| {
                Self::catch_panic_pad_function(parent, error, |imp| imp.sink_chain(buffer))
            })
            .chain_list_function(move |_pad, parent, list| {
                Self::catch_panic_pad_function(parent, error, |imp| imp.sink_chain_list(list))
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.sink_event(pad, event))
            })
            .flags(gst::PadFlags::PROXY_CAPS | gst::PadFlags::PROXY_ALLOCATION)
            .build();
        let template = klass.pad_template("src").expect("the template is declared below");
        let srcpad = gst::Pad::builder_from_template(&template)
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_query(pad, query))
            })
            .flags(gst::PadFlags::PROXY_CAPS | gst::PadFlags::PROXY_ALLOCATION)
            .build();
        Self { settings: Mutex::default(), core: Arc::default(), sinkpad, srcpad }
    }
}

#[glib::derived_properties]
impl ObjectImpl for NvHealth {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        self.core.element.set(Some(element.upcast_ref()));
        element.add_pad(&self.sinkpad).expect("a new element has no pad of that name");
        element.add_pad(&self.srcpad).expect("a new element has no pad of that name");
    }

    fn signals() -> &'static [Signal] {
        static SIGNALS: LazyLock<[Signal; 1]> = LazyLock::new(|| {
            [Signal::builder(SNAPSHOT)
                .return_type::<gst::Structure>()
                .run_last()
                .action()
                .class_handler(|args| {
                    let element = args.first()?.get::<super::NvHealth>().ok()?;
                    Some(element.imp().stats().to_value())
                })
                .build()]
        });
        SIGNALS.as_ref()
    }
}

impl GstObjectImpl for NvHealth {}

impl ElementImpl for NvHealth {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "NextVision health",
                "Filter/Analyzer",
                "Watches a feed that passes through it and reports what goes wrong or right again",
                elements::AUTHOR,
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let (always, any) = (gst::PadPresence::Always, gst::Caps::new_any());
            let sink = gst::PadTemplate::new("sink", gst::PadDirection::Sink, always, &any);
            let src = gst::PadTemplate::new("src", gst::PadDirection::Src, always, &any);
            vec![sink.expect("valid template"), src.expect("valid template")]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::ReadyToPaused => self.start()?,
            gst::StateChange::PlayingToPaused => self.core.notes(|feed| feed.watch.pause(clock::now())),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::ReadyToPaused if result.is_err() => self.stop(),
            gst::StateChange::PausedToPlaying if result.is_ok() => {
                self.core.notes(|feed| feed.watch.play(clock::now()));
            }
            // Not before the pads are inactive: a session ends after its last frame.
            gst::StateChange::PausedToReady => self.stop(),
            _ => {}
        }
        result
    }
}

/// Starting and stopping.
impl NvHealth {
    fn start(&self) -> Result<(), gst::StateChangeError> {
        let (name, limits) = (self.obj().name(), lock(&self.settings).limits());
        self.core.notes(|feed| feed.start(&name, limits, clock::now()));
        self.core.start_watching().map_err(|error| {
            gst::element_imp_error!(self, gst::ResourceError::Failed, ["cannot start a thread: {error}"]);
            gst::StateChangeError
        })
    }

    fn stop(&self) {
        self.core.stop_watching();
        let element = self.obj();
        self.core.happens(element.upcast_ref(), |feed| feed.stop(clock::now()));
        self.core.settle(element.upcast_ref());
    }
}

/// The stream.
impl NvHealth {
    fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.passes([buffer.as_ref()].into_iter())?;
        self.passed(self.srcpad.push(buffer))
    }

    fn sink_chain_list(&self, list: gst::BufferList) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.passes(list.iter())?;
        self.passed(self.srcpad.push_list(list))
    }

    fn passes<'a>(&self, frames: impl Iterator<Item = &'a gst::BufferRef>) -> Result<(), gst::FlowError> {
        let element = self.obj();
        let (running_time, now) = (element.current_running_time(), clock::now());
        let mut frames = frames;
        let passes =
            |feed: &mut super::feed::Feed| frames.all(|buffer| feed.frame(buffer, running_time, now));
        if self.core.happens(element.upcast_ref(), passes) { Ok(()) } else { Err(gst::FlowError::Eos) }
    }

    fn passed(
        &self,
        answer: Result<gst::FlowSuccess, gst::FlowError>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.core.happens(self.obj().upcast_ref(), |feed| feed.pushed(answer, clock::now()));
        answer
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{:?}", Redacted(&event));
        let element = self.obj();
        let sent_already = self.core.happens(element.upcast_ref(), |feed| {
            feed.event(&event, clock::now());
            event.type_() == gst::EventType::Eos && feed.watch.is_reaped()
        });
        sent_already || gst::Pad::event_default(pad, Some(&*element), event)
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        if let gst::EventView::Latency(latency) = event.view() {
            self.core.notes(|feed| feed.latency = latency.latency());
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let gst::QueryViewMut::Scheduling(query) = query.view_mut() else {
            return gst::Pad::query_default(pad, Some(&*self.obj()), query);
        };
        let mut upstream = gst::query::Scheduling::new();
        if !self.sinkpad.peer_query(&mut upstream) {
            return false;
        }
        // Whatever upstream can do: nobody may pull past the watch.
        let (flags, least, most, align) = upstream.result();
        query.set(flags, least, most, align);
        query.add_scheduling_modes([gst::PadMode::Push]);
        true
    }

    /// Ends the feed if it is idle still. Runs on a thread of GStreamer's pool, in place of the streaming thread.
    pub(super) fn reap(&self) {
        {
            let _stream = self.sinkpad.stream_lock();
            if self.core.notes(|feed| feed.reap(clock::now())) {
                gst::info!(CAT, imp = self, "Ending the idle feed");
                if self.srcpad.sticky_event::<gst::event::StreamStart>(0).is_none() {
                    self.srcpad.push_event(gst::event::StreamStart::new("nv-idle"));
                }
                self.srcpad.push_event(gst::event::Eos::new());
            }
        }
        self.core.happens(self.obj().upcast_ref(), |_| ());
    }
}

/// Properties.
impl NvHealth {
    fn change(&self, change: impl FnOnce(&mut Settings)) {
        let limits = {
            let mut settings = lock(&self.settings);
            change(&mut settings);
            settings.limits()
        };
        self.core.notes(|feed| feed.watch.set_limits(limits));
    }

    fn set_stall_timeout(&self, value: u64) {
        self.change(|settings| settings.stall_timeout = value);
    }

    fn set_idle_timeout(&self, value: u64) {
        self.change(|settings| settings.idle_timeout = value);
    }

    fn set_idle_action(&self, value: IdleAction) {
        self.change(|settings| settings.idle_action = value);
    }

    fn set_lag_threshold(&self, value: u64) {
        self.change(|settings| settings.lag_threshold = value);
    }

    fn set_fps_min(&self, value: f64) {
        self.change(|settings| settings.fps_min = value);
    }

    fn set_report_interval(&self, value: u64) {
        self.change(|settings| settings.report_interval = value);
    }

    fn feed_id(&self) -> Option<String> {
        let name = self.core.look(|feed| feed.name().map(ToString::to_string));
        shown(Some(&name.unwrap_or_else(|| self.obj().name().into())))
    }

    fn set_feed_id(&self, feed_id: Option<String>) {
        self.core.notes(|feed| feed.set_given_name(shown(feed_id.as_deref())));
    }

    fn stats(&self) -> Stats {
        let feed = self.obj().known();
        let (occurred, lost, latency) = self.core.look(|feed| (feed.occurred, feed.lost, feed.latency));
        let posted = self.core.health.posted();
        gst::Structure::builder("nv-health-stats")
            .field("feed-id", self.feed_id())
            .field("alive", feed.alive)
            .field("paused", feed.paused)
            .field("session", feed.session)
            .field("uptime", feed.uptime)
            .field("frames", feed.frames)
            .field("drops", feed.missing)
            .field("lag-now", feed.lag_now)
            .field("lag-peak", feed.lag_peak)
            .field("latency", latency.nseconds())
            .field("events-posted", posted)
            .field("events-coalesced", occurred.saturating_sub(lost).saturating_sub(posted))
            .field("events-lost", lost)
            .build()
            .into()
    }
}
