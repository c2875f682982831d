//! What is to be done when: the course of a run as a state machine, without GStreamer, threads or a clock.
//!
//! It goes one way: starting, playing, draining, stopping. Each wait has an end of its own, so that no element that
//! hangs keeps the program.

use crate::signals::{self, Signal};
use gstnextvision::time::Monotonic;
use std::time::Duration;

/// What a drain may take beyond what the site allows.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// What the pipeline may take to stop once it is drained.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A signal came.
    Signal(Signal),
    /// The pipeline was told to play, and is about to or cannot.
    Started(Result<(), String>),
    /// It plays.
    Running,
    /// An error that ends the run.
    Error(String),
    /// An engine failed and stays so.
    EngineFailed(String),
    /// All feeds have ended.
    Ended,
    /// The file was read again, and was applied or was wrong.
    Reloaded(Result<(), String>),
    /// What was on its way is delivered, or is not.
    Drained(Result<(), String>),
    /// The pipeline stands.
    Stopped,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Read the file again; answered by [`Happening::Reloaded`].
    Reload,
    /// Deliver what is on its way; answered by [`Happening::Drained`].
    Drain,
    /// Stop the pipeline; answered by [`Happening::Stopped`].
    Stop,
    /// It is over.
    Finish,
    /// It is over, and something still hangs: end the process without touching it.
    Abandon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Playing,
    Draining { since: Monotonic },
    Stopping { since: Monotonic },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reload {
    Idle,
    Going,
    /// Asked for again in the meantime: the file may have changed since it was read.
    Again,
}

/// The course of a run.
#[derive(Debug)]
pub(crate) struct Conductor {
    stage: Stage,
    /// Whether it ever played.
    has_run: bool,
    reload: Reload,
    drain_timeout: Duration,
    failure: Option<String>,
}

impl Conductor {
    /// A run that is starting.
    pub(crate) const fn new(drain_timeout: Duration) -> Self {
        Self { stage: Stage::Starting, has_run: false, reload: Reload::Idle, drain_timeout, failure: None }
    }

    /// Sets what a drain may take, also one that goes on.
    pub(crate) const fn set_drain_timeout(&mut self, drain_timeout: Duration) {
        self.drain_timeout = drain_timeout;
    }

    /// Why the run failed; `None` if it has not.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// What to do about `what`, if anything.
    pub(crate) fn hear(&mut self, what: Happening, now: Monotonic) -> Option<Order> {
        match what {
            Happening::Signal(Signal::Stop(_)) => self.drain(now),
            Happening::Signal(Signal::Reload) => self.reload(),
            Happening::Signal(Signal::Resized) => None,
            Happening::Running => {
                self.has_run = true;
                None
            }
            Happening::Started(Ok(())) => self.started(),
            Happening::Started(Err(reason)) | Happening::Error(reason) => {
                self.fail(reason);
                self.stop_unless_draining(now)
            }
            Happening::EngineFailed(reason) => {
                self.fail(reason);
                self.drain(now)
            }
            Happening::Ended => self.stop_unless_draining(now),
            Happening::Reloaded(_) => self.reloaded(),
            Happening::Drained(result) => {
                // What never played had nothing to deliver.
                if let Err(reason) = result
                    && self.has_run
                {
                    self.fail(reason);
                }
                matches!(self.stage, Stage::Draining { .. }).then(|| self.stop(now))
            }
            Happening::Stopped => self.finish(Order::Finish),
        }
    }

    /// What to do because time has passed.
    pub(crate) fn tick(&mut self, now: Monotonic) -> Option<Order> {
        let overdue = self.deadline().is_some_and(|deadline| deadline <= now);
        if !overdue {
            return None;
        }
        // What never played has nothing to lose: it is no failure that it does not stop loading its models.
        if self.has_run {
            let (what, allowed) = match self.stage {
                Stage::Draining { .. } => {
                    ("the runtime has not delivered all records", self.drain_allowance())
                }
                _ => ("the pipeline has not stopped", STOP_TIMEOUT),
            };
            self.fail(format!("{what} within {} s; it was left as it is", allowed.as_secs_f32()));
        }
        self.finish(Order::Abandon)
    }

