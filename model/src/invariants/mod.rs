//! The invariants of SPEC.md §9 as values: each is a function over a [`View`] of a cluster, or over two of them.
//!
//! A view is plain data. The checker projects it from every cluster that it reaches, a simulator or a test of running
//! servers from what it can see of these. So one definition judges all of them:
//!
//! ```
//! use zabra_model::invariants::{self, Past, View};
//!
//! let past = Past::default();
//! let empty = View { servers: &[], conducts: &[], links: &[], past: &past };
//! assert!(invariants::broken(&empty).is_empty());
//! ```
//!
//! [`rules`] has the functions, [`view`] what they see of servers and connections, [`past`] what an observer
//! remembers. Whoever projects only servers, without their conduct and connections, asks only what [`Asks::Servers`]
//! answers; the others hold of nothing.

pub mod past;
pub mod rules;
mod rules_of_steps;
mod verdict;
pub mod view;

pub use past::{Observation, Past, Violation, Violations};
pub use verdict::{Broken, Verdict};
pub use view::{Conduct, Connection, Doing, Kept, Server, View};

use alloc::vec::Vec;

/// Which part of a view an invariant depends on, beside what was observed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// [`View::servers`]. The checker asks once for all clusters whose servers look the same.
    Servers,
    /// [`View::conducts`] and [`View::links`].
    Talk,
}

/// An invariant of every state.
#[derive(Clone, Copy, Debug)]
pub struct Invariant {
    /// Its name in SPEC.md §9.
    pub id: &'static str,
    /// Its name in reports.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// What it depends on.
    pub asks: Asks,
    /// Whether it holds.
    pub holds: fn(&View<'_>) -> Verdict,
}

/// An invariant of every step: of the views before and after it. A crash is a step, a start is another.
#[derive(Clone, Copy, Debug)]
pub struct StepInvariant {
    /// Its name in SPEC.md §9.
    pub id: &'static str,
    /// Its name in reports.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// Whether it holds.
    pub holds: fn(&View<'_>, &View<'_>) -> Verdict,
}

/// All invariants of states, in the order of SPEC.md §9.
pub const ALL: &[Invariant] = &[
    Invariant {
        id: "I-1",
        name: "one leader per epoch",
        says: "at any time, at most one server is past discovery as leader of an epoch",
        asks: Asks::Servers,
        holds: rules::one_leader_now,
    },
    Invariant {
        id: "I-2",
        name: "one leader per epoch, ever",
        says: "nor were there two at different times",
        asks: Asks::Servers,
        holds: rules::one_leader_ever,
    },
    Invariant {
        id: "I-3",
        name: "integrity",
        says: "what a serving server has applied was proposed by somebody",
        asks: Asks::Servers,
        holds: rules::integrity,
    },
    Invariant {
        id: "I-4",
        name: "agreement",
        says: "of two applied transactions at two servers, one server has applied both",
        asks: Asks::Servers,
        holds: rules::agreement,
    },
    Invariant {
        id: "I-5",
        name: "total order",
        says: "whoever applies b has applied before it all that anyone applied before b",
        asks: Asks::Servers,
        holds: rules::total_order,
    },
    Invariant {
        id: "I-6",
        name: "local primary order",
        says: "for all proposals of an epoch: whoever applies the later one has applied the earlier one before it",
        asks: Asks::Servers,
        holds: rules::local_primary_order,
    },
    Invariant {
        id: "I-7",
        name: "global primary order",
        says: "epochs are applied in increasing order",
        asks: Asks::Servers,
        holds: rules::global_primary_order,
    },
    Invariant {
        id: "I-8",
        name: "primary integrity",
        says: "before its first proposal, a leader has what its followers applied of earlier epochs",
        asks: Asks::Servers,
        holds: rules::primary_integrity,
    },
    Invariant {
        id: "I-9",
        name: "leader log completeness",
        says: "the initial history of each established epoch begins with everything committed in earlier epochs",
        asks: Asks::Servers,
        holds: rules::leader_log_completeness,
    },
    Invariant {
        id: "I-10",
        name: "committed is durable",
        says: "whichever quorum of disks elects, the best of its votes is that of a server with everything committed",
        asks: Asks::Servers,
        holds: rules::committed_is_durable,
    },
    Invariant {
        id: "I-11",
        name: "history consistency",
        says: "after NEWLEADER, participants of an epoch have comparable histories",
        asks: Asks::Servers,
        holds: rules::history_consistency,
    },
    Invariant {
        id: "I-12",
        name: "no bad packet",
        says: "nobody gets a packet that its phase can never get",
        asks: Asks::Servers,
        holds: |v| rules::never(v, Violation::BadPacket),
    },
    Invariant {
        id: "I-13",
        name: "a zxid is proposed once",
        says: "no zxid is proposed twice, so zxids may stand for payloads",
        asks: Asks::Servers,
        holds: |v| rules::never(v, Violation::ZxidReused),
    },
    Invariant {
        id: "I-14",
        name: "every disk image boots",
        says: "after a crash of either kind at any point, with any prefix of the writes that were not synced",
        asks: Asks::Servers,
        holds: rules::every_image_boots,
    },
    Invariant {
        id: "I-15",
        name: "commit consistency",
        says: "whoever serves in an epoch has applied the initial history of it",
        asks: Asks::Servers,
        holds: rules::commit_consistency,
    },
    Invariant {
        id: "I-16",
        name: "quiescence is agreement",
        says: "a leader has applied what it has committed; a learner that serves and has nothing more to hear has its \
               leader's log and commits, and has applied them; when nothing is on the way between a leader, a serving \
               quorum and their disks, nothing waits to be committed",
        asks: Asks::Talk,
        holds: rules::quiescence_is_agreement,
    },
    Invariant {
        id: "I-17",
        name: "a formed ensemble is joined",
        says: "a looking server that has heard every member of a formed ensemble, as they are now, has joined it",
        asks: Asks::Talk,
        holds: rules::formed_ensemble_is_joined,
    },
    Invariant {
        id: "I-18",
        name: "elections are backed",
        says: "an election ends by a quorum of its own round that has the same vote, or by a quorum, by one of \
               its server's lists, of those outside it that follow one leader, which has said itself that it leads",
        asks: Asks::Servers,
        holds: |v| rules::never(v, Violation::UnbackedElection),
    },
    Invariant {
        id: "I-19",
        name: "observers learn what is committed",
        says: "what a serving observer has applied is the beginning of what the voters have committed",
        asks: Asks::Servers,
        holds: rules::observers_learn,
    },
    Invariant {
        id: "I-20",
        name: "what is active is committed",
        says: "a configuration that a server takes for active is committed",
        asks: Asks::Servers,
        holds: rules::active_is_committed,
    },
    Invariant {
        id: "I-21",
        name: "elections are the oracle's",
        says: "whoever begins to lead under E2 was looking and may lead; whom a looking server follows is a voter; \
               whoever is connected to a leader finds it leading",
        asks: Asks::Servers,
        holds: |v| rules::never(v, Violation::NotOfTheOracle),
    },
    Invariant {
        id: "I-25",
        name: "a quorum is noticed",
        says: "a looking server with whom a quorum of its round agrees, those included that follow already, is about to decide",
        asks: Asks::Servers,
        holds: |v| rules::never(v, Violation::UnnoticedQuorum),
    },
];

/// All invariants of steps.
pub const STEPS: &[StepInvariant] = &[
    StepInvariant {
        id: "I-22",
        name: "promises are kept",
        says: "no step leaves on a disk a smaller acceptedEpoch or currentEpoch than was there before, or than its \
               server has told others: by LEADERINFO or ACKEPOCH, by NEWLEADER's ACK",
        holds: rules_of_steps::promises_are_kept,
    },
    StepInvariant {
        id: "I-23",
        name: "what is committed stays",
        says: "what was committed before a step is the beginning of what is committed after it; and a server that \
               serves on in one epoch takes back nothing that it has applied",
        holds: rules_of_steps::commits_stay,
    },
    StepInvariant {
        id: "I-24",
        name: "an epoch is established once",
        says: "an established epoch keeps its leader and its initial history",
        holds: rules_of_steps::epochs_are_established_once,
    },
];

/// A set of invariants, by their places in [`ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct InvariantSet(u32);

impl InvariantSet {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Adds the one at that place of [`ALL`].
    pub const fn insert(&mut self, at: usize) {
        self.0 |= 1 << at;
    }

