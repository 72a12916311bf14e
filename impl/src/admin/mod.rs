//! For operators: four-letter words and logging.

pub mod commands;
#[cfg(feature = "runtime")]
pub mod logging;
