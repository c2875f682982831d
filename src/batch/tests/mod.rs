//! The rules of the former, one by one; [`props`] checks them together, against [`model`].

mod fairness;
mod model;
mod props;

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::time::Monotonic;
use std::sync::Arc;
use std::time::Duration;

const A: FeedId = FeedId(1);
const B: FeedId = FeedId(2);
const C: FeedId = FeedId(3);

fn ms(millis: u64) -> Monotonic {
    Monotonic::from_nanos(millis * 1_000_000)
}

fn policy(max_batch_size: usize, max_frames_per_feed: usize) -> Policy {
    Policy {
        max_batch_size,
        max_frames_per_feed,
        max_feeds: 2000,
        credit_grace: Duration::ZERO,
        ..Policy::default()
    }
}

fn former(policy: Policy, feeds: &[FeedId]) -> Former {
    former_with(policy, feeds, &FeedOptions::default())
}

fn former_with(policy: Policy, feeds: &[FeedId], options: &FeedOptions) -> Former {
    let mut former = Former::new(policy, Arc::new(|| ())).unwrap();
    for &feed in feeds {
        former.add_feed(feed, options.clone()).unwrap();
    }
    former
}

/// A feed with `frames` queued at `at`, whose keys are `100 * feed + number`.
fn fill(former: &mut Former, feed: FeedId, frames: u64, at: Monotonic) {
    for number in 0..frames {
        let push = former.push(feed, FrameId(u64::from(feed.0) * 100 + number), at).unwrap();
        assert!(matches!(push, Push::Queued | Push::QueuedPassing), "{push:?}");
    }
}

#[track_caller]
fn close(former: &mut Former, at: Monotonic) -> Batch {
    match former.poll(at, true) {
        Poll::Close(batch) => batch,
        other => panic!("expected a batch, found {other:?}"),
    }
}

#[track_caller]
fn assert_waits_until(former: &mut Former, now: Monotonic, until: Monotonic) {
    assert!(matches!(former.poll(now, true), Poll::WaitUntil(at) if at == until));
}

#[track_caller]
fn assert_idle(former: &mut Former, now: Monotonic) {
    assert!(matches!(former.poll(now, true), Poll::Idle));
}

fn keys(batch: &Batch) -> Vec<u64> {
    batch.frames.iter().map(|chosen| chosen.frame.0).collect()
}

fn inferred(batch: &Batch) -> Vec<bool> {
    batch.frames.iter().map(|chosen| chosen.infer).collect()
}

fn ledger(former: &Former, feed: FeedId) -> Ledger {
    former.feed_snapshot(feed).unwrap().ledger
}

// When a batch closes.

#[test]
fn nothing_queued_is_idle() {
    let mut former = former(policy(4, 1), &[A, B]);
    assert_idle(&mut former, ms(0));
}

#[test]
fn one_feed_alone_does_not_wait() {
    let mut former = former(policy(4, 1), &[A, B]);
    fill(&mut former, A, 1, ms(5));
    let batch = close(&mut former, ms(5));
    assert_eq!((batch.reason, keys(&batch)), (CloseReason::AllReady, vec![100]));
}

#[test]
fn a_full_batch_closes_without_the_feeds_that_are_missing() {
    let mut former = former(policy(2, 1), &[A, B, C]);
    for feed in [A, B, C] {
        fill(&mut former, feed, 1, ms(0));
    }
    assert_eq!(keys(&close(&mut former, ms(0))), [100, 200]);
    assert_waits_until(&mut former, ms(1), ms(50));
    fill(&mut former, B, 1, ms(2));
    let batch = close(&mut former, ms(2));
    assert_eq!((batch.reason, keys(&batch)), (CloseReason::Full, vec![300, 200]));
}

#[test]
fn a_batch_waits_for_every_active_feed_until_the_deadline_of_the_oldest_arrival() {
    let mut former = former(policy(4, 1), &[A, B, C]);
    for feed in [A, B, C] {
        fill(&mut former, feed, 1, ms(0));
    }
    drop(close(&mut former, ms(0)));
    fill(&mut former, B, 1, ms(10));
    fill(&mut former, A, 1, ms(40));
    assert_waits_until(&mut former, ms(40), ms(60));
    assert_waits_until(&mut former, ms(59), ms(60));
    let batch = close(&mut former, ms(60));
    assert_eq!((batch.reason, batch.size()), (CloseReason::Deadline, 2));
}

