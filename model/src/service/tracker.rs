//! The lives of sessions, as the leader decides them: when they expire, whose they are, and what may still be asked for them.
//!
//! Expiry is on a grid of one tick, as ZooKeeper's is: a session dies between its timeout and its timeout plus a tick after it was
//! last heard of. A touch only writes the new deadline down; the session moves to its new bucket when the old one comes due.
//!
//! A hundred thousand sessions may come due together, when a network breaks. They are over at that moment, all of them: touches and
//! writes are refused from then on, as ZooKeeper refuses them. Their closeSessions are handed out at a pace: no more than
//! [`EXPIRING_MAX`] are under way at once, and the next follow as those are applied. Between them come pings and other clients'
//! writes, and the pace is that of the slowest part. The oldest deadline goes first, so nobody waits for those that come due later.
//!
//! Nobody loses a session for what is no silence of its client: not for an election (each gets its full timeout from a new leader), not for
//! a stall of the leader's process (each gets it anew), not while clients are held up and therefore not read ([`word_of`]), and not
//! while the end of a session could not be logged.
//!
//! **How the host calls it.** [`SessionTracker::begin`] when it begins to lead, with the sessions of the tree, behind everything that is delivered; after the step that
//! says so, [`SessionTracker::track_lost`] for each owner of ephemeral nodes without a session ([`lost`]), and the due closeSessions are proposed.
//! For each request that it proposes, its own and its learners': [`SessionTracker::admit`] (of its own clients, [`SessionTracker::standing`] before). For each
//! client that goes on with its session: [`SessionTracker::revalidate`]. For each transaction that is applied: [`SessionTracker::on_applied`]. At
//! [`SessionTracker::next_look_ms`]: [`SessionTracker::look`], then [`SessionTracker::hear`] for each session that is attached here. A learner's word in its PING is
//! [`SessionTracker::touch`], and what it reports there are the sessions of which [`word_of`] knows something. Then, and in each turn while
//! [`SessionTracker::has_due`]: [`SessionTracker::take_due`], and the closeSession of each is proposed.

use super::room::Room;
use crate::ids::{ServerId, SessionId};
use crate::tree::error::ErrorCode;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Expired sessions whose closeSession is proposed and not applied yet: a write that comes behind them waits for so many.
pub const EXPIRING_MAX: usize = 256;
/// Entries of due buckets that one call of [`SessionTracker::expire`] looks at, those of sessions that live on included.
const LOOKED_AT_MAX: usize = 4096;

/// When the client of a session that is attached here counts as heard, ms: since the last look it was heard at `heard_ms`, or not. While
/// clients are held up nobody reads what they say, so they count as heard now.
#[must_use]
pub const fn word_of(heard_ms: Option<u64>, held_up: bool, now_ms: u64) -> Option<u64> {
    if held_up { Some(now_ms) } else { heard_ms }
}

/// Of the owners of ephemeral nodes, those whose session is gone: a leader's tree has them where an earlier leader had ended a
/// session and the end did not become part of the history as a whole.
pub fn lost(
    owners: impl Iterator<Item = SessionId>,
    is_session: impl Fn(SessionId) -> bool,
) -> impl Iterator<Item = SessionId> {
    owners.filter(move |owner| !is_session(*owner))
}

/// What a request means to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// createSession: it begins, with this timeout.
    Begin {
        /// ms.
        timeout_ms: i32,
    },
    /// closeSession: it ends.
    End,
    /// Anything else: it has to live.
    Other,
}

/// What an applied transaction means to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// createSession.
    Begun {
        /// ms.
        timeout_ms: i32,
    },
    /// closeSession.
    Ended,
    /// Any other.
    Other,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Session {
    timeout_ms: i32,
    /// On the grid, ms.
    deadline: u64,
    /// The one bucket whose entry for this session counts. Never later than the deadline.
    bucket: u64,
    owner: Option<ServerId>,
    closing: bool,
    /// It was closed by [`SessionTracker::expire`]: it counts for the pace.
    expiring: bool,
}

impl Session {
    /// Whether nothing can keep it any more: its closeSession is on the way, or will be when its turn comes.
    const fn is_over(&self, expired_upto: u64) -> bool {
        self.closing || self.deadline <= expired_upto
    }
}

