//! Carries out what a step says: delivers, releases, fires, connects, starts and kills.

use super::Replay;
use super::nodes::{Conn, Half};
use crate::replay::files::Image;
use crate::replay::trace::{Action, End, Step};
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

    pub(super) async fn start(&mut self, server: u8) -> Result<()> {
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
}
