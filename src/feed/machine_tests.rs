use super::*;
use crate::feed::backoff::{Backoff, SHORTEST};
use proptest::prelude::*;

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

// --- Outages ---------------------------------------------------------------------------------------------------

#[test]
fn an_outage_is_one_loss_its_attempts_and_one_return() {
    let mut bench = Bench::running(camera());
    bench.flows(60.0);
    assert_eq!(bench.fails(Kind::Unreachable), ["lost unreachable", "disconnect", "attempt 1"]);
    assert_eq!(bench.waits(1.0), ["connect"]);
    assert_eq!(bench.fails(Kind::Unreachable), ["disconnect", "attempt 2"]);
    assert_eq!(bench.waits(2.0), ["connect"]);
    assert_eq!(bench.fails(Kind::Unreachable), ["disconnect", "attempt 3"]);
    assert_eq!(bench.waits(4.0), ["connect"]);
    bench.passes(0.5);
    assert_eq!(bench.does(Happening::Frame), ["connected 3"]);
    let counts = bench.machine.counts();
    assert_eq!((counts.attempts, counts.connections, counts.outages), (4, 2, 1));
}

#[test]
fn an_outage_lasts_from_the_loss_to_the_first_frame() {
    let mut bench = Bench::running(camera());
    bench.flows(60.0);
    bench.fails(Kind::Ended);
    bench.waits(1.0);
    bench.passes(2.0);
    let actions = bench.raw(Happening::Frame);
    let [Action::Tell(event)] = actions.as_slice() else { panic!("{actions:?}") };
    let Event::SourceConnected(connected) = &**event else { panic!("{event:?}") };
    assert_eq!(connected.outage, 3_000_000_000);
}

#[test]
fn a_source_that_is_never_there_is_lost_once() {
    let mut bench = Bench::wanted(camera());
    assert_eq!(bench.waits(10.0), ["lost timeout", "disconnect", "attempt 1"]);
    bench.waits(1.0);
    assert_eq!(bench.waits(10.0), ["disconnect", "attempt 2"]);
}

#[test]
fn the_end_of_a_camera_is_a_loss() {
    let mut bench = Bench::running(camera());
    assert_eq!(bench.does(Happening::Ended), ["lost ended", "disconnect", "attempt 1"]);
    assert_eq!(bench.state(), State::BackingOff);
}

#[test]
fn a_short_session_does_not_put_the_attempts_back() {
    let mut bench = Bench::running(camera());
    bench.fails(Kind::Other);
    bench.waits(1.0);
    bench.does(Happening::Frame);
    bench.flows(9.9);
    assert_eq!(bench.fails(Kind::Other), ["lost failed", "disconnect", "attempt 2"]);
}

#[test]
fn a_stable_session_puts_the_attempts_back() {
    let mut bench = Bench::running(camera());
    bench.fails(Kind::Other);
    bench.waits(1.0);
    bench.does(Happening::Frame);
    bench.flows(10.0);
    assert_eq!(bench.fails(Kind::Other), ["lost failed", "disconnect", "attempt 1"]);
    assert_eq!(bench.waits(1.0), ["connect"]);
}

#[test]
fn a_session_need_not_outlast_the_delay_before_it_to_be_stable() {
    let mut bench = Bench::wanted(camera());
    bench.fails(Kind::Unauthorized);
    bench.waits(30.0);
    bench.does(Happening::Frame);
    bench.flows(10.0);
    assert_eq!(bench.fails(Kind::Other), ["lost failed", "disconnect", "attempt 1"]);
}

#[test]
fn silence_at_its_end_does_not_make_a_session_stable() {
    let mut bench = Bench::running(Limits { stall: Some(Duration::from_secs(60)), ..camera() });
    bench.fails(Kind::Other);
    bench.waits(1.0);
    bench.does(Happening::Frame);
    assert_eq!(bench.waits(60.0), ["lost stalled", "attempt 2"]);
}

#[test]
fn a_stable_session_that_the_user_pauses_puts_the_attempts_back() {
    let mut bench = Bench::running(camera());
    bench.fails(Kind::Other);
    bench.waits(1.0);
    bench.does(Happening::Frame);
    bench.flows(3600.0);
    bench.does(Happening::Pause);
    assert_eq!(bench.does(Happening::Resume), ["connect"]);
    assert_eq!(bench.fails(Kind::Other), ["lost failed", "disconnect", "attempt 1"]);
}

