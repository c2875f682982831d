//! A record as one line of JSON.

use super::Record;
use serde::Serialize as _;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use std::io;

/// Line ends that JSON leaves alone inside strings but that readers split at (Python's `splitlines`,
/// JavaScript before 2019).
const LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Appends the record and a line feed to `line`.
///
/// The result is one line for every reader, whatever the record's strings contain: control characters
/// and all of Unicode's line ends are escaped.
pub fn append_line(record: &Record, line: &mut Vec<u8>) {
    let mut serializer = Serializer::with_formatter(&mut *line, OneLine);
    record.serialize(&mut serializer).expect("a record has text keys only, and a vector takes any bytes");
    line.push(b'\n');
}

struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(LINE_ENDS) {
            let (plain, tail) = rest.split_at(at);
            let mut chars = tail.chars();
            let line_end = chars.next().map_or(0, u32::from);
            write!(writer, "{plain}\\u{line_end:04x}")?;
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;
