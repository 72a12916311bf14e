//! A whole cluster as one small value: numbers of interned servers, connections, mailboxes and of what was observed,
//! and the budgets that are spent.

use super::action::{W_COMMIT_AFTER_RECOVERY, W_DIFF, W_EMPTY_DIFF, W_TRUNC, W_TRUNC_DIFF};
use super::arena::Bytes;
use super::bounds::Grain;
use super::disk::Disk;
use super::election_end::{self, ElectionEnd};
use super::host;
use super::link::{End, Frame, Wire};
use super::memo::{Moved, Out};
use super::node::{Node, Outbox, Outward, Stimulus};
use super::txn::Txn;
use crate::ids::{ServerId, Zxid};
use crate::invariants::{Observation, Past, Violation};
use crate::leader::{Learner, LearnerStage, Phase};
use crate::packet::Packet;
use crate::peer::Role;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

pub use super::log::{Done, Log};
pub use super::world::{Identity, Mailbox, World};

/// The largest cluster.
pub const SERVERS_MAX: usize = 6;
/// The most connections at once, those that only one end still holds included.
pub const WIRES_MAX: usize = 12;

/// The renamings of three servers: symmetric configurations have no more.
const SIX: usize = 6;

/// What was spent of a configuration's budgets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Spent {
    /// Crashes.
    pub crashes: u8,
    /// Broken connections.
    pub disconnects: u8,
    /// Transactions, reconfigurations aside.
    pub txns: u8,
    /// Snapshots taken while serving.
    pub snapshots: u8,
    /// Reconfigurations.
    pub reconfigs: u8,
}

/// The whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cluster {
    servers: u8,
    wired: u8,
    /// What was spent.
    pub spent: Spent,
    past: u32,
    nodes: [u32; SERVERS_MAX],
    /// By the connection's id.
    wires: [u32; WIRES_MAX],
    /// By receiver.
    mail: [u32; SERVERS_MAX],
}

/// What can happen to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum OnWire {
    /// A frame is sent from this end.
    Send(End, u32),
    /// This end takes the next frame.
    Receive(End),
    /// This end lets go.
    Close(End),
    /// The network drops it.
    Cut,
    /// The packet after NEWLEADER comes before it.
    Overtake,
    /// Its SNAP is this one instead.
    SnapLater(u32),
}

/// What can happen to a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum OnMail {
    /// A message of this sender is put in.
    Post(u8, u32),
    /// The oldest message of this sender is taken out.
    Take(u8),
    /// Its owner is gone.
    Empty,
}

/// The number that stands for "nothing": a connection that is gone, a frame that was not there.
pub(super) const NONE: u32 = u32::MAX;

/// The index of a server in the vectors of this module.
pub(super) fn index(id: ServerId) -> usize {
    usize::try_from(id.0).unwrap_or(usize::MAX) - 1
}

/// What a cluster is made of.
impl Cluster {
    /// Servers that are down, with these disks: what is on them was proposed before the exploration began.
    pub(super) fn down(world: &World, disks: Vec<Disk>) -> Self {
        assert!(
            world.n() <= SERVERS_MAX && disks.len() == world.n(),
            "a configuration is larger than its encoding"
        );
        let bytes = &mut Bytes::new();
        let mut proposed: Vec<Zxid> = disks.iter().flat_map(|d| d.image.content()).collect();
        proposed.sort_unstable();
        proposed.dedup();
        let past = Past {
            proposed,
            ..Past::default()
        };
        let empty = world.intern_mail(vec![Vec::new(); world.n()], bytes);
        let mut cluster = Self {
            servers: world.bounds.servers + world.bounds.joiners + world.bounds.observers,
            wired: 0,
            spent: Spent::default(),
            past: world.intern_past(past, bytes),
            nodes: [NONE; SERVERS_MAX],
            wires: [NONE; WIRES_MAX],
            mail: [empty; SERVERS_MAX],
        };
        for (i, mut disk) in disks.into_iter().enumerate() {
            disk.quirk.switches = world.switches();
            cluster.nodes[i] = world.intern_node(Node::down(i, disk), bytes);
        }
        cluster
    }

