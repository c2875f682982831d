//! What goes into a run and what comes out of it, and the buffers both are kept in.

use super::error::InferError;
use super::model::{Batch, ElementType, ModelDescription};
use half::f16;
use parking_lot::Mutex;
use std::ops::Range;

/// More bytes than this in one tensor are refused: a wrong size must not take the machine down.
pub const MAX_TENSOR_BYTES: usize = 2 << 30;

/// As many spare buffers as can be in use at once by one user: one being filled, one waiting, one
/// running, one just come back. More users than one make do with allocating.
const SPARE: usize = 4;

/// The elements of an input tensor, in the order of the model's layout.
#[derive(Clone, Debug, PartialEq)]
pub enum InputData {
    /// 32 bit floats.
    F32(Vec<f32>),
    /// 16 bit floats.
    F16(Vec<f16>),
    /// Bytes.
    U8(Vec<u8>),
}

impl InputData {
    fn empty(element: ElementType) -> Self {
        match element {
            ElementType::F32 => Self::F32(Vec::new()),
            ElementType::F16 => Self::F16(Vec::new()),
            ElementType::U8 => Self::U8(Vec::new()),
        }
    }

    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F16(data) => data.len(),
            Self::U8(data) => data.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements.
    #[must_use]
    pub const fn element(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::F16(_) => ElementType::F16,
            Self::U8(_) => ElementType::U8,
        }
    }

    /// Copies `len` elements of `source` from `from` on to the beginning; false if they are not there.
    fn copy_from(&mut self, source: &Self, from: usize, len: usize) -> bool {
        fn copy<T: Copy>(to: &mut [T], source: &[T], from: usize, len: usize) -> bool {
            let source = from.checked_add(len).and_then(|end| source.get(from..end));
            let (Some(to), Some(source)) = (to.get_mut(..len), source) else { return false };
            to.copy_from_slice(source);
            true
        }
        match (self, source) {
            (Self::F32(to), Self::F32(source)) => copy(to, source, from, len),
            (Self::F16(to), Self::F16(source)) => copy(to, source, from, len),
            (Self::U8(to), Self::U8(source)) => copy(to, source, from, len),
            _ => false,
        }
    }

    /// Makes all elements zero.
    pub(super) fn clear_to_zero(&mut self) {
        self.shape(self.len(), 0);
    }

    /// Makes it `len` elements long, all from `zero_from` on zero; what is before stays as it was.
    fn shape(&mut self, len: usize, zero_from: usize) {
        fn shape<T: Copy + Default>(data: &mut Vec<T>, len: usize, zero_from: usize) {
            data.resize(len, T::default());
            if let Some(padding) = data.get_mut(zero_from..) {
                padding.fill(T::default());
            }
        }
        match self {
            Self::F32(data) => shape(data, len, zero_from),
            Self::F16(data) => shape(data, len, zero_from),
            Self::U8(data) => shape(data, len, zero_from),
        }
    }
}

/// One batch on its way into the model: `[rows, ...]` of the model's input, rows one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The elements. For a model of fixed N there are N rows, those from `batch` on are zero.
    pub data: InputData,
    /// How many rows are real.
    pub batch: usize,
}

/// One output of the model, as 32 bit floats whatever type the model gave it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputTensor {
    /// Its name in the model.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its elements, the last dimension running fastest.
    pub data: Vec<f32>,
}

impl OutputTensor {
    /// Drops rows from the first dimension until `rows` are left.
    pub(super) fn keep_rows(&mut self, rows: usize) {
        let Some(first) = self.shape.first_mut() else { return };
        if *first <= rows {
            return;
        }
        let row_len = self.data.len() / *first;
        *first = rows;
        self.data.truncate(rows * row_len);
    }
}

/// All outputs of one run, in the model's order, copied out of the session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// The tensors.
    pub tensors: Vec<OutputTensor>,
}

