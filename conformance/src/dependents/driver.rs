//! What a driver says and is answered; the other side is `interop/programs/Lab.java`.

use crate::cluster::Cluster;
use crate::programs::Program;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Between two lines: a driver waits up to three minutes for what a program does.
const SILENCE: Duration = Duration::from_secs(480);
/// Free ports that a driver is given.
const PORTS: usize = 12;
/// Lines that an error shows of what else was said.
const LINES_SHOWN: usize = 12;

/// A line of a driver.
#[derive(PartialEq, Eq, Debug)]
enum Said<'a> {
    /// This has held.
    Did(&'a str),
    /// The server that leads is to die.
    KillLeader,
    /// The server that died is to come back.
    Restart,
    /// All of it has held.
    Done,
    /// For the error, if there will be one.
    Else,
}

fn read(line: &str) -> Said<'_> {
    match line.split_once(' ') {
        Some(("did", what)) => Said::Did(what),
        Some(("ask", "kill-leader")) => Said::KillLeader,
        Some(("ask", "restart")) => Said::Restart,
        None if line == "done" => Said::Done,
        _ => Said::Else,
    }
}

/// Runs a driver to its end.
///
/// # Errors
/// It ends or falls silent without having said that all has held, or a server does.
pub(super) fn drive(
    mut command: Command,
    source: &Path,
    cluster: &mut Cluster,
    directory: &Path,
    did: &mut Vec<String>,
) -> Result<()> {
    let errors = File::create(directory.join("driver.log")).context("driver.log")?;
    command.arg(cluster.connect());
    command.arg(directory).arg(source).stderr(errors);
    for port in zabra::dev::ports::free(PORTS)? {
        command.arg(port.to_string());
    }
    let began = Instant::now();
    let mut program = Program::start(&mut command)?;
    let (mut killed, mut rest) = (None, Vec::new());
    loop {
        let Some(line) = program.line(SILENCE) else {
            bail!("{}", ended(&rest));
        };
        match read(&line) {
            Said::Did(what) => {
                eprintln!("    {:4} s  {what}", began.elapsed().as_secs());
                did.push(what.to_owned());
            }
            Said::KillLeader => {
                let leader = cluster.leader()?;
                cluster.kill(leader)?;
                killed = Some(leader);
                program.answer("ok")?;
            }
            Said::Restart => {
                let dead = killed.take().context("no server is dead")?;
                cluster.restart(dead)?;
                cluster.wait_until_serving()?;
                program.answer("ok")?;
            }
            Said::Done => return Ok(()),
            Said::Else => rest.push(line),
        }
    }
}

/// The first lines: an exception stands above where it comes from.
fn ended(rest: &[String]) -> String {
    let shown = &rest[..rest.len().min(LINES_SHOWN)];
    match shown {
        [] => "the driver ended, or said nothing for eight minutes".to_owned(),
        lines => lines.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, drive, read};
    use crate::cluster::{Cluster, Product};
    use anyhow::Result;
    use std::path::Path;
    use std::process::Command;

    /// What becomes of a driver that is this script of a shell; the servers need not run for it.
    fn outcome(script: &str) -> (Result<()>, Vec<String>) {
        let mut cluster = Cluster::prepare(&[Product::Zabra], &[], &[]).expect("a directory");
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut did = vec![];
        let source = Path::new("nowhere");
        let outcome = drive(command, source, &mut cluster, directory.path(), &mut did);
        (outcome, did)
    }

    #[test]
    fn what_a_driver_says_is_told_apart() {
        assert_eq!(read("did a table is made"), Said::Did("a table is made"));
        assert_eq!(read("ask kill-leader"), Said::KillLeader);
        assert_eq!(read("ask restart"), Said::Restart);
        assert_eq!(read("done"), Said::Done);
        assert_eq!(read("done with it"), Said::Else);
        assert_eq!(read("ask for more"), Said::Else);
    }

    #[test]
    fn a_driver_that_ends_before_all_is_done_is_wrong_and_its_exception_is_told() {
        let (outcome, did) = outcome("echo did one; echo java.lang.AssertionError: 3 lost; exit 1");
        let error = outcome.expect_err("it never said that all was done");
        assert_eq!(error.to_string(), "java.lang.AssertionError: 3 lost");
        assert_eq!(did, ["one"]);
    }

    #[test]
    fn a_driver_that_ends_in_good_order_without_a_word_is_wrong() {
        let (outcome, _) = outcome("exit 0");
        assert!(outcome.is_err());
    }

    #[test]
    fn a_driver_that_says_so_is_done() {
        let (outcome, did) = outcome("echo did one; echo did two; echo done");
        outcome.expect("it said that all was done");
        assert_eq!(did, ["one", "two"]);
    }
}
