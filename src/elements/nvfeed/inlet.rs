//! The pad that a source ends in: its frames pass from here to the pad of the element.
//!
//! The pad belongs to no element, so that the source can be a pipeline of its own: nothing of it is seen from outside.

use super::core::{Core, Note};
use super::outlet::TimeSegment;
use crate::clock;
use crate::feed::{Failure, Happening, Kind};
use crate::health::StageError;
use gst::prelude::*;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long a file waits for somebody to take its frames before it tries the next one.
const RETRY: Duration = Duration::from_millis(100);

/// What pictures may be at most; 0 is anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fps: u32,
}

impl Bounds {
    /// Says what is too large in these caps, if anything is; whatever they do not name is not.
    pub(super) fn excess(&self, caps: &gst::CapsRef) -> Option<String> {
        let structure = caps.structure(0)?;
        let side = |name| structure.get::<i32>(name).ok().and_then(|found| u32::try_from(found).ok());
        for (name, most) in [("width", self.width), ("height", self.height)] {
            if let Some(found) = side(name).filter(|found| most != 0 && *found > most) {
                return Some(format!("{name}: expected at most {most} (max-{name}), found {found}"));
            }
        }
        let rate = structure.get::<gst::Fraction>("framerate").ok()?;
        let (frames, seconds) = (i64::from(rate.numer()), i64::from(rate.denom().max(1)));
        (self.fps != 0 && frames > i64::from(self.fps) * seconds)
            .then(|| format!("framerate: expected at most {} (max-fps), found {frames}/{seconds}", self.fps))
    }
}

/// What the source has said of the frames it gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Incoming {
    pub(super) segment: TimeSegment,
    pub(super) is_new_segment: bool,
    /// Time from frame to frame by the caps, in nanoseconds.
    pub(super) period: Option<u64>,
}

/// Where one source ends.
pub(super) struct Inlet {
    pub(super) core: Arc<Core>,
    /// Number of the source.
    pub(super) source: u64,
    pub(super) is_live: bool,
    pub(super) bounds: Bounds,
    incoming: Mutex<Incoming>,
    /// Frames since it began or was rewound.
    passed: AtomicU64,
    /// Its first failure is what counts; others follow from it.
    has_failed: AtomicBool,
}

