//! Execution providers: what runs the graph.
//!
//! What was asked for runs, or opening fails: `ort` and ONNX Runtime would otherwise fall back to the CPU without a
//! word. Which nodes a provider then takes is its own decision; `placement` asks.
//!
//! The options of a provider are made here as names and values, which is pure; only `Provider::register` talks to the
//! library. They are ONNX Runtime's, as its pages on execution providers list them.

use super::buckets;
use super::error::InferError;
use super::model::{Layout, ModelDescription};
use super::opening::said;
use super::tuning::{ConvSearch, Precision, Tuning};
use ort::ep::{
    ArbitrarilyConfigurableExecutionProvider as Configurable, CPU, CUDA, ExecutionProvider,
    ExecutionProviderDispatch, OpenVINO, TensorRT,
};
use ort::session::builder::SessionBuilder;
use std::fmt;
use std::path::Path;
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

    /// The name ONNX Runtime knows it by.
    const fn in_runtime(self) -> &'static str {
        match self {
            Self::Cpu => CPU::NAME,
            Self::Cuda => CUDA::NAME,
            Self::TensorRt => TensorRT::NAME,
            Self::OpenVino => OpenVINO::NAME,
        }
    }

    /// The name users write for what ONNX Runtime calls so; its own name for one they cannot ask for.
    pub(super) fn shown(name: &str) -> &str {
        let known = Self::ALL.into_iter().find(|provider| provider.in_runtime() == name);
        match known {
            Some(known) => known.name(),
            None => name,
        }
    }

    /// Whether tensors go to it and come back through memory that is bound to the session, at few sizes.
    pub(super) const fn is_bound(self) -> bool {
        matches!(self, Self::Cuda | Self::TensorRt)
    }

    /// What there is to install for it.
    const fn needs(self) -> &'static str {
        match self {
            Self::Cpu => "an ONNX Runtime",
            Self::Cuda => {
                "an ONNX Runtime with CUDA (the Python wheel onnxruntime-gpu has one in onnxruntime/capi), named by \
                 ort-library or ORT_DYLIB_PATH, NVIDIA's driver (libcuda.so.1), and on the loader's path the CUDA \
                 runtime, cuBLAS, cuFFT and cuDNN 9 that it was built for"
            }
            Self::TensorRt => {
                "an ONNX Runtime with TensorRT (the Python wheel onnxruntime-gpu has one in onnxruntime/capi), named \
                 by ort-library or ORT_DYLIB_PATH, NVIDIA's driver (libcuda.so.1), and on the loader's path TensorRT \
                 10, CUDA and cuDNN 9 that it was built for"
            }
            Self::OpenVino => {
                "an ONNX Runtime with OpenVINO (the Python wheel onnxruntime-openvino has one in onnxruntime/capi), \
                 named by ort-library or ORT_DYLIB_PATH, and on the loader's path the OpenVINO it was built for"
            }
        }
    }

    /// Whether the open library was compiled with it. Needs the library to be open.
    fn in_library(self) -> bool {
        match self {
            Self::Cpu => CPU::is_available(),
            Self::Cuda => CUDA::is_available(),
            Self::TensorRt => TensorRT::is_available(),
            Self::OpenVino => OpenVINO::is_available(),
        }
        .unwrap_or(false)
    }

    /// That it cannot be had, why, and what would help. Needs the library to be open.
    pub(super) fn unavailable(self, why: &str) -> InferError {
        let available = Self::ALL.into_iter().filter(|provider| provider.in_library());
        InferError::ProviderUnavailable {
            requested: self.name().to_owned(),
            detail: format!("{why}; it needs {}", self.needs()),
            available: available.map(|provider| provider.name().to_owned()).collect(),
        }
    }

    /// Whether the open library has it.
    ///
    /// # Errors
    ///
    /// [`InferError::ProviderUnavailable`], with the providers the library has and what to install.
    pub(super) fn check(self) -> Result<(), InferError> {
        if self.in_library() { Ok(()) } else { Err(self.unavailable("the library was built without it")) }
    }

    /// Puts the provider into the session to be. Needs the library to be open.
    ///
    /// # Errors
    ///
    /// [`InferError::ProviderUnavailable`], with the providers the open library has and what to install.
    pub(super) fn register(
        self,
        builder: SessionBuilder,
        setup: &Setup<'_>,
    ) -> Result<SessionBuilder, InferError> {
        self.check()?;
        let providers = match self {
            // Part of every session.
            Self::Cpu => return Ok(builder),
            Self::Cuda => vec![configured(CUDA::default(), cuda(setup))],
            // What TensorRT does not take, CUDA does.
            Self::TensorRt => vec![
                configured(TensorRT::default(), tensorrt(setup)),
                configured(CUDA::default(), cuda(setup)),
            ],
            Self::OpenVino => vec![configured(OpenVINO::default(), openvino(setup))],
        };
        builder.with_execution_providers(providers).map_err(|error| {
            let error = error.to_string();
            let why = said(&error);
            self.unavailable(&format!("the library has it, but it does not start: {why}"))
        })
    }
}

