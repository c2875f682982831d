//! Models that do what a test says, in the place of a session.
//!
//! [`install`] registers a script under a name; `nvinference model=script:NAME`, or any
//! [`EngineOptions`](super::EngineOptions) with that path, then opens it. All that surrounds a session is the
//! real thing: registry, worker, buffers, timeouts. By default a script finds the brightest cell of 8 x 8 pixels
//! of every image, as `tests/data/brightest.onnx` does: `[N, 3, 64, 64]` in, YOLOv8's `[N, 5, 64]` out, one label
//! `bright`.
//!
//! Only in builds with the feature `testing`, which no release has. Warm-up runs never ask the script. Nothing
//! here reads a clock: a run that is to be late is parked behind a [`Gate`] until its test opens it.

use super::error::InferError;
use super::model::{Batch, ChannelOrder, ElementType, Layout, ModelDescription, Opened, OutputDescription};
use super::tensor::{Input, InputData, OutputTensor, Outputs};
use super::worker::{Backend, Loaded, Purpose};
use crate::vision::Size;
use half::f16;
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// What the path of a scripted model begins with.
const PREFIX: &str = "script:";
/// Side of the input image by default, and of a cell of it, in pixels.
const SIDE: usize = 64;
const CELL: usize = 8;

static SCRIPTS: LazyLock<Mutex<HashMap<String, Arc<Shared>>>> = LazyLock::new(Mutex::default);

/// What a scripted model looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptOptions {
    /// How many images it takes at once.
    pub batch: Batch,
    /// The type of its input.
    pub element: ElementType,
    /// Side of its input image, in cells of 8 pixels.
    pub cells: usize,
    /// What it gives.
    pub gives: Gives,
}

/// What the output of a scripted model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// Boxes, as YOLOv8 does.
    Boxes,
    /// So many scores for each image: `[N, classes]`. The names of the classes are `level-0`, `level-1` …
    Classes(usize),
    /// A vector of so many numbers for each image.
    Vectors(usize),
}

impl Default for ScriptOptions {
    /// Any number of images of f32, of 64 x 64 pixels.
    fn default() -> Self {
        Self { batch: Batch::Dynamic, element: ElementType::F32, cells: SIDE / CELL, gives: Gives::Boxes }
    }
}

impl ScriptOptions {
    /// Numbers in an image.
    const fn row_len(&self) -> usize {
        3 * self.cells * CELL * self.cells * CELL
    }
}

/// What a run does.
#[derive(Debug)]
pub enum Action {
    /// Finds the brightest cell of every image; of classes, the one the mean of the image lies in, of vectors, one that
    /// points as far from the first axis towards the second as the image is bright.
    Detect,
    /// Finds nothing, without a look at the images: costs next to nothing.
    Nothing,
    /// Fails, saying so.
    Error(String),
    /// Panics, saying so.
    Panic(String),
    /// Waits until the gate is open, then does as [`Self::Detect`].
    Park(Gate),
    /// Gives these tensors, whatever they are.
    Outputs(Vec<OutputTensor>),
}

/// What loading does.
#[derive(Debug)]
pub enum LoadAction {
    /// Succeeds.
    Ready,
    /// Fails, saying so.
    Error(String),
    /// Waits until the gate is open, then succeeds.
    Park(Gate),
}

/// One run of frames, as its script sees it.
#[derive(Debug)]
pub struct Call<'a> {
    /// Counts the runs of frames of this script, from 0, over all its engines.
    pub number: u64,
    /// Which engine runs it: counts the times the model was loaded, from 0.
    pub load: u64,
    /// The images, `[3, 64, 64]`, 0..1, RGB; without those that pad a fixed batch.
    pub images: SmallVec<[&'a [f32]; 16]>,
    cells: usize,
}

impl Call<'_> {
    /// What [`Action::Detect`] gives: `output0`, `[N, 5, 64]`.
    #[must_use]
    pub fn detect(&self) -> OutputTensor {
        detect(self.images.iter().copied(), self.cells)
    }
}

/// Holds runs back until a test opens it. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    count: Mutex<GateCount>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateCount {
    open: bool,
    entered: u64,
    inside: u64,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        self.0.count.lock().open = true;
        self.0.changed.notify_all();
    }

    /// How many stand before it.
    #[must_use]
    pub fn inside(&self) -> u64 {
        self.0.count.lock().inside
    }

    /// How many have come to it so far.
    #[must_use]
    pub fn entered(&self) -> u64 {
        self.0.count.lock().entered
    }

    /// Waits until `count` have come to it; false if they have not within `patience`.
    #[must_use]
    pub fn wait_entered(&self, count: u64, patience: Duration) -> bool {
        let mut seen = self.0.count.lock();
        let timed_out = self.0.changed.wait_while_for(&mut seen, |seen| seen.entered < count, patience);
        !timed_out.timed_out()
    }

    /// Stands before it until it is open.
    fn pass(&self) {
        let mut count = self.0.count.lock();
        count.entered += 1;
        count.inside += 1;
        self.0.changed.notify_all();
        self.0.changed.wait_while(&mut count, |count| !count.open);
        count.inside -= 1;
        self.0.changed.notify_all();
    }
}

