//! Sessions that only their server knows, and how they become everybody's.
//!
//! To begin and to end a session is a write like any other: each costs the ensemble a transaction. A *local* session (`localSessionsEnabled`)
//! costs none. The server that the client has come to gives it, lets it go on, and ends it when its client is silent; nobody else knows
//! of it. So it goes on at no other server, it ends when its server stops serving, and it owns no ephemeral node.
//!
//! | a client of a local session | upgrading is on | upgrading is off |
//! |---|---|---|
//! | creates an ephemeral node, also inside a multi | createSession with the same id goes before it: the session is global from then on | EphemeralOnLocalSession; inside a multi at a learner SessionExpired |
//! | writes anything else, or syncs | goes by the leader | the same |
//! | closes its session | answered here, in its turn, without a transaction | the same |
//! | comes back to this server | goes on | the same |
//! | comes to another server | the leader knows of no such session: it has expired | the same |
//!
//! A leader cannot tell a local session of another server from one that has expired: it sees neither. With local sessions it takes
//! the writes of both, ephemeral nodes excepted ([`said`]); so a write of a session that has expired, which was on its way, may still be made.
//! All servers of an ensemble have to have the same two settings.
//!
//! **How the host calls it.** A new session: [`begins_locally`], then [`LocalSessions::begin`]. One that goes on: [`LocalSessions::go_on`] before
//! anybody is asked. For each request of a client whose session is local: [`apart`] first, and for writes [`needs`]; a session that becomes
//! global leaves by [`LocalSessions::remove`] in the step that proposes or forwards its createSession. On a leader: [`said`] with what the
//! tracker says. At [`LocalSessions::next_look_ms`]: [`LocalSessions::look`], [`LocalSessions::hear`] for each that is attached, and
//! [`LocalSessions::take_due`]. The sessions of a leader's PING and its tracker are not these. When serving ends: [`LocalSessions::new`].

use super::admission::{Admission, admission};
use super::mode::Mode;
use super::room::Room;
use super::tracker::{SessionTracker, Standing};
use crate::ids::{ServerId, SessionId};
use crate::tree::error::ErrorCode;
use crate::tree::op::{CreateKind, WriteOp};
use alloc::vec::Vec;

/// What the configuration says of local sessions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct LocalRules {
    /// `localSessionsEnabled`: new sessions are local.
    pub enabled: bool,
    /// `localSessionsUpgradingEnabled`: they become global when they need to.
    pub upgrading: bool,
}

/// Whether a new session of a server in this mode is local. One without a leader has no other; one on its own has no use for them.
#[must_use]
pub const fn begins_locally(mode: Mode, rules: LocalRules) -> bool {
    match mode {
        Mode::ReadOnly => true,
        Mode::Leader | Mode::Follower | Mode::Observer => rules.enabled,
        Mode::NotServing | Mode::Standalone => false,
    }
}

/// What a server does by itself with a request that otherwise goes by the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Apart {
    /// NotReadOnly: there is no leader. The connection stays.
    NotReadOnly,
    /// The session ends here, behind the answers to the requests before it.
    EndsHere,
}

/// What becomes of a client's request where [`admission`] is not all: this server has no leader, or the session is local.
#[must_use]
pub const fn apart(opcode: i32, mode: Mode, is_local: bool) -> Option<Apart> {
    const CLOSE_SESSION: i32 = -11;
    match (admission(opcode), mode) {
        (Admission::Leader, _) if opcode == CLOSE_SESSION && is_local => Some(Apart::EndsHere),
        (Admission::Leader, Mode::ReadOnly) => Some(Apart::NotReadOnly),
        _ => None,
    }
}

/// Whether a write makes an ephemeral node. As in ZooKeeper, create and create2 alone can.
#[must_use]
pub fn wants_ephemeral(op: &WriteOp) -> bool {
    match op {
        WriteOp::Create { kind, flags, .. } => {
            matches!(kind, CreateKind::Create | CreateKind::Create2) && matches!(flags, 1 | 3)
        }
        WriteOp::Multi(ops) => ops
            .iter()
            .any(|op| !matches!(op, WriteOp::Multi(_)) && wants_ephemeral(op)),
        WriteOp::Delete { .. }
        | WriteOp::SetData { .. }
        | WriteOp::SetAcl { .. }
        | WriteOp::Check { .. }
        | WriteOp::CreateSession { .. }
        | WriteOp::CloseSession => false,
    }
}

