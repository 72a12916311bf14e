//! What a host with a bug does with effects, each behind its switch; and what an observer of elections and packets asks.

use super::bounds::Grain;
use super::cluster::World;
use super::disk::{Disk, HostBug, PendingWrite};
use super::link::{Frame, live_zxid};
use super::node::Node;
use super::txn::Txn;
use crate::election::tally::Ballot;
use crate::ensemble::Ensemble;
use crate::ids::ServerId;
use crate::leader::{self, Learner};
use crate::learner::FollowingStage;
use crate::packet::Packet;
use crate::peer::{Peer, Role};
use crate::step::{Effect, Input, Timer};
use crate::switch::{Switch, Switches};
use crate::vote::{Notification, ServerState, Vote};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A write has just been queued.
pub(super) fn on_asked(switches: Switches, node: &mut Node) {
    let syncing = matches!(&node.peer, Some(Peer { role: Role::Following(f), .. }) if f.stage < FollowingStage::Broadcast);
    let Some(PendingWrite::Append(zxid, _)) = node.disk.queue.back() else {
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
    // What is committed later goes through the list.
    let applied = node.tree.last().copied().unwrap_or_default();
    node.disk.quirk.skipped.retain(|z| *z <= applied);
}

/// A server changes its role.
pub(super) fn on_became(switches: Switches, node: &mut Node, effect: &Effect<Txn>) {
    let Effect::Became(state) = effect else {
        return;
    };
    let disk = &mut node.disk;
    match state {
        ServerState::Looking => {
            if switches.on(Switch::LogSyncAfterUptodate) {
                disk.release();
            }
            let applied = node.tree.last().copied().unwrap_or_default();
            disk.quirk.skipped.retain(|z| *z <= applied);
        }
        ServerState::Following | ServerState::Leading | ServerState::Observing => {
            disk.quirk.holding = false; // what is held stays in memory, and nowhere else
        }
    }
    if *state == ServerState::Leading {
        let snapshots = [Switch::TruncIgnoresSnapshots, Switch::SnapshotUncommitted];
        if snapshots.iter().any(|s| switches.on(*s)) {
            disk.quirk.snapshot = disk.image.content();
        }
    }
}

/// What a crash leaves of the host's bug.
pub(super) fn on_crash(disk: &mut Disk) {
    let HostBug {
        switches, snapshot, ..
    } = core::mem::take(&mut disk.quirk);
    disk.quirk.switches = switches;
    match snapshot.last() {
        Some(end) if switches.on(Switch::SnapshotUncommitted) => {
            disk.image.log.retain(|z| z > end); // the log under a snapshot is no longer read
            disk.image.snapshot = snapshot;
        }
        _ => disk.quirk.snapshot = snapshot,
    }
}

/// A tree is built from the newest snapshot and the log above it, also where TRUNC has cut the log below.
pub(super) fn load_snapshot(node: &mut Node) {
    if !node.disk.quirk.switches.on(Switch::TruncIgnoresSnapshots) {
        return;
    }
    let snapshot = &node.disk.quirk.snapshot;
    let Some(end) = snapshot.last() else { return };
    let above = node.tree.iter().filter(|z| *z > end);
    node.tree = snapshot.iter().chain(above).copied().collect();
}

/// SNAP is read from a tree that goes on changing: it has the newest transaction, and lacks those before it.
///
/// Whether it was changed.
pub(super) fn dump_late(world: &World, leader: &Node, frame: &mut Frame) -> bool {
    if !world.switches().on(Switch::NewleaderBeforeSnap) {
        return false;
    }
    let newer = leader.tree.len() > frame.tree.len() && leader.tree.starts_with(&frame.tree);
    match (&mut frame.packet, leader.tree.last()) {
        (Packet::Snap { zxid, .. }, Some(newest)) if newer => {
            *zxid = *newest;
            frame.tree.push(*newest);
            true
        }
        _ => false,
    }
}

/// How many of the writes that were not synced a loss of power may keep.
pub(super) fn kept_at_most(switches: Switches, node: &Node) -> usize {
    if switches.on(Switch::LogSyncAfterUptodate) {
        0 // else this is EpochBeforeHistory again: what matters here is a crash after the ACK
    } else {
        node.disk.unsynced()
    }
}

/// Whether a write may fail without anybody being told.
pub(super) fn may_fail(switches: Switches, node: &Node) -> bool {
    match node.disk.queue.front() {
        Some(PendingWrite::Append(..)) => switches.on(Switch::FsyncRetried),
        Some(PendingWrite::AcceptedEpoch(_)) => switches.on(Switch::EpochMemBeforeDisk),
        Some(
            PendingWrite::CurrentEpoch(_)
            | PendingWrite::Truncate(_)
            | PendingWrite::Install(..)
            | PendingWrite::Activate(_),
        )
        | None => false,
    }
}

/// Whether this packet is a bad one although the peer is patient with it: with a leader like ZooKeeper's, a PING before
/// the ACK of NEWLEADER, for which that one closes the connection; with ours, what the learner's snapshot holds, which
/// only the other one sends.
pub(super) fn is_out_of_place(world: &World, peer: &Peer, input: &Input<Txn>) -> bool {
    let Input::Received { link, packet } = input else {
        return false;
    };
    match &peer.role {
        Role::Leading(l) if world.bounds.zookeeper_leader => {
            let owes = |l: &Learner| l.link == *link && l.stage == leader::LearnerStage::Synced;
            matches!(packet, Packet::Ping { .. }) && l.learners.iter().any(owes)
        }
        Role::Following(f) if !world.bounds.zookeeper_leader => {
            let base = peer.storage.asked.history.base();
            f.stage == FollowingStage::Syncing
                && live_zxid(packet).is_some_and(|z| z <= base)
                && !world.switches().on(Switch::NewleaderBeforeSnap)
        }
        _ => false,
    }
}

/// What a looking server has heard when its election may end: when a vote arrives, or the finalize timer runs out.
pub(super) struct BallotsHeard {
    me: ServerId,
    ensemble: Ensemble,
    /// Whether a vote from outside the election has come, of its own round.
    in_my_round: bool,
    /// Who says that it leads.
    leaders: Vec<ServerId>,
    /// The votes of its round, by sender.
    round: BTreeMap<ServerId, Ballot>,
    /// The votes of those who are not in an election, of any round.
    settled: BTreeMap<ServerId, Ballot>,
}

/// That, if the election is real.
pub(super) fn ballots_of(
    world: &World,
    me: ServerId,
    peer: &Peer,
    input: &Input<Txn>,
) -> Option<BallotsHeard> {
    let Role::Looking(l) = &peer.role else {
        return None;
    };
    if world.bounds.grain != Grain::E2 {
        return None;
    }
    // A LOOKING vote that the own proposal has left behind is dead, and not part of a state.
    let live = |b: &Ballot| b.state != ServerState::Looking || b.vote == l.proposal;
    let mut heard = BallotsHeard {
        me,
        ensemble: peer.ensemble().clone(),
        in_my_round: false,
        leaders: Vec::new(),
        round: l
            .received
            .iter()
            .filter(|(_, b)| live(b))
            .map(|(s, b)| (*s, *b))
            .collect(),
        settled: l.settled.iter().map(|(s, b)| (*s, *b)).collect(),
    };
    match input {
        Input::Fired(Timer::Finalize) => {}
        Input::Notified { from, notification } => {
            let Notification { state, round, vote } = *notification;
            let ballot = Ballot { vote, state };
            if state == ServerState::Looking && round > peer.round {
                heard.round.clear();
            }
            heard.in_my_round = state != ServerState::Looking && round == peer.round;
            if round >= peer.round && (state == ServerState::Looking || heard.in_my_round) {
                heard.round.insert(*from, ballot);
            }
            if state != ServerState::Looking {
                heard.settled.insert(*from, ballot);
            }
        }
        _ => return None,
    }
    let said = heard.round.iter().chain(&heard.settled);
    let leads = said.filter(|(_, b)| b.state == ServerState::Leading);
    heard.leaders = leads.map(|(sid, _)| *sid).collect();
    Some(heard)
}

impl BallotsHeard {
    /// Whether a quorum of this server's round has this vote, itself included.
    fn agree(&self, vote: Vote) -> bool {
        let same = self.round.iter().filter(|(_, b)| b.vote == vote);
        let same = same.map(|(sid, _)| *sid).chain([self.me]);
        self.ensemble.decides(same, Switches::default())
    }

    /// Whether this server, if it looks on, is about to decide where a quorum of its round agrees with it.
    pub(super) fn are_noticed(&self, after: &Peer) -> bool {
        match &after.role {
            Role::Looking(l) => l.deciding || !self.agree(l.proposal),
            Role::Following(_) | Role::Leading(_) | Role::Draining { .. } => true,
        }
    }

    /// Whether the election may end as it has: by a quorum of its own round that has the same vote, or with a leader that
    /// has said itself that it leads, and that a quorum, by one of the lists, of those outside the election follows.
    pub(super) fn back(&self, after: &Peer) -> bool {
        let off = Switches::default();
        // Who follows may be bound by one of the lists alone.
        let decides_by_one = |who: &mut dyn Iterator<Item = ServerId>| {
            self.ensemble.is_quorum_of_one(self.ensemble.set(who), off)
        };
        let followed = |v: Vote| {
            let named = |(_, b): &(&ServerId, &Ballot)| {
                b.state != ServerState::Looking
                    && b.vote.leader == v.leader
                    && b.vote.epoch == v.epoch
            };
            [&self.round, &self.settled]
                .into_iter()
                .any(|votes| decides_by_one(&mut votes.iter().filter(named).map(|(sid, _)| *sid)))
        };
        match &after.role {
            Role::Following(f) => {
                self.agree(f.vote) || self.leaders.contains(&f.vote.leader) && followed(f.vote)
            }
            Role::Leading(l) => self.agree(l.vote) || self.in_my_round && followed(l.vote),
            Role::Looking(_) | Role::Draining { .. } => true,
        }
    }
}
