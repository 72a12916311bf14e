//! What was answered in one go, counted once at its end.

use super::conn::{Conn, ConnState};
use super::shared::Shared;
use super::slow::SlowRequest;
use super::stats::Stripe;
use std::sync::atomic::Ordering::Relaxed;
use zabra_model::ids::Zxid;

/// Answers that were given and are not counted yet: many threads count in few places.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    answers: u64,
    /// Those of them that say how something went, and not only that it was refused.
    done: u64,
    /// Operation and number of the last of these.
    last: (i32, i32),
    /// Bytes of the last one, the shortest, the longest.
    bytes: (usize, usize, usize),
}

impl Tally {
    /// An answer was written, of so many bytes.
    pub fn add(&mut self, opcode: i32, xid: i32, bytes: usize) {
        let (_, min, max) = self.bytes;
        let min = if self.done == 0 {
            bytes
        } else {
            min.min(bytes)
        };
        self.bytes = (bytes, min, max.max(bytes));
        self.last = (opcode, xid);
        self.answers += 1;
        self.done += 1;
    }

    /// A refusal was written.
    pub const fn add_refusal(&mut self) {
        self.answers += 1;
    }

    /// Counts them as requests that became no transaction and whose answers were written at `now_ms`, each `took_ms` after it was read; what
    /// is to be told of the last one, if that was slow.
    pub fn count_reads(
        self,
        shared: &Shared,
        conn: &Conn,
        state: &mut ConnState,
        (zxid, now_ms, took_ms): (Zxid, u64, u64),
    ) -> Option<SlowRequest> {
        let mut slow = None;
        if self.done > 0 {
            let took = (took_ms, self.done);
            let reads = &shared.stats.stripe(conn.id).reads;
            reads.add_some(took_ms, self.done);
            state.answered.add(self.last, zxid, now_ms, took);
            slow = SlowRequest::of(shared, conn, self.last, took_ms);
        }
        self.count(shared, conn);
        slow
    }

    /// Counts them, but for their times.
    pub fn count(self, shared: &Shared, conn: &Conn) {
        if self.answers == 0 {
            return;
        }
        conn.sent.fetch_add(self.answers, Relaxed);
        let stripe = shared.stats.stripe(conn.id);
        stripe.sent.fetch_add(self.answers, Relaxed);
        if self.done > 0 {
            let (last, min, max) = self.bytes;
            shared.stats.response_sizes.add_some(last, min, max);
        }
    }
}

/// Operations that clients ask for, counted where they are many in a row.
pub struct Asked<'s> {
    stripe: &'s Stripe,
    opcode: i32,
    times: u64,
}

impl<'s> Asked<'s> {
    /// Nothing was asked for that is to be counted there.
    #[must_use]
    pub const fn of(stripe: &'s Stripe) -> Self {
        Self {
            stripe,
            opcode: 0,
            times: 0,
        }
    }

    /// This operation was.
    pub fn add(&mut self, opcode: i32) {
        if opcode != self.opcode {
            self.stripe.asked_times(self.opcode, self.times);
            (self.opcode, self.times) = (opcode, 0);
        }
        self.times += 1;
    }

    /// Counts what is left.
    pub fn count(self) {
        self.stripe.asked_times(self.opcode, self.times);
    }
}

/// So many requests of a connection have come.
pub fn count_received(shared: &Shared, conn: &Conn, requests: u64, bytes: usize) {
    conn.received.fetch_add(requests, Relaxed);
    let stripe = shared.stats.stripe(conn.id);
    stripe.received.fetch_add(requests, Relaxed);
    stripe.received_bytes.fetch_add(bytes as u64, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::stats::Stats;
    use crate::wire::client::opcode as op;

    #[test]
    fn operations_in_a_row_are_counted_as_those_that_are_not() {
        let stats = Stats::default();
        let mut asked = Asked::of(stats.stripe(1));
        for opcode in [op::GET_DATA, op::GET_DATA, op::PING, 0, 0, op::GET_DATA] {
            asked.add(opcode);
        }
        asked.count();
        Asked::of(stats.stripe(2)).count();
        let counted: Vec<_> = stats.operations().filter(|(_, times)| *times > 0).collect();
        assert_eq!(counted, [("get_data", 3), ("ping", 1)]);
    }
}
