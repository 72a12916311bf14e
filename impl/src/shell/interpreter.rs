//! Lines are carried out one after the other: what is remembered between them, and what is printed.

use super::answer::Answer;
use super::args::Output;
use super::commands::{self, Command};
use super::events::Events;
use super::failure::Failure;
use super::session::{Session, Target};
use super::words::{self, Given};
use super::{acl, ensemble, explore, meeting, nodes, quota, transfer, turns};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use zookeeper_client::{Client, Error};

/// How many lines before itself `history` shows.
const HISTORY_SHOWN: usize = 10;

/// Whether another line is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Next,
    Leave,
}

/// A shell with or without a connection.
pub(super) struct Interpreter {
    target: Target,
    output: Output,
    pub(super) events: Arc<Events>,
    session: Option<Session>,
    history: Vec<String>,
    /// Of the command before.
    pub(super) exit_code: u8,
}

impl Interpreter {
    pub(super) fn new(target: Target, output: Output) -> Self {
        Self {
            target,
            output,
            events: Arc::new(Events::new(output == Output::Json)),
            session: None,
            history: Vec::new(),
            exit_code: 0,
        }
    }

    /// Connects anew, to the servers named before.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        self.session = Some(Session::connect(&self.target, &self.events).await?);
        Ok(())
    }

    /// Connects for reading lines, of which a later one may connect elsewhere.
    pub(super) async fn connect_first(&mut self) {
        if let Err(failure) = self.connect().await {
            self.exit_code = failure.exit_code;
            self.print(Answer::default(), Some(failure));
        }
    }

    /// Connects for one command, if it asks a server for anything; whether it can be carried out.
    pub(super) async fn connect_for(&mut self, words: &[String]) -> bool {
        let name = words.first().map_or("", String::as_str);
        if commands::find(name).is_ok_and(|c| c.needs_a_server())
            && let Err(mut failure) = self.connect().await
        {
            // What ZooKeeper's shell says, and what it means.
            if let Some(path) = words.iter().find(|w| w.starts_with('/')) {
                let line = Failure::of(&Error::ConnectionLoss, path).line;
                failure.line = format!("{line}\n{}", failure.line);
            }
            self.exit_code = failure.exit_code;
            self.print(Answer::default(), Some(failure));
            return false;
        }
        true
    }

    /// Tells that there is a session.
    pub(super) fn tell_session(&self) {
        if let Some(session) = &self.session {
            session.tell();
        }
    }

    pub(super) fn servers(&self) -> &str {
        &self.target.servers
    }

    /// Ends the session, if there is one.
    pub(super) async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    pub(super) fn prompt(&self) -> String {
        let state = self.session.as_ref().map_or("CLOSED", Session::state);
        format!(
            "[zk: {}({state}) {}] ",
            self.target.servers,
            self.history.len()
        )
    }

    /// What completes a path.
    pub(super) fn client(&self) -> Option<Client> {
        self.session.as_ref().map(|s| s.client.clone())
    }

    /// Carries out a line that somebody wrote.
    pub(super) async fn line(&mut self, line: &str) -> Then {
        let words = words::split(line);
        if words.is_empty() {
            return Then::Next;
        }
        self.history.push(line.to_owned());
        self.command(&words).await
    }

    /// Carries out one command and prints what it says.
    pub(super) async fn command(&mut self, words: &[String]) -> Then {
        let mut answer = Answer::default();
        let done = self.run(words, &mut answer).await;
        let leaves = matches!(done, Ok(Then::Leave));
        // Who leaves takes the code of the command before along, as in ZooKeeper's shell.
        if !leaves {
            self.exit_code = done.as_ref().map_or_else(|f| f.exit_code, |_| 0);
        }
        self.print(answer, done.err());
        if leaves { Then::Leave } else { Then::Next }
    }

    async fn run(&mut self, words: &[String], answer: &mut Answer) -> Result<Then, Failure> {
        let redone;
        let words = match words {
            // Its number may be negative, which an option could not be.
            [redo, number, ..] if redo == "redo" => {
                redone = self.redo(number)?;
                &redone
            }
            _ => words,
        };
        let Some((name, behind)) = words.split_first() else {
            return Err(Failure::usage("No command entered"));
        };
        if name == "help" {
            answer.out = commands::overview();
            answer.field("help", commands::overview());
            return Ok(Then::Next);
        }
        let command = match commands::find(name) {
            Ok(command) => command,
            Err(failure) => {
                answer.err = commands::overview();
                return Err(failure);
            }
        };
        if command.needs_a_server() && command.name != "connect" {
            self.connected(answer)?;
        }
        let mut given = command.read(behind)?;
        match command.name {
            "quit" | "exit" => {
                self.close().await;
                Ok(Then::Leave)
            }
            "close" => {
                self.close().await;
                Ok(Then::Next)
            }
            "connect" => {
                if let Some(servers) = given.arguments.first() {
                    self.target.servers.clone_from(servers);
                }
                self.connect().await?;
                self.tell_session();
                Ok(Then::Next)
            }
            "history" => {
                self.tell_history(answer);
                Ok(Then::Next)
            }
            "printwatches" => {
                self.print_watches(&given, answer);
                Ok(Then::Next)
            }
            "version" if !given.arguments.is_empty() => Err(Failure::usage(command.usage())),
            "version" => {
                let version = concat!("zabra ", env!("CARGO_PKG_VERSION"));
                answer.line(format!("ZooKeeper CLI version: {version}"));
                answer.field("version", version);
                Ok(Then::Next)
            }
            _ => {
                let session = self.connected(answer)?;
                ask(session, command, &mut given, self.output, answer)
                    .await
                    .map(|()| Then::Next)
            }
        }
    }

    /// The session that a command needs.
    fn connected(&self, answer: &mut Answer) -> Result<&Session, Failure> {
        match &self.session {
            Some(session) if session.is_alive() => Ok(session),
            Some(_) | None => {
                answer.line("Not connected");
                Err(Failure::not_connected())
            }
        }
    }

    /// The words of an earlier line, which takes the place of the line that asks for it.
    fn redo(&mut self, number: &str) -> Result<Vec<String>, Failure> {
        let Ok(at) = number.parse::<i64>() else {
            return Err(Failure::usage(format!(
                "redo {number}: not the number of a line; history shows them"
            )));
        };
        let last = self.history.len().saturating_sub(1);
        let at = usize::try_from(at).ok().filter(|at| *at < last);
        let Some(line) = at.and_then(|at| self.history.get(at)).cloned() else {
            return Err(Failure::usage("Command index out of range"));
        };
        let words = words::split(&line);
        if words.first().is_some_and(|w| w == "redo") {
            return Err(Failure::usage("No redoing redos"));
        }
        if let Some(this) = self.history.last_mut() {
            *this = line;
        }
        Ok(words)
    }

    fn tell_history(&self, answer: &mut Answer) {
        let from = self.history.len().saturating_sub(HISTORY_SHOWN + 1);
        let shown = self.history.iter().enumerate().skip(from);
        for (n, line) in shown.clone() {
            answer.line(format!("{n} - {line}"));
        }
        let shown = shown.map(|(n, line)| json!({"number": n, "line": line}));
        answer.field("history", shown.collect::<Vec<_>>());
    }

    fn print_watches(&self, given: &Given, answer: &mut Answer) {
        match given.arguments.first() {
            Some(word) => self.events.print(word == "on"),
            None => {
                let on = if self.events.are_printed() {
                    "on"
                } else {
                    "off"
                };
                answer.line(format!("printwatches is {on}"));
            }
        }
        answer.field("printwatches", self.events.are_printed());
    }

    /// Standard output has what was asked for, standard error what went wrong. Whoever has closed the other end has read enough.
    fn print(&self, mut answer: Answer, failure: Option<Failure>) {
        let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
        match self.output {
            Output::Raw => {
                let _ = err.write_all(answer.err.as_bytes());
                let _ = out.write_all(answer.out.as_bytes());
                let _ = out.flush();
                if let Some(failure) = failure.filter(|f| !f.line.is_empty()) {
                    let _ = writeln!(err, "{}", failure.line);
                }
            }
            Output::Json => {
                if let Some(failure) = failure {
                    let line = match failure.line.trim_end() {
                        "" => answer.out.trim_end(),
                        line => line,
                    };
                    let _ = writeln!(err, "{line}");
                    answer.json.insert("error".to_owned(), line.into());
                    answer.json.insert("code".to_owned(), failure.kind.into());
                }
                let _ = writeln!(out, "{}", Value::Object(answer.json));
                let _ = out.flush();
            }
        }
    }
}

