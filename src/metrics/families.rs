//! [`FAMILIES`]: every metric there is, once, with what it is made of.
//!
//! `/metrics` and `docs/metrics.md` are both made from this table. Units are seconds and bytes. Labels hold names that
//! somebody configured, or words of a fixed set: never an address, never a number that counts up.

use super::{Engine, Feed, FeedState, Output, Phase, Snapshot};
use std::collections::BTreeMap;

/// What all names begin with.
pub const PREFIX: &str = "nextvision_";

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises while the runtime lives.
    Counter,
    /// What is now.
    Gauge,
    /// Buckets, each with all below, a sum and a count.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The values of the last label, each with the number that belongs to it.
pub(super) type Each = Vec<(String, f64)>;

/// Where the numbers come from. `None`: it is not known, and then there is no series.
#[derive(Clone, Copy)]
pub(super) enum Numbers {
    Site(fn(&Snapshot) -> Option<f64>),
    SiteEach(fn(&Snapshot) -> Each),
    Feed(fn(&Feed) -> Option<f64>),
    FeedEach(fn(&Feed) -> Each),
    FeedLatency,
    Engine(fn(&Engine) -> Option<f64>),
    EngineEach(fn(&Engine) -> Each),
    Output(fn(&Output) -> Option<f64>),
}

/// One metric.
#[derive(Clone, Copy)]
pub struct Family {
    /// Without [`PREFIX`].
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    pub(super) numbers: Numbers,
}

use Kind::{Counter, Gauge, Histogram};

const FEED: &[&str] = &["feed", "group"];
const FEED_REASON: &[&str] = &["feed", "group", "reason"];
const FEED_STATE: &[&str] = &["feed", "group", "state"];
const FEED_QUEUE: &[&str] = &["feed", "group", "queue"];
const ENGINE: &[&str] = &["group", "model"];
const ENGINE_PROVIDER: &[&str] = &["group", "model", "provider"];
const ENGINE_REASON: &[&str] = &["group", "model", "reason"];
const ENGINE_STATE: &[&str] = &["group", "model", "state"];
const OUTPUT: &[&str] = &["output"];

/// The states of an engine, as [`Engine::state`] has them.
const ENGINE_STATES: [&str; 4] = ["closed", "ok", "degraded", "failed"];

const PHASES: [(Phase, &str); 4] = [
    (Phase::Starting, "starting"),
    (Phase::Running, "running"),
    (Phase::Draining, "draining"),
    (Phase::Stopped, "stopped"),
];

const fn site(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    number: fn(&Snapshot) -> Option<f64>,
) -> Family {
    Family { name, kind, help, labels: &[], numbers: Numbers::Site(number) }
}

const fn site_each(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    numbers: fn(&Snapshot) -> Each,
) -> Family {
    Family { name, kind, help, labels, numbers: Numbers::SiteEach(numbers) }
}

const fn feed(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    number: fn(&Feed) -> Option<f64>,
) -> Family {
    Family { name, kind, help, labels: FEED, numbers: Numbers::Feed(number) }
}

const fn feed_each(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    numbers: fn(&Feed) -> Each,
) -> Family {
    Family { name, kind, help, labels, numbers: Numbers::FeedEach(numbers) }
}

const fn engine(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    number: fn(&Engine) -> Option<f64>,
) -> Family {
    Family { name, kind, help, labels: ENGINE, numbers: Numbers::Engine(number) }
}

const fn engine_each(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    numbers: fn(&Engine) -> Each,
) -> Family {
    Family { name, kind, help, labels, numbers: Numbers::EngineEach(numbers) }
}

const fn output(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    number: fn(&Output) -> Option<f64>,
) -> Family {
    Family { name, kind, help, labels: OUTPUT, numbers: Numbers::Output(number) }
}

