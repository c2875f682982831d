//! The process has one ONNX Runtime, so each of these needs a process of its own: run them with nextest.

use super::*;
use std::fs;
use std::process::Command;
use tempfile::TempDir;

/// The real library; `./dev test` sets the variable.
fn real() -> PathBuf {
    let path =
        std::env::var_os(VARIABLE).expect("ORT_DYLIB_PATH must name a libonnxruntime.so for these tests");
    PathBuf::from(path).canonicalize().expect("ORT_DYLIB_PATH must name a file")
}

fn open_explicit(path: &Path) -> Result<&'static Runtime, InferError> {
    runtime(LibraryRequest { explicit: Some(path), beside: None })
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A shared object with the given C source.
fn compiled(folder: &TempDir, source: &str) -> PathBuf {
    let (code, library) = (folder.path().join("old.c"), folder.path().join("libonnxruntime.so"));
    fs::write(&code, source).unwrap();
    let compiler = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &code]).status();
    assert!(compiler.expect("cc is needed, as for building this crate").success());
    library
}

/// A runtime of release 1.10, as far as anybody looks.
const OLD: &str = r#"
    struct base { const void *(*api)(unsigned); const char *(*version)(void); };
    static const void *api(unsigned v) { return 0; }
    static const char *version(void) { return "1.10.0"; }
    static const struct base base = { api, version };
    const struct base *OrtGetApiBase(void) { return &base; }
"#;

fn unusable(path: &Path) -> String {
    match open_explicit(path) {
        Err(InferError::LibraryUnusable { path: named, detail }) => {
            assert_eq!(named, path);
            detail
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_absent_library_is_named() {
    let path = folder().path().join("libonnxruntime.so");
    let error = open_explicit(&path).unwrap_err();
    assert_eq!(error, InferError::LibraryNotFound { tried: vec![path] });
    let bare = Path::new("libonnxruntime-that-is-nowhere.so");
    let error = open_explicit(bare).unwrap_err();
    assert_eq!(error, InferError::LibraryNotFound { tried: vec![bare.to_path_buf()] });
    assert_eq!(version(), None);
}

#[test]
fn what_is_no_shared_object_is_refused_with_what_was_found() {
    let folder = folder();
    let text = folder.path().join("libonnxruntime.so");
    fs::write(&text, "not an ELF file, but long enough to hold the header of one: ................").unwrap();
    assert_eq!(unusable(&text), "expected a shared object (ELF), found something else");
    fs::write(&text, "").unwrap();
    assert_eq!(unusable(&text), "expected a shared object (ELF), found something else");
    assert_eq!(unusable(folder.path()), "expected a file, found a folder or a device");
    assert_eq!(unusable(Path::new("/dev/zero")), "expected a file, found a folder or a device");
}

#[test]
fn a_truncated_library_is_refused_before_the_loader_dies_of_it() {
    let folder = folder();
    let copy = folder.path().join("libonnxruntime.so");
    let whole = fs::read(real()).unwrap();
    for len in [64, 4096, whole.len() / 2] {
        fs::write(&copy, &whole[..len]).unwrap();
        assert!(unusable(&copy).contains("truncated"), "{len}");
    }
}

#[test]
fn another_library_is_refused_for_its_missing_symbol() {
    let folder = folder();
    let other = compiled(&folder, "int nothing_of_interest(void) { return 0; }");
    assert_eq!(unusable(&other), "expected the symbol OrtGetApiBase, found none");
}

#[test]
fn a_library_whose_own_library_is_missing_is_refused_by_the_name_of_that() {
    let folder = folder();
    let needed = folder.path().join("libneeded.so");
    let inner = compiled(&folder, "int needed(void) { return 0; }");
    fs::rename(inner, &needed).unwrap();
    let code = folder.path().join("outer.c");
    fs::write(&code, "int needed(void); int outer(void) { return needed(); }").unwrap();
    let outer = folder.path().join("libonnxruntime.so");
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-L"])
        .arg(folder.path())
        .arg("-o")
        .args([&outer, &code])
        .arg("-lneeded")
        .status();
    assert!(compiler.expect("cc is needed, as for building this crate").success());
    fs::remove_file(needed).unwrap();
    assert!(unusable(&outer).contains("libneeded.so"));
}

#[test]
fn a_runtime_that_is_too_old_is_refused_and_the_right_one_may_follow() {
    let folder = folder();
    let old = compiled(&folder, OLD);
    assert_eq!(unusable(&old), "expected version 1.18 or newer, found 1.10.0");
    let opened = open_explicit(&real()).unwrap();
    assert!(opened.version().starts_with("1."), "{}", opened.version());
    assert_eq!(version(), Some(opened.version()));
}

#[test]
fn a_second_library_is_refused_naming_both() {
    let folder = folder();
    let copy = folder.path().join("libonnxruntime.so");
    open_explicit(&real()).unwrap();
    open_explicit(&real()).expect("the same again");
    runtime(LibraryRequest::default()).expect("no matter which");
    fs::copy(real(), &copy).unwrap();
    let error = open_explicit(&copy).unwrap_err();
    assert!(matches!(error, InferError::Settings { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&*copy.to_string_lossy()) && text.contains(&*real().to_string_lossy()), "{text}");
    let absent = folder.path().join("absent.so");
    assert!(matches!(open_explicit(&absent), Err(InferError::LibraryNotFound { .. })));
}

#[test]
fn a_new_runtime_without_the_interface_is_refused_for_good() {
    let folder = folder();
    let hollow = compiled(&folder, &OLD.replace("1.10.0", "1.99.0"));
    assert!(unusable(&hollow).contains("API"), "a caught panic of ort");
    let error = open_explicit(&real()).unwrap_err();
    assert!(matches!(error, InferError::Settings { .. }), "ort keeps what it took in: {error:?}");
}

#[test]
fn a_named_file_is_the_only_candidate() {
    let request = LibraryRequest { explicit: Some(Path::new("/a/b.so")), beside: Some(Path::new("/c")) };
    assert_eq!(candidates(request, Some("/d.so".into())), [PathBuf::from("/a/b.so")]);
    let request = LibraryRequest { explicit: None, ..request };
    assert_eq!(candidates(request, Some("/d.so".into())), [PathBuf::from("/d.so")]);
}

#[test]
fn without_a_name_the_plugins_folder_comes_before_the_system() {
    let folder = folder();
    let request = LibraryRequest { explicit: None, beside: Some(folder.path()) };
    let beside = folder.path().join("libonnxruntime.so");
    let system = SYSTEM_NAMES.map(PathBuf::from);
    assert_eq!(candidates(request, None)[..1], [beside], "to be named among those tried");
    assert_eq!(candidates(request, None)[1..], system);
    let versioned = folder.path().join("libonnxruntime.so.1.31.1");
    fs::write(&versioned, "").unwrap();
    fs::write(folder.path().join("libonnxruntime_providers_shared.so"), "").unwrap();
    assert_eq!(candidates(request, None)[..1], [versioned]);
    assert_eq!(candidates(request, None)[1..], system);
}

#[test]
fn the_release_is_read_from_the_library_whatever_its_name() {
    let folder = folder();
    let copy = folder.path().join("renamed.so");
    fs::copy(real(), &copy).unwrap();
    assert_eq!(elf::release(&copy), elf::release(&real()));
    assert!(elf::release(&copy).is_some());
    let named = folder.path().join("libonnxruntime.so.1.20.3");
    fs::write(&named, "").unwrap();
    assert_eq!(elf::release(&named).as_deref(), Some("1.20.3"));
}
