//! What keeps a run from measuring, and what to do about it.

use crate::error::ServerError;
use crate::wire::WireError;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The server cannot be reached, or the connection broke.
    #[error("{server}: {source}; is a ZooKeeper server listening there?")]
    Connection {
        /// HOST:PORT.
        server: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server hung up.
    #[error("{server} closed the connection; a server without a quorum does so, its log says why")]
    Closed {
        /// HOST:PORT.
        server: String,
    },
    /// The two do not come to speak TLS.
    #[error(
        "{server} and TLS: {source}; is this its secureClientPort, its certificate of an authority in --tls-ca, and --tls-cert of one that it takes?"
    )]
    Tls {
        /// HOST:PORT.
        server: String,
        /// What the handshake says, or whoever ended it.
        source: std::io::Error,
    },
    /// A store of TLS is of a type that is not read.
    #[error("{0}")]
    Store(String),
    /// The stores of TLS cannot be used.
    #[error(transparent)]
    Stores(#[from] ServerError),
    /// The server said nothing in time.
    #[error("{server} has not answered for {waited_ms} ms; is it overloaded or without a quorum?")]
    Silent {
        /// HOST:PORT.
        server: String,
        /// How long, ms.
        waited_ms: u128,
    },
    /// The server refuses a session.
    #[error("{server} gave no session; ask for a --session-timeout-ms that it allows")]
    NoSession {
        /// HOST:PORT.
        server: String,
    },
    /// What came is not the client protocol.
    #[error(
        "{server} sent what is not ZooKeeper's client protocol: {source}; if this is its secureClientPort, name its authority with --tls-ca"
    )]
    Wire {
        /// HOST:PORT.
        server: String,
        /// What is wrong with it.
        source: WireError,
    },
    /// Replies must come in the order of the requests.
    #[error("{server} answered request {got} where {expected:?} is next")]
    OutOfOrder {
        /// HOST:PORT.
        server: String,
        /// The oldest request without a reply.
        expected: Option<i32>,
        /// The request answered.
        got: i32,
    },
    /// The nodes of the run could not be made.
    #[error("{server} refused to {what}: error {code}")]
    Refused {
        /// HOST:PORT.
        server: String,
        /// What was asked.
        what: &'static str,
        /// ZooKeeper's error code.
        code: i32,
    },
    /// CPU times need Linux' `/proc` and processes that live.
    #[error("no CPU time of process {pid}: {source}; does it run, and is this Linux?")]
    Cpu {
        /// Which process.
        pid: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// No server was named.
    #[error("no server to load; write --servers HOST:PORT")]
    NoServers,
    /// Our runtime or a task of ours failed.
    #[error("cannot run the load: {0}")]
    Runtime(#[from] std::io::Error),
}