#[test]
fn a_stable_session_that_ends_and_begins_again_puts_the_attempts_back() {
    let limits = Limits { on_end: OnEnd::Restart, ..file() };
    let mut bench = Bench::running(limits);
    bench.fails(Kind::Other);
    bench.waits(1.0);
    bench.does(Happening::Frame);
    bench.flows(3600.0);
    bench.does(Happening::Ended);
    bench.waits(1.0);
    assert_eq!(bench.fails(Kind::Other), ["lost failed", "disconnect", "attempt 1"]);
}

#[test]
fn a_wrong_password_waits_the_longest_delay_each_time() {
    let mut bench = Bench::wanted(camera());
    assert_eq!(bench.fails(Kind::Unauthorized), ["lost unauthorized", "disconnect", "attempt 1"]);
    assert_eq!(bench.waits(30.0), ["connect"]);
    assert_eq!(bench.fails(Kind::Unauthorized), ["disconnect", "attempt 2"]);
    assert_eq!(bench.waits(30.0), ["connect"]);
}

#[test]
fn late_failures_of_a_source_that_was_let_go_of_are_ignored() {
    let mut bench = Bench::running(camera());
    bench.fails(Kind::Other);
    assert_eq!(bench.fails(Kind::Unreachable), NOTHING);
    assert_eq!(bench.does(Happening::Frame), NOTHING);
    assert_eq!(bench.does(Happening::Ended), NOTHING);
    assert_eq!(bench.does(Happening::CannotRewind), NOTHING);
    assert_eq!(bench.state(), State::BackingOff);
    assert_eq!(bench.machine.last_failure().map(|failure| failure.kind), Some(Kind::Other));
}

#[test]
fn a_failure_that_nothing_helps_is_fatal_at_once() {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.remedy() == Remedy::GiveUp) {
        let lost = format!("lost {}", kind.as_str());
        let mut bench = Bench::wanted(camera());
        assert_eq!(bench.fails(kind), [lost.as_str(), "disconnect", "stopped fatal", "send-eos"]);
        assert_eq!(bench.machine.due(), None);
    }
}

// --- Limits ----------------------------------------------------------------------------------------------------

#[test]
fn so_many_attempts_as_allowed_are_made_and_no_more() {
    for max in [1, 3] {
        let mut bench = Bench::wanted(Limits { max_attempts: Some(max), ..camera() });
        let mut words = Vec::new();
        while bench.state() != State::Stopped {
            words.extend(bench.fails(Kind::Unreachable));
            bench.passes(30.0);
            words.extend(bench.does(Happening::Tick(Seen::default())));
        }
        let count = |start: &str| words.iter().filter(|word| word.starts_with(start)).count();
        assert_eq!(count("attempt"), usize::try_from(max).expect("small"));
        assert_eq!((count("lost"), count("stopped restart-limit"), count("stopped")), (1, 1, 1));
        assert_eq!(bench.machine.counts().attempts, u64::from(max) + 1);
    }
}

#[test]
fn a_stall_beyond_the_last_attempt_stops_and_lets_go_of_the_source() {
    let mut bench = Bench::running(Limits { max_attempts: Some(1), ..camera() });
    assert_eq!(bench.waits(10.0), ["lost stalled", "attempt 1"]);
    assert_eq!(bench.waits(1.0), ["disconnect", "connect"]);
    bench.does(Happening::Frame);
    assert_eq!(
        bench.waits(10.0),
        ["lost stalled", "disconnect", "stopped restart-limit", "send-eos"],
        "one frame is no stable session"
    );
}

#[test]
fn broken_data_is_restarted_as_often_as_allowed_within_the_window() {
    let mut bench = Bench::wanted(Limits { max_restarts: 2, ..camera() });
    assert_eq!(bench.fails(Kind::Decode), ["lost decode", "disconnect", "restarting decode"]);
    bench.waits(1.0);
    assert_eq!(bench.fails(Kind::Decode), ["disconnect", "restarting decode"]);
    bench.waits(2.0);
    assert_eq!(bench.fails(Kind::Decode), ["disconnect", "stopped restart-limit", "send-eos"]);
    assert_eq!(bench.machine.counts().restarts, 2);
}

