//! Requests of one connection, from frames to answers: what this server answers alone is answered, what needs the leader is put
//! aside, and what would hold up others waits.

use super::answer::{
    Apart, HubAccess, Outcome, answer, answer_apart, set_some_watches, watches_of_a_turn, work,
};
use super::auth::{identity, super_user};
use super::conn::{Conn, ConnPhase, ConnState};
use super::ended::Ended;
use super::sasl::take_token;
use super::shared::{Mode, Shared};
use super::submit::Submit;
use crate::limits::ANSWERS_BYTES_MAX;
use crate::wire::client::{
    AddWatchMode, RawRequest, ReplyHeader, Request, SetWatches, opcode, reply,
};
use crate::wire::frame::split;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zabra_model::ids::Zxid;
use zabra_model::service::admission::{Admission, admission, authenticated};
use zabra_model::service::local::{Apart as Own, Needs, apart, needs, wants_ephemeral};
use zabra_model::service::work::{TURN_WORK_MAX, Turn, WATCHES_A_TURN, turn_of};
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::node::Tree;
use zabra_model::tree::op::{ReadOp, WriteOp};

/// What a request that waits holds beside its frame, about, bytes.
const WAITING_OVERHEAD: usize = 128;

/// The requests of a connection that have been read, and how far they are.
#[derive(Default)]
pub(super) struct Requests {
    last_token: u64,
    /// Requests that have been read and not been looked at.
    frames: Vec<Bytes>,
    /// How many writes the last batch held: room for as many is made for the next.
    writes_before: usize,
    /// What the reads visit that wait behind a write, see [`turn_of`].
    waiting_work: usize,
    /// Why the next request is not taken.
    pause: Option<Pause>,
    /// Whether the connection has a turn of [`super::long_reads::LongReads`].
    has_turn: bool,
    /// The long read that is answered next.
    apart: Option<Apart>,
    /// What is left of a long setWatches request.
    watches_left: Option<(i32, SetWatches)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pause {
    /// It is a read that has to wait until no write of this connection is under way.
    WriteUnderWay,
    /// It is a long read, and others are being answered.
    LongReads,
}

/// What came of a request.
enum Taken {
    /// It was answered or waits for its answer; so many nodes were visited.
    Done(usize),
    /// It stays where it is.
    NotYet(Pause),
}

/// What came of a batch.
pub(super) struct Batch {
    /// Requests for the leader, in order.
    pub(super) submits: Vec<Submit>,
    /// What they and the others held, bytes.
    pub(super) bytes: usize,
    /// Why the connection ends after this batch.
    pub(super) ended: Option<Ended>,
}

/// What a request may look at and change while it is taken. The tree stays locked until its answer is in the connection's buffer.
struct Scene<'a, 'h> {
    shared: &'a Shared,
    conn: &'a Conn,
    tree: &'a Tree,
    state: &'a mut ConnState,
    hub: &'a mut HubAccess<'h>,
    /// As what this server answers.
    mode: Mode,
    submits: &'a mut Vec<Submit>,
}

impl Scene<'_, '_> {
    fn answer(&mut self, xid: i32, request: &Request) -> Outcome {
        let state = &mut *self.state;
        answer(
            self.tree,
            self.hub,
            self.conn,
            &state.ids,
            xid,
            request,
            &mut state.out,
        )
    }
}

impl Requests {
    /// Whether something may be taken out of `buf`, or is left of what was.
    pub(super) fn has_some(&self, buf: &BytesMut) -> bool {
        buf.len() >= 4 || !self.frames.is_empty() || self.watches_left.is_some()
    }

    /// Whether a request has been begun that is done in turns.
    pub(super) const fn has_turns_left(&self) -> bool {
        self.watches_left.is_some()
    }

    /// The long read that is to be answered before anything else is sent.
    pub(super) fn take_apart(&mut self) -> Option<Apart> {
        self.apart.take()
    }

    /// Gives the turn of a long read back, if the connection has one.
    pub(super) fn give_back(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.has_turn) {
            shared.long_reads.give_back();
        }
    }

