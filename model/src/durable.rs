//! What the disk is known to hold, and what it has been asked to hold.

use crate::ensemble::{Config, Ensemble, Payload};
use crate::history::History;
use crate::ids::{Epoch, Zxid};
use crate::step::{Effect, Effects, Mark, Write};
use crate::switch::{Switch, Switches};
use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// The part of a server that survives a crash.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Durable {
    /// acceptedEpoch: the largest epoch that this server has promised to a prospective leader.
    pub accepted: Epoch,
    /// currentEpoch: the epoch of the last leader whose initial history it has acknowledged.
    pub current: Epoch,
    /// Snapshot and log.
    pub history: History,
}

/// A write without its payload: what remains to be remembered until the disk answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Written {
    /// [`Write::AcceptedEpoch`].
    AcceptedEpoch(Epoch),
    /// [`Write::CurrentEpoch`].
    CurrentEpoch(Epoch),
    /// [`Write::Append`].
    Append(Zxid),
    /// [`Write::Truncate`].
    Truncate(Zxid),
    /// [`Write::Install`].
    Install(Zxid),
    /// [`Write::Activate`].
    Activate(Zxid),
}

impl Durable {
    /// This state after one more write.
    #[inline]
    pub fn apply(&mut self, written: Written) {
        match written {
            Written::AcceptedEpoch(e) => self.accepted = e,
            Written::CurrentEpoch(e) => self.current = e,
            Written::Append(z) => self.history.append(z),
            Written::Truncate(z) => self.history.truncate(z),
            Written::Install(z) => self.history = History::starting_at(z),
            Written::Activate(_) => {} // what binds is read from it at the next start
        }
    }
}

/// The disk as a peer sees it: one ordered queue of writes between what is asked for and what is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Storage {
    /// What the disk has said to hold.
    pub(crate) known: Durable,
    /// What it will hold when every pending write is durable.
    pub(crate) asked: Durable,
    /// The configurations that bind this server by what its disk has been asked to hold. A vote is cast only when
    /// nothing is pending (I-33), and a decision that counts too many configurations is never wrong.
    pub(crate) ensemble: Ensemble,
    /// The writes between the two, oldest first.
    pub(crate) pending: VecDeque<Written>,
    /// The mark of the newest write.
    issued: u64,
}

impl Storage {
    pub(crate) fn new(found: Durable, ensemble: Ensemble) -> Self {
        Self {
            asked: found.clone(),
            known: found,
            ensemble,
            pending: VecDeque::new(),
            issued: 0,
        }
    }

    /// Whether nothing is on its way to the disk.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Asks for a write.
    #[inline]
    pub(crate) fn persist<T>(&mut self, write: Write<T>, out: &mut Effects<T>) {
        let written = match &write {
            Write::AcceptedEpoch(e) => Written::AcceptedEpoch(*e),
            Write::CurrentEpoch(e) => Written::CurrentEpoch(*e),
            Write::Append { zxid, .. } => Written::Append(*zxid),
            Write::Truncate { zxid } => Written::Truncate(*zxid),
            Write::Install { zxid, .. } => Written::Install(*zxid),
            Write::Activate { version } => Written::Activate(*version),
        };
        self.asked.apply(written);
        self.pending.push_back(written);
        self.issued += 1;
        out.push(Effect::Persist {
            mark: Mark(self.issued),
            write,
        });
    }

    /// Asks for a transaction at the end of the log. If it is a reconfiguration, it binds from here on.
    #[inline]
    pub(crate) fn append<T: Payload>(
        &mut self,
        zxid: Zxid,
        txn: T,
        switches: Switches,
        out: &mut Effects<T>,
    ) {
        let voters = txn.voters();
        if voters.is_some() {
            // It would not have been proposed before the last one was committed.
            self.activate(zxid, out);
        }
        self.persist(Write::Append { zxid, txn }, out);
        if let Some(voters) = voters {
            let version = zxid;
            self.ensemble.append(Config { version, voters });
            if switches.on(Switch::ActivateAtProposal) {
                self.activate(zxid, out);
            }
        }
    }

    /// Asks for the log to end at `zxid`.
    pub(crate) fn truncate<T>(&mut self, zxid: Zxid, switches: Switches, out: &mut Effects<T>) {
        self.persist(Write::Truncate { zxid }, out);
        if !switches.on(Switch::NextConfigSurvivesTrunc) {
            self.ensemble.truncate(zxid);
        }
    }

    /// Asks for the tree of a SNAP.
    pub(crate) fn install<T>(
        &mut self,
        zxid: Zxid,
        ensemble: Box<Ensemble>,
        switches: Switches,
        out: &mut Effects<T>,
    ) {
        let ensemble = if switches.on(Switch::SnapWithoutConfig) {
            self.ensemble.truncate(Zxid::ZERO);
            Box::new(self.ensemble.clone())
        } else {
            self.ensemble.clone_from(&ensemble);
            ensemble
        };
        self.persist(Write::Install { zxid, ensemble }, out);
    }

    /// Everything up to `upto` is committed: whether that activates a configuration.
    pub(crate) fn activate<T>(&mut self, upto: Zxid, out: &mut Effects<T>) -> bool {
        let Some(version) = self.ensemble.next().map(|next| next.version) else {
            return false;
        };
        if version > upto {
            return false;
        }
        self.persist(Write::Activate { version }, out);
        self.ensemble.activate();
        true
    }

    /// Asks for acceptedEpoch; whether there is something to wait for.
    pub(crate) fn accept<T>(
        &mut self,
        epoch: Epoch,
        switches: Switches,
        out: &mut Effects<T>,
    ) -> bool {
        if switches.on(Switch::AcceptedEpochVolatile) {
            self.known.accepted = epoch;
            self.asked.accepted = epoch;
            return false;
        }
        self.persist(Write::AcceptedEpoch(epoch), out);
        !switches.on(Switch::AckEpochBeforePersist)
    }

    /// Takes the next write that is durable by `upto`, if there is one left.
    #[inline]
    pub(crate) fn next_durable(&mut self, upto: Mark) -> Option<Written> {
        let oldest = self.issued - self.pending.len() as u64 + 1;
        if oldest > upto.0 {
            return None;
        }
        let written = self.pending.pop_front()?;
        self.known.apply(written);
        Some(written)
    }

    /// The mark that makes the `count` oldest pending writes durable.
    #[must_use]
    pub fn mark_of(&self, count: usize) -> Mark {
        Mark(self.issued - (self.pending.len() - count) as u64)
    }
}

impl Storage {
    /// The end of the history as votes and ACKEPOCH report it: what is durable, never a position in memory.
    pub(crate) fn last_reported(&self, delivered: Zxid, switches: Switches) -> Zxid {
        if switches.on(Switch::VoteFromMemoryNotLog) {
            delivered
        } else if switches.on(Switch::DiffBumpsLastProcessed) {
            delivered.max(self.known.history.last())
        } else {
            self.known.history.last()
        }
    }
}
