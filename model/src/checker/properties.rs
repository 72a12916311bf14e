//! The invariants I-n of SPEC.md over a whole cluster, each by its name.
//!
//! They depend on little of each server, its [`View`], and on what was observed: many clusters look the same.

use super::arena::Bytes;
use super::bounds::Grain;
use super::canon;
use super::cluster::{Cluster, Log, World};
use super::ghost::{Ghost, Wrong};
use super::link::End;
use super::model::{State, Zab};
use super::node::Node;
use super::txn::Listed;
use crate::election::tally::Ballot;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::leader::Phase;
use crate::learner::Stage;
use crate::peer::Role;
use crate::switch::Switches;
use crate::vote::ServerState;
use alloc::vec::Vec;

/// What the invariants see of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The epoch that it serves, with what it has applied.
    pub serving: Option<(Epoch, Vec<Zxid>)>,
    /// The epoch that it is a participant of, after NEWLEADER, with its history, pending writes included.
    pub participant: Option<(Epoch, Vec<Zxid>)>,
    /// The epoch that it leads, past discovery.
    pub primary: Option<Epoch>,
    /// currentEpoch and history on its disk, down or not.
    pub disk: (Epoch, Vec<Zxid>),
    /// The configurations that its disk binds it to.
    pub binds: (Listed, Option<Listed>),
    /// The configuration that it takes for committed, by its version.
    pub active: Zxid,
    /// Whether it can start from its disk, whatever prefix of the writes that were not synced survives.
    pub boots: bool,
}

impl View {
    /// What the invariants see of this server.
    #[must_use]
    pub fn of(node: &Node, switches: Switches) -> Self {
        let peer = node.peer.as_ref();
        let epoch = match peer.map(|p| &p.role) {
            Some(Role::Following(f)) if f.stage >= Stage::AwaitUpToDate => Some(f.epoch),
            Some(Role::Leading(l)) if l.phase >= Phase::WritingEpoch => Some(l.epoch),
            _ => None,
        };
        let images = 0..=node.disk.unsynced();
        Self {
            serving: peer
                .and_then(|p| p.serving())
                .map(|epoch| (epoch, node.tree.clone())),
            participant: epoch.map(|epoch| (epoch, node.disk.image_asked().content())),
            primary: node.primary(),
            disk: (node.disk.image.current, node.disk.image.content()),
            binds: node.disk.image.binds(),
            active: peer.map_or(Zxid::ZERO, |p| p.ensemble().active().version),
            boots: images
                .into_iter()
                .all(|kept| node.disk.image_with(kept).boot(switches).is_ok()),
        }
    }

    /// Appends the canonical bytes.
    pub fn canon(&self, out: &mut Bytes) {
        let Self {
            serving,
            participant,
            primary,
            disk: (current, content),
            binds,
            active,
            boots,
        } = self;
        for part in [serving, participant] {
            match part {
                None => out.push(255),
                Some((epoch, zxids)) => {
                    canon::epoch(*epoch, out);
                    canon::zxids(zxids, out);
                }
            }
        }
        match primary {
            None => out.push(255),
            Some(epoch) => canon::epoch(*epoch, out),
        }
        canon::epoch(*current, out);
        canon::zxids(content, out);
        canon::configurations(*binds, out);
        canon::zxid(*active, out);
        out.push(u8::from(*boots));
    }
}

/// What the invariants see of a cluster.
pub struct Seen<'a> {
    /// Where.
    pub world: &'a World,
    /// Of each server.
    pub servers: Vec<&'a View>,
    /// What was observed.
    pub ghost: &'a Ghost,
}

impl<'a> Seen<'a> {
    /// Of this cluster.
    #[must_use]
    pub fn of(cluster: &Cluster, world: &'a World) -> Self {
        let views = cluster.seen(world);
        Self {
            world,
            servers: views[..cluster.n()]
                .iter()
                .map(|id| world.views.get(*id))
                .collect(),
            ghost: cluster.ghost(world),
        }
    }

    fn serving(&self) -> impl Iterator<Item = (Epoch, &[Zxid])> + Clone {
        let serving = self.servers.iter().filter_map(|v| v.serving.as_ref());
        serving.map(|(epoch, tree)| (*epoch, tree.as_slice()))
    }

    fn never(&self, wrong: Wrong) -> bool {
        self.ghost.wrongs & wrong as u8 == 0
    }
}