type OnCall = Box<dyn FnMut(&Call<'_>) -> Action + Send>;
type OnLoad = Box<dyn FnMut(u64) -> LoadAction + Send>;

struct Shared {
    options: ScriptOptions,
    /// Tells two scripts of the same name apart.
    number: u64,
    on_call: Mutex<OnCall>,
    on_load: Mutex<OnLoad>,
    calls: AtomicU64,
    loads: AtomicU64,
    released: AtomicU64,
}

/// A script that can be opened as long as this lives. Engines that have opened it go on without it.
pub struct Script {
    name: String,
    shared: Arc<Shared>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Registers a script under `name`, in the place of an earlier one of that name; `on_call` decides about every
/// run of frames. It must not block: a run that is to take long is parked.
#[must_use = "dropping the script removes it"]
pub fn install(
    name: &str,
    options: ScriptOptions,
    on_call: impl FnMut(&Call<'_>) -> Action + Send + 'static,
) -> Script {
    static INSTALLED: AtomicU64 = AtomicU64::new(1);
    let shared = Arc::new(Shared {
        options,
        number: INSTALLED.fetch_add(1, Ordering::Relaxed),
        on_call: Mutex::new(Box::new(on_call)),
        on_load: Mutex::new(Box::new(|_| LoadAction::Ready)),
        calls: AtomicU64::new(0),
        loads: AtomicU64::new(0),
        released: AtomicU64::new(0),
    });
    SCRIPTS.lock().insert(name.to_owned(), Arc::clone(&shared));
    Script { name: name.to_owned(), shared }
}

impl Script {
    /// What to give `nvinference` as its `model`.
    #[must_use]
    pub fn model(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Lets `on_load` decide about every loading, which it is given the number of, from 0.
    pub fn on_load(&self, on_load: impl FnMut(u64) -> LoadAction + Send + 'static) {
        *self.shared.on_load.lock() = Box::new(on_load);
    }

    /// Runs of frames so far, the one in progress included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Acquire)
    }

    /// How often loading was begun.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.shared.loads.load(Ordering::Acquire)
    }

    /// How many engines have let go of the model.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.shared.released.load(Ordering::Acquire)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let mut scripts = SCRIPTS.lock();
        if scripts.get(&self.name).is_some_and(|script| Arc::ptr_eq(script, &self.shared)) {
            scripts.remove(&self.name);
        }
    }
}

/// The number of the script that `path` names; `None` if it names none.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    find(path).map(|(_, shared)| shared.number)
}

fn find(path: &Path) -> Option<(String, Arc<Shared>)> {
    let name = path.to_str()?.strip_prefix(PREFIX)?;
    Some((name.to_owned(), Arc::clone(SCRIPTS.lock().get(name)?)))
}

/// Loads the script that `path` names; `None` if it names none.
pub(super) fn load(path: &Path) -> Option<Result<Loaded, InferError>> {
    let (name, shared) = find(path)?;
    let load = shared.loads.fetch_add(1, Ordering::AcqRel);
    let action = (shared.on_load.lock())(load);
    match action {
        LoadAction::Ready => {}
        LoadAction::Park(gate) => gate.pass(),
        LoadAction::Error(detail) => return Some(Err(InferError::ModelUnsupported { detail })),
    }
    let description = describe(name, shared.options);
    Some(Ok((description, Box::new(Scripted { shared, load }))))
}

fn describe(name: String, options: ScriptOptions) -> ModelDescription {
    let rows = match options.batch {
        Batch::Fixed(rows) => Some(rows),
        Batch::Dynamic => None,
    };
    let (side, cells) = (options.cells * CELL, options.cells * options.cells);
    let std = if options.element == ElementType::U8 { 1.0 } else { 255.0 };
    let (dims, decoder, labels) = match options.gives {
        Gives::Boxes => (vec![rows, Some(5), Some(cells)], "yolov8", vec!["bright".to_owned()]),
        Gives::Classes(count) => {
            let labels = (0..count).map(|class| format!("level-{class}")).collect();
            (vec![rows, Some(count)], "classifier", labels)
        }
        Gives::Vectors(dims) => (vec![rows, Some(dims)], "embedding", Vec::new()),
    };
    ModelDescription {
        name,
        input: "images".to_owned(),
        layout: Layout::Nchw,
        element: options.element,
        batch: options.batch,
        size: Size::new(side as u32, side as u32),
        row_len: options.row_len(),
        order: ChannelOrder::Rgb,
        mean: [0.0; 3],
        std: [std; 3],
        pad: 114,
        outputs: vec![OutputDescription { name: "output0".to_owned(), dims }],
        decoder: Some(decoder.to_owned()),
        task: None,
        stride: Some(CELL as u32),
        labels: Some(labels),
        score_threshold: None,
        iou_threshold: None,
        provider: "cpu".to_owned(),
        runtime_version: "script".to_owned(),
        opened: Opened::default(),
    }
}

/// A loaded script.
struct Scripted {
    shared: Arc<Shared>,
    load: u64,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.released.fetch_add(1, Ordering::AcqRel);
    }
}

