//! `nvhealth`: watches the feed that passes through it.
//!
//! | file | job |
//! |---|---|
//! | `imp.rs` | the element: properties, the signal, pads, state changes |
//! | `feed.rs` | from buffers and events to the watch, and what is still to be said |
//! | `core.rs` | what the threads share, and posting in order |
//! | `settings.rs` | what the user asks for |
//!
//! What is a stall, a lag or a session is decided by [`crate::health::Watch`]; time passes by the watcher, one thread
//! for all elements.

mod core;
mod feed;
#[expect(missing_docs, reason = "the accessors the derive makes are documented by the blurbs")]
mod imp;
mod settings;

use crate::{clock, health};
use glib::prelude::*;
use glib::subclass::prelude::*;

pub use settings::IdleAction;

glib::wrapper! {
    /// SECTION:element-nvhealth
    ///
    /// Passes any stream through unchanged and reports, with messages `nv-health`, what happens to it: `feed-started`
    /// with its first frame, `feed-stalled` and `feed-recovered`, `frame-lag` and `lag-recovered`, `discontinuity`,
    /// `caps-changed`, `fps-low`, `idle` and `resumed`, `feed-report`, `source-eos`, and `feed-stopped` with its
    /// reason. `docs/messages.md` has every field.
    ///
    /// ## Sessions
    ///
    /// A session is the frames between a start and an end, and every session ends with exactly one `feed-stopped`:
    /// `end-of-stream` with EOS or when another stream begins, `user-requested` with the change to READY, `fatal`
    /// when downstream answers with an error. It begins with the first frame after the change to PAUSED, after a
    /// STREAM_START, with a higher `session` in the meta `nv-frame`, and with the first frame that downstream takes
    /// after an error. A flush ends nothing. EOS without any frame is a session, too; a feed that is stopped before
    /// its first frame had none.
    ///
    /// ## Time
    ///
    /// Silence is measured on the monotonic clock, while PLAYING: a pause is no stall, and neither is what follows EOS.
    /// A feed that never gave a frame stalls once; its first frame is `feed-started` and `feed-recovered`. GAP events
    /// are no frames. With `idle-action=eos` an idle feed is ended: EOS is sent downstream, and frames are answered
    /// with EOS until a STREAM_START or a flush.
    ///
    /// Lag is the running time of the pipeline's clock, less the configured latency, less the running time of the
    /// frame: steps of the wall clock do not matter. Without a clock or without timestamps nothing is late.
    ///
    /// ## Cost
    ///
    /// All elements of the process share one thread, `nv-watch`, which sleeps until something is due and runs while an
    /// element is PAUSED or PLAYING. A handler that blocks on a message holds up that element's messages only.
    ///
    /// ## Example
    ///
    /// ```text
    /// gst-launch-1.0 -m videotestsrc is-live=true num-buffers=60 ! nvhealth report-interval=1000000000 ! fakesink
    /// ```
    ///
    /// Since: 0.1.0
    pub struct NvHealth(ObjectSubclass<imp::NvHealth>)
        @extends gst::Element, gst::Object;
}

/// For the elements that have it inside.
impl NvHealth {
    /// What is known of the feed.
    pub(super) fn known(&self) -> health::Snapshot {
        self.imp().core.look(|feed| feed.watch.snapshot(clock::now()))
    }

    /// Whether silence is wanted for now, and no sign of anything.
    pub(super) fn hold(&self, is_held: bool) {
        let now = clock::now();
        self.imp().core.notes(|feed| if is_held { feed.watch.pause(now) } else { feed.watch.play(now) });
    }
}

/// Registers the element.
pub(super) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "nvhealth", gst::Rank::NONE, NvHealth::static_type())
}
