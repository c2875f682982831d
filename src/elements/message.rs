//! Health messages on the bus: from [`Message`] to the element message `nv-health` and back, and the reporter every
//! element has.

use crate::clock;
use crate::elements::signal::Signal;
use crate::elements::thread::JOIN_TIMEOUT;
use crate::elements::watcher::{self, Watched, Watching};
use crate::health::{self, Burst, Coalescer, Due, Event, Message, ParseError, Value, redact};
use crate::meta::text::without_nul;
use crate::time::Monotonic;
use glib::prelude::*;
use gst::prelude::*;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ThreadId;

impl From<Message> for gst::Structure {
    fn from(message: Message) -> Self {
        let mut structure = Self::builder(health::NAME)
            .field("event", message.event.name())
            .field("severity", message.event.severity().as_str())
            .field("element", text(&message.element))
            .field("sequence", message.sequence)
            .field("running-time", message.running_time.unwrap_or(u64::MAX))
            .field("count", message.burst.count)
            .field("total", message.burst.total)
            .build();
        structure.set_if_some("feed-id", message.feed_id.as_deref().map(text));
        for (name, value) in message.event.into_fields() {
            structure.set_value(name, to_send_value(value));
        }
        structure
    }
}

impl TryFrom<&gst::StructureRef> for Message {
    type Error = ParseError;

    fn try_from(structure: &gst::StructureRef) -> Result<Self, ParseError> {
        let text = |name| structure.get::<String>(name).ok();
        let number = |name| structure.get::<u64>(name).unwrap_or_default();
        let event = Event::parse(&text("event").unwrap_or_default(), |name| {
            structure.value(name).ok().and_then(|value| from_value(value))
        })?;
        Ok(Self {
            event,
            feed_id: text("feed-id"),
            element: text("element").unwrap_or_default(),
            sequence: number("sequence"),
            running_time: Some(number("running-time")).filter(|nanos| *nanos != u64::MAX),
            burst: Burst { count: number("count"), total: number("total") },
        })
    }
}

/// The health message that a bus message carries; `None` if it carries another one.
#[must_use]
pub fn health_of(message: &gst::MessageRef) -> Option<Result<Message, ParseError>> {
    let gst::MessageView::Element(element) = message.view() else { return None };
    let structure = element.structure().filter(|structure| structure.name() == health::NAME)?;
    Some(Message::try_from(structure))
}

/// Text as it may be shown, and as GLib can hold it.
fn text(text: &str) -> String {
    without_nul(&redact(text)).into_owned()
}

fn to_send_value(value: Value) -> glib::SendValue {
    match value {
        Value::U32(value) => value.to_send_value(),
        Value::U64(value) => value.to_send_value(),
        Value::F64(value) => value.to_send_value(),
        Value::Flag(value) => value.to_send_value(),
        Value::Text(value) => text(&value).to_send_value(),
        Value::Texts(values) => gst::Array::new(values.iter().map(|value| text(value))).to_send_value(),
    }
}

fn from_value(value: &glib::Value) -> Option<Value> {
    let texts = |array: gst::Array| {
        let texts = array.as_slice().iter().map(|value| value.get::<String>().ok());
        texts.collect::<Option<Vec<_>>>()
    };
    None.or_else(|| value.get::<u32>().ok().map(Value::U32))
        .or_else(|| value.get::<u64>().ok().map(Value::U64))
        .or_else(|| value.get::<f64>().ok().map(Value::F64))
        .or_else(|| value.get::<bool>().ok().map(Value::Flag))
        .or_else(|| value.get::<String>().ok().map(Value::Text))
        .or_else(|| value.get::<gst::Array>().ok().and_then(texts).map(Value::Texts))
}

/// Posts the health messages of one element, at most one per kind, feed and second, and numbers them.
///
/// Call it without any lock held: handlers may run in the calling thread.
#[derive(Default)]
pub(crate) struct HealthReporter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    posted: AtomicU64,
    /// Whether the coalescer may hold something unreported, so that [`HealthReporter::catch_up`] costs nothing.
    pending: AtomicBool,
    coalescer: Mutex<Coalescer>,
    tails: Option<Tails>,
}

/// Posts what has been folded when its second is over, though nothing comes after it.
#[derive(Default)]
struct Tails {
    element: glib::WeakRef<gst::Element>,
    /// From the first time that anything is folded until everything is flushed.
    watching: Mutex<Option<Watching>>,
    /// Whether a thread of GStreamer's pool is to post: one is enough, should a handler block it.
    asked: AtomicBool,
    /// The thread of the pool that posts.
    poster: Mutex<Option<ThreadId>>,
    idle: Signal,
}

