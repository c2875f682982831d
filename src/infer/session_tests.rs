//! The models of `tests/data` in the real ONNX Runtime. Expected numbers are computed by hand there.

use super::super::engine::Engine;
use super::super::interrupt::Interrupt;
use super::super::model::{Batch, ChannelOrder};
use super::super::provider::Provider;
use super::super::worker::Reply;
use super::*;
use crate::vision::Size;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn options(name: &str) -> EngineOptions {
    assert!(
        std::env::var_os("ORT_DYLIB_PATH").is_some(),
        "ORT_DYLIB_PATH must name a libonnxruntime.so for these tests"
    );
    EngineOptions::new(data(name))
}

fn open_model(name: &str) -> Result<Arc<Engine>, InferError> {
    Engine::open(&options(name))
}

/// Runs images that are black but for one white cell each: row `i` has cell `cells[i]` of a grid of 8 x 8.
fn run_cells(engine: &Engine, cells: &[usize]) -> Result<Reply, InferError> {
    let (side, layout) = (engine.model().size.width as usize, engine.model().layout);
    let mut input = engine.input(cells.len())?;
    input.data.clear_to_zero();
    for (row, cell) in cells.iter().enumerate() {
        let (top, left) = (cell / 8 * 8, cell % 8 * 8);
        for at in 0..engine.row_len() {
            let (y, x) = match layout {
                Layout::Nchw => (at / side % side, at % side),
                Layout::Nhwc => (at / 3 / side, at / 3 % side),
            };
            if (top..top + 8).contains(&y) && (left..left + 8).contains(&x) {
                paint(&mut input.data, row * engine.row_len() + at);
            }
        }
    }
    let never = Interrupt::new();
    let pending = engine.submit(input, Arc::new(()), &never, LONG).map_err(|refused| refused.error)?;
    pending.wait(&never, LONG)
}

fn paint(data: &mut InputData, at: usize) {
    match data {
        InputData::F32(data) => data[at] = 1.0,
        InputData::F16(data) => data[at] = f16::ONE,
        InputData::U8(data) => data[at] = 255,
    }
}

/// The brightest-cell detector of 64 x 64 must score 1 in just the white cell, whose box is known.
fn check_brightest(name: &str, cells: &[usize]) {
    let engine = open_model(name).unwrap();
    let reply = run_cells(&engine, cells).unwrap();
    let output = &reply.outputs.tensors[0];
    assert_eq!(output.name, "output0");
    assert_eq!(output.shape, [cells.len(), 5, 64]);
    for (row, cell) in output.data.chunks(5 * 64).zip(cells) {
        let column = |at: usize| -> Vec<f32> { row.iter().skip(at).step_by(64).copied().collect() };
        let center = |i: usize| (i * 8 + 4) as f32;
        assert_eq!(column(*cell), [center(cell % 8), center(cell / 8), 8.0, 8.0, 1.0], "{name}");
        assert_eq!(row[4 * 64..].iter().sum::<f32>(), 1.0, "{name}: one cell has a score");
    }
}

#[test]
fn planes_of_floats_give_each_row_its_own_box() {
    check_brightest("brightest.onnx", &[0, 63, 10]);
}

#[test]
fn a_fixed_batch_is_filled_up_and_cut_off() {
    check_brightest("fixed4.onnx", &[17, 5]);
    let engine = open_model("fixed4.onnx").unwrap();
    assert_eq!((engine.model().batch, engine.max_batch()), (Batch::Fixed(4), Some(4)));
}

#[test]
fn pixels_of_bytes_are_fed_raw() {
    check_brightest("u8_nhwc.onnx", &[9, 54]);
    let engine = open_model("u8_nhwc.onnx").unwrap();
    assert_eq!((engine.model().layout, engine.model().element), (Layout::Nhwc, ElementType::U8));
}

#[test]
fn half_floats_go_in_and_come_out() {
    check_brightest("f16.onnx", &[9, 54]);
}

#[test]
fn slow_models_are_the_same_detector() {
    check_brightest("slow_1ms.onnx", &[3]);
    check_brightest("slow_50ms.onnx", &[3]);
}

