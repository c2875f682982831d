//! What the threads of the sink share: the streaming thread puts records in, the worker takes them out,
//! the application pulls what the worker has delivered, and state changes start and stop it all.
//!
//! One lock, never held while anything is called out to: every method returns what to report. The books
//! always balance: `received = delivered + dropped + discarded + queue-level`.

use super::counters::Counters;
use super::worker::Step;
use crate::clock;
use crate::health::{Burst, Coalesced};
use crate::output::{self, Backlog, Pushed, Record};
use crate::time::Monotonic;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::time::Duration;

/// A record on its way to the worker, with its sample if a signal handler wants it.
pub(super) type Entry = output::Entry<Option<gst::Sample>>;

/// Something to post on the bus once the lock is released.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Records were dropped because the queue was full.
    Backpressure { feed_id: String, burst: Burst },
    /// A signal handler panicked.
    Panic(Burst),
    /// The worker did not finish in time.
    Timeout(Burst),
    /// The application pulls too slowly.
    Lagged(Burst),
}

/// What became of an offered record.
pub(super) enum Offer {
    /// It is queued, or dropped by the overflow rule; there may be something to report.
    Taken(Option<Event>),
    /// There is no room and the rule is to wait: offer it again.
    Full(Box<Entry>),
    /// Nothing is taken during a flush or after the stop. It is counted as discarded.
    Refused,
}

/// Why waiting for room ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is room.
    Free,
    /// The element goes to PAUSED.
    Paused,
    /// A flush or the stop.
    Flushing,
}

