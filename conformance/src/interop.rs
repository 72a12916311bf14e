//! Other people's clients: kazoo from PyPI and ZooKeeper's own shell, run as processes.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The release of kazoo that the tests are written for.
pub const KAZOO: &str = "2.11.0";
/// What kazoo does SASL by.
const PURE_SASL: &str = "0.6.2";

/// A script beside this crate.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("interop")
        .join(name)
}

/// The folder that holds kazoo, filled by pip when it is asked for the first time. A folder of its own rather than a virtual
/// environment: nothing is installed into the machine's Python, and Debian's `python3` has no `venv` without another package.
///
/// # Errors
/// No Python, no pip, or no kazoo to be had.
pub fn kazoo() -> Result<&'static Path> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOLDER.get_or_init(|| install_kazoo().map_err(|e| format!("{e:#}"))) {
        Ok(path) => Ok(path),
        Err(why) => bail!("{why}"),
    }
}

fn install_kazoo() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    // TARGET/PROFILE/deps/test-0123
    let target = test.ancestors().nth(3).context("a target directory")?;
    let folder = target.join(format!("kazoo-{KAZOO}-sasl-{PURE_SASL}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    // Beside its destination, so that the rename is atomic and a half-filled folder is never used.
    let scratch = tempfile::Builder::new()
        .prefix("kazoo-")
        .tempdir_in(target)?;
    let pip = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(scratch.path())
        .args([format!("kazoo=={KAZOO}"), format!("pure-sasl=={PURE_SASL}")])
        .stdin(Stdio::null())
        .output()
        .context("python3 -m pip: install python3 and python3-pip")?;
    let said = String::from_utf8_lossy(&pip.stderr);
    ensure!(
        pip.status.success(),
        "pip cannot install kazoo {KAZOO}: {said}"
    );
    if let Err(e) = std::fs::rename(scratch.path(), &folder) {
        ensure!(folder.is_dir(), "{}: {e}", folder.display()); // else another test was faster
    }
    Ok(folder)
}

pub(crate) fn python(name: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("python3");
    command
        .arg(script(name))
        .args(arguments)
        .env("PYTHONPATH", kazoo()?);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Runs a script that uses kazoo to its end. Its output belongs to the error if it fails.
///
/// # Errors
/// It cannot run, or says that something is wrong.
pub fn run_python(name: &str, arguments: &[&str]) -> Result<String> {
    run_to_end(&mut python(name, arguments)?)
}

/// The same with this variable in its environment.
///
/// # Errors
/// As [`run_python`].
pub fn run_python_with(name: &str, arguments: &[&str], variable: (&str, &OsStr)) -> Result<String> {
    let mut command = python(name, arguments)?;
    run_to_end(command.env(variable.0, variable.1))
}

/// Runs a program to its end. Its output belongs to the error if it fails.
///
/// # Errors
/// It cannot run, or does not succeed.
pub(crate) fn run_to_end(command: &mut Command) -> Result<String> {
    let what = format!("{command:?}");
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| what.clone())?;
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    ensure!(
        done.status.success(),
        "{what}: {}\n{out}\n{err}",
        done.status
    );
    Ok(out.into_owned())
}

/// Unpacks these packages below `scratch`; where to.
pub(crate) fn unpack_debian(packages: &[&str], scratch: &Path) -> Result<PathBuf> {
    let download = || {
        run_to_end(
            Command::new("apt-get")
                .args(["download", "--quiet"])
                .args(packages)
                .current_dir(scratch),
        )
    };
    if download().is_err() {
        run_to_end(Command::new("apt-get").args(["update", "--quiet"]))?;
        download()?;
    }
    let unpacked = scratch.join("root");
    for package in std::fs::read_dir(scratch)? {
        let package = package?.path();
        run_to_end(
            Command::new("dpkg-deb")
                .arg("-x")
                .args([&package, &unpacked]),
        )?;
    }
    Ok(unpacked)
}

/// A Debian package, unpacked where downloads are kept; `None` where there is none to be had, which is said loudly.
///
/// # Errors
/// It cannot be kept.
pub fn debian(package: &str) -> Result<Option<PathBuf>> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let kept = cache
        .or(home)
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    let kept = kept.join("zabra/debian");
    let folder = kept.join(package);
    if folder.is_dir() {
        return Ok(Some(folder));
    }
    std::fs::create_dir_all(&kept)?;
    let scratch = tempfile::Builder::new().tempdir_in(&kept)?;
    match unpack_debian(&[package], scratch.path()) {
        Ok(unpacked) => {
            if let Err(e) = std::fs::rename(unpacked, &folder) {
                ensure!(folder.is_dir(), "{}: {e}", folder.display()); // else another test was faster
            }
            Ok(Some(folder))
        }
        Err(why) => {
            eprintln!("\n#### SKIPPED: Debian's package {package} cannot be had here: {why:#}\n");
            Ok(None)
        }
    }
}

