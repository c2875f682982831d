//! What the elements say of themselves, held against the documentation and against what they do.
//!
//! `docs/elements.md` is written by this file. After a change of a property:
//!
//! ```text
//! ./dev run env NV_UPDATE=1 cargo test --features testing --test integration inspect::
//! ```

use crate::support::{assert_page, init, repository};
use glib::ParamFlags;
use gst::prelude::*;
use std::fmt::Write as _;

const DOCUMENT: &str = "docs/elements.md";

/// Every element, in pipeline order.
const ELEMENTS: [&str; 9] = [
    "nvfeed",
    "nvbatcher",
    "nvinference",
    "nvunbatcher",
    "nvtrack",
    "nvoverlay",
    "nvhealth",
    "nvsink",
    "nvruntime",
];

/// What signals are for, by element: introspection has no place for it.
const SIGNALS: [(&str, &str, &str); 17] = [
    (
        "nvfeed",
        "restart",
        "To be emitted by the application: replaces the source by a new one at once, also after the feed has stopped.",
    ),
    (
        "nvfeed",
        "stop",
        "To be emitted by the application: ends the feed for good, with `feed-stopped` and the end of the stream.",
    ),
    (
        "nvsink",
        "new-output",
        "A frame and its record (`nv-record`), on the sink's own thread. While no handler is connected, frames are \
         not kept.",
    ),
    (
        "nvsink",
        "pull-output",
        "To be emitted by the application: the oldest record not pulled yet. Waits for one for so many nanoseconds \
         (the largest value: for ever), then returns NULL.",
    ),
    ("nvhealth", "snapshot", "To be emitted by the application: what `stats` is now."),
    (
        "nvruntime",
        "add-feed",
        "To be emitted by the application: adds the feed that a structure with the keys of a `[[feeds]]` table \
         describes. Returns its number, which no other feed has had or will have, or -1; `last-error` says why.",
    ),
    (
        "nvruntime",
        "remove-feed",
        "To be emitted by the application: delivers what the feed has on its way, within `drain-timeout`, then takes \
         it out. Returns when it is gone. FALSE: `last-error` says why.",
    ),
    (
        "nvruntime",
        "pause-feed",
        "To be emitted by the application: no frames of the feed are wanted until it is resumed; a live source is let \
         go of, another one is held. FALSE: `last-error` says why.",
    ),
    (
        "nvruntime",
        "resume-feed",
        "To be emitted by the application: ends a pause. FALSE: `last-error` says why.",
    ),
    (
        "nvruntime",
        "restart-feed",
        "To be emitted by the application: a new source for a feed that lives, and a new life, under the same number, \
         for one that has ended or failed. FALSE: `last-error` says why.",
    ),
    (
        "nvruntime",
        "reload",
        "To be emitted by the application: reads `config` again and applies what has changed, while all else plays \
         on. FALSE: nothing was changed, and `last-error` says why.",
    ),
    (
        "nvruntime",
        "shutdown",
        "To be emitted by the application: ends every feed and delivers what is on its way, within `drain-timeout`; \
         EOS follows. FALSE: `last-error` says what was not done in time.",
    ),
    (
        "nvruntime",
        "ping",
        "To be emitted by the application: whether the thread that adds and removes feeds answers within a second. \
         For a watchdog.",
    ),
    (
        "nvruntime",
        "diagnostics",
        "To be emitted by the application: everything that is known, at one moment. Waits for nobody.",
    ),
    (
        "nvruntime",
        "feed-added",
        "A feed is there, by its number. Emitted by the thread that adds and removes feeds.",
    ),
    ("nvruntime", "feed-removed", "A feed has been taken out, by its number. Emitted by the same thread."),
    (
        "nvruntime",
        "new-output",
        "A frame of an output of type `appsink`: the number of its feed, the frame, and its record (`nv-record`), on \
         the thread of that output.",
    ),
];

/// Properties whose value, while they are not set, is worked out; the blurb says how.
const WORKED_OUT: [&str; 1] = ["feed-id"];

/// An element or a request pad, by name, with its properties.
struct Subject {
    name: String,
    object: glib::Object,
    properties: Vec<glib::ParamSpec>,
}

impl Subject {
    fn new(name: String, object: &impl IsA<glib::Object>) -> Self {
        let object = object.clone().upcast();
        let mut properties: Vec<_> = object
            .list_properties()
            .iter()
            .filter(|property| property.owner_type().name().starts_with("GstNv"))
            .cloned()
            .collect();
        properties.sort_by_key(|property| property.name().to_owned());
        Self { name, object, properties }
    }

    fn element(factory: &str) -> Self {
        init();
        let element = gst::ElementFactory::make(factory).build().expect("a registered element");
        Self::new(factory.to_owned(), &element)
    }

