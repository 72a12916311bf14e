//! Clients that write without a pause while a test kills servers, and that check everything in the end.
//!
//! They are kazoo's, in `interop/kazoo_chaos.py`, which tells what is verified; this is the hand of the test on them.

use crate::cluster::{PATIENCE, Product, Server, wait_until};
use crate::interop::Script;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// Writes that each server must acknowledge between two disturbances.
pub const PROGRESS: u64 = 50;
/// How long the verification may take.
const FINISH: Duration = Duration::from_secs(120);
/// Nodes that one writer leaves for the verification to read from every server: `KEPT` of the script, with their pairs and with what lost
/// connections have left. Without a bound a busy machine had 20,000 nodes to read three times within [`FINISH`].
const NODES_MOST: u64 = 1_000;

/// Writers at each server of an ensemble.
#[derive(Debug)]
pub struct Chaos {
    script: Script,
    writers: u64,
}

/// What was written and verified.
#[derive(Debug)]
pub struct Facts(Value);

impl Facts {
    /// A count, by its name in `kazoo_chaos.py`.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        self.0.get("facts")?.get(name)?.as_u64()
    }
}

impl Chaos {
    /// Begins to write through each of these servers.
    ///
    /// # Errors
    /// No Python or no kazoo.
    pub fn start(servers: &[Server]) -> Result<Self> {
        let each: Vec<_> = servers.iter().map(Server::connect).collect();
        let mixed = servers.iter().any(|s| s.product == Product::ZooKeeper);
        let flag = mixed.then_some("--mixed");
        let arguments: Vec<_> = flag
            .into_iter()
            .chain(each.iter().map(String::as_str))
            .collect();
        let script = Script::start("kazoo_chaos.py", &arguments)?;
        let writers = servers.len() as u64;
        Ok(Self { script, writers })
    }

    /// Writes acknowledged so far, by server.
    fn acked(&mut self) -> Result<Vec<(String, u64)>> {
        let answer = self.script.ask(&json!({"do": "progress"}), PATIENCE)?;
        let by_server = answer
            .get("acked")
            .and_then(Value::as_object)
            .context("acked")?;
        let count = |(server, n): (&String, &Value)| {
            let n = n.as_u64().context("a number of writes")?;
            Ok((server.clone(), n))
        };
        by_server.iter().map(count).collect()
    }

    /// Waits until each of `servers` has acknowledged [`PROGRESS`] writes more.
    ///
    /// # Errors
    /// They do not; `when` tells where the test is.
    pub fn wait_for_progress<'a>(
        &mut self,
        servers: impl IntoIterator<Item = &'a Server>,
        when: &str,
    ) -> Result<()> {
        let servers: Vec<_> = servers.into_iter().map(Server::connect).collect();
        let before = self.acked()?;
        let mut last = vec![];
        let waited = wait_until(when, PATIENCE, || {
            last = self.acked()?;
            let mut pairs = before
                .iter()
                .zip(&last)
                .filter(|((s, _), _)| servers.contains(s));
            Ok(pairs.all(|((_, then), (_, now))| now >= &(then + PROGRESS)))
        });
        if let Err(why) = waited {
            bail!("writes do not go on {when}: {before:?}, then {last:?}: {why:#}");
        }
        Ok(())
    }

    /// A client makes ephemeral nodes and is killed.
    ///
    /// # Errors
    /// It could not make them.
    pub fn ghost(&mut self) -> Result<()> {
        self.script.ask(&json!({"do": "ghost"}), PATIENCE)?;
        Ok(())
    }

    /// Stops writing and verifies.
    ///
    /// # Errors
    /// What is wrong with what the servers have; or the writers have left more nodes than they should.
    pub fn finish(&mut self) -> Result<Facts> {
        let facts = self.script.ask(&json!({"do": "finish"}), FINISH)?;
        eprintln!("{facts}");
        let facts = Facts(facts);
        let nodes = facts.count("nodes").context("nodes")?;
        let most = NODES_MOST * self.writers;
        ensure!(
            nodes <= most,
            "{nodes} nodes are there, and {most} are the most that writers leave"
        );
        Ok(facts)
    }
}