/// What a provider is to be made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup<'a> {
    pub(super) device_id: u32,
    pub(super) threads: usize,
    pub(super) tuning: &'a Tuning,
    /// A folder that only this user may write, for what the provider builds.
    pub(super) cache: Option<&'a Path>,
    /// The input; TensorRT asks for it.
    pub(super) profile: Option<&'a Profile>,
}

/// The shapes of input a provider is made ready for: the smallest, the usual and the largest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) min: String,
    pub(super) opt: String,
    pub(super) max: String,
}

impl Profile {
    /// From one row to the largest bucket, and best at that: under load, batches are full.
    pub(super) fn new(model: &ModelDescription, largest: usize) -> Self {
        let (width, height) = (model.size.width, model.size.height);
        let shape = |rows: usize| match model.layout {
            Layout::Nchw => format!("{}:{rows}x3x{height}x{width}", model.input),
            Layout::Nhwc => format!("{}:{rows}x{height}x{width}x3", model.input),
        };
        let sizes = buckets::up_to(largest);
        let at = |size: Option<&usize>| shape(size.copied().unwrap_or(1));
        Self { min: at(sizes.first()), opt: at(sizes.last()), max: at(sizes.last()) }
    }
}

type Options = Vec<(&'static str, String)>;

fn configured<P>(provider: P, options: Options) -> ExecutionProviderDispatch
where
    P: Configurable + Into<ExecutionProviderDispatch>,
{
    let with = |provider: P, (key, value): (&'static str, String)| provider.with_arbitrary_config(key, value);
    options.into_iter().fold(provider, with).into().error_on_failure()
}

fn flag(on: bool) -> String {
    u8::from(on).to_string()
}

fn cuda(setup: &Setup<'_>) -> Options {
    let search = match setup.tuning.conv_search {
        ConvSearch::Heuristic => "HEURISTIC",
        ConvSearch::Exhaustive => "EXHAUSTIVE",
        ConvSearch::Default => "DEFAULT",
    };
    let mut options =
        vec![("device_id", setup.device_id.to_string()), ("cudnn_conv_algo_search", search.to_owned())];
    if setup.tuning.memory_limit > 0 {
        options.push(("gpu_mem_limit", setup.tuning.memory_limit.to_string()));
        // Doubling, the default, would hit the limit with half of it unused.
        options.push(("arena_extend_strategy", "kSameAsRequested".to_owned()));
    }
    options
}

fn tensorrt(setup: &Setup<'_>) -> Options {
    let precision = setup.tuning.precision;
    let mut options = vec![
        ("device_id", setup.device_id.to_string()),
        ("trt_fp16_enable", flag(precision != Precision::Model)),
        ("trt_int8_enable", flag(precision == Precision::Int8)),
    ];
    if setup.tuning.memory_limit > 0 {
        options.push(("trt_max_workspace_size", setup.tuning.memory_limit.to_string()));
    }
    if let Some(Profile { min, opt, max }) = setup.profile.cloned() {
        options.push(("trt_profile_min_shapes", min));
        options.push(("trt_profile_opt_shapes", opt));
        options.push(("trt_profile_max_shapes", max));
    }
    if let Some(folder) = setup.cache.and_then(Path::to_str) {
        options.push(("trt_engine_cache_enable", flag(true)));
        options.push(("trt_engine_cache_path", folder.to_owned()));
        options.push(("trt_timing_cache_enable", flag(true)));
        options.push(("trt_timing_cache_path", folder.to_owned()));
    }
    options
}

fn openvino(setup: &Setup<'_>) -> Options {
    let mut options = vec![("num_of_threads", setup.threads.to_string())];
    if let Some(folder) = setup.cache.and_then(Path::to_str) {
        options.push(("cache_dir", folder.to_owned()));
    }
    options
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

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::super::model::Batch;
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

    #[test]
    fn the_runtimes_names_are_shown_as_users_write_them() {
        assert_eq!(Provider::shown("CUDAExecutionProvider"), "cuda");
        assert_eq!(Provider::shown("TensorrtExecutionProvider"), "tensorrt");
        assert_eq!(Provider::shown("XnnpackExecutionProvider"), "XnnpackExecutionProvider");
    }

    fn setup(tuning: &Tuning) -> Setup<'_> {
        Setup { device_id: 1, threads: 2, tuning, cache: None, profile: None }
    }

    fn value<'a>(options: &'a Options, key: &str) -> Option<&'a str> {
        options.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    #[test]
    fn cuda_takes_device_search_and_limit() {
        let tuning = Tuning::default();
        let options = cuda(&setup(&tuning));
        assert_eq!(value(&options, "device_id"), Some("1"));
        assert_eq!(value(&options, "cudnn_conv_algo_search"), Some("HEURISTIC"));
        assert_eq!(value(&options, "gpu_mem_limit"), None);
        let tuning = Tuning { memory_limit: 4096, conv_search: ConvSearch::Exhaustive, ..Tuning::default() };
        let options = cuda(&setup(&tuning));
        assert_eq!(value(&options, "gpu_mem_limit"), Some("4096"));
        assert_eq!(value(&options, "arena_extend_strategy"), Some("kSameAsRequested"));
        assert_eq!(value(&options, "cudnn_conv_algo_search"), Some("EXHAUSTIVE"));
    }

    #[test]
    fn tensorrt_takes_precision_profile_and_caches() {
        let profile = Profile::new(&fake::model(Batch::Dynamic), 6);
        assert_eq!(
            (profile.min.as_str(), profile.opt.as_str(), profile.max.as_str()),
            ("images:1x3x1x2", "images:6x3x1x2", "images:6x3x1x2")
        );
        let tuning = Tuning { precision: Precision::Fp16, ..Tuning::default() };
        let cache = Some(Path::new("/var/cache/nv"));
        let options = tensorrt(&Setup { cache, profile: Some(&profile), ..setup(&tuning) });
        assert_eq!(value(&options, "trt_fp16_enable"), Some("1"));
        assert_eq!(value(&options, "trt_int8_enable"), Some("0"));
        assert_eq!(value(&options, "trt_profile_max_shapes"), Some("images:6x3x1x2"));
        assert_eq!(value(&options, "trt_engine_cache_path"), Some("/var/cache/nv"));
        assert_eq!(value(&options, "trt_timing_cache_path"), Some("/var/cache/nv"));
        let tuning = Tuning { precision: Precision::Int8, ..Tuning::default() };
        let options = tensorrt(&setup(&tuning));
        assert_eq!(
            (value(&options, "trt_fp16_enable"), value(&options, "trt_int8_enable")),
            (Some("1"), Some("1"))
        );
        assert_eq!(value(&options, "trt_engine_cache_enable"), None, "no cache without a folder");
    }

    #[test]
    fn openvino_takes_threads_and_cache() {
        let tuning = Tuning::default();
        let options = openvino(&Setup { cache: Some(Path::new("/c")), ..setup(&tuning) });
        assert_eq!(
            (value(&options, "num_of_threads"), value(&options, "cache_dir")),
            (Some("2"), Some("/c"))
        );
    }
}
