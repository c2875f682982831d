//! What the end of a feed means to the others, and the end of all.

use super::{RECORDS, Site, endless, head, short};
use crate::support::{eventually, init};
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;
use gstnextvision::metrics::{FeedState, Phase};

/// An element that panics at its fourth frame.
mod panics {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    pub struct Panics(AtomicU32);

    #[glib::object_subclass]
    impl ObjectSubclass for Panics {
        const NAME: &'static str = "NvTestPanics";
        type Type = PanicsElement;
        type ParentType = gst_base::BaseTransform;
    }

    impl ObjectImpl for Panics {}
    impl GstObjectImpl for Panics {}
    impl ElementImpl for Panics {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: std::sync::LazyLock<gst::subclass::ElementMetadata> =
                std::sync::LazyLock::new(|| {
                    gst::subclass::ElementMetadata::new(
                        "Panics",
                        "Filter",
                        "Panics at its fourth frame",
                        "a test",
                    )
                });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: std::sync::LazyLock<Vec<gst::PadTemplate>> = std::sync::LazyLock::new(|| {
                let template = |name, direction| {
                    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &gst::Caps::new_any())
                        .unwrap()
                };
                vec![template("sink", gst::PadDirection::Sink), template("src", gst::PadDirection::Src)]
            });
            &TEMPLATES
        }
    }

    impl BaseTransformImpl for Panics {
        const MODE: gst_base::subclass::BaseTransformMode =
            gst_base::subclass::BaseTransformMode::AlwaysInPlace;
        const PASSTHROUGH_ON_SAME_CAPS: bool = false;
        const TRANSFORM_IP_ON_PASSTHROUGH: bool = true;

        fn transform_ip(&self, _: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
            assert!(self.0.fetch_add(1, Ordering::Relaxed) < 3, "as the test wants it");
            Ok(gst::FlowSuccess::Ok)
        }
    }
}

glib::wrapper! {
    pub struct PanicsElement(ObjectSubclass<panics::Panics>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// A feed that is over at its fourth frame, one way or another.
fn exit(how: &str) -> String {
    let source = match how {
        "eos" => "videotestsrc num-buffers=3",
        "error" => "videotestsrc ! identity error-after=4",
        "panic" => {
            init();
            gst::Element::register(None, "nvtestpanics", gst::Rank::NONE, PanicsElement::static_type())
                .unwrap();
            "videotestsrc ! nvtestpanics"
        }
        _ => unreachable!("one of three"),
    };
    let gives_up = "reconnect-max-attempts = 1\nreconnect-base-delay = \"100ms\"\n";
    format!("[[feeds]]\nid = \"exits\"\ncustom-pipeline = \"{source}\"\n{gives_up}")
}

fn teardown(how: &str) -> Site {
    let text =
        head().replace("[runtime]\n", "[runtime]\non-feed-exit = \"teardown\"\ndrain-timeout = \"20s\"\n");
    Site::playing(&(text + RECORDS + &endless("goes-on") + &exit(how)))
}

#[test]
fn under_teardown_the_end_of_one_is_the_end_of_all_and_no_error() {
    let site = teardown("eos");
    assert_eq!(site.end(), None);
    let snapshot = site.snapshot();
    assert_eq!(snapshot.phase, Phase::Stopped);
    assert!(snapshot.feeds.iter().all(|feed| feed.state == FeedState::Ended), "{snapshot:?}");
    let delivered = site.feed(0).unwrap().ledger.delivered;
    assert_eq!(site.seqs("goes-on.jsonl").len() as u64, delivered, "what was on its way has its records");
}

#[test]
fn under_teardown_the_failure_of_one_is_the_end_of_all_and_the_error_says_why() {
    let site = teardown("error");
    let error = site.end().expect("an error");
    assert!(error.contains("\"exits\" failed"), "{error}");
    assert_eq!(site.feed(1).unwrap().state, FeedState::Failed);
}

#[test]
fn under_teardown_a_panic_in_one_is_the_end_of_all_and_an_error() {
    let site = teardown("panic");
    let error = site.end().expect("an error");
    assert!(error.contains("\"exits\" failed"), "{error}");
}

#[test]
fn isolated_neither_the_end_nor_a_failure_nor_a_panic_of_one_is_noticed_by_another() {
    for (how, state) in
        [("eos", FeedState::Ended), ("error", FeedState::Failed), ("panic", FeedState::Failed)]
    {
        let site = Site::playing(&(head() + RECORDS + &endless("goes-on") + &exit(how)));
        site.wait_for(1, state);
        site.wait_for_frames(0, 10);
        assert_eq!(site.snapshot().phase, Phase::Running, "{how}");
        let bus = site.pipeline.bus().unwrap();
        assert!(bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]).is_none(), "{how}");
    }
}

