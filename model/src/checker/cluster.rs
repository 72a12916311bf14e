//! A whole cluster as one value: servers, disks, connections, mail, budgets, and what has been observed.
//!
//! Everything a server decides, it decides in [`Peer::step`]; this file only carries out its effects.

use super::bounds::{Bounds, Disk as DiskGrain, Grain};
use super::disk::{Disk, Op};
use super::host;
use super::link::{End, Frame, Wire};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::leader::Phase;
use crate::packet::Packet;
use crate::peer::{Peer, Role};
use crate::quorum::Voters;
use crate::step::{Effect, Effects, Env, Input, Link};
use crate::switch::Switches;
use crate::vote::Notification;
use alloc::vec;
use alloc::vec::Vec;

/// One server of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// The running server; `None` while it is down.
    pub peer: Option<Peer>,
    /// Its disk.
    pub disk: Disk,
    /// The transactions that are applied to its tree in memory.
    pub tree: Vec<Zxid>,
}

/// What an observer of the whole cluster remembers; no server can see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ghost {
    /// The longest sequence that a serving server has applied.
    pub committed: Vec<Zxid>,
    /// What was ever proposed, in zxid order.
    pub proposed: Vec<Zxid>,
    /// Who was ever past discovery as the leader of an epoch.
    pub primaries: Vec<(Epoch, usize)>,
    /// The initial history of every established epoch.
    pub initial: Vec<(Epoch, Vec<Zxid>)>,
    /// Wrongs that show only in the step that does them: bits of [`Wrong`].
    pub wrongs: u8,
}

/// Bits of [`Ghost::wrongs`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Wrong {
    /// Two servers were leader of one epoch.
    TwoPrimaries = 1,
    /// A write dropped a committed transaction from a disk.
    CommittedTruncated = 2,
    /// A server got a packet that its phase can never get.
    BadPacket = 4,
    /// What a serving server applied contradicts what another had applied.
    Diverged = 8,
    /// A zxid was proposed twice.
    ZxidReused = 16,
    /// A server could not start from its disk.
    NoBoot = 32,
    /// A server follows a leader that has not said so itself.
    UnbackedElection = 64,
}

/// The whole cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The servers.
    pub nodes: Vec<Node>,
    /// The quorum connections, by id.
    pub wires: Vec<Wire>,
    /// Election messages, by sender and receiver; oldest first.
    pub mail: Vec<Vec<Notification>>,
    /// Crashes so far.
    pub crashes: u8,
    /// Broken connections so far.
    pub disconnects: u8,
    /// Transactions so far.
    pub txns: u8,
    /// What the observer remembers.
    pub ghost: Ghost,
}

/// What does not change while a configuration is explored.
#[derive(Clone, Debug)]
pub struct World {
    /// The configuration.
    pub bounds: Bounds,
    /// What each server knows of its surroundings.
    pub envs: Vec<Env>,
}

/// What a step did beside changing the state; for people, traces and witnesses.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What was asked for, in order. Empty unless wanted.
    pub done: Vec<Done>,
    /// Whether to keep it.
    pub keep: bool,
    /// Bits of [`super::action::WITNESSES`].
    pub witnessed: u64,
}

/// What a server has asked for, as an observer outside can see it.
#[derive(Clone, Debug)]
pub enum Done {
    /// A packet was sent.
    Sent {
        /// On which connection.
        link: u64,
        /// By whom, by index.
        from: usize,
        /// To whom, by index.
        to: usize,
        /// The packet and its tree.
        frame: Frame,
        /// Whether the connection has lost it.
        lost: bool,
    },
    /// An election message was sent.
    Voted {
        /// By whom, by index.
        from: usize,
        /// To whom, by index.
        to: usize,
        /// The message.
        notification: Notification,
        /// Whether nobody was there to hear it.
        lost: bool,
    },
    /// A write was queued.
    Queued {
        /// By whom, by index.
        server: usize,
        /// The write.
        op: Op,
    },
    /// Anything else.
    Other {
        /// By whom, by index.
        server: usize,
        /// The effect.
        effect: Effect<()>,
    },
}

impl Log {
    /// A log that keeps everything.
    #[must_use]
    pub fn keeping() -> Self {
        Self {
            keep: true,
            ..Self::default()
        }
    }

    fn push(&mut self, done: impl FnOnce() -> Done) {
        if self.keep {
            self.done.push(done());
        }
    }

    fn witness(&mut self, index: usize) {
        self.witnessed |= 1 << index;
    }
}