    /// How many servers there are.
    #[must_use]
    pub fn n(&self) -> usize {
        usize::from(self.servers)
    }

    /// A server.
    #[must_use]
    #[inline]
    pub fn node<'w>(&self, world: &'w World, i: usize) -> &'w Node {
        &world.nodes.get(self.nodes[i]).0
    }

    /// The servers, in order.
    pub fn nodes<'w>(&self, world: &'w World) -> impl Iterator<Item = &'w Node> + Clone {
        let ids = self.nodes;
        (0..self.n()).map(move |i| &world.nodes.get(ids[i]).0)
    }

    /// The role of a server, if it runs.
    #[inline]
    pub(super) fn role<'w>(&self, world: &'w World, i: usize) -> Option<&'w Role> {
        self.node(world, i).peer.as_ref().map(|p| &p.role)
    }

    /// The connections, by id.
    pub fn wires<'w>(&self, world: &'w World) -> impl Iterator<Item = &'w Wire> + Clone {
        let ids = self.wires;
        (0..usize::from(self.wired)).map(move |i| world.wires.get(ids[i]))
    }

    /// The connection of that id.
    #[must_use]
    pub fn wire<'w>(&self, world: &'w World, id: u64) -> Option<&'w Wire> {
        self.wires(world).find(|w| w.id == id)
    }

    /// The messages on the way to a server, by sender.
    #[must_use]
    pub fn mail<'w>(&self, world: &'w World, to: usize) -> &'w Mailbox {
        world.mail.get(self.mail[to])
    }

    /// What the observer remembers.
    #[must_use]
    pub fn past<'w>(&self, world: &'w World) -> &'w Past {
        world.pasts.get(self.past)
    }

    /// The numbers of the views of all servers and of what was observed: all that the invariants depend on.
    pub(super) fn seen(&self, world: &World) -> [u32; SERVERS_MAX + 1] {
        let mut key = [NONE; SERVERS_MAX + 1];
        key[SERVERS_MAX] = self.past;
        for (i, slot) in key.iter_mut().enumerate().take(self.n()) {
            *slot = world.nodes.get(self.nodes[i]).1;
        }
        key
    }

    /// What this cluster counts as; `words` are its packed ones.
    #[must_use]
    pub fn identity(&self, world: &World, words: &[u32]) -> Identity {
        if world.renamings.is_empty() {
            return Identity {
                fingerprint: world.hashes.hash(words),
                orbit: 1,
            };
        }
        // A cluster is the set of its parts, each of which knows its place: their sum is a hash of the set.
        let count = world.renamings.len().min(SIX);
        let mut sums = [world.hashes.hash(&self.spent); SIX];
        let mut add = |orbit: &[u128]| {
            for (sum, hash) in sums.iter_mut().zip(orbit) {
                *sum = sum.wrapping_add(*hash);
            }
        };
        add(world.pasts.orbit(self.past));
        self.nodes[..self.n()]
            .iter()
            .for_each(|id| add(world.nodes.orbit(*id)));
        self.wires[..usize::from(self.wired)]
            .iter()
            .for_each(|id| add(world.wires.orbit(*id)));
        let sums = &mut sums[..count];
        sums.sort_unstable();
        let orbit = 1 + sums.windows(2).filter(|w| w[0] != w[1]).count();
        Identity {
            fingerprint: sums[0],
            orbit: u8::try_from(orbit).unwrap_or(u8::MAX),
        }
    }

    /// Appends the words that tell this cluster from every other one of its world.
    pub fn pack(&self, mails: bool, out: &mut Vec<u32>) {
        let Spent {
            crashes,
            disconnects,
            txns,
            snapshots,
            reconfigs,
        } = self.spent;
        // Few of anything: four bits each, and eight for the connections.
        let low = |n: u8| u32::from(n) & 0xf;
        out.push(
            u32::from(self.wired)
                | low(crashes) << 8
                | low(disconnects) << 12
                | low(txns) << 16
                | low(snapshots) << 20
                | low(reconfigs) << 24,
        );
        out.push(self.past);
        out.extend(&self.nodes[..self.n()]);
        out.extend(&self.wires[..usize::from(self.wired)]);
        if mails {
            out.extend(&self.mail[..self.n()]);
        }
    }

    /// The cluster that was packed, in place of this one, and how many words it took. This one has to be of the
    /// same world.
    pub fn unpack(&mut self, mails: bool, words: &[u32]) -> usize {
        let n = self.n();
        let nibble = |at: u32| (words[0] >> at & 0xf) as u8;
        let wired = (words[0] & 0xff) as u8;
        self.spent = Spent {
            crashes: nibble(8),
            disconnects: nibble(12),
            txns: nibble(16),
            snapshots: nibble(20),
            reconfigs: nibble(24),
        };
        self.wired = wired;
        self.past = words[1];
        self.nodes[..n].copy_from_slice(&words[2..2 + n]);
        let wired = usize::from(wired);
        let mut at = 2 + n;
        self.wires = [NONE; WIRES_MAX];
        self.wires[..wired].copy_from_slice(&words[at..at + wired]);
        at += wired;
        if mails {
            self.mail[..n].copy_from_slice(&words[at..at + n]);
            at += n;
        }
        at
    }
}

