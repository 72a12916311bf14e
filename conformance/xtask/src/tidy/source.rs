//! What a source file says about other files: its modules, imports, paths and functions.
//!
//! Read from tokens and not from a syntax tree: so a path inside `assert!(…)` counts like any other, and there is little to
//! read. A method that is called on a value names no file, so such a call is no arrow here.

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Where it is, from the top of the repository.
    pub(super) path: PathBuf,
    /// The module that it is: `[]` for `lib.rs`, `["leader", "sync"]` for `leader/sync.rs`.
    pub(super) module: Vec<String>,
    /// Modules that it declares, and whether for tests only.
    pub(super) modules: Vec<(String, bool)>,
    /// What it imports, outside of tests.
    pub(super) imports: Vec<Import>,
    /// Paths that it names in place, outside of tests: `crate::ids::Zxid`, `net::UdpSocket`.
    pub(super) paths: Vec<Named>,
    /// Items that it defines at its top.
    pub(super) defines: BTreeSet<String>,
    /// Every function with a body, those of tests included.
    pub(super) functions: Vec<Function>,
}

/// A path with two or more names, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Where.
    pub(super) line: usize,
    /// Modules of the same file that stand around it.
    pub(super) within: Vec<String>,
    /// The names.
    pub(super) path: Vec<String>,
}

/// One name that a `use` brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// What is named.
    pub(super) named: Named,
    /// What it is called here; nothing if everything is imported by `*`.
    pub(super) called: Option<String>,
    /// Whether others see it under this name (`pub use`, `pub(crate) use`).
    pub(super) shown: bool,
}

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: String,
    /// The line of `fn`.
    pub(super) first: usize,
    /// The line of the closing brace.
    pub(super) last: usize,
}

/// Reads a file whose path in its `src` folder is `inside`.
pub(super) fn read(path: &Path, inside: &Path, text: &str) -> Result<Source> {
    let tokens: TokenStream = text
        .parse()
        .map_err(|e| anyhow!("{e}"))
        .with_context(|| format!("{}: not Rust", path.display()))?;
    let mut source = Source {
        path: path.to_path_buf(),
        module: module_of(inside),
        ..Source::default()
    };
    let place = Place {
        within: Vec::new(),
        top: true,
        test: false,
    };
    source.scan(tokens, &place);
    Ok(source)
}

fn module_of(inside: &Path) -> Vec<String> {
    let stem = inside.with_extension("");
    let mut names: Vec<String> = stem
        .iter()
        .map(|n| n.to_string_lossy().into_owned())
        .collect();
    if names
        .last()
        .is_some_and(|n| matches!(n.as_str(), "mod" | "lib" | "main"))
    {
        names.pop();
    }
    names
}

/// Where in a file the scan is.
#[derive(Clone)]
struct Place {
    within: Vec<String>,
    /// Directly in a module, where items are defined.
    top: bool,
    /// In what is compiled for tests only.
    test: bool,
}

impl Place {
    fn deeper(&self, test: bool) -> Place {
        Place {
            top: false,
            test: self.test || test,
            ..self.clone()
        }
    }

    fn module(&self, name: &str, test: bool) -> Place {
        let mut within = self.within.clone();
        within.push(name.to_owned());
        Place {
            within,
            top: self.top,
            test: self.test || test,
        }
    }
}

impl Source {
    /// Whether this is a face: a file that stands for the folder around it.
    pub(super) fn is_face(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default();
        ["mod.rs", "lib.rs", "main.rs"].iter().any(|f| name == *f)
    }

