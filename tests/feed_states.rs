//! What a feed does whatever happens to its source, as the page has it.
//!
//! `docs/feed-states.md` is written by this file, from the state machine itself. After a change of it:
//!
//! ```text
//! ./dev run env NV_UPDATE=1 cargo test --test integration feed_states::
//! ```

use crate::support::assert_page;
use gstnextvision::feed::{
    Action, Backoff, Begin, Failure, Happening, Kind, Limits, Machine, Remedy, Seen, State,
};
use gstnextvision::health::Event;
use gstnextvision::time::Monotonic;
use std::fmt::Write as _;
use std::time::Duration;

const DOCUMENT: &str = "docs/feed-states.md";

const INTRODUCTION: &str = "# The states of a feed

What `nvfeed` does whatever happens to its source: [nvfeed.md](nvfeed.md) says how to use it. Written by
`tests/feed_states.rs` from the state machine itself, which also says how to write it anew: do not edit it by hand.

| state | |
|---|---|
";

const HAPPENINGS: &str = "
| what happens | |
|---|---|
";

const KINDS: &str = "
## Kinds of failure

`reason` in `source-disconnected`, `source-reconnecting` and `feed-restarting`, and the beginning of `detail` in
`feed-stopped`. *Again*: after the next delay. *Slowly*: after `reconnect-max-delay`. *Restart*: after the next delay, and
counted against `max-restarts`. *Stop*: `feed-stopped` with the reason `fatal`. A file is a `file://` address.

| reason | when | not a file | file before its first frame, or played once | file with `loop` or `on-end=restart`, later |
|---|---|---|---|---|
";

const TABLES: &str = "
## The tables

With the default properties but for what is said. What is not in a table changes nothing. Messages are `code`; a delay is
given without jitter. *Due* is when the feed looks again if nothing happens before.

*Connect*: make a source. *Disconnect*: let go of it; it ends on a thread of its own. *Hold*: let no frame pass and lose none.
*Release*: let them pass. *Rewind*: have the source begin again, in the same session.
";

fn meaning(state: State) -> &'static str {
    match state {
        State::Idle => "not started",
        State::Connecting => "there is a source, and no frame yet",
        State::Running => "frames come",
        State::Stalled => "frames have stopped coming; the source stands until the delay is over",
        State::BackingOff => "there is no source until the delay is over",
        State::Paused => "nothing is wanted for now; a live source is let go of, another one is held",
        State::Stopped => "nothing comes any more, unless the action `restart` is called",
    }
}

fn name(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Connecting => "connecting",
        State::Running => "running",
        State::Stalled => "stalled",
        State::BackingOff => "backing-off",
        State::Paused => "paused",
        State::Stopped => "stopped",
    }
}

fn when(kind: Kind) -> &'static str {
    match kind {
        Kind::Unreachable => "nobody answers at the address",
        Kind::Unresolvable => "the name of the host has no address",
        Kind::Unauthorized => "user or password are missing, wrong, or may not be sent in clear",
        Kind::NotFound => "the host has no such stream; there is no such file",
        Kind::Timeout => "no first frame within `liveness-timeout`",
        Kind::Stalled => "no further frame within `stall-timeout`, and none waits downstream",
        Kind::Ended => "a live source ended, or any before its first frame",
        Kind::Tls => "the encrypted connection could not be made, or its certificate is not trusted",
        Kind::Insecure => "the source redirects to where `tls-policy` or `allowed-schemes` does not allow",
        Kind::Decode => "the data cannot be read or decoded",
        Kind::Unsupported => {
            "nothing here reads or decodes this kind of data, or not with `decode-preference`"
        }
        Kind::NoVideo => "there is no video in it",
        Kind::TooLarge => "the picture is beyond `max-width`, `max-height` or `max-fps`",
        Kind::Downstream => "whoever takes the frames refuses them",
        Kind::Other => "anything else",
    }
}

fn camera() -> Limits {
    Limits { backoff: Backoff { jitter: 0.0, ..Backoff::default() }, ..Limits::default() }
}

fn file() -> Limits {
    Limits { is_live: false, is_local: true, ..camera() }
}

fn looped() -> Limits {
    Limits { is_looped: true, ..file() }
}

/// One thing that may happen.
struct Case {
    name: &'static str,
    meaning: &'static str,
    happening: Happening,
    /// Whether it is the last attempt that fails.
    is_last: bool,
}

