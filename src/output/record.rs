//! The record of one frame.

use super::{AttributeRecord, EmbeddingForm, EmbeddingRecord, FrameFacts, Lost, Status, WallTimeSource};
use crate::health::redact;
use crate::vision::Size;
use serde::Serialize;

/// Version of the record. Fields are only ever added under one version.
pub const SCHEMA: &str = "nv-record/1";

/// Longest label, feed name, model name and the like, in bytes.
pub const MAX_LABEL_BYTES: usize = 256;

/// Longest error text, in bytes.
pub const MAX_ERROR_BYTES: usize = 1024;

const ELLIPSIS: &str = "…";

/// `text`, cut at a character to at most `max_bytes` bytes; a cut text ends in an ellipsis.
#[must_use]
pub fn bounded_text(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max_bytes.saturating_sub(ELLIPSIS.len()));
    let (kept, _) = text.split_at(end);
    format!("{kept}{ELLIPSIS}")
}

/// A rectangle in pixels of the frame, from its top left corner; at most three decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PixelBox {
    /// Left side.
    pub x: f64,
    /// Top side.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// A rectangle as parts of the frame, `0..=1`; at most six decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NormalizedBox {
    /// Left side.
    pub x_min: f64,
    /// Top side.
    pub y_min: f64,
    /// Right side.
    pub x_max: f64,
    /// Bottom side.
    pub y_max: f64,
}

/// What a tracker says about a detection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrackMark {
    /// The identity.
    pub id: i64,
    /// The state of the track, if the tracker says it.
    pub state: Option<String>,
    /// Frames since it was first seen.
    pub age: Option<u32>,
    /// Pixels of the frame a second.
    pub speed: Option<f64>,
    /// Degrees, 0 is to the right, 90 down.
    pub direction: Option<f64>,
    /// Whether it stands still.
    pub stationary: Option<bool>,
}

/// One detection of a record. Made by [`DetectionRecord::new`] only, so its numbers are finite.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct DetectionRecord {
    /// Name of the class.
    pub label: String,
    /// Number of the class; `None` for regions that other elements attached without one.
    pub label_id: Option<u32>,
    /// How sure the model is, `0..=1`; `None` for regions without one.
    pub confidence: Option<f64>,
    /// Where it is, in pixels, inside the frame.
    #[serde(rename = "box")]
    pub box_in_frame: PixelBox,
    /// The same as parts of the frame; all zero if the size of the frame is unknown.
    pub box_normalized: NormalizedBox,
    /// Named points in pixels of the frame, `[x, y]` each; empty if the model has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub landmarks: Vec<[f64; 2]>,
    /// Identity over time, if a tracker gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_id: Option<i64>,
    /// State of the track, if a tracker said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_state: Option<String>,
    /// Frames since the track was first seen, if a tracker said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_age: Option<u32>,
    /// How fast it moves, in pixels of the frame a second, if a tracker said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_speed: Option<f64>,
    /// Where to, in degrees, 0 to the right and 90 down, if a tracker said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_direction: Option<f64>,
    /// Whether it stands still, if a tracker said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_stationary: Option<bool>,
    /// What classifiers say about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeRecord>,
    /// The vectors other models give for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<EmbeddingRecord>,
    /// Which of the record's detections it was found in, from zero, if it was found in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
}

impl DetectionRecord {
    /// The record of a region of `frame`; `corners_in_frame` are its left, top, right and bottom sides
    /// in pixels.
    ///
    /// The region is clamped into the frame, unless the frame's size is unknown (zero). `None` if a
    /// number is not finite.
    #[must_use]
    pub fn new(label: &str, frame: Size, corners_in_frame: [f64; 4]) -> Option<Self> {
        if !corners_in_frame.iter().all(|side| side.is_finite()) {
            return None;
        }
        let [left, top, right, bottom] = corners_in_frame;
        let (left, right) = span(left, right, frame.width);
        let (top, bottom) = span(top, bottom, frame.height);
        Some(Self {
            label: bounded_text(label, MAX_LABEL_BYTES),
            label_id: None,
            confidence: None,
            box_in_frame: PixelBox {
                x: rounded(left, 3),
                y: rounded(top, 3),
                width: rounded(right - left, 3),
                height: rounded(bottom - top, 3),
            },
            box_normalized: NormalizedBox {
                x_min: part(left, frame.width),
                y_min: part(top, frame.height),
                x_max: part(right, frame.width),
                y_max: part(bottom, frame.height),
            },
            landmarks: Vec::new(),
            track_id: None,
            track_state: None,
            track_age: None,
            track_speed: None,
            track_direction: None,
            track_stationary: None,
            attributes: Vec::new(),
            embeddings: Vec::new(),
            parent: None,
        })
    }

