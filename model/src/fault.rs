//! What another server did wrong, named by its act. The connection ends, life goes on.

use crate::ids::{Epoch, ServerId, Zxid};

/// A refusal by the protocol core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// A packet that the receiver's phase can never get.
    UnexpectedPacket,
    /// LEADERINFO with an epoch below the one that was accepted.
    StaleLeader {
        /// The leader's epoch.
        epoch: Epoch,
        /// What this server has accepted.
        accepted: Epoch,
    },
    /// ACKEPOCH of a learner that knows more than the leader.
    LearnerAhead {
        /// The learner's currentEpoch.
        current: Epoch,
        /// The end of its history.
        last: Zxid,
    },
    /// The first ACK after NEWLEADER is for something else (ZOOKEEPER-4685).
    AckBeforeNewLeader {
        /// What was acknowledged.
        zxid: Zxid,
    },
    /// ACK of something that was never proposed.
    AckOfUnproposed {
        /// What was acknowledged.
        zxid: Zxid,
    },
    /// PROPOSAL that does not follow the last one: the learner would get a hole (ZOOKEEPER-4925).
    ProposalOutOfOrder {
        /// What was proposed.
        zxid: Zxid,
        /// The end of this server's history.
        last: Zxid,
    },
    /// COMMIT of something that is not in the log, or was committed before.
    CommitOutOfOrder {
        /// What was committed.
        zxid: Zxid,
        /// What was committed last.
        committed: Zxid,
    },
    /// TRUNC to a position that is not in the log.
    TruncOutsideHistory {
        /// The position to keep.
        zxid: Zxid,
        /// The end of this server's history.
        last: Zxid,
    },
    /// NEWLEADER with another epoch than LEADERINFO.
    NewLeaderOfOtherEpoch {
        /// Its epoch.
        epoch: Epoch,
    },
    /// Two learners with one id: the older connection ends.
    LearnerReplaced {
        /// The id.
        sid: ServerId,
    },
    /// TRUNC into the own snapshot: the learner asks for SNAP instead.
    TruncBelowSnapshot {
        /// Where to cut.
        zxid: Zxid,
        /// The zxid of the snapshot.
        base: Zxid,
    },
    /// No epoch is left to propose.
    EpochExhausted,
    /// No counter is left in this epoch: the leader steps down so that the next one has a new epoch.
    CounterExhausted,
    /// COMMITANDACTIVATE of something that is not the newer configuration in the log.
    ActivationOfOther {
        /// What was to be activated.
        zxid: Zxid,
    },
    /// A reconfiguration while the last one is not committed.
    ReconfigInProgress,
    /// A reconfiguration to voters of whom no quorum is synchronized.
    NewConfigNotSynced,
    /// A proposal was handed to a server that does not lead a formed quorum.
    NotLeading,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self, f)
    }
}
