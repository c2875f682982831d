//! Who is served when there is more than can be: frames at fixed rates against an engine that takes a fixed time for
//! each.

use std::time::Duration;

use super::super::*;
use crate::time::Monotonic;

/// What a feed offered and what of it was inferred, in one window of time.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    offered: u32,
    served: u32,
}

struct Load<'a> {
    /// Milliseconds between the frames of each feed.
    intervals: &'a [u64],
    overload: Overload,
    batch: usize,
    /// The most frames of a feed in a batch.
    frames: usize,
    /// Milliseconds of the engine for each frame.
    per_frame: u64,
}

impl Load<'_> {
    /// The shares of every feed in each of `windows` windows of `window` milliseconds, after one to settle.
    fn run(&self, windows: usize, window: u64) -> Vec<Vec<Share>> {
        let policy =
            Policy { max_batch_size: self.batch, max_frames_per_feed: self.frames, ..Policy::default() };
        let mut former = Former::new(policy, std::sync::Arc::new(|| ())).unwrap();
        let in_flight = if self.overload == Overload::PassThrough { 16 } else { 2 };
        let options =
            FeedOptions { overload: self.overload, max_in_flight: in_flight, ..FeedOptions::default() };
        for feed in 0..self.intervals.len() {
            former.add_feed(FeedId(feed as u32), options.clone()).unwrap();
        }
        let mut shares = vec![vec![Share::default(); self.intervals.len()]; windows + 1];
        let (mut running, mut free_at): (Option<Batch>, u64) = (None, 0);
        for millis in 0..window * (windows as u64 + 1) {
            let now = Monotonic::from_nanos((1 + millis) * 1_000_000);
            let shares = &mut shares[usize::try_from(millis / window).unwrap()];
            for (feed, interval) in self.intervals.iter().enumerate() {
                if (millis + 7 * feed as u64).is_multiple_of(*interval) {
                    shares[feed].offered += 1;
                    assert!(former.push(FeedId(feed as u32), FrameId(millis), now).is_ok());
                }
            }
            if millis < free_at {
                continue;
            }
            running.take().iter().flat_map(|batch| &batch.frames).for_each(|chosen| chosen.ticket.deliver());
            if let Poll::Close(batch) = former.poll(now, true) {
                for chosen in batch.frames.iter().filter(|chosen| chosen.infer) {
                    shares[chosen.feed.0 as usize].served += 1;
                }
                free_at = millis + self.per_frame * batch.size() as u64;
                running = Some(batch);
            }
        }
        shares.split_off(1)
    }
}

/// Jain's index of the served parts: 1 if all are equal, 1/n if one has everything.
fn jain(shares: &[Share]) -> f64 {
    let parts = shares.iter().map(|share| f64::from(share.served) / f64::from(share.offered));
    let (sum, squares) = parts.fold((0.0, 0.0), |(sum, squares), part| (sum + part, squares + part * part));
    sum * sum / (shares.len() as f64 * squares)
}

/// Cameras of 5, 15 and 30 frames a second.
const MIXED: [u64; 3] = [200, 66, 33];

#[test]
fn feeds_of_mixed_rates_lose_the_same_part_at_twice_the_load() {
    for overload in [Overload::DropOldest, Overload::DropNewest] {
        for (batch, frames) in [(1, 1), (2, 1), (2, 2), (3, 1), (4, 1), (4, 4), (8, 1), (6, 4)] {
            let load = Load { intervals: &MIXED, overload, batch, frames, per_frame: 40 };
            for shares in load.run(20, 2000) {
                assert!(jain(&shares) >= 0.95, "{overload:?}, {batch}, {frames}: {shares:?}");
                assert!(
                    shares.iter().all(|share| share.served >= 2),
                    "{overload:?}, {batch}, {frames}: {shares:?}"
                );
            }
        }
    }
}

#[test]
fn pass_through_infers_the_same_part_of_every_feed() {
    let load =
        Load { intervals: &MIXED, overload: Overload::PassThrough, batch: 2, frames: 2, per_frame: 40 };
    for shares in load.run(10, 3000) {
        assert!(jain(&shares) >= 0.95, "{shares:?}");
    }
}

#[test]
fn with_room_for_all_every_frame_is_served() {
    let load = Load { intervals: &MIXED, overload: Overload::DropOldest, batch: 4, frames: 1, per_frame: 10 };
    for shares in load.run(5, 3000) {
        assert!(shares.iter().all(|share| share.served + 1 >= share.offered), "{shares:?}");
    }
}

#[test]
fn many_feeds_of_two_rates_share_a_small_engine_alike() {
    let intervals: Vec<u64> = (0..24).map(|feed| if feed % 3 == 0 { 250 } else { 40 }).collect();
    let load =
        Load { intervals: &intervals, overload: Overload::DropOldest, batch: 8, frames: 1, per_frame: 6 };
    for shares in load.run(5, 5000) {
        assert!(jain(&shares) >= 0.95, "{shares:?}");
    }
}

/// The slowest feed that counts against the fastest ones: a turn of it is worth 32 of theirs.
#[test]
fn a_slow_feed_is_not_passed_over_for_ever() {
    let mut intervals = vec![5; 4];
    intervals.push(2000);
    let load =
        Load { intervals: &intervals, overload: Overload::DropOldest, batch: 2, frames: 1, per_frame: 10 };
    for shares in load.run(5, 20_000) {
        let slow = shares.last().unwrap();
        assert!(slow.served + 1 >= slow.offered, "its turns are worth no more than 320 ms: {shares:?}");
    }
}

#[test]
fn a_feed_that_comes_back_has_saved_no_turns() {
    let policy = Policy { max_batch_size: 1, ..Policy::default() };
    let mut former = Former::new(policy, std::sync::Arc::new(|| ())).unwrap();
    let options = FeedOptions { max_in_flight: 100, ..FeedOptions::default() };
    let (away, there) = (FeedId(1), FeedId(2));
    [away, there].into_iter().for_each(|feed| former.add_feed(feed, options.clone()).unwrap());
    let now = Monotonic::ZERO.saturating_add(Duration::from_secs(1));
    let mut served = Vec::new();
    for round in 0..30 {
        for feed in [away, there].into_iter().filter(|feed| *feed == there || round >= 20) {
            assert!(former.push(feed, FrameId(round), now).is_ok());
        }
        let Poll::Close(batch) = former.poll(now, true) else { panic!("one is ready") };
        served.extend(batch.frames.iter().map(|chosen| chosen.feed));
    }
    let since = &served[20..];
    assert_eq!(since.iter().filter(|feed| **feed == away).count(), 5, "in turn: {since:?}");
}