#[test]
fn restarts_before_the_window_are_forgotten() {
    let mut bench = Bench::wanted(Limits { max_restarts: 1, ..camera() });
    bench.fails(Kind::Decode);
    bench.waits(1.0);
    bench.does(Happening::Frame);
    bench.flows(9.0);
    bench.flows(290.0);
    let actions = bench.raw(failure(Kind::Decode));
    assert!(actions.iter().any(|action| word(action) == "restarting decode"), "{actions:?}");
}

#[test]
fn no_restarts_allowed_means_none() {
    let mut bench = Bench::wanted(Limits { max_restarts: 0, ..camera() });
    assert_eq!(bench.fails(Kind::Decode), ["lost decode", "disconnect", "stopped restart-limit", "send-eos"]);
}

// --- Stalls ----------------------------------------------------------------------------------------------------

#[test]
fn a_stalled_source_that_gives_a_frame_again_is_kept() {
    let mut bench = Bench::running(camera());
    assert_eq!(bench.waits(10.0), ["lost stalled", "attempt 1"]);
    assert_eq!(bench.state(), State::Stalled);
    bench.passes(0.5);
    assert_eq!(bench.does(Happening::Frame), ["connected 1"]);
    assert_eq!((bench.state(), bench.machine.counts().attempts), (State::Running, 1));
}

#[test]
fn a_stalled_source_is_replaced_after_the_delay() {
    let mut bench = Bench::running(camera());
    bench.waits(10.0);
    assert_eq!(bench.waits(1.0), ["disconnect", "connect"]);
    assert_eq!(bench.does(Happening::Frame), ["connected 1"]);
}

#[test]
fn a_stalled_source_that_fails_too_waits_for_the_same_attempt() {
    let mut bench = Bench::running(camera());
    bench.waits(10.0);
    bench.passes(0.25);
    assert_eq!(bench.fails(Kind::Unreachable), ["disconnect"]);
    assert_eq!(bench.waits(0.75), ["connect"]);
}

#[test]
fn a_source_whose_frame_waits_downstream_does_not_stall() {
    let mut bench = Bench::running(camera());
    bench.seen.is_blocked = true;
    assert_eq!(bench.waits(10.0), NOTHING);
    assert_eq!(bench.waits(10.0), NOTHING);
    bench.seen.is_blocked = false;
    bench.seen.last_frame = Some(at(bench.now));
    assert_eq!(bench.waits(10.0), ["lost stalled", "attempt 1"]);
}

#[test]
fn who_is_blocked_is_not_looked_at_in_a_tight_loop() {
    let limits = Limits { stall: Some(Duration::from_nanos(1)), ..camera() };
    let mut bench = Bench::running(limits);
    bench.seen.is_blocked = true;
    assert_eq!(bench.waits(1e-9), NOTHING);
    assert_eq!(bench.waits(SHORTEST.as_secs_f64()), NOTHING);
}

#[test]
fn frames_put_off_the_next_look() {
    let mut bench = Bench::running(camera());
    bench.seen.last_frame = Some(at(7.0));
    assert_eq!(bench.waits(10.0), NOTHING);
    assert_eq!(bench.waits(7.0), ["lost stalled", "attempt 1"]);
}

#[test]
fn timeouts_of_nothing_are_never_over() {
    let mut bench = Bench::wanted(Limits { liveness: None, stall: None, ..camera() });
    assert_eq!(bench.machine.due(), None);
    bench.does(Happening::Frame);
    assert_eq!(bench.machine.due(), None);
}

#[test]
fn another_way_to_the_source_has_its_own_time() {
    let mut bench = Bench::wanted(camera());
    bench.machine.set_time_limit(at(0.0), Some(Duration::from_secs(3)));
    assert_eq!(bench.waits(3.0), ["lost timeout", "disconnect", "attempt 1"]);
    bench.machine.set_time_limit(at(3.0), None);
    assert_eq!(bench.waits(1.0), ["connect"]);
}

