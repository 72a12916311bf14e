//! One client connection, as the core and whoever serves it share it.

use super::answered::Answered;
use super::digest_md5::Exchange;
use super::lock::lock;
use super::outstanding::{Counted, Outstanding};
use crate::edges::wake::Wake;
use crate::limits::{
    Budget, IDENTITIES_MAX, IDENTITY_BYTES_MAX, REQUESTS_WAITING_MAX, SMALL_BYTES,
    WAITING_BYTES_MAX,
};
use crate::wire::client::Request;
use bytes::BytesMut;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use zabra_model::ids::SessionId;
use zabra_model::service::order::ReplyOrder;
use zabra_model::tree::acl::Id;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnPhase {
    /// Its session is not confirmed yet.
    Connecting,
    /// Requests are taken.
    Open,
    /// It ends when what is to be sent is sent.
    Closing,
    /// It is over.
    Closed,
}

/// One client connection, as the core and whoever serves it share it.
pub struct Conn {
    /// Its number.
    pub id: u64,
    /// The client.
    pub from: SocketAddr,
    /// Whether it may read everything (`skipACL`).
    skips_acl: bool,
    /// It came with TLS.
    secure: AtomicBool,
    wake: Arc<dyn Wake>,
    state: Mutex<ConnState>,
    session: AtomicI64,
    timeout_ms: AtomicI32,
    /// One more than when the client was last heard, ms since the server's start; 0 if it was not since the last look.
    heard: AtomicU64,
    /// Requests that came.
    pub received: AtomicU64,
    /// Replies and events that went.
    pub sent: AtomicU64,
    /// When it began, ms since 1970.
    pub since_ms: u64,
}

/// No two connections of a process have one number.
impl PartialEq for Conn {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// A request that needs no leader and waits behind a write.
#[derive(PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The client's number for it.
    pub xid: i32,
    /// When it was read, ms since the server's start.
    pub read_ms: u64,
    /// What it asks for.
    pub request: Request,
}

/// What changes about a connection.
pub struct ConnState {
    /// To be sent.
    pub out: BytesMut,
    /// Requests that are not answered yet.
    pub order: ReplyOrder<u64, Waiting>,
    /// What it was answered last, and how quickly.
    pub answered: Answered,
    /// Who the client is.
    pub ids: Arc<[Id]>,
    /// How far SASL is.
    pub(super) sasl: Exchange,
    /// Whether something was wrong with it.
    pub(super) sasl_failed: bool,
    /// How far it is.
    pub phase: ConnPhase,
    /// Its session is known to this server alone.
    pub local: bool,
    /// What the answer to its connect request ends with, if that had such a byte: whether it may only read.
    pub read_only: Option<bool>,
    /// What is being sent, bytes.
    sending: usize,
    /// What the client may leave unread, bytes.
    unread_bytes_max: usize,
    /// What was counted of it among all that is unread, and among all that waits.
    counted: (usize, usize),
    /// What was counted of it among all that is outstanding.
    outstanding: Counted,
    /// Bytes of large requests that have been read and not been looked at.
    pub(super) large_ahead: usize,
    dirty: bool,
}

impl ConnState {
    /// Has the core ring for the connection at the end of its batch, once.
    pub fn mark_dirty(&mut self, conn: &Arc<Conn>, dirty: &mut Vec<Arc<Conn>>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(Arc::clone(conn));
        }
    }

    /// All of what was taken has been sent.
    pub(super) const fn was_sent(&mut self) {
        self.sending = 0;
    }

    /// Takes what is to be sent, leaving `empty` in its place. What was taken before has been sent.
    pub fn take_out(&mut self, empty: &mut BytesMut) {
        self.dirty = false;
        std::mem::swap(&mut self.out, empty);
        self.sending = empty.len();
    }

    /// What the client leaves unread, bytes.
    #[must_use]
    pub fn unread(&self) -> usize {
        match self.phase {
            ConnPhase::Closed => 0,
            ConnPhase::Connecting | ConnPhase::Open | ConnPhase::Closing => {
                self.out.len() + self.sending
            }
        }
    }

    /// Whether the client leaves too much unread.
    #[must_use]
    pub fn is_overfull(&self) -> bool {
        self.unread() > self.unread_bytes_max
    }

    /// Counts what it leaves unread among what all do; whether that is too much, and this one is not small.
    pub fn settle_unread(&mut self, unread: &Budget) -> bool {
        let now = self.unread();
        unread.settle(&mut self.counted.0, now)
    }

    /// Counts what it holds among what all hold: answers that are left unread, and requests that wait. Whether there is room for
    /// requests now that wait in line.
    pub fn settle(&mut self, unread: &Budget, waiting: &Budget, outstanding: &Outstanding) -> bool {
        self.settle_unread(unread);
        self.settle_waiting(waiting, outstanding)
    }

    /// The same, but for the answers.
    pub(super) fn settle_waiting(&mut self, waiting: &Budget, outstanding: &Outstanding) -> bool {
        let waits = self.order.bytes();
        waiting.settle(&mut self.counted.1, waits);
        self.settle_requests(outstanding)
    }

    /// Counts its requests among what is outstanding; whether there is room for those now that wait in line.
    pub(super) fn settle_requests(&mut self, outstanding: &Outstanding) -> bool {
        let now = Counted {
            requests: self.order.len(),
            large: self.order.large_bytes() + self.large_ahead,
        };
        outstanding.settle(&mut self.outstanding, now)
    }

    /// Whether its next request may be taken: not if too many wait, and not if all connections together have too many and this
    /// one has its part in it.
    #[must_use]
    pub fn may_take(&self, waiting: &Budget, outstanding: &Outstanding) -> bool {
        let (bytes, requests) = (self.order.bytes(), self.order.len());
        requests < REQUESTS_WAITING_MAX
            && bytes <= WAITING_BYTES_MAX
            && (bytes < SMALL_BYTES || !waiting.is_over())
            && outstanding.may_read_on(requests, self.outstanding)
    }

    /// Takes an identity, and what comes with it; false if there is no room. They travel with each write, and a packet has no room for
    /// more than these.
    pub(super) fn take_identities(&mut self, id: Id, also: Option<Id>) -> bool {
        let has_it = self.ids.contains(&id);
        if !has_it && !has_room(&self.ids, &id) {
            return false;
        }
        for id in also.into_iter().chain([id]) {
            if !self.ids.contains(&id) {
                self.ids = self.ids.iter().cloned().chain([id]).collect();
            }
        }
        true
    }

    /// Ends it now; what was to be sent is dropped.
    pub(super) fn end(&mut self) {
        self.phase = ConnPhase::Closed;
        self.out = BytesMut::new();
    }
}

