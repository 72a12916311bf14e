//! Sessions at their connections: how they begin and go on, and which of them were heard.

use super::turn::Core;
use crate::client::conn::{Conn, ConnPhase};
use crate::client::lock::lock;
use crate::client::shared::Shared;
use crate::client::submit::Connect;
use crate::wire::client::ConnectResponse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::debug;
use zabra_model::ids::SessionId;
use zabra_model::service::mode::Way;
use zabra_model::service::session::password;
use zabra_model::service::tracker::word_of;

impl Core {
    /// A client has introduced itself.
    pub(super) fn on_connect(&mut self, conn: Arc<Conn>, connect: Connect) {
        let hands_over = self.service.leaving.is_some() || self.service.stay.holds();
        match (self.service.mode.way(), connect) {
            (_, Connect::Refused) => {}
            (Way::Close, _) => conn.close(),
            _ if hands_over => conn.close(),
            (_, Connect::New(session)) if self.gives_local_sessions() => {
                self.begin_local(&conn, session);
            }
            (way, Connect::New(session)) => self.create_session(conn, session, way),
            (_, Connect::Again(session)) if self.local_goes_on(&conn, session) => {}
            (Way::Alone, Connect::Again(_)) => self.connected(&conn, false),
            (Way::Judge, Connect::Again(session)) => {
                let (me, elapsed_ms) = (self.service.me, self.now.elapsed_ms);
                let tracker = &mut self.service.tracker;
                let valid = tracker.revalidate(session, conn.timeout_ms(), me, elapsed_ms);
                self.connected(&conn, valid);
            }
            (Way::Forward, Connect::Again(session)) => {
                let timeout_ms = conn.timeout_ms();
                self.quorum
                    .ask_revalidate(session, timeout_ms, &mut self.out);
                self.service.awaited.revalidations.ask(session, conn);
            }
        }
    }

    /// A connection's session is confirmed, or not.
    pub(super) fn connected(&mut self, conn: &Arc<Conn>, valid: bool) {
        connected(&self.replica.shared, conn, valid, &mut self.out.woken);
    }

    /// The sessions attached here of which PING has something to say, with their timeouts.
    pub(super) fn heard_sessions(&self) -> Vec<(SessionId, i32)> {
        let (held_up, now_ms) = (self.out.hold_clients, self.now.elapsed_ms);
        let local = &self.service.local;
        lock(&self.replica.shared.sessions)
            .iter()
            .filter(|(session, _)| local.is_empty() || !local.has(*session))
            .filter(|(_, conn)| word_of(conn.take_heard(), held_up, now_ms).is_some())
            .map(|(session, conn)| (session, conn.timeout_ms()))
            .collect()
    }

    /// The leader's own clients that were heard since the last time live on.
    pub(super) fn hear_own_sessions(&mut self) {
        let held_up = self.out.hold_clients;
        let local = &self.service.local;
        for (session, conn) in lock(&self.replica.shared.sessions).iter() {
            if !local.is_empty() && local.has(session) {
                continue;
            }
            let tracker = &mut self.service.tracker;
            tracker.hear(session, conn.take_heard(), held_up);
        }
    }
}

/// A connection's session is confirmed, or not; `dirty` gets it if it has something to send.
pub(super) fn connected(
    shared: &Shared,
    conn: &Arc<Conn>,
    valid: bool,
    dirty: &mut Vec<Arc<Conn>>,
) {
    let mut state = conn.state();
    if state.phase != ConnPhase::Connecting {
        return; // it has gone meanwhile
    }
    let session = conn.session();
    let response = if valid {
        state.phase = ConnPhase::Open;
        ConnectResponse {
            timeout_ms: conn.timeout_ms(),
            session,
            password: password(session),
            read_only: state.read_only,
        }
    } else {
        state.phase = ConnPhase::Closing;
        ConnectResponse::expired(state.read_only)
    };
    response.put(&mut state.out);
    state.mark_dirty(conn, dirty);
    drop(state);
    conn.sent.fetch_add(1, Ordering::Relaxed);
    let stripe = shared.stats.stripe(conn.id);
    stripe.sent.fetch_add(1, Ordering::Relaxed);
    debug!(%session, valid, from = %conn.from, "session");
    if valid {
        let old = lock(&shared.sessions).attach(session, Arc::clone(conn));
        if let Some(old) = old {
            old.close();
        }
    }
}
