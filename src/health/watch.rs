//! Watching one feed: from what happens to it to the events to report.
//!
//! [`Watch`] is told what happens (frames, caps, EOS, flushes, states) and when, answers with the events that
//! follow, and says with [`Watch::deadline`] when to call [`Watch::tick`] although nothing happens. It holds two
//! promises: every session ends with exactly one `feed-stopped`, and what begins (`feed-stalled`, `idle`,
//! `frame-lag`, `fps-low`) is not said again before it was over.
//!
//! It does not fold bursts, and does not know what a frame shows.

mod meters;
#[cfg(test)]
mod tests;
mod types;

use super::{
    CapsChanged, Discontinuity, Event, FeedRecovered, FeedReport, FeedStalled, FeedStarted, FeedStopped,
    Idle, Resumed, SourceEos,
};
use crate::time::{Monotonic, nanos};
use meters::{Lateness, Pace};
use std::time::Duration;

pub use types::{Frame, Limits, Origin, Pushed, Snapshot, Tick};

/// Running time may jump by so much, either way, without being a `discontinuity`.
pub const LARGEST_JUMP: Duration = Duration::from_secs(5);

/// Detail of `feed-stopped` when the feed was ended because it was silent.
pub const IDLE_DETAIL: &str = "idle-timeout";

/// Where the feed stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Not started.
    #[default]
    Off,
    /// The first frame of a session is awaited.
    Waiting,
    /// A session runs.
    Running,
    /// The feed has sent EOS.
    Ended,
    /// Downstream cannot go on; a frame that it takes begins a session.
    Failed,
    /// The feed was ended for being idle.
    Reaped,
}

/// Watches one feed.
#[derive(Debug, Default)]
pub struct Watch {
    limits: Limits,
    phase: Phase,
    session: u32,
    began: Monotonic,
    frames: u64,
    session_frames: u64,
    missing: u64,
    origin: Option<Origin>,
    /// Since when there is silence; moves on with every pause.
    silent_from: Monotonic,
    /// Since when the feed is not playing.
    paused: Option<Monotonic>,
    stalled: bool,
    /// If the feed is idle: the start of that silence.
    idle: Option<Monotonic>,
    /// A reaper is on its way.
    reaping: bool,
    /// A frame is on its way downstream.
    pushing: bool,
    push_ended: Monotonic,
    /// Running time at which the next frame is due.
    expected: Option<i64>,
    has_caps: bool,
    lateness: Lateness,
    pace: Pace,
    reported: (Monotonic, u64),
}

/// What happens to the feed.
impl Watch {
    /// Begins to watch a feed that is paused.
    pub fn start(&mut self, now: Monotonic) {
        self.phase = Phase::Waiting;
        self.paused = Some(now);
        (self.stalled, self.idle, self.pushing) = (false, None, false);
        self.forget_stream(now);
    }

    /// Silence counts from here on.
    pub fn play(&mut self, now: Monotonic) {
        if let Some(paused) = self.paused.take() {
            let pause = now.since(paused.max(self.silent_from));
            self.silent_from = self.silent_from.saturating_add(pause);
        }
        self.reported = (now, self.frames);
    }

    /// Silence does not count from here on.
    pub fn pause(&mut self, now: Monotonic) {
        self.paused.get_or_insert(now);
        self.pace.reset();
    }

    /// A new stream begins; a session that runs is over.
    pub fn stream_start(&mut self, now: Monotonic) -> Vec<Event> {
        let mut events = Vec::new();
        if self.phase == Phase::Running {
            events.push(self.end("end-of-stream", "a new stream began".to_owned()));
        }
        self.phase = Phase::Waiting;
        self.forget_stream(now);
        events
    }

    /// Caps came that are not those before; `text` is asked for only if it matters.
    pub fn caps(&mut self, text: impl FnOnce() -> String) -> Vec<Event> {
        let had_caps = std::mem::replace(&mut self.has_caps, true);
        if !had_caps || self.phase != Phase::Running {
            return Vec::new();
        }
        vec![CapsChanged { caps: text() }.into()]
    }

    /// A frame came and goes downstream: [`Self::pushed`] must follow.
    pub fn frame(&mut self, frame: &Frame, now: Monotonic) -> Vec<Event> {
        let mut events = Vec::new();
        if self.phase == Phase::Reaped {
            return events;
        }
        self.frames = self.frames.saturating_add(1);
        self.pushing = true;
        if self.phase == Phase::Failed {
            self.origin = frame.origin;
            self.silent_from = now;
            return events;
        }
        if let (Some(before), Some(origin)) = (self.origin, frame.origin)
            && origin.session > before.session
        {
            if self.phase == Phase::Running {
                let detail = format!("session {} of the feed began", origin.session);
                events.push(self.end("end-of-stream", detail));
            }
            self.phase = Phase::Waiting;
            (self.expected, self.origin) = (None, None);
        }
        if self.phase != Phase::Running {
            events.push(self.begin(now));
        }
        self.session_frames = self.session_frames.saturating_add(1);
        self.break_silence(now, &mut events);
        self.follow(frame, &mut events);
        events.extend(self.lateness.frame(frame.lag, self.limits.lag_threshold, now));
        if self.paused.is_none() {
            events.extend(self.fps_min().and_then(|min| self.pace.frame(min, now)));
        }
        events
    }

