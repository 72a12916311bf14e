//! One client connection without a socket: bytes go in, answers and requests for the core come out.

use super::answer::Apart;
use super::conn::{Conn, ConnPhase};
use super::ended::Ended;
use super::first::{First, introduce, take_first};
use super::look::Look;
use super::requests::Requests;
use super::shared::Shared;
use super::submit::{Connect, Submit};
use super::tally::{Tally, count_received};
use crate::edges::wake::Wake;
use crate::limits::{CLOSING_TIME, FRAME_BYTES_DEFAULT, WRITE_TIME};
use crate::wire::four_letter::FourLetter;
use bytes::BytesMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Room for one read.
const READ_BYTES: usize = 64 << 10;
/// A connection without a long request has no more room than this.
const ROOM_BYTES_MAX: usize = 4 * READ_BYTES;
/// How often a write that is stuck is looked at, ms.
const STUCK_LOOK_MS: u64 = 500;
/// How often it is looked whether there is room for a long request, ms.
const CROWDED_LOOK_MS: u64 = 100;

/// A client connection as a state machine: whoever owns it has the socket, this has everything else.
///
/// ```text
/// new ──► step ──► Word(word)        write its answer, then drop the intake
///         ▲    ├─► Connect(connect)  hand it to the core
///         │    ├─► Submit(batch)     hand it to the core; hold(true) if the core has no room for more
///         │    ├─► Send              take_output, write all of it, asking stuck when a write does not go on; sent
///         │    ├─► Apart(job)        run the job where it may take long; answered_apart
///         │    ├─► Yield             let others go on first, if there are any
///         │    ├─► Wait(wait)        until the bell rings, or bytes come if they may be read (room, heard), or there is
///         │    │                     room if it is held (hold(false)), or the clock says so
///         └────┘
///              ├─► Finish            all is sent: end the stream in order, then drop the intake
///              └─► End(why)          drop the intake; nothing more is sent
/// ```
/// Each step is carried out before the next is asked for; asking without having waited costs nothing but time. The stream's end is
/// told by dropping the intake, which also forgets the connection's watches and that its session is attached here. Time is that
/// of [`Shared::elapsed_ms`] and never goes back.
pub struct Intake {
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    /// Bytes that came and are no whole frame, or that nobody has looked at.
    buf: BytesMut,
    /// The buffer that answers are swapped into; empty but while it is sent.
    output: BytesMut,
    requests: Requests,
    stage: Stage,
    /// The client was heard, or could not be, since the last look.
    heard: bool,
    /// When to look next whether it was.
    look_ms: u64,
    /// Its session was confirmed when it was last looked at.
    is_open: bool,
    /// The core has no room for more writes.
    held: bool,
    /// Since when the connection is to end, if it is.
    closing_ms: Option<u64>,
    /// What was counted of `buf` among all that arrives.
    arriving: usize,
    /// Operation and number of the long read that is being answered.
    apart: (i32, i32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nobody knows who it is.
    First,
    /// A client.
    Exchange,
    /// A client whose long read is being answered.
    Apart,
    /// Over.
    Ended(Ended),
}

/// What is to be done next, see [`Intake`].
pub enum Step {
    /// An operator's word, to be answered.
    Word(FourLetter),
    /// The client has introduced itself; its password is right.
    Connect(Connect),
    /// Requests that need the leader, in order, and the bytes that they and those before them held.
    Submit(Vec<Submit>, usize),
    /// Answers and events.
    Send,
    /// A long read.
    Apart(Box<Apart>),
    /// The rest of a long request is done in further turns; others may have theirs before.
    Yield,
    /// Nothing, for now.
    Wait(Wait),
    /// Nothing more will come; what was to be sent is sent.
    Finish,
    /// It is over at once.
    End(Ended),
}

/// What is waited for, beside the bell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// Bytes of the client may be read.
    pub read: bool,
    /// It is held: the core has to have room.
    pub room: bool,
    /// When the next step is due in any case, ms.
    pub until_ms: u64,
}

