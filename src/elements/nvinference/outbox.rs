//! The bounded queue between the thread that prepares batches and the one that pushes results: work and
//! serialized events, in order.

use crate::elements::link;
use crate::elements::signal::Signal;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Most batches on their way when [`Outbox::put`] returns: one with the engine. The next may then be formed and
/// prepared, so the engine never waits; formed any earlier it would only be smaller.
const MAX_ON_THE_WAY: usize = 1;
/// Most entries in all. Events are small, but nothing here is unbounded.
const MAX_ENTRIES: usize = 256;

/// Which downstream there is; see [`Outbox::fail`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Links(u64);

/// What goes through.
#[derive(Debug)]
pub(super) enum Entry<W> {
    Work(W),
    Event(gst::Event),
}

#[derive(Debug)]
struct State<W> {
    /// Each with the downstream it was put in for.
    queue: VecDeque<(Links, Entry<W>)>,
    /// Work put in and not done with.
    on_the_way: usize,
    open: bool,
    flushing: bool,
    downstream: Result<(), gst::FlowError>,
    /// Rises when there may be another downstream.
    links: Links,
}

/// What the pushing thread finds.
#[derive(Debug)]
pub(super) enum Taken<W> {
    Entry(Entry<W>, Links),
    Empty,
    Closed,
}

#[derive(Debug)]
pub(super) struct Outbox<W> {
    state: Mutex<State<W>>,
    /// Raised when something comes in, goes out, or the box opens or closes.
    pub(super) signal: Signal,
}

impl<W> Default for Outbox<W> {
    fn default() -> Self {
        let state = State {
            queue: VecDeque::new(),
            on_the_way: 0,
            open: false,
            flushing: false,
            downstream: Ok(()),
            links: Links::default(),
        };
        Self { state: Mutex::new(state), signal: Signal::default() }
    }
}

impl<W> Outbox<W> {
    pub(super) fn open(&self) {
        let mut state = self.state.lock();
        state.open = true;
        state.flushing = false;
        state.renew();
        drop(state);
        self.signal.raise();
    }

    /// Closes the box and empties it.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.open = false;
        state.on_the_way = 0;
        let freed = std::mem::take(&mut state.queue);
        drop(state);
        self.signal.raise();
        drop(freed);
    }

    /// While flushing the box takes nothing; what is in it goes at the start, but for the events that nobody
    /// would send again.
    pub(super) fn set_flushing(&self, flushing: bool) {
        let mut state = self.state.lock();
        state.flushing = flushing;
        state.on_the_way = 0;
        state.renew();
        let survives = |(_, entry): &(Links, Entry<W>)| matches!(entry, Entry::Event(event) if link::survives_flush(event));
        let (kept, freed) =
            std::mem::take(&mut state.queue).into_iter().partition::<VecDeque<_>, _>(survives);
        state.queue = kept;
        drop(state);
        self.signal.raise();
        drop(freed);
    }

    /// Puts something in. Returns when the next may come: events at once if there is room, work when at most
    /// [`MAX_ON_THE_WAY`] is.
    ///
    /// # Errors
    /// Flushing if the box is closed. Work answers with the failure downstream, if there was one; it is pushed
    /// all the same. Events go in whatever downstream said: EOS must arrive.
    pub(super) fn put(&self, entry: Entry<W>) -> Result<(), gst::FlowError> {
        let is_work = matches!(entry, Entry::Work(_));
        let mut entry = Some(entry);
        loop {
            let seen = self.signal.seen();
            let put = {
                let mut state = self.state.lock();
                if !state.open || state.flushing {
                    return Err(gst::FlowError::Flushing);
                }
                let room = state.queue.len() < MAX_ENTRIES;
                if let Some(entry) = entry.take_if(|_| room) {
                    state.on_the_way += usize::from(is_work);
                    let links = state.links;
                    state.queue.push_back((links, entry));
                    Put::In
                } else if entry.is_none() && (!is_work || state.on_the_way <= MAX_ON_THE_WAY) {
                    return if is_work { state.downstream } else { Ok(()) };
                } else {
                    Put::Waiting
                }
            };
            match put {
                Put::In => self.signal.raise(),
                Put::Waiting => self.signal.wait(seen, None),
            }
        }
    }

    pub(super) fn take(&self) -> Taken<W> {
        let mut state = self.state.lock();
        if !state.open {
            return Taken::Closed;
        }
        state.queue.pop_front().map_or(Taken::Empty, |(links, entry)| Taken::Entry(entry, links))
    }

    /// Work that was taken has been pushed, or let go of.
    pub(super) fn done(&self) {
        let mut state = self.state.lock();
        state.on_the_way = state.on_the_way.saturating_sub(1);
        drop(state);
        self.signal.raise();
    }

    /// Downstream has failed with what was put in for the one of `links`: [`Self::put`] passes that on until there is
    /// another, which one that was put in later may be for.
    pub(super) fn fail(&self, links: Links, error: gst::FlowError) {
        let mut state = self.state.lock();
        if state.links == links {
            state.downstream = Err(error);
        }
    }

    /// There may be another downstream.
    pub(super) fn retry(&self) {
        self.state.lock().renew();
    }
}

