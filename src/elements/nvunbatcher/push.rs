//! What the task of a src pad pushes.

use super::imp::{CAT, NvUnbatcher};
use super::outlets::{Parcel, Tap, reason_of};
use crate::batch::DropReason;
use crate::clock;
use crate::elements::facts;
use crate::health::{Redacted, StageError};
use crate::meta::batch as meta;
use crate::meta::frame as frame_meta;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::atomic::Ordering;

/// The first GStreamer whose sinks go on after EOS when a new stream begins.
const SINKS_RESUME: (u32, u32, u32) = (1, 22, 4);

impl NvUnbatcher {
    pub(super) fn push(&self, pad: &gst::Pad, feed: u32, tap: &Tap, parcel: Parcel) {
        match parcel {
            Parcel::Frame(frame, label) => self.push_frame(pad, feed, tap, frame, label),
            Parcel::Event(event) => self.push_event(pad, feed, event),
            Parcel::Silence => push_silence(pad),
        }
    }

    fn push_event(&self, pad: &gst::Pad, feed: u32, event: gst::Event) {
        gst::log!(CAT, obj = pad, "{:?}", Redacted(&event));
        match event.type_() {
            gst::EventType::StreamStart if has_ended(pad) || has_stood_in(pad) => flush(pad),
            gst::EventType::Caps => {
                self.outlets.forget_video_meta(feed);
                if has_stood_in(pad) {
                    flush(pad);
                }
            }
            _ => {}
        }
        pad.push_event(event);
    }

    fn push_frame(
        &self,
        pad: &gst::Pad,
        feed: u32,
        tap: &Tap,
        mut frame: meta::Frame,
        label: Option<meta::Label>,
    ) {
        if !frame.ticket.epoch_is_current() {
            frame.ticket.discard(DropReason::Stale);
            return;
        }
        if has_own_layout(&frame) && !self.reads_video_meta(pad, feed, &frame) {
            frame.buffer = in_default_layout(&frame).unwrap_or(frame.buffer);
        }
        self.write_facts(&mut frame, label);
        begin_if_needed(pad, &frame);
        let links = tap.links();
        match pad.push(frame.buffer) {
            Ok(_) => {
                frame.ticket.deliver();
                tap.count_delivered();
            }
            Err(error) => {
                gst::debug!(CAT, obj = pad, "Downstream answered {error}: this feed ends here");
                frame.ticket.discard(reason_of(error));
                self.outlets.close(feed, links, error);
                if matches!(error, gst::FlowError::Error | gst::FlowError::NotNegotiated) {
                    let detail = format!("expected downstream to take the frame, found {error}");
                    let event = StageError { stage: "downstream".to_owned(), detail };
                    self.health.report(&*self.obj(), Some(&frame.feed.name), event, 1);
                }
            }
        }
    }

    /// Writes what is known of the frame onto it. What a model before the batcher has made of it stays, unless one was to
    /// look at it since; all of it does in a group whose model looks at objects, where the batch is nobody's business.
    fn write_facts(&self, frame: &mut meta::Frame, label: Option<meta::Label>) {
        let is_unasked = frame.verdict.is_none() && frame.infer;
        let keeps_all = self.keeps_facts.load(Ordering::Relaxed);
        let before = if is_unasked || keeps_all { frame_meta::read(&frame.buffer) } else { None };
        if keeps_all && before.is_some() {
            return;
        }
        let (buffer, mut facts) = facts::of_frame(frame, label, clock::now());
        if let Some(before) = &before {
            facts.status = before.status;
            facts.error = before.error.as_deref();
            (facts.model, facts.provider) = (&before.model, &before.provider);
            (facts.inference_start, facts.inference_end) = (before.inference_start, before.inference_end);
        }
        frame_meta::write_as(buffer.make_mut(), &facts);
    }

    /// Whether `nv-frame` stays as it comes.
    pub(in crate::elements) fn keep_facts(&self, keep: bool) {
        self.keeps_facts.store(keep, Ordering::Relaxed);
    }

    /// Whether downstream of a pad reads where the planes of a frame lie from its video meta.
    fn reads_video_meta(&self, pad: &gst::Pad, feed: u32, frame: &meta::Frame) -> bool {
        if let Some(known) = self.outlets.video_meta(feed, None) {
            return known;
        }
        let mut query = gst::query::Allocation::new(Some(&frame.format.caps), false);
        let reads =
            pad.peer_query(&mut query) && query.find_allocation_meta::<gst_video::VideoMeta>().is_some();
        self.outlets.video_meta(feed, Some(reads));
        reads
    }
}

/// Whether downstream has ended and will not take a new stream by itself.
fn has_ended(pad: &gst::Pad) -> bool {
    let (major, minor, micro, _) = gst::version();
    pad.pad_flags().contains(gst::PadFlags::EOS) && (major, minor, micro) < SINKS_RESUME
}

