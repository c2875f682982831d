//! From text to the tables of [`raw`](super::raw), with all that is wrong on the way.
//!
//! serde stops at the first value that it cannot take. That value is noted and taken out, and the rest is read again,
//! until there is nothing to note.

use super::place::{Document, Place, Step, shown, take_out};
use super::problem::{MOST_PROBLEMS, Problem, did_you_mean};
use super::value::{FOUND, SECRET};
use super::{LARGEST_FILE, MOST_FEEDS, MOST_OTHERS};
use crate::health::redact;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::Spanned;

/// Most items of each list of a site.
pub(super) const LISTS: [(&str, usize); 4] =
    [("models", MOST_OTHERS), ("groups", MOST_OTHERS), ("feeds", MOST_FEEDS), ("outputs", MOST_OTHERS)];

/// A file, and what was found to be wrong in it.
pub(super) struct Findings<'a> {
    document: Document<'a>,
    wrong: Vec<(Place, Problem)>,
}

impl<'a> Findings<'a> {
    /// Reads `text` as TOML.
    ///
    /// # Errors
    ///
    /// If it is too large, or is none.
    pub(super) fn open(text: &'a str) -> Result<Self, Vec<Problem>> {
        let alone = |key, position: Option<(u32, u32)>, text| {
            let (line, column) = position.unzip();
            vec![Problem { line, column, key, text }]
        };
        if text.len() > LARGEST_FILE {
            let text = format!("expected a file of {LARGEST_FILE} bytes at most, found {} bytes", text.len());
            return Err(alone(String::new(), None, text));
        }
        match Document::parse(text) {
            Ok(document) => Ok(Self { document, wrong: Vec::new() }),
            Err((message, position)) => {
                let key = position.map(|(line, _)| key_around(text, line)).unwrap_or_default();
                let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
                Err(alone(key, position, format!("expected TOML, found an error: {}", redact(&message))))
            }
        }
    }

    /// Reads the tables. `None` if there is too much that is wrong.
    pub(super) fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut table = self.document.table();
        for (list, most) in LISTS {
            let length =
                table.get(list).and_then(|value| value.get_ref().as_array()).map_or(0, |list| list.len());
            if length > most {
                let place = Place::default().key(list);
                self.add(&place, format!("expected {most} {list} at most, found {length}"));
                take_out(&mut table, &place);
            }
        }
        while !self.is_full() {
            let deserializer = toml::Deserializer::from(Spanned::new(0..0, table.clone()));
            let error = match serde_path_to_error::deserialize::<_, T>(deserializer) {
                Ok(tables) => return Some(tables),
                Err(error) => error,
            };
            let mut place = place_of(error.path());
            let mut text = self.rephrase(&place, error.inner().message());
            // A date is a table for serde, with keys that are in no file.
            while !self.document.has(&place) && place.0.pop().is_some() {
                let expected = if place.last_key() == Some("password") { SECRET } else { "a table" };
                text = format!("expected {expected}, found {}", self.document.found(&place));
            }
            // What is wrong with the rest of a table may follow from what was taken out of it.
            if !self.is_wrong(&place) {
                self.add(&place, text);
            }
            if !take_out(&mut table, &place) {
                break;
            }
        }
        None
    }

    /// Whether no more problem is noted.
    pub(super) fn is_full(&self) -> bool {
        self.wrong.len() >= MOST_PROBLEMS
    }

    /// Notes that something is wrong at `place`.
    pub(super) fn add(&mut self, place: &Place, text: impl Into<String>) {
        if self.is_full() {
            return;
        }
        let (line, column) = self.document.position(place).unzip();
        let problem = Problem { line, column, key: place.to_string(), text: text.into() };
        if !self.wrong.iter().any(|(_, known)| *known == problem) {
            self.wrong.push((place.clone(), problem));
        }
    }

    /// Notes `expected`, and what is found at `place`.
    pub(super) fn expected(&mut self, place: &Place, expected: impl AsRef<str>) {
        let text = format!("expected {}, found {}", expected.as_ref(), self.document.found(place));
        self.add(place, text);
    }

    /// The value of `key` in the table at `place`, which must be there. What is wrong there is not missed as well.
    pub(super) fn need<T>(&mut self, place: &Place, key: &str, value: Option<T>, what: &str) -> Option<T> {
        if value.is_none() && !self.is_explained(place, key) {
            self.expected(&place.key(key), what);
        }
        value
    }

    /// Whether it is known why `key` is not in the table at `place`: it is wrong, or another was meant to be it.
    pub(super) fn is_explained(&self, place: &Place, key: &str) -> bool {
        let question = format!("did you mean {key}?");
        let is_meant = |wrong: &Place, problem: &Problem| {
            matches!(wrong.0.split_last(), Some((Step::Key(_), table)) if table == place.0)
                && problem.text.ends_with(&question)
        };
        self.is_wrong(&place.key(key)) || self.wrong.iter().any(|(wrong, problem)| is_meant(wrong, problem))
    }

    /// Whether something is known to be wrong at `place` or inside.
    pub(super) fn is_wrong(&self, place: &Place) -> bool {
        self.wrong.iter().any(|(wrong, _)| wrong.0.starts_with(&place.0))
    }

    /// Whether the file has something at `place`.
    pub(super) fn has(&self, place: &Place) -> bool {
        self.document.has(place)
    }

    /// The line of `place`.
    pub(super) fn line(&self, place: &Place) -> Option<u32> {
        self.document.position(place).map(|(line, _)| line)
    }

    /// All that is wrong, by line; or `value` if nothing is.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        let mut problems: Vec<_> = self.wrong.into_iter().map(|(_, problem)| problem).collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(problems),
        }
    }

    /// What serde says, in the words of all other problems.
    fn rephrase(&self, place: &Place, message: &str) -> String {
        let found = self.document.found(place);
        let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
        match expected {
            Some(expected) if message.starts_with("unknown field") => {
                // All names in it are between backticks.
                let keys: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
                unknown_key(place, &keys)
            }
            Some(expected) if message.starts_with("invalid ") => {
                let expected = match expected {
                    "a boolean" => "true or false",
                    "a string" => "a text",
                    "a sequence" => "a list",
                    other => other,
                };
                format!("expected {expected}, found {found}{}", brackets(place))
            }
            _ if message.contains(FOUND) => message.replacen(FOUND, &found, 1),
            _ if message.starts_with("expected ") => message.to_owned(),
            _ => format!("expected a smaller number, found {found}"),
        }
    }
}

