//! Why a tool ends early, and the exit code of that.

use crate::config::ConfigError;
use crate::storage::StorageError;

/// Why a tool ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ToolError {
    /// Whoever read the output has read enough.
    #[error("nobody reads the output")]
    Closed,
    #[error("the output cannot be written: {0}")]
    Output(std::io::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Data(#[from] StorageError),
    /// What was asked for is not done.
    #[error("{0}")]
    Refused(String),
    /// A file is not what it should be.
    #[error("{0}")]
    Damaged(String),
}

/// The exit code of whoever was asked for something that cannot be.
pub(super) const FAILED: u8 = 1;
/// The exit code of a configuration that cannot be used, as of `zabra serve`.
pub(super) const CONFIG: u8 = 2;
/// The exit code of data that cannot be used, as of `zabra serve`.
pub(super) const DATA: u8 = 3;

impl ToolError {
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Output(_) | Self::Refused(_) => FAILED,
            Self::Config(_) => CONFIG,
            Self::Data(_) | Self::Damaged(_) => DATA,
        }
    }
}
