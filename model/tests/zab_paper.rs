//! The claims of the paper on Zab, each a function over two views of a cluster: before a step and after it.
//!
//! F. Junqueira, B. Reed, M. Serafini: Zab: High-performance broadcast for primary-backup systems, DSN 2011. The properties are
//! those of its problem statement (core properties, primary order); the claims are the steps of its algorithm, cited by the
//! paper's own labels (ℓ.1.1, f.2.1 …), and what its analysis concludes from them. Its words here: a *follower* has f.p, the
//! last epoch that it has promised (acceptedEpoch), f.a, the last one whose leader it has acknowledged (currentEpoch), and its
//! history; I_e is the initial history of epoch e; to *deliver* is to apply.
//!
//! Each claim is asked of every step of a small configuration that is exhausted, and of random walks through larger ones. Each is
//! able to fail: a known bug is named that breaks it, or, where there is none, a view that does is made by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::OnceLock;
use zabra_check::checker::bounds::{self, Bounds, Grain};
use zabra_check::checker::cluster::{Cluster, Log};
use zabra_check::checker::model::Zab;
use zabra_check::checker::properties::Seen;
use zabra_check::checker::walk::Dice;
use zabra_check::checker::zoo;
use zabra_check::ensemble::Ensemble;
use zabra_check::ids::{Epoch, ServerId, Zxid};
use zabra_check::invariants::{self, Kept, Past, Server, View};
use zabra_check::quorum::Voters;
use zabra_check::switch::{Switch, Switches};

/// What is wrong.
type Wrong = Option<String>;

/// A claim of the paper.
struct Claim {
    name: &'static str,
    /// What is wrong with a step, if something is.
    wrong: fn(&View<'_>, &View<'_>) -> Wrong,
}

/// What an invariant says of the state after the step.
fn state(id: &str, after: &View<'_>) -> Wrong {
    let invariant = invariants::ALL.iter().find(|i| i.id == id).unwrap();
    (invariant.holds)(after).err().map(|broken| broken.0)
}

/// What an invariant says of the step.
fn step(id: &str, before: &View<'_>, after: &View<'_>) -> Wrong {
    let invariant = invariants::STEPS.iter().find(|i| i.id == id).unwrap();
    (invariant.holds)(before, after)
        .err()
        .map(|broken| broken.0)
}

/// Whether those servers of which `is` holds are a quorum in the eyes of `who`.
fn is_quorum(v: &View<'_>, who: &Server, is: impl Fn(usize, &Server) -> bool) -> bool {
    let servers = v.servers.iter().enumerate();
    let ids = servers.filter(|(at, s)| is(*at, s)).map(|(_, s)| s.id);
    who.kept.binds.decides(ids, Switches::default())
}

/// Servers that are past discovery as leaders of an epoch since this step.
fn new_primaries<'a>(
    before: &'a View<'_>,
    after: &'a View<'_>,
) -> impl Iterator<Item = (&'a Server, Epoch)> {
    let pairs = before.servers.iter().zip(after.servers);
    pairs.filter_map(|(was, is)| {
        let epoch = is.primary?;
        (was.primary != Some(epoch)).then_some((*is, epoch))
    })
}

/// Epochs that were established in this step, with their leaders and initial histories.
fn new_epochs<'a>(
    before: &'a View<'_>,
    after: &'a View<'_>,
) -> impl Iterator<Item = (&'a Server, Epoch, &'a [Zxid])> {
    let new = after.past.initial.iter();
    let new = new.filter(|entry| !before.past.initial.contains(entry));
    new.filter_map(|(epoch, history)| {
        let mut leaders = after.servers.iter();
        let leader = leaders.find(|s| s.primary == Some(*epoch))?;
        Some((*leader, *epoch, history.as_slice()))
    })
}

