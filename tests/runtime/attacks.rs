//! What an application can do at the wrong moment.

use super::{RECORDS, Site, endless, head, short};
use crate::support::eventually;
use gst::prelude::*;
use gstnextvision::clock;
use gstnextvision::elements::nvruntime::Refusal;
use gstnextvision::metrics::{FeedState, Phase};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A feed whose elements there are not.
fn unmakeable(id: &str) -> String {
    format!("[[feeds]]\nid = {id:?}\ncustom-pipeline = \"nosuchelement ! identity\"\n\n")
}

/// A site whose consumer does not return until the sender is dropped.
fn wedged(drain: &str, feeds: &[&str]) -> (Site, Sender<()>) {
    let text = head().replace("[runtime]\n", &format!("[runtime]\ndrain-timeout = \"{drain}\"\n"));
    let output = "[[outputs]]\nname = \"app\"\ntype = \"appsink\"\noverflow = \"drop-newest\"\n";
    let feeds: String = feeds.iter().map(|id| endless(id)).collect();
    let site = Site::new(&(text + output + &feeds));
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    site.runtime.connect("new-output", false, move |_| {
        held.lock().unwrap().recv().ok();
        None
    });
    site.play();
    for id in site.ids() {
        eventually(
            "the output is full",
            || site.feed(id).unwrap().queues.iter().map(|queue| queue.level).max(),
            |level| *level >= Some(16),
        );
    }
    (site, release)
}

/// Asks in a thread of its own.
fn asked(site: &Site, action: &'static str, id: Option<u32>) -> JoinHandle<bool> {
    let runtime = site.runtime.clone();
    let ask = move || match id {
        Some(id) => runtime.emit_by_name(action, &[&id]),
        None => runtime.emit_by_name(action, &[]),
    };
    std::thread::Builder::new().name("asks".to_owned()).spawn(ask).expect("a thread")
}

#[test]
fn a_feed_that_cannot_be_made_is_not_the_end_of_those_that_follow_it() {
    let site = Site::playing(&(head() + &unmakeable("broken") + &endless("here")));
    site.wait_for_frames(1, 5);
    let broken = site.feed(0).unwrap();
    assert_eq!(broken.state, FeedState::Failed);
    assert!(broken.detail.contains("nosuchelement"), "it says why: {}", broken.detail);
    let bus = site.pipeline.bus().unwrap();
    let end = bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]);
    assert!(end.is_none(), "{end:?}");
}

#[test]
fn the_end_is_said_once() {
    let site = Site::new(&(head() + &short("a", 3) + &short("b", 3)));
    let (tell, told) = channel();
    let bus = site.pipeline.bus().unwrap();
    bus.set_sync_handler(move |_, message| {
        if message.type_() == gst::MessageType::Eos {
            tell.send(()).unwrap();
        }
        gst::BusSyncReply::Pass
    });
    site.play();
    assert_eq!(site.end(), None);
    site.runtime.remove_feed(0).unwrap();
    assert!(site.act("ping"));
    assert_eq!(told.try_iter().count(), 1);
}

#[test]
fn a_feed_that_is_refused_ends_nobody() {
    let site = Site::playing(&(head() + &short("a", 3)));
    assert_eq!(site.end(), None);
    assert!(site.add(&[("custom-pipeline", "nosuchelement")]).is_err());
    assert!(site.act("ping"));
    let bus = site.pipeline.bus().unwrap();
    let end = bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]);
    assert!(end.is_none(), "{end:?}");
}

#[test]
fn as_many_feeds_may_come_as_the_limit_was_raised_to() {
    let site = Site::playing(&(head().replace("[runtime]\n", "[runtime]\nmax-feeds = 1\n")));
    site.runtime.set_property("max-feeds", 80_u32);
    for number in 0..70 {
        let added = site.add(&[("custom-pipeline", "videotestsrc is-live=true ! valve drop=true")]);
        assert!(added.is_ok(), "{number}: {added:?}");
    }
}

