//! What a replay compared, or where servers and trace part.

use std::collections::BTreeMap;

/// What was compared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Traces to their end.
    pub traces: usize,
    /// Steps.
    pub steps: usize,
    /// Packets.
    pub frames: usize,
    /// Election messages.
    pub votes: usize,
    /// Writes that were asked for.
    pub writes: usize,
    /// States of running servers.
    pub states: usize,
    /// Data directories after a crash.
    pub disks: usize,
    /// Answers to clients that changed the members.
    pub answers: usize,
    /// Steps by kind.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Synchronizations by kind.
    pub syncs: BTreeMap<&'static str, usize>,
}

impl Counts {
    /// Adds those of another trace.
    pub fn add(&mut self, other: &Self) {
        self.traces += other.traces;
        self.steps += other.steps;
        self.frames += other.frames;
        self.votes += other.votes;
        self.writes += other.writes;
        self.states += other.states;
        self.disks += other.disks;
        self.answers += other.answers;
        for (kind, n) in &other.kinds {
            *self.kinds.entry(kind).or_default() += n;
        }
        for (kind, n) in &other.syncs {
            *self.syncs.entry(kind).or_default() += n;
        }
    }
}

/// Where servers and trace part.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The trace.
    pub trace: String,
    /// The step; 0 is the start of the servers.
    pub step: usize,
    /// What the step is.
    pub text: String,
    /// What was expected and what was seen.
    pub what: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            trace,
            step,
            text,
            what,
        } = self;
        write!(f, "{trace}, step {step} ({text}): {what}")
    }
}
