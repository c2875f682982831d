//! The element: properties, pads, states, events, and the thread that pushes results.

use super::chain::Work;
use super::group::{Lane, Membership};
use super::objects::Memory;
use super::outbox::Outbox;
use super::prepare::Preparer;
use super::runs::Spare;
use super::service::Service;
use super::settings::{self, Decoder, Meta, OnError, OperateOn, Provider, Settings};
use super::tuning::{ConvSearch, GraphOptimization, Precision};
use crate::elements::message::HealthReporter;
use crate::elements::stats::Stats;
use crate::elements::thread::StepThread;
use crate::elements::{self, lock, nvbatcher, video};
use crate::infer::{self, Interrupt};
use crate::meta::batch::{self as meta, Format};
use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("nvinference", gst::DebugColorFlags::empty(), Some("NextVision inference"))
});

/// What comes in.
#[derive(Clone, Debug, Default)]
pub(super) enum Stream {
    #[default]
    None,
    Batches,
    Video(Arc<Format>),
}

/// Frames so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    plain: u64,
    pub(super) inferred: u64,
    pub(super) failed: u64,
}

/// No two of these locks are held together.
#[derive(glib::Properties)]
#[properties(wrapper_type = super::NvInference)]
pub struct NvInference {
    #[property(
        name = "model", get = Self::shown_model, set, type = Option<String>, member = model,
        blurb = "Path of the ONNX model; without one the element does not leave NULL. Reading it shows *** for credentials, as with every path.", mutable_ready
    )]
    #[property(
        name = "labels", get = Self::shown_labels, set, type = Option<String>, member = labels,
        blurb = "Path of a text file with the name of a class in each line. Default: the sidecar's or the model's own.",
        mutable_ready
    )]
    #[property(
        name = "ort-library", get = Self::shown_ort_library, set, type = Option<String>, member = ort_library,
        blurb = "Path of ONNX Runtime's shared library. Default: ORT_DYLIB_PATH, then one beside the plugin, then the system's.",
        mutable_ready
    )]
    #[property(
        name = "score-threshold", get = Self::score_threshold, set = Self::set_score_threshold, type = f64,
        minimum = 0.0, maximum = 1.0, default = settings::DEFAULT_SCORE_THRESHOLD,
        blurb = "Least confidence of a detection, as a ratio. Unless set, the sidecar's comes before the default.",
        mutable_ready
    )]
    #[property(
        name = "iou-threshold", get = Self::iou_threshold, set = Self::set_iou_threshold, type = f64,
        minimum = 0.0, maximum = 1.0, default = settings::DEFAULT_IOU_THRESHOLD,
        blurb = "Overlap, as intersection over union, above which the weaker of two detections of a class is dropped. Unless set, the sidecar's comes before the default.",
        mutable_ready
    )]
    #[property(
        name = "max-detections", get, set, type = u32, member = max_detections,
        minimum = 1, maximum = 10_000, default = settings::DEFAULT_MAX_DETECTIONS,
        blurb = "Most detections kept per frame, the most confident first; with operate-on=objects also the most objects of a frame that are asked about.", mutable_ready
    )]
    #[property(
        name = "device-id", get, set, type = u32, member = device_id,
        minimum = 0, maximum = 255, default = 0,
        blurb = "Number of the device the provider runs on; the CPU has none.", mutable_ready
    )]
    #[property(
        name = "threads", get, set, type = u32, member = threads,
        minimum = 0, maximum = 1024, default = 0,
        blurb = "Threads of the engine. 0 takes the number of cores that affinity and quota allow.", mutable_ready
    )]
    #[property(
        name = "response-timeout", get, set, type = u64, member = response_timeout,
        minimum = 1, maximum = u64::MAX, default = settings::DEFAULT_RESPONSE_TIMEOUT,
        blurb = "Longest time the engine may take for a batch, in nanoseconds; after it the frames go on with status timeout.",
        mutable_ready
    )]
    #[property(
        name = "startup-timeout", get, set, type = u64, member = startup_timeout,
        minimum = 1, maximum = u64::MAX, default = settings::DEFAULT_STARTUP_TIMEOUT,
        blurb = "Longest time the model may take to load and warm up, in nanoseconds.", mutable_ready
    )]
    #[property(
        name = "processing-latency", get, set, type = u64, member = processing_latency,
        minimum = 0, maximum = u64::MAX, default = settings::AUTO_LATENCY,
        blurb = "Latency reported for a batch, in nanoseconds. The default, the largest value, reports what a full batch took at warm-up; more objects than max-batch-size take as many batches, so live pipelines set it.",
        mutable_ready
    )]
    #[property(
        name = "decoder", get, set, type = Decoder, member = decoder,
        blurb = "How the outputs of the model are read.", mutable_ready, builder(Decoder::Auto)
    )]
    #[property(
        name = "provider", get, set, type = Provider, member = provider,
        blurb = "Execution provider that runs the model; one that is not there is an error, unless allow-fallback is set.",
        mutable_ready, builder(Provider::Cpu)
    )]
    #[property(
        name = "batch-group", get, set, type = Option<String>, member = batch_group,
        blurb = "Name of the group whose engine and batches the element shares, with every other of the process that names it, for plain video. Default: none, each frame is a batch of its own.",
        mutable_ready
    )]
    #[property(
        name = "max-batch-size", get, set, type = u32, member = max_batch_size,
        minimum = 1, maximum = 1024, default = nvbatcher::DEFAULT_MAX_BATCH_SIZE,
        blurb = "Most frames to infer in one batch of the group, in frames. Without batch-group it is not used.", mutable_ready
    )]
    #[property(
        name = "max-latency", get, set, type = u64, member = max_latency,
        minimum = 0, maximum = nvbatcher::LONGEST_LATENCY, default = nvbatcher::DEFAULT_MAX_LATENCY,
        blurb = "Longest time a frame waits for a batch of the group to fill, from its arrival on the monotonic clock, in nanoseconds; 0 never waits. Without batch-group it is not used.",
        mutable_ready
    )]
    #[property(
        name = "allow-fallback", get, set, type = bool, member = allow_fallback, default = false, mutable_ready,
        blurb = "Whether the CPU takes the place of a provider that is not there, with a message provider-fallback."
    )]
    #[property(
        name = "spinning", get, set, type = bool, member = spinning, default = false, mutable_ready,
        blurb = "Whether the engine's threads keep their cores busy while they wait: slightly faster if the machine does nothing else, slower for all else."
    )]
    #[property(
        name = "graph-optimization", get, set, type = GraphOptimization, member = graph_optimization, mutable_ready,
        blurb = "How far ONNX Runtime rewrites the graph. All is the fastest; less tells whether the rewriting is what is wrong with a result.",
        builder(GraphOptimization::All)
    )]
    #[property(
        name = "cache-dir", get = Self::shown_cache_dir, set, type = Option<String>, member = cache_dir, mutable_ready,
        blurb = "Folder to keep optimised graphs, and what TensorRT and OpenVINO build, for the next start; made if it is missing, must be writable by this user alone. Default: nothing is kept."
    )]
    #[property(
        name = "device-memory-limit", get, set, type = u64, member = device_memory_limit, default = 0, mutable_ready,
        blurb = "Most bytes of device memory for CUDA's arena or TensorRT's workspace; 0 is no limit."
    )]
    #[property(
        name = "conv-search", get, set, type = ConvSearch, member = conv_search, mutable_ready,
        blurb = "How CUDA chooses the algorithms of convolutions.", builder(ConvSearch::Heuristic)
    )]
    #[property(
        name = "precision", get, set, type = Precision, member = precision, mutable_ready,
        blurb = "Numbers that TensorRT may calculate with.", builder(Precision::Model)
    )]
    #[property(
        name = "profile-batch", get, set, type = u32, member = profile_batch, minimum = 1, maximum = 1024,
        default = infer::tuning::DEFAULT_PROFILE_BATCH, mutable_ready,
        blurb = "Largest batch that TensorRT builds its engine for; larger ones are run in parts."
    )]
    #[property(
        name = "operate-on", get, set, type = OperateOn, member = operate_on, mutable_ready,
        blurb = "What the model is asked about.", builder(OperateOn::Frame)
    )]
    #[property(
        name = "object-labels", get, set, type = Option<String>, member = object_labels, mutable_ready,
        blurb = "Labels, with commas between them, of the objects to ask about. Default: all. Only with operate-on=objects."
    )]
    #[property(
        name = "object-min-size", get, set, type = u32, member = object_min_size, mutable_ready,
        minimum = 1, maximum = 32_768, default = settings::DEFAULT_OBJECT_MIN_SIZE,
        blurb = "Least width and height of an object to ask about, as far as it is inside the frame, in pixels. Only with operate-on=objects."
    )]
    #[property(
        name = "reinfer-interval", get, set, type = u32, member = reinfer_interval, mutable_ready,
        minimum = 1, maximum = 1_000_000, default = 1,
        blurb = "Least number of frames from one time a track is asked about to the next; between them it has the last answer. 1 asks on every frame, as detectors always are. Only with operate-on=objects."
    )]
    #[property(
        name = "on-error", get, set, type = OnError, member = on_error,
        blurb = "What happens to a frame that could not be inferred; one of whose objects could not always goes on.", mutable_ready, builder(OnError::Pass)
    )]
    #[property(
        name = "meta", get, set, type = Meta, member = meta, mutable_ready,
        blurb = "As what objects are attached to frames. Relation and both need GStreamer 1.24 or newer with libgstanalytics, and are an error at READY without.",
        builder(Meta::Auto)
    )]
    pub(super) settings: Mutex<Settings>,
    #[property(
        name = "stats", get = Self::stats, type = Stats,
        blurb = "What runs (model, decoder, provider, providers with how many nodes each of them runs, version of ONNX Runtime), what became of the cache (off, loaded, stored, provider, unusable), the state of the engine (ok, degraded, rebuilding, failed) and counters: frames (or objects) inferred and failed, objects left out as their frame had too many, batches that failed (errors), had no answer (timeouts) or did so in a row, rebuilds, threads left behind, runs, and times in nanoseconds."
    )]
    pub(super) counts: Mutex<Counts>,
    pub(super) service: Service,
    pub(super) health: HealthReporter,
    pub(super) interrupt: Mutex<Interrupt>,
    pub(super) stream: Mutex<Stream>,
    pub(super) preparer: Mutex<Preparer>,
    pub(super) spare: Spare,
    pub(super) memory: Memory,
    pub(super) measured: Mutex<gst::ClockTime>,
    pub(super) thread: Mutex<Option<StepThread>>,
    pub(super) outbox: Arc<Outbox<Work>>,
    /// From READY on, if the element has joined a group.
    pub(super) membership: Mutex<Option<Membership>>,
    /// From PAUSED on.
    pub(super) lane: Mutex<Option<Arc<Lane>>>,
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
}

