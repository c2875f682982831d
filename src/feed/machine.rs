//! The states of a source, and what happens in each.
//!
//! [`Machine::handle`] takes what happened and gives what to do. It makes no guess about the source: whoever runs it
//! says what the source said, and when the last frame came.

use super::backoff::SHORTEST;
use super::failure::{Failure, Kind, Remedy};
use crate::health::{
    Event, FeedRestarting, SourceConnected, SourceDisconnected, SourceEos, SourceReconnecting,
};
use crate::time::{Monotonic, nanos};
use std::collections::VecDeque;
use std::time::Duration;

mod values;

pub use values::{Action, Begin, Counts, Happening, Limits, OnEnd, Seen, State, StopReason};

/// A session that lasted this long was stable: the next delay is the first again.
pub const STABLE: Duration = Duration::from_secs(10);

/// The states of one source.
#[derive(Debug)]
pub struct Machine {
    limits: Limits,
    state: State,
    since: Monotonic,
    /// When to look again.
    due: Option<Monotonic>,
    /// Whether a source stands.
    has_source: bool,
    /// Whether the source that stands has given a frame.
    has_frames: bool,
    /// Whether frames come from it, as far as is known: it has given one since it stood or stalled.
    is_flowing: bool,
    /// Whether any source has given a frame, ever.
    has_connected: bool,
    /// Whether its being there has been told of, and its loss not yet.
    is_up: bool,
    /// Whether its loss has been told of, and its return not yet.
    is_out: bool,
    /// Whether frames are wanted; also known when nothing comes any more, for who restarts it then.
    is_wanted: bool,
    /// Whether the stream has ended and nothing has begun since.
    is_over: bool,
    /// When frames began to be missing.
    lost_at: Monotonic,
    running_since: Monotonic,
    /// Attempts since the last stable session.
    attempts: u32,
    /// Delay before the last of them.
    delay: Duration,
    restarts: VecDeque<Monotonic>,
    counts: Counts,
    last_failure: Option<Failure>,
}

