//! The orderly stop: SIGTERM, SIGINT, or the end of standard input.

use super::inbox::Inbox;
use super::supervisor;
use crate::core::event::Event;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// Waits for SIGTERM or SIGINT; its name.
pub async fn signalled() -> &'static str {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        warn!("no signal can be waited for; stop this server by SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

/// Has the core stop when the process is asked to.
pub fn listen(inbox: Arc<Inbox>, until_stdin_ends: bool) {
    tokio::spawn(async move {
        let why = tokio::select! {
            name = signalled() => name,
            () = stdin_ended(), if until_stdin_ends => "end of standard input",
        };
        info!(why, "stopping");
        supervisor::stopping();
        inbox.push(Event::Shutdown, 0);
    });
}

async fn stdin_ended() {
    let mut stdin = tokio::io::stdin();
    let mut byte = [0; 64];
    while matches!(stdin.read(&mut byte).await, Ok(n) if n > 0) {}
}
