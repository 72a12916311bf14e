//! What an observer of the whole cluster sees and remembers; no server can see it.

use super::action::W_COMMIT_AFTER_RECOVERY;
use crate::ids::{Epoch, Zxid};
use alloc::vec::Vec;

/// The observer's memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ghost {
    /// The longest sequence that a serving server with a vote has applied.
    pub committed: Vec<Zxid>,
    /// What was ever proposed, in zxid order.
    pub proposed: Vec<Zxid>,
    /// Who was ever past discovery as the leader of an epoch.
    pub primaries: Vec<(Epoch, usize)>,
    /// The initial history of every established epoch.
    pub initial: Vec<(Epoch, Vec<Zxid>)>,
    /// Wrongs that show only in the step that does them: bits of [`Wrong`].
    pub wrongs: u8,
}

/// Bits of [`Ghost::wrongs`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Wrong {
    /// Two servers were leader of one epoch.
    TwoPrimaries = 1,
    /// An election has ended as the oracle of E0 could not have named it.
    NotOfTheOracle = 2,
    /// A server got a packet that its phase can never get.
    BadPacket = 4,
    /// What a serving server applied contradicts what another had applied.
    Diverged = 8,
    /// A zxid was proposed twice.
    ZxidReused = 16,
    /// A server could not start from its disk.
    NoBoot = 32,
    /// A server follows a leader that has not said so itself.
    UnbackedElection = 64,
}

/// What one server lets the observer see in a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sight {
    /// Something that must never happen.
    Wrong(Wrong),
    /// A serving server with a vote has applied this.
    Applied(Vec<Zxid>),
    /// A leader has formed a quorum with this history.
    Established(Epoch, Vec<Zxid>),
    /// A leader is past discovery.
    Primary(Epoch, usize),
    /// A leader has proposed a transaction.
    Proposed(Zxid),
}

impl Ghost {
    /// Remembers what was seen; returns bits of [`super::action::WITNESSES`].
    pub fn observe(&mut self, sight: &Sight) -> u64 {
        match sight {
            Sight::Wrong(wrong) => self.wrong(*wrong),
            Sight::Applied(tree) => {
                let recovered = self.initial.len() > 1 && tree.len() > self.committed.len();
                self.commit(tree);
                return u64::from(recovered) << W_COMMIT_AFTER_RECOVERY;
            }
            Sight::Established(epoch, history) => {
                self.initial.push((*epoch, history.clone()));
                self.initial.sort();
                self.initial.dedup();
            }
            Sight::Primary(epoch, server) => {
                let entry = (*epoch, *server);
                if self
                    .primaries
                    .iter()
                    .any(|(e, p)| *e == entry.0 && *p != entry.1)
                {
                    self.wrong(Wrong::TwoPrimaries);
                }
                if let Err(at) = self.primaries.binary_search(&entry) {
                    self.primaries.insert(at, entry);
                }
            }
            Sight::Proposed(zxid) => match self.proposed.binary_search(zxid) {
                Ok(_) => self.wrong(Wrong::ZxidReused),
                Err(at) => self.proposed.insert(at, *zxid),
            },
        }
        0
    }

    /// What a serving server has applied is committed.
    fn commit(&mut self, tree: &[Zxid]) {
        let shared = tree.len().min(self.committed.len());
        if tree[..shared] != self.committed[..shared] {
            self.wrong(Wrong::Diverged);
        } else if tree.len() > shared {
            self.committed = tree.to_vec();
        }
    }

    fn wrong(&mut self, wrong: Wrong) {
        self.wrongs |= wrong as u8;
    }
}
