//! One server process of a replay: its configuration, start and kill.

use super::list;
use super::ports::Ports;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// One server: its directory, and its process while it runs.
#[derive(Debug)]
pub struct Server {
    id: u8,
    dir: PathBuf,
    config: String,
    listen: String,
    gate: String,
    process: Option<Child>,
}

impl Server {
    /// The directory of server `id` below `root`, whose data directory is empty. By its file these have a vote; `changes`: the list of
    /// members may change.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn new(root: &Path, ports: &Ports, id: u8, voters: &[u8], changes: bool) -> Result<Self> {
        let dir = root.join(format!("server-{id}"));
        let data = dir.join("data");
        fs::create_dir_all(&data)?;
        fs::write(data.join("myid"), id.to_string())?;
        let me = usize::from(id) - 1;
        // A tick of a minute: nothing that the gate does not hold runs out during a replay.
        let mut config = format!(
            "tickTime=60000\ninitLimit=100\nsyncLimit=100\nadmin.enableServer=false\nclientPortAddress={}\nclientPort={}\ndataDir={}\n",
            ports.host,
            ports.client[me],
            data.display()
        );
        if changes {
            // Sessions of the replay's client are no transactions.
            config.push_str("reconfigEnabled=true\nskipACL=yes\nlocalSessionsEnabled=true\n");
        }
        for server in voters {
            config.push_str(&list::line(ports, *server));
            config.push('\n');
        }
        Ok(Self {
            id,
            dir,
            config,
            listen: format!("{}:{}", ports.quorum[me], ports.election[me]),
            gate: format!("{}:{}", ports.host, ports.gate[me]),
            process: None,
        })
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts the process.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, binary: &Path, mutant: Option<&str>) -> Result<()> {
        self.write_config()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))?;
        let process = Command::new(binary)
            .arg("serve")
            .arg(self.dir.join("zoo.cfg"))
            .envs(mutant.map(|name| ("ZABRA_MUTANT", name)))
            .env("ZABRA_GATE", &self.gate)
            .env("ZABRA_GATE_LISTEN", &self.listen)
            .env(
                "ZABRA_LOG",
                std::env::var_os("ZABRA_LOG").unwrap_or_else(|| "info".into()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        self.process = Some(process);
        Ok(())
    }

    /// The file as an operator has written it, without what servers write beside it. That is written after the fact by a thread of its own, so
    /// whether a crash leaves it would be chance; what binds a server is to be told by its data.
    fn write_config(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            if name.is_some_and(|name| name.starts_with("zoo.cfg")) {
                fs::remove_file(&path)?;
            }
        }
        Ok(fs::write(self.dir.join("zoo.cfg"), &self.config)?)
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Kills the process at once, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill(); // an error means that it has ended by itself
            let _ = process.wait();
        }
    }

    /// How it has ended, if it has ended by itself.
    pub fn has_ended(&mut self) -> Option<String> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        Some(format!("server {} has ended: {status}", self.id))
    }

    /// The end of what it has logged.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.len().saturating_sub(60);
        format!("server {}:\n{}", self.id, lines[shown..].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