/// Every metric: of the runtime, of feeds, of engines, of outputs.
#[rustfmt::skip] // One line each can be read down.
pub const FAMILIES: &[Family] = &[
    site_each("build_info", Gauge, &["version"], "Always 1. The version of the plugin.", |s| vec![(s.version.clone(), 1.0)]),
    site("uptime_seconds", Gauge, "Time since the runtime was started.", |s| seconds(s.uptime)),
    site_each("phase", Gauge, &["state"], "1 for where the runtime stands: starting, running, draining or stopped. 0 for the others.", phases),
    site_each("feeds", Gauge, &["state"], "Feeds in each state.", feeds),
    site("max_feeds", Gauge, "Most feeds that may be alive at a time.", |s| count(s.max_feeds.into())),
    site("removed_feeds_total", Counter, "Feeds that are not there any more.", |s| count(s.removed_feeds)),
    site("removed_frames_received_total", Counter, "Frames that came to the batcher from feeds that are not there any more.", |s| count(s.removed.received)),
    site("removed_frames_delivered_total", Counter, "Frames of feeds that are not there any more that left the un-batcher.", |s| count(s.removed.delivered)),
    site_each("removed_frames_dropped_total", Counter, &["reason"], "Frames of feeds that are not there any more that were dropped, by reason.", |s| reasons(&s.removed.dropped_by_reason)),
    site_each("removed_frames_failed_total", Counter, &["reason"], "Frames of feeds that are not there any more that could not be inferred, by reason.", |s| reasons(&s.removed.failed_by_reason)),
    site("detached_threads", Gauge, "Threads that did not end in time and were let go of.", |s| count(s.detached_threads)),
    site("memory_bound_bytes", Gauge, "Most memory that frames on their way can take. Absent before their size is known.", |s| known(s.memory_bound)),
    site("resident_memory_bytes", Gauge, "Memory of the process. Absent if the system does not tell.", |s| known(s.resident)),
    site("threads", Gauge, "Threads of the process. Absent if the system does not tell.", |s| known(s.threads)),
    site("reloads_total", Counter, "How often the configuration was read again and applied.", |s| count(s.reloads)),
    site("reload_failed", Gauge, "1 if the configuration was wrong the last time it was read again, and so was not applied.", |s| flag(!s.reload_error.is_empty())),

    feed("feed_up", Gauge, "1 while frames come (the state running), else 0.", |f| flag(f.state == FeedState::Running)),
    feed_each("feed_state", Gauge, FEED_STATE, "1 for the state of the feed, 0 for the others.", |f| FeedState::ALL.map(|state| one_of(state.as_str(), f.state.as_str())).into()),
    feed("feed_state_age_seconds", Gauge, "For how long the feed has been in its state.", |f| seconds(f.state_for)),
    feed("feed_paused", Gauge, "1 while somebody has paused the feed.", |f| flag(f.paused)),
    feed("feed_frames_received_total", Counter, "Frames that came to the batcher: delivered, dropped, failed or in flight.", |f| count(f.ledger.received)),
    feed("feed_frames_delivered_total", Counter, "Frames that left the un-batcher.", |f| count(f.ledger.delivered)),
    feed_each("feed_frames_dropped_total", Counter, FEED_REASON, "Frames that came to the batcher and were dropped, by reason.", |f| reasons(&f.ledger.dropped_by_reason)),
    feed_each("feed_frames_failed_total", Counter, FEED_REASON, "Frames that were dropped because they could not be inferred, by reason.", |f| reasons(&f.ledger.failed_by_reason)),
    feed("feed_frames_in_flight", Gauge, "Frames between the batcher and the way out of the un-batcher.", |f| count(f.ledger.in_flight)),
    feed("feed_source_frames_total", Counter, "Frames that were decoded.", |f| count(f.source.received)),
    feed_each("feed_source_frames_dropped_total", Counter, FEED_REASON, "Frames that were decoded and did not go on to the batcher, by reason.", |f| reasons(&f.source.dropped_by_reason)),
    feed("feed_connections_total", Counter, "How often the source was connected.", |f| count(f.source.connections)),
    feed("feed_outages_total", Counter, "How often the source was lost.", |f| count(f.source.outages)),
    feed("feed_restarts_total", Counter, "How often the source was made anew: for broken data, at its end, or because somebody wanted it.", |f| count(f.source.restarts)),
    feed("feed_hardware_decoder", Gauge, "1 if hardware decodes. Absent if there is no decoder.", |f| if f.source.decoder.is_empty() { None } else { flag(f.source.hardware) }),
    feed("feed_lag_seconds", Gauge, "How late the last frame was.", |f| seconds(f.lag)),
    feed("feed_lag_peak_seconds", Gauge, "The greatest of that.", |f| seconds(f.lag_peak)),
    Family { name: "feed_latency_seconds", kind: Histogram, labels: FEED, numbers: Numbers::FeedLatency,
        help: "From the arrival of a frame at the batcher to its way out of the un-batcher." },
    feed("feed_last_inference_age_seconds", Gauge, "Time since a frame was inferred. Absent before the first.", |f| f.last_inference_age.and_then(seconds)),
    feed("feed_last_record_age_seconds", Gauge, "Time since a record was handed out. Absent before the first.", |f| f.last_record_age.and_then(seconds)),
    feed("feed_records_total", Counter, "Records that were handed out.", |f| count(f.records)),
    feed("feed_records_lost_total", Counter, "Records that were lost for a full queue or a consumer that failed.", |f| count(f.records_lost)),
    feed_each("feed_queue_level", Gauge, FEED_QUEUE, "How many frames or records are in a queue.", |f| f.queues.iter().map(|q| (q.name.clone(), q.level as f64)).collect()),
    feed_each("feed_queue_capacity", Gauge, FEED_QUEUE, "How many fit in it.", |f| f.queues.iter().map(|q| (q.name.clone(), q.capacity as f64)).collect()),

    engine("engine_up", Gauge, "1 while the engine takes frames (ok or degraded), else 0.", |e| flag(matches!(e.state.as_str(), "ok" | "degraded"))),
    engine_each("engine_state", Gauge, ENGINE_STATE, "1 for the state of the engine: closed, ok, degraded or failed. 0 for the others.", |e| ENGINE_STATES.map(|state| one_of(state, &e.state)).into()),
    engine_each("engine_info", Gauge, ENGINE_PROVIDER, "Always 1. What runs the model.", |e| vec![(e.provider.clone(), 1.0)]),
    engine("engine_batches_total", Counter, "Batches with frames to infer.", |e| count(e.batches.batches)),
    engine("engine_batch_frames_total", Counter, "Frames to infer in these.", |e| count(e.batches.frames)),
    engine_each("engine_batch_closes_total", Counter, ENGINE_REASON, "Batches, by why they closed.", |e| reasons(&e.batches.closes)),
    engine("engine_batch_carried_total", Counter, "Frames in batches of any kind, with those that only ride along.", |e| count(e.batches.carried)),
    engine("engine_batch_wait_seconds_total", Counter, "Time that all of these waited for their batch.", |e| seconds(e.batches.wait)),
    engine("engine_runs_total", Counter, "Runs of the model.", |e| count(e.runs)),
    engine("engine_busy_seconds_total", Counter, "Time in these, all together.", |e| seconds(e.busy)),
    engine("engine_inferred_total", Counter, "Frames, or objects, with a result.", |e| count(e.inferred)),
    engine("engine_failed_total", Counter, "Frames, or objects, that could not be inferred.", |e| count(e.failed)),
    engine("engine_errors_total", Counter, "Runs that failed.", |e| count(e.errors)),
    engine("engine_timeouts_total", Counter, "Runs without an answer in time.", |e| count(e.timeouts)),
    engine("engine_rebuilds_total", Counter, "Engines that replaced one that did not answer.", |e| count(e.rebuilds)),

    output("output_feeds", Gauge, "Feeds that write to the output now.", |o| count(o.feeds)),
    output("output_records_total", Counter, "Records that were written, or handed out.", |o| count(o.written)),
    output("output_bytes_total", Counter, "Bytes of these.", |o| count(o.bytes)),
    output("output_lost_total", Counter, "Records that were lost for a failed write, or for a full queue before it.", |o| count(o.lost)),
    output("output_lagging", Gauge, "1 if records were lost in the last 10 seconds.", |o| flag(o.lagging)),
    output("output_queue_level", Gauge, "Records that wait for the output, all feeds together.", |o| count(o.queued)),
    output("output_queue_capacity", Gauge, "How many may.", |o| count(o.capacity)),
    output("output_rotations_total", Counter, "Files that were begun because the one before was full.", |o| count(o.rotations)),
];

