//! The JSON Schema of site files, out of the tables of [`raw`] and their comments.
//!
//! It knows types, ranges and keys; names that lead nowhere, and keys that do not go together, only
//! [`Site::parse`](super::Site::parse) finds.

use super::raw;
use super::value::{Bytes, Name, Number, Secret, Text, Time, User, Whole};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The JSON Schema of a site file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(raw::Site).to_value();
    without_null(&mut schema);
    schema
}

/// Takes out what says that a value may be null: TOML has no null, a key that is optional is left out.
fn without_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(object) => {
            without_null_here(object);
            object.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

fn without_null_here(object: &mut Map<String, Value>) {
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(mut choices)) = object.remove("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|one| one != "null"));
    match choices.as_slice() {
        [Value::Object(only)] => {
            for (key, value) in only {
                object.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        _ => {
            object.insert("anyOf".to_owned(), Value::Array(choices));
        }
    }
}

/// A table is what is in it.
impl<T: JsonSchema> JsonSchema for raw::Table<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Implements `JsonSchema` for a value, in place where it stands.
macro_rules! inline {
    ([$($generics:tt)*] $type:ty, $schema:expr) => {
        impl<$($generics)*> JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn schema_id() -> Cow<'static, str> {
                std::any::type_name::<Self>().into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

inline!([const MIN: u64, const MAX: u64] Time<MIN, MAX>, json_schema!({
    "type": "string",
    "pattern": r"^\s*([0-9]+(\.[0-9]+)?\s*[A-Za-zµ]+\s*)+$",
}));
inline!([] Bytes, json_schema!({
    "type": "string",
    "pattern": r"^\s*[0-9]+\s*([Kk]|[Mm]|[Gg]|[Tt])[Ii]?[Bb]\s*$",
}));
inline!([const MIN: u32, const MAX: u32] Whole<MIN, MAX>, json_schema!({
    "type": "integer",
    "minimum": MIN,
    "maximum": MAX,
}));
inline!([const MAX: u32] Number<MAX>, json_schema!({
    "type": "number",
    "minimum": 0,
    "maximum": MAX,
}));
inline!([] Name, json_schema!({ "type": "string", "minLength": 1, "maxLength": 128 }));
inline!([] Text, json_schema!({ "type": "string", "minLength": 1, "maxLength": 4096 }));
inline!([] User, json_schema!({
    "type": "string",
    "minLength": 1,
    "maxLength": 128,
    "pattern": "^[^:]*$",
}));
inline!([] Secret, json_schema!({
    "type": "object",
    "oneOf": [
        {
            "properties": {
                "env": {
                    "type": "string",
                    "description": "Name of an environment variable.",
                    "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
                },
            },
            "required": ["env"],
            "additionalProperties": false,
        },
        {
            "properties": { "file": { "type": "string", "description": "Path of a file.", "minLength": 1 } },
            "required": ["file"],
            "additionalProperties": false,
        },
    ],
}));

#[cfg(test)]
mod tests {
    use super::super::tests::EXAMPLE;
    use super::super::wrong::{RIGHT, wrong_sites};
    use super::*;
    use std::path::Path;

    /// `docs/site.schema.json` is written by this test. After a change of a table:
    ///
    /// ```text
    /// NV_UPDATE=1 cargo test --no-default-features --features testing --lib config::schema
    /// ```
    #[test]
    fn the_schema_in_the_documentation_is_that_of_the_code() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/site.schema.json");
        let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os("NV_UPDATE").is_some() {
            std::fs::write(&page, text).unwrap();
            return;
        }
        let is_same = std::fs::read_to_string(&page).is_ok_and(|page| page == text);
        assert!(
            is_same,
            "docs/site.schema.json is not what the code says: the comment on this test says how to write it"
        );
    }

    fn instance(text: &str) -> Value {
        serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
    }

    #[test]
    fn right_sites_are_what_the_schema_says() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for text in [EXAMPLE, RIGHT, ""] {
            let errors: Vec<String> =
                validator.iter_errors(&instance(text)).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
    }

    #[test]
    fn wrong_sites_are_not_what_the_schema_says() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let is_refused = |name: &str| {
            let wrong = wrong_sites().into_iter().find(|wrong| wrong.name == name);
            !validator.is_valid(&instance(&wrong.expect(name).text))
        };
        for name in [
            "zero",
            "too many",
            "negative",
            "fraction",
            "number in quotes",
            "percent",
            "time as number",
            "time without unit",
            "time of no kind",
            "size as number",
            "size of no unit",
            "yes",
            "choice",
            "empty id",
            "list for a table",
            "unknown table",
            "unknown key",
            "unknown key inside",
            "id in defaults",
            "no id",
            "no uri",
            "no type",
            "no model",
            "no file",
            "two sources",
            "plain password",
            "both passwords",
            "password in user",
            "no feed at all",
        ] {
            assert!(is_refused(name), "{name}");
        }
    }

    #[test]
    fn every_key_is_described() {
        fn check(value: &Value, place: &str) {
            let Value::Object(object) = value else { return };
            if let Some(Value::Object(keys)) = object.get("properties") {
                for (key, value) in keys {
                    assert!(value.get("description").is_some(), "{place}.{key}");
                }
            }
            for (key, value) in object {
                check(value, &format!("{place}.{key}"));
            }
        }
        check(&schema(), "");
    }
}