#[test]
fn feeds_that_come_back_together_are_no_more_than_the_limit() {
    let mut text = head();
    for number in 0..6 {
        text += &short(&format!("f{number}"), 2);
    }
    let site = Site::playing(&(text + &endless("lives")));
    for id in 0..6 {
        site.wait_for(id, FeedState::Ended);
    }
    site.runtime.set_property("max-feeds", 2_u32);
    let done: Vec<bool> = std::thread::scope(|scope| {
        let ask = |id: u32| {
            scope.spawn({
                let runtime = site.runtime.clone();
                move || runtime.emit_by_name::<bool>("restart-feed", &[&id])
            })
        };
        let asked: Vec<_> = (0..6).map(ask).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(done.iter().filter(|done| **done).count() <= 1, "{done:?}");
}

#[test]
fn a_feed_that_is_on_its_way_back_does_not_come_into_a_shutdown() {
    let (site, release) = wedged("20s", &["a"]);
    let bin = site.runtime.upcast_ref::<gst::Bin>();
    assert!(bin.by_name("feed-0").unwrap().send_event(gst::event::Eos::new()));
    let stopped = || site.feed(0).is_some_and(|feed| feed.source.uri == "custom-pipeline");
    eventually("it is known", stopped, |is| *is);
    // Its consumer holds up its end, and with that its return.
    bin.by_name("branch-0")
        .unwrap()
        .post_message(gst::message::Eos::builder().src(&bin.by_name("branch-0").unwrap()).build())
        .unwrap();
    site.wait_for(0, FeedState::Ended);
    let back = asked(&site, "restart-feed", Some(0));
    eventually("it is on its way", || site.ids().len(), |feeds| *feeds == 0);
    let shut = asked(&site, "shutdown", None);
    eventually("the end begins", || site.snapshot().phase, |phase| *phase == Phase::Draining);
    drop(release);
    assert!(!back.join().unwrap());
    assert!(shut.join().unwrap(), "{}", site.refusal());
}

#[test]
fn a_feed_whose_consumer_hangs_is_removed_all_the_same() {
    let (site, release) = wedged("6s", &["a", "b"]);
    let removed = site.runtime.remove_feed(0);
    eventually("it is removed", || site.snapshot().removed_feeds, |removed| *removed == 1);
    assert_eq!((removed, site.snapshot().detached_threads), (Ok(()), 0));
    drop(release);
}

#[test]
fn consumers_that_hang_cost_the_drain_timeout_together() {
    let (site, release) = wedged("4s", &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    let begun = clock::now();
    site.pipeline.set_state(gst::State::Null).unwrap();
    let took = clock::now().since(begun);
    assert!(took < Duration::from_secs(30), "{took:?}");
    drop(release);
}

#[test]
fn a_reload_that_cannot_make_a_feed_changes_nothing_and_may_be_tried_again() {
    let site = Site::playing(&(head() + RECORDS + &endless("a")));
    site.wait_for_frames(0, 3);
    std::fs::create_dir(site.path("b.jsonl")).unwrap();
    site.write(
        &(head()
            + RECORDS
            + &endless("a").replace("is-live=true", "is-live=true pattern=ball")
            + &endless("b")),
    );
    assert!(!site.act("reload"));
    assert_eq!((site.refusal(), site.ids()), ("failed".to_owned(), vec![0]));
    site.wait_for_frames(0, 3);
    std::fs::remove_dir(site.path("b.jsonl")).unwrap();
    assert!(site.act("reload"), "{}", site.refusal());
    let ids = site.ids();
    assert_eq!((ids.len(), ids.contains(&0)), (2, false));
    for id in ids {
        site.wait_for_frames(id, 3);
    }
}

#[test]
fn a_reload_that_moves_an_output_where_nothing_can_be_written_leaves_its_feeds() {
    let site = Site::playing(&(head() + RECORDS + &endless("a")));
    site.wait_for_frames(0, 3);
    site.write(&(head() + &RECORDS.replace("{feed}.jsonl", "site.toml/{feed}.jsonl") + &endless("a")));
    assert!(!site.act("reload"));
    assert_eq!(site.ids(), [0]);
    site.wait_for_frames(0, 3);
}

#[test]
fn frames_of_groups_that_are_gone_stay_counted() {
    let site = Site::playing(&(head() + &endless("a")));
    site.wait_for_frames(0, 5);
    let before = site.feed(0).unwrap().ledger.delivered;
    site.write(&(head().replace("max-latency = \"5ms\"", "max-latency = \"6ms\"") + &endless("a")));
    assert!(site.act("reload"), "{}", site.refusal());
    assert!(site.snapshot().removed.delivered >= before);
    eventually("the feed is gone", || site.snapshot().removed_feeds, |removed| *removed == 1);
    assert!(site.snapshot().removed.delivered >= before);
}

#[test]
fn a_reload_with_an_address_that_is_taken_leaves_everything_as_it_was() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at =
        |address| head().replace("[runtime]\n", &format!("[runtime]\nmetrics-address = \"{address}\"\n"));
    let site = Site::playing(&(at(free) + &endless("a")));
    site.write(&(at(taken.local_addr().unwrap()) + &endless("a") + &endless("b")));
    assert!(!site.act("reload"));
    assert!(std::net::TcpStream::connect(free).is_ok(), "it listens where it did");
    assert_eq!(site.ids(), [0]);
}

#[test]
fn what_an_output_has_lost_is_not_found_again() {
    let (site, release) = wedged("100ms", &["a", "b"]);
    let lost = || site.snapshot().outputs.first().map_or(0, |output| output.lost);
    eventually("records are lost", lost, |lost| *lost > 20);
    let before = lost();
    site.runtime.remove_feed(0).ok();
    assert!(lost() >= before, "{} of {before}", lost());
    drop(release);
}

#[test]
fn a_site_has_no_more_feeds_than_the_element_may() {
    let site = Site::new(&(head() + &endless("a") + &endless("b")));
    site.runtime.set_property("max-feeds", 1_u32);
    let playing = site.pipeline.set_state(gst::State::Playing);
    assert!(playing.is_err() || site.ids().len() == 1, "{:?}", site.ids());
}

#[test]
fn a_removed_feed_that_was_coming_back_is_gone() {
    let site = Site::playing(&(head() + RECORDS + &short("a", 2) + &endless("b")));
    site.wait_for(0, FeedState::Ended);
    let back = asked(&site, "restart-feed", Some(0));
    let removed = site.runtime.remove_feed(0);
    back.join().unwrap();
    assert!(removed.is_ok() || removed == Err(Refusal::NotAlive { id: 0 }), "{removed:?}");
}

#[test]
fn a_feed_that_is_about_to_end_comes_back_when_it_is_said_to() {
    let text = head().replace("brightest", "slow_50ms");
    let site = Site::playing(&(text + RECORDS + &short("a", 20) + &endless("b")));
    let source = site.runtime.upcast_ref::<gst::Bin>().by_name("feed-0").expect("the feed's nvfeed");
    let status = || source.property::<gst::Structure>("stats").get::<String>("status").expect("a status");
    eventually("the source has stopped", status, |status| status == "stopped");
    // What it gave is still on its way.
    assert!(site.act_on("restart-feed", 0), "{}", site.refusal());
    eventually("both runs have their records", || site.seqs("a.jsonl").len(), |count| *count == 40);
}

#[test]
fn a_feed_begins_anew_whenever_it_is_said_to_also_as_it_ends() {
    let site = Site::playing(&(head() + RECORDS + &short("a", 6) + &endless("b")));
    let delivered = || site.feed(0).map_or(0, |feed| feed.ledger.delivered);
    let session = || Some(site.last_record("a.jsonl")?["session"].as_u64().unwrap());
    eventually("the first run has begun", session, Option::is_some);
    for round in 0..48_u64 {
        // Now in the middle, now as the last frame leaves, now with all over.
        let by = delivered() + round % 8;
        let is_there = || delivered() >= by || site.feed(0).unwrap().state == FeedState::Ended;
        eventually("the moment has come", is_there, |is| *is);
        assert!(site.act_on("restart-feed", 0), "{}", site.refusal());
        eventually("frames of the new run come", session, |seen| *seen > Some(round));
    }
}

#[test]
fn a_paused_feed_that_is_replaced_stays_paused() {
    let site = Site::playing(&(head() + &endless("a") + &endless("b")));
    site.wait_for_frames(0, 3);
    assert!(site.act_on("pause-feed", 0));
    site.write(
        &(head().replace("max-latency = \"5ms\"", "max-latency = \"6ms\"") + &endless("a") + &endless("b")),
    );
    assert!(site.act("reload"), "{}", site.refusal());
    let ids = site.ids();
    site.wait_for_frames(ids[1], 3);
    site.wait_for(ids[0], FeedState::Paused);
    assert!(site.act_on("resume-feed", ids[0]), "{}", site.refusal());
    site.wait_for_frames(ids[0], 3);
}

#[test]
fn what_has_ended_begins_anew_after_ready() {
    let site = Site::playing(&(head() + RECORDS + &short("a", 5)));
    assert_eq!(site.end(), None);
    site.pipeline.set_state(gst::State::Ready).unwrap();
    site.play();
    assert_eq!(site.end(), None);
    assert_eq!(site.seqs("a.jsonl").len(), 10);
    assert!(site.add(&[("custom-pipeline", "videotestsrc is-live=true")]).is_ok());
}

#[test]
fn after_a_shutdown_and_ready_feeds_are_taken_again() {
    let site = Site::playing(&(head() + &endless("a")));
    site.wait_for_frames(0, 3);
    assert!(site.act("shutdown"));
    assert!(!site.act("reload"));
    assert_eq!(site.refusal(), "shutting-down");
    site.pipeline.set_state(gst::State::Ready).unwrap();
    site.play();
    site.wait_for(0, FeedState::Running);
    assert!(site.act("reload"));
}

#[test]
fn nobody_waits_for_what_cannot_arrive_while_nothing_plays() {
    let text = head().replace("[runtime]\n", "[runtime]\ndrain-timeout = \"1h\"\n");
    let site = Site::playing(&(text + &endless("a") + &endless("b")));
    site.wait_for_frames(0, 3);
    site.pipeline.set_state(gst::State::Paused).unwrap();
    assert!(site.act_on("remove-feed", 0));
    assert!(!site.act("shutdown"), "b was cut off");
    assert_eq!(site.refusal(), "timed-out");
    assert_eq!(site.snapshot().phase, Phase::Stopped);
}

#[test]
fn a_runtime_whose_last_run_hangs_in_a_handler_does_not_begin_another() {
    let site = Site::playing(&(head() + &endless("a")));
    let (release, held) = channel::<()>();
    let (tell, told) = channel();
    let held = Mutex::new(held);
    site.runtime.connect("feed-removed", false, move |_| {
        tell.send(()).unwrap();
        held.lock().unwrap().recv().ok();
        None
    });
    let remover = asked(&site, "remove-feed", Some(0));
    told.recv().unwrap();
    site.pipeline.set_state(gst::State::Null).unwrap();
    assert!(site.pipeline.set_state(gst::State::Playing).is_err());
    assert!(site.error().contains("the last run has not ended"));
    drop(release);
    remover.join().unwrap();
    let begins = || site.pipeline.set_state(gst::State::Playing).is_ok();
    eventually("it begins again", begins, |begins| *begins);
    site.wait_for_frames(0, 3);
}

#[test]
fn an_output_that_changes_goes_on_with_the_file_that_its_predecessor_still_writes() {
    let output = |more: &str| format!("{RECORDS}rotate-size = \"1GB\"\n{more}\n");
    let site = Site::playing(&(head() + &output("") + &endless("a")));
    site.wait_for_frames(0, 3);
    for keep in 1..5_u32 {
        site.write(&(head() + &output(&format!("keep = {keep}")) + &endless("a")));
        assert!(site.act("reload"), "{:?}", site.runtime.property::<Option<String>>("last-error"));
        site.wait_for_frames(keep, 3);
    }
    assert!(site.act("shutdown"));
    let seqs = site.seqs("a.jsonl");
    let runs = seqs.iter().filter(|seq| **seq == 0).count();
    assert_eq!(runs, 5, "{seqs:?}");
    let delivered: u64 = site.snapshot().feeds.iter().map(|feed| feed.ledger.delivered).sum::<u64>()
        + site.snapshot().removed.delivered;
    assert_eq!(seqs.len() as u64, delivered);
}

#[test]
fn a_feed_that_is_restarted_has_the_limits_that_were_set_while_it_played() {
    let with = |stall: &str| {
        head() + &short("a", 5) + &format!("health = {{ stall-timeout = \"{stall}\" }}\n") + &endless("b")
    };
    let site = Site::playing(&with("7s"));
    site.wait_for(0, FeedState::Ended);
    let limit = || {
        let bin = site.runtime.upcast_ref::<gst::Bin>();
        let watch = bin.by_name("health-0").expect("the feed's nvhealth");
        watch.property::<u64>("stall-timeout")
    };
    assert_eq!(limit(), 7_000_000_000);
    site.write(&with("9s"));
    assert!(site.act("reload"));
    assert!(site.act_on("restart-feed", 0));
    assert_eq!(limit(), 9_000_000_000);
}

#[test]
fn a_reload_of_an_output_that_nobody_reads_does_not_wait_for_it() {
    let head = head().replace("[runtime]\n", "[runtime]\ndrain-timeout = \"1s\"\n");
    let output = "[[outputs]]\nname = \"all\"\ntype = \"file\"\npath = \"all\"\noverflow = \"drop-newest\"\n";
    let feeds = endless("a") + &endless("b");
    let site = Site::new(&format!("{head}{output}{feeds}"));
    let made = std::process::Command::new("mkfifo").arg(site.path("all")).status().unwrap();
    assert!(made.success());
    site.play();
    let lost = || site.snapshot().outputs.iter().map(|output| output.lost).sum::<u64>();
    eventually("nothing can be written any more", lost, |lost| *lost > 0);
    site.write(&format!("{head}{output}rotate-size = \"1GB\"\n{feeds}"));
    assert!(site.act("reload"), "{}", site.refusal());
    assert!(site.act("ping"));
    let gone = || site.snapshot().removed_feeds;
    eventually("the feeds of before are gone", gone, |gone| *gone == 2);
}
