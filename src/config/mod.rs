//! Site files: which feeds, models and outputs a runtime has.
//!
//! [`Site::parse`] reads one, or says all that is wrong with it, with lines and keys. [`diff()`] says what is to be
//! done to get from one site to another, [`plan()`] says for people what would run.
//!
//! | file | has |
//! |---|---|
//! | `mod.rs` | a site as the runtime sees it: checked, complete, paths made absolute |
//! | `choice.rs`, `value.rs` | the values in it |
//! | `raw.rs`, `schema.rs` | a site as the file has it; the JSON Schema of it |
//! | `parse.rs`, `place.rs`, `problem.rs` | from text to tables, and where something stands in it |
//! | `validate.rs`, `feed.rs`, `output.rs` | what a table must be, and what it means |
//! | `diff.rs`, `plan.rs` | two sites compared; one in words |
//!
//! A value that the file leaves out is `None` where the element has a default of its own.
//!
//! Not guaranteed: that a file exists, that a variable is set, that a model can be loaded or an address be reached.
//! Nothing here opens anything. No secret is in a site, but where it is to be found; URIs may have some in their
//! query, and `Debug`, problems and plans show those that [`redact`](crate::health::redact()) knows as `***`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod choice;
mod diff;
mod feed;
mod output;
mod parse;
mod place;
mod plan;
mod problem;
mod raw;
#[cfg(feature = "testing")]
mod schema;
mod validate;
mod value;
#[cfg(any(test, feature = "testing"))]
pub mod wrong;

pub use choice::{
    Algorithm, DecodePreference, Decoder, Embeddings, OnEnd, OnError, OnFeedExit, OperateOn, OutputType,
    Overflow, Overload, Precision, Provider, TlsPolicy, Transport,
};
pub use diff::{Changes, FeedChange, diff};
pub use output::file_name;
pub use plan::plan;
pub use problem::{MOST_PROBLEMS, Problem};
#[cfg(feature = "testing")]
pub use schema::schema;
pub use value::{Secret, User};

use crate::feed::Address;
use crate::health::MASK;

/// Largest site file, in bytes.
pub const LARGEST_FILE: usize = 1024 * 1024;
/// Most feeds of a site.
pub const MOST_FEEDS: usize = 4096;
/// Most models, groups and outputs of a site, of each.
pub const MOST_OTHERS: usize = 64;

/// A whole site: what a runtime is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Limits and manners of the runtime.
    pub runtime: Runtime,
    /// When a feed is unwell, unless the feed says otherwise.
    pub health: HealthLimits,
    /// Thumbnails of feeds on the page.
    pub previews: Previews,
    /// The models, in the order of the file.
    pub models: Vec<Model>,
    /// The groups, in the order of the file.
    pub groups: Vec<Group>,
    /// The feeds, in the order of the file, those that are not enabled included.
    pub feeds: Vec<Feed>,
    /// The outputs, in the order of the file.
    pub outputs: Vec<Output>,
    /// The folder that relative paths start at.
    base: PathBuf,
    /// What feeds that are added later start from.
    defaults: raw::Defaults,
}

impl Site {
    /// Reads the site file `text`. Relative paths in it start at the folder `base`.
    ///
    /// # Errors
    ///
    /// All problems that can be told apart, by line; at most [`MOST_PROBLEMS`]. If it is not
    /// TOML, only the first.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Vec<Problem>> {
        validate::site(text, base)
    }

    /// Reads one feed: the keys of a `[[feeds]]` table without its header. It has the defaults, the health limits and,
    /// if there is one only, the group of this site. Without `id` it has an empty one.
    ///
    /// Not checked: whether the id is in use, and whether there is room for one more.
    ///
    /// # Errors
    ///
    /// As those of [`parse`](Self::parse); keys have nothing in front of them.
    pub fn feed_from_toml(&self, text: &str) -> Result<Feed, Vec<Problem>> {
        feed::from_toml(self, text)
    }

    /// The model of that name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The group of that name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The feed of that id.
    #[must_use]
    pub fn feed(&self, id: &str) -> Option<&Feed> {
        self.feeds.iter().find(|feed| feed.id == id)
    }

    /// The outputs that have the records of the feed.
    pub fn outputs_of<'a>(&'a self, feed: &'a str) -> impl Iterator<Item = &'a Output> {
        self.outputs.iter().filter(move |output| output.takes(feed))
    }
}

