//! The line of connections whose next request waits for others to be answered (`request_throttle_max_requests`).

use super::conn::Conn;
use super::lock::lock;
use super::outstanding::Outstanding;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// So many are woken at once; each wakes the next when it has had its turn.
const WOKEN_MAX: usize = 16;

/// Who waits, whoever has waited for longest first. A connection that is woken asks for its turn again.
#[derive(Default)]
pub struct Line {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    by_ticket: BTreeMap<u64, Arc<Conn>>,
}

/// The place of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// It is its turn: it is not in line any more.
    Turn,
    /// It is one of the next.
    Front,
    /// Many are before it.
    Behind,
}

impl Line {
    /// Whether there is room for a request of a connection that is not in line.
    #[must_use]
    pub fn has_room(&self, outstanding: &Outstanding) -> bool {
        lock(&self.waiting).by_ticket.len() < outstanding.room()
    }

    /// Takes the connection's turn, if there is room for it and for all before it; else it waits in line. `ticket` is its own.
    #[must_use]
    pub fn take_turn(
        &self,
        ticket: &mut Option<u64>,
        conn: &Arc<Conn>,
        outstanding: &Outstanding,
    ) -> Place {
        let mut waiting = lock(&self.waiting);
        let (room, line) = (outstanding.room(), &waiting.by_ticket);
        let looks = room.max(WOKEN_MAX);
        let before = match *ticket {
            Some(own) => line.range(..own).take(looks).count(),
            None => line.len(),
        };
        if before < room {
            if let Some(own) = ticket.take() {
                waiting.by_ticket.remove(&own);
            }
            return Place::Turn;
        }
        if ticket.is_none() {
            let own = waiting.next;
            waiting.next += 1;
            waiting.by_ticket.insert(own, Arc::clone(conn));
            *ticket = Some(own);
        }
        if before < WOKEN_MAX {
            Place::Front
        } else {
            Place::Behind
        }
    }

    /// Whoever has this ticket waits no more: it is over.
    pub fn leave(&self, ticket: u64) {
        lock(&self.waiting).by_ticket.remove(&ticket);
    }

    /// Wakes those for whom there is room.
    pub fn wake(&self, outstanding: &Outstanding) {
        let waiting = lock(&self.waiting);
        let woken = outstanding.room().min(WOKEN_MAX);
        for conn in waiting.by_ticket.values().take(woken) {
            conn.wake();
        }
    }
}