    /// A fresh pad of each request template.
    fn request_pads(factory: &str) -> Vec<Self> {
        let element = gst::ElementFactory::make(factory).build().expect("a registered element");
        let templates = element.pad_template_list();
        let requests = templates.iter().filter(|template| template.presence() == gst::PadPresence::Request);
        requests
            .map(|template| {
                let pad = element.request_pad(template, None, None).expect("a fresh element has room");
                Self::new(format!("{factory} {}", template.name_template()), &pad)
            })
            .collect()
    }

    fn all() -> Vec<Self> {
        ELEMENTS
            .iter()
            .flat_map(|factory| std::iter::once(Self::element(factory)).chain(Self::request_pads(factory)))
            .collect()
    }
}

/// A value as one would write it in a pipeline description.
fn text(value: &glib::Value) -> String {
    if let Some((_, entry)) = glib::EnumValue::from_value(value) {
        return entry.nick().to_owned();
    }
    if let Some((_, flags)) = glib::FlagsValue::from_value(value) {
        // Without the names for several at once.
        let single = flags.iter().filter(|flag| flag.value().is_power_of_two());
        return single.map(|flag| flag.nick()).collect::<Vec<_>>().join("+");
    }
    if let Ok(number) = value.get::<f64>() {
        return number.to_string();
    }
    if let Ok(text) = value.get::<Option<String>>() {
        return text.unwrap_or_default();
    }
    // Structures are counters: they have no default.
    if value.type_() == gst::Structure::static_type() {
        return String::new();
    }
    value.transform::<String>().ok().and_then(|text| text.get().ok()).unwrap_or_default()
}

fn type_and_range(property: &glib::ParamSpec) -> String {
    if let Some(number) = property.downcast_ref::<glib::ParamSpecUInt>() {
        return format!("uint, {} to {}", number.minimum(), number.maximum());
    }
    if let Some(number) = property.downcast_ref::<glib::ParamSpecUInt64>() {
        return format!("uint64, {} to {}", number.minimum(), number.maximum());
    }
    if let Some(number) = property.downcast_ref::<glib::ParamSpecDouble>() {
        return format!("double, {} to {}", number.minimum(), number.maximum());
    }
    match property.value_type() {
        glib::Type::STRING => "string".to_owned(),
        glib::Type::BOOL => "boolean".to_owned(),
        other => other.name().to_owned(),
    }
}

/// When the property may be set.
fn changes(property: &glib::ParamSpec) -> &'static str {
    let flags = property.flags();
    if !flags.contains(ParamFlags::WRITABLE) {
        "read only"
    } else if flags.contains(gst::PARAM_FLAG_MUTABLE_PLAYING) {
        "any time"
    } else {
        "NULL, READY"
    }
}

fn write_properties(page: &mut String, subject: &Subject) {
    page.push_str("| property | type, range | default | set in | |\n|---|---|---|---|---|\n");
    for property in &subject.properties {
        let default = text(property.default_value());
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let blurb = property.blurb().unwrap_or_default().replace('|', "\\|");
        writeln!(
            page,
            "| `{}` | {} | {default} | {} | {blurb} |",
            property.name(),
            type_and_range(property),
            changes(property),
        )
        .expect("a string takes everything");
    }
    page.push('\n');
    for property in &subject.properties {
        if let Some(class) = glib::EnumClass::with_type(property.value_type()) {
            writeln!(page, "Values of `{}`:\n", property.name()).expect("a string takes everything");
            for value in class.values() {
                let (nick, name) = (value.nick(), value.name());
                // Most begin with the nick in other letters.
                let what = match name.split_once(": ") {
                    Some((again, what)) if again.to_lowercase().replace(' ', "-") == nick => what,
                    _ => name,
                };
                writeln!(page, "* `{nick}`: {what}").expect("a string takes everything");
            }
            page.push('\n');
        }
        if let Some(class) = glib::FlagsClass::with_type(property.value_type()) {
            writeln!(page, "Parts of `{}`, joined by `+`:\n", property.name())
                .expect("a string takes everything");
            for value in class.values() {
                let what = value.name().split_once(": ").map_or(value.name(), |(_, what)| what);
                writeln!(page, "* `{}`: {what}", value.nick()).expect("a string takes everything");
            }
            page.push('\n');
        }
    }
}

fn write_pads(page: &mut String, factory: &gst::ElementFactory) {
    for template in factory.static_pad_templates() {
        let presence = match template.presence() {
            gst::PadPresence::Request => "on request",
            gst::PadPresence::Sometimes => "sometimes",
            _ => "always",
        };
        let direction = if template.direction() == gst::PadDirection::Sink { "sink" } else { "src" };
        writeln!(page, "Pad `{}`: {direction}, {presence}.\n\n```text", template.name_template())
            .expect("a string takes everything");
        for (structure, features) in template.caps().iter_with_features() {
            let caps =
                gst::Caps::builder_full().structure_with_features(structure.to_owned(), features.to_owned());
            writeln!(page, "{}", caps.build()).expect("a string takes everything");
        }
        page.push_str("```\n\n");
    }
}

