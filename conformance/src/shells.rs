//! A shell of ZooKeeper's kind as a process that is spoken with line by line, ours or Java's, so that the two can be compared.

use crate::interop;
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer may take; Java's virtual machine starts within it, too.
const PATIENCE: Duration = Duration::from_secs(60);
/// What each line of both shells is followed by: a command with a known answer on standard output, one on standard error.
const LINES_OF_A_TURN: usize = 3;
/// How an event begins on standard output.
const WATCHER: &str = "\nWATCHER::\n";
const EVENT: &str = "\nWatchedEvent ";

/// Whose shell it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shell {
    /// `zabra shell`.
    Zabra,
    /// ZooKeeper's own.
    Java,
}

impl Shell {
    /// The command line up to where a command may stand; `None` if it cannot run here, which is said.
    ///
    /// # Errors
    /// The jars cannot be asked for, or there is no binary.
    pub fn command(self, zabra: &Path, server: &str) -> Result<Option<Command>> {
        if self == Self::Zabra {
            let mut command = Command::new(zabra);
            command.args(["shell", "--server", server]);
            command.env("TZ", "UTC").env_remove("ZABRA_LOG");
            return Ok(Some(command));
        }
        let Some(jars) = interop::java_classpath()? else {
            return Ok(None);
        };
        // Without a terminal JLine echoes what it reads.
        let jars: Vec<_> = jars.split(':').filter(|j| !j.contains("/jline-")).collect();
        let mut command = Command::new("java");
        command
            .args(["-XX:TieredStopAtLevel=1", "-Dlog4j2.level=OFF"])
            .args(["-Duser.timezone=UTC", "-Duser.language=en", "-cp"])
            .arg(jars.join(":"))
            .args(["org.apache.zookeeper.ZooKeeperMain", "-server", server]);
        Ok(Some(command))
    }

    /// Runs one command to its end, with this as its standard input.
    ///
    /// # Errors
    /// It cannot run.
    pub fn once(self, zabra: &Path, server: &str, words: &[&str]) -> Result<Option<Output>> {
        let Some(mut command) = self.command(zabra, server)? else {
            return Ok(None);
        };
        Ok(Some(command.args(words).stdin(Stdio::null()).output()?))
    }
}

/// What a command has printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// On standard output, without events.
    pub out: String,
    /// On standard error.
    pub err: String,
}

impl Said {
    /// By a shell that was given one command: its exit code is told behind what it has printed.
    #[must_use]
    pub fn of_one(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let out = without_events(&text(&output.stdout));
        let out = match out.split_once('\n') {
            Some((greeting, behind)) if greeting.starts_with("Connecting to ") => behind,
            _ => &out,
        };
        let err = text(&output.stderr);
        let code = output.status.code();
        let err = err
            .split_once("\n\tat ")
            .map_or(&*err, |(message, _)| message);
        Self {
            out: out.to_owned(),
            err: format!("{}\n{code:?}", without_overview(err).trim_end()),
        }
    }
}

/// What a whole conversation has brought.
#[derive(Debug)]
pub struct Heard {
    /// To each line.
    pub answers: Vec<Said>,
    /// Events of nodes, in the order in which they were printed.
    pub events: Vec<String>,
    /// With which code it has ended.
    pub exit_code: Option<i32>,
}

type Text = Arc<Mutex<String>>;

/// A shell that reads lines. Killed when dropped.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    stdin: ChildStdin,
    out: Text,
    err: Text,
    lines: Vec<String>,
}

impl Talk {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot run.
    pub fn begin(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let stdin = child.stdin.take().context("a pipe")?;
        let out = collect(child.stdout.take().context("a pipe")?);
        let err = collect(child.stderr.take().context("a pipe")?);
        Ok(Self {
            child,
            stdin,
            out,
            err,
            lines: Vec::new(),
        })
    }

    /// The number under which the shell remembers the line that was said `back` lines ago.
    #[must_use]
    pub fn number(&self, back: usize) -> usize {
        self.lines.len().saturating_sub(back) * LINES_OF_A_TURN
    }

