//! [`verdict`]: whether a runtime is well, for orchestrators and for people.
//!
//! A site is unhealthy when nothing useful can come of it: it does not run, an engine is gone, or feeds are wanted and
//! none of them gives frames. What is wrong with a part of it is a warning. It says what is, not what to do.

use super::{Engine, Feed, FeedState, Output, Phase, Snapshot};
use crate::health::redact;
use serde::{Deserialize, Serialize};

/// Longest text of an error inside a sentence, in characters.
const MOST_TEXT: usize = 200;

/// Whether a runtime is well, with plain sentences that say why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// Whether it does what it is there for.
    pub healthy: bool,
    /// Why it does not; empty if it does.
    pub reasons: Vec<String>,
    /// What is wrong with parts of it.
    pub warnings: Vec<String>,
}

/// Judges `snapshot`.
#[must_use]
pub fn verdict(snapshot: &Snapshot) -> Verdict {
    let mut reasons: Vec<String> = phase(snapshot.phase).into_iter().collect();
    let failed = snapshot.engines.iter().filter(|engine| engine.state == "failed");
    reasons.extend(failed.map(|engine| sentence_of_engine(engine, "has failed")));

    let wanted: Vec<&Feed> = snapshot.feeds.iter().filter(|feed| is_wanted(feed)).collect();
    let down: Vec<&Feed> = wanted.iter().copied().filter(|feed| feed.state != FeedState::Running).collect();
    if !wanted.is_empty() && down.len() == wanted.len() {
        let count = wanted.len();
        reasons.push(match count {
            1 => "The only feed that is not paused gives no frames.".to_owned(),
            _ => format!("None of the {count} feeds that are not paused gives frames."),
        });
    }

    let mut warnings: Vec<String> = down.into_iter().map(sentence_of_feed).collect();
    let degraded = snapshot.engines.iter().filter(|engine| engine.state == "degraded");
    warnings.extend(degraded.map(|engine| sentence_of_engine(engine, "is degraded")));
    warnings.extend(snapshot.outputs.iter().filter(|output| output.lagging).map(sentence_of_output));
    if !snapshot.reload_error.is_empty() {
        let error = tail(&snapshot.reload_error);
        warnings.push(format!("The configuration was not read again, what was there goes on{error}."));
    }
    Verdict { healthy: reasons.is_empty(), reasons, warnings }
}

const fn is_wanted(feed: &Feed) -> bool {
    !feed.paused && !matches!(feed.state, FeedState::Paused)
}

fn phase(phase: Phase) -> Option<String> {
    let text = match phase {
        Phase::Running => return None,
        Phase::Starting => "The runtime is starting.",
        Phase::Draining => "The runtime is draining: it takes no more feeds.",
        Phase::Stopped => "The runtime has stopped.",
    };
    Some(text.to_owned())
}

fn sentence_of_feed(feed: &Feed) -> String {
    let Feed { feed_id, state, state_for, .. } = feed;
    let doing = match state {
        FeedState::Idle => "has not started",
        FeedState::Connecting => "is connecting",
        FeedState::Running => "is running",
        FeedState::Stalled => "is stalled",
        FeedState::BackingOff => "is backing off",
        FeedState::Paused => "is paused",
        FeedState::Ended => "has ended",
        FeedState::Failed => "has failed",
    };
    let since = match state {
        FeedState::Ended | FeedState::Failed => format!("{} ago", spell(*state_for)),
        _ => format!("for {}", spell(*state_for)),
    };
    let why = match (feed.reason.as_str(), feed.detail.as_str()) {
        ("", detail) => tail(detail),
        (reason, "") => format!(" ({})", shown(reason)),
        (reason, detail) => format!(" ({}){}", shown(reason), tail(detail)),
    };
    format!("Feed \"{}\" {doing}, {since}{why}.", shown(feed_id))
}

fn sentence_of_engine(engine: &Engine, what: &str) -> String {
    let Engine { group, model, last_error, .. } = engine;
    let (group, model) = (shown(group), shown(model));
    format!("The engine of model \"{model}\" in group \"{group}\" {what}{}.", tail(last_error))
}

fn sentence_of_output(output: &Output) -> String {
    let Output { name, lost, last_error, .. } = output;
    format!("Output \"{}\" loses records, {lost} so far{}.", shown(name), tail(last_error))
}

