//! The queue of every src pad, and what a feed without a pad leaves behind for one that comes later.
//!
//! The queues hold frames with tickets, so the batcher bounds them per feed. Everything that is dropped leaves
//! as a value: its ticket goes after the lock.

use crate::batch::DropReason;
use crate::elements::signal::Signal;
use crate::meta::batch::{Frame, Item, Label};
use crate::time::Monotonic;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long a linked pad may be silent while other feeds flow before it gets a GAP to preroll with.
const SILENCE: Duration = Duration::from_secs(1);

/// Most sticky events kept for a feed that has no pad.
const MAX_STICKY: usize = 32;

/// What a pad pushes next.
#[derive(Debug)]
pub(super) enum Parcel {
    Frame(Box<Frame>, Option<Label>),
    Event(gst::Event),
    /// Nothing has come while others flow: stand in for the start of the stream.
    Silence,
    /// Look again when the signal is raised, or at the time given.
    Wait(Option<Monotonic>),
    Stop,
}

#[derive(Debug, Default)]
struct Outlet {
    queue: VecDeque<Parcel>,
    signal: Arc<Signal>,
    active: bool,
    /// Downstream of this pad wants no more: what comes is dropped for this reason.
    closed: Option<DropReason>,
    /// Something a sink prerolls with has been sent.
    prerolled: bool,
    eos: bool,
    delivered: u64,
}

#[derive(Debug, Default)]
struct State {
    outlets: BTreeMap<u32, Outlet>,
    sticky: BTreeMap<u32, Vec<gst::Event>>,
    flowing_since: Option<Monotonic>,
    unlinked: u64,
}

#[derive(Debug, Default)]
pub(super) struct Outlets(Mutex<State>);

/// Counters of one pad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) feed: u32,
    pub(super) delivered: u64,
    pub(super) queued: u64,
}

impl Outlets {
    /// Makes the queue of a new pad, beginning with the sticky events its feed has sent so far. False if the
    /// pad exists.
    pub(super) fn add(&self, feed: u32) -> bool {
        let mut state = self.0.lock();
        if state.outlets.contains_key(&feed) {
            return false;
        }
        let mut outlet = Outlet::default();
        outlet.queue.extend(state.sticky.remove(&feed).into_iter().flatten().map(Parcel::Event));
        state.outlets.insert(feed, outlet);
        true
    }

    /// Removes a pad's queue.
    pub(super) fn remove(&self, feed: u32) {
        let outlet = self.0.lock().outlets.remove(&feed);
        if let Some(outlet) = outlet {
            outlet.signal.raise();
            discard(outlet.queue, DropReason::Unlinked);
        }
    }

    pub(super) fn vacancy(&self) -> u32 {
        let outlets = &self.0.lock().outlets;
        (0..u32::MAX).find(|feed| !outlets.contains_key(feed)).unwrap_or(u32::MAX)
    }

    /// The pad's thread may run.
    pub(super) fn start(&self, feed: u32) {
        if let Some(outlet) = self.0.lock().outlets.get_mut(&feed) {
            outlet.active = true;
            outlet.closed = None;
            outlet.eos = false;
            outlet.prerolled = false;
        }
    }

    /// The pad's thread is to end; what waits is dropped, except events, which the next start begins with only
    /// if they are sent again.
    pub(super) fn stop(&self, feed: u32) {
        let mut state = self.0.lock();
        let Some(outlet) = state.outlets.get_mut(&feed) else { return };
        outlet.active = false;
        let freed = std::mem::take(&mut outlet.queue);
        let signal = Arc::clone(&outlet.signal);
        state.flowing_since = None;
        state.sticky.clear();
        drop(state);
        signal.raise();
        discard(freed, DropReason::Stopped);
    }

    /// Hands the items of a batch to their feeds.
    pub(super) fn distribute(&self, label: Option<Label>, items: Vec<Item>, now: Monotonic) {
        let mut dropped = Vec::new();
        let mut woken = Vec::new();
        let mut state = self.0.lock();
        for item in items {
            state.place(item, label, now, &mut dropped, &mut woken);
        }
        drop(state);
        for signal in woken {
            signal.raise();
        }
        for (frame, reason) in dropped {
            frame.ticket.discard(reason);
        }
    }

    /// The batch stream has ended: so does every feed that has not.
    pub(super) fn end_all(&self) {
        let mut woken = Vec::new();
        for outlet in self.0.lock().outlets.values_mut().filter(|outlet| !outlet.eos) {
            outlet.eos = true;
            outlet.queue.push_back(Parcel::Event(gst::event::Eos::new()));
            woken.push(Arc::clone(&outlet.signal));
        }
        for signal in woken {
            signal.raise();
        }
    }