#[test]
fn a_feed_whose_next_frame_comes_after_the_deadline_is_not_waited_for() {
    let mut former = former(policy(4, 1), &[A, B]);
    for at in [0, 66, 132] {
        fill(&mut former, A, 1, ms(at));
        fill(&mut former, B, 1, ms(at));
        drop(close(&mut former, ms(at)));
    }
    // A is due at 198; a batch of B's that closes at 190 does not wait for it, one that closes at 200 does.
    fill(&mut former, B, 1, ms(140));
    assert_eq!(close(&mut former, ms(140)).reason, CloseReason::AllReady);
    fill(&mut former, B, 1, ms(150));
    assert_waits_until(&mut former, ms(150), ms(200));
}

#[test]
fn a_pause_does_not_make_a_feed_slow() {
    let mut former = former(policy(4, 1), &[A, B]);
    for at in [0, 30, 1030] {
        fill(&mut former, A, 1, ms(at));
        drop(close(&mut former, ms(at)));
    }
    fill(&mut former, B, 1, ms(1031));
    assert_waits_until(&mut former, ms(1031), ms(1081));
}

#[test]
fn a_feed_silent_through_a_deadline_is_not_waited_for_until_it_pushes_again() {
    let mut former = former(policy(4, 1), &[A, B]);
    fill(&mut former, A, 1, ms(0));
    fill(&mut former, B, 1, ms(0));
    drop(close(&mut former, ms(0)));
    fill(&mut former, A, 1, ms(10));
    assert_eq!(close(&mut former, ms(60)).reason, CloseReason::Deadline);
    fill(&mut former, A, 1, ms(70));
    assert_eq!(close(&mut former, ms(70)).reason, CloseReason::AllReady);
    fill(&mut former, B, 1, ms(80));
    assert_waits_until(&mut former, ms(80), ms(130));
}

#[test]
fn zero_latency_never_waits() {
    let mut former = former(Policy { max_latency: Duration::ZERO, ..policy(4, 1) }, &[A, B]);
    fill(&mut former, A, 1, ms(0));
    fill(&mut former, B, 1, ms(0));
    drop(close(&mut former, ms(0)));
    fill(&mut former, A, 1, ms(1));
    assert_eq!(close(&mut former, ms(1)).reason, CloseReason::Deadline);
}

#[test]
fn no_batch_closes_while_the_engine_is_busy() {
    let mut former = former(policy(1, 1), &[A]);
    fill(&mut former, A, 2, ms(0));
    assert!(matches!(former.poll(ms(1000), false), Poll::Idle));
    assert_eq!(keys(&close(&mut former, ms(1000))), [100]);
}

#[test]
fn a_feed_without_credit_is_neither_waited_for_nor_chosen() {
    let options = FeedOptions { max_in_flight: 1, ..FeedOptions::default() };
    let mut former = former_with(policy(4, 1), &[A, B], &options);
    fill(&mut former, A, 2, ms(0));
    fill(&mut former, B, 1, ms(0));
    let mut held = close(&mut former, ms(0)).frames;
    assert_idle(&mut former, ms(500));
    held.retain(|chosen| chosen.feed == A);
    fill(&mut former, B, 1, ms(500));
    let batch = close(&mut former, ms(500));
    assert_eq!((batch.reason, keys(&batch)), (CloseReason::AllReady, vec![200]));
}

#[test]
fn an_overdue_frame_goes_at_once_when_credit_returns() {
    let options = FeedOptions { max_in_flight: 1, ..FeedOptions::default() };
    let mut former = former_with(policy(4, 1), &[A, B], &options);
    fill(&mut former, A, 2, ms(0));
    fill(&mut former, B, 1, ms(0));
    let mut first = close(&mut former, ms(0));
    assert_eq!(first.frames.len(), 2);
    assert_idle(&mut former, ms(100));
    let b = first.frames.pop();
    assert_eq!(b.map(|chosen| chosen.feed), Some(B), "B has credit again, and is waited for");
    drop(first);
    assert_eq!(close(&mut former, ms(100)).reason, CloseReason::Deadline);
}

#[test]
fn an_ended_feed_is_not_waited_for_and_its_frames_still_go() {
    let mut former = former(policy(4, 1), &[A, B]);
    fill(&mut former, A, 2, ms(0));
    fill(&mut former, B, 1, ms(0));
    former.end_of_stream(B).unwrap();
    let batch = close(&mut former, ms(0));
    assert_eq!((batch.reason, batch.size()), (CloseReason::AllReady, 2));
    former.end_of_stream(A).unwrap();
    let batch = close(&mut former, ms(0));
    assert_eq!((batch.reason, keys(&batch)), (CloseReason::Eos, vec![101]));
    assert_idle(&mut former, ms(0));
}

