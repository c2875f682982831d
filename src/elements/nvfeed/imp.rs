//! The element: properties, signals, the pad and state changes.

use super::core::{Core, Note};
use super::settings::*;
use super::source::Endings;
use crate::elements::stats::Stats;
use crate::elements::thread::StepThread;
use crate::elements::{self, lock, shown};
use glib::subclass::Signal;
use gst::prelude::*;
use gst::subclass::prelude::*;
use parking_lot::Mutex as ShortMutex;
use std::sync::{Arc, LazyLock, Mutex};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("nvfeed", gst::DebugColorFlags::empty(), Some("NextVision feed"))
});

/// What runs while the element is PAUSED or PLAYING.
pub(super) struct Running {
    pub(super) thread: StepThread,
    pub(super) is_live: bool,
}

#[derive(glib::Properties)]
#[properties(wrapper_type = super::NvFeed)]
pub struct NvFeed {
    #[property(
        name = "uri", get = Self::uri, set = Self::set_uri, type = Option<String>,
        blurb = "What to connect to, such as rtsp://camera/stream, file:///videos/a.mp4 or v4l2:///dev/video0. User and password are taken out of it, and are never shown.",
        mutable_ready
    )]
    #[property(
        name = "allowed-schemes", get, set, type = Option<String>, member = allowed_schemes,
        blurb = "Schemes that uri and redirects may have, separated by commas; any that GStreamer has a handler for. Default: rtsp,rtsps,http,https,file,v4l2.",
        mutable_ready
    )]
    #[property(
        name = "feed-id", get = Self::feed_id, set = Self::set_feed_id, type = Option<String>,
        blurb = "Name of the feed in every message; nvbatcher takes it over for metas and records. Default: the name of the element. Credentials in it are replaced by ***.",
        mutable_ready
    )]
    #[property(
        name = "latency", get, set, type = u64, member = latency, default = DEFAULT_LATENCY,
        blurb = "How long RTP packets wait for those that are late, in nanoseconds; rounded down to milliseconds.",
        mutable_ready
    )]
    #[property(
        name = "transport", get, set, type = Transport, member = transport,
        blurb = "How RTP comes from an RTSP server.", mutable_ready, builder(Transport::default())
    )]
    #[property(
        name = "tcp-timeout", get, set, type = u64, member = tcp_timeout, default = DEFAULT_TIMEOUT,
        blurb = "How long a connection may take to be made or to answer, in nanoseconds. 0 is as long as the system waits.",
        mutable_ready
    )]
    #[property(
        name = "liveness-timeout", get, set, type = u64, member = liveness_timeout, default = DEFAULT_TIMEOUT,
        blurb = "How long the first frame of a source may take before it is replaced, in nanoseconds. 0 is for ever.",
        mutable_playing
    )]
    #[property(
        name = "stall-timeout", get, set, type = u64, member = stall_timeout, default = DEFAULT_TIMEOUT,
        blurb = "How long any further frame may take before the source is replaced, in nanoseconds. 0 is for ever.",
        mutable_playing
    )]
    #[property(
        name = "reconnect-base-delay", get, set, type = u64, member = reconnect_base_delay, default = DEFAULT_BASE_DELAY,
        blurb = "Delay before the first attempt after a source was lost, in nanoseconds; at least 100 ms.", mutable_playing
    )]
    #[property(
        name = "reconnect-max-delay", get, set, type = u64, member = reconnect_max_delay, default = DEFAULT_MAX_DELAY,
        blurb = "Longest delay before an attempt, and the delay after a refused password, in nanoseconds.", mutable_playing
    )]
    #[property(
        name = "reconnect-backoff", get, set, type = ReconnectBackoff, member = reconnect_backoff,
        blurb = "How the delay grows from attempt to attempt; it falls back after a session of 10 s.",
        mutable_playing, builder(ReconnectBackoff::default())
    )]
    #[property(
        name = "reconnect-jitter", get, set, type = f64, member = reconnect_jitter,
        minimum = 0.0, maximum = 1.0, default = DEFAULT_JITTER,
        blurb = "Share, 0 to 1, by which a delay is shortened at random, so that sources lost together do not come back together. 0 is none.",
        mutable_playing
    )]
    #[property(
        name = "reconnect-max-attempts", get, set, type = u32, member = reconnect_max_attempts,
        blurb = "Attempts without a stable session between them after which the feed stops. 0 is any number.", mutable_playing
    )]
    #[property(
        name = "restart-window", get, set, type = u64, member = restart_window, default = DEFAULT_RESTART_WINDOW,
        blurb = "How far back restarts count for max-restarts, in nanoseconds.", mutable_playing
    )]
    #[property(
        name = "max-restarts", get, set, type = u32, member = max_restarts, default = DEFAULT_MAX_RESTARTS,
        blurb = "Restarts for data that cannot be decoded, within restart-window, after which the feed stops. 0 is none.",
        mutable_playing
    )]
    #[property(
        name = "on-end", get, set, type = EndPolicy, member = on_end,
        blurb = "What becomes of the stream when the source has given all it had. Live sources are reconnected instead; for a feed that stops for good, restart is eos.",
        mutable_playing, builder(EndPolicy::default())
    )]
    #[property(
        name = "decode-preference", get, set, type = DecodePreference, member = decode_preference,
        blurb = "Which decoders may be used.", mutable_ready, builder(DecodePreference::default())
    )]
    #[property(
        name = "tls-policy", get, set, type = EncryptionPolicy, member = tls_policy,
        blurb = "What may travel unencrypted.", mutable_ready, builder(EncryptionPolicy::default())
    )]
    #[property(
        name = "tls-database", get = Self::tls_database, set, type = Option<String>, member = tls_database,
        blurb = "File of PEM certificates whose signatures are trusted. Default: those of the system.", mutable_ready
    )]
    #[property(
        name = "tls-validation-flags", get, set, type = gio::TlsCertificateFlags, member = tls_validation_flags,
        blurb = "What is checked of the certificate of a server; http knows all and none only.",
        mutable_ready, default = gio::TlsCertificateFlags::VALIDATE_ALL
    )]
    #[property(
        name = "user-id", set, type = Option<String>, member = user_id,
        blurb = "User to authenticate as; goes before one in uri. Cannot be read.", mutable_ready
    )]
    #[property(
        name = "user-pw", set = Self::set_user_pw, type = Option<String>,
        blurb = "Password to authenticate with; goes before one in uri. Cannot be read.", mutable_ready
    )]
    #[property(
        name = "custom-pipeline", get = Self::custom_pipeline, set = Self::set_custom_pipeline, type = Option<String>,
        blurb = "Elements to take the frames from in place of uri, as gst-launch-1.0 reads them, with one src pad that is not linked. Reading it shows *** for all of it.",
        mutable_ready
    )]
    #[property(
        name = "allow-custom-pipeline", get, set, type = bool, member = allow_custom_pipeline, default = false,
        blurb = "Whether custom-pipeline may be used: it makes whatever elements it names.", mutable_ready
    )]
    #[property(
        name = "max-width", get, set, type = u32, member = max_width, default = DEFAULT_MAX_SIDE,
        blurb = "Widest picture that is taken, in pixels; a wider one stops the feed before it is allocated. 0 is any.",
        mutable_ready
    )]
    #[property(
        name = "max-height", get, set, type = u32, member = max_height, default = DEFAULT_MAX_SIDE,
        blurb = "Highest picture that is taken, in pixels; a higher one stops the feed before it is allocated. 0 is any.",
        mutable_ready
    )]
    #[property(
        name = "max-fps", get, set, type = u32, member = max_fps,
        blurb = "Highest frame rate in the caps that is taken, in frames a second; a higher one stops the feed. 0 is any.",
        mutable_ready
    )]
    #[property(
        name = "pause", get, set = Self::set_pause, type = bool, member = pause, default = false,
        blurb = "Whether no frames are wanted for now: a live source is let go of, another one is held.", mutable_playing
    )]
    pub(super) settings: Mutex<Settings>,
    #[property(
        name = "status", get = Self::status, type = Status,
        blurb = "Where the feed stands. Notified from a thread of the feed.", builder(Status::default())
    )]
    #[property(
        name = "stats", get = Self::stats, type = Stats,
        blurb = "What is known of the feed: state, session, attempts, outages, restarts, loops, frames by what became of them, the last failure and the decoder."
    )]
    pub(super) core: Arc<Core>,
    pub(super) endings: Arc<Endings>,
    pub(super) running: ShortMutex<Option<Running>>,
    /// When the change to READY began to let go of the source.
    pub(super) stopped_at: ShortMutex<Option<crate::time::Monotonic>>,
    /// The end of the source whose frames pass: for queries and events from downstream.
    pub(super) inlet: ShortMutex<Option<gst::Pad>>,
    pub(super) srcpad: gst::Pad,
}

