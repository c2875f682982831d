//! A site that shows everything there is to show, for tests.

use super::{
    BatchCounts, Engine, Feed, FeedState, Histogram, Ledger, Output, Phase, Queue, Sample, Snapshot, Source,
};
use std::collections::BTreeMap;

pub(crate) const SECOND: u64 = 1_000_000_000;

/// A name that would run a script on a page that believed it.
pub(crate) const HOSTILE: &str = "<img src=x onerror=document.title='owned'>\"\\\n{x=\"1\"}";

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|&(reason, count)| (reason.to_owned(), count)).collect()
}

fn ledger(received: u64, dropped: &[(&str, u64)], failed: &[(&str, u64)]) -> Ledger {
    let sum = |pairs: &[(&str, u64)]| pairs.iter().map(|(_, count)| count).sum();
    let (dropped_sum, failed_sum): (u64, u64) = (sum(dropped), sum(failed));
    let in_flight = received.min(3);
    Ledger {
        received,
        delivered: received - dropped_sum - failed_sum - in_flight,
        dropped: dropped_sum,
        failed: failed_sum,
        in_flight,
        queued: in_flight.min(1),
        dropped_by_reason: counts(dropped),
        failed_by_reason: counts(failed),
    }
}

/// Two minutes at about `fps`, of which the last `seconds` were in `state`.
fn history(fps: f64, state: FeedState, seconds: usize) -> Vec<Sample> {
    let sample = |second: usize| {
        let well = second + seconds < 120;
        let wave = 1.0 + 0.06 * ((second as f64) * 0.7).sin();
        let fps_in =
            if well || state == FeedState::Running { (fps * wave * 10.0).round() / 10.0 } else { 0.0 };
        let state = if well { FeedState::Running } else { state };
        Sample { fps_in, fps_out: (fps_in * 9.6).round() / 10.0, state }
    };
    (0..120).map(sample).collect()
}

/// A feed that gives 25 frames a second.
pub(crate) fn running(id: u32, name: &str) -> Feed {
    let queue = |name: &str, level, capacity| Queue { name: name.to_owned(), level, capacity };
    Feed {
        id,
        feed_id: name.to_owned(),
        group: "main".to_owned(),
        alive: true,
        state: FeedState::Running,
        state_for: 7_384 * SECOND,
        session: 1,
        uptime: 7_384 * SECOND,
        fps_in: 25.0,
        fps_out: 24.9,
        ledger: ledger(184_600, &[("late", 212), ("overload", 31)], &[("timeout", 3)]),
        source: Source {
            uri: "rtsp://192.168.7.20/stream1".to_owned(),
            received: 184_603,
            delivered: 184_600,
            dropped_by_reason: counts(&[("decode", 3)]),
            connections: 1,
            decoder: "nvh264dec".to_owned(),
            hardware: true,
            width: 1920,
            height: 1080,
            ..Source::default()
        },
        lag: 41_000_000,
        lag_peak: 380_000_000,
        queues: vec![queue("batcher", 1, 4), queue("engine", 2, 16), queue("records", 9, 64)],
        model: "people-320".to_owned(),
        last_inference_age: Some(38_000_000),
        last_record_age: Some(52_000_000),
        records: 184_354,
        latency: Histogram {
            buckets: [0, 12, 3_400, 120_000, 58_000, 2_800, 130, 12, 0, 0, 0, 0, 3],
            sum: 9_812.25,
        },
        history: history(25.0, FeedState::Running, 0),
        ..Feed::default()
    }
}

/// A feed that has run, and for `seconds` is in another state.
pub(crate) fn troubled(id: u32, name: &str, state: FeedState, seconds: u64, why: (&str, &str)) -> Feed {
    let well = running(id, name);
    Feed {
        alive: state.is_alive(),
        paused: state == FeedState::Paused,
        state,
        state_for: seconds * SECOND,
        reason: why.0.to_owned(),
        detail: why.1.to_owned(),
        fps_in: 0.0,
        fps_out: 0.0,
        source: Source {
            outages: 4,
            restarts: 2,
            connections: 5,
            decoder: "avdec_h264".to_owned(),
            hardware: false,
            ..well.source
        },
        history: history(25.0, state, usize::try_from(seconds).unwrap_or(120)),
        last_inference_age: Some(seconds * SECOND),
        last_record_age: Some(seconds * SECOND),
        ..well
    }
}

