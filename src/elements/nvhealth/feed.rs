//! What is known of the stream that passes, and what is still to be said about it.

use crate::health::{Event, Frame, Limits, Origin, Pushed, Watch};
use crate::meta;
use crate::time::Monotonic;
use crate::time::nanos;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, ThreadId};

/// Most things that may wait to be posted. It takes a handler of the application that blocks to get there.
const MOST_WAITING: usize = 256;

/// Something to do for whoever posts.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// It happened to that feed.
    Report(Arc<str>, Event),
    /// Everything folded so far of that feed is to be posted.
    Flush(Arc<str>),
    /// Everything folded so far is to be posted.
    FlushAll,
    /// Everything folded a second ago is to be posted.
    CatchUp,
    /// The same as `Flush`, for a feed that has another name from here on.
    Forget(Arc<str>),
}

/// The stream, and the tasks it has led to. Tasks are done in order, by one thread at a time.
#[derive(Debug, Default)]
pub(super) struct Feed {
    pub(super) watch: Watch,
    /// What the user calls the feed.
    given_name: Option<Arc<str>>,
    /// What its frames call it.
    found_name: Option<Arc<str>>,
    element_name: Arc<str>,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    caps: Option<gst::Caps>,
    stream: Option<gst::Event>,
    pub(super) latency: gst::ClockTime,
    tasks: VecDeque<Task>,
    /// Whether `Task::CatchUp` is wanted.
    behind: bool,
    /// The thread that does the tasks.
    poster: Option<ThreadId>,
    /// Whether a thread of the pool has been asked to do them.
    asked: bool,
    pub(super) occurred: u64,
    pub(super) lost: u64,
}

/// Names.
impl Feed {
    pub(super) fn set_given_name(&mut self, name: Option<String>) {
        self.given_name = name.filter(|name| !name.is_empty()).map(Arc::from);
    }

    /// Name of the feed; `None` if nobody has given it one.
    pub(super) fn name(&self) -> Option<&Arc<str>> {
        self.given_name.as_ref().or(self.found_name.as_ref())
    }

    fn name_for_messages(&self) -> Arc<str> {
        Arc::clone(self.name().unwrap_or(&self.element_name))
    }

    fn find_name(&mut self, name: &str) {
        if self.given_name.is_some() || name.is_empty() || self.found_name.as_deref() == Some(name) {
            return;
        }
        if let Some(before) = self.found_name.replace(Arc::from(name)) {
            self.put(Task::Forget(before));
        }
    }
}

/// What happens.
impl Feed {
    pub(super) fn start(&mut self, element_name: &str, limits: Limits, now: Monotonic) {
        self.element_name = Arc::from(element_name);
        (self.segment, self.caps, self.stream, self.found_name) = (None, None, None, None);
        self.latency = gst::ClockTime::ZERO;
        self.watch.set_limits(limits);
        self.watch.start(now);
    }

    pub(super) fn stop(&mut self, now: Monotonic) {
        let events = self.watch.stop(now);
        self.say(events);
        self.put(Task::FlushAll);
    }

    /// A frame came at that running time. False if it is to be refused.
    pub(super) fn frame(
        &mut self,
        buffer: &gst::BufferRef,
        running_time: Option<gst::ClockTime>,
        now: Monotonic,
    ) -> bool {
        if self.watch.is_reaped() {
            return false;
        }
        let origin = meta::frame::with_origin(buffer, |feed_id, session, seq| {
            self.find_name(feed_id);
            Origin { session, seq }
        });
        let time = self.running_time_of(buffer);
        let frame = Frame {
            running_time: time,
            duration: buffer.duration().map(gst::ClockTime::nseconds),
            lag: time.zip(running_time).map(|(time, now)| lag(now, self.latency, time)),
            origin,
        };
        let frame = if self.watch.is_playing() { frame } else { Frame { lag: None, ..frame } };
        let events = self.watch.frame(&frame, now);
        self.say(events);
        true
    }

    pub(super) fn pushed(&mut self, answer: Result<gst::FlowSuccess, gst::FlowError>, now: Monotonic) {
        let answer = match answer {
            Ok(_) => Pushed::Taken,
            Err(gst::FlowError::Flushing | gst::FlowError::Eos | gst::FlowError::NotLinked) => {
                Pushed::Refused
            }
            Err(gst::FlowError::NotNegotiated) => Pushed::Failed("not-negotiated"),
            Err(gst::FlowError::NotSupported) => Pushed::Failed("not-supported"),
            Err(_) => Pushed::Failed("error"),
        };
        let events = self.watch.pushed(answer, now);
        self.say(events);
    }

    /// A serialized event came.
    pub(super) fn event(&mut self, event: &gst::Event, now: Monotonic) {
        let events = match event.view() {
            gst::EventView::StreamStart(start) => {
                let again = self.stream.as_ref().is_some_and(|before| is_again(before, start));
                if again && self.watch.has_session() {
                    return;
                }
                self.stream = Some(event.clone());
                (self.caps, self.segment) = (None, None);
                self.watch.stream_start(now)
            }
            gst::EventView::Caps(caps) => {
                let caps = caps.caps_owned();
                if self.caps.as_ref() == Some(&caps) {
                    return;
                }
                let events = self.watch.caps(|| caps.to_string());
                self.caps = Some(caps);
                events
            }
            gst::EventView::Segment(segment) => {
                self.segment = segment.segment().downcast_ref().cloned();
                return;
            }
            gst::EventView::Eos(_) => self.watch.eos(now),
            gst::EventView::FlushStop(_) => {
                self.segment = None;
                self.watch.flush(now);
                return;
            }
            _ => return,
        };
        self.say(events);
    }