const CLAIMS: &[Claim] = &[
    Claim {
        name: "integrity",
        wrong: |_, after| state("I-3", after),
    },
    Claim {
        name: "total order",
        wrong: |_, after| state("I-5", after),
    },
    Claim {
        name: "agreement",
        wrong: |_, after| state("I-4", after),
    },
    Claim {
        name: "local primary order",
        wrong: |_, after| state("I-6", after),
    },
    Claim {
        name: "global primary order",
        wrong: |_, after| state("I-7", after),
    },
    Claim {
        name: "primary integrity",
        wrong: |_, after| state("I-8", after),
    },
    Claim {
        name: "f.p and f.a never go back",
        wrong: |before, after| step("I-22", before, after),
    },
    Claim {
        name: "f.a is at most f.p",
        wrong: |_, after| {
            let mut all = after.servers.iter().zip(after.conducts);
            let wrong = all.find(|(s, c)| s.kept.current > c.accepted)?;
            Some(format!("{wrong:?}"))
        },
    },
    Claim {
        name: "f.1.1 a new epoch is promised by a quorum",
        wrong: |before, after| {
            let promised = |at: usize, epoch| after.conducts[at].accepted >= epoch;
            let mut new = new_primaries(before, after);
            let wrong = new.find(|(s, e)| !is_quorum(after, s, |at, _| promised(at, *e)))?;
            Some(format!("{wrong:?}"))
        },
    },
    Claim {
        name: "at most one primary for an epoch",
        wrong: |_, after| state("I-2", after),
    },
    Claim {
        name: "l.1.2 the new primary's history is the best of a quorum",
        wrong: |before, after| {
            let rank = |s: &Server| (s.kept.current, s.kept.history.last().copied());
            let mut new = new_primaries(before, after);
            let wrong = new.find(|(s, _)| {
                let own = before.servers.iter().find(|b| b.id == s.id).unwrap();
                !is_quorum(before, own, |_, other| rank(other) <= rank(own))
            })?;
            Some(format!("{wrong:?}"))
        },
    },
    Claim {
        name: "I_e holds what earlier epochs have committed",
        wrong: |_, after| state("I-9", after),
    },
    Claim {
        name: "l.2.2 an epoch is established when a quorum has it and I_e on disk",
        wrong: |before, after| {
            let mut new = new_epochs(before, after);
            let wrong = new.find(|(leader, epoch, initial)| {
                !is_quorum(after, leader, |_, s| {
                    s.kept.current >= *epoch && s.kept.history.starts_with(initial)
                })
            })?;
            Some(format!("{wrong:?}"))
        },
    },
    Claim {
        name: "an epoch has one initial history",
        wrong: |before, after| step("I-24", before, after),
    },
    Claim {
        name: "whoever acknowledges an epoch has I_e",
        wrong: |_, after| {
            for server in after.servers {
                let Some((epoch, history)) = &server.participant else {
                    continue;
                };
                let mut initial = after.past.initial.iter().filter(|(e, _)| e == epoch);
                if let Some((_, initial)) = initial.find(|(_, i)| !history.starts_with(i)) {
                    return Some(format!("{server:?} lacks {initial:?}"));
                }
            }
            None
        },
    },
    Claim {
        name: "histories are accepted in zxid order",
        wrong: |_, after| {
            let ordered = |h: &[Zxid]| h.is_sorted_by(|a, b| a < b);
            let mut all = after.servers.iter();
            let wrong = all.find(|s| {
                let own = s.participant.as_ref().is_none_or(|(_, h)| ordered(h));
                !own || !ordered(&s.kept.history)
            })?;
            Some(format!("{wrong:?}"))
        },
    },
    Claim {
        name: "in one epoch histories are prefixes of each other",
        wrong: |_, after| state("I-11", after),
    },
    Claim {
        name: "l.3.2 what is committed is on the disks of a quorum",
        wrong: |before, after| {
            let old = before.past.committed.len();
            let new = after.past.committed.get(old..)?;
            for z in new {
                let holds = |_: usize, s: &Server| s.kept.history.contains(z);
                let known = |s: &&&Server| s.serving.is_some();
                let mut servers = after.servers.iter().filter(known);
                if !servers.any(|s| is_quorum(after, s, holds)) {
                    return Some(format!("{z:?} in {:?}", after.servers));
                }
            }
            None
        },
    },
    Claim {
        name: "what is delivered in e is I_e and then a beginning of what its primary has broadcast",
        wrong: |_, after| {
            for server in after.servers {
                let Some((epoch, tree)) = &server.serving else {
                    continue;
                };
                let broadcast = after.past.proposed.iter().filter(|z| z.epoch() == *epoch);
                let broadcast: Vec<Zxid> = broadcast.copied().collect();
                let mut initial = after.past.initial.iter().filter(|(e, _)| e == epoch);
                let wrong = initial.find(|(_, i)| {
                    let rest = tree.strip_prefix(i.as_slice());
                    !rest.is_some_and(|rest| broadcast.starts_with(rest))
                });
                if let Some(initial) = wrong {
                    return Some(format!("{server:?} in {initial:?}"));
                }
            }
            None
        },
    },
    Claim {
        name: "what is delivered stays delivered",
        wrong: |before, after| step("I-23", before, after),
    },
    Claim {
        name: "whatever quorum recovers, nothing committed is lost",
        wrong: |_, after| state("I-10", after),
    },
];

