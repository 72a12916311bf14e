//! The end of a reign in order ([`zabra_model::service::handover`]): a leader that is stopped, and what its learners make of it.

use super::turn::Core;
use crate::client::conn::{Conn, ConnPhase};
use crate::client::lock::lock;
use crate::client::submit::Submit;
use crate::codes::Code;
use std::collections::BTreeSet;
use std::sync::Arc;
use tracing::{info, warn};
use zabra_model::ids::{Epoch, SessionId};
use zabra_model::packet::Packet;
use zabra_model::service::delivery::Need;
use zabra_model::service::handover::{LEAVES, Leaving, elsewhere};
use zabra_model::service::mode::{Mode, counts_at_learner};
use zabra_model::step::{Input, Link};

/// With more sessions than this a learner does not name them, and its connections end with its leader: a packet has no room for more.
const NAMED_MAX: usize = 100_000;

impl Core {
    /// This server is to stop. A leader tells its learners before, and stops when they know; whoever asks twice does not want to wait.
    pub(super) fn on_shutdown(&mut self) {
        let peer = &self.protocol.peer;
        let links = self.quorum.all().into_iter();
        let learners: Vec<Link> = links.filter(|l| peer.has_active_learner(*l)).collect();
        let is_asked_twice = self.service.leaving.is_some();
        if !self.service.leads()
            || learners.is_empty()
            || is_asked_twice
            || self.timers_are_driven()
        {
            self.end();
            return;
        }
        info!(
            learners = learners.len(),
            "this server leads, and hands over"
        );
        for link in &learners {
            let packet = Packet::Ping { zxid: LEAVES };
            self.quorum.put(*link, &packet, &mut self.out);
        }
        let tick_ms = self.replica.shared.config.tick_ms;
        let leaving = Leaving::begin(learners.into_iter(), self.now.elapsed_ms, tick_ms);
        self.service.leaving = Some(leaving);
    }

    /// At the end of a turn: whether a leader that leaves has nothing more to do.
    pub(super) fn leave_if_over(&mut self) {
        let Some(leaving) = &mut self.service.leaving else {
            return;
        };
        let peer = &self.protocol.peer;
        leaving.keep(|link| peer.has_active_learner(link));
        let is_open = peer.last_logged() > peer.delivered() || self.replica.delivery.is_due();
        if !self.service.mode.leads() || leaving.is_over(is_open, self.now.elapsed_ms) {
            self.end();
        }
    }

    /// The last turn. What was answered is sent, and the learners get all that was committed.
    fn end(&mut self) {
        if self.out.ended {
            return;
        }
        self.out.ended = true;
        self.deliver(Need::Role);
        self.service.stay.ends();
        self.stop_serving();
        self.quorum.has_last_words = true;
        self.quorum.close_all(&mut self.out);
    }

    fn conns(&self) -> Vec<Arc<Conn>> {
        lock(&self.replica.shared.hub)
            .conns
            .values()
            .cloned()
            .collect()
    }

    /// Ends the connections of all clients, but for those that may stay where `stays`. Who has been answered gets that before.
    pub(super) fn end_connections(&mut self, stays: bool) {
        for conn in self.conns() {
            let mut state = conn.state();
            match state.phase {
                ConnPhase::Open if stays && !state.local => continue,
                ConnPhase::Open | ConnPhase::Closing if !state.out.is_empty() => {
                    state.phase = ConnPhase::Closing;
                    state.mark_dirty(&conn, &mut self.out.woken);
                    continue;
                }
                ConnPhase::Connecting
                | ConnPhase::Open
                | ConnPhase::Closing
                | ConnPhase::Closed => {}
            }
            drop(state);
            conn.close();
        }
        if !stays {
            self.service.held.clear();
        }
    }

    /// A PING by which a reign ends: a leader's, or a learner's answer.
    pub(super) fn on_leaving(&mut self, link: Link, from_leader: bool, table: &[(SessionId, i32)]) {
        if from_leader {
            self.on_leader_leaves(link, table);
            return;
        }
        let is_answer = self.service.leaving.as_mut().map(|l| l.answered(link));
        if is_answer == Some(true) && self.counts_at_leader(link) {
            let learner = self.learner_of(link);
            let sessions = table.iter().map(|(session, _)| *session);
            let moved = elsewhere(&self.service.tracker, sessions, learner);
            let moved: Vec<_> = moved.into_iter().map(|session| (session, 0)).collect();
            self.quorum.put_ping(link, LEAVES, &moved, &mut self.out);
        }
    }

    fn on_leader_leaves(&mut self, link: Link, moved: &[(SessionId, i32)]) {
        let shared = Arc::clone(&self.replica.shared);
        let is_served = counts_at_learner(self.service.mode, true);
        let epoch = self.protocol.peer.serving();
        let named = lock(&shared.sessions).iter().count();
        if let Some(epoch) = epoch.filter(|_| is_served && named <= NAMED_MAX) {
            let (now_ms, tick_ms) = (self.now.elapsed_ms, shared.config.tick_ms);
            self.service.stay.told(epoch, now_ms, tick_ms);
            info!(
                epoch = epoch.0,
                moved = moved.len(),
                "the leader hands over"
            );
        }
        let moved: BTreeSet<_> = moved.iter().map(|(session, _)| *session).collect();
        if !moved.is_empty() {
            let left: Vec<_> = lock(&shared.sessions)
                .iter()
                .filter(|(session, _)| moved.contains(session))
                .map(|(_, conn)| Arc::clone(conn))
                .collect();
            left.iter().for_each(|conn| conn.close());
        }
        let packet = Packet::Ping { zxid: LEAVES };
        self.step(Input::Received { link, packet });
    }

    /// What a learner's answer to such a PING names: all sessions that are attached here, once.
    pub(super) fn attached_sessions(&self) -> Vec<(SessionId, i32)> {
        if !self.service.stay.is_asked() {
            return Vec::new();
        }
        let local = &self.service.local;
        lock(&self.replica.shared.sessions)
            .iter()
            .filter(|(session, _)| !local.has(*session))
            .map(|(session, conn)| (session, conn.timeout_ms()))
            .collect()
    }

    /// Keeps what a client asks of the leader until there is one.
    pub(super) fn hold(&mut self, conn: &Arc<Conn>, mut requests: Vec<Submit>) {
        requests.iter_mut().for_each(Submit::detach);
        self.service.held.push_back((Arc::clone(conn), requests));
    }

    /// There is a leader: what was kept goes its way.
    pub(super) fn take_held(&mut self) {
        while let Some((conn, requests)) = self.service.held.pop_front() {
            let phase = conn.state().phase;
            if phase == ConnPhase::Open {
                self.on_submitted(&conn, requests);
            }
        }
    }

    /// This server serves again: whether its clients go on.
    pub(super) fn stayers_go_on(&mut self, epoch: Epoch) {
        let had_stayers = self.service.stay.waits();
        if !self.service.stay.serves(epoch) && had_stayers {
            self.end_connections(false);
        }
    }

    /// The tree is replaced, or others serve clients: whoever has stayed goes.
    pub(super) fn end_stay(&mut self) {
        if self.service.stay.ends() {
            self.end_connections(false);
        }
    }

    /// By the time: clients that have stayed look for another server, and a leader that has not left is asked again.
    pub(super) fn look_at_stay(&mut self) {
        if !self.service.stay.is_late(self.now.elapsed_ms) {
            return;
        }
        if self.service.mode == Mode::NotServing {
            self.end_stay();
        } else {
            warn!(code = %Code::LeaderStays, "the leader has said that it leaves, and has not");
            self.service.stay.ends();
            self.take_held();
        }
    }
}
