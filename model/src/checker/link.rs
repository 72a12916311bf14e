//! A modelled quorum connection: a FIFO each way, whose ends learn of its loss separately.

use super::txn::Txn;
use crate::ids::Zxid;
use crate::packet::Packet;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A packet on the wire; SNAP carries the tree beside it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Frame {
    /// The packet.
    pub packet: Packet<Txn>,
    /// The transactions of the tree that follows SNAP, else nothing.
    pub tree: Vec<Zxid>,
}

/// Which end of a connection.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The leader's.
    Leader,
    /// The learner's.
    Learner,
}

impl End {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Leader => Self::Learner,
            Self::Learner => Self::Leader,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Leader => 0,
            Self::Learner => 1,
        }
    }
}

/// A connection between two servers, while at least one end has not let go of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Wire {
    /// The number by which both peers know it: four slots for each learner.
    pub id: u64,
    /// The server that leads, by index.
    pub leader: usize,
    /// The server that learns, by index.
    pub learner: usize,
    /// Which ends still hold it.
    open: [bool; 2],
    /// The network has dropped it: nothing more gets in, what is in flight may still arrive.
    pub cut: bool,
    /// What is on the way to each end.
    inbox: [VecDeque<Frame>; 2],
}

impl Wire {
    /// A new connection.
    #[must_use]
    pub fn new(id: u64, leader: usize, learner: usize) -> Self {
        Self {
            id,
            leader,
            learner,
            open: [true; 2],
            cut: false,
            inbox: [VecDeque::new(), VecDeque::new()],
        }
    }

    /// The server at an end.
    #[must_use]
    pub const fn server(&self, end: End) -> usize {
        match end {
            End::Leader => self.leader,
            End::Learner => self.learner,
        }
    }

    /// Whether this end still holds the connection.
    #[must_use]
    pub const fn is_open(&self, end: End) -> bool {
        self.open[end.index()]
    }

    /// What is on the way to this end.
    #[must_use]
    pub const fn inbox(&self, end: End) -> &VecDeque<Frame> {
        &self.inbox[end.index()]
    }

    /// Sends from an end; lost if the connection is cut or nobody is there to read.
    pub fn send(&mut self, from: End, frame: Frame) {
        if self.is_open(from) && self.is_open(from.other()) && !self.cut {
            self.inbox[from.other().index()].push_back(frame);
        }
    }

    /// Takes the next frame at an end.
    pub fn receive(&mut self, at: End) -> Option<Frame> {
        self.inbox[at.index()].pop_front()
    }

    /// Where NEWLEADER waits for the learner, if the next packet may get in before it.
    fn overtaken(&self) -> Option<usize> {
        let inbox = self.inbox(End::Learner);
        let is_end = |f: &Frame| matches!(f.packet, Packet::NewLeader { .. });
        let at = inbox.iter().position(is_end)?;
        let next = &inbox.get(at + 1)?.packet;
        is_live(next).then_some(at)
    }

    /// Whether the packet after NEWLEADER may get in before it: a ZooKeeper leader queues what it proposes and commits
    /// for a learner as soon as it has read the history for it, and NEWLEADER some time later.
    #[must_use]
    pub fn may_overtake(&self) -> bool {
        self.overtaken().is_some()
    }

    /// It does.
    pub fn overtake(&mut self) {
        if let Some(at) = self.overtaken() {
            self.inbox[End::Learner.index()].swap(at, at + 1);
        }
    }

    /// The SNAP that waits is one of a later tree. What that tree holds has been queued before NEWLEADER, so all of it
    /// gets in before.
    pub fn snap_later(&mut self, snap: Frame) {
        let Packet::Snap { zxid: upto, .. } = snap.packet else {
            return;
        };
        self.inbox[End::Learner.index()][0] = snap;
        let held = |f: &Frame| live_zxid(&f.packet).is_some_and(|z| z <= upto);
        while let Some(at) = self.overtaken()
            && self.inbox(End::Learner).iter().skip(at).any(held)
        {
            self.overtake();
        }
    }

    /// An end lets go: what was on the way to it is lost, what it had sent still arrives.
    pub fn close(&mut self, at: End) {
        self.open[at.index()] = false;
        self.inbox[at.index()].clear();
    }

    /// Whether an end can now learn that the connection is over: what is still in flight is lost then, as when a
    /// host loses its power or a connection is reset.
    #[must_use]
    pub fn can_hear_close(&self, at: End) -> bool {
        self.is_open(at) && (self.cut || !self.is_open(at.other()))
    }

    /// Whether both ends stand and the network carries.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.open[0] && self.open[1] && !self.cut
    }

    /// Whether nobody holds it any more.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        !self.open[0] && !self.open[1]
    }
}

/// The transaction of a live packet: of those that a leader sends as things happen.
pub(super) const fn live_zxid(packet: &Packet<Txn>) -> Option<Zxid> {
    match packet {
        Packet::Proposal { zxid, .. }
        | Packet::Commit { zxid }
        | Packet::CommitAndActivate { zxid }
        | Packet::Inform { zxid, .. } => Some(*zxid),
        _ => None,
    }
}

const fn is_live(packet: &Packet<Txn>) -> bool {
    live_zxid(packet).is_some()
}
