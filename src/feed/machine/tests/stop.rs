//! The end of a source, and what undoes it.

use super::*;

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
