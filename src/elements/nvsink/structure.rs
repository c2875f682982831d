//! A record as a `GstStructure`: the fields of the JSON form, under the same names.
//!
//! What is null there is absent here. Objects are structures, lists are `GstValueArray`s.

use crate::meta::text::without_nul;
use crate::output::{
    AttributeRecord, BatchPlace, DetectionRecord, EmbeddingForm, EmbeddingRecord, Provenance, Record, Stage,
};
use glib::SendValue;
use glib::value::ToSendValue as _;

impl From<&Record> for gst::Structure {
    fn from(record: &Record) -> Self {
        let lost = Self::builder("nv-lost")
            .field("upstream", record.lost.upstream)
            .field("sink", record.lost.sink)
            .build();
        let mut structure = Self::builder("nv-record")
            .field("schema", record.schema)
            .field("feed", record.feed)
            .field("feed-id", text(&record.feed_id))
            .field("seq", record.seq)
            .field("session", record.session)
            .field("status", record.status.as_str())
            .field("width", record.width)
            .field("height", record.height)
            .field("detections", gst::Array::new(record.detections.iter().map(detection)))
            .field("provenance", provenance(&record.provenance))
            .field("lost", lost)
            .build();
        structure.set_if_some("pts", record.pts);
        structure.set_if_some("running-time", record.running_time);
        structure.set_if_some("wall-time-us", record.wall_time_us);
        structure.set_if_some("wall-time-source", record.wall_time_source.map(|source| source.as_str()));
        structure.set_if_some("error", record.error.as_deref().map(text));
        structure.set_if_some("model", record.model.as_deref().map(text));
        structure.set_if_some("provider", record.provider.as_deref().map(text));
        structure.set_if_some("batch", record.batch.as_ref().map(batch));
        structure
    }
}

fn text(text: &str) -> String {
    without_nul(text).into_owned()
}

fn detection(found: &DetectionRecord) -> SendValue {
    let (pixels, parts) = (&found.box_in_frame, &found.box_normalized);
    let box_in_frame = gst::Structure::builder("nv-box")
        .field("x", pixels.x)
        .field("y", pixels.y)
        .field("width", pixels.width)
        .field("height", pixels.height)
        .build();
    let box_normalized = gst::Structure::builder("nv-box-normalized")
        .field("x-min", parts.x_min)
        .field("y-min", parts.y_min)
        .field("x-max", parts.x_max)
        .field("y-max", parts.y_max)
        .build();
    let mut structure = gst::Structure::builder("nv-detection")
        .field("label", text(&found.label))
        .field("box", box_in_frame)
        .field("box-normalized", box_normalized)
        .build();
    structure.set_if_some("label-id", found.label_id);
    structure.set_if_some("confidence", found.confidence);
    if !found.landmarks.is_empty() {
        let points = found.landmarks.iter().map(|point| gst::Array::new(point.iter().copied()));
        structure.set("landmarks", gst::Array::new(points));
    }
    structure.set_if_some("track-id", found.track_id);
    structure.set_if_some("track-state", found.track_state.as_deref().map(text));
    structure.set_if_some("track-age", found.track_age);
    structure.set_if_some("track-speed", found.track_speed);
    structure.set_if_some("track-direction", found.track_direction);
    structure.set_if_some("track-stationary", found.track_stationary);
    set_list(&mut structure, "attributes", &found.attributes, attribute);
    set_list(&mut structure, "embeddings", &found.embeddings, embedding);
    structure.set_if_some("parent", found.parent);
    structure.to_send_value()
}

/// A list that is not empty.
fn set_list<T>(structure: &mut gst::StructureRef, name: &str, items: &[T], of: impl Fn(&T) -> SendValue) {
    if !items.is_empty() {
        structure.set(name, gst::Array::new(items.iter().map(of)));
    }
}

fn attribute(said: &AttributeRecord) -> SendValue {
    let structure = gst::Structure::builder("nv-attribute")
        .field("model", text(&said.model))
        .field("label", text(&said.label))
        .field("label-id", said.label_id)
        .field("confidence", said.confidence)
        .build();
    structure.to_send_value()
}

fn embedding(said: &EmbeddingRecord) -> SendValue {
    let mut structure = gst::Structure::builder("nv-embedding")
        .field("model", text(&said.model))
        .field("dims", said.vector.len() as u64)
        .build();
    match said.form {
        EmbeddingForm::Base64 => structure.set("base64", said.base64()),
        EmbeddingForm::List => {
            let values = said.vector.iter().map(|value| f64::from(*value));
            structure.set("values", gst::Array::new(values));
        }
    }
    structure.to_send_value()
}

