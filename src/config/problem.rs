//! What is wrong with a site file, and where.

use std::fmt;

/// Most problems that are reported of one file.
pub const MOST_PROBLEMS: usize = 100;

/// Something that is wrong. It shows no secret; the caller says in which file it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1. `None` if it is in no line, such as something of the whole file.
    pub line: Option<u32>,
    /// The column in characters, from 1; set if `line` is.
    pub column: Option<u32>,
    /// The key by its path, such as `feeds[2].health.stall-timeout`; empty if it is of the whole file.
    pub key: String,
    /// What was expected and what was found.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Problem {}

/// `names`, of which one is expected.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [name] => (*name).to_owned(),
        _ => format!("one of {}", names.join(", ")),
    }
}

/// A question after the name that was meant; empty if none is near.
pub(super) fn did_you_mean(found: &str, names: &[&str]) -> String {
    nearest(found, names).map(|name| format!("did you mean {name}?")).unwrap_or_default()
}

/// The name that `found` is most like, if it is like one.
fn nearest<'a>(found: &str, names: &[&'a str]) -> Option<&'a str> {
    /// Longer ones are like none of ours.
    const LONGEST: usize = 40;
    if found.len() > LONGEST {
        return None;
    }
    let found = found.to_lowercase().replace(['_', ' '], "-");
    let steps = |name: &&'a str| (distance(&found, &name.to_lowercase()), *name);
    let (distance, name) = names.iter().map(steps).min_by_key(|(distance, _)| *distance)?;
    (distance <= 1.max(name.len() / 3)).then_some(name)
}

/// Letters to put in, to leave out, to change or to swap with the next to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut steps = at(&last, j) + usize::from(x != y);
            steps = steps.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let is_swap = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if is_swap {
                steps = steps.min(at(&before, j - 1) + 1);
            }
            row.push(steps);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}
