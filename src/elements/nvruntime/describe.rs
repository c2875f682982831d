//! A feed as a `GstStructure`: the keys of a `[[feeds]]` table, with the types of GStreamer.

use super::refusal::Refusal;
use toml::{Table, Value};

/// The key that may hold a password itself here, as nobody else reads it.
const PASSWORD: &str = "password";

/// The table as text, and the password, which is never in it.
pub(super) fn toml(feed: &gst::StructureRef) -> Result<(String, Option<String>), Refusal> {
    let mut password = None;
    let mut table = Table::new();
    for (key, value) in feed.iter() {
        if key == PASSWORD
            && let Ok(text) = value.get::<String>()
        {
            password = Some(text);
            continue;
        }
        table.insert(key.to_string(), toml_value(key.as_str(), value)?);
    }
    let text = toml::to_string(&table).map_err(Refusal::failed)?;
    Ok((text, password))
}

fn toml_value(key: &str, value: &glib::SendValue) -> Result<Value, Refusal> {
    let integer = |number: Option<i64>| number.map(Value::Integer);
    let found = None
        .or_else(|| value.get::<String>().ok().map(Value::String))
        .or_else(|| value.get::<bool>().ok().map(Value::Boolean))
        .or_else(|| integer(value.get::<i32>().ok().map(i64::from)))
        .or_else(|| integer(value.get::<u32>().ok().map(i64::from)))
        .or_else(|| integer(value.get::<i64>().ok()))
        .or_else(|| integer(value.get::<u64>().ok().and_then(|number| i64::try_from(number).ok())))
        .or_else(|| value.get::<f64>().ok().map(Value::Float));
    if let Some(found) = found {
        return Ok(found);
    }
    if let Ok(inner) = value.get::<gst::Structure>() {
        let fields = inner.iter().map(|(key, value)| Ok((key.to_string(), toml_value(key.as_str(), value)?)));
        return fields.collect::<Result<Table, Refusal>>().map(Value::Table);
    }
    let expected = "a string, a boolean, a number or a structure";
    let text = format!("{key}: expected {expected}, found {}", value.type_().name());
    Err(Refusal::InvalidConfiguration { text })
}
