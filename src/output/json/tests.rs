use super::*;
use crate::output::{DetectionRecord, FrameFacts, FrameTime, Status, TrackMark, WallTimeSource};
use crate::vision::Size;
use proptest::prelude::*;
use serde_json::{Value, json};

fn line(record: &Record) -> String {
    let mut line = Vec::new();
    append_line(record, &mut line);
    String::from_utf8(line).unwrap()
}

fn with_label(label: &str) -> Record {
    let found = DetectionRecord::new(label, Size::new(10, 10), [1.0, 1.0, 2.0, 2.0]).unwrap();
    Record::new(FrameFacts::default(), FrameTime::default(), Size::new(10, 10), vec![found])
}

fn facts() -> FrameFacts {
    FrameFacts {
        feed_id: "gate".to_owned(),
        feed: 3,
        seq: 41,
        session: 1,
        status: Status::Inferred,
        error: None,
        batch_id: 7,
        batch_size: 4,
        batch_slot: 2,
        close_reason: "deadline".to_owned(),
        model: "nanodet".to_owned(),
        provider: "cpu".to_owned(),
        arrival: Some(100),
        batched: Some(200),
        inference_start: Some(300),
        inference_end: Some(400),
        delivered: Some(500),
        wall_time_us: Some(1_700_000_000_000_000),
        wall_time_source: WallTimeSource::Reference,
    }
}

fn detection() -> DetectionRecord {
    DetectionRecord::new("person", Size::new(640, 480), [64.0, 48.0, 128.0, 96.000_4])
        .and_then(|found| found.with_class(Some(0), Some(0.912_345_678)))
        .and_then(|found| found.with_landmarks([[1.0, 2.5]]))
        .unwrap()
        .with_track(Some(TrackMark {
            id: 5,
            state: Some("tentative".to_owned()),
            age: Some(2),
            speed: Some(12.25),
            direction: Some(270.0),
            stationary: Some(false),
        }))
}

#[test]
fn the_fields_and_their_names_are_the_documented_ones() {
    let time = FrameTime { pts: Some(40), running_time: Some(30) };
    let record = Record::new(facts(), time, Size::new(640, 480), vec![detection()]);
    let expected = json!({
        "schema": "nv-record/1", "feed": 3, "feed-id": "gate", "seq": 41, "session": 1,
        "pts": 40, "running-time": 30,
        "wall-time-us": 1_700_000_000_000_000_u64, "wall-time-source": "reference",
        "status": "inferred", "error": null, "width": 640, "height": 480,
        "detections": [{
            "label": "person", "label-id": 0, "confidence": 0.912_346,
            "box": {"x": 64.0, "y": 48.0, "width": 64.0, "height": 48.0},
            "box-normalized": {"x-min": 0.1, "y-min": 0.1, "x-max": 0.2, "y-max": 0.200_001},
            "landmarks": [[1.0, 2.5]], "track-id": 5, "track-state": "tentative",
            "track-age": 2, "track-speed": 12.25, "track-direction": 270.0, "track-stationary": false,
        }],
        "model": "nanodet", "provider": "cpu",
        "batch": {"id": 7, "size": 4, "slot": 2, "close-reason": "deadline"},
        "provenance": {
            "arrival": 100, "batched": 200, "inference-start": 300, "inference-end": 400, "delivered": 500,
            "stages": [
                {"stage": "batch-wait", "start": 100, "end": 200, "result": "ok"},
                {"stage": "queue", "start": 200, "end": 300, "result": "ok"},
                {"stage": "inference", "start": 300, "end": 400, "result": "ok"},
                {"stage": "hand-back", "start": 400, "end": 500, "result": "ok"},
            ],
        },
        "lost": {"upstream": 0, "sink": 0},
    });
    assert_eq!(serde_json::from_str::<Value>(&line(&record)).unwrap(), expected);
}

