//! The page of guarantees names tests, and they are there.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../transport-redis/docs/guarantees.md");
/// Where tests and cases of the suite are.
const FOLDERS: [&str; 3] = ["it", "src/cases", "../transport-redis/src"];

/// The names of all functions in the Rust files under a folder.
fn functions(folder: &Path, found: &mut HashSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a text");
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let after = text.split("fn ").skip(1);
            found.extend(
                after.filter_map(|after| Some(after.split(|c| !is_name(c)).next()?.to_owned())),
            );
        }
    }
}

#[test]
fn each_fault_of_the_page_is_shown_by_tests_that_are_there() {
    let mut there = HashSet::new();
    for folder in FOLDERS {
        functions(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut there,
        );
    }
    let (_, table) = PAGE
        .split_once("| fault | what happens | shown by |\n|---|---|---|\n")
        .expect("the table of faults");
    let rows: Vec<_> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(!rows.is_empty());
    for row in rows {
        let [_, _, _, shown, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("three columns are expected: {row}");
        };
        let names: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            assert!(there.contains(name), "there is no test {name}: {row}");
        }
    }
}
