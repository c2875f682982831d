//! The schemes that may be opened, as a list that a user writes.

use super::{LONGEST_ADDRESS, is_scheme, shown};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Why a text is no list of schemes. Holds no credential.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SchemesError {
    /// Longer than [`LONGEST_ADDRESS`].
    #[error("expected at most {LONGEST_ADDRESS} bytes of schemes, found {found} bytes")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Nothing between two commas, or nothing at all.
    #[error("expected schemes such as {default}, found nothing for number {number}", default = Schemes::DEFAULT)]
    Empty {
        /// Which of them, from 1.
        number: usize,
    },
    /// Not a scheme.
    #[error("expected schemes such as {default}, found {found:?}", default = Schemes::DEFAULT)]
    Malformed {
        /// What there is, without secrets and cut to length.
        found: String,
    },
}

/// The schemes that a feed may open. Read it from a list such as [`Schemes::DEFAULT`]; `Display` is that list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schemes(Vec<String>);

impl Schemes {
    /// The list that is allowed if none is given.
    pub const DEFAULT: &'static str = "rtsp,rtsps,http,https,file,v4l2";

    /// Whether `scheme`, in any case, is on the list.
    #[must_use]
    pub fn allows(&self, scheme: &str) -> bool {
        self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(scheme))
    }
}

impl Default for Schemes {
    fn default() -> Self {
        Self(Self::DEFAULT.split(',').map(str::to_owned).collect())
    }
}

impl FromStr for Schemes {
    type Err = SchemesError;

    /// Reads schemes with commas between, in any case, with blanks around them or without.
    fn from_str(text: &str) -> Result<Self, SchemesError> {
        if text.len() > LONGEST_ADDRESS {
            return Err(SchemesError::TooLong { found: text.len() });
        }
        let mut schemes: Vec<String> = Vec::new();
        for (index, entry) in text.split(',').enumerate() {
            let entry = entry.trim();
            if entry.is_empty() {
                return Err(SchemesError::Empty { number: index + 1 });
            }
            if !is_scheme(entry) {
                return Err(SchemesError::Malformed { found: shown(entry) });
            }
            let scheme = entry.to_ascii_lowercase();
            if !schemes.contains(&scheme) {
                schemes.push(scheme);
            }
        }
        Ok(Self(schemes))
    }
}

impl fmt::Display for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_schemes_allow_what_they_name_in_any_case() {
        let schemes: Schemes = " RTSP , srt,rtsp".parse().unwrap();
        assert_eq!(schemes.to_string(), "rtsp,srt");
        assert!(schemes.allows("rtsp") && schemes.allows("SRT"));
        assert!(!schemes.allows("rtsps") && !schemes.allows(""));
        assert_eq!(Schemes::default().to_string(), Schemes::DEFAULT);
        assert_eq!(Schemes::DEFAULT.parse(), Ok(Schemes::default()));
    }

    #[test]
    fn lists_of_schemes_that_are_none_are_refused() {
        let default = Schemes::DEFAULT;
        for (text, found) in [
            ("", "nothing for number 1"),
            ("rtsp,,file", "nothing for number 2"),
            ("rtsp,", "nothing for number 2"),
            ("rtsp;file", "\"rtsp;file\""),
            ("*", "\"*\""),
            ("1a", "\"1a\""),
            ("c", "\"c\""),
            ("rtsp://admin:pw@cam", "\"***\""),
        ] {
            let error = text.parse::<Schemes>().unwrap_err().to_string();
            assert_eq!(error, format!("expected schemes such as {default}, found {found}"));
        }
        let error = "rtsp,".repeat(10_000).parse::<Schemes>().unwrap_err();
        assert_eq!(error, SchemesError::TooLong { found: 50_000 });
    }
}
