//! What is shown of a state: a headline, the feeds, the engines, the outputs.

use crate::client::Health;
use crate::table::{Column, Table};
use crate::text;
use gstnextvision::metrics::{Engine, Feed, Histogram, LATENCY_BOUNDS, Output, Phase, Snapshot};

/// Shown if the terminal does not say how large it is.
const DEFAULT_WIDTH: usize = 120;

/// Columns and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: usize,
    /// `None` is any number.
    pub(crate) height: Option<usize>,
}

const FEEDS: &[Column] = &[
    Column::number("ID", 0),
    Column::long("FEED", 0, 8),
    Column::text("STATE", 0),
    Column::number("SINCE", 7),
    Column::number("FPS IN", 5),
    Column::number("FPS OUT", 1),
    Column::number("RECEIVED", 9),
    Column::number("DROPPED", 3),
    Column::number("LAG", 4),
    Column::number("P99", 6),
    Column::number("RESTARTS", 8),
    Column::long("REASON", 2, 12),
];

const ENGINES: &[Column] = &[
    Column::long("GROUP", 0, 6),
    Column::long("MODEL", 0, 8),
    Column::text("STATE", 0),
    Column::text("PROVIDER", 6),
    Column::number("BATCHES", 7),
    Column::number("SIZE", 4),
    Column::number("FILL", 5),
    Column::number("INFERRED", 8),
    Column::number("FAILED", 3),
    Column::number("ERRORS", 1),
    Column::number("TIMEOUTS", 9),
    Column::long("LAST ERROR", 2, 12),
];

const OUTPUTS: &[Column] = &[
    Column::long("OUTPUT", 0, 8),
    Column::text("KIND", 3),
    Column::number("FEEDS", 6),
    Column::number("QUEUED", 2),
    Column::number("WRITTEN", 5),
    Column::number("BYTES", 7),
    Column::number("LOST", 0),
    Column::text("LAGGING", 1),
    Column::long("LAST ERROR", 4, 12),
];

/// The size of the terminal; what `COLUMNS` and `LINES` say counts more.
pub(crate) fn size_of_terminal() -> Size {
    let terminal = terminal_size::terminal_size();
    let of = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok().filter(|number| *number > 0);
    let width = of("COLUMNS").or(terminal.map(|(width, _)| width.0.into())).filter(|width| *width > 0);
    let height = of("LINES").or(terminal.map(|(_, height)| height.0.into())).filter(|height| *height > 0);
    Size { width: width.unwrap_or(DEFAULT_WIDTH), height }
}

/// A state, as lines that fit `size`. If there are too many, feeds are left out first.
pub(crate) fn view(snapshot: &Snapshot, health: &Result<Health, String>, size: Size) -> Vec<String> {
    let mut head: Vec<_> = headline(snapshot, health).iter().map(|line| text::clean(line)).collect();
    let mut foot = engines(&snapshot.engines, size.width);
    foot.extend(outputs(&snapshot.outputs, size.width));
    head.push(String::new());
    let mut feeds = feeds(&snapshot.feeds, size.width);
    if let Some(height) = size.height {
        let room = height.saturating_sub(head.len() + foot.len());
        shorten(&mut feeds, room.max(3), "feeds");
    }
    let mut lines: Vec<_> = head.into_iter().chain(feeds).chain(foot).collect();
    lines.truncate(size.height.unwrap_or(usize::MAX));
    lines.iter().map(|line| text::cut(line, size.width).into_owned()).collect()
}

/// Leaves a heading and rows, `room` lines at most; the last says how many rows are missing.
fn shorten(lines: &mut Vec<String>, room: usize, what: &str) {
    if lines.len() <= room {
        return;
    }
    let missing = lines.len() - room + 1;
    lines.truncate(room.saturating_sub(1));
    lines.push(format!("… {missing} more {what}"));
}

