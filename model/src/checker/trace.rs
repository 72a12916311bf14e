//! Traces: what happened in a modelled cluster, step by step, as NDJSON for programs and as text for people.
//!
//! A trace names everything that an observer outside the servers can compare: each packet and vote that is sent,
//! each write, and the state of each server after the step. Running servers are held against such files.

use super::action::Action;
use super::cluster::{Cluster, Done, Log, World};
use super::disk::PendingWrite;
use super::link::{End, Frame};
use super::model::Zab;
use super::node::Node;
use super::txn::Txn;
use crate::ensemble::Config;
use crate::ids::{Epoch, Zxid};
use crate::packet::Packet;
use crate::peer::{Peer, Role};
use crate::step::Effect;
use crate::vote::{Notification, ServerState};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The format that this module writes: from 2 on only the servers that a step has changed are named; in 3 actions are spelled as in
/// SPEC.md.
pub const SCHEMA: u32 = 3;

/// The first line of a trace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The format: [`SCHEMA`].
    pub schema: u32,
    /// The configuration.
    pub config: String,
    /// How many servers.
    pub servers: u8,
    /// Which of the configuration's initial states.
    pub initial: usize,
    /// Why the trace was kept.
    pub about: String,
    /// Every server before the first step.
    pub at_first: Vec<ServerRecord>,
}

/// Every further line: one step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// From 1.
    pub n: usize,
    /// What happened.
    pub action: Action,
    /// The same for people.
    pub text: String,
    /// The packets that were sent, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub frames: Vec<FrameRecord>,
    /// The election messages that were sent, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub votes: Vec<VoteRecord>,
    /// The writes that were asked for, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub writes: Vec<WriteRecord>,
    /// The servers that are not as they were before the step.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub servers: Vec<ServerRecord>,
}

/// A packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrameRecord {
    /// On which connection: four numbers for each learner, from 0 for server 1.
    pub link: u64,
    /// By which server.
    pub from: u8,
    /// To which server.
    pub to: u8,
    /// ZooKeeper's name of it.
    pub packet: String,
    /// Its zxid field as on the wire.
    pub zxid: i64,
    /// ACKEPOCH: the learner's current epoch, -1 if it does not count.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epoch: Option<i64>,
    /// SNAP: the transactions in the tree.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tree: Vec<u64>,
    /// The connection was already broken.
    #[serde(skip_serializing_if = "core::ops::Not::not", default)]
    pub lost: bool,
}

/// An election message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VoteRecord {
    /// By which server.
    pub from: u8,
    /// To which server.
    pub to: u8,
    /// LOOKING, FOLLOWING, LEADING.
    pub state: String,
    /// The vote's leader.
    pub leader: u64,
    /// Its zxid.
    pub zxid: u64,
    /// Its epoch.
    pub epoch: u32,
    /// The sender's round.
    pub round: u64,
    /// Nobody was there to hear it.
    #[serde(skip_serializing_if = "core::ops::Not::not", default)]
    pub lost: bool,
}

/// A write.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WriteRecord {
    /// Whose disk.
    pub server: u8,
    /// acceptedEpoch, currentEpoch, append, truncate or install.
    pub kind: String,
    /// Epoch or zxid.
    pub value: u64,
}

/// A server after a step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Who.
    pub id: u8,
    /// Whether it runs; all further fields speak of the disk alone if not.
    pub up: bool,
    /// LOOKING, FOLLOWING, LEADING, OBSERVING; empty if down.
    pub role: String,
    /// The epoch that it serves clients in.
    pub serving: Option<u32>,
    /// The round of its last election.
    pub round: u64,
    /// acceptedEpoch on disk.
    pub accepted: u32,
    /// currentEpoch on disk.
    pub current: u32,
    /// The end of the history on disk.
    pub durable: u64,
    /// The end of the history, pending writes included.
    pub logged: u64,
    /// The last transaction applied to the tree.
    pub applied: u64,
    /// Writes on the way to the disk.
    pub pending: usize,
    /// Writes that a process which died has left in the page cache.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub cached: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn id(i: usize) -> u8 {
    u8::try_from(i + 1).unwrap_or(u8::MAX)
}