/// What the leader knows of the session of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The request is taken.
    Lives,
    /// Its closeSession is on the way: the request is dropped without an answer, the connection ends when that is applied.
    Ends,
    /// There is none: the request is dropped, and nothing will end the connection but the server.
    Unknown,
}

/// The leader's view of all sessions.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionTracker {
    tick_ms: u64,
    sessions: HashMap<SessionId, Session, FixedState>,
    buckets: BTreeMap<u64, VecDeque<SessionId>>,
    /// Sessions whose deadlines are up to this are over.
    expired_upto: u64,
    /// How many sessions are marked so.
    expiring: usize,
    /// When the leader last looked for sessions that are over.
    looked_ms: u64,
}

impl Hash for SessionTracker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut sessions: Vec<_> = self.sessions.iter().collect();
        sessions.sort_unstable_by_key(|(session, _)| **session);
        let Self {
            tick_ms,
            sessions: _,
            buckets,
            expired_upto,
            expiring,
            looked_ms,
        } = self;
        (
            tick_ms,
            sessions,
            buckets,
            expired_upto,
            expiring,
            looked_ms,
        )
            .hash(state);
    }
}

impl SessionTracker {
    /// No sessions. `tick_ms` is the grid of expiry; 0 counts as 1.
    #[must_use]
    pub fn new(tick_ms: u64) -> Self {
        Self {
            tick_ms: tick_ms.max(1),
            sessions: HashMap::default(),
            buckets: BTreeMap::new(),
            expired_upto: 0,
            expiring: 0,
            looked_ms: 0,
        }
    }

    /// A new leader's: each session that its tree knows lives on for its full timeout, whoever it is attached to. Nobody owns any yet, because
    /// it does not know where clients are by now.
    #[must_use]
    pub fn begin(tick_ms: u64, now_ms: u64, known: impl Iterator<Item = (SessionId, i32)>) -> Self {
        let mut tracker = Self {
            looked_ms: now_ms,
            ..Self::new(tick_ms)
        };
        for (session, timeout_ms) in known {
            tracker.track(session, timeout_ms, now_ms);
        }
        tracker
    }

    /// A request of a client at `owner` is about to become a transaction: what its session says to that. A session that begins is
    /// `owner`'s; one that ends takes nothing more.
    ///
    /// # Errors
    /// As [`SessionTracker::check`]; the transaction is that error then.
    pub fn admit(
        &mut self,
        session: SessionId,
        asks: Asks,
        owner: ServerId,
        now_ms: u64,
    ) -> Result<(), ErrorCode> {
        match asks {
            Asks::Begin { timeout_ms } => {
                self.track(session, timeout_ms, now_ms);
                self.set_owner(session, owner);
                Ok(())
            }
            // Of a session that has moved, too: whoever knows its password may end it.
            Asks::End => {
                self.set_closing(session);
                Ok(())
            }
            Asks::Other => self.check(session, owner),
        }
    }

    /// May a session go on at `owner`? Then it is `owner`'s from now on, and lives for its full timeout, which may be another one.
    pub fn revalidate(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        owner: ServerId,
        now_ms: u64,
    ) -> bool {
        let valid = self.timeout_ms(session).is_some();
        if valid {
            self.track(session, timeout_ms, now_ms);
            self.set_owner(session, owner);
        }
        valid
    }

    /// A transaction was applied. A leader tracks each session that it has in its tree, also one that it has not admitted itself.
    pub fn on_applied(&mut self, session: SessionId, applied: Applied, leads: bool, now_ms: u64) {
        match applied {
            Applied::Begun { timeout_ms } if leads && !self.sessions.contains_key(&session) => {
                self.track(session, timeout_ms, now_ms);
            }
            Applied::Begun { .. } | Applied::Other => {}
            Applied::Ended => self.remove(session),
        }
    }

