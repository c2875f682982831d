//! Whatever the documentation shows runs: scripts, and pipelines in prose. `examples.rs` runs the examples.
//!
//! Pipelines are found in the text: a line that begins with `gst-launch-1.0`, with or without `./dev run` before it,
//! and its continuation lines. All of them must parse. Those that end by themselves (they read the clips or have
//! `num-buffers`) run as printed, in a folder that looks like the repository.

use crate::support::cameras::Server;
use crate::support::{clip, command_output as run, init, records, repository, tiny_model};
use gst::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LAUNCH: &str = "gst-launch-1.0 ";

/// Frames of the fetched clips.
const CARPHONE: usize = 120;
const BIKES: usize = 250;

/// A pipeline as a text shows it.
struct Shown {
    /// The text it stands in.
    file: String,
    /// The command line, on one line.
    command: String,
}

impl Shown {
    fn words(&self) -> Vec<String> {
        words(&self.command)
    }

    /// Whether it ends by itself and needs nothing that is not here.
    fn runs(&self) -> bool {
        let placeholder = self.words().iter().any(|word| {
            word.split(['=', '/'])
                .any(|part| part.len() > 3 && part.chars().all(|c| c.is_uppercase() || c == '-'))
        });
        let has = |words: &str| self.command.contains(words);
        // The site of the repository ends with its clips. An address may be somebody else's.
        let is_site = has("nvruntime config=pipelines/site.toml") && !has("metrics-address=");
        !placeholder && (is_site || has("num-buffers=") || has(".cache/clips/"))
    }

    /// The files it writes.
    fn records(&self) -> Vec<String> {
        let words = self.words();
        let locations = words.iter().filter_map(|word| word.strip_prefix("location="));
        locations.filter(|location| location.ends_with(".jsonl")).map(str::to_owned).collect()
    }
}

/// Splits a command line at its spaces, quotes heeded.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The pipelines in a text of the repository. Rust files show them in comments.
fn shown_in(path: &Path) -> Vec<Shown> {
    let text = fs::read_to_string(path).expect("a text of the repository");
    let file = path.strip_prefix(repository("")).unwrap_or(path).display().to_string();
    let bare = |line: &str| {
        let line = line.trim();
        line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).unwrap_or(line).trim().to_owned()
    };
    let mut lines = text.lines().map(bare);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let start = line.strip_prefix("$ ").unwrap_or(&line);
        let Some(start) = start.strip_prefix("./dev run ").unwrap_or(start).strip_prefix(LAUNCH) else {
            continue;
        };
        let mut command = start.to_owned();
        while let Some(unfinished) = command.strip_suffix('\\') {
            command = format!("{} {}", unfinished.trim_end(), lines.next().unwrap_or_default());
        }
        if command.contains('!') || command.contains("nvruntime ") {
            found.push(Shown { file: file.clone(), command });
        }
    }
    found
}

fn files_in(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository(folder)).expect("a folder of the repository");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    files.retain(|file| file.display().to_string().ends_with(suffix));
    files.sort();
    files
}

fn element_files() -> Vec<PathBuf> {
    [
        "nvfeed",
        "nvbatcher",
        "nvinference",
        "nvunbatcher",
        "nvtrack",
        "nvoverlay",
        "nvhealth",
        "nvsink",
        "nvruntime",
    ]
    .map(|element| repository(&format!("src/elements/{element}/mod.rs")))
    .to_vec()
}

/// A folder with what the commands in the texts expect to find: models and clips.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let link = |from: PathBuf, to: &str| {
        std::os::unix::fs::symlink(from, folder.path().join(to)).expect("a link");
    };
    fs::create_dir(folder.path().join(".cache")).expect("a folder");
    let clips = PathBuf::from(clip("")).canonicalize().expect("the clips are there");
    link(clips, ".cache/clips");
    link(repository("models"), "models");
    // Not a link: what it writes stands beside it.
    fs::create_dir(folder.path().join("pipelines")).expect("a folder");
    fs::copy(repository("pipelines/site.toml"), folder.path().join("pipelines/site.toml")).expect("a copy");
    folder
}

/// Runs what the text shows; how many records each file has got.
fn run_pipelines_of(text: &Path) -> BTreeMap<String, usize> {
    let runnable: Vec<_> = shown_in(text).into_iter().filter(Shown::runs).collect();
    assert!(!runnable.is_empty(), "{} shows no pipeline that runs", text.display());
    let mut counts = BTreeMap::new();
    for pipeline in runnable {
        let folder = workplace();
        run(Command::new("sh")
            .arg("-c")
            .arg(format!("{LAUNCH}{}", pipeline.command))
            .current_dir(folder.path()));
        for file in pipeline.records() {
            let found = records(&folder.path().join(&file)).len();
            assert!(found > 0, "{}: no record in {file}", pipeline.file);
            counts.insert(file, found);
        }
    }
    counts
}

