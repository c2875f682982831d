//! Opens ONNX Runtime, once per process, without ever panicking.
//!
//! `ort` panics when it is used before a library is open, may open a library by itself, and allows one
//! environment per process, ever. So every use of `ort` in this layer goes through `runtime`, which
//! opens the library by [`ort::init_from`] before anything else touches `ort`, and keeps the environment
//! in a static that is never dropped: ONNX Runtime does not survive being torn down at exit.
//!
//! A failed attempt leaves no trace and a later one may succeed, unless the library was already taken in
//! when the failure came (an environment that could not be made): then only the same file is tried again.
//!
//! ONNX Runtime's own log goes to stderr at severity *error* for the environment (`ort`'s default; the
//! variable `ORT_LOG` changes it) and *fatal* for sessions, whose errors come back as values anyway.
//!
//! Not guaranteed: that a library that calls itself ONNX Runtime is one, or that loading it does no harm.
//! Opening a shared object runs its code.

use super::elf;
use super::error::{InferError, panic_message};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::error::Error as _;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What the loader of the system is asked for when no file is named.
const SYSTEM_NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// The variable that names the library, as `ort` and others read it.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Where to look for the library.
#[derive(Clone, Copy, Debug, Default)]
pub struct LibraryRequest<'a> {
    /// The file the user names. It is this one or none.
    pub explicit: Option<&'a Path>,
    /// The folder of the plugin: a `libonnxruntime.so*` in it is preferred to the system's.
    pub beside: Option<&'a Path>,
}

/// ONNX Runtime, open.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) environment: ort::environment::Environment,
    path: PathBuf,
    version: String,
}

impl Runtime {
    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

static RUNTIME: OnceCell<Runtime> = OnceCell::new();

/// The library `ort` has taken in; it never lets go of it, even if nothing could be made of it.
static TAKEN_IN: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The one runtime of the process, opened now if it is not open yet.
///
/// May take long (the loader reads the file): called on an engine's worker, never on a state change.
///
/// # Errors
///
/// [`InferError::LibraryNotFound`], [`InferError::LibraryUnusable`], or [`InferError::Settings`] if
/// `request` names another file than the one that is open.
pub(super) fn runtime(request: LibraryRequest<'_>) -> Result<&'static Runtime, InferError> {
    let runtime = RUNTIME.get_or_try_init(|| open(request))?;
    if let Some(asked) = request.explicit {
        same_library(asked, &runtime.path)?;
    }
    Ok(runtime)
}

/// The release of the open ONNX Runtime; `None` before the first engine was opened.
#[must_use]
pub fn version() -> Option<&'static str> {
    RUNTIME.get().map(Runtime::version)
}

fn open(request: LibraryRequest<'_>) -> Result<Runtime, InferError> {
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let mut tried = Vec::new();
    for candidate in candidates(request, variable) {
        match open_candidate(&candidate)? {
            Some(runtime) => return Ok(runtime),
            None => tried.push(candidate),
        }
    }
    Err(InferError::LibraryNotFound { tried })
}

/// What to try, in order. A file somebody named is the only one: falling back would hide a typing error.
fn candidates(request: LibraryRequest<'_>, variable: Option<OsString>) -> Vec<PathBuf> {
    let named = request.explicit.map(Path::to_path_buf).or_else(|| variable.map(PathBuf::from));
    if let Some(named) = named {
        return vec![named];
    }
    let mut candidates = request.beside.map(libraries_in).unwrap_or_default();
    if candidates.is_empty() {
        candidates.extend(request.beside.map(|folder| folder.join(SYSTEM_NAMES[0])));
    }
    candidates.extend(SYSTEM_NAMES.map(PathBuf::from));
    candidates
}

/// The libraries in `folder` by name, so that a link without a version comes before what it points to.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = entries
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name == SYSTEM_NAMES[0] || name.starts_with("libonnxruntime.so."))
        })
        .collect();
    found.sort();
    found
}

