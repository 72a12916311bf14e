//! Why a client connection is over.

/// The reason, for logs and tests: the client is told nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Ended {
    /// It was closed: its session is over or has another connection, or this server stopped serving.
    #[error("it was closed")]
    Closed,
    /// This server serves nobody now.
    #[error("this server serves nobody now")]
    NotServing,
    /// The client has seen more than this server.
    #[error("the client has seen more than this server")]
    SeenMore,
    /// There is no leader, and the client does not accept to read only.
    #[error("there is no leader, and the client does not accept to read only")]
    WantsToWrite,
    /// There is no leader to say whether the session still lives.
    #[error("there is no leader to say whether the session still lives")]
    GlobalSession,
    /// Nothing that is a connect request came in time ([`crate::config::net::Net::first_words_ms`]).
    #[error("no connect request came in time")]
    Late,
    /// The first frame is no connect request.
    #[error("the first frame is no connect request")]
    NotAConnect,
    /// A frame is longer than `jute.maxbuffer` allows, or its length is negative.
    #[error("a frame of a forbidden length")]
    FrameLength,
    /// It sends a long request while all connections together send too much.
    #[error("too much of long requests is on the way (zabra.waitingBytesMax)")]
    Crowded,
    /// It sends a large request while all connections together have too much of them under way.
    #[error("too much of large requests is under way (largeRequestMaxBytes)")]
    LargeRequest,
    /// Its next request has waited in line for longer than the session lives.
    #[error("a request has waited for longer than its session lives (request_stale_latency_check)")]
    Stale,
    /// Clients come faster than they are let in.
    #[error("clients come too fast (connection_throttle_tokens)")]
    TooFast,
    /// A frame is too short for the header of a request.
    #[error("a frame without a request's header")]
    NoHeader,
    /// The session cannot live any more, or lives at another server.
    #[error("nothing was heard for longer than the session lives")]
    Silent,
    /// The client does not fetch its answers.
    #[error("answers that nobody fetches")]
    Unread,
}
