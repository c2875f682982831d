//! Flushes, cuts and ends: what overtakes the frames on their way, and what it may not undo.

use super::{MAX_CUT, Outlets, Parcel, State, discard};
use crate::batch::DropReason;
use crate::elements::link;
use crate::elements::nvunbatcher::known::Known;

impl Outlets {
    /// The batch stream has ended: so does every feed that has not, but for those that began anew by a flush which
    /// overtook this end.
    pub(in super::super) fn end_all(&self) {
        let mut woken = Vec::new();
        let mut state = self.state.lock();
        let State { outlets, known, .. } = &mut *state;
        for (feed, outlet) in outlets {
            if outlet.eos || known.get(feed).is_some_and(|known| known.restarts) {
                continue;
            }
            outlet.eos = true;
            outlet.push_event(gst::event::Eos::new());
            woken.push(outlet.tap.task());
        }
        drop(state);
        self.pool.wake(woken);
    }

    /// A flush of one feed begins: what it has queued goes, and nothing more is pushed until it ends. False if it is
    /// that of a pad which was released meanwhile: nobody would end it.
    pub(in super::super) fn flush_start(&self, feed: u32, epoch: u32) -> bool {
        let mut state = self.state.lock();
        let State { outlets, known, .. } = &mut *state;
        if !known.entry(feed).or_default().flush(epoch) {
            return false;
        }
        let Some(outlet) = outlets.get_mut(&feed) else { return true };
        outlet.flushing = true;
        let survives =
            |parcel: &Parcel| matches!(parcel, Parcel::Event(event) if link::survives_flush(event));
        let (kept, freed) = std::mem::take(&mut outlet.queue).into_iter().partition(survives);
        outlet.queue = kept;
        outlet.events = outlet.queue.len();
        let task = outlet.tap.task();
        drop(state);
        self.pool.wake([task]);
        discard(freed, DropReason::Flushed);
        true
    }

    /// Whether the feed has been cut off since its flush of this epoch began.
    pub(in super::super) fn is_stale(&self, feed: u32, epoch: u32) -> bool {
        self.state.lock().known.get(&feed).is_some_and(|known| known.is_stale(epoch))
    }

    /// The feeds whose flush has begun and not ended.
    pub(in super::super) fn flushing(&self) -> Vec<u32> {
        let state = self.state.lock();
        state.outlets.iter().filter(|(_, outlet)| outlet.flushing).map(|(feed, _)| *feed).collect()
    }

    /// The flush ends: the feed flows again, also where downstream wanted no more of it.
    pub(in super::super) fn flush_stop(&self, feed: u32) {
        let mut state = self.state.lock();
        let Some(outlet) = state.outlets.get_mut(&feed) else { return };
        outlet.flushing = false;
        outlet.reopen();
        outlet.eos = false;
        let task = outlet.tap.task();
        drop(state);
        self.pool.wake([task]);
    }

    /// A feed was cut off in mid-stream: its frames go, and its pad ends.
    pub(in super::super) fn cut(&self, feed: u32, epoch: u32) {
        let mut state = self.state.lock();
        let State { outlets, known, .. } = &mut *state;
        known.entry(feed).or_default().cut(epoch);
        if known.len() > MAX_CUT {
            let idle =
                |(feed, known): &(&u32, &Known)| known.sticky.is_empty() && !outlets.contains_key(feed);
            let lowest = known.iter().find(idle).map(|(feed, _)| *feed);
            lowest.map(|feed| known.remove(&feed));
        }
        let Some(outlet) = outlets.get_mut(&feed) else { return };
        let is_event = |parcel: &Parcel| matches!(parcel, Parcel::Event(_));
        let (kept, freed) = std::mem::take(&mut outlet.queue).into_iter().partition(is_event);
        outlet.queue = kept;
        if outlet.active && !std::mem::replace(&mut outlet.eos, true) {
            outlet.push_event(gst::event::Eos::new());
        }
        let task = outlet.tap.task();
        drop(state);
        self.pool.wake([task]);
        discard(freed, DropReason::Stale);
    }

    /// A feed has ended, and its pad at the batcher is gone.
    pub(in super::super) fn retire(&self, feed: u32, epoch: u32) {
        self.state.lock().known.entry(feed).or_default().retire(epoch);
    }

    /// A new stream of batches begins. One of another batcher has nothing to do with what came before; one of the same
    /// goes on counting epochs, and a flush or a cut of its feeds may have overtaken this start.
    pub(in super::super) fn begin(&self, batcher: &str) {
        let mut state = self.state.lock();
        if state.batcher.as_deref() == Some(batcher) {
            return;
        }
        if state.batcher.replace(batcher.to_owned()).is_some() {
            state.known.values_mut().for_each(Known::forget_epoch);
            state.outlets.values_mut().for_each(|outlet| outlet.first_epoch = 0);
        }
    }
}
