//! Inference: one model, loaded once, run by one thread for everybody in the process who wants it.
//!
//! The only place that names `ort`. It knows no GStreamer: batches come as numbers and leave as numbers.
//!
//! # How a batch travels
//!
//! ```text
//! element A ── input() ─ fill rows ─ submit() ─┐            ┌ run k ┐
//!                                              ├─ (one) ──▶ │ worker │──▶ Reply ─▶ wait() ─▶ decode
//! element B ── input() ─ fill rows ─ submit() ─┘            └────────┘
//! ```
//!
//! * [`Engine::open`] looks the model up in a process-wide registry or loads it on a thread of its own,
//!   `nv-infer-<n>`, which owns the session from then on. Same files and options: same engine.
//! * [`Engine::submit`] hands over to that thread through one place. While batch k runs, batch k+1 can
//!   wait there and batch k+2 is being filled; a submitter without room waits, until there is some, its
//!   [`Interrupt`] is set, or its time is up.
//! * [`Pending::wait`] waits in the same three ways for the [`Reply`]. Giving up does not stop the run:
//!   ONNX Runtime cannot be stopped inside a kernel. Its results are thrown away when they come.
//! * What a batch holds (tickets, frames) is given to the engine as a [`Hold`], which is told to let go when the
//!   engine has done with the batch, whoever still waits, or has been retired. So a limit on tickets is a limit on what a
//!   wedged engine can pile up.
//!
//! # Ownership and threads
//!
//! The session is made, used and released on its worker and nowhere else. Buffers in both directions are
//! plain vectors that circulate: nothing downstream keeps a session alive. The worker is never joined
//! while it is in a run, so no state change waits for a model. The library and its environment, once
//! open, stay for the life of the process (see [`library`]).
//!
//! # What is not guaranteed
//!
//! Fairness between the users of one engine: who gets the free place is chosen by chance. Recovery of an
//! engine that is wedged: [`EngineStats::running_since`] says how long, what to do is the element's
//! decision, and [`Engine::retire`] makes room for another. Sense in the results: they are the model's numbers, NaN and all; the decoders judge them.
//!
//! # Errors
//!
//! Every fault is an [`InferError`] that says what was expected and found. No input makes this layer
//! panic; panics below it (in `ort`) are caught on the worker. ONNX Runtime itself is C++ that reads the
//! model: a model is trusted as far as the runtime's own checks go.

pub mod buckets;
pub mod cache;
pub mod engine;
pub mod error;
pub mod interrupt;
pub mod library;
pub mod model;
pub mod provider;
pub mod sidecar;
pub mod tensor;
pub mod tuning;
pub mod worker;

#[cfg(feature = "testing")]
pub mod bare;
mod bound;
mod describe;
mod elf;
mod external;
mod identity;
mod opening;
mod placement;
mod registry;
mod session;

#[cfg(test)]
mod fake;
#[cfg(any(test, feature = "testing"))]
pub mod script;

pub use cache::CacheUse;
pub use engine::{Engine, EngineOptions, Pending, SubmitError, engines};
pub use error::{ErrorKind, InferError};
pub use identity::cores;
pub use interrupt::Interrupt;
pub use library::version as runtime_version;
pub use model::{Batch, ChannelOrder, ElementType, Layout, ModelDescription, Opened, OutputDescription};
pub use provider::Provider;
#[cfg(feature = "plugin")]
pub(crate) use registry::Registry;
pub use tensor::{Input, InputData, MAX_TENSOR_BYTES, OutputTensor, Outputs};
pub use tuning::{ConvSearch, Optimization, Precision, Tuning};
#[cfg(feature = "plugin")]
pub(crate) use worker::detach;
pub use worker::{EngineStats, Hold, Reply, Unanswered, detached_threads};
