//! The traces on which running servers are held are exactly what the model does: no more, no less, in every field.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::path::{Path, PathBuf};
use zabra_check::checker::trace::verify;

fn stored() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/traces");
    let folders = [dir.clone(), dir.join("e2e-join"), dir.join("e2e-leave")];
    let files = folders
        .into_iter()
        .flat_map(|dir| std::fs::read_dir(dir).unwrap());
    let files = files.map(|f| f.unwrap().path());
    files
        .filter(|f| f.extension().is_some_and(|e| e == "ndjson"))
        .collect()
}

#[test]
fn every_stored_trace_is_what_the_model_does() {
    let files = stored();
    assert!(files.len() >= 120, "{} traces", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        if let Err((line, what)) = verify(&text) {
            panic!("{}:{line}: {what}", file.display());
        }
    }
}

#[test]
fn a_trace_that_was_touched_is_refused_at_the_line() {
    let file = stored().into_iter().min().unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = lines
        .iter()
        .rposition(|l| l.contains("\"frames\""))
        .unwrap();
    lines[at] = lines[at].replacen("\"zxid\":", "\"zxid\":1", 1);
    let refused = verify(&lines.join("\n")).map_err(|(line, _)| line);
    assert_eq!(refused, Err(at + 1));
}
