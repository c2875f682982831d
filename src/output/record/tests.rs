use super::*;

const FRAME: Size = Size::new(640, 480);

fn record(facts: FrameFacts) -> Record {
    Record::new(facts, FrameTime::default(), FRAME, Vec::new())
}

fn results(facts: FrameFacts) -> Vec<StageResult> {
    record(facts).provenance.stages.iter().map(|stage| stage.result).collect()
}

#[test]
fn a_box_is_clamped_into_its_frame_and_rounded() {
    let found = DetectionRecord::new("person", FRAME, [-3.0, 10.123_456, 700.0, 240.0]).unwrap();
    assert_eq!(found.box_in_frame, PixelBox { x: 0.0, y: 10.123, width: 640.0, height: 229.877 });
    let expected = NormalizedBox { x_min: 0.0, y_min: 0.021_091, x_max: 1.0, y_max: 0.5 };
    assert_eq!(found.box_normalized, expected);
}

#[test]
fn a_box_turned_inside_out_is_empty_not_negative() {
    let found = DetectionRecord::new("person", FRAME, [50.0, 60.0, 10.0, 20.0]).unwrap();
    assert_eq!(found.box_in_frame, PixelBox { x: 50.0, y: 60.0, width: 0.0, height: 0.0 });
}

#[test]
fn a_frame_of_unknown_size_has_no_normalised_box() {
    let found = DetectionRecord::new("person", Size::new(0, 0), [1.0, 2.0, 4.0, 8.0]).unwrap();
    assert_eq!(found.box_in_frame, PixelBox { x: 1.0, y: 2.0, width: 3.0, height: 6.0 });
    assert_eq!(found.box_normalized, NormalizedBox::default());
    let huge = DetectionRecord::new("", Size::new(0, 0), [f64::MIN, f64::MIN, f64::MAX, f64::MAX]).unwrap();
    assert!(huge.box_in_frame.width.is_finite());
}

#[test]
fn numbers_that_are_not_finite_make_no_detection() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(DetectionRecord::new("x", FRAME, [bad, 0.0, 1.0, 1.0]), None);
        let found = DetectionRecord::new("x", FRAME, [0.0, 0.0, 1.0, 1.0]).unwrap();
        assert_eq!(found.with_landmarks([[1.0, bad]]), None);
    }
    let found = DetectionRecord::new("x", FRAME, [0.0, 0.0, 1.0, 1.0]).unwrap();
    assert_eq!(found.clone().with_class(None, Some(f64::NAN)), None);
    assert_eq!(found.with_class(Some(3), Some(f64::INFINITY)).unwrap().confidence, Some(1.0));
}

#[test]
fn of_a_track_only_finite_numbers_are_kept_and_rounded() {
    let found = DetectionRecord::new("x", FRAME, [0.0, 0.0, 1.0, 1.0]).unwrap();
    let track = TrackMark {
        id: 3,
        age: Some(5),
        speed: Some(1.234_56),
        direction: Some(f64::NAN),
        stationary: Some(true),
        ..TrackMark::default()
    };
    let found = found.with_track(Some(track));
    assert_eq!((found.track_id, found.track_age, found.track_speed), (Some(3), Some(5), Some(1.235)));
    assert_eq!((found.track_direction, found.track_stationary), (None, Some(true)));
}

#[test]
fn a_speed_below_zero_and_a_direction_off_the_circle_are_none() {
    let mark = |speed, direction| {
        let found = DetectionRecord::new("x", FRAME, [0.0, 0.0, 1.0, 1.0]).unwrap();
        let track = TrackMark { speed: Some(speed), direction: Some(direction), ..TrackMark::default() };
        let found = found.with_track(Some(track));
        (found.track_speed, found.track_direction)
    };
    assert_eq!(mark(-0.1, -0.1), (None, None));
    assert_eq!(mark(0.0, 360.5), (Some(0.0), None));
    assert_eq!(mark(f64::INFINITY, 359.999_9), (None, Some(360.0)));
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    assert_eq!(bounded_text("short", 256), "short");
    let cut = bounded_text(&"ä".repeat(1 << 20), 256);
    assert!(cut.len() <= 256 && cut.ends_with("ä…"), "{} bytes", cut.len());
    assert_eq!(bounded_text("äöü", 0), "…", "a bound below the ellipsis leaves the ellipsis");
}

#[test]
fn what_did_not_happen_is_none() {
    let record = record(FrameFacts::default());
    assert_eq!(record.batch, None);
    assert_eq!((record.model, record.provider, record.wall_time_source), (None, None, None));
    assert!(record.provenance.stages.is_empty());
}

#[test]
fn stages_follow_the_status() {
    use StageResult::{Failed, Ok, Skipped, Timeout};
    let arrived = FrameFacts { arrival: Some(1), ..FrameFacts::default() };
    assert_eq!(results(arrived.clone()), [Skipped, Skipped, Skipped, Skipped]);
    let queued = FrameFacts { batched: Some(2), delivered: Some(9), status: Status::Timeout, ..arrived };
    assert_eq!(results(queued.clone()), [Ok, Timeout, Skipped, Ok]);
    let started = FrameFacts { inference_start: Some(3), ..queued };
    assert_eq!(results(started.clone()), [Ok, Ok, Timeout, Ok]);
    let failed = FrameFacts { status: Status::Failed, ..started.clone() };
    assert_eq!(results(failed), [Ok, Ok, Failed, Ok]);
    let inferred = FrameFacts { inference_end: Some(4), status: Status::Inferred, ..started };
    assert_eq!(results(inferred), [Ok, Ok, Ok, Ok]);
}