/// What can be done to it.
impl Cluster {
    /// Starts a server from its disk.
    pub(super) fn start(&mut self, world: &World, i: usize, log: &mut Log) {
        self.step(world, i, &Stimulus::Boot, log);
    }

    /// A server ends, by the power, a death or a failed sync: its memory and its ends of all connections are gone.
    pub(super) fn end(&mut self, world: &World, i: usize, how: &Stimulus, log: &mut Log) {
        self.step(world, i, how, log);
        let mut at = 0;
        while at < usize::from(self.wired) {
            let w = world.wires.get(self.wires[at]);
            let mine = [End::Leader, End::Learner]
                .into_iter()
                .find(|end| w.server(*end) == i && w.is_open(*end));
            let before = self.wired;
            if let Some(end) = mine {
                self.on_wire(world, at, OnWire::Close(end), log);
            }
            if self.wired == before {
                at += 1;
            }
        }
        self.on_mail(world, i, OnMail::Empty, log);
    }

    /// One input of one server, with all that follows in the same step.
    pub(super) fn step(&mut self, world: &World, i: usize, stimulus: &Stimulus, log: &mut Log) {
        let while_down = matches!(
            stimulus,
            Stimulus::Boot | Stimulus::Crash(_) | Stimulus::FailSync(_)
        );
        if self.node(world, i).peer.is_none() && !while_down {
            return;
        }
        let operand = match stimulus {
            Stimulus::Received { frame, .. } => world.intern_frame(frame.clone(), &mut log.bytes),
            Stimulus::Notified { notification, .. } => {
                world.intern_note(*notification, &mut log.bytes)
            }
            _ => 0,
        };
        self.step_with(world, i, stimulus, operand, log);
    }

    /// The same; `operand` is the number of the packet or vote in it.
    fn step_with(
        &mut self,
        world: &World,
        i: usize,
        stimulus: &Stimulus,
        operand: u32,
        log: &mut Log,
    ) {
        let before = self.nodes[i];
        self.take(world, i, stimulus, operand, log);
        match election_end::of(self, world, i, &world.nodes.get(before).0) {
            ElectionEnd::None => {}
            ElectionEnd::OfTheOracle(witnessed) => log.witnessed |= witnessed,
            ElectionEnd::Other => self.wrong(world, Violation::NotOfTheOracle, log),
        }
    }

    fn wrong(&mut self, world: &World, wrong: Violation, log: &mut Log) {
        let observation = world.intern_observation(Observation::Violated(wrong), &mut log.bytes);
        self.carry_out(world, 0, Out::Seen(observation), log);
    }

