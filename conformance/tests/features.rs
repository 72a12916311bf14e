//! The table of what of ZooKeeper is here says nothing that is not so: the tests that it names are there, whatever is missing has a
//! reason, the decisions that it cites stand in SPEC.md, and README.md tells what the table says.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../xtask/src/features.rs"]
mod features;

use features::{Row, TABLE, made_up, misplaced, parse, replace, summary, undecided, unexplained};
use std::path::Path;

/// Rows of the table: whoever adds or removes one says so here.
const ROWS: usize = 834;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(path).unwrap_or_default()
}

fn rows() -> Vec<Row> {
    parse(&read(TABLE)).unwrap()
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_row_has_its_words_and_its_section_and_stands_once() {
    let rows = rows();
    assert_eq!(rows.len(), ROWS);
    none(&misplaced(&rows));
}

#[test]
fn every_test_that_is_named_is_there() {
    none(&made_up(&rows(), read));
}

#[test]
fn what_is_not_there_has_a_reason_and_what_is_there_says_whether_a_test_shows_it() {
    none(&unexplained(&rows()));
}

#[test]
fn every_decision_that_is_cited_stands_in_the_specification() {
    none(&undecided(&rows(), &read("SPEC.md")));
}

#[test]
fn the_front_page_tells_what_the_table_says() {
    let summary = summary(&read(TABLE)).unwrap();
    let (told, _) = replace(&read("README.md"), &summary).unwrap();
    assert!(
        told == summary,
        "README.md is stale: run `cargo xtask features`"
    );
}

/// ZooKeeper's keys, one a row: none is reported as one that nobody knows. What becomes of each is told beside it.
#[test]
fn every_key_of_the_table_is_known_to_the_server() {
    let table = read(TABLE);
    let sections = table.split("\n### ").filter(|section| {
        let of_keys = ["3.2 ", "3.3 ", "3.4 ", "3.8 "];
        of_keys.iter().any(|number| section.starts_with(number))
    });
    let names = sections
        .flat_map(|section| section.lines())
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let (name, _, status) = (cells.next()?, cells.next()?, cells.next()?);
            let name = name.split(" (").next()?;
            let is_one = name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._".contains(c));
            (is_one && !["status", "not for a server"].contains(&status)).then_some(name)
        });
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 80, "{names:?}");
    let is_known = |name: &str| {
        let name = name.replace(".N", ".1");
        zabra::config::keys::find(&name).is_some()
    };
    let unknown: Vec<&&str> = names.iter().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The checks can fail: a table with one mistake of each kind.
#[test]
fn each_mistake_is_found() {
    let good = "- `it` is `t.rs::it_works`\n## 1 Part\n### 1.1 Section\n| row | priority | status | shown by | reason |\n|---|---|---|---|---|\n| a | P0 | done | `t.rs::it_works` |  |\n";
    let file = |_: &str| "#[test]\nfn it_works() {\n".to_owned();
    let spec = "\n| D-1 | a decision |";
    let wrong = |row: &str| {
        let rows = parse(&format!("{good}{row}\n")).unwrap();
        let all = [misplaced(&rows), made_up(&rows, file), unexplained(&rows)];
        let all: Vec<String> = all
            .into_iter()
            .flatten()
            .chain(undecided(&rows, spec))
            .collect();
        all.join("; ")
    };
    assert_eq!(wrong("| b | P1 | missing |  | not built (D-1) |"), "");
    assert_eq!(wrong("| b | P1 | done | `it`, `t.rs::it_works` |  |"), "");
    for (row, word) in [
        ("| a | P0 | done | none |  |", "twice"),
        ("| b | P0 | ready | none | x |", "no status"),
        ("| b | P9 | done | none |  |", "no priority"),
        ("| b | P0 | done | `t.rs::it_fails` |  |", "no test"),
        ("| b | P0 | done | `that` |  |", "no test"),
        ("| b | P0 | done |  |  |", "write none"),
        ("| b | P0 | missing |  |  |", "without a reason"),
        ("| b | P0 | refused |  | not built (D-2) |", "no D-2"),
    ] {
        let found = wrong(row);
        assert!(found.contains(word), "{row}: {found:?}");
    }
    assert!(parse("| b | P0 | done | none |").is_err());
}
