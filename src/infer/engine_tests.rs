use super::super::fake::{self, LONG, Stage, Step, engine};
use super::super::tensor::InputData;
use super::*;
use crossbeam_channel::{Sender, bounded};
use std::thread::scope;

const SHORT: Duration = Duration::from_millis(5);

/// Tells when it is dropped.
struct Held(#[expect(dead_code, reason = "its drop is what is watched")] Sender<()>);

fn held() -> (Arc<Mutex<Option<Held>>>, Receiver<()>) {
    let (sender, dropped) = bounded(0);
    (hold_of(Held(sender)), dropped)
}

fn hold_of<T: Send>(held: T) -> Arc<Mutex<Option<T>>> {
    Arc::new(Mutex::new(Some(held)))
}

fn is_dropped(watch: &Receiver<()>) -> bool {
    watch.try_recv().is_err_and(|error| error.is_disconnected())
}

fn batch_of(engine: &Engine, values: &[f32]) -> Input {
    let mut input = engine.input(values.len()).unwrap();
    let InputData::F32(data) = &mut input.data else { panic!("not f32") };
    for (row, value) in data.chunks_mut(engine.row_len()).zip(values) {
        row.fill(*value);
    }
    input
}

fn submit(engine: &Engine, values: &[f32]) -> Pending {
    engine.submit(batch_of(engine, values), Arc::new(()), &Interrupt::new(), LONG).unwrap()
}

fn run(engine: &Engine, values: &[f32]) -> Result<Vec<f32>, InferError> {
    let reply = submit(engine, values).wait(&Interrupt::new(), LONG)?;
    assert!(reply.started <= reply.ended);
    Ok(reply.outputs.tensors[0].data.clone())
}

/// An engine whose first run is parked and begun, and the sender that ends the parking.
fn parked() -> (Arc<Engine>, Stage, Pending, Sender<()>) {
    let (release, until) = bounded(1);
    let (engine, stage) = engine(Batch::Dynamic, vec![Step::Park(until)]);
    let first = submit(&engine, &[1.0]);
    stage.began.recv().unwrap();
    (engine, stage, first, release)
}

#[test]
fn every_row_gets_its_own_result() {
    let (engine, _stage) = engine(Batch::Dynamic, vec![]);
    assert_eq!(run(&engine, &[1.0, 2.0, 3.0]).unwrap(), [6.0, 12.0, 18.0]);
    assert_eq!(run(&engine, &[4.0]).unwrap(), [24.0]);
    let stats = engine.stats();
    assert_eq!((stats.runs, stats.frames, stats.errors, stats.running_since), (2, 4, 0, None));
}

#[test]
fn a_fixed_batch_is_padded_with_zeros_and_the_padding_is_cut_off() {
    let (engine, _stage) = engine(Batch::Fixed(4), vec![]);
    run(&engine, &[9.0, 9.0, 9.0, 9.0]).unwrap();
    let input = engine.input(1).unwrap();
    assert_eq!((input.data.len(), input.batch), (24, 1));
    let InputData::F32(data) = &input.data else { panic!("not f32") };
    assert!(data[6..].iter().all(|x| *x == 0.0), "{data:?}");
    engine.recycle(input);
    let reply = submit(&engine, &[1.0, 2.0]).wait(&Interrupt::new(), LONG).unwrap();
    assert_eq!(reply.outputs.get("sum").unwrap().shape, [2, 1]);
    assert_eq!(reply.outputs.get("sum").unwrap().data, [6.0, 12.0]);
}

#[test]
fn an_unsuitable_batch_comes_back_with_expected_and_found() {
    let (engine, _stage) = engine(Batch::Fixed(4), vec![]);
    assert_eq!(engine.max_batch(), Some(4));
    for batch in [0, 5, usize::MAX] {
        assert!(matches!(engine.input(batch), Err(InferError::Input { .. })), "{batch}");
    }
    let wrong = [
        (InputData::F32(vec![0.0; 6]), 1),
        (InputData::U8(vec![0; 24]), 1),
        (InputData::F32(vec![0.0; 24]), 5),
        (InputData::F32(vec![]), 0),
    ];
    for (data, batch) in wrong {
        let input = Input { data, batch };
        let hold = hold_of(7_u8);
        let refused = engine.submit(input.clone(), hold.clone(), &Interrupt::new(), LONG).unwrap_err();
        assert!(matches!(refused.error, InferError::Input { .. }), "{}", refused.error);
        assert_eq!(refused.input, input);
        assert_eq!(*hold.lock(), Some(7), "it was not let go of");
    }
}

#[test]
fn a_dynamic_batch_larger_than_the_limit_is_refused() {
    let (engine, _stage) = engine(Batch::Dynamic, vec![]);
    assert_eq!(engine.max_batch(), None);
    for batch in [100_000_000, usize::MAX] {
        assert!(matches!(engine.input(batch), Err(InferError::Input { .. })));
    }
}

#[test]
fn buffers_circulate() {
    let (engine, _stage) = engine(Batch::Dynamic, vec![]);
    let address = |input: &Input| match &input.data {
        InputData::F32(data) => data.as_ptr(),
        _ => panic!("not f32"),
    };
    let input = engine.input(2).unwrap();
    let first = address(&input);
    let pending = engine.submit(input, Arc::new(()), &Interrupt::new(), LONG).unwrap();
    pending.wait(&Interrupt::new(), LONG).unwrap();
    assert_eq!(address(&engine.input(2).unwrap()), first);
}

#[test]
fn an_error_or_a_panic_is_the_answer_to_its_own_batch_only() {
    let (engine, _stage) = engine(Batch::Dynamic, vec![Step::Error, Step::Panic]);
    assert_eq!(run(&engine, &[1.0]).unwrap_err(), InferError::Run { detail: "as scripted".to_owned() });
    assert_eq!(run(&engine, &[1.0]).unwrap_err(), InferError::Panic { detail: "as scripted".to_owned() });
    assert_eq!(run(&engine, &[1.0]).unwrap(), [6.0]);
    let stats = engine.stats();
    assert_eq!((stats.runs, stats.frames, stats.errors), (1, 1, 2));
    assert_eq!(stats.last_error, Some(InferError::Panic { detail: "as scripted".to_owned() }));
}

#[test]
fn one_batch_waits_while_one_runs_and_the_next_is_held_back() {
    let (engine, stage, first, release) = parked();
    assert!(engine.stats().running_since.is_some());
    let second = submit(&engine, &[2.0]);
    let third = batch_of(&engine, &[3.0]);
    let (hold, dropped) = held();
    let refused = engine.submit(third, hold, &Interrupt::new(), SHORT).unwrap_err();
    assert_eq!(refused.error, InferError::Timeout { limit: SHORT });
    assert!(!is_dropped(&dropped), "the refused batch gives back what it holds");
    release.send(()).unwrap();
    stage.began.recv().unwrap();
    let third = engine.submit(refused.input, refused.hold, &Interrupt::new(), LONG).unwrap();
    for (pending, sum) in [(first, 6.0), (second, 12.0), (third, 18.0)] {
        let reply = pending.wait(&Interrupt::new(), LONG).unwrap();
        assert_eq!(reply.outputs.tensors[0].data, [sum]);
    }
    assert!(is_dropped(&dropped));
}

#[test]
fn a_held_back_submitter_goes_on_when_there_is_room() {
    let (engine, _stage, first, release) = parked();
    let second = submit(&engine, &[2.0]);
    scope(|scope| {
        let third = scope.spawn(|| run(&engine, &[3.0]));
        release.send(()).unwrap();
        assert_eq!(third.join().unwrap().unwrap(), [18.0]);
    });
    drop((first, second));
}

#[test]
fn an_interrupt_wakes_who_submits_and_who_waits_for_ever_after() {
    let (engine, _stage, first, release) = parked();
    let second = submit(&engine, &[2.0]);
    let interrupt = Interrupt::new();
    scope(|scope| {
        let waiting = scope.spawn(|| first.wait(&interrupt, LONG).map(drop));
        let submitting = scope.spawn(|| {
            let input = batch_of(&engine, &[3.0]);
            engine.submit(input, Arc::new(()), &interrupt, LONG).map(drop).map_err(|refused| refused.error)
        });
        interrupt.clone().set();
        assert_eq!(waiting.join().unwrap(), Err(InferError::Interrupted));
        assert_eq!(submitting.join().unwrap(), Err(InferError::Interrupted));
    });
    assert!(interrupt.is_set());
    release.send(()).unwrap();
    second.wait(&Interrupt::new(), LONG).unwrap();
    let late = engine.submit(batch_of(&engine, &[4.0]), Arc::new(()), &interrupt, LONG).unwrap_err();
    assert_eq!(late.error, InferError::Interrupted, "even with room");
}

#[test]
fn a_late_result_is_thrown_away_and_its_hold_let_go() {
    let (release, until) = bounded(1);
    let (engine, stage) = engine(Batch::Dynamic, vec![Step::Park(until)]);
    let (hold, dropped) = held();
    let input = batch_of(&engine, &[1.0]);
    let pending = engine.submit(input, hold, &Interrupt::new(), LONG).unwrap();
    stage.began.recv().unwrap();
    let error = pending.wait(&Interrupt::new(), SHORT).unwrap_err();
    assert_eq!(error, InferError::Timeout { limit: SHORT });
    assert!(!is_dropped(&dropped), "the engine still has the batch");
    release.send(()).unwrap();
    assert_eq!(run(&engine, &[2.0]).unwrap(), [12.0]);
    assert!(is_dropped(&dropped));
}

#[test]
fn what_a_batch_holds_is_let_go_before_its_results_are_seen() {
    let (engine, _stage) = engine(Batch::Dynamic, vec![Step::Sum, Step::Error, Step::Panic]);
    for _ in 0..3 {
        let (hold, dropped) = held();
        let pending = engine.submit(batch_of(&engine, &[1.0]), hold, &Interrupt::new(), LONG).unwrap();
        pending.wait(&Interrupt::new(), LONG).ok();
        assert!(is_dropped(&dropped));
    }
}

#[test]
fn a_panic_in_what_a_batch_holds_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as scripted");
        }
    }
    let (engine, _stage) = engine(Batch::Dynamic, vec![]);
    let input = batch_of(&engine, &[1.0]);
    let pending = engine.submit(input, hold_of(Bomb), &Interrupt::new(), LONG).unwrap();
    pending.wait(&Interrupt::new(), LONG).unwrap();
    assert_eq!(run(&engine, &[1.0]).unwrap(), [6.0]);
}

