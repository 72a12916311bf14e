//! The newest part of the log in memory: what waits to be applied, and what learners may still need.

use crate::wire::payload::Payload;
use std::collections::VecDeque;
use zabra_model::ids::Zxid;

/// Bytes of the applied transactions that are kept.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// Transactions in zxid order, without a gap between the first and the last.
#[derive(Default)]
pub(super) struct Window {
    entries: VecDeque<Payload>,
    /// How many of them are in the tree.
    applied: usize,
    applied_bytes: usize,
    /// Bytes of all entries.
    bytes: usize,
    /// The zxid before the first entry: everything above it is here.
    after: Zxid,
    /// Applied transactions that are kept for learners which come back soon (ZooKeeper's `commitLogCount`). More of them make every
    /// transaction use memory that has left the processor's caches long ago; what is older is read from the files.
    kept_max: usize,
}

impl Window {
    /// Nothing in memory; the log ends at `last`, and so does the tree.
    pub(super) fn starting_at(last: Zxid, kept_max: usize) -> Self {
        Self {
            after: last,
            kept_max,
            ..Self::default()
        }
    }

    /// Logged.
    pub(super) fn push(&mut self, payload: Payload) {
        self.bytes += payload.bytes.len();
        self.entries.push_back(payload);
    }

    /// The next one to apply, if it is not above `upto`.
    pub(super) fn next(&mut self, upto: Zxid) -> Option<&Payload> {
        let payload = self.entries.get(self.applied)?;
        if payload.header.zxid > upto {
            return None;
        }
        self.applied += 1;
        self.applied_bytes += payload.bytes.len();
        Some(payload)
    }

    /// Forgets applied ones beyond the bounds, if they are also `durable`, so that they can be read from the files.
    pub(super) fn trim(&mut self, durable: Zxid) {
        while self.applied > self.kept_max || self.applied_bytes > KEPT_BYTES_MAX {
            match self.entries.front() {
                Some(oldest) if oldest.header.zxid <= durable && self.applied > 0 => {
                    self.applied -= 1;
                    self.applied_bytes -= oldest.bytes.len();
                    self.bytes -= oldest.bytes.len();
                    self.after = oldest.header.zxid;
                    self.entries.pop_front();
                }
                _ => return,
            }
        }
    }

    /// Drops everything above `zxid`; whether something that was applied is among it.
    pub(super) fn truncate(&mut self, zxid: Zxid) {
        while self.entries.back().is_some_and(|p| p.header.zxid > zxid) {
            if let Some(cut) = self.entries.pop_back() {
                self.bytes -= cut.bytes.len();
            }
            if self.applied > self.entries.len() {
                self.applied = self.entries.len();
            }
        }
        self.applied_bytes = self
            .entries
            .iter()
            .take(self.applied)
            .map(|p| p.bytes.len())
            .sum();
        self.after = self.after.min(zxid);
    }

    /// What waits to be applied, bytes.
    pub(super) const fn outstanding_bytes(&self) -> usize {
        self.bytes - self.applied_bytes
    }

    /// Everything above this is here.
    pub(super) const fn after(&self) -> Zxid {
        self.after
    }

    /// What is here in `(after, upto]`.
    pub(super) fn range(&self, after: Zxid, upto: Zxid) -> impl Iterator<Item = &Payload> {
        let first = self.entries.partition_point(|p| p.header.zxid <= after);
        self.entries
            .range(first..)
            .take_while(move |p| p.header.zxid <= upto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::payload::Logged;
    use bytes::BytesMut;
    use std::sync::Arc;
    use zabra_model::tree::txn::{Txn, TxnHeader};

    fn entry(zxid: u64) -> Payload {
        let header = TxnHeader {
            zxid: Zxid(zxid),
            ..TxnHeader::default()
        };
        Arc::new(Logged::encode(
            header,
            Txn::Error { code: -1 },
            &mut BytesMut::new(),
        ))
    }

    #[test]
    fn what_was_applied_stays_for_learners_until_there_is_too_much_of_it() {
        for kept_max in [500, 700] {
            keeps(kept_max);
        }
    }

    fn keeps(kept_max: usize) {
        let mut w = Window::starting_at(Zxid(0), kept_max);
        for zxid in 1..=5000 {
            w.push(entry(zxid));
        }
        while w.next(Zxid(4990)).is_some() {}
        w.trim(Zxid(10));
        assert_eq!(w.after(), Zxid(10));
        w.trim(Zxid(5000));
        assert_eq!(w.after(), Zxid(4990 - kept_max as u64));
        let some: Vec<u64> = w
            .range(Zxid(4998), Zxid(4999))
            .map(|p| p.header.zxid.0)
            .collect();
        assert_eq!(some, [4999]);
        let length = entry(1).bytes.len();
        assert_eq!(w.outstanding_bytes(), 10 * length);
        w.truncate(Zxid(4980));
        assert_eq!(w.outstanding_bytes(), 0);
        assert_eq!(w.next(Zxid(9999)).map(|p| p.header.zxid), None);
        w.push(entry(4981));
        assert_eq!(w.outstanding_bytes(), length);
        assert_eq!(w.next(Zxid(9999)).map(|p| p.header.zxid), Some(Zxid(4981)));
        assert_eq!(w.outstanding_bytes(), 0);
    }
}
