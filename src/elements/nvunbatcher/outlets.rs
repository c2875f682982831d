//! The queue of every src pad, and what a feed without a pad leaves behind for one that comes later.
//!
//! The queues hold frames with tickets, so the batcher bounds them per feed. Everything that is dropped leaves
//! as a value: its ticket goes after the lock.

use super::known::{Age, Known};
use crate::batch::DropReason;
use crate::elements::link;
use crate::elements::pool::{Next, Pool, TaskId};
use crate::elements::sticky::{self, Carries, MAX_EVENTS};
use crate::meta::batch::{Batch, Frame, Item, Label};
use crate::time::Monotonic;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

mod flush;

/// How long a linked pad may be silent while other feeds flow before it gets a GAP to preroll with.
const SILENCE: Duration = Duration::from_secs(1);

/// Feeds that were cut off and are known for it, so that nothing from before comes out. Beyond that the one with the
/// lowest number is forgotten.
const MAX_CUT: usize = 4096;

/// What a pad pushes next.
#[expect(clippy::large_enum_variant, reason = "nearly all are frames; a box would be an allocation for each")]
#[derive(Debug)]
pub(super) enum Parcel {
    Frame(Frame, Option<Label>),
    Event(gst::Event),
    /// Nothing has come while others flow: stand in for the start of the stream.
    Silence,
}

impl Carries for Parcel {
    fn event(&self) -> Option<&gst::Event> {
        match self {
            Self::Event(event) => Some(event),
            _ => None,
        }
    }
}

/// What the task of a pad looks at without the lock of all pads.
#[derive(Debug, Default)]
pub(super) struct Tap {
    /// The task that pushes; that of nobody if there is none.
    task: AtomicU64,
    /// Frames pushed.
    delivered: AtomicU64,
    /// Rises when the pad may have got another downstream.
    links: AtomicU64,
}

impl Tap {
    pub(super) fn task(&self) -> TaskId {
        TaskId(self.task.load(Ordering::Acquire))
    }

    pub(super) fn set_task(&self, task: TaskId) {
        self.task.store(task.0, Ordering::Release);
    }

    /// A frame has been pushed.
    pub(super) fn count_delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// Which downstream the pad has; see [`Outlets::close`].
    pub(super) fn links(&self) -> u64 {
        self.links.load(Ordering::Acquire)
    }
}

#[derive(Debug, Default)]
struct Outlet {
    queue: VecDeque<Parcel>,
    /// Events in the queue.
    events: usize,
    tap: Arc<Tap>,
    active: bool,
    flushing: bool,
    /// Downstream of this pad wants no more, and has said why: frames that come are dropped.
    closed: Option<gst::FlowError>,
    /// What was sent in earlier epochs is of a feed that had the number before.
    first_epoch: u32,
    /// Something a sink prerolls with has been sent.
    prerolled: bool,
    /// When the pad last had something to push, or began.
    quiet_since: Option<Monotonic>,
    eos: bool,
    /// Whether downstream reads video metas; asked when it matters, once per caps.
    video_meta: Option<bool>,
}

#[derive(Debug, Default)]
struct State {
    outlets: BTreeMap<u32, Outlet>,
    known: BTreeMap<u32, Known>,
    /// Whose batches come in.
    batcher: Option<String>,
    flowing_since: Option<Monotonic>,
    unlinked: u64,
}

/// What is to be done once the lock is free.
#[derive(Debug, Default)]
pub(super) struct Effects {
    dropped: Vec<(Frame, DropReason)>,
    woken: Vec<TaskId>,
    reopened: bool,
}

/// The pads' queues, and the threads that push what is in them.
#[derive(Default)]
pub(super) struct Outlets {
    state: Mutex<State>,
    pub(super) pool: Pool,
}

/// Counters of one pad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) feed: u32,
    pub(super) delivered: u64,
    pub(super) queued: u64,
}