#[test]
fn an_ended_feed_is_waited_for_again_after_it_resumed_and_pushed() {
    let mut former = former(policy(4, 1), &[A, B]);
    fill(&mut former, A, 1, ms(0));
    former.end_of_stream(A).unwrap();
    drop(close(&mut former, ms(0)));
    former.resume(A).unwrap();
    fill(&mut former, B, 1, ms(1));
    assert_eq!(close(&mut former, ms(1)).reason, CloseReason::AllReady, "resumed, not pushed yet");
    fill(&mut former, A, 1, ms(2));
    assert_waits_until(&mut former, ms(2), ms(52));
}

#[test]
fn flushing_the_last_feed_waited_for_closes_the_batch() {
    let mut former = former(policy(4, 1), &[A, B]);
    fill(&mut former, A, 1, ms(0));
    fill(&mut former, B, 1, ms(0));
    drop(close(&mut former, ms(0)));
    fill(&mut former, A, 1, ms(1));
    assert_waits_until(&mut former, ms(1), ms(51));
    assert!(former.flush(B).is_empty());
    assert_eq!(close(&mut former, ms(1)).reason, CloseReason::Flush);
    fill(&mut former, A, 1, ms(2));
    assert_eq!(close(&mut former, ms(2)).reason, CloseReason::AllReady);
}

#[test]
fn flushing_one_of_two_feeds_waited_for_closes_nothing() {
    let mut former = former(policy(4, 1), &[A, B, C]);
    for feed in [A, B, C] {
        fill(&mut former, feed, 1, ms(0));
    }
    drop(close(&mut former, ms(0)));
    fill(&mut former, A, 1, ms(1));
    assert!(former.flush(B).is_empty());
    assert_waits_until(&mut former, ms(1), ms(51));
    former.end_of_stream(C).unwrap();
    assert_eq!(close(&mut former, ms(1)).reason, CloseReason::AllReady);
}

// Which frames go.

#[test]
fn the_least_recently_served_feed_goes_first() {
    let mut former = former(policy(1, 1), &[A, B, C]);
    for feed in [C, A, B] {
        fill(&mut former, feed, 2, ms(u64::from(10 - feed.0)));
    }
    let order: Vec<u64> = (0..6).flat_map(|_| keys(&close(&mut former, ms(20)))).collect();
    assert_eq!(order, [300, 200, 100, 301, 201, 101], "never served: oldest first; then in turn");
}

#[test]
fn equal_feeds_go_by_id() {
    let mut former = former(policy(4, 1), &[C, A, B]);
    for feed in [C, B, A] {
        fill(&mut former, feed, 1, ms(0));
    }
    assert_eq!(keys(&close(&mut former, ms(0))), [100, 200, 300]);
}

#[test]
fn a_feed_always_ready_is_served_once_a_round_whatever_the_others_push() {
    let feeds: Vec<FeedId> = (0..10).map(FeedId).collect();
    let mut former = former(policy(4, 1), &feeds);
    let mut batches = Vec::new();
    for round in 0..30 {
        for &feed in &feeds {
            while former.push(feed, FrameId(0), ms(round)).unwrap() != Push::WouldBlock {}
        }
        let batch = close(&mut former, ms(round));
        assert_eq!(batch.reason, CloseReason::Full);
        batches.push(batch.frames.iter().map(|chosen| chosen.feed).collect::<Vec<_>>());
    }
    for three in batches.windows(3) {
        assert!(feeds.iter().all(|feed| three.iter().any(|batch| batch.contains(feed))));
    }
}

#[test]
fn several_frames_per_feed_are_taken_turn_by_turn_and_ordered_by_feed() {
    let mut former = former(policy(4, 3), &[A, B]);
    fill(&mut former, A, 4, ms(0));
    fill(&mut former, B, 1, ms(1));
    assert_eq!(keys(&close(&mut former, ms(1))), [100, 101, 102, 200]);
    fill(&mut former, B, 3, ms(2));
    let batch = close(&mut former, ms(2));
    // A has taken three turns more.
    assert_eq!(keys(&batch), [200, 201, 202, 103]);
}

