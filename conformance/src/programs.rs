//! Programs written with other people's clients (`interop/clients`), built from what each language's registry gives, and run
//! against an ensemble that loses its leader half-way.
//!
//! Such a program takes a connect string, says `ready` when its first half is done, reads a line, goes on with the same sessions, and
//! says `done`. What its language needs is installed into the target directory; where a machine lacks the language, that is said
//! loudly and the test ends.

use crate::c_client;
use crate::cluster::Cluster;
use crate::interop::{java_classpath, run_to_end, script};
use crate::safeguard::Safeguard;
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long one half of a program may take: each waits up to 30 s at several places.
const HALF: Duration = Duration::from_secs(180);

/// Whose client a program uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// ZooKeeper's own C client: as Debian packages it, and from its source where it is to speak TLS or SASL.
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

    /// What has to be on the machine, programs and a header. All else comes from the registry of the language.
    const fn needs(self, is_safe: bool) -> &'static [&'static str] {
        match self {
            Self::C if is_safe => &[
                "gcc",
                "apt-get",
                "dpkg-deb",
                "npm",
                "tar",
                c_client::OPENSSL_HEADER,
            ],
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

/// The same, at servers that let nobody through who does not show who he is.
///
/// # Errors
/// As [`work_over_a_leader_kill`].
pub fn work_over_a_leader_kill_by(client: Client, safeguard: &dyn Safeguard) -> Result<bool> {
    work(client, Some(safeguard))
}

/// Lets go-zookeeper read what servers tell of themselves: the modes, by commas, in their order. `false` if this machine has no Go, which is said.
///
/// # Errors
/// The program cannot be built, or does not read an answer.
pub fn words_by_go(modes: &str, servers: &[&str]) -> Result<bool> {
    let Some(mut command) = program(Client::Go, "", false)? else {
        return Ok(false);
    };
    run_to_end(command.args(["words", modes]).args(servers))?;
    Ok(true)
}

fn work(client: Client, safeguard: Option<&dyn Safeguard>) -> Result<bool> {
    let Some(mut command) = program(client, "Work", safeguard.is_some())? else {
        return Ok(false);
    };
    // TTL nodes, which one of Curator's recipes makes.
    let mut lines = vec![("extendedTypesEnabled", "true")];
    let safe = safeguard.map(Safeguard::lines).unwrap_or_default();
    lines.extend(safe.iter().map(|(key, value)| (*key, &**value)));
    command.envs(safeguard.map(Safeguard::variables).unwrap_or_default());
    let mut cluster = Cluster::start(3, &lines)?;
    command.arg(cluster.connect());
    // Its errors are the clients' own logs, which complain about each lost connection.
    let mut program = Program::start(command.stderr(Stdio::null()))?;
    program.says("ready", HALF)?;
    let leader = cluster.leader()?;
    cluster.kill(leader)?;
    program.answer("the leader is dead")?;
    program.says("done", HALF)?;
    cluster.restart(leader)?;
    cluster.wait_until_serving()?;
    Ok(true)
}

/// Where a program is, or a file that is named by its whole path.
#[must_use]
pub fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

/// The program of a client, ready to be given its arguments; `None` if this machine or the registry of its language lacks what it needs,
/// which is said. `class` is what a Java machine has to be told; the other programs go by the number of their arguments. It is built once in
/// a process: tests beside each other run the same one.
pub(crate) fn program(client: Client, class: &str, is_safe: bool) -> Result<Option<Command>> {
    static BUILT: Mutex<Vec<(Client, bool, Option<Line>)>> = Mutex::new(vec![]);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let is_it = |(of, safe, _): &&(Client, bool, Option<Line>)| *of == client && *safe == is_safe;
    let line = match built.iter().find(is_it) {
        Some((_, _, line)) => line.clone(),
        None => {
            let line = build(client, is_safe)?.map(|command| Line::of(&command));
            built.push((client, is_safe, line.clone()));
            line
        }
    };
    let mut command = line.as_ref().map(Line::command);
    if client == Client::Curator
        && let Some(command) = &mut command
    {
        command.arg(class);
    }
    Ok(command)
}

/// What a command is, to be run more than once.
#[derive(Clone)]
struct Line {
    words: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

impl Line {
    fn of(command: &Command) -> Self {
        let words = [command.get_program()]
            .into_iter()
            .chain(command.get_args());
        let set = command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        Self {
            words: words.map(OsStr::to_owned).collect(),
            variables: set.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command
            .args(&self.words[1..])
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn build(client: Client, is_safe: bool) -> Result<Option<Command>> {
    let absent = |tool: &&&str| which(tool).is_none();
    if let Some(tool) = client.needs(is_safe).iter().find(absent) {
        eprintln!("\n#### SKIPPED: {client:?} cannot run here: no {tool}\n");
        return Ok(None);
    }
    let source = script("clients").join(client.name());
    let test = std::env::current_exe()?;
    // TARGET/PROFILE/deps/test-0123
    let target = test.ancestors().nth(3).context("a target directory")?;
    let out = target.join("interop-clients").join(client.name());
    std::fs::create_dir_all(&out)?;
    Ok(Some(match client {
        Client::C if is_safe => c_client::build_with_tls_and_sasl(&source, &out)?,
        Client::C => c_client::build(&source, &out)?,
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
            .args(["Work.java", "Reconfig.java"].map(|name| source.join(name))),
    )?;
    classpath.push(":");
    classpath.push(out);
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-cp"]).arg(classpath);
    Ok(Some(java))
}

/// A running program that is spoken with line by line. Killed when dropped.
pub(crate) struct Program {
    process: Child,
    lines: Receiver<String>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
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

    /// What it says next; `None` if that is nothing within `limit`, or nothing any more.
    pub(crate) fn line(&self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }

    /// Waits for this word; all that is said instead belongs to the error.
    pub(crate) fn says(&self, word: &str, limit: Duration) -> Result<()> {
        let mut said = String::new();
        loop {
            match self.line(limit) {
                Some(line) if line == word => return Ok(()),
                Some(line) => said = format!("{said}\n{line}"),
                None => bail!("the program never said {word:?}; it said: {said}"),
            }
        }
    }

    pub(crate) fn answer(&mut self, line: &str) -> Result<()> {
        let input = self.process.stdin.as_mut().context("a pipe")?;
        writeln!(input, "{line}").context("the program has ended")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
