//! What a real election (E2) has come to, in the terms of the coarse ones: is it one that the oracle of E0 could have
//! named, and is it the one that E1 would have made?
//!
//! A configuration under E0 is said to cover every election. That rests on this: whoever begins to lead was looking,
//! and may lead, and whoever is connected to a leader was looking before and finds it leading. One
//! that follows a server which does not lead changes nothing but its own mind: under E0 it is still looking.

use super::action::{W_ELECTED_BEST, W_ELECTED_OTHER, W_FOLLOWS_LEADER, W_FOLLOWS_NOBODY};
use super::bounds::Grain;
use super::cluster::{Cluster, World};
use super::node::Node;
use super::parts::{index, sid};
use crate::peer::Role;
use crate::switch::Switches;
use crate::vote::Vote;

/// What the end of an election was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ElectionEnd {
    /// There was none.
    None,
    /// One that E0 could have named; a bit of [`super::action::WITNESSES`] tells more.
    OfTheOracle(u64),
    /// Another one.
    Other,
}

/// The vote that speaks for a server: for itself.
fn own_vote(node: &Node) -> Vote {
    let image = &node.disk.image;
    Vote {
        epoch: image.current,
        zxid: image.content().last().copied().unwrap_or_default(),
        leader: sid(node.at),
    }
}

/// What a step has made of the election of server `i`, which was `before` it.
pub(super) fn of(c: &Cluster, world: &World, i: usize, before: &Node) -> ElectionEnd {
    let was_looking = matches!(
        before.peer.as_ref().map(|p| &p.role),
        Some(Role::Looking(_) | Role::Draining { .. })
    );
    if world.bounds.grain != Grain::E2 {
        return ElectionEnd::None;
    }
    if !was_looking {
        let led = matches!(
            before.peer.as_ref().map(|p| &p.role),
            Some(Role::Leading(_))
        );
        let leads = matches!(c.role(world, i), Some(Role::Leading(_)));
        return if leads && !led {
            ElectionEnd::Other
        } else {
            ElectionEnd::None
        };
    }
    match c.role(world, i) {
        Some(Role::Leading(_)) => leads(c, world, i),
        Some(Role::Following(f)) => {
            let leader = index(f.vote.leader);
            let known = leader < c.n() && !world.envs[leader].observer;
            match (known, known && c.leads(world, leader)) {
                (false, _) => ElectionEnd::Other,
                (_, true) => ElectionEnd::OfTheOracle(1 << W_FOLLOWS_LEADER),
                (_, false) => ElectionEnd::OfTheOracle(1 << W_FOLLOWS_NOBODY),
            }
        }
        _ => ElectionEnd::None,
    }
}

fn leads(c: &Cluster, world: &World, i: usize) -> ElectionEnd {
    let node = c.node(world, i);
    let Some(peer) = &node.peer else {
        return ElectionEnd::Other;
    };
    // Whether the budget has an epoch left for it is no question of the protocol.
    if !peer.ensemble().may_lead(sid(i)) {
        return ElectionEnd::Other;
    }
    let backs = |n: &&Node| match n.peer.as_ref().map(|p| &p.role) {
        Some(Role::Looking(l)) => l.proposal.leader == sid(i),
        Some(Role::Following(f)) => f.vote.leader == sid(i),
        Some(Role::Leading(_)) => n.at == i,
        Some(Role::Draining { .. }) | None => false,
    };
    let backers = || c.nodes(world).filter(backs);
    let best = backers().all(|n| own_vote(n) <= own_vote(node));
    let servers = backers().map(|n| sid(n.at));
    if best && peer.ensemble().decides(servers, Switches::default()) {
        ElectionEnd::OfTheOracle(1 << W_ELECTED_BEST)
    } else {
        ElectionEnd::OfTheOracle(1 << W_ELECTED_OTHER)
    }
}