    /// Takes a step of a server, or remembers it.
    fn take(&mut self, world: &World, i: usize, stimulus: &Stimulus, operand: u32, log: &mut Log) {
        let key = (self.nodes[i], stimulus.code(operand));
        if log.keep {
            let mut node = self.node(world, i).clone();
            let mut outbox = Outbox::default();
            node.take(world, stimulus.clone(), &mut outbox);
            self.nodes[i] = world.intern_node(node, &mut log.bytes);
            log.witnessed |= outbox.witnessed;
            for outward in outbox.sent {
                match world.intern_outward(&outward, &mut log.bytes) {
                    Some(out) => self.carry_out(world, i, out, log),
                    None => log.push(|| match outward {
                        Outward::Other(effect) => Done::Other { server: i, effect },
                        Outward::Queued(op) => Done::Queued { server: i, op },
                        _ => unreachable!("everything else has a number"),
                    }),
                }
            }
            return;
        }
        let moved = match log.memo.steps.get(&key) {
            Some(moved) => *moved,
            None => {
                let mut node = self.node(world, i).clone();
                let mut outbox = Outbox::default();
                node.take(world, stimulus.clone(), &mut outbox);
                let first = log.memo.outs.len();
                for outward in outbox.sent {
                    let out = world.intern_outward(&outward, &mut log.bytes);
                    log.memo.outs.extend(out);
                }
                let moved = Moved {
                    node: world.intern_node(node, &mut log.bytes),
                    first,
                    count: log.memo.outs.len() - first,
                    witnessed: outbox.witnessed,
                };
                log.memo.steps.insert(key, moved);
                moved
            }
        };
        self.nodes[i] = moved.node;
        log.witnessed |= moved.witnessed;
        for at in moved.first..moved.first + moved.count {
            let out = log.memo.outs[at];
            self.carry_out(world, i, out, log);
        }
    }

    /// Something has left a server.
    fn carry_out(&mut self, world: &World, i: usize, out: Out, log: &mut Log) {
        match out {
            Out::Send { link, frame } => self.send(world, i, link, frame, log),
            Out::Unlink(link) => {
                if let Some(at) = self.slot(world, link) {
                    let leads = world.wires.get(self.wires[at]).leader == i;
                    let end = if leads { End::Leader } else { End::Learner };
                    self.on_wire(world, at, OnWire::Close(end), log);
                }
            }
            Out::Post { to, note } => {
                let to = usize::from(to);
                let lost = self.node(world, to).peer.is_none();
                log.push(|| Done::Voted {
                    from: i,
                    to,
                    notification: *world.notes.get(note),
                    lost,
                });
                if world.bounds.grain == Grain::E2 && !lost {
                    let from = u8::try_from(i).unwrap_or(u8::MAX);
                    self.on_mail(world, to, OnMail::Post(from, note), log);
                }
            }
            Out::Seen(observation) => {
                let key = (self.past, observation);
                let (past, witnessed) = match log.memo.pasts.get(&key) {
                    Some(known) => *known,
                    None => {
                        let mut past = self.past(world).clone();
                        let observation = world.observations.get(observation);
                        let witnessed = witnessed_by(&past, observation);
                        past.observe(observation);
                        let new = (world.intern_past(past, &mut log.bytes), witnessed);
                        log.memo.pasts.insert(key, new);
                        new
                    }
                };
                self.past = past;
                log.witnessed |= witnessed;
            }
        }
    }

    fn send(&mut self, world: &World, i: usize, link: u64, frame: u32, log: &mut Log) {
        let Some(at) = self.slot(world, link) else {
            return;
        };
        let w = world.wires.get(self.wires[at]);
        let from = if w.leader == i {
            End::Leader
        } else {
            End::Learner
        };
        log.push(|| Done::Sent {
            link,
            from: i,
            to: w.server(from.other()),
            frame: world.frames.get(frame).clone(),
            lost: !w.is_live(),
        });
        self.on_wire(world, at, OnWire::Send(from, frame), log);
    }

    /// The place of a connection.
    fn slot(&self, world: &World, link: u64) -> Option<usize> {
        self.wires(world).position(|w| w.id == link)
    }

