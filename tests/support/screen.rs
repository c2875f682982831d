//! One `nvfeed` that is watched: every frame it gives, and every message about it.

use super::holdings::Holdings;
use super::{PATIENCE, eventually, launch};
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::{Message, Value};
use gstnextvision::output::FrameFacts;
use std::cell::RefCell;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Properties with which a feed comes back at once, and waits as long as a busy machine needs.
pub(crate) const QUICK: &str = "reconnect-base-delay=100000000 reconnect-max-delay=400000000 reconnect-jitter=0 \
    liveness-timeout=30000000000 stall-timeout=30000000000";

/// Longest time to NULL; the promise is 2 s, the rest is for busy machines.
const STOP: Duration = Duration::from_secs(6);

/// What is seen of a frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) running_time: u64,
    pub(crate) is_discont: bool,
    /// Only behind a batcher and an un-batcher.
    pub(crate) facts: Option<FrameFacts>,
}

/// A pipeline of one feed.
pub(crate) struct Screen {
    pub(crate) pipeline: gst::Pipeline,
    pub(crate) feed: gst::Element,
    frames: Receiver<Frame>,
    heard: RefCell<Vec<Message>>,
}

impl Screen {
    /// Plays `uri` with these properties, as gst-launch-1.0 reads them.
    pub(crate) fn play(uri: &str, properties: &str) -> Self {
        let this = Self::new(uri, properties);
        this.pipeline.set_state(gst::State::Playing).expect("it plays, whoever answers");
        this
    }

    /// As [`Self::play`], in NULL.
    pub(crate) fn new(uri: &str, properties: &str) -> Self {
        Self::with_rest(uri, properties, "")
    }

    /// As [`Self::play`], with a batcher and an un-batcher behind it.
    pub(crate) fn play_batched(uri: &str, properties: &str) -> Self {
        let this = Self::with_rest(uri, properties, "nvbatcher ! nvunbatcher !");
        this.pipeline.set_state(gst::State::Playing).expect("it plays, whoever answers");
        this
    }

    fn with_rest(uri: &str, properties: &str, rest: &str) -> Self {
        let pipeline = launch(&format!(
            "nvfeed name=camera feed-id=camera {properties} ! {rest} fakesink name=sink sync=false async=false"
        ));
        let [feed, sink] = ["camera", "sink"].map(|name| pipeline.by_name(name).expect("an element"));
        if !uri.is_empty() {
            feed.set_property("uri", uri);
        }
        let frames = frames_at(&sink.static_pad("sink").expect("a pad"));
        Self { pipeline, feed, frames, heard: RefCell::default() }
    }

    /// The next frame.
    pub(crate) fn frame(&self) -> Frame {
        self.frames.recv_timeout(PATIENCE.into()).unwrap_or_else(|_| {
            self.hear_rest();
            panic!("no frame; {:#?}", self.heard.borrow())
        })
    }

    /// The next frames.
    pub(crate) fn frames(&self, count: usize) -> Vec<Frame> {
        (0..count).map(|_| self.frame()).collect()
    }

    /// The frames that have come and nobody has taken.
    pub(crate) fn take_frames(&self) -> Vec<Frame> {
        self.frames.try_iter().collect()
    }

    /// Waits for the next message about the feed of that kind. Nothing else may complain meanwhile.
    pub(crate) fn until(&self, name: &str) -> Message {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        loop {
            let message =
                bus.timed_pop(PATIENCE).unwrap_or_else(|| panic!("no {name}; {:#?}", self.heard.borrow()));
            if let Some(health) = self.hear(&message).filter(|health| health.event.name() == name) {
                return health;
            }
        }
    }

    /// Waits for EOS on the bus.
    pub(crate) fn until_eos(&self) {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        loop {
            let message =
                bus.timed_pop(PATIENCE).unwrap_or_else(|| panic!("no EOS; {:#?}", self.heard.borrow()));
            self.hear(&message);
            if message.type_() == gst::MessageType::Eos {
                return;
            }
        }
    }

    fn hear(&self, message: &gst::Message) -> Option<Message> {
        assert!(
            !matches!(message.type_(), gst::MessageType::Error | gst::MessageType::Warning),
            "{message:?}; {:#?}",
            self.heard.borrow()
        );
        let health = health_of(message)?.expect("a well-formed health message");
        assert_eq!(health.feed_id.as_deref(), Some("camera"), "{health:?}");
        self.heard.borrow_mut().push(health.clone());
        Some(health)
    }

    /// How often something of that kind was told of so far.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let heard = self.heard.borrow();
        heard.iter().filter(|message| message.event.name() == name).map(|message| message.burst.count).sum()
    }

    /// Goes to READY, where everything has been said, and hears it.
    pub(crate) fn finish(&self) {
        self.pipeline.set_state(gst::State::Ready).expect("it stops");
        self.hear_rest();
    }

    fn hear_rest(&self) {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        while let Some(message) = bus.pop() {
            self.hear(&message);
        }
    }

    /// Goes to NULL, which must not take long, and leaves no thread of ours behind.
    pub(crate) fn stop_at_once(&self) {
        let before = clock::now();
        self.pipeline.set_state(gst::State::Null).expect("it stops");
        let took = clock::now().since(before);
        assert!(took < STOP, "{took:?}");
        eventually("no thread of ours", Holdings::now, |now| now.threads_of_ours() == 0);
    }

    pub(crate) fn stat<T: for<'a> glib::value::FromValue<'a> + 'static>(&self, field: &str) -> T {
        let stats = self.feed.property::<gst::Structure>("stats");
        stats.get(field).unwrap_or_else(|error| panic!("{field}: {error}"))
    }

    /// Waits until `status` is that.
    pub(crate) fn until_status(&self, status: &str) {
        eventually(status, || self.stat::<String>("status"), |found| found == status);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

/// Every frame that comes to a pad.
pub(crate) fn frames_at(pad: &gst::Pad) -> Receiver<Frame> {
    let (sender, receiver) = channel();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(buffer) = info.buffer() {
            let segment = pad.sticky_event::<gst::event::Segment>(0).expect("a segment comes first");
            let segment = segment.segment().downcast_ref::<gst::ClockTime>().expect("in time").clone();
            let running_time = segment.to_running_time(buffer.pts()).expect("within its segment");
            let frame = Frame {
                running_time: running_time.nseconds(),
                is_discont: buffer.flags().contains(gst::BufferFlags::DISCONT),
                facts: gstnextvision::meta::frame::read(buffer),
            };
            // Nobody looks any more at the end of a test.
            let _ = sender.send(frame);
        }
        gst::PadProbeReturn::Ok
    });
    receiver
}

/// A text of a message.
#[track_caller]
pub(crate) fn text(message: &Message, field: &str) -> String {
    match value(message, field) {
        Value::Text(text) => text,
        other => panic!("{field}: {other:?}"),
    }
}

/// A number of a message.
#[track_caller]
pub(crate) fn number(message: &Message, field: &str) -> u64 {
    match value(message, field) {
        Value::U32(number) => number.into(),
        Value::U64(number) => number,
        other => panic!("{field}: {other:?}"),
    }
}

#[track_caller]
fn value(message: &Message, field: &str) -> Value {
    let fields = message.event.clone().into_fields();
    let found = fields.into_iter().find(|(name, _)| *name == field);
    found.unwrap_or_else(|| panic!("no {field} in {message:?}")).1
}