// --- Files -----------------------------------------------------------------------------------------------------

#[test]
fn a_file_that_never_gave_a_frame_is_fatal() {
    for kind in [Kind::NotFound, Kind::Decode, Kind::Ended, Kind::Other, Kind::Unsupported] {
        for limits in [file(), looped(), Limits { on_end: OnEnd::Restart, ..file() }] {
            let mut bench = Bench::wanted(limits);
            let lost = format!("lost {}", kind.as_str());
            assert_eq!(bench.fails(kind), [lost.as_str(), "disconnect", "stopped fatal", "send-eos"]);
        }
    }
}

#[test]
fn a_file_that_is_slow_is_tried_again() {
    let mut bench = Bench::wanted(file());
    assert_eq!(bench.waits(10.0), ["lost timeout", "disconnect", "attempt 1"]);
}

#[test]
fn a_looped_file_that_breaks_later_is_tried_again() {
    let mut bench = Bench::running(looped());
    assert_eq!(bench.fails(Kind::NotFound), ["lost not-found", "disconnect", "attempt 1"]);
}

#[test]
fn a_file_played_once_that_breaks_is_over() {
    let mut bench = Bench::running(file());
    assert_eq!(bench.fails(Kind::Decode), ["lost decode", "disconnect", "stopped fatal", "send-eos"]);
}

#[test]
fn a_file_ends_with_its_end() {
    let mut bench = Bench::running(file());
    assert_eq!(
        bench.does(Happening::Ended),
        ["source-eos", "disconnect", "stopped end-of-stream", "send-eos"]
    );
    assert_eq!(bench.machine.counts().restarts, 0);
}

#[test]
fn a_file_may_stop_without_ending_the_stream() {
    let mut bench = Bench::running(Limits { on_end: OnEnd::Stop, ..file() });
    assert_eq!(bench.does(Happening::Ended), ["source-eos", "disconnect", "stopped end-of-stream"]);
}

#[test]
fn a_file_may_begin_again_as_another_session() {
    let mut bench = Bench::running(Limits { on_end: OnEnd::Restart, ..file() });
    for _ in 0..20 {
        assert_eq!(
            bench.does(Happening::Ended),
            ["source-eos", "disconnect", "restarting end-of-stream"],
            "an end is no failure that counts against max-restarts"
        );
        assert_eq!(bench.waits(1.0), ["connect"]);
        assert_eq!(bench.does(Happening::Frame), ["connected 0"]);
    }
}

#[test]
fn a_looped_file_is_rewound_without_a_word() {
    let mut bench = Bench::running(looped());
    for _ in 0..3 {
        assert_eq!(bench.does(Happening::Ended), ["rewind"]);
        assert_eq!(bench.state(), State::Running);
    }
    assert_eq!(bench.machine.counts().loops, 3);
}

#[test]
fn a_looped_file_that_cannot_be_rewound_is_opened_again_without_a_word() {
    let mut bench = Bench::running(looped());
    bench.does(Happening::Ended);
    assert_eq!(bench.does(Happening::CannotRewind), ["disconnect", "connect-loop"]);
    assert_eq!(bench.does(Happening::Frame), NOTHING);
    assert_eq!(bench.state(), State::Running);
}

// --- Pause -----------------------------------------------------------------------------------------------------

#[test]
fn a_paused_camera_is_let_go_of() {
    let mut bench = Bench::running(camera());
    assert_eq!(bench.does(Happening::Pause), ["disconnect"]);
    assert_eq!((bench.state(), bench.machine.due()), (State::Paused, None));
    assert_eq!(bench.does(Happening::Pause), NOTHING);
    assert_eq!(bench.does(Happening::Resume), ["connect"]);
    assert_eq!(bench.does(Happening::Resume), NOTHING);
    assert_eq!(bench.does(Happening::Frame), ["connected 0"]);
}

#[test]
fn a_paused_file_is_held_and_goes_on_where_it_was() {
    let mut bench = Bench::running(file());
    assert_eq!(bench.does(Happening::Pause), ["hold"]);
    bench.passes(3600.0);
    assert_eq!(bench.does(Happening::Tick(Seen::default())), NOTHING);
    assert_eq!(bench.does(Happening::Resume), ["release"]);
    assert_eq!(bench.state(), State::Running);
    assert_eq!(bench.waits(10.0), ["lost stalled", "attempt 1"]);
}

