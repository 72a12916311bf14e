//! The answer to whether an invariant holds.

use alloc::string::String;
use core::fmt;

/// What is wrong, for people: which servers, which transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Broken {}

/// Whether an invariant holds.
pub type Verdict = Result<(), Broken>;
