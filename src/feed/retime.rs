//! The running time of every frame that leaves a feed: it goes on, whatever the inner source does.
//!
//! The inner source has a running time of its own, which begins anew, jumps, runs back or is not there at all. A
//! [`Retimer`] says what to add to it. What it promises of any input:
//! - no frame is before the one that was sent before it; but for the end of time, each is after it;
//! - a live source that tells the truth is not touched: the offset is 0;
//! - nothing is added up from frame to frame but offsets, so that honest input does not drift, however long it runs.
//!
//! Not promised: that a live source that falls behind is brought forward. Its frames were taken when they say, so
//! they are late, and who waits for them is to know.
//!
//! Times are nanoseconds of running time. A flush that sets the running time of the pipeline back needs a new
//! [`Retimer`], as does a new start of the pipeline.

const SECOND: u64 = 1_000_000_000;

/// How far a live frame may be from now before its time is held to be wrong, in ns.
pub const LIVE_TOLERANCE: u64 = 5 * SECOND;

/// The longest hole in a file that is kept, in ns: a sink that waits for what comes behind it stands still.
pub const LONGEST_HOLE: u64 = 3600 * SECOND;

/// A frame that is back by this or more is no frame out of order: another time has begun, in ns.
pub const LARGEST_STEP_BACK: u64 = SECOND;

/// How long a frame lasts that nothing is known of, in ns.
const GUESSED_LENGTH: u64 = 40_000_000;

/// Frames in a row whose times do not rise before they count as frames without a time.
const MOST_REPEATS: u32 = 25;

/// The end of time, so that the difference of any two times is an `i64`.
const LATEST: u64 = i64::MAX as u64;

/// Whose pace a source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// That of the clock, which it shares with the pipeline, as it does the base time.
    Live {
        /// How long it keeps a frame back before it gives it out, in ns: frames are that much before now.
        latency: u64,
    },
    /// That of whoever takes its frames, like a file.
    #[default]
    Free,
}

/// What a frame says of its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Its running time in the inner segment, in ns; `None` if it has no PTS.
    pub inner: Option<u64>,
    /// How long it lasts, in ns.
    pub duration: Option<u64>,
}

/// Where a frame comes in the running time of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The running time it is sent with, in ns.
    pub time: u64,
    /// What to add to inner running times from this frame on, in ns.
    pub offset: i64,
    /// The offset is not that of the frame before (0 before the first): a new segment goes first.
    pub moved: bool,
    /// The running time to write on this frame, in ns, where inner time and offset do not give `time`: it had no PTS
    /// or ran back a little. It is never before the offset, so that it can be said within the segment.
    pub stamp: Option<u64>,
    /// Its time does not continue that of the frame before.
    pub discont: bool,
}

/// What the next frame is to the frames before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// The first of a session.
    #[default]
    Session,
    /// The first of another pass through the same file.
    Pass,
    /// As above, but frames without a time went before it.
    Timed,
    /// One more.
    More,
}

/// The last frame that was sent.
#[derive(Clone, Copy, Debug)]
struct Last {
    time: u64,
    end: u64,
}

/// What is done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The offset holds.
    Kept,
    /// It gets an offset with which it comes at this time.
    Moved(u64),
    /// As above, and what came before has no bearing on it.
    Broken(u64),
    /// It alone comes at this time.
    Stamped(u64),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Retimer {
    pace: Pace,
    next: Next,
    /// Whether the time of this session has been compared with now. Always false without a clock.
    compared: bool,
    offset: i64,
    /// The offset of the last frame.
    sent_offset: i64,
    last: Option<Last>,
    /// The inner time of the last frame of this pass that had one.
    last_inner: Option<u64>,
    /// How far the last two inner times that rose are apart.
    interval: Option<u64>,
    /// Frames in a row whose inner times did not rise.
    repeats: u32,
}

impl Retimer {
    /// Another inner source begins, after a gap if there was one before: a reconnect, a restart, the end of a pause.
    pub fn session(&mut self, pace: Pace) {
        self.pace = pace;
        self.next = Next::Session;
        self.compared = false;
        self.offset = 0;
        self.forget_inner();
    }

