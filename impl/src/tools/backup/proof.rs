//! Who asks a server for its data, or for another tree in place of it.

use crate::tools::error::ToolError;
use clap::Args;
use std::fs;
use std::path::PathBuf;

/// Who asks a server for its snapshot, or for a restore: whoever has every right on the root.
#[derive(Args)]
pub(super) struct Proof {
    /// What the header Authorization says: digest USER:PASSWORD. Others on this machine can read arguments: see --auth-file
    #[arg(long, value_name = "TEXT", conflicts_with = "auth_file")]
    auth: Option<String>,
    /// The file whose first line says that
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,
}

impl Proof {
    /// # Errors
    /// [`ToolError::Refused`] for a file that cannot be read.
    pub(super) fn text(&self) -> Result<Option<String>, ToolError> {
        let Some(file) = &self.auth_file else {
            return Ok(self.auth.clone());
        };
        let text = fs::read_to_string(file)
            .map_err(|e| ToolError::Refused(format!("{}: {e}", file.display())))?;
        Ok(Some(text.lines().next().unwrap_or_default().trim().into()))
    }
}
