//! The tables in README.md of the model: runs as they were counted, and the zoo as it is.

use std::collections::BTreeMap;
use std::path::Path;
use zabra_check::checker::bounds;
use zabra_check::checker::explore::Explored;
use zabra_check::checker::tables;

const HEAD: &str = "| configuration | covers | distinct | generated | depth | tier | time |\n|---|---|---|---|---|---|---|\n";

/// A number as people read it.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The row of a configuration that was run to its end.
pub(crate) fn row(b: &bounds::Bounds, levels: &Explored, seconds: f64) -> String {
    let stands_for = if b.symmetric {
        format!(" (up to names; for {})", grouped(levels.renamed))
    } else {
        String::new()
    };
    format!(
        "| `{}` | {}{stands_for} | {} | {} | {} | {} | {seconds:.0} s |\n",
        b.name,
        b.about,
        grouped(levels.distinct),
        grouped(levels.generated),
        levels.depth,
        b.tier.name(),
    )
}

/// Replaces what stands in the file between two markers by what `table` makes of it.
fn rewrite(path: &Path, name: &str, table: impl FnOnce(&str) -> String) -> Result<(), String> {
    let shown = path.display();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (old, after) = rest.split_once(&end)?;
        Some((before, old, after))
    });
    let Some((before, old, after)) = parts else {
        let begin = begin.trim();
        return Err(format!(
            "{shown}: there is no table between {begin} and {end}"
        ));
    };
    let table = table(old);
    std::fs::write(path, format!("{before}{begin}{table}{end}{after}"))
        .map_err(|e| format!("{shown}: {e}"))
}

/// Writes the table of the zoo into the file.
pub(crate) fn write_zoo(path: &Path) -> Result<(), String> {
    rewrite(path, "zoo", |_| tables::of_the_zoo())
}

/// Writes these rows, by configuration, into the file; others stay as they are, in the order of `list`.
pub(crate) fn write(path: &Path, rows: &BTreeMap<&'static str, String>) -> Result<(), String> {
    rewrite(path, "runs", |old| table_of_runs(old, rows))
}

fn table_of_runs(old: &str, rows: &BTreeMap<&'static str, String>) -> String {
    let mut table = String::from(HEAD);
    for b in bounds::ALL {
        let begin = format!("| `{}` |", b.name);
        let kept = || old.lines().find(|l| l.starts_with(&begin));
        match rows.get(b.name) {
            Some(row) => table.push_str(row),
            None => table.extend(kept().map(|l| format!("{l}\n"))),
        }
    }
    table
}
