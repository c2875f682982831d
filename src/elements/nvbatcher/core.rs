//! What the sink pads and the src thread of the batcher share: the queue of every feed, the [`Former`], and
//! the question "what goes out next?".
//!
//! One lock guards it all. Nothing is called with it held that could come back: buffers, events and tickets
//! leave as values and are dropped by the caller.

use super::feeds::Memory;
use super::lanes::{Lane, Waiting, frame_of};
use crate::batch::{
    Batch, DropReason, FeedId, FeedOptions, FeedSnapshot, Former, FrameId, Policy, PolicyError, Poll, Push,
    Snapshot,
};
use crate::elements::link;
use crate::elements::signal::{Seen, Signal};
use crate::meta::batch::{self as meta, Item, Label};
use crate::time::Monotonic;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a batch waits for frames because downstream is busy anyway.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Why a frame or an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Flushing,
    Eos,
    Downstream(gst::FlowError),
}

/// What became of a frame that was offered. Frames that nobody needs any more are in it so that the caller drops
/// them, after the lock.
#[derive(Debug)]
#[expect(dead_code, reason = "what is only carried out of the lock is never read")]
pub(super) enum Offer {
    /// In the queue.
    Taken,
    /// In the queue; an older one travels on without inference for it.
    TakenPassing,
    /// One frame was dropped by the overload rule, and counted: this one, or an older one for it.
    Dropped(Option<Waiting>),
    /// No room: wait for the signal to change from what was seen, then offer again.
    Full(Waiting, Arc<Signal>, Seen),
    Refused(Waiting, Refused),
}

/// What the src thread does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Push this.
    Send(meta::Batch),
    /// Every pad has ended: ask downstream whether it expects more feeds, then [`Core::finish`].
    Ended,
    /// Look again when the signal is raised, or at the time given.
    Wait(Option<Monotonic>),
    /// The pad is not active.
    Stop,
}

pub(super) struct State {
    pub(super) former: Former,
    pub(super) lanes: BTreeMap<FeedId, Lane>,
    /// Lanes whose pad is gone.
    pub(super) released: usize,
    /// The lists of batches that are done with.
    shelf: Arc<meta::Shelf>,
    /// Feeds that were here.
    pub(super) memory: BTreeMap<FeedId, Memory>,
    /// The highest epoch of a feed that is not remembered: one that comes back must not fall behind what downstream
    /// has seen of it.
    pub(super) forgotten_epoch: u32,
    next_frame: u64,
    pub(super) running: bool,
    /// EOS has gone out and nothing has come since.
    pub(super) finished: bool,
    pub(super) downstream: Result<(), gst::FlowError>,
    /// Rises when there may be another downstream.
    pub(super) links: u64,
}

pub(super) struct Core {
    pub(super) state: Mutex<State>,
    /// Raised whenever the answer of [`Core::next`] may have changed.
    pub(super) work: Arc<Signal>,
}

impl Default for Core {
    fn default() -> Self {
        let work = Arc::new(Signal::default());
        let waker = Arc::new({
            let work = Arc::clone(&work);
            move || work.raise()
        });
        let policy = Policy { max_feeds: usize::MAX, ..Policy::default() };
        let former = Former::new(policy, waker).expect("the default policy is valid");
        let state = State {
            former,
            lanes: BTreeMap::new(),
            released: 0,
            shelf: Arc::default(),
            memory: BTreeMap::new(),
            forgotten_epoch: 0,
            next_frame: 0,
            running: false,
            finished: false,
            downstream: Ok(()),
            links: 0,
        };
        Self { state: Mutex::new(state), work }
    }
}

impl Core {
    /// Sets the limits of the batches.
    pub(super) fn set_policy(&self, policy: Policy) -> Result<(), PolicyError> {
        self.state.lock().former.set_policy(policy)?;
        self.work.raise();
        Ok(())
    }

    /// The src pad is active: batches may form.
    pub(super) fn start(&self) {
        let mut state = self.state.lock();
        state.running = true;
        state.finished = false;
        state.reopen();
    }

