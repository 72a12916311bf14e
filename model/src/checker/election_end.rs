//! What a real election (E2) has come to, in the terms of the coarse ones: is it one that the oracle of E0 could have
//! named, and is it the one that E1 would have made?
//!
//! A configuration under E0 is said to cover every election. That rests on this: whoever begins to lead was looking,
//! and may lead, and whoever is connected to a leader was looking before and finds it leading. One
//! that follows a server which does not lead changes nothing but its own mind: under E0 it is still looking.

use super::action::{
    W_ELECTED_BEST, W_ELECTED_BY_TWO, W_ELECTED_LACKED, W_ELECTED_OTHER, W_FOLLOWS_LEADER,
    W_FOLLOWS_NEWER, W_FOLLOWS_NOBODY, W_FOLLOWS_OLDER, W_FOLLOWS_UNLISTED, W_JOINER_FOLLOWS,
    W_REMOVED_FOLLOWS,
};
use super::bounds::Grain;
use super::cluster::{Cluster, World};
use super::node::Node;
use super::parts::{index, sid};
use crate::ids::Zxid;
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
    // A server that starts looks first: one that alone has a vote elects itself in the same step.
    let was_looking = matches!(
        before.peer.as_ref().map(|p| &p.role),
        None | Some(Role::Looking(_) | Role::Draining { .. })
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
                (_, true) => {
                    ElectionEnd::OfTheOracle(1 << W_FOLLOWS_LEADER | lists(c, world, i, leader))
                }
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
    let as_e1 = best && peer.ensemble().decides(servers, Switches::default());
    let two = peer.ensemble().next().is_some();
    let lacked = c.nodes(world).any(|n| newest_list(n) < newest_list(node));
    ElectionEnd::OfTheOracle(
        1 << if as_e1 {
            W_ELECTED_BEST
        } else {
            W_ELECTED_OTHER
        } | u64::from(two) << W_ELECTED_BY_TWO
            | u64::from(lacked) << W_ELECTED_LACKED,
    )
}

/// The version of the newest list on a server's disk.
fn newest_list(node: &Node) -> Zxid {
    let (active, next) = node.disk.image.binds();
    next.unwrap_or(active).version
}

/// By which lists a server begins to follow one that leads, as bits of [`super::action::WITNESSES`].
fn lists(c: &Cluster, world: &World, i: usize, leader: usize) -> u64 {
    let (node, leads) = (c.node(world, i), c.node(world, leader));
    let Some(peer) = &node.peer else { return 0 };
    let (own, its) = (newest_list(node), newest_list(leads));
    let votes = peer.ensemble().has_vote(sid(i)) || world.envs[i].observer;
    let joins = i >= usize::from(world.bounds.servers);
    let listed = peer.ensemble().has_vote(sid(leader));
    u64::from(own < its) << W_FOLLOWS_NEWER
        | u64::from(own > its) << W_FOLLOWS_OLDER
        | u64::from(!listed) << W_FOLLOWS_UNLISTED
        | u64::from(!votes && joins) << W_JOINER_FOLLOWS
        | u64::from(!votes && !joins) << W_REMOVED_FOLLOWS
}
