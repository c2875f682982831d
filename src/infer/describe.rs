//! Makes a [`ModelDescription`] of what the model says, what the sidecar adds, and the defaults.
//!
//! Pure: the signature and the metadata come as values, so every refusal is tested without a runtime.

use super::error::InferError;
use super::model::{Batch, ChannelOrder, ElementType, Layout, ModelDescription, Opened, OutputDescription};
use super::sidecar::{InputSection, Sidecar};
use super::tensor;
use crate::vision::Size;
use crate::vision::labels;

/// The border that detectors of the YOLO family are trained with.
const PAD: u8 = 114;

/// One declared input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct InputSpec {
    pub(super) name: String,
    /// `None` for a type no image can have; `type_name` names it.
    pub(super) element: Option<ElementType>,
    pub(super) type_name: String,
    /// `None` is a dimension left open.
    pub(super) dims: Vec<Option<usize>>,
}

/// What a model file says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Signature {
    pub(super) inputs: Vec<InputSpec>,
    pub(super) outputs: Vec<OutputDescription>,
    pub(super) names: Option<String>,
    pub(super) stride: Option<String>,
    pub(super) task: Option<String>,
    pub(super) imgsz: Option<String>,
}

/// What is known from elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Context {
    pub(super) name: String,
    /// Labels the user asked for; they come before all others.
    pub(super) labels: Option<Vec<String>>,
    pub(super) provider: String,
    pub(super) runtime_version: String,
}

/// Describes the model, or says why it cannot be used.
///
/// # Errors
///
/// [`InferError::ModelUnsupported`], with what was expected and found.
pub(super) fn describe(
    signature: Signature,
    sidecar: Sidecar,
    context: Context,
) -> Result<ModelDescription, InferError> {
    let input = image_input(&signature.inputs)?;
    let Some(element) = input.element else { return Err(refuse(input, "f32, f16 or u8 elements")) };
    let layout = layout(input, sidecar.input.layout)?;
    let (batch, height, width) = dimensions(input, layout)?;
    let open = width.is_none() || height.is_none();
    let wanted = wanted_size(&sidecar.input, signature.imgsz.as_deref().filter(|_| open))?;
    let size = size(input, width, height, wanted)?;
    let (mean, std) = normalisation(element, &sidecar.input)?;
    if signature.outputs.is_empty() {
        return Err(unsupported("expected at least one output, found none".to_owned()));
    }
    let names = signature.names.as_deref();
    let labels = match (context.labels, sidecar.output.names) {
        (Some(labels), _) | (None, Some(labels)) => Some(labels),
        // A dictionary nobody can read is no reason to refuse the model: the classes stay nameless.
        (None, None) => names.and_then(|names| labels::from_metadata(names).ok()),
    };
    Ok(ModelDescription {
        name: context.name,
        input: input.name.clone(),
        layout,
        element,
        batch,
        size,
        row_len: tensor::row_len(size.width, size.height, element)?,
        order: sidecar.input.order.unwrap_or(ChannelOrder::Rgb),
        mean,
        std,
        pad: sidecar.input.pad.unwrap_or(PAD),
        outputs: signature.outputs,
        decoder: sidecar.output.decoder,
        task: signature.task,
        stride: signature.stride.and_then(|stride| stride.trim().parse().ok()),
        labels,
        score_threshold: sidecar.output.score_threshold,
        iou_threshold: sidecar.output.iou_threshold,
        provider: context.provider,
        runtime_version: context.runtime_version,
        opened: Opened::default(),
    })
}

fn unsupported(detail: String) -> InferError {
    InferError::ModelUnsupported { detail }
}

/// Says what was found in place of `expected`.
fn refuse(input: &InputSpec, expected: &str) -> InferError {
    let dims: Vec<_> =
        input.dims.iter().map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string())).collect();
    unsupported(format!(
        "input \"{}\": expected {expected}, found [{}] {}",
        input.name,
        dims.join(", "),
        input.type_name
    ))
}

fn image_input(inputs: &[InputSpec]) -> Result<&InputSpec, InferError> {
    match inputs {
        [input] if input.dims.len() == 4 => Ok(input),
        [input] => Err(refuse(input, "an image, [N, 3, H, W] or [N, H, W, 3]")),
        _ => {
            let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
            Err(unsupported(format!(
                "expected exactly one input, an image, found {}: {}",
                inputs.len(),
                names.join(", ")
            )))
        }
    }
}