/// Limits and manners of a runtime.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// Most feeds at a time, 1 to [`MOST_FEEDS`].
    pub max_feeds: u32,
    /// What the end of a feed means to the others.
    pub on_feed_exit: OnFeedExit,
    /// How long feeds and outputs may take to finish.
    pub drain_timeout: Duration,
    /// A feed without a frame for so long is ended; zero is never.
    pub idle_timeout: Duration,
    /// Where the page, `/metrics` and `/health` are; `None` is nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// Whether feeds may have a pipeline of their own in place of a URI.
    pub allow_custom_pipeline: bool,
}

/// When a feed is unwell. What is `None` is as the element has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HealthLimits {
    /// Time without a frame after which a feed is stalled; zero is never.
    pub stall_timeout: Option<Duration>,
    /// Lag from which frames are late; zero is never.
    pub lag_threshold: Option<Duration>,
    /// Least frames a second; 0 is none.
    pub fps_min: Option<f64>,
}

/// Thumbnails of feeds on the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Previews {
    /// Whether there are any.
    pub enabled: bool,
    /// Their width in pixels, 64 to 1920.
    pub width: u32,
    /// Whether boxes, labels and tracks are drawn.
    pub overlay: bool,
}

/// A model. What is `None` is as the element, or the model's sidecar, has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Name, unique among models.
    pub name: String,
    /// The ONNX file.
    pub path: PathBuf,
    /// What it is asked about.
    pub operate_on: OperateOn,
    /// How its outputs are read.
    pub decoder: Option<Decoder>,
    /// What runs it.
    pub provider: Option<Provider>,
    /// Whether the CPU takes the place of a provider that is not there.
    pub allow_fallback: Option<bool>,
    /// Number of the device.
    pub device_id: Option<u32>,
    /// Numbers that TensorRT may calculate with.
    pub precision: Option<Precision>,
    /// Threads; 0 is by the machine.
    pub threads: Option<u32>,
    /// Least confidence, 0 to 1.
    pub score_threshold: Option<f64>,
    /// Overlap above which the weaker of two is dropped, 0 to 1.
    pub iou_threshold: Option<f64>,
    /// File with the name of a class in each line.
    pub labels: Option<PathBuf>,
    /// Most detections per frame.
    pub max_detections: Option<u32>,
    /// Labels of the objects it is asked about; `None` is all. No label has a comma or is empty.
    pub object_labels: Option<Vec<String>>,
    /// Least width and height of such objects, in pixels.
    pub object_min_size: Option<u32>,
    /// Least frames from one time a track is asked about to the next.
    pub reinfer_interval: Option<u32>,
    /// Longest time for a batch.
    pub response_timeout: Option<Duration>,
    /// Longest time to load and warm up.
    pub startup_timeout: Option<Duration>,
    /// Folder for what is kept for the next start.
    pub cache_dir: Option<PathBuf>,
    /// What happens to a frame that could not be inferred.
    pub on_error: Option<OnError>,
}

/// Feeds that share models and batches.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Name, unique among groups.
    pub name: String,
    /// Names of its models in the order they are asked: one at least, the first about frames, all others about objects.
    pub models: Vec<String>,
    /// Most frames in a batch.
    pub max_batch_size: Option<u32>,
    /// Longest time a frame waits for its batch to fill.
    pub max_latency: Option<Duration>,
    /// The tracker behind the first model, if there is one.
    pub tracker: Option<Tracker>,
}

/// A tracker. What is `None` is as the element has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracker {
    /// How detections and tracks are paired.
    pub algorithm: Option<Algorithm>,
    /// Frames without a detection after which a track ends.
    pub max_age: Option<u32>,
    /// Frames in a row until a track is confirmed.
    pub min_hits: Option<u32>,
    /// Frames in a row on which a missed track is still reported.
    pub coast_frames: Option<u32>,
    /// Most tracks at a time.
    pub max_tracks: Option<u32>,
    /// Whether a track has detections of one class only.
    pub class_aware: Option<bool>,
    /// Least overlap of a detection and the box of its track, 0 to 1.
    pub iou_threshold: Option<f64>,
    /// Least confidence of a detection that begins a track, 0 to 1.
    pub high_threshold: Option<f64>,
    /// Least confidence of a detection that goes on with a track, 0 to 1.
    pub low_threshold: Option<f64>,
    /// What likeness counts for against overlap, 0 to 1.
    pub appearance_weight: Option<f64>,
}