    /// Whether the next request still has to wait, with so many requests of this connection unanswered.
    pub(super) fn is_paused(
        &mut self,
        shared: &Shared,
        conn: &Arc<Conn>,
        unanswered: usize,
    ) -> bool {
        if unanswered == 0 {
            self.waiting_work = 0;
        }
        match self.pause {
            Some(Pause::WriteUnderWay) if unanswered > 0 => return true,
            Some(Pause::LongReads) => {
                self.has_turn = self.has_turn || shared.long_reads.take(conn);
                if !self.has_turn {
                    return true;
                }
            }
            Some(Pause::WriteUnderWay) | None => {}
        }
        self.pause = None;
        false
    }

    /// Takes complete requests, all of them unless their answers are long or visit much. `None` if there was none.
    ///
    /// # Errors
    /// [`Ended::FrameLength`]
    pub(super) fn take(
        &mut self,
        buf: &mut BytesMut,
        shared: &Shared,
        conn: &Conn,
        now_ms: u64,
    ) -> Result<Option<Batch>, Ended> {
        let mut frames = std::mem::take(&mut self.frames);
        // A bad length stays at the front of `buf`, so it is found again when the frames before it are done.
        let mut is_bad = false;
        if frames.is_empty() && self.watches_left.is_none() {
            is_bad = split(buf, shared.config.frame_bytes_max, &mut frames).is_err();
            let count = frames.len() as u64;
            conn.received.fetch_add(count, Ordering::Relaxed);
            shared.stats.received.fetch_add(count, Ordering::Relaxed);
            if frames.is_empty() {
                self.frames = frames;
                return if is_bad {
                    Err(Ended::FrameLength)
                } else {
                    Ok(None)
                };
            }
        }
        conn.hear(now_ms);
        let mut batch = Batch {
            submits: Vec::with_capacity(self.writes_before),
            bytes: 0,
            ended: None,
        };
        let done = self.take_frames(&frames, shared, conn, &mut batch);
        frames.drain(..done);
        if is_bad && frames.is_empty() {
            batch.ended = batch.ended.or(Some(Ended::FrameLength));
        }
        self.frames = frames;
        self.writes_before = batch.submits.len();
        if self.apart.is_none() {
            self.give_back(shared); // the answer was written at once after all
        }
        Ok(Some(batch))
    }

    /// Takes requests until the connection's turn is over; how many.
    fn take_frames(
        &mut self,
        frames: &[Bytes],
        shared: &Shared,
        conn: &Conn,
        batch: &mut Batch,
    ) -> usize {
        let mode = shared.mode();
        let tree = shared.tree();
        let mut guard = conn.state();
        let mut hub = HubAccess::Free(&shared.hub);
        let mut scene = Scene {
            shared,
            conn,
            tree: &tree,
            state: &mut guard,
            hub: &mut hub,
            mode,
            submits: &mut batch.submits,
        };
        let mut visited = self.set_watches_left(&mut scene);
        let mut done = 0;
        for frame in frames {
            // Long answers go out before more are made: they take memory, and the core waits for the tree meanwhile.
            if scene.state.phase != ConnPhase::Open
                || scene.state.out.len() > ANSWERS_BYTES_MAX
                || visited > TURN_WORK_MAX
                || self.apart.is_some()
                || self.watches_left.is_some()
                || !scene.state.may_take(&shared.waiting)
            {
                break;
            }
            match self.take_one(frame, &mut scene) {
                Ok(Taken::Done(work)) => visited += work,
                Ok(Taken::NotYet(pause)) => {
                    self.pause = Some(pause);
                    break;
                }
                Err(ended) => batch.ended = Some(ended),
            }
            done += 1;
            batch.bytes += frame.len();
            if batch.ended.is_some() {
                break;
            }
        }
        guard.settle(&shared.unread, &shared.waiting);
        done
    }