/// What an operator may have missed who took a list for a table, or the other way round.
fn brackets(place: &Place) -> String {
    match place.0.as_slice() {
        [Step::Key(key)] if LISTS.iter().any(|(list, _)| list == key) => {
            format!(": write [[{key}]], with two brackets")
        }
        [Step::Key(key)] => format!(": write [{key}], with one bracket"),
        _ => String::new(),
    }
}

fn unknown_key(place: &Place, keys: &[&str]) -> String {
    let found = place.last_key().unwrap_or_default();
    let mut text = format!("expected one of the keys {}, found {}", keys.join(", "), shown(found));
    let hint = did_you_mean(found, keys);
    if !hint.is_empty() {
        text.push_str(": ");
        text.push_str(&hint);
    }
    text
}

fn place_of(path: &serde_path_to_error::Path) -> Place {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    Place(path.iter().map_while(step).collect())
}

/// The key on `line` of a text that is no TOML, as far as it can be told; else the table it is in.
fn key_around(text: &str, line: u32) -> String {
    let is_plain = |key: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (1..=64).contains(&key.len()) && key.chars().all(is_part)
    };
    let mut table = String::new();
    let mut seen: Vec<&str> = Vec::new();
    let last = usize::try_from(line).unwrap_or(usize::MAX);
    for row in text.lines().take(last) {
        let header = row.trim_start();
        if let Some(name) = header.strip_prefix("[[").and_then(|rest| rest.split(']').next()) {
            let name = name.trim();
            let index = seen.iter().filter(|seen| **seen == name).count();
            seen.push(name);
            table = if is_plain(name) { format!("{name}[{index}]") } else { String::new() };
        } else if let Some(name) = header.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let name = name.trim();
            table = if is_plain(name) { name.to_owned() } else { String::new() };
        }
    }
    let row = text.lines().nth(last.saturating_sub(1)).unwrap_or_default();
    let key = row.split('=').next().unwrap_or_default().trim();
    match (table.is_empty(), is_plain(key)) {
        (false, true) => format!("{table}.{key}"),
        (true, true) => key.to_owned(),
        (_, false) => table,
    }
}
