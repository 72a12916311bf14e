//! Around the tree: what clients may ask for, the lives of sessions, which request a transaction answers, the order in which a
//! session gets its answers, and who is let in among the servers. Each room says at its head how the host calls it.

pub mod admission;
pub mod answers;
pub mod attach;
pub mod claims;
pub mod delivery;
pub mod handover;
pub mod local;
pub mod members;
pub mod membership;
pub mod mode;
pub mod order;
pub mod pressure;
pub mod reach;
pub mod read_only;
pub mod reconfig;
pub mod room;
pub mod session;
pub mod snapshots;
pub mod sweep;
pub mod syncs;
pub mod throttle;
pub mod tokens;
pub mod tracker;
pub mod work;
