//! What can go wrong between a model file and its results, as values.

use std::path::PathBuf;
use std::time::Duration;

/// Why the engine could not do what it was asked.
///
/// Messages say what was expected and what was found. They hold paths as the user gave them and no
/// secrets: the layer never sees a URI or a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// ONNX Runtime is nowhere to be found.
    #[error("ONNX Runtime not found; tried {}", paths(.tried))]
    LibraryNotFound {
        /// Every file or loader name tried, in order.
        tried: Vec<PathBuf>,
    },
    /// A library is there, but it is not an ONNX Runtime this plugin can use.
    #[error("{}: not a usable ONNX Runtime: {detail}", .path.display())]
    LibraryUnusable {
        /// The library.
        path: PathBuf,
        /// What was expected and found.
        detail: String,
    },
    /// The model file does not exist.
    #[error("{}: no such model file", .path.display())]
    ModelNotFound {
        /// The model as asked for.
        path: PathBuf,
    },
    /// The model file is not an ONNX model, or a damaged one.
    #[error("{}: not a readable ONNX model: {detail}", .path.display())]
    ModelUnreadable {
        /// The model as asked for.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The model is sound, but not an image model this plugin can feed.
    #[error("unsupported model: {detail}")]
    ModelUnsupported {
        /// What was expected and found.
        detail: String,
    },
    /// The sidecar or the labels are wrong.
    #[error("{}: {detail}", .path.display())]
    Sidecar {
        /// The sidecar or labels file.
        path: PathBuf,
        /// What was expected and found.
        detail: String,
    },
    /// Options that cannot hold together, or not in this process any more.
    #[error("{detail}")]
    Settings {
        /// The options and their values.
        detail: String,
    },
    /// The execution provider asked for cannot be had.
    #[error("execution provider {requested} is not available: {detail}; available: {}", .available.join(", "))]
    ProviderUnavailable {
        /// What was asked for.
        requested: String,
        /// Why it cannot be had.
        detail: String,
        /// What the loaded library and this build have.
        available: Vec<String>,
    },
    /// Loading or warming up took too long.
    #[error("the model was not ready within {limit:?}")]
    StartupTimeout {
        /// How long was waited.
        limit: Duration,
    },
    /// The worker's thread could not be made.
    #[error("thread {name} could not be started: {detail}")]
    Spawn {
        /// The thread's name.
        name: String,
        /// What the system said.
        detail: String,
    },
    /// The model failed on this batch.
    #[error("inference failed: {detail}")]
    Run {
        /// What the runtime said.
        detail: String,
    },
    /// Code under the engine panicked; the panic was caught.
    #[error("inference panicked: {detail}")]
    Panic {
        /// The panic's message.
        detail: String,
    },
    /// No answer, or no room for the batch, in time.
    #[error("no answer from the engine within {limit:?}")]
    Timeout {
        /// How long was waited.
        limit: Duration,
    },
    /// The waiting was broken off by its [`Interrupt`](super::Interrupt).
    #[error("interrupted")]
    Interrupted,
    /// The engine's worker is gone.
    #[error("the engine has stopped")]
    Stopped,
    /// A batch that does not suit the model: too large, too small, of the wrong type.
    #[error("unsuitable batch: {detail}")]
    Input {
        /// What was expected and found.
        detail: String,
    },
    /// The model's outputs cannot be handed on.
    #[error("output \"{name}\": {detail}")]
    Outputs {
        /// The output.
        name: String,
        /// What was expected and found.
        detail: String,
    },
}

/// What sort of trouble an [`InferError`] is: what an element maps to its error domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A file or library is missing.
    NotFound,
    /// A file is there and cannot be used.
    Unusable,
    /// Settings do not fit each other, the model or the machine.
    Settings,
    /// One run failed; the engine lives on.
    Failed,
    /// Something took too long.
    TimedOut,
    /// The caller broke it off, or the engine is gone.
    Stopped,
}

impl InferError {
    /// The sort of trouble.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::LibraryNotFound { .. } | Self::ModelNotFound { .. } => ErrorKind::NotFound,
            Self::LibraryUnusable { .. } | Self::ModelUnreadable { .. } | Self::ModelUnsupported { .. } => {
                ErrorKind::Unusable
            }
            Self::Sidecar { .. } | Self::Settings { .. } | Self::ProviderUnavailable { .. } => {
                ErrorKind::Settings
            }
            Self::StartupTimeout { .. } | Self::Timeout { .. } => ErrorKind::TimedOut,
            Self::Spawn { .. }
            | Self::Run { .. }
            | Self::Panic { .. }
            | Self::Input { .. }
            | Self::Outputs { .. } => ErrorKind::Failed,
            Self::Interrupted | Self::Stopped => ErrorKind::Stopped,
        }
    }

    /// The variant in kebab-case, as messages on the bus and records name it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LibraryNotFound { .. } => "library-not-found",
            Self::LibraryUnusable { .. } => "library-unusable",
            Self::ModelNotFound { .. } => "model-not-found",
            Self::ModelUnreadable { .. } => "model-unreadable",
            Self::ModelUnsupported { .. } => "model-unsupported",
            Self::Sidecar { .. } => "sidecar",
            Self::Settings { .. } => "settings",
            Self::ProviderUnavailable { .. } => "provider-unavailable",
            Self::StartupTimeout { .. } => "startup-timeout",
            Self::Spawn { .. } => "spawn",
            Self::Run { .. } => "run",
            Self::Panic { .. } => "panic",
            Self::Timeout { .. } => "timeout",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
            Self::Input { .. } => "input",
            Self::Outputs { .. } => "outputs",
        }
    }
}

fn paths(tried: &[PathBuf]) -> String {
    let names: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// What a caught panic said.
pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
