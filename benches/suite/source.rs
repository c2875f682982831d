//! A source that costs next to nothing: a thread that pushes frames from memory into a pad.
//!
//! No element, no queue and no copy of pixels stand between: what is measured begins at the pad of the batcher.

use super::frames::Clip;
use anyhow::{Context as _, Result};
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::time::Monotonic;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const ENDED: u8 = 2;

/// Holds all sources or lets them go. Closed at first.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: AtomicU8,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        self.set(OPEN);
    }

    pub(crate) fn close(&self) {
        self.set(CLOSED);
    }

    /// For good.
    pub(crate) fn end(&self) {
        self.set(ENDED);
    }

    fn set(&self, state: u8) {
        let _guard = self.lock.lock();
        self.state.store(state, Ordering::Release);
        self.changed.notify_all();
    }

    /// Waits while it is closed; false when it is over.
    fn pass(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            OPEN => return true,
            ENDED => return false,
            _ => {}
        }
        let mut guard = self.lock.lock();
        self.changed.wait_while(&mut guard, |()| self.state.load(Ordering::Acquire) == CLOSED);
        self.state.load(Ordering::Acquire) == OPEN
    }
}

/// How fast frames come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as they are taken, and so many; the source is not live. It does not end: what happens at the end of a
    /// stream is not what is measured.
    Flat { most: u64 },
    /// One per interval, the first after `offset`; the source is live and never waits for room in the pipeline.
    Live { interval: Duration, offset: Duration },
}

impl Pace {
    pub(crate) const UNLIMITED: Self = Self::Flat { most: u64::MAX };
}

/// One feed.
#[derive(Debug)]
pub(crate) struct Source {
    pad: gst::Pad,
    pushed: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

struct Pusher {
    pad: gst::Pad,
    clip: Arc<Clip>,
    gate: Arc<Gate>,
    pushed: Arc<AtomicU64>,
    pace: Pace,
    /// Which frame of the clip is the first.
    first: usize,
}

impl Source {
    /// Links to `sink` and starts, held by the gate.
    pub(crate) fn start(
        number: usize,
        sink: &gst::Pad,
        clip: &Arc<Clip>,
        pace: Pace,
        gate: &Arc<Gate>,
    ) -> Result<Self> {
        let live = matches!(pace, Pace::Live { .. });
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name(format!("feed-{number}"))
            .query_function(move |pad, parent, query| {
                if let gst::QueryViewMut::Latency(latency) = query.view_mut() {
                    latency.set(live, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                    return true;
                }
                gst::Pad::query_default(pad, parent, query)
            })
            .build();
        pad.link(sink)?;
        pad.set_active(true)?;
        let pushed = Arc::<AtomicU64>::default();
        let pusher = Pusher {
            pad: pad.clone(),
            clip: Arc::clone(clip),
            gate: Arc::clone(gate),
            pushed: Arc::clone(&pushed),
            pace,
            first: number * 7,
        };
        let thread = std::thread::Builder::new().name(format!("feed-{number}")).spawn(move || pusher.run());
        Ok(Self { pad, pushed, thread: Some(thread.context("cannot start a thread")?) })
    }

    /// Frames given to the pipeline so far, whatever became of them.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed.load(Ordering::Acquire)
    }

    /// Waits for the thread. The gate must have been ended, and nothing hold the thread in the pipeline.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        if let Some(peer) = self.pad.peer() {
            self.pad.unlink(&peer).ok();
        }
        self.pad.set_active(false).ok();
    }
}

impl Pusher {
    fn run(self) {
        let id = format!("{}-{}", self.pad.name(), fastrand::u64(..));
        self.pad.push_event(gst::event::StreamStart::new(&id));
        self.pad.push_event(gst::event::Caps::new(&self.clip.caps));
        self.pad.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
        let mut next = None;
        let most = if let Pace::Flat { most } = self.pace { most } else { u64::MAX };
        for number in 0..most {
            if !self.gate.pass() || !self.wait(&mut next) {
                return;
            }
            let frame = self.frame(number);
            self.pushed.fetch_add(1, Ordering::AcqRel);
            if self.pad.push(frame).is_err() {
                return;
            }
        }
    }

    /// Another buffer of the same memory.
    fn frame(&self, number: u64) -> gst::Buffer {
        let frames = &self.clip.frames;
        let at = (self.first + usize::try_from(number).unwrap_or_default()) % frames.len();
        let mut frame = frames[at].copy();
        if let Some(frame) = frame.get_mut() {
            let interval = match self.pace {
                Pace::Flat { .. } => Duration::from_millis(33),
                Pace::Live { interval, .. } => interval,
            };
            let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
            frame.set_pts(gst::ClockTime::from_nseconds(number.saturating_mul(interval)));
        }
        frame
    }

    /// Waits until the next live frame is due; false when it is over. A source that is late catches up.
    fn wait(&self, next: &mut Option<Monotonic>) -> bool {
        let Pace::Live { interval, offset } = self.pace else { return true };
        let due =
            next.map_or_else(|| clock::now().saturating_add(offset), |due| due.saturating_add(interval));
        *next = Some(due);
        loop {
            let left = clock::until(due);
            if left.is_zero() {
                return true;
            }
            std::thread::park_timeout(left.min(Duration::from_millis(100)));
            if !self.gate.pass() {
                return false;
            }
        }
    }
}