const W_EMPTY_DIFF: usize = 18;
const W_DIFF: usize = 19;
const W_TRUNC: usize = 20;
const W_TRUNC_DIFF: usize = 21;
const W_SNAP: usize = 22;
const W_COMMIT: usize = 23;
const W_COMMIT_AFTER_RECOVERY: usize = 24;
const W_PING: usize = 25;
pub(super) const W_CRASH_PENDING: usize = 26;

impl World {
    /// The surroundings of a configuration.
    ///
    /// # Panics
    /// If the configuration has no servers.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let ids: Vec<ServerId> = (1..=u64::from(bounds.servers)).map(ServerId).collect();
        let voters = Voters::new(&ids).unwrap_or_else(|| panic!("{}: no servers", bounds.name));
        let envs = ids
            .iter()
            .map(|me| Env {
                me: *me,
                voters: voters.clone(),
                switches: bounds.switch.map_or_else(Switches::default, Switches::with),
                epoch_max: Epoch(u32::from(bounds.epochs)),
                counter_max: bounds.counter_max,
            })
            .collect();
        Self { bounds, envs }
    }

    pub(super) fn switches(&self) -> Switches {
        self.bounds
            .switch
            .map_or_else(Switches::default, Switches::with)
    }

    pub(super) fn n(&self) -> usize {
        self.envs.len()
    }
}

/// The index of a server in the vectors of this module.
pub(super) fn index(id: ServerId) -> usize {
    usize::try_from(id.0).unwrap_or(usize::MAX) - 1
}

impl Cluster {
    /// Servers that are down, with these disks: what is on them was proposed before the exploration began.
    pub(super) fn down(world: &World, disks: Vec<Disk>) -> Self {
        let mut proposed: Vec<Zxid> = disks.iter().flat_map(|d| d.image.content()).collect();
        proposed.sort_unstable();
        proposed.dedup();
        Self {
            nodes: disks
                .into_iter()
                .map(|mut disk| {
                    disk.quirk.switches = world.switches();
                    Node {
                        peer: None,
                        disk,
                        tree: Vec::new(),
                    }
                })
                .collect(),
            wires: Vec::new(),
            mail: vec![Vec::new(); world.n() * world.n()],
            crashes: 0,
            disconnects: 0,
            txns: 0,
            ghost: Ghost {
                proposed,
                ..Ghost::default()
            },
        }
    }

    /// Starts a server from its disk.
    pub(super) fn start(&mut self, world: &World, i: usize, log: &mut Log) {
        let node = &mut self.nodes[i];
        let Ok(found) = node.disk.image.boot(world.switches()) else {
            self.wrong(Wrong::NoBoot);
            return;
        };
        node.tree = node.disk.image.content();
        host::load_snapshot(node);
        let mut out = Effects::new();
        node.peer = Some(Peer::boot(&world.envs[i], found, &mut out));
        self.carry_out(world, i, out, &[], log);
    }

    /// The power fails at a server: its memory and its ends of all connections are gone.
    pub(super) fn crash(&mut self, world: &World, i: usize, kept: usize) {
        for _ in 0..kept {
            self.write_next(i);
        }
        self.nodes[i].disk.queue.clear();
        host::on_crash(&mut self.nodes[i].disk);
        self.nodes[i].tree.clear();
        self.nodes[i].peer = None;
        for w in &mut self.wires {
            for end in [End::Leader, End::Learner] {
                if w.server(end) == i && w.is_open(end) {
                    w.close(end);
                }
            }
        }
        self.wires.retain(|w| !w.is_gone());
        for from in 0..world.n() {
            self.mail[from * world.n() + i].clear();
        }
    }

    /// One input of one server, with all that follows in the same step. `tree` came beside a SNAP.
    pub(super) fn step(
        &mut self,
        world: &World,
        i: usize,
        input: Input<()>,
        tree: &[Zxid],
        log: &mut Log,
    ) {
        let Some(peer) = self.nodes[i].peer.as_mut() else {
            return;
        };
        let heard = host::ballots_of(world, peer, &input);
        let mut out = Effects::new();
        peer.step(&world.envs[i], input, &mut out);
        if heard.is_some_and(|heard| !heard.back(peer)) {
            self.wrong(Wrong::UnbackedElection);
        }
        self.carry_out(world, i, out, tree, log);
    }

