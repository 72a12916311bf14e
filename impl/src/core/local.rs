//! Sessions that only this server knows, and reads that it answers without a leader.
//!
//! The rules are those of [`zabra_model::service::local`] and [`zabra_model::service::read_only`].

use super::turn::Core;
use crate::client::conn::{Conn, ConnPhase};
use crate::client::lock::lock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{debug, info};
use zabra_model::ids::{ServerId, SessionId};
use zabra_model::service::local::{Said, begins_locally, said};
use zabra_model::service::mode::Mode;
use zabra_model::service::read_only::{grace_ms, may_begin};
use zabra_model::service::tracker::Asks;

/// How long a server waits that might answer reads but for a tree that is just being read anew.
const TREE_PAUSE_MS: u64 = 100;

impl Core {
    /// Whether a client that comes without a session gets a local one.
    pub(super) fn gives_local_sessions(&self) -> bool {
        let rules = self.replica.shared.config.local_sessions;
        begins_locally(self.service.mode, rules)
    }

    /// A session begins that nobody else hears of.
    pub(super) fn begin_local(&mut self, conn: &Arc<Conn>, session: SessionId) {
        let elapsed_ms = self.now.elapsed_ms;
        let local = &mut self.service.local;
        if local.is_empty() {
            self.service.next_local_look_ms = elapsed_ms;
            local.look(elapsed_ms);
        }
        local.begin(session, conn.timeout_ms(), elapsed_ms);
        self.count_local();
        conn.state().local = true;
        self.connected(conn, true);
    }

    /// Whether a client is back whose session is local; then it goes on.
    pub(super) fn local_goes_on(&mut self, conn: &Arc<Conn>, session: SessionId) -> bool {
        self.forget_ended();
        let elapsed_ms = self.now.elapsed_ms;
        let timeout_ms = conn.timeout_ms();
        let goes_on = self.service.local.go_on(session, timeout_ms, elapsed_ms);
        if goes_on {
            conn.state().local = true;
            self.connected(conn, true);
        }
        goes_on
    }

    /// A local session is about to ask for something that only a global one may: it becomes one.
    pub(super) fn make_global(&mut self, conn: &Arc<Conn>) {
        let session = conn.session();
        if !self.service.local.has(session) {
            return conn.close(); // it has expired meanwhile
        }
        debug!(%session, "a local session becomes global");
        self.service.local.remove(session);
        self.count_local();
        let way = self.service.mode.way();
        self.create_session(Arc::clone(conn), session, way);
    }

    /// What a session says to a request, at the leader.
    pub(super) fn said(&mut self, session: SessionId, asks: Asks, owner: ServerId) -> Said {
        let (me, elapsed_ms) = (self.service.me, self.now.elapsed_ms);
        let tracker = &mut self.service.tracker;
        let word = tracker.admit(session, asks, owner, elapsed_ms);
        if word.is_ok() {
            return Said {
                session: word,
                ephemerals: word,
            };
        }
        // A session that is refused has been left as it was.
        let standing = tracker.standing(session);
        let is_local = owner == me && self.service.local.has(session);
        let rules = self.replica.shared.config.local_sessions;
        said(word, standing, session, me, is_local, rules)
    }

    /// This server looks for a leader. If it finds none for a while, reads are answered without one, where that is wanted.
    pub(super) fn wait_for_leader(&mut self) {
        let config = &self.replica.shared.config;
        let is_wanted = config.read_only_mode && config.is_ensemble();
        let from_ms = self.now.elapsed_ms + grace_ms(config.tick_ms);
        self.service.read_only_from_ms = is_wanted.then_some(from_ms);
    }

    /// What is due by the time and needs no leader.
    pub(super) fn look_without_leader(&mut self) {
        let elapsed_ms = self.now.elapsed_ms;
        if self
            .service
            .read_only_from_ms
            .is_some_and(|from| from <= elapsed_ms)
        {
            self.serve_reads();
        }
        if !self.service.local.is_empty() && self.service.next_local_look_ms <= elapsed_ms {
            self.look_at_local();
            let next_ms = self.service.local.next_look_ms(elapsed_ms);
            self.service.next_local_look_ms = next_ms;
        }
    }

    fn serve_reads(&mut self) {
        let (state, is_whole) = (self.protocol.peer.state(), !self.disk.is_reloading());
        if !may_begin(state, self.service.mode, is_whole) {
            let again_ms = self.now.elapsed_ms + TREE_PAUSE_MS;
            self.service.read_only_from_ms = (!is_whole).then_some(again_ms);
            return;
        }
        self.service.read_only_from_ms = None;
        self.end_stay();
        self.show_members();
        self.service.mode = Mode::ReadOnly;
        self.replica.shared.set_mode(Mode::ReadOnly);
        info!(zxid = %self.replica.tree_zxid(), "there is no leader: only reads are served, to clients that accept that");
    }

    /// Looks for local sessions whose clients are silent, and ends them.
    fn look_at_local(&mut self) {
        self.forget_ended();
        let shared = Arc::clone(&self.replica.shared);
        let held_up = self.out.hold_clients;
        let local = &mut self.service.local;
        local.look(self.now.elapsed_ms);
        let mut sessions = lock(&shared.sessions);
        for (session, conn) in sessions.iter() {
            if local.has(session) {
                local.hear(session, conn.take_heard(), held_up);
            }
        }
        for session in local.take_due() {
            info!(%session, "local session expired");
            let Some(conn) = sessions.closed(session, None) else {
                continue;
            };
            let mut state = conn.state();
            if state.phase != ConnPhase::Closed {
                state.phase = ConnPhase::Closing;
                state.mark_dirty(&conn, &mut self.out.woken);
            }
        }
        drop(sessions);
        self.count_local();
    }

    /// Forgets the local sessions that their clients have ended.
    fn forget_ended(&mut self) {
        for session in self.replica.shared.take_ended_local() {
            self.service.local.remove(session);
        }
        self.count_local();
    }

    /// Tells operators how many there are.
    pub(super) fn count_local(&self) {
        let count = &self.replica.shared.stats.local_sessions;
        count.store(self.service.local.len() as u64, Ordering::Relaxed);
    }
}
