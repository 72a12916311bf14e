//! The bug zoo: every switch with the smallest configuration known to expose it, and how it is caught there.
//!
//! `model/README.md` shows this table to readers; a test keeps the two the same.

use super::bounds::{BASE, Bounds, Disk, GROUPS, Grain, Left, LeftDisk, Start, elections};
use super::cluster::Log;
use super::explore::{Explored, NO_WEDGE, Options, Progress, VOTES_END, explore};
use super::model::Zab;
use super::properties;
use crate::invariants::InvariantSet;
use crate::switch::Switch;
use alloc::boxed::Box;
use alloc::vec::Vec;
use std::io;

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

/// The search for a second catch goes this far.
pub const SECOND_STATES_MAX: u64 = 1_000_000;

/// And allows so many crashes more.
pub const SECOND_CRASHES_MORE: u8 = 2;

impl Cage {
    /// Whether that is its name, with or without `zoo/`.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.bounds.name.trim_start_matches("zoo/") == name.trim_start_matches("zoo/")
    }
}

/// What catches a bug when the invariant that catches it first is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Second {
    /// The bug is not caught at all.
    NotCaught,
    /// The state that breaks the first one breaks others with it.
    Together(Vec<&'static str>),
    /// A later state breaks another: which does, after how many steps.
    Later {
        /// The one that is left out.
        without: &'static str,
        /// The other.
        by: &'static str,
        /// The steps to it.
        steps: usize,
    },
    /// Nothing else is broken: `complete` if every configuration was seen whole, else within [`SECOND_STATES_MAX`].
    Survives {
        /// The one that is left out.
        without: &'static str,
        /// How many states of the last one were seen.
        distinct: u64,
        /// Whether there are no more.
        complete: bool,
    },
}

impl Second {
    /// The invariant without which the bug survives.
    #[must_use]
    pub const fn survives_without(&self) -> Option<&'static str> {
        match self {
            Self::Survives { without, .. } => Some(without),
            Self::NotCaught | Self::Together(_) | Self::Later { .. } => None,
        }
    }
}

impl core::fmt::Display for Second {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotCaught => write!(f, "is not caught"),
            Self::Together(names) => write!(f, "is caught at once by \"{}\"", names.join("\", \"")),
            Self::Later { without, by, steps } => {
                write!(f, "without \"{without}\": \"{by}\" after {steps} steps")
            }
            Self::Survives {
                without,
                distinct,
                complete,
            } => {
                let all = if *complete { "all" } else { "the first" };
                write!(f, "without \"{without}\": survives {all} {distinct} states")
            }
        }
    }
}

/// The shortest way to a bug.
///
/// # Errors
/// Of temporary files.
pub fn first_catch(model: &Zab) -> io::Result<Explored> {
    look(model, STATES_MAX, Ignored::default())
}

/// What is not asked.
#[derive(Clone, Copy, Default)]
struct Ignored {
    /// Invariants.
    invariants: InvariantSet,
    /// [`NO_WEDGE`] and [`VOTES_END`], where the configuration asks them.
    wedges: bool,
}

fn look(model: &Zab, states_max: u64, ignored: Ignored) -> io::Result<Explored> {
    let options = Options {
        states_max,
        ignored: ignored.invariants,
        liveness: model.bounds.liveness && !ignored.wedges,
        ..Options::default()
    };
    explore(model, &options, &Progress::default())
}

/// The configuration of a cage with its bug off, explored as far as the search for a second catch.
///
/// # Errors
/// Of temporary files.
pub fn without_bug(cage: &Cage) -> io::Result<(Zab, Explored)> {
    let bounds = Bounds {
        switch: None,
        ..cage.bounds
    };
    let model = Zab::new(Box::leak(Box::new(bounds)));
    let found = look(&model, SECOND_STATES_MAX, Ignored::default())?;
    Ok((model, found))
}