    /// Ends the election of a looking server with that leader.
    pub(super) fn elect(&mut self, world: &World, i: usize, leader: usize, log: &mut Log) {
        let vote = match self.nodes[leader].peer.as_ref().map(|p| &p.role) {
            Some(Role::Looking(l)) => l.own,
            Some(Role::Leading(l)) => l.vote,
            _ => return,
        };
        let Some(peer) = self.nodes[i].peer.as_mut() else {
            return;
        };
        let mut out = Effects::new();
        peer.elect(&world.envs[i], vote, &mut out);
        self.carry_out(world, i, out, &[], log);
    }

    /// The learner's dial is answered.
    pub(super) fn connect(&mut self, world: &World, learner: usize, log: &mut Log) {
        let Some(leader) = self.dialled(learner) else {
            return;
        };
        let slot = (0..4).find(|s| self.wires.iter().all(|w| w.id != learner as u64 * 4 + s));
        let Some(slot) = slot else {
            return; // so many half-open connections of one learner need more faults than any budget has
        };
        let id = learner as u64 * 4 + slot;
        let at = self.wires.partition_point(|w| w.id < id);
        self.wires.insert(at, Wire::new(id, leader, learner));
        self.step(world, leader, Input::Linked(Link(id)), &[], log);
        self.step(world, learner, Input::Linked(Link(id)), &[], log);
    }

    /// Whom a server dials.
    pub(super) fn dialled(&self, learner: usize) -> Option<usize> {
        match &self.nodes[learner].peer.as_ref()?.role {
            Role::Following(f) if f.link.is_none() => Some(index(f.vote.leader)),
            _ => None,
        }
    }

    /// Whether a server leads, formed quorum or not.
    pub(super) fn leads(&self, i: usize) -> bool {
        matches!(
            self.nodes[i].peer.as_ref().map(|p| &p.role),
            Some(Role::Leading(_))
        )
    }

    /// The next packet at an end of a connection.
    pub(super) fn receive(&mut self, world: &World, link: u64, at: End, log: &mut Log) {
        let Some(w) = self.wires.iter_mut().find(|w| w.id == link) else {
            return;
        };
        let i = w.server(at);
        let Some(mut frame) = w.receive(at) else {
            return;
        };
        host::dump_late(world.switches(), &self.nodes[w.leader], &mut frame);
        let Frame { packet, tree } = frame;
        let link = Link(link);
        self.step(world, i, Input::Received { link, packet }, &tree, log);
    }

    /// An end learns that its connection is over.
    pub(super) fn hear_close(&mut self, world: &World, link: u64, at: End, log: &mut Log) {
        let Some(w) = self.wires.iter_mut().find(|w| w.id == link) else {
            return;
        };
        let i = w.server(at);
        w.close(at);
        self.wires.retain(|w| !w.is_gone());
        self.step(world, i, Input::Unlinked(Link(link)), &[], log);
    }

    /// The oldest pending write of a server becomes durable, and the server hears of it.
    pub(super) fn flush(&mut self, world: &World, i: usize, log: &mut Log) {
        let Some(peer) = &self.nodes[i].peer else {
            return;
        };
        let mark = peer.storage.mark_of(1);
        self.write_next(i);
        self.step(world, i, Input::Durable(mark), &[], log);
    }

    /// All pending writes of a server, one by one, with those that they entail.
    pub(super) fn flush_all(&mut self, world: &World, i: usize, log: &mut Log) {
        while !self.nodes[i].disk.queue.is_empty() {
            self.flush(world, i, log);
        }
    }

    fn write_next(&mut self, i: usize) {
        let disk = &mut self.nodes[i].disk;
        let Some(op) = disk.queue.pop_front() else {
            return;
        };
        let before = matches!(op, Op::Truncate(_) | Op::Install(_)).then(|| disk.image.content());
        disk.write(op);
        if let Some(before) = before {
            let after = self.nodes[i].disk.image.content();
            let lost = |z: &Zxid| before.contains(z) && !after.contains(z);
            if self.ghost.committed.iter().any(lost) {
                self.wrong(Wrong::CommittedTruncated);
            }
        }
    }

    fn wrong(&mut self, wrong: Wrong) {
        self.ghost.wrongs |= wrong as u8;
    }

