//! One client connection: a task that decodes all requests of a read at once, answers what needs no leader, hands the
//! rest to the core in one batch, and sends everything that is to be sent in one write.

use super::answer::{
    Apart, HubAccess, Outcome, answer, answer_apart, set_some_watches, watches_of_a_turn, work,
};
use super::auth::{identity, super_user};
use super::conn::{Conn, ConnPhase, ConnState};
use super::lock::lock;
use super::shared::{Mode, Shared};
use super::submit::{Connect, Submit};
use crate::admin::commands;
use crate::edges::wake::Wake;
use crate::host::inbox::{Event, Inbox};
use crate::limits::{
    ANSWERS_BYTES_MAX, CLOSING_TIME, HANDSHAKE_TIME, IDENTITIES_MAX, IDENTITY_BYTES_MAX, WRITE_TIME,
};
use crate::wire::client::{
    ConnectRequest, RawRequest, ReplyHeader, Request, SetWatches, is_session_password, opcode,
    reply,
};
use crate::wire::four_letter::FourLetter;
use crate::wire::frame::split;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info};
use zabra_model::ids::Zxid;
use zabra_model::service::admission::{Admission, admission};
use zabra_model::service::session::{may_connect, negotiated_timeout_ms};
use zabra_model::service::work::{TURN_WORK_MAX, Turn, WATCHES_A_TURN, turn_of};
use zabra_model::tree::acl::Id;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::node::Tree;
use zabra_model::tree::op::ReadOp;

/// Room for one read.
const READ_BYTES: usize = 64 << 10;
/// A frame is refused by its length only beyond what the limit for requests and a header allow.
const CONNECT_BYTES_MAX: usize = 4096;
/// What a request that waits holds beside its frame, about, bytes.
const WAITING_OVERHEAD: usize = 128;

/// Wakes the task of a connection.
#[derive(Default)]
struct Bell {
    wake: Notify,
    ended: Notify,
}

impl Wake for Bell {
    fn wake(&self) {
        self.wake.notify_one();
    }

    fn end(&self) {
        self.wake.notify_one();
        self.ended.notify_one();
    }
}

