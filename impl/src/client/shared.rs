//! What the core shares with the connections: the tree, watches, sessions, and each connection's replies.
//!
//! Locks are taken in the order tree, connection, watches by readers, and tree, watches, connection by the core. Both
//! hold the tree's lock all the while, one for reading and one for writing, so the two orders never meet.

use super::conn::Conn;
use super::door::Door;
use super::hub::{Hub, relieve};
use super::line::Line;
use super::lock::lock;
use super::long_reads::LongReads;
use super::outstanding::Outstanding;
use super::stats::Stats;
use crate::codes::Code;
use crate::config::Config;
use crate::edges::clock::Clock;
use crate::edges::wake::Wake;
use crate::limits::{BUDGET_BYTES_MIN, Budget, LONG_READS_MAX, Seldom, UNREAD_BYTES_MAX};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tracing::warn;
use zabra_model::ids::{ServerId, SessionId, Zxid};
use zabra_model::service::attach::Attached;
use zabra_model::service::members::{Lists, Member, Members};
use zabra_model::service::order::ReplyOrder;
use zabra_model::service::session::SessionIds;
use zabra_model::tree::node::Tree;

pub use zabra_model::service::mode::Mode;

/// What the host draws at random at its start, and tells nobody: whoever knew it could foresee what clients are challenged with.
#[derive(Clone)]
pub struct Secret(pub [u8; 32]);

/// All that the core and the connections of a server share.
pub struct Shared {
    /// The configuration. Its members are those of the start: see [`Shared::lists`].
    pub config: Config,
    lists: RwLock<Arc<Lists>>,
    /// A newer list that a member has told of: it binds nobody, and says where its members are.
    heard: Mutex<Option<Members>>,
    /// One that a member has told of as not yet committed: where a candidate of an election is that may get its vote by it.
    named: Mutex<Option<Members>>,
    tree: RwLock<Tree>,
    /// Watches and connections.
    pub hub: Mutex<Hub>,
    /// The connection of each session that is attached here.
    pub sessions: Mutex<Attached<Arc<Conn>>>,
    /// Local sessions that their clients have ended, for the core to forget.
    ended_local: Mutex<Vec<SessionId>>,
    /// Gives out session ids.
    pub ids: Mutex<SessionIds>,
    mode: AtomicU8,
    next_conn: AtomicU64,
    /// Who may answer a long read.
    pub long_reads: LongReads,
    /// Requests that are not answered, where a key bounds their number.
    pub outstanding: Outstanding,
    /// Whose request waits for others to be answered.
    pub line: Line,
    /// How fast clients are let in.
    pub door: Door,
    /// Answers that clients leave unread.
    pub unread: Budget,
    /// Requests that wait for their answers.
    pub waiting: Budget,
    /// What watches may hold, bytes.
    pub(super) watch_bytes_max: usize,
    /// What has come of requests beyond the default of `jute.maxbuffer`, and nobody has taken.
    pub arriving: Budget,
    /// When it was last said that a client has seen more than this server.
    pub(super) seen_more: Mutex<Seldom>,
    /// When it was last said that a client has not authenticated by SASL.
    pub(super) sasl_failed: Mutex<Seldom>,
    /// When it was last said that a client means another ensemble.
    pub(super) elsewhere: Mutex<Seldom>,
    /// When it was last said that a request was slow.
    pub(super) slow_request: Mutex<Seldom>,
    secret: Secret,
    /// When it was last said that clients come too fast.
    pub(super) too_fast: Mutex<Seldom>,
    /// Counts for operators.
    pub stats: Stats,
    clock: Arc<dyn Clock>,
}