    /// The src pad is not active any more: everything that waits is let go of, everybody who waits is woken.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.running = false;
        let State { former, lanes, .. } = &mut *state;
        let mut freed = Vec::new();
        for (id, lane) in lanes.iter_mut() {
            drop(former.flush(*id));
            lane.feed.epoch += 1;
            if std::mem::take(&mut lane.eos) {
                former.resume(*id).ok();
            }
            // A flush that the stop cut short has no end of its own.
            lane.flushing = false;
            freed.push((lane.clear(), Arc::clone(&lane.space)));
        }
        state.forget_released();
        drop(state);
        for (_, space) in &freed {
            space.raise();
        }
        self.work.raise();
    }

    /// Offers a frame of a feed, with the options its pad has now.
    pub(super) fn offer(&self, id: FeedId, options: FeedOptions, frame: Waiting, now: Monotonic) -> Offer {
        let mut state = self.state.lock();
        if let Err(refused) = state.admits(id) {
            return Offer::Refused(frame, refused);
        }
        let State { former, lanes, next_frame, .. } = &mut *state;
        let Some(lane) = lanes.get_mut(&id) else { return Offer::Refused(frame, Refused::Flushing) };
        if lane.options != options {
            former.set_feed_options(id, options.clone()).ok();
            lane.options = options;
            self.work.raise();
        }
        let seen = lane.space.seen();
        let key = FrameId(*next_frame);
        let offer = match former.push(id, key, now) {
            Ok(push @ (Push::Queued | Push::QueuedPassing)) => {
                lane.push_frame(key, frame);
                if push == Push::Queued { Offer::Taken } else { Offer::TakenPassing }
            }
            Ok(Push::DroppedOldest(old)) => {
                let dropped = lane.remove_frame(old).map(|(_, frame)| frame);
                lane.push_frame(key, frame);
                Offer::Dropped(dropped)
            }
            Ok(Push::DroppedNewest) => Offer::Dropped(Some(frame)),
            Ok(Push::WouldBlock) => return Offer::Full(frame, Arc::clone(&lane.space), seen),
            Err(_) => return Offer::Refused(frame, Refused::Flushing),
        };
        *next_frame += 1;
        let due = former.wants_poll();
        drop(state);
        if due {
            self.work.raise();
        }
        offer
    }

    /// Counts a frame that is not to be queued, if the feed takes frames at all.
    pub(super) fn drop_frame(&self, id: FeedId, reason: DropReason) -> Result<(), Refused> {
        let mut state = self.state.lock();
        state.admits(id)?;
        state.former.refuse(id, reason).map_err(|_| Refused::Flushing)
    }

    /// Queues a serialized event of a feed behind its frames.
    pub(super) fn queue_event(&self, id: FeedId, event: gst::Event) -> Result<(), Refused> {
        let mut state = self.state.lock();
        let State { former, lanes, finished, running, .. } = &mut *state;
        let lane = lanes.get_mut(&id).ok_or(Refused::Flushing)?;
        if lane.flushing || !*running {
            return Err(Refused::Flushing);
        }
        match event.type_() {
            gst::EventType::StreamStart => {
                if lane.eos {
                    former.resume(id).ok();
                }
                lane.eos = false;
                *finished = false;
            }
            gst::EventType::Eos => {
                lane.eos = true;
                former.end_of_stream(id).ok();
            }
            gst::EventType::Gap => drop(former.pause(id)),
            _ if lane.eos => return Err(Refused::Eos),
            _ => {}
        }
        let reopens = link::reopens(&event);
        lane.push_event(event);
        if reopens {
            state.reopen();
        }
        drop(state);
        self.work.raise();
        Ok(())
    }

    /// Which downstream there is; see [`Self::fail`].
    pub(super) fn links(&self) -> u64 {
        self.state.lock().links
    }

    /// Downstream, while it was the one of `links`, has failed: the sink pads pass that on until there is another. Not
    /// if what may make it another one still waits in a queue: it has not seen that yet.
    pub(super) fn fail(&self, links: u64, error: gst::FlowError) {
        let mut state = self.state.lock();
        if state.links != links || state.lanes.values().any(Lane::will_reopen) {
            return;
        }
        state.downstream = Err(error);
        let waiting: Vec<_> = state.lanes.values().map(|lane| Arc::clone(&lane.space)).collect();
        drop(state);
        for space in waiting {
            space.raise();
        }
    }

    /// Downstream may have got somebody who takes frames: try again.
    pub(super) fn retry(&self) {
        self.state.lock().reopen();
        self.work.raise();
    }

    /// Downstream took a batch, and kept the caller for `took` until `now`, because it was busy with others: it is with
    /// this one for about as long. A part of that can be waited for without loss; the rest is for preparing the next.
    pub(super) fn sent(&self, took: Duration, now: Monotonic) {
        let wait = (took / 4).min(LONGEST_WAIT);
        self.state.lock().former.engine_is_busy_until(now.saturating_add(wait));
    }

    /// What to do at `now`. `freed` is used for its memory.
    pub(super) fn next(&self, now: Monotonic, freed: &mut Vec<Arc<Signal>>) -> Next {
        let mut state = self.state.lock();
        if !state.running {
            return Next::Stop;
        }
        let batch = match state.former.poll(now, true) {
            Poll::Close(batch) => state.assemble(batch, now, freed),
            Poll::WaitUntil(at) => match state.loose_events() {
                Some(batch) => batch,
                None => return Next::Wait(Some(at)),
            },
            Poll::Idle => match state.loose_events() {
                Some(batch) => batch,
                None if state.all_ended() => return Next::Ended,
                None => return Next::Wait(None),
            },
        };
        state.forget_released();
        drop(state);
        for space in freed.drain(..) {
            space.raise();
        }
        Next::Send(batch)
    }

    /// Downstream has named the feeds it expects. True if EOS may go out: every one of them has been here and
    /// every feed has still ended.
    pub(super) fn finish(&self, expected: &[u32]) -> bool {
        let mut state = self.state.lock();
        let State { lanes, memory, .. } = &*state;
        let has_been_here = |id: &FeedId| lanes.contains_key(id) || memory.contains_key(id);
        let known = expected.iter().all(|number| has_been_here(&FeedId(*number)));
        if known && state.all_ended() {
            state.finished = true;
        }
        state.finished
    }

    /// The counters of one feed.
    pub(super) fn feed_snapshot(&self, id: FeedId) -> Option<FeedSnapshot> {
        self.state.lock().former.feed_snapshot(id)
    }

    /// The counters of the whole batcher.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.state.lock().former.snapshot()
    }
}

