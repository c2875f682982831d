//! `nvruntime`: a whole site as one element.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod attacks;
mod endings;
mod reloads;
mod requests;
mod showing;

use crate::support::{PATIENCE, eventually, init, tiny_model};
use gst::prelude::*;
use gstnextvision::elements::nvruntime::NvRuntime;
use gstnextvision::metrics::{Feed, FeedState, Phase, Snapshot};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What most sites begin with: one group of one quick model.
fn head() -> String {
    let model = tiny_model("brightest");
    format!(
        "[runtime]\nallow-custom-pipeline = true\n\n[[models]]\nname = \"m\"\npath = {model:?}\n\n\
         [[groups]]\nname = \"g\"\nmodels = [\"m\"]\nmax-latency = \"5ms\"\n\n"
    )
}

/// A table of a feed made of test frames. `source` is what `videotestsrc` is told.
fn feed(id: &str, source: &str, more: &str) -> String {
    let caps = "video/x-raw,format=RGB,width=64,height=64,framerate=50/1";
    format!(
        "[[feeds]]\nid = {id:?}\ncustom-pipeline = \"videotestsrc {source} ! {caps} ! identity\"\n{more}\n"
    )
}

/// A feed that ends after so many frames.
fn short(id: &str, frames: u32) -> String {
    feed(id, &format!("num-buffers={frames}"), "")
}

/// A feed that never ends.
fn endless(id: &str) -> String {
    feed(id, "is-live=true", "")
}

/// Records of each feed, all of them.
const RECORDS: &str =
    "[[outputs]]\nname = \"records\"\ntype = \"file\"\npath = \"{feed}.jsonl\"\noverflow = \"block\"\n";

/// A site in a folder of its own, and the pipeline that plays it.
struct Site {
    folder: tempfile::TempDir,
    pipeline: gst::Pipeline,
    runtime: NvRuntime,
}

impl Site {
    fn new(text: &str) -> Self {
        init();
        let folder = tempfile::tempdir().unwrap();
        let runtime = gst::ElementFactory::make("nvruntime").name("site").build().unwrap();
        let pipeline = gst::Pipeline::new();
        pipeline.add(&runtime).unwrap();
        let runtime = runtime.downcast::<NvRuntime>().unwrap();
        let site = Self { folder, pipeline, runtime };
        runtime_config(&site);
        site.write(text);
        site
    }

    /// One that plays.
    fn playing(text: &str) -> Self {
        let site = Self::new(text);
        site.play();
        site
    }

    fn play(&self) {
        if self.pipeline.set_state(gst::State::Playing).is_err() {
            panic!("the site does not play: {:?}", self.error());
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path("site.toml"), text).unwrap();
    }

    fn snapshot(&self) -> Snapshot {
        let snapshot = self.runtime.snapshot();
        for feed in &snapshot.feeds {
            assert!(feed.ledger.is_balanced(), "{feed:?}");
        }
        assert!(snapshot.removed.is_balanced(), "{:?}", snapshot.removed);
        snapshot
    }

    fn feed(&self, id: u32) -> Option<Feed> {
        self.snapshot().feeds.into_iter().find(|feed| feed.id == id)
    }

    fn ids(&self) -> Vec<u32> {
        self.snapshot().feeds.iter().map(|feed| feed.id).collect()
    }

    /// Waits until the feed is in that state.
    fn wait_for(&self, id: u32, state: FeedState) {
        eventually(
            "the state of the feed",
            || self.feed(id).map(|feed| feed.state),
            |seen| *seen == Some(state),
        );
    }

    /// Waits until the feed has delivered so many frames more.
    fn wait_for_frames(&self, id: u32, frames: u64) {
        let delivered = || self.feed(id).map_or(0, |feed| feed.ledger.delivered);
        let before = delivered();
        eventually("the feed delivers", delivered, |seen| *seen >= before + frames);
    }

    fn act(&self, action: &str) -> bool {
        self.runtime.emit_by_name(action, &[])
    }

