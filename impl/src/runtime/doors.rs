//! The ports between the servers: who may speak there, and what strangers may hold while nobody knows who they are.

use crate::client::lock::lock;
use crate::client::shared::Shared;
use crate::codes::Code;
use crate::config::Config;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::lookup_host;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

/// The names of the members are looked up again after this, if a connection comes from an address that is none of theirs.
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);
/// A refusal is told at most this often; strangers are not to fill the log.
const TOLD_PAUSE: Duration = Duration::from_secs(1);

/// Where every address has one connection, the oldest one gives way to a newcomer only after it had so long to say who it is.
const EQUALS_TIME: Duration = Duration::from_secs(1);

/// Connections that have not said yet who they are. There are at most so many: a new one takes the place of the oldest of
/// the address that holds most of them, so that whoever says at once who it is gets in, however many are silent. It takes none of an
/// address that would then have less than its own.
#[derive(Debug)]
pub struct Strangers {
    max: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    from: IpAddr,
    since: Instant,
    task: AbortHandle,
}

impl Strangers {
    /// None yet.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            waiting: VecDeque::new(),
        }
    }

    /// From now on there are no more than so many.
    pub fn narrow(&mut self, max: usize) {
        self.max = self.max.min(max);
    }

    /// Runs the first words of a connection from this address, or closes it if there is no place for it.
    pub fn hear_out(&mut self, from: IpAddr, talk: impl Future<Output = ()> + Send + 'static) {
        self.waiting.retain(|other| !other.task.is_finished());
        let now = Instant::now();
        if self.waiting.len() >= self.max {
            let others = self.waiting.iter();
            let others = others.map(|w| (w.from, now.saturating_duration_since(w.since)));
            let Some(other) = displaced(others, from).and_then(|at| self.waiting.remove(at)) else {
                debug!(%from, "too many connections that say nothing, closing the newcomer");
                return;
            };
            debug!(from = %other.from, "too many connections that say nothing, closing the oldest");
            other.task.abort();
        }
        let task = tokio::spawn(talk).abort_handle();
        self.waiting.push_back(Waiting {
            from,
            since: now,
            task,
        });
    }
}

/// Which of these, oldest first and with their ages, gives way to a newcomer. The oldest of the address that has most, if that has more than the
/// newcomer's would have; else one of the newcomer's own address. Where everybody has one and the newcomer's address none, the
/// oldest, if it has had its time: it may be about to succeed, and who comes in the place of one that is silent must get in.
fn displaced(
    waiting: impl Iterator<Item = (IpAddr, Duration)> + Clone,
    newcomer: IpAddr,
) -> Option<usize> {
    let (mut counts, mut most) = (HashMap::new(), 0);
    for (from, _) in waiting.clone() {
        let count: &mut usize = counts.entry(from).or_default();
        *count += 1;
        most = most.max(*count);
    }
    let count = |from: &IpAddr| counts.get(from).copied().unwrap_or(0);
    let own = count(&newcomer);
    let mut places = waiting.enumerate();
    if most > own + 1 {
        return Some(places.find(|(_, (from, _))| count(from) == most)?.0);
    }
    if own > 0 {
        return Some(places.find(|(_, (from, _))| *from == newcomer)?.0);
    }
    let (at, (_, age)) = places.next()?;
    (age >= EQUALS_TIME).then_some(at)
}

/// Whose connections are taken at all.
pub struct Doors {
    port: &'static str,
    shared: Arc<Shared>,
    known: Mutex<(Option<Instant>, Vec<IpAddr>)>,
    told: Mutex<Option<Instant>>,
}