/// Commands that a server is asked for.
async fn ask(
    session: &Session,
    command: &Command,
    given: &mut Given,
    output: Output,
    answer: &mut Answer,
) -> Result<(), Failure> {
    match command.name {
        "create" => nodes::create(session, given, answer).await,
        "delete" => nodes::delete(session, given, answer).await,
        "deleteall" => nodes::delete_all(session, given, answer).await,
        "get" => nodes::get(session, given, answer).await,
        "set" => nodes::set(session, given, answer).await,
        "ls" => nodes::ls(session, given, answer).await,
        "stat" => nodes::stat(session, given, answer).await,
        "getAcl" => acl::get(session, given, answer).await,
        "setAcl" => acl::set(session, given, answer).await,
        "addauth" => acl::add_auth(session, given).await,
        "whoami" => acl::whoami(session, answer).await,
        "setquota" => quota::set(session, given, command.usage(), answer).await,
        "listquota" => quota::list(session, given, answer).await,
        "delquota" => quota::delete(session, given, answer).await,
        "sync" => ensemble::sync(session, given, answer).await,
        "config" => ensemble::config(session, given, answer).await,
        "reconfig" => ensemble::reconfig(session, given, command.usage(), answer).await,
        "addWatch" => ensemble::add_watch(session, given, command.usage()).await,
        "removewatches" => ensemble::remove_watches(session, given, answer),
        "getEphemerals" => ensemble::ephemerals(session, given, answer).await,
        "getAllChildrenNumber" => ensemble::descendants(session, given, answer).await,
        _ => beyond(session, command, given, output, answer).await,
    }
}