/// How waiting for the worker ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// Everything is delivered and flushed.
    Done,
    /// A flush or the stop came first.
    Interrupted,
    /// The worker took too long.
    TimedOut(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkerState {
    Idle,
    Delivering,
    Flushing,
    Ended,
}

struct State {
    backlog: Backlog<Option<gst::Sample>>,
    /// Number of the worker that counts; an older one is wedged and no longer touches anything.
    generation: u64,
    worker: WorkerState,
    /// The worker has something to write, whoever listens.
    writes: bool,
    running: bool,
    closing: bool,
    flushing: bool,
    paused: bool,
    /// Delivered records for `pull-output`, oldest first.
    pulls: VecDeque<Box<Entry>>,
    /// Whether the application has pulled since the start; until then overwriting is no loss.
    pulling: bool,
    ended: bool,
    counters: Counters,
    backpressure: Coalesced,
    backpressure_feed_id: String,
    panics: Coalesced,
    lagged: Coalesced,
}

impl State {
    const fn interrupted(&self) -> bool {
        self.flushing || !self.running
    }

    fn dropped(&mut self, record: &Record, now: Monotonic) -> Option<Event> {
        self.backpressure_feed_id.clone_from(&record.feed_id);
        self.backpressure.add(1, now).map(|burst| self.backpressure_event(burst))
    }

    fn backpressure_event(&self, burst: Burst) -> Event {
        Event::Backpressure { feed_id: self.backpressure_feed_id.clone(), burst }
    }

    /// Whether nothing is left to do for a record but to keep it: no wake-up is worth that.
    fn needs_no_worker(&self, entry: &Entry) -> bool {
        !self.writes
            && entry.attachment.is_none()
            && self.backlog.is_empty()
            && matches!(self.worker, WorkerState::Idle)
    }

    /// Keeps a delivered record for `pull-output`. It stays where it is: of many feeds, what is touched of one has to be
    /// fetched from memory for each frame.
    fn keep(&mut self, mut entry: Box<Entry>, now: Monotonic) -> Option<Event> {
        entry.attachment = None;
        self.counters.delivered += 1;
        let full = self.pulls.len() >= self.backlog.capacity();
        if full {
            self.pulls.pop_front();
        }
        self.pulls.push_back(entry);
        if !(full && self.pulling) {
            return None;
        }
        self.counters.overwritten += 1;
        self.lagged.add(1, now).map(Event::Lagged)
    }

    /// Whether everything is delivered and flushed.
    fn is_calm(&self) -> bool {
        self.backlog.is_empty() && matches!(self.worker, WorkerState::Idle | WorkerState::Ended)
    }

    const fn in_hand(&self) -> usize {
        if matches!(self.worker, WorkerState::Delivering) { 1 } else { 0 }
    }

    fn timed_out(&mut self) -> Event {
        self.counters.timeouts += 1;
        Event::Timeout(Burst::single(self.counters.timeouts))
    }
}

pub(super) struct Exchange {
    state: Mutex<State>,
    /// For the worker: something is queued, or it is over.
    work: Condvar,
    /// For the streaming thread: there is room, or it must not wait.
    room: Condvar,
    /// For state changes and EOS: the worker is idle or has ended.
    calm: Condvar,
    /// For `pull-output`: there is a record, or there will be none.
    outputs: Condvar,
}

impl Default for Exchange {
    fn default() -> Self {
        let state = State {
            backlog: Backlog::new(1, output::Overflow::default()),
            generation: 0,
            worker: WorkerState::Ended,
            writes: false,
            running: false,
            closing: false,
            flushing: false,
            paused: false,
            pulls: VecDeque::new(),
            pulling: false,
            ended: false,
            counters: Counters::default(),
            backpressure: Coalesced::default(),
            backpressure_feed_id: String::new(),
            panics: Coalesced::default(),
            lagged: Coalesced::default(),
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            calm: Condvar::new(),
            outputs: Condvar::new(),
        }
    }
}

/// Starting and stopping.
impl Exchange {
    /// Forgets the counters.
    pub(super) fn reset(&self) {
        let mut state = self.state.lock();
        state.backlog = Backlog::new(1, output::Overflow::default());
        state.pulls = VecDeque::new();
        state.counters = Counters::default();
        state.backpressure = Coalesced::default();
        state.panics = Coalesced::default();
        state.lagged = Coalesced::default();
    }

    /// Opens for records; returns the number of the worker to start, which `writes` each record or not.
    pub(super) fn start(&self, capacity: usize, overflow: output::Overflow, writes: bool) -> u64 {
        let mut state = self.state.lock();
        state.backlog.configure(capacity, overflow);
        state.generation += 1;
        state.worker = WorkerState::Idle;
        state.writes = writes;
        state.running = true;
        state.closing = false;
        state.flushing = false;
        state.paused = false;
        state.ended = false;
        state.pulling = false;
        state.pulls.clear();
        state.generation
    }

    /// Takes no more records and releases who waits for room. The worker goes on with what is queued.
    pub(super) fn interrupt(&self) {
        self.state.lock().running = false;
        self.room.notify_all();
        self.calm.notify_all();
        self.outputs.notify_all();
    }

    /// A flush begins or ends.
    pub(super) fn set_flushing(&self, flushing: bool) {
        let mut state = self.state.lock();
        state.flushing = flushing;
        state.ended &= flushing;
        drop(state);
        self.room.notify_all();
        self.calm.notify_all();
    }

    /// The element goes to PAUSED or comes from there.
    pub(super) fn set_paused(&self, paused: bool) {
        self.state.lock().paused = paused;
        self.room.notify_all();
    }

    /// Waits until everything queued is delivered and flushed.
    pub(super) fn drain(&self, timeout: Duration) -> Drained {
        let deadline = clock::now().saturating_add(timeout);
        let mut state = self.state.lock();
        loop {
            if state.is_calm() {
                return Drained::Done;
            }
            if state.interrupted() {
                return Drained::Interrupted;
            }
            if !wait(&self.calm, &mut state, deadline) {
                return Drained::TimedOut(state.timed_out());
            }
        }
    }

    /// Tells the worker to end once nothing is queued, and waits for it. If that takes too long, the
    /// worker is cut off and what is queued or in its hands is discarded.
    pub(super) fn close(&self, timeout: Duration) -> Result<(), Event> {
        let deadline = clock::now().saturating_add(timeout);
        let mut state = self.state.lock();
        state.running = false;
        state.closing = true;
        self.work.notify_all();
        while state.worker != WorkerState::Ended {
            if !wait(&self.calm, &mut state, deadline) {
                if state.is_calm() {
                    // Nothing is left to do: it ends as soon as it sees that it is to.
                    return Ok(());
                }
                let event = state.timed_out();
                cut_off(&mut state);
                return Err(event);
            }
        }
        Ok(())
    }

    /// Cuts the worker off without waiting for it.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.running = false;
        cut_off(&mut state);
        drop(state);
        self.work.notify_all();
        self.room.notify_all();
        self.outputs.notify_all();
    }

    /// The stream has ended: who pulls gets what is left and then nothing.
    pub(super) fn end_stream(&self) {
        self.state.lock().ended = true;
        self.outputs.notify_all();
    }

    /// What has happened and not been reported yet.
    pub(super) fn unreported(&self) -> Vec<Event> {
        let mut state = self.state.lock();
        let backpressure = state.backpressure.flush().map(|burst| state.backpressure_event(burst));
        let panics = state.panics.flush().map(Event::Panic);
        let lagged = state.lagged.flush().map(Event::Lagged);
        backpressure.into_iter().chain(panics).chain(lagged).collect()
    }

    /// The counters, and the records that wait.
    pub(super) fn counters(&self) -> (Counters, u64) {
        let state = self.state.lock();
        (state.counters, (state.backlog.len() + state.in_hand()) as u64)
    }
}

