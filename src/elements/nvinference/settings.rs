//! What the user asks of the element.

use super::imp::NvInference;
use super::tuning::{ConvSearch, GraphOptimization, Precision};
use crate::elements::{lock, nvbatcher, shown};
use crate::infer;
use crate::meta::objects::MetaOptions;
use crate::meta::relation;
use crate::vision::decode::{DecoderChoice, DecoderKind};
use std::time::Duration;

/// How the model's outputs are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvInferenceDecoder")]
pub enum Decoder {
    /// Chosen by the model's metadata and the shapes of its outputs.
    #[default]
    #[enum_value(
        name = "Auto: chosen by the sidecar, the metadata and the shapes of the outputs",
        nick = "auto"
    )]
    Auto,
    /// YOLOv5 rows.
    #[enum_value(name = "YOLOv5: [N, anchors, 5 + classes]", nick = "yolov5")]
    YoloV5,
    /// YOLOv8 columns.
    #[enum_value(name = "YOLOv8 and later: [N, 4 + classes, anchors]", nick = "yolov8")]
    YoloV8,
    /// YOLOX grid.
    #[enum_value(name = "YOLOX: [N, cells, 5 + classes]", nick = "yolox")]
    YoloX,
    /// NanoDet head.
    #[enum_value(name = "NanoDet: [N, cells, classes + 4 distance distributions]", nick = "nanodet")]
    NanoDet,
    /// Rows after NMS in the graph.
    #[enum_value(name = "NMS in the graph: [M, 7] or [N, K, 6]", nick = "nms")]
    Nms,
    /// SSD.
    #[enum_value(name = "SSD: boxes, classes and scores", nick = "ssd")]
    Ssd,
    /// DETR.
    #[enum_value(name = "DETR: logits and boxes of queries", nick = "detr")]
    Detr,
    /// CenterFace.
    #[enum_value(name = "CenterFace: heat map, scale, offset and landmarks", nick = "centerface")]
    CenterFace,
    /// Classifier.
    #[enum_value(name = "Classifier: [N, classes]", nick = "classifier")]
    Classifier,
    /// Embedding.
    #[enum_value(name = "Embedding: [N, dims], a vector to compare objects by", nick = "embedding")]
    Embedding,
}

impl From<Decoder> for DecoderChoice {
    fn from(decoder: Decoder) -> Self {
        let kind = match decoder {
            Decoder::Auto => return Self::Auto,
            Decoder::YoloV5 => DecoderKind::YoloV5,
            Decoder::YoloV8 => DecoderKind::YoloV8,
            Decoder::YoloX => DecoderKind::YoloX,
            Decoder::NanoDet => DecoderKind::NanoDet,
            Decoder::Nms => DecoderKind::Nms,
            Decoder::Ssd => DecoderKind::Ssd,
            Decoder::Detr => DecoderKind::Detr,
            Decoder::CenterFace => DecoderKind::CenterFace,
            Decoder::Classifier => DecoderKind::Classifier,
            Decoder::Embedding => DecoderKind::Embedding,
        };
        Self::Fixed(kind)
    }
}

/// What runs the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvInferenceProvider")]
pub enum Provider {
    /// CPU.
    #[default]
    #[enum_value(name = "CPU", nick = "cpu")]
    Cpu,
    /// CUDA.
    #[enum_value(name = "NVIDIA CUDA", nick = "cuda")]
    Cuda,
    /// TensorRT.
    #[enum_value(name = "NVIDIA TensorRT", nick = "tensorrt")]
    TensorRt,
    /// OpenVINO.
    #[enum_value(name = "Intel OpenVINO", nick = "openvino")]
    OpenVino,
}

impl From<Provider> for infer::Provider {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Cpu => Self::Cpu,
            Provider::Cuda => Self::Cuda,
            Provider::TensorRt => Self::TensorRt,
            Provider::OpenVino => Self::OpenVino,
        }
    }
}

/// What happens to a frame that could not be inferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvInferenceOnError")]
pub enum OnError {
    /// It goes on without detections, its status says why.
    #[default]
    #[enum_value(name = "Pass: it goes on without detections, its status says why", nick = "pass")]
    Pass,
    /// It is dropped and counted.
    #[enum_value(name = "Drop: it is dropped and counted", nick = "drop")]
    Drop,
}

/// As what objects are attached to frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvInferenceMeta")]
pub enum Meta {
    /// As both where GStreamer has the relation meta, else as regions.
    #[default]
    #[enum_value(name = "Auto: regions, and the relation meta where GStreamer has it", nick = "auto")]
    Auto,
    /// As regions.
    #[enum_value(name = "GstVideoRegionOfInterestMeta, which all nv elements read", nick = "roi")]
    Roi,
    /// As the relation meta.
    #[enum_value(name = "GstAnalyticsRelationMeta, which no nv element reads", nick = "relation")]
    Relation,
    /// As both, or not at all.
    #[enum_value(name = "Both: regions and the relation meta", nick = "both")]
    Both,
}

/// What a model is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvInferenceOperateOn")]
pub enum OperateOn {
    /// Whole frames.
    #[default]
    #[enum_value(name = "Frame: each frame as a whole", nick = "frame")]
    Frame,
    /// The objects found before.
    #[enum_value(
        name = "Objects: each object that stands on the frame, cut out of it; the result stands on the object",
        nick = "objects"
    )]
    Objects,
}

