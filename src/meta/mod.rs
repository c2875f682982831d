//! What travels on buffers: batches, the facts of a frame, objects as regions and as upstream's relation meta.
//!
//! The only folder with `unsafe`: the glue that GStreamer needs to carry a Rust value as a `GstMeta`, what the
//! bindings lack, and libgstanalytics, which is opened at run time.

pub mod attributes;
pub mod batch;
pub mod detections;
pub mod frame;
pub mod objects;
pub mod relation;
pub mod stats;
pub(crate) mod text;
pub mod tracks;