    /// When to call [`Self::tick`] at the latest.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        match self.stage {
            Stage::Draining { since } => Some(since.saturating_add(self.drain_allowance())),
            Stage::Stopping { since } => Some(since.saturating_add(STOP_TIMEOUT)),
            _ => None,
        }
    }

    const fn drain_allowance(&self) -> Duration {
        self.drain_timeout.saturating_add(DRAIN_GRACE)
    }

    /// The first reason is the one that counts: the others follow from it.
    fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
    }

    fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Playing)
    }

    fn drain(&mut self, now: Monotonic) -> Option<Order> {
        if !self.is_up() {
            return None;
        }
        self.stage = Stage::Draining { since: now };
        Some(Order::Drain)
    }

    fn stop(&mut self, now: Monotonic) -> Order {
        self.stage = Stage::Stopping { since: now };
        Order::Stop
    }

    /// A drain that goes on is waited for: others than the one that failed may still deliver.
    fn stop_unless_draining(&mut self, now: Monotonic) -> Option<Order> {
        self.is_up().then(|| self.stop(now))
    }

    fn finish(&mut self, order: Order) -> Option<Order> {
        if self.stage == Stage::Over {
            return None;
        }
        self.stage = Stage::Over;
        Some(order)
    }

    fn started(&mut self) -> Option<Order> {
        if self.stage != Stage::Starting {
            return None;
        }
        self.stage = Stage::Playing;
        if self.reload == Reload::Again { self.begin_reload() } else { None }
    }

    fn reload(&mut self) -> Option<Order> {
        match (self.stage, self.reload) {
            (Stage::Playing, Reload::Idle) => self.begin_reload(),
            (Stage::Starting | Stage::Playing, _) => {
                self.reload = Reload::Again;
                None
            }
            _ => None,
        }
    }

    const fn begin_reload(&mut self) -> Option<Order> {
        self.reload = Reload::Going;
        Some(Order::Reload)
    }

    fn reloaded(&mut self) -> Option<Order> {
        let again = self.reload == Reload::Again && self.stage == Stage::Playing;
        self.reload = Reload::Idle;
        if again { self.begin_reload() } else { None }
    }
}