    fn take_one(&mut self, frame: &Bytes, scene: &mut Scene<'_, '_>) -> Result<Taken, Ended> {
        let raw = RawRequest::split(frame).map_err(|_| Ended::NoHeader)?;
        let (xid, code) = (raw.header.xid, raw.header.opcode);
        let schemes = &scene.shared.config.access.schemes;
        if let Err(error) = authenticated(code, schemes, &scene.state.ids) {
            turn_away(xid, error, scene.state);
            return Ok(Taken::Done(1));
        }
        // All but who has a local session, or no leader, is told by its operation alone.
        if scene.state.local || scene.mode == Mode::ReadOnly {
            match apart(code, scene.mode, scene.state.local) {
                Some(Own::NotReadOnly) => {
                    refuse_write(xid, scene);
                    return Ok(Taken::Done(1));
                }
                Some(Own::EndsHere) => {
                    let end = Request::Write(WriteOp::CloseSession);
                    return Ok(self.answer_alone(xid, end, frame.len(), scene));
                }
                None => {}
            }
        }
        let request = match admission(code) {
            Admission::Leader => {
                self.submit(raw, frame.len(), scene);
                return Ok(Taken::Done(1));
            }
            Admission::Identity if code == opcode::SASL => {
                take_token(&raw, scene.shared, scene.conn, scene.state);
                return Ok(Taken::Done(1));
            }
            Admission::Identity => {
                authenticate(&raw, scene);
                return Ok(Taken::Done(1));
            }
            Admission::Refused => Request::Unknown {
                opcode: code,
                record: Bytes::new(),
            },
            Admission::Alone => match raw.decode() {
                Ok(request) => request,
                // A body that ends early, or a null where there must be something: refused in its turn, the connection stays.
                Err(_) => {
                    refuse_in_turn(xid, scene);
                    return Ok(Taken::Done(1));
                }
            },
        };
        Ok(self.answer_alone(xid, request, frame.len(), scene))
    }

    /// Puts a request aside that needs the leader. Its answer comes in its turn.
    fn submit(&mut self, raw: RawRequest, length: usize, scene: &mut Scene<'_, '_>) {
        let (xid, code) = (raw.header.xid, raw.header.opcode);
        let refused_as = if scene.state.local {
            needs_met(&raw, scene)
        } else {
            None
        };
        self.last_token += 1;
        let bytes = length + WAITING_OVERHEAD;
        scene.state.order.push_write(self.last_token, bytes);
        // Where this server leads, writes are decoded here.
        let request = if scene.mode.leads() && code != opcode::SYNC {
            raw.decode().ok()
        } else {
            None
        };
        scene.submits.push(Submit {
            xid,
            token: self.last_token,
            opcode: code,
            record: raw.record,
            request,
            refused_as,
            ids: Arc::clone(&scene.state.ids),
        });
    }

    /// Answers a request that needs no leader: now, apart from the tree, in turns, or behind the write before it.
    fn answer_alone(
        &mut self,
        xid: i32,
        request: Request,
        length: usize,
        scene: &mut Scene<'_, '_>,
    ) -> Taken {
        let bytes = length + held_beside(&request) + WAITING_OVERHEAD;
        let work = work(scene.tree, scene.conn, &request);
        let waiting = (!scene.state.order.is_empty()).then_some(self.waiting_work);
        let request = match (turn_of(work, waiting), request) {
            (Turn::Later, _) => return Taken::NotYet(Pause::WriteUnderWay),
            (Turn::Apart, Request::Read(op)) => {
                if !self.has_turn {
                    return Taken::NotYet(Pause::LongReads);
                }
                let state = &mut *scene.state;
                let (ids, out) = (&state.ids, &mut state.out);
                self.apart = answer_apart(scene.tree, scene.hub, scene.conn, ids, xid, &op, out);
                return Taken::Done(work);
            }
            (Turn::Now | Turn::Apart, Request::SetWatches(set)) if work > WATCHES_A_TURN => {
                self.watches_left = Some((xid, set));
                return Taken::Done(work);
            }
            (Turn::Now | Turn::Apart | Turn::BehindWrite, request) => request,
        };
        match scene.state.order.push_read((xid, request), bytes) {
            Some((xid, request)) => {
                let outcome = scene.answer(xid, &request);
                count_answer(scene.shared, scene.conn);
                if outcome == Outcome::EndLocal {
                    scene.shared.end_local(scene.conn.session());
                }
                if outcome != Outcome::Go {
                    scene.state.phase = ConnPhase::Closing;
                }
            }
            None => self.waiting_work += work,
        }
        Taken::Done(work)
    }

    /// Goes on with a long setWatches request, for one turn; how many paths that were.
    fn set_watches_left(&mut self, scene: &mut Scene<'_, '_>) -> usize {
        let Some((xid, mut set)) = self
            .watches_left
            .take()
            .filter(|_| scene.state.phase == ConnPhase::Open)
        else {
            return 0;
        };
        let some = watches_of_a_turn(&mut set);
        let rest = Request::SetWatches(set);
        if work(scene.tree, scene.conn, &rest) == 0 {
            // The last ones, and the reply.
            scene.answer(xid, &Request::SetWatches(some));
            count_answer(scene.shared, scene.conn);
            return 1;
        }
        let state = &mut *scene.state;
        let (ids, out) = (&state.ids, &mut state.out);
        set_some_watches(scene.tree, scene.hub, scene.conn, ids, &some, out);
        if let Request::SetWatches(set) = rest {
            self.watches_left = Some((xid, set));
        }
        TURN_WORK_MAX + 1
    }
}

