//! The consumer of one feed: a sink pad of its own that judges every frame it gets, and takes, holds up, keeps or
//! refuses it as the test says.

use super::camera::{level, of_offset, place};
use crate::support::PATIENCE;
use crate::support::frames::Painter;
use gst_video::prelude::*;
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo};
use gstnextvision::clock;
use gstnextvision::meta::{detections, frame};
use gstnextvision::output::{FrameFacts, Status};
use gstnextvision::vision::Size;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

/// How often who waits looks whether the scene has gone wrong elsewhere.
const LOOK: Duration = Duration::from_millis(50);

/// A frame that came out.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) number: u64,
    pub(crate) pts: Option<gst::ClockTime>,
    pub(crate) caps: gst::Caps,
    pub(crate) facts: FrameFacts,
}

impl Arrival {
    /// What must be the same in a run without a fault.
    pub(crate) fn summary(&self) -> String {
        let Self { number, pts, caps, facts } = self;
        format!(
            "frame {number}: {pts:?} {caps} {:?} session {} seq {}",
            facts.status, facts.session, facts.seq
        )
    }
}

/// What it does with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Take,
    /// Holds the thread that brings a frame, and lets so many through.
    HoldUp(u64),
    Keep,
    Refuse(gst::FlowError),
}

struct State {
    manner: Manner,
    arrivals: Vec<Arrival>,
    kept: Vec<gst::Buffer>,
    /// Events, each with how many frames had come before it.
    events: Vec<(gst::EventType, usize)>,
    /// Frames that have come; the last of them are the arrivals.
    count: usize,
    refused: u64,
    held_up: bool,
    flushing: bool,
    stopped: bool,
    /// Frames of somebody else's making come: nothing is known about their pixels.
    stranger: bool,
    /// Only the last frame is remembered.
    forgetful: bool,
}

/// What was wrong with what came, of all consumers of a scene.
pub(crate) type Wrong = Arc<Mutex<Vec<String>>>;

struct Shared {
    feed: u32,
    wrong: Wrong,
    state: Mutex<State>,
    changed: Condvar,
}

/// A feed's sink.
pub(crate) struct Consumer {
    pub(crate) pad: gst::Pad,
    shared: Arc<Shared>,
}

impl Consumer {
    pub(crate) fn new(feed: u32, wrong: Wrong) -> Self {
        let state = State {
            manner: Manner::Take,
            arrivals: Vec::new(),
            kept: Vec::new(),
            events: Vec::new(),
            count: 0,
            refused: 0,
            held_up: false,
            flushing: false,
            stopped: false,
            stranger: false,
            forgetful: false,
        };
        let shared = Arc::new(Shared { feed, wrong, state: Mutex::new(state), changed: Condvar::new() });
        // Without a template it would take no other caps than its first.
        let any = gst::Caps::new_any();
        let template = gst::PadTemplate::new("sink", gst::PadDirection::Sink, gst::PadPresence::Always, &any);
        let pad = gst::Pad::builder_from_template(&template.expect("a valid template"))
            .chain_function({
                let shared = Arc::clone(&shared);
                move |pad, _parent, buffer| shared.chain(pad, buffer)
            })
            .event_function({
                let shared = Arc::clone(&shared);
                move |_pad, _parent, event| {
                    shared.event(&event);
                    true
                }
            })
            .build();
        pad.set_active(true).expect("it activates");
        Self { pad, shared }
    }

    fn set_manner(&self, manner: Manner) {
        self.shared.state.lock().manner = manner;
        self.shared.changed.notify_all();
    }

    /// Takes frames, as it does from the start.
    pub(crate) fn take(&self) {
        self.set_manner(Manner::Take);
    }

    /// Holds up the thread that brings the next frame.
    pub(crate) fn block(&self) {
        self.set_manner(Manner::HoldUp(0));
    }

