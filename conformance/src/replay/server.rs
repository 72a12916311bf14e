//! One server process of a replay: its ports, its configuration, start and kill.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Servers of a replay.
pub const SERVERS: u8 = 3;
const N: usize = SERVERS as usize;

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
    /// `[a][b]`: where server `a` finds the quorum port of server `b`: at the proxy.
    pub quorum_of: [[u16; N]; N],
    /// `[a][b]`: where server `a` finds the election port of server `b`: at the proxy.
    pub election_of: [[u16; N]; N],
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
        let mut next = || -> Result<u16> {
            let listener = TcpListener::bind((host.as_str(), 0)).context("a free port")?;
            let port = listener.local_addr()?.port();
            held.push(listener); // until all are known, so that none comes twice
            Ok(port)
        };
        let mut row = || -> Result<[u16; N]> { Ok([next()?, next()?, next()?]) };
        let mut rows = Vec::new();
        for _ in 0..10 {
            rows.push(row()?);
        }
        let &[quorum, election, client, q1, q2, q3, e1, e2, e3, gate] = rows.as_slice() else {
            anyhow::bail!("ten rows of ports");
        };
        Ok(Self {
            host,
            quorum,
            election,
            client,
            quorum_of: [q1, q2, q3],
            election_of: [e1, e2, e3],
            gate,
        })
    }
}

/// One server: its directory, and its process while it runs.
#[derive(Debug)]
pub struct Server {
    id: u8,
    dir: PathBuf,
    gate: String,
    process: Option<Child>,
}

impl Server {
    /// Writes the configuration of server `id` below `root`; its data directory is empty.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn new(root: &Path, ports: &Ports, id: u8) -> Result<Self> {
        let dir = root.join(format!("server-{id}"));
        let data = dir.join("data");
        fs::create_dir_all(&data)?;
        fs::write(data.join("myid"), id.to_string())?;
        let me = usize::from(id) - 1;
        // A tick of a minute: nothing that the gate does not hold runs out during a replay.
        let mut text = format!(
            "tickTime=60000\ninitLimit=100\nsyncLimit=100\nadmin.enableServer=false\nclientPortAddress={}\nclientPort={}\ndataDir={}\n",
            ports.host,
            ports.client[me],
            data.display()
        );
        for other in 0..N {
            let (quorum, election) = if other == me {
                (ports.quorum[me], ports.election[me])
            } else {
                (ports.quorum_of[me][other], ports.election_of[me][other])
            };
            text.push_str(&format!(
                "server.{}={}:{quorum}:{election}\n",
                other + 1,
                ports.host
            ));
        }
        fs::write(dir.join("zoo.cfg"), text)?;
        Ok(Self {
            id,
            dir,
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
    pub fn start(&mut self, binary: &Path) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))?;
        let process = Command::new(binary)
            .arg("serve")
            .arg(self.dir.join("zoo.cfg"))
            .env("ZABRA_GATE", &self.gate)
            .env("ZABRA_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        self.process = Some(process);
        Ok(())
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
        let shown = lines.len().saturating_sub(12);
        format!("server {}:\n{}", self.id, lines[shown..].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