/// Where the frames of a feed come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// From that address. It has no user and no password.
    Uri(Address),
    /// From these elements, as `gst-launch-1.0` reads them. May hold anything, so it is never shown.
    CustomPipeline(String),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(address) => write!(f, "Uri({address})"),
            Self::CustomPipeline(_) => write!(f, "CustomPipeline({MASK})"),
        }
    }
}

/// A feed, with the defaults of its site. What is `None` is as the element has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// Name of the feed, unique among feeds; empty only from [`Site::feed_from_toml`].
    pub id: String,
    /// Where its frames come from.
    pub source: Source,
    /// User to authenticate as.
    pub user: Option<User>,
    /// Where the password is.
    pub password: Option<Secret>,
    /// Name of its group.
    pub group: String,
    /// Whether it is started.
    pub enabled: bool,
    /// When it is unwell: its own limits, then those of the defaults, then those of the site.
    pub health: HealthLimits,
    /// Whether a file is played at its own pace.
    pub realtime: bool,
    /// Key `loop`: whether a source that is not live begins again at its end.
    pub looped: Option<bool>,
    /// What becomes of the stream at the end of the source.
    pub on_end: Option<OnEnd>,
    /// Frames between two that are inferred.
    pub interval: Option<u32>,
    /// What a full queue does with the next frame.
    pub overload: Option<Overload>,
    /// Frames that may wait for a batch.
    pub max_size_buffers: Option<u32>,
    /// Frames that may be in batches and behind.
    pub max_in_flight: Option<u32>,
    /// What may travel unencrypted.
    pub tls_policy: Option<TlsPolicy>,
    /// File of PEM certificates whose signatures are trusted.
    pub tls_database: Option<PathBuf>,
    /// How RTP comes.
    pub transport: Option<Transport>,
    /// How long RTP packets wait for those that are late.
    pub latency: Option<Duration>,
    /// Which decoders may be used.
    pub decode_preference: Option<DecodePreference>,
    /// Delay before the first attempt after a source was lost.
    pub reconnect_base_delay: Option<Duration>,
    /// Longest delay before an attempt.
    pub reconnect_max_delay: Option<Duration>,
    /// Attempts after which the feed stops; 0 is any number.
    pub reconnect_max_attempts: Option<u32>,
    /// Restarts for data that cannot be decoded, after which the feed stops.
    pub max_restarts: Option<u32>,
    /// How long the first frame may take; zero is for ever.
    pub liveness_timeout: Option<Duration>,
    /// How long any further frame may take before the source is replaced; zero is for ever.
    pub stall_timeout: Option<Duration>,
    /// How long a connection may take to be made or to answer; zero is as long as the system waits.
    pub tcp_timeout: Option<Duration>,
    /// Widest picture, in pixels; 0 is any.
    pub max_width: Option<u32>,
    /// Highest picture, in pixels; 0 is any.
    pub max_height: Option<u32>,
    /// Highest frame rate; 0 is any.
    pub max_fps: Option<u32>,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Name, unique among outputs.
    pub name: String,
    /// Where to.
    pub kind: OutputKind,
    /// Ids of the feeds whose records go there; `None` is all.
    pub feeds: Option<Vec<String>>,
    /// Records that may wait.
    pub queue_capacity: Option<u32>,
    /// What happens to a record when so many wait.
    pub overflow: Option<Overflow>,
    /// Whether vectors stand in records, and how.
    pub embeddings: Option<Embeddings>,
}

/// The kinds of outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// JSON Lines in files.
    File {
        /// The file. With `{feed}` in it there is one for each feed: [`Output::path`].
        path: PathBuf,
        /// Size in bytes from which a new file is begun; `None` is never.
        rotate_size: Option<u64>,
        /// Most files, besides the one that is written to, that are kept.
        keep: u32,
    },
    /// JSON Lines on standard output.
    Stdout,
    /// The signal `new-output`.
    Appsink,
}

#[cfg(test)]
mod tests;
