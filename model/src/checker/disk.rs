//! A modelled disk: what is durable, what is pending, and what a server finds when it starts.

use super::txn::{self, Listed, Txn};
use crate::durable::Durable;
use crate::ensemble::Ensemble;
use crate::history::History;
use crate::ids::{Epoch, Zxid};
use crate::step::Write;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A pending write with its content.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Op {
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
pub struct Image {
    /// acceptedEpoch.
    pub accepted: Epoch,
    /// currentEpoch.
    pub current: Epoch,
    /// The transactions in the tree of the snapshot.
    pub snapshot: Vec<Zxid>,
    /// The log above it.
    pub log: Vec<Zxid>,
    /// The configuration that was activated last.
    pub active: Listed,
    /// Those that the log brings, and one that is in the snapshot but was not active when it was taken.
    pub configs: Vec<Listed>,
}

impl Image {
    /// An empty disk of a server that knows who votes.
    #[must_use]
    pub const fn empty(members: u8) -> Self {
        Self {
            accepted: Epoch(0),
            current: Epoch(0),
            snapshot: Vec::new(),
            log: Vec::new(),
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
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::AcceptedEpoch(e) => self.accepted = *e,
            Op::CurrentEpoch(e) => self.current = *e,
            Op::Append(z, txn) => {
                self.log.push(*z);
                if let Txn::Reconfigure(members) = *txn {
                    let version = *z;
                    self.configs.push(Listed { version, members });
                }
            }
            Op::Truncate(z) => {
                self.log.retain(|x| x <= z);
                self.configs.retain(|c| c.version <= *z);
            }
            Op::Install(tree, active, next) => {
                self.snapshot.clone_from(tree);
                self.log.clear();
                self.active = *active;
                self.configs = next.iter().copied().collect();
            }
            Op::Activate(version) => {
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
    pub fn boot(&self) -> Result<(Durable, Ensemble), &'static str> {
        if self.accepted < self.current {
            return Err("acceptedEpoch is below currentEpoch");
        }
        let mut history = History::starting_at(self.base());
        for zxid in &self.log {
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

/// A server's disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Disk {
    /// What survives a crash.
    pub image: Image,
    /// What may or may not: a crash keeps any prefix.
    pub queue: VecDeque<Op>,
}

impl Disk {
    /// One without anything on its way.
    #[must_use]
    pub const fn quiet(image: Image) -> Self {
        Self {
            image,
            queue: VecDeque::new(),
        }
    }

    /// Queues what a peer has asked for; `stream` is the tree that came beside a SNAP.
    pub fn persist(&mut self, write: &Write<Txn>, stream: &[Zxid]) {
        self.queue.push_back(match write {
            Write::AcceptedEpoch(e) => Op::AcceptedEpoch(*e),
            Write::CurrentEpoch(e) => Op::CurrentEpoch(*e),
            Write::Append { zxid, txn } => Op::Append(*zxid, *txn),
            Write::Truncate { zxid } => Op::Truncate(*zxid),
            Write::Install { ensemble, .. } => {
                let (active, next) = txn::listed(ensemble);
                Op::Install(stream.to_vec(), active, next)
            }
            Write::Activate { version } => Op::Activate(*version),
        });
    }

    /// The image with the first `kept` pending writes.
    #[must_use]
    pub fn image_with(&self, kept: usize) -> Image {
        let mut image = self.image.clone();
        self.queue.iter().take(kept).for_each(|op| image.apply(op));
        image
    }

    /// The image with every pending write: what the server's memory holds.
    #[must_use]
    pub fn image_asked(&self) -> Image {
        self.image_with(self.queue.len())
    }
}
