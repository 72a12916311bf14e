//! A modelled cluster in words, for people: packets, votes, writes, actions, servers.

use super::action::Action;
use super::cluster::{Cluster, Done, World};
use super::disk::PendingWrite;
use super::link::{End, Frame};
use super::node::Node;
use super::txn::Txn;
pub(super) use crate::diagram::state_name;
use crate::ensemble::Config;
use crate::ids::{Epoch, Zxid};
use crate::packet::Packet;
use crate::peer::Role;
use crate::step::Effect;
use crate::vote::Notification;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub(super) fn id(i: usize) -> u8 {
    u8::try_from(i + 1).unwrap_or(u8::MAX)
}

/// A packet's ZooKeeper name, its zxid field, and the epoch in its data.
#[must_use]
pub fn on_the_wire(packet: &Packet<Txn>) -> (&'static str, i64, Option<i64>) {
    let at = |z: Zxid| z.0.cast_signed();
    let begin = |e: Epoch| at(Zxid::new(e, 0));
    match packet {
        Packet::FollowerInfo { accepted, .. } => ("FOLLOWERINFO", begin(*accepted), None),
        Packet::ObserverInfo { accepted, .. } => ("OBSERVERINFO", begin(*accepted), None),
        Packet::LeaderInfo { epoch } => ("LEADERINFO", begin(*epoch), None),
        Packet::AckEpoch { last, current } => {
            let epoch = current.map_or(-1, |e| i64::from(e.0));
            ("ACKEPOCH", at(*last), Some(epoch))
        }
        Packet::Diff { zxid } => ("DIFF", at(*zxid), None),
        Packet::Trunc { zxid } => ("TRUNC", at(*zxid), None),
        Packet::Snap { zxid, .. } => ("SNAP", at(*zxid), None),
        Packet::Proposal { zxid, .. } => ("PROPOSAL", at(*zxid), None),
        Packet::Commit { zxid } => ("COMMIT", at(*zxid), None),
        Packet::Inform { zxid, .. } => ("INFORM", at(*zxid), None),
        Packet::CommitAndActivate { zxid } => ("COMMITANDACTIVATE", at(*zxid), None),
        Packet::NewLeader { epoch } => ("NEWLEADER", begin(*epoch), None),
        Packet::UpToDate => ("UPTODATE", -1, None),
        Packet::Ack { zxid } => ("ACK", at(*zxid), None),
        Packet::Ping { zxid } => ("PING", at(*zxid), None),
    }
}

pub(super) fn packet_text(frame: &Frame) -> String {
    let (name, zxid, epoch) = on_the_wire(&frame.packet);
    let zxid = Zxid(zxid.cast_unsigned());
    match (&frame.packet, epoch) {
        (Packet::UpToDate, _) => name.to_string(),
        (Packet::AckEpoch { .. }, Some(-1)) if zxid == Zxid(u64::MAX) => {
            format!("{name} without a position, not counting")
        }
        (_, Some(-1)) => format!("{name} {zxid:?}, not counting"),
        (_, Some(e)) => format!("{name} {zxid:?} of epoch {e}"),
        (_, None) => format!("{name} {zxid:?}"),
    }
}

pub(super) fn vote_text(n: &Notification) -> String {
    format!(
        "{} for {} ({}, {:?}) in round {}",
        state_name(n.state),
        n.vote.leader,
        n.vote.epoch,
        n.vote.zxid,
        n.round.0
    )
}

pub(super) fn op_record(op: &PendingWrite) -> (&'static str, u64) {
    match op {
        PendingWrite::AcceptedEpoch(e) => ("acceptedEpoch", u64::from(e.0)),
        PendingWrite::CurrentEpoch(e) => ("currentEpoch", u64::from(e.0)),
        PendingWrite::Append(z, _) => ("append", z.0),
        PendingWrite::Truncate(z) => ("truncate", z.0),
        PendingWrite::Activate(z) => ("activate", z.0),
        PendingWrite::Install(tree, ..) => ("install", tree.last().map_or(0, |z| z.0)),
    }
}

pub(super) fn op_text(op: &PendingWrite) -> String {
    match (op, op_record(op)) {
        (PendingWrite::AcceptedEpoch(_) | PendingWrite::CurrentEpoch(_), (kind, value)) => {
            format!("{kind} {value}")
        }
        (_, (kind, value)) => format!("{kind} {:?}", Zxid(value)),
    }
}

