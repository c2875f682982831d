//! The example applications run, each as README says, and find what is there.

use crate::support::{clip, command_output as run, detector, init, records, repository, tiny_model};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

#[path = "../examples/add_remove.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod add_remove;
#[path = "../examples/demo.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod demo;
#[path = "../examples/detect.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod detect;
#[path = "../examples/health_watch.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod health_watch;

/// Frames of the fetched clip.
const CARPHONE: usize = 120;

/// The demo, with two feeds and a model that takes no time.
fn run_demo(folder: &Path, pictures: &demo::Pictures) {
    init();
    let clip = clip("carphone_pristine.mp4");
    let arguments = demo::Arguments {
        model: tiny_model("brightest").into(),
        output: folder.to_owned(),
        clips: vec![clip.clone().into(), clip.into()],
    };
    demo::demo(&arguments, pictures).expect("the demo runs");
    for feed in 0..2 {
        assert_eq!(records(&folder.join(format!("feed-{feed}.jsonl"))).len(), CARPHONE);
    }
}

/// What a folder has that is no file of records.
fn pictures_in(folder: &Path) -> BTreeSet<String> {
    let names =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("it can be listed").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| !name.ends_with(".jsonl")).collect()
}

#[test]
fn the_demo_draws_a_video_for_each_feed_and_a_sheet_of_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = demo::Pictures::with(|_| true);
    assert_eq!(pictures.missing(), [""; 0]);
    run_demo(folder.path(), &pictures);
    for feed in 0..2 {
        let video = fs::read(folder.path().join(format!("feed-{feed}.webm"))).expect("a video");
        assert!(video.starts_with(b"\x1aE\xdf\xa3") && video.len() > 10_000, "{} bytes", video.len());
    }
    let sheet = fs::read(folder.path().join("sheet.png")).expect("a sheet");
    assert!(sheet.starts_with(b"\x89PNG"));
    let size = |at: usize| u32::from_be_bytes(sheet[at..at + 4].try_into().expect("four bytes"));
    // Three pictures beside each other, two rows, 4 pixels between them.
    assert_eq!(size(16), 3 * 640 + 2 * 4);
    assert!(size(20) > 2 * 480, "{}", size(20));
}

#[test]
fn the_demo_takes_the_next_encoder_if_one_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = demo::Pictures::with(|element| element != "vp8enc");
    assert_eq!(pictures.missing(), [""; 0]);
    run_demo(folder.path(), &pictures);
    assert_eq!(pictures_in(folder.path()), ["feed-0.mkv", "feed-1.mkv", "sheet.png"].map(Into::into).into());
}

#[test]
fn the_demo_without_encoders_says_so_and_gives_its_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = demo::Pictures::with(|_| false);
    let missing = pictures.missing().join("\n");
    for name in ["vp8enc", "jpegenc", "pngenc", "gstreamer1.0-plugins-good"] {
        assert!(missing.contains(name), "{missing}");
    }
    run_demo(folder.path(), &pictures);
    assert!(pictures_in(folder.path()).is_empty());
}

#[test]
fn feeds_join_and_leave_a_pipeline_that_plays() {
    init();
    let clips = [(); 3].map(|()| clip("carphone_pristine.mp4"));
    let mut lines = Vec::new();
    add_remove::add_remove(tiny_model("slow_1ms").as_ref(), &clips, |line| lines.push(line.to_owned()))
        .expect("the example runs");
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).expect("a line");
    for feed in 0..3 {
        assert!(at(&format!("feed {feed} joins")) < at(&format!("feed {feed} leaves")), "{lines:?}");
    }
    // The second joins while the first is there.
    assert!(at("feed 1 joins") < at("feed 0 leaves"), "{lines:?}");
}

