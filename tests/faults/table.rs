//! The two tables of this folder say what is true: every test is in the table of faults, every name in a table is a
//! test, every fault and every behaviour has its row, and a row without a test says why.

use crate::support::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Faults F01 to F81.
const FAULTS: usize = 81;
/// Behaviours 1 to 131.
const BEHAVIOURS: usize = 131;

/// A row of a table: its number, the tests it names, and its last column.
struct Row {
    key: String,
    tests: Vec<String>,
    text: String,
}

fn rows(file: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(repository(file)).expect("a table");
    let lines = text.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() >= 3);
    lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let tests = cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Row { key: cells[0].to_owned(), tests, text: cells[cells.len() - 1].to_owned() }
        })
        .filter(|row| !row.key.is_empty())
        .collect()
}

/// The names of all tests below a folder, with the files they are in.
fn tests_below(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let file = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
                    let name = rest.split('(').next().unwrap_or_default();
                    found.insert(name.to_owned(), file.clone());
                }
                // Property tests are marked inside their macro in the same way.
                marked = line == "#[test]" || (marked && !line.starts_with("fn "));
            }
        }
    }
}

fn all_tests() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    tests_below(&repository("tests"), &mut found);
    tests_below(&repository("src"), &mut found);
    found
}

fn assert_names_exist(rows: &[Row]) {
    let tests = all_tests();
    for row in rows {
        for name in &row.tests {
            let (module, test) = name.rsplit_once("::").map_or((None, name.as_str()), |(m, t)| (Some(m), t));
            let file = tests.get(test).unwrap_or_else(|| panic!("{}: no test {name}", row.key));
            assert!(module.is_none_or(|module| module == file), "{}: {name} is in {file}.rs", row.key);
        }
        assert!(!row.text.is_empty() && row.text != "-", "{}: says nothing", row.key);
    }
}

#[test]
fn every_test_is_in_the_table_of_faults_and_every_name_in_it_is_a_test() {
    let rows = rows("tests/faults/README.md");
    let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    let wanted: Vec<_> = (1..=FAULTS).map(|number| format!("F{number:02}")).collect();
    assert_eq!(keys, wanted);
    assert_names_exist(&rows);
    let named: BTreeSet<_> = rows.iter().flat_map(|row| &row.tests).collect();
    let named: BTreeSet<_> = named.iter().map(|name| name.rsplit("::").next().unwrap_or(name)).collect();
    let mut ours = BTreeMap::new();
    tests_below(&repository("tests/faults"), &mut ours);
    let missing: Vec<_> =
        ours.iter().filter(|(name, file)| *file != "table" && !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}

#[test]
fn every_behaviour_of_the_runtime_has_its_test_or_says_why_it_has_none() {
    let rows = rows("tests/faults/BEHAVIOURS.md");
    let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    let wanted: Vec<_> = (1..=BEHAVIOURS).map(|number| number.to_string()).collect();
    assert_eq!(keys, wanted);
    assert_names_exist(&rows);
}
