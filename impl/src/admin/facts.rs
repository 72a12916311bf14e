//! What several words and commands tell of this server.

use super::metrics::latency;
use crate::client::conn::Conn;
use crate::client::lock::lock;
use crate::client::operation::tag;
use crate::client::shared::{Mode, Shared};
use crate::client::stats::ZabPhase;
use crate::client::summary::Summed;
use crate::config::Config;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use zabra_model::ids::Zxid;

/// Whoever serves nobody says so.
pub(super) const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// Monitoring tools look for a ZooKeeper version; this is the one whose behaviour is followed. Some of them read nothing of an answer without a day
/// in the form of ZooKeeper up to 3.7 (D-137). It is that of Zabra's version, at noon: a build gives the same bytes whenever it is made.
pub(super) const VERSION: &str = concat!(
    "3.9.5-zabra-",
    env!("CARGO_PKG_VERSION"),
    ", built on 11/30/2026 12:00 GMT"
);

/// ZooKeeper's default mask of what its log traces. Nothing here reads one.
pub(super) const TRACE_MASK: i64 = 306;

/// What `srvr`, `stat` and their like begin with.
pub(super) struct Facts {
    pub(super) mode: Mode,
    pub(super) zxid: Zxid,
    pub(super) nodes: usize,
    pub(super) latency: Summed,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) connections: usize,
    pub(super) outstanding: u64,
    /// Last, least and greatest; of a leader only.
    pub(super) proposals: Option<[i64; 3]>,
}

impl Facts {
    pub(super) fn of(shared: &Shared) -> Self {
        let mode = shared.mode();
        let stats = &shared.stats;
        let (zxid, nodes) = {
            let tree = shared.tree();
            // ZooKeeper counts the root twice.
            (tree.last_zxid(), tree.len() + 1)
        };
        let connections = lock(&shared.hub).conns.len();
        let leads = mode == Mode::Leader;
        Self {
            mode,
            zxid,
            nodes,
            latency: latency(stats),
            received: stats.sum(|stripe| &stripe.received),
            sent: stats.sum(|stripe| &stripe.sent),
            connections,
            outstanding: stats.outstanding.load(Relaxed),
            proposals: leads.then(|| stats.proposal_sizes.now()),
        }
    }
}

/// What `cons` tells of a connection.
pub(super) struct ConnFacts {
    pub(super) conn: Arc<Conn>,
    pub(super) queued: usize,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Of one with a session.
    pub(super) session: Option<SessionFacts>,
}

pub(super) struct SessionFacts {
    pub(super) id: i64,
    pub(super) last_operation: &'static str,
    pub(super) cxid: Option<i32>,
    pub(super) zxid: Option<u64>,
    pub(super) answered_ms: u64,
    pub(super) last_ms: u64,
    pub(super) min_ms: u64,
    pub(super) mean_ms: u64,
    pub(super) max_ms: u64,
}

/// All connections, in the order in which they came.
pub(super) fn connections(shared: &Shared) -> Vec<ConnFacts> {
    let mut all: Vec<_> = lock(&shared.hub).conns.values().cloned().collect();
    all.sort_by_key(|conn| conn.id);
    all.into_iter().map(of_connection).collect()
}

fn of_connection(conn: Arc<Conn>) -> ConnFacts {
    let (queued, answered) = {
        let state = conn.state();
        (state.order.len(), state.answered)
    };
    let session = conn.session();
    let session = (session.0 != 0).then(|| SessionFacts {
        id: session.0,
        last_operation: tag(answered.opcode),
        cxid: answered.cxid,
        zxid: (answered.opcode != 0).then_some(answered.zxid.0),
        answered_ms: answered.at_ms,
        last_ms: answered.last_ms,
        min_ms: answered.min_ms,
        mean_ms: answered.mean_ms(),
        max_ms: answered.max_ms,
    });
    ConnFacts {
        queued,
        received: conn.received.load(Relaxed),
        sent: conn.sent.load(Relaxed),
        session,
        conn,
    }
}

/// Forgets what `cons` tells.
pub(super) fn reset_connections(shared: &Shared) {
    for ConnFacts { conn, .. } in connections(shared) {
        conn.received.store(0, Relaxed);
        conn.sent.store(0, Relaxed);
        conn.state().answered = crate::client::answered::Answered::default();
    }
}

/// As what a server serves.
pub(super) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::NotServing => "looking",
        Mode::Standalone => "standalone",
        Mode::Follower => "follower",
        Mode::Leader => "leader",
        Mode::Observer => "observer",
        Mode::ReadOnly => "read-only",
    }
}

/// The name of a phase of the protocol.
pub(super) const fn phase_name(phase: ZabPhase) -> &'static str {
    match phase {
        ZabPhase::Election => "election",
        ZabPhase::Discovery => "discovery",
        ZabPhase::Synchronization => "synchronization",
        ZabPhase::Broadcast => "broadcast",
    }
}

/// The role of a member and how far it is, as ZooKeeper puts them together: `leading - broadcast`. None of a server on its own.
pub(super) fn peer_state(shared: &Shared) -> Option<String> {
    if !shared.config.is_ensemble() {
        return None;
    }
    let stats = &shared.stats;
    let phase = stats.phase();
    if phase == ZabPhase::Election {
        return Some("looking".into());
    }
    let me = &shared.config.me;
    let doing = match stats.leader() {
        Some(leader) if leader == *me => "leading",
        _ if shared.lists().observes(*me) => "observing",
        _ => "following",
    };
    Some(format!("{doing} - {}", phase_name(phase)))
}

/// The port that a server listens on, or -1.
pub(super) fn ports(config: &Config) -> (i64, i64) {
    let port = |listen: Option<&crate::config::Listen>| listen.map_or(-1, |l| i64::from(l.port));
    let secure = config.tls.as_ref().and_then(|tls| tls.listen.as_ref());
    (port(config.client.as_ref()), port(secure))
}