impl Outlets {
    /// Makes the queue of a new pad. False if the pad exists.
    pub(super) fn add(&self, feed: u32) -> bool {
        let mut state = self.state.lock();
        if state.outlets.contains_key(&feed) {
            return false;
        }
        state.outlets.insert(feed, Outlet::default());
        true
    }

    /// Removes a pad's queue.
    pub(super) fn remove(&self, feed: u32) {
        let outlet = self.state.lock().outlets.remove(&feed);
        if let Some(outlet) = outlet {
            discard(outlet.queue, DropReason::Unlinked);
        }
    }

    pub(super) fn vacancy(&self) -> u32 {
        let outlets = &self.state.lock().outlets;
        (0..u32::MAX).find(|feed| !outlets.contains_key(feed)).unwrap_or(u32::MAX)
    }

    /// The pad's task may run, with what it looks at. It begins with the sticky events its feed has sent so far. `None`
    /// if there is no such pad.
    pub(super) fn start(&self, feed: u32) -> Option<Arc<Tap>> {
        let mut state = self.state.lock();
        let State { outlets, known, .. } = &mut *state;
        let outlet = outlets.get_mut(&feed)?;
        let (begin, first_epoch) = known.get(&feed).map(Known::beginning).unwrap_or_default();
        outlet.first_epoch = first_epoch;
        outlet.active = true;
        outlet.flushing = false;
        outlet.video_meta = None;
        outlet.closed = None;
        outlet.tap.links.fetch_add(1, Ordering::AcqRel);
        outlet.eos = begin.iter().any(|event| event.type_() == gst::EventType::Eos);
        outlet.prerolled = false;
        outlet.quiet_since = None;
        outlet.events = begin.len();
        outlet.queue = begin.into_iter().map(Parcel::Event).collect();
        Some(Arc::clone(&outlet.tap))
    }

    /// The pad's task, which is given back, is to end; what waits is dropped.
    pub(super) fn stop(&self, feed: u32) -> TaskId {
        let mut state = self.state.lock();
        let Some(outlet) = state.outlets.get_mut(&feed) else { return TaskId::default() };
        let task = TaskId(outlet.tap.task.swap(TaskId::default().0, Ordering::AcqRel));
        outlet.active = false;
        outlet.events = 0;
        let freed = std::mem::take(&mut outlet.queue);
        drop(state);
        discard(freed, DropReason::Stopped);
        task
    }

    /// The element has stopped: the next stream of batches begins from nothing.
    pub(super) fn reset(&self) {
        let mut state = self.state.lock();
        state.flowing_since = None;
        state.batcher = None;
        let forgotten = std::mem::take(&mut state.known);
        drop(state);
        drop(forgotten);
    }

    /// Hands the items of a batch to their feeds. True if a feed flows again that downstream wanted no more of.
    /// `effects` is used for its memory.
    pub(super) fn distribute(&self, mut batch: Batch, now: Monotonic, effects: &mut Effects) -> bool {
        effects.reopened = false;
        let mut state = self.state.lock();
        for item in batch.items.drain(..) {
            state.place(item, batch.label, now, effects);
        }
        drop(state);
        self.pool.wake(effects.woken.drain(..));
        for (frame, reason) in effects.dropped.drain(..) {
            frame.ticket.discard(reason);
        }
        effects.reopened
    }

    /// Takes what the pad pushes next, if there is anything, and says what its task does then.
    pub(super) fn take(&self, feed: u32, now: Monotonic) -> (Option<Parcel>, Next) {
        let mut state = self.state.lock();
        let flowing_since = state.flowing_since;
        let Some(outlet) = state.outlets.get_mut(&feed).filter(|outlet| outlet.active) else {
            return (None, Next::Stop);
        };
        if outlet.flushing {
            return (None, Next::Wait(None));
        }
        if let Some(parcel) = outlet.queue.pop_front() {
            outlet.quiet_since = Some(now);
            outlet.prerolled |= prerolls(&parcel);
            outlet.events -= usize::from(matches!(parcel, Parcel::Event(_)));
            let is_all = outlet.queue.is_empty() && outlet.prerolled;
            return (Some(parcel), if is_all { Next::Done } else { Next::Again });
        }
        if outlet.prerolled || outlet.closed.is_some() {
            return (None, Next::Wait(None));
        }
        let quiet_since = *outlet.quiet_since.get_or_insert(now);
        match flowing_since.map(|since| since.max(quiet_since).saturating_add(SILENCE)) {
            Some(due) if due <= now => {
                outlet.prerolled = true;
                (Some(Parcel::Silence), Next::Done)
            }
            due => (None, Next::Wait(due)),
        }
    }

