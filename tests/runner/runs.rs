//! `nextvision run` with a runtime that plays.

use super::{kill, kill_until_over, nextvision, outcome, write_site};
use crate::support::{eventually, records, repository};
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};

/// A site of one feed that plays for ever, and a file of records in `folder`.
pub(super) fn quiet_site(folder: &Path) -> String {
    site(folder, "videotestsrc is-live=true", "type = \"file\"\npath = \"{feed}.jsonl\"")
}

fn site(folder: &Path, source: &str, output: &str) -> String {
    let model = repository("tests/data/brightest.onnx");
    // Paths start at the folder of the file, which may be no real one.
    let output = output.replace("{feed}", &folder.join("{feed}").display().to_string());
    format!(
        "[runtime]\nallow-custom-pipeline = true\n[[models]]\nname = \"m\"\npath = {model:?}\n\
         [[groups]]\nname = \"g\"\nmodels = [\"m\"]\n\
         [[feeds]]\nid = \"a\"\ncustom-pipeline = \"{source}\"\n[[outputs]]\nname = \"o\"\n{output}\n"
    )
}

/// The program while it runs, with what it logs.
struct Running {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(site: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = nextvision();
        command.arg("run").arg(site).args(arguments).envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        Self { child, log }
    }

    /// Reads the log up to a line with `words`; returns that line.
    fn until(&mut self, words: &str) -> String {
        let mut read = Vec::new();
        for line in self.log.by_ref() {
            let line = line.expect("text");
            if line.contains(words) {
                return line;
            }
            read.push(line);
        }
        panic!("it ended without {words:?}: {read:#?}");
    }

    /// The exit status, and the last line of the log.
    fn end(mut self) -> (Option<i32>, String) {
        let last = self.log.by_ref().map_while(Result::ok).last().unwrap_or_default();
        (self.child.wait().expect("it ends").code(), last)
    }
}

/// A test that fails leaves nothing behind.
impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}

const IS_RUNNING: &str = "the runtime is running";

#[test]
fn a_signal_drains_and_ends_well_with_whole_lines() {
    for signal in ["-INT", "-TERM"] {
        let folder = tempfile::tempdir().expect("a folder");
        let site = write_site(folder.path(), &quiet_site(folder.path()));
        let mut running = Running::start(&site, &[], &[]);
        running.until(IS_RUNNING);
        let file = folder.path().join("a.jsonl");
        let length = || std::fs::metadata(&file).map_or(0, |it| it.len());
        eventually("there are records", length, |length| *length > 0);
        kill(&running.child, signal);
        running.until("everything is delivered");
        assert_eq!(running.end().0, Some(0));
        assert!(std::fs::read_to_string(&file).expect("the records").ends_with('\n'));
        assert!(!records(&file).is_empty());
    }
}

#[test]
fn the_end_of_all_feeds_is_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = site(folder.path(), "videotestsrc num-buffers=20", "type = \"file\"\npath = \"{feed}.jsonl\"");
    let site = write_site(folder.path(), &text);
    let (status, last) = Running::start(&site, &[], &[]).end();
    assert_eq!(status, Some(0), "{last}");
    assert_eq!(records(&folder.path().join("a.jsonl")).len(), 20);
}

#[test]
fn a_model_that_cannot_be_loaded_is_the_reason_on_the_last_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = quiet_site(folder.path()).replace("brightest.onnx", "no-such-model.onnx");
    let site = write_site(folder.path(), &text);
    for format in ["text", "json"] {
        let (status, last) = Running::start(&site, &["--log-format", format], &[]).end();
        assert_eq!(status, Some(1), "{last}");
        assert!(last.contains("no-such-model.onnx"), "{last}");
        match format {
            "json" => {
                let line: serde_json::Value = serde_json::from_str(&last).expect("JSON");
                assert_eq!(line["level"], "ERROR");
            }
            _ => assert!(last.starts_with("nextvision: "), "{last}"),
        }
    }
}

#[test]
fn every_line_of_the_log_is_one_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = site(folder.path(), "videotestsrc num-buffers=5", "type = \"file\"\npath = \"{feed}.jsonl\"");
    let site = write_site(folder.path(), &text);
    let arguments = ["--log-format", "json", "--log", "debug,gst::nv*=debug", "--gst-debug", "3"];
    let (status, _, log) = outcome(nextvision().arg("run").arg(&site).args(arguments));
    assert_eq!(status, Some(0), "{log}");
    let events: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of = |target: &str| events.iter().filter(|event| event["target"] == target).collect::<Vec<_>>();
    assert!(of("gst").iter().any(|event| event["fields"]["category"] == "nvfeed"), "{log}");
    assert!(of("health").iter().any(|event| event["fields"]["event"] == "model-ready"), "{log}");
}

#[test]
fn a_second_signal_ends_a_wedged_drain_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody reads standard output, so records fill the pipe and then the queue.
    let text = site(
        folder.path(),
        "videotestsrc ! video/x-raw,width=32,height=32 ! identity",
        "type = \"stdout\"\noverflow = \"block\"",
    )
    .replace("[runtime]", "[runtime]\ndrain-timeout = \"10m\"");
    let site = write_site(folder.path(), &text);
    let mut running = Running::start(&site, &[], &[]);
    running.until(IS_RUNNING);
    kill(&running.child, "-TERM");
    running.until("delivering what is on its way");
    assert_eq!(kill_until_over(&mut running.child, "-INT").code(), Some(130));
}

#[test]
fn a_reload_is_applied_or_says_why_not_and_the_run_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = quiet_site(folder.path());
    let site = write_site(folder.path(), &text);
    let mut running = Running::start(&site, &[], &[]);
    running.until(IS_RUNNING);
    write_site(folder.path(), "[runtime]\nmax-feeds = \"many\"\n");
    kill(&running.child, "-HUP");
    let line = running.until("not applied");
    assert!(line.contains("site.toml") && line.contains("line 2"), "{line}");
    write_site(folder.path(), &text);
    kill(&running.child, "-HUP");
    running.until("read again and applied");
    kill(&running.child, "-TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_service_manager_hears_how_it_fares() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket_path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&socket_path).expect("a socket");
    let site = write_site(folder.path(), &quiet_site(folder.path()));
    let path = socket_path.display().to_string();
    let running = Running::start(&site, &[], &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "500000")]);
    let hear = |words: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).expect("a datagram");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(words) {
                return text;
            }
            assert!(!text.contains("STOPPING=1"), "it stops before {words}");
        }
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("STATUS=1 of 1 feeds alive");
    kill(&running.child, "-HUP");
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    kill(&running.child, "-TERM");
    hear("STOPPING=1");
    assert_eq!(running.end().0, Some(0));
}