    /// Lets one frame more through.
    pub(crate) fn let_through(&self) {
        let mut state = self.shared.state.lock();
        if let Manner::HoldUp(count) = &mut state.manner {
            *count += 1;
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Keeps every frame it gets.
    pub(crate) fn keep(&self) {
        self.set_manner(Manner::Keep);
    }

    /// Answers every frame so.
    pub(crate) fn refuse(&self, error: gst::FlowError) {
        self.set_manner(Manner::Refuse(error));
    }

    /// Expects frames of somebody else's making.
    pub(crate) fn expect_strangers(&self) {
        self.shared.state.lock().stranger = true;
    }

    /// Waits until a frame is held up.
    pub(crate) fn wait_until_blocked(&self) {
        drop(self.wait("a frame is held up", |state| state.held_up));
    }

    /// Waits until so many frames have come in all.
    pub(crate) fn wait_for(&self, count: usize) {
        drop(self.wait(&format!("{count} frames come"), |state| state.count >= count));
    }

    /// Waits for a frame of which this holds.
    pub(crate) fn wait_until(&self, is_it: impl Fn(&Arrival) -> bool) -> Arrival {
        let state = self.wait("such a frame comes", |state| state.arrivals.iter().any(&is_it));
        state.arrivals.iter().find(|arrival| is_it(arrival)).cloned().expect("it was there just now")
    }

    /// Waits until so many frames have been refused.
    pub(crate) fn wait_for_refusals(&self, count: u64) {
        drop(self.wait(&format!("{count} frames are refused"), |state| state.refused >= count));
    }

    /// Waits until an event of this type has come so often; returns how many frames came before the last of them.
    pub(crate) fn wait_for_event(&self, kind: gst::EventType, times: usize) -> usize {
        let of = |state: &State| {
            let found = state.events.iter().filter(|(seen, _)| *seen == kind);
            found.map(|(_, frames)| *frames).collect::<Vec<_>>()
        };
        let what = format!("{times} of {kind:?}");
        let state = self.wait(&what, |state| of(state).len() >= times);
        of(&state)[times - 1]
    }

    /// Waits, and gives up early when any consumer of the scene has got what is not its own.
    fn wait(&self, what: &str, holds: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let deadline = clock::now().saturating_add(PATIENCE.into());
        let mut state = self.shared.state.lock();
        while !holds(&state) {
            let wrong = self.shared.wrong.lock().clone();
            let feed = self.shared.feed;
            assert!(wrong.is_empty(), "feed {feed} waits until {what}; meanwhile: {wrong:#?}");
            assert!(clock::now() < deadline, "feed {feed}: not within {PATIENCE}: {what}");
            self.shared.changed.wait_for(&mut state, LOOK);
        }
        state
    }

    /// How often an event of this type has come.
    pub(crate) fn events(&self, kind: gst::EventType) -> usize {
        self.shared.state.lock().events.iter().filter(|(seen, _)| *seen == kind).count()
    }

    /// All frames so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.shared.state.lock().arrivals.clone()
    }

    /// How many frames have come.
    pub(crate) fn count(&self) -> usize {
        self.shared.state.lock().count
    }

    /// The last frame.
    pub(crate) fn last(&self) -> Arrival {
        self.shared.state.lock().arrivals.last().cloned().expect("a frame has come")
    }

    /// Remembers only the last frame and event from here on, for runs without end.
    pub(crate) fn forget(&self) {
        self.shared.state.lock().forgetful = true;
    }

    /// Ends it, as a pipeline that stops ends its sinks first.
    pub(crate) fn stop(&self) {
        let mut state = self.shared.state.lock();
        state.stopped = true;
        state.kept.clear();
        drop(state);
        self.shared.changed.notify_all();
        self.pad.set_active(false).ok();
    }
}

impl Shared {
    fn chain(&self, pad: &gst::Pad, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.state.lock();
        if let Manner::Refuse(error) = state.manner {
            state.refused += 1;
            drop(state);
            self.changed.notify_all();
            return Err(error);
        }
        state.held_up = matches!(state.manner, Manner::HoldUp(0));
        self.changed.notify_all();
        let held = |state: &mut State| state.manner == Manner::HoldUp(0) && !state.flushing && !state.stopped;
        self.changed.wait_while(&mut state, held);
        state.held_up = false;
        if state.flushing || state.stopped {
            return Err(gst::FlowError::Flushing);
        }
        if let Manner::HoldUp(count) = &mut state.manner {
            *count = count.saturating_sub(1);
        }
        let caps = pad.current_caps().unwrap_or_else(gst::Caps::new_empty);
        match judge(self.feed, &buffer, &caps, state.stranger) {
            Ok(arrival) => {
                if let Some(fault) = out_of_order(state.arrivals.last(), &arrival, state.stranger) {
                    self.wrong.lock().push(fault);
                }
                if state.forgetful {
                    state.arrivals.clear();
                }
                state.arrivals.push(arrival);
                state.count += 1;
            }
            Err(fault) => self.wrong.lock().push(fault),
        }
        if state.manner == Manner::Keep {
            state.kept.push(buffer);
        }
        drop(state);
        self.changed.notify_all();
        Ok(gst::FlowSuccess::Ok)
    }