struct Connection {
    bell: Arc<Bell>,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    conn: Arc<Conn>,
    last_token: u64,
    /// Requests that have been read and not been looked at.
    frames: Vec<Bytes>,
    /// How many writes the last read brought: room for as many is made for the next.
    writes_before: usize,
    /// What the reads visit that wait behind a write, see [`turn_of`].
    waiting_work: usize,
    /// Why the next request is not taken.
    pause: Option<Pause>,
    /// The right to answer a long read, while one is answered.
    permit: bool,
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

/// Serves one client until it goes.
pub async fn run(stream: TcpStream, shared: Arc<Shared>, inbox: Arc<Inbox>) {
    let Ok(from) = stream.peer_addr() else { return };
    let bell = Arc::new(Bell::default());
    let conn = shared.connect(from, Arc::clone(&bell) as Arc<dyn Wake>);
    let mut connection = Connection {
        bell,
        shared: Arc::clone(&shared),
        inbox,
        conn: Arc::clone(&conn),
        last_token: 0,
        frames: Vec::new(),
        writes_before: 0,
        waiting_work: 0,
        pause: None,
        permit: false,
        apart: None,
        watches_left: None,
    };
    if let Err(error) = connection.serve(stream).await {
        debug!(%from, session = %conn.session(), %error, "a client connection has ended");
    }
    connection.give_back();
    shared.disconnect(&conn);
}

fn refuse(what: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

impl Connection {
    async fn serve(&mut self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buf = BytesMut::with_capacity(READ_BYTES);
        let first = timeout(HANDSHAKE_TIME, self.first_frame(&mut stream, &mut buf))
            .await
            .map_err(|_| refuse("no connect request"))??;
        let Some(first) = first else { return Ok(()) };
        let Some(connect) = self.introduced(&first)? else {
            return Ok(());
        };
        if connect != Connect::Refused {
            self.inbox
                .push(Event::Connect(Arc::clone(&self.conn), connect), 0);
        }
        self.exchange(stream, buf).await
    }

    /// The first frame; `None` if it was a four-letter word, which has been answered.
    async fn first_frame(
        &mut self,
        stream: &mut TcpStream,
        buf: &mut BytesMut,
    ) -> std::io::Result<Option<Bytes>> {
        loop {
            if let Some(word) = buf
                .first_chunk::<4>()
                .copied()
                .and_then(FourLetter::recognise)
            {
                let answer = commands::answer(word, &self.shared);
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                return Ok(None);
            }
            let mut frames = Vec::new();
            // Requests may be pipelined behind the connect request: only the first frame is taken.
            let length = buf.first_chunk::<4>().map(|b| i32::from_be_bytes(*b));
            match length.map(usize::try_from) {
                Some(Ok(n)) if n <= CONNECT_BYTES_MAX && buf.len() >= n + 4 => {
                    let mut one = buf.split_to(n + 4);
                    split(&mut one, CONNECT_BYTES_MAX, &mut frames)
                        .map_err(|_| refuse("frame length"))?;
                    return Ok(frames.pop());
                }
                Some(Ok(n)) if n <= CONNECT_BYTES_MAX => {} // more of it is to come
                Some(_) => return Err(refuse("not a connect request")),
                None => {}
            }
            if stream.read_buf(buf).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// What the client wants; `None` if it gets no answer.
    fn introduced(&mut self, first: &Bytes) -> std::io::Result<Option<Connect>> {
        let request = ConnectRequest::decode(first).map_err(|_| refuse("connect request"))?;
        if self.shared.mode() == Mode::NotServing {
            return Ok(None);
        }
        let last = self.shared.tree().last_zxid();
        if !may_connect(request.last_zxid_seen, last) {
            info!(from = %self.conn.from, seen = %request.last_zxid_seen, own = %last,
                "a client has seen more than this server; it must try another");
            return Ok(None);
        }
        let config = &self.shared.config;
        let timeout_ms = negotiated_timeout_ms(
            request.timeout_ms,
            config.min_session_ms,
            config.max_session_ms,
        );
        self.conn.state().read_only = request.read_only.map(|_| false);
        let session = request.session;
        if session.0 == 0 {
            let session = lock(&self.shared.ids).give();
            self.conn.bind(session, timeout_ms);
            return Ok(Some(Connect::New(session)));
        }
        // First the old connection ends, then the password is looked at: as ZooKeeper does it.
        let old = lock(&self.shared.sessions).remove(&session);
        if let Some(old) = old {
            old.close();
        }
        if !is_session_password(session, request.password.as_deref()) {
            let mut state = self.conn.state();
            crate::wire::client::ConnectResponse::expired(state.read_only).put(&mut state.out);
            state.phase = ConnPhase::Closing;
            drop(state);
            return Ok(Some(Connect::Refused));
        }
        self.conn.bind(session, timeout_ms);
        Ok(Some(Connect::Again(session)))
    }

    async fn exchange(&mut self, stream: TcpStream, mut buf: BytesMut) -> std::io::Result<()> {
        let conn = Arc::clone(&self.conn);
        let (mut reader, mut writer) = stream.into_split();
        let mut out = BytesMut::new();
        // A client that is not heard for this long has gone, or has its session at another server.
        let silence = self.silence();
        let silent = sleep(silence);
        tokio::pin!(silent);
        let mut heard = true;
        // It has asked for writes, and the core has no room for more.
        let mut held = false;
        loop {
            let (phase, waiting, may_take, overfull, too_much) = {
                let mut state = conn.state();
                let overfull = state.is_overfull();
                if !state.out.is_empty() {
                    state.take_out(&mut out);
                } else {
                    let mut none = BytesMut::new();
                    state.take_out(&mut none);
                    state.out = none;
                }
                let may_take = state.may_take(&self.shared.waiting);
                let too_much = state.settle_unread(&self.shared.unread);
                (state.phase, state.order.len(), may_take, overfull, too_much)
            };
            if phase == ConnPhase::Closed || overfull {
                return Ok(());
            }
            if too_much {
                self.shared.relieve();
            }
            if !out.is_empty() {
                self.send(&mut writer, &out).await?;
                out.clear();
                if out.capacity() > 4 * READ_BYTES {
                    out = BytesMut::new();
                }
                continue;
            }
            if phase == ConnPhase::Closing {
                writer.shutdown().await?;
                return Ok(());
            }
            let paused = self.is_paused(waiting);
            if phase == ConnPhase::Open
                && !paused
                && (buf.len() >= 4 || !self.frames.is_empty() || self.watches_left.is_some())
                && may_take
                && !held
                && self.take_requests(&mut buf)?
            {
                self.answer_apart().await?;
                // Only who has asked for a write waits for room; its answers go out, and its session lives, meanwhile.
                held = self.writes_before > 0 && self.inbox.is_crowded();
                continue;
            }
            let may_read = phase == ConnPhase::Open && !paused && may_take && !held
                || buf.len() < READ_BYTES && phase == ConnPhase::Connecting;
            if buf.capacity() - buf.len() < READ_BYTES / 8 {
                buf.reserve(READ_BYTES);
            }
            tokio::select! {
                () = self.bell.wake.notified() => {}
                () = self.inbox.wait_for_room(), if held => held = false,
                read = reader.read_buf(&mut buf), if may_read => {
                    if read? == 0 {
                        return Ok(());
                    }
                    heard = true;
                }
                () = &mut silent => {
                    // Whoever is not read on cannot be heard.
                    if !heard && may_read && phase == ConnPhase::Open {
                        return Err(refuse("nothing was heard for longer than the session lives"));
                    }
                    heard = false;
                    silent.as_mut().reset(Instant::now() + silence);
                }
            }
        }
    }

    /// Twice this is longer than the session can live without a word.
    fn silence(&self) -> Duration {
        let timeout_ms = u64::try_from(self.conn.timeout_ms()).unwrap_or(0);
        Duration::from_millis(timeout_ms.saturating_add(2 * self.shared.config.tick_ms))
    }

    /// Sends `out`. An error: the connection has been closed, or its session has ended and the client does not fetch the rest, or
    /// the write was stuck for as long as the session lives.
    async fn send(&self, writer: &mut OwnedWriteHalf, out: &[u8]) -> std::io::Result<()> {
        let mut rest = out;
        let mut closing = None;
        loop {
            let sent = tokio::select! {
                biased;
                sent = writer.write(rest) => sent?,
                () = self.stuck(&mut closing) => return Err(refuse("answers that nobody fetches")),
            };
            rest = rest.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            if sent == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            // It fetches what there is: nothing that it sends is read meanwhile, so this is a sign of life.
            if closing.is_none() {
                self.conn.hear(self.shared.elapsed_ms());
            }
        }
    }

    /// Ends when a write that is stuck is to be given up. `closing` is since when the connection is to end.
    async fn stuck(&self, closing: &mut Option<Instant>) {
        let begin = Instant::now();
        let patience = self.silence().min(WRITE_TIME);
        loop {
            {
                let state = self.conn.state();
                match state.phase {
                    ConnPhase::Closed => return,
                    _ if state.is_overfull() => return,
                    ConnPhase::Closing => {
                        closing.get_or_insert(begin);
                    }
                    ConnPhase::Connecting | ConnPhase::Open => {}
                }
            }
            let due = match closing {
                Some(since) => (*since + CLOSING_TIME).min(begin + patience),
                None => begin + patience,
            };
            if Instant::now() >= due {
                return;
            }
            // Not `wake`: its one permit belongs to the loop. A stuck write is rare, a look now and then is enough for the rest.
            tokio::select! {
                () = self.bell.ended.notified() => {}
                () = sleep_until(due.min(Instant::now() + Duration::from_millis(500))) => {}
            }
        }
    }

    /// Whether the next request still has to wait, with so many requests of this connection unanswered.
    fn is_paused(&mut self, unanswered: usize) -> bool {
        if unanswered == 0 {
            self.waiting_work = 0;
        }
        match self.pause {
            Some(Pause::WriteUnderWay) if unanswered > 0 => return true,
            Some(Pause::LongReads) => {
                if !self.shared.long_reads.take(&self.conn) {
                    return true;
                }
                self.permit = true;
            }
            Some(Pause::WriteUnderWay) | None => {}
        }
        self.pause = None;
        false
    }

    /// Writes the answer to a long read while others have the tree, and puts it before whatever came for this client meanwhile.
    async fn answer_apart(&mut self) -> std::io::Result<()> {
        if let Some(apart) = self.apart.take() {
            let answer = tokio::task::spawn_blocking(move || apart.write()).await?;
            let mut state = self.conn.state();
            if state.phase != ConnPhase::Closed {
                let later = std::mem::replace(&mut state.out, answer);
                state.out.extend_from_slice(&later);
            }
            drop(state);
            self.count_answer();
        }
        self.give_back();
        Ok(())
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.permit) {
            self.shared.long_reads.give_back();
        }
    }

    fn count_answer(&self) {
        self.conn.sent.fetch_add(1, Ordering::Relaxed);
        self.shared.stats.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes complete requests, all of them unless their answers are long; whether there was one.
    fn take_requests(&mut self, buf: &mut BytesMut) -> std::io::Result<bool> {
        let mut frames = std::mem::take(&mut self.frames);
        // A bad length stays at the front of `buf`, so it is found again when the frames before it are done.
        let mut split_result = Ok(0);
        if frames.is_empty() && self.watches_left.is_none() {
            split_result = split(buf, self.shared.config.frame_bytes_max, &mut frames);
            let count = frames.len() as u64;
            self.conn.received.fetch_add(count, Ordering::Relaxed);
            let received = &self.shared.stats.received;
            received.fetch_add(count, Ordering::Relaxed);
        }
        if frames.is_empty() && self.watches_left.is_none() {
            self.frames = frames;
            return split_result
                .map(|_| false)
                .map_err(|_| refuse("frame length"));
        }
        self.conn.hear(self.shared.elapsed_ms());
        let leads = matches!(self.shared.mode(), Mode::Leader | Mode::Standalone);
        let mut submits = Vec::with_capacity(self.writes_before);
        let mut bytes = 0;
        let result = {
            let shared = Arc::clone(&self.shared);
            let conn = Arc::clone(&self.conn);
            let tree = shared.tree();
            let mut guard = conn.state();
            let mut hub = HubAccess::Free(&shared.hub);
            let mut result = Ok(());
            let mut done = 0;
            let mut visited = self.set_watches_left(&tree, &mut guard, &mut hub);
            for frame in &frames {
                // Long answers go out before more are made: they take memory, and the core waits for the tree meanwhile.
                if guard.phase != ConnPhase::Open
                    || guard.out.len() > ANSWERS_BYTES_MAX
                    || visited > TURN_WORK_MAX
                    || self.apart.is_some()
                    || self.watches_left.is_some()
                    || !guard.may_take(&shared.waiting)
                {
                    break;
                }
                match self.take_request(frame, &tree, &mut guard, &mut hub, leads, &mut submits) {
                    Ok(Taken::Done(work)) => visited += work,
                    Ok(Taken::NotYet(pause)) => {
                        self.pause = Some(pause);
                        break;
                    }
                    Err(error) => result = Err(error),
                }
                done += 1;
                bytes += frame.len();
                if result.is_err() {
                    break;
                }
            }
            frames.drain(..done);
            guard.settle(&shared.unread, &shared.waiting);
            result
        };
        let all_taken = frames.is_empty();
        self.frames = frames;
        self.writes_before = submits.len();
        if !submits.is_empty() {
            self.inbox
                .push(Event::Submitted(Arc::clone(&self.conn), submits), bytes);
        }
        result?;
        match split_result {
            Err(_) if all_taken => Err(refuse("frame length")),
            _ => Ok(true),
        }
    }

    fn take_request(
        &mut self,
        frame: &Bytes,
        tree: &Tree,
        state: &mut ConnState,
        hub: &mut HubAccess<'_>,
        leads: bool,
        submits: &mut Vec<Submit>,
    ) -> std::io::Result<Taken> {
        let raw = RawRequest::split(frame).map_err(|_| refuse("request header"))?;
        let (xid, code) = (raw.header.xid, raw.header.opcode);
        let request = match admission(code) {
            Admission::Leader => {
                self.last_token += 1;
                let bytes = frame.len() + WAITING_OVERHEAD;
                state.order.push_write(self.last_token, bytes);
                let request = if leads && code != opcode::SYNC {
                    raw.decode().ok()
                } else {
                    None
                };
                submits.push(Submit {
                    xid,
                    token: self.last_token,
                    opcode: code,
                    record: raw.record,
                    request,
                    ids: Arc::clone(&state.ids),
                });
                return Ok(Taken::Done(1));
            }
            Admission::Identity => {
                self.authenticate(&raw, state);
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
                    self.refuse_in_turn(xid, tree, state, hub);
                    return Ok(Taken::Done(1));
                }
            },
        };
        let bytes = frame.len() + held_beside(&request) + WAITING_OVERHEAD;
        let work = work(tree, &self.conn, &request);
        let waiting = (!state.order.is_empty()).then_some(self.waiting_work);
        let turn = turn_of(work, waiting);
        let ids = Arc::clone(&state.ids);
        let request = match (turn, request) {
            (Turn::Later, _) => return Ok(Taken::NotYet(Pause::WriteUnderWay)),
            (Turn::Apart, Request::Read(op)) => {
                if !self.permit {
                    return Ok(Taken::NotYet(Pause::LongReads));
                }
                let out = &mut state.out;
                self.apart = answer_apart(tree, hub, &self.conn, &ids, xid, &op, out);
                return Ok(Taken::Done(work));
            }
            (Turn::Now | Turn::Apart, Request::SetWatches(set)) if work > WATCHES_A_TURN => {
                self.watches_left = Some((xid, set));
                return Ok(Taken::Done(work));
            }
            (Turn::Now | Turn::Apart | Turn::BehindWrite, request) => request,
        };
        match state.order.push_read((xid, request), bytes) {
            Some((xid, request)) => {
                let outcome = answer(tree, hub, &self.conn, &ids, xid, &request, &mut state.out);
                self.count_answer();
                if outcome == Outcome::Close {
                    state.phase = ConnPhase::Closing;
                }
            }
            None => self.waiting_work += work,
        }
        Ok(Taken::Done(work))
    }

    /// Goes on with a long setWatches request, for one turn; how many paths that were.
    fn set_watches_left(
        &mut self,
        tree: &Tree,
        state: &mut ConnState,
        hub: &mut HubAccess<'_>,
    ) -> usize {
        let Some((xid, mut set)) = self
            .watches_left
            .take()
            .filter(|_| state.phase == ConnPhase::Open)
        else {
            return 0;
        };
        let ids = Arc::clone(&state.ids);
        let some = watches_of_a_turn(&mut set);
        let rest = Request::SetWatches(set);
        if work(tree, &self.conn, &rest) == 0 {
            // The last ones, and the reply.
            let last = Request::SetWatches(some);
            answer(tree, hub, &self.conn, &ids, xid, &last, &mut state.out);
            self.count_answer();
            return 1;
        }
        set_some_watches(tree, hub, &self.conn, &ids, &some, &mut state.out);
        if let Request::SetWatches(set) = rest {
            self.watches_left = Some((xid, set));
        }
        TURN_WORK_MAX + 1
    }

    fn refuse_in_turn(
        &mut self,
        xid: i32,
        tree: &Tree,
        state: &mut ConnState,
        hub: &mut HubAccess<'_>,
    ) {
        // An addWatch of an unknown mode is answered with just this error.
        let request = Request::AddWatch {
            path: "/".into(),
            mode: crate::wire::client::AddWatchMode::Unknown(-1),
        };
        if let Some((xid, request)) = state.order.push_read((xid, request), WAITING_OVERHEAD) {
            let ids = Arc::clone(&state.ids);
            answer(tree, hub, &self.conn, &ids, xid, &request, &mut state.out);
        }
    }

    /// Identities count for the requests behind this one; the answer does not wait for those before it.
    fn authenticate(&self, raw: &RawRequest, state: &mut ConnState) {
        let address = self.conn.from.ip().to_string();
        let id = match raw.decode() {
            Ok(Request::Auth { scheme, data, .. }) => identity(
                scheme.as_deref().unwrap_or(""),
                data.as_deref(),
                &address,
                self.shared.config.digest,
            ),
            _ => None,
        };
        let mut header = ReplyHeader::ok(raw.header.xid, Zxid::ZERO);
        match id {
            // They travel with each write, and a packet has no room for more than these.
            Some(id) if state.ids.contains(&id) || has_room(&state.ids, &id) => {
                let super_digest = self.shared.config.super_digest.as_ref();
                for id in super_user(&id, super_digest).into_iter().chain([id]) {
                    if !state.ids.contains(&id) {
                        state.ids = state.ids.iter().cloned().chain([id]).collect();
                    }
                }
            }
            Some(_) | None => {
                header.err = ErrorCode::AuthFailed.code();
                state.phase = ConnPhase::Closing;
            }
        }
        reply::put_empty(header, &mut state.out);
    }
}

/// Whether a connection may hold one more identity.
fn has_room(ids: &[Id], more: &Id) -> bool {
    let bytes = |id: &Id| id.scheme.len() + id.id.len();
    let held: usize = ids.iter().map(bytes).sum();
    ids.len() < IDENTITIES_MAX && held + bytes(more) <= IDENTITY_BYTES_MAX
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
