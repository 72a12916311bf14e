//! Clients that write without a pause while a test kills servers, and that check everything in the end.
//!
//! They are kazoo's, in `interop/kazoo_chaos.py`, which tells what is verified; this is the hand of the test on them.

use crate::cluster::{PATIENCE, Product, Server, wait_until};
use crate::interop::Script;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// Writes that each server must acknowledge between two disturbances.
pub const PROGRESS: u64 = 50;
/// How long the verification may take.
const FINISH: Duration = Duration::from_secs(120);

/// Writers at each server of an ensemble.
#[derive(Debug)]
pub struct Chaos {
    script: Script,
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
        Ok(Self { script })
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
    /// What is wrong with what the servers have.
    pub fn finish(&mut self) -> Result<Facts> {
        let facts = self.script.ask(&json!({"do": "finish"}), FINISH)?;
        eprintln!("{facts}");
        Ok(Facts(facts))
    }
}
