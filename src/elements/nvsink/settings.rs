//! What the user can set.

use super::imp::NvSink;
use crate::elements::{lock, shown};
use crate::output::{self, EmbeddingForm};
use std::time::Duration;

/// Default of `queue-capacity`, in records.
pub(super) const DEFAULT_QUEUE_CAPACITY: u32 = 16;
/// Default of `shutdown-timeout`.
pub(super) const DEFAULT_SHUTDOWN_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(5);
/// Default of `sample-interval`, in frames.
pub(super) const DEFAULT_SAMPLE_INTERVAL: u32 = 30;
/// Default of `target-fps`, in frames a second.
pub(super) const DEFAULT_TARGET_FPS: f64 = 1.0;
/// Largest `target-fps`, in frames a second.
pub(super) const MAX_TARGET_FPS: f64 = 1000.0;

/// What a full queue does with the next record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvSinkOverflow")]
pub enum Overflow {
    /// The new record goes.
    #[default]
    #[enum_value(name = "Drop newest: the queue keeps what it has", nick = "drop-newest")]
    DropNewest,
    /// The oldest record goes.
    #[enum_value(name = "Drop oldest: the queue keeps the latest records", nick = "drop-oldest")]
    DropOldest,
    /// Nothing goes: the pipeline waits.
    #[enum_value(name = "Block: hold up the pipeline until there is room", nick = "block")]
    Block,
}

impl From<Overflow> for output::Overflow {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::DropNewest => Self::DropNewest,
            Overflow::DropOldest => Self::DropOldest,
            Overflow::Block => Self::Block,
        }
    }
}

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvSinkFormat")]
pub enum Format {
    /// Lines of JSON.
    #[default]
    #[enum_value(name = "JSON: one line per frame, in the file of the property location", nick = "json")]
    Json,
    /// Nothing.
    #[enum_value(name = "None: no line is made and no file is opened; records are handed out", nick = "none")]
    None,
}

/// Which frames the signal hands out with their pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvSinkFrameInclusion")]
pub enum FrameInclusion {
    /// Each.
    #[default]
    #[enum_value(name = "Always: each frame", nick = "always")]
    Always,
    /// None.
    #[enum_value(name = "Never: no frame", nick = "never")]
    Never,
    /// Each N-th.
    #[enum_value(name = "Sampled: every sample-interval-th frame of a feed", nick = "sampled")]
    Sampled,
    /// So many a second.
    #[enum_value(name = "Target fps: target-fps frames a second of each feed, evenly", nick = "target-fps")]
    TargetFps,
}

/// Whether vectors stand in records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvSinkEmbeddings")]
pub enum Embeddings {
    /// They do not.
    #[default]
    #[enum_value(name = "None: records have no vectors", nick = "none")]
    None,
    /// As base64.
    #[enum_value(name = "Base64: f32, little-endian, in base64", nick = "base64")]
    Base64,
    /// As numbers.
    #[enum_value(name = "List: numbers", nick = "list")]
    List,
}

impl From<Embeddings> for Option<EmbeddingForm> {
    fn from(embeddings: Embeddings) -> Self {
        match embeddings {
            Embeddings::None => None,
            Embeddings::Base64 => Some(EmbeddingForm::Base64),
            Embeddings::List => Some(EmbeddingForm::List),
        }
    }
}

/// What records of frames to come are to contain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) frames: output::FrameInclusion,
    pub(super) embeddings: Option<EmbeddingForm>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) location: Option<String>,
    pub(super) queue_capacity: u32,
    pub(super) overflow: Overflow,
    pub(super) shutdown_timeout: u64,
    pub(super) format: Format,
    pub(super) frame_inclusion: FrameInclusion,
    pub(super) sample_interval: u32,
    pub(super) target_fps: f64,
    pub(super) embeddings: Embeddings,
}

impl NvSink {
    pub(super) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    /// What the next record is to contain; no copy of any text.
    pub(super) fn content(&self) -> Content {
        lock(&self.settings).content()
    }

    /// The property `location`, as it may be shown.
    pub(super) fn shown_location(&self) -> Option<String> {
        shown(self.settings().location.as_deref())
    }
}

impl Settings {
    pub(super) const fn shutdown_timeout(&self) -> Duration {
        Duration::from_nanos(self.shutdown_timeout)
    }

    /// The file to write, if one is asked for.
    pub(super) fn file(&self) -> Option<&str> {
        let location = self.location.as_deref().filter(|location| !location.is_empty());
        location.filter(|_| self.format == Format::Json)
    }

    fn content(&self) -> Content {
        let frames = match self.frame_inclusion {
            FrameInclusion::Always => output::FrameInclusion::Always,
            FrameInclusion::Never => output::FrameInclusion::Never,
            FrameInclusion::Sampled => output::FrameInclusion::sampled(self.sample_interval),
            FrameInclusion::TargetFps => output::FrameInclusion::target_fps(self.target_fps),
        };
        Content { frames, embeddings: self.embeddings.into() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            location: None,
            queue_capacity: DEFAULT_QUEUE_CAPACITY,
            overflow: Overflow::default(),
            shutdown_timeout: DEFAULT_SHUTDOWN_TIMEOUT.nseconds(),
            format: Format::default(),
            frame_inclusion: FrameInclusion::default(),
            sample_interval: DEFAULT_SAMPLE_INTERVAL,
            target_fps: DEFAULT_TARGET_FPS,
            embeddings: Embeddings::default(),
        }
    }
}
