//! Requests on their way to a transaction: prepared here while this server leads, forwarded while it follows.

use super::service::{AuditedRequest, OwnSync, Submitted};
use super::turn::Core;
use crate::client::conn::Conn;
use crate::client::submit::Submit;
use crate::codes::Code;
use crate::mutants::{Mutant, has};
use crate::wire::client::{Request, opcode};
use crate::wire::link::{Heard, hello_of};
use crate::wire::payload::Logged;
use crate::wire::quorum::{ForwardedRequest, decode_revalidate, decode_revalidated};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{debug, info, warn};
use zabra_model::ids::{ServerId, SessionId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::service::admission::{counts_of_learner, refusal};
use zabra_model::service::delivery::Need;
use zabra_model::service::handover::{LEAVES, Leaving};
use zabra_model::service::mode::{Mode, Way, counts_at_leader, counts_at_learner};
use zabra_model::service::reconfig;
use zabra_model::service::room::Verdict;
use zabra_model::service::syncs::needs_proposal;
use zabra_model::service::tracker::{Asks, Standing, lost};
use zabra_model::step::{Input, Link};
use zabra_model::tree::acl::Id;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::op::WriteOp;
use zabra_model::tree::prep;
use zabra_model::tree::txn::{Txn, TxnHeader};

pub(super) const fn refused(code: ErrorCode) -> Txn {
    Txn::Error { code: code.code() }
}

/// Whose a session is that a learner asks for: the learner's, or, where a harness lets it speak before it has said who it is, its
/// link's.
const fn owner_of(sid: Option<ServerId>, link: Link) -> ServerId {
    match sid {
        Some(sid) => sid,
        None => ServerId(u64::MAX - link.0),
    }
}

/// A request on its way to a transaction.
struct Asked<'a> {
    session: SessionId,
    cxid: i32,
    opcode: i32,
    /// `None` if its record cannot be understood.
    request: Option<Request>,
    /// The client's identities.
    ids: &'a [Id],
    /// The server that the client is connected to.
    owner: ServerId,
}

