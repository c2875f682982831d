//! One call of the engine: which frames it is for, and the memory that goes from call to call, so that a steady stream
//! allocates nothing.

use super::decode::Outcome;
use super::objects::{Chosen, Object};
use super::runtime::Runtime;
use crate::batch::Ticket;
use crate::infer::{Hold, InferError, Pending};
use crate::meta::batch::Item;
use crate::vision::decode::Workspace;
use crate::vision::letterbox::Letterbox;
use crate::vision::{Detection, Rect};
use parking_lot::Mutex;
use std::sync::Arc;

/// What a row of the tensor shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// Index into the items of the work; 0 for a plain frame.
    pub(super) item: usize,
    /// The object on that frame; `None` for all of the frame.
    pub(super) object: Option<Object>,
}

impl Row {
    /// All of a frame.
    pub(super) const fn frame(item: usize) -> Self {
        Self { item, object: None }
    }
}

/// Where a part of a frame lies in the model's image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) letterbox: Letterbox,
    /// Column and row of the frame where the part begins.
    pub(super) origin: [u32; 2],
}

impl Place {
    /// Moves a detection from the model's image into the frame.
    pub(super) fn in_frame(&self, detection: &Detection) -> Detection {
        let [left, top] = self.origin.map(|side| side as f32);
        let inside = self.letterbox.frame_from_model(&detection.bbox).clamped(self.letterbox.frame());
        let point = |point: &[f32; 2]| {
            let [x, y] = self.letterbox.frame_from_model_point(*point);
            [x + left, y + top]
        };
        Detection {
            bbox: Rect::from_corners(
                inside.x_min + left,
                inside.y_min + top,
                inside.x_max + left,
                inside.y_max + top,
            ),
            class: detection.class,
            confidence: detection.confidence,
            landmarks: detection.landmarks.iter().map(point).collect(),
        }
    }
}

/// Where a row shows its frame, or why it could not be prepared.
pub(super) type Placed = Result<Place, String>;

/// What was asked of the engine.
pub(super) enum Asked {
    /// Nothing: no frame could be prepared.
    Nothing,
    /// Nothing: there is no engine to ask, for this reason.
    Rejected(Arc<str>),
    /// A run, unless the engine did not take it.
    Engine(Result<Pending, InferError>),
}

/// One call of the engine, and the answer to come.
pub(super) struct Run {
    pub(super) runtime: Arc<Runtime>,
    pub(super) asked: Asked,
    pub(super) parts: Parts,
}

/// What a run is made of besides that. All lists keep their memory from run to run.
#[derive(Default)]
pub(super) struct Parts {
    /// What the engine is asked about.
    pub(super) rows: Vec<Row>,
    /// One per row, in order. Empty if none was tried.
    pub(super) placed: Vec<Placed>,
    /// Those of the frames, while the engine has them.
    pub(super) tickets: Arc<Tickets>,
    /// One per row, once there is an answer.
    pub(super) outcomes: Vec<Outcome>,
    /// What was found in all of the rows; the outcomes say which is whose.
    pub(super) found: Vec<Detection>,
    /// The vectors of all of the rows, as well.
    pub(super) vectors: Vec<f32>,
    /// Where the outputs are decoded.
    pub(super) workspace: Workspace,
}

/// The tickets of the frames the engine has.
#[derive(Default)]
pub(super) struct Tickets(Mutex<Vec<Ticket>>);

impl Tickets {
    /// Takes those of the frames that `rows` are of, too.
    pub(super) fn take_from(&self, items: &[Item], rows: &[Row]) {
        let found = rows.iter().filter_map(|row| items.get(row.item)?.frame());
        self.0.lock().extend(found.map(|frame| frame.ticket.clone()));
    }
}

impl Hold for Tickets {
    fn let_go(&self) {
        // Dropping a ticket at most raises a signal; see `batch::Waker`.
        self.0.lock().clear();
    }
}