#[glib::object_subclass]
impl ObjectSubclass for NvInference {
    const NAME: &'static str = "GstNvInference";
    type Type = super::NvInference;
    type ParentType = gst::Element;

    fn with_class(klass: &Self::Class) -> Self {
        let template = klass.pad_template("sink").expect("the template is declared below");
        let sinkpad = gst::Pad::builder_from_template(&template)
            .chain_function(|_pad, parent, buffer| {
                let fallback = || Err(gst::FlowError::Error);
                Self::catch_panic_pad_function(parent, fallback, |imp| imp.sink_chain(buffer))
            })
            .event_full_function(|pad, parent, event| {
                let fallback = || Err(gst::FlowError::Error);
                Self::catch_panic_pad_function(parent, fallback, |imp| imp.sink_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.sink_query(pad, query))
            })
            .build();
        let template = klass.pad_template("src").expect("the template is declared below");
        let srcpad = gst::Pad::builder_from_template(&template)
            .activatemode_function(|pad, parent, _mode, active| {
                let fallback = || Err(gst::loggable_error!(CAT, "Panic while activating the src pad"));
                Self::catch_panic_pad_function(parent, fallback, |imp| imp.src_activate(pad, active))
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_query(pad, query))
            })
            .build();
        Self {
            settings: Mutex::default(),
            counts: Mutex::default(),
            service: Service::default(),
            health: HealthReporter::with_tails(),
            interrupt: Mutex::default(),
            stream: Mutex::default(),
            preparer: Mutex::default(),
            spare: Spare::default(),
            memory: Memory::default(),
            measured: Mutex::new(gst::ClockTime::ZERO),
            thread: Mutex::default(),
            outbox: Arc::default(),
            membership: Mutex::default(),
            lane: Mutex::default(),
            sinkpad,
            srcpad,
        }
    }
}

