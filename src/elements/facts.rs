//! From what the elements know of a frame to its [`FrameFacts`].

use crate::health::redact;
use crate::meta::batch::{Frame, Label, Verdict};
use crate::output::{FrameFacts, Status, WallTimeSource};
use crate::time::Monotonic;

/// The facts of a frame that came in a batch, borrowed from it, and the buffer they are about.
pub(super) fn of_frame(
    frame: &mut Frame,
    label: Option<Label>,
    delivered: Monotonic,
) -> (&mut gst::Buffer, FrameFacts<&str>) {
    let Frame { feed, seq, buffer, arrival, wall, infer, slot, verdict, .. } = frame;
    let (status, error, model, provider, ran) = match verdict {
        Some(verdict) => parts(verdict),
        None if *infer => (Status::Passed, None, "", "", None),
        None => (Status::Skipped, None, "", "", None),
    };
    let facts = FrameFacts {
        feed_id: &*feed.name,
        feed: feed.id.0,
        seq: *seq,
        session: feed.session,
        status,
        error,
        batch_id: label.map_or(0, |label| label.id),
        batch_size: label.map_or(0, |label| label.size),
        batch_slot: *slot,
        close_reason: label.map_or("", |label| label.reason.as_str()),
        model,
        provider,
        arrival: Some(arrival.as_nanos()),
        batched: label.map(|label| label.closed.as_nanos()),
        inference_start: ran.map(|(start, _)| start.as_nanos()),
        inference_end: ran.map(|(_, end)| end.as_nanos()),
        delivered: Some(delivered.as_nanos()),
        wall_time_us: Some(wall.micros),
        wall_time_source: if wall.from_reference {
            WallTimeSource::Reference
        } else {
            WallTimeSource::Arrival
        },
    };
    (buffer, facts)
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
        error: error.map(str::to_owned),
        batch_id: seq + 1,
        batch_size: 1,
        batch_slot: 0,
        close_reason: crate::batch::CloseReason::Full.as_str().to_owned(),
        model: model.to_owned(),
        provider: provider.to_owned(),
        arrival: Some(arrival.as_nanos()),
        batched: Some(arrival.as_nanos()),
        inference_start: ran.map(|(start, _)| start.as_nanos()),
        inference_end: ran.map(|(_, end)| end.as_nanos()),
        delivered: Some(delivered.as_nanos()),
        wall_time_us: Some(wall_us),
        wall_time_source: WallTimeSource::Arrival,
    }
}

type Parts<'a> = (Status, Option<&'a str>, &'a str, &'a str, Option<(Monotonic, Monotonic)>);

fn parts(verdict: &Verdict) -> Parts<'_> {
    (verdict.status, verdict.error.as_deref(), &verdict.model, &verdict.provider, verdict.ran)
}