#[test]
fn the_in_flight_limit_rises_with_the_frames_per_feed() {
    let mut former = former(policy(8, 2), &[A]);
    fill(&mut former, A, 4, ms(0));
    let held = [close(&mut former, ms(0)), close(&mut former, ms(0))];
    assert_eq!(held.each_ref().map(Batch::size), [2, 2]);
    fill(&mut former, A, 1, ms(0));
    assert_idle(&mut former, ms(0));
}

#[test]
fn a_thousand_feeds_all_get_their_turn() {
    let feeds: Vec<FeedId> = (0..1000).map(FeedId).collect();
    let mut former = former(policy(16, 1), &feeds);
    for &feed in &feeds {
        fill(&mut former, feed, 1, ms(0));
    }
    let batches: Vec<Batch> = (0..63).map(|_| close(&mut former, ms(50))).collect();
    let mut order: Vec<u32> = batches.iter().flat_map(|b| b.frames.iter().map(|c| c.feed.0)).collect();
    order.sort_unstable();
    assert_eq!(order, (0..1000).collect::<Vec<_>>());
}

// Frames that ride along.

#[test]
fn interval_infers_every_other_frame_and_staggers_feeds() {
    let options = FeedOptions { interval: 1, max_in_flight: 9, ..FeedOptions::default() };
    let mut former = former_with(policy(8, 2), &[A, B], &options);
    fill(&mut former, A, 4, ms(0));
    fill(&mut former, B, 4, ms(0));
    let batch = close(&mut former, ms(0));
    assert_eq!(keys(&batch), [100, 101, 102, 103, 200, 201, 202, 203]);
    assert_eq!(inferred(&batch), [true, false, true, false, false, true, false, true]);
}

#[test]
fn frames_that_ride_along_do_not_count_towards_the_size() {
    let options = FeedOptions { interval: 2, max_in_flight: 9, ..FeedOptions::default() };
    let mut former = former_with(policy(1, 1), &[A, B], &options);
    fill(&mut former, A, 4, ms(0));
    fill(&mut former, B, 1, ms(0));
    let batch = close(&mut former, ms(0));
    assert_eq!((batch.reason, batch.size()), (CloseReason::Full, 1));
    assert_eq!(keys(&batch), [100, 101, 102, 200]);
    assert_eq!(keys(&close(&mut former, ms(0))), [103]);
}

#[test]
fn a_batch_may_hold_no_frame_to_infer() {
    let options = FeedOptions { interval: 1, ..FeedOptions::default() };
    let mut former = former_with(policy(4, 1), &[A, B], &options);
    fill(&mut former, B, 1, ms(0));
    let batch = close(&mut former, ms(0));
    assert_eq!((batch.reason, batch.size(), keys(&batch)), (CloseReason::AllReady, 0, vec![200]));
}

#[test]
fn a_feed_passed_over_still_gives_what_rides_in_front() {
    let options =
        FeedOptions { overload: Overload::PassThrough, max_size_buffers: 1, ..FeedOptions::default() };
    let mut former = former_with(policy(1, 1), &[A, B], &options);
    fill(&mut former, A, 1, ms(0));
    fill(&mut former, B, 2, ms(1));
    let batch = close(&mut former, ms(1));
    assert_eq!((keys(&batch), inferred(&batch)), (vec![100, 200], vec![true, false]));
}

#[test]
fn frames_that_ride_along_need_credit() {
    let options = FeedOptions { interval: 3, ..FeedOptions::default() };
    let mut former = former_with(policy(4, 1), &[A], &options);
    fill(&mut former, A, 4, ms(0));
    let batch = close(&mut former, ms(0));
    assert_eq!(keys(&batch), [100, 101]);
    assert_idle(&mut former, ms(0));
    drop(batch);
    assert_eq!(keys(&close(&mut former, ms(0))), [102, 103]);
}

// Overload.

#[test]
fn drop_oldest_returns_the_oldest_frame() {
    let options =
        FeedOptions { overload: Overload::DropOldest, max_size_buffers: 2, ..FeedOptions::default() };
    let mut former = former_with(policy(4, 1), &[A], &options);
    fill(&mut former, A, 2, ms(0));
    assert_eq!(former.push(A, FrameId(7), ms(1)), Ok(Push::DroppedOldest(FrameId(100))));
    let batches = [close(&mut former, ms(1)), close(&mut former, ms(1))];
    let seqs = batches.each_ref().map(|batch| batch.frames[0].seq);
    assert_eq!(seqs, [1, 2], "the dropped frame leaves a gap");
    assert_eq!(ledger(&former, A).dropped(DropReason::Overload), 1);
}

