//! What makes two requests for an engine the same.

use super::engine::EngineOptions;
use super::error::InferError;
use super::provider::Provider;
use super::sidecar;
use super::tuning::Tuning;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// More threads than this are a mistake, and would be made.
const MAX_THREADS: u32 = 1024;

/// One state of one file: an overwritten file is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
    len: u64,
    /// Modification time in seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileIdentity {
    /// The state `path` is in now; `None` if it cannot be looked at.
    pub(super) fn look(path: &Path) -> Option<Self> {
        Some(Self::new(path, &path.metadata().ok()?))
    }

    fn new(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.canonicalize().unwrap_or_else(|_| path.to_path_buf()),
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The key of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EngineKey {
    model: FileIdentity,
    sidecar: Option<FileIdentity>,
    labels: Option<FileIdentity>,
    library: Option<PathBuf>,
    provider: Provider,
    device_id: u32,
    threads: usize,
    tuning: Tuning,
}

impl EngineKey {
    /// Cores that a run of such an engine keeps busy: on a device, the one that waits for it.
    pub(super) fn cores(&self) -> usize {
        if self.provider == Provider::Cpu { self.threads } else { 1 }
    }

    /// Looks at the files `options` names, without reading them.
    ///
    /// # Errors
    ///
    /// [`InferError::ModelNotFound`], [`InferError::ModelUnreadable`] for a folder, a device or an empty
    /// file, [`InferError::Sidecar`] for labels that are missing, [`InferError::Settings`].
    pub(super) fn of(options: &EngineOptions) -> Result<Self, InferError> {
        if options.threads > MAX_THREADS {
            let found = options.threads;
            let detail = format!("threads: expected 0 (automatic) to {MAX_THREADS}, found {found}");
            return Err(InferError::Settings { detail });
        }
        options.tuning.check(options.provider)?;
        let labels = options.labels.as_deref().map(|path| {
            let metadata = path.metadata().map_err(|error| InferError::Sidecar {
                path: path.to_path_buf(),
                detail: format!("labels: {error}"),
            })?;
            Ok(FileIdentity::new(path, &metadata))
        });
        let sidecar = sidecar::path_for(&options.model);
        Ok(Self {
            model: model_file(&options.model)?,
            sidecar: sidecar.and_then(|path| FileIdentity::look(&path)),
            labels: labels.transpose()?,
            library: options
                .library
                .as_ref()
                .map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())),
            provider: options.provider,
            device_id: options.device_id,
            threads: threads(options.threads),
            tuning: options.tuning.for_provider(options.provider),
        })
    }
}

fn model_file(path: &Path) -> Result<FileIdentity, InferError> {
    #[cfg(any(test, feature = "testing"))]
    if let Some(inode) = super::script::number_of(path) {
        return Ok(FileIdentity { path: path.to_path_buf(), device: 0, inode, len: 0, modified: (0, 0) });
    }
    let unreadable = |detail: String| InferError::ModelUnreadable { path: path.to_path_buf(), detail };
    let metadata = path.metadata().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => InferError::ModelNotFound { path: path.to_path_buf() },
        _ => unreadable(error.to_string()),
    })?;
    if !metadata.is_file() {
        return Err(unreadable("expected a file, found a folder or a device".to_owned()));
    }
    if metadata.len() == 0 {
        return Err(unreadable("expected an ONNX model, found 0 bytes".to_owned()));
    }
    Ok(FileIdentity::new(path, &metadata))
}

/// `asked`, or one for each of the [`cores`].
pub(super) fn threads(asked: u32) -> usize {
    match usize::try_from(asked) {
        Ok(asked) if asked > 0 => asked,
        _ => cores(),
    }
}

/// Cores that this process may use, by CPU affinity and, on Linux, cgroup quota, as it was when it was first asked.
#[must_use]
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}
