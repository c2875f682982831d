//! The element: properties, signals and state changes.

use super::control::{News, Request};
use super::core::Core;
use super::feed::Newcomer;
use super::refusal::Refusal;
use super::settings::{DEFAULT_DRAIN_TIMEOUT, DEFAULT_MAX_FEEDS, FeedExit};
use super::{structure, survey};
use crate::elements::stats::Stats;
use crate::elements::watcher::Watching;
use crate::elements::{self, shown};
use crate::http::Server;
use crate::metrics::{Phase, Snapshot};
use crossbeam_channel::Receiver;
use glib::subclass::Signal;
use gst::prelude::*;
use gst::subclass::prelude::*;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("nvruntime", gst::DebugColorFlags::empty(), Some("NextVision runtime"))
});

pub(super) const FEED_ADDED: &str = "feed-added";
pub(super) const FEED_REMOVED: &str = "feed-removed";
pub(super) const NEW_OUTPUT: &str = "new-output";

/// How long a request may take besides what it waits for.
const GRACE: Duration = Duration::from_secs(10);
/// How long the control thread may take to say that it is there.
const PING: Duration = Duration::from_secs(1);

#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::NvRuntime)]
pub struct NvRuntime {
    #[property(
        name = "config", get = Self::config, set = Self::set_config, type = Option<String>,
        blurb = "Path of the site file: models, groups, feeds and outputs. Without one the element does not leave NULL.",
        mutable_ready
    )]
    #[property(
        name = "max-feeds", get = Self::max_feeds, set = Self::set_max_feeds, type = u32,
        minimum = 1, maximum = 4096, default = DEFAULT_MAX_FEEDS,
        blurb = "Most feeds that are alive at a time. Unless set, the site file's comes before the default.",
        mutable_playing
    )]
    #[property(
        name = "on-feed-exit", get = Self::on_feed_exit, set = Self::set_on_feed_exit, type = FeedExit,
        blurb = "What happens to the others when a feed ends or fails. Unless set, the site file's comes before the default.",
        mutable_playing, builder(FeedExit::default())
    )]
    #[property(
        name = "drain-timeout", get = Self::drain_timeout, set = Self::set_drain_timeout, type = u64,
        default = DEFAULT_DRAIN_TIMEOUT,
        blurb = "How long feeds that are to end may take to deliver what is on its way, in nanoseconds; 0 does not wait. Unless set, the site file's comes before the default.",
        mutable_playing
    )]
    #[property(
        name = "idle-timeout", get = Self::idle_timeout, set = Self::set_idle_timeout, type = u64,
        blurb = "How long a feed may be without a frame before it is ended, in nanoseconds; 0 is for ever. For feeds that come after it is set. Unless set, the site file's comes before the default.",
        mutable_playing
    )]
    #[property(
        name = "metrics-address", get = Self::metrics_address, set = Self::set_metrics_address, type = Option<String>,
        blurb = "Address and port of the page, /metrics, /status.json and /health, such as 127.0.0.1:9464; empty is none. Unless set, the site file's. Whoever reaches it can see everything and change nothing.",
        mutable_ready
    )]
    #[property(
        name = "last-error", get = Self::last_error, type = Option<String>,
        blurb = "Why the last action that was refused was: its kind, a colon and a text."
    )]
    #[property(
        name = "stats", get = Self::stats, type = Stats,
        blurb = "Everything that is known, as the action diagnostics returns it."
    )]
    pub(super) core: Arc<Core>,
    pub(super) watching: Mutex<Option<Watching>>,
    pub(super) server: Mutex<Option<(SocketAddr, Server)>>,
    /// Is closed when the control thread ends.
    pub(super) control_ends: Mutex<Option<Receiver<()>>>,
}

#[glib::object_subclass]
impl ObjectSubclass for NvRuntime {
    const NAME: &'static str = "GstNvRuntime";
    type Type = super::NvRuntime;
    type ParentType = gst::Bin;
}

