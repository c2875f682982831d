//! Counters as structures, for the `stats` properties.

use crate::batch::{CloseReason, DropReason, FailReason, FeedSnapshot, Ledger, Snapshot};
use crate::time::nanos;

pub(super) use crate::meta::stats::Stats;

/// `nv-batcher-stats`: what the whole batcher has done.
pub(super) fn batcher(snapshot: &Snapshot, max_batch_size: u32) -> gst::Structure {
    let metrics = &snapshot.metrics;
    let wait = metrics.formation_wait;
    let mut closes = gst::Structure::new_empty("nv-closes");
    for reason in CloseReason::ALL {
        closes.set(reason.as_str(), metrics.closes(reason));
    }
    let mut stats = gst::Structure::builder("nv-batcher-stats")
        .field("batches", metrics.batches)
        .field("batches-to-infer", metrics.batches_to_infer)
        .field("frames", metrics.frames)
        .field("frames-to-infer", metrics.frames_to_infer)
        .field("min-size", metrics.min_size as u64)
        .field("max-size", metrics.max_size as u64)
        .field("mean-size", metrics.mean_size())
        .field("fill-ratio", metrics.fill_ratio(max_batch_size as usize))
        .field("wait-total", nanos(wait.total))
        .field("wait-mean", nanos(wait.mean()))
        .field("wait-max", nanos(wait.max))
        .field("closes", closes)
        .field("feeds", snapshot.feeds.len() as u64)
        .field("active-feeds", snapshot.active_feeds() as u64)
        .build();
    set_ledger(&mut stats, &snapshot.total());
    stats
}

/// `nv-feed-stats`: what became of one feed's frames.
pub(super) fn feed(snapshot: &FeedSnapshot) -> gst::Structure {
    let mut stats = gst::Structure::builder("nv-feed-stats")
        .field("feed", snapshot.feed.0)
        .field("active", snapshot.active)
        .field("ended", snapshot.ended)
        .field("epoch", snapshot.epoch)
        .field("to-infer", snapshot.to_infer)
        .field("rode-along", snapshot.rode_along)
        .build();
    set_ledger(&mut stats, &snapshot.ledger);
    stats
}

/// `received = delivered + dropped + failed + in-flight`, where `in-flight` counts the `queued` ones, too.
fn set_ledger(stats: &mut gst::StructureRef, ledger: &Ledger) {
    stats.set("received", ledger.received);
    stats.set("delivered", ledger.delivered);
    stats.set("dropped", ledger.dropped_total());
    stats.set("failed", ledger.failed_total());
    stats.set("in-flight", ledger.outstanding());
    stats.set("queued", ledger.queued);
    let mut dropped = gst::Structure::new_empty("nv-dropped");
    for reason in DropReason::ALL {
        dropped.set(reason.as_str(), ledger.dropped(reason));
    }
    stats.set("dropped-by-reason", dropped);
    let mut failed = gst::Structure::new_empty("nv-failed");
    for reason in FailReason::ALL {
        failed.set(reason.as_str(), ledger.failed(reason));
    }
    stats.set("failed-by-reason", failed);
}
