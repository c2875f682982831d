//! From what the elements know of a frame to its [`FrameFacts`].

use crate::health::redact;
use crate::meta::batch::{Frame, Label, Verdict};
use crate::output::{FrameFacts, Status, WallTimeSource};
use crate::time::Monotonic;

/// The facts of a frame that came in a batch.
pub(super) fn of_frame(frame: &Frame, label: Option<Label>, delivered: Monotonic) -> FrameFacts {
    let (status, error, model, provider, ran) = match &frame.verdict {
        Some(verdict) => parts(verdict),
        None if frame.infer => (Status::Passed, None, String::new(), String::new(), None),
        None => (Status::Skipped, None, String::new(), String::new(), None),
    };
    FrameFacts {
        feed_id: frame.feed.name.to_string(),
        feed: frame.feed.id.0,
        seq: frame.seq,
        session: frame.feed.session,
        status,
        error,
        batch_id: label.map_or(0, |label| label.id),
        batch_size: label.map_or(0, |label| label.size),
        batch_slot: frame.slot,
        close_reason: label.map_or_else(String::new, |label| label.reason.as_str().to_owned()),
        model,
        provider,
        arrival: Some(frame.arrival.as_nanos()),
        batched: label.map(|label| label.closed.as_nanos()),
        inference_start: ran.map(|(start, _)| start.as_nanos()),
        inference_end: ran.map(|(_, end)| end.as_nanos()),
        delivered: Some(delivered.as_nanos()),
        wall_time_us: Some(frame.wall.micros),
        wall_time_source: if frame.wall.from_reference {
            WallTimeSource::Reference
        } else {
            WallTimeSource::Arrival
        },
    }
}

/// The facts of a frame of a plain video stream: a batch of one, closed when it came.
pub(super) fn of_plain(
    feed: &str,
    seq: u64,
    arrival: Monotonic,
    wall_us: u64,
    verdict: Verdict,
    delivered: Monotonic,
) -> FrameFacts {
    let (status, error, model, provider, ran) = parts(&verdict);
    FrameFacts {
        feed_id: redact(feed).into_owned(),
        feed: 0,
        seq,
        session: 0,
        status,
        error,
        batch_id: seq + 1,
        batch_size: 1,
        batch_slot: 0,
        close_reason: crate::batch::CloseReason::Full.as_str().to_owned(),
        model,
        provider,
        arrival: Some(arrival.as_nanos()),
        batched: Some(arrival.as_nanos()),
        inference_start: ran.map(|(start, _)| start.as_nanos()),
        inference_end: ran.map(|(_, end)| end.as_nanos()),
        delivered: Some(delivered.as_nanos()),
        wall_time_us: Some(wall_us),
        wall_time_source: WallTimeSource::Arrival,
    }
}

type Parts = (Status, Option<String>, String, String, Option<(Monotonic, Monotonic)>);

fn parts(verdict: &Verdict) -> Parts {
    let error = verdict.error.as_ref().map(ToString::to_string);
    (verdict.status, error, verdict.model.to_string(), verdict.provider.to_string(), verdict.ran)
}
