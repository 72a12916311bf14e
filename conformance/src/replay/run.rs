//! One trace on three processes: each step is carried out, what it names is waited for, and everything is compared.
//!
//! Nothing is waited for by time. After a step the servers are asked for their state until each has taken exactly the
//! inputs that the step gives it and has handed everything to its sockets; by the counts that come with that answer it is
//! known when all of it has arrived here. What came is then compared in full, so one packet too many is as wrong, at this
//! very step, as one that is missing.
//!
//! Two liberties are taken, both because a server may do early what the model has it do later or not at all:
//! - A learner's FOLLOWERINFO comes when it dials, not when the trace connects it; it is held until then. A learner that
//!   gives up hears its connection close, instead of never having got one.
//! - A vote that was replaced while it waited for its socket does not appear. The server says how many those were.

mod act;
mod compare;
mod hear;
mod nodes;

use super::outcome::{Counts, Difference};
use super::ports::{Ports, SERVERS};
use super::proxy::{Event, Proxy};
use super::server::Server;
use super::trace::{Action, Step, Trace, VoteRecord, WriteRecord};
use super::wire::Vote;
use anyhow::{Context, Result, ensure};
use nodes::{Conn, Mirror, Node};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::UnboundedReceiver;

/// How to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, built with the feature `gate`.
    pub binary: std::path::PathBuf,
    /// How long a server may take for what a step asks of it.
    pub patience: Duration,
    /// The fault that is planted in each server, if it is built with the feature `mutants`.
    pub mutant: Option<&'static str>,
    /// Stop this server's process behind the first step, as a server that does not answer.
    pub freeze: Option<u8>,
}

/// A vote at the proxy, and its bytes.
type HeldVote = (Vote, Vec<u8>);

struct Replay<'a> {
    options: &'a Options,
    proxy: Proxy,
    events: UnboundedReceiver<Event>,
    nodes: Vec<Node>,
    conns: BTreeMap<u64, Conn>,
    mesh: BTreeMap<(u8, u8), OwnedWriteHalf>,
    votes: BTreeMap<(u8, u8), Vec<HeldVote>>,
    /// The vote that waits for each receiver.
    mail: BTreeMap<(u8, u8), Vec<u8>>,
    ports: Ports,
    /// Every list of voters that a transaction has brought, by zxid.
    lists: BTreeMap<u64, Vec<u8>>,
    counts: Counts,
}

/// Replays one trace in fresh directories.
///
/// # Errors
/// The first [`Difference`].
pub fn replay(trace: &Trace, ports: &Ports, options: &Options) -> Result<Counts, Difference> {
    let mut at = (0, "the servers start".to_owned());
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("a runtime")
        .and_then(|runtime| runtime.block_on(all_steps(trace, ports, options, &mut at)));
    outcome.map_err(|what| Difference {
        trace: trace.name.clone(),
        step: at.0,
        text: at.1,
        what: format!("{what:#}"),
    })
}

async fn all_steps(
    trace: &Trace,
    ports: &Ports,
    options: &Options,
    at: &mut (usize, String),
) -> Result<Counts> {
    let dir = tempfile::tempdir().context("a temporary directory")?;
    let (proxy, events) = Proxy::start(ports).await?;
    let mut replay = Replay {
        options,
        proxy,
        events,
        nodes: Vec::new(),
        conns: BTreeMap::new(),
        mesh: BTreeMap::new(),
        votes: BTreeMap::new(),
        mail: BTreeMap::new(),
        ports: ports.clone(),
        lists: BTreeMap::new(),
        counts: Counts::default(),
    };
    for record in &trace.header.at_first {
        let all: Vec<u8> = (1..=SERVERS).collect();
        let lists = record.lists.as_ref();
        let voters = lists.map_or(&all, |lists| &lists.active.voters);
        replay.nodes.push(Node {
            server: Server::new(dir.path(), ports, record.id, voters, lists.is_some())?,
            gate: None,
            record: record.clone(),
            mirror: Mirror::default(),
            inputs: 0,
            link_bytes: 0,
            votes_seen: 0,
            votes_asked: 0,
            votes_named: 0,
            writes: Vec::new(),
            answers: VecDeque::new(),
            dial: None,
            client: None,
        });
        ensure!(
            usize::from(record.id) == replay.nodes.len(),
            "servers are numbered from 1"
        );
    }
    let outcome = replay.run(trace, at).await;
    if outcome.is_err() && std::env::var_os("ZABRA_REPLAY_LOGS").is_some() {
        for node in &replay.nodes {
            eprintln!("{}", node.server.last_words());
        }
    }
    outcome?;
    replay.counts.traces = 1;
    Ok(replay.counts)
}