    /// Downstream of a pad, while it was the one of `links`, has said that it takes no more: its frames are
    /// dropped from here on. Events stay: another downstream needs them. Nothing is closed by a flush of its feed.
    pub(super) fn close(&self, feed: u32, links: u64, error: gst::FlowError) {
        let mut state = self.state.lock();
        let is_same = |outlet: &&mut Outlet| outlet.tap.links() == links && !outlet.flushing;
        let Some(outlet) = state.outlets.get_mut(&feed).filter(is_same) else {
            return;
        };
        outlet.closed = Some(error);
        let is_event = |parcel: &Parcel| matches!(parcel, Parcel::Event(_));
        let (events, freed) = std::mem::take(&mut outlet.queue).into_iter().partition(is_event);
        outlet.queue = events;
        drop(state);
        discard(freed, reason_of(error));
    }

    /// A pad may have got another downstream: its feed flows again.
    pub(super) fn reopen(&self, feed: u32) {
        if let Some(outlet) = self.state.lock().outlets.get_mut(&feed) {
            outlet.reopen();
            outlet.video_meta = None;
        }
    }

    /// Whether downstream of a pad reads video metas, if that is known; `learnt` makes it known.
    pub(super) fn video_meta(&self, feed: u32, learnt: Option<bool>) -> Option<bool> {
        let mut state = self.state.lock();
        let outlet = state.outlets.get_mut(&feed)?;
        outlet.video_meta = learnt.or(outlet.video_meta);
        outlet.video_meta
    }

    /// The caps of a pad have changed: downstream is to be asked again.
    pub(super) fn forget_video_meta(&self, feed: u32) {
        if let Some(outlet) = self.state.lock().outlets.get_mut(&feed) {
            outlet.video_meta = None;
        }
    }

    /// What upstream hears: a failure only once every pad there is has been closed, then the gravest.
    pub(super) fn flow(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut worst = None;
        for outlet in self.state.lock().outlets.values() {
            let Some(error) = outlet.closed else { return Ok(gst::FlowSuccess::Ok) };
            if worst.is_none_or(|worst| gravity(worst) < gravity(error)) {
                worst = Some(error);
            }
        }
        worst.map_or(Ok(gst::FlowSuccess::Ok), Err)
    }

    pub(super) fn counters(&self) -> (Vec<Counters>, u64) {
        let state = self.state.lock();
        let counters = state.outlets.iter().map(|(feed, outlet)| Counters {
            feed: *feed,
            delivered: outlet.tap.delivered.load(Ordering::Relaxed),
            queued: outlet.queue.len() as u64,
        });
        (counters.collect(), state.unlinked)
    }
}

