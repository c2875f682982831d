use super::*;
use proptest::prelude::*;

const LIMIT: Duration = Duration::from_millis(50);

const fn at(millis: u64) -> Monotonic {
    Monotonic::from_nanos(millis * 1_000_000)
}

fn lost() -> Lost {
    Lost { frames: 2, feeds: vec!["a".to_owned()] }
}

fn names(reaction: &Reaction) -> Vec<&'static str> {
    reaction.events.iter().map(Event::name).collect()
}

fn fail(ladder: &mut Ladder, millis: u64) -> Vec<&'static str> {
    names(&ladder.failed(lost(), "no", at(millis)))
}

fn wedge(ladder: &mut Ladder, millis: u64) -> Reaction {
    ladder.unanswered(lost(), LIMIT, at(millis));
    ladder.unanswered(lost(), LIMIT, at(millis))
}

#[test]
fn three_failed_batches_in_a_row_degrade_once_and_a_success_recovers() {
    let mut ladder = Ladder::default();
    assert_eq!(fail(&mut ladder, 0), ["batch-error"]);
    assert_eq!(fail(&mut ladder, 1), ["batch-error"]);
    assert_eq!(fail(&mut ladder, 2), ["batch-error", "engine-degraded"]);
    assert_eq!(fail(&mut ladder, 3), ["batch-error"]);
    assert_eq!((ladder.state(), ladder.stats().consecutive), (EngineState::Degraded, 4));
    let reaction = ladder.succeeded(at(10));
    assert_eq!(reaction.events, [EngineRecovered { degraded_for: 8_000_000 }.into()]);
    assert_eq!((ladder.state(), ladder.stats().consecutive), (EngineState::Ok, 0));
    assert_eq!(ladder.succeeded(at(11)), Reaction::default());
}

#[test]
fn a_failure_now_and_then_degrades_nothing() {
    let mut ladder = Ladder::default();
    for round in 0..10 {
        assert_eq!(fail(&mut ladder, round), ["batch-error"]);
        assert_eq!(fail(&mut ladder, round), ["batch-error"]);
        assert_eq!(ladder.succeeded(at(round)), Reaction::default());
    }
    assert_eq!(ladder.stats().errors, 20);
}

#[test]
fn a_failed_batch_says_what_it_lost() {
    let event = &Ladder::default().failed(lost(), "no", at(0)).events[0];
    let feeds = vec!["a".to_owned()];
    let expected = BatchError { batch_size: 2, feeds, detail: "no".to_owned(), consecutive: 1 };
    assert_eq!(*event, expected.into());
}

#[test]
fn the_second_batch_without_an_answer_has_the_engine_rebuilt() {
    let mut ladder = Ladder::default();
    let first = ladder.unanswered(lost(), LIMIT, at(0));
    assert_eq!((names(&first), first.order), (vec!["batch-timeout"], None));
    let second = ladder.unanswered(lost(), LIMIT, at(50));
    assert_eq!((names(&second), second.order), (vec!["batch-timeout"], Some(Order::Rebuild)));
    assert_eq!(ladder.state(), EngineState::Rebuilding);
    assert_eq!(ladder.failed(lost(), "late", at(51)), Reaction::default(), "none is tried meanwhile");
    let rebuilt = ladder.rebuilt(Duration::from_nanos(7));
    assert_eq!(rebuilt.events, [EngineRebuilt { load_time: 7, rebuilds: 1 }.into()]);
    let success = ladder.succeeded(at(60));
    assert_eq!(success.events, [EngineRecovered { degraded_for: 10_000_000 }.into()]);
}

#[test]
fn an_answer_between_two_silences_starts_anew() {
    let mut ladder = Ladder::default();
    for round in 0..10 {
        assert_eq!(ladder.unanswered(lost(), LIMIT, at(round)).order, None);
        ladder.answered();
    }
    assert_eq!(ladder.state(), EngineState::Degraded, "failed they have");
}

#[test]
fn a_rebuilt_engine_that_is_silent_again_is_given_up_and_says_so_once() {
    let mut ladder = Ladder::default();
    wedge(&mut ladder, 0);
    ladder.rebuilt(LIMIT);
    let reaction = wedge(&mut ladder, 10);
    assert_eq!(
        (names(&reaction), reaction.order),
        (vec!["batch-timeout", "engine-degraded"], Some(Order::GiveUp))
    );
    let Some(Event::EngineDegraded(event)) = reaction.events.last() else { panic!("{reaction:?}") };
    assert_eq!((event.state.as_str(), event.consecutive), ("failed", 2));
    assert_eq!(wedge(&mut ladder, 20), Reaction::default());
    assert_eq!(ladder.succeeded(at(30)), Reaction::default());
    assert_eq!(ladder.state(), EngineState::Failed);
}

