//! Everything that happens to the core, in one queue: it is emptied completely at each wake-up.

use super::lock;
use super::payload::Payload;
use super::shared::Conn;
use crate::error::ServerError;
use crate::net::limits::INBOX_BYTES_MAX;
use crate::net::link::Heard;
use crate::storage::snapshot::StagedSnapshot;
use crate::wire::client::Request;
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use zabra_model::ids::SessionId;
use zabra_model::step::{Input, Link, Mark};
use zabra_model::tree::acl::Id;
use zabra_model::tree::node::Tree;

/// Something for the core.
pub enum Event {
    /// Of the protocol: the election, a timer.
    Input(Input<Payload>),
    /// Every write up to this token of the disk thread is durable.
    DiskDurable(u64),
    /// A learner has dialled.
    Accepted(TcpStream),
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
    /// The disk has failed.
    DiskFailed(String),
    /// Stop orderly.
    Shutdown,
}

/// What a client wants at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connect {
    /// A new session with this id.
    New(SessionId),
    /// To go on with its session.
    Again(SessionId),
    /// To go on with a session whose password it does not know: it has been told.
    Refused,
}

/// A request that needs the leader.
pub struct Submit {
    /// The client's number for it.
    pub xid: i32,
    /// The connection's number for it, by which its answer finds its place.
    pub token: u64,
    /// The operation.
    pub opcode: i32,
    /// The record as the client sent it, to be forwarded.
    pub record: Bytes,
    /// The record decoded, where this server leads.
    pub request: Option<Request>,
    /// The client's identities.
    pub ids: Arc<[Id]>,
}

/// The queue.
#[derive(Default)]
pub struct Inbox {
    events: Mutex<Vec<Event>>,
    wake: Notify,
    bytes: AtomicUsize,
    room: Notify,
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

    /// Waits while the core is behind by too many bytes.
    pub async fn wait_for_room(&self) {
        while self.bytes.load(Ordering::Relaxed) > INBOX_BYTES_MAX {
            let room = self.room.notified();
            if self.bytes.load(Ordering::Relaxed) <= INBOX_BYTES_MAX {
                return;
            }
            room.await;
        }
    }
}