#[test]
fn drop_newest_keeps_the_queue() {
    let options =
        FeedOptions { overload: Overload::DropNewest, max_size_buffers: 1, ..FeedOptions::default() };
    let mut former = former_with(policy(4, 1), &[A], &options);
    fill(&mut former, A, 1, ms(0));
    assert_eq!(former.push(A, FrameId(7), ms(1)), Ok(Push::DroppedNewest));
    let batch = close(&mut former, ms(1));
    assert_eq!(keys(&batch), [100]);
    fill(&mut former, A, 1, ms(2));
    assert_eq!(close(&mut former, ms(2)).frames[0].seq, 2);
}

#[test]
fn would_block_counts_nothing() {
    let mut former = former(policy(4, 1), &[A]);
    fill(&mut former, A, 4, ms(0));
    let before = former.snapshot();
    assert_eq!(former.push(A, FrameId(7), ms(1)), Ok(Push::WouldBlock));
    assert_eq!(former.snapshot(), before);
    drop(close(&mut former, ms(1)));
    assert_eq!(former.push(A, FrameId(7), ms(1)), Ok(Push::Queued));
}

#[test]
fn pass_through_loses_nothing_and_blocks_at_twice_the_capacity() {
    let options = FeedOptions {
        overload: Overload::PassThrough,
        max_size_buffers: 2,
        max_in_flight: 9,
        ..FeedOptions::default()
    };
    let mut former = former_with(policy(4, 1), &[A], &options);
    fill(&mut former, A, 3, ms(0));
    assert_eq!(former.push(A, FrameId(103), ms(0)), Ok(Push::QueuedPassing));
    assert_eq!(former.push(A, FrameId(7), ms(0)), Ok(Push::WouldBlock));
    let batch = close(&mut former, ms(0));
    assert_eq!(keys(&batch), [100, 101, 102]);
    assert_eq!(inferred(&batch), [false, false, true]);
    assert_eq!(keys(&close(&mut former, ms(0))), [103]);
}

#[test]
fn a_refused_frame_is_counted_and_takes_its_number() {
    let mut former = former(policy(4, 1), &[A]);
    former.refuse(A, DropReason::OutOfSegment).unwrap();
    fill(&mut former, A, 1, ms(0));
    assert_eq!(close(&mut former, ms(0)).frames[0].seq, 1);
    let ledger = former.feed_snapshot(A).unwrap().ledger;
    assert_eq!((ledger.received, ledger.dropped(DropReason::OutOfSegment)), (2, 1));
    assert!(ledger.is_balanced());
}

#[test]
fn a_feed_that_pauses_is_not_waited_for_until_its_next_push() {
    let mut former = former(policy(4, 1), &[A, B]);
    fill(&mut former, A, 1, ms(0));
    drop(close(&mut former, ms(0)));
    fill(&mut former, B, 1, ms(1));
    assert_waits_until(&mut former, ms(1), ms(51));
    former.pause(A).unwrap();
    assert_eq!(close(&mut former, ms(1)).reason, CloseReason::AllReady);
    fill(&mut former, A, 1, ms(2));
    assert_waits_until(&mut former, ms(2), ms(52));
}

// Feeds, settings, flush.

#[test]
fn a_feed_that_comes_back_goes_on_counting() {
    let mut former = former(policy(4, 1), &[A]);
    fill(&mut former, A, 2, ms(0));
    let next = former.feed_snapshot(A).unwrap().next_seq;
    assert_eq!(former.remove_feed(A).len(), 2);
    former.add_feed(A, FeedOptions::default()).unwrap();
    former.number_from(A, next).unwrap();
    fill(&mut former, A, 1, ms(0));
    assert_eq!(close(&mut former, ms(0)).frames[0].seq, 2);
}

#[test]
fn clearing_drops_the_queue_for_the_reason_given_and_leaves_tickets_alone() {
    let mut former = former(policy(1, 1), &[A]);
    fill(&mut former, A, 3, ms(0));
    let batch = close(&mut former, ms(0));
    assert_eq!(former.clear(A, DropReason::Removed), [FrameId(101), FrameId(102)]);
    assert!(batch.frames[0].ticket.epoch_is_current());
    assert_eq!(former.feed_snapshot(A).unwrap().ledger.dropped(DropReason::Removed), 2);
}

