//! The rules of the protocol that a known bug breaks, by names under which handlers can be read as protocol:
//! `if cx.rules().ack_waits_for_fsync() { … }`.
//!
//! A rule holds unless a checker has switched its bug on ([`crate::switch`]), so in the server it is the constant `true`.

use crate::switch::{Switch, Switches};

/// Which rules hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules(Switches);

impl Switches {
    /// The rules that hold with these bugs.
    pub(crate) const fn rules(self) -> Rules {
        Rules(self)
    }
}

macro_rules! rules {
    ($($(#[$about:meta])* $rule:ident, unless $($bug:ident)|+;)*) => {
        impl Rules {
            $($(#[$about])*
            #[inline]
            #[must_use]
            pub(crate) fn $rule(self) -> bool {
                !($(self.0.on(Switch::$bug))||+)
            })*
        }
    };
}

rules! {
    // Quorums and lists of voters.
    /// More than half of the voters decide.
    quorum_is_more_than_half, unless QuorumIsHalf;
    /// More than half of a group's weight wins it.
    group_needs_more_than_half, unless GroupByAnyMember;
    /// While a reconfiguration is not committed, a quorum of the old list is needed.
    old_list_decides_too, unless ReconfigNewQuorumOnly;
    /// While a reconfiguration is not committed, a quorum of the new list is needed.
    new_list_decides_too, unless ReconfigOldQuorumOnly;
    /// None is proposed before the last one is committed.
    reconfigurations_come_one_by_one, unless TwoReconfigsAtOnce;
    /// A start finds in its log the list that is not known to be committed.
    next_list_survives_a_crash, unless NextConfigVolatile;
    /// What a TRUNC drops from the log no longer binds.
    trunc_takes_lists_back, unless NextConfigSurvivesTrunc;
    /// After SNAP the leader's lists bind.
    snap_brings_lists, unless SnapWithoutConfig;
    /// A list in the log is not active before it is committed.
    activation_waits_for_commit, unless ActivateAtProposal;
    /// A COMMIT of the initial history activates nothing.
    activation_waits_for_a_quorum, unless ActivateAtSyncCommit;
    // Elections.
    /// A server votes when its writes are on the disk.
    vote_waits_for_the_disk, unless VoteBeforeLogDrain;
    /// Votes and ACKEPOCH report the end of the log, not of the tree.
    vote_speaks_of_the_log, unless VoteFromMemoryNotLog;
    /// A follower that is up to date reports the vote of its new epoch.
    vote_moves_with_the_epoch, unless NoVoteUpdateAfterSync;
    /// One vote of another server is not a quorum of them.
    election_needs_a_quorum, unless SingleVoteElects;
    /// The votes of a round make one quorum, whether their senders still look or follow already.
    votes_of_a_round_count_together, unless SettledCountApart;
    /// Who is outside the election proves a leader only together with that leader's own word.
    leaders_own_word_is_needed, unless NoCheckLeader;
    /// While two lists bind, a quorum of the old one is needed to win.
    old_list_elects_too, unless ElectedByNewList | ReconfigNewQuorumOnly;
    /// While two lists bind, a quorum of the new one is needed to win.
    new_list_elects_too, unless ElectedByOldList | ReconfigOldQuorumOnly;
    /// Who has no vote is not counted.
    only_voters_elect, unless GuestVoteCounts;
    /// A server to which no list gives a vote votes for nobody, and does not lead.
    only_voters_are_candidates, unless CandidateWithoutVote;
    /// Of two that do not count each other, one has the last word.
    answers_end, unless AnswersWithoutEnd;
    /// A quorum of either list proves a leader.
    either_list_proves_a_leader, unless FollowNeedsBothLists;
    /// A voter may propose a server that the own lists lack.
    voters_name_whom_they_know, unless OwnCandidatesOnly;
    /// A leader that the own lists lack is asked for its own word.
    unlisted_leader_is_asked, unless UnlistedLeaderNotAsked;
    // Discovery.
    /// acceptedEpoch is on the disk.
    accepted_epoch_is_written, unless AcceptedEpochVolatile;
    /// LEADERINFO and ACKEPOCH leave when acceptedEpoch is durable.
    epoch_promise_waits_for_fsync, unless AckEpochBeforePersist;
    /// Who has had LEADERINFO is not sent another one.
    leader_info_comes_once, unless LeaderinfoTwice;
    /// The ACKEPOCH of an epoch that was accepted before does not count.
    same_epoch_counts_once, unless CountSameEpochAck;
    /// Discovery ends with ACKEPOCH of a quorum.
    epoch_needs_a_quorum, unless EpochAckWrongFlag;
    /// FOLLOWERINFO and ACKEPOCH of observers do not count.
    only_voters_introduce, unless ObserverInDiscovery;
    /// Who knows more than the leader does not follow it.
    no_follower_is_ahead, unless NoFollowerAheadCheck;
    // Synchronization, the leader.
    /// The plan goes by what is committed in this role.
    plan_knows_what_is_committed, unless StaleCommittedLogRange;
    /// Who holds this leader's uncommitted proposals waits until they are committed.
    outstanding_is_not_cut, unless TruncOutstanding;
    /// To have a proposal in the log does not acknowledge it.
    holding_is_not_acking, unless HoldingIsAcking;
    /// SNAP holds the leader's initial history.
    snap_has_the_whole_history, unless SnapBehindHistory;
    /// What is outstanding belongs to the history that is sent.
    history_meets_the_live_stream, unless ForwardAfterReadNotAtomic;
    /// What was sent as history is not sent as live proposal.
    proposals_are_sent_once, unless NoDuplicateProposalDrop;
    /// An observer gets no outstanding proposals.
    observers_wait_for_commits, unless ObserverGetsOutstanding;
    /// An observer's ACK of NEWLEADER does not count.
    only_voters_join, unless ObserverInNewLeader;
    /// A leader serves when a quorum has acknowledged NEWLEADER.
    serving_needs_a_quorum, unless ServeBeforeQuorumBroadcast;
    // Synchronization, the learner.
    /// DIFF alone changes nothing that is reported.
    diff_moves_nothing, unless DiffBumpsLastProcessed;
    /// TRUNC keeps the transaction that it names.
    trunc_keeps_its_end, unless TruncOffByOne;
    /// Who cannot cut its snapshot asks for another one.
    trunc_below_snapshot_asks_for_snap, unless TruncBelowSnapshotRefused;
    /// What the snapshot holds is not logged again.
    what_snap_has_brought_is_dropped, unless SnapDuplicateRefused;
    /// A packet for what is in the log already is a fault.
    old_packets_are_refused, unless NewleaderBeforeSnap;
    /// currentEpoch is written after the history that it names.
    epoch_waits_for_history, unless EpochBeforeHistory;
    /// NEWLEADER is acknowledged when its history is durable.
    newleader_ack_waits_for_fsync, unless AckNewleaderBeforeFsync;
    /// And when currentEpoch is.
    newleader_ack_waits_for_epoch, unless EpochAfterAck;
    /// No ACK of a proposal overtakes that of NEWLEADER.
    newleader_is_acked_first, unless AckProposalBeforeAckNewleader;
    /// Proposals before NEWLEADER can be committed after it.
    newleader_forgets_nothing, unless DropOutstandingAtNewleader;
    /// What was not committed when it was sent is acknowledged after NEWLEADER.
    history_is_acked_by_its_parts, unless NoImplicitAcks;
    /// A learner serves when it has applied its history.
    history_is_applied_before_serving, unless AsyncApplyOfSyncTxns;
    /// What a COMMIT of the initial history names is applied at UPTODATE, when a quorum has it.
    history_waits_for_uptodate, unless Pr1848 | Pr2111;
    /// PING is not answered before NEWLEADER is acknowledged.
    ping_waits_for_newleader_ack, unless PingAnsweredEarly;
    // Broadcast.
    /// An epoch whose counter is used up ends.
    counter_never_runs_over, unless NoRolloverReelection;
    /// PROPOSAL goes to whoever was sent NEWLEADER.
    synced_learners_get_proposals, unless ProposeToAckedOnly;
    /// COMMIT, too.
    synced_learners_get_commits, unless UptodateWithAckZxid;
    /// The leader counts itself when its own write is durable.
    leader_ack_waits_for_fsync, unless LeaderAckBeforeFsync;
    /// A follower acknowledges a proposal when it is durable.
    ack_waits_for_fsync, unless AckProposalBeforeFsync;
    /// INFORM says that a transaction is committed.
    inform_waits_for_commit, unless InformBeforeCommit;
    /// A follower applies what it is told to be committed.
    follower_applies, unless FollowerForgetsToApply;
    /// A leader applies what it commits.
    leader_applies, unless LeaderForgetsToApply;
    // Waiting, and starting.
    /// A leader that forms no quorum looks again.
    gives_up_after_init_limit, unless NoInitLimit;
    /// A leader that has lost its quorum looks again.
    steps_down_without_a_quorum, unless NoStepDown;
    /// A start reports what it has made durable.
    start_syncs_what_it_found, unless BootTrustsPageCache;
    /// What nobody is known to have synced is written anew.
    start_writes_its_end_anew, unless RestartTrustsCleanPages;
}

#[cfg(all(test, feature = "checker"))]
mod tests {
    use super::*;

    #[test]
    fn a_rule_holds_until_its_bug_is_switched_on() {
        assert!(Switches::default().rules().ack_waits_for_fsync());
        let bug = Switches::with(Switch::AckProposalBeforeFsync);
        assert!(!bug.rules().ack_waits_for_fsync());
        assert!(bug.rules().leader_ack_waits_for_fsync());
        // Fixes that did not hold leave open what simpler bugs do.
        let fix = Switches::with(Switch::Pr1848);
        assert!(!fix.rules().history_waits_for_uptodate());
        assert!(!fix.rules().epoch_waits_for_history());
    }
}