    /// Takes what the pad pushes next.
    pub(super) fn take(&self, feed: u32, now: Monotonic) -> Parcel {
        let mut state = self.0.lock();
        let flowing_since = state.flowing_since;
        let Some(outlet) = state.outlets.get_mut(&feed).filter(|outlet| outlet.active) else {
            return Parcel::Stop;
        };
        if let Some(parcel) = outlet.queue.pop_front() {
            outlet.prerolled |= prerolls(&parcel);
            return parcel;
        }
        if outlet.prerolled || outlet.closed.is_some() {
            return Parcel::Wait(None);
        }
        match flowing_since.map(|since| since.saturating_add(SILENCE)) {
            Some(due) if due <= now => {
                outlet.prerolled = true;
                Parcel::Silence
            }
            due => Parcel::Wait(due),
        }
    }

    /// The signal of a pad; `None` once it is removed.
    pub(super) fn signal(&self, feed: u32) -> Option<Arc<Signal>> {
        self.0.lock().outlets.get(&feed).map(|outlet| Arc::clone(&outlet.signal))
    }

    /// A frame of this pad has been pushed.
    pub(super) fn count_delivered(&self, feed: u32) {
        if let Some(outlet) = self.0.lock().outlets.get_mut(&feed) {
            outlet.delivered += 1;
        }
    }

    /// Downstream of a pad takes no more: its frames are dropped from here on.
    pub(super) fn close(&self, feed: u32, reason: DropReason) {
        let mut state = self.0.lock();
        let Some(outlet) = state.outlets.get_mut(&feed) else { return };
        outlet.closed = Some(reason);
        let freed = std::mem::take(&mut outlet.queue);
        drop(state);
        discard(freed, reason);
    }

    /// A pad is linked again: its feed flows again.
    pub(super) fn reopen(&self, feed: u32) {
        if let Some(outlet) = self.0.lock().outlets.get_mut(&feed) {
            outlet.closed = None;
        }
    }

    /// Whether every pad there is has been closed by its downstream.
    pub(super) fn all_closed(&self) -> bool {
        let state = self.0.lock();
        !state.outlets.is_empty() && state.outlets.values().all(|outlet| outlet.closed.is_some())
    }

    pub(super) fn counters(&self) -> (Vec<Counters>, u64) {
        let state = self.0.lock();
        let counters = state.outlets.iter().map(|(feed, outlet)| Counters {
            feed: *feed,
            delivered: outlet.delivered,
            queued: outlet.queue.len() as u64,
        });
        (counters.collect(), state.unlinked)
    }
}

impl State {
    fn place(
        &mut self,
        item: Item,
        label: Option<Label>,
        now: Monotonic,
        dropped: &mut Vec<(Box<Frame>, DropReason)>,
        woken: &mut Vec<Arc<Signal>>,
    ) {
        let feed = match &item {
            Item::Frame(frame) => frame.feed.id.0,
            Item::Event { feed, .. } => feed.id.0,
        };
        let Some(outlet) = self.outlets.get_mut(&feed) else {
            match item {
                Item::Frame(frame) => {
                    self.unlinked += 1;
                    dropped.push((frame, DropReason::Unlinked));
                }
                Item::Event { event, .. } => keep_sticky(self.sticky.entry(feed).or_default(), event),
            }
            return;
        };
        match item {
            Item::Frame(frame) => {
                self.flowing_since.get_or_insert(now);
                match outlet.closed {
                    Some(reason) => dropped.push((frame, reason)),
                    None => outlet.queue.push_back(Parcel::Frame(frame, label)),
                }
            }
            Item::Event { event, .. } => {
                match event.type_() {
                    gst::EventType::Eos => outlet.eos = true,
                    gst::EventType::StreamStart => outlet.eos = false,
                    _ => {}
                }
                outlet.queue.push_back(Parcel::Event(event));
            }
        }
        woken.push(Arc::clone(&outlet.signal));
    }
}

fn prerolls(parcel: &Parcel) -> bool {
    match parcel {
        Parcel::Frame(..) => true,
        Parcel::Event(event) => matches!(event.type_(), gst::EventType::Gap | gst::EventType::Eos),
        _ => false,
    }
}

/// Keeps what a pad that is requested later must begin with: the last event of each sticky kind.
fn keep_sticky(kept: &mut Vec<gst::Event>, event: gst::Event) {
    if event.type_() == gst::EventType::StreamStart {
        kept.clear();
    }
    if !event.is_sticky() {
        return;
    }
    let name = |event: &gst::Event| event.structure().map(|structure| structure.name().to_string());
    let same = |old: &gst::Event| {
        old.type_() == event.type_() && (!old.type_().is_sticky_multi() || name(old) == name(&event))
    };
    match kept.iter().position(same) {
        Some(at) => kept[at] = event,
        None if kept.len() < MAX_STICKY => kept.push(event),
        None => {}
    }
}

fn discard(parcels: VecDeque<Parcel>, reason: DropReason) {
    for parcel in parcels {
        if let Parcel::Frame(frame, _) = parcel {
            frame.ticket.discard(reason);
        }
    }
}
