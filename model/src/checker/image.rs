//! What is durable on a modelled disk, the writes that change it, and what a server finds on it when it starts.

use super::txn::{self, Listed, Txn};
use crate::durable::Durable;
use crate::ensemble::Ensemble;
use crate::history::History;
use crate::ids::{Epoch, Zxid};
use crate::switch::{Switch, Switches};
use alloc::vec::Vec;

/// A pending write with its content.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PendingWrite {
    /// acceptedEpoch.
    AcceptedEpoch(Epoch),
    /// currentEpoch.
    CurrentEpoch(Epoch),
    /// One log record.
    Append(Zxid, Txn),
    /// Drop the log above.
    Truncate(Zxid),
    /// A snapshot, by the transactions in its tree, and the configurations as of it; the log under it is retired.
    Install(Vec<Zxid>, Listed, Option<Listed>),
    /// The configuration of this version is active.
    Activate(Zxid),
}

/// What is on the platter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DiskImage {
    /// acceptedEpoch.
    pub accepted: Epoch,
    /// currentEpoch.
    pub current: Epoch,
    /// The transactions in the tree of the snapshot.
    pub snapshot: Vec<Zxid>,
    /// The log above it.
    pub log: Vec<Zxid>,
    /// How many transactions are in a newer snapshot, which the next start will read; 0 if there is none. The log
    /// under it is kept as long as the server runs.
    pub taken: usize,
    /// The configuration that was activated last.
    pub active: Listed,
    /// Those that the log brings, and one that is in the snapshot but was not active when it was taken.
    pub configs: Vec<Listed>,
}

impl DiskImage {
    /// An empty disk of a server that knows who votes.
    #[must_use]
    pub const fn empty(members: u8) -> Self {
        Self {
            accepted: Epoch(0),
            current: Epoch(0),
            snapshot: Vec::new(),
            log: Vec::new(),
            taken: 0,
            active: Listed::first(members),
            configs: Vec::new(),
        }
    }

    /// The transaction at that place of the log.
    #[must_use]
    pub fn txn(&self, zxid: Zxid) -> Txn {
        let config = self.configs.iter().find(|c| c.version == zxid);
        config.map_or(Txn::Write, |c| Txn::Reconfigure(c.members))
    }

    /// This image after one more write.
    pub fn apply(&mut self, op: &PendingWrite) {
        match op {
            PendingWrite::AcceptedEpoch(e) => self.accepted = *e,
            PendingWrite::CurrentEpoch(e) => self.current = *e,
            PendingWrite::Append(z, txn) => {
                self.log.push(*z);
                if let Txn::Reconfigure(members) = *txn {
                    let version = *z;
                    self.configs.push(Listed { version, members });
                }
            }
            PendingWrite::Truncate(z) => {
                // A snapshot that is newer than the cut is retired with it; the healthy core never cuts so deep.
                self.snapshot.retain(|x| x <= z);
                self.log.retain(|x| x <= z);
                self.configs.retain(|c| c.version <= *z);
                // A snapshot of what is cut off would bring it back (ZOOKEEPER-1549).
                if self.taken > self.content_len() {
                    self.taken = 0;
                }
            }
            PendingWrite::Install(tree, active, next) => {
                self.snapshot.clone_from(tree);
                self.log.clear();
                self.taken = 0;
                self.active = *active;
                self.configs = next.iter().copied().collect();
            }
            PendingWrite::Activate(version) => {
                let named = self.configs.iter().find(|c| c.version == *version);
                self.active = named.copied().unwrap_or(self.active);
            }
        }
    }

    /// The zxid of the snapshot.
    #[must_use]
    pub fn base(&self) -> Zxid {
        self.snapshot.last().copied().unwrap_or_default()
    }

    /// Every transaction, those in the snapshot first: the tree that a boot rebuilds.
    #[must_use]
    pub fn content(&self) -> Vec<Zxid> {
        self.snapshot.iter().chain(&self.log).copied().collect()
    }

    /// The log under the newest snapshot goes: a start reads only what is above.
    pub fn purge(&mut self) {
        if self.taken > self.snapshot.len() {
            let purged = self.log.drain(..self.taken - self.snapshot.len());
            self.snapshot.extend(purged);
        }
        self.taken = 0;
    }

    /// How many transactions that are.
    #[must_use]
    pub fn content_len(&self) -> usize {
        self.snapshot.len() + self.log.len()
    }

    /// The configurations that bind a server which starts from it: the active one and, if there is one, a newer one.
    #[must_use]
    pub fn binds(&self) -> (Listed, Option<Listed>) {
        txn::listed(&txn::ensemble(self.active, &self.configs))
    }

    /// What a server finds when it starts; or why it cannot.
    pub fn boot(&self, switches: Switches) -> Result<(Durable, Ensemble), &'static str> {
        if self
            .content()
            .last()
            .is_some_and(|z| z.epoch() > self.current)
            && switches.on(Switch::BootRejectsLogAheadOfEpoch)
        {
            return Err("the log is ahead of currentEpoch");
        }
        // (Without a file for it there is nothing to compare.)
        if self.accepted < self.current && !switches.on(Switch::AcceptedEpochVolatile) {
            return Err("acceptedEpoch is below currentEpoch");
        }
        let mut image = self.clone();
        image.purge();
        let mut history = History::starting_at(image.base());
        for zxid in &image.log {
            if !history.is_next(*zxid) {
                return Err("the log has a hole");
            }
            history.append(*zxid);
        }
        let durable = Durable {
            accepted: self.accepted,
            current: self.current,
            history,
        };
        Ok((durable, txn::ensemble(self.active, &self.configs)))
    }
}
