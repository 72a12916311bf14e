//! The steps of a command, as they are told to whoever waits for it.

use anyhow::{Result, bail};
use std::time::Instant;

/// Says what begins.
pub(crate) fn announce(what: &str) -> Instant {
    eprintln!("==> {what}");
    Instant::now()
}

/// Says how long it took.
///
/// # Errors
/// It failed.
pub(crate) fn finish(what: &str, began: Instant, ok: bool) -> Result<()> {
    if !ok {
        bail!("{what} failed");
    }
    eprintln!("    done in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}