#[test]
fn what_is_absent_is_null_and_optional_detection_fields_are_left_out() {
    let value: Value = serde_json::from_str(&line(&with_label("x"))).unwrap();
    for field in ["pts", "running-time", "wall-time-us", "wall-time-source", "error", "model", "batch"] {
        assert_eq!(value.get(field), Some(&Value::Null), "{field}");
    }
    assert_eq!(value.pointer("/detections/0/confidence"), Some(&Value::Null));
    let of_tracks =
        ["track-id", "track-state", "track-age", "track-speed", "track-direction", "track-stationary"];
    for field in ["landmarks"].into_iter().chain(of_tracks) {
        assert_eq!(value.pointer(&format!("/detections/0/{field}")), None, "{field}");
    }
}

#[test]
fn hostile_labels_stay_on_one_line_and_parse_back() {
    let long = "é".repeat(1 << 19);
    let labels =
        ["\"", "a\nb\r\nc", "nul\0", "\u{202e}left", "\u{2028}\u{2029}\u{85}", "\\u0000", "😀", &long];
    for label in labels {
        let record = with_label(label);
        let line = line(&record);
        assert_eq!(line.find(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']), Some(line.len() - 1));
        let value: Value = serde_json::from_str(&line).unwrap();
        let back = value.pointer("/detections/0/label").and_then(Value::as_str).unwrap();
        assert!(back == label || (back.len() <= 256 && back.ends_with('…')), "{back:?}");
    }
}

#[test]
fn lines_are_appended_to_what_is_there() {
    let mut lines = b"first\n".to_vec();
    append_line(&with_label("x"), &mut lines);
    assert!(lines.starts_with(b"first\n{") && lines.ends_with(b"}\n"));
}

fn number() -> impl Strategy<Value = f64> {
    let odd = prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(-0.0)
    ];
    prop_oneof![4 => -1e4..1e4, 1 => odd, 1 => any::<f64>()]
}

fn any_detection() -> impl Strategy<Value = Option<DetectionRecord>> {
    let corners = [number(), number(), number(), number()];
    let frame = (0..5000u32, 0..5000u32);
    (any::<String>(), corners, frame, proptest::option::of(number()), [number(), number()]).prop_map(
        |(label, corners, (width, height), confidence, point)| {
            DetectionRecord::new(&label, Size::new(width, height), corners)
                .and_then(|found| found.with_class(Some(1), confidence))
                .and_then(|found| found.with_landmarks([point]))
        },
    )
}

/// Every number under `value` is finite and every null is where the schema allows one.
fn assert_numbers(value: &Value) {
    match value {
        Value::Number(number) => assert!(number.as_f64().is_some_and(f64::is_finite)),
        Value::Array(items) => items.iter().for_each(assert_numbers),
        Value::Object(fields) => {
            for (name, field) in fields {
                assert!(!field.is_null() || name == "confidence", "{name} is null");
                assert_numbers(field);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_record_is_one_line_of_json_with_finite_numbers(
        feed_id in any::<String>(),
        error in proptest::option::of(any::<String>()),
        seq in any::<u64>(),
        found in proptest::collection::vec(any_detection(), 0..4),
    ) {
        let found: Vec<_> = found.into_iter().flatten().collect();
        let facts = FrameFacts { feed_id, error, seq, ..FrameFacts::default() };
        let record = Record::new(facts, FrameTime::default(), Size::new(64, 64), found.clone());
        let line = line(&record);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(value["seq"].as_u64(), Some(seq));
        prop_assert_eq!(value["error"].as_str(), record.error.as_deref());
        prop_assert_eq!(value["feed-id"].as_str(), Some(record.feed_id.as_str()));
        let detections = value["detections"].as_array().unwrap();
        prop_assert_eq!(detections.len(), found.len());
        for (written, found) in detections.iter().zip(&found) {
            prop_assert_eq!(written["label"].as_str(), Some(found.label.as_str()));
            assert_numbers(written);
        }
    }
}
