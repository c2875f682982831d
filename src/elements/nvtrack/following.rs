//! From frames to the tracker and back: status, time, classes, when to begin anew.

use crate::meta::{self, tracks};
use crate::track::{Counts, Mark, Observation, Params, Predicted, State, Step, Tracker};
use crate::vision::{Rect, Size};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Timestamps that go on by more than this are of another time, as for `nvhealth`'s `discontinuity`.
const LONGEST_GAP: Duration = Duration::from_secs(5);

/// The same where a frame says that it does not continue the one before.
const LONGEST_DISCONT: Duration = Duration::from_secs(1);

/// Most classes told apart. A detection of another one is in no track: names of classes are of a fixed list.
const MOST_CLASSES: usize = 1024;

/// The next identity: all elements of the process count together.
fn next_id() -> i64 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    loop {
        // What reads them wants a gint above zero. At a hundred new tracks a second that is for eight months.
        let id = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & 0x7fff_ffff;
        if id != 0 {
            return i64::from(id);
        }
    }
}

/// The classes there have been, so that the tracker can have numbers.
#[derive(Debug, Default)]
struct Classes(Vec<(String, Option<i32>)>);

impl Classes {
    fn number(&mut self, label: &str, label_id: Option<i32>) -> Option<u32> {
        let known = self.0.iter().position(|(name, id)| name == label && *id == label_id);
        let index = known.or_else(|| {
            (self.0.len() < MOST_CLASSES).then(|| {
                self.0.push((label.to_owned(), label_id));
                self.0.len() - 1
            })
        })?;
        u32::try_from(index).ok()
    }

    fn name(&self, number: u32) -> Option<(&str, Option<i32>)> {
        let (label, label_id) = self.0.get(usize::try_from(number).ok()?)?;
        Some((label, *label_id))
    }
}

/// A region that may go on with a track, or begin one.
#[derive(Debug)]
struct Seen {
    box_in_frame: Rect,
    class: Option<u32>,
    confidence: f32,
    embedding: Option<Vec<f32>>,
}

impl Seen {
    fn observation(&self) -> Observation<'_> {
        Observation {
            box_in_frame: self.box_in_frame,
            class: self.class.unwrap_or_default(),
            // What is no number is in no track.
            confidence: if self.class.is_some() { self.confidence } else { f32::NAN },
            embedding: self.embedding.as_deref(),
        }
    }
}

/// Whose frame it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    feed: Arc<str>,
    session: u32,
}

/// What the meta `nv-frame` says; the default for a frame without it.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    seq: Option<u64>,
    skipped: bool,
}

/// What one stream needs between two frames.
#[derive(Debug, Default)]
pub(super) struct Following {
    tracker: Tracker,
    classes: Classes,
    frame: Size,
    frame_duration: Option<Duration>,
    origin: Option<Origin>,
    last_seq: Option<u64>,
    last_pts: Option<gst::ClockTime>,
    stream: Option<(String, Option<gst::GroupId>)>,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// Whether there was a frame since everything began anew.
    begun: bool,
    seen: Vec<Seen>,
    marks: Vec<Option<Mark>>,
    predicted: Vec<Predicted>,
}

/// What is known of it, for `stats`.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) feed: Option<Arc<str>>,
    pub(super) counts: Counts,
    pub(super) alive: usize,
    pub(super) states: [(State, usize); 4],
}

impl Following {
    /// Of the next frames.
    pub(super) fn set_format(&mut self, frame: Size, frame_duration: Option<Duration>) {
        if self.frame != frame {
            self.reset();
        }
        (self.frame, self.frame_duration) = (frame, frame_duration);
    }

    /// An event came that is in order with the frames.
    pub(super) fn event(&mut self, event: &gst::EventRef) {
        match event.view() {
            gst::EventView::FlushStop(_) => self.reset(),
            gst::EventView::StreamStart(start) => {
                let stream = Some((start.stream_id().to_string(), start.group_id()));
                if self.stream != stream {
                    self.reset();
                    self.stream = stream;
                }
            }
            gst::EventView::Segment(segment) => {
                let segment = segment.segment().downcast_ref::<gst::ClockTime>().cloned();
                if self.segment != segment {
                    self.reset();
                    self.segment = segment;
                }
            }
            _ => {}
        }
    }

    /// Ends all tracks.
    pub(super) fn reset(&mut self) {
        self.tracker.reset();
        self.classes = Classes::default();
        (self.last_seq, self.last_pts, self.begun) = (None, None, false);
    }

    /// Reads the regions of a frame and marks them. How many detections found no room since the last one.
    pub(super) fn follow(&mut self, buffer: &mut gst::BufferRef, params: &Params) -> u64 {
        if self.tracker.params() != params {
            self.tracker.set_params(*params);
        }
        let facts = self.facts(buffer);
        let step = self.step(buffer, facts);
        let rejected = self.tracker.counts().rejected;
        if facts.skipped {
            self.tracker.predict(step);
        } else {
            self.update(buffer, step);
        }
        self.attach_coasting(buffer);
        self.tracker.counts().rejected - rejected
    }

