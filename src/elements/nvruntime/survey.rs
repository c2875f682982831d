//! Looking at everything: the [`Snapshot`].
//!
//! Cheap enough to be done ten times a second with many feeds: each element is asked for plain numbers, under a lock of
//! its own that it holds for a copy. Nobody waits for anybody.

use super::core::{Core, Roster};
use super::feed::Feed;
use super::group::Group;
use super::outputs::Output;
use crate::batch::{self, DropReason, FailReason, FeedId};
use crate::clock;
use crate::config::OutputKind;
use crate::elements::nvinference::NvInference;
use crate::feed::State;
use crate::health::redact;
use crate::infer;
use crate::metrics::{self, BatchCounts, Engine, FeedState, Ledger, Queue, Snapshot, Source};
use crate::time::{Monotonic, nanos};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An output that lost nothing for so long does not lag, in nanoseconds.
const LAGGING_FOR: u64 = 10_000_000_000;

/// Everything that is known now.
pub(super) fn survey(core: &Core, name: &str) -> Snapshot {
    let now = clock::now();
    let roster = core.roster();
    let ledgers: Vec<_> = roster.groups.iter().map(|group| group.batcher.known()).collect();
    let look = |feed: &Arc<Feed>| look_at(feed, account_of(feed, &roster, &ledgers), now);
    let feeds: Vec<_> = roster.feeds.iter().map(look).collect();
    let frame_bytes: u64 = roster.feeds.iter().map(|feed| memory_bound(feed)).sum();
    let memory = memory_of_process();
    Snapshot {
        schema: Snapshot::SCHEMA.to_owned(),
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        wall_time_us: clock::wall_micros(),
        uptime: nanos(core.uptime(now)),
        phase: core.phase(),
        max_feeds: core.settings.lock().max_feeds(),
        outputs: outputs(&roster),
        removed: removed(&roster, &ledgers),
        engines: engines(&roster, &ledgers),
        feeds,
        removed_feeds: core.removed_feeds.load(Ordering::Relaxed),
        detached_threads: core.detached_threads.load(Ordering::Relaxed) + infer::detached_threads() as u64,
        memory_bound: frame_bytes,
        resident: memory.0,
        threads: memory.1,
        reloads: core.reloads.load(Ordering::Relaxed),
        reload_error: core.reload_error.lock().clone(),
    }
}

/// Takes note of rates and states, once a second.
pub(super) fn sample(core: &Core, now: Monotonic) {
    let roster = core.roster();
    let ledgers: Vec<_> = roster.groups.iter().map(|group| group.batcher.known()).collect();
    for feed in &roster.feeds {
        let source = feed.source.known();
        let state = state_of(feed, source.state);
        remember(feed, state, now);
        let delivered = account_of(feed, &roster, &ledgers).map_or(0, |account| account.ledger.delivered);
        feed.history.lock().tick(now, source.received, delivered, state);
    }
    for output in &roster.outputs {
        // So that losses have a time, also if nobody asks.
        lost(output, &roster);
    }
}

/// The books of the batcher about the feed.
fn account_of<'a>(
    feed: &Feed,
    roster: &Roster,
    ledgers: &'a [batch::Snapshot],
) -> Option<&'a batch::FeedSnapshot> {
    let place = roster.groups.iter().position(|group| Arc::ptr_eq(group, &feed.group))?;
    let feeds = &ledgers.get(place)?.feeds;
    let at = feeds.binary_search_by_key(&FeedId(feed.id), |known| known.feed).ok()?;
    feeds.get(at)
}

fn state_of(feed: &Feed, source: State) -> FeedState {
    let marks = feed.marks.lock().clone();
    if marks.failure.is_some() {
        return FeedState::Failed;
    }
    if marks.has_ended {
        return FeedState::Ended;
    }
    match source {
        State::Running if feed.health.known().stalled => FeedState::Stalled,
        State::Running => FeedState::Running,
        State::Idle => FeedState::Idle,
        State::Connecting => FeedState::Connecting,
        State::Stalled => FeedState::Stalled,
        State::BackingOff => FeedState::BackingOff,
        State::Paused => FeedState::Paused,
        // What it had is still on its way.
        State::Stopped => FeedState::Running,
    }
}

/// Since when the feed is in this state.
fn remember(feed: &Feed, state: FeedState, now: Monotonic) -> Monotonic {
    let mut seen = feed.seen.lock();
    match *seen {
        Some((known, since)) if known == state => since,
        _ => {
            *seen = Some((state, now));
            now
        }
    }
}

