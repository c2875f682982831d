//! Settings of an engine beyond model, provider, device and threads. Pure: what they do to a session is in
//! `session` and `provider`.

use super::error::InferError;
use super::provider::Provider;

/// Largest batch TensorRT is made ready for, unless something else is asked for.
pub const DEFAULT_PROFILE_BATCH: u32 = 16;

/// How far ONNX Runtime may rewrite the graph before it runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Optimization {
    /// Not at all.
    Disabled,
    /// Constant folding and removal of what does nothing.
    Basic,
    /// Fusions of operators, too.
    Extended,
    /// Layouts that suit this very processor, too.
    #[default]
    All,
}

impl Optimization {
    /// The name in keys and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Basic => "basic",
            Self::Extended => "extended",
            Self::All => "all",
        }
    }
}

/// How cuDNN's algorithm for a convolution is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConvSearch {
    /// By cuDNN's rules: starts fast, and is nearly always as good.
    #[default]
    Heuristic,
    /// By trying all of them for every size of batch, at warm-up.
    Exhaustive,
    /// The same one always, with the least memory.
    Default,
}

/// The numbers a provider may calculate with that builds an engine of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Those of the model.
    #[default]
    Model,
    /// Half floats where they are faster.
    Fp16,
    /// Bytes where the model is quantised, half floats elsewhere.
    Int8,
}

impl Precision {
    /// The name users write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

/// Settings that change the session, each with the default that was measured to be best for a machine shared with
/// decoders and encoders (`docs/performance.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// Whether the engine's threads burn their cores while they wait for work.
    pub spinning: bool,
    /// How far the graph is rewritten.
    pub optimization: Optimization,
    /// Most bytes of device memory for the arena of CUDA or the workspace of TensorRT; 0 for no limit.
    pub memory_limit: u64,
    /// CUDA only.
    pub conv_search: ConvSearch,
    /// TensorRT only.
    pub precision: Precision,
    /// Largest batch TensorRT builds its engine for. Larger ones are run in parts.
    pub profile_batch: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            spinning: false,
            optimization: Optimization::default(),
            memory_limit: 0,
            conv_search: ConvSearch::default(),
            precision: Precision::default(),
            profile_batch: DEFAULT_PROFILE_BATCH,
        }
    }
}

impl Tuning {
    /// Whether these can be asked of `provider`. What it does not know must not be taken for granted.
    ///
    /// # Errors
    ///
    /// [`InferError::Settings`], naming both.
    pub fn check(&self, provider: Provider) -> Result<(), InferError> {
        let gpu = matches!(provider, Provider::Cuda | Provider::TensorRt);
        let refuse = |what: String, whose: &str| {
            Err(InferError::Settings {
                detail: format!("{what}: expected provider {whose}, found {provider}"),
            })
        };
        if self.memory_limit != 0 && !gpu {
            return refuse(format!("device-memory-limit {}", self.memory_limit), "cuda or tensorrt");
        }
        if self.conv_search != ConvSearch::default() && provider != Provider::Cuda {
            return refuse(format!("conv-search {:?}", self.conv_search).to_lowercase(), "cuda");
        }
        if self.precision != Precision::default() && provider != Provider::TensorRt {
            return refuse(format!("precision {}", self.precision.name()), "tensorrt");
        }
        if self.profile_batch == 0 {
            let detail = "profile-batch: expected at least 1, found 0".to_owned();
            return Err(InferError::Settings { detail });
        }
        Ok(())
    }

    /// These, without what `provider` has no use for: what remains is what makes two engines different.
    #[must_use]
    pub fn for_provider(self, provider: Provider) -> Self {
        let default = Self::default();
        let gpu = matches!(provider, Provider::Cuda | Provider::TensorRt);
        let tensorrt = provider == Provider::TensorRt;
        Self {
            memory_limit: if gpu { self.memory_limit } else { default.memory_limit },
            conv_search: if provider == Provider::Cuda { self.conv_search } else { default.conv_search },
            precision: if tensorrt { self.precision } else { default.precision },
            profile_batch: if tensorrt { self.profile_batch } else { default.profile_batch },
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Tuning {
        Tuning {
            spinning: true,
            optimization: Optimization::Basic,
            memory_limit: 1 << 30,
            conv_search: ConvSearch::Exhaustive,
            precision: Precision::Fp16,
            profile_batch: 4,
        }
    }

    #[test]
    fn the_defaults_suit_every_provider() {
        for provider in Provider::ALL {
            assert_eq!(Tuning::default().check(provider), Ok(()), "{provider}");
        }
    }

    #[test]
    fn what_a_provider_does_not_know_is_refused_naming_both() {
        let refusal = |tuning: Tuning, provider| tuning.check(provider).unwrap_err().to_string();
        let default = Tuning::default();
        assert_eq!(
            refusal(Tuning { precision: Precision::Fp16, ..default }, Provider::Cuda),
            "precision fp16: expected provider tensorrt, found cuda"
        );
        assert_eq!(
            refusal(Tuning { memory_limit: 5, ..default }, Provider::Cpu),
            "device-memory-limit 5: expected provider cuda or tensorrt, found cpu"
        );
        assert_eq!(
            refusal(Tuning { conv_search: ConvSearch::Exhaustive, ..default }, Provider::OpenVino),
            "conv-search exhaustive: expected provider cuda, found openvino"
        );
        assert!(refusal(Tuning { profile_batch: 0, ..default }, Provider::TensorRt).contains("at least 1"));
    }

    #[test]
    fn what_is_left_for_a_provider_is_what_it_takes() {
        for provider in Provider::ALL {
            let left = asked().for_provider(provider);
            assert_eq!(left.check(provider), Ok(()), "{provider}");
            assert_eq!((left.spinning, left.optimization), (true, Optimization::Basic), "{provider}");
            assert_eq!(left.for_provider(provider), left, "{provider}");
        }
        assert_eq!(asked().for_provider(Provider::TensorRt).precision, Precision::Fp16);
        assert_eq!(asked().for_provider(Provider::Cuda).conv_search, ConvSearch::Exhaustive);
    }
}