#[test]
fn the_metadata_of_exporters_is_read() {
    let engine = open_model("brightest.onnx").unwrap();
    let model = engine.model();
    assert_eq!(model.name, "brightest");
    assert_eq!((model.size, model.stride), (Size::new(64, 64), Some(8)));
    assert_eq!(model.labels.as_deref(), Some(&["bright".to_owned()][..]));
    assert_eq!((model.task.as_deref(), model.provider.as_str()), (Some("detect"), "cpu"));
    assert_eq!(model.outputs[0].dims, [None, Some(5), Some(64)]);
    assert_eq!(Some(model.runtime_version.as_str()), library::version());
}

#[test]
fn every_type_of_output_comes_as_floats() {
    let engine = open_model("types.onnx").unwrap();
    let mut input = engine.input(1).unwrap();
    let InputData::F32(values) = &mut input.data else { panic!("not f32") };
    values.iter_mut().enumerate().for_each(|(i, value)| *value = (i % 3) as f32);
    let never = Interrupt::new();
    let reply = engine.submit(input, Arc::new(()), &never, LONG).unwrap().wait(&never, LONG).unwrap();
    for name in ["f16", "f64", "i32", "i64", "u8"] {
        assert_eq!(reply.outputs.get(name).unwrap().data[..4], [0.0, 1.0, 2.0, 0.0], "{name}");
    }
    assert_eq!(reply.outputs.get("bool").unwrap().data[..4], [0.0, 1.0, 1.0, 0.0]);
    assert!(reply.outputs.tensors.iter().all(|tensor| tensor.shape == [1, 3, 8, 8]));
}

#[test]
fn the_same_model_is_one_engine_and_a_changed_one_is_another() {
    let first = open_model("identity.onnx").unwrap();
    assert!(Arc::ptr_eq(&first, &open_model("identity.onnx").unwrap()));
    let threads = EngineOptions { threads: 1, ..options("identity.onnx") };
    assert!(!Arc::ptr_eq(&first, &Engine::open(&threads).unwrap()));

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("identity.onnx");
    std::fs::copy(data("identity.onnx"), &copy).unwrap();
    let options = EngineOptions::new(&copy);
    let plain = Engine::open(&options).unwrap();
    std::fs::write(folder.path().join("identity.toml"), "[input]\norder = \"bgr\"\n").unwrap();
    let with_sidecar = Engine::open(&options).unwrap();
    assert!(!Arc::ptr_eq(&plain, &with_sidecar));
    assert_eq!(with_sidecar.model().order, ChannelOrder::Bgr);
}

#[test]
fn a_model_is_loaded_again_after_its_last_user_has_gone() {
    for _ in 0..20 {
        let engine = open_model("brightest.onnx").unwrap();
        run_cells(&engine, &[1]).unwrap();
    }
}

#[test]
fn simultaneous_openers_get_one_engine() {
    let engines: Vec<_> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..4).map(|_| scope.spawn(|| open_model("cell_code.onnx").unwrap())).collect();
        openers.into_iter().map(|opener| opener.join().unwrap()).collect()
    });
    assert!(engines.iter().all(|engine| Arc::ptr_eq(engine, &engines[0])));
}

