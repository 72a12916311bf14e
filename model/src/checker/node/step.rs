//! What one input leads to inside a server. Everything that follows from it in that server happens here, and what leaves it is
//! listed; so a step can be remembered and need not be taken twice.
//!
//! Everything a server decides, it decides in [`Peer::step`]; this file only carries out its effects.

use super::Node;
use super::stimulus::{Outbox, Outward, Stimulus};
use crate::checker::action::{
    W_ACTIVATION, W_COMMIT, W_INFORM, W_LATE_ACTIVATION, W_OBSERVER_SERVES, W_PING, W_RETIRED,
    W_SNAP, W_SNAP_WANTED, W_USED_UP,
};
use crate::checker::bounds::Disk as DiskGrain;
use crate::checker::disk::PendingWrite;
use crate::checker::host;
use crate::checker::link::Frame;
use crate::checker::parts::{index, sid};
use crate::checker::txn::{self, Txn};
use crate::checker::world::World;
use crate::ensemble::Ensemble;
use crate::fault::Fault;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::invariants::{Observation, Violation};
use crate::packet::Packet;
use crate::peer::{Peer, Role};
use crate::step::{Effect, Effects, Input, Link, Write};
use crate::vote::{ServerState, Vote};
use alloc::vec::Vec;

impl Node {
    /// One input, with all that follows inside this server.
    pub fn take(&mut self, world: &World, stimulus: Stimulus, out: &mut Outbox) {
        let led = self.primary();
        match stimulus {
            Stimulus::Boot => self.boot(world, out),
            Stimulus::Crash(kept) => {
                self.disk.lose_power(usize::from(kept));
                self.stop();
            }
            Stimulus::Die(kept) => {
                self.disk.die(usize::from(kept));
                self.stop();
            }
            Stimulus::FailSync(kept) => {
                self.disk.die(usize::from(kept));
                self.disk.cache.clean = true;
                self.stop();
            }
            Stimulus::Elect(vote) => self.elect(world, vote, out),
            Stimulus::Flush => self.flush(world, out),
            Stimulus::Snapshot => self.disk.image.taken = self.tree.len(),
            Stimulus::FailWrite => self.fail_write(world, out),
            Stimulus::Propose(txn) => self.propose(world, txn, out),
            Stimulus::Unreachable => self.step(world, Input::Unreachable, &[], out),
            Stimulus::Linked(id) => self.step(world, Input::Linked(Link(id)), &[], out),
            Stimulus::Unlinked(id) => self.step(world, Input::Unlinked(Link(id)), &[], out),
            Stimulus::Fired(timer) => self.step(world, Input::Fired(timer), &[], out),
            Stimulus::Received { link, frame } => {
                let (link, packet) = (Link(link), frame.packet);
                self.step(world, Input::Received { link, packet }, &frame.tree, out);
            }
            Stimulus::Notified { from, notification } => {
                let from = ServerId(from as u64 + 1);
                self.step(world, Input::Notified { from, notification }, &[], out);
            }
        }
        if world.bounds.lists_in_files {
            self.name_list(world, out);
        }
        if let Some(epoch) = self.primary().filter(|epoch| led != Some(*epoch)) {
            out.seen(Observation::Primary(epoch, sid(self.at)));
        }
    }

    /// It starts: what it reads is made durable, and only then does the peer begin.
    fn boot(&mut self, world: &World, out: &mut Outbox) {
        let switches = world.switches();
        let Ok((mut found, ensemble)) = self.disk.found(switches) else {
            out.seen(Observation::Violated(Violation::NoBoot));
            return;
        };
        while let Some((part, how)) = found.owes(switches) {
            self.disk.settle(part, how);
            found.made(part, how, switches);
        }
        let Ok(found) = found.report(switches) else {
            return;
        };
        self.disk.image.purge();
        self.tree = self.disk.visible().content();
        host::load_snapshot(self);
        let mut effects = Effects::new();
        let ensemble = if world.bounds.groups.is_empty() {
            ensemble
        } else {
            Ensemble::of(world.voters.clone())
        };
        self.peer = Some(Peer::boot(
            &world.envs[self.at],
            found,
            ensemble,
            &mut effects,
        ));
        self.carry_out(world, effects, &[], false, out);
    }

    /// Its memory is gone; the caller ends its connections.
    fn stop(&mut self) {
        host::on_crash(&mut self.disk);
        self.tree.clear();
        self.peer = None;
    }

