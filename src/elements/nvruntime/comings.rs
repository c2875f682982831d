//! The control thread's work: feeds come, go, pause and come back.

use super::control::{Control, DISMANTLING, Leaving, News, Waiter};
use super::core::{Roster, Trial};
use super::feed::{self, Feed, Newcomer, Surroundings};
use super::group::Group;
use super::imp::{CAT, FEED_ADDED, FEED_REMOVED};
use super::outputs::Output;
use super::refusal::Refusal;
use crate::clock;
use crate::time::Monotonic;
use glib::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Feeds come.
impl Control {
    /// Makes a feed with a number that none ever had.
    pub(super) fn make_next(&mut self, newcomer: Newcomer) -> Result<u32, Refusal> {
        let id = self.next_id;
        self.next_id += 1;
        self.make(id, newcomer).map(|()| id)
    }

    /// Feeds that have a place, those on their way back included.
    pub(super) fn living(&self) -> usize {
        let back = self.leaving.values().filter(|leaving| leaving.comes_back.is_some()).count();
        self.feeds.values().filter(|feed| feed.is_alive()).count() + back
    }

    /// Whether a feed of that name is on its way back.
    pub(super) fn comes_back(&self, name: &str) -> bool {
        self.leaving.values().any(|leaving| leaving.comes_back.is_some() && leaving.feed.name() == name)
    }

    pub(super) fn add(&mut self, mut newcomer: Newcomer) -> Result<u32, Refusal> {
        let max = self.core.settings.lock().max_feeds();
        if self.living() >= max as usize {
            return Err(Refusal::FeedLimitExceeded { max });
        }
        if newcomer.config.id.is_empty() {
            newcomer.config.id = format!("feed-{}", self.next_id);
        }
        let name = newcomer.config.id.clone();
        if self.comes_back(&name) {
            return Err(Refusal::DuplicateFeed { name });
        }
        let namesake = self.feeds.values().find(|feed| feed.name() == name);
        if let Some(namesake) = namesake {
            if namesake.is_alive() {
                return Err(Refusal::DuplicateFeed { name });
            }
            let dead = namesake.id;
            self.let_go(dead, None, false);
        }
        self.holds_off = true;
        let made = self.make_next(newcomer);
        let refusal = made.as_ref().ok().and_then(|id| self.failure_of(*id));
        if let (Ok(id), Some(refusal)) = (&made, refusal) {
            // It was never one of those whose end means anything.
            self.held_off = None;
            self.let_go(*id, None, false);
            if let Some(leaving) = self.leaving.get_mut(id) {
                leaving.is_secret = true;
            }
            self.look_at_what_was_held_off();
            return Err(refusal);
        }
        self.publish();
        self.look_at_what_was_held_off();
        let id = made?;
        self.runtime().emit_by_name::<()>(FEED_ADDED, &[&id]);
        Ok(id)
    }

    /// Why a feed has failed, if it has.
    pub(super) fn failure_of(&self, id: u32) -> Option<Refusal> {
        let failure = self.feeds.get(&id)?.marks.lock().failure.clone();
        failure.map(|(_, detail)| Refusal::Failed { text: detail })
    }

    /// Makes a feed and starts it. It is one of the feeds also if it does not start; then it has failed.
    pub(super) fn make(&mut self, id: u32, newcomer: Newcomer) -> Result<(), Refusal> {
        let feed = self.prepared(id, newcomer, &self.groups, &self.outputs)?;
        self.take_in(&feed);
        Ok(())
    }

    /// Makes a feed that nobody knows yet.
    pub(super) fn prepared(
        &self,
        id: u32,
        newcomer: Newcomer,
        groups: &BTreeMap<String, Arc<Group>>,
        outputs: &[Arc<Output>],
    ) -> Result<Arc<Feed>, Refusal> {
        let group = groups.get(&newcomer.config.group).cloned();
        let group = group.ok_or_else(|| {
            let known: Vec<_> = groups.keys().map(String::as_str).collect();
            let text =
                format!("group: expected one of {}, found {:?}", known.join(", "), newcomer.config.group);
            Refusal::InvalidConfiguration { text }
        })?;
        let around = Surroundings { runtime: self.runtime().imp(), core: &self.core, outputs };
        Feed::new(id, newcomer, group, &around).map(Arc::new)
    }

