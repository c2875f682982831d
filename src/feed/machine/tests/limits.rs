//! What is allowed how often.

use super::*;

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