impl State {
    /// There may be another downstream: what the last one answered does not count any more.
    pub(super) fn reopen(&mut self) {
        self.links += 1;
        self.downstream = Ok(());
    }

    /// Whether a feed takes frames, else why not.
    fn admits(&self, id: FeedId) -> Result<(), Refused> {
        let lane = self.lanes.get(&id).ok_or(Refused::Flushing)?;
        if lane.flushing || !self.running {
            return Err(Refused::Flushing);
        }
        if lane.eos {
            return Err(Refused::Eos);
        }
        self.downstream.map_err(Refused::Downstream)
    }

    /// Every feed there is has ended and left nothing behind. One that is being flushed begins anew.
    fn all_ended(&self) -> bool {
        !self.finished
            && !self.lanes.is_empty()
            && self.lanes.values().all(|lane| lane.eos && !lane.flushing && lane.queue.is_empty())
    }

    /// The events that wait at the head of any queue: they need no batch.
    fn loose_events(&mut self) -> Option<meta::Batch> {
        let mut items = self.shelf.take();
        for lane in self.lanes.values_mut() {
            lane.take_events(&mut items);
        }
        (!items.is_empty()).then_some(meta::Batch { label: None, items })
    }

    /// Fills a closed batch with the frames it names and the events around them.
    fn assemble(&mut self, batch: Batch, now: Monotonic, freed: &mut Vec<Arc<Signal>>) -> meta::Batch {
        let Batch { id, mut frames, reason } = batch;
        let size = frames.iter().filter(|chosen| chosen.infer).count();
        // A frame may have come between the look at the clock and the lock.
        let closed = frames.iter().map(|chosen| chosen.arrival).fold(now, Monotonic::max);
        let mut items = self.shelf.take();
        let mut slot = 0;
        for chosen in frames.drain(..) {
            let Some(lane) = self.lanes.get_mut(&chosen.feed) else { continue };
            lane.take_events(&mut items);
            let Some((feed, waiting)) = lane.remove_frame(chosen.frame) else { continue };
            if lane.has_room() {
                freed.push(Arc::clone(&lane.space));
            }
            let infer = chosen.infer;
            items.push(Item::Frame(frame_of(feed, chosen, waiting, slot)));
            slot += u32::from(infer);
            lane.take_events(&mut items);
        }
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.former.recycle(frames);
        let label = Label { id, size, reason, closed };
        meta::Batch { label: Some(label), items }
    }
}
