//! What a server wants done, as plain data: whoever drives it carries it out.

use crate::client::conn::Conn;
use crate::storage::worker::Op;
use bytes::BytesMut;
use std::sync::Arc;
use zabra_model::fault::Fault;
use zabra_model::flight::Chunk;
use zabra_model::ids::{ServerId, Zxid};
use zabra_model::service::snapshots::Generation;
use zabra_model::step::{Link, Mark, Timer};
use zabra_model::tree::image::Image;
use zabra_model::tree::node::Tree;
use zabra_model::vote::Notification;

/// All that one turn asks for. The parts may be carried out in any order, what is in one part in its own order: what depends on
/// the disk is only asked for by a turn that has heard of the disk.
#[derive(Default)]
pub struct Outputs {
    /// Operations of the disk, with tokens that rise.
    pub disk: Vec<(u64, Op)>,
    /// What happens to the links between the servers.
    pub links: Vec<LinkAct>,
    /// Notifications of the election. A newer one for a server may take the place of one that has not left yet.
    pub mail: Vec<(ServerId, Notification)>,
    /// Whom to dial.
    pub dials: Vec<DialAct>,
    /// What takes long, and comes back as an [`Event::Done`](super::event::Event).
    pub jobs: Vec<Job>,
    /// Lines of the audit log, if there is one.
    pub audit: Vec<String>,
    /// Parts of the flight recorder's segments that are to outlive the process.
    pub kept: Vec<Chunk>,
    /// Connections of clients that have something to send, or have ended.
    pub woken: Vec<Arc<Conn>>,
    /// Clients that have asked for writes are not read on: too much waits to be committed.
    pub hold_clients: bool,
    /// The leader is not read on: too much waits for the disk.
    pub hold_leader: bool,
    /// The lists of members have changed: see [`Shared::lists`](crate::client::shared::Shared::lists).
    pub members_changed: bool,
    /// When the next turn is due if nothing happens, in [`Now::elapsed_ms`](super::event::Now).
    pub wake_ms: u64,
    /// This was the last turn: what is in the other parts is carried out, the disk finishes, and that is the end.
    pub ended: bool,
    /// What a harness wants to know, if it does.
    pub told: Vec<Told>,
    /// Buffers whose packets have been sent, to be used again: the driver puts them here.
    pub spare: Vec<BytesMut>,
}

/// What happens to a link.
pub enum LinkAct {
    /// It is read from now on. Its other end may be silent for so long.
    Open {
        /// Which.
        link: Link,
        /// Whether its other end is the leader.
        to_leader: bool,
        /// Milliseconds without a byte, then it ends.
        silence_ms: u64,
    },
    /// Something is sent, behind all that was sent before.
    Send(Link, Item),
    /// Its other end may be silent for so long from now on, ms.
    Silence(Link, u64),
    /// So many bytes may wait for its other end from now on; beyond it there is an [`Event::Behind`](super::event::Event).
    Bound(Link, usize),
    /// It ends, opened or not; nothing is heard of it any more.
    Close(Link),
}

/// Something to be sent over a link.
pub enum Item {
    /// Packets.
    Packets(BytesMut),
    /// Proposals in `(after, upto]` that have to be read from the log files first.
    History {
        /// Above this.
        after: Zxid,
        /// Up to this.
        upto: Zxid,
        /// Each followed by its COMMIT.
        committed: bool,
    },
    /// The stream behind SNAP.
    Tree(Box<Image>),
}

/// Whom to dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialAct {
    /// The leader's quorum port, again and again for so long; it ends with [`Event::Dialled`](super::event::Event) and this number.
    Begin {
        /// Whom.
        leader: ServerId,
        /// The attempt's number.
        attempt: u64,
        /// For how long, ms.
        within_ms: u64,
    },
    /// The attempt that is under way is not wanted any more.
    Stop,
}

/// What takes long.
pub enum Job {
    /// Write a snapshot to a temporary file: [`Done::Snapshot`](super::event::Done).
    Snapshot {
        /// The generation of the history that it is of.
        generation: Generation,
        /// The tree.
        image: Image,
    },
    /// Write the snapshot that is to be installed, again and again until there is room: [`Done::Staged`](super::event::Done).
    Stage {
        /// The write that it is for.
        mark: Mark,
        /// The tree.
        image: Image,
    },
    /// Write the snapshot of the tree that an operator brings, if there is room: [`Done::RestoreStaged`](super::event::Done).
    Restore {
        /// The tree.
        image: Image,
    },
    /// Read the tree anew: [`Done::Reloaded`](super::event::Done).
    Reload {
        /// The truncation that it follows.
        mark: Mark,
    },
    /// Free a tree: a million nodes take a while. Nothing comes back.
    Free(Box<Tree>),
}

/// What a harness is told, see [`Start::tells`](super::turn::Start).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// A timer was started.
    Armed(Timer),
    /// A timer was stopped.
    Disarmed(Timer),
    /// The protocol asked for a write of this kind and value.
    Write(&'static str, u64),
    /// The protocol has refused something.
    Refused(Fault),
}
