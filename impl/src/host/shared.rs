//! What the core shares with the connections: the tree, watches, sessions, and each connection's replies.
//!
//! Locks are taken in the order tree, connection, watches by readers, and tree, watches, connection by the core. Both
//! hold the tree's lock all the while, one for reading and one for writing, so the two orders never meet.

use super::{Map, lock};
use crate::config::Config;
use crate::net::limits::{
    Budget, LONG_READS_MAX, REQUESTS_WAITING_MAX, SMALL_BYTES, UNREAD_BYTES_MAX, WAITING_BYTES_MAX,
    budget_default,
};
use crate::wire::client::{EventType, Request, reply};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, Semaphore};
use tracing::warn;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::service::order::ReplyOrder;
use zabra_model::service::session::SessionIds;
use zabra_model::tree::acl::{Id, allows, perms};
use zabra_model::tree::event::{EventKind, Trigger};
use zabra_model::tree::node::Tree;
use zabra_model::tree::watch::Watches;

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// As what a server answers clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Not at all.
    NotServing,
    /// On its own.
    Standalone,
    /// With a leader.
    Follower,
    /// Follows a leader without a vote.
    Observer,
    /// As the leader.
    Leader,
}

/// Counts for operators.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "named as four-letter words print them")]
pub struct Stats {
    pub received: AtomicU64,
    pub sent: AtomicU64,
    pub latency_total_ms: AtomicU64,
    pub latency_count: AtomicU64,
    pub latency_max_ms: AtomicU64,
    /// One more than it is; 0 while there is none.
    pub latency_min_ms: AtomicU64,
    pub proposal_last: AtomicU64,
    pub proposal_max: AtomicU64,
    /// 0 while there is none.
    pub proposal_min: AtomicU64,
    pub rejected: AtomicU64,
    pub proposals: AtomicU64,
    pub commits: AtomicU64,
    pub snapshots: AtomicU64,
    pub elections: AtomicU64,
    pub outstanding: AtomicU64,
    /// How many operations wait for room on the disk.
    pub disk_full: AtomicU64,
    pub snapshots_failed: AtomicU64,
}

impl Stats {
    /// A write has been answered. The core only: nobody else writes these counts.
    pub fn latency(&self, took_ms: u64) {
        self.latency_total_ms.fetch_add(took_ms, Ordering::Relaxed);
        self.latency_count.fetch_add(1, Ordering::Relaxed);
        keep_bounds(&self.latency_min_ms, &self.latency_max_ms, took_ms, 1);
    }

    /// A proposal was made. The core only.
    pub fn proposal_size(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.proposal_last.store(bytes, Ordering::Relaxed);
        keep_bounds(&self.proposal_min, &self.proposal_max, bytes, 0);
    }
}

fn keep_bounds(min: &AtomicU64, max: &AtomicU64, value: u64, shift: u64) {
    if value > max.load(Ordering::Relaxed) {
        max.store(value, Ordering::Relaxed);
    }
    let least = min.load(Ordering::Relaxed);
    if least == 0 || value + shift < least {
        min.store(value + shift, Ordering::Relaxed);
    }
}

/// All that the tasks of a server share.
pub struct Shared {
    /// The configuration.
    pub config: Config,
    tree: RwLock<Tree>,
    /// Watches and connections.
    pub hub: Mutex<Hub>,
    /// The connection of each session that is attached here.
    pub sessions: Mutex<Map<SessionId, Arc<Conn>>>,
    /// Gives out session ids.
    pub ids: Mutex<SessionIds>,
    mode: AtomicU8,
    next_conn: AtomicU64,
    /// Who may answer a long read, away from the tree: each takes a processor for a while.
    pub long_reads: Arc<Semaphore>,
    /// Answers that clients leave unread.
    pub unread: Budget,
    /// Requests that wait for their answers.
    pub waiting: Budget,
    /// Counts for operators.
    pub stats: Stats,
    /// When the server started.
    pub started: Instant,
}

impl Shared {
    /// Everything as it is at start, with the recovered tree.
    #[must_use]
    pub fn new(config: Config, tree: Tree) -> Arc<Self> {
        Arc::new(Self {
            ids: Mutex::new(SessionIds::new(config.me, now_ms())),
            unread: Budget::new(config.unread_bytes_max.unwrap_or_else(budget_default)),
            waiting: Budget::new(config.waiting_bytes_max.unwrap_or_else(budget_default)),
            config,
            tree: RwLock::new(tree),
            hub: Mutex::default(),
            sessions: Mutex::default(),
            mode: AtomicU8::new(0),
            next_conn: AtomicU64::new(1),
            long_reads: Arc::new(Semaphore::new(LONG_READS_MAX)),
            stats: Stats::default(),
            started: Instant::now(),
        })
    }