/// Whether a stand-in was sent (see [`push_silence`]), whose segment must not come before the caps of the stream.
fn has_stood_in(pad: &gst::Pad) -> bool {
    let (caps, segment) =
        (pad.sticky_event::<gst::event::Caps>(0), pad.sticky_event::<gst::event::Segment>(0));
    caps.is_none() && segment.is_some()
}

/// Sends what a frame must come after and that was lost on its way, as where this element alone was stopped and
/// started: the frame knows it.
fn begin_if_needed(pad: &gst::Pad, frame: &meta::Frame) {
    let has_segment = pad.sticky_event::<gst::event::Segment>(0).is_some();
    if has_segment && pad.has_current_caps() {
        return;
    }
    if has_stood_in(pad) {
        flush(pad);
    }
    start_if_needed(pad);
    if !pad.has_current_caps() {
        pad.push_event(gst::event::Caps::new(&frame.format.caps));
    }
    pad.push_event(gst::event::Segment::new(&frame.segment));
}

/// Begins a stream where none has.
fn start_if_needed(pad: &gst::Pad) {
    if pad.sticky_event::<gst::event::StreamStart>(0).is_some() {
        return;
    }
    let element = pad.parent().and_downcast::<gst::Element>();
    let id = element.map(|element| pad.create_stream_id(&element, Some("silence")));
    pad.push_event(gst::event::StreamStart::new(id.as_deref().unwrap_or("nv-silence")));
}

/// Makes downstream forget what came before. What queues behind the pad still hold of it is dropped there.
fn flush(pad: &gst::Pad) {
    let start = gst::event::FlushStart::new();
    let stop = gst::event::FlushStop::builder(false).seqnum(start.seqnum()).build();
    pad.push_event(start);
    pad.push_event(stop);
}

/// Whether the planes of a frame lie elsewhere than its caps say, within the memory there is. A meta that lies is left
/// to whoever reads the frame.
fn has_own_layout(frame: &meta::Frame) -> bool {
    let (info, size) = (&frame.format.info, frame.buffer.size());
    let Some(meta) = frame.buffer.meta::<gst_video::VideoMeta>() else { return false };
    if (meta.format(), meta.width(), meta.height()) != (info.format(), info.width(), info.height()) {
        return false;
    }
    let mut planes = 0..info.n_planes() as usize;
    let layout = |plane: usize| Some((*meta.offset().get(plane)?, *meta.stride().get(plane)?));
    let expected = |plane: usize| Some((*info.offset().get(plane)?, *info.stride().get(plane)?));
    let fits = |plane: usize| {
        let (offset, stride) = layout(plane)?;
        let component = u8::try_from(plane).ok()?;
        let rows = usize::try_from(info.format_info().scale_height(component, info.height())).ok()?;
        let end = usize::try_from(stride).ok()?.checked_mul(rows)?.checked_add(offset)?;
        (end <= size).then_some(())
    };
    planes.clone().all(|plane| fits(plane).is_some()) && planes.any(|p| layout(p) != expected(p))
}

/// The frame copied to where its caps say; `None` if it cannot be read, so that it goes on as it is.
fn in_default_layout(frame: &meta::Frame) -> Option<gst::Buffer> {
    let info = &frame.format.info;
    let source = gst_video::VideoFrameRef::from_buffer_ref_readable(&frame.buffer, info).ok()?;
    let mut copy = gst::Buffer::with_size(info.size()).ok()?;
    {
        let writable = copy.get_mut()?;
        let mut target = gst_video::VideoFrameRef::from_buffer_ref_writable(writable, info).ok()?;
        source.copy(&mut target).ok()?;
    }
    drop(source);
    let kinds = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
    let writable = copy.get_mut()?;
    frame.buffer.copy_into(writable, kinds, ..).ok()?;
    // Whether a meta about memory comes along with the others depends on the version of GStreamer.
    if let Some(meta) = writable.meta_mut::<gst_video::VideoMeta>() {
        meta.remove().ok()?;
    }
    Some(copy)
}

/// Stands in for the start of a stream that has not come: what a sink needs to preroll.
fn push_silence(pad: &gst::Pad) {
    gst::info!(CAT, obj = pad, "No frame for a second while others flow: sending a GAP");
    start_if_needed(pad);
    let segment = pad.sticky_event::<gst::event::Segment>(0);
    let start = segment.as_ref().and_then(|event| {
        let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
        segment.start()
    });
    if segment.is_none() {
        pad.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    }
    pad.push_event(gst::event::Gap::builder(start.unwrap_or(gst::ClockTime::ZERO)).build());
}