    /// Something happens to a connection; the frame that was taken from it, if one was.
    fn on_wire(&mut self, world: &World, at: usize, what: OnWire, log: &mut Log) -> u32 {
        let key = (self.wires[at], what);
        let (wire, frame, witnessed) = match log.memo.wires.get(&key) {
            Some(known) => *known,
            None => {
                let mut w = world.wires.get(self.wires[at]).clone();
                let (mut frame, mut witnessed) = (NONE, 0);
                match what {
                    OnWire::Send(from, id) => {
                        let sent = world.frames.get(id);
                        witnessed = sync_kind(&w, sent);
                        w.send(from, sent.clone());
                    }
                    OnWire::Receive(end) => {
                        if let Some(taken) = w.receive(end) {
                            frame = world.intern_frame(taken, &mut log.bytes);
                        }
                    }
                    OnWire::Close(end) => w.close(end),
                    OnWire::Cut => w.cut = true,
                    OnWire::Overtake => w.overtake(),
                    OnWire::SnapLater(id) => w.snap_later(world.frames.get(id).clone()),
                }
                let gone = w.is_gone();
                let wire = if gone {
                    NONE
                } else {
                    world.intern_wire(w, &mut log.bytes)
                };
                log.memo.wires.insert(key, (wire, frame, witnessed));
                (wire, frame, witnessed)
            }
        };
        log.witnessed |= witnessed;
        if wire == NONE {
            let wired = usize::from(self.wired);
            self.wires.copy_within(at + 1..wired, at);
            self.wires[wired - 1] = NONE;
            self.wired -= 1;
        } else {
            self.wires[at] = wire;
        }
        frame
    }

    /// Something happens to a mailbox; the vote that was taken from it, if one was.
    fn on_mail(&mut self, world: &World, to: usize, what: OnMail, log: &mut Log) -> u32 {
        let key = (self.mail[to], what);
        let (mail, note) = match log.memo.mail.get(&key) {
            Some(known) => *known,
            None => {
                let mut mail = world.mail.get(self.mail[to]).clone();
                let mut note = NONE;
                match what {
                    OnMail::Post(from, id) => {
                        let slot = &mut mail[usize::from(from)];
                        if slot.len() >= usize::from(world.bounds.mail) {
                            slot.pop(); // the newest replaces the one that still waits
                        }
                        slot.push(*world.notes.get(id));
                    }
                    OnMail::Take(from) => {
                        let slot = &mut mail[usize::from(from)];
                        if !slot.is_empty() {
                            note = world.intern_note(slot.remove(0), &mut log.bytes);
                        }
                    }
                    OnMail::Empty => mail.iter_mut().for_each(Vec::clear),
                }
                let new = (world.intern_mail(mail, &mut log.bytes), note);
                log.memo.mail.insert(key, new);
                new
            }
        };
        self.mail[to] = mail;
        note
    }

    /// Ends the election of a looking server with that leader.
    pub(super) fn elect(&mut self, world: &World, i: usize, leader: usize, log: &mut Log) {
        let vote = match self.role(world, leader) {
            Some(Role::Looking(l)) => l.own,
            Some(Role::Leading(l)) => l.vote,
            _ => return,
        };
        self.step(world, i, &Stimulus::Elect(vote), log);
    }

    /// The learner's dial is answered.
    pub(super) fn connect(&mut self, world: &World, learner: usize, log: &mut Log) {
        let Some(leader) = self.dialled(world, learner) else {
            return;
        };
        let free = |s: &u64| self.wires(world).all(|w| w.id != learner as u64 * 4 + s);
        let Some(slot) = (0..4).find(free) else {
            return; // so many half-open connections of one learner need more faults than any budget has
        };
        let id = learner as u64 * 4 + slot;
        let at = self.wires(world).take_while(|w| w.id < id).count();
        let wired = usize::from(self.wired);
        assert!(
            wired < WIRES_MAX,
            "a configuration is larger than its encoding"
        );
        self.wires.copy_within(at..wired, at + 1);
        self.wires[at] = world.intern_wire(Wire::new(id, leader, learner), &mut log.bytes);
        self.wired += 1;
        if !self.leads(world, leader) {
            self.wrong(world, Violation::NotOfTheOracle, log);
        }
        self.step(world, leader, &Stimulus::Linked(id), log);
        self.step(world, learner, &Stimulus::Linked(id), log);
    }

    /// Whom a server dials.
    pub(super) fn dialled(&self, world: &World, learner: usize) -> Option<usize> {
        match self.role(world, learner)? {
            Role::Following(f) if f.link.is_none() => Some(index(f.vote.leader)),
            _ => None,
        }
    }

