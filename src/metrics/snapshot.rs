//! [`Snapshot`]: everything that is known of a runtime at one moment.
//!
//! Times are in nanoseconds, rates in frames a second, sizes in bytes. Counters only rise while the runtime lives; a
//! restarted feed goes on counting, a removed one is counted on in [`Snapshot::removed`].

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Upper bounds of the buckets of latencies, in seconds; one more bucket has all above.
pub const LATENCY_BOUNDS: [f64; 12] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Where the runtime stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Models load, or it is not in PLAYING.
    #[default]
    Starting,
    /// It plays.
    Running,
    /// It takes no more feeds and delivers what is on its way.
    Draining,
    /// It is over.
    Stopped,
}

/// Where a feed stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedState {
    /// Not started.
    #[default]
    Idle,
    /// There is a source, and no frame yet.
    Connecting,
    /// Frames come.
    Running,
    /// Frames have stopped coming, the source still stands.
    Stalled,
    /// No source until the delay is over.
    BackingOff,
    /// Nothing is wanted for now.
    Paused,
    /// It has given all it had.
    Ended,
    /// It was given up, or one of its elements failed; only a restart brings it back.
    Failed,
}

impl FeedState {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Connecting,
        Self::Running,
        Self::Stalled,
        Self::BackingOff,
        Self::Paused,
        Self::Ended,
        Self::Failed,
    ];

    /// The name of the state, as everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Running => "running",
            Self::Stalled => "stalled",
            Self::BackingOff => "backing-off",
            Self::Paused => "paused",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Whether anything may come of it without a restart.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        !matches!(self, Self::Ended | Self::Failed)
    }
}

/// What became of frames. `received = delivered + dropped + failed + in_flight` at any moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ledger {
    /// Frames that came to the batcher.
    pub received: u64,
    /// Frames that left the un-batcher.
    pub delivered: u64,
    /// Frames that did not, all reasons together.
    pub dropped: u64,
    /// Frames that were dropped because they could not be inferred, all reasons together.
    pub failed: u64,
    /// Frames on their way.
    pub in_flight: u64,
    /// Of these, frames that wait for a batch.
    pub queued: u64,
    /// `dropped`, by reason.
    pub dropped_by_reason: BTreeMap<String, u64>,
    /// `failed`, by reason.
    pub failed_by_reason: BTreeMap<String, u64>,
}

impl Ledger {
    /// Whether every frame is accounted for.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.received == self.delivered + self.dropped + self.failed + self.in_flight
            && self.dropped == self.dropped_by_reason.values().sum::<u64>()
            && self.failed == self.failed_by_reason.values().sum::<u64>()
    }
}

/// What the source of a feed has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Source {
    /// What it is connected to, without credentials.
    pub uri: String,
    /// Frames that were decoded.
    pub received: u64,
    /// Frames that went on to the batcher.
    pub delivered: u64,
    /// Frames that did not, by reason.
    pub dropped_by_reason: BTreeMap<String, u64>,
    /// How often it was connected.
    pub connections: u64,
    /// How often it was lost.
    pub outages: u64,
    /// How often it was made anew for broken data, at its end, or because somebody wanted it.
    pub restarts: u64,
    /// How often it began again at its end.
    pub loops: u64,
    /// Name of the decoder; empty if there is none.
    pub decoder: String,
    /// Whether that is hardware.
    pub hardware: bool,
    /// Width of its frames in pixels; 0 before the first.
    pub width: u32,
    /// Height of its frames in pixels; 0 before the first.
    pub height: u32,
}

/// How full a queue is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Queue {
    /// Which: `batcher` (frames that wait for a batch), `engine` (frames from the batch to the way out) or `records`.
    pub name: String,
    /// How many are in it.
    pub level: u64,
    /// How many fit.
    pub capacity: u64,
}

/// A distribution of times. Not cumulative: each bucket has its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Histogram {
    /// How many fell into each of [`LATENCY_BOUNDS`], and above the last.
    pub buckets: [u64; LATENCY_BOUNDS.len() + 1],
    /// The sum of all, in seconds.
    pub sum: f64,
}

/// A feed in one interval of the recent past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sample {
    /// Frames that came, a second.
    pub fps_in: f64,
    /// Frames that left, a second.
    pub fps_out: f64,
    /// The state at the end of the interval.
    pub state: FeedState,
}