#[test]
fn a_site_whose_feeds_have_all_failed_is_an_error() {
    let site = Site::playing(&(head() + &exit("error")));
    assert!(site.end().expect("an error").contains("every feed has failed"));
}

#[test]
fn a_shutdown_delivers_what_is_on_its_way_and_nothing_begins_after_it() {
    let site = Site::playing(&(head() + RECORDS + &endless("a") + &endless("b")));
    site.wait_for_frames(0, 5);
    site.wait_for_frames(1, 5);
    assert!(site.act("shutdown"), "{}", site.refusal());
    assert_eq!(site.end(), None);
    for (id, name) in [(0, "a.jsonl"), (1, "b.jsonl")] {
        let ledger = site.feed(id).unwrap().ledger;
        assert_eq!((ledger.in_flight, site.seqs(name).len() as u64), (0, ledger.delivered));
    }
    assert!(site.act("shutdown"), "a second one has nothing to do");
    assert!(!site.act("reload"));
    assert_eq!(site.refusal(), "shutting-down");
    assert!(site.add(&[("custom-pipeline", "videotestsrc")]).is_err());
}

#[test]
fn a_shutdown_ends_feeds_that_are_paused_away_or_have_given_nothing_yet() {
    let away =
        "[[feeds]]\nid = \"away\"\nuri = \"rtsp://127.0.0.1:1/nobody\"\ntls-policy = \"allow-insecure\"\n";
    let site = Site::playing(&(head() + away + &endless("paused")));
    site.wait_for_frames(1, 3);
    assert!(site.act_on("pause-feed", 1));
    site.add(&[("custom-pipeline", "videotestsrc is-live=true ! valve drop=true")]).unwrap();
    assert!(site.act("shutdown"), "{}", site.refusal());
    assert_eq!(site.end(), None);
}

#[test]
fn an_eos_event_winds_the_site_down() {
    let site = Site::playing(&(head() + RECORDS + &endless("a")));
    site.wait_for_frames(0, 5);
    assert!(site.pipeline.send_event(gst::event::Eos::new()));
    assert_eq!(site.end(), None);
    let delivered = site.feed(0).unwrap().ledger.delivered;
    assert_eq!(site.seqs("a.jsonl").len() as u64, delivered);
}

#[test]
fn a_consumer_that_never_returns_costs_the_drain_timeout_and_no_more() {
    let text = head().replace("[runtime]\n", "[runtime]\ndrain-timeout = \"300ms\"\n");
    let output = "[[outputs]]\nname = \"app\"\ntype = \"appsink\"\noverflow = \"block\"\n";
    let site = Site::new(&(text + output + &endless("a")));
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    site.runtime.connect("new-output", false, move |_| {
        held.lock().unwrap().recv().ok();
        None
    });
    site.play();
    eventually(
        "the output is full",
        || site.feed(0).unwrap().queues.iter().map(|queue| queue.level).max(),
        |level| *level >= Some(16),
    );
    assert!(!site.act("shutdown"));
    assert_eq!(site.refusal(), "timed-out");
    assert_eq!(site.end(), None);
    site.pipeline.set_state(gst::State::Null).unwrap();
    drop(release);
}

#[test]
fn a_site_that_is_dropped_as_it_is_ends() {
    let site = Site::new(&(head() + &endless("a")));
    site.pipeline.remove(&site.runtime).unwrap();
    let lone = gst::ElementFactory::make("nvruntime")
        .property("config", site.path("site.toml").display().to_string());
    let lone = lone.build().unwrap();
    let weak = lone.downgrade();
    lone.set_state(gst::State::Playing).unwrap();
    drop(lone);
    eventually("the element is gone", || weak.upgrade().is_some(), |is_there| !is_there);
    site.pipeline.add(&site.runtime).unwrap();
}

#[test]
fn a_site_plays_again_after_it_was_stopped() {
    let site = Site::new(&(head() + RECORDS + &short("a", 10)));
    for round in 1..4_usize {
        site.play();
        assert_eq!(site.end(), None);
        assert_eq!(site.seqs("a.jsonl").len(), 10 * round, "files are gone on with");
        site.pipeline.set_state(gst::State::Null).unwrap();
    }
}
