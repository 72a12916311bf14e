//! The invariants I-n of SPEC.md over a whole cluster, each by its name.

use super::bounds::Grain;
use super::cluster::{Cluster, Node, Wrong};
use super::link::End;
use super::model::{State, Zab};
use crate::election::tally::Ballot;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::leader::Phase;
use crate::learner::Stage;
use crate::peer::{Peer, Role};
use crate::vote::ServerState;
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
        condition: |m, s| every_image_boots(m, &s.cluster) && not(s, Wrong::NoBoot),
    },
    Invariant {
        name: "commit consistency",
        condition: |_, s| commit_consistency(&s.cluster),
    },
    Invariant {
        name: "quiescence is agreement",
        condition: |_, s| quiescence_is_agreement(&s.cluster),
    },
    Invariant {
        name: "a formed ensemble is joined",
        condition: |m, s| formed_ensemble_is_joined(m, &s.cluster),
    },
    Invariant {
        name: "elections are backed",
        condition: |_, s| not(s, Wrong::UnbackedElection),
    },
];

/// What a state breaks of the invariants that are checked, in their order.
pub fn broken<'a>(model: &'a Zab, state: &'a State) -> impl Iterator<Item = &'static str> + 'a {
    let checked = ALL.iter().filter(|p| model.ignored != Some(p.name));
    checked
        .filter(|p| !(p.condition)(model, state))
        .map(|p| p.name)
}

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
fn every_image_boots(model: &Zab, c: &Cluster) -> bool {
    let switches = model.world.switches();
    let boots = |n: &Node, kept| n.disk.image_with(kept).boot(switches).is_ok();
    c.nodes
        .iter()
        .all(|n| (0..=n.disk.queue.len()).all(|kept| boots(n, kept)))
}

/// I-15: whoever serves in an epoch has applied the initial history of it.
fn commit_consistency(c: &Cluster) -> bool {
    c.serving().all(|(epoch, tree)| {
        let mut initial = c.ghost.initial.iter().filter(|(e, _)| *e == epoch);
        initial.all(|(_, history)| tree.starts_with(history))
    })
}

/// I-16: a learner that serves and has nothing more to hear has the leader's log and its commits; and when nothing is
/// on the way between a leader and a serving quorum, nor to their disks, nothing waits to be committed.
fn quiescence_is_agreement(c: &Cluster) -> bool {
    let peer = |i: usize| c.nodes[i].peer.as_ref();
    (0..c.nodes.len()).all(|i| {
        let Some(Role::Leading(l)) = peer(i).map(|p| &p.role) else {
            return true;
        };
        let last = peer(i).map(Peer::last_logged);
        let (mut quiet, mut serving) = (c.nodes[i].disk.queue.is_empty(), 1);
        for w in c.wires.iter().filter(|w| w.leader == i && w.is_live()) {
            quiet &= w.inbox(End::Leader).is_empty() && w.inbox(End::Learner).is_empty();
            quiet &= c.nodes[w.learner].disk.queue.is_empty();
            let Some(Role::Following(f)) = peer(w.learner).map(|p| &p.role) else {
                continue;
            };
            if f.link.is_none_or(|l| l.0 != w.id) || f.stage != Stage::Broadcast {
                continue;
            }
            serving += 1;
            let same = f.committed == l.committed && peer(w.learner).map(Peer::last_logged) == last;
            if w.inbox(End::Learner).is_empty() && !same {
                return false;
            }
        }
        let formed = l.phase == Phase::Broadcast && serving > c.nodes.len() / 2;
        !formed || !quiet || l.outstanding.is_empty()
    })
}

/// I-17: a looking server that has heard every member of a formed ensemble, as they are now, has joined it.
fn formed_ensemble_is_joined(model: &Zab, c: &Cluster) -> bool {
    if model.bounds.grain != Grain::E2 {
        return true;
    }
    let peers = || c.nodes.iter().filter_map(|n| n.peer.as_ref());
    let settled = peers().filter_map(|p| match &p.role {
        Role::Looking(l) => Some(&l.settled),
        Role::Draining { .. } | Role::Following(_) | Role::Leading(_) => None,
    });
    settled.into_iter().all(|settled| {
        peers()
            .filter(|p| p.state() == ServerState::Leading)
            .all(|leader| {
                let mut members = 0;
                let heard = c.nodes.iter().enumerate().all(|(i, n)| {
                    let Some(p) = &n.peer else { return true };
                    if p.serving().is_none() || p.serving() != leader.serving() {
                        return true;
                    }
                    let vote = match &p.role {
                        Role::Following(f) => f.vote,
                        Role::Leading(l) => l.vote,
                        Role::Looking(_) | Role::Draining { .. } => return true,
                    };
                    members += 1;
                    let state = p.state();
                    settled.get(&ServerId(i as u64 + 1)) == Some(&Ballot { vote, state })
                });
                !heard || members <= c.nodes.len() / 2
            })
    })
}