fn look_at(feed: &Feed, account: Option<&batch::FeedSnapshot>, now: Monotonic) -> metrics::Feed {
    let source = feed.source.known();
    let health = feed.health.known();
    let state = state_of(feed, source.state);
    let since = remember(feed, state, now);
    let ledger = account.map(|known| ledger(&known.ledger)).unwrap_or_default();
    let marks = feed.marks.lock().clone();
    let (reason, detail) = marks.failure.unwrap_or_else(|| match &source.last_failure {
        Some(failure) => (failure.kind.as_str().to_owned(), failure.detail.clone()),
        None => <_>::default(),
    });
    let books: Vec<_> = feed.sinks.iter().map(|(_, sink)| sink.books()).collect();
    let (fps_in, fps_out, history) = {
        let history = feed.history.lock();
        let (fps_in, fps_out) = history.rates();
        (fps_in, fps_out, history.samples())
    };
    metrics::Feed {
        id: feed.id,
        feed_id: redact(feed.name()).into_owned(),
        group: feed.group.config.name.clone(),
        alive: state.is_alive(),
        paused: marks.is_paused,
        state,
        state_for: nanos(now.since(since)),
        reason,
        detail: redact(&detail).into_owned(),
        session: feed.meter.session(),
        uptime: health.uptime,
        fps_in,
        fps_out,
        queues: queues(feed, &ledger, &books),
        ledger,
        lag: health.lag_now,
        lag_peak: health.lag_peak,
        model: feed.meter.model(),
        last_inference_age: feed.meter.last_inference_age(now),
        last_record_age: feed.meter.last_record_age(now),
        records: feed.meter.records(),
        records_lost: books.iter().map(|books| books.lost).sum(),
        latency: feed.meter.latency(),
        history,
        source: Source {
            uri: source.uri,
            received: source.received,
            delivered: source.delivered,
            dropped_by_reason: reasons(source.dropped),
            connections: source.counts.connections,
            outages: source.counts.outages,
            restarts: source.counts.restarts,
            loops: source.counts.loops,
            hardware: is_hardware(&source.decoder),
            decoder: source.decoder,
            width: source.size.0,
            height: source.size.1,
        },
    }
}

fn queues(feed: &Feed, ledger: &Ledger, books: &[crate::elements::nvsink::Books]) -> Vec<Queue> {
    let config = &feed.newcomer.config;
    let queue = |name: &str, level, capacity| Queue { name: name.to_owned(), level, capacity };
    let (waiting, behind) = limits(config);
    let records = books.iter().fold((0, 0), |sum, books| (sum.0 + books.level, sum.1 + books.capacity));
    vec![
        queue("batcher", ledger.queued, waiting),
        queue("engine", ledger.in_flight.saturating_sub(ledger.queued), behind),
        queue("records", records.0, records.1),
    ]
}

/// Most frames of a feed that wait for a batch, and that are behind it.
fn limits(config: &crate::config::Feed) -> (u64, u64) {
    (config.max_size_buffers.unwrap_or(4).into(), config.max_in_flight.unwrap_or(2).into())
}

/// Frames on their way, and one each in the hands of the source and of every sink.
fn memory_bound(feed: &Feed) -> u64 {
    let (waiting, behind) = limits(&feed.newcomer.config);
    feed.frame_bytes() * (waiting + behind + 1 + feed.sinks.len() as u64)
}

fn is_hardware(decoder: &str) -> bool {
    let factory = gst::ElementFactory::find(decoder);
    factory
        .and_then(|factory| factory.metadata("klass").map(|klass| klass.contains("Hardware")))
        .unwrap_or(false)
}

fn reasons(counts: impl IntoIterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect()
}

fn ledger(ledger: &batch::Ledger) -> Ledger {
    Ledger {
        received: ledger.received,
        delivered: ledger.delivered,
        dropped: ledger.dropped_total(),
        failed: ledger.failed_total(),
        in_flight: ledger.outstanding(),
        queued: ledger.queued,
        dropped_by_reason: reasons(DropReason::ALL.map(|reason| (reason.as_str(), ledger.dropped(reason)))),
        failed_by_reason: reasons(FailReason::ALL.map(|reason| (reason.as_str(), ledger.failed(reason)))),
    }
}

/// What is left when the feeds that are there are taken off the whole: those that were removed or are leaving.
fn removed(roster: &Roster, ledgers: &[batch::Snapshot]) -> Ledger {
    let mut sum = roster.gone.clone();
    for group in &roster.retired {
        sum += &group.batcher.known().total();
    }
    for (group, batches) in roster.groups.iter().zip(ledgers) {
        sum += &batches.removed;
        let is_here = |id: FeedId| {
            roster.feeds.iter().any(|feed| FeedId(feed.id) == id && Arc::ptr_eq(&feed.group, group))
        };
        for feed in batches.feeds.iter().filter(|feed| !is_here(feed.feed)) {
            sum += &feed.ledger;
        }
    }
    ledger(&sum)
}

