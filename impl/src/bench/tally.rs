//! What is counted in the window.

use super::error::BenchError;
use super::histogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one connection has counted in the window.
#[derive(Default)]
pub(super) struct Tally {
    /// Nanoseconds from request to reply, of successes.
    pub(super) latency: Histogram,
    /// How many replies carried which error code.
    pub(super) errors: BTreeMap<i32, u64>,
    /// Replies whose record was not what was asked for.
    pub(super) malformed: u64,
    /// Why the connection ended early, and what was in flight then.
    pub(super) lost: Option<(BenchError, u64)>,
}

impl Tally {
    /// Counts one reply.
    pub(super) fn count(&mut self, err: i32, latency: Duration) {
        if err == 0 {
            let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
            self.latency.record(ns);
        } else {
            *self.errors.entry(err).or_default() += 1;
        }
    }

    /// Adds what another connection has counted.
    pub(super) fn merge(&mut self, other: Self) {
        self.latency.merge(&other.latency);
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.malformed += other.malformed;
    }
}
