//! From an event to a line.
//!
//! All text is redacted, then escaped, so that an event is one line and obeys nobody but the terminal's owner.

use super::writer::Writer;
use crate::text;
use gstnextvision::clock;
use gstnextvision::health::redact;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fmt::{Arguments, Debug};
use std::io::IsTerminal;
use std::time::{Duration, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// A field of this name holds a JSON object: each of its members becomes a field of the line. `tracing` itself only has
/// fields that are known when the program is compiled.
const FIELDS: &str = "fields";

/// Longest text of a message or a field, in bytes. More is cut.
const LONGEST: usize = 4096;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A line for people.
    Text,
    /// A JSON object in each line.
    Json,
}

/// Turns events into lines for the writer.
pub(super) struct Lines {
    format: Format,
    color: bool,
    writer: &'static Writer,
}

impl Lines {
    pub(super) fn new(format: Format, writer: &'static Writer) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { format, color: std::io::stderr().is_terminal() && !plain, writer }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let metadata = event.metadata();
        let head =
            Head { wall_micros: clock::wall_micros(), level: *metadata.level(), target: metadata.target() };
        self.writer.line(match self.format {
            Format::Text => as_text(&head, &said, self.color),
            Format::Json => as_json(&head, said),
        });
    }
}

/// When, how bad, and about what.
struct Head<'a> {
    wall_micros: u64,
    level: Level,
    target: &'a str,
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(String, Value)>,
}

/// Text as it may be shown.
fn shown(said: &str) -> String {
    // Redacted before it is cut: half a URL is harder to tell from a word.
    text::one_line(&text::cut_bytes(&redact(said), LONGEST)).into_owned()
}

impl Said {
    fn add(&mut self, name: &str, value: Value) {
        self.fields.push((shown(name), harmless(value)));
    }

    fn add_text(&mut self, name: &str, said: &str) {
        match name {
            "message" => self.message = shown(said),
            FIELDS => match serde_json::from_str::<Map<String, Value>>(said) {
                Ok(members) => members.into_iter().for_each(|(name, value)| self.add(&name, value)),
                Err(_) => self.add(name, Value::from(said)),
            },
            _ => self.add(name, Value::from(said)),
        }
    }
}

fn harmless(value: Value) -> Value {
    match value {
        Value::String(said) => Value::from(shown(&said)),
        Value::Array(values) => values.into_iter().map(harmless).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (shown(&name), harmless(value))).collect()
        }
        other => other,
    }
}

impl Visit for Said {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add_text(field.name(), &format!("{value:?}"));
    }
}

fn time(wall_micros: u64) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(wall_micros))
}

fn as_text(head: &Head<'_>, said: &Said, color: bool) -> String {
    let mut line = String::new();
    let mut put = |part: Arguments<'_>| {
        // A string takes whatever is written to it.
        line.write_fmt(part).ok();
    };
    let (on, off) = if color { (color_of(head.level), "\u{1b}[0m") } else { ("", "") };
    let Head { wall_micros, level, target } = head;
    put(format_args!("{} {on}{level:5}{off} {target}: {}", time(*wall_micros), said.message));
    for (name, value) in &said.fields {
        put(format_args!(" {name}={}", field_text(value)));
    }
    line
}

const fn color_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        _ => "\u{1b}[34m",
    }
}

/// A value behind its name: text without spaces and quotes as it is, anything else as JSON.
fn field_text(value: &Value) -> String {
    match value {
        Value::String(said) if !said.is_empty() && !said.contains([' ', '"', '=']) => said.clone(),
        // What was escaped before is not escaped again.
        Value::String(said) => format!("\"{}\"", said.replace('"', "\\\"")),
        other => other.to_string(),
    }
}

fn as_json(head: &Head<'_>, said: Said) -> String {
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), time(head.wall_micros).to_string().into());
    line.insert("level".to_owned(), head.level.as_str().into());
    line.insert("target".to_owned(), head.target.into());
    line.insert("message".to_owned(), said.message.into());
    if !said.fields.is_empty() {
        line.insert(FIELDS.to_owned(), said.fields.into_iter().collect::<Map<_, _>>().into());
    }
    Value::from(line).to_string()
}

