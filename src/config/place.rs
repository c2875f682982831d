//! Places in a site file: keys by their path, and the lines they are in.

use crate::health::{MASK, redact};
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest key or text of the file that is shown, in characters.
const LONGEST_SHOWN: usize = 64;

/// One step into a table or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the value of that key.
    Key(String),
    /// To the value with that number, from 0.
    Index(usize),
}

/// A key by its path: `feeds[2].health.stall-timeout`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(pub(super) Vec<Step>);

impl Place {
    /// The place of `key` in the table that is here.
    pub(super) fn key(&self, key: &str) -> Self {
        self.and(Step::Key(key.to_owned()))
    }

    /// The place of the value with that number in the list that is here.
    pub(super) fn index(&self, index: usize) -> Self {
        self.and(Step::Index(index))
    }

    /// The place of the value with that number in the list of that name, from the top.
    pub(super) fn item(list: &str, index: usize) -> Self {
        Self::default().key(list).index(index)
    }

    fn and(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The last key in it.
    pub(super) fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }

    /// Whether what is here may be a secret, or hold one that nothing tells from other text.
    fn is_secret(&self) -> bool {
        let is_secret = |step: &Step| matches!(step, Step::Key(key) if key == "password" || key == "user" || key == "custom-pipeline");
        self.0.iter().any(is_secret)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => write!(f, "{}", shown_key(key))?,
                Step::Key(key) => write!(f, ".{}", shown_key(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A key as it can be shown.
fn shown_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.len() <= LONGEST_SHOWN && key.chars().all(is_bare) {
        return key.to_owned();
    }
    shown(key)
}

/// A text of the file as it can be shown: quoted, without secrets and cut to length.
pub(super) fn shown(text: &str) -> String {
    let text = redact(text);
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// The text of a site file, and the tables in it.
pub(super) struct Document<'a> {
    text: &'a str,
    table: DeTable<'a>,
}

impl<'a> Document<'a> {
    /// Reads the tables of `text`.
    ///
    /// # Errors
    ///
    /// The message and the position of the first error, if it is not TOML.
    pub(super) fn parse(text: &'a str) -> Result<Self, (String, Option<(u32, u32)>)> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { text, table: table.into_inner() }),
            Err(error) => {
                let position = error.span().map(|span| position(text, span.start));
                Err((error.message().to_owned(), position))
            }
        }
    }

    /// A copy of the tables.
    pub(super) fn table(&self) -> DeTable<'a> {
        self.table.clone()
    }

    /// Line and column of `place`, or of the innermost thing around it that is in the file.
    pub(super) fn position(&self, place: &Place) -> Option<(u32, u32)> {
        self.find(place).0.map(|offset| position(self.text, offset))
    }

    /// Whether there is something at `place`.
    pub(super) fn has(&self, place: &Place) -> bool {
        place.0.is_empty() || self.find(place).1.is_some()
    }

    /// What is found at `place`, as it can be shown.
    pub(super) fn found(&self, place: &Place) -> String {
        match self.find(place).1 {
            None => "nothing".to_owned(),
            Some(value) => describe(value, place.is_secret()),
        }
    }

    /// Where `place`, or the innermost thing around it, is in the text; and the value, if it is there.
    fn find(&self, place: &Place) -> (Option<usize>, Option<&DeValue<'a>>) {
        let mut offset = None;
        let mut value: Option<&DeValue<'a>> = None;
        for (at, step) in place.0.iter().enumerate() {
            let next = match step {
                Step::Key(key) => {
                    let table = if at == 0 { Some(&self.table) } else { value.and_then(DeValue::as_table) };
                    table
                        .and_then(|table| table.get_key_value(key.as_str()))
                        .map(|(key, value)| (key.span().start, value))
                }
                Step::Index(index) => value
                    .and_then(DeValue::as_array)
                    .and_then(|list| list.get(*index))
                    .map(|value| (value.span().start, value)),
            };
            let Some((start, found)) = next else { return (offset, None) };
            (offset, value) = (Some(start), Some(found.get_ref()));
        }
        (offset, value)
    }
}

/// Takes the innermost key of `place` out of `table`, so that what is wrong there is not met again; whether it was
/// there.
pub(super) fn take_out(table: &mut DeTable<'_>, place: &Place) -> bool {
    let is_key = |step: &Step| matches!(step, Step::Key(_));
    let Some(last) = place.0.iter().rposition(is_key) else { return false };
    let (Some(way), Some(Step::Key(key))) = (place.0.get(..last), place.0.get(last)) else { return false };
    let mut steps = way.iter();
    let Some(first) = steps.next() else { return table.remove(key.as_str()).is_some() };
    let Step::Key(first) = first else { return false };
    let mut value = table.get_mut(first.as_str());
    for step in steps {
        value = value.map(Spanned::get_mut).and_then(|value| match (step, value) {
            (Step::Key(key), DeValue::Table(table)) => table.get_mut(key.as_str()),
            (Step::Index(index), DeValue::Array(list)) => list.get_mut(*index),
            _ => None,
        });
    }
    match value.map(Spanned::get_mut) {
        Some(DeValue::Table(table)) => table.remove(key.as_str()).is_some(),
        _ => false,
    }
}

/// What is in the file, for people.
fn describe(value: &DeValue<'_>, is_secret: bool) -> String {
    match value {
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::String(_) if is_secret => format!("a text ({MASK})"),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) if is_secret => {
            format!("something else ({MASK})")
        }
        DeValue::String(text) => shown(text),
        DeValue::Integer(number) => cut(&number.to_string()),
        DeValue::Float(number) => cut(&number.to_string()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
    }
}

/// A number as it can be shown.
fn cut(digits: &str) -> String {
    match digits.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", digits.get(..end).unwrap_or_default()),
        None => digits.to_owned(),
    }
}

/// Line and column, from 1, of the byte at `offset`. The end of the text is in its last line.
fn position(text: &str, offset: usize) -> (u32, u32) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = text.get(..end).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count();
    let column = before.get(start..).unwrap_or_default().chars().count();
    (count(line), count(column))
}
