//! The flight recorder: what a server has heard, step by step, in few bytes, so that its life can be lived again.
//!
//! [`Peer::step`](crate::peer::Peer::step) is a function: from a state and an input follow the next state and all effects. So a record
//! of the inputs is a record of everything, and of the effects only a sum is kept, by which a second life is compared with the first
//! ([`live_again`]).
//!
//! The record is a row of *segments*. Each stands alone: it begins with a whole state ([`Opening`]), and what follows are the inputs from
//! there on, with their times. The newest segments are kept in memory, up to a bound. While something happens that an operator may ask
//! about (an election, a synchronization, a connection that ends), the segment in which it happens is handed out to be kept for longer;
//! what a server does thousands of times a second without that (proposals, acknowledgements, PINGs) is not.

mod bytes;
mod life;
mod recorder;
mod sum;
#[cfg(test)]
mod tests;

pub use bytes::Damage;
pub use life::{Divergence, Lived, Seen, What, live_again, read};
pub use recorder::{Chunk, Limits, Recorder};

use crate::durable::Durable;
use crate::ensemble::{Ensemble, Payload};
use crate::packet::Packet;
use crate::peer::Peer;
use crate::quorum::Voters;
use crate::step::{Env, Input};
use alloc::boxed::Box;
use serde::{Deserialize, Serialize};

/// The time of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since the start of the process: they only rise.
    pub elapsed_ms: u64,
    /// Milliseconds since 1970: somebody may set them, also back.
    pub date_ms: u64,
}

/// What is recorded of a transaction: the voters that it brings, if it is a reconfiguration.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Brief(pub Option<Box<Voters>>);

impl Brief {
    fn of(txn: &impl Payload) -> Self {
        Self(txn.voters().map(Box::new))
    }
}

impl Payload for Brief {
    fn voters(&self) -> Option<Voters> {
        self.0.as_deref().cloned()
    }
}

/// How a segment begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Opening {
    /// The peer boots from what the disk holds.
    Boot {
        /// When.
        at: Moment,
        /// Its surroundings.
        env: Env,
        /// What the disk holds.
        found: Durable,
        /// The lists that bind it.
        ensemble: Ensemble,
    },
    /// The peer goes on.
    On {
        /// Since when there is this segment.
        at: Moment,
        /// Its surroundings.
        env: Env,
        /// The peer.
        peer: Box<Peer>,
        /// Steps that it has taken since it booted.
        steps: u64,
    },
}

impl Opening {
    /// When the segment begins.
    #[must_use]
    pub const fn at(&self) -> Moment {
        match self {
            Self::Boot { at, .. } | Self::On { at, .. } => *at,
        }
    }
}

/// An input without what its transaction does.
fn brief<T: Payload>(input: &Input<T>) -> Input<Brief> {
    match input {
        Input::Durable(mark) => Input::Durable(*mark),
        Input::Notified { from, notification } => Input::Notified {
            from: *from,
            notification: *notification,
        },
        Input::Linked(link) => Input::Linked(*link),
        Input::Unreachable => Input::Unreachable,
        Input::Received { link, packet } => Input::Received {
            link: *link,
            packet: brief_packet(packet),
        },
        Input::Unlinked(link) => Input::Unlinked(*link),
        Input::Fired(timer) => Input::Fired(*timer),
        Input::Propose(txn) => Input::Propose(Brief::of(txn)),
    }
}

fn brief_packet<T: Payload>(packet: &Packet<T>) -> Packet<Brief> {
    match packet {
        Packet::FollowerInfo { sid, accepted } => Packet::FollowerInfo {
            sid: *sid,
            accepted: *accepted,
        },
        Packet::ObserverInfo { sid, accepted } => Packet::ObserverInfo {
            sid: *sid,
            accepted: *accepted,
        },
        Packet::LeaderInfo { epoch } => Packet::LeaderInfo { epoch: *epoch },
        Packet::AckEpoch { last, current } => Packet::AckEpoch {
            last: *last,
            current: *current,
        },
        Packet::Diff { zxid } => Packet::Diff { zxid: *zxid },
        Packet::Trunc { zxid } => Packet::Trunc { zxid: *zxid },
        Packet::Snap { zxid, ensemble } => Packet::Snap {
            zxid: *zxid,
            ensemble: ensemble.clone(),
        },
        Packet::Proposal { zxid, txn } => Packet::Proposal {
            zxid: *zxid,
            txn: Brief::of(txn),
        },
        Packet::Commit { zxid } => Packet::Commit { zxid: *zxid },
        Packet::Inform { zxid, txn } => Packet::Inform {
            zxid: *zxid,
            txn: Brief::of(txn),
        },
        Packet::CommitAndActivate { zxid } => Packet::CommitAndActivate { zxid: *zxid },
        Packet::NewLeader { epoch } => Packet::NewLeader { epoch: *epoch },
        Packet::UpToDate => Packet::UpToDate,
        Packet::Ack { zxid } => Packet::Ack { zxid: *zxid },
        Packet::Ping { zxid } => Packet::Ping { zxid: *zxid },
    }
}
