//! For operators: four-letter words and logging.

pub mod commands;
mod environment;
#[cfg(feature = "runtime")]
pub mod logging;
mod sessions;
mod watches;
