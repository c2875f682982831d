//! `docs/output.schema.json` says what records are, no more and no less.

use super::*;
use crate::output::{
    AttributeRecord, DetectionRecord, EmbeddingForm, EmbeddingRecord, FrameFacts, FrameTime, Lost, Status,
    TrackMark, WallTimeSource,
};
use crate::vision::Size;
use jsonschema::Validator;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/output.schema.json")).unwrap();
    jsonschema::draft202012::meta::validate(&schema).map_err(|error| error.to_string()).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
});

/// What is wrong with `value`, each with its place; empty if it is a record.
fn faults(value: &Value) -> Vec<String> {
    SCHEMA.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn parsed(record: &Record) -> Value {
    let mut line = Vec::new();
    append_line(record, &mut line);
    serde_json::from_slice(&line).unwrap()
}

/// A record that has everything that a record can have.
fn full_record() -> Record {
    let facts = FrameFacts {
        feed_id: "gate".to_owned(),
        status: Status::Failed,
        error: Some("no answer".to_owned()),
        batch_size: 4,
        close_reason: "deadline".to_owned(),
        model: "nanodet".to_owned(),
        provider: "cpu".to_owned(),
        arrival: Some(100),
        wall_time_us: Some(1),
        ..FrameFacts::default()
    };
    let track = TrackMark {
        id: 5,
        state: Some("confirmed".to_owned()),
        age: Some(2),
        speed: Some(12.25),
        direction: Some(270.0),
        stationary: Some(false),
    };
    let vector = |form| EmbeddingRecord { model: "reid".to_owned(), vector: vec![1.0, -0.5].into(), form };
    let found = DetectionRecord::new("person", Size::new(64, 48), [1.0, 2.0, 3.0, 4.0])
        .and_then(|found| found.with_class(Some(0), Some(0.5)))
        .and_then(|found| found.with_landmarks([[1.0, 2.5]]))
        .unwrap()
        .with_track(Some(track))
        .with_attributes(
            vec![AttributeRecord::new("colour".to_owned(), "red".to_owned(), 3, 0.25)],
            vec![vector(EmbeddingForm::Base64), vector(EmbeddingForm::List)],
        )
        .with_parent(Some(1));
    let time = FrameTime { pts: Some(40), running_time: Some(30) };
    Record::new(facts, time, Size::new(64, 48), vec![found])
}

#[test]
fn a_record_with_everything_and_one_with_nothing_are_valid() {
    let nothing = Record::new(FrameFacts::default(), FrameTime::default(), Size::default(), Vec::new());
    assert_eq!(faults(&parsed(&full_record())), [""; 0]);
    assert_eq!(faults(&parsed(&nothing)), [""; 0]);
}

/// The places of all objects in `value`, its own first.
fn objects(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(place.to_owned());
            fields.iter().for_each(|(name, field)| objects(field, &format!("{place}/{name}"), found));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| objects(item, &format!("{place}/{index}"), found));
        }
        _ => {}
    }
}

fn object<'a>(record: &'a mut Value, place: &str) -> &'a mut serde_json::Map<String, Value> {
    record.pointer_mut(place).and_then(Value::as_object_mut).unwrap()
}

/// Fields that a detection has only if there is something to say.
const OPTIONAL: [&str; 10] = [
    "landmarks",
    "track-id",
    "track-state",
    "track-age",
    "track-speed",
    "track-direction",
    "track-stationary",
    "attributes",
    "embeddings",
    "parent",
];

#[test]
fn a_field_that_is_missing_unknown_or_of_another_type_is_refused_everywhere() {
    let record = parsed(&full_record());
    let mut places = Vec::new();
    objects(&record, "", &mut places);
    assert_eq!(places.len(), 14, "{places:?}");
    for place in &places {
        let mut more = record.clone();
        object(&mut more, place).insert("more".to_owned(), json!(1));
        assert_ne!(faults(&more), [""; 0], "a further field in {place:?}");
        let names: Vec<String> = object(&mut record.clone(), place).keys().cloned().collect();
        for name in names {
            let mut less = record.clone();
            object(&mut less, place).remove(&name);
            let optional = place == "/detections/0" && OPTIONAL.contains(&&*name);
            // The rest of a track says nothing without it.
            let needed = !optional || name == "track-id";
            assert_eq!(!faults(&less).is_empty(), needed, "without {place}/{name}");
            for other in [json!({"a": 1}), json!([[true]]), json!("\u{1f600}".repeat(2000)), json!(-1e300)] {
                let mut wrong = record.clone();
                object(&mut wrong, place).insert(name.clone(), other.clone());
                assert_ne!(faults(&wrong), [""; 0], "{place}/{name} = {other}");
            }
        }
    }
}