/// An answer goes to a client.
pub(super) fn count_answer(shared: &Shared, conn: &Conn) {
    conn.sent.fetch_add(1, Ordering::Relaxed);
    shared.stats.sent.fetch_add(1, Ordering::Relaxed);
}

fn refuse_in_turn(xid: i32, scene: &mut Scene<'_, '_>) {
    // An addWatch of an unknown mode is answered with just this error.
    let request = Request::AddWatch {
        path: "/".into(),
        mode: AddWatchMode::Unknown(-1),
    };
    let order = &mut scene.state.order;
    if let Some((xid, request)) = order.push_read((xid, request), WAITING_OVERHEAD) {
        scene.answer(xid, &request);
    }
}

/// There is no leader. Without one, no request waits for its answer.
fn refuse_write(xid: i32, scene: &mut Scene<'_, '_>) {
    let header = ReplyHeader {
        err: ErrorCode::NotReadOnly.code(),
        ..ReplyHeader::ok(xid, scene.tree.last_zxid())
    };
    reply::put_empty(header, &mut scene.state.out);
    count_answer(scene.shared, scene.conn);
}

/// Puts aside, before a write of a local session that needs a global one, the request that makes it one; or says as what that write will be
/// refused.
fn needs_met(raw: &RawRequest, scene: &mut Scene<'_, '_>) -> Option<ErrorCode> {
    if !matches!(
        raw.header.opcode,
        opcode::CREATE | opcode::CREATE2 | opcode::MULTI
    ) {
        return None;
    }
    let ephemeral = matches!(raw.decode(), Ok(Request::Write(op)) if wants_ephemeral(&op));
    match needs(ephemeral, scene.shared.config.local_sessions) {
        Needs::Nothing => None,
        Needs::Refusal => Some(ErrorCode::EphemeralOnLocalSession),
        Needs::GlobalSession => {
            scene.state.local = false;
            let ids = Arc::clone(&scene.state.ids);
            scene.submits.push(Submit::make_global(ids));
            None
        }
    }
}

/// Identities count for the requests behind this one; the answer does not wait for those before it.
fn authenticate(raw: &RawRequest, scene: &mut Scene<'_, '_>) {
    let config = &scene.shared.config;
    let address = scene.conn.from.ip().to_string();
    let Ok(Request::Auth { scheme, data, .. }) = raw.decode() else {
        // It says nothing that could fail: the connection ends without a word, as in ZooKeeper.
        scene.state.phase = ConnPhase::Closing;
        return;
    };
    let scheme = scheme.as_deref().unwrap_or("");
    let id = identity(scheme, data.as_deref(), &address, config.digest);
    let state = &mut *scene.state;
    let is_taken = id.is_some_and(|id| {
        let also = super_user(&id, config.super_digest.as_ref());
        state.take_identities(id, also)
    });
    if !is_taken {
        return turn_away(raw.header.xid, ErrorCode::AuthFailed, state);
    }
    let header = ReplyHeader::ok(raw.header.xid, Zxid::ZERO);
    reply::put_empty(header, &mut state.out);
}

/// Tells the client why its connection is over.
fn turn_away(xid: i32, error: ErrorCode, state: &mut ConnState) {
    let mut header = ReplyHeader::ok(xid, Zxid::ZERO);
    header.err = error.code();
    reply::put_empty(header, &mut state.out);
    state.phase = ConnPhase::Closing;
}

/// What a request that was decoded holds beside its bytes: each path is a piece of memory of its own.
fn held_beside(request: &Request) -> usize {
    const PIECE: usize = 40;
    let pieces = match request {
        Request::SetWatches(set) => {
            let persistent = set
                .persistent
                .as_ref()
                .map_or(0, |lists| lists.exact.len() + lists.recursive.len());
            set.data.len() + set.exist.len() + set.child.len() + persistent
        }
        Request::Read(ReadOp::MultiRead(ops)) => 2 * ops.len(),
        _ => 0,
    };
    pieces * PIECE
}
