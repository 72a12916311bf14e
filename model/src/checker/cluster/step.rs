//! A step of one server, and what leaves it: to connections, mailboxes and the observer. Each is taken once and remembered.

use super::super::action::{W_COMMIT_AFTER_RECOVERY, W_DIFF, W_EMPTY_DIFF, W_TRUNC, W_TRUNC_DIFF};
use super::super::bounds::Grain;
use super::super::election_end::{self, ElectionEnd};
use super::super::link::{End, Frame, Wire};
use super::super::log::{Done, Log};
use super::super::memo::{Moved, Out};
use super::super::node::{Outbox, Outward, Stimulus};
use super::super::parts::{NONE, OnMail, OnWire};
use super::super::world::World;
use super::Cluster;
use crate::invariants::{Observation, Past, Violation};
use crate::packet::Packet;
use alloc::vec::Vec;

impl Cluster {
    /// Starts a server from its disk.
    pub(in crate::checker) fn start(&mut self, world: &World, i: usize, log: &mut Log) {
        self.step(world, i, &Stimulus::Boot, log);
    }

    /// A server ends, by the power, a death or a failed sync: its memory and its ends of all connections are gone.
    pub(in crate::checker) fn end(
        &mut self,
        world: &World,
        i: usize,
        how: &Stimulus,
        log: &mut Log,
    ) {
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
    pub(in crate::checker) fn step(
        &mut self,
        world: &World,
        i: usize,
        stimulus: &Stimulus,
        log: &mut Log,
    ) {
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
    pub(super) fn step_with(
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

    pub(super) fn wrong(&mut self, world: &World, wrong: Violation, log: &mut Log) {
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
    pub(super) fn slot(&self, world: &World, link: u64) -> Option<usize> {
        self.wires(world).position(|w| w.id == link)
    }

    /// Something happens to a connection; the frame that was taken from it, if one was.
    pub(super) fn on_wire(&mut self, world: &World, at: usize, what: OnWire, log: &mut Log) -> u32 {
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
    pub(super) fn on_mail(&mut self, world: &World, to: usize, what: OnMail, log: &mut Log) -> u32 {
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
