//! The control thread's work: what the end of a feed means, and the end of all.

use super::control::{Cause, Control, Waiter, Winding};
use super::core::Roster;
use super::feed::Feed;
use super::imp::CAT;
use super::refusal::Refusal;
use super::settings::FeedExit;
use crate::clock;
use crate::health::redact;
use crate::metrics::Phase;
use glib::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;

/// What happens to feeds.
impl Control {
    pub(super) fn ended(&mut self, id: u32) {
        if self.leaving.contains_key(&id) {
            return self.hurry_once(id);
        }
        let Some(feed) = self.feeds.get(&id).cloned() else { return };
        let was_alive = feed.is_alive();
        feed.marks.lock().has_ended = true;
        // It may have been ended behind its source, for being idle.
        feed.source.emit_by_name::<()>("stop", &[]);
        if was_alive {
            self.exited(&feed, Cause::End);
        }
    }

    pub(super) fn hurry_once(&mut self, id: u32) {
        if self.leaving.get(&id).is_some_and(|leaving| !leaving.is_dismantled) {
            self.hurry(id, clock::now());
        }
    }

    pub(super) fn stopped(&mut self, id: u32, reason: String, detail: String) {
        let Some(feed) = self.feeds.get(&id).cloned() else { return };
        let stays = feed.newcomer.config.on_end == Some(crate::config::OnEnd::Stop);
        if matches!(reason.as_str(), "end-of-stream" | "user-requested") {
            // EOS follows what is on its way; without one this is the last that is heard.
            if stays && feed.is_alive() {
                feed.marks.lock().has_ended = true;
                self.exited(&feed, Cause::End);
            }
            return;
        }
        self.failed(&feed, reason, detail);
    }

    pub(super) fn broken(&mut self, id: u32, text: &str) {
        let Some(feed) = self.feeds.get(&id).cloned() else { return };
        gst::warning!(CAT, obj = self.runtime(), "An element of feed {:?} has failed: {text}", feed.name());
        feed.source.emit_by_name::<()>("stop", &[]);
        self.failed(&feed, "fatal".to_owned(), text.to_owned());
    }

    pub(super) fn failed(&mut self, feed: &Arc<Feed>, reason: String, detail: String) {
        let was_alive = feed.is_alive();
        feed.marks.lock().failure.get_or_insert((reason, detail.clone()));
        if was_alive {
            let text = format!("feed {:?} failed: {detail}", feed.name());
            gst::element_warning!(self.runtime(), gst::StreamError::Failed, ["{}", redact(&text)]);
            self.exited(feed, Cause::Failure(text));
        }
    }

    /// A feed is over that lived.
    pub(super) fn exited(&mut self, feed: &Feed, cause: Cause) {
        gst::info!(CAT, obj = self.runtime(), "Feed {:?} is over: {cause:?}", feed.name());
        if self.winding.is_some() {
            return;
        }
        if self.holds_off {
            self.held_off.get_or_insert(cause);
            return;
        }
        self.judge(cause);
    }

    /// All feeds that were to come are there.
    pub(super) fn look_at_what_was_held_off(&mut self) {
        self.holds_off = false;
        if let Some(cause) = self.held_off.take() {
            self.judge(cause);
        }
    }

    fn judge(&mut self, cause: Cause) {
        let exit = self.core.settings.lock().on_feed_exit();
        if exit == FeedExit::Teardown {
            return self.wind_down(cause, None);
        }
        self.forget_the_oldest_dead();
        self.look_for_the_end();
    }

    /// When every feed is over, so is the stream.
    pub(super) fn look_for_the_end(&mut self) {
        let over = !self.feeds.is_empty() && self.nobody_leaves() && self.living() == 0;
        if !over || self.winding.is_some() || self.holds_off || self.has_said_the_end {
            return;
        }
        self.has_said_the_end = true;
        let failures: Vec<_> =
            self.feeds.values().filter_map(|feed| feed.marks.lock().failure.clone()).collect();
        let cause = match failures.first() {
            Some((_, detail)) if failures.len() == self.feeds.len() => {
                Cause::Failure(format!("every feed has failed, one of them: {detail}"))
            }
            _ => Cause::End,
        };
        self.say_the_end(&cause);
    }

    pub(super) fn say_the_end(&self, cause: &Cause) {
        if let Cause::Failure(text) = cause {
            gst::element_error!(self.runtime(), gst::StreamError::Failed, ("{}", redact(text)));
        } else {
            self.runtime().post_message(gst::message::Eos::builder().src(self.runtime()).build()).ok();
        }
    }
}

/// The end.
impl Control {
    /// After READY all streams begin anew, those that had ended among them. A feed that could not follow the runtime
    /// stays what it is.
    pub(super) fn begin_again(&mut self) {
        let waiters = self.winding.take().map(|winding| winding.waiters).unwrap_or_default();
        for waiter in waiters {
            waiter.try_send(Err(Refusal::NotRunning)).ok();
        }
        self.is_wound = false;
        self.has_said_the_end = false;
        self.held_off = None;
        for feed in self.feeds.values().filter(|feed| feed.follows()) {
            let mut marks = feed.marks.lock();
            marks.has_ended = false;
            marks.failure = None;
        }
    }

    pub(super) fn wind_down(&mut self, cause: Cause, waiter: Option<Waiter>) {
        if let Some(winding) = &mut self.winding {
            if self.is_wound {
                waiter.into_iter().for_each(|waiter| drop(waiter.try_send(Ok(0))));
            } else {
                winding.waiters.extend(waiter);
            }
            return;
        }
        self.runtime().imp().enter(Phase::Draining);
        let drain = self.time_to_drain();
        let deadline = clock::now().saturating_add(drain);
        self.winding = Some(Winding { deadline, drain, cause, waiters: waiter.into_iter().collect() });
        for feed in self.feeds.values().filter(|feed| feed.is_alive()) {
            feed.end();
        }
    }

    pub(super) fn wound_down(&mut self, all_ended: bool) {
        let Some(winding) = &mut self.winding else { return };
        self.is_wound = true;
        let (cause, waiters) = (winding.cause.clone(), std::mem::take(&mut winding.waiters));
        let seconds = winding.drain.as_secs();
        let left: Vec<_> = self
            .feeds
            .values()
            .filter(|feed| feed.is_alive() || feed.has_records())
            .map(|feed| feed.name())
            .collect();
        let is_complete = all_ended && left.is_empty();
        if !is_complete {
            let names = left.join(", ");
            gst::element_warning!(
                self.runtime(),
                gst::StreamError::Failed,
                [
                    "{} feeds have not delivered everything within drain-timeout: {}",
                    left.len(),
                    redact(&names)
                ]
            );
        }
        self.runtime().imp().enter(Phase::Stopped);
        self.say_the_end(&cause);
        for waiter in waiters {
            let answer = if is_complete { Ok(0) } else { Err(Refusal::TimedOut { seconds }) };
            waiter.try_send(answer).ok();
        }
    }

    /// Takes everything apart. The elements are in NULL already, or go there now.
    pub(super) fn finish(&mut self) {
        self.core.set_roster(Roster::default());
        let bin = self.runtime().clone().upcast::<gst::Bin>();
        for feed in std::mem::take(&mut self.feeds).into_values() {
            feed.leave(&bin);
        }
        for (_, leaving) in std::mem::take(&mut self.leaving) {
            if !leaving.is_dismantled {
                leaving.feed.leave(&bin);
            }
        }
        for group in std::mem::take(&mut self.groups).into_values().chain(self.retired.drain(..)) {
            group.leave(&bin);
        }
    }
}
