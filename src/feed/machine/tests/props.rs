//! What holds whatever happens, in whatever order.

use super::*;
use crate::feed::backoff::{Backoff, SHORTEST};
use proptest::prelude::*;

fn any_happening() -> impl Strategy<Value = Happening> {
    let kind = proptest::sample::select(Kind::ALL.as_slice());
    prop_oneof![
        1 => Just(Happening::Stop),
        2 => Just(Happening::Restart),
        2 => Just(Happening::Pause),
        4 => Just(Happening::Resume),
        6 => Just(Happening::Frame),
        2 => Just(Happening::Ended),
        1 => Just(Happening::CannotRewind),
        1 => Just(Happening::Unwanted),
        6 => kind.prop_map(failure),
        8 => (any::<bool>(), any::<bool>(), 0_u64..30_000_000_000).prop_map(|(some, is_blocked, at)| {
            let last_frame = some.then(|| Monotonic::from_nanos(at));
            Happening::Tick(Seen { last_frame, is_blocked })
        }),
    ]
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let on_end = proptest::sample::select([OnEnd::Eos, OnEnd::Restart, OnEnd::Stop].as_slice());
    let time = || proptest::option::of(1_u64..20_000_000_000);
    (any::<[bool; 3]>(), on_end, time(), time(), proptest::option::of(1_u32..4), 0_u32..3).prop_map(
        |([is_live, is_local, is_looped], on_end, liveness, stall, max_attempts, max_restarts)| Limits {
            is_live,
            is_local: is_local && !is_live,
            is_looped: is_looped && !is_live,
            on_end,
            liveness: liveness.map(Duration::from_nanos),
            stall: stall.map(Duration::from_nanos),
            max_attempts,
            max_restarts,
            ..Limits::default()
        },
    )
}

/// What somebody knows who has seen every action so far.
#[derive(Default)]
struct Witness {
    has_source: bool,
    is_held: bool,
    is_stopped: bool,
    has_ended: bool,
    is_lost: bool,
    /// Whether a return was told and neither a loss nor a new beginning since.
    is_there: bool,
    there_since: Monotonic,
    /// Whether a session has been stable since the last attempt, so that attempts may count anew.
    was_stable: bool,
    /// How many attempts there may have been: a restart for broken data does not say.
    attempts: Vec<u32>,
}

impl Witness {
    /// Time has passed up to `now`.
    fn waits(&mut self, now: Monotonic) {
        self.was_stable |= self.is_there && now.since(self.there_since) >= STABLE;
        if !self.is_there {
            self.there_since = now;
        }
    }

    /// The numbers that the next attempt may have.
    fn next_attempts(&mut self) -> Vec<u32> {
        let first = std::mem::take(&mut self.was_stable).then_some(1);
        let mut next: Vec<u32> = self.attempts.iter().map(|attempts| attempts + 1).chain(first).collect();
        next.dedup();
        if next.is_empty() { vec![1] } else { next }
    }

    fn sees(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match action {
            Action::Connect(_) => {
                prop_assert!(!self.has_source, "two sources");
                prop_assert!(!self.is_stopped, "a source for what is stopped");
                (self.has_source, self.is_held, self.has_ended) = (true, false, false);
            }
            Action::Disconnect => {
                prop_assert!(self.has_source, "no source to let go of");
                self.has_source = false;
            }
            Action::Rewind => prop_assert!(self.has_source, "no source to rewind"),
            Action::Hold => {
                prop_assert!(self.has_source && !self.is_held, "nothing to hold");
                self.is_held = true;
            }
            Action::Release => {
                prop_assert!(self.has_source && self.is_held, "nothing to release");
                self.is_held = false;
            }
            Action::Stopped(..) => {
                prop_assert!(!self.is_stopped, "a second end");
                prop_assert!(!self.has_source, "a source after the end");
                self.is_stopped = true;
            }
            Action::SendEos => {
                prop_assert!(self.is_stopped && !self.has_ended, "an EOS too many");
                self.has_ended = true;
            }
            Action::Tell(event) => return self.hears(event),
        }
        Ok(())
    }