fn cases() -> Vec<Case> {
    let case = |name, meaning, happening| Case { name, meaning, happening, is_last: false };
    let failed = |kind: Kind| Happening::Failed(Failure::new(kind, ""));
    vec![
        case("wanted", "`pause` becomes false; a live source: and the element is PLAYING", Happening::Resume),
        case("not wanted", "`pause` becomes true; a live source: or the element is PAUSED", Happening::Pause),
        case("`restart`", "the action", Happening::Restart),
        case("`stop`", "the action, or the element goes to READY", Happening::Stop),
        case("frame", "the first of a source, or the first after a stall", Happening::Frame),
        case("end", "the source has given all it had, and a frame at least", Happening::Ended),
        case("cannot rewind", "the source cannot go back to its beginning", Happening::CannotRewind),
        case("EOS downstream", "whoever takes the frames wants no more", Happening::Unwanted),
        case("fails", "with a kind of *again*, such as `unreachable`", failed(Kind::Unreachable)),
        case("is refused", "with a kind of *slowly*, such as `unauthorized`", failed(Kind::Unauthorized)),
        case("is broken", "with a kind of *restart*: `decode`", failed(Kind::Decode)),
        case("is hopeless", "with a kind of *stop*, such as `no-video`", failed(Kind::NoVideo)),
        Case {
            name: "fails too often",
            meaning: "and `reconnect-max-attempts` is used up, or for broken data `max-restarts`",
            happening: failed(Kind::Unreachable),
            is_last: true,
        },
        case("due", "the time is over: `liveness-timeout`, `stall-timeout` or the delay", tick()),
    ]
}

fn tick() -> Happening {
    Happening::Tick(Seen::default())
}

/// A machine in `state` and when that is.
fn drive(limits: &Limits, state: State) -> (Machine, Monotonic) {
    let mut now = Monotonic::ZERO;
    let mut machine = Machine::new(limits.clone(), now);
    let story = match state {
        State::Idle => vec![],
        State::Connecting => vec![Happening::Resume],
        State::Running => vec![Happening::Resume, Happening::Frame],
        State::Stalled => vec![Happening::Resume, Happening::Frame, tick()],
        State::BackingOff => {
            let failure = Failure::new(Kind::Unreachable, "");
            vec![Happening::Resume, Happening::Frame, tick(), Happening::Failed(failure)]
        }
        State::Paused => vec![Happening::Resume, Happening::Frame, Happening::Pause],
        State::Stopped => vec![Happening::Resume, Happening::Frame, Happening::Stop],
    };
    for happening in story {
        if happening == tick() {
            now = machine.due().unwrap_or(now);
        }
        machine.handle(happening, now, 0.0);
    }
    if state == State::BackingOff && machine.state() == State::Stopped {
        // What breaks is over, but for one that is too slow.
        now = Monotonic::ZERO;
        machine = Machine::new(limits.clone(), now);
        machine.handle(Happening::Resume, now, 0.0);
        now = machine.due().unwrap_or(now);
        machine.handle(tick(), now, 0.0);
    }
    assert_eq!(machine.state(), state);
    (machine, now)
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn said(event: &Event) -> String {
    let delay = |nanos: u64| seconds(Duration::from_nanos(nanos));
    match event {
        Event::SourceConnected(_) => "`source-connected`".to_owned(),
        Event::SourceDisconnected(_) => "`source-disconnected`".to_owned(),
        Event::SourceReconnecting(event) => {
            format!("`source-reconnecting` attempt {} in {}", event.attempt, delay(event.delay))
        }
        Event::FeedRestarting(event) if event.delay == 0 => "`feed-restarting`".to_owned(),
        Event::FeedRestarting(event) => format!("`feed-restarting` in {}", delay(event.delay)),
        Event::SourceEos(_) => "`source-eos`".to_owned(),
        other => panic!("the machine tells {other:?}"),
    }
}

fn done(action: &Action) -> String {
    match action {
        Action::Connect(Begin::Session) => "connect".to_owned(),
        Action::Connect(Begin::Loop) => "connect, in the same session".to_owned(),
        Action::Disconnect => "disconnect".to_owned(),
        Action::Rewind => "rewind".to_owned(),
        Action::Hold => "hold".to_owned(),
        Action::Release => "release".to_owned(),
        Action::Tell(event) => said(event),
        Action::Stopped(reason, _) => format!("`feed-stopped` {}", reason.as_str()),
        Action::SendEos => "EOS".to_owned(),
    }
}

/// What comes of one thing that happens in a state: the next state, when it looks again, and what is done.
struct Outcome {
    state: State,
    due: Option<Duration>,
    actions: Vec<String>,
    is_nothing: bool,
}

fn outcome(limits: &Limits, state: State, case: &Case) -> Outcome {
    let (mut machine, mut now) = drive(limits, state);
    if case.is_last {
        machine.set_limits(Limits { max_attempts: Some(0), ..limits.clone() });
    }
    if case.happening == tick() {
        now = machine.due().unwrap_or(now);
    }
    let before = (state, machine.due());
    let actions = machine.handle(case.happening.clone(), now, 0.0);
    let is_nothing = actions.is_empty() && before == (machine.state(), machine.due());
    Outcome {
        state: machine.state(),
        due: machine.due().map(|due| due.since(now)),
        actions: actions.iter().map(done).collect(),
        is_nothing,
    }
}

/// Every state against everything that can happen: the next state.
fn overview(limits: &Limits) -> String {
    let mut text = format!("| |{}|\n|---|", State::ALL.map(|state| format!(" {} ", name(state))).join("|"));
    text.push_str(&"---|".repeat(State::ALL.len()));
    text.push('\n');
    for case in cases() {
        let cells = State::ALL.map(|state| {
            let outcome = outcome(limits, state, &case);
            if outcome.is_nothing { String::new() } else { format!(" {} ", name(outcome.state)) }
        });
        writeln!(text, "| {} |{}|", case.name, cells.join("|")).expect("a string takes everything");
    }
    text
}

/// What is done where that is something.
fn details(limits: &Limits) -> String {
    let mut text = "\n| in | when | becomes | due in | does |\n|---|---|---|---|---|\n".to_owned();
    for state in State::ALL {
        for case in cases() {
            let outcome = outcome(limits, state, &case);
            if outcome.is_nothing {
                continue;
            }
            writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                name(state),
                case.name,
                name(outcome.state),
                outcome.due.map(seconds).unwrap_or_default(),
                outcome.actions.join("; ")
            )
            .expect("a string takes everything");
        }
    }
    text
}

