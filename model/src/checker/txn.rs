//! What a modelled transaction is: a write, which its zxid tells apart from others, or a reconfiguration.

use crate::ensemble::{Config, Ensemble, Payload};
use crate::ids::{ServerId, Zxid};
use crate::quorum::Voters;
use alloc::vec::Vec;

/// A transaction's payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Txn {
    /// A client's write.
    Write,
    /// These are the voters: a bit for each server, the lowest for server 1.
    Reconfigure(u8),
}

impl Txn {
    /// The bits of a reconfiguration; none for a write.
    #[must_use]
    pub const fn members(self) -> u8 {
        match self {
            Self::Write => 0,
            Self::Reconfigure(members) => members,
        }
    }
}

impl Payload for Txn {
    fn voters(&self) -> Option<Voters> {
        match self {
            Self::Write => None,
            Self::Reconfigure(members) => Some(voters(*members)),
        }
    }
}

/// The voters of a bit set.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn voters(members: u8) -> Voters {
    let ids = (0..8)
        .filter(|i| members >> i & 1 == 1)
        .map(|i| ServerId(i + 1));
    Voters::new(&ids.collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{e}"))
}

/// A configuration as disks and packets of the model hold it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Listed {
    /// Its version.
    pub version: Zxid,
    /// Its voters, as bits.
    pub members: u8,
}

impl Listed {
    /// The configuration that an ensemble begins with.
    #[must_use]
    pub const fn first(members: u8) -> Self {
        let version = Zxid::ZERO;
        Self { version, members }
    }

    fn of(config: &Config) -> Self {
        let members = config
            .voters
            .iter()
            .fold(0, |bits, ServerId(id)| bits | 1 << (id - 1));
        Self {
            version: config.version,
            members,
        }
    }

    fn config(self) -> Config {
        Config {
            version: self.version,
            voters: voters(self.members),
        }
    }
}

/// The active configuration and the newer one, if there is one.
#[must_use]
pub fn listed(ensemble: &Ensemble) -> (Listed, Option<Listed>) {
    let next = ensemble.next().map(Listed::of);
    (Listed::of(ensemble.active()), next)
}

/// What a disk with these binds a server to.
#[must_use]
pub fn ensemble(active: Listed, in_history: &[Listed]) -> Ensemble {
    let in_history = in_history.iter().map(|c| c.config());
    Ensemble::found(active.config(), in_history)
}
