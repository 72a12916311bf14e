//! Committed transactions become changes of the tree, watch events, and replies.

use super::core::{Core, Submitted, SyncFor};
use super::shared::{Conn, Phase, Shared};
use super::trigger::Replay;
use crate::client::answer::{HubAccess, Outcome, answer, put_result};
use crate::host::lock;
use crate::wire::client::{ReplyHeader, opcode, reply};
use bytes::BytesMut;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zabra_model::ids::Zxid;
use zabra_model::tree::apply::TxnResult;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::node::Tree;
use zabra_model::tree::txn::{Txn, TxnHeader};

impl Core {
    /// Applies what is to be delivered, with one lock for all of it.
    pub(super) fn deliver(&mut self) {
        self.deliver_some(u64::MAX);
    }

    /// The same for no more than `most` of them; the others stay to be delivered.
    pub(super) fn deliver_some(&mut self, most: u64) {
        let upto = self.deliver_upto;
        if upto == Zxid::ZERO {
            return;
        }
        self.deliver_upto = Zxid::ZERO;
        let shared = Arc::clone(&self.shared);
        let mut tree = shared.tree_mut();
        let mut hub = lock(&shared.hub);
        let mut delivered = Replay::default();
        let mut applied = upto;
        while let Some(payload) = self.window.next(upto) {
            let (header, txn) = (&payload.header, &payload.txn);
            if !self.syncs.is_empty() {
                self.answer_syncs_before(header.zxid, &tree, &mut hub);
            }
            delivered.add(payload.bytes.len());
            let dirty = &mut self.dirty;
            let result = tree.apply(header, txn, &mut |trigger| {
                hub.fire(&trigger, header.zxid, &shared.unread, dirty)
            });
            match txn {
                Txn::CreateSession { timeout_ms }
                    if self.is_leading() && self.tracker.timeout_ms(header.session).is_none() =>
                {
                    let now = self.elapsed_ms;
                    self.tracker.track(header.session, *timeout_ms, now);
                }
                Txn::CloseSession { .. } => self.tracker.remove(header.session),
                _ => {}
            }
            let own = self.answers.take(header, |lost| lost.conn.close());
            if let Some(done) = &own {
                self.reply(done, header, txn, &result, &tree, &mut hub);
            }
            if matches!(txn, Txn::CloseSession { .. }) {
                // It expired, or was closed over another connection than the one that it has here.
                let conn = lock(&shared.sessions).remove(&header.session);
                let closes = |conn: &Arc<Conn>| own.as_ref().is_some_and(|o| o.conn.id == conn.id);
                if let Some(conn) = conn.filter(|conn| !closes(conn)) {
                    end_after_sending(&conn, &mut self.dirty);
                }
            }
            if delivered.txns == most && header.zxid < upto {
                applied = header.zxid;
                self.deliver_upto = upto;
                break;
            }
        }
        if !self.syncs.is_empty() && self.is_leading() {
            self.answer_syncs_before(Zxid(applied.0.saturating_add(1)), &tree, &mut hub);
        }
        hub.relieve(&shared.unread);
        drop(hub);
        drop(tree);
        self.prep.committed(applied);
        self.window.trim(self.peer.durable().history.last());
        self.count_delivered(delivered);
    }

    fn reply(
        &mut self,
        done: &Submitted,
        header: &TxnHeader,
        txn: &Txn,
        result: &TxnResult<'_>,
        tree: &Tree,
        hub: &mut super::shared::Hub,
    ) {
        let took_ms = self.clock_ms.saturating_sub(done.since_ms);
        self.shared.stats.latency(took_ms);
        if done.opcode == opcode::CREATE_SESSION {
            self.connected(&done.conn, matches!(txn, Txn::CreateSession { .. }));
            return;
        }
        if *result == TxnResult::Error(ErrorCode::SessionMoved.code()) {
            done.conn.close(); // ZooKeeper never says this to a client: it has another connection by now
            return;
        }
        let reply_header = ReplyHeader::ok(done.xid, header.zxid);
        let unimplemented = *result == TxnResult::Error(ErrorCode::Unimplemented.code());
        let close = done.opcode == opcode::CLOSE_SESSION;
        let shared = Arc::clone(&self.shared);
        finish(&shared, done, tree, hub, &mut self.dirty, close, |out| {
            if unimplemented {
                let header = ReplyHeader {
                    err: ErrorCode::Unimplemented.code(),
                    ..reply_header
                };
                reply::put_empty(header, out);
            } else {
                put_result(reply_header, result, out);
            }
        });
    }

