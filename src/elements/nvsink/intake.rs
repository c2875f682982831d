//! The streaming thread's part: a sample becomes a record, the record goes to the worker.

use super::NvSink;
use super::exchange::{Entry, Exchange, Offer, Room};
use super::imp;
use crate::clock;
use crate::elements::video;
use crate::meta::{detections, frame};
use crate::output::{FrameFacts, FrameTime, InclusionTracker, Record, WallTimeSource};
use crate::vision::Size;
use glib::subclass::prelude::*;
use gst::prelude::*;
use gst_base::prelude::*;
use std::sync::Arc;

pub(super) struct Intake {
    exchange: Arc<Exchange>,
    sink: glib::WeakRef<NvSink>,
    /// Caps of the latest sample and what they say, so that they are parsed once.
    format: Option<(gst::Caps, Size)>,
    /// Number of the next frame without `nv-frame`.
    next_seq: u64,
    inclusion: InclusionTracker,
}

impl Intake {
    pub(super) fn new(exchange: Arc<Exchange>, sink: glib::WeakRef<NvSink>) -> Self {
        Self { exchange, sink, format: None, next_seq: 0, inclusion: InclusionTracker::default() }
    }

    /// Takes the sample that the appsink has just announced.
    pub(super) fn new_sample(
        &mut self,
        appsink: &gst_app::AppSink,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sample = appsink.try_pull_sample(gst::ClockTime::ZERO).ok_or(gst::FlowError::Flushing)?;
        let sink = self.sink.upgrade().ok_or(gst::FlowError::Flushing)?;
        let frame = self.frame_size(&sample);
        let buffers = sample.buffer().into_iter();
        // Lists come only if the application sets `appsink::buffer-list`.
        for buffer in buffers.chain(sample.buffer_list().into_iter().flat_map(gst::BufferListRef::iter)) {
            let content = sink.imp().content();
            let record = self.record(&sink, &sample, buffer, frame).with_embeddings(content.embeddings);
            // A frame without a time has come just now.
            let time = record.running_time.unwrap_or_else(|| clock::now().as_nanos());
            // Told of each frame, so that it counts the same whoever listens.
            let with_pixels = self.inclusion.includes(content.frames, record.feed, time);
            let attachment = imp::new_output_wanted(&sink).then(|| attachment(&sample, buffer, with_pixels));
            self.offer(&sink, appsink, Box::new(Entry { record, attachment }))?;
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn offer(
        &self,
        sink: &NvSink,
        appsink: &gst_app::AppSink,
        mut entry: Box<Entry>,
    ) -> Result<(), gst::FlowError> {
        loop {
            entry = match self.exchange.offer(entry, clock::now()) {
                Offer::Taken(event) => {
                    if let Some(event) = event {
                        sink.imp().report(event);
                    }
                    return Ok(());
                }
                Offer::Refused => return Err(gst::FlowError::Flushing),
                Offer::Full(entry) => entry,
            };
            self.wait_for_room(appsink).inspect_err(|_| self.exchange.discard())?;
        }
    }

    /// The base class holds its preroll lock while it waits here, and needs it for the change to PAUSED:
    /// waiting goes on in its own wait, which gives the lock up.
    fn wait_for_room(&self, appsink: &gst_app::AppSink) -> Result<(), gst::FlowError> {
        match self.exchange.wait_for_room() {
            Room::Free => Ok(()),
            Room::Paused => {
                let base = appsink.upcast_ref::<gst::Element>().downcast_ref::<gst_base::BaseSink>();
                base.ok_or(gst::FlowError::Error)?.wait_preroll().map(drop)
            }
            Room::Flushing => Err(gst::FlowError::Flushing),
        }
    }

    fn record(
        &mut self,
        sink: &NvSink,
        sample: &gst::Sample,
        buffer: &gst::BufferRef,
        frame: Size,
    ) -> Record {
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let running_time = segment.and_then(|segment| video::running_time(segment, buffer.pts()));
        let time = FrameTime {
            pts: buffer.pts().map(gst::ClockTime::nseconds),
            running_time: running_time.map(gst::ClockTime::nseconds),
        };
        let regions = detections::read(buffer, frame);
        self.exchange.reject(regions.rejected);
        let mut found = Some(regions.detections);
        let mut detections = || found.take().unwrap_or_default();
        // Read where they stand: only what the record keeps is copied.
        frame::with_facts(buffer, |facts| Record::of(facts, time, frame, detections()))
            .unwrap_or_else(|| Record::new(self.plain_facts(sink, buffer), time, frame, detections()))
    }

    /// What there is to say about a frame that no element of this plugin has touched.
    fn plain_facts(&mut self, sink: &NvSink, buffer: &gst::BufferRef) -> FrameFacts {
        let seq = self.next_seq;
        self.next_seq += 1;
        let reference = frame::reference_wall_micros(buffer);
        FrameFacts {
            feed_id: sink.name().into(),
            seq,
            wall_time_us: Some(reference.unwrap_or_else(clock::wall_micros)),
            wall_time_source: reference.map_or(WallTimeSource::Arrival, |_| WallTimeSource::Reference),
            ..FrameFacts::default()
        }
    }

    /// Width and height as the caps say; zero if they do not.
    fn frame_size(&mut self, sample: &gst::Sample) -> Size {
        // A reference, where `to_owned` of what is borrowed would be a copy, another one for each frame.
        let Some(caps) = sample.caps_owned() else { return Size::default() };
        if let Some((known, size)) = &self.format
            && known.as_ptr() == caps.as_ptr()
        {
            return *size;
        }
        let side = |name| caps.structure(0).and_then(|caps| video::side(caps, name)).unwrap_or_default();
        let size = Size::new(side("width"), side("height"));
        self.format = Some((caps, size));
        size
    }
}

/// What the signal hands out: the sample, or the same without its pixels.
fn attachment(sample: &gst::Sample, buffer: &gst::BufferRef, with_pixels: bool) -> gst::Sample {
    let mut sample = sample.clone();
    if !with_pixels {
        let copied =
            gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
        // Nothing is left to fail without memory to copy; an empty buffer says the same as no pixels.
        let stripped = buffer.copy_region(copied, ..).unwrap_or_default();
        let writable = sample.make_mut();
        writable.set_buffer_list(None);
        writable.set_buffer(Some(&stripped));
    }
    sample
}