fn batch(batch: &BatchPlace) -> gst::Structure {
    let mut structure = gst::Structure::builder("nv-batch")
        .field("id", batch.id)
        .field("size", batch.size)
        .field("slot", batch.slot)
        .build();
    structure.set_if_some("close-reason", batch.close_reason.as_deref().map(text));
    structure
}

fn provenance(provenance: &Provenance) -> gst::Structure {
    let mut structure = gst::Structure::builder("nv-provenance")
        .field("stages", gst::Array::new(provenance.stages.iter().map(stage)))
        .build();
    structure.set_if_some("arrival", provenance.arrival);
    structure.set_if_some("batched", provenance.batched);
    structure.set_if_some("inference-start", provenance.inference_start);
    structure.set_if_some("inference-end", provenance.inference_end);
    structure.set_if_some("delivered", provenance.delivered);
    structure
}

fn stage(stage: &Stage) -> SendValue {
    let mut structure = gst::Structure::builder("nv-stage")
        .field("stage", stage.stage)
        .field("result", stage.result.as_str())
        .build();
    structure.set_if_some("start", stage.start);
    structure.set_if_some("end", stage.end);
    structure.to_send_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{FrameFacts, FrameTime, TrackMark};
    use crate::vision::Size;
    use serde_json::{Map, Value};

    /// The value as JSON, to compare it with the JSON form of the record.
    fn json(value: &glib::Value) -> Value {
        if let Ok(text) = value.get::<&str>() {
            return text.into();
        }
        if let Ok(structure) = value.get::<gst::Structure>() {
            return object(&structure);
        }
        if let Ok(items) = value.get::<gst::ArrayRef<'_>>() {
            return items.iter().map(|item| json(item)).collect();
        }
        if let Ok(flag) = value.get::<bool>() {
            return flag.into();
        }
        if let Ok(number) = value.get::<f64>() {
            return number.into();
        }
        let unsigned = value.get::<u64>().or_else(|_| value.get::<u32>().map(u64::from));
        unsigned.map(Value::from).or_else(|_| value.get::<i64>().map(Value::from)).unwrap()
    }

    fn object(structure: &gst::StructureRef) -> Value {
        structure.iter().map(|(name, value)| (name.to_string(), json(value))).collect::<Map<_, _>>().into()
    }

    fn without_nulls(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields.into_iter().filter(|(_, field)| !field.is_null());
                fields.map(|(name, field)| (name, without_nulls(field))).collect::<Map<_, _>>().into()
            }
            Value::Array(items) => items.into_iter().map(without_nulls).collect(),
            other => other,
        }
    }

    fn full_record() -> Record {
        let size = Size::new(640, 480);
        let found = DetectionRecord::new("cat", size, [1.5, 2.0, 30.0, 40.0])
            .and_then(|found| found.with_class(Some(4), Some(0.5)))
            .and_then(|found| found.with_landmarks([[1.0, 2.0], [3.0, 4.0]]))
            .unwrap()
            .with_track(Some(TrackMark {
                id: -1,
                state: Some("lost".to_owned()),
                age: Some(9),
                speed: Some(1.5),
                direction: Some(45.0),
                stationary: Some(true),
            }));
        let facts = FrameFacts {
            feed_id: "gate".to_owned(),
            error: Some("e".to_owned()),
            batch_size: 1,
            close_reason: "full".to_owned(),
            model: "m".to_owned(),
            provider: "cpu".to_owned(),
            arrival: Some(1),
            delivered: Some(2),
            wall_time_us: Some(3),
            ..FrameFacts::default()
        };
        let time = FrameTime { pts: Some(4), running_time: Some(5) };
        Record::new(facts, time, size, vec![found])
    }

    #[test]
    fn the_structure_says_what_the_json_says() {
        gst::init().unwrap();
        let empty = Record::new(FrameFacts::default(), FrameTime::default(), Size::default(), Vec::new());
        for record in [full_record(), empty] {
            let expected = without_nulls(serde_json::to_value(&record).unwrap());
            assert_eq!(object(&gst::Structure::from(&record)), expected);
        }
    }

    #[test]
    fn nul_in_a_text_becomes_the_replacement_character() {
        gst::init().unwrap();
        let facts = FrameFacts { feed_id: "a\0b".to_owned(), ..FrameFacts::default() };
        let record = Record::new(facts, FrameTime::default(), Size::default(), Vec::new());
        assert_eq!(gst::Structure::from(&record).get("feed-id"), Ok("a\u{fffd}b"));
    }
}