/// What is about to happen, with the packet or vote in it.
#[must_use]
pub fn action_text(world: &World, c: &Cluster, action: Action) -> String {
    text_with_parts(world, c, action).unwrap_or_else(|| action.to_string())
}

/// That, where the cluster tells more than the action.
fn text_with_parts(world: &World, c: &Cluster, action: Action) -> Option<String> {
    let ends = |link: u64, at: End| {
        let w = c.wire(world, link)?;
        Some((id(w.server(at)), id(w.server(at.other()))))
    };
    Some(match action {
        Action::Receive { link, at } => {
            let (to, from) = ends(link, at)?;
            let packet = packet_text(c.wire(world, link)?.inbox(at).front()?);
            format!("server {to} receives {packet} from server {from}")
        }
        Action::HearClose { link, at } => {
            let (to, from) = ends(link, at)?;
            format!("server {to} learns that its connection to server {from} is over")
        }
        Action::Disconnect { link } => {
            let (a, b) = ends(link, End::Leader)?;
            format!("the network breaks the connection of servers {a} and {b}")
        }
        Action::Overtake { link } => {
            let (leader, learner) = ends(link, End::Leader)?;
            format!(
                "server {leader} queues NEWLEADER for server {learner} only after the next packet"
            )
        }
        Action::EarlyPing { link } => {
            let (leader, learner) = ends(link, End::Leader)?;
            format!(
                "server {leader} sends PING to server {learner}, which owes the ACK of NEWLEADER"
            )
        }
        Action::SnapLater { link } => {
            let (leader, learner) = ends(link, End::Leader)?;
            format!("server {leader} reads the snapshot for server {learner} only now")
        }
        Action::Notify { from, to } => {
            let mail = c.mail(world, usize::from(to) - 1);
            let vote = mail.get(usize::from(from) - 1)?.first()?;
            format!("server {to} hears server {from}: {}", vote_text(vote))
        }
        Action::Flush { .. }
        | Action::SyncFound { .. }
        | Action::Crash { .. }
        | Action::FailSync { .. } => return text_of_disk(world, c, action),
        Action::Lead { .. }
        | Action::Follow { .. }
        | Action::ElectBest { .. }
        | Action::Connect { .. }
        | Action::GiveUp { .. }
        | Action::Settle { .. }
        | Action::Fire { .. }
        | Action::Snapshot { .. }
        | Action::Propose { .. }
        | Action::Reconfigure { .. }
        | Action::Die { .. }
        | Action::FailWrite { .. }
        | Action::Start { .. } => return None,
    })
}

/// The same of a server's disk.
fn text_of_disk(world: &World, c: &Cluster, action: Action) -> Option<String> {
    Some(match action {
        Action::Flush { server } => {
            let disk = &c.node(world, usize::from(server) - 1).disk;
            let write = op_text(disk.queue.front()?);
            format!("the disk of server {server} completes {write}")
        }
        Action::SyncFound { server } => {
            let found = cached_text(c.node(world, usize::from(server) - 1));
            format!("server {server} has synced what it found, {found}, and starts")
        }
        Action::Crash { server, kept } => {
            let node = c.node(world, usize::from(server) - 1);
            if node.peer.is_some() {
                return None;
            }
            let found = cached_text(node);
            format!(
                "the power of server {server} fails before it has synced what it found, {found}; {kept} of it is on the disk"
            )
        }
        Action::FailSync { server, .. } => {
            let node = c.node(world, usize::from(server) - 1);
            if node.peer.is_some() {
                return None;
            }
            format!(
                "server {server} fails to sync what it found, {}, and stops",
                cached_text(node)
            )
        }
        _ => return None, // what happens on the network, and what tells all by itself
    })
}

/// What is in the page cache of a server.
pub(super) fn cached_text(node: &Node) -> String {
    let ops: Vec<String> = node.disk.cache.ops.iter().map(op_text).collect();
    ops.join(", ")
}

pub(super) fn done_text(done: &Done) -> Option<String> {
    let gone = |lost: &bool| if *lost { ", which is lost" } else { "" };
    Some(match done {
        Done::Sent {
            from,
            to,
            frame,
            lost,
            ..
        } => {
            format!(
                "server {} sends {} to server {}{}",
                id(*from),
                packet_text(frame),
                id(*to),
                gone(lost)
            )
        }
        Done::Voted {
            from,
            to,
            notification,
            lost,
        } => {
            format!(
                "server {} tells server {}: {}{}",
                id(*from),
                id(*to),
                vote_text(notification),
                gone(lost)
            )
        }
        Done::Queued { server, op } => {
            format!("server {} queues the write {}", id(*server), op_text(op))
        }
        Done::Other { server, effect } => match effect {
            Effect::Deliver { upto } => format!("server {} applies up to {upto:?}", id(*server)),
            Effect::Serve { epoch } => format!("server {} serves epoch {epoch}", id(*server)),
            Effect::Became(state) => format!("server {} is {}", id(*server), state_name(*state)),
            Effect::Refused(fault) => format!("server {} refuses: {fault}", id(*server)),
            _ => return None,
        },
    })
}