    /// Answers a request that no transaction will answer, in its turn.
    pub(super) fn answer_refused(
        &mut self,
        done: &Submitted,
        code: ErrorCode,
        tree: &Tree,
        hub: &mut super::shared::Hub,
    ) {
        let header = ReplyHeader {
            err: code.code(),
            ..ReplyHeader::ok(done.xid, tree.last_zxid())
        };
        let shared = Arc::clone(&self.shared);
        finish(&shared, done, tree, hub, &mut self.dirty, false, |out| {
            reply::put_empty(header, out);
        });
    }

    /// Syncs that wait for transactions below `zxid` only.
    fn answer_syncs_before(&mut self, zxid: Zxid, tree: &Tree, hub: &mut super::shared::Hub) {
        if !self.is_leading() {
            return; // the leader says when
        }
        while let Some((_, SyncFor::Client(conn, submit))) =
            self.syncs.pop_front_if(|(due, _)| *due < zxid)
        {
            self.answer_sync(conn, submit.xid, submit.token, &submit.record, tree, hub);
        }
    }

    pub(super) fn answer_sync(
        &mut self,
        conn: Arc<Conn>,
        xid: i32,
        token: u64,
        record: &bytes::Bytes,
        tree: &Tree,
        hub: &mut super::shared::Hub,
    ) {
        let done = Submitted {
            xid,
            token,
            conn,
            opcode: opcode::SYNC,
            since_ms: self.clock_ms,
        };
        let shared = Arc::clone(&self.shared);
        let header = ReplyHeader::ok(xid, tree.last_zxid());
        let path = crate::wire::cursor::Reader::new(record).ustring("path");
        finish(
            &shared,
            &done,
            tree,
            hub,
            &mut self.dirty,
            false,
            |out| match &path {
                Ok(path) => reply::put_path(header, path.as_deref(), out),
                Err(_) => reply::put_empty(
                    ReplyHeader {
                        err: ErrorCode::MarshallingError.code(),
                        ..header
                    },
                    out,
                ),
            },
        );
    }
}

/// Writes a reply, and answers the reads that have waited behind it.
fn finish(
    shared: &Shared,
    done: &Submitted,
    tree: &Tree,
    hub: &mut super::shared::Hub,
    dirty: &mut Vec<Arc<Conn>>,
    close: bool,
    write: impl FnOnce(&mut BytesMut),
) {
    let conn = &done.conn;
    let mut guard = conn.state();
    if guard.phase != Phase::Open {
        return;
    }
    write(&mut guard.out);
    let mut sent = 1;
    let mut outcome = Outcome::Go;
    let found = guard.order.pop_write(&done.token);
    debug_assert!(found, "replies come in the order of requests");
    while outcome == Outcome::Go
        && !close
        && !guard.is_overfull()
        && let Some((xid, request)) = guard.order.pop_read()
    {
        let state = &mut *guard;
        let (out, ids) = (&mut state.out, &state.ids);
        outcome = answer(
            tree,
            &mut HubAccess::Held(hub),
            conn,
            ids,
            xid,
            &request,
            out,
        );
        sent += 1;
        if state.settle_unread(&shared.unread) {
            // All clients together leave too much unread: whoever has most of it goes, which may be this one.
            drop(guard);
            hub.relieve(&shared.unread);
            guard = conn.state();
            if guard.phase != Phase::Open {
                return;
            }
        }
    }
    let state = &mut *guard;
    if close || outcome == Outcome::Close {
        state.phase = Phase::Closing;
    } else if state.is_overfull() {
        state.phase = Phase::Closed; // it has left unread what there is, so it gets no more
    }
    state.settle(&shared.unread, &shared.waiting);
    conn.sent.fetch_add(sent, Ordering::Relaxed);
    shared.stats.sent.fetch_add(sent, Ordering::Relaxed);
    state.mark_dirty(conn, dirty);
}

fn end_after_sending(conn: &Arc<Conn>, dirty: &mut Vec<Arc<Conn>>) {
    let mut state = conn.state();
    if state.phase != Phase::Closed {
        state.phase = Phase::Closing;
        state.mark_dirty(conn, dirty);
    }
}
