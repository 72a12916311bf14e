//! The table of what of ZooKeeper is here, `conformance/features.md`: what has to be true of it, and the part of README.md that is
//! made from it. The standard library alone, as a test has this file, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Where the table is.
pub(crate) const TABLE: &str = "conformance/features.md";
/// The words for what became of a row.
const STATUS: [&str; 5] = ["done", "partly", "missing", "refused", "not for a server"];
/// The words for how much a row matters; the last one, of what no server has.
const PRIORITY: [&str; 5] = ["P0", "P1", "P2", "P3", "–"];
/// What stands where no test shows a row.
const NO_TEST: &str = "none";
/// Columns of what is generated.
const WIDTH: usize = 128;

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    line: usize,
    /// Number and title of its section.
    section: String,
    name: String,
    priority: String,
    status: String,
    /// As `path::function`, whatever short name stands there; `None` where the cell is empty.
    tests: Option<Vec<String>>,
    /// Why it is not there, or what is different.
    reason: String,
}

impl Row {
    fn says(&self, what: &str) -> String {
        format!("{TABLE}:{}: {}: {what}", self.line, self.name)
    }

    fn is_absent(&self) -> bool {
        ["missing", "refused"].contains(&&*self.status)
    }
}

/// The rows of the table. Errors: a line, and what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Row>, String> {
    let (mut rows, mut section) = (Vec::new(), "");
    let short: BTreeMap<&str, &str> = text.lines().filter_map(short_name).collect();
    for (at, line) in text.lines().enumerate() {
        if line.starts_with("##") {
            section = line.trim_start_matches('#').trim();
        }
        if !line.starts_with('|') || line.starts_with("| row |") || line.starts_with("|---") {
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, priority, status, tests, reason, _] = cells[..] else {
            return Err(format!("{TABLE}:{}: a row has five cells", at + 1));
        };
        let whole = |test: &str| {
            let test = test.trim_matches('`');
            short.get(test).copied().unwrap_or(test).to_owned()
        };
        let tests = match tests {
            "" => None,
            NO_TEST => Some(Vec::new()),
            all => Some(all.split(", ").map(whole).collect()),
        };
        rows.push(Row {
            line: at + 1,
            section: section.to_owned(),
            name: name.to_owned(),
            priority: priority.to_owned(),
            status: status.to_owned(),
            tests,
            reason: reason.to_owned(),
        });
    }
    Ok(rows)
}

/// A line of the head that gives a test a short name: - `name` is `path::function`.
fn short_name(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("- `")?
        .strip_suffix('`')?
        .split_once("` is `")
}

/// Rows with words that the head of the table does not explain, without a section, or there twice.
pub(crate) fn misplaced(rows: &[Row]) -> Vec<String> {
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for row in rows {
        if !STATUS.contains(&&*row.status) {
            wrong.push(row.says(&format!("{:?} is no status", row.status)));
        }
        if !PRIORITY.contains(&&*row.priority) {
            wrong.push(row.says(&format!("{:?} is no priority", row.priority)));
        }
        if !row.section.starts_with(|c: char| c.is_ascii_digit()) {
            wrong.push(row.says("it is in no section"));
        }
        if !seen.insert((&row.section, &row.name)) {
            wrong.push(row.says("it is there twice"));
        }
    }
    wrong
}

/// Tests that are named and are not there; `read` gives the text of a file of the repository.
pub(crate) fn made_up(rows: &[Row], read: impl Fn(&str) -> String) -> Vec<String> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows {
        for test in row.tests.iter().flatten() {
            let (path, function) = test.split_once("::").unwrap_or((test, ""));
            let text = files.entry(path).or_insert_with(|| read(path));
            if !has_test(text, function) {
                wrong.push(row.says(&format!("{path} has no test {function:?}")));
            }
        }
    }
    wrong
}

/// Whether `text` has a function of this name behind an attribute `test`.
fn has_test(text: &str, function: &str) -> bool {
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let name = line.trim_start_matches("async ").strip_prefix("fn ");
        if let Some(name) = name.and_then(|rest| rest.split('(').next()) {
            if marked && name == function {
                return true;
            }
            marked = false;
        }
    }
    false
}