impl Outputs {
    /// The output of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OutputTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// Elements in one row, for an image of the model's size.
///
/// # Errors
///
/// [`InferError::ModelUnsupported`] if one row alone is larger than [`MAX_TENSOR_BYTES`].
pub(super) fn row_len(width: u32, height: u32, element: ElementType) -> Result<usize, InferError> {
    let elements = [width, height, 3]
        .iter()
        .try_fold(1_usize, |product, factor| product.checked_mul(usize::try_from(*factor).ok()?));
    elements
        .filter(|elements| elements.checked_mul(element.bytes()).is_some_and(|size| size <= MAX_TENSOR_BYTES))
        .ok_or_else(|| InferError::ModelUnsupported {
            detail: format!(
                "expected an input image of at most {MAX_TENSOR_BYTES} bytes, found {width}x{height} of {element}"
            ),
        })
}

/// Checks that `batch` rows can go into the model, and says how many rows the tensor then has.
///
/// # Errors
///
/// [`InferError::Input`] for an empty batch, one larger than a fixed N, or one too large to allocate.
pub(super) fn rows(model: &ModelDescription, batch: usize) -> Result<usize, InferError> {
    let rows = match model.batch {
        Batch::Fixed(fixed) if batch > fixed => {
            return Err(InferError::Input {
                detail: format!(
                    "expected at most {fixed} rows (the model's batch size is fixed), found {batch}"
                ),
            });
        }
        Batch::Fixed(fixed) => fixed,
        Batch::Dynamic => batch,
    };
    let bytes = rows.checked_mul(model.row_len).and_then(|len| len.checked_mul(model.element.bytes()));
    match bytes {
        _ if batch == 0 => {
            Err(InferError::Input { detail: "expected at least one row, found none".to_owned() })
        }
        Some(bytes) if bytes <= MAX_TENSOR_BYTES => Ok(rows),
        _ => Err(InferError::Input {
            detail: format!(
                "expected a tensor of at most {MAX_TENSOR_BYTES} bytes, found {rows} rows of {} x {}",
                model.row_len, model.element
            ),
        }),
    }
}

/// Spare buffers of one engine, so that a steady stream allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Pool {
    inputs: Mutex<Vec<Input>>,
    outputs: Mutex<Vec<Outputs>>,
}

impl Pool {
    /// A buffer for `batch` rows; the rows hold whatever was there before, the padding is zero.
    pub(super) fn input(&self, model: &ModelDescription, batch: usize) -> Result<Input, InferError> {
        let rows = rows(model, batch)?;
        let spare = self.inputs.lock().pop();
        let mut input = spare.unwrap_or_else(|| Input { data: InputData::empty(model.element), batch });
        input.batch = batch;
        input.data.shape(rows * model.row_len, batch * model.row_len);
        Ok(input)
    }

    /// A batch of its own of the rows `rows` of `input`.
    pub(super) fn part(
        &self,
        model: &ModelDescription,
        input: &Input,
        rows: Range<usize>,
    ) -> Result<Input, InferError> {
        let mut part = self.input(model, rows.len())?;
        let from = rows.start.saturating_mul(model.row_len);
        if part.data.copy_from(&input.data, from, rows.len() * model.row_len) {
            return Ok(part);
        }
        let (found, batch) = (input.data.element(), input.batch);
        let detail = format!("expected rows {rows:?} of {}, found {batch} rows of {found}", model.element);
        Err(InferError::Input { detail })
    }

    pub(super) fn return_input(&self, input: Input) {
        keep(&self.inputs, input);
    }

    pub(super) fn outputs(&self) -> Outputs {
        self.outputs.lock().pop().unwrap_or_default()
    }

    pub(super) fn return_outputs(&self, outputs: Outputs) {
        keep(&self.outputs, outputs);
    }
}

fn keep<T>(shelf: &Mutex<Vec<T>>, item: T) {
    let mut shelf = shelf.lock();
    if shelf.len() < SPARE {
        shelf.push(item);
    }
}