/// A model that takes steps, and what of it was looked at.
struct Steps {
    model: Zab,
    log: Log,
}

impl Steps {
    fn of(bounds: Bounds) -> Self {
        Self {
            model: Zab::new(Box::leak(Box::new(bounds))),
            log: Log::default(),
        }
    }

    fn fingerprint(&self, cluster: &Cluster) -> u128 {
        let mut words = Vec::new();
        cluster.pack(self.model.bounds.grain == Grain::E2, &mut words);
        cluster.identity(&self.model.world, &words).fingerprint
    }

    /// Calls `look` for every step from every state that can be reached, the nearest first, until it is told to end or
    /// `states_max` states were seen. Whether all were.
    fn everywhere(
        &mut self,
        states_max: usize,
        mut look: impl FnMut(&View<'_>, &View<'_>) -> bool,
    ) -> bool {
        let mut next: VecDeque<Cluster> = self.model.initial().into();
        let mut seen: BTreeSet<u128> = next.iter().map(|c| self.fingerprint(c)).collect();
        let mut enabled = Vec::new();
        while let Some(before) = next.pop_front() {
            enabled.clear();
            self.model.enabled(&before, &mut enabled);
            let was = Seen::of(&before, &self.model.world);
            for action in &enabled {
                let mut after = before;
                self.model.apply(&mut after, *action, &mut self.log);
                let is = Seen::of(&after, &self.model.world);
                if !look(&was.view(), &is.view()) {
                    return false;
                }
                if seen.insert(self.fingerprint(&after)) {
                    next.push_back(after);
                }
            }
            if seen.len() >= states_max {
                return false;
            }
        }
        true
    }

    /// The same for random walks.
    fn walk(&mut self, walks: usize, mut look: impl FnMut(&View<'_>, &View<'_>) -> bool) {
        let initial = self.model.initial();
        let mut dice = Dice::new(3);
        let mut enabled = Vec::new();
        for n in 0..walks {
            let mut after = initial[n % initial.len()];
            for _ in 0..120 {
                enabled.clear();
                self.model.enabled(&after, &mut enabled);
                if enabled.is_empty() {
                    break;
                }
                let chosen = usize::try_from(dice.below(enabled.len() as u64)).unwrap();
                let before = after;
                self.model.apply(&mut after, enabled[chosen], &mut self.log);
                let was = Seen::of(&before, &self.model.world);
                let is = Seen::of(&after, &self.model.world);
                if !look(&was.view(), &is.view()) {
                    return;
                }
            }
        }
    }
}

/// What is wrong with each claim in healthy configurations: nothing. The paper has one fixed ensemble, so those that
/// reconfigure are left out.
fn healthy() -> &'static BTreeMap<&'static str, String> {
    static WRONG: OnceLock<BTreeMap<&str, String>> = OnceLock::new();
    WRONG.get_or_init(|| {
        let mut wrong = BTreeMap::new();
        let mut look = |was: &View<'_>, is: &View<'_>| {
            for claim in CLAIMS {
                if let Some(found) = (claim.wrong)(was, is) {
                    wrong.entry(claim.name).or_insert(found);
                }
            }
            true
        };
        let small = bounds::find("rec-warm-1").unwrap();
        assert!(Steps::of(*small).everywhere(usize::MAX, &mut look));
        for larger in bounds::ALL.iter().filter(|b| b.reconfigs == 0) {
            Steps::of(*larger).walk(60, &mut look);
        }
        wrong
    })
}

