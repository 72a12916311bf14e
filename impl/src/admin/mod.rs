//! For operators: four-letter words and logging.

pub mod commands;
pub mod logging;
