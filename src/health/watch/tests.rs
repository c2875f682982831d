//! Time is a number here: milliseconds.

use super::*;
use crate::health::{FpsLow, FrameLag, LagRecovered};
use proptest::prelude::*;

const fn at(millis: u64) -> Monotonic {
    Monotonic::from_nanos(millis * 1_000_000)
}

const fn millis(millis: u64) -> u64 {
    millis * 1_000_000
}

fn watch(limits: Limits) -> Watch {
    let mut watch = Watch::default();
    watch.set_limits(limits);
    watch.start(at(0));
    watch.play(at(0));
    watch
}

fn stalls() -> Limits {
    Limits { stall_timeout: Some(Duration::from_secs(2)), ..Limits::default() }
}

fn idles(reap_idle: bool) -> Limits {
    Limits { idle_timeout: Some(Duration::from_secs(3)), reap_idle, ..Limits::default() }
}

/// A frame comes and is taken.
fn pass(watch: &mut Watch, frame: &Frame, now: u64) -> Vec<Event> {
    let mut events = watch.frame(frame, at(now));
    events.extend(watch.pushed(Pushed::Taken, at(now)));
    events
}

fn plain(watch: &mut Watch, now: u64) -> Vec<Event> {
    pass(watch, &Frame::default(), now)
}

fn timed(seconds: i64) -> Frame {
    Frame { running_time: Some(seconds * 1_000_000_000), ..Frame::default() }
}

fn started(session: u32) -> Event {
    FeedStarted { session }.into()
}

fn stopped(reason: &str, detail: &str, session: u32, frames: u64) -> Event {
    let (reason, detail) = (reason.to_owned(), detail.to_owned());
    FeedStopped { reason, detail, session, frames }.into()
}

fn stalled(silent_for: u64, blocked: bool) -> Event {
    FeedStalled { silent_for: millis(silent_for), blocked }.into()
}

fn recovered(stalled_for: u64) -> Event {
    FeedRecovered { stalled_for: millis(stalled_for) }.into()
}

fn idle(idle_for: u64, action: &str) -> Event {
    Idle { idle_for: millis(idle_for), action: action.to_owned() }.into()
}

fn ticked(watch: &mut Watch, now: u64) -> Vec<Event> {
    watch.tick(at(now)).events
}

#[test]
fn a_session_begins_with_a_frame_and_ends_with_eos() {
    let mut watch = watch(stalls());
    assert_eq!(plain(&mut watch, 1), [started(0)]);
    assert_eq!(plain(&mut watch, 2), []);
    assert_eq!(watch.eos(at(3)), [SourceEos {}.into(), stopped("end-of-stream", "", 0, 2)]);
    assert_eq!(watch.eos(at(4)), []);
    assert_eq!(watch.deadline(), None, "a feed that has ended does not stall");
    assert_eq!(watch.stop(at(5)), []);
}

#[test]
fn a_feed_without_frames_has_a_session_only_if_it_ends() {
    let mut watch = watch(stalls());
    assert_eq!(watch.stop(at(1)), []);
    watch.start(at(2));
    assert_eq!(watch.eos(at(3)), [SourceEos {}.into(), stopped("end-of-stream", "", 0, 0)]);
}

#[test]
fn stopping_is_reported_for_a_session_that_runs() {
    let mut watch = watch(stalls());
    plain(&mut watch, 1);
    assert_eq!(watch.stop(at(2)), [stopped("user-requested", "", 0, 1)]);
    assert_eq!(watch.stop(at(3)), []);
    watch.start(at(4));
    assert_eq!(plain(&mut watch, 5), [started(1)]);
}

#[test]
fn a_new_stream_is_a_new_session() {
    let mut watch = watch(stalls());
    plain(&mut watch, 1);
    assert_eq!(watch.stream_start(at(2)), [stopped("end-of-stream", "a new stream began", 0, 1)]);
    assert_eq!(watch.stream_start(at(3)), []);
    assert_eq!(plain(&mut watch, 4), [started(1)]);
}