/// Opens one candidate; `None` if there is no such library.
fn open_candidate(candidate: &Path) -> Result<Option<Runtime>, InferError> {
    let unusable = |detail: String| InferError::LibraryUnusable { path: candidate.to_path_buf(), detail };
    // A bare name that is no file here is for the loader's search path.
    let by_name = candidate.components().count() == 1 && candidate.is_relative() && !candidate.exists();
    let target = if by_name {
        candidate.to_path_buf()
    } else if candidate.exists() {
        elf::check(candidate).map_err(unusable)?;
        candidate.canonicalize().map_err(|error| unusable(error.to_string()))?
    } else {
        return Ok(None);
    };
    let taken_in = TAKEN_IN.lock().clone();
    if let Some(taken_in) = taken_in {
        same_library(&target, &taken_in)?;
    }
    let opened = catch_unwind(AssertUnwindSafe(|| environment(&target)));
    let environment = match opened {
        Ok(Ok(environment)) => environment,
        Ok(Err(Refusal::NotFound)) if by_name => return Ok(None),
        Ok(Err(Refusal::NotFound)) => return Err(unusable("the loader found no such file".to_owned())),
        Ok(Err(Refusal::Unusable(detail))) => return Err(unusable(detail)),
        Err(panic) => return Err(unusable(panic_message(&*panic))),
    };
    let path = if by_name { loaded_path().unwrap_or(target) } else { target };
    let version = elf::release(&path).unwrap_or_else(|| "unknown".to_owned());
    Ok(Some(Runtime { environment, path, version }))
}

enum Refusal {
    NotFound,
    Unusable(String),
}

fn environment(target: &Path) -> Result<ort::environment::Environment, Refusal> {
    let builder = ort::init_from(target).map_err(refusal)?;
    *TAKEN_IN.lock() = Some(target.to_path_buf());
    let built = builder.with_name("nextvision").with_telemetry(false).build();
    built.map_err(|error| Refusal::Unusable(error.to_string()))
}

fn refusal(error: ort::LoadDynamicError) -> Refusal {
    match error {
        ort::LoadDynamicError::Dlopen { error, path } => {
            let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            // What glibc says when its search finds no such name; a missing dependency has another one.
            let missing = format!("{}: cannot open shared object file: No such file", path.display());
            if detail.contains(&missing) { Refusal::NotFound } else { Refusal::Unusable(detail) }
        }
        ort::LoadDynamicError::MissingApi { .. } => {
            Refusal::Unusable("expected the symbol OrtGetApiBase, found none".to_owned())
        }
        ort::LoadDynamicError::InvalidVersionString => {
            Refusal::Unusable("expected a version, found a text that is not UTF-8".to_owned())
        }
        ort::LoadDynamicError::BadVersion { version_str, .. } => Refusal::Unusable(format!(
            "expected version 1.{} or newer, found {version_str}",
            ort::MINOR_VERSION
        )),
    }
}

/// The file behind a library the loader found by name, from the process's own map of memory.
fn loaded_path() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut found = maps.lines().filter_map(|line| {
        let path = Path::new(line.get(line.find('/')?..)?);
        let name = path.file_name()?.to_str()?;
        name.starts_with(SYSTEM_NAMES[0]).then(|| path.to_path_buf())
    });
    let first = found.next()?;
    // With two of them in the process (another plugin's), which one is ours is not known.
    found.all(|path| path == first).then_some(first)
}

fn same_library(asked: &Path, open: &Path) -> Result<(), InferError> {
    if asked == open || asked.canonicalize().is_ok_and(|asked| asked == open) {
        return Ok(());
    }
    let bare = asked.components().count() == 1 && !asked.exists();
    let same_name = open
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(&*asked.as_os_str().to_string_lossy()));
    if bare && same_name {
        return Ok(());
    }
    if !bare && !asked.exists() {
        return Err(InferError::LibraryNotFound { tried: vec![asked.to_path_buf()] });
    }
    Err(InferError::Settings {
        detail: format!(
            "ONNX Runtime {} was asked for, but the process already uses {}, and there can be only one",
            asked.display(),
            open.display()
        ),
    })
}

#[cfg(test)]
#[path = "library_tests.rs"]
mod tests;
