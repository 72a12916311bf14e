//! The steps of a command, as they are told to whoever waits for it.

use anyhow::{Context, Result, bail};
use std::process::Command;
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

/// Runs cargo as one step.
///
/// # Errors
/// It cannot run, or fails.
pub(crate) fn cargo(args: &[&str]) -> Result<()> {
    let what = format!("cargo {}", args.join(" "));
    let began = announce(&what);
    let status = Command::new(env!("CARGO"))
        .args(args)
        .status()
        .with_context(|| what.clone())?;
    finish(&what, began, status.success())
}