/// What shows that a claim can fail.
enum Teeth {
    /// A known bug breaks it.
    Bug(Switch),
    /// No bug that we know of does; a server that has applied, and has on its disk, these transactions in this order does.
    Forged(&'static [(u32, u32)]),
}

fn holds(name: &str, teeth: &Teeth) {
    assert_eq!(healthy().get(name), None, "{name}");
    let claim = CLAIMS.iter().find(|c| c.name == name).unwrap();
    let fails = match teeth {
        Teeth::Bug(switch) => {
            let mut cases = zoo::ALL.iter();
            let case = cases.find(|c| c.bounds.switch == Some(*switch));
            fails_in(claim, case.unwrap().bounds)
        }
        Teeth::Forged(zxids) => fails_for(claim, zxids),
    };
    assert!(fails, "nothing breaks {name:?}");
}

/// Whether some step in this configuration breaks the claim.
fn fails_in(claim: &Claim, bounds: Bounds) -> bool {
    let fails = Cell::new(false);
    let look = |was: &View<'_>, is: &View<'_>| {
        fails.set((claim.wrong)(was, is).is_some());
        !fails.get()
    };
    Steps::of(bounds).walk(8_000, look);
    if !fails.get() {
        Steps::of(bounds).everywhere(250_000, look);
    }
    fails.get()
}

/// Whether a server with these transactions breaks the claim, where e1c1 and e2c1 were proposed.
fn fails_for(claim: &Claim, zxids: &[(u32, u32)]) -> bool {
    let zxid = |(epoch, counter): &(u32, u32)| Zxid::new(Epoch(*epoch), *counter);
    let past = Past {
        proposed: vec![zxid(&(1, 1)), zxid(&(2, 1))],
        ..Past::default()
    };
    let server = forged(zxids.iter().map(zxid).collect());
    let view = View {
        servers: &[&server],
        conducts: &[],
        links: &[],
        past: &past,
    };
    (claim.wrong)(&view, &view).is_some()
}

/// A server that serves epoch 2 with these transactions.
fn forged(zxids: Vec<Zxid>) -> Server {
    let id = ServerId(1);
    Server {
        id,
        observer: false,
        serving: Some((Epoch(2), zxids.clone())),
        participant: None,
        primary: None,
        kept: Kept {
            current: Epoch(2),
            history: zxids,
            binds: Ensemble::of(Voters::new(&[id]).unwrap()),
            boots: true,
        },
        active: Zxid::ZERO,
    }
}

macro_rules! claims {
    ($($test:ident: $name:literal, $teeth:expr;)*) => {
        $(#[test]
        fn $test() {
            holds($name, &$teeth);
        })*

        const TESTED: &[&str] = &[$($name),*];
    };
}

claims! {
    // The problem: core properties.
    integrity: "integrity", Teeth::Forged(&[(1, 1), (1, 9)]);
    total_order: "total order", Teeth::Bug(Switch::TruncOffByOne);
    agreement: "agreement", Teeth::Bug(Switch::NoFollowerAheadCheck);
    // The problem: primary order.
    local_primary_order: "local primary order", Teeth::Bug(Switch::NewleaderBeforeSnap);
    global_primary_order: "global primary order", Teeth::Forged(&[(2, 1), (1, 1)]);
    primary_integrity: "primary integrity", Teeth::Bug(Switch::TruncIgnoresSnapshots);
    // Phase 1, discovery.
    promises: "f.p and f.a never go back", Teeth::Bug(Switch::AckEpochBeforePersist);
    joined_is_promised: "f.a is at most f.p", Teeth::Bug(Switch::EpochMemBeforeDisk);
    a_quorum_promises: "f.1.1 a new epoch is promised by a quorum", Teeth::Bug(Switch::AcceptedEpochVolatile);
    one_primary: "at most one primary for an epoch", Teeth::Bug(Switch::EpochAckWrongFlag);
    best_history: "l.1.2 the new primary's history is the best of a quorum", Teeth::Bug(Switch::NoFollowerAheadCheck);
    initial_history_dominates: "I_e holds what earlier epochs have committed", Teeth::Bug(Switch::VoteFromMemoryNotLog);
    // Phase 2, synchronization.
    established: "l.2.2 an epoch is established when a quorum has it and I_e on disk", Teeth::Bug(Switch::ServeBeforeQuorumBroadcast);
    one_initial_history: "an epoch has one initial history", Teeth::Bug(Switch::QuorumIsHalf);
    followers_have_it: "whoever acknowledges an epoch has I_e", Teeth::Bug(Switch::NoSnapWhenMinUnknown);
    // Phase 3, broadcast.
    zxid_order: "histories are accepted in zxid order", Teeth::Forged(&[(2, 1), (1, 1)]);
    prefixes: "in one epoch histories are prefixes of each other", Teeth::Bug(Switch::TruncOffByOne);
    committed: "l.3.2 what is committed is on the disks of a quorum", Teeth::Bug(Switch::LeaderAckBeforeFsync);
    delivered: "what is delivered in e is I_e and then a beginning of what its primary has broadcast", Teeth::Bug(Switch::AsyncApplyOfSyncTxns);
    // What the analysis concludes.
    stays: "what is delivered stays delivered", Teeth::Bug(Switch::TruncIgnoresSnapshots);
    nothing_is_lost: "whatever quorum recovers, nothing committed is lost", Teeth::Bug(Switch::AckNewleaderBeforeFsync);
}

#[test]
fn every_claim_has_a_test() {
    let names: Vec<&str> = CLAIMS.iter().map(|c| c.name).collect();
    assert_eq!(names, TESTED);
}
