//! Names of classes, from a file of lines and from the dictionary YOLO exporters write.
//!
//! Stands in for `crate::vision::labels`, whose functions have these names and arguments.

/// More classes than this are a mistake.
const MAX_LABELS: usize = 100_000;

/// Why a text is no list of names.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("labels: {0}")]
pub(super) struct LabelError(String);

/// One label a line; blank lines at the end do not count.
pub(super) fn from_lines(bytes: &[u8]) -> Result<Vec<String>, LabelError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| LabelError("expected UTF-8 text, found other bytes".to_owned()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let labels: Vec<_> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match labels.len() {
        0 => Err(LabelError("expected one label a line, found none".to_owned())),
        n if n > MAX_LABELS => Err(LabelError(format!("expected at most {MAX_LABELS} labels, found {n}"))),
        _ => Ok(labels),
    }
}

/// The Python dictionary `{0: 'person', 1: "traffic light"}`, numbered from 0 without gaps.
pub(super) fn from_metadata(text: &str) -> Result<Vec<String>, LabelError> {
    let wrong = || LabelError(format!("expected {{0: 'name', ...}}, found {:.60}", text.trim()));
    let inner = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(wrong)?;
    let mut names = Vec::new();
    let mut rest = inner.trim_start();
    while !rest.is_empty() {
        let (number, after) = rest.split_once(':').ok_or_else(wrong)?;
        if number.trim().parse() != Ok(names.len()) || names.len() >= MAX_LABELS {
            return Err(wrong());
        }
        let (name, after) = quoted(after.trim_start()).ok_or_else(wrong)?;
        names.push(name);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return Err(wrong()),
        };
    }
    if names.is_empty() { Err(wrong()) } else { Ok(names) }
}

/// Reads a quoted Python string; what follows it comes back too.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?.1),
            c if c == quote => return Some((name, text.get(at + 1..)?)),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_lines_keeps_their_order() {
        assert_eq!(from_lines("\u{feff}a\r\n b \n\nc\n\n".as_bytes()).unwrap(), ["a", "b", "", "c"]);
        assert!(from_lines(b" \n\n").is_err());
    }

    #[test]
    fn names_of_exporters_are_read() {
        let names = from_metadata("{0: 'person', 1: \"driver's seat\", 2: 'a\\'b',}").unwrap();
        assert_eq!(names, ["person", "driver's seat", "a'b"]);
    }

    #[test]
    fn damaged_names_are_errors() {
        for text in ["", "{}", "{0: person}", "{1: 'a'}", "{0: 'a' 1: 'b'}", "{0: 'a", "[0]", "{0: 'a\\"] {
            assert!(from_metadata(text).is_err(), "{text}");
        }
    }
}
