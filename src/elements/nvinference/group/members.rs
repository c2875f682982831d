//! Who is in a group, and who hears what of its private pipeline.

use crate::elements::lock;
use crate::elements::message::health_of;
use crate::elements::nvinference::NvInference;
use crate::health::Due;
use glib::subclass::prelude::*;
use gst::prelude::*;
use std::sync::Mutex;

/// The members of one group.
pub(super) struct Members {
    roll: Mutex<Roll>,
}

struct Roll {
    entries: Vec<Entry>,
    /// The number of the next member: none is used twice.
    next: u32,
    /// An element of the private pipeline has posted an error.
    has_failed: bool,
}

struct Entry {
    number: u32,
    element: glib::WeakRef<NvInference>,
    /// What messages about this member's frames call it.
    feed_id: String,
}

impl Members {
    pub(super) fn new(first: &NvInference) -> Self {
        let roll = Roll { entries: Vec::new(), next: 0, has_failed: false };
        let members = Self { roll: Mutex::new(roll) };
        lock(&members.roll).add(first);
        members
    }

    /// Takes `element` in and returns its number; `None` if the group is closed, for the last member has left, or of no
    /// use any more.
    pub(super) fn join(&self, element: &NvInference) -> Option<u32> {
        let mut roll = lock(&self.roll);
        (!roll.entries.is_empty() && !roll.has_failed).then(|| roll.add(element))
    }

    /// Lets a member go. True for the last one, which closes the group. One that was freed without leaving does not count.
    pub(super) fn leave(&self, number: u32) -> bool {
        let mut roll = lock(&self.roll);
        roll.entries.retain(|entry| entry.number != number);
        let alive: Vec<_> = roll.entries.iter().map(|entry| entry.element.upgrade()).collect();
        let mut is_alive = alive.iter();
        roll.entries.retain(|_| is_alive.next().is_some_and(Option::is_some));
        let is_last = roll.entries.is_empty();
        // The last reference to a member may be among these, and its end leaves the group, too.
        drop(roll);
        drop(alive);
        is_last
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.roll).entries.len()
    }

    /// Whether the private pipeline has failed for good.
    pub(super) fn has_failed(&self) -> bool {
        lock(&self.roll).has_failed
    }

    /// The feed of a member is to be called `wanted` from now on. Returns what it is called: two members are never
    /// called the same.
    pub(super) fn rename(&self, number: u32, wanted: &str) -> String {
        let mut roll = lock(&self.roll);
        let is_free = |name: &String| {
            !roll.entries.iter().any(|entry| entry.number != number && entry.feed_id == *name)
        };
        let others = (u64::from(number)..).map(|suffix| format!("{wanted}-{suffix}"));
        let name = std::iter::once(wanted.to_owned()).chain(others).find(is_free).unwrap_or_default();
        if let Some(entry) = roll.entries.iter_mut().find(|entry| entry.number == number) {
            entry.feed_id.clone_from(&name);
        }
        name
    }

    /// Passes on what the private pipeline says: about one feed to its member, about the engine to all of them.
    pub(super) fn relay(&self, message: &gst::MessageRef) {
        match message.view() {
            gst::MessageView::Element(_) => {
                if let Some(Ok(health)) = health_of(message) {
                    let due = Due { feed_id: health.feed_id, event: health.event, burst: health.burst };
                    for member in self.concerned(due.feed_id.as_deref()) {
                        member.imp().health.post(&member, due.clone());
                    }
                }
            }
            gst::MessageView::Error(error) => {
                lock(&self.roll).has_failed = true;
                self.post_to_all(|member| {
                    let debug = error.debug();
                    gst::message::Error::builder_from_error(error.error())
                        .debug_if_some(debug.as_deref())
                        .src(member)
                        .build()
                });
            }
            gst::MessageView::Warning(warning) => self.post_to_all(|member| {
                let debug = warning.debug();
                gst::message::Warning::builder_from_error(warning.error())
                    .debug_if_some(debug.as_deref())
                    .src(member)
                    .build()
            }),
            gst::MessageView::Latency(_) => {
                self.post_to_all(|member| gst::message::Latency::builder().src(member).build());
            }
            gst::MessageView::Progress(progress) => {
                let (kind, code, text) = progress.get();
                self.post_to_all(|member| {
                    gst::message::Progress::builder(kind, code, text).src(member).build()
                });
            }
            // States, streams and tags of the private pipeline are nobody's business.
            _ => {}
        }
    }

    fn post_to_all(&self, message: impl Fn(&NvInference) -> gst::Message) {
        for member in self.concerned(None) {
            member.post_message(message(&member)).ok();
        }
    }

    /// The member whose feed is called `feed_id`, if it still is one; without a name, all.
    fn concerned(&self, feed_id: Option<&str>) -> Vec<NvInference> {
        let roll = lock(&self.roll);
        let is_meant = |entry: &&Entry| feed_id.is_none_or(|name| entry.feed_id == name);
        roll.entries.iter().filter(is_meant).filter_map(|entry| entry.element.upgrade()).collect()
    }
}

impl Roll {
    fn add(&mut self, element: &NvInference) -> u32 {
        let number = self.next;
        self.next += 1;
        self.entries.push(Entry { number, element: element.downgrade(), feed_id: String::new() });
        number
    }
}
