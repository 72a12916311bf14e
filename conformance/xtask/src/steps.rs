//! The steps of a command, as they are told to whoever waits for it.

use anyhow::{Context, Result, bail};
use std::cell::Cell;
use std::process::Command;
use std::time::Instant;

thread_local! {
    /// Whether this thread's steps run beside those of another one, which they give way to.
    static GIVES_WAY: Cell<bool> = const { Cell::new(false) };
}

/// From now on the steps of this thread have the processor when nobody else wants it, and what they print comes at their end, in one piece.
pub(crate) fn give_way() {
    GIVES_WAY.set(true);
}

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
    let seconds = began.elapsed().as_secs_f64();
    if GIVES_WAY.get() {
        eprintln!("    done in {seconds:.0} s: {what}");
    } else {
        eprintln!("    done in {seconds:.0} s");
    }
    Ok(())
}

/// Runs cargo as one step.
///
/// # Errors
/// It cannot run, or fails.
pub(crate) fn cargo(args: &[&str]) -> Result<()> {
    let what = format!("cargo {}", args.join(" "));
    let began = announce(&what);
    let succeeded = run(Command::new(env!("CARGO")).args(args)).with_context(|| what.clone())?;
    finish(&what, began, succeeded)
}

/// Runs a command; whether it succeeded.
fn run(command: &mut Command) -> std::io::Result<bool> {
    if !GIVES_WAY.get() {
        return Ok(command.status()?.success());
    }
    let mut nice = Command::new("nice");
    nice.args(["-n", "10"])
        .arg(command.get_program())
        .args(command.get_args());
    let output = match nice.output() {
        // Not everywhere is there such a program.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => command.output()?,
        output => output?,
    };
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(output.status.success())
}
