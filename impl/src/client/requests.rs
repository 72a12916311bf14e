//! Requests of one connection, from frames to answers: what this server answers alone is answered, what needs the leader is put
//! aside, and what would hold up others waits.

use super::answer::{
    Apart, HubAccess, Outcome, answer_apart, held_beside, set_some_watches, watches_of_a_turn, work,
};
use super::conn::{Conn, ConnPhase};
use super::ended::Ended;
use super::identify::{authenticate, turn_away};
use super::line::Place;
use super::look::Look;
use super::outstanding::WAITING_OVERHEAD;
use super::remark::Remark;
use super::sasl::take_token;
use super::scene::Scene;
use super::shared::{Mode, Shared};
use super::submit::Submit;
use super::tally::{Asked, Tally, count_received};
use crate::limits::FRAME_BYTES_DEFAULT;
use crate::wire::client::{RawRequest, Request, RequestHeader, SetWatches, opcode};
use crate::wire::frame::Frames;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zabra_model::service::admission::{Admission, admission, authenticated};
use zabra_model::service::local::{Apart as Own, apart};
use zabra_model::service::throttle::{InLine, Pass};
use zabra_model::service::work::{TURN_WORK_MAX, Turn, WATCHES_A_TURN, turn_of};
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::op::WriteOp;

/// The requests of a connection that have been read, and how far they are.
#[derive(Default)]
pub(super) struct Requests {
    last_token: u64,
    /// Requests that have been read and not been looked at.
    frames: Frames,
    /// The memory that they share with those that were read with them, bytes.
    frames_bytes: usize,
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
    /// What that request held when it was begun, bytes.
    watches_bytes: usize,
    /// When `frames` were read, ms.
    pub(super) read_ms: u64,
    /// One of them has waited in line, and those behind it with it.
    has_waited: bool,
    /// The place of this connection in line, if it has one.
    ticket: Option<u64>,
    /// The next request's turn in line has come.
    has_turn_in_line: bool,
    /// Its place in line is looked at again soon.
    looks_soon: bool,
    /// Behind them is a large request that is not taken.
    is_refused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pause {
    /// It is a read that has to wait until no write of this connection is under way.
    WriteUnderWay,
    /// It is a long read, and others are being answered.
    LongReads,
    /// As many requests as there may be are outstanding, of all connections.
    InLine,
    /// It is longer than the default of `jute.maxbuffer`, and too much waits, of all connections.
    Crowded,
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
    /// How the connection is behind it.
    pub(super) now: Look,
    /// What the log is to say.
    remarks: Vec<Remark>,
}

impl Requests {
    /// Whether something may be taken out of `buf`, or is left of what was.
    pub(super) fn has_some(&self, buf: &BytesMut) -> bool {
        buf.len() >= 4 || !self.frames.is_empty() || self.watches_left.is_some()
    }

    /// Whether the next request waits for nothing that is known.
    pub(super) fn takes_at_once(&self, buf: &BytesMut) -> bool {
        self.pause.is_none() && self.has_some(buf)
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
        now_ms: u64,
    ) -> bool {
        match self.pause {
            Some(Pause::WriteUnderWay) if unanswered > 0 => return true,
            Some(Pause::Crowded) if shared.waiting.is_over() => return true,
            Some(Pause::LongReads) => {
                self.has_turn = self.has_turn || shared.long_reads.take(conn);
                if !self.has_turn {
                    return true;
                }
            }
            Some(Pause::InLine) => {
                if !self.has_turn_in_line {
                    let line = &shared.line;
                    let place = line.take_turn(&mut self.ticket, conn, &shared.outstanding);
                    self.has_turn_in_line = place == Place::Turn;
                    self.looks_soon = place == Place::Front;
                }
                let next = self.frames.iter().next().map_or(0, RawRequest::opcode_of);
                let rules = &shared.outstanding.rules().requests;
                let request = self.in_line(next, conn, now_ms);
                // What is stale is looked at, and the connection ends.
                self.looks_soon |= rules.stale_by_latency;
                if !(self.has_turn_in_line || rules.drop_stale && rules.is_stale(request)) {
                    return true;
                }
            }
            Some(Pause::WriteUnderWay | Pause::Crowded) | None => {}
        }
        self.pause = None;
        false
    }

    /// Whether the next request waits in line.
    pub(super) fn is_in_line(&self) -> bool {
        self.pause == Some(Pause::InLine)
    }

    /// Whether its place is looked at again before it is woken.
    pub(super) const fn looks_soon(&self) -> bool {
        self.looks_soon
    }

    /// Whether the next request waits until less waits of all connections, of which nobody tells it.
    pub(super) fn is_crowded_out(&self) -> bool {
        self.pause == Some(Pause::Crowded)
    }

