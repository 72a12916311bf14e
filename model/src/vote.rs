//! What a server says in an election, and which of two votes is better.

use crate::ids::{Epoch, Round, ServerId, Zxid};
use serde::{Deserialize, Serialize};

/// Whom a server wants to lead, and why: the candidate's history speaks for it.
///
/// The derived order is the order of votes: epoch first, then zxid, then server id. It is total, so any
/// set of votes has one best. Source: ZooKeeper `FastLeaderElection.totalOrderPredicate`; SPEC.md §3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Vote {
    /// The candidate's current epoch (`peerEpoch` on the wire): the last leader that it followed to NEWLEADER.
    pub epoch: Epoch,
    /// The last zxid of the candidate's durable history.
    pub zxid: Zxid,
    /// The candidate.
    pub leader: ServerId,
}

/// What a server is doing, as it tells others in an election.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ServerState {
    /// Electing.
    Looking,
    /// Follows a leader, or tries to.
    Following,
    /// Leads, or tries to.
    Leading,
    /// Follows without a vote.
    Observing,
}

/// One message of an election.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Notification {
    /// What the sender is doing.
    pub state: ServerState,
    /// The sender's vote: a proposal while it looks, the outcome afterwards.
    pub vote: Vote,
    /// The round in which the vote was given (`electionEpoch` on the wire).
    pub round: Round,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(epoch: u32, zxid: u64, leader: u64) -> Vote {
        Vote {
            epoch: Epoch(epoch),
            zxid: Zxid(zxid),
            leader: ServerId(leader),
        }
    }

    #[test]
    fn epoch_beats_zxid_and_zxid_beats_server_id() {
        assert!(vote(2, 0, 1) > vote(1, 9, 9));
        assert!(vote(1, 9, 1) > vote(1, 8, 9));
        assert!(vote(1, 8, 2) > vote(1, 8, 1));
    }
}
