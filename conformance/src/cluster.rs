//! Real server processes on loopback: start, stop, kill, restart, and wait for what they say.
//!
//! A server is the binary named by `ZABRA_BIN` (anything that takes `serve CONFIG`), else the one that cargo builds from this
//! workspace; or it is ZooKeeper's, if a test says so ([`Product`]). Each has a directory of its own with `zoo.cfg`, `myid`,
//! data and `server.log`. Whatever happens, dropping a [`Cluster`] ends its processes; if a test is failing then, the ends of the logs are printed and the directory is kept.

use crate::interop;
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to do anything a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(25);
/// Lines of each log shown when a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// What `srvr` says about a serving server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Srvr {
    /// `leader`, `follower`, `observer` or `standalone`.
    pub mode: String,
    /// The newest zxid it has applied.
    pub zxid: u64,
}

/// Whose server it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Product {
    /// Ours.
    Zabra,
    /// The Java one.
    ZooKeeper,
}

/// One server: its place, its ports, and the process if it runs.
#[derive(Debug)]
pub struct Server {
    /// Its id, from 1.
    pub id: u64,
    /// Where clients connect.
    pub client_port: u16,
    /// Where learners connect while it leads; unused when it stands alone.
    pub quorum_port: u16,
    /// Where peers send votes; unused when it stands alone.
    pub election_port: u16,
    /// Whose it is, from its next start on.
    pub product: Product,
    directory: PathBuf,
    data: PathBuf,
    process: Option<Child>,
}

impl Server {
    /// The process id, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// `HOST:PORT` for clients.
    #[must_use]
    pub fn connect(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// What it says to `srvr`, if it serves.
    #[must_use]
    pub fn srvr(&self) -> Option<Srvr> {
        let text = four_letters(self.client_port, "srvr").ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let zxid = field("Zxid: 0x")?;
        Some(Srvr {
            mode: field("Mode: ")?.trim().to_owned(),
            zxid: u64::from_str_radix(zxid.trim(), 16).ok()?,
        })
    }

    /// Memory in use, bytes.
    ///
    /// # Errors
    /// It does not run, or the system has no `/proc`.
    pub fn resident_bytes(&self) -> Result<u64> {
        let pid = self.pid().context("the server does not run")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .and_then(|l| l.split_whitespace().next())
            .context("no VmRSS in /proc/PID/status")?
            .parse()?;
        Ok(kib * 1024)
    }

    /// How many files and sockets it has open.
    ///
    /// # Errors
    /// It does not run, or the system has no `/proc`.
    pub fn open_files(&self) -> Result<usize> {
        let pid = self.pid().context("the server does not run")?;
        Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
    }

    /// Where its process writes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "server {} runs already", self.id);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .context("server.log")?;
        let mut command = self.command()?;
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        self.process = Some(process);
        Ok(())
    }

    fn command(&self) -> Result<Command> {
        let config = self.directory.join("zoo.cfg");
        if self.product == Product::Zabra {
            let mut command = Command::new(binary()?);
            command.arg("serve").arg(config);
            return Ok(command);
        }
        let line = interop::java_server(&config)?.context("ZooKeeper cannot run here")?;
        let (program, arguments) = line.split_first().context("a command line")?;
        let mut command = Command::new(program);
        // ZooKeeper takes these settings as properties of the JVM only.
        let keys = [
            "znode.container.checkIntervalMs",
            "java.security.auth.login.config",
        ];
        let lines = fs::read_to_string(&config)?;
        let lines = lines.lines().filter_map(|line| line.split_once('='));
        for (key, value) in lines.filter(|(name, _)| keys.contains(name)) {
            command.arg(format!("-D{key}={value}"));
        }
        command.args(arguments);
        Ok(command)
    }

    /// An error if the process has ended by itself.
    fn is_alive(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && let Some(status) = process.try_wait()?
        {
            self.process = None;
            let log = fs::read(self.log()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
            bail!(
                "server {} ended by itself: {status}; its log ends with:\n{last}",
                self.id
            );
        }
        Ok(())
    }
}

/// One or more servers that were started together.
#[derive(Debug)]
pub struct Cluster {
    /// The servers, by id.
    pub servers: Vec<Server>,
    /// How long [`Cluster::wait`] waits.
    pub patience: Duration,
    directory: Option<TempDir>,
}

impl Cluster {
    /// Starts `count` servers, one alone or an ensemble, and waits until all of them serve. `settings` are further lines of
    /// `zoo.cfg` and take precedence.
    ///
    /// # Errors
    /// A server ended, or did not serve within [`PATIENCE`].
    pub fn start(count: u64, settings: &[(&str, &str)]) -> Result<Self> {
        let products: Vec<_> = (0..count).map(|_| Product::Zabra).collect();
        Self::start_as(&products, settings)
    }