#[test]
fn a_higher_session_of_the_feed_is_a_new_session() {
    let mut watch = watch(stalls());
    let of = |session, seq| Frame { origin: Some(Origin { session, seq }), ..Frame::default() };
    pass(&mut watch, &of(0, 7), 1);
    assert_eq!(pass(&mut watch, &of(0, 10), 2), []);
    assert_eq!(watch.snapshot(at(2)).missing, 2);
    let ended = stopped("end-of-stream", "session 1 of the feed began", 0, 2);
    assert_eq!(pass(&mut watch, &of(1, 0), 3), [ended, started(1)]);
    assert_eq!(watch.snapshot(at(3)).missing, 2);
    watch.stream_start(at(4));
    assert_eq!(pass(&mut watch, &of(2, 0), 5), [started(2)], "told by the stream already");
}

#[test]
fn a_failure_downstream_ends_the_session_until_frames_flow_again() {
    let mut watch = watch(stalls());
    plain(&mut watch, 1);
    let failed = Pushed::Failed("error");
    watch.frame(&Frame::default(), at(2));
    assert_eq!(watch.pushed(failed, at(2)), [stopped("fatal", "downstream answered error", 0, 2)]);
    for now in 3..6 {
        assert_eq!(watch.frame(&Frame::default(), at(now)), []);
        assert_eq!(watch.pushed(failed, at(now)), []);
    }
    assert_eq!(watch.deadline(), None);
    assert_eq!(plain(&mut watch, 7), [started(1)]);
    assert_eq!(watch.stop(at(8)), [stopped("user-requested", "", 1, 1)]);
}

#[test]
fn eos_after_a_failure_ends_no_second_session() {
    let mut watch = watch(stalls());
    watch.frame(&Frame::default(), at(1));
    watch.pushed(Pushed::Failed("not-negotiated"), at(1));
    assert_eq!(watch.eos(at(2)), [SourceEos {}.into()]);
    assert_eq!(watch.stop(at(3)), []);
}

#[test]
fn flushing_and_eos_of_downstream_end_nothing() {
    let mut watch = watch(stalls());
    watch.frame(&Frame::default(), at(1));
    assert_eq!(watch.pushed(Pushed::Refused, at(1)), []);
    watch.flush(at(2));
    assert_eq!(plain(&mut watch, 3), []);
}

#[test]
fn silence_is_a_stall_once_and_over_with_the_next_frame() {
    let mut watch = watch(stalls());
    plain(&mut watch, 100);
    assert_eq!(watch.deadline(), Some(at(2100)));
    assert_eq!(ticked(&mut watch, 2099), []);
    assert_eq!(ticked(&mut watch, 2100), [stalled(2000, false)]);
    assert_eq!(ticked(&mut watch, 9000), []);
    assert!(!watch.snapshot(at(9000)).alive);
    assert_eq!(plain(&mut watch, 9100), [recovered(9000)]);
    assert!(watch.snapshot(at(9100)).alive);
}

#[test]
fn a_feed_that_never_gave_a_frame_stalls_once() {
    let mut watch = watch(stalls());
    assert_eq!(ticked(&mut watch, 2000), [stalled(2000, false)]);
    assert_eq!(ticked(&mut watch, 60_000), []);
    assert_eq!(plain(&mut watch, 61_000), [started(0), recovered(61_000)]);
}

#[test]
fn a_frame_stuck_downstream_is_said_to_be_the_reason() {
    let mut watch = watch(stalls());
    watch.frame(&Frame::default(), at(0));
    assert_eq!(ticked(&mut watch, 2000), [stalled(2000, true)]);
}