    /// Says a line and waits until it has been answered.
    ///
    /// # Errors
    /// The shell has ended, or does not answer.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let n = self.lines.len();
        self.lines.push(line.to_owned());
        writeln!(self.stdin, "{line}\nprintwatches\nnosuch-{n}").context(line.to_owned())?;
        let mark = mark(n);
        // The command itself, and the mark, of all lines up to here.
        let marks: usize = self.lines.iter().map(|l| 1 + usize::from(tells(l))).sum();
        self.wait(line, |talk| {
            locked(&talk.err).contains(&mark)
                && locked(&talk.out).matches("printwatches is ").count() >= marks
        })
    }

    /// Waits until so many events of nodes were told since the beginning.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn wait_for_events(&mut self, count: usize) -> Result<()> {
        self.wait(&format!("{count} events"), |talk| {
            events(&locked(&talk.out)).len() >= count
        })
    }

    fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let begin = Instant::now();
        while !holds(self) {
            let (out, err) = (locked(&self.out).clone(), locked(&self.err).clone());
            let shown = |text: &str| {
                text[text.floor_char_boundary(text.len().saturating_sub(2000))..].to_owned()
            };
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the shell has ended at {what:?}, {status}: {} {}",
                    shown(&out),
                    shown(&err)
                );
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "no end of {what:?}: {} {}",
                shown(&out),
                shown(&err)
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Leaves the shell by this line, and tells what it has said.
    ///
    /// # Errors
    /// It does not end, or what it has printed cannot be told apart.
    pub fn end(mut self, shell: Shell, line: &str) -> Result<Heard> {
        writeln!(self.stdin, "{line}")?;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(begin.elapsed() < PATIENCE, "the shell stays after {line:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let (out, err) = (locked(&self.out).clone(), locked(&self.err).clone());
        let events = events(&out);
        let out = without_events(&out);
        let mut pieces = out.split_inclusive("printwatches is ");
        let mut rest = err.as_str();
        let mut answers = Vec::new();
        for (n, line) in self.lines.iter().enumerate() {
            let piece = pieces.next().context("a mark on standard output")?;
            let mut said = after_the_last_mark(piece);
            // Java says this also behind the mark, which is carried out without a connection.
            if shell == Shell::Java {
                said = said.strip_prefix("Not connected\n").unwrap_or(said);
            }
            let mut said = said.to_owned();
            if tells(line) {
                said += pieces.next().context("a mark on standard output")?;
            }
            said.truncate(said.len() - "printwatches is ".len());
            let (told, behind) = rest
                .split_once(&mark(n))
                .context("a mark on standard error")?;
            rest = behind;
            answers.push(Said {
                out: said,
                err: without_overview(told),
            });
        }
        Ok(Heard {
            answers,
            events,
            exit_code: status.code(),
        })
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a line prints what the mark prints.
fn tells(line: &str) -> bool {
    line.trim() == "printwatches"
}

fn mark(n: usize) -> String {
    format!("Command not found: Command not found nosuch-{n}\n")
}

/// What comes behind the answer of the mark before.
fn after_the_last_mark(piece: &str) -> &str {
    let piece = piece.strip_prefix("on\n").unwrap_or(piece);
    let piece = piece.strip_prefix("off\n").unwrap_or(piece);
    // The greeting of the first line.
    piece
        .split_once("JLine support is disabled\n")
        .map_or(piece, |(_, behind)| behind)
}

/// What is told around the overview of all commands, which each shell has of its own: a headline, and lines that begin with a tab.
#[must_use]
pub fn without_overview(told: &str) -> String {
    let lines = told.split_inclusive('\n');
    let is_overview = |line: &str| {
        ["ZooKeeper -server", "zabra shell --server", "\t"]
            .iter()
            .any(|begin| line.starts_with(begin))
    };
    lines.filter(|line| !is_overview(line)).collect()
}

/// Events of nodes; those of the session come when they like.
fn events(out: &str) -> Vec<String> {
    let found = out.match_indices(EVENT).map(|(at, _)| &out[at + 1..]);
    let lines = found.filter_map(|text| Some(text.split_once('\n')?.0.to_owned()));
    lines.filter(|line| !line.contains("type:None")).collect()
}

/// The text around them: an event may stand anywhere, also within a line that is printed in pieces.
fn without_events(out: &str) -> String {
    let mut left = String::new();
    let mut rest = out;
    while let Some(at) = rest.find(EVENT) {
        left += &rest[..at];
        let behind = &rest[at + 1..];
        rest = behind.split_once('\n').map_or("", |(_, behind)| behind);
    }
    (left + rest).replace(WATCHER, "")
}

fn collect(mut from: impl Read + Send + 'static) -> Text {
    let text = Text::default();
    let heard = Arc::clone(&text);
    std::thread::spawn(move || {
        let (mut bytes, mut chunk) = (Vec::new(), [0; 8192]);
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..n]);
            // A character may have come in part.
            let whole = match std::str::from_utf8(&bytes) {
                Ok(text) => text.len(),
                Err(e) => e.valid_up_to(),
            };
            locked(&heard).push_str(&String::from_utf8_lossy(&bytes[..whole]));
            bytes.drain(..whole);
        }
    });
    text
}

fn locked(text: &Text) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What differs from run to run, by one sign: zxids and sessions in hex, times, zxids of events.
#[must_use]
pub fn normalized(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        let mut line = line.to_owned();
        for key in ["ctime = ", "mtime = "] {
            if line.starts_with(key) && !line.contains("1970") {
                line = format!("{key}*");
            }
        }
        if let Some((before, zxid)) = line.rsplit_once(" zxid: ")
            && zxid != "-1"
        {
            line = format!("{before} zxid: *");
        }
        lines.push(without_hex(&line));
    }
    lines.join("\n")
}

fn without_hex(line: &str) -> String {
    let mut parts = line.split("0x");
    let mut left = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len()
            - part
                .trim_start_matches(|c: char| c.is_ascii_hexdigit())
                .len();
        let (number, behind) = part.split_at(digits);
        left += if number == "0" || number.is_empty() {
            "0x"
        } else {
            "0x*"
        };
        left += if number == "0" { "0" } else { "" };
        left += behind;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::{events, normalized, without_events, without_overview};

    #[test]
    fn an_event_is_taken_out_of_the_line_that_it_has_torn() {
        let out = "[a\nWATCHER::\n\nWatchedEvent state:SyncConnected type:NodeDeleted path:/a zxid: 7\n]\n";
        assert_eq!(without_events(out), "[a]\n");
        assert_eq!(
            events(out),
            ["WatchedEvent state:SyncConnected type:NodeDeleted path:/a zxid: 7"]
        );
    }

    #[test]
    fn numbers_of_this_run_go_and_zeros_stay() {
        assert_eq!(
            normalized("cZxid = 0x10f\nctime = Mon\nephemeralOwner = 0x0\nE zxid: 5\nE zxid: -1\n"),
            "cZxid = 0x*\nctime = *\nephemeralOwner = 0x0\nE zxid: *\nE zxid: -1\n"
        );
        assert_eq!(
            without_overview("why\nZooKeeper -server host\n\tls\nwhat\n"),
            "why\nwhat\n"
        );
    }
}
