//! Frames on their way into the queue of their feed, and what is said about those that do not get there.

use super::core::{Offer, Refused};
use super::imp::{CAT, NvBatcher};
use super::lanes::Waiting;
use crate::batch::DropReason;
use crate::clock;
use crate::elements::lock;
use crate::health::{BackpressureDrop, BatchRejected, Redacted, StageError};
use crate::meta::batch::WallTime;
use crate::meta::frame;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;

/// Why frames or events could not be used: the field `stage` of `stage-error`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Format,
    Timestamp,
}

impl Stage {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Timestamp => "timestamp",
        }
    }
}

impl From<Refused> for gst::FlowError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Flushing => Self::Flushing,
            Refused::Eos => Self::Eos,
            Refused::Downstream(error) => error,
        }
    }
}

impl NvBatcher {
    pub(super) fn sink_chain(
        &self,
        pad: &super::NvBatcherSinkPad,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let imp = pad.imp();
        let Some((mut waiting, live)) = self.describe_frame(pad, buffer)? else {
            return Ok(gst::FlowSuccess::Ok);
        };
        loop {
            let options = imp.options(live);
            match self.core.offer(imp.id(), options.clone(), waiting, clock::now()) {
                Offer::Taken => {
                    self.health.catch_up(&*self.obj());
                    return Ok(gst::FlowSuccess::Ok);
                }
                Offer::TakenPassing => {
                    let event = BatchRejected { reason: "queue-full".to_owned() };
                    self.health.report(&*self.obj(), Some(&imp.feed_name()), event, 1);
                    return Ok(gst::FlowSuccess::Ok);
                }
                Offer::Dropped(_) => {
                    let policy = imp.overload_name(live).to_owned();
                    let event = BackpressureDrop { policy };
                    self.health.report(&*self.obj(), Some(&imp.feed_name()), event, 1);
                    return Ok(gst::FlowSuccess::Ok);
                }
                Offer::Refused(_, refused) => return Err(refused.into()),
                Offer::Full(back, space, seen) => {
                    waiting = back;
                    // Options that changed before the look at the signal do not raise it again.
                    if imp.options(live) == options {
                        space.wait(seen, None);
                    }
                }
            }
        }
    }

    /// What the frame is, from the stream it came in; and whether that stream is live. `None` if it was dropped.
    fn describe_frame(
        &self,
        pad: &super::NvBatcherSinkPad,
        buffer: gst::Buffer,
    ) -> Result<Option<(Waiting, bool)>, gst::FlowError> {
        let known_live = lock(&pad.imp().stream).live;
        let live = known_live.unwrap_or_else(|| self.learn_liveness(pad));
        let mut stream = lock(&pad.imp().stream);
        stream.live = Some(live);
        let Some(format) = stream.format.clone() else {
            drop(stream);
            self.refuse(pad, Stage::Format, "expected caps before the first buffer, found none");
            return Err(gst::FlowError::NotNegotiated);
        };
        let segment = Arc::clone(stream.segment.get_or_insert_default());
        if !stream.timestamps.admit(&segment, &buffer) {
            drop(stream);
            self.core.drop_frame(pad.imp().id(), DropReason::OutOfSegment)?;
            let found = buffer.pts().unwrap_or(gst::ClockTime::ZERO);
            let detail = format!("expected a frame within its segment, found one at {found}");
            self.note(pad, Stage::Timestamp, &detail);
            return Ok(None);
        }
        drop(stream);
        let wall = wall_time(&buffer);
        Ok(Some((Waiting { buffer, format, segment, wall }, live)))
    }

    /// Asks whether the stream on a pad is live; what cannot be asked is not.
    fn learn_liveness(&self, pad: &super::NvBatcherSinkPad) -> bool {
        let mut query = gst::query::Latency::new();
        let found = pad.peer_query(&mut query).then(|| query.result());
        let live = found.is_some_and(|(live, ..)| live);
        // All feeds begin at about the same time, and a look at the latency asks all of them.
        if found.is_some_and(|found| live && !self.latency_covers(found)) {
            self.announce_latency();
        }
        live
    }

    /// A feed's format or stream cannot be used: its upstream hears so, the user is told, no other feed is touched.
    pub(super) fn refuse(&self, pad: &super::NvBatcherSinkPad, stage: Stage, detail: &str) {
        gst::element_imp_warning!(self, gst::StreamError::Format, ["{}: {}", pad.name(), Redacted(detail)]);
        self.note(pad, stage, detail);
    }

    fn note(&self, pad: &super::NvBatcherSinkPad, stage: Stage, detail: &str) {
        gst::debug!(CAT, obj = pad, "{}", Redacted(detail));
        let event = StageError { stage: stage.as_str().to_owned(), detail: detail.to_owned() };
        self.health.report(&*self.obj(), Some(&pad.imp().feed_name()), event, 1);
    }
}

/// What the source says about the wall clock, else now.
fn wall_time(buffer: &gst::BufferRef) -> WallTime {
    match frame::reference_wall_micros(buffer) {
        Some(micros) => WallTime { micros, from_reference: true },
        None => WallTime { micros: clock::wall_micros(), from_reference: false },
    }
}