#[test]
fn dropping_an_idle_engine_releases_its_session_first() {
    let (engine, stage) = engine(Batch::Dynamic, vec![]);
    run(&engine, &[1.0]).unwrap();
    drop(engine);
    assert!(is_dropped(&stage.alive));
}

#[test]
fn dropping_a_busy_engine_does_not_wait_for_its_run() {
    let (engine, stage, first, release) = parked();
    let second = submit(&engine, &[2.0]);
    drop(engine);
    assert!(!is_dropped(&stage.alive));
    drop(release);
    assert_eq!(first.wait(&Interrupt::new(), LONG).unwrap().outputs.tensors[0].data, [6.0]);
    second.wait(&Interrupt::new(), LONG).unwrap();
    assert!(stage.alive.recv().is_err(), "released on the worker, after its last batch");
}

#[test]
fn a_batch_may_hold_the_last_reference_to_its_engine() {
    let (engine, stage) = engine(Batch::Dynamic, vec![]);
    let input = batch_of(&engine, &[1.0]);
    let hold = Arc::clone(&engine);
    let (release, until) = bounded::<()>(0);
    let pending = engine.submit(input, hold_of((hold, until)), &Interrupt::new(), LONG).unwrap();
    drop((engine, release));
    pending.wait(&Interrupt::new(), LONG).unwrap();
    assert!(stage.alive.recv().is_err());
}