fn headline(snapshot: &Snapshot, health: &Result<Health, String>) -> Vec<String> {
    let Snapshot { name, version, feeds, .. } = snapshot;
    let alive = feeds.iter().filter(|feed| feed.alive).count();
    let sum = |of: fn(&Feed) -> f64| feeds.iter().map(of).sum::<f64>();
    let name = if name.is_empty() { "nextvision" } else { name };
    let mut parts = vec![
        format!("{name} {version} {} for {}", phase(snapshot.phase), text::duration(snapshot.uptime)),
        format!("{alive} of {} feeds alive", feeds.len()),
        format!("fps in {:.1}, out {:.1}", sum(|feed| feed.fps_in), sum(|feed| feed.fps_out)),
    ];
    if snapshot.resident > 0 {
        parts.push(text::bytes(snapshot.resident));
    }
    if snapshot.threads > 0 {
        parts.push(format!("{} threads", snapshot.threads));
    }
    if snapshot.detached_threads > 0 {
        parts.push(format!("{} threads let go of", snapshot.detached_threads));
    }
    let mut lines = vec![parts.join(" | "), verdict(health)];
    if let Ok(Health { warnings, .. }) = health
        && !warnings.is_empty()
    {
        lines.push(format!("warnings: {}", warnings.join(" ")));
    }
    if !snapshot.reload_error.is_empty() {
        lines.push(format!("last reload failed: {}", snapshot.reload_error));
    }
    lines
}

fn verdict(health: &Result<Health, String>) -> String {
    match health {
        Ok(Health { is_well: true, .. }) => "healthy".to_owned(),
        Ok(Health { reasons, .. }) if reasons.is_empty() => "not healthy".to_owned(),
        Ok(Health { reasons, .. }) => format!("not healthy: {}", reasons.join(" ")),
        Err(error) => format!("health unknown: {error}"),
    }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Draining => "draining",
        Phase::Stopped => "stopped",
    }
}

fn feeds(feeds: &[Feed], width: usize) -> Vec<String> {
    let mut table = Table::new(FEEDS);
    for feed in feeds {
        let colon = if feed.reason.is_empty() || feed.detail.is_empty() { "" } else { ": " };
        table.add([
            feed.id.to_string(),
            feed.feed_id.clone(),
            feed.state.as_str().to_owned(),
            text::duration(feed.state_for),
            format!("{:.1}", feed.fps_in),
            format!("{:.1}", feed.fps_out),
            text::count(feed.ledger.received),
            text::count(feed.ledger.dropped.saturating_add(feed.ledger.failed)),
            text::duration(feed.lag),
            quantile(&feed.latency, 0.99),
            text::count(feed.source.restarts),
            format!("{}{colon}{}", feed.reason, feed.detail),
        ]);
    }
    table.render(width)
}

fn engines(engines: &[Engine], width: usize) -> Vec<String> {
    if engines.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(ENGINES);
    for engine in engines {
        let batches = &engine.batches;
        table.add([
            engine.group.clone(),
            engine.model.clone(),
            engine.state.clone(),
            engine.provider.clone(),
            text::count(batches.batches),
            format!("{:.1}", batches.mean_size),
            format!("{:.0}%", batches.fill_ratio * 100.0),
            text::count(engine.inferred),
            text::count(engine.failed),
            text::count(engine.errors),
            text::count(engine.timeouts),
            engine.last_error.clone(),
        ]);
    }
    std::iter::once(String::new()).chain(table.render(width)).collect()
}

fn outputs(outputs: &[Output], width: usize) -> Vec<String> {
    if outputs.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(OUTPUTS);
    for output in outputs {
        table.add([
            output.name.clone(),
            output.kind.clone(),
            text::count(output.feeds),
            format!("{}/{}", text::count(output.queued), text::count(output.capacity)),
            text::count(output.written),
            text::bytes(output.bytes),
            text::count(output.lost),
            if output.lagging { "yes" } else { "no" }.to_owned(),
            output.last_error.clone(),
        ]);
    }
    std::iter::once(String::new()).chain(table.render(width)).collect()
}

