//! What a supervisor hears: systemd, or whoever else has set `NOTIFY_SOCKET`.
//!
//! ```text
//! READY=1      the data is read, and the ports take connections: a member may still look for a quorum, which is not its own to have (D-123)
//! STATUS=…     as what it serves, whenever that changes
//! WATCHDOG=1   as long as the task that decides everything takes turns, twice within WATCHDOG_USEC
//! STOPPING=1   the orderly stop has begun
//! ```
//! Datagrams of text, a few lines of code: the crate for it knows no abstract sockets, which containers have, and may wait for who reads.
//! Without the variable there is no task, and a turn looks at one field that is empty.

use crate::client::shared::{Mode, Shared};
use crate::codes::Code;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

/// How often the mode is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// The variable that names the socket.
const SOCKET: &str = "NOTIFY_SOCKET";
/// The variables that say within which time the watchdog wants to hear something, and of which process.
const WATCHDOG: [&str; 2] = ["WATCHDOG_USEC", "WATCHDOG_PID"];

/// The turns that were taken; there are some within each quarter of the watchdog's time, as nobody sleeps longer.
#[derive(Debug)]
pub struct Pulse {
    turns: AtomicU64,
    /// Between two turns, ms.
    pub within_ms: u64,
}

impl Pulse {
    /// One more turn.
    pub fn beat(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Sends to a socket by its path, or by a name that begins with `@` and is no file's. Nobody is waited for.
fn send(socket: &OsStr, text: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    match abstract_name(socket) {
        Some(name) => sender.connect_addr(&name?)?,
        None => sender.connect(socket)?,
    }
    sender.send(text.as_bytes()).map(drop)
}

#[cfg(target_os = "linux")]
fn abstract_name(socket: &OsStr) -> Option<io::Result<SocketAddr>> {
    use std::os::linux::net::SocketAddrExt;
    let name = socket.as_encoded_bytes().strip_prefix(b"@")?;
    Some(SocketAddr::from_abstract_name(name))
}

/// Other systems have no such names.
#[cfg(not(target_os = "linux"))]
fn abstract_name(_socket: &OsStr) -> Option<io::Result<SocketAddr>> {
    None
}

/// Tells, if somebody wants to hear it. A supervisor that has gone does not end the server.
fn tell(text: &str) -> bool {
    let Some(socket) = variable(SOCKET) else {
        return false;
    };
    if let Err(error) = send(&socket, text) {
        warn!(code = %Code::SupervisorUntold, %error, "{SOCKET} cannot be told {text:?}");
    }
    true
}

/// Half of the time within which the watchdog of this process wants to hear something.
fn watchdog() -> Option<Duration> {
    let [usec, pid] = WATCHDOG.map(|name| variable(name)?.into_string().ok());
    let is_ours = pid.is_none_or(|pid| pid == std::process::id().to_string());
    let usec = usec.filter(|_| is_ours)?.parse::<u64>().ok()?;
    Some(Duration::from_micros(usec) / 2).filter(|half| !half.is_zero())
}

/// Tells that the server is ready, and from then on how it is. The turns that are to be counted, if there is a watchdog.
#[must_use]
pub fn start(shared: &Arc<Shared>) -> Option<Arc<Pulse>> {
    let mode = shared.mode();
    if !tell(&format!("READY=1\nSTATUS={}", said(mode))) {
        return None;
    }
    let watched = watchdog().map(|half| {
        info!(
            half_ms = half.as_millis(),
            "a watchdog is told that this server lives"
        );
        let within = u64::try_from(half.as_millis() / 2);
        let pulse = Pulse {
            turns: AtomicU64::new(0),
            within_ms: within.unwrap_or(u64::MAX).max(1),
        };
        (Arc::new(pulse), half)
    });
    let pulse = watched.as_ref().map(|(pulse, _)| Arc::clone(pulse));
    tokio::spawn(watch(Arc::clone(shared), mode, watched));
    pulse
}

/// Tells that the orderly stop has begun.
pub fn stopping() {
    tell("STOPPING=1\nSTATUS=stopping");
}

async fn watch(shared: Arc<Shared>, mut mode: Mode, watched: Option<(Arc<Pulse>, Duration)>) {
    let (mut turns, mut last) = (0, Instant::now());
    let pause = watched
        .as_ref()
        .map_or(LOOK, |(_, half)| LOOK.min(*half / 4));
    loop {
        sleep(pause).await;
        let now = shared.mode();
        if std::mem::replace(&mut mode, now) != now {
            tell(&format!("STATUS={}", said(now)));
        }
        let Some((pulse, half)) = &watched else {
            continue;
        };
        let taken = pulse.turns.load(Ordering::Relaxed);
        if taken != turns && last.elapsed() >= *half / 2 {
            (turns, last) = (taken, Instant::now());
            tell("WATCHDOG=1");
        } else if taken == turns && last.elapsed() >= *half * 2 {
            let ms = last.elapsed().as_millis();
            error!(
                code = %Code::NoTurn,
                "no turn was taken for {ms} ms: the watchdog does not hear that this server lives"
            );
            last = Instant::now();
        }
    }
}

const fn said(mode: Mode) -> &'static str {
    match mode {
        Mode::Standalone => "serves on its own",
        Mode::Follower => "serves as follower",
        Mode::Leader => "serves as leader",
        Mode::Observer => "serves as observer",
        Mode::ReadOnly => "serves reads only, without a quorum",
        Mode::NotServing => "looks for a quorum",
    }
}
