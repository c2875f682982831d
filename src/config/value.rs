//! The values of a site file, each read and checked at once.
//!
//! In their errors, `{found}` stands for what is in the file: only the caller, which knows where the value stands, can
//! say whether that may be shown.

use crate::health::{MASK, redact};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// In an error: what was found.
pub(super) const FOUND: &str = "{found}";

/// Longest name, in bytes.
const LONGEST_NAME: usize = 128;
/// Longest path, user and other text, in bytes.
const LONGEST_TEXT: usize = 4096;

/// Implements `Deserialize` for a type that is read from a text.
macro_rules! from_text {
    ([$($generics:tt)*] $name:ty) => {
        impl<'de, $($generics)*> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let expected = Self::expected();
                let parse = |text: &str| Self::from_text(text);
                deserializer.deserialize_str(TextVisitor { expected, parse })
            }
        }
    };
}

struct TextVisitor<F> {
    expected: String,
    /// The value, or a hint on how to write it; the hint may be empty.
    parse: F,
}

impl<T, F: Fn(&str) -> Result<T, String>> Visitor<'_> for TextVisitor<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(|hint| {
            let colon = if hint.is_empty() { "" } else { ": " };
            E::custom(format_args!("expected {}, found {FOUND}{colon}{hint}", self.expected))
        })
    }
}

/// Reads a text as `T`; `parse` gives it, or a hint.
pub(super) fn read_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: String,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(TextVisitor { expected, parse })
}

/// Days, in milliseconds.
pub(super) const DAY: u64 = 24 * 60 * 60 * 1000;

/// A time from `MIN` to `MAX` milliseconds, as text with units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time<const MIN: u64 = 0, const MAX: u64 = { 365 * DAY }>(Duration);

impl<const MIN: u64, const MAX: u64> Time<MIN, MAX> {
    /// The time.
    pub(super) const fn get(self) -> Duration {
        self.0
    }

    fn expected() -> String {
        let time = |millis| humantime::format_duration(Duration::from_millis(millis));
        match MIN {
            0 => format!("a time such as \"10s\" or \"50ms\", {} at most", time(MAX)),
            _ => format!("a time such as \"10s\" or \"50ms\", from {} to {}", time(MIN), time(MAX)),
        }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text.trim()).map_err(|_| {
            let has_unit = text.contains(|c: char| c.is_alphabetic());
            if has_unit { "" } else { "put a unit behind it, such as s or ms" }
        })?;
        let range = Duration::from_millis(MIN)..=Duration::from_millis(MAX);
        if range.contains(&time) { Ok(Self(time)) } else { Err(String::new()) }
    }
}

from_text!([const MIN: u64, const MAX: u64] Time<MIN, MAX>);

/// A size in bytes, at least [`Bytes::SMALLEST`], as text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes(u64);

impl Bytes {
    /// Below it a file would be little more than its name.
    pub(super) const SMALLEST: u64 = 1000;

    const UNITS: [(&'static str, u64); 8] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
    ];

    /// The size in bytes.
    pub(super) const fn get(self) -> u64 {
        self.0
    }

    fn expected() -> String {
        "a size such as \"100MB\" or \"64MiB\", from 1kB to 1000TB".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let small = text.trim().to_ascii_lowercase();
        let unit = Self::UNITS.iter().find_map(|(unit, bytes)| Some((small.strip_suffix(unit)?, *bytes)));
        let Some((number, factor)) = unit else {
            return Err("say one of the units kB, MB, GB, TB, KiB, MiB, GiB and TiB".to_owned());
        };
        let number = number.trim_end();
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("a whole number goes before the unit".to_owned());
        }
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        let in_range = bytes.filter(|bytes| (Self::SMALLEST..=1_000_000_000_000_000).contains(bytes));
        in_range.map(Self).ok_or_else(String::new)
    }
}

