//! A model that does what a script says, for tests of all that is around a session.

use super::engine::Engine;
use super::error::InferError;
use super::interrupt::Interrupt;
use super::model::{Batch, ChannelOrder, ElementType, Layout, ModelDescription, Opened};
use super::tensor::{Input, InputData, OutputTensor, Outputs};
use super::worker::{Backend, Loaded, Purpose};
use crate::vision::Size;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any test waits for anything that does happen.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// What one run does.
#[derive(Debug)]
pub(super) enum Step {
    /// Gives every row's sum.
    Sum,
    /// Fails.
    Error,
    /// Panics.
    Panic,
    /// Gives the sums when the sender on the other side is used or dropped.
    Park(Receiver<()>),
}

/// Runs its steps one after the other, then [`Step::Sum`] for ever.
pub(super) struct Script {
    steps: std::vec::IntoIter<Step>,
    began: Sender<()>,
    /// Disconnects as the backend is dropped.
    _alive: Sender<()>,
}

/// What a test sees of its [`Script`].
pub(super) struct Stage {
    /// One message per run, as it begins.
    pub(super) began: Receiver<()>,
    /// Disconnects when the backend is gone.
    pub(super) alive: Receiver<()>,
}

/// A model of 2 x 1 images of f32, row length 6.
pub(super) fn model(batch: Batch) -> ModelDescription {
    ModelDescription {
        name: "fake".to_owned(),
        input: "images".to_owned(),
        layout: Layout::Nchw,
        element: ElementType::F32,
        batch,
        size: Size::new(2, 1),
        row_len: 6,
        order: ChannelOrder::Rgb,
        mean: [0.0; 3],
        std: [255.0; 3],
        pad: 114,
        outputs: Vec::new(),
        decoder: None,
        task: None,
        stride: None,
        labels: None,
        score_threshold: None,
        iou_threshold: None,
        provider: "cpu".to_owned(),
        runtime_version: "0.0.0".to_owned(),
        opened: Opened::default(),
    }
}

/// A script and what its test sees of it.
pub(super) fn script(steps: Vec<Step>) -> (Script, Stage) {
    let (began, begins) = unbounded();
    let (alive, lives) = bounded(0);
    let script = Script { steps: steps.into_iter(), began, _alive: alive };
    (script, Stage { began: begins, alive: lives })
}

/// An engine that runs the script.
pub(super) fn engine(batch: Batch, steps: Vec<Step>) -> (Arc<Engine>, Stage) {
    let (script, stage) = script(steps);
    let load = move || -> Result<Loaded, InferError> { Ok((model(batch), Box::new(script))) };
    (Engine::start(load, LONG, None, &Interrupt::new()).unwrap(), stage)
}

impl Backend for Script {
    fn run(&mut self, input: &Input, _: Purpose, outputs: &mut Outputs) -> Result<(), InferError> {
        self.began.send(()).ok();
        match self.steps.next() {
            None | Some(Step::Sum) => {}
            Some(Step::Error) => return Err(InferError::Run { detail: "as scripted".to_owned() }),
            Some(Step::Panic) => panic!("as scripted"),
            Some(Step::Park(until)) => drop(until.recv()),
        }
        let InputData::F32(data) = &input.data else {
            return Err(InferError::Run { detail: "not f32".to_owned() });
        };
        let sums: Vec<f32> = data.chunks(6).map(|row| row.iter().sum()).collect();
        outputs.tensors =
            vec![OutputTensor { name: "sum".to_owned(), shape: vec![sums.len(), 1], data: sums }];
        Ok(())
    }
}