    fn hears(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::SourceConnected(event) => {
                prop_assert!(self.has_source && !self.is_there, "there already");
                let is_known = self.attempts.contains(&event.attempts);
                prop_assert!(
                    is_known || event.attempts == 0,
                    "{} not in {:?}",
                    event.attempts,
                    self.attempts
                );
                self.attempts = vec![event.attempts];
                (self.is_lost, self.is_there) = (false, true);
            }
            Event::SourceDisconnected(_) => {
                prop_assert!(!self.is_lost, "lost already");
                (self.is_lost, self.is_there) = (true, false);
            }
            Event::SourceReconnecting(event) => {
                prop_assert!(self.is_lost, "an attempt without an outage");
                let next = self.next_attempts();
                prop_assert!(next.contains(&event.attempt), "{} not in {next:?}", event.attempt);
                self.attempts = vec![event.attempt];
            }
            Event::FeedRestarting(event) => match event.reason.as_str() {
                "user-requested" => {
                    (self.is_stopped, self.is_there, self.was_stable) = (false, false, false);
                    self.attempts.clear();
                }
                "end-of-stream" => self.is_there = false,
                _ => {
                    prop_assert!(self.is_lost, "a restart without an outage");
                    self.attempts = self.next_attempts();
                }
            },
            Event::SourceEos(_) => {}
            other => prop_assert!(false, "the machine tells {other:?}"),
        }
        Ok(())
    }
}

fn check_state(machine: &Machine, witness: &Witness) -> Result<(), TestCaseError> {
    let state = machine.state();
    match state {
        State::Idle | State::Stopped | State::BackingOff => prop_assert!(!witness.has_source, "{state:?}"),
        State::Connecting => prop_assert!(witness.has_source && !witness.is_held),
        State::Running => prop_assert!(witness.has_source && !witness.is_held && witness.is_there),
        State::Stalled => prop_assert!(witness.has_source && !witness.is_held && witness.is_lost),
        State::Paused => prop_assert!(witness.has_source == machine_holds(witness), "{state:?}"),
    }
    prop_assert_eq!(state == State::Stopped, witness.is_stopped);
    let is_waiting = matches!(state, State::Stalled | State::BackingOff);
    prop_assert!(!is_waiting || machine.due().is_some(), "waits for nothing");
    let is_at_rest = matches!(state, State::Idle | State::Paused | State::Stopped);
    prop_assert!(!is_at_rest || machine.due().is_none(), "{state:?} looks again");
    Ok(())
}

/// What is paused with a source holds it.
fn machine_holds(witness: &Witness) -> bool {
    witness.has_source && witness.is_held
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_the_story_makes_sense(
        limits in any_limits(),
        story in proptest::collection::vec((any_happening(), 0_u64..8_000_000_000, any::<f64>()), 1..80),
    ) {
        let mut machine = Machine::new(limits, Monotonic::ZERO);
        let mut witness = Witness::default();
        let mut now = Monotonic::ZERO;
        for (happening, wait, entropy) in story {
            now = now.saturating_add(Duration::from_nanos(wait));
            // A pause is a new beginning of the story, whatever comes of it.
            let is_pause = happening == Happening::Pause && machine.state() != State::Stopped;
            let is_tick = matches!(happening, Happening::Tick(_));
            witness.waits(now);
            let could_stop = machine.state() != State::Stopped;
            let actions = machine.handle(happening, now, entropy);
            for action in &actions {
                witness.sees(action)?;
            }
            if is_pause && !witness.has_source {
                witness.is_there = false;
            }
            let stops = actions.iter().filter(|action| matches!(action, Action::Stopped(..))).count();
            prop_assert!(stops <= usize::from(could_stop));
            prop_assert!(!is_tick || machine.due().is_none_or(|due| due > now), "looks again at once");
            check_state(&machine, &witness)?;
        }
    }

    #[test]
    fn a_source_that_always_fails_is_never_tried_in_a_tight_loop(
        kinds in proptest::collection::vec(proptest::sample::select(Kind::ALL.as_slice()), 1..40),
        entropy in 0.0_f64..=1.0,
    ) {
        let backoff = Backoff { base: Duration::ZERO, jitter: 1.0, ..Backoff::default() };
        let mut machine = Machine::new(Limits { backoff, ..Limits::default() }, Monotonic::ZERO);
        let mut now = Monotonic::ZERO;
        machine.handle(Happening::Resume, now, entropy);
        for kind in kinds {
            machine.handle(failure(kind), now, entropy);
            let Some(due) = machine.due() else { break };
            prop_assert!(due.since(now) >= SHORTEST);
            now = due;
            machine.handle(Happening::Tick(Seen::default()), now, entropy);
            prop_assert_eq!(machine.state(), State::Connecting);
        }
    }
}