    /// One input of the peer. `tree` came beside a SNAP.
    fn step(&mut self, world: &World, input: Input<Txn>, tree: &[Zxid], out: &mut Outbox) {
        let Some(peer) = self.peer.as_mut() else {
            return;
        };
        if host::is_out_of_place(world, peer, &input) {
            out.seen(Observation::Violated(Violation::BadPacket));
        }
        let heard = host::ballots_of(world, sid(self.at), peer, &input);
        let mut effects = Effects::new();
        let served = peer.serving().is_some();
        peer.step(&world.envs[self.at], input, &mut effects);
        if let Some(heard) = heard {
            if !heard.back(peer) {
                out.seen(Observation::Violated(Violation::UnbackedElection));
            }
            if !heard.are_noticed(peer) {
                out.seen(Observation::Violated(Violation::UnnoticedQuorum));
            }
        }
        self.carry_out(world, effects, tree, served, out);
    }

    /// Ends the election of a looking server.
    fn elect(&mut self, world: &World, vote: Vote, out: &mut Outbox) {
        let Some(peer) = self.peer.as_mut() else {
            return;
        };
        let mut effects = Effects::new();
        peer.elect(&world.envs[self.at], vote, &mut effects);
        self.carry_out(world, effects, &[], false, out);
    }

    /// The oldest pending write becomes durable, and the peer hears of it.
    fn flush(&mut self, world: &World, out: &mut Outbox) {
        let Some(peer) = &self.peer else {
            return;
        };
        let mark = peer.storage.mark_of(1);
        self.disk.write_next();
        self.step(world, Input::Durable(mark), &[], out);
    }

    fn fail_write(&mut self, world: &World, out: &mut Outbox) {
        let Some(peer) = &self.peer else {
            return;
        };
        let mark = peer.storage.mark_of(1);
        self.disk.quirk.held.extend(self.disk.queue.pop_front());
        self.step(world, Input::Durable(mark), &[], out);
    }

    fn propose(&mut self, world: &World, txn: Txn, out: &mut Outbox) {
        let last = |node: &Self| {
            node.peer
                .as_ref()
                .map(Peer::last_logged)
                .unwrap_or_default()
        };
        let before = last(self);
        self.step(world, Input::Propose(txn), &[], out);
        let after = last(self);
        if after != before {
            out.seen(Observation::Proposed(after));
        }
    }

    /// Carries out what the peer asks for, in order. `served` tells whether it was serving before.
    fn carry_out(
        &mut self,
        world: &World,
        effects: Effects<Txn>,
        tree: &[Zxid],
        served: bool,
        out: &mut Outbox,
    ) {
        out.witnessed |= late_activation(&effects);
        for effect in effects {
            match effect {
                Effect::Persist { write, .. } => {
                    self.persist(world, &write, tree, out);
                }
                Effect::Notify { to, notification } => out.sent.push(Outward::Post {
                    to: index(to),
                    notification,
                }),
                Effect::Send { link, packet } => Self::send(link, packet, Vec::new(), out),
                Effect::SendHistory {
                    link,
                    after,
                    upto,
                    committed,
                } => {
                    self.send_history(link, (after, upto), committed, out);
                }
                Effect::SendInform { link, zxid } => {
                    out.witnessed |= 1 << W_INFORM;
                    let txn = self.disk.image_asked().txn(zxid);
                    Self::send(link, Packet::Inform { zxid, txn }, Vec::new(), out);
                }
                Effect::SendSnapshot {
                    link,
                    zxid,
                    ensemble,
                } => {
                    let end = self.tree.last().copied().unwrap_or_default();
                    assert_eq!(end, zxid, "the tree is where the peer says");
                    Self::send(
                        link,
                        Packet::Snap { zxid, ensemble },
                        self.tree.clone(),
                        out,
                    );
                }
                Effect::Unlink(Link(id)) => out.sent.push(Outward::Unlink(id)),
                Effect::Deliver { upto } => {
                    out.sent.push(Outward::Other(effect));
                    self.deliver(upto, served, out);
                }
                Effect::Serve { epoch } => {
                    out.sent.push(Outward::Other(effect));
                    self.serve(world, epoch, out);
                }
                Effect::Refused(fault) => {
                    out.sent.push(Outward::Other(Effect::Refused(fault)));
                    out.witnessed |= match fault {
                        Fault::TruncBelowSnapshot { .. } => 1 << W_SNAP_WANTED,
                        Fault::CounterExhausted => 1 << W_USED_UP,
                        _ => 0,
                    };
                    if fault.is_bad_packet() {
                        out.seen(Observation::Violated(Violation::BadPacket));
                    }
                }
                Effect::Dial(_) | Effect::Arm(_) | Effect::Disarm(_) | Effect::Became(_) => {
                    host::on_became(world.switches(), self, &effect);
                    out.sent.push(Outward::Other(effect));
                }
            }
        }
        if world.bounds.disk == DiskGrain::Atomic {
            while !self.disk.queue.is_empty() {
                self.flush(world, out);
            }
        }
    }

