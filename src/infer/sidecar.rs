//! The sidecar: what a model file does not say about itself.
//!
//! `model.toml` beside `model.onnx`. Every key is optional, an unknown one is an error that names it:
//! a misspelt key must not silently mean the default.
//!
//! ```toml
//! [input]
//! layout = "nchw"                # "nchw" or "nhwc"; needed only if the shape does not tell
//! order = "rgb"                  # "rgb" (default) or "bgr"
//! mean = [0.0, 0.0, 0.0]         # subtracted, then divided by `std`, per channel in the order of
//! std = [255.0, 255.0, 255.0]    # `order`, in units of 0..255; default: 0..1 for floats, raw for u8
//! size = [640, 640]              # width, height; needed if the model's are dynamic
//! pad = 114                      # grey of the letterbox's border, 0..255
//!
//! [output]
//! decoder = "yolov8"             # default: chosen by the outputs' shapes
//! labels = "coco80.txt"          # one a line; relative to the sidecar and inside its folder
//! names = ["face"]               # the same, written here; not both
//! score-threshold = 0.4          # 0..1
//! iou-threshold = 0.5            # 0..1
//! ```
//!
//! Whoever may write the sidecar may choose what the model is fed, not which files are read: the labels
//! must lie in the sidecar's folder, links followed.

use super::error::InferError;
use super::model::{ChannelOrder, Layout};
use crate::vision::labels;
use serde::Deserialize;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// A sidecar or a labels file larger than this is a mistake.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// The largest side of an input image. 16384 x 16384 of u8 is within the limit on a tensor.
const MAX_SIDE: u32 = 16_384;

/// A sidecar, read and checked. Empty without a file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sidecar {
    pub(super) input: InputSection,
    pub(super) output: OutputSection,
}

/// The section `[input]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct InputSection {
    pub(super) layout: Option<Layout>,
    pub(super) order: Option<ChannelOrder>,
    pub(super) mean: Option<[f32; 3]>,
    pub(super) std: Option<[f32; 3]>,
    pub(super) size: Option<[u32; 2]>,
    pub(super) pad: Option<u8>,
}

/// The section `[output]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct OutputSection {
    pub(super) decoder: Option<String>,
    /// Read and moved to `names` by [`Sidecar::of`].
    pub(super) labels: Option<PathBuf>,
    pub(super) names: Option<Vec<String>>,
    pub(super) score_threshold: Option<f32>,
    pub(super) iou_threshold: Option<f32>,
}

/// Where the sidecar of `model` is, if there is one.
pub(super) fn path_for(model: &Path) -> Option<PathBuf> {
    let path = model.with_extension("toml");
    // A model called `x.toml` is not its own sidecar.
    (path != model && path.exists()).then_some(path)
}

impl Sidecar {
    /// Reads the sidecar of `model`; the default if it has none. Labels it points to come as `names`.
    ///
    /// # Errors
    ///
    /// [`InferError::Sidecar`], with what was expected and found.
    pub(super) fn of(model: &Path) -> Result<Self, InferError> {
        let Some(path) = path_for(model) else { return Ok(Self::default()) };
        let fault = |detail: String| InferError::Sidecar { path: path.clone(), detail };
        let text = read_text(&path)?;
        let mut sidecar = Self::parse(&text).map_err(fault)?;
        if let Some(file) = sidecar.output.labels.take() {
            let file = inside(&path, &file).map_err(|detail| fault(format!("output.labels: {detail}")))?;
            sidecar.output.names = Some(read_labels(&file)?);
        }
        Ok(sidecar)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let sidecar: Self = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map(|span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            format!("{line}{}", error.message().trim())
        })?;
        sidecar.check()?;
        Ok(sidecar)
    }

    fn check(&self) -> Result<(), String> {
        let Self { input, output } = self;
        if let Some(mean) = input.mean.filter(|mean| !mean.iter().all(|m| m.is_finite())) {
            return Err(format!("input.mean: expected three finite numbers, found {mean:?}"));
        }
        if let Some(std) = input.std.filter(|std| !std.iter().all(|s| s.is_finite() && *s > 0.0)) {
            return Err(format!("input.std: expected three finite numbers above 0, found {std:?}"));
        }
        if let Some(size) = input.size.filter(|size| !size.iter().all(|side| (1..=MAX_SIDE).contains(side))) {
            return Err(format!("input.size: expected width and height of 1 to {MAX_SIDE}, found {size:?}"));
        }
        let thresholds =
            [("score-threshold", output.score_threshold), ("iou-threshold", output.iou_threshold)];
        for (key, value) in thresholds {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(format!("output.{key}: expected 0 to 1, found {value}"));
            }
        }
        if output.labels.is_some() && output.names.is_some() {
            return Err("output: expected labels or names, found both".to_owned());
        }
        Ok(())
    }
}

/// The file `name`, seen from the folder that `beside` is in, if it lies in that folder, links followed.
///
/// # Errors
///
/// What was expected and found, as a text.
pub(super) fn inside(beside: &Path, name: &Path) -> Result<PathBuf, String> {
    let found = name.display();
    if !name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(format!("expected a file inside its own folder, found {found}"));
    }
    let folder = beside.parent().unwrap_or(Path::new(""));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let missing = |error: std::io::Error| format!("{found}: {error}");
    let file = folder.join(name).canonicalize().map_err(missing)?;
    if !file.starts_with(folder.canonicalize().map_err(missing)?) {
        return Err(format!("expected a file inside its own folder, found {found}, a link out of it"));
    }
    Ok(file)
}

