//! The bug zoo: every switch with the smallest configuration known to expose it, and how it is caught there.
//!
//! SPEC.md §8 shows this table to readers; a test keeps the two the same.

use super::bounds::{BASE, Bounds, Disk, Grain, Left, LeftDisk, Start};
use crate::switch::Switch;

/// A switch in its cage.
#[derive(Debug)]
pub struct Cage {
    /// The smallest configuration known to expose the bug; `about` is its story.
    pub bounds: Bounds,
    /// Where the bug is from.
    pub source: &'static str,
    /// The invariant that the shortest counterexample breaks, and its steps.
    pub expected: (&'static str, usize),
}

/// No search of the zoo goes further than this.
pub const STATES_MAX: u64 = 4_000_000;

impl Bounds {
    const fn faults(mut self, crashes: u8, disconnects: u8) -> Self {
        self.crashes = crashes;
        self.disconnects = disconnects;
        self.faults = crashes + disconnects;
        self
    }

    const fn txns(mut self, txns: u8) -> Self {
        self.txns = txns;
        self
    }

    const fn epochs(mut self, epochs: u8) -> Self {
        self.epochs = epochs;
        self
    }

    const fn counters(mut self, counter_max: u32) -> Self {
        self.counter_max = counter_max;
        self
    }

    const fn servers(mut self, servers: u8) -> Self {
        self.servers = servers;
        self
    }

