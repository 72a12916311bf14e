//! Which servers of a cluster serve clients, what they show, and to whom their requests go.

use super::cluster::Cluster;
use super::model::Zab;
use crate::ids::Zxid;
use crate::leader::Phase;
use crate::peer::{Peer, Role};

/// A server that serves.
pub(super) fn peer<'a>(zab: &'a Zab, c: &Cluster, i: u8) -> Option<&'a Peer> {
    let peer = c.node(&zab.world, usize::from(i)).peer.as_ref();
    peer.filter(|p| p.serving().is_some())
}

/// What a server has applied.
pub(super) fn tree<'a>(zab: &'a Zab, c: &Cluster, i: u8) -> &'a [Zxid] {
    &c.node(&zab.world, usize::from(i)).tree
}

/// The leader to whom requests of a serving server go, if the connection carries them.
pub(super) fn leader_of(zab: &Zab, c: &Cluster, i: u8) -> Option<u8> {
    let leads = |l: u8| match peer(zab, c, l).map(|p| &p.role) {
        Some(Role::Leading(l)) => l.phase == Phase::Broadcast,
        _ => false,
    };
    match &peer(zab, c, i)?.role {
        Role::Leading(_) => leads(i).then_some(i),
        Role::Following(f) => {
            let w = c.wire(&zab.world, f.link?.0).filter(|w| w.is_live())?;
            let l = u8::try_from(w.leader).ok()?;
            (leads(l) && peer(zab, c, l)?.has_active_learner(f.link?)).then_some(l)
        }
        Role::Looking(_) | Role::Draining { .. } => None,
    }
}
