//! How the core reaches whoever serves a client connection.

/// The one bell of a connection. Whoever rings promises to have changed the connection's state before; whoever hears promises to
/// look at all of that state after each ring, and neither to lose a ring that comes while nobody listens nor to count how many
/// they were. Ringing never waits and takes no lock of the server.
pub trait Wake: Send + Sync {
    /// There is something to send, or what was waited for has come.
    fn wake(&self);
    /// The connection is over: as [`Wake::wake`], and a write that is stuck is given up, too.
    fn end(&self);
}
