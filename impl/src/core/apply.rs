//! Committed transactions become changes of the tree, watch events, and replies.

use super::audit;
use super::counts::Run;
use super::event::Now;
use super::service::{OwnSync, Service, Submitted};
use super::stages::Stamps;
use super::turn::Core;
use super::window::Window;
use crate::client::answer::{HubAccess, Outcome, answer, put_result};
use crate::client::conn::{Conn, ConnPhase, ConnState};
use crate::client::hub::{Hub, relieve};
use crate::client::lock::lock;
use crate::client::shared::Shared;
use crate::client::slow::SlowRequest;
use crate::client::tally::Tally;
use crate::mutants::{Mutant, has};
use crate::wire::client::{ReplyHeader, Request, opcode, reply};
use bytes::BytesMut;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zabra_model::ids::Zxid;
use zabra_model::service::answers::{Told, told};
use zabra_model::service::delivery::{Need, Share};
use zabra_model::service::mode::Mode;
use zabra_model::service::snapshots::Replay;
use zabra_model::tree::apply::TxnResult;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::event::EventKind;
use zabra_model::tree::node::Tree;
use zabra_model::tree::txn::{Txn, TxnHeader};

/// What answers are written with, while the tree is held.
struct Answering<'a> {
    shared: &'a Shared,
    hub: &'a mut Hub,
    dirty: &'a mut Vec<Arc<Conn>>,
    now: Now,
    mode: Mode,
    audit: &'a mut Vec<String>,
    /// How long transactions took from their leader's date to here, and from their clients' requests to the answers.
    applied: Run,
    answered: Run,
    stamps: &'a Stamps,
    /// A request that was slow: it is told when no lock is held.
    slow: Option<SlowRequest>,
}

impl Core {
    /// Applies what is committed, as much of it as this need asks for, with one lock for all of it.
    pub(super) fn deliver(&mut self, need: Need) {
        let Some(share) = self.replica.delivery.begin(need) else {
            return;
        };
        let shared = Arc::clone(&self.replica.shared);
        let mut tree = shared.tree_mut();
        let mut hub = lock(&shared.hub);
        let mut to = Answering {
            shared: &shared,
            hub: &mut hub,
            dirty: &mut self.out.woken,
            now: self.now,
            mode: self.service.mode,
            audit: &mut self.out.audit,
            applied: Run::default(),
            answered: Run::default(),
            stamps: &self.protocol.measures.stamps,
            slow: None,
        };
        let (replica, service) = (&mut self.replica, &mut self.service);
        let (last, delivered) = apply(&mut replica.window, service, &mut to, &mut tree, share);
        to.count(delivered.txns);
        let applied = replica.delivery.end(share, delivered.txns, last);
        while let Some(sync) = service.awaited.syncs.next_after(applied) {
            to.sync(sync, &tree);
        }
        relieve(to.hub.conns.values(), &shared.unread);
        let slow = to.slow.take();
        drop(hub);
        drop(tree);
        say(slow);
        self.protocol.measures.stamps.applied(applied);
        self.replica.applied(applied);
        let durable = self.protocol.peer.durable().history.last();
        self.replica.window.trim(durable);
        self.disk.snapshots.count(delivered);
    }

    /// Answers a request that no transaction will answer, in its turn.
    pub(super) fn answer_refused(&mut self, done: &Submitted, code: ErrorCode) {
        self.with_tree(|to, tree| {
            audit::tell(done, &TxnResult::Error(code.code()), to.audit);
            let header = ReplyHeader {
                err: code.code(),
                ..ReplyHeader::ok(done.xid, tree.last_zxid())
            };
            to.finish(done, tree, false, |out| reply::put_empty(header, out));
        });
    }

    /// Answers a sync of a client of this server.
    pub(super) fn answer_sync(&mut self, sync: OwnSync) {
        self.with_tree(|to, tree| to.sync(sync, tree));
    }

