//! The peer of the model, with what it knows of its surroundings and the timers that it has armed.

use super::timers::Timers;
use crate::wire::payload::Payload;
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
}
