//! Stored traces, as `zabra-check export` writes them.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The format that is read here.
const SCHEMA: u32 = 3;

/// A whole trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Its file's name.
    pub name: String,
    /// Its first line.
    pub header: Header,
    /// All others.
    pub steps: Vec<Step>,
}

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The format.
    pub schema: u32,
    /// The configuration of the checker.
    pub config: String,
    /// How many of them have a vote.
    pub servers: u8,
    /// Which initial state; only the first, empty disks, can be replayed.
    pub initial: usize,
    /// Why it was kept.
    pub about: String,
    /// The servers before the first step.
    pub at_first: Vec<ServerRecord>,
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// From 1.
    pub n: usize,
    /// What happens.
    pub action: Action,
    /// The same for people.
    pub text: String,
    /// Packets that are sent, in order.
    #[serde(default)]
    pub frames: Vec<FrameRecord>,
    /// Election messages that are sent, in order.
    #[serde(default)]
    pub votes: Vec<VoteRecord>,
    /// Writes that are asked for, in order.
    #[serde(default)]
    pub writes: Vec<WriteRecord>,
    /// The servers that are not as they were.
    #[serde(default)]
    pub servers: Vec<ServerRecord>,
}

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The leader's.
    Leader,
    /// The learner's.
    Learner,
}

impl End {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Leader => Self::Learner,
            Self::Learner => Self::Leader,
        }
    }
}

/// What processes can do of all that the model knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is described by the step's text")]
pub enum Action {
    Notify { from: u8, to: u8 },
    Connect { server: u8 },
    GiveUp { server: u8 },
    Receive { link: u64, at: End },
    HearClose { link: u64, at: End },
    Flush { server: u8 },
    Fire { server: u8, timer: Timer },
    Propose { server: u8 },
    Reconfigure { server: u8, members: u8 },
    Snapshot { server: u8 },
    Crash { server: u8, kept: u8 },
    Start { server: u8 },
    Disconnect { link: u64 },
}

/// A timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the model's")]
pub enum Timer {
    Finalize,
    Resend,
    Init,
    Tick,
}

impl Action {
    /// All that [`Action::kind`] can say.
    pub const KINDS: [&str; 16] = [
        "Notify",
        "Connect",
        "GiveUp",
        "Receive",
        "HearClose",
        "Flush",
        "Fire(Finalize)",
        "Fire(Resend)",
        "Fire(Init)",
        "Fire(Tick)",
        "Propose",
        "Reconfigure",
        "Snapshot",
        "Crash",
        "Start",
        "Disconnect",
    ];

    /// What kind of step it is.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Notify { .. } => "Notify",
            Self::Connect { .. } => "Connect",
            Self::GiveUp { .. } => "GiveUp",
            Self::Receive { .. } => "Receive",
            Self::HearClose { .. } => "HearClose",
            Self::Flush { .. } => "Flush",
            Self::Fire { timer, .. } => match timer {
                Timer::Finalize => "Fire(Finalize)",
                Timer::Resend => "Fire(Resend)",
                Timer::Init => "Fire(Init)",
                Timer::Tick => "Fire(Tick)",
            },
            Self::Propose { .. } => "Propose",
            Self::Reconfigure { .. } => "Reconfigure",
            Self::Snapshot { .. } => "Snapshot",
            Self::Crash { .. } => "Crash",
            Self::Start { .. } => "Start",
            Self::Disconnect { .. } => "Disconnect",
        }
    }
}

/// A packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameRecord {
    /// The model's number of the connection.
    pub link: u64,
    /// By which server.
    pub from: u8,
    /// To which server.
    pub to: u8,
    /// ZooKeeper's name of it.
    pub packet: String,
    /// Its zxid field.
    pub zxid: i64,
    /// ACKEPOCH: the epoch in its data.
    #[serde(default)]
    pub epoch: Option<i64>,
    /// SNAP: the transactions in the tree.
    #[serde(default)]
    pub tree: Vec<u64>,
    /// PROPOSAL: the voters of the list that it brings.
    #[serde(default)]
    pub voters: Vec<u8>,
    /// SNAP and NEWLEADER: the lists that they carry.
    #[serde(default)]
    pub lists: Option<ListsRecord>,
    /// The connection was already broken.
    #[serde(default)]
    pub lost: bool,
}

/// A list of voters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRecord {
    /// The zxid of the transaction that has brought it.
    pub version: u64,
    /// Who votes.
    pub voters: Vec<u8>,
}

