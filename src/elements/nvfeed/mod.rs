//! `nvfeed`: a source that stays up whatever its camera does.
//!
//! | file | job |
//! |---|---|
//! | `imp.rs` | the element: properties, signals, the pad, state changes |
//! | `lifecycle.rs` | starting and stopping, what the user and downstream ask |
//! | `settings.rs` | what the user asks for |
//! | `supervisor.rs` | the thread that hears what happens and does what the state machine says |
//! | `source.rs` | one inner source: a pipeline of its own, and the thread that may wait for it |
//! | `front.rs` | the elements of it, and how they are set up |
//! | `hush.rs` | what GStreamer must not log |
//! | `verdict.rs` | what their errors mean |
//! | `inlet.rs` | the pad a source ends in |
//! | `outlet.rs` | the stream that leaves: one, of many sources |
//! | `core.rs` | what the threads share |
//!
//! What is done when is decided by [`crate::feed`].

mod core;
mod front;
mod hush;
#[expect(missing_docs, reason = "the accessors the derive makes are documented by the blurbs")]
mod imp;
mod inlet;
mod lifecycle;
mod outlet;
mod settings;
mod source;
mod supervisor;
mod verdict;

use crate::feed::{Counts, Failure, State};
use crate::time::Monotonic;
use glib::prelude::*;

pub use settings::{DecodePreference, EncryptionPolicy, EndPolicy, ReconnectBackoff, Status, Transport};

glib::wrapper! {
    /// SECTION:element-nvfeed
    ///
    /// Decoded video from a camera or a file, by its URI. Whatever happens to the source, the pipeline goes on: errors and
    /// warnings of the elements inside stay inside, the source is made anew after a delay that grows from attempt to
    /// attempt, and every step is a message `nv-health`: `source-connected`, `source-disconnected`,
    /// `source-reconnecting`, `feed-restarting`, `source-eos`, `insecure-rtsp`, `decode-decision`, and `feed-stopped` with
    /// its reason, once. `docs/nvfeed.md` has the states, what leads from one to another, and the rules of security.
    ///
    /// ## Frames and time
    ///
    /// `src` gives raw video in the memory of the machine, in a format that downstream takes; no queue or converter is
    /// needed behind it. Its running time is continuous: it never goes back, a file that loops goes on where it ended, and
    /// after an outage frames come with the time they come at. The first of them is DISCONT. Every source that is made
    /// after a loss is another session: STREAM_START is sent, so that `session` of nvbatcher rises. For the time of an
    /// outage nothing is sent. Seeks are refused.
    ///
    /// The first video of a source is taken, whatever comes first; everything else is left alone.
    ///
    /// ## Live and not
    ///
    /// RTSP, V4L2 and the like are live: frames come in PLAYING only, the end of the stream is an outage, and a pause lets
    /// go of the source. Files and HTTP are not: frames come in PAUSED, too, nobody who has time for them loses one, and
    /// at their end `loop` and `on-end` say what follows. A file that cannot be read, or has no video, stops the feed with
    /// `reason=fatal`.
    ///
    /// ## Cost
    ///
    /// Two threads for each feed, beside those of the elements inside; both sleep while nothing changes.
    ///
    /// ## Examples
    ///
    /// ```text
    /// gst-launch-1.0 -m nvfeed uri=rtsp://127.0.0.1:8554/door feed-id=door ! fakesink
    /// gst-launch-1.0 -m nvfeed uri=file://$PWD/.cache/clips/bikes.mp4 ! fakesink
    /// ```
    ///
    /// Since: 0.1.0
    pub struct NvFeed(ObjectSubclass<imp::NvFeed>)
        @extends gst::Bin, gst::Element, gst::Object, @implements gst::ChildProxy;
}

/// What is known of a feed, for the elements that have it inside.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) state: State,
    /// Since when.
    pub(super) since: Monotonic,
    /// Without credentials.
    pub(super) uri: String,
    pub(super) session: u32,
    pub(super) counts: Counts,
    pub(super) last_failure: Option<Failure>,
    pub(super) decoder: String,
    /// Width and height in pixels.
    pub(super) size: (u32, u32),
    /// Frames: those that were decoded, that went on, and the others by reason.
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) dropped: [(&'static str, u64); 4],
}

/// Registers the element.
pub(super) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "nvfeed", gst::Rank::NONE, NvFeed::static_type())
}
