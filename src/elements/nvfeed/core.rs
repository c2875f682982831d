//! What the threads of a feed share: which source's frames pass, what is to be told to the supervisor, counters.

use super::outlet::Outlet;
use super::supervisor::Report;
use crate::elements::message::HealthReporter;
use crate::elements::signal::Signal;
use crate::feed::{Happening, Seen};
use crate::time::Monotonic;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Notes that may wait for the supervisor. The user's come one by one, and a source has few to give.
const MAX_NOTES: usize = 64;

/// What the supervisor is told.
#[derive(Debug)]
pub(super) enum Note {
    /// By the user, or by the element for it.
    Ask(Happening),
    /// By the source of that number; one that has been let go of is not listened to.
    Source(u64, Happening),
    /// By the same: which decoder there is.
    Decoder(u64, String),
    /// By the same: something that was not fatal.
    Warning(u64, String),
    /// By who wants the stream to end, whatever `on-end` says of a feed that stops.
    End,
    /// By the element: it is over.
    Shutdown,
}

impl Note {
    /// Whether the source may have stopped for good once this is heard.
    fn may_be_the_end(&self) -> bool {
        match self {
            Self::Ask(happening) | Self::Source(_, happening) => matches!(
                happening,
                Happening::Stop | Happening::Ended | Happening::Unwanted | Happening::Failed(_)
            ),
            Self::End | Self::Shutdown => true,
            Self::Decoder(..) | Self::Warning(..) => false,
        }
    }
}

/// Frames, by what became of them. `received` is the sum of the others, but for the frame that is on its way.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) received: AtomicU64,
    pub(super) delivered: AtomicU64,
    /// Of a source that had been let go of.
    pub(super) stale: AtomicU64,
    /// Nobody was there to take them.
    pub(super) unlinked: AtomicU64,
    /// Downstream refused them.
    pub(super) refused: AtomicU64,
    /// Outside of their segment.
    pub(super) outside: AtomicU64,
}

/// What waits for the supervisor of a run: of the element from one start to its stop.
#[derive(Debug, Default)]
struct Notes {
    run: u64,
    waiting: VecDeque<Note>,
    /// The supervisor does what it has taken last, and the source may have stopped for good after that.
    is_ending: bool,
    /// The source had stopped for good when the supervisor was last done.
    is_over: bool,
}

/// What the threads share. Nothing is called with a lock held, and no two are held together, but for those of the
/// element's name and settings under that of the outlet.
#[derive(Default)]
pub(super) struct Core {
    pub(super) element: glib::WeakRef<super::NvFeed>,
    pub(super) health: HealthReporter,
    pub(super) outlet: Mutex<Outlet>,
    pub(super) frames: Frames,
    pub(super) report: Mutex<Report>,
    notes: Mutex<Notes>,
    /// Raised for every note.
    pub(super) work: Signal,
    /// Number of the source whose frames pass; 0 is none.
    current: AtomicU64,
    /// Number of the last source. No number comes twice: one of before a stop may still have something to say.
    sources: AtomicU64,
    is_held: AtomicBool,
    /// Raised when somebody who waits to push may go on.
    pub(super) gate: Signal,
    /// Whether the element is PLAYING.
    pub(super) is_playing: AtomicBool,
    /// Whether time goes on around it, also while it is on its way to PLAYING.
    pub(super) has_time: AtomicBool,
    /// Whether the next frame is to be told of.
    wants_frame: AtomicBool,
    /// When the last frame came, on the monotonic clock; 0 is never.
    last_frame: AtomicU64,
    is_pushing: AtomicBool,
}

impl Core {
    /// Tells the supervisor.
    pub(super) fn tell(&self, note: Note) {
        {
            let notes = &mut self.notes.lock().waiting;
            if notes.len() >= MAX_NOTES {
                // A warning is worth the least; whoever asks over and over is served by the last word.
                let first = |is: fn(&Note) -> bool| notes.iter().position(is);
                let least = first(|note| matches!(note, Note::Warning(..)));
                let least = least.or_else(|| first(|note| matches!(note, Note::Ask(_)))).unwrap_or(0);
                notes.remove(least);
            }
            notes.push_back(note);
        }
        self.work.raise();
    }

    /// Another run begins; whoever supervises one before is to end, whatever it still waits for. Returns its number.
    pub(super) fn begin_run(&self) -> u64 {
        let mut notes = self.notes.lock();
        *notes = Notes { run: notes.run + 1, ..Notes::default() };
        notes.run
    }

    /// What there is to hear in that run; `None` if another has begun. `is_due`: time may have run out for the source.
    pub(super) fn take_notes(&self, run: u64, is_due: bool) -> Option<VecDeque<Note>> {
        let mut notes = self.notes.lock();
        if notes.run != run {
            return None;
        }
        notes.is_ending = is_due || notes.waiting.iter().any(Note::may_be_the_end);
        Some(std::mem::take(&mut notes.waiting))
    }

    /// What was taken has been done in that run; `is_over` if the source has stopped for good.
    pub(super) fn notes_done(&self, run: u64, is_over: bool) {
        let mut notes = self.notes.lock();
        if notes.run == run {
            (notes.is_ending, notes.is_over) = (false, is_over);
        }
    }

    /// Asks for another source, if that is sure to be heard before the source stops for good. Then the frames of the new
    /// one follow, and no end of the stream before them.
    pub(super) fn restart_before_the_end(&self) -> bool {
        let mut notes = self.notes.lock();
        if notes.is_ending || notes.is_over || notes.waiting.iter().any(Note::may_be_the_end) {
            return false;
        }
        notes.waiting.push_back(Note::Ask(Happening::Restart));
        drop(notes);
        self.work.raise();
        true
    }

