//! Feeds come, go, pause and come back while others play.

use super::{RECORDS, Site, endless, feed, head, short};
use crate::support::eventually;
use gst::prelude::*;
use gstnextvision::elements::nvruntime::Refusal;
use gstnextvision::metrics::FeedState;
use std::sync::mpsc::channel;

const MORE: &[(&str, &str)] =
    &[("custom-pipeline", "videotestsrc is-live=true ! video/x-raw,width=64,height=64 ! identity")];

#[test]
fn a_feed_that_comes_and_goes_changes_nothing_for_those_that_play() {
    let site = Site::playing(&(head() + RECORDS + &short("stays", 400)));
    for round in 1..6 {
        let id = site.add(MORE).unwrap();
        assert_eq!(id, round, "no number comes twice");
        site.wait_for_frames(id, 3);
        site.runtime.remove_feed(id).unwrap();
        assert_eq!(site.runtime.remove_feed(id), Err(Refusal::UnknownFeed { id }));
        assert_eq!(site.ids(), [0]);
        assert_eq!(site.snapshot().removed_feeds, u64::from(round));
        // What it had on its way has been delivered.
        let file = format!("feed-{id}.jsonl");
        let seqs = site.seqs(&file);
        assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "{file}");
    }
    assert_eq!(site.end(), None);
    assert_eq!(site.seqs("stays.jsonl"), (0..400).collect::<Vec<_>>());
}

#[test]
fn the_limit_counts_the_living_only() {
    let site = Site::playing(&(head() + &endless("a") + &short("b", 3)));
    site.runtime.set_property("max-feeds", 2_u32);
    site.wait_for(1, FeedState::Ended);
    let id = site.add(MORE).unwrap();
    assert_eq!(site.add(MORE), Err(Refusal::FeedLimitExceeded { max: 2 }));
    // The one that has ended has no place to come back to.
    assert!(!site.act_on("restart-feed", 1));
    assert_eq!(site.refusal(), "feed-limit-exceeded");
    site.runtime.remove_feed(id).unwrap();
    assert!(site.act_on("restart-feed", 1));
    site.wait_for(1, FeedState::Ended);
}

#[test]
fn a_name_is_one_living_feeds_only() {
    let site = Site::playing(&(head() + &endless("a") + &short("b", 3)));
    let named = |id| [("id", id), ("custom-pipeline", "videotestsrc is-live=true")];
    assert_eq!(site.add(&named("a")), Err(Refusal::DuplicateFeed { name: "a".to_owned() }));
    site.wait_for(1, FeedState::Ended);
    let id = site.add(&named("b")).unwrap();
    assert_eq!(id, 2);
    eventually("the one before is gone", || site.ids(), |ids| *ids == [0, 2]);
}

#[test]
fn what_is_wrong_with_a_feed_is_said_with_its_key() {
    let site = Site::playing(&(head() + &endless("a")));
    let wrong = |fields: &[(&str, &str)], key: &str| match site.add(fields) {
        Err(Refusal::InvalidConfiguration { text }) => assert!(text.contains(key), "{text}"),
        other => panic!("{other:?}"),
    };
    wrong(&[("urj", "file:///a.mp4")], "urj");
    wrong(&[("uri", "file:///a.mp4"), ("latency", "soon")], "latency");
    wrong(&[("uri", "rtsp://user:canary@host/")], "uri");
    wrong(&[("uri", "file:///a.mp4"), ("group", "h")], "group");
    wrong(&[], "uri");
    assert_eq!(site.ids(), [0]);
}

#[test]
fn a_paused_feed_gives_nothing_and_raises_no_alarm_until_it_is_resumed() {
    let text = head() + "[health]\nstall-timeout = \"200ms\"\n" + &endless("a") + &endless("b");
    let site = Site::playing(&text);
    site.wait_for_frames(0, 5);
    assert!(site.act_on("pause-feed", 0));
    site.wait_for(0, FeedState::Paused);
    assert!(!site.act_on("pause-feed", 0));
    assert_eq!(site.refusal(), "already-paused");
    let before = site.feed(0).unwrap().source.received;
    // Longer than the stall timeout, by the frames of the other.
    site.wait_for_frames(1, 30);
    let paused = site.feed(0).unwrap();
    assert!(paused.paused && paused.state == FeedState::Paused && paused.alive, "{paused:?}");
    assert!(paused.source.received <= before + 1, "{} frames of {before}", paused.source.received);
    assert!(site.act_on("resume-feed", 0));
    assert!(!site.act_on("resume-feed", 0));
    assert_eq!(site.refusal(), "not-paused");
    site.wait_for_frames(0, 5);
    let stalls = crate::support::health(&site.pipeline)
        .into_iter()
        .filter(|message| message.event.name() == "feed-stalled" && message.feed_id.as_deref() == Some("a"));
    assert_eq!(stalls.count(), 0);
}