/// Those that ZooKeeper's shell does not have.
async fn beyond(
    session: &Session,
    command: &Command,
    given: &Given,
    output: Output,
    answer: &mut Answer,
) -> Result<(), Failure> {
    match command.name {
        "lock" => turns::lock(session, given, command.usage(), answer).await,
        "elect" => turns::elect(session, given, answer).await,
        "semaphore" => turns::semaphore(session, given, command.usage(), answer).await,
        "barrier" => meeting::barrier(session, given, command.usage(), answer).await,
        "queue" => meeting::queue(session, given, command.usage(), answer).await,
        "watch" => meeting::watch(session, given, answer, output).await,
        "tree" => explore::tree(session, given, answer).await,
        "find" => explore::find(session, given, answer).await,
        "may" => explore::may(session, given, command.usage(), answer).await,
        "export" => transfer::export(session, given, answer).await,
        "import" => transfer::import(session, given, answer).await,
        "diff" => transfer::diff(session, given, answer).await,
        other => Err(Failure::not_found(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Interpreter, Output, Target};
    use std::time::Duration;

    fn unconnected() -> Interpreter {
        let target = Target {
            servers: "host:1".to_owned(),
            timeout: Duration::from_secs(1),
            read_only: false,
            reads_lines: true,
        };
        Interpreter::new(target, Output::Raw)
    }

    #[test]
    fn an_earlier_line_is_done_again_and_takes_the_place_of_redo() {
        let mut shell = unconnected();
        shell.history = ["version", "redo 0", "redo 0"].map(str::to_owned).to_vec();
        for (number, says) in [
            ("2", "Command index out of range"),
            ("9", "Command index out of range"),
            ("-1", "Command index out of range"),
            ("1", "No redoing redos"),
            ("x", "redo x: not the number of a line; history shows them"),
        ] {
            assert_eq!(shell.redo(number).unwrap_err().line, says);
        }
        assert_eq!(shell.redo("0").unwrap(), ["version"]);
        assert_eq!(shell.history, ["version", "redo 0", "version"]);
    }

    #[test]
    fn history_shows_the_last_ten_lines_and_its_own() {
        let mut shell = unconnected();
        shell.history = (0..20).map(|n| format!("line {n}")).collect();
        let mut answer = Answer::default();
        shell.tell_history(&mut answer);
        let lines: Vec<&str> = answer.out.lines().collect();
        assert_eq!((lines[0], lines.len()), ("9 - line 9", 11));
        assert_eq!(shell.prompt(), "[zk: host:1(CLOSED) 20] ");
    }
}
