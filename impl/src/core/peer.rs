//! The peer of the model, with what it knows of its surroundings and the timers that it has armed.

use super::counts::{Proposed, Run};
use super::timers::Timers;
use crate::wire::payload::Payload;
use zabra_model::ids::Zxid;
use zabra_model::peer::Peer;
use zabra_model::step::{Effect, Env};

/// See the module.
pub(super) struct Protocol {
    pub(super) env: Env,
    pub(super) peer: Peer,
    pub(super) timers: Timers,
    /// Steps so far.
    pub(super) steps: u64,
    pub(super) effects: Vec<Effect<Payload>>,
    /// For operators.
    pub(super) measures: Measures,
}

/// Since when what is measured goes on.
#[derive(Default)]
pub(super) struct Measures {
    /// Since when this server looks for a leader, ms, if it does.
    pub(super) looking_ms: Option<u64>,
    /// Since when it serves nobody, and whether it led before.
    pub(super) unavailable: Option<(u64, bool)>,
    /// Since when it knows its leader, and has not served.
    pub(super) syncing_ms: Option<u64>,
    /// How much of the history is known to have been on the disk.
    pub(super) durable: Zxid,
    /// Of a follower's transactions that this turn has logged: how long after the leader's date.
    pub(super) logged: Run,
    /// Of requests that this turn has prepared: how long after they were read.
    pub(super) prepared: Run,
    /// Transactions that were handed to the disk, and are not known to be on it.
    pub(super) at_disk: u64,
    /// How many learners were being brought up at the last look, by SNAP and otherwise.
    pub(super) syncs_under_way: [u32; 2],
    /// Transactions that this turn has proposed.
    pub(super) proposed: Proposed,
}