#[glib::derived_properties]
impl ObjectImpl for NvRuntime {
    fn constructed(&self) {
        self.parent_constructed();
        // Also without a feed: it is where streams begin and where they end.
        self.obj().set_suppressed_flags(gst::ElementFlags::SOURCE | gst::ElementFlags::SINK);
        self.obj().set_element_flags(gst::ElementFlags::SOURCE | gst::ElementFlags::SINK);
    }

    fn signals() -> &'static [Signal] {
        static SIGNALS: LazyLock<Vec<Signal>> = LazyLock::new(signals);
        &SIGNALS
    }

    fn dispose(&self) {
        // An application may drop the element as it is.
        if self.obj().current_state() != gst::State::Null {
            self.obj().set_state(gst::State::Null).ok();
        }
    }
}

impl GstObjectImpl for NvRuntime {}

impl ElementImpl for NvRuntime {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "NextVision runtime",
                "Generic/Bin/Video/Analytics",
                "Many feeds, their models and their outputs from one site file",
                elements::AUTHOR,
            )
        });
        Some(&METADATA)
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady {
            return self.start();
        }
        match transition {
            gst::StateChange::ReadyToPaused => self.begin_streams(),
            gst::StateChange::PausedToReady => {
                if !self.is_winding() {
                    self.enter(Phase::Starting);
                }
                self.bound_the_stop();
            }
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::PausedToPlaying if result.is_ok() && !self.is_winding() => {
                self.enter(Phase::Running);
            }
            gst::StateChange::PlayingToPaused if !self.is_winding() => self.enter(Phase::Starting),
            gst::StateChange::ReadyToNull => self.close(),
            _ => {}
        }
        result
    }

    fn send_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Eos {
            // As `gst-launch-1.0 -e` wants it.
            self.core.tell(News::WindDown);
            return true;
        }
        self.parent_send_event(event)
    }
}

impl BinImpl for NvRuntime {
    fn handle_message(&self, message: gst::Message) {
        if self.hear(&message) {
            self.parent_handle_message(message);
        }
    }
}

fn signals() -> Vec<Signal> {
    let id = [u32::static_type()];
    vec![
        Signal::builder(FEED_ADDED).param_types(id).run_last().build(),
        Signal::builder(FEED_REMOVED).param_types(id).run_last().build(),
        Signal::builder(NEW_OUTPUT)
            .param_types([u32::static_type(), gst::Sample::static_type(), gst::Structure::static_type()])
            .run_last()
            .build(),
        Signal::builder("add-feed")
            .param_types([gst::Structure::static_type()])
            .return_type::<i64>()
            .run_last()
            .action()
            .class_handler(|args| {
                let element = args.first()?.get::<super::NvRuntime>().ok()?;
                let feed = args.get(1)?.get::<gst::Structure>().ok()?;
                let imp = element.imp();
                let id = imp.told(imp.add_feed(&feed)).map_or(-1, i64::from);
                Some(id.to_value())
            })
            .build(),
        action_on_feed("remove-feed", NvRuntime::remove_feed),
        action_on_feed("pause-feed", |imp, id| imp.ask(Request::Pause(id))),
        action_on_feed("resume-feed", |imp, id| imp.ask(Request::Resume(id))),
        action_on_feed("restart-feed", |imp, id| imp.ask(Request::Restart(id))),
        action("reload", |imp| imp.ask(Request::Reload)),
        action("shutdown", |imp| imp.ask(Request::Shutdown)),
        action("ping", |imp| imp.core.ask(Request::Ping, PING)),
        Signal::builder("diagnostics")
            .return_type::<gst::Structure>()
            .run_last()
            .action()
            .class_handler(|args| {
                let element = args.first()?.get::<super::NvRuntime>().ok()?;
                Some(structure::value(&element.imp().snapshot()).into())
            })
            .build(),
    ]
}

type Act = fn(&NvRuntime) -> Result<u32, Refusal>;
type ActOnFeed = fn(&NvRuntime, u32) -> Result<u32, Refusal>;

/// An action that tells whether it was done.
fn action(name: &str, act: Act) -> Signal {
    Signal::builder(name)
        .return_type::<bool>()
        .run_last()
        .action()
        .class_handler(move |args| {
            let element = args.first()?.get::<super::NvRuntime>().ok()?;
            let imp = element.imp();
            Some(imp.told(act(imp)).is_some().to_value())
        })
        .build()
}

