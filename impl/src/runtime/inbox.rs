//! Everything that happens to the core, in one queue: it is emptied completely at each wake-up.

use super::bell::Bell;
use crate::client::lock::lock;
use crate::core::event::Event;
use crate::limits::INBOX_BYTES_MAX;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// The queue.
#[derive(Default)]
pub struct Inbox {
    events: Mutex<Vec<Event>>,
    wake: Bell,
    bytes: AtomicUsize,
    room: Notify,
    /// Clients are not read on, whatever room there is: too much waits to be committed.
    clients_held: AtomicBool,
    /// The leader is not read on: too much waits for the disk.
    leader_held: AtomicBool,
    leader_room: Notify,
}

impl Inbox {
    /// Adds an event that holds about `bytes`. It never refuses: who reads sockets asks [`Inbox::wait_for_room`] before.
    pub fn push(&self, event: Event, bytes: usize) {
        let was_empty = {
            let mut events = lock(&self.events);
            let was_empty = events.is_empty();
            events.push(event);
            was_empty
        };
        if bytes > 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        if was_empty {
            self.wake.ring();
        }
    }

    /// Takes everything.
    pub fn take(&self, into: &mut Vec<Event>) {
        std::mem::swap(&mut *lock(&self.events), into);
        if self.bytes.swap(0, Ordering::Relaxed) > INBOX_BYTES_MAX {
            self.room.notify_waiters();
        }
    }

    /// Wakes whoever waits for something, though there may be no event.
    pub fn poke(&self) {
        self.wake.ring();
    }

    /// Waits until there is something. Whoever drives the core is the only one who may.
    pub async fn wait(&self) {
        self.wake.rung().await;
    }

    /// Whether clients wait until less is outstanding.
    pub fn hold_clients(&self, held: bool) {
        if self.clients_held.swap(held, Ordering::Relaxed) && !held {
            self.room.notify_waiters();
        }
    }

    /// Whether what the leader says waits until the disk has written more.
    pub fn hold_leader(&self, held: bool) {
        if self.leader_held.swap(held, Ordering::Relaxed) && !held {
            self.leader_room.notify_waiters();
        }
    }

    /// Whether who asks for writes has to wait.
    pub fn is_crowded(&self) -> bool {
        self.clients_held.load(Ordering::Relaxed)
            || self.bytes.load(Ordering::Relaxed) > INBOX_BYTES_MAX
    }

    /// Waits while the core is behind by too many bytes, or too many wait to be committed.
    pub async fn wait_for_room(&self) {
        while self.is_crowded() {
            let room = self.room.notified();
            if !self.is_crowded() {
                return;
            }
            room.await;
        }
    }

    /// Waits while the disk is behind by too many bytes: for who reads what the leader says.
    pub async fn wait_for_disk(&self) {
        while self.leader_held.load(Ordering::Relaxed) {
            let room = self.leader_room.notified();
            if !self.leader_held.load(Ordering::Relaxed) {
                return;
            }
            room.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::timeout;

    /// C-84: who is held up goes on when there is less, and not before; the one does not hold up the other.
    #[tokio::test]
    async fn c_84_clients_and_the_leader_wait_while_they_are_held_up() {
        const MOMENT: Duration = Duration::from_millis(30);
        let inbox = Arc::new(Inbox::default());
        for _ in 0..3 {
            inbox.hold_clients(true);
            assert!(timeout(MOMENT, inbox.wait_for_room()).await.is_err());
            assert!(timeout(MOMENT, inbox.wait_for_disk()).await.is_ok());
            let waiting = Arc::clone(&inbox);
            let client = tokio::spawn(async move { waiting.wait_for_room().await });
            tokio::task::yield_now().await;
            inbox.hold_clients(false);
            assert!(timeout(Duration::from_secs(10), client).await.is_ok());

            inbox.hold_leader(true);
            assert!(timeout(MOMENT, inbox.wait_for_disk()).await.is_err());
            assert!(timeout(MOMENT, inbox.wait_for_room()).await.is_ok());
            let waiting = Arc::clone(&inbox);
            let leader = tokio::spawn(async move { waiting.wait_for_disk().await });
            tokio::task::yield_now().await;
            inbox.hold_leader(false);
            assert!(timeout(Duration::from_secs(10), leader).await.is_ok());
        }
    }
}
