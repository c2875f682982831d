//! What travels on buffers. The only folder with `unsafe`.

pub mod detections;
pub mod frame;
pub(crate) mod text;