/// The invariants that a cluster breaks, as bits in the order of [`ALL`].
pub fn broken(cluster: &Cluster, world: &World, log: &mut Log) -> u32 {
    let key = cluster.seen(world);
    let whole = u32::from(!quiescence_is_agreement(cluster, world)) << 15
        | u32::from(!formed_ensemble_is_joined(cluster, world)) << 16;
    whole
        | *log.memo.verdicts.entry(key).or_insert_with(|| {
            let seen = Seen::of(cluster, world);
            let holds = ALL.iter().map(|p| (p.holds)(&seen));
            holds
                .enumerate()
                .fold(0, |bits, (i, holds)| bits | u32::from(!holds) << i)
        })
}

/// One invariant.
pub struct Invariant {
    /// Its name, as reports print it.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: fn(&Seen<'_>) -> bool,
    /// The same for stateright: a plain function that looks at its own bit.
    pub condition: fn(&Zab, &State) -> bool,
}

/// All of them.
pub const ALL: &[Invariant] = &[
    Invariant {
        name: "one leader per epoch",
        holds: |s| one_leader_now(s),
        condition: |_, s| s.broken & 1 << 0 == 0,
    },
    Invariant {
        name: "one leader per epoch, ever",
        holds: |s| s.never(Wrong::TwoPrimaries),
        condition: |_, s| s.broken & 1 << 1 == 0,
    },
    Invariant {
        name: "integrity",
        holds: |s| integrity(s),
        condition: |_, s| s.broken & 1 << 2 == 0,
    },
    Invariant {
        name: "agreement",
        holds: |s| agreement(s) && s.never(Wrong::Diverged),
        condition: |_, s| s.broken & 1 << 3 == 0,
    },
    Invariant {
        name: "total order",
        holds: |s| total_order(s),
        condition: |_, s| s.broken & 1 << 4 == 0,
    },
    Invariant {
        name: "local primary order",
        holds: |s| local_primary_order(s),
        condition: |_, s| s.broken & 1 << 5 == 0,
    },
    Invariant {
        name: "global primary order",
        holds: |s| global_primary_order(s),
        condition: |_, s| s.broken & 1 << 6 == 0,
    },
    Invariant {
        name: "primary integrity",
        holds: |s| primary_integrity(s),
        condition: |_, s| s.broken & 1 << 7 == 0,
    },
    Invariant {
        name: "leader log completeness",
        holds: |s| leader_log_completeness(s),
        condition: |_, s| s.broken & 1 << 8 == 0,
    },
    Invariant {
        name: "committed is durable",
        holds: |s| committed_is_durable(s),
        condition: |_, s| s.broken & 1 << 9 == 0,
    },
    Invariant {
        name: "history consistency",
        holds: |s| history_consistency(s),
        condition: |_, s| s.broken & 1 << 10 == 0,
    },
    Invariant {
        name: "no bad packet",
        holds: |s| s.never(Wrong::BadPacket),
        condition: |_, s| s.broken & 1 << 11 == 0,
    },
    Invariant {
        name: "a zxid is proposed once",
        holds: |s| s.never(Wrong::ZxidReused),
        condition: |_, s| s.broken & 1 << 12 == 0,
    },
    Invariant {
        name: "every disk image boots",
        holds: |s| every_image_boots(s) && s.never(Wrong::NoBoot),
        condition: |_, s| s.broken & 1 << 13 == 0,
    },
    Invariant {
        name: "commit consistency",
        holds: |s| commit_consistency(s),
        condition: |_, s| s.broken & 1 << 14 == 0,
    },
    Invariant {
        name: "quiescence is agreement",
        holds: |_| true, // asks about connections: see `quiescence_is_agreement`
        condition: |_, s| s.broken & 1 << 15 == 0,
    },
    Invariant {
        name: "a formed ensemble is joined",
        holds: |_| true, // asks about votes heard: see `formed_ensemble_is_joined`
        condition: |_, s| s.broken & 1 << 16 == 0,
    },
    Invariant {
        name: "elections are backed",
        holds: |s| s.never(Wrong::UnbackedElection),
        condition: |_, s| s.broken & 1 << 17 == 0,
    },
    Invariant {
        name: "observers learn what is committed",
        holds: |s| observers_learn(s),
        condition: |_, s| s.broken & 1 << 18 == 0,
    },
    Invariant {
        name: "what is active is committed",
        holds: |s| active_is_committed(s),
        condition: |_, s| s.broken & 1 << 19 == 0,
    },
    Invariant {
        name: "elections are the oracle's",
        holds: |s| s.never(Wrong::NotOfTheOracle),
        condition: |_, s| s.broken & 1 << 20 == 0,
    },
];

