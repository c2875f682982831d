//! What must be seen from outside, in processes of their own: the plugin as a file, with ONNX Runtime absent, and
//! `gst-launch-1.0` interrupted.

use crate::support::{gst_launch, plugin_file, records, tiny_model};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ELEMENTS: [&str; 4] = ["nvbatcher", "nvinference", "nvunbatcher", "nvsink"];

/// As it shows in every name of its library and folder.
const ONNX_RUNTIME: &str = "onnxruntime";

/// A place with the plugin and nothing else: no other plugin, no ONNX Runtime, no registry.
struct Bare {
    folder: tempfile::TempDir,
}

impl Bare {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("a folder");
        let file = plugin_file();
        std::fs::copy(&file, plugins.join(file.file_name().expect("a name"))).expect("a copy of the plugin");
        Self { folder }
    }

    fn gst_inspect(&self, subject: &str) -> Output {
        let output = Command::new("gst-inspect-1.0")
            .arg(subject)
            .env("GST_PLUGIN_PATH", self.folder.path().join("plugins"))
            .env("GST_PLUGIN_SYSTEM_PATH", "")
            .env("GST_REGISTRY", self.folder.path().join("registry.bin"))
            // The plugin is read in this very process, so that its loader's log is complete.
            .env("GST_REGISTRY_FORK", "no")
            .env("LD_DEBUG", "libs")
            .env_remove("ORT_DYLIB_PATH")
            .env_remove("LD_LIBRARY_PATH")
            .output();
        output.expect("gst-inspect-1.0 runs")
    }
}

fn told(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

#[test]
fn inspection_works_without_onnxruntime_and_does_not_look_for_it() {
    let bare = Bare::new();
    // The plugin first: that is when it is read to fill the registry.
    for subject in ["nextvision"].into_iter().chain(ELEMENTS) {
        let output = bare.gst_inspect(subject);
        let (text, loader) = told(&output);
        assert!(output.status.success(), "{subject}: {text}{loader}");
        assert!(loader.contains("libgstnextvision.so"), "{subject} was not loaded: {loader}");
        assert!(!loader.contains(ONNX_RUNTIME), "{subject}: {loader}");
        let mut names = if subject == "nextvision" { ELEMENTS.iter() } else { [].iter() };
        assert!(names.all(|element| text.contains(element)), "{text}");
    }
}

/// The test above looks for the right word: it is in the loader's log as soon as a model runs.
#[test]
fn the_loader_names_onnxruntime_once_a_model_runs() {
    let description =
        format!("videotestsrc num-buffers=1 ! nvinference model={} ! fakesink", tiny_model("brightest"));
    let output = gst_launch(&description).env("LD_DEBUG", "libs").output().expect("gst-launch-1.0 runs");
    let (text, loader) = told(&output);
    assert!(output.status.success(), "{text}");
    assert!(loader.contains(ONNX_RUNTIME));
}

#[test]
fn the_plugin_is_not_linked_with_onnxruntime() {
    let output = Command::new("ldd").arg(plugin_file()).output().expect("ldd runs");
    let (libraries, complaint) = told(&output);
    assert!(output.status.success() && libraries.contains("libgstreamer-1.0"), "{libraries}{complaint}");
    assert!(!libraries.contains(ONNX_RUNTIME), "{libraries}");
}

#[test]
fn the_plugin_as_a_file_runs_in_a_pipeline() {
    let output = gst_launch(&format!(
        "videotestsrc num-buffers=5 ! nvinference model={} ! nvsink overflow=block location=-",
        tiny_model("brightest")
    ))
    .output()
    .expect("gst-launch-1.0 runs");
    let (lines, complaint) = told(&output);
    assert!(output.status.success(), "{complaint}");
    let statuses: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a record in each line"))
        .map(|record| record["status"].clone())
        .collect();
    assert_eq!(statuses, ["inferred"; 5]);
}

fn assert_whole_and_in_order(file: &Path) {
    let text = std::fs::read_to_string(file).expect("the file of records");
    assert!(text.ends_with('\n'), "the last line is cut: {:?}", text.lines().last());
    let seqs: Vec<_> = records(file).iter().map(|record| record["seq"].as_u64().expect("a number")).collect();
    assert!(!seqs.is_empty() && seqs.is_sorted(), "{seqs:?}");
}

#[test]
fn an_interrupted_pipeline_ends_its_files_with_a_whole_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("records.jsonl");
    let mut child = gst_launch(&format!(
        "-e nvbatcher name=b ! nvinference model={} ! nvunbatcher name=u \
         videotestsrc is-live=true ! b.sink_0 u.src_0 ! nvsink location={} \
         videotestsrc is-live=true ! b.sink_1 u.src_1 ! nvsink location=-",
        tiny_model("brightest"),
        file.display()
    ))
    .stdout(Stdio::piped())
    .spawn()
    .expect("gst-launch-1.0 runs");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    for _ in 0..10 {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n'), "it ended too early");
    }
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(signal.expect("kill runs").success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("the rest");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(rest.is_empty() || rest.ends_with('\n'), "the last line is cut: {rest:?}");
    assert_whole_and_in_order(&file);
}
