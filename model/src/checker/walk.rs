//! Random walks through a configuration, for traces that together show every kind of step.

use super::action::Action;
use super::cluster::{Cluster, Log, World};
use super::model::Zab;
use super::trace;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

/// A small generator of pseudo-random numbers (xorshift64*): the same seed gives the same walks everywhere.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A generator; the seed may be any number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n.max(1)
    }
}

/// A walk that was kept, and why.
#[derive(Debug)]
pub struct Walk {
    /// Which initial state it began in.
    pub initial: usize,
    /// Its steps.
    pub actions: Vec<Action>,
    /// The classes of steps that it was the first to show.
    pub news: Vec<String>,
}

/// How likely an action is, beside the others: faults are rare, progress is not.
const fn weight(action: Action) -> u64 {
    match action {
        Action::Receive { .. } | Action::Flush { .. } | Action::Connect { .. } => 40,
        Action::Notify { .. }
        | Action::Start { .. }
        | Action::SyncFound { .. }
        | Action::Propose { .. } => 30,
        Action::HearClose { .. } | Action::GiveUp { .. } | Action::Snapshot { .. } => 12,
        Action::Crash { .. }
        | Action::Die { .. }
        | Action::FailSync { .. }
        | Action::Disconnect { .. }
        | Action::FailWrite { .. } => 2,
        Action::Fire { .. } => 6,
        Action::Lead { .. }
        | Action::Follow { .. }
        | Action::ElectBest { .. }
        | Action::Settle { .. }
        | Action::Overtake { .. }
        | Action::EarlyPing { .. }
        | Action::SnapLater { .. }
        | Action::Reconfigure { .. } => 20,
    }
}

/// The class of a step: what kind of thing happened to whom in which phase, and what it made them do.
fn class(model: &Zab, before: &Cluster, after: &Cluster, action: Action, log: &Log) -> String {
    use core::fmt::Write;
    let mut text = String::new();
    let _ = write!(text, "{}", super::action::WITNESSES[action.witness()]);
    if let Action::Receive { link, at } = action
        && let Some(frame) = before
            .wire(&model.world, link)
            .and_then(|w| w.inbox(at).front())
    {
        let _ = write!(text, " {}", trace::on_the_wire(&frame.packet).0);
    }
    for i in 0..model.world.n() {
        let (was, is) = (
            phase(&model.world, before, i),
            phase(&model.world, after, i),
        );
        if was != is {
            let _ = write!(text, " {}:{was}>{is}", i + 1);
        }
    }
    for w in (18..super::action::WITNESSES.len()).filter(|w| *w != action.witness()) {
        if log.witnessed >> w & 1 == 1 {
            let _ = write!(text, " {}", super::action::WITNESSES[w]);
        }
    }
    text
}

/// What a server is doing, without numbers.
fn phase(world: &World, c: &Cluster, i: usize) -> String {
    use crate::peer::Role;
    use alloc::format;
    use alloc::string::ToString;
    match c.role(world, i) {
        None => "down".to_string(),
        Some(Role::Draining { .. }) => "draining".to_string(),
        Some(Role::Looking(l)) => format!("looking{}", if l.deciding { "!" } else { "" }),
        Some(Role::Following(f)) => format!("{:?}", f.stage),
        Some(Role::Leading(l)) => format!("{:?}", l.phase),
    }
}

/// Walks at random and keeps each walk that shows a class of step for the first time, cut behind its last news.
///
/// Ends when `wanted` walks are kept or `tries` were made.
pub fn walks(model: &Zab, seed: u64, tries: usize, steps_max: usize, wanted: usize) -> Vec<Walk> {
    let mut dice = Dice::new(seed);
    let initial = model.initial();
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut kept = Vec::new();
    let mut enabled = Vec::new();
    let mut log = Log::default();
    for _ in 0..tries {
        if kept.len() >= wanted {
            break;
        }
        let start = usize::try_from(dice.below(initial.len() as u64)).unwrap_or(0);
        let mut c = initial[start];
        let (mut actions, mut news, mut worth) = (Vec::new(), Vec::new(), 0);
        while actions.len() < steps_max {
            enabled.clear();
            model.enabled(&c, &mut enabled);
            let total: u64 = enabled.iter().map(|a| weight(*a)).sum();
            let mut pick = dice.below(total);
            let chosen = enabled.iter().copied().find(|a| {
                let here = pick < weight(*a);
                pick = pick.saturating_sub(weight(*a));
                here
            });
            let Some(action) = chosen else { break };
            let before = c;
            log.witnessed = 0;
            model.apply(&mut c, action, &mut log);
            actions.push(action);
            let class = class(model, &before, &c, action, &log);
            if known.insert(class.clone()) {
                news.push(class);
                worth = actions.len();
            }
        }
        if worth > 0 {
            actions.truncate(worth);
            kept.push(Walk {
                initial: start,
                actions,
                news,
            });
        }
    }
    kept
}