#[test]
fn a_pause_is_no_silence() {
    let mut watch = watch(stalls());
    plain(&mut watch, 1000);
    watch.pause(at(2000));
    assert_eq!(watch.deadline(), None);
    watch.play(at(60_000));
    assert_eq!(watch.deadline(), Some(at(61_000)));
    assert_eq!(ticked(&mut watch, 61_000), [stalled(2000, false)]);
    watch.pause(at(62_000));
    assert_eq!(plain(&mut watch, 70_000), [recovered(3000)]);
    watch.play(at(80_000));
    assert_eq!(watch.deadline(), Some(at(82_000)));
}

#[test]
fn a_frame_just_before_the_timeout_keeps_a_feed_from_being_idle() {
    let mut watch = watch(idles(false));
    plain(&mut watch, 0);
    plain(&mut watch, 2999);
    assert_eq!(ticked(&mut watch, 5998), []);
    assert_eq!(ticked(&mut watch, 5999), [idle(3000, "message")]);
    assert_eq!(ticked(&mut watch, 99_999), []);
    assert_eq!(plain(&mut watch, 100_999), [Resumed { idle_for: millis(98_000) }.into()]);
}

#[test]
fn an_idle_feed_is_ended_and_may_come_back() {
    let mut watch = watch(idles(true));
    plain(&mut watch, 0);
    assert_eq!(watch.tick(at(3000)), Tick { events: vec![], reap: true });
    assert_eq!(watch.tick(at(3500)), Tick::default(), "the reaper is on its way");
    assert_eq!(watch.reap(at(4000)), [idle(4000, "eos"), stopped("end-of-stream", IDLE_DETAIL, 0, 1)]);
    assert!(watch.is_reaped());
    assert_eq!(watch.frame(&Frame::default(), at(5000)), []);
    assert_eq!(watch.eos(at(5000)), []);
    assert_eq!((watch.deadline(), watch.snapshot(at(5000)).frames), (None, 1));
    watch.stream_start(at(6000));
    assert_eq!(plain(&mut watch, 7000), [started(1), Resumed { idle_for: millis(7000) }.into()]);
}

#[test]
fn a_flush_lets_a_feed_go_on_that_was_ended() {
    let mut watch = watch(idles(true));
    watch.tick(at(3000));
    assert_eq!(watch.reap(at(3000)).len(), 2);
    watch.flush(at(4000));
    assert!(!watch.is_reaped());
    assert_eq!(plain(&mut watch, 4000)[0], started(1));
}

#[test]
fn a_frame_that_overtakes_the_reaper_saves_the_feed() {
    let mut watch = watch(idles(true));
    plain(&mut watch, 0);
    assert!(watch.tick(at(3000)).reap);
    assert_eq!(plain(&mut watch, 3001), []);
    assert_eq!(watch.reap(at(3002)), []);
    assert_eq!(watch.deadline(), Some(at(6001)));
}

#[test]
fn a_feed_held_up_downstream_is_not_ended_before_it_had_its_time() {
    let mut watch = watch(idles(true));
    watch.frame(&Frame::default(), at(0));
    assert_eq!(watch.tick(at(3000)), Tick { events: vec![idle(3000, "message")], reap: false });
    assert_eq!(watch.deadline(), None);
    watch.pushed(Pushed::Taken, at(10_000));
    assert_eq!(watch.deadline(), Some(at(13_000)));
    assert!(watch.tick(at(13_000)).reap);
    assert_eq!(watch.reap(at(13_000)), [stopped("end-of-stream", IDLE_DETAIL, 0, 1)], "idle is said once");
}

