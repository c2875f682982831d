//! What one part of the suite found: a table, notes, and promises that held or did not.
//!
//! Every part is a file `target/bench/parts/<part>.json`, so that parts can be run one by one, in other
//! programs too, and put together by [`super::report`].

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The findings of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// A letter, as in the list of parts.
    pub(crate) part: String,
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// How to read the table.
    pub(crate) notes: Vec<String>,
    pub(crate) checks: Vec<Check>,
}

/// A promise, and whether it held in this run. Nothing fails if it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) expected: String,
    pub(crate) found: String,
    pub(crate) holds: bool,
}

/// Where everything this suite writes lies.
pub(crate) fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target")).join("bench")
}

impl Part {
    pub(crate) fn new(part: &str, title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { part: part.to_owned(), title: title.to_owned(), columns, ..Self::default() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn check(&mut self, name: &str, expected: &str, found: impl Into<String>, holds: bool) {
        let (name, expected) = (name.to_owned(), expected.to_owned());
        self.checks.push(Check { name, expected, found: found.into(), holds });
    }

    /// Writes the part to its file and prints it.
    pub(crate) fn publish(&self) -> Result<()> {
        let folder = folder().join("parts");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(format!("{}.json", self.part));
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| path.display().to_string())?;
        println!("\n{}", self.text());
        Ok(())
    }

    /// The part as text for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("({}) {}\n", self.part, self.title);
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).chain(self.columns.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            for (at, cell) in row.iter().enumerate() {
                // The first column says what the row is; the others are numbers.
                let padding = " ".repeat(width(at).saturating_sub(cell.chars().count()));
                let (before, after) = if at == 0 { ("", &*padding) } else { (&*padding, "") };
                text += &format!("  {before}{cell}{after}");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for note in &self.notes {
            text += &format!("  - {note}\n");
        }
        for check in &self.checks {
            let verdict = if check.holds { "holds" } else { "DOES NOT HOLD" };
            text +=
                &format!("  {verdict}: {}: expected {}, found {}\n", check.name, check.expected, check.found);
        }
        text
    }
}
