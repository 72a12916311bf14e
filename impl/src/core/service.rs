//! Sessions, requests and syncs that wait: what `zabra_model::service` decides about, kept for one server.

use crate::client::conn::Conn;
use crate::client::submit::Submit;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use zabra_model::ids::{ServerId, SessionId};
use zabra_model::service::handover::{Leaving, Stay};
use zabra_model::service::local::LocalSessions;
use zabra_model::service::mode::{Awaited, InVain, Mode};
use zabra_model::service::room::Room;
use zabra_model::service::sweep::{Sweep, SweepRules};
use zabra_model::service::tracker::{Applied, SessionTracker};
use zabra_model::tree::acl::Id;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::txn::{Txn, TxnHeader};

/// A request whose transaction is awaited.
pub(super) struct Submitted {
    /// The client's number for it.
    pub(super) xid: i32,
    /// The connection's.
    pub(super) token: u64,
    pub(super) conn: Arc<Conn>,
    pub(super) opcode: i32,
    /// What the client is told in place of SessionExpired.
    pub(super) refused_as: Option<ErrorCode>,
    /// When it was read, ms since the server's start.
    pub(super) since_ms: u64,
    /// When the core took it up.
    pub(super) taken_ms: u64,
    /// What it was, if there is an audit log.
    pub(super) asked: Option<Box<AuditedRequest>>,
}

/// What a request asked for and as whom, kept until its client is told the result.
pub(super) struct AuditedRequest {
    /// The record as the client sent it.
    pub(super) record: Bytes,
    /// The client's identities when it asked.
    pub(super) ids: Arc<[Id]>,
}

/// A sync of a client of this server.
pub(super) struct OwnSync {
    pub(super) conn: Arc<Conn>,
    pub(super) submit: Submit,
}

/// See the module.
pub(super) struct Service {
    /// This server.
    pub(super) me: ServerId,
    tick_ms: u64,
    rules: SweepRules,
    /// As what clients are answered.
    pub(super) mode: Mode,
    /// All that clients of this server wait for.
    pub(super) awaited: Awaited<Submitted, OwnSync, Arc<Conn>>,
    /// On a leader that is to stop.
    pub(super) leaving: Option<Leaving>,
    /// On a learner: whether the leader leaves, and clients wait for the next one.
    pub(super) stay: Stay,
    /// What they ask for meanwhile, in order.
    pub(super) held: VecDeque<(Arc<Conn>, Vec<Submit>)>,
    /// On a leader: all sessions.
    pub(super) tracker: SessionTracker,
    /// Sessions that only this server knows.
    pub(super) local: LocalSessions,
    /// When these are looked at next, if there are any.
    pub(super) next_local_look_ms: u64,
    /// When a server that looks for a leader begins to answer reads without one.
    pub(super) read_only_from_ms: Option<u64>,
    /// On a leader: containers and nodes with a time to live.
    pub(super) sweep: Sweep,
    /// The room on the disk.
    pub(super) room: Room,
    /// When the sessions are looked at next.
    pub(super) next_look_ms: u64,
}

impl Service {
    /// `date_ms` should not go back over restarts of this server.
    pub(super) fn new(me: ServerId, tick_ms: u64, rules: SweepRules, date_ms: u64) -> Self {
        Self {
            me,
            tick_ms,
            rules,
            mode: Mode::NotServing,
            awaited: Awaited::new(me, date_ms),
            leaving: None,
            stay: Stay::default(),
            held: VecDeque::new(),
            tracker: SessionTracker::new(tick_ms),
            local: LocalSessions::new(tick_ms),
            next_local_look_ms: 0,
            read_only_from_ms: None,
            sweep: Sweep::new(rules, 0),
            room: Room::default(),
            next_look_ms: 0,
        }
    }

    /// Whether clients are served with a leader behind it.
    pub(super) const fn serves(&self) -> bool {
        self.mode.serves()
    }

    /// Whether this server decides about requests.
    pub(super) const fn leads(&self) -> bool {
        self.mode.leads()
    }

    /// Serving ends. Nobody who waits is answered any more: their connections are closed.
    pub(super) fn stop(&mut self) {
        self.mode = Mode::NotServing;
        self.read_only_from_ms = None;
        self.local = LocalSessions::new(self.tick_ms);
        self.awaited.end(|who| match who {
            InVain::Answer(waiting) => waiting.conn.close(),
            InVain::Sync(sync) => sync.conn.close(),
            InVain::Revalidation(conn) => conn.close(),
        });
    }

    /// A quorum has formed behind this server, whose tree has these sessions.
    pub(super) fn start_leading(
        &mut self,
        known: impl Iterator<Item = (SessionId, i32)>,
        elapsed_ms: u64,
    ) {
        self.tracker = SessionTracker::begin(self.tick_ms, elapsed_ms, known);
        self.sweep = Sweep::new(self.rules, elapsed_ms);
    }

    /// When something is due that needs no leader, if anything is.
    pub(super) fn next_local_ms(&self) -> Option<u64> {
        let look_ms = (!self.local.is_empty()).then_some(self.next_local_look_ms);
        let leaves_ms = self.leaving.as_ref().map(Leaving::until_ms);
        [
            look_ms,
            self.read_only_from_ms,
            leaves_ms,
            self.stay.until_ms(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether there are sessions to close now.
    pub(super) fn has_due(&self) -> bool {
        self.leads() && self.tracker.has_due(self.room)
    }

    /// A transaction was applied: what it means to its session.
    pub(super) fn applied(&mut self, header: &TxnHeader, txn: &Txn, elapsed_ms: u64) {
        let applied = match txn {
            Txn::CreateSession { timeout_ms } => Applied::Begun {
                timeout_ms: *timeout_ms,
            },
            Txn::CloseSession { .. } => Applied::Ended,
            _ => return,
        };
        let leads = self.leads();
        self.tracker
            .on_applied(header.session, applied, leads, elapsed_ms);
    }
}
