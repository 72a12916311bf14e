//! The parts of a cluster by number: how many there can be, which server has which place, and what can happen to a connection
//! and to a mailbox.

use super::link::End;
use crate::ids::ServerId;
use crate::vote::Notification;
use alloc::vec::Vec;

/// The largest cluster.
pub const SERVERS_MAX: usize = 6;
/// The most connections at once, those that only one end still holds included.
pub const WIRES_MAX: usize = 12;

/// The election messages on the way to one server, by sender; oldest first.
pub type Mailbox = Vec<Vec<Notification>>;

/// What can happen to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum OnWire {
    /// A frame is sent from this end.
    Send(End, u32),
    /// This end takes the next frame.
    Receive(End),
    /// This end lets go.
    Close(End),
    /// The network drops it.
    Cut,
    /// The packet after NEWLEADER comes before it.
    Overtake,
    /// Its SNAP is this one instead.
    SnapLater(u32),
}

/// What can happen to a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum OnMail {
    /// A message of this sender is put in.
    Post(u8, u32),
    /// The oldest message of this sender is taken out.
    Take(u8),
    /// Its owner is gone.
    Empty,
}

/// The number that stands for "nothing": a connection that is gone, a frame that was not there.
pub(super) const NONE: u32 = u32::MAX;

/// The index of a server in the vectors of this module.
pub(super) fn index(id: ServerId) -> usize {
    usize::try_from(id.0).unwrap_or(usize::MAX) - 1
}

/// The server with that index.
pub(super) fn sid(i: usize) -> ServerId {
    ServerId(i as u64 + 1)
}