#[test]
fn the_health_of_feeds_that_end_and_of_one_that_cannot_begin_is_told() {
    init();
    let feeds = [clip("carphone_pristine.mp4"), "/no/such/file.mp4".to_owned()];
    let mut lines = Vec::new();
    let given_up = health_watch::watch(&feeds, |line| lines.push(line.to_owned())).expect("the example runs");
    assert_eq!(given_up, ["file-1"]);
    let told = |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(told(&["carphone_pristine-0", "feed-started"]), "{lines:#?}");
    assert!(
        told(&["carphone_pristine-0", "feed-stopped", "reason=end-of-stream", "frames=120"]),
        "{lines:#?}"
    );
    assert!(told(&["file-1", "feed-stopped", "reason=fatal"]), "{lines:#?}");
    let given_up = health_watch::watch(&feeds[..1], |_| ()).expect("the example runs");
    assert!(given_up.is_empty(), "{given_up:?}");
}

/// On how many frames lines such as `frame 12: person 0.87 ...` name a person.
fn frames_with_a_person(said: &str) -> usize {
    let frames: BTreeSet<_> = said.lines().filter_map(|line| line.split_once(": person ")).collect();
    frames.into_iter().map(|(frame, _)| frame).collect::<BTreeSet<_>>().len()
}

#[test]
fn the_c_example_finds_and_follows_the_person_on_the_phone() {
    let readme = fs::read_to_string(repository("README.md")).expect("there is a README");
    let build =
        readme.lines().find(|line| line.trim().starts_with("cc ")).expect("README says how to build it");
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("detect");
    assert!(build.contains("target/detect-c"), "{build}");
    let build = build.replace("target/detect-c", &program.display().to_string());
    run(Command::new("sh").args(["-c", &build]).current_dir(repository("")));
    let mut example = Command::new(program);
    let said = run(example.arg(detector()).arg(clip("carphone_pristine.mp4")));
    assert!(frames_with_a_person(&said) > CARPHONE / 2, "{said}");
    let followed =
        said.lines().filter(|line| line.contains(": person ") && line.contains(" confirmed at ")).count();
    assert!(followed > CARPHONE / 2, "{said}");
}

#[test]
fn the_rust_example_finds_the_person_on_the_phone() {
    static PERSONS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    init();
    let clips = [clip("carphone_pristine.mp4")];
    detect::detect(&repository("models/nanodet-g-320.onnx"), &clips, |line| {
        if let Some((frame, _)) = line.split_once(": person ") {
            PERSONS.lock().expect("nobody panics with it").insert(frame.to_owned());
        }
    })
    .expect("the example runs");
    let frames = PERSONS.lock().expect("nobody panics with it").len();
    assert!(frames > CARPHONE / 2, "a person on {frames} frames only");
}

/// A Python that has GStreamer's bindings. Debian's package serves Debian's own Python only.
fn python_with_gstreamer() -> Option<&'static str> {
    let imports = |python: &&str| {
        let mut command = Command::new(python);
        command.args(["-c", "import gi; gi.require_version('GstVideo', '1.0')"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(imports)
}

#[test]
fn the_python_example_finds_the_person_on_the_phone() {
    let example = repository("examples/python/detect.py");
    let Some(python) = python_with_gstreamer() else {
        eprintln!("no Python here has PyGObject: the example is compiled, and not run");
        run(Command::new("python3")
            .args(["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"])
            .arg(example));
        return;
    };
    let said = run(Command::new(python).arg(example).arg(clip("carphone_pristine.mp4")));
    assert!(frames_with_a_person(&said) > CARPHONE / 2, "{said}");
    assert!(said.contains(" #1 at "), "{said}");
}

#[test]
fn the_code_in_the_readme_is_part_of_the_examples() {
    let readme = fs::read_to_string(repository("README.md")).expect("there is a README");
    let shown = [
        ("rust", "examples/detect.rs"),
        ("python", "examples/python/detect.py"),
        ("c", "examples/c/detect.c"),
    ];
    for (language, example) in shown {
        let source = fs::read_to_string(repository(example)).expect("an example");
        let bare = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let source = bare(&source);
        let blocks: Vec<_> = readme.split(&format!("```{language}\n")).skip(1).collect();
        assert!(!blocks.is_empty(), "the README shows no {language}");
        for block in blocks {
            let block = bare(block.split("```").next().unwrap_or_default());
            assert!(source.contains(block.trim()), "not in {example}:\n{block}");
        }
    }
}