/// What a stop by signal is called in the log.
pub(crate) fn reason_of(signal: Signal) -> &'static str {
    match signal {
        Signal::Stop(number) => signals::name(number),
        Signal::Reload => "SIGHUP",
        Signal::Resized => "SIGWINCH",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Happening = Happening::Signal(Signal::Stop(15));
    const HUP: Happening = Happening::Signal(Signal::Reload);

    const fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    fn error(reason: &str) -> Happening {
        Happening::Error(reason.to_owned())
    }

    fn playing() -> Conductor {
        let mut run = Conductor::new(Duration::from_secs(10));
        assert_eq!(run.hear(Happening::Started(Ok(())), at(0)), None);
        assert_eq!(run.hear(Happening::Running, at(0)), None);
        run
    }

    #[test]
    fn a_signal_drains_then_stops_then_ends() {
        let mut run = playing();
        assert_eq!(run.hear(STOP, at(1)), Some(Order::Drain));
        assert_eq!(run.hear(Happening::Ended, at(2)), None, "the drain ends when it says so");
        assert_eq!(run.hear(Happening::Drained(Ok(())), at(3)), Some(Order::Stop));
        assert_eq!(run.hear(Happening::Stopped, at(4)), Some(Order::Finish));
        assert_eq!((run.failure(), run.deadline()), (None, None));
    }

    #[test]
    fn the_end_of_all_feeds_ends_the_run() {
        let mut run = playing();
        assert_eq!(run.hear(Happening::Ended, at(1)), Some(Order::Stop));
        assert_eq!(run.hear(Happening::Stopped, at(1)), Some(Order::Finish));
        assert_eq!(run.failure(), None);
    }

    #[test]
    fn the_first_error_is_the_reason() {
        let mut run = playing();
        assert_eq!(run.hear(error("first"), at(1)), Some(Order::Stop));
        assert_eq!(run.hear(error("second"), at(1)), None);
        assert_eq!(run.hear(STOP, at(1)), None);
        assert_eq!(run.hear(Happening::Stopped, at(1)), Some(Order::Finish));
        assert_eq!(run.failure(), Some("first"));
    }

    #[test]
    fn a_start_that_fails_says_what_was_on_the_bus() {
        let mut run = Conductor::new(Duration::from_secs(10));
        assert_eq!(run.hear(error("no such model"), at(0)), Some(Order::Stop));
        assert_eq!(run.hear(Happening::Started(Err("cannot play".to_owned())), at(0)), None);
        assert_eq!(run.failure(), Some("no such model"));
    }

    #[test]
    fn an_error_while_draining_fails_the_run_and_lets_the_drain_end() {
        let mut run = playing();
        assert_eq!(run.hear(STOP, at(1)), Some(Order::Drain));
        assert_eq!(run.hear(error("disk full"), at(2)), None);
        assert_eq!(run.hear(Happening::Drained(Ok(())), at(3)), Some(Order::Stop));
        assert_eq!(run.failure(), Some("disk full"));
    }

    #[test]
    fn an_engine_that_stays_failed_drains_and_fails() {
        let mut run = playing();
        assert_eq!(run.hear(Happening::EngineFailed("engine".to_owned()), at(1)), Some(Order::Drain));
        assert_eq!(run.hear(Happening::Drained(Ok(())), at(2)), Some(Order::Stop));
        assert_eq!(run.failure(), Some("engine"));
    }

    #[test]
    fn a_drain_that_does_not_deliver_all_is_a_failure() {
        let mut run = playing();
        run.hear(STOP, at(1));
        let undelivered = Happening::Drained(Err("3 records".to_owned()));
        assert_eq!(run.hear(undelivered, at(2)), Some(Order::Stop));
        assert_eq!(run.failure(), Some("3 records"));
    }

    #[test]
    fn a_wedged_drain_is_given_up() {
        let mut run = playing();
        run.hear(STOP, at(100));
        assert_eq!((run.deadline(), run.tick(at(114))), (Some(at(115)), None));
        run.set_drain_timeout(Duration::from_secs(20));
        assert_eq!((run.deadline(), run.tick(at(115))), (Some(at(125)), None));
        assert_eq!(run.tick(at(125)), Some(Order::Abandon));
        assert_eq!(
            run.failure(),
            Some("the runtime has not delivered all records within 25 s; it was left as it is")
        );
        assert_eq!(run.tick(at(126)), None);
        assert_eq!(run.hear(Happening::Stopped, at(126)), None);
    }

    #[test]
    fn a_pipeline_that_does_not_stop_is_given_up() {
        let mut run = playing();
        run.hear(Happening::Ended, at(0));
        assert_eq!(run.tick(at(5)), Some(Order::Abandon));
        assert_eq!(run.failure(), Some("the pipeline has not stopped within 5 s; it was left as it is"));
    }

    #[test]
    fn what_never_played_and_does_not_stop_is_no_failure() {
        let mut run = Conductor::new(Duration::from_secs(10));
        assert_eq!(run.hear(STOP, at(0)), Some(Order::Drain));
        assert_eq!(run.hear(Happening::Started(Ok(())), at(1)), None);
        let not_running = Happening::Drained(Err("not-running".to_owned()));
        assert_eq!(run.hear(not_running, at(1)), Some(Order::Stop));
        assert_eq!(run.tick(at(6)), Some(Order::Abandon));
        assert_eq!(run.failure(), None);
    }

    #[test]
    fn reloads_come_one_after_another_and_none_is_forgotten() {
        let mut run = playing();
        assert_eq!(run.hear(HUP, at(1)), Some(Order::Reload));
        assert_eq!(run.hear(HUP, at(1)), None);
        assert_eq!(run.hear(HUP, at(1)), None);
        assert_eq!(run.hear(Happening::Reloaded(Ok(())), at(2)), Some(Order::Reload));
        assert_eq!(run.hear(Happening::Reloaded(Err("line 3".to_owned())), at(3)), None);
        assert_eq!(run.failure(), None, "a file that is wrong changes nothing");
    }

    #[test]
    fn a_reload_waits_for_the_start_and_not_for_the_end() {
        let mut run = Conductor::new(Duration::from_secs(10));
        assert_eq!(run.hear(HUP, at(0)), None);
        assert_eq!(run.hear(Happening::Started(Ok(())), at(1)), Some(Order::Reload));
        assert_eq!(run.hear(HUP, at(1)), None);
        assert_eq!(run.hear(STOP, at(2)), Some(Order::Drain));
        assert_eq!(run.hear(Happening::Reloaded(Ok(())), at(2)), None);
        assert_eq!(run.hear(HUP, at(2)), None);
    }
}
