//! Requests on their way to a transaction: prepared here while this server leads, forwarded while it follows.

use super::core::{Core, Submitted, SyncFor};
use super::lock;
use super::payload::Logged;
use super::shared::{Conn, Mode};
use crate::client::submit::Submit;
use crate::net::link::{Heard, hello_of, owner_of};
use crate::storage::txn_log::PAYLOAD_BYTES_MAX;
use crate::wire::client::{Request, opcode};
use crate::wire::quorum::{ForwardedRequest, decode_revalidate, decode_revalidated};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{debug, info, warn};
use zabra_model::ids::{ServerId, SessionId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::service::admission::{counts_of_learner, may_forward};
use zabra_model::service::session::{SessionTracker, Standing};
use zabra_model::service::sweep::Sweep;
use zabra_model::step::{Input, Link};
use zabra_model::tree::acl::Id;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::op::WriteOp;
use zabra_model::tree::prep;
use zabra_model::tree::txn::{Txn, TxnHeader};
use zabra_model::vote::ServerState;

const fn refusal(code: ErrorCode) -> Txn {
    Txn::Error { code: code.code() }
}

impl Core {
    /// Whether this server leads a formed quorum.
    pub(super) fn is_leading(&self) -> bool {
        self.serving.is_some() && self.peer.state() == ServerState::Leading
    }

    /// A quorum has formed behind this server: every session lives on for its full timeout.
    pub(super) fn start_leading(&mut self) {
        self.prep.reset();
        self.tracker = SessionTracker::new(self.shared.config.tick_ms);
        self.sweep = Sweep::new(self.shared.config.sweep, self.elapsed_ms);
        self.last_expiry_ms = self.elapsed_ms;
        let sessions: Vec<_> = self.shared.tree().sessions().collect();
        for (session, timeout_ms) in sessions {
            self.tracker.track(session, timeout_ms, self.elapsed_ms);
        }
    }

    /// A new leader ends the sessions of which only their ephemeral nodes are left.
    pub(super) fn close_lost_sessions(&mut self) {
        if !self.is_leading() {
            return;
        }
        let lost: Vec<_> = {
            let tree = self.shared.tree();
            let owners = tree.owners();
            owners
                .filter(|owner| tree.session_timeout(*owner).is_none())
                .collect()
        };
        for session in lost {
            debug!(%session, "its session is gone, its ephemeral nodes go too");
            self.tracker.track_lost(session);
        }
        self.close_expired();
    }

    /// The position that the next proposal will get.
    fn next_zxid(&self) -> Option<Zxid> {
        self.serving?;
        self.peer.next_zxid()
    }

    fn header(&self, session: SessionId, cxid: i32, zxid: Zxid) -> TxnHeader {
        TxnHeader {
            session,
            cxid,
            zxid,
            time: i64::try_from(self.clock_ms).unwrap_or(i64::MAX),
        }
    }

    fn propose(&mut self, header: TxnHeader, txn: Txn) {
        let stats = &self.shared.stats;
        stats.proposals.fetch_add(1, Ordering::Relaxed);
        let closes = matches!(txn, Txn::CloseSession { .. });
        let mut logged = Logged::encode(header, txn, &mut self.scratch);
        if logged.bytes.len() > PAYLOAD_BYTES_MAX {
            // No log reader would take it back. Without the list of paths, a session's end is small and means the same.
            let smaller = if closes {
                Txn::CloseSession { paths: None }
            } else {
                refusal(ErrorCode::MarshallingError)
            };
            logged = Logged::encode(header, smaller, &mut self.scratch);
        }
        stats.proposal_size(logged.bytes.len());
        self.step(Input::Propose(Arc::new(logged)));
    }

    /// A write of the harness: a node that names its transaction, without a session, so that no other one is needed.
    #[cfg(feature = "gate")]
    pub(super) fn propose_of_harness(&mut self) -> Option<Zxid> {
        let zxid = self.next_zxid()?;
        let header = self.header(SessionId(0), 0, zxid);
        let txn = Txn::Create {
            path: format!("/t{:x}", zxid.0).into(),
            data: None,
            acl: super::tree_sink::open_acl().to_vec(),
            created: zabra_model::tree::txn::Created::Node {
                ephemeral: false,
                with_stat: false,
            },
            parent_cversion: -1,
        };
        self.propose(header, txn);
        Some(zxid)
    }

    /// A request of a client at `owner`: judged, and proposed, refusals included.
    fn lead(
        &mut self,
        session: SessionId,
        cxid: i32,
        request: Option<Request>,
        code: i32,
        ids: &[Id],
        owner: ServerId,
    ) {
        let Some(zxid) = self.next_zxid() else {
            return;
        };
        let header = self.header(session, cxid, zxid);
        let checked = match code {
            opcode::CREATE_SESSION | opcode::CLOSE_SESSION => Ok(()),
            _ => self.tracker.check(session, owner),
        };
        let txn = match request {
            Some(Request::Write(op)) => {
                match &op {
                    WriteOp::CreateSession { timeout_ms } => {
                        self.tracker.track(session, *timeout_ms, self.elapsed_ms);
                        self.tracker.set_owner(session, owner);
                    }
                    WriteOp::CloseSession => self.tracker.set_closing(session),
                    _ => {}
                }
                let request = prep::Request {
                    header,
                    ids,
                    session: checked,
                };
                let shared = Arc::clone(&self.shared);
                let tree = shared.tree();
                self.prep.prepare(&tree, &request, op)
            }
            Some(Request::Reconfig { .. }) => refusal(ErrorCode::ReconfigDisabled),
            // Only a server says this, and a leader does not say it to itself as a request (D-36).
            _ if !may_forward(code) => refusal(ErrorCode::Unimplemented),
            _ => refusal(ErrorCode::MarshallingError),
        };
        self.propose(header, txn);
    }

    fn propose_close(&mut self, session: SessionId) {
        let request = Request::Write(WriteOp::CloseSession);
        let me = self.env.me;
        self.lead(session, 0, Some(request), opcode::CLOSE_SESSION, &[], me);
    }

    /// Sessions that nobody has heard of for too long are closed.
    pub(super) fn expire_sessions(&mut self) {
        if !self.is_leading() {
            return;
        }
        let silent_ms = self.elapsed_ms.saturating_sub(self.last_expiry_ms);
        self.last_expiry_ms = self.elapsed_ms;
        if silent_ms > 2 * self.shared.config.tick_ms {
            // This process stood still, and what its clients said meanwhile is yet to be read.
            warn!(
                silent_ms,
                "sessions get their full timeouts again after a stall of this server"
            );
            self.tracker.restart(self.elapsed_ms);
        }
        // Clients that are held up are not read: that is no silence of theirs.
        let held = self.inbox.is_crowded().then_some(self.elapsed_ms);
        for (session, conn) in lock(&self.shared.sessions).iter() {
            if let Some(heard_ms) = held.or(conn.take_heard()) {
                self.tracker.touch(*session, heard_ms);
            }
        }
        self.close_expired();
    }

    /// Whether there are sessions to close that were found to be over, and the pace allows it.
    pub(super) fn has_expired(&self) -> bool {
        self.is_leading() && self.tracker.may_expire(self.last_expiry_ms)
    }

    /// Proposes the end of sessions that were over at the last look, as many as the tracker's pace allows now.
    pub(super) fn close_expired(&mut self) {
        if self.is_disk_full() {
            return; // they end when their end can be logged
        }
        for session in self.tracker.expire(self.last_expiry_ms) {
            info!(%session, "session expired");
            self.propose_close(session);
        }
    }

    /// Empty containers and expired nodes are deleted, a turn's share of them.
    pub(super) fn delete_containers(&mut self) {
        if !self.is_leading() || self.is_disk_full() {
            return;
        }
        let date_ms = i64::try_from(self.clock_ms).unwrap_or(i64::MAX);
        let due = {
            let shared = Arc::clone(&self.shared);
            let tree = shared.tree();
            self.sweep.turn(&tree, self.elapsed_ms, date_ms)
        };
        for path in due {
            let Some(zxid) = self.next_zxid() else { return };
            let header = self.header(SessionId(0), 0, zxid);
            let txn = {
                let shared = Arc::clone(&self.shared);
                let tree = shared.tree();
                self.prep.delete_container(&tree, header, &path)
            };
            self.propose(header, txn);
        }
    }

    /// Requests of a client of this server, in order.
    pub(super) fn on_submitted(&mut self, conn: &Arc<Conn>, requests: Vec<Submit>) {
        let mode = self.shared.mode();
        for submit in requests {
            match mode {
                Mode::NotServing => conn.close(),
                Mode::Leader | Mode::Standalone => self.lead_own(conn, submit),
                Mode::Follower | Mode::Observer => self.forward_own(conn, submit),
            }
        }
    }

    fn submitted(&self, conn: &Arc<Conn>, xid: i32, token: u64, code: i32) -> Submitted {
        Submitted {
            xid,
            token,
            conn: Arc::clone(conn),
            opcode: code,
            since_ms: self.clock_ms,
        }
    }

    /// A client of this server waits for the next proposal; false, and it waits no more, if there will be none.
    fn await_proposal(&mut self, session: SessionId, submitted: Submitted) -> bool {
        let Some(zxid) = self.next_zxid() else {
            submitted.conn.close();
            return false;
        };
        self.answers.proposed(session, zxid, submitted);
        true
    }

    /// A request goes to the leader, under the number by which its transaction will be known.
    fn forward(&mut self, mut request: ForwardedRequest, ids: Option<&[Id]>, submitted: Submitted) {
        let conn = Arc::clone(&submitted.conn);
        request.cxid = self.answers.forwarded(request.session, submitted);
        if !self.links.forward(&request, ids) {
            conn.close();
        }
    }

    fn lead_own(&mut self, conn: &Arc<Conn>, submit: Submit) {
        match self.tracker.standing(conn.session()) {
            Standing::Lives => {}
            Standing::Ends => return,
            Standing::Unknown => return conn.close(),
        }
        if submit.opcode == opcode::SYNC {
            let due = self.peer.last_logged();
            if due <= self.peer.delivered() {
                self.deliver();
                let shared = Arc::clone(&self.shared);
                let tree = shared.tree();
                let mut hub = lock(&shared.hub);
                self.answer_sync(
                    Arc::clone(conn),
                    submit.xid,
                    submit.token,
                    &submit.record,
                    &tree,
                    &mut hub,
                );
            } else if self.is_disk_full() {
                let own = self.submitted(conn, submit.xid, submit.token, submit.opcode);
                self.refuse_for_room(&own);
            } else {
                self.syncs
                    .push_back((due, SyncFor::Client(Arc::clone(conn), submit)));
            }
            return;
        }
        let own = self.submitted(conn, submit.xid, submit.token, submit.opcode);
        if self.is_disk_full() {
            self.refuse_for_room(&own);
            return;
        }
        if !self.await_proposal(conn.session(), own) {
            return;
        }
        let request = submit
            .request
            .or_else(|| Request::decode(submit.opcode, &submit.record).ok());
        let me = self.env.me;
        self.lead(
            conn.session(),
            submit.xid,
            request,
            submit.opcode,
            &submit.ids,
            me,
        );
    }

    fn forward_own(&mut self, conn: &Arc<Conn>, submit: Submit) {
        let request = ForwardedRequest {
            session: conn.session(),
            cxid: submit.xid,
            opcode: submit.opcode,
            record: submit.record.clone(),
        };
        if submit.opcode != opcode::SYNC {
            let own = self.submitted(conn, submit.xid, submit.token, submit.opcode);
            self.forward(request, Some(&submit.ids), own);
        } else if self.links.forward(&request, Some(&submit.ids)) {
            // Its answer names nothing: the leader answers the syncs of a connection to it in order, and drops none.
            self.syncs
                .push_back((Zxid::ZERO, SyncFor::Client(Arc::clone(conn), submit)));
        } else {
            conn.close();
        }
    }

    /// A new session for a client of this server.
    pub(super) fn create_session(&mut self, conn: Arc<Conn>, session: SessionId) {
        let timeout_ms = conn.timeout_ms();
        let own = self.submitted(&conn, 0, 0, opcode::CREATE_SESSION);
        if self.is_leading() {
            if self.is_disk_full() {
                self.refuse_for_room(&own);
                return;
            }
            if !self.await_proposal(session, own) {
                return;
            }
            let request = Request::Write(WriteOp::CreateSession { timeout_ms });
            let me = self.env.me;
            self.lead(session, 0, Some(request), opcode::CREATE_SESSION, &[], me);
            return;
        }
        let request = ForwardedRequest {
            session,
            cxid: 0,
            opcode: opcode::CREATE_SESSION,
            record: Bytes::copy_from_slice(&timeout_ms.to_be_bytes()),
        };
        self.forward(request, None, own);
    }

    /// On the leader: may the session go on at `owner`? Then it is `owner`'s from now on.
    pub(super) fn revalidate(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        owner: ServerId,
    ) -> bool {
        let valid = self.tracker.timeout_ms(session).is_some();
        if valid {
            self.tracker.track(session, timeout_ms, self.elapsed_ms);
            self.tracker.set_owner(session, owner);
        }
        valid
    }

    /// What has come over a link.
    pub(super) fn on_heard(&mut self, link: Link, heard: Vec<Heard>) {
        for what in heard {
            let Some(from_leader) = self.links.heard(link, self.elapsed_ms) else {
                return; // it was told to go, this was still in flight
            };
            match what {
                Heard::Core(packet) => {
                    // Only a harness lets a learner be linked before it has said who it is.
                    if let Some(hello) = hello_of(&packet) {
                        self.links.name(link, hello.claim.sid);
                    }
                    self.step(Input::Received { link, packet });
                }
                Heard::Ping(zxid, table) => {
                    if self.peer.has_active_learner(link) {
                        for (session, _) in table {
                            self.tracker.touch(session, self.elapsed_ms);
                        }
                    }
                    let packet = Packet::Ping { zxid };
                    self.step(Input::Received { link, packet });
                }
                Heard::Snapshot(zxid, tree) => {
                    self.links.keep_tree(tree);
                    // The members are those of the configuration file, at the leader too.
                    let ensemble = Box::new(self.peer.ensemble().clone());
                    let packet = Packet::Snap { zxid, ensemble };
                    self.step(Input::Received { link, packet });
                }
                Heard::Request(request, ids) => {
                    self.on_forwarded(link, request, ids.as_deref().unwrap_or_default());
                }
                Heard::Revalidate(data) => self.on_revalidate(link, &data),
                Heard::Synced if from_leader => self.on_synced(),
                Heard::Synced => {} // a learner has nothing to say about syncs
            }
        }
    }

    fn on_forwarded(&mut self, link: Link, request: ForwardedRequest, ids: &[Id]) {
        if !self.is_leading() || !self.peer.has_active_learner(link) {
            return;
        }
        let sid = self.links.get(link).and_then(|l| l.sid);
        if request.opcode == opcode::SYNC {
            let due = self.peer.last_logged();
            let open = due > self.peer.delivered();
            self.links.wait_for_sync(link, open.then_some(due));
            return;
        }
        if self.is_disk_full() {
            // It needs no learner to lead, or would not lead. There is no answer but the end of the connection.
            self.links.remove(link);
            self.step(Input::Unlinked(link));
            return;
        }
        let decoded = Request::decode(request.opcode, &request.record).ok();
        let owner = owner_of(sid, link);
        let knows_super_user = self.shared.config.super_digest.is_some();
        let counts = |id: &Id| counts_of_learner(id, knows_super_user);
        let left;
        let ids = if ids.iter().all(counts) {
            ids
        } else {
            warn!(
                ?sid,
                "a learner reports a super user, and none is configured here: not believed"
            );
            left = ids
                .iter()
                .filter(|id| counts(id))
                .cloned()
                .collect::<Vec<_>>();
            &left
        };
        self.lead(
            request.session,
            request.cxid,
            decoded,
            request.opcode,
            ids,
            owner,
        );
    }

    fn on_revalidate(&mut self, link: Link, data: &Bytes) {
        if self.is_leading() {
            if !self.peer.has_active_learner(link) {
                return;
            }
            let Ok((session, timeout_ms)) = decode_revalidate(Some(data)) else {
                warn!("REVALIDATE without a session");
                return;
            };
            let sid = self.links.get(link).and_then(|l| l.sid);
            let valid = self.revalidate(session, timeout_ms, owner_of(sid, link));
            self.links.answer_revalidate(link, session, valid);
        } else if let Ok((session, valid)) = decode_revalidated(Some(data)) {
            let conn = self
                .revalidating
                .get_mut(&session)
                .and_then(|waiting| waiting.pop_front());
            if self
                .revalidating
                .get(&session)
                .is_some_and(std::collections::VecDeque::is_empty)
            {
                self.revalidating.remove(&session);
            }
            match conn {
                Some(conn) => self.connected(&conn, valid),
                None => debug!(%session, "nobody asked for this session"),
            }
        }
    }

    /// The leader has answered the oldest sync: everything before it is committed here, too.
    fn on_synced(&mut self) {
        if self.is_leading() {
            return; // a learner has nothing to say about syncs
        }
        self.deliver();
        if let Some((_, SyncFor::Client(conn, submit))) = self.syncs.pop_front() {
            let shared = Arc::clone(&self.shared);
            let tree = shared.tree();
            let mut hub = lock(&shared.hub);
            self.answer_sync(
                conn,
                submit.xid,
                submit.token,
                &submit.record,
                &tree,
                &mut hub,
            );
        }
    }
}
