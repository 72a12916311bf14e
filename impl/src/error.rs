//! What stops the server, in words for an operator, and the exit code of each cause.

pub mod panics;

use std::path::PathBuf;
use std::process::ExitCode;

/// The port for elections, as [`ServerError::Bind`] names it.
pub const ELECTION_PORT: &str = "election port";

/// A fatal error.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// What the data directory holds cannot be read.
    #[error("{0}")]
    Data(crate::storage::StorageError),
    /// The disk has failed while the server ran. Nothing is retried: after a failed sync nobody knows what is on it.
    #[error("the disk has failed, the server stops: {0}; check the disk, then start again")]
    Disk(String),
    /// A port cannot be listened on.
    #[error("cannot listen on {addr} ({what}): {source}; is another server running there?")]
    Bind {
        /// The address.
        addr: String,
        /// Which of the server's ports.
        what: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// A name to listen on that nobody knows.
    #[error("{key}: the name {host} does not resolve ({source}); correct it, or the name service")]
    UnknownName {
        /// What it is for.
        key: &'static str,
        /// The name.
        host: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// An ensemble of child processes could not be run.
    #[error("{0}")]
    Dev(String),
    /// The system refuses something that every server needs.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A part of the server has ended unexpectedly: our bug.
    #[error("{0} has ended unexpectedly; please report this")]
    Bug(&'static str),
}

impl ServerError {
    /// The process's exit code: 2 configuration, 3 data, 5 ports, 6 our bug, 10 disk, 14 the election port, 1 everything else. 2, 3, 10
    /// and 14 are ZooKeeper's for the same; its 4 is for the HTTP server of commands.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Data(_) => 3,
            Self::Disk(_) => 10,
            Self::Bind { what, .. } if *what == ELECTION_PORT => 14,
            Self::Bind { .. } | Self::UnknownName { .. } => 5,
            Self::Bug(_) => 6,
            Self::Dev(_) | Self::Io { .. } => 1,
        }
    }
}

impl From<&ServerError> for ExitCode {
    fn from(error: &ServerError) -> Self {
        Self::from(error.exit_code())
    }
}