    /// With the class number and the confidence, clamped to `0..=1`; `None` if it is not a number.
    #[must_use]
    pub fn with_class(mut self, label_id: Option<u32>, confidence: Option<f64>) -> Option<Self> {
        if confidence.is_some_and(f64::is_nan) {
            return None;
        }
        self.label_id = label_id;
        self.confidence = confidence.map(|confidence| rounded(confidence.clamp(0.0, 1.0), 6));
        Some(self)
    }

    /// With named points in pixels of the frame; `None` if one is not finite.
    #[must_use]
    pub fn with_landmarks(mut self, points: impl IntoIterator<Item = [f64; 2]>) -> Option<Self> {
        self.landmarks = points.into_iter().map(|[x, y]| [rounded(x, 3), rounded(y, 3)]).collect();
        self.landmarks.iter().flatten().all(|value| value.is_finite()).then_some(self)
    }

    /// With what other models say about it.
    #[must_use]
    pub fn with_attributes(
        mut self,
        attributes: Vec<AttributeRecord>,
        embeddings: Vec<EmbeddingRecord>,
    ) -> Self {
        (self.attributes, self.embeddings) = (attributes, embeddings);
        self
    }

    /// With its vectors in this form, or without them.
    pub(super) fn set_embeddings(&mut self, form: Option<EmbeddingForm>) {
        match form {
            Some(form) => self.embeddings.iter_mut().for_each(|embedding| embedding.form = form),
            None => self.embeddings = Vec::new(),
        }
    }

    /// With the number of the detection it was found in.
    #[must_use]
    pub const fn with_parent(mut self, parent: Option<u32>) -> Self {
        self.parent = parent;
        self
    }

    /// With what the tracker said, if anything; without a speed or a direction that cannot be one.
    #[must_use]
    pub fn with_track(mut self, track: Option<TrackMark>) -> Self {
        if let Some(TrackMark { id, state, age, speed, direction, stationary }) = track {
            let shown = |value: Option<f64>, most: f64| {
                value.filter(|value| (0.0..=most).contains(value)).map(|value| rounded(value, 3))
            };
            self.track_id = Some(id);
            (self.track_age, self.track_stationary) = (age, stationary);
            (self.track_speed, self.track_direction) = (shown(speed, f64::MAX), shown(direction, 360.0));
            self.track_state = state.map(|state| bounded_text(&state, MAX_LABEL_BYTES));
        }
        self
    }
}

/// Two sides in order and inside `0..=limit`; a limit of zero is unknown and limits nothing but the sum.
fn span(low: f64, high: f64, limit: u32) -> (f64, f64) {
    // Beyond this a difference of two sides could overflow; no frame is that large.
    const FAR: f64 = 1e12;
    let (min, max) = if limit == 0 { (-FAR, FAR) } else { (0.0, f64::from(limit)) };
    let low = low.clamp(min, max);
    (low, high.clamp(low, max))
}

fn part(side: f64, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { rounded(side / f64::from(whole), 6) }
}

/// `value` to so many decimals; a value too large to have any stays as it is.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    let scaled = (value * scale).round();
    // Adding zero turns -0 into 0.
    if scaled.is_finite() { scaled / scale + 0.0 } else { value }
}

/// Where the frame was in its batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BatchPlace {
    /// Number of the batch.
    pub id: u64,
    /// Frames to infer in the batch.
    pub size: u32,
    /// Position of this frame, from zero.
    pub slot: u32,
    /// Why the batch closed.
    pub close_reason: Option<String>,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageResult {
    /// Done.
    Ok,
    /// Did not take place.
    Skipped,
    /// Failed.
    Failed,
    /// Was given up after waiting too long.
    Timeout,
}

impl StageResult {
    /// The name used in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
        }
    }
}

/// One step on the frame's way. Times in nanoseconds of the process's monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// `batch-wait`, `queue`, `inference` or `hand-back`.
    pub stage: &'static str,
    /// When it began.
    pub start: Option<u64>,
    /// When it ended.
    pub end: Option<u64>,
    /// How it ended.
    pub result: StageResult,
}

/// The frame's way through the pipeline. Times in nanoseconds of the process's monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provenance {
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
    /// The steps between those, in order; empty if none of the times is known.
    pub stages: Vec<Stage>,
}

