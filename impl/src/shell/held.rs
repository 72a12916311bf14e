//! A program that runs while something is held, and that has ended before somebody else may hold it.
//!
//! What is held is an ephemeral node, which goes when the session expires. The server counts from the last thing that it has heard of this
//! client; the client notices the silence within 9/20 of the session timeout. So a program that is told to end a quarter of the timeout after
//! that, and killed after a half, is over before the node is gone. If the shell itself is killed, the system kills the program (Linux). A
//! machine that stands still in between defeats all of this; for that there is the zxid, which what is written to can compare.

use super::failure::Failure;
use super::session::Session;
use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};
use zookeeper_client::SessionState;

/// The hidden command that starts a program which does not outlive its parent.
pub const COMMAND: &str = "held";
/// How long a program may take to end when the shell is told to.
const GRACE: Duration = Duration::from_secs(10);

/// Why a program is told to end before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Lost,
    Interrupted,
}

/// Runs a program to its end, or until what is held may be lost. The error has its exit code if that is not 0.
pub(super) async fn run(
    session: &Session,
    command: &[String],
    variables: &[(&str, String)],
) -> Result<(), Failure> {
    let mut child = spawn(session, command, variables)?;
    let mut states = session.client.state_watcher();
    let timeout = session.client.session_timeout();
    let deadlines = || {
        let now = Instant::now();
        (now + timeout / 4, now + timeout / 2)
    };
    // The connection may have gone before anybody looked.
    let (mut soft, mut hard) = match session.client.state() {
        SessionState::Disconnected => {
            let (soft, hard) = deadlines();
            (Some(soft), Some(hard))
        }
        _ => (None, None),
    };
    let mut cause = None;
    loop {
        let status = tokio::select! {
            status = child.wait() => Some(status),
            state = states.changed() => {
                match state {
                    SessionState::SyncConnected if cause.is_none() => (soft, hard) = (None, None),
                    SessionState::Disconnected if cause != Some(Cause::Lost) => {
                        let (first, last) = deadlines();
                        soft = Some(first);
                        hard = Some(hard.map_or(last, |grace: Instant| grace.min(last)));
                    }
                    state if state.is_terminated() => {
                        cause = Some(Cause::Lost);
                        let _ = child.start_kill();
                    }
                    _ => {}
                }
                None
            }
            () = until(soft) => {
                soft = None;
                cause = Some(Cause::Lost);
                terminate(&child);
                None
            }
            () = until(hard) => {
                hard = None;
                cause = Some(cause.unwrap_or(Cause::Interrupted));
                let _ = child.start_kill();
                None
            }
            () = interrupted(), if cause.is_none() => {
                cause = Some(Cause::Interrupted);
                hard = Some(Instant::now() + GRACE);
                terminate(&child);
                None
            }
        };
        if let Some(status) = status {
            let status = status.map_err(|e| Failure::refused(format!("{}: {e}", command[0])))?;
            return told(command, status, cause);
        }
    }
}

fn told(command: &[String], status: ExitStatus, cause: Option<Cause>) -> Result<(), Failure> {
    let program = &command[0];
    match cause {
        Some(Cause::Lost) => Err(Failure::lost(format!(
            "{program}: ended, because the connection is gone and with it what was held"
        ))),
        Some(Cause::Interrupted) => Err(Failure::interrupted(program)),
        None if status.success() => Ok(()),
        None => Err(Failure::of_program(program, status)),
    }
}

fn spawn(
    session: &Session,
    command: &[String],
    variables: &[(&str, String)],
) -> Result<Child, Failure> {
    let this = std::env::current_exe()
        .map_err(|e| Failure::refused(format!("this program's own file is not found: {e}")))?;
    let mut child = Command::new(this);
    child
        .args([COMMAND, &std::process::id().to_string(), "--"])
        .args(command)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true);
    if session.reads_lines {
        // The lines of standard input are the shell's.
        child.stdin(Stdio::null());
    }
    child
        .spawn()
        .map_err(|e| Failure::refused(format!("{}: {e}", command[0])))
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Somebody wants the shell to end, by Ctrl-C or by SIGTERM.
pub(super) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Asks it to end.
fn terminate(child: &Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process};
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// Becomes that program. The system kills it when `parent` ends, where it can; returns only if it cannot be started.
pub fn become_program(parent: u32, command: &[OsString]) -> String {
    let Some((program, arguments)) = command.split_first() else {
        return "no program is named".to_owned();
    };
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};
        if let Err(e) = set_parent_process_death_signal(Some(Signal::KILL)) {
            return format!("it would outlive the shell: {e}");
        }
        // The shell may have ended before that.
        let now = getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        if now != Some(parent) {
            return "the shell has ended".to_owned();
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        let error = std::process::Command::new(program).args(arguments).exec();
        format!("{}: {error}", program.display())
    }
    #[cfg(not(unix))]
    match std::process::Command::new(program).args(arguments).status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => format!("{}: {error}", program.display()),
    }
}
