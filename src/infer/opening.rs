//! Makes the session: its options, its provider, and the cache it may come from.
//!
//! Runs on an engine's worker. Not guaranteed: that a provider that is registered takes any node; `placement` asks.

use super::cache::{Basis, CacheUse, Entry, Folder, Key};
use super::engine::EngineOptions;
use super::error::InferError;
use super::identity::{self, FileIdentity};
use super::library::Runtime;
use super::placement::ProfileFolder;
use super::provider::{Profile, Provider, Setup};
use super::tuning::Optimization;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use std::fs;
use std::path::{Path, PathBuf};

/// How a session is made beside the options of its engine.
#[derive(Clone, Copy, Default)]
pub(super) struct How<'a> {
    /// The shapes TensorRT is made ready for.
    pub(super) profile: Option<&'a Profile>,
    /// Where the first run is to be written down.
    pub(super) trace: Option<&'a ProfileFolder>,
}

/// Makes the session, without any cache.
pub(super) fn open(runtime: &Runtime, options: &EngineOptions) -> Result<Session, InferError> {
    let mut builder = builder(runtime, options, How::default(), None, options.tuning.optimization)?;
    builder.commit_from_file(&options.model).map_err(|error| refused(&options.model, &error))
}

/// Makes the session an engine runs.
///
/// # Errors
///
/// [`InferError::ProviderUnavailable`] also for a provider that does not start on this machine, or not with this
/// model, though the CPU does; otherwise what the model is refused for.
pub(super) fn open_engine(
    runtime: &Runtime,
    options: &EngineOptions,
    weights: &[PathBuf],
    how: How<'_>,
) -> Result<(Session, CacheUse), InferError> {
    let refused = match open_cached(runtime, options, weights, how) {
        Err(InferError::ModelUnreadable { detail, .. } | InferError::ModelUnsupported { detail })
            if options.provider != Provider::Cpu =>
        {
            detail
        }
        opened => return opened,
    };
    // Whose fault it is, the runtime's words do not tell.
    let mut cpu = EngineOptions { provider: Provider::Cpu, ..options.clone() };
    cpu.tuning.optimization = Optimization::Disabled;
    open(runtime, &cpu)?;
    let why = said(&refused);
    Err(options.provider.unavailable(&format!("it does not run this model here: {why}")))
}

/// Makes the session with what the cache has, and leaves there what it has not. Whatever is wrong with the cache is no
/// error: the session is then made without.
fn open_cached(
    runtime: &Runtime,
    options: &EngineOptions,
    weights: &[PathBuf],
    how: How<'_>,
) -> Result<(Session, CacheUse), InferError> {
    let level = options.tuning.optimization;
    let plain = |cache: Option<&Path>| {
        let mut builder = builder(runtime, options, how, cache, level)?;
        builder.commit_from_file(&options.model).map_err(|error| refused(&options.model, &error))
    };
    // What CUDA has no use for is no reason to warn: one program may serve machines with and without a GPU.
    let folder = options.cache_dir.as_deref().filter(|_| options.provider != Provider::Cuda);
    let Some(folder) = folder else { return Ok((plain(None)?, CacheUse::Off)) };
    let found = Folder::open(folder).and_then(|folder| {
        let all = format!("{:?} device {}", options.tuning, options.device_id);
        let basis = Basis {
            runtime: runtime.version(),
            build: ort::info(),
            provider: options.provider.name(),
            options: if options.provider == Provider::Cpu { level.name() } else { &all },
        };
        Ok((Key::of(&options.model, weights, basis)?, folder))
    });
    let (key, folder) = match found {
        Ok(found) => found,
        Err(detail) => return Ok((plain(None)?, CacheUse::Unusable(detail))),
    };
    if options.provider != Provider::Cpu {
        return providers_cache(options.provider, &key, &folder, plain);
    }
    let entry = Entry::new(folder, key);
    if let Some(session) = from_entry(runtime, options, &entry) {
        return Ok((session, CacheUse::Loaded));
    }
    let (before, temporary) = (FileIdentity::look(&options.model), entry.temporary());
    let written = builder(runtime, options, how, None, level).and_then(|builder| {
        let mut builder =
            builder.with_optimized_model_path(&temporary).map_err(|error| settings(&error.into()))?;
        builder.commit_from_file(&options.model).map_err(|error| refused(&options.model, &error))
    });
    let session = match written {
        Ok(session) => session,
        Err(error) => {
            fs::remove_file(&temporary).ok();
            let detail = format!("the runtime did not write the optimised model: {error}");
            return Ok((plain(None)?, CacheUse::Unusable(detail)));
        }
    };
    if before.is_none() || before != FileIdentity::look(&options.model) {
        fs::remove_file(&temporary).ok();
        return Ok((session, CacheUse::Unusable("the model was changed while it was loaded".to_owned())));
    }
    let used = entry.store(&temporary).map_or_else(CacheUse::Unusable, |()| CacheUse::Stored);
    Ok((session, used))
}

