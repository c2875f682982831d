//! What arrives at the end of a feed's branch.

use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::meta::frame;
use gstnextvision::time::Monotonic;
use parking_lot::Mutex;
use std::sync::Arc;

/// What one sink has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    pub(crate) frames: u64,
    /// When the first frame came.
    pub(crate) first: Option<Monotonic>,
    /// Running time of the last frame.
    pub(crate) time: Option<gst::ClockTime>,
    /// Frames whose running time was before that of the frame before, or that had none.
    pub(crate) back: u64,
    /// Largest step of the running time from a frame to the next.
    pub(crate) largest_step: gst::ClockTime,
    /// Number of the last frame, of the meta `nv-frame`.
    pub(crate) seq: Option<u64>,
    /// Frames whose number did not rise.
    pub(crate) out_of_order: u64,
    /// The sessions frames came of, each time it changed.
    pub(crate) sessions: Vec<u32>,
}

impl Track {
    fn note(&mut self, now: Monotonic, time: Option<gst::ClockTime>, origin: Option<(u32, u64)>) {
        self.frames += 1;
        self.first.get_or_insert(now);
        match (self.time, time) {
            (Some(before), Some(time)) if time >= before => {
                self.largest_step = self.largest_step.max(time - before);
            }
            (None, Some(_)) => {}
            _ => self.back += 1,
        }
        self.time = time.or(self.time);
        if let Some((session, seq)) = origin {
            if self.seq.is_some_and(|before| seq <= before) {
                self.out_of_order += 1;
            }
            self.seq = Some(seq);
            if self.sessions.last() != Some(&session) {
                self.sessions.push(session);
            }
        }
    }

    /// Whether every session has a greater number than the one before.
    pub(crate) fn sessions_rise(&self) -> bool {
        self.sessions.is_sorted_by(|before, after| before < after)
    }
}

/// A track that is still written.
pub(crate) type Shared = Arc<Mutex<Track>>;

/// Notes every frame that arrives at the pad.
pub(crate) fn watch(pad: &gst::Pad) -> Shared {
    let track = Shared::default();
    let noted = Arc::clone(&track);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(buffer) = info.buffer() {
            let origin = frame::read(buffer).map(|facts| (facts.session, facts.seq));
            noted.lock().note(clock::now(), running_time(pad, buffer), origin);
        }
        gst::PadProbeReturn::Ok
    });
    track
}

fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    event.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts())
}
