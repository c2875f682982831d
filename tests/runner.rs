//! The program `nextvision`, as it is built: its commands, its exit statuses, and what it says last.

mod runs;
mod server;

use crate::support::{eventually, repository};
use gstnextvision::metrics::{Engine, Feed, FeedState, Snapshot};
use server::Server;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// The program, with nothing of the surroundings that changes what it says.
fn nextvision() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nextvision"));
    command.stdin(Stdio::null());
    for variable in
        ["NV_LOG", "GST_DEBUG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "COLUMNS", "LINES", "RUST_BACKTRACE"]
    {
        command.env_remove(variable);
    }
    command
}

/// How it ended, what it printed and what it complained of.
fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    (status.code(), String::from_utf8_lossy(&stdout).into(), String::from_utf8_lossy(&stderr).into())
}

fn write_site(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("site.toml");
    fs::write(&path, text).expect("a file can be written");
    path
}

fn kill(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// Sends the signal until the process is over: how it ended.
fn kill_until_over(child: &mut Child, signal: &str) -> ExitStatus {
    let mut last = None;
    eventually(
        "it ends at a second signal",
        || {
            last = child.try_wait().expect("it can be waited for");
            if last.is_none() {
                // It may have ended since.
                Command::new("kill")
                    .args([signal, &child.id().to_string()])
                    .stderr(Stdio::null())
                    .status()
                    .ok();
            }
            last.is_some()
        },
        |over| *over,
    );
    last.expect("it is over")
}

// --- The command line --------------------------------------------------------------------------------------

#[test]
fn help_says_what_the_exit_statuses_mean() {
    for arguments in
        [&["--help"][..], &["run", "--help"], &["check", "--help"], &["status", "--help"], &["top", "--help"]]
    {
        let (status, text, complaint) = outcome(nextvision().args(arguments));
        assert_eq!((status, complaint.as_str()), (Some(0), ""), "{arguments:?}");
        for word in ["Exit statuses", "  0 ", "  1 ", "  2 ", "  130 ", "  143 "] {
            assert!(text.contains(word), "{arguments:?}: {word}: {text}");
        }
    }
}

#[test]
fn a_wrong_command_line_is_refused_with_2() {
    let wrong: [&[&str]; 8] = [
        &[],
        &["walk"],
        &["run"],
        &["run", "a", "b"],
        &["run", "site.toml", "--log", "loud"],
        &["run", "site.toml", "--metrics-address", "nowhere"],
        &["status", "--site", "a", "--address", "b:1"],
        &["check", "--json", "a"],
    ];
    for arguments in wrong {
        let (status, text, complaint) = outcome(nextvision().args(arguments));
        assert_eq!((status, text.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(
            complaint.contains("Usage") || complaint.starts_with("error: "),
            "{arguments:?}: {complaint}"
        );
    }
}

#[test]
fn a_wrong_filter_in_the_environment_is_refused_with_2() {
    let (status, _, complaint) = outcome(nextvision().args(["run", "site.toml"]).env("NV_LOG", "loud"));
    assert_eq!(status, Some(2));
    assert!(complaint.starts_with("nextvision: NV_LOG: expected off, error, warn"), "{complaint}");
}

// --- check -------------------------------------------------------------------------------------------------

#[test]
fn the_packaged_site_is_right() {
    let (status, plan, complaint) = outcome(nextvision().arg("check").arg(repository("packaging/site.toml")));
    assert_eq!(status, Some(0), "{complaint}");
    assert!(!plan.is_empty());
}

#[test]
fn a_wrong_file_is_refused_with_file_and_line_by_check_and_by_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = write_site(folder.path(), "[runtime]\nmax-feeds = = 3\n");
    for command in ["check", "run"] {
        let (status, plan, complaint) = outcome(nextvision().arg(command).arg(&site));
        assert_eq!((status, plan.as_str()), (Some(2), ""), "{complaint}");
        let place = format!("{}: line ", site.display());
        assert!(complaint.lines().all(|line| line.starts_with(&place)), "{complaint}");
        assert!(!complaint.is_empty());
    }
}

#[test]
fn a_file_that_is_none_or_no_text_or_endless_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.toml");
    let binary = folder.path().join("binary.toml");
    fs::write(&binary, b"a = 1\n\xff").expect("a file can be written");
    for (path, words) in [
        (missing.as_path(), "expected a file that can be read"),
        (binary.as_path(), "line 2: expected UTF-8"),
        (Path::new("/dev/zero"), "bytes at most, found more"),
        (folder.path(), "expected a file that can be read"),
    ] {
        let (status, _, complaint) = outcome(nextvision().arg("check").arg(path));
        assert_eq!(status, Some(2), "{complaint}");
        assert!(
            complaint.starts_with(&path.display().to_string()) && complaint.contains(words),
            "{complaint}"
        );
    }
}

#[test]
fn what_is_not_there_yet_is_a_warning_of_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, "canary").expect("a file can be written");
    let site = write_site(
        folder.path(),
        &format!(
            "[[models]]\nname = \"m\"\npath = \"missing.onnx\"\n[[groups]]\nname = \"g\"\nmodels = [\"m\"]\n\
             [[feeds]]\nid = \"a\"\nuri = \"rtsp://host/a\"\nuser = \"u\"\npassword = {{ env = \"NV_TEST_SET\" }}\n\
             [[feeds]]\nid = \"b\"\nuri = \"rtsp://host/b\"\nuser = \"u\"\npassword = {{ env = \"NV_TEST_UNSET\" }}\n\
             [[feeds]]\nid = \"c\"\nuri = \"rtsp://host/c\"\nuser = \"u\"\npassword = {{ file = {secret:?} }}\n\
             [[feeds]]\nid = \"d\"\nuri = \"rtsp://host/d\"\nuser = \"u\"\npassword = {{ file = \"none\" }}\n\
             [[feeds]]\nid = \"e\"\nuri = \"missing.mp4\"\n"
        ),
    );
    let (status, plan, warnings) = outcome(nextvision().arg("check").arg(&site).env("NV_TEST_SET", "canary"));
    assert_eq!(status, Some(0), "{warnings}");
    assert!(!plan.contains("canary") && !warnings.contains("canary"), "{plan}{warnings}");
    for words in ["missing.onnx", "NV_TEST_UNSET", "/none", "missing.mp4"] {
        let line = warnings.lines().find(|line| line.contains(words));
        assert!(line.is_some_and(|line| line.contains("site.toml: warning: ")), "{words}: {warnings}");
    }
    assert_eq!(warnings.lines().count(), 4, "{warnings}");
}

