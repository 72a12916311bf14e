//! The canonical bytes of each part of a cluster: two parts behave alike if these are equal.
//!
//! Every struct is taken apart field by field, so that a new field does not compile until somebody decides
//! whether it belongs here. What can never be read again, or follows from the rest, is left out: that alone is
//! an order of magnitude in states.

use super::arena::Bytes;
use super::bounds::{Bounds, Grain};
use super::disk::{Disk, DiskImage, HostBug, PendingWrite};
use super::link::{End, Frame, Wire};
use super::node::Node;
use super::page_cache::PageCache;
use super::parts::{Mailbox, index};
use super::txn::{self, Listed};
use crate::durable::Storage;
use crate::election::Looking;
use crate::election::tally::Ballot;
use crate::ensemble::Acks;
use crate::ids::{Epoch, Round, ServerId, Zxid};
use crate::invariants::{Kept, Observation, Past, Server};
use crate::leader::{Leading, Learner, LearnerStage, Outstanding};
use crate::learner::{Following, FollowingStage};
use crate::packet::Packet;
use crate::peer::{Peer, Role};
use crate::quorum::AckSet;
use crate::vote::{Notification, ServerState, Vote};
use alloc::vec::Vec;

/// A number that is small in every configuration.
pub(super) fn small(n: impl TryInto<u8>, out: &mut Bytes) {
    out.push(
        n.try_into()
            .unwrap_or_else(|_| panic!("a configuration is larger than its encoding")),
    );
}

pub(super) fn zxid(z: Zxid, out: &mut Bytes) {
    if z == Zxid::NONE {
        out.push(255);
        return;
    }
    assert!(
        z.epoch().0 < 15 && z.counter() < 16,
        "a configuration is larger than its encoding"
    );
    small(z.epoch().0 << 4 | z.counter(), out);
}

pub(super) fn zxids(list: &[Zxid], out: &mut Bytes) {
    small(list.len(), out);
    list.iter().for_each(|z| zxid(*z, out));
}

pub(super) fn epoch(Epoch(e): Epoch, out: &mut Bytes) {
    small(e, out);
}

fn server(id: ServerId, out: &mut Bytes) {
    if id == ServerId::NOBODY {
        out.push(0);
        return;
    }
    let ServerId(s) = id;
    let index = usize::try_from(s).unwrap_or(usize::MAX);
    small(out.name(index - 1) + 1, out);
}

/// A connection is called after its learner.
fn link_name(id: u64, out: &Bytes) -> u64 {
    let learner = usize::try_from(id / 4).unwrap_or(usize::MAX);
    out.name(learner) as u64 * 4 + id % 4
}

fn link(id: u64, out: &mut Bytes) {
    let name = link_name(id, out);
    small(name, out);
}

/// A set of voters, each a bit by its index.
fn voters(AckSet(set): AckSet, out: &mut Bytes) {
    let members = (0..8).filter(|i| set >> i & 1 == 1);
    let renamed = members.fold(0_u64, |bits, i| bits | 1 << out.name(i));
    small(renamed, out);
}

fn round(Round(r): Round, out: &mut Bytes) {
    small(r, out);
}

pub(super) fn mail(mailbox: &Mailbox, out: &mut Bytes) {
    for slot in mailbox {
        small(slot.len(), out);
        slot.iter().for_each(|n| notification(n, out));
    }
}

pub(super) fn observation(observation: &Observation, out: &mut Bytes) {
    match observation {
        Observation::Violated(violation) => out.extend([0, *violation as u8]),
        Observation::Applied(tree) => {
            out.push(2);
            zxids(tree, out);
        }
        Observation::Established(e, history) => {
            out.push(3);
            epoch(*e, out);
            zxids(history, out);
        }
        Observation::Primary(e, i) => {
            out.push(4);
            epoch(*e, out);
            small(index(*i), out);
        }
        Observation::Proposed(z) => {
            out.push(5);
            zxid(*z, out);
        }
    }
}

