//! The configuration: what is refused, and what reading it again changes.

use super::{RECORDS, Site, endless, head};
use crate::support::eventually;
use gst::prelude::*;
use gstnextvision::config::wrong::wrong_sites;
use gstnextvision::metrics::FeedState;

#[test]
fn a_file_that_is_wrong_starts_nothing_and_says_file_line_and_key() {
    for wrong in wrong_sites() {
        let site = Site::new(&wrong.text);
        assert!(site.pipeline.set_state(gst::State::Playing).is_err(), "{}", wrong.name);
        let error = site.error();
        assert!(error.contains("site.toml: line "), "{}: {error}", wrong.name);
        assert!(error.contains(wrong.key), "{}: {error}", wrong.name);
        assert_eq!(site.runtime.upcast_ref::<gst::Bin>().children().len(), 0);
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error_that_names_it() {
    let site = Site::new("");
    std::fs::remove_file(site.path("site.toml")).unwrap();
    assert!(site.pipeline.set_state(gst::State::Playing).is_err());
    assert!(site.error().contains("site.toml: No such file"));
    site.runtime.set_property("config", None::<String>);
    assert!(site.pipeline.set_state(gst::State::Playing).is_err());
    assert!(site.error().contains("property config: expected the path of a site file, found none"));
}

#[test]
fn a_reload_of_a_wrong_file_leaves_everything_as_it_was() {
    let site = Site::playing(&(head() + RECORDS + &endless("a")));
    site.wait_for_frames(0, 3);
    for wrong in wrong_sites() {
        site.write(&wrong.text);
        assert!(!site.act("reload"), "{}", wrong.name);
        assert_eq!(site.refusal(), "invalid-configuration", "{}", wrong.name);
        let snapshot = site.snapshot();
        assert!(snapshot.reload_error.contains(wrong.key), "{}: {}", wrong.name, snapshot.reload_error);
        assert_eq!((site.ids(), snapshot.reloads), (vec![0], 0), "{}", wrong.name);
    }
    site.wait_for_frames(0, 3);
    assert_eq!(site.feed(0).unwrap().session, 0);
}

#[test]
fn a_reload_of_a_model_that_cannot_be_loaded_leaves_everything_as_it_was() {
    let site = Site::playing(&(head() + &endless("a")));
    site.write(&(head().replace("brightest", "rank3") + &endless("a")));
    assert!(!site.act("reload"));
    assert_eq!(site.refusal(), "failed");
    assert!(site.snapshot().reload_error.contains("expected an image"), "{}", site.snapshot().reload_error);
    site.wait_for_frames(0, 5);
    assert_eq!(site.ids(), [0]);
    let bus = site.pipeline.bus().unwrap();
    assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_none());
}

#[test]
fn a_reload_touches_only_what_has_changed() {
    let site =
        Site::playing(&(head() + RECORDS + &endless("stays") + &endless("changes") + &endless("goes")));
    site.wait_for_frames(0, 3);
    let changed = endless("changes").replace("is-live=true", "is-live=true pattern=ball");
    site.write(&(head() + RECORDS + &endless("stays") + &changed + &endless("comes")));
    assert!(site.act("reload"), "{}", site.refusal());
    let names = || site.snapshot().feeds.iter().map(|feed| feed.feed_id.clone()).collect::<Vec<_>>();
    assert_eq!(names(), ["stays", "changes", "comes"]);
    let ids = site.ids();
    assert_eq!((ids[0], ids[1] > 2, ids[2] > 2), (0, true, true), "{ids:?}");
    for id in ids {
        site.wait_for_frames(id, 3);
    }
    assert_eq!(site.feed(0).unwrap().session, 0);
    eventually("those that go are gone", || site.snapshot().removed_feeds, |gone| *gone == 2);
    let seqs = site.seqs("stays.jsonl");
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>());
    assert_eq!(site.snapshot().reloads, 1);
    assert!(site.act("reload"), "of the same file");
    assert_eq!(names(), ["stays", "changes", "comes"]);
}

#[test]
fn limits_of_health_change_while_the_feed_plays() {
    let site = Site::playing(&(head() + &endless("a")));
    site.wait_for_frames(0, 3);
    site.write(&(head() + "[health]\nfps-min = 1000.0\n" + &endless("a")));
    assert!(site.act("reload"), "{}", site.refusal());
    let message = loop {
        let message = crate::support::wait_for_health(&site.pipeline);
        if message.event.name() == "fps-low" {
            break message;
        }
    };
    assert_eq!((message.feed_id.as_deref(), site.ids()), (Some("a"), vec![0]));
}

#[test]
fn a_changed_model_takes_its_feeds_with_it_and_no_others() {
    let second = "[[groups]]\nname = \"h\"\nmodels = [\"m\"]\n\n";
    let in_second = endless("b") + "group = \"h\"\n";
    let first = endless("a") + "group = \"g\"\n";
    let site = Site::playing(&(head() + second + &first + &in_second));
    site.wait_for_frames(0, 3);
    site.wait_for_frames(1, 3);
    let larger = second.replace("models", "max-batch-size = 8\nmodels");
    site.write(&(head() + &larger + &first + &in_second));
    assert!(site.act("reload"), "{}", site.refusal());
    let snapshot = site.snapshot();
    let groups: Vec<_> = snapshot.feeds.iter().map(|feed| (feed.id, feed.group.as_str())).collect();
    assert_eq!(groups, [(0, "g"), (2, "h")]);
    site.wait_for_frames(0, 3);
    site.wait_for_frames(2, 3);
    assert_eq!(site.feed(2).unwrap().state, FeedState::Running);
    // The elements of the group of before have gone with its last feed.
    let batchers = || {
        let bin = site.runtime.upcast_ref::<gst::Bin>();
        bin.children().iter().filter(|child| child.name().starts_with("batcher")).count()
    };
    eventually("the group of before is gone", batchers, |count| *count == 2);
}

#[test]
fn a_feed_that_is_not_enabled_starts_when_it_is() {
    let off = endless("b") + "enabled = false\n";
    let site = Site::playing(&(head() + &endless("a") + &off));
    assert_eq!(site.ids(), [0]);
    site.write(&(head() + &endless("a") + &endless("b")));
    assert!(site.act("reload"), "{}", site.refusal());
    site.wait_for_frames(1, 3);
    site.write(&(head() + &endless("a") + &off));
    assert!(site.act("reload"), "{}", site.refusal());
    assert_eq!(site.ids(), [0]);
}