impl Inlet {
    pub(super) fn new(core: Arc<Core>, source: u64, is_live: bool, bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            core,
            source,
            is_live,
            bounds,
            incoming: Mutex::default(),
            passed: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
        })
    }

    /// The pad, active.
    pub(super) fn pad(self: &Arc<Self>) -> Result<gst::Pad, glib::BoolError> {
        let (chain, event, query) = (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        let pad = gst::Pad::builder(gst::PadDirection::Sink)
            .name("inlet")
            .chain_function(move |_, _, buffer| {
                chain.guarded(|| Err(gst::FlowError::Error), |inlet| inlet.chain(buffer))
            })
            .event_function(move |_, _, taken| event.guarded(|| false, |inlet| inlet.event(taken)))
            .query_function(move |_, _, asked| query.guarded(|| false, |inlet| inlet.query(asked)))
            .build();
        pad.set_active(true)?;
        Ok(pad)
    }

    /// There is no element that a panic could be reported to: the source fails instead.
    fn guarded<T>(&self, otherwise: impl FnOnce() -> T, run: impl FnOnce(&Self) -> T) -> T {
        catch_unwind(AssertUnwindSafe(|| run(self))).unwrap_or_else(|_| {
            self.fail(Failure::new(Kind::Other, "the source panicked"));
            otherwise()
        })
    }

    /// The source is of no use any more.
    pub(super) fn fail(&self, failure: Failure) {
        if !self.has_failed.swap(true, Ordering::AcqRel) {
            self.core.tell(Note::Source(self.source, Happening::Failed(failure)));
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Whether a frame has come since the source began or was rewound.
    pub(super) fn has_passed(&self) -> bool {
        self.passed.load(Ordering::Acquire) > 0
    }

    /// There is a decoder.
    pub(super) fn decoder(&self, factory: String) {
        self.core.tell(Note::Decoder(self.source, factory));
    }

    /// The latency of the source is another.
    pub(super) fn latency_changed(&self) {
        let Some(element) = self.core.element.upgrade() else { return };
        if self.core.is_current(self.source) {
            element.post_message(gst::message::Latency::builder().src(&element).build()).ok();
        }
    }

    /// Something went wrong that is not the end of the source.
    pub(super) fn warn(&self, detail: String) {
        if !self.has_failed() {
            self.core.tell(Note::Warning(self.source, detail));
        }
    }

    // --- Frames ------------------------------------------------------------------------------------------------

    fn chain(&self, mut buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let frames = &self.core.frames;
        frames.received.fetch_add(1, Ordering::Relaxed);
        let stale = || {
            frames.stale.fetch_add(1, Ordering::Relaxed);
            gst::FlowError::Flushing
        };
        if !self.core.pass_gate(self.source) {
            return Err(stale());
        }
        let element = self.core.element.upgrade().ok_or_else(stale)?;
        let pad = element.srcpad();
        let flow = {
            let _streaming = pad.stream_lock();
            let has_time = self.core.has_time.load(Ordering::Acquire);
            let now = if has_time { element.current_running_time() } else { None };
            let incoming = self.incoming.lock().clone();
            let now = now.map(gst::ClockTime::nseconds);
            let placed = self.core.if_current(self.source, |outlet| {
                let is_news = self.core.frame_came(clock::now());
                (is_news, outlet.frame(&element, &incoming, &mut buffer, now))
            });
            let (is_news, events) = placed.ok_or_else(stale)?;
            self.passed.fetch_add(1, Ordering::Relaxed);
            if is_news {
                self.core.tell(Note::Source(self.source, Happening::Frame));
            }
            let Some(events) = events else {
                frames.outside.fetch_add(1, Ordering::Relaxed);
                return Ok(gst::FlowSuccess::Ok);
            };
            // Not before a frame has taken it along.
            self.incoming.lock().is_new_segment = false;
            self.core.set_pushing(true);
            for event in events {
                pad.push_event(event);
            }
            let flow = pad.push(buffer);
            self.core.set_pushing(false);
            flow
        };
        self.after(&element, flow)
    }

    /// What follows from what downstream said. A live source goes on whatever that is.
    fn after(
        &self,
        element: &super::NvFeed,
        flow: Result<gst::FlowSuccess, gst::FlowError>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let frames = &self.core.frames;
        let Err(error) = flow else {
            frames.delivered.fetch_add(1, Ordering::Relaxed);
            return flow;
        };
        match error {
            gst::FlowError::Eos => {
                frames.refused.fetch_add(1, Ordering::Relaxed);
                self.core.tell(Note::Source(self.source, Happening::Unwanted));
                return Err(error);
            }
            gst::FlowError::NotLinked | gst::FlowError::Flushing => {
                frames.unlinked.fetch_add(1, Ordering::Relaxed);
                if !self.is_live {
                    // Somebody may come; a file would have run through by then.
                    let seen = self.core.gate.seen();
                    self.core.gate.wait(seen, Some(clock::now().saturating_add(RETRY)));
                }
            }
            _ => {
                frames.refused.fetch_add(1, Ordering::Relaxed);
                let detail = format!("downstream takes no frames: {error:?}");
                if !self.is_live {
                    self.fail(Failure::new(Kind::Downstream, detail));
                    return Err(error);
                }
                let stage = "downstream".to_owned();
                self.core.health.report(element, Some(&element.feed_name()), StageError { stage, detail }, 1);
            }
        }
        if self.core.is_current(self.source) {
            Ok(gst::FlowSuccess::Ok)
        } else {
            Err(gst::FlowError::Flushing)
        }
    }

    // --- Events and queries ------------------------------------------------------------------------------------

    fn event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(caps) => self.caps(caps.caps()),
            gst::EventView::Segment(segment) => self.segment(segment.segment()),
            gst::EventView::Eos(_) => {
                self.ended();
                true
            }
            gst::EventView::Tag(tag) => {
                // Anything else may hold what is not for everybody, such as where a stream comes from.
                let Some(value) = tag.tag().get::<gst::tags::ImageOrientation>() else { return true };
                let mut tags = gst::TagList::new();
                tags.make_mut().add::<gst::tags::ImageOrientation>(&value.get(), gst::TagMergeMode::Replace);
                self.core.if_current(self.source, |outlet| outlet.tags = Some(tags));
                true
            }
            // The stream that leaves has a beginning of its own, and knows no flush and no gap.
            _ => true,
        }
    }

    fn caps(&self, caps: &gst::CapsRef) -> bool {
        if let Some(excess) = self.bounds.excess(caps) {
            self.fail(Failure::new(Kind::TooLarge, excess));
            return false;
        }
        let rate = caps.structure(0).and_then(|s| s.get::<gst::Fraction>("framerate").ok());
        let period = rate.filter(|rate| rate.numer() > 0 && rate.denom() > 0).and_then(|rate| {
            let (frames, seconds) = (u64::try_from(rate.numer()).ok()?, u64::try_from(rate.denom()).ok()?);
            Some(seconds * gst::ClockTime::SECOND.nseconds() / frames)
        });
        self.incoming.lock().period = period.filter(|period| *period > 0);
        let Some(element) = self.core.element.upgrade() else { return false };
        let pad = element.srcpad();
        let _streaming = pad.stream_lock();
        let events = self.core.if_current(self.source, |outlet| outlet.caps(&element, &caps.to_owned()));
        let is_current = events.is_some();
        // Whether downstream likes them is said by what it answers to the frame.
        for event in events.into_iter().flatten() {
            pad.push_event(event);
        }
        is_current
    }

    fn segment(&self, segment: &gst::Segment) -> bool {
        let Some(time) = segment.downcast_ref::<gst::ClockTime>() else {
            let found = segment.format();
            let detail = format!("expected a segment in time, found one in {found:?}");
            self.fail(Failure::new(Kind::Unsupported, detail));
            return false;
        };
        let mut incoming = self.incoming.lock();
        incoming.segment = time.clone();
        incoming.is_new_segment = true;
        true
    }

    fn ended(&self) {
        let happening = if self.passed.swap(0, Ordering::AcqRel) == 0 {
            let kind = if self.is_live { Kind::Ended } else { Kind::Decode };
            if self.has_failed() {
                return;
            }
            Happening::Failed(Failure::new(kind, "the source ended before its first frame"))
        } else {
            Happening::Ended
        };
        self.core.tell(Note::Source(self.source, happening));
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        let Some(element) = self.core.element.upgrade() else { return false };
        let pad = element.srcpad();
        match query.view_mut() {
            gst::QueryViewMut::Caps(asked) => {
                let filter = asked.filter_owned();
                let wanted = pad.peer_query_caps(filter.as_ref());
                let wanted = wanted.intersect(&pad.pad_template_caps());
                asked.set_result(&wanted);
                true
            }
            gst::QueryViewMut::AcceptCaps(asked) => {
                let wanted = pad.peer_query_caps(None);
                let is_accepted = asked.caps().can_intersect(&wanted)
                    && asked.caps().can_intersect(&pad.pad_template_caps());
                asked.set_result(is_accepted);
                true
            }
            gst::QueryViewMut::Allocation(_) if self.core.is_current(self.source) => pad.peer_query(query),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Pace;

    fn frame(milliseconds: u64) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        buffer.make_mut().set_pts(gst::ClockTime::from_mseconds(milliseconds));
        buffer
    }

    fn from(milliseconds: u64) -> gst::Segment {
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(gst::ClockTime::from_mseconds(milliseconds));
        segment.set_base(gst::ClockTime::from_mseconds(1_000));
        segment.upcast()
    }

    #[test]
    fn a_segment_whose_first_frame_lies_outside_of_it_is_not_lost() {
        gst::init().unwrap();
        let element: super::super::NvFeed = glib::Object::new();
        let pad = element.srcpad();
        pad.set_active(true).unwrap();
        let core = element.core();
        let source = core.next_source();
        core.set_current(source, |outlet| outlet.begin_session(Pace::Free));
        let bounds = Bounds { width: 0, height: 0, fps: 0 };
        let inlet = Inlet::new(core, source, false, bounds);
        assert!(inlet.caps(&gst::Caps::new_empty_simple("video/x-raw")));
        // Nobody takes them: a file waits a moment for that, and goes on.
        for (start, frames) in [(0, [0, 960]), (10_000, [9_000, 10_000])] {
            assert!(inlet.segment(&from(start)));
            for at in frames {
                assert_eq!(inlet.chain(frame(at)), Ok(gst::FlowSuccess::Ok));
            }
        }
        assert_eq!(inlet.core.frames.outside.load(Ordering::Relaxed), 1);
        let sent = pad.sticky_event::<gst::event::Segment>(0).unwrap();
        let start = sent.segment().downcast_ref::<gst::ClockTime>().unwrap().start();
        assert_eq!(start, Some(gst::ClockTime::from_seconds(10)));
    }
}