#[test]
fn late_frames_are_reported_until_the_lag_is_half_of_the_threshold() {
    let mut watch = watch(Limits { lag_threshold: Some(Duration::from_secs(2)), ..Limits::default() });
    let late = |lag| Frame { lag: Some(millis(lag)), ..Frame::default() };
    let lag = |lag, peak| -> Event {
        FrameLag { lag: millis(lag), peak: millis(peak), threshold: millis(2000) }.into()
    };
    assert_eq!(pass(&mut watch, &late(1999), 0), [started(0)]);
    assert_eq!(pass(&mut watch, &late(2000), 1), [lag(2000, 2000)]);
    assert_eq!(pass(&mut watch, &late(5000), 2), [lag(5000, 5000)]);
    assert_eq!(pass(&mut watch, &late(3000), 3), [lag(3000, 5000)]);
    for now in 4..10 {
        assert_eq!(pass(&mut watch, &late(1000 + now % 2), now), [], "neither late nor in time");
    }
    assert_eq!(pass(&mut watch, &Frame::default(), 10), [], "lag that nobody knows");
    let over: Event = LagRecovered { lagged_for: millis(10), peak: millis(5000) }.into();
    assert_eq!(pass(&mut watch, &late(999), 11), [over]);
    assert_eq!(pass(&mut watch, &late(0), 12), []);
    let snapshot = watch.snapshot(at(12));
    assert_eq!((snapshot.lag_now, snapshot.lag_peak), (0, millis(5000)));
}

#[test]
fn a_jump_of_running_time_is_a_discontinuity_from_more_than_five_seconds() {
    let mut watch = watch(Limits::default());
    assert_eq!(pass(&mut watch, &timed(100), 0), [started(0)], "there is nothing before the first frame");
    assert_eq!(pass(&mut watch, &timed(105), 1), []);
    assert_eq!(pass(&mut watch, &timed(100), 2), []);
    let jump = |seconds: u64, direction: &str| -> Event {
        Discontinuity { gap: seconds * 1_000_000_000, direction: direction.to_owned() }.into()
    };
    assert_eq!(pass(&mut watch, &timed(106), 3), [jump(6, "forward")]);
    assert_eq!(pass(&mut watch, &timed(100), 4), [jump(6, "backward")]);
    let long = Frame { duration: Some(2_000_000_000), ..timed(100) };
    assert_eq!(pass(&mut watch, &long, 5), []);
    assert_eq!(pass(&mut watch, &timed(107), 6), [], "counted from the end of the frame before");
    assert_eq!(pass(&mut watch, &Frame::default(), 7), []);
    watch.flush(at(8));
    assert_eq!(pass(&mut watch, &timed(0), 9), []);
}

#[test]
fn caps_are_reported_if_they_change_within_a_session() {
    let mut watch = watch(Limits::default());
    let caps = |watch: &mut Watch, text: &str| watch.caps(|| text.to_owned());
    assert_eq!(caps(&mut watch, "a"), []);
    assert_eq!(caps(&mut watch, "b"), [], "no frame was of the first ones");
    plain(&mut watch, 1);
    assert_eq!(caps(&mut watch, "c"), [CapsChanged { caps: "c".to_owned() }.into()]);
    watch.stream_start(at(2));
    assert_eq!(caps(&mut watch, "d"), []);
}

#[test]
fn a_low_rate_is_said_once_until_there_are_a_tenth_more_frames_than_the_least() {
    let mut watch = watch(Limits { fps_min: Some(10.0), ..Limits::default() });
    let mut now = 0;
    let mut frames = |watch: &mut Watch, count: u64, interval: u64| -> Vec<Event> {
        let step = |_| {
            now += interval;
            plain(watch, now)
        };
        (0..count).flat_map(step).collect()
    };
    assert_eq!(frames(&mut watch, 40, 100), [started(0)], "ten a second are enough");
    let low = frames(&mut watch, 40, 125);
    assert!(matches!(low[..], [Event::FpsLow(FpsLow { fps, .. })] if (8.0..10.0).contains(&fps)), "{low:?}");
    assert_eq!(frames(&mut watch, 40, 95), [], "better, and not good");
    assert_eq!(frames(&mut watch, 40, 125), []);
    assert_eq!(frames(&mut watch, 40, 80), []);
    assert_eq!(frames(&mut watch, 40, 125).len(), 1);
}

