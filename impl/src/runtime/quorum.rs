//! The quorum port: learners come in, the leader is dialled.

use super::doors::{Doors, Strangers};
use super::guard::Guard;
use super::inbox::Inbox;
use super::links::Knocking;
use super::pipe::Pipe;
use super::ports::{self, Listening};
use crate::client::shared::Shared;
use crate::codes::Code;
use crate::config::{Config, join};
use crate::core::event::Event;
use crate::error::ServerError;
use crate::limits::{HANDSHAKE_TIME, HANDSHAKES_MAX, HELLO_BYTES_MAX};
use crate::wire::link::{Hello, hello};
use crate::wire::quorum::parse;
use bytes::BytesMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, warn};
use zabra_model::ids::ServerId;
use zabra_model::service::membership::{has_its_list, may_be_led};
use zabra_model::step::Link;

/// Pauses between tries to reach the leader, ms: short at first, it has just been elected, then those of the configuration.
fn pauses(longest_ms: u64) -> impl Iterator<Item = Duration> {
    let first = [2, 10, 30].into_iter();
    let pauses = first.filter(move |ms| *ms < longest_ms);
    let pauses = pauses.chain(std::iter::repeat(longest_ms));
    pauses.map(Duration::from_millis)
}

/// Takes the quorum port, if this server is a member. Learners that dial wait until [`listen`] takes them: a leader to be
/// has read its data.
///
/// # Errors
/// As [`ports::bind`].
pub async fn bind(config: &Config) -> Result<Option<TcpListener>, ServerError> {
    let Some(own) = &config.own else {
        return Ok(None);
    };
    let host = (!config.listen_on_all).then_some(own.host.as_str());
    let bound = ports::bind(host, own.quorum_port, Listening::default(), "quorum port").await;
    bound.map(Some)
}

/// Listens for learners; each that may be led becomes an [`Event::Accepted`]. `unheard`: it does so before it has said a word, which a
/// harness holds back.
pub fn listen(
    shared: &Arc<Shared>,
    guard: Arc<Guard>,
    listener: TcpListener,
    knocking: Arc<Knocking>,
    inbox: Arc<Inbox>,
    unheard: bool,
) {
    let door = Door {
        doors: Doors::new(shared, "quorum"),
        guard,
        shared: Arc::clone(shared),
        knocking,
        inbox,
        unheard,
    };
    tokio::spawn(accept(listener, Arc::new(door)));
}

