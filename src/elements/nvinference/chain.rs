//! The upstream half: frames become rows of input tensors, tensors go to the engine, and what is still to be
//! answered goes into the outbox, in order.

use super::frames;
use super::imp::{CAT, NvInference, Stream};
use super::outbox;
use super::runtime::Runtime;
use super::service::Serving;
use crate::batch::Ticket;
use crate::clock;
use crate::elements::{link, lock, video};

use crate::infer::{InferError, Interrupt, Pending};
use crate::meta::batch::{self as meta, Format, Item};
use crate::time::Monotonic;
use crate::vision::letterbox::Letterbox;
use crate::vision::preprocess::{InputSpec, Preprocessor};
use gst::subclass::prelude::*;
use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

/// The plan of every feed that has sent frames, for one model.
#[derive(Default)]
pub(super) struct Preprocessors {
    spec: Option<InputSpec>,
    by_feed: HashMap<u32, Preprocessor>,
}

impl Preprocessors {
    fn of(&mut self, feed: u32, spec: InputSpec) -> Result<&mut Preprocessor, String> {
        // A rebuilt engine may have found another model in the file.
        if self.spec != Some(spec) {
            self.by_feed.clear();
            self.spec = Some(spec);
        }
        match self.by_feed.entry(feed) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                Ok(place.insert(Preprocessor::new(spec).map_err(|error| error.to_string())?))
            }
        }
    }
}

/// What was asked of the engine.
pub(super) enum Asked {
    /// Nothing: no frame could be prepared.
    Nothing,
    /// Nothing: there is no engine to ask, for this reason.
    Rejected(Arc<str>),
    /// A run, unless the engine did not take it.
    Engine(Result<Pending, InferError>),
}

/// One call of the engine: which frames it is for, where each lies in its row, and the answer to come.
pub(super) struct Run {
    /// Indices into the items of the work.
    pub(super) frames: Vec<usize>,
    pub(super) runtime: Arc<Runtime>,
    /// One per frame: where it lies in the model's image, or why it could not be prepared. Empty if none was tried.
    pub(super) placed: Vec<Result<Letterbox, String>>,
    pub(super) asked: Asked,
}

/// A plain frame on its way through.
pub(super) struct Plain {
    pub(super) buffer: gst::Buffer,
    pub(super) format: Arc<Format>,
    pub(super) seq: u64,
    pub(super) arrival: Monotonic,
    pub(super) wall_us: u64,
}

/// What came in.
pub(super) enum Content {
    /// A batch, and the buffer that carried it.
    Batch(gst::Buffer, meta::Batch),
    Plain(Box<Plain>),
}

/// One buffer on its way through.
pub(super) struct Work {
    pub(super) content: Content,
    pub(super) runs: Vec<Run>,
}

/// How runs are started.
struct Starter<'a> {
    serving: &'a Serving,
    interrupt: &'a Interrupt,
    timeout: Duration,
    preprocessors: &'a mut Preprocessors,
}

/// A frame to prepare.
struct Subject<'a> {
    feed: u32,
    buffer: &'a gst::BufferRef,
    format: &'a Format,
}

