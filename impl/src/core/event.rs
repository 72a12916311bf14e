//! What can happen to a server, as plain data: whoever drives it turns sockets, files and clocks into these.

use super::asked::{Restoring, Snapped, Told};
use crate::client::conn::Conn;
use crate::client::submit::{Connect, Submit};
use crate::error::ServerError;
use crate::storage::snapshot::StagedSnapshot;
use crate::storage::worker;
use crate::wire::link::{Heard, Hello};
use std::net::IpAddr;
use std::sync::Arc;
use zabra_model::flight::{Chunk, Moment};
use zabra_model::ids::ServerId;
use zabra_model::service::snapshots::Generation;
use zabra_model::step::{Link, Mark, Timer};
use zabra_model::tree::node::Tree;
use zabra_model::tree::txn::Txn;
use zabra_model::vote::Notification;

/// The time of one turn. Both are arguments: nothing in here asks a clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Milliseconds since the server's start: they only rise. Timers, sessions and pauses live by them.
    pub elapsed_ms: u64,
    /// Milliseconds since 1970, as transactions are dated: somebody may set them, also back.
    pub date_ms: u64,
}

impl Now {
    /// As it is recorded.
    #[must_use]
    pub const fn moment(self) -> Moment {
        Moment {
            elapsed_ms: self.elapsed_ms,
            date_ms: self.date_ms,
        }
    }
}

/// Something that has happened.
pub enum Event {
    /// A notification of an election has come from another server.
    Mail(ServerId, Notification),
    /// Whether a connection to another server for elections can be made: told when that changes, after it was tried. Who says something can
    /// be reached.
    Reached(ServerId, bool),
    /// A timer runs out that the driver keeps, see [`Start::timers_are_driven`](super::turn::Start). One that is not armed is ignored.
    Fired(Timer),
    /// The disk has done operations, or has no room for them, or has failed.
    Disk(worker::Event),
    /// A learner has dialled, and is known by this number. It is read when [`LinkAct::Open`](super::out::LinkAct) says so.
    Accepted {
        /// Its number: no other link of this process has it, or ever had.
        link: Link,
        /// Where it comes from.
        from: IpAddr,
        /// The configuration lists that address for the member that it claims to be.
        expected: bool,
        /// Who it is; `None` where a harness holds its first packet back.
        hello: Option<Hello>,
    },
    /// The attempt with this number to dial the leader has ended: with a link, or in vain.
    Dialled(u64, Option<Link>),
    /// What has come over a link, in order.
    Heard(Link, Vec<Heard>),
    /// A link has ended: nothing comes over it any more. Also one that waits to be opened.
    Ended(Link),
    /// More waits for a link's other end than [`LinkAct::Bound`](super::out::LinkAct) allows.
    Behind(Link),
    /// A client has introduced itself; its password is right.
    Connect(Arc<Conn>, Connect),
    /// Requests of one connection that need the leader, in order.
    Submitted(Arc<Conn>, Vec<Submit>),
    /// A job has ended.
    Done(Done),
    /// A transaction of a harness, without a session: proposed, if this server leads.
    Propose(Txn),
    /// An operator wants a snapshot of the tree as it is.
    SnapshotAsked(Told<Snapped>),
    /// An operator puts another tree in place of this one.
    Restore(Restoring),
    /// An operator wants what the flight recorder holds.
    FlightAsked(Told<Vec<Chunk>>),
    /// What it holds is to outlive the process.
    KeepFlight,
    /// Apply all that is committed, so that the tree can be compared with the peer.
    Settle,
    /// Stop orderly.
    Shutdown,
}

/// What has come of a [`Job`](super::out::Job).
pub enum Done {
    /// A snapshot of this generation of the history lies in its temporary file, or could not be written.
    Snapshot(Generation, Result<StagedSnapshot, String>),
    /// The snapshot that is to be installed by the write with this mark lies in its temporary file.
    Staged(Mark, Result<StagedSnapshot, String>),
    /// The snapshot of the tree that an operator brings lies in its temporary file, or could not be written.
    RestoreStaged(Result<StagedSnapshot, String>),
    /// The tree was read anew after the truncation with this mark.
    Reloaded(Mark, Result<Box<Tree>, ServerError>),
}