#[test]
fn every_pipeline_in_the_documentation_parses() {
    init();
    let mut texts = files_in("docs", ".md");
    texts.extend(files_in("pipelines", ".md"));
    texts.extend(element_files());
    texts.push(repository("README.md"));
    let shown: Vec<_> = texts.iter().flat_map(|text| shown_in(text)).collect();
    assert!(shown.len() >= 8, "only {} pipelines found", shown.len());
    for pipeline in shown {
        let words = pipeline.words();
        let description: Vec<_> =
            words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        if let Err(error) = gst::parse::launchv_full(&description, None, gst::ParseFlags::empty()) {
            panic!("{}: {error}: {}", pipeline.file, pipeline.command);
        }
    }
}

#[test]
fn the_first_pipeline_of_the_readme_gives_a_record_for_every_frame() {
    let counts = run_pipelines_of(&repository("README.md"));
    assert_eq!((counts.get("a.jsonl"), counts.get("b.jsonl")), (Some(&BIKES), Some(&CARPHONE)));
}

#[test]
fn the_pipelines_of_the_elements_documentation_run() {
    for file in element_files() {
        run_pipelines_of(&file);
    }
}

/// Runs a script of `pipelines/` in an empty folder; how many records it has written there, and said.
fn records_of_script(name: &str) -> usize {
    let (files, said) = run_script(&repository("pipelines").join(name), &[("FRAMES", "15")]);
    let written: usize = files.values().sum();
    // Whatever is said besides records is no record.
    if written > 0 { written } else { said.lines().filter(|line| line.starts_with("{\"schema\"")).count() }
}

/// Runs a script in an empty folder, with these variables; the files it has written with their records, and what it said.
fn run_script(script: &Path, variables: &[(&str, &str)]) -> (BTreeMap<String, usize>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let said = run(Command::new(script).envs(variables.iter().copied()).current_dir(folder.path()));
    let entries = fs::read_dir(folder.path()).expect("a folder");
    let files = entries.map(|entry| {
        let entry = entry.expect("it can be listed");
        (entry.file_name().to_string_lossy().into_owned(), records(&entry.path()).len())
    });
    (files.collect(), said)
}

/// What a script hands to `gst-launch-1.0`, which does not run.
fn launched_by(script: &Path, variables: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let launcher = folder.path().join("gst-launch-1.0");
    fs::write(&launcher, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").expect("a script");
    fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)).expect("a script");
    let path = std::env::var("PATH").expect("there is a path");
    let path = format!("{}:{path}", folder.path().display());
    let said = run(Command::new(script).env("PATH", path).envs(variables.iter().copied()));
    said.lines().filter(|word| !word.starts_with('-')).map(str::to_owned).collect()
}

#[test]
fn script_01_gives_a_record_for_every_frame_of_its_file() {
    assert_eq!(records_of_script("01-one-file.sh"), CARPHONE);
}

#[test]
fn script_02_gives_a_record_for_every_frame_of_both_files() {
    assert_eq!(records_of_script("02-two-files-one-engine.sh"), BIKES + CARPHONE);
}

#[test]
fn script_03_gives_records_of_live_feeds() {
    assert!(records_of_script("03-live-test-sources.sh") >= 3);
}

#[test]
fn script_04_says_a_record_for_every_frame_of_its_file() {
    assert_eq!(records_of_script("04-plain-video.sh"), CARPHONE);
}

#[test]
fn script_05_gives_a_record_for_every_frame_of_its_file() {
    assert_eq!(records_of_script("05-own-model.sh"), CARPHONE);
}

#[test]
fn script_06_shows_that_one_feed_stalls_and_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = run(Command::new(repository("pipelines/06-health.sh")).current_dir(folder.path()));
    let of = |feed: &str, event: &str| {
        let (feed, event) = (format!("feed-id=(string){feed}"), format!("event=(string){event}"));
        said.lines().filter(|line| line.contains(&feed) && line.contains(&event)).count()
    };
    for event in ["feed-started", "feed-stalled", "feed-recovered", "feed-stopped"] {
        assert_eq!(of("door", event), 1, "{event}\n{said}");
    }
    for (event, count) in
        [("feed-started", 1), ("feed-stalled", 0), ("feed-recovered", 0), ("feed-stopped", 1)]
    {
        assert_eq!(of("yard", event), count, "{event}\n{said}");
    }
}

#[test]
fn script_07_gives_records_and_messages_of_its_camera() {
    let server = Server::start(&["--mount", "/cam=jpeg"]);
    let camera = server.url("/cam");
    let variables = [("NV_CAMERA", camera.as_str()), ("FRAMES", "15")];
    let (files, said) = run_script(&repository("pipelines/07-rtsp-camera.sh"), &variables);
    assert!(files.get("camera.jsonl").is_some_and(|records| *records > 1), "{files:?}");
    for event in ["source-connected", "insecure-rtsp"] {
        let event = format!("event=(string){event}");
        let told = said.lines().filter(|line| line.contains(&event) && line.contains("(string)camera"));
        assert_eq!(told.count(), 1, "{event}\n{said}");
    }
}