#[test]
fn a_value_out_of_its_range_is_refused() {
    let wrong = [
        ("/schema", json!("nv-record/2")),
        ("/feed", json!(-1)),
        ("/feed", json!(1_u64 << 32)),
        ("/seq", json!(0.5)),
        ("/status", json!("lost")),
        ("/status", json!(null)),
        ("/wall-time-source", json!(null)),
        ("/wall-time-us", json!(null)),
        ("/model", json!("")),
        ("/batch/size", json!(0)),
        ("/detections/0/confidence", json!(1.5)),
        ("/detections/0/box/width", json!(-1)),
        ("/detections/0/box-normalized/x-max", json!(1.01)),
        ("/detections/0/landmarks", json!([])),
        ("/detections/0/landmarks/0", json!([1.0])),
        ("/detections/0/landmarks/0", json!([1.0, 2.0, 3.0])),
        ("/detections/0/track-speed", json!(-1)),
        ("/detections/0/track-direction", json!(361)),
        ("/detections/0/attributes", json!([])),
        ("/detections/0/embeddings", json!([])),
        ("/detections/0/embeddings/0/dims", json!(0)),
        ("/detections/0/embeddings/0/base64", json!("not base64")),
        ("/provenance/stages/0/stage", json!("queue")),
        ("/provenance/stages/3/result", json!("lost")),
        ("/lost/sink", json!(-1)),
    ];
    for (place, value) in wrong {
        let mut record = parsed(&full_record());
        *record.pointer_mut(place).unwrap() = value.clone();
        assert_ne!(faults(&record), [""; 0], "{place} = {value}");
    }
    let mut both = parsed(&full_record());
    object(&mut both, "/detections/0/embeddings/0").insert("values".to_owned(), json!([1.0, 2.0]));
    assert_ne!(faults(&both), [""; 0], "a vector in two forms");
    let mut short = parsed(&full_record());
    short.pointer_mut("/provenance/stages").and_then(Value::as_array_mut).unwrap().pop();
    assert_ne!(faults(&short), [""; 0], "three stages");
}

fn number() -> impl Strategy<Value = f64> {
    const ODD: [f64; 7] =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0];
    prop_oneof![4 => -1e4..1e4, 1 => proptest::sample::select(&ODD[..]), 1 => any::<f64>()]
}

fn any_track() -> impl Strategy<Value = TrackMark> {
    let numbers = (of(number()), of(number()));
    (any::<i64>(), of(any::<String>()), of(any::<u32>()), numbers, of(any::<bool>())).prop_map(
        |(id, state, age, (speed, direction), stationary)| TrackMark {
            id,
            state,
            age,
            speed,
            direction,
            stationary,
        },
    )
}

fn any_attribute() -> impl Strategy<Value = AttributeRecord> {
    (".{0,60}", ".{0,60}", any::<u32>(), number())
        .prop_map(|(model, label, id, confidence)| AttributeRecord::new(model, label, id, confidence))
}

fn any_embedding() -> impl Strategy<Value = EmbeddingRecord> {
    let finite = any::<f32>().prop_filter("finite", |value| value.is_finite());
    (".{0,60}", vec(finite, 1..40), any::<bool>()).prop_map(|(model, vector, base64)| EmbeddingRecord {
        model,
        vector: vector.into(),
        form: if base64 { EmbeddingForm::Base64 } else { EmbeddingForm::List },
    })
}

prop_compose! {
    fn any_detection()(
        label in any::<String>(),
        frame in (0..5000u32, 0..5000u32),
        corners in [number(), number(), number(), number()],
        class in (of(any::<u32>()), of(number())),
        points in vec([number(), number()], 0..3),
        track in of(any_track()),
        attributes in vec(any_attribute(), 0..3),
        embeddings in vec(any_embedding(), 0..3),
        parent in of(any::<u32>()),
    ) -> Option<DetectionRecord> {
        DetectionRecord::new(&label, Size::new(frame.0, frame.1), corners)
            .and_then(|found| found.with_class(class.0, class.1))
            .and_then(|found| found.with_landmarks(points))
            .map(|found| found.with_track(track).with_attributes(attributes, embeddings))
            .map(|found| found.with_parent(parent))
    }
}

prop_compose! {
    fn any_facts()(
        texts in [any::<String>(), any::<String>(), any::<String>(), any::<String>()],
        error in of(any::<String>()),
        numbers in (any::<u32>(), any::<u64>(), any::<u32>()),
        batch in (any::<u64>(), any::<u32>(), any::<u32>()),
        times in vec(of(any::<u64>()), 6),
        status in proptest::sample::select(vec![
            Status::Inferred, Status::Skipped, Status::Passed, Status::Failed, Status::Timeout,
        ]),
        reference in any::<bool>(),
    ) -> FrameFacts {
        let [feed_id, close_reason, model, provider] = texts;
        let (feed, seq, session) = numbers;
        let (batch_id, batch_size, batch_slot) = batch;
        let time = |index: usize| times.get(index).copied().flatten();
        FrameFacts {
            feed_id, feed, seq, session, status, error, batch_id, batch_size, batch_slot,
            close_reason, model, provider,
            arrival: time(0), batched: time(1), inference_start: time(2), inference_end: time(3),
            delivered: time(4), wall_time_us: time(5),
            wall_time_source: if reference { WallTimeSource::Reference } else { WallTimeSource::Arrival },
        }
    }
}

proptest! {
    #[test]
    fn any_record_is_valid(
        facts in any_facts(),
        time in (of(any::<u64>()), of(any::<u64>())),
        size in (any::<u32>(), any::<u32>()),
        found in vec(any_detection(), 0..4),
        lost in (any::<u64>(), any::<u64>()),
    ) {
        let time = FrameTime { pts: time.0, running_time: time.1 };
        let found = found.into_iter().flatten().collect();
        let mut record = Record::new(facts, time, Size::new(size.0, size.1), found);
        record.lost = Lost { upstream: lost.0, sink: lost.1 };
        prop_assert_eq!(faults(&parsed(&record)), [""; 0]);
    }
}
