//! A model in ONNX Runtime.
//!
//! Everything here runs on an engine's worker. Results are copied out of the session before the run
//! returns: a value of `ort` keeps the session alive, and the next run may overwrite it.

use super::bound::{Bindings, HostMemory};
use super::describe::{Context, InputSpec, Signature, describe};
use super::engine::EngineOptions;
use super::error::InferError;
use super::external::{self, Fault};
use super::library::{self, LibraryRequest, Runtime};
use super::model::{Batch, ElementType, Layout, ModelDescription, OutputDescription};
use super::opening::{How, open_engine};
use super::placement::{self, ProfileFolder};
use super::provider::{Profile, Provider};
use super::sidecar::{Sidecar, read_labels};
use super::tensor::{Input, InputData, MAX_TENSOR_BYTES, OutputTensor, Outputs, Pool};
use super::tuning::Optimization;
use super::worker::{Backend, Loaded, Purpose};
use half::f16;
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};
use std::path::Path;

pub(super) use super::opening::open;

/// Loads the model that `options` name.
///
/// # Errors
///
/// Whatever of [`InferError`] is in the way.
pub(super) fn load(options: &EngineOptions) -> Result<Loaded, InferError> {
    let path = options.model.as_path();
    let weights = external::check(path).map_err(|fault| match fault {
        Fault::Unreadable(detail) => InferError::ModelUnreadable { path: path.to_path_buf(), detail },
        Fault::Outside(detail) => InferError::ModelUnsupported { detail },
    })?;
    let sidecar = Sidecar::of(path)?;
    let labels = options.labels.as_deref().map(read_labels).transpose()?;
    let request =
        LibraryRequest { explicit: options.library.as_deref(), beside: options.library_beside.as_deref() };
    let runtime = library::runtime(request)?;
    // Before anything is read or built for it.
    options.provider.check()?;
    let context = Context {
        name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
        labels,
        provider: options.provider.name().to_owned(),
        runtime_version: runtime.version().to_owned(),
    };
    let plan = plan(runtime, options, &sidecar, &context)?;
    let profile_folder = (options.provider != Provider::Cpu).then(ProfileFolder::new).flatten();
    let how = How { profile: plan.as_ref(), trace: profile_folder.as_ref() };
    let (mut session, cache) = open_engine(runtime, options, &weights, how)?;
    let mut model = describe(signature(&session), sidecar, context)?;
    model.opened.cache = cache;
    if plan.is_some() {
        model.opened.limit = usize::try_from(options.tuning.profile_batch).ok();
    }
    let bindings = options
        .provider
        .is_bound()
        .then(|| Bindings::new(&model, input_name(&session), HostMemory::for_cuda(options.device_id)));
    if let Some(folder) = profile_folder {
        model.opened.placement = placement(&mut session, &model, options.provider, folder)?;
    }
    let backend = backend(&model, session, bindings);
    Ok((model, backend))
}

/// What runs the session: through bound memory, or through the tensors as they come.
pub(super) fn backend(
    model: &ModelDescription,
    session: Session,
    bindings: Option<Bindings>,
) -> Box<dyn Backend> {
    Box::new(OrtBackend { bindings, session, shape: row_shape(model) })
}

/// The shapes TensorRT builds its engine for. It must be told before there is a session, so the input is looked up in
/// one that does nothing.
fn plan(
    runtime: &Runtime,
    options: &EngineOptions,
    sidecar: &Sidecar,
    context: &Context,
) -> Result<Option<Profile>, InferError> {
    if options.provider != Provider::TensorRt {
        return Ok(None);
    }
    let mut look = options.clone();
    look.provider = Provider::Cpu;
    look.tuning.optimization = Optimization::Disabled;
    let session = open(runtime, &look)?;
    let model = describe(signature(&session), sidecar.clone(), context.clone())?;
    let largest = usize::try_from(options.tuning.profile_batch).unwrap_or(1);
    Ok((model.batch == Batch::Dynamic).then(|| Profile::new(&model, largest)))
}

/// Where the nodes run: one black image is run for that, under the runtime's profiler.
pub(super) fn placement(
    session: &mut Session,
    model: &ModelDescription,
    provider: Provider,
    folder: ProfileFolder,
) -> Result<Vec<(String, u32)>, InferError> {
    let input = Pool::default().input(model, 1)?;
    let ran = view(&input.data, row_shape(model)).and_then(|tensor| session.run([tensor]).map(drop));
    let file = session.end_profiling();
    // A model that fails on black images may still be of use; the warm-up says what is wrong.
    let (Ok(()), Ok(file)) = (ran, file) else { return Ok(Vec::new()) };
    let placement = placement::read(Path::new(&file)).unwrap_or_default();
    drop(folder);
    let nodes: u32 = placement.iter().map(|(_, nodes)| nodes).sum();
    if nodes > 0 && !placement.iter().any(|(name, _)| name == provider.name()) {
        return Err(provider.unavailable(&format!("it took none of the model's {nodes} nodes")));
    }
    Ok(placement)
}

fn signature(session: &Session) -> Signature {
    let metadata = session.metadata().ok();
    let custom = |key: &str| metadata.as_ref().and_then(|metadata| metadata.custom(key));
    let output =
        |outlet: &Outlet| OutputDescription { name: outlet.name().to_owned(), dims: dims(outlet.dtype()) };
    Signature {
        inputs: session.inputs().iter().map(input_spec).collect(),
        outputs: session.outputs().iter().map(output).collect(),
        names: custom("names"),
        stride: custom("stride"),
        task: custom("task"),
        imgsz: custom("imgsz"),
    }
}