    /// Whether the idle feed is to be ended now.
    pub(super) fn reap(&mut self, now: Monotonic) -> bool {
        let events = self.watch.reap(now);
        let ended = !events.is_empty();
        self.say(events);
        ended
    }

    /// Does what is due; whether the idle feed is to be ended.
    pub(super) fn tick(&mut self, now: Monotonic) -> bool {
        let tick = self.watch.tick(now);
        self.say(tick.events);
        tick.reap
    }

    fn running_time_of(&self, buffer: &gst::BufferRef) -> Option<i64> {
        let time = self.segment.as_ref()?.to_running_time_full(buffer.pts()?)?;
        let amount = |time: gst::ClockTime| i64::try_from(time.nseconds()).unwrap_or(i64::MAX);
        Some(time.positive().map_or_else(|| time.negative().map_or(0, |time| -amount(time)), amount))
    }
}

/// Tasks.
impl Feed {
    fn say(&mut self, events: Vec<Event>) {
        for event in events {
            self.occurred = self.occurred.saturating_add(1);
            let last = matches!(event, Event::FeedStopped(_));
            let name = self.name_for_messages();
            // What was folded belongs before the word that it is over.
            if last || matches!(event, Event::LagRecovered(_)) {
                self.put(Task::Flush(Arc::clone(&name)));
            }
            self.put(Task::Report(Arc::clone(&name), event));
            if last {
                self.put(Task::Flush(name));
            }
        }
    }

    fn put(&mut self, task: Task) {
        if self.tasks.len() < MOST_WAITING {
            self.tasks.push_back(task);
        } else if matches!(task, Task::Report(..)) {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Wants what is folded and old enough to be posted.
    pub(super) fn catch_up(&mut self) {
        self.behind = true;
    }

    /// Whether a thread of the pool is to be asked to do the tasks: there are some, nobody does them, and none has
    /// been asked.
    pub(super) fn ask(&mut self) -> bool {
        let wanted = self.poster.is_none() && !self.asked && self.has_tasks();
        self.asked |= wanted;
        wanted
    }

    /// The thread that was asked has come.
    pub(super) fn answer(&mut self) {
        self.asked = false;
    }

    /// Whether the caller is to do the tasks: there are some, and no other thread does them. One that does may come
    /// again: from a handler of what it posts.
    pub(super) fn take_over(&mut self) -> bool {
        let wanted = !self.is_posted_elsewhere() && self.has_tasks();
        if wanted {
            self.poster = Some(thread::current().id());
        }
        wanted
    }

    /// Whether another thread does the tasks.
    pub(super) fn is_posted_elsewhere(&self) -> bool {
        self.poster.is_some_and(|poster| poster != thread::current().id())
    }

    /// The next task of who does them; `None` if that is over.
    pub(super) fn next_task(&mut self) -> Option<Task> {
        // A handler may have done them all, and another thread those after.
        if self.poster != Some(thread::current().id()) {
            return None;
        }
        if let Some(task) = self.tasks.pop_front() {
            return Some(task);
        }
        if std::mem::take(&mut self.behind) {
            return Some(Task::CatchUp);
        }
        self.poster = None;
        None
    }

    /// Whoever did the tasks cannot go on.
    pub(super) fn give_up(&mut self) {
        if !self.is_posted_elsewhere() {
            self.poster = None;
        }
    }

    fn has_tasks(&self) -> bool {
        self.behind || !self.tasks.is_empty()
    }
}

/// Whether the stream goes on: its STREAM_START was only sent again.
fn is_again(before: &gst::Event, start: &gst::event::StreamStart) -> bool {
    let gst::EventView::StreamStart(before) = before.view() else { return false };
    let same_group = start.group_id().is_some() && before.group_id() == start.group_id();
    before.seqnum() == start.seqnum() || (same_group && before.stream_id() == start.stream_id())
}

/// How late a frame is, in nanoseconds: running time now, less latency, less running time of the frame.
fn lag(now: gst::ClockTime, latency: gst::ClockTime, frame: i64) -> u64 {
    let late = i128::from(nanos(now.into())) - i128::from(nanos(latency.into())) - i128::from(frame);
    u64::try_from(late.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> gst::ClockTime {
        gst::ClockTime::from_seconds(seconds)
    }

    #[test]
    fn lag_is_what_latency_does_not_explain_and_never_negative() {
        assert_eq!(lag(seconds(10), seconds(2), 5_000_000_000), 3_000_000_000);
        assert_eq!(lag(seconds(10), seconds(2), 9_000_000_000), 0);
        assert_eq!(lag(seconds(1), seconds(0), -1_000_000_000), 2_000_000_000);
        assert_eq!(lag(gst::ClockTime::MAX, seconds(0), i64::MIN), u64::MAX);
    }

    #[test]
    fn tasks_are_done_by_one_thread_in_order_and_are_bounded() {
        let mut feed = Feed::default();
        assert!(!feed.take_over());
        for _ in 0..MOST_WAITING {
            feed.say(vec![Event::SourceEos(crate::health::SourceEos {})]);
        }
        feed.say(vec![Event::SourceEos(crate::health::SourceEos {})]);
        assert_eq!((feed.occurred, feed.lost), (MOST_WAITING as u64 + 1, 1));
        assert!(feed.ask());
        assert!(!feed.ask(), "somebody has been asked");
        feed.answer();
        assert!(feed.take_over());
        assert!(!feed.ask(), "somebody does them");
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(!feed.take_over() && feed.is_posted_elsewhere() && feed.next_task().is_none());
            });
        });
        feed.catch_up();
        let mut done = 0;
        while let Some(task) = feed.next_task() {
            done += 1;
            assert_eq!(matches!(task, Task::CatchUp), done == MOST_WAITING + 1);
        }
        assert!(!feed.take_over(), "nothing is left");
    }
}
