//! A message-sequence chart: who does what in which step, which packet is sent where and arrives when, what is on the disks.
//!
//! [`Chart::svg`] and [`Chart::mermaid`] write it down. What happened is what whoever makes the chart says: the checker of a run of the
//! model, `zabra explain` of what servers have recorded.

mod mermaid;
mod svg;

pub use mermaid::escape;

use crate::vote::ServerState;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A run, ready to be drawn.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The servers' ids, from left to right.
    pub ids: Vec<u64>,
    /// What stands above it.
    pub title: String,
    /// Row 0 is the initial state, row n is step n.
    pub rows: Vec<Row>,
    /// In the order in which they were sent.
    pub arrows: Vec<Arrow>,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Row {
    /// What happened.
    pub text: String,
    /// What went wrong in it.
    pub fault: Option<Fault>,
    /// Every server after the step.
    pub looks: Vec<Look>,
    /// What is worth telling of a server, beside its lifeline.
    pub notes: Vec<Note>,
    /// Who had a part in the step.
    pub acting: Vec<usize>,
}

/// What went wrong from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// This server loses its power.
    Crash(usize),
    /// This one's process ends.
    Die(usize),
    /// This one's disk fails to sync.
    FailSync(usize),
    /// The connection between these two breaks.
    Cut(usize, usize),
}

/// What a lifeline shows of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    /// `None`: down.
    pub role: Option<ServerState>,
    /// The epoch that it serves.
    pub serving: Option<u32>,
    /// acceptedEpoch.
    pub accepted: u32,
    /// currentEpoch.
    pub current: u32,
    /// What its log has.
    pub log: String,
    /// What is on its way to the disk.
    pub pending: String,
    /// In the page cache alone.
    pub cached: String,
    /// What its tree has applied.
    pub applied: Option<String>,
}

/// Which kind of note it is: the colour of its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Of the role.
    Role,
    /// Of the disk.
    Disk,
    /// Anything else.
    Said,
    /// Of what went wrong.
    Fault,
}

/// A word beside a lifeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Whose, from the left.
    pub server: usize,
    /// What it is about.
    pub kind: Kind,
    /// The word.
    pub text: String,
}

/// A packet or an election message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrow {
    /// By whom, from the left.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// What it says.
    pub text: String,
    /// An election message, not a packet.
    pub vote: bool,
    /// The row in which it is sent.
    pub sent: usize,
    /// What becomes of it.
    pub end: Ending,
}

/// Where an arrow ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It arrives in this row.
    Received(usize),
    /// In this row it is clear that it never will.
    Lost(usize),
    /// In this row a newer election message takes its place.
    Replaced(usize),
    /// It has not arrived when the run ends.
    Underway,
}

impl Chart {
    /// How many servers there are.
    pub(crate) const fn servers(&self) -> usize {
        self.ids.len()
    }
}

/// The name of a role.
#[must_use]
pub const fn role_name(role: Option<ServerState>) -> &'static str {
    match role {
        Some(state) => state_name(state),
        None => "down",
    }
}

/// The name of a role, as it is told to others.
#[must_use]
pub const fn state_name(state: ServerState) -> &'static str {
    match state {
        ServerState::Looking => "LOOKING",
        ServerState::Following => "FOLLOWING",
        ServerState::Leading => "LEADING",
        ServerState::Observing => "OBSERVING",
    }
}

/// What a chart begins with.
#[must_use]
pub fn first_notes(looks: &[Look]) -> Vec<Note> {
    let mut all = Vec::new();
    for (server, l) in looks.iter().enumerate() {
        let mut note = |kind, text| all.push(Note { server, kind, text });
        note(Kind::Role, role_name(l.role).to_string());
        if let Some(e) = l.serving {
            note(Kind::Role, format!("serves epoch {e}"));
        }
        let epochs = format!("acceptedEpoch {}, currentEpoch {}", l.accepted, l.current);
        note(Kind::Disk, epochs);
        note(Kind::Disk, format!("log {}", l.log));
        if !l.pending.is_empty() {
            note(Kind::Disk, format!("pending {}", l.pending));
        }
        if let Some(applied) = &l.applied {
            note(Kind::Said, format!("applied {applied}"));
        }
    }
    all
}

/// What has changed at each server.
#[must_use]
pub fn notes(before: &[Look], after: &[Look], fault: Option<Fault>) -> Vec<Note> {
    let mut all = Vec::new();
    for (server, (was, is)) in before.iter().zip(after).enumerate() {
        let mut note = |kind, text| all.push(Note { server, kind, text });
        match fault {
            Some(Fault::Crash(i)) if i == server => note(Kind::Fault, "crash".to_string()),
            Some(Fault::Die(i)) if i == server => note(Kind::Fault, "process dies".to_string()),
            Some(Fault::FailSync(i)) if i == server => note(Kind::Fault, "sync fails".to_string()),
            Some(Fault::Cut(a, b)) if a == server || b == server => {
                let other = if a == server { b } else { a } + 1;
                note(Kind::Fault, format!("connection to {other} broken"));
            }
            _ => {}
        }
        if was.role != is.role {
            note(Kind::Role, role_name(is.role).to_string());
        }
        if let Some(e) = is.serving.filter(|_| was.serving != is.serving) {
            note(Kind::Role, format!("serves epoch {e}"));
        }
        if was.accepted != is.accepted {
            note(Kind::Disk, format!("acceptedEpoch {}", is.accepted));
        }
        if was.current != is.current {
            note(Kind::Disk, format!("currentEpoch {}", is.current));
        }
        if was.log != is.log {
            note(Kind::Disk, format!("log {}", is.log));
        }
        if was.pending != is.pending && !is.pending.is_empty() {
            note(Kind::Disk, format!("pending {}", is.pending));
        }
        if was.cached != is.cached && !is.cached.is_empty() {
            note(Kind::Disk, format!("page cache {}", is.cached));
        }
        if let Some(applied) = is.applied.as_ref().filter(|_| was.applied != is.applied) {
            note(Kind::Said, format!("applied {applied}"));
        }
    }
    all
}
