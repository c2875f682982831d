//! Sources that are not wanted for a while.

use super::*;

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