/// The time that part `part` of the frames took at most, as well as buckets tell; `-` without frames.
fn quantile(latency: &Histogram, part: f64) -> String {
    let total: f64 = latency.buckets.iter().map(|bucket| *bucket as f64).sum();
    if total == 0.0 {
        return "-".to_owned();
    }
    let wanted = total * part;
    let mut seen = 0.0;
    for (bucket, bound) in latency.buckets.iter().zip(LATENCY_BOUNDS) {
        seen += *bucket as f64;
        if seen >= wanted {
            return format!("<{}", text::duration((bound * 1e9) as u64));
        }
    }
    format!(">{}s", LATENCY_BOUNDS.last().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gstnextvision::metrics::{FeedState, Ledger, Source};

    const WELL: Result<Health, String> =
        Ok(Health { is_well: true, reasons: Vec::new(), warnings: Vec::new() });

    fn snapshot(feeds: u32) -> Snapshot {
        let feed = |id| Feed {
            id,
            feed_id: format!("gate-{id}\u{1b}[2J"),
            alive: true,
            state: FeedState::Running,
            state_for: 184_000_000_000,
            fps_in: 25.0,
            fps_out: 24.96,
            ledger: Ledger { received: 1234, dropped: 3, failed: 1, ..Ledger::default() },
            source: Source { restarts: 2, ..Source::default() },
            latency: Histogram { buckets: [0, 98, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], sum: 1.0 },
            reason: "timeout".to_owned(),
            detail: "no frame\nfor 3 s".to_owned(),
            ..Feed::default()
        };
        Snapshot {
            version: "0.1.0".to_owned(),
            phase: Phase::Running,
            uptime: 184_000_000_000,
            feeds: (1..=feeds).map(feed).collect(),
            engines: vec![Engine {
                group: "main".to_owned(),
                model: "nanodet".to_owned(),
                ..Engine::default()
            }],
            outputs: vec![Output { name: "file".to_owned(), kind: "file".to_owned(), ..Output::default() }],
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_state_of_a_feed_is_one_row() {
        let lines = view(&snapshot(1), &WELL, Size { width: 140, height: None });
        assert_eq!(
            lines[0],
            "nextvision 0.1.0 running for 3m04s | 1 of 1 feeds alive | fps in 25.0, out 25.0"
        );
        assert_eq!(lines[1], "healthy");
        let cells: Vec<_> = lines[4].split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "1", "gate-1", "running", "3m04s", "25.0", "25.0", "1234", "4", "0ms", "<20ms", "2",
                "timeout:", "no", "frame", "for", "3", "s"
            ]
        );
        assert!(
            lines.iter().any(|line| line.contains("nanodet"))
                && lines.iter().any(|line| line.contains("0/0"))
        );
    }

    #[test]
    fn whatever_its_size_the_terminal_is_large_enough() {
        for (width, height) in [(1, 1), (20, 5), (40, 10), (80, 24), (200, 60)] {
            let lines = view(&snapshot(100), &WELL, Size { width, height: Some(height) });
            assert!(lines.len() <= height, "{} lines in {height}", lines.len());
            assert!(lines.iter().all(|line| text::width(line) <= width), "{width}: {lines:#?}");
        }
    }

    #[test]
    fn feeds_without_room_are_counted() {
        let lines = view(&snapshot(100), &WELL, Size { width: 80, height: Some(24) });
        assert_eq!(lines.len(), 24);
        // Three lines of head, the heading, two tables of three lines at the end.
        assert_eq!(lines[17], "… 87 more feeds");
        assert!(lines[16].trim_start().starts_with("13 "), "{}", lines[16]);
    }

    #[test]
    fn what_is_wrong_stands_above() {
        let mut state = snapshot(1);
        state.reload_error = "line 3: no".to_owned();
        let sentences = |names: [&str; 2]| names.map(|name| format!("{name} is dead.")).to_vec();
        let unwell =
            Ok(Health { is_well: false, reasons: sentences(["A", "B"]), warnings: sentences(["C", "D"]) });
        let lines = view(&state, &unwell, Size { width: 80, height: None });
        assert_eq!(
            lines[1..4],
            [
                "not healthy: A is dead. B is dead.",
                "warnings: C is dead. D is dead.",
                "last reload failed: line 3: no"
            ]
        );
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let of = |buckets| quantile(&Histogram { buckets, sum: 0.0 }, 0.99);
        assert_eq!(of([0; 13]), "-");
        assert_eq!(of([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "<5ms");
        assert_eq!(of([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), ">30s");
        assert_eq!(of([98, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]), "<1.0s");
        assert_eq!(of([u64::MAX; 13]), ">30s");
    }
}
