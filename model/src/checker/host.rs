//! What a host with a bug does with effects, each behind its switch; and what an observer of elections asks.

use super::bounds::Grain;
use super::cluster::{Node, World};
use super::disk::Op;
use crate::election::Looking;
use crate::ids::ServerId;
use crate::learner::Stage;
use crate::peer::{Peer, Role};
use crate::step::{Effect, Input};
use crate::switch::{Switch, Switches};
use crate::vote::{Notification, ServerState};
use alloc::vec::Vec;

/// A write has just been queued.
pub(super) fn on_asked(switches: Switches, node: &mut Node) {
    let syncing = matches!(&node.peer, Some(Peer { role: Role::Following(f), .. }) if f.stage < Stage::Broadcast);
    let Some(Op::Append(zxid)) = node.disk.queue.back() else {
        return;
    };
    if syncing && switches.on(Switch::SyncTxnsSkipCommittedLog) {
        node.disk.quirk.skipped.push(*zxid);
    }
    if syncing && switches.on(Switch::LogSyncAfterUptodate) {
        node.disk.quirk.holding = true;
    }
}

/// A server begins to serve.
pub(super) fn on_serve(switches: Switches, node: &mut Node) {
    if switches.on(Switch::LogSyncAfterUptodate) {
        node.disk.release();
    }
}

/// A server changes its role.
pub(super) fn on_became(switches: Switches, node: &mut Node, effect: &Effect<()>) {
    let Effect::Became(state) = effect else {
        return;
    };
    let disk = &mut node.disk;
    match state {
        ServerState::Looking => {
            if switches.on(Switch::LogSyncAfterUptodate) {
                disk.release();
            }
        }
        ServerState::Following | ServerState::Leading | ServerState::Observing => {
            disk.quirk.holding = false; // what is held stays in memory, and nowhere else
        }
    }
    let snapshots = [Switch::TruncIgnoresSnapshots, Switch::SnapshotUncommitted];
    if *state == ServerState::Leading && snapshots.iter().any(|s| switches.on(*s)) {
        disk.image.snapshot = disk.image.content();
        disk.image.log.clear();
    }
}

/// Whether a write may fail without anybody being told.
pub(super) fn may_fail(switches: Switches, node: &Node) -> bool {
    match node.disk.queue.front() {
        Some(Op::Append(_)) => switches.on(Switch::FsyncRetried),
        Some(Op::AcceptedEpoch(_)) => switches.on(Switch::EpochMemBeforeDisk),
        Some(Op::CurrentEpoch(_) | Op::Truncate(_) | Op::Install(_)) | None => false,
    }
}

/// What a looking server has heard when a vote from outside the election arrives.
pub(super) struct Heard {
    in_my_round: bool,
    leaders: Vec<ServerId>,
}

/// That, if the election is real and the vote is from outside it.
pub(super) fn ballots_of(world: &World, peer: &Peer, input: &Input<()>) -> Option<Heard> {
    if world.bounds.grain != Grain::E2 {
        return None;
    }
    let (Role::Looking(l), Input::Notified { from, notification }) = (&peer.role, input) else {
        return None;
    };
    let Notification { state, round, .. } = notification;
    if *state == ServerState::Looking {
        return None;
    }
    let Looking {
        received, settled, ..
    } = l;
    let leads = received.iter().chain(settled);
    let leads = leads.filter(|(_, b)| b.state == ServerState::Leading);
    let mut leaders: Vec<ServerId> = leads.map(|(sid, _)| *sid).collect();
    if *state == ServerState::Leading {
        leaders.push(*from);
    }
    Some(Heard {
        in_my_round: *round == peer.round,
        leaders,
    })
}

impl Heard {
    /// Whether the election may end as it has: with a leader that has said itself that it leads.
    pub(super) fn back(&self, after: &Peer) -> bool {
        match &after.role {
            Role::Following(f) => self.leaders.contains(&f.vote.leader),
            Role::Leading(_) => self.in_my_round,
            Role::Looking(_) | Role::Draining { .. } => true,
        }
    }
}
