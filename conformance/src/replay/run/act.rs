//! Carries out what a step says: delivers, releases, fires, connects, starts and kills.

use super::Replay;
use super::nodes::{Client, Conn, Half};
use crate::replay::files::Image;
use crate::replay::ports::SERVERS;
use crate::replay::trace::{Action, End, ListsRecord, Step};
use crate::replay::{list, wire};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

impl Replay<'_> {
    pub(super) async fn act(&mut self, step: &Step) -> Result<()> {
        match step.action {
            Action::Notify { from, to } => {
                let vote = self.mail.remove(&(from, to));
                let vote = vote.context("no vote is on the way")?;
                self.node(to).inputs += 1;
                let mesh = self.mesh.get_mut(&(to, from)).context("no connection")?;
                mesh.write_all(&vote).await?;
            }
            Action::Connect { server } => self.connect(server, step).await?,
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
            Action::Reconfigure { server, members } => {
                let mut writes = step.writes.iter();
                let proposed = writes.find(|w| w.server == server && !w.voters.is_empty());
                let version = proposed.context("the trace proposes no list")?.value;
                self.reconfigure(server, members, version).await?;
            }
            Action::Snapshot { server } => self.snapshot(server).await?,
            Action::Crash { server, kept } => self.crash(server, kept).await?,
            Action::Start { server } => {
                let mut records = step.servers.iter();
                let record = records.find(|record| record.id == server);
                self.start(server, record.and_then(|r| r.lists.as_ref()))
                    .await?;
            }
            // What is on the way may still arrive; the trace says which packets do not.
            Action::Disconnect { link } => drop(self.linked(link)?),
        }
        Ok(())
    }

    /// The leader's side of what a learner has dialled.
    async fn connect(&mut self, server: u8, step: &Step) -> Result<()> {
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
        Ok(())
    }

    /// An operator takes a snapshot.
    async fn snapshot(&mut self, server: u8) -> Result<()> {
        // The disk says that it is done with it by the mark of the last write.
        let said = self
            .ask(server, json!({"cmd": "snapshot"}), "snapshot")
            .await?;
        let node = self.node(server);
        let applied = node.record.applied;
        ensure!(
            said["zxid"] == applied,
            "server {server} takes a snapshot of {said}"
        );
        node.mirror.take_snapshot(applied);
        Ok(())
    }

    /// A client of the leader asks for a list.
    async fn reconfigure(&mut self, server: u8, members: u8, version: u64) -> Result<()> {
        let next: Vec<u8> = (1..=SERVERS)
            .filter(|s| members >> (s - 1) & 1 == 1)
            .collect();
        let node = self.node(server);
        let lists = node.record.lists.clone().context("no list")?;
        node.inputs += 1;
        let now = lists.active.voters;
        let joining = next.iter().filter(|s| !now.contains(s)).map(|s| {
            let client = self.ports.client[usize::from(*s) - 1];
            let line = list::line(&self.ports, *s);
            format!("{line};{}:{client}", self.ports.host)
        });
        let joining: Vec<String> = joining.collect();
        let leaving = now.iter().filter(|s| !next.contains(s));
        let leaving: Vec<String> = leaving.map(u8::to_string).collect();
        let mut writer = self.proxy.client(server, self.proxy.life(server)).await?;
        let request = wire::reconfigure(&joining.join(","), &leaving.join(","));
        writer.write_all(&request).await?;
        self.node(server).client = Some(Client {
            _writer: writer,
            version,
            answers: Vec::new(),
        });
        Ok(())
    }

    /// Starts a server that these lists bind.
    pub(super) async fn start(&mut self, server: u8, lists: Option<&ListsRecord>) -> Result<()> {
        self.proxy.begin_life(server);
        let binary = &self.options.binary;
        let node = &mut self.nodes[usize::from(server) - 1];
        node.server.start(binary, self.options.mutant)?;
        (node.inputs, node.link_bytes) = (0, 0);
        (node.votes_seen, node.votes_asked, node.votes_named) = (0, 0, 0);
        let deadline = Instant::now() + self.options.patience;
        while self.node(server).gate.is_none() {
            let what = format!("server {server} does not come to its gate");
            self.hear(deadline, server, || what.clone()).await?;
        }
        // Larger ones dial it, and what they say may be its first input.
        for peer in server + 1..=SERVERS {
            self.await_mesh(server, peer, deadline).await?;
        }
        // It dials whom its lists have. Others have to be known to it before they can be heard.
        let strangers = |peer: &u8| lists.is_some_and(|lists| !lists.has_vote(*peer));
        for peer in (1..server).filter(strangers) {
            self.proxy.knock(server, peer).await?;
            self.await_mesh(server, peer, deadline).await?;
        }
        Ok(())
    }

    /// Waits until votes of `peer` can be brought to `server`.
    async fn await_mesh(&mut self, server: u8, peer: u8, deadline: Instant) -> Result<()> {
        while !self.mesh.contains_key(&(server, peer)) {
            let what = format!("no election connection of server {server} and server {peer}");
            self.hear(deadline, server, || what.clone()).await?;
        }
        Ok(())
    }

    /// The writes that are to be kept reach the disk one by one, then the process is killed. Whatever it said about
    /// them, nobody has heard.
    pub(super) async fn crash(&mut self, server: u8, kept: u8) -> Result<()> {
        for _ in 0..kept {
            self.node(server).mirror.write_next();
            self.node(server).inputs += 1;
            self.command(server, json!({"cmd": "release", "n": 1}))
                .await?;
            self.settle_inputs(server).await?;
        }
        let node = self.node(server);
        node.server.kill();
        self.proxy.end_life(server);
        let node = self.node(server);
        node.gate = None;
        node.writes.clear();
        node.answers.clear();
        node.mirror.end();
        node.dial = None;
        node.client = None;
        let node = &self.nodes[usize::from(server) - 1];
        let seen = Image::read(&node.server.data())?;
        let expected = node.mirror.files(&self.lists);
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
}
