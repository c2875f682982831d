//! A source that is there and gives nothing.

use super::*;

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
