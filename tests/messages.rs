//! What can be posted on the bus, held against its documentation.
//!
//! `docs/messages.md` is written by this file. After a change of an event:
//!
//! ```text
//! ./dev run env NV_UPDATE=1 cargo test --test integration messages::
//! ```

use crate::support::{assert_page, init};
use gstnextvision::elements::message::health_of;
use gstnextvision::health::{Burst, Event, EventSpec, Kind, Message, NAME, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const DOCUMENT: &str = "docs/messages.md";

const INTRODUCTION: &str = "# Messages

What the elements post on the bus when something goes wrong, or right again: element messages with one structure,
`nv-health`. Written by `tests/messages.rs`, which also says how to write it anew: do not edit it by hand.
`gst-launch-1.0 -m` prints them:

```text
Got message #59 from element \"h\" (element): nv-health, event=(string)feed-stalled, severity=(string)warning,
element=(string)h, sequence=(guint64)1, running-time=(guint64)5302114327, count=(guint64)1, total=(guint64)1,
feed-id=(string)door, silent-for=(guint64)1500061201, downstream-blocked=(boolean)false;
```

## Every message

| field | type | |
|---|---|---|
";

/// The fields that every message has.
const ENVELOPE: [(&str, &str, &str); 8] = [
    ("event", "string", "what happened: a name of the list below"),
    (
        "severity",
        "string",
        "`info`, `warning` (something is lost or late) or `error` (something is out of service)",
    ),
    ("feed-id", "string", "the feed it happened to; not there if to none in particular"),
    ("element", "string", "name of the element that posted it"),
    (
        "sequence",
        "uint64",
        "counts the messages of that element, from 0: a gap is a message that somebody has missed",
    ),
    ("running-time", "uint64", "running time of the element, in ns; the largest value without a clock"),
    ("count", "uint64", "how often it happened since the last message about it"),
    ("total", "uint64", "how often it happened to this feed since the element was made"),
];

const COUNTING: &str = "
## Counting

There is at most one message per event, feed and second. The first occurrence is posted at once; those that follow
within a second are folded into the next message, about a second later: its `count` is how many there were, its `total`
how many so far, and its own fields are those of the latest. What is folded is also posted at EOS, when the feed stops, and
in the change to READY, so that the counts of all messages about an event add up to the `total` of the last one.

Events of which one takes back another, such as `feed-stalled` and `feed-recovered`, come in the order in which each last
happened, if need be a little later: the last of them is what is true.

## The events

";

fn describe(spec: &EventSpec) -> String {
    let mut text = String::new();
    writeln!(
        text,
        "### {}\n\nPosted by {} when {}. Severity: `{}`.",
        spec.name,
        spec.posted_by,
        spec.when,
        spec.severity.as_str()
    )
    .expect("a string takes everything");
    if !spec.fields.is_empty() {
        text.push_str("\n| field | type | |\n|---|---|---|\n");
    }
    for field in spec.fields {
        let meaning = field.meaning.replace('|', "\\|");
        writeln!(text, "| `{}` | {} | {meaning} |", field.name, field.kind.as_str())
            .expect("a string takes everything");
    }
    text.push('\n');
    text
}

/// The page as it should be.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (name, kind, meaning) in ENVELOPE {
        writeln!(page, "| `{name}` | {kind} | {meaning} |").expect("a string takes everything");
    }
    page.push_str(COUNTING);
    Event::SPECS.iter().for_each(|spec| page.push_str(&describe(spec)));
    page.trim_end().to_owned() + "\n"
}

#[test]
fn the_page_of_messages_is_what_can_be_posted() {
    assert_page(DOCUMENT, "messages", &page());
}

fn value(kind: Kind) -> Value {
    match kind {
        Kind::U32 => Value::U32(1),
        Kind::U64 => Value::U64(2),
        Kind::F64 => Value::F64(0.5),
        Kind::Flag => Value::Flag(true),
        Kind::Text => Value::Text("text".to_owned()),
        Kind::Texts => Value::Texts(vec!["text".to_owned()]),
    }
}

/// The GLib type of a field as the page names it.
fn named(structure: &gst::StructureRef, field: &str) -> &'static str {
    match structure.value(field).expect("a field of it").type_().name() {
        "guint" => "uint",
        "guint64" => "uint64",
        "gdouble" => "double",
        "gboolean" => "boolean",
        "gchararray" => "string",
        "GstValueArray" => "array of string",
        other => panic!("{field}: {other}"),
    }
}

#[test]
fn every_message_has_the_fields_of_the_page_and_no_other() {
    init();
    for spec in Event::SPECS {
        let kind = |name| spec.fields.iter().find(|field| field.name == name).map(|field| value(field.kind));
        let event = Event::parse(spec.name, kind).expect("every field is there");
        let message = Message {
            event,
            feed_id: Some("door".to_owned()),
            element: "h".to_owned(),
            sequence: 0,
            running_time: Some(1),
            burst: Burst::single(1),
        };
        let structure = gst::Structure::from(message.clone());
        let fields = spec.fields.iter().map(|field| (field.name, field.kind.as_str()));
        let expected: BTreeSet<_> =
            ENVELOPE.map(|(name, kind, _)| (name, kind)).into_iter().chain(fields).collect();
        let found: BTreeSet<_> =
            structure.fields().map(|field| (field.as_str(), named(&structure, field))).collect();
        assert_eq!((structure.name().as_str(), found), (NAME, expected), "{}", spec.name);
        let posted = gst::message::Element::builder(structure).build();
        assert_eq!(health_of(&posted).expect("a message of that kind"), Ok(message));
    }
}
