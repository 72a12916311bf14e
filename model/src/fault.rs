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
    /// FOLLOWERINFO with an acceptedEpoch that no server can have come to: the epochs would soon be used up.
    EpochJump {
        /// What it says.
        accepted: Epoch,
        /// What the leader has accepted.
        own: Epoch,
    },
    /// A learner that has acknowledged nothing within syncLimit.
    LearnerLate {
        /// The id.
        sid: ServerId,
        /// What it has acknowledged last.
        done: Zxid,
    },
    /// An observer that would have to be brought up while as many learners are as may be.
    TooManySyncs {
        /// The id.
        sid: ServerId,
        /// How many of its kind there may be.
        max: u32,
    },
    /// The leader's own disk has confirmed nothing within syncLimit.
    OwnDiskLate {
        /// What it has confirmed last.
        done: Zxid,
    },
    /// Without a quorum of learners nobody leads.
    QuorumLost,
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

impl Fault {
    /// Whether a refusal means that a packet came which no correct ensemble sends; the others are part of recovery.
    #[must_use]
    pub const fn is_bad_packet(self) -> bool {
        match self {
            Self::UnexpectedPacket
            | Self::AckBeforeNewLeader { .. }
            | Self::AckOfUnproposed { .. }
            | Self::ProposalOutOfOrder { .. }
            | Self::CommitOutOfOrder { .. }
            | Self::TruncOutsideHistory { .. }
            | Self::NewLeaderOfOtherEpoch { .. }
            | Self::EpochJump { .. }
            | Self::ActivationOfOther { .. } => true,
            Self::StaleLeader { .. }
            | Self::LearnerAhead { .. }
            | Self::LearnerReplaced { .. }
            | Self::LearnerLate { .. }
            | Self::TooManySyncs { .. }
            | Self::OwnDiskLate { .. }
            | Self::QuorumLost
            | Self::TruncBelowSnapshot { .. }
            | Self::EpochExhausted
            | Self::CounterExhausted
            | Self::ReconfigInProgress
            | Self::NewConfigNotSynced
            | Self::NotLeading => false,
        }
    }
}

/// Begins with the name, as SPEC.md has it, so that a line of a log can be looked up there.
impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::LearnerLate { sid, done } => write!(
                f,
                "LearnerLate: server {sid} has acknowledged no proposal above {done} within syncLimit, its connection is closed; look at its disk"
            ),
            Self::TooManySyncs { sid, max } => write!(
                f,
                "TooManySyncs: {max} learners are being brought up, so the connection of observer {sid} is closed; it comes again. leader.maxConcurrentSnapSyncs and leader.maxConcurrentDiffSyncs say how many there may be"
            ),
            Self::OwnDiskLate { done } => write!(
                f,
                "OwnDiskLate: the disk of this server has confirmed nothing above {done} within syncLimit, so it does not lead on; look at it"
            ),
            Self::QuorumLost => f.write_str(
                "QuorumLost: too few followers are left for a quorum, so this server does not lead on; look for the others",
            ),
            Self::EpochJump { accepted, own } => write!(
                f,
                "EpochJump: a follower says that it has accepted epoch {}, and this server's is {}: no elections lead there; look at its file acceptedEpoch, or for a stranger",
                accepted.0, own.0
            ),
            other => core::fmt::Debug::fmt(other, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn what_is_logged_begins_with_the_name() {
        let (sid, done) = (ServerId(2), Zxid::ZERO);
        let (accepted, own) = (Epoch(9), Epoch(1));
        for fault in [
            Fault::LearnerLate { sid, done },
            Fault::OwnDiskLate { done },
            Fault::EpochJump { accepted, own },
            Fault::QuorumLost,
            Fault::LearnerReplaced { sid },
        ] {
            let (name, said) = (format!("{fault:?}"), format!("{fault}"));
            let name = name.split(' ').next().unwrap_or_default();
            assert!(said.starts_with(name), "{said}");
        }
    }
}
