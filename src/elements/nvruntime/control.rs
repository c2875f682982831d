//! The control thread, `nv-runtime`: it alone adds and removes feeds, so nothing of that needs a lock.
//!
//! It does what is asked for and hears what happens, one after the other, and never waits for a feed: who leaves is
//! taken apart by threads of GStreamer's pool, all at the same time.

use super::core::Core;
use super::feed::{Feed, Newcomer};
use super::group::Group;
use super::outputs::Output;
use super::refusal::Refusal;
use crate::batch::Ledger;
use crate::clock;
use crate::config::Site;
use crate::time::Monotonic;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use glib::prelude::*;
use gst::subclass::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a feed may take to be taken apart once it is to go at once.
pub(super) const DISMANTLING: Duration = Duration::from_secs(5);
/// How often is looked at what is due, at least.
const ROUND: Duration = Duration::from_secs(60);

/// Who waits for an answer.
pub(super) type Waiter = Sender<Result<u32, Refusal>>;

/// What is asked for.
pub(super) enum Request {
    Add(Box<Newcomer>),
    Remove(u32),
    Pause(u32),
    Resume(u32),
    Restart(u32),
    Reload,
    Shutdown,
    Ping,
}

/// What happens.
#[derive(Debug)]
pub(super) enum News {
    /// All that the feed had has arrived.
    Ended(u32),
    /// The source has stopped by itself, or because it was told to.
    Stopped { id: u32, reason: String, detail: String },
    /// An element of the feed has failed.
    Broken { id: u32, text: String },
    /// The feed is taken apart.
    Gone(u32),
    /// The runtime goes to PAUSED again: what ended before begins anew.
    Again,
    /// Everything is to end, as by [`Request::Shutdown`]; nobody waits for it.
    WindDown,
    /// The element goes to NULL.
    Stop,
}

pub(super) enum Order {
    Request(Request, Waiter),
    News(News),
}

/// A feed on its way out.
pub(super) struct Leaving {
    pub(super) feed: Arc<Feed>,
    /// Until when its records may take to be delivered.
    pub(super) drained_by: Monotonic,
    /// When the next step is taken whatever has come.
    pub(super) deadline: Monotonic,
    pub(super) is_dismantled: bool,
    /// It does not end, and nobody waits for it any more.
    pub(super) is_stuck: bool,
    pub(super) waiters: Vec<Waiter>,
    /// What is to be made under the same number.
    pub(super) comes_back: Option<Newcomer>,
    /// Nobody was told that it came.
    pub(super) is_secret: bool,
}

/// Why everything ends.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    Wanted,
    End,
    Failure(String),
}

pub(super) struct Winding {
    pub(super) deadline: Monotonic,
    /// What was given to it.
    pub(super) drain: Duration,
    pub(super) cause: Cause,
    pub(super) waiters: Vec<Waiter>,
}

pub(super) struct Control {
    pub(super) core: Arc<Core>,
    /// Held while something is done, and not while nothing is: an application may drop the element as it is.
    runtime: Option<super::NvRuntime>,
    weak: glib::WeakRef<super::NvRuntime>,
    pub(super) site: Site,
    pub(super) feeds: BTreeMap<u32, Arc<Feed>>,
    pub(super) leaving: BTreeMap<u32, Leaving>,
    pub(super) groups: BTreeMap<String, Arc<Group>>,
    /// Groups that are not in the site any more and still have feeds that leave.
    pub(super) retired: Vec<Arc<Group>>,
    pub(super) outputs: Vec<Arc<Output>>,
    pub(super) next_id: u32,
    pub(super) next_tag: u32,
    /// Records that the sinks of feeds that are gone have lost, by the name of the output.
    pub(super) lost: BTreeMap<String, u64>,
    /// The frames of groups that are gone.
    pub(super) gone: Ledger,
    /// Several feeds come: what the end of one means is looked at when all are there.
    pub(super) holds_off: bool,
    /// The first end meanwhile.
    pub(super) held_off: Option<Cause>,
    /// The end of all feeds has been said, and none has come since.
    pub(super) has_said_the_end: bool,
    pub(super) winding: Option<Winding>,
    /// Everything has been wound down.
    pub(super) is_wound: bool,
    pub(super) is_over: bool,
}

/// Making it, and what the change to READY needs of it.
impl Control {
    pub(super) fn new(core: Arc<Core>, runtime: super::NvRuntime, site: Site) -> Self {
        Self {
            core,
            weak: runtime.downgrade(),
            runtime: Some(runtime),
            site,
            feeds: BTreeMap::new(),
            leaving: BTreeMap::new(),
            groups: BTreeMap::new(),
            retired: Vec::new(),
            outputs: Vec::new(),
            next_id: 0,
            next_tag: 0,
            lost: BTreeMap::new(),
            gone: Ledger::default(),
            holds_off: false,
            held_off: None,
            has_said_the_end: false,
            winding: None,
            is_wound: false,
            is_over: false,
        }
    }