impl State {
    fn place(&mut self, item: Item, label: Option<Label>, now: Monotonic, effects: &mut Effects) {
        let Effects { dropped, woken, reopened } = effects;
        #[cfg(feature = "testing")]
        let item = self.sabotage(item);
        let (feed, epoch) = match &item {
            Item::Frame(frame) => (frame.feed.id.0, frame.feed.epoch),
            Item::Event { feed, .. } => (feed.id.0, feed.epoch),
        };
        let known = self.known.entry(feed).or_default();
        let age = known.age(epoch);
        if let Item::Event { event, .. } = &item {
            if link::is_feed_gone(event) {
                // It comes behind everything else of its feed, but for what a flush or a cut overtook.
                match age {
                    Age::Current => drop(self.known.remove(&feed)),
                    Age::Flushed => known.sticky.clear(),
                    Age::Gone => {}
                }
                return;
            }
            if !known.note(event, epoch, age) {
                return;
            }
        }
        let Some(outlet) = self.outlets.get_mut(&feed) else {
            if let Item::Frame(frame) = item {
                self.unlinked += 1;
                dropped.push((frame, DropReason::Unlinked));
            }
            return;
        };
        match item {
            Item::Frame(frame) if age != Age::Current || epoch < outlet.first_epoch => {
                dropped.push((frame, DropReason::Stale));
            }
            Item::Event { .. } if epoch < outlet.first_epoch => {}
            Item::Frame(frame) if !outlet.active => dropped.push((frame, DropReason::Stopped)),
            Item::Frame(frame) => {
                match outlet.closed {
                    Some(error) => dropped.push((frame, reason_of(error))),
                    None => outlet.queue.push_back(Parcel::Frame(frame, label)),
                }
                woken.push(outlet.tap.task());
                if self.flowing_since.is_none() {
                    // The silence of the others counts from here.
                    self.flowing_since = Some(now);
                    woken.extend(self.outlets.values().map(|outlet| outlet.tap.task()));
                }
            }
            // The next start begins with what is sticky.
            Item::Event { .. } if !outlet.active => {}
            Item::Event { event, .. } => {
                match event.type_() {
                    gst::EventType::Eos => outlet.eos = true,
                    gst::EventType::StreamStart => outlet.eos = false,
                    _ => {}
                }
                if link::reopens(&event) {
                    *reopened |= outlet.reopen();
                }
                outlet.push_event(event);
                woken.push(outlet.tap.task());
            }
        }
    }
}

#[cfg(feature = "testing")]
impl State {
    /// The faults that the fault suite must catch.
    fn sabotage(&self, mut item: Item) -> Item {
        use crate::testing::{Sabotage, sabotage};
        if let Item::Frame(frame) = &mut item {
            let other = self.outlets.keys().find(|feed| **feed != frame.feed.id.0);
            match (sabotage(), other) {
                (Some(Sabotage::Leak), _) => std::mem::forget(frame.buffer.clone()),
                (Some(Sabotage::Swap), Some(other)) if frame.seq % 8 == 7 => {
                    frame.feed.id = crate::batch::FeedId(*other);
                }
                _ => {}
            }
        }
        item
    }
}

impl Outlet {
    /// Downstream may take frames again. True if it did not before.
    fn reopen(&mut self) -> bool {
        self.tap.links.fetch_add(1, Ordering::AcqRel);
        self.closed.take().is_some()
    }

    /// Queues an event. Events carry no tickets, so nobody else bounds them while downstream is blocked.
    fn push_event(&mut self, event: gst::Event) {
        self.queue.push_back(Parcel::Event(event));
        self.events += 1;
        if self.events > MAX_EVENTS {
            sticky::compact(&mut self.queue);
            self.events = sticky::count(&self.queue);
        }
    }
}

/// How a frame counts that downstream did not take.
pub(super) fn reason_of(error: gst::FlowError) -> DropReason {
    match error {
        gst::FlowError::NotLinked => DropReason::Unlinked,
        _ => DropReason::Downstream,
    }
}

/// Which of two answers is the one to hand on.
fn gravity(error: gst::FlowError) -> u8 {
    match error {
        gst::FlowError::NotLinked => 0,
        gst::FlowError::Eos => 1,
        gst::FlowError::Flushing => 2,
        _ => 3,
    }
}

fn prerolls(parcel: &Parcel) -> bool {
    match parcel {
        Parcel::Frame(..) => true,
        Parcel::Event(event) => matches!(event.type_(), gst::EventType::Gap | gst::EventType::Eos),
        Parcel::Silence => false,
    }
}

fn discard(parcels: VecDeque<Parcel>, reason: DropReason) {
    for parcel in parcels {
        if let Parcel::Frame(frame, _) = parcel {
            frame.ticket.discard(reason);
        }
    }
}
