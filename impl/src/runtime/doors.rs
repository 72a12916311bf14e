//! The ports between the servers: who may speak there, and what strangers may hold while nobody knows who they are.

use crate::client::lock::lock;
use crate::config::Config;
use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::net::lookup_host;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

/// The names of the members are looked up again after this, if a connection comes from an address that is none of theirs.
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);
/// A refusal is told at most this often; strangers are not to fill the log.
const TOLD_PAUSE: Duration = Duration::from_secs(1);

/// Connections that have not said yet who they are. There are at most so many: a new one takes the place of the oldest of
/// the address that holds most of them, so that whoever says at once who it is gets in, however many are silent.
#[derive(Debug)]
pub struct Strangers {
    max: usize,
    waiting: VecDeque<(IpAddr, AbortHandle)>,
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

    /// Runs the first words of a connection from this address.
    pub fn hear_out(&mut self, from: IpAddr, talk: impl Future<Output = ()> + Send + 'static) {
        self.waiting.retain(|(_, task)| !task.is_finished());
        if self.waiting.len() >= self.max
            && let Some(at) = displaced(self.waiting.iter().map(|(from, _)| *from))
            && let Some((from, task)) = self.waiting.remove(at)
        {
            debug!(%from, "too many connections that say nothing, closing the oldest");
            task.abort();
        }
        let task = tokio::spawn(talk).abort_handle();
        self.waiting.push_back((from, task));
    }
}

/// Which of these, oldest first, gives way: the oldest of the address that has most.
fn displaced(waiting: impl Iterator<Item = IpAddr> + Clone) -> Option<usize> {
    let count = |from: IpAddr| waiting.clone().filter(|other| *other == from).count();
    let mut most: Option<(usize, usize)> = None;
    let mut seen: Vec<IpAddr> = Vec::new();
    for (at, from) in waiting.clone().enumerate() {
        if seen.contains(&from) {
            continue;
        }
        seen.push(from);
        let count = count(from);
        if most.is_none_or(|(_, least)| count > least) {
            most = Some((at, count));
        }
    }
    most.map(|(at, _)| at)
}

/// Whose connections are taken at all.
#[derive(Debug)]
pub struct Doors {
    port: &'static str,
    /// Host names and addresses of the members; empty if everybody may connect.
    hosts: Vec<String>,
    known: Mutex<(Option<Instant>, Vec<IpAddr>)>,
    told: Mutex<Option<Instant>>,
}

impl Doors {
    /// Of the port with this name.
    #[must_use]
    pub fn new(config: &Config, port: &'static str) -> Self {
        let members = config.members.values().filter(|_| config.from_members_only);
        Self {
            port,
            hosts: members.map(|m| m.host.clone()).collect(),
            known: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Whether a connection from this address is read. The members' names are looked up anew, as their addresses may change.
    pub async fn is_open_to(&self, from: IpAddr) -> bool {
        if self.hosts.is_empty() {
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
        for host in &self.hosts {
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
            warn!(port = self.port, %from, "a connection was refused: {why}");
        } else {
            debug!(port = self.port, %from, "a connection was refused: {why}");
        }
    }
}

/// Says at the start what guards these ports, if nothing does.
pub fn tell_what_guards(config: &Config) {
    if config.is_ensemble() && !config.from_members_only {
        warn!(
            "the ports between the servers are guarded by neither TLS nor SASL: whoever reaches one of them and names the id \
             of a member that is away is led as that member, reads everything, and may send requests in any client's name; \
             let only the servers reach these ports, or write zabra.quorumFromMembersOnly=true"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, n])
    }

    #[test]
    fn c_82_the_oldest_of_the_address_that_holds_most_gives_way() {
        let of = |list: &[u8]| displaced(list.iter().map(|n| address(*n)));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[1]), Some(0));
        assert_eq!(of(&[1, 1, 1]), Some(0));
        assert_eq!(of(&[1, 2, 2, 1, 2]), Some(1));
        assert_eq!(of(&[3, 1, 2, 2, 1]), Some(1));
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
