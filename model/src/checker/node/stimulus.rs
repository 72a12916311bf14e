//! What can happen to one server, and what leaves it then.

use crate::checker::disk::PendingWrite;
use crate::checker::link::Frame;
use crate::checker::txn::Txn;
use crate::invariants::Observation;
use crate::step::{Effect, Timer};
use crate::vote::{Notification, Vote};
use alloc::vec::Vec;

/// What can happen to one server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stimulus {
    /// It starts from its disk.
    Boot,
    /// The power fails; so many of the writes that were not synced have reached the disk.
    Crash(u8),
    /// The process dies; so many of the pending writes are in the page cache.
    Die(u8),
    /// A sync fails, which ends the process; so many of the pending writes stay in the page cache, clean.
    FailSync(u8),
    /// Its election ends with this vote.
    Elect(Vote),
    /// The oldest pending write becomes durable, and it hears of it.
    Flush,
    /// Its tree is written as a snapshot.
    Snapshot,
    /// The oldest pending write fails, and it hears that it is durable: the bug of a host.
    FailWrite,
    /// A transaction for the leader.
    Propose(Txn),
    /// The leader does not answer its dial.
    Unreachable,
    /// A connection stands.
    Linked(u64),
    /// A connection has ended.
    Unlinked(u64),
    /// A timer runs out.
    Fired(Timer),
    /// A packet arrives.
    Received {
        /// On which connection.
        link: u64,
        /// The packet.
        frame: Frame,
    },
    /// A vote arrives.
    Notified {
        /// From whom, by index.
        from: usize,
        /// The vote.
        notification: Notification,
    },
}

/// What leaves a server in a step, in order.
#[derive(Clone, Debug)]
pub enum Outward {
    /// A packet.
    Send {
        /// On which connection.
        link: u64,
        /// The packet and its tree.
        frame: Frame,
    },
    /// It lets go of a connection.
    Unlink(u64),
    /// A vote.
    Post {
        /// To whom, by index.
        to: usize,
        /// The vote.
        notification: Notification,
    },
    /// Something for the observer.
    Seen(Observation),
    /// A write was queued; for people.
    Queued(PendingWrite),
    /// Any other effect; for people.
    Other(Effect<Txn>),
}

/// What a step of one server lets out.
#[derive(Debug, Default)]
pub struct Outbox {
    /// In order.
    pub sent: Vec<Outward>,
    /// Bits of [`crate::checker::action::WITNESSES`].
    pub witnessed: u64,
}

impl Stimulus {
    /// A number that tells this stimulus from every other one at the same server; `operand` is that of the packet
    /// or vote in it.
    pub(in crate::checker) fn code(&self, operand: u32) -> u64 {
        let (kind, small) = match self {
            Self::Boot => (0, 0),
            Self::Crash(kept) => (1, u64::from(*kept)),
            Self::Elect(vote) => {
                let zxid = u64::from(vote.zxid.epoch().0) << 4 | u64::from(vote.zxid.counter());
                return 2 << 56 | u64::from(vote.epoch.0) << 24 | zxid << 8 | vote.leader.0;
            }
            Self::Flush => (3, 0),
            Self::Propose(txn) => (4, u64::from(txn.members())),
            Self::Unreachable => (5, 0),
            Self::Linked(link) => (6, *link),
            Self::Unlinked(link) => (7, *link),
            Self::Fired(timer) => (8, *timer as u64),
            Self::Received { link, .. } => (9, *link),
            Self::Notified { from, .. } => (10, *from as u64),
            Self::Snapshot => (11, 0),
            Self::FailWrite => (12, 0),
            Self::Die(kept) => (13, u64::from(*kept)),
            Self::FailSync(kept) => (14, u64::from(*kept)),
        };
        kind << 56 | small << 32 | u64::from(operand)
    }
}

impl Outbox {
    pub(super) fn seen(&mut self, observation: Observation) {
        self.sent.push(Outward::Seen(observation));
    }
}
