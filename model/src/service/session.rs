//! Sessions on the leader: when they expire, which server they are attached to, and how their ids and passwords are made.
//!
//! Expiry is on a grid of one tick, as ZooKeeper's is: a session dies between its timeout and its timeout plus a tick after it was
//! last heard of. A touch only writes the new deadline down; the session moves to its new bucket when the old one comes due.
//!
//! A hundred thousand sessions may come due together, when a network breaks. They are over at that moment, all of them: touches and
//! writes are refused from then on, as ZooKeeper refuses them. Their closeSessions are handed out at a pace: no more than
//! [`EXPIRING_MAX`] are under way at once, and the next follow as those are applied. Between them come pings and other clients'
//! writes, and the pace is that of the slowest part. The oldest deadline goes first, so nobody waits for those that come due later.

use crate::ids::{ServerId, SessionId, Zxid};
use crate::tree::error::ErrorCode;
use crate::tree::stat::CONTAINER_OWNER;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Expired sessions whose closeSession is proposed and not applied yet: a write that comes behind them waits for so many.
pub const EXPIRING_MAX: usize = 256;
/// Entries of due buckets that one call of [`SessionTracker::expire`] looks at, those of sessions that live on included.
const LOOKED_AT_MAX: usize = 4096;

/// The timeout a session gets, ms: what the client asks for, within the server's bounds.
#[must_use]
pub const fn negotiated_timeout_ms(requested: i32, min: i32, max: i32) -> i32 {
    if requested < min {
        min
    } else if requested > max {
        max
    } else {
        requested
    }
}

