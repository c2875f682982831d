//! The page in a real browser: headless Chromium, if there is one. With `NV_BROWSER=required` there must be.
//!
//! Screenshots are left in `target/browser`, to be looked at.

use super::{NoPreview, Server, Site};
use crate::metrics::made_up::{empty, everything, many};
use crate::metrics::{Phase, Snapshot};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A site that is always the same; after so many questions it panics.
struct Still {
    snapshot: Snapshot,
    answers: u64,
    asked: AtomicU64,
}

impl Site for Still {
    fn snapshot(&self) -> Snapshot {
        assert!(self.asked.fetch_add(1, Ordering::SeqCst) < self.answers, "asked for");
        self.snapshot.clone()
    }

    fn preview(&self, feed: u32) -> Result<Vec<u8>, NoPreview> {
        match feed % 3 {
            0 => Err(NoPreview::NoFrame),
            _ => std::fs::read(repository("docs/demo.jpg"))
                .map_err(|error| NoPreview::Failed(error.to_string())),
        }
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn serve(snapshot: Snapshot, answers: u64) -> Server {
    let site = Still { snapshot, answers, asked: AtomicU64::new(0) };
    Server::start("127.0.0.1:0".parse().unwrap(), Arc::new(site)).unwrap()
}

/// Whether there is a browser; says so if there is not.
fn there_is_a_browser() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join("chromium").is_file());
    let required = std::env::var_os("NV_BROWSER").is_some_and(|value| value == "required");
    assert!(found || !required, "NV_BROWSER=required, and there is no chromium in PATH");
    if !found {
        eprintln!("SKIPPED: there is no chromium in PATH, so the page was not looked at in a browser");
    }
    found
}

/// Runs the browser on the page and gives what it prints. Time in the page runs as fast as it can.
fn browse(server: &Server, width: u32, height: u32, dark: bool, what: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]);
    command.args([
        "--no-first-run",
        "--disable-extensions",
        "--disable-background-networking",
        "--hide-scrollbars",
    ]);
    command.args(["--disable-dev-shm-usage", "--virtual-time-budget=6000"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--window-size={width},{height}"));
    if dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command.arg(what).arg(format!("http://{}/", server.address()));
    let output = command.output().expect("`timeout` is on every system that has chromium");
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the page is UTF-8")
}

fn dump(server: &Server, width: u32) -> String {
    browse(server, width, 900, false, "--dump-dom")
}

fn screenshot(server: &Server, name: &str, width: u32, height: u32, dark: bool) {
    let folder = repository("target/browser");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    browse(server, width, height, dark, &format!("--screenshot={}", file.display()));
    assert!(std::fs::metadata(&file).unwrap().len() > 10_000, "{name} is almost nothing");
}

/// The value of a `data-` attribute of the whole page.
fn data<'a>(dom: &'a str, name: &str) -> &'a str {
    let begin = format!("data-{name}=\"");
    let rest = dom.split_once(&begin).unwrap_or_else(|| panic!("no {begin} in\n{dom}")).1;
    rest.split('"').next().unwrap()
}