    pub(super) fn runtime(&self) -> &super::NvRuntime {
        self.runtime.as_ref().expect("it is held while something is done")
    }

    /// Makes the groups and outputs of the site.
    pub(super) fn prepare(&mut self) -> Result<(), Refusal> {
        for output in self.site.outputs.clone() {
            self.outputs.push(self.new_output(output));
        }
        for config in self.site.groups.clone() {
            let group = self.new_group(&self.site.clone(), &config)?;
            group.join(self.runtime().imp())?;
            self.groups.insert(config.name, group);
        }
        Ok(())
    }

    pub(super) fn new_output(&self, config: crate::config::Output) -> Arc<Output> {
        Arc::new(Output::new(config, &self.core, self.runtime().upcast_ref()))
    }

    pub(super) fn new_group(
        &mut self,
        site: &Site,
        config: &crate::config::Group,
    ) -> Result<Arc<Group>, Refusal> {
        self.next_tag += 1;
        Group::new(site, config, self.next_tag).map(Arc::new)
    }

    /// Makes the feeds of the site. One that cannot be made is the site's fault, one that cannot start its own.
    pub(super) fn add_feeds_of_site(&mut self) -> Result<(), Refusal> {
        let enabled: Vec<_> = self.site.feeds.iter().filter(|feed| feed.enabled).cloned().collect();
        let max = self.core.settings.lock().max_feeds();
        self.holds_off = true;
        for config in enabled {
            if self.living() >= max as usize {
                return Err(Refusal::FeedLimitExceeded { max });
            }
            let newcomer = Newcomer { config, password: None, is_of_site: true };
            self.make_next(newcomer)?;
        }
        self.publish();
        self.look_at_what_was_held_off();
        Ok(())
    }

    /// Takes everything apart, in the thread of a state change that has failed.
    pub(super) fn dismantle(mut self) {
        self.finish();
    }
}

/// The thread.
impl Control {
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        self.core.is_controlled_by(std::thread::current().id());
        while !self.is_over {
            let now = clock::now();
            let due = self.due().unwrap_or_else(|| now.saturating_add(ROUND));
            self.runtime = None;
            let order = orders.recv_timeout(clock::until(due));
            self.runtime = self.weak.upgrade();
            if self.runtime.is_none() {
                return;
            }
            match order {
                Ok(Order::Request(request, waiter)) => self.serve(request, waiter),
                Ok(Order::News(news)) => self.hear(news),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.is_over = true,
            }
            self.look(clock::now());
        }
        // Who still asks hears that nobody is there.
        for order in orders.try_iter() {
            if let Order::Request(_, waiter) = order {
                waiter.try_send(Err(Refusal::ShuttingDown)).ok();
            }
        }
        self.finish();
    }

    /// Whether nobody is on the way out who may still get there.
    pub(super) fn nobody_leaves(&self) -> bool {
        self.leaving.values().all(|leaving| leaving.is_stuck)
    }

    fn due(&self) -> Option<Monotonic> {
        let leaving = self.leaving.values().filter(|leaving| !leaving.is_stuck);
        let leaving = leaving.map(|leaving| leaving.deadline);
        let winding = self.winding.iter().filter(|_| !self.is_wound).map(|winding| winding.deadline);
        leaving.chain(winding).min()
    }

    fn serve(&mut self, request: Request, waiter: Waiter) {
        let answer = match request {
            Request::Ping => Ok(0),
            Request::Shutdown => return self.wind_down(Cause::Wanted, Some(waiter)),
            _ if self.winding.is_some() => Err(Refusal::ShuttingDown),
            Request::Add(newcomer) => self.add(*newcomer),
            Request::Remove(id) => return self.remove(id, waiter),
            Request::Pause(id) => self.pause(id, true),
            Request::Resume(id) => self.pause(id, false),
            Request::Restart(id) => return self.restart(id, waiter),
            Request::Reload => self.reload(),
        };
        waiter.try_send(answer).ok();
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Ended(id) => self.ended(id),
            News::Stopped { id, reason, detail } => self.stopped(id, reason, detail),
            News::Broken { id, text } => self.broken(id, &text),
            News::Gone(id) => self.gone(id),
            News::Again => self.begin_again(),
            News::WindDown => self.wind_down(Cause::Wanted, None),
            News::Stop => self.is_over = true,
        }
    }

    /// Does what is due.
    fn look(&mut self, now: Monotonic) {
        let is_late = |leaving: &Leaving| !leaving.is_stuck && leaving.deadline <= now;
        let late: Vec<u32> =
            self.leaving.iter().filter(|(_, leaving)| is_late(leaving)).map(|(id, _)| *id).collect();
        for id in late {
            self.hurry(id, now);
        }
        let all_ended = self.nobody_leaves() && self.feeds.values().all(|feed| !feed.is_alive());
        let winds = !self.is_wound
            && self.winding.as_ref().is_some_and(|winding| all_ended || winding.deadline <= now);
        if winds {
            self.wound_down(all_ended && self.leaving.is_empty());
        }
    }
}