    /// The tree, to be read.
    pub fn tree(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tree, to be changed: the core only.
    pub fn tree_mut(&self) -> RwLockWriteGuard<'_, Tree> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// As what the server answers clients now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            1 => Mode::Standalone,
            2 => Mode::Follower,
            3 => Mode::Leader,
            4 => Mode::Observer,
            _ => Mode::NotServing,
        }
    }

    /// Sets it: the core only.
    pub fn set_mode(&self, mode: Mode) {
        let code = match mode {
            Mode::NotServing => 0,
            Mode::Standalone => 1,
            Mode::Follower => 2,
            Mode::Leader => 3,
            Mode::Observer => 4,
        };
        self.mode.store(code, Ordering::Release);
    }

    /// Milliseconds since the server's start: what sessions live by.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A new connection, known to the hub.
    pub fn connect(&self, from: SocketAddr) -> Arc<Conn> {
        let conn = Arc::new(Conn::new(
            self.next_conn.fetch_add(1, Ordering::Relaxed),
            from,
        ));
        lock(&self.hub).conns.insert(conn.id, Arc::clone(&conn));
        conn
    }

    /// Forgets a connection, its watches, and that its session is attached here.
    pub fn disconnect(&self, conn: &Arc<Conn>) {
        {
            let mut state = conn.state();
            state.end();
            state.order = ReplyOrder::new();
            state.settle(self);
        }
        let mut hub = lock(&self.hub);
        hub.conns.remove(&conn.id);
        hub.watches.remove_watcher(conn.id);
        drop(hub);
        let mut sessions = lock(&self.sessions);
        if sessions
            .get(&conn.session())
            .is_some_and(|c| c.id == conn.id)
        {
            sessions.remove(&conn.session());
        }
    }
}

impl Shared {
    /// Ends the connections that leave most unread, until all of them together keep the bound.
    pub fn relieve(&self) {
        if self.unread.is_over() {
            lock(&self.hub).relieve(&self.unread);
        }
    }
}

/// Watches, and the connections that hear of them.
#[derive(Default)]
pub struct Hub {
    /// Who watches what.
    pub watches: Watches,
    /// All connections by number, which is also their number as watchers.
    pub conns: Map<u64, Arc<Conn>>,
}

impl Hub {
    /// Ends the connections that leave most unread, until all of them together keep the bound. Nobody else is stopped for them.
    pub fn relieve(&self, unread: &Budget) {
        while unread.is_over() {
            let debts = self
                .conns
                .values()
                .map(|conn| (conn.state().unread(), conn));
            let Some((debt, conn)) = debts.max_by_key(|(debt, _)| *debt) else {
                return;
            };
            if debt < SMALL_BYTES {
                return; // so many owe a little that it is too much: they are bounded by their number
            }
            let mut state = conn.state();
            state.end();
            state.settle_unread(unread);
            drop(state);
            conn.wake_to_end();
            warn!(from = %conn.from, session = %conn.session(), unread = debt,
                "clients leave too much unread in all (zabra.unreadBytesMax); the one with most of it is closed");
        }
    }

    /// Tells the watchers of a change; `dirty` gets the connections that now have something to send.
    pub fn fire(
        &mut self,
        trigger: &Trigger<'_>,
        zxid: Zxid,
        unread: &Budget,
        dirty: &mut Vec<Arc<Conn>>,
    ) {
        let Self { watches, conns } = self;
        watches.fire(trigger, |watcher| {
            let Some(conn) = conns.get(&watcher) else {
                return;
            };
            let mut state = conn.state();
            if state.phase == Phase::Closed || !allows(trigger.acl, perms::READ, &state.ids) {
                return;
            }
            reply::put_event(zxid, event_type(trigger.kind), trigger.path, &mut state.out);
            state.settle_unread(unread);
            conn.sent.fetch_add(1, Ordering::Relaxed);
            state.mark_dirty(conn, dirty);
        });
    }
}

