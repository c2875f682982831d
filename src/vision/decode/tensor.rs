//! Output tensors: what a model declares, what a run returns, and the check that one fits the other.

use std::fmt;

use super::{DecodeError, Params};

/// One output tensor of a run, row-major, converted to f32 by the engine (class ids up to 2^24 are exact).
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Name of the output in the model.
    pub name: &'a str,
    /// Dimensions, outermost first.
    pub shape: &'a [usize],
    /// Values; as many as the product of `shape`, which the decoders check.
    pub data: &'a [f32],
}

/// An output as the model declares it, before any run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputShape {
    /// Name of the output in the model.
    pub name: String,
    /// Dimensions, outermost first; `None` for one left open.
    pub dims: Vec<Option<usize>>,
}

impl OutputShape {
    pub(super) fn rank(&self) -> usize {
        self.dims.len()
    }

    /// The dimension of `axis`, if it is declared.
    pub(super) fn dim(&self, axis: usize) -> Option<usize> {
        self.dims.get(axis).copied().flatten()
    }

    /// Whether the output has that rank and, on each axis given, that dimension or an open one.
    pub(super) fn fits(&self, rank: usize, fixed: &[(usize, usize)]) -> bool {
        self.rank() == rank
            && fixed.iter().all(|&(axis, dim)| self.dim(axis).is_none_or(|declared| declared == dim))
    }

    pub(super) fn mismatch(&self, expected: impl fmt::Display) -> DecodeError {
        DecodeError::Shape {
            output: self.name.clone(),
            expected: expected.to_string(),
            found: Shape(self).to_string(),
        }
    }
}

impl fmt::Display for OutputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.name, Shape(self))
    }
}

struct Shape<'a>(&'a OutputShape);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, dim) in self.0.dims.iter().enumerate() {
            let comma = if axis == 0 { "" } else { ", " };
            match dim {
                Some(dim) => write!(f, "{comma}{dim}")?,
                None => write!(f, "{comma}?")?,
            }
        }
        f.write_str("]")
    }
}

/// All outputs with their shapes, for messages.
pub(super) fn describe(outputs: &[OutputShape]) -> String {
    if outputs.is_empty() {
        return "none".to_owned();
    }
    outputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The only output that `fits`.
///
/// # Errors
/// None or several do: [`DecodeError::Shape`] if there is just one output, else [`DecodeError::NoOutput`].
pub(super) fn only(
    outputs: &[OutputShape],
    expected: impl fmt::Display,
    fits: impl Fn(&OutputShape) -> bool,
) -> Result<&OutputShape, DecodeError> {
    let mut fitting = outputs.iter().filter(|output| fits(output));
    match (fitting.next(), fitting.next(), outputs) {
        (Some(output), None, _) => Ok(output),
        (None, _, [output]) => Err(output.mismatch(expected)),
        _ => Err(DecodeError::NoOutput { expected: expected.to_string(), found: describe(outputs) }),
    }
}

/// An output of a run that has passed the checks every layout needs: its rank, the number of its values and,
/// for [`Batched::of`], one row per image.
#[derive(Clone, Copy)]
pub(super) struct Batched<'a> {
    name: &'a str,
    dims: &'a [usize],
    data: &'a [f32],
}

impl<'a> Batched<'a> {
    /// The output `name` with `rank` dimensions, the first of which is `batch`. `expected` is written only
    /// for an error.
    pub(super) fn of(
        outputs: &[TensorView<'a>],
        name: &str,
        rank: usize,
        expected: impl fmt::Display,
        batch: usize,
    ) -> Result<Self, DecodeError> {
        let tensor = Self::unassigned(outputs, name, rank, expected)?;
        match tensor.dim(0) {
            rows if rows == batch => Ok(tensor),
            found => Err(DecodeError::Rows { output: name.to_owned(), expected: batch, found }),
        }
    }

    /// The output `name` with `rank` dimensions, whatever the first means.
    pub(super) fn unassigned(
        outputs: &[TensorView<'a>],
        name: &str,
        rank: usize,
        expected: impl fmt::Display,
    ) -> Result<Self, DecodeError> {
        let Some(view) = outputs.iter().find(|output| output.name == name) else {
            let found: Vec<_> = outputs.iter().map(|output| declared(output.name, output.shape)).collect();
            let expected = format!("{name:?} {expected}");
            return Err(DecodeError::NoOutput { expected, found: describe(&found) });
        };
        if view.shape.len() != rank {
            return Err(declared(view.name, view.shape).mismatch(expected));
        }
        let values = view.shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        if values != Some(view.data.len()) {
            let shape = Shape(&declared(view.name, view.shape)).to_string();
            return Err(DecodeError::Values { output: name.to_owned(), shape, found: view.data.len() });
        }
        Ok(Self { name: view.name, dims: view.shape, data: view.data })
    }

    /// The dimension of `axis`; zero beyond the rank.
    pub(super) fn dim(&self, axis: usize) -> usize {
        self.dims.get(axis).copied().unwrap_or(0)
    }

    pub(super) fn data(&self) -> &'a [f32] {
        self.data
    }

    /// The values of one image of the batch.
    pub(super) fn image(&self, image: usize) -> &'a [f32] {
        match self.data.len().checked_div(self.dim(0)) {
            Some(len) => row(self.data, len, image),
            None => &[],
        }
    }

    pub(super) fn mismatch(&self, expected: impl fmt::Display) -> DecodeError {
        declared(self.name, self.dims).mismatch(expected)
    }

    /// Refuses more classes than there are names for: open dimensions are not known before the run.
    pub(super) fn check_classes(&self, classes: usize, params: &Params) -> Result<(), DecodeError> {
        match params.classes {
            Some(names) if classes > names => {
                Err(self.mismatch(format!("rows of {names} classes, the number of labels,")))
            }
            _ => Ok(()),
        }
    }

    /// This output of one image, for errors.
    pub(super) fn site(&self, image: usize) -> Site<'a> {
        Site { output: self.name, image }
    }
}

fn declared(name: &str, dims: &[usize]) -> OutputShape {
    OutputShape { name: name.to_owned(), dims: dims.iter().copied().map(Some).collect() }
}

/// The `index`th row of `len` values; empty beyond the end.
pub(super) fn row(data: &[f32], len: usize, index: usize) -> &[f32] {
    let start = index.saturating_mul(len);
    data.get(start..start.saturating_add(len)).unwrap_or_default()
}

/// The values at `from..from + COUNT` of a row; NaN beyond its end, which no decoder lets pass.
pub(super) fn values<const COUNT: usize>(row: &[f32], from: usize) -> [f32; COUNT] {
    std::array::from_fn(|i| row.get(from + i).copied().unwrap_or(f32::NAN))
}

/// Whether all of a row's values are finite.
pub(super) fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// Where a value stands, for errors.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    /// Name of the output.
    pub(super) output: &'a str,
    /// Slot of the image in the batch.
    pub(super) image: usize,
}

impl Site<'_> {
    pub(super) fn non_finite(&self) -> DecodeError {
        DecodeError::NonFinite { output: self.output.to_owned(), image: self.image }
    }
}