/// The streaming thread's side.
impl Exchange {
    /// Offers a record to the worker.
    pub(super) fn offer(&self, entry: Box<Entry>, now: Monotonic) -> Offer {
        let mut state = self.state.lock();
        if state.interrupted() {
            state.counters.received += 1;
            state.counters.discarded += 1;
            return Offer::Refused;
        }
        let at_once = state.needs_no_worker(&entry);
        let event = match state.backlog.push(entry) {
            Pushed::Full(entry) => return Offer::Full(entry),
            Pushed::Queued if at_once => {
                let entry = state.backlog.pop();
                entry.and_then(|entry| state.keep(entry, now))
            }
            Pushed::Queued => None,
            Pushed::DroppedNewest(dropped) => {
                state.counters.dropped_newest += 1;
                state.dropped(&dropped.record, now)
            }
            Pushed::DroppedOldest(dropped) => {
                state.counters.dropped_oldest += 1;
                state.dropped(&dropped.record, now)
            }
        };
        state.counters.received += 1;
        state.ended = false;
        drop(state);
        if at_once {
            self.outputs.notify_one()
        } else {
            self.work.notify_one()
        };
        Offer::Taken(event)
    }

    /// Waits until there is room, or there is a reason not to wait.
    pub(super) fn wait_for_room(&self) -> Room {
        let mut state = self.state.lock();
        loop {
            if state.interrupted() {
                return Room::Flushing;
            }
            if state.paused {
                return Room::Paused;
            }
            if !state.backlog.is_full() {
                return Room::Free;
            }
            self.room.wait(&mut state);
        }
    }

    /// Counts a record given up while it waited for room.
    pub(super) fn discard(&self) {
        let mut state = self.state.lock();
        state.counters.received += 1;
        state.counters.discarded += 1;
    }

    /// Counts regions that make no detection.
    pub(super) fn reject(&self, regions: u64) {
        if regions > 0 {
            self.state.lock().counters.rejected += regions;
        }
    }
}

/// The worker's side.
impl Exchange {
    /// Waits for something to do; `None` when it is over for this worker.
    pub(super) fn next(&self, generation: u64) -> Option<Step> {
        let mut state = self.state.lock();
        loop {
            if state.generation != generation {
                return None;
            }
            if let Some(entry) = state.backlog.pop() {
                state.worker = WorkerState::Delivering;
                drop(state);
                self.room.notify_one();
                return Some(Step::Deliver(entry));
            }
            if state.worker == WorkerState::Delivering {
                state.worker = WorkerState::Flushing;
                return Some(Step::Flush);
            }
            state.worker = WorkerState::Idle;
            self.calm.notify_all();
            if state.closing {
                return None;
            }
            self.work.wait(&mut state);
        }
    }

    /// A record has been delivered: it becomes available to `pull-output`.
    pub(super) fn delivered(&self, generation: u64, entry: Box<Entry>, now: Monotonic) -> Option<Event> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return None;
        }
        let event = state.keep(entry, now);
        self.outputs.notify_one();
        event
    }

    /// What can be reported now that the queue has run empty.
    pub(super) fn recovered(&self, now: Monotonic) -> Option<Event> {
        let mut state = self.state.lock();
        let burst = state.backpressure.due(now)?;
        Some(state.backpressure_event(burst))
    }

    /// Lines were written or lost.
    pub(super) fn wrote(&self, written: u64, lost: u64) {
        let mut state = self.state.lock();
        state.counters.written += written;
        state.counters.write_errors += lost;
    }

    /// A signal handler panicked.
    pub(super) fn panicked(&self, now: Monotonic) -> Option<Event> {
        let mut state = self.state.lock();
        state.counters.panics += 1;
        state.panics.add(1, now).map(Event::Panic)
    }

    /// The worker ends.
    pub(super) fn ended(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.worker = WorkerState::Ended;
            self.calm.notify_all();
        }
    }
}

/// The application's side.
impl Exchange {
    /// The oldest delivered record that was not pulled yet. Waits for one; `None` after `timeout`, at the
    /// end of the stream, or if the sink is stopped. No timeout waits for ever.
    pub(super) fn pull(&self, timeout: Option<Duration>) -> Option<Record> {
        let deadline = timeout.map(|timeout| clock::now().saturating_add(timeout));
        let mut state = self.state.lock();
        state.pulling = true;
        loop {
            if let Some(entry) = state.pulls.pop_front() {
                return Some(entry.record);
            }
            if !state.running || state.ended {
                return None;
            }
            match deadline {
                None => self.outputs.wait(&mut state),
                Some(deadline) => {
                    if !wait(&self.outputs, &mut state, deadline) {
                        return None;
                    }
                }
            }
        }
    }
}

/// Waits for a change; `false` once the deadline has passed.
fn wait(condition: &Condvar, state: &mut MutexGuard<'_, State>, deadline: Monotonic) -> bool {
    let left = clock::until(deadline);
    if left.is_zero() {
        return false;
    }
    condition.wait_for(state, left);
    true
}

fn cut_off(state: &mut State) {
    let discarded = state.backlog.clear() + state.in_hand();
    state.counters.discarded += discarded as u64;
    state.generation += 1;
    state.worker = WorkerState::Ended;
}
