use super::*;
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const LIVE: Pace = Pace::Live { latency: 200 * MS };

/// A frame at `millis` that lasts 40 ms.
fn at(millis: u64) -> Stamp {
    Stamp { inner: Some(millis * MS), duration: Some(40 * MS) }
}

/// A frame without a PTS.
const UNTIMED: Stamp = Stamp { inner: None, duration: None };

fn live() -> Retimer {
    let mut retimer = Retimer::default();
    retimer.session(LIVE);
    retimer
}

/// Places the frame of `millis` when it is `now`, both in ms.
fn place(retimer: &mut Retimer, millis: u64, now: u64) -> Placed {
    retimer.place(at(millis), None, Some(now * MS))
}

fn untouched(millis: u64) -> Placed {
    Placed { time: millis * MS, offset: 0, moved: false, stamp: None, discont: false }
}

/// A frame whose offset has changed by this frame.
fn moved(millis: u64, offset: i64, discont: bool) -> Placed {
    Placed { time: millis * MS, offset: offset * signed(MS), moved: true, stamp: None, discont }
}

#[test]
fn a_live_source_that_tells_the_truth_is_not_touched() {
    let mut retimer = live();
    for number in 0..1000 {
        let jitter = (number * 7) % 11;
        assert_eq!(place(&mut retimer, number * 40, number * 40 + 150 + jitter), untouched(number * 40));
    }
}

#[test]
fn a_live_source_that_comes_back_with_the_truth_is_not_touched_but_for_the_mark_of_the_gap() {
    let mut retimer = live();
    place(&mut retimer, 0, 100);
    retimer.session(LIVE);
    let first = place(&mut retimer, 30_000, 30_100);
    assert_eq!(first, Placed { discont: true, ..untouched(30_000) });
    assert_eq!(place(&mut retimer, 30_040, 30_140), untouched(30_040));
}

#[test]
fn a_live_source_with_a_time_of_its_own_is_placed_at_now() {
    for (inner, now) in [(0, 60_000), (900_000, 60_000), (54_799, 60_000), (65_001, 60_000)] {
        let mut retimer = live();
        let offset = signed(now) - signed(inner);
        assert_eq!(place(&mut retimer, inner, now), moved(now, offset, false), "{inner}");
        let next = place(&mut retimer, inner + 40, now + 40);
        assert_eq!(next, Placed { moved: false, ..moved(now + 40, offset, false) });
    }
    for inner in [54_800, 65_000] {
        assert_eq!(place(&mut live(), inner, 60_000), untouched(inner), "5 s and the latency are allowed");
    }
}

#[test]
fn a_live_source_that_would_go_behind_what_was_sent_follows_it() {
    let mut retimer = live();
    place(&mut retimer, 10_000, 10_000);
    retimer.session(LIVE);
    assert_eq!(place(&mut retimer, 9_990, 10_010), moved(10_040, 50, true));
    retimer.session(LIVE);
    let honest_again = place(&mut retimer, 11_000, 11_010);
    assert_eq!(honest_again, moved(11_000, 0, true), "the offset is of one session only");
}

#[test]
fn a_live_source_that_jumps_ahead_or_back_is_placed_at_now_and_marked() {
    let mut retimer = live();
    place(&mut retimer, 1000, 1000);
    assert_eq!(place(&mut retimer, 500_000, 1040), moved(1040, -498_960, true));
    assert_eq!(place(&mut retimer, 500_040, 1080).time, 1080 * MS);
    assert_eq!(place(&mut retimer, 499_000, 1120), moved(1120, -497_880, true));
}

#[test]
fn a_live_source_that_falls_behind_is_late_and_not_brought_forward() {
    let mut retimer = live();
    place(&mut retimer, 1000, 1000);
    for number in 0..199 {
        let inner = 1040 + number * 40;
        assert_eq!(
            place(&mut retimer, inner, 9000),
            untouched(inner),
            "what a network held back comes at once"
        );
    }
}