#[test]
fn silence_is_a_low_rate_as_soon_as_the_next_frame_cannot_mend_it() {
    let mut watch = watch(Limits { fps_min: Some(2.0), ..Limits::default() });
    plain(&mut watch, 0);
    plain(&mut watch, 500);
    let due = watch.deadline().unwrap();
    assert_eq!(due, Monotonic::from_nanos(2_000_000_001));
    let low = watch.tick(due).events;
    assert!(matches!(low[..], [Event::FpsLow(_)]), "{low:?}");
    assert_eq!(watch.deadline(), None);
}

#[test]
fn reports_come_while_a_session_runs() {
    let mut watch = watch(Limits { report_interval: Some(Duration::from_secs(10)), ..Limits::default() });
    assert_eq!(watch.deadline(), None);
    plain(&mut watch, 0);
    for now in 1..20 {
        plain(&mut watch, now * 500);
    }
    assert_eq!(watch.deadline(), Some(at(10_000)));
    let report = FeedReport { session: 0, frames: 20, fps: 2.0, lag: 0, uptime: millis(10_000) };
    assert_eq!(ticked(&mut watch, 10_000), [report.into()]);
    assert_eq!(watch.deadline(), Some(at(20_000)));
    watch.eos(at(11_000));
    assert_eq!(watch.deadline(), None);
}

#[test]
fn zero_is_off() {
    let zero = Some(Duration::ZERO);
    let mut watch = watch(Limits {
        stall_timeout: zero,
        idle_timeout: zero,
        lag_threshold: zero,
        fps_min: Some(0.0),
        report_interval: zero,
        reap_idle: true,
    });
    assert_eq!(pass(&mut watch, &Frame { lag: Some(u64::MAX), ..Frame::default() }, 0), [started(0)]);
    assert_eq!((watch.deadline(), watch.tick(at(1 << 40))), (None, Tick::default()));
}

/// What can happen to a feed.
#[derive(Clone, Debug)]
enum Step {
    Start,
    Play,
    Pause,
    StreamStart,
    Caps,
    Frame(Frame, Pushed),
    /// A frame that stays downstream for a while.
    Stuck(u64),
    Eos,
    Flush,
    Stop,
    Wait(u64),
}

