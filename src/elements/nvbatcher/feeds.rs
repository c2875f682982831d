//! Feeds that come, go and come back: the part of the [`Core`] that pads call when they are requested, released,
//! flushed, and when a stream begins.

use super::core::{Core, State};
use super::lanes::Lane;
use crate::batch::{DropReason, FeedId, FeedOptions};
use crate::elements::link;
use crate::meta::batch::Feed;
use std::collections::VecDeque;
use std::sync::Arc;

/// Feeds remembered after their pad is gone. Beyond that the one with the lowest number is forgotten, and would
/// count from 0 if it came back.
const MOST_REMEMBERED: usize = 4096;

/// What goes on counting when a feed comes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    session: u32,
    next_seq: u64,
    epoch: u32,
}

impl Core {
    /// Opens the queue of a feed.
    ///
    /// # Errors
    /// If the feed exists.
    pub(super) fn add(&self, id: FeedId, name: Arc<str>, options: FeedOptions) -> Result<(), String> {
        let mut state = self.state.lock();
        let State { former, lanes, memory, forgotten_epoch, released, .. } = &mut *state;
        if let Some(lane) = lanes.get_mut(&id) {
            if !lane.released {
                return Err(format!("feed {id} exists already"));
            }
            // What the last pad left is still on its way; the feed goes on behind it.
            lane.released = false;
            *released -= 1;
            lane.feed.name = name;
            return Ok(());
        }
        former.add_feed(id, options.clone()).map_err(|error| error.to_string())?;
        let past = memory.get(&id);
        former.number_from(id, past.map_or(0, |past| past.next_seq)).ok();
        let feed = Feed {
            id,
            name,
            session: past.map_or(0, |past| past.session + 1),
            epoch: past.map_or(*forgotten_epoch, |past| past.epoch),
        };
        lanes.insert(id, Lane::new(feed, options));
        drop(state);
        self.work.raise();
        Ok(())
    }

    /// The epoch of what comes of a feed whose stream has ended once its pad is gone; `None` if [`Self::remove`] would cut
    /// it off.
    pub(super) fn epoch_after(&self, id: FeedId) -> Option<u32> {
        let state = self.state.lock();
        let lane = state.lanes.get(&id).filter(|lane| lane.eos && !lane.flushing && state.running)?;
        Some(lane.feed.epoch + 1)
    }

    /// The pad of a feed is gone. If its stream had ended, what waits still goes. Otherwise, also in the middle of a
    /// flush, which may have thrown the end away, its frames are dropped and
    /// counted wherever they are, so that none comes out when the number is in use again; then the epoch is returned
    /// that nothing from before may reach.
    pub(super) fn remove(&self, id: FeedId) -> Option<u32> {
        let mut state = self.state.lock();
        let State { former, lanes, running, released, .. } = &mut *state;
        let lane = lanes.get_mut(&id)?;
        *released += usize::from(!std::mem::replace(&mut lane.released, true));
        let flushing = std::mem::take(&mut lane.flushing);
        let mut freed = VecDeque::new();
        let mut cut = None;
        if lane.eos && !flushing && *running {
            lane.push_event(link::feed_gone());
            lane.feed.epoch += 1;
        } else {
            drop(former.clear(id, DropReason::Removed));
            // What is on its way is stale from here on.
            drop(former.flush(id));
            lane.feed.epoch += 1;
            freed = lane.clear();
            cut = (*running && (lane.begun || lane.flushed)).then_some(lane.feed.epoch);
        }
        let space = Arc::clone(&lane.space);
        state.forget_released();
        drop(state);
        space.raise();
        self.work.raise();
        drop(freed);
        cut
    }

    /// How many feeds there are, and the lowest pad number that is free.
    pub(super) fn vacancy(&self) -> (usize, u32) {
        let lanes = &self.state.lock().lanes;
        let taken = |number: u32| lanes.get(&FeedId(number)).is_some_and(|lane| !lane.released);
        let free = (0..).find(|number| !taken(*number)).unwrap_or(u32::MAX);
        (lanes.values().filter(|lane| !lane.released).count(), free)
    }

    /// Whether the feed has a pad.
    pub(super) fn contains(&self, id: FeedId) -> bool {
        self.state.lock().lanes.get(&id).is_some_and(|lane| !lane.released)
    }

    /// The feed is called `name` from its next frame on.
    pub(super) fn rename(&self, id: FeedId, name: Arc<str>) {
        if let Some(lane) = self.state.lock().lanes.get_mut(&id) {
            lane.feed.name = name;
        }
    }

    /// A new stream begins on the pad of this feed: its session rises, except for its first.
    pub(super) fn begin_stream(&self, id: FeedId) {
        if let Some(lane) = self.state.lock().lanes.get_mut(&id)
            && std::mem::replace(&mut lane.begun, true)
        {
            lane.feed.session += 1;
        }
    }

    /// Starts or ends a flush of one feed; its waiting frames are dropped at the start. Returns how often the feed
    /// was flushed; `None` if it is gone.
    pub(super) fn set_flushing(&self, id: FeedId, flushing: bool) -> Option<u32> {
        let mut state = self.state.lock();
        let State { former, lanes, finished, .. } = &mut *state;
        let lane = lanes.get_mut(&id).filter(|lane| !lane.released)?;
        lane.flushing = flushing;
        let mut freed = VecDeque::new();
        if flushing {
            drop(former.flush(id));
            freed = lane.flush();
        } else {
            if std::mem::take(&mut lane.eos) {
                *finished = false;
                former.resume(id).ok();
            }
        }
        let (space, epoch) = (Arc::clone(&lane.space), lane.feed.epoch);
        if !flushing {
            state.reopen();
        }
        drop(state);
        space.raise();
        self.work.raise();
        drop(freed);
        Some(epoch)
    }

    /// The options of a feed may have changed: who waits for room looks again.
    pub(super) fn reconsider(&self, id: FeedId) {
        let space = self.state.lock().lanes.get(&id).map(|lane| Arc::clone(&lane.space));
        if let Some(space) = space {
            space.raise();
        }
    }
}

impl State {
    /// Forgets the feeds whose pad is gone and that have nothing left to send.
    pub(super) fn forget_released(&mut self) {
        let Self { former, lanes, memory, forgotten_epoch, released, .. } = self;
        if *released == 0 {
            return;
        }
        lanes.retain(|id, lane| {
            if !lane.released || !lane.queue.is_empty() {
                return true;
            }
            *released -= 1;
            let next_seq = former.feed_snapshot(*id).map_or(0, |feed| feed.next_seq);
            drop(former.remove_feed(*id));
            if memory.len() >= MOST_REMEMBERED
                && !memory.contains_key(id)
                && let Some((_, old)) = memory.pop_first()
            {
                *forgotten_epoch = old.epoch.max(*forgotten_epoch);
            }
            // A feed whose stream never began has had no session.
            let session = lane.feed.session.wrapping_sub(u32::from(!lane.begun));
            if lane.begun || lane.feed.session > 0 {
                memory.insert(*id, Memory { session, next_seq, epoch: lane.feed.epoch });
            } else {
                *forgotten_epoch = lane.feed.epoch.max(*forgotten_epoch);
            }
            false
        });
    }
}