/// The wire's name of a kind of event.
#[must_use]
pub const fn event_type(kind: EventKind) -> EventType {
    match kind {
        EventKind::NodeCreated => EventType::NodeCreated,
        EventKind::NodeDeleted => EventType::NodeDeleted,
        EventKind::NodeDataChanged => EventType::NodeDataChanged,
        EventKind::NodeChildrenChanged => EventType::NodeChildrenChanged,
    }
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Its session is not confirmed yet.
    Connecting,
    /// Requests are taken.
    Open,
    /// It ends when what is to be sent is sent.
    Closing,
    /// It is over.
    Closed,
}

/// One client connection, as the core and its task share it.
pub struct Conn {
    /// Its number.
    pub id: u64,
    /// The client.
    pub from: SocketAddr,
    /// Wakes its task.
    pub wake: Notify,
    /// Wakes its task out of a write that is stuck.
    ended: Notify,
    state: Mutex<ConnState>,
    session: AtomicI64,
    timeout_ms: AtomicI32,
    /// One more than when the client was last heard, ms since the server's start; 0 if it was not since the last look.
    heard: AtomicU64,
    /// Requests that came.
    pub received: AtomicU64,
    /// Replies and events that went.
    pub sent: AtomicU64,
    /// When it began.
    pub since_ms: u64,
}

/// What changes about a connection.
pub struct ConnState {
    /// To be sent.
    pub out: BytesMut,
    /// Requests that are not answered yet.
    pub order: ReplyOrder<u64, (i32, Request)>,
    /// Who the client is.
    pub ids: Arc<[Id]>,
    /// How far it is.
    pub phase: Phase,
    /// The byte at the end of the connect request, if it had one.
    pub read_only: Option<bool>,
    /// What its task is sending, bytes.
    sending: usize,
    /// What was counted of it among all that is unread, and among all that waits.
    counted: (usize, usize),
    dirty: bool,
}

impl ConnState {
    /// Has the core wake the connection's task at the end of its batch, once.
    pub fn mark_dirty(&mut self, conn: &Arc<Conn>, dirty: &mut Vec<Arc<Conn>>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(Arc::clone(conn));
        }
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
            Phase::Closed => 0,
            Phase::Connecting | Phase::Open | Phase::Closing => self.out.len() + self.sending,
        }
    }

    /// Whether the client leaves too much unread.
    #[must_use]
    pub fn is_overfull(&self) -> bool {
        self.unread() > UNREAD_BYTES_MAX
    }

    /// Counts what it leaves unread among what all do; whether that is too much, and this one is not small.
    pub fn settle_unread(&mut self, unread: &Budget) -> bool {
        let now = self.unread();
        unread.settle(&mut self.counted.0, now)
    }

    /// Counts what it holds among what all hold.
    pub fn settle(&mut self, shared: &Shared) {
        self.settle_unread(&shared.unread);
        let waits = self.order.bytes();
        shared.waiting.settle(&mut self.counted.1, waits);
    }

    /// Whether its next request may be taken: not if too many wait, and not if all connections together have too many and this
    /// one has its part in it.
    #[must_use]
    pub fn may_take(&self, waiting: &Budget) -> bool {
        let bytes = self.order.bytes();
        self.order.len() < REQUESTS_WAITING_MAX
            && bytes <= WAITING_BYTES_MAX
            && (bytes < SMALL_BYTES || !waiting.is_over())
    }

    /// Ends it now; what was to be sent is dropped.
    fn end(&mut self) {
        self.phase = Phase::Closed;
        self.out = BytesMut::new();
    }
}

impl Conn {
    fn new(id: u64, from: SocketAddr) -> Self {
        let ip = Id {
            scheme: "ip".into(),
            id: from.ip().to_string().into(),
        };
        Self {
            id,
            from,
            wake: Notify::new(),
            ended: Notify::new(),
            state: Mutex::new(ConnState {
                out: BytesMut::new(),
                order: ReplyOrder::new(),
                ids: Arc::from([ip]),
                phase: Phase::Connecting,
                read_only: None,
                sending: 0,
                counted: (0, 0),
                dirty: false,
            }),
            session: AtomicI64::new(0),
            timeout_ms: AtomicI32::new(0),
            heard: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            since_ms: now_ms(),
        }
    }

    /// What changes about it.
    pub fn state(&self) -> std::sync::MutexGuard<'_, ConnState> {
        lock(&self.state)
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

    fn wake_to_end(&self) {
        self.wake.notify_one();
        self.ended.notify_one();
    }

    /// Waits until it may have been closed.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }
}