/// Runs, and lists of them, that are done with.
#[derive(Default)]
pub(super) struct Spare {
    parts: Mutex<Vec<Parts>>,
    lists: Mutex<Vec<Vec<Run>>>,
    chosen: Mutex<Vec<Chosen>>,
}

/// Most of each that are kept: what can be on the way at once, for batches that are run in parts.
const MOST_KEPT: usize = 16;

impl Spare {
    /// Parts without content.
    pub(super) fn parts(&self) -> Parts {
        self.parts.lock().pop().unwrap_or_default()
    }

    /// An empty list.
    pub(super) fn list(&self) -> Vec<Run> {
        self.lists.lock().pop().unwrap_or_default()
    }

    /// A choice of nothing.
    pub(super) fn chosen(&self) -> Chosen {
        self.chosen.lock().pop().unwrap_or_default()
    }

    /// Takes back what was chosen.
    pub(super) fn recycle_chosen(&self, mut chosen: Chosen) {
        chosen.rows.clear();
        chosen.known.clear();
        keep(&self.chosen, chosen);
    }

    /// Takes back what is done with.
    pub(super) fn recycle(&self, mut runs: Vec<Run>) {
        for run in runs.drain(..) {
            let mut parts = run.parts;
            // An engine that does not answer keeps the tickets till it does.
            if Arc::get_mut(&mut parts.tickets).is_none() {
                parts.tickets = Arc::default();
            }
            parts.clear();
            keep(&self.parts, parts);
        }
        keep(&self.lists, runs);
    }
}

fn keep<T>(shelf: &Mutex<Vec<T>>, item: T) {
    let mut shelf = shelf.lock();
    if shelf.len() < MOST_KEPT {
        shelf.push(item);
    }
}

impl Parts {
    /// The outcomes of a run, each with the row it is of.
    pub(super) fn answers(&mut self) -> (impl Iterator<Item = (&Row, &mut Outcome)>, &[Detection], &[f32]) {
        let Self { rows, outcomes, found, vectors, .. } = self;
        (rows.iter().zip(outcomes), found, vectors)
    }

    fn clear(&mut self) {
        // Those that the engine has not taken.
        self.tickets.let_go();
        self.rows.clear();
        self.placed.clear();
        self.outcomes.clear();
        self.found.clear();
        self.vectors.clear();
    }
}

/// Whose the frames of a run are. Looked up only when there is something to say about them.
#[derive(Clone, Copy)]
pub(super) enum Owners<'a> {
    Batch(&'a [Item]),
    /// The name of the element.
    Plain(&'a str),
}

impl<'a> Owners<'a> {
    /// The name of the feed of the frame at `item`.
    pub(super) fn feed(self, item: usize) -> Option<&'a str> {
        match self {
            Self::Batch(items) => items.get(item)?.frame().map(|frame| &*frame.feed.name),
            Self::Plain(name) => Some(name),
        }
    }

    /// What the batch is made of; plain frames are of none.
    pub(super) const fn items(self) -> &'a [Item] {
        match self {
            Self::Batch(items) => items,
            Self::Plain(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_comes_back_is_empty_and_keeps_its_memory() {
        let spare = Spare::default();
        let mut parts = spare.parts();
        parts.rows.extend((0..100).map(Row::frame));
        let held = Arc::clone(&parts.tickets);
        let capacity = parts.rows.capacity();
        parts.clear();
        keep(&spare.parts, parts);
        let again = spare.parts();
        assert_eq!((again.rows.len(), again.rows.capacity()), (0, capacity));
        assert!(Arc::ptr_eq(&again.tickets, &held));
    }

    #[test]
    fn no_more_is_kept_than_can_be_on_the_way() {
        let spare = Spare::default();
        for _ in 0..2 * MOST_KEPT {
            spare.recycle(Vec::with_capacity(1));
        }
        assert_eq!(spare.lists.lock().len(), MOST_KEPT);
    }
}
