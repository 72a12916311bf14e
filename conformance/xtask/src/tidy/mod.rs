//! House rules that review forgets, in words that say how to mend what breaks them.

mod arrows;
mod complaint;
mod names;
mod open;
mod rooms;
mod source;
mod text;

#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};
use arrows::{Arrow, Crate};
use complaint::{Complaint, Rule, Tree};
use source::Source;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Checks the repository at `root`.
pub(crate) fn tidy(root: &Path) -> Result<()> {
    let mut complaints = complaints(&Tree::read(root)?)?;
    complaints = open::left(complaints);
    complaints.sort();
    if !complaints.is_empty() {
        let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        bail!("tidy:\n  {}", lines.join("\n  "));
    }
    Ok(())
}

impl Tree {
    fn read(root: &Path) -> Result<Tree> {
        let mut paths = Vec::new();
        for room in ["model", "impl", "conformance", "benches"] {
            rust_files(&root.join(room), &mut paths)?;
        }
        let mut files = BTreeMap::new();
        for path in paths {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            files.insert(path, text);
        }
        let spec = fs::read_to_string(root.join("SPEC.md")).context("SPEC.md")?;
        Ok(Tree { files, spec })
    }
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

/// Everything that breaks a rule, in no order.
fn complaints(tree: &Tree) -> Result<Vec<Complaint>> {
    let defined = text::numbered(&tree.spec);
    let mut complaints = Vec::new();
    let mut crates: BTreeMap<PathBuf, Vec<Source>> = BTreeMap::new();
    for (path, text) in &tree.files {
        let root = crate_root(path, tree);
        let inside = root.as_ref().and_then(|r| path.strip_prefix(r).ok());
        let source = source::read(path, inside.unwrap_or(path), text)?;
        complaints.extend(text::complaints(&source, text, &defined));
        if let Some(root) = root {
            crates.entry(root).or_default().push(source);
        }
    }
    complaints.extend(names::unknown_variants(tree));
    for (root, files) in &crates {
        let root = root.to_string_lossy();
        let of = Crate::new(files);
        let arrows = of.arrows();
        complaints.extend(circles(files, &arrows));
        complaints.extend(rooms::forbidden_arrows(&root, files, &arrows));
        for (at, file) in files.iter().enumerate() {
            complaints.extend(rooms::forbidden_names(&root, file, of.is_test(at)));
        }
        complaints.extend(names::unknown_handlers(&tree.spec, files));
    }
    Ok(complaints)
}

/// The folder of the crate that a source file is a module of; nothing for a crate of one file (tests, benchmarks, `main.rs`
/// beside `lib.rs`).
fn crate_root(path: &Path, tree: &Tree) -> Option<PathBuf> {
    let folders = path.ancestors().skip(1);
    let is_root = |dir: &Path| {
        ["lib.rs", "main.rs"]
            .iter()
            .any(|f| tree.files.contains_key(&dir.join(f)))
    };
    let within = |dir: &Path| dir.components().any(|c| c.as_os_str() == "src");
    let root = folders.filter(|d| within(d)).find(|d| is_root(d))?;
    let alone = path.ends_with("main.rs") && tree.files.contains_key(&root.join("lib.rs"));
    let binary = path.parent().is_some_and(|d| d == root.join("bin"));
    (!alone && !binary).then(|| root.to_path_buf())
}

/// One complaint for each circle, with an arrow of each file that shows it.
fn circles(files: &[Source], arrows: &[Arrow]) -> Vec<Complaint> {
    let circles = arrows::circles(files.len(), arrows);
    let tell = |circle: Vec<usize>| {
        let within = arrows
            .iter()
            .filter(|a| circle.contains(&a.from) && circle.contains(&a.to));
        let arrows: Vec<String> = within.map(|a| told(files, a)).collect();
        Complaint {
            rule: Rule::Circle,
            file: files[circle[0]].path.clone(),
            line: 1,
            text: format!(
                "{} files need each other; they are one file, or hide another that they could all use:\n      {}",
                circle.len(),
                arrows.join("\n      ")
            ),
        }
    };
    circles.into_iter().map(tell).collect()
}

fn told(files: &[Source], arrow: &Arrow) -> String {
    let (from, to) = (&files[arrow.from].path, &files[arrow.to].path);
    format!(
        "{}:{} uses `{}` of {}",
        from.display(),
        arrow.line,
        arrow.path,
        to.display()
    )
}