    pub(super) fn is_run(&self, run: u64) -> bool {
        self.notes.lock().run == run
    }

    pub(super) fn next_source(&self) -> u64 {
        self.sources.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The frames of that source pass no more, if they did.
    pub(super) fn let_go(&self, source: u64) {
        if self.if_current(source, |_| self.current.store(0, Ordering::Release)).is_some() {
            self.gate.raise();
        }
    }

    /// From now on the frames of that source pass, and no other's; 0 is nobody's. `prepare` is done before any does.
    pub(super) fn set_current(&self, source: u64, prepare: impl FnOnce(&mut Outlet)) {
        {
            let mut outlet = self.outlet.lock();
            prepare(&mut outlet);
            self.last_frame.store(0, Ordering::Release);
            self.wants_frame.store(source != 0, Ordering::Release);
            self.current.store(source, Ordering::Release);
        }
        self.gate.raise();
    }

    /// Does something with the stream that leaves, if frames of that source still pass.
    pub(super) fn if_current<T>(&self, source: u64, act: impl FnOnce(&mut Outlet) -> T) -> Option<T> {
        let mut outlet = self.outlet.lock();
        self.is_current(source).then(|| act(&mut outlet))
    }

    pub(super) fn is_current(&self, source: u64) -> bool {
        self.current.load(Ordering::Acquire) == source
    }

    pub(super) fn set_held(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::Release);
        self.gate.raise();
    }

    /// The source has stalled: the next frame is news again.
    pub(super) fn want_frame(&self) {
        self.wants_frame.store(true, Ordering::Release);
    }

    /// A frame came at `now` from the source whose frames pass, which nobody may change meanwhile; whether it is to be
    /// told of.
    pub(super) fn frame_came(&self, now: Monotonic) -> bool {
        self.last_frame.store(now.as_nanos(), Ordering::Release);
        self.wants_frame.swap(false, Ordering::AcqRel)
    }

    /// Waits while frames are held; whether the source is still the one whose frames pass.
    pub(super) fn pass_gate(&self, source: u64) -> bool {
        loop {
            let seen = self.gate.seen();
            if !self.is_current(source) {
                return false;
            }
            if !self.is_held.load(Ordering::Acquire) {
                return true;
            }
            self.gate.wait(seen, None);
        }
    }

    pub(super) fn set_pushing(&self, is_pushing: bool) {
        self.is_pushing.store(is_pushing, Ordering::Release);
        if !is_pushing {
            self.gate.raise();
        }
    }

    /// Waits until no frame is on its way downstream, at most `within`; whether none is.
    pub(super) fn wait_for_push(&self, within: Duration) -> bool {
        self.gate.wait_until(within, || !self.is_pushing.load(Ordering::Acquire))
    }

    pub(super) fn seen(&self) -> Seen {
        let last = self.last_frame.load(Ordering::Acquire);
        Seen {
            last_frame: (last != 0).then(|| Monotonic::from_nanos(last)),
            is_blocked: self.is_pushing.load(Ordering::Acquire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Failure, Kind};

    #[test]
    fn a_restart_is_taken_only_if_it_is_heard_before_the_source_can_stop_for_good() {
        let core = Core::default();
        let run = core.begin_run();
        assert!(core.restart_before_the_end());
        core.take_notes(run, false).unwrap();
        assert!(core.restart_before_the_end(), "what was taken is not the end");
        core.take_notes(run, true).unwrap();
        assert!(!core.restart_before_the_end(), "time may run out");
        core.notes_done(run, false);
        assert!(core.restart_before_the_end());
        let failure = Failure::new(Kind::Other, "no answer");
        for last in [Happening::Ended, Happening::Unwanted, Happening::Stop, Happening::Failed(failure)] {
            core.take_notes(run, false).unwrap();
            core.notes_done(run, false);
            core.tell(Note::Source(1, Happening::Frame));
            assert!(core.restart_before_the_end());
            core.tell(Note::Source(1, last));
            assert!(!core.restart_before_the_end());
            let notes = core.take_notes(run, false).unwrap();
            assert!(!core.restart_before_the_end(), "it is being heard");
            let asked = |note: &&Note| matches!(note, Note::Ask(Happening::Restart));
            assert_eq!((notes.iter().filter(asked).count(), notes.len()), (1, 3));
        }
        core.notes_done(run, true);
        assert!(!core.restart_before_the_end(), "it has stopped");
        core.begin_run();
        core.notes_done(run, true);
        assert!(core.restart_before_the_end(), "that was another run");
    }

    #[test]
    fn who_supervised_an_earlier_run_hears_nothing_and_lets_go_of_its_own_source_only() {
        let core = Core::default();
        let (earlier, before) = (core.begin_run(), core.next_source());
        core.set_current(before, |_| {});
        core.tell(Note::Shutdown);
        let run = core.begin_run();
        let source = core.next_source();
        assert_ne!(source, before, "what the source of before still says is not taken for this one's");
        core.set_current(source, |_| {});
        core.tell(Note::Ask(Happening::Resume));
        assert!(core.take_notes(earlier, false).is_none() && !core.is_run(earlier));
        core.let_go(before);
        assert!(core.is_current(source));
        assert!(matches!(
            core.take_notes(run, false).unwrap().pop_front(),
            Some(Note::Ask(Happening::Resume))
        ));
        core.let_go(source);
        assert!(core.is_current(0));
    }
}
