//! The line that says which feed this is and how it fares.

use super::Note;
use crate::health::redact;
use crate::output::Status;
use crate::time::Monotonic;
use std::fmt::Write as _;
use std::time::Duration;

/// How often the rate is measured, and how long a status stands.
const INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the line of one stream.
#[derive(Debug, Default)]
pub(super) struct StatusLine {
    feed_id: String,
    text: String,
    /// Start of the measurement at hand and the frames since.
    since: Option<Monotonic>,
    frames: u32,
    rate: Option<u32>,
    /// The last frame with each kind of status.
    inferred: Option<Monotonic>,
    failed: Option<(Monotonic, Status)>,
    told: Option<Status>,
}

impl StatusLine {
    /// The line for this frame. It changes once a second at most, but for a failure, which is shown at once and stands
    /// for a second. Frames left out on purpose between inferred ones are not mentioned.
    pub(super) fn line(&mut self, note: Note<'_>, now: Monotonic) -> &str {
        let mut is_new = self.feed_id != note.feed_id || self.text.is_empty();
        if is_new {
            note.feed_id.clone_into(&mut self.feed_id);
        }
        is_new |= self.count(now);
        let told = self.told(note.status, now);
        if is_new || told != self.told {
            self.told = told;
            self.write();
        }
        &self.text
    }

    fn count(&mut self, now: Monotonic) -> bool {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.since(since);
        if elapsed < INTERVAL {
            self.frames = self.frames.saturating_add(1);
            return false;
        }
        let rate = f64::from(self.frames) / elapsed.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive; a cast saturates"
        )]
        let rate = rate.round() as u32;
        let changes = self.rate.replace(rate) != Some(rate);
        (self.since, self.frames) = (Some(now), 1);
        changes
    }

    fn told(&mut self, status: Status, now: Monotonic) -> Option<Status> {
        let lately = |time: Monotonic| now.since(time) < INTERVAL;
        match status {
            Status::Inferred => self.inferred = Some(now),
            Status::Failed | Status::Timeout => self.failed = Some((now, status)),
            Status::Skipped | Status::Passed => {}
        }
        match self.failed {
            Some((time, status)) if lately(time) => Some(status),
            _ if self.inferred.is_some_and(lately) => None,
            _ => Some(status).filter(|status| *status != Status::Inferred),
        }
    }

    fn write(&mut self) {
        self.text.clear();
        self.text.push_str(&redact(&self.feed_id));
        let separate = |text: &mut String| text.push_str(if text.is_empty() { "" } else { "  " });
        if let Some(rate) = self.rate {
            separate(&mut self.text);
            // A string takes everything.
            write!(self.text, "{rate} fps").ok();
        }
        if let Some(status) = self.told {
            separate(&mut self.text);
            self.text.push_str(status.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn note(status: Status) -> Note<'static> {
        Note { feed_id: "door", status, session: 0 }
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut line = StatusLine::default();
        assert_eq!(line.line(note(Status::Inferred), at(0)), "door");
        for frame in 1..=75 {
            line.line(note(Status::Inferred), at(frame * 40));
        }
        assert_eq!(line.line(note(Status::Inferred), at(3040)), "door  25 fps");
    }

    #[test]
    fn frames_left_out_between_inferred_ones_are_not_mentioned() {
        let mut line = StatusLine::default();
        line.line(note(Status::Inferred), at(0));
        assert_eq!(line.line(note(Status::Skipped), at(40)), "door");
        assert_eq!(line.line(note(Status::Failed), at(80)), "door  failed");
        assert_eq!(line.line(note(Status::Inferred), at(900)), "door  failed", "long enough to be read");
        assert!(!line.line(note(Status::Inferred), at(1100)).contains("failed"));
        assert!(line.line(note(Status::Skipped), at(2500)).ends_with("skipped"));
    }

    #[test]
    fn a_credential_in_the_name_of_a_feed_is_not_shown() {
        let mut line = StatusLine::default();
        let note = Note { feed_id: "rtsp://me:secret@camera/", ..note(Status::Inferred) };
        assert!(!line.line(note, at(0)).contains("secret"));
    }

    #[test]
    fn a_feed_without_a_name_has_its_rate_only() {
        let mut line = StatusLine::default();
        let note = Note { feed_id: "", ..note(Status::Inferred) };
        assert_eq!(line.line(note, at(0)), "");
        for frame in 1..=26 {
            line.line(note, at(frame * 40));
        }
        assert_eq!(line.line(note, at(1080)), "25 fps");
    }
}
