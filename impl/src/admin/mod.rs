//! For operators: four-letter words, commands over HTTP, metrics and logging.

pub mod commands;
pub mod endpoints;
mod environment;
pub mod exposition;
mod facts;
pub mod guarded;
pub mod json;
#[cfg(feature = "runtime")]
pub mod logging;
pub mod metrics;
pub mod page;
mod sessions;
mod watches;