    /// Whether the one at that place of [`ALL`] is in it.
    #[must_use]
    pub const fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in it, in the order of [`ALL`].
    pub fn iter(self) -> impl Iterator<Item = &'static Invariant> {
        let all = ALL.iter().enumerate();
        all.filter_map(move |(at, invariant)| self.has(at).then_some(invariant))
    }
}

/// The places of those that ask for one part of a view. Known when this is compiled.
const fn places(asked: Asks) -> InvariantSet {
    let mut set = InvariantSet::NONE;
    let mut at = 0;
    while at < ALL.len() {
        if ALL[at].asks as u8 == asked as u8 {
            set.insert(at);
        }
        at += 1;
    }
    set
}

const _: () = assert!(ALL.len() <= u32::BITS as usize);

/// Of the invariants that ask for this part of a view, those that it breaks.
#[must_use]
pub fn broken_of(asked: Asks, view: &View<'_>) -> InvariantSet {
    let mut broken = InvariantSet::NONE;
    let mut left = const { [places(Asks::Servers).0, places(Asks::Talk).0] }[asked as usize];
    while left != 0 {
        let at = left.trailing_zeros() as usize;
        if (ALL[at].holds)(view).is_err() {
            broken.insert(at);
        }
        left &= left - 1;
    }
    broken
}

/// Every invariant that a view breaks, and how.
#[must_use]
pub fn broken(view: &View<'_>) -> Vec<(&'static Invariant, Broken)> {
    let all = ALL.iter();
    all.filter_map(|i| (i.holds)(view).err().map(|how| (i, how)))
        .collect()
}

/// Every invariant of steps that a step breaks, and how.
#[must_use]
pub fn broken_by_step(
    before: &View<'_>,
    after: &View<'_>,
) -> Vec<(&'static StepInvariant, Broken)> {
    let all = STEPS.iter();
    all.filter_map(|i| (i.holds)(before, after).err().map(|how| (i, how)))
        .collect()
}