/// Reads a labels file.
///
/// # Errors
///
/// [`InferError::Sidecar`] with the file's path.
pub(super) fn read_labels(path: &Path) -> Result<Vec<String>, InferError> {
    let text = read_text(path)?;
    labels::from_lines(text.as_bytes())
        .map_err(|error| InferError::Sidecar { path: path.to_path_buf(), detail: format!("{error}") })
}

fn read_text(path: &Path) -> Result<String, InferError> {
    let fault = |detail: String| InferError::Sidecar { path: path.to_path_buf(), detail };
    let metadata = path.metadata().map_err(|error| fault(error.to_string()))?;
    if !metadata.is_file() {
        return Err(fault("expected a text file, found a folder or a device".to_owned()));
    }
    let file = File::open(path).map_err(|error| fault(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fault(error.to_string()))?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(fault(format!("expected at most {MAX_TEXT_BYTES} bytes, found more")));
    }
    String::from_utf8(bytes).map_err(|_| fault("expected UTF-8 text, found other bytes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_key_is_read() {
        let text = "[input]\nlayout = \"nhwc\"\norder = \"bgr\"\nmean = [1.0, 2.0, 3.0]\nstd = [4.0, 5, 6.0]\n\
            size = [320, 240]\npad = 0\n[output]\ndecoder = \"yolov8\"\nlabels = \"l.txt\"\n\
            score-threshold = 0.3\niou-threshold = 0.6\n";
        let sidecar = Sidecar::parse(text).unwrap();
        assert_eq!(sidecar.input.layout, Some(Layout::Nhwc));
        assert_eq!(sidecar.input.order, Some(ChannelOrder::Bgr));
        assert_eq!(sidecar.input.mean, Some([1.0, 2.0, 3.0]));
        assert_eq!(sidecar.input.std, Some([4.0, 5.0, 6.0]));
        assert_eq!(sidecar.input.size, Some([320, 240]));
        assert_eq!(sidecar.input.pad, Some(0));
        assert_eq!(sidecar.output.decoder.as_deref(), Some("yolov8"));
        assert_eq!(sidecar.output.labels.as_deref(), Some(Path::new("l.txt")));
        assert_eq!(sidecar.output.score_threshold, Some(0.3));
        assert_eq!(sidecar.output.iou_threshold, Some(0.6));
    }

    #[test]
    fn an_empty_sidecar_says_nothing() {
        assert_eq!(Sidecar::parse("").unwrap(), Sidecar::default());
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_key_and_line() {
        let error = Sidecar::parse("[input]\npad = 1\ncolour = \"rgb\"\n").unwrap_err();
        assert!(error.contains("line 3") && error.contains("colour"), "{error}");
        let error = Sidecar::parse("[outputs]\n").unwrap_err();
        assert!(error.contains("outputs"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_errors() {
        let wrong = [
            "[input]\nstd = [1.0, 0.0, 1.0]",
            "[input]\nmean = [nan, 0.0, 0.0]",
            "[input]\nmean = [1.0]",
            "[input]\nsize = [0, 640]",
            "[input]\nsize = [640, 99999]",
            "[input]\npad = 256",
            "[input]\nlayout = \"hwc\"",
            "[output]\nscore-threshold = 1.5",
            "[output]\niou-threshold = -0.1",
            "[output]\nlabels = \"a\"\nnames = [\"b\"]",
            "not toml",
        ];
        for text in wrong {
            assert!(Sidecar::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn labels_are_read_from_the_sidecars_folder() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        std::fs::write(folder.path().join("m.toml"), "[output]\nlabels = \"l.txt\"\n").unwrap();
        std::fs::write(folder.path().join("l.txt"), "a\nb\n").unwrap();
        assert_eq!(Sidecar::of(&model).unwrap().output.names.unwrap(), ["a", "b"]);
    }

    #[test]
    fn labels_outside_the_sidecars_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (model, sidecar) = (folder.path().join("m.onnx"), folder.path().join("m.toml"));
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.txt")).unwrap();
        for labels in ["../l.txt", "/etc/passwd", "link.txt", "a/../../l.txt"] {
            std::fs::write(&sidecar, format!("[output]\nlabels = \"{labels}\"\n")).unwrap();
            let error = Sidecar::of(&model).unwrap_err();
            assert!(matches!(error, InferError::Sidecar { .. }), "{error}");
            assert!(error.to_string().contains("inside its own folder"), "{error}");
        }
    }

    #[test]
    fn a_sidecar_that_is_no_text_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (model, sidecar) = (folder.path().join("m.onnx"), folder.path().join("m.toml"));
        std::fs::create_dir(&sidecar).unwrap();
        assert!(Sidecar::of(&model).is_err());
        std::fs::remove_dir(&sidecar).unwrap();
        std::fs::write(&sidecar, [0xff, 0xfe]).unwrap();
        assert!(Sidecar::of(&model).unwrap_err().to_string().contains("UTF-8"));
        std::fs::write(&sidecar, vec![b'#'; 2 << 20]).unwrap();
        assert!(Sidecar::of(&model).unwrap_err().to_string().contains("at most"));
    }
}