#[test]
fn a_live_source_faster_than_the_clock_does_not_run_away_from_it() {
    let mut retimer = live();
    let mut last = None;
    for number in 0..10_000 {
        let placed = place(&mut retimer, number * 40, 100 + number);
        assert!(Some(placed.time) > last && placed.time <= (100 + number + 5_080) * MS, "{placed:?}");
        last = Some(placed.time);
    }
}

#[test]
fn a_live_source_is_compared_with_now_as_soon_as_there_is_one() {
    let mut retimer = live();
    assert_eq!(retimer.place(at(70), None, None), untouched(70));
    assert_eq!(place(&mut retimer, 110, 60_000), moved(60_000, 59_890, true));
    let mut hostile = live();
    assert_eq!(hostile.place(at(1 << 40), None, None).time, 0, "nothing says that it is true");
}

#[test]
fn a_file_begins_at_nought_or_at_now_whatever_its_first_time_is() {
    let mut retimer = Retimer::default();
    assert_eq!(retimer.place(at(0), None, None), untouched(0));
    assert_eq!(Retimer::default().place(at(120), None, None), moved(0, -120, false));
    assert_eq!(place(&mut Retimer::default(), 120, 5000), moved(5000, 4880, false));
}

#[test]
fn a_file_is_not_held_against_the_clock() {
    let mut retimer = Retimer::default();
    retimer.place(at(0), None, None);
    for number in 1..1000 {
        assert_eq!(place(&mut retimer, number * 40, 0), untouched(number * 40));
    }
    assert_eq!(place(&mut retimer, 40_000, 500_000), untouched(40_000));
}

#[test]
fn a_file_after_a_gap_begins_at_now_or_behind_its_last_frame() {
    for (now, expected) in [(30_000, 30_000), (0, 80)] {
        let mut retimer = Retimer::default();
        retimer.place(at(0), None, None);
        retimer.place(at(40), None, None);
        retimer.session(Pace::Free);
        assert_eq!(place(&mut retimer, 0, now), moved(expected, signed(expected), true));
        assert!(!place(&mut retimer, 40, now).moved);
    }
}

#[test]
fn a_loop_goes_on_where_the_pass_before_ended() {
    let mut retimer = Retimer::default();
    for pass in 0..3 {
        for number in 0..10 {
            let expected = (pass * 10 + number) * 40;
            let placed = place(&mut retimer, 500 + number * 40, 0);
            assert_eq!((placed.time, placed.stamp, placed.discont), (expected * MS, None, false));
            assert_eq!(placed.moved, number == 0);
        }
        retimer.looped();
    }
}

#[test]
fn the_end_of_the_last_frame_is_known_by_its_duration_or_the_frame_rate_or_the_last_interval() {
    let end = |duration, period, frames: &[u64]| {
        let mut retimer = Retimer::default();
        for millis in frames {
            retimer.place(Stamp { inner: Some(millis * MS), duration }, period, None);
        }
        retimer.looped();
        retimer.place(at(0), None, None).time / MS
    };
    assert_eq!(end(Some(10 * MS), Some(20 * MS), &[0, 30]), 40);
    assert_eq!(end(None, Some(20 * MS), &[0, 30]), 50);
    assert_eq!(end(Some(0), Some(0), &[0, 30]), 60);
    assert_eq!(end(None, None, &[0]), 40);
    assert_eq!(end(Some(u64::MAX), Some(u64::MAX), &[0, 30]), 60, "what cannot be is not believed");
}

#[test]
fn a_file_keeps_a_hole_of_an_hour_and_no_more() {
    let mut retimer = Retimer::default();
    retimer.place(at(0), None, None);
    assert_eq!(retimer.place(at(3_600_040), None, None), untouched(3_600_040));
    assert_eq!(retimer.place(at(7_200_081), None, None), moved(3_600_080, -3_600_001, true));
}

