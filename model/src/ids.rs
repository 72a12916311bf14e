//! Identities and positions: who a server is, and where a transaction stands in the history.
//!
//! Every one is a newtype with an order, so that two numbers of different meaning cannot be mixed up.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A server's identity: ZooKeeper's `sid`, the number in `myid`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct ServerId(pub u64);

impl ServerId {
    /// No server: whom a server without a vote votes for until it has heard of a candidate. ZooKeeper's servers say it by this number, too.
    pub const NOBODY: Self = Self(1 << 63);
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NOBODY => f.pad("nobody"),
            Self(id) => id.fmt(f),
        }
    }
}

/// A period of one leader: the high half of its zxids.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The following epoch; `None` when all are used up.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A transaction's position in the history: epoch in the high 32 bits, counter in the low 32 bits.
///
/// Counter 0 names no transaction: `(e, 0)` is the position at which epoch `e` begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Zxid(pub u64);

impl Zxid {
    /// Before every transaction.
    pub const ZERO: Self = Self(0);

    /// No position at all (-1 on the wire): a learner that names it gets SNAP.
    pub const NONE: Self = Self(u64::MAX);

    /// The zxid of `counter` in `epoch`.
    #[must_use]
    pub const fn new(epoch: Epoch, counter: u32) -> Self {
        Self(((epoch.0 as u64) << 32) | counter as u64)
    }

    /// The epoch in which this position was proposed.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 >> 32) as u32)
    }

    /// The place inside the epoch, from 1.
    #[must_use]
    pub const fn counter(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    /// The following zxid of the same epoch; `None` when the counter is used up.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.counter().checked_add(1) {
            Some(c) => Some(Self::new(self.epoch(), c)),
            None => None,
        }
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}c{}", self.epoch().0, self.counter())
    }
}

/// An election's number at one server: ZooKeeper's `logicalclock`, on the wire `electionEpoch`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Round(pub u64);

/// A client session: the owner of ephemeral nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
