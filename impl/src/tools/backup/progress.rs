//! How far something long is, for who waits at a terminal.

use crate::tools::out::note;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Tells who waits at a terminal how far a copy is.
pub(super) struct Progress {
    what: String,
    total: Option<u64>,
    bytes: u64,
    told: Instant,
    is_seen: bool,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(2);

    pub(super) fn new(what: String, total: Option<u64>) -> Self {
        Self {
            what,
            total,
            bytes: 0,
            told: Instant::now(),
            is_seen: std::io::stderr().is_terminal(),
        }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.is_seen && self.told.elapsed() >= Self::EVERY {
            self.told = Instant::now();
            let mib = |bytes: u64| bytes >> 20;
            let of = self
                .total
                .map_or(String::new(), |total| format!(" of {}", mib(total)));
            note(format_args!("{}: {}{of} MiB", self.what, mib(self.bytes)));
        }
    }
}