fn write_signals(page: &mut String, element: &Subject) {
    let of_element = SIGNALS.iter().filter(|(owner, ..)| *owner == element.name);
    for (_, name, what) in of_element {
        let type_ = element.object.type_();
        let Some(signal) = glib::subclass::SignalId::lookup(name, type_) else { continue };
        let query = signal.query();
        let parameters: Vec<_> = query.param_types().iter().map(|param| param.type_().name()).collect();
        writeln!(
            page,
            "Signal `{name}` ({}) → {}: {what}\n",
            parameters.join(", "),
            query.return_type().type_().name()
        )
        .expect("a string takes everything");
    }
}

/// The page as it should be.
fn page() -> String {
    let mut page = String::from(
        "# Elements\n\nWhat `gst-inspect-1.0` says of each element, on one page. Written by `tests/inspect.rs`, which \
         also says how\nto write it anew: do not edit it by hand. What the elements inherit from GStreamer's classes \
         is left out.\n\n",
    );
    for name in ELEMENTS {
        let element = Subject::element(name);
        let factory = gst::ElementFactory::find(name).expect("a registered element");
        let metadata = |key| factory.metadata(key).unwrap_or_default().to_owned();
        writeln!(
            page,
            "## {name}\n\n{}. {}.\nClass: {}.\n",
            metadata(gst::ELEMENT_METADATA_LONGNAME),
            metadata(gst::ELEMENT_METADATA_DESCRIPTION),
            metadata(gst::ELEMENT_METADATA_KLASS)
        )
        .expect("a string takes everything");
        write_properties(&mut page, &element);
        write_signals(&mut page, &element);
        write_pads(&mut page, &factory);
        for pad in Subject::request_pads(name).iter().filter(|pad| !pad.properties.is_empty()) {
            writeln!(page, "### {}\n", pad.name).expect("a string takes everything");
            write_properties(&mut page, pad);
        }
    }
    page.trim_end().to_owned() + "\n"
}

#[test]
fn the_page_of_elements_is_what_the_elements_say() {
    assert_page(DOCUMENT, "inspect", &page());
}

#[test]
fn the_plugin_has_these_elements_and_no_other() {
    init();
    let features = gst::Registry::get().features_by_plugin("nextvision");
    let mut found: Vec<_> = features.iter().map(|feature| feature.name().to_string()).collect();
    found.sort();
    let mut expected = ELEMENTS.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
    for name in ELEMENTS {
        let factory = gst::ElementFactory::find(name).expect("a registered element");
        let long_name = factory.metadata(gst::ELEMENT_METADATA_LONGNAME).unwrap_or_default();
        assert!(long_name.starts_with("NextVision "), "{name}: {long_name}");
        assert_eq!(factory.rank(), gst::Rank::NONE, "{name} is never plugged in by itself");
    }
}

#[test]
fn the_readme_lists_every_element_and_no_other() {
    let readme = std::fs::read_to_string(repository("README.md")).expect("there is a README");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `nv")?.split('`').next());
    let listed: Vec<_> = rows.map(|name| format!("nv{name}")).collect();
    assert_eq!(listed, ELEMENTS);
}

#[test]
fn every_default_is_the_value_of_a_fresh_instance() {
    for subject in Subject::all() {
        // What can only be written is a secret.
        let settings =
            subject.properties.iter().filter(|property| property.flags().contains(ParamFlags::READWRITE));
        for property in settings.filter(|property| !WORKED_OUT.contains(&property.name())) {
            let value = subject.object.property_value(property.name());
            let (default, value) = (text(property.default_value()), text(&value));
            assert_eq!(value, default, "{}: {}", subject.name, property.name());
        }
    }
}

#[test]
fn every_blurb_is_a_sentence() {
    for subject in Subject::all() {
        assert!(!subject.properties.is_empty() || subject.name.contains(' '), "{}", subject.name);
        for property in &subject.properties {
            let (name, blurb) = (property.name(), property.blurb().unwrap_or_default());
            let sentence =
                blurb.starts_with(char::is_uppercase) && blurb.ends_with('.') && blurb.contains(' ');
            assert!(sentence, "{} {name}: {blurb:?}", subject.name);
            let time = ["-timeout", "-latency"].iter().any(|end| name.ends_with(end));
            assert!(!time || blurb.contains("nanoseconds"), "{} {name}: no unit in {blurb:?}", subject.name);
        }
    }
}

#[test]
fn every_property_says_when_it_may_be_set() {
    let states = gst::PARAM_FLAG_MUTABLE_READY | gst::PARAM_FLAG_MUTABLE_PLAYING;
    for subject in Subject::all() {
        for property in &subject.properties {
            let flags = property.flags();
            let said = flags.intersects(states) || !flags.contains(ParamFlags::WRITABLE);
            assert!(said, "{}: {}", subject.name, property.name());
        }
    }
}

#[test]
fn every_described_signal_exists() {
    for (owner, name, _) in SIGNALS {
        let element = Subject::element(owner);
        let signal = glib::subclass::SignalId::lookup(name, element.object.type_());
        assert!(signal.is_some(), "{owner}: {name}");
    }
}