/// The layout by the dimension that is 3, or by what the sidecar says if that fits.
fn layout(input: &InputSpec, said: Option<Layout>) -> Result<Layout, InferError> {
    let channels = |at: usize| input.dims.get(at).copied().flatten();
    let fits = |at: usize| channels(at).is_none_or(|channels| channels == 3);
    match said {
        Some(Layout::Nchw) if fits(1) => Ok(Layout::Nchw),
        Some(Layout::Nhwc) if fits(3) => Ok(Layout::Nhwc),
        Some(Layout::Nchw) => Err(refuse(input, "[N, 3, H, W] (the sidecar says nchw)")),
        Some(Layout::Nhwc) => Err(refuse(input, "[N, H, W, 3] (the sidecar says nhwc)")),
        None if channels(1) == Some(3) => Ok(Layout::Nchw),
        None if channels(3) == Some(3) => Ok(Layout::Nhwc),
        None => Err(refuse(input, "an image of three channels, [N, 3, H, W] or [N, H, W, 3]")),
    }
}

/// Batch, height and width as the model fixes them.
fn dimensions(
    input: &InputSpec,
    layout: Layout,
) -> Result<(Batch, Option<usize>, Option<usize>), InferError> {
    let dim = |at: usize| input.dims.get(at).copied().flatten();
    if input.dims.contains(&Some(0)) {
        return Err(refuse(input, "dimensions above 0"));
    }
    let (height, width) = match layout {
        Layout::Nchw => (dim(2), dim(3)),
        Layout::Nhwc => (dim(1), dim(2)),
    };
    Ok((dim(0).map_or(Batch::Dynamic, Batch::Fixed), height, width))
}

/// The size the sidecar asks for, or else the metadata.
fn wanted_size(sidecar: &InputSection, imgsz: Option<&str>) -> Result<Option<Size>, InferError> {
    if let Some([width, height]) = sidecar.size {
        return Ok(Some(Size::new(width, height)));
    }
    imgsz.map(image_size).transpose()
}

/// `imgsz` as exporters write it: `[height, width]`, or one number for both.
fn image_size(text: &str) -> Result<Size, InferError> {
    let inner = text.trim().trim_start_matches(['[', '(']).trim_end_matches([']', ')']);
    let sides: Result<Vec<u32>, _> = inner.split(',').map(|side| side.trim().parse()).collect();
    match sides.as_deref() {
        Ok(&[side]) if side > 0 => Ok(Size::new(side, side)),
        Ok(&[height, width]) if height > 0 && width > 0 => Ok(Size::new(width, height)),
        _ => Err(unsupported(format!("metadata imgsz: expected [height, width], found {text:.40}"))),
    }
}

fn size(
    input: &InputSpec,
    width: Option<usize>,
    height: Option<usize>,
    wanted: Option<Size>,
) -> Result<Size, InferError> {
    let side = |fixed: Option<usize>, wanted: Option<u32>, what: &str| match (fixed, wanted) {
        (Some(fixed), Some(wanted)) if u32::try_from(fixed) != Ok(wanted) => {
            Err(refuse(input, &format!("{what} {wanted} (as the sidecar or the metadata say)")))
        }
        (Some(fixed), _) => {
            u32::try_from(fixed).map_err(|_| refuse(input, &format!("a {what} of at most {}", u32::MAX)))
        }
        (None, Some(wanted)) => Ok(wanted),
        (None, None) => Err(refuse(
            input,
            &format!("a fixed {what} (or `size = [width, height]` in section [input] of the model's .toml)"),
        )),
    };
    Ok(Size::new(
        side(width, wanted.map(|wanted| wanted.width), "width")?,
        side(height, wanted.map(|wanted| wanted.height), "height")?,
    ))
}

fn normalisation(element: ElementType, sidecar: &InputSection) -> Result<([f32; 3], [f32; 3]), InferError> {
    let default_std = if element == ElementType::U8 { 1.0 } else { 255.0 };
    let mean = sidecar.mean.unwrap_or([0.0; 3]);
    // A mean without a deviation is subtracted from raw values, as a deviation without a mean divides them.
    let std = sidecar.std.unwrap_or([if sidecar.mean.is_some() { 1.0 } else { default_std }; 3]);
    if element == ElementType::U8 && (mean != [0.0; 3] || std != [1.0; 3]) {
        return Err(unsupported(format!(
            "expected no mean and std for a u8 input, found mean {mean:?} std {std:?} in the sidecar"
        )));
    }
    Ok((mean, std))
}

#[cfg(test)]
#[path = "describe_tests.rs"]
mod tests;
