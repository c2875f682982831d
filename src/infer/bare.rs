//! A session with nothing around it, for benchmarks: what an engine costs is told by comparing with it.
//!
//! Only in builds with the feature `testing`. The session has the library, the environment and the options of an
//! engine that is opened with the same [`EngineOptions`]; no thread, no copies and no checks stand before it.

use super::engine::EngineOptions;
use super::error::InferError;
use super::library::{self, LibraryRequest};
use super::session;
use ort::session::Session;

/// Opens the model as an engine does, on this thread.
///
/// # Errors
///
/// As [`Engine::open`](super::Engine::open), without the checks of the model's signature.
pub fn open(options: &EngineOptions) -> Result<Session, InferError> {
    let request =
        LibraryRequest { explicit: options.library.as_deref(), beside: options.library_beside.as_deref() };
    session::open(library::runtime(request)?, options)
}