#[glib::object_subclass]
impl ObjectSubclass for NvFeed {
    const NAME: &'static str = "GstNvFeed";
    type Type = super::NvFeed;
    type ParentType = gst::Bin;

    fn with_class(klass: &Self::Class) -> Self {
        let template = klass.pad_template("src").expect("the template is declared below");
        let srcpad = gst::Pad::builder_from_template(&template)
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_query(pad, query))
            })
            .build();
        Self {
            settings: Mutex::default(),
            core: Arc::default(),
            endings: Arc::default(),
            running: ShortMutex::default(),
            stopped_at: ShortMutex::default(),
            inlet: ShortMutex::default(),
            srcpad,
        }
    }
}

/// The one property that the derive cannot have: its name is a word of Rust.
const LOOP: &str = "loop";

impl ObjectImpl for NvFeed {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let is_loop = glib::ParamSpecBoolean::builder(LOOP)
                .blurb("Whether a source that is not live begins again at its end, without a gap in time.")
                .flags(glib::ParamFlags::READWRITE | gst::PARAM_FLAG_MUTABLE_PLAYING)
                .build();
            NvFeed::derived_properties().iter().cloned().chain([is_loop]).collect()
        });
        &PROPERTIES
    }

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if pspec.name() == LOOP {
            lock(&self.settings).is_loop = value.get().unwrap_or_default();
        } else {
            self.derived_set_property(id, value, pspec);
        }
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == LOOP {
            lock(&self.settings).is_loop.to_value()
        } else {
            self.derived_property(id, pspec)
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        self.core.element.set(Some(&*element));
        element.set_element_flags(gst::ElementFlags::SOURCE);
        element.add_pad(&self.srcpad).expect("a new element has no pad of that name");
    }

    fn signals() -> &'static [Signal] {
        static SIGNALS: LazyLock<[Signal; 2]> = LazyLock::new(|| {
            let action = |name: &str, run: fn(&NvFeed)| {
                Signal::builder(name)
                    .run_last()
                    .action()
                    .class_handler(move |args| {
                        let element = args.first()?.get::<super::NvFeed>().ok()?;
                        run(element.imp());
                        None
                    })
                    .build()
            };
            [action("restart", NvFeed::ask_restart), action("stop", NvFeed::ask_stop)]
        });
        SIGNALS.as_ref()
    }
}