pub(super) const fn state_name(state: ServerState) -> &'static str {
    match state {
        ServerState::Looking => "LOOKING",
        ServerState::Following => "FOLLOWING",
        ServerState::Leading => "LEADING",
        ServerState::Observing => "OBSERVING",
    }
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

fn op_record(op: &PendingWrite) -> (&'static str, u64) {
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

/// What is in the page cache of a server.
pub(super) fn cached_text(node: &Node) -> String {
    let ops: Vec<String> = node.disk.cache.ops.iter().map(op_text).collect();
    ops.join(", ")
}

fn done_text(done: &Done) -> Option<String> {
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

fn server_record(node: &Node) -> ServerRecord {
    let i = node.at;
    let peer = node.peer.as_ref();
    let last = |zxids: &[Zxid]| zxids.last().map_or(0, |z| z.0);
    ServerRecord {
        id: id(i),
        up: peer.is_some(),
        role: peer.map_or_else(String::new, |p| state_name(p.state()).to_string()),
        serving: peer.and_then(Peer::serving).map(|e| e.0),
        round: peer.map_or(0, |p| p.round.0),
        accepted: node.disk.image.accepted.0,
        current: node.disk.image.current.0,
        durable: last(&node.disk.image.content()),
        logged: last(&node.disk.image_asked().content()),
        applied: last(&node.tree),
        pending: node.disk.queue.len(),
        cached: node.disk.cache.ops.len(),
    }
}

/// Every server as it is.
#[must_use]
pub fn server_records(world: &World, c: &Cluster) -> Vec<ServerRecord> {
    c.nodes(world).map(server_record).collect()
}

/// Takes one step and records it.
pub fn record(model: &Zab, c: &mut Cluster, n: usize, action: Action) -> (Step, Vec<Done>, u64) {
    let text = action_text(&model.world, c, action);
    let before = server_records(&model.world, c);
    let mut log = Log::keeping();
    model.apply(c, action, &mut log);
    let (mut frames, mut votes, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for done in &log.done {
        match done {
            Done::Sent {
                link,
                from,
                to,
                frame,
                lost,
            } => {
                let (packet, zxid, epoch) = on_the_wire(&frame.packet);
                frames.push(FrameRecord {
                    link: *link,
                    from: id(*from),
                    to: id(*to),
                    packet: packet.to_string(),
                    zxid,
                    epoch,
                    tree: frame.tree.iter().map(|z| z.0).collect(),
                    lost: *lost,
                });
            }
            Done::Voted {
                from,
                to,
                notification: n,
                lost,
            } => votes.push(VoteRecord {
                from: id(*from),
                to: id(*to),
                state: state_name(n.state).to_string(),
                leader: n.vote.leader.0,
                zxid: n.vote.zxid.0,
                epoch: n.vote.epoch.0,
                round: n.round.0,
                lost: *lost,
            }),
            Done::Queued { server, op } => {
                let (kind, value) = op_record(op);
                writes.push(WriteRecord {
                    server: id(*server),
                    kind: kind.to_string(),
                    value,
                });
            }
            Done::Other { .. } => {}
        }
    }
    let mut servers = server_records(&model.world, c);
    servers.retain(|is| !before.contains(is));
    let step = Step {
        n,
        action,
        text,
        frames,
        votes,
        writes,
        servers,
    };
    (step, log.done, log.witnessed)
}

/// The first line of a trace that begins with this cluster.
#[must_use]
pub fn header(model: &Zab, first: &Cluster, initial: usize, about: &str) -> Header {
    Header {
        schema: SCHEMA,
        config: model.bounds.name.to_string(),
        servers: model.bounds.servers,
        initial,
        about: about.to_string(),
        at_first: server_records(&model.world, first),
    }
}

/// What a stored trace says was done. Whether the model does so, [`verify`] tells.
///
/// # Errors
/// The line that is no record.
pub fn parse(text: &str) -> Result<(Header, Vec<Action>), String> {
    let mut lines = text.lines().enumerate();
    let bad = |n: usize, e: serde_json::Error| format!("line {}: {e}", n + 1);
    let (_, first) = lines.next().unwrap_or_default();
    let header = serde_json::from_str(first).map_err(|e| bad(0, e))?;
    let action = |(n, line): (usize, &str)| {
        let step: Step = serde_json::from_str(line).map_err(|e| bad(n, e))?;
        Ok(step.action)
    };
    Ok((header, lines.map(action).collect::<Result<_, String>>()?))
}

/// Runs a stored trace and compares every record with the model: the number of its steps, or where it differs.
///
/// # Errors
/// The line, and what is wrong with it.
pub fn verify(text: &str) -> Result<usize, (usize, String)> {
    let at = |line: usize, what: &dyn core::fmt::Display| (line, what.to_string());
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let header: Header = serde_json::from_str(first).map_err(|e| at(1, &e))?;
    let Some(bounds) = super::bounds::find(&header.config) else {
        return Err(at(1, &format!("{} is not a configuration", header.config)));
    };
    let model = Zab::new(bounds);
    let Some(mut cluster) = model.initial().into_iter().nth(header.initial) else {
        return Err(at(1, &"no such initial state"));
    };
    if header.schema != SCHEMA || header.at_first != server_records(&model.world, &cluster) {
        return Err(at(1, &"another format, or another initial state"));
    }
    let mut steps = 0;
    for (n, line) in lines.enumerate() {
        let stored: Step = serde_json::from_str(line).map_err(|e| at(n + 2, &e))?;
        let mut enabled = Vec::new();
        model.enabled(&cluster, &mut enabled);
        if stored.n != n + 1 || !enabled.contains(&stored.action) {
            let Step {
                n: number, text, ..
            } = stored;
            let what = format!("step {number} ({text}) cannot happen here; what can: {enabled:?}");
            return Err(at(n + 2, &what));
        }
        let (step, _, _) = record(&model, &mut cluster, stored.n, stored.action);
        if step != stored {
            let json = serde_json::to_string(&step).unwrap_or_default();
            return Err(at(n + 2, &format!("the model does otherwise: {json}")));
        }
        steps += 1;
    }
    Ok(steps)
}

/// What a step does, for people: what is said and written, and every server that it changes.
fn step_text(model: &Zab, c: &mut Cluster, n: usize, action: Action) -> (Step, String) {
    let before: Vec<String> = (0..c.n())
        .map(|i| server_text(&model.world, c, i))
        .collect();
    let (step, done, _) = record(model, c, n, action);
    let said = done.iter().filter_map(done_text);
    let mut lines: Vec<String> = said.map(|text| format!("-> {text}")).collect();
    for (i, was) in before.iter().enumerate() {
        let is = server_text(&model.world, c, i);
        if is != *was {
            lines.push(is);
        }
    }
    (step, lines.join("\n"))
}

/// What a step from here would do.
#[must_use]
pub fn outcome_text(model: &Zab, before: &Cluster, action: Action) -> String {
    let mut c = *before;
    let (step, text) = step_text(model, &mut c, 0, action);
    format!("{}\n{text}", step.text)
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

/// A run for people: numbered steps, who does what, and what that leaves.
#[must_use]
pub fn story(model: &Zab, initial: usize, actions: &[Action]) -> String {
    let Some(mut c) = model.initial().into_iter().nth(initial) else {
        return String::new();
    };
    let mut out = String::from("  at first\n");
    for i in 0..c.n() {
        out.push_str(&format!("        {}\n", server_text(&model.world, &c, i)));
    }
    for (n, action) in actions.iter().enumerate() {
        let (step, text) = step_text(model, &mut c, n + 1, *action);
        out.push_str(&format!("  {:>3}. {}\n", step.n, step.text));
        for line in text.lines() {
            out.push_str(&format!("        {line}\n"));
        }
    }
    out
}