/// What becomes of a write that does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stuck {
    /// It is given up, and the connection with it.
    GiveUp,
    /// It may go on; this is asked again then, ms, or when the bell says that the connection is over.
    LookAgain(u64),
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Intake {
    /// A connection from this address has come.
    #[must_use]
    pub fn new(shared: Arc<Shared>, from: SocketAddr, wake: Arc<dyn Wake>, now_ms: u64) -> Self {
        let conn = shared.connect(from, wake);
        let first_words_ms = shared.config.net.first_words_ms;
        Self {
            shared,
            conn,
            buf: BytesMut::with_capacity(READ_BYTES),
            output: BytesMut::new(),
            requests: Requests::default(),
            stage: Stage::First,
            heard: true,
            look_ms: now_ms.saturating_add(first_words_ms),
            is_open: false,
            held: false,
            closing_ms: None,
            arriving: 0,
            apart: (0, 0),
        }
    }

    /// The connection, as the core sees it.
    #[must_use]
    pub const fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    /// Where the next read goes: to be appended to, then [`Intake::heard`].
    pub fn room(&mut self) -> &mut BytesMut {
        if self.buf.capacity() - self.buf.len() < READ_BYTES / 8 {
            self.buf.reserve(READ_BYTES);
        }
        // The memory of a long request would stay for as long as the connection does, and is counted nowhere.
        if self.buf.capacity() > ROOM_BYTES_MAX && self.buf.len() < READ_BYTES {
            let mut room = BytesMut::with_capacity(2 * READ_BYTES);
            room.extend_from_slice(&self.buf);
            self.buf = room;
        }
        &mut self.buf
    }

    /// Something was read.
    pub const fn heard(&mut self) {
        self.heard = true;
    }

    /// These bytes have come: for whoever has them elsewhere than in [`Intake::room`].
    pub fn feed(&mut self, bytes: &[u8]) {
        self.room().extend_from_slice(bytes);
        self.heard();
    }

    /// Whether the core has no room for more writes. Whoever has not asked for one is not held.
    pub const fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// What is to be sent, all of it before the next step.
    #[must_use]
    pub fn take_output(&mut self) -> BytesMut {
        std::mem::take(&mut self.output)
    }

    /// All of it was sent; its memory is used again.
    pub fn sent(&mut self, mut output: BytesMut) {
        output.clear();
        if output.capacity() <= ROOM_BYTES_MAX {
            self.output = output;
        }
    }

    /// A part of what is being sent went out only after a while. While something is sent nothing is read, so this is a sign of life.
    pub fn sent_some(&self, now_ms: u64) {
        if self.closing_ms.is_none() {
            self.conn.hear(now_ms);
        }
    }

    /// What becomes of a write that has not gone on since `since_ms`.
    pub fn stuck(&mut self, since_ms: u64, now_ms: u64) -> Stuck {
        let state = self.conn.state();
        match state.phase {
            ConnPhase::Closed => return Stuck::GiveUp,
            _ if state.is_overfull() => return Stuck::GiveUp,
            ConnPhase::Closing => {
                self.closing_ms.get_or_insert(since_ms);
            }
            ConnPhase::Connecting | ConnPhase::Open => {}
        }
        drop(state);
        let patience = self.silence_ms().min(ms(WRITE_TIME));
        let mut due = since_ms.saturating_add(patience);
        if let Some(closing) = self.closing_ms {
            due = due.min(closing.saturating_add(ms(CLOSING_TIME)));
        }
        if now_ms >= due {
            Stuck::GiveUp
        } else {
            Stuck::LookAgain(due.min(now_ms.saturating_add(STUCK_LOOK_MS)))
        }
    }

    /// The answer to a long read was written; it goes before whatever came for this client meanwhile.
    pub fn answered_apart(&mut self, answer: BytesMut) {
        let now_ms = self.shared.elapsed_ms();
        let took_ms = now_ms.saturating_sub(self.requests.read_ms);
        let mut tally = Tally::default();
        tally.add(self.apart.0, self.apart.1, answer.len());
        let zxid = self.shared.tree().last_zxid();
        let mut state = self.conn.state();
        if state.phase != ConnPhase::Closed {
            let later = std::mem::replace(&mut state.out, answer);
            state.out.extend_from_slice(&later);
        }
        let took = (zxid, now_ms, took_ms);
        let slow = tally.count_reads(&self.shared, &self.conn, &mut state, took);
        drop(state);
        if let Some(slow) = slow {
            slow.say();
        }
        self.requests.give_back(&self.shared);
        if self.stage == Stage::Apart {
            self.stage = Stage::Exchange;
        }
    }

    /// What is to be done next.
    pub fn step(&mut self, now_ms: u64) -> Step {
        match self.stage {
            Stage::First => self.first(now_ms),
            Stage::Exchange => self.exchange(now_ms),
            Stage::Apart => Step::Wait(Wait {
                read: false,
                room: false,
                until_ms: u64::MAX,
            }),
            Stage::Ended(why) => Step::End(why),
        }
    }

    fn end(&mut self, why: Ended) -> Step {
        self.stage = Stage::Ended(why);
        Step::End(why)
    }

    fn first(&mut self, now_ms: u64) -> Step {
        let before = self.buf.len();
        let request = match take_first(&mut self.buf) {
            Ok(First::Connect(request)) => {
                count_received(&self.shared, &self.conn, 1, before - self.buf.len());
                request
            }
            Ok(First::Word(word)) => {
                count_received(&self.shared, &self.conn, 1, 4);
                self.stage = Stage::Ended(Ended::Closed);
                return Step::Word(word);
            }
            Ok(First::More) if now_ms >= self.look_ms => {
                let late = &self.shared.stats.sessionless_expired;
                late.fetch_add(1, Ordering::Relaxed);
                return self.end(Ended::Late);
            }
            Ok(First::More) => {
                return Step::Wait(Wait {
                    read: true,
                    room: false,
                    until_ms: self.look_ms,
                });
            }
            Err(why) => return self.end(why),
        };
        match introduce(&self.shared, &self.conn, &request, now_ms) {
            Err(why) => self.end(why),
            Ok(connect) => {
                self.stage = Stage::Exchange;
                self.look_ms = now_ms.saturating_add(self.silence_ms());
                match connect {
                    Connect::Refused => self.exchange(now_ms),
                    Connect::New(_) | Connect::Again(_) => Step::Connect(connect),
                }
            }
        }
    }

    fn exchange(&mut self, now_ms: u64) -> Step {
        if let Some(step) = self.begin_apart() {
            return step;
        }
        if !self.output.is_empty() {
            return Step::Send; // it was seen with requests that went before it
        }
        // Who waits for nothing is looked at when its requests are taken, under one lock.
        let mut seen = (!self.takes_at_once()).then(|| self.look());
        loop {
            if let Some(now) = seen {
                if let Some(step) = self.due(now) {
                    return step;
                }
                let may_take = self.may_take(now, now_ms);
                if !may_take || !self.requests.has_some(&self.buf) {
                    return self.wait(now.phase, may_take, now_ms);
                }
            }
            let Self {
                requests,
                buf,
                output,
                ..
            } = self;
            let batch = match requests.take(buf, output, &self.shared, &self.conn, now_ms) {
                Err(why) => return self.end(why),
                Ok(Some(batch)) => batch,
                // A part of a frame.
                Ok(None) => match seen {
                    Some(now) => return self.wait(now.phase, true, now_ms),
                    None => {
                        seen = Some(self.look());
                        continue;
                    }
                },
            };
            if let Some(why) = batch.ended {
                self.stage = Stage::Ended(why);
            }
            if !batch.submits.is_empty() {
                return Step::Submit(batch.submits, batch.bytes);
            }
            if let Some(why) = batch.ended {
                return Step::End(why);
            }
            if self.requests.has_turns_left() {
                return Step::Yield;
            }
            if let Some(step) = self.begin_apart() {
                return step;
            }
            seen = Some(batch.now);
        }
    }

    /// A long read goes before anything else.
    fn begin_apart(&mut self) -> Option<Step> {
        let apart = self.requests.take_apart()?;
        self.stage = Stage::Apart;
        self.apart = apart.asked();
        Some(Step::Apart(Box::new(apart)))
    }

    /// Whether requests may be taken without a look at the connection before.
    fn takes_at_once(&self) -> bool {
        self.is_open && !self.held && self.requests.takes_at_once(&self.buf)
    }

    /// What is to be done before anything is taken, if there is something.
    fn due(&mut self, now: Look) -> Option<Step> {
        self.is_open = now.phase == ConnPhase::Open;
        if now.phase == ConnPhase::Closed {
            return Some(self.end(Ended::Closed));
        }
        if now.is_overfull {
            return Some(self.end(Ended::Unread));
        }
        if now.relieve {
            self.shared.relieve();
        }
        if !self.output.is_empty() {
            return Some(Step::Send);
        }
        (now.phase == ConnPhase::Closing).then_some(Step::Finish)
    }

    /// Whether the next request may be taken. Who has to wait anyway takes no turn from others.
    fn may_take(&mut self, now: Look, now_ms: u64) -> bool {
        let Self {
            shared,
            conn,
            requests,
            ..
        } = self;
        now.phase == ConnPhase::Open
            && now.may_take
            && !self.held
            && !requests.is_paused(shared, conn, now.unanswered, now_ms)
    }

    fn look(&mut self) -> Look {
        Look::at(
            &mut self.conn.state(),
            &mut self.output,
            &self.shared,
            &self.conn,
        )
    }

    fn wait(&mut self, phase: ConnPhase, may_take: bool, now_ms: u64) -> Step {
        // Whoever waits in line is read on a little, to see that it goes.
        let in_line = phase == ConnPhase::Open && self.requests.is_in_line();
        let rules = &self.shared.outstanding.rules().requests;
        let reads_ahead =
            phase == ConnPhase::Connecting || in_line && rules.drops_with_connection();
        let mut read = may_take || self.buf.len() < READ_BYTES && reads_ahead;
        let waits = self.requests.holds();
        let beyond = (self.buf.len() + waits).saturating_sub(FRAME_BYTES_DEFAULT);
        if self.shared.arriving.settle(&mut self.arriving, beyond) && read {
            if waits == 0 {
                return self.end(Ended::Crowded);
            }
            // What it has sent is whole, and goes when it is answered.
            read = false;
        }
        if in_line || self.requests.is_crowded_out() {
            // It is the server that lets it wait (D-84).
            self.conn.hear(now_ms);
        }
        if now_ms >= self.look_ms {
            if !self.heard && read && phase == ConnPhase::Open {
                return self.end(Ended::Silent);
            }
            self.heard = false;
            self.look_ms = now_ms.saturating_add(self.silence_ms());
        }
        // Whoever is not read on cannot be heard.
        self.heard |= !read;
        let soon_ms = if self.requests.is_crowded_out() {
            CROWDED_LOOK_MS
        } else if in_line && self.requests.looks_soon() {
            rules.stall_ms.min(self.alive_ms())
        } else if in_line {
            self.alive_ms()
        } else {
            u64::MAX
        };
        let until_ms = self.look_ms.min(now_ms.saturating_add(soon_ms));
        Step::Wait(Wait {
            read,
            room: self.held,
            until_ms,
        })
    }

    /// So often a session is to be heard of while the server lets it wait, ms: as often as a client speaks that has nothing to say.
    fn alive_ms(&self) -> u64 {
        u64::try_from(self.conn.timeout_ms()).unwrap_or(0) / 3
    }

    /// Twice this is longer than the session can live without a word, ms.
    fn silence_ms(&self) -> u64 {
        let timeout_ms = u64::try_from(self.conn.timeout_ms()).unwrap_or(0);
        timeout_ms.saturating_add(2 * self.shared.config.tick_ms)
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.requests.drop_line(&self.shared);
        self.requests.give_back(&self.shared);
        self.shared.arriving.settle(&mut self.arriving, 0);
        self.shared.disconnect(&self.conn);
    }
}

#[cfg(test)]
mod tests;
