//! Whatever is detected: identities are given once, a track has one detection at most, nothing grows without bound.

use super::super::*;
use super::STEP;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Box, class, confidence and looks of a detection.
type Detected = (Rect, u32, f32, Option<Vec<f32>>);

fn side() -> impl Strategy<Value = f32> {
    let odd = prop_oneof![
        Just(f32::NAN),
        Just(f32::INFINITY),
        Just(f32::NEG_INFINITY),
        Just(f32::MAX),
        Just(-1e30),
        Just(0.0)
    ];
    prop_oneof![30 => -50.0..700.0_f32, 1 => odd, 1 => any::<f32>()]
}

fn confidence() -> impl Strategy<Value = f32> {
    prop_oneof![20 => 0.0..1.0_f32, 1 => Just(f32::NAN), 1 => any::<f32>()]
}

/// A detection as it may come from anywhere, a box that grows from its corner more often than not.
fn observation() -> impl Strategy<Value = Detected> {
    let corners = (side(), side(), side(), side())
        .prop_map(|(x, y, width, height)| Rect::from_corners(x, y, x + width, y + height));
    let wild = (side(), side(), side(), side()).prop_map(|(a, b, c, d)| Rect::from_corners(a, b, c, d));
    let looks = proptest::option::weighted(0.3, proptest::collection::vec(any::<f32>(), 0..4));
    (prop_oneof![4 => corners, 1 => wild], 0..3_u32, confidence(), looks)
}

/// A frame: `None` if nobody looked.
fn frame() -> impl Strategy<Value = Option<Vec<Detected>>> {
    proptest::option::weighted(0.8, proptest::collection::vec(observation(), 0..12))
}

fn params() -> impl Strategy<Value = Params> {
    let algorithm = prop_oneof![Just(Algorithm::Iou), Just(Algorithm::Sort), Just(Algorithm::ByteTrack)];
    let classes = prop_oneof![Just(Classes::Apart), Just(Classes::Together)];
    let ratios = [confidence(), confidence(), confidence(), confidence()];
    (algorithm, classes, ratios, 0..5_u32, 0..4_u32, 0..3_u32, 0..9_u32).prop_map(
        |(algorithm, classes, [iou, high, low, looks], max_age, min_hits, coast_frames, max_tracks)| Params {
            algorithm,
            max_age,
            min_hits,
            coast_frames,
            iou_threshold: iou * 0.5,
            high_threshold: high * 0.7,
            low_threshold: low,
            max_tracks,
            appearance_weight: looks,
            classes,
        },
    )
}

/// All that a tracker says, for frame after frame.
fn run(
    params: Params,
    frames: &[Option<Vec<Detected>>],
    mut check: impl FnMut(&Tracker, &[Option<Mark>]),
) -> String {
    let mut tracker = Tracker::new(params);
    let mut last_id = 0;
    let mut said = String::new();
    for frame in frames {
        let marks = match frame {
            Some(frame) => {
                let seen: Vec<_> = frame
                    .iter()
                    .map(|(box_in_frame, class, confidence, looks)| Observation {
                        box_in_frame: *box_in_frame,
                        class: *class,
                        confidence: *confidence,
                        embedding: looks.as_deref(),
                    })
                    .collect();
                let mut next_id = || {
                    last_id += 1;
                    last_id
                };
                tracker.update(STEP, &seen, &mut next_id).to_vec()
            }
            None => {
                tracker.predict(STEP);
                for predicted in tracker.coasting() {
                    assert!(predicted.box_in_frame.is_finite(), "{predicted:?}");
                }
                Vec::new()
            }
        };
        check(&tracker, &marks);
        said += &format!("{marks:?} {:?}\n", tracker.coasting().collect::<Vec<_>>());
    }
    said
}

proptest! {
    #[test]
    fn whatever_comes_the_rules_hold(
        params in params(),
        frames in proptest::collection::vec(frame(), 1..20),
    ) {
        let mut newest = 0;
        let said = run(params, &frames, |tracker, marks| {
            let ids: Vec<_> = marks.iter().flatten().map(|mark| mark.id).collect();
            let distinct: BTreeSet<_> = ids.iter().collect();
            assert_eq!(distinct.len(), ids.len(), "two detections in one track: {marks:?}");
            for mark in marks.iter().flatten() {
                assert!(mark.id > 0 && mark.speed.is_finite() && (0.0..360.0).contains(&mark.direction));
                assert!(matches!(mark.state, State::Tentative | State::Confirmed), "{mark:?}");
                // A new identity is higher than all before: none is given twice.
                assert!(mark.age > 0 || mark.id > newest || mark.id == newest, "{mark:?}");
            }
            newest = ids.iter().copied().max().unwrap_or(newest).max(newest);
            let counts = tracker.counts();
            assert!(tracker.alive() <= tracker.params().max_tracks as usize);
            assert_eq!(counts.born - counts.ended, tracker.alive() as u64);
        });
        prop_assert_eq!(said, run(params, &frames, |_, _| ()), "the same input gave something else");
    }
}

#[test]
fn thousands_of_boxes_on_one_spot_are_bounded_in_tracks_and_in_work() {
    for algorithm in [Algorithm::Iou, Algorithm::Sort, Algorithm::ByteTrack] {
        let boxes: Vec<_> = (0..4096_u16)
            .map(|at| {
                let (x, y) = (f32::from(at % 64), f32::from(at / 64));
                super::seen(Rect::from_corners(x, y, x + 200.0, y + 200.0), 0.9 - x * 1e-3)
            })
            .collect();
        let mut tracker = Tracker::new(Params { algorithm, ..Params::default() });
        let mut last_id = 0;
        for _ in 0..3 {
            let mut next_id = || {
                last_id += 1;
                last_id
            };
            let marks = tracker.update(STEP, &boxes, &mut next_id);
            assert_eq!(marks.len(), boxes.len());
            assert!(marks.iter().flatten().count() <= 500);
        }
        assert_eq!(tracker.alive(), 500);
        assert!(tracker.counts().rejected > 0);
    }
}
