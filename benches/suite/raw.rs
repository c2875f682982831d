//! (a) The limit: ONNX Runtime's own session in a loop, on tensors that are ready.
//!
//! The session is opened by the code that opens those of engines, with the same library, environment and options, in
//! this process. Nothing is copied, neither in nor out; outputs are dropped as they come.

use super::measure::{Moment, Spent};
use super::numbers::Spread;
use super::part::Part;
use anyhow::{Context as _, Result};
use gstnextvision::clock;
use gstnextvision::infer::{Engine, EngineOptions, Interrupt, bare};
use ort::session::Session;
use ort::value::TensorRef;
use std::sync::Arc;
use std::time::Duration;

/// The model of every part that runs a real one.
pub(crate) const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/nanodet-g-320.onnx");
/// Longer than any run takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session, and a tensor for the largest batch.
pub(crate) struct Raw {
    session: Session,
    shape: [usize; 3],
    data: Vec<f32>,
}

/// Frames that were run, and what they took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    frames: u64,
    spent: Spent,
}

impl Runs {
    pub(crate) fn new(frames: u64, spent: Spent) -> Self {
        Self { frames, spent }
    }

    /// Seconds on the clock per frame.
    pub(crate) fn wall(&self) -> f64 {
        self.spent.wall.as_secs_f64() / self.frames.max(1) as f64
    }

    /// Seconds of processor time per frame.
    pub(crate) fn cpu(&self) -> f64 {
        self.spent.cpu.as_secs_f64() / self.frames.max(1) as f64
    }
}

impl Raw {
    pub(crate) fn open(most: usize) -> Result<Self> {
        let options = EngineOptions::new(MODEL);
        let session = bare::open(&options)?;
        let input = session.inputs().first().context("the model has an input")?;
        let shape = input.dtype().tensor_shape().context("the input is a tensor")?;
        let dims: Vec<usize> = shape.iter().skip(1).flat_map(|dim| usize::try_from(*dim)).collect();
        let shape = <[usize; 3]>::try_from(dims).ok().context("[N, 3, H, W]")?;
        let len = most * shape.iter().product::<usize>();
        // Anything of the size of normalised pixels.
        let data = (0..len).map(|at| (at * 31 % 509) as f32 / 127.0 - 2.0).collect();
        Ok(Self { session, shape, data })
    }

    /// Runs batches of `batch` for about as long as `time`.
    pub(crate) fn run(&mut self, batch: usize, time: Duration) -> Result<Runs> {
        let [a, b, c] = self.shape;
        let data = self.data.get(..batch * a * b * c).context("a batch of at most the largest size")?;
        let began = Moment::now();
        let end = began.clock.saturating_add(time);
        let mut frames = 0;
        while !clock::until(end).is_zero() {
            let tensor = TensorRef::from_array_view(([batch, a, b, c], data))?;
            drop(self.session.run([tensor.into()])?);
            frames += batch as u64;
        }
        Ok(Runs::new(frames, began.elapsed()))
    }
}

/// The same through an [`Engine`], with so many batches on their way at once.
fn through_engine(engine: &Arc<Engine>, batch: usize, ahead: usize, time: Duration) -> Result<Runs> {
    let interrupt = Interrupt::new();
    let mut waiting = std::collections::VecDeque::new();
    let began = Moment::now();
    let end = began.clock.saturating_add(time);
    let mut frames = 0;
    while !clock::until(end).is_zero() {
        while waiting.len() < ahead {
            let input = engine.input(batch)?;
            let pending = engine.submit(input, Arc::new(()), &interrupt, PATIENCE);
            waiting.push_back(pending.map_err(|refused| refused.error)?);
        }
        if let Some(first) = waiting.pop_front() {
            drop(first.wait(&interrupt, PATIENCE)?);
            frames += batch as u64;
        }
    }
    let runs = Runs::new(frames, began.elapsed());
    for rest in waiting {
        drop(rest.wait(&interrupt, PATIENCE)?);
    }
    Ok(runs)
}

pub(crate) fn part(rounds: usize) -> Result<Part> {
    let mut part = Part::new(
        "a",
        "The limit: ONNX Runtime alone, NanoDet-g 320, tensors ready",
        &["what runs", "N", "frames/s", "CPU ms/frame", "ms/run"],
    );
    let engine = Engine::open(&EngineOptions::new(MODEL))?;
    engine.warm_up(&[1, 2, 4, 8], &Interrupt::new())?;
    let mut raw = Raw::open(8)?;
    let time = Duration::from_millis(700);
    let cases = [("session", 1, 0), ("session", 2, 0), ("session", 4, 0), ("session", 8, 0)];
    let engines = [("engine, one batch at a time", 4, 1), ("engine, next batch waiting", 4, 2)];
    let cases: Vec<_> = cases.into_iter().chain(engines).collect();
    let mut found = vec![Vec::new(); cases.len()];
    for round in 0..=rounds {
        for ((_, batch, ahead), found) in cases.iter().zip(&mut found) {
            let runs = match ahead {
                0 => raw.run(*batch, time)?,
                _ => through_engine(&engine, *batch, *ahead, time)?,
            };
            // The first round warms up.
            if round > 0 {
                found.push(runs);
            }
        }
    }
    for ((what, batch, _), runs) in cases.iter().zip(&found) {
        let rate = Spread::of(runs.iter().map(|runs| 1.0 / runs.wall()));
        let cpu = Spread::of(runs.iter().map(|runs| 1e3 * runs.cpu()));
        let run = Spread::of(runs.iter().map(|runs| 1e3 * runs.wall() * *batch as f64));
        part.row([(*what).to_owned(), batch.to_string(), rate.show(1), cpu.show(2), run.show(2)]);
    }
    part.note(format!(
        "median [quartiles] of {rounds} rounds in turn, {time:?} each, after one that is not counted"
    ));
    part.note(
        "session: ort's Session::run, opened with the library and options of our engine, results dropped",
    );
    part.note("engine: gstnextvision::infer::Engine, which hands over to its thread and copies the outputs");
    Ok(part)
}
