//! What the sink pads and the src thread of the batcher share: the queue of every feed, the [`Former`], and
//! the question "what goes out next?".
//!
//! One lock guards it all. Nothing is called with it held that could come back: buffers, events and tickets
//! leave as values and are dropped by the caller.

use crate::batch::{
    Batch, Chosen, FeedId, FeedOptions, FeedSnapshot, Former, FrameId, Overload, Policy, PolicyError, Poll,
    Push, Snapshot,
};
use crate::elements::link;
use crate::elements::signal::{Seen, Signal};
use crate::meta::batch::{self as meta, Feed, Format, Frame, Item, Label, WallTime};
use crate::time::Monotonic;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A frame as it waits in its feed's queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) buffer: gst::Buffer,
    pub(super) format: Arc<Format>,
    pub(super) segment: gst::FormattedSegment<gst::ClockTime>,
    pub(super) wall: WallTime,
}

#[derive(Debug)]
enum Queued {
    Frame(FrameId, Feed, Box<Waiting>),
    Event(Feed, gst::Event),
}

/// The queue of one feed.
#[derive(Debug)]
struct Lane {
    /// What the feed is for what comes; what is queued keeps what it was.
    feed: Feed,
    options: FeedOptions,
    queue: VecDeque<Queued>,
    space: Arc<Signal>,
    flushing: bool,
    eos: bool,
}

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
    /// In the queue; the frame that had to make room for it, if one had to, is given back to be dropped.
    Taken(Option<Box<Waiting>>),
    /// Dropped by the overload rule, and counted.
    Dropped(Box<Waiting>),
    /// No room: wait for the signal to change from what was seen, then offer again.
    Full(Box<Waiting>, Arc<Signal>, Seen),
    Refused(Box<Waiting>, Refused),
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

struct State {
    former: Former,
    lanes: BTreeMap<FeedId, Lane>,
    next_frame: u64,
    running: bool,
    /// EOS has gone out and nothing has come since.
    finished: bool,
    downstream: Result<(), gst::FlowError>,
    /// Rises when there may be another downstream.
    links: u64,
}

pub(super) struct Core {
    state: Mutex<State>,
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

    /// Opens the queue of a feed. False if the feed exists or there are too many.
    pub(super) fn add(&self, id: FeedId, name: Arc<str>, options: FeedOptions) -> Result<(), String> {
        let mut state = self.state.lock();
        state.former.add_feed(id, options.clone()).map_err(|error| error.to_string())?;
        let lane = Lane {
            feed: Feed { id, name, session: 0 },
            options,
            queue: VecDeque::new(),
            space: Arc::default(),
            flushing: false,
            eos: false,
        };
        state.lanes.insert(id, lane);
        drop(state);
        self.work.raise();
        Ok(())
    }

    /// Closes the queue of a feed; what waited in it is counted as dropped.
    pub(super) fn remove(&self, id: FeedId) {
        let mut state = self.state.lock();
        drop(state.former.remove_feed(id));
        let lane = state.lanes.remove(&id);
        drop(state);
        if let Some(lane) = &lane {
            lane.space.raise();
        }
        self.work.raise();
    }

    /// How many feeds there are, and the lowest pad number that is free.
    pub(super) fn vacancy(&self) -> (usize, u32) {
        let lanes = &self.state.lock().lanes;
        let free = (0..).find(|number| !lanes.contains_key(&FeedId(*number))).unwrap_or(u32::MAX);
        (lanes.len(), free)
    }

    /// Whether the feed exists.
    pub(super) fn contains(&self, id: FeedId) -> bool {
        self.state.lock().lanes.contains_key(&id)
    }

    /// The src pad is active: batches may form.
    pub(super) fn start(&self) {
        let mut state = self.state.lock();
        state.running = true;
        state.finished = false;
        state.links += 1;
        state.downstream = Ok(());
    }

