//! The log: events of `tracing`, one line each, on standard error.
//!
//! | file | does |
//! |---|---|
//! | `filter.rs` | which events are wanted, those of GStreamer by category |
//! | `gstreamer.rs` | GStreamer's and GLib's own log, as events |
//! | `line.rs` | from an event to a line: redacted, escaped, as text or JSON |
//! | `writer.rs` | the thread that writes, so that nobody waits for a slow reader |
//! | `panics.rs` | panics, as events, and remembered |
//!
//! Not guaranteed: that every event is written. If nobody reads standard error, lines are dropped and counted; lines
//! of the last moment are lost when the process is ended by a second signal or crashes.

mod filter;
mod gstreamer;
mod line;
mod panics;
mod writer;

pub(crate) use filter::Filter;
pub(crate) use gstreamer::set_thresholds as set_gst_thresholds;
pub(crate) use line::Format;
pub(crate) use panics::Panics;

use line::Lines;
use std::sync::OnceLock;
use tracing_subscriber::layer::SubscriberExt;
use writer::Writer;

/// The variable with the filter, if the command line has none.
pub(crate) const VARIABLE: &str = "NV_LOG";

/// The filter without both.
const DEFAULT: &str = "info";

/// The writer of the process: threads that GStreamer made log, too, so there is no other way to it.
static WRITER: OnceLock<Writer> = OnceLock::new();

/// What the log is to be.
pub(crate) struct Options {
    /// Which events; `None` is what the environment says.
    pub(crate) filter: Option<Filter>,
    pub(crate) format: Format,
    /// What GStreamer produces; `None` is what the environment says.
    pub(crate) gst_debug: Option<String>,
}

/// Starts the log and GStreamer's way into it; returns the filter that holds, for [`set_gst_thresholds`].
///
/// # Errors
///
/// What is wrong with the filter in the environment, and if the system has no thread for the log.
pub(crate) fn start(options: &Options) -> Result<Filter, String> {
    let filter = match &options.filter {
        Some(filter) => filter.clone(),
        None => from_environment()?,
    };
    let writer =
        Writer::start(std::io::stderr()).map_err(|error| format!("no thread for the log: {error}"))?;
    let writer = WRITER.get_or_init(|| writer);
    let layer =
        tracing_subscriber::registry().with(filter.for_events()?).with(Lines::new(options.format, writer));
    tracing::subscriber::set_global_default(layer).map_err(|error| error.to_string())?;
    gstreamer::bridge(filter.clone(), options.gst_debug.is_some());
    Ok(filter)
}

fn from_environment() -> Result<Filter, String> {
    let text = std::env::var_os(VARIABLE).filter(|text| !text.is_empty());
    let text = text.map_or_else(|| DEFAULT.to_owned(), |text| text.to_string_lossy().into_owned());
    text.parse().map_err(|error| format!("{VARIABLE}: {error}"))
}

/// Waits until everything is written, but not for long: for what may end the process at once.
fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush();
    }
}

/// Writes what is left, then `last` if there is one, and nothing after it. Waits for a reader, but not for long.
pub(crate) fn finish(last: Option<&str>, format: Format) {
    let last = last.map(|reason| line::last(reason, format));
    match WRITER.get() {
        Some(writer) => writer.finish(last),
        None => last.iter().for_each(|line| crate::complain(line)),
    }
}
