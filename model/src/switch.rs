//! Known bugs of ZooKeeper's election and recovery, each of which can be brought back for the checker to catch.
//!
//! Without the feature `switches` every question is answered "off" at compile time, and nothing can change that:
//! the server's build contains none of the broken branches.

/// A bug that can be switched on. SPEC.md §8 tells each one's story.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Switch {
    /// currentEpoch is written before the synced history (ZOOKEEPER-4643).
    EpochBeforeHistory,
    /// NEWLEADER is acknowledged while its history waits for the disk (ZOOKEEPER-4646).
    AckNewleaderBeforeFsync,
    /// Votes and ACKEPOCH report the applied zxid instead of the log's end (ZOOKEEPER-2845).
    VoteFromMemoryNotLog,
    /// acceptedEpoch is only remembered, not written (ZOOKEEPER-335).
    AcceptedEpochVolatile,
    /// A learner gets a DIFF because its zxid lies in the leader's range, not because it is a member (ZOOKEEPER-1154).
    DiffWithoutMembership,
    /// Half of the voters count as a quorum.
    QuorumIsHalf,
    /// A group counts as won when any one of its members agrees (hierarchical quorums).
    GroupByAnyMember,
    /// A returning learner is told to drop the uncommitted proposals that it has acknowledged, as ZooKeeper does.
    TruncOutstanding,
    /// What a returning learner has in its log counts as acknowledged by it, whatever its currentEpoch.
    HoldingIsAcking,
    /// A learner that is told to TRUNC below its snapshot refuses, each time anew.
    TruncBelowSnapshotRefused,
    /// SNAP carries the tree as it was served last, although the leader's history goes on.
    SnapBehindHistory,
    /// FOLLOWERINFO and ACKEPOCH of an observer count.
    ObserverInDiscovery,
    /// An observer's ACK of NEWLEADER counts.
    ObserverInNewLeader,
    /// INFORM is sent when a transaction is proposed.
    InformBeforeCommit,
    /// An observer that joins gets the outstanding proposals, as followers do.
    ObserverGetsOutstanding,
}

impl Switch {
    /// All of them, in the order of SPEC.md §8.
    pub const ALL: [Self; 15] = [
        Self::EpochBeforeHistory,
        Self::AckNewleaderBeforeFsync,
        Self::VoteFromMemoryNotLog,
        Self::AcceptedEpochVolatile,
        Self::DiffWithoutMembership,
        Self::QuorumIsHalf,
        Self::GroupByAnyMember,
        Self::TruncOutstanding,
        Self::HoldingIsAcking,
        Self::TruncBelowSnapshotRefused,
        Self::SnapBehindHistory,
        Self::ObserverInDiscovery,
        Self::ObserverInNewLeader,
        Self::InformBeforeCommit,
        Self::ObserverGetsOutstanding,
    ];
}

/// Which bugs are on: none, unless a checker says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Switches(#[cfg(feature = "switches")] Option<Switch>);

impl Switches {
    /// One bug on.
    #[cfg(feature = "switches")]
    #[must_use]
    pub const fn with(switch: Switch) -> Self {
        Self(Some(switch))
    }

    /// Whether `switch` is on.
    #[cfg(feature = "switches")]
    #[must_use]
    pub fn on(self, switch: Switch) -> bool {
        self.0 == Some(switch)
    }

    /// Whether `switch` is on: never, in this build.
    #[cfg(not(feature = "switches"))]
    #[must_use]
    pub const fn on(self, _: Switch) -> bool {
        false
    }
}