    /// Writes answers from the tree as clients may see it now.
    fn with_tree(&mut self, write: impl FnOnce(&mut Answering<'_>, &Tree)) {
        self.deliver(Need::Answer);
        let shared = Arc::clone(&self.replica.shared);
        let tree = shared.tree();
        let mut hub = lock(&shared.hub);
        let mut to = Answering {
            shared: &shared,
            hub: &mut hub,
            dirty: &mut self.out.woken,
            now: self.now,
            mode: self.service.mode,
            audit: &mut self.out.audit,
            applied: Run::default(),
            answered: Run::default(),
            stamps: &self.protocol.measures.stamps,
            slow: None,
        };
        write(&mut to, &tree);
        let slow = to.slow.take();
        drop(hub);
        drop(tree);
        say(slow);
    }
}

fn say(slow: Option<SlowRequest>) {
    if let Some(slow) = slow {
        slow.say();
    }
}

/// Applies a share of what is committed; the last transaction of it, and how much it was.
fn apply(
    window: &mut Window,
    service: &mut Service,
    to: &mut Answering<'_>,
    tree: &mut Tree,
    share: Share,
) -> (Zxid, Replay) {
    let (mut last, mut delivered) = (share.upto, Replay::default());
    while delivered.txns < share.most
        && let Some(payload) = window.next(share.upto)
    {
        let (header, txn) = (&payload.header, &payload.txn);
        last = header.zxid;
        while let Some(sync) = service.awaited.syncs.next_before(last) {
            to.sync(sync, tree);
        }
        delivered.add(payload.bytes.len());
        let is_over = matches!(txn, Txn::CloseSession { .. });
        let told_as = to.shared.config.audit.as_ref().filter(|_| is_over);
        let nothing = Txn::Error { code: 0 };
        let is_skipped = has(Mutant::ApplySkipsOne) && last.0 % 100 == 50;
        let txn = if is_skipped { &nothing } else { txn };
        let result = {
            let (hub, dirty) = (&mut *to.hub, &mut *to.dirty);
            let counts = (&to.shared.unread, &to.shared.stats);
            let lines = &mut *to.audit;
            tree.apply(header, txn, &mut |trigger| {
                if let (Some(server), EventKind::NodeDeleted) = (told_as, trigger.kind) {
                    lines.push(audit::ephemeral(header.session, &server.user, trigger.path));
                }
                hub.fire(&trigger, header.zxid, counts, dirty);
            })
        };
        let took_ms = since(header, to.now.date_ms);
        if let Some(run) = to.applied.add(took_ms) {
            to.count_applied(run);
        }
        service.applied(header, txn, to.now.elapsed_ms);
        let answers = &mut service.awaited.answers;
        let own = answers.take(header, |lost| lost.conn.close());
        if let Some(done) = &own {
            to.tell_if_slow(done, header, txn);
            to.reply(done, header, &result, tree);
        }
        if is_over {
            to.session_is_over(header, own.as_ref());
        }
    }
    (last, delivered)
}

/// A read that has waited behind a write of its session, if it was slow.
fn slow_read(
    shared: &Shared,
    conn: &Conn,
    request: &Request,
    (xid, took_ms): (i32, u64),
) -> Option<SlowRequest> {
    let slow = SlowRequest::of(shared, conn, (request.opcode(), xid), took_ms)?;
    Some(match request {
        Request::Read(op) => slow.about(op.path()),
        _ => slow,
    })
}

/// What a transaction is about: of a multi, its first change.
fn path_of(txn: &Txn) -> Option<&str> {
    let first = match txn {
        Txn::Multi(parts) => parts.first()?,
        one => one,
    };
    first.path().map(|path| &**path)
}

/// How long ago a leader has dated a transaction, ms; the clocks of two machines differ.
pub(super) fn since(header: &TxnHeader, date_ms: u64) -> u64 {
    date_ms.saturating_sub(u64::try_from(header.time).unwrap_or(0))
}

/// Whether a transaction says that its session is none, or none that may ask for it.
fn is_expired(result: &TxnResult<'_>) -> bool {
    *result == TxnResult::Error(ErrorCode::SessionExpired.code())
}

impl Answering<'_> {
    /// Counts what one share has applied.
    fn count(&mut self, txns: u64) {
        let stats = &self.shared.stats;
        stats.commits.fetch_add(txns, Ordering::Relaxed);
        if matches!(self.mode, Mode::Follower | Mode::Observer) {
            stats.learner_commits.fetch_add(txns, Ordering::Relaxed);
        }
        if let Some(run) = self.answered.take() {
            stats.updates.add_some(run.ms, run.times);
        }
        if let Some(run) = self.applied.take() {
            self.count_applied(run);
        }
    }