    /// Whether a server leads, formed quorum or not.
    pub(super) fn leads(&self, world: &World, i: usize) -> bool {
        matches!(self.role(world, i), Some(Role::Leading(_)))
    }

    /// The next packet at an end of a connection.
    pub(super) fn receive(&mut self, world: &World, link: u64, end: End, log: &mut Log) {
        let Some(at) = self.slot(world, link) else {
            return;
        };
        let wire = world.wires.get(self.wires[at]);
        let (i, leader) = (wire.server(end), wire.leader);
        let operand = self.on_wire(world, at, OnWire::Receive(end), log);
        if operand != NONE && self.node(world, i).peer.is_some() {
            // Only a step that was not taken before needs the frame itself.
            let mut frame = world.frames.get(operand).clone();
            if host::dump_late(world, self.node(world, leader), &mut frame) {
                self.step(world, i, &Stimulus::Received { link, frame }, log);
                return;
            }
            let stimulus = Stimulus::Received { link, frame };
            self.step_with(world, i, &stimulus, operand, log);
        }
    }

    /// The next vote of a server for another one.
    pub(super) fn notify(&mut self, world: &World, from: usize, to: usize, log: &mut Log) {
        let sender = u8::try_from(from).unwrap_or(u8::MAX);
        let operand = self.on_mail(world, to, OnMail::Take(sender), log);
        if operand != NONE && self.node(world, to).peer.is_some() {
            let notification = *world.notes.get(operand);
            let stimulus = Stimulus::Notified { from, notification };
            self.step_with(world, to, &stimulus, operand, log);
        }
    }

    /// An end learns that its connection is over.
    pub(super) fn hear_close(&mut self, world: &World, link: u64, end: End, log: &mut Log) {
        let Some(at) = self.slot(world, link) else {
            return;
        };
        let i = world.wires.get(self.wires[at]).server(end);
        self.on_wire(world, at, OnWire::Close(end), log);
        self.step(world, i, &Stimulus::Unlinked(link), log);
    }

    /// The network drops a connection.
    pub(super) fn cut(&mut self, world: &World, link: u64, log: &mut Log) {
        if let Some(at) = self.slot(world, link) {
            self.on_wire(world, at, OnWire::Cut, log);
        }
    }

    /// A packet gets in before NEWLEADER.
    pub(super) fn overtake(&mut self, world: &World, link: u64, log: &mut Log) {
        if let Some(at) = self.slot(world, link) {
            self.on_wire(world, at, OnWire::Overtake, log);
        }
    }

    /// Whether a ZooKeeper leader may send PING while the learner still owes the ACK of NEWLEADER: as soon as that is
    /// queued. One PING at a time says it all.
    pub(super) fn may_ping_early(&self, world: &World, w: &Wire) -> bool {
        let mut frames = w.inbox(End::Leader).iter().chain(w.inbox(End::Learner));
        let waits = |l: &Learner| l.link.0 == w.id && l.stage == LearnerStage::Synced;
        match self.role(world, w.leader) {
            Some(Role::Leading(l)) if l.phase == Phase::Broadcast => {
                w.is_live() && l.learners.iter().any(waits) && !frames.any(is_ping)
            }
            _ => false,
        }
    }

    /// That PING.
    pub(super) fn ping_early(&mut self, world: &World, link: u64, log: &mut Log) {
        let Some(at) = self.slot(world, link) else {
            return;
        };
        let packet = Packet::Ping { zxid: Zxid::ZERO };
        let frame = Frame {
            packet,
            tree: Vec::new(),
        };
        let frame = world.intern_frame(frame, &mut log.bytes);
        self.on_wire(world, at, OnWire::Send(End::Leader, frame), log);
    }