/// Whether a connection may hold one more identity.
fn has_room(ids: &[Id], more: &Id) -> bool {
    let bytes = |id: &Id| id.scheme.len() + id.id.len();
    let held: usize = ids.iter().map(bytes).sum();
    ids.len() < IDENTITIES_MAX && held + bytes(more) <= IDENTITY_BYTES_MAX
}

impl Conn {
    pub(super) fn new(
        id: u64,
        from: SocketAddr,
        since_ms: u64,
        (unread_bytes_max, large_above): (usize, usize),
        skips_acl: bool,
        wake: Arc<dyn Wake>,
    ) -> Self {
        let ip = Id {
            scheme: "ip".into(),
            id: from.ip().to_string().into(),
        };
        Self {
            id,
            from,
            skips_acl,
            secure: AtomicBool::new(false),
            wake,
            state: Mutex::new(ConnState {
                out: BytesMut::new(),
                order: ReplyOrder::counting_large(large_above),
                answered: Answered::default(),
                ids: Arc::from([ip]),
                sasl: Exchange::default(),
                sasl_failed: false,
                phase: ConnPhase::Connecting,
                local: false,
                read_only: None,
                sending: 0,
                unread_bytes_max,
                counted: (0, 0),
                outstanding: Counted::default(),
                large_ahead: 0,
                dirty: false,
            }),
            session: AtomicI64::new(0),
            timeout_ms: AtomicI32::new(0),
            heard: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            since_ms,
        }
    }

    /// As whom it reads, with these identities: as the super user where ACLs are not looked at.
    pub(super) fn reads_as<'i>(&self, ids: &'i [Id]) -> Cow<'i, [Id]> {
        if !self.skips_acl {
            return Cow::Borrowed(ids);
        }
        let everybody = Id {
            scheme: "super".into(),
            id: "".into(),
        };
        Cow::Owned(ids.iter().cloned().chain([everybody]).collect())
    }

    /// What changes about it.
    pub fn state(&self) -> std::sync::MutexGuard<'_, ConnState> {
        lock(&self.state)
    }

    /// Whether it came with TLS.
    pub fn is_secure(&self) -> bool {
        self.secure.load(Ordering::Relaxed)
    }

    /// It has come with TLS.
    pub fn set_secure(&self) {
        self.secure.store(true, Ordering::Relaxed);
    }

    /// The client was heard at this time, ms since the server's start.
    pub fn hear(&self, elapsed_ms: u64) {
        self.heard.store(elapsed_ms + 1, Ordering::Relaxed);
    }

    /// When the client was last heard, if it was since the last look.
    pub fn take_heard(&self) -> Option<u64> {
        self.heard.swap(0, Ordering::Relaxed).checked_sub(1)
    }

    /// Its session; 0 before there is one.
    pub fn session(&self) -> SessionId {
        SessionId(self.session.load(Ordering::Acquire))
    }

    /// Its session's timeout, ms.
    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms.load(Ordering::Acquire)
    }

    /// Binds it to a session, before the leader is asked.
    pub fn bind(&self, session: SessionId, timeout_ms: i32) {
        self.session.store(session.0, Ordering::Release);
        self.timeout_ms.store(timeout_ms, Ordering::Release);
    }

    /// Ends it now; what was to be sent is dropped.
    pub fn close(&self) {
        self.state().end();
        self.wake_to_end();
    }

    /// Has whoever serves it look at its state.
    pub fn wake(&self) {
        self.wake.wake();
    }

    pub(super) fn wake_to_end(&self) {
        self.wake.end();
    }
}