/// Rows that are not there without a reason, and rows that are there and do not say whether a test shows it.
pub(crate) fn unexplained(rows: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    for row in rows {
        if row.status != "done" && row.reason.is_empty() {
            wrong.push(row.says(&format!("{} without a reason", row.status)));
        }
        if ["done", "partly"].contains(&&*row.status) && row.tests.is_none() {
            wrong.push(row.says(&format!(
                "no test is named; if none shows it, write {NO_TEST}"
            )));
        }
    }
    wrong
}

/// Decisions that are cited and do not stand in `spec`, the text of SPEC.md.
pub(crate) fn undecided(rows: &[Row], spec: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for row in rows {
        for rest in row.reason.split("D-").skip(1) {
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if !spec.contains(&format!("\n| D-{number} |")) {
                wrong.push(row.says(&format!("SPEC.md has no D-{number}")));
            }
        }
    }
    wrong
}

/// What README.md says of the table.
///
/// # Errors
/// As [`parse`].
pub(crate) fn summary(text: &str) -> Result<String, String> {
    let rows = parse(text)?;
    let mut out = String::from("| part of ZooKeeper | done | partly | missing | refused |\n");
    out.push_str("|---|---|---|---|---|\n");
    for title in text.lines().filter_map(|line| line.strip_prefix("## ")) {
        let number = title.split(' ').next();
        let of = |row: &&Row| row.section.split(['.', ' ']).next() == number;
        let _ = write!(out, "| {title} |");
        for status in &STATUS[..4] {
            let count = rows
                .iter()
                .filter(of)
                .filter(|row| row.status == *status)
                .count();
            let _ = write!(out, " {count} |");
        }
        out.push('\n');
    }
    let done = || rows.iter().filter(|row| row.status == "done");
    let shown = done().filter(|row| row.tests.iter().any(|tests| !tests.is_empty()));
    let paragraphs = [
        format!(
            "Of the {} rows that are done, {} name the tests that show it.",
            done().count(),
            shown.count()
        ),
        match absent(&rows) {
            list if list.is_empty() => String::new(),
            list => format!("Not there yet, each with the number of its rows: {list}."),
        },
        match not_whole(&rows) {
            list if list.is_empty() => "All of priority P0 is there.".to_owned(),
            list => format!("Of priority P0 and not whole, or not there: {list}."),
        },
    ];
    for paragraph in paragraphs.iter().filter(|words| !words.is_empty()) {
        out.push('\n');
        out.push_str(&wrapped(paragraph));
    }
    Ok(out)
}

/// What is missing or refused because there is "no … yet", the most first.
fn absent(rows: &[Row]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.is_absent()) {
        let what = row
            .reason
            .strip_prefix("no ")
            .and_then(|rest| rest.split_once(" yet"));
        if let Some((what, _)) = what {
            *counts.entry(what).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(what, count)| (usize::MAX - count, *what));
    let told = counts
        .iter()
        .map(|(what, count)| format!("{what} ({count})"));
    told.collect::<Vec<_>>().join(", ")
}

/// The rows of P0 that are not done, by section.
fn not_whole(rows: &[Row]) -> String {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    let is_meant = |row: &&Row| row.priority == "P0" && (row.is_absent() || row.status == "partly");
    for row in rows.iter().filter(is_meant) {
        let section = row.section.split(' ').next().unwrap_or_default();
        match all.last_mut() {
            Some((last, names)) if *last == section => names.push(&row.name),
            _ => all.push((section, vec![&row.name])),
        }
    }
    let told = all
        .iter()
        .map(|(section, names)| format!("{section} {}", names.join(", ")));
    told.collect::<Vec<_>>().join("; ")
}

fn wrapped(paragraph: &str) -> String {
    let (mut text, mut width) = (String::new(), 0);
    for word in paragraph.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            text.push('\n');
            width = 0;
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text.push('\n');
    text
}

/// What stands in `readme` between the markers, and `readme` with `summary` there instead.
pub(crate) fn replace(readme: &str, summary: &str) -> Option<(String, String)> {
    let (begin, end) = ("<!-- features -->\n", "<!-- /features -->");
    let (before, rest) = readme.split_once(begin)?;
    let (old, after) = rest.split_once(end)?;
    Some((
        old.to_owned(),
        format!("{before}{begin}{summary}{end}{after}"),
    ))
}
