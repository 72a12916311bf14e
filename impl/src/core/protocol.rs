//! The peer of the model: one step, and all that it asks for, in order.

use super::out::Told;
use super::turn::Core;
use crate::codes::Code;
use crate::wire::payload::Payload;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{error, info, warn};
use zabra_model::ids::{Epoch, Zxid};
use zabra_model::packet::Packet;
use zabra_model::service::delivery::Need;
use zabra_model::service::handover::LEAVES;
use zabra_model::service::mode::Mode;
use zabra_model::service::pressure::link_bytes_max;
use zabra_model::step::{Effect, Input, Link, Mark, Write};
use zabra_model::tree::node::Tree;
use zabra_model::vote::ServerState;

impl Core {
    /// One step, and all that it asks for.
    pub(super) fn step(&mut self, input: Input<Payload>) {
        self.protocol.step(self.now, input);
        self.carry_out();
    }

    pub(super) fn carry_out(&mut self) {
        let mut effects = std::mem::take(&mut self.protocol.effects);
        let (mut leads, mut serves, mut looks) = (false, false, false);
        for effect in effects.drain(..) {
            if let Some(need) = Need::before(&effect) {
                self.deliver(need);
            }
            match effect {
                Effect::Persist { mark, write } => self.persist(mark, write),
                Effect::Notify { to, notification } => self.out.mail.push((to, notification)),
                Effect::Dial(leader) => {
                    let within_ms = self.replica.shared.config.connect_ms();
                    self.quorum.dial(leader, within_ms, &mut self.out);
                }
                Effect::Send { link, packet } => self.send(link, packet),
                Effect::SendHistory {
                    link,
                    after,
                    upto,
                    committed,
                } => {
                    let (window, out) = (&self.replica.window, &mut self.out);
                    self.quorum
                        .put_history(window, link, (after, upto), committed, out);
                }
                Effect::SendInform { link, zxid } => {
                    let (window, out) = (&self.replica.window, &mut self.out);
                    self.quorum.put_inform(window, link, zxid, out);
                    self.quorum.answer_syncs(link, zxid, out);
                }
                Effect::SendSnapshot { link, zxid, .. } => self.send_snapshot(link, zxid),
                Effect::Unlink(link) => {
                    self.quorum.close(link, &mut self.out);
                }
                Effect::Arm(timer) => {
                    self.protocol.timers.arm(timer, self.now.elapsed_ms);
                    self.tell(Told::Armed(timer));
                }
                Effect::Disarm(timer) => {
                    self.protocol.timers.disarm(timer);
                    self.tell(Told::Disarmed(timer));
                }
                Effect::Deliver { upto } => self.committed(upto),
                Effect::Became(state) => {
                    self.became(state);
                    leads = state == ServerState::Leading;
                    looks = state == ServerState::Looking;
                }
                Effect::Serve { epoch } => {
                    self.serve(epoch);
                    serves = true;
                }
                Effect::Refused(fault) => {
                    warn!(code = %Code::ProtocolRefused, %fault, "refused");
                    self.tell(Told::Refused(fault));
                }
            }
        }
        self.protocol.effects = effects;
        if looks && !self.timers_are_driven() {
            for (from, notification) in self.protocol.take_early(self.now.elapsed_ms) {
                self.step(Input::Notified { from, notification });
            }
        }
        if leads {
            // Learners that were quicker than this server.
            self.let_waiting_in();
        }
        if self.out.members_changed {
            self.take_role();
        }
        if serves {
            // Steps of their own: what this one asked for has left before.
            self.close_lost_sessions();
            self.name_members();
            self.take_held();
        }
    }

    fn committed(&mut self, upto: Zxid) {
        let stamps = &mut self.protocol.measures.stamps;
        stamps.committed(upto, self.now.elapsed_ms);
        self.replica.delivery.ask(upto);
    }

    fn tell(&mut self, told: Told) {
        if self.tells {
            self.out.told.push(told);
        }
    }

    fn persist(&mut self, mark: Mark, write: Write<Payload>) {
        if self.tells {
            self.tell(told_of(&write));
        }
        match &write {
            Write::Append { zxid, txn } => {
                assert_eq!(
                    *zxid, txn.header.zxid,
                    "the leader's core chooses the zxid that was prepared for"
                );
                self.count_logged(txn);
                self.replica.window.push(Arc::clone(txn));
                if let Some(members) = txn.members.clone() {
                    self.change_lists(|lists| lists.append(*members));
                }
                self.disk.write(mark, write);
            }
            Write::Truncate { zxid } => {
                let zxid = *zxid;
                self.replica.window.truncate(zxid);
                self.change_lists(|lists| {
                    lists.truncate(zxid);
                });
                self.disk.write(mark, write);
                let holds_more = self.replica.tree_zxid() > zxid;
                self.disk.truncated(mark, holds_more);
            }
            Write::Install { zxid, .. } => self.install(mark, *zxid),
            Write::Activate { .. } => self.activate(mark),
            Write::AcceptedEpoch(_) | Write::CurrentEpoch(_) => self.disk.write(mark, write),
        }
    }

