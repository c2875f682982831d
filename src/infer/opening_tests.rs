//! Caches, bound memory, placement and providers in the real ONNX Runtime.

use super::super::bound::{Bindings, HostMemory};
use super::super::engine::Engine;
use super::super::interrupt::Interrupt;
use super::super::model::ModelDescription;
use super::super::tensor::{InputData, Outputs};
use super::super::tuning::{Precision, Tuning};
use super::super::worker::{Backend, Purpose};
use super::super::{library, session};
use super::*;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn options(name: &str) -> EngineOptions {
    assert!(std::env::var_os("ORT_DYLIB_PATH").is_some(), "ORT_DYLIB_PATH must name a libonnxruntime.so");
    EngineOptions::new(data(name))
}

/// Images of noise, the same every time.
fn noise(data: &mut InputData) {
    let byte = |i: usize| (i.wrapping_mul(2_654_435_761) >> 16) as u8;
    match data {
        InputData::F32(data) => {
            data.iter_mut().enumerate().for_each(|(i, x)| *x = f32::from(byte(i)) / 255.0);
        }
        InputData::F16(data) => {
            data.iter_mut()
                .enumerate()
                .for_each(|(i, x)| *x = half::f16::from_f32(f32::from(byte(i)) / 255.0));
        }
        InputData::U8(data) => data.iter_mut().enumerate().for_each(|(i, x)| *x = byte(i)),
    }
}

/// What the engine makes of a batch of noise.
fn results(engine: &Engine, batch: usize) -> Outputs {
    let mut input = engine.input(batch).unwrap();
    noise(&mut input.data);
    let never = Interrupt::new();
    let reply = engine.submit(input, Arc::new(()), &never, LONG).unwrap().wait(&never, LONG).unwrap();
    reply.outputs.clone()
}

// --- The cache ----------------------------------------------------------------------------------------------

/// A model in a folder of its own, with a cache beside it.
struct Cached {
    above: tempfile::TempDir,
    options: EngineOptions,
}

impl Cached {
    fn new(model: &str) -> Self {
        let above = tempfile::tempdir().unwrap();
        let copy = above.path().join("model.onnx");
        fs::copy(data(model), &copy).unwrap();
        let options =
            EngineOptions { model: copy, cache_dir: Some(above.path().join("cache")), ..options(model) };
        Self { above, options }
    }

    /// Opened alone, so that it is really loaded.
    fn open(&self) -> (Arc<Engine>, CacheUse) {
        let engine = Engine::open(&self.options).unwrap();
        let used = engine.model().opened.cache.clone();
        (engine, used)
    }