    fn count_applied(&self, run: Run) {
        let stats = &self.shared.stats;
        stats.propagation.add_some(run.ms, run.times);
        match self.mode {
            Mode::Leader => stats.quorum_ack.add_some(run.ms, run.times),
            Mode::Follower | Mode::Observer => {
                stats.commit_propagation.add_some(run.ms, run.times);
            }
            Mode::Standalone | Mode::NotServing | Mode::ReadOnly => {}
        }
    }

    /// A write that took long is told with where its time went.
    fn tell_if_slow(&mut self, done: &Submitted, header: &TxnHeader, txn: &Txn) {
        let now_ms = self.now.elapsed_ms;
        let took_ms = now_ms.saturating_sub(done.since_ms);
        let asked = (done.opcode, done.xid);
        if let Some(slow) = SlowRequest::of(self.shared, &done.conn, asked, took_ms) {
            let since = (done.since_ms, done.taken_ms);
            let told = SlowRequest {
                zxid: Some(header.zxid),
                stages: self.stamps.stages(header.zxid, since, now_ms),
                ..slow.about(path_of(txn))
            };
            self.slow = Some(told);
        }
    }

    fn reply(&mut self, done: &Submitted, header: &TxnHeader, result: &TxnResult<'_>, tree: &Tree) {
        let now_ms = self.now.elapsed_ms;
        let took_ms = now_ms.saturating_sub(done.since_ms);
        if let Some(run) = self.answered.add(took_ms) {
            self.shared.stats.updates.add_some(run.ms, run.times);
        }
        audit::tell(done, result, self.audit);
        match told(done.opcode, result) {
            Told::Connected(valid) => {
                let asked = (done.opcode, done.xid);
                let mut state = done.conn.state();
                let answered = &mut state.answered;
                answered.add(asked, header.zxid, now_ms, (took_ms, 1));
                drop(state);
                super::clients::connected(self.shared, &done.conn, valid, self.dirty);
            }
            Told::Moved => done.conn.close(),
            Told::Result { ends } => {
                let ok = ReplyHeader::ok(done.xid, header.zxid);
                let instead = done.refused_as.filter(|_| is_expired(result));
                self.finish(done, tree, ends, |out| match instead {
                    Some(code) => reply::put_empty(
                        ReplyHeader {
                            err: code.code(),
                            ..ok
                        },
                        out,
                    ),
                    None => put_result(ok, result, out),
                });
            }
        }
    }

    /// A session has expired, or was closed over another connection than the one that it has here.
    fn session_is_over(&mut self, header: &TxnHeader, own: Option<&Submitted>) {
        let asker = own.map(|own| &own.conn);
        let Some(conn) = lock(&self.shared.sessions).closed(header.session, asker) else {
            return;
        };
        let mut state = conn.state();
        if state.phase != ConnPhase::Closed {
            state.phase = ConnPhase::Closing;
            state.mark_dirty(&conn, self.dirty);
        }
    }