    /// Downstream has answered to the last [`Self::frame`].
    pub fn pushed(&mut self, answer: Pushed, now: Monotonic) -> Vec<Event> {
        self.pushing = false;
        self.push_ended = now;
        match (answer, self.phase) {
            (Pushed::Failed(answer), Phase::Running) => {
                let event = self.end("fatal", format!("downstream answered {answer}"));
                self.phase = Phase::Failed;
                vec![event]
            }
            (Pushed::Taken, Phase::Failed) => {
                self.silent_from = now;
                self.expected = None;
                let event = self.begin(now);
                self.session_frames = 1;
                vec![event]
            }
            _ => Vec::new(),
        }
    }

    /// The feed has sent EOS. A feed without a frame has had a session, too.
    pub fn eos(&mut self, _now: Monotonic) -> Vec<Event> {
        let events = match self.phase {
            Phase::Waiting | Phase::Running | Phase::Off => {
                vec![SourceEos {}.into(), self.end("end-of-stream", String::new())]
            }
            // That session is over already.
            Phase::Failed => vec![SourceEos {}.into()],
            Phase::Ended | Phase::Reaped => return Vec::new(),
        };
        self.phase = Phase::Ended;
        events
    }

    /// A flush is over. It ends no session, and lets a feed that has ended go on.
    pub fn flush(&mut self, now: Monotonic) {
        self.expected = None;
        if !self.stalled {
            self.silent_from = now;
        }
        self.reaping = false;
        self.pace.reset();
        if matches!(self.phase, Phase::Ended | Phase::Reaped) {
            self.phase = Phase::Waiting;
        }
    }

    /// Nothing is watched any more; a session that runs is over.
    pub fn stop(&mut self, _now: Monotonic) -> Vec<Event> {
        let running = self.phase == Phase::Running;
        let events = if running { vec![self.end("user-requested", String::new())] } else { Vec::new() };
        self.phase = Phase::Off;
        (self.stalled, self.idle, self.reaping, self.pushing) = (false, None, false, false);
        events
    }

    /// Ends a feed that [`Self::tick`] has found idle, unless a frame, a flush or anything else came between.
    /// Returns nothing then; otherwise EOS is to be sent, and frames are to be refused.
    pub fn reap(&mut self, now: Monotonic) -> Vec<Event> {
        let wanted = std::mem::take(&mut self.reaping);
        if !wanted || self.pushing || !matches!(self.phase, Phase::Waiting | Phase::Running) {
            return Vec::new();
        }
        let mut events = Vec::new();
        if self.idle.is_none() {
            events.push(self.go_idle("eos", now));
        }
        // It is over with the first frame of another session.
        let idle = self.idle;
        events.push(self.end("end-of-stream", IDLE_DETAIL.to_owned()));
        self.idle = idle;
        self.phase = Phase::Reaped;
        events
    }
}

/// Time.
impl Watch {
    /// Watches for something else from here on.
    pub fn set_limits(&mut self, limits: Limits) {
        let on = |duration: Option<Duration>| duration.filter(|duration| !duration.is_zero());
        let limits = Limits {
            stall_timeout: on(limits.stall_timeout),
            idle_timeout: on(limits.idle_timeout),
            lag_threshold: on(limits.lag_threshold),
            report_interval: on(limits.report_interval),
            ..limits
        };
        if limits.fps_min != self.limits.fps_min {
            self.pace.reset();
        }
        self.limits = limits;
    }