/// `: TEXT` without the full stop that the sentence brings itself; nothing for no text.
fn tail(text: &str) -> String {
    let text = shown(text);
    let text = text.trim_end_matches('.');
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// On one line, without credentials, and not without end.
fn shown(text: &str) -> String {
    let redacted = redact(text.trim());
    let mut chars = redacted.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = chars.by_ref().take(MOST_TEXT).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A time in its two greatest units: "12 s", "2 min 5 s", "3 h 4 min", "2 d 3 h".
fn spell(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |first: u64, unit: &str, second: u64, smaller: &str| match second {
        0 => format!("{first} {unit}"),
        _ => format!("{first} {unit} {second} {smaller}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => pair(minutes, "min", seconds % 60, "s"),
        3600..86_400 => pair(hours, "h", minutes % 60, "min"),
        _ => pair(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn feed(name: &str, state: FeedState) -> Feed {
        Feed { feed_id: name.to_owned(), state, state_for: 125 * SECOND, ..Feed::default() }
    }

    fn running(feeds: Vec<Feed>) -> Snapshot {
        Snapshot { phase: Phase::Running, feeds, ..Snapshot::default() }
    }

    fn engine(state: &str) -> Engine {
        Engine {
            group: "main".to_owned(),
            model: "people".to_owned(),
            state: state.to_owned(),
            last_error: "no answer within 2 s.".to_owned(),
            ..Engine::default()
        }
    }

    #[test]
    fn a_site_that_runs_without_feeds_is_healthy() {
        assert_eq!(verdict(&running(vec![])), Verdict { healthy: true, ..Verdict::default() });
    }

    #[test]
    fn a_site_that_does_not_run_is_unhealthy() {
        for phase in [Phase::Starting, Phase::Draining, Phase::Stopped] {
            let found = verdict(&Snapshot { phase, ..running(vec![feed("a", FeedState::Running)]) });
            assert!(!found.healthy && found.reasons.len() == 1, "{phase:?}: {found:?}");
        }
    }

    #[test]
    fn one_feed_that_runs_is_enough_and_the_others_are_warnings() {
        let mut yard = feed("yard", FeedState::Stalled);
        yard.reason = "stalled".to_owned();
        yard.detail = "no frame within 5 s".to_owned();
        let found = verdict(&running(vec![feed("gate", FeedState::Running), yard]));
        assert!(found.healthy);
        assert_eq!(found.reasons, Vec::<String>::new());
        assert_eq!(
            found.warnings,
            ["Feed \"yard\" is stalled, for 2 min 5 s (stalled): no frame within 5 s."]
        );
    }

    #[test]
    fn feeds_that_are_wanted_and_none_that_runs_is_unhealthy_whatever_their_state() {
        for state in FeedState::ALL {
            let found = verdict(&running(vec![feed("a", state), feed("b", state)]));
            let well = matches!(state, FeedState::Running | FeedState::Paused);
            assert_eq!(found.healthy, well, "{state:?}");
            assert_eq!(found.warnings.len(), if well { 0 } else { 2 }, "{state:?}");
        }
    }

    #[test]
    fn paused_feeds_are_nobodys_trouble() {
        // A feed that was paused before it could fail, and one whose source is held.
        let paused = Feed { paused: true, ..feed("a", FeedState::Connecting) };
        let found = verdict(&running(vec![paused.clone(), feed("b", FeedState::Paused)]));
        assert_eq!(found, Verdict { healthy: true, ..Verdict::default() });
        let found = verdict(&running(vec![paused, feed("c", FeedState::Failed)]));
        assert_eq!(found.reasons, ["The only feed that is not paused gives no frames."]);
        assert_eq!(found.warnings, ["Feed \"c\" has failed, 2 min 5 s ago."]);
    }

    #[test]
    fn a_failed_engine_is_a_reason_and_a_degraded_one_a_warning() {
        for state in ["ok", "closed", "degraded", "failed"] {
            let found = verdict(&Snapshot { engines: vec![engine(state)], ..running(vec![]) });
            assert_eq!(found.healthy, state != "failed", "{state}");
            assert_eq!(found.reasons.len(), usize::from(state == "failed"));
            assert_eq!(found.warnings.len(), usize::from(state == "degraded"));
        }
        let found = verdict(&Snapshot { engines: vec![engine("failed")], ..running(vec![]) });
        let expected = "The engine of model \"people\" in group \"main\" has failed: no answer within 2 s.";
        assert_eq!(found.reasons, [expected]);
    }

    #[test]
    fn outputs_that_lag_and_a_reload_that_failed_are_warnings() {
        let output = Output { name: "file".to_owned(), lagging: true, lost: 7, ..Output::default() };
        let reload_error = "site.toml:3: no such key: fedes".to_owned();
        let found = verdict(&Snapshot { outputs: vec![output], reload_error, ..running(vec![]) });
        assert!(found.healthy);
        assert_eq!(
            found.warnings,
            [
                "Output \"file\" loses records, 7 so far.",
                "The configuration was not read again, what was there goes on: site.toml:3: no such key: fedes."
            ]
        );
    }

    #[test]
    fn sentences_hold_no_credential_no_line_break_and_not_everything() {
        let detail = format!("rtsp://root:secret@cam/1 refused\nus{}", "!".repeat(500));
        let found = verdict(&running(vec![Feed { detail, ..feed("a\r\nb", FeedState::Failed) }]));
        let [sentence] = found.warnings.as_slice() else { panic!("{found:?}") };
        assert!(!sentence.contains("secret") && !sentence.contains(['\n', '\r']), "{sentence}");
        assert!(sentence.chars().count() < 300, "{sentence}");
    }

    #[test]
    fn times_are_spelled_in_their_two_greatest_units() {
        let spelled = [0, 59, 60, 125, 3600, 11_040, 86_400, 183_600].map(|seconds| spell(seconds * SECOND));
        assert_eq!(spelled, ["0 s", "59 s", "1 min", "2 min 5 s", "1 h", "3 h 4 min", "1 d", "2 d 3 h"]);
        assert!(spell(u64::MAX).ends_with(" h"));
    }
}