impl Replay<'_> {
    async fn run(&mut self, trace: &Trace, at: &mut (usize, String)) -> Result<()> {
        // They start one by one: whoever is not there yet does not hear the first votes.
        for me in 1..=SERVERS {
            let lists = trace.header.at_first[usize::from(me) - 1].lists.clone();
            self.start(me, lists.as_ref()).await?;
            let is_told = |to: u8| lists.as_ref().is_none_or(|lists| lists.has_vote(to));
            let told = (1..=SERVERS).filter(|to| *to != me && is_told(*to));
            let votes = told.map(|to| VoteRecord {
                from: me,
                to,
                state: "LOOKING".to_owned(),
                leader: u64::from(me),
                zxid: 0,
                epoch: 0,
                round: 1,
                lists: lists.clone(),
                lost: to > me,
            });
            let step = Step {
                n: 0,
                action: Action::Start { server: me },
                text: String::new(),
                frames: Vec::new(),
                votes: votes.collect(),
                writes: Vec::new(),
                servers: Vec::new(),
            };
            self.settle(me).await?;
            self.compare(&step).await?;
        }
        for step in &trace.steps {
            *at = (step.n, step.text.clone());
            self.step(step).await?;
            if step.n == 1
                && let Some(server) = self.options.freeze
                && let Some(pid) = self.node(server).server.pid()
            {
                std::process::Command::new("kill")
                    .args(["-STOP", &pid.to_string()])
                    .status()?;
            }
        }
        Ok(())
    }

    fn node(&mut self, server: u8) -> &mut Node {
        &mut self.nodes[usize::from(server) - 1]
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        // A server that begins to follow dials at once; that it is connected then, is an input.
        for record in &step.servers {
            let node = self.node(record.id);
            if record.role == "FOLLOWING" && node.record.role != "FOLLOWING" {
                node.inputs += 1;
            }
            if record.role != "FOLLOWING" {
                node.dial = None;
            }
            // A leader whose list has no version proposes it in the turn in which it begins to serve.
            let begins = node.record.serving.is_none() && record.serving.is_some();
            let proposes = |w: &&WriteRecord| w.server == record.id && w.kind == "append";
            if begins && record.role == "LEADING" && step.writes.iter().any(|w| proposes(&w)) {
                node.inputs += 1;
            }
        }
        for write in step.writes.iter().filter(|w| !w.voters.is_empty()) {
            self.lists.insert(write.value, write.voters.clone());
        }
        self.act(step).await?;
        for record in &step.servers {
            self.node(record.id).record = record.clone();
        }
        for server in 1..=SERVERS {
            if self.node(server).record.up {
                self.settle(server).await?;
            }
        }
        self.compare(step).await?;
        self.compare_answers().await?;
        self.count(step);
        Ok(())
    }

    /// The newest connection with this number: the trace uses a number again when both ends are gone.
    fn linked(&mut self, link: u64) -> Result<&mut Conn> {
        let mut all = self.conns.values_mut().rev();
        all.find(|c| c.link == Some(link))
            .with_context(|| format!("link {link} is not connected"))
    }

    fn count(&mut self, step: &Step) {
        let counts = &mut self.counts;
        counts.steps += 1;
        counts.writes += step.writes.len();
        *counts.kinds.entry(step.action.kind()).or_default() += 1;
        // From DIFF, TRUNC or SNAP to NEWLEADER is one synchronization.
        let mut frames = step.frames.iter().peekable();
        while let Some(frame) = frames.next() {
            let mut more = 0;
            while frames
                .next_if(|f| f.packet == "PROPOSAL" || f.packet == "COMMIT")
                .is_some()
            {
                more += 1;
            }
            let kind = match (frame.packet.as_str(), more) {
                ("DIFF", 0) => "empty DIFF",
                ("DIFF", _) => "DIFF",
                ("TRUNC", 0) => "TRUNC",
                ("TRUNC", _) => "TRUNC then DIFF",
                ("SNAP", _) => "SNAP",
                _ => continue,
            };
            *counts.syncs.entry(kind).or_default() += 1;
        }
    }
}
