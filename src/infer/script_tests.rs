use super::super::fake::LONG;
use super::super::{Engine, EngineOptions, Interrupt, Reply};
use super::*;

const CELLS: usize = SIDE / CELL;
const ROW_LEN: usize = 3 * SIDE * SIDE;

fn open(script: &Script) -> Arc<Engine> {
    Engine::open(&EngineOptions::new(script.model())).unwrap()
}

/// Runs images of which number `k` is bright in cell `cells[k]`.
fn run(engine: &Engine, cells: &[usize]) -> Result<Reply, InferError> {
    let mut input = engine.input(cells.len()).unwrap();
    let InputData::F32(data) = &mut input.data else { panic!("not f32") };
    data.fill(0.0);
    for (image, cell) in data.chunks_exact_mut(ROW_LEN).zip(cells) {
        for (at, value) in image.iter_mut().enumerate() {
            let here = (at / SIDE % SIDE / CELL) * CELLS + at % SIDE / CELL;
            *value = if here == *cell { 0.9 } else { 0.1 };
        }
    }
    engine.submit(input, Arc::new(()), &Interrupt::new(), LONG).unwrap().wait(&Interrupt::new(), LONG)
}

#[test]
fn the_brightest_cell_of_every_image_is_found() {
    let script = install("cells", ScriptOptions::default(), |_| Action::Detect);
    let engine = open(&script);
    let reply = run(&engine, &[3, 63]).unwrap();
    let output = reply.outputs.get("output0").unwrap();
    assert_eq!(output.shape, [2, 5, 64]);
    for (image, cell) in output.data.chunks(5 * 64).zip([3_usize, 63]) {
        let hit: Vec<_> = (0..64).filter(|at| image[4 * 64 + at] > 0.5).collect();
        assert_eq!(hit, [cell]);
        assert_eq!(image[cell], (cell % 8 * 8 + 4) as f32);
        assert_eq!(image[64 + cell], (cell / 8 * 8 + 4) as f32);
    }
}

#[test]
fn nothing_is_found_in_small_images_by_the_null_engine() {
    let options = ScriptOptions { cells: 1, ..ScriptOptions::default() };
    let script = install("nothing", options, |_| Action::Nothing);
    let engine = open(&script);
    assert_eq!((engine.model().size, engine.row_len()), (Size::new(8, 8), 3 * 64));
    let input = engine.input(2).unwrap();
    let pending = engine.submit(input, Arc::new(()), &Interrupt::new(), LONG).unwrap();
    let reply = pending.wait(&Interrupt::new(), LONG).unwrap();
    let output = reply.outputs.get("output0").unwrap();
    assert_eq!((&*output.shape, &*output.data), (&[2, 5, 1][..], &[0.0; 10][..]));
}

#[test]
fn warm_up_does_not_ask_the_script() {
    let script = install("warm", ScriptOptions::default(), |_| Action::Error("no".to_owned()));
    let engine = open(&script);
    engine.warm_up(&[1, 2], &Interrupt::new()).unwrap();
    assert_eq!(script.calls(), 0);
    assert_eq!(run(&engine, &[0]).unwrap_err(), InferError::Run { detail: "no".to_owned() });
    assert_eq!(script.calls(), 1);
}

#[test]
fn a_parked_run_goes_on_when_its_gate_opens() {
    let gate = Gate::new();
    let script = install("park", ScriptOptions::default(), {
        let gate = gate.clone();
        move |_| Action::Park(gate.clone())
    });
    let engine = open(&script);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&engine, &[1]).map(drop));
        assert!(gate.wait_entered(1, LONG));
        assert_eq!((gate.inside(), gate.entered()), (1, 1));
        gate.open();
        running.join().unwrap().unwrap();
    });
    assert_eq!(gate.inside(), 0);
}

#[test]
fn a_fixed_batch_shows_its_script_the_real_images_only() {
    let options = ScriptOptions { batch: Batch::Fixed(4), ..ScriptOptions::default() };
    let script = install("fixed", options, |call| {
        assert_eq!(call.images.len(), 2);
        Action::Detect
    });
    let reply = run(&open(&script), &[0, 1]).unwrap();
    assert_eq!(reply.outputs.get("output0").unwrap().shape, [2, 5, 64]);
}

#[test]
fn a_script_installed_anew_is_another_model_and_one_removed_is_none() {
    let first = install("again", ScriptOptions::default(), |_| Action::Detect);
    let engine = open(&first);
    let second = install("again", ScriptOptions::default(), |_| Action::Detect);
    assert!(!Arc::ptr_eq(&engine, &open(&second)));
    drop(first);
    assert_eq!(second.loads(), 1);
    open(&second);
    let model = second.model();
    drop(second);
    assert!(matches!(Engine::open(&EngineOptions::new(model)), Err(InferError::ModelNotFound { .. })));
}

#[test]
fn loading_does_as_the_script_says() {
    let script = install("load", ScriptOptions::default(), |_| Action::Detect);
    script.on_load(|load| if load == 0 { LoadAction::Error("no".to_owned()) } else { LoadAction::Ready });
    let options = EngineOptions::new(script.model());
    assert!(matches!(Engine::open(&options), Err(InferError::ModelUnsupported { .. })));
    drop(Engine::open(&options).unwrap());
    assert_eq!((script.loads(), script.released()), (2, 1));
}

#[test]
fn a_retired_engine_is_found_by_nobody_and_takes_nothing() {
    let script = install("retired", ScriptOptions::default(), |_| Action::Detect);
    let (first, same) = (open(&script), open(&script));
    assert!(Arc::ptr_eq(&first, &same));
    first.retire();
    let second = open(&script);
    assert!(!Arc::ptr_eq(&first, &second));
    let input = same.input(1).unwrap();
    let refused = same.submit(input, Arc::new(()), &Interrupt::new(), LONG).unwrap_err();
    assert_eq!(refused.error, InferError::Stopped);
    first.retire();
    assert!(Arc::ptr_eq(&second, &open(&script)));
}