    /// The leader looks for sessions that are over. If it could not for more than two ticks, its own process stood still, and what clients said
    /// meanwhile is yet to be read: all get their full timeouts again. Returns for how long, then.
    pub fn look(&mut self, now_ms: u64) -> Option<u64> {
        let silent_ms = now_ms.saturating_sub(self.looked_ms);
        self.looked_ms = self.looked_ms.max(now_ms);
        let stalled = silent_ms > self.tick_ms.saturating_mul(2);
        if stalled {
            self.restart(now_ms);
        }
        stalled.then_some(silent_ms)
    }

    /// What is known of the client of a session that is attached to the leader, as [`word_of`] says.
    pub fn hear(&mut self, session: SessionId, heard_ms: Option<u64>, held_up: bool) {
        if let Some(heard_ms) = word_of(heard_ms, held_up, self.looked_ms) {
            self.touch(session, heard_ms);
        }
    }

    /// Whether [`SessionTracker::take_due`] would find something to do: somebody was due at the last look, the pace allows it, and there is
    /// room to log it.
    #[must_use]
    pub fn has_due(&self, room: Room) -> bool {
        room.may_log() && self.may_expire(self.looked_ms)
    }

    /// Sessions that were over at the last look, as many as the pace allows: their closeSession is to be proposed. Without room on the disk
    /// nobody's: a session ends when its end can be logged.
    #[must_use = "each is marked as closing: its closeSession must be proposed"]
    pub fn take_due(&mut self, room: Room) -> Vec<SessionId> {
        if room.may_log() {
            self.expire(self.looked_ms)
        } else {
            Vec::new()
        }
    }

    /// After a stall of the leader's own process: every session that is not over lives on for its full timeout.
    pub fn restart(&mut self, now_ms: u64) {
        let all: Vec<_> = self.sessions.keys().copied().collect();
        for session in all {
            self.touch(session, now_ms);
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Tracks a session with a full timeout from now: it was created, or was found in the tree, or was attached with another
    /// timeout. Its owner, if it had one, stays. One that is over stays over.
    pub fn track(&mut self, session: SessionId, timeout_ms: i32, now_ms: u64) {
        let known = self.sessions.entry(session).or_insert(Session {
            timeout_ms,
            deadline: u64::MAX, // it is not over; the true one follows
            bucket: u64::MAX,
            owner: None,
            closing: false,
            expiring: false,
        });
        if !known.is_over(self.expired_upto) {
            known.timeout_ms = timeout_ms;
            let deadline = self.deadline_of(timeout_ms, now_ms);
            self.set_deadline(session, deadline);
        }
    }

    /// A session of which only its ephemeral nodes are left: it is over, and is closed when its turn comes.
    pub fn track_lost(&mut self, session: SessionId) {
        let lost = Session {
            timeout_ms: 0,
            deadline: 0,
            bucket: 0,
            owner: None,
            closing: false,
            expiring: false,
        };
        if let hashbrown::hash_map::Entry::Vacant(free) = self.sessions.entry(session) {
            free.insert(lost);
            self.buckets.entry(0).or_default().push_back(session);
        }
    }

    /// The session was heard of at `heard_ms`: it lives on for its timeout from then. False if it is unknown or over. Word of it may
    /// come late, and an older word takes nothing away.
    pub fn touch(&mut self, session: SessionId, heard_ms: u64) -> bool {
        let upto = self.expired_upto;
        let known = self.sessions.get(&session);
        let Some(known) = known.filter(|s| !s.is_over(upto)) else {
            return false;
        };
        let deadline = self.deadline_of(known.timeout_ms, heard_ms);
        self.set_deadline(session, deadline.max(known.deadline));
        true
    }

    fn deadline_of(&self, timeout_ms: i32, heard_ms: u64) -> u64 {
        let due = heard_ms.saturating_add(u64::try_from(timeout_ms).unwrap_or(0));
        (due / self.tick_ms)
            .saturating_add(1)
            .saturating_mul(self.tick_ms)
    }

    fn set_deadline(&mut self, session: SessionId, deadline: u64) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.deadline = deadline;
            if deadline < known.bucket {
                known.bucket = deadline;
                self.buckets.entry(deadline).or_default().push_back(session);
            }
        }
    }

    /// The timeout of a session that is not over, ms.
    #[must_use]
    pub fn timeout_ms(&self, session: SessionId) -> Option<i32> {
        self.sessions
            .get(&session)
            .filter(|s| !s.is_over(self.expired_upto))
            .map(|s| s.timeout_ms)
    }

