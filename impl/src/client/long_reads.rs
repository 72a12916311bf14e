//! Who may answer a long read, away from the tree: each takes a processor for a while, so only a few do at once.

use super::conn::Conn;
use super::lock::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// So many turns. A connection that gets none waits in line, is woken when it is first and one is free, and asks again.
pub struct LongReads {
    turns: Mutex<Turns>,
}

struct Turns {
    free: usize,
    waiting: VecDeque<Arc<Conn>>,
}

impl LongReads {
    /// `most` at the same time.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self {
            turns: Mutex::new(Turns {
                free: most,
                waiting: VecDeque::new(),
            }),
        }
    }

    /// Takes a turn; if there is none, or others have waited for longer, `conn` waits in line. Whoever got one gives it back.
    #[must_use]
    pub fn take(&self, conn: &Arc<Conn>) -> bool {
        let mut turns = lock(&self.turns);
        let place = turns.waiting.iter().position(|c| c.id == conn.id);
        let before = place.unwrap_or(turns.waiting.len());
        if before < turns.free {
            turns.free -= 1;
            if let Some(place) = place {
                turns.waiting.remove(place);
            }
            return true;
        }
        if place.is_none() {
            turns.waiting.push_back(Arc::clone(conn));
        }
        false
    }

    /// Gives a turn back.
    pub fn give_back(&self) {
        let mut turns = lock(&self.turns);
        turns.free += 1;
        turns.wake();
    }

    /// `conn` waits no more: it is over.
    pub fn forget(&self, conn: &Conn) {
        let mut turns = lock(&self.turns);
        turns.waiting.retain(|c| c.id != conn.id);
        turns.wake();
    }
}

impl Turns {
    /// Those for whom there is a turn. One may be woken twice: it takes what it needs and no more.
    fn wake(&self) {
        for conn in self.waiting.iter().take(self.free) {
            conn.wake();
        }
    }
}