/// Leaves out the invariant that catches a bug first, and looks for another: in the same configuration,
/// then with one crash and one epoch more, and so on.
///
/// # Errors
/// Of temporary files.
pub fn second_catch(cage: &'static Cage, crashes_more: u8) -> io::Result<Second> {
    let model = Zab::new(&cage.bounds);
    let Some(first) = first_catch(&model)?.violation else {
        return Ok(Second::NotCaught);
    };
    let log = &mut Log::default();
    let mut cluster = model.initial()[first.initial];
    for action in first.actions {
        model.apply(&mut cluster, action, log);
    }
    let broken = properties::broken(&cluster, &model.world, log);
    if broken.iter().count() > 1 {
        let all = broken.iter().map(|i| i.name);
        return Ok(Second::Together(all.collect()));
    }
    let without = first.invariant;
    let ignored = Ignored {
        invariants: broken,
        wedges: [NO_WEDGE, VOTES_END].contains(&without),
    };
    let (mut distinct, mut complete) = (0, true);
    // What breaks only when a loss has come true may take further crashes.
    for more in 0..=crashes_more {
        let wider = Bounds {
            crashes: cage.bounds.crashes + more,
            faults: cage.bounds.faults + more,
            epochs: cage.bounds.epochs + more,
            ..cage.bounds
        };
        let model = Zab::new(Box::leak(Box::new(wider)));
        let rest = look(&model, SECOND_STATES_MAX, ignored)?;
        if let Some(v) = rest.violation {
            return Ok(Second::Later {
                without,
                by: v.invariant,
                steps: v.actions.len(),
            });
        }
        distinct = rest.distinct;
        complete &= rest.complete;
    }
    Ok(Second::Survives {
        without,
        distinct,
        complete,
    })
}

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

    const fn reconfigs(mut self, reconfigs: u8, targets: &'static [u8]) -> Self {
        self.reconfigs = reconfigs;
        self.targets = targets;
        self
    }

    const fn observers(mut self, observers: u8) -> Self {
        self.observers = observers;
        self
    }

    const fn zookeeper_leader(mut self) -> Self {
        self.zookeeper_leader = true;
        self
    }

    const fn page_cache(mut self) -> Self {
        self.page_cache = true;
        self
    }

    const fn live(mut self) -> Self {
        self.liveness = true;
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

/// A cold start in which the best is elected, the disk within the step.
const REELECT: Bounds = Bounds {
    grain: Grain::E1,
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
        lists: &[],
        activated: 0,
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
const LEFT_SNAP: Bounds = left(&SNAP_LEFT);

/// That.
pub(super) const SNAP_LEFT: Left = Left {
    committed: &[(1, 1), (1, 2)],
    disks: &[
        disk((1, 1), &[], &[(1, 1)]),
        disk((1, 1), &[(1, 1), (1, 2)], &[]),
        disk((1, 1), &[], &[(1, 1), (1, 2)]),
    ],
};

/// Whoever leads has a snapshot and no log, and the observer was away.
pub(super) const OBSERVER_LEFT: Left = Left {
    committed: &[(1, 1), (1, 2)],
    disks: &[
        disk((1, 1), &[(1, 1), (1, 2)], &[]),
        disk((1, 1), &[(1, 1), (1, 2)], &[]),
        disk((1, 1), &[(1, 1), (1, 2)], &[]),
        disk((1, 1), &[], &[(1, 1)]),
    ],
};

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

/// Server 3 led epoch 3, and its last proposal reached nobody; server 1 has the end of an epoch that no one else knows.
pub(super) const BASE_LEFT: Left = Left {
    committed: &[(1, 1), (3, 1)],
    disks: &[
        disk((2, 2), &[], &[(1, 1), (2, 1)]),
        disk((3, 3), &[], &[(1, 1), (3, 1)]),
        disk((3, 3), &[], &[(1, 1), (3, 1), (3, 2)]),
    ],
};

/// A leader without a quorum sends server 1 its history as SNAP; the next leader has less of it.
const LEFT_BASE: Bounds = Bounds {
    txns: 0,
    epochs: 6,
    liveness: true,
    ..left(&BASE_LEFT)
};

/// Elections after a leader was lost in the middle of a reconfiguration.
const fn lists(left: &'static [Left]) -> Bounds {
    Bounds {
        start: Start::AnyOf(left),
        ..elections::ELECTIONS
    }
}

/// Of servers 1 and 2, while server 3 gets a vote.
const JOINING: Bounds = Bounds {
    servers: 2,
    joiners: 1,
    ..lists(elections::LEFT_JOINING)
};

/// Of all three, while server 3 loses its vote.
const LEAVING: Bounds = Bounds {
    targets: &[0b011],
    ..lists(elections::LEFT_LEAVING)
};

/// Three groups of which one has a single member.
const GROUPED: Bounds = Bounds {
    servers: 5,
    groups: GROUPS,
    grain: Grain::E1,
    crashes: 0,
    disconnects: 0,
    faults: 0,
    ..BASE
};

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
    cage!(EpochBeforeHistory, "ZOOKEEPER-4643, 4785", WARM.faults(1, 0), "committed is durable", 9,
        "currentEpoch is written before the history it stands for; three crashes later a server without a committed transaction wins"),
    cage!(LogSyncAfterUptodate, "ZOOKEEPER-3911", WARM.faults(1, 0), "committed is durable", 10,
        "what came before UPTODATE is logged after it, but NEWLEADER is acknowledged before"),
    cage!(AckNewleaderBeforeFsync, "ZOOKEEPER-4646", WARM.faults(1, 0), "committed is durable", 9,
        "NEWLEADER is acknowledged while its history waits for the disk"),
    cage!(AckProposalBeforeAckNewleader, "ZOOKEEPER-4685", WARM.faults(1, 0), "no bad packet", 7,
        "the ACK of a proposal overtakes the ACK of NEWLEADER"),
    cage!(AsyncApplyOfSyncTxns, "ZOOKEEPER-3023", WARM.faults(1, 0), "commit consistency", 11,
        "a learner serves before it has applied what it was synchronized with"),
    cage!(DropOutstandingAtNewleader, "ZOOKEEPER-4394", WARM.faults(1, 0), "no bad packet", 10,
        "NEWLEADER makes a learner forget the proposals that wait for their COMMIT"),
    cage!(VoteBeforeLogDrain, "ZOOKEEPER-4712, 4541, 4502, 4409", WARM.faults(0, 1), "no bad packet", 6,
        "an election begins while writes are on their way to the log"),
    cage!(SyncTxnsSkipCommittedLog, "ZOOKEEPER-4925", WARM.faults(2, 0), "committed is durable", 19,
        "synchronized transactions are missing in the list that serves DIFFs"),
    cage!(KeepDbAfterPartialTrunc, "ZOOKEEPER-5094", LEFT_TRUNC.faults(0, 1), "committed is durable", 11,
        "after TRUNC, transactions are in memory only until NEWLEADER, and outlive a broken synchronization there"),
    cage!(KeepDbAfterPartialSnap, "ZOOKEEPER-3642", LEFT_SNAP.faults(0, 1), "committed is durable", 9,
        "after SNAP, the tree is in memory only until NEWLEADER, and outlives a broken synchronization there"),
    cage!(VoteFromMemoryNotLog, "ZOOKEEPER-2845", WARM.faults(1, 0), "no bad packet", 7,
        "a vote reports what is applied and hides what is logged"),
    cage!(DiffBumpsLastProcessed, "ZOOKEEPER-2355", WARM.faults(1, 1), "committed is durable", 12,
        "DIFF moves the reported zxid to the leader's before its transactions have come"),
    cage!(NewleaderBeforeSnap, "ZOOKEEPER-3104, 3589", LEFT_SNAP.txns(4).faults(0, 0), "committed is durable", 23,
        "SNAP is read while the tree goes on changing, and NEWLEADER does not wait for what it lacks"),
    cage!(EpochAfterAck, "ZOOKEEPER-1282", LEFT_EPOCH.faults(0, 0).epochs(4), "committed is durable", 8,
        "currentEpoch is written at UPTODATE, after the ACK of NEWLEADER"),
    cage!(ForwardAfterReadNotAtomic, "ZOOKEEPER-962", WARM.faults(1, 0), "quiescence is agreement", 7,
        "what is outstanding when a learner joins is neither in its history nor in its live stream"),
    cage!(DiffWithoutMembership, "ZOOKEEPER-1154", WARM.txns(3), "committed is durable", 23,
        "a DIFF because the zxid lies in the range, not because it is in the log"),
    cage!(TruncOffByOne, "ZOOKEEPER-1156", LEFT_TAIL.faults(0, 0), "committed is durable", 6,
        "TRUNC cuts one transaction too many"),
    cage!(TruncIgnoresSnapshots, "ZOOKEEPER-1549, 1558, 2832, 4837", LEFT_TAIL.faults(1, 0), "primary integrity", 12,
        "a server that begins to lead takes a snapshot of its uncommitted log, and TRUNC cuts only the log"),
    cage!(SnapshotUncommitted, "ZOOKEEPER-1549, 4837", LEFT_TAIL.txns(2).faults(1, 0).live(), "no wedge", 4,
        "the same snapshot with the log under it dropped: no TRUNC can undo it"),
    cage!(DiffFromHoleyLog, "ZOOKEEPER-2846", LEFT_HOLE.faults(0, 0), "no bad packet", 3,
        "a DIFF is served from a log that has a hole under it"),
    cage!(NoSnapWhenMinUnknown, "ZOOKEEPER-4352", LEFT_SNAP.faults(0, 0), "committed is durable", 4,
        "a leader whose log is empty sends DIFF where SNAP is needed"),
    cage!(StaleCommittedLogRange, "ZOOKEEPER-3526", WARM.faults(1, 0), "committed is durable", 11,
        "the range of committed transactions is one of an earlier role, and TRUNC goes to its end"),
    cage!(TruncOutstanding, "found here (D-4)", WARM.faults(1, 0), "committed is durable", 8,
        "a returning learner drops a proposal whose ack still counts"),
    cage!(HoldingIsAcking, "found here (D-4)", LEFT_TAIL.faults(1, 0), "committed is durable", 13,
        "what a returning learner has in its log counts as acknowledged by it, although it votes with an older epoch"),
    cage!(TruncBelowSnapshotRefused, "found here (D-16)", LEFT_BASE, "no wedge", 7,
        "a learner that is told to TRUNC below its snapshot refuses, each time anew"),
    cage!(SnapBehindHistory, "found here (D-5)", WARM.txns(3).faults(1, 1), "committed is durable", 21,
        "SNAP carries an older tree than the leader's history"),
    cage!(AcceptedEpochVolatile, "ZOOKEEPER-335", COLD, "one leader per epoch", 13,
        "the promise of an epoch is forgotten in a crash"),
    cage!(AckEpochBeforePersist, "ZOOKEEPER-335", COLD.fine(), "one leader per epoch, ever", 13,
        "LEADERINFO and ACKEPOCH are sent while acceptedEpoch waits for the disk"),
    cage!(EpochAckWrongFlag, "ZOOKEEPER-1192, 1194", COLD, "one leader per epoch", 9,
        "the leader does not wait for a quorum of ACKEPOCH"),
    cage!(CountSameEpochAck, "a rule of ZooKeeper's code", COLD.faults(1, 1), "one leader per epoch", 18,
        "the ACKEPOCH of a learner that had accepted the same epoch before is counted"),
    cage!(NoFollowerAheadCheck, "a rule of ZooKeeper's code", LEFT_AHEAD.faults(0, 0), "committed is durable", 6,
        "the leader does not ask whether a learner knows more than itself"),
    cage!(EpochMemBeforeDisk, "ZOOKEEPER-2307, 1653, 2354, 4269", COLD.fine(), "every disk image boots", 8,
        "an acceptedEpoch whose write has failed is kept in memory"),
    cage!(BootRejectsLogAheadOfEpoch, "open question upstream (D-6)", WARM.txns(3), "every disk image boots", 13,
        "a log whose epoch is above currentEpoch is refused at boot"),
    cage!(NoRolloverReelection, "ZOOKEEPER-1277", WARM.txns(4).counters(2), "a zxid is proposed once", 10,
        "the counter of an epoch runs over into the next epoch"),
    cage!(NoCheckLeader, "ZOOKEEPER-917, 975, 1514", ELECTION, "elections are backed", 11,
        "an election believes followers without their leader's own word"),
    cage!(NoVoteUpdateAfterSync, "ZOOKEEPER-1732, 1805, 1817, 1818", ELECTION, "a formed ensemble is joined", 10,
        "a follower goes on reporting the epoch of its vote after it has a new one"),
    cage!(SingleVoteElects, "a textbook mistake", ELECTION, "elections are backed", 2,
        "one vote of another server is taken for a quorum of them"),
    cage!(SettledCountApart, "found here", ELECTION, "a quorum is noticed", 6,
        "a server that looks does not count its own vote with those of its round that follow already"),
    cage!(QuorumIsHalf, "a textbook mistake", COLD.servers(2).faults(0, 0), "one leader per epoch", 2,
        "half of the voters decide"),
    cage!(GroupByAnyMember, "a textbook mistake", GROUPED, "one leader per epoch", 2,
        "a group is won by any one of its members, so that two quorums need not meet"),
    cage!(Pr1848, "ZOOKEEPER-3023, pull request 1848", WARM.faults(1, 0), "committed is durable", 9,
        "synchronized transactions are logged and applied at once, with currentEpoch before them"),
    cage!(Pr1930, "ZOOKEEPER-4541, pull request 1930", WARM.faults(1, 0), "no bad packet", 7,
        "the history is written before ACK of NEWLEADER, by a thread that acknowledges on its own"),
    cage!(Pr1993, "ZOOKEEPER-4646, pull request 1993", WARM.faults(1, 0), "committed is durable", 9,
        "what is outstanding is flushed before ACK of NEWLEADER and then forgotten, with currentEpoch before it"),
    cage!(Pr2111, "ZOOKEEPER-4785, pull request 2111", WARM.faults(1, 0), "no bad packet", 10,
        "logged and applied in order, with what is outstanding forgotten at NEWLEADER"),
    cage!(Fix3911, "ZOOKEEPER-3911, its fix", WARM.faults(1, 0), "committed is durable", 9,
        "logged by another thread before ACK of NEWLEADER"),
    cage!(ProposeToAckedOnly, "Z1", WARM.txns(3), "quiescence is agreement", 10,
        "PROPOSAL goes only to learners that have acknowledged NEWLEADER"),
    cage!(NoDuplicateProposalDrop, "Z2", WARM.txns(3), "no bad packet", 6,
        "a learner gets a proposal in its history and once more as PROPOSAL"),
    cage!(UptodateWithAckZxid, "Z3", WARM.txns(3), "quiescence is agreement", 13,
        "COMMIT goes only to learners that have acknowledged NEWLEADER, and UPTODATE does not make up for it"),
    cage!(NoImplicitAcks, "Z5", WARM.faults(1, 1), "quiescence is agreement", 12,
        "what a learner was synchronized with and had not been committed is never acknowledged"),
    cage!(LeaderinfoTwice, "Z6", COLD, "no bad packet", 9,
        "a learner that comes late has LEADERINFO sent to those who have had it"),
    cage!(ServeBeforeQuorumBroadcast, "Z7", WARM.faults(1, 0), "committed is durable", 4,
        "a leader serves when its own epoch is written, before a quorum has acknowledged NEWLEADER"),
    cage!(LeaderAckBeforeFsync, "ZAB: a quorum has it on disk", WARM.faults(0, 0), "committed is durable", 3,
        "the leader counts itself before its own fsync"),
    cage!(AckProposalBeforeFsync, "the option forceSync=no", WARM.faults(0, 0), "committed is durable", 3,
        "a follower acknowledges a proposal before its fsync"),
    cage!(FsyncRetried, "fsync that fails", WARM.faults(1, 0), "committed is durable", 4,
        "a failed write is taken for durable"),
    cage!(BootTrustsPageCache, "found here (D-26)", WARM.faults(1, 0).page_cache(), "committed is durable", 10,
        "what a process that died had written is taken for durable by the next start"),
    cage!(RestartTrustsCleanPages, "fsync that fails, then a restart (D-26)", WARM.faults(1, 0).page_cache(), "committed is durable", 11,
        "a start syncs what it has read, although a sync that failed has left its pages clean"),
    cage!(ObserverInDiscovery, "a textbook mistake", COLD.faults(0, 0).observers(1), "one leader per epoch", 12,
        "FOLLOWERINFO and ACKEPOCH of an observer count, so two leaders need not have a voter in common"),
    cage!(ObserverInNewLeader, "a textbook mistake", WARM.faults(1, 0).observers(1), "committed is durable", 13,
        "an observer's ACK of NEWLEADER counts, so the history is on too few voters' disks"),
    cage!(InformBeforeCommit, "a textbook mistake", WARM.faults(0, 0).observers(1), "quiescence is agreement", 1,
        "INFORM is sent when a transaction is proposed"),
    cage!(ObserverGetsOutstanding, "a textbook mistake", WARM.faults(1, 0).observers(1), "no bad packet", 10,
        "an observer that joins gets outstanding proposals, and each again as INFORM"),
    cage!(ReconfigOldQuorumOnly, "a textbook mistake", REELECT.txns(1).faults(0, 1).epochs(3).reconfigs(1, &[0b100]), "committed is durable", 13,
        "until a reconfiguration is committed, the old list decides alone"),
    cage!(ReconfigNewQuorumOnly, "a textbook mistake", REELECT.txns(1).faults(0, 1).epochs(3).reconfigs(1, &[0b100]), "committed is durable", 5,
        "until a reconfiguration is committed, the new list decides alone"),
    cage!(ActivateAtProposal, "a textbook mistake", WARM.txns(2).faults(1, 1).epochs(3).reconfigs(1, &[0b100]), "what is active is committed", 1,
        "a configuration is active as soon as it is in the log"),
    cage!(NextConfigVolatile, "a textbook mistake", WARM.txns(2).faults(2, 1).epochs(3).reconfigs(1, &[0b100]), "one leader per epoch", 14,
        "a server forgets in a crash that its log holds a newer configuration"),
    cage!(NextConfigSurvivesTrunc, "a textbook mistake", WARM.txns(3).faults(1, 0).epochs(3).reconfigs(1, &[0b100]), "what is active is committed", 26,
        "a TRUNC drops a reconfiguration from the log, and not from memory"),
    cage!(TwoReconfigsAtOnce, "a textbook mistake", WARM.txns(2).faults(1, 1).epochs(3).reconfigs(2, &[0b100, 0b010]), "what is active is committed", 2,
        "a second reconfiguration is proposed before the first one is committed"),
    cage!(ActivateAtSyncCommit, "a textbook mistake", WARM.txns(2).faults(2, 1).epochs(4).reconfigs(1, &[0b100]), "what is active is committed", 8,
        "a COMMIT of the initial history activates"),
    cage!(SnapWithoutConfig, "a textbook mistake", REELECT.txns(1).faults(2, 0).epochs(3).reconfigs(1, &[0b010]), "one leader per epoch", 23,
        "SNAP leaves the learner with the lists that it had"),
    cage!(ElectedByOldList, "a textbook mistake", LEAVING.faults(0, 0), "elections are backed", 2,
        "while two lists bind, an election is won by a quorum of the old one"),
    cage!(ElectedByNewList, "a textbook mistake", JOINING.faults(0, 0), "elections are backed", 2,
        "while two lists bind, an election is won by a quorum of the new one"),
    cage!(GuestVoteCounts, "a textbook mistake", LEAVING.faults(0, 0), "elections are backed", 2,
        "the vote of a server that has none is counted"),
    cage!(CandidateWithoutVote, "found here", LEAVING.faults(0, 0), "elections are the oracle's", 4,
        "a server that has lost its vote stands for itself, and leads again where others still name it"),
    cage!(AnswersWithoutEnd, "found here (D-129)", JOINING.faults(0, 0), "an exchange of votes ends", 3,
        "two servers of which one does not count the other answer each other's answers for ever"),
    cage!(OwnCandidatesOnly, "found here (D-130)", JOINING.faults(0, 0), "no wedge", 1,
        "a joiner has the best history, and a voter that lacks its list does not vote for it: no quorum, for ever"),
    cage!(FollowNeedsBothLists, "a textbook mistake", lists(elections::LEFT_BEHIND).reconfigs(1, &[0b100]).faults(1, 0), "a formed ensemble is joined", 14,
        "a server that is bound by a list which others lack does not follow whom they follow"),
    cage!(UnlistedLeaderNotAsked, "a textbook mistake", Bounds { joiners: 1, rounds: 3, ..lists(elections::LEFT_ALONE) }.reconfigs(1, &[0b1000]).faults(0, 0), "no wedge", 0,
        "nobody asks a leader that its own lists lack, so who has missed a reconfiguration finds none"),
    cage!(FollowerForgetsToApply, "a textbook mistake", WARM.faults(0, 0), "quiescence is agreement", 1,
        "a follower does not apply what it is told to be committed"),
    cage!(LeaderForgetsToApply, "a textbook mistake", REELECT.faults(0, 0), "quiescence is agreement", 9,
        "a leader does not apply what it commits"),
    cage!(NoInitLimit, "a rule of ZooKeeper's code", WARM.faults(2, 0).epochs(4).live(), "no wedge", 6,
        "a leader that cannot form a quorum goes on trying, while others form one without it"),
    cage!(NoStepDown, "a rule of ZooKeeper's code", WARM.faults(2, 0).live(), "no wedge", 3,
        "a leader that has lost its quorum goes on leading, while others elect another one"),
    cage!(SnapDuplicateRefused, "found here (D-20)", LEFT_SNAP.txns(3).faults(0, 0).zookeeper_leader(), "no bad packet", 17,
        "a learner of a ZooKeeper leader refuses to hear once more of what SNAP has brought"),
    cage!(PingAnsweredEarly, "found here (D-21)", WARM.faults(1, 0).zookeeper_leader(), "no bad packet", 8,
        "a learner of a ZooKeeper leader answers PING before it acknowledges NEWLEADER"),
];