/// The last line: why the program failed.
pub(super) fn last(reason: &str, format: Format) -> String {
    let head = Head { wall_micros: clock::wall_micros(), level: Level::ERROR, target: "nextvision" };
    match format {
        Format::Text => format!("nextvision: {}", shown(reason)),
        Format::Json => as_json(&head, Said { message: shown(reason), fields: Vec::new() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    const HEAD: Head<'_> = Head { wall_micros: 1_700_000_000_000_000, level: Level::WARN, target: "gst" };

    fn said(message: &str, fields: &[(&str, Value)]) -> Said {
        let mut said = Said::default();
        said.add_text("message", message);
        for (name, value) in fields {
            said.add(name, value.clone());
        }
        said
    }

    #[test]
    fn an_event_of_several_lines_is_one_line() {
        let said = said("first\nsecond\u{1b}[31m", &[("object", json!("a\r\nb")), ("count", json!(3))]);
        let line = as_text(&HEAD, &said, false);
        assert_eq!(
            line,
            "2023-11-14T22:13:20.000000Z WARN  gst: first\\nsecond\\u{1b}[31m object=a\\r\\nb count=3"
        );
        assert!(!as_json(&HEAD, said).contains(['\n', '\u{1b}']));
    }

    #[test]
    fn text_with_spaces_is_quoted() {
        let said = said("x", &[("detail", json!("it said \"no\"")), ("empty", json!(""))]);
        assert!(as_text(&HEAD, &said, false).ends_with("x detail=\"it said \\\"no\\\"\" empty=\"\""));
    }

    #[test]
    fn no_credential_is_in_a_line() {
        let url = "rtsp://user:canary@host/x";
        let texts = [json!(url), json!([url]), json!({"uri": url, "a": ["token=canary"]})];
        let fields: Vec<_> = texts.into_iter().map(|value| ("detail", value)).collect();
        let said = said(&format!("cannot open {url}: password=canary"), &fields);
        let line = as_text(&HEAD, &said, false);
        assert!(!line.contains("canary") && line.contains("***"), "{line}");
        let line = as_json(&HEAD, said);
        assert!(!line.contains("canary") && line.contains("***"), "{line}");
        assert!(!last(url, Format::Text).contains("canary"));
    }

    #[test]
    fn a_text_without_end_is_cut() {
        assert!(as_text(&HEAD, &said(&"x".repeat(100_000), &[]), false).len() < 2 * LONGEST);
    }

    #[test]
    fn json_has_the_fields_apart() {
        let line = as_json(&HEAD, said("m", &[("feed", json!("gate")), ("fps", json!(2.5))]));
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["level"], "WARN");
        assert_eq!(read["fields"], json!({"feed": "gate", "fps": 2.5}));
    }

    #[test]
    fn an_object_of_fields_becomes_fields() {
        struct Keep(Arc<Mutex<String>>);
        impl<S: Subscriber> Layer<S> for Keep {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                let mut said = Said::default();
                event.record(&mut said);
                *self.0.lock().unwrap() = as_text(&HEAD, &said, false);
            }
        }
        let line = Arc::new(Mutex::new(String::new()));
        let subscriber = tracing_subscriber::registry().with(Keep(Arc::clone(&line)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(feed = "gate", fields = r#"{"silent-for":9,"blocked":true}"#, "feed-stalled");
        });
        let line = line.lock().unwrap();
        assert!(line.ends_with("gst: feed-stalled feed=gate blocked=true silent-for=9"), "{line}");
    }

    #[test]
    fn a_terminal_gets_colors_of_ours_only() {
        let line = as_text(&HEAD, &said("\u{1b}[31m", &[]), true);
        assert_eq!(line.matches('\u{1b}').count(), 2, "{line:?}");
    }
}
