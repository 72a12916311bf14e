//! Sessions, requests and syncs that wait: what `zabra_model::service` decides about, kept for one server.

use crate::client::conn::Conn;
use crate::client::submit::Submit;
use std::sync::Arc;
use zabra_model::ids::{ServerId, SessionId};
use zabra_model::service::mode::{Awaited, Mode};
use zabra_model::service::room::Room;
use zabra_model::service::sweep::{Sweep, SweepRules};
use zabra_model::service::tracker::{Applied, SessionTracker};
use zabra_model::tree::txn::{Txn, TxnHeader};

/// A request whose transaction is awaited.
pub(super) struct Submitted {
    /// The client's number for it.
    pub(super) xid: i32,
    /// The connection's.
    pub(super) token: u64,
    pub(super) conn: Arc<Conn>,
    pub(super) opcode: i32,
    /// When it was submitted, by the date.
    pub(super) since_ms: u64,
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
    /// On a leader: all sessions.
    pub(super) tracker: SessionTracker,
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
            tracker: SessionTracker::new(tick_ms),
            sweep: Sweep::new(rules, 0),
            room: Room::default(),
            next_look_ms: 0,
        }
    }

    /// Whether clients are served.
    pub(super) fn serves(&self) -> bool {
        self.mode != Mode::NotServing
    }

    /// Whether this server decides about requests.
    pub(super) const fn leads(&self) -> bool {
        self.mode.leads()
    }

    /// Serving ends. Nobody is answered any more: their connections are closed.
    pub(super) fn stop(&mut self) {
        self.mode = Mode::NotServing;
        self.awaited.end(drop);
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