/// The lists that bind a server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListsRecord {
    /// Known to be committed.
    pub active: ListRecord,
    /// In the log, and not known to be committed.
    #[serde(default)]
    pub next: Option<ListRecord>,
}

impl ListsRecord {
    /// Whether a server has a vote by either.
    #[must_use]
    pub fn has_vote(&self, server: u8) -> bool {
        let next = self.next.iter().flat_map(|next| &next.voters);
        self.active.voters.iter().chain(next).any(|v| *v == server)
    }
}

/// An election message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteRecord {
    /// By which server.
    pub from: u8,
    /// To which server.
    pub to: u8,
    /// LOOKING, FOLLOWING, LEADING.
    pub state: String,
    /// The vote's leader.
    pub leader: u64,
    /// Its zxid.
    pub zxid: u64,
    /// Its epoch.
    pub epoch: i64,
    /// The sender's round.
    pub round: u64,
    /// The lists that bind the sender.
    #[serde(default)]
    pub lists: Option<ListsRecord>,
    /// Nobody was there to hear it.
    #[serde(default)]
    pub lost: bool,
}

/// A write.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteRecord {
    /// Whose disk.
    pub server: u8,
    /// acceptedEpoch, currentEpoch, append, truncate, install or activate.
    pub kind: String,
    /// Epoch or zxid.
    pub value: u64,
    /// append: the voters of the list that it brings.
    #[serde(default)]
    pub voters: Vec<u8>,
}

/// A server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerRecord {
    /// Who.
    pub id: u8,
    /// Whether it runs.
    pub up: bool,
    /// LOOKING, FOLLOWING, LEADING; empty if down.
    pub role: String,
    /// The epoch that it serves clients in.
    pub serving: Option<u32>,
    /// The round of its last election.
    pub round: u64,
    /// acceptedEpoch on disk.
    pub accepted: u64,
    /// currentEpoch on disk.
    pub current: u64,
    /// The end of the history on disk.
    pub durable: u64,
    /// The end of the history, pending writes included.
    pub logged: u64,
    /// The last transaction in the tree.
    pub applied: u64,
    /// Writes on the way to the disk.
    pub pending: u64,
    /// The lists that bind it while it runs, where they change.
    #[serde(default)]
    pub lists: Option<ListsRecord>,
    /// The list that its disk says to be active.
    #[serde(default)]
    pub kept: Option<ListRecord>,
}

impl Trace {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no trace, or begins with disks that are not empty.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let name = path
            .file_stem()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Self::parse(&name, &text)
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// As [`Trace::read`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let at = |n: usize| format!("{name}, line {n}");
        let mut lines = text.lines();
        let first = lines.next().with_context(|| at(1))?;
        let header: Header = serde_json::from_str(first).with_context(|| at(1))?;
        ensure!(header.schema == SCHEMA, "{}: another format", at(1));
        let servers = header.at_first.len();
        ensure!(servers == 3, "{}: not three servers", at(1));
        let blank = |s: &ServerRecord| s.up && s.role == "LOOKING" && s.durable == 0;
        ensure!(
            header.initial == 0 && header.at_first.iter().all(blank),
            "{}: only a cold start can be replayed",
            at(1)
        );
        let mut steps = Vec::new();
        for (n, line) in lines.enumerate() {
            let step: Step = serde_json::from_str(line).with_context(|| at(n + 2))?;
            ensure!(step.n == n + 1, "{}: a step is missing", at(n + 2));
            steps.push(step);
        }
        ensure!(!steps.is_empty(), "{name}: no steps");
        Ok(Self {
            name: name.to_owned(),
            header,
            steps,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_with_a_missing_step_or_an_unknown_field_is_refused() {
        let server = r#"{"id":1,"up":true,"role":"LOOKING","serving":null,"round":1,"accepted":0,"current":0,"durable":0,"logged":0,"applied":0,"pending":0}"#;
        let header = format!(
            r#"{{"schema":3,"config":"c","servers":3,"initial":0,"about":"","at_first":[{server},{server},{server}]}}"#
        );
        let step = |n: usize, more: &str| {
            format!(r#"{{"n":{n},"action":{{"Flush":{{"server":1}}}},"text":""{more}}}"#)
        };
        let parse =
            |steps: &[String]| Trace::parse("t", &format!("{header}\n{}", steps.join("\n")));
        assert!(parse(&[step(1, ""), step(2, "")]).is_ok());
        assert!(parse(&[step(1, ""), step(3, "")]).is_err());
        assert!(parse(&[step(1, r#","more":1"#)]).is_err());
        assert!(parse(&[]).is_err());
    }
}
