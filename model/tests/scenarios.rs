//! Every scenario says what the model does: the goldens of `scenarios/*.txt` are told anew and compared, line by line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::path::{Path, PathBuf};
use zabra_check::checker::scenario::tell;

fn stored() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    let files = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|f| f.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_scenario_is_what_the_model_does() {
    let files = stored();
    assert!(!files.is_empty(), "no scenarios");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let told =
            tell(&text).unwrap_or_else(|m| panic!("{}:{}: {}", file.display(), m.line, m.what));
        for (n, (said, is)) in text.lines().zip(told.lines()).enumerate() {
            assert_eq!(
                said,
                is,
                "{}:{}: `cargo xtask bless` rewrites it",
                file.display(),
                n + 1
            );
        }
        assert_eq!(
            text.lines().count(),
            told.lines().count(),
            "{}",
            file.display()
        );
    }
}

#[test]
fn a_scenario_that_was_touched_is_noticed() {
    let file = stored().remove(0);
    let text = std::fs::read_to_string(file).unwrap();
    let touched = text.replacen("current 1", "current 7", 1);
    assert_ne!(text, touched, "it tells a server's currentEpoch");
    assert_eq!(tell(&touched).unwrap(), text);
}

/// Every scenario, with the prose and what the model answers.
fn texts() -> Vec<String> {
    let read = |file| std::fs::read_to_string(file).unwrap();
    stored().into_iter().map(read).collect()
}

#[test]
fn each_row_of_the_plan_of_synchronization_is_named_by_a_scenario() {
    let texts = texts();
    let table = include_str!("../src/leader/sync_plan.rs");
    let row = |line: &'static str| line.strip_prefix("/// | `")?.split_once('`');
    let rows: Vec<&str> = table
        .lines()
        .filter_map(row)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(rows.len(), 7, "{rows:?}");
    let named = |row: &str, text: &String| text.contains(&format!("row \"{row}\""));
    let is_cluster = |text: &&String| text.contains("> begin ");
    for row in rows {
        assert!(texts.iter().any(|t| named(row, t)), "nobody shows {row:?}");
        // No server of ours names a bare position as its end; whole clusters show every other row.
        let mut clusters = texts.iter().filter(is_cluster);
        let shown = clusters.any(|t| named(row, t));
        assert_eq!(shown, row != "a bare position", "{row:?}");
    }
}

/// The deviations of SPEC.md §10 that the model of a cluster can show. The others are the tree's, the disk's or the service's.
const SHOWN: [u32; 19] = [
    1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 18, 19, 20, 21, 26, 43, 129, 130,
];

#[test]
fn each_deviation_that_the_model_can_show_has_a_scenario() {
    let texts = texts();
    for n in SHOWN {
        let is_word = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_digit());
        let named = |text: &String| text.split(&format!("D-{n}")).skip(1).any(is_word);
        assert!(texts.iter().any(named), "nobody shows D-{n}");
    }
}

#[test]
fn every_kind_of_synchronization_has_a_scenario() {
    let files: Vec<String> = stored().iter().map(|f| f.display().to_string()).collect();
    for kind in [
        "diff_empty",
        "diff",
        "trunc",
        "trunc_then_diff",
        "snap",
        "snap_after_snapshot",
    ] {
        let name = format!("/sync_{kind}.txt");
        assert!(files.iter().any(|f| f.ends_with(&name)), "{name}");
    }
}
