//! Execution providers: what runs the graph.
//!
//! What was asked for runs, or opening fails: `ort` and ONNX Runtime would otherwise fall back to the
//! CPU without a word. This build has the CPU; a further provider is an arm of `Provider::register`.

use super::error::InferError;
use ort::ep::ExecutionProvider;
use ort::session::builder::SessionBuilder;
use std::fmt;
use std::str::FromStr;

/// What runs the graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// ONNX Runtime's own kernels.
    #[default]
    Cpu,
    /// NVIDIA CUDA.
    Cuda,
    /// NVIDIA TensorRT.
    TensorRt,
    /// Intel OpenVINO.
    OpenVino,
}

impl Provider {
    /// All there are names for.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Cuda, Self::TensorRt, Self::OpenVino];

    /// The name users write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::OpenVino => "openvino",
        }
    }

    /// Whether the open library was compiled with it. Needs the library to be open.
    fn in_library(self) -> bool {
        match self {
            Self::Cpu => Cpu::is_available(),
            Self::Cuda => Cuda::is_available(),
            Self::TensorRt => TensorRt::is_available(),
            Self::OpenVino => OpenVino::is_available(),
        }
        .unwrap_or(false)
    }

    /// Puts the provider into the session to be. Needs the library to be open.
    ///
    /// # Errors
    ///
    /// [`InferError::ProviderUnavailable`], with the providers the open library has.
    pub(super) fn register(self, builder: SessionBuilder) -> Result<SessionBuilder, InferError> {
        // The CPU provider is part of every session.
        if self == Self::Cpu {
            return Ok(builder);
        }
        let available: Vec<_> = Self::ALL.into_iter().filter(|provider| provider.in_library()).collect();
        let detail = if available.contains(&self) {
            "the library has it, but this build of the plugin cannot set it up"
        } else {
            "the library was built without it"
        };
        Err(InferError::ProviderUnavailable {
            requested: self.name().to_owned(),
            detail: detail.to_owned(),
            available: available.iter().map(|provider| provider.name().to_owned()).collect(),
        })
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = InferError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|provider| provider.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| InferError::Settings {
            detail: format!("provider \"{text}\": expected one of {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}

/// Declares a provider by the name ONNX Runtime knows it by, to ask the library whether it has it.
macro_rules! provider {
    ($name:ident, $in_runtime:literal) => {
        struct $name;

        impl ExecutionProvider for $name {
            const NAME: &'static str = $in_runtime;

            fn register(&self, _: &mut SessionBuilder) -> ort::Result<()> {
                Err(ort::Error::new(concat!($in_runtime, " is only asked for, never registered")))
            }
        }
    };
}

provider!(Cpu, "CPUExecutionProvider");
provider!(Cuda, "CUDAExecutionProvider");
provider!(TensorRt, "TensorrtExecutionProvider");
provider!(OpenVino, "OpenVINOExecutionProvider");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_whatever_their_case() {
        for provider in Provider::ALL {
            assert_eq!(provider.name().parse::<Provider>().unwrap(), provider);
            assert_eq!(provider.name().to_uppercase().parse::<Provider>().unwrap(), provider);
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let error = "tpu".parse::<Provider>().unwrap_err();
        assert_eq!(error.to_string(), "provider \"tpu\": expected one of cpu, cuda, tensorrt, openvino");
    }
}
