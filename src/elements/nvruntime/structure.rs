//! A snapshot as a `GstStructure`: the same names as in its JSON form.
//!
//! Every value is made once and moved into place: a copy of what lies below at every level is most of the time that a
//! snapshot takes.

use crate::meta::text::without_nul;
use crate::metrics::Snapshot;
use glib::prelude::*;
use serde::Serialize;
use serde::ser::{Impossible, SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use std::fmt;

/// For the page and for Prometheus: they are most of it.
const LEFT_OUT: [&str; 2] = ["history", "latency"];

/// `nv-status`, without histories and histograms.
pub(super) fn value(snapshot: &Snapshot) -> glib::SendValue {
    let made = snapshot.serialize(Field("status")).ok().flatten();
    made.unwrap_or_else(|| gst::Structure::new_empty("nv-status").to_send_value())
}

/// The same, as the structure that it is.
pub(super) fn structure(snapshot: &Snapshot) -> gst::Structure {
    value(snapshot).get().unwrap_or_else(|_| gst::Structure::new_empty("nv-status"))
}

type Made = Option<glib::SendValue>;
type Outcome = Result<Made, fmt::Error>;
type None_ = Impossible<Made, fmt::Error>;

/// Makes the value of the field of that name; `None` is a field that is left out.
struct Field<'a>(&'a str);

impl Field<'_> {
    fn fields(&self) -> Fields {
        Fields { structure: gst::Structure::new_empty(format!("nv-{}", self.0)), key: None }
    }
}

/// Not a copy.
fn moved<T: Into<glib::Value> + Send + StaticType>(value: T) -> Outcome {
    let value: glib::Value = value.into();
    value.try_into_send_value::<T>().map(Some).map_err(|_| fmt::Error)
}

impl<'a> Serializer for Field<'a> {
    type Ok = Made;
    type Error = fmt::Error;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = None_;
    type SerializeTupleStruct = None_;
    type SerializeTupleVariant = None_;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = None_;

    fn serialize_bool(self, value: bool) -> Outcome {
        moved(value)
    }

    fn serialize_i8(self, value: i8) -> Outcome {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Outcome {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Outcome {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Outcome {
        moved(value)
    }

    fn serialize_u8(self, value: u8) -> Outcome {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Outcome {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Outcome {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Outcome {
        moved(value)
    }

    fn serialize_f32(self, value: f32) -> Outcome {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Outcome {
        if value.is_finite() { moved(value) } else { Ok(None) }
    }

    fn serialize_char(self, value: char) -> Outcome {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Outcome {
        Ok(Some(without_nul(value).to_send_value()))
    }

    fn serialize_bytes(self, _value: &[u8]) -> Outcome {
        Err(fmt::Error)
    }

    fn serialize_none(self) -> Outcome {
        Ok(None)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Outcome {
        Ok(None)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Outcome {
        Ok(None)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Outcome {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _name: &'static str, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Outcome {
        Err(fmt::Error)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items<'a>, fmt::Error> {
        Ok(Items { name: self.0, values: Vec::with_capacity(length.unwrap_or_default()) })
    }

    fn serialize_tuple(self, _length: usize) -> Result<None_, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<None_, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<None_, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Fields, fmt::Error> {
        Ok(self.fields())
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Fields, fmt::Error> {
        Ok(self.fields())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<None_, fmt::Error> {
        Err(fmt::Error)
    }
}

/// An array.
struct Items<'a> {
    name: &'a str,
    values: Vec<glib::SendValue>,
}

impl SerializeSeq for Items<'_> {
    type Ok = Made;
    type Error = fmt::Error;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), fmt::Error> {
        self.values.extend(value.serialize(Field(self.name))?);
        Ok(())
    }

    fn end(self) -> Outcome {
        moved(gst::Array::from_values(self.values))
    }
}

/// A structure, from a `struct` or from a map of strings.
struct Fields {
    structure: gst::Structure,
    key: Made,
}

impl Fields {
    fn set<T: ?Sized + Serialize>(&mut self, name: &str, value: &T) -> Result<(), fmt::Error> {
        if LEFT_OUT.contains(&name) {
            return Ok(());
        }
        if let Some(value) = value.serialize(Field(name))? {
            self.structure.set_value(name, value);
        }
        Ok(())
    }
}

impl SerializeStruct for Fields {
    type Ok = Made;
    type Error = fmt::Error;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), fmt::Error> {
        self.set(key, value)
    }

    fn end(self) -> Outcome {
        moved(self.structure)
    }
}

impl SerializeMap for Fields {
    type Ok = Made;
    type Error = fmt::Error;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), fmt::Error> {
        self.key = key.serialize(Field("key"))?;
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), fmt::Error> {
        let key = self.key.take().ok_or(fmt::Error)?;
        self.set(key.get::<&str>().map_err(|_| fmt::Error)?, value)
    }

    fn end(self) -> Outcome {
        moved(self.structure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::made_up::everything;
    use serde_json::Value;

    /// Whether the structure has what the JSON form has, but for what is left out.
    fn assert_same(value: &glib::Value, json: &Value, place: &str) {
        match json {
            Value::Object(fields) => {
                let structure = value.get::<gst::Structure>().unwrap();
                for (name, json) in fields.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
                    let place = format!("{place}.{name}");
                    match structure.value(name.as_str()) {
                        Ok(value) => assert_same(value, json, &place),
                        Err(_) => assert!(json.is_null(), "{place} is missing"),
                    }
                }
            }
            Value::Array(items) => {
                let array = value.get::<gst::Array>().unwrap();
                assert_eq!(array.len(), items.len(), "{place}");
                array.iter().zip(items).for_each(|(value, json)| assert_same(value, json, place));
            }
            Value::String(text) => assert_eq!(&value.get::<String>().unwrap(), text, "{place}"),
            Value::Bool(flag) => assert_eq!(&value.get::<bool>().unwrap(), flag, "{place}"),
            Value::Number(number) => {
                let found =
                    value.get::<u64>().map(Value::from).or_else(|_| value.get::<f64>().map(Value::from));
                assert_eq!(found.unwrap(), Value::Number(number.clone()), "{place}");
            }
            Value::Null => panic!("{place} should not be there"),
        }
    }

    #[test]
    fn the_structure_has_what_the_json_form_has() {
        gst::init().unwrap();
        let snapshot = everything();
        let json = serde_json::to_value(&snapshot).unwrap();
        let made = value(&snapshot);
        assert_eq!(made.get::<gst::Structure>().unwrap().name(), "nv-status");
        assert_same(&made, &json, "status");
    }
}