/// The id of a server.
const fn sid(i: usize) -> ServerId {
    ServerId(i as u64 + 1)
}

/// I-1: at most one server leads a formed quorum of an epoch.
fn one_leader_now(c: &Seen<'_>) -> bool {
    let mut epochs: Vec<Epoch> = c.servers.iter().filter_map(|v| v.primary).collect();
    let leaders = epochs.len();
    epochs.sort_unstable();
    epochs.dedup();
    epochs.len() == leaders
}

/// I-3: what is delivered was proposed by somebody, or stood on a disk when the exploration began.
fn integrity(c: &Seen<'_>) -> bool {
    let known = |z: &Zxid| c.ghost.proposed.binary_search(z).is_ok();
    c.serving().all(|(_, tree)| tree.iter().all(known))
}

/// I-4: of two deliveries at two servers, one server has delivered both.
fn agreement(c: &Seen<'_>) -> bool {
    c.serving().all(|(_, a)| {
        c.serving()
            .all(|(_, b)| a.iter().all(|x| b.contains(x)) || b.iter().all(|y| a.contains(y)))
    })
}

/// I-5: whoever delivers b has delivered before it everything that anyone delivered before b.
fn total_order(c: &Seen<'_>) -> bool {
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
fn local_primary_order(c: &Seen<'_>) -> bool {
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
fn global_primary_order(c: &Seen<'_>) -> bool {
    c.serving()
        .all(|(_, tree)| tree.is_sorted_by_key(|z| z.epoch()))
}

/// I-8: the leader of an epoch has, before its first proposal, what any of its followers delivered of earlier epochs.
fn primary_integrity(c: &Seen<'_>) -> bool {
    c.serving().all(|(epoch, tree)| {
        let initial = c.ghost.initial.iter().filter(|(e, _)| *e == epoch);
        initial
            .flat_map(|(_, history)| tree.iter().map(move |z| (z, history)))
            .all(|(z, history)| z.epoch() >= epoch || history.contains(z))
    })
}

/// I-9: the initial history of an established epoch holds everything committed of earlier epochs, in order.
fn leader_log_completeness(c: &Seen<'_>) -> bool {
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

/// I-10: whichever quorum of disks elects, the best of its votes is that of a server with everything committed.
///
/// A quorum is one by the configurations that bind the server which it elects. More than "nothing committed is ever
/// truncated" would be asked too much: a server that still follows a deposed leader may drop its copy of what a quorum of
/// others has just committed without it.
fn committed_is_durable(c: &Seen<'_>) -> bool {
    let vote = |v: &View| (v.disk.0, v.disk.1.last().copied().unwrap_or_default());
    let ids = || (1..).map(ServerId).zip(&c.servers);
    c.ghost.committed.is_empty()
        || ids().all(|(id, best)| {
            let (active, next) = best.binds;
            let ensemble = c.world.ensemble(active, next.as_slice());
            let voters = ids().filter(|(_, v)| vote(v) <= vote(best));
            let electable = ensemble.may_lead(id)
                && ensemble.decides(voters.map(|(id, _)| id), Switches::default());
            !electable || best.disk.1.starts_with(&c.ghost.committed)
        })
}

/// I-20: a configuration that some server takes for active is committed.
fn active_is_committed(c: &Seen<'_>) -> bool {
    let begun = |v: Zxid| v == Zxid::ZERO || c.ghost.committed.contains(&v);
    c.servers.iter().all(|v| begun(v.active))
}

/// I-11: after NEWLEADER, participants of one epoch have comparable histories.
fn history_consistency(c: &Seen<'_>) -> bool {
    let participants: Vec<&(Epoch, Vec<Zxid>)> = c
        .servers
        .iter()
        .filter_map(|v| v.participant.as_ref())
        .collect();
    participants.iter().enumerate().all(|(i, (e, a))| {
        participants[..i]
            .iter()
            .filter(|(f, _)| e == f)
            .all(|(_, b)| a.starts_with(b) || b.starts_with(a))
    })
}

/// I-14: whenever a server ends, whatever prefix of the writes that were not synced survives, it can start.
fn every_image_boots(c: &Seen<'_>) -> bool {
    c.servers.iter().all(|v| v.boots)
}

/// I-15: whoever serves in an epoch has applied the initial history of it.
fn commit_consistency(c: &Seen<'_>) -> bool {
    c.serving().all(|(epoch, tree)| {
        let mut initial = c.ghost.initial.iter().filter(|(e, _)| *e == epoch);
        initial.all(|(_, history)| tree.starts_with(history))
    })
}

/// I-16: a learner that serves and has nothing more to hear has the leader's log and its commits; and when nothing is
/// on the way between a leader and a serving quorum, nor to their disks, nothing waits to be committed. Both have
/// applied what they know to be committed.
fn quiescence_is_agreement(c: &Cluster, world: &World) -> bool {
    let applied = |node: &Node| node.tree.last().copied().unwrap_or_default();
    c.nodes(world).all(|leader| {
        let Some(peer) = &leader.peer else {
            return true;
        };
        let Role::Leading(l) = &peer.role else {
            return true;
        };
        if l.phase != Phase::Broadcast {
            return true;
        }
        if applied(leader) != l.committed {
            return false;
        }
        let mut quiet = leader.disk.queue.is_empty();
        let mut serving = alloc::vec![leader.at];
        let wires = c.wires(world).filter(|w| w.leader == leader.at);
        for w in wires.filter(|w| w.is_live()) {
            let learner = c.node(world, w.learner);
            quiet &= w.inbox(End::Leader).is_empty() && w.inbox(End::Learner).is_empty();
            quiet &= learner.disk.queue.is_empty();
            let Some(follower) = &learner.peer else {
                continue;
            };
            let Role::Following(f) = &follower.role else {
                continue;
            };
            if f.link.is_none_or(|l| l.0 != w.id) || f.stage != Stage::Broadcast {
                continue;
            }
            serving.push(w.learner);
            // An observer is told only what is committed.
            let same = f.committed == l.committed
                && applied(learner) == f.committed
                && (f.observer || follower.last_logged() == peer.last_logged());
            if w.inbox(End::Learner).is_empty() && !same {
                return false;
            }
        }
        let serving = serving.into_iter().map(sid);
        let decides = peer.ensemble().decides(serving, Switches::default());
        !quiet || l.outstanding.is_empty() || !decides
    })
}

/// I-17: a looking server that has heard every member of a formed ensemble, as they are now, has joined it.
fn formed_ensemble_is_joined(c: &Cluster, world: &World) -> bool {
    if world.bounds.grain != Grain::E2 {
        return true;
    }
    let peers = || c.nodes(world).filter_map(|n| n.peer.as_ref());
    let settled = peers().filter_map(|p| match &p.role {
        Role::Looking(l) => Some(&l.settled),
        Role::Draining { .. } | Role::Following(_) | Role::Leading(_) => None,
    });
    settled.into_iter().all(|settled| {
        let leaders = || peers().filter(|p| p.state() == ServerState::Leading);
        leaders().all(|leader| {
            let mut members = Vec::new();
            let heard = c.nodes(world).all(|n| {
                let Some(p) = &n.peer else { return true };
                if p.serving().is_none() || p.serving() != leader.serving() {
                    return true;
                }
                let vote = match &p.role {
                    Role::Following(f) if f.observer => return true, // it tells nobody
                    Role::Following(f) => f.vote,
                    Role::Leading(l) => l.vote,
                    Role::Looking(_) | Role::Draining { .. } => return true,
                };
                members.push(n.at);
                let state = p.state();
                settled.get(&sid(n.at)) == Some(&Ballot { vote, state })
            });
            let members = members.into_iter().map(sid);
            !heard || !leader.ensemble().decides(members, Switches::default())
        })
    })
}

/// I-19: what a serving observer has applied is the beginning of what the voters have committed.
fn observers_learn(c: &Seen<'_>) -> bool {
    let observers = c.servers.iter().skip(c.world.bounds.first_observer());
    let mut serving = observers.filter_map(|v| v.serving.as_ref());
    serving.all(|(_, tree)| c.ghost.committed.starts_with(tree))
}
