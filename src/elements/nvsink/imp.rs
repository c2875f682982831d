//! The element: properties, signals, pads and state changes.

#![expect(missing_docs, reason = "the derive makes accessors without documentation; the blurbs say it")]

use super::exchange::Exchange;
use super::intake::Intake;
use super::settings::{
    DEFAULT_QUEUE_CAPACITY, DEFAULT_SAMPLE_INTERVAL, DEFAULT_SHUTDOWN_TIMEOUT, DEFAULT_TARGET_FPS,
    Embeddings, Format, FrameInclusion, MAX_TARGET_FPS, Overflow, Settings,
};
use crate::elements;
use crate::elements::message::HealthReporter;
use crate::elements::stats::Stats;
use crate::output::{Lines, Publisher};
use crate::time::Monotonic;
use glib::subclass::{Signal, SignalId};
use gst::prelude::*;
use gst::subclass::prelude::*;
use parking_lot::Mutex as ShortMutex;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// Name of the signal that hands out a sample and its record.
pub(super) const NEW_OUTPUT: &str = "new-output";
/// Name of the action signal that returns the next record.
pub(super) const PULL_OUTPUT: &str = "pull-output";

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("nvsink", gst::DebugColorFlags::empty(), Some("NextVision sink"))
});

/// Whether a handler of `new-output` is connected.
pub(super) fn new_output_wanted(sink: &super::NvSink) -> bool {
    static SIGNAL: OnceLock<Option<SignalId>> = OnceLock::new();
    let signal = SIGNAL.get_or_init(|| SignalId::lookup(NEW_OUTPUT, super::NvSink::static_type()));
    signal.is_some_and(|signal| glib::signal::signal_has_handler_pending(sink, signal, None, true))
}

/// The file and what was asked for when it was opened.
pub(super) struct OpenFile {
    pub(super) location: Option<String>,
    pub(super) lines: Option<Arc<ShortMutex<Lines>>>,
}

/// Locks are never held together.
#[derive(glib::Properties)]
#[properties(wrapper_type = super::NvSink)]
pub struct NvSink {
    #[property(
        name = "location",
        get = Self::shown_location,
        set,
        type = Option<String>,
        member = location,
        blurb = "File that gets one line of JSON per frame, created or emptied in the change to READY; - is standard output, empty is none. Reading it shows *** for credentials.",
        mutable_ready
    )]
    #[property(
        name = "queue-capacity",
        get,
        set,
        type = u32,
        member = queue_capacity,
        minimum = 1,
        maximum = 65536,
        default = DEFAULT_QUEUE_CAPACITY,
        blurb = "Records that may wait to be delivered, and delivered records kept for pull-output; in records.",
        mutable_ready
    )]
    #[property(
        name = "shutdown-timeout",
        get,
        set,
        type = u64,
        member = shutdown_timeout,
        default = DEFAULT_SHUTDOWN_TIMEOUT.nseconds(),
        blurb = "How long EOS and the change to READY wait for queued records to be delivered, in nanoseconds; 0 does not wait.",
        mutable_playing
    )]
    #[property(
        name = "overflow",
        get,
        set,
        type = Overflow,
        member = overflow,
        blurb = "What happens to a record when queue-capacity records are waiting.",
        mutable_ready,
        builder(Overflow::default())
    )]
    #[property(
        name = "format",
        get,
        set,
        type = Format,
        member = format,
        blurb = "What is written to location; none makes no line and opens no file, while new-output and pull-output go on.",
        mutable_ready,
        builder(Format::default())
    )]
    #[property(
        name = "frame-inclusion",
        get,
        set,
        type = FrameInclusion,
        member = frame_inclusion,
        blurb = "Which frames new-output hands out with their pixels; the others come as buffers with times and metas but no memory.",
        mutable_playing,
        builder(FrameInclusion::default())
    )]
    #[property(
        name = "sample-interval",
        get,
        set,
        type = u32,
        member = sample_interval,
        default = DEFAULT_SAMPLE_INTERVAL,
        blurb = "With frame-inclusion=sampled, every frame of a feed whose number is a multiple of this has its pixels; in frames, 0 is never, 1 always.",
        mutable_playing
    )]
    #[property(
        name = "target-fps",
        get,
        set,
        type = f64,
        member = target_fps,
        minimum = 0.0,
        maximum = MAX_TARGET_FPS,
        default = DEFAULT_TARGET_FPS,
        blurb = "With frame-inclusion=target-fps, how many frames a second of each feed have their pixels, by running time; 0 is never, at or above the rate of the feed is always.",
        mutable_playing
    )]
    #[property(
        name = "embeddings",
        get,
        set,
        type = Embeddings,
        member = embeddings,
        blurb = "Whether the vectors on objects stand in records, and in which form; none leaves them out.",
        mutable_playing,
        builder(Embeddings::default())
    )]
    pub(super) settings: Mutex<Settings>,
    #[property(
        name = "stats",
        get = Self::stats,
        type = Stats,
        blurb = "Counters since the change from NULL to READY: records received, delivered, written, dropped and discarded, the queue's level, and faults."
    )]
    pub(super) file: ShortMutex<Option<OpenFile>>,
    /// Who else gets each record, from the next start on.
    pub(super) publishers: ShortMutex<Vec<Arc<dyn Publisher>>>,
    pub(super) worker: ShortMutex<Option<JoinHandle<()>>>,
    /// When who has it inside wants it to have stopped, however long it may take by itself.
    pub(super) stop_by: ShortMutex<Option<Monotonic>>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) health: HealthReporter,
    #[property(
        name = "sync",
        get = Self::sync,
        set = Self::set_sync,
        type = bool,
        default = false,
        blurb = "Whether each frame waits for its time on the clock before its record is made; the property of the appsink.",
        mutable_playing
    )]
    appsink: gst_app::AppSink,
}