    /// What requests hold that have been read and are not done, bytes, but for those that wait for their answers.
    pub(super) const fn holds(&self) -> usize {
        self.frames_bytes + self.watches_bytes
    }

    fn in_line(&self, opcode: i32, conn: &Conn, now_ms: u64) -> InLine {
        let since_ms = if self.has_waited {
            self.read_ms
        } else {
            now_ms
        };
        InLine {
            opcode,
            waited_ms: now_ms.saturating_sub(since_ms),
            session_timeout_ms: u64::try_from(conn.timeout_ms()).unwrap_or(0),
            has_room: self.has_turn_in_line,
        }
    }

    /// What becomes of a request where only so many may be outstanding.
    fn pass(&mut self, code: i32, scene: &Scene<'_, '_>) -> Pass {
        let Shared {
            outstanding,
            line,
            stats,
            ..
        } = scene.shared;
        let mut request = self.in_line(code, scene.conn, scene.now_ms);
        request.has_room |= line.has_room(outstanding);
        let rules = &outstanding.rules().requests;
        let pass = rules.pass(request);
        match pass {
            Pass::Wait => {
                self.has_waited = true;
                stats.throttle_waits.fetch_add(1, Ordering::Relaxed);
                return pass;
            }
            Pass::Stale => stats.stale_requests_dropped.fetch_add(1, Ordering::Relaxed),
            Pass::Throttled => stats.throttled_ops.fetch_add(1, Ordering::Relaxed),
            Pass::Take => {
                if self.has_waited {
                    stats.throttle_times.add(request.waited_ms);
                }
                0
            }
        };
        if pass != Pass::Stale && rules.is_stale(request) {
            stats.stale_requests.fetch_add(1, Ordering::Relaxed);
        }
        self.has_turn_in_line = false;
        pass
    }

