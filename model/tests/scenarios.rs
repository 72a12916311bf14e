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