#[test]
fn a_file_that_begins_while_it_is_paused_is_there_on_resume() {
    let mut bench = Bench::wanted(file());
    bench.does(Happening::Pause);
    assert_eq!(bench.does(Happening::Frame), NOTHING);
    assert_eq!(bench.does(Happening::Resume), ["release", "connected 0"]);
}

#[test]
fn a_file_paused_before_its_first_frame_has_its_time_anew() {
    let mut bench = Bench::wanted(file());
    bench.does(Happening::Pause);
    bench.passes(60.0);
    assert_eq!(bench.does(Happening::Resume), ["release"]);
    assert_eq!(bench.waits(10.0), ["lost timeout", "disconnect", "attempt 1"]);
}

#[test]
fn a_file_paused_while_stalled_is_still_stalled_on_resume() {
    let mut bench = Bench::running(file());
    bench.waits(10.0);
    assert_eq!(bench.does(Happening::Pause), ["hold"]);
    bench.passes(60.0);
    assert_eq!(bench.does(Happening::Resume), ["release"]);
    assert_eq!(bench.state(), State::Stalled);
    assert_eq!(bench.waits(1.0), ["disconnect", "connect"]);
    assert_eq!(bench.does(Happening::Frame), ["connected 1"]);
}

#[test]
fn a_paused_file_that_fails_is_opened_again_on_resume() {
    let mut bench = Bench::running(looped());
    bench.does(Happening::Pause);
    assert_eq!(bench.fails(Kind::Other), ["lost failed", "disconnect"]);
    assert_eq!(bench.state(), State::Paused);
    assert_eq!(bench.does(Happening::Resume), ["connect"]);
    assert_eq!(bench.does(Happening::Frame), ["connected 0"]);
}

#[test]
fn a_file_that_ends_while_it_is_paused_stays_paused() {
    let mut bench = Bench::running(Limits { on_end: OnEnd::Restart, ..file() });
    bench.does(Happening::Pause);
    assert_eq!(bench.does(Happening::Ended), ["source-eos", "disconnect", "restarting end-of-stream"]);
    assert_eq!((bench.state(), bench.machine.due()), (State::Paused, None));
    assert_eq!(bench.does(Happening::Resume), ["connect"]);
}

#[test]
fn a_looped_file_that_is_opened_again_while_paused_stays_held() {
    let mut bench = Bench::running(looped());
    bench.does(Happening::Pause);
    assert_eq!(bench.does(Happening::Ended), ["rewind"]);
    assert_eq!(bench.does(Happening::CannotRewind), ["disconnect", "connect-loop", "hold"]);
    assert_eq!((bench.state(), bench.machine.due()), (State::Paused, None));
}

#[test]
fn a_pause_during_an_outage_takes_the_attempt_back() {
    let mut bench = Bench::running(camera());
    bench.fails(Kind::Unreachable);
    assert_eq!(bench.does(Happening::Pause), NOTHING);
    assert_eq!(bench.machine.due(), None);
    assert_eq!(bench.does(Happening::Resume), ["connect"]);
    assert_eq!(bench.does(Happening::Frame), ["connected 1"]);
}

// --- Stop and restart ------------------------------------------------------------------------------------------

/// A machine of these limits in each state but idle, by the same short story as the page has it.
fn in_every_state(limits: &Limits) -> Vec<Bench> {
    let running = || Bench::running(limits.clone());
    let mut stalled = running();
    stalled.waits(10.0);
    let mut backing_off = running();
    backing_off.waits(10.0);
    backing_off.fails(Kind::Unreachable);
    let mut paused = running();
    paused.does(Happening::Pause);
    let mut stopped = running();
    stopped.does(Happening::Stop);
    let all = vec![Bench::wanted(limits.clone()), running(), stalled, backing_off, paused, stopped];
    assert_eq!(all.iter().map(Bench::state).collect::<Vec<_>>(), State::ALL[1..]);
    all
}

