//! What an observer of the whole cluster remembers; no server can see it.

use crate::ids::{Epoch, ServerId, Zxid};
use alloc::vec::Vec;

/// The observer's memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Past {
    /// The longest sequence that a serving server with a vote has applied.
    pub committed: Vec<Zxid>,
    /// What was ever proposed, in zxid order; and what stood on the disks when the observation began.
    pub proposed: Vec<Zxid>,
    /// Who was ever past discovery as the leader of an epoch, in order.
    pub primaries: Vec<(Epoch, ServerId)>,
    /// The initial history of every established epoch, by epoch.
    pub initial: Vec<(Epoch, Vec<Zxid>)>,
    /// What was wrong in a step, and may not show in the state after it.
    pub violations: Violations,
}

/// Something that must never happen in a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Violation {
    /// An election has ended as the oracle of E0 could not have named it.
    NotOfTheOracle = 1,
    /// A server got a packet that its phase can never get.
    BadPacket,
    /// What a serving server applied contradicts what another had applied.
    Diverged,
    /// A zxid was proposed twice.
    ZxidReused,
    /// A server could not start from its disk.
    NoBoot,
    /// A server follows a leader that has not said so itself.
    UnbackedElection,
    /// A server looks on with whom a quorum of its round agrees.
    UnnoticedQuorum,
}

/// A set of violations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Violations(u8);

impl Violations {
    /// Adds one.
    pub const fn insert(&mut self, violation: Violation) {
        self.0 |= 1 << violation as u8;
    }

    /// Whether it was seen.
    #[must_use]
    pub const fn has(self, violation: Violation) -> bool {
        self.0 >> violation as u8 & 1 == 1
    }

    /// A number that tells this set from every other one.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

/// What one server lets the observer see in a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observation {
    /// Something that must never happen.
    Violated(Violation),
    /// A serving server with a vote has applied all of this: at its `Effect::Serve`, and at each `Effect::Deliver` of a
    /// server that serves before or after the step.
    Applied(Vec<Zxid>),
    /// A leader has formed a quorum with this history: at the `Effect::Serve` of a leader.
    Established(Epoch, Vec<Zxid>),
    /// A leader is past discovery.
    Primary(Epoch, ServerId),
    /// A leader has proposed a transaction.
    Proposed(Zxid),
}

impl Past {
    /// Remembers what was seen.
    pub fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Violated(violation) => self.violations.insert(*violation),
            Observation::Applied(tree) => self.commit(tree),
            Observation::Established(epoch, history) => {
                self.initial.push((*epoch, history.clone()));
                self.initial.sort();
                self.initial.dedup();
            }
            Observation::Primary(epoch, server) => {
                let entry = (*epoch, *server);
                if let Err(at) = self.primaries.binary_search(&entry) {
                    self.primaries.insert(at, entry);
                }
            }
            Observation::Proposed(zxid) => match self.proposed.binary_search(zxid) {
                Ok(_) => self.violations.insert(Violation::ZxidReused),
                Err(at) => self.proposed.insert(at, *zxid),
            },
        }
    }

    /// Leaves out what lies at `base` and below it, of a run that is long. The observer has to see to it that every server holds `base` for ever,
    /// and to show what servers hold above it alone: then each invariant says of the rest what it says of all. Proposals at `base` and below it
    /// that nobody holds are left out, too; an invariant that asks for one of them has been asked when `base` was applied.
    pub fn forget(&mut self, base: Zxid) {
        self.committed.retain(|z| *z > base);
        self.proposed.retain(|z| *z > base);
        for (_, history) in &mut self.initial {
            history.retain(|z| *z > base);
        }
    }

    /// What a serving server has applied is committed.
    fn commit(&mut self, tree: &[Zxid]) {
        let shared = tree.len().min(self.committed.len());
        if tree[..shared] != self.committed[..shared] {
            self.violations.insert(Violation::Diverged);
        } else if tree.len() > shared {
            self.committed.extend_from_slice(&tree[shared..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_lies_below_a_base_is_left_out_everywhere() {
        let z = |epoch: u64, n: u64| Zxid(epoch << 32 | n);
        let mut past = Past::default();
        for zxid in [z(1, 1), z(1, 2), z(2, 1), z(2, 2)] {
            past.observe(&Observation::Proposed(zxid));
        }
        let initial = vec![z(1, 1)];
        past.observe(&Observation::Established(Epoch(2), initial));
        past.observe(&Observation::Applied(vec![z(1, 1), z(2, 1), z(2, 2)]));
        past.forget(z(2, 1));
        assert_eq!(past.committed, [z(2, 2)]);
        assert_eq!(past.proposed, [z(2, 2)]);
        assert_eq!(past.initial, [(Epoch(2), vec![])]);
        // What is applied above it is held against what was.
        past.observe(&Observation::Applied(vec![z(2, 2), z(2, 3)]));
        assert_eq!(past.committed, [z(2, 2), z(2, 3)]);
        assert_eq!(past.violations, Violations::default());
        past.observe(&Observation::Applied(vec![z(2, 4)]));
        assert!(past.violations.has(Violation::Diverged));
    }
}
