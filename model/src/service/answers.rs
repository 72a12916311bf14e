//! Which waiting request a transaction answers.
//!
//! A transaction names the session that asked for it and a number, the *cxid*. The client's own number for the request, its xid,
//! will not do for that: a client counts anew on each connection, so a session that moves sends xid 1 through one server and xid
//! 1 through the next, and both may be on their way at once. What is unique is what a server chooses itself:
//!
//! - where it leads, the zxid that the proposal got;
//! - where it forwards, a number of its own, which it writes into REQUEST in place of the xid. The leader copies it into the
//!   transaction, and PROPOSAL, COMMIT and INFORM bring it back (D-24).
//!
//! A leader handles the requests of one connection in order. So when the answer to one comes, those before it that are still
//! waiting were dropped by it, and never will be answered. Whatever answers nothing here is another server's, or is for a request
//! of an earlier connection to a leader; it says nothing about the requests that wait.
//!
//! ```text
//! forward A → 1   forward B → 2   forward C → 3        REQUEST 1, 2, 3
//! transaction of another server                     →  nobody's
//! transaction 1                                     →  A
//! transaction 3                                     →  C; B is lost
//! ```

use crate::ids::{ServerId, SessionId, Zxid};
use crate::tree::apply::TxnResult;
use crate::tree::error::ErrorCode;
use crate::tree::txn::TxnHeader;
use alloc::collections::VecDeque;

/// Bits of a number that count; above them the low byte of the server's id, and the bit that no client's xid has.
const COUNT_BITS: u32 = 23;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;
/// Numbers for each millisecond of the clock at start: a server that restarts begins above what it gave out before, unless that was
/// more, or the count has come round, which takes a minute; what is in flight by then does not last as long.
const PER_MS: u64 = 128;

/// What the transaction of a request will be known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Due {
    /// By its place: it was proposed here.
    At(Zxid),
    /// By the number that REQUEST carried.
    Numbered(i32),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Entry<W> {
    due: Due,
    session: SessionId,
    waiting: W,
}

/// Requests through this server whose transactions are awaited, in the order in which the leader gets them. `W` is who waits; it
/// stays here when its connection has ended, as its place tells what comes behind it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Answers<W> {
    entries: VecDeque<Entry<W>>,
    /// The bits of all numbers that do not count.
    mark: u32,
    count: u32,
}

impl<W> Answers<W> {
    /// Nobody waits. `clock_ms` should not go back over restarts of this server.
    #[must_use]
    pub fn new(server: ServerId, clock_ms: u64) -> Self {
        let server = (server.0 & 0xff) as u32;
        Self {
            entries: VecDeque::new(),
            mark: 1 << 31 | server << COUNT_BITS,
            count: (clock_ms.wrapping_mul(PER_MS) & u64::from(COUNT_MASK)) as u32,
        }
    }

    /// How many requests wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// This server leads: the request's proposal gets `zxid`.
    pub fn proposed(&mut self, session: SessionId, zxid: Zxid, waiting: W) {
        self.entries.push_back(Entry {
            due: Due::At(zxid),
            session,
            waiting,
        });
    }

    /// This server follows: the number that the request's REQUEST has to carry as its cxid.
    #[must_use = "the answer is known by this number only"]
    pub fn forwarded(&mut self, session: SessionId, waiting: W) -> i32 {
        let number = (self.mark | self.count).cast_signed();
        self.count = (self.count + 1) & COUNT_MASK;
        self.entries.push_back(Entry {
            due: Due::Numbered(number),
            session,
            waiting,
        });
        number
    }

    /// Who waits for the transaction with this header, in the order of the history; `None` if nobody here does. `lost` gets those
    /// before it: the leader has dropped their requests.
    pub fn take(&mut self, header: &TxnHeader, mut lost: impl FnMut(W)) -> Option<W> {
        let at = self.place(header)?;
        for _ in 0..at {
            if let Some(entry) = self.entries.pop_front() {
                lost(entry.waiting);
            }
        }
        self.entries.pop_front().map(|entry| entry.waiting)
    }

    fn place(&self, header: &TxnHeader) -> Option<usize> {
        let first = self.entries.front()?;
        let at = match first.due {
            // Places rise from one to the next. Of its proposals a leader loses none, so this ends at once.
            Due::At(_) => {
                let before = |e: &&Entry<W>| matches!(e.due, Due::At(at) if at < header.zxid);
                self.entries.iter().take_while(before).count()
            }
            // Numbers are given out one after the other: this says how far behind the first it is.
            Due::Numbered(first) => {
                let ahead = header.cxid.wrapping_sub(first).cast_unsigned() & COUNT_MASK;
                usize::try_from(ahead).ok()?
            }
        };
        let entry = self.entries.get(at)?;
        let is_it = match entry.due {
            Due::At(zxid) => zxid == header.zxid,
            Due::Numbered(number) => number == header.cxid && entry.session == header.session,
        };
        is_it.then_some(at)
    }

    /// The connection to the leader has ended, or this server's lead: no answer will be known any more. Those who wait come back,
    /// to be told. Numbers go on from where they are.
    pub fn end(&mut self) -> impl Iterator<Item = W> {
        self.entries.drain(..).map(|entry| entry.waiting)
    }
}

/// What a client hears when the transaction of its request is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// The answer to its connect request: whether its session has begun.
    Connected(bool),
    /// The result, an error code or what the operation gives back. The end of its session ends the connection behind it.
    Result {
        /// Whether the connection ends behind it.
        ends: bool,
    },
    /// Nothing, and its connection ends: the session is at another server by now, so the client reads another connection.
    Moved,
}

/// What the client hears that has asked for the operation with this code, by ZooKeeper's codes.
///
/// A client that asked for its session's end is not needed any more, whatever became of it. SessionMoved reaches no client, as in
/// ZooKeeper: whoever reads the old connection still would take it for the state of the new one.
#[must_use]
pub fn told(opcode: i32, result: &TxnResult<'_>) -> Told {
    const CREATE_SESSION: i32 = -10;
    const CLOSE_SESSION: i32 = -11;
    const MOVED: TxnResult<'_> = TxnResult::Error(ErrorCode::SessionMoved.code());
    if opcode == CREATE_SESSION {
        return Told::Connected(matches!(result, TxnResult::SessionCreated(_)));
    }
    if *result == MOVED {
        return Told::Moved;
    }
    Told::Result {
        ends: opcode == CLOSE_SESSION,
    }
}

#[cfg(test)]
mod tests;
