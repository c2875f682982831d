//! The relation meta of newer GStreamer: the plugin that was built with the system's attaches it where there is one, and
//! upstream's elements read it.
//!
//! What needs a newer GStreamer runs in a tree that `scripts/upstream-tree make` has unpacked, and says that it is
//! skipped where there is none.

mod meta;

use crate::support::{launch, plugin_file, records, repository, run_to_eos, tiny_model, wait_for_error};
use gst::prelude::*;
use gst_video::VideoRegionOfInterestMeta;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The tree, or a word that there is none.
fn tree() -> Option<PathBuf> {
    let named = std::env::var_os("NV_GST_TREE").map(PathBuf::from);
    let tree = named.unwrap_or_else(|| repository(".cache/upstream"));
    let is_there = tree.join("usr/bin/gst-launch-1.0").is_file();
    if !is_there {
        println!("skipped: no newer GStreamer in {}; scripts/upstream-tree make gets one", tree.display());
    }
    is_there.then_some(tree)
}

/// A program with the libraries of the tree, and the plugin.
fn in_tree(tree: &Path, program: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(repository("scripts/upstream-tree"));
    command.arg("run").arg(tree).arg(program);
    command.env("NV_TREE_REGISTRY", scratch.join("registry.bin"));
    command.env("GST_PLUGIN_PATH", plugin_file().parent().expect("a folder"));
    command
}

fn assert_success(output: &Output) -> String {
    let (text, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}\n{complaint}", output.status);
    text.into_owned()
}

/// Pixels in a row of the frame.
const WIDTH: usize = 320;

/// What upstream's overlay makes of a frame in which an object was found, and the record of that frame.
struct Drawn {
    pixels: Vec<u8>,
    record: serde_json::Value,
}

impl Drawn {
    fn new(tree: &Path, meta: &str, filters: &str) -> Self {
        let scratch = tempfile::tempdir().expect("a folder");
        let (video, lines) = (scratch.path().join("frame.rgb"), scratch.path().join("records.jsonl"));
        // One cell of the model is white, the rest of the frame black.
        let description = format!(
            "videotestsrc num-buffers=1 pattern=white ! video/x-raw,format=RGB,width=40,height=40 \
             ! videobox left=-120 right=-160 top=-80 bottom=-120 ! nvinference model={} meta={meta} ! tee name=t \
             t. ! queue ! {filters} ! videoconvert ! video/x-raw,format=RGB ! filesink location={} \
             t. ! queue ! nvsink overflow=block location={}",
            tiny_model("brightest"),
            video.display(),
            lines.display()
        );
        let mut command = in_tree(tree, Path::new("gst-launch-1.0"), scratch.path());
        command.arg("-q").args(description.split_whitespace());
        assert_success(&command.output().expect("gst-launch-1.0 runs"));
        let record = records(&lines).pop().expect("a record");
        Self { pixels: std::fs::read(video).expect("the frame"), record }
    }

    fn objects(&self) -> usize {
        self.record["detections"].as_array().expect("a list").len()
    }

    /// x and y of the pixels that are not those of `other`.
    fn changed(&self, other: &Self) -> Vec<(usize, usize)> {
        assert_eq!(self.pixels.len(), other.pixels.len());
        let pairs = self.pixels.chunks_exact(3).zip(other.pixels.chunks_exact(3)).enumerate();
        pairs.filter(|(_, (ours, theirs))| ours != theirs).map(|(at, _)| (at % WIDTH, at / WIDTH)).collect()
    }
}

#[test]
fn the_overlay_of_upstream_draws_what_was_found() {
    let Some(tree) = tree() else { return };
    let plain = Drawn::new(&tree, "auto", "identity");
    assert_eq!(plain.objects(), 1, "it is attached twice and counted once: {}", plain.record);
    for meta in ["auto", "both"] {
        let drawn = Drawn::new(&tree, meta, "objectdetectionoverlay draw-labels=false");
        assert_eq!(drawn.objects(), 1);
        let changed = drawn.changed(&plain);
        assert!(changed.len() > 20, "{meta}: {} pixels", changed.len());
        let found = &plain.record["detections"][0]["box"];
        let side = |name: &str| found[name].as_f64().unwrap_or_else(|| panic!("{name}: {}", plain.record));
        let (left, top) = (side("x"), side("y"));
        assert!((left - 120.0).abs() < 1.0 && (top - 80.0).abs() < 1.0, "{found}");
        let (right, bottom) = (left + side("width"), top + side("height"));
        for (x, y) in changed {
            let (x, y) = (x as f64, y as f64);
            let inside = x > left - 4.0 && x < right + 4.0 && y > top - 4.0 && y < bottom + 4.0;
            let deep = x > left + 4.0 && x < right - 4.0 && y > top + 4.0 && y < bottom - 4.0;
            assert!(inside && !deep, "{meta}: ({x}, {y}) is not on the outline of {found}");
        }
    }
}