impl HealthReporter {
    /// One that needs nobody to call [`Self::catch_up`].
    pub(crate) fn with_tails() -> Self {
        Self(Arc::new(Shared { tails: Some(Tails::default()), ..Shared::default() }))
    }

    /// `event` happened `count` times: posts that, or adds it to the next message about it.
    pub(crate) fn report(
        &self,
        element: &impl IsA<gst::Element>,
        feed_id: Option<&str>,
        event: impl Into<Event>,
        count: u64,
    ) {
        let due = self.0.coalescer.lock().add(feed_id, event.into(), count, clock::now());
        match due {
            Some(due) => self.post(element, due),
            None => {
                self.0.pending.store(true, Ordering::Release);
                self.watch(element.upcast_ref());
            }
        }
    }

    /// Posts what is unreported for a second or longer.
    pub(crate) fn catch_up(&self, element: &impl IsA<gst::Element>) {
        self.0.catch_up(element.upcast_ref());
    }

    /// When to call [`Self::catch_up`]; `None` if nothing is unreported.
    pub(crate) fn due_at(&self) -> Option<Monotonic> {
        self.0.due_at()
    }

    /// How many messages have been posted.
    pub(crate) fn posted(&self) -> u64 {
        self.0.posted.load(Ordering::Relaxed)
    }

    /// Posts everything unreported. What another thread is about to post is waited for, within bounds: the caller may
    /// be about to stop, and the bus to throw away what comes later.
    pub(crate) fn flush(&self, element: &impl IsA<gst::Element>) {
        if let Some(tails) = &self.0.tails {
            tails.stop();
        }
        let due = self.0.coalescer.lock().flush();
        self.0.post_all(element.upcast_ref(), due);
    }

    /// Posts everything unreported of one feed.
    pub(crate) fn flush_feed(&self, element: &impl IsA<gst::Element>, feed_id: &str) {
        let due = self.0.coalescer.lock().flush_feed(Some(feed_id));
        self.0.post_all(element.upcast_ref(), due);
    }

    /// The same, and forgets the feed.
    pub(crate) fn forget(&self, element: &impl IsA<gst::Element>, feed_id: &str) {
        let due = self.0.coalescer.lock().forget(feed_id);
        self.0.post_all(element.upcast_ref(), due);
    }

    /// Posts what somebody else has coalesced.
    pub(crate) fn post(&self, element: &impl IsA<gst::Element>, due: Due) {
        self.0.post(element.upcast_ref(), due);
    }

    /// Has what is folded posted in time.
    fn watch(&self, element: &gst::Element) {
        let Some(tails) = &self.0.tails else { return };
        let deadline = self.0.due_at();
        let mut watching = tails.watching.lock();
        match &*watching {
            Some(watching) => watching.due_by(deadline),
            None => {
                tails.element.set(Some(element));
                // Without a thread for it, it is posted with the next frame, or as the element stops.
                *watching = watcher::watch(&self.0).ok();
            }
        }
    }
}

impl Shared {
    fn catch_up(&self, element: &gst::Element) {
        if !self.pending.load(Ordering::Acquire) {
            return;
        }
        let due = {
            let mut coalescer = self.coalescer.lock();
            let due = coalescer.due(clock::now());
            self.pending.store(coalescer.due_at().is_some(), Ordering::Release);
            due
        };
        self.post_all(element, due);
    }

    fn due_at(&self) -> Option<Monotonic> {
        if !self.pending.load(Ordering::Acquire) {
            return None;
        }
        self.coalescer.lock().due_at()
    }

    fn post_all(&self, element: &gst::Element, due: Vec<Due>) {
        for due in due {
            self.post(element, due);
        }
    }

    fn post(&self, element: &gst::Element, due: Due) {
        let message = Message {
            event: due.event,
            feed_id: due.feed_id,
            element: element.name().into(),
            sequence: self.posted.fetch_add(1, Ordering::Relaxed),
            running_time: element.current_running_time().map(gst::ClockTime::nseconds),
            burst: due.burst,
        };
        let message = gst::message::Element::builder(message.into()).src(element).build();
        // Nobody listens before the element is in a pipeline; that is no fault.
        element.post_message(message).ok();
    }