/// What a write of a local session needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// Its session becomes global before it.
    GlobalSession,
    /// It will be refused, and its client hears EphemeralOnLocalSession for it.
    Refusal,
}

/// What a write of a local session needs that makes an ephemeral node, or does not.
#[must_use]
pub const fn needs(wants_ephemeral: bool, rules: LocalRules) -> Needs {
    match (wants_ephemeral, rules.upgrading) {
        (false, _) => Needs::Nothing,
        (true, true) => Needs::GlobalSession,
        (true, false) => Needs::Refusal,
    }
}

/// What a session says to a write, at the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said {
    /// To any.
    pub session: Result<(), ErrorCode>,
    /// To one that makes an ephemeral node.
    pub ephemerals: Result<(), ErrorCode>,
}

/// What the leader `me` lets a write of `session` do, after the word of its tracker.
///
/// Source: ZooKeeper `LeaderSessionTracker.checkSession` and `checkGlobalSession`.
#[must_use]
pub const fn said(
    by_tracker: Result<(), ErrorCode>,
    standing: Standing,
    session: SessionId,
    me: ServerId,
    is_local_here: bool,
    rules: LocalRules,
) -> Said {
    let is_of_another = session.0.cast_unsigned() >> 56 != me.0 & 0xff;
    let (session, ephemerals) = match (by_tracker, standing) {
        (Err(ErrorCode::SessionExpired), Standing::Unknown) if is_local_here => {
            (Ok(()), Err(ErrorCode::EphemeralOnLocalSession))
        }
        (Err(ErrorCode::SessionExpired), Standing::Unknown) if rules.enabled && is_of_another => {
            (Ok(()), Err(ErrorCode::SessionExpired))
        }
        (other, _) => (other, other),
    };
    Said {
        session,
        ephemerals,
    }
}

/// The local sessions of one server.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LocalSessions {
    /// They live and die as the leader's do.
    tracker: SessionTracker,
}

impl LocalSessions {
    /// None. `tick_ms` is the grid of expiry.
    #[must_use]
    pub fn new(tick_ms: u64) -> Self {
        Self {
            tracker: SessionTracker::new(tick_ms),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, session: SessionId) -> bool {
        self.tracker.standing(session) == Standing::Lives
    }

    /// A session begins.
    pub fn begin(&mut self, session: SessionId, timeout_ms: i32, now_ms: u64) {
        self.tracker.track(session, timeout_ms, now_ms);
    }

    /// Its client is back, perhaps with another timeout; whether it is one of these.
    pub fn go_on(&mut self, session: SessionId, timeout_ms: i32, now_ms: u64) -> bool {
        let goes_on = self.tracker.timeout_ms(session).is_some();
        if goes_on {
            self.tracker.track(session, timeout_ms, now_ms);
        }
        goes_on
    }

    /// It has ended, or becomes global.
    pub fn remove(&mut self, session: SessionId) {
        self.tracker.remove(session);
    }

    /// The server looks for those that are over; as [`SessionTracker::look`].
    pub fn look(&mut self, now_ms: u64) -> Option<u64> {
        self.tracker.look(now_ms)
    }

    /// What is known of the client of one of them, behind [`LocalSessions::look`]; as [`SessionTracker::hear`].
    pub fn hear(&mut self, session: SessionId, heard_ms: Option<u64>, held_up: bool) {
        self.tracker.hear(session, heard_ms, held_up);
    }

    /// Those whose clients were silent for too long at the last look, no more than a turn's share. They are no sessions any more: their
    /// connections end.
    #[must_use = "their connections have to end"]
    pub fn take_due(&mut self) -> Vec<SessionId> {
        // Their end is not logged, so a full disk is nothing to them.
        let due = self.tracker.take_due(Room::default());
        due.iter().for_each(|session| self.tracker.remove(*session));
        due
    }

    /// When to look next, ms.
    #[must_use]
    pub fn next_look_ms(&self, now_ms: u64) -> u64 {
        self.tracker.next_look_ms(now_ms)
    }
}

#[cfg(test)]
mod tests;