    fn act_on(&self, action: &str, id: u32) -> bool {
        self.runtime.emit_by_name(action, &[&id])
    }

    /// Why the last action was refused, up to the colon.
    fn refusal(&self) -> String {
        let text: Option<String> = self.runtime.property("last-error");
        let text = text.unwrap_or_default();
        text.split(':').next().unwrap_or_default().to_owned()
    }

    fn add(&self, fields: &[(&str, &str)]) -> Result<u32, gstnextvision::elements::nvruntime::Refusal> {
        let mut structure = gst::Structure::new_empty("feed");
        for (name, value) in fields {
            structure.set(*name, *value);
        }
        self.runtime.add_feed(&structure)
    }

    /// The next error on the bus.
    fn error(&self) -> String {
        let message = self.message(&[gst::MessageType::Error]);
        let gst::MessageView::Error(error) = message.view() else { unreachable!("filtered") };
        error.error().to_string()
    }

    fn message(&self, kinds: &[gst::MessageType]) -> gst::Message {
        let bus = self.pipeline.bus().unwrap();
        bus.timed_pop_filtered(PATIENCE, kinds).unwrap_or_else(|| panic!("none of {kinds:?} in {PATIENCE}"))
    }

    /// Waits for the end; `None` is EOS, else the error.
    fn end(&self) -> Option<String> {
        let message = self.message(&[gst::MessageType::Eos, gst::MessageType::Error]);
        match message.view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            _ => None,
        }
    }

    /// The numbers of the records in a file, which must be complete lines.
    fn seqs(&self, name: &str) -> Vec<u64> {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{name} ends in a torn line");
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
            .collect()
    }

    /// The last record in a file that is being written, if there is any.
    fn last_record(&self, name: &str) -> Option<Value> {
        let text = std::fs::read_to_string(self.path(name)).ok()?;
        let (whole, _) = text.rsplit_once('\n')?;
        Some(serde_json::from_str(whole.lines().last()?).unwrap())
    }
}

fn runtime_config(site: &Site) {
    site.runtime.set_property("config", site.path("site.toml").display().to_string());
}

