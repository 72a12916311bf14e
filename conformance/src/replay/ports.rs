//! Every port of a replay.

use anyhow::{Context, Result};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Servers of a replay.
pub const SERVERS: u8 = 3;
const N: usize = SERVERS as usize;
/// Below those that a system gives to who dials: the proxy dials from the very address that the servers listen on, and would take the port
/// of a server that is down.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Every port of a replay. The system gives them once; replays that run one after the other share them.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The address that all are on.
    pub host: String,
    /// Where a server listens for learners.
    pub quorum: [u16; N],
    /// Where a server listens for votes.
    pub election: [u16; N],
    /// Where a server listens for clients.
    pub client: [u16; N],
    /// Where others find a server's quorum port: at the proxy.
    pub quorum_of: [u16; N],
    /// Where others find a server's election port: at the proxy.
    pub election_of: [u16; N],
    /// Where a server finds its gate.
    pub gate: [u16; N],
}

impl Ports {
    /// Ports that nobody uses, on a loopback address of their own where the system has many: so that nobody takes the
    /// port of a server while that is down.
    ///
    /// # Errors
    /// There are none.
    pub fn pick() -> Result<Self> {
        static PICKED: AtomicU32 = AtomicU32::new(0);
        let picked = PICKED.fetch_add(1, Ordering::Relaxed);
        let host = if cfg!(target_os = "linux") {
            let pid = std::process::id();
            format!(
                "127.{}.{}.{}",
                1 + (pid >> 8) % 250,
                pid % 256,
                1 + picked % 250
            )
        } else {
            "127.0.0.1".to_owned()
        };
        let mut held = Vec::new();
        let mut candidates = PORTS;
        let mut next = || -> Result<u16> {
            let listener = candidates.find_map(|port| TcpListener::bind((&*host, port)).ok());
            let listener = listener.context("a free port")?;
            let port = listener.local_addr()?.port();
            held.push(listener); // until all are known
            Ok(port)
        };
        let mut row = || -> Result<[u16; N]> { Ok([next()?, next()?, next()?]) };
        let mut rows = Vec::new();
        for _ in 0..6 {
            rows.push(row()?);
        }
        let &[quorum, election, client, quorum_of, election_of, gate] = rows.as_slice() else {
            anyhow::bail!("six rows of ports");
        };
        Ok(Self {
            host,
            quorum,
            election,
            client,
            quorum_of,
            election_of,
            gate,
        })
    }

    /// Where all servers find the quorum port and the election port of one: at the proxy.
    #[must_use]
    pub const fn of_proxy(&self, server: u8) -> (u16, u16) {
        let at = server as usize - 1;
        (self.quorum_of[at], self.election_of[at])
    }
}
