//! The client protocol, both sides: what a server needs to serve clients, and what a client (load generator, shell, tests)
//! needs to speak to a server.
//!
//! - [`connect`]: the first exchange of a connection, session ids and passwords.
//! - [`request`]: request frames to [`Request`] and back.
//! - [`reply`]: replies and watch events, appended to one buffer so that many share a write; and decoding them.
//! - [`multi`]: the sequences inside `multi` and `multiRead`.

pub mod connect;
pub mod multi;
pub mod reply;
pub mod request;

pub use connect::{
    ConnectRequest, ConnectResponse, first_session_id, is_session_password, session_password,
};
pub use multi::MultiResult;
pub use reply::{ClientInfo, EventType, ReplyFrame, ReplyHeader, Response, WatchEvent};
pub use request::{
    AddWatchMode, PersistentWatches, RawRequest, Request, RequestHeader, SetWatches,
};

/// Operation codes.
#[expect(missing_docs, reason = "the names are ZooKeeper's own")]
pub mod opcode {
    pub const NOTIFICATION: i32 = 0;
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_ACL: i32 = 6;
    pub const SET_ACL: i32 = 7;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CHECK_WATCHES: i32 = 17;
    pub const REMOVE_WATCHES: i32 = 18;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
    pub const MULTI_READ: i32 = 22;
    pub const AUTH: i32 = 100;
    pub const SET_WATCHES: i32 = 101;
    pub const SASL: i32 = 102;
    pub const GET_EPHEMERALS: i32 = 103;
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub const SET_WATCHES2: i32 = 105;
    pub const ADD_WATCH: i32 = 106;
    pub const WHO_AM_I: i32 = 107;
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
    pub const ERROR: i32 = -1;
}

/// Numbers of requests that are not a client's own count.
pub mod xid {
    /// A watch event, from server to client.
    pub const EVENT: i32 = -1;
    /// A ping; its reply always carries it, whatever the request's was.
    pub const PING: i32 = -2;
    /// An authentication packet.
    pub const AUTH: i32 = -4;
    /// Watches set again after a reconnect.
    pub const SET_WATCHES: i32 = -8;
}

#[cfg(test)]
mod tests;
