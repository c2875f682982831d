//! The layer rule of `src/lib.rs`, as far as the compiler does not enforce it, and the size budgets.
//!
//! Reads source text, line by line: comments are left out, macros and aliases are not seen through.

use std::fs;
use std::path::{Path, PathBuf};

/// Values only: no GStreamer, no ONNX Runtime, no clock, no thread.
const PURE: &[&str] = &[
    "src/batch",
    "src/feed",
    "src/health",
    "src/vision",
    "src/track",
    "src/output",
    "src/overlay",
    "src/config",
    "src/metrics",
    "src/time.rs",
];

/// What a pure folder must not name. The layers above it are among them: arrows point one way.
const FORBIDDEN_IN_PURE: &[&str] = &[
    "gst",
    "gst_app",
    "gst_base",
    "gst_video",
    "glib",
    "ort",
    "libloading",
    "std::thread",
    "thread::spawn",
    "sleep",
    "Instant",
    "SystemTime",
    "crate::clock",
    "crate::infer",
    "crate::meta",
    "crate::elements",
];

/// Lines of an element's `imp.rs` and of any other file, without their tests.
const IMP_BUDGET: usize = 400;
const FILE_BUDGET: usize = 500;

/// Every Rust file at or under `path`, which must exist: a renamed folder must not go unchecked.
fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let entries = entries.map(|entry| entry.expect("a folder of the checkout can be listed").path());
    entries
        .filter(|entry| entry.is_dir() || entry.extension().is_some_and(|extension| extension == "rs"))
        .flat_map(|entry| rust_files(&entry))
        .collect()
}

/// The files under a folder of the crate, by path relative to it, with their text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = rust_files(&root.join(folder));
    files.sort();
    assert!(!files.is_empty(), "{folder} holds no Rust file");
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a source file is UTF-8");
        let relative = file.strip_prefix(root).expect("found below the root");
        (relative.display().to_string(), text)
    };
    files.into_iter().map(read).collect()
}

/// Whether `path` (`a::b`, or one word) stands in `code` as whole words. A hyphen is part of a word: rustfmt
/// sets a minus apart, so one without spaces is in a name, like that of a property.
fn names(code: &str, path: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    code.match_indices(path).any(|(at, _)| {
        !code[..at].ends_with(part_of_word) && !code[at + path.len()..].starts_with(part_of_word)
    })
}

/// `file:line: word` for every word of `forbidden` that the code of `text` names.
fn violations(file: &str, text: &str, forbidden: &[&str]) -> Vec<String> {
    let code_of = |line: &'_ str| line.split("//").next().unwrap_or_default().to_owned();
    let in_line = |(index, line): (usize, &str)| {
        let code = code_of(line);
        let found = forbidden.iter().filter(move |word| names(&code, word));
        found.map(|word| format!("{file}:{}: {word}", index + 1)).collect::<Vec<_>>()
    };
    text.lines().enumerate().flat_map(in_line).collect()
}

/// Whether the file is a module of tests.
fn is_tests(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("/tests/")
}

/// Lines up to the tests inside the file; none for a file that is all tests.
fn lines_without_tests(file: &str, text: &str) -> usize {
    if is_tests(file) {
        return 0;
    }
    let lines: Vec<&str> = text.lines().collect();
    let opens_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    lines.windows(2).position(opens_tests).unwrap_or(lines.len())
}

/// Fails on a forbidden word in `folders`, but for files under `except` and modules of tests: these may share a
/// value between threads to prove something of it, and everything else the compiler and clippy forbid them, too.
fn check(folders: &[&str], forbidden: &[&str], except: &[&str]) {
    let files = folders.iter().flat_map(|folder| sources(folder));
    let checked =
        files.filter(|(file, _)| !is_tests(file) && !except.iter().any(|prefix| file.starts_with(prefix)));
    let found: Vec<String> = checked.flat_map(|(file, text)| violations(&file, &text, forbidden)).collect();
    assert!(found.is_empty(), "the layer rule of src/lib.rs forbids:\n{}", found.join("\n"));
}

#[test]
fn pure_folders_name_no_gstreamer_no_engine_no_clock_and_no_upper_layer() {
    check(PURE, FORBIDDEN_IN_PURE, &[]);
}

#[test]
fn only_infer_names_onnx_runtime() {
    check(&["src"], &["ort"], &["src/infer/"]);
}

#[test]
fn only_meta_is_unsafe() {
    check(&["src"], &["unsafe"], &["src/meta/"]);
}

#[test]
fn files_keep_their_size_budget() {
    let over = |(file, text): (String, String)| {
        let lines = lines_without_tests(&file, &text);
        let element = file.starts_with("src/elements/") && file.ends_with("/imp.rs");
        let budget = if element { IMP_BUDGET } else { FILE_BUDGET };
        (lines > budget).then(|| format!("{file}: {lines} lines, budget {budget}"))
    };
    let over: Vec<String> = sources("src").into_iter().filter_map(over).collect();
    assert!(over.is_empty(), "split by idea:\n{}", over.join("\n"));
}

#[test]
fn the_check_finds_what_it_forbids() {
    for word in FORBIDDEN_IN_PURE {
        let text = format!("//! Prose.\nuse {word}::Thing;\n");
        let found = violations("src/batch/bad.rs", &text, FORBIDDEN_IN_PURE);
        assert!(found.contains(&format!("src/batch/bad.rs:2: {word}")), "{word}: {found:?}");
    }
    let call = violations("a.rs", "let now = std::time::Instant::now();", FORBIDDEN_IN_PURE);
    assert_eq!(call, ["a.rs:1: Instant"]);
    assert_eq!(violations("a.rs", "    unsafe { read() }", &["unsafe"]), ["a.rs:1: unsafe"]);
}

#[test]
fn the_check_leaves_prose_and_longer_words_alone() {
    let text = "/// Not `gst`.\nlet sort = short; // ort\n#![deny(unsafe_code)]\nlet instant = ports::Instantly;\n\
        let name = \"ort-library\";\n";
    assert_eq!(violations("a.rs", text, FORBIDDEN_IN_PURE), Vec::<String>::new());
    assert_eq!(violations("a.rs", text, &["unsafe"]), Vec::<String>::new());
}

#[test]
fn tests_inside_a_file_do_not_count_and_a_module_of_tests_does_not_hide_the_rest() {
    let inside = "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(lines_without_tests("src/a.rs", inside), 1);
    let beside = "#[cfg(test)]\nmod tests;\nfn a() {}\n";
    assert_eq!(lines_without_tests("src/a.rs", beside), 3);
    assert_eq!(lines_without_tests("src/batch/tests.rs", beside), 0);
}
