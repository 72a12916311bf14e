//! Hears what servers say, asks them for their state, and waits until all of it has come.

use super::Replay;
use super::nodes::{Conn, Node};
use crate::replay::list;
use crate::replay::proxy::Event;
use crate::replay::trace::ServerRecord;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout, timeout_at};

impl Replay<'_> {
    pub(super) async fn command(&mut self, server: u8, command: Value) -> Result<()> {
        let gate = self.node(server).gate.as_mut().context("no gate")?;
        gate.write_all(format!("{command}\n").as_bytes())
            .await
            .with_context(|| format!("the gate of server {server}"))
    }

    /// Gives a command and waits for its answer.
    pub(super) async fn ask(&mut self, server: u8, command: Value, answer: &str) -> Result<Value> {
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
    pub(super) async fn hear(
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

    pub(super) fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Wrong(what) => bail!("{what}"),
            Event::Gate {
                server,
                life,
                writer,
            } if self.proxy.lives(server, life) => self.node(server).gate = Some(writer),
            Event::Mesh {
                server,
                life,
                peer,
                writer,
            } if self.proxy.lives(server, life) => {
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
            } if self.proxy.lives(from, life) => {
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
            } if self.proxy.lives(server, life) => self.node(server).said(value),
            Event::Dialled {
                from,
                life,
                to,
                conn,
                side,
            } if self.proxy.lives(from, life) => {
                self.conns.insert(conn, Conn::dialled(from, to, side));
                self.node(from).dial = Some(conn);
            }
            Event::Packet {
                conn,
                from,
                packet,
                bytes,
            } => {
                let length = bytes.len() as u64;
                let conn = self.conns.get_mut(&conn);
                if let Some(server) = conn.and_then(|c| c.sent(from, packet, bytes)) {
                    self.node(server).link_bytes += length;
                }
            }
            Event::Answered {
                server,
                life,
                bytes,
            } if self.proxy.lives(server, life) => {
                if let Some(client) = &mut self.node(server).client {
                    client.answers.push(bytes);
                }
            }
            // Of a process that is dead.
            Event::Answered { .. }
            | Event::Gate { .. }
            | Event::Mesh { .. }
            | Event::Vote { .. }
            | Event::Said { .. }
            | Event::Dialled { .. } => {}
        }
        Ok(())
    }

    pub(super) async fn state(&mut self, server: u8) -> Result<Value> {
        self.ask(server, json!({"cmd": "state"}), "state").await
    }

    pub(super) async fn settle_inputs(&mut self, server: u8) -> Result<()> {
        self.wait_for(server, |node, state| Ok(inputs_of(state) == node.inputs))
            .await
            .map(drop)
    }

    /// Waits until a server has taken all its inputs and all that it has said is here; then compares its state.
    pub(super) async fn settle(&mut self, server: u8) -> Result<()> {
        let state = self
            .wait_for(server, |node, state| {
                let number = |key: &str| state[key].as_u64().unwrap_or(u64::MAX);
                let replaced = number("votes_replaced");
                Ok(inputs_of(state) == node.inputs
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
            lists: match &node.record.lists {
                Some(_) => {
                    let text = state["lists"].as_str().unwrap_or_default();
                    list::check_places(text, &self.ports)?;
                    Some(list::parse_both(text)?)
                }
                None => None,
            },
            kept: node.record.kept.clone(), // its files are looked at apart
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
        // What clients read is the last list in the tree.
        let content = node.mirror.content(true).into_iter();
        let listed = content.filter(|z| *z <= tree && self.lists.contains_key(z));
        let replacing = truncating || node.writes.iter().any(|w| w.kind == "install");
        if let (Some(shown), false) = (listed.max(), replacing || state["reloading"] == true) {
            let told = list::parse(state["list_told"].as_str().unwrap_or_default())?;
            ensure!(
                told.version == shown && self.lists.get(&shown) == Some(&told.voters),
                "server {server} shows clients the list {told:x?}, expected that of {shown:#x}"
            );
        }
        self.counts.states += 1;
        Ok(())
    }

    /// Asks for the state until it is settled, or is past what it should be.
    pub(super) async fn wait_for(
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
            let inputs = inputs_of(&state);
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
}

/// The inputs that a server has taken, without those by which it has heard of writes that the protocol knows nothing of.
fn inputs_of(state: &Value) -> u64 {
    let number = |key: &str| state[key].as_u64();
    let stepped = number("inputs_stepped").unwrap_or(u64::MAX);
    stepped.saturating_sub(number("extras_passed").unwrap_or(0))
}