fn frame() -> impl Strategy<Value = Frame> {
    let origin = prop::option::of((0_u32..3, any::<u64>()));
    (any::<Option<i64>>(), any::<Option<u64>>(), any::<Option<u64>>(), origin).prop_map(
        |(running_time, duration, lag, origin)| {
            let origin = origin.map(|(session, seq)| Origin { session, seq });
            Frame { running_time, duration, lag, origin }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let pushed =
        prop_oneof![6 => Just(Pushed::Taken), 1 => Just(Pushed::Refused), 1 => Just(Pushed::Failed("error"))];
    prop_oneof![
        8 => (frame(), pushed).prop_map(|(frame, pushed)| Step::Frame(frame, pushed)),
        6 => (0_u64..5_000).prop_map(Step::Wait),
        1 => (0_u64..1 << 40).prop_map(Step::Wait),
        1 => (0_u64..9_000).prop_map(Step::Stuck),
        1 => Just(Step::Start),
        2 => Just(Step::Play),
        1 => Just(Step::Pause),
        1 => Just(Step::StreamStart),
        1 => Just(Step::Caps),
        1 => Just(Step::Eos),
        1 => Just(Step::Flush),
        1 => Just(Step::Stop),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let time = || prop::option::of((0_u64..4_000).prop_map(Duration::from_millis));
    (time(), time(), any::<bool>(), time(), prop::option::of(any::<f64>()), time()).prop_map(
        |(stall_timeout, idle_timeout, reap_idle, lag_threshold, fps_min, report_interval)| Limits {
            stall_timeout,
            idle_timeout,
            reap_idle,
            lag_threshold,
            fps_min,
            report_interval,
        },
    )
}

/// A feed and a watcher that looks at it at every deadline.
struct Bench {
    watch: Watch,
    now: u64,
    events: Vec<Event>,
    /// How many events there were when the feed stopped.
    stops: Vec<usize>,
}

impl Bench {
    /// Time passes, with a look at each deadline, but for one that is too far to be looked at often.
    fn wait(&mut self, millis: u64) {
        let end = self.now + millis;
        for _ in 0..100 {
            let Some(deadline) = self.watch.deadline().filter(|deadline| *deadline <= at(end)) else { break };
            self.look(deadline.max(at(self.now)));
        }
        self.now = end;
        self.look(at(end));
    }

    fn look(&mut self, now: Monotonic) {
        let tick = self.watch.tick(now);
        self.events.extend(tick.events);
        if tick.reap {
            self.events.extend(self.watch.reap(now));
        }
        assert!(self.watch.deadline().is_none_or(|deadline| deadline > now), "{:?}", self.watch);
    }

    fn step(&mut self, step: Step) {
        let now = at(self.now);
        let watch = &mut self.watch;
        let stops = matches!(step, Step::Start | Step::Stop);
        let events = match step {
            Step::Start => {
                let events = watch.stop(now);
                watch.start(now);
                events
            }
            Step::Play => {
                watch.play(now);
                vec![]
            }
            Step::Pause => {
                watch.pause(now);
                vec![]
            }
            Step::StreamStart => watch.stream_start(now),
            Step::Caps => watch.caps(|| "caps".to_owned()),
            Step::Frame(frame, pushed) => {
                let mut events = watch.frame(&frame, now);
                events.extend(watch.pushed(pushed, now));
                events
            }
            Step::Stuck(millis) => {
                let events = watch.frame(&Frame::default(), now);
                self.events.extend(events);
                self.wait(millis);
                self.watch.pushed(Pushed::Taken, at(self.now))
            }
            Step::Eos => watch.eos(now),
            Step::Flush => {
                watch.flush(now);
                vec![]
            }
            Step::Stop => watch.stop(now),
            Step::Wait(millis) => {
                self.wait(millis);
                vec![]
            }
        };
        self.events.extend(events);
        if stops {
            self.stops.push(self.events.len());
        }
    }
}

proptest! {
    #[test]
    fn every_session_stops_once_and_nothing_begins_twice(
        limits in limits(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut watch = Watch::default();
        watch.set_limits(limits);
        watch.start(at(0));
        watch.play(at(0));
        let mut bench = Bench { watch, now: 0, events: Vec::new(), stops: Vec::new() };
        steps.into_iter().for_each(|step| bench.step(step));
        let rest = bench.watch.stop(at(bench.now));
        bench.events.extend(rest);

        let (mut running, mut next) = (None, 0);
        let (mut stalled, mut idle, mut late) = (false, false, false);
        for (index, event) in bench.events.iter().enumerate() {
            if bench.stops.contains(&index) {
                (stalled, idle) = (false, false);
            }
            match event {
                Event::FeedStarted(started) => {
                    prop_assert_eq!((running, started.session), (None, next));
                    (running, late) = (Some(next), false);
                }
                Event::FeedStopped(stopped) => {
                    prop_assert_eq!(stopped.session, next);
                    prop_assert_eq!(running.is_some(), stopped.frames > 0);
                    (running, stalled, late, next) = (None, false, false, next + 1);
                    idle = idle && stopped.detail == IDLE_DETAIL;
                }
                Event::FeedStalled(_) => prop_assert!(!std::mem::replace(&mut stalled, true)),
                Event::FeedRecovered(_) => prop_assert!(std::mem::replace(&mut stalled, false)),
                Event::Idle(_) => prop_assert!(!std::mem::replace(&mut idle, true)),
                Event::Resumed(_) => prop_assert!(std::mem::replace(&mut idle, false)),
                Event::FrameLag(_) => late = true,
                Event::LagRecovered(_) => prop_assert!(std::mem::replace(&mut late, false)),
                Event::CapsChanged(_) | Event::FeedReport(_) | Event::Discontinuity(_) => {
                    prop_assert!(running.is_some(), "{:?}", event);
                }
                _ => {}
            }
        }
        prop_assert_eq!(running, None);
    }
}
