//! House rules that review forgets, in words that say how to mend what breaks them.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file may have this many lines; past that there is a second idea in it.
const LINES_MAX: usize = 800;

/// Checks the tree under `root`.
pub(crate) fn tidy(root: &Path) -> Result<()> {
    let mut files = Vec::new();
    for room in ["model", "impl", "conformance", "benches"] {
        rust_files(&root.join(room), &mut files)?;
    }
    let mut complaints = Vec::new();
    let spec = fs::read_to_string(root.join("SPEC.md")).context("SPEC.md")?;
    let headings: BTreeSet<String> = numbered(&spec);
    for path in &files {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        complaints.extend(complaints_of(path, &text, &headings));
    }
    complaints.extend(packets_without_section(root, &spec)?);
    if !complaints.is_empty() {
        bail!("tidy:\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if path.is_dir() && name != "target" {
            rust_files(&path, out)?;
        } else if name.ends_with(".rs") {
            out.push(path);
        }
    }
    Ok(())
}

/// The `I-n` and `D-n` that SPEC.md defines: those at the beginning of a table row or heading.
fn numbered(spec: &str) -> BTreeSet<String> {
    let lines = spec
        .lines()
        .filter_map(|l| l.strip_prefix("| ").or_else(|| l.strip_prefix("### ")));
    lines
        .filter_map(|l| l.split_whitespace().next())
        .filter_map(citation)
        .collect()
}

/// `I-7` or `D-3`, if the word begins with one.
fn citation(word: &str) -> Option<String> {
    let (kind, rest) = word.split_at_checked(2)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (matches!(kind, "I-" | "D-") && !digits.is_empty()).then(|| format!("{kind}{digits}"))
}

fn complaints_of(path: &Path, text: &str, defined: &BTreeSet<String>) -> Vec<String> {
    let at = path.display();
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        complaints.push(format!(
            "{at}: {lines} lines; look for the second idea in it and give it a file"
        ));
    }
    if !text.starts_with("//!") {
        complaints.push(format!(
            "{at}: begin with a `//!` line that says what the file is for"
        ));
    }
    for (n, line) in text.lines().enumerate() {
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        for cited in words
            .filter(|w| w.len() < 6)
            .filter_map(citation)
            .filter(|c| !defined.contains(c))
        {
            complaints.push(format!(
                "{at}:{}: {cited} is not in SPEC.md; define it there or cite another",
                n + 1
            ));
        }
    }
    complaints
}

/// Every packet of the core has a row in SPEC.md.
fn packets_without_section(root: &Path, spec: &str) -> Result<Vec<String>> {
    let names = fs::read_to_string(root.join("model/src/checker/trace.rs"))?;
    let words = names
        .split('"')
        .filter(|w| w.len() > 2 && w.chars().all(|c| c.is_ascii_uppercase()));
    let packets: BTreeSet<&str> = words.collect();
    Ok(packets
        .into_iter()
        .filter(|p| !spec.contains(p))
        .map(|p| format!("SPEC.md: {p} has no section; say who sends it, when, and what it means"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_citation_of_what_spec_does_not_define_is_found() {
        let defined = numbered("| I-1 | integrity |\n### D-2 a difference\n");
        let text = "//! A file.\n// upholds I-1, differs by D-2, D-9\n";
        let complaints = complaints_of(Path::new("x.rs"), text, &defined);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("D-9"));
    }

    #[test]
    fn a_file_without_a_first_word_and_one_without_end_are_found() {
        let long = format!("fn main() {{}}\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(
            complaints_of(Path::new("x.rs"), &long, &BTreeSet::new()).len(),
            2
        );
    }
}