fn input_spec(outlet: &Outlet) -> InputSpec {
    let element = match outlet.dtype().tensor_type() {
        Some(TensorElementType::Float32) => Some(ElementType::F32),
        Some(TensorElementType::Float16) => Some(ElementType::F16),
        Some(TensorElementType::Uint8) => Some(ElementType::U8),
        _ => None,
    };
    let type_name = element.map_or_else(|| outlet.dtype().to_string(), |element| element.to_string());
    InputSpec { name: outlet.name().to_owned(), element, type_name, dims: dims(outlet.dtype()) }
}

/// Open dimensions are negative in ONNX Runtime.
fn dims(value: &ValueType) -> Vec<Option<usize>> {
    let shape = value.tensor_shape();
    shape.into_iter().flat_map(|shape| shape.iter()).map(|dim| usize::try_from(*dim).ok()).collect()
}

/// The three dimensions after the first.
fn row_shape(model: &ModelDescription) -> [i64; 3] {
    let (width, height) = (i64::from(model.size.width), i64::from(model.size.height));
    match model.layout {
        Layout::Nchw => [3, height, width],
        Layout::Nhwc => [height, width, 3],
    }
}

/// Fields are dropped in this order: what is bound belongs to the session.
struct OrtBackend {
    bindings: Option<Bindings>,
    session: Session,
    shape: [i64; 3],
}

impl Backend for OrtBackend {
    fn run(&mut self, input: &Input, purpose: Purpose, outputs: &mut Outputs) -> Result<(), InferError> {
        let failed = |error: ort::Error| InferError::Run { detail: error.to_string() };
        let Some(bindings) = &mut self.bindings else {
            let tensor = view(&input.data, self.shape).map_err(failed)?;
            return copy_all(&self.session.run([tensor]).map_err(failed)?, outputs);
        };
        let ran = bindings.run(&mut self.session, input, purpose, self.shape).map_err(failed)?;
        copy_all(&ran.results, outputs)?;
        if let Some(size) = ran.padded_to {
            let rows = input.data.len() / row_len(self.shape).max(1);
            let padded = outputs.tensors.iter_mut().filter(|tensor| tensor.shape.first() == Some(&size));
            padded.for_each(|tensor| tensor.keep_rows(rows));
        }
        Ok(())
    }
}

fn copy_all(results: &SessionOutputs<'_>, outputs: &mut Outputs) -> Result<(), InferError> {
    outputs.tensors.resize_with(results.len(), OutputTensor::default);
    for ((name, value), output) in results.iter().zip(&mut outputs.tensors) {
        name.clone_into(&mut output.name);
        copy(&value, output)?;
    }
    Ok(())
}

fn input_name(session: &Session) -> String {
    session.inputs().first().map(|input| input.name().to_owned()).unwrap_or_default()
}

/// Elements in a row of that shape.
fn row_len([a, b, c]: [i64; 3]) -> usize {
    usize::try_from(a * b * c).unwrap_or_default()
}

fn view(data: &InputData, [a, b, c]: [i64; 3]) -> ort::Result<SessionInputValue<'_>> {
    fn view<T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
        data: &[T],
        [a, b, c]: [i64; 3],
        row_len: usize,
    ) -> ort::Result<TensorRef<'_, T>> {
        // A remainder is refused by `ort`, which compares the shape with the length.
        let rows = i64::try_from(data.len() / row_len.max(1)).unwrap_or_default();
        TensorRef::from_array_view(([rows, a, b, c], data))
    }
    let shape = [a, b, c];
    let row_len = row_len(shape);
    Ok(match data {
        InputData::F32(data) => view(data, shape, row_len)?.into(),
        InputData::F16(data) => view(data, shape, row_len)?.into(),
        InputData::U8(data) => view(data, shape, row_len)?.into(),
    })
}

/// Copies one output as floats.
fn copy(value: &DynValue, output: &mut OutputTensor) -> Result<(), InferError> {
    let copied = match value.dtype().tensor_type() {
        Some(TensorElementType::Float32) => copy_as(value, output, |x: f32| x),
        Some(TensorElementType::Float16) => copy_as(value, output, f16::to_f32),
        Some(TensorElementType::Float64) => copy_as(value, output, |x: f64| x as f32),
        Some(TensorElementType::Int64) => copy_as(value, output, |x: i64| x as f32),
        Some(TensorElementType::Int32) => copy_as(value, output, |x: i32| x as f32),
        Some(TensorElementType::Uint8) => copy_as(value, output, |x: u8| f32::from(x)),
        Some(TensorElementType::Bool) => copy_as(value, output, |x: bool| f32::from(u8::from(x))),
        _ => {
            Err(format!("expected a tensor of f32, f16, f64, i64, i32, u8 or bool, found {}", value.dtype()))
        }
    };
    copied.map_err(|detail| InferError::Outputs { name: output.name.clone(), detail })
}

fn copy_as<T: PrimitiveTensorElementType + Copy>(
    value: &DynValue,
    output: &mut OutputTensor,
    convert: impl Fn(T) -> f32,
) -> Result<(), String> {
    let (shape, data) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
    output.shape.clear();
    output.shape.extend(shape.iter().filter_map(|dim| usize::try_from(*dim).ok()));
    let expected = output.shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
    if output.shape.len() != shape.len() || expected != Some(data.len()) {
        return Err(format!("expected a shape of {} elements, found {shape:?}", data.len()));
    }
    if data.len() > MAX_TENSOR_BYTES / size_of::<f32>() {
        return Err(format!("expected at most {MAX_TENSOR_BYTES} bytes, found {} floats", data.len()));
    }
    output.data.clear();
    output.data.extend(data.iter().map(|x| convert(*x)));
    Ok(())
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