fn engine(group: &str, model: &str, state: &str, last_error: &str) -> Engine {
    Engine {
        group: group.to_owned(),
        model: model.to_owned(),
        provider: "cuda".to_owned(),
        decoder: "nanodet".to_owned(),
        state: state.to_owned(),
        batches: BatchCounts {
            batches: 61_533,
            frames: 184_357,
            mean_size: 2.996,
            fill_ratio: 0.749,
            closes: counts(&[("full", 40_021), ("deadline", 21_512)]),
            carried: 203_000,
            wait: 812 * SECOND,
        },
        runs: 61_533,
        busy: 1_402 * SECOND,
        inferred: 184_354,
        failed: 3,
        errors: 1,
        timeouts: 1,
        rebuilds: 1,
        last_error: last_error.to_owned(),
    }
}

fn output(name: &str, kind: &str, lagging: bool) -> Output {
    Output {
        name: name.to_owned(),
        kind: kind.to_owned(),
        feeds: 6,
        queued: if lagging { 60 } else { 2 },
        capacity: 64,
        written: 920_113,
        bytes: 811_220_340,
        lost: if lagging { 1_204 } else { 0 },
        lagging,
        rotations: 12,
        last_error: if lagging { "No space left on device".to_owned() } else { String::new() },
    }
}

/// A runtime with nothing in it.
pub(crate) fn empty() -> Snapshot {
    Snapshot {
        schema: Snapshot::SCHEMA.to_owned(),
        name: "north-yard".to_owned(),
        version: "0.1.0".to_owned(),
        wall_time_us: 1_795_327_200_000_000,
        uptime: 93_784 * SECOND,
        phase: Phase::Running,
        max_feeds: 64,
        ..Snapshot::default()
    }
}

/// A feed in every state there is, one with a hostile name, engines and outputs well and not.
pub(crate) fn everything() -> Snapshot {
    use FeedState::{BackingOff, Connecting, Ended, Failed, Idle, Paused, Stalled};
    let unreachable = ("unreachable", "nobody answers at rtsp://192.168.7.24/stream1; next try in 8 s");
    let feeds = vec![
        running(1, "gate-north"),
        running(2, HOSTILE),
        troubled(3, "yard", Stalled, 12, ("stalled", "no frame within 5 s")),
        troubled(4, "dock-2", BackingOff, 95, unreachable),
        troubled(5, "roof", Failed, 4_000, ("decode", "decoding failed 10 times, the limit of max-restarts")),
        troubled(6, "office", Paused, 600, ("", "")),
        troubled(7, "archive.mp4", Ended, 75, ("ended", "")),
        Feed {
            feed_id: "lobby".to_owned(),
            id: 8,
            group: "main".to_owned(),
            state: Connecting,
            state_for: 2 * SECOND,
            alive: true,
            ..Feed::default()
        },
        Feed {
            feed_id: "not-yet".to_owned(),
            id: 9,
            group: "vehicles".to_owned(),
            state: Idle,
            alive: true,
            ..Feed::default()
        },
        Feed {
            group: "vehicles".to_owned(),
            model: "vehicles-640".to_owned(),
            ..running(
                10,
                "a-camera-with-a-name-that-is-much-too-long-to-fit-anywhere-without-being-cut-off-or-wrapped",
            )
        },
    ];
    Snapshot {
        feeds,
        engines: vec![
            engine("main", "people-320", "ok", ""),
            engine("vehicles", "vehicles-640", "degraded", "no answer within 2 s, 1 run of 61533"),
        ],
        outputs: vec![output("records", "file", false), output("archive", "file", true)],
        removed: ledger(9_000, &[("late", 3)], &[("timeout", 8)]),
        removed_feeds: 2,
        detached_threads: 1,
        memory_bound: 812_000_000,
        resident: 1_240_000_000,
        threads: 71,
        reloads: 3,
        reload_error: "site.toml:14: unknown key `fedes`, expected `feeds`".to_owned(),
        ..empty()
    }
}

/// `count` feeds of a large site, some of them in trouble.
pub(crate) fn many(count: u32) -> Snapshot {
    let feed = |id: u32| match id % 16 {
        5 => troubled(
            id,
            &format!("camera-{id:02}"),
            FeedState::Stalled,
            9,
            ("stalled", "no frame within 5 s"),
        ),
        11 => troubled(
            id,
            &format!("camera-{id:02}"),
            FeedState::BackingOff,
            40,
            ("unreachable", "nobody answers"),
        ),
        _ => running(id, &format!("camera-{id:02}")),
    };
    Snapshot { feeds: (1..=count).map(feed).collect(), ..everything() }
}