#[test]
fn an_engine_that_cannot_be_opened_again_is_given_up() {
    let mut ladder = Ladder::default();
    wedge(&mut ladder, 0);
    let reaction = ladder.not_rebuilt("no such file");
    assert_eq!((names(&reaction), ladder.state()), (vec!["engine-degraded"], EngineState::Failed));
    assert_eq!(ladder.stats().last_error.as_deref(), Some("no such file"));
}

#[test]
fn a_run_that_still_goes_on_counts_as_the_second_silence() {
    let mut ladder = Ladder::default();
    ladder.unanswered(lost(), LIMIT, at(50));
    assert_eq!(ladder.look_at(), Some(at(100)));
    assert_eq!(ladder.look(Some(at(0)), at(99)), Reaction::default());
    assert_eq!(ladder.look(Some(at(0)), at(100)).order, Some(Order::Rebuild));
    assert_eq!(ladder.look_at(), None);
}

#[test]
fn a_run_that_ended_late_is_no_second_silence() {
    for running_since in [None, Some(at(60))] {
        let mut ladder = Ladder::default();
        ladder.unanswered(lost(), LIMIT, at(50));
        assert_eq!(ladder.look(running_since, at(100)), Reaction::default());
        assert_eq!((ladder.look_at(), ladder.state()), (None, EngineState::Ok));
    }
}

#[test]
fn an_engine_that_others_let_go_of_is_rebuilt_at_once() {
    let mut ladder = Ladder::default();
    assert_eq!(ladder.gone(at(0)).order, Some(Order::Rebuild));
    ladder.rebuilt(LIMIT);
    assert_eq!(ladder.gone(at(1)).order, Some(Order::GiveUp));
}

#[derive(Clone, Copy, Debug)]
enum Told {
    Success,
    Answer,
    Failure,
    Silence,
    Gone,
    Look,
    Rebuilt,
    NotRebuilt,
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        6 => Just(Told::Success),
        1 => Just(Told::Answer),
        6 => Just(Told::Failure),
        3 => Just(Told::Silence),
        1 => Just(Told::Gone),
        1 => Just(Told::Look),
        3 => Just(Told::Rebuilt),
        1 => Just(Told::NotRebuilt),
    ]
}

fn tell(ladder: &mut Ladder, told: Told, now: Monotonic) -> Reaction {
    match told {
        Told::Success => ladder.succeeded(now),
        Told::Answer => {
            ladder.answered();
            Reaction::default()
        }
        Told::Failure => ladder.failed(lost(), "no", now),
        Told::Silence => ladder.unanswered(lost(), LIMIT, now),
        Told::Gone => ladder.gone(now),
        Told::Look => ladder.look(Some(at(0)), now),
        Told::Rebuilt => ladder.rebuilt(LIMIT),
        Told::NotRebuilt => ladder.not_rebuilt("no"),
    }
}

proptest! {
    #[test]
    fn orders_come_once_and_messages_tell_a_story(steps in prop::collection::vec((told(), 0_u64..100), 0..200)) {
        let mut ladder = Ladder::default();
        let (mut now, mut rebuilds, mut given_up, mut bad) = (0, 0, 0, false);
        let (mut errors, mut timeouts) = (0, 0);
        for (told, pause) in steps {
            now += pause;
            let before = ladder.state();
            let reaction = tell(&mut ladder, told, at(now));
            rebuilds += u32::from(reaction.order == Some(Order::Rebuild));
            given_up += u32::from(reaction.order == Some(Order::GiveUp));
            bad |= reaction.order.is_some();
            prop_assert!(before != EngineState::Failed || reaction == Reaction::default());
            prop_assert_eq!(reaction.order.is_some(), before != ladder.state() && !ladder.state().serves());
            for event in &reaction.events {
                match event {
                    Event::EngineDegraded(event) => {
                        prop_assert_eq!(&event.state, ladder.state().as_str());
                        bad = true;
                    }
                    Event::EngineRecovered(_) => prop_assert!(std::mem::take(&mut bad)),
                    Event::BatchError(_) => errors += 1,
                    Event::BatchTimeout(_) => timeouts += 1,
                    _ => prop_assert_eq!(event.name(), "engine-rebuilt"),
                }
            }
            let degraded = reaction.events.iter().any(|event| event.name() == "engine-degraded");
            prop_assert_eq!(degraded, before != ladder.state()
                && matches!(ladder.state(), EngineState::Degraded | EngineState::Failed));
        }
        prop_assert!(rebuilds <= MAX_REBUILDS && given_up <= 1);
        prop_assert_eq!((errors, timeouts), (ladder.stats().errors, ladder.stats().timeouts));
    }
}