    /// The same file begins again: its next frame follows the last one as if they were one file.
    pub fn looped(&mut self) {
        if matches!(self.next, Next::More | Next::Timed) {
            self.next = Next::Pass;
        }
        self.forget_inner();
    }

    /// Where `frame` comes. `frame_period` is that of the caps, in ns; `now` is the running time of the pipeline,
    /// `None` unless it plays.
    pub fn place(&mut self, frame: Stamp, frame_period: Option<u64>, now: Option<u64>) -> Placed {
        let now = now.map(|now| now.min(LATEST));
        let inner = frame.inner.filter(|inner| *inner <= LATEST);
        let inner = inner.filter(|inner| self.notes_progress(*inner));
        let is_gap = self.next == Next::Session && self.last.is_some();
        let verdict = match inner {
            Some(inner) => self.judge(inner, now),
            None => self.judge_without_time(now),
        };
        let time = match verdict {
            Verdict::Kept => inner.map_or(0, |inner| self.own_time(inner)),
            Verdict::Moved(time) | Verdict::Broken(time) => {
                self.offset = signed(time) - signed(inner.unwrap_or(0));
                time
            }
            Verdict::Stamped(time) => time,
        };
        self.compared |= inner.is_some() && now.is_some();
        self.next = match (self.next, inner) {
            (_, Some(_)) | (Next::More, None) => Next::More,
            _ => Next::Timed,
        };
        let own = inner.map(|inner| self.own_time(inner));
        self.remember(time, own.unwrap_or(time), self.length(frame.duration, frame_period));
        let said = inner.and_then(|inner| signed(inner).checked_add(self.offset));
        Placed {
            time,
            offset: self.offset,
            moved: std::mem::replace(&mut self.sent_offset, self.offset) != self.offset,
            stamp: (said != Some(signed(time))).then_some(time),
            discont: is_gap || matches!(verdict, Verdict::Broken(_)),
        }
    }

    /// Where a frame with a time comes.
    fn judge(&self, inner: u64, now: Option<u64>) -> Verdict {
        match (self.next, self.pace) {
            (Next::Session, Pace::Live { latency }) => {
                let rises = self.last.is_none_or(|last| inner > last.time);
                if rises && !self.strays(inner, now, Some(latency)) {
                    Verdict::Kept
                } else {
                    Verdict::Moved(self.after_gap(now))
                }
            }
            (Next::Session, Pace::Free) => Verdict::Moved(self.after_gap(now)),
            (Next::Pass, _) | (Next::Timed, Pace::Free) => Verdict::Moved(self.end()),
            (Next::Timed | Next::More, _) => self.judge_next(inner, now),
        }
    }

    /// Where a frame comes in the midst of a session.
    fn judge_next(&self, inner: u64, now: Option<u64>) -> Verdict {
        let (time, last) = (self.own_time(inner), self.last_time());
        if signed(inner).saturating_add(self.offset) <= signed(last) {
            let back = signed(last).saturating_sub(signed(inner).saturating_add(self.offset));
            return if back < signed(LARGEST_STEP_BACK) {
                Verdict::Stamped(later(last, 1))
            } else {
                Verdict::Broken(self.resume(now))
            };
        }
        // That it falls behind later is no error of its time; see the module.
        let behind = match self.pace {
            Pace::Live { latency } if !self.compared => Some(latency),
            _ => None,
        };
        if self.strays(time, now, behind) { Verdict::Broken(self.resume(now)) } else { Verdict::Kept }
    }

    /// Whether a time is too far from where it is expected: ahead, and behind if a latency is given.
    fn strays(&self, time: u64, now: Option<u64>, behind: Option<u64>) -> bool {
        match (self.pace, now) {
            (Pace::Live { .. }, Some(now)) => {
                time > later(now, LIVE_TOLERANCE)
                    || behind.is_some_and(|latency| later(later(time, LIVE_TOLERANCE), latency) < now)
            }
            // With no clock to compare with there is only what was sent.
            _ => time > later(self.end(), LONGEST_HOLE),
        }
    }