from_text!([] Bytes);

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole<const MIN: u32 = 0, const MAX: u32 = { u32::MAX }>(u32);

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// The number.
    pub(super) const fn get(self) -> u32 {
        self.0
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers<const MIN: u32, const MAX: u32>;
        impl<const MIN: u32, const MAX: u32> Visitor<'_> for Numbers<MIN, MAX> {
            type Value = Whole<MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                let number = u32::try_from(number).ok().filter(|number| (MIN..=MAX).contains(number));
                number.map(Whole).ok_or_else(|| {
                    E::custom(format_args!("expected a whole number from {MIN} to {MAX}, found {FOUND}"))
                })
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

/// A number from 0 to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number<const MAX: u32>(f64);

impl<const MAX: u32> Number<MAX> {
    /// The number.
    pub(super) const fn get(self) -> f64 {
        self.0
    }
}

impl<'de, const MAX: u32> Deserialize<'de> for Number<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers<const MAX: u32>;
        impl<const MAX: u32> Visitor<'_> for Numbers<MAX> {
            type Value = Number<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from 0 to {MAX}")
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                if (0.0..=f64::from(MAX)).contains(&number) {
                    return Ok(Number(number));
                }
                Err(E::custom(format_args!("expected a number from 0 to {MAX}, found {FOUND}")))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                // What is no u32 is out of range either way.
                self.visit_f64(u32::try_from(number).map_or(-1.0, f64::from))
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

/// The name of something in a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) String);

impl Name {
    fn expected() -> String {
        format!("a name of 1 to {LONGEST_NAME} bytes without control characters")
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > LONGEST_NAME || text.contains(char::is_control) {
            return Err(String::new());
        }
        if text.trim() != text {
            return Err("leave out the blanks around it".to_owned());
        }
        // Elements replace it, and two names could become one.
        if redact(text) != text {
            return Err("it reads as if it had a credential in it".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

from_text!([] Name);

/// A path or another text that has something in it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl Text {
    fn expected() -> String {
        format!("a text of 1 to {LONGEST_TEXT} bytes without control characters")
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let is_good =
            !text.trim().is_empty() && text.len() <= LONGEST_TEXT && !text.contains(char::is_control);
        if is_good { Ok(Self(text.to_owned())) } else { Err(String::new()) }
    }
}

from_text!([] Text);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact(&self.0))
    }
}

/// A user to authenticate as. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct User(String);

impl User {
    /// The user.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn expected() -> String {
        format!("a user of 1 to {LONGEST_NAME} bytes without control characters and without a colon")
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            return Err("a password goes into password = { env = … }".to_owned());
        }
        let is_good = !text.is_empty() && text.len() <= LONGEST_NAME && !text.contains(char::is_control);
        if is_good { Ok(Self(text.to_owned())) } else { Err(String::new()) }
    }
}

from_text!([] User);

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Where a secret is. Not the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In an environment variable of that name: ASCII letters, digits and underscores.
    Env(String),
    /// In a file; the end of its last line does not count.
    File(PathBuf),
}

/// What is expected of a secret. The value in the file is never shown: it may be the secret itself.
pub(super) const SECRET: &str = "{ env = \"NAME\" } or { file = \"/path\" }";

/// A secret as the file has it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretTable {
    env: Option<String>,
    file: Option<Text>,
}

impl SecretTable {
    fn check(self) -> Result<Secret, &'static str> {
        let Self { env, file } = self;
        match (env, file) {
            (Some(name), None) => {
                let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let starts_well = !name.starts_with(|c: char| c.is_ascii_digit());
                if is_name && starts_well && (1..=LONGEST_NAME).contains(&name.len()) {
                    Ok(Secret::Env(name))
                } else {
                    Err("another text as the name of the variable")
                }
            }
            (None, Some(Text(file))) => Ok(Secret::File(file.into())),
            (None, None) => Err("neither"),
            (Some(_), Some(_)) => Err("both"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables;
        impl<'de> Visitor<'de> for Tables {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SECRET)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                let table = SecretTable::deserialize(MapAccessDeserializer::new(map))?;
                let error = |found| A::Error::custom(format_args!("expected {SECRET}, found {found}"));
                table.check().map_err(error)
            }
        }
        deserializer.deserialize_any(Tables)
    }
}
