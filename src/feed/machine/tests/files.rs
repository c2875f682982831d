//! Sources that end.

use super::*;

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