#[test]
fn feeds_are_refused_twice_or_beyond_the_limit() {
    let mut former = former(Policy { max_feeds: 1, ..Policy::default() }, &[A]);
    assert_eq!(former.add_feed(A, FeedOptions::default()), Err(FeedError::Duplicate(A)));
    let error = former.add_feed(B, FeedOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "feed 2 is one too many: max-feeds is 1");
    assert!(former.remove_feed(A).is_empty());
    assert_eq!(former.add_feed(B, FeedOptions::default()), Ok(()));
}

#[test]
fn an_unknown_feed_is_an_error_and_never_a_panic() {
    let mut former = former(policy(4, 1), &[]);
    assert_eq!(former.push(A, FrameId(0), ms(0)), Err(UnknownFeed(A)));
    assert_eq!(former.end_of_stream(A), Err(UnknownFeed(A)));
    assert_eq!(former.resume(A), Err(UnknownFeed(A)));
    assert_eq!(former.set_feed_options(A, FeedOptions::default()), Err(UnknownFeed(A)));
    assert!(former.flush(A).is_empty() && former.remove_feed(A).is_empty());
    assert_eq!(former.feed_snapshot(A), None);
}

#[test]
fn an_invalid_policy_leaves_the_old_one_in_force() {
    let mut former = former(policy(4, 1), &[A]);
    assert!(former.set_policy(policy(2, 3)).is_err());
    assert_eq!(former.policy(), &policy(4, 1));
}

#[test]
fn a_policy_applies_to_what_is_queued() {
    let mut former = former(policy(4, 1), &[A]);
    fill(&mut former, A, 4, ms(0));
    former.set_policy(policy(3, 3)).unwrap();
    let batch = close(&mut former, ms(0));
    assert_eq!((batch.reason, batch.size()), (CloseReason::Full, 3));
}

#[test]
fn flush_returns_the_queue_and_makes_tickets_stale() {
    let mut former = former(policy(4, 1), &[A, B]);
    fill(&mut former, A, 3, ms(0));
    fill(&mut former, B, 1, ms(0));
    let batch = close(&mut former, ms(0));
    assert_eq!(former.flush(A), [FrameId(101), FrameId(102)]);
    let current: Vec<bool> = batch.frames.iter().map(|chosen| chosen.ticket.epoch_is_current()).collect();
    assert_eq!(current, [false, true], "the other feed does not notice");
    fill(&mut former, A, 1, ms(1));
    let chosen = close(&mut former, ms(51)).frames.remove(0);
    assert_eq!((chosen.seq, chosen.epoch, chosen.ticket.epoch_is_current()), (3, 1, true));
    assert_eq!(ledger(&former, A).dropped(DropReason::Flushed), 2);
}

#[test]
fn a_removed_feed_is_counted_on_until_its_last_frame_and_after() {
    let mut former = former(policy(1, 1), &[A]);
    fill(&mut former, A, 3, ms(0));
    let batch = close(&mut former, ms(0));
    assert_eq!(former.remove_feed(A), [FrameId(101), FrameId(102)]);
    let removed = former.snapshot().removed;
    assert_eq!((removed.in_flight, removed.dropped(DropReason::Removed)), (1, 2));
    batch.frames[0].ticket.deliver();
    drop(batch);
    former.add_feed(A, FeedOptions::default()).unwrap();
    assert!(former.remove_feed(A).is_empty());
    let total = former.snapshot().total();
    assert_eq!((total.received, total.delivered, total.outstanding()), (3, 1, 0));
    assert!(total.is_balanced());
}

#[test]
fn times_at_the_end_of_the_clock_do_not_overflow() {
    let end = Monotonic::from_nanos(u64::MAX);
    let mut former = former(Policy { max_latency: Duration::MAX, ..policy(4, 1) }, &[A, B]);
    fill(&mut former, A, 1, ms(0));
    fill(&mut former, B, 1, ms(0));
    drop(close(&mut former, ms(0)));
    fill(&mut former, A, 1, ms(9));
    assert_waits_until(&mut former, ms(3), end);
    assert_eq!(close(&mut former, end).reason, CloseReason::Deadline);
}

// Tickets.