#[test]
fn a_frame_out_of_order_is_sent_just_after_the_one_before_and_nothing_drifts() {
    for mut retimer in [Retimer::default(), live()] {
        place(&mut retimer, 0, 0);
        for number in (80..80_000_u64).step_by(80) {
            assert_eq!(place(&mut retimer, number, number), untouched(number));
            let late = place(&mut retimer, number - 40, number);
            let stamp = number * MS + 1;
            assert_eq!(late, Placed { time: stamp, stamp: Some(stamp), ..untouched(0) });
        }
        retimer.looped();
        let follows = place(&mut retimer, 0, 0).time;
        assert_eq!(follows, 79_960 * MS, "the frame out of order is not the last one");
    }
}

#[test]
fn a_time_that_begins_anew_within_a_session_follows_and_is_marked() {
    let mut retimer = Retimer::default();
    place(&mut retimer, 0, 0);
    place(&mut retimer, 2000, 0);
    assert_eq!(place(&mut retimer, 1000, 0), moved(2040, 1040, true));
    assert!(!place(&mut retimer, 1040, 0).discont);
}

#[test]
fn frames_without_a_time_follow_one_another() {
    let mut retimer = Retimer::default();
    for number in 0..100 {
        let placed = retimer.place(UNTIMED, Some(20 * MS), Some(1000 * MS));
        assert_eq!((placed.time, placed.stamp), ((1000 + number * 20) * MS, Some(placed.time)));
        assert_eq!(placed.moved, number == 0);
    }
    let timed = retimer.place(at(2000), None, Some(0));
    assert_eq!((timed.time, timed.stamp, timed.discont), (3000 * MS, None, false));
}

#[test]
fn one_frame_without_a_time_takes_the_place_where_it_was_expected() {
    for mut retimer in [Retimer::default(), live()] {
        place(&mut retimer, 0, 0);
        let untimed = retimer.place(UNTIMED, None, Some(100 * MS));
        assert_eq!((untimed.time, untimed.stamp), (40 * MS, Some(40 * MS)));
        assert_eq!(place(&mut retimer, 80, 100), untouched(80));
    }
}

#[test]
fn live_frames_that_never_have_a_time_come_when_they_are_taken() {
    let mut retimer = live();
    for number in 0..10_000 {
        let now = (500 + number * 100) * MS;
        let placed = retimer.place(UNTIMED, Some(40 * MS), Some(now));
        assert_eq!((placed.time, placed.moved, placed.discont), (now, false, false));
    }
}

#[test]
fn times_that_stand_still_do_not_stop_the_feed() {
    let mut retimer = Retimer::default();
    let last = (0..1000).map(|_| place(&mut retimer, 7, 0)).last();
    assert!(last.is_some_and(|last| last.time > 30_000 * MS), "{last:?}");
}

#[test]
fn a_session_that_gave_no_frame_leaves_no_trace() {
    let mut retimer = Retimer::default();
    for _ in 0..3 {
        retimer.session(LIVE);
        retimer.looped();
    }
    assert_eq!(place(&mut retimer, 10, 10), untouched(10), "the first frame ends no gap");
    retimer.looped();
    retimer.session(LIVE);
    retimer.looped();
    assert!(place(&mut retimer, 60, 60).discont, "a loop within a gap is a gap");
}

#[test]
fn the_end_of_time_is_reached_and_stays() {
    let mut retimer = Retimer::default();
    let end = Some(u64::MAX);
    assert_eq!(retimer.place(at(0), None, end).time, LATEST);
    for inner in [None, Some(0), Some(1), end, Some(LATEST)] {
        assert_eq!(retimer.place(Stamp { inner, duration: end }, end, end).time, LATEST, "{inner:?}");
        retimer.looped();
    }
    retimer.session(LIVE);
    assert_eq!(retimer.place(at(5), None, Some(0)).time, LATEST);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Session(Pace),
    Looped,
    Frame(Stamp, Option<u64>, Option<u64>),
}

