//! Tracing to standard error; standard output carries results only.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sets it up. `ZABRA_LOG` chooses what is said, in the words of tracing's filters; the default is `info`.
pub fn start() {
    let filter = EnvFilter::try_from_env("ZABRA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let done = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    // A second time in one process (tests): the first one stays.
    drop(done);
}