#[test]
fn a_dynamic_size_needs_a_sidecar() {
    let error = open_model("dynamic_size.onnx").unwrap_err();
    assert!(error.to_string().contains("size = [width, height]"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("m.onnx");
    std::fs::copy(data("dynamic_size.onnx"), &copy).unwrap();
    std::fs::write(folder.path().join("m.toml"), "[input]\nsize = [16, 8]\n").unwrap();
    let engine = Engine::open(&EngineOptions::new(&copy)).unwrap();
    let reply = run_cells(&engine, &[0, 0]).unwrap();
    assert_eq!(reply.outputs.tensors[0].shape, [2, 3, 8, 16]);
}

#[test]
fn a_run_that_fails_leaves_the_engine_alive() {
    let engine = open_model("error.onnx").unwrap();
    engine.warm_up(&[1], &Interrupt::new()).expect("black images pass");
    let error = run_cells(&engine, &[5]).unwrap_err();
    assert!(matches!(&error, InferError::Run { detail } if detail.contains("out of data bounds")), "{error}");
    engine.warm_up(&[2], &Interrupt::new()).expect("the next ones pass again");
    assert_eq!(engine.stats().errors, 1);
}

#[test]
fn hostile_numbers_come_through_as_they_are() {
    let reply = run_cells(&open_model("nan.onnx").unwrap(), &[1]).unwrap();
    assert!(reply.outputs.tensors[0].data[4 * 64..].iter().all(|score| score.is_nan()));
    let reply = run_cells(&open_model("many_boxes.onnx").unwrap(), &[1, 2]).unwrap();
    assert_eq!(reply.outputs.tensors[0].shape, [2, 5, 100_000]);
    let reply = run_cells(&open_model("wrong_outputs.onnx").unwrap(), &[1]).unwrap();
    assert_eq!(reply.outputs.tensors[0].shape, [1, 7, 3, 2]);
}

#[test]
fn models_that_take_no_image_are_refused_with_what_was_found() {
    let error = open_model("two_inputs.onnx").unwrap_err().to_string();
    assert!(error.contains("exactly one input, an image, found 2: images, other"), "{error}");
    let error = open_model("rank3.onnx").unwrap_err().to_string();
    assert!(error.contains("found [?, 64, 64] f32"), "{error}");
    let error = open_model("external_outside.onnx").unwrap_err().to_string();
    assert!(error.contains("expected a file inside its own folder"), "{error}");
}

#[test]
fn files_that_are_no_model_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let open = || Engine::open(&EngineOptions::new(&path)).unwrap_err();
    assert_eq!(open(), InferError::ModelNotFound { path: path.clone() });

    let whole = std::fs::read(data("brightest.onnx")).unwrap();
    let contents: [(&[u8], &str); 3] =
        [(b"", "found 0 bytes"), (b"hello, world", "expected an ONNX model"), (&whole[..1000], "truncated")];
    for (bytes, expected) in contents {
        std::fs::write(&path, bytes).unwrap();
        let error = open();
        assert!(matches!(error, InferError::ModelUnreadable { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(open().to_string().contains("expected a file, found a folder"), "{}", open());
}

#[test]
fn a_model_cut_anywhere_is_an_error_and_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let whole = std::fs::read(data("brightest.onnx")).unwrap();
    for len in (1..whole.len()).step_by(97) {
        std::fs::write(&path, &whole[..len]).unwrap();
        let error = Engine::open(&EngineOptions::new(&path)).unwrap_err();
        let expected =
            matches!(error, InferError::ModelUnreadable { .. } | InferError::ModelUnsupported { .. });
        assert!(expected, "{len}: {error:?}");
    }
}

#[test]
fn a_provider_the_library_lacks_is_refused_with_those_it_has() {
    let options = EngineOptions { provider: Provider::OpenVino, ..options("identity.onnx") };
    let error = Engine::open(&options).unwrap_err();
    let InferError::ProviderUnavailable { requested, available, .. } = error else { panic!("{error:?}") };
    assert_eq!(requested, "openvino");
    assert!(available.contains(&"cpu".to_owned()), "{available:?}");
}

#[test]
fn a_missing_library_fails_the_engine_and_not_the_process() {
    let library = Some(PathBuf::from("/nowhere/libonnxruntime.so"));
    let error = Engine::open(&EngineOptions { library, ..options("identity.onnx") }).unwrap_err();
    assert!(matches!(error, InferError::LibraryNotFound { .. }), "{error:?}");
    open_model("identity.onnx").expect("found by the variable");
}

#[test]
fn missing_labels_are_an_error_that_names_them() {
    let labels = Some(data("no-such-labels.txt"));
    let error = Engine::open(&EngineOptions { labels, ..options("identity.onnx") }).unwrap_err();
    assert!(error.to_string().contains("no-such-labels.txt"), "{error}");
}

#[test]
fn too_many_threads_are_refused() {
    let error = Engine::open(&EngineOptions { threads: 5000, ..options("identity.onnx") }).unwrap_err();
    assert_eq!(error.to_string(), "threads: expected 0 (automatic) to 1024, found 5000");
}

#[test]
fn warm_up_measures_a_batch() {
    let engine = open_model("slow_50ms.onnx").unwrap();
    let times = engine.warm_up(&[1], &Interrupt::new()).unwrap();
    assert!(times[0].1 > Duration::from_millis(1), "{times:?}");
}