    /// Makes it one of the feeds and starts it.
    pub(super) fn take_in(&mut self, feed: &Arc<Feed>) {
        // Who says why it does not start says so before anybody could hear it.
        *self.core.trial.lock() = Some(Trial { suffix: feed::trial_name(feed.id), error: None });
        let started = feed.join(self.runtime().imp()).and_then(|()| self.bring(feed));
        let said = self.core.trial.lock().take().and_then(|trial| trial.error);
        self.feeds.insert(feed.id, Arc::clone(feed));
        match (started, said) {
            (Ok(()), None) => self.has_said_the_end = false,
            (Ok(()), Some(text)) => self.broken(feed.id, &text),
            (Err(Refusal::Failed { text }), None) | (Err(_), Some(text)) => {
                self.failed(feed, "fatal".to_owned(), text);
            }
            (Err(other), None) => self.failed(feed, "fatal".to_owned(), other.to_string()),
        }
    }

    /// Brings the feed where the runtime is.
    fn bring(&self, feed: &Feed) -> Result<(), Refusal> {
        let state = self.state();
        feed.start(state)?;
        // Until now it did not follow: where the runtime went meanwhile it has to be sent.
        let now = self.state();
        if now == state { Ok(()) } else { feed.start(now) }
    }

    /// Where feeds that come are to go.
    pub(super) fn state(&self) -> gst::State {
        let (_, current, pending) = self.runtime().state(gst::ClockTime::ZERO);
        if current == gst::State::Null {
            // What the feeds lead to is in READY at most.
            return gst::State::Ready;
        }
        let wanted = if pending == gst::State::VoidPending { current } else { pending };
        wanted.max(gst::State::Ready)
    }

    /// How long what is on its way may take to arrive. While nothing plays, nothing does.
    pub(super) fn time_to_drain(&self) -> Duration {
        let drain = self.core.settings.lock().drain_timeout();
        if self.state() == gst::State::Playing { drain } else { Duration::ZERO }
    }

    /// Lets everybody see who there is.
    pub(super) fn publish(&self) {
        self.core.set_roster(Roster {
            feeds: self.feeds.values().cloned().collect(),
            groups: self.groups.values().cloned().collect(),
            outputs: self.outputs.clone(),
            leaving: self.leaving.values().map(|leaving| Arc::clone(&leaving.feed)).collect(),
            retired: self.retired.clone(),
            lost: self.lost.clone(),
            gone: self.gone.clone(),
        });
    }
}

/// Feeds go.
impl Control {
    pub(super) fn remove(&mut self, id: u32, waiter: Waiter) {
        if self.feeds.contains_key(&id) {
            self.let_go(id, Some(waiter), false);
        } else if let Some(leaving) = self.leaving.get_mut(&id) {
            if leaving.comes_back.take().is_some() {
                for waiter in leaving.waiters.drain(..) {
                    waiter.try_send(Err(Refusal::NotAlive { id })).ok();
                }
            }
            leaving.waiters.push(waiter);
        } else {
            waiter.try_send(Err(Refusal::UnknownFeed { id })).ok();
        }
    }

    /// A feed is on its way out: what it has on its way is delivered first, within bounds.
    pub(super) fn let_go(&mut self, id: u32, waiter: Option<Waiter>, comes_back: bool) {
        let Some(feed) = self.feeds.remove(&id) else { return };
        let is_alive = feed.is_alive();
        let drained_by = clock::now().saturating_add(self.time_to_drain());
        if is_alive {
            feed.end();
        }
        let leaving = Leaving {
            comes_back: comes_back.then(|| self.as_of_now(&feed.newcomer)),
            feed,
            drained_by,
            deadline: drained_by,
            is_dismantled: false,
            is_stuck: false,
            waiters: waiter.into_iter().collect(),
            is_secret: false,
        };
        self.leaving.insert(id, leaving);
        self.publish();
        if !is_alive {
            self.hurry(id, clock::now());
        }
    }

    /// The feed as the site file has it by now: limits may have changed while it played.
    fn as_of_now(&self, newcomer: &Newcomer) -> Newcomer {
        let of_site = self.site.feed(&newcomer.config.id).filter(|_| newcomer.is_of_site);
        Newcomer { config: of_site.unwrap_or(&newcomer.config).clone(), ..newcomer.clone() }
    }

