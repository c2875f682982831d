//! What travels on buffers: batches, the facts of a frame, detections.
//!
//! The only folder with `unsafe`: the glue that GStreamer needs to carry a Rust value as a `GstMeta`, and what the
//! bindings lack.

pub mod batch;
pub mod detections;
pub mod frame;
pub mod stats;
pub(crate) mod text;
