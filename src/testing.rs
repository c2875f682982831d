//! Faults that tests build in on purpose, to prove that they would be caught.
//!
//! Only in builds with the feature `testing`, which no release has.

use std::sync::OnceLock;

/// The environment variable that asks for a fault.
pub const VARIABLE: &str = "NV_SABOTAGE";

/// A fault that a test asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sabotage {
    /// Something is never let go of.
    Leak,
    /// A frame goes to another feed.
    Swap,
    /// A thread that has nothing to do does not wait.
    Spin,
}

impl Sabotage {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "leak" => Some(Self::Leak),
            "swap" => Some(Self::Swap),
            "spin" => Some(Self::Spin),
            _ => None,
        }
    }
}

/// The fault that the environment variable `NV_SABOTAGE` asks for: `leak`, `swap` or `spin`; anything else is none.
/// Read once.
pub fn sabotage() -> Option<Sabotage> {
    static ASKED: OnceLock<Option<Sabotage>> = OnceLock::new();
    *ASKED.get_or_init(|| Sabotage::parse(&std::env::var(VARIABLE).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_faults_have_names() {
        let parsed = ["leak", "swap", "spin", "", "Leak"].map(Sabotage::parse);
        assert_eq!(parsed, [Some(Sabotage::Leak), Some(Sabotage::Swap), Some(Sabotage::Spin), None, None]);
    }
}
