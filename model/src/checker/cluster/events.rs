//! What can happen to a cluster, one function for each kind of action.

use super::super::arena::Bytes;
use super::super::host;
use super::super::link::{End, Frame, Wire};
use super::super::log::Log;
use super::super::node::Stimulus;
use super::super::parts::{NONE, OnMail, OnWire, WIRES_MAX, index};
use super::super::txn::Txn;
use super::super::world::World;
use super::Cluster;
use crate::ids::Zxid;
use crate::invariants::Violation;
use crate::leader::{Learner, LearnerStage, Phase};
use crate::packet::Packet;
use crate::peer::Role;
use alloc::boxed::Box;
use alloc::vec::Vec;

impl Cluster {
    /// Ends the election of a looking server with that leader.
    pub(in crate::checker) fn elect(
        &mut self,
        world: &World,
        i: usize,
        leader: usize,
        log: &mut Log,
    ) {
        let vote = match self.role(world, leader) {
            Some(Role::Looking(l)) => l.own,
            Some(Role::Leading(l)) => l.vote,
            _ => return,
        };
        self.step(world, i, &Stimulus::Elect(vote), log);
    }

    /// The learner's dial is answered.
    pub(in crate::checker) fn connect(&mut self, world: &World, learner: usize, log: &mut Log) {
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
    pub(in crate::checker) fn dialled(&self, world: &World, learner: usize) -> Option<usize> {
        match self.role(world, learner)? {
            Role::Following(f) if f.link.is_none() => Some(index(f.vote.leader)),
            _ => None,
        }
    }

    /// Whether a server leads, formed quorum or not.
    pub(in crate::checker) fn leads(&self, world: &World, i: usize) -> bool {
        matches!(self.role(world, i), Some(Role::Leading(_)))
    }

    /// The next packet at an end of a connection.
    pub(in crate::checker) fn receive(
        &mut self,
        world: &World,
        link: u64,
        end: End,
        log: &mut Log,
    ) {
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
    pub(in crate::checker) fn notify(
        &mut self,
        world: &World,
        from: usize,
        to: usize,
        log: &mut Log,
    ) {
        let sender = u8::try_from(from).unwrap_or(u8::MAX);
        let operand = self.on_mail(world, to, OnMail::Take(sender), log);
        if operand != NONE && self.node(world, to).peer.is_some() {
            let notification = *world.notes.get(operand);
            let stimulus = Stimulus::Notified { from, notification };
            self.step_with(world, to, &stimulus, operand, log);
        }
    }

    /// An end learns that its connection is over.
    pub(in crate::checker) fn hear_close(
        &mut self,
        world: &World,
        link: u64,
        end: End,
        log: &mut Log,
    ) {
        let Some(at) = self.slot(world, link) else {
            return;
        };
        let i = world.wires.get(self.wires[at]).server(end);
        self.on_wire(world, at, OnWire::Close(end), log);
        self.step(world, i, &Stimulus::Unlinked(link), log);
    }

    /// The network drops a connection.
    pub(in crate::checker) fn cut(&mut self, world: &World, link: u64, log: &mut Log) {
        if let Some(at) = self.slot(world, link) {
            self.on_wire(world, at, OnWire::Cut, log);
        }
    }

    /// A packet gets in before NEWLEADER.
    pub(in crate::checker) fn overtake(&mut self, world: &World, link: u64, log: &mut Log) {
        if let Some(at) = self.slot(world, link) {
            self.on_wire(world, at, OnWire::Overtake, log);
        }
    }

    /// Whether a ZooKeeper leader may send PING while the learner still owes the ACK of NEWLEADER: as soon as that is
    /// queued. One PING at a time says it all.
    pub(in crate::checker) fn may_ping_early(&self, world: &World, w: &Wire) -> bool {
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
    pub(in crate::checker) fn ping_early(&mut self, world: &World, link: u64, log: &mut Log) {
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
    pub(in crate::checker) fn later_snap(&self, world: &World, w: &Wire) -> Option<Frame> {
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
    pub(in crate::checker) fn snap_later(&mut self, world: &World, link: u64, log: &mut Log) {
        let Some(at) = self.slot(world, link) else {
            return;
        };
        if let Some(frame) = self.later_snap(world, world.wires.get(self.wires[at])) {
            let frame = world.intern_frame(frame, &mut log.bytes);
            self.on_wire(world, at, OnWire::SnapLater(frame), log);
        }
    }

    /// The oldest pending write of a server becomes durable, and the server hears of it.
    pub(in crate::checker) fn flush(&mut self, world: &World, i: usize, log: &mut Log) {
        self.step(world, i, &Stimulus::Flush, log);
    }

    /// Fault: the oldest pending write of a server fails, and its host goes on as if it had not.
    pub(in crate::checker) fn fail_write(&mut self, world: &World, i: usize, log: &mut Log) {
        self.step(world, i, &Stimulus::FailWrite, log);
    }

    /// Every vote on the way has been heard, and changed nothing.
    pub(in crate::checker) fn hush(&mut self, world: &World, log: &mut Log) {
        for i in 0..self.n() {
            self.on_mail(world, i, OnMail::Empty, log);
        }
    }

    /// Everything that is committed and spent when the exploration begins.
    pub(in crate::checker) fn begin(
        &mut self,
        world: &World,
        committed: Vec<Zxid>,
        reconfigs: usize,
    ) {
        let mut past = self.past(world).clone();
        let small = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        self.spent.txns = small(past.proposed.len() - reconfigs);
        self.spent.reconfigs = small(reconfigs);
        past.committed = committed;
        self.past = world.intern_past(past, &mut Bytes::new());
    }

    /// All pending writes of a server, one by one, with those that they entail.
    pub(in crate::checker) fn flush_all(&mut self, world: &World, i: usize, log: &mut Log) {
        while !self.node(world, i).disk.queue.is_empty() {
            self.flush(world, i, log);
        }
    }

    /// A reconfiguration at a leader.
    pub(in crate::checker) fn reconfigure(
        &mut self,
        world: &World,
        i: usize,
        members: u8,
        log: &mut Log,
    ) {
        self.spent.reconfigs += 1;
        self.step(world, i, &Stimulus::Propose(Txn::Reconfigure(members)), log);
    }

    /// A client's write at a leader.
    pub(in crate::checker) fn propose(&mut self, world: &World, i: usize, log: &mut Log) {
        self.spent.txns += 1;
        self.step(world, i, &Stimulus::Propose(Txn::Write), log);
    }
}

const fn is_ping(frame: &Frame) -> bool {
    matches!(frame.packet, Packet::Ping { .. })
}
