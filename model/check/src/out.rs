//! Standard output that may be closed early, as `zabra-check list | head` does.

use std::io::{ErrorKind, Write};
use std::process::exit;

/// Writes, and ends the process if nobody reads any more.
pub(crate) fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => {}
        // Nobody is left to tell. Nor has anybody heard that all holds, so it is not said by the exit code either.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => exit(1),
        Err(e) => {
            eprintln!("zabra-check: standard output: {e}");
            exit(1);
        }
    }
}

/// A line on standard output.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::out::put(&format!("{}\n", format_args!($($text)*)))
    };
}

pub(crate) use say;
