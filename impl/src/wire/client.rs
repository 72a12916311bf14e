//! The client protocol, both sides: what a server needs to serve clients, and what a client (load generator, shell, tests)
//! needs to speak to a server.
//!
//! - [`connect`]: the first exchange of a connection, session ids and passwords.
//! - [`request`]: request frames to [`Request`] and back.
//! - [`reply`]: replies and watch events, appended to one buffer so that many share a write; and decoding them.
//! - [`operation`]: the reads and writes in requests, and the sequences of them inside `multi` and `multiRead`.
//! - [`multi`]: the sequences of results.
//! - [`opcode`], [`xid`]: numbers.

pub mod connect;
pub mod multi;
pub mod opcode;
pub mod operation;
pub mod reply;
pub mod request;
pub mod xid;

pub use connect::{ConnectRequest, ConnectResponse};
pub use multi::MultiResult;
pub use reply::{ClientInfo, EventType, ReplyFrame, ReplyHeader, Response, WatchEvent};
pub use request::{
    AddWatchMode, PersistentWatches, RawRequest, ReadInPlace, Request, RequestHeader, SetWatches,
};

#[cfg(test)]
mod tests;
