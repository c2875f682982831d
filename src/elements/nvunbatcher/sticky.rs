//! What a feed has sent so far that a pad which starts later must begin with.

use crate::elements::link;

/// Most sticky events kept for a feed.
const MAX_STICKY: usize = 32;

/// What is known of a feed, whether or not it has a pad.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) sticky: Vec<gst::Event>,
    /// How often the feed was flushed. What was sent before the last flush and arrives after it is stale.
    epoch: u32,
}

impl Known {
    /// The feed was flushed for the `epoch`th time.
    pub(super) fn flush(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.sticky.retain(|event| link::survives_flush(event));
    }

    /// Whether what was sent in `epoch` is still of use.
    pub(super) fn is_current(&mut self, epoch: u32) -> bool {
        self.epoch = self.epoch.max(epoch);
        epoch == self.epoch
    }

    /// Another batcher may send from here on: it counts flushes on its own.
    pub(super) fn forget_epoch(&mut self) {
        self.epoch = 0;
    }
}

/// Keeps what a pad that starts later must begin with: the last event of each sticky kind.
pub(super) fn keep_sticky(kept: &mut Vec<gst::Event>, event: gst::Event) {
    match event.type_() {
        gst::EventType::StreamStart => kept.clear(),
        // Only a flush lets a stream go on after its end.
        gst::EventType::Segment => kept.retain(|old| old.type_() != gst::EventType::Eos),
        _ => {}
    }
    if !event.is_sticky() {
        return;
    }
    let name = |event: &gst::Event| event.structure().map(|structure| structure.name().to_string());
    let same = |old: &gst::Event| {
        old.type_() == event.type_() && (!old.type_().is_sticky_multi() || name(old) == name(&event))
    };
    match kept.iter().position(same) {
        Some(at) => kept[at] = event,
        None if kept.len() < MAX_STICKY => kept.push(event),
        None => {}
    }
}