    /// Where a frame without a time comes.
    fn judge_without_time(&self, now: Option<u64>) -> Verdict {
        let end = self.end();
        match (self.next, self.pace, now) {
            // So that what is written on it is not before the offset.
            (Next::Session, Pace::Free, _) => Verdict::Moved(self.after_gap(now)),
            (Next::Session, ..) => Verdict::Stamped(self.after_gap(now)),
            (Next::Pass, Pace::Free, _) => Verdict::Moved(end),
            (_, Pace::Free, _) | (_, _, None) => Verdict::Stamped(end),
            // It has never had one: the frames come when they are taken.
            (Next::Timed, _, Some(now)) => Verdict::Stamped(now.max(later(self.last_time(), 1))),
            (_, Pace::Live { latency }, Some(now)) => {
                let is_behind = later(later(end, LIVE_TOLERANCE), latency) < now;
                Verdict::Stamped(if is_behind { now } else { self.bounded(end, now) })
            }
        }
    }

    /// Where the first frame after a gap comes, if its own time does not say.
    fn after_gap(&self, now: Option<u64>) -> u64 {
        match (self.pace, now) {
            (Pace::Live { .. }, Some(now)) => self.bounded(self.end().max(now), now),
            (_, now) => self.end().max(now.unwrap_or(0)),
        }
    }

    /// Where a frame comes whose time has broken off within a session. In a file nothing is missing for it.
    fn resume(&self, now: Option<u64>) -> u64 {
        match self.pace {
            Pace::Live { .. } => self.after_gap(now),
            Pace::Free => self.end(),
        }
    }

    /// A live source that is faster than the clock is not followed ahead of it.
    fn bounded(&self, time: u64, now: u64) -> u64 {
        if time > later(now, LIVE_TOLERANCE) { later(self.last_time(), 1) } else { time }
    }

    /// Notes the inner time of a frame. False if times have not risen for so long that they say nothing.
    fn notes_progress(&mut self, inner: u64) -> bool {
        match self.last_inner.replace(inner) {
            Some(last) if inner <= last => self.repeats = self.repeats.saturating_add(1),
            Some(last) => {
                self.repeats = 0;
                self.interval = self.usable(Some(inner - last)).or(self.interval);
            }
            None => {}
        }
        self.repeats <= MOST_REPEATS
    }

    fn forget_inner(&mut self) {
        self.last_inner = None;
        self.interval = self.interval.filter(|_| self.next == Next::Pass);
        self.repeats = 0;
    }

    /// Notes a frame that is sent at `time` and by its own account was to come at `own`.
    fn remember(&mut self, time: u64, own: u64, length: u64) {
        let mut end = later(own, length).max(later(time, 1));
        if own < time {
            // Out of order: the end is that of the frame it should have been before, if that is later.
            end = end.max(self.end());
        }
        self.last = Some(Last { time, end });
    }

    /// How long a frame lasts.
    fn length(&self, duration: Option<u64>, frame_period: Option<u64>) -> u64 {
        let known = self.usable(duration).or_else(|| self.usable(frame_period)).or(self.interval);
        known.unwrap_or(GUESSED_LENGTH)
    }

    /// A length, if one can believe it.
    fn usable(&self, length: Option<u64>) -> Option<u64> {
        let longest = match self.pace {
            Pace::Live { .. } => LIVE_TOLERANCE,
            Pace::Free => LONGEST_HOLE,
        };
        length.filter(|length| (1..=longest).contains(length))
    }

    /// The running time of a frame by the offset, within time.
    fn own_time(&self, inner: u64) -> u64 {
        inner.saturating_add_signed(self.offset).min(LATEST)
    }

    fn last_time(&self) -> u64 {
        self.last.map_or(0, |last| last.time)
    }

    /// The end of what was sent; 0 if nothing was.
    fn end(&self) -> u64 {
        self.last.map_or(0, |last| last.end)
    }
}

/// A time or a length that is not beyond the end of time.
fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// `time` and `by` more, within time.
fn later(time: u64, by: u64) -> u64 {
    time.saturating_add(by).min(LATEST)
}

#[cfg(test)]
#[path = "retime_tests.rs"]
mod tests;
