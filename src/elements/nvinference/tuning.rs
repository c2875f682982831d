//! Settings of the engine as the user names them.

use super::settings::Settings;
use crate::infer::{self, Tuning};

/// How far the graph is rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvInferenceGraphOptimization")]
pub enum GraphOptimization {
    /// Not at all.
    #[enum_value(name = "Disabled: the graph runs as it is", nick = "disabled")]
    Disabled,
    /// Constants folded.
    #[enum_value(name = "Basic: constants are folded, what does nothing is removed", nick = "basic")]
    Basic,
    /// Operators fused.
    #[enum_value(name = "Extended: operators are fused, too", nick = "extended")]
    Extended,
    /// Laid out for the processor.
    #[default]
    #[enum_value(name = "All: data is laid out for this very processor, too", nick = "all")]
    All,
}

impl From<GraphOptimization> for infer::Optimization {
    fn from(level: GraphOptimization) -> Self {
        match level {
            GraphOptimization::Disabled => Self::Disabled,
            GraphOptimization::Basic => Self::Basic,
            GraphOptimization::Extended => Self::Extended,
            GraphOptimization::All => Self::All,
        }
    }
}

/// How CUDA chooses algorithms for convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvInferenceConvSearch")]
pub enum ConvSearch {
    /// By rules.
    #[default]
    #[enum_value(name = "Heuristic: by cuDNN's rules, at once", nick = "heuristic")]
    Heuristic,
    /// By trying.
    #[enum_value(name = "Exhaustive: by trying all for every batch size, at warm-up", nick = "exhaustive")]
    Exhaustive,
    /// Always the same.
    #[enum_value(name = "Default: always the same one, with the least memory", nick = "default")]
    Default,
}

impl From<ConvSearch> for infer::ConvSearch {
    fn from(search: ConvSearch) -> Self {
        match search {
            ConvSearch::Heuristic => Self::Heuristic,
            ConvSearch::Exhaustive => Self::Exhaustive,
            ConvSearch::Default => Self::Default,
        }
    }
}

/// What TensorRT calculates with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvInferencePrecision")]
pub enum Precision {
    /// As the model says.
    #[default]
    #[enum_value(name = "Model: the numbers of the model", nick = "model")]
    Model,
    /// Half floats.
    #[enum_value(name = "FP16: half floats where they are faster", nick = "fp16")]
    Fp16,
    /// Bytes.
    #[enum_value(name = "INT8: bytes where the model is quantised, half floats elsewhere", nick = "int8")]
    Int8,
}

impl From<Precision> for infer::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Model => Self::Model,
            Precision::Fp16 => Self::Fp16,
            Precision::Int8 => Self::Int8,
        }
    }
}

impl Settings {
    /// What is asked of the session.
    pub(super) fn tuning(&self) -> Tuning {
        Tuning {
            spinning: self.spinning,
            optimization: self.graph_optimization.into(),
            memory_limit: self.device_memory_limit,
            conv_search: self.conv_search.into(),
            precision: self.precision.into(),
            profile_batch: self.profile_batch,
        }
    }
}
