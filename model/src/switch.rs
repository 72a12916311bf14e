//! Known bugs of ZooKeeper's election and recovery, each of which can be brought back for the checker to catch.
//!
//! In package `zabra-model` every question is answered "off" at compile time, and there is no feature that could change that:
//! the server's build contains none of the broken branches.

/// A bug that can be switched on. `model/README.md` tells each one's story.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Switch {
    // Synchronization, the learner's side.
    /// currentEpoch is written before the synced history (ZOOKEEPER-4643, 4785).
    EpochBeforeHistory,
    /// What came before UPTODATE is logged after it, NEWLEADER is acknowledged before (ZOOKEEPER-3911). In the
    /// checker's host.
    LogSyncAfterUptodate,
    /// NEWLEADER is acknowledged while its history waits for the disk (ZOOKEEPER-4646).
    AckNewleaderBeforeFsync,
    /// The ACK of a proposal overtakes the ACK of NEWLEADER (ZOOKEEPER-4685).
    AckProposalBeforeAckNewleader,
    /// A learner serves before it has applied what it was synchronized with (ZOOKEEPER-3023).
    AsyncApplyOfSyncTxns,
    /// NEWLEADER makes a learner forget the proposals that wait for their COMMIT (ZOOKEEPER-4394).
    DropOutstandingAtNewleader,
    /// An election begins while writes are on their way to the log (ZOOKEEPER-4712).
    VoteBeforeLogDrain,
    /// Synchronized transactions are missing in the list that serves DIFFs (ZOOKEEPER-4925). In the checker's host.
    SyncTxnsSkipCommittedLog,
    /// After TRUNC transactions are kept in memory only until NEWLEADER, and outlive a broken synchronization there
    /// (ZOOKEEPER-5094). In the checker's host.
    KeepDbAfterPartialTrunc,
    /// The same with SNAP (ZOOKEEPER-3642). In the checker's host.
    KeepDbAfterPartialSnap,
    /// Votes and ACKEPOCH report the applied zxid instead of the log's end (ZOOKEEPER-2845).
    VoteFromMemoryNotLog,
    /// DIFF moves the reported zxid to the leader's before its transactions have come (ZOOKEEPER-2355).
    DiffBumpsLastProcessed,
    /// SNAP is read while the tree goes on changing, and NEWLEADER does not wait for what it lacks (ZOOKEEPER-3104).
    /// In the checker's host.
    NewleaderBeforeSnap,
    /// currentEpoch is written at UPTODATE, after the ACK of NEWLEADER (ZOOKEEPER-1282).
    EpochAfterAck,
    // Synchronization, the leader's side: DIFF, TRUNC, SNAP.
    /// What is outstanding when a learner joins is neither in its history nor in its live stream (ZOOKEEPER-962).
    ForwardAfterReadNotAtomic,
    /// A learner gets a DIFF because its zxid lies in the leader's range, not because it is a member
    /// (ZOOKEEPER-1154).
    DiffWithoutMembership,
    /// TRUNC cuts one transaction too many (ZOOKEEPER-1156).
    TruncOffByOne,
    /// A server that begins to lead takes a snapshot of its uncommitted log, and TRUNC cuts only the log
    /// (ZOOKEEPER-1549, 2832). In the checker's host.
    TruncIgnoresSnapshots,
    /// A server that begins to lead takes a snapshot of its uncommitted log, and drops the log under it. In the
    /// checker's host.
    SnapshotUncommitted,
    /// A DIFF is served from a log that has a hole under it (ZOOKEEPER-2846).
    DiffFromHoleyLog,
    /// A leader whose log is empty sends DIFF where SNAP is needed (ZOOKEEPER-4352).
    NoSnapWhenMinUnknown,
    /// The range of committed transactions is one of an earlier role, and TRUNC goes to its end (ZOOKEEPER-3526).
    StaleCommittedLogRange,
    /// A returning learner is told to drop the uncommitted proposals that it has acknowledged, as ZooKeeper does.
    TruncOutstanding,
    /// What a returning learner has in its log counts as acknowledged by it, whatever its currentEpoch.
    HoldingIsAcking,
    /// A learner that is told to TRUNC below its snapshot refuses, each time anew.
    TruncBelowSnapshotRefused,
    /// SNAP carries the tree as it was served last, although the leader's history goes on.
    SnapBehindHistory,
    // Epochs, discovery, election.
    /// acceptedEpoch is only remembered, not written (ZOOKEEPER-335).
    AcceptedEpochVolatile,
    /// LEADERINFO and ACKEPOCH are sent while acceptedEpoch waits for the disk (ZOOKEEPER-335).
    AckEpochBeforePersist,
    /// The leader does not wait for a quorum of ACKEPOCH (ZOOKEEPER-1192, 1194).
    EpochAckWrongFlag,
    /// The ACKEPOCH of a learner that had accepted the same epoch before is counted.
    CountSameEpochAck,
    /// The leader does not ask whether a learner knows more than itself.
    NoFollowerAheadCheck,
    /// An acceptedEpoch whose write has failed is kept in memory (ZOOKEEPER-2307, 1653). In the checker's host.
    EpochMemBeforeDisk,
    /// A log whose epoch is above currentEpoch is refused at boot. In the checker's host.
    BootRejectsLogAheadOfEpoch,
    /// The counter of an epoch runs over into the next epoch (ZOOKEEPER-1277).
    NoRolloverReelection,
    /// An election believes followers without their leader's own word (ZOOKEEPER-917, 975, 1514).
    NoCheckLeader,
    /// A follower goes on reporting the epoch of its vote after it has a new one (ZOOKEEPER-1732).
    NoVoteUpdateAfterSync,
    /// One vote of another server is taken for a quorum of them.
    SingleVoteElects,
    /// A server that looks does not count its own vote with those of its round that follow already.
    SettledCountApart,
    /// Half of the voters count as a quorum.
    QuorumIsHalf,
    /// A group counts as won when any one of its members agrees (hierarchical quorums).
    GroupByAnyMember,
    // Fixes that did not hold, each with what it left open.
    /// Synchronized transactions are logged and applied at once, with currentEpoch before them.
    Pr1848,
    /// The history is written before ACK of NEWLEADER, by a thread that acknowledges on its own.
    Pr1930,
    /// What is outstanding is flushed before ACK of NEWLEADER and then forgotten, with currentEpoch before it.
    Pr1993,
    /// Logged and applied in order, with what is outstanding forgotten at NEWLEADER.
    Pr2111,
    /// Logged by another thread before ACK of NEWLEADER.
    Fix3911,
    // The paper's ambiguities Z1 to Z7.
    /// PROPOSAL goes only to learners that have acknowledged NEWLEADER (Z1).
    ProposeToAckedOnly,
    /// A learner gets a proposal in its history and once more as PROPOSAL (Z2).
    NoDuplicateProposalDrop,
    /// COMMIT goes only to learners that have acknowledged NEWLEADER, and UPTODATE does not make up for it (Z3).
    UptodateWithAckZxid,
    /// What a learner was synchronized with and had not been committed is never acknowledged (Z5).
    NoImplicitAcks,
    /// A learner that comes late has LEADERINFO sent to those who have had it (Z6).
    LeaderinfoTwice,
    /// A leader serves when its own epoch is written, before a quorum has acknowledged NEWLEADER (Z7).
    ServeBeforeQuorumBroadcast,
    // Broadcast and the disk.
    /// The leader counts itself before its own fsync.
    LeaderAckBeforeFsync,
    /// A follower acknowledges a proposal before its fsync.
    AckProposalBeforeFsync,
    /// A failed write is taken for durable. In the checker's host.
    FsyncRetried,
    /// A start reports what it has read without making it durable: it may be in the page cache alone.
    BootTrustsPageCache,
    /// A start syncs what it has read and does not write its end anew: after a sync that failed, its pages are clean.
    RestartTrustsCleanPages,
    // Learners without a vote.
    /// FOLLOWERINFO and ACKEPOCH of an observer count.
    ObserverInDiscovery,
    /// An observer's ACK of NEWLEADER counts.
    ObserverInNewLeader,
    /// INFORM is sent when a transaction is proposed.
    InformBeforeCommit,
    /// An observer that joins gets the outstanding proposals, as followers do.
    ObserverGetsOutstanding,
    // Reconfiguration.
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
    // Elections while the list of voters changes.
    /// While two lists bind, an election is won by a quorum of the old one.
    ElectedByOldList,
    /// While two lists bind, an election is won by a quorum of the new one.
    ElectedByNewList,
    /// The vote of a server that no list gives one is counted.
    GuestVoteCounts,
    /// A server that no list gives a vote stands for itself, and leads where others name it.
    CandidateWithoutVote,
    /// Whoever is not counted is answered, whatever it says.
    AnswersWithoutEnd,
    /// Nobody takes over a vote for a server that its own lists lack.
    OwnCandidatesOnly,
    /// While two lists bind, a leader is followed only if a quorum of both follows it.
    FollowNeedsBothLists,
    /// Nobody asks a leader that its own lists lack.
    UnlistedLeaderNotAsked,
    // Broadcast.
    /// A follower does not apply what it is told to be committed.
    FollowerForgetsToApply,
    /// A leader does not apply what it commits.
    LeaderForgetsToApply,
    // Waiting for ever.
    /// A leader that cannot form a quorum goes on trying.
    NoInitLimit,
    /// A leader that has lost its quorum goes on leading.
    NoStepDown,
    // Under a leader like ZooKeeper's.
    /// A learner refuses to hear once more of what SNAP has brought (D-20).
    SnapDuplicateRefused,
    /// A learner answers PING before it has acknowledged NEWLEADER (D-21).
    PingAnsweredEarly,
}

