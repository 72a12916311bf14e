//! The quorum port: learners come in, the leader is dialled.

use crate::config::{Config, join};
use crate::error::ServerError;
use crate::host::inbox::{Event, Inbox};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};
use zabra_model::ids::ServerId;

/// Pauses between tries to reach the leader: short at first, it has just been elected.
const RETRY: [Duration; 4] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
];

/// Takes the quorum port, if this server is a member. Learners that dial wait until [`listen`] takes them: a leader to be
/// has read its data.
///
/// # Errors
/// [`ServerError::Bind`].
pub async fn bind(config: &Config) -> Result<Option<TcpListener>, ServerError> {
    let Some(own) = config.members.get(&config.me) else {
        return Ok(None);
    };
    let host = if config.listen_on_all {
        "0.0.0.0"
    } else {
        own.host.as_str()
    };
    let addr = join(host, own.quorum_port);
    let bound = TcpListener::bind(&addr).await;
    bound.map(Some).map_err(|source| ServerError::Bind {
        addr,
        what: "quorum port",
        source,
    })
}

/// Listens for learners; each becomes an [`Event::Accepted`].
pub fn listen(listener: TcpListener, inbox: Arc<Inbox>) {
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    debug!(%from, "a learner has dialled");
                    inbox.push(Event::Accepted(stream), 0);
                }
                Err(error) => {
                    warn!(%error, "cannot accept on the quorum port");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
}

/// Dials the leader until `within` is over; the outcome is [`Event::Dialled`] with `attempt`.
pub fn dial(
    config: &Config,
    leader: ServerId,
    attempt: u64,
    within: Duration,
    inbox: Arc<Inbox>,
) -> tokio::task::JoinHandle<()> {
    let addr = config
        .members
        .get(&leader)
        .map(|m| join(&m.host, m.quorum_port));
    tokio::spawn(async move {
        let stream = match addr {
            Some(addr) => connect(&addr, within).await,
            None => None, // a vote for a server that is not configured here
        };
        inbox.push(Event::Dialled(attempt, stream), 0);
    })
}

async fn connect(addr: &str, within: Duration) -> Option<TcpStream> {
    let deadline = Instant::now() + within;
    let mut pauses = RETRY.iter();
    let mut pause = Duration::ZERO;
    loop {
        match timeout_at(deadline, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => debug!(addr, %error, "cannot reach the leader yet"),
            Err(_) => return None,
        }
        pause = pauses.next().copied().unwrap_or(pause);
        if Instant::now() + pause >= deadline {
            return None;
        }
        sleep(pause).await;
    }
}
