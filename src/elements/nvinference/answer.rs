//! Waiting for the answer to a run: what it means for its frames and for the engine.
//!
//! A batch that failed is tried once more in two halves: a lack of memory, and one frame that upsets the model,
//! then cost half a batch at most. What has become of each frame is always said; what it says about the engine is
//! for the ladder to judge.

use super::chain::{Asked, Run};
use super::decode::{self, Cause, Failure, Outcome};
use super::imp::{CAT, NvInference};
use super::runtime::Runtime;
use crate::batch::Ticket;
use crate::elements::lock;
use crate::health::{BatchRejected, Lost, Redacted, StageError};
use crate::infer::{InferError, Input, Pending, Reply, Unanswered};
use crate::vision::letterbox::Letterbox;
use gst::subclass::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Whose the frames of a run are, in their order.
#[derive(Default)]
pub(super) struct Owners {
    pub(super) feeds: Vec<Arc<str>>,
    /// None for plain frames.
    pub(super) tickets: Vec<Ticket>,
}

type Placed = Result<Letterbox, String>;

/// What came of asking the engine.
struct Answered {
    outcomes: Vec<Outcome>,
    /// What was wrong with the engine, if anything.
    trouble: Option<InferError>,
}

impl NvInference {
    /// Waits for the answer to one run: an outcome for every one of its frames.
    pub(super) fn complete(&self, run: Run, owners: &Owners) -> Vec<Outcome> {
        let Run { frames, runtime, placed, asked } = run;
        let count = frames.len();
        let outcomes = match asked {
            Asked::Nothing => decode::unprepared(&placed),
            Asked::Rejected(why) => {
                self.report_rejected(count);
                decode::failed(&Failure::rejected(&why), count)
            }
            Asked::Engine(asked) => {
                let answered = self.answer(&runtime, asked, &placed, count, owners);
                self.judge(&runtime, &answered, owners);
                answered.outcomes
            }
        };
        self.report_stages(&outcomes, owners);
        let lost = outcomes.iter().filter(|outcome| outcome.detections.is_err()).count();
        self.count(count - lost, lost);
        outcomes
    }

    fn answer(
        &self,
        runtime: &Runtime,
        asked: Result<Pending, InferError>,
        placed: &[Placed],
        count: usize,
        owners: &Owners,
    ) -> Answered {
        let timeout = self.response_timeout();
        let reply = asked
            .map_err(Unanswered::from)
            .and_then(|pending| pending.wait_for_either(&self.interrupt(), timeout));
        match reply {
            Ok(reply) => Answered { outcomes: read(runtime, &reply, placed), trouble: None },
            Err(Unanswered { error, input: Some(input) }) if count > 1 && is_worth_another_try(&error) => {
                gst::debug!(CAT, imp = self, "{count} frames, tried again in halves: {}", Redacted(&error));
                self.in_halves(runtime, &input, placed, owners)
            }
            Err(Unanswered { error, .. }) => {
                Answered { outcomes: decode::failed(&Failure::from(&error), count), trouble: Some(error) }
            }
        }
    }

    /// Tries the two halves of a batch, one after the other. Without an answer to the first, the second is not
    /// tried: it would wait for the same run.
    fn in_halves(&self, runtime: &Runtime, input: &Input, placed: &[Placed], owners: &Owners) -> Answered {
        let (count, middle) = (placed.len(), placed.len().div_ceil(2));
        let mut answered = Answered { outcomes: Vec::with_capacity(count), trouble: None };
        for rows in [0..middle, middle..count] {
            let earlier = answered.trouble.take_if(|error| !is_worth_another_try(error));
            let part = placed.get(rows.clone()).unwrap_or_default();
            let reply = match earlier {
                Some(error) => Err(error),
                None => self.try_part(runtime, input, rows, owners),
            };
            match reply {
                Ok(reply) => answered.outcomes.extend(read(runtime, &reply, part)),
                Err(error) => {
                    answered.outcomes.extend(decode::failed(&Failure::from(&error), part.len()));
                    answered.trouble = Some(error);
                }
            }
        }
        answered
    }

    fn try_part(
        &self,
        runtime: &Runtime,
        input: &Input,
        rows: Range<usize>,
        owners: &Owners,
    ) -> Result<Reply, InferError> {
        let (timeout, interrupt) = (self.response_timeout(), self.interrupt());
        let tickets = owners.tickets.get(rows.clone()).unwrap_or_default().to_vec();
        let part = runtime.engine.part(input, rows)?;
        runtime
            .engine
            .submit(part, Box::new(tickets), &interrupt, timeout)
            .map_err(|refused| refused.error)?
            .wait(&interrupt, timeout)
    }

    /// Tells the ladder how it went.
    fn judge(&self, runtime: &Arc<Runtime>, answered: &Answered, owners: &Owners) {
        let outcomes = &answered.outcomes;
        let is_lost = |outcome: &&Outcome| {
            outcome.detections.as_ref().is_err_and(|failure| failure.cause == Cause::Engine)
        };
        match &answered.trouble {
            None if outcomes.iter().any(|outcome| outcome.detections.is_ok()) => {
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
                let lost = lost(outcomes, owners);
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
    fn report_stages(&self, outcomes: &[Outcome], owners: &Owners) {
        for (outcome, feed) in outcomes.iter().zip(&owners.feeds) {
            let Err(Failure { cause: Cause::Stage(stage), detail, .. }) = &outcome.detections else {
                continue;
            };
            let event = StageError { stage: (*stage).to_owned(), detail: detail.to_string() };
            self.health.report(&*self.obj(), Some(feed), event, 1);
        }
    }

    pub(super) fn response_timeout(&self) -> Duration {
        lock(&self.settings).response_timeout()
    }
}

fn read(runtime: &Runtime, reply: &Reply, placed: &[Placed]) -> Vec<Outcome> {
    decode::outcomes(runtime, &reply.outputs.tensors, (reply.started, reply.ended), placed)
}

/// Whether fewer frames may fare better.
const fn is_worth_another_try(error: &InferError) -> bool {
    matches!(error, InferError::Run { .. } | InferError::Panic { .. })
}

/// The frames the engine has no result for.
fn lost(outcomes: &[Outcome], owners: &Owners) -> Lost {
    let mut lost = Lost::default();
    for (at, outcome) in outcomes.iter().enumerate() {
        if outcome.detections.as_ref().err().is_none_or(|failure| failure.cause != Cause::Engine) {
            continue;
        }
        lost.frames += 1;
        let feed = owners.feeds.get(at).map(ToString::to_string);
        lost.feeds.extend(feed.filter(|feed| !lost.feeds.contains(feed)));
    }
    lost
}