/// What can be read on the page, tags left out.
fn visible(dom: &str) -> String {
    let body = dom.split_once("<body").and_then(|(_, rest)| rest.split_once("<script>")).expect("a body").0;
    let mut text = String::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        rest = after.split_once('>').map_or("", |(_, rest)| rest);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_fits(dom: &str) {
    let (content, window) = data(dom, "width").split_once('/').unwrap();
    assert_eq!(content, window, "the page must not scroll sideways");
}

#[test]
fn the_page_shows_every_feed_its_state_and_why() {
    if !there_is_a_browser() {
        return;
    }
    let server = serve(everything(), u64::MAX);
    let dom = dump(&server, 1280);
    let text = visible(&dom);
    assert_eq!(data(&dom, "connection"), "live");
    assert_fits(&dom);
    let expected = [
        "north-yard",
        "Healthy",
        "up 1 d 2 h",
        "9 warnings",
        "Feeds (10)",
        "Running 3",
        "Stalled",
        "Backing off",
        "Failed",
        "Paused",
        "Ended",
        "Connecting",
        "Idle",
        "main · for 12 s · no frame within 5 s",
        "for 1 min 35 s · nobody answers at",
        "decoding failed 10 times",
        "25.0 fps in",
        "24.9 out",
        "late 212, overload 31, timeout 3, source: decode 3",
        "nvh264dec",
        "hardware, 1920 × 1080",
        "people-320",
        "4 outages",
        "batcher",
        "1/4",
        "Engines",
        "Degraded",
        "no answer within 2 s",
        "Outputs",
        "Losing",
        "No space left on device",
        "unknown key `fedes`",
    ];
    for words in expected {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    let order: Vec<usize> = ["roof", "yard", "dock-2", "lobby", "gate-north", "office"]
        .iter()
        .map(|name| dom.find(&format!("<h3 title=\"{name}\"")).unwrap_or_else(|| panic!("no card of {name}")))
        .collect();
    assert!(order.is_sorted(), "problems come first: {order:?}");
    assert!(dom.contains("alt=\"Latest picture of gate-north\""), "no thumbnail");
}

#[test]
fn a_name_that_is_a_script_is_only_a_name() {
    if !there_is_a_browser() {
        return;
    }
    let dom = dump(&serve(everything(), u64::MAX), 1280);
    assert!(visible(&dom).contains("&lt;img src=x onerror=document.title='owned'&gt;"), "{dom}");
    assert!(!dom.contains("<img src=\"x\""), "the name became an element");
    assert!(dom.contains("<title>Healthy · north-yard</title>"), "the name ran");
}

#[test]
fn the_page_fits_a_phone() {
    if !there_is_a_browser() {
        return;
    }
    let server = serve(everything(), u64::MAX);
    let dom = dump(&server, 390);
    assert_fits(&dom);
    let window: u32 = data(&dom, "width").split('/').next_back().unwrap().parse().unwrap();
    assert!(window <= 500, "the browser made the window {window} wide");
}

#[test]
fn numbers_are_greyed_when_the_runtime_does_not_answer() {
    if !there_is_a_browser() {
        return;
    }
    let server = serve(everything(), 1);
    let dom = dump(&server, 1280);
    assert_eq!(data(&dom, "connection"), "lost");
    assert!(visible(&dom).contains("No answer from the runtime since"));
    assert!(!visible(&dom).contains("Healthy"), "what is not known is not said");
    assert!(dom.contains("<body class=\"stale\">"));
    screenshot(&serve(everything(), 1), "lost-1280.png", 1280, 1000, false);
}

#[test]
fn a_site_that_is_not_well_says_why_first() {
    if !there_is_a_browser() {
        return;
    }
    let all_down =
        Snapshot { feeds: everything().feeds.into_iter().skip(2).take(3).collect(), ..everything() };
    let server = serve(all_down, u64::MAX);
    let text = visible(&dump(&server, 1280));
    assert!(
        text.contains("Unhealthy") && text.contains("None of the 3 feeds that are not paused gives frames."),
        "{text}"
    );
    screenshot(&server, "unhealthy-1280.png", 1280, 1100, false);
}

#[test]
fn a_site_without_feeds_says_so() {
    if !there_is_a_browser() {
        return;
    }
    let server = serve(Snapshot { phase: Phase::Starting, ..empty() }, u64::MAX);
    let text = visible(&dump(&server, 1280));
    assert!(text.contains("There are no feeds.") && text.contains("Starting"), "{text}");
    screenshot(&server, "empty-1280.png", 1280, 700, false);
}

#[test]
fn pictures_of_the_page_are_left_to_be_looked_at() {
    if !there_is_a_browser() {
        return;
    }
    let server = serve(everything(), u64::MAX);
    screenshot(&server, "all-1280.png", 1280, 2300, false);
    screenshot(&server, "all-dark-1280.png", 1280, 2300, true);
    screenshot(&server, "all-390.png", 390, 5600, false);
    let server = serve(many(64), u64::MAX);
    let dom = dump(&server, 1280);
    assert_fits(&dom);
    assert!(visible(&dom).contains("Feeds (64)"));
    screenshot(&server, "many-1280.png", 1280, 2000, false);
    screenshot(&server, "many-390.png", 390, 2000, true);
}