    fn entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.above.path().join("cache")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

#[test]
fn the_second_start_takes_the_optimised_model_and_finds_the_same() {
    for model in ["brightest.onnx", "f16.onnx", "u8_nhwc.onnx", "fixed4.onnx"] {
        let cached = Cached::new(model);
        let (engine, used) = cached.open();
        assert_eq!(used, CacheUse::Stored, "{model}");
        let first =
            (results(&engine, 2), ModelDescription { opened: Default::default(), ..engine.model().clone() });
        drop(engine);
        let (engine, used) = cached.open();
        assert_eq!(used, CacheUse::Loaded, "{model}");
        let second =
            (results(&engine, 2), ModelDescription { opened: Default::default(), ..engine.model().clone() });
        assert_eq!(first, second, "{model}");
        assert_eq!(cached.entries().len(), 1, "{model}");
    }
}

#[test]
fn a_damaged_entry_is_made_anew() {
    let cached = Cached::new("brightest.onnx");
    drop(cached.open());
    let entry = cached.entries().remove(0);
    for damage in [&b"not a graph"[..], b""] {
        fs::write(&entry, damage).unwrap();
        assert_eq!(cached.open().1, CacheUse::Stored);
    }
    assert_eq!(cached.open().1, CacheUse::Loaded);
}

#[test]
fn an_entry_that_is_whole_but_no_model_is_made_anew() {
    use sha2::Digest as _;
    let cached = Cached::new("brightest.onnx");
    drop(cached.open());
    let entry = cached.entries().remove(0);
    let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
    let (key, _) = name.split_once('.').unwrap();
    let digest =
        sha2::Sha256::digest(b"garbage").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    fs::remove_file(&entry).unwrap();
    fs::write(entry.with_file_name(format!("{key}.{digest}.onnx")), "garbage").unwrap();
    assert_eq!(cached.open().1, CacheUse::Stored);
    assert_eq!(cached.open().1, CacheUse::Loaded);
}

#[test]
fn another_level_or_model_has_another_entry() {
    let mut cached = Cached::new("brightest.onnx");
    drop(cached.open());
    cached.options.tuning.optimization = Optimization::Basic;
    assert_eq!(cached.open().1, CacheUse::Stored);
    fs::copy(data("slow_1ms.onnx"), &cached.options.model).unwrap();
    assert_eq!(cached.open().1, CacheUse::Stored);
    assert_eq!(cached.entries().len(), 3);
}

#[test]
fn a_cache_that_cannot_be_used_is_told_and_not_fatal() {
    use std::os::unix::fs::PermissionsExt as _;
    let cached = Cached::new("brightest.onnx");
    let folder = cached.above.path().join("cache");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let (engine, used) = cached.open();
    let CacheUse::Unusable(detail) = used else { panic!("{used:?}") };
    assert!(detail.contains("only its owner may write"), "{detail}");
    results(&engine, 1);
    assert!(cached.entries().is_empty());
}

#[test]
fn simultaneous_starts_share_one_cache() {
    let cached = Cached::new("brightest.onnx");
    let threads = |threads| EngineOptions { threads, ..cached.options.clone() };
    std::thread::scope(|scope| {
        let openers: Vec<_> = (1..=3)
            .map(|n| scope.spawn(move || Engine::open(&threads(n)).unwrap().model().opened.cache.clone()))
            .collect();
        for opener in openers {
            let used = opener.join().unwrap();
            assert!(matches!(used, CacheUse::Stored | CacheUse::Loaded), "{used:?}");
        }
    });
    assert_eq!(cached.open().1, CacheUse::Loaded);
}

// --- Bound memory -------------------------------------------------------------------------------------------

/// A backend that runs the model through bound memory, with no GPU to bind it to.
fn bound(model: &str) -> (ModelDescription, Box<dyn Backend>) {
    let options = options(model);
    let runtime = library::runtime(library::LibraryRequest::default()).unwrap();
    let session = open(runtime, &options).unwrap();
    let description = Engine::open(&options).unwrap().model().clone();
    let bindings = Bindings::new(&description, description.input.clone(), HostMemory::Ordinary);
    (description.clone(), session::backend(&description, session, Some(bindings)))
}

#[test]
fn bound_memory_gives_what_a_plain_run_gives_and_no_padding() {
    for model in ["brightest.onnx", "f16.onnx", "u8_nhwc.onnx", "fixed4.onnx", "types.onnx"] {
        let engine = Engine::open(&options(model)).unwrap();
        let (description, mut backend) = bound(model);
        let most = engine.max_batch().unwrap_or(5);
        // Full ones first: what is left of them must not be seen in the padding of the smaller ones.
        for batch in (1..=most).rev() {
            let mut input = engine.input(batch).unwrap();
            noise(&mut input.data);
            let mut outputs = Outputs::default();
            backend.run(&input, Purpose::Frames, &mut outputs).unwrap();
            let rows = input.data.len() / description.row_len;
            assert!(outputs.tensors.iter().all(|tensor| tensor.shape[0] == rows), "{model} {batch}");
            if engine.max_batch().is_none() {
                assert_eq!(outputs, results(&engine, batch), "{model} {batch}");
            }
        }
    }
}

#[test]
fn a_bound_run_that_fails_leaves_the_next_one_alone() {
    let (_, mut backend) = bound("error.onnx");
    let engine = Engine::open(&options("error.onnx")).unwrap();
    let mut input = engine.input(1).unwrap();
    noise(&mut input.data);
    let mut outputs = Outputs::default();
    assert!(matches!(backend.run(&input, Purpose::Frames, &mut outputs), Err(InferError::Run { .. })));
    input.data.clear_to_zero();
    backend.run(&input, Purpose::Frames, &mut outputs).unwrap();
}

// --- Providers ----------------------------------------------------------------------------------------------

/// What the profiler tells of a model that the CPU runs, where `asked` was to.
fn placement(asked: Provider) -> Result<Vec<(String, u32)>, InferError> {
    let options = options("brightest.onnx");
    let runtime = library::runtime(library::LibraryRequest::default()).unwrap();
    let trace = ProfileFolder::new().unwrap();
    let how = How { profile: None, trace: Some(&trace) };
    let (mut session, _) = open_cached(runtime, &options, &[], how).unwrap();
    let model = Engine::open(&options).unwrap().model().clone();
    session::placement(&mut session, &model, asked, trace)
}

#[test]
fn the_profiler_tells_how_many_nodes_the_cpu_ran() {
    let placement = placement(Provider::Cpu).unwrap();
    assert!(matches!(&placement[..], [(name, nodes)] if name == "cpu" && *nodes > 1), "{placement:?}");
}

#[test]
fn a_provider_that_took_no_node_is_an_error() {
    let error = placement(Provider::Cuda).unwrap_err();
    assert!(error.to_string().contains("it took none of the model's"), "{error}");
}

#[test]
fn a_provider_the_library_lacks_says_what_to_install() {
    let wanted = [
        (Provider::Cuda, "onnxruntime-gpu"),
        (Provider::TensorRt, "TensorRT 10"),
        (Provider::OpenVino, "onnxruntime-openvino"),
    ];
    for (provider, install) in wanted {
        let options = EngineOptions { provider, ..options("identity.onnx") };
        let runtime = library::runtime(library::LibraryRequest::default()).unwrap();
        if provider.check().is_ok() {
            // The library at hand has it; what then happens depends on the machine.
            continue;
        }
        let error = Engine::open(&options).unwrap_err();
        let InferError::ProviderUnavailable { requested, detail, available } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(requested, provider.name());
        assert!(detail.starts_with("the library was built without it; it needs"), "{detail}");
        assert!(detail.contains(install), "{detail}");
        assert!(available.contains(&"cpu".to_owned()), "{} {available:?}", runtime.version());
        assert!(open(runtime, &options).is_err(), "nor is there a session");
    }
}

#[test]
fn settings_of_another_provider_are_refused_before_anything_is_loaded() {
    let tuning = Tuning { precision: Precision::Fp16, ..Tuning::default() };
    let error = Engine::open(&EngineOptions { tuning, ..options("identity.onnx") }).unwrap_err();
    assert_eq!(error.to_string(), "precision fp16: expected provider tensorrt, found cpu");
}

#[test]
fn what_changes_the_session_makes_another_engine_and_the_cache_does_not() {
    let plain = options("identity.onnx");
    let engine = Engine::open(&plain).unwrap();
    let with = |change: fn(&mut EngineOptions)| {
        let mut options = plain.clone();
        change(&mut options);
        Engine::open(&options).unwrap()
    };
    assert!(!Arc::ptr_eq(&engine, &with(|options| options.tuning.spinning = true)));
    assert!(!Arc::ptr_eq(&engine, &with(|options| options.tuning.optimization = Optimization::Disabled)));
    assert!(Arc::ptr_eq(&engine, &with(|options| options.cache_dir = Some(PathBuf::from("/nowhere")))));
    assert!(
        Arc::ptr_eq(&engine, &with(|options| options.tuning.profile_batch = 3)),
        "the CPU builds for no size"
    );
}

#[test]
fn what_the_runtime_says_is_told_without_its_sources() {
    let error = "/onnxruntime_src/core/provider_bridge_ort.cc:2043 onnxruntime::Provider& onnxruntime::Get() \
                 [ONNXRuntimeError] : 1 : FAIL : Failed to load library libx.so with error: liby.so: no such : file\nmore";
    assert_eq!(said(error), "Failed to load library libx.so with error: liby.so: no such : file");
    assert_eq!(said("plain words\nmore"), "plain words");
    assert_eq!(said("[ONNXRuntimeError] : 1"), "[ONNXRuntimeError] : 1");
    assert_eq!(said(""), "");
}
