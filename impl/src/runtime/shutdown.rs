//! The orderly stop: SIGTERM, SIGINT, the end of standard input, or the word of the program that a server is a part of.

use super::inbox::Inbox;
use super::supervisor;
use crate::codes::Code;
use crate::core::event::Event;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

/// What ends a server.
#[derive(Debug)]
pub enum Stop {
    /// SIGTERM or SIGINT.
    Signals,
    /// The same, or the end of standard input.
    SignalsOrEndOfInput,
    /// A word, or that nobody is left who could say it; signals are not this server's.
    Told(oneshot::Receiver<()>),
}

/// Waits for SIGTERM or SIGINT; its name.
pub async fn signalled() -> &'static str {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        warn!(code = %Code::NoSignal, "no signal can be waited for; stop this server by SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

/// Has the core stop when the process is asked to.
pub fn listen(inbox: Arc<Inbox>, stop: Stop) {
    tokio::spawn(async move {
        let why = match stop {
            Stop::Signals => signalled().await,
            Stop::SignalsOrEndOfInput => tokio::select! {
                name = signalled() => name,
                () = stdin_ended() => "end of standard input",
            },
            Stop::Told(told) => {
                let _ = told.await;
                "told to"
            }
        };
        info!(why, "stopping");
        supervisor::stopping();
        inbox.push(Event::Shutdown, 0);
    });
}

/// Waits for the end of standard input.
pub(crate) async fn stdin_ended() {
    let mut stdin = tokio::io::stdin();
    let mut byte = [0; 64];
    while matches!(stdin.read(&mut byte).await, Ok(n) if n > 0) {}
}
