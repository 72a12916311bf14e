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
    /// A returning learner is told to drop the uncommitted proposals that it has acknowledged, as ZooKeeper does.
    TruncOutstanding,
    /// What a returning learner has in its log counts as acknowledged by it, whatever its currentEpoch.
    HoldingIsAcking,
    /// SNAP carries the tree as it was served last, although the leader's history goes on.
    SnapBehindHistory,
    /// While a reconfiguration is not committed, a quorum of the old configuration decides.
    ReconfigOldQuorumOnly,
    /// While a reconfiguration is not committed, a quorum of the new configuration decides.
    ReconfigNewQuorumOnly,
    /// A server activates a configuration as soon as it has it in its log.
    ActivateAtProposal,
    /// A server forgets in a crash that its log holds a newer configuration.
    NextConfigVolatile,
    /// A TRUNC drops a reconfiguration from the log, and not from memory.
    NextConfigSurvivesTrunc,
    /// A leader proposes a reconfiguration while the last one is not committed.
    TwoReconfigsAtOnce,
    /// A COMMIT of the synchronization activates, although no quorum has formed.
    ActivateAtSyncCommit,
    /// SNAP leaves the learner with the configurations that it had.
    SnapWithoutConfig,
}

impl Switch {
    /// All of them, in the order of SPEC.md §8.
    pub const ALL: [Self; 17] = [
        Self::EpochBeforeHistory,
        Self::AckNewleaderBeforeFsync,
        Self::VoteFromMemoryNotLog,
        Self::AcceptedEpochVolatile,
        Self::DiffWithoutMembership,
        Self::QuorumIsHalf,
        Self::TruncOutstanding,
        Self::HoldingIsAcking,
        Self::SnapBehindHistory,
        Self::ReconfigOldQuorumOnly,
        Self::ReconfigNewQuorumOnly,
        Self::ActivateAtProposal,
        Self::NextConfigVolatile,
        Self::NextConfigSurvivesTrunc,
        Self::TwoReconfigsAtOnce,
        Self::ActivateAtSyncCommit,
        Self::SnapWithoutConfig,
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
