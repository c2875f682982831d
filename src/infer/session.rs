//! A model in ONNX Runtime.
//!
//! Everything here runs on an engine's worker. Results are copied out of the session before the run
//! returns: a value of `ort` keeps the session alive, and the next run may overwrite it.

use super::describe::{Context, InputSpec, Signature, describe};
use super::engine::EngineOptions;
use super::error::InferError;
use super::external::{self, Fault};
use super::identity;
use super::library::{self, LibraryRequest, Runtime};
use super::model::{ElementType, Layout, ModelDescription, OutputDescription};
use super::sidecar::{Sidecar, read_labels};
use super::tensor::{Input, InputData, MAX_TENSOR_BYTES, OutputTensor, Outputs};
use super::worker::{Backend, Loaded, Purpose};
use half::f16;
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};
use std::path::Path;

/// Loads the model that `options` name.
///
/// # Errors
///
/// Whatever of [`InferError`] is in the way.
pub(super) fn load(options: &EngineOptions) -> Result<Loaded, InferError> {
    let path = options.model.as_path();
    external::check(path).map_err(|fault| match fault {
        Fault::Unreadable(detail) => InferError::ModelUnreadable { path: path.to_path_buf(), detail },
        Fault::Outside(detail) => InferError::ModelUnsupported { detail },
    })?;
    let sidecar = Sidecar::of(path)?;
    let labels = options.labels.as_deref().map(read_labels).transpose()?;
    let request =
        LibraryRequest { explicit: options.library.as_deref(), beside: options.library_beside.as_deref() };
    let runtime = library::runtime(request)?;
    let session = open(runtime, options)?;
    let context = Context {
        name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
        labels,
        provider: options.provider.name().to_owned(),
        runtime_version: runtime.version().to_owned(),
    };
    let model = describe(signature(&session), sidecar, context)?;
    let backend = OrtBackend { session, shape: row_shape(&model) };
    Ok((model, Box::new(backend)))
}

/// Makes the session. The options are those of a machine that is shared with decoders and encoders:
/// threads that sleep when there is nothing to do, and no more of them than the process may use.
fn open(runtime: &Runtime, options: &EngineOptions) -> Result<Session, InferError> {
    let builder = Session::builder(&runtime.environment).map_err(|error| settings(&error))?;
    let builder = configure(builder, options).map_err(|error| settings(&error))?;
    let mut builder = options.provider.register(builder)?;
    builder.commit_from_file(&options.model).map_err(|error| refused(&options.model, &error))
}

fn configure(builder: SessionBuilder, options: &EngineOptions) -> ort::Result<SessionBuilder> {
    let builder = builder
        .with_log_level(LogLevel::Fatal)?
        .with_no_environment_execution_providers()?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_parallel_execution(false)?
        .with_intra_threads(identity::threads(options.threads))?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // A pattern is learnt per input shape and batches come in many sizes. Whether this model's N is
        // fixed is known only once the session exists, so it is off for all.
        .with_memory_pattern(false)?;
    Ok(builder)
}

fn settings(error: &ort::Error) -> InferError {
    InferError::Settings { detail: format!("ONNX Runtime refused a session option: {error}") }
}

/// Why the runtime would not have the model: the file's fault or the graph's.
fn refused(path: &Path, error: &ort::Error) -> InferError {
    use ort::ErrorCode as Code;
    let detail = error.to_string();
    match error.code() {
        Code::InvalidGraph
        | Code::NotImplemented
        | Code::InvalidArgument
        | Code::ExecutionProviderFailure => InferError::ModelUnsupported { detail },
        _ => InferError::ModelUnreadable { path: path.to_path_buf(), detail },
    }
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

struct OrtBackend {
    session: Session,
    shape: [i64; 3],
}

impl Backend for OrtBackend {
    fn run(&mut self, input: &Input, _: Purpose, outputs: &mut Outputs) -> Result<(), InferError> {
        let failed = |error: ort::Error| InferError::Run { detail: error.to_string() };
        let tensor = view(&input.data, self.shape).map_err(failed)?;
        let results = self.session.run([tensor]).map_err(failed)?;
        outputs.tensors.resize_with(results.len(), OutputTensor::default);
        for ((name, value), output) in results.iter().zip(&mut outputs.tensors) {
            name.clone_into(&mut output.name);
            copy(&value, output)?;
        }
        Ok(())
    }
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
    let row_len = usize::try_from(a * b * c).unwrap_or_default();
    let shape = [a, b, c];
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