/// Any time, those at which rules change more often than chance would have it.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..10 * SECOND,
        2 => 0..8_000 * SECOND,
        1 => any::<u64>(),
        1 => prop_oneof![Just(0), Just(LATEST), Just(LATEST + 1), Just(u64::MAX)],
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let time = || proptest::option::weighted(0.8, any_time());
    let frame = (time(), time(), time(), time());
    let frame =
        frame.prop_map(|(inner, duration, period, now)| Step::Frame(Stamp { inner, duration }, period, now));
    let pace = prop_oneof![Just(Pace::Free), any_time().prop_map(|latency| Pace::Live { latency })];
    prop_oneof![1 => pace.prop_map(Step::Session), 1 => Just(Step::Looped), 12 => frame]
}

proptest! {
    #[test]
    fn time_never_runs_back_and_what_is_said_of_it_agrees(
        steps in proptest::collection::vec(any_step(), 0..120),
    ) {
        let mut retimer = Retimer::default();
        let (mut last, mut offset) = (None, 0);
        for step in steps {
            match step {
                Step::Session(pace) => retimer.session(pace),
                Step::Looped => retimer.looped(),
                Step::Frame(frame, period, now) => {
                    let placed = retimer.place(frame, period, now);
                    prop_assert!(last.is_none_or(|last| placed.time > last || last == LATEST), "{placed:?}");
                    prop_assert!(placed.time <= LATEST);
                    prop_assert_eq!(placed.moved, placed.offset != offset);
                    let own = frame.inner.map(|inner| i128::from(inner) + i128::from(placed.offset));
                    match placed.stamp {
                        Some(stamp) => {
                            prop_assert_eq!(stamp, placed.time);
                            prop_assert!(signed(stamp) >= placed.offset, "{placed:?}");
                        }
                        None => prop_assert_eq!(own, Some(i128::from(placed.time))),
                    }
                    (last, offset) = (Some(placed.time), placed.offset);
                }
            }
        }
    }

    #[test]
    fn a_live_source_with_jitter_and_outages_is_not_touched(
        steps in proptest::collection::vec((1..200_u64, 0..5_000_u64, proptest::bool::weighted(0.1)), 1..200),
    ) {
        let mut retimer = live();
        let mut time = 0;
        for (number, (step, late, reconnects)) in steps.into_iter().enumerate() {
            time += step;
            if reconnects {
                retimer.session(LIVE);
                time += 10_000;
            }
            let placed = place(&mut retimer, time, time + late);
            prop_assert_eq!(placed, Placed { discont: reconnects && number > 0, ..untouched(time) });
        }
    }

    #[test]
    fn passes_of_an_honest_file_leave_no_hole_and_no_overlap(
        (rate, over) in (1..240_u64, prop_oneof![Just(1), Just(1001_u64)]),
        (frames, passes) in (1..60_u64, 1..40_u64),
        (begin, now) in (0..100 * SECOND, proptest::option::of(0..100 * SECOND)),
        says_duration in any::<bool>(),
    ) {
        let unit = if over == 1 { SECOND } else { SECOND / 1000 };
        let pts = |number: u64| number * unit * over / rate;
        let mut retimer = Retimer::default();
        let start = now.unwrap_or(0);
        for pass in 0..passes {
            for number in 0..frames {
                let duration = says_duration.then_some(pts(number + 1) - pts(number));
                let frame = Stamp { inner: Some(begin + pts(number)), duration };
                let placed = retimer.place(frame, Some(pts(1)), now);
                let expected = start + pass * pts(frames) + pts(number);
                let rounding = if says_duration { 0 } else { pass };
                prop_assert!(placed.time.abs_diff(expected) <= rounding, "{placed:?}, not at {expected}");
                prop_assert!(!placed.discont && placed.stamp.is_none());
            }
            retimer.looped();
        }
    }
}
