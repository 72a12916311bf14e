//! Numbers of requests that are not a client's own count.

/// A watch event, from server to client.
pub const EVENT: i32 = -1;
/// A ping; its reply always carries it, whatever the request's was.
pub const PING: i32 = -2;
/// An authentication packet.
pub const AUTH: i32 = -4;
/// Watches set again after a reconnect.
pub const SET_WATCHES: i32 = -8;
