//! Keeps GStreamer's own log from saying what nobody is to read.
//!
//! The log belongs to the whole process, so as little as possible is taken from it. Not guaranteed: silence of elements
//! that a custom pipeline names, once it has been put together.

use parking_lot::{Mutex, MutexGuard};

/// What logs the description of a pipeline and the properties in it.
const PARSERS: [&str; 3] = ["default", "GST_PIPELINE", "GST_ELEMENT_FACTORY"];

static PARSING: Mutex<()> = Mutex::new(());

/// Has `rtspsrc` log no request: one that is sent again after a refusal has the credentials in it.
pub(super) fn requests() {
    let category = gst::DebugCategory::get("rtspsrc");
    if let Some(category) = category.filter(|category| category.threshold() > gst::DebugLevel::Debug) {
        category.set_threshold(gst::DebugLevel::Debug);
    }
}

/// While it lives, descriptions of pipelines are parsed without a word about what is in them.
pub(super) struct Hush {
    thresholds: Vec<(gst::DebugCategory, gst::DebugLevel)>,
    /// Two at a time would not put back what was there before.
    _only: MutexGuard<'static, ()>,
}

impl Hush {
    pub(super) fn new() -> Self {
        let only = PARSING.lock();
        let categories = PARSERS.into_iter().filter_map(gst::DebugCategory::get);
        let thresholds: Vec<_> = categories.map(|category| (category, category.threshold())).collect();
        for (category, threshold) in &thresholds {
            category.set_threshold((*threshold).min(gst::DebugLevel::Warning));
        }
        Self { thresholds, _only: only }
    }
}

impl Drop for Hush {
    fn drop(&mut self) {
        for (category, threshold) in &self.thresholds {
            category.set_threshold(*threshold);
        }
    }
}