    /// The tree that came with SNAP takes the place of this server's.
    fn install(&mut self, mark: Mark, zxid: Zxid) {
        let Some((tree, lists)) = self.quorum.take_tree() else {
            error!(code = %Code::SnapshotNotHere, "a snapshot is to be installed that was not received");
            return;
        };
        if let Some(lists) = lists {
            self.disk.stage_members(lists.active.text());
            self.change_lists(|own| *own = *lists);
        }
        let image = tree.image();
        assert_eq!(
            image.zxid, zxid,
            "the installed tree is the one that came with SNAP"
        );
        self.replace_tree(*tree);
        let kept_max = self.replica.shared.config.store.kept_txns_max;
        self.replica.window = super::window::Window::starting_at(zxid, kept_max);
        self.disk.stage(mark, image, &mut self.out);
    }

    /// The old one is freed elsewhere: a million nodes take a while.
    pub(super) fn replace_tree(&mut self, tree: Tree) {
        // Nobody hears what has changed between the two, so its watchers look again.
        self.end_stay();
        let old = self.replica.replace(tree);
        self.out.jobs.push(super::out::Job::Free(Box::new(old)));
    }

    fn send(&mut self, link: Link, packet: Packet<Payload>) {
        self.count_sent(link, &packet);
        match packet {
            Packet::Ping { zxid } if self.protocol.peer.state() != ServerState::Leading => {
                let table = match zxid {
                    LEAVES => self.attached_sessions(),
                    _ => self.heard_sessions(),
                };
                self.quorum.put_ping(link, zxid, &table, &mut self.out);
            }
            Packet::UpToDate => {
                self.quorum.put(link, &Packet::UpToDate, &mut self.out);
                let config = &self.replica.shared.config;
                let bytes_max = link_bytes_max(config.beside_large(config.outstanding_bytes));
                let silence_ms = config.sync_ms();
                self.quorum
                    .is_up_to_date(link, silence_ms, bytes_max, &mut self.out);
            }
            Packet::Commit { zxid } | Packet::CommitAndActivate { zxid } => {
                self.quorum.put(link, &packet, &mut self.out);
                self.quorum.answer_syncs(link, zxid, &mut self.out);
            }
            other => self.quorum.put(link, &other, &mut self.out),
        }
    }

    fn send_snapshot(&mut self, link: Link, zxid: Zxid) {
        let snaps = &self.replica.shared.stats.snaps;
        snaps.fetch_add(1, Ordering::Relaxed);
        let image = self.replica.image();
        assert_eq!(
            image.zxid, zxid,
            "a tree is sent at the zxid that the core knows it to be at"
        );
        self.quorum.put_tree(link, zxid, image, &mut self.out);
    }

    /// A link is ended from this side, and the protocol hears of it.
    pub(super) fn unlink(&mut self, link: Link) {
        if self.quorum.close(link, &mut self.out) {
            self.step(Input::Unlinked(link));
        }
    }

    fn became(&mut self, state: ServerState) {
        info!(role = ?state, round = self.protocol.peer.round().0, "role");
        self.stop_serving();
        self.quorum.has_last_words = false;
        self.quorum.stop_dialling(&mut self.out);
        self.count_role(state);
        if state == ServerState::Looking {
            self.wait_for_leader();
        } else if matches!(state, ServerState::Following | ServerState::Observing) {
            self.quorum.turn_waiting_away(&mut self.out);
        }
    }

    /// Serving ends: nobody is answered any more, and clients look for another server. Behind a leader that has handed over they stay, but
    /// for those that wait for an answer.
    pub(super) fn stop_serving(&mut self) {
        let shared = &self.replica.shared;
        let stays = self
            .service
            .stay
            .lost(self.now.elapsed_ms, shared.config.tick_ms);
        shared.set_mode(Mode::NotServing);
        self.service.stop();
        self.count_local();
        self.end_connections(stays);
        self.replica.forget_prepared();
    }

    fn serve(&mut self, epoch: Epoch) {
        let shared = Arc::clone(&self.replica.shared);
        let has_others = shared.config.is_ensemble();
        let mode = Mode::of(self.protocol.peer.state(), has_others);
        self.stayers_go_on(epoch);
        self.service.mode = mode;
        self.show_members();
        if mode.leads() {
            self.start_leading();
        } else {
            let silence_ms = shared.config.sync_ms();
            self.quorum.set_leader_silence(silence_ms, &mut self.out);
        }
        shared.set_mode(mode);
        self.count_serving();
        self.operator.serves();
        info!(epoch = epoch.0, ?mode, zxid = %self.protocol.peer.delivered(), "serving");
    }
}

/// Kind and value of a write, as the harness names them.
const fn told_of(write: &Write<Payload>) -> Told {
    let (kind, value) = match write {
        Write::AcceptedEpoch(epoch) => ("acceptedEpoch", epoch.0 as u64),
        Write::CurrentEpoch(epoch) => ("currentEpoch", epoch.0 as u64),
        Write::Append { zxid, .. } => ("append", zxid.0),
        Write::Truncate { zxid } => ("truncate", zxid.0),
        Write::Install { zxid, .. } => ("install", zxid.0),
        Write::Activate { version } => ("activate", version.0),
    };
    Told::Write(kind, value)
}