    /// Carries out what a server asks for, in order.
    fn carry_out(
        &mut self,
        world: &World,
        i: usize,
        out: Effects<()>,
        tree: &[Zxid],
        log: &mut Log,
    ) {
        for effect in out {
            match effect {
                Effect::Persist { write, .. } => {
                    let node = &mut self.nodes[i];
                    node.disk.persist(&write, tree);
                    host::on_asked(world.switches(), node);
                    if let Some(op) = node.disk.queue.back() {
                        log.push(|| Done::Queued {
                            server: i,
                            op: op.clone(),
                        });
                    }
                    match node.disk.queue.back() {
                        Some(Op::Truncate(z)) => {
                            node.tree.retain(|x| x <= z);
                            host::load_snapshot(node);
                        }
                        Some(Op::Install(tree)) => node.tree.clone_from(tree),
                        _ => {}
                    }
                }
                Effect::Notify { to, notification } => {
                    self.post(world, i, index(to), notification, log);
                }
                Effect::Send { link, packet } => self.send(i, link, packet, &[], log),
                Effect::SendHistory {
                    link,
                    after,
                    upto,
                    committed,
                } => {
                    let asked = self.nodes[i].disk.image_asked();
                    let lacks = self.nodes[i].disk.quirk.skipped.clone();
                    let listed = |z: &Zxid| *z > after && *z <= upto && !lacks.contains(z);
                    for zxid in asked.log.into_iter().filter(listed) {
                        self.send(i, link, Packet::Proposal { zxid, txn: () }, &[], log);
                        if committed {
                            self.send(i, link, Packet::Commit { zxid }, &[], log);
                        }
                    }
                }
                Effect::SendSnapshot { link, zxid } => {
                    let tree = self.nodes[i].tree.clone();
                    assert_eq!(
                        tree.last().copied().unwrap_or_default(),
                        zxid,
                        "the tree is where the peer says"
                    );
                    self.send(i, link, Packet::Snap { zxid }, &tree, log);
                }
                Effect::Unlink(Link(id)) => {
                    if let Some(w) = self.wires.iter_mut().find(|w| w.id == id) {
                        let end = if w.leader == i {
                            End::Leader
                        } else {
                            End::Learner
                        };
                        w.close(end);
                    }
                    self.wires.retain(|w| !w.is_gone());
                }
                Effect::Deliver { upto } => {
                    log.push(|| Done::Other { server: i, effect });
                    self.deliver(i, upto, log);
                }
                Effect::Serve { epoch } => {
                    log.push(|| Done::Other { server: i, effect });
                    host::on_serve(world.switches(), &mut self.nodes[i]);
                    self.serve(i, epoch);
                }
                Effect::Refused(fault) => {
                    log.push(|| Done::Other {
                        server: i,
                        effect: Effect::Refused(fault),
                    });
                    if is_bad_packet(fault) {
                        self.wrong(Wrong::BadPacket);
                    }
                }
                Effect::Dial(_) | Effect::Arm(_) | Effect::Disarm(_) | Effect::Became(_) => {
                    host::on_became(world.switches(), &mut self.nodes[i], &effect);
                    log.push(|| Done::Other { server: i, effect });
                }
            }
        }
        self.observe_primary(i);
        if world.bounds.disk == DiskGrain::Atomic {
            self.flush_all(world, i, log);
        }
    }

    fn post(
        &mut self,
        world: &World,
        from: usize,
        to: usize,
        notification: Notification,
        log: &mut Log,
    ) {
        let lost = self.nodes[to].peer.is_none();
        log.push(|| Done::Voted {
            from,
            to,
            notification,
            lost,
        });
        if world.bounds.grain != Grain::E2 || self.nodes[to].peer.is_none() {
            return;
        }
        let slot = &mut self.mail[from * world.n() + to];
        if slot.len() >= usize::from(world.bounds.mail) {
            slot.pop(); // the newest replaces the one that still waits
        }
        slot.push(notification);
    }

