//! The peer of the model, with what it knows of its surroundings and the timers that it has armed.

use super::counts::{Proposed, Run};
use super::event::Now;
use super::stages::Stamps;
use super::timers::Timers;
use crate::wire::payload::Payload;
use std::collections::BTreeSet;
use zabra_model::durable::Durable;
use zabra_model::ensemble::Ensemble;
use zabra_model::flight::Recorder;
use zabra_model::ids::{ServerId, Zxid};
use zabra_model::peer::Peer;
use zabra_model::step::{Effect, Env, Input, Timer};
use zabra_model::vote::{Notification, ServerState};

/// See the module.
pub(super) struct Protocol {
    pub(super) env: Env,
    pub(super) peer: Peer,
    pub(super) timers: Timers,
    /// Servers that cannot be reached for elections.
    pub(super) away: BTreeSet<ServerId>,
    /// Who has begun an election while this server had a leader, with what it said, and when, ms.
    pub(super) early: Vec<(ServerId, Notification, u64)>,
    /// Steps so far.
    pub(super) steps: u64,
    pub(super) effects: Vec<Effect<Payload>>,
    /// Records the steps, if it is to.
    pub(super) recorder: Option<Box<Recorder>>,
    /// For operators.
    pub(super) measures: Measures,
}

/// Of two servers that lose their leader together one notices it first. What it says then counts for the other, which is about to look, too;
/// what was said longer ago, ms, is about another election.
const EARLY_MS: u64 = 500;

/// A peer that begins from what the disk holds and from the lists that bind it.
pub(super) fn booted(
    now: Now,
    env: &Env,
    (found, ensemble): (Durable, Ensemble),
    mut recorder: Option<&mut Recorder>,
    effects: &mut Vec<Effect<Payload>>,
) -> Peer {
    if let Some(recorder) = &mut recorder {
        recorder.boots(now.moment(), env, &found, &ensemble);
    }
    let peer = Peer::boot(env, found, ensemble, effects);
    if let Some(recorder) = recorder {
        recorder.ends(effects);
    }
    peer
}

impl Protocol {
    /// One step; its effects are in [`Self::effects`].
    pub(super) fn step(&mut self, now: Now, input: Input<Payload>) {
        self.steps += 1;
        if let Some(recorder) = &mut self.recorder {
            recorder.begins(now.moment(), &self.env, &self.peer, &input);
        }
        self.peer.step(&self.env, input, &mut self.effects);
        if let Some(recorder) = &mut self.recorder {
            recorder.ends(&self.effects);
        }
    }

    /// The peer begins anew from what the disk holds.
    pub(super) fn boot(&mut self, now: Now, found: Durable, ensemble: Ensemble) {
        let recorder = self.recorder.as_deref_mut();
        let from = (found, ensemble);
        self.peer = booted(now, &self.env, from, recorder, &mut self.effects);
    }

    /// What is under the snapshot at `upto` is on the disk no more.
    pub(super) fn forget(&mut self, upto: Zxid) {
        self.peer.forget(upto);
        if let Some(recorder) = &mut self.recorder {
            recorder.forgot(upto);
        }
    }

    /// Another server has said this: it can be reached, and what it has said before counts no more.
    pub(super) fn hears(&mut self, from: ServerId, said: Notification, now_ms: u64) {
        self.away.remove(&from);
        self.early.retain(|(sid, ..)| *sid != from);
        if said.state == ServerState::Looking && self.peer.state() != ServerState::Looking {
            self.early.push((from, said, now_ms));
        }
    }

    /// This server looks: what others have said a moment ago. Who says it again tells nothing else, and does so 200 ms later.
    pub(super) fn take_early(&mut self, now_ms: u64) -> Vec<(ServerId, Notification)> {
        let early = std::mem::take(&mut self.early).into_iter();
        let is_recent = |at_ms: u64| now_ms.saturating_sub(at_ms) <= EARLY_MS;
        let recent = early.filter(|(.., at_ms)| is_recent(*at_ms));
        recent.map(|(from, said, _)| (from, said)).collect()
    }

    /// Takes the timer of an election that waits for nobody any more; whether it ran (D-66).
    pub(super) fn takes_idle_wait(&mut self) -> bool {
        self.timers.runs(Timer::Finalize)
            && self
                .peer
                .waits_for_nobody(&self.env, |id| self.away.contains(&id))
            && self.timers.take(Timer::Finalize)
    }
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
    /// When the turns' transactions came where.
    pub(super) stamps: Stamps,
}
