//! One server of a modelled cluster: a peer, its disk, its tree.

mod step;
mod stimulus;

use super::disk::Disk;
use crate::ids::{Epoch, Zxid};
use crate::peer::Peer;
use alloc::vec::Vec;

pub use stimulus::{Outbox, Outward, Stimulus};

/// One server of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which one, from 0.
    pub at: usize,
    /// The running server; `None` while it is down.
    pub peer: Option<Peer>,
    /// Its disk.
    pub disk: Disk,
    /// The transactions that are applied to its tree in memory.
    pub tree: Vec<Zxid>,
}

impl Node {
    /// A server that is down.
    #[must_use]
    pub const fn down(at: usize, disk: Disk) -> Self {
        Self {
            at,
            peer: None,
            disk,
            tree: Vec::new(),
        }
    }

    /// The epoch that it leads, once it is past discovery.
    #[must_use]
    pub fn primary(&self) -> Option<Epoch> {
        self.peer.as_ref().and_then(Peer::primary)
    }
}