#[test]
fn the_first_word_on_a_ticket_counts_and_silence_is_abandonment() {
    let options = FeedOptions { max_in_flight: 9, ..FeedOptions::default() };
    let mut former = former_with(policy(4, 4), &[A], &options);
    fill(&mut former, A, 4, ms(0));
    let mut tickets: Vec<Ticket> = close(&mut former, ms(0)).frames.into_iter().map(|c| c.ticket).collect();
    tickets[0].deliver();
    tickets[0].fail(FailReason::Error);
    tickets[1].fail(FailReason::Timeout);
    tickets[1].deliver();
    tickets[2].clone().discard(DropReason::Stale);
    tickets[2].deliver();
    let ledger_before = ledger(&former, A);
    assert_eq!((ledger_before.delivered, ledger_before.in_flight), (1, 1));
    tickets.clear();
    let ledger = ledger(&former, A);
    assert_eq!((ledger.failed(FailReason::Timeout), ledger.failed_total()), (1, 1));
    assert_eq!(ledger.dropped(DropReason::Stale), 1);
    assert_eq!((ledger.dropped(DropReason::Abandoned), ledger.in_flight), (1, 0));
}

#[test]
fn credit_returns_with_the_last_clone_and_wakes_the_caller() {
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    let waker: Waker = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let mut former = Former::new(policy(4, 1), waker).unwrap();
    let options = FeedOptions { max_in_flight: 1, ..FeedOptions::default() };
    former.add_feed(A, options).unwrap();
    fill(&mut former, A, 2, ms(0));
    let ticket = close(&mut former, ms(0)).frames.remove(0).ticket;
    let clone = ticket.clone();
    ticket.deliver();
    drop(ticket);
    assert_idle(&mut former, ms(0));
    assert_eq!(woken.load(Ordering::SeqCst), 0, "settled, and still held");
    drop(clone);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    drop(close(&mut former, ms(0)));
    assert_eq!(woken.load(Ordering::SeqCst), 1, "nothing queued: no reason to poll");
}

#[test]
fn tickets_dropped_by_many_threads_are_all_accounted_for() {
    const FEEDS: u32 = 4;
    const FRAMES: u64 = 500;
    let feeds: Vec<FeedId> = (0..FEEDS).map(FeedId).collect();
    let options = FeedOptions { overload: Overload::DropOldest, max_in_flight: 8, ..FeedOptions::default() };
    let mut former = former_with(policy(4, 1), &feeds, &options);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let (sender, receiver) = std::sync::mpsc::channel::<(u64, Ticket)>();
                scope.spawn(move || {
                    for (key, ticket) in receiver {
                        let clone = (key % 2 == 0).then(|| ticket.clone());
                        match key % 4 {
                            0 => ticket.deliver(),
                            1 => ticket.fail(FailReason::Error),
                            2 => ticket.discard(DropReason::Unlinked),
                            _ => {}
                        }
                        drop((ticket, clone));
                    }
                });
                sender
            })
            .collect();
        for number in 0..FRAMES {
            for &feed in &feeds {
                let _ = former.push(feed, FrameId(number), ms(number)).unwrap();
            }
            while let Poll::Close(batch) = former.poll(ms(number), true) {
                for (chosen, worker) in batch.frames.into_iter().zip(workers.iter().cycle()) {
                    worker.send((chosen.frame.0, chosen.ticket)).unwrap();
                }
            }
            assert!(former.snapshot().feeds.iter().all(|f| f.ledger.is_balanced() && f.holding <= 8));
        }
    });
    // Past every deadline: which feeds were short of credit at the end, and so have more left, is up to the threads.
    while let Poll::Close(batch) = former.poll(ms(2 * FRAMES), true) {
        drop(batch);
    }
    let snapshot = former.snapshot();
    let total = snapshot.total();
    assert_eq!((total.received, total.outstanding()), (u64::from(FEEDS) * FRAMES, 0));
    assert!(total.is_balanced() && snapshot.feeds.iter().all(|feed| feed.holding == 0));
}

#[test]
fn the_former_may_move_between_threads_and_tickets_be_shared() {
    const fn moves<T: Send>() {}
    const fn is_shared<T: Send + Sync>() {}
    moves::<Former>();
    moves::<Batch>();
    is_shared::<Ticket>();
}

// Numbers.