/// The same, with the number of a feed.
fn action_on_feed(name: &str, act: ActOnFeed) -> Signal {
    Signal::builder(name)
        .param_types([u32::static_type()])
        .return_type::<bool>()
        .run_last()
        .action()
        .class_handler(move |args| {
            let element = args.first()?.get::<super::NvRuntime>().ok()?;
            let id = args.get(1)?.get::<u32>().ok()?;
            let imp = element.imp();
            Some(imp.told(act(imp, id)).is_some().to_value())
        })
        .build()
}

/// What is asked for.
impl NvRuntime {
    fn start(&self) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        // It may listen already.
        let control = self.open().inspect_err(|_| self.close())?;
        match self.parent_change_state(gst::StateChange::NullToReady) {
            Ok(done) => self.begin(control).map(|()| done).inspect_err(|_| {
                self.parent_change_state(gst::StateChange::ReadyToNull).ok();
                self.close();
            }),
            Err(error) => {
                control.dismantle();
                self.close();
                Err(error)
            }
        }
    }

    pub(super) fn ask(&self, request: Request) -> Result<u32, Refusal> {
        let drain = self.core.settings.lock().drain_timeout();
        self.core.ask(request, drain.saturating_add(GRACE))
    }

    pub(super) fn remove_feed(&self, id: u32) -> Result<u32, Refusal> {
        self.ask(Request::Remove(id))
    }

    pub(super) fn add_feed(&self, feed: &gst::StructureRef) -> Result<u32, Refusal> {
        let (text, password) = super::describe::toml(feed)?;
        let site = self.core.site().ok_or(Refusal::NotRunning)?;
        let config = site.feed_from_toml(&text).map_err(|problems| {
            // The lines are those of a text that nobody has written.
            let problems: Vec<_> =
                problems.iter().map(|problem| format!("{}: {}", problem.key, problem.text)).collect();
            Refusal::InvalidConfiguration { text: problems.join("\n") }
        })?;
        self.ask(Request::Add(Box::new(Newcomer { config, password, is_of_site: false })))
    }

    /// Keeps why something was refused.
    fn told(&self, answer: Result<u32, Refusal>) -> Option<u32> {
        answer
            .inspect_err(|refusal| {
                gst::warning!(CAT, imp = self, "{refusal}");
                *self.core.last_error.lock() = shown(Some(&refusal.to_string()));
            })
            .ok()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        survey::survey(&self.core, &self.obj().name())
    }
}

/// Properties.
impl NvRuntime {
    fn config(&self) -> Option<String> {
        shown(self.core.settings.lock().config.as_deref())
    }

    fn set_config(&self, config: Option<String>) {
        self.core.settings.lock().config = config;
    }

    fn max_feeds(&self) -> u32 {
        self.core.settings.lock().max_feeds()
    }

    fn set_max_feeds(&self, max_feeds: u32) {
        self.core.settings.lock().max_feeds = Some(max_feeds);
    }

    fn on_feed_exit(&self) -> FeedExit {
        self.core.settings.lock().on_feed_exit()
    }

    fn set_on_feed_exit(&self, exit: FeedExit) {
        self.core.settings.lock().on_feed_exit = Some(exit);
    }

    fn drain_timeout(&self) -> u64 {
        self.core.settings.lock().drain_nanos()
    }

    fn set_drain_timeout(&self, timeout: u64) {
        self.core.settings.lock().drain_timeout = Some(timeout);
    }

    fn idle_timeout(&self) -> u64 {
        self.core.settings.lock().idle_nanos()
    }

    fn set_idle_timeout(&self, timeout: u64) {
        self.core.settings.lock().idle_timeout = Some(timeout);
    }

    fn metrics_address(&self) -> Option<String> {
        self.core.settings.lock().shown_metrics_address()
    }

    fn set_metrics_address(&self, address: Option<String>) {
        self.core.settings.lock().metrics_address = address;
    }

    fn last_error(&self) -> Option<String> {
        self.core.last_error.lock().clone()
    }

    fn stats(&self) -> Stats {
        structure::structure(&self.snapshot()).into()
    }
}