fn engines(roster: &Roster, ledgers: &[batch::Snapshot]) -> Vec<Engine> {
    let mut engines = Vec::new();
    for (group, batches) in roster.groups.iter().zip(ledgers) {
        let first = engine(&group.config.name, group.first_model(), &group.engine);
        engines.push(Engine { batches: batch_counts(group, batches), ..first });
        // Shared by all feeds of the group: any of them can tell.
        let of_group = roster.feeds.iter().find(|feed| Arc::ptr_eq(&feed.group, group));
        for (model, second) in of_group.iter().flat_map(|feed| &feed.seconds) {
            engines.push(engine(&group.config.name, model, second));
        }
    }
    engines
}

fn engine(group: &str, model: &str, element: &NvInference) -> Engine {
    let stats = element.property::<gst::Structure>("stats");
    let number = |name| stats.get::<u64>(name).unwrap_or_default();
    let text = |name| stats.get::<String>(name).unwrap_or_default();
    let is_open = stats.has_field("provider");
    Engine {
        group: group.to_owned(),
        model: model.to_owned(),
        provider: text("provider"),
        decoder: text("decoder"),
        state: if is_open { text("state") } else { "closed".to_owned() },
        runs: number("runs"),
        busy: number("busy-time"),
        inferred: number("inferred"),
        failed: number("failed"),
        errors: number("errors"),
        timeouts: number("timeouts"),
        rebuilds: number("rebuilds"),
        last_error: text("last-error"),
        batches: BatchCounts::default(),
    }
}

fn batch_counts(group: &Group, batches: &batch::Snapshot) -> BatchCounts {
    let metrics = &batches.metrics;
    let places = group.config.max_batch_size.unwrap_or(4) as usize;
    BatchCounts {
        batches: metrics.batches_to_infer,
        frames: metrics.frames_to_infer,
        mean_size: metrics.mean_size(),
        fill_ratio: metrics.fill_ratio(places),
        closes: reasons(batch::CloseReason::ALL.map(|reason| (reason.as_str(), metrics.closes(reason)))),
        carried: metrics.formation_wait.count,
        wait: nanos(metrics.formation_wait.total),
    }
}

/// Records that were lost on their way to the output, and in it.
fn lost(output: &Output, roster: &Roster) -> (u64, bool) {
    let sinks = sinks_of(output, roster).map(|sink| sink.books().lost).sum::<u64>();
    let gone = roster.lost.get(&output.config.name).copied().unwrap_or_default();
    let lost = output.counts.lost.load(Ordering::Relaxed) + sinks + gone;
    (lost, output.counts.is_lagging(lost, LAGGING_FOR))
}

fn sinks_of<'a>(
    output: &'a Output,
    roster: &'a Roster,
) -> impl Iterator<Item = &'a crate::elements::nvsink::NvSink> {
    let sinks = roster.feeds.iter().chain(&roster.leaving).flat_map(|feed| &feed.sinks);
    sinks.filter(|(name, _)| *name == output.config.name).map(|(_, sink)| sink)
}

fn outputs(roster: &Roster) -> Vec<metrics::Output> {
    let look = |output: &Arc<Output>| {
        let counts = &output.counts;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let books: Vec<_> = sinks_of(output, roster).map(|sink| sink.books()).collect();
        let (lost, lagging) = lost(output, roster);
        metrics::Output {
            name: output.config.name.clone(),
            kind: kind(&output.config.kind).to_owned(),
            feeds: books.len() as u64,
            queued: books.iter().map(|books| books.level).sum(),
            capacity: books.iter().map(|books| books.capacity).sum(),
            written: count(&counts.written),
            bytes: count(&counts.bytes),
            lost,
            lagging,
            rotations: count(&counts.rotations),
            last_error: counts.last_error.lock().clone(),
        }
    };
    roster.outputs.iter().map(look).collect()
}

const fn kind(kind: &OutputKind) -> &'static str {
    match kind {
        OutputKind::File { .. } => "file",
        OutputKind::Stdout => "stdout",
        OutputKind::Appsink => "appsink",
    }
}

/// Resident memory in bytes, and threads; zeros where the system does not tell.
fn memory_of_process() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    (number("VmRSS:").unwrap_or_default() * 1024, number("Threads:").unwrap_or_default())
}
