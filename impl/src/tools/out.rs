//! Standard output, whose reader may leave.

use super::error::ToolError;
use serde::Serialize;
use std::fmt::Arguments;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

/// Lines for standard output, written in large pieces.
pub(super) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(super) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    /// # Errors
    /// [`ToolError::Closed`], if nobody reads on; [`ToolError::Output`].
    pub(super) fn line(&mut self, line: Arguments<'_>) -> Result<(), ToolError> {
        let written = self
            .0
            .write_fmt(line)
            .and_then(|()| self.0.write_all(b"\n"));
        written.map_err(failed)
    }

    /// # Errors
    /// As [`Self::line`].
    pub(super) fn text(&mut self, text: &str) -> Result<(), ToolError> {
        self.0.write_all(text.as_bytes()).map_err(failed)
    }

    /// A document on a line of its own.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(super) fn json(&mut self, document: &impl Serialize) -> Result<(), ToolError> {
        serde_json::to_writer(&mut self.0, document).map_err(|e| failed(e.into()))?;
        self.text("\n")
    }

    /// Hands on what is written so far: before something is said on standard error, and at the end.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(super) fn flush(&mut self) -> Result<(), ToolError> {
        self.0.flush().map_err(failed)
    }
}

/// A line on standard output. Who has closed it has read enough, and what was begun is not left half done for that.
pub(super) fn say(line: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line for the operator on standard error.
pub(super) fn tell(line: Arguments<'_>) {
    note(format_args!("zabra: {line}"));
}

/// A line on standard error that is part of an answer.
pub(super) fn note(line: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn failed(error: io::Error) -> ToolError {
    match error.kind() {
        ErrorKind::BrokenPipe => ToolError::Closed,
        _ => ToolError::Output(error),
    }
}
