//! What a pipeline says: its messages, and the warnings of our elements in the log.

use crate::support::PATIENCE;
use gst::prelude::*;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::Message;
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Once};

/// Lines of level WARNING and above of our categories, of the whole process.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Events that belong to a start of the engine, not to a fault.
const OF_EVERY_START: [&str; 2] = ["model-loading", "model-ready"];

/// Collects the log from here on.
pub(super) fn listen_to_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::log::set_threshold_for_name("nv*", gst::DebugLevel::Warning);
        gst::log::add_log_function(|category, level, _, _, _, _, message| {
            let ours = category.name().starts_with("nv") && level <= gst::DebugLevel::Warning;
            if ours && let Some(text) = message.get() {
                LINES.lock().push(format!("{}: {text}", category.name()));
            }
        });
    });
}

/// The lines so far; they are forgotten.
pub(super) fn take_lines() -> Vec<String> {
    std::mem::take(&mut *LINES.lock())
}

#[derive(Default)]
struct Said {
    health: Vec<Message>,
    unreadable: Vec<String>,
    errors: Vec<String>,
    warnings: Vec<String>,
    texts: Vec<String>,
}

/// The messages of one pipeline.
#[derive(Default)]
pub(crate) struct Watch {
    said: Mutex<Said>,
    changed: Condvar,
}

impl Watch {
    /// Takes every message off the bus the moment it is posted.
    pub(super) fn of(pipeline: &gst::Pipeline) -> Arc<Self> {
        let watch = Arc::new(Self::default());
        let bus = pipeline.bus().expect("a pipeline has a bus");
        bus.set_sync_handler({
            let watch = Arc::clone(&watch);
            move |_bus, message| {
                watch.hear(message);
                gst::BusSyncReply::Drop
            }
        });
        watch
    }

    fn hear(&self, message: &gst::MessageRef) {
        let mut said = self.said.lock();
        let source = message.src().map_or_else(String::new, |source| source.name().into());
        match message.view() {
            gst::MessageView::Error(error) => {
                let debug = error.debug().unwrap_or_default();
                said.errors.push(format!("{source}: {} ({debug})", error.error()));
            }
            gst::MessageView::Warning(warning) => {
                let debug = warning.debug().unwrap_or_default();
                said.warnings.push(format!("{source}: {} ({debug})", warning.error()));
            }
            _ => {}
        }
        match health_of(message) {
            Some(Ok(health)) => said.health.push(health),
            Some(Err(error)) => said.unreadable.push(error.to_string()),
            None => {}
        }
        if let Some(structure) = message.structure() {
            said.texts.push(structure.to_string());
        }
        drop(said);
        self.changed.notify_all();
    }

    /// Waits for a health message of a feed.
    pub(crate) fn wait_for(&self, event: &str, feed: &str) -> Message {
        let is_it =
            |message: &Message| message.event.name() == event && message.feed_id.as_deref() == Some(feed);
        let mut said = self.said.lock();
        let absent = |said: &mut Said| !said.health.iter().any(is_it);
        let result = self.changed.wait_while_for(&mut said, absent, PATIENCE.into());
        assert!(!result.timed_out(), "no {event} of {feed} within {PATIENCE}: {:?}", said.health);
        said.health.iter().rev().find(|message| is_it(message)).cloned().expect("it was there just now")
    }

    /// What was reported, as event and feed.
    pub(super) fn reported(&self) -> BTreeSet<(String, String)> {
        let said = self.said.lock();
        let health = said.health.iter().filter(|message| !OF_EVERY_START.contains(&message.event.name()));
        health
            .map(|message| (message.event.name().to_owned(), message.feed_id.clone().unwrap_or_default()))
            .collect()
    }

    /// Health messages in all.
    pub(crate) fn count(&self) -> usize {
        self.said.lock().health.len()
    }

    pub(super) fn errors(&self) -> Vec<String> {
        self.said.lock().errors.clone()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.said.lock().warnings.clone()
    }

    /// Every structure in a message, as text.
    pub(super) fn texts(&self) -> Vec<String> {
        self.said.lock().texts.clone()
    }

    /// Counts of health messages whose parts do not add up to their total, and messages nobody can read.
    pub(super) fn miscounts(&self) -> Vec<String> {
        let said = self.said.lock();
        let mut sums: BTreeMap<(String, String, String), (u64, u64)> = BTreeMap::new();
        for message in &said.health {
            let feed = message.feed_id.clone().unwrap_or_default();
            let key = (message.element.clone(), message.event.name().to_owned(), feed);
            let (sum, total) = sums.get(&key).copied().unwrap_or_default();
            // A feed that was removed and comes back is counted anew.
            let anew = message.burst.total == message.burst.count;
            if anew && sum != total {
                return vec![format!("{key:?}: counts add up to {sum}, total {total}")];
            }
            let before = if anew { 0 } else { sum };
            sums.insert(key, (before + message.burst.count, message.burst.total));
        }
        let wrong = sums.into_iter().filter(|(_, (sum, total))| sum != total);
        let wrong =
            wrong.map(|(key, (sum, total))| format!("{key:?}: counts add up to {sum}, total {total}"));
        wrong.chain(said.unreadable.iter().cloned()).collect()
    }
}