pub(super) fn past(past: &Past, out: &mut Bytes) {
    let Past {
        committed,
        proposed,
        primaries,
        initial,
        violations,
    } = past;
    zxids(committed, out);
    zxids(proposed, out);
    small(primaries.len(), out);
    let mut primaries: Vec<_> = primaries
        .iter()
        .map(|(e, i)| (*e, out.name(index(*i))))
        .collect();
    primaries.sort_unstable();
    for (e, i) in primaries {
        epoch(e, out);
        small(i, out);
    }
    small(initial.len(), out);
    for (e, history) in initial {
        epoch(*e, out);
        zxids(history, out);
    }
    out.push(violations.code());
}

pub(super) fn node(node: &Node, bounds: &Bounds, out: &mut Bytes) {
    let Node {
        at,
        peer,
        disk,
        tree,
    } = node;
    let name = out.name(*at);
    small(name, out);
    let Disk {
        image,
        cache,
        queue,
        quirk,
    } = disk;
    let DiskImage {
        accepted,
        current,
        snapshot,
        log,
        taken,
        active,
        configs,
    } = image;
    epoch(*accepted, out);
    epoch(*current, out);
    zxids(snapshot, out);
    zxids(log, out);
    if bounds.snapshots > 0 {
        small(*taken, out);
    }
    listed(active, out);
    small(configs.len(), out);
    configs.iter().for_each(|c| listed(c, out));
    small(queue.len(), out);
    queue.iter().for_each(|op| pending(op, out));
    if bounds.page_cache {
        let PageCache { ops, clean } = cache;
        small(ops.len(), out);
        ops.iter().for_each(|op| pending(op, out));
        out.push(u8::from(*clean));
    }
    if bounds.switch.is_some() {
        broken(peer.as_ref(), quirk, out);
    }
    match peer {
        None => out.push(0),
        Some(peer) => {
            out.push(1);
            zxids(tree, out);
            running(peer, bounds, out);
        }
    }
}

/// With a bug on, less follows from the rest.
fn broken(peer: Option<&Peer>, quirk: &HostBug, out: &mut Bytes) {
    let HostBug {
        switches: _, // one for each exploration
        holding,
        held,
        snapshot,
        skipped,
    } = quirk;
    out.push(u8::from(*holding));
    small(held.len(), out);
    held.iter().for_each(|op| pending(op, out));
    zxids(snapshot, out);
    zxids(skipped, out);
    let Some(peer) = peer else { return };
    zxid(peer.delivered, out);
    for d in [&peer.storage.known, &peer.storage.asked] {
        epoch(d.accepted, out);
        epoch(d.current, out);
        zxid(d.history.base(), out);
        small(d.history.runs().len(), out);
        for run in d.history.runs() {
            zxid(run.first, out);
            zxid(run.last, out);
        }
    }
    if let Role::Looking(l) = &peer.role {
        vote(&l.own, out);
    }
}

fn pending(op: &PendingWrite, out: &mut Bytes) {
    match op {
        PendingWrite::AcceptedEpoch(e) => {
            out.push(0);
            epoch(*e, out);
        }
        PendingWrite::CurrentEpoch(e) => {
            out.push(1);
            epoch(*e, out);
        }
        PendingWrite::Append(z, txn) => {
            out.extend([2, txn.members()]);
            zxid(*z, out);
        }
        PendingWrite::Truncate(z) => {
            out.push(3);
            zxid(*z, out);
        }
        PendingWrite::Install(tree, active, next) => {
            out.push(4);
            zxids(tree, out);
            configurations((*active, *next), out);
        }
        PendingWrite::Activate(version) => {
            out.push(5);
            zxid(*version, out);
        }
    }
}

fn listed(c: &Listed, out: &mut Bytes) {
    let Listed { version, members } = c;
    zxid(*version, out);
    out.push(*members);
}

pub(super) fn configurations((active, next): (Listed, Option<Listed>), out: &mut Bytes) {
    listed(&active, out);
    listed(&next.unwrap_or(Listed::first(0)), out);
}

