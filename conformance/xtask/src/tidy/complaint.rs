//! What the rules look at, and what they say.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What a complaint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// Files that need each other.
    Circle,
    /// A room uses one that it may not use.
    Arrow,
    /// A clock, socket, file or thread where there is none.
    Name,
    /// A name of the protocol that no table of SPEC.md has.
    Unspecified,
    /// A file that is too long.
    Lines,
    /// A function that is too long.
    Function,
    /// A file that does not say what it is for.
    Opening,
    /// An `I-n` or `D-n` that SPEC.md does not define.
    Citation,
}

/// Something to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Complaint {
    /// Where.
    pub(super) file: PathBuf,
    /// In which line.
    pub(super) line: usize,
    /// Which rule is broken.
    pub(super) rule: Rule,
    /// How, and what to do.
    pub(super) text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

/// What is looked at: Rust files by their path from the top of the repository, and SPEC.md.
pub(super) struct Tree {
    /// Text by path.
    pub(super) files: BTreeMap<PathBuf, String>,
    /// SPEC.md.
    pub(super) spec: String,
}
