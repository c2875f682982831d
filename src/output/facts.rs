//! What is known about one frame besides its pixels and its detections.

use serde::Serialize;

/// What became of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The model ran on it.
    Inferred,
    /// Left out on purpose: `interval`, or `pass-through` under overload.
    Skipped,
    /// No model was asked; the value for frames that no element of ours has touched.
    #[default]
    Passed,
    /// The model, or the work before or after it, failed.
    Failed,
    /// The model gave no answer in time.
    Timeout,
}

impl Status {
    /// The name used in metas, messages and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inferred => "inferred",
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
        }
    }

    /// Whether what stands on the frame was found on it: by a model of ours, or, as nobody of ours looked, by somebody
    /// else.
    #[must_use]
    pub const fn may_have_objects(self) -> bool {
        matches!(self, Self::Inferred | Self::Passed)
    }

    /// The status of that name; `None` for any other text.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Inferred, Self::Skipped, Self::Passed, Self::Failed, Self::Timeout]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// Where the wall-clock time of a frame comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WallTimeSource {
    /// The source said it: `GstReferenceTimestampMeta`.
    Reference,
    /// The clock of this machine when the frame arrived.
    #[default]
    Arrival,
}

impl WallTimeSource {
    /// The name used in metas and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Arrival => "arrival",
        }
    }

    /// The source of that name; `None` for any other text.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Reference, Self::Arrival].into_iter().find(|source| source.as_str() == name)
    }
}

/// What the meta `nv-frame` says about a frame.
///
/// Provenance times are nanoseconds on the one monotonic clock of the process; `None` means that the
/// step has not happened. `T` is the text in it: owned, or borrowed from where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameFacts<T = String> {
    /// Name of the feed; unique in the pipeline.
    pub feed_id: T,
    /// Number of the feed: the number of its batcher pad.
    pub feed: u32,
    /// Number of the frame in its feed; rises by one, never restarts within the feed's life.
    pub seq: u64,
    /// Rises each time the feed reconnects.
    pub session: u32,
    /// What became of the frame.
    pub status: Status,
    /// Why it failed; `None` unless `status` says so.
    pub error: Option<T>,
    /// Number of the batch; means something only if `batch_size` is not zero.
    pub batch_id: u64,
    /// Frames to infer in the batch; zero if the frame was in none.
    pub batch_size: u32,
    /// Position in the batch, from zero.
    pub batch_slot: u32,
    /// Why the batch closed (`full`, `all-ready`, `deadline`, `flush`, `eos`); empty if in none.
    pub close_reason: T,
    /// Name of the model; empty if none was asked.
    pub model: T,
    /// Name of the execution provider; empty if no model was asked.
    pub provider: T,
    /// When the frame arrived at the batcher.
    pub arrival: Option<u64>,
    /// When its batch closed.
    pub batched: Option<u64>,
    /// When the model started.
    pub inference_start: Option<u64>,
    /// When the model ended.
    pub inference_end: Option<u64>,
    /// When the frame was handed back to its feed.
    pub delivered: Option<u64>,
    /// Wall clock of the frame, microseconds since the Unix epoch.
    pub wall_time_us: Option<u64>,
    /// Where `wall_time_us` comes from.
    pub wall_time_source: WallTimeSource,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_statuses_and_sources_parse_back() {
        for status in [Status::Inferred, Status::Skipped, Status::Passed, Status::Failed, Status::Timeout] {
            assert_eq!(Status::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for source in [WallTimeSource::Reference, WallTimeSource::Arrival] {
            assert_eq!(WallTimeSource::parse(source.as_str()), Some(source));
            assert_eq!(serde_json::to_value(source).unwrap(), source.as_str());
        }
        assert_eq!(Status::parse("Inferred"), None);
        assert_eq!(WallTimeSource::parse(""), None);
    }
}
