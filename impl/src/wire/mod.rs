//! Bytes to types and back: ZooKeeper's client, election and quorum protocols and the payload of its log.
//!
//! No sockets and no state live here. Whatever arrives is refused with a [`WireError`] or decoded; nothing panics,
//! and nothing is allocated for a length that a peer merely claims.
//!
//! Decoded buffers are slices of the frame they came in (`Bytes`), so decoding copies no data. Whoever keeps a buffer for
//! long (the tree) copies it, or a small node would pin a whole read buffer.

pub mod client;
pub mod cursor;
pub mod election;
pub mod four_letter;
pub mod frame;
pub mod link;
pub mod mail;
pub mod payload;
pub mod quorum;
pub mod quorum_auth;
pub mod snapshot;
pub mod txn;

pub use cursor::WireError;
