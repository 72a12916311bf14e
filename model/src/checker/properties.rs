//! The invariants of SPEC.md §9, asked of clusters: what [`crate::invariants`] sees of one.
//!
//! Most of them depend on little of each server and on what was observed, and many clusters look the same there: these
//! are asked once for all such clusters. The others look at what is on the way, and are asked of each.

use super::cluster::{Cluster, Log, World};
use super::link::{End, Wire};
use super::node::Node;
use super::parts::{SERVERS_MAX, WIRES_MAX};
use crate::ids::Epoch;
use crate::invariants::{
    Asks, Broken, Conduct, Connection, Invariant, InvariantSet, Server, StepInvariant, View,
    broken_by_step, broken_of,
};
use crate::leader::Phase;
use crate::peer::Role;
use alloc::vec::Vec;

pub use crate::invariants::ALL;

/// What a server is doing.
fn conduct(node: &Node) -> Conduct<'_> {
    let accepted = node.disk.image.accepted;
    let quiet = node.disk.queue.is_empty();
    match &node.peer {
        Some(peer) => {
            let applied = node.tree.last().copied().unwrap_or_default();
            Conduct::of(peer, accepted, applied, quiet)
        }
        None => Conduct {
            quiet,
            ..Conduct::down(accepted)
        },
    }
}

/// What the invariants see of a connection.
fn connection(wire: &Wire) -> Connection {
    Connection {
        id: wire.id,
        leader: wire.leader,
        learner: wire.learner,
        live: wire.is_live(),
        leader_heard_all: wire.inbox(End::Leader).is_empty(),
        learner_heard_all: wire.inbox(End::Learner).is_empty(),
    }
}

/// What the invariants see of a cluster.
#[derive(Debug)]
pub struct Seen<'w> {
    n: usize,
    servers: [&'w Server; SERVERS_MAX],
    conducts: [Conduct<'w>; SERVERS_MAX],
    wired: usize,
    links: [Connection; WIRES_MAX],
    past: &'w crate::invariants::Past,
}

impl<'w> Seen<'w> {
    /// Of this cluster.
    #[must_use]
    pub fn of(cluster: &Cluster, world: &'w World) -> Self {
        const NO_LINK: Connection = Connection {
            id: 0,
            leader: 0,
            learner: 0,
            live: false,
            leader_heard_all: true,
            learner_heard_all: true,
        };
        let n = cluster.n();
        let views = cluster.seen(world);
        let mut links = [NO_LINK; WIRES_MAX];
        let mut wired = 0;
        for wire in cluster.wires(world) {
            links[wired] = connection(wire);
            wired += 1;
        }
        Self {
            n,
            servers: core::array::from_fn(|i| world.views.get(views[if i < n { i } else { 0 }])),
            conducts: core::array::from_fn(|i| {
                if i < n {
                    conduct(cluster.node(world, i))
                } else {
                    Conduct::down(Epoch(0))
                }
            }),
            wired,
            links,
            past: cluster.past(world),
        }
    }

    /// As a view.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            servers: &self.servers[..self.n],
            conducts: &self.conducts[..self.n],
            links: &self.links[..self.wired],
            past: self.past,
        }
    }
}

/// The invariants that a cluster breaks.
pub fn broken(cluster: &Cluster, world: &World, log: &mut Log) -> InvariantSet {
    let key = cluster.seen(world);
    let servers = log.memo.verdicts.entry(key);
    let servers =
        *servers.or_insert_with(|| broken_of(Asks::Servers, &Seen::of(cluster, world).view()));
    // The others ask for somebody who leads a formed quorum, and hold where nobody does.
    let leads = |node: &Node| {
        let role = node.peer.as_ref().map(|p| &p.role);
        matches!(role, Some(Role::Leading(l)) if l.phase == Phase::Broadcast)
    };
    if cluster.nodes(world).any(leads) {
        servers.and(broken_of(Asks::Talk, &Seen::of(cluster, world).view()))
    } else {
        servers
    }
}

/// The same, with nothing remembered, and each with what is wrong.
#[must_use]
pub fn told(cluster: &Cluster, world: &World) -> Vec<(&'static Invariant, Broken)> {
    crate::invariants::broken(&Seen::of(cluster, world).view())
}

/// The invariants of steps that the step from one cluster to another breaks.
#[must_use]
pub fn told_of_step(
    before: &Cluster,
    after: &Cluster,
    world: &World,
) -> Vec<(&'static StepInvariant, Broken)> {
    let (before, after) = (Seen::of(before, world), Seen::of(after, world));
    broken_by_step(&before.view(), &after.view())
}

/// What stateright asks of a state, by the place of an invariant in [`ALL`]: its conditions are plain functions.
pub(super) trait Judged {
    /// The invariants that it breaks.
    fn broken(&self) -> InvariantSet;
}

fn holds<const AT: usize, M, S: Judged>(_: &M, state: &S) -> bool {
    !state.broken().has(AT)
}

macro_rules! conditions {
    ($($at:literal)*) => { [$(holds::<$at, M, S>),*] };
}

/// All invariants as stateright asks for them.
pub(super) fn as_properties<M, S>() -> Vec<stateright::Property<M>>
where
    M: stateright::Model<State = S>,
    S: Judged,
{
    let conditions: [fn(&M, &S) -> bool; ALL.len()] =
        conditions!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21);
    let all = ALL.iter().zip(conditions);
    all.map(|(i, holds)| stateright::Property::always(i.name, holds))
        .collect()
}
