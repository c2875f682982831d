//! `nvsink`: hands out one structured record per frame.
//!
//! | file | job |
//! |---|---|
//! | `imp.rs` | the element: properties, signals, pads, state changes |
//! | `lifecycle.rs` | starting and stopping |
//! | `settings.rs` | what the user can set |
//! | `intake.rs` | streaming thread: a sample becomes a record |
//! | `exchange.rs` | what the threads share: queue, pull queue, counters, waiting |
//! | `worker.rs` | worker thread: writes the line, calls the signal |
//! | `report.rs` | what went wrong, as messages on the bus |
//! | `structure.rs` | a record as a `GstStructure` |

mod counters;
mod exchange;
mod imp;
mod intake;
mod lifecycle;
mod report;
mod settings;
mod structure;
mod worker;

pub(super) use counters::Books;
pub use settings::{Embeddings, Format, FrameInclusion, Overflow};

use crate::output::Publisher;
use crate::time::Monotonic;
use glib::prelude::*;
use glib::subclass::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

glib::wrapper! {
    /// SECTION:element-nvsink
    /// @title: nvsink
    /// @short_description: structured records of what was found on each frame
    ///
    /// Ends a video stream and gives one record per frame: feed, times, status, detections, batch,
    /// provenance, and what was lost since the feed's previous record. A record leaves
    ///
    /// * as a line of JSON in the file `location`,
    /// * with the frame through the signal `new-output`,
    /// * through the action signal `pull-output`.
    ///
    /// The frame itself is kept for `new-output` only, while a handler is connected. With its pixels, that is, as
    /// `frame-inclusion` says: the other frames are handed out as buffers that have times and metas but no memory,
    /// and go back to their pool at once. Vectors that models gave for objects stand in the record if `embeddings`
    /// says so.
    ///
    /// ## Threads and losses
    ///
    /// Records are written and handed out by a thread of the element, behind a queue of `queue-capacity`
    /// records. A slow disk or handler fills the queue; what happens then is up to `overflow`. Only `block`
    /// ever holds up the pipeline: choose it for files that are read as fast as possible, where every frame
    /// must have its record. Every dropped record is counted in `stats`, reported by the message
    /// `nv-health` (`sink-backpressure`), and told by `lost` on the feed's next record.
    ///
    /// At EOS, and when the element stops, everything queued is delivered first, for `shutdown-timeout` at
    /// most: when the EOS message arrives the file is complete.
    ///
    /// The file is created, or emptied, in the change from NULL to READY, and closed in the change back.
    /// Between READY and PLAYING it grows.
    ///
    /// ## Frames that no element of this plugin has touched
    ///
    /// get a record, too: `feed-id` is the name of the sink, `feed` and `session` are 0, `seq` counts the
    /// sink's frames, `status` is `passed`, and regions of interest from other elements are its detections.
    ///
    /// ## Example pipelines
    /// ```text
    /// gst-launch-1.0 videotestsrc num-buffers=100 ! nvsink location=records.jsonl overflow=block
    /// ```
    /// ```text
    /// gst-launch-1.0 -q videotestsrc num-buffers=100 ! nvsink location=- overflow=block appsink::max-buffers=2
    /// ```
    ///
    /// Since: 0.1.0
    pub struct NvSink(ObjectSubclass<imp::NvSink>)
        @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

impl NvSink {
    /// Calls `handler` with each frame and its record, on the sink's own thread.
    ///
    /// From Rust, prefer this to connecting `new-output` by name: a panic in `handler` is caught, counted
    /// in `stats` and reported as `sink-panic`, whereas glib aborts the process when a closure panics.
    pub fn connect_new_output<F>(&self, handler: F) -> glib::SignalHandlerId
    where
        F: Fn(&Self, &gst::Sample, &gst::StructureRef) + Send + Sync + 'static,
    {
        self.connect_closure(
            imp::NEW_OUTPUT,
            false,
            glib::closure!(move |sink: &Self, sample: gst::Sample, record: gst::Structure| {
                let call = AssertUnwindSafe(|| handler(sink, &sample, &record));
                if catch_unwind(call).is_err() {
                    sink.imp().handler_panicked();
                }
            }),
        )
    }
}

/// For the elements that have it inside.
impl NvSink {
    /// Gives each record to these, too, from the next change to PAUSED on.
    pub(super) fn set_publishers(&self, publishers: Vec<Arc<dyn Publisher>>) {
        *self.imp().publishers.lock() = publishers;
    }

    /// The records that wait, those that may, and those that were lost here.
    pub(super) fn books(&self) -> Books {
        let imp = self.imp();
        let (counters, level) = imp.exchange.counters();
        counters.books(level, imp.queue_capacity())
    }

    /// The next stop takes until `by` at most: of many sinks that stop one after the other, all together.
    pub(super) fn stop_by(&self, by: Monotonic) {
        *self.imp().stop_by.lock() = Some(by);
    }

    /// Does not wait for a first frame: the pipeline goes to PLAYING without it.
    pub(super) fn set_async(&self, is_async: bool) {
        self.imp().appsink().set_property("async", is_async);
    }
}

pub(super) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "nvsink", gst::Rank::NONE, NvSink::static_type())
}
