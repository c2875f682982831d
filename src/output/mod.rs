//! The output record: what one frame became, its JSON form, the rules of the queue it waits in, and the files it is
//! written to.
//!
//! Responsible for the content of a record and for its accounting: every record offered to a
//! [`Backlog`] is delivered, handed back, or counted, and what was lost is written on the next record
//! of its feed. Not responsible for time or threads: the elements own those.

mod attributes;
mod backlog;
mod facts;
mod inclusion;
mod json;
mod lines;
mod loss;
mod publish;
mod record;

pub use attributes::{AttributeRecord, EmbeddingForm, EmbeddingRecord};
pub use backlog::{Backlog, Entry, Overflow, Pushed};
pub use facts::{FrameFacts, Status, WallTimeSource};
pub use inclusion::{FrameInclusion, InclusionTracker};
pub use json::append_line;
pub use lines::{Lines, Rotation, Target, Written};
pub use loss::{LossTracker, Lost};
pub use publish::Publisher;
pub use record::{
    BatchPlace, DetectionRecord, FrameTime, MAX_ERROR_BYTES, MAX_LABEL_BYTES, NormalizedBox, PixelBox,
    Provenance, Record, SCHEMA, Stage, StageResult, TrackMark, bounded_text,
};
