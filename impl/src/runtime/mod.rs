//! The real side of the edges: tokio, sockets, clocks, and what the system allows.

pub mod clock;
pub mod limits;