impl Default for NvSink {
    fn default() -> Self {
        let appsink = gst_app::AppSink::builder()
            .name("appsink")
            .caps(&any_video())
            .sync(false)
            // Prerolls like any sink. Without, the last ASYNC_DONE of a pipeline with decodebin comes from a
            // thread that may clear GstBin's note of PLAYING after the application has gone there, and EOS
            // is then never posted (GStreamer 1.22: `filesrc ! decodebin ! fakesink async=false`). A silent
            // feed holds nothing up: nvunbatcher sends it a GAP.
            .async_(true)
            .enable_last_sample(false)
            .max_buffers(1)
            // Samples are taken as they come; EOS waits for the worker, with a bound.
            .wait_on_eos(false)
            .build();
        Self {
            settings: Mutex::default(),
            file: ShortMutex::default(),
            publishers: ShortMutex::default(),
            worker: ShortMutex::default(),
            stop_by: ShortMutex::default(),
            exchange: Arc::default(),
            health: HealthReporter::default(),
            appsink,
        }
    }
}

fn any_video() -> gst::Caps {
    gst::Caps::builder("video/x-raw").any_features().build()
}

#[glib::object_subclass]
impl ObjectSubclass for NvSink {
    const NAME: &'static str = "GstNvSink";
    type Type = super::NvSink;
    type ParentType = gst::Bin;
}

#[glib::derived_properties]
impl ObjectImpl for NvSink {
    fn constructed(&self) {
        self.parent_constructed();
        self.connect_appsink();
        if let Err(error) = self.add_pad() {
            // Nothing works then, and gst-inspect shows no pad; it cannot happen with a fresh appsink.
            gst::error!(CAT, imp = self, "No sink pad: {error}");
        }
    }