impl Doors {
    /// Of the port with this name.
    #[must_use]
    pub fn new(shared: &Arc<Shared>, port: &'static str) -> Self {
        Self {
            port,
            shared: Arc::clone(shared),
            known: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Whether a connection from this address is read. The members' names are looked up anew, as their addresses may change.
    pub async fn is_open_to(&self, from: IpAddr) -> bool {
        if !self.shared.config.from_members_only {
            return true;
        }
        let from = from.to_canonical();
        let recent = {
            let known = lock(&self.known);
            if known.1.contains(&from) {
                return true;
            }
            known.0.is_some_and(|at| at.elapsed() < LOOKUP_PAUSE)
        };
        if recent {
            return false;
        }
        let mut addresses = Vec::new();
        let lists = self.shared.lists();
        for host in lists.members().values().map(|member| &member.host) {
            match lookup_host((host.as_str(), 0)).await {
                Ok(found) => addresses.extend(found.map(|a| a.ip().to_canonical())),
                Err(error) => debug!(host, %error, "the name of a member is not known"),
            }
        }
        let is_open = addresses.contains(&from);
        *lock(&self.known) = (Some(Instant::now()), addresses);
        is_open
    }

    /// Somebody was not let in.
    pub fn refused(&self, from: impl std::fmt::Display, why: impl std::fmt::Display) {
        let mut told = lock(&self.told);
        if told.is_none_or(|at| at.elapsed() >= TOLD_PAUSE) {
            *told = Some(Instant::now());
            warn!(code = %Code::ConnectionRefused, port = self.port, %from, "a connection was refused: {why}");
        } else {
            debug!(port = self.port, %from, "a connection was refused: {why}");
        }
    }
}

/// Says at the start what guards these ports, if nothing does.
pub fn tell_what_guards(config: &Config) {
    if let Some(why) = what_is_open(config) {
        warn!(
            code = %Code::OpenPorts,
            "{why}: whoever reaches one of them and names the id of a member that is away is led as that member, reads \
             everything, and may send requests in any client's name; let only the servers reach these ports, or write \
             sslQuorum=true, quorum.auth.serverRequireSasl=true or zabra.quorumFromMembersOnly=true"
        );
    }
}

/// Why the ports between the servers are open to strangers, if they are.
fn what_is_open(config: &Config) -> Option<&'static str> {
    if !config.is_ensemble() || config.from_members_only {
        return None;
    }
    match (&config.quorum_tls, &config.quorum_sasl) {
        (_, Some(sasl)) if sasl.asks => None,
        (None, Some(_)) => Some(
            "quorum.auth.serverRequireSasl is not true: the ports between the servers are open to those who prove nothing by SASL, too",
        ),
        (None, None) => Some("the ports between the servers are guarded by neither TLS nor SASL"),
        (Some(tls), _) if tls.guards() => None,
        (Some(tls), _) if tls.takes_plain => Some(
            "portUnification=true: the ports between the servers take plain text beside TLS, from anybody",
        ),
        (Some(_), _) => Some(
            "ssl.quorum.clientAuth: the ports between the servers take TLS from whoever shows no certificate",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_says_why_the_ports_are_open_and_nothing_where_they_are_not() {
        let stores = "ssl.quorum.keyStore.location=s.pem\nssl.quorum.trustStore.location=ca.pem\n";
        let of = |lines: &str| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("myid"), "1").unwrap();
            let jaas = dir.path().join("jaas.conf");
            let users = "QuorumServer { a.DigestLoginModule required user_a=\"b\"; };\nQuorumLearner { a.DigestLoginModule required username=\"a\" password=\"b\"; };";
            std::fs::write(&jaas, users).unwrap();
            let lines = lines.replace("@JAAS@", &jaas.display().to_string());
            let text = format!(
                "dataDir={}\nclientPort=7\ninitLimit=9\nsyncLimit=9\n{lines}\n",
                dir.path().display()
            );
            let path = std::path::Path::new("zoo.cfg");
            let config = crate::config::check::read(path, &text).unwrap();
            what_is_open(&config).map(|why| why.split(':').next().unwrap())
        };
        let members = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
        assert_eq!(of(""), None, "there are no such ports");
        let sasl = "java.security.auth.login.config=@JAAS@\nquorum.auth.enableSasl=true".to_owned();
        let required = format!(
            "{sasl}\nquorum.auth.learnerRequireSasl=true\nquorum.auth.serverRequireSasl=true"
        );
        let nothing = "the ports between the servers are guarded by neither TLS nor SASL";
        for (lines, why) in [
            ("", Some(nothing)),
            ("zabra.quorumFromMembersOnly=true", None),
            (&sasl, Some("quorum.auth.serverRequireSasl is not true")),
            (&required, None),
            ("sslQuorum=true", None),
            ("portUnification=true", Some("portUnification=true")),
            (
                "sslQuorum=true\nportUnification=true",
                Some("portUnification=true"),
            ),
            (
                "sslQuorum=true\nssl.quorum.clientAuth=want",
                Some("ssl.quorum.clientAuth"),
            ),
        ] {
            let stores = if lines.contains("ssl") || lines.contains("port") {
                stores
            } else {
                ""
            };
            assert_eq!(of(&format!("{members}{stores}{lines}")), why, "{lines}");
        }
    }

    fn address(n: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, n])
    }

    #[test]
    fn c_82_the_oldest_of_the_address_that_holds_most_gives_way() {
        let of = |list: &[u8], newcomer: u8, age: Duration| {
            displaced(list.iter().map(|n| (address(*n), age)), address(newcomer))
        };
        for age in [Duration::ZERO, EQUALS_TIME] {
            assert_eq!(of(&[], 1, age), None);
            assert_eq!(of(&[1, 1, 1], 9, age), Some(0));
            assert_eq!(of(&[1, 2, 2, 1, 2], 9, age), Some(1));
            assert_eq!(of(&[3, 1, 2, 2, 1], 9, age), Some(1));
            assert_eq!(of(&[3, 1, 2, 2, 1], 3, age), Some(0), "equals: its own");
            assert_eq!(of(&[1, 2, 2, 2], 1, age), Some(1), "more than its own");
            assert_eq!(of(&[1, 1, 1], 1, age), Some(0));
            assert_eq!(of(&[2, 1], 1, age), Some(1));
        }
        // Every address has one: who has just come may be about to say who it is.
        assert_eq!(
            of(&[1, 2, 3], 9, EQUALS_TIME - Duration::from_nanos(1)),
            None
        );
        assert_eq!(of(&[1, 2, 3], 9, EQUALS_TIME), Some(0));
    }

    #[tokio::test]
    async fn c_82_a_newcomer_takes_no_place_of_one_that_has_just_come_from_elsewhere() {
        let mut strangers = Strangers::new(3);
        for n in 1..=3 {
            strangers.hear_out(address(n), std::future::pending());
        }
        let closed = std::sync::Arc::new(());
        let held = std::sync::Arc::clone(&closed);
        strangers.hear_out(address(4), async move {
            let _held = held;
            std::future::pending().await
        });
        assert_eq!(std::sync::Arc::strong_count(&closed), 1, "it is closed");
        let from: Vec<_> = strangers.waiting.iter().map(|w| w.from).collect();
        assert_eq!(from, [address(1), address(2), address(3)]);
    }

    #[tokio::test]
    async fn c_82_silent_strangers_give_way_and_those_who_speak_do_not() {
        let mut strangers = Strangers::new(3);
        let ended = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        for _ in 0..20 {
            strangers.hear_out(address(1), std::future::pending());
        }
        assert_eq!(strangers.waiting.len(), 3);
        let done = std::sync::Arc::clone(&ended);
        strangers.hear_out(address(2), async move { done.add_permits(1) });
        strangers.hear_out(address(1), std::future::pending());
        drop(ended.acquire().await);
        assert!(strangers.waiting.len() <= 3);
    }
}
