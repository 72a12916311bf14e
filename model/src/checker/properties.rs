//! The invariants I-n of SPEC.md over a whole cluster, each by its name.

use super::cluster::{Cluster, Wrong};
use super::model::{State, Zab};
use crate::ids::{Epoch, Zxid};
use crate::leader::Phase;
use crate::learner::Stage;
use crate::peer::Role;
use alloc::vec::Vec;

/// One invariant.
pub struct Invariant {
    /// Its name, as reports print it.
    pub name: &'static str,
    /// Whether it holds.
    pub condition: fn(&Zab, &State) -> bool,
}

/// All of them.
pub const ALL: &[Invariant] = &[
    Invariant {
        name: "one leader per epoch",
        condition: |_, s| one_leader_now(&s.cluster),
    },
    Invariant {
        name: "one leader per epoch, ever",
        condition: |_, s| not(s, Wrong::TwoPrimaries),
    },
    Invariant {
        name: "integrity",
        condition: |_, s| integrity(&s.cluster),
    },
    Invariant {
        name: "agreement",
        condition: |_, s| agreement(&s.cluster) && not(s, Wrong::Diverged),
    },
    Invariant {
        name: "total order",
        condition: |_, s| total_order(&s.cluster),
    },
    Invariant {
        name: "local primary order",
        condition: |_, s| local_primary_order(&s.cluster),
    },
    Invariant {
        name: "global primary order",
        condition: |_, s| global_primary_order(&s.cluster),
    },
    Invariant {
        name: "primary integrity",
        condition: |_, s| primary_integrity(&s.cluster),
    },
    Invariant {
        name: "leader log completeness",
        condition: |_, s| leader_log_completeness(&s.cluster),
    },
    Invariant {
        name: "committed never truncated",
        condition: |_, s| not(s, Wrong::CommittedTruncated),
    },
    Invariant {
        name: "history consistency",
        condition: |_, s| history_consistency(&s.cluster),
    },
    Invariant {
        name: "no bad packet",
        condition: |_, s| not(s, Wrong::BadPacket),
    },
    Invariant {
        name: "a zxid is proposed once",
        condition: |_, s| not(s, Wrong::ZxidReused),
    },
    Invariant {
        name: "every disk image boots",
        condition: |_, s| every_image_boots(&s.cluster) && not(s, Wrong::NoBoot),
    },
];

fn not(s: &State, wrong: Wrong) -> bool {
    s.cluster.ghost.wrongs & wrong as u8 == 0
}

impl Cluster {
    /// Servers that serve, with the epoch and what they have applied.
    fn serving(&self) -> impl Iterator<Item = (Epoch, &[Zxid])> + Clone {
        self.nodes
            .iter()
            .filter_map(|n| Some((n.peer.as_ref()?.serving()?, n.tree.as_slice())))
    }
}

/// I-1: at most one server leads a formed quorum of an epoch.
fn one_leader_now(c: &Cluster) -> bool {
    let mut epochs: Vec<Epoch> = Vec::new();
    for node in &c.nodes {
        if let Some(Role::Leading(l)) = node.peer.as_ref().map(|p| &p.role)
            && l.phase >= Phase::WritingEpoch
        {
            if epochs.contains(&l.epoch) {
                return false;
            }
            epochs.push(l.epoch);
        }
    }
    true
}

/// I-3: what is delivered was proposed by somebody, or stood on a disk when the exploration began.
fn integrity(c: &Cluster) -> bool {
    let known = |z: &Zxid| c.ghost.proposed.binary_search(z).is_ok();
    c.serving().all(|(_, tree)| tree.iter().all(known))
}

/// I-4: of two deliveries at two servers, one server has delivered both.
fn agreement(c: &Cluster) -> bool {
    c.serving().all(|(_, a)| {
        c.serving()
            .all(|(_, b)| a.iter().all(|x| b.contains(x)) || b.iter().all(|y| a.contains(y)))
    })
}

/// I-5: whoever delivers b has delivered before it everything that anyone delivered before b.
fn total_order(c: &Cluster) -> bool {
    c.serving().all(|(_, a)| {
        c.serving().all(|(_, b)| {
            let shared = |(i, x): (usize, &Zxid)| match b.iter().position(|y| y == x) {
                Some(j) => i == j && a[..i] == b[..j],
                None => true,
            };
            a.iter().enumerate().all(shared)
        })
    })
}

/// I-6: for all proposals of one epoch, whoever delivers the later one has delivered the earlier one before it.
fn local_primary_order(c: &Cluster) -> bool {
    c.serving().all(|(_, tree)| {
        c.ghost.proposed.iter().all(|later| {
            let Some(at) = tree.iter().position(|z| z == later) else {
                return true;
            };
            let earlier = |z: &&Zxid| z.epoch() == later.epoch() && *z < later;
            c.ghost
                .proposed
                .iter()
                .filter(earlier)
                .all(|z| tree[..at].contains(z))
        })
    })
}

/// I-7: epochs are delivered in increasing order.
fn global_primary_order(c: &Cluster) -> bool {
    c.serving()
        .all(|(_, tree)| tree.is_sorted_by_key(|z| z.epoch()))
}

/// I-8: the leader of an epoch has, before its first proposal, what any of its followers delivered of earlier epochs.
fn primary_integrity(c: &Cluster) -> bool {
    c.serving().all(|(epoch, tree)| {
        let initial = c.ghost.initial.iter().filter(|(e, _)| *e == epoch);
        initial
            .flat_map(|(_, history)| tree.iter().map(move |z| (z, history)))
            .all(|(z, history)| z.epoch() >= epoch || history.contains(z))
    })
}

/// I-9: the initial history of an established epoch holds everything committed of earlier epochs, in order.
fn leader_log_completeness(c: &Cluster) -> bool {
    c.ghost.initial.iter().all(|(epoch, history)| {
        let earlier: Vec<Zxid> = c
            .ghost
            .committed
            .iter()
            .copied()
            .filter(|z| z.epoch() < *epoch)
            .collect();
        history.starts_with(&earlier)
    })
}

/// I-11: after NEWLEADER, participants of one epoch have comparable histories.
fn history_consistency(c: &Cluster) -> bool {
    let participants: Vec<(Epoch, Vec<Zxid>)> = c
        .nodes
        .iter()
        .filter_map(|n| {
            let epoch = match &n.peer.as_ref()?.role {
                Role::Following(f) if f.stage >= Stage::AwaitUpToDate => f.epoch,
                Role::Leading(l) if l.phase >= Phase::WritingEpoch => l.epoch,
                Role::Following(_)
                | Role::Leading(_)
                | Role::Looking(_)
                | Role::Draining { .. } => return None,
            };
            Some((epoch, n.disk.image_asked().content()))
        })
        .collect();
    participants.iter().enumerate().all(|(i, (e, a))| {
        participants[..i]
            .iter()
            .filter(|(f, _)| e == f)
            .all(|(_, b)| a.starts_with(b) || b.starts_with(a))
    })
}

/// I-14: whenever the power fails, whatever prefix of the pending writes survives, the server can start.
fn every_image_boots(c: &Cluster) -> bool {
    c.nodes
        .iter()
        .all(|n| (0..=n.disk.queue.len()).all(|kept| n.disk.image_with(kept).boot().is_ok()))
}
