//! Picking a layout from what a model declares.
//!
//! Several outputs tell by their ranks, channels and names. A single one of rank 3 is read like this, where
//! *cells* is the number of cells of the strides 8, 16 and 32 for the model's image:
//!
//! 1. If the number of class names is known and only one layout agrees with it and the anchors, that one.
//! 2. Otherwise by the anchors: three per cell (or per cell with stride 64) is `yolov5`; one per cell in rows
//!    is `nanodet` or `yolov8` if the row is exactly that of 80 classes, else `yolox`; anchors last is
//!    `yolov8`; rows of six that match none of these are finished detections, `nms`.
//!
//! Shapes alone cannot tell everything: a model that still is read wrongly needs its decoder named.

use super::centerface::CenterFace;
use super::classifier::Classifier;
use super::detr::Detr;
use super::grid::{Grid, STRIDES_3, STRIDES_4};
use super::ssd::Ssd;
use super::tensor::describe;
use super::{DecodeError, DecoderKind, OutputShape, Params};
use crate::vision::Size;

/// The classes of COCO, which most published models are trained on.
const COCO_CLASSES: usize = 80;

/// What is known of a model besides its outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The `task` in its metadata (`detect`, `classify`, …), if any.
    pub task: Option<String>,
    /// Number of class names in its metadata or labels file, if any.
    pub names: Option<usize>,
    /// Size of its input image in pixels; zero where it is open.
    pub model: Size,
}

/// The layout of a model that declares `outputs`.
///
/// # Errors
/// [`DecodeError::NoDecoder`], which lists what was found and what each layout needs, if none fits;
/// [`DecodeError::Task`] if the metadata says that boxes are not all the model finds.
pub fn choose(outputs: &[OutputShape], hints: &Hints) -> Result<DecoderKind, DecodeError> {
    if let Some(task @ ("segment" | "pose" | "obb")) = hints.task.as_deref() {
        return Err(DecodeError::Task { task: task.to_owned() });
    }
    if let Some("embedding" | "reid") = hints.task.as_deref() {
        return Ok(DecoderKind::Embedding);
    }
    several(outputs, hints).or_else(|| single(outputs, hints)).ok_or_else(|| DecodeError::NoDecoder {
        found: describe(outputs),
        needed: DecoderKind::ALL.map(|kind| format!("{kind}: {}", kind.layout())).join("; "),
    })
}

/// The layouts of more than one output.
fn several(outputs: &[OutputShape], hints: &Hints) -> Option<DecoderKind> {
    if outputs.len() < 2 {
        return None;
    }
    if CenterFace::by_channels(outputs).is_some() {
        return Some(DecoderKind::CenterFace);
    }
    if Ssd::bind(outputs).is_ok() {
        return Some(DecoderKind::Ssd);
    }
    // The numbers do not decide whether the outputs are DETR's; they are here for `bind`'s sake.
    let params = Params {
        score_threshold: 0.0,
        iou_threshold: 0.0,
        max_detections: 0,
        model: hints.model,
        classes: hints.names,
    };
    Detr::bind(outputs, &params).is_ok().then_some(DecoderKind::Detr)
}

/// The layouts of one output; beside it, YOLOv5's raw heads (rank 5) do not matter.
fn single(outputs: &[OutputShape], hints: &Hints) -> Option<DecoderKind> {
    let mut others = outputs.iter().filter(|output| output.rank() != 5);
    let (Some(output), None) = (others.next(), others.next()) else { return None };
    match output.rank() {
        2 | 4 => flat(output, hints),
        3 => {
            let rows = Rows::of(output, hints);
            rows.by_names().or_else(|| rows.by_anchors())
        }
        _ => None,
    }
}

/// `[M, 7]` or a classifier. Seven columns are seven classes only if something says so: the task, as many
/// names, or a fixed number of rows, which in-graph suppression cannot have.
fn flat(output: &OutputShape, hints: &Hints) -> Option<DecoderKind> {
    let task = hints.task.as_deref();
    let classes = task == Some("classify")
        || task != Some("detect") && (hints.names == Some(7) || output.dim(0).is_some());
    if output.rank() == 2 && output.dim(1) == Some(7) && !classes {
        return Some(DecoderKind::Nms);
    }
    let declared = output.dim(1).is_some() || task == Some("classify");
    (declared && task != Some("detect") && Classifier::bind(std::slice::from_ref(output)).is_ok())
        .then_some(DecoderKind::Classifier)
}

/// `[N, a, b]` and what it is compared with.
struct Rows {
    a: Option<usize>,
    b: Option<usize>,
    names: Option<usize>,
    /// Whether `a` is the number of anchors of that layout.
    one_per_cell: bool,
    one_per_cell_of_four: bool,
    three_per_cell: bool,
    /// Whether `b` is the number of cells.
    cells_last: bool,
}

impl Rows {
    fn of(output: &OutputShape, hints: &Hints) -> Self {
        let [three, four] = [STRIDES_3, STRIDES_4].map(|strides| Grid::new(hints.model, strides).cells());
        let (a, b) = (output.dim(1), output.dim(2));
        let is = |dim: Option<usize>, cells: usize| cells > 0 && dim == Some(cells);
        Self {
            a,
            b,
            names: hints.names.filter(|&names| names > 0),
            one_per_cell: is(a, three),
            one_per_cell_of_four: is(a, four),
            three_per_cell: is(a, three.saturating_mul(3)) || is(a, four.saturating_mul(3)),
            cells_last: is(b, three),
        }
    }

    /// Whether rows of six are finished detections rather than anchors of one or two classes.
    fn finished(&self) -> bool {
        self.b == Some(6) && !self.one_per_cell && !self.three_per_cell
    }

    fn by_names(&self) -> Option<DecoderKind> {
        let names = self.names?;
        let with = |dim: Option<usize>, extra: usize| dim.is_some() && dim == names.checked_add(extra);
        let anchors_open = self.a.is_none();
        if self.finished() {
            None
        } else if with(self.a, 4) && !with(self.b, 4) {
            Some(DecoderKind::YoloV8)
        } else if with(self.b, 5) && !anchors_open {
            Some(if self.one_per_cell { DecoderKind::YoloX } else { DecoderKind::YoloV5 })
        } else if with(self.b, 4) {
            Some(DecoderKind::YoloV8)
        } else if with(self.b, 44) || with(self.b, 32) {
            let fits = self.one_per_cell || self.one_per_cell_of_four || anchors_open;
            fits.then_some(DecoderKind::NanoDet)
        } else {
            None
        }
    }

    fn by_anchors(&self) -> Option<DecoderKind> {
        let columns = self.b.unwrap_or(0);
        if self.finished() {
            Some(DecoderKind::Nms)
        } else if self.one_per_cell && columns > 4 {
            Some(match columns.checked_sub(COCO_CLASSES) {
                Some(32 | 44) => DecoderKind::NanoDet,
                Some(4) => DecoderKind::YoloV8,
                _ if columns > 5 => DecoderKind::YoloX,
                _ => DecoderKind::YoloV8,
            })
        } else if self.three_per_cell && columns > 5 {
            Some(DecoderKind::YoloV5)
        } else if self.one_per_cell_of_four && columns > 32 {
            Some(DecoderKind::NanoDet)
        } else if self.cells_last || self.anchors_last() {
            Some(DecoderKind::YoloV8)
        } else {
            None
        }
    }

    /// Whether `a` can be box and scores and `b` more anchors than that.
    fn anchors_last(&self) -> bool {
        self.a.is_some_and(|a| a > 4 && self.b.is_none_or(|b| b > a))
    }
}
