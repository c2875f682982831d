//! `nextvision status`: the state of a running one, once.

use crate::client::Client;
use crate::view::{Size, size_of_terminal, view};
use crate::{Outcome, Whom, complain, text};
use std::io::{IsTerminal, Write};

/// Asks, and prints what is known.
pub(crate) fn status(whom: &Whom, json: bool) -> Outcome {
    let client = match Client::new(whom) {
        Ok(client) => client,
        Err(problems) => return Outcome::Wrong(problems),
    };
    let (body, snapshot) = match client.snapshot() {
        Ok(answer) => answer,
        Err(error) => return Outcome::Wrong(vec![error]),
    };
    let health = client.health();
    let shown = if json {
        pretty(&body) + "\n"
    } else {
        // The lines of a terminal can be scrolled back to; those of a file have no end to their right.
        let is_terminal = std::io::stdout().is_terminal();
        let width =
            if is_terminal || std::env::var_os("COLUMNS").is_some() { size_of_terminal().width } else { 200 };
        view(&snapshot, &health, Size { width, height: None }).join("\n") + "\n"
    };
    // A reader that has gone away has read enough.
    std::io::stdout().write_all(shown.as_bytes()).ok();
    match health {
        Ok(health) if health.is_well => Outcome::Well,
        Ok(health) => {
            let reasons = health.reasons.join(" ");
            complain(&format!(
                "nextvision: not healthy{}{reasons}",
                if reasons.is_empty() { "" } else { ": " }
            ));
            Outcome::Failed
        }
        Err(error) => Outcome::Wrong(vec![error]),
    }
}

/// All that came, also what this version does not know.
fn pretty(body: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(body).unwrap_or_default();
    text::harmless_json(&serde_json::to_string_pretty(&value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_newer_version_are_kept() {
        assert_eq!(
            pretty(r#"{"new":[1],"a":"\u009b2J"}"#),
            "{\n  \"a\": \"\\u009b2J\",\n  \"new\": [\n    1\n  ]\n}"
        );
    }
}