#[test]
fn warm_up_runs_each_size_twice_and_only_once() {
    let (engine, stage) = engine(Batch::Dynamic, vec![]);
    let times = engine.warm_up(&[1, 2, 4], &Interrupt::new()).unwrap();
    assert_eq!(times.iter().map(|(size, _)| *size).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(stage.began.len(), 6);
    assert_eq!(engine.warm_up(&[4, 1], &Interrupt::new()).unwrap(), [times[2], times[0]]);
    assert_eq!(stage.began.len(), 6);
    assert_eq!(engine.stats(), EngineStats::default(), "warm-up does not count");
}

#[test]
fn warm_up_is_interrupted_while_a_run_lasts() {
    let (_release, parked) = bounded(0);
    let (engine, stage) = engine(Batch::Dynamic, vec![Step::Park(parked)]);
    let interrupt = Interrupt::new();
    scope(|scope| {
        let warming = scope.spawn(|| engine.warm_up(&[1], &interrupt));
        stage.began.recv().unwrap();
        interrupt.set();
        assert_eq!(warming.join().unwrap().unwrap_err(), InferError::Interrupted);
    });
}

#[test]
fn warm_up_says_what_went_wrong() {
    let (engine, _stage) = engine(Batch::Fixed(2), vec![Step::Error]);
    assert!(matches!(engine.warm_up(&[1], &Interrupt::new()), Err(InferError::Run { .. })));
    assert!(matches!(engine.warm_up(&[3], &Interrupt::new()), Err(InferError::Input { .. })));
}

#[test]
fn loading_that_takes_too_long_is_given_up_and_its_session_dropped() {
    let (release, until) = bounded::<()>(0);
    let (script, stage) = fake::script(vec![]);
    let load = move || -> Result<Loaded, InferError> {
        until.recv().ok();
        Ok((fake::model(Batch::Dynamic), Box::new(script)))
    };
    let error = Engine::start(load, SHORT, None, &Interrupt::new()).unwrap_err();
    assert_eq!(error, InferError::StartupTimeout { limit: SHORT });
    drop(release);
    assert!(stage.alive.recv().is_err());
}

#[test]
fn a_panic_while_loading_is_an_error() {
    let load = || -> Result<Loaded, InferError> { panic!("as scripted") };
    let error = Engine::start(load, LONG, None, &Interrupt::new()).unwrap_err();
    assert_eq!(error, InferError::Panic { detail: "as scripted".to_owned() });
}

#[test]
fn several_users_share_one_engine_without_mixing_their_results() {
    let (engine, _stage) = engine(Batch::Dynamic, vec![]);
    scope(|scope| {
        for user in 1..=4_u8 {
            let engine = &engine;
            scope.spawn(move || {
                for _ in 0..50 {
                    assert_eq!(run(engine, &[f32::from(user)]).unwrap(), [6.0 * f32::from(user)]);
                }
            });
        }
    });
    assert_eq!(engine.stats().runs, 200);
}

#[test]
fn a_failed_batch_comes_back_and_its_halves_can_be_tried() {
    let (engine, _stage) = engine(Batch::Dynamic, vec![Step::Error]);
    let unanswered = submit(&engine, &[1.0, 2.0, 3.0]).wait_for_either(&Interrupt::new(), LONG).unwrap_err();
    let input = unanswered.input.unwrap();
    for (rows, sums) in [(0..1, vec![6.0]), (1..3, vec![12.0, 18.0])] {
        let part = engine.part(&input, rows).unwrap();
        let pending = engine.submit(part, Arc::new(()), &Interrupt::new(), LONG).unwrap();
        assert_eq!(pending.wait(&Interrupt::new(), LONG).unwrap().outputs.tensors[0].data, sums);
    }
    assert!(matches!(engine.part(&input, 2..4), Err(InferError::Input { .. })));
}

#[test]
fn retiring_wakes_all_and_lets_go_of_what_batches_hold() {
    let (release, until) = bounded::<()>(0);
    let (engine, stage) = engine(Batch::Dynamic, vec![Step::Park(until)]);
    let mut watches = Vec::new();
    let mut pending = Vec::new();
    for value in [1.0, 2.0] {
        let (hold, dropped) = held();
        let input = batch_of(&engine, &[value]);
        pending.push(engine.submit(input, hold, &Interrupt::new(), LONG).unwrap());
        watches.push(dropped);
        if pending.len() == 1 {
            stage.began.recv().unwrap();
        }
    }
    scope(|scope| {
        let submitting = scope.spawn(|| {
            let input = batch_of(&engine, &[3.0]);
            // It may get the place that retiring makes free: then nobody answers it.
            engine
                .submit(input, Arc::new(()), &Interrupt::new(), LONG)
                .map_err(|refused| refused.error)
                .and_then(|pending| pending.wait(&Interrupt::new(), LONG).map(drop))
        });
        engine.retire();
        assert_eq!(submitting.join().unwrap(), Err(InferError::Stopped));
    });
    assert!(watches.iter().all(is_dropped));
    for pending in pending {
        assert_eq!(pending.wait(&Interrupt::new(), LONG).map(drop), Err(InferError::Stopped));
    }
    assert!(worker::detached_threads() >= 1);
    drop(release);
    assert!(stage.alive.recv().is_err(), "the worker ends, though the engine is still known");
    assert_eq!(stage.began.len(), 0, "and runs nothing that was queued");
}

#[test]
fn loading_is_broken_off_by_its_interrupt() {
    let (release, until) = bounded::<()>(0);
    let (script, stage) = fake::script(vec![]);
    let load = move || -> Result<Loaded, InferError> {
        until.recv().ok();
        Ok((fake::model(Batch::Dynamic), Box::new(script)))
    };
    let interrupt = Interrupt::new();
    interrupt.set();
    assert_eq!(Engine::start(load, LONG, None, &interrupt).unwrap_err(), InferError::Interrupted);
    drop(release);
    assert!(stage.alive.recv().is_err());
}
