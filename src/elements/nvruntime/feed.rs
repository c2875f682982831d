//! A feed: its source, its branch behind the un-batcher, and what is known of both.

use super::core::Core;
use super::group::Group;
use super::imp::NvRuntime;
use super::meter::Meter;
use super::outputs::{Handed, Output};
use super::preview::Eye;
use super::props::{made, set, set_nick, set_time};
use super::refusal::Refusal;
use super::secrets;
use crate::config::{self, OutputKind, Source};
use crate::elements::nvfeed::NvFeed;
use crate::elements::nvhealth::NvHealth;
use crate::elements::nvinference::NvInference;
use crate::elements::nvsink::NvSink;
use crate::metrics::{FeedState, History};
use crate::output::Publisher;
use crate::time::Monotonic;
use glib::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use parking_lot::Mutex;
use std::sync::Arc;

/// Records that may wait for each output, unless the site file says otherwise.
const DEFAULT_QUEUE: u32 = 16;

/// What is to become a feed.
#[derive(Clone)]
pub(super) struct Newcomer {
    pub(super) config: config::Feed,
    /// A password that the application has given, in place of one to be looked up.
    pub(super) password: Option<String>,
    /// Whether the site file has it, so that reading that again may change it.
    pub(super) is_of_site: bool,
}

/// What somebody has decided about a feed, or found out.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    pub(super) is_paused: bool,
    /// It has given all it had.
    pub(super) has_ended: bool,
    /// It was given up: why, as one word and for people.
    pub(super) failure: Option<(String, String)>,
}

/// A feed that is part of the runtime.
pub(super) struct Feed {
    pub(super) id: u32,
    pub(super) newcomer: Newcomer,
    pub(super) group: Arc<Group>,
    pub(super) source: NvFeed,
    /// Everything between the un-batcher and the outputs.
    pub(super) branch: gst::Bin,
    pub(super) health: NvHealth,
    /// The models that are asked about objects, by name.
    pub(super) seconds: Vec<(String, NvInference)>,
    /// A sink for each output, by the output's name; one without a name if there is no output.
    pub(super) sinks: Vec<(String, NvSink)>,
    pub(super) meter: Arc<Meter>,
    pub(super) eye: Arc<Eye>,
    pub(super) marks: Mutex<Marks>,
    pub(super) history: Mutex<History>,
    /// The state as it was last seen, and since when.
    pub(super) seen: Mutex<Option<(FeedState, Monotonic)>>,
    pads: Mutex<Option<(gst::Pad, gst::Pad)>>,
}

/// What a feed is made in.
pub(super) struct Surroundings<'a> {
    pub(super) runtime: &'a NvRuntime,
    pub(super) core: &'a Arc<Core>,
    pub(super) outputs: &'a [Arc<Output>],
}

