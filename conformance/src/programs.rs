//! Programs written with other people's clients (`interop/clients`), built from what each language's registry gives, and run
//! against an ensemble that loses its leader half-way.
//!
//! A program takes a connect string, says `ready` when its first half is done, reads a line, goes on with the same sessions, and
//! says `done`. What its language needs is installed into the target directory; where a machine lacks the language, that is said
//! loudly and the test ends.

use crate::cluster::{Cluster, Server};
use crate::development_tls::DevelopmentTls;
use crate::interop::{java_classpath, run_to_end, script};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long one half of a program may take: each waits up to 30 s at several places.
const HALF: Duration = Duration::from_secs(180);

/// Whose client a program uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// ZooKeeper's own C client, as Debian packages it.
    C,
    /// Curator, with its recipes, on ZooKeeper's Java client.
    Curator,
    /// go-zookeeper/zk.
    Go,
    /// node-zookeeper-client.
    Node,
}

impl Client {
    /// The folder of its program.
    const fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Curator => "curator",
            Self::Go => "go",
            Self::Node => "node",
        }
    }

    /// What has to be on the machine. All else comes from the registry of the language.
    const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::C => &["gcc", "apt-get", "dpkg-deb"],
            Self::Curator => &["java", "javac"],
            Self::Go => &["go"],
            Self::Node => &["node", "npm"],
        }
    }
}

/// Runs the program of a client against three servers, and kills the leader between its halves. The killed server comes back
/// at the end. `false` if the machine has no such language, which is said.
///
/// # Errors
/// The program cannot be built, or says that something is wrong.
pub fn work_over_a_leader_kill(client: Client) -> Result<bool> {
    work(client, None)
}

/// The same, with all that it says under TLS.
///
/// # Errors
/// As [`work_over_a_leader_kill`].
pub fn work_over_a_leader_kill_by_tls(client: Client, tls: &DevelopmentTls) -> Result<bool> {
    work(client, Some(tls))
}

fn work(client: Client, tls: Option<&DevelopmentTls>) -> Result<bool> {
    let absent = |tool: &&&str| which(tool).is_none();
    if let Some(tool) = client.needs().iter().find(absent) {
        eprintln!("\n#### SKIPPED: {client:?} cannot run here: no {tool}\n");
        return Ok(false);
    }
    let Some(mut command) = build(client)? else {
        return Ok(false);
    };
    // TTL nodes, which one of Curator's recipes makes.
    let mut lines = vec![("extendedTypesEnabled", "true")];
    let of_tls = tls.map(DevelopmentTls::lines).unwrap_or_default();
    lines.extend(of_tls.iter().map(|(key, value)| (*key, &**value)));
    command.envs(tls.map(DevelopmentTls::variables).unwrap_or_default());
    let mut cluster = Cluster::start(3, &lines)?;
    let servers: Vec<_> = cluster.servers.iter().map(Server::connect).collect();
    let mut program = Program::start(command, &servers.join(","))?;
    program.says("ready", HALF)?;
    let leader = cluster.leader()?;
    cluster.kill(leader)?;
    program.go_on()?;
    program.says("done", HALF)?;
    cluster.restart(leader)?;
    cluster.wait_until_serving()?;
    Ok(true)
}

fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

/// The program, ready to be given its connect string; `None` if its registry has nothing for this machine, which is said.
fn build(client: Client) -> Result<Option<Command>> {
    let source = script("clients").join(client.name());
    let test = std::env::current_exe()?;
    // TARGET/PROFILE/deps/test-0123
    let target = test.ancestors().nth(3).context("a target directory")?;
    let out = target.join("interop-clients").join(client.name());
    std::fs::create_dir_all(&out)?;
    Ok(Some(match client {
        Client::C => build_c(&source, &out)?,
        Client::Curator => match build_curator(&source, &out)? {
            Some(command) => command,
            None => return Ok(None),
        },
        Client::Go => {
            let binary = out.join("work");
            let mut go = Command::new("go");
            run_to_end(
                go.args(["build", "-o"])
                    .arg(&binary)
                    .arg(".")
                    .current_dir(&source),
            )?;
            Command::new(binary)
        }
        Client::Node => {
            for file in ["package.json", "package-lock.json", "work.js"] {
                std::fs::copy(source.join(file), out.join(file)).context(file)?;
            }
            run_to_end(
                Command::new("npm")
                    .args(["ci", "--silent", "--no-audit", "--no-fund"])
                    .current_dir(&out),
            )?;
            let mut node = Command::new("node");
            node.arg(out.join("work.js"));
            node
        }
    }))
}