impl Provenance {
    fn of<T>(facts: &FrameFacts<T>) -> Self {
        let &FrameFacts { arrival, batched, inference_start, inference_end, delivered, status, .. } = facts;
        let happened =
            |time: Option<u64>| if time.is_some() { StageResult::Ok } else { StageResult::Skipped };
        let queue = match (status, inference_start) {
            (Status::Timeout, None) => StageResult::Timeout,
            (_, started) => happened(started),
        };
        let inference = match status {
            Status::Inferred => StageResult::Ok,
            Status::Failed => StageResult::Failed,
            Status::Timeout if inference_start.is_some() => StageResult::Timeout,
            Status::Timeout | Status::Skipped | Status::Passed => StageResult::Skipped,
        };
        let stages = vec![
            Stage { stage: "batch-wait", start: arrival, end: batched, result: happened(batched) },
            Stage { stage: "queue", start: batched, end: inference_start, result: queue },
            Stage { stage: "inference", start: inference_start, end: inference_end, result: inference },
            Stage { stage: "hand-back", start: inference_end, end: delivered, result: happened(delivered) },
        ];
        let known = [arrival, batched, inference_start, inference_end, delivered].iter().any(Option::is_some);
        let stages = if known { stages } else { Vec::new() };
        Self { arrival, batched, inference_start, inference_end, delivered, stages }
    }
}

/// Stream time of a frame, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameTime {
    /// Presentation time stamp.
    pub pts: Option<u64>,
    /// Running time: the pipeline's clock time at which the frame is due.
    pub running_time: Option<u64>,
}

/// What one frame became. `docs/records.md` has every field.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Number of the feed.
    pub feed: u32,
    /// Name of the feed.
    pub feed_id: String,
    /// Number of the frame in its feed.
    pub seq: u64,
    /// Rises each time the feed reconnects.
    pub session: u32,
    /// Presentation time stamp in nanoseconds.
    pub pts: Option<u64>,
    /// Running time in nanoseconds.
    pub running_time: Option<u64>,
    /// Wall clock of the frame, microseconds since the Unix epoch.
    pub wall_time_us: Option<u64>,
    /// Where the wall clock comes from; `None` if there is none.
    pub wall_time_source: Option<WallTimeSource>,
    /// What became of the frame.
    pub status: Status,
    /// Why it failed.
    pub error: Option<String>,
    /// Width of the frame in pixels; zero if unknown.
    pub width: u32,
    /// Height of the frame in pixels; zero if unknown.
    pub height: u32,
    /// What was found on it.
    pub detections: Vec<DetectionRecord>,
    /// Name of the model.
    pub model: Option<String>,
    /// Name of the execution provider.
    pub provider: Option<String>,
    /// Its place in its batch; `None` if it was in none.
    pub batch: Option<BatchPlace>,
    /// Its way through the pipeline.
    pub provenance: Provenance,
    /// What was lost since the previous record of this feed; filled in by [`super::Backlog`].
    pub lost: Lost,
}

impl Record {
    /// The record of a frame of size `frame`. Strings are cut to [`MAX_LABEL_BYTES`], the error to
    /// [`MAX_ERROR_BYTES`], without credentials: the facts may be of another vendor's element.
    #[must_use]
    pub fn new(facts: FrameFacts, time: FrameTime, frame: Size, detections: Vec<DetectionRecord>) -> Self {
        Self::of(&facts, time, frame, detections)
    }

    /// The same, of facts that are borrowed.
    #[must_use]
    pub fn of<T: AsRef<str>>(
        facts: &FrameFacts<T>,
        time: FrameTime,
        frame: Size,
        detections: Vec<DetectionRecord>,
    ) -> Self {
        let provenance = Provenance::of(facts);
        let batch = (facts.batch_size > 0).then(|| BatchPlace {
            id: facts.batch_id,
            size: facts.batch_size,
            slot: facts.batch_slot,
            close_reason: named(facts.close_reason.as_ref()),
        });
        Self {
            schema: SCHEMA,
            feed: facts.feed,
            feed_id: shown_text(facts.feed_id.as_ref(), MAX_LABEL_BYTES),
            seq: facts.seq,
            session: facts.session,
            pts: time.pts,
            running_time: time.running_time,
            wall_time_us: facts.wall_time_us,
            wall_time_source: facts.wall_time_us.map(|_| facts.wall_time_source),
            status: facts.status,
            error: facts.error.as_ref().map(|error| shown_text(error.as_ref(), MAX_ERROR_BYTES)),
            width: frame.width,
            height: frame.height,
            detections,
            model: named(facts.model.as_ref()),
            provider: named(facts.provider.as_ref()),
            batch,
            provenance,
            lost: Lost::default(),
        }
    }

    /// With the vectors of its detections in this form; `None` takes them off.
    #[must_use]
    pub fn with_embeddings(mut self, form: Option<EmbeddingForm>) -> Self {
        self.detections.iter_mut().for_each(|found| found.set_embeddings(form));
        self
    }
}

fn named(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| shown_text(name, MAX_LABEL_BYTES))
}

/// `text` without credentials, cut to `max_bytes`.
fn shown_text(text: &str, max_bytes: usize) -> String {
    bounded_text(&redact(text), max_bytes)
}

#[cfg(test)]
mod tests;