#[test]
fn the_overlay_of_upstream_has_nothing_to_draw_from_regions_alone() {
    let Some(tree) = tree() else { return };
    let plain = Drawn::new(&tree, "roi", "identity");
    let drawn = Drawn::new(&tree, "roi", "objectdetectionoverlay");
    assert_eq!(drawn.objects(), 1);
    assert_eq!(drawn.changed(&plain), []);
}

#[test]
fn relations_alone_are_for_upstream_alone() {
    let Some(tree) = tree() else { return };
    let plain = Drawn::new(&tree, "relation", "identity");
    let drawn = Drawn::new(&tree, "relation", "objectdetectionoverlay");
    assert_eq!((plain.objects(), drawn.objects()), (0, 0));
    assert!(!drawn.changed(&plain).is_empty());
}

#[test]
fn the_tracker_of_upstream_follows_what_was_found() {
    let Some(tree) = tree() else { return };
    let overlay = "objectdetectionoverlay draw-labels=false tracking-outline-colors=true";
    let without = Drawn::new(&tree, "auto", overlay);
    let with = Drawn::new(&tree, "auto", &format!("ioutracker ! {overlay}"));
    assert!(!with.changed(&without).is_empty(), "a track has a colour of its own");
}

/// This very program, with newer libraries.
#[test]
fn the_relation_meta_is_written_and_read_by_the_library_of_the_tree() {
    let Some(tree) = tree() else { return };
    let scratch = tempfile::tempdir().expect("a folder");
    let own = std::env::current_exe().expect("a program");
    let mut command = in_tree(&tree, &own, scratch.path());
    // It has the elements itself, and a plugin must not bring them once more.
    command.env_remove("GST_PLUGIN_PATH");
    command.args(["--test-threads=1", "upstream::meta::", "upstream::there_is_a_relation_meta"]);
    let text = assert_success(&command.env("NV_HAS_RELATIONS", "1").output().expect("it runs"));
    assert!(text.contains("test result: ok. 6 passed"), "{text}");
}

/// The tests of [`meta`] look at nothing where this is not so.
#[test]
fn there_is_a_relation_meta_where_the_tree_says_so() {
    let expected = std::env::var_os("NV_HAS_RELATIONS").is_some() || gst::version() >= (1, 24, 0, 0);
    if expected {
        gstnextvision::meta::relation::available().expect("the library is there");
    }
}

#[test]
fn a_gstreamer_without_the_relation_meta_has_the_regions() {
    let pipeline = launch(&format!(
        "videotestsrc num-buffers=1 ! nvinference model={} ! appsink name=sink sync=false",
        tiny_model("brightest")
    ));
    let sink = pipeline.by_name("sink").and_downcast::<gst_app::AppSink>().expect("a sink");
    run_to_eos_with(&pipeline, || {
        let sample = sink.pull_sample().expect("a frame");
        let buffer = sample.buffer().expect("a frame");
        assert_eq!(buffer.iter_meta::<VideoRegionOfInterestMeta>().count(), 1);
        let is_relation =
            |meta: gst::MetaRef<'_, gst::Meta>| meta.api().name() == "GstAnalyticsRelationMetaAPI";
        let has_relations = buffer.iter_meta::<gst::Meta>().any(is_relation);
        assert_eq!(has_relations, gstnextvision::meta::relation::available().is_ok());
    });
}

/// Plays, looks and stops.
fn run_to_eos_with(pipeline: &gst::Pipeline, look: impl FnOnce()) {
    pipeline.set_state(gst::State::Playing).expect("the pipeline plays");
    look();
    run_to_eos(pipeline);
}

#[test]
fn relations_that_cannot_be_attached_are_an_error_that_says_what_to_install() {
    if gstnextvision::meta::relation::available().is_ok() {
        println!("skipped: this GStreamer has them");
        return;
    }
    for meta in ["relation", "both"] {
        let pipeline = launch(&format!(
            "videotestsrc ! nvinference name=n meta={meta} model={} ! fakesink",
            tiny_model("brightest")
        ));
        assert!(pipeline.set_state(gst::State::Ready).is_err(), "{meta}");
        let (source, text) = wait_for_error(&pipeline);
        assert_eq!(source, "n");
        for part in ["property meta", "GStreamer 1.24", "libgstanalytics-1.0.so.0", "found GStreamer"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        pipeline.set_state(gst::State::Null).expect("it stops");
    }
}
