//! Who uses whom inside one crate: from the paths that files name to arrows between files, and the circles among them.

use super::source::{Import, Named, Source};
use std::collections::{BTreeMap, BTreeSet};

/// A file uses another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrow {
    /// Which file, as an index into the crate's.
    pub(super) from: usize,
    /// Which it uses.
    pub(super) to: usize,
    /// The first line that says so.
    pub(super) line: usize,
    /// The path that stands there.
    pub(super) path: String,
}

/// The files of a crate, one module each.
pub(super) struct Crate<'a> {
    files: &'a [Source],
    by_module: BTreeMap<&'a [String], usize>,
    tests: BTreeSet<usize>,
}

/// A chain of `use`s that is longer than this is taken for endless.
const HOPS_MAX: usize = 16;

impl<'a> Crate<'a> {
    /// The crate of these files; of `lib.rs` and `main.rs` in one folder, only one may be among them.
    pub(super) fn new(files: &'a [Source]) -> Crate<'a> {
        let modules = files.iter().enumerate();
        let by_module = modules.map(|(i, f)| (f.module.as_slice(), i)).collect();
        let mut all = Crate {
            files,
            by_module,
            tests: BTreeSet::new(),
        };
        all.tests = (0..files.len())
            .filter(|i| all.is_declared_for_tests(*i))
            .collect();
        all
    }

    /// Whether a file is compiled for tests only.
    pub(super) fn is_test(&self, file: usize) -> bool {
        self.tests.contains(&file)
    }

    /// Whether a file, or a module around it, is declared under `#[cfg(test)]`.
    fn is_declared_for_tests(&self, file: usize) -> bool {
        let module = &self.files[file].module;
        (0..module.len()).any(|depth| {
            let around = self.by_module.get(&module[..depth]);
            around.is_some_and(|parent| {
                let mut declared = self.files[*parent].modules.iter();
                declared.any(|(name, test)| *test && *name == module[depth])
            })
        })
    }

    /// All arrows between two different files, each once; those from and to tests are left out.
    pub(super) fn arrows(&self) -> Vec<Arrow> {
        let mut arrows: BTreeMap<(usize, usize), Arrow> = BTreeMap::new();
        for (from, file) in self.files.iter().enumerate() {
            if self.is_test(from) {
                continue;
            }
            let imports = file.imports.iter().filter(|i| !self.only_names(from, i));
            for named in imports.map(|i| &i.named).chain(&file.paths) {
                let Some(to) = self.resolve(from, named) else {
                    continue;
                };
                if to != from && !self.is_test(to) {
                    arrows.entry((from, to)).or_insert_with(|| Arrow {
                        from,
                        to,
                        line: named.line,
                        path: named.path.join("::"),
                    });
                }
            }
        }
        arrows.into_values().collect()
    }

    /// Whether this is a face that shows what is under it to others.
    fn only_names(&self, from: usize, import: &Import) -> bool {
        let file = &self.files[from];
        let under = |to: usize| self.files[to].module.starts_with(&file.module);
        file.is_face() && import.shown && self.resolve(from, &import.named).is_some_and(under)
    }

    /// The file in which what is named here is defined, if it is one of this crate.
    fn resolve(&self, from: usize, named: &Named) -> Option<usize> {
        let mut module = self.files[from].module.clone();
        module.extend(named.within.iter().cloned());
        self.follow(&module, &named.path, HOPS_MAX)
    }

    fn follow(&self, within: &[String], path: &[String], hops: usize) -> Option<usize> {
        let mut module = within.to_vec();
        let mut rest = path;
        while let Some((first, behind)) = rest.split_first() {
            match first.as_str() {
                "crate" => module.clear(),
                "self" => {}
                "super" => {
                    module.pop();
                }
                _ => break,
            }
            rest = behind;
        }
        while let Some((first, behind)) = rest.split_first() {
            if self.declares(&module, first) {
                module.push(first.clone());
                rest = behind;
                continue;
            }
            return self
                .shown(&module, first, behind, hops)
                .or(self.file(&module));
        }
        self.file(&module)
    }

    fn declares(&self, module: &[String], name: &str) -> bool {
        let child = [module, &[name.to_owned()]].concat();
        self.by_module.contains_key(child.as_slice())
    }

    /// The file of a module: of the nearest one around it, if it stands in a file with others.
    fn file(&self, module: &[String]) -> Option<usize> {
        let depths = (0..=module.len()).rev();
        let mut files = depths.filter_map(|d| self.by_module.get(&module[..d]));
        files.next().copied()
    }

    /// Where a name leads that `module` does not define and imports from elsewhere.
    fn shown(
        &self,
        module: &[String],
        name: &str,
        behind: &[String],
        hops: usize,
    ) -> Option<usize> {
        let file = &self.files[self.file(module)?];
        if hops == 0 || file.defines.contains(name) {
            return None;
        }
        let here = file.imports.iter();
        let here = here.filter(|i| [&file.module[..], &i.named.within[..]].concat() == module);
        for import in here {
            let path = &import.named.path;
            match &import.called {
                Some(called) if called == name => {
                    let path = [&path[..], behind].concat();
                    return self.follow(module, &path, hops - 1);
                }
                Some(_) => {}
                None => {
                    let path = [&path[..], &[name.to_owned()], behind].concat();
                    let found = self.follow(module, &path, hops - 1);
                    if found.is_some_and(|f| self.files[f].defines.contains(name)) {
                        return found;
                    }
                }
            }
        }
        None
    }
}

/// The circles: groups of files that all lead to each other, each group sorted.
pub(super) fn circles(files: usize, arrows: &[Arrow]) -> Vec<Vec<usize>> {
    let reach: Vec<BTreeSet<usize>> = (0..files).map(|f| reached(f, arrows)).collect();
    let mut circles: Vec<Vec<usize>> = Vec::new();
    for file in 0..files {
        let told = circles.iter().any(|c| c.contains(&file));
        if reach[file].contains(&file) && !told {
            let back = |other: &usize| reach[file].contains(other) && reach[*other].contains(&file);
            circles.push((0..files).filter(back).collect());
        }
    }
    circles
}

/// What can be reached from `file` by one arrow or more.
fn reached(file: usize, arrows: &[Arrow]) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut open = vec![file];
    while let Some(at) = open.pop() {
        for arrow in arrows.iter().filter(|a| a.from == at) {
            if seen.insert(arrow.to) {
                open.push(arrow.to);
            }
        }
    }
    seen
}