#[glib::derived_properties]
impl ObjectImpl for NvInference {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        element.add_pad(&self.sinkpad).expect("a new element has no pad of that name");
        element.add_pad(&self.srcpad).expect("a new element has no pad of that name");
    }

    fn dispose(&self) {
        // Only for one that was freed without going to NULL first: its group must not wait for it.
        self.close_lane();
        self.leave_group();
    }
}

impl GstObjectImpl for NvInference {}

impl ElementImpl for NvInference {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "NextVision inference",
                "Filter/Analyzer/Video",
                "Runs an ONNX model on batches of frames of many feeds, or on plain video, and attaches what it finds",
                elements::AUTHOR,
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let mut caps = gst::Caps::new_empty_simple(meta::CAPS_NAME);
            caps.make_mut().append(video::caps());
            let always = gst::PadPresence::Always;
            let sink = gst::PadTemplate::new("sink", gst::PadDirection::Sink, always, &caps);
            let src = gst::PadTemplate::new("src", gst::PadDirection::Src, always, &caps);
            vec![sink.expect("valid template"), src.expect("valid template")]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::NullToReady => self.open()?,
            gst::StateChange::ReadyToPaused => {
                self.reopen_if_needed()?;
                self.open_lane()?;
            }
            gst::StateChange::PausedToReady => self.stop(),
            _ => {}
        }
        let done = self.parent_change_state(transition).inspect_err(|_| {
            if transition == gst::StateChange::ReadyToPaused {
                self.close_lane();
            }
        })?;
        match transition {
            // Not before the sink pad is inactive: a buffer on its way must find the stream it belongs to.
            gst::StateChange::PausedToReady => {
                self.close_lane();
                *lock(&self.stream) = Stream::None;
                *lock(&self.preparer) = Preparer::default();
                self.health.flush(&*self.obj());
            }
            gst::StateChange::ReadyToNull => {
                self.leave_group();
                self.service.close();
                self.health.flush(&*self.obj());
            }
            _ => {}
        }
        Ok(done)
    }
}

impl NvInference {
    pub(super) fn interrupt(&self) -> Interrupt {
        lock(&self.interrupt).clone()
    }

    pub(super) fn next_seq(&self) -> u64 {
        let mut counts = lock(&self.counts);
        counts.plain += 1;
        counts.plain - 1
    }

    pub(super) fn count(&self, inferred: usize, failed: usize) {
        let mut counts = lock(&self.counts);
        counts.inferred += inferred as u64;
        counts.failed += failed as u64;
    }

    pub(super) fn stop(&self) {
        self.interrupt().set();
        self.outbox.close();
        self.service.cancel();
        if let Some(lane) = self.lane() {
            lane.close_in();
        }
    }

    /// Starts or ends a flush: everything on the way is let go of, nothing is waited for.
    pub(super) fn set_flushing(&self, flushing: bool) {
        if flushing {
            self.interrupt().set();
        } else {
            *lock(&self.interrupt) = Interrupt::new();
        }
        self.outbox.set_flushing(flushing);
    }
}