    /// Name of the feed, if its frames have one.
    pub(super) fn feed(&self) -> Option<&Arc<str>> {
        self.origin.as_ref().map(|origin| &origin.feed).filter(|feed| !feed.is_empty())
    }

    pub(super) fn summary(&self) -> Summary {
        let states = [State::Tentative, State::Confirmed, State::Coasted, State::Lost];
        Summary {
            feed: self.feed().cloned(),
            counts: self.tracker.counts(),
            alive: self.tracker.alive(),
            states: states.map(|state| (state, self.tracker.count(state))),
        }
    }

    /// What the frame says of itself. Another feed or session begins anew.
    fn facts(&mut self, buffer: &gst::BufferRef) -> Facts {
        let read = meta::frame::with_facts(buffer, |facts| {
            let same = self
                .origin
                .as_ref()
                .is_some_and(|origin| *origin.feed == *facts.feed_id && origin.session == facts.session);
            let origin = (!same).then(|| Origin { feed: Arc::from(facts.feed_id), session: facts.session });
            (origin, Facts { seq: Some(facts.seq), skipped: !facts.status.may_have_objects() })
        });
        let Some((origin, facts)) = read else { return Facts::default() };
        if origin.is_some() {
            self.reset();
            self.origin = origin;
        }
        facts
    }

    /// What lies between the last frame and this one. A jump in time begins anew.
    fn step(&mut self, buffer: &gst::BufferRef, facts: Facts) -> Step {
        let (pts, discont) = (buffer.pts(), buffer.flags().contains(gst::BufferFlags::DISCONT));
        let elapsed = self.elapsed(pts);
        let went_back = elapsed.is_none() && pts.is_some() && self.last_pts.is_some();
        let longest = if discont { LONGEST_DISCONT } else { LONGEST_GAP };
        let continues = elapsed.map_or(!discont && !went_back, |elapsed| elapsed <= longest);
        if self.begun && !continues {
            self.reset();
        }
        let missing = facts.seq.zip(self.last_seq).and_then(|(seq, last)| seq.checked_sub(last));
        let frames = u32::try_from(missing.unwrap_or(1).max(1)).unwrap_or(u32::MAX);
        let elapsed = elapsed
            .or_else(|| self.frame_duration.and_then(|duration| duration.checked_mul(frames)))
            .unwrap_or_default();
        self.begun = true;
        self.last_seq = facts.seq.or(self.last_seq);
        self.last_pts = pts.or(self.last_pts);
        Step { frames, elapsed }
    }

    /// Time since the last frame; `None` if one of them has none, or it went back.
    fn elapsed(&self, pts: Option<gst::ClockTime>) -> Option<Duration> {
        let backwards = self.segment.as_ref().is_some_and(|segment| segment.rate() < 0.0);
        let (now, last) = (pts?, self.last_pts?);
        let elapsed = if backwards { last.checked_sub(now) } else { now.checked_sub(last) };
        elapsed.map(Duration::from)
    }

    fn update(&mut self, buffer: &mut gst::BufferRef, step: Step) {
        let Self { tracker, classes, seen, marks, frame, .. } = self;
        seen.clear();
        tracks::regions(buffer, *frame, |region| {
            seen.push(Seen {
                box_in_frame: region.box_in_frame,
                class: classes.number(&region.label, region.label_id),
                confidence: region.confidence,
                embedding: region.embedding,
            });
        });
        let observations: SmallVec<[Observation<'_>; 32]> = seen.iter().map(Seen::observation).collect();
        marks.clear();
        marks.extend_from_slice(tracker.update(step, &observations, &mut next_id));
        tracks::mark(buffer, marks);
    }

    /// Says where those should be that nobody has seen on this frame.
    fn attach_coasting(&mut self, buffer: &mut gst::BufferRef) {
        self.predicted.clear();
        self.predicted.extend(self.tracker.coasting());
        for predicted in &self.predicted {
            if let Some(class) = self.classes.name(predicted.class) {
                tracks::attach(buffer, self.frame, class, predicted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::thread;

    #[test]
    fn no_identity_is_given_twice_in_the_process() {
        let take = || (0..1000).map(|_| next_id()).collect::<Vec<_>>();
        let ids: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id > 0 && i32::try_from(*id).is_ok()));
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    #[test]
    fn classes_are_bounded_and_told_apart_by_name_and_number() {
        let mut classes = Classes::default();
        assert_eq!((classes.number("a", Some(0)), classes.number("a", None)), (Some(0), Some(1)));
        assert_eq!((classes.number("a", Some(0)), classes.name(1)), (Some(0), Some(("a", None))));
        for label in 0..2 * MOST_CLASSES {
            classes.number(&label.to_string(), None);
        }
        assert_eq!((classes.0.len(), classes.number("one more", None)), (MOST_CLASSES, None));
    }
}