impl Core {
    pub(super) fn header(&self, session: SessionId, cxid: i32, zxid: Zxid) -> TxnHeader {
        TxnHeader {
            session,
            cxid,
            zxid,
            time: i64::try_from(self.now.date_ms).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn propose(&mut self, header: TxnHeader, txn: Txn) {
        let closes = matches!(txn, Txn::CloseSession { .. });
        let mut logged = Logged::encode(header, txn, &mut self.scratch);
        if logged.bytes.len() > self.replica.shared.config.entry_bytes_max {
            // No other member would take it. Without the list of paths, a session's end is small and means the same.
            let smaller = if closes {
                Txn::CloseSession { paths: None }
            } else {
                refused(ErrorCode::MarshallingError)
            };
            logged = Logged::encode(header, smaller, &mut self.scratch);
        }
        self.protocol.measures.proposed.add(logged.bytes.len());
        self.step(Input::Propose(Arc::new(logged)));
    }

    /// A transaction of a harness, without a session, so that no other one is needed.
    pub(super) fn propose_of_harness(&mut self, txn: Txn) {
        if let Some(zxid) = self.next_proposal() {
            let header = self.header(SessionId(0), 0, zxid);
            self.propose(header, txn);
        }
    }

    /// A request of a client: judged, and proposed, refusals included.
    fn lead(&mut self, asked: Asked<'_>) {
        if let Some(zxid) = self.next_proposal() {
            self.lead_at(zxid, asked);
        }
    }

    /// The same, where it is known that the next proposal gets `zxid`.
    fn lead_at(&mut self, zxid: Zxid, asked: Asked<'_>) {
        let (session, owner) = (asked.session, asked.owner);
        let header = self.header(session, asked.cxid, zxid);
        let asks = match &asked.request {
            Some(Request::Write(WriteOp::CreateSession { timeout_ms })) => Asks::Begin {
                timeout_ms: *timeout_ms,
            },
            Some(Request::Write(WriteOp::CloseSession)) => Asks::End,
            _ => Asks::Other,
        };
        let elapsed_ms = self.now.elapsed_ms;
        let said = self.said(session, asks, owner);
        let txn = match asked.request {
            Some(Request::Write(op)) => {
                let request = prep::Request {
                    header,
                    ids: asked.ids,
                    session: said.session,
                    ephemerals: said.ephemerals,
                };
                let txn = self.replica.prepare(&request, op);
                if let Some((over, untold)) = self.replica.take_exceeded(elapsed_ms) {
                    warn!(code = %Code::QuotaExceeded, %session, untold, "{over}");
                }
                if let Some((near, untold)) = self.replica.take_near_end(elapsed_ms) {
                    warn!(code = %Code::NumbersNearEnd, %session, untold, "{near}");
                }
                txn
            }
            Some(Request::Reconfig {
                joining,
                leaving,
                new_members,
                config_id,
            }) => {
                let wanted = reconfig::Asked {
                    joining: joining.as_deref(),
                    leaving: leaving.as_deref(),
                    new_members: new_members.as_deref(),
                    from_version: config_id,
                };
                let request = prep::Request {
                    header,
                    ids: asked.ids,
                    session: said.session,
                    ephemerals: said.ephemerals,
                };
                self.reconfigured(&request, &wanted)
            }
            other => refused(refusal(asked.opcode, other.is_some())),
        };
        self.propose(header, txn);
    }

    fn propose_close(&mut self, session: SessionId) {
        self.lead(Asked {
            session,
            cxid: 0,
            opcode: opcode::CLOSE_SESSION,
            request: Some(Request::Write(WriteOp::CloseSession)),
            ids: &[],
            owner: self.service.me,
        });
    }

    /// A quorum has formed behind this server.
    pub(super) fn start_leading(&mut self) {
        self.replica.forget_prepared();
        let shared = Arc::clone(&self.replica.shared);
        let tree = shared.tree();
        self.service
            .start_leading(tree.sessions(), self.now.elapsed_ms);
    }

    /// A new leader ends the sessions of which only their ephemeral nodes are left.
    pub(super) fn close_lost_sessions(&mut self) {
        if !self.service.leads() {
            return;
        }
        let lost: Vec<_> = {
            let tree = self.replica.shared.tree();
            lost(tree.owners(), |s| tree.session_timeout(s).is_some()).collect()
        };
        for session in lost {
            debug!(%session, "its session is gone, its ephemeral nodes go too");
            self.service.tracker.track_lost(session);
        }
        self.close_due();
    }

    /// Looks for sessions that nobody has heard of for too long, and closes them.
    pub(super) fn look_at_sessions(&mut self) {
        if !self.service.leads() {
            return;
        }
        if let Some(silent_ms) = self.service.tracker.look(self.now.elapsed_ms) {
            warn!(
                code = %Code::Stalled,
                silent_ms,
                "sessions get their full timeouts again after a stall of this server"
            );
        }
        self.hear_own_sessions();
        self.close_due();
    }

    /// Proposes the end of sessions that were over at the last look, as many as the tracker's pace allows now.
    pub(super) fn close_due(&mut self) {
        for session in self.service.tracker.take_due(self.service.room) {
            let expired = &self.replica.shared.stats.sessions_expired;
            expired.fetch_add(1, Ordering::Relaxed);
            info!(%session, "session expired");
            self.propose_close(session);
        }
    }

    /// Empty containers and expired nodes are deleted, a turn's share of them.
    pub(super) fn delete_containers(&mut self) {
        if !self.service.leads() || !self.service.room.may_log() {
            return;
        }
        let date_ms = i64::try_from(self.now.date_ms).unwrap_or(i64::MAX);
        let elapsed_ms = self.now.elapsed_ms;
        let sweep = &mut self.service.sweep;
        for path in self.replica.swept(sweep, elapsed_ms, date_ms) {
            let Some(zxid) = self.next_proposal() else {
                return;
            };
            let header = self.header(SessionId(0), 0, zxid);
            let txn = self.replica.delete_container(header, &path);
            self.propose(header, txn);
        }
    }

    /// Requests of a client of this server, in order.
    pub(super) fn on_submitted(&mut self, conn: &Arc<Conn>, requests: Vec<Submit>) {
        if self.service.stay.holds() {
            self.hold(conn, requests);
            return;
        }
        if self.service.leaving.is_some() {
            return; // its connection ends soon
        }
        if let Some(first) = requests.first()
            && self.service.leads()
        {
            self.count_prepared(first.read_ms);
        }
        for submit in requests {
            match self.service.mode.way() {
                Way::Close | Way::Alone => conn.close(),
                _ if submit.opcode == opcode::CREATE_SESSION => self.make_global(conn),
                Way::Judge => self.lead_own(conn, submit),
                Way::Forward => self.forward_own(conn, submit),
            }
        }
    }

    pub(super) fn submitted(&self, conn: &Arc<Conn>, submit: &Submit) -> Submitted {
        Submitted {
            xid: submit.xid,
            token: submit.token,
            conn: Arc::clone(conn),
            opcode: submit.opcode,
            refused_as: submit.refused_as,
            since_ms: submit.read_ms,
            taken_ms: self.now.elapsed_ms,
            asked: self.replica.shared.config.audit.as_ref().map(|_| {
                Box::new(AuditedRequest {
                    // In memory of its own, as it waits until the request is answered.
                    record: Bytes::copy_from_slice(&submit.record),
                    ids: Arc::clone(&submit.ids),
                })
            }),
        }
    }

    /// A client of this server waits for the next proposal, which gets this place; `None`, and it waits no more, if there will be none.
    fn await_proposal(&mut self, session: SessionId, submitted: Submitted) -> Option<Zxid> {
        let Some(zxid) = self.next_proposal() else {
            submitted.conn.close();
            return None;
        };
        self.service
            .awaited
            .answers
            .proposed(session, zxid, submitted);
        Some(zxid)
    }

    /// A request goes to the leader, under the number by which its transaction will be known.
    fn forward(&mut self, mut request: ForwardedRequest, ids: Option<&[Id]>, submitted: Submitted) {
        let conn = Arc::clone(&submitted.conn);
        request.cxid = self
            .service
            .awaited
            .answers
            .forwarded(request.session, submitted);
        if !self.quorum.forward(&request, ids, &mut self.out) {
            conn.close();
        }
    }

    fn lead_own(&mut self, conn: &Arc<Conn>, submit: Submit) {
        let session = conn.session();
        match self.service.tracker.standing(session) {
            Standing::Lives => {}
            Standing::Unknown if self.service.local.has(session) => {}
            Standing::Ends => return,
            Standing::Unknown => return conn.close(),
        }
        if submit.opcode == opcode::SYNC {
            self.sync_own(conn, submit);
            return;
        }
        let own = self.submitted(conn, &submit);
        if !self.is_admitted(&own) {
            return;
        }
        let Some(zxid) = self.await_proposal(session, own) else {
            return;
        };
        let decoded = submit.request;
        let request = decoded.or_else(|| Request::decode(submit.opcode, &submit.record).ok());
        let asked = Asked {
            session,
            cxid: submit.xid,
            opcode: submit.opcode,
            request,
            ids: &submit.ids,
            owner: self.service.me,
        };
        self.lead_at(zxid, asked);
    }

    /// Where a sync waits for a quorum, this is what it waits for, unless something else was proposed in this turn. False: nothing can be
    /// proposed any more, and this server does not lead on.
    fn propose_for_sync(&mut self) -> bool {
        let waits = self.replica.shared.config.net.sync_waits;
        let logged = self.protocol.peer.last_logged();
        let leads_others = self.service.mode == Mode::Leader;
        if !leads_others || !needs_proposal(waits, logged, self.logged_before) {
            return true;
        }
        if let Some(zxid) = self.next_proposal() {
            let header = self.header(SessionId(0), 0, zxid);
            self.propose(header, Txn::Error { code: 0 });
        }
        self.service.mode == Mode::Leader
    }

    /// A sync of the leader's own client waits until all that is logged is applied.
    fn sync_own(&mut self, conn: &Arc<Conn>, mut submit: Submit) {
        if !self.propose_for_sync() {
            return conn.close();
        }
        let peer = &self.protocol.peer;
        let (last_logged, delivered) = (peer.last_logged(), peer.delivered());
        if last_logged > delivered {
            let own = self.submitted(conn, &submit);
            if !self.is_admitted(&own) {
                return;
            }
            submit.detach();
        }
        let conn = Arc::clone(conn);
        let syncs = &mut self.service.awaited.syncs;
        if let Some(sync) = syncs.lead(last_logged, delivered, OwnSync { conn, submit }) {
            self.answer_sync(sync);
        }
    }

    fn forward_own(&mut self, conn: &Arc<Conn>, mut submit: Submit) {
        let request = ForwardedRequest {
            session: conn.session(),
            cxid: submit.xid,
            opcode: submit.opcode,
            record: submit.record.clone(),
        };
        if submit.opcode != opcode::SYNC {
            let own = self.submitted(conn, &submit);
            self.forward(request, Some(&submit.ids), own);
        } else if self
            .quorum
            .forward(&request, Some(&submit.ids), &mut self.out)
        {
            let conn = Arc::clone(conn);
            submit.detach();
            let syncs = &mut self.service.awaited.syncs;
            syncs.forwarded(OwnSync { conn, submit });
        } else {
            conn.close();
        }
    }

    /// A new session for a client of this server.
    pub(super) fn create_session(&mut self, conn: Arc<Conn>, session: SessionId, way: Way) {
        let timeout_ms = conn.timeout_ms();
        let stripe = self.replica.shared.stats.stripe(conn.id);
        stripe.asked(opcode::CREATE_SESSION);
        let own = Submitted {
            xid: 0,
            token: 0,
            conn: Arc::clone(&conn),
            opcode: opcode::CREATE_SESSION,
            refused_as: None,
            since_ms: self.now.elapsed_ms,
            taken_ms: self.now.elapsed_ms,
            asked: None,
        };
        if way == Way::Judge {
            if !self.is_admitted(&own) {
                return;
            }
            let Some(zxid) = self.await_proposal(session, own) else {
                return;
            };
            let asked = Asked {
                session,
                cxid: 0,
                opcode: opcode::CREATE_SESSION,
                request: Some(Request::Write(WriteOp::CreateSession { timeout_ms })),
                ids: &[],
                owner: self.service.me,
            };
            return self.lead_at(zxid, asked);
        }
        let request = ForwardedRequest {
            session,
            cxid: 0,
            opcode: opcode::CREATE_SESSION,
            record: Bytes::copy_from_slice(&timeout_ms.to_be_bytes()),
        };
        self.forward(request, None, own);
    }

    /// What has come over a link.
    pub(super) fn on_heard(&mut self, link: Link, heard: Vec<Heard>) {
        self.count_heard(link, &heard);
        let heard = misheard(heard);
        for what in heard {
            let Some(from_leader) = self.quorum.heard(link, self.now.elapsed_ms) else {
                return; // it was told to go, this was still in flight
            };
            match what {
                Heard::Core(packet) => {
                    // Only a harness lets a learner be linked before it has said who it is.
                    if let Some(hello) = hello_of(&packet) {
                        self.quorum.name(link, hello.claim.sid);
                    }
                    self.step(Input::Received { link, packet });
                }
                Heard::Ping(LEAVES, table) => self.on_leaving(link, from_leader, &table),
                Heard::Ping(zxid, table) => {
                    if self.counts_at_leader(link) {
                        let tracker = &mut self.service.tracker;
                        for (session, _) in table {
                            tracker.touch(session, self.now.elapsed_ms);
                        }
                    }
                    let packet = Packet::Ping { zxid };
                    self.step(Input::Received { link, packet });
                }
                Heard::Snapshot(zxid, tree, lists) => self.on_snapshot(link, zxid, tree, lists),
                Heard::Request(request, ids) => {
                    self.on_forwarded(link, request, ids.as_deref().unwrap_or_default());
                }
                Heard::Revalidate(data) => self.on_revalidate(link, from_leader, &data),
                Heard::Synced => self.on_synced(from_leader),
                Heard::Activated(packet, designated) => self.on_activated(link, packet, designated),
            }
        }
    }

    fn on_forwarded(&mut self, link: Link, request: ForwardedRequest, ids: &[Id]) {
        let is_late = |leaving: &Leaving| !leaving.takes(link);
        if !self.counts_at_leader(link) || self.service.leaving.as_ref().is_some_and(is_late) {
            return;
        }
        if request.opcode == opcode::SYNC {
            if !self.propose_for_sync() {
                return;
            }
            let peer = &self.protocol.peer;
            let (last_logged, delivered) = (peer.last_logged(), peer.delivered());
            self.quorum
                .sync(link, last_logged, delivered, &mut self.out);
            return;
        }
        if self.service.room.admits_learners() != Verdict::Take {
            self.unlink(link);
            return;
        }
        let sid = self.quorum.sid(link);
        let knows_super_user = self.replica.shared.config.knows_super_user();
        let counts = |id: &Id| counts_of_learner(id, knows_super_user);
        let left: Vec<Id>;
        let ids = if ids.iter().all(counts) {
            ids
        } else {
            warn!(
                code = %Code::SuperNotBelieved,
                ?sid,
                "a learner reports a super user, and none is configured here: not believed"
            );
            left = ids.iter().filter(|id| counts(id)).cloned().collect();
            &left
        };
        self.lead(Asked {
            session: request.session,
            cxid: request.cxid,
            opcode: request.opcode,
            request: Request::decode(request.opcode, &request.record).ok(),
            ids,
            owner: owner_of(sid, link),
        });
    }

    /// Whether a learner has something to ask for its clients.
    pub(super) fn counts_at_leader(&self, link: Link) -> bool {
        let is_active = self.protocol.peer.has_active_learner(link);
        counts_at_leader(self.service.mode, is_active)
    }

    /// Whose the sessions are that a learner asks for.
    pub(super) fn learner_of(&self, link: Link) -> ServerId {
        owner_of(self.quorum.sid(link), link)
    }

    fn on_revalidate(&mut self, link: Link, from_leader: bool, data: &Bytes) {
        if self.counts_at_leader(link) {
            if !Leaving::lets_move(self.service.leaving.as_ref()) {
                return; // its client's connection ends with this reign
            }
            let Ok((session, timeout_ms)) = decode_revalidate(Some(data)) else {
                warn!(code = %Code::BadRevalidate, link = link.0, "REVALIDATE without a session");
                return;
            };
            let owner = owner_of(self.quorum.sid(link), link);
            let elapsed_ms = self.now.elapsed_ms;
            let asked = &self.replica.shared.stats.revalidations;
            asked.fetch_add(1, Ordering::Relaxed);
            let tracker = &mut self.service.tracker;
            let valid = tracker.revalidate(session, timeout_ms, owner, elapsed_ms);
            self.quorum
                .answer_revalidate(link, session, valid, &mut self.out);
        } else if counts_at_learner(self.service.mode, from_leader)
            && let Ok((session, valid)) = decode_revalidated(Some(data))
        {
            match self.service.awaited.revalidations.on_answer(session) {
                Some(conn) => self.connected(&conn, valid),
                None => debug!(%session, "nobody asked for this session"),
            }
        }
    }

    /// The leader has answered the oldest sync: everything before it is committed here, too.
    fn on_synced(&mut self, from_leader: bool) {
        if !counts_at_learner(self.service.mode, from_leader) {
            return;
        }
        self.deliver(Need::Answer);
        if let Some(sync) = self.service.awaited.syncs.on_answer() {
            self.answer_sync(sync);
        }
    }
}

/// What a link has brought, as a host with a fault takes it.
fn misheard(mut heard: Vec<Heard>) -> Vec<Heard> {
    if has(Mutant::HeardLastFirst) {
        heard.reverse();
    }
    if has(Mutant::HeardTwice)
        && let Some(Heard::Core(first)) = heard.first()
    {
        heard.insert(0, Heard::Core(first.clone()));
    }
    heard
}
