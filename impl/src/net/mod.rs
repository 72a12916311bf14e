//! Sockets: who dials whom, and what may come in.

pub mod doors;
pub mod election;
pub mod link;
pub mod quorum;

pub use crate::limits;