fn running(peer: &Peer, bounds: &Bounds, out: &mut Bytes) {
    let Peer {
        storage,
        delivered: _, // the last of the tree
        round: r,
        role,
    } = peer;
    // What is known and asked follows from image and queue, but for an accepted epoch that a switch keeps in memory.
    let Storage {
        known, ensemble, ..
    } = storage;
    epoch(known.accepted, out);
    // These follow, too, but for switches that forget or keep one in memory.
    configurations(txn::listed(ensemble), out);
    let elections = bounds.grain == Grain::E2;
    if elections {
        round(*r, out);
    }
    match role {
        Role::Draining { heard } => {
            out.push(0);
            if elections {
                small(heard.len(), out);
                for (from, n) in heard {
                    server(*from, out);
                    notification(n, out);
                }
            }
        }
        Role::Looking(l) => {
            out.push(1);
            if elections {
                looking(l, out);
            }
        }
        Role::Following(f) => {
            out.push(2);
            following(f, elections, out);
        }
        Role::Leading(l) => {
            out.push(3);
            leading(l, elections, out);
        }
    }
}

fn looking(l: &Looking, out: &mut Bytes) {
    let Looking {
        own: _, // epoch and zxid of the disk, which is idle, and the id
        proposal,
        received,
        settled,
        deciding,
    } = l;
    vote(proposal, out);
    // The proposal only gets better within a round, so a vote of the election that it has left behind is dead.
    let live = |b: &Ballot| b.state != ServerState::Looking || b.vote == *proposal;
    for (from, b) in received.iter().filter(|(_, b)| live(b)) {
        server(*from, out);
        ballot(b, out);
    }
    out.push(255);
    for (from, b) in settled {
        server(*from, out);
        ballot(b, out);
    }
    out.push(u8::from(*deciding));
}

fn vote(v: &Vote, out: &mut Bytes) {
    let Vote {
        epoch: e,
        zxid: z,
        leader,
    } = v;
    epoch(*e, out);
    zxid(*z, out);
    server(*leader, out);
}

fn ballot(b: &Ballot, out: &mut Bytes) {
    let Ballot { vote: v, state } = b;
    vote(v, out);
    out.push(*state as u8);
}

pub(super) fn notification(n: &Notification, out: &mut Bytes) {
    let Notification {
        state,
        vote: v,
        round: r,
    } = n;
    out.push(*state as u8);
    vote(v, out);
    round(*r, out);
}

/// The kept vote answers elections; without elections only whom it names matters.
fn kept_vote(v: &Vote, elections: bool, out: &mut Bytes) {
    if elections {
        vote(v, out);
    } else {
        server(v.leader, out);
    }
}

fn following(f: &Following, elections: bool, out: &mut Bytes) {
    let Following {
        vote: v,
        observer: _, // the configuration tells
        link,
        stage,
        epoch: e,
        wants_snap,
        committed,
    } = f;
    kept_vote(v, elections, out);
    match link {
        Some(l) => self::link(l.0, out),
        None => out.push(255),
    }
    out.push(*stage as u8);
    epoch(*e, out);
    // It speaks only until ACKEPOCH is sent.
    out.push(u8::from(*wants_snap && *stage < FollowingStage::AwaitSync));
    zxid(*committed, out);
}

fn leading(l: &Leading, elections: bool, out: &mut Bytes) {
    let Leading {
        vote: v,
        phase,
        epoch: e,
        seat: _, // follows from the ensemble
        learners,
        committed,
        outstanding,
        own: _, // nothing is late here: `ack_ticks_max` is 0
    } = l;
    kept_vote(v, elections, out);
    out.push(*phase as u8);
    epoch(*e, out);
    small(learners.len(), out);
    let mut learners: Vec<_> = learners.iter().collect();
    learners.sort_unstable_by_key(|l| link_name(l.link.0, out));
    learners.into_iter().for_each(|l| learner(l, out));
    zxid(*committed, out);
    small(outstanding.len(), out);
    for Outstanding { zxid: z, acks } in outstanding {
        zxid(*z, out);
        let Acks { active, next } = acks;
        voters(*active, out);
        small(next.0, out);
    }
}