impl<W> State<W> {
    const fn renew(&mut self) {
        self.links.0 += 1;
        self.downstream = Ok(());
    }
}

enum Put {
    In,
    Waiting,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn entries_come_out_in_order() {
        gst::init().unwrap();
        let outbox = Outbox::default();
        outbox.open();
        outbox.put(Entry::Work(1)).unwrap();
        outbox.put(Entry::Event(gst::event::Eos::new())).unwrap();
        assert!(matches!(outbox.take(), Taken::Entry(Entry::Work(1), _)));
        assert!(matches!(outbox.take(), Taken::Entry(Entry::Event(_), _)));
        assert!(matches!(outbox.take(), Taken::Empty));
    }

    #[test]
    fn a_closed_box_refuses_and_gives_nothing() {
        let outbox = Outbox::<u32>::default();
        assert_eq!(outbox.put(Entry::Work(1)).unwrap_err(), gst::FlowError::Flushing);
        assert!(matches!(outbox.take(), Taken::Closed));
    }

    /// Takes work out, and says which downstream it was put in for.
    fn taken(outbox: &Outbox<u32>) -> Links {
        match outbox.take() {
            Taken::Entry(Entry::Work(_), links) => links,
            other => panic!("expected work, found {other:?}"),
        }
    }

    #[test]
    fn a_failure_downstream_comes_back_to_the_producer() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.put(Entry::Work(1)).unwrap();
        outbox.fail(taken(&outbox), gst::FlowError::NotLinked);
        outbox.done();
        assert_eq!(outbox.put(Entry::Work(2)).unwrap_err(), gst::FlowError::NotLinked);
    }

    #[test]
    fn a_failure_with_what_was_put_in_before_there_was_another_downstream_does_not() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.put(Entry::Work(1)).unwrap();
        outbox.retry();
        outbox.fail(taken(&outbox), gst::FlowError::NotLinked);
        outbox.done();
        outbox.put(Entry::Work(2)).unwrap();
        outbox.fail(taken(&outbox), gst::FlowError::Error);
        outbox.done();
        assert_eq!(outbox.put(Entry::Work(3)).unwrap_err(), gst::FlowError::Error);
    }

    /// A producer that has put in one work and is putting in another, in a thread of its own.
    fn second_work(outbox: &Arc<Outbox<u32>>) -> std::thread::JoinHandle<Result<(), gst::FlowError>> {
        outbox.open();
        outbox.put(Entry::Work(1)).unwrap();
        let outbox = Arc::clone(outbox);
        std::thread::Builder::new().spawn(move || outbox.put(Entry::Work(2))).unwrap()
    }

    #[test]
    fn work_is_put_in_at_once_and_the_next_asked_for_when_the_one_before_is_done() {
        let outbox = Arc::new(Outbox::default());
        let producer = second_work(&outbox);
        for work in [1, 2] {
            let taken = loop {
                let seen = outbox.signal.seen();
                match outbox.take() {
                    Taken::Entry(Entry::Work(taken), _) => break taken,
                    _ => outbox.signal.wait(seen, None),
                }
            };
            assert_eq!(taken, work);
        }
        outbox.done();
        producer.join().unwrap().unwrap();
    }

    #[test]
    fn closing_wakes_a_producer_that_waits() {
        let outbox = Arc::new(Outbox::default());
        let producer = second_work(&outbox);
        outbox.close();
        assert_eq!(producer.join().unwrap().unwrap_err(), gst::FlowError::Flushing);
    }
}