impl Machine {
    /// A source that is not started, with these limits.
    #[must_use]
    pub fn new(limits: Limits, now: Monotonic) -> Self {
        Self {
            limits,
            state: State::default(),
            since: now,
            due: None,
            has_source: false,
            has_frames: false,
            is_flowing: false,
            has_connected: false,
            is_up: false,
            is_out: false,
            is_wanted: true,
            is_over: false,
            lost_at: now,
            running_since: now,
            attempts: 0,
            delay: Duration::ZERO,
            restarts: VecDeque::new(),
            counts: Counts::default(),
            last_failure: None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Monotonic {
        self.since
    }

    /// When to say [`Happening::Tick`]; `None` if nobody need.
    #[must_use]
    pub const fn due(&self) -> Option<Monotonic> {
        self.due
    }

    /// What has been counted.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// What failed last.
    #[must_use]
    pub const fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// Changes the limits; what is under way keeps its deadlines.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The attempt that is under way goes another way and has `limit` from now; `None` is for ever.
    pub fn set_time_limit(&mut self, now: Monotonic, limit: Option<Duration>) {
        if self.state == State::Connecting {
            self.due = limit.map(|limit| now.saturating_add(limit));
        }
    }

    /// Something happened at `now`; what to do about it, in order. `entropy` is a random number in 0 to 1.
    pub fn handle(&mut self, happening: Happening, now: Monotonic, entropy: f64) -> Vec<Action> {
        let mut actions = Vec::new();
        let to = &mut actions;
        match happening {
            Happening::Stop => self.stop(StopReason::UserRequested, String::new(), now, to),
            Happening::Restart => self.restart_by_user(now, to),
            Happening::Pause => {
                self.is_wanted = false;
                self.pause(now, to);
            }
            Happening::Resume => {
                self.is_wanted = true;
                self.resume(now, to);
            }
            Happening::Frame => self.frame(now, to),
            Happening::Ended => self.ended(now, entropy, to),
            Happening::CannotRewind => self.cannot_rewind(now, to),
            Happening::Unwanted => {
                self.stop(StopReason::EndOfStream, "downstream wants no more frames".to_owned(), now, to);
            }
            Happening::Failed(failure) if self.has_source => self.failed(failure, now, entropy, to),
            Happening::Failed(_) => {}
            Happening::Tick(seen) => self.tick(seen, now, entropy, to),
        }
        actions
    }

    fn enter(&mut self, state: State, now: Monotonic, due: Option<Monotonic>) {
        if self.state != state {
            self.since = now;
        }
        self.state = state;
        self.due = due;
    }

    fn connect(&mut self, begin: Begin, now: Monotonic, to: &mut Vec<Action>) {
        self.disconnect(to);
        self.has_source = true;
        (self.has_frames, self.is_flowing) = (false, false);
        self.is_over = false;
        self.counts.attempts += 1;
        let due = self.limits.liveness.map(|limit| now.saturating_add(limit));
        self.enter(State::Connecting, now, due);
        to.push(Action::Connect(begin));
    }

    fn disconnect(&mut self, to: &mut Vec<Action>) {
        if std::mem::take(&mut self.has_source) {
            to.push(Action::Disconnect);
        }
    }

    // --- What the user wants -----------------------------------------------------------------------------------

    fn stop(&mut self, reason: StopReason, detail: String, now: Monotonic, to: &mut Vec<Action>) {
        if matches!(self.state, State::Idle | State::Stopped) {
            return;
        }
        self.disconnect(to);
        self.enter(State::Stopped, now, None);
        // First: who ends with the stream hears why.
        to.push(Action::Stopped(reason, detail));
        if self.limits.on_end != OnEnd::Stop && !std::mem::replace(&mut self.is_over, true) {
            to.push(Action::SendEos);
        }
    }

    fn restart_by_user(&mut self, now: Monotonic, to: &mut Vec<Action>) {
        if self.state == State::Idle {
            return;
        }
        self.counts.restarts += 1;
        self.attempts = 0;
        self.restarts.clear();
        to.push(tell(FeedRestarting {
            reason: "user-requested".to_owned(),
            detail: String::new(),
            restart_count: 0,
            delay: 0,
        }));
        self.is_up = false;
        if self.is_wanted {
            self.connect(Begin::Session, now, to);
        } else {
            self.disconnect(to);
            self.enter(State::Paused, now, None);
        }
    }

    fn pause(&mut self, now: Monotonic, to: &mut Vec<Action>) {
        if matches!(self.state, State::Paused | State::Stopped) {
            return;
        }
        self.settle(now);
        if self.has_source && !self.limits.is_live {
            to.push(Action::Hold);
        } else {
            self.is_up = false;
            self.disconnect(to);
        }
        self.enter(State::Paused, now, None);
    }

    fn resume(&mut self, now: Monotonic, to: &mut Vec<Action>) {
        if !matches!(self.state, State::Idle | State::Paused) {
            return;
        }
        if !self.has_source {
            return self.connect(Begin::Session, now, to);
        }
        to.push(Action::Release);
        let (state, limit) = match (self.has_frames, self.is_flowing) {
            (_, true) => (State::Running, self.limits.stall),
            // The attempt that is due has been announced.
            (true, false) => (State::Stalled, Some(self.delay)),
            (false, false) => (State::Connecting, self.limits.liveness),
        };
        // What was silent because it was held has its time anew.
        self.running_since = now;
        self.enter(state, now, limit.map(|limit| now.saturating_add(limit)));
        if self.is_flowing {
            self.tell_connected(now, to);
        }
    }

    // --- What the source does ----------------------------------------------------------------------------------

    fn frame(&mut self, now: Monotonic, to: &mut Vec<Action>) {
        if !self.has_source {
            return;
        }
        self.is_flowing = true;
        if !std::mem::replace(&mut self.has_frames, true) {
            self.counts.connections += 1;
            self.has_connected = true;
        }
        if matches!(self.state, State::Connecting | State::Stalled) {
            self.running_since = now;
            self.enter(State::Running, now, self.limits.stall.map(|limit| now.saturating_add(limit)));
            self.tell_connected(now, to);
        }
    }

    fn tell_connected(&mut self, now: Monotonic, to: &mut Vec<Action>) {
        let was_out = std::mem::take(&mut self.is_out);
        if !std::mem::replace(&mut self.is_up, true) {
            let outage = if was_out { now.since(self.lost_at) } else { Duration::ZERO };
            to.push(tell(SourceConnected {
                attempts: self.attempts,
                outage: nanos(outage),
                ..SourceConnected::default()
            }));
        }
    }

    fn ended(&mut self, now: Monotonic, entropy: f64, to: &mut Vec<Action>) {
        if !self.has_source {
            return;
        }
        if self.limits.is_live {
            let failure = Failure::new(Kind::Ended, "the source ended");
            return self.failed(failure, now, entropy, to);
        }
        if self.limits.is_looped {
            self.counts.loops += 1;
            to.push(Action::Rewind);
            return;
        }
        to.push(tell(SourceEos {}));
        if self.limits.on_end != OnEnd::Restart {
            return self.stop(StopReason::EndOfStream, String::new(), now, to);
        }
        self.settle(now);
        self.disconnect(to);
        self.is_up = false;
        self.counts.restarts += 1;
        let is_paused = self.state == State::Paused;
        self.delay = if is_paused { Duration::ZERO } else { self.limits.backoff.delay(1, entropy) };
        to.push(tell(FeedRestarting {
            reason: StopReason::EndOfStream.as_str().to_owned(),
            detail: String::new(),
            restart_count: 0,
            delay: nanos(self.delay),
        }));
        if !is_paused {
            self.enter(State::BackingOff, now, Some(now.saturating_add(self.delay)));
        }
    }

    fn cannot_rewind(&mut self, now: Monotonic, to: &mut Vec<Action>) {
        if !self.has_source {
            return;
        }
        let is_paused = self.state == State::Paused;
        self.connect(Begin::Loop, now, to);
        if is_paused {
            to.push(Action::Hold);
            self.enter(State::Paused, now, None);
        }
    }

    fn tick(&mut self, seen: Seen, now: Monotonic, entropy: f64, to: &mut Vec<Action>) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        match self.state {
            State::Connecting => {
                self.failed(Failure::no_first_frame(), now, entropy, to);
            }
            State::Running => self.look_at(seen, now, entropy, to),
            State::Stalled | State::BackingOff => self.connect(Begin::Session, now, to),
            State::Idle | State::Paused | State::Stopped => self.due = None,
        }
    }

    /// Whether frames still come, when it is time to look.
    fn look_at(&mut self, seen: Seen, now: Monotonic, entropy: f64, to: &mut Vec<Action>) {
        let Some(limit) = self.limits.stall else {
            self.due = None;
            return;
        };
        let last = seen.last_frame.map_or(self.running_since, |last| last.max(self.running_since));
        // Not over and over in no time, however short the limit.
        let due = if seen.is_blocked {
            now.saturating_add(limit.max(SHORTEST))
        } else {
            last.saturating_add(limit)
        };
        if now < due {
            self.due = Some(due);
            return;
        }
        self.lost_at = last;
        self.is_flowing = false;
        let failure = Failure::new(Kind::Stalled, "no frame came within stall-timeout");
        self.lost(&failure, to);
        if self.announce_attempt(&failure, false, now, entropy, to) {
            self.enter(State::Stalled, now, Some(now.saturating_add(self.delay)));
        }
    }

    /// The source is of no use any more.
    fn failed(&mut self, failure: Failure, now: Monotonic, entropy: f64, to: &mut Vec<Action>) {
        if self.state != State::Stalled && !self.is_out {
            self.lost_at = now;
        }
        let was_stalled = self.state == State::Stalled;
        let due = self.due;
        self.lost(&failure, to);
        self.disconnect(to);
        match (self.state, self.limits.remedy(failure.kind, self.has_connected)) {
            (_, Remedy::GiveUp) => {
                let detail = format!("{}: {}", failure.kind.as_str(), failure.detail);
                self.stop(StopReason::Fatal, detail, now, to);
            }
            // The next attempt is for who wants frames again.
            (State::Paused, _) => {}
            // The attempt that is due has been announced.
            _ if was_stalled => self.enter(State::BackingOff, now, due),
            (_, remedy) => self.try_again(&failure, remedy == Remedy::Restart, now, entropy, to),
        }
    }

    /// Attempts count anew if the session that ends here was stable.
    fn settle(&mut self, end: Monotonic) {
        if self.state == State::Running && end.since(self.running_since) >= STABLE {
            self.attempts = 0;
        }
    }

    /// Tells that the source is lost, once an outage.
    fn lost(&mut self, failure: &Failure, to: &mut Vec<Action>) {
        self.last_failure = Some(failure.clone());
        self.is_up = false;
        self.settle(self.lost_at);
        if std::mem::replace(&mut self.is_out, true) {
            return;
        }
        self.counts.outages += 1;
        to.push(tell(SourceDisconnected {
            reason: failure.kind.as_str().to_owned(),
            detail: failure.detail.clone(),
            ..SourceDisconnected::default()
        }));
    }

    fn try_again(
        &mut self,
        failure: &Failure,
        is_restart: bool,
        now: Monotonic,
        entropy: f64,
        to: &mut Vec<Action>,
    ) {
        if self.announce_attempt(failure, is_restart, now, entropy, to) {
            self.enter(State::BackingOff, now, Some(now.saturating_add(self.delay)));
        }
    }

    /// Counts the next attempt and tells of it; false if there is none, and it has stopped for that.
    fn announce_attempt(
        &mut self,
        failure: &Failure,
        is_restart: bool,
        now: Monotonic,
        entropy: f64,
        to: &mut Vec<Action>,
    ) -> bool {
        if let Some(detail) = self.exhausted(is_restart, now) {
            let detail = format!("{detail}; last {}: {}", failure.kind.as_str(), failure.detail);
            self.stop(StopReason::RestartLimit, detail, now, to);
            return false;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.delay = match failure.kind.remedy() {
            Remedy::ReconnectSlowly => self.limits.backoff.longest(entropy),
            _ => self.limits.backoff.delay(self.attempts, entropy),
        };
        let (reason, detail) = (failure.kind.as_str().to_owned(), failure.detail.clone());
        let delay = nanos(self.delay);
        if is_restart {
            self.counts.restarts += 1;
            self.restarts.push_back(now);
            let restart_count = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
            to.push(tell(FeedRestarting { reason, detail, restart_count, delay }));
        } else {
            to.push(tell(SourceReconnecting { reason, detail, attempt: self.attempts, delay }));
        }
        true
    }

    /// What is used up, if anything is.
    fn exhausted(&mut self, is_restart: bool, now: Monotonic) -> Option<String> {
        let Limits { max_attempts, max_restarts, restart_window, .. } = self.limits;
        if let Some(max) = max_attempts.filter(|max| self.attempts >= *max) {
            return Some(format!("{max} attempts without a stable session (reconnect-max-attempts)"));
        }
        if !is_restart {
            return None;
        }
        while self.restarts.front().is_some_and(|at| now.since(*at) >= restart_window) {
            self.restarts.pop_front();
        }
        let max = usize::try_from(max_restarts).unwrap_or(usize::MAX);
        (self.restarts.len() >= max)
            .then(|| format!("{max_restarts} restarts within restart-window (max-restarts)"))
    }
}

fn tell(event: impl Into<Event>) -> Action {
    Action::Tell(Box::new(event.into()))
}

#[cfg(test)]
mod tests;