/// A count as Prometheus has all numbers; whole up to 2^53.
const fn count(number: u64) -> Option<f64> {
    Some(number as f64)
}

/// Nothing for the zero that stands for "not known".
fn known(number: u64) -> Option<f64> {
    (number != 0).then_some(number as f64)
}

const fn seconds(nanos: u64) -> Option<f64> {
    Some(nanos as f64 / 1e9)
}

const fn flag(yes: bool) -> Option<f64> {
    Some(if yes { 1.0 } else { 0.0 })
}

/// One of a set of states.
fn one_of(state: &str, current: &str) -> (String, f64) {
    (state.to_owned(), if state == current { 1.0 } else { 0.0 })
}

fn reasons(counts: &BTreeMap<String, u64>) -> Each {
    counts.iter().map(|(reason, &count)| (reason.clone(), count as f64)).collect()
}

fn phases(snapshot: &Snapshot) -> Each {
    PHASES.map(|(phase, name)| (name.to_owned(), if phase == snapshot.phase { 1.0 } else { 0.0 })).into()
}

fn feeds(snapshot: &Snapshot) -> Each {
    let in_state = |state| snapshot.feeds.iter().filter(|feed| feed.state == state).count() as f64;
    FeedState::ALL.map(|state| (state.as_str().to_owned(), in_state(state))).into()
}