    /// A leader whose list has no version brings it into the history when it begins to serve, before it does anything else (D-89).
    fn name_list(&mut self, world: &World, out: &mut Outbox) {
        let Some(peer) = self.peer.as_ref() else {
            return;
        };
        let (active, next) = txn::listed(peer.ensemble());
        let leads = matches!(peer.role, Role::Leading(_)) && peer.serving().is_some();
        if leads && active.version == Zxid::ZERO && next.is_none() {
            self.propose(world, Txn::Reconfigure(active.members), out);
        }
    }

    /// Queues a write; what it does to the tree in memory is done at once.
    fn persist(&mut self, world: &World, write: &Write<Txn>, tree: &[Zxid], out: &mut Outbox) {
        self.disk.persist(write, tree);
        host::on_asked(world.switches(), self);
        match self.disk.queue.back() {
            Some(PendingWrite::Truncate(z)) => {
                self.tree.retain(|x| x <= z);
                host::load_snapshot(self);
            }
            Some(PendingWrite::Install(tree, ..)) => self.tree.clone_from(tree),
            _ => {}
        }
        let queued = self.disk.queue.back().cloned();
        out.sent.extend(queued.map(Outward::Queued));
    }

    /// Sends the transactions of the own log in `(after, upto]`.
    fn send_history(
        &self,
        link: Link,
        (after, upto): (Zxid, Zxid),
        committed: bool,
        out: &mut Outbox,
    ) {
        let asked = self.disk.image_asked();
        let lacks = self.disk.quirk.skipped.clone();
        let listed = |z: &&Zxid| **z > after && **z <= upto && !lacks.contains(z);
        for zxid in asked.log.iter().filter(listed).copied() {
            let txn = asked.txn(zxid);
            Self::send(link, Packet::Proposal { zxid, txn }, Vec::new(), out);
            if committed {
                Self::send(link, Packet::Commit { zxid }, Vec::new(), out);
            }
        }
    }

    /// Begins to serve an epoch.
    fn serve(&mut self, world: &World, epoch: Epoch, out: &mut Outbox) {
        host::on_serve(world.switches(), self);
        if world.envs[self.at].observer {
            out.witnessed |= 1 << W_OBSERVER_SERVES;
        }
        self.applied(out);
        // A leader may have stepped down since, in the same step.
        if !matches!(
            self.peer.as_ref().map(|p| &p.role),
            Some(Role::Following(_))
        ) {
            let initial = self.disk.image_asked().content();
            out.seen(Observation::Established(epoch, initial));
        }
    }

    fn send(Link(link): Link, packet: Packet<Txn>, tree: Vec<Zxid>, out: &mut Outbox) {
        match packet {
            Packet::Snap { .. } => out.witnessed |= 1 << W_SNAP,
            Packet::Ping { .. } => out.witnessed |= 1 << W_PING,
            Packet::CommitAndActivate { .. } => out.witnessed |= 1 << W_ACTIVATION,
            _ => {}
        }
        let frame = Frame { packet, tree };
        out.sent.push(Outward::Send { link, frame });
    }

    /// Applies the log up to `upto` to the tree; what a serving server applies is committed.
    fn deliver(&mut self, upto: Zxid, served: bool, out: &mut Outbox) {
        let asked = self.disk.image_asked();
        let applied = self.tree.last().copied().unwrap_or_default();
        let new = asked.log.into_iter().filter(|z| *z > applied && *z <= upto);
        self.tree.extend(new);
        out.witnessed |= 1 << W_COMMIT;
        if served || self.peer.as_ref().is_some_and(|p| p.serving().is_some()) {
            self.applied(out);
        }
    }

    /// What a serving server with a vote has applied is committed; an observer has no say in it.
    fn applied(&self, out: &mut Outbox) {
        let state = self.peer.as_ref().map(Peer::state);
        if state != Some(ServerState::Observing) {
            out.seen(Observation::Applied(self.tree.clone()));
        }
    }
}

/// Bits for a configuration that is activated as a server begins to serve, or ends the lead of one.
fn late_activation(effects: &[Effect<Txn>]) -> u64 {
    if !effects.iter().any(is_activation) {
        return 0;
    }
    let bit = |effect: &Effect<Txn>| match effect {
        Effect::Serve { .. } => 1 << W_LATE_ACTIVATION,
        Effect::Became(ServerState::Looking) => 1 << W_RETIRED,
        _ => 0,
    };
    effects.iter().map(bit).fold(0, |bits, bit| bits | bit)
}

const fn is_activation(effect: &Effect<Txn>) -> bool {
    let Effect::Persist { write, .. } = effect else {
        return false;
    };
    matches!(write, Write::Activate { .. })
}