impl Shared {
    /// Everything as it is at start. Bounds that the configuration does not name are as small as they ever are: whoever knows
    /// the machine fills them in before.
    #[must_use]
    pub fn new(config: Config, tree: Tree, clock: Arc<dyn Clock>, secret: Secret) -> Arc<Self> {
        let unread = config.unread_bytes_max.unwrap_or(BUDGET_BYTES_MIN);
        let waiting = config.waiting_bytes_max.unwrap_or(BUDGET_BYTES_MIN);
        Arc::new(Self {
            ids: Mutex::new(SessionIds::new(config.me, clock.date_ms())),
            unread: Budget::new(config.beside_large(unread)),
            waiting: Budget::new(waiting),
            arriving: Budget::new(waiting),
            watch_bytes_max: config.watch_bytes_max.unwrap_or(BUDGET_BYTES_MIN),
            outstanding: Outstanding::new(config.throttle),
            line: Line::default(),
            door: Door::new(config.throttle.tokens, clock.elapsed_ms(), clock.date_ms()),
            lists: RwLock::new(Arc::new(config.lists())),
            heard: Mutex::default(),
            named: Mutex::default(),
            config,
            tree: RwLock::new(tree),
            hub: Mutex::default(),
            sessions: Mutex::default(),
            ended_local: Mutex::default(),
            mode: AtomicU8::new(0),
            next_conn: AtomicU64::new(1),
            long_reads: LongReads::new(LONG_READS_MAX),
            seen_more: Mutex::default(),
            sasl_failed: Mutex::default(),
            elsewhere: Mutex::default(),
            slow_request: Mutex::default(),
            secret,
            too_fast: Mutex::default(),
            stats: Stats::default(),
            clock,
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

    /// The lists of members that bind this server.
    pub fn lists(&self) -> Arc<Lists> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&lists)
    }

    /// Sets them: the core only.
    pub fn set_lists(&self, lists: Arc<Lists>) {
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    /// A member has told of this list; whether it is news.
    pub fn hear_of(&self, members: &Members) -> bool {
        let known = self.lists().newest().version;
        let mut heard = lock(&self.heard);
        let newest = heard
            .as_ref()
            .map_or(known, |heard| heard.version.max(known));
        let is_news = members.version > newest;
        if is_news {
            *heard = Some(members.clone());
        }
        is_news
    }

    /// The newest version of a list that a member has told of as its active one.
    pub fn told_version(&self) -> Zxid {
        let heard = lock(&self.heard);
        heard.as_ref().map_or(Zxid::ZERO, |heard| heard.version)
    }

    /// A member has told of this list as one that is in its log and may still be dropped; whether it names somebody who is not known.
    pub fn hear_of_next(&self, members: &Members) -> bool {
        let is_news = members.list.keys().any(|sid| self.member(*sid).is_none());
        if is_news {
            *lock(&self.named) = Some(members.clone());
        }
        is_news
    }

    /// Where a server is, by the lists that bind this one, or else by one that it has heard of.
    pub fn member(&self, sid: ServerId) -> Option<Member> {
        let known = self.lists().member(sid).cloned();
        let of = |list: &Mutex<Option<Members>>| lock(list).as_ref()?.list.get(&sid).cloned();
        known
            .or_else(|| of(&self.heard))
            .or_else(|| of(&self.named))
    }

    /// As what the server answers clients now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            1 => Mode::Standalone,
            2 => Mode::Follower,
            3 => Mode::Leader,
            4 => Mode::Observer,
            5 => Mode::ReadOnly,
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
            Mode::ReadOnly => 5,
        };
        self.mode.store(code, Ordering::Release);
    }

    /// Milliseconds since the server's start: what sessions live by.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.clock.elapsed_ms()
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn date_ms(&self) -> u64 {
        self.clock.date_ms()
    }

    /// A word that this connection alone gets, and nobody can foresee.
    pub(super) fn nonce(&self, conn: u64) -> Box<str> {
        let mut hash = Sha256::new();
        hash.update(self.secret.0);
        hash.update(conn.to_be_bytes());
        format!("{:x}", hash.finalize()).into()
    }

    /// A new connection, known to the hub. `wake` reaches whoever serves it.
    pub fn connect(&self, from: SocketAddr, wake: Arc<dyn Wake>) -> Arc<Conn> {
        let id = self.next_conn.fetch_add(1, Ordering::Relaxed);
        let unread_bytes_max = self.config.beside_large(UNREAD_BYTES_MAX);
        let bounds = (unread_bytes_max, self.outstanding.large_above());
        let skips_acl = self.config.access.skips_acl;
        let conn = Arc::new(Conn::new(id, from, self.date_ms(), bounds, skips_acl, wake));
        lock(&self.hub).conns.insert(conn.id, Arc::clone(&conn));
        conn
    }

    /// A client has ended its local session. It is told so behind this, so whoever comes with the session then comes too late.
    pub fn end_local(&self, session: SessionId) {
        lock(&self.ended_local).push(session);
    }

    /// The local sessions that have been ended since the last time.
    pub fn take_ended_local(&self) -> Vec<SessionId> {
        std::mem::take(&mut *lock(&self.ended_local))
    }

    /// Forgets a connection, its watches, and that its session is attached here.
    pub fn disconnect(&self, conn: &Arc<Conn>) {
        {
            let mut state = conn.state();
            state.end();
            state.order = ReplyOrder::new();
            state.large_ahead = 0;
            state.settle(&self.unread, &self.waiting, &self.outstanding);
        }
        self.long_reads.forget(conn);
        if self.outstanding.has_line() {
            self.line.wake(&self.outstanding);
        }
        let mut hub = lock(&self.hub);
        hub.conns.remove(&conn.id);
        hub.watches.remove_watcher(conn.id);
        drop(hub);
        lock(&self.sessions).detach(conn.session(), conn);
    }

    /// Ends the connections that leave most unread, until all of them together keep the bound.
    pub fn relieve(&self) {
        if self.unread.is_over() {
            let conns: Vec<_> = lock(&self.hub).conns.values().cloned().collect();
            relieve(conns.iter(), &self.unread);
        }
    }

    /// Ends the connections whose watches hold most, until all of them together keep the bound.
    pub(super) fn relieve_watches(&self) {
        loop {
            let greediest = lock(&self.hub).take_greediest(self.watch_bytes_max);
            let Some((conn, bytes)) = greediest else {
                return;
            };
            warn!(code = %Code::WatchesTooMuch, from = %conn.from, session = %conn.session(), bytes,
                "watches of clients hold too much in all (zabra.watchBytesMax); the client with most of it is closed");
            conn.close();
        }
    }
}