#[test]
fn a_stop_is_said_once_from_whatever_state() {
    for limits in [camera(), looped()] {
        for mut bench in in_every_state(&limits) {
            let (was, mut words) = (bench.state(), bench.does(Happening::Stop));
            if was == State::Stopped {
                assert_eq!(words, NOTHING);
                continue;
            }
            words.retain(|word| word != "disconnect");
            assert_eq!(words, ["stopped user-requested", "send-eos"], "{was:?}");
            assert_eq!((bench.state(), bench.machine.due()), (State::Stopped, None));
        }
    }
}

#[test]
fn nothing_but_a_restart_wakes_what_is_stopped() {
    let mut bench = Bench::running(camera());
    bench.does(Happening::Stop);
    let happenings = [
        Happening::Stop,
        Happening::Unwanted,
        Happening::Frame,
        Happening::Ended,
        Happening::CannotRewind,
        failure(Kind::Other),
        failure(Kind::NoVideo),
        Happening::Pause,
        Happening::Resume,
        Happening::Tick(Seen::default()),
    ];
    for happening in happenings {
        bench.passes(60.0);
        assert_eq!(bench.does(happening.clone()), NOTHING, "{happening:?}");
        assert_eq!(bench.state(), State::Stopped);
    }
    assert_eq!(bench.does(Happening::Restart), ["restarting user-requested", "connect"]);
}

#[test]
fn a_restart_by_the_user_connects_at_once_from_whatever_state() {
    for limits in [camera(), looped()] {
        for mut bench in in_every_state(&limits) {
            let (was, mut words) = (bench.state(), bench.does(Happening::Restart));
            words.retain(|word| word != "disconnect");
            if was == State::Paused {
                assert_eq!(words, ["restarting user-requested"]);
                assert_eq!(bench.does(Happening::Resume), ["connect"]);
            } else {
                assert_eq!(words, ["restarting user-requested", "connect"], "{was:?}");
            }
            assert_eq!(bench.state(), State::Connecting);
            assert_eq!(bench.does(Happening::Frame), ["connected 0"]);
        }
    }
}

#[test]
fn a_restart_by_the_user_puts_all_limits_back() {
    let mut bench = Bench::wanted(Limits { max_restarts: 1, max_attempts: Some(1), ..camera() });
    bench.fails(Kind::Decode);
    bench.waits(1.0);
    assert_eq!(bench.fails(Kind::Decode), ["disconnect", "stopped restart-limit", "send-eos"]);
    bench.does(Happening::Restart);
    assert_eq!(bench.fails(Kind::Decode), ["disconnect", "restarting decode"]);
}

#[test]
fn a_restart_of_what_was_stopped_and_is_not_wanted_waits_until_it_is() {
    let mut bench = Bench::running(camera());
    bench.does(Happening::Stop);
    bench.does(Happening::Pause);
    assert_eq!(bench.does(Happening::Restart), ["restarting user-requested"]);
    assert_eq!(bench.state(), State::Paused);
    assert_eq!(bench.does(Happening::Stop), ["stopped user-requested"], "the stream has ended before");
    bench.does(Happening::Resume);
    assert_eq!(bench.does(Happening::Restart), ["restarting user-requested", "connect"]);
}

#[test]
fn nobody_downstream_is_the_end_of_the_stream() {
    let mut bench = Bench::running(camera());
    assert_eq!(bench.does(Happening::Unwanted), ["disconnect", "stopped end-of-stream", "send-eos"]);
}

#[test]
fn what_is_not_started_knows_only_whether_it_is_wanted() {
    for happening in [Happening::Stop, Happening::Restart, Happening::Unwanted, failure(Kind::Other)] {
        let mut bench = Bench::new(camera());
        assert_eq!(bench.does(happening), NOTHING);
        assert_eq!(bench.state(), State::Idle);
    }
    assert_eq!(Bench::new(camera()).does(Happening::Pause), NOTHING);
}

// --- Whatever happens ------------------------------------------------------------------------------------------