impl GstObjectImpl for NvFeed {}

impl ElementImpl for NvFeed {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "NextVision feed",
                "Source/Video/Network",
                "Decoded video from a camera or a file, reconnected and reported whatever happens to it",
                elements::AUTHOR,
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst::Caps::new_empty_simple("video/x-raw");
            let (direction, presence) = (gst::PadDirection::Src, gst::PadPresence::Always);
            gst::PadTemplate::new("src", direction, presence, &caps).into_iter().collect()
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::NullToReady => drop(self.check()?),
            gst::StateChange::ReadyToPaused => self.start()?,
            gst::StateChange::PlayingToPaused => self.set_playing(false),
            gst::StateChange::PausedToReady => self.begin_stop(),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::ReadyToPaused if result.is_err() => {
                self.begin_stop();
                self.finish_stop();
            }
            // Not before the pad is active: what is sent before is lost, and an EOS with it.
            gst::StateChange::ReadyToPaused => self.ask_for_frames(),
            gst::StateChange::PausedToPlaying if result.is_ok() => self.set_playing(true),
            // Not before the pad is inactive: what waits downstream comes back then.
            gst::StateChange::PausedToReady => self.finish_stop(),
            gst::StateChange::ReadyToNull => self.wait_for_endings(),
            _ => {}
        }
        let starts =
            matches!(transition, gst::StateChange::ReadyToPaused | gst::StateChange::PlayingToPaused);
        match result {
            // A live source gives frames in PLAYING only.
            Ok(gst::StateChangeSuccess::Success) if starts && self.is_live() => {
                Ok(gst::StateChangeSuccess::NoPreroll)
            }
            result => result,
        }
    }

    fn send_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Eos {
            // As `gst-launch-1.0 -e` wants it, also of a feed that stops without an end.
            self.core.tell(Note::End);
            return true;
        }
        self.srcpad.send_event(event)
    }
}

impl BinImpl for NvFeed {}

/// Properties.
impl NvFeed {
    fn uri(&self) -> Option<String> {
        lock(&self.settings).shown_uri()
    }

    fn set_uri(&self, uri: Option<String>) {
        lock(&self.settings).set_uri(uri.as_deref());
    }

    fn feed_id(&self) -> Option<String> {
        Some(self.feed_name())
    }

    fn set_feed_id(&self, feed_id: Option<String>) {
        lock(&self.settings).feed_id = shown(feed_id.as_deref().filter(|name| !name.is_empty()));
    }

    fn tls_database(&self) -> Option<String> {
        shown(lock(&self.settings).tls_database.as_deref())
    }

    fn set_user_pw(&self, password: Option<String>) {
        lock(&self.settings).user_pw = password.map(Secret);
    }

    fn custom_pipeline(&self) -> Option<String> {
        lock(&self.settings).custom_pipeline.as_ref().map(|_| crate::health::MASK.to_owned())
    }

    fn set_custom_pipeline(&self, text: Option<String>) {
        lock(&self.settings).custom_pipeline = text.map(Secret);
    }

    fn set_pause(&self, pause: bool) {
        lock(&self.settings).pause = pause;
        self.ask_for_frames();
    }

    fn status(&self) -> Status {
        self.core.report.lock().state.into()
    }
}
