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

use super::files::Image;
use super::outcome::{Counts, Difference};
use super::proxy::{Event, Proxy, Side};
use super::server::{Ports, SERVERS, Server};
use super::trace::{Action, End, FrameRecord, ServerRecord, Step, Trace, VoteRecord, WriteRecord};
use super::wire::{Packet, Vote};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout, timeout_at};

/// How to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, built with the feature `gate`.
    pub binary: std::path::PathBuf,
    /// How long a server may take for what a step asks of it.
    pub patience: Duration,
    /// Stop this server's process behind the first step, as a server that does not answer.
    pub freeze: Option<u8>,
}

/// One connection's end at the proxy.
#[derive(Debug, Default)]
struct Half {
    /// `None`: the end is gone, or has not been connected yet.
    side: Option<Side>,
    /// What it has said that no step has named yet.
    unmatched: VecDeque<(Packet, Vec<u8>)>,
    /// What is on the way to it.
    inbox: VecDeque<(FrameRecord, Vec<u8>)>,
}

#[derive(Debug)]
struct Conn {
    leader: u8,
    learner: u8,
    /// The trace's number for it, once it is connected.
    link: Option<u64>,
    halves: [Half; 2],
}

impl Conn {
    const fn server(&self, end: End) -> u8 {
        match end {
            End::Leader => self.leader,
            End::Learner => self.learner,
        }
    }

    fn half(&mut self, end: End) -> &mut Half {
        &mut self.halves[end as usize]
    }
}

/// What the trace says of a disk, write by write.
#[derive(Debug, Default)]
struct Mirror {
    image: Image,
    queue: VecDeque<(WriteRecord, Vec<u64>)>,
    /// The tree of the last SNAP that was received.
    tree: Vec<u64>,
}

impl Mirror {
    fn write_next(&mut self) {
        let Some((write, tree)) = self.queue.pop_front() else {
            return;
        };
        let image = &mut self.image;
        match write.kind.as_str() {
            "acceptedEpoch" => image.accepted = write.value,
            "currentEpoch" => image.current = write.value,
            "append" => image.log.push(write.value),
            "truncate" => image.log.retain(|z| *z <= write.value),
            _ => {
                image.snapshot = tree;
                image.log.clear();
            }
        }
    }
}