    const fn fine(mut self) -> Self {
        self.disk = Disk::Fine;
        self
    }
}

/// Any election, no transaction, the disk within the step.
const COLD: Bounds = Bounds { txns: 0, ..BASE };

/// An established ensemble with one outstanding transaction, one crash, every disk step apart.
const WARM: Bounds = Bounds {
    grain: Grain::E1,
    disk: Disk::Fine,
    start: Start::Warm,
    txns: 2,
    disconnects: 0,
    epochs: 3,
    ..BASE
};

/// Fast Leader Election itself.
const ELECTION: Bounds = Bounds {
    grain: Grain::E2,
    start: Start::Uneven,
    txns: 0,
    disconnects: 0,
    epochs: 4,
    rounds: 2,
    coarse_sync: true,
    patient: true,
    instant_restart: false,
    ..BASE
};

const fn disk(
    (accepted, current): (u32, u32),
    snapshot: &'static [(u32, u32)],
    log: &'static [(u32, u32)],
) -> LeftDisk {
    LeftDisk {
        accepted,
        current,
        snapshot,
        log,
    }
}

const fn left(left: &'static Left) -> Bounds {
    Bounds {
        start: Start::Left(left),
        txns: 3,
        epochs: 4,
        ..WARM
    }
}

/// Server 3 was the leader, and its last proposal reached nobody.
const LEFT_TAIL: Bounds = left(&Left {
    committed: &[(1, 1)],
    disks: &[
        disk((1, 1), &[], &[(1, 1)]),
        disk((1, 1), &[], &[(1, 1)]),
        disk((1, 1), &[], &[(1, 1), (1, 2)]),
    ],
});

/// As [`LEFT_TAIL`], and meanwhile the others have committed something else.
const LEFT_TRUNC: Bounds = left(&Left {
    committed: &[(1, 1), (2, 1)],
    disks: &[
        disk((2, 2), &[], &[(1, 1), (2, 1)]),
        disk((2, 2), &[], &[(1, 1), (2, 1)]),
        disk((1, 1), &[], &[(1, 1), (1, 2)]),
    ],
});

/// Server 2 has a snapshot and no log, server 1 was away.
const LEFT_SNAP: Bounds = left(&Left {
    committed: &[(1, 1), (1, 2)],
    disks: &[
        disk((1, 1), &[], &[(1, 1)]),
        disk((1, 1), &[(1, 1), (1, 2)], &[]),
        disk((1, 1), &[], &[(1, 1), (1, 2)]),
    ],
});

/// As [`LEFT_SNAP`], with a log above the snapshot.
const LEFT_HOLE: Bounds = left(&Left {
    committed: &[(1, 1), (1, 2), (1, 3)],
    disks: &[
        disk((1, 1), &[], &[(1, 1)]),
        disk((1, 1), &[(1, 1), (1, 2)], &[(1, 3)]),
        disk((1, 1), &[(1, 1), (1, 2)], &[(1, 3)]),
    ],
});

/// Server 1 was away for a transaction, and elections go as they like.
const LEFT_AHEAD: Bounds = Bounds {
    grain: Grain::E0,
    disk: Disk::Atomic,
    ..left(&Left {
        committed: &[(1, 1), (1, 2)],
        disks: &[
            disk((1, 1), &[], &[(1, 1)]),
            disk((1, 1), &[], &[(1, 1), (1, 2)]),
            disk((1, 1), &[], &[(1, 1), (1, 2)]),
        ],
    })
};

/// Server 2 has led epoch 2 as far as its own currentEpoch, without the last transaction of server 3.
const LEFT_EPOCH: Bounds = left(&Left {
    committed: &[(1, 1)],
    disks: &[
        disk((2, 1), &[], &[(1, 1)]),
        disk((2, 2), &[], &[(1, 1)]),
        disk((1, 1), &[], &[(1, 1), (1, 2)]),
    ],
});

macro_rules! cage {
    ($switch:ident, $source:literal, $bounds:expr, $caught_by:literal, $steps:literal, $about:literal) => {
        Cage {
            bounds: Bounds {
                name: concat!("zoo/", stringify!($switch)),
                about: $about,
                switch: Some(Switch::$switch),
                ..$bounds
            },
            source: $source,
            expected: ($caught_by, $steps),
        }
    };
}

/// Every switch, in the order of [`Switch::ALL`].
#[rustfmt::skip]
pub const ALL: &[Cage] = &[
    cage!(EpochBeforeHistory, "ZOOKEEPER-4643, 4785", WARM.faults(3, 0), "?", 0,
        "currentEpoch is written before the history it stands for; three crashes later a server without a committed transaction wins"),
    cage!(LogSyncAfterUptodate, "ZOOKEEPER-3911", WARM.faults(2, 0), "?", 0,
        "what came before UPTODATE is logged after it, but NEWLEADER is acknowledged before"),
    cage!(AckNewleaderBeforeFsync, "ZOOKEEPER-4646", WARM.faults(2, 0), "?", 0,
        "NEWLEADER is acknowledged while its history waits for the disk"),
    cage!(AckProposalBeforeAckNewleader, "ZOOKEEPER-4685", WARM.faults(1, 0), "?", 0,
        "the ACK of a proposal overtakes the ACK of NEWLEADER"),
    cage!(AsyncApplyOfSyncTxns, "ZOOKEEPER-3023", WARM.faults(1, 0), "?", 0,
        "a learner serves before it has applied what it was synchronized with"),
    cage!(DropOutstandingAtNewleader, "ZOOKEEPER-4394", WARM.faults(1, 1), "?", 0,
        "NEWLEADER makes a learner forget the proposals that wait for their COMMIT"),
    cage!(VoteBeforeLogDrain, "ZOOKEEPER-4712, 4541, 4502, 4409", WARM.faults(1, 1), "?", 0,
        "an election begins while writes are on their way to the log"),
    cage!(SyncTxnsSkipCommittedLog, "ZOOKEEPER-4925", WARM.faults(2, 0), "?", 0,
        "synchronized transactions are missing in the list that serves DIFFs"),
    cage!(KeepDbAfterPartialTrunc, "ZOOKEEPER-5094", LEFT_TRUNC.faults(1, 1), "?", 0,
        "after TRUNC, transactions are in memory only until NEWLEADER, and outlive a broken synchronization there"),
    cage!(KeepDbAfterPartialSnap, "ZOOKEEPER-3642", LEFT_SNAP.faults(1, 1), "?", 0,
        "after SNAP, the tree is in memory only until NEWLEADER, and outlives a broken synchronization there"),
    cage!(VoteFromMemoryNotLog, "ZOOKEEPER-2845", WARM.faults(1, 1), "?", 0,
        "a vote reports what is applied and hides what is logged"),
    cage!(DiffBumpsLastProcessed, "ZOOKEEPER-2355", WARM.faults(1, 1), "?", 0,
        "DIFF moves the reported zxid to the leader's before its transactions have come"),
    cage!(NewleaderBeforeSnap, "ZOOKEEPER-3104, 3589", LEFT_SNAP.txns(4).faults(0, 0), "?", 0,
        "SNAP is read while the tree goes on changing, and NEWLEADER does not wait for what it lacks"),
    cage!(EpochAfterAck, "ZOOKEEPER-1282", LEFT_EPOCH.faults(1, 1).epochs(4), "?", 0,
        "currentEpoch is written at UPTODATE, after the ACK of NEWLEADER"),
    cage!(ForwardAfterReadNotAtomic, "ZOOKEEPER-962", WARM.faults(1, 0), "?", 0,
        "what is outstanding when a learner joins is neither in its history nor in its live stream"),
    cage!(DiffWithoutMembership, "ZOOKEEPER-1154", WARM.txns(3), "?", 0,
        "a DIFF because the zxid lies in the range, not because it is in the log"),
    cage!(TruncOffByOne, "ZOOKEEPER-1156", LEFT_TAIL.faults(0, 0), "?", 0,
        "TRUNC cuts one transaction too many"),
    cage!(TruncIgnoresSnapshots, "ZOOKEEPER-1549, 1558, 2832, 4837", LEFT_TAIL.faults(1, 1), "?", 0,
        "a server that begins to lead takes a snapshot of its uncommitted log, and TRUNC cuts only the log"),
    cage!(SnapshotUncommitted, "ZOOKEEPER-1549, 4837", LEFT_TAIL.faults(2, 0).epochs(4), "?", 0,
        "the same snapshot with the log under it dropped: no TRUNC can undo it"),
    cage!(DiffFromHoleyLog, "ZOOKEEPER-2846", LEFT_HOLE.faults(0, 0), "?", 0,
        "a DIFF is served from a log that has a hole under it"),
    cage!(NoSnapWhenMinUnknown, "ZOOKEEPER-4352", LEFT_SNAP.faults(0, 0), "?", 0,
        "a leader whose log is empty sends DIFF where SNAP is needed"),
    cage!(StaleCommittedLogRange, "ZOOKEEPER-3526", WARM.faults(1, 0), "?", 0,
        "the range of committed transactions is one of an earlier role, and TRUNC goes to its end"),
    cage!(TruncOutstanding, "found here (D-4)", WARM.faults(2, 1), "?", 0,
        "a returning learner drops a proposal whose ack still counts"),
    cage!(SnapBehindHistory, "found here (D-5)", WARM.txns(3).faults(1, 1), "?", 0,
        "SNAP carries an older tree than the leader's history"),
    cage!(AcceptedEpochVolatile, "ZOOKEEPER-335", COLD, "?", 0,
        "the promise of an epoch is forgotten in a crash"),
    cage!(AckEpochBeforePersist, "ZOOKEEPER-335", COLD.fine(), "?", 0,
        "LEADERINFO and ACKEPOCH are sent while acceptedEpoch waits for the disk"),
    cage!(EpochAckWrongFlag, "ZOOKEEPER-1192, 1194", COLD, "?", 0,
        "the leader does not wait for a quorum of ACKEPOCH"),
    cage!(CountSameEpochAck, "rule of the code", COLD.faults(1, 1), "?", 0,
        "the ACKEPOCH of a learner that had accepted the same epoch before is counted"),
    cage!(NoFollowerAheadCheck, "rule of the code", LEFT_AHEAD.faults(0, 0), "?", 0,
        "the leader does not ask whether a learner knows more than itself"),
    cage!(EpochMemBeforeDisk, "ZOOKEEPER-2307, 1653, 2354, 4269", COLD.fine(), "?", 0,
        "an acceptedEpoch whose write has failed is kept in memory"),
    cage!(BootRejectsLogAheadOfEpoch, "open question upstream (D-6)", WARM.txns(3), "?", 0,
        "a log whose epoch is above currentEpoch is refused at boot"),
    cage!(NoRolloverReelection, "ZOOKEEPER-1277", WARM.txns(4).counters(2), "?", 0,
        "the counter of an epoch runs over into the next epoch"),
    cage!(NoCheckLeader, "ZOOKEEPER-917, 975, 1514", ELECTION, "?", 0,
        "an election believes followers without their leader's own word"),
    cage!(NoVoteUpdateAfterSync, "ZOOKEEPER-1732, 1805, 1817, 1818", ELECTION, "?", 0,
        "a follower goes on reporting the epoch of its vote after it has a new one"),
    cage!(QuorumIsHalf, "–", COLD.servers(2).faults(0, 0), "?", 0,
        "half of the voters decide"),
    cage!(Pr1848, "ZOOKEEPER-3023, pull request 1848", WARM.faults(3, 0), "?", 0,
        "synchronized transactions are logged and applied at once, with currentEpoch before them"),
    cage!(Pr1930, "ZOOKEEPER-4541, pull request 1930", WARM.faults(1, 0), "?", 0,
        "the history is written before ACK of NEWLEADER, by a thread that acknowledges on its own"),
    cage!(Pr1993, "ZOOKEEPER-4646, pull request 1993", WARM.faults(1, 1), "?", 0,
        "what is outstanding is flushed before ACK of NEWLEADER and then forgotten, with currentEpoch before it"),
    cage!(Pr2111, "ZOOKEEPER-4785, pull request 2111", WARM.faults(1, 1), "?", 0,
        "logged and applied in order, with what is outstanding forgotten at NEWLEADER"),
    cage!(Fix3911, "ZOOKEEPER-3911, its fix", WARM.faults(2, 0), "?", 0,
        "logged by another thread before ACK of NEWLEADER"),
    cage!(ProposeToAckedOnly, "Z1", WARM.txns(3), "?", 0,
        "PROPOSAL goes only to learners that have acknowledged NEWLEADER"),
    cage!(NoDuplicateProposalDrop, "Z2", WARM.txns(3), "?", 0,
        "a learner gets a proposal in its history and once more as PROPOSAL"),
    cage!(UptodateWithAckZxid, "Z3", WARM.txns(3), "?", 0,
        "COMMIT goes only to learners that have acknowledged NEWLEADER, and UPTODATE does not make up for it"),
    cage!(NoImplicitAcks, "Z5", WARM.faults(1, 1), "?", 0,
        "what a learner was synchronized with and had not been committed is never acknowledged"),
    cage!(LeaderinfoTwice, "Z6", COLD, "?", 0,
        "a learner that comes late has LEADERINFO sent to those who have had it"),
    cage!(ServeBeforeQuorumBroadcast, "Z7", WARM.faults(2, 0), "?", 0,
        "a leader serves when its own epoch is written, before a quorum has acknowledged NEWLEADER"),
    cage!(LeaderAckBeforeFsync, "found by the anchors' gap", WARM.faults(2, 0), "?", 0,
        "the leader counts itself before its own fsync"),
    cage!(AckProposalBeforeFsync, "forceSync=no", WARM.faults(2, 0), "?", 0,
        "a follower acknowledges a proposal before its fsync"),
    cage!(FsyncRetried, "fsync errors in general", WARM.faults(2, 0), "?", 0,
        "a failed write is taken for durable"),
];
