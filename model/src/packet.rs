//! What leader and learner say to each other: one variant for each ZooKeeper packet of the protocol core.

use crate::ensemble::Ensemble;
use crate::ids::{Epoch, Zxid};
use alloc::boxed::Box;
use serde::{Deserialize, Serialize};

/// A packet of the quorum protocol. `T` is a transaction's payload; the core asks it only whether it is a reconfiguration.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Packet<T> {
    /// FOLLOWERINFO: a learner introduces itself with the epoch it has accepted.
    FollowerInfo {
        /// Who it is.
        sid: crate::ids::ServerId,
        /// Its acceptedEpoch.
        accepted: Epoch,
    },
    /// OBSERVERINFO: FOLLOWERINFO of a learner without a vote, which counts for nothing.
    ObserverInfo {
        /// Who it is.
        sid: crate::ids::ServerId,
        /// Its acceptedEpoch.
        accepted: Epoch,
    },
    /// LEADERINFO: the leader's new epoch.
    LeaderInfo {
        /// The epoch that this leader proposes.
        epoch: Epoch,
    },
    /// ACKEPOCH: the learner has accepted the epoch, durably, and tells where its history ends.
    AckEpoch {
        /// The last zxid of its durable history.
        last: Zxid,
        /// Its currentEpoch; `None` (-1 on the wire) if it had accepted this very epoch before, then the
        /// answer does not count.
        current: Option<Epoch>,
    },
    /// DIFF: what the learner has is part of the leader's history; what is missing follows.
    Diff {
        /// The leader's last committed zxid.
        zxid: Zxid,
    },
    /// TRUNC: drop everything above; what is missing follows.
    Trunc {
        /// The last zxid to keep.
        zxid: Zxid,
    },
    /// SNAP: the leader's whole tree as of one zxid, which the host carries beside this packet.
    Snap {
        /// The position of the tree.
        zxid: Zxid,
        /// The configurations that bind the leader as of that position.
        ensemble: Box<Ensemble>,
    },
    /// PROPOSAL: log this.
    Proposal {
        /// Its position.
        zxid: Zxid,
        /// The transaction.
        txn: T,
    },
    /// COMMIT: a quorum has logged it.
    Commit {
        /// The position.
        zxid: Zxid,
    },
    /// INFORM: log this, a quorum has; PROPOSAL and COMMIT in one, for observers.
    Inform {
        /// Its position.
        zxid: Zxid,
        /// The transaction.
        txn: T,
    },
    /// COMMITANDACTIVATE: COMMIT of a reconfiguration.
    CommitAndActivate {
        /// The position.
        zxid: Zxid,
    },
    /// NEWLEADER: the end of the leader's initial history.
    NewLeader {
        /// The leader's epoch; the wire carries it as a zxid with counter 0.
        epoch: Epoch,
    },
    /// UPTODATE: a quorum has this history; serve.
    UpToDate,
    /// ACK: logged; with counter 0 it acknowledges NEWLEADER (and, later, UPTODATE).
    Ack {
        /// The position.
        zxid: Zxid,
    },
    /// PING, both ways.
    Ping {
        /// The leader's last proposed zxid; echoed.
        zxid: Zxid,
    },
}
