//! Names of classes: a labels file with one name a line, or the `names` a model carries in its metadata.
//!
//! The position of a name is the class id it stands for, so nothing here skips, sorts or merges names: what
//! cannot be kept in its place is an error. How many names a model needs is not known here; the caller
//! compares with [`super::decode::Decoder::classes`].

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::CharIndices;

/// Most names accepted; no published detector comes near it, and it bounds memory.
pub const MAX_LABELS: usize = 65_536;

/// Longest name accepted, in bytes of UTF-8.
pub const MAX_LABEL_BYTES: usize = 256;

/// Why a text is not a list of class names. Lines count from 1, bytes and classes from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The file is not text.
    #[error("labels: expected UTF-8 text, found an invalid byte at offset {offset}")]
    NotUtf8 {
        /// Offset of the first byte that is not UTF-8.
        offset: usize,
    },
    /// There is no name at all.
    #[error("labels: expected at least one name, found none")]
    Empty,
    /// There are more names than [`MAX_LABELS`].
    #[error("labels: expected at most {MAX_LABELS} names, found more")]
    TooMany,
    /// A name is longer than [`MAX_LABEL_BYTES`].
    #[error("labels: name of class {class}: expected at most {MAX_LABEL_BYTES} bytes, found {found}")]
    TooLong {
        /// Its class.
        class: usize,
        /// Its length in bytes, as far as it was read.
        found: usize,
    },
    /// A name is empty, and later ones are not.
    #[error("labels: name of class {class} is blank")]
    Blank {
        /// Its class.
        class: usize,
    },
    /// A name contains a control character.
    #[error("labels: name of class {class} contains the control character {character:?}")]
    Control {
        /// Its class.
        class: usize,
        /// The character.
        character: char,
    },
    /// A class between others, or the first, has no name.
    #[error("labels: class {class} has no name")]
    Missing {
        /// The first such class.
        class: usize,
    },
    /// A class is named twice.
    #[error("labels: class {class} is named twice")]
    Twice {
        /// The class.
        class: usize,
    },
    /// The metadata is not a dict or list of names.
    #[error("labels: expected {expected} at byte {offset} of the metadata `names`")]
    Syntax {
        /// What had to stand there.
        expected: &'static str,
        /// Where.
        offset: usize,
    },
}

/// Names from the bytes of a labels file: UTF-8, one name a line, line ends LF or CRLF.
///
/// A byte-order mark is ignored, as are blank lines at the end and white space around a name. A blank line
/// between names is an error, because it may or may not have been meant to hold a class's place.
///
/// # Errors
/// Not UTF-8, no name, a blank line between names, a control character, more than [`MAX_LABELS`] names, a
/// name longer than [`MAX_LABEL_BYTES`].
pub fn from_lines(bytes: &[u8]) -> Result<Vec<String>, LabelError> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| LabelError::NotUtf8 { offset: error.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
    if text.is_empty() {
        return Err(LabelError::Empty);
    }
    let mut names = Vec::new();
    for line in text.lines() {
        if names.len() == MAX_LABELS {
            return Err(LabelError::TooMany);
        }
        names.push(checked(names.len(), line.trim_matches(' '))?);
    }
    Ok(names)
}

/// Names from the metadata entry `names` as YOLO exporters write it: a Python dict `{0: 'person', 1: "dog"}`
/// or list `['person', 'dog']`, in either kind of quotes; JSON of the same form is read as well.
///
/// Nothing is evaluated. Classes may stand in any order but must run from 0 without a gap.
///
/// # Errors
/// Another syntax, a class missing or named twice, and the limits of [`from_lines`].
pub fn from_metadata(text: &str) -> Result<Vec<String>, LabelError> {
    let mut reader = Reader { chars: text.char_indices().peekable(), end: text.len() };
    let names = match reader.next_token() {
        Some('{') => reader.dict()?,
        Some('[') => reader.list()?,
        _ => return Err(LabelError::Syntax { expected: "`{` or `[`", offset: 0 }),
    };
    if reader.next_token().is_some() {
        return Err(reader.expected("the end"));
    }
    if names.is_empty() {
        return Err(LabelError::Empty);
    }
    names
        .into_iter()
        .enumerate()
        .map(
            |(place, (class, name))| {
                if place == class { Ok(name) } else { Err(LabelError::Missing { class: place }) }
            },
        )
        .collect()
}

