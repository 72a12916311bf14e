//! How long clients wait when a leader dies or is stopped, and how long a server takes to come back.
//!
//! Each round kills the leader of an ensemble while two clients are about to write, one at the leader and one at a follower; starts it again;
//! then stops whoever leads by SIGTERM, while clients of the followers write without a pause and others say nothing; and starts that one again.

use crate::cluster::{Cluster, PATIENCE};
use crate::raw::{RawClient, create};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};
use zabra::wire::client::Request;
use zabra_model::tree::op::{ReadOp, WriteOp};

/// Where everybody writes.
const PATH: &str = "/failover";
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(1);
/// Clients of each follower that write without a pause, and that say nothing.
const WRITERS: usize = 2;
const SILENT: usize = 2;
/// How long writers go on behind the end of a server that was stopped.
const AFTER: Duration = Duration::from_millis(500);
/// The longest that a client waits for one answer before it tries elsewhere.
const ANSWER: Duration = Duration::from_secs(5);

/// Milliseconds of each round.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Times {
    /// The one in the middle.
    pub median: f64,
    /// All of them, in the order of the rounds.
    pub all: Vec<f64>,
}

impl Times {
    fn add(&mut self, ms: f64) {
        self.all.push((ms * 10.0).round() / 10.0);
        let mut sorted = self.all.clone();
        sorted.sort_by(f64::total_cmp);
        self.median = sorted[sorted.len() / 2];
    }
}

/// What was measured.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Report {
    /// Rounds.
    pub rounds: usize,
    /// Servers of the ensemble.
    pub servers: u64,
    /// The load average of the machine at the beginning and at the end, over a minute.
    pub load: [f64; 2],
    /// From `kill -9` of the leader to the next write of its client, which goes on elsewhere with its session.
    pub killed_own: Times,
    /// The same for a client of a follower.
    pub killed_other: Times,
    /// From the start of the process that was killed to an answer from it.
    pub restarted: Times,
    /// The longest pause between two writes of a client of a follower while the leader was stopped by SIGTERM.
    pub stopped: Times,
    /// From SIGTERM to the end of the connection of the leader's own client.
    pub stopped_own: Times,
    /// From SIGTERM to the end of the process.
    pub ended: Times,
    /// Connections of clients of followers while leaders were stopped by SIGTERM, and how many of them ended.
    pub others: usize,
    /// See `others`.
    pub others_disconnected: usize,
}

/// A client that goes on with its session wherever it is let in.
struct Roamer {
    ports: Vec<u16>,
    at: usize,
    client: Option<RawClient>,
    session: zabra::wire::client::ConnectResponse,
    disconnected: usize,
}

impl Roamer {
    /// With a new session, at the first of these ports.
    fn new(ports: Vec<u16>) -> Result<Self> {
        let port = *ports.first().context("a port")?;
        let client = RawClient::connect(port, 10_000)?;
        Ok(Self {
            ports,
            at: 0,
            session: client.session,
            client: Some(client),
            disconnected: 0,
        })
    }

    /// Writes, however often it has to begin anew; the connection is given up only if it ends.
    fn write(&mut self) -> Result<()> {
        let request = Request::Write(WriteOp::SetData {
            path: Some(PATH.into()),
            data: Some(Bytes::from_static(b"0123456789")),
            version: -1,
        });
        let begin = Instant::now();
        loop {
            ensure!(begin.elapsed() < PATIENCE, "no write within {PATIENCE:?}");
            if let Some(client) = &mut self.client {
                match client.call(&request, ANSWER) {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(code)) => anyhow::bail!("a write was refused: {code}"),
                    Err(_) => {
                        self.client = None;
                        self.disconnected += 1;
                        self.at += 1;
                    }
                }
            }
            let port = self.ports[self.at % self.ports.len()];
            match RawClient::resume_within(port, &self.session, ANSWER) {
                Ok(client) => self.client = Some(client),
                Err(_) => {
                    self.at += 1;
                    sleep(PAUSE);
                }
            }
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn exists() -> Request {
    Request::Read(ReadOp::Exists {
        path: PATH.into(),
        watch: false,
    })
}

fn joined<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("a client panicked"))?
}