    fn scan(&mut self, tokens: TokenStream, place: &Place) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        // Set by `#[cfg(test)]` or `#[test]`, until the item behind it ends.
        let mut test = false;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Punct(p) if p.as_char() == '#' => {
                    if let Some(TokenTree::Group(attribute)) = tokens.get(at + 1) {
                        test |= is_for_tests(attribute);
                        at += 1;
                    }
                    at += 1;
                }
                TokenTree::Ident(word) => {
                    at = self.word(&tokens, at, word, place, &mut test);
                }
                TokenTree::Group(group) => {
                    self.scan(group.stream(), &place.deeper(test));
                    test &= group.delimiter() != Delimiter::Brace;
                    at += 1;
                }
                TokenTree::Punct(p) => {
                    test &= p.as_char() != ';';
                    at += 1;
                }
                TokenTree::Literal(_) => at += 1,
            }
        }
    }

    /// Takes in an item or path that begins with `word` at `at`, and returns where the scan goes on.
    fn word(
        &mut self,
        tokens: &[TokenTree],
        at: usize,
        word: &Ident,
        place: &Place,
        test: &mut bool,
    ) -> usize {
        let name = match tokens.get(at + 1) {
            Some(TokenTree::Ident(name)) => Some(name.to_string()),
            _ => None,
        };
        match (word.to_string().as_str(), name) {
            ("mod", Some(name)) => {
                if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                    self.scan(body.stream(), &place.module(&name, *test));
                } else {
                    self.modules.push((name, place.test || *test));
                }
                *test = false;
                at + 3
            }
            ("use", _) => {
                let end = (at..tokens.len())
                    .find(|i| is_punct(tokens.get(*i), ';'))
                    .unwrap_or(tokens.len());
                if !(place.test || *test) {
                    let shown = is_shown(&tokens[..at]);
                    let line = word.span().start().line;
                    self.import(&tokens[at + 1..end], &[], line, shown, place);
                }
                *test = false;
                end + 1
            }
            ("fn", Some(name)) => {
                self.function(tokens, at, &name);
                self.define(&name, place);
                at + 2
            }
            ("struct" | "enum" | "union" | "trait" | "type" | "const" | "static", Some(name))
                if name != "fn" =>
            {
                self.define(&name, place);
                at + 2
            }
            _ => self.path(tokens, at, place, *test),
        }
    }

    fn define(&mut self, name: &str, place: &Place) {
        if place.top && place.within.is_empty() {
            self.defines.insert(name.to_owned());
        }
    }

    fn function(&mut self, tokens: &[TokenTree], at: usize, name: &str) {
        for token in &tokens[at..] {
            match token {
                TokenTree::Punct(p) if p.as_char() == ';' => return,
                TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => {
                    self.functions.push(Function {
                        name: name.to_owned(),
                        first: tokens[at].span().start().line,
                        last: body.span_close().end().line,
                    });
                    return;
                }
                _ => {}
            }
        }
    }

    fn path(&mut self, tokens: &[TokenTree], at: usize, place: &Place, test: bool) -> usize {
        let (path, end) = names(tokens, at);
        let before = at.checked_sub(1).and_then(|i| tokens.get(i));
        // `value.field` and `::std` begin nothing that this crate could mean.
        let begins = !is_punct(before, '.') && !is_punct(before, ':');
        if path.len() > 1 && begins && !(place.test || test) {
            self.paths.push(Named {
                line: tokens[at].span().start().line,
                within: place.within.clone(),
                path,
            });
        }
        end
    }

    /// One tree of a `use`: `a::b`, `a::b as c`, `a::{b, c::*}`.
    fn import(
        &mut self,
        tokens: &[TokenTree],
        prefix: &[String],
        line: usize,
        shown: bool,
        place: &Place,
    ) {
        let (path, end) = names(tokens, 0);
        let mut path = [prefix, &path[..]].concat();
        let mut called = None;
        match tokens.get(end) {
            Some(TokenTree::Group(group)) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for tree in inner.split(|t| is_punct(Some(t), ',')) {
                    if !tree.is_empty() {
                        self.import(tree, &path, line, shown, place);
                    }
                }
                return;
            }
            Some(TokenTree::Punct(p)) if p.as_char() == '*' => {}
            Some(TokenTree::Ident(word)) if word == "as" => {
                called = tokens.get(end + 1).map(ToString::to_string);
            }
            _ => {
                if path.len() > 1 && path.last().is_some_and(|n| n == "self") {
                    path.pop();
                }
                called = path.last().cloned();
            }
        }
        self.imports.push(Import {
            named: Named {
                line,
                within: place.within.clone(),
                path,
            },
            called,
            shown,
        });
    }
}

/// The names of a path from `at` on, and where what is behind it begins: a group or star too, if `::` stands before it.
fn names(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    if is_double_colon(tokens, at) {
        at += 2;
    }
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        names.push(name.to_string());
        at += 1;
        if !is_double_colon(tokens, at) {
            break;
        }
        at += 2;
    }
    (names, at)
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == c)
}

/// Whether what comes next is `pub`, or `pub(crate)` and the like.
fn is_shown(before: &[TokenTree]) -> bool {
    let word = match before {
        [.., word, TokenTree::Group(g)] if g.delimiter() == Delimiter::Parenthesis => word,
        [.., word] => word,
        [] => return false,
    };
    matches!(word, TokenTree::Ident(word) if word == "pub")
}

fn is_for_tests(attribute: &Group) -> bool {
    let text = attribute.stream().to_string();
    let text: String = text.split_whitespace().collect();
    matches!(text.as_str(), "test" | "cfg(test)")
}