impl Switch {
    /// All of them, in the order of `model/README.md`.
    pub const ALL: [Self; 82] = [
        Self::EpochBeforeHistory,
        Self::LogSyncAfterUptodate,
        Self::AckNewleaderBeforeFsync,
        Self::AckProposalBeforeAckNewleader,
        Self::AsyncApplyOfSyncTxns,
        Self::DropOutstandingAtNewleader,
        Self::VoteBeforeLogDrain,
        Self::SyncTxnsSkipCommittedLog,
        Self::KeepDbAfterPartialTrunc,
        Self::KeepDbAfterPartialSnap,
        Self::VoteFromMemoryNotLog,
        Self::DiffBumpsLastProcessed,
        Self::NewleaderBeforeSnap,
        Self::EpochAfterAck,
        Self::ForwardAfterReadNotAtomic,
        Self::DiffWithoutMembership,
        Self::TruncOffByOne,
        Self::TruncIgnoresSnapshots,
        Self::SnapshotUncommitted,
        Self::DiffFromHoleyLog,
        Self::NoSnapWhenMinUnknown,
        Self::StaleCommittedLogRange,
        Self::TruncOutstanding,
        Self::HoldingIsAcking,
        Self::TruncBelowSnapshotRefused,
        Self::SnapBehindHistory,
        Self::AcceptedEpochVolatile,
        Self::AckEpochBeforePersist,
        Self::EpochAckWrongFlag,
        Self::CountSameEpochAck,
        Self::NoFollowerAheadCheck,
        Self::EpochMemBeforeDisk,
        Self::BootRejectsLogAheadOfEpoch,
        Self::NoRolloverReelection,
        Self::NoCheckLeader,
        Self::NoVoteUpdateAfterSync,
        Self::SingleVoteElects,
        Self::SettledCountApart,
        Self::QuorumIsHalf,
        Self::GroupByAnyMember,
        Self::Pr1848,
        Self::Pr1930,
        Self::Pr1993,
        Self::Pr2111,
        Self::Fix3911,
        Self::ProposeToAckedOnly,
        Self::NoDuplicateProposalDrop,
        Self::UptodateWithAckZxid,
        Self::NoImplicitAcks,
        Self::LeaderinfoTwice,
        Self::ServeBeforeQuorumBroadcast,
        Self::LeaderAckBeforeFsync,
        Self::AckProposalBeforeFsync,
        Self::FsyncRetried,
        Self::BootTrustsPageCache,
        Self::RestartTrustsCleanPages,
        Self::ObserverInDiscovery,
        Self::ObserverInNewLeader,
        Self::InformBeforeCommit,
        Self::ObserverGetsOutstanding,
        Self::ReconfigOldQuorumOnly,
        Self::ReconfigNewQuorumOnly,
        Self::ActivateAtProposal,
        Self::NextConfigVolatile,
        Self::NextConfigSurvivesTrunc,
        Self::TwoReconfigsAtOnce,
        Self::ActivateAtSyncCommit,
        Self::SnapWithoutConfig,
        Self::ElectedByOldList,
        Self::ElectedByNewList,
        Self::GuestVoteCounts,
        Self::CandidateWithoutVote,
        Self::AnswersWithoutEnd,
        Self::OwnCandidatesOnly,
        Self::FollowNeedsBothLists,
        Self::UnlistedLeaderNotAsked,
        Self::FollowerForgetsToApply,
        Self::LeaderForgetsToApply,
        Self::NoInitLimit,
        Self::NoStepDown,
        Self::SnapDuplicateRefused,
        Self::PingAnsweredEarly,
    ];