pub(super) const DEFAULT_OBJECT_MIN_SIZE: u32 = 16;
pub(super) const DEFAULT_SCORE_THRESHOLD: f64 = 0.4;
pub(super) const DEFAULT_IOU_THRESHOLD: f64 = 0.5;
pub(super) const DEFAULT_MAX_DETECTIONS: u32 = 300;
pub(super) const DEFAULT_RESPONSE_TIMEOUT: u64 = 5_000_000_000;
pub(super) const DEFAULT_STARTUP_TIMEOUT: u64 = 30_000_000_000;
/// Processing latency as measured at warm-up.
pub(super) const AUTO_LATENCY: u64 = u64::MAX;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) model: Option<String>,
    pub(super) labels: Option<String>,
    pub(super) ort_library: Option<String>,
    pub(super) decoder: Decoder,
    /// `None`: the sidecar's, else the default.
    pub(super) score_threshold: Option<f64>,
    /// As above.
    pub(super) iou_threshold: Option<f64>,
    pub(super) max_detections: u32,
    pub(super) provider: Provider,
    pub(super) device_id: u32,
    pub(super) allow_fallback: bool,
    pub(super) threads: u32,
    pub(super) spinning: bool,
    pub(super) graph_optimization: GraphOptimization,
    pub(super) cache_dir: Option<String>,
    /// In bytes; 0 is no limit.
    pub(super) device_memory_limit: u64,
    pub(super) conv_search: ConvSearch,
    pub(super) precision: Precision,
    pub(super) profile_batch: u32,
    pub(super) on_error: OnError,
    pub(super) operate_on: OperateOn,
    pub(super) object_labels: Option<String>,
    pub(super) object_min_size: u32,
    pub(super) reinfer_interval: u32,
    pub(super) meta: Meta,
    pub(super) response_timeout: u64,
    pub(super) startup_timeout: u64,
    pub(super) processing_latency: u64,
    pub(super) batch_group: Option<String>,
    pub(super) max_batch_size: u32,
    pub(super) max_latency: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            labels: None,
            ort_library: None,
            decoder: Decoder::default(),
            score_threshold: None,
            iou_threshold: None,
            max_detections: DEFAULT_MAX_DETECTIONS,
            provider: Provider::default(),
            device_id: 0,
            allow_fallback: false,
            threads: 0,
            spinning: false,
            graph_optimization: GraphOptimization::default(),
            cache_dir: None,
            device_memory_limit: 0,
            conv_search: ConvSearch::default(),
            precision: Precision::default(),
            profile_batch: infer::tuning::DEFAULT_PROFILE_BATCH,
            on_error: OnError::default(),
            operate_on: OperateOn::default(),
            object_labels: None,
            object_min_size: DEFAULT_OBJECT_MIN_SIZE,
            reinfer_interval: 1,
            meta: Meta::default(),
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
            startup_timeout: DEFAULT_STARTUP_TIMEOUT,
            processing_latency: AUTO_LATENCY,
            batch_group: None,
            max_batch_size: nvbatcher::DEFAULT_MAX_BATCH_SIZE,
            max_latency: nvbatcher::DEFAULT_MAX_LATENCY,
        }
    }
}

/// Getters and setters of properties that are not kept as they are shown.
impl NvInference {
    pub(super) fn score_threshold(&self) -> f64 {
        lock(&self.settings).score_threshold.unwrap_or(DEFAULT_SCORE_THRESHOLD)
    }

    pub(super) fn set_score_threshold(&self, value: f64) {
        lock(&self.settings).score_threshold = Some(value);
    }

    pub(super) fn iou_threshold(&self) -> f64 {
        lock(&self.settings).iou_threshold.unwrap_or(DEFAULT_IOU_THRESHOLD)
    }

    pub(super) fn set_iou_threshold(&self, value: f64) {
        lock(&self.settings).iou_threshold = Some(value);
    }

    pub(super) fn shown_cache_dir(&self) -> Option<String> {
        shown(lock(&self.settings).cache_dir.as_deref())
    }

    pub(super) fn shown_model(&self) -> Option<String> {
        shown(lock(&self.settings).model.as_deref())
    }

    pub(super) fn shown_labels(&self) -> Option<String> {
        shown(lock(&self.settings).labels.as_deref())
    }

    pub(super) fn shown_ort_library(&self) -> Option<String> {
        shown(lock(&self.settings).ort_library.as_deref())
    }
}

impl Settings {
    /// The group to join, if any.
    pub(super) fn group(&self) -> Option<&str> {
        self.batch_group.as_deref().filter(|name| !name.is_empty())
    }

    /// As what objects are attached.
    ///
    /// # Errors
    /// Says what is missing for what was asked.
    pub(super) fn meta_options(&self) -> Result<MetaOptions, &'static str> {
        let options = MetaOptions { max_objects: self.max_detections as usize, ..MetaOptions::default() };
        match self.meta {
            Meta::Auto => Ok(options),
            Meta::Roi => Ok(MetaOptions { relations: false, ..options }),
            Meta::Relation => relation::available().map(|()| MetaOptions { regions: false, ..options }),
            Meta::Both => relation::available().map(|()| options),
        }
    }

    /// How long a batch may be with the engine.
    pub(super) const fn response_timeout(&self) -> Duration {
        Duration::from_nanos(self.response_timeout)
    }
}