fn learner(l: &Learner, out: &mut Bytes) {
    let Learner {
        link,
        stage,
        sid: _, // the link tells
        seat: _,
        observer: _,
        by_snap: _,  // no limit is reached here: there is none
        progress: _, // as the leader's own
    } = l;
    self::link(link.0, out);
    match stage {
        LearnerStage::Linked => out.push(0),
        LearnerStage::Introduced(e) => {
            out.push(1);
            epoch(*e, out);
        }
        LearnerStage::Invited => out.push(2),
        LearnerStage::EpochAcked { last, counted } => {
            out.push(if *counted { 3 } else { 4 });
            zxid(*last, out);
        }
        LearnerStage::Synced => out.push(5),
        LearnerStage::Active => out.push(6),
    }
}

pub(super) fn wire(w: &Wire, out: &mut Bytes) {
    link(w.id, out);
    let leader = out.name(w.leader);
    small(leader, out);
    let flags = [w.is_open(End::Leader), w.is_open(End::Learner), w.cut];
    out.push(flags.iter().fold(0, |bits, f| bits << 1 | u8::from(*f)));
    for end in [End::Leader, End::Learner] {
        small(w.inbox(end).len(), out);
        w.inbox(end).iter().for_each(|f| frame(f, out));
    }
}

pub(super) fn frame(f: &Frame, out: &mut Bytes) {
    let Frame { packet, tree } = f;
    match packet {
        Packet::FollowerInfo { sid, accepted } => {
            out.push(0);
            server(*sid, out);
            epoch(*accepted, out);
        }
        Packet::LeaderInfo { epoch: e } => {
            out.push(1);
            epoch(*e, out);
        }
        Packet::AckEpoch { last, current } => {
            out.push(2);
            zxid(*last, out);
            small(current.map_or(255, |e| e.0), out);
        }
        Packet::Diff { zxid: z } => {
            out.push(3);
            zxid(*z, out);
        }
        Packet::Trunc { zxid: z } => {
            out.push(4);
            zxid(*z, out);
        }
        Packet::Snap { zxid: z, ensemble } => {
            out.push(5);
            zxid(*z, out);
            configurations(txn::listed(ensemble), out);
            zxids(tree, out);
        }
        Packet::Proposal { zxid: z, txn } => {
            out.extend([6, txn.members()]);
            zxid(*z, out);
        }
        Packet::Commit { zxid: z } => {
            out.push(7);
            zxid(*z, out);
        }
        Packet::CommitAndActivate { zxid: z } => {
            out.push(12);
            zxid(*z, out);
        }
        Packet::NewLeader { epoch: e } => {
            out.push(8);
            epoch(*e, out);
        }
        Packet::UpToDate => out.push(9),
        Packet::Ack { zxid: z } => {
            out.push(10);
            zxid(*z, out);
        }
        Packet::Ping { zxid: z } => {
            out.push(11);
            zxid(*z, out);
        }
        Packet::ObserverInfo { sid, accepted } => {
            out.push(14);
            server(*sid, out);
            epoch(*accepted, out);
        }
        Packet::Inform { zxid: z, txn } => {
            out.extend([13, txn.members()]);
            zxid(*z, out);
        }
    }
}

/// Appends the canonical bytes of what the invariants see of this server.
pub(super) fn view(node: &Node, server: &Server, out: &mut Bytes) {
    let Server {
        id: _,
        observer: _, // a server is what its place makes it
        serving,
        participant,
        primary,
        kept,
        active,
    } = server;
    small(node.at, out);
    for part in [serving, participant] {
        match part {
            None => out.push(255),
            Some((of, history)) => {
                epoch(*of, out);
                zxids(history, out);
            }
        }
    }
    match primary {
        None => out.push(255),
        Some(of) => epoch(*of, out),
    }
    let Kept {
        current,
        history,
        binds: _, // that follows from
        boots,
    } = kept;
    epoch(*current, out);
    zxids(history, out);
    configurations(node.disk.image.binds(), out);
    zxid(*active, out);
    out.push(u8::from(*boots));
}