impl Backend for Scripted {
    fn run(&mut self, input: &Input, purpose: Purpose, outputs: &mut Outputs) -> Result<(), InferError> {
        let ScriptOptions { cells, .. } = self.shared.options;
        let (data, row_len) = (as_floats(&input.data), self.shared.options.row_len());
        let rows = data.len() / row_len.max(1);
        let images = || data.chunks_exact(row_len);
        let everything = || match self.shared.options.gives {
            Gives::Boxes => vec![detect(images(), cells)],
            Gives::Classes(count) => vec![rows_of(images(), count, class_of)],
            Gives::Vectors(dims) => vec![rows_of(images(), dims, vector_of)],
        };
        if purpose == Purpose::WarmUp {
            outputs.tensors = everything();
            return Ok(());
        }
        let number = self.shared.calls.fetch_add(1, Ordering::AcqRel);
        let images = data.chunks_exact(row_len).take(input.batch).collect();
        let call = Call { number, load: self.load, images, cells };
        let action = (self.shared.on_call.lock())(&call);
        outputs.tensors = match action {
            Action::Detect => everything(),
            Action::Nothing => {
                nothing(outputs, rows, cells);
                return Ok(());
            }
            Action::Error(detail) => return Err(InferError::Run { detail }),
            Action::Panic(detail) => std::panic::panic_any(detail),
            Action::Park(gate) => {
                gate.pass();
                everything()
            }
            Action::Outputs(tensors) => tensors,
        };
        Ok(())
    }
}

fn as_floats(data: &InputData) -> Cow<'_, [f32]> {
    match data {
        InputData::F32(data) => data.into(),
        InputData::F16(data) => data.iter().copied().map(f16::to_f32).collect(),
        InputData::U8(data) => data.iter().map(|x| f32::from(*x) / 255.0).collect(),
    }
}

/// Scores of zero everywhere, in the memory that is there.
fn nothing(outputs: &mut Outputs, rows: usize, cells: usize) {
    outputs.tensors.resize_with(1, OutputTensor::default);
    for output in &mut outputs.tensors {
        "output0".clone_into(&mut output.name);
        output.shape.clear();
        output.shape.extend([rows, 5, cells * cells]);
        output.data.clear();
        output.data.resize(rows * 5 * cells * cells, 0.0);
    }
}

/// The brightest cell of every image, the first of several, as `[N, 5, cells]`: box and score of each cell, where
/// all scores but that of the brightest are zero.
fn detect<'a>(images: impl Iterator<Item = &'a [f32]>, side: usize) -> OutputTensor {
    let cells = side * side;
    let mut data = Vec::new();
    let mut rows = 0;
    for image in images {
        rows += 1;
        let levels = levels(image, side);
        let (best, level) = levels
            .iter()
            .enumerate()
            .fold((0, f32::MIN), |best, (cell, level)| if *level > best.1 { (cell, *level) } else { best });
        let center = |at: usize| (at * CELL + CELL / 2) as f32;
        data.extend((0..cells).map(|cell| center(cell % side)));
        data.extend((0..cells).map(|cell| center(cell / side)));
        data.extend(std::iter::repeat_n(CELL as f32, 2 * cells));
        data.extend((0..cells).map(|cell| if cell == best { level } else { 0.0 }));
    }
    OutputTensor { name: "output0".to_owned(), shape: vec![rows, 5, cells], data }
}

/// A row of `len` numbers for each image, from its mean.
fn rows_of<'a>(
    images: impl Iterator<Item = &'a [f32]>,
    len: usize,
    row: impl Fn(f32, &mut [f32]),
) -> OutputTensor {
    let mut data = Vec::new();
    let mut rows = 0;
    for image in images {
        rows += 1;
        let from = data.len();
        data.resize(from + len, 0.0);
        let mean = image.iter().sum::<f32>() / image.len().max(1) as f32;
        row(mean, data.get_mut(from..).unwrap_or_default());
    }
    OutputTensor { name: "output0".to_owned(), shape: vec![rows, len], data }
}

fn class_of(mean: f32, scores: &mut [f32]) {
    let class = (mean * scores.len() as f32) as usize;
    if let Some(score) = scores.get_mut(class.min(scores.len().saturating_sub(1))) {
        *score = 1.0;
    }
}

fn vector_of(mean: f32, vector: &mut [f32]) {
    let (sine, cosine) = (mean * std::f32::consts::FRAC_PI_2).sin_cos();
    vector.iter_mut().zip([cosine, sine]).for_each(|(slot, value)| *slot = value);
}

/// The mean of every cell over its pixels and channels.
fn levels(image: &[f32], cells: usize) -> Vec<f32> {
    let (mut sums, side) = (vec![0.0; cells * cells], cells * CELL);
    for (at, value) in image.iter().enumerate() {
        let (column, row) = (at % side / CELL, at / side % side / CELL);
        if let Some(sum) = sums.get_mut(row * cells + column) {
            *sum += value;
        }
    }
    sums.iter().map(|sum| sum / (3 * CELL * CELL) as f32).collect()
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