/// Transactions, as people write them.
pub(super) fn list_text(zxids: &[Zxid]) -> String {
    let texts: Vec<String> = zxids.iter().map(|z| format!("{z:?}")).collect();
    match &texts[..] {
        [] => "-".to_string(),
        some => some.join(" "),
    }
}

/// A server in one line.
#[must_use]
pub fn server_text(world: &World, c: &Cluster, i: usize) -> String {
    let node = c.node(world, i);
    let doing = match &node.peer {
        None => "down".to_string(),
        Some(p) => match &p.role {
            Role::Draining { .. } => "LOOKING, draining its disk".to_string(),
            Role::Looking(l) => format!("LOOKING, for {}", l.proposal.leader),
            Role::Following(f) => {
                let doing = state_name(f.state());
                format!("{doing} {}, {:?}", f.vote.leader, f.stage)
            }
            Role::Leading(l) => format!("LEADING epoch {}, {:?}", l.epoch, l.phase),
        },
    };
    let image = &node.disk.image;
    let pending: Vec<String> = node.disk.queue.iter().map(op_text).collect();
    let mut text = format!(
        "server {}: {doing}; accepted {}, current {}, log {}",
        id(i),
        image.accepted,
        image.current,
        list_text(&image.content())
    );
    if !pending.is_empty() {
        text.push_str(&format!(", pending {}", pending.join(", ")));
    }
    if !node.disk.cache.ops.is_empty() {
        let clean = if node.disk.cache.clean { ", clean" } else { "" };
        text.push_str(&format!(", in the page cache{clean} {}", cached_text(node)));
    }
    if node.peer.is_some() {
        text.push_str(&format!(", applied {}", list_text(&node.tree)));
    }
    text.push_str(&lists_text(node));
    text
}

/// The lists of voters that bind a running server, once there is a reconfiguration.
fn lists_text(node: &Node) -> String {
    let Some(peer) = &node.peer else {
        return String::new();
    };
    let voters = |c: &Config| {
        let ids: Vec<String> = c.voters.iter().map(|id| id.to_string()).collect();
        ids.join(",")
    };
    let ensemble = peer.ensemble();
    match ensemble.next() {
        Some(next) => format!(
            "; voters {}, and {} once {} is committed",
            voters(ensemble.active()),
            voters(next),
            format_args!("{:?}", next.version)
        ),
        None if ensemble.active().version > Zxid::ZERO => {
            format!("; voters {}", voters(ensemble.active()))
        }
        None => String::new(),
    }
}

/// A whole cluster for people: every server, then what is on the way.
#[must_use]
pub fn cluster_text(world: &World, c: &Cluster) -> String {
    let mut lines: Vec<String> = (0..c.n()).map(|i| server_text(world, c, i)).collect();
    for w in c.wires(world) {
        let (leader, learner) = (id(w.leader), id(w.learner));
        let cut = if w.cut { ", broken" } else { "" };
        lines.push(format!(
            "link {} of leader {leader} and learner {learner}{cut}",
            w.id
        ));
        for end in [End::Leader, End::Learner] {
            let server = id(w.server(end));
            if !w.is_open(end) {
                lines.push(format!("  server {server} has let go of it"));
            }
            let frames: Vec<String> = w.inbox(end).iter().map(packet_text).collect();
            if !frames.is_empty() {
                lines.push(format!("  to server {server}: {}", frames.join(", ")));
            }
        }
    }
    for to in 0..c.n() {
        for (from, votes) in c.mail(world, to).iter().enumerate() {
            for vote in votes {
                let (from, to, text) = (id(from), id(to), vote_text(vote));
                lines.push(format!("mail of server {from} to server {to}: {text}"));
            }
        }
    }
    lines.push(format!(
        "committed {}; so far {} crashes, {} broken connections, {} transactions",
        list_text(&c.past(world).committed),
        c.spent.crashes,
        c.spent.disconnects,
        c.spent.txns
    ));
    lines.join("\n")
}
