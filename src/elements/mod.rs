//! The elements: thin shells that translate between GStreamer and the layers below.
//!
//! Every element keeps two things apart: `settings` (what the user asked for; cloned once per operation) and its
//! state (what is running). No lock is held while calling out.

mod facts;
mod link;
pub mod message;
pub mod nvbatcher;
pub mod nvfeed;
pub mod nvhealth;
pub mod nvinference;
pub mod nvoverlay;
pub mod nvruntime;
pub mod nvsink;
pub mod nvtrack;
pub mod nvunbatcher;
mod pool;
mod signal;
mod stats;
mod sticky;
mod thread;
mod video;
mod watcher;

use crate::health::redact;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Who wrote the elements, as `gst-inspect-1.0` shows it.
const AUTHOR: &str = "The NextVision developers";

/// The folder the plugin was loaded from.
static PLUGIN_FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Registers every element of the plugin, in pipeline order.
pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    if let Some(folder) = plugin.filename().and_then(|file| file.parent().map(Into::into)) {
        PLUGIN_FOLDER.set(folder).ok();
    }
    nvfeed::register(plugin)?;
    nvbatcher::register(plugin)?;
    nvinference::register(plugin)?;
    nvunbatcher::register(plugin)?;
    nvtrack::register(plugin)?;
    nvoverlay::register(plugin)?;
    nvhealth::register(plugin)?;
    nvsink::register(plugin)?;
    nvruntime::register(plugin)?;
    Ok(())
}

/// The folder the plugin was loaded from; `None` if it is part of an application.
fn plugin_folder() -> Option<PathBuf> {
    PLUGIN_FOLDER.get().cloned()
}

/// The number in the name of a request pad.
fn pad_number(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    let number = digits.parse().ok().filter(|number| *number < u32::MAX)?;
    // `sink_07` and `sink_+7` would be a second name for the same feed.
    (digits == format!("{number}")).then_some(number)
}

/// What the getter of a property shows of what the user set: no credential.
fn shown(text: Option<&str>) -> Option<String> {
    text.map(|text| redact(text).into_owned())
}

/// The one way to lock a standard mutex. A panic elsewhere leaves the value as the last complete assignment
/// left it, which is what settings are read for.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pad_has_one_name_only() {
        assert_eq!(pad_number("sink_7", "sink_"), Some(7));
        for name in ["sink_", "sink_07", "sink_+7", "sink_-1", "sink_4294967295", "src_7", "sink_7x"] {
            assert_eq!(pad_number(name, "sink_"), None, "{name}");
        }
    }
}
