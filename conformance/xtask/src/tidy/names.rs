//! One name for each packet, input, action, phase and handler: the code's is one that a table of SPEC.md knows.

use super::complaint::{Complaint, Rule, Tree};
use super::source::Source;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::path::Path;

/// An enum whose variants are names of the protocol.
struct Names {
    file: &'static str,
    of: &'static str,
    /// What one of them is.
    kind: &'static str,
    /// How SPEC.md spells it.
    spelt: fn(&str) -> String,
}

const ENUMS: &[Names] = &[
    Names {
        file: "model/src/packet.rs",
        of: "Packet",
        kind: "packet",
        spelt: in_capitals,
    },
    Names {
        file: "model/src/step.rs",
        of: "Input",
        kind: "input",
        spelt: in_code,
    },
    Names {
        file: "model/src/step.rs",
        of: "Timer",
        kind: "timer",
        spelt: as_it_is,
    },
    Names {
        file: "model/src/checker/action.rs",
        of: "Action",
        kind: "action",
        spelt: in_code,
    },
    Names {
        file: "model/src/leader/mod.rs",
        of: "Phase",
        kind: "phase",
        spelt: in_code,
    },
    Names {
        file: "model/src/leader/mod.rs",
        of: "LearnerStage",
        kind: "stage",
        spelt: in_code,
    },
    Names {
        file: "model/src/learner/mod.rs",
        of: "FollowingStage",
        kind: "stage",
        spelt: in_code,
    },
];

/// Where functions called `on_…` are handlers of the protocol.
const HANDLERS: &[&str] = &[
    "model/src/peer",
    "model/src/election/",
    "model/src/leader/",
    "model/src/learner/",
];

/// ZooKeeper's capitals: `FollowerInfo` is FOLLOWERINFO.
fn in_capitals(name: &str) -> String {
    name.to_ascii_uppercase()
}

/// `Broadcast` and its like, as code.
fn in_code(name: &str) -> String {
    format!("`{name}`")
}

fn as_it_is(name: &str) -> String {
    name.to_owned()
}

/// Packets, inputs, timers, actions, phases and stages that no table of SPEC.md knows.
pub(super) fn unknown_variants(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for names in ENUMS {
        let Some(text) = tree.files.get(Path::new(names.file)) else {
            continue;
        };
        for (variant, line) in variants(text, names.of) {
            let spelt = (names.spelt)(&variant);
            if !is_known(&tree.spec, &spelt) {
                complaints.push(complaint(Path::new(names.file), line, names.kind, &spelt));
            }
        }
    }
    complaints
}

/// Handlers that no table of SPEC.md knows.
pub(super) fn unknown_handlers(spec: &str, sources: &[Source]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let handles = |s: &&Source| {
        HANDLERS
            .iter()
            .any(|h| s.path.to_string_lossy().starts_with(h))
    };
    for source in sources.iter().filter(handles) {
        for function in source
            .functions
            .iter()
            .filter(|f| f.name.starts_with("on_"))
        {
            let spelt = in_code(&function.name);
            if !is_known(spec, &spelt) {
                complaints.push(complaint(&source.path, function.first, "handler", &spelt));
            }
        }
    }
    complaints
}

/// Whether a row of a table in SPEC.md has this name, not as a part of a longer word.
fn is_known(spec: &str, spelt: &str) -> bool {
    let rows = spec.lines().filter(|l| l.starts_with("| "));
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '`';
    let mut words = rows.flat_map(|row| row.split(|c| !is_word(c)));
    // `Durable(mark)` names `Durable`, too.
    words.any(|w| w == spelt || w.starts_with('`') && spelt.strip_suffix('`') == Some(w))
}

fn complaint(file: &Path, line: usize, kind: &str, spelt: &str) -> Complaint {
    Complaint {
        rule: Rule::Unspecified,
        file: file.to_path_buf(),
        line,
        text: format!(
            "no table of SPEC.md has the {kind} {spelt}; give it a row there, or the name that SPEC.md uses"
        ),
    }
}

/// The variants of an enum in a file, with their lines.
fn variants(text: &str, of: &str) -> Vec<(String, usize)> {
    let tokens: Vec<TokenTree> = match text.parse::<TokenStream>() {
        Ok(tokens) => tokens.into_iter().collect(),
        Err(_) => return Vec::new(),
    };
    let is = |token: &TokenTree, word: &str| matches!(token, TokenTree::Ident(i) if i == word);
    let begins = tokens
        .windows(2)
        .position(|w| is(&w[0], "enum") && is(&w[1], of));
    let body = begins.and_then(|at| {
        tokens[at..].iter().find_map(|token| match token {
            TokenTree::Group(g) if g.delimiter() == Delimiter::Brace => Some(g.stream()),
            _ => None,
        })
    });
    let Some(body) = body else { return Vec::new() };
    let mut found = Vec::new();
    // The first name behind a comma is a variant; the groups beside it are its fields and attributes.
    let mut next = true;
    for token in body {
        match token {
            TokenTree::Ident(name) if next => {
                found.push((name.to_string(), name.span().start().line));
                next = false;
            }
            TokenTree::Punct(p) if p.as_char() == ',' => next = true,
            _ => {}
        }
    }
    found
}
