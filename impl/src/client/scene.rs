//! What a request may look at and change while it is taken.

use super::answer::{HubAccess, Outcome, answer, answer_in_place};
use super::conn::{Conn, ConnPhase, ConnState, Waiting};
use super::look::Look;
use super::outstanding::WAITING_OVERHEAD;
use super::remark::Remark;
use super::shared::{Mode, Shared};
use super::submit::Submit;
use super::tally::Tally;
use crate::limits::ANSWERS_BYTES_MAX;
use crate::wire::client::{
    RawRequest, ReadInPlace, ReplyHeader, Request, RequestHeader, opcode, reply,
};
use bytes::BytesMut;
use std::sync::Arc;
use zabra_model::service::local::{Needs, needs, wants_ephemeral};
use zabra_model::service::work::TURN_WORK_MAX;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::node::Tree;

/// What a request may look at and change while it is taken. The tree stays locked until its answer is in the connection's buffer.
pub(super) struct Scene<'a, 'h> {
    pub(super) shared: &'a Shared,
    pub(super) conn: &'a Conn,
    pub(super) tree: &'a Tree,
    pub(super) state: &'a mut ConnState,
    pub(super) hub: &'a mut HubAccess<'h>,
    /// As what this server answers.
    pub(super) mode: Mode,
    /// Answers that are not counted yet.
    pub(super) tally: Tally,
    /// What goes by the leader, in order.
    pub(super) submits: Vec<Submit>,
    /// What the log is to say.
    pub(super) remarks: Vec<Remark>,
    pub(super) now_ms: u64,
    /// When the requests were read.
    pub(super) read_ms: u64,
}

impl Scene<'_, '_> {
    /// Whether the next request may be looked at in this turn, after so many nodes were visited.
    pub(super) fn goes_on(&self, visited: usize) -> bool {
        let Shared {
            waiting,
            outstanding,
            ..
        } = self.shared;
        // Long answers go out before more are made: they take memory, and the core waits for the tree meanwhile.
        self.state.phase == ConnPhase::Open
            && self.state.out.len() <= ANSWERS_BYTES_MAX
            && visited <= TURN_WORK_MAX
            && self.state.may_take(waiting, outstanding)
    }

    /// Answers a request that needs no leader and waits for nothing.
    pub(super) fn answer(&mut self, xid: i32, request: &Request) -> Outcome {
        let (conn, before) = (self.conn, self.state.out.len());
        let (ids, out) = (&self.state.ids, &mut self.state.out);
        let outcome = answer(self.tree, self.hub, conn, ids, xid, request, out);
        let bytes = self.state.out.len() - before;
        self.tally.add(request.opcode(), xid, bytes);
        outcome
    }

    /// The same, of a read that is not decoded; false if it has to be.
    pub(super) fn answer_in_place(&mut self, header: RequestHeader, record: &[u8]) -> bool {
        let RequestHeader { xid, opcode } = header;
        let Some(read) = ReadInPlace::of(opcode, record) else {
            return false;
        };
        let before = self.state.out.len();
        let (ids, out) = (&self.state.ids, &mut self.state.out);
        let is_answered = answer_in_place(self.tree, self.conn, ids, xid, read, out);
        if is_answered {
            self.tally.add(opcode, xid, self.state.out.len() - before);
        }
        is_answered
    }

    /// Keeps a request until the write before it is answered; it comes back if there is none.
    pub(super) fn wait(&mut self, xid: i32, request: Request, bytes: usize) -> Option<Request> {
        let read_ms = self.read_ms;
        let waiting = Waiting {
            xid,
            read_ms,
            request,
        };
        let back = self.state.order.push_read(waiting, bytes);
        back.map(|waiting| waiting.request)
    }

    /// Answers with an error, behind what is before it.
    pub(super) fn refuse_in_turn(&mut self, xid: i32, code: ErrorCode) {
        let request = Request::Refused(code);
        if let Some(request) = self.wait(xid, request, WAITING_OVERHEAD) {
            self.answer(xid, &request);
        }
    }

    /// There is no leader. Without one, no request waits for its answer.
    pub(super) fn refuse_write(&mut self, xid: i32) {
        let header = ReplyHeader {
            err: ErrorCode::NotReadOnly.code(),
            ..ReplyHeader::ok(xid, self.tree.last_zxid())
        };
        reply::put_empty(header, &mut self.state.out);
        self.tally.add_refusal();
    }

    /// Puts aside, before a write of a local session that needs a global one, the request that makes it one; or says as what that write
    /// will be refused.
    pub(super) fn needs_met(&mut self, raw: &RawRequest) -> Option<ErrorCode> {
        if !matches!(
            raw.header.opcode,
            opcode::CREATE | opcode::CREATE2 | opcode::MULTI
        ) {
            return None;
        }
        let ephemeral = matches!(raw.decode(), Ok(Request::Write(op)) if wants_ephemeral(&op));
        match needs(ephemeral, self.shared.config.local_sessions) {
            Needs::Nothing => None,
            Needs::Refusal => Some(ErrorCode::EphemeralOnLocalSession),
            Needs::GlobalSession => {
                self.state.local = false;
                let ids = Arc::clone(&self.state.ids);
                let make_global = Submit::make_global(ids, self.read_ms);
                self.submits.push(make_global);
                None
            }
        }
    }

    /// Counts what was answered and what the connection holds now; `left` was not taken. How the connection is then, and what is to be
    /// sent of it in `output`, which was empty.
    pub(super) fn settle<'f>(
        &mut self,
        left: impl Iterator<Item = &'f [u8]>,
        output: &mut BytesMut,
    ) -> Look {
        let (shared, conn, state) = (self.shared, self.conn, &mut *self.state);
        let took_ms = self.now_ms.saturating_sub(self.read_ms);
        let took = (self.tree.last_zxid(), self.now_ms, took_ms);
        let slow = self.tally.count_reads(shared, conn, state, took);
        self.remarks.extend(slow.map(Remark::Slow));
        let large = &shared.outstanding.rules().large;
        if large.threshold.is_some() {
            let lengths = left.map(<[u8]>::len);
            state.large_ahead = lengths.filter(|bytes| large.is_large(*bytes)).sum();
        }
        state.settle_waiting(&shared.waiting, &shared.outstanding);
        Look::at(state, output, shared, conn)
    }
}