/// What is asked of whoever dials the quorum port.
struct Door {
    doors: Doors,
    guard: Arc<Guard>,
    shared: Arc<Shared>,
    knocking: Arc<Knocking>,
    inbox: Arc<Inbox>,
    unheard: bool,
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let mut strangers = Strangers::new(HANDSHAKES_MAX);
    loop {
        match ports::accept(&listener).await {
            Ok((stream, from)) => {
                debug!(%from, "a learner has dialled");
                if door.unheard {
                    door.accepted(door.knocking.add(Pipe::plain(stream)), from, false, None);
                    continue;
                }
                let door = Arc::clone(&door);
                strangers.hear_out(from.ip(), async move {
                    match timeout(HANDSHAKE_TIME, door.introduce(stream, from)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(why)) => door.doors.refused(from, why),
                        Err(_) => debug!(%from, "a quorum connection said nothing"),
                    }
                });
            }
            Err(error) => {
                warn!(code = %Code::QuorumAccept, %error, "cannot accept on the quorum port");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Door {
    /// Reads who has dialled: only a member, in its role, may be let in.
    async fn introduce(&self, stream: TcpStream, from: SocketAddr) -> Result<(), String> {
        if !self.doors.is_open_to(from.ip()).await {
            return Err("its address is no member's".into());
        }
        let (stream, papers) = self.guard.take(stream).await?;
        let mut buf = BytesMut::with_capacity(HELLO_BYTES_MAX);
        self.guard.hear_proof(&stream, &mut buf, from).await?;
        let packet = ports::first_words(&stream, &mut buf, parse).await?;
        let kind = packet.kind;
        let hello = hello(packet)
            .map_err(|e| e.to_string())?
            .ok_or_else(|| format!("it begins with {kind:?}"))?;
        // After this a learner waits for LEADERINFO.
        if !buf.is_empty() {
            return Err("it says more before it is answered".into());
        }
        let claim = hello.claim;
        let config = &self.shared.config;
        let lists = self.shared.lists();
        let listed = lists.listed(claim.sid);
        may_be_led(config.me, claim, listed, config.reconfig_enabled)
            .and_then(|()| has_its_list(hello.members, lists.newest().version))
            .map_err(|turned| format!("server id {}: {turned}", claim.sid))?;
        let host = lists.member(claim.sid).map(|member| &*member.host);
        let of_id = |why| format!("server id {}: {why}", claim.sid);
        let is_of = self.guard.is_of(&papers, host, from.ip()).await;
        is_of.map_err(of_id)?;
        let expected = match host {
            Some(host) => ports::is_at(host, from.ip()).await,
            None => false,
        };
        let link = self.knocking.add_learner(stream, &self.inbox);
        self.accepted(link, from, expected, Some(hello));
        Ok(())
    }

    fn accepted(&self, link: Link, from: SocketAddr, expected: bool, hello: Option<Hello>) {
        let event = Event::Accepted {
            link,
            from: from.ip().to_canonical(),
            expected,
            hello,
        };
        self.inbox.push(event, 0);
    }
}

/// Dials the leader until `within` is over; the outcome is [`Event::Dialled`] with `attempt`.
pub fn dial(
    shared: &Shared,
    guard: Arc<Guard>,
    leader: ServerId,
    attempt: u64,
    within: Duration,
    knocking: Arc<Knocking>,
    inbox: Arc<Inbox>,
) -> tokio::task::JoinHandle<()> {
    let place = shared
        .member(leader)
        .map(|m| (join(&m.host, m.quorum_port), m.host.clone()));
    let pauses = pauses(shared.config.net.leader_redial_ms);
    tokio::spawn(async move {
        let stream = match place {
            Some((addr, host)) => {
                let deadline = Instant::now() + within;
                connect(&guard, leader, (&addr, &host), pauses, deadline).await
            }
            None => None, // a vote for a server that is not configured here
        };
        let link = stream.map(|stream| knocking.add(stream));
        inbox.push(Event::Dialled(attempt, link), 0);
    })
}

async fn connect(
    guard: &Guard,
    leader: ServerId,
    (addr, host): (&str, &str),
    pauses: impl Iterator<Item = Duration>,
    deadline: Instant,
) -> Option<Pipe> {
    for pause in pauses {
        let dialled = async {
            let stream = TcpStream::connect(addr).await?;
            let stream = guard.dialled(stream, host, leader).await?;
            let mut buf = BytesMut::new();
            guard.prove(&stream, &mut buf, leader).await?;
            match buf.is_empty() {
                true => Ok(stream),
                // A leader waits for the first word of its learner.
                false => Err(std::io::Error::other("it says more before it is asked")),
            }
        };
        match timeout_at(deadline, dialled).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => debug!(addr, %error, "cannot reach the leader yet"),
            Err(_) => return None,
        }
        if Instant::now() + pause >= deadline {
            return None;
        }
        sleep(pause).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_dialled_at_once_and_then_after_pauses_as_long_as_the_line_says() {
        let ms = |longest_ms| -> Vec<u128> {
            let pauses = pauses(longest_ms).take(5);
            pauses.map(|pause| pause.as_millis()).collect()
        };
        assert_eq!(ms(100), [2, 10, 30, 100, 100]);
        assert_eq!(ms(700), [2, 10, 30, 700, 700]);
        assert_eq!(ms(20), [2, 10, 20, 20, 20]);
    }
}