#[test]
fn the_snapshot_counts_batches_sizes_reasons_and_waits() {
    let mut former = former(policy(4, 1), &[A, B]);
    fill(&mut former, A, 1, ms(0));
    fill(&mut former, B, 1, ms(10));
    drop(close(&mut former, ms(10)));
    fill(&mut former, A, 1, ms(20));
    drop(close(&mut former, ms(70)));
    let snapshot = former.snapshot();
    let metrics = &snapshot.metrics;
    assert_eq!((metrics.batches, metrics.frames_to_infer, metrics.min_size, metrics.max_size), (2, 3, 1, 2));
    assert_eq!((metrics.closes(CloseReason::AllReady), metrics.closes(CloseReason::Deadline)), (1, 1));
    assert_eq!(metrics.formation_wait.total, Duration::from_millis(60));
    assert_eq!(metrics.formation_wait.max, Duration::from_millis(50));
    assert_eq!((snapshot.feeds.len(), snapshot.active_feeds()), (2, 1));
    assert_eq!((snapshot.feeds[0].to_infer, snapshot.feeds[0].rode_along), (2, 0));
}

#[test]
fn names_are_the_documented_ones() {
    assert_eq!(CloseReason::ALL.map(CloseReason::as_str), ["full", "all-ready", "deadline", "flush", "eos"]);
    assert_eq!(FailReason::ALL.map(FailReason::as_str), ["error", "timeout", "panic", "invalid"]);
    for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, index);
    }
}

/// Two feeds with one frame each in a batch whose tickets are returned, and one more frame queued in each.
fn two_feeds_in_flight(policy: Policy) -> (Former, Batch) {
    let options = FeedOptions { max_in_flight: 1, ..FeedOptions::default() };
    let mut former = former_with(policy, &[A, B], &options);
    fill(&mut former, A, 2, ms(0));
    fill(&mut former, B, 2, ms(0));
    let batch = close(&mut former, ms(0));
    assert_eq!(batch.size(), 2);
    (former, batch)
}

#[test]
fn a_ready_batch_is_held_for_credit_that_is_about_to_come_back() {
    let grace = Duration::from_millis(2);
    let (mut former, mut batch) = two_feeds_in_flight(Policy { credit_grace: grace, ..policy(2, 1) });
    drop(batch.frames.remove(0));
    assert_waits_until(&mut former, ms(10), ms(12));
    assert_waits_until(&mut former, ms(11), ms(12));
    drop(batch);
    assert_eq!(
        (close(&mut former, ms(11)).size(), former.snapshot().metrics.closes(CloseReason::Full)),
        (2, 2)
    );
}

#[test]
fn credit_that_does_not_come_back_costs_one_grace_and_then_nothing() {
    let grace = Duration::from_millis(2);
    let (mut former, mut batch) = two_feeds_in_flight(Policy { credit_grace: grace, ..policy(2, 1) });
    drop(batch.frames.remove(0));
    assert_waits_until(&mut former, ms(10), ms(12));
    let alone = close(&mut former, ms(12));
    assert_eq!((alone.reason, alone.size()), (CloseReason::AllReady, 1));
    drop(alone);
    fill(&mut former, A, 1, ms(13));
    assert_eq!(close(&mut former, ms(13)).reason, CloseReason::AllReady, "B is given up on");
    drop(batch);
    fill(&mut former, A, 1, ms(14));
    assert_eq!(close(&mut former, ms(14)).size(), 2, "B has credit again");
}

#[test]
fn a_held_batch_closes_at_its_deadline() {
    let policy = Policy { credit_grace: Duration::from_secs(1), ..policy(2, 1) };
    let (mut former, mut batch) = two_feeds_in_flight(policy);
    drop(batch.frames.remove(0));
    assert_waits_until(&mut former, ms(10), ms(50));
    assert_eq!(close(&mut former, ms(50)).size(), 1);
}

#[test]
fn a_batch_that_could_not_run_anyway_is_held_past_its_deadline_for_credit() {
    let (mut former, mut batch) = two_feeds_in_flight(policy(2, 1));
    drop(batch.frames.remove(0));
    former.engine_is_busy_until(ms(75));
    assert_waits_until(&mut former, ms(60), ms(75));
    drop(batch);
    assert_eq!(close(&mut former, ms(61)).size(), 2);
}

#[test]
fn an_engine_that_is_free_again_takes_what_is_there_and_nobody_is_held_for_twice() {
    let (mut former, mut batch) = two_feeds_in_flight(policy(2, 1));
    drop(batch.frames.remove(0));
    former.engine_is_busy_until(ms(75));
    assert_waits_until(&mut former, ms(60), ms(75));
    let alone = close(&mut former, ms(75));
    assert_eq!(alone.size(), 1);
    drop(alone);
    former.engine_is_busy_until(ms(150));
    fill(&mut former, A, 1, ms(76));
    assert_eq!(close(&mut former, ms(76)).size(), 1, "B is given up on");
    drop(batch);
}