#[test]
fn script_08_gives_records_of_four_cameras() {
    let server = Server::start(&["--mount", "/a=jpeg", "--mount", "/b=jpeg"]);
    let cameras = ["/a", "/b", "/a", "/b"].map(|camera| server.url(camera)).join(" ");
    let variables = [("NV_CAMERAS", cameras.as_str()), ("FRAMES", "15")];
    let (files, _) = run_script(&repository("pipelines/08-four-cameras.sh"), &variables);
    assert_eq!(files.len(), 4, "{files:?}");
    assert!(files.values().all(|records| *records > 1), "{files:?}");
}

#[test]
fn script_09_gives_records_of_files_that_loop() {
    let clip = clip("carphone_pristine.mp4");
    let mut variables = ["CLIP_0", "CLIP_1", "CLIP_2", "CLIP_3"].map(|name| (name, clip.as_str())).to_vec();
    let frames = CARPHONE + 30;
    let count = frames.to_string();
    let model = tiny_model("slow_1ms");
    variables.extend([("FRAMES", count.as_str()), ("MODEL", &model)]);
    let (files, _) = run_script(&repository("pipelines/09-file-wall.sh"), &variables);
    assert_eq!(files.len(), 4, "{files:?}");
    assert!(files.values().all(|records| *records > CARPHONE && *records <= frames), "{files:?}");
}

#[test]
fn script_10_would_play_the_webcam() {
    init();
    // Any device that is there everywhere: nothing is read from it.
    let words = launched_by(&repository("pipelines/10-webcam.sh"), &[("DEVICE", "/dev/null")]);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let pipeline = gst::parse::launchv_full(&words, None, gst::ParseFlags::empty()).expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("of some elements");
    let feed = pipeline.iterate_sources().next().ok().flatten().expect("a source");
    assert_eq!(feed.property::<Option<String>>("uri").as_deref(), Some("v4l2:///dev/null"));
    feed.set_state(gst::State::Ready).expect("it can be played");
    feed.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn script_11_gives_a_record_for_every_frame_of_both_streams() {
    assert_eq!(records_of_script("11-batch-group.sh"), BIKES + CARPHONE);
}

#[test]
fn script_12_gives_a_record_for_every_frame_of_the_clip() {
    assert_eq!(records_of_script("12-tracks.sh"), BIKES);
}

#[test]
fn script_13_draws_a_picture_for_every_second() {
    let folder = tempfile::tempdir().expect("a folder");
    run(Command::new(repository("pipelines/13-overlay.sh")).current_dir(folder.path()));
    let entries = fs::read_dir(folder.path()).expect("a folder");
    let pictures: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    assert!(pictures.len() >= 3, "{pictures:?}");
    for picture in pictures {
        assert!(fs::read(&picture).expect("a file").starts_with(b"\x89PNG"), "{picture:?}");
    }
}

#[test]
fn script_14_gives_every_feed_of_its_site_a_file_of_records() {
    let folder = workplace();
    let site = folder.path().join("pipelines/site.toml");
    run(Command::new(repository("pipelines/14-site.sh")).env("SITE", &site));
    for feed in 1..=16 {
        let found = records(&folder.path().join(format!("records/camera-{feed:02}.jsonl"))).len();
        assert_eq!(found, if feed % 2 == 1 { BIKES } else { CARPHONE }, "camera-{feed:02}");
    }
}

#[test]
fn a_script_without_its_camera_says_what_to_give() {
    for (script, variables) in [
        ("07-rtsp-camera.sh", [("NV_CAMERA", "")]),
        ("08-four-cameras.sh", [("NV_CAMERAS", "rtsp://127.0.0.1/one")]),
        ("10-webcam.sh", [("DEVICE", "/dev/no-such-camera")]),
    ] {
        let mut command = Command::new(repository("pipelines").join(script));
        let output = command.envs(variables).stdin(Stdio::null()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{script}: {said}");
        assert!(said.starts_with("which camera"), "{script}: {said}");
        assert!(variables.iter().all(|(name, _)| said.contains(&format!("{name}="))), "{script}: {said}");
    }
}

#[test]
fn every_script_is_listed_and_tested() {
    let name = |path: &PathBuf| path.file_name().expect("a file").to_string_lossy().into_owned();
    let scripts: BTreeSet<_> = files_in("pipelines", ".sh").iter().map(name).collect();
    let list = fs::read_to_string(repository("pipelines/README.md")).expect("there is a list");
    let rows = list.lines().filter_map(|line| line.strip_prefix("| [")?.split(']').next());
    assert_eq!(rows.map(str::to_owned).collect::<BTreeSet<_>>(), scripts);
    let tests = fs::read_to_string(repository("tests/pipelines.rs")).expect("this file");
    for script in scripts {
        let run = [format!("records_of_script(\"{script}\")"), format!("repository(\"pipelines/{script}\")")];
        assert!(run.iter().any(|run| tests.contains(run)), "{script} is not run");
    }
}