    fn send(&mut self, i: usize, Link(id): Link, packet: Packet<()>, tree: &[Zxid], log: &mut Log) {
        let Some(w) = self.wires.iter_mut().find(|w| w.id == id) else {
            return;
        };
        let from = if w.leader == i {
            End::Leader
        } else {
            End::Learner
        };
        match packet {
            Packet::Snap { .. } => log.witness(W_SNAP),
            Packet::Ping { .. } => log.witness(W_PING),
            Packet::NewLeader { .. } => {
                let sent = w.inbox(End::Learner);
                let diff = sent
                    .iter()
                    .any(|f| matches!(f.packet, Packet::Proposal { .. }));
                for f in sent {
                    match (&f.packet, diff) {
                        (Packet::Diff { .. }, false) => log.witness(W_EMPTY_DIFF),
                        (Packet::Diff { .. }, true) => log.witness(W_DIFF),
                        (Packet::Trunc { .. }, false) => log.witness(W_TRUNC),
                        (Packet::Trunc { .. }, true) => log.witness(W_TRUNC_DIFF),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        let tree = tree.to_vec();
        let frame = Frame { packet, tree };
        log.push(|| Done::Sent {
            link: id,
            from: i,
            to: w.server(from.other()),
            frame: frame.clone(),
            lost: !w.is_live(),
        });
        w.send(from, frame);
    }

    /// Applies the log up to `upto` to the tree of a server.
    fn deliver(&mut self, i: usize, upto: Zxid, log: &mut Log) {
        let asked = self.nodes[i].disk.image_asked();
        let node = &mut self.nodes[i];
        let applied = node.tree.last().copied().unwrap_or_default();
        let new = asked.log.into_iter().filter(|z| *z > applied && *z <= upto);
        node.tree.extend(new);
        log.witness(W_COMMIT);
        if self.ghost.initial.len() > 1 {
            log.witness(W_COMMIT_AFTER_RECOVERY);
        }
        let serving = node.peer.as_ref().is_some_and(|p| p.serving().is_some());
        if serving {
            self.commit(i);
        }
    }

    /// What a serving server has applied is committed.
    fn commit(&mut self, i: usize) {
        let tree = &self.nodes[i].tree;
        let shared = tree.len().min(self.ghost.committed.len());
        if tree[..shared] != self.ghost.committed[..shared] {
            self.wrong(Wrong::Diverged);
        } else if tree.len() > shared {
            self.ghost.committed = tree.clone();
        }
    }

    fn serve(&mut self, i: usize, epoch: Epoch) {
        self.commit(i);
        if self.leads(i) {
            let initial = self.nodes[i].disk.image_asked().content();
            self.ghost.initial.push((epoch, initial));
            self.ghost.initial.sort();
            self.ghost.initial.dedup();
        }
    }

    /// Notes who is past discovery as a leader.
    fn observe_primary(&mut self, i: usize) {
        let Some(Role::Leading(l)) = self.nodes[i].peer.as_ref().map(|p| &p.role) else {
            return;
        };
        if l.phase < Phase::WritingEpoch {
            return;
        }
        let entry = (l.epoch, i);
        if self
            .ghost
            .primaries
            .iter()
            .any(|(e, p)| *e == entry.0 && *p != i)
        {
            self.wrong(Wrong::TwoPrimaries);
        }
        if let Err(at) = self.ghost.primaries.binary_search(&entry) {
            self.ghost.primaries.insert(at, entry);
        }
    }

    fn last_logged(&self, i: usize) -> Zxid {
        let peer = self.nodes[i].peer.as_ref();
        peer.map(Peer::last_logged).unwrap_or_default()
    }

    /// Fault: the oldest pending write fails, and a host with a bug goes on as if it had not.
    pub(super) fn fail_write(&mut self, world: &World, i: usize, log: &mut Log) {
        let Some(mark) = self.nodes[i].peer.as_ref().map(|p| p.storage.mark_of(1)) else {
            return;
        };
        let disk = &mut self.nodes[i].disk;
        disk.quirk.held.extend(disk.queue.pop_front());
        self.step(world, i, Input::Durable(mark), &[], log);
    }

    /// A client's write at a leader.
    pub(super) fn propose(&mut self, world: &World, i: usize, log: &mut Log) {
        self.txns += 1;
        let before = self.last_logged(i);
        self.step(world, i, Input::Propose(()), &[], log);
        let last = self.last_logged(i);
        if last == before {
            return; // refused: the counter is used up
        }
        match self.ghost.proposed.binary_search(&last) {
            Ok(_) => self.wrong(Wrong::ZxidReused),
            Err(at) => self.ghost.proposed.insert(at, last),
        }
    }
}

/// Whether a refusal means that a packet came which no correct ensemble sends; the others are part of recovery.
const fn is_bad_packet(fault: crate::fault::Fault) -> bool {
    use crate::fault::Fault;
    match fault {
        Fault::UnexpectedPacket
        | Fault::AckBeforeNewLeader { .. }
        | Fault::AckOfUnproposed { .. }
        | Fault::ProposalOutOfOrder { .. }
        | Fault::CommitOutOfOrder { .. }
        | Fault::TruncOutsideHistory { .. }
        | Fault::NewLeaderOfOtherEpoch { .. } => true,
        Fault::StaleLeader { .. }
        | Fault::LearnerAhead { .. }
        | Fault::LearnerReplaced { .. }
        | Fault::EpochExhausted
        | Fault::CounterExhausted
        | Fault::NotLeading => false,
    }
}