    /// The next step of a feed on its way out is due.
    pub(super) fn hurry(&mut self, id: u32, now: Monotonic) {
        let Some(leaving) = self.leaving.get_mut(&id) else { return };
        if leaving.is_dismantled {
            // The threads of that feed are stuck: nobody waits for them, and it is gone when they are.
            leaving.is_stuck = true;
            let name = leaving.feed.name().to_owned();
            self.core.detached_threads.fetch_add(1, Ordering::Relaxed);
            for waiter in leaving.waiters.drain(..) {
                waiter.try_send(Err(Refusal::TimedOut { seconds: DISMANTLING.as_secs() })).ok();
            }
            gst::warning!(CAT, obj = self.runtime(), "Feed {name:?} does not end and is let go of");
            return self.look_for_the_end();
        }
        leaving.is_dismantled = true;
        leaving.deadline = leaving.drained_by.max(now).saturating_add(DISMANTLING);
        leaving.feed.stop_by(leaving.drained_by);
        let (feed, core) = (Arc::clone(&leaving.feed), Arc::clone(&self.core));
        self.runtime().call_async(move |runtime| {
            feed.leave(runtime.upcast_ref());
            drop(feed);
            core.tell(News::Gone(id));
        });
    }

    pub(super) fn gone(&mut self, id: u32) {
        let Some(leaving) = self.leaving.remove(&id) else { return };
        if leaving.is_stuck {
            self.core.detached_threads.fetch_sub(1, Ordering::Relaxed);
        }
        for (output, sink) in &leaving.feed.sinks {
            *self.lost.entry(output.clone()).or_default() += sink.books().lost;
        }
        drop(leaving.feed);
        self.retire_groups();
        let mut answer = Ok(id);
        if let Some(newcomer) = leaving.comes_back {
            answer = if self.winding.is_some() {
                Err(Refusal::ShuttingDown)
            } else {
                self.make(id, newcomer).map(|()| id)
            };
        }
        self.publish();
        if self.feeds.contains_key(&id) {
            // It is back, and may have failed at once.
            answer = self.failure_of(id).map_or(answer, Err);
        } else if !leaving.is_secret {
            self.core.removed_feeds.fetch_add(1, Ordering::Relaxed);
            self.runtime().emit_by_name::<()>(FEED_REMOVED, &[&id]);
        }
        for waiter in leaving.waiters {
            waiter.try_send(answer.clone()).ok();
        }
        self.look_for_the_end();
    }

    /// Groups that the site has no more go with their last feed.
    pub(super) fn retire_groups(&mut self) {
        let feeds = self.feeds.values().chain(self.leaving.values().map(|leaving| &leaving.feed));
        let needed: Vec<_> = feeds.map(|feed| Arc::as_ptr(&feed.group)).collect();
        let (kept, done): (Vec<_>, Vec<_>) =
            self.retired.drain(..).partition(|group| needed.contains(&Arc::as_ptr(group)));
        self.retired = kept;
        for group in done {
            group.leave(self.runtime().upcast_ref());
            self.gone += &group.batcher.known().total();
        }
    }

    /// The dead are kept so that somebody sees why; not all of them.
    pub(super) fn forget_the_oldest_dead(&mut self) {
        let dead: Vec<u32> =
            self.feeds.values().filter(|feed| !feed.is_alive()).map(|feed| feed.id).collect();
        for id in dead.iter().take(dead.len().saturating_sub(super::group::MOST_DEAD as usize)) {
            self.let_go(*id, None, false);
        }
    }
}

/// Feeds are paused and restarted.
impl Control {
    pub(super) fn living_feed(&self, id: u32) -> Result<&Arc<Feed>, Refusal> {
        let feed = self.feeds.get(&id).ok_or(Refusal::UnknownFeed { id })?;
        if feed.is_alive() { Ok(feed) } else { Err(Refusal::NotAlive { id }) }
    }

    pub(super) fn pause(&self, id: u32, is_paused: bool) -> Result<u32, Refusal> {
        let feed = self.living_feed(id)?;
        match (feed.marks.lock().is_paused, is_paused) {
            (true, true) => return Err(Refusal::AlreadyPaused { id }),
            (false, false) => return Err(Refusal::NotPaused { id }),
            _ => {}
        }
        feed.pause(is_paused);
        Ok(id)
    }

    pub(super) fn restart(&mut self, id: u32, waiter: Waiter) {
        let Some(feed) = self.feeds.get(&id) else {
            waiter.try_send(Err(Refusal::UnknownFeed { id })).ok();
            return;
        };
        if feed.is_alive() {
            if feed.source.restart_before_the_end() {
                waiter.try_send(Ok(id)).ok();
                return;
            }
            // What it had may still be on its way, and its end behind that: nothing can follow but another stream.
            return self.let_go(id, Some(waiter), true);
        }
        let max = self.core.settings.lock().max_feeds();
        if self.living() >= max as usize {
            waiter.try_send(Err(Refusal::FeedLimitExceeded { max })).ok();
            return;
        }
        self.let_go(id, Some(waiter), true);
    }
}