/// Measures so many rounds.
///
/// # Errors
/// A server ends by itself, or a client is not served in time.
pub fn measure(servers: u64, rounds: usize) -> Result<Report> {
    let settings = [
        ("tickTime", "2000"),
        ("initLimit", "10"),
        ("syncLimit", "5"),
    ];
    let mut cluster = Cluster::start(servers, &settings)?;
    let first = cluster.leader()?;
    let mut client = RawClient::connect(cluster.servers[first].client_port, 10_000)?;
    client.ok(&create(PATH, b""), PATIENCE)?;
    let mut report = Report {
        rounds,
        servers,
        load: [load(); 2],
        ..Report::default()
    };
    for _ in 0..rounds {
        kill(&mut cluster, &mut report)?;
        stop(&mut cluster, &mut report)?;
    }
    report.load[1] = load();
    Ok(report)
}

/// The port of the leader, and those of the others.
fn ports(cluster: &mut Cluster) -> Result<(usize, u16, Vec<u16>)> {
    cluster.wait_until_serving()?;
    let leader = cluster.leader()?;
    let port = |i: usize| cluster.servers[i].client_port;
    let others = (0..cluster.servers.len()).filter(|i| *i != leader);
    Ok((leader, port(leader), others.map(port).collect()))
}

fn kill(cluster: &mut Cluster, report: &mut Report) -> Result<()> {
    let (leader, own, others) = ports(cluster)?;
    let mut at_leader = Roamer::new([&[own], &others[..]].concat())?;
    let mut at_other = Roamer::new(others)?;
    at_leader.write()?;
    at_other.write()?;
    let mut begin = Instant::now();
    cluster.kill_and(leader, || begin = Instant::now())?;
    let write = |mut client: Roamer| {
        spawn(move || -> Result<Duration> {
            client.write()?;
            Ok(begin.elapsed())
        })
    };
    let (at_leader, at_other) = (write(at_leader), write(at_other));
    report.killed_own.add(ms(joined(at_leader)?));
    report.killed_other.add(ms(joined(at_other)?));
    let begin = Instant::now();
    cluster.restart(leader)?;
    until_served(own)?;
    report.restarted.add(ms(begin.elapsed()));
    Ok(())
}

/// Waits until a server answers a client.
fn until_served(port: u16) -> Result<()> {
    let begin = Instant::now();
    loop {
        let answered = RawClient::connect_within(port, 10_000, ANSWER)
            .and_then(|mut client| client.ok(&exists(), ANSWER));
        match answered {
            Ok(_) => return Ok(()),
            Err(error) => ensure!(begin.elapsed() < PATIENCE, "not served: {error:#}"),
        }
        sleep(PAUSE);
    }
}

/// What a client that writes without a pause has seen: its longest pause, and how often its connection ended.
fn write_on(
    port: u16,
    is_over: &'static AtomicBool,
) -> Result<JoinHandle<Result<(Duration, usize)>>> {
    let mut client = Roamer::new(vec![port])?;
    client.write()?;
    Ok(spawn(move || {
        let (mut longest, mut last) = (Duration::ZERO, Instant::now());
        while !is_over.load(Ordering::Relaxed) {
            client.write()?;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        Ok((longest, client.disconnected))
    }))
}

fn stop(cluster: &mut Cluster, report: &mut Report) -> Result<()> {
    let (leader, own, others) = ports(cluster)?;
    // One word for each round: its writers end by it.
    let is_over: &'static AtomicBool = Box::leak(Box::default());
    let mut writers = Vec::new();
    let mut silent = Vec::new();
    for port in others {
        for _ in 0..WRITERS {
            writers.push(write_on(port, is_over)?);
        }
        for _ in 0..SILENT {
            silent.push(RawClient::connect(port, 10_000)?);
        }
    }
    let mut at_leader = RawClient::connect(own, 10_000)?.into_frames();
    sleep(AFTER);
    let begin = Instant::now();
    let its_end = spawn(move || -> Result<Duration> {
        ensure!(
            at_leader.receive(PATIENCE)?.is_none(),
            "an answer to nothing"
        );
        Ok(begin.elapsed())
    });
    ensure!(cluster.terminate(leader)?.success(), "an orderly stop");
    report.ended.add(ms(begin.elapsed()));
    sleep(AFTER);
    is_over.store(true, Ordering::Relaxed);
    report.others += writers.len() + silent.len();
    let mut longest = Duration::ZERO;
    for writer in writers {
        let (pause, disconnected) = joined(writer)?;
        longest = longest.max(pause);
        report.others_disconnected += disconnected.min(1);
    }
    for client in &mut silent {
        report.others_disconnected += usize::from(client.ok(&exists(), ANSWER).is_err());
    }
    report.stopped.add(ms(longest));
    report.stopped_own.add(ms(joined(its_end)?));
    cluster.restart(leader)?;
    Ok(())
}