    fn signals() -> &'static [Signal] {
        static SIGNALS: LazyLock<[Signal; 2]> = LazyLock::new(|| {
            [
                Signal::builder(NEW_OUTPUT)
                    .param_types([gst::Sample::static_type(), gst::Structure::static_type()])
                    .run_last()
                    .build(),
                Signal::builder(PULL_OUTPUT)
                    .param_types([u64::static_type()])
                    .return_type::<Option<gst::Structure>>()
                    .run_last()
                    .action()
                    .class_handler(|args| {
                        let sink = args.first()?.get::<super::NvSink>().ok()?;
                        let timeout = args.get(1)?.get::<u64>().ok()?;
                        Some(sink.imp().pull_output(timeout).to_value())
                    })
                    .build(),
            ]
        });
        SIGNALS.as_ref()
    }

    fn dispose(&self) {
        // Has happened already unless the application forgot to go to NULL.
        self.exchange.abandon();
    }
}

impl GstObjectImpl for NvSink {}

impl ElementImpl for NvSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "NextVision sink",
                "Sink/Video/Analytics",
                "Gives one structured record per frame: JSON Lines, signal or pull",
                elements::AUTHOR,
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let (direction, presence) = (gst::PadDirection::Sink, gst::PadPresence::Always);
            gst::PadTemplate::new("sink", direction, presence, &any_video()).into_iter().collect()
        });
        TEMPLATES.as_ref()
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::NullToReady => {
                self.exchange.reset();
                self.open_file()?;
            }
            gst::StateChange::ReadyToPaused => self.start()?,
            gst::StateChange::PausedToPlaying => self.exchange.set_paused(false),
            gst::StateChange::PlayingToPaused => self.exchange.set_paused(true),
            gst::StateChange::PausedToReady => self.exchange.interrupt(),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::ReadyToPaused if result.is_err() => self.stop(),
            gst::StateChange::PausedToReady => self.stop(),
            gst::StateChange::ReadyToNull => *self.file.lock() = None,
            _ => {}
        }
        result
    }
}

impl BinImpl for NvSink {}

/// Set-up.
impl NvSink {
    fn connect_appsink(&self) {
        let sink = self.obj().downgrade();
        let exchange = Arc::clone(&self.exchange);
        let mut intake = Intake::new(exchange, sink.clone());
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |appsink| intake.new_sample(appsink))
            .eos(move |_| {
                if let Some(sink) = sink.upgrade() {
                    sink.imp().end_of_stream();
                }
            })
            .build();
        self.appsink.set_callbacks(callbacks);
    }

    fn add_pad(&self) -> Result<(), glib::BoolError> {
        let sink = self.obj();
        sink.add(&self.appsink)?;
        let template = sink.pad_template("sink").ok_or_else(|| glib::bool_error!("no template"))?;
        let target = self.appsink.static_pad("sink").ok_or_else(|| glib::bool_error!("no target"))?;
        let pad = gst::GhostPad::from_template_with_target(&template, &target)?;
        let exchange = Arc::clone(&self.exchange);
        // The flush must reach a streaming thread that waits for room before it reaches the base class,
        // which waits for that thread.
        pad.add_probe(gst::PadProbeType::EVENT_FLUSH, move |_, info| {
            match info.event().map(|event| event.type_()) {
                Some(gst::EventType::FlushStart) => exchange.set_flushing(true),
                Some(gst::EventType::FlushStop) => exchange.set_flushing(false),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        sink.add_pad(&pad)
    }
}

/// Properties and signals.
impl NvSink {
    pub(super) const fn appsink(&self) -> &gst_app::AppSink {
        &self.appsink
    }

    fn stats(&self) -> Stats {
        let (counters, level) = self.exchange.counters();
        counters.structure(level, self.queue_capacity()).into()
    }

    pub(super) fn queue_capacity(&self) -> u32 {
        elements::lock(&self.settings).queue_capacity
    }

    fn sync(&self) -> bool {
        self.appsink.property("sync")
    }

    fn set_sync(&self, sync: bool) {
        self.appsink.set_property("sync", sync);
    }

    fn pull_output(&self, timeout: u64) -> Option<gst::Structure> {
        let timeout = (timeout != u64::MAX).then(|| Duration::from_nanos(timeout));
        self.exchange.pull(timeout).as_ref().map(gst::Structure::from)
    }
}