fn any_happening() -> impl Strategy<Value = Happening> {
    let kind = proptest::sample::select(Kind::ALL.as_slice());
    prop_oneof![
        1 => Just(Happening::Stop),
        2 => Just(Happening::Restart),
        2 => Just(Happening::Pause),
        4 => Just(Happening::Resume),
        6 => Just(Happening::Frame),
        2 => Just(Happening::Ended),
        1 => Just(Happening::CannotRewind),
        1 => Just(Happening::Unwanted),
        6 => kind.prop_map(failure),
        8 => (any::<bool>(), any::<bool>(), 0_u64..30_000_000_000).prop_map(|(some, is_blocked, at)| {
            let last_frame = some.then(|| Monotonic::from_nanos(at));
            Happening::Tick(Seen { last_frame, is_blocked })
        }),
    ]
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let on_end = proptest::sample::select([OnEnd::Eos, OnEnd::Restart, OnEnd::Stop].as_slice());
    let time = || proptest::option::of(1_u64..20_000_000_000);
    (any::<[bool; 3]>(), on_end, time(), time(), proptest::option::of(1_u32..4), 0_u32..3).prop_map(
        |([is_live, is_local, is_looped], on_end, liveness, stall, max_attempts, max_restarts)| Limits {
            is_live,
            is_local: is_local && !is_live,
            is_looped: is_looped && !is_live,
            on_end,
            liveness: liveness.map(Duration::from_nanos),
            stall: stall.map(Duration::from_nanos),
            max_attempts,
            max_restarts,
            ..Limits::default()
        },
    )
}

/// What somebody knows who has seen every action so far.
#[derive(Default)]
struct Witness {
    has_source: bool,
    is_held: bool,
    is_stopped: bool,
    has_ended: bool,
    is_lost: bool,
    /// Whether a return was told and neither a loss nor a new beginning since.
    is_there: bool,
    there_since: Monotonic,
    /// Whether a session has been stable since the last attempt, so that attempts may count anew.
    was_stable: bool,
    /// How many attempts there may have been: a restart for broken data does not say.
    attempts: Vec<u32>,
}

impl Witness {
    /// Time has passed up to `now`.
    fn waits(&mut self, now: Monotonic) {
        self.was_stable |= self.is_there && now.since(self.there_since) >= STABLE;
        if !self.is_there {
            self.there_since = now;
        }
    }

    /// The numbers that the next attempt may have.
    fn next_attempts(&mut self) -> Vec<u32> {
        let first = std::mem::take(&mut self.was_stable).then_some(1);
        let mut next: Vec<u32> = self.attempts.iter().map(|attempts| attempts + 1).chain(first).collect();
        next.dedup();
        if next.is_empty() { vec![1] } else { next }
    }

    fn sees(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match action {
            Action::Connect(_) => {
                prop_assert!(!self.has_source, "two sources");
                prop_assert!(!self.is_stopped, "a source for what is stopped");
                (self.has_source, self.is_held, self.has_ended) = (true, false, false);
            }
            Action::Disconnect => {
                prop_assert!(self.has_source, "no source to let go of");
                self.has_source = false;
            }
            Action::Rewind => prop_assert!(self.has_source, "no source to rewind"),
            Action::Hold => {
                prop_assert!(self.has_source && !self.is_held, "nothing to hold");
                self.is_held = true;
            }
            Action::Release => {
                prop_assert!(self.has_source && self.is_held, "nothing to release");
                self.is_held = false;
            }
            Action::Stopped(..) => {
                prop_assert!(!self.is_stopped, "a second end");
                prop_assert!(!self.has_source, "a source after the end");
                self.is_stopped = true;
            }
            Action::SendEos => {
                prop_assert!(self.is_stopped && !self.has_ended, "an EOS too many");
                self.has_ended = true;
            }
            Action::Tell(event) => return self.hears(event),
        }
        Ok(())
    }