/// `name` if it is a good one for `class`.
fn checked(class: usize, name: &str) -> Result<String, LabelError> {
    if name.len() > MAX_LABEL_BYTES {
        return Err(LabelError::TooLong { class, found: name.len() });
    }
    if name.trim().is_empty() {
        return Err(LabelError::Blank { class });
    }
    match name.chars().find(|character| character.is_control()) {
        Some(character) => Err(LabelError::Control { class, character }),
        None => Ok(name.to_owned()),
    }
}

type Names = BTreeMap<usize, String>;

/// Reads the literal syntax of [`from_metadata`], a character at a time.
struct Reader<'a> {
    chars: Peekable<CharIndices<'a>>,
    end: usize,
}

impl Reader<'_> {
    fn expected(&mut self, expected: &'static str) -> LabelError {
        let offset = self.chars.peek().map_or(self.end, |&(offset, _)| offset);
        LabelError::Syntax { expected, offset }
    }

    /// The next character that is not white space, left in place.
    fn peek_token(&mut self) -> Option<char> {
        while self.chars.next_if(|(_, character)| character.is_whitespace()).is_some() {}
        self.chars.peek().map(|&(_, character)| character)
    }

    fn next_token(&mut self) -> Option<char> {
        let token = self.peek_token();
        self.chars.next();
        token
    }

    fn take(&mut self, token: char, expected: &'static str) -> Result<(), LabelError> {
        if self.peek_token() != Some(token) {
            return Err(self.expected(expected));
        }
        self.chars.next();
        Ok(())
    }

    /// What follows an entry: true if another may follow, false at the closing bracket.
    fn another(&mut self, close: char) -> Result<bool, LabelError> {
        if self.peek_token() == Some(',') {
            self.chars.next();
        } else if self.peek_token() != Some(close) {
            return Err(self.expected("`,` or the closing bracket"));
        }
        Ok(!self.closed(close))
    }

    fn closed(&mut self, close: char) -> bool {
        let closed = self.peek_token() == Some(close);
        if closed {
            self.chars.next();
        }
        closed
    }

    fn dict(&mut self) -> Result<Names, LabelError> {
        let mut names = Names::new();
        let mut more = !self.closed('}');
        while more {
            let class = self.class()?;
            self.take(':', "`:`")?;
            let name = self.string(class)?;
            if names.insert(class, name).is_some() {
                return Err(LabelError::Twice { class });
            }
            more = self.another('}')?;
        }
        Ok(names)
    }

    fn list(&mut self) -> Result<Names, LabelError> {
        let mut names = Names::new();
        let mut more = !self.closed(']');
        while more {
            let class = names.len();
            if class == MAX_LABELS {
                return Err(LabelError::TooMany);
            }
            let name = self.string(class)?;
            names.insert(class, name);
            more = self.another(']')?;
        }
        Ok(names)
    }

    /// A class id: digits, or digits in quotes as JSON has them.
    fn class(&mut self) -> Result<usize, LabelError> {
        let quote = self.peek_token().filter(|token| matches!(token, '\'' | '"'));
        if quote.is_some() {
            self.chars.next();
        }
        let mut class: Option<usize> = None;
        while let Some((_, digit)) = self.chars.next_if(|(_, character)| character.is_ascii_digit()) {
            let digit = digit.to_digit(10).expect("it is an ASCII digit") as usize;
            let value = class.unwrap_or(0) * 10 + digit;
            if value >= MAX_LABELS {
                return Err(LabelError::TooMany);
            }
            class = Some(value);
        }
        let Some(class) = class else { return Err(self.expected("a class number")) };
        if let Some(quote) = quote {
            self.take(quote, "the closing quote")?;
        }
        Ok(class)
    }

    fn string(&mut self, class: usize) -> Result<String, LabelError> {
        let Some(quote) = self.peek_token().filter(|token| matches!(token, '\'' | '"')) else {
            return Err(self.expected("a name in quotes"));
        };
        self.chars.next();
        let mut name = String::new();
        loop {
            match self.chars.next() {
                None => return Err(self.expected("the closing quote")),
                Some((_, character)) if character == quote => return checked(class, &name),
                Some((_, '\\')) => name.push(self.escape()?),
                Some((_, character)) => name.push(character),
            }
            // Checked here and not only at the end, so that a hostile text is not copied whole.
            if name.len() > MAX_LABEL_BYTES {
                return Err(LabelError::TooLong { class, found: name.len() });
            }
        }
    }

    /// The character of an escape of Python's `repr` (or of JSON), behind the backslash.
    fn escape(&mut self) -> Result<char, LabelError> {
        match self.chars.next().map(|(_, character)| character) {
            Some(character @ ('\\' | '\'' | '"' | '/')) => Ok(character),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('x') => self.code_point(2),
            Some('u') => self.code_point(4),
            Some('U') => self.code_point(8),
            _ => Err(self.expected("an escape of Python or JSON")),
        }
    }

    fn code_point(&mut self, digits: usize) -> Result<char, LabelError> {
        let mut value: u32 = 0;
        for _ in 0..digits {
            let digit = self.chars.next().and_then(|(_, character)| character.to_digit(16));
            // Eight hexadecimal digits fill the 32 bits exactly: the shift loses nothing.
            value = match digit {
                Some(digit) => (value << 4) | digit,
                None => return Err(self.expected("a hexadecimal digit")),
            };
        }
        char::from_u32(value).ok_or_else(|| self.expected("the code of a character"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_name_a_line() {
        assert_eq!(from_lines(b"person\ntraffic light\n").unwrap(), ["person", "traffic light"]);
    }

    #[test]
    fn byte_order_mark_crlf_and_blank_lines_at_the_end_are_ignored() {
        let text = "\u{feff}person\r\n dog \r\nchien à poil\r\n\r\n  \n\n";
        assert_eq!(from_lines(text.as_bytes()).unwrap(), ["person", "dog", "chien à poil"]);
    }

    #[test]
    fn what_cannot_keep_its_place_is_refused() {
        assert_eq!(from_lines(b""), Err(LabelError::Empty));
        assert_eq!(from_lines(b"\n \r\n"), Err(LabelError::Empty));
        assert_eq!(from_lines(b"a\n\nc\n"), Err(LabelError::Blank { class: 1 }));
        assert_eq!(from_lines(b"\na"), Err(LabelError::Blank { class: 0 }));
        assert_eq!(from_lines(b"a\nb\xff"), Err(LabelError::NotUtf8 { offset: 3 }));
        assert_eq!(from_lines(b"a\nb\x1b[31mc"), Err(LabelError::Control { class: 1, character: '\u{1b}' }));
        assert_eq!(from_lines(b"a\tb"), Err(LabelError::Control { class: 0, character: '\t' }));
        assert_eq!(from_lines(b"a\rb"), Err(LabelError::Control { class: 0, character: '\r' }));
    }

    #[test]
    fn the_limits_hold_to_the_last_one() {
        let longest = "x".repeat(MAX_LABEL_BYTES);
        assert_eq!(from_lines(longest.as_bytes()).unwrap(), [longest.as_str()]);
        let longer = format!("{longest}x");
        let too_long = Err(LabelError::TooLong { class: 0, found: MAX_LABEL_BYTES + 1 });
        assert_eq!(from_lines(longer.as_bytes()), too_long);
        assert_eq!(from_metadata(&format!("['{longer}']")), too_long);

        let most = "x\n".repeat(MAX_LABELS);
        assert_eq!(from_lines(most.as_bytes()).unwrap().len(), MAX_LABELS);
        assert_eq!(from_lines(format!("{most}x\n").as_bytes()), Err(LabelError::TooMany));
        assert_eq!(from_metadata(&format!("[{}]", "'x',".repeat(MAX_LABELS + 1))), Err(LabelError::TooMany));
        assert_eq!(from_metadata("{99999999999999999999: 'x'}"), Err(LabelError::TooMany));
    }

    #[test]
    fn a_dict_of_python_in_either_quotes() {
        assert_eq!(from_metadata("{0: 'person', 1: 'traffic light'}").unwrap(), ["person", "traffic light"]);
        assert_eq!(
            from_metadata(r#"{0: "jack-o'-lantern", 1: 'a "b"',}"#).unwrap(),
            ["jack-o'-lantern", "a \"b\""]
        );
        assert_eq!(from_metadata("{ 1 : 'b' , 0 : 'a' }").unwrap(), ["a", "b"]);
    }

    #[test]
    fn lists_and_json_are_read_too() {
        assert_eq!(from_metadata("['a', \"b\"]").unwrap(), ["a", "b"]);
        assert_eq!(from_metadata(r#"{"0": "a", "1": "b\/c"}"#).unwrap(), ["a", "b/c"]);
    }

    #[test]
    fn escapes_mean_what_they_mean_in_python() {
        let names = from_metadata(r"['it\'s', 'a\\b', 'caf\xe9', '\u00fc\U0001F600']").unwrap();
        assert_eq!(names, ["it's", "a\\b", "café", "ü😀"]);
        assert_eq!(from_metadata(r"['a\nb']"), Err(LabelError::Control { class: 0, character: '\n' }));
        assert!(matches!(from_metadata(r"['\ud800']"), Err(LabelError::Syntax { .. })));
        assert!(matches!(from_metadata(r"['\xg0']"), Err(LabelError::Syntax { .. })));
        assert!(matches!(from_metadata(r"['\N{BULLET}']"), Err(LabelError::Syntax { .. })));
    }

    #[test]
    fn gaps_repetitions_and_other_syntax_are_refused() {
        assert_eq!(from_metadata("{0: 'a', 2: 'c'}"), Err(LabelError::Missing { class: 1 }));
        assert_eq!(from_metadata("{1: 'a'}"), Err(LabelError::Missing { class: 0 }));
        assert_eq!(from_metadata("{0: 'a', 0: 'b'}"), Err(LabelError::Twice { class: 0 }));
        assert_eq!(from_metadata("{0: ''}"), Err(LabelError::Blank { class: 0 }));
        assert_eq!(from_metadata("{}"), Err(LabelError::Empty));
        assert_eq!(from_metadata("[]"), Err(LabelError::Empty));
        for text in
            ["", "person", "{0: 'a'", "{0 'a'}", "{0: a}", "{-1: 'a'}", "['a' 'b']", "['a'] + 1", "{,}"]
        {
            assert!(matches!(from_metadata(text), Err(LabelError::Syntax { .. })), "{text}");
        }
        let error = from_metadata("{0: __import__('os')}").unwrap_err();
        assert_eq!(error, LabelError::Syntax { expected: "a name in quotes", offset: 4 });
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]{}:,'\"\\\\0-9ux a\\r\\n\u{feff}é]{0,40}") {
            from_metadata(&text).ok();
            from_lines(text.as_bytes()).ok();
        }

        #[test]
        fn names_survive_a_labels_file(names in proptest::collection::vec("[a-zé]([a-z ]{0,6}[a-z])?", 1..20)) {
            prop_assert_eq!(from_lines(names.join("\r\n").as_bytes()).unwrap(), names);
        }
    }
}