    /// What follows from nothing having happened until `now`.
    pub fn tick(&mut self, now: Monotonic) -> Tick {
        let mut tick = Tick::default();
        let due = |deadline: Option<Monotonic>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.stall_due()) {
            self.stalled = true;
            let silent_for = self.silence(now);
            tick.events.push(FeedStalled { silent_for, blocked: self.pushing }.into());
        }
        if due(self.idle_due()) {
            if self.reaps() {
                self.reaping = true;
                tick.reap = true;
            } else {
                tick.events.push(self.go_idle("message", now));
            }
        }
        if due(self.pace_due()) {
            tick.events.extend(self.fps_min().and_then(|min| self.pace.tick(min, now)));
        }
        if due(self.report_due()) {
            tick.events.push(self.report(now));
        }
        tick
    }

    /// When to call [`Self::tick`] if nothing else happens; `None` if never.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        let all = [self.stall_due(), self.idle_due(), self.pace_due(), self.report_due()];
        all.into_iter().flatten().min()
    }

    /// Whether frames are to be refused, because the feed was ended.
    #[must_use]
    pub fn is_reaped(&self) -> bool {
        self.phase == Phase::Reaped
    }

    /// Whether a session runs.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether the feed plays: only then is the lag of a frame known.
    #[must_use]
    pub const fn is_playing(&self) -> bool {
        self.paused.is_none()
    }

    /// What is known at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Monotonic) -> Snapshot {
        let running = self.phase == Phase::Running;
        Snapshot {
            alive: running && !self.stalled,
            stalled: self.stalled,
            paused: self.paused.is_some(),
            session: self.session,
            uptime: if running { nanos(now.since(self.began)) } else { 0 },
            frames: self.frames,
            missing: self.missing,
            lag_now: self.lateness.now(),
            lag_peak: self.lateness.peak(),
        }
    }

    fn awaits_frames(&self) -> bool {
        self.paused.is_none() && matches!(self.phase, Phase::Waiting | Phase::Running)
    }

    fn stall_due(&self) -> Option<Monotonic> {
        let timeout = self.limits.stall_timeout.filter(|_| self.awaits_frames() && !self.stalled)?;
        Some(self.silent_from.saturating_add(timeout))
    }

    /// Whether idleness ends the feed. While a frame is stuck downstream nothing can be sent there.
    const fn reaps(&self) -> bool {
        self.limits.reap_idle && !self.pushing
    }

    fn idle_due(&self) -> Option<Monotonic> {
        let timeout = self.limits.idle_timeout.filter(|_| self.awaits_frames() && !self.reaping)?;
        if self.idle.is_some() && !self.reaps() {
            return None;
        }
        // A feed that was held up downstream could give nothing: its time begins when it can.
        let from = if self.reaps() { self.silent_from.max(self.push_ended) } else { self.silent_from };
        Some(from.saturating_add(timeout))
    }

    fn pace_due(&self) -> Option<Monotonic> {
        let min = self.fps_min().filter(|_| self.paused.is_none() && self.phase == Phase::Running)?;
        self.pace.due(min)
    }

    fn report_due(&self) -> Option<Monotonic> {
        let running = self.paused.is_none() && self.phase == Phase::Running;
        let interval = self.limits.report_interval.filter(|_| running)?;
        Some(self.reported.0.saturating_add(interval))
    }

    fn fps_min(&self) -> Option<f64> {
        self.limits.fps_min.filter(|min| min.is_finite() && *min > 0.0)
    }

    /// How long there has been silence, pauses left out, in nanoseconds.
    fn silence(&self, now: Monotonic) -> u64 {
        nanos(self.paused.unwrap_or(now).since(self.silent_from))
    }
}

/// Steps.
impl Watch {
    fn forget_stream(&mut self, now: Monotonic) {
        self.silent_from = now;
        (self.expected, self.origin, self.has_caps) = (None, None, false);
        self.reaping = false;
        self.pace.reset();
    }

    fn begin(&mut self, now: Monotonic) -> Event {
        self.phase = Phase::Running;
        self.began = now;
        self.session_frames = 0;
        self.reported = (now, self.frames.saturating_sub(1));
        self.lateness = Lateness::default();
        self.pace.reset();
        FeedStarted { session: self.session }.into()
    }

    /// Ends the session; the caller says what comes next.
    fn end(&mut self, reason: &str, detail: String) -> Event {
        let (session, frames) = (self.session, self.session_frames);
        self.session = session.saturating_add(1);
        self.session_frames = 0;
        (self.stalled, self.idle, self.reaping) = (false, None, false);
        FeedStopped { reason: reason.to_owned(), detail, session, frames }.into()
    }

    fn go_idle(&mut self, action: &str, now: Monotonic) -> Event {
        self.idle = Some(self.silent_from);
        Idle { idle_for: self.silence(now), action: action.to_owned() }.into()
    }

    fn break_silence(&mut self, now: Monotonic, events: &mut Vec<Event>) {
        let silence = self.silence(now);
        if std::mem::take(&mut self.stalled) {
            events.push(FeedRecovered { stalled_for: silence }.into());
        }
        if let Some(from) = self.idle.take() {
            events.push(Resumed { idle_for: nanos(now.since(from)) }.into());
        }
        self.reaping = false;
        self.silent_from = now;
    }

    /// Holds the frame against the one before.
    fn follow(&mut self, frame: &Frame, events: &mut Vec<Event>) {
        if let (Some(before), Some(origin)) = (self.origin, frame.origin)
            && origin.session == before.session
        {
            let missing = origin.seq.saturating_sub(before.seq).saturating_sub(1);
            self.missing = self.missing.saturating_add(missing);
        }
        self.origin = frame.origin.or(self.origin);
        let Some(time) = frame.running_time else { return };
        if let Some(expected) = self.expected {
            let gap = time.abs_diff(expected);
            if Duration::from_nanos(gap) > LARGEST_JUMP {
                let direction = if time > expected { "forward" } else { "backward" }.to_owned();
                events.push(Discontinuity { gap, direction }.into());
            }
        }
        self.expected = Some(time.saturating_add_unsigned(frame.duration.unwrap_or(0)));
    }

    fn report(&mut self, now: Monotonic) -> Event {
        let (at, frames) = std::mem::replace(&mut self.reported, (now, self.frames));
        let elapsed = now.since(at).as_secs_f64();
        let fps = if elapsed > 0.0 { (self.frames - frames) as f64 / elapsed } else { 0.0 };
        FeedReport {
            session: self.session,
            frames: self.frames,
            fps,
            lag: self.lateness.now(),
            uptime: nanos(now.since(self.began)),
        }
        .into()
    }
}
