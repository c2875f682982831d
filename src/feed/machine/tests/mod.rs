//! The machine as a table of happenings and what it does then; a file per topic.

use super::*;

mod files;
mod limits;
mod outages;
mod pause;
mod props;
mod stalls;
mod stop;

/// A machine and a counter for its clock, in seconds.
struct Bench {
    machine: Machine,
    now: f64,
    /// When the last frame came, and whether one waits downstream.
    seen: Seen,
}

fn at(seconds: f64) -> Monotonic {
    Monotonic::ZERO.saturating_add(Duration::from_secs_f64(seconds))
}

fn failure(kind: Kind) -> Happening {
    Happening::Failed(Failure::new(kind, "why"))
}

/// An action in a word or two.
fn word(action: &Action) -> String {
    let text = match action {
        Action::Connect(Begin::Session) => "connect",
        Action::Connect(Begin::Loop) => "connect-loop",
        Action::Disconnect => "disconnect",
        Action::Rewind => "rewind",
        Action::Hold => "hold",
        Action::Release => "release",
        Action::SendEos => "send-eos",
        Action::Stopped(reason, _) => return format!("stopped {}", reason.as_str()),
        Action::Tell(event) => match &**event {
            Event::SourceConnected(event) => return format!("connected {}", event.attempts),
            Event::SourceDisconnected(event) => return format!("lost {}", event.reason),
            Event::SourceReconnecting(event) => return format!("attempt {}", event.attempt),
            Event::FeedRestarting(event) => return format!("restarting {}", event.reason),
            Event::SourceEos(_) => "source-eos",
            other => panic!("the machine tells {other:?}"),
        },
    };
    text.to_owned()
}

impl Bench {
    fn new(limits: Limits) -> Self {
        Self { machine: Machine::new(limits, at(0.0)), now: 0.0, seen: Seen::default() }
    }

    /// A source that is wanted.
    fn wanted(limits: Limits) -> Self {
        let mut bench = Self::new(limits);
        assert_eq!(bench.does(Happening::Resume), ["connect"]);
        bench
    }

    /// A source that gives frames.
    fn running(limits: Limits) -> Self {
        let mut bench = Self::wanted(limits);
        assert_eq!(bench.does(Happening::Frame), ["connected 0"]);
        bench
    }

    fn raw(&mut self, happening: Happening) -> Vec<Action> {
        self.machine.handle(happening, at(self.now), 0.0)
    }

    fn does(&mut self, happening: Happening) -> Vec<String> {
        self.raw(happening).iter().map(word).collect()
    }

    fn fails(&mut self, kind: Kind) -> Vec<String> {
        self.does(failure(kind))
    }

    fn passes(&mut self, seconds: f64) {
        self.now += seconds;
    }

    /// Time passes up to when the machine wants to look, which is in `seconds`.
    fn waits(&mut self, seconds: f64) -> Vec<String> {
        let due = self.machine.due().expect("something is due");
        let wait = due.since(at(self.now)).as_secs_f64();
        assert!((wait - seconds).abs() < 1e-6, "due in {wait} s, expected {seconds} s");
        self.passes(seconds);
        self.does(Happening::Tick(self.seen))
    }

    /// Frames come for so long, and then no more.
    fn flows(&mut self, seconds: f64) {
        self.passes(seconds);
        self.seen.last_frame = Some(at(self.now));
        assert_eq!(self.does(Happening::Tick(self.seen)), NOTHING);
    }

    fn state(&self) -> State {
        self.machine.state()
    }
}

const NOTHING: [&str; 0] = [];

fn camera() -> Limits {
    Limits::default()
}

fn file() -> Limits {
    Limits { is_live: false, is_local: true, ..Limits::default() }
}

fn looped() -> Limits {
    Limits { is_looped: true, ..file() }
}