impl Drop for Site {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn every_frame_of_every_feed_has_its_record_and_then_comes_eos() {
    let mut text = head() + RECORDS;
    for number in 0..5 {
        write!(text, "{}", short(&format!("f{number}"), 20 + number)).unwrap();
    }
    let site = Site::playing(&text);
    assert_eq!(site.end(), None);
    for number in 0..5 {
        let expected: Vec<u64> = (0..20 + number).collect();
        assert_eq!(site.seqs(&format!("f{number}.jsonl")), expected);
    }
    let snapshot = site.snapshot();
    assert!(snapshot.feeds.iter().all(|feed| feed.state == FeedState::Ended && !feed.alive), "{snapshot:?}");
    assert_eq!(snapshot.engines.len(), 1);
    let [engine] = snapshot.engines.as_slice() else { unreachable!("counted") };
    assert_eq!((engine.model.as_str(), engine.batches.frames), ("m", 20 + 21 + 22 + 23 + 24));
    assert_eq!(snapshot.outputs.first().map(|output| output.written), Some(110));
}

#[test]
fn a_site_without_feeds_plays_and_waits_for_some() {
    let site = Site::playing(&head());
    assert_eq!(site.snapshot().phase, Phase::Running);
    let id = site.add(&[("custom-pipeline", "videotestsrc num-buffers=5")]).unwrap();
    assert_eq!(site.end(), None);
    assert_eq!(site.feed(id).unwrap().ledger.delivered, 5);
}

#[test]
fn a_camera_that_is_away_keeps_nobody_from_playing() {
    let away =
        "[[feeds]]\nid = \"away\"\nuri = \"rtsp://127.0.0.1:1/nobody\"\ntls-policy = \"allow-insecure\"\n";
    let site = Site::playing(&(head() + away + &endless("here")));
    site.wait_for_frames(1, 10);
    site.wait_for(0, FeedState::BackingOff);
    assert_eq!(site.feed(0).unwrap().reason, "unreachable");
}

#[test]
fn one_file_may_have_the_records_of_all() {
    let output = "[[outputs]]\nname = \"all\"\ntype = \"file\"\npath = \"all.jsonl\"\noverflow = \"block\"\n";
    let site = Site::playing(&(head() + output + &short("a", 30) + &short("b", 30)));
    assert_eq!(site.end(), None);
    let text = std::fs::read_to_string(site.path("all.jsonl")).unwrap();
    for id in ["a", "b"] {
        let of_feed = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let seqs: Vec<u64> = of_feed
            .filter(|record| record["feed-id"] == id)
            .map(|record| record["seq"].as_u64().unwrap())
            .collect();
        assert_eq!(seqs, (0..30).collect::<Vec<_>>(), "{id}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_said_and_holds_nothing_up() {
    let full = "[[outputs]]\nname = \"full\"\ntype = \"file\"\npath = \"/dev/full\"\n";
    let site = Site::playing(&(head() + full + RECORDS + &short("a", 30)));
    assert_eq!(site.end(), None);
    assert_eq!(site.seqs("a.jsonl"), (0..30).collect::<Vec<_>>());
    let outputs = site.snapshot().outputs;
    let full = outputs.iter().find(|output| output.name == "full").unwrap();
    assert_eq!((full.written, full.lost, full.lagging), (0, 30, true));
    assert!(full.last_error.contains("No space left"), "{}", full.last_error);
}

#[test]
fn the_choices_of_a_site_file_are_those_of_the_elements() {
    use gstnextvision::config as c;
    init();
    let check = |element: &str, property: &str, nicks: Vec<&str>| {
        let element = gst::ElementFactory::make(element).build().unwrap();
        let kind = element.find_property(property).unwrap().value_type();
        let class = glib::EnumClass::with_type(kind).unwrap();
        let found: Vec<_> = class.values().iter().map(|value| value.nick()).collect();
        assert_eq!(nicks, found, "{property}");
    };
    check("nvinference", "operate-on", c::OperateOn::ALL.iter().map(|c| c.as_str()).collect());
    check("nvinference", "decoder", c::Decoder::ALL.iter().map(|c| c.as_str()).collect());
    check("nvinference", "provider", c::Provider::ALL.iter().map(|c| c.as_str()).collect());
    check("nvinference", "precision", c::Precision::ALL.iter().map(|c| c.as_str()).collect());
    check("nvinference", "on-error", c::OnError::ALL.iter().map(|c| c.as_str()).collect());
    check("nvtrack", "algorithm", c::Algorithm::ALL.iter().map(|c| c.as_str()).collect());
    check("nvfeed", "on-end", c::OnEnd::ALL.iter().map(|c| c.as_str()).collect());
    check("nvfeed", "tls-policy", c::TlsPolicy::ALL.iter().map(|c| c.as_str()).collect());
    check("nvfeed", "transport", c::Transport::ALL.iter().map(|c| c.as_str()).collect());
    check("nvfeed", "decode-preference", c::DecodePreference::ALL.iter().map(|c| c.as_str()).collect());
    check("nvsink", "overflow", c::Overflow::ALL.iter().map(|c| c.as_str()).collect());
    check("nvsink", "embeddings", c::Embeddings::ALL.iter().map(|c| c.as_str()).collect());
    check("nvruntime", "on-feed-exit", c::OnFeedExit::ALL.iter().map(|c| c.as_str()).collect());
}

#[test]
fn every_site_file_of_the_repository_is_right() {
    for file in ["pipelines/site.toml", "packaging/site.toml", "docs/site.example.toml"] {
        let path = crate::support::repository(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let site = gstnextvision::config::Site::parse(&text, path.parent().unwrap());
        assert!(!site.unwrap_or_else(|problems| panic!("{file}: {problems:?}")).feeds.is_empty(), "{file}");
    }
}
