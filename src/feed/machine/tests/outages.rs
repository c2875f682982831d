//! A source that is lost, and the way back to it.

use super::*;

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
