//! Waiting for the answer to a run: what it means for its frames and for the engine.
//!
//! A batch that failed is tried once more in two halves: a lack of memory, and one frame that upsets the model,
//! then cost half a batch at most. What has become of each frame is always said; what it says about the engine is
//! for the ladder to judge.

use super::decode::{self, Cause, Failure, Outcome};
use super::imp::{CAT, NvInference};
use super::runs::{Asked, Owners, Parts, Run, Tickets};
use super::runtime::Runtime;
use crate::elements::lock;
use crate::health::{BatchRejected, Lost, Redacted, StageError};
use crate::infer::{InferError, Input, Pending, Reply, Unanswered};
use gst::subclass::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

impl NvInference {
    /// Waits for the answer to one run: an outcome for every one of its frames.
    pub(super) fn complete(&self, run: &mut Run, owners: Owners<'_>) {
        let count = run.parts.rows.len();
        match std::mem::replace(&mut run.asked, Asked::Nothing) {
            Asked::Nothing => decode::unprepared(&mut run.parts),
            Asked::Rejected(why) => {
                self.report_rejected(count);
                decode::failed(&Failure::rejected(&why), count, &mut run.parts);
            }
            Asked::Engine(asked) => {
                let trouble = self.answer(&run.runtime, asked, &mut run.parts, owners);
                self.judge(&run.runtime, trouble.as_ref(), &run.parts, owners);
            }
        }
        self.report_stages(&run.parts, owners);
        let lost = run.parts.outcomes.iter().filter(|outcome| outcome.found.is_err()).count();
        self.count(count - lost, lost);
    }

    /// Writes the outcomes down; what was wrong with the engine, if anything.
    fn answer(
        &self,
        runtime: &Runtime,
        asked: Result<Pending, InferError>,
        parts: &mut Parts,
        owners: Owners<'_>,
    ) -> Option<InferError> {
        let (timeout, count) = (self.response_timeout(), parts.rows.len());
        let reply = asked
            .map_err(Unanswered::from)
            .and_then(|pending| pending.wait_for_either(&self.interrupt(), timeout));
        match reply {
            Ok(reply) => {
                decode::outcomes(runtime, &reply, 0..count, parts);
                None
            }
            Err(Unanswered { error, input: Some(input) }) if count > 1 && is_worth_another_try(&error) => {
                gst::debug!(CAT, imp = self, "{count} frames, tried again in halves: {}", Redacted(&error));
                self.in_halves(runtime, &input, parts, owners)
            }
            Err(Unanswered { error, .. }) => {
                decode::failed(&Failure::from(&error), count, parts);
                Some(error)
            }
        }
    }

    /// Tries the two halves of a batch, one after the other. Without an answer to the first, the second is not
    /// tried: it would wait for the same run.
    fn in_halves(
        &self,
        runtime: &Runtime,
        input: &Input,
        parts: &mut Parts,
        owners: Owners<'_>,
    ) -> Option<InferError> {
        let (count, middle) = (parts.rows.len(), parts.rows.len().div_ceil(2));
        let mut trouble: Option<InferError> = None;
        for rows in [0..middle, middle..count] {
            let earlier = trouble.take_if(|error| !is_worth_another_try(error));
            let reply = match earlier {
                Some(error) => Err(error),
                None => self.try_part(runtime, input, rows.clone(), (parts, owners)),
            };
            match reply {
                Ok(reply) => decode::outcomes(runtime, &reply, rows, parts),
                Err(error) => {
                    decode::failed(&Failure::from(&error), rows.len(), parts);
                    trouble = Some(error);
                }
            }
        }
        trouble
    }

    fn try_part(
        &self,
        runtime: &Runtime,
        input: &Input,
        rows: Range<usize>,
        (parts, owners): (&Parts, Owners<'_>),
    ) -> Result<Reply, InferError> {
        let (timeout, interrupt) = (self.response_timeout(), self.interrupt());
        let tickets = Tickets::default();
        let asked = parts.rows.get(rows.clone()).unwrap_or_default();
        tickets.take_from(owners.items(), asked);
        let part = runtime.engine.part(input, rows)?;
        runtime
            .engine
            .submit(part, Arc::new(tickets), &interrupt, timeout)
            .map_err(|refused| refused.error)?
            .wait(&interrupt, timeout)
    }

    /// Tells the ladder how it went.
    fn judge(&self, runtime: &Arc<Runtime>, trouble: Option<&InferError>, parts: &Parts, owners: Owners<'_>) {
        let outcomes = &parts.outcomes;
        let is_lost =
            |outcome: &&Outcome| outcome.found.as_ref().is_err_and(|failure| failure.cause == Cause::Engine);
        match trouble {
            None if outcomes.iter().any(|outcome| outcome.found.is_ok()) => {
                self.note(runtime, |ladder, now| ladder.succeeded(now));
            }
            None => self.note(runtime, |ladder, _| {
                ladder.answered();
                crate::health::Reaction::default()
            }),
            Some(InferError::Interrupted) => {}
            Some(InferError::Stopped) => {
                self.report_rejected(outcomes.iter().filter(is_lost).count());
                self.note(runtime, |ladder, now| ladder.gone(now));
            }
            Some(error) => {
                gst::debug!(CAT, imp = self, "Frames without a result: {}", Redacted(&error));
                let lost = lost(parts, owners);
                match error {
                    InferError::Timeout { limit } => {
                        self.note(runtime, |ladder, now| ladder.unanswered(lost, *limit, now));
                    }
                    _ => self.note(runtime, |ladder, now| ladder.failed(lost, &error.to_string(), now)),
                }
            }
        }
    }

    fn report_rejected(&self, frames: usize) {
        let event = BatchRejected { reason: "engine-failed".to_owned() };
        self.health.report(&*self.obj(), None, event, frames as u64);
    }

    /// Says which feeds had frames that the engine is not to blame for.
    fn report_stages(&self, parts: &Parts, owners: Owners<'_>) {
        for (row, outcome) in parts.rows.iter().zip(&parts.outcomes) {
            let Err(Failure { cause: Cause::Stage(stage), detail, .. }) = &outcome.found else {
                continue;
            };
            let Some(feed) = owners.feed(row.item) else { continue };
            let event = StageError { stage: (*stage).to_owned(), detail: detail.to_string() };
            self.health.report(&*self.obj(), Some(feed), event, 1);
        }
    }

    pub(super) fn response_timeout(&self) -> Duration {
        lock(&self.settings).response_timeout()
    }
}

/// Whether fewer frames may fare better.
const fn is_worth_another_try(error: &InferError) -> bool {
    matches!(error, InferError::Run { .. } | InferError::Panic { .. })
}

/// The frames the engine has no result for.
fn lost(parts: &Parts, owners: Owners<'_>) -> Lost {
    let mut lost = Lost::default();
    let mut last = None;
    for (row, outcome) in parts.rows.iter().zip(&parts.outcomes) {
        if outcome.found.as_ref().err().is_none_or(|failure| failure.cause != Cause::Engine) {
            continue;
        }
        // The objects of a frame follow each other.
        lost.frames += u32::from(last.replace(row.item) != Some(row.item));
        let feed = owners.feed(row.item).map(ToOwned::to_owned);
        lost.feeds.extend(feed.filter(|feed| !lost.feeds.contains(feed)));
    }
    lost
}