    fn sync(&mut self, OwnSync { conn, submit }: OwnSync, tree: &Tree) {
        let done = Submitted {
            xid: submit.xid,
            token: submit.token,
            conn,
            opcode: opcode::SYNC,
            refused_as: None,
            since_ms: submit.read_ms,
            taken_ms: submit.read_ms,
            asked: None,
        };
        let header = ReplyHeader::ok(submit.xid, tree.last_zxid());
        let path = crate::wire::cursor::Reader::new(&submit.record).ustring("path");
        let took_ms = self.now.elapsed_ms.saturating_sub(done.since_ms);
        let asked = (done.opcode, done.xid);
        if let Some(slow) = SlowRequest::of(self.shared, &done.conn, asked, took_ms) {
            let path = path.as_ref().ok().and_then(Option::as_deref);
            self.slow = Some(slow.about(path));
        }
        self.finish(&done, tree, false, |out| match &path {
            Ok(path) => reply::put_path(header, path.as_deref(), out),
            Err(_) => {
                let err = ErrorCode::MarshallingError.code();
                reply::put_empty(ReplyHeader { err, ..header }, out);
            }
        });
    }

    /// Writes a reply, and answers the reads that have waited behind it.
    fn finish(
        &mut self,
        done: &Submitted,
        tree: &Tree,
        close: bool,
        write: impl FnOnce(&mut BytesMut),
    ) {
        let (shared, conn) = (self.shared, &done.conn);
        let mut guard = conn.state();
        if guard.phase != ConnPhase::Open {
            return;
        }
        let (zxid, now_ms) = (tree.last_zxid(), self.now.elapsed_ms);
        let reads = &shared.stats.stripe(conn.id).reads;
        let mut tally = Tally::default();
        let mut count = |state: &mut ConnState, asked: (i32, i32), before: usize, since_ms: u64| {
            let took_ms = now_ms.saturating_sub(since_ms);
            tally.add(asked.0, asked.1, state.out.len() - before);
            state.answered.add(asked, zxid, now_ms, (took_ms, 1));
            took_ms
        };
        let before = guard.out.len();
        write(&mut guard.out);
        let took_ms = count(&mut guard, (done.opcode, done.xid), before, done.since_ms);
        if done.opcode == opcode::SYNC {
            reads.add(took_ms);
        }
        let mut outcome = Outcome::Go;
        let found = guard.order.pop_write(&done.token);
        debug_assert!(found, "replies come in the order of requests");
        while outcome == Outcome::Go
            && !close
            && !guard.is_overfull()
            && let Some(waiting) = guard.order.pop_read()
        {
            let (xid, request) = (waiting.xid, waiting.request);
            let state = &mut *guard;
            let before = state.out.len();
            let (out, ids) = (&mut state.out, &state.ids);
            outcome = answer(
                tree,
                &mut HubAccess::Held(self.hub),
                conn,
                ids,
                xid,
                &request,
                out,
            );
            let asked = (request.opcode(), xid);
            let took_ms = count(state, asked, before, waiting.read_ms);
            reads.add(took_ms);
            self.slow = slow_read(shared, conn, &request, (xid, took_ms)).or(self.slow.take());
            if outcome == Outcome::EndLocal {
                shared.end_local(conn.session());
            }
            if state.settle_unread(&shared.unread) {
                // All clients together leave too much unread: whoever has most of it goes, which may be this one.
                drop(guard);
                relieve(self.hub.conns.values(), &shared.unread);
                guard = conn.state();
                if guard.phase != ConnPhase::Open {
                    return;
                }
            }
        }
        let state = &mut *guard;
        if close || outcome != Outcome::Go {
            state.phase = ConnPhase::Closing;
        } else if state.is_overfull() {
            state.phase = ConnPhase::Closed; // it has left unread what there is, so it gets no more
        }
        if state.settle(&shared.unread, &shared.waiting, &shared.outstanding) {
            shared.line.wake(&shared.outstanding);
        }
        tally.count(shared, conn);
        state.mark_dirty(conn, self.dirty);
    }
}