/// The library comes as Debian's packages and is unpacked, not installed: the machine stays as it is.
fn build_c(source: &Path, out: &Path) -> Result<Command> {
    let root = out.join("root");
    if !root.is_dir() {
        let scratch = tempfile::Builder::new().tempdir_in(out)?;
        let download = || {
            run_to_end(
                Command::new("apt-get")
                    .args([
                        "download",
                        "--quiet",
                        "libzookeeper-mt2",
                        "libzookeeper-mt-dev",
                    ])
                    .current_dir(scratch.path()),
            )
        };
        if download().is_err() {
            run_to_end(Command::new("apt-get").args(["update", "--quiet"]))?;
            download()?;
        }
        let unpacked = scratch.path().join("root");
        for package in std::fs::read_dir(scratch.path())? {
            let package = package?.path();
            run_to_end(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .args([&package, &unpacked]),
            )?;
        }
        std::fs::rename(&unpacked, &root)?;
    }
    let library = find(&root.join("usr/lib"), "libzookeeper_mt.so")
        .context("libzookeeper-mt-dev holds no libzookeeper_mt.so")?;
    let folder = library.parent().context("a folder")?;
    let binary = out.join("work");
    run_to_end(
        Command::new("gcc")
            .args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"])
            .arg(&binary)
            .arg(source.join("work.c"))
            .arg("-I")
            .arg(root.join("usr/include"))
            .arg("-L")
            .arg(folder)
            .args(["-lzookeeper_mt", "-lpthread"]),
    )?;
    let mut command = Command::new(binary);
    command.env("LD_LIBRARY_PATH", folder);
    Ok(command)
}

fn build_curator(source: &Path, out: &Path) -> Result<Option<Command>> {
    let Some(jars) = java_classpath()? else {
        return Ok(None);
    };
    let mut classpath = OsString::from(jars);
    run_to_end(
        Command::new("javac")
            .args(["-nowarn", "-cp"])
            .arg(&classpath)
            .arg("-d")
            .arg(out)
            .arg(source.join("Work.java")),
    )?;
    classpath.push(":");
    classpath.push(out);
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-cp"]).arg(classpath).arg("Work");
    Ok(Some(java))
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find_map(|path| match path.is_dir() {
            true => find(&path, name),
            false => path.ends_with(name).then_some(path),
        })
}

/// A running program. Killed when dropped.
struct Program {
    process: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(mut command: Command, servers: &str) -> Result<Self> {
        let mut process = command
            .arg(servers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // the clients' own logs, which complain about each lost connection
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let output = BufReader::new(process.stdout.take().context("a pipe")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the process; the receiver may be gone before.
            let _ = output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line));
        });
        Ok(Self { process, lines })
    }

    /// Waits for this word; all that is said instead belongs to the error.
    fn says(&self, word: &str, limit: Duration) -> Result<()> {
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(limit) {
                Ok(line) if line == word => return Ok(()),
                Ok(line) => said = format!("{said}\n{line}"),
                Err(_) => bail!("the program never said {word:?}; it said: {said}"),
            }
        }
    }

    fn go_on(&mut self) -> Result<()> {
        let input = self.process.stdin.as_mut().context("a pipe")?;
        writeln!(input, "the leader is dead").context("the program has ended")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
