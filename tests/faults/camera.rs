//! A camera in the hand of a test: a src pad of its own, frames whose pixels say who they are, and the answer to
//! every push.

use crate::support::frames::Painter;
use gst::prelude::*;
use gst_video::VideoFormat;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Between two frames.
pub(crate) const FRAME_TIME: gst::ClockTime = gst::ClockTime::from_mseconds(33);

/// Numbers that the cameras of one feed, one after another, have for their frames.
const NUMBERS: u64 = 1_000_000;

/// Brightness names the feed: brighter than the padding (114), seven levels apart.
pub(crate) fn level(feed: u32) -> u8 {
    130 + 7 * u8::try_from(feed % 18).expect("small")
}

/// The cell names the frame: neighbours in time and in feed number are far apart.
pub(crate) fn place(feed: u32, number: u64) -> u64 {
    number * 7 + u64::from(feed) * 13
}

/// Who a frame says it is, carried in its offset next to its pixels.
pub(crate) fn offset(feed: u32, number: u64) -> u64 {
    (u64::from(feed) << 40) | number
}

/// The other way round.
pub(crate) fn of_offset(offset: u64) -> (u32, u64) {
    (u32::try_from(offset >> 40).unwrap_or(u32::MAX), offset & ((1 << 40) - 1))
}

/// The small grey frames that the feeds have unless a test says otherwise.
pub(crate) fn grey() -> Painter {
    Painter::new(VideoFormat::Gray8, 64, 64)
}

/// Pixels that are counted while anybody holds them.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsMut<[u8]> for Counted {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Most upstream events that a camera remembers.
const MOST_HEARD: usize = 1_000;

/// A feed's source.
pub(crate) struct Camera {
    feed: u32,
    pub(crate) pad: gst::Pad,
    pub(crate) sink_pad: gst::Pad,
    live: Arc<AtomicBool>,
    latency: Arc<Mutex<(gst::ClockTime, Option<gst::ClockTime>)>>,
    heard: Arc<Mutex<Vec<gst::EventType>>>,
    painter: Mutex<Painter>,
    next: AtomicU64,
    taken: AtomicU64,
    /// Frames of the scene that somebody still holds.
    alive: Arc<AtomicUsize>,
}

impl Camera {
    /// The camera number `generation` of `feed`, linked to `sink_pad`.
    pub(crate) fn new(feed: u32, generation: u64, sink_pad: gst::Pad, alive: Arc<AtomicUsize>) -> Self {
        let live = Arc::new(AtomicBool::new(true));
        let latency = Arc::new(Mutex::new((gst::ClockTime::ZERO, None)));
        let heard = Arc::<Mutex<Vec<gst::EventType>>>::default();
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .query_function({
                let (live, latency) = (Arc::clone(&live), Arc::clone(&latency));
                move |_pad, _parent, query| {
                    let gst::QueryViewMut::Latency(query) = query.view_mut() else { return false };
                    let (min, max) = *latency.lock();
                    query.set(live.load(Ordering::Acquire), min, max);
                    true
                }
            })
            .event_function({
                let heard = Arc::clone(&heard);
                move |_pad, _parent, event| {
                    let mut heard = heard.lock();
                    if heard.len() >= MOST_HEARD {
                        heard.clear();
                    }
                    heard.push(event.type_());
                    true
                }
            })
            .build();
        pad.link(&sink_pad).expect("they link");
        pad.set_active(true).expect("it activates");
        let next = AtomicU64::new(generation * NUMBERS);
        let (painter, taken) = (Mutex::new(grey()), AtomicU64::new(0));
        Self { feed, pad, sink_pad, live, latency, heard, painter, next, taken, alive }
    }

    /// From now on it is a file: the batcher may hold it up.
    pub(crate) fn be_a_file(&self) {
        self.live.store(false, Ordering::Release);
    }

    /// What it answers when it is asked for its latency.
    pub(crate) fn set_latency(&self, min: gst::ClockTime, max: Option<gst::ClockTime>) {
        *self.latency.lock() = (min, max);
    }

    /// Events that came upstream to it, oldest first; of runs without end the last hundreds.
    pub(crate) fn heard(&self) -> Vec<gst::EventType> {
        self.heard.lock().clone()
    }

    /// Starts a stream: its start, caps and segment.
    pub(crate) fn begin(&self) {
        self.pad.set_active(true).expect("it activates");
        assert!(self.start_stream(), "stream-start is taken");
        assert!(self.caps(), "the caps are taken");
        assert!(self.segment(), "the segment is taken");
    }

    pub(crate) fn start_stream(&self) -> bool {
        let id = format!("camera/{}/{}", self.feed, self.next.load(Ordering::Relaxed));
        self.send(gst::event::StreamStart::new(&id))
    }

    /// Sends the caps of the frames it makes now.
    pub(crate) fn caps(&self) -> bool {
        let caps = self.painter.lock().caps();
        self.send(gst::event::Caps::new(&caps))
    }

    pub(crate) fn segment(&self) -> bool {
        self.send(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()))
    }

    /// Makes other frames from here on, and says so.
    pub(crate) fn change(&self, painter: Painter) {
        *self.painter.lock() = painter;
        assert!(self.caps(), "the new caps are taken");
    }

    pub(crate) fn send(&self, event: gst::Event) -> bool {
        self.pad.push_event(event)
    }

    pub(crate) fn end(&self) {
        assert!(self.send(gst::event::Eos::new()), "EOS is taken");
    }

    /// A flush, and the segment that follows it.
    pub(crate) fn flush(&self) {
        assert!(self.send(gst::event::FlushStart::new()), "the flush starts");
        assert!(self.send(gst::event::FlushStop::new(true)), "the flush ends");
        assert!(self.segment(), "the segment is taken");
    }

    /// The next frame, [`FRAME_TIME`] after the last.
    pub(crate) fn frame(&self) -> gst::Buffer {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let painted = self.painter.lock().paint(place(self.feed, number), level(self.feed));
        let pixels = painted.map_readable().expect("pixels").to_vec();
        let mut buffer = self.counted(pixels);
        let writable = buffer.get_mut().expect("one owner");
        writable.set_offset(offset(self.feed, number));
        writable.set_pts((number % NUMBERS) * FRAME_TIME);
        writable.set_duration(FRAME_TIME);
        buffer
    }

    /// The next frame, too short for its caps.
    pub(crate) fn short_frame(&self) -> gst::Buffer {
        let mut buffer = self.frame();
        buffer.get_mut().expect("one owner").set_size(17);
        buffer
    }

    fn counted(&self, pixels: Vec<u8>) -> gst::Buffer {
        self.alive.fetch_add(1, Ordering::AcqRel);
        gst::Buffer::from_mut_slice(Counted(pixels, Arc::clone(&self.alive)))
    }

    /// Pushes the next frame.
    pub(crate) fn push(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.give(self.frame())
    }

    /// Pushes the next frame with another time stamp.
    pub(crate) fn push_at(&self, pts: Option<gst::ClockTime>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut buffer = self.frame();
        buffer.get_mut().expect("one owner").set_pts(pts);
        self.give(buffer)
    }

    /// Pushes any buffer.
    pub(crate) fn give(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let answer = self.pad.push(buffer);
        self.taken.fetch_add(u64::from(answer.is_ok()), Ordering::AcqRel);
        answer
    }

    /// Frames that were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }
}
