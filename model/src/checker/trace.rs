//! Traces: what happened in a modelled cluster, step by step, as NDJSON for programs and as text for people.
//!
//! A trace names everything that an observer outside the servers can compare: each packet and vote that is sent,
//! each write, and the state of each server after the step. Running servers are held against such files.

use super::action::Action;
use super::cluster::{Cluster, Done, Log, World};
use super::disk::PendingWrite;
use super::model::Zab;
use super::node::Node;
use super::txn::{Listed, Txn, listed};
use super::words::{done_text, id, op_record};
use crate::ensemble::Ensemble;
use crate::ids::Zxid;
use crate::packet::Packet;
use crate::peer::Peer;
use crate::vote::Notification;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

pub use super::words::{action_text, cluster_text, on_the_wire, server_text};
pub(super) use super::words::{
    cached_text, list_text, op_text, packet_text, state_name, vote_text,
};

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
    /// How many of them have a vote at first.
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
    /// PROPOSAL: the voters of the list that it brings.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub voters: Vec<u8>,
    /// SNAP and NEWLEADER: the lists that they carry.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lists: Option<ListsRecord>,
    /// The connection was already broken.
    #[serde(skip_serializing_if = "core::ops::Not::not", default)]
    pub lost: bool,
}

/// A list of voters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListRecord {
    /// The zxid of the transaction that has brought it.
    pub version: u64,
    /// Who votes.
    pub voters: Vec<u8>,
}

impl From<Listed> for ListRecord {
    fn from(list: Listed) -> Self {
        Self {
            version: list.version.0,
            voters: voter_ids(list.members),
        }
    }
}

/// The lists that bind a server. They are told where lists stand in files, as the servers' do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListsRecord {
    /// Known to be committed.
    pub active: ListRecord,
    /// In the log, and not known to be committed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<ListRecord>,
}

impl From<&Ensemble> for ListsRecord {
    fn from(ensemble: &Ensemble) -> Self {
        let (active, next) = listed(ensemble);
        Self {
            active: active.into(),
            next: next.map(Into::into),
        }
    }
}

fn voter_ids(members: u8) -> Vec<u8> {
    (0..8)
        .filter(|i| members >> i & 1 == 1)
        .map(|i| i + 1)
        .collect()
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
    /// The vote's leader; 2⁶³ is nobody.
    pub leader: u64,
    /// Its zxid.
    pub zxid: u64,
    /// Its epoch.
    pub epoch: u32,
    /// The sender's round.
    pub round: u64,
    /// The lists that bind the sender.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lists: Option<ListsRecord>,
    /// Nobody was there to hear it.
    #[serde(skip_serializing_if = "core::ops::Not::not", default)]
    pub lost: bool,
}

/// A write.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WriteRecord {
    /// Whose disk.
    pub server: u8,
    /// acceptedEpoch, currentEpoch, append, truncate, install or activate.
    pub kind: String,
    /// Epoch or zxid.
    pub value: u64,
    /// append: the voters of the list that it brings.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub voters: Vec<u8>,
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
    /// The lists that bind it while it runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lists: Option<ListsRecord>,
    /// The list that its disk says to be active.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kept: Option<ListRecord>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn server_record(world: &World, node: &Node) -> ServerRecord {
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
        lists: lists_of(world, node),
        kept: world
            .bounds
            .lists_in_files
            .then(|| node.disk.image.active.into()),
    }
}

fn lists_of(world: &World, node: &Node) -> Option<ListsRecord> {
    let peer = node.peer.as_ref().filter(|_| world.bounds.lists_in_files)?;
    Some(peer.ensemble().into())
}

/// The lists that a packet carries from that server: SNAP those of its tree, if any has a version, NEWLEADER the newest.
fn lists_in(world: &World, from: &Node, packet: &Packet<Txn>) -> Option<ListsRecord> {
    let own = lists_of(world, from)?;
    match packet {
        Packet::Snap { ensemble, .. } => {
            let lists = ListsRecord::from(&**ensemble);
            let newest = lists.next.as_ref().unwrap_or(&lists.active);
            (newest.version > 0).then_some(lists)
        }
        Packet::NewLeader { .. } => Some(ListsRecord {
            active: own.next.unwrap_or(own.active),
            next: None,
        }),
        _ => None,
    }
}

/// A vote, and the lists that bind its sender at the end of the step.
fn vote_record(
    world: &World,
    c: &Cluster,
    (from, to): (usize, usize),
    n: &Notification,
    lost: bool,
) -> VoteRecord {
    VoteRecord {
        from: id(from),
        to: id(to),
        state: state_name(n.state).to_string(),
        leader: n.vote.leader.0,
        zxid: n.vote.zxid.0,
        epoch: n.vote.epoch.0,
        round: n.round.0,
        lists: lists_of(world, c.node(world, from)),
        lost,
    }
}

/// Every server as it is.
#[must_use]
pub fn server_records(world: &World, c: &Cluster) -> Vec<ServerRecord> {
    c.nodes(world).map(|n| server_record(world, n)).collect()
}

/// Takes one step and records it.
pub fn record(model: &Zab, c: &mut Cluster, n: usize, action: Action) -> (Step, Vec<Done>, u64) {
    let world = &model.world;
    let text = action_text(world, c, action);
    let before = server_records(world, c);
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
                    voters: match &frame.packet {
                        Packet::Proposal { txn, .. } => voter_ids(txn.members()),
                        _ => Vec::new(),
                    },
                    lists: lists_in(world, c.node(world, *from), &frame.packet),
                    lost: *lost,
                });
            }
            Done::Voted {
                from,
                to,
                notification,
                lost,
            } => votes.push(vote_record(world, c, (*from, *to), notification, *lost)),
            Done::Queued { server, op } => {
                let (kind, value) = op_record(op);
                writes.push(WriteRecord {
                    server: id(*server),
                    kind: kind.to_string(),
                    value,
                    voters: match op {
                        PendingWrite::Append(_, txn) => voter_ids(txn.members()),
                        _ => Vec::new(),
                    },
                });
            }
            Done::Other { .. } => {}
        }
    }
    let mut servers = server_records(world, c);
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
