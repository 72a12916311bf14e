//! What several tools take on the command line.

use super::error::ToolError;
use crate::config::ConfigError;
use crate::config::settings::{Given, file_of};
use clap::ValueEnum;
use std::path::PathBuf;

/// How something is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document a line
    Json,
}

/// The configuration file that was named, or the one that `zabra serve` would take.
pub(super) fn config_file(named: Option<&PathBuf>) -> Result<PathBuf, ToolError> {
    let file = named.cloned();
    file.or_else(|| file_of(|name| std::env::var_os(name))).ok_or_else(|| {
        ToolError::Config(ConfigError::Whole {
            path: "arguments".into(),
            what: "no configuration file; name it, as in zoo.cfg, or set ZOOCFGDIR to the directory of zoo.cfg".into(),
        })
    })
}

/// Settings from outside the file, as `zabra serve` takes them.
pub(super) fn given(properties: &[String]) -> Result<Given, ToolError> {
    Ok(Given::read(properties, std::env::vars_os())?)
}
