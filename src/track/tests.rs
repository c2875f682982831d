use super::*;

mod props;

pub(super) const STEP: Step = Step { frames: 1, elapsed: Duration::from_millis(100) };

pub(super) fn seen(box_in_frame: Rect, confidence: f32) -> Observation<'static> {
    Observation { box_in_frame, class: 0, confidence, embedding: None }
}

/// A person of 40 by 100 pixels, by the centre.
fn person(x: f32) -> Observation<'static> {
    seen(Rect::from_center(x, 200.0, 40.0, 100.0), 0.9)
}

/// A tracker and identities from 1.
struct Bench {
    tracker: Tracker,
    last_id: i64,
}

impl Bench {
    fn new(params: Params) -> Self {
        Self { tracker: Tracker::new(params), last_id: 0 }
    }

    fn update(&mut self, seen: &[Observation<'_>]) -> Vec<Option<Mark>> {
        let Self { tracker, last_id } = self;
        let mut next_id = || {
            *last_id += 1;
            *last_id
        };
        tracker.update(STEP, seen, &mut next_id).to_vec()
    }

    /// Identities of the detections; 0 for none.
    fn ids(&mut self, seen: &[Observation<'_>]) -> Vec<i64> {
        self.update(seen).iter().map(|mark| mark.map_or(0, |mark| mark.id)).collect()
    }

    fn states(&mut self, seen: &[Observation<'_>]) -> Vec<State> {
        self.update(seen).iter().map(|mark| mark.expect("a track").state).collect()
    }
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Iou, Algorithm::Sort, Algorithm::ByteTrack];

fn with(algorithm: Algorithm) -> Params {
    Params { algorithm, ..Params::default() }
}

#[test]
fn two_that_walk_past_each_other_keep_their_identities() {
    for algorithm in [Algorithm::Sort, Algorithm::ByteTrack] {
        let mut bench = Bench::new(with(algorithm));
        let at = |frame: f32| [person(100.0 + 6.0 * frame), person(340.0 - 6.0 * frame)];
        for frame in 0..40 {
            assert_eq!(bench.ids(&at(frame as f32)), [1, 2], "{algorithm:?}, frame {frame}");
        }
    }
}

#[test]
fn a_track_is_tentative_until_it_has_been_seen_often_enough() {
    for algorithm in ALGORITHMS {
        let mut bench = Bench::new(with(algorithm));
        let states: Vec<_> = (0..4).flat_map(|_| bench.states(&[person(100.0)])).collect();
        let expected = [State::Tentative, State::Tentative, State::Confirmed, State::Confirmed];
        assert_eq!(states, expected, "{algorithm:?}");
        let mut bench = Bench::new(Params { min_hits: 1, ..with(algorithm) });
        assert_eq!(bench.states(&[person(100.0)]), [State::Confirmed]);
    }
}

#[test]
fn a_tentative_track_that_is_missed_is_over_and_its_identity_never_comes_back() {
    for algorithm in ALGORITHMS {
        let mut bench = Bench::new(with(algorithm));
        assert_eq!(bench.ids(&[person(100.0)]), [1]);
        assert!(bench.update(&[]).is_empty());
        assert_eq!(bench.tracker.alive(), 0);
        assert_eq!(bench.ids(&[person(100.0)]), [2]);
    }
}

#[test]
fn a_confirmed_track_coasts_is_lost_comes_back_and_ends_after_max_age() {
    for algorithm in ALGORITHMS {
        let mut bench = Bench::new(Params { max_age: 10, ..with(algorithm) });
        (0..5).for_each(|_| assert_eq!(bench.ids(&[person(100.0)]), [1]));
        let mut states = Vec::new();
        for _ in 0..6 {
            bench.update(&[]);
            states.push([State::Coasted, State::Lost].map(|state| bench.tracker.count(state)));
        }
        assert_eq!(states, [[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], "{algorithm:?}");
        let back = bench.update(&[person(100.0)])[0].expect("it comes back");
        assert_eq!((back.id, back.state, back.age), (1, State::Confirmed, 11));
        (0..10).for_each(|_| drop(bench.update(&[])));
        assert_eq!(bench.tracker.alive(), 1);
        bench.update(&[]);
        assert_eq!(bench.tracker.alive(), 0);
        assert_eq!(bench.tracker.counts().ended, 1);
    }
}

#[test]
fn frames_that_nobody_looked_at_move_the_box_and_lose_nothing() {
    let mut bench = Bench::new(with(Algorithm::ByteTrack));
    let at = |frame: usize| person(100.0 + 5.0 * frame as f32);
    for frame in (0..60).step_by(3) {
        assert_eq!(bench.ids(&[at(frame)]), [1]);
        for skipped in 1..3 {
            bench.tracker.predict(STEP);
            let coasting: Vec<_> = bench.tracker.coasting().collect();
            if frame < 6 {
                assert_eq!(coasting, [], "a tentative track is not shown where nobody saw it");
                continue;
            }
            let [one] = coasting.as_slice() else { panic!("{coasting:?}") };
            assert_eq!((one.mark.id, one.mark.state), (1, State::Coasted));
            let overlap = one.box_in_frame.iou(&at(frame + skipped).box_in_frame);
            assert!(overlap > 0.6, "frame {frame} + {skipped}: {overlap}");
        }
    }
}

#[test]
fn what_was_missing_for_longer_than_asked_for_is_not_shown_any_more() {
    for coast_frames in 0..5 {
        let mut bench = Bench::new(Params { coast_frames, ..with(Algorithm::Sort) });
        (0..5).for_each(|_| drop(bench.update(&[person(100.0)])));
        assert_eq!(bench.tracker.coasting().count(), 0, "it is there");
        for missed in 1..7 {
            bench.update(&[]);
            let shown: Vec<_> = bench.tracker.coasting().collect();
            assert_eq!(shown.len(), usize::from(missed <= coast_frames), "{missed} of {coast_frames}");
            assert!(shown.iter().all(|one| (one.mark.id, one.mark.state) == (1, State::Coasted)));
            bench.tracker.predict(STEP);
            assert_eq!(bench.tracker.coasting().count(), shown.len(), "nobody looked: it is where it was");
        }
        assert_eq!(bench.ids(&[person(100.0)]), [1]);
    }
}

#[test]
fn a_detection_of_low_confidence_goes_on_with_a_track_and_begins_none() {
    let low = |x| Observation { confidence: 0.35, ..person(x) };
    let mut bench = Bench::new(with(Algorithm::ByteTrack));
    (0..5).for_each(|_| drop(bench.update(&[person(100.0)])));
    assert_eq!(bench.ids(&[low(101.0), low(300.0)]), [1, 0]);
    let too_low = Observation { confidence: 0.25, ..person(100.0) };
    assert_eq!(bench.ids(&[too_low]), [0]);
    let mut sort = Bench::new(with(Algorithm::Sort));
    (0..5).for_each(|_| drop(sort.update(&[person(100.0)])));
    assert_eq!(sort.ids(&[low(100.0)]), [0]);
}

#[test]
fn classes_are_kept_apart_unless_they_are_not_to_be() {
    let car = |x| Observation { class: 2, ..person(x) };
    for algorithm in ALGORITHMS {
        let mut apart = Bench::new(with(algorithm));
        (0..5).for_each(|_| drop(apart.update(&[person(100.0)])));
        assert_eq!(apart.ids(&[car(100.0)]), [2]);
        let mut together = Bench::new(Params { classes: Classes::Together, ..with(algorithm) });
        (0..5).for_each(|_| drop(together.update(&[person(100.0)])));
        assert_eq!(together.ids(&[car(100.0)]), [1]);
    }
}

#[test]
fn appearance_tells_apart_what_overlap_confuses() {
    let looks = [[1.0, 0.0, 0.2], [0.0, 1.0, 0.2]];
    let at = |x: f32, of: usize| Observation { embedding: Some(&looks[of]), ..person(x) };
    // They change places between two frames, as after a gap behind a pillar.
    let swap = |params: Params| {
        let mut bench = Bench::new(params);
        (0..5).for_each(|_| assert_eq!(bench.ids(&[at(100.0, 0), at(116.0, 1)]), [1, 2]));
        bench.ids(&[at(100.0, 1), at(116.0, 0)])
    };
    assert_eq!(swap(Params { appearance_weight: 0.0, ..with(Algorithm::ByteTrack) }), [1, 2]);
    assert_eq!(swap(with(Algorithm::ByteTrack)), [2, 1]);
}

#[test]
fn looks_that_are_none_change_nothing() {
    let empty: [f32; 0] = [];
    let long = vec![1.0; MOST_DIMENSIONS + 1];
    for bad in [&empty[..], &[0.0; 4], &[f32::NAN; 4], &[f32::INFINITY; 4], &long] {
        let mut bench = Bench::new(with(Algorithm::ByteTrack));
        for frame in 0..5 {
            let one = Observation { embedding: Some(bad), ..person(100.0) };
            assert_eq!(bench.ids(&[one]), [1], "{} numbers, frame {frame}", bad.len());
        }
        assert_eq!(bench.ids(&[Observation { embedding: Some(&[1.0, 2.0]), ..person(100.0) }]), [1]);
        assert_eq!(bench.ids(&[Observation { embedding: Some(&[1.0; 4]), ..person(100.0) }]), [1]);
    }
}

#[test]
fn room_is_made_by_the_oldest_that_is_lost_then_coasted_then_tentative() {
    let mut bench = Bench::new(Params { max_tracks: 3, ..with(Algorithm::Sort) });
    // 1 is lost, 2 coasts, 3 is confirmed.
    (0..3).for_each(|_| drop(bench.ids(&[person(100.0), person(300.0), person(500.0)])));
    (0..3).for_each(|_| drop(bench.ids(&[person(300.0), person(500.0)])));
    assert_eq!(bench.ids(&[person(500.0)]), [3]);
    assert_eq!(bench.ids(&[person(500.0), person(700.0)]), [3, 4], "in the place of 1");
    assert_eq!(bench.ids(&[person(500.0), person(700.0), person(900.0)]), [3, 4, 5], "in the place of 2");
    assert_eq!(
        bench.ids(&[person(500.0), person(700.0), person(900.0), person(1100.0)]),
        [3, 4, 0, 6],
        "4 is confirmed by now: in the place of 5"
    );
    let counts = bench.tracker.counts();
    assert_eq!((counts.born, counts.evicted, counts.rejected, counts.ended), (6, 3, 0, 3));
}

#[test]
fn confirmed_tracks_stay_and_what_finds_no_room_is_counted() {
    let mut bench = Bench::new(Params { max_tracks: 2, ..with(Algorithm::Sort) });
    (0..3).for_each(|_| drop(bench.ids(&[person(100.0), person(300.0)])));
    assert_eq!(bench.ids(&[person(100.0), person(300.0), person(500.0), person(700.0)]), [1, 2, 0, 0]);
    assert_eq!(bench.tracker.counts().rejected, 2);
    assert_eq!(bench.tracker.alive(), 2);
}

#[test]
fn the_most_confident_get_the_room() {
    let mut bench = Bench::new(Params { max_tracks: 1, ..with(Algorithm::Sort) });
    let unsure = Observation { confidence: 0.6, ..person(100.0) };
    assert_eq!(bench.ids(&[unsure, person(300.0)]), [0, 1]);
}

#[test]
fn after_a_reset_nothing_is_as_it_was_but_the_counts() {
    let mut bench = Bench::new(Params::default());
    (0..5).for_each(|_| drop(bench.ids(&[person(100.0)])));
    bench.tracker.reset();
    assert_eq!(bench.tracker.alive(), 0);
    assert_eq!(bench.ids(&[person(100.0)]), [2]);
    let counts = bench.tracker.counts();
    assert_eq!((counts.born, counts.ended, counts.frames), (2, 1, 6));
}

#[test]
fn what_nobody_has_seen_for_half_a_minute_is_over_however_few_frames_that_were() {
    let mut bench = Bench::new(Params { max_age: 1_000_000, ..Params::default() });
    (0..5).for_each(|_| drop(bench.ids(&[person(100.0)])));
    bench.tracker.predict(Step { frames: 1, elapsed: LONGEST_UNSEEN });
    assert_eq!(bench.tracker.alive(), 1);
    bench.tracker.predict(STEP);
    assert_eq!(bench.tracker.alive(), 0);
}

#[test]
fn missing_frames_are_caught_up_with() {
    let mut bench = Bench::new(Params::default());
    let at = |frame: u32| person(100.0 + 8.0 * frame as f32);
    (0..10).for_each(|frame| assert_eq!(bench.ids(&[at(frame)]), [1]));
    let Bench { tracker, .. } = &mut bench;
    let step = Step { frames: 6, elapsed: 6 * STEP.elapsed };
    let mark = tracker.update(step, &[at(15)], &mut || 2)[0].expect("a track");
    assert_eq!((mark.id, mark.age), (1, 15));
    assert!((mark.speed - 80.0).abs() < 1.0 && mark.direction == 0.0 && !mark.stationary, "{mark:?}");
}

#[test]
fn parameters_out_of_range_are_brought_into_it() {
    let wild = Params {
        iou_threshold: f32::NAN,
        high_threshold: -3.0,
        low_threshold: f32::INFINITY,
        max_tracks: 0,
        appearance_weight: 7.0,
        ..Params::default()
    };
    let found = *Tracker::new(wild).params();
    let expected = Params {
        high_threshold: 0.0,
        low_threshold: 0.0,
        max_tracks: 1,
        appearance_weight: 1.0,
        ..Params::default()
    };
    assert_eq!(found, expected);
}
