//! What second models say about a detection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use std::sync::Arc;

/// The class that a second model takes an object to be.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct AttributeRecord {
    /// Name of the model.
    pub model: String,
    /// Name of the class.
    pub label: String,
    /// Number of the class.
    pub label_id: u32,
    /// How sure the model is, `0..=1`, at most six decimals.
    pub confidence: f64,
}

impl AttributeRecord {
    /// A `confidence` outside `0..=1` is clamped, one that is not a number is 0.
    #[must_use]
    pub fn new(model: String, label: String, label_id: u32, confidence: f64) -> Self {
        let confidence = if confidence.is_nan() { 0.0 } else { confidence.clamp(0.0, 1.0) };
        Self { model, label, label_id, confidence: super::record::rounded(confidence, 6) }
    }
}

/// In which form vectors stand in a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmbeddingForm {
    /// Base64 of the numbers as f32, little-endian: exact, and a third of the size of a list.
    #[default]
    Base64,
    /// A list of numbers.
    List,
}

/// The vector that a second model gives for an object. Made by its reader only, so its numbers are finite.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingRecord {
    /// Name of the model.
    pub model: String,
    /// Its numbers.
    pub vector: Arc<[f32]>,
    /// How it is written.
    pub form: EmbeddingForm,
}

impl EmbeddingRecord {
    /// The numbers as base64.
    #[must_use]
    pub fn base64(&self) -> String {
        let bytes: Vec<u8> = self.vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        STANDARD.encode(bytes)
    }
}

impl Serialize for EmbeddingRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("embedding", 3)?;
        fields.serialize_field("model", &self.model)?;
        fields.serialize_field("dims", &self.vector.len())?;
        match self.form {
            EmbeddingForm::Base64 => fields.serialize_field("base64", &self.base64())?,
            EmbeddingForm::List => fields.serialize_field("values", &*self.vector)?,
        }
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confidence_is_a_number_from_0_to_1() {
        let of = |confidence| AttributeRecord::new(String::new(), String::new(), 0, confidence).confidence;
        assert_eq!([of(f64::NAN), of(-1.0), of(7.0), of(0.123_456_789)], [0.0, 0.0, 1.0, 0.123_457]);
    }

    #[test]
    fn a_vector_is_written_in_the_form_that_is_asked_for() {
        let mut record = EmbeddingRecord {
            model: "reid".to_owned(),
            vector: vec![1.0, -0.5].into(),
            form: EmbeddingForm::Base64,
        };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(json, r#"{"model":"reid","dims":2,"base64":"AACAPwAAAL8="}"#);
        record.form = EmbeddingForm::List;
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"model":"reid","dims":2,"values":[1.0,-0.5]}"#
        );
    }
}