/// The password of a session. It is the same function on every server and no secret: ZooKeeper's clients and servers expect it.
///
/// Source: ZooKeeper `ZooKeeperServer.generatePasswd`, which takes 16 bytes of `java.util.Random`.
#[must_use]
pub fn password(session: SessionId) -> [u8; 16] {
    const MASK: u64 = (1 << 48) - 1;
    const MULTIPLIER: u64 = 0x5_deec_e66d;
    let seed = (session.0 ^ 0xB341_5C00).cast_unsigned();
    let mut state = (seed ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for four in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        four.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    password
}

/// Whether `given` is the password of `session`; no password fits session 0.
#[must_use]
pub fn password_fits(session: SessionId, given: &[u8]) -> bool {
    session.0 != 0 && password(session) == *given
}

/// Whether a server may take over a client that has seen `last_seen`: one that is behind would show it the past. Zxids
/// compare as on the wire, signed.
///
/// Source: ZooKeeper `ZooKeeperServer.processConnectRequest`.
#[must_use]
pub const fn may_connect(last_seen: Zxid, applied: Zxid) -> bool {
    last_seen.0.cast_signed() <= applied.0.cast_signed()
}

/// Gives out session ids: server in the top byte, 40 bits of the clock at start, then counting.
pub struct SessionIds {
    next: i64,
}

impl SessionIds {
    /// `now_ms` must not go back over restarts of this server, or ids come twice.
    #[must_use]
    pub const fn new(server: ServerId, now_ms: u64) -> Self {
        Self {
            next: (((now_ms << 24) >> 8) | (server.0 << 56)).cast_signed(),
        }
    }

    /// An id that was not given out before. The id that marks containers is left out.
    pub const fn give(&mut self) -> SessionId {
        if self.next == CONTAINER_OWNER {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        SessionId(id)
    }
}

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

/// The leader's view of all global sessions, or one server's of its local ones.
pub struct SessionTracker {
    tick_ms: u64,
    sessions: HashMap<SessionId, Session, FixedState>,
    buckets: BTreeMap<u64, VecDeque<SessionId>>,
    /// Sessions whose deadlines are up to this are over.
    expired_upto: u64,
    /// How many sessions are marked so.
    expiring: usize,
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
mod tests {
    use super::*;

    const S: SessionId = SessionId(7);
    const T: SessionId = SessionId(8);

    /// Golden `error_replies` and `create_modes`.
    #[test]
    fn passwords_are_those_of_zookeeper() {
        let hex = |id| {
            password(SessionId(id))
                .map(|b| alloc::format!("{b:02x}"))
                .concat()
        };
        assert_eq!(
            hex(0x0100_000d_3a01_0012),
            "2d93c3c3ef84e0bf2d9c854d467645a3"
        );
        assert!(!password_fits(SessionId(0), &password(SessionId(0))));
        assert!(password_fits(S, &password(S)) && !password_fits(S, &[0; 16]));
    }

    #[test]
    fn ids_carry_server_and_clock_and_count_up() {
        let mut ids = SessionIds::new(ServerId(1), 0xff_0000_0d3a);
        assert_eq!(ids.give(), SessionId(0x01ff_0000_0d3a_0000));
        assert_eq!(ids.give(), SessionId(0x01ff_0000_0d3a_0001));
        // Server 128 at a clock of 0 would start with the mark of containers.
        assert_eq!(
            SessionIds::new(ServerId(0x80), 0).give(),
            SessionId(i64::MIN + 1)
        );
    }

    #[test]
    fn timeouts_are_held_within_bounds() {
        assert_eq!(
            [-1, 0, 5000, 99_999].map(|t| negotiated_timeout_ms(t, 4000, 40_000)),
            [4000, 4000, 5000, 40_000]
        );
    }

    #[test]
    fn a_session_dies_between_its_timeout_and_a_tick_later_unless_touched() {
        let mut tracker = SessionTracker::new(1000);
        tracker.track(S, 3000, 100);
        tracker.track(T, 3000, 100);
        assert_eq!(tracker.next_deadline(), Some(4000));
        assert!(tracker.expire(3100).is_empty());
        assert!(tracker.touch(S, 2500));
        assert_eq!(tracker.expire(4000), [T]);
        assert!(!tracker.touch(T, 4000));
        assert!(tracker.expire(5999).is_empty());
        assert_eq!(tracker.expire(6000), [S]);
        assert!(tracker.expire(60_000).is_empty());
        tracker.remove(S);
        assert_eq!(tracker.len(), 1);
    }

    /// C-50: wherever in a tick the client was last heard, and however late that was known, its session dies within its timeout
    /// and a tick.
    #[test]
    fn c_50_a_silent_session_is_over_within_its_timeout_and_a_tick() {
        for (tick, timeout) in [
            (500, 1000),
            (2000, 4000),
            (500, 1300),
            (3, 1),
            (1000, 40_000),
        ] {
            for heard in (0..tick).step_by((tick / 7).max(1) as usize) {
                let mut tracker = SessionTracker::new(tick);
                tracker.track(S, timeout, 0);
                let (mut now, mut known) = (heard / 3, false); // looks begin anywhere
                let over = loop {
                    now = tracker.next_look_ms(now);
                    if now >= heard && !known {
                        known = true;
                        assert!(tracker.touch(S, heard));
                    }
                    if tracker.expire(now) == [S] {
                        break now;
                    }
                };
                let least = heard + timeout as u64;
                assert!(
                    over > least && over <= least + tick,
                    "{tick} {timeout} {heard}: {over}"
                );
            }
        }
    }

    #[test]
    fn a_shorter_timeout_counts_at_once() {
        let mut tracker = SessionTracker::new(1000);
        tracker.track(S, 30_000, 0);
        tracker.track(S, 2000, 0);
        assert_eq!(tracker.expire(3000), [S]);
        assert!(tracker.expire(40_000).is_empty());
    }

    #[test]
    fn a_new_leader_gives_every_session_its_full_timeout() {
        let mut tracker = SessionTracker::new(1000);
        tracker.track(S, 3000, 0);
        tracker.restart(100_000);
        assert!(tracker.expire(103_000).is_empty());
        assert_eq!(tracker.expire(104_000), [S]);
    }

    /// C-49: whoever comes due together is closed at the pace of what was applied, oldest deadline first, and nobody twice.
    #[test]
    fn c_49_sessions_that_come_due_together_are_closed_at_a_pace() {
        for (sessions, applied_a_turn) in [(10, 1), (1000, 7), (1000, 256), (20_000, 100)] {
            let mut tracker = SessionTracker::new(1000);
            for id in 1..=sessions {
                tracker.track(SessionId(id), 3000 + 1000 * (id % 2) as i32, 0);
            }
            let (mut closed, mut under_way) = (Vec::new(), VecDeque::new());
            let mut turns = 0;
            while tracker.may_expire(60_000) {
                let next = tracker.expire(60_000);
                under_way.extend(next);
                assert!(under_way.len() <= EXPIRING_MAX, "{}", under_way.len());
                for session in under_way.drain(..under_way.len().min(applied_a_turn)) {
                    tracker.remove(session);
                    closed.push(session);
                }
                turns += 1;
            }
            closed.extend(under_way);
            assert_eq!(closed.len(), sessions as usize);
            let (first, later) = closed.split_at(sessions as usize / 2);
            assert!(first.iter().all(|s| s.0 % 2 == 0) && later.iter().all(|s| s.0 % 2 == 1));
            assert!(turns <= sessions as usize / applied_a_turn + 2, "{turns}");
        }
    }

    /// C-49: a session that waits for its turn is over, as one whose turn has come.
    #[test]
    fn c_49_who_waits_to_be_closed_is_not_saved_by_a_late_touch() {
        let mut tracker = SessionTracker::new(1000);
        let waits = SessionId(5000);
        for id in 1..=5000 {
            tracker.track(SessionId(id), 3000, 0);
        }
        let first = tracker.expire(4000);
        assert_eq!(first.len(), EXPIRING_MAX);
        assert!(!first.contains(&waits));
        tracker.restart(4001);
        tracker.track(waits, 9000, 4001);
        assert!(!tracker.touch(waits, 4001));
        assert_eq!(tracker.timeout_ms(waits), None);
        assert_eq!(
            tracker.check(waits, ServerId(1)),
            Err(ErrorCode::SessionExpired)
        );
        // A write of its own that closes it ends it as well, and it is not closed a second time.
        tracker.set_closing(waits);
        tracker.remove(waits);
        let mut all = first;
        let mut done = 0;
        while let Some(&session) = all.get(done) {
            tracker.remove(session);
            all.extend(tracker.expire(4000));
            done += 1;
        }
        assert_eq!((all.len(), tracker.len()), (4999, 0));
    }

    /// C-49: one call looks at a bounded number of sessions, also where all of them were touched and live on.
    #[test]
    fn c_49_a_turn_looks_at_a_bounded_number_of_sessions() {
        let mut tracker = SessionTracker::new(1000);
        for id in 1..=3 * LOOKED_AT_MAX as i64 {
            tracker.track(SessionId(id), 3000, 0);
            tracker.touch(SessionId(id), 2000);
        }
        let mut turns = 0;
        while tracker.may_expire(4000) {
            assert!(tracker.expire(4000).is_empty());
            turns += 1;
        }
        assert!(turns > 1, "{turns}");
        assert_eq!(tracker.next_deadline(), Some(6000));
    }

    #[test]
    fn a_session_of_which_only_its_nodes_are_left_is_closed_at_the_first_look() {
        let mut tracker = SessionTracker::new(1000);
        tracker.track(S, 3000, 0);
        tracker.track_lost(S);
        tracker.track_lost(T);
        assert!(!tracker.touch(T, 0));
        assert_eq!(tracker.expire(0), [T]);
        assert!(tracker.touch(S, 0));
    }

    #[test]
    fn a_session_belongs_to_the_server_it_attached_to_last() {
        let mut tracker = SessionTracker::new(1000);
        tracker.track(S, 3000, 0);
        assert_eq!(tracker.check(S, ServerId(1)), Ok(()));
        assert_eq!(tracker.check(S, ServerId(2)), Err(ErrorCode::SessionMoved));
        tracker.set_owner(S, ServerId(2));
        assert_eq!(tracker.check(S, ServerId(2)), Ok(()));
        assert_eq!(tracker.standing(S), Standing::Lives);
        tracker.set_closing(S);
        assert_eq!(tracker.standing(S), Standing::Ends);
        assert_eq!(tracker.standing(T), Standing::Unknown);
        assert_eq!(
            tracker.check(S, ServerId(2)),
            Err(ErrorCode::SessionExpired)
        );
        assert_eq!(
            tracker.check(T, ServerId(2)),
            Err(ErrorCode::SessionExpired)
        );
    }
}