    /// The same with a server of each of these products.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_as(products: &[Product], settings: &[(&str, &str)]) -> Result<Self> {
        let mut cluster = Self::prepare(products, &[], settings)?;
        for i in 0..cluster.servers.len() {
            cluster.restart(i)?;
        }
        cluster.wait_until_serving()?;
        Ok(cluster)
    }

    /// The same, with none of them started. The data of each is in its directory of `data`, if there is one for it.
    ///
    /// # Errors
    /// Their directories cannot be made.
    pub fn prepare(
        products: &[Product],
        data: &[PathBuf],
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        // Built before anything runs: a ZooKeeper ensemble may get its first server of ours under load, which a build would hold up by minutes.
        binary()?;
        let directory = tempfile::Builder::new()
            .prefix("zabra-cluster-")
            .tempdir()?;
        let mut data = data.iter();
        let mut servers = vec![];
        for (id, product) in (1..).zip(products) {
            let own = directory.path().join(format!("server-{id}"));
            let ports = zabra::dev::ports::free(3)?;
            let &[client_port, quorum_port, election_port] = ports.as_slice() else {
                bail!("{} ports instead of 3", ports.len());
            };
            servers.push(Server {
                id,
                product: *product,
                client_port,
                quorum_port,
                election_port,
                data: data.next().unwrap_or(&own).clone(),
                directory: own,
                process: None,
            });
        }
        for server in &servers {
            fs::create_dir(&server.directory)?;
            let config = zoo_cfg(server, &servers, settings)?;
            fs::write(server.directory.join("zoo.cfg"), config)?;
            if products.len() > 1 {
                fs::write(server.data.join("myid"), format!("{}\n", server.id))?;
            }
        }
        Ok(Self {
            servers,
            patience: PATIENCE,
            directory: Some(directory),
        })
    }

    /// What stands behind `server.` for a member that votes, its address for clients included.
    ///
    /// # Errors
    /// There is no such server.
    pub fn member(&self, i: usize) -> Result<String> {
        let s = self.servers.get(i).context("no such server")?;
        let (quorum, election) = (s.quorum_port, s.election_port);
        let client = s.connect();
        Ok(format!(
            "{}=127.0.0.1:{quorum}:{election}:participant;{client}",
            s.id
        ))
    }

    /// Lists these servers as the members, in the `zoo.cfg` of a server that has not run.
    ///
    /// # Errors
    /// There is no such server, or its file cannot be written.
    pub fn list_members(&mut self, i: usize, members: &[usize]) -> Result<()> {
        let path = self.server(i)?.directory.join("zoo.cfg");
        let text = fs::read_to_string(&path)?;
        // Its own line says where its clients come in.
        let of_list = |line: &&str| !line.starts_with("server.") && !line.starts_with("clientPort");
        let mut lines: Vec<_> = text.lines().filter(of_list).map(str::to_owned).collect();
        for member in members {
            lines.push(format!("server.{}", self.member(*member)?));
        }
        Ok(fs::write(path, lines.join("\n") + "\n")?)
    }

    /// Puts one text in place of another in the `zoo.cfg` of a server that has not run.
    ///
    /// # Errors
    /// There is no such server, or its file cannot be written.
    pub fn set(&mut self, i: usize, text: &str, by: &str) -> Result<()> {
        let path = self.server(i)?.directory.join("zoo.cfg");
        let lines = fs::read_to_string(&path)?;
        Ok(fs::write(path, lines.replace(text, by))?)
    }

    /// The connect string of all servers.
    #[must_use]
    pub fn connect(&self) -> String {
        let each: Vec<_> = self.servers.iter().map(Server::connect).collect();
        each.join(",")
    }

    /// Starts a server that does not run. It need not serve yet when this returns.
    ///
    /// # Errors
    /// It runs already, or there is no binary.
    pub fn restart(&mut self, i: usize) -> Result<()> {
        self.server(i)?.start()
    }

