//! Pictures of feeds for the page: taken when somebody looks, drawn on and compressed by a thread of their own.
//!
//! While nobody looks a feed costs one read of a flag per frame, and no frame is kept but the last that somebody asked
//! for.

use crate::elements::signal::Signal;
use gst::prelude::*;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a frame is waited for: longer than the frame interval of any camera worth the name.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long one picture may take to be drawn.
const DRAWING: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// Looks at the frames of a feed.
#[derive(Default)]
pub(super) struct Eye {
    is_wanted: AtomicBool,
    last: Mutex<Option<gst::Sample>>,
    taken: Signal,
}

impl Eye {
    /// Takes a frame off `pad` whenever one is wanted.
    pub(super) fn look_at(this: &Arc<Self>, pad: &gst::Pad) {
        let eye = Arc::clone(this);
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if eye.is_wanted.load(Ordering::Relaxed)
                && let Some(buffer) = info.buffer()
            {
                let caps = pad.current_caps();
                let sample = gst::Sample::builder().buffer(buffer);
                let sample = if let Some(caps) = &caps { sample.caps(caps) } else { sample };
                *eye.last.lock() = Some(sample.build());
                eye.is_wanted.store(false, Ordering::Relaxed);
                eye.taken.raise();
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// A frame of now, or the last that was seen if none comes; `None` if there never was one.
    pub(super) fn see(&self, expects_frames: bool) -> Option<gst::Sample> {
        self.is_wanted.store(true, Ordering::Relaxed);
        if expects_frames {
            self.taken.wait_until(PATIENCE, || !self.is_wanted.load(Ordering::Relaxed));
        }
        self.last.lock().clone()
    }
}

/// Makes pictures, one at a time.
#[derive(Default)]
pub(super) struct Studio(Mutex<Option<Press>>);

/// How pictures are to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) width: u32,
    pub(super) has_overlay: bool,
}

/// A pipeline that goes from a frame to a picture.
struct Press {
    look: Look,
    caps: gst::Caps,
    pipeline: gst::Pipeline,
    src: gst_app::AppSrc,
    sink: gst_app::AppSink,
}

impl Studio {
    /// The frame as JPEG. Called from the threads of the server, which may wait.
    pub(super) fn print(&self, sample: &gst::Sample, look: Look) -> Result<Vec<u8>, String> {
        // Taken out while it is used: nothing is called with the lock held.
        let kept = self.0.lock().take();
        let caps = sample.caps_owned().ok_or("a frame without caps")?;
        let press = match kept.filter(|press| press.look == look && press.caps == caps) {
            Some(press) => press,
            None => Press::new(look, caps).map_err(|error| error.to_string())?,
        };
        let picture = press.print(sample)?;
        let before = self.0.lock().replace(press);
        drop(before);
        Ok(picture)
    }
}

impl Press {
    fn new(look: Look, caps: gst::Caps) -> Result<Self, glib::Error> {
        let overlay = if look.has_overlay { "nvoverlay style=boxes+labels+ids ! videoconvert !" } else { "" };
        let Look { width, .. } = look;
        // The height follows, as the pixels are square.
        let pipeline = gst::parse::launch(&format!(
            "appsrc name=src format=time max-buffers=1 ! videoconvert ! videoscale add-borders=false \
             ! video/x-raw,format=I420,width={width},pixel-aspect-ratio=1/1 ! {overlay} jpegenc quality=75 \
             ! appsink name=sink sync=false async=false max-buffers=1"
        ))?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| error("not a pipeline"))?;
        let src =
            pipeline.by_name("src").and_downcast::<gst_app::AppSrc>().ok_or_else(|| error("no appsrc"))?;
        let sink =
            pipeline.by_name("sink").and_downcast::<gst_app::AppSink>().ok_or_else(|| error("no appsink"))?;
        src.set_caps(Some(&caps));
        let press = Self { look, caps, pipeline, src, sink };
        press.pipeline.set_state(gst::State::Playing).map_err(|_| error("the pipeline does not start"))?;
        Ok(press)
    }

    fn print(&self, sample: &gst::Sample) -> Result<Vec<u8>, String> {
        let buffer = sample.buffer_owned().ok_or("no frame")?;
        let mut buffer = buffer.copy();
        // Its time means nothing here, and would keep it waiting.
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::ZERO);
        }
        self.src.push_buffer(buffer).map_err(|error| error.to_string())?;
        let picture = self.sink.try_pull_sample(DRAWING).ok_or_else(|| self.complaint())?;
        let map = picture.buffer().and_then(|buffer| buffer.map_readable().ok()).ok_or("no picture")?;
        Ok(map.to_vec())
    }

    /// Why no picture came.
    fn complaint(&self) -> String {
        let bus = self.pipeline.bus();
        let message = bus.and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => error.error().to_string(),
            _ => "no picture in time".to_owned(),
        }
    }
}

impl Drop for Press {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

fn error(text: &str) -> glib::Error {
    glib::Error::new(gst::CoreError::Failed, text)
}