/// One feed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Feed {
    /// Its number, which no other feed of the runtime ever has.
    pub id: u32,
    /// Its name.
    pub feed_id: String,
    /// The group it is in.
    pub group: String,
    /// Whether anything may come of it without a restart.
    pub alive: bool,
    /// Whether somebody has paused it.
    pub paused: bool,
    /// Where it stands.
    pub state: FeedState,
    /// For how long it has.
    pub state_for: u64,
    /// Why it last failed or stopped, as one word; empty if it never did.
    pub reason: String,
    /// The same, for people.
    pub detail: String,
    /// Number of its session, as in its last record.
    pub session: u32,
    /// Time since the session began; 0 between sessions.
    pub uptime: u64,
    /// Frames that came from the source, a second.
    pub fps_in: f64,
    /// Frames that left the un-batcher, a second.
    pub fps_out: f64,
    /// What became of its frames from the batcher on.
    pub ledger: Ledger,
    /// Its source.
    pub source: Source,
    /// How late the last frame was.
    pub lag: u64,
    /// The greatest of that.
    pub lag_peak: u64,
    /// Its queues.
    pub queues: Vec<Queue>,
    /// The model of its last inferred frame; empty before the first.
    pub model: String,
    /// Time since a frame of it was inferred; `None` before the first.
    pub last_inference_age: Option<u64>,
    /// Time since a record of it was handed out; `None` before the first.
    pub last_record_age: Option<u64>,
    /// Records handed out.
    pub records: u64,
    /// Records lost for a full queue or a consumer that failed.
    pub records_lost: u64,
    /// From a frame's arrival at the batcher to its way out of the un-batcher.
    pub latency: Histogram,
    /// The recent past, oldest first, one a second.
    pub history: Vec<Sample>,
}

/// Why the batches of an engine closed, and how long frames waited for that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BatchCounts {
    /// Batches with frames to infer.
    pub batches: u64,
    /// Frames to infer in them.
    pub frames: u64,
    /// Frames to infer in a batch, on average.
    pub mean_size: f64,
    /// Part of the places in batches that frames took, 0 to 1.
    pub fill_ratio: f64,
    /// Batches by why they closed.
    pub closes: BTreeMap<String, u64>,
    /// Frames in batches of any kind, with those that only ride along to keep their place.
    pub carried: u64,
    /// Time that all of these waited for their batch.
    pub wait: u64,
}

/// One engine: a model as a group of feeds uses it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Engine {
    /// The group of feeds.
    pub group: String,
    /// The model.
    pub model: String,
    /// What runs it.
    pub provider: String,
    /// How its outputs are read.
    pub decoder: String,
    /// `ok`, `degraded`, `failed`, or `closed` before it is loaded.
    pub state: String,
    /// Its batches; zeros for a model that is asked about objects.
    pub batches: BatchCounts,
    /// Runs of the model.
    pub runs: u64,
    /// Time in these, all together.
    pub busy: u64,
    /// Frames, or objects, with a result.
    pub inferred: u64,
    /// Frames, or objects, that could not be inferred.
    pub failed: u64,
    /// Runs that failed.
    pub errors: u64,
    /// Runs without an answer in time.
    pub timeouts: u64,
    /// Engines that replaced one that did not answer.
    pub rebuilds: u64,
    /// What it last said went wrong; empty if nothing ever did.
    pub last_error: String,
}

/// One output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Output {
    /// Its name.
    pub name: String,
    /// `file`, `stdout` or `appsink`.
    pub kind: String,
    /// Feeds that write to it now.
    pub feeds: u64,
    /// Records that wait for it, all feeds together.
    pub queued: u64,
    /// Records that may.
    pub capacity: u64,
    /// Records written, or handed out.
    pub written: u64,
    /// Bytes of these; 0 for `appsink`.
    pub bytes: u64,
    /// Records lost for a failed write, or for a full queue before it.
    pub lost: u64,
    /// Whether records were lost in the last 10 s.
    pub lagging: bool,
    /// Files begun because the one before was full.
    pub rotations: u64,
    /// What last went wrong; empty if nothing ever did.
    pub last_error: String,
}

/// Everything that is known of a runtime at one moment. Each feed's ledger is exact; feeds are looked at one after
/// another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Name and version of this form: `nv-status/1`.
    pub schema: String,
    /// Name of the runtime.
    pub name: String,
    /// Version of the plugin.
    pub version: String,
    /// When this was, as wall clock, in microseconds since 1970.
    pub wall_time_us: u64,
    /// Time since it was started.
    pub uptime: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Most feeds that may be alive at a time.
    pub max_feeds: u32,
    /// The feeds, by id.
    pub feeds: Vec<Feed>,
    /// The engines, by group and their order in it.
    pub engines: Vec<Engine>,
    /// The outputs, in the order of the site file.
    pub outputs: Vec<Output>,
    /// The frames of feeds that are not there any more.
    pub removed: Ledger,
    /// How many feeds are not there any more.
    pub removed_feeds: u64,
    /// Threads that did not end in time and were let go of.
    pub detached_threads: u64,
    /// Most memory that frames on their way can take, in bytes; 0 before their size is known.
    pub memory_bound: u64,
    /// Memory of the process, in bytes; 0 if the system does not tell.
    pub resident: u64,
    /// Threads of the process; 0 if the system does not tell.
    pub threads: u64,
    /// How often the configuration was read again and applied.
    pub reloads: u64,
    /// What was wrong with it the last time; empty if nothing.
    pub reload_error: String,
}

impl Snapshot {
    /// The name and version of this form.
    pub const SCHEMA: &str = "nv-status/1";
}