/// Lets a provider that builds an engine of its own keep it in a folder for just this model and these options. One
/// that cannot be read may be what is wrong with a session that fails, so it is tried once more without.
fn providers_cache(
    provider: Provider,
    key: &Key,
    folder: &Folder,
    open: impl Fn(Option<&Path>) -> Result<Session, InferError>,
) -> Result<(Session, CacheUse), InferError> {
    let own = match folder.within(&format!("{provider}-{key}")) {
        Ok(own) => own,
        Err(detail) => return Ok((open(None)?, CacheUse::Unusable(detail))),
    };
    match open(Some(own.path())) {
        Ok(session) => Ok((session, CacheUse::Provider)),
        Err(error) => {
            let session = open(None)?;
            fs::remove_dir_all(own.path()).ok();
            Ok((session, CacheUse::Unusable(format!("removed, for {provider} failed with it: {error}"))))
        }
    }
}

/// The session of an entry; one the runtime refuses is removed.
fn from_entry(runtime: &Runtime, options: &EngineOptions, entry: &Entry) -> Option<Session> {
    let bytes = entry.read()?;
    // It is optimised already.
    let builder = builder(runtime, options, How::default(), None, Optimization::Disabled);
    let session = builder.ok().and_then(|mut builder| builder.commit_from_memory(&bytes).ok());
    if session.is_none() {
        entry.discard();
    }
    session
}

/// The options are those of a machine that is shared with decoders and encoders: threads that sleep when there is
/// nothing to do, and no more of them than the process may use. `docs/performance.md` has the figures.
fn builder(
    runtime: &Runtime,
    options: &EngineOptions,
    how: How<'_>,
    cache: Option<&Path>,
    level: Optimization,
) -> Result<SessionBuilder, InferError> {
    let builder = Session::builder(&runtime.environment).map_err(|error| settings(&error))?;
    let builder = configure(builder, options, how, level).map_err(|error| settings(&error))?;
    let setup = Setup {
        device_id: options.device_id,
        threads: identity::threads(options.threads),
        tuning: &options.tuning,
        cache,
        profile: how.profile,
    };
    options.provider.register(builder, &setup)
}

fn configure(
    builder: SessionBuilder,
    options: &EngineOptions,
    how: How<'_>,
    level: Optimization,
) -> ort::Result<SessionBuilder> {
    let level = match level {
        Optimization::Disabled => GraphOptimizationLevel::Disable,
        Optimization::Basic => GraphOptimizationLevel::Level1,
        Optimization::Extended => GraphOptimizationLevel::Level2,
        Optimization::All => GraphOptimizationLevel::All,
    };
    let builder = builder
        .with_log_level(LogLevel::Fatal)?
        .with_no_environment_execution_providers()?
        .with_optimization_level(level)?
        .with_parallel_execution(false)?
        .with_intra_threads(identity::threads(options.threads))?
        .with_inter_threads(1)?
        .with_intra_op_spinning(options.tuning.spinning)?
        .with_inter_op_spinning(false)?
        // A pattern is learnt per input shape and batches come in many sizes. Whether this model's N is
        // fixed is known only once the session exists, so it is off for all.
        .with_memory_pattern(false)?;
    match how.trace {
        Some(folder) => Ok(builder.with_profiling(folder.prefix())?),
        None => Ok(builder),
    }
}

/// What the runtime says, without where in its sources and by which code it says so.
pub(super) fn said(error: &str) -> &str {
    let line = error.lines().next().unwrap_or_default();
    let bare = line.split_once("[ONNXRuntimeError] : ").and_then(|(_, coded)| coded.splitn(3, " : ").nth(2));
    bare.unwrap_or(line).trim()
}

fn settings(error: &ort::Error) -> InferError {
    InferError::Settings { detail: format!("ONNX Runtime refused a session option: {error}") }
}

/// Why the runtime would not have the model: the file's fault or the graph's.
fn refused(path: &Path, error: &ort::Error) -> InferError {
    use ort::ErrorCode as Code;
    let detail = error.to_string();
    match error.code() {
        Code::InvalidGraph
        | Code::NotImplemented
        | Code::InvalidArgument
        | Code::ExecutionProviderFailure => InferError::ModelUnsupported { detail },
        _ => InferError::ModelUnreadable { path: path.to_path_buf(), detail },
    }
}

#[cfg(test)]
#[path = "opening_tests.rs"]
mod tests;