    fn event(&self, event: &gst::EventRef) {
        let mut state = self.state.lock();
        match event.type_() {
            gst::EventType::FlushStart => state.flushing = true,
            gst::EventType::FlushStop => state.flushing = false,
            _ => {}
        }
        let frames = state.count;
        if state.forgetful {
            state.events.clear();
        }
        state.events.push((event.type_(), frames));
        drop(state);
        self.changed.notify_all();
    }
}

/// Order: by number of the camera, and by session and number of the feed, each strictly rising.
fn out_of_order(last: Option<&Arrival>, next: &Arrival, stranger: bool) -> Option<String> {
    let last = last?;
    let key = |arrival: &Arrival| (arrival.facts.session, arrival.facts.seq);
    let rises = key(last) < key(next) && (stranger || last.number < next.number);
    (!rises).then(|| format!("out of order: {} after {}", next.summary(), last.summary()))
}

/// Identity: the frame, its facts, its pixels and its result are all of the same frame of this feed.
fn judge(feed: u32, buffer: &gst::BufferRef, caps: &gst::Caps, stranger: bool) -> Result<Arrival, String> {
    let (of_feed, number) = of_offset(buffer.offset());
    let facts = frame::read(buffer).ok_or_else(|| format!("feed {feed}: a frame without facts"))?;
    if facts.feed != feed || (!stranger && of_feed != feed) {
        return Err(format!(
            "feed {feed} got frame {number} of feed {of_feed}, facts of feed {}",
            facts.feed
        ));
    }
    let arrival = Arrival { number, pts: buffer.pts(), caps: caps.clone(), facts };
    if stranger || arrival.facts.status == Status::Failed {
        return Ok(arrival);
    }
    let about = |what: String| format!("feed {feed} frame {number}: {what}");
    let info = VideoInfo::from_caps(caps).map_err(|_| about(format!("came with caps {caps}")))?;
    let painter = Painter::new(info.format(), info.width(), info.height());
    let wanted = painter.box_in_frame(place(feed, number));
    if arrival.facts.status != Status::Inferred && buffer.size() < info.size() {
        // Too short, and nobody looked at it before its batch was given up.
        return Ok(arrival);
    }
    judge_pixels(
        buffer,
        &info,
        wanted.x_min + wanted.width() / 2.0,
        wanted.y_min + wanted.height() / 2.0,
        feed,
    )
    .map_err(about)?;
    if arrival.facts.status != Status::Inferred {
        return Ok(arrival);
    }
    let found = detections::read(buffer, Size::new(info.width(), info.height())).detections;
    let [found] = found.as_slice() else { return Err(about(format!("expected one box, found {found:?}"))) };
    let off = (found.box_in_frame.x - f64::from(wanted.x_min.max(0.0)))
        .abs()
        .max((found.box_in_frame.y - f64::from(wanted.y_min.max(0.0))).abs());
    let brightness = found.confidence.unwrap_or_default() * 255.0;
    if off > 0.01 || (brightness - f64::from(level(feed))).abs() > 3.0 {
        return Err(about(format!("expected {wanted:?} of {}, found {found:?}", level(feed))));
    }
    Ok(arrival)
}

/// The middle of its cell has the brightness of its feed, in the formats that have a plane of brightness.
fn judge_pixels(buffer: &gst::BufferRef, info: &VideoInfo, x: f32, y: f32, feed: u32) -> Result<(), String> {
    if !matches!(info.format(), VideoFormat::Gray8 | VideoFormat::I420 | VideoFormat::Nv12) {
        return Ok(());
    }
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info)
        .map_err(|_| format!("expected a whole frame, found {} bytes", buffer.size()))?;
    let stride = usize::try_from(frame.plane_stride()[0]).unwrap_or(0);
    let plane = frame.plane_data(0).map_err(|error| error.to_string())?;
    let found = plane.get(y as usize * stride + x as usize).copied();
    if found == Some(level(feed)) {
        return Ok(());
    }
    Err(format!("expected brightness {} at {x} {y}, found {found:?}", level(feed)))
}
