//! The quorum port: learners come in, the leader is dialled.

use super::doors::{Doors, Strangers};
use super::limits::{HANDSHAKE_TIME, HANDSHAKES_MAX, HELLO_BYTES_MAX};
use super::link::hello;
use crate::config::{Config, join};
use crate::error::ServerError;
use crate::host::inbox::{Dialled, Event, Inbox};
use crate::wire::quorum::parse;
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, warn};
use zabra_model::ids::ServerId;
use zabra_model::service::membership::{Listed, may_be_led};

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

/// Listens for learners; each that is let in becomes an [`Event::Accepted`].
pub fn listen(config: &Config, listener: TcpListener, inbox: Arc<Inbox>) {
    let door = Door {
        doors: Doors::new(config, "quorum"),
        listed: config
            .members
            .keys()
            .filter_map(|sid| Some((*sid, config.listed(*sid)?)))
            .collect(),
        me: config.me,
        inbox,
    };
    tokio::spawn(accept(listener, Arc::new(door)));
}

/// What is asked of whoever dials the quorum port.
struct Door {
    doors: Doors,
    listed: BTreeMap<ServerId, Listed>,
    me: ServerId,
    inbox: Arc<Inbox>,
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let mut strangers = Strangers::new(HANDSHAKES_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                debug!(%from, "a learner has dialled");
                if is_held() {
                    let hello = None;
                    let dialled = Dialled {
                        stream,
                        from,
                        hello,
                    };
                    door.inbox.push(Event::Accepted(dialled), 0);
                    continue;
                }
                let door = Arc::clone(&door);
                strangers.hear_out(from.ip(), async move {
                    match timeout(HANDSHAKE_TIME, door.introduce(stream, from)).await {
                        Ok(Ok(dialled)) => door.inbox.push(Event::Accepted(dialled), 0),
                        Ok(Err(why)) => door.doors.refused(from, why),
                        Err(_) => debug!(%from, "a quorum connection said nothing"),
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept on the quorum port");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Whether a harness holds the learners' first words back.
fn is_held() -> bool {
    #[cfg(feature = "gate")]
    return std::env::var_os("ZABRA_GATE").is_some();
    #[cfg(not(feature = "gate"))]
    false
}

impl Door {
    /// Reads who has dialled: only a member, in its role, is let in.
    async fn introduce(&self, mut stream: TcpStream, from: SocketAddr) -> Result<Dialled, String> {
        if !self.doors.is_open_to(from.ip()).await {
            return Err("its address is no member's".into());
        }
        let mut buf = BytesMut::with_capacity(HELLO_BYTES_MAX);
        let packet = loop {
            if let Some(packet) = parse(&mut buf).map_err(|e| e.to_string())? {
                break packet;
            }
            if buf.len() >= HELLO_BYTES_MAX {
                return Err("it says too much before it says who it is".into());
            }
            match stream.read_buf(&mut buf).await {
                Ok(0) => return Err("it has ended".into()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        };
        let kind = packet.kind;
        let hello = hello(packet)
            .map_err(|e| e.to_string())?
            .ok_or_else(|| format!("it begins with {kind:?}"))?;
        // After this a learner waits for LEADERINFO.
        if !buf.is_empty() {
            return Err("it says more before it is answered".into());
        }
        let claim = hello.claim;
        may_be_led(self.me, claim, self.listed.get(&claim.sid).copied())
            .map_err(|turned| format!("server id {}: {turned}", claim.sid))?;
        let hello = Some(hello);
        Ok(Dialled {
            stream,
            from,
            hello,
        })
    }
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