#[test]
fn a_feed_that_has_ended_lives_again_under_its_number() {
    let site = Site::playing(&(head() + RECORDS + &short("a", 10) + &endless("b")));
    site.wait_for(0, FeedState::Ended);
    assert!(site.act_on("restart-feed", 0), "{}", site.refusal());
    // The records are gone on with.
    eventually("both runs have their records", || site.seqs("a.jsonl").len(), |count| *count == 20);
    assert_eq!(site.ids(), [0, 1]);
    assert!(!site.act_on("restart-feed", 7));
    assert_eq!(site.refusal(), "unknown-feed");
}

#[test]
fn a_living_feed_that_is_restarted_begins_another_session() {
    let site = Site::playing(&(head() + &endless("a")));
    site.wait_for_frames(0, 3);
    assert!(site.act_on("restart-feed", 0));
    eventually("another session", || site.feed(0).unwrap().session, |session| *session > 0);
    site.wait_for_frames(0, 3);
}

#[test]
fn who_comes_and_goes_is_told_and_records_are_handed_out() {
    let output = "[[outputs]]\nname = \"app\"\ntype = \"appsink\"\noverflow = \"block\"\n";
    let site = Site::new(&(head() + output));
    let (tell, told) = channel();
    for signal in ["feed-added", "feed-removed"] {
        let tell = tell.clone();
        site.runtime.connect(signal, false, move |args| {
            tell.send(format!("{signal} {}", args[1].get::<u32>().unwrap())).unwrap();
            None
        });
    }
    site.runtime.connect("new-output", false, move |args| {
        let (id, record) = (args[1].get::<u32>().unwrap(), args[3].get::<gst::Structure>().unwrap());
        assert!(args[2].get::<gst::Sample>().unwrap().buffer().is_some());
        tell.send(format!("record {} of {id}", record.get::<u64>("seq").unwrap())).unwrap();
        None
    });
    site.play();
    let id = site.add(&[("custom-pipeline", "videotestsrc num-buffers=3")]).unwrap();
    site.wait_for(id, FeedState::Ended);
    site.runtime.remove_feed(id).unwrap();
    let told: Vec<String> = told.try_iter().collect();
    assert_eq!(told, ["feed-added 0", "record 0 of 0", "record 1 of 0", "record 2 of 0", "feed-removed 0"]);
    assert_eq!(site.snapshot().outputs.first().map(|output| output.written), Some(3));
}

#[test]
fn a_handler_that_asks_the_thread_it_is_called_by_is_refused() {
    let site = Site::new(&head());
    let (tell, told) = channel();
    site.runtime.connect_closure(
        "feed-added",
        false,
        glib::closure!(move |runtime: gstnextvision::elements::nvruntime::NvRuntime, id: u32| {
            tell.send(runtime.remove_feed(id)).unwrap();
        }),
    );
    site.play();
    site.add(MORE).unwrap();
    assert_eq!(told.recv().unwrap(), Err(Refusal::ReEntered));
}

#[test]
fn nothing_is_asked_of_an_element_that_does_not_run() {
    let site = Site::new(&head());
    assert_eq!(site.add(MORE), Err(Refusal::NotRunning));
    assert!(!site.act("reload") && !site.act("ping"));
    assert_eq!(site.refusal(), "not-running");
    site.play();
    assert!(site.act("ping"));
}

#[test]
fn an_idle_feed_is_ended() {
    let text = head().replace("[runtime]\n", "[runtime]\nidle-timeout = \"300ms\"\n")
        + &feed("a", "is-live=true num-buffers=5", "on-end = \"stop\"")
        + &endless("b");
    let site = Site::playing(&text);
    site.wait_for(0, FeedState::Ended);
    site.wait_for_frames(1, 5);
}
