//! Everything that happens to the core, in one queue: it is emptied completely at each wake-up.

use super::lock;
use super::payload::Payload;
use crate::client::conn::Conn;
use crate::client::submit::{Connect, Submit};
use crate::error::ServerError;
use crate::limits::INBOX_BYTES_MAX;
use crate::storage::snapshot::StagedSnapshot;
use crate::wire::link::{Heard, Hello};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use zabra_model::step::{Input, Link, Mark};
use zabra_model::tree::node::Tree;

/// Something for the core.
pub enum Event {
    /// Of the protocol: the election, a timer.
    Input(Input<Payload>),
    /// Every write up to this token of the disk thread is durable.
    DiskDurable(u64),
    /// A learner has dialled.
    Accepted(Dialled),
    /// An attempt to dial the leader has ended; `None`: in vain.
    Dialled(u64, Option<TcpStream>),
    /// What has come over a link, in order.
    Heard(Link, Vec<Heard>),
    /// A link has ended.
    LinkClosed(Link),
    /// Requests of one connection, in order.
    Submitted(Arc<Conn>, Vec<Submit>),
    /// A client has introduced itself; its password is right.
    Connect(Arc<Conn>, Connect),
    /// A snapshot of this generation of the history was written to its temporary file, or not.
    SnapshotDone(u64, Result<StagedSnapshot, String>),
    /// The snapshot that is to be installed by the write with this mark lies in its temporary file.
    Staged(Mark, Result<StagedSnapshot, String>),
    /// The tree was read anew after the truncation with this mark.
    Reloaded(Mark, Result<Box<Tree>, ServerError>),
    /// A command of the test harness.
    #[cfg(feature = "gate")]
    Gate(super::gate::Command),
    /// There is no room for this operation of the disk; it waits.
    DiskFull(String),
    /// There was room for it after all.
    DiskRoom,
    /// The disk has failed.
    DiskFailed(String),
    /// Stop orderly.
    Shutdown,
}

/// A learner that has dialled.
pub struct Dialled {
    /// The connection.
    pub stream: TcpStream,
    /// Where it comes from.
    pub from: SocketAddr,
    /// Who it is; `None` where a harness holds its first packet back.
    pub hello: Option<Hello>,
}

/// The queue.
#[derive(Default)]
pub struct Inbox {
    events: Mutex<Vec<Event>>,
    wake: Notify,
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
            self.wake.notify_one();
        }
    }

    /// Takes everything.
    pub fn take(&self, into: &mut Vec<Event>) {
        std::mem::swap(&mut *lock(&self.events), into);
        if self.bytes.swap(0, Ordering::Relaxed) > INBOX_BYTES_MAX {
            self.room.notify_waiters();
        }
    }

    /// Waits until there is something.
    pub async fn wait(&self) {
        self.wake.notified().await;
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