    /// The src pad is not active any more: everything that waits is let go of, everybody who waits is woken.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.running = false;
        let State { former, lanes, .. } = &mut *state;
        let mut freed = Vec::new();
        for (id, lane) in lanes.iter_mut() {
            drop(former.flush(*id));
            if std::mem::take(&mut lane.eos) {
                former.resume(*id).ok();
            }
            // A flush that the stop cut short has no end of its own.
            lane.flushing = false;
            freed.push((std::mem::take(&mut lane.queue), Arc::clone(&lane.space)));
        }
        drop(state);
        for (_, space) in &freed {
            space.raise();
        }
        self.work.raise();
    }

    /// Offers a frame of a feed, with the options its pad has now.
    pub(super) fn offer(
        &self,
        id: FeedId,
        options: FeedOptions,
        frame: Box<Waiting>,
        now: Monotonic,
    ) -> Offer {
        let mut state = self.state.lock();
        let State { former, lanes, next_frame, running, downstream, .. } = &mut *state;
        let Some(lane) = lanes.get_mut(&id) else { return Offer::Refused(frame, Refused::Flushing) };
        if lane.flushing || !*running {
            return Offer::Refused(frame, Refused::Flushing);
        }
        if lane.eos {
            return Offer::Refused(frame, Refused::Eos);
        }
        if let Err(error) = *downstream {
            return Offer::Refused(frame, Refused::Downstream(error));
        }
        if lane.options != options {
            former.set_feed_options(id, options.clone()).ok();
            lane.options = options;
            self.work.raise();
        }
        let seen = lane.space.seen();
        let key = FrameId(*next_frame);
        let offer = match former.push(id, key, now) {
            Ok(Push::Queued) => {
                lane.queue.push_back(Queued::Frame(key, lane.feed.clone(), frame));
                Offer::Taken(None)
            }
            Ok(Push::DroppedOldest(old)) => {
                let dropped = lane.remove_frame(old).map(|(_, frame)| frame);
                lane.queue.push_back(Queued::Frame(key, lane.feed.clone(), frame));
                Offer::Taken(dropped)
            }
            Ok(Push::DroppedNewest) => Offer::Dropped(frame),
            Ok(Push::WouldBlock) => return Offer::Full(frame, Arc::clone(&lane.space), seen),
            Err(_) => return Offer::Refused(frame, Refused::Flushing),
        };
        *next_frame += 1;
        drop(state);
        self.work.raise();
        offer
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
            _ if lane.eos => return Err(Refused::Eos),
            _ => {}
        }
        lane.queue.push_back(Queued::Event(lane.feed.clone(), event));
        drop(state);
        self.work.raise();
        Ok(())
    }

    /// A new stream begins on the pad of this feed: its session rises, except for its first.
    pub(super) fn set_session(&self, id: FeedId, session: u32, name: Arc<str>) {
        if let Some(lane) = self.state.lock().lanes.get_mut(&id) {
            lane.feed = Feed { id, name, session };
        }
    }

    /// Starts or ends a flush of one feed; its waiting frames are dropped at the start.
    pub(super) fn set_flushing(&self, id: FeedId, flushing: bool) {
        let mut state = self.state.lock();
        let State { former, lanes, finished, downstream, links, .. } = &mut *state;
        let Some(lane) = lanes.get_mut(&id) else { return };
        lane.flushing = flushing;
        let mut freed = VecDeque::new();
        if flushing {
            drop(former.flush(id));
            let survives =
                |queued: &Queued| matches!(queued, Queued::Event(_, event) if link::survives_flush(event));
            (lane.queue, freed) = std::mem::take(&mut lane.queue).into_iter().partition(survives);
        } else {
            *links += 1;
            *downstream = Ok(());
            if std::mem::take(&mut lane.eos) {
                *finished = false;
                former.resume(id).ok();
            }
        }
        let space = Arc::clone(&lane.space);
        drop(state);
        space.raise();
        self.work.raise();
        drop(freed);
    }

    /// Which downstream there is; see [`Self::fail`].
    pub(super) fn links(&self) -> u64 {
        self.state.lock().links
    }

    /// Downstream, while it was the one of `links`, has failed: the sink pads pass that on until there is another.
    pub(super) fn fail(&self, links: u64, error: gst::FlowError) {
        let mut state = self.state.lock();
        if state.links != links {
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
        let mut state = self.state.lock();
        state.links += 1;
        state.downstream = Ok(());
        drop(state);
        self.work.raise();
    }

    /// The options of a feed may have changed: who waits for room looks again.
    pub(super) fn reconsider(&self, id: FeedId) {
        let space = self.state.lock().lanes.get(&id).map(|lane| Arc::clone(&lane.space));
        if let Some(space) = space {
            space.raise();
        }
    }

    /// What to do at `now`.
    pub(super) fn next(&self, now: Monotonic) -> Next {
        let mut state = self.state.lock();
        if !state.running {
            return Next::Stop;
        }
        let (batch, freed) = match state.former.poll(now, true) {
            Poll::Close(batch) => state.assemble(batch, now),
            Poll::WaitUntil(at) => match state.loose_events() {
                Some(batch) => (batch, Vec::new()),
                None => return Next::Wait(Some(at)),
            },
            Poll::Idle => match state.loose_events() {
                Some(batch) => (batch, Vec::new()),
                None if state.all_ended() => return Next::Ended,
                None => return Next::Wait(None),
            },
        };
        drop(state);
        for space in freed {
            space.raise();
        }
        Next::Send(batch)
    }

    /// Downstream has named the feeds it expects. True if EOS may go out: every one of them has been here and
    /// every feed has still ended.
    pub(super) fn finish(&self, expected: &[u32]) -> bool {
        let mut state = self.state.lock();
        let known = expected.iter().all(|number| state.lanes.contains_key(&FeedId(*number)));
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

impl Lane {
    fn remove_frame(&mut self, key: FrameId) -> Option<(Feed, Box<Waiting>)> {
        let at =
            self.queue.iter().position(|queued| matches!(queued, Queued::Frame(id, ..) if *id == key))?;
        match self.queue.remove(at)? {
            Queued::Frame(_, feed, frame) => Some((feed, frame)),
            Queued::Event(..) => None,
        }
    }

    /// Moves the events at the head of the queue into `items`.
    fn take_events(&mut self, items: &mut Vec<Item>) {
        while let Some(Queued::Event(..)) = self.queue.front() {
            if let Some(Queued::Event(feed, event)) = self.queue.pop_front() {
                items.push(Item::Event { feed, event });
            }
        }
    }
}

impl State {
    /// Every feed there is has ended and left nothing behind.
    fn all_ended(&self) -> bool {
        !self.finished
            && !self.lanes.is_empty()
            && self.lanes.values().all(|lane| lane.eos && lane.queue.is_empty())
    }

    /// The events that wait at the head of any queue: they need no batch.
    fn loose_events(&mut self) -> Option<meta::Batch> {
        let mut items = Vec::new();
        for lane in self.lanes.values_mut() {
            lane.take_events(&mut items);
        }
        (!items.is_empty()).then_some(meta::Batch { label: None, items })
    }

    /// Fills a closed batch with the frames it names and the events around them.
    fn assemble(&mut self, batch: Batch, now: Monotonic) -> (meta::Batch, Vec<Arc<Signal>>) {
        let Batch { id, frames, reason } = batch;
        let size = frames.iter().filter(|chosen| chosen.infer).count();
        // A frame may have come between the look at the clock and the lock.
        let closed = frames.iter().map(|chosen| chosen.arrival).fold(now, Monotonic::max);
        let mut items = Vec::with_capacity(frames.len());
        let mut freed = Vec::new();
        let mut slot = 0;
        for chosen in frames {
            let Some(lane) = self.lanes.get_mut(&chosen.feed) else { continue };
            lane.take_events(&mut items);
            let Some((feed, waiting)) = lane.remove_frame(chosen.frame) else { continue };
            freed.push(Arc::clone(&lane.space));
            let infer = chosen.infer;
            items.push(Item::Frame(Box::new(frame_of(feed, chosen, *waiting, slot))));
            slot += u32::from(infer);
            lane.take_events(&mut items);
        }
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let label = Label { id, size, reason, closed };
        (meta::Batch { label: Some(label), items }, freed)
    }
}

fn frame_of(feed: Feed, chosen: Chosen, waiting: Waiting, slot: u32) -> Frame {
    Frame {
        feed,
        seq: chosen.seq,
        buffer: waiting.buffer,
        format: waiting.format,
        segment: waiting.segment,
        arrival: chosen.arrival,
        wall: waiting.wall,
        infer: chosen.infer,
        slot,
        ticket: chosen.ticket,
        verdict: None,
    }
}

/// `auto` as the user sees it, resolved by whether the feed is live.
pub(super) fn resolve(overload: super::OverloadPolicy, live: bool) -> Overload {
    use super::OverloadPolicy as Choice;
    match overload {
        Choice::Auto if live => Overload::DropOldest,
        Choice::Auto | Choice::Block => Overload::Block,
        Choice::DropOldest => Overload::DropOldest,
        Choice::DropNewest => Overload::DropNewest,
        Choice::PassThrough => Overload::PassThrough,
    }
}