    /// `kill -9`; returns when the process is gone.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, i: usize) -> Result<()> {
        self.kill_and(i, || ())
    }

    /// The same; `then` is called when the process can do nothing more, though the system may still be busy for it.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_and(&mut self, i: usize, then: impl FnOnce()) -> Result<()> {
        let server = self.server(i)?;
        let mut process = server.process.take().context("the server does not run")?;
        process.kill()?;
        then();
        process.wait()?;
        Ok(())
    }

    /// Removes the data of a server that does not run: what a lost disk would leave.
    ///
    /// # Errors
    /// It runs, or there is nothing to remove.
    pub fn lose_data(&mut self, i: usize) -> Result<()> {
        let server = self.server(i)?;
        ensure!(server.process.is_none(), "server {} runs", server.id);
        Ok(fs::remove_dir_all(server.data.join("version-2"))?)
    }

    /// SIGTERM; returns how the process ended.
    ///
    /// # Errors
    /// It does not run, or has not ended within [`PATIENCE`].
    pub fn terminate(&mut self, i: usize) -> Result<ExitStatus> {
        let server = self.server(i)?;
        let id = server.id;
        let process = server.process.as_mut().context("the server does not run")?;
        // The child has not been waited for, so its id cannot have passed to another process.
        let sent = Command::new("kill")
            .arg(process.id().to_string())
            .status()?;
        ensure!(sent.success(), "kill: {sent}");
        let mut ended = None;
        wait_until(&format!("server {id} ends after SIGTERM"), PATIENCE, || {
            ended = process.try_wait()?;
            Ok(ended.is_some())
        })?;
        server.process = None;
        ended.context("an exit status")
    }

    /// Waits until each running server serves.
    ///
    /// # Errors
    /// A process ended by itself, or the patience is over.
    pub fn wait_until_serving(&mut self) -> Result<()> {
        self.wait("all running servers serve", |cluster| {
            let mut running = cluster.servers.iter().filter(|s| s.process.is_some());
            Ok(running.all(|s| s.srvr().is_some()))
        })
    }

    /// Waits until `condition` holds of the cluster; what it waits for is named in the error.
    ///
    /// # Errors
    /// The condition's own, a process that ended by itself, or the patience is over.
    pub fn wait(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        wait_until(what, self.patience, || {
            self.all_alive()?;
            condition(self)
        })
    }

    /// An error if a process has ended that nobody killed.
    ///
    /// # Errors
    /// Which one, and its exit status.
    pub fn all_alive(&mut self) -> Result<()> {
        self.servers.iter_mut().try_for_each(Server::is_alive)
    }

    /// The index of the server that leads (or stands alone); waits for one.
    ///
    /// # Errors
    /// None before the patience is over.
    pub fn leader(&mut self) -> Result<usize> {
        let mut found = None;
        self.wait("a leader", |cluster| {
            found = cluster.servers.iter().position(|s| {
                s.process.is_some()
                    && s.srvr()
                        .is_some_and(|s| s.mode == "leader" || s.mode == "standalone")
            });
            Ok(found.is_some())
        })?;
        found.context("a leader")
    }

    fn server(&mut self, i: usize) -> Result<&mut Server> {
        self.servers.get_mut(i).context("no such server")
    }

    fn logs(&self) -> String {
        let mut out = String::new();
        for server in &self.servers {
            let text = fs::read_to_string(server.log()).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
            let _ = writeln!(
                out,
                "---- {} ({} lines before)",
                server.log().display(),
                shown
            );
            for line in lines.iter().skip(shown) {
                let _ = writeln!(out, "{line}");
            }
        }
        out
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in &mut self.servers {
            if let Some(process) = &mut server.process {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            eprintln!("{}", self.logs());
            eprintln!("kept for a closer look: {}", directory.keep().display());
        }
    }
}

fn zoo_cfg(me: &Server, all: &[Server], settings: &[(&str, &str)]) -> Result<String> {
    let mut out = String::new();
    let directory = me.data.to_str().context("a path in UTF-8")?;
    let port = me.client_port.to_string();
    let ours = [
        ("dataDir", directory),
        ("clientPort", &port),
        ("clientPortAddress", "127.0.0.1"),
        ("tickTime", "500"),
        ("initLimit", "20"),
        ("syncLimit", "10"),
        ("maxClientCnxns", "0"),
        ("admin.enableServer", "false"),
        ("4lw.commands.whitelist", "*"),
    ];
    let kept = ours
        .iter()
        .filter(|(key, _)| !settings.iter().any(|(k, _)| k == key));
    for (key, value) in kept.chain(settings) {
        writeln!(out, "{key}={value}")?;
    }
    if all.len() > 1 {
        for server in all {
            let (quorum, election) = (server.quorum_port, server.election_port);
            writeln!(out, "server.{}=127.0.0.1:{quorum}:{election}", server.id)?;
        }
    }
    Ok(out)
}

/// The answer to a four-letter word.
///
/// # Errors
/// Nobody listens, or no answer within two seconds.
pub fn four_letters(port: u16, word: &str) -> Result<String> {
    let limit = Duration::from_secs(2);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = vec![];
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Looks at `condition` until it holds. The error after `limit` names `what` was waited for.
///
/// # Errors
/// The condition's own, or time is up.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let begin = Instant::now();
    while !condition().with_context(|| format!("while waiting: {what}"))? {
        ensure!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The server's binary: `ZABRA_BIN`, or built once in the profile of the test.
///
/// # Errors
/// It does not build.
pub fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BINARY.get_or_init(|| build().map_err(|e| format!("{e:#}"))) {
        Ok(path) => Ok(path),
        Err(why) => bail!("{why}"),
    }
}

fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ZABRA_BIN") {
        return Ok(PathBuf::from(path));
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--package",
        "zabra",
        "--bin",
        "zabra",
        "--message-format=json",
    ]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let done = cargo.stderr(Stdio::inherit()).output().context("cargo")?;
    ensure!(done.status.success(), "zabra does not build, see above");
    let messages = String::from_utf8_lossy(&done.stdout);
    let parsed = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    parsed
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .context("cargo has built no executable")
}