impl Feed {
    /// Makes the elements, in NULL and in no bin.
    pub(super) fn new(
        id: u32,
        newcomer: Newcomer,
        group: Arc<Group>,
        around: &Surroundings<'_>,
    ) -> Result<Self, Refusal> {
        let source = source(id, &newcomer)?;
        let health = made::<NvHealth>(&format!("health-{id}"));
        set_limits(&health, &newcomer.config, around.core);
        health.set_property("feed-id", &newcomer.config.id);
        let meter = Arc::new(Meter::default());
        let sinks = sinks(id, &newcomer.config, around, &meter)?;
        let (tracker, seconds) = group.stages(&around.runtime.obj().name(), id);
        let mut stages: Vec<gst::Element> = tracker.into_iter().map(Cast::upcast).collect();
        stages.extend(seconds.iter().map(|(_, second)| second.clone().upcast()));
        stages.push(health.clone().upcast());
        let branch = branch(id, &stages, &sinks).map_err(Refusal::failed)?;
        let eye = Arc::new(Eye::default());
        if let Some(pad) = health.static_pad("src") {
            Eye::look_at(&eye, &pad);
        }
        Ok(Self {
            id,
            newcomer,
            group,
            source,
            branch,
            health,
            seconds,
            sinks,
            meter,
            eye,
            marks: Mutex::default(),
            history: Mutex::default(),
            seen: Mutex::default(),
            pads: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.newcomer.config.id
    }

    /// Whether anything may come of it without a restart.
    pub(super) fn is_alive(&self) -> bool {
        let marks = self.marks.lock();
        !marks.has_ended && marks.failure.is_none()
    }

    /// Whether records wait for a consumer.
    pub(super) fn has_records(&self) -> bool {
        self.sinks.iter().any(|(_, sink)| sink.books().level > 0)
    }

    /// Puts the elements into the runtime and links them, in NULL. What has come so far is in there for
    /// [`Self::leave`] to take out, also after an error.
    pub(super) fn join(&self, runtime: &NvRuntime) -> Result<(), Refusal> {
        let bin = runtime.obj();
        bin.add_many([self.source.upcast_ref::<gst::Element>(), self.branch.upcast_ref()])
            .map_err(Refusal::failed)?;
        // They follow when they are told to: one that cannot start must not keep the others from it.
        self.source.set_locked_state(true);
        self.branch.set_locked_state(true);
        let group = &self.group;
        let no_pad = |of: &str| Refusal::failed(format!("no pad for feed {} at {of}", self.id));
        // The way out first, so that no frame comes to a pad that is not linked.
        let src = group
            .unbatcher
            .request_pad_simple(&format!("src_{}", self.id))
            .ok_or_else(|| no_pad("nvunbatcher"))?;
        let sink = group.batcher.request_pad_simple(&format!("sink_{}", self.id));
        let Some(sink) = sink else {
            group.unbatcher.release_request_pad(&src);
            return Err(no_pad("nvbatcher"));
        };
        self.set_up(&sink);
        *self.pads.lock() = Some((sink.clone(), src.clone()));
        let branch = self.branch.static_pad("sink").ok_or_else(|| no_pad("its branch"))?;
        let source = self.source.static_pad("src").ok_or_else(|| no_pad("nvfeed"))?;
        src.link(&branch).map_err(Refusal::failed)?;
        source.link(&sink).map_err(Refusal::failed)?;
        Ok(())
    }

    fn set_up(&self, sink: &gst::Pad) {
        let config = &self.newcomer.config;
        sink.set_property("feed-id", &config.id);
        set(sink, "interval", config.interval);
        set(sink, "max-size-buffers", config.max_size_buffers);
        set(sink, "max-in-flight", config.max_in_flight);
        set_nick(sink, "overload", config.overload.map(config::Overload::as_str));
    }

    /// Takes the elements to `state`, and lets them follow the runtime from then on: both or none.
    pub(super) fn start(&self, state: gst::State) -> Result<(), Refusal> {
        let elements = [self.branch.upcast_ref::<gst::Element>(), self.source.upcast_ref()];
        for element in elements {
            element.set_state(state).map_err(|_| {
                Refusal::failed(format!(
                    "feed {:?} does not start: its element {}",
                    self.name(),
                    element.name()
                ))
            })?;
        }
        for element in elements {
            element.set_locked_state(false);
        }
        Ok(())
    }

    /// Whether the elements go where the runtime goes.
    pub(super) fn follows(&self) -> bool {
        !self.source.is_locked_state()
    }

    /// Asks for the end: what is on its way arrives, and then EOS.
    pub(super) fn end(&self) {
        self.source.send_event(gst::event::Eos::new());
    }

    /// Takes the elements out of the runtime. May take as long as they hold each other up.
    pub(super) fn leave(&self, bin: &gst::Bin) {
        for element in [self.source.upcast_ref::<gst::Element>(), self.branch.upcast_ref()] {
            // A state that the runtime takes meanwhile is not for them any more.
            element.set_locked_state(true);
            let stopped = element.set_state(gst::State::Null);
            if stopped.is_err() || element.current_state() != gst::State::Null {
                let state = element.current_state();
                gst::warning!(super::imp::CAT, obj = bin, "{} does not stop: {state:?}", element.name());
                element.set_state(gst::State::Null).ok();
            }
        }
        let pads = self.pads.lock().take();
        if let Some((sink, src)) = pads {
            self.group.batcher.release_request_pad(&sink);
            self.group.unbatcher.release_request_pad(&src);
        }
        bin.remove_many([self.source.upcast_ref::<gst::Element>(), self.branch.upcast_ref()]).ok();
    }

    /// Has all sinks stop by then, when they stop.
    pub(super) fn stop_by(&self, by: Monotonic) {
        self.sinks.iter().for_each(|(_, sink)| sink.stop_by(by));
    }

    pub(super) fn pause(&self, is_paused: bool) {
        self.marks.lock().is_paused = is_paused;
        self.health.hold(is_paused);
        self.source.set_property("pause", is_paused);
    }

    /// The size of the frames as far as it is known, in bytes of the largest format there is.
    pub(super) fn frame_bytes(&self) -> u64 {
        let (width, height) = self.source.known().size;
        u64::from(width) * u64::from(height) * 4
    }
}

fn source(id: u32, newcomer: &Newcomer) -> Result<NvFeed, Refusal> {
    let feed = &newcomer.config;
    let element = made::<NvFeed>(&format!("feed-{id}"));
    match &feed.source {
        Source::Uri(address) => element.set_property("uri", address.as_str()),
        Source::CustomPipeline(text) => {
            element.set_property("custom-pipeline", text);
            element.set_property("allow-custom-pipeline", true);
        }
    }
    element.set_property("feed-id", &feed.id);
    set(&element, "user-id", feed.user.as_ref().map(config::User::as_str));
    let of_site = feed.password.as_ref().filter(|_| newcomer.password.is_none()).map(secrets::resolve);
    let of_site =
        of_site.transpose().map_err(|error| Refusal::failed(format!("feed {:?}: {error}", feed.id)))?;
    set(&element, "user-pw", newcomer.password.as_deref().or(of_site.as_deref()));
    set(&element, "loop", feed.looped);
    set_nick(&element, "on-end", feed.on_end.map(config::OnEnd::as_str));
    set_nick(&element, "tls-policy", feed.tls_policy.map(config::TlsPolicy::as_str));
    set(&element, "tls-database", feed.tls_database.as_ref().map(|path| path.to_string_lossy().into_owned()));
    set_nick(&element, "transport", feed.transport.map(config::Transport::as_str));
    set_time(&element, "latency", feed.latency);
    set_nick(&element, "decode-preference", feed.decode_preference.map(config::DecodePreference::as_str));
    set_time(&element, "reconnect-base-delay", feed.reconnect_base_delay);
    set_time(&element, "reconnect-max-delay", feed.reconnect_max_delay);
    set(&element, "reconnect-max-attempts", feed.reconnect_max_attempts);
    set(&element, "max-restarts", feed.max_restarts);
    set_time(&element, "liveness-timeout", feed.liveness_timeout);
    set_time(&element, "stall-timeout", feed.stall_timeout);
    set_time(&element, "tcp-timeout", feed.tcp_timeout);
    set(&element, "max-width", feed.max_width);
    set(&element, "max-height", feed.max_height);
    set(&element, "max-fps", feed.max_fps);
    Ok(element)
}

/// The thresholds of a feed, and the idle timeout of the runtime.
pub(super) fn set_limits(health: &NvHealth, feed: &config::Feed, core: &Core) {
    set_time(health, "stall-timeout", feed.health.stall_timeout);
    set_time(health, "lag-threshold", feed.health.lag_threshold);
    set(health, "fps-min", feed.health.fps_min);
    let idle = core.settings.lock().idle_nanos();
    health.set_property("idle-timeout", idle);
    set_nick(health, "idle-action", Some("eos"));
}

/// A sink for each output; one that only counts if there is none.
fn sinks(
    id: u32,
    feed: &config::Feed,
    around: &Surroundings<'_>,
    meter: &Arc<Meter>,
) -> Result<Vec<(String, NvSink)>, Refusal> {
    let takes =
        |output: &&Arc<Output>| output.config.feeds.as_ref().is_none_or(|feeds| feeds.contains(&feed.id));
    let outputs: Vec<_> = around.outputs.iter().filter(takes).collect();
    let mut sinks = Vec::with_capacity(outputs.len().max(1));
    for (place, output) in outputs.into_iter().enumerate() {
        let sink = sink(&format!("sink-{id}-{place}"), feed, around.core);
        let mut publishers: Vec<Arc<dyn Publisher>> = output.publisher(&feed.id)?.into_iter().collect();
        if output.config.kind == OutputKind::Appsink {
            publishers.push(Arc::new(Handed(Arc::clone(&output.counts))));
            hand_out(&sink, id, around.runtime);
        }
        if place == 0 {
            publishers.push(Arc::clone(meter) as _);
        }
        sink.set_publishers(publishers);
        sink.set_property("queue-capacity", output.config.queue_capacity.unwrap_or(DEFAULT_QUEUE));
        set_nick(&sink, "overflow", output.config.overflow.map(config::Overflow::as_str));
        set_nick(&sink, "embeddings", output.config.embeddings.map(config::Embeddings::as_str));
        sinks.push((output.config.name.clone(), sink));
    }
    if sinks.is_empty() {
        let sink = sink(&format!("sink-{id}-0"), feed, around.core);
        sink.set_publishers(vec![Arc::clone(meter) as _]);
        sinks.push((String::new(), sink));
    }
    Ok(sinks)
}

fn sink(name: &str, feed: &config::Feed, core: &Core) -> NvSink {
    let sink = made::<NvSink>(name);
    set_nick(&sink, "format", Some("none"));
    sink.set_property("shutdown-timeout", core.settings.lock().drain_nanos());
    sink.set_property("sync", feed.realtime);
    // A camera that gives nothing keeps nobody from PLAYING; the sources decode in pipelines of their own, so what
    // makes this needful elsewhere is not here.
    sink.set_async(false);
    sink
}

/// Has the records of the sink leave by the runtime's own signal.
fn hand_out(sink: &NvSink, id: u32, runtime: &NvRuntime) {
    let runtime = runtime.obj().downgrade();
    sink.connect_new_output(move |_, sample, record| {
        if let Some(runtime) = runtime.upgrade() {
            runtime.emit_by_name::<()>(super::imp::NEW_OUTPUT, &[&id, sample, &record.to_owned()]);
        }
    });
}

/// `stages ! sink`, or `stages ! tee ! sinks`, in a bin with a pad `sink`.
fn branch(id: u32, stages: &[gst::Element], sinks: &[(String, NvSink)]) -> Result<gst::Bin, glib::BoolError> {
    let bin = gst::Bin::with_name(&format!("branch-{id}"));
    bin.add_many(stages)?;
    gst::Element::link_many(stages)?;
    let [.., last] = stages else { return Err(glib::bool_error!("no element")) };
    let last = if sinks.len() > 1 {
        let tee = gst::ElementFactory::make("tee").name(format!("tee-{id}")).build()?;
        bin.add(&tee)?;
        last.link(&tee)?;
        tee
    } else {
        last.clone()
    };
    for (_, sink) in sinks {
        bin.add(sink)?;
        last.link(sink)?;
    }
    let first = stages.first().and_then(|first| first.static_pad("sink"));
    let first = first.ok_or_else(|| glib::bool_error!("no sink pad"))?;
    bin.add_pad(&gst::GhostPad::builder_with_target(&first)?.name("sink").build())?;
    Ok(bin)
}

/// The number of the feed in the name of one of its elements.
pub(super) fn number_of(name: &str) -> Option<(Part, u32)> {
    let (part, number) = name.split_once('-')?;
    let part = match part {
        "feed" => Part::Source,
        "branch" => Part::Branch,
        _ => return None,
    };
    Some((part, number.parse().ok()?))
}

/// What a feed that is started is known by, which no element is called.
pub(super) fn trial_name(id: u32) -> String {
    format!("feed {id}")
}

/// Which part of a feed says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Source,
    Branch,
}