/// One server as the harness knows it.
#[derive(Debug)]
struct Node {
    server: Server,
    gate: Option<OwnedWriteHalf>,
    /// What the trace says of it.
    record: ServerRecord,
    mirror: Mirror,
    /// Inputs that the steps have given to this process.
    inputs: u64,
    link_bytes: u64,
    votes_seen: u64,
    /// Votes that its core has asked for, and those that the trace names.
    votes_asked: u64,
    votes_named: u64,
    writes: Vec<WriteRecord>,
    answers: VecDeque<Value>,
    /// The connection by which it dials.
    dial: Option<u64>,
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
        counts: Counts::default(),
    };
    for record in &trace.header.at_first {
        replay.nodes.push(Node {
            server: Server::new(dir.path(), ports, record.id)?,
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
            self.start(me).await?;
            let votes = (1..=SERVERS).filter(|to| *to != me).map(|to| VoteRecord {
                from: me,
                to,
                state: "LOOKING".to_owned(),
                leader: u64::from(me),
                zxid: 0,
                epoch: 0,
                round: 1,
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
        self.count(step);
        Ok(())
    }

    async fn act(&mut self, step: &Step) -> Result<()> {
        match step.action {
            Action::Notify { from, to } => {
                let vote = self.mail.remove(&(from, to));
                let vote = vote.context("no vote is on the way")?;
                self.node(to).inputs += 1;
                let mesh = self.mesh.get_mut(&(to, from)).context("no connection")?;
                mesh.write_all(&vote).await?;
            }
            Action::Connect { server } => {
                let link = step.frames.iter().find(|f| f.from == server);
                let link = link.context("the trace names no FOLLOWERINFO")?.link;
                let dial = self.node(server).dial.take();
                let dial = dial.with_context(|| format!("server {server} has not dialled"))?;
                let conn = self.conns.get_mut(&dial).context("no connection")?;
                conn.link = Some(link);
                let leader = conn.leader;
                let side = self.proxy.connect(leader, dial).await?;
                conn.half(End::Leader).side = Some(side);
                self.node(leader).inputs += 1;
            }
            Action::GiveUp { server } => {
                let dial = self.nodes[usize::from(server) - 1].record.role == "FOLLOWING";
                ensure!(dial, "server {server} does not dial");
                let learner = |c: &Conn| c.learner == server && c.link.is_none();
                self.conns.retain(|_, c| !learner(c));
                self.node(server).inputs += 1;
            }
            Action::Receive { link, at } => {
                let conn = self.linked(link)?;
                let server = conn.server(at);
                let half = conn.half(at);
                let next = half.inbox.pop_front();
                let (frame, bytes) = next.context("no packet is on the way")?;
                let side = half.side.as_mut().context("this end is gone")?;
                side.write(&bytes).await?;
                let node = self.node(server);
                node.inputs += 1;
                if frame.packet == "SNAP" {
                    node.mirror.tree = frame.tree;
                }
            }
            Action::HearClose { link, at } => {
                let conn = self.linked(link)?;
                let server = conn.server(at);
                let half = conn.half(at);
                half.inbox.clear();
                half.side.take().context("this end is gone already")?;
                self.node(server).inputs += 1;
            }
            Action::Flush { server } => {
                self.node(server).mirror.write_next();
                self.node(server).inputs += 1;
                self.command(server, json!({"cmd": "release", "n": 1}))
                    .await?;
            }
            Action::Fire { server, timer } => {
                let timer = format!("{timer:?}");
                self.node(server).inputs += 1;
                let said = self
                    .ask(server, json!({"cmd": "fire", "timer": timer}), "fired")
                    .await?;
                ensure!(said["was_armed"] == true, "{timer} does not run");
            }
            Action::Propose { server } => {
                self.node(server).inputs += 1;
                let said = self
                    .ask(server, json!({"cmd": "propose"}), "proposed")
                    .await?;
                ensure!(said["zxid"].is_u64(), "server {server} does not lead");
            }
            Action::Crash { server, kept } => self.crash(server, kept).await?,
            Action::Start { server } => self.start(server).await?,
            // What is on the way may still arrive; the trace says which packets do not.
            Action::Disconnect { link } => drop(self.linked(link)?),
        }
        Ok(())
    }

    /// The newest connection with this number: the trace uses a number again when both ends are gone.
    fn linked(&mut self, link: u64) -> Result<&mut Conn> {
        let mut all = self.conns.values_mut().rev();
        all.find(|c| c.link == Some(link))
            .with_context(|| format!("link {link} is not connected"))
    }

    async fn start(&mut self, server: u8) -> Result<()> {
        self.proxy.begin_life(server);
        let binary = &self.options.binary;
        let node = &mut self.nodes[usize::from(server) - 1];
        node.server.start(binary)?;
        (node.inputs, node.link_bytes) = (0, 0);
        (node.votes_seen, node.votes_asked, node.votes_named) = (0, 0, 0);
        let deadline = Instant::now() + self.options.patience;
        while self.node(server).gate.is_none() {
            let what = format!("server {server} does not come to its gate");
            self.hear(deadline, server, || what.clone()).await?;
        }
        Ok(())
    }

    /// The writes that are to be kept reach the disk one by one, then the process is killed. Whatever it said about
    /// them, nobody has heard.
    async fn crash(&mut self, server: u8, kept: u8) -> Result<()> {
        for _ in 0..kept {
            self.node(server).mirror.write_next();
            self.node(server).inputs += 1;
            self.command(server, json!({"cmd": "release", "n": 1}))
                .await?;
            self.settle_inputs(server).await?;
        }
        let node = self.node(server);
        node.server.kill();
        node.gate = None;
        node.writes.clear();
        node.answers.clear();
        node.mirror.queue.clear();
        node.dial = None;
        let seen = Image::read(&node.server.data())?;
        let expected = node.mirror.image.clone();
        ensure!(
            seen == expected,
            "the disk of server {server}: expected {expected:x?}, found {seen:x?}"
        );
        for conn in self.conns.values_mut() {
            for end in [End::Leader, End::Learner] {
                if conn.server(end) == server {
                    *conn.half(end) = Half::default();
                }
            }
        }
        self.conns
            .retain(|_, c| c.link.is_some() || c.learner != server);
        self.mesh.retain(|(of, _), _| *of != server);
        self.votes.retain(|(from, _), _| *from != server);
        self.mail.retain(|(_, to), _| *to != server);
        Ok(())
    }

    async fn command(&mut self, server: u8, command: Value) -> Result<()> {
        let gate = self.node(server).gate.as_mut().context("no gate")?;
        gate.write_all(format!("{command}\n").as_bytes())
            .await
            .with_context(|| format!("the gate of server {server}"))
    }

    /// Gives a command and waits for its answer.
    async fn ask(&mut self, server: u8, command: Value, answer: &str) -> Result<Value> {
        self.command(server, command).await?;
        let deadline = Instant::now() + self.options.patience;
        loop {
            while let Some(value) = self.node(server).answers.pop_front() {
                if value["event"] == answer {
                    return Ok(value);
                }
            }
            let what = format!("server {server} does not answer");
            self.hear(deadline, server, || what.clone()).await?;
        }
    }

    /// Takes in the next event.
    async fn hear(
        &mut self,
        deadline: Instant,
        server: u8,
        late: impl Fn() -> String,
    ) -> Result<()> {
        match timeout_at(deadline, self.events.recv()).await {
            Ok(Some(event)) => self.take(event),
            Ok(None) | Err(_) => match self.node(server).server.has_ended() {
                Some(how) => bail!("{how}"),
                None => bail!("{}", late()),
            },
        }
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Wrong(what) => bail!("{what}"),
            Event::Gate {
                server,
                life,
                writer,
            } if life == self.proxy.life(server) => self.node(server).gate = Some(writer),
            Event::Mesh {
                server,
                life,
                peer,
                writer,
            } if life == self.proxy.life(server) => {
                let old = self.mesh.insert((server, peer), writer);
                ensure!(
                    old.is_none(),
                    "server {server} dials the election port of server {peer} again"
                );
            }
            Event::Vote {
                from,
                life,
                to,
                vote,
                bytes,
            } if life == self.proxy.life(from) => {
                self.node(from).votes_seen += 1;
                self.votes
                    .entry((from, to))
                    .or_default()
                    .push((vote, bytes));
            }
            Event::Said {
                server,
                life,
                value,
            } if life == self.proxy.life(server) => match value["event"].as_str() {
                Some("write") => {
                    let write = WriteRecord {
                        server,
                        kind: value["kind"].as_str().unwrap_or_default().to_owned(),
                        value: value["value"].as_u64().unwrap_or(u64::MAX),
                    };
                    self.node(server).writes.push(write);
                }
                Some("armed" | "disarmed" | "released") => {}
                _ => self.node(server).answers.push_back(value),
            },
            Event::Dialled {
                from,
                life,
                to,
                conn,
                side,
            } if life == self.proxy.life(from) => {
                let mut halves = [Half::default(), Half::default()];
                halves[End::Learner as usize].side = Some(side);
                let new = Conn {
                    leader: to,
                    learner: from,
                    link: None,
                    halves,
                };
                self.conns.insert(conn, new);
                self.node(from).dial = Some(conn);
            }
            Event::Packet {
                conn,
                from,
                packet,
                bytes,
            } => {
                if let Some(c) = self.conns.get_mut(&conn)
                    && c.half(from).side.is_some()
                {
                    let server = c.server(from);
                    let length = bytes.len() as u64;
                    c.half(from).unmatched.push_back((packet, bytes));
                    self.node(server).link_bytes += length;
                }
            }
            // Of a process that is dead.
            Event::Gate { .. }
            | Event::Mesh { .. }
            | Event::Vote { .. }
            | Event::Said { .. }
            | Event::Dialled { .. } => {}
        }
        Ok(())
    }

    async fn state(&mut self, server: u8) -> Result<Value> {
        self.ask(server, json!({"cmd": "state"}), "state").await
    }

    async fn settle_inputs(&mut self, server: u8) -> Result<()> {
        self.wait_for(server, |node, state| {
            Ok(state["inputs_stepped"] == node.inputs)
        })
        .await
        .map(drop)
    }

    /// Waits until a server has taken all its inputs and all that it has said is here; then compares its state.
    async fn settle(&mut self, server: u8) -> Result<()> {
        let state = self
            .wait_for(server, |node, state| {
                let number = |key: &str| state[key].as_u64().unwrap_or(u64::MAX);
                let replaced = number("votes_replaced");
                Ok(number("inputs_stepped") == node.inputs
                    && state["links_idle"] == true
                    && number("votes_sent") + replaced == number("votes_asked")
                    && number("votes_sent") == node.votes_seen
                    && number("link_bytes") == node.link_bytes)
            })
            .await?;
        let number = |key: &str| state[key].as_u64().unwrap_or(u64::MAX);
        self.node(server).votes_asked = number("votes_asked");
        let node = &self.nodes[usize::from(server) - 1];
        let serving = state["serving"].as_u64().and_then(|e| e.try_into().ok());
        let seen = ServerRecord {
            id: server,
            up: true,
            role: state["role"].as_str().unwrap_or_default().to_uppercase(),
            serving,
            round: number("round"),
            accepted: number("accepted"),
            current: number("current"),
            durable: number("last_durable"),
            logged: number("last_logged"),
            applied: number("delivered"),
            pending: number("pending_writes"),
        };
        let expected = &node.record;
        ensure!(
            seen == *expected,
            "expected {expected:x?}, the server is {seen:x?}"
        );
        // The tree follows a truncation only when that is durable.
        let truncating = node.mirror.queue.iter().any(|(w, _)| w.kind == "truncate")
            || node.writes.iter().any(|w| w.kind == "truncate");
        let tree = number("tree_zxid");
        ensure!(
            truncating || state["reloading"] == true || tree == expected.applied,
            "server {server} has applied {tree:#x} to its tree, expected {:#x}",
            expected.applied
        );
        self.counts.states += 1;
        Ok(())
    }

    /// Asks for the state until it is settled, or is past what it should be.
    async fn wait_for(
        &mut self,
        server: u8,
        settled: impl Fn(&Node, &Value) -> Result<bool>,
    ) -> Result<Value> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            let state = self.state(server).await?;
            while let Ok(event) = self.events.try_recv() {
                self.take(event)?;
            }
            let node = &self.nodes[usize::from(server) - 1];
            let inputs = state["inputs_stepped"].as_u64().unwrap_or(u64::MAX);
            ensure!(
                inputs <= node.inputs,
                "server {server} has taken {inputs} inputs, {} were given to it",
                node.inputs
            );
            if settled(node, &state)? {
                return Ok(state);
            }
            ensure!(
                Instant::now() < deadline,
                "server {server} does not come to rest: {} inputs were given to it, {} bytes and {} votes have come, it says {state}",
                node.inputs,
                node.link_bytes,
                node.votes_seen
            );
            // Something may come that completes it; the server may also just need a moment.
            if let Ok(Some(event)) = timeout(Duration::from_micros(500), self.events.recv()).await {
                self.take(event)?;
            }
        }
    }

    async fn compare(&mut self, step: &Step) -> Result<()> {
        self.compare_votes(&step.votes)?;
        self.compare_frames(&step.frames)?;
        for server in 1..=SERVERS {
            let node = self.node(server);
            let expected: Vec<_> = step.writes.iter().filter(|w| w.server == server).collect();
            let seen = std::mem::take(&mut node.writes);
            ensure!(
                seen.iter().eq(expected.iter().copied()),
                "writes of server {server}: expected {expected:x?}, seen {seen:x?}"
            );
            for write in seen {
                let tree = node.mirror.tree.clone();
                node.mirror.queue.push_back((write, tree));
            }
        }
        if let Action::Crash { server, .. } = step.action {
            let expected = self.node(server).record.clone();
            let image = Image::read(&self.node(server).server.data())?;
            let seen = (image.accepted, image.current, image.last());
            let expected = (expected.accepted, expected.current, expected.durable);
            ensure!(
                seen == expected,
                "accepted, current, last on the disk of server {server}: expected {expected:x?}, found {seen:x?}"
            );
            self.counts.disks += 1;
        }
        Ok(())
    }

    fn compare_votes(&mut self, expected: &[VoteRecord]) -> Result<()> {
        for ((from, to), seen) in std::mem::take(&mut self.votes) {
            let mut named = expected
                .iter()
                .filter(|v| (v.from, v.to) == (from, to))
                .rev();
            let mut newest = true;
            for (vote, bytes) in seen.into_iter().rev() {
                // The newest always comes. Those between were replaced while they waited; the sums below say whether
                // there were so many.
                let is_it = |v: &&VoteRecord| {
                    (v.state.as_str(), v.leader, v.zxid, v.epoch, v.round)
                        == (vote.state, vote.leader, vote.zxid, vote.epoch, vote.round)
                };
                let found = if newest {
                    named.next().filter(is_it)
                } else {
                    named.find(is_it)
                };
                let Some(record) = found else {
                    let all = expected.iter().filter(|v| (v.from, v.to) == (from, to));
                    let all: Vec<_> = all.collect();
                    bail!("votes from {from} to {to}: expected {all:x?}, seen {vote:x?}");
                };
                if newest && !record.lost {
                    self.mail.insert((from, to), bytes);
                }
                newest = false;
                self.counts.votes += 1;
            }
        }
        for vote in expected {
            self.node(vote.from).votes_named += 1;
        }
        for node in self
            .nodes
            .iter()
            .filter(|n| n.record.up && n.gate.is_some())
        {
            ensure!(
                node.votes_asked == node.votes_named,
                "server {} has sent {} votes in its life, replaced ones included; the trace names {}",
                node.record.id,
                node.votes_asked,
                node.votes_named
            );
        }
        Ok(())
    }

    fn compare_frames(&mut self, expected: &[FrameRecord]) -> Result<()> {
        for frame in expected {
            let FrameRecord { link, from, to, .. } = *frame;
            let conn = self.linked(link)?;
            let end = if conn.leader == from {
                End::Leader
            } else {
                End::Learner
            };
            ensure!(
                (conn.server(end), conn.server(end.other())) == (from, to),
                "link {link} is between others: expected {frame:x?}"
            );
            let next = conn.half(end).unmatched.pop_front();
            let (packet, bytes) = next.with_context(|| format!("missing: {frame:x?}"))?;
            let mut tree = frame.tree.clone();
            tree.sort_unstable();
            let same = (packet.name, packet.zxid, packet.epoch)
                == (&frame.packet, frame.zxid, frame.epoch)
                && packet.tree == tree;
            ensure!(same, "expected {frame:x?}, seen {packet:x?}");
            if !frame.lost {
                conn.half(end.other())
                    .inbox
                    .push_back((frame.clone(), bytes));
            }
            self.counts.frames += 1;
        }
        for conn in self.conns.values() {
            for end in [End::Leader, End::Learner] {
                let waiting = &conn.halves[end as usize].unmatched;
                // A learner's first packet comes when it dials.
                let early = usize::from(conn.link.is_none() && end == End::Learner);
                if let Some((packet, _)) = waiting.get(early) {
                    bail!(
                        "server {} sends {packet:x?} to server {}, which the trace does not name",
                        conn.server(end),
                        conn.server(end.other())
                    );
                }
            }
        }
        Ok(())
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