    /// What else is on when this one is.
    #[must_use]
    pub const fn includes(self) -> &'static [Self] {
        match self {
            Self::Pr1848 => &[Self::EpochBeforeHistory],
            Self::Pr1930 => &[
                Self::AckProposalBeforeAckNewleader,
                Self::AsyncApplyOfSyncTxns,
            ],
            Self::Pr1993 => &[Self::EpochBeforeHistory, Self::DropOutstandingAtNewleader],
            Self::Pr2111 => &[Self::DropOutstandingAtNewleader],
            Self::Fix3911 => &[
                Self::AckNewleaderBeforeFsync,
                Self::AckProposalBeforeAckNewleader,
                Self::AsyncApplyOfSyncTxns,
            ],
            Self::SnapshotUncommitted => &[Self::TruncBelowSnapshotRefused],
            _ => &[],
        }
    }
}

/// Which bugs are on: none, unless a checker says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Switches(#[cfg(feature = "checker")] Option<Switch>);

impl Switches {
    /// One bug on, with those that it includes.
    #[cfg(feature = "checker")]
    #[must_use]
    pub const fn with(switch: Switch) -> Self {
        Self(Some(switch))
    }

    /// Whether `switch` is on.
    #[cfg(feature = "checker")]
    #[must_use]
    pub fn on(self, switch: Switch) -> bool {
        self.0
            .is_some_and(|s| s == switch || s.includes().contains(&switch))
    }

    /// Whether `switch` is on: never, in this build.
    #[cfg(not(feature = "checker"))]
    #[must_use]
    pub const fn on(self, _: Switch) -> bool {
        false
    }
}