// --- status and top ----------------------------------------------------------------------------------------

fn snapshot() -> Snapshot {
    let feed = |id: u32, state: FeedState| Feed {
        id,
        feed_id: format!("gate-{id}\u{1b}[2J\u{9b}1m"),
        alive: state.is_alive(),
        state,
        fps_out: 24.5,
        reason: if state == FeedState::Failed { "timeout".to_owned() } else { String::new() },
        ..Feed::default()
    };
    Snapshot {
        schema: Snapshot::SCHEMA.to_owned(),
        feeds: vec![feed(1, FeedState::Running), feed(2, FeedState::Failed)],
        engines: vec![Engine { group: "main".to_owned(), model: "nanodet".to_owned(), ..Engine::default() }],
        ..Snapshot::default()
    }
}

const WELL: (u16, &str) =
    (200, r#"{"healthy":true,"reasons":[],"warnings":["The feed \u0007X is stalled."]}"#);
const UNWELL: (u16, &str) =
    (503, r#"{"healthy":false,"reasons":["None of the 2 feeds gives frames."],"warnings":[]}"#);

fn serve(health: (u16, &str)) -> Server {
    let json = serde_json::to_string(&snapshot()).expect("a snapshot is JSON");
    Server::start([("/status.json", 200, json), ("/health", health.0, health.1.to_owned())])
}

#[test]
fn the_state_of_a_healthy_one_is_shown_and_obeys_nobody() {
    let server = serve(WELL);
    let (status, text, complaint) = outcome(nextvision().args(["status", "--address", &server.address()]));
    assert_eq!((status, complaint.as_str()), (Some(0), ""), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    for words in ["1 of 2 feeds alive", "healthy", "gate-1", "24.5", "timeout", "nanodet", "is stalled"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_table_is_as_wide_as_it_may_be() {
    let server = serve(WELL);
    for width in ["20", "60", "100"] {
        let mut command = nextvision();
        let (_, text, _) =
            outcome(command.args(["status", "--address", &server.address()]).env("COLUMNS", width));
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= width.parse().ok(), "{width}: {text}");
    }
}

#[test]
fn one_that_is_not_healthy_is_an_exit_status_of_1() {
    let server = serve(UNWELL);
    let (status, text, complaint) = outcome(nextvision().args(["status", "--address", &server.address()]));
    assert_eq!(status, Some(1), "{text}");
    assert_eq!(complaint, "nextvision: not healthy: None of the 2 feeds gives frames.\n");
}

#[test]
fn json_has_everything_and_nothing_to_obey() {
    let server = serve(WELL);
    let (status, text, complaint) =
        outcome(nextvision().args(["status", "--json", "--address", &server.address()]));
    assert_eq!(status, Some(0), "{complaint}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    assert_eq!(serde_json::from_str::<Snapshot>(&text).expect("a snapshot"), snapshot());
}

#[test]
fn where_nobody_answers_is_said_and_an_exit_status_of_2() {
    let address = Server::start([]).address();
    for command in ["status", "top"] {
        let (status, text, complaint) = outcome(nextvision().args([command, "--address", &address]));
        assert_eq!((status, text.as_str()), (Some(2), ""), "{complaint}");
        assert!(complaint.contains(&address) && complaint.lines().count() == 1, "{complaint}");
    }
}

#[test]
fn what_is_no_nextvision_is_not_taken_for_one() {
    let others = [(200, "<html>"), (404, "not found"), (302, ""), (200, r#"{"schema":"nv-status/99"}"#)];
    for (code, body) in others {
        let server = Server::start([("/status.json", code, body.to_owned())]);
        let (status, _, complaint) = outcome(nextvision().args(["status", "--address", &server.address()]));
        assert_eq!(status, Some(2), "{complaint}");
        assert!(complaint.contains("does not answer like a nextvision"), "{complaint}");
    }
    let endless = Server::start([("/status.json", 200, " ".repeat(17 * 1024 * 1024))]);
    let (status, _, complaint) = outcome(nextvision().args(["status", "--address", &endless.address()]));
    assert_eq!(status, Some(2), "{complaint}");
}

#[test]
fn the_address_can_come_from_the_site_file() {
    let server = serve(WELL);
    let folder = tempfile::tempdir().expect("a folder");
    let model = repository("tests/data/brightest.onnx");
    let site = write_site(
        folder.path(),
        &format!(
            "[runtime]\nmetrics-address = \"{}\"\n[[models]]\nname = \"m\"\npath = {model:?}\n\
             [[groups]]\nname = \"g\"\nmodels = [\"m\"]\n[[feeds]]\nid = \"a\"\nuri = \"rtsp://host/a\"\n",
            server.address()
        ),
    );
    let (status, text, complaint) = outcome(nextvision().arg("status").arg("--site").arg(&site));
    assert_eq!(status, Some(0), "{text}{complaint}");
}

#[test]
fn top_prints_tables_one_after_another_until_nobody_reads() {
    let server = serve(WELL);
    let mut child = nextvision()
        .args(["top", "--address", &server.address()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for _ in 0..2 {
        assert!(lines.any(|line| line.expect("text").contains("feeds alive")), "a headline");
    }
    drop(lines);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn top_ends_at_a_signal() {
    let server = serve(WELL);
    let mut child = nextvision()
        .args(["top", "--address", &server.address()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    // The handlers are there before the first table.
    assert!(lines.any(|line| line.expect("text").contains("feeds alive")), "a headline");
    kill(&child, "-INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

// --- Signals, without anything that plays ------------------------------------------------------------------

/// A site file that never ends: the program hangs in reading it.
struct Endless {
    _folder: tempfile::TempDir,
    child: Child,
    file: fs::File,
}

impl Endless {
    /// Returns when the program reads.
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("site.toml");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
        let child = nextvision().arg("run").arg(&path).stderr(Stdio::piped()).spawn().expect("it starts");
        // Opens when somebody reads.
        let file = fs::OpenOptions::new().write(true).open(&path).expect("somebody reads");
        Self { _folder: folder, child, file }
    }
}

#[test]
fn a_second_signal_ends_a_wedged_program_at_once() {
    for (signal, status) in [("-INT", 130), ("-TERM", 143)] {
        let mut endless = Endless::start();
        kill(&endless.child, signal);
        assert_eq!(kill_until_over(&mut endless.child, signal).code(), Some(status));
    }
}

#[test]
fn a_signal_before_the_start_is_honoured() {
    let Endless { mut child, mut file, _folder } = Endless::start();
    kill(&child, "-TERM");
    // Whatever is wrong with the file is not what it ends for.
    file.write_all(runs::quiet_site(_folder.path()).as_bytes()).expect("it is read");
    drop(file);
    let output = child.wait().expect("it ends");
    assert_eq!(output.code(), Some(0));
}
