//! The state of a whole runtime as plain values: what is shown, exported and judged.
//!
//! Pure: nothing here asks an element or reads a clock.

mod exposition;
mod families;
mod history;
mod snapshot;
mod verdict;

pub use exposition::{CONTENT_TYPE, exposition, table};
pub use families::{FAMILIES, Family, Kind, PREFIX};
pub use history::{HISTORY, History};
pub use snapshot::{
    BatchCounts, Engine, Feed, FeedState, Histogram, LATENCY_BOUNDS, Ledger, Output, Phase, Queue, Sample,
    Snapshot, Source,
};
pub use verdict::{Verdict, verdict};

/// Made-up snapshots, for tests here and of `http`.
#[cfg(test)]
pub(crate) mod made_up;

#[cfg(test)]
mod docs_tests;