    /// Posts what is due, on a thread of the pool.
    fn post_tails(&self, tails: &Tails, element: &gst::Element) {
        *tails.poster.lock() = Some(std::thread::current().id());
        // A handler that panics must not reach the pool.
        catch_unwind(AssertUnwindSafe(|| self.catch_up(element))).ok();
        *tails.poster.lock() = None;
        tails.idle.raise();
        tails.asked.store(false, Ordering::Release);
        if let Some(watching) = &*tails.watching.lock() {
            watching.due_by(self.due_at());
        }
    }
}

impl Watched for Shared {
    fn check(self: Arc<Self>, now: Monotonic) -> Option<Monotonic> {
        let tails = self.tails.as_ref()?;
        let due = self.due_at()?;
        if due > now {
            return Some(due);
        }
        let element = tails.element.upgrade()?;
        if !tails.asked.swap(true, Ordering::AcqRel) {
            let this = Arc::clone(&self);
            element.call_async(move |element| {
                if let Some(tails) = &this.tails {
                    this.post_tails(tails, element);
                }
            });
        }
        None
    }
}

impl Tails {
    /// Posts nothing more by itself, and waits, within bounds, for what is being posted.
    fn stop(&self) {
        let watching = self.watching.lock().take();
        // Outside of the lock: it may wait for the thread.
        drop(watching);
        let me = std::thread::current().id();
        self.idle.wait_until(JOIN_TIMEOUT, || self.poster.lock().is_none_or(|poster| poster == me));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{BatchError, FeedStalled, FpsLow};

    fn round_trip(event: Event) -> gst::Structure {
        gst::init().unwrap();
        let message = Message {
            event,
            feed_id: Some("ga\0te".to_owned()),
            element: "b".to_owned(),
            sequence: 3,
            running_time: None,
            burst: Burst { count: 2, total: 5 },
        };
        let structure = gst::Structure::from(message.clone());
        let back = Message::try_from(structure.as_ref()).unwrap();
        assert_eq!(back, Message { feed_id: Some("ga\u{fffd}te".to_owned()), ..message });
        structure
    }

    #[test]
    fn a_message_has_the_common_fields_and_its_own() {
        let structure = round_trip(FeedStalled { silent_for: 9, blocked: true }.into());
        assert_eq!(structure.name(), "nv-health");
        assert_eq!(structure.get("event"), Ok("feed-stalled"));
        assert_eq!(structure.get("severity"), Ok("warning"));
        assert_eq!(structure.get("feed-id"), Ok("ga\u{fffd}te"));
        assert_eq!(structure.get("element"), Ok("b"));
        assert_eq!(structure.get("sequence"), Ok(3_u64));
        assert_eq!(structure.get("running-time"), Ok(u64::MAX));
        assert_eq!((structure.get("count"), structure.get("total")), (Ok(2_u64), Ok(5_u64)));
        assert_eq!(structure.get("silent-for"), Ok(9_u64));
    }

    #[test]
    fn every_type_of_field_survives_the_bus() {
        round_trip(FpsLow { fps: 1.5, fps_min: 2.0 }.into());
        let feeds = vec!["a".to_owned(), "b".to_owned()];
        round_trip(BatchError { batch_size: 2, feeds, detail: "no".to_owned(), consecutive: 1 }.into());
    }

    #[test]
    fn no_text_of_a_message_shows_a_credential() {
        gst::init().unwrap();
        let secret = "rtsp://user:canary@host".to_owned();
        let event = BatchError {
            batch_size: 1,
            feeds: vec![secret.clone()],
            detail: format!("cannot open {secret:?}: password=canary"),
            consecutive: 1,
        };
        let message = Message {
            event: event.into(),
            feed_id: Some(secret.clone()),
            element: secret,
            sequence: 0,
            running_time: None,
            burst: Burst { count: 1, total: 1 },
        };
        let structure = gst::Structure::from(message);
        assert_eq!(structure.get("feed-id"), Ok("rtsp://***@host"));
        assert!(!format!("{structure:?}").contains("canary"), "{structure:?}");
    }

    #[test]
    fn another_message_is_not_taken_for_one() {
        gst::init().unwrap();
        let other = gst::message::Element::builder(gst::Structure::new_empty("other")).build();
        assert!(health_of(&other).is_none());
        let empty = gst::message::Element::builder(gst::Structure::new_empty(health::NAME)).build();
        assert!(health_of(&empty).unwrap().is_err());
    }
}