/// What follows from a failure, seen at the machine and not at what it looks up.
fn follows(limits: &Limits, state: State, kind: Kind) -> &'static str {
    let (mut machine, now) = drive(limits, state);
    let actions = machine.handle(Happening::Failed(Failure::new(kind, "")), now, 0.0);
    let is_restart = |action: &Action| matches!(action, Action::Tell(event) if matches!(**event, Event::FeedRestarting(_)));
    match machine.due().map(|due| due.since(now)) {
        None => "stop",
        Some(_) if actions.iter().any(is_restart) => "restart",
        Some(delay) if delay == limits.backoff.max => "slowly",
        Some(_) => "again",
    }
}

fn kinds() -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        let of = |limits: &Limits, state| follows(limits, state, kind);
        let once = of(&file(), State::Running);
        assert_eq!(once, of(&looped(), State::Connecting), "one column has both");
        writeln!(
            text,
            "| `{}` | {} | {} | {once} | {} |",
            kind.as_str(),
            when(kind),
            of(&camera(), State::Running),
            of(&looped(), State::Running)
        )
        .expect("a string takes everything");
    }
    text
}

/// The page as it should be.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for state in State::ALL {
        writeln!(page, "| {} | {} |", name(state), meaning(state)).expect("a string takes everything");
    }
    page.push_str(HAPPENINGS);
    for case in cases() {
        writeln!(page, "| {} | {} |", case.name, case.meaning).expect("a string takes everything");
    }
    page.push_str(KINDS);
    page.push_str(&kinds());
    page.push_str(TABLES);
    let tables =
        [("A live source", camera()), ("A file, played once", file()), ("A file with `loop=true`", looped())];
    for (title, limits) in tables {
        write!(page, "\n### {title}\n\n").expect("a string takes everything");
        page.push_str(&overview(&limits));
        page.push_str(&details(&limits));
    }
    page
}

#[test]
fn the_page_of_states_is_what_the_machine_does() {
    assert_page(DOCUMENT, "feed_states", &page());
}

#[test]
fn what_follows_from_a_failure_of_a_camera_is_its_remedy() {
    for kind in Kind::ALL {
        let expected = match kind.remedy() {
            Remedy::Reconnect => "again",
            Remedy::ReconnectSlowly => "slowly",
            Remedy::Restart => "restart",
            Remedy::GiveUp => "stop",
        };
        assert_eq!(follows(&camera(), State::Running, kind), expected, "{kind:?}");
    }
}

#[test]
fn states_have_the_names_of_the_property() {
    use glib::prelude::*;
    crate::support::init();
    let element = gst::ElementFactory::make("nvfeed").build().expect("the element is there");
    let spec = element.find_property("status").expect("it has a status");
    let class = glib::EnumClass::with_type(spec.value_type()).expect("it is an enumeration");
    let nicks: Vec<&str> = class.values().iter().map(glib::EnumValue::nick).collect();
    assert_eq!(nicks, State::ALL.map(name));
}