    /// The SNAP that waits on a connection, as its leader would write it now; nothing if that changes nothing. Where
    /// PING is on the way, NEWLEADER was queued, and so the snapshot was read.
    pub(super) fn later_snap(&self, world: &World, w: &Wire) -> Option<Frame> {
        let waits = w.inbox(End::Learner).front()?;
        if w.inbox(End::Learner).iter().any(is_ping) {
            return None;
        }
        let Packet::Snap { zxid: before, .. } = waits.packet else {
            return None;
        };
        let leader = self.node(world, w.leader);
        let peer = leader.peer.as_ref()?;
        let zxid = *leader.tree.last()?;
        if !w.is_open(End::Leader) || peer.serving().is_none() || zxid <= before {
            return None;
        }
        let ensemble = Box::new(peer.storage.ensemble.upto(zxid));
        Some(Frame {
            packet: Packet::Snap { zxid, ensemble },
            tree: leader.tree.clone(),
        })
    }

    /// SNAP is read only now.
    pub(super) fn snap_later(&mut self, world: &World, link: u64, log: &mut Log) {
        let Some(at) = self.slot(world, link) else {
            return;
        };
        if let Some(frame) = self.later_snap(world, world.wires.get(self.wires[at])) {
            let frame = world.intern_frame(frame, &mut log.bytes);
            self.on_wire(world, at, OnWire::SnapLater(frame), log);
        }
    }

    /// The oldest pending write of a server becomes durable, and the server hears of it.
    pub(super) fn flush(&mut self, world: &World, i: usize, log: &mut Log) {
        self.step(world, i, &Stimulus::Flush, log);
    }

    /// Fault: the oldest pending write of a server fails, and its host goes on as if it had not.
    pub(super) fn fail_write(&mut self, world: &World, i: usize, log: &mut Log) {
        self.step(world, i, &Stimulus::FailWrite, log);
    }

    /// Everything that is committed and spent when the exploration begins.
    pub(super) fn begin(&mut self, world: &World, committed: Vec<Zxid>) {
        let mut past = self.past(world).clone();
        self.spent.txns = u8::try_from(past.proposed.len()).unwrap_or(u8::MAX);
        past.committed = committed;
        self.past = world.intern_past(past, &mut Bytes::new());
    }

    /// All pending writes of a server, one by one, with those that they entail.
    pub(super) fn flush_all(&mut self, world: &World, i: usize, log: &mut Log) {
        while !self.node(world, i).disk.queue.is_empty() {
            self.flush(world, i, log);
        }
    }

    /// A reconfiguration at a leader.
    pub(super) fn reconfigure(&mut self, world: &World, i: usize, members: u8, log: &mut Log) {
        self.spent.reconfigs += 1;
        self.step(world, i, &Stimulus::Propose(Txn::Reconfigure(members)), log);
    }

    /// A client's write at a leader.
    pub(super) fn propose(&mut self, world: &World, i: usize, log: &mut Log) {
        self.spent.txns += 1;
        self.step(world, i, &Stimulus::Propose(Txn::Write), log);
    }
}

/// Bits of [`super::action::WITNESSES`] for what is about to be observed.
fn witnessed_by(past: &Past, observation: &Observation) -> u64 {
    let recovered = match observation {
        Observation::Applied(tree) => past.initial.len() > 1 && tree.len() > past.committed.len(),
        Observation::Violated(_)
        | Observation::Established(..)
        | Observation::Primary(..)
        | Observation::Proposed(_) => false,
    };
    u64::from(recovered) << W_COMMIT_AFTER_RECOVERY
}

const fn is_ping(frame: &Frame) -> bool {
    matches!(frame.packet, Packet::Ping { .. })
}

/// Which kind of synchronization a NEWLEADER ends, by what was sent before it.
fn sync_kind(w: &Wire, sent: &Frame) -> u64 {
    if !matches!(sent.packet, Packet::NewLeader { .. }) {
        return 0;
    }
    let before = w.inbox(End::Learner);
    let is_proposal = |f: &Frame| matches!(f.packet, Packet::Proposal { .. });
    let diff = before.iter().any(is_proposal);
    before.iter().fold(0, |bits, f| {
        bits | match (&f.packet, diff) {
            (Packet::Diff { .. }, false) => 1 << W_EMPTY_DIFF,
            (Packet::Diff { .. }, true) => 1 << W_DIFF,
            (Packet::Trunc { .. }, false) => 1 << W_TRUNC,
            (Packet::Trunc { .. }, true) => 1 << W_TRUNC_DIFF,
            _ => 0,
        }
    })
}
