//! `nvruntime`: everything of a site as one element.
//!
//! | file | job |
//! |---|---|
//! | `imp.rs` | the element: properties, signals, state changes |
//! | `lifecycle.rs` | starting and stopping, and what the children say |
//! | `settings.rs` | what the user asks for |
//! | `control.rs` | the thread that does what is asked for and hears what happens |
//! | `comings.rs`, `endings.rs` | its work: feeds come and go; what the end of one means, and the end of all |
//! | `reload.rs` | reading the configuration, also while everything plays |
//! | `group.rs`, `feed.rs`, `outputs.rs` | what a site is made of: elements |
//! | `props.rs`, `secrets.rs`, `describe.rs` | from the words of a site to properties |
//! | `core.rs` | what the threads share |
//! | `meter.rs`, `survey.rs`, `structure.rs` | counting, looking at everything, and telling it |
//! | `page.rs`, `preview.rs` | what is shown over HTTP, pictures included |
//! | `refusal.rs` | why a request is refused |
//!
//! What a site file may say is decided by [`crate::config`], what is shown of the state by [`crate::metrics`].

mod comings;
mod control;
mod core;
mod describe;
mod endings;
mod feed;
mod files;
mod group;
#[expect(missing_docs, reason = "the accessors the derive makes are documented by the blurbs")]
mod imp;
mod lifecycle;
mod meter;
mod outputs;
mod page;
mod preview;
mod props;
mod refusal;
mod reload;
mod secrets;
mod settings;
mod structure;
mod survey;

use crate::metrics::Snapshot;
use glib::prelude::*;
use glib::subclass::prelude::*;

pub use refusal::Refusal;
pub use settings::FeedExit;

glib::wrapper! {
    /// SECTION:element-nvruntime
    ///
    /// A whole site from one file: feeds, the models they share, trackers, outputs, and one place that shows the state of
    /// all. It is `nvfeed`, `nvbatcher`, `nvinference`, `nvunbatcher`, `nvtrack`, `nvhealth` and `nvsink` put together;
    /// `docs/operating.md` explains the file, `docs/site.example.toml` has every key.
    ///
    /// ## Feeds
    ///
    /// come with the file, with the action `add-feed` (a structure with the keys of a `[[feeds]]` table), and with `reload`, which
    /// reads the file again and touches only what has changed. They go with `remove-feed`, after what they have on
    /// their way has been delivered, for `drain-timeout` at most. Every feed has a number, which is `feed` in its records
    /// and never another's. One that ends or fails stays known, so that somebody sees why, counts no more for
    /// `max-feeds`, and lives again with `restart-feed`.
    ///
    /// `on-feed-exit` says what that means to the others: nothing, or the end of all. When every feed is over, EOS is posted, or an
    /// error if all of them failed.
    ///
    /// ## Actions
    ///
    /// `add-feed` returns the number of the feed, or -1. `remove-feed`, `pause-feed`, `resume-feed`, `restart-feed` (with a
    /// number), `reload` and `shutdown` return whether they were done, `ping` whether the control thread answers within
    /// a second. Why one was refused is in `last-error`, which begins with a kind: `feed-limit-exceeded`, `unknown-feed`,
    /// `duplicate-feed`, `already-paused`, `not-paused`, `not-alive`, `shutting-down`, `not-running`,
    /// `invalid-configuration` (with file, line and key), `failed`, `timed-out` or `re-entered`. `diagnostics` returns what is known of
    /// everything, as `stats` does.
    ///
    /// ## Signals
    ///
    /// `feed-added` and `feed-removed` have the number of the feed and come from the control thread: a handler must not wait for
    /// the element. `new-output` has the number, the sample and the record, for outputs of type `appsink`.
    ///
    /// ## Messages
    ///
    /// Beside those of the elements inside (`docs/messages.md`): `nv-runtime` with `phase` (`starting`, `running`, `draining`, `stopped`).
    /// Errors of a feed are warnings here; errors of what feeds share are errors.
    ///
    /// ## Example
    ///
    /// ```text
    /// gst-launch-1.0 nvruntime config=pipelines/site.toml
    /// ```
    ///
    /// Since: 0.1.0
    pub struct NvRuntime(ObjectSubclass<imp::NvRuntime>)
        @extends gst::Bin, gst::Element, gst::Object, @implements gst::ChildProxy;
}

impl NvRuntime {
    /// Everything that is known, as plain values.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.imp().snapshot()
    }

    /// The action `add-feed`, with its error.
    ///
    /// # Errors
    /// For a description that is wrong, a name that a living feed has, and one feed too many.
    pub fn add_feed(&self, feed: &gst::StructureRef) -> Result<u32, Refusal> {
        self.imp().add_feed(feed)
    }

    /// The action `remove-feed`, with its error.
    ///
    /// # Errors
    /// For a number that no feed has, and for one that does not end in time.
    pub fn remove_feed(&self, id: u32) -> Result<(), Refusal> {
        self.imp().remove_feed(id).map(drop)
    }
}

/// Registers the element.
pub(super) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "nvruntime", gst::Rank::NONE, NvRuntime::static_type())
}
