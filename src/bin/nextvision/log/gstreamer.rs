//! GStreamer's log, and GLib's, as events of the targets `gst` and `glib`.
//!
//! What GStreamer produces is set by its thresholds; what of it is shown by the filter.

use super::filter::{Filter, GST};
use std::cell::Cell;
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// The variable of GStreamer that says what it produces.
const VARIABLE: &str = "GST_DEBUG";

thread_local! {
    /// Whether this thread is in the log function: whatever logs from in there is not heard.
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Takes GStreamer's log function out and puts one in that makes events. May come before `gst::init`.
/// `asked` is whether the command line says what GStreamer is to produce.
pub(super) fn bridge(filter: Filter, asked: bool) {
    let asked = asked || is_asked();
    gst::log::remove_default_log_function();
    gst::log::add_log_function(move |category, level, file, _function, line, object, message| {
        let Some(level) = level_of(level) else { return };
        if !filter.wants(category.name(), level, asked) {
            return;
        }
        alone(|| {
            let object = object.map(ToString::to_string).unwrap_or_default();
            let text = message.get().unwrap_or_default();
            emit(&Line { level, category: category.name(), object: &object, file, line, text: &text });
        });
    });
    // Set by those who have GLib end the process at what it complains of.
    let is_fatal = std::env::var_os("G_DEBUG").is_some();
    glib::log_set_default_handler(move |domain, level, text| {
        let domain = domain.unwrap_or_default();
        alone(|| match level {
            glib::LogLevel::Error | glib::LogLevel::Critical => {
                tracing::error!(target: "glib", domain, "{text}");
                if is_fatal || level == glib::LogLevel::Error {
                    super::flush();
                }
            }
            glib::LogLevel::Warning => tracing::warn!(target: "glib", domain, "{text}"),
            glib::LogLevel::Message | glib::LogLevel::Info => {
                tracing::info!(target: "glib", domain, "{text}");
            }
            glib::LogLevel::Debug => tracing::debug!(target: "glib", domain, "{text}"),
        });
    });
}

fn is_asked() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|text| !text.is_empty())
}

/// Sets what GStreamer produces: what `debug` says, else the environment, else warnings; categories of the filter at
/// least as much as it wants. After `gst::init`.
pub(crate) fn set_thresholds(filter: &Filter, debug: Option<&str>) {
    match debug {
        Some(debug) => gst::log::set_threshold_from_string(debug, true),
        None if is_asked() => (),
        None => gst::log::set_default_threshold(gst::DebugLevel::Warning),
    }
    for (category, level) in filter.categories() {
        gst::log::set_threshold_for_name(category, threshold(level));
    }
    gst::log::set_active(true);
}

fn threshold(level: LevelFilter) -> gst::DebugLevel {
    match level.into_level() {
        None => gst::DebugLevel::None,
        Some(Level::ERROR) => gst::DebugLevel::Error,
        Some(Level::WARN) => gst::DebugLevel::Warning,
        Some(Level::INFO) => gst::DebugLevel::Info,
        Some(Level::DEBUG) => gst::DebugLevel::Debug,
        Some(Level::TRACE) => gst::DebugLevel::Trace,
    }
}

fn level_of(level: gst::DebugLevel) -> Option<Level> {
    match level {
        gst::DebugLevel::Error => Some(Level::ERROR),
        gst::DebugLevel::Warning | gst::DebugLevel::Fixme => Some(Level::WARN),
        gst::DebugLevel::Info => Some(Level::INFO),
        gst::DebugLevel::Debug => Some(Level::DEBUG),
        gst::DebugLevel::Log | gst::DebugLevel::Trace | gst::DebugLevel::Memdump => Some(Level::TRACE),
        _ => None,
    }
}

/// Runs `log` unless this thread does so already.
fn alone(log: impl FnOnce()) {
    // A thread that is about to end has no such value any more, and nothing to say.
    let is_free = LOGGING.try_with(|logging| !logging.replace(true)).unwrap_or(false);
    if is_free {
        log();
        LOGGING.try_with(|logging| logging.set(false)).ok();
    }
}

/// A line of GStreamer's log.
struct Line<'a> {
    level: Level,
    category: &'a str,
    object: &'a str,
    file: &'a str,
    line: u32,
    text: &'a str,
}

fn emit(said: &Line<'_>) {
    let Line { level, category, object, file, line, text } = said;
    // The folders of whoever compiled it say nothing.
    let at = format!("{}:{line}", file.rsplit('/').next().unwrap_or_default());
    // Target and level of an event are constants of the place it is made in.
    match *level {
        Level::ERROR => tracing::error!(target: GST, category, object, at, "{text}"),
        Level::WARN => tracing::warn!(target: GST, category, object, at, "{text}"),
        Level::INFO => tracing::info!(target: GST, category, object, at, "{text}"),
        Level::DEBUG => tracing::debug!(target: GST, category, object, at, "{text}"),
        Level::TRACE => tracing::trace!(target: GST, category, object, at, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_of_gstreamer_has_one_of_tracing() {
        assert_eq!(level_of(gst::DebugLevel::Fixme), Some(Level::WARN));
        assert_eq!(level_of(gst::DebugLevel::Memdump), Some(Level::TRACE));
        assert_eq!(level_of(gst::DebugLevel::None), None);
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            assert_eq!(level_of(threshold(LevelFilter::from_level(level))), Some(level));
        }
    }

    #[test]
    fn what_logs_while_it_is_logged_is_not_heard() {
        let mut heard = 0;
        alone(|| {
            heard += 1;
            alone(|| heard += 1);
        });
        alone(|| heard += 1);
        assert_eq!(heard, 2);
    }
}