    /// What the leader's own clients get for a request: it is taken only while the session lives.
    ///
    /// Source: ZooKeeper `ZooKeeperServer.touch`, for which a request of a session that is over is as good as never sent.
    #[must_use]
    pub fn standing(&self, session: SessionId) -> Standing {
        match self.sessions.get(&session) {
            Some(s) if !s.closing => Standing::Lives,
            Some(_) => Standing::Ends,
            None => Standing::Unknown,
        }
    }

    /// The client attached to `server`: what still comes from elsewhere has been overtaken.
    pub fn set_owner(&mut self, session: SessionId, server: ServerId) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.owner = Some(server);
        }
    }

    /// At which server the client is, as far as the leader knows.
    #[must_use]
    pub fn owner(&self, session: SessionId) -> Option<ServerId> {
        self.sessions.get(&session)?.owner
    }

    /// Whether a write of `session` that came through `server` may go on. The first server that asks becomes the owner.
    ///
    /// Errors: `SessionExpired` if it is unknown or over; `SessionMoved` if another server owns it.
    pub fn check(&mut self, session: SessionId, server: ServerId) -> Result<(), ErrorCode> {
        let upto = self.expired_upto;
        let known = self
            .sessions
            .get_mut(&session)
            .filter(|s| !s.is_over(upto))
            .ok_or(ErrorCode::SessionExpired)?;
        if *known.owner.get_or_insert(server) == server {
            Ok(())
        } else {
            Err(ErrorCode::SessionMoved)
        }
    }

    /// Its closeSession is on the way: writes that follow are refused, and it does not expire again.
    pub fn set_closing(&mut self, session: SessionId) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.closing = true;
        }
    }

    /// Its closeSession was applied.
    pub fn remove(&mut self, session: SessionId) {
        if self.sessions.remove(&session).is_some_and(|s| s.expiring) {
            self.expiring -= 1;
        }
    }

    /// The deadline of the session that is due next, ms; it may have moved on.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.buckets.keys().next().copied()
    }

    /// When to look next for sessions that are over, ms: at the next deadline, so that a session dies no more than a tick after its
    /// timeout, and twice a tick in any case, to hear of those that live on.
    #[must_use]
    pub fn next_look_ms(&self, now_ms: u64) -> u64 {
        let half_a_tick = now_ms.saturating_add((self.tick_ms / 2).max(1));
        match self.next_deadline() {
            Some(due) if due > now_ms => due.min(half_a_tick),
            Some(_) | None => half_a_tick,
        }
    }

    /// Whether [`SessionTracker::expire`] would find something to do at this time: somebody is due, and the pace allows it.
    #[must_use]
    pub fn may_expire(&self, now_ms: u64) -> bool {
        self.expiring < EXPIRING_MAX && self.next_deadline().is_some_and(|due| due <= now_ms)
    }

    /// All sessions whose deadline is not after `now_ms` are over. The first of them, as many as the pace allows, are marked as
    /// closing and handed out; the caller proposes their closeSession, and asks again when some of these were applied.
    pub fn expire(&mut self, now_ms: u64) -> Vec<SessionId> {
        self.expired_upto = self.expired_upto.max(now_ms);
        let mut expired = Vec::new();
        for _ in 0..LOOKED_AT_MAX {
            let first = self.buckets.first_entry().filter(|b| *b.key() <= now_ms);
            let Some(mut bucket) = first.filter(|_| self.expiring < EXPIRING_MAX) else {
                break;
            };
            let due = *bucket.key();
            let Some(session) = bucket.get_mut().pop_front() else {
                bucket.remove();
                continue;
            };
            let known = self.sessions.get_mut(&session);
            let Some(known) = known.filter(|s| s.bucket == due && !s.closing) else {
                continue; // it was closed, or is listed elsewhere by now
            };
            if known.is_over(self.expired_upto) {
                known.closing = true;
                known.expiring = true;
                self.expiring += 1;
                expired.push(session);
            } else {
                known.bucket = known.deadline;
                self.buckets
                    .entry(known.deadline)
                    .or_default()
                    .push_back(session);
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests;
