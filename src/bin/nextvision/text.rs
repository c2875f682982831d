//! Text on its way to a person: made harmless, made short.
//!
//! Names, reasons and messages come from cameras, files and the network. What reaches a terminal or a log has no
//! control character of theirs, and none of those that change the order in which text is read.

use std::borrow::Cow;
use std::fmt::Write;
use unicode_width::UnicodeWidthChar;

/// What stands for the part of a text that was cut off.
const CUT: char = '…';

/// Whether a terminal or a reader takes `c` for an order rather than for text: controls, separators of lines,
/// invisible characters, and marks that change the direction of text.
fn is_order(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` as one line, with what a terminal would obey in the form `\n` or `\u{1b}`.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_order) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_order(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    Cow::Owned(line)
}

/// JSON as it may be printed: what it leaves in its strings that a terminal would obey is escaped.
pub(crate) fn harmless_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        // White space between values is what makes it readable; in strings JSON has none of it.
        if c == '\n' || !is_order(c) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // A string takes whatever is written to it.
            write!(safe, "\\u{unit:04x}").ok();
        }
    }
    safe
}

/// `text` without escape sequences and other orders to a terminal; a separator of lines becomes a space.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => match rest.next() {
                Some('[') => skip_control_sequence(&mut rest),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut rest),
                _ => (),
            },
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut rest),
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => cleaned.push(' '),
            c if is_order(c) => (),
            c => cleaned.push(c),
        }
    }
    cleaned
}

/// Parameters, then one final byte. One that is no such sequence ends where it stops being one.
fn skip_control_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while rest.next_if(|c| (' '..='?').contains(c)).is_some() {}
    rest.next_if(|c| ('@'..='~').contains(c));
}

/// A title, a link: up to its terminator, and to the end without one.
fn skip_string(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => (),
        }
    }
}

/// How many columns of a terminal the text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// `text` in no more than `columns`; what was cut off shows as `…`.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut short = String::new();
    let mut left = columns.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(char_width(c)) else { break };
        left = rest;
        short.push(c);
    }
    if columns > 0 {
        short.push(CUT);
    }
    Cow::Owned(short)
}

/// `text` in no more than `bytes`, cut between characters; what was cut off shows as `…`.
pub(crate) fn cut_bytes(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let head = text.get(..text.floor_char_boundary(bytes)).unwrap_or_default();
    Cow::Owned(format!("{head}{CUT}"))
}

/// A time in nanoseconds, as short as it can be read: `250ms`, `12s`, `3m04s`, `2h05m`, `3d04h`.
pub(crate) fn duration(nanos: u64) -> String {
    let millis = nanos / 1_000_000;
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{}.{}s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A number in no more than six columns: `99999`, `123k`, `4567M`.
pub(crate) fn count(number: u64) -> String {
    const STEPS: [(u64, &str); 5] =
        [(1, ""), (1000, "k"), (1_000_000, "M"), (1_000_000_000, "G"), (1_000_000_000_000, "T")];
    let fits = STEPS.iter().find(|(unit, _)| number / unit < 100_000);
    fits.map_or_else(|| number.to_string(), |(unit, suffix)| format!("{}{suffix}", number / unit))
}

/// Bytes, in powers of 1024: `512 B`, `2.5 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = UNITS.iter().find(|(_, shift)| number >> shift > 0);
    fits.map_or_else(
        || format!("{number} B"),
        |(unit, shift)| {
            let tenths = (u128::from(number) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        assert_eq!(
            one_line("a\r\nb\tc\u{1b}[31m\u{2028}\u{202e}"),
            "a\\r\\nb\\tc\\u{1b}[31m\\u{2028}\\u{202e}"
        );
        assert!(matches!(one_line("Tür 3"), Cow::Borrowed("Tür 3")));
    }

    #[test]
    fn escape_sequences_leave_no_trace() {
        assert_eq!(clean("a\u{1b}[1;31mred\u{1b}[0m"), "ared");
        assert_eq!(clean("a\u{1b}]0;title\u{7}b"), "ab");
        assert_eq!(clean("a\u{1b}]8;;http://x\u{1b}\\b"), "ab");
        assert_eq!(clean("a\u{9b}2Jb\u{90}x\u{9c}c"), "abc");
        assert_eq!(clean("a\u{1b}cb\n\u{8}\u{202e}c"), "ab c");
        assert_eq!(clean("a\u{1b}]never ends"), "a");
        assert_eq!(clean("a\u{1b}[1;\u{1b}[31mb"), "ab");
    }

    #[test]
    fn json_stays_json_and_has_nothing_to_obey() {
        let json =
            serde_json::to_string_pretty(&serde_json::json!({"a": "\u{9b}2J\u{1b}\u{e0041}\n"})).unwrap();
        let safe = harmless_json(&json);
        assert!(!safe.contains(|c| c != '\n' && is_order(c)), "{safe}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
            serde_json::from_str::<serde_json::Value>(&json).unwrap()
        );
    }

    #[test]
    fn a_text_is_cut_at_columns_not_at_bytes() {
        assert_eq!(cut("Türsteher", 4), "Tür…");
        assert_eq!(cut("東京駅前", 5), "東京…");
        assert_eq!(cut("東京駅前", 4), "東…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(cut_bytes("Tür", 2), "T…");
    }

    #[test]
    fn times_are_short() {
        let of_millis = |millis: u64| duration(millis * 1_000_000);
        assert_eq!([0, 250, 1250, 12_000].map(of_millis), ["0ms", "250ms", "1.2s", "12s"]);
        assert_eq!([184_000, 7_500_000].map(of_millis), ["3m04s", "2h05m"]);
        assert_eq!(of_millis(273_600_000), "3d04h");
        assert!(duration(u64::MAX).ends_with('h'));
    }

    #[test]
    fn numbers_and_sizes_are_short() {
        assert_eq!([0, 99_999, 123_456].map(count), ["0", "99999", "123k"]);
        assert_eq!(count(4_567_000_000), "4567M");
        assert_eq!([512, 2_621_440].map(bytes), ["512 B", "2.5 MiB"]);
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_gets_through(text in any::<String>()) {
            prop_assert!(!one_line(&text).contains(is_order));
            prop_assert!(!clean(&text).contains(is_order));
        }

        #[test]
        fn what_is_cut_fits(text in any::<String>(), columns in 0_usize..20) {
            prop_assert!(width(&cut(&text, columns)) <= columns);
        }
    }
}
