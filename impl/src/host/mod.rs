//! The host: the one task that owns the protocol core, and everything that hands it inputs or carries out its effects.

pub mod core;
mod deliver;
#[cfg(feature = "gate")]
pub mod gate;
pub mod inbox;
mod lead;
mod links;
mod persist;
mod room;
pub mod timers;
pub mod trigger;
mod window;

pub use crate::payload;
pub use crate::runtime::boot;
pub use crate::storage::snapshot::tree as tree_sink;

/// What the core shares with the connections.
pub mod shared {
    pub use crate::client::conn::{Conn, ConnPhase as Phase};
    pub use crate::client::hub::Hub;
    pub use crate::client::shared::{Mode, Shared};
}

pub use crate::client::hub::Map;
pub use crate::client::lock::lock;
