//! Who watches what, and the connections that hear of it.

use super::conn::{Conn, ConnPhase};
use super::stats::Stats;
use crate::codes::Code;
use crate::limits::{Budget, SMALL_BYTES};
use crate::mutants::{Mutant, has};
use crate::wire::client::{EventType, reply};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::warn;
use zabra_model::ids::Zxid;
use zabra_model::tree::acl::{Id, allows, perms};
use zabra_model::tree::event::{EventKind, Trigger};
use zabra_model::tree::watch::Watches;

/// A map whose keys are numbers that this server or its leader has given out: nobody can choose them to collide.
pub type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Watches, and the connections that hear of them.
#[derive(Default)]
pub struct Hub {
    /// Who watches what.
    pub watches: Watches,
    /// All connections by number, which is also their number as watchers.
    pub conns: Map<u64, Arc<Conn>>,
}

/// Ends the connections that leave most unread, until all of them together keep the bound. Nobody else is stopped for them.
///
/// It looks at the state of each: whoever has the hub's lock has the tree's too, to be changed, or a reader who waits for the hub with
/// the state of a connection would wait for ever.
pub fn relieve<'c>(conns: impl Iterator<Item = &'c Arc<Conn>> + Clone, unread: &Budget) {
    while unread.is_over() {
        let debts = conns.clone().map(|conn| (conn.state().unread(), conn));
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
        warn!(code = %Code::UnreadTooMuch, from = %conn.from, session = %conn.session(), unread = debt,
            "clients leave too much unread in all (zabra.unreadBytesMax); the one with most of it is closed");
    }
}

impl Hub {
    /// Takes the watches of whoever holds most, if all of them hold more than `bytes_max`; whose they were.
    pub fn take_greediest(&mut self, bytes_max: usize) -> Option<(Arc<Conn>, usize)> {
        while self.watches.bytes() > bytes_max {
            let (watcher, bytes) = self.watches.greediest()?;
            self.watches.remove_watcher(watcher);
            if let Some(conn) = self.conns.get(&watcher) {
                return Some((Arc::clone(conn), bytes));
            }
        }
        None
    }

    /// Tells the watchers of a change; `dirty` gets the connections that now have something to send.
    pub fn fire(
        &mut self,
        trigger: &Trigger<'_>,
        zxid: Zxid,
        (unread, stats): (&Budget, &Stats),
        dirty: &mut Vec<Arc<Conn>>,
    ) {
        let Self { watches, conns } = self;
        let mut fired = 0;
        watches.fire(trigger, |watcher| {
            fired += 1;
            let Some(conn) = conns.get(&watcher) else {
                return;
            };
            let mut state = conn.state();
            let may_read = |ids: &[Id]| allows(trigger.acl, perms::READ, &conn.reads_as(ids));
            if state.phase == ConnPhase::Closed
                || !may_read(&state.ids)
                || has(Mutant::WatchTellsNobody)
            {
                return;
            }
            let before = state.out.len();
            reply::put_event(zxid, event_type(trigger.kind), trigger.path, &mut state.out);
            let bytes = state.out.len() - before;
            state.settle_unread(unread);
            conn.sent.fetch_add(1, Ordering::Relaxed);
            let stripe = stats.stripe(conn.id);
            stripe.sent.fetch_add(1, Ordering::Relaxed);
            stripe
                .watch_bytes
                .fetch_add(bytes as u64, Ordering::Relaxed);
            state.mark_dirty(conn, dirty);
        });
        if fired > 0 {
            let kind = match trigger.kind {
                EventKind::NodeCreated => 0,
                EventKind::NodeDeleted => 1,
                EventKind::NodeDataChanged => 2,
                EventKind::NodeChildrenChanged => 3,
            };
            stats.fired[kind].add(fired);
        }
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