    /// Takes note of the large requests among `frames` and at the front of `buf`. The first that is not taken goes, with all behind it.
    fn admit_large(&mut self, frames: &mut Frames, buf: &BytesMut, shared: &Shared, conn: &Conn) {
        let rules = shared.outstanding.rules().large;
        let mut state = conn.state();
        state.large_ahead = 0;
        state.settle_requests(&shared.outstanding);
        let mut held = shared.outstanding.large();
        let refused = frames.iter().position(|frame| {
            let is_taken = rules.admits(frame.len(), held);
            if is_taken && rules.is_large(frame.len()) {
                held += frame.len();
                state.large_ahead += frame.len();
            }
            !is_taken
        });
        // Of the next one, its length may be there.
        let next = buf.first_chunk::<4>().map(|four| i32::from_be_bytes(*four));
        let next = next.and_then(|length| usize::try_from(length).ok());
        self.is_refused = refused.is_some() || next.is_some_and(|next| !rules.admits(next, held));
        frames.truncate(refused.unwrap_or(frames.len()));
        state.settle_requests(&shared.outstanding);
        if self.is_refused {
            let count = &shared.stats.large_requests_rejected;
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The connection is over: what waits in line is dropped.
    pub(super) fn drop_line(&self, shared: &Shared) {
        if self.is_in_line() && shared.outstanding.rules().requests.drops_with_connection() {
            let count = &shared.stats.stale_requests_dropped;
            count.fetch_add(self.frames.len() as u64, Ordering::Relaxed);
        }
        if let Some(ticket) = self.ticket {
            shared.line.leave(ticket);
        }
    }

    /// Takes complete requests, all of them unless their answers are long or visit much. `None` if there was none. Then, what is to be
    /// sent of the connection is in `output`, which was empty.
    ///
    /// # Errors
    /// [`Ended::FrameLength`], [`Ended::LargeRequest`]
    pub(super) fn take(
        &mut self,
        buf: &mut BytesMut,
        output: &mut BytesMut,
        shared: &Shared,
        conn: &Conn,
        now_ms: u64,
    ) -> Result<Option<Batch>, Ended> {
        let mut frames = std::mem::take(&mut self.frames);
        // A bad length stays at the front of `buf`, so it is found again when the frames before it are done.
        let mut is_bad = false;
        if frames.is_empty() && self.watches_left.is_none() {
            let before = buf.len();
            let (taken, found) = Frames::take(buf, shared.config.frame_bytes_max);
            (frames, is_bad) = (taken, found.is_err());
            count_received(shared, conn, frames.len() as u64, before - buf.len());
            if shared.outstanding.rules().large.threshold.is_some() {
                self.admit_large(&mut frames, buf, shared, conn);
            }
            if frames.is_empty() {
                self.frames = frames;
                return match (is_bad, self.is_refused) {
                    (true, _) => Err(Ended::FrameLength),
                    (false, true) => Err(Ended::LargeRequest),
                    (false, false) => Ok(None),
                };
            }
            (self.read_ms, self.has_waited) = (now_ms, false);
            self.frames_bytes = frames.bytes();
        }
        conn.hear(now_ms);
        let (done, mut batch) = self.take_frames(&frames, output, shared, conn, now_ms);
        for remark in batch.remarks.drain(..) {
            remark.say(conn.from);
        }
        frames.skip(done);
        if frames.is_empty() {
            self.frames_bytes = 0;
        }
        if frames.is_empty() && (is_bad || self.is_refused) {
            let why = if self.is_refused {
                Ended::LargeRequest
            } else {
                Ended::FrameLength
            };
            batch.ended = batch.ended.or(Some(why));
        }
        self.frames = frames;
        self.writes_before = batch.submits.len();
        if self.apart.is_none() {
            self.give_back(shared); // the answer was written at once after all
        }
        Ok(Some(batch))
    }

    /// Takes requests until the connection's turn is over; how many, and what came of them.
    fn take_frames(
        &mut self,
        frames: &Frames,
        output: &mut BytesMut,
        shared: &Shared,
        conn: &Conn,
        now_ms: u64,
    ) -> (usize, Batch) {
        let mode = shared.mode();
        let tree = shared.tree();
        let mut guard = conn.state();
        let mut hub = HubAccess::Free(&shared.hub);
        guard.was_sent();
        if guard.order.is_empty() {
            self.waiting_work = 0;
        }
        let mut scene = Scene {
            shared,
            conn,
            tree: &tree,
            state: &mut guard,
            hub: &mut hub,
            mode,
            tally: Tally::default(),
            submits: Vec::with_capacity(self.writes_before),
            remarks: Vec::new(),
            now_ms,
            read_ms: self.read_ms,
        };
        let mut visited = self.set_watches_left(&mut scene);
        let mut asked = Asked::of(shared.stats.stripe(conn.id));
        let (mut done, mut bytes, mut ended) = (0, 0, None);
        for frame in frames.iter() {
            if self.apart.is_some() || self.watches_left.is_some() || !scene.goes_on(visited) {
                break;
            }
            match self.take_one(frame, frames, &mut scene) {
                Ok(Taken::Done(work)) => visited += work,
                Ok(Taken::NotYet(pause)) => {
                    self.pause = Some(pause);
                    break;
                }
                Err(why) => ended = Some(why),
            }
            done += 1;
            asked.add(RawRequest::opcode_of(frame));
            bytes += frame.len();
            if ended.is_some() {
                break;
            }
            if shared.outstanding.has_line() {
                scene.state.settle_requests(&shared.outstanding);
            }
        }
        asked.count();
        let now = scene.settle(frames.iter().skip(done), output);
        let (submits, remarks) = (scene.submits, scene.remarks);
        drop(guard);
        let bytes_max = shared.watch_bytes_max;
        let is_over = matches!(&hub, HubAccess::Locked(hub) if hub.watches.bytes() > bytes_max);
        drop(hub);
        if is_over {
            shared.relieve_watches();
        }
        if shared.outstanding.has_line() {
            // Who has not used its place leaves it to the next.
            shared.line.wake(&shared.outstanding);
        }
        (
            done,
            Batch {
                submits,
                bytes,
                ended,
                now,
                remarks,
            },
        )
    }

    fn take_one(
        &mut self,
        frame: &[u8],
        of: &Frames,
        scene: &mut Scene<'_, '_>,
    ) -> Result<Taken, Ended> {
        // While it came it had a part in the bound of what arrives; it keeps that until there is room among what waits.
        if frame.len() > FRAME_BYTES_DEFAULT && scene.shared.waiting.is_over() {
            return Ok(Taken::NotYet(Pause::Crowded));
        }
        let (header, record) = RequestHeader::split(frame).map_err(|_| Ended::NoHeader)?;
        let (xid, code) = (header.xid, header.opcode);
        let raw = || RawRequest {
            header,
            record: of.share(record),
        };
        let schemes = &scene.shared.config.access.schemes;
        if let Err(error) = authenticated(code, schemes, &scene.state.ids) {
            turn_away(xid, error, scene.state);
            return Ok(Taken::Done(1));
        }
        // Who somebody is counts at once, as in ZooKeeper.
        if scene.shared.outstanding.has_line() && admission(code) != Admission::Identity {
            match self.pass(code, scene) {
                Pass::Take => {}
                Pass::Wait => return Ok(Taken::NotYet(Pause::InLine)),
                Pass::Stale => return Err(Ended::Stale),
                Pass::Throttled => {
                    scene.refuse_in_turn(xid, ErrorCode::ThrottledOp);
                    return Ok(Taken::Done(1));
                }
            }
        }
        // All but who has a local session, or no leader, is told by its operation alone.
        if scene.state.local || scene.mode == Mode::ReadOnly {
            match apart(code, scene.mode, scene.state.local) {
                Some(Own::NotReadOnly) => {
                    scene.refuse_write(xid);
                    return Ok(Taken::Done(1));
                }
                Some(Own::EndsHere) => {
                    let end = Request::Write(WriteOp::CloseSession);
                    return Ok(self.answer_alone(xid, end, frame.len(), scene));
                }
                None => {}
            }
        }
        Ok(match admission(code) {
            Admission::Alone => self.take_alone(header, record, of, scene),
            Admission::Leader => {
                self.submit(raw(), frame.len(), scene);
                Taken::Done(1)
            }
            Admission::Identity => {
                let by = if code == opcode::SASL {
                    take_token
                } else {
                    authenticate
                };
                let remark = by(&raw(), scene.shared, scene.conn, scene.state);
                scene.remarks.extend(remark);
                Taken::Done(1)
            }
            Admission::Refused => {
                let request = Request::Unknown {
                    opcode: code,
                    record: Bytes::new(),
                };
                self.answer_alone(xid, request, frame.len(), scene)
            }
        })
    }

    /// Takes a request that this server answers alone.
    fn take_alone(
        &mut self,
        header: RequestHeader,
        record: &[u8],
        of: &Frames,
        scene: &mut Scene<'_, '_>,
    ) -> Taken {
        // Most are reads of one node that wait for nothing: answered from where they lie.
        if scene.state.order.is_empty() && scene.answer_in_place(header, record) {
            return Taken::Done(1);
        }
        let length = RequestHeader::BYTES + record.len();
        match Request::decode_part(header.opcode, record, of.memory()) {
            Ok(request) => self.answer_alone(header.xid, request, length, scene),
            // A body that ends early, or a null where there must be something: refused in its turn, the connection stays.
            Err(_) => {
                scene.refuse_in_turn(header.xid, ErrorCode::MarshallingError);
                Taken::Done(1)
            }
        }
    }

    /// Puts a request aside that needs the leader. Its answer comes in its turn.
    fn submit(&mut self, raw: RawRequest, length: usize, scene: &mut Scene<'_, '_>) {
        let (xid, code) = (raw.header.xid, raw.header.opcode);
        let refused_as = if scene.state.local {
            scene.needs_met(&raw)
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
            read_ms: scene.read_ms,
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
        let identities = scene.state.ids.len();
        let work = work(scene.tree, scene.conn, identities, &request);
        let waiting = (!scene.state.order.is_empty()).then_some(self.waiting_work);
        // A request is large: it is moved only where it waits.
        let request = match (turn_of(work, waiting), &request) {
            (Turn::Later, _) => return Taken::NotYet(Pause::WriteUnderWay),
            (Turn::Apart, Request::Read(op)) => {
                if !self.has_turn {
                    return Taken::NotYet(Pause::LongReads);
                }
                let state = &mut *scene.state;
                let (ids, out) = (&state.ids, &mut state.out);
                self.apart = answer_apart(scene.tree, scene.hub, scene.conn, ids, xid, op, out);
                return Taken::Done(work);
            }
            (Turn::Now | Turn::Apart, Request::SetWatches(_)) if work > WATCHES_A_TURN => {
                self.watches_bytes = length + held_beside(&request);
                if let Request::SetWatches(set) = request {
                    self.watches_left = Some((xid, set));
                }
                return Taken::Done(work);
            }
            (Turn::Now | Turn::Apart, _) => request,
            (Turn::BehindWrite, _) => {
                let bytes = length + held_beside(&request) + WAITING_OVERHEAD;
                match scene.wait(xid, request, bytes) {
                    Some(request) => request,
                    None => {
                        self.waiting_work += work;
                        return Taken::Done(work);
                    }
                }
            }
        };
        let outcome = scene.answer(xid, &request);
        if outcome == Outcome::EndLocal {
            scene.shared.end_local(scene.conn.session());
        }
        if outcome != Outcome::Go {
            scene.state.phase = ConnPhase::Closing;
        }
        Taken::Done(work)
    }

    /// Goes on with a long setWatches request, for one turn; how many paths that were.
    fn set_watches_left(&mut self, scene: &mut Scene<'_, '_>) -> usize {
        let left = self.watches_left.take();
        let is_open = scene.state.phase == ConnPhase::Open;
        let Some((xid, mut set)) = left.filter(|_| is_open) else {
            self.watches_bytes = 0;
            return 0;
        };
        let some = watches_of_a_turn(&mut set);
        let rest = Request::SetWatches(set);
        if work(scene.tree, scene.conn, 0, &rest) == 0 {
            // The last ones, and the reply.
            self.watches_bytes = 0;
            scene.answer(xid, &Request::SetWatches(some));
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