    fn hears(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::SourceConnected(event) => {
                prop_assert!(self.has_source && !self.is_there, "there already");
                let is_known = self.attempts.contains(&event.attempts);
                prop_assert!(
                    is_known || event.attempts == 0,
                    "{} not in {:?}",
                    event.attempts,
                    self.attempts
                );
                self.attempts = vec![event.attempts];
                (self.is_lost, self.is_there) = (false, true);
            }
            Event::SourceDisconnected(_) => {
                prop_assert!(!self.is_lost, "lost already");
                (self.is_lost, self.is_there) = (true, false);
            }
            Event::SourceReconnecting(event) => {
                prop_assert!(self.is_lost, "an attempt without an outage");
                let next = self.next_attempts();
                prop_assert!(next.contains(&event.attempt), "{} not in {next:?}", event.attempt);
                self.attempts = vec![event.attempt];
            }
            Event::FeedRestarting(event) => match event.reason.as_str() {
                "user-requested" => {
                    (self.is_stopped, self.is_there, self.was_stable) = (false, false, false);
                    self.attempts.clear();
                }
                "end-of-stream" => self.is_there = false,
                _ => {
                    prop_assert!(self.is_lost, "a restart without an outage");
                    self.attempts = self.next_attempts();
                }
            },
            Event::SourceEos(_) => {}
            other => prop_assert!(false, "the machine tells {other:?}"),
        }
        Ok(())
    }
}

fn check_state(machine: &Machine, witness: &Witness) -> Result<(), TestCaseError> {
    let state = machine.state();
    match state {
        State::Idle | State::Stopped | State::BackingOff => prop_assert!(!witness.has_source, "{state:?}"),
        State::Connecting => prop_assert!(witness.has_source && !witness.is_held),
        State::Running => prop_assert!(witness.has_source && !witness.is_held && witness.is_there),
        State::Stalled => prop_assert!(witness.has_source && !witness.is_held && witness.is_lost),
        State::Paused => prop_assert!(witness.has_source == machine_holds(witness), "{state:?}"),
    }
    prop_assert_eq!(state == State::Stopped, witness.is_stopped);
    let is_waiting = matches!(state, State::Stalled | State::BackingOff);
    prop_assert!(!is_waiting || machine.due().is_some(), "waits for nothing");
    let is_at_rest = matches!(state, State::Idle | State::Paused | State::Stopped);
    prop_assert!(!is_at_rest || machine.due().is_none(), "{state:?} looks again");
    Ok(())
}

/// What is paused with a source holds it.
fn machine_holds(witness: &Witness) -> bool {
    witness.has_source && witness.is_held
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_the_story_makes_sense(
        limits in any_limits(),
        story in proptest::collection::vec((any_happening(), 0_u64..8_000_000_000, any::<f64>()), 1..80),
    ) {
        let mut machine = Machine::new(limits, Monotonic::ZERO);
        let mut witness = Witness::default();
        let mut now = Monotonic::ZERO;
        for (happening, wait, entropy) in story {
            now = now.saturating_add(Duration::from_nanos(wait));
            // A pause is a new beginning of the story, whatever comes of it.
            let is_pause = happening == Happening::Pause && machine.state() != State::Stopped;
            let is_tick = matches!(happening, Happening::Tick(_));
            witness.waits(now);
            let could_stop = machine.state() != State::Stopped;
            let actions = machine.handle(happening, now, entropy);
            for action in &actions {
                witness.sees(action)?;
            }
            if is_pause && !witness.has_source {
                witness.is_there = false;
            }
            let stops = actions.iter().filter(|action| matches!(action, Action::Stopped(..))).count();
            prop_assert!(stops <= usize::from(could_stop));
            prop_assert!(!is_tick || machine.due().is_none_or(|due| due > now), "looks again at once");
            check_state(&machine, &witness)?;
        }
    }

    #[test]
    fn a_source_that_always_fails_is_never_tried_in_a_tight_loop(
        kinds in proptest::collection::vec(proptest::sample::select(Kind::ALL.as_slice()), 1..40),
        entropy in 0.0_f64..=1.0,
    ) {
        let backoff = Backoff { base: Duration::ZERO, jitter: 1.0, ..Backoff::default() };
        let mut machine = Machine::new(Limits { backoff, ..Limits::default() }, Monotonic::ZERO);
        let mut now = Monotonic::ZERO;
        machine.handle(Happening::Resume, now, entropy);
        for kind in kinds {
            machine.handle(failure(kind), now, entropy);
            let Some(due) = machine.due() else { break };
            prop_assert!(due.since(now) >= SHORTEST);
            now = due;
            machine.handle(Happening::Tick(Seen::default()), now, entropy);
            prop_assert_eq!(machine.state(), State::Connecting);
        }
    }
}