impl NvInference {
    pub(super) fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if let Some(lane) = self.lane() {
            return lane.chain(buffer);
        }
        let serving = self.service.serving().ok_or(gst::FlowError::Flushing)?;
        let stream = lock(&self.stream).clone();
        let mut preprocessors = std::mem::take(&mut *lock(&self.preprocessors));
        let interrupt = self.interrupt();
        let timeout = self.response_timeout();
        let starter =
            Starter { serving: &serving, interrupt: &interrupt, timeout, preprocessors: &mut preprocessors };
        let work = match stream {
            Stream::Batches => self.take_batch(starter, buffer),
            Stream::Video(format) => self.take_frame(starter, format, buffer),
            Stream::None => {
                gst::element_imp_error!(
                    self,
                    gst::CoreError::Negotiation,
                    ["sink: a buffer came before caps"]
                );
                Err(gst::FlowError::NotNegotiated)
            }
        };
        *lock(&self.preprocessors) = preprocessors;
        self.outbox.put(outbox::Entry::Work(work?)).map(|()| gst::FlowSuccess::Ok)
    }

    fn take_batch(&self, mut starter: Starter<'_>, mut carrier: gst::Buffer) -> Result<Work, gst::FlowError> {
        let Some(batch) = meta::take(carrier.make_mut()) else {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ["sink: expected buffers with a batch from nvbatcher, found one without"]
            );
            return Err(gst::FlowError::Error);
        };
        let reopens = |item: &Item| matches!(item, Item::Event { event, .. } if link::reopens(event));
        if batch.items.iter().any(reopens) {
            self.outbox.retry();
        }
        let chosen: Vec<_> =
            (0..batch.items.len()).filter(|at| to_infer(&batch.items, *at).is_some()).collect();
        let most = starter.serving.runtime.engine.max_batch().unwrap_or(usize::MAX);
        let mut runs = Vec::new();
        for frames in chosen.chunks(most.max(1)) {
            let subjects: Vec<_> = frames.iter().filter_map(|at| to_infer(&batch.items, *at)).collect();
            let tickets: Vec<Ticket> = subjects.iter().map(|frame| frame.ticket.clone()).collect();
            let subjects: Vec<_> = subjects
                .iter()
                .map(|frame| Subject { feed: frame.feed.id.0, buffer: &frame.buffer, format: &frame.format })
                .collect();
            runs.push(starter.start(frames.to_vec(), &subjects, Box::new(tickets)));
        }
        gst::trace!(CAT, imp = self, "{:?}: {} frames in {} runs", batch.label, chosen.len(), runs.len());
        Ok(Work { content: Content::Batch(carrier, batch), runs })
    }

    fn take_frame(
        &self,
        mut starter: Starter<'_>,
        format: Arc<Format>,
        buffer: gst::Buffer,
    ) -> Result<Work, gst::FlowError> {
        let arrival = clock::now();
        let subject = Subject { feed: 0, buffer: &buffer, format: &format };
        let run = starter.start(vec![0], &[subject], Box::new(()));
        let seq = self.next_seq();
        let plain = Plain { buffer, format, seq, arrival, wall_us: clock::wall_micros() };
        Ok(Work { content: Content::Plain(Box::new(plain)), runs: vec![run] })
    }
}

impl Starter<'_> {
    /// Prepares the frames and hands them to the engine, waiting for room there.
    fn start(&mut self, frames: Vec<usize>, subjects: &[Subject<'_>], hold: Box<dyn Any + Send>) -> Run {
        let (placed, asked) = self.ask(subjects, hold);
        Run { frames, runtime: Arc::clone(&self.serving.runtime), placed, asked }
    }

    fn ask(
        &mut self,
        subjects: &[Subject<'_>],
        hold: Box<dyn Any + Send>,
    ) -> (Vec<Result<Letterbox, String>>, Asked) {
        if let Some(why) = &self.serving.refusal {
            return (Vec::new(), Asked::Rejected(Arc::clone(why)));
        }
        let engine = &self.serving.runtime.engine;
        let mut input = match engine.input(subjects.len()) {
            Ok(input) => input,
            Err(error) => return (Vec::new(), Asked::Engine(Err(error))),
        };
        let row_len = engine.row_len();
        let placed: Vec<_> = subjects
            .iter()
            .enumerate()
            .map(|(row, subject)| {
                let slot = frames::slot(&mut input.data, row, row_len)
                    .ok_or_else(|| format!("the input tensor has no row {row}"))?;
                video::check_frame(subject.buffer, subject.format)?;
                let preprocessor = self.preprocessors.of(subject.feed, self.serving.runtime.spec)?;
                frames::prepare(preprocessor, subject.buffer, subject.format, slot)
            })
            .collect();
        if placed.iter().all(Result::is_err) {
            engine.recycle(input);
            return (placed, Asked::Nothing);
        }
        let pending = engine.submit(input, hold, self.interrupt, self.timeout);
        (placed, Asked::Engine(pending.map_err(|refused| refused.error)))
    }
}

fn to_infer(items: &[Item], at: usize) -> Option<&meta::Frame> {
    match items.get(at)? {
        Item::Frame(frame) if frame.infer => Some(frame),
        _ => None,
    }
}