/// Runs kazoo's own tests with this server; see `interop/kazoo_suite.py`. Answers the counts.
///
/// # Errors
/// pip cannot install what the tests need, or a test does not end as it should.
pub fn kazoo_suite(zabra: &Path) -> Result<Value> {
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(3).context("a target directory")?;
    let mut python = Command::new("python3");
    python.arg(script("kazoo_suite.py")).arg(zabra);
    python.arg(target.join(format!("kazoo-suite-{KAZOO}")));
    let out = run_to_end(&mut python)?;
    let counts = out.lines().last().context("no line of counts")?;
    serde_json::from_str(counts).with_context(|| format!("{counts:?}"))
}

/// A script that is spoken with: a JSON value per line, one answer to each command. Killed when dropped.
#[derive(Debug)]
pub struct Script {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl Script {
    /// Starts it. Its standard error is the test's.
    ///
    /// # Errors
    /// No Python or no kazoo.
    pub fn start(name: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = python(name, arguments)?;
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = process.stdin.take().context("a pipe")?;
        let output = BufReader::new(process.stdout.take().context("a pipe")?);
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            // Ends with the process; the receiver may be gone before.
            let _ = output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line));
        });
        Ok(Self {
            process,
            commands,
            answers,
        })
    }

    /// Gives a command and waits for the answer.
    ///
    /// # Errors
    /// The script ended, did not answer within `limit`, or answered with `{"error": …}`.
    pub fn ask(&mut self, command: &Value, limit: Duration) -> Result<Value> {
        writeln!(self.commands, "{command}")
            .with_context(|| format!("the script has ended before {command}"))?;
        let line = self
            .answers
            .recv_timeout(limit)
            .with_context(|| format!("no answer to {command} within {limit:?}"))?;
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("{line:?}"))?;
        if let Some(error) = answer.get("error") {
            bail!(
                "{command}: {}",
                error.as_str().unwrap_or(&error.to_string())
            );
        }
        Ok(answer)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is added to a program's environment.
type Variables<'a> = &'a [(&'static str, OsString)];

/// Runs `java.py`; `None` if this machine has no Java or no way to the jars, which is said loudly.
fn java(what: &str, arguments: &[&OsStr], variables: Variables<'_>) -> Result<Option<Output>> {
    const UNAVAILABLE: i32 = 3;
    let done = Command::new("python3")
        .arg(script("java.py"))
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()?;
    if done.status.code() == Some(UNAVAILABLE) {
        let why = String::from_utf8_lossy(&done.stderr);
        eprintln!("\n#### SKIPPED: {what} cannot run here: {}\n", why.trim());
        return Ok(None);
    }
    Ok(Some(done))
}

/// One command of ZooKeeper's own shell, with these variables in its environment; `None` if it cannot run here.
///
/// # Errors
/// The script cannot run at all.
pub fn java_shell(
    server: &str,
    command: &[&str],
    variables: Variables<'_>,
) -> Result<Option<Output>> {
    let mut arguments = vec!["cli".as_ref(), "--server".as_ref(), server.as_ref()];
    arguments.extend(command.iter().map(OsStr::new));
    java("ZooKeeper's own shell", &arguments, variables)
}

/// The class path of ZooKeeper and Curator; `None` if they cannot run here, which is said.
///
/// # Errors
/// The script cannot run at all, or fails.
pub fn java_classpath() -> Result<Option<String>> {
    let Some(done) = java("Curator", &["classpath".as_ref()], &[])? else {
        return Ok(None);
    };
    let err = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "java.py: {}\n{err}", done.status);
    Ok(Some(String::from_utf8(done.stdout)?.trim().to_owned()))
}

/// Whether ZooKeeper's servers can run here; if not, that is said.
///
/// # Errors
/// The script cannot run at all.
pub fn has_zookeeper() -> Result<bool> {
    Ok(java("ZooKeeper", &["classpath".as_ref()], &[])?.is_some())
}

/// The command line of a ZooKeeper server with this configuration; `None` if it cannot run here.
///
/// # Errors
/// The script cannot run, or prints something else.
pub fn java_server(config: &Path) -> Result<Option<Vec<String>>> {
    let arguments = ["command".as_ref(), config.as_os_str()];
    let Some(done) = java("a ZooKeeper server", &arguments, &[])? else {
        return Ok(None);
    };
    let err = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "java.py: {}\n{err}", done.status);
    Ok(Some(serde_json::from_slice(&done.stdout)?))
}
