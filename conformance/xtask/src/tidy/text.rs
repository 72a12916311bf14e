//! What can be seen in the text of one file: its length, its first line, its functions, and what it cites.

use super::complaint::{Complaint, Rule};
use super::source::Source;
use std::collections::BTreeSet;

/// A source file may have this many lines; past that there is a second idea in it.
pub(super) const LINES_MAX: usize = 700;

/// A function may have this many lines, from `fn` to its last brace, without a reason.
pub(super) const FUNCTION_LINES_MAX: usize = 80;

/// How the reason for a longer one begins, on a line of its own above it.
const REASON: &str = "// long: ";

/// What is wrong with one file, seen by itself.
pub(super) fn complaints(
    source: &Source,
    text: &str,
    defined: &BTreeSet<String>,
) -> Vec<Complaint> {
    let complaint = |rule, line, text| Complaint {
        rule,
        file: source.path.clone(),
        line,
        text,
    };
    let mut complaints = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > LINES_MAX {
        let text = format!(
            "{} lines, {LINES_MAX} at most; look for the second idea in it and give it a file",
            lines.len()
        );
        complaints.push(complaint(Rule::Lines, 1, text));
    }
    if !text.starts_with("//!") {
        let text = "begin with a `//!` line that says what the file is for".to_owned();
        complaints.push(complaint(Rule::Opening, 1, text));
    }
    for function in &source.functions {
        let long = function.last + 1 - function.first;
        if long > FUNCTION_LINES_MAX && !has_reason(&lines, function.first) {
            let text = format!(
                "`{}` has {long} lines, {FUNCTION_LINES_MAX} at most; make functions of its parts, or write `{REASON}…` above it with \
                 the reason why it reads better in one piece",
                function.name
            );
            complaints.push(complaint(Rule::Function, function.first, text));
        }
    }
    for (n, line) in lines.iter().enumerate() {
        for cited in cited(line).filter(|c| !defined.contains(c)) {
            let text = format!("{cited} is not in SPEC.md; define it there or cite another");
            complaints.push(complaint(Rule::Citation, n + 1, text));
        }
    }
    complaints
}

/// Whether a reason stands in the comments and attributes right above line `first` (counted from 1).
fn has_reason(lines: &[&str], first: usize) -> bool {
    let above = lines[..first - 1].iter().rev().map(|l| l.trim_start());
    let mut above = above.take_while(|l| l.starts_with("//") || l.starts_with('#'));
    above.any(|l| l.strip_prefix(REASON).is_some_and(|r| r.contains(' ')))
}

/// The `I-n` and `D-n` that SPEC.md defines: those at the beginning of a table row or heading.
pub(super) fn numbered(spec: &str) -> BTreeSet<String> {
    let lines = spec
        .lines()
        .filter_map(|l| l.strip_prefix("| ").or_else(|| l.strip_prefix("### ")));
    lines
        .filter_map(|l| l.split_whitespace().next())
        .filter_map(citation)
        .collect()
}

fn cited(line: &str) -> impl Iterator<Item = String> {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|w| w.len() < 6).filter_map(citation)
}

/// `I-7` or `D-3`, if the word begins with one.
fn citation(word: &str) -> Option<String> {
    let (kind, rest) = word.split_at_checked(2)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (matches!(kind, "I-" | "D-") && !digits.is_empty()).then(|| format!("{kind}{digits}"))
}
